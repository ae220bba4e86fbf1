/* apply.c -- building batches: what of the stream goes to the target. See apply.h. */
#include "syncer/apply.h"

#include "lib/base/mem.h"
#include "syncer/apply_inside.h"
#include "syncer/foreign.h"

#include <stdio.h>

void apply_init(struct apply *apply, const struct apply_rules *rules) {
    *apply = (struct apply){.rules = *rules};
    dirty_init(&apply->dirty);
}

void apply_close(struct apply *apply) {
    apply_drop_copies(apply);
    dirty_close(&apply->dirty);
    deadlines_close(&apply->deadlines);
    apply_keys_close(&apply->keys);
    resp_request_close(&apply->parser);
    buf_close(&apply->wire);
    buf_close(&apply->scratch);
    buf_close(&apply->deletes);
    mem_free(apply->items);
    for (size_t i = 0; i < APPLY_RECENT; i++) buf_close(&apply->recent[i].key);
    *apply = (struct apply){0};
}

void apply_resume(struct apply *apply, const struct checkpoint *checkpoint, struct slice log, struct slice deadlines,
                  struct place *from, size_t *log_bytes) {
    struct place highest;
    ASSERT(checkpoint->kind == CHECKPOINT_STREAM);
    memcpy(apply->replid, checkpoint->replid, sizeof apply->replid);
    apply->place = checkpoint->place;
    apply_drop_copies(apply);
    dirty_load(&apply->dirty, log, checkpoint->place, from, &highest, log_bytes);
    deadlines_load(&apply->deadlines, deadlines);
    bool fell_back = place_compare(&highest, &checkpoint->place) > 0;
    apply->strict_until = fell_back ? highest.offset : 0;
    dirty_seen(&apply->dirty, apply->place);
}

void apply_suspect(struct apply *apply, const struct unit *unit) {
    for (size_t i = 0; i < unit->count; i++) {
        const struct unit_command *c = &unit->commands[i];
        enum apply_class class = apply_keys_of(&apply->keys, c->command, c->argc, c->argv, c->db);
        apply_mark_written(apply, "its answer was not read before a restart");
        if (class != APPLY_FLUSHALL && class != APPLY_FLUSHDB && class != APPLY_SWAPDB) continue;
        apply_note_deadlines(&apply->deadlines, &apply->keys, class, c, apply_command_offset(unit, i), 0);
        deadlines_commit(&apply->deadlines);
    }
}

/* ---- items ---- */

struct apply_item *apply_add_item(struct apply *apply, bool plain, int db) {
    if (apply->item_count == apply->item_cap) {
        apply->item_cap = apply->item_cap ? apply->item_cap * 2 : 256;
        apply->items = mem_realloc(apply->items, apply->item_cap * sizeof *apply->items);
    }
    struct apply_item *item = &apply->items[apply->item_count++];
    *item = (struct apply_item){.at = buf_size(&apply->wire), .unit = apply->units, .db = db, .plain = plain,
                                .deadline_ms = DEADLINE_NONE};
    return item;
}

void apply_end_item(struct apply *apply) {
    struct apply_item *item = &apply->items[apply->item_count - 1];
    item->size = buf_size(&apply->wire) - item->at;
}

static void add_words(struct apply *apply, const char *word, const char *more) {
    (void)apply_add_item(apply, true, -1);
    if (more) resp_write_words(&apply->wire, word, more, NULL);
    else resp_write_words(&apply->wire, word, NULL);
    apply_end_item(apply);
}

void apply_select(struct apply *apply, int db) {
    char number[16];
    if (apply->wire_db == db) return;
    snprintf(number, sizeof number, "%d", db);
    add_words(apply, "SELECT", number);
    apply->wire_db = db;
}

static void clear_batch(struct apply *apply) {
    buf_clear(&apply->wire);
    buf_clear(&apply->deletes);
    apply->deletes_any = false;
    deadlines_abort(&apply->deadlines);
    apply->item_count = apply->data_items = apply->noops = apply->answers = 0;
    apply->units = 0;
    apply->wire_db = -1;
    apply->refused = apply->aborted = apply->state_error = apply->broken = apply->copy_batch = apply->ends_here = false;
    apply->flushed_db = APPLY_FLUSHED_NONE;
    apply->end = apply->place;
    apply->trouble.text[0] = '\0';
}

void apply_batch_begin(struct apply *apply) {
    clear_batch(apply);
    add_words(apply, "MULTI", NULL);
}

/* ---- the checkpoint ---- */

void apply_checkpoint(const struct apply *apply, struct place place, struct checkpoint *checkpoint) {
    *checkpoint = (struct checkpoint){.kind = CHECKPOINT_STREAM, .place = place};
    memcpy(checkpoint->replid, apply->replid, sizeof checkpoint->replid);
}

void apply_write_checkpoint(const struct apply_rules *rules, const struct checkpoint *checkpoint, int *db,
                            struct buf *out, size_t *commands) {
    struct buf value = {0};
    char key[96];
    *commands = 1;
    checkpoint_write(checkpoint, &value);
    if (rules->checkpoint_command) {
        resp_write_words(out, "DRAWBRIDGE", "CHECKPOINT", "SET", rules->link, buf_text(&value), NULL);
    } else {
        if (*db != 0) {
            resp_write_words(out, "SELECT", "0", NULL);
            ++*commands;
        }
        *db = 0;
        snprintf(key, sizeof key, CHECKPOINT_PREFIX "%s", rules->link);
        resp_write_words(out, "SET", key, buf_text(&value), NULL);
    }
    buf_close(&value);
}

/* TIME, so that the answer tells by which clock keys expired; the checkpoint; EXEC. */
void apply_finish_wire(struct apply *apply) {
    struct checkpoint checkpoint;
    size_t commands = 0;
    if (!apply->rules.import_mode) add_words(apply, "TIME", NULL);
    apply_checkpoint(apply, apply->end, &checkpoint);
    (void)apply_add_item(apply, true, -1);
    apply_write_checkpoint(&apply->rules, &checkpoint, &apply->wire_db, &apply->wire, &commands);
    apply_end_item(apply);
    if (commands == 2) {
        (void)apply_add_item(apply, true, -1);
        apply_end_item(apply);
    }
    add_words(apply, "EXEC", NULL);
}

bool apply_batch_seal(struct apply *apply, bool force) {
    if (apply->data_items == 0 && !force) {
        apply->place = apply->end;
        apply->units_total += apply->noops;
        return false;
    }
    apply_finish_wire(apply);
    return true;
}

/* ---- deciding ---- */

void apply_mark(struct apply *apply, int db, struct slice key, const char *reason) {
    if (!checkpoint_is_key(key)) dirty_mark(&apply->dirty, apply->place, db, key, reason);
}

void apply_mark_written(struct apply *apply, const char *reason) {
    for (size_t i = 0; i < apply->keys.count; i++)
        if (apply->keys.at[i].written) apply_mark(apply, apply->keys.at[i].db, apply->keys.at[i].key, reason);
}

bool apply_touches_dirty(const struct apply *apply) {
    if (dirty_count(&apply->dirty) == 0) return false;
    for (size_t i = 0; i < apply->keys.count; i++)
        if (dirty_find(&apply->dirty, apply->keys.at[i].db, apply->keys.at[i].key)) return true;
    return false;
}

/* The earliest deadline of what the command touches and does not replace. */
static int64_t deadline_touched(const struct apply *apply) {
    int64_t earliest = DEADLINE_NONE;
    for (size_t i = 0; i < apply->keys.count; i++) {
        const struct apply_key *k = &apply->keys.at[i];
        if (k->replaced) continue;
        int64_t at = deadlines_find(&apply->deadlines, k->db, k->key);
        if (at < earliest) earliest = at;
    }
    return earliest;
}

static bool replaces_all(const struct apply *apply) {
    for (size_t i = 0; i < apply->keys.count; i++)
        if (!apply->keys.at[i].replaced) return false;
    return true;
}

static bool all_ours(const struct apply *apply) {
    if (apply->keys.count == 0) return false;
    for (size_t i = 0; i < apply->keys.count; i++)
        if (!checkpoint_is_key(apply->keys.at[i].key)) return false;
    return true;
}

/* What the target may put into its own stream as a DEL: itself, or because a deadline is over when it arrives. */
static void note_deletes(struct apply *apply, const struct unit_command *c, enum apply_class class) {
    const char *name = class == APPLY_UNKNOWN ? "" : c->command->name;
    enum command_effect effect = class == APPLY_UNKNOWN ? COMMAND_EFFECT_DIRTY : c->command->effect;
    bool itself = strcmp(name, "del") == 0 || strcmp(name, "unlink") == 0 || strcmp(name, "restore") == 0;
    bool others = effect == COMMAND_EFFECT_DIRTY && !itself; /* scripts of old sources */
    if (others) apply->deletes_any = true;
    if (!itself && effect != COMMAND_EFFECT_EXPIRE && effect != COMMAND_EFFECT_GETDEL) return;
    for (size_t i = 0; i < apply->keys.count; i++)
        if (apply->keys.at[i].written) foreign_put_key(&apply->deletes, apply->keys.at[i].db, apply->keys.at[i].key);
}

static void send(struct apply *apply, const struct unit_command *c, int64_t deadline_ms) {
    apply_select(apply, c->db);
    struct apply_item *item = apply_add_item(apply, false, c->db);
    item->deadline_ms = deadline_ms;
    buf_add(&apply->wire, c->raw);
    apply_end_item(apply);
    apply->data_items++;
}

/* FLUSHALL and its like have a batch of their own; what they do to dirty keys is done when they were applied. */
static void send_special(struct apply *apply, const struct unit *unit, const struct unit_command *c, enum apply_class class) {
    int a = 0, b = 0;
    send(apply, c, DEADLINE_NONE);
    apply_note_deadlines(&apply->deadlines, &apply->keys, class, c, apply_command_offset(unit, (size_t)(c - unit->commands)), 0);
    if (unit->count == 1 && class == APPLY_FLUSHALL) apply->flushed_db = APPLY_FLUSHED_ALL;
    if (unit->count == 1 && class == APPLY_FLUSHDB) apply->flushed_db = c->db;
    if (class != APPLY_SWAPDB || !apply_swapped(c->argc, c->argv, &a, &b)) return;
    dirty_mirror(&apply->dirty, apply->place, a, b);
    if (a != b && (a == 0 || b == 0) && !apply->rules.checkpoint_command) {
        char key[96];
        apply_select(apply, a + b); /* our checkpoint went there with its database */
        snprintf(key, sizeof key, CHECKPOINT_PREFIX "%s", apply->rules.link);
        add_words(apply, "DEL", key);
    }
}

static void note_recent(struct apply *apply) {
    for (size_t i = 0; i < apply->keys.count; i++) {
        const struct apply_key *k = &apply->keys.at[i];
        if (!k->written || k->key.size > 1024) continue;
        struct apply_recent *r = &apply->recent[keymap_hash(k->db, k->key) % APPLY_RECENT];
        if (r->used && r->db == k->db && slice_equal(buf_slice(&r->key), k->key)) return;
        buf_clear(&r->key);
        buf_add(&r->key, k->key);
        r->db = k->db;
        r->used = true;
    }
}

/* It says a span of time, or is a script, which may. */
static bool says_span(const struct unit_command *c) {
    if (c->command == NULL) return false;
    if (c->command->group == COMMAND_GROUP_SCRIPTING) return true;
    return apply_deadline_of(c->command, c->argc, c->argv, 0) != apply_deadline_of(c->command, c->argc, c->argv, 1 << 20);
}

static void decide(struct apply *apply, const struct unit *unit, const struct unit_command *c, int64_t now_ms) {
    enum apply_class class = apply_keys_of(&apply->keys, c->command, c->argc, c->argv, c->db);
    if (class == APPLY_NOTHING || all_ours(apply)) return;
    if (c->db < 0) {
        apply->broken = true;
        (void)why_set(&apply->trouble, ERR_PROTO, "the database of the stream at offset %llu is not known",
                      (unsigned long long)unit->start);
        return;
    }
    apply->commands_total++;
    if (class == APPLY_UNKNOWN) apply->unknown_total++;
    if (class == APPLY_FLUSHALL || class == APPLY_FLUSHDB || class == APPLY_SWAPDB) {
        send_special(apply, unit, c, class);
        return;
    }
    int64_t deadline = DEADLINE_NONE;
    bool near = false;
    if (!apply->rules.import_mode && apply->keys.count > 0) {
        deadline = deadline_touched(apply);
        near = deadline <= now_ms + apply->rules.margin_ms;
        near = near || (unit->end <= apply->strict_until && !replaces_all(apply));
    }
    bool late = unit->end <= apply->late_until && says_span(c);
    if (near || late || apply_touches_dirty(apply)) {
        apply_mark_written(apply, near ? "its deadline is near"
                                  : late ? "it was told for how long it lives, and that came late"
                                         : "it was written from a dirty key");
        apply->left_out_total++;
        return;
    }
    send(apply, c, deadline);
    note_deletes(apply, c, class);
    note_recent(apply);
    bool again = unit->end <= apply->strict_until;
    apply_note_deadlines(&apply->deadlines, &apply->keys, class, c, again ? APPLY_AGAIN : 0, now_ms);
}

static bool is_special(const struct unit *unit) {
    for (size_t i = 0; i < unit->count; i++) {
        const struct command *command = unit->commands[i].command;
        if (!command) continue;
        const char *n = command->name;
        if ((n[0] == 'f' && (strcmp(n, "flushall") == 0 || strcmp(n, "flushdb") == 0)) || strcmp(n, "swapdb") == 0) return true;
    }
    return false;
}

static size_t bytes_of(const struct unit *unit) { return (size_t)(unit->end - unit->start); }

/* Redis before 6.2 streams the MULTI and EXEC in which keys are read (C7a), and tells an offset between
 * them. Nobody else can have read inside of a unit: what was read is so at its end, too. */
static void round_copies(struct apply *apply, const struct unit *unit) {
    for (struct apply_copy *copy = apply->copies; copy && copy->offset < unit->end; copy = copy->next)
        if (copy->offset > unit->start) copy->offset = unit->end;
}

bool apply_batch_add(struct apply *apply, const struct unit *unit, int64_t now_ms) {
    ASSERT(unit->start == apply->end.offset);
    if (apply->ends_here || apply->broken) return false;
    bool special = is_special(unit), empty = apply->data_items == 0;
    if (!empty && (special || apply->item_count + unit->count > apply->rules.commands_max ||
                   buf_size(&apply->wire) + bytes_of(unit) > apply->rules.bytes_max))
        return false;
    size_t before = apply->data_items;
    for (size_t i = 0; i < unit->count && !apply->broken; i++) decide(apply, unit, &unit->commands[i], now_ms);
    if (apply->broken) return false;
    round_copies(apply, unit);
    if (apply->data_items == before) apply->noops++;
    apply->units++;
    apply->end = (struct place){.offset = unit->end, .db = unit->end_db};
    apply_drop_passed_copies(apply, unit->end);
    apply->ends_here = special || (apply->copies && apply->copies->offset == unit->end);
    return true;
}

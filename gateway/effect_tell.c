/* effect_tell.c -- from an answer to what was done: errors, 'nothing', blocks, and the building of
 * an outcome. See effect.h, effect_inside.h. */
#include "gateway/effect_inside.h"

/* ---- building ---- */

void effect_outcome_close(struct effect_outcome *outcome) {
    mem_free(outcome->items);
    mem_free(outcome->keys);
    buf_close(&outcome->bytes);
    *outcome = (struct effect_outcome){0};
}

static void clear(struct effect_outcome *out) {
    out->item_count = out->key_count = 0;
    buf_clear(&out->bytes);
}

struct effect_item *effect_tell_item(struct effect_teller *t, enum effect_kind kind) {
    struct effect_outcome *out = t->out;
    if (out->item_count == out->item_cap) {
        out->item_cap = out->item_cap ? out->item_cap * 2 : 8;
        out->items = mem_realloc(out->items, out->item_cap * sizeof *out->items);
    }
    struct effect_item *item = &out->items[out->item_count++];
    *item = (struct effect_item){.kind = (uint8_t)kind,
                                 .db = t->db,
                                 .db_other = t->db,
                                 .at = buf_size(&out->bytes),
                                 .key_at = (uint32_t)out->key_count};
    return item;
}

struct effect_key *effect_tell_key(struct effect_teller *t, struct slice name, unsigned use,
                                   enum effect_expiry expiry) {
    struct effect_outcome *out = t->out;
    ASSERT(out->item_count > 0);
    if (out->key_count == out->key_cap) {
        out->key_cap = out->key_cap ? out->key_cap * 2 : 8;
        out->keys = mem_realloc(out->keys, out->key_cap * sizeof *out->keys);
    }
    out->items[out->item_count - 1].key_count++;
    struct effect_key *key = &out->keys[out->key_count++];
    *key = (struct effect_key){
        .name = name, .db = t->db, .use = (uint8_t)use, .expiry = (uint8_t)expiry};
    return key;
}

void effect_tell_command(struct effect_teller *t, size_t argc, const struct slice *argv) {
    struct effect_item *item = effect_tell_item(t, EFFECT_REQUEST);
    resp_write_command(&t->out->bytes, argc, argv);
    item->size = buf_size(&t->out->bytes) - item->at;
}

void effect_tell_one(struct effect_teller *t, size_t argc, const struct slice *argv, unsigned use,
                     enum effect_expiry expiry) {
    effect_tell_command(t, argc, argv);
    (void)effect_tell_key(t, argv[1], use, expiry);
}

/* The effect's own keys for the last item. */
static void add_keys(struct effect_teller *t) {
    for (size_t i = 0; i < t->effect->key_count; i++) {
        const struct effect_key *key = &t->effect->keys[i];
        effect_tell_key(t, key->name, key->use, (enum effect_expiry)key->expiry)->db = key->db;
    }
}

void effect_tell_verbatim(struct effect_teller *t) {
    struct effect_item *item = effect_tell_item(t, EFFECT_REQUEST);
    item->verbatim = t->in->request;
    add_keys(t);
}

void effect_tell_dirty(struct effect_teller *t) {
    if (t->effect->keys_unknown) {
        (void)effect_tell_item(t, EFFECT_DIRTY_ALL);
        return;
    }
    bool any = false;
    for (size_t i = 0; i < t->effect->key_count; i++) {
        const struct effect_key *key = &t->effect->keys[i];
        if (!(key->use & EFFECT_WRITE)) continue;
        if (!any) (void)effect_tell_item(t, EFFECT_DIRTY);
        any = true;
        effect_tell_key(t, key->name, key->use, EFFECT_EXPIRY_KEPT)->db = key->db;
    }
}

bool effect_key_find(const struct effect_teller *t, struct slice text, struct slice *name) {
    for (size_t i = 0; i < t->effect->key_count; i++) {
        if (!slice_equal(t->effect->keys[i].name, text)) continue;
        *name = t->effect->keys[i].name;
        return true;
    }
    return false;
}

/* ---- rules without a type ---- */

void effect_tell_migrate(struct effect_teller *t) {
    if (t->head.kind == RESP_SIMPLE && slice_equal(t->head.text, SLICE("NOKEY"))) return;
    effect_tell_dirty(t);
}

static void tell_scope(struct effect_teller *t, enum effect_scope scope) {
    effect_tell_verbatim(t);
    t->out->items[t->out->item_count - 1].scope = (uint8_t)scope;
}

void effect_tell_flushall(struct effect_teller *t) {
    tell_scope(t, EFFECT_SCOPE_ALL);
}

void effect_tell_flushdb(struct effect_teller *t) {
    tell_scope(t, EFFECT_SCOPE_DB);
}

void effect_tell_scripts(struct effect_teller *t) {
    tell_scope(t, EFFECT_SCOPE_SCRIPTS);
}

void effect_tell_swapdb(struct effect_teller *t) {
    tell_scope(t, EFFECT_SCOPE_SWAP);
    struct effect_item *item = &t->out->items[t->out->item_count - 1];
    item->db = (int32_t)t->in->at;
    item->db_other = t->in->db_other;
}

/* ---- one command ---- */

/* Of a command that is not in the table: an error that comes from the server's front, before any
 * code of the command ran. */
static bool never_ran(struct slice error) {
    static const char *const words[] = {"ERR unknown command",
                                        "ERR unknown subcommand",
                                        "ERR Unknown subcommand",
                                        "ERR wrong number of arguments",
                                        "NOPERM ",
                                        "NOAUTH ",
                                        "LOADING ",
                                        "MASTERDOWN ",
                                        "READONLY ",
                                        "CLUSTERDOWN ",
                                        "MOVED ",
                                        "ASK "};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (slice_starts(error, slice_text(words[i]))) return true;
    return false;
}

bool effect_head_is_nothing(const struct effect_rule *rule, const struct effect_head *head) {
    unsigned nothing = rule->nothing;
    if ((nothing & NOTHING_ZERO) && head->kind == RESP_INT && head->number == 0) return true;
    if ((nothing & NOTHING_NEGATIVE) && head->kind == RESP_INT && head->number < 0) return true;
    if ((nothing & NOTHING_NULL) && head->null) return true;
    bool list = head->kind == RESP_ARRAY || head->kind == RESP_SET || head->kind == RESP_MAP;
    return (nothing & NOTHING_EMPTY) && list && head->number == 0;
}

/* T->answer and T->extra are set. */
static void tell_one(struct effect_teller *t) {
    if (!effect_head_read(t->answer, &t->head)) {
        effect_tell_dirty(t);
        return;
    }
    if (t->head.error) {
        bool safe = t->effect->plain || t->in->malformed ||
                    (t->effect->command == NULL && never_ran(t->head.text));
        if (!safe) effect_tell_dirty(t);
        return;
    }
    if (t->effect->keys_unknown || t->in->rule == NULL || t->in->unsure) {
        effect_tell_dirty(t);
        return;
    }
    if (!effect_head_is_nothing(t->in->rule, &t->head)) t->in->rule->tell(t);
}

bool effect_tells_itself(const struct effect *effect, struct slice answer, struct slice *request) {
    if (!effect->inside->as_it_is || !slice_equal(answer, SLICE("+OK\r\n"))) return false;
    *request = effect->inside->request;
    return true;
}

static struct effect_teller teller_of(const struct effect *effect, struct effect_outcome *out) {
    return (struct effect_teller){
        .effect = effect, .in = effect->inside, .db = effect->db, .out = out};
}

/* The answer of a command and of what was sent along with it, from EXEC's list. */
static bool take_part(struct effect_teller *t, struct slice *rest) {
    if (!effect_reply_take(rest, &t->answer)) return false;
    return t->in->extra == EXTRA_NONE || effect_reply_take(rest, &t->extra);
}

/* ---- blocks ---- */

static bool is_select(const struct effect *part) {
    return part->command != NULL && strcmp(part->command->name, "select") == 0;
}

/* Which database is selected was foretold when the keys were; it must have come like that. */
static bool select_went_as_told(const struct effect *part, struct slice answer) {
    struct effect_head head;
    int64_t now = part->db;
    if (!effect_head_read(answer, &head)) return false;
    if (!head.error && (part->inside->argc != 2 || !slice_to_int(part->inside->argv[1], &now)))
        return false;
    return now == part->db_after;
}

static bool tell_parts(const struct effect *block, struct slice rest, struct effect_outcome *out) {
    for (size_t i = 0; i < block->inside->part_count; i++) {
        const struct effect *part = block->inside->parts[i];
        struct effect_teller t = teller_of(part, out);
        if (!take_part(&t, &rest)) return false;
        if (is_select(part)) {
            if (!select_went_as_told(part, t.answer)) return false;
        } else if (part->writes) {
            tell_one(&t);
        }
    }
    return rest.size == 0;
}

/* EXEC was refused, as one: its commands did not run. What a proxy says proves less (C2). */
static void tell_block(const struct effect *block, struct slice answer,
                       struct effect_outcome *out) {
    struct effect_teller t = teller_of(block, out);
    struct effect_head head;
    struct slice exec, refusal;
    size_t count;
    bool read = effect_exec_find(answer, block->replies - 2, &exec, &refusal) &&
                effect_head_read(exec, &head);
    if (read && (head.error || head.null)) return;
    if (read && effect_list_take(&exec, &count) && count == block->replies - 2 &&
        tell_parts(block, exec, out))
        return;
    clear(out);
    bool selects = false;
    for (size_t i = 0; i < block->inside->part_count; i++)
        selects |= is_select(block->inside->parts[i]);
    if (selects)
        (void)effect_tell_item(&t, EFFECT_DIRTY_ALL);
    else
        effect_tell_dirty(&t);
}

static void tell_wrapped(struct effect_teller *t, struct slice answer) {
    struct slice exec, refusal;
    struct effect_head head;
    size_t count, commands = t->effect->replies - 2;
    bool read =
        effect_exec_find(answer, commands, &exec, &refusal) && effect_head_read(exec, &head);
    if (read && (head.error || head.null)) return;
    if (read && effect_list_take(&exec, &count) && count == commands && take_part(t, &exec))
        tell_one(t);
    else
        effect_tell_dirty(t);
}

void effect_tell(const struct effect *effect, struct slice answer, struct effect_outcome *outcome) {
    clear(outcome);
    if (!effect->writes) return;
    struct effect_teller t = teller_of(effect, outcome);
    if (effect->is_block) {
        tell_block(effect, answer, outcome);
    } else if (effect->inside->wrapped) {
        tell_wrapped(&t, answer);
    } else {
        t.answer = answer;
        tell_one(&t);
    }
}

/* witness.c -- names that P says have changed: explained, or dirty. See witness.h. */
#include "gateway/witness.h"

#include "gateway/lane_inside.h"

#include "lib/redis/resp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define FENCE_US 5000u         /* between two fences */
#define FENCE_IDLE_US 1000000u /* when nothing happens: a connection that is dead shows */
#define SET_FIRST 256u

/* ---- what our lanes write ---- */

static uint64_t hash_of(struct slice name) {
    uint64_t hash = XXH3_64bits(name.data, name.size);
    return hash != 0 ? hash : 1;
}

static size_t place_in(const struct witness_set *s, uint64_t hash) {
    size_t at = (size_t)hash & (s->cap - 1);
    while (s->at[at] != 0 && s->at[at] != hash) at = (at + 1) & (s->cap - 1);
    return at;
}

static void grow(struct witness_set *s) {
    struct witness_set wider = {.cap = s->cap > 0 ? s->cap * 2 : SET_FIRST};
    wider.at = NEW_ARRAY(uint64_t, wider.cap);
    for (size_t i = 0; i < s->cap; i++)
        if (s->at[i] != 0) wider.at[place_in(&wider, s->at[i])] = s->at[i];
    mem_free(s->at);
    s->at = wider.at;
    s->cap = wider.cap;
}

static void add(struct witness_set *s, uint64_t hash) {
    if (s->full) return;
    if (s->count * 2 >= s->cap) grow(s);
    size_t at = place_in(s, hash);
    if (s->at[at] == hash) return;
    s->at[at] = hash;
    s->full = ++s->count == WITNESS_SET_MAX;
}

static bool has(const struct witness_set *s, uint64_t hash) {
    return !s->full && s->count > 0 && s->at[place_in(s, hash)] == hash;
}

static void empty(struct witness_set *s) {
    if (s->cap > SET_FIRST && s->count * 16 < s->cap) { /* it was large once */
        mem_free(s->at);
        *s = (struct witness_set){0};
    }
    if (s->count > 0) memset(s->at, 0, s->cap * sizeof *s->at);
    s->count = 0;
    s->flush = s->full = false;
}

/* What our lanes write in is in use at F, even if no fence ever finds a key there at P. */
static void use_database(struct witness *w, int32_t db) {
    if ((uint32_t)db < WITNESS_DATABASES)
        w->databases[db / 64] |= UINT64_C(1) << (db % 64);
    else
        w->databases_beyond = true;
}

static void add_effect(struct witness *w, const struct effect *e) {
    struct witness_set *s = &w->sets[w->now];
    if (!e->writes) return;
    for (size_t i = 0; i < e->key_count; i++)
        if (e->keys[i].use & EFFECT_WRITE) use_database(w, e->keys[i].db);
    if (e->keys_unknown || (e->barrier && !e->no_data)) s->flush = true;
    for (size_t i = 0; i < e->key_count; i++)
        if (e->keys[i].use & EFFECT_WRITE) add(s, hash_of(e->keys[i].name));
}

void witness_sent(struct witness *w, const struct effect *effect) {
    if (w->watching && w->on) add_effect(w, effect);
}

void witness_sent_name(struct witness *w, int32_t db, struct slice name) {
    if (!w->watching || !w->on) return;
    use_database(w, db);
    add(&w->sets[w->now], hash_of(name));
}

static void add_item(struct witness *w, const struct lane_item *item) {
    if (item->effect != NULL) add_effect(w, item->effect);
    if (item->kind != LANE_BURST) return;
    for (size_t i = item->done; i < item->key_count; i++)
        add(&w->sets[w->now], hash_of(item->keys[i].name));
}

/* The set since the fence that is being sent: what is unanswered may be executed behind it. */
static void turn_sets(struct witness *w) {
    w->now ^= 1;
    empty(&w->sets[w->now]);
    if (!w->watching) return;
    for (unsigned i = 0; i < w->lanes->count; i++)
        for (const struct lane_item *item = w->lanes->lane[i].flight.head; item; item = item->next)
            add_item(w, item);
}

/* Between the last two fences, or since the last one. */
static bool is_ours(const struct witness *w, struct slice name) {
    uint64_t hash = hash_of(name);
    return has(&w->sets[w->now], hash) || (w->asked && has(&w->sets[w->now ^ 1], hash));
}

/* ---- names ---- */

static bool is_hidden(struct slice name) { /* C5a */
    return slice_starts(name, SLICE("drawbridge:"));
}

static void make_dirty(struct witness *w, struct slice name) {
    struct lane *l = &w->lanes->lane[lane_of(w->lanes->count, name)];
    w->figures.dirtied++;
    if (w->databases_beyond && lane_owns(l, name)) lane_keys_mark_slot(&l->keys, slot_cluster(name));
    for (unsigned i = 0; i < WITNESS_DATABASES / 64; i++)
        for (uint64_t bits = w->databases[i]; bits != 0; bits &= bits - 1)
            lane_named(l, (int32_t)(i * 64 + (unsigned)__builtin_ctzll(bits)), name);
}

/* ---- names of slots that may be ours soon ---- */

static void keep_name(struct witness *w, struct slice name) {
    uint32_t size = (uint32_t)name.size;
    if (buf_size(&w->kept) + name.size + sizeof size > WITNESS_WINDOW_BYTES) {
        unsigned slot = slot_cluster(name);
        w->kept_slots[slot / 64] |= UINT64_C(1) << (slot % 64);
        return;
    }
    buf_append(&w->kept, &size, sizeof size);
    buf_add(&w->kept, name);
}

static void drop_kept(struct witness *w) {
    buf_close(&w->kept);
    memset(w->kept_slots, 0, sizeof w->kept_slots);
    w->kept_flush = false;
}

void witness_keep(struct witness *w, bool keep) {
    if (!keep && w->keeping) drop_kept(w);
    w->keeping = keep;
}

void witness_owned(struct witness *w) {
    struct slice kept = buf_slice(&w->kept);
    while (kept.size > 0) {
        uint32_t size = 0;
        memcpy(&size, kept.data, sizeof size);
        kept = slice_drop(kept, sizeof size);
        struct slice name = slice_take(kept, size);
        const struct lane *l = &w->lanes->lane[lane_of(w->lanes->count, name)];
        if (lane_owns(l, name)) make_dirty(w, name);
        kept = slice_drop(kept, size);
    }
    for (unsigned slot = 0; slot < LANE_SLOTS; slot++) {
        struct lane *l = &w->lanes->lane[slot % w->lanes->count];
        if (((w->kept_slots[slot / 64] >> (slot % 64)) & 1) && lane_keys_owns(&l->keys, slot))
            lane_keys_mark_slot(&l->keys, slot);
    }
    if (w->kept_flush) w->flushed = true; /* everything, at the next fence */
    drop_kept(w);
}

void witness_name(struct witness *w, struct slice name) {
    if (!w->watching || !w->on) return;
    struct lane *l = &w->lanes->lane[lane_of(w->lanes->count, name)];
    if (is_hidden(name)) return;
    if (!lane_owns(l, name)) {
        if (w->keeping) keep_name(w, name);
        return;
    }
    w->figures.names++;
    uint32_t size = (uint32_t)name.size;
    if (buf_size(&w->window) + name.size + 5 > WITNESS_WINDOW_BYTES) {
        w->figures.dirtied++;
        lane_keys_mark_slot(&l->keys, slot_cluster(name));
        return;
    }
    uint8_t *to = buf_room(&w->window, 1 + sizeof size + name.size);
    to[0] = is_ours(w, name);
    memcpy(to + 1, &size, sizeof size);
    if (name.size > 0) memcpy(to + 1 + sizeof size, name.data, name.size);
    buf_filled(&w->window, 1 + sizeof size + name.size);
}

void witness_flush(struct witness *w) {
    if (!w->watching || !w->on) return;
    w->figures.names++;
    w->kept_flush |= w->keeping;
    const struct witness_set *now = &w->sets[w->now], *then = &w->sets[w->now ^ 1];
    if (now->flush || (w->asked && then->flush)) { /* explained, unless scripts ran */
        buf_byte(&w->window, 2);
        return;
    }
    w->flushed = true;
}

static void everything(struct witness *w) {
    w->figures.everything++;
    lanes_mark_all(w->lanes);
}

/* SCRIPTS: some ran, or it is not known: then nothing is explained. */
static void judge(struct witness *w, bool scripts) {
    struct slice window = buf_slice(&w->window);
    bool flushed = w->flushed;
    while (window.size > 0) {
        uint32_t size = 0;
        uint8_t how = window.data[0];
        window = slice_drop(window, 1);
        if (how == 2) { /* a flush */
            flushed |= scripts;
            w->figures.explained += !scripts;
            continue;
        }
        memcpy(&size, window.data, sizeof size);
        window = slice_drop(window, sizeof size);
        if (how == 1 && !scripts)
            w->figures.explained++;
        else
            make_dirty(w, slice_take(window, size));
        window = slice_drop(window, size);
    }
    if (flushed) everything(w);
    w->flushed = false;
    buf_clear(&w->window);
    buf_shrink(&w->window, 1u << 16);
}

/* ---- fences ---- */

bool witness_wants(const struct witness *w, uint64_t now_us, bool hurry) {
    if (!w->on || w->asked) return false;
    uint64_t since_us = now_us - w->asked_at_us;
    bool wanted = w->owed || w->wished || w->resuming || w->answers < 2 || buf_size(&w->window) > 0 || w->flushed ||
                  (w->watching && !witness_is_safe(w));
    if (!wanted) return since_us >= FENCE_IDLE_US;
    return hurry || w->answers < 2 || since_us >= FENCE_US;
}

void witness_asked(struct witness *w, uint64_t now_us) {
    ASSERT(w->on && !w->asked);
    turn_sets(w);
    w->asked = true;
    w->owed = w->wished = false;
    w->asked_at_us = now_us;
    w->figures.fences++;
}

static void note_databases(struct witness *w, const struct witness_answer *answer) {
    for (unsigned i = 0; i < WITNESS_DATABASES / 64; i++) w->databases[i] |= answer->databases[i];
    w->databases_beyond |= answer->databases_beyond;
}

static bool same_scripts(const struct witness_answer *a, const struct witness_answer *b) {
    return a->scripts_known && b->scripts_known && a->scripts == b->scripts;
}

/* What may have been missed before names came. */
static void resume(struct witness *w, const struct witness_answer *answer) {
    const struct witness_safe *safe = &w->safe;
    bool none = safe->known && answer->scripts_known && safe->scripts == answer->scripts &&
                strcmp(safe->run_id, w->run_id) == 0;
    w->resuming = false;
    w->figures.gaps++;
    if (!none) everything(w);
}

/* Every name of what ran before the fence before this one is judged now. */
static void note_safe(struct witness *w) {
    if (w->answers == 0 || !w->last.scripts_known) return;
    w->safe.known = true;
    w->safe.scripts = w->last.scripts;
    memcpy(w->safe.run_id, w->run_id, sizeof w->safe.run_id);
}

void witness_told(struct witness *w, const struct witness_answer *answer) {
    ASSERT(w->on && w->asked);
    w->asked = false;
    if (answer == NULL) {
        witness_owe(w);
        return;
    }
    w->proved = !w->owed;
    w->figures.answered++;
    note_databases(w, answer);
    if (w->watching) {
        if (w->resuming) resume(w, answer);
        judge(w, w->answers < 2 || !same_scripts(&w->before, answer));
        note_safe(w);
    }
    w->before = w->last;
    w->last = *answer;
    if (w->answers < 2) w->answers++;
}

/* ---- beginning and ending ---- */

void witness_init(struct witness *w, struct lanes *lanes) {
    *w = (struct witness){.lanes = lanes};
}

void witness_close(struct witness *w) {
    buf_close(&w->window);
    buf_close(&w->kept);
    mem_free(w->sets[0].at);
    mem_free(w->sets[1].at);
    *w = (struct witness){0};
}

void witness_watch(struct witness *w, bool watching) {
    if (w->watching == watching) return;
    w->watching = watching;
    buf_clear(&w->window);
    drop_kept(w);
    w->flushed = false;
    empty(&w->sets[0]);
    empty(&w->sets[1]);
    witness_owe(w);
    if (!watching) return;
    w->resuming = !witness_is_armed(w);
    w->safe.known = false;
    if (!w->resuming) note_safe(w);
}

void witness_begin(struct witness *w, const char *run_id) {
    ASSERT(!w->on);
    w->on = true;
    witness_owe(w);
    w->resuming = w->watching;
    w->answers = 0;
    (void)snprintf(w->run_id, sizeof w->run_id, "%s", run_id);
}

/* What came is dirty, for nobody will explain it. */
void witness_end(struct witness *w) {
    if (!w->on) return;
    if (w->watching) {
        judge(w, true);
        w->figures.gaps++;
    }
    w->on = w->asked = false;
}

/* ---- what P answers ---- */

/* The text of one reply; false: it is an error, or nothing. */
static bool take_text(struct slice *replies, struct slice *text, bool *nothing_proved) {
    struct resp_token t;
    struct why why;
    size_t used = 0;
    if (resp_next(&resp_limits_server, *replies, &t, &used, &why) != STEP_DONE) {
        *nothing_proved = true;
        return false;
    }
    *replies = slice_drop(*replies, used);
    *text = t.text;
    if (t.kind == RESP_ERROR)
        *nothing_proved |= slice_starts(t.text, SLICE("BUSY")) || slice_starts(t.text, SLICE("LOADING"));
    return t.kind == RESP_BULK || t.kind == RESP_VERBATIM;
}

/* The line at the front of TEXT, which is dropped from it. */
static struct slice take_line(struct slice *text) {
    const uint8_t *end = memchr(text->data, '\n', text->size);
    size_t size = end != NULL ? (size_t)(end - text->data) : text->size;
    struct slice line = slice_take(*text, size);
    *text = slice_drop(*text, end != NULL ? size + 1 : size);
    return line;
}

static bool digits(struct slice *line, uint64_t *number) {
    size_t at = 0;
    for (*number = 0; at < line->size && line->data[at] >= '0' && line->data[at] <= '9'; at++)
        *number = *number * 10 + (uint64_t)(line->data[at] - '0');
    *line = slice_drop(*line, at);
    return at > 0;
}

static void read_scripts(struct slice text, struct witness_answer *answer) {
    static const char *const names[] = {"cmdstat_eval:calls=", "cmdstat_evalsha:calls=",
                                        "cmdstat_fcall:calls="};
    while (text.size > 0) {
        struct slice line = take_line(&text);
        if (slice_starts(line, SLICE("# Commandstats"))) answer->scripts_known = true;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            uint64_t calls = 0;
            if (!slice_starts(line, slice_text(names[i]))) continue;
            line = slice_drop(line, strlen(names[i]));
            if (digits(&line, &calls)) answer->scripts += calls;
        }
    }
}

static void read_databases(struct slice text, struct witness_answer *answer) {
    while (text.size > 0) {
        struct slice line = take_line(&text);
        uint64_t db = 0;
        if (!slice_starts(line, SLICE("db"))) continue;
        line = slice_drop(line, 2);
        if (!digits(&line, &db)) continue;
        if (db < WITNESS_DATABASES)
            answer->databases[db / 64] |= UINT64_C(1) << (db % 64);
        else
            answer->databases_beyond = true;
    }
}

bool witness_read(struct slice replies, struct witness_answer *answer) {
    struct slice text;
    bool nothing_proved = false;
    *answer = (struct witness_answer){0};
    if (take_text(&replies, &text, &nothing_proved)) read_scripts(text, answer);
    if (take_text(&replies, &text, &nothing_proved)) read_databases(text, answer);
    return !nothing_proved;
}

/* ---- over the death of the process ---- */

void witness_safe_write(const struct witness_safe *safe, char text[WITNESS_SAFE_SIZE]) {
    memset(text, ' ', WITNESS_SAFE_SIZE);
    int size = snprintf(text, WITNESS_SAFE_SIZE, "%.40s %" PRIu64 " .", safe->run_id, safe->scripts);
    ASSERT(size > 0 && size < (int)WITNESS_SAFE_SIZE);
    text[size] = ' ';
    text[WITNESS_SAFE_SIZE - 1] = '\n';
}

void witness_safe_read(struct witness_safe *safe, struct slice text) {
    *safe = (struct witness_safe){0};
    const uint8_t *space = text.size == WITNESS_SAFE_SIZE ? memchr(text.data, ' ', text.size) : NULL;
    size_t size = space != NULL ? (size_t)(space - text.data) : 0;
    if (size == 0 || size >= sizeof safe->run_id) return;
    memcpy(safe->run_id, text.data, size);
    struct slice rest = slice_drop(text, size + 1);
    safe->known = digits(&rest, &safe->scripts) && slice_starts(rest, SLICE(" ."));
}

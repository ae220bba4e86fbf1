/* deadlines.c -- when keys at a target will vanish by themselves. See deadlines.h.
 *
 * Open addressing with linear probing by the key's hash alone, so that SWAPDB only rewrites the
 * databases in place. A removed slot is a grave: hash and database stay.
 *
 * A log entry has the form of a slot. Deadlines above the largest one are words:
 *   REMOVED          the key has no deadline any more
 *   EVENT            hash: its offset; database: which event; its arguments are the next entry's hash
 */
#include "syncer/deadlines.h"

#include "lib/base/mem.h"
#include "syncer/keymap.h"

#define AT_BITS 48
#define AT_MASK ((UINT64_C(1) << AT_BITS) - 1)
#define REMOVED AT_MASK
#define EVENT (AT_MASK - 1)
#define AT_MAX (AT_MASK - 2)

enum event { EVENT_NOTHING, EVENT_SWAP, EVENT_FLUSH, EVENT_FLUSH_ALL, EVENT_DOUBT };

static uint64_t pack(int db, uint64_t at) { return (uint64_t)((unsigned)db & 0xffff) << AT_BITS | at; }
static uint64_t at_of(uint64_t when) { return when & AT_MASK; }
static unsigned db_of(uint64_t when) { return (unsigned)(when >> AT_BITS); }
static bool is_grave(const struct deadline_slot *s) { return at_of(s->when) == REMOVED; }

static struct deadline_slot *slot_of(const struct deadline_table *table, uint64_t hash, unsigned db) {
    for (size_t i = hash & (table->cap - 1);; i = (i + 1) & (table->cap - 1)) {
        struct deadline_slot *s = &table->slots[i];
        if (s->when == 0 || (s->hash == hash && db_of(s->when) == db)) return s;
    }
}

/* In doubt a grave says that the key has no deadline, and is kept. */
static void rebuild(struct deadline_table *table) {
    struct deadline_table next = {.cap = 64, .doubt = table->doubt};
    while (next.cap < (table->doubt ? table->used : table->count) * 4) next.cap *= 2;
    next.slots = NEW_ARRAY(struct deadline_slot, next.cap);
    for (size_t i = 0; i < table->cap; i++) {
        const struct deadline_slot *s = &table->slots[i];
        if (s->when == 0 || (is_grave(s) && !table->doubt)) continue;
        *slot_of(&next, s->hash, db_of(s->when)) = *s;
        next.used++;
        if (!is_grave(s)) next.count++;
    }
    mem_free(table->slots);
    *table = next;
}

static void make_room(struct deadline_table *table) {
    if ((table->used + 1) * 4 > table->cap * 3) rebuild(table);
}

static void table_set(struct deadline_table *table, const struct deadline_slot *change) {
    make_room(table);
    struct deadline_slot *s = slot_of(table, change->hash, db_of(change->when));
    if (s->when == 0) table->used++;
    if (s->when == 0 || is_grave(s)) table->count++;
    *s = *change;
}

static int64_t table_find(const struct deadline_table *table, uint64_t hash, unsigned db) {
    if (table->count == 0) return DEADLINE_NONE;
    const struct deadline_slot *s = slot_of(table, hash, db);
    return s->when == 0 || is_grave(s) ? DEADLINE_NONE : (int64_t)at_of(s->when);
}

/* In doubt: the earliest that can be for a key of which nothing is known. */
static int64_t doubt_find(const struct deadline_table *table, uint64_t hash, unsigned db) {
    if (!table->doubt) return table_find(table, hash, db);
    if (table->cap == 0) return 1;
    const struct deadline_slot *s = slot_of(table, hash, db);
    return s->when == 0 ? 1 : is_grave(s) ? DEADLINE_NONE : (int64_t)at_of(s->when);
}

static void bury(struct deadline_table *table, struct deadline_slot *s) {
    if (s->when == 0 || is_grave(s)) return;
    s->when |= REMOVED;
    table->count--;
}

/* Nothing was known of the key: now it is that it has none. */
static void table_remove(struct deadline_table *table, const struct deadline_slot *change) {
    if (table->doubt) make_room(table);
    if (table->cap == 0) return;
    struct deadline_slot *s = slot_of(table, change->hash, db_of(change->when));
    if (s->when != 0 || !table->doubt) {
        bury(table, s);
        return;
    }
    *s = *change;
    table->used++;
}

static void table_clear(struct deadline_table *table) {
    mem_free(table->slots);
    *table = (struct deadline_table){0};
}

/* ---- events ---- */

static void table_swap(struct deadline_table *table, unsigned a, unsigned b) {
    for (size_t i = 0; i < table->cap; i++) {
        struct deadline_slot *s = &table->slots[i];
        if (s->when == 0) continue;
        if (db_of(s->when) == a) s->when = pack((int)b, at_of(s->when));
        else if (db_of(s->when) == b) s->when = pack((int)a, at_of(s->when));
    }
}

static void table_flush(struct deadline_table *table, unsigned db) {
    for (size_t i = 0; i < table->cap; i++)
        if (db_of(table->slots[i].when) == db) bury(table, &table->slots[i]);
}

/* Obey the event that EVENT and ARGUMENTS tell, unless the table stands behind it already. */
static bool obey(struct deadlines *deadlines, const struct deadline_slot *event, const struct deadline_slot *arguments) {
    unsigned a = (unsigned)(arguments->hash >> 32) & 0xffff, b = (unsigned)arguments->hash & 0xffff;
    if (event->hash <= deadlines->last_event) return false;
    deadlines->last_event = event->hash;
    switch ((enum event)db_of(event->when)) {
    case EVENT_NOTHING: break;
    case EVENT_SWAP: table_swap(&deadlines->table, a, b); break;
    case EVENT_FLUSH: table_flush(&deadlines->table, a); break;
    case EVENT_FLUSH_ALL: table_clear(&deadlines->table); break;
    case EVENT_DOUBT:
        table_clear(&deadlines->table);
        deadlines->table.doubt = true;
        break;
    }
    return true;
}

/* ---- lookups and changes ---- */

void deadlines_close(struct deadlines *deadlines) {
    table_clear(&deadlines->table);
    table_clear(&deadlines->batch);
    mem_free(deadlines->changes);
    buf_close(&deadlines->log);
    *deadlines = (struct deadlines){0};
}

void deadlines_forget_all(struct deadlines *deadlines) {
    table_clear(&deadlines->table);
    deadlines->last_event = 0;
    deadlines_abort(deadlines);
}

int64_t deadlines_find(const struct deadlines *deadlines, int db, struct slice key) {
    if (deadlines->swapped) return 1;
    if (deadlines->table.count == 0 && deadlines->batch.count == 0 && !deadlines->table.doubt) return DEADLINE_NONE;
    uint64_t hash = keymap_hash(0, key);
    unsigned n = (unsigned)db & 0xffff;
    int64_t a = doubt_find(&deadlines->table, hash, n), b = table_find(&deadlines->batch, hash, n);
    return a < b ? a : b;
}

int64_t deadlines_known(const struct deadlines *deadlines, int db, struct slice key) {
    return table_find(&deadlines->table, keymap_hash(0, key), (unsigned)db & 0xffff);
}

void deadlines_doubt(struct deadlines *deadlines) {
    deadlines_forget_all(deadlines);
    deadlines->table.doubt = true;
}

static void note(struct deadlines *deadlines, struct deadline_slot change) {
    if (deadlines->change_count == deadlines->change_cap) {
        deadlines->change_cap = deadlines->change_cap ? deadlines->change_cap * 2 : 64;
        deadlines->changes = mem_realloc(deadlines->changes, deadlines->change_cap * sizeof *deadlines->changes);
    }
    deadlines->changes[deadlines->change_count++] = change;
}

void deadlines_set(struct deadlines *deadlines, int db, struct slice key, int64_t at_ms) {
    uint64_t at = at_ms < 1 ? 1 : (uint64_t)at_ms > AT_MAX ? AT_MAX : (uint64_t)at_ms;
    struct deadline_slot change = {keymap_hash(0, key), pack(db, at)};
    note(deadlines, change);
    if ((int64_t)at < table_find(&deadlines->batch, change.hash, db_of(change.when))) table_set(&deadlines->batch, &change);
    buf_append(&deadlines->log, &change, sizeof change);
}

void deadlines_remove(struct deadlines *deadlines, int db, struct slice key) {
    if (deadlines_find(deadlines, db, key) != DEADLINE_NONE)
        note(deadlines, (struct deadline_slot){keymap_hash(0, key), pack(db, REMOVED)});
}

static void note_event(struct deadlines *deadlines, enum event event, uint64_t offset, uint64_t arguments) {
    note(deadlines, (struct deadline_slot){offset, pack((int)event, EVENT)});
    note(deadlines, (struct deadline_slot){arguments, pack(0, EVENT)});
}

void deadlines_swap(struct deadlines *deadlines, int a, int b, uint64_t offset) {
    if (offset <= deadlines->last_event || a == b) return;
    note_event(deadlines, EVENT_SWAP, offset, (uint64_t)((unsigned)a & 0xffff) << 32 | ((unsigned)b & 0xffff));
    deadlines->swapped = true;
}

void deadlines_flush(struct deadlines *deadlines, int db, uint64_t offset) {
    if (offset <= deadlines->last_event) return;
    note_event(deadlines, db < 0 ? EVENT_FLUSH_ALL : EVENT_FLUSH, offset, (uint64_t)((unsigned)db & 0xffff) << 32);
}

/* Take the entry at AT, of COUNT that follow each other; how many it was. 0: an event that was cut. */
static size_t take(struct deadlines *deadlines, const struct deadline_slot *at, size_t count, bool *changed) {
    uint64_t time = at_of(at->when);
    *changed = true;
    if (time == EVENT) {
        if (count < 2) return 0;
        *changed = obey(deadlines, at, at + 1);
        return 2;
    }
    if (time != REMOVED) table_set(&deadlines->table, at);
    else table_remove(&deadlines->table, at);
    return 1;
}

void deadlines_commit(struct deadlines *deadlines) {
    for (size_t i = 0, used; i < deadlines->change_count; i += used) {
        bool changed;
        const struct deadline_slot *c = &deadlines->changes[i];
        used = take(deadlines, c, deadlines->change_count - i, &changed);
        ASSERT(used > 0);
        if (changed) buf_append(&deadlines->log, c, used * sizeof *c);
    }
    deadlines_abort(deadlines);
}

void deadlines_abort(struct deadlines *deadlines) {
    deadlines->change_count = 0;
    deadlines->swapped = false;
    table_clear(&deadlines->batch);
}

/* ---- the file ---- */

/* An addition of a batch that never came to be is kept beside what was there: the earlier counts. */
void deadlines_load(struct deadlines *deadlines, struct slice log) {
    deadlines_forget_all(deadlines);
    for (size_t at = 0, count = 1; at + sizeof(struct deadline_slot) <= log.size && count > 0;
         at += count * sizeof(struct deadline_slot)) {
        struct deadline_slot entry[2] = {{0}};
        bool changed, two = at + sizeof entry <= log.size;
        memcpy(entry, log.data + at, two ? sizeof entry : sizeof *entry);
        uint64_t time = at_of(entry[0].when);
        count = 1;
        if (time == 0 || (time <= AT_MAX && (int64_t)time >= table_find(&deadlines->table, entry[0].hash, db_of(entry[0].when)))) continue;
        count = take(deadlines, entry, two ? 2 : 1, &changed);
    }
}

void deadlines_save(const struct deadlines *deadlines, bool with_event, struct buf *log) {
    const struct deadline_slot doubt[2] = {{1, pack(EVENT_DOUBT, EVENT)}, {0, pack(0, EVENT)}};
    if (deadlines->table.doubt) buf_append(log, doubt, sizeof doubt);
    for (size_t i = 0; i < deadlines->table.cap; i++) {
        const struct deadline_slot *s = &deadlines->table.slots[i];
        if (s->when != 0 && (!is_grave(s) || deadlines->table.doubt)) buf_append(log, s, sizeof *s);
    }
    if (!with_event || deadlines->last_event == 0) return;
    struct deadline_slot event[2] = {{deadlines->last_event, pack(EVENT_NOTHING, EVENT)}, {0, pack(0, EVENT)}};
    buf_append(log, event, sizeof event);
}

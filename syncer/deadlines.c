/* deadlines.c -- when keys at a foreign target will vanish by themselves. See deadlines.h.
 *
 * Open addressing with linear probing. A removed slot is a grave: hash stays, at_ms is GRAVE.
 */
#include "syncer/deadlines.h"

#include "lib/base/mem.h"

#define GRAVE INT64_MIN

static struct deadline_slot *slot_of(const struct deadline_table *table, uint64_t hash) {
    for (size_t i = hash & (table->cap - 1);; i = (i + 1) & (table->cap - 1)) {
        struct deadline_slot *s = &table->slots[i];
        if (s->at_ms == 0 || s->hash == hash) return s;
    }
}

static void rebuild(struct deadline_table *table) {
    struct deadline_table next = {.cap = 64};
    while (next.cap < table->count * 4) next.cap *= 2;
    next.slots = NEW_ARRAY(struct deadline_slot, next.cap);
    for (size_t i = 0; i < table->cap; i++) {
        const struct deadline_slot *s = &table->slots[i];
        if (s->at_ms == 0 || s->at_ms == GRAVE) continue;
        *slot_of(&next, s->hash) = *s;
        next.used++;
        next.count++;
    }
    mem_free(table->slots);
    *table = next;
}

static void table_set(struct deadline_table *table, uint64_t hash, int64_t at_ms) {
    if ((table->used + 1) * 4 > table->cap * 3) rebuild(table);
    struct deadline_slot *s = slot_of(table, hash);
    if (s->at_ms == 0) table->used++;
    if (s->at_ms == 0 || s->at_ms == GRAVE) table->count++;
    *s = (struct deadline_slot){.hash = hash, .at_ms = at_ms};
}

static int64_t table_find(const struct deadline_table *table, uint64_t hash) {
    if (table->count == 0) return DEADLINE_NONE;
    const struct deadline_slot *s = slot_of(table, hash);
    return s->at_ms == 0 || s->at_ms == GRAVE ? DEADLINE_NONE : s->at_ms;
}

static void table_remove(struct deadline_table *table, uint64_t hash) {
    if (table->count == 0) return;
    struct deadline_slot *s = slot_of(table, hash);
    if (s->at_ms == 0 || s->at_ms == GRAVE) return;
    s->at_ms = GRAVE;
    table->count--;
}

static void table_clear(struct deadline_table *table) {
    mem_free(table->slots);
    *table = (struct deadline_table){0};
}

void deadlines_close(struct deadlines *deadlines) {
    table_clear(&deadlines->table);
    table_clear(&deadlines->batch);
    mem_free(deadlines->changes);
    buf_close(&deadlines->log);
    *deadlines = (struct deadlines){0};
}

void deadlines_forget_all(struct deadlines *deadlines) {
    table_clear(&deadlines->table);
    deadlines_abort(deadlines);
}

int64_t deadlines_find(const struct deadlines *deadlines, uint64_t hash) {
    int64_t a = table_find(&deadlines->table, hash), b = table_find(&deadlines->batch, hash);
    return a < b ? a : b;
}

static void note(struct deadlines *deadlines, struct deadline_change change) {
    if (deadlines->change_count == deadlines->change_cap) {
        deadlines->change_cap = deadlines->change_cap ? deadlines->change_cap * 2 : 64;
        deadlines->changes = mem_realloc(deadlines->changes, deadlines->change_cap * sizeof *deadlines->changes);
    }
    deadlines->changes[deadlines->change_count++] = change;
}

void deadlines_set(struct deadlines *deadlines, uint64_t hash, int64_t at_ms) {
    struct deadline_change change = {hash, at_ms > 0 ? at_ms : 1};
    note(deadlines, change);
    if (change.at_ms < table_find(&deadlines->batch, hash)) table_set(&deadlines->batch, hash, change.at_ms);
    buf_append(&deadlines->log, &change, sizeof change);
}

void deadlines_remove(struct deadlines *deadlines, uint64_t hash) {
    if (deadlines_find(deadlines, hash) != DEADLINE_NONE) note(deadlines, (struct deadline_change){hash, DEADLINE_NONE});
}

void deadlines_commit(struct deadlines *deadlines) {
    for (size_t i = 0; i < deadlines->change_count; i++) {
        const struct deadline_change *c = &deadlines->changes[i];
        if (c->at_ms == DEADLINE_NONE) {
            table_remove(&deadlines->table, c->hash);
            buf_append(&deadlines->log, c, sizeof *c);
        } else {
            table_set(&deadlines->table, c->hash, c->at_ms);
            buf_append(&deadlines->log, c, sizeof *c);
        }
    }
    deadlines_abort(deadlines);
}

void deadlines_abort(struct deadlines *deadlines) {
    deadlines->change_count = 0;
    table_clear(&deadlines->batch);
}

/* An addition of a batch that never came to be is kept beside what was there: the earlier counts. */
void deadlines_load(struct deadlines *deadlines, struct slice log) {
    deadlines_forget_all(deadlines);
    for (size_t at = 0; at + sizeof(struct deadline_change) <= log.size; at += sizeof(struct deadline_change)) {
        struct deadline_change c;
        memcpy(&c, log.data + at, sizeof c);
        if (c.at_ms == DEADLINE_NONE) table_remove(&deadlines->table, c.hash);
        else if (c.at_ms > 0 && c.at_ms < table_find(&deadlines->table, c.hash)) table_set(&deadlines->table, c.hash, c.at_ms);
    }
}

void deadlines_save(const struct deadlines *deadlines, struct buf *log) {
    for (size_t i = 0; i < deadlines->table.cap; i++) {
        const struct deadline_slot *s = &deadlines->table.slots[i];
        if (s->at_ms == 0 || s->at_ms == GRAVE) continue;
        struct deadline_change c = {s->hash, s->at_ms};
        buf_append(log, &c, sizeof c);
    }
}

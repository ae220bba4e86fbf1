/* snapshot_walk.c -- a snapshot's walk over all keys, a little at a time.
 *
 *     big values that were begun  -->  the databases, as they were named at the start
 *                                 -->  graveyards: databases that were cleared meanwhile
 *
 * The clock is looked at after each key or element, or some pages of a string: what lies between
 * two looks is one copy of at most some ten kilobytes, whatever the size of the data. (Elements of
 * big values may be bigger.) Keys of a pair of buckets are fetched from memory together.
 */
#include "server/snapshot_inside.h"

#include "lib/base/mem.h"

#define PAIR_USUAL 64
#define EMPTY_AT_ONCE 512 /* tables passed over in a step */

struct found {
    struct entry *usual[PAIR_USUAL], **entries;
    size_t count, room;
};

static void collect(void *ctx, void *item) {
    struct found *found = ctx;
    __builtin_prefetch(item);
    if (found->count == found->room) {
        struct entry **more = NEW_ARRAY(struct entry *, found->room * 2);
        memcpy(more, found->entries, found->count * sizeof *more);
        if (found->entries != found->usual) mem_free(found->entries);
        found->entries = more;
        found->room *= 2;
    }
    found->entries[found->count++] = item;
}

static void fetch_ahead(const struct found *found) {
    for (size_t i = 0; i < found->count; i++) entry_prefetch(found->entries[i]);
}

static bool is_captured(const struct snapshot *s, const struct entry *e) {
    uint8_t all = s->engine->snapshot_polarity[s->place.table];
    return ((e->colours ^ all) & snapshot_bit(s)) == 0;
}

/* A pair of buckets at the place. The place moves on when all of them are captured; it may take
 * several turns, and keys may come and go between them. */
static void walk_pair(struct snapshot *s, struct table *table, const struct budget *budget) {
    struct walk_place *place = &s->place;
    struct found found;
    found.count = 0;
    found.room = PAIR_USUAL;
    found.entries = found.usual;
    uint64_t next = table_scan(table, place->cursor, collect, &found);
    fetch_ahead(&found);
    size_t i = 0;
    for (bool over = false; i < found.count && !over; i++) {
        if (is_captured(s, found.entries[i])) continue;
        snapshot_capture(s, place->origin, found.entries[i]);
        over = budget_is_over(budget);
    }
    if (found.entries != found.usual) mem_free(found.entries);
    if (i < found.count) return;
    place->cursor = next;
    if (next == 0) place->table++;
}

static struct partitions *keys_of(const struct snapshot *s) {
    if (s->place.graveyard) return s->place.graveyard->keys;
    return s->engine->dbs[s->place_of[s->place.origin]].partitions;
}

/* The next database or graveyard; false when there is none. */
static bool go_on(struct snapshot *s) {
    struct walk_place *place = &s->place;
    if (place->graveyard) graveyard_leave(s->all, place->graveyard, s);
    *place = (struct walk_place){.is_set = true};
    if (s->next_db < s->engine->db_count) {
        place->origin = s->next_db++;
        return true;
    }
    for (struct graveyard *g = s->all->graveyards; g; g = g->next) {
        if (!(g->needed_by & snapshot_bit(s))) continue;
        place->graveyard = g;
        place->origin = g->origin[s->slot];
        return true;
    }
    place->is_set = false;
    return false;
}

/* False when nothing is left. */
static bool step(struct snapshot *s, const struct budget *budget) {
    if (s->parts) {
        (void)part_step(s, budget);
        return true;
    }
    struct walk_place *place = &s->place;
    if (!place->is_set && !go_on(s)) return false;
    struct partitions *keys = keys_of(s);
    for (unsigned empty = 0; place->table < keys->count; place->table++, place->cursor = 0) {
        if (table_count(&keys->tables[place->table]) > 0 && snapshot_wants_table(s, place->table)) {
            walk_pair(s, &keys->tables[place->table], budget);
            return true;
        }
        if (++empty == EMPTY_AT_ONCE) return true;
    }
    return go_on(s);
}

bool snapshot_walk(struct snapshot *s, uint64_t limit_us) {
    struct budget budget = {s->engine->clock, clock_mono_us(s->engine->clock) + limit_us};
    do {
        if (!step(s, &budget)) return true;
        snapshot_push(s);
    } while (!budget_is_over(&budget));
    return false;
}

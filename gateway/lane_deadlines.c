/* lane_deadlines.c -- the volatile keys of a lane. See lane_deadlines.h. */
#include "gateway/lane_deadlines.h"

#include "lib/base/mem.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define CAP_FIRST 64u

void lane_deadlines_init(struct lane_deadlines *d, const struct lane_journal *journal, size_t max) {
    *d = (struct lane_deadlines){.journal = journal, .max = max};
}

void lane_deadlines_close(struct lane_deadlines *d) {
    mem_free(d->places);
    d->places = NULL;
    d->cap = d->used = d->count = 0;
}

uint64_t lane_deadlines_hash(int32_t db, struct slice name) {
    uint64_t hash = XXH3_64bits_withSeed(name.data, name.size, (uint64_t)(uint32_t)db + 1);
    return (uint64_t)slot_cluster(name) << 50 | hash >> 14;
}

/* The place of HASH, or the one where it would go. */
static struct lane_deadline *place_of(const struct lane_deadlines *d, uint64_t hash) {
    struct lane_deadline *free_place = NULL;
    for (size_t i = (size_t)hash & (d->cap - 1);; i = (i + 1) & (d->cap - 1)) {
        struct lane_deadline *p = &d->places[i];
        if (p->at_ms == 0) return free_place ? free_place : p;
        if (p->at_ms == LANE_DEADLINE_NONE) {
            if (free_place == NULL) free_place = p;
        } else if (p->hash == hash) {
            return p;
        }
    }
}

static bool is_taken(const struct lane_deadline *p) {
    return p->at_ms != 0 && p->at_ms != LANE_DEADLINE_NONE;
}

int64_t lane_deadlines_find(const struct lane_deadlines *d, uint64_t hash) {
    if (d->lost) return 1;
    if (d->count == 0) return LANE_DEADLINE_NONE;
    const struct lane_deadline *p = place_of(d, hash);
    return is_taken(p) ? p->at_ms : LANE_DEADLINE_NONE;
}

/* A fresh table of CAP places, without those whose deadline lies before GONE_MS. */
static void rebuild(struct lane_deadlines *d, size_t cap, int64_t gone_ms) {
    struct lane_deadline *old = d->places;
    size_t old_cap = d->cap;
    d->places = NEW_ARRAY(struct lane_deadline, cap);
    d->cap = cap;
    d->used = d->count = 0;
    for (size_t i = 0; i < old_cap; i++) {
        if (!is_taken(&old[i])) continue;
        if (old[i].at_ms < gone_ms) {
            d->journal->deadline(d->journal->self, old[i].hash, 0);
            continue;
        }
        *place_of(d, old[i].hash) = old[i];
        d->used++;
        d->count++;
    }
    mem_free(old);
}

static bool make_room(struct lane_deadlines *d, int64_t gone_ms) {
    if (d->count >= d->max) {
        rebuild(d, d->cap, gone_ms);
        if (d->count >= d->max) return false;
    }
    if (d->cap == 0 || d->used + 1 > d->cap / 4 * 3) {
        size_t cap = CAP_FIRST;
        while (cap / 2 < d->count + 1) cap *= 2;
        rebuild(d, cap, 0);
    }
    return true;
}

static void unset(struct lane_deadlines *d, uint64_t hash) {
    if (d->count == 0) return;
    struct lane_deadline *p = place_of(d, hash);
    if (!is_taken(p)) return;
    d->journal->deadline(d->journal->self, hash, 0);
    p->at_ms = LANE_DEADLINE_NONE;
    d->count--;
}

void lane_deadlines_set(struct lane_deadlines *d, uint64_t hash, int64_t at_ms, int64_t gone_ms) {
    if (d->lost) {
        /* The journal has bounds of its own: after a restart there may be room again. */
        d->journal->deadline(d->journal->self, hash,
                             at_ms == LANE_DEADLINE_NONE ? 0
                             : at_ms > 0                 ? at_ms
                                                         : 1);
        return;
    }
    if (at_ms == LANE_DEADLINE_NONE) {
        unset(d, hash);
        return;
    }
    if (!make_room(d, gone_ms)) {
        d->lost = true;
        lane_deadlines_set(d, hash, at_ms, gone_ms);
        return;
    }
    if (at_ms <= 0) at_ms = 1;
    struct lane_deadline *p = place_of(d, hash);
    if (!is_taken(p)) {
        if (p->at_ms == 0) d->used++;
        d->count++;
        p->hash = hash;
    } else if (p->at_ms == at_ms) {
        return;
    }
    p->at_ms = at_ms;
    d->journal->deadline(d->journal->self, hash, at_ms);
}

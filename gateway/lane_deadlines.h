/* lane_deadlines.h -- the volatile keys of a lane: those that will vanish by themselves (C12a).
 *
 * Per key a hash of 64 bits and the deadline, 16 bytes. Two keys with one hash are taken for one.
 * The hash names the key's slot too, so that the journal can be read by other lanes than wrote it.
 *
 * Memory: at most `max` keys. Without room every key counts as volatile, with a deadline that has
 * passed (`lost`), until the table is emptied; what comes of it is copies, not differences. Keys
 * whose deadline lies so far back that both sides have deleted them leave the table when it is
 * full: only if F does not keep them (import mode).
 */
#ifndef GATEWAY_LANE_DEADLINES_H
#define GATEWAY_LANE_DEADLINES_H

#include "gateway/lane_journal.h"

#include "lib/redis/slot.h"

#define LANE_DEADLINE_NONE INT64_MAX

struct lane_deadline {
    uint64_t hash;
    int64_t at_ms; /* 0: an empty place; LANE_DEADLINE_NONE: a place that was emptied */
};

struct lane_deadlines {
    const struct lane_journal *journal;
    struct lane_deadline *places;
    size_t cap, used, count, max; /* used: with emptied places */
    bool lost;
};

void lane_deadlines_init(struct lane_deadlines *d, const struct lane_journal *journal, size_t max);
void lane_deadlines_close(struct lane_deadlines *d);

uint64_t lane_deadlines_hash(int32_t db, struct slice name);
static inline unsigned lane_deadlines_slot(uint64_t hash) {
    return (unsigned)(hash >> 50); /* < SLOT_CLUSTER_COUNT, which is 2^14 */
}

/* No key has one: there is nothing to ask for, and nothing to take back. */
static inline bool lane_deadlines_none(const struct lane_deadlines *d) {
    return d->count == 0 && !d->lost;
}

/* The time at which the key may vanish; LANE_DEADLINE_NONE: it does not. */
int64_t lane_deadlines_find(const struct lane_deadlines *d, uint64_t hash);

/* AT_MS: since 1970; one that is not positive counts as 1. LANE_DEADLINE_NONE: it has none now.
 * GONE_MS: what is older may leave the table when it is full; 0: nothing may. */
void lane_deadlines_set(struct lane_deadlines *d, uint64_t hash, int64_t at_ms, int64_t gone_ms);

#endif

/* twins.h -- find out whether the same bytes were seen before, in one collection.
 *
 * A table of 128-bit hashes (XXH3 with a secret seed), 16 bytes each, at most two thirds full. It
 * grows with what is added and never over its limit; what does not fit is not checked:
 * `full` says so.
 *
 * In a large table each look-up waits for memory; so hashes wait in a short queue while their
 * places are fetched, and a twin is told a few elements late, at twins_done() at the latest.
 */
#ifndef LIB_REDIS_TWINS_H
#define LIB_REDIS_TWINS_H

#include "lib/base/slice.h"

struct twins_slot {
    uint64_t low, high; /* both 0: empty */
};

#define TWINS_QUEUE 16u

struct twins {
    struct twins_slot *slots;
    size_t size, allocated, used; /* size: a power of two, or 0 */
    size_t bytes_max;
    bool full;
    size_t queued;
    struct twins_slot queue[TWINS_QUEUE];
};

void twins_init(struct twins *twins, uint64_t bytes_max);
void twins_close(struct twins *twins);

/* Forget all; about EXPECTED will come (a claim from outside does no harm). */
void twins_reset(struct twins *twins, uint64_t expected);

/* False if these bytes, or others before them, were added twice since the reset. */
bool twins_add(struct twins *twins, struct slice bytes);

/* The same for all that was added. */
bool twins_done(struct twins *twins);

#endif

/* audit_end.h -- one end of an audit: all of its keys at one point in time, by slot (C28).
 *
 *     audit_end_learn   its clock, and what kind of server it is
 *     audit_end_begin   the point in time: `offset`; apply may go on
 *     audit_end_read    `totals`: how many keys each slot has, and the sum of their digests
 *     audit_end_sort    the keys of some slots go to `sorter`: those that differ
 *     audit_end_close
 *
 * A bundled server makes the digests itself, from a snapshot beside its engine (DRAWBRIDGE AUDIT),
 * and tells no more than the sums until keys are asked for. Of any other, or of one that refuses
 * that, the RDB is read here as a replica reads it, and what is to be known of each key is put on
 * disk in the order in which it came. Both are the same digests.
 *
 * Nothing is left out of the sums by its deadline: a slot whose sums are equal has the same keys
 * with the same deadlines at both ends, so that each of them is either there at both or gone at
 * both. Where they differ, each key is looked at.
 */
#ifndef SYNCER_AUDIT_END_H
#define SYNCER_AUDIT_END_H

#include "lib/redis/slot.h"
#include "syncer/link.h"
#include "syncer/snapshot.h"
#include "syncer/sorter.h"

#include <stdio.h>

struct rblock;

struct audit_total {
    uint64_t keys;
    struct digest digest;
};

struct audit_end {
    struct link *link;
    const struct config_side *side;
    const _Atomic bool *stop; /* gives up */
    int64_t ahead_ms;         /* its clock minus ours */
    bool counts_streams;      /* as 7.0 does (C31) */
    bool is_bundled;
    uint64_t offset;             /* of the point in time; valid when it has begun */
    struct audit_total *totals;  /* by slot; owned */
    struct sorter *sorter;       /* owned */
    _Atomic uint64_t keys;       /* seen so far */
    struct snapshot snapshot;    /* if there is no `survey` */
    struct rblock *survey;       /* of a bundled server; owned */
    _Atomic uint64_t told_bytes; /* by that */
    char *pile_path;             /* owned */
    FILE *pile;                  /* records, as DRAWBRIDGE AUDIT KEYS has them */
};

/* PATH: its files begin so. All are pieces of LINK's folder. */
void audit_end_init(struct audit_end *end, struct link *link, const struct config_side *side,
                    const _Atomic bool *stop, const char *path);
/* `keys` and audit_end_bytes() stay. */
void audit_end_close(struct audit_end *end);
void audit_end_learn(struct audit_end *end);

/* WHILE_WAITING(SELF), if not NULL, is called each 50 ms while a PSYNC does not begin. STREAMS: what
 * both ends can tell. */
MUST_CHECK enum err audit_end_begin(struct audit_end *end, const char *name, enum digest_streams streams,
                                    void (*while_waiting)(void *self), void *self, struct why *why);
MUST_CHECK enum err audit_end_read(struct audit_end *end, enum digest_streams streams, struct why *why);
/* SLOTS: one bit each. Then sorter_next(). */
MUST_CHECK enum err audit_end_sort(struct audit_end *end, const uint8_t slots[SLOT_CLUSTER_COUNT / 8], struct why *why);

uint64_t audit_end_bytes(struct audit_end *end); /* received for it; from any thread */

static inline bool audit_slot_has(const uint8_t *slots, unsigned slot) { return slots[slot / 8] >> slot % 8 & 1; }

#endif

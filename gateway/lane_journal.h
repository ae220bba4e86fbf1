/* lane_journal.h -- what a lane needs to remember when its process dies (C20, C21).
 *
 * A table of functions, so that a simulation can keep it in memory with the semantics of a crash.
 * All of them are called before what depends on them is sent, and must have taken effect (survive
 * the death of the process) when they return. None may call the lane.
 *
 * After a crash the owner reads it back and tells the lane, before anything else:
 *   each connection that was open  lane_buried() on its side: no copies until it is known to be
 * gone each entry not forgotten       lane_mark() for its keys; entry_all: lane_mark_all() each
 * dirty key, dirty slot     lane_mark(), lane_mark_slot() each deadline lane_deadlines_set() A
 * journal that is not of this boot, or missing: lane_mark_all(), and nothing else (C20).
 */
#ifndef GATEWAY_LANE_JOURNAL_H
#define GATEWAY_LANE_JOURNAL_H

#include "lib/base/slice.h"

enum lane_side { LANE_P, LANE_F };

struct lane_journal_key {
    struct slice name; /* borrowed for the call */
    int32_t db;
};

struct lane_journal {
    void *self;
    /* Item ID is about to leave for P, or an effect or a copy is about to be queued for F: it may
     * change KEYS. Entries with the same id add up. all: any key. */
    void (*entry)(void *self, uint64_t id, const struct lane_journal_key *keys, size_t count);
    void (*entry_all)(void *self, uint64_t id);
    /* It did nothing, or F confirmed it, or its keys were marked dirty. */
    void (*forget)(void *self, uint64_t id);
    void (*key)(void *self, int32_t db, struct slice name, bool dirty);
    void (*slot)(void *self, unsigned slot, bool dirty);
    /* When a key with this hash (lane_deadlines.h) may vanish; 0: it does not. */
    void (*deadline)(void *self, uint64_t hash, int64_t deadline_ms);
    /* A connection that will be written to; closed: it is known to be gone. */
    void (*opened)(void *self, enum lane_side side, int64_t server_id, const char *run_id);
    void (*gone)(void *self, enum lane_side side, int64_t server_id, const char *run_id);
};

/* One that remembers nothing: after a restart, everything is dirty. */
extern const struct lane_journal lane_journal_none;

#endif

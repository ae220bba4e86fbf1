/* snapshot.h -- the whole data of one moment, as an RDB, while writes go on.
 *
 * Used by BGSAVE, full sync, AOF rewrite, audits and slot moves: whoever needs a point in time.
 *
 *     start --> batch, batch, batch ... --> done
 *        \___________ abort ___________/
 *
 * The moment is the call of snapshot_start(): between two commands, never inside MULTI or a script.
 * The bytes are those of an RDB file, magic to checksum, and come in order in batches; or the maker
 * writes them into a file by itself and the owner hears only of the end.
 *
 * Flow: after a batch nothing more comes until snapshot_next() asks, so a slow consumer never makes
 * the server hold more than one batch for it.
 * Threads: everything is called on the engine's loop. `ended` is called exactly once, never from
 * within snapshot_start(); after it, or after snapshot_abort(), the handle is gone.
 *
 * There is no fork: the engine walks over the keys a little in each turn of the loop, and copies
 * what is about to change before it changes (snapshot_inside.h has how). Beside the engine a thread
 * packs and writes. Memory: what changes while it is being captured, and at most some megabytes on
 * the way to the writer; a slow consumer's bytes go to a file without a name in `dir`.
 * Big strings, lists, hashes, sets and sorted sets are captured in steps; a stream is copied in
 * one, however big it is.
 */
#ifndef SERVER_SNAPSHOT_H
#define SERVER_SNAPSHOT_H

#include "lib/base/hist.h"
#include "lib/redis/rdb_write.h"
#include "lib/redis/slot.h"

struct engine;
struct snapshot; /* a handle; owned by the module */

enum snapshot_scope { SNAPSHOT_ALL, SNAPSHOT_FUNCTIONS, SNAPSHOT_NOTHING };

/* A set of slots, for a snapshot of their keys alone: it takes time in proportion to them in
 * cluster mode, else to the partitions of 256 slots that they are in. */
struct slot_set {
    uint8_t bits[SLOT_CLUSTER_COUNT / 8];
};
static inline void slot_set_add(struct slot_set *set, unsigned slot) {
    set->bits[slot / 8] |= (uint8_t)(1u << slot % 8);
}
static inline bool slot_set_has(const struct slot_set *set, unsigned slot) {
    return set->bits[slot / 8] >> slot % 8 & 1;
}

/* Takes the bytes on the writer's thread, in place of a file or batches, and may block there. */
struct snapshot_sink {
    struct rdb_sink sink;
    /* No more come; what it answers is what `ended` hears. Not called after a failure. */
    enum err (*finish)(struct snapshot_sink *sink, struct why *why);
};

struct snapshot_want {
    enum snapshot_scope scope;
    const struct slot_set
        *slots;  /* SNAPSHOT_ALL: only their keys, and no functions. NULL: all. Copied. */
    bool one_db; /* SNAPSHOT_ALL: only the keys of this database */
    int db;
    /* Of the RDB, 6 to 10; 0: that of Redis 7.0. It ends with ERR_LIMIT if it may have no streams
     * and meets one. */
    unsigned version;
    bool plain;                 /* nothing is packed, whatever rdbcompression says */
    struct snapshot_sink *sink; /* lives until `ended`; NULL: none */
    const char *path; /* the maker writes, syncs and closes this file; NULL: batches. Copied. */
    bool aof_base;    /* the RDB is the base of an AOF: says so in its aux fields */
    const char *what; /* for INFO, a word that stays */
    void *owner;      /* given back in the calls below */
    void (*batch)(void *owner, struct slice bytes); /* bytes die when it returns */
    void (*ended)(void *owner, enum err err,
                  const char *why); /* OK: all bytes were given, or the file is whole */
};

/* How many may be under way at once. */
#define SNAPSHOTS_MAX 4

/* ERR_STATE: too many are under way. ERR_NOMEM, ERR_IO: it could not start. */
MUST_CHECK enum err snapshot_start(struct engine *engine, const struct snapshot_want *want,
                                   struct snapshot **snapshot, struct why *why);

/* The last batch is done with; the next one may come. Not needed for the first, nor with a path. */
void snapshot_next(struct snapshot *snapshot);

/* Stop. No call follows; a file is left for the owner to remove. */
void snapshot_abort(struct snapshot *snapshot);

/* How many are under way; for INFO and for commands that refuse while one is. */
unsigned snapshots_active(const struct engine *engine);

/* Whether one more may start now. After an abort the walk goes on for a while, and takes the place
 * of one until then. */
bool snapshot_may_start(const struct engine *engine);

/* Keys that are captured, and how many there were at the start. */
void snapshot_progress(const struct snapshot *snapshot, uint64_t *done, uint64_t *total);

/* One that has keys to walk over, for INFO. */
struct snapshot_about {
    const char *what;          /* whom it is for; "nobody": it was dropped, and only marks keys */
    uint64_t keys, keys_total; /* captured; in the databases at the start */
    uint64_t seconds;          /* since then */
};
/* False: there is none in this place; PLACE < SNAPSHOTS_MAX. */
bool snapshot_about(const struct engine *engine, unsigned place, struct snapshot_about *about);

/* The turns of all walks since the start of the process, or CONFIG RESETSTAT, in microseconds: how
 * long they took, and how much processor time (the rest is what others on the machine took). NULL:
 * there were none. */
struct snapshot_turns {
    struct hist took, worked;
};
const struct snapshot_turns *snapshot_turns(const struct engine *engine);
void snapshot_turns_forget(struct engine *engine);

#endif

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
#include "lib/base/slice.h"
#include "lib/base/why.h"

struct engine;
struct snapshot; /* a handle; owned by the module */

enum snapshot_scope { SNAPSHOT_ALL, SNAPSHOT_FUNCTIONS, SNAPSHOT_NOTHING };

struct snapshot_want {
    enum snapshot_scope scope;
    const char *path; /* the maker writes, syncs and closes this file; NULL: batches. Copied. */
    bool aof_base;    /* the RDB is the base of an AOF: says so in its aux fields */
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

/* Keys that are captured, and how many there were at the start. */
void snapshot_progress(const struct snapshot *snapshot, uint64_t *done, uint64_t *total);

/* The turns of all walks since the start of the process, in microseconds: how long they took, and
 * how much processor time (the rest is what others on the machine took). NULL: there were none. */
struct snapshot_turns {
    struct hist took, worked;
};
const struct snapshot_turns *snapshot_turns(const struct engine *engine);

#endif

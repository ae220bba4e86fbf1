/* snapshot_writer.h -- the thread beside a snapshot: packs, sums up and writes what the engine
 * copied, so that the engine never waits for a processor or a disk.
 *
 *     engine: tapes ---> [queue] ---> thread: LZF, CRC64 ---> a file
 *                                                        \--> [ready, up to 1 MB] ---> batches
 *                                                                 \--> spill file when that is full
 *
 * Given tapes are owned by the writer. Batches come on the engine's loop, one for each
 * snapshot_writer_next(); the first needs none. A consumer that is slow costs disk, not memory.
 */
#ifndef SERVER_SNAPSHOT_WRITER_H
#define SERVER_SNAPSHOT_WRITER_H

#include "lib/base/why.h"
#include "server/snapshot.h"
#include "server/snapshot_tapes.h"

#include <stdbool.h>
#include <uv.h>

struct snapshot_writer;

struct snapshot_writer_want {
    uv_loop_t *loop;
    struct snapshot_sink *sink; /* NULL: none */
    /* Created or emptied, synced at the end; removed if that is not reached. NULL: batches. Copied. */
    const char *path;
    bool syncs;                 /* every 32 MB, so that the end has little left to sync */
    unsigned version;           /* of the RDB */
    bool no_sum;                /* it ends without a checksum */
    void *owner;
    void (*batch)(void *owner, struct slice bytes); /* may call next and abort */
    /* There is work to be given again, after snapshot_writer_is_full() was true. */
    void (*hungry)(void *owner);
    /* Everything is written, or given out; or it failed. The writer is gone. */
    void (*ended)(void *owner, enum err err, const char *why);
};

/* ERR_NOMEM: no thread. That the file cannot be opened is told by ended(). */
MUST_CHECK enum err snapshot_writer_open(const struct snapshot_writer_want *want,
                                         struct snapshot_writer **writer, struct why *why);
/* What the RDB begins with: append to its `out` before the first tape. */
struct rdb_writer *snapshot_writer_head(struct snapshot_writer *writer);
/* Takes the tape's contents and leaves it empty, with room that the thread has made ready: the
 * engine then need not ask for memory, nor wait for the kernel to find pages. */
void snapshot_writer_give(struct snapshot_writer *writer, struct rdb_tape *tape);
/* The same, but onto the end of a chain that is given later. */
void snapshot_writer_set_aside(struct snapshot_writer *writer, struct rdb_tape *tape,
                               struct tapes *tapes);
/* A whole chain, which is empty then. O(1). */
void snapshot_writer_give_all(struct snapshot_writer *writer, struct tapes *tapes);
/* No tape follows. */
void snapshot_writer_finish(struct snapshot_writer *writer);
/* The thread has enough to do, or no room is ready: whoever can wait should, until hungry() is
 * called. */
bool snapshot_writer_is_full(struct snapshot_writer *writer);
void snapshot_writer_next(struct snapshot_writer *writer);
/* No call follows. The file is removed, but for one that is whole already: its owner removes it, too. */
void snapshot_writer_abort(struct snapshot_writer *writer);

#endif

/* snapshot.h -- a point in time of a server, read as a replica that wants the RDB alone (C28).
 *
 *     snapshot_open       connect, greet, ask: REPLCONF rdb-only 1, PSYNC ? -1
 *     snapshot_begin      wait for +FULLRESYNC: the offset of the point in time
 *     snapshot.source     the RDB, for rdb_reader_open(); ends where the RDB ends
 *     snapshot_close
 *
 * A server that does not know rdb-only sends its stream behind the RDB; closing ends that.
 */
#ifndef SYNCER_SNAPSHOT_H
#define SYNCER_SNAPSHOT_H

#include "lib/control/config.h"
#include "lib/redis/psync.h"
#include "lib/redis/rdb_read.h"

#include <stdatomic.h>

#define SNAPSHOT_PORT 1 /* told as listening-port, so that INFO replication shows which replica we are */

struct snapshot {
    struct rdb_source source; /* first */
    struct wire *wire;
    struct psync psync;
    struct buf in, out;
    size_t taken; /* bytes of `in` that psync.rdb stands in, to be consumed */
    struct slice left; /* of the piece of the RDB that is being handed out */
    bool begun, ended;
    uint64_t offset; /* valid when begun */
    _Atomic uint64_t read_bytes; /* of the RDB; may be asked from any thread */
    const _Atomic bool *stop;
};

MUST_CHECK enum err snapshot_open(struct snapshot *snapshot, const struct config_side *side, const char *name,
                                  const _Atomic bool *stop, struct why *why);

/* Wait up to TIMEOUT_MS; *BEGUN says whether the point in time is there. */
MUST_CHECK enum err snapshot_begin(struct snapshot *snapshot, int timeout_ms, bool *begun, struct why *why);

void snapshot_close(struct snapshot *snapshot);

#endif

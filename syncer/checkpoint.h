/* checkpoint.h -- the statement, kept at the target, 'everything of this source up to here is
 * applied' (C5), as one line of printable text:
 *
 *     drawbridge 1 stream <replid> <offset>.<copies> db=<n> lanes=1
 *     drawbridge 1 copy <replid> <offset>.0 db=<n> lanes=1 id=<copy> at=<byte of the RDB> rdb=<version>
 *
 * `copies` counts the single keys that were copied at one and the same offset (C7a). `lanes` is the
 * number of apply connections; this version writes and accepts one.
 */
#ifndef SYNCER_CHECKPOINT_H
#define SYNCER_CHECKPOINT_H

#include "lib/base/buf.h"
#include "lib/base/why.h"
#include "syncer/spool_meta.h"

#define CHECKPOINT_PREFIX "drawbridge:checkpoint:" /* of the key at a foreign target (C5a) */

enum checkpoint_kind { CHECKPOINT_NONE, CHECKPOINT_COPY, CHECKPOINT_STREAM };

/* A place in a source's history. */
struct place {
    uint64_t offset;
    uint32_t copies; /* single keys copied at this offset */
    int db;          /* selected behind it */
};

static inline int place_compare(const struct place *a, const struct place *b) {
    if (a->offset != b->offset) return a->offset < b->offset ? -1 : 1;
    return a->copies < b->copies ? -1 : a->copies > b->copies;
}

struct checkpoint {
    enum checkpoint_kind kind;
    char replid[REPLID_SIZE + 1];
    struct place place; /* COPY: the offset at which the RDB was taken */
    /* COPY only */
    char copy_id[REPLID_SIZE + 1];
    uint64_t rdb_offset; /* behind the last key that is at the target; 0: none yet */
    uint32_t rdb_db;
    unsigned rdb_version;
};

void checkpoint_write(const struct checkpoint *checkpoint, struct buf *text);

/* ERR_CORRUPT: not a checkpoint of ours. */
MUST_CHECK enum err checkpoint_read(struct slice text, struct checkpoint *checkpoint, struct why *why);

/* Whether KEY is one that a link keeps at a foreign target. */
bool checkpoint_is_key(struct slice key);

#endif

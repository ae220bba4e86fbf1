/* backlog.h -- the last bytes of the replication stream, kept once for all replicas.
 *
 *     begin                                                   end
 *       | block | block | block |  ...  | block | block | blo...|
 *       \____ in the file ____/ \ packed /\______ as it is _____/
 *             ^ what a replica has not been sent is an offset into this, never a copy
 *
 * Offsets are those of the stream: the first byte of a history has offset 1. A replica that lags
 * pins its place: nothing behind a pin is dropped, whatever the limit says. So that this costs disk
 * and not memory, a thread (backlog_store.h) packs the oldest blocks when memory gets short, and
 * puts them into a file without a name when it gets shorter. A reader of a block that is not here
 * asks for it with backlog_want(), and comes again when backlog_poll() says that something came.
 *
 * A backlog does not exist until the first replica comes; until then nothing is kept and, as in
 * Redis, the offset stands still.
 */
#ifndef SERVER_BACKLOG_H
#define SERVER_BACKLOG_H

#include "lib/base/slice.h"
#include "server/backlog_store.h"

#define BACKLOG_BLOCK_SIZE ((size_t)64 * 1024)     /* bytes */
#define BACKLOG_HOT_BYTES ((uint64_t)1 << 20)      /* the newest: always as they are */
#define BACKLOG_AHEAD 4                            /* blocks that are fetched at once */

struct backlog_block;

struct backlog {
    struct backlog_store *store; /* NULL: all stays as it is; kept over open and close */

    struct backlog_block **blocks; /* a ring of ROOM pointers; COUNT from HEAD on are in use */
    size_t head, count, room;
    uint64_t base;       /* offset of the first byte of the first block */
    uint64_t begin, end; /* held: begin <= offset < end */
    bool exists;

    uint64_t pack_at, spill_at; /* offsets of blocks: what lies before was packed, was spilled */
    struct backlog_block *thawed, **thawed_end; /* fetched; those fetched first in front */
    size_t thawed_count;
    /* Of all blocks, also those that were dropped while the thread had them. */
    size_t raw_blocks, packed_bytes;
    uint64_t file_end, file_bytes; /* the next place in the file; how much of it is in use */
    size_t file_blocks;
    unsigned jobs;   /* packing or spilling just now */
    bool disk_fails; /* nothing is spilled until backlog_retry() */
    struct why disk_why;
};

/* A backlog with a store or without, and nothing else set, does not exist. */
void backlog_open(struct backlog *backlog,
                  uint64_t next_offset);     /* empty; the next byte has this offset */
void backlog_close(struct backlog *backlog); /* does not exist any more */

void backlog_append(struct backlog *backlog, struct slice bytes);

/* The bytes from OFFSET on, as many as lie together; empty at the end, and where the bytes are not
 * in memory. begin <= OFFSET <= end. Valid until the next trim or poll. */
struct slice backlog_at(const struct backlog *backlog, uint64_t offset);
/* Have the bytes from OFFSET on brought into memory. */
void backlog_want(struct backlog *backlog, uint64_t offset);
/* From here on all is in memory as it is. */
uint64_t backlog_hot_begin(const struct backlog *backlog);

/* Drop what is more than LIMIT_BYTES old and lies before PINNED (UINT64_MAX: nothing is pinned). */
void backlog_trim(struct backlog *backlog, uint64_t limit_bytes, uint64_t pinned);
/* Keep to MEMORY_BYTES, as far as the thread can follow (0: pack and spill nothing). READERS: how
 * many may be reading; what they had fetched stays for a while. */
void backlog_settle(struct backlog *backlog, uint64_t memory_bytes, size_t readers);
/* Take back what the thread has done. True: something came into memory, or is lost: `begin` has
 * then moved over it. */
bool backlog_poll(struct backlog *backlog);
void backlog_retry(struct backlog *backlog); /* the disk may be fine again */

static inline uint64_t backlog_size(const struct backlog *backlog) {
    return backlog->end - backlog->begin;
}

/* What it costs in memory, in bytes. */
size_t backlog_memory(const struct backlog *backlog);

#endif

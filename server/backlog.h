/* backlog.h -- the last bytes of the replication stream, kept once for all replicas.
 *
 *     begin                                   end
 *       |  block  |  block  |  block  |  blo...|
 *             ^ what a replica has not been sent is an offset into this, never a copy
 *
 * Offsets are those of the stream: the first byte of a history has offset 1. A replica that lags
 * pins its place: nothing behind a pin is dropped, whatever the limit says; its owner disconnects
 * replicas that pin too much. A backlog does not exist until the first replica comes; until then
 * nothing is kept and, as in Redis, the offset stands still.
 */
#ifndef SERVER_BACKLOG_H
#define SERVER_BACKLOG_H

#include "lib/base/slice.h"

#define BACKLOG_BLOCK_SIZE ((size_t)16 * 1024) /* bytes */

struct backlog {
    uint8_t **blocks; /* a ring of ROOM pointers; COUNT from HEAD on are in use */
    size_t head, count, room;
    uint64_t base;       /* offset of the first byte of the first block */
    uint64_t begin, end; /* held: begin <= offset < end */
    bool exists;
};

/* An all-zero struct is a backlog that does not exist. */
void backlog_open(struct backlog *backlog,
                  uint64_t next_offset);     /* empty; the next byte has this offset */
void backlog_close(struct backlog *backlog); /* does not exist any more */

void backlog_append(struct backlog *backlog, struct slice bytes);

/* The bytes from OFFSET on, as many as lie together; empty at the end. begin <= OFFSET <= end.
 * Valid until the next trim. */
struct slice backlog_at(const struct backlog *backlog, uint64_t offset);

/* Drop what is more than LIMIT_BYTES old and lies before PINNED (UINT64_MAX: nothing is pinned). */
void backlog_trim(struct backlog *backlog, uint64_t limit_bytes, uint64_t pinned);

static inline uint64_t backlog_size(const struct backlog *backlog) {
    return backlog->end - backlog->begin;
}

/* What the blocks cost, in bytes. */
size_t backlog_memory(const struct backlog *backlog);

#endif

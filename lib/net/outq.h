/* outq.h -- a queue of bytes to send: a tail to copy into, and whole buffers handed over.
 *
 *     first segment -> segment -> ... -> tail
 *
 * No I/O. Buffers come from the loop and go back to it, so an empty queue holds no memory.
 */
#ifndef LIB_NET_OUTQ_H
#define LIB_NET_OUTQ_H

#include "lib/base/buf.h"
#include "lib/base/queue.h"

#include <sys/uio.h>

struct loop;

struct outq {
    struct list segments; /* struct outq_segment, oldest first; only used when count > 0 */
    size_t count;         /* segments */
    size_t bytes;         /* in all, with the tail */
    struct buf tail;
};

void outq_init(struct outq *queue);
void outq_close(struct outq *queue, struct loop *loop); /* empties it */

/* SIZE bytes of room in the tail; then say how many were used. */
uint8_t *outq_room(struct outq *queue, struct loop *loop, size_t size);
static inline void outq_filled(struct outq *queue, size_t size) {
    buf_filled(&queue->tail, size);
    queue->bytes += size;
}

static inline void outq_add(struct outq *queue, struct loop *loop, struct slice bytes) {
    if (bytes.size == 0) return;
    memcpy(outq_room(queue, loop, bytes.size), bytes.data, bytes.size);
    outq_filled(queue, bytes.size);
}

/* Take the bytes of BUF over: without copying if they are many. BUF is empty afterwards. */
void outq_add_buf(struct outq *queue, struct loop *loop, struct buf *buf);

/* The bytes at the front, as at most MAX pieces; returns how many. */
size_t outq_pieces(const struct outq *queue, struct iovec *pieces, size_t max);

/* The first SIZE bytes are done with. */
void outq_consume(struct outq *queue, struct loop *loop, size_t size);

#endif

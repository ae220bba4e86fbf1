/* outq.c -- bytes to send. See outq.h. */
#include "lib/net/outq.h"

#include "lib/net/loop.h"

#define TAIL_BYTES_MAX (256u * 1024) /* then a new tail begins, so that growing copies little */
#define HAND_OVER_BYTES (16u * 1024) /* smaller buffers are copied */

struct outq_segment {
    struct list link;
    struct buf buf;
};

void outq_init(struct outq *queue) {
    *queue = (struct outq){0};
    list_init(&queue->segments);
}

static struct outq_segment *first(const struct outq *queue) {
    return LIST_OWNER(queue->segments.next, struct outq_segment, link);
}

static void drop_first(struct outq *queue, struct loop *loop) {
    struct outq_segment *segment = first(queue);
    list_remove(&segment->link);
    queue->count--;
    loop_give_buf(loop, &segment->buf);
    mem_free(segment);
}

void outq_close(struct outq *queue, struct loop *loop) {
    while (queue->count) drop_first(queue, loop);
    loop_give_buf(loop, &queue->tail);
    queue->bytes = 0;
}

static void add_segment(struct outq *queue, struct buf *buf) {
    struct outq_segment *segment = NEW(struct outq_segment);
    segment->buf = *buf;
    *buf = (struct buf){0};
    list_push(&queue->segments, &segment->link);
    queue->count++;
}

uint8_t *outq_room(struct outq *queue, struct loop *loop, size_t size) {
    if (buf_size(&queue->tail) && buf_size(&queue->tail) + size > TAIL_BYTES_MAX)
        add_segment(queue, &queue->tail);
    if (queue->tail.data == NULL) queue->tail = loop_take_buf(loop);
    return buf_room(&queue->tail, size);
}

void outq_add_buf(struct outq *queue, struct loop *loop, struct buf *buf) {
    size_t size = buf_size(buf);
    if (size < HAND_OVER_BYTES) {
        outq_add(queue, loop, buf_slice(buf));
        loop_give_buf(loop, buf);
        return;
    }
    if (buf_size(&queue->tail)) add_segment(queue, &queue->tail);
    add_segment(queue, buf);
    queue->bytes += size;
}

static struct iovec piece(struct slice bytes) {
    return (struct iovec){(void *)(uintptr_t)bytes.data, bytes.size};
}

size_t outq_pieces(const struct outq *queue, struct iovec *pieces, size_t max) {
    size_t count = 0;
    LIST_EACH(&queue->segments, link) {
        if (count == max) return count;
        pieces[count++] = piece(buf_slice(&LIST_OWNER(link, struct outq_segment, link)->buf));
    }
    if (count < max && buf_size(&queue->tail)) pieces[count++] = piece(buf_slice(&queue->tail));
    return count;
}

void outq_consume(struct outq *queue, struct loop *loop, size_t size) {
    ASSERT(size <= queue->bytes);
    queue->bytes -= size;
    while (queue->count && size >= buf_size(&first(queue)->buf)) {
        size -= buf_size(&first(queue)->buf);
        drop_first(queue, loop);
    }
    if (size) buf_consume(queue->count ? &first(queue)->buf : &queue->tail, size);
    if (queue->bytes == 0) loop_give_buf(loop, &queue->tail);
}

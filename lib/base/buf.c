/* buf.c -- owned bytes that grow. See buf.h. */
#include "lib/base/buf.h"

#include "lib/base/mem.h"

#include <stdio.h>

#define BUF_SIZE_MIN 64

void buf_close(struct buf *buf) {
    mem_free(buf->data);
    *buf = (struct buf){0};
}

uint8_t *buf_room(struct buf *buf, size_t size) {
    if (buf->cap - buf->end >= size && buf->data) return buf->data + buf->end;
    size_t unread = buf->end - buf->start;
    ASSERT(buf->data || (buf->start == 0 && buf->end == 0));
    ASSERT(size < SIZE_MAX / 4 && unread < SIZE_MAX / 4);
    if (buf->start > 0 && buf->start >= unread && buf->cap - unread >= size) {
        memmove(buf->data, buf->data + buf->start, unread);
    } else {
        size_t cap = buf->cap < BUF_SIZE_MIN ? BUF_SIZE_MIN : buf->cap;
        while (cap - unread < size) cap += cap < (64u << 20) ? cap : cap / 4;
        uint8_t *data = mem_alloc(cap);
        if (unread) memcpy(data, buf->data + buf->start, unread);
        mem_free(buf->data);
        buf->data = data;
        buf->cap = cap;
    }
    buf->start = 0;
    buf->end = unread;
    return buf->data + buf->end;
}

void buf_append(struct buf *buf, const void *data, size_t size) {
    if (size == 0) return;
    memcpy(buf_room(buf, size), data, size);
    buf->end += size;
}

void buf_vprintf(struct buf *buf, const char *fmt, va_list args) {
    va_list again;
    va_copy(again, args);
    int size = vsnprintf((char *)buf_room(buf, 64), 64, fmt, args);
    ASSERT(size >= 0);
    if (size >= 64)
        (void)vsnprintf((char *)buf_room(buf, (size_t)size + 1), (size_t)size + 1, fmt, again);
    va_end(again);
    buf->end += (size_t)size;
}

void buf_printf(struct buf *buf, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    buf_vprintf(buf, fmt, args);
    va_end(args);
}

const char *buf_text(struct buf *buf) {
    *buf_room(buf, 1) = '\0';
    return (const char *)buf->data + buf->start;
}

void buf_shrink(struct buf *buf, size_t keep) {
    if (buf->start == buf->end && buf->cap > keep) buf_close(buf);
}

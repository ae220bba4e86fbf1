/* buf.h -- owned bytes that grow at the end and are consumed at the front.
 *
 *     data + start .. data + end     what is unread     (buf_slice)
 *     data + end   .. data + cap     room               (buf_room)
 *
 * Consuming moves `start`; when all is consumed both marks go back to 0, so a buffer that is
 * emptied regularly never copies. Growing aborts when memory is gone: bound what you put in.
 * A slice of the buffer dies with the next call that may grow it or make room.
 */
#ifndef LIB_BASE_BUF_H
#define LIB_BASE_BUF_H

#include "lib/base/slice.h"

#include <stdarg.h>

struct buf {
    uint8_t *data;
    size_t start, end, cap; /* bytes; start <= end <= cap */
};

/* An all-zero struct buf is an empty one. */
void buf_close(struct buf *buf); /* frees; the buffer is empty and usable again */

static inline struct slice buf_slice(const struct buf *buf) {
    return slice_from(buf->start ? buf->data + buf->start : buf->data, buf->end - buf->start);
}

static inline size_t buf_size(const struct buf *buf) { return buf->end - buf->start; }

/* Make sure that at least SIZE bytes fit behind the end; return where they go. */
uint8_t *buf_room(struct buf *buf, size_t size) __attribute__((returns_nonnull));

/* SIZE bytes were written at buf_room(). */
static inline void buf_filled(struct buf *buf, size_t size) {
    ASSERT(size <= buf->cap - buf->end);
    buf->end += size;
}

/* The first SIZE unread bytes are done with. */
static inline void buf_consume(struct buf *buf, size_t size) {
    ASSERT(size <= buf->end - buf->start);
    buf->start += size;
    if (buf->start == buf->end) buf->start = buf->end = 0;
}

/* Only the first SIZE unread bytes stay; there are so many. */
static inline void buf_truncate(struct buf *buf, size_t size) { buf->end = buf->start + size; }

static inline void buf_clear(struct buf *buf) { buf->start = buf->end = 0; }

void buf_append(struct buf *buf, const void *data, size_t size);
static inline void buf_add(struct buf *buf, struct slice s) { buf_append(buf, s.data, s.size); }
static inline void buf_byte(struct buf *buf, uint8_t byte) { buf_append(buf, &byte, 1); }
void buf_printf(struct buf *buf, const char *fmt, ...) PRINTF(2, 3);
void buf_vprintf(struct buf *buf, const char *fmt, va_list args) __attribute__((format(printf, 2, 0)));

/* Terminate with a NUL that is not counted, and return the unread bytes as text. */
const char *buf_text(struct buf *buf);

/* Give memory back when the buffer is empty and holds more than KEEP bytes. */
void buf_shrink(struct buf *buf, size_t keep);

#endif

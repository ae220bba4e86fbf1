/* ziplist_write.c -- ziplists, for readers of before 7.0. See ziplist.h. */
#include "lib/redis/bytes.h"
#include "lib/redis/ziplist.h"

#define END_BYTE 0xffu
#define LONG_BEFORE 254u /* from here on the size of the item before takes five bytes */
#define COUNT_UNKNOWN 65535u
#define COUNT_MAX_KNOWN 65534u

struct building {
    struct buf *out;
    size_t start;       /* of the ziplist in `out`, from its first unread byte */
    size_t last, count; /* where the last item begins, from the start; items */
    size_t before;      /* bytes of that item */
};

static struct building begin(struct buf *out) {
    struct building b = {.out = out, .start = buf_size(out), .last = ZIPLIST_START};
    memset(buf_room(out, ZIPLIST_START), 0, ZIPLIST_START);
    buf_filled(out, ZIPLIST_START);
    return b;
}

/* The code and bytes of NUMBER go to P; how many bytes. */
static size_t put_number(uint8_t *p, int64_t number) {
    static const struct {
        uint8_t code, bytes;
    } widths[] = {{0xfe, 1}, {0xc0, 2}, {0xf0, 3}, {0xd0, 4}, {0xe0, 8}};
    if (number >= 0 && number <= 12) {
        *p = (uint8_t)(0xf1 + number);
        return 1;
    }
    size_t i = 0;
    for (; widths[i].bytes < 8; i++) {
        int64_t half = INT64_C(1) << (8 * widths[i].bytes - 1);
        if (number >= -half && number < half) break;
    }
    *p = widths[i].code;
    bytes_put_le(p + 1, (uint64_t)number, widths[i].bytes);
    return 1u + widths[i].bytes;
}

/* What stands before a string of SIZE bytes. */
static size_t put_string_size(uint8_t *p, size_t size) {
    if (size < 1u << 6) {
        *p = (uint8_t)size;
        return 1;
    }
    if (size < 1u << 14) {
        bytes_put_be(p, 0x4000 | size, 2);
        return 2;
    }
    ASSERT(size <= UINT32_MAX);
    *p = 0x80;
    bytes_put_be(p + 1, size, 4);
    return 5;
}

static void put_item(struct building *b, const struct lp_item *item) {
    size_t text = item->is_number ? 0 : item->bytes.size, head = 1;
    uint8_t *p = buf_room(b->out, 5 + 9 + text);
    if (b->before < LONG_BEFORE) {
        *p = (uint8_t)b->before;
    } else {
        *p = LONG_BEFORE;
        bytes_put_le(p + 1, b->before, 4);
        head = 5;
    }
    head += item->is_number ? put_number(p + head, item->number) : put_string_size(p + head, text);
    if (text) memcpy(p + head, item->bytes.data, text);
    b->last = buf_size(b->out) - b->start;
    b->before = head + text;
    b->count++;
    buf_filled(b->out, b->before);
}

static void end(struct building *b) {
    buf_byte(b->out, END_BYTE);
    size_t size = buf_size(b->out) - b->start;
    ASSERT(size <= UINT32_MAX);
    uint8_t *p = b->out->data + b->out->start + b->start;
    bytes_put_le(p, size, 4);
    bytes_put_le(p + 4, b->last, 4);
    bytes_put_le(p + 8, b->count <= COUNT_MAX_KNOWN ? b->count : COUNT_UNKNOWN, 2);
}

void ziplist_put(struct buf *out, const uint8_t *listpack) {
    struct building b = begin(out);
    for (uint32_t at = lp_first(listpack); at != LP_NONE; at = lp_next(listpack, at)) {
        struct lp_item item = lp_get(listpack, at);
        put_item(&b, &item);
    }
    end(&b);
}

void ziplist_put_one(struct buf *out, struct slice text) {
    struct building b = begin(out);
    struct lp_item item = {.bytes = text};
    item.is_number = slice_to_int(text, &item.number);
    put_item(&b, &item);
    end(&b);
}

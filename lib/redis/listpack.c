/* listpack.c -- the flat list of Redis 7: checking, reading, changing. See listpack.h. */
#include "lib/redis/listpack.h"

#include "lib/base/mem.h"
#include "lib/redis/bytes.h"

#define HEADER_BYTES 6u
#define COUNT_UNKNOWN 65535u
#define END_BYTE 0xffu
#define HEAD_BYTES_MAX 9u /* of one item, before string data */
#define TAIL_BYTES_MAX 5u

/* What the first bytes of an item say. */
struct head {
    uint8_t bytes;   /* of the head itself; 0: not an item */
    uint8_t number;  /* bytes of an integer, after the head; 0 for strings and the short ones */
    uint32_t string; /* bytes of a string after the head */
};

/* Bytes that the head takes, by first byte; 0 for what is none. */
static uint32_t head_bytes(uint8_t first) {
    if (first < 0xc0) return 1;   /* 7-bit integer, short string */
    if (first < 0xf0) return 2;   /* 13-bit integer, string under 4096 bytes */
    if (first == 0xf0) return 5;  /* string with a 32-bit length */
    return first <= 0xf4 ? 1 : 0; /* integers of 16, 24, 32, 64 bits */
}

/* Head of the item at P; all head_bytes(*p) must be readable. */
static inline struct head head_at(const uint8_t *p) {
    static const uint8_t number_bytes[] = {2, 3, 4, 8};
    uint8_t first = *p;
    if (first < 0x80) return (struct head){.bytes = 1};
    if (first < 0xc0) return (struct head){.bytes = 1, .string = first & 0x3f};
    if (first < 0xe0) return (struct head){.bytes = 2};
    if (first < 0xf0)
        return (struct head){.bytes = 2, .string = (uint32_t)(first & 0x0f) << 8 | p[1]};
    if (first == 0xf0) return (struct head){.bytes = 5, .string = (uint32_t)bytes_le(p + 1, 4)};
    if (first <= 0xf4) return (struct head){.bytes = 1, .number = number_bytes[first - 0xf1]};
    return (struct head){0};
}

static inline uint64_t head_covers(struct head h) {
    return (uint64_t)h.bytes + h.number + h.string;
}

/* Bytes of the backward length of an item of SIZE bytes. The borders are Redis's: from two
 * bytes on, the largest value of each length is not used. */
static inline uint32_t tail_bytes(uint64_t size) {
    if (size <= 127) return 1;
    if (size < 16383) return 2;
    if (size < 2097151) return 3;
    if (size < 268435455) return 4;
    return 5;
}

static uint32_t tail_write(uint8_t *p, uint64_t size) {
    uint32_t count = tail_bytes(size);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t group = (uint8_t)(size >> (7 * (count - 1 - i)) & 127);
        p[i] = i == 0 ? group : group | 128;
    }
    return count;
}

/* Read backwards from LAST, over at most ROOM bytes. UINT64_MAX when it does not end. */
static uint64_t tail_read(const uint8_t *last, size_t room) {
    uint64_t value = 0;
    for (uint32_t i = 0; i < TAIL_BYTES_MAX && i < room; i++) {
        uint8_t byte = *(last - i);
        value |= (uint64_t)(byte & 127) << (7 * i);
        if (!(byte & 128)) return value;
    }
    return UINT64_MAX;
}

/* Size with tail of the item at offset AT of BLOB; 0 when it is not one or reaches the end byte. */
static uint64_t item_check(struct slice blob, uint64_t at) {
    uint64_t end = blob.size - 1; /* the end byte's offset */
    uint32_t head_size = head_bytes(blob.data[at]);
    if (head_size == 0 || at + head_size > end) return 0;
    uint64_t covers = head_covers(head_at(blob.data + at));
    uint64_t size = covers + tail_bytes(covers);
    if (at + size > end) return 0;
    uint32_t tail = (uint32_t)(size - covers);
    if (tail_read(blob.data + at + size - 1, tail) != covers) return 0;
    return size;
}

bool lp_validate(struct slice blob, uint32_t *count) {
    if (blob.size < LP_BYTES_EMPTY || blob.size > UINT32_MAX) return false;
    if (bytes_le(blob.data, 4) != blob.size || blob.data[blob.size - 1] != END_BYTE) return false;
    uint32_t items = 0;
    uint64_t at = HEADER_BYTES;
    while (at < blob.size - 1) {
        uint64_t size = item_check(blob, at);
        if (size == 0) return false;
        at += size;
        items++;
    }
    uint32_t claimed = (uint32_t)bytes_le(blob.data + 4, 2);
    if (at != blob.size - 1 || (claimed != COUNT_UNKNOWN && claimed != items)) return false;
    if (count) *count = items;
    return true;
}

/* ---- reading */

uint32_t lp_bytes(const uint8_t *lp) {
    return (uint32_t)bytes_le(lp, 4);
}

uint32_t lp_count(const uint8_t *lp) {
    uint32_t count = (uint32_t)bytes_le(lp + 4, 2);
    if (count != COUNT_UNKNOWN) return count;
    count = 0;
    for (uint32_t at = lp_first(lp); at != LP_NONE; at = lp_next(lp, at)) count++;
    return count;
}

uint32_t lp_item_bytes(const uint8_t *lp, uint32_t at) {
    uint64_t covers = head_covers(head_at(lp + at));
    return (uint32_t)covers + tail_bytes(covers);
}

uint32_t lp_first(const uint8_t *lp) {
    return lp[HEADER_BYTES] == END_BYTE ? LP_NONE : HEADER_BYTES;
}

static uint32_t before(const uint8_t *lp, uint32_t at) {
    if (at == HEADER_BYTES) return LP_NONE;
    uint64_t covers = tail_read(lp + at - 1, at);
    return at - (uint32_t)covers - tail_bytes(covers);
}

uint32_t lp_last(const uint8_t *lp) {
    return before(lp, lp_bytes(lp) - 1);
}

uint32_t lp_next(const uint8_t *lp, uint32_t at) {
    ASSERT(at >= HEADER_BYTES);
    at += lp_item_bytes(lp, at);
    return lp[at] == END_BYTE ? LP_NONE : at;
}

uint32_t lp_prev(const uint8_t *lp, uint32_t at) {
    ASSERT(at >= HEADER_BYTES);
    return before(lp, at);
}

uint32_t lp_seek(const uint8_t *lp, int64_t index) {
    int64_t count = lp_count(lp);
    if (index < 0) index += count;
    if (index < 0 || index >= count) return LP_NONE;
    uint32_t at;
    if (index <= count / 2) {
        for (at = lp_first(lp); index > 0; index--) at = lp_next(lp, at);
    } else {
        for (at = lp_last(lp); index < count - 1; index++) at = lp_prev(lp, at);
    }
    return at;
}

struct lp_item lp_get(const uint8_t *lp, uint32_t at) {
    ASSERT(at >= HEADER_BYTES);
    const uint8_t *p = lp + at;
    struct head h = head_at(p);
    if (*p < 0x80) return (struct lp_item){.is_number = true, .number = *p};
    if (*p >= 0xc0 && *p < 0xe0) {
        int64_t bits = (*p & 0x1f) << 8 | p[1];
        return (struct lp_item){.is_number = true, .number = bits >= 4096 ? bits - 8192 : bits};
    }
    if (h.number)
        return (struct lp_item){.is_number = true, .number = bytes_le_signed(p + 1, h.number)};
    return (struct lp_item){.bytes = slice_from(p + h.bytes, h.string)};
}

size_t lp_write_number(int64_t number, char text[LP_TEXT_SIZE]) {
    char reversed[LP_TEXT_SIZE];
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    size_t digits = 0, size = 0;
    do reversed[digits++] = (char)('0' + left % 10);
    while ((left /= 10) > 0);
    if (number < 0) text[size++] = '-';
    while (digits > 0) text[size++] = reversed[--digits];
    return size;
}

struct slice lp_text(const uint8_t *lp, uint32_t at, char scratch[LP_TEXT_SIZE]) {
    struct lp_item item = lp_get(lp, at);
    if (!item.is_number) return item.bytes;
    return slice_from(scratch, lp_write_number(item.number, scratch));
}

bool lp_number(const uint8_t *lp, uint32_t at, int64_t *number) {
    struct lp_item item = lp_get(lp, at);
    if (!item.is_number) return slice_to_int(item.bytes, number);
    *number = item.number;
    return true;
}

bool lp_equal(const uint8_t *lp, uint32_t at, struct slice text) {
    struct lp_item item = lp_get(lp, at);
    if (!item.is_number) return slice_equal(item.bytes, text);
    int64_t number;
    return slice_to_int(text, &number) && number == item.number;
}

uint32_t lp_find(const uint8_t *lp, uint32_t at, struct slice text, uint32_t skip) {
    int64_t number = 0;
    bool numeric = slice_to_int(text, &number);
    uint32_t wait = 0;
    for (; at != LP_NONE; at = lp_next(lp, at)) {
        if (wait > 0) {
            wait--;
            continue;
        }
        struct lp_item item = lp_get(lp, at);
        if (item.is_number ? numeric && item.number == number : slice_equal(item.bytes, text))
            return at;
        wait = skip;
    }
    return LP_NONE;
}

/* ---- changing */

static void bytes_set(uint8_t *lp, uint64_t bytes) {
    ASSERT(bytes >= LP_BYTES_EMPTY && bytes <= LP_BYTES_MAX);
    bytes_put_le(lp, bytes, 4);
}

/* A count of 65535 or more is written as unknown. */
static void count_set(uint8_t *lp, uint64_t count) {
    bytes_put_le(lp + 4, count < COUNT_UNKNOWN ? count : COUNT_UNKNOWN, 2);
}

static uint32_t count_field(const uint8_t *lp) {
    return (uint32_t)bytes_le(lp + 4, 2);
}

uint8_t *lp_new(size_t room_bytes) {
    uint8_t *lp = mem_alloc(room_bytes > LP_BYTES_EMPTY ? room_bytes : LP_BYTES_EMPTY);
    bytes_set(lp, LP_BYTES_EMPTY);
    count_set(lp, 0);
    lp[HEADER_BYTES] = END_BYTE;
    return lp;
}

bool lp_fits(const uint8_t *lp, size_t add, size_t count) {
    const size_t each = HEAD_BYTES_MAX + TAIL_BYTES_MAX;
    if (add > LP_BYTES_MAX || count > LP_BYTES_MAX / each) return false;
    return (uint64_t)lp_bytes(lp) + add + count * each <= LP_BYTES_MAX;
}

/* An item before it is placed: its head (with all of an integer), and a string's bytes. */
struct encoded {
    uint8_t head[HEAD_BYTES_MAX];
    uint32_t head_bytes;
    struct slice string;
};

static struct encoded encode_number(int64_t number) {
    struct encoded e = {0};
    uint64_t bits = (uint64_t)number;
    if (number >= 0 && number <= 127) {
        e.head[0] = (uint8_t)number;
        e.head_bytes = 1;
    } else if (number >= -4096 && number <= 4095) {
        e.head[0] = (uint8_t)(0xc0 | (bits >> 8 & 0x1f));
        e.head[1] = (uint8_t)bits;
        e.head_bytes = 2;
    } else {
        uint8_t count = number >= INT16_MIN && number <= INT16_MAX   ? 2
                        : number >= -8388608 && number <= 8388607    ? 3
                        : number >= INT32_MIN && number <= INT32_MAX ? 4
                                                                     : 8;
        e.head[0] = count == 8 ? 0xf4 : (uint8_t)(0xf1 + count - 2);
        bytes_put_le(e.head + 1, bits, count);
        e.head_bytes = 1u + count;
    }
    return e;
}

static struct encoded encode_text(struct slice text) {
    int64_t number;
    if (slice_to_int(text, &number)) return encode_number(number);
    ASSERT(text.size <= LP_BYTES_MAX);
    struct encoded e = {.string = text};
    if (text.size < 64) {
        e.head[0] = (uint8_t)(0x80 | text.size);
        e.head_bytes = 1;
    } else if (text.size < 4096) {
        e.head[0] = (uint8_t)(0xe0 | text.size >> 8);
        e.head[1] = (uint8_t)text.size;
        e.head_bytes = 2;
    } else {
        e.head[0] = 0xf0;
        bytes_put_le(e.head + 1, text.size, 4);
        e.head_bytes = 5;
    }
    return e;
}

/* Make the block big enough for SIZE bytes, or smaller when much of it is unused. */
static void resize(uint8_t **lp, uint64_t size) {
    size_t room = mem_size(*lp);
    if (size > room || (room > 64 && size < room / 4 * 3)) *lp = mem_realloc(*lp, size);
}

/* Replace the OLD bytes at AT by NEW unset bytes. The end byte moves along. */
static void open_gap(uint8_t **lp, uint32_t at, uint64_t old, uint64_t new) {
    uint64_t bytes = lp_bytes(*lp), grown = bytes - old + new;
    ASSERT(grown <= LP_BYTES_MAX);
    if (grown > bytes) resize(lp, grown);
    memmove(*lp + at + new, *lp + at + old, bytes - at - old);
    if (grown < bytes) resize(lp, grown);
    bytes_set(*lp, grown);
}

static uint32_t place(uint8_t **lp, uint32_t at, const struct encoded *e, enum lp_where where) {
    uint64_t bytes = lp_bytes(*lp);
    ASSERT(at >= HEADER_BYTES && at < bytes);
    ASSERT(IMPLIES(where != LP_BEFORE, at < bytes - 1));
    if (where == LP_AFTER) at += lp_item_bytes(*lp, at);
    uint64_t old = where == LP_REPLACE ? lp_item_bytes(*lp, at) : 0;
    uint64_t covers = e->head_bytes + e->string.size;
    open_gap(lp, at, old, covers + tail_bytes(covers));
    uint8_t *p = *lp + at;
    memcpy(p, e->head, e->head_bytes);
    if (e->string.size) memcpy(p + e->head_bytes, e->string.data, e->string.size);
    tail_write(p + covers, covers);
    uint32_t count = count_field(*lp);
    if (where != LP_REPLACE && count != COUNT_UNKNOWN) count_set(*lp, count + 1);
    return at;
}

uint32_t lp_insert(uint8_t **lp, uint32_t at, struct slice text, enum lp_where where) {
    struct encoded e = encode_text(text);
    return place(lp, at, &e, where);
}

uint32_t lp_insert_number(uint8_t **lp, uint32_t at, int64_t number, enum lp_where where) {
    struct encoded e = encode_number(number);
    return place(lp, at, &e, where);
}

void lp_append(uint8_t **lp, struct slice text) {
    struct encoded e = encode_text(text);
    place(lp, lp_bytes(*lp) - 1, &e, LP_BEFORE);
}

void lp_append_number(uint8_t **lp, int64_t number) {
    struct encoded e = encode_number(number);
    place(lp, lp_bytes(*lp) - 1, &e, LP_BEFORE);
}

void lp_prepend(uint8_t **lp, struct slice text) {
    struct encoded e = encode_text(text);
    place(lp, HEADER_BYTES, &e, LP_BEFORE);
}

/* After items were removed an unknown count may be knowable again. */
static void count_refresh(uint8_t *lp, uint32_t removed) {
    uint32_t count = count_field(lp);
    count_set(lp, count == COUNT_UNKNOWN ? lp_count(lp) : count - removed);
}

uint32_t lp_delete(uint8_t **lp, uint32_t at, uint32_t count) {
    ASSERT(at >= HEADER_BYTES);
    uint32_t end = at, removed = 0;
    for (; removed < count && (*lp)[end] != END_BYTE; removed++) end += lp_item_bytes(*lp, end);
    open_gap(lp, at, end - at, 0);
    count_refresh(*lp, removed);
    return (*lp)[at] == END_BYTE ? LP_NONE : at;
}

void lp_append_all(uint8_t **lp, const uint8_t *more) {
    uint64_t had = count_field(*lp), adds = count_field(more);
    uint32_t at = lp_bytes(*lp) - 1, size = lp_bytes(more) - LP_BYTES_EMPTY;
    open_gap(lp, at, 0, size);
    memcpy(*lp + at, more + HEADER_BYTES, size);
    count_set(*lp, had == COUNT_UNKNOWN || adds == COUNT_UNKNOWN ? COUNT_UNKNOWN : had + adds);
}

uint8_t *lp_split(uint8_t **lp, uint32_t at) {
    ASSERT(at >= HEADER_BYTES);
    uint32_t total = lp_count(*lp), size = lp_bytes(*lp) - 1 - at;
    uint8_t *rest = lp_new(LP_BYTES_EMPTY + size);
    memcpy(rest + HEADER_BYTES, *lp + at, size);
    rest[HEADER_BYTES + size] = END_BYTE;
    bytes_set(rest, LP_BYTES_EMPTY + (uint64_t)size);
    uint32_t moved = 0;
    for (uint32_t i = HEADER_BYTES; rest[i] != END_BYTE; moved++) i += lp_item_bytes(rest, i);
    count_set(rest, moved);
    open_gap(lp, at, size, 0);
    count_set(*lp, total - moved);
    return rest;
}

void lp_shrink(uint8_t **lp) {
    uint32_t bytes = lp_bytes(*lp);
    if (bytes < mem_size(*lp)) *lp = mem_realloc(*lp, bytes);
}

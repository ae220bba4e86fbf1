/* ziplist.c -- flat formats of old Redis, read only. See ziplist.h. */
#include "lib/redis/ziplist.h"

#include "lib/redis/bytes.h"

#define END_BYTE 0xffu
#define LONG_LENGTH 254u
#define COUNT_UNKNOWN 65535u

/* What stands at the front of a ziplist's item. */
struct head {
    uint32_t bytes;  /* of all before the data; 0: this is no item */
    uint32_t before; /* size of the item before */
    uint32_t number; /* bytes of an integer as data */
    uint64_t string; /* bytes of a string as data */
    bool is_number;
};

/* Read the encoding at P, of which ROOM bytes may be looked at; adds to H. */
static bool encoding_read(const uint8_t *p, uint64_t room, struct head *h) {
    if (room < 1) return false;
    uint32_t need = 1;
    switch (*p >> 6) {
    case 0: h->string = *p & 0x3f; break;
    case 1:
        need = 2;
        if (room >= need) h->string = (uint64_t)(*p & 0x3f) << 8 | p[1];
        break;
    case 2:
        need = 5;
        if (room >= need) h->string = bytes_be(p + 1, 4);
        break;
    default:
        h->is_number = true;
        switch (*p) {
        case 0xc0: h->number = 2; break;
        case 0xd0: h->number = 4; break;
        case 0xe0: h->number = 8; break;
        case 0xf0: h->number = 3; break;
        case 0xfe: h->number = 1; break;
        default:
            if (*p < 0xf1 || *p > 0xfd) return false; /* else 0 to 12 in the byte itself */
        }
    }
    h->bytes += need;
    return room >= need;
}

/* The head at P, of which ROOM bytes may be looked at. */
static struct head head_read(const uint8_t *p, uint64_t room) {
    struct head h = {0};
    h.bytes = *p < LONG_LENGTH ? 1 : 5;
    if (room < h.bytes) return (struct head){0};
    h.before = h.bytes == 1 ? *p : (uint32_t)bytes_le(p + 1, 4);
    if (!encoding_read(p + h.bytes, room - h.bytes, &h)) return (struct head){0};
    return h;
}

bool ziplist_validate(struct slice blob, uint32_t *count) {
    if (blob.size < ZIPLIST_START + 1 || blob.size > UINT32_MAX) return false;
    uint64_t end = blob.size - 1, at = ZIPLIST_START, last = at, before = 0;
    if (bytes_le(blob.data, 4) != blob.size || blob.data[end] != END_BYTE) return false;
    uint32_t items = 0;
    for (; blob.data[at] != END_BYTE; items++) {
        struct head h = head_read(blob.data + at, end - at);
        uint64_t size = h.bytes + h.number + h.string;
        if (h.bytes == 0 || h.before != before || at + size > end) return false;
        last = at;
        before = size;
        at += size;
    }
    uint32_t claimed = (uint32_t)bytes_le(blob.data + 8, 2);
    if (at != end || (claimed != COUNT_UNKNOWN && claimed != items)) return false;
    if (items > 0 && bytes_le(blob.data + 4, 4) != last) return false;
    *count = items;
    return true;
}

bool ziplist_next(const uint8_t *ziplist, uint32_t *at, struct lp_item *item) {
    const uint8_t *p = ziplist + *at;
    if (*p == END_BYTE) return false;
    struct head h = head_read(p, UINT64_MAX);
    const uint8_t *data = p + h.bytes;
    *item = (struct lp_item){.is_number = h.is_number};
    if (!h.is_number)
        item->bytes = slice_from(data, (size_t)h.string);
    else if (h.number == 0)
        item->number = (data[-1] & 0x0f) - 1;
    else
        item->number = bytes_le_signed(data, h.number);
    *at += (uint32_t)(h.bytes + h.number + h.string);
    return true;
}

/* The length at offset *AT, which moves behind it; false if it reaches END. */
static bool zipmap_length(const uint8_t *p, uint64_t *at, uint64_t end, uint64_t *length) {
    uint32_t bytes = p[*at] < LONG_LENGTH ? 1 : 5;
    if (*at + bytes > end) return false;
    *length = bytes == 1 ? p[*at] : bytes_le(p + *at + 1, 4);
    *at += bytes;
    return true;
}

bool zipmap_validate(struct slice blob, uint32_t *count) {
    if (blob.size < 2 || blob.size > UINT32_MAX) return false;
    const uint8_t *p = blob.data;
    uint64_t end = blob.size - 1, at = ZIPMAP_START, length;
    uint32_t pairs = 0;
    if (p[end] != END_BYTE) return false;
    for (; p[at] != END_BYTE; pairs++) {
        if (!zipmap_length(p, &at, end, &length) || at + length >= end) return false;
        at += length;
        if (p[at] == END_BYTE || !zipmap_length(p, &at, end, &length) || at >= end) return false;
        at += 1 + length + p[at];
        if (at > end) return false;
    }
    if (at != end || (p[0] < LONG_LENGTH && p[0] != pairs)) return false;
    *count = pairs;
    return true;
}

bool zipmap_next(const uint8_t *zipmap, uint32_t *at, struct slice *field, struct slice *value) {
    uint64_t where = *at, length = 0;
    if (zipmap[where] == END_BYTE) return false;
    zipmap_length(zipmap, &where, UINT64_MAX, &length);
    *field = slice_from(zipmap + where, (size_t)length);
    where += length;
    zipmap_length(zipmap, &where, UINT64_MAX, &length);
    uint8_t unused = zipmap[where++];
    *value = slice_from(zipmap + where, (size_t)length);
    *at = (uint32_t)(where + length + unused);
    return true;
}

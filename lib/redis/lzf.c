/* lzf.c -- LZF, made for strings of some hundred bytes: what an RDB is made of.
 *
 *     000nnnnn  bytes ...            n + 1 bytes as they are
 *     lllddddd  dddddddd             l + 2 bytes (l 1..6) from d + 1 bytes back
 *     111ddddd  llllllll dddddddd    l + 9 bytes
 *
 * The table of places is as small as the input lets it be, so that it stays in the processor's
 * nearest cache and costs little to clear; where nothing repeats, the steps become longer. Source:
 * the format of liblzf, with which it is compared in tests/unit/lib/redis/test_lzf.c.
 */
#include "lib/redis/lzf.h"

#include <string.h>

/* The longest reference takes three bytes and stands for 264. */
#define EXPANSION_MAX 88
#define LITERALS_MAX 32u
#define MATCH_MIN 3u
#define MATCH_MAX 264u
#define BACK_MAX 8192u
#define TABLE_BITS_MIN 7u
#define TABLE_BITS_MAX 12u
#define PATIENCE_BITS 5 /* after 32 places without a match every second one is tried, and so on */

bool lzf_plausible(uint64_t packed_bytes, uint64_t unpacked_bytes) {
    if (packed_bytes == 0 || packed_bytes > UINT32_MAX || unpacked_bytes > UINT32_MAX) return false;
    return unpacked_bytes > 0 && unpacked_bytes <= packed_bytes * EXPANSION_MAX;
}

/* ---- expanding ---- */

/* SIZE bytes from BACK bytes before OUT, which may overlap; ROOM bytes may be written. */
static void repeat(uint8_t *out, size_t back, size_t size, size_t room) {
    const uint8_t *from = out - back;
    if (back >= 16 && size <= 16 && room >= 16) { /* most: no loop, no call */
        memcpy(out, from, 16);
        return;
    }
    if (back >= 8 && room >= size + 8) {
        for (size_t i = 0; i < size; i += 8) memcpy(out + i, from + i, 8);
        return;
    }
    if (back == 1)
        memset(out, *from, size);
    else
        for (size_t i = 0; i < size; i++) out[i] = from[i];
}

bool lzf_unpack(struct slice packed, uint8_t *into, size_t size) {
    if (!lzf_plausible(packed.size, size)) return false;
    const uint8_t *in = packed.data, *end = in + packed.size;
    uint8_t *out = into;
    size_t room = size;
    while (in < end) {
        size_t control = *in++, count = control + 1, left = (size_t)(end - in);
        if (control < LITERALS_MAX) {
            if (count > left || count > room) return false;
            if (left >= LITERALS_MAX && room >= LITERALS_MAX)
                memcpy(out, in, LITERALS_MAX); /* of a known size: no call */
            else
                memcpy(out, in, count);
            in += count;
        } else {
            bool is_long = control >> 5 == 7;
            if (left < 1u + is_long) return false;
            count = (control >> 5) + 2 + (is_long ? *in++ : 0);
            size_t back = ((control & 31) << 8 | *in++) + 1;
            if (back > (size_t)(out - into) || count > room) return false;
            repeat(out, back, count, room);
        }
        out += count;
        room -= count;
    }
    return room == 0;
}

/* ---- packing ---- */

static uint32_t four_at(const uint8_t *p) {
    uint32_t four;
    memcpy(&four, p, sizeof four);
    return four;
}

static uint64_t eight_at(const uint8_t *p) {
    uint64_t eight;
    memcpy(&eight, p, sizeof eight);
    return eight;
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define FIRST_THREE(four) ((four)&0xffffffu)
#define SAME_BYTES(difference) ((unsigned)__builtin_ctzll(difference) / 8)
#else
#define FIRST_THREE(four) ((four) >> 8)
#define SAME_BYTES(difference) ((unsigned)__builtin_clzll(difference) / 8)
#endif

struct out {
    uint8_t *next, *end;
};

/* BEHIND: bytes that may be read behind the literals. False: no room. */
static bool put_literals(struct out *out, const uint8_t *bytes, size_t count, size_t behind) {
    while (count > 0) {
        size_t run = count < LITERALS_MAX ? count : LITERALS_MAX;
        size_t room = (size_t)(out->end - out->next);
        if (room < run + 1) return false;
        *out->next++ = (uint8_t)(run - 1);
        if (room > LITERALS_MAX && count + behind >= LITERALS_MAX)
            memcpy(out->next, bytes, LITERALS_MAX);
        else
            memcpy(out->next, bytes, run);
        out->next += run;
        bytes += run;
        count -= run;
    }
    return true;
}

static bool put_match(struct out *out, size_t back, size_t size) {
    if (out->end - out->next < 3) return false;
    size_t length = size - 2, place = back - 1;
    if (length < 7) {
        *out->next++ = (uint8_t)(length << 5 | place >> 8);
    } else {
        *out->next++ = (uint8_t)(7u << 5 | place >> 8);
        *out->next++ = (uint8_t)(length - 7);
    }
    *out->next++ = (uint8_t)place;
    return true;
}

static size_t match_size(const uint8_t *a, const uint8_t *b, size_t max) {
    size_t size = MATCH_MIN;
    if (max > MATCH_MAX) max = MATCH_MAX;
    for (; size + 8 <= max; size += 8) {
        uint64_t difference = eight_at(a + size) ^ eight_at(b + size);
        if (difference) return size + SAME_BYTES(difference);
    }
    while (size < max && a[size] == b[size]) size++;
    return size;
}

static unsigned table_bits(size_t size) {
    unsigned bits = TABLE_BITS_MIN;
    while (bits < TABLE_BITS_MAX && (size_t)1 << bits < size) bits++;
    return bits;
}

static uint32_t *place_for(uint32_t *table, unsigned bits, uint32_t four) {
    return &table[FIRST_THREE(four) * 2654435761u >> (32 - bits)];
}

size_t lzf_pack(struct slice bytes, uint8_t *into, size_t room) {
    if (bytes.size == 0 || bytes.size > UINT32_MAX - 1 || room == 0) return 0;
    uint32_t table[1 << TABLE_BITS_MAX]; /* where three bytes were last, plus 1 */
    unsigned bits = table_bits(bytes.size);
    memset(table, 0, sizeof table[0] << bits);
    const uint8_t *in = bytes.data;
    struct out out = {into, into + room};
    size_t at = 0, done = 0, misses = 0;
    while (at + 4 <= bytes.size) {
        uint32_t four = four_at(in + at), *place = place_for(table, bits, four);
        size_t before = *place, back = at + 1 - before;
        *place = (uint32_t)at + 1;
        if (before == 0 || back > BACK_MAX ||
            FIRST_THREE(four_at(in + before - 1)) != FIRST_THREE(four)) {
            at += 1 + (misses++ >> PATIENCE_BITS);
            continue;
        }
        size_t size = match_size(in + before - 1, in + at, bytes.size - at);
        if (!put_literals(&out, in + done, at - done, bytes.size - at) ||
            !put_match(&out, back, size))
            return 0;
        done = at += size;
        misses = 0;
        if (at + 2 > bytes.size) break;
        *place_for(table, bits, four_at(in + at - 2)) = (uint32_t)at - 1;
    }
    if (!put_literals(&out, in + done, bytes.size - done, 0)) return 0;
    return (size_t)(out.next - into);
}

/* bits.c -- see bits.h. */
#include "server/bits.h"

/* The bits of byte AT that lie from FIRST to LAST. */
static uint8_t inside(uint64_t at, uint64_t first, uint64_t last) {
    unsigned mask = 0xff;
    if (first >> 3 == at) mask &= 0xffu >> (first & 7);
    if (last >> 3 == at) mask &= 0xff00u >> ((last & 7) + 1);
    return (uint8_t)mask;
}

static uint64_t word_at(const uint8_t *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

uint64_t bits_count(struct slice bytes, uint64_t first, uint64_t last) {
    ASSERT(first <= last && last >> 3 < bytes.size);
    uint64_t at = first >> 3, end = last >> 3, count = 0;
    if (at == end) return (unsigned)__builtin_popcount(bytes.data[at] & inside(at, first, last));
    count += (unsigned)__builtin_popcount(bytes.data[at] & inside(at, first, last));
    count += (unsigned)__builtin_popcount(bytes.data[end] & inside(end, first, last));
    for (at++; at + 8 <= end; at += 8)
        count += (unsigned)__builtin_popcountll(word_at(bytes.data + at));
    for (; at < end; at++) count += (unsigned)__builtin_popcount(bytes.data[at]);
    return count;
}

bool bits_find(struct slice bytes, uint64_t first, uint64_t last, bool bit, uint64_t *found) {
    ASSERT(first <= last && last >> 3 < bytes.size);
    const uint64_t dull = bit ? 0 : UINT64_MAX;
    uint64_t end = last >> 3;
    for (uint64_t at = first >> 3; at <= end; at++) {
        while (at > first >> 3 && at + 8 <= end && word_at(bytes.data + at) == dull) at += 8;
        unsigned byte = (bit ? bytes.data[at] : (uint8_t)~bytes.data[at]) & inside(at, first, last);
        if (byte == 0) continue;
        *found = at * 8 + (unsigned)__builtin_clz(byte) - 24;
        return true;
    }
    return false;
}

uint64_t bits_get(struct slice bytes, uint64_t at, unsigned width, bool is_signed) {
    uint64_t value = 0;
    ASSERT(width >= 1 && width <= 64);
    for (unsigned i = 0; i < width; i++, at++) {
        uint64_t byte = at >> 3;
        unsigned bit = byte < bytes.size ? bytes.data[byte] >> (7 - (at & 7)) & 1u : 0;
        value = value << 1 | bit;
    }
    if (is_signed && width < 64 && value >> (width - 1)) value |= UINT64_MAX << width;
    return value;
}

void bits_set(uint8_t *bytes, uint64_t at, unsigned width, uint64_t value) {
    for (unsigned i = 0; i < width; i++, at++) {
        unsigned shift = 7 - (unsigned)(at & 7), bit = value >> (width - 1 - i) & 1;
        bytes[at >> 3] = (uint8_t)((bytes[at >> 3] & ~(1u << shift)) | bit << shift);
    }
}

bool bits_add(int64_t value, int64_t more, unsigned width, bool is_signed, enum bits_overflow how,
              int64_t *sum) {
    unsigned value_bits = is_signed ? width - 1 : width;
    int64_t high = (int64_t)((UINT64_C(1) << value_bits) - 1), low = is_signed ? -high - 1 : 0;
    bool wraps = __builtin_add_overflow(value, more, sum);
    /* A negative value for an unsigned field is a large one: that is how Redis sees it. */
    bool large = !is_signed && value < 0;
    bool over = large || (wraps ? more > 0 : *sum > high);
    bool under = !over && (wraps || *sum < low);
    if (!over && !under) return true;
    if (how == BITS_SATURATE) {
        *sum = over ? high : low;
    } else if (how == BITS_WRAP) {
        uint8_t bytes[8] = {0};
        bits_set(bytes, 0, width, (uint64_t)value + (uint64_t)more);
        *sum = (int64_t)bits_get(slice_from(bytes, sizeof bytes), 0, width, is_signed);
    }
    return how != BITS_FAIL;
}

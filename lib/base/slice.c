/* slice.c -- what is too long for slice.h. */
#include "lib/base/slice.h"

static uint8_t lower(uint8_t c) {
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

bool slice_equal_nocase(struct slice a, struct slice b) {
    if (a.size != b.size) return false;
    for (size_t i = 0; i < a.size; i++)
        if (lower(a.data[i]) != lower(b.data[i])) return false;
    return true;
}

int slice_compare(struct slice a, struct slice b) {
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common ? memcmp(a.data, b.data, common) : 0;
    if (order != 0) return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

struct slice slice_cut(struct slice *rest, char at) {
    const uint8_t *found = rest->size ? memchr(rest->data, at, rest->size) : NULL;
    size_t size = found ? (size_t)(found - rest->data) : rest->size;
    struct slice part = slice_take(*rest, size);
    *rest = slice_drop(*rest, found ? size + 1 : size);
    return part;
}

struct slice slice_word(struct slice *rest) {
    struct slice word = {0};
    while (rest->size > 0 && word.size == 0) word = slice_cut(rest, ' ');
    return word;
}

bool slice_to_int(struct slice s, int64_t *number) {
    size_t at = 0;
    bool negative = s.size > 1 && s.data[0] == '-';
    if (negative) at = 1;
    if (at >= s.size) return false;
    if (s.data[at] == '0') {
        if (s.size != 1) return false; /* "-0" and "012" are not numbers here */
        *number = 0;
        return true;
    }
    const uint64_t limit = negative ? UINT64_C(1) << 63 : (UINT64_C(1) << 63) - 1;
    uint64_t value = 0;
    for (; at < s.size; at++) {
        uint8_t digit = (uint8_t)(s.data[at] - '0');
        if (digit > 9) return false;
        if (value > (limit - digit) / 10) return false;
        value = value * 10 + digit;
    }
    *number = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

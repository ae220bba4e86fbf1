/* slice.h -- borrowed bytes: a pointer and a length, owned by someone else.
 *
 * A slice never owns and never frees. One that is stored names its owner in a comment beside it.
 */
#ifndef LIB_BASE_SLICE_H
#define LIB_BASE_SLICE_H

#include "lib/base/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data; /* not terminated; may be NULL when size is 0 */
    size_t size;         /* bytes */
};

#define SLICE(literal) ((struct slice){(const uint8_t *)("" literal), sizeof(literal) - 1})

static inline struct slice slice_from(const void *data, size_t size) {
    return (struct slice){.data = data, .size = size};
}

static inline struct slice slice_text(const char *text) {
    return slice_from(text, strlen(text));
}

/* All but the first DROPPED bytes. */
static inline struct slice slice_drop(struct slice s, size_t dropped) {
    ASSERT(dropped <= s.size);
    return slice_from(dropped ? s.data + dropped : s.data, s.size - dropped);
}

/* The first KEPT bytes. */
static inline struct slice slice_take(struct slice s, size_t kept) {
    ASSERT(kept <= s.size);
    return slice_from(s.data, kept);
}

static inline bool slice_equal(struct slice a, struct slice b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Equal but for ASCII case; for command and option names. */
bool slice_equal_nocase(struct slice a, struct slice b);

/* As memcmp on the common part, then the shorter first: the order of sorted set members. */
int slice_compare(struct slice a, struct slice b);

static inline bool slice_starts(struct slice s, struct slice prefix) {
    return s.size >= prefix.size && slice_equal(slice_take(s, prefix.size), prefix);
}

/* What stands before the first AT, or all where there is none; *REST is what stands behind it. */
struct slice slice_cut(struct slice *rest, char at);

/* The next word of those between spaces; empty when there is none left. */
struct slice slice_word(struct slice *rest);

/* Read the whole of S as a decimal number in the strict form that Redis accepts: an optional '-',
 * no '+', no leading zeros, no spaces, nothing behind it. False when it is not one or does not fit;
 * *NUMBER is then untouched. (As string2ll in Redis 7.0 util.c.) */
bool slice_to_int(struct slice s, int64_t *number);

#endif

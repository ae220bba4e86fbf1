/* flat.h -- one way to walk all small collections that an RDB holds in one string.
 *
 * Hostile input: flat_open() checks the whole structure; the walk then needs no checks. That
 * elements are unique or scores are numbers is for the caller.
 */
#ifndef LIB_REDIS_FLAT_H
#define LIB_REDIS_FLAT_H

#include "lib/base/slice.h"

enum flat_kind { FLAT_LISTPACK, FLAT_ZIPLIST, FLAT_ZIPMAP, FLAT_INTSET };

struct flat {
    enum flat_kind kind;
    const uint8_t *data;
    uint32_t count; /* items: a pair of a zipmap is two */
    uint32_t at;
    struct slice value; /* of a zipmap: the second half of the pair */
    bool value_next;
    unsigned turn;
    char text[2][24];
};

/* The name for sentences: "listpack". */
const char *flat_name(enum flat_kind kind);

/* False when BLOB is not well-formed. */
MUST_CHECK bool flat_open(struct flat *flat, enum flat_kind kind, struct slice blob);

/* The next item as text; false at the end. It lives until the next but one. */
bool flat_next(struct flat *flat, struct slice *text);

/* Start again. */
void flat_rewind(struct flat *flat);

#endif

/* listpack.h -- the flat list of Redis 7: many small strings and integers in one allocation.
 *
 *     <total bytes, 4, little end first> <items, 2; 65535 = unknown> item item ... <0xff>
 *     item = <encoding and length> <data> <length of both, readable backwards, 1 to 5 bytes>
 *
 * Byte for byte the format of Redis 7.0 (listpack.c there), so that an RDB value is a check and
 * a copy. A string that reads as a 64-bit integer (slice_to_int) is stored as one.
 *
 * Position: an item is named by its offset in bytes from the start, `uint32_t at`; LP_NONE (0)
 * means there is none. Positions survive reallocation, and die when items before them change.
 *
 * Ownership: a listpack that is changed is one block of mem_alloc(), passed as `uint8_t **lp`
 * because it may move. Reading works on any bytes. Slices point into the listpack.
 *
 * Hostile input: bytes from outside go through lp_validate() first, once; every other function
 * takes the structure for granted. What may be added is bounded by lp_fits(), which the caller
 * asks first; the functions assert it.
 */
#ifndef LIB_REDIS_LISTPACK_H
#define LIB_REDIS_LISTPACK_H

#include "lib/base/slice.h"

#define LP_NONE 0u
#define LP_BYTES_EMPTY 7u
#define LP_BYTES_MAX (UINT32_C(1) << 30) /* no listpack of ours grows over this */
#define LP_TEXT_SIZE 21                  /* the longest integer as text */

struct lp_item {
    bool is_number;
    int64_t number;     /* if is_number */
    struct slice bytes; /* else; in the listpack */
};

enum lp_where { LP_BEFORE, LP_AFTER, LP_REPLACE };

/* Whether all of BLOB is one well-formed listpack: header, each item's length forwards and
 * backwards, the number of items, the end. *COUNT (may be NULL) is set if so. */
MUST_CHECK bool lp_validate(struct slice blob, uint32_t *count);

/* ---- reading */

uint32_t lp_bytes(const uint8_t *lp); /* its whole size */
uint32_t lp_count(const uint8_t *lp); /* walks all if there are more than 65534 */
static inline struct slice lp_slice(const uint8_t *lp) {
    return slice_from(lp, lp_bytes(lp));
}

uint32_t lp_first(const uint8_t *lp);
uint32_t lp_last(const uint8_t *lp);
uint32_t lp_next(const uint8_t *lp, uint32_t at);
uint32_t lp_prev(const uint8_t *lp, uint32_t at);

/* The item with INDEX from 0, or from -1 backwards; LP_NONE when out of range. */
uint32_t lp_seek(const uint8_t *lp, int64_t index);

struct lp_item lp_get(const uint8_t *lp, uint32_t at);

/* As bytes; a number is written as text into SCRATCH. */
struct slice lp_text(const uint8_t *lp, uint32_t at, char scratch[LP_TEXT_SIZE]);

/* An item's number, if it is one or reads as one. */
bool lp_number(const uint8_t *lp, uint32_t at, int64_t *number);

bool lp_equal(const uint8_t *lp, uint32_t at, struct slice text);

/* The first item from AT on that equals TEXT, looking at every (SKIP+1)-th; LP_NONE if none or
 * if AT is LP_NONE. SKIP is 1 for the fields of a hash. */
uint32_t lp_find(const uint8_t *lp, uint32_t at, struct slice text, uint32_t skip);

/* Bytes from AT to the start of the next item. */
uint32_t lp_item_bytes(const uint8_t *lp, uint32_t at);

/* ---- changing */

/* A new empty one with room for ROOM_BYTES in all (0: as little as possible). */
uint8_t *lp_new(size_t room_bytes) __attribute__((returns_nonnull));

/* Whether ADD bytes of strings in COUNT items may be put in without passing LP_BYTES_MAX. */
bool lp_fits(const uint8_t *lp, size_t add, size_t count);

void lp_append(uint8_t **lp, struct slice text);
void lp_append_number(uint8_t **lp, int64_t number);
void lp_prepend(uint8_t **lp, struct slice text);

/* Put TEXT before, after or in place of the item at AT; return where it is now. TEXT must not
 * lie in the listpack itself. */
uint32_t lp_insert(uint8_t **lp, uint32_t at, struct slice text, enum lp_where where);
uint32_t lp_insert_number(uint8_t **lp, uint32_t at, int64_t number, enum lp_where where);
static inline uint32_t lp_replace(uint8_t **lp, uint32_t at, struct slice text) {
    return lp_insert(lp, at, text, LP_REPLACE);
}

/* Remove up to COUNT items from AT on; return where the next one is now, LP_NONE at the end. */
uint32_t lp_delete(uint8_t **lp, uint32_t at, uint32_t count);

/* Append all items of MORE. */
void lp_append_all(uint8_t **lp, const uint8_t *more);

/* Cut before AT: *LP keeps the items before it, the result is a new listpack of the rest. */
uint8_t *lp_split(uint8_t **lp, uint32_t at) __attribute__((returns_nonnull));

/* Give back the room behind the end. */
void lp_shrink(uint8_t **lp);

/* NUMBER in decimal, not terminated; returns the length. */
size_t lp_write_number(int64_t number, char text[LP_TEXT_SIZE]);

#endif

/* intset.h -- the sorted array of integers in which Redis keeps small sets of numbers.
 *
 *     <bytes per number: 2, 4 or 8; 4 bytes> <numbers; 4 bytes> number number ...
 *
 * All little end first, ascending, none twice. Byte for byte the format of Redis 7.0 (intset.c
 * there). Adding a number that does not fit widens all numbers; removing never narrows them.
 *
 * Ownership: one block of mem_alloc(), passed as `uint8_t **set` where it may move.
 * Hostile input: bytes from outside go through intset_validate() first, once.
 */
#ifndef LIB_REDIS_INTSET_H
#define LIB_REDIS_INTSET_H

#include "lib/base/slice.h"

#define INTSET_BYTES_EMPTY 8u

/* Whether all of BLOB is one well-formed intset that is not empty. */
MUST_CHECK bool intset_validate(struct slice blob);

uint8_t *intset_new(void) __attribute__((returns_nonnull));
size_t intset_bytes(const uint8_t *set);
uint32_t intset_count(const uint8_t *set);
static inline struct slice intset_slice(const uint8_t *set) {
    return slice_from(set, intset_bytes(set));
}

/* The number at INDEX < intset_count(), in ascending order. */
int64_t intset_get(const uint8_t *set, uint32_t index);

/* Whether NUMBER is in it; *INDEX (may be NULL) is where it is or would be put. */
bool intset_find(const uint8_t *set, int64_t number, uint32_t *index);

/* False when it was there already (add) or was not there (remove). */
bool intset_add(uint8_t **set, int64_t number);
bool intset_remove(uint8_t **set, int64_t number);

#endif

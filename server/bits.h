/* bits.h -- a string as bits: bit 0 is the top bit of the first byte. Counting, finding, and
 * integers of 1 to 64 bits at any place.
 *
 * No function looks outside of what it is given. Behaviour follows Redis 7.0 (bitops.c).
 */
#ifndef SERVER_BITS_H
#define SERVER_BITS_H

#include "lib/base/slice.h"

/* How many of the bits FIRST to LAST, which are in BYTES, are 1. */
uint64_t bits_count(struct slice bytes, uint64_t first, uint64_t last);
/* The first of the bits FIRST to LAST, which are in BYTES, that is BIT; false if none is. */
bool bits_find(struct slice bytes, uint64_t first, uint64_t last, bool bit, uint64_t *found);

/* An integer of WIDTH bits at AT; behind the end there are zeros. Signed ones come extended. */
uint64_t bits_get(struct slice bytes, uint64_t at, unsigned width, bool is_signed);
/* BYTES must have them. */
void bits_set(uint8_t *bytes, uint64_t at, unsigned width, uint64_t value);

enum bits_overflow { BITS_WRAP, BITS_SATURATE, BITS_FAIL };

/* VALUE + MORE as an integer of WIDTH bits (up to 63 when not signed), or what is to become of it;
 * false if it does not fit and HOW is BITS_FAIL. */
bool bits_add(int64_t value, int64_t more, unsigned width, bool is_signed, enum bits_overflow how,
              int64_t *sum);

#endif

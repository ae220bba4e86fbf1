/* lzf.h -- LZF, the compression of RDB strings.
 *
 * Hostile input: lzf_unpack() writes at most the size that it is told, and fails unless it is
 * exactly that. lzf_plausible() refuses a claimed size before anything is allocated for it.
 */
#ifndef LIB_REDIS_LZF_H
#define LIB_REDIS_LZF_H

#include "lib/base/slice.h"

/* Whether PACKED_BYTES can become UNPACKED_BYTES at all: LZF never expands more than 88 times. */
bool lzf_plausible(uint64_t packed_bytes, uint64_t unpacked_bytes);

/* Expand PACKED to exactly SIZE bytes at INTO; false if it is anything else. */
MUST_CHECK bool lzf_unpack(struct slice packed, uint8_t *into, size_t size);

/* Compress BYTES into at most ROOM bytes at INTO; 0 when it does not fit there. */
size_t lzf_pack(struct slice bytes, uint8_t *into, size_t room);

#endif

/* lzf.c -- liblzf with sizes that cannot be wrong. */
#include "lib/redis/lzf.h"

#include <liblzf/lzf.h>

/* The longest reference takes three bytes and stands for 264. */
#define EXPANSION_MAX 88

bool lzf_plausible(uint64_t packed_bytes, uint64_t unpacked_bytes) {
    if (packed_bytes == 0 || packed_bytes > UINT32_MAX || unpacked_bytes > UINT32_MAX) return false;
    return unpacked_bytes > 0 && unpacked_bytes <= packed_bytes * EXPANSION_MAX;
}

bool lzf_unpack(struct slice packed, uint8_t *into, size_t size) {
    if (!lzf_plausible(packed.size, size)) return false;
    return lzf_decompress(packed.data, (unsigned)packed.size, into, (unsigned)size) == size;
}

size_t lzf_pack(struct slice bytes, uint8_t *into, size_t room) {
    if (bytes.size == 0 || bytes.size > UINT32_MAX || room == 0) return 0;
    if (room > UINT32_MAX) room = UINT32_MAX;
    return lzf_compress(bytes.data, (unsigned)bytes.size, into, (unsigned)room);
}

/* bytes.h -- numbers in bytes, of either order, at any alignment.
 *
 * RDB, listpack and intset write integers little end first and lengths big end first. The loops
 * below are recognised by both compilers and become one load or store.
 */
#ifndef LIB_REDIS_BYTES_H
#define LIB_REDIS_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* The COUNT (1 to 8) bytes at P, the smallest first, as an unsigned number. */
static inline uint64_t bytes_le(const uint8_t *p, size_t count) {
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++) value |= (uint64_t)p[i] << (8 * i);
    return value;
}

/* The same, as a signed number in two's complement of COUNT bytes. */
static inline int64_t bytes_le_signed(const uint8_t *p, size_t count) {
    unsigned unused_bits = (unsigned)(64 - 8 * count);
    return (int64_t)(bytes_le(p, count) << unused_bits) >> unused_bits;
}

static inline uint64_t bytes_be(const uint8_t *p, size_t count) {
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++) value = value << 8 | p[i];
    return value;
}

static inline void bytes_put_le(uint8_t *p, uint64_t value, size_t count) {
    for (size_t i = 0; i < count; i++) p[i] = (uint8_t)(value >> (8 * i));
}

static inline void bytes_put_be(uint8_t *p, uint64_t value, size_t count) {
    for (size_t i = 0; i < count; i++) p[i] = (uint8_t)(value >> (8 * (count - 1 - i)));
}

#endif

/* intset.c -- sorted arrays of integers. See intset.h. */
#include "lib/redis/intset.h"

#include "lib/base/mem.h"
#include "lib/redis/bytes.h"

#define NUMBERS(set) ((set) + INTSET_BYTES_EMPTY)

static uint32_t width_of(const uint8_t *set) {
    return (uint32_t)bytes_le(set, 4);
}

static uint32_t width_for(int64_t number) {
    if (number >= INT16_MIN && number <= INT16_MAX) return 2;
    return number >= INT32_MIN && number <= INT32_MAX ? 4 : 8;
}

static inline int64_t read_at(const uint8_t *set, uint32_t width, uint32_t index) {
    const uint8_t *p = NUMBERS(set) + (size_t)index * width;
    if (width == 2) return bytes_le_signed(p, 2);
    if (width == 4) return bytes_le_signed(p, 4);
    return bytes_le_signed(p, 8);
}

static void write_at(uint8_t *set, uint32_t width, uint32_t index, int64_t number) {
    bytes_put_le(NUMBERS(set) + (size_t)index * width, (uint64_t)number, width);
}

static void header_set(uint8_t *set, uint32_t width, uint32_t count) {
    bytes_put_le(set, width, 4);
    bytes_put_le(set + 4, count, 4);
}

bool intset_validate(struct slice blob) {
    if (blob.size <= INTSET_BYTES_EMPTY) return false;
    uint32_t width = width_of(blob.data), count = intset_count(blob.data);
    if (width != 2 && width != 4 && width != 8) return false;
    if (count == 0 || blob.size != INTSET_BYTES_EMPTY + (uint64_t)count * width) return false;
    for (uint32_t i = 1; i < count; i++)
        if (read_at(blob.data, width, i - 1) >= read_at(blob.data, width, i)) return false;
    return true;
}

uint8_t *intset_new(void) {
    uint8_t *set = mem_alloc(INTSET_BYTES_EMPTY);
    header_set(set, 2, 0);
    return set;
}

size_t intset_bytes(const uint8_t *set) {
    return INTSET_BYTES_EMPTY + (size_t)intset_count(set) * width_of(set);
}

uint32_t intset_count(const uint8_t *set) {
    return (uint32_t)bytes_le(set + 4, 4);
}

int64_t intset_get(const uint8_t *set, uint32_t index) {
    ASSERT(index < intset_count(set));
    return read_at(set, width_of(set), index);
}

bool intset_find(const uint8_t *set, int64_t number, uint32_t *index) {
    uint32_t width = width_of(set), low = 0, high = intset_count(set);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (read_at(set, width, middle) < number)
            low = middle + 1;
        else
            high = middle;
    }
    if (index) *index = low;
    return low < intset_count(set) && read_at(set, width, low) == number;
}

/* Rewrite all numbers with WIDTH bytes, from the last to the first, leaving room for one more. */
static void widen(uint8_t **set, uint32_t width) {
    uint32_t old = width_of(*set), count = intset_count(*set);
    *set = mem_realloc(*set, INTSET_BYTES_EMPTY + ((size_t)count + 1) * width);
    for (uint32_t i = count; i > 0; i--) write_at(*set, width, i - 1, read_at(*set, old, i - 1));
    header_set(*set, width, count);
}

bool intset_add(uint8_t **set, int64_t number) {
    uint32_t index;
    if (intset_find(*set, number, &index)) return false;
    if (width_for(number) > width_of(*set)) widen(set, width_for(number));
    uint32_t width = width_of(*set), count = intset_count(*set);
    ASSERT(count < UINT32_MAX);
    size_t need = INTSET_BYTES_EMPTY + ((size_t)count + 1) * width;
    if (need > mem_size(*set)) *set = mem_realloc(*set, need);
    uint8_t *at = NUMBERS(*set) + (size_t)index * width;
    memmove(at + width, at, (size_t)(count - index) * width);
    write_at(*set, width, index, number);
    header_set(*set, width, count + 1);
    return true;
}

bool intset_remove(uint8_t **set, int64_t number) {
    uint32_t index;
    if (!intset_find(*set, number, &index)) return false;
    uint32_t width = width_of(*set), count = intset_count(*set);
    uint8_t *at = NUMBERS(*set) + (size_t)index * width;
    memmove(at, at + width, (size_t)(count - index - 1) * width);
    header_set(*set, width, count - 1);
    size_t size = intset_bytes(*set);
    if (mem_size(*set) > 64 && size < mem_size(*set) / 4 * 3) *set = mem_realloc(*set, size);
    return true;
}

/* crc64.c -- CRC-64/Jones: eight tables everywhere, carry-less multiplication where the CPU has it.
 *
 * A sum is a remainder of polynomials over one bit, with bits mirrored: the first byte of the
 * message holds the highest powers. Folding: what stands N bits before the end of a block counts
 * as x^N times as much, so 16 bytes can be replaced by their product with x^N mod P, N bits later.
 * Four blocks are folded side by side, then into one, and that one goes through the tables.
 */
#include "lib/redis/crc64.h"

#include "lib/redis/bytes.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

/* The polynomial ad93d23594c935a9 with its bits mirrored. */
#define POLYNOMIAL UINT64_C(0x95ac9329ac4bc9b5)
#define FOLD_BYTES_MIN 256u

/* table[k][b]: what byte b does to the sum when k more bytes follow it. */
static uint64_t table[8][256];

static uint64_t times_x(uint64_t crc) {
    return crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
}

static uint64_t add_by_table(uint64_t crc, const uint8_t *p, size_t left) {
    for (; left >= 8; left -= 8, p += 8) {
        crc ^= bytes_le(p, 8);
        crc = table[7][crc & 255] ^ table[6][crc >> 8 & 255] ^ table[5][crc >> 16 & 255] ^
              table[4][crc >> 24 & 255] ^ table[3][crc >> 32 & 255] ^ table[2][crc >> 40 & 255] ^
              table[1][crc >> 48 & 255] ^ table[0][crc >> 56];
    }
    for (; left > 0; left--, p++) crc = table[0][(crc ^ *p) & 255] ^ crc >> 8;
    return crc;
}

#ifdef __x86_64__
static bool can_fold;
static uint64_t fold_one[2], fold_four[2]; /* for the high and the low half of a block */

/* x^POWER mod P, mirrored. */
static uint64_t power_of_x(unsigned power) {
    uint64_t value = UINT64_C(1) << 63;
    while (power-- > 0) value = times_x(value);
    return value;
}

/* A product of mirrored numbers comes out one bit low: hence each power is one less. */
static void fold_prepare(void) {
    can_fold = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
    fold_one[0] = power_of_x(128 + 64 - 1);
    fold_one[1] = power_of_x(128 - 1);
    fold_four[0] = power_of_x(512 + 64 - 1);
    fold_four[1] = power_of_x(512 - 1);
}

__attribute__((target("pclmul,sse4.1"))) static inline __m128i fold(__m128i block, __m128i by,
                                                                    __m128i next) {
    __m128i high = _mm_clmulepi64_si128(block, by, 0x00);
    __m128i low = _mm_clmulepi64_si128(block, by, 0x11);
    return _mm_xor_si128(_mm_xor_si128(high, low), next);
}

__attribute__((target("pclmul,sse4.1"))) static inline __m128i load(const uint8_t *p,
                                                                    size_t index) {
    return _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * index));
}

/* SIZE is a multiple of 64, at least 64. */
__attribute__((target("pclmul,sse4.1"))) static uint64_t
add_by_folding(uint64_t crc, const uint8_t *p, size_t size) {
    __m128i four = _mm_set_epi64x((int64_t)fold_four[1], (int64_t)fold_four[0]);
    __m128i one = _mm_set_epi64x((int64_t)fold_one[1], (int64_t)fold_one[0]);
    __m128i a = _mm_xor_si128(load(p, 0), _mm_set_epi64x(0, (int64_t)crc));
    __m128i b = load(p, 1), c = load(p, 2), d = load(p, 3);
    for (p += 64, size -= 64; size > 0; p += 64, size -= 64) {
        a = fold(a, four, load(p, 0));
        b = fold(b, four, load(p, 1));
        c = fold(c, four, load(p, 2));
        d = fold(d, four, load(p, 3));
    }
    a = fold(fold(fold(a, one, b), one, c), one, d);
    uint8_t last[16];
    _mm_storeu_si128((__m128i *)(void *)last, a);
    return add_by_table(0, last, sizeof last);
}
#endif

__attribute__((constructor)) static void crc64_prepare(void) {
    for (unsigned b = 0; b < 256; b++) {
        uint64_t crc = b;
        for (int bit = 0; bit < 8; bit++) crc = times_x(crc);
        table[0][b] = crc;
    }
    for (unsigned k = 1; k < 8; k++)
        for (unsigned b = 0; b < 256; b++)
            table[k][b] = table[0][table[k - 1][b] & 255] ^ table[k - 1][b] >> 8;
#ifdef __x86_64__
    fold_prepare();
#endif
}

uint64_t crc64_add(uint64_t crc, struct slice bytes) {
#ifdef __x86_64__
    if (bytes.size >= FOLD_BYTES_MIN && can_fold) {
        size_t folded = bytes.size / 64 * 64;
        crc = add_by_folding(crc, bytes.data, folded);
        bytes = slice_drop(bytes, folded);
    }
#endif
    return add_by_table(crc, bytes.data, bytes.size);
}

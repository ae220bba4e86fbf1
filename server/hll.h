/* hll.h -- HyperLogLog: about how many different elements were added, in at most 12304 bytes.
 *
 *     "HYLL" <encoding 1> <unused 3> <cached count 8, little end first, top bit: not valid>
 * <registers> dense   16384 registers of 6 bits sparse  runs: 00nnnnnn          n+1 registers of 0
 *                   01nnnnnn nnnnnnnn n+1 registers of 0
 *                   1vvvvvnn          n+1 registers of v+1
 *
 * Bytes and counts are those of Redis 7.0 (hyperloglog.c), run for run: a value that leaves for a
 * replica as PFADD becomes the same there.
 *
 * Hostile input: a HyperLogLog is a string, and whoever can write strings can write any. Every run
 * is checked against the end of the string and the number of registers before it is used
 * (CVE-2019-10192, CVE-2025-32023); hll_is() alone is no promise.
 */
#ifndef SERVER_HLL_H
#define SERVER_HLL_H

#include "lib/base/buf.h"
#include "lib/base/slice.h"

#define HLL_REGISTERS 16384
#define HLL_HEAD_BYTES 16
#define HLL_DENSE_BYTES (HLL_HEAD_BYTES + HLL_REGISTERS * 6 / 8)
#define HLL_REGISTER_MAX 63

enum hll_encoding { HLL_DENSE = 0, HLL_SPARSE = 1 };

/* Whether the head of BYTES is that of a HyperLogLog; a dense one has its exact size too. */
bool hll_is(struct slice bytes);
static inline enum hll_encoding hll_encoding(struct slice hll) {
    return (enum hll_encoding)hll.data[4];
}

/* The register of ELEMENT, and what it wants there: 1 to 51. */
uint8_t hll_pattern(struct slice element, unsigned *index);

/* ---- registers; an all-zero array is empty */

/* Raise REGISTERS to those of HLL; false if it is broken. */
MUST_CHECK bool hll_merge(uint8_t registers[HLL_REGISTERS], struct slice hll);
/* The count that belongs to so many registers of each value. */
struct hll_histogram {
    int counts[HLL_REGISTER_MAX + 1];
};
uint64_t hll_estimate(const struct hll_histogram *histogram);
uint64_t hll_count_registers(const uint8_t registers[HLL_REGISTERS]);
/* False if HLL is broken. */
MUST_CHECK bool hll_count(struct slice hll, uint64_t *count);

/* ---- changing; HLL holds a HyperLogLog that hll_is() approved of */

enum hll_change { HLL_SAME, HLL_CHANGED, HLL_BROKEN };

void hll_new(struct buf *hll);
/* Raise a register to VALUE (1 to 51); a sparse one that would grow over SPARSE_MAX bytes becomes
 * dense. HLL_BROKEN: nothing was changed. */
enum hll_change hll_raise(struct buf *hll, size_t sparse_max, unsigned index, uint8_t value);
/* False if it is broken. */
MUST_CHECK bool hll_to_dense(struct buf *hll);

uint8_t hll_dense_get(const uint8_t *hll, unsigned index);
void hll_dense_set(uint8_t *hll, unsigned index, uint8_t value);

/* The cached count; false if it is not valid. */
bool hll_cached(struct slice hll, uint64_t *count);
void hll_cache(uint8_t *hll, uint64_t count);
void hll_uncache(uint8_t *hll);

/* ---- runs of a sparse one */

struct hll_run {
    unsigned bytes, length; /* of the run; registers */
    uint8_t value;
    bool is_long; /* zeros in two bytes */
};
/* The run at AT; false if the string ends in it. */
MUST_CHECK bool hll_run_read(struct slice hll, size_t at, struct hll_run *run);

#endif

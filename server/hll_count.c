/* hll_count.c -- from registers to an estimate of how many elements there were.
 *
 * Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (arXiv:1702.01284);
 * the order of operations on doubles is that of Redis 7.0, so that counts are equal.
 */
#include "server/hll.h"

#include <math.h>

#define WIDTH 50 /* bits of the hash that patterns are looked for in */
#define HALF_BY_LN_2 0.721347520444481703680

static double sigma(double x) {
    if (x == 1.) return HUGE_VAL;
    double before, y = 1, z = x;
    do {
        x *= x;
        before = z;
        z += x * y;
        y += y;
    } while (before != z);
    return z;
}

static double tau(double x) {
    if (x == 0. || x == 1.) return 0.;
    double before, y = 1, z = 1 - x;
    do {
        x = sqrt(x);
        before = z;
        y *= 0.5;
        z -= pow(1 - x, 2) * y;
    } while (before != z);
    return z / 3;
}

uint64_t hll_estimate(const struct hll_histogram *histogram) {
    const double m = HLL_REGISTERS;
    double z = m * tau((m - histogram->counts[WIDTH + 1]) / m);
    for (int i = WIDTH; i >= 1; i--) {
        z += histogram->counts[i];
        z *= 0.5;
    }
    z += m * sigma(histogram->counts[0] / m);
    double estimate = HALF_BY_LN_2 * m * m / z;
    /* Registers that no elements can have made: a number that does not fit. */
    if (!(estimate < 9e18)) return UINT64_C(1) << 63;
    return (uint64_t)(double)llroundl((long double)estimate);
}

uint64_t hll_count_registers(const uint8_t registers[HLL_REGISTERS]) {
    struct hll_histogram histogram = {{0}};
    for (int i = 0; i < HLL_REGISTERS; i++) histogram.counts[registers[i] & HLL_REGISTER_MAX]++;
    return hll_estimate(&histogram);
}

bool hll_count(struct slice hll, uint64_t *count) {
    struct hll_histogram histogram = {{0}};
    unsigned index = 0;
    struct hll_run run;
    if (hll_encoding(hll) == HLL_DENSE) {
        for (unsigned i = 0; i < HLL_REGISTERS; i++) histogram.counts[hll_dense_get(hll.data, i)]++;
        *count = hll_estimate(&histogram);
        return true;
    }
    for (size_t at = HLL_HEAD_BYTES; at < hll.size; at += run.bytes) {
        if (!hll_run_read(hll, at, &run) || run.length > HLL_REGISTERS - index) return false;
        histogram.counts[run.value] += (int)run.length;
        index += run.length;
    }
    if (index != HLL_REGISTERS) return false;
    *count = hll_estimate(&histogram);
    return true;
}

bool hll_merge(uint8_t registers[HLL_REGISTERS], struct slice hll) {
    unsigned index = 0;
    struct hll_run run;
    if (hll_encoding(hll) == HLL_DENSE) {
        for (unsigned i = 0; i < HLL_REGISTERS; i++) {
            uint8_t value = hll_dense_get(hll.data, i);
            if (value > registers[i]) registers[i] = value;
        }
        return true;
    }
    for (size_t at = HLL_HEAD_BYTES; at < hll.size; at += run.bytes) {
        if (!hll_run_read(hll, at, &run) || run.length > HLL_REGISTERS - index) return false;
        for (unsigned end = index + run.length; index < end; index++)
            if (run.value > registers[index]) registers[index] = run.value;
    }
    return index == HLL_REGISTERS;
}

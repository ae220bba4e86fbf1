/* test_hll.c -- HyperLogLogs: sparse and dense agree, and no bytes make them read or write
 * elsewhere. */
#include "server/hll.h"

#include "lib/base/mem.h"
#include "lib/base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_an_empty_one_is_one_run_of_zeros(void **state) {
    (void)state;
    struct buf hll = {0};
    uint64_t count = 7;
    hll_new(&hll);
    assert_int_equal(buf_size(&hll), 18);
    assert_memory_equal(hll.data, "HYLL\1\0\0\0\0\0\0\0\0\0\0\0\x7f\xff", 18);
    assert_true(hll_is(buf_slice(&hll)));
    assert_true(hll_cached(buf_slice(&hll), &count));
    assert_int_equal(count, 0);
    buf_close(&hll);
}

static void test_sparse_and_dense_agree(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    printf("seed %llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    for (int round = 0; round < 6; round++) {
        struct buf sparse = {0}, dense = {0};
        hll_new(&sparse);
        hll_new(&dense);
        assert_true(hll_to_dense(&dense));
        for (int i = 0; i < 3000; i++) {
            uint64_t element = rng_next(&rng), counts[2];
            unsigned index;
            uint8_t value = hll_pattern(slice_from(&element, sizeof element), &index);
            if (rng_below(&rng, 50) == 0) value = (uint8_t)(1 + rng_below(&rng, 51));
            assert_int_equal(hll_raise(&sparse, 100000, index, value),
                             hll_raise(&dense, 100000, index, value));
            if (i % 500) continue;
            uint8_t a[HLL_REGISTERS] = {0}, b[HLL_REGISTERS] = {0};
            assert_true(hll_merge(a, buf_slice(&sparse)) && hll_merge(b, buf_slice(&dense)));
            assert_memory_equal(a, b, sizeof a);
            assert_true(hll_count(buf_slice(&sparse), &counts[0]));
            assert_true(hll_count(buf_slice(&dense), &counts[1]));
            assert_true(counts[0] == counts[1] && counts[0] == hll_count_registers(a));
        }
        buf_close(&sparse);
        buf_close(&dense);
    }
}

static void test_a_sparse_one_that_grows_too_large_becomes_dense(void **state) {
    (void)state;
    struct buf hll = {0};
    hll_new(&hll);
    for (unsigned i = 0; i < HLL_REGISTERS; i += 3)
        assert_int_equal(hll_raise(&hll, 300, i, (uint8_t)(1 + i % 20)), HLL_CHANGED);
    assert_int_equal(buf_size(&hll), HLL_DENSE_BYTES);
    assert_int_equal(hll_encoding(buf_slice(&hll)), HLL_DENSE);
    for (unsigned i = 0; i < HLL_REGISTERS; i++)
        assert_int_equal(hll_dense_get(hll.data, i), i % 3 ? 0 : 1 + i % 20);
    buf_close(&hll);
}

/* All of it on bytes in a block of their exact size, so that reading past the end is seen. */
static void torture(struct rng *rng, struct slice bytes) {
    uint8_t *exact = mem_dup(bytes.data, bytes.size), registers[HLL_REGISTERS] = {0};
    struct slice hll = slice_from(exact, bytes.size);
    uint64_t count;
    if (hll_is(hll)) {
        bool good = hll_count(hll, &count);
        assert_int_equal(hll_merge(registers, hll), good);
        struct buf copy = {0}, other = {0};
        buf_add(&copy, hll);
        assert_int_equal(hll_to_dense(&copy), good);
        buf_add(&other, hll);
        for (int i = 0; i < 20; i++) {
            enum hll_change change =
                hll_raise(&other, 3000, (unsigned)rng_below(rng, HLL_REGISTERS),
                          (uint8_t)(1 + rng_below(rng, rng_below(rng, 2) ? 51 : 5)));
            if (good) assert_int_not_equal(change, HLL_BROKEN);
        }
        buf_close(&copy);
        buf_close(&other);
    }
    mem_free(exact);
}

static void test_any_bytes_are_harmless(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    printf("seed %llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    for (int round = 0; round < 3000; round++) {
        struct buf hll = {0};
        hll_new(&hll);
        for (int i = (int)rng_below(&rng, 60); i > 0; i--)
            (void)hll_raise(&hll, 3000, (unsigned)rng_below(&rng, HLL_REGISTERS),
                            (uint8_t)(1 + rng_below(&rng, 32)));
        if (rng_below(&rng, 4) == 0) assert_true(hll_to_dense(&hll));
        for (int i = (int)rng_below(&rng, 8); i > 0; i--) {
            size_t at = rng_below(&rng, buf_size(&hll));
            hll.data[at] = (uint8_t)rng_next(&rng);
        }
        if (rng_below(&rng, 3) == 0) buf_byte(&hll, (uint8_t)rng_next(&rng));
        if (rng_below(&rng, 3) == 0) hll.end -= rng_below(&rng, 3);
        torture(&rng, buf_slice(&hll));
        buf_close(&hll);
    }
}

/* Runs whose lengths add up to more than an int holds (CVE-2025-32023). */
static void test_endless_runs_are_broken(void **state) {
    (void)state;
    struct rng rng = rng_from(1);
    struct buf hll = {0};
    uint64_t count;
    hll_new(&hll);
    for (int i = 0; i < 140000; i++) buf_append(&hll, "\x7f\xff", 2);
    assert_false(hll_count(buf_slice(&hll), &count));
    assert_false(hll_to_dense(&hll));
    torture(&rng, buf_slice(&hll));
    buf_close(&hll);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_one_is_one_run_of_zeros),
        cmocka_unit_test(test_sparse_and_dense_agree),
        cmocka_unit_test(test_a_sparse_one_that_grows_too_large_becomes_dense),
        cmocka_unit_test(test_any_bytes_are_harmless),
        cmocka_unit_test(test_endless_runs_are_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_hist.c -- quantiles are within 1.6 % of the truth, and merging changes nothing. */
#include "lib/base/hist.h"
#include "lib/base/mem.h"
#include "lib/base/rand.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void test_every_value_lies_in_its_bucket(void **state) {
    (void)state;
    unsigned before = 0;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        uint64_t low = hist_bucket_low(i), high = hist_bucket_high(i);
        assert_int_equal(hist_bucket(low), i);
        assert_int_equal(hist_bucket(high), i);
        if (i) assert_int_equal(hist_bucket_high(before) + 1, low); /* no gaps */
        if (low) assert_true((double)(high - low) / (double)low < 0.0157);
        before = i;
    }
    assert_int_equal(hist_bucket_high(HIST_BUCKETS - 1), (UINT64_C(1) << HIST_TOP_BIT) - 1);
    assert_int_equal(hist_bucket(UINT64_MAX), HIST_BUCKETS - 1);
}

#define SAMPLES 200000

static void test_quantiles_are_close_and_merging_changes_nothing(void **state) {
    (void)state;
    static const double quantiles[] = {0, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};
    uint64_t seed = rand_test_seed();
    printf("SEED=%llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    struct hist *whole = NEW(struct hist), *parts[3], *merged = NEW(struct hist);
    for (int i = 0; i < 3; i++) parts[i] = NEW(struct hist);
    uint64_t *all = NEW_ARRAY(uint64_t, SAMPLES);
    for (size_t i = 0; i < SAMPLES; i++) {
        /* From 1 to a billion, each magnitude as often. */
        uint64_t value = (uint64_t)exp((double)rng_below(&rng, 1000000) / 1e6 * 20.7);
        all[i] = value;
        hist_record(whole, value);
        hist_record(parts[i % 3], value);
    }
    for (int i = 0; i < 3; i++) hist_merge(merged, parts[i]);
    qsort(all, SAMPLES, sizeof *all, by_value);
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
        size_t rank = (size_t)ceil(quantiles[i] * SAMPLES);
        double truth = (double)all[rank ? rank - 1 : 0];
        double found = (double)hist_quantile(whole, quantiles[i]);
        if (found < truth || found > truth * 1.0157 + 1)
            fail_msg("p%g: %g instead of %g", quantiles[i] * 100, found, truth);
        assert_int_equal(hist_quantile(whole, quantiles[i]), hist_quantile(merged, quantiles[i]));
    }
    assert_int_equal(hist_max(merged), all[SAMPLES - 1]);
    assert_int_equal(hist_sum(merged), hist_sum(whole));
    assert_int_equal(hist_count(merged), SAMPLES);
    assert_int_equal(hist_count_to(whole, UINT64_MAX), SAMPLES);
    hist_clear(whole);
    assert_int_equal(hist_quantile(whole, 0.5), 0);
    for (int i = 0; i < 3; i++) mem_free(parts[i]);
    mem_free(whole);
    mem_free(merged);
    mem_free(all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_value_lies_in_its_bucket),
        cmocka_unit_test(test_quantiles_are_close_and_merging_changes_nothing),
    };
    return cmocka_run_group_tests_name("hist", tests, NULL, NULL);
}

/* test_latency_hist.c -- the buckets of LATENCY HISTOGRAM are those of Redis 7.0. */
#include "server/latency_hist.h"

#include "lib/base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct latency_hist hist;

static void test_the_steps_are_those_of_redis(void **state) {
    (void)state;
    static const uint64_t steps_us[] = {1,   2,   4,   8,    16,   33,   66,    132,
                                        264, 528, 1056, 2113, 4227, 8454, 16908, 33816};
    uint64_t ns = 1024, highest_ns;
    for (size_t i = 0; i < sizeof steps_us / sizeof *steps_us; i++, ns *= 2) {
        (void)latency_hist_below(&hist, ns, &highest_ns);
        assert_int_equal(highest_ns / 1000, steps_us[i]);
    }
}

static void test_a_percentile_is_at_most_one_percent_too_high(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    print_message("seed %llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    for (int i = 0; i < 10000; i++) {
        uint64_t ns = rng_below(&rng, UINT64_C(1) << rng_below(&rng, 30)) + 1;
        memset(&hist, 0, sizeof hist);
        latency_hist_record(&hist, ns);
        uint64_t at = latency_hist_at(&hist, 50);
        assert_true(at >= ns && at - ns <= ns / 100);
    }
}

static void test_half_of_the_calls_are_below_the_median(void **state) {
    (void)state;
    memset(&hist, 0, sizeof hist);
    for (uint64_t us = 1; us <= 100; us++) latency_hist_record(&hist, us * 1000);
    assert_int_equal(latency_hist_at(&hist, 50) / 1000, 50);
    assert_int_equal(latency_hist_at(&hist, 0) / 1000, 1);
    assert_int_equal(latency_hist_at(&hist, 100) / 1000, 100);
    uint64_t highest_ns;
    assert_int_equal(latency_hist_below(&hist, 32768, &highest_ns), 33);
}

static void test_what_takes_longer_than_a_second_counts_as_a_second(void **state) {
    (void)state;
    memset(&hist, 0, sizeof hist);
    latency_hist_record(&hist, UINT64_MAX);
    latency_hist_record(&hist, 0);
    assert_int_equal(hist.count, 2);
    assert_int_equal(latency_hist_at(&hist, 100) / 1000000, 1002);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_steps_are_those_of_redis),
        cmocka_unit_test(test_a_percentile_is_at_most_one_percent_too_high),
        cmocka_unit_test(test_half_of_the_calls_are_below_the_median),
        cmocka_unit_test(test_what_takes_longer_than_a_second_counts_as_a_second)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

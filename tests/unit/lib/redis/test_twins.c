/* test_twins.c -- what was added twice is found, however much there is, and memory has its limit.
 */
#include "lib/redis/twins.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static bool add(struct twins *twins, uint32_t number) {
    return twins_add(twins, slice_from(&number, sizeof number));
}

static void test_twins_are_found_and_others_are_not(void **state) {
    (void)state;
    static const uint32_t counts[] = {1, 5, 60, 5000, 200000};
    struct twins twins;
    twins_init(&twins, UINT64_C(1) << 30);
    for (size_t c = 0; c < 5; c++) {
        for (uint32_t twin = 0; twin < 2; twin++) {
            bool unique = true;
            twins_reset(&twins, c % 2 ? counts[c] : UINT64_MAX);
            for (uint32_t i = 0; i < counts[c]; i++) unique = add(&twins, i) && unique;
            if (twin) unique = add(&twins, counts[c] / 2) && unique;
            assert_int_equal(twins_done(&twins) && unique, !twin);
            assert_false(twins.full);
        }
    }
    twins_close(&twins);
}

static void test_over_the_limit_nothing_is_checked_and_that_is_told(void **state) {
    (void)state;
    struct twins twins;
    twins_init(&twins, 64 << 10);
    twins_reset(&twins, 10);
    for (uint32_t i = 0; i < 100000; i++) assert_true(add(&twins, i));
    assert_true(add(&twins, 5) && twins_done(&twins) && twins.full);
    assert_true(twins.allocated * sizeof *twins.slots <= 64 << 10);
    twins_reset(&twins, 10);
    assert_true(add(&twins, 5) && !add(&twins, 5));
    twins_close(&twins);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_twins_are_found_and_others_are_not),
        cmocka_unit_test(test_over_the_limit_nothing_is_checked_and_that_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_bits.c -- counting, finding and integers in bits, against the plain way. */
#include "server/bits.h"

#include "lib/base/mem.h"
#include "lib/base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static bool bit_of(const uint8_t *bytes, uint64_t at) {
    return bytes[at / 8] >> (7 - at % 8) & 1;
}

static void test_counting_and_finding_are_those_of_a_plain_walk(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    printf("seed %llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    for (int round = 0; round < 20000; round++) {
        size_t size = 1 + rng_below(&rng, 40);
        uint8_t *bytes = mem_alloc(size);
        for (size_t i = 0; i < size; i++)
            bytes[i] = rng_below(&rng, 12) ? (round % 2 ? 0 : 255) : (uint8_t)rng_next(&rng);
        uint64_t first = rng_below(&rng, size * 8),
                 last = first + rng_below(&rng, size * 8 - first);
        uint64_t count = 0, found[2] = {UINT64_MAX, UINT64_MAX}, at;
        for (uint64_t i = first; i <= last; i++) {
            bool bit = bit_of(bytes, i);
            count += bit;
            if (found[bit] == UINT64_MAX) found[bit] = i;
        }
        assert_int_equal(bits_count(slice_from(bytes, size), first, last), count);
        for (int bit = 0; bit < 2; bit++) {
            bool there = bits_find(slice_from(bytes, size), first, last, bit, &at);
            assert_int_equal(there, found[bit] != UINT64_MAX);
            if (there) assert_int_equal(at, found[bit]);
        }
        mem_free(bytes);
    }
}

static void test_an_integer_comes_back_from_where_it_was_put(void **state) {
    (void)state;
    struct rng rng = rng_from(7);
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[12], before[12];
        for (size_t i = 0; i < sizeof bytes; i++) before[i] = bytes[i] = (uint8_t)rng_next(&rng);
        unsigned width = 1 + (unsigned)rng_below(&rng, 64);
        uint64_t at = rng_below(&rng, 96 - width + 1), value = rng_next(&rng);
        if (width < 64) value &= (UINT64_C(1) << width) - 1;
        bits_set(bytes, at, width, value);
        assert_true(bits_get(slice_from(bytes, sizeof bytes), at, width, false) == value);
        for (uint64_t i = 0; i < 96; i++)
            if (i < at || i >= at + width) assert_int_equal(bit_of(bytes, i), bit_of(before, i));
    }
}

static void test_behind_the_end_are_zeros(void **state) {
    (void)state;
    assert_true(bits_get(SLICE("\xff"), 4, 8, false) == 0xf0);
    assert_true(bits_get(SLICE("\xff"), UINT64_C(1) << 40, 64, true) == 0);
    assert_true((int64_t)bits_get(SLICE("\xff"), 4, 4, true) == -1);
}

static void add(int64_t value, int64_t more, unsigned width, bool is_signed, int64_t wrapped,
                int64_t saturated) {
    int64_t sum;
    assert_true(bits_add(value, more, width, is_signed, BITS_WRAP, &sum));
    assert_true(sum == wrapped);
    assert_true(bits_add(value, more, width, is_signed, BITS_SATURATE, &sum));
    assert_true(sum == saturated);
    assert_int_equal(bits_add(value, more, width, is_signed, BITS_FAIL, &sum),
                     wrapped == saturated);
}

static void test_sums_wrap_or_saturate_at_the_width(void **state) {
    (void)state;
    add(100, 20, 8, true, 120, 120);
    add(100, 30, 8, true, -126, 127);
    add(-100, -30, 8, true, 126, -128);
    add(250, 10, 8, false, 4, 255);
    add(3, -5, 8, false, 254, 0);
    add(0, 1, 1, true, -1, 0);
    add(INT64_MAX, 1, 64, true, INT64_MIN, INT64_MAX);
    add(INT64_MIN, -1, 64, true, INT64_MAX, INT64_MIN);
    add(INT64_MAX, INT64_MAX, 63, false, INT64_MAX - 1, INT64_MAX);
    int64_t sum; /* SET of a negative number: too large, as Redis sees it */
    assert_true(bits_add(-1, 0, 8, false, BITS_SATURATE, &sum) && sum == 255);
    assert_true(bits_add(-2, 0, 8, false, BITS_WRAP, &sum) && sum == 254);
    assert_false(bits_add(-1, 0, 8, false, BITS_FAIL, &sum));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counting_and_finding_are_those_of_a_plain_walk),
        cmocka_unit_test(test_an_integer_comes_back_from_where_it_was_put),
        cmocka_unit_test(test_behind_the_end_are_zeros),
        cmocka_unit_test(test_sums_wrap_or_saturate_at_the_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

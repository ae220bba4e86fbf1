/* test_crc64.c -- the sum is that of Redis, for any size, start and place in memory. */
#include "lib/base/mem.h"
#include "lib/base/rand.h"
#include "lib/redis/crc64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_the_sum_is_that_of_redis(void **state) {
    (void)state;
    assert_true(crc64_add(0, SLICE("123456789")) == UINT64_C(0xe9c6d914c4b8d9ca));
    assert_true(crc64_add(crc64_add(0, SLICE("1234")), SLICE("56789")) ==
                UINT64_C(0xe9c6d914c4b8d9ca));
    assert_true(crc64_add(7, slice_from(NULL, 0)) == 7);
}

/* Bit by bit, as the definition has it. */
static uint64_t slowly(uint64_t crc, const uint8_t *p, size_t size) {
    for (size_t i = 0; i < size; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT64_C(0x95ac9329ac4bc9b5) : 0);
    }
    return crc;
}

static void test_any_size_and_place_gives_the_sum_of_the_definition(void **state) {
    (void)state;
    struct rng rng = rng_from(rand_test_seed());
    for (size_t size = 0; size < 1500; size += 1 + size / 200) {
        size_t offset = rng_below(&rng, 16);
        uint8_t *bytes = mem_alloc(offset + size);
        for (size_t i = 0; i < offset + size; i++) bytes[i] = (uint8_t)rng_next(&rng);
        uint64_t start = rng_next(&rng);
        uint64_t sum = crc64_add(start, slice_from(bytes + offset, size));
        assert_true(sum == slowly(start, bytes + offset, size));
        mem_free(bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_sum_is_that_of_redis),
        cmocka_unit_test(test_any_size_and_place_gives_the_sum_of_the_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_lzf.c -- our LZF and liblzf read each other; broken input never leaves its bounds. */
#include "lib/base/mem.h"
#include "lib/base/rand.h"
#include "lib/redis/lzf.h"

#include <liblzf/lzf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define SIZE_MAX_TRIED 70000u

static struct rng rng;

/* In a block of its exact size, so that a sanitizer sees a byte too many. */
static uint8_t *make_input(size_t size) {
    uint8_t *bytes = mem_alloc(size);
    uint64_t kind = rng_below(&rng, 5);
    for (size_t i = 0; i < size; i++) {
        size_t back = 1 + (size_t)rng_below(&rng, kind == 3 ? 12 : 9000);
        bool repeats = kind >= 2 && back <= i && rng_below(&rng, kind == 4 ? 200 : 9);
        bytes[i] = kind == 0 ? (uint8_t)rng_next(&rng)
                   : repeats ? bytes[i - back]
                             : (uint8_t)("the cat sat on a mat"[rng_below(&rng, 20)]);
        for (size_t run = kind == 4 ? (size_t)rng_below(&rng, 700) : 0; repeats && run > 0; run--)
            if (i + 1 < size) i++, bytes[i] = bytes[i - back];
    }
    return bytes;
}

static size_t random_size(void) {
    switch (rng_below(&rng, 4)) {
    case 0: return 1 + (size_t)rng_below(&rng, 12);
    case 1: return 1 + (size_t)rng_below(&rng, 300);
    case 2: return 1 + (size_t)rng_below(&rng, 9000);
    default: return 1 + (size_t)rng_below(&rng, SIZE_MAX_TRIED);
    }
}

static void check_unpacks(struct slice packed, const uint8_t *bytes, size_t size) {
    uint8_t *exact = mem_dup(packed.data, packed.size), *ours = mem_alloc(size);
    assert_true(lzf_unpack(slice_from(exact, packed.size), ours, size));
    assert_memory_equal(ours, bytes, size);
    assert_false(lzf_unpack(slice_from(exact, packed.size), ours, size - 1 ? size - 1 : 2));
    assert_int_equal(lzf_decompress(exact, (unsigned)packed.size, ours, (unsigned)size), size);
    assert_memory_equal(ours, bytes, size);
    mem_free(exact);
    mem_free(ours);
}

static void test_what_one_packs_the_other_unpacks(void **state) {
    (void)state;
    uint64_t ours_bytes = 0, theirs_bytes = 0;
    for (int i = 0; i < 2000; i++) {
        size_t size = random_size(), room = size + size / 16 + 64;
        uint8_t *bytes = make_input(size), *packed = mem_alloc(room);
        size_t ours = lzf_pack(slice_from(bytes, size), packed, room);
        assert_true(ours > 0 && ours <= room);
        check_unpacks(slice_from(packed, ours), bytes, size);
        size_t theirs = lzf_compress(bytes, (unsigned)size, packed, (unsigned)room);
        if (theirs) check_unpacks(slice_from(packed, theirs), bytes, size);
        ours_bytes += ours;
        theirs_bytes += theirs ? theirs : size;
        mem_free(bytes);
        mem_free(packed);
    }
    print_message("packed to %llu bytes, by liblzf to %llu\n", (unsigned long long)ours_bytes,
                  (unsigned long long)theirs_bytes);
    assert_true(ours_bytes < theirs_bytes + theirs_bytes / 10);
}

static void test_what_does_not_fit_is_not_packed(void **state) {
    (void)state;
    for (int i = 0; i < 500; i++) {
        size_t size = 1 + (size_t)rng_below(&rng, 400), room = size + 64;
        uint8_t *bytes = make_input(size), *whole = mem_alloc(room);
        size_t wanted = lzf_pack(slice_from(bytes, size), whole, room);
        for (size_t less = 1; less <= wanted; less++) {
            uint8_t *exact = mem_alloc(less);
            size_t got = lzf_pack(slice_from(bytes, size), exact, less);
            if (less < wanted - (wanted > 3 ? 3 : wanted)) assert_int_equal(got, 0);
            if (got) assert_memory_equal(exact, whole, got);
            mem_free(exact);
        }
        mem_free(bytes);
        mem_free(whole);
    }
}

static void test_broken_input_stays_within_its_bounds(void **state) {
    (void)state;
    for (int i = 0; i < 20000; i++) {
        size_t size = 1 + (size_t)rng_below(&rng, 300), room = size + 64;
        uint8_t *bytes = make_input(size), *packed = mem_alloc(room);
        size_t count = lzf_pack(slice_from(bytes, size), packed, room);
        for (uint64_t changes = rng_below(&rng, 4); changes > 0; changes--)
            packed[rng_below(&rng, count)] = (uint8_t)rng_next(&rng);
        if (rng_below(&rng, 3) == 0) count = (size_t)rng_below(&rng, count + 1);
        uint8_t *exact = mem_dup(packed, count), *into = mem_alloc(size);
        bool ours = lzf_unpack(slice_from(exact, count), into, size);
        if (ours) /* then it is LZF, and liblzf says the same */
            assert_int_equal(lzf_decompress(exact, (unsigned)count, bytes, (unsigned)size), size);
        if (ours) assert_memory_equal(into, bytes, size);
        mem_free(exact);
        mem_free(into);
        mem_free(bytes);
        mem_free(packed);
    }
}

int main(void) {
    uint64_t seed = rand_test_seed();
    printf("seed %llu\n", (unsigned long long)seed);
    rng = rng_from(seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_one_packs_the_other_unpacks),
        cmocka_unit_test(test_what_does_not_fit_is_not_packed),
        cmocka_unit_test(test_broken_input_stays_within_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

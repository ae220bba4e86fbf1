/* test_ziplist.c -- a ziplist that is written is the one that Redis 6.2 would write, and holds what
 * the listpack did. */
#include "lib/base/mem.h"
#include "lib/base/rand.h"
#include "lib/redis/ziplist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void expect_bytes(struct buf *out, const uint8_t *want, size_t size) {
    assert_int_equal(buf_size(out), size);
    assert_memory_equal(buf_slice(out).data, want, size);
    buf_close(out);
}

/* The example at the head of ziplist.c of Redis 6.2, and the same with "Hello World" behind it. */
static void test_bytes_are_those_of_redis(void **state) {
    (void)state;
    static const uint8_t two[] = {0x0f, 0, 0, 0, 0x0c, 0, 0, 0, 2, 0, 0, 0xf3, 2, 0xf6, 0xff};
    static const uint8_t three[] = {0x1c, 0,    0,   0,   0x0e, 0,   0,   0,   3,   0,
                                    0,    0xf3, 2,   0xf6, 2,   0x0b, 'H', 'e', 'l', 'l',
                                    'o',  ' ',  'W', 'o', 'r',  'l', 'd', 0xff};
    struct buf out = {0};
    uint8_t *lp = lp_new(0);
    lp_append(&lp, SLICE("2"));
    lp_append(&lp, SLICE("5"));
    ziplist_put(&out, lp);
    expect_bytes(&out, two, sizeof two);
    lp_append(&lp, SLICE("Hello World"));
    ziplist_put(&out, lp);
    expect_bytes(&out, three, sizeof three);
    mem_free(lp);
}

static void test_numbers_take_the_fewest_bytes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t bytes; /* of the item, with the size of the one before */
        uint8_t code;
    } cases[] = {{"0", 2, 0xf1},          {"12", 2, 0xfd},          {"13", 3, 0xfe},
                 {"-1", 3, 0xfe},         {"-128", 3, 0xfe},        {"128", 4, 0xc0},
                 {"-32768", 4, 0xc0},     {"32768", 5, 0xf0},       {"-8388608", 5, 0xf0},
                 {"8388608", 6, 0xd0},    {"-2147483648", 6, 0xd0}, {"2147483648", 10, 0xe0},
                 {"-9223372036854775808", 10, 0xe0},                {"007", 5, 0x03}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        uint32_t count;
        ziplist_put_one(&out, slice_text(cases[i].text));
        assert_true(ziplist_validate(buf_slice(&out), &count));
        assert_int_equal(count, 1);
        assert_int_equal(buf_size(&out), ZIPLIST_START + cases[i].bytes + 1);
        assert_int_equal(buf_slice(&out).data[ZIPLIST_START + 1], cases[i].code);
        buf_close(&out);
    }
}

static void expect_same_items(const uint8_t *lp, struct slice ziplist) {
    uint32_t count, at = ZIPLIST_START, items = 0;
    struct lp_item item;
    assert_true(ziplist_validate(ziplist, &count));
    assert_int_equal(count, lp_count(lp));
    for (uint32_t from = lp_first(lp); from != LP_NONE; from = lp_next(lp, from), items++) {
        struct lp_item want = lp_get(lp, from);
        assert_true(ziplist_next(ziplist.data, &at, &item));
        assert_int_equal(item.is_number, want.is_number);
        if (want.is_number)
            assert_int_equal(item.number, want.number);
        else
            assert_true(slice_equal(item.bytes, want.bytes));
    }
    assert_false(ziplist_next(ziplist.data, &at, &item));
    assert_int_equal(items, count);
}

static void test_a_listpack_becomes_a_ziplist_of_the_same_items(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    printf("seed %llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    static char text[70000];
    memset(text, 't', sizeof text);
    for (int round = 0; round < 200; round++) {
        static const size_t sizes[] = {1, 63, 64, 245, 249, 250, 251, 252, 253, 16383, 16384, 65537};
        uint8_t *lp = lp_new(0);
        struct buf out = {0};
        buf_append(&out, "in front", 8); /* it need not stand at the start */
        buf_consume(&out, 3);
        for (uint64_t i = rng_below(&rng, 60); i > 0; i--) {
            size_t size = sizes[rng_below(&rng, round % 10 ? 9 : 12)] + rng_below(&rng, 2);
            if (rng_below(&rng, 2))
                lp_append_number(&lp, (int64_t)rng_next(&rng) >> rng_below(&rng, 64));
            else
                lp_append(&lp, slice_from(text, size));
        }
        ziplist_put(&out, lp);
        expect_same_items(lp, slice_drop(buf_slice(&out), 5));
        mem_free(lp);
        buf_close(&out);
    }
}

static void test_more_than_65534_items_are_not_counted_in_the_head(void **state) {
    (void)state;
    for (int count = 65534; count <= 65536; count++) {
        uint8_t *lp = lp_new(0);
        struct buf out = {0};
        for (int i = 0; i < count; i++) lp_append_number(&lp, i % 100);
        ziplist_put(&out, lp);
        expect_same_items(lp, buf_slice(&out));
        assert_int_equal(buf_slice(&out).data[8] | buf_slice(&out).data[9] << 8,
                         count > 65534 ? 65535 : count);
        mem_free(lp);
        buf_close(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_are_those_of_redis),
        cmocka_unit_test(test_numbers_take_the_fewest_bytes),
        cmocka_unit_test(test_a_listpack_becomes_a_ziplist_of_the_same_items),
        cmocka_unit_test(test_more_than_65534_items_are_not_counted_in_the_head),
    };
    return cmocka_run_group_tests_name("ziplist", tests, NULL, NULL);
}

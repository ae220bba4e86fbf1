/* test_listpack.c -- listpacks and intsets keep what they are given, in the bytes of Redis. */
#include "lib/base/mem.h"
#include "lib/base/rand.h"
#include "lib/redis/intset.h"
#include "lib/redis/listpack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_bytes_are_those_of_redis(void **state) {
    (void)state;
    uint8_t *lp = lp_new(0);
    lp_append(&lp, SLICE("ab"));
    lp_append(&lp, SLICE("127"));
    lp_append(&lp, SLICE("-1"));
    lp_append(&lp, SLICE("-32768"));
    lp_append(&lp, SLICE("8388607"));
    lp_append(&lp, SLICE("-2147483648"));
    lp_append(&lp, SLICE("9223372036854775807"));
    lp_append(&lp, SLICE("01"));
    static const uint8_t want[] = {
        0x2d, 0,    0,    0,    8,    0,    0x82, 'a',  'b',  3,    0x7f, 1,   0xdf, 0xff, 2,
        0xf1, 0x00, 0x80, 3,    0xf2, 0xff, 0xff, 0x7f, 4,    0xf3, 0,    0,   0,    0x80, 5,
        0xf4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 9,    0x82, '0', '1',  3,    0xff};
    assert_int_equal(lp_bytes(lp), sizeof want);
    assert_memory_equal(lp, want, sizeof want);
    mem_free(lp);
}

/* The longest backward length of each size but the first is not used. */
static void test_borders_of_backward_lengths_are_those_of_redis(void **state) {
    (void)state;
    static const struct {
        uint32_t size, head, tail;
    } cases[] = {{126, 2, 2},     {125, 2, 1}, {16377, 5, 2}, {16378, 5, 3}, {2097145, 5, 3},
                 {2097146, 5, 4}, {63, 1, 1},  {64, 2, 1},    {4095, 2, 2},  {4096, 5, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *text = mem_zalloc(cases[i].size), *lp = lp_new(0);
        lp_append(&lp, slice_from(text, cases[i].size));
        assert_int_equal(lp_bytes(lp), 7 + cases[i].size + cases[i].head + cases[i].tail);
        assert_true(lp_validate(lp_slice(lp), NULL));
        assert_int_equal(lp_last(lp), lp_first(lp));
        mem_free(text);
        mem_free(lp);
    }
}

#define ITEMS_MAX 400

/* What a listpack must hold: owned copies of texts, in order. */
struct model {
    char *text[ITEMS_MAX];
    size_t size[ITEMS_MAX];
    size_t count;
};

static void model_set(struct model *m, size_t at, const char *text, size_t size, bool replace) {
    if (replace) {
        free(m->text[at]);
    } else {
        memmove(m->text + at + 1, m->text + at, (m->count - at) * sizeof *m->text);
        memmove(m->size + at + 1, m->size + at, (m->count - at) * sizeof *m->size);
        m->count++;
    }
    m->text[at] = malloc(size + 1);
    memcpy(m->text[at], text, size);
    m->size[at] = size;
}

static void model_cut(struct model *m, size_t at, size_t count) {
    for (size_t i = at; i < at + count; i++) free(m->text[i]);
    memmove(m->text + at, m->text + at + count, (m->count - at - count) * sizeof *m->text);
    memmove(m->size + at, m->size + at + count, (m->count - at - count) * sizeof *m->size);
    m->count -= count;
}

static size_t random_text(struct rng *rng, char *text) {
    size_t size = rng_below(rng, 10) == 0 ? rng_below(rng, 20000) : rng_below(rng, 80);
    if (rng_below(rng, 3) == 0)
        return lp_write_number(
            (int64_t)(rng_next(rng) >> rng_below(rng, 64)) * (rng_below(rng, 2) ? 1 : -1), text);
    for (size_t i = 0; i < size; i++) text[i] = (char)rng_next(rng);
    return size;
}

static void expect_equal(const uint8_t *lp, const struct model *m) {
    uint8_t *exact = malloc(lp_bytes(lp)); /* so that a read past the end is seen */
    memcpy(exact, lp, lp_bytes(lp));
    uint32_t count = 0;
    assert_true(lp_validate(lp_slice(exact), &count));
    assert_int_equal(count, m->count);
    assert_int_equal(lp_count(exact), m->count);
    uint32_t at = lp_first(exact);
    char scratch[LP_TEXT_SIZE];
    for (size_t i = 0; i < m->count; i++, at = lp_next(exact, at)) {
        struct slice want = slice_from(m->text[i], m->size[i]);
        assert_true(slice_equal(lp_text(exact, at, scratch), want));
        assert_true(lp_equal(exact, at, want));
    }
    assert_int_equal(at, LP_NONE);
    at = lp_last(exact);
    for (size_t i = m->count; i-- > 0; at = lp_prev(exact, at))
        assert_int_equal(at, lp_seek(exact, (int64_t)i));
    assert_int_equal(at, LP_NONE);
    free(exact);
}

static void test_any_changes_equal_those_of_a_plain_array(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    printf("seed %llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    char *text = malloc(20000);
    struct model m = {.count = 0};
    uint8_t *lp = lp_new(0);
    for (int round = 0; round < 3000; round++) {
        size_t size = random_text(&rng, text), at = m.count ? rng_below(&rng, m.count) : 0;
        struct slice s = slice_from(text, size);
        uint32_t pos = m.count ? lp_seek(lp, (int64_t)at) : LP_NONE;
        switch (m.count > ITEMS_MAX - 4 ? 5 : rng_below(&rng, 8)) {
        case 0: lp_append(&lp, s), model_set(&m, m.count, text, size, false); break;
        case 1: lp_prepend(&lp, s), model_set(&m, 0, text, size, false); break;
        case 2:
            if (pos == LP_NONE) break;
            pos = lp_insert(&lp, pos, s, LP_BEFORE);
            assert_int_equal(pos, lp_seek(lp, (int64_t)at));
            model_set(&m, at, text, size, false);
            break;
        case 3:
            if (pos == LP_NONE) break;
            pos = lp_insert(&lp, pos, s, LP_AFTER);
            assert_int_equal(pos, lp_seek(lp, (int64_t)at + 1));
            model_set(&m, at + 1, text, size, false);
            break;
        case 4:
            if (pos == LP_NONE) break;
            assert_int_equal(lp_replace(&lp, pos, s), pos);
            model_set(&m, at, text, size, true);
            break;
        case 5: {
            if (pos == LP_NONE) break;
            size_t count = 1 + rng_below(&rng, 3);
            uint32_t next = lp_delete(&lp, pos, (uint32_t)count);
            model_cut(&m, at, count < m.count - at ? count : m.count - at);
            assert_int_equal(next, at < m.count ? pos : LP_NONE);
            break;
        }
        default: {
            if (pos == LP_NONE) break;
            uint8_t *rest = lp_split(&lp, pos);
            assert_true(lp_validate(lp_slice(rest), NULL) && lp_validate(lp_slice(lp), NULL));
            assert_int_equal(lp_count(lp), at);
            lp_append_all(&lp, rest);
            mem_free(rest);
        }
        }
        if (round % 20 == 0) expect_equal(lp, &m);
    }
    expect_equal(lp, &m);
    model_cut(&m, 0, m.count);
    mem_free(lp);
    free(text);
}

static void test_more_than_65534_items_are_counted_by_walking(void **state) {
    (void)state;
    uint8_t *lp = lp_new(0);
    for (int i = 0; i < 66000; i++) lp_append_number(&lp, i % 100);
    assert_int_equal(lp_count(lp), 66000);
    assert_true(lp[4] == 0xff && lp[5] == 0xff);
    assert_int_equal(lp_delete(&lp, lp_seek(lp, -1000), 1000), LP_NONE);
    assert_int_equal(lp_count(lp), 65000);
    assert_int_equal(lp[4] | lp[5] << 8, 65000);
    assert_true(lp_validate(lp_slice(lp), NULL));
    mem_free(lp);
}

static void test_a_field_is_found_at_even_places_only(void **state) {
    (void)state;
    uint8_t *lp = lp_new(0);
    static const char *const texts[] = {"f", "v", "v", "5", "5", "f"};
    for (size_t i = 0; i < 6; i++) lp_append(&lp, slice_text(texts[i]));
    assert_int_equal(lp_find(lp, lp_first(lp), SLICE("v"), 1), lp_seek(lp, 2));
    assert_int_equal(lp_find(lp, lp_first(lp), SLICE("5"), 1), lp_seek(lp, 4));
    assert_int_equal(lp_find(lp, lp_first(lp), SLICE("x"), 1), LP_NONE);
    mem_free(lp);
}

/* Any damage is either refused or leaves something that can be walked without harm. */
static void test_damaged_bytes_never_lead_outside(void **state) {
    (void)state;
    struct rng rng = rng_from(rand_test_seed());
    uint8_t *lp = lp_new(0);
    for (int i = 0; i < 12; i++) {
        char text[200];
        for (size_t k = 0; k < sizeof text; k++) text[k] = 'x';
        lp_append(&lp, slice_from(text, (size_t)i * 15));
        lp_append_number(&lp, (int64_t)1 << (5 * i));
    }
    for (int round = 0; round < 20000; round++) {
        size_t size = rng_below(&rng, 4) ? lp_bytes(lp) : rng_below(&rng, lp_bytes(lp));
        uint8_t *bad = malloc(size ? size : 1);
        memcpy(bad, lp, size);
        for (uint64_t k = rng_below(&rng, 4); size && k > 0; k--)
            bad[rng_below(&rng, size)] = (uint8_t)rng_next(&rng);
        uint32_t count, walked = 0;
        if (lp_validate(slice_from(bad, size), &count)) {
            for (uint32_t at = lp_first(bad); at; at = lp_next(bad, at)) walked++;
            assert_int_equal(walked, count);
            for (uint32_t at = lp_last(bad); at; at = lp_prev(bad, at)) walked--;
            assert_int_equal(walked, 0);
        }
        free(bad);
    }
    assert_false(lp_validate(slice_from(lp, lp_bytes(lp) - 1), NULL));
    lp[4]++;
    assert_false(lp_validate(lp_slice(lp), NULL));
    mem_free(lp);
}

static void test_an_intset_is_sorted_and_widens(void **state) {
    (void)state;
    uint8_t *set = intset_new();
    assert_true(intset_add(&set, 5) && intset_add(&set, -3) && !intset_add(&set, 5));
    static const uint8_t narrow[] = {2, 0, 0, 0, 2, 0, 0, 0, 0xfd, 0xff, 5, 0};
    assert_int_equal(intset_bytes(set), sizeof narrow);
    assert_memory_equal(set, narrow, sizeof narrow);
    assert_true(intset_add(&set, 40000));
    static const uint8_t wide[] = {4,    0,    0, 0, 3, 0, 0,    0,    0xfd, 0xff,
                                   0xff, 0xff, 5, 0, 0, 0, 0x40, 0x9c, 0,    0};
    assert_int_equal(intset_bytes(set), sizeof wide);
    assert_memory_equal(set, wide, sizeof wide);
    assert_true(intset_add(&set, INT64_MIN) && intset_validate(intset_slice(set)));
    assert_true(intset_get(set, 0) == INT64_MIN && intset_get(set, 3) == 40000);
    assert_true(intset_remove(&set, -3) && !intset_remove(&set, -3) && !intset_remove(&set, 6));
    assert_int_equal(intset_count(set), 3);
    set[0] = 3;
    assert_false(intset_validate(intset_slice(set)));
    mem_free(set);
}

static void test_an_intset_holds_what_was_added_and_not_removed(void **state) {
    (void)state;
    struct rng rng = rng_from(rand_test_seed());
    for (int bits = 1; bits < 64; bits += 7) {
        uint8_t *set = intset_new();
        bool held[256] = {false};
        for (int round = 0; round < 2000; round++) {
            uint64_t pick = rng_below(&rng, 256);
            int64_t number = (int64_t)(pick * (UINT64_C(1) << bits)) * (pick % 2 ? -1 : 1);
            bool add = rng_below(&rng, 2);
            bool changed = add ? intset_add(&set, number) : intset_remove(&set, number);
            bool twin = bits > 56; /* numbers wrap: several picks may share one */
            if (!twin) assert_int_equal(changed, held[pick] != add);
            held[pick] = add;
            assert_int_equal(intset_find(set, number, NULL), add);
            assert_int_equal(intset_validate(intset_slice(set)), intset_count(set) > 0);
        }
        mem_free(set);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_are_those_of_redis),
        cmocka_unit_test(test_borders_of_backward_lengths_are_those_of_redis),
        cmocka_unit_test(test_any_changes_equal_those_of_a_plain_array),
        cmocka_unit_test(test_more_than_65534_items_are_counted_by_walking),
        cmocka_unit_test(test_a_field_is_found_at_even_places_only),
        cmocka_unit_test(test_damaged_bytes_never_lead_outside),
        cmocka_unit_test(test_an_intset_is_sorted_and_widens),
        cmocka_unit_test(test_an_intset_holds_what_was_added_and_not_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

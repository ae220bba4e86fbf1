/* test_table.c -- the table against a simple model: random operations, scans, expiry, fairness. */
#include "server/table.h"

#include "lib/base/mem.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ITEMS 6000

struct item {
    char text[12];
    size_t size;
    bool present;
    unsigned seen;
    int64_t due;
};

static struct item items[ITEMS];
static struct rng rng;

static struct slice item_key(const void *item) {
    const struct item *i = item;
    return slice_from(i->text, i->size);
}

static const struct table_type type = {item_key};

static void reset(struct table *t) {
    for (size_t i = 0; i < ITEMS; i++) {
        items[i] = (struct item){.due = INT64_MAX};
        items[i].size = (size_t)snprintf(items[i].text, sizeof items[i].text, "k%zu", i);
    }
    table_init(t, &type);
}

static void add(struct table *t, struct item *i) {
    table_add(t, i);
    i->present = true;
}

static void take(struct table *t, struct item *i) {
    assert_ptr_equal(table_take(t, item_key(i)), i);
    i->present = false;
}

static void test_it_holds_what_a_model_holds(void **state) {
    (void)state;
    struct table t;
    reset(&t);
    for (int phase = 0; phase < 12; phase++) {
        uint64_t add_share = phase % 2 ? 25 : 80; /* grow, then shrink */
        for (int n = 0; n < 8000; n++) {
            struct item *i = &items[rng_below(&rng, ITEMS)];
            assert_ptr_equal(table_find(&t, item_key(i)), i->present ? i : NULL);
            if (rng_below(&rng, 100) < add_share) {
                if (!i->present) add(&t, i);
            } else if (i->present)
                take(&t, i);
        }
        table_check(&t);
    }
    size_t present = 0, met = 0;
    for (size_t i = 0; i < ITEMS; i++) present += items[i].present;
    assert_int_equal(table_count(&t), present);
    struct table_iter iter;
    table_iter_init(&iter, &t);
    for (struct item *i; (i = table_iter_next(&iter)) != NULL; met++)
        assert_true(i->present && i->seen++ == 0);
    assert_int_equal(met, present);
    for (size_t i = 0; i < ITEMS; i++)
        if (items[i].present) take(&t, &items[i]);
    assert_int_equal(table_memory(&t), 0);
}

static void see(void *ctx, void *item) {
    (void)ctx;
    ((struct item *)item)->seen++;
}

/* Items that are there from the first to the last call are seen, whatever else comes and goes. */
static void test_a_reserved_table_is_a_table(void **state) {
    (void)state;
    static const size_t told[] = {0, 481, 1000, 3000, ITEMS, 40000};
    for (size_t n = 0; n < sizeof told / sizeof told[0]; n++) {
        struct table t;
        reset(&t);
        table_reserve(&t, told[n]);
        uint32_t segments = t.segments;
        table_check(&t);
        for (size_t i = 0; i < ITEMS; i++) {
            add(&t, &items[i]);
            table_reserve(&t, 9999); /* too late: nothing happens */
        }
        table_check(&t);
        if (told[n] >= ITEMS) assert_int_equal(t.segments, segments);
        for (size_t i = 0; i < ITEMS; i++)
            assert_ptr_equal(table_find(&t, item_key(&items[i])), &items[i]);
        for (size_t i = 0; i < ITEMS; i++) take(&t, &items[i]);
        assert_int_equal(table_memory(&t), 0);
    }
}

static void test_a_scan_misses_nothing_that_stays(void **state) {
    (void)state;
    for (int round = 0; round < 40; round++) {
        struct table t;
        reset(&t);
        size_t stay = rng_below(&rng, 2000) + 1, churn = rng_below(&rng, 4000);
        for (size_t i = 0; i < stay; i++) add(&t, &items[i]);
        bool grow = round % 2;
        for (size_t i = 0; !grow && i < churn; i++) add(&t, &items[stay + i]);
        uint64_t cursor = 0;
        size_t next = 0;
        do {
            cursor = table_scan(&t, cursor, see, NULL);
            assert_int_equal(cursor & 0xffff, 0);
            for (uint64_t n = rng_below(&rng, 40); n > 0 && next < churn; n--, next++)
                grow ? add(&t, &items[stay + next]) : take(&t, &items[stay + next]);
        } while (cursor != 0);
        for (size_t i = 0; i < stay; i++) assert_true(items[i].seen > 0);
        table_check(&t);
        table_close(&t);
    }
}

static void take_seen(void *ctx, void *item) {
    take(ctx, item);
}

static void test_a_scan_may_take_what_it_is_given(void **state) {
    (void)state;
    struct table t;
    reset(&t);
    for (size_t i = 0; i < ITEMS; i++) add(&t, &items[i]);
    uint64_t cursor = 0;
    do cursor = table_scan(&t, cursor, take_seen, &t);
    while (cursor != 0);
    assert_int_equal(table_count(&t), 0);
}

static int64_t expire(void *ctx, void *item) {
    struct item *i = item;
    if (i->due > 500) return i->due;
    take(ctx, i);
    return INT64_MIN;
}

static void test_what_is_due_is_found_and_nothing_else(void **state) {
    (void)state;
    struct table t;
    reset(&t);
    size_t late = 0;
    for (size_t i = 0; i < ITEMS; i++) {
        items[i].due = rng_below(&rng, 3) ? INT64_MAX : (int64_t)rng_below(&rng, 1000);
        add(&t, &items[i]);
        if (items[i].due != INT64_MAX) table_due(&t, table_hash(item_key(&items[i])), items[i].due);
        late += items[i].due > 500;
    }
    uint64_t cursor = 0;
    while (table_due_scan(&t, &cursor, 500, expire, &t)) continue;
    assert_int_equal(table_count(&t), late);
    cursor = 0;
    assert_false(table_due_scan(&t, &cursor, 500, expire, &t));
    assert_true(t.due_ms > 500);
    table_check(&t);
    table_close(&t);
}

/* Chi square over a table whose segments differ: 5 standard deviations at most. */
static void test_random_picks_are_fair(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 5, 40, 700, 1900};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct table t;
        reset(&t);
        size_t n = sizes[s], draws = n * 100;
        for (size_t i = 0; i < n; i++) add(&t, &items[i]);
        for (size_t i = 0; i < draws; i++) ((struct item *)table_random(&t, &rng))->seen++;
        double chi = 0;
        for (size_t i = 0; i < n; i++)
            chi += ((double)items[i].seen - 100) * ((double)items[i].seen - 100) / 100;
        double deviation = (chi - (double)(n - 1)) * (chi - (double)(n - 1));
        assert_true(deviation <= 25.0 * 2.0 * (double)n);
        table_close(&t);
    }
}

static void test_an_item_may_move(void **state) {
    (void)state;
    struct table t;
    reset(&t);
    for (size_t i = 0; i < 1000; i++) add(&t, &items[i]);
    struct item copy = items[77];
    table_moved(&t, &items[77], &copy, table_hash(item_key(&copy)));
    assert_ptr_equal(table_find(&t, item_key(&copy)), &copy);
    table_check(&t);
    table_close(&t);
}

int main(void) {
    uint64_t seed = rand_test_seed();
    printf("seed %" PRIu64 "\n", seed);
    rng = rng_from(seed);
    table_seed(rng_next(&rng));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_holds_what_a_model_holds),
        cmocka_unit_test(test_a_scan_misses_nothing_that_stays),
        cmocka_unit_test(test_a_scan_may_take_what_it_is_given),
        cmocka_unit_test(test_what_is_due_is_found_and_nothing_else),
        cmocka_unit_test(test_a_reserved_table_is_a_table),
        cmocka_unit_test(test_random_picks_are_fair),
        cmocka_unit_test(test_an_item_may_move),
    };
    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}

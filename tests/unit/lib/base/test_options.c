/* test_options.c -- units, choices and secrets; the list, the ring and the pool. */
#include "lib/base/options.h"
#include "lib/base/pool.h"
#include "lib/base/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_sizes_and_durations(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t value; /* -1: refused */
    } sizes[] = {{"0", 0},
                 {"1048576", 1048576},
                 {"1KB", 1024},
                 {"1kib", 1024},
                 {"1.5MB", 1572864},
                 {"400GB", INT64_C(400) << 30},
                 {"2 TB", INT64_C(2) << 40},
                 {"", -1},
                 {"GB", -1},
                 {"-1KB", -1},
                 {"1XB", -1},
                 {"1.MB", -1},
                 {"99999999999999999TB", -1},
                 {"1KB ", -1},
                 {"0x10", -1},
                 {"1e3", -1},
                 {"9999999999999999999", -1}},
      durations[] = {{"0", 0},          {"200ms", 200},   {"10s", 10000},
                     {"1.5h", 5400000}, {"5m", 300000},   {"7d", 604800000},
                     {"5", -1},         {"5parsecs", -1}, {"-5s", -1}};
    struct why why;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t value = -1;
        enum err err = option_parse_size(sizes[i].text, &value, &why);
        if ((err == OK) != (sizes[i].value >= 0) || value != sizes[i].value)
            fail_msg("%s gave %lld", sizes[i].text, (long long)value);
    }
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
        int64_t value = -1;
        enum err err = option_parse_duration(durations[i].text, &value, &why);
        if ((err == OK) != (durations[i].value >= 0) || value != durations[i].value)
            fail_msg("%s gave %lld", durations[i].text, (long long)value);
    }
}

struct thing {
    bool on;
    int64_t size, wait_ms, count;
    char *text;
    int choice;
    struct secret secret;
};

static const struct option table[] = {
    {.name = "on",
     .type = OPTION_BOOL,
     .offset = offsetof(struct thing, on),
     .fallback = "yes",
     .help = "h"},
    {.name = "size",
     .type = OPTION_SIZE,
     .offset = offsetof(struct thing, size),
     .fallback = "3MB",
     .help = "h"},
    {.name = "wait",
     .type = OPTION_DURATION,
     .offset = offsetof(struct thing, wait_ms),
     .fallback = "90s",
     .min = 1000,
     .max = 3600000,
     .help = "h"},
    {.name = "count",
     .type = OPTION_INT,
     .offset = offsetof(struct thing, count),
     .min = -5,
     .max = 5,
     .zero = "auto",
     .fallback = "auto",
     .help = "h"},
    {.name = "text", .type = OPTION_STRING, .offset = offsetof(struct thing, text), .help = "h"},
    {.name = "choice",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct thing, choice),
     .choices = "red|green|blue",
     .fallback = "green",
     .help = "h"},
    {.name = "secret",
     .type = OPTION_SECRET,
     .offset = offsetof(struct thing, secret),
     .help = "h"},
};
static const struct options options = {table, sizeof table / sizeof *table, NULL};

static void test_values_go_in_and_come_out_again(void **state) {
    (void)state;
    static const char *const given[][2] = {{"on", "false"},   {"size", "10GB"},  {"wait", "45m"},
                                           {"count", "-3"},   {"text", "a b"},   {"choice", "blue"},
                                           {"count", "auto"}, {"wait", "1001ms"}};
    struct thing thing = {0};
    struct why why;
    struct buf out = {0};
    options_default(&options, &thing);
    assert_true(thing.on && thing.size == 3 << 20 && thing.wait_ms == 90000 && thing.choice == 1);
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        assert_int_equal(options_set(&options, &thing, given[i][0], given[i][1], &why), OK);
        buf_clear(&out);
        option_format(options_find(&options, given[i][0]), &thing, &out);
        assert_string_equal(buf_text(&out), given[i][1]);
    }
    int64_t before = thing.wait_ms;
    assert_int_equal(options_set(&options, &thing, "wait", "2h", &why), ERR_CONFIG);
    assert_string_equal(why.text, "wait: found '2h', expected a duration such as 200ms, 10s or 24h "
                                  "between 1s and 1h");
    assert_int_equal(thing.wait_ms, before);
    assert_int_equal(options_set(&options, &thing, "wiat", "2s", &why), ERR_ABSENT);
    assert_non_null(strstr(why.text, "did you mean wait?"));
    assert_int_equal(options_set(&options, &thing, "entirely-else", "2s", &why), ERR_ABSENT);
    assert_null(strstr(why.text, "did you mean"));
    options_close(&options, &thing);
    buf_close(&out);
}

static void test_a_secret_is_never_shown(void **state) {
    (void)state;
    struct thing thing = {0};
    struct why why;
    struct buf out = {0};
    setenv("TEST_SECRET", "s3cret\nsecond line", 1);
    assert_int_equal(options_set(&options, &thing, "secret", "env:TEST_SECRET", &why), OK);
    assert_true(secret_equal(&thing.secret, SLICE("s3cret")));
    assert_false(secret_equal(&thing.secret, SLICE("s3cre")));
    assert_false(secret_equal(&thing.secret, SLICE("s3crets")));
    assert_false(secret_equal(&thing.secret, SLICE("")));
    option_format(options_find(&options, "secret"), &thing, &out);
    assert_string_equal(buf_text(&out), "(set)");
    assert_int_equal(options_set(&options, &thing, "secret", "s3cret", &why), ERR_CONFIG);
    assert_null(strstr(why.text, "s3cret"));
    assert_true(secret_is_set(&thing.secret)); /* as before */
    options_close(&options, &thing);
    assert_false(secret_is_set(&thing.secret));
    assert_false(secret_equal(&thing.secret, SLICE("")));
    buf_close(&out);
}

struct item {
    int number;
    struct list link;
};

static void test_lists_rings_and_pools(void **state) {
    (void)state;
    struct list a, b;
    struct item items[6] = {0};
    list_init(&a);
    list_init(&b);
    for (int i = 0; i < 6; i++) {
        items[i].number = i;
        list_push(i < 3 ? &a : &b, &items[i].link);
    }
    list_move(&a, &b);
    assert_true(list_is_empty(&b));
    list_remove(&items[2].link);
    list_remove(&items[2].link);
    assert_false(list_is_linked(&items[2].link));
    list_push_front(&a, &items[2].link);
    static const int order[] = {2, 0, 1, 3, 4, 5};
    for (int i = 0; i < 6; i++) {
        struct list *first = list_pop(&a);
        ASSERT(first);
        assert_int_equal(LIST_OWNER(first, struct item, link)->number, order[i]);
    }
    assert_null(list_pop(&a));

    struct ring ring;
    ring_init(&ring, 3);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 3; i++) assert_true(ring_push(&ring, &items[i]));
        assert_false(ring_push(&ring, &items[3]));
        assert_ptr_equal(ring_peek(&ring), &items[0]);
        for (int i = 0; i < 3 - round % 2; i++) assert_ptr_equal(ring_pop(&ring), &items[i]);
        while (ring_pop(&ring)) continue;
    }
    ring_close(&ring);

    struct pool pool;
    pool_init(&pool, 24, 2);
    void *taken[4];
    for (int i = 0; i < 4; i++) memset(taken[i] = pool_take(&pool), 0xff, 24);
    for (int i = 0; i < 4; i++) pool_give(&pool, taken[i]);
    assert_int_equal(pool.taken, 0);
    uint8_t *again = pool_take(&pool);
    for (int i = 0; i < 24; i++) assert_int_equal(again[i], 0);
    pool_give(&pool, again);
    pool_close(&pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_and_durations),
        cmocka_unit_test(test_values_go_in_and_come_out_again),
        cmocka_unit_test(test_a_secret_is_never_shown),
        cmocka_unit_test(test_lists_rings_and_pools),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}

/* test_filter.c -- our own keys disappear from replies, and nothing else does. */
#include "gateway/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define HIDDEN "$29\r\ndrawbridge:checkpoint:forward\r\n"

static void expect(void (*filter)(struct slice, struct buf *), const char *reply,
                   const char *want) {
    size_t size = strlen(reply);
    uint8_t *block = malloc(size ? size : 1); /* exact, so that a read past the end is seen */
    assert_non_null(block);
    memcpy(block, reply, size);
    struct buf out = {0};
    filter(slice_from(block, size), &out);
    assert_string_equal(buf_text(&out), want);
    buf_close(&out);
    free(block);
}

static void test_keys_without_the_hidden_ones(void **state) {
    (void)state;
    expect(filter_keys, "*0\r\n", "*0\r\n");
    expect(filter_keys, "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    expect(filter_keys, "*3\r\n$1\r\na\r\n" HIDDEN "$1\r\nb\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    expect(filter_keys, "*1\r\n" HIDDEN, "*0\r\n");
    expect(filter_keys, "*1\r\n$17\r\ndrawbridge:marker\r\n", "*0\r\n");
    expect(filter_keys, "*1\r\n$16\r\ndrawbridge:other\r\n", "*1\r\n$16\r\ndrawbridge:other\r\n");
    expect(filter_keys, "~2\r\n$1\r\na\r\n" HIDDEN, "~1\r\n$1\r\na\r\n");
}

static void test_scan_keeps_its_cursor(void **state) {
    (void)state;
    expect(filter_scan, "*2\r\n$2\r\n17\r\n*2\r\n$1\r\na\r\n" HIDDEN,
           "*2\r\n$2\r\n17\r\n*1\r\n$1\r\na\r\n");
    expect(filter_scan, "*2\r\n$1\r\n0\r\n*0\r\n", "*2\r\n$1\r\n0\r\n*0\r\n");
}

static void test_errors_and_strange_replies_pass(void **state) {
    (void)state;
    expect(filter_keys, "-ERR no\r\n", "-ERR no\r\n");
    expect(filter_scan, "-ERR invalid cursor\r\n", "-ERR invalid cursor\r\n");
    expect(filter_keys, "*2\r\n:1\r\n:2\r\n", "*2\r\n:1\r\n:2\r\n");
    expect(filter_scan, "*1\r\n:1\r\n", "*1\r\n:1\r\n");
    expect(filter_keys, "*2\r\n$1\r\na\r\n",
           "*2\r\n$1\r\na\r\n"); /* cut: cannot come, must not crash */
}

static void test_dbsize_counts_what_is_visible(void **state) {
    (void)state;
    expect(filter_dbsize, ":7\r\n:2\r\n", ":5\r\n");
    expect(filter_dbsize, ":7\r\n-ERR x\r\n", ":7\r\n");
    expect(filter_dbsize, "-LOADING x\r\n-LOADING x\r\n", "-LOADING x\r\n");
    expect(filter_dbsize, ":1\r\n:2\r\n", ":1\r\n");
}

static void test_randomkey(void **state) {
    (void)state;
    assert_true(filter_is_hidden_reply(SLICE(HIDDEN)));
    assert_false(filter_is_hidden_reply(SLICE("$1\r\na\r\n")));
    assert_false(filter_is_hidden_reply(SLICE("$-1\r\n")));
}

/* The reply, in a block of its exact size, through RULES; DB is the database before and after. */
static void expect_exec(const struct filter_rule *rules, size_t count, const char *reply,
                        const char *want, int32_t db, int32_t want_db) {
    size_t size = strlen(reply);
    uint8_t *block = malloc(size ? size : 1);
    assert_non_null(block);
    memcpy(block, reply, size);
    struct buf out = {0};
    filter_exec(slice_from(block, size), rules, count, 2, &db, &out);
    assert_string_equal(buf_text(&out), want);
    assert_int_equal(db, want_db);
    buf_close(&out);
    free(block);
}

static void test_exec_is_filtered_element_by_element(void **state) {
    (void)state;
    const struct filter_rule rules[] = {{1, FILTER_KEYS, 0}, {3, FILTER_DBSIZE, 0}};
    expect_exec(rules, 2, "*5\r\n+OK\r\n*1\r\n" HIDDEN "*1\r\n*1\r\n:1\r\n:9\r\n:2\r\n",
                "*4\r\n+OK\r\n*0\r\n*1\r\n*1\r\n:1\r\n:7\r\n", 0, 0);
    expect_exec(rules, 2, "*5\r\n+OK\r\n*1\r\n" HIDDEN "+a\r\n:9\r\n:2\r\n",
                "*4\r\n+OK\r\n*1\r\n" HIDDEN "+a\r\n:9\r\n", 4, 4);
}

static void test_exec_follows_select(void **state) {
    (void)state;
    const struct filter_rule rules[] = {
        {0, FILTER_SELECT, 3}, {1, FILTER_KEYS, 0}, {2, FILTER_SELECT, 0}, {3, FILTER_KEYS, 0}};
    expect_exec(rules, 4, "*4\r\n+OK\r\n*1\r\n" HIDDEN "+OK\r\n*1\r\n" HIDDEN,
                "*4\r\n+OK\r\n*1\r\n" HIDDEN "+OK\r\n*0\r\n", 0, 0);
    expect_exec(rules, 2, "*2\r\n-ERR DB index is out of range\r\n*1\r\n" HIDDEN,
                "*2\r\n-ERR DB index is out of range\r\n*0\r\n", 0, 0);
    expect_exec(rules, 1, "*1\r\n+OK\r\n", "*1\r\n+OK\r\n", 0, 3);
}

static void test_exec_picks_one_random_key(void **state) {
    (void)state;
    const struct filter_rule rule = {0, FILTER_RANDOMKEY, 0};
    struct buf reply = {0};
    buf_printf(&reply, "*%u\r\n", FILTER_RANDOMKEY_TRIES);
    for (unsigned i = 1; i < FILTER_RANDOMKEY_TRIES; i++) buf_printf(&reply, "%s", HIDDEN);
    buf_printf(&reply, "$1\r\nk\r\n");
    expect_exec(&rule, 1, buf_text(&reply), "*1\r\n$1\r\nk\r\n", 0, 0);
    buf_clear(&reply);
    buf_printf(&reply, "*%u\r\n", FILTER_RANDOMKEY_TRIES);
    for (unsigned i = 0; i < FILTER_RANDOMKEY_TRIES; i++) buf_printf(&reply, "%s", HIDDEN);
    expect_exec(&rule, 1, buf_text(&reply), "*1\r\n$-1\r\n", 0, 0);
    buf_close(&reply);
}

/* An EXEC that failed is told as it is; so is one that nobody can have sent, without a crash. */
static void test_exec_of_another_shape_passes(void **state) {
    (void)state;
    const struct filter_rule rules[] = {{0, FILTER_SELECT, 3}, {1, FILTER_DBSIZE, 0}};
    static const char *const replies[] = {
        "*-1\r\n", "-EXECABORT no\r\n", "*1\r\n+OK\r\n", "*2\r\n+OK\r\n:1\r\n",
        "*0\r\n",  "*3\r\n+OK\r\n",     ":1\r\n",        "*3\r\n+OK\r\n:1\r\n:",
        "",
    };
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++)
        expect_exec(rules, 2, replies[i], replies[i], 0, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_without_the_hidden_ones),
        cmocka_unit_test(test_scan_keeps_its_cursor),
        cmocka_unit_test(test_errors_and_strange_replies_pass),
        cmocka_unit_test(test_dbsize_counts_what_is_visible),
        cmocka_unit_test(test_randomkey),
        cmocka_unit_test(test_exec_is_filtered_element_by_element),
        cmocka_unit_test(test_exec_follows_select),
        cmocka_unit_test(test_exec_picks_one_random_key),
        cmocka_unit_test(test_exec_of_another_shape_passes),
    };
    return cmocka_run_group_tests_name("filter", tests, NULL, NULL);
}

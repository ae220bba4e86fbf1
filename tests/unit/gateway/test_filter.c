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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_without_the_hidden_ones),
        cmocka_unit_test(test_scan_keeps_its_cursor),
        cmocka_unit_test(test_errors_and_strange_replies_pass),
        cmocka_unit_test(test_dbsize_counts_what_is_visible),
        cmocka_unit_test(test_randomkey),
    };
    return cmocka_run_group_tests_name("filter", tests, NULL, NULL);
}

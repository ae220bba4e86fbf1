/* test_args.c -- patterns and numbers as Redis reads and writes them. */
#include "server/args.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static bool matches(const char *pattern, const char *text) {
    return pattern_matches(slice_text(pattern), slice_text(text), false);
}

static void test_patterns_match_as_globs(void **state) {
    (void)state;
    static const char *const yes[][2] = {{"*", "abc"},
                                         {"a*c", "abbbc"},
                                         {"a**c", "ac"},
                                         {"h?llo", "hello"},
                                         {"h[ae]llo", "hallo"},
                                         {"h[^e]llo", "hallo"},
                                         {"h[a-c]llo", "hbllo"},
                                         {"h[c-a]llo", "hbllo"},
                                         {"\\*x", "*x"},
                                         {"a\\", "a\\"},
                                         {"*a*b*c", "xxaxxbxxc"},
                                         {"", ""},
                                         {"[\\]]", "]"},
                                         {"a[b", "ab"}};
    static const char *const no[][2] = {
        {"*", ""},   {"", "a"},      {"a", ""},    {"a?", "a"},    {"h[^a]llo", "hallo"},
        {"*a", "b"}, {"a*b", "abc"}, {"[a-", "x"}, {"abc", "abcd"}};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (!matches(yes[i][0], yes[i][1]))
            fail_msg("'%s' should match '%s'", yes[i][0], yes[i][1]);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (matches(no[i][0], no[i][1])) fail_msg("'%s' should not match '%s'", no[i][0], no[i][1]);
    assert_true(pattern_matches(SLICE("AbC*"), SLICE("aBcd"), true));
}

/* A pattern that would take a recursive matcher for ever ends; what it answers does not matter. */
static void test_a_hostile_pattern_ends(void **state) {
    (void)state;
    static uint8_t pattern[20000], text[100000];
    for (size_t i = 0; i < sizeof pattern; i++) pattern[i] = i % 2 ? 'a' : '*';
    pattern[sizeof pattern - 1] = 'b';
    memset(text, 'a', sizeof text);
    assert_false(
        pattern_matches(slice_from(pattern, sizeof pattern), slice_from(text, sizeof text), false));
}

static void test_floats_are_read_whole_or_not_at_all(void **state) {
    (void)state;
    double number;
    long double wide;
    static const char *const bad[] = {"", " 1", "1 ", "abc", "1e", "nan", "1e999", "--1", "1.1.1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(number_read_double(slice_text(bad[i]), &number));
        assert_false(i != 6 && number_read_long_double(slice_text(bad[i]),
                                                       &wide)); /* a long double holds 1e999 */
    }
    assert_false(number_read_double(slice_from("1\0002", 3), &number));
    assert_true(number_read_double(SLICE("-inf"), &number) && isinf(number) && number < 0);
    assert_true(number_read_double(SLICE("3.5e2"), &number) && fabs(number - 350) < 1e-9);
}

static void check_text(const char *text, size_t size, const char *wanted) {
    if (!slice_equal(slice_from(text, size), slice_text(wanted)))
        fail_msg("%.*s instead of %s", (int)size, text, wanted);
}

static void test_numbers_are_written_as_redis_does(void **state) {
    (void)state;
    static char text[LONG_DOUBLE_TEXT];
    check_text(text, number_write_int(text, INT64_MIN), "-9223372036854775808");
    check_text(text, number_write_int(text, 0), "0");
    check_text(text, number_write_int(text, 1234567), "1234567");
    check_text(text, number_write_double(text, 3), "3");
    check_text(text, number_write_double(text, 0.1), "0.10000000000000001");
    check_text(text, number_write_double(text, -(double)INFINITY), "-inf");
    check_text(text, number_write_human(text, 5.0e3L), "5000");
    check_text(text, number_write_human(text, 10.5L), "10.5");
    check_text(text, number_write_human(text, -0.0L), "0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns_match_as_globs),
        cmocka_unit_test(test_a_hostile_pattern_ends),
        cmocka_unit_test(test_floats_are_read_whole_or_not_at_all),
        cmocka_unit_test(test_numbers_are_written_as_redis_does),
    };
    return cmocka_run_group_tests_name("args", tests, NULL, NULL);
}

/* test_why.c -- reasons: sentences of one line, with their context in front. */
#include "lib/base/why.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_context_stands_in_front(void **state) {
    (void)state;
    struct why why;
    assert_int_equal(why_set(&why, ERR_ABSENT, "no file %d", 7), ERR_ABSENT);
    assert_int_equal(why_add(&why, ERR_IO, "open %s", "x"), ERR_IO);
    assert_string_equal(why.text, "open x: no file 7");
}

static void test_a_name_from_outside_cannot_begin_a_line(void **state) {
    (void)state;
    struct why why;
    (void)why_set(&why, ERR_CONFIG, "host '%s'", "a\r\nERROR forged\x7f\x1b[2J");
    (void)why_add(&why, ERR_CONFIG, "file %s", "b\nc");
    assert_string_equal(why.text, "file b c: host 'a  ERROR forged  [2J'");
}

static void test_long_texts_are_cut_at_the_end(void **state) {
    (void)state;
    struct why why;
    char text[2000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    (void)why_set(&why, ERR_IO, "%s", text);
    assert_int_equal(strlen(why.text), sizeof why.text - 1);
    (void)why_add(&why, ERR_IO, "%s", "before");
    assert_int_equal(strlen(why.text), sizeof why.text - 1);
    assert_int_equal(strncmp(why.text, "before: xx", 10), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_context_stands_in_front),
        cmocka_unit_test(test_a_name_from_outside_cannot_begin_a_line),
        cmocka_unit_test(test_long_texts_are_cut_at_the_end),
    };
    return cmocka_run_group_tests_name("why", tests, NULL, NULL);
}

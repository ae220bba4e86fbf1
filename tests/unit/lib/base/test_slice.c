/* test_slice.c -- numbers are read as Redis reads them, and buffers keep what they are given. */
#include "lib/base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_numbers_are_strict(void **state) {
    (void)state;
    static const char *const bad[] = {"", "-", "+1", "01", "-0", " 1", "1 ", "9223372036854775808",
                                      "-9223372036854775809", "1e3", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t number = 7;
        assert_false(slice_to_int(slice_text(bad[i]), &number));
        assert_int_equal(number, 7);
    }
    int64_t number;
    assert_true(slice_to_int(SLICE("-9223372036854775808"), &number) && number == INT64_MIN);
    assert_true(slice_to_int(SLICE("9223372036854775807"), &number) && number == INT64_MAX);
    assert_true(slice_to_int(SLICE("0"), &number) && number == 0);
}

static void test_parts_and_words_are_cut_off(void **state) {
    (void)state;
    struct slice rest = SLICE("a,,b");
    assert_true(slice_equal(slice_cut(&rest, ','), SLICE("a")));
    assert_true(slice_equal(slice_cut(&rest, ','), SLICE("")) && slice_equal(rest, SLICE("b")));
    assert_true(slice_equal(slice_cut(&rest, ','), SLICE("b")) && rest.size == 0);
    assert_int_equal(slice_cut(&rest, ',').size, 0);
    rest = SLICE("  one   two ");
    assert_true(slice_equal(slice_word(&rest), SLICE("one")));
    assert_true(slice_equal(slice_word(&rest), SLICE("two")));
    assert_int_equal(slice_word(&rest).size, 0);
    rest = (struct slice){0};
    assert_true(slice_cut(&rest, ' ').size == 0 && slice_word(&rest).size == 0);
}

static void test_a_buffer_is_a_queue_of_bytes(void **state) {
    (void)state;
    struct buf buf = {0};
    uint8_t next_in = 0, next_out = 0;
    srand(1);
    for (int round = 0; round < 20000; round++) {
        size_t add = (size_t)rand() % 50, take = (size_t)rand() % 50;
        for (size_t i = 0; i < add; i++) buf_byte(&buf, next_in++);
        if (take > buf_size(&buf)) take = buf_size(&buf);
        for (size_t i = 0; i < take; i++) assert_int_equal(buf_slice(&buf).data[i], next_out++);
        buf_consume(&buf, take);
    }
    buf_close(&buf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_are_strict),
        cmocka_unit_test(test_parts_and_words_are_cut_off),
        cmocka_unit_test(test_a_buffer_is_a_queue_of_bytes),
    };
    return cmocka_run_group_tests_name("slice", tests, NULL, NULL);
}

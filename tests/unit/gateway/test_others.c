/* test_others.c -- whether CLIENT LIST shows connections of gateways that lived before (C21). */
#include "gateway/others.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define LINE(id, name) "id=" id " addr=127.0.0.1:1 laddr=127.0.0.1:2 fd=8 name=" name " age=1 idle=0 flags=N db=0\n"

static enum others in(const char *text, int64_t own, int64_t first) {
    size_t size = strlen(text);
    char *exact = malloc(size ? size : 1);
    assert_non_null(exact);
    memcpy(exact, text, size);
    enum others found = others_in(slice_from(exact, size), own, first);
    free(exact);
    return found;
}

static void test_ours_and_clients_of_others_are_none(void **state) {
    (void)state;
    assert_int_equal(in(LINE("3", "") LINE("4", "app") LINE("7", "drawbridge-gw:g:0:0-1") LINE("9", "drawbridge-gw:g:0:0-2"), 9, 7), OTHERS_NONE);
}

static void test_an_older_one_is_seen_wherever_it_stands(void **state) {
    (void)state;
    assert_int_equal(in(LINE("7", "drawbridge-gw:g:0:0-1") LINE("5", "drawbridge-gw:old:0:0-1"), 7, 7), OTHERS_SOME);
    assert_int_equal(in(LINE("5", "drawbridge-gw:old:0:0-1") LINE("7", "drawbridge-gw:g:0:0-1"), 7, 7), OTHERS_SOME);
}

static void test_a_server_that_does_not_show_our_own_name_does_not_tell(void **state) {
    (void)state;
    assert_int_equal(in(LINE("7", "") LINE("9", ""), 7, 7), OTHERS_UNTOLD);
    assert_int_equal(in("", 7, 7), OTHERS_UNTOLD);
    assert_int_equal(in(LINE("7", "drawbridge-gw:g:0:0-1"), 7, 0), OTHERS_UNTOLD);
    assert_int_equal(in("addr=x name=drawbridge-gw:g:0:0-1 id=7\n", 7, 7), OTHERS_UNTOLD);
    assert_int_equal(in("id=7x name=drawbridge-gw:g:0:0-1", 7, 7), OTHERS_UNTOLD);
}

static void test_a_connection_is_found_by_its_name(void **state) {
    (void)state;
    const char *list = LINE("3", "") LINE("4", "drawbridge-gw:g:0:0-11") LINE("x", "bad") LINE("0", "zero") LINE("7", "drawbridge-gw:g:0:0-1");
    assert_int_equal(others_id_of(slice_text(list), SLICE("drawbridge-gw:g:0:0-1")), 7);
    assert_int_equal(others_id_of(slice_text(list), SLICE("drawbridge-gw:g:0:0-11")), 4);
    assert_int_equal(others_id_of(slice_text(list), SLICE("drawbridge-gw:g:0:0-2")), 0);
    assert_int_equal(others_id_of(slice_text(list), SLICE("bad")), 0);
    assert_int_equal(others_id_of(slice_text(list), SLICE("zero")), 0);
    assert_int_equal(others_id_of(SLICE("addr=x name=a id=7\n"), SLICE("a")), 0);
    assert_int_equal(others_id_of((struct slice){0}, SLICE("a")), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ours_and_clients_of_others_are_none),
        cmocka_unit_test(test_an_older_one_is_seen_wherever_it_stands),
        cmocka_unit_test(test_a_connection_is_found_by_its_name),
        cmocka_unit_test(test_a_server_that_does_not_show_our_own_name_does_not_tell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

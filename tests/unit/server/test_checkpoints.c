/* test_checkpoints.c -- checkpoints are kept by name, and only well-formed messages change them. */
#include "server/checkpoints.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_the_last_value_of_a_name_counts(void **state) {
    (void)state;
    struct checkpoints all = {0};
    char name[32];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < CHECKPOINTS_MAX; i++) {
            int size = snprintf(name, sizeof name, "link%d", i * 7 % CHECKPOINTS_MAX);
            assert_true(checkpoints_set(&all, slice_from(name, (size_t)size),
                                        round ? SLICE("new") : SLICE("old value")));
        }
    assert_int_equal(all.count, CHECKPOINTS_MAX);
    assert_false(checkpoints_set(&all, SLICE("one more"), SLICE("x")));
    for (size_t i = 1; i < all.count; i++)
        assert_true(strcmp(all.list[i - 1].name, all.list[i].name) < 0);
    assert_string_equal(checkpoints_get(&all, SLICE("link77")), "new");
    assert_true(checkpoints_remove(&all, SLICE("link77")));
    assert_false(checkpoints_remove(&all, SLICE("link77")));
    assert_null(checkpoints_get(&all, SLICE("link77")));
    checkpoints_close(&all);
}

static void test_messages_change_checkpoints_and_epoch(void **state) {
    (void)state;
    struct checkpoints all = {0};
    assert_true(checkpoints_take_message(&all, SLICE("forward=abc=1 5")));
    assert_string_equal(checkpoints_get(&all, SLICE("forward")), "abc=1 5");
    assert_true(checkpoints_take_message(&all, SLICE("forward=")));
    assert_null(checkpoints_get(&all, SLICE("forward")));
    assert_true(checkpoints_take_message(&all, SLICE(":epoch=7")));
    assert_true(checkpoints_take_message(&all, SLICE(":epoch=3")));
    assert_int_equal(all.epoch, 7);
    static const char *const bad[] = {
        "",          "=",
        "=x",        "name",
        ":epoch=-1", ":epoch=x",
        ":other=1",  "a\n=1",
        "a=\x01",    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (checkpoints_take_message(&all, slice_text(bad[i]))) fail_msg("taken: %s", bad[i]);
    assert_int_equal(all.count, 0);
    assert_true(checkpoints_set(&all, SLICE("a"), SLICE("b")));
    checkpoints_clear(&all);
    assert_int_equal(all.count, 0);
    assert_int_equal(all.epoch, 7);
    checkpoints_close(&all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_value_of_a_name_counts),
        cmocka_unit_test(test_messages_change_checkpoints_and_epoch),
    };
    return cmocka_run_group_tests_name("checkpoints", tests, NULL, NULL);
}

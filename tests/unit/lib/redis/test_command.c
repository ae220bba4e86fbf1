/* test_command.c -- rows are found, errors are worded as Redis words them, keys are told. What the
 * rows say is compared with a live server by tests/e2e/test_getkeys.py. */
#include "lib/redis/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define ARGS(...)                                                                                  \
    sizeof((struct slice[]){__VA_ARGS__}) / sizeof(struct slice), (struct slice[]) {               \
        __VA_ARGS__                                                                                \
    }

static void test_every_row_finds_itself_in_any_case(void **state) {
    (void)state;
    for (size_t i = 0; i < command_count; i++) {
        const struct command *row = command_at(i);
        char name[64];
        size_t size = strlen(row->name);
        assert_true(size < sizeof name);
        memcpy(name, row->name, size + 1);
        for (size_t j = 0; j < size; j += 2)
            if (name[j] >= 'a' && name[j] <= 'z') name[j] = (char)(name[j] - 32);
        char *bar = strchr(name, '|');
        assert_ptr_equal(command_named(row->name), row);
        if (bar == NULL) {
            assert_ptr_equal(command_find(slice_text(name)), row);
            continue;
        }
        struct slice argv[2] = {slice_from(name, (size_t)(bar - name)), slice_text(bar + 1)};
        assert_ptr_equal(command_lookup(2, argv), row);
        assert_null(command_find(slice_text(name)));
    }
}

static void expect_error(const char *want, size_t argc, const struct slice *argv) {
    struct buf error = {0};
    assert_null(command_admit(argc, argv, &error));
    assert_string_equal(buf_text(&error), want);
    buf_close(&error);
}

static void test_errors_are_those_of_redis(void **state) {
    (void)state;
    expect_error("-ERR unknown command 'FOO', with args beginning with: 'a  b' 'c' \r\n",
                 ARGS(SLICE("FOO"), SLICE("a\r\nb"), SLICE("c")));
    expect_error("-ERR unknown subcommand 'x'. Try CLIENT HELP.\r\n",
                 ARGS(SLICE("client"), SLICE("x")));
    expect_error("-ERR wrong number of arguments for 'get' command\r\n", ARGS(SLICE("GET")));
    expect_error("-ERR wrong number of arguments for 'client|setname' command\r\n",
                 ARGS(SLICE("CLIENT"), SLICE("SETNAME")));
    expect_error("-ERR wrong number of arguments for 'client' command\r\n", ARGS(SLICE("CLIENT")));
}

static void test_very_long_arguments_do_not_spoil_the_error(void **state) {
    (void)state;
    char *longest = malloc(100000);
    assert_non_null(longest);
    memset(longest, 'z', 100000);
    struct slice argv[3];
    for (size_t i = 0; i < 3; i++) argv[i] = slice_from(longest, 100000);
    struct buf error = {0};
    assert_null(command_admit(3, argv, &error));
    assert_true(buf_size(&error) < 600);
    buf_close(&error);
    free(longest);
}

static void test_keys_and_limits(void **state) {
    (void)state;
    struct command_key keys[3];
    size_t count = 99;
    struct why why;
    struct slice mset[] = {SLICE("MSET"), SLICE("a"), SLICE("1"), SLICE("b"), SLICE("2")};
    const struct command *command = command_lookup(5, mset);
    assert_int_equal(command_keys(command, 5, mset, keys, 3, &count, &why), OK);
    assert_int_equal(count, 2);
    assert_int_equal(keys[1].at, 3);
    assert_true(command_key_written(keys[0].flags));
    count = 99;
    assert_int_equal(command_keys(command, 5, mset, keys, 1, &count, &why), ERR_LIMIT);
    assert_int_equal(count, 99);
    struct slice eval[] = {SLICE("EVAL"), SLICE("x"), SLICE("9"), SLICE("a")};
    assert_int_equal(command_keys(command_lookup(4, eval), 4, eval, keys, 3, &count, &why), OK);
    assert_int_equal(count, 0);
    struct slice zunion[] = {SLICE("ZUNION"), SLICE("9"), SLICE("a")};
    assert_int_equal(command_keys(command_lookup(3, zunion), 3, zunion, keys, 3, &count, &why),
                     ERR_PROTO);
}

/* A write has an effect, and what only reads has none. */
static void test_effects_agree_with_flags(void **state) {
    (void)state;
    for (size_t i = 0; i < command_count; i++) {
        const struct command *row = command_at(i);
        if (row->flags & COMMAND_WRITE) assert_int_not_equal(row->effect, COMMAND_EFFECT_NONE);
        if (row->flags & COMMAND_READONLY && (row->flags & COMMAND_MAY_REPLICATE) == 0)
            assert_int_equal(row->effect, COMMAND_EFFECT_NONE);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_finds_itself_in_any_case),
        cmocka_unit_test(test_errors_are_those_of_redis),
        cmocka_unit_test(test_very_long_arguments_do_not_spoil_the_error),
        cmocka_unit_test(test_keys_and_limits),
        cmocka_unit_test(test_effects_agree_with_flags),
    };
    return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}

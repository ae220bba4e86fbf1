/* test_aof.c -- the manifest is read and written as Redis 7 does, and an AOF cut anywhere asks for
 * more. */
#include "lib/base/mem.h"
#include "lib/redis/aof.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct slice exact_copy(struct slice from) {
    return slice_from(from.size ? mem_dup(from.data, from.size) : NULL, from.size);
}

static void free_copy(struct slice copy) {
    mem_free((void *)(uintptr_t)copy.data);
}

static void test_a_manifest_comes_back_as_it_was_written(void **state) {
    (void)state;
    struct aof_manifest made = {0}, read = {0};
    struct buf text = {0}, again = {0};
    struct why why;
    aof_manifest_new_base(&made, "append only\x01\"\\.aof", true);
    aof_manifest_new_incr(&made, "appendonly.aof");
    aof_manifest_new_base(&made, "appendonly.aof", false);
    aof_manifest_new_incr(&made, "appendonly.aof");
    aof_manifest_retire_incr(&made, 1);
    aof_manifest_format(&made, &text);
    assert_string_equal(buf_text(&text),
                        "file appendonly.aof.2.base.aof seq 2 type b\n"
                        "file \"append only\\x01\\\"\\\\.aof.1.base.rdb\" seq 1 type h\n"
                        "file appendonly.aof.1.incr.aof seq 1 type h\n"
                        "file appendonly.aof.2.incr.aof seq 2 type i\n");
    aof_manifest_drop_history(&made);
    buf_clear(&text);
    aof_manifest_new_base(&made, "a b\n\t", true);
    aof_manifest_format(&made, &text);
    assert_non_null(strstr(buf_text(&text), "file \"a b\\n\\t.3.base.rdb\" seq 3 type b\n"));
    assert_int_equal(aof_manifest_parse(buf_slice(&text), &read, &why), OK);
    aof_manifest_format(&read, &again);
    assert_true(slice_equal(buf_slice(&text), buf_slice(&again)));
    assert_string_equal(aof_manifest_base(&read)->name, "a b\n\t.3.base.rdb");
    assert_string_equal(aof_manifest_last_incr(&read)->name, "appendonly.aof.2.incr.aof");
    aof_manifest_close(&made);
    aof_manifest_close(&read);
    buf_close(&text);
    buf_close(&again);
}

static void test_a_name_that_could_not_be_written_again_is_refused(void **state) {
    (void)state;
    for (size_t size = 240; size <= 241; size++) {
        struct aof_manifest read = {0}, again = {0};
        struct buf text = {0};
        struct why why;
        buf_add(&text, SLICE("file '"));
        for (size_t i = 0; i < size - 1; i++) buf_byte(&text, 0xff); /* four bytes when escaped */
        buf_add(&text, SLICE("a' seq 1 type b\n"));
        bool fits = size == 240;
        assert_int_equal(aof_manifest_parse(buf_slice(&text), &read, &why), fits ? OK : ERR_CORRUPT);
        if (fits) {
            buf_clear(&text);
            aof_manifest_format(&read, &text);
            assert_int_equal(aof_manifest_parse(buf_slice(&text), &again, &why), OK);
            assert_string_equal(read.files[0].name, again.files[0].name);
        } else {
            assert_non_null(strstr(why.text, "line 1: The name of a file is too long"));
        }
        aof_manifest_close(&read);
        aof_manifest_close(&again);
        buf_close(&text);
    }
}

static void test_comments_unknown_fields_and_quotes_are_read(void **state) {
    (void)state;
    struct aof_manifest read = {0};
    struct why why;
    struct slice text = SLICE("# a comment without end of fields\n"
                              "  seq 3 type b FILE \"x\\x41\\n y\" colour red\r\n"
                              "file 'it\\'s' seq 7 type incr\n");
    assert_int_equal(aof_manifest_parse(text, &read, &why), OK);
    assert_int_equal(read.count, 2);
    assert_string_equal(read.files[0].name, "xA\n y");
    assert_int_equal(read.files[0].seq, 3);
    assert_string_equal(read.files[1].name, "it's");
    assert_int_equal(read.incr_seq, 7);
    aof_manifest_close(&read);
}

static void test_a_wrong_manifest_is_refused_with_its_line(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "empty AOF manifest"},
        {"\n", "line 1: Invalid AOF manifest file format"},
        {"file a seq 1\n", "line 1: Invalid AOF manifest file format"},
        {"file a seq 1 type\n", "line 1: Invalid AOF manifest file format"},
        {"file a seq 1 type b", "too long line"},
        {"file a seq 1 type b more\n", "Invalid AOF manifest file format"},
        {"file \"a seq 1 type b\n", "Invalid AOF manifest file format"},
        {"file \"a\"b seq 1 type b\n", "Invalid AOF manifest file format"},
        {"file \"a\\\n", "Invalid AOF manifest file format"},
        {"file ../a seq 1 type b\n", "File can't be a path, just a filename"},
        {"file a seq 0 type b\n", "Invalid AOF manifest file format"},
        {"file a seq -1 type b\n", "Invalid AOF manifest file format"},
        {"file a seq 9223372036854775807 type i\n", "Invalid AOF manifest file format"},
        {"file a seq 1 type x\n", "Unknown AOF file type"},
        {"file a seq 1 type b\nfile b seq 2 type b\n", "line 2: Found duplicate base"},
        {"file a seq 2 type i\nfile b seq 2 type i\n",
         "line 2: Found a non-monotonic sequence number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct aof_manifest read = {0};
        struct why why;
        struct slice text = exact_copy(slice_text(cases[i].text));
        assert_int_equal(aof_manifest_parse(text, &read, &why), ERR_CORRUPT);
        if (!strstr(why.text, cases[i].why)) fail_msg("case %zu: %s", i, why.text);
        assert_int_equal(read.count, 0);
        free_copy(text);
    }
}

static void test_any_prefix_of_a_command_asks_for_more(void **state) {
    (void)state;
    struct slice whole = SLICE("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\n0123456789\r\n\r\n");
    struct aof_command command = {0};
    struct why why;
    size_t used = 0, wanted;
    for (size_t size = 0; size < whole.size; size++) {
        struct slice part = exact_copy(slice_take(whole, size));
        assert_int_equal(aof_next(part, &command, &used, &wanted, &why), STEP_MORE);
        assert_true(wanted > size && wanted <= whole.size);
        free_copy(part);
    }
    struct slice part = exact_copy(whole);
    assert_int_equal(aof_next(part, &command, &used, &wanted, &why), STEP_DONE);
    assert_int_equal(used, whole.size);
    assert_int_equal(command.count, 3);
    assert_true(slice_equal(command.args[2], SLICE("0123456789\r\n")));
    free_copy(part);
    assert_int_equal(aof_next(SLICE("#TS:1690000000\r\n*1\r\n"), &command, &used, &wanted, &why),
                     STEP_DONE);
    assert_int_equal(used, 16);
    assert_int_equal(command.count, 0);
    aof_command_close(&command);
}

static void test_what_is_no_aof_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"PING\r\n",        "*0\r\n",
                                      "*-1\r\n",         "*1048577\r\n",
                                      "*1\r\n#1\r\n",    "*1\r\n$-1\r\n",
                                      "*1\r\n$1\r\nabc", "*1\r\n$536870913\r\n",
                                      "*x\r\n",          "*1\n",
                                      "*\r\n",           "*00000000000000000000000000000001\r\n"};
    struct aof_command command = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct slice text = exact_copy(slice_text(bad[i]));
        struct why why;
        size_t used, wanted;
        if (aof_next(text, &command, &used, &wanted, &why) != STEP_FAIL)
            fail_msg("taken: %s", bad[i]);
        free_copy(text);
    }
    aof_command_close(&command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_manifest_comes_back_as_it_was_written),
        cmocka_unit_test(test_a_name_that_could_not_be_written_again_is_refused),
        cmocka_unit_test(test_comments_unknown_fields_and_quotes_are_read),
        cmocka_unit_test(test_a_wrong_manifest_is_refused_with_its_line),
        cmocka_unit_test(test_any_prefix_of_a_command_asks_for_more),
        cmocka_unit_test(test_what_is_no_aof_is_refused),
    };
    return cmocka_run_group_tests_name("aof", tests, NULL, NULL);
}

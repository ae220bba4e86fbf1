/* test_slot_table.c -- which gateway owns which slots: what is written is read again, and nothing else is. */
#include "lib/control/slot_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static enum err read(struct slot_table *table, const char *text) {
    struct why why;
    return slot_table_read_text(table, slice_text(text), &why);
}

static void a_table_that_is_written_is_read_again(void **state) {
    (void)state;
    static struct slot_table table, again;
    assert_int_equal(read(&table, "7 a unix:/a 3 0-99,200,16383 b - 7 100-199"), OK);
    assert_int_equal(table.version, 7);
    assert_int_equal(table.count, 2);
    assert_string_equal(table.gateway[0].peer, "unix:/a");
    assert_string_equal(table.gateway[1].peer, "");
    assert_int_equal(table.gateway[0].since, 3);
    assert_int_equal(slot_table_owned(&table, 0), 102);
    assert_int_equal(slot_table_owned(&table, 1), 100);
    assert_int_equal(table.owner[201], SLOT_TABLE_NOBODY);
    assert_int_equal(slot_table_find(&table, SLICE("b")), 1);
    assert_int_equal(slot_table_find(&table, SLICE("c")), 2);
    struct buf text = {0};
    slot_table_write_text(&table, &text);
    struct why why;
    assert_int_equal(slot_table_read_text(&again, buf_slice(&text), &why), OK);
    assert_memory_equal(&table, &again, sizeof table);
    buf_close(&text);
}

static void what_is_no_table_is_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"",
                                        "0",
                                        "x",
                                        "7 a",
                                        "7 a - 1 16384",
                                        "7 a - 1 5-3",
                                        "7 a - 1 0-9,",
                                        "7 a - 1 0-9,9",
                                        "7 a - 1 0-9 b - 1 9",
                                        "7 a - 1 0-9 a - 1 10",
                                        "7 a - -1 -",
                                        "7 a - 1 1 2 3",
                                        "7 a - 1 123456789"};
    static struct slot_table table;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (read(&table, wrong[i]) == OK) fail_msg("it was read: %s", wrong[i]);
        assert_int_equal(table.version, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_that_is_written_is_read_again),
        cmocka_unit_test(what_is_no_table_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

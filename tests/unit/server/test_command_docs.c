/* test_command_docs.c -- COMMAND DOCS says something about every command. */
#include "server/command_docs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_every_command_of_the_table_has_a_summary(void **state) {
    (void)state;
    for (size_t i = 0; i < command_count; i++) {
        const char *summary = command_summary(command_at(i));
        if (summary[0] == '\0') print_message("no summary: %s\n", command_at(i)->name);
        assert_true(summary[0] != '\0');
        assert_int_equal(summary[strlen(summary) - 1], '.');
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_command_of_the_table_has_a_summary)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_apply_late.c -- a span of time that is applied long after it came makes its key dirty: the deadline is read at the source. */
#include "lib/base/mem.h"
#include "syncer/apply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void say(struct buf *out, const char *line) {
    char text[256], *word;
    struct slice argv[16];
    size_t argc = 0;
    snprintf(text, sizeof text, "%s", line);
    for (char *at = text; (word = strtok(at, " ")); at = NULL) argv[argc++] = slice_text(word);
    resp_write_command(out, argc, argv);
}

/* How many keys are dirty once LINE was decided about; LATE: it came long ago. */
static uint64_t dirty_after(const char *line, bool late) {
    struct apply apply;
    struct apply_rules rules = {.link = "forward", .import_mode = true, .checkpoint_command = true, .commands_max = 100, .bytes_max = 1 << 20};
    struct unit_reader reader;
    struct unit unit;
    struct why why;
    apply_init(&apply, &rules);
    unit_reader_init(&reader, 1000, 0);
    say(&reader.in, line);
    uint64_t end = 1000 + buf_size(&reader.in);
    apply.place = apply.end = (struct place){.offset = 1000, .db = 0};
    apply.late_until = late ? end : end - 1;
    apply_batch_begin(&apply);
    assert_int_equal(unit_next(&reader, &unit, &why), STEP_DONE);
    assert_true(apply_batch_add(&apply, &unit, 1700000000000));
    uint64_t count = dirty_count(&apply.dirty);
    apply_close(&apply);
    unit_reader_close(&reader);
    return count;
}

static void test_spans_that_came_late_make_their_keys_dirty(void **state) {
    (void)state;
    static const char *const spans[] = {"SETEX k 100 v", "PSETEX k 100000 v", "EXPIRE k 100", "PEXPIRE k 100000", "SET k v EX 100",
                                        "SET k v PX 100000", "GETEX k EX 100", "EVAL return 1 k", "EVAL return 0"};
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
        bool has_key = strcmp(spans[i], "EVAL return 0") != 0;
        assert_int_equal(dirty_after(spans[i], true), has_key);
        assert_int_equal(dirty_after(spans[i], false), 0);
    }
}

static void test_deadlines_and_what_has_none_may_come_late(void **state) {
    (void)state;
    static const char *const lines[] = {"SET k v", "SET k v PXAT 1800000000000", "PEXPIREAT k 1800000000000", "EXPIREAT k 1800000000",
                                        "INCR k", "PERSIST k", "DEL k", "RESTORE k 1800000000000 payload ABSTTL", "SET k v KEEPTTL"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) assert_int_equal(dirty_after(lines[i], true), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spans_that_came_late_make_their_keys_dirty),
        cmocka_unit_test(test_deadlines_and_what_has_none_may_come_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

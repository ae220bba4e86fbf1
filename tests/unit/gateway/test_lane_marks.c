/* test_lane_marks.c -- which keys were sent to F behind a mark (C22a). */
#include "gateway/lane_marks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void send(struct lane_marks *m, const char *name) {
    struct effect_key key = {.name = slice_text(name), .use = EFFECT_WRITE};
    lane_marks_sent(m, &key, 1);
}

static void note(void *self, int32_t db, struct slice name) {
    assert_int_equal(db, 0);
    buf_add(self, name);
}

/* The keys behind MARK as one text, or "all". */
static void expect(const struct lane_marks *m, const char *mark, const char *keys) {
    struct buf found = {0};
    char answer[80];
    snprintf(answer, sizeof answer, "$%zu\r\n%s\r\n", strlen(mark), mark);
    bool known = lane_marks_since(m, slice_text(answer), note, &found);
    assert_string_equal(known ? buf_text(&found) : "all", keys);
    buf_close(&found);
}

static void mark(struct lane_marks *m) {
    struct buf out = {0};
    lane_marks_write(m, false, &out);
    buf_close(&out);
}

static void test_keys_behind_a_mark_each_once(void **state) {
    (void)state;
    struct lane_marks m;
    lane_marks_init(&m, 100);
    lane_marks_name(&m, "g:0", 10);
    send(&m, "a");
    mark(&m);
    send(&m, "b");
    send(&m, "c");
    mark(&m);
    send(&m, "c");
    send(&m, "d");
    expect(&m, "000000000000000a-1", "bcd");
    expect(&m, "000000000000000a-2", "cd");
    lane_marks_close(&m);
}

static void test_marks_of_others_or_none_are_worth_nothing(void **state) {
    (void)state;
    struct lane_marks m;
    lane_marks_init(&m, 100);
    lane_marks_name(&m, "g:0", 10);
    send(&m, "a");
    mark(&m);
    static const char *const bad[] = {"000000000000000b-1", "000000000000000a-0", "000000000000000a-2", "000000000000000a-", "", "000000000000000a--1",
                                      "000000000000000a-99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) expect(&m, bad[i], "all");
    assert_false(lane_marks_since(&m, SLICE("$-1\r\n"), note, NULL));
    assert_false(lane_marks_since(&m, SLICE("-ERR no\r\n"), note, NULL));
    assert_false(lane_marks_since(&m, SLICE(""), note, NULL));
    lane_marks_close(&m);
}

static void test_without_room_older_marks_are_worth_nothing(void **state) {
    (void)state;
    struct lane_marks m;
    lane_marks_init(&m, 2);
    lane_marks_name(&m, "g:0", 10);
    mark(&m);
    send(&m, "a");
    send(&m, "b");
    mark(&m);
    send(&m, "c");
    expect(&m, "000000000000000a-1", "all");
    expect(&m, "000000000000000a-2", "c");
    send(&m, "d");
    send(&m, "e");
    expect(&m, "000000000000000a-2", "all");
    mark(&m);
    expect(&m, "000000000000000a-3", "");
    lane_marks_sent_all(&m); /* FLUSHALL */
    expect(&m, "000000000000000a-3", "all");
    mark(&m);
    send(&m, "f");
    expect(&m, "000000000000000a-4", "f");
    lane_marks_close(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_behind_a_mark_each_once),
        cmocka_unit_test(test_marks_of_others_or_none_are_worth_nothing),
        cmocka_unit_test(test_without_room_older_marks_are_worth_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

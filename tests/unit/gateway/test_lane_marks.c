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

/* Beside a model that remembers each key with the number of the last mark. */
static void count_one(void *self, int32_t db, struct slice name) {
    int64_t key;
    assert_int_equal(db, 0);
    assert_true(slice_to_int(name, &key));
    ((unsigned *)self)[key]++;
}

static void test_what_is_told_is_what_was_sent_and_no_key_twice(void **state) {
    (void)state;
    enum { KEYS = 60, STEPS = 20000 };
    uint64_t sent[KEYS] = {0}, number = 0, random = 1;
    size_t told = 0;
    struct lane_marks m;
    lane_marks_init(&m, 100); /* more than keys: only what is written again and again needs room */
    lane_marks_name(&m, "g:0", 10);
    for (int i = 0; i < STEPS; i++) {
        char text[64];
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        unsigned key = (unsigned)(random >> 33) % (random >> 63 ? KEYS : 3);
        snprintf(text, sizeof text, "%u", key);
        send(&m, text);
        sent[key] = number;
        if ((random >> 40) % 20 > 0) continue;
        mark(&m);
        number++;
        uint64_t from = number - (random >> 50) % 8;
        unsigned found[KEYS] = {0};
        snprintf(text, sizeof text, "$%d\r\n000000000000000a-%d\r\n", 17 + snprintf(NULL, 0, "%d", (int)from), (int)from);
        if (from > number || !lane_marks_since(&m, slice_text(text), count_one, found)) continue;
        told++;
        for (unsigned k = 0; k < KEYS; k++) assert_int_equal(found[k], sent[k] >= from && sent[k] > 0);
    }
    assert_true(told > 500);
    lane_marks_close(&m);
}

static void test_a_key_with_a_long_name_leaves_no_room_behind(void **state) {
    (void)state;
    static char name[100000];
    struct lane_marks m;
    lane_marks_init(&m, 100);
    lane_marks_name(&m, "g:0", 10);
    mark(&m);
    send(&m, "a");
    memset(name, 'x', sizeof name - 1);
    send(&m, name);
    expect(&m, "000000000000000a-1", "all");
    mark(&m);
    send(&m, "b");
    expect(&m, "000000000000000a-2", "b");
    assert_true(m.log.cap <= 100 * 64);
    lane_marks_close(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_behind_a_mark_each_once),
        cmocka_unit_test(test_marks_of_others_or_none_are_worth_nothing),
        cmocka_unit_test(test_without_room_older_marks_are_worth_nothing),
        cmocka_unit_test(test_what_is_told_is_what_was_sent_and_no_key_twice),
        cmocka_unit_test(test_a_key_with_a_long_name_leaves_no_room_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

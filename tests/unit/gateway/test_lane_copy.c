/* test_lane_copy.c -- a copy's answer is understood whole, or the key stays dirty (C13). */
#include "gateway/lane_copy.h"

#include "lib/redis/dump.h"
#include "lib/redis/rdb_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define NEW_VERSION 70015
#define OLD_VERSION 60216

static enum lane_copied read_exact(int32_t version, const char *text, size_t size, struct lane_value *value) {
    uint8_t *block = malloc(size ? size : 1); /* exact, so that a read past the end is seen */
    assert_non_null(block);
    memcpy(block, text, size);
    enum lane_copied copied = lane_copy_read(version, slice_from(block, size), value);
    if (copied == LANE_COPY_VALUE) assert_memory_equal(value->payload.data, "abc", 3);
    value->payload = (struct slice){0};
    free(block);
    return copied;
}

static enum lane_copied read_text(int32_t version, const char *text, struct lane_value *value) {
    return read_exact(version, text, strlen(text), value);
}

static void test_a_value_with_and_without_a_deadline(void **state) {
    (void)state;
    struct lane_value v;
    assert_int_equal(read_text(NEW_VERSION, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:-1\r\n$3\r\nabc\r\n", &v), LANE_COPY_VALUE);
    assert_int_equal(v.deadline_ms, 0);
    assert_int_equal(read_text(NEW_VERSION, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:77\r\n$3\r\nabc\r\n", &v), LANE_COPY_VALUE);
    assert_int_equal(v.deadline_ms, 77);
}

static void test_an_old_server_tells_its_time_and_what_is_left(void **state) {
    (void)state;
    struct lane_value v;
    const char *text = "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n*2\r\n$4\r\n1000\r\n$6\r\n250999\r\n:50\r\n$3\r\nabc\r\n";
    assert_int_equal(read_text(OLD_VERSION, text, &v), LANE_COPY_VALUE);
    assert_int_equal(v.deadline_ms, 1000300);
    assert_int_equal(read_text(NEW_VERSION, text, &v), LANE_COPY_FAILED);
}

static void test_a_key_is_absent_only_when_both_parts_say_so(void **state) {
    (void)state;
    struct lane_value v;
#define BOTH "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n"
    assert_int_equal(read_text(NEW_VERSION, BOTH ":-2\r\n$-1\r\n", &v), LANE_COPY_ABSENT);
    assert_int_equal(read_text(NEW_VERSION, BOTH ":-2\r\n_\r\n", &v), LANE_COPY_ABSENT);
    assert_int_equal(read_text(NEW_VERSION, (const char *)lane_copy_absent(NEW_VERSION).data, &v), LANE_COPY_ABSENT);
    assert_int_equal(read_text(OLD_VERSION, (const char *)lane_copy_absent(OLD_VERSION).data, &v), LANE_COPY_ABSENT);
    assert_int_equal(read_text(NEW_VERSION, BOTH ":-1\r\n$-1\r\n", &v), LANE_COPY_FAILED);
    assert_int_equal(read_text(NEW_VERSION, BOTH ":-2\r\n$3\r\nabc\r\n", &v), LANE_COPY_FAILED);
    assert_int_equal(read_text(NEW_VERSION, BOTH ":-2\r\n-ERR no\r\n", &v), LANE_COPY_FAILED);
    assert_int_equal(read_text(NEW_VERSION, BOTH "-ERR no\r\n$-1\r\n", &v), LANE_COPY_FAILED);
    assert_int_equal(read_text(NEW_VERSION, "-LOADING\r\n-LOADING\r\n-LOADING\r\n-ERR EXEC without MULTI\r\n", &v), LANE_COPY_FAILED);
    assert_int_equal(read_text(NEW_VERSION, "+OK\r\n-NOPERM\r\n+QUEUED\r\n-EXECABORT no\r\n", &v), LANE_COPY_FAILED);
    assert_int_equal(read_text(NEW_VERSION, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*-1\r\n", &v), LANE_COPY_FAILED);
}

static void test_any_cut_answer_is_a_failed_copy(void **state) {
    (void)state;
    struct lane_value v;
    const char *text = "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:77\r\n$3\r\nabc\r\n";
    for (size_t size = 0; size < strlen(text); size++) assert_int_equal(read_exact(NEW_VERSION, text, size, &v), LANE_COPY_FAILED);
}

static void test_what_is_sent(void **state) {
    (void)state;
    struct buf out = {0};
    struct lane_value v = {SLICE("abc"), 77};
    assert_int_equal(lane_copy_ask(&out, OLD_VERSION, SLICE("k")), 5);
    assert_non_null(strstr(buf_text(&out), "TIME"));
    buf_clear(&out);
    assert_int_equal(lane_copy_ask(&out, NEW_VERSION, SLICE("k")), 4);
    assert_non_null(strstr(buf_text(&out), "PEXPIRETIME"));
    buf_clear(&out);
    lane_copy_restore(&out, SLICE("k"), &v);
    assert_string_equal(buf_text(&out), "*6\r\n$7\r\nRESTORE\r\n$1\r\nk\r\n$2\r\n77\r\n$3\r\nabc\r\n$7\r\nREPLACE\r\n$6\r\nABSTTL\r\n");
    v.deadline_ms = 0;
    buf_clear(&out);
    lane_copy_restore(&out, SLICE("k"), &v);
    assert_string_equal(buf_text(&out), "*5\r\n$7\r\nRESTORE\r\n$1\r\nk\r\n$1\r\n0\r\n$3\r\nabc\r\n$7\r\nREPLACE\r\n");
    buf_close(&out);
}

/* A hash of Redis 7.0, in a listpack. */
static void test_a_payload_is_written_anew_for_a_server_that_is_too_old_for_it(void **state) {
    (void)state;
    static const uint8_t listpack[] = {12, 0, 0, 0, 2, 0, 0x81, 'f', 2, 5, 1, 0xff};
    struct buf value = {0}, payload = {0}, scratch = {0};
    struct why why;
    uint8_t type = 0;
    struct slice inside;
    rdb_put_string(&value, slice_from(listpack, sizeof listpack), RDB_PLAIN);
    dump_put_as_redis(&payload, RDB_HASH_LISTPACK, buf_slice(&value));
    struct lane_value v = {buf_slice(&payload), 0};
    lane_copy_fit(NEW_VERSION, &v, &scratch);
    assert_ptr_equal(v.payload.data, payload.data);
    lane_copy_fit(OLD_VERSION, &v, &scratch);
    assert_in_range(v.payload.data[v.payload.size - 10], 1, 9);
    assert_int_equal(dump_open(v.payload, &type, &inside, &why), OK);
    assert_int_equal(type, RDB_HASH);
    struct lane_value bad = {SLICE("no payload at all\xff\xff\xff"), 0};
    lane_copy_fit(OLD_VERSION, &bad, &scratch);
    assert_int_equal(bad.payload.size, 20);
    buf_close(&value);
    buf_close(&payload);
    buf_close(&scratch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_value_with_and_without_a_deadline),
        cmocka_unit_test(test_an_old_server_tells_its_time_and_what_is_left),
        cmocka_unit_test(test_a_key_is_absent_only_when_both_parts_say_so),
        cmocka_unit_test(test_any_cut_answer_is_a_failed_copy),
        cmocka_unit_test(test_what_is_sent),
        cmocka_unit_test(test_a_payload_is_written_anew_for_a_server_that_is_too_old_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

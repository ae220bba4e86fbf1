/* test_lane_functions.c -- payloads of FUNCTION DUMP for a server that is older than their writer. */
#include "gateway/lane_functions.h"
#include "lib/redis/bytes.h"
#include "lib/redis/crc64.h"
#include "lib/redis/rdb.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void write_payload(struct buf *out, const char *libraries, unsigned version) {
    buf_clear(out);
    buf_add(out, slice_text(libraries));
    bytes_put_le(buf_room(out, 2), version, 2);
    buf_filled(out, 2);
    uint64_t sum = crc64_add(0, buf_slice(out));
    bytes_put_le(buf_room(out, 8), sum, 8);
    buf_filled(out, 8);
}

static void expect(struct slice payload, struct slice wanted) {
    struct buf out = {0};
    uint8_t *exact = mem_dup(payload.data, payload.size);
    lane_functions_fit(slice_from(exact, payload.size), &out);
    assert_true(slice_equal(buf_slice(&out), wanted));
    mem_free(exact);
    buf_close(&out);
}

static void test_a_newer_payload_gets_the_version_of_7_0(void **state) {
    (void)state;
    struct buf newer = {0}, of_7_0 = {0};
    for (int empty = 0; empty < 2; empty++) {
        const char *libraries = empty ? "" : "\xf5 a library";
        write_payload(&newer, libraries, RDB_VERSION_MAX);
        write_payload(&of_7_0, libraries, RDB_VERSION_WRITTEN);
        assert_false(slice_equal(buf_slice(&newer), buf_slice(&of_7_0)));
        expect(buf_slice(&newer), buf_slice(&of_7_0));
        expect(buf_slice(&of_7_0), buf_slice(&of_7_0));
    }
    buf_close(&newer);
    buf_close(&of_7_0);
}

static void test_what_is_not_known_is_left_for_the_follower_to_refuse(void **state) {
    (void)state;
    struct buf payload = {0};
    write_payload(&payload, "\xf5 a library", RDB_VERSION_MAX + 1);
    expect(buf_slice(&payload), buf_slice(&payload));
    write_payload(&payload, "\xf5 a library", RDB_VERSION_MAX);
    struct buf broken = {0};
    buf_add(&broken, SLICE("?"));
    buf_add(&broken, slice_drop(buf_slice(&payload), 1));
    expect(buf_slice(&broken), buf_slice(&broken));
    for (size_t size = 0; size < buf_size(&payload); size++)
        expect(slice_take(buf_slice(&payload), size), slice_take(buf_slice(&payload), size));
    buf_close(&broken);
    buf_close(&payload);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_newer_payload_gets_the_version_of_7_0),
        cmocka_unit_test(test_what_is_not_known_is_left_for_the_follower_to_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

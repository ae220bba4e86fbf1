/* test_slot_filter.c -- of a stream only what concerns some slots passes, and every offset stays.
 */
#include "server/slot_filter.h"

#include "lib/base/mem.h"
#include "lib/base/rand.h"
#include "lib/redis/resp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct rng rng;

/* "a" and "b" are wanted, "x" and "y" are not. */
static struct slot_set wanted(void) {
    struct slot_set slots = {{0}};
    slot_set_add(&slots, slot_cluster(SLICE("a")));
    slot_set_add(&slots, slot_cluster(SLICE("b")));
    assert_false(slot_set_has(&slots, slot_cluster(SLICE("x"))));
    assert_false(slot_set_has(&slots, slot_cluster(SLICE("y"))));
    return slots;
}

/* A line of words as a request. */
static void put(struct buf *out, const char *line) {
    struct slice words[16];
    size_t count = 0;
    for (const char *at = line; *at;) {
        size_t size = strcspn(at, " ");
        words[count++] = slice_from(at, size);
        at += size + (at[size] == ' ');
    }
    resp_write_command(out, count, words);
}

/* What a replica would run of BYTES, a line each; padding is none of it. */
static void read_back(struct slice bytes, struct buf *lines) {
    struct resp_request request = {0};
    struct why why;
    size_t used;
    while (bytes.size) {
        assert_int_equal(resp_request_next(&request, &resp_request_limits_open, bytes, &used, &why),
                         STEP_DONE);
        bytes = slice_drop(bytes, used);
        bool is_padding =
            request.argc == 0 || (request.argc == 2 && slice_equal(request.argv[0], SLICE("PING")));
        for (size_t i = 0; i < request.argc && !is_padding; i++) {
            buf_add(lines, request.argv[i]);
            buf_byte(lines, i + 1 < request.argc ? ' ' : '\n');
        }
    }
    resp_request_close(&request);
}

static void expect(const char *line, const char *passes) {
    struct slot_set slots = wanted();
    struct slot_filter *filter = slot_filter_new(&slots);
    struct buf in = {0}, out = {0}, lines = {0};
    struct why why;
    put(&in, line);
    assert_int_equal(slot_filter_take(filter, buf_slice(&in), &out, &why), OK);
    assert_int_equal(buf_size(&out), buf_size(&in));
    read_back(buf_slice(&out), &lines);
    assert_string_equal(buf_text(&lines), passes);
    slot_filter_free(filter);
    buf_close(&in);
    buf_close(&out);
    buf_close(&lines);
}

static void test_what_has_no_keys_passes(void **state) {
    (void)state;
    expect("SELECT 3", "SELECT 3\n");
    expect("MULTI", "MULTI\n");
    expect("EXEC", "EXEC\n");
    expect("FLUSHALL", "FLUSHALL\n");
    expect("REPLCONF GETACK *", "REPLCONF GETACK *\n");
    expect("PUBLISH x hello", "PUBLISH x hello\n");
    expect("NOSUCH x", "NOSUCH x\n");
}

static void test_keys_of_other_slots_become_padding(void **state) {
    (void)state;
    expect("SET a 1", "SET a 1\n");
    expect("SET x 1", "");
    expect("HSET x field value", "");
    expect("RENAME x y", "");
    expect("RENAME a b", "RENAME a b\n");
    expect("XADD {x}stream 1-1 a b", "");
    expect("SET {a}other 1", "SET {a}other 1\n");
}

static void test_what_can_be_cut_is(void **state) {
    (void)state;
    expect("DEL x a y b", "DEL a b\n");
    expect("UNLINK y a", "UNLINK a\n");
    expect("MSET x 1 a 2 y 3 b 4", "MSET a 2 b 4\n");
    expect("MSETNX b 2 x 1", "MSETNX b 2\n");
    expect("DEL x y", "");
}

static void test_what_cannot_be_cut_is_refused(void **state) {
    (void)state;
    const char *lines[] = {"RENAME a x", "SUNIONSTORE a b x", "COPY x a", "LMOVE a x LEFT LEFT"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct slot_set slots = wanted();
        struct slot_filter *filter = slot_filter_new(&slots);
        struct buf in = {0}, out = {0};
        struct why why;
        put(&in, lines[i]);
        assert_int_equal(slot_filter_take(filter, buf_slice(&in), &out, &why), ERR_REFUSED);
        slot_filter_free(filter);
        buf_close(&in);
        buf_close(&out);
    }
}

static void test_padding_of_any_size_fits(void **state) {
    (void)state;
    struct slot_set slots = wanted();
    for (size_t size = 0; size < 1200; size++) {
        struct slot_filter *filter = slot_filter_new(&slots);
        uint8_t *text = mem_alloc(size + 1);
        memset(text, 'v', size + 1);
        struct slice words[] = {SLICE("SET"), SLICE("x"), slice_from(text, size)};
        struct buf in = {0}, out = {0}, lines = {0};
        struct why why;
        resp_write_command(&in, 3, words);
        assert_int_equal(slot_filter_take(filter, buf_slice(&in), &out, &why), OK);
        assert_int_equal(buf_size(&out), buf_size(&in));
        read_back(buf_slice(&out), &lines);
        assert_int_equal(buf_size(&lines), 0);
        slot_filter_free(filter);
        mem_free(text);
        buf_close(&in);
        buf_close(&out);
        buf_close(&lines);
    }
}

static void test_any_split_gives_the_same_bytes(void **state) {
    (void)state;
    static const char *const lines[] = {"SET a 1", "SET x 2", "MSET a 1 x 2",
                                        "PING",    "DEL y",   "SELECT 1"};
    struct slot_set slots = wanted();
    struct buf in = {0}, whole = {0};
    struct why why;
    for (unsigned i = 0; i < 200; i++)
        put(&in, lines[rng_below(&rng, sizeof lines / sizeof lines[0])]);
    struct slot_filter *filter = slot_filter_new(&slots);
    assert_int_equal(slot_filter_take(filter, buf_slice(&in), &whole, &why), OK);
    slot_filter_free(filter);
    for (unsigned round = 0; round < 20; round++) {
        struct buf out = {0};
        struct slice left = buf_slice(&in);
        filter = slot_filter_new(&slots);
        while (left.size) {
            size_t size = 1 + (size_t)rng_below(&rng, left.size < 50 ? left.size : 50);
            uint8_t *exact = mem_dup(left.data, size);
            assert_int_equal(slot_filter_take(filter, slice_from(exact, size), &out, &why), OK);
            mem_free(exact);
            left = slice_drop(left, size);
        }
        assert_true(slice_equal(buf_slice(&out), buf_slice(&whole)));
        slot_filter_free(filter);
        buf_close(&out);
    }
    buf_close(&in);
    buf_close(&whole);
}

static int seed(void **state) {
    (void)state;
    uint64_t value = rand_test_seed();
    printf("seed %llu\n", (unsigned long long)value);
    rng = rng_from(value);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_has_no_keys_passes),
        cmocka_unit_test(test_keys_of_other_slots_become_padding),
        cmocka_unit_test(test_what_can_be_cut_is),
        cmocka_unit_test(test_what_cannot_be_cut_is_refused),
        cmocka_unit_test(test_padding_of_any_size_fits),
        cmocka_unit_test(test_any_split_gives_the_same_bytes),
    };
    return cmocka_run_group_tests_name("slot_filter", tests, seed, NULL);
}

/* test_route.c -- where requests belong in a Cluster, and how several answers become one. */
#include "gateway/shards/merge.h"

#include "lib/redis/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* WORDS are parted by spaces. */
static size_t words_of(const char *words, struct slice argv[16]) {
    size_t argc = 0;
    while (*words != '\0' && argc < 16) {
        size_t size = strcspn(words, " ");
        argv[argc++] = slice_from(words, size);
        words += size + (words[size] == ' ');
    }
    return argc;
}

static struct shards_route route_of(const char *words) {
    struct slice argv[16];
    struct shards_route route;
    size_t argc = words_of(words, argv);
    shards_route(argc, argv, &route);
    return route;
}

static struct shards_route block_of(const char *const *requests) {
    struct shards_route route = {.to = SHARDS_TO_ANY};
    for (; *requests != NULL; requests++) {
        struct slice argv[16];
        size_t argc = words_of(*requests, argv);
        shards_route_block(argc, argv, &route);
    }
    return route;
}
#define BLOCK(...) block_of((const char *const[]){__VA_ARGS__, NULL})

static void test_keys_of_one_slot_go_to_it(void **state) {
    (void)state;
    struct shards_route r = route_of("MSET {a}1 x {a}2 y");
    assert_int_equal(r.to, SHARDS_TO_SLOT);
    assert_int_equal(r.slot, slot_cluster(SLICE("a")));
    r = route_of("eval return 2 {a}x {a}y 7");
    assert_int_equal(r.to, SHARDS_TO_SLOT);
    assert_int_equal(r.slot, slot_cluster(SLICE("a")));
    r = route_of("watch a");
    assert_int_equal(r.to, SHARDS_TO_WATCH);
    assert_int_equal(r.slot, slot_cluster(SLICE("a")));
    assert_int_equal(route_of("XREAD STREAMS a 0").to, SHARDS_TO_SLOT);
}

static void test_keys_of_several_slots_are_refused_as_a_cluster_does(void **state) {
    (void)state;
    static const char *const cross[] = {"MSET a 1 b 2", "DEL a b", "WATCH a b", "RENAME a b"};
    for (size_t i = 0; i < sizeof cross / sizeof *cross; i++) {
        struct shards_route r = route_of(cross[i]);
        assert_int_equal(r.to, SHARDS_TO_ERROR);
        assert_memory_equal(r.error, "CROSSSLOT ", 10);
    }
}

static void test_what_has_no_key_goes_anywhere_or_everywhere(void **state) {
    (void)state;
    assert_int_equal(route_of("PUBLISH c m").to, SHARDS_TO_ANY);
    assert_int_equal(route_of("EVAL return 0").to, SHARDS_TO_ANY);
    assert_int_equal(route_of("NO.SUCH a b").to, SHARDS_TO_ANY);
    assert_int_equal(route_of("GET").to, SHARDS_TO_ANY);
    assert_int_equal(route_of("DBSIZE").merge, SHARDS_MERGE_SUM);
    assert_int_equal(route_of("FLUSHALL").to, SHARDS_TO_ALL);
    assert_int_equal(route_of("script load x").to, SHARDS_TO_ALL);
    assert_int_equal(route_of("SCAN 0").to, SHARDS_TO_SCAN);
    assert_int_equal(route_of("info KEYSPACE").merge, SHARDS_MERGE_KEYSPACE);
    assert_int_equal(route_of("INFO").to, SHARDS_TO_ANY);
    assert_int_equal(route_of("ping").to, SHARDS_TO_HERE);
    static const char *const refused[] = {"SWAPDB 0 1", "MOVE a 1", "MONITOR", "CLUSTER INFO", "SSUBSCRIBE c"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        assert_int_equal(route_of(refused[i]).to, SHARDS_TO_ERROR);
}

static void test_a_block_has_one_slot(void **state) {
    (void)state;
    struct shards_route r = BLOCK("PING", "GET {a}1", "SET {a}2 x", "PUBLISH c m");
    assert_int_equal(r.to, SHARDS_TO_SLOT);
    assert_int_equal(r.slot, slot_cluster(SLICE("a")));
    assert_int_equal(BLOCK("TIME", "PUBLISH c m").to, SHARDS_TO_ANY);
    assert_int_equal(BLOCK("GET a", "GET b").to, SHARDS_TO_ERROR);
    assert_int_equal(BLOCK("GET a", "FLUSHALL").to, SHARDS_TO_ERROR);
    assert_int_equal(BLOCK("FLUSHALL", "GET a").to, SHARDS_TO_ERROR);
    assert_int_equal(BLOCK("KEYS *").to, SHARDS_TO_ERROR);
}

static void merged(enum shards_merge how, const char *a, const char *b, const char *want, bool split) {
    struct slice answers[2] = {slice_text(a), slice_text(b)};
    struct buf out = {0};
    bool is_split = !split;
    shards_merge(how, 2, answers, &out, &is_split);
    assert_string_equal(buf_text(&out), want);
    assert_int_equal(is_split, split);
    buf_close(&out);
}

static void test_answers_become_one(void **state) {
    (void)state;
    merged(SHARDS_MERGE_FIRST, "+OK\r\n", "+OK\r\n", "+OK\r\n", false);
    merged(SHARDS_MERGE_FIRST, "+OK\r\n", "-ERR x\r\n", "-ERR x\r\n", true);
    merged(SHARDS_MERGE_FIRST, "-ERR y\r\n", "-ERR x\r\n", "-ERR y\r\n", false);
    merged(SHARDS_MERGE_SUM, ":3\r\n", ":4\r\n", ":7\r\n", false);
    merged(SHARDS_MERGE_MIN, ":3\r\n", ":1\r\n", ":1\r\n", false);
    merged(SHARDS_MERGE_ARRAYS, "*1\r\n$1\r\na\r\n", "*0\r\n", "*1\r\n$1\r\na\r\n", false);
    merged(SHARDS_MERGE_ARRAYS, "*1\r\n$1\r\na\r\n", "*2\r\n$1\r\nb\r\n$1\r\nc\r\n",
           "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n", false);
    merged(SHARDS_MERGE_KEYSPACE, "$50\r\n# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=5\r\n\r\n",
           "$12\r\n# Keyspace\r\n\r\n",
           "$44\r\n# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=0\r\n\r\n", false);
    static const char no[] = "-ERR drawbridge: an answer of a node was not understood\r\n";
    merged(SHARDS_MERGE_SUM, ":3\r\n", "+x\r\n", no, false);
    merged(SHARDS_MERGE_SUM, ":3\r\n", ":-4\r\n", no, false);
    merged(SHARDS_MERGE_ARRAYS, ":3\r\n", "*0\r\n", no, false);
}

static void scanned(const char *reply, unsigned node, int next, const char *want) {
    struct buf out = {0};
    shards_scan_answer(slice_text(reply), node, next, &out);
    assert_string_equal(buf_text(&out), want);
    buf_close(&out);
}

static void test_a_cursor_goes_through_all_nodes(void **state) {
    (void)state;
    uint64_t cursor = 0;
    unsigned node = 0;
    assert_true(shards_cursor_read(SLICE("0"), &cursor, &node));
    assert_true(cursor == 0 && node == 0);
    scanned("*2\r\n$1\r\n7\r\n*0\r\n", 3, 5, "*2\r\n$4\r\n3587\r\n*0\r\n");
    assert_true(shards_cursor_read(SLICE("3587"), &cursor, &node));
    assert_true(cursor == 7 && node == 3);
    scanned("*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n", 3, 5, "*2\r\n$1\r\n5\r\n*1\r\n$1\r\na\r\n");
    scanned("*2\r\n$1\r\n0\r\n*0\r\n", 5, -1, "*2\r\n$1\r\n0\r\n*0\r\n");
    scanned("-ERR no\r\n", 5, -1, "-ERR no\r\n");
    assert_false(shards_cursor_read(SLICE("x"), &cursor, &node));
    assert_false(shards_cursor_read(SLICE(""), &cursor, &node));
    assert_false(shards_cursor_read(SLICE("99999999999999999999999"), &cursor, &node));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_of_one_slot_go_to_it),
        cmocka_unit_test(test_keys_of_several_slots_are_refused_as_a_cluster_does),
        cmocka_unit_test(test_what_has_no_key_goes_anywhere_or_everywhere),
        cmocka_unit_test(test_a_block_has_one_slot),
        cmocka_unit_test(test_answers_become_one),
        cmocka_unit_test(test_a_cursor_goes_through_all_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

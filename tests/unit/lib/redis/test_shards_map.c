/* test_shards_map.c -- what nodes of a Cluster say about slots, read with suspicion. */
#include "lib/redis/shards_map.h"

#include "lib/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "cccccccccccccccccccccccccccccccccccccccc"

static struct shards_map map; /* large */

static enum err read_map(const char *text) {
    struct resp_reply_reader reader = {0};
    struct resp_reply *reply = NULL;
    struct why why;
    size_t used = 0;
    void *exact = mem_dup(text, strlen(text)); /* so that a read behind it is seen */
    enum step step = resp_reply_next(&reader, &resp_reply_limits_default,
                                     slice_from(exact, strlen(text)), &reply, &used, &why);
    mem_free(exact);
    assert_int_equal(step, STEP_DONE);
    enum err err = shards_map_read(&map, reply, "seed.example", &why);
    resp_reply_free(reply);
    return err;
}

#define NODE(host, port, id) "*4\r\n" host ":" port "\r\n$40\r\n" id "\r\n*0\r\n"
#define HOST "$9\r\n127.0.0.1\r\n"

static void test_owners_and_replicas_are_found(void **state) {
    (void)state;
    assert_int_equal(read_map("*2\r\n"
                              "*4\r\n:0\r\n:99\r\n" NODE(HOST, "7001", A) NODE(HOST, "7003", C)
                              "*3\r\n:100\r\n:16383\r\n" NODE("$1\r\nb\r\n", "7002", B)),
                     OK);
    assert_int_equal(map.count, 3);
    const struct shards_node *a = &map.node[map.owner[99]], *b = &map.node[map.owner[100]];
    assert_string_equal(a->id, A);
    assert_int_equal(a->port, 7001);
    assert_int_equal(a->slots, 100);
    assert_string_equal(b->host, "b");
    assert_int_equal(map.node[shards_map_find(&map, C)].slots, 0);
}

static void test_a_node_without_a_name_is_where_the_seed_is(void **state) {
    (void)state;
    assert_int_equal(read_map("*1\r\n*3\r\n:5\r\n:5\r\n" NODE("$-1\r\n", "1", A)), OK);
    assert_string_equal(map.node[0].host, "seed.example");
    assert_int_equal(map.owner[4], SHARDS_NOBODY);
    assert_int_equal(map.owner[5], 0);
    assert_int_equal(read_map("*1\r\n*3\r\n:5\r\n:5\r\n" NODE("$1\r\n?\r\n", "1", A)), OK);
    assert_string_equal(map.node[0].host, "seed.example");
}

static void test_what_is_not_a_map_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "-ERR This instance has cluster support disabled\r\n",
        "*0\r\n",
        ":1\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:16384\r\n" NODE(HOST, "1", A),
        "*1\r\n*3\r\n:-1\r\n:7\r\n" NODE(HOST, "1", A),
        "*1\r\n*3\r\n:9\r\n:7\r\n" NODE(HOST, "1", A),
        "*1\r\n*3\r\n:0\r\n:7\r\n" NODE(HOST, "0", A),
        "*1\r\n*3\r\n:0\r\n:7\r\n" NODE(HOST, "65536", A),
        "*1\r\n*3\r\n:0\r\n:7\r\n" NODE("$3\r\na b\r\n", "1", A),
        "*1\r\n*3\r\n:0\r\n:7\r\n*3\r\n" HOST ":1\r\n$3\r\nabc\r\n",
        "*1\r\n*3\r\n:0\r\n:7\r\n*3\r\n" HOST ":1\r\n:7\r\n",
        "*1\r\n*4\r\n:0\r\n:7\r\n" NODE(HOST, "1", A) ":3\r\n",
        "*2\r\n*3\r\n:0\r\n:7\r\n" NODE(HOST, "1", A) "*3\r\n:7\r\n:8\r\n" NODE(HOST, "2", B),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (read_map(bad[i]) == OK) fail_msg("taken: %s", bad[i]);
}

static void test_nodes_tell_who_failed_and_who_owns_nothing(void **state) {
    (void)state;
    assert_int_equal(read_map("*1\r\n*3\r\n:0\r\n:16383\r\n" NODE(HOST, "7001", A)), OK);
    shards_map_add(&map, SLICE(A " 10.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-16383 "
                                 "[93->-" B "] [77-<-" B "]\n"
                               B " 10.0.0.2:7002@17002,two.example master,fail - 0 0 2 connected\n"
                               C " :0@0 master,noaddr - 0 0 3 disconnected\n"
                               "rubbish\n" C));
    assert_int_equal(map.count, 2);
    assert_string_equal(map.node[0].host, "127.0.0.1");
    assert_string_equal(map.node[0].ip, "10.0.0.1");
    assert_true(map.node[0].master && !map.node[0].failed);
    assert_string_equal(map.node[1].host, "two.example");
    assert_true(map.node[1].master && map.node[1].failed);
}

static void test_slots_under_way_are_told(void **state) {
    (void)state;
    uint64_t moving[SHARDS_SLOTS / 64] = {0};
    shards_moving(SLICE(A " h:1@2 myself,master - 0 0 1 connected 0-90 [93->-" B "] [77-<-" B
                          "] [16384->-x] [-1-<-x]\n" B " h:2@3 master - 0 0 2 connected 91-99\n"),
                  moving);
    for (unsigned slot = 0; slot < SHARDS_SLOTS; slot++)
        assert_int_equal(moving[slot / 64] >> (slot % 64) & 1, slot == 93 || slot == 77);
}

static void test_redirections(void **state) {
    (void)state;
    struct shards_redirect to;
    shards_redirect_read(SLICE("-MOVED 3999 127.0.0.1:6381\r\n"), &to);
    assert_int_equal(to.kind, SHARDS_MOVED);
    assert_int_equal(to.slot, 3999);
    assert_string_equal(to.host, "127.0.0.1");
    assert_int_equal(to.port, 6381);
    shards_redirect_read(SLICE("-ASK 1 fe80::1:6379\r\n"), &to);
    assert_int_equal(to.kind, SHARDS_ASK);
    assert_string_equal(to.host, "fe80::1");
    shards_redirect_read(SLICE("-MOVED 1 :6379\r\n"), &to);
    assert_int_equal(to.kind, SHARDS_MOVED);
    assert_string_equal(to.host, "");
    shards_redirect_read(SLICE("-TRYAGAIN Multiple keys request during rehashing of slot\r\n"), &to);
    assert_int_equal(to.kind, SHARDS_LATER);
    shards_redirect_read(SLICE("-CLUSTERDOWN The cluster is down\r\n"), &to);
    assert_int_equal(to.kind, SHARDS_LATER);
    static const char *const answers[] = {"-ERR no\r\n", "-MOVED 16384 h:1\r\n", "-MOVED 1 h:0\r\n",
                                          "-MOVED 1 h\r\n", "-MOVED x h:1\r\n", "-ASK 1 a b:1\r\n",
                                          "-MOVEDIT 1 h:1\r\n", "-ASK \r\n", "-\r\n", ""};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        shards_redirect_read(slice_text(answers[i]), &to);
        assert_int_equal(to.kind, SHARDS_FINE);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_owners_and_replicas_are_found),
        cmocka_unit_test(test_a_node_without_a_name_is_where_the_seed_is),
        cmocka_unit_test(test_what_is_not_a_map_is_refused),
        cmocka_unit_test(test_nodes_tell_who_failed_and_who_owns_nothing),
        cmocka_unit_test(test_slots_under_way_are_told),
        cmocka_unit_test(test_redirections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

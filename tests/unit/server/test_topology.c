/* test_topology.c -- a topology's text is read back as it was written, and no damaged one is believed half. */
#include "server/topology.h"

#include "lib/base/mem.h"
#include "lib/base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "cccccccccccccccccccccccccccccccccccccccc"

/* As Redis 7.0 writes nodes.conf. */
static const char sample[] =
    A " 10.0.0.1:7000@17000,host-a myself,master - 0 1426238317239 2 connected 0-5 7 [5->-" B
      "] [9-<-" B "]\n" B " 10.0.0.2:7001@17001,,tls-port=7101,shard-id=" C " master - 0 0 3 connected 8-16383\n" C
      " ::1:7002@17002 slave " B " 0 0 3 connected\nvars currentEpoch 6 lastVoteEpoch 0\n";

static struct topology *read_text(const char *text, const char *myself) {
    struct topology *t = NULL;
    struct why why;
    return topology_read(slice_text(text), myself, &t, &why) == OK ? t : NULL;
}

static void test_a_file_of_redis_is_understood(void **state) {
    (void)state;
    struct topology *t = read_text(sample, NULL);
    assert_non_null(t);
    struct node *b = topology_find(t, SLICE(B)), *c = topology_find(t, SLICE(C));
    assert_string_equal(t->myself->hostname, "host-a");
    assert_string_equal(b->hostname, "");
    assert_int_equal(b->tls_port, 7101);
    assert_int_equal(t->myself->slots, 7);
    assert_ptr_equal(t->migrating[5], b);
    assert_ptr_equal(t->importing[9], b);
    assert_null(t->owner[6]);
    assert_ptr_equal(c->master, b);
    assert_string_equal(c->host, "::1");
    assert_int_equal(t->epoch, 6);
    assert_int_equal(topology_size(t), 2);
    topology_free(t);
}

static void test_what_was_written_is_read_back(void **state) {
    (void)state;
    struct topology *t = read_text(sample, NULL);
    struct buf first = {0}, second = {0};
    topology_write(t, &first);
    struct topology *again = read_text(buf_text(&first), NULL);
    assert_non_null(again);
    topology_write(again, &second);
    assert_true(slice_equal(buf_slice(&first), buf_slice(&second)));
    topology_free(t);
    topology_free(again);
    buf_close(&first);
    buf_close(&second);
}

static void test_a_forgotten_node_is_nowhere(void **state) {
    (void)state;
    struct topology *t = read_text(sample, NULL);
    topology_forget(t, topology_find(t, SLICE(B)));
    assert_null(t->owner[8]);
    assert_null(t->migrating[5]);
    assert_null(t->importing[9]);
    assert_null(topology_find(t, SLICE(C))->master);
    assert_int_equal(t->count, 2);
    topology_free(t);
}

static void test_the_epoch_becomes_the_highest_once(void **state) {
    (void)state;
    struct topology *t = read_text(sample, NULL);
    assert_true(topology_bump_epoch(t));
    assert_int_equal(t->myself->epoch, 7);
    assert_false(topology_bump_epoch(t));
    topology_free(t);
}

static void test_contradictions_are_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",
        A " 1.1.1.1:1@2 master - 0 0 1 connected\n",
        A " 1.1.1.1:1@2 myself,master - 0 0 1 connected 1-0\n",
        A " 1.1.1.1:1@2 myself,master - 0 0 1 connected 16384\n",
        A " 1.1.1.1:1@2 myself,master - 0 0 1 connected 3 3\n",
        A " 1.1.1.1:1@2 myself,master - 0 0 1 connected [3->-" B "]\n",
        A " 1.1.1.1:1@2 myself,slave " A " 0 0 1 connected\n",
        A " 1.1.1.1:1@2 myself,slave " B " 0 0 1 connected 5\n" B " 1.1.1.1:1@2 master - 0 0 1 c\n",
        A " 1.1.1.1:1@2 myself,slave " B " 0 0 1 c\n" B " 1.1.1.1:1@2 slave " A " 0 0 1 c\n",
        A " 1.1.1.1:1@2,h,tls-port=x myself,master - 0 0 1 connected\n",
        A " 1.1.1.1:1@2,h,tls-port=65536 myself,master - 0 0 1 connected\n",
        A " 1.1.1.1:1@2,h,colour=2 myself,master - 0 0 1 connected\n",
        A " 1.1.1.1:65536@2 myself,master - 0 0 1 connected\n",
        A " 1.1.1.1:1@2 myself,master - 0 0 1 c\n" A " 1.1.1.1:1@2 master - 0 0 1 c\n",
        A " 1.1.1.1:1@2 myself,master - 0 0 1 c\n" B " 1.1.1.1:1@2 myself,master - 0 0 1 c\n",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA 1.1.1.1:1@2 myself,master - 0 0 1 c\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct topology *t = read_text(wrong[i], NULL);
        if (t) printf("taken: %s\n", wrong[i]);
        assert_null(t);
    }
}

/* Each in a block of its exact size: the sanitizer sees a read behind it. */
static void test_damaged_text_does_no_harm(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    printf("seed %llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    for (int round = 0; round < 3000; round++) {
        size_t size = rng_below(&rng, sizeof sample);
        uint8_t *text = malloc(size ? size : 1);
        memcpy(text, sample, size);
        for (uint64_t n = rng_below(&rng, 4); n > 0 && size > 0; n--)
            text[rng_below(&rng, size)] = (uint8_t)" \n[]-:@,x0\0\xff"[rng_below(&rng, 12)];
        struct topology *t;
        struct why why;
        if (topology_read(slice_from(text, size), A, &t, &why) == OK) {
            assert_non_null(t->myself);
            topology_free(t);
        }
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_of_redis_is_understood),
        cmocka_unit_test(test_what_was_written_is_read_back),
        cmocka_unit_test(test_a_forgotten_node_is_nowhere),
        cmocka_unit_test(test_the_epoch_becomes_the_highest_once),
        cmocka_unit_test(test_contradictions_are_refused),
        cmocka_unit_test(test_damaged_text_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_topology_plan.c -- the wanted cluster: read, written for a node, compared with what a node
 * has. */
#include "lib/base/mem.h"
#include "state/topology_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define THREE                                                                                      \
    "a 10.0.0.1:6400 0-5460\n"                                                                     \
    "# the second\n\n"                                                                             \
    "b 10.0.0.2:6400 5461-10922 16383\n"                                                           \
    "c node-3.example:6400 10923-16382\n"                                                          \
    "a2 10.0.0.4:6400 replica-of a\n"

static struct topology_plan *read_plan(const char *text, int64_t epoch) {
    struct topology_plan *plan = NULL;
    struct why why;
    enum err err = topology_plan_read(slice_text(text), epoch, false, &plan, &why);
    if (err) fprintf(stderr, "%s\n", why.text);
    assert_int_equal(err, OK);
    return plan;
}

static void refuse(const char *text, const char *words) {
    struct topology_plan *plan = NULL;
    struct why why;
    assert_int_equal(topology_plan_read(slice_text(text), 1, false, &plan, &why), ERR_CONFIG);
    if (!strstr(why.text, words)) fail_msg("'%s' is not in: %s", words, why.text);
}

static void nodes_have_slots_or_a_master_and_ids_of_their_names(void **state) {
    (void)state;
    struct topology_plan *plan = read_plan(THREE, 7), *again = read_plan(THREE, 7);
    assert_int_equal(plan->count, 4);
    assert_int_equal(plan->owner[5460], 0);
    assert_int_equal(plan->owner[16383], 1);
    assert_int_equal(plan->nodes[3].master, 0);
    assert_int_equal(plan->nodes[0].master, -1);
    assert_int_equal(strlen(plan->nodes[0].id), 40);
    assert_string_not_equal(plan->nodes[0].id, plan->nodes[1].id);
    assert_int_equal(topology_plan_unowned(plan), 0);
    assert_true(topology_plan_equal(plan, again));
    again->owner[3] = 2;
    assert_false(topology_plan_equal(plan, again));
    mem_free(plan);
    mem_free(again);
}

static void what_is_wrong_is_named_with_its_line(void **state) {
    (void)state;
    refuse("", "there is none");
    refuse("a 10.0.0.1:6400 0-5\nb 10.0.0.2:6400 5-9\n", "line 2: a slot with two owners: '5-9'");
    refuse("a 10.0.0.1:6400 0-16384\n", "FROM-TO");
    refuse("a 10.0.0.1:6400 9-5\n", "FROM-TO");
    refuse("a 10.0.0.1:6400 x\n", "FROM-TO");
    refuse("a 10.0.0.1 0-5\n", "HOST:PORT");
    refuse("a :6400 0-5\n", "HOST:PORT");
    refuse("a h:0 0-5\n", "HOST:PORT");
    refuse("a h:70000 0-5\n", "HOST:PORT");
    refuse("a\n", "HOST:PORT");
    refuse("a h,x:6400\n", "HOST:PORT");
    refuse("a, h:6400\n", "expected a name");
    refuse("a h:6400\na h:6401\n", "line 2: a name that was there");
    refuse("a h:6400\nb h:6400\n", "an address that was there");
    refuse("a h:6400 replica-of b\n", "not another node's name: 'b'");
    refuse("a h:6400 replica-of a\n", "not another node's name");
    refuse("a h:6400 replica-of\n", "not another node's name");
    refuse("a h:6400\nb h:6401 replica-of a 3\n", "more words");
    refuse("a h:6400\nb h:6401 3 replica-of a\n", "b is a replica and has slots");
    refuse("a h:1\nb h:2 replica-of a\nc h:3 replica-of b\n", "c follows b, which is a replica");
    struct buf many = {0};
    for (int i = 0; i <= PLAN_NODES_MAX; i++) buf_printf(&many, "n%d h:%d\n", i, 1000 + i);
    refuse(buf_text(&many), "too many nodes");
    buf_close(&many);
    struct topology_plan *plan = NULL;
    struct why why;
    assert_int_equal(topology_plan_read(SLICE("a h:1 0"), 0, false, &plan, &why), ERR_CONFIG);
    assert_non_null(strstr(why.text, "topology.epoch"));
}

/* As the server answers TOPOLOGY GET: what it was told, in its own order. */
static enum plan_verdict ask(const struct topology_plan *plan, size_t node, const char *text,
                             const char *words) {
    struct why why = {""};
    int64_t epoch;
    enum plan_verdict verdict = topology_plan_compare(plan, node, slice_text(text), &epoch, &why);
    if (!strstr(why.text, words)) fail_msg("'%s' is not in: %s", words, why.text);
    return verdict;
}

static void what_was_told_is_the_same_and_anything_else_is_not(void **state) {
    (void)state;
    struct topology_plan *plan = read_plan(THREE, 7), *next = read_plan(THREE, 8);
    struct buf told = {0}, other = {0};
    topology_plan_write(plan, 1, &told);
    const char *text = buf_text(&told);
    assert_non_null(strstr(text, " 10.0.0.2:6400@16400 myself,master - 0 0 6 connected 5461-10922 16383\n"));
    assert_non_null(strstr(text, "vars currentEpoch 7 "));
    assert_int_equal(ask(plan, 1, text, ""), PLAN_SAME);
    assert_int_equal(ask(plan, 0, text, "another one"), PLAN_DIFFERENT); /* of whom it thinks it is */
    assert_int_equal(ask(next, 1, text, ""), PLAN_OLDER);
    assert_int_equal(ask(plan, 1, "vars currentEpoch 9 lastVoteEpoch 0\n", "epoch 9"), PLAN_NEWER);
    assert_int_equal(ask(plan, 1, "vars currentEpoch 7 lastVoteEpoch 0\n", "0 nodes"), PLAN_DIFFERENT);
    assert_int_equal(ask(plan, 1, "", "cannot be read"), PLAN_UNREADABLE);
    assert_int_equal(ask(plan, 1, "vars currentEpoch -1\n", "cannot be read"), PLAN_UNREADABLE);
    assert_int_equal(ask(plan, 1, "vars epoch 1\n", "cannot be read"), PLAN_UNREADABLE);
    buf_add(&other, buf_slice(&told));
    buf_printf(&other, "%040d h:1@2 master - 0 0 0 connected\n", 7);
    assert_int_equal(ask(plan, 1, buf_text(&other), "not in the file"), PLAN_DIFFERENT);
    buf_close(&other);
    plan->owner[100] = 2;
    assert_int_equal(ask(plan, 1, text, "another one"), PLAN_DIFFERENT);
    buf_close(&told);
    mem_free(plan);
    mem_free(next);
}

static void the_own_address_may_be_what_the_node_announces(void **state) {
    (void)state;
    struct topology_plan *plan = read_plan("a h:1 0-16383\nb i:2\n", 1);
    struct topology_plan *moved = read_plan("a announced:1 0-16383\nb i:2\n", 1);
    struct buf told = {0};
    topology_plan_write(moved, 0, &told);
    assert_int_equal(ask(plan, 0, buf_text(&told), ""), PLAN_SAME);
    buf_clear(&told);
    topology_plan_write(moved, 1, &told);
    assert_int_equal(ask(plan, 1, buf_text(&told), "a is another one"), PLAN_DIFFERENT);
    buf_close(&told);
    mem_free(plan);
    mem_free(moved);
}

static void ports_with_tls_stand_behind_the_name(void **state) {
    (void)state;
    struct topology_plan *plan = NULL;
    struct why why;
    struct buf told = {0};
    assert_int_equal(topology_plan_read(SLICE("a h:6400 0-16383"), 1, true, &plan, &why), OK);
    topology_plan_write(plan, 0, &told);
    assert_non_null(strstr(buf_text(&told), " h:0@16400,,tls-port=6400 myself,master - 0 0 0 connected 0-16383\n"));
    assert_int_equal(ask(plan, 0, buf_text(&told), ""), PLAN_SAME);
    buf_close(&told);
    mem_free(plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_have_slots_or_a_master_and_ids_of_their_names),
        cmocka_unit_test(what_is_wrong_is_named_with_its_line),
        cmocka_unit_test(what_was_told_is_the_same_and_anything_else_is_not),
        cmocka_unit_test(the_own_address_may_be_what_the_node_announces),
        cmocka_unit_test(ports_with_tls_stand_behind_the_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

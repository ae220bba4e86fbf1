/* test_slots.c -- who owns which slots: leases, fences, and dealing out. */
#include "state/slots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct slots slots;

static enum slots_step join(const char *name, const char *peer) {
    struct why why;
    return slots_joined(&slots, name, peer, &why);
}

static unsigned owned(const char *name) {
    unsigned at = slot_table_find(&slots.table, slice_text(name));
    return at < slots.table.count ? slot_table_owned(&slots.table, at) : 0;
}

static int begin(void **state) {
    (void)state;
    slots_init(&slots, NULL, 1000);
    return 0;
}

static void the_first_gateway_gets_all_and_the_next_nothing_at_once(void **state) {
    (void)state;
    assert_int_equal(join("a", "unix:a"), SLOTS_CHANGED);
    assert_int_equal(slots.table.version, 1);
    assert_int_equal(owned("a"), 16384);
    assert_int_equal(join("a", "unix:a"), SLOTS_SAME);
    assert_int_equal(join("b", "unix:b"), SLOTS_CHANGED);
    assert_int_equal(owned("a"), 16384);
    assert_int_equal(owned("b"), 0);
}

static void gateways_that_cannot_be_reached_are_alone(void **state) {
    (void)state;
    assert_int_equal(join("a", ""), SLOTS_CHANGED);
    assert_int_equal(join("b", "unix:b"), SLOTS_REFUSED);
    begin(NULL);
    assert_int_equal(join("a", "unix:a"), SLOTS_CHANGED);
    assert_int_equal(join("b", ""), SLOTS_REFUSED);
    assert_int_equal(slots.table.count, 1);
}

static void slots_are_dealt_out_evenly_and_those_who_get_none_keep_theirs(void **state) {
    (void)state;
    static struct slot_table even;
    join("a", "unix:a");
    join("b", "unix:b");
    join("c", "unix:c");
    assert_int_equal(slots_even(&slots, &even), SLOTS_CHANGED);
    assert_int_equal(owned("a"), 16384); /* not before it is taken over */
    for (unsigned i = 0; i < 3; i++) assert_in_range(slot_table_owned(&even, i), 5460, 5462);
    assert_int_equal(even.version, slots.table.version + 1);
    assert_int_equal(even.gateway[0].since, 1);
    assert_int_equal(even.gateway[1].since, even.version);
    slots_take(&slots, &even);
    assert_int_equal(slots_even(&slots, &even), SLOTS_SAME);
}

static void who_leaves_gives_all_that_it_has_to_those_who_stay(void **state) {
    (void)state;
    static struct slot_table even;
    join("a", "unix:a");
    assert_false(slots_leaving(&slots, "a")); /* nobody could have them */
    slots_lost(&slots, "a", 5000);
    join("a", "unix:a");
    join("b", "unix:b");
    join("c", "unix:c");
    slots_even(&slots, &even);
    slots_take(&slots, &even);
    assert_true(slots_leaving(&slots, "a"));
    assert_true(slots_any_leaving(&slots));
    assert_int_equal(join("a", "unix:a"), SLOTS_SAME); /* it reports as ever */
    assert_int_equal(slots_even(&slots, &even), SLOTS_CHANGED);
    assert_int_equal(slot_table_owned(&even, 0), SLOT_CLUSTER_COUNT - 2 * 8192);
    slots_take(&slots, &even);
    assert_int_equal(owned("a"), 0);
    assert_int_equal(slots_even(&slots, &even), SLOTS_SAME); /* it gets nothing back */
    slots_lost(&slots, "a", 5000);
    assert_false(slots_any_leaving(&slots));
    join("a", "unix:a"); /* the next process of this name */
    assert_int_equal(slots_even(&slots, &even), SLOTS_CHANGED);
}

static void a_lost_gateway_keeps_its_slots_until_it_is_known_to_be_gone(void **state) {
    (void)state;
    join("a", "unix:a");
    join("b", "unix:b");
    slots_lost(&slots, "a", 5000);
    assert_null(slots_to_fence(&slots, 5000 + SLOTS_LEASE_MS - 1));
    assert_string_equal(slots_to_fence(&slots, 5000 + SLOTS_LEASE_MS), "a");
    assert_null(slots_to_fence(&slots, 9000)); /* once */
    assert_int_equal(owned("a"), 16384);
    assert_int_equal(join("a", "unix:a"), SLOTS_REFUSED); /* not before the end of it */
    slots_not_gone(&slots, "a", 9000);
    assert_null(slots_to_fence(&slots, 9500));
    assert_string_equal(slots_to_fence(&slots, 10000), "a");
    assert_int_equal(slots_gone(&slots, "a"), SLOTS_CHANGED);
    assert_int_equal(slots.table.count, 1);
    assert_int_equal(owned("b"), 16384);
    assert_int_equal(slots.table.gateway[0].since, slots.table.version);
}

static void one_that_comes_back_in_time_keeps_its_slots(void **state) {
    (void)state;
    join("a", "unix:a");
    join("b", "unix:b");
    uint64_t version = slots.table.version;
    slots_lost(&slots, "a", 5000);
    assert_false(slots_admit(&slots, SLICE("a"), version));
    assert_int_equal(join("a", "unix:a"), SLOTS_SAME);
    assert_true(slots_admit(&slots, SLICE("a"), version));
    assert_null(slots_to_fence(&slots, 50000));
    assert_int_equal(slots.table.version, version);
}

/* It may still go by the table in which it owned them. */
static void one_that_comes_back_late_opens_no_connection_under_its_old_table(void **state) {
    (void)state;
    join("a", "unix:a");
    join("b", "unix:b");
    uint64_t old = slots.table.version;
    slots_lost(&slots, "a", 5000);
    assert_string_equal(slots_to_fence(&slots, 9000), "a");
    assert_false(slots_admit(&slots, SLICE("a"), old));
    slots_gone(&slots, "a");
    assert_false(slots_admit(&slots, SLICE("a"), old));
    assert_int_equal(join("a", "unix:a"), SLOTS_CHANGED);
    assert_false(slots_admit(&slots, SLICE("a"), old));
    assert_false(slots_admit(&slots, SLICE("a"), slots.table.version - 1));
    assert_true(slots_admit(&slots, SLICE("a"), slots.table.version));
    assert_int_equal(owned("a"), 0);
}

static void nobody_is_fenced_for_nobody_and_a_restart_forgets_no_lease(void **state) {
    (void)state;
    static struct slot_table kept;
    join("a", "unix:a");
    slots_lost(&slots, "a", 5000);
    assert_null(slots_to_fence(&slots, 50000)); /* who could have them? */
    kept = slots.table;
    slots_init(&slots, &kept, 60000);
    assert_int_equal(join("b", "unix:b"), SLOTS_CHANGED);
    assert_int_equal(owned("b"), 0);
    assert_null(slots_to_fence(&slots, 60000 + SLOTS_LEASE_MS - 1));
    assert_string_equal(slots_to_fence(&slots, 60000 + SLOTS_LEASE_MS), "a");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_first_gateway_gets_all_and_the_next_nothing_at_once, begin),
        cmocka_unit_test_setup(gateways_that_cannot_be_reached_are_alone, begin),
        cmocka_unit_test_setup(slots_are_dealt_out_evenly_and_those_who_get_none_keep_theirs, begin),
        cmocka_unit_test_setup(who_leaves_gives_all_that_it_has_to_those_who_stay, begin),
        cmocka_unit_test_setup(a_lost_gateway_keeps_its_slots_until_it_is_known_to_be_gone, begin),
        cmocka_unit_test_setup(one_that_comes_back_in_time_keeps_its_slots, begin),
        cmocka_unit_test_setup(one_that_comes_back_late_opens_no_connection_under_its_old_table, begin),
        cmocka_unit_test_setup(nobody_is_fenced_for_nobody_and_a_restart_forgets_no_lease, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

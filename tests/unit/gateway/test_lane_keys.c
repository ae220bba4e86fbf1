/* test_lane_keys.c -- what is not clean, within its bounds (C12, C13a, C14, C20). */
#include "gateway/lane_deadlines.h"
#include "gateway/lane_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct slice name_of(unsigned i, char text[16]) {
    (void)snprintf(text, 16, "key%u", i);
    return slice_text(text);
}

static void test_a_marked_key_is_dirty_until_it_is_copied(void **state) {
    (void)state;
    struct lane_keys k;
    lane_keys_init(&k, &lane_journal_none, 100, 0, 1);
    assert_false(lane_keys_is_dirty(&k, 0, SLICE("a")));
    lane_keys_mark(&k, 0, SLICE("a"), false, 0);
    assert_true(lane_keys_is_dirty(&k, 0, SLICE("a")));
    assert_false(lane_keys_is_dirty(&k, 1, SLICE("a")));
    struct lane_key *key = lane_keys_next(&k, 0, false);
    assert_non_null(key);
    assert_null(lane_keys_next(&k, 0, false));
    assert_true(lane_keys_is_dirty(&k, 0, SLICE("a")));
    lane_keys_copied(&k, key, true, 0);
    assert_false(lane_keys_is_dirty(&k, 0, SLICE("a")));
    assert_int_equal(k.count, 0);
    lane_keys_close(&k);
}

static void test_copies_of_a_hot_key_are_put_off_but_not_in_a_hurry(void **state) {
    (void)state;
    struct lane_keys k;
    lane_keys_init(&k, &lane_journal_none, 100, 0, 1);
    lane_keys_mark(&k, 0, SLICE("hot"), false, 1000);
    lane_keys_mark(&k, 0, SLICE("hot"), false, 2000);
    assert_null(lane_keys_next(&k, 999, false));
    struct lane_key *key = lane_keys_next(&k, 1000, false);
    assert_non_null(key);
    lane_keys_copied(&k, key, false, 5000);
    assert_null(lane_keys_next(&k, 4999, false));
    assert_non_null(lane_keys_next(&k, 1000, true));
    lane_keys_close(&k);
}

static void test_only_marks_from_outside_the_order_make_a_copy_stale(void **state) {
    (void)state;
    struct lane_keys k;
    lane_keys_init(&k, &lane_journal_none, 100, 0, 1);
    lane_keys_mark(&k, 0, SLICE("a"), true, 0);
    struct lane_key *key = lane_keys_next(&k, 0, false);
    uint64_t gen = key->gen;
    lane_keys_mark(&k, 0, SLICE("a"), false, 0);
    assert_int_equal(key->gen, gen);
    lane_keys_mark(&k, 0, SLICE("a"), true, 0);
    assert_int_not_equal(key->gen, gen);
    lane_keys_close(&k);
}

static void test_a_pinned_key_is_not_copied(void **state) {
    (void)state;
    struct lane_keys k;
    lane_keys_init(&k, &lane_journal_none, 100, 0, 1);
    lane_keys_mark(&k, 0, SLICE("a"), false, 0);
    lane_keys_pin(&k, 0, SLICE("a"));
    lane_keys_pin(&k, 0, SLICE("a"));
    assert_null(lane_keys_next(&k, 0, true));
    lane_keys_unpin(&k, 0, SLICE("a"), 0);
    assert_null(lane_keys_next(&k, 0, true));
    lane_keys_unpin(&k, 0, SLICE("a"), 0);
    assert_non_null(lane_keys_next(&k, 0, true));
    lane_keys_close(&k);
}

/* C14: at most one copy a second, but one. */
static void test_a_key_that_is_pinned_again_and_again_is_copied(void **state) {
    (void)state;
    struct lane_keys k;
    lane_keys_init(&k, &lane_journal_none, 100, 0, 1);
    lane_keys_pin(&k, 0, SLICE("hot"));
    lane_keys_unpin(&k, 0, SLICE("hot"), 1000);
    lane_keys_mark(&k, 0, SLICE("other"), false, 1500);
    for (uint64_t now_ms = 100; now_ms < 1000; now_ms += 100) {
        assert_null(lane_keys_next(&k, now_ms, false));
        lane_keys_pin(&k, 0, SLICE("hot"));
        lane_keys_unpin(&k, 0, SLICE("hot"), now_ms + 1000);
    }
    struct lane_key *key = lane_keys_next(&k, 1000, false);
    assert_non_null(key);
    assert_true(slice_equal(lane_key_name(key), SLICE("hot")));
    assert_null(lane_keys_next(&k, 1400, false));
    assert_non_null(lane_keys_next(&k, 1500, false));
    lane_keys_close(&k);
}

static void test_without_room_a_slot_stands_for_its_keys_until_a_pass_ends(void **state) {
    (void)state;
    struct lane_keys k;
    char text[16];
    lane_keys_init(&k, &lane_journal_none, 10, 0, 1);
    for (unsigned i = 0; i < 1000; i++) lane_keys_mark(&k, 0, name_of(i, text), false, 0);
    assert_int_equal(k.count, 10);
    for (unsigned i = 0; i < 1000; i++) assert_true(lane_keys_is_dirty(&k, 0, name_of(i, text)));
    for (struct lane_key *key; (key = lane_keys_next(&k, 0, true)) != NULL;) lane_keys_copied(&k, key, true, 0);
    size_t slots = k.dirty_slot_count;
    assert_true(slots > 900);
    lane_keys_pass_begin(&k);
    lane_keys_mark_slot(&k, slot_cluster(name_of(999, text))); /* again, meanwhile */
    lane_keys_pass_end(&k);
    assert_int_equal(k.dirty_slot_count, 1);
    assert_true(lane_keys_is_dirty(&k, 0, name_of(999, text)));
    lane_keys_close(&k);
}

static void test_a_lane_marks_its_own_slots_only(void **state) {
    (void)state;
    struct lane_keys k;
    lane_keys_init(&k, &lane_journal_none, 10, 1, 4);
    lane_keys_mark_all(&k);
    assert_int_equal(k.dirty_slot_count, LANE_SLOTS / 4);
    lane_keys_close(&k);
}

static void test_deadlines_are_known_or_all_keys_have_one(void **state) {
    (void)state;
    struct lane_deadlines d;
    char text[16];
    lane_deadlines_init(&d, &lane_journal_none, 100);
    for (unsigned i = 0; i < 100; i++) lane_deadlines_set(&d, lane_deadlines_hash(0, name_of(i, text)), 1000 + i, 0);
    assert_int_equal(lane_deadlines_find(&d, lane_deadlines_hash(0, SLICE("key7"))), 1007);
    assert_int_equal(lane_deadlines_find(&d, lane_deadlines_hash(1, SLICE("key7"))), LANE_DEADLINE_NONE);
    lane_deadlines_set(&d, lane_deadlines_hash(0, SLICE("key7")), LANE_DEADLINE_NONE, 0);
    assert_int_equal(lane_deadlines_find(&d, lane_deadlines_hash(0, SLICE("key7"))), LANE_DEADLINE_NONE);
    lane_deadlines_set(&d, lane_deadlines_hash(0, SLICE("x")), 5000, 0);
    lane_deadlines_set(&d, lane_deadlines_hash(0, SLICE("y")), 5000, 1050); /* the oldest fifty may go */
    assert_false(d.lost);
    assert_int_equal(lane_deadlines_find(&d, lane_deadlines_hash(0, SLICE("key8"))), LANE_DEADLINE_NONE);
    assert_int_equal(lane_deadlines_find(&d, lane_deadlines_hash(0, SLICE("key60"))), 1060);
    for (unsigned i = 0; i < 100; i++) lane_deadlines_set(&d, lane_deadlines_hash(2, name_of(i, text)), 9000, 0);
    assert_true(d.lost);
    assert_int_equal(lane_deadlines_find(&d, lane_deadlines_hash(9, SLICE("never seen"))), 1);
    lane_deadlines_close(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_marked_key_is_dirty_until_it_is_copied),
        cmocka_unit_test(test_copies_of_a_hot_key_are_put_off_but_not_in_a_hurry),
        cmocka_unit_test(test_only_marks_from_outside_the_order_make_a_copy_stale),
        cmocka_unit_test(test_a_pinned_key_is_not_copied),
        cmocka_unit_test(test_a_key_that_is_pinned_again_and_again_is_copied),
        cmocka_unit_test(test_without_room_a_slot_stands_for_its_keys_until_a_pass_ends),
        cmocka_unit_test(test_a_lane_marks_its_own_slots_only),
        cmocka_unit_test(test_deadlines_are_known_or_all_keys_have_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_hold.c -- the gateway's part of a barrier: only RELEASE ends a hold, and every loop counts.
 */
#include "gateway/hold.h"

#include "lib/base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct hold_totals one = {.clients = 1, .queued = 2, .outstanding_us = 30};

static void test_a_barrier_from_route_to_release(void **state) {
    (void)state;
    struct hold hold;
    hold_init(&hold, 2, 1000);
    assert_int_equal(hold_on_route(&hold, 5, SIDE_LEGACY), HOLD_DO_ROUTE);
    assert_int_equal(hold_on_route(&hold, 5, SIDE_LEGACY), 0);
    assert_int_equal(hold_on_hold(&hold, SLICE("b"), 5, 100), HOLD_DO_HOLD);
    assert_int_equal(hold_on_loop_held(&hold, hold.round, &one), 0);
    assert_int_equal(hold_on_hold(&hold, SLICE("b"), 5, 101), 0);
    assert_int_equal(hold_on_loop_held(&hold, hold.round, &one), HOLD_DO_REPORT_HELD);
    assert_int_equal(hold.held.clients, 2);
    assert_int_equal(hold.held.outstanding_us, 30);
    assert_int_equal(hold_on_hold(&hold, SLICE("b"), 5, 102), HOLD_DO_REPORT_HELD);
    assert_int_equal(hold_on_release(&hold, SLICE("b"), 6, SIDE_TARGET),
                     HOLD_DO_RELEASE | HOLD_WAIT);
    assert_int_equal(hold_on_release(&hold, SLICE("b"), 6, SIDE_TARGET), HOLD_WAIT);
    assert_int_equal(hold_on_loop_released(&hold, hold.round, &one), 0);
    assert_int_equal(hold_on_loop_released(&hold, hold.round, &one),
                     HOLD_DO_ANSWER | HOLD_DO_REPORT_RELEASED);
    assert_int_equal(hold.epoch, 6);
    assert_int_equal(hold.side, SIDE_TARGET);
    assert_int_equal(hold_on_release(&hold, SLICE("b"), 6, SIDE_TARGET), HOLD_DO_REPORT_RELEASED);
}

static void test_old_epochs_are_refused(void **state) {
    (void)state;
    struct hold hold;
    hold_init(&hold, 1, 1000);
    (void)hold_on_route(&hold, 5, SIDE_LEGACY);
    assert_int_equal(hold_on_route(&hold, 4, SIDE_TARGET), HOLD_STALE);
    assert_int_equal(hold_on_hold(&hold, SLICE("b"), 4, 0), HOLD_STALE);
    assert_int_equal(hold_on_release(&hold, SLICE("b"), 4, SIDE_TARGET), HOLD_STALE);
    assert_int_equal(hold.side, SIDE_LEGACY);
}

static void test_neither_time_nor_a_route_ends_a_hold(void **state) {
    (void)state;
    struct hold hold;
    hold_init(&hold, 1, 1000);
    (void)hold_on_route(&hold, 5, SIDE_LEGACY);
    (void)hold_on_hold(&hold, SLICE("b"), 5, 100);
    assert_int_equal(hold_on_tick(&hold, 1099), 0);
    assert_int_equal(hold_on_tick(&hold, 1100), HOLD_DO_BLACKOUT);
    assert_int_equal(hold_on_tick(&hold, 5000), 0); /* once */
    assert_true(hold_is_held(&hold));
    assert_int_equal(hold_on_route(&hold, 6, SIDE_TARGET), 0);
    assert_true(hold_is_held(&hold));
    assert_int_equal(hold.side, SIDE_LEGACY);
    assert_int_equal(hold_on_release(&hold, SLICE("other"), 6, SIDE_TARGET), 0);
    assert_true(hold_is_held(&hold));
}

/* It was away when its barrier ended, and when another came and went (C24). */
static void test_the_word_of_a_later_barrier_ends_a_hold(void **state) {
    (void)state;
    struct hold hold;
    hold_init(&hold, 1, 1000);
    (void)hold_on_route(&hold, 5, SIDE_LEGACY);
    (void)hold_on_hold(&hold, SLICE("9"), 5, 0);
    (void)hold_on_loop_held(&hold, hold.round, &one);
    assert_int_equal(hold_on_release(&hold, SLICE("8"), 5, SIDE_LEGACY), 0);
    assert_int_equal(hold_on_release(&hold, SLICE("slots"), 5, SIDE_LEGACY), 0);
    assert_true(hold_is_held(&hold));
    assert_int_equal(hold_on_release(&hold, SLICE("10"), 6, SIDE_TARGET), HOLD_DO_RELEASE | HOLD_WAIT);
    assert_int_equal(hold_on_loop_released(&hold, hold.round, &one),
                     HOLD_DO_ANSWER | HOLD_DO_REPORT_RELEASED);
    assert_int_equal(hold.side, SIDE_TARGET);
    assert_string_equal(hold.barrier, "10");
    (void)hold_on_hold(&hold, SLICE("slots"), 6, 0);
    assert_int_equal(hold_on_release(&hold, SLICE("11"), 6, SIDE_TARGET), 0);
    assert_true(hold_is_held(&hold));
}

static void test_a_confirmation_of_an_earlier_hold_does_not_count(void **state) {
    (void)state;
    struct hold hold;
    hold_init(&hold, 1, 1000);
    (void)hold_on_route(&hold, 5, SIDE_LEGACY);
    (void)hold_on_hold(&hold, SLICE("b1"), 5, 0);
    uint64_t first = hold.round;
    (void)hold_on_release(&hold, SLICE("b1"), 5, SIDE_LEGACY); /* aborted before it confirmed */
    (void)hold_on_loop_released(&hold, first, &one);
    assert_int_equal(hold_on_hold(&hold, SLICE("b2"), 5, 0), HOLD_DO_HOLD);
    assert_int_equal(hold_on_loop_held(&hold, first, &one), 0);
    assert_int_equal(hold_on_loop_held(&hold, hold.round, &one), HOLD_DO_REPORT_HELD);
}

static void test_it_can_be_held_before_it_has_a_route(void **state) {
    (void)state;
    struct hold hold;
    hold_init(&hold, 1, 1000);
    assert_int_equal(hold_on_hold(&hold, SLICE("b"), 9, 0), HOLD_DO_HOLD);
    assert_int_equal(hold_on_loop_held(&hold, hold.round, &one), HOLD_DO_REPORT_HELD);
    assert_int_equal(hold_on_release(&hold, SLICE("b"), 9, SIDE_TARGET),
                     HOLD_DO_RELEASE | HOLD_WAIT);
}

/* Any order of messages, also lost and doubled ones: HELD is reported only when every loop of this
 * round confirmed, epochs never go back, and only RELEASE leads from held to serving. */
static void test_any_order_of_messages_keeps_the_promises(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    print_message("SEED=%llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    for (int run = 0; run < 300; run++) {
        struct hold hold;
        hold_init(&hold, 3, 50);
        unsigned missing = 0; /* loops of this round that did not confirm yet */
        uint64_t epoch = 0;
        for (int step = 0; step < 200; step++) {
            bool was_held = hold_is_held(&hold);
            unsigned what = (unsigned)rng_below(&rng, 6);
            uint64_t e = rng_below(&rng, 4) + epoch / 2;
            struct slice barrier = rng_below(&rng, 2) ? SLICE("x") : SLICE("y");
            unsigned todo = 0;
            if (what == 0) todo = hold_on_route(&hold, e, SIDE_LEGACY);
            if (what == 1) todo = hold_on_hold(&hold, barrier, e, (uint64_t)step);
            if (what == 2) todo = hold_on_release(&hold, barrier, e, SIDE_TARGET);
            uint64_t told = hold.round - rng_below(&rng, 2);
            if (what == 3) todo = hold_on_loop_held(&hold, told, &one);
            if (what == 4) todo = hold_on_loop_released(&hold, hold.round, &one);
            if (what == 5) todo = hold_on_tick(&hold, (uint64_t)step);
            if (todo & HOLD_DO_HOLD) missing = 3;
            if (what == 3 && was_held && told == hold.round && missing > 0) missing--;
            if (todo & HOLD_DO_REPORT_HELD) assert_int_equal(missing, 0);
            assert_true(hold.epoch >= epoch);
            epoch = hold.epoch;
            if (was_held && !hold_is_held(&hold)) assert_int_equal(what, 2);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_barrier_from_route_to_release),
        cmocka_unit_test(test_old_epochs_are_refused),
        cmocka_unit_test(test_neither_time_nor_a_route_ends_a_hold),
        cmocka_unit_test(test_the_word_of_a_later_barrier_ends_a_hold),
        cmocka_unit_test(test_a_confirmation_of_an_earlier_hold_does_not_count),
        cmocka_unit_test(test_it_can_be_held_before_it_has_a_route),
        cmocka_unit_test(test_any_order_of_messages_keeps_the_promises),
    };
    return cmocka_run_group_tests_name("hold", tests, NULL, NULL);
}

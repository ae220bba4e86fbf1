/* test_barrier.c -- the order of the barrier's steps, what undoes it where, and what nothing
 * undoes. */
#include "state/barrier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REPLID "0123456789012345678901234567890123456789"

/* Drives a barrier by hand; `todo` is what the last event asked for. */
struct driver {
    struct barrier b;
    struct barrier_todo todo;
    uint64_t now_us;
};

static void step(struct driver *d, struct barrier_event event) {
    event.now_us = d->now_us;
    barrier_step(&d->b, &event, &d->todo);
}

static void tell(struct driver *d, enum barrier_event_kind kind) {
    step(d, (struct barrier_event){.kind = kind});
}
static void gateway(struct driver *d, enum barrier_event_kind kind, const char *name) {
    step(d, (struct barrier_event){.kind = kind, .gateway = name});
}

static size_t asked(const struct driver *d, enum barrier_do kind) {
    size_t count = 0;
    for (size_t i = 0; i < d->todo.count; i++) count += d->todo.actions[i].kind == kind;
    return count;
}

static void init(struct driver *d, bool rehearsal) {
    *d = (struct driver){.now_us = 5000000};
    struct barrier_plan plan = {.from = SIDE_LEGACY,
                                .rehearsal = rehearsal,
                                .max_hold_ms = 500,
                                .epoch = 4,
                                .who = "test",
                                .link_replid = REPLID};
    barrier_init(&d->b);
    gateway(d, BARRIER_EV_GATEWAY_JOINED, "a");
    gateway(d, BARRIER_EV_GATEWAY_JOINED, "b");
    barrier_begin(&d->b, &plan, d->now_us, &d->todo);
    assert_int_equal(asked(d, BARRIER_DO_RECORD_BEGIN), 1);
}

static void place(struct driver *d, int64_t offset) {
    struct barrier_event event = {.kind = BARRIER_EV_PLACE, .place = {REPLID, offset}};
    step(d, event);
}

/* One step further on the way that goes well. False at the end. */
static bool advance(struct driver *d) {
    switch ((enum barrier_step)d->b.sm.state) {
    case BARRIER_BEGINNING:
    case BARRIER_COMMITTING:
    case BARRIER_ENDING:
    case BARRIER_ABORTING: tell(d, BARRIER_EV_RECORDED); return true;
    case BARRIER_PREPARING:
        gateway(d, BARRIER_EV_PREPARED, "a");
        gateway(d, BARRIER_EV_PREPARED, "b");
        return true;
    case BARRIER_HOLDING:
        gateway(d, BARRIER_EV_HELD, "a");
        gateway(d, BARRIER_EV_HELD, "b");
        return true;
    case BARRIER_FENCING: tell(d, BARRIER_EV_FENCED); return true;
    case BARRIER_READING_X: place(d, 100); return true;
    case BARRIER_DRAINING: tell(d, BARRIER_EV_DRAINED); return true;
    case BARRIER_READING_B: place(d, 200); return true;
    case BARRIER_SYNCING: tell(d, BARRIER_EV_SYNCED); return true;
    case BARRIER_COMPARING: tell(d, BARRIER_EV_COMPARED); return true;
    case BARRIER_OPENING: tell(d, BARRIER_EV_OPENED); return true;
    case BARRIER_ACTIVATING: tell(d, BARRIER_EV_ACTIVE); return true;
    case BARRIER_RELEASING:
    case BARRIER_RESTORING:
        gateway(d, BARRIER_EV_RELEASED, "a");
        gateway(d, BARRIER_EV_RELEASED, "b");
        return true;
    case BARRIER_IDLE:
    case BARRIER_DONE:
    case BARRIER_STEPS: return false;
    }
    return false;
}

static void advance_to(struct driver *d, enum barrier_step step_wanted) {
    while (d->b.sm.state != step_wanted) assert_true(advance(d));
}

static void test_the_steps_come_in_the_order_of_c23(void **state) {
    (void)state;
    static const struct {
        enum barrier_step step;
        enum barrier_do asks;
    } order[] = {
        {BARRIER_PREPARING, BARRIER_DO_PREPARE},
        {BARRIER_HOLDING, BARRIER_DO_HOLD},
        {BARRIER_FENCING, BARRIER_DO_FENCE},
        {BARRIER_READING_X, BARRIER_DO_READ_PLACE},
        {BARRIER_DRAINING, BARRIER_DO_DRAIN},
        {BARRIER_READING_B, BARRIER_DO_READ_PLACE},
        {BARRIER_SYNCING, BARRIER_DO_SYNC},
        {BARRIER_COMPARING, BARRIER_DO_COMPARE},
        {BARRIER_COMMITTING, BARRIER_DO_RECORD_COMMIT},
        {BARRIER_OPENING, BARRIER_DO_OPEN_PRIMARY},
        {BARRIER_ACTIVATING, BARRIER_DO_ACTIVATE},
        {BARRIER_RELEASING, BARRIER_DO_RELEASE},
        {BARRIER_ENDING, BARRIER_DO_RECORD_END},
        {BARRIER_DONE, BARRIER_DO_FINISHED},
    };
    struct driver d;
    init(&d, false);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        assert_true(advance(&d));
        assert_int_equal(d.b.sm.state, order[i].step);
        assert_true(asked(&d, order[i].asks) >= 1);
    }
    assert_int_equal(d.b.row.outcome, BARRIER_COMPLETED);
    assert_int_equal(d.b.row.epoch_after, 5);
    assert_true(d.b.row.x.offset == 100 && d.b.row.b.offset == 200);
}

static void test_release_says_the_new_primary_only_after_the_commit(void **state) {
    (void)state;
    struct driver d;
    init(&d, false);
    advance_to(&d, BARRIER_RELEASING);
    assert_int_equal(asked(&d, BARRIER_DO_RELEASE), 2);
    assert_true(d.todo.actions[0].epoch == 5 && d.todo.actions[0].primary == SIDE_TARGET);
    init(&d, true);
    advance_to(&d, BARRIER_RESTORING);
    for (size_t i = 0; i < d.todo.count; i++)
        if (d.todo.actions[i].kind == BARRIER_DO_RELEASE)
            assert_true(d.todo.actions[i].epoch == 4 && d.todo.actions[i].primary == SIDE_LEGACY);
}

static void test_nobody_is_released_before_the_abort_record_is_durable(void **state) {
    (void)state;
    for (unsigned at = BARRIER_PREPARING; at <= BARRIER_COMPARING; at++) {
        struct driver d;
        init(&d, false);
        advance_to(&d, (enum barrier_step)at);
        step(&d, (struct barrier_event){.kind = BARRIER_EV_STOP, .why = "test"});
        assert_int_equal(d.b.sm.state, BARRIER_ABORTING);
        assert_int_equal(asked(&d, BARRIER_DO_RECORD_ABORT), 1);
        assert_int_equal(asked(&d, BARRIER_DO_RELEASE), 0);
        tell(&d, BARRIER_EV_RECORDED);
        assert_int_equal(asked(&d, BARRIER_DO_RELEASE), 2);
        assert_int_equal(asked(&d, BARRIER_DO_UNDRAIN), at >= BARRIER_DRAINING ? 1 : 0);
    }
}

static void test_any_failure_before_the_commit_undoes_it(void **state) {
    (void)state;
    static const enum barrier_event_kind failures[] = {BARRIER_EV_FAILED, BARRIER_EV_LINK_LOST,
                                                       BARRIER_EV_STOP};
    for (unsigned at = BARRIER_PREPARING; at <= BARRIER_COMPARING; at++)
        for (size_t f = 0; f < 3; f++) {
            struct driver d;
            init(&d, false);
            advance_to(&d, (enum barrier_step)at);
            tell(&d, failures[f]);
            assert_int_equal(d.b.sm.state, BARRIER_ABORTING);
            assert_int_equal(d.b.row.epoch_after, 0);
        }
}

static void test_nothing_undoes_it_after_the_commit(void **state) {
    (void)state;
    static const enum barrier_event_kind failures[] = {BARRIER_EV_FAILED, BARRIER_EV_LINK_LOST,
                                                       BARRIER_EV_STOP, BARRIER_EV_TIMER};
    for (unsigned at = BARRIER_OPENING; at <= BARRIER_ENDING; at++)
        for (size_t f = 0; f < 4; f++) {
            struct driver d;
            init(&d, false);
            advance_to(&d, (enum barrier_step)at);
            d.now_us += 60000000;
            tell(&d, failures[f]);
            assert_true(barrier_is_committed(&d.b) || d.b.sm.state == BARRIER_DONE);
            while (advance(&d)) continue;
            assert_int_equal(d.b.row.outcome, BARRIER_COMPLETED);
        }
}

static void test_the_deadline_undoes_it_wherever_it_stands(void **state) {
    (void)state;
    for (unsigned at = BARRIER_FENCING; at <= BARRIER_SYNCING; at++) {
        struct driver d;
        init(&d, false);
        advance_to(&d, (enum barrier_step)at);
        assert_true(d.b.timer_at_ms > 0 && d.b.timer_at_ms <= 5000 + 500);
        d.now_us += 500000;
        tell(&d, BARRIER_EV_TIMER);
        assert_int_equal(d.b.sm.state, BARRIER_ABORTING);
        assert_non_null(strstr(d.b.row.why, "deadline of 500 ms"));
    }
}

static void test_while_the_commit_is_being_written_only_the_ledger_decides(void **state) {
    (void)state;
    struct driver d;
    init(&d, false);
    advance_to(&d, BARRIER_COMMITTING);
    d.now_us += 60000000;
    tell(&d, BARRIER_EV_TIMER);
    tell(&d, BARRIER_EV_LINK_LOST);
    tell(&d, BARRIER_EV_STOP);
    tell(&d, BARRIER_EV_FAILED);
    assert_int_equal(d.b.sm.state, BARRIER_COMMITTING);
    tell(&d, BARRIER_EV_RECORD_FAILED);
    assert_int_equal(d.b.sm.state, BARRIER_ABORTING);
}

static void test_who_does_not_confirm_is_fenced_before_the_offset_is_read(void **state) {
    (void)state;
    struct driver d;
    init(&d, false);
    advance_to(&d, BARRIER_HOLDING);
    gateway(&d, BARRIER_EV_HELD, "a");
    assert_int_equal(d.b.sm.state, BARRIER_HOLDING);
    d.now_us += 250000;
    tell(&d, BARRIER_EV_TIMER);
    assert_int_equal(d.b.sm.state, BARRIER_FENCING);
    assert_int_equal(asked(&d, BARRIER_DO_FENCE), 1);
    assert_int_equal(asked(&d, BARRIER_DO_READ_PLACE), 0);
    assert_true(barrier_is_held(&d.b, "a", 1));
    assert_false(barrier_is_held(&d.b, "b", 1));
    assert_false(barrier_is_held(&d.b, "nobody", 6));
}

static void test_where_fencing_is_forbidden_everybody_has_to_confirm(void **state) {
    (void)state;
    for (int missing = 0; missing < 2; missing++) {
        struct driver d;
        init(&d, false);
        advance_to(&d, BARRIER_HOLDING);
        gateway(&d, BARRIER_EV_HELD, "a");
        if (missing)
            gateway(&d, BARRIER_EV_GATEWAY_LOST, "b"); /* lost is not confirmed */
        else
            gateway(&d, BARRIER_EV_HELD, "b");
        assert_int_equal(d.b.sm.state, BARRIER_FENCING);
        tell(&d, BARRIER_EV_FENCE_REFUSED);
        assert_int_equal(d.b.sm.state, missing ? BARRIER_ABORTING : BARRIER_READING_X);
    }
}

static void test_nobody_opens_a_connection_between_hold_and_release(void **state) {
    (void)state;
    struct driver d;
    init(&d, false);
    assert_true(barrier_admits(&d.b));
    advance_to(&d, BARRIER_HOLDING);
    while (d.b.sm.state != BARRIER_RELEASING) {
        assert_false(barrier_admits(&d.b));
        assert_true(advance(&d));
    }
    assert_true(barrier_admits(&d.b));
}

static void test_a_gateway_that_comes_back_has_confirmed_nothing(void **state) {
    (void)state;
    struct driver d;
    init(&d, false);
    advance_to(&d, BARRIER_HOLDING);
    gateway(&d, BARRIER_EV_HELD, "a");
    gateway(&d, BARRIER_EV_GATEWAY_LOST, "a");
    assert_true(barrier_is_held(&d.b, "a", 1)); /* who held and was cut off holds on (C24) */
    gateway(&d, BARRIER_EV_GATEWAY_JOINED, "a");
    assert_false(barrier_is_held(&d.b, "a", 1)); /* it may be another process */
    assert_int_equal(asked(&d, BARRIER_DO_HOLD), 1);
    gateway(&d, BARRIER_EV_HELD, "b");
    assert_int_equal(d.b.sm.state, BARRIER_HOLDING);
}

static void test_another_history_than_the_link_follows_undoes_it(void **state) {
    (void)state;
    struct driver d;
    init(&d, false);
    advance_to(&d, BARRIER_READING_X);
    step(&d, (struct barrier_event){.kind = BARRIER_EV_PLACE, .place = {"another", 100}});
    assert_int_equal(d.b.sm.state, BARRIER_ABORTING);
}

static void test_dirty_or_different_keys_undo_it(void **state) {
    (void)state;
    struct driver d;
    init(&d, false);
    advance_to(&d, BARRIER_DRAINING);
    step(&d, (struct barrier_event){.kind = BARRIER_EV_DRAINED, .count = 1});
    assert_int_equal(d.b.sm.state, BARRIER_ABORTING);
    init(&d, false);
    advance_to(&d, BARRIER_COMPARING);
    step(&d, (struct barrier_event){.kind = BARRIER_EV_COMPARED, .count = 50, .different = 1});
    assert_int_equal(d.b.sm.state, BARRIER_ABORTING);
}

static void test_a_rehearsal_never_commits(void **state) {
    (void)state;
    struct driver d;
    init(&d, true);
    while (advance(&d)) assert_int_equal(asked(&d, BARRIER_DO_RECORD_COMMIT), 0);
    assert_int_equal(d.b.row.outcome, BARRIER_ABORTED);
    assert_int_equal(d.b.row.epoch_after, 0);
}

static void test_recovery_aborts_what_was_open_and_completes_what_was_committed(void **state) {
    (void)state;
    struct driver d = {.now_us = 1};
    struct barrier_row row = {.id = 9,
                              .from = SIDE_TARGET,
                              .to = SIDE_LEGACY,
                              .epoch_before = 7,
                              .max_hold_ms = 500,
                              .outcome = BARRIER_OPEN};
    barrier_init(&d.b);
    barrier_recover(&d.b, &row, d.now_us, &d.todo);
    assert_int_equal(asked(&d, BARRIER_DO_RECORD_ABORT), 1);
    assert_int_equal(asked(&d, BARRIER_DO_RELEASE), 0);
    gateway(&d, BARRIER_EV_GATEWAY_JOINED, "a");
    assert_int_equal(asked(&d, BARRIER_DO_HOLD), 1); /* it stays held until the record stands */
    tell(&d, BARRIER_EV_RECORDED);
    assert_true(asked(&d, BARRIER_DO_RELEASE) == 1 && asked(&d, BARRIER_DO_UNDRAIN) == 1);
    row.outcome = BARRIER_COMMITTED;
    row.epoch_after = 8;
    d = (struct driver){.now_us = 1};
    barrier_init(&d.b);
    barrier_recover(&d.b, &row, d.now_us, &d.todo);
    assert_int_equal(asked(&d, BARRIER_DO_OPEN_PRIMARY), 1);
    while (advance(&d)) continue;
    assert_int_equal(d.b.row.outcome, BARRIER_COMPLETED);
}

/* ---- only the capture changes (C1) ---- */

static void init_recapture(struct driver *d, enum capture capture) {
    *d = (struct driver){.now_us = 5000000};
    struct barrier_plan plan = {
        .from = SIDE_LEGACY,
        .stays = true,
        .capture_before = capture == CAPTURE_LANE ? CAPTURE_STREAM : CAPTURE_LANE,
        .capture_after = capture,
        .max_hold_ms = 500,
        .epoch = 4,
        .who = "test",
        .link_replid = REPLID};
    if (capture == CAPTURE_STREAM)
        snprintf(plan.next_replid, sizeof plan.next_replid, "%s", REPLID);
    barrier_init(&d->b);
    gateway(d, BARRIER_EV_GATEWAY_JOINED, "a");
    gateway(d, BARRIER_EV_GATEWAY_JOINED, "b");
    barrier_begin(&d->b, &plan, d->now_us, &d->todo);
}

static void test_a_change_of_capture_keeps_the_primary_side(void **state) {
    (void)state;
    for (enum capture capture = CAPTURE_STREAM; capture <= CAPTURE_LANE; capture++) {
        struct driver d;
        init_recapture(&d, capture);
        advance_to(&d, BARRIER_READING_B);
        assert_int_equal(d.todo.actions[0].side, SIDE_LEGACY); /* B is the same side's, behind the drain */
        advance_to(&d, BARRIER_RELEASING);
        assert_int_equal(asked(&d, BARRIER_DO_RELEASE), 2);
        assert_true(d.todo.actions[0].epoch == 5 && d.todo.actions[0].primary == SIDE_LEGACY);
        while (advance(&d)) continue;
        assert_int_equal(d.b.row.outcome, BARRIER_COMPLETED);
        assert_true(d.b.row.from == d.b.row.to && d.b.row.epoch_after == 5);
        assert_true(d.b.row.b.offset == 200 && d.b.row.capture_after == capture);
    }
}

static void test_a_change_of_capture_that_fails_before_the_commit_is_undone(void **state) {
    (void)state;
    for (unsigned at = BARRIER_PREPARING; at <= BARRIER_COMPARING; at++) {
        struct driver d;
        if (at == BARRIER_SYNCING) continue; /* nobody's role changes */
        init_recapture(&d, CAPTURE_STREAM);
        advance_to(&d, (enum barrier_step)at);
        tell(&d, BARRIER_EV_LINK_LOST);
        assert_int_equal(asked(&d, BARRIER_DO_RECORD_ABORT), 1);
        while (advance(&d)) continue;
        assert_true(d.b.row.outcome == BARRIER_ABORTED && d.b.row.epoch_after == 0);
    }
}

static void test_lanes_begin_dirty_so_dirty_keys_do_not_stop_them(void **state) {
    (void)state;
    struct driver d;
    init_recapture(&d, CAPTURE_LANE);
    advance_to(&d, BARRIER_DRAINING);
    step(&d, (struct barrier_event){.kind = BARRIER_EV_DRAINED, .count = 3});
    assert_int_equal(d.b.sm.state, BARRIER_READING_B);
    init_recapture(&d, CAPTURE_STREAM); /* which carries nothing that came before B */
    advance_to(&d, BARRIER_DRAINING);
    step(&d, (struct barrier_event){.kind = BARRIER_EV_DRAINED, .count = 3});
    assert_int_equal(d.b.sm.state, BARRIER_ABORTING);
}

static void test_a_link_that_received_another_history_does_not_take_over(void **state) {
    (void)state;
    struct driver d;
    init_recapture(&d, CAPTURE_STREAM);
    advance_to(&d, BARRIER_READING_B);
    struct barrier_event event = {.kind = BARRIER_EV_PLACE, .place = {"another", 200}};
    step(&d, event);
    assert_int_equal(d.b.sm.state, BARRIER_ABORTING);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_steps_come_in_the_order_of_c23),
        cmocka_unit_test(test_release_says_the_new_primary_only_after_the_commit),
        cmocka_unit_test(test_nobody_is_released_before_the_abort_record_is_durable),
        cmocka_unit_test(test_any_failure_before_the_commit_undoes_it),
        cmocka_unit_test(test_nothing_undoes_it_after_the_commit),
        cmocka_unit_test(test_the_deadline_undoes_it_wherever_it_stands),
        cmocka_unit_test(test_while_the_commit_is_being_written_only_the_ledger_decides),
        cmocka_unit_test(test_who_does_not_confirm_is_fenced_before_the_offset_is_read),
        cmocka_unit_test(test_where_fencing_is_forbidden_everybody_has_to_confirm),
        cmocka_unit_test(test_nobody_opens_a_connection_between_hold_and_release),
        cmocka_unit_test(test_a_gateway_that_comes_back_has_confirmed_nothing),
        cmocka_unit_test(test_another_history_than_the_link_follows_undoes_it),
        cmocka_unit_test(test_dirty_or_different_keys_undo_it),
        cmocka_unit_test(test_a_rehearsal_never_commits),
        cmocka_unit_test(test_a_change_of_capture_keeps_the_primary_side),
        cmocka_unit_test(test_a_change_of_capture_that_fails_before_the_commit_is_undone),
        cmocka_unit_test(test_lanes_begin_dirty_so_dirty_keys_do_not_stop_them),
        cmocka_unit_test(test_a_link_that_received_another_history_does_not_take_over),
        cmocka_unit_test(test_recovery_aborts_what_was_open_and_completes_what_was_committed),
    };
    return cmocka_run_group_tests_name("barrier", tests, NULL, NULL);
}

/* test_workflow.c -- every allowed and every forbidden move; duties from rows alone. */
#include "state/ledger_tables.h"
#include "state/workflow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The map of architecture.md once more, as arrows; what is not here is no move. */
static const struct arrow {
    enum phase from;
    enum workflow_event event;
    enum phase to;
} arrows[] = {
    {PHASE_PLANNED, WORKFLOW_CHECK_PASSED, PHASE_CHECKED},
    {PHASE_CHECKED, WORKFLOW_START, PHASE_COPYING},
    {PHASE_COPYING, WORKFLOW_COPY_DONE, PHASE_FOLLOWING},
    {PHASE_FOLLOWING, WORKFLOW_COPY_AGAIN, PHASE_COPYING},
    {PHASE_LEVEL, WORKFLOW_COPY_AGAIN, PHASE_COPYING},
    {PHASE_FOLLOWING, WORKFLOW_GATES_OPEN, PHASE_LEVEL},
    {PHASE_LEVEL, WORKFLOW_GATES_CLOSED, PHASE_FOLLOWING},
    {PHASE_LEVEL, WORKFLOW_CUTOVER, PHASE_CUTTING_OVER},
    {PHASE_CUTTING_OVER, WORKFLOW_COMMITTED, PHASE_GUARDED},
    {PHASE_CUTTING_OVER, WORKFLOW_BARRIER_ABORTED, PHASE_LEVEL},
    {PHASE_GUARDED, WORKFLOW_ROLLBACK, PHASE_ROLLING_BACK},
    {PHASE_GUARDED, WORKFLOW_COMPLETE, PHASE_COMPLETED},
    {PHASE_ROLLING_BACK, WORKFLOW_COMMITTED, PHASE_LEVEL},
    {PHASE_ROLLING_BACK, WORKFLOW_BARRIER_ABORTED, PHASE_GUARDED},
    {PHASE_PLANNED, WORKFLOW_ABORT, PHASE_ABORTED},
    {PHASE_CHECKED, WORKFLOW_ABORT, PHASE_ABORTED},
    {PHASE_COPYING, WORKFLOW_ABORT, PHASE_ABORTED},
    {PHASE_FOLLOWING, WORKFLOW_ABORT, PHASE_ABORTED},
    {PHASE_LEVEL, WORKFLOW_ABORT, PHASE_ABORTED},
};

static struct workflow in_phase(enum phase phase) {
    bool target = phase == PHASE_GUARDED || phase == PHASE_ROLLING_BACK || phase == PHASE_COMPLETED;
    return (struct workflow){
        .phase = phase, .primary = target ? SIDE_TARGET : SIDE_LEGACY, .epoch = 3};
}

static const struct arrow *find_arrow(enum phase from, enum workflow_event event) {
    for (size_t i = 0; i < sizeof arrows / sizeof *arrows; i++)
        if (arrows[i].from == from && arrows[i].event == event) return &arrows[i];
    return NULL;
}

static const struct workflow_capture streams = {CAPTURE_STREAM, CAPTURE_STREAM, false};

static void test_every_arrow_is_a_move_and_nothing_else_is(void **state) {
    (void)state;
    for (unsigned phase = 0; phase < PHASES; phase++)
        for (unsigned event = 0; event < WORKFLOW_EVENTS; event++) {
            struct workflow w = in_phase((enum phase)phase);
            struct why why = {""};
            enum phase to = PHASES;
            enum workflow_answer answer =
                workflow_decide(&w, (enum workflow_event)event, &to, &why);
            const struct arrow *arrow = find_arrow((enum phase)phase, (enum workflow_event)event);
            if (arrow) {
                assert_int_equal(answer, WORKFLOW_MOVE);
                assert_int_equal(to, arrow->to);
            } else {
                assert_int_not_equal(answer, WORKFLOW_MOVE);
                assert_int_equal(to, PHASES); /* untouched */
                if (answer == WORKFLOW_REFUSE) assert_true(strlen(why.text) > 20);
            }
        }
}

static void test_what_an_operator_may_not_do_is_refused_and_not_ignored(void **state) {
    (void)state;
    static const enum workflow_event events[] = {WORKFLOW_CUTOVER, WORKFLOW_ROLLBACK};
    for (unsigned phase = 0; phase < PHASES; phase++)
        for (size_t i = 0; i < 2; i++) {
            struct workflow w = in_phase((enum phase)phase);
            struct why why;
            enum phase to;
            if (find_arrow((enum phase)phase, events[i])) continue;
            assert_int_equal(workflow_decide(&w, events[i], &to, &why), WORKFLOW_REFUSE);
        }
    struct workflow guarded = in_phase(PHASE_GUARDED);
    struct why why;
    enum phase to;
    assert_int_equal(workflow_decide(&guarded, WORKFLOW_ABORT, &to, &why), WORKFLOW_REFUSE);
    assert_non_null(strstr(why.text, "rollback"));
}

static bool has_duty(const struct duty *duties, size_t count, enum duty_kind kind,
                     enum link_id link) {
    for (size_t i = 0; i < count; i++)
        if (duties[i].kind == kind && duties[i].link == link) return true;
    return false;
}

static void test_duties_follow_from_rows_alone(void **state) {
    (void)state;
    struct barrier_row none = {.outcome = BARRIER_NONE};
    struct barrier_row cutover = {.id = 1,
                                  .from = SIDE_LEGACY,
                                  .to = SIDE_TARGET,
                                  .epoch_before = 1,
                                  .epoch_after = 2,
                                  .outcome = BARRIER_COMPLETED,
                                  .b = {"b", 77}};
    struct barrier_row aborted = {.id = 2,
                                  .from = SIDE_TARGET,
                                  .to = SIDE_LEGACY,
                                  .epoch_before = 2,
                                  .outcome = BARRIER_ABORTED};
    struct duty d[DUTIES_MAX];
    struct workflow w = in_phase(PHASE_PLANNED);
    assert_int_equal(workflow_duties(&w, &streams, &none, &none, d), 0);

    w = in_phase(PHASE_COPYING);
    size_t n = workflow_duties(&w, &streams, &none, &none, d);
    assert_int_equal(n, 1);
    assert_true(has_duty(d, n, DUTY_OPEN_COPY, LINK_FORWARD));

    w = in_phase(PHASE_FOLLOWING);
    n = workflow_duties(&w, &streams, &none, &none, d);
    assert_true(has_duty(d, n, DUTY_OPEN_COPY, LINK_FORWARD) &&
                has_duty(d, n, DUTY_OPEN_STANDBY, LINK_REVERSE));

    w = in_phase(PHASE_GUARDED);
    n = workflow_duties(&w, &streams, &aborted, &cutover, d);
    assert_true(has_duty(d, n, DUTY_ACTIVATE, LINK_REVERSE));
    assert_true(has_duty(d, n, DUTY_UNDRAIN, LINK_REVERSE));
    assert_true(has_duty(d, n, DUTY_OPEN_STANDBY, LINK_FORWARD));
    assert_false(has_duty(d, n, DUTY_OPEN_COPY, LINK_FORWARD));
    for (size_t i = 0; i < n; i++)
        if (d[i].kind == DUTY_ACTIVATE) assert_true(d[i].epoch == 2 && d[i].place.offset == 77);

    w = in_phase(PHASE_COMPLETED);
    n = workflow_duties(&w, &streams, &cutover, &cutover, d);
    assert_true(n == 2 && has_duty(d, n, DUTY_CLOSE, LINK_FORWARD) &&
                has_duty(d, n, DUTY_CLOSE, LINK_REVERSE));
}

static void test_an_abort_before_the_last_commit_is_no_duty_any_more(void **state) {
    (void)state;
    struct barrier_row cutover = {.id = 5,
                                  .from = SIDE_LEGACY,
                                  .to = SIDE_TARGET,
                                  .epoch_before = 1,
                                  .epoch_after = 2,
                                  .outcome = BARRIER_COMPLETED};
    struct duty d[DUTIES_MAX];
    struct workflow w = in_phase(PHASE_GUARDED);
    size_t n = workflow_duties(&w, &streams, &cutover, &cutover, d);
    assert_false(has_duty(d, n, DUTY_UNDRAIN, LINK_REVERSE));
}

static const struct duty *duty_of(const struct duty *duties, size_t count, enum duty_kind kind,
                                  enum link_id link) {
    for (size_t i = 0; i < count; i++)
        if (duties[i].kind == kind && duties[i].link == link) return &duties[i];
    return NULL;
}

/* C1: a side that is followed by lanes has no link; one that will be has one that stands by. */
static void test_links_are_there_where_the_capture_is_a_stream(void **state) {
    (void)state;
    struct barrier_row none = {.outcome = BARRIER_NONE};
    struct workflow_capture lanes = {CAPTURE_LANE, CAPTURE_LANE, false};
    struct workflow_capture guard = {CAPTURE_LANE, CAPTURE_STREAM, false};
    struct workflow_capture attach = {CAPTURE_LANE, CAPTURE_LANE, true};
    struct workflow_capture back = {CAPTURE_STREAM, CAPTURE_LANE, false};
    struct barrier_row cutover = {.id = 1,
                                  .from = SIDE_LEGACY,
                                  .to = SIDE_TARGET,
                                  .capture_before = CAPTURE_LANE,
                                  .capture_after = CAPTURE_STREAM,
                                  .epoch_after = 2,
                                  .outcome = BARRIER_COMPLETED,
                                  .x = {"x", 55},
                                  .b = {"b", 77}};
    struct duty d[DUTIES_MAX];
    struct workflow w = in_phase(PHASE_LEVEL);
    size_t n = workflow_duties(&w, &lanes, &none, &none, d);
    assert_true(n == 2 && duty_of(d, n, DUTY_CLOSE, LINK_FORWARD) &&
                duty_of(d, n, DUTY_CLOSE, LINK_REVERSE));
    n = workflow_duties(&w, &guard, &none, &none, d);
    assert_non_null(duty_of(d, n, DUTY_CLOSE, LINK_FORWARD));
    const struct duty *standby = duty_of(d, n, DUTY_OPEN_STANDBY, LINK_REVERSE);
    assert_true(standby && standby->by_lanes);
    n = workflow_duties(&w, &attach, &none, &none, d);
    standby = duty_of(d, n, DUTY_OPEN_STANDBY, LINK_FORWARD);
    assert_true(standby && standby->by_lanes && duty_of(d, n, DUTY_CLOSE, LINK_REVERSE));
    w = in_phase(PHASE_GUARDED);
    n = workflow_duties(&w, &back, &cutover, &cutover, d);
    standby = duty_of(d, n, DUTY_OPEN_STANDBY, LINK_REVERSE);
    assert_true(standby && standby->by_lanes); /* its target's keys came by lanes until B */
    const struct duty *active = duty_of(d, n, DUTY_ACTIVATE, LINK_REVERSE);
    assert_true(active && active->place.offset == 77);
    assert_non_null(duty_of(d, n, DUTY_CLOSE, LINK_FORWARD));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_arrow_is_a_move_and_nothing_else_is),
        cmocka_unit_test(test_what_an_operator_may_not_do_is_refused_and_not_ignored),
        cmocka_unit_test(test_duties_follow_from_rows_alone),
        cmocka_unit_test(test_links_are_there_where_the_capture_is_a_stream),
        cmocka_unit_test(test_an_abort_before_the_last_commit_is_no_duty_any_more),
    };
    return cmocka_run_group_tests_name("workflow", tests, NULL, NULL);
}

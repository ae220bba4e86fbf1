/* test_gates.c -- unknown blocks, a waiver expires, a rollback is not closed by what it does not
 * need. */
#include "state/gates.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW 1790000000000

static struct gates_input good(void) {
    struct gates_input in = {.now_ms = NOW,
                             .phase = PHASE_FOLLOWING,
                             .primary = SIDE_LEGACY,
                             .epoch = 3,
                             .syncer_here = true,
                             .lag_limit_ms = 200,
                             .audit_age_ms = 3600000,
                             .gateways = 2};
    for (unsigned s = 0; s < SIDES; s++) {
        in.side[s] = (struct gates_side){.reachable = true,
                                         .is_master = true,
                                         .policy_known = true,
                                         .clients_known = true,
                                         .clock_known = true,
                                         .system_memory = INT64_C(8) << 30,
                                         .used_memory = 1 << 20};
        strcpy(in.side[s].policy, "noeviction");
    }
    for (unsigned l = 0; l < LINKS; l++) {
        in.link[l] = (struct gates_link){.known = true,
                                         .following = l == LINK_FORWARD,
                                         .standby = l == LINK_REVERSE,
                                         .copy_done = true,
                                         .way_back = true,
                                         .spool_limit = 1 << 30,
                                         .lag_ms = 5};
        strcpy(in.link[l].state, l == LINK_FORWARD ? "following" : "standby");
    }
    in.audit = (struct audit_row){.id = 1, .ended_ms = NOW - 60000};
    strcpy(in.audit.outcome, "equal");
    return in;
}

static enum gate_id closed_by(const struct gates_input *in) {
    struct gate gates[GATES] = {0};
    gates_evaluate(in, NULL, 0, gates);
    return gates_first_closed(gates);
}

static void test_all_good_is_open(void **state) {
    (void)state;
    struct gates_input in = good();
    assert_int_equal(closed_by(&in), GATES);
}

/* Each change closes the gate beside it, and it alone is the first. */
static void test_each_gate_closes_for_its_own_reason(void **state) {
    (void)state;
#define CLOSES(gate, change)                                                                       \
    do {                                                                                           \
        struct gates_input in = good();                                                            \
        change;                                                                                    \
        assert_int_equal(closed_by(&in), gate);                                                    \
    } while (0)
    CLOSES(GATE_REACHABLE, in.side[1].reachable = false);
    CLOSES(GATE_REACHABLE, in.side[0].loading = true);
    CLOSES(GATE_REACHABLE, in.side[0].is_master = false);
    CLOSES(GATE_CAPTURE, in.link[0].following = false);
    CLOSES(GATE_CAPTURE, strcpy(in.link[0].error, "refused"));
    CLOSES(GATE_CAPTURE, in.link[0].known = false);
    CLOSES(GATE_CAPTURE, in.syncer_here = false);
    CLOSES(GATE_COPY, in.link[0].copy_done = false);
    CLOSES(GATE_LAG, in.link[0].lag_ms = 201);
    CLOSES(GATE_CLEAN, in.link[0].dirty = 1);
    CLOSES(GATE_CLEAN, in.link[0].quarantined = 1);
    CLOSES(GATE_SPOOL, in.link[1].spool_bytes = (1 << 30) / 10 * 9 + 200);
    CLOSES(GATE_AUDIT, in.audit.id = 0);
    CLOSES(GATE_AUDIT, strcpy(in.audit.outcome, "different"));
    CLOSES(GATE_AUDIT, strcpy(in.audit.outcome, "failed"));
    CLOSES(GATE_AUDIT, in.audit.ended_ms = NOW - 3600001);
    CLOSES(GATE_AUDIT, strcpy(in.audit.stale, "evicted"));
    CLOSES(GATE_MEMORY, (in.side[0].used_memory = INT64_C(5) << 30));
    CLOSES(GATE_EVICTION, in.side[0].evicted = 1);
    CLOSES(GATE_EVICTION,
           (in.side[1].max_memory = INT64_C(4) << 30, strcpy(in.side[1].policy, "allkeys-lru")));
    CLOSES(GATE_BYPASS, in.side[0].bypassing = 1);
    CLOSES(GATE_BYPASS, in.side[1].clients_known = false);
    CLOSES(GATE_CLOCK, in.side[1].clock_ms = 1500);
    CLOSES(GATE_CLOCK, in.side[1].clock_known = false);
    CLOSES(GATE_COMMANDS, in.unknown_commands = 1);
    CLOSES(GATE_SCRIPTS, in.scripts_missing = 1);
    CLOSES(GATE_WAY_BACK, in.link[1].standby = false);
    CLOSES(GATE_WAY_BACK, in.link[1].foreign_units = 1);
    CLOSES(GATE_EPOCH, in.gateways_stale = 1);
    CLOSES(GATE_EPOCH, in.pinned_gateway[0] = 'g');
    CLOSES(GATE_EPOCH, in.gateways = 0);
    CLOSES(GATE_EPOCH, in.member_ahead = true);
    CLOSES(GATE_LEDGER, in.ledger_failed = true);
#undef CLOSES
}

/* Capture lane: the gateways are the link, and no syncer is needed. */
static void test_a_legacy_before_5_0_has_no_way_back(void **state) {
    (void)state;
    struct gates_input in = good();
    in.legacy_too_old = true;
    assert_int_equal(closed_by(&in), GATE_WAY_BACK);
    in.primary = SIDE_TARGET; /* then the link itself says what is wrong */
    in.link[0].standby = in.link[1].following = true;
    in.link[0].following = in.link[1].standby = false;
    assert_int_equal(closed_by(&in), GATES);
}

static void test_with_lanes_each_gate_closes_for_its_own_reason(void **state) {
    (void)state;
#define CLOSES(gate, change)                                                                       \
    do {                                                                                           \
        struct gates_input in = good();                                                            \
        in.syncer_here = false;                                                                    \
        in.lanes = (struct gates_lanes){                                                           \
            .used = true, .turnable = true, .gateways = 1, .drain_ms = 250, .hold_ms = 500};       \
        in.next_by_lanes = true;                                                                   \
        change;                                                                                    \
        assert_int_equal(closed_by(&in), gate);                                                    \
    } while (0)
    CLOSES(GATES, (void)0);
    CLOSES(GATES, in.link[0].dirty = 1000); /* what counts is how long they would take */
    CLOSES(GATE_CAPTURE, in.link[0].known = false);
    CLOSES(GATE_CAPTURE, strcpy(in.link[0].error, "gateway g has no lanes to the other side"));
    CLOSES(GATE_COPY, in.link[0].copy_done = false);
    CLOSES(GATE_LAG, in.link[0].lag_ms = 201);
    CLOSES(GATE_CLEAN, in.lanes.drain_ms = 251);
    CLOSES(GATE_CLEAN, in.lanes.failed_keys = 1);
    CLOSES(GATE_CLEAN, in.lanes.functions_refused = true);
    CLOSES(GATE_WAY_BACK, in.lanes.turnable = false);
    CLOSES(GATE_WAY_BACK, in.lanes.cluster = true);
    CLOSES(GATE_EPOCH, in.other_capture[0] = 'g');
#undef CLOSES
}

static void test_a_rollback_is_closed_only_by_what_it_needs(void **state) {
    (void)state;
    struct gates_input in = good();
    in.phase = PHASE_GUARDED;
    in.primary = SIDE_TARGET;
    in.link[LINK_REVERSE].following = true;
    in.link[LINK_REVERSE].standby = false;
    in.audit.id = 0;
    in.side[0].bypassing = 3;
    in.unknown_commands = 2;
    assert_int_equal(closed_by(&in), GATES);
    in.link[LINK_REVERSE].way_back = false;
    assert_int_equal(closed_by(&in), GATE_WAY_BACK);
}

static void test_a_waiver_opens_its_gate_until_it_expires(void **state) {
    (void)state;
    struct gates_input in = good();
    struct gate gates[GATES] = {0};
    struct waiver waiver = {
        .gate = "bypass", .who = "me", .reason = "a batch job", .until_ms = NOW + 1000};
    in.side[0].bypassing = 1;
    gates_evaluate(&in, &waiver, 1, gates);
    assert_true(gates_are_open(gates));
    assert_int_equal(gates[GATE_BYPASS].state, GATE_WAIVED);
    assert_non_null(strstr(gates[GATE_BYPASS].why, "a batch job"));
    in.now_ms = NOW + 1000;
    gates_evaluate(&in, &waiver, 1, gates);
    assert_int_equal(gates_first_closed(gates), GATE_BYPASS);
}

static void test_since_is_the_time_of_the_last_change(void **state) {
    (void)state;
    struct gates_input in = good();
    struct gate gates[GATES] = {0};
    gates_evaluate(&in, NULL, 0, gates);
    in.now_ms += 5000;
    gates_evaluate(&in, NULL, 0, gates);
    assert_int_equal(gates[GATE_LAG].since_ms, NOW);
    in.link[0].lag_ms = 900;
    gates_evaluate(&in, NULL, 0, gates);
    assert_int_equal(gates[GATE_LAG].since_ms, NOW + 5000);
}

static void test_every_gate_has_a_name_that_is_read_back(void **state) {
    (void)state;
    for (unsigned id = 0; id < GATES; id++) {
        enum gate_id back;
        assert_true(gate_parse(gate_name((enum gate_id)id), &back) && back == (enum gate_id)id);
        assert_true(strlen(gate_title((enum gate_id)id)) > 5);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_good_is_open),
        cmocka_unit_test(test_each_gate_closes_for_its_own_reason),
        cmocka_unit_test(test_a_legacy_before_5_0_has_no_way_back),
        cmocka_unit_test(test_with_lanes_each_gate_closes_for_its_own_reason),
        cmocka_unit_test(test_a_rollback_is_closed_only_by_what_it_needs),
        cmocka_unit_test(test_a_waiver_opens_its_gate_until_it_expires),
        cmocka_unit_test(test_since_is_the_time_of_the_last_change),
        cmocka_unit_test(test_every_gate_has_a_name_that_is_read_back),
    };
    return cmocka_run_group_tests_name("gates", tests, NULL, NULL);
}

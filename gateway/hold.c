/* hold.c -- the gateway's part of a barrier, decided without I/O. See hold.h. */
#include "gateway/hold.h"

static const struct sm_rule rules[HOLD_STATES] = {
    [HOLD_UNROUTED] = {"unrouted", SM_TO(HOLD_SERVING) | SM_TO(HOLD_HOLDING)},
    [HOLD_SERVING] = {"serving", SM_TO(HOLD_HOLDING)},
    [HOLD_HOLDING] = {"holding", SM_TO(HOLD_HELD) | SM_TO(HOLD_RELEASING)},
    [HOLD_HELD] = {"held", SM_TO(HOLD_RELEASING)},
    [HOLD_RELEASING] = {"releasing", SM_TO(HOLD_SERVING)},
};

const char *gateway_side_name(enum side side) {
    return side == SIDE_LEGACY ? "legacy" : "target";
}

bool gateway_side_parse(struct slice text, enum side *side) {
    for (unsigned i = 0; i < SIDES; i++) {
        if (!slice_equal_nocase(text, slice_text(gateway_side_name((enum side)i)))) continue;
        *side = (enum side)i;
        return true;
    }
    return false;
}

void hold_init(struct hold *hold, unsigned loops, uint64_t max_blackout_ms) {
    ASSERT(loops > 0);
    *hold = (struct hold){
        .sm = {rules, HOLD_UNROUTED}, .loops = loops, .max_blackout_ms = max_blackout_ms};
}

static void hold_check(const struct hold *hold) {
    ASSERT(hold->waiting <= hold->loops);
    ASSERT(IMPLIES(hold->sm.state == HOLD_HOLDING, hold->waiting > 0));
    ASSERT(IMPLIES(hold->sm.state == HOLD_RELEASING, hold->waiting > 0));
    ASSERT(IMPLIES(hold->sm.state == HOLD_HELD, hold->waiting == 0));
}

static bool is_our_barrier(const struct hold *hold, struct slice barrier) {
    return slice_equal(slice_text(hold->barrier), barrier);
}

/* Ours is over: state says so of it, or of a later one, for which we were away. Barriers have numbers;
 * what else is held for (slots, by hand) ends by its own name. */
static bool is_over(const struct hold *hold, struct slice barrier) {
    int64_t ours = 0, theirs = 0;
    if (is_our_barrier(hold, barrier)) return true;
    return slice_to_int(slice_text(hold->barrier), &ours) && slice_to_int(barrier, &theirs) && theirs > ours;
}

static void set_barrier(struct hold *hold, struct slice barrier) {
    size_t size = barrier.size < HOLD_BARRIER_BYTES ? barrier.size : HOLD_BARRIER_BYTES - 1;
    if (size > 0) memcpy(hold->barrier, barrier.data, size);
    hold->barrier[size] = '\0';
}

/* While something is held a route changes nothing: only RELEASE ends a hold (C24). */
unsigned hold_on_route(struct hold *hold, uint64_t epoch, enum side side) {
    if (epoch < hold->epoch) return HOLD_STALE;
    if (hold->sm.state != HOLD_UNROUTED && hold->sm.state != HOLD_SERVING) return 0;
    bool same = hold->sm.state == HOLD_SERVING && hold->epoch == epoch && hold->side == side;
    hold->epoch = epoch;
    hold->side = side;
    if (hold->sm.state == HOLD_UNROUTED) sm_move(&hold->sm, HOLD_SERVING);
    hold_check(hold);
    return same ? 0 : HOLD_DO_ROUTE;
}

unsigned hold_on_hold(struct hold *hold, struct slice barrier, uint64_t epoch, uint64_t now_ms) {
    if (epoch < hold->epoch) return HOLD_STALE;
    if (hold_is_held(hold)) {
        set_barrier(hold, barrier); /* perhaps a new one, of a state that was started again */
        return hold->sm.state == HOLD_HELD ? HOLD_DO_REPORT_HELD : 0;
    }
    if (hold->sm.state == HOLD_RELEASING) return HOLD_STALE; /* answered only after it is done */
    set_barrier(hold, barrier);
    hold->held = (struct hold_totals){0};
    hold->waiting = hold->loops;
    hold->held_since_ms = now_ms;
    hold->round++;
    hold->blackout = false;
    sm_move(&hold->sm, HOLD_HOLDING);
    hold_check(hold);
    return HOLD_DO_HOLD;
}

unsigned hold_on_release(struct hold *hold, struct slice barrier, uint64_t epoch, enum side side) {
    if (epoch < hold->epoch) return HOLD_STALE;
    if (hold->sm.state == HOLD_RELEASING) return HOLD_WAIT;
    if (!hold_is_held(hold)) { /* again, or after a restart: as a route */
        bool ours = is_our_barrier(hold, barrier);
        unsigned todo = hold_on_route(hold, epoch, side);
        if (!ours) {
            set_barrier(hold, barrier);
            hold->released = (struct hold_totals){0};
        }
        return todo | HOLD_DO_REPORT_RELEASED;
    }
    if (!is_over(hold, barrier)) return 0; /* of an earlier barrier: done long ago */
    set_barrier(hold, barrier);
    hold->epoch = epoch;
    hold->side = side;
    hold->released = (struct hold_totals){0};
    hold->waiting = hold->loops;
    sm_move(&hold->sm, HOLD_RELEASING);
    hold_check(hold);
    return HOLD_DO_RELEASE | HOLD_WAIT;
}

static void add_totals(struct hold_totals *sum, const struct hold_totals *one) {
    sum->clients += one->clients;
    sum->queued += one->queued;
    sum->blocked += one->blocked;
    if (one->outstanding_us > sum->outstanding_us) sum->outstanding_us = one->outstanding_us;
    if (one->held_us_max > sum->held_us_max) sum->held_us_max = one->held_us_max;
}

unsigned hold_on_loop_held(struct hold *hold, uint64_t round, const struct hold_totals *totals) {
    if (hold->sm.state != HOLD_HOLDING || round != hold->round) return 0; /* it crossed a RELEASE */
    add_totals(&hold->held, totals);
    if (--hold->waiting > 0) return 0;
    sm_move(&hold->sm, HOLD_HELD);
    hold_check(hold);
    return HOLD_DO_REPORT_HELD;
}

unsigned hold_on_loop_released(struct hold *hold, uint64_t round,
                               const struct hold_totals *totals) {
    if (hold->sm.state != HOLD_RELEASING || round != hold->round) return 0;
    add_totals(&hold->released, totals);
    if (--hold->waiting > 0) return 0;
    sm_move(&hold->sm, HOLD_SERVING);
    hold_check(hold);
    return HOLD_DO_ANSWER | HOLD_DO_REPORT_RELEASED;
}

unsigned hold_on_tick(struct hold *hold, uint64_t now_ms) {
    if (!hold_is_held(hold) || hold->blackout) return 0;
    if (now_ms - hold->held_since_ms < hold->max_blackout_ms) return 0;
    hold->blackout = true;
    return HOLD_DO_BLACKOUT;
}

/* barrier.c -- hold clients, drain, prove both sides level, change the primary side, release. */
#include "state/barrier.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COMPARE_RESERVE_MS 60 /* of the hold, for the commit and the release after it */
#define COMPLETE_MS 400       /* after the commit the release waits so long for the reverse link */
#define RETRY_MS 50

static const struct sm_rule rules[BARRIER_STEPS] = {
#define TO(s) SM_TO(BARRIER_##s)
    [BARRIER_IDLE] = {"idle", TO(BEGINNING) | TO(ABORTING) | TO(OPENING)},
    [BARRIER_BEGINNING] = {"beginning", TO(PREPARING) | TO(DONE)},
    [BARRIER_PREPARING] = {"preparing", TO(HOLDING) | TO(ABORTING)},
    [BARRIER_HOLDING] = {"holding", TO(FENCING) | TO(ABORTING)},
    [BARRIER_FENCING] = {"fencing", TO(READING_X) | TO(ABORTING)},
    [BARRIER_READING_X] = {"reading-x", TO(DRAINING) | TO(ABORTING)},
    [BARRIER_DRAINING] = {"draining", TO(READING_B) | TO(ABORTING)},
    [BARRIER_READING_B] = {"reading-b", TO(SYNCING) | TO(COMPARING) | TO(COMMITTING) | TO(ABORTING)},
    [BARRIER_SYNCING] = {"syncing", TO(COMPARING) | TO(ABORTING)},
    [BARRIER_COMPARING] = {"comparing", TO(COMMITTING) | TO(ABORTING)},
    [BARRIER_COMMITTING] = {"committing", TO(OPENING) | TO(ABORTING)},
    [BARRIER_OPENING] = {"opening", TO(ACTIVATING)},
    [BARRIER_ACTIVATING] = {"activating", TO(RELEASING)},
    [BARRIER_RELEASING] = {"releasing", TO(ENDING)},
    [BARRIER_ENDING] = {"ending", TO(DONE)},
    [BARRIER_ABORTING] = {"aborting", TO(RESTORING)},
    [BARRIER_RESTORING] = {"restoring", TO(DONE)},
    [BARRIER_DONE] = {"done", 0},
#undef TO
};

const char *barrier_step_name(enum barrier_step step) {
    ASSERT(step < BARRIER_STEPS);
    return rules[step].name;
}

static enum barrier_step at(const struct barrier *b) {
    return (enum barrier_step)b->sm.state;
}

void barrier_check(const struct barrier *b) {
    enum barrier_step step = at(b);
    bool committed = step >= BARRIER_OPENING && step <= BARRIER_ENDING;
    ASSERT(b->gateway_count <= BARRIER_GATEWAYS_MAX);
    ASSERT(IMPLIES(committed, b->row.epoch_after > b->row.epoch_before && !b->row.rehearsal));
    ASSERT(IMPLIES(committed, b->row.outcome >= BARRIER_COMMITTED));
    ASSERT(IMPLIES(step == BARRIER_ABORTING, b->row.outcome == BARRIER_OPEN));
    ASSERT(IMPLIES(step > BARRIER_HOLDING && step<BARRIER_OPENING, b->hold_began_ms> 0));
    ASSERT(IMPLIES(step > BARRIER_IDLE && step < BARRIER_DONE && b->sm.rules,
                   b->row.from != b->row.to || barrier_recaptures(&b->row)));
}

bool barrier_is_open(const struct barrier *b) {
    return at(b) != BARRIER_IDLE && at(b) != BARRIER_DONE;
}

bool barrier_is_committed(const struct barrier *b) {
    return at(b) >= BARRIER_OPENING && at(b) <= BARRIER_ENDING;
}

bool barrier_admits(const struct barrier *b) {
    bool closed =
        (at(b) >= BARRIER_HOLDING && at(b) <= BARRIER_ACTIVATING) || at(b) == BARRIER_ABORTING;
    return !closed;
}

static struct barrier_gateway *find(struct barrier *b, const char *name) {
    for (size_t i = 0; i < b->gateway_count; i++)
        if (strcmp(b->gateways[i].name, name) == 0) return &b->gateways[i];
    return NULL;
}

bool barrier_is_held(const struct barrier *b, const char *name, size_t name_bytes) {
    for (size_t i = 0; i < b->gateway_count; i++) {
        const struct barrier_gateway *g = &b->gateways[i];
        if (strlen(g->name) == name_bytes && memcmp(g->name, name, name_bytes) == 0) return g->held;
    }
    return false;
}

/* ---- actions ---- */

static struct barrier_action *add(struct barrier_todo *todo, enum barrier_do kind) {
    ASSERT(todo->count < BARRIER_ACTIONS_MAX);
    struct barrier_action *action = &todo->actions[todo->count++];
    *action = (struct barrier_action){.kind = kind};
    return action;
}

static void tell(struct barrier *b, struct barrier_todo *todo, enum barrier_do kind,
                 const struct barrier_gateway *g) {
    bool committed = barrier_is_committed(b);
    struct barrier_action *action = add(todo, kind);
    action->gateway = (size_t)(g - b->gateways);
    action->epoch = committed ? b->row.epoch_after : b->row.epoch_before;
    action->primary = committed ? b->row.to : b->row.from;
}

static void tell_all(struct barrier *b, struct barrier_todo *todo, enum barrier_do kind) {
    for (size_t i = 0; i < b->gateway_count; i++)
        if (b->gateways[i].live) tell(b, todo, kind, &b->gateways[i]);
}

static void move(struct barrier *b, enum barrier_step next, uint64_t timer_at_ms) {
    sm_move(&b->sm, next);
    b->timer_at_ms = timer_at_ms;
}

static uint32_t left_ms(const struct barrier *b, uint64_t now_ms) {
    return b->deadline_ms > now_ms ? (uint32_t)(b->deadline_ms - now_ms) : 0;
}

static void measure_hold(struct barrier *b, uint64_t now_us) {
    if (b->hold_began_us) b->row.hold_us = (int64_t)(now_us - b->hold_began_us);
}

/* ---- the way back, before the commit ---- */

static void abort_now(struct barrier *b, struct barrier_todo *todo, uint64_t now_us,
                      const char *why) {
    b->failed_at = at(b);
    snprintf(b->row.why, sizeof b->row.why, "%s", why);
    measure_hold(b, now_us);
    move(b, BARRIER_ABORTING, 0);
    add(todo, BARRIER_DO_RECORD_ABORT);
}

static void finish(struct barrier *b, struct barrier_todo *todo) {
    move(b, BARRIER_DONE, 0);
    add(todo, BARRIER_DO_FINISHED);
}

static bool all_released(const struct barrier *b) {
    for (size_t i = 0; i < b->gateway_count; i++)
        if (b->gateways[i].live && !b->gateways[i].released) return false;
    return true;
}

static void enter_restoring(struct barrier *b, struct barrier_todo *todo, uint64_t now_ms) {
    move(b, BARRIER_RESTORING, now_ms + BARRIER_RELEASE_MS);
    if (b->draining) add(todo, BARRIER_DO_UNDRAIN);
    tell_all(b, todo, BARRIER_DO_RELEASE);
    if (all_released(b)) finish(b, todo);
}

/* ---- the way forward ---- */

static void enter_fencing(struct barrier *b, struct barrier_todo *todo) {
    move(b, BARRIER_FENCING, b->deadline_ms);
    add(todo, BARRIER_DO_FENCE);
}

/* Whom HELD is still awaited from. Who is not connected will be fenced instead. */
static bool all_held(const struct barrier *b) {
    for (size_t i = 0; i < b->gateway_count; i++)
        if (b->gateways[i].live && !b->gateways[i].held) return false;
    return true;
}

static void enter_holding(struct barrier *b, struct barrier_todo *todo, uint64_t now_us) {
    b->hold_began_us = now_us;
    b->hold_began_ms = now_us / 1000;
    b->deadline_ms = b->hold_began_ms + b->row.max_hold_ms;
    move(b, BARRIER_HOLDING, b->hold_began_ms + b->row.max_hold_ms / 2);
    tell_all(b, todo, BARRIER_DO_HOLD);
    if (all_held(b)) enter_fencing(b, todo);
}

static bool all_prepared(const struct barrier *b) {
    for (size_t i = 0; i < b->gateway_count; i++)
        if (b->gateways[i].live && !b->gateways[i].prepared) return false;
    return true;
}

static void enter_preparing(struct barrier *b, struct barrier_todo *todo, uint64_t now_us) {
    move(b, BARRIER_PREPARING, now_us / 1000 + BARRIER_PREPARE_MS);
    tell_all(b, todo, BARRIER_DO_PREPARE);
    if (all_prepared(b)) enter_holding(b, todo, now_us);
}

static void enter_committing(struct barrier *b, struct barrier_todo *todo, uint64_t now_us) {
    if (b->row.rehearsal) {
        char text[REASON_BYTES];
        snprintf(text, sizeof text,
                 "a rehearsal: all was ready to commit %" PRIu64 " ms after the hold began",
                 (now_us - b->hold_began_us) / 1000);
        abort_now(b, todo, now_us, text);
        return;
    }
    b->row.epoch_after = b->row.epoch_before + 1;
    measure_hold(b, now_us);
    move(b, BARRIER_COMMITTING, 0); /* from here on only the ledger knows */
    add(todo, BARRIER_DO_RECORD_COMMIT);
}

static void enter_comparing(struct barrier *b, struct barrier_todo *todo, uint64_t now_us) {
    uint64_t now_ms = now_us / 1000;
    uint32_t left = left_ms(b, now_ms);
    uint32_t budget = left > COMPARE_RESERVE_MS ? (left - COMPARE_RESERVE_MS) / 2 : 0;
    if (budget > b->row.max_hold_ms / 4) budget = b->row.max_hold_ms / 4;
    move(b, BARRIER_COMPARING, now_ms + budget);
    if (budget == 0)
        enter_committing(b, todo, now_us);
    else
        add(todo, BARRIER_DO_COMPARE)->budget_ms = budget;
}

static void enter_opening(struct barrier *b, struct barrier_todo *todo, uint64_t now_ms) {
    move(b, BARRIER_OPENING, now_ms + RETRY_MS);
    b->deadline_ms = now_ms + COMPLETE_MS;
    add(todo, BARRIER_DO_OPEN_PRIMARY);
}

static void enter_activating(struct barrier *b, struct barrier_todo *todo) {
    move(b, BARRIER_ACTIVATING, b->deadline_ms);
    add(todo, BARRIER_DO_ACTIVATE);
}

static void enter_ending(struct barrier *b, struct barrier_todo *todo, uint64_t now_us) {
    measure_hold(b, now_us);
    move(b, BARRIER_ENDING, 0);
    add(todo, BARRIER_DO_RECORD_END);
}

static void enter_releasing(struct barrier *b, struct barrier_todo *todo, uint64_t now_us) {
    move(b, BARRIER_RELEASING, now_us / 1000 + BARRIER_RELEASE_MS);
    tell_all(b, todo, BARRIER_DO_RELEASE);
    if (all_released(b)) enter_ending(b, todo, now_us);
}

/* ---- one function for each step ---- */

static void step_preparing(struct barrier *b, const struct barrier_event *e,
                           struct barrier_todo *todo) {
    if (e->kind == BARRIER_EV_TIMER)
        abort_now(b, todo, e->now_us, "a gateway did not get ready in time; no client was held");
    else if (all_prepared(b))
        enter_holding(b, todo, e->now_us);
}

static void step_holding(struct barrier *b, const struct barrier_event *e,
                         struct barrier_todo *todo) {
    if (all_held(b) || e->kind == BARRIER_EV_TIMER) enter_fencing(b, todo);
}

static void step_fencing(struct barrier *b, const struct barrier_event *e,
                         struct barrier_todo *todo) {
    if (e->kind == BARRIER_EV_FENCE_REFUSED) {
        /* Without the proof of CLIENT LIST every gateway that was ever here has to confirm (C25).
         */
        for (size_t i = 0; i < b->gateway_count; i++) {
            if (b->gateways[i].held) continue;
            char text[REASON_BYTES];
            snprintf(text, sizeof text,
                     "gateway %s did not confirm the hold, and %s forbids to fence it",
                     b->gateways[i].name, side_name(b->row.from));
            abort_now(b, todo, e->now_us, text);
            return;
        }
    } else if (e->kind != BARRIER_EV_FENCED) {
        return;
    }
    b->row.killed = e->kind == BARRIER_EV_FENCED ? e->count : 0;
    move(b, BARRIER_READING_X, b->deadline_ms);
    add(todo, BARRIER_DO_READ_PLACE)->side = b->row.from;
}

static void step_reading_x(struct barrier *b, const struct barrier_event *e,
                           struct barrier_todo *todo) {
    if (e->kind != BARRIER_EV_PLACE) return;
    b->row.x = e->place;
    if (b->link_replid[0] && strcmp(b->link_replid, e->place.replid) != 0) {
        abort_now(b, todo, e->now_us,
                  "the primary side has another replication id than the link follows");
        return;
    }
    move(b, BARRIER_DRAINING, b->deadline_ms);
    b->draining = true;
    add(todo, BARRIER_DO_DRAIN);
}

static void step_draining(struct barrier *b, const struct barrier_event *e,
                          struct barrier_todo *todo) {
    if (e->kind != BARRIER_EV_DRAINED) return;
    bool baseline = barrier_recaptures(&b->row) && b->row.capture_after == CAPTURE_LANE;
    if (e->count > 0 && !baseline) {
        char text[REASON_BYTES];
        snprintf(text, sizeof text, "%" PRId64 " keys could not be made clean within the hold",
                 e->count);
        abort_now(b, todo, e->now_us, text);
        return;
    }
    move(b, BARRIER_READING_B, b->deadline_ms);
    add(todo, BARRIER_DO_READ_PLACE)->side = b->row.to;
}

static void step_reading_b(struct barrier *b, const struct barrier_event *e,
                           struct barrier_todo *todo) {
    if (e->kind != BARRIER_EV_PLACE) return;
    b->row.b = e->place;
    if (b->next_replid[0] && strcmp(b->next_replid, e->place.replid) != 0) {
        abort_now(b, todo, e->now_us,
                  "the side that is primary has another replication id than the link to come has received");
        return;
    }
    if (b->row.from == b->row.to) { /* what it was given, it was not given by us */
        enter_comparing(b, todo, e->now_us);
        return;
    }
    move(b, BARRIER_SYNCING, b->deadline_ms);
    add(todo, BARRIER_DO_SYNC)->budget_ms = left_ms(b, e->now_us / 1000);
}

static void step_comparing(struct barrier *b, const struct barrier_event *e,
                           struct barrier_todo *todo) {
    if (e->kind == BARRIER_EV_TIMER) { /* as far as the deadline allows (C23) */
        enter_committing(b, todo, e->now_us);
        return;
    }
    if (e->kind != BARRIER_EV_COMPARED) return;
    b->row.compared = e->count;
    if (e->different > 0) {
        char text[REASON_BYTES];
        snprintf(text, sizeof text,
                 "%" PRId64 " of %" PRId64 " keys that changed last differ between the sides",
                 e->different, e->count);
        abort_now(b, todo, e->now_us, text);
        return;
    }
    enter_committing(b, todo, e->now_us);
}

static void step_opening(struct barrier *b, const struct barrier_event *e,
                         struct barrier_todo *todo) {
    uint64_t now_ms = e->now_us / 1000;
    if (e->kind == BARRIER_EV_OPENED) {
        enter_activating(b, todo);
    } else if (e->kind == BARRIER_EV_TIMER || e->kind == BARRIER_EV_FAILED) {
        if (now_ms >= b->deadline_ms) { /* it is a duty, and will be done again later */
            snprintf(b->note, sizeof b->note, "%s could not be told of its new role yet",
                     side_name(b->row.to));
            b->deadline_ms = now_ms + COMPLETE_MS;
            enter_activating(b, todo);
        } else {
            b->timer_at_ms = now_ms + RETRY_MS;
            if (e->kind == BARRIER_EV_TIMER) add(todo, BARRIER_DO_OPEN_PRIMARY);
        }
    }
}

static void step_activating(struct barrier *b, const struct barrier_event *e,
                            struct barrier_todo *todo) {
    if (e->kind == BARRIER_EV_LINK_JOINED) {
        add(todo, BARRIER_DO_ACTIVATE);
    } else if (e->kind == BARRIER_EV_FAILED || e->kind == BARRIER_EV_TIMER) {
        /* The change is a fact; the way back is not. Traffic goes on, a gate and an alarm say so.
         */
        snprintf(b->note, sizeof b->note, "the way back is not proved: %.200s",
                 e->why ? e->why : "the link did not confirm in time");
        enter_releasing(b, todo, e->now_us);
    } else if (e->kind == BARRIER_EV_ACTIVE) {
        enter_releasing(b, todo, e->now_us);
    }
}

static void step_recording(struct barrier *b, const struct barrier_event *e,
                           struct barrier_todo *todo) {
    bool ok = e->kind == BARRIER_EV_RECORDED;
    if (!ok && e->kind != BARRIER_EV_RECORD_FAILED) return;
    enum barrier_step step = at(b);
    if (step == BARRIER_BEGINNING) {
        if (ok)
            enter_preparing(b, todo, e->now_us);
        else
            finish(b, todo);
    } else if (step == BARRIER_COMMITTING) {
        if (ok) {
            b->row.outcome = BARRIER_COMMITTED;
            enter_opening(b, todo, e->now_us / 1000);
        } else {
            b->row.epoch_after = 0;
            abort_now(b, todo, e->now_us, e->why ? e->why : "the ledger did not take the commit");
        }
    } else if (step == BARRIER_ABORTING) {
        if (!ok) { /* nobody may be released before it stands there (C24): try again */
            add(todo, BARRIER_DO_RECORD_ABORT);
            return;
        }
        b->row.outcome = BARRIER_ABORTED;
        enter_restoring(b, todo, e->now_us / 1000);
    } else if (ok) {
        b->row.outcome = BARRIER_COMPLETED;
        finish(b, todo);
    } else {
        add(todo, BARRIER_DO_RECORD_END);
    }
}

/* ---- gateways come and go ---- */

static void gateway_joined(struct barrier *b, const struct barrier_event *e,
                           struct barrier_todo *todo) {
    struct barrier_gateway *g = find(b, e->gateway);
    if (!g) {
        if (b->gateway_count == BARRIER_GATEWAYS_MAX)
            return; /* never routed, so it sends nothing */
        g = &b->gateways[b->gateway_count++];
        *g = (struct barrier_gateway){0};
        snprintf(g->name, sizeof g->name, "%s", e->gateway);
    }
    g->live = true;
    g->prepared = g->held = g->released = false; /* it may be another process */
    enum barrier_step step = at(b);
    if (step == BARRIER_PREPARING)
        tell(b, todo, BARRIER_DO_PREPARE, g);
    else if (!barrier_admits(b))
        tell(b, todo, BARRIER_DO_HOLD, g);
    else if (step == BARRIER_RELEASING || step == BARRIER_RESTORING)
        tell(b, todo, BARRIER_DO_RELEASE, g);
}

/* Marks what a gateway said. False: the event is not one of a gateway, or it is not known. */
static bool gateway_event(struct barrier *b, const struct barrier_event *e,
                          struct barrier_todo *todo) {
    if (e->kind == BARRIER_EV_GATEWAY_JOINED) {
        gateway_joined(b, e, todo);
        return true;
    }
    struct barrier_gateway *g = e->gateway ? find(b, e->gateway) : NULL;
    if (!g) return false;
    if (e->kind == BARRIER_EV_PREPARED)
        g->prepared = true;
    else if (e->kind == BARRIER_EV_HELD)
        g->held = true;
    else if (e->kind == BARRIER_EV_RELEASED)
        g->released = true;
    else if (e->kind == BARRIER_EV_GATEWAY_LOST)
        g->live = false;
    return true;
}

static bool before_commit(enum barrier_step step) {
    return step >= BARRIER_PREPARING && step <= BARRIER_COMPARING;
}

/* What undoes the barrier wherever it stands before the commit. NULL: nothing did. */
static const char *undone_by(const struct barrier *b, const struct barrier_event *e) {
    enum barrier_step step = at(b);
    if (!before_commit(step)) return NULL;
    if (e->kind == BARRIER_EV_STOP) return e->why ? e->why : "stopped by hand";
    if (e->kind == BARRIER_EV_LINK_LOST) return e->why ? e->why : "the syncer went away";
    if (e->kind == BARRIER_EV_FAILED) return e->why ? e->why : "a step failed";
    bool held = step >= BARRIER_HOLDING;
    if (held && e->now_us / 1000 >= b->deadline_ms) return "deadline";
    return NULL;
}

static void undo(struct barrier *b, const struct barrier_event *e, struct barrier_todo *todo,
                 const char *reason) {
    char text[REASON_BYTES];
    if (strcmp(reason, "deadline") == 0)
        snprintf(text, sizeof text, "the deadline of %u ms was missed while %s", b->row.max_hold_ms,
                 barrier_step_name(at(b)));
    else
        snprintf(text, sizeof text, "%.200s (while %s)", reason, barrier_step_name(at(b)));
    abort_now(b, todo, e->now_us, text);
}

static void step_event(struct barrier *b, const struct barrier_event *e,
                       struct barrier_todo *todo) {
    switch (at(b)) {
    case BARRIER_BEGINNING:
    case BARRIER_COMMITTING:
    case BARRIER_ABORTING:
    case BARRIER_ENDING: step_recording(b, e, todo); break;
    case BARRIER_PREPARING: step_preparing(b, e, todo); break;
    case BARRIER_HOLDING: step_holding(b, e, todo); break;
    case BARRIER_FENCING: step_fencing(b, e, todo); break;
    case BARRIER_READING_X: step_reading_x(b, e, todo); break;
    case BARRIER_DRAINING: step_draining(b, e, todo); break;
    case BARRIER_READING_B: step_reading_b(b, e, todo); break;
    case BARRIER_SYNCING:
        if (e->kind == BARRIER_EV_SYNCED) enter_comparing(b, todo, e->now_us);
        break;
    case BARRIER_COMPARING: step_comparing(b, e, todo); break;
    case BARRIER_OPENING: step_opening(b, e, todo); break;
    case BARRIER_ACTIVATING: step_activating(b, e, todo); break;
    case BARRIER_RELEASING:
        if (all_released(b) || e->kind == BARRIER_EV_TIMER) enter_ending(b, todo, e->now_us);
        break;
    case BARRIER_RESTORING:
        if (e->kind == BARRIER_EV_LINK_JOINED) add(todo, BARRIER_DO_UNDRAIN);
        if (all_released(b) || e->kind == BARRIER_EV_TIMER) finish(b, todo);
        break;
    case BARRIER_IDLE:
    case BARRIER_DONE:
    case BARRIER_STEPS: break;
    }
}

void barrier_step(struct barrier *b, const struct barrier_event *e, struct barrier_todo *todo) {
    todo->count = 0;
    /* A timer that was replaced meanwhile is none. */
    if (e->kind == BARRIER_EV_TIMER && (b->timer_at_ms == 0 || e->now_us / 1000 < b->timer_at_ms))
        return;
    gateway_event(b, e, todo);
    const char *reason = undone_by(b, e);
    if (reason)
        undo(b, e, todo, reason);
    else
        step_event(b, e, todo);
    barrier_check(b);
}

void barrier_init(struct barrier *b) {
    *b = (struct barrier){.sm = {.rules = rules, .state = BARRIER_IDLE}};
}

void barrier_begin(struct barrier *b, const struct barrier_plan *plan, uint64_t now_us,
                   struct barrier_todo *todo) {
    (void)now_us;
    todo->count = 0;
    b->row = (struct barrier_row){.from = plan->from,
                                  .to = plan->stays ? plan->from : side_other(plan->from),
                                  .capture_before = plan->capture_before,
                                  .capture_after = plan->capture_after,
                                  .rehearsal = plan->rehearsal,
                                  .max_hold_ms = plan->max_hold_ms,
                                  .epoch_before = plan->epoch,
                                  .outcome = BARRIER_OPEN};
    snprintf(b->row.who, sizeof b->row.who, "%s", plan->who);
    snprintf(b->link_replid, sizeof b->link_replid, "%s", plan->link_replid);
    snprintf(b->next_replid, sizeof b->next_replid, "%s", plan->next_replid);
    move(b, BARRIER_BEGINNING, 0);
    add(todo, BARRIER_DO_RECORD_BEGIN);
    barrier_check(b);
}

void barrier_recover(struct barrier *b, const struct barrier_row *row, uint64_t now_us,
                     struct barrier_todo *todo) {
    todo->count = 0;
    b->row = *row;
    b->recovered = true;
    b->draining = true; /* nobody knows; UNDRAIN of what was not drained does no harm */
    if (row->outcome == BARRIER_OPEN) {
        abort_now(b, todo, now_us, "state died in the barrier, before the commit");
    } else {
        ASSERT(row->outcome == BARRIER_COMMITTED);
        enter_opening(b, todo, now_us / 1000);
    }
    barrier_check(b);
}

/* core_barrier.c -- carries out what the barrier's decider says, and tells it what happened. */
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "state/core.h"
#include "state/recapture.h"
#include "state/stop_at.h"

#include <inttypes.h>
#include <stdio.h>

#define ANNOUNCE_MS 5000

static void carry_out(struct core *core, const struct barrier_todo *todo);

static uint64_t now_us(const struct core *core) {
    return clock_mono_us(loop_clock(core->loop));
}

static void on_timer(void *self) {
    core_barrier_event(self, &(struct barrier_event){.kind = BARRIER_EV_TIMER});
}

static void arm_timer(struct core *core) {
    loop_timer_stop(&core->barrier_timer);
    if (!core->barrier.timer_at_ms) return;
    uint64_t now_ms = now_us(core) / 1000, at_ms = core->barrier.timer_at_ms;
    loop_timer_start(core->loop, &core->barrier_timer, at_ms > now_ms ? at_ms - now_ms : 0, 0,
                     on_timer, core);
}

static void log_step(const struct core *core, unsigned before) {
    if (core->barrier.sm.state == before) return;
    log_info("barrier.step", LOG_I("barrier", core->barrier.row.id),
             LOG_S("step", barrier_step_name((enum barrier_step)core->barrier.sm.state)),
             LOG_U("held_us",
                   core->barrier.hold_began_us ? now_us(core) - core->barrier.hold_began_us : 0),
             LOG_S("why", core->barrier.row.why[0] ? core->barrier.row.why : NULL));
}

void core_barrier_event(struct core *core, const struct barrier_event *event) {
    if (core->halted || !barrier_is_open(&core->barrier)) return;
    struct barrier_event copy = *event;
    struct barrier_todo todo;
    unsigned before = core->barrier.sm.state;
    copy.now_us = now_us(core);
    barrier_step(&core->barrier, &copy, &todo);
    log_step(core, before);
    enum barrier_step after = (enum barrier_step)core->barrier.sm.state;
    bool moved = after != before;
    if (moved) stop_at_before(after);
    arm_timer(core);
    carry_out(core, &todo);
    if (moved) stop_at_after(after, core->loop, &core->stop_work);
    /* A timer of this very moment (a budget of 0) is due already. */
    if (core->barrier.timer_at_ms && barrier_is_open(&core->barrier) &&
        !loop_timer_is_running(&core->barrier_timer))
        arm_timer(core);
}

static void event_kind(struct core *core, enum barrier_event_kind kind) {
    core_barrier_event(core, &(struct barrier_event){.kind = kind});
}

/* ---- records ---- */

struct record_job {
    struct store_job job;
    struct core *core;
    enum barrier_do kind;
    int64_t run;
    struct migration migration;
    struct barrier_row row;
    enum phase to_phase;
    char reason[REASON_BYTES];
    struct slot_table slots; /* of a commit that begins with lanes */
};

static bool begins_lanes(const struct record_job *r) {
    return r->kind == BARRIER_DO_RECORD_COMMIT && recapture_begins_lanes(&r->row);
}

static enum err write_commit(struct record_job *r, struct ledger *ledger, struct why *why) {
    enum err err = ledger_commit_barrier(ledger, &r->migration, &r->row, r->to_phase, why);
    if (err || !begins_lanes(r)) return err;
    return ledger_save_slots(ledger, r->migration.id, &r->slots, "the capture is lane now", why);
}

static enum err write_record(struct store_job *job, struct ledger *ledger, struct why *why) {
    struct record_job *r = (struct record_job *)job;
    switch ((int)r->kind) {
    case BARRIER_DO_RECORD_BEGIN:
        return ledger_begin_barrier(ledger, &r->migration, &r->row, r->reason, why);
    case BARRIER_DO_RECORD_COMMIT:
        return write_commit(r, ledger, why);
    case BARRIER_DO_RECORD_ABORT:
        return ledger_abort_barrier(ledger, &r->migration, &r->row, r->to_phase, why);
    case BARRIER_DO_RECORD_END: return ledger_complete_barrier(ledger, &r->row, why);
    default: UNREACHABLE("not a record");
    }
}

/* The ledger has it: what it says now is the truth for everybody. */
static void take_over(struct core *core, const struct record_job *r) {
    core->last = r->row;
    if (r->row.epoch_after) core->committed = r->row;
    core->barrier.row.id = r->row.id;
    core->barrier.row.migration = r->row.migration;
    core->barrier.row.began_ms = r->row.began_ms;
    core->migration = r->migration;
    workflow_move(&core->workflow, r->migration.phase, r->migration.primary, r->migration.epoch);
    if (r->kind == BARRIER_DO_RECORD_COMMIT && barrier_recaptures(&r->row))
        core_recaptured(core, &r->slots);
}

static void record_done(struct store_job *job) {
    struct record_job *r = (struct record_job *)job;
    struct core *core = r->core;
    /* An abort record that cannot be written, or a commit whose outcome is not known: only a new
     * process that reads the ledger can go on (C24). Clients wait meanwhile. */
    bool lost = job->err && (job->commit_failed || r->kind == BARRIER_DO_RECORD_ABORT);
    if (lost) core_halt(core, "barrier", &job->why);
    if (job->err)
        log_error("ledger.failed", LOG_WHY(&job->why));
    else
        take_over(core, r);
    core->moving = false;
    struct barrier_event event = {.kind = job->err ? BARRIER_EV_RECORD_FAILED : BARRIER_EV_RECORDED,
                                  .why = job->err ? job->why.text : NULL};
    core_barrier_event(core, &event);
    mem_free(r);
}

static void record(struct core *core, enum barrier_do kind) {
    struct record_job *r = NEW(struct record_job);
    r->job.work = write_record;
    r->job.done = record_done;
    r->core = core;
    r->kind = kind;
    r->migration = core->migration;
    r->row = core->barrier.row;
    snprintf(r->reason, sizeof r->reason, "%s", core->barrier.note);
    if (kind == BARRIER_DO_RECORD_COMMIT || kind == BARRIER_DO_RECORD_ABORT)
        r->to_phase = recapture_phase(&core->workflow, &r->row, kind == BARRIER_DO_RECORD_COMMIT);
    if (begins_lanes(r)) core_slots_cleared(core, &r->slots);
    core->moving = true;
    store_submit(core->store, &r->job);
}

/* ---- gateways ---- */

static struct member *gateway_of(struct core *core, const struct barrier_action *action) {
    return members_find(core->members, MEMBER_GATEWAY,
                        core->barrier.gateways[action->gateway].name);
}

static void release_answered(void *self, struct member *member, bool ok, struct slice text) {
    struct core *core = self;
    (void)text;
    if (!ok) return;
    member_set_epoch(member, core->workflow.epoch);
    core_barrier_event(core, &(struct barrier_event){.kind = BARRIER_EV_RELEASED,
                                                     .gateway = member_row(member)->name});
}

static void tell_gateway(struct core *core, const struct barrier_action *action) {
    struct member *gateway = gateway_of(core, action);
    if (!gateway) return;
    int64_t id = core->barrier.row.id;
    if (action->kind == BARRIER_DO_PREPARE)
        member_sendf(gateway, NULL, core, "PREPARE %" PRId64 " %s", id,
                     side_name(core->barrier.row.to));
    else if (action->kind == BARRIER_DO_HOLD)
        member_sendf(gateway, NULL, core, "HOLD %" PRId64 " %" PRIu64, id, action->epoch);
    else if (barrier_recaptures(&core->barrier.row))
        member_sendf(gateway, release_answered, core, "RELEASE %" PRId64 " %" PRIu64 " %s %s", id,
                     action->epoch, side_name(action->primary),
                     capture_name(core->migration.capture));
    else
        member_sendf(gateway, release_answered, core, "RELEASE %" PRId64 " %" PRIu64 " %s", id,
                     action->epoch, side_name(action->primary));
}

/* ---- steps at the sides; an answer to an earlier barrier is dropped ---- */

struct wait_side {
    struct core *core;
    int64_t run;
    enum barrier_event_kind done;
};

static void side_answered(void *self, const struct side_result *result) {
    struct wait_side wait = *(struct wait_side *)self;
    mem_free(self);
    if (wait.run != wait.core->barrier_run) return;
    struct barrier_event event = {
        .kind = wait.done, .count = result->count, .place = result->place, .why = result->why};
    if (result->err)
        event.kind = wait.done == BARRIER_EV_FENCED && result->refused ? BARRIER_EV_FENCE_REFUSED
                                                                       : BARRIER_EV_FAILED;
    core_barrier_event(wait.core, &event);
}

static struct wait_side *wait_for(struct core *core, enum barrier_event_kind done) {
    struct wait_side *wait = NEW(struct wait_side);
    *wait = (struct wait_side){core, core->barrier_run, done};
    return wait;
}

static bool keep_gateway(void *self, const char *name, size_t bytes) {
    struct wait_side *wait = self;
    return barrier_is_held(&wait->core->barrier, name, bytes);
}

/* How many of the replicas at the new primary side are our own link's. */
static int64_t own_replicas(const struct core *core) {
    const struct link_report *link = &core->link[link_from(core->barrier.row.to)];
    if (core_capture_of(core, core->barrier.row.to) == CAPTURE_LANE) return 0;
    return link->gate.known && (link->gate.standby || link->gate.following) ? 1 : 0;
}

static void ask_side(struct core *core, const struct barrier_action *action) {
    struct barrier *b = &core->barrier;
    switch ((int)action->kind) {
    case BARRIER_DO_FENCE:
        side_fence(core->side[b->row.from], keep_gateway, side_answered,
                   wait_for(core, BARRIER_EV_FENCED));
        break;
    case BARRIER_DO_READ_PLACE:
        side_read_place(core->side[action->side], side_answered, wait_for(core, BARRIER_EV_PLACE));
        break;
    case BARRIER_DO_SYNC:
        side_sync(core->side[b->row.to], own_replicas(core), action->budget_ms, side_answered,
                  wait_for(core, BARRIER_EV_SYNCED));
        break;
    case BARRIER_DO_OPEN_PRIMARY:
        side_open_primary(core->side[b->row.to], b->row.epoch_after, side_answered,
                          wait_for(core, BARRIER_EV_OPENED));
        break;
    default: UNREACHABLE("not a step at a side");
    }
}

/* ---- links ---- */

static void link_answered(void *self, struct member *member, bool ok, struct slice text) {
    struct core *core = self;
    char why[200];
    if (ok || member_role(member) != MEMBER_SYNCER) return;
    snprintf(why, sizeof why, "syncer: %.*s", (int)(text.size < 180 ? text.size : 180),
             (const char *)text.data);
    core_barrier_event(core, &(struct barrier_event){.kind = BARRIER_EV_FAILED, .why = why});
}

/* In the loop's next turn: a step ends after it has begun. */
static void said(void *self) {
    struct wait_side wait = *(struct wait_side *)self;
    mem_free(self);
    if (wait.run == wait.core->barrier_run) event_kind(wait.core, wait.done);
}

static void say_soon(struct core *core, enum barrier_event_kind kind) {
    bool taken = loop_call(core->loop, said, wait_for(core, kind));
    ASSERT(taken); /* one for each step of a barrier */
}

/* The gateways are the link. RELEASE turns their lanes round, or ends the drain; the keys that
 * changed last are not compared here: the lanes' claim is that none is dirty. */
static void tell_lanes(struct core *core, const struct barrier_action *action) {
    switch ((int)action->kind) {
    case BARRIER_DO_DRAIN: core_lanes_drain(core); break;
    case BARRIER_DO_UNDRAIN: break;
    case BARRIER_DO_COMPARE: say_soon(core, BARRIER_EV_COMPARED); break;
    case BARRIER_DO_ACTIVATE: say_soon(core, BARRIER_EV_ACTIVE); break;
    default: UNREACHABLE("not a step of a link");
    }
}

static void tell_link(struct core *core, const struct barrier_action *action) {
    struct member *syncer = core_syncer(core);
    struct barrier *b = &core->barrier;
    if (core_has_lanes(core)) {
        tell_lanes(core, action);
        return;
    }
    if (!syncer) {
        if (action->kind != BARRIER_DO_UNDRAIN) event_kind(core, BARRIER_EV_LINK_LOST);
        return;
    }
    const char *active = link_name(link_from(b->row.from));
    switch ((int)action->kind) {
    case BARRIER_DO_DRAIN:
        member_sendf(syncer, link_answered, core, "LINK DRAIN %s %" PRId64 " %" PRIu64 " %" PRId64,
                     active, b->row.id, b->row.epoch_before, b->row.x.offset);
        break;
    case BARRIER_DO_UNDRAIN:
        member_sendf(syncer, NULL, core, "LINK UNDRAIN %s %" PRId64, active, b->row.id);
        break;
    case BARRIER_DO_COMPARE:
        member_sendf(syncer, link_answered, core, "LINK COMPARE %s %" PRId64 " %u", active,
                     b->row.id, action->budget_ms);
        break;
    case BARRIER_DO_ACTIVATE:
        member_sendf(syncer, link_answered, core, "LINK ACTIVATE %s %" PRIu64 " %s %" PRId64,
                     link_name(link_from(b->row.to)), b->row.epoch_after, b->row.b.replid,
                     b->row.b.offset);
        break;
    default: UNREACHABLE("not a step of a link");
    }
}

/* ---- the end ---- */

static void finished(struct core *core) {
    struct barrier *b = &core->barrier;
    core->barrier_run++;
    loop_timer_stop(&core->barrier_timer);
    bool committed = b->row.outcome == BARRIER_COMPLETED;
    if (b->hold_began_us) hist_record(&core->holds, (uint64_t)b->row.hold_us);
    log_info("barrier.ended", LOG_I("barrier", b->row.id),
             LOG_S("outcome", barrier_outcome_name(b->row.outcome)),
             LOG_I("hold_us", b->row.hold_us), LOG_S("why", b->row.why[0] ? b->row.why : NULL));
    if (committed && b->note[0]) core_note(core, "barrier.note", "%s", b->note);
    if (committed) core->open_primary_due = b->note[0] != 0;
    core_recapture_over(core);
    for (struct member *m = members_first(core->members, MEMBER_GATEWAY); m; m = members_next(m))
        core_route(core, m);
    core_carry_out_duties(core);
    core_evaluate(core);
}

static void carry_out_one(struct core *core, const struct barrier_action *action) {
    switch (action->kind) {
    case BARRIER_DO_RECORD_BEGIN:
    case BARRIER_DO_RECORD_COMMIT:
    case BARRIER_DO_RECORD_ABORT:
    case BARRIER_DO_RECORD_END: record(core, action->kind); break;
    case BARRIER_DO_PREPARE:
    case BARRIER_DO_HOLD:
    case BARRIER_DO_RELEASE: tell_gateway(core, action); break;
    case BARRIER_DO_FENCE:
    case BARRIER_DO_READ_PLACE:
    case BARRIER_DO_SYNC:
    case BARRIER_DO_OPEN_PRIMARY: ask_side(core, action); break;
    case BARRIER_DO_DRAIN:
    case BARRIER_DO_UNDRAIN:
    case BARRIER_DO_COMPARE:
    case BARRIER_DO_ACTIVATE: tell_link(core, action); break;
    case BARRIER_DO_FINISHED: finished(core); break;
    }
}

/* An action may fail at once and so move the barrier on: then the rest of an old list is void,
 * which the decider's own steps make harmless. */
static void carry_out(struct core *core, const struct barrier_todo *todo) {
    for (size_t i = 0; i < todo->count; i++) carry_out_one(core, &todo->actions[i]);
}

/* ---- reports ---- */

static int64_t number(const json_t *json, const char *name) {
    json_t *value = json_object_get(json, name);
    return json_is_integer(value) ? json_integer_value(value) : 0;
}

static bool is(struct slice word, const char *text) {
    return slice_equal_nocase(word, slice_text(text));
}

static void gateway_report(struct core *core, struct member *member, const struct slice *words,
                           const json_t *json) {
    const char *name = member_row(member)->name;
    struct barrier_event event = {.gateway = name};
    if (is(words[0], "PREPARED"))
        event.kind = BARRIER_EV_PREPARED;
    else if (is(words[0], "HELD"))
        event.kind = BARRIER_EV_HELD;
    else {
        int64_t held_us = number(json, "held_us_max");
        if (held_us > core->felt_us) core->felt_us = held_us;
        return;
    }
    log_debug("barrier.report", LOG_S("gateway", name), LOG_SL("what", words[0]));
    core_barrier_event(core, &event);
}

bool core_barrier_report(struct core *core, struct member *member, const struct slice *words,
                         size_t count, const json_t *json) {
    static const char *const mine[] = {"PREPARED", "HELD",     "RELEASED",
                                       "DRAINED",  "COMPARED", "ACTIVE"};
    bool known = false;
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) known = known || is(words[0], mine[i]);
    if (!known) return false;
    int64_t id = 0;
    bool this_one = count >= 2 && slice_to_int(words[1], &id) && id == core->barrier.row.id;
    if (is(words[0], "ACTIVE")) {
        enum link_id link = count >= 2 && is(words[1], "reverse") ? LINK_REVERSE : LINK_FORWARD;
        if (core->barrier.row.to == link_source(link)) event_kind(core, BARRIER_EV_ACTIVE);
    } else if (!this_one) {
        return true; /* of an earlier barrier */
    } else if (member_role(member) == MEMBER_GATEWAY && is(words[0], "DRAINED")) {
        core_lanes_drained(core, member, id);
    } else if (member_role(member) == MEMBER_GATEWAY) {
        gateway_report(core, member, words, json);
    } else if (is(words[0], "DRAINED")) {
        core_barrier_event(core, &(struct barrier_event){.kind = BARRIER_EV_DRAINED,
                                                         .count = number(json, "dirty") +
                                                                  number(json, "quarantined")});
    } else if (is(words[0], "COMPARED")) {
        core_barrier_event(core, &(struct barrier_event){.kind = BARRIER_EV_COMPARED,
                                                         .count = number(json, "compared"),
                                                         .different = number(json, "different")});
    }
    return true;
}

/* ---- begin, recover ---- */

static void join_gateways(struct core *core) {
    struct barrier_todo todo;
    for (struct member *m = members_first(core->members, MEMBER_GATEWAY); m; m = members_next(m))
        barrier_step(&core->barrier,
                     &(struct barrier_event){.kind = BARRIER_EV_GATEWAY_JOINED,
                                             .gateway = member_row(m)->name},
                     &todo);
}

static enum err may_begin(struct core *core, enum side from, struct why *why) {
    enum phase to;
    enum workflow_event event = from == SIDE_LEGACY ? WORKFLOW_CUTOVER : WORKFLOW_ROLLBACK;
    if (core->moving || barrier_is_open(&core->barrier))
        return why_set(why, ERR_EXISTS, "another step is under way; try again in a moment");
    if (workflow_decide(&core->workflow, event, &to, why) != WORKFLOW_MOVE) return ERR_STATE;
    core_judge_gates(core);
    enum gate_id closed = gates_first_closed(core->gates);
    if (closed < GATES)
        return why_set(why, ERR_STATE, "gate %s is closed: %s, wanted: %s", gate_name(closed),
                       core->gates[closed].observed, core->gates[closed].wanted);
    bool by_link = !core_has_lanes(core) || core_capture_of(core, side_other(from)) == CAPTURE_STREAM;
    if (by_link && !core_syncer(core)) return why_set(why, ERR_STATE, "no syncer is here");
    if (core->admitting) return why_set(why, ERR_STATE, "a gateway is just coming in");
    return OK;
}

static void begin_plan(struct core *core, const struct barrier_plan *plan, const char *reason) {
    struct barrier_todo todo;
    barrier_init(&core->barrier);
    core->barrier_run++;
    core->felt_us = 0;
    join_gateways(core);
    barrier_begin(&core->barrier, plan, now_us(core), &todo);
    snprintf(core->barrier.note, sizeof core->barrier.note, "%s", reason);
    carry_out(core, &todo);
    core->barrier.note[0] = 0;
}

void core_barrier_recapture(struct core *core, enum capture capture, uint32_t max_hold_ms,
                            const struct core_asker *asker) {
    struct barrier_plan plan = {.from = core->workflow.primary,
                                .stays = true,
                                .capture_before = core->migration.capture,
                                .capture_after = capture,
                                .max_hold_ms = max_hold_ms,
                                .epoch = core->workflow.epoch};
    enum link_id active = link_from(core->workflow.primary);
    bool stream = capture == CAPTURE_STREAM;
    snprintf(plan.who, sizeof plan.who, "%s", asker->who);
    snprintf(plan.link_replid, sizeof plan.link_replid, "%s",
             stream ? core->attached.replid : core->link[active].replid);
    snprintf(plan.next_replid, sizeof plan.next_replid, "%s", stream ? core->attached.replid : "");
    begin_plan(core, &plan, asker->reason);
}

static void begin(struct core *core, const struct core_announced *wanted) {
    struct barrier_plan plan = {.from = wanted->from,
                                .capture_before = core->migration.capture,
                                .capture_after = core_capture_of(core, side_other(wanted->from)),
                                .rehearsal = wanted->rehearsal,
                                .max_hold_ms = wanted->max_hold_ms,
                                .epoch = core->workflow.epoch};
    snprintf(plan.who, sizeof plan.who, "%s", wanted->asker.who);
    snprintf(plan.link_replid, sizeof plan.link_replid, "%s",
             core->link[link_from(wanted->from)].replid);
    if (plan.capture_after == CAPTURE_STREAM && core_has_lanes(core))
        snprintf(plan.next_replid, sizeof plan.next_replid, "%s",
                 core->link[link_from(side_other(wanted->from))].replid);
    int64_t before = core->last.id;
    begin_plan(core, &plan, wanted->asker.reason);
    wanted->done(wanted->self, OK, "", json_pack("{s:I}", "after_barrier", (json_int_t)before));
}

/* The announcement of C23: nobody is held yet. A side, a link or a gateway that has just come back
 * may open its gate within a moment; what is not ready then is refused. */
void core_barrier_start(struct core *core, enum side from, bool rehearsal, uint32_t max_hold_ms,
                        const struct core_asker *asker, core_done *done, void *self) {
    struct core_announced wanted = {.done = done,
                                    .self = self,
                                    .from = from,
                                    .rehearsal = rehearsal,
                                    .max_hold_ms = max_hold_ms,
                                    .asker = *asker,
                                    .until_ms = core_now_ms(core) + ANNOUNCE_MS};
    enum phase to;
    struct why why = {""};
    enum workflow_event event = from == SIDE_LEGACY ? WORKFLOW_CUTOVER : WORKFLOW_ROLLBACK;
    bool possible = workflow_decide(&core->workflow, event, &to, &why) == WORKFLOW_MOVE;
    enum err err = may_begin(core, from, &why);
    if (!err)
        begin(core, &wanted);
    else if (err == ERR_STATE && possible && !core->announced.done)
        core->announced = wanted;
    else
        done(self, err, why.text, NULL);
}

void core_barrier_tick(struct core *core) {
    struct core_announced wanted = core->announced;
    struct why why = {""};
    if (!wanted.done) return;
    enum err err = may_begin(core, wanted.from, &why);
    if (err && core_now_ms(core) < wanted.until_ms) return;
    core->announced.done = NULL;
    if (err)
        wanted.done(wanted.self, err, why.text, NULL);
    else
        begin(core, &wanted);
}

void core_barrier_recover(struct core *core) {
    if (core->last.outcome != BARRIER_OPEN && core->last.outcome != BARRIER_COMMITTED) return;
    struct barrier_todo todo;
    barrier_init(&core->barrier);
    core->barrier_run++;
    barrier_recover(&core->barrier, &core->last, now_us(core), &todo);
    log_warn("barrier.recovered", LOG_I("barrier", core->last.id),
             LOG_S("found", barrier_outcome_name(core->last.outcome)),
             LOG_S("does", core->last.outcome == BARRIER_OPEN ? "aborts it" : "completes it"));
    arm_timer(core);
    carry_out(core, &todo);
}

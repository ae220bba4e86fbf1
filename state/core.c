/* core.c -- the running state: open, tick, move from phase to phase. */
#include "state/core.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define TICK_MS 200
#define OPEN_FOR_MS 200 /* gates are open so long before `level` is said */
#define CLOSED_FOR_MS                                                                              \
    1200 /* and closed so long before it is taken back: one late report is no lag */

uint64_t core_now_ms(const struct core *core) {
    return loop_now_ms(core->loop);
}
int64_t core_wall_ms(const struct core *core) {
    return clock_wall_ms(loop_clock(core->loop));
}

/* ---- notes ---- */

struct note_job {
    struct store_job job;
    int64_t migration;
    char kind[32], text[512];
};

static enum err write_note(struct store_job *job, struct ledger *ledger, struct why *why) {
    struct note_job *note = (struct note_job *)job;
    return ledger_note(ledger, note->migration, note->kind, "state", NULL, why, "%s", note->text);
}

static void note_done(struct store_job *job) {
    if (job->err) log_error("ledger.failed", LOG_WHY(&job->why));
    mem_free(job);
}

void core_note(struct core *core, const char *kind, const char *fmt, ...) {
    struct note_job *note = NEW(struct note_job);
    note->job.work = write_note;
    note->job.done = note_done;
    note->migration = core->migration.id;
    snprintf(note->kind, sizeof note->kind, "%s", kind);
    va_list args;
    va_start(args, fmt);
    vsnprintf(note->text, sizeof note->text, fmt, args);
    va_end(args);
    store_submit(core->store, &note->job);
}

static void on_event(void *self, const struct event *event) {
    struct core *core = self;
    core->recent[core->recent_count++ % CORE_RECENT] = *event;
    log_info("ledger.event", LOG_I("seq", event->seq), LOG_S("kind", event->kind),
             LOG_S("who", event->who), LOG_S("text", event->text));
    if (core->on_event) core->on_event(core->feed, event);
}

void core_halt(struct core *core, const char *what, const struct why *why) {
    if (core->halted) return;
    core->halted = true;
    core->exit_code = 1;
    log_error("state.halted", LOG_S("what", what), LOG_WHY(why),
              LOG_S("next", "the next start reads the ledger and goes on from what it says"));
    loop_stop(core->loop);
}

/* ---- moves ---- */

struct move_job {
    struct store_job job;
    struct core *core;
    struct migration migration;
    struct phase_move move;
    core_done *done;
    void *self;
};

static enum err write_move(struct store_job *job, struct ledger *ledger, struct why *why) {
    struct move_job *move = (struct move_job *)job;
    return ledger_move_phase(ledger, &move->migration, &move->move, why);
}

void core_moved(struct core *core, const struct migration *migration) {
    core->migration = *migration;
    workflow_move(&core->workflow, migration->phase, migration->primary, migration->epoch);
    core_carry_out_duties(core);
}

static void move_done(struct store_job *job) {
    struct move_job *move = (struct move_job *)job;
    struct core *core = move->core;
    core->moving = false;
    if (job->err && job->commit_failed)
        core_halt(core, phase_name(move->move.to), &job->why);
    else if (!job->err)
        core_moved(core, &move->migration);
    if (move->done) move->done(move->self, job->err, job->err ? job->why.text : "", NULL);
    mem_free(move);
    core_evaluate(core);
}

void core_move(struct core *core, enum workflow_event event, const struct core_asker *asker,
               core_done *done, void *self) {
    enum phase to;
    struct why why = {""};
    enum err err = OK;
    if (core->moving || barrier_is_open(&core->barrier))
        err = why_set(&why, ERR_EXISTS, "another step is under way; try again in a moment");
    else if (workflow_decide(&core->workflow, event, &to, &why) == WORKFLOW_REFUSE)
        err = ERR_STATE;
    else if (workflow_decide(&core->workflow, event, &to, &why) == WORKFLOW_MOVE) {
        struct move_job *move = NEW(struct move_job);
        move->job.work = write_move;
        move->job.done = move_done;
        move->core = core;
        move->migration = core->migration;
        move->move = (struct phase_move){
            .to = to, .primary = core->workflow.primary, .epoch = core->workflow.epoch};
        for (unsigned s = 0; s < SIDES; s++)
            if (side_facts(core->side[s])->gate.reachable)
                move->move.at[s] = side_facts(core->side[s])->place;
        snprintf(move->move.who, sizeof move->move.who, "%s", asker ? asker->who : "state");
        snprintf(move->move.reason, sizeof move->move.reason, "%s", asker ? asker->reason : "");
        move->done = done;
        move->self = self;
        core->moving = true;
        store_submit(core->store, &move->job);
        return;
    }
    if (done) done(self, err, why.text, NULL);
}

/* ---- what happens by itself ---- */

static void consider_copy(struct core *core) {
    const struct link_report *link = &core->link[link_from(core->workflow.primary)];
    if (!link->gate.known) return;
    bool copying =
        strcmp(link->gate.state, "snapshot") == 0 || strcmp(link->gate.state, "copying") == 0;
    struct core_asker asker = {.who = "state"};
    if (core->workflow.phase == PHASE_COPYING && link->gate.following && link->gate.copy_done) {
        snprintf(asker.reason, sizeof asker.reason, "%" PRId64 " keys are copied", link->copy_keys);
        core_move(core, WORKFLOW_COPY_DONE, &asker, NULL, NULL);
    } else if (copying && !link->gate.copy_done) {
        snprintf(asker.reason, sizeof asker.reason, "the source could not continue; copy %" PRId64,
                 link->copies);
        core_move(core, WORKFLOW_COPY_AGAIN, &asker, NULL, NULL);
    }
}

static void consider_level(struct core *core) {
    uint64_t now_ms = core_now_ms(core);
    bool open = gates_are_open(core->gates);
    if (open && !core->open_since_ms) core->open_since_ms = now_ms;
    if (!open && !core->closed_since_ms) core->closed_since_ms = now_ms;
    if (open)
        core->closed_since_ms = 0;
    else
        core->open_since_ms = 0;
    struct core_asker asker = {.who = "state"};
    if (core->workflow.phase == PHASE_FOLLOWING && open &&
        now_ms - core->open_since_ms >= OPEN_FOR_MS) {
        snprintf(asker.reason, sizeof asker.reason, "every gate is open");
        core_move(core, WORKFLOW_GATES_OPEN, &asker, NULL, NULL);
    } else if (core->workflow.phase == PHASE_LEVEL && !open &&
               now_ms - core->closed_since_ms >= CLOSED_FOR_MS) {
        enum gate_id id = gates_first_closed(core->gates);
        snprintf(asker.reason, sizeof asker.reason, "gate %s: %s", gate_name(id),
                 core->gates[id].observed);
        core_move(core, WORKFLOW_GATES_CLOSED, &asker, NULL, NULL);
    }
}

void core_evaluate(struct core *core) {
    core_judge_gates(core);
    if (core->moving || core->halted || barrier_is_open(&core->barrier)) return;
    consider_copy(core);
    if (!core->moving) consider_level(core);
}

static void primary_opened(void *self, const struct side_result *result) {
    struct core *core = self;
    if (result->err) core->open_primary_due = true;
}

static void tick(void *self) {
    struct core *core = self;
    core_evaluate(core);
    core_capture_tick(core);
    core_audit_tick(core);
    core_reads_tick(core);
    core_slots_tick(core);
    core_discard_standby(core);
    core_barrier_tick(core);
    core_recapture_tick(core);
    if (core->open_primary_due && !barrier_is_open(&core->barrier) &&
        side_facts(core->side[core->workflow.primary])->gate.reachable) {
        core->open_primary_due = false;
        side_open_primary(core->side[core->workflow.primary], core->workflow.epoch, primary_opened,
                          core);
    }
    log_repeats(false);
}

/* ---- open ---- */

static enum err keep_waiver(void *self, const struct waiver *waiver, struct why *why) {
    (void)why;
    struct core *core = self;
    if (core->waiver_count < CORE_WAIVERS_MAX) core->waivers[core->waiver_count++] = *waiver;
    return OK;
}

static enum err keep_gateway(void *self, const struct member_row *row, struct why *why) {
    (void)why;
    struct core *core = self;
    if (strcmp(row->role, "gateway") == 0 && core->gateway_count < BARRIER_GATEWAYS_MAX)
        core->gateways[core->gateway_count++] = *row;
    return OK;
}

static enum err keep_recent(void *self, const struct event *event, struct why *why) {
    (void)why;
    struct core *core = self;
    core->recent[core->recent_count++ % CORE_RECENT] = *event;
    return OK;
}

/* The migration of the file, or a new one. */
static enum err load_migration(struct core *core, struct ledger *ledger, struct why *why) {
    const char *name = core->config->migration;
    if (strlen(name) >= NAME_MAX_BYTES)
        return why_set(why, ERR_CONFIG, "migration: a name has at most %d characters",
                       NAME_MAX_BYTES - 1);
    enum err err = ledger_load_migration(ledger, name, &core->migration, why);
    if (err != ERR_ABSENT) return err;
    core->migration.capture = (enum capture)core->config->gateway.capture;
    err = ledger_begin(ledger, why);
    if (!err) err = ledger_add_migration(ledger, name, &core->migration, why);
    return err ? err : ledger_commit(ledger, why);
}

static enum err load(struct core *core, struct why *why) {
    struct ledger *ledger = store_ledger(core->store);
    enum err err = load_migration(core, ledger, why);
    int64_t id = core->migration.id;
    if (!err) err = ledger_last_barrier(ledger, id, false, &core->last, why);
    if (!err) err = ledger_last_barrier(ledger, id, true, &core->committed, why);
    if (!err) err = ledger_last_audit(ledger, id, true, &core->audit.last, why);
    if (!err) err = ledger_last_audit(ledger, id, false, &core->audit.running, why);
    if (!err) err = ledger_each_waiver(ledger, id, keep_waiver, core, why);
    if (!err) err = ledger_each_member(ledger, keep_gateway, core, why);
    if (!err) err = core_slots_load(core, ledger, why);
    if (!err)
        err = ledger_load_reads(ledger, id, &core->reads.wanted, &core->reads.ordered, why);
    if (!err) err = ledger_load_baseline(ledger, id, core->baseline, why);
    int64_t after = ledger_head(ledger) > CORE_RECENT ? ledger_head(ledger) - CORE_RECENT : 0;
    if (!err) err = ledger_each_event(ledger, after, CORE_RECENT, keep_recent, core, why);
    if (err) return err;
    if (core->audit.running.ended_ms) core->audit.running = (struct audit_row){0};
    core->workflow = (struct workflow){.phase = core->migration.phase,
                                       .primary = core->migration.primary,
                                       .epoch = core->migration.epoch};
    workflow_check(&core->workflow);
    core->open_primary_due = core->workflow.primary == SIDE_TARGET;
    return OK;
}

enum err core_open(struct core *core, struct loop *loop, const struct drawbridge_config *config,
                   struct why *why) {
    *core = (struct core){.config = config, .loop = loop, .alone_since_ms = loop_now_ms(loop)};
    core->recapture.wanted = CAPTURE_AUTO;
    barrier_init(&core->barrier);
    enum err err =
        store_open(&core->store, loop, config->state.ledger, loop_clock(loop), on_event, core, why);
    if (!err) err = load(core, why);
    if (!err)
        err = members_open(&core->members, loop, &config->state.control.endpoint,
                           &core_members_events, core, why);
    if (err) {
        core_close(core);
        return err;
    }
    core->side[SIDE_LEGACY] = side_open(loop, SIDE_LEGACY, &config->legacy);
    core->side[SIDE_TARGET] = side_open(loop, SIDE_TARGET, &config->target);
    err = core_topology_open(core, why);
    if (err) {
        core_close(core);
        return err;
    }
    log_info("state.ready", LOG_S("migration", core->migration.name),
             LOG_S("phase", phase_name(core->workflow.phase)), LOG_U("epoch", core->workflow.epoch),
             LOG_S("primary", side_name(core->workflow.primary)),
             LOG_S("ledger", config->state.ledger));
    core_barrier_recover(core);
    core_capture_tick(core);
    loop_timer_start(loop, &core->tick, TICK_MS, TICK_MS, tick, core);
    return OK;
}

void core_close(struct core *core) {
    loop_timer_stop(&core->tick);
    loop_timer_stop(&core->barrier_timer);
    members_close(core->members);
    core->members = NULL;
    if (core->announced.done)
        core->announced.done(core->announced.self, ERR_STOPPED, "state is ending", NULL);
    if (core->recapture.done)
        core->recapture.done(core->recapture.self, ERR_STOPPED, "state is ending", NULL);
    if (core->audit.wait_done)
        core->audit.wait_done(core->audit.wait_self, ERR_STOPPED, "state is ending", NULL);
    store_close(core->store);
    for (unsigned s = 0; s < SIDES; s++) side_close(core->side[s]);
    topology_push_close(core->topology);
    for (unsigned l = 0; l < LINKS; l++) json_decref(core->link[l].json);
    json_decref(core->attached.json);
    json_decref(core->prepared);
    core_lanes_close(core);
    core_audit_lanes_forget(core);
}

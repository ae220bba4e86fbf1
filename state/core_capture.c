/* core_capture.c -- which capture the migration has: chosen once, in the ledger, before anybody is
 * routed (C1).
 *
 * The file says stream or lane, or leaves it to legacy (auto: stream where PSYNC is given out).
 * While the migration is only planned, the file may still be changed. Later a change in the file
 * changes nothing, and is told: that is a barrier, and a verb of its own (core_recapture.c).
 */
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "state/core.h"
#include "state/preflight.h"

#include <stdio.h>

#define ASK_AGAIN_MS 2000

/* ---- into the ledger ---- */

struct choose_job {
    struct store_job job;
    struct core *core;
    struct migration migration;
    enum capture capture;
    char reason[REASON_BYTES];
    core_done *done;
    void *self;
};

static enum err write_choice(struct store_job *job, struct ledger *ledger, struct why *why) {
    struct choose_job *c = (struct choose_job *)job;
    return ledger_choose_capture(ledger, &c->migration, c->capture, c->reason, why);
}

static void choice_written(struct store_job *job) {
    struct choose_job *c = (struct choose_job *)job;
    struct core *core = c->core;
    core->moving = false;
    if (job->err && job->commit_failed) core_halt(core, "capture", &job->why);
    if (!job->err) {
        core->migration = c->migration;
        for (struct member *m = members_first(core->members, MEMBER_GATEWAY); m;
             m = members_next(m))
            core_route(core, m);
    }
    if (c->done) c->done(c->self, job->err, job->err ? job->why.text : "", NULL);
    mem_free(c);
    core_evaluate(core);
}

void core_choose_capture(struct core *core, enum capture capture, const char *reason,
                         core_done *done, void *self) {
    ASSERT(!core->moving);
    struct choose_job *c = NEW(struct choose_job);
    c->job.work = write_choice;
    c->job.done = choice_written;
    c->core = core;
    c->migration = core->migration;
    c->capture = capture;
    snprintf(c->reason, sizeof c->reason, "%s", reason);
    c->done = done;
    c->self = self;
    core->moving = true;
    store_submit(core->store, &c->job);
}

/* ---- legacy is asked ---- */

struct question {
    uv_work_t work; /* first: libuv gives it back */
    struct core *core;
    enum capture capture;
    char reason[REASON_BYTES];
};

static void ask(uv_work_t *work) {
    struct question *q = (struct question *)work;
    q->capture = preflight_choose(q->core->config, q->reason, sizeof q->reason);
}

static bool is_undecided(const struct core *core) {
    return core->migration.capture == CAPTURE_AUTO && core->workflow.phase == PHASE_PLANNED &&
           !core->moving && !core->halted;
}

static void answered(uv_work_t *work, int status) {
    struct question *q = (struct question *)work;
    struct core *core = q->core;
    core->starting--;
    core->capture_asked_ms = core_now_ms(core);
    core->capture_asking = false;
    if (status == 0 && q->capture == CAPTURE_AUTO)
        log_warn("capture.undecided", LOG_S("why", q->reason));
    else if (status == 0 && is_undecided(core))
        core_choose_capture(core, q->capture, q->reason, NULL, NULL);
    mem_free(q);
}

void core_capture_tick(struct core *core) {
    enum capture wanted = (enum capture)core->config->gateway.capture;
    bool planned = core->workflow.phase == PHASE_PLANNED && !core->moving && !core->halted;
    if (planned && wanted != CAPTURE_AUTO && wanted != core->migration.capture) {
        core_choose_capture(core, wanted, "gateway.capture says so", NULL, NULL);
        return;
    }
    bool asked = core->capture_asked_ms != 0 &&
                 core_now_ms(core) - core->capture_asked_ms < ASK_AGAIN_MS;
    if (!is_undecided(core) || core->capture_asking || asked) return;
    struct question *q = NEW(struct question);
    q->core = core;
    core->capture_asking = true;
    core->starting++;
    if (uv_queue_work(loop_uv(core->loop), &q->work, ask, answered) == 0) return;
    core->capture_asking = false;
    core->starting--;
    mem_free(q);
}

/* ---- told ---- */

const char *core_capture_note(const struct core *core) {
    enum capture wanted = (enum capture)core->config->gateway.capture;
    if (core->migration.capture == CAPTURE_AUTO)
        return "capture is not chosen yet: legacy has not answered";
    if (wanted != CAPTURE_AUTO && wanted != core->migration.home &&
        core->workflow.phase != PHASE_PLANNED)
        return wanted == CAPTURE_LANE
                   ? "gateway.capture says lane, and this migration runs with stream: drawbridge capture lane changes it"
                   : "gateway.capture says stream, and this migration runs with lane: drawbridge capture stream changes it";
    return preflight_promise(core->migration.capture);
}

/* core_start.c -- `start`: the preflight check in a helper thread, then the first two moves. */
#include "lib/base/mem.h"
#include "state/core.h"
#include "state/preflight.h"

#include <stdio.h>

struct start {
    uv_work_t work; /* first: libuv gives it back */
    struct core *core;
    struct core_asker asker;
    core_done *done;
    void *self;
    struct preflight preflight;
    char baseline[BASELINE_BYTES];
};

static void give(struct start *start, enum err err, const char *why) {
    json_t *result = json_pack("{s:o}", "findings", preflight_json(&start->preflight));
    if (err && !preflight_passed(&start->preflight)) /* `start` again would fail again */
        json_object_set_new(result, "next_steps",
                            json_pack("[s]", "fix what failed, then drawbridge check"));
    start->done(start->self, err, why, result);
    mem_free(start);
}

static void started(void *self, enum err err, const char *why, json_t *result) {
    json_decref(result);
    give(self, err, why);
}

static void checked(void *self, enum err err, const char *why, json_t *result) {
    struct start *start = self;
    json_decref(result);
    if (err)
        give(start, err, why);
    else
        core_move(start->core, WORKFLOW_START, &start->asker, started, start);
}

static void chosen(void *self, enum err err, const char *why, json_t *result) {
    struct start *start = self;
    struct core_asker asker = {.who = "state", .reason = "the preflight check passed"};
    json_decref(result);
    if (err)
        give(start, err, why);
    else
        core_move(start->core, WORKFLOW_CHECK_PASSED, &asker, checked, start);
}

/* The capture is chosen, the gateways are told where the copy comes from, and it begins. */
static void go(struct start *start) {
    struct core *core = start->core;
    enum capture capture = core->migration.capture;
    if (core->moving) {
        give(start, ERR_EXISTS, "another step is under way; try again in a moment");
        return;
    }
    if (capture == CAPTURE_AUTO) capture = start->preflight.capture;
    if (capture == CAPTURE_LANE) core_baseline_set(core, start->baseline, start->asker.who);
    if (core->migration.capture != CAPTURE_AUTO)
        chosen(start, OK, "", NULL);
    else
        core_choose_capture(core, capture, "the preflight check says so", chosen, start);
}

static void baseline_asked(void *self, const char *why, bool there) {
    struct start *start = self;
    struct preflight *p = &start->preflight;
    char text[400];
    if (why[0]) {
        snprintf(text, sizeof text, "--baseline: %.350s", why);
        give(start, ERR_STATE, text);
        return;
    }
    if (p->count < FINDINGS_MAX) {
        struct finding *f = &p->findings[p->count++];
        *f = (struct finding){.level = there ? FINDING_WARN : FINDING_NOTE, .id = "baseline"};
        snprintf(f->text, sizeof f->text, "the gateways %s %.200s",
                 there ? "see a file there already, which is older than their recording: " : "wait for",
                 start->baseline);
        snprintf(f->fix, sizeof f->fix,
                 "drawbridge status says since when it may have been begun; make it then (BGSAVE, an "
                 "export), and put it there whole, by a rename");
    }
    go(start);
}

/* How the copy is made depends on the capture, which the check has found. */
static void ask_baseline(struct start *start) {
    enum capture capture = start->core->migration.capture;
    if (capture == CAPTURE_AUTO) capture = start->preflight.capture;
    if (start->baseline[0] == '\0') {
        go(start);
    } else if (capture != CAPTURE_LANE) {
        give(start, ERR_CONFIG,
             "--baseline is for capture lane; with capture stream the copy is the snapshot that legacy "
             "gives with PSYNC: start without it, or set gateway.capture: lane");
    } else if (start->preflight.cluster) {
        give(start, ERR_CONFIG,
             "--baseline: legacy is a Cluster, and one file has one node's keys: start without it, and "
             "all nodes are listed");
    } else {
        core_baseline_ask(start->core, start->baseline, baseline_asked, start);
    }
}

static void run_check(uv_work_t *work) {
    struct start *start = (struct start *)work;
    preflight_run(start->core->config, true, &start->preflight);
}

static void check_done(uv_work_t *work, int status) {
    struct start *start = (struct start *)work;
    start->core->starting--;
    if (status != 0) {
        give(start, ERR_STOPPED, "state is ending");
        return;
    }
    const struct preflight *p = &start->preflight;
    if (!preflight_passed(p)) {
        char text[512] = "the preflight check failed";
        for (size_t i = 0; i < p->count; i++) {
            if (p->findings[i].level != FINDING_FAIL) continue;
            snprintf(text, sizeof text, "the preflight check failed: %s", p->findings[i].text);
            break;
        }
        enum err err = p->misconfigured    ? ERR_CONFIG
                       : p->not_authorised ? ERR_REFUSED
                                           : ERR_STATE;
        give(start, err, text);
        return;
    }
    ask_baseline(start);
}

/* ---- again, after an abort: a new migration of the same name, at a higher epoch ---- */

struct again {
    struct store_job job;
    struct core *core;
    struct migration migration;
    char name[NAME_MAX_BYTES];
    struct start *start;
};

static void begin_check(struct start *start) {
    start->core->starting++;
    if (uv_queue_work(loop_uv(start->core->loop), &start->work, run_check, check_done) == 0) return;
    start->core->starting--;
    give(start, ERR_LIMIT, "no helper thread");
}

static enum err write_again(struct store_job *job, struct ledger *ledger, struct why *why) {
    struct again *again = (struct again *)job;
    return ledger_add_migration(ledger, again->name, &again->migration, why);
}

static void again_written(struct store_job *job) {
    struct again *again = (struct again *)job;
    struct core *core = again->core;
    core->moving = false;
    if (job->err) {
        give(again->start, job->err, job->why.text);
    } else {
        core->migration = again->migration;
        core->workflow = (struct workflow){.phase = again->migration.phase,
                                           .primary = again->migration.primary,
                                           .epoch = again->migration.epoch};
        core->last = core->committed = (struct barrier_row){.outcome = BARRIER_NONE};
        core->audit.last = (struct audit_row){0};
        core->waiver_count = 0;
        core->baseline[0] = '\0';
        core_lanes_forget_all(core); /* what was level before is not so any more */
        for (struct member *m = members_first(core->members, MEMBER_GATEWAY); m;
             m = members_next(m))
            core_route(core, m);
        begin_check(again->start);
    }
    mem_free(again);
}

void core_start(struct core *core, const struct core_asker *asker, const char *baseline,
                core_done *done, void *self) {
    struct start *start = NEW(struct start);
    *start = (struct start){.core = core, .asker = *asker, .done = done, .self = self};
    snprintf(start->baseline, sizeof start->baseline, "%s", baseline);
    if (core->moving || barrier_is_open(&core->barrier)) {
        give(start, ERR_EXISTS, "another step is under way; try again in a moment");
    } else if (core->workflow.phase == PHASE_ABORTED) {
        struct again *again = NEW(struct again);
        *again = (struct again){.core = core, .start = start};
        again->job.work = write_again;
        again->job.done = again_written;
        again->migration.capture = (enum capture)core->config->gateway.capture;
        snprintf(again->name, sizeof again->name, "%s", core->migration.name);
        core->moving = true;
        store_submit(core->store, &again->job);
    } else if (core->workflow.phase == PHASE_PLANNED) {
        begin_check(start);
    } else {
        core_move(core, WORKFLOW_START, asker, started, start);
    }
}

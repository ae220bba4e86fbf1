/* core_audit.c -- audits: begun by an operator, run by the syncer, ended in the ledger. */
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "state/core.h"

#include <inttypes.h>
#include <stdio.h>

#define SYNCER_GRACE_MS 5000

struct audit_job {
    struct store_job job;
    struct core *core;
    struct audit_row row;
    struct difference *differences;
    size_t count;
    char who[64];
    core_done *done;
    void *self;
};

static void give(struct audit_job *a, enum err err, const char *why) {
    json_t *result = err ? NULL : core_audit_json(&a->row);
    if (a->done)
        a->done(a->self, err, why, result);
    else
        json_decref(result);
    mem_free(a->differences);
    mem_free(a);
}

static struct audit_job *audit_job(struct core *core, core_done *done, void *self) {
    struct audit_job *a = NEW(struct audit_job);
    a->core = core;
    a->done = done;
    a->self = self;
    return a;
}

/* ---- the end ---- */

static enum err write_end(struct store_job *job, struct ledger *ledger, struct why *why) {
    struct audit_job *a = (struct audit_job *)job;
    return ledger_end_audit(ledger, &a->row, a->differences, a->count, why);
}

static void end_written(struct store_job *job) {
    struct audit_job *a = (struct audit_job *)job;
    struct core *core = a->core;
    if (job->err)
        log_error("ledger.failed", LOG_WHY(&job->why));
    else
        core->audit.last = a->row;
    core->audit.running = (struct audit_row){0};
    give(a, job->err, job->why.text);
    core_evaluate(core);
}

static void end_audit(struct core *core, struct audit_job *a, const char *outcome,
                      const char *error) {
    snprintf(a->row.outcome, sizeof a->row.outcome, "%s", outcome);
    snprintf(a->row.error, sizeof a->row.error, "%s", error);
    core->audit.running.id = 0; /* no second end; started_ms keeps the place until it is written */
    a->job.work = write_end;
    a->job.done = end_written;
    store_submit(core->store, &a->job);
}

static void fail_running(struct core *core, const char *outcome, const char *error) {
    struct audit_job *a = audit_job(core, NULL, NULL);
    a->row = core->audit.running;
    end_audit(core, a, outcome, error);
}

void core_audit_fail(struct core *core, const char *why) {
    if (core->audit.running.id) fail_running(core, "failed", why);
    core_audit_lanes_forget(core);
}

/* ---- begin ---- */

static void start_answered(void *self, struct member *member, bool ok, struct slice text) {
    struct core *core = self;
    char why[200];
    (void)member;
    if (ok || !core->audit.running.id) return;
    snprintf(why, sizeof why, "syncer: %.*s", (int)(text.size < 180 ? text.size : 180),
             (const char *)text.data);
    fail_running(core, "failed", why);
}

static void send_start(struct core *core) {
    struct member *syncer = core_syncer(core);
    if (core_has_lanes(core))
        core_audit_lanes_start(core);
    else if (syncer)
        member_sendf(syncer, start_answered, core, "AUDIT START %" PRId64 " %s",
                     core->audit.running.id, link_name(core->audit.running.link));
}

static enum err write_begin(struct store_job *job, struct ledger *ledger, struct why *why) {
    struct audit_job *a = (struct audit_job *)job;
    return ledger_begin_audit(ledger, &a->row, a->who, why);
}

static void begin_written(struct store_job *job) {
    struct audit_job *a = (struct audit_job *)job;
    struct core *core = a->core;
    core->audit.running = job->err ? (struct audit_row){0} : a->row;
    core->audit.keys = core->audit.bytes = 0;
    for (unsigned s = 0; s < SIDES; s++)
        core->audit.evicted[s] = side_facts(core->side[s])->gate.evicted;
    core->audit.part[0] = 0;
    if (!job->err) send_start(core);
    give(a, job->err, job->why.text);
}

/* A syncer dials again within a second: whoever asks in that time is not sent away. */
static bool wait_for_syncer(struct core *core, const struct core_asker *asker, core_done *done,
                            void *self) {
    if (core_has_lanes(core) || core_syncer(core) || core->audit.wait_done) return false;
    if (core_now_ms(core) - core->alone_since_ms > SYNCER_GRACE_MS) return false;
    core->audit.wait_done = done;
    core->audit.wait_self = self;
    core->audit.wait_asker = *asker;
    core->audit.wait_until_ms = core_now_ms(core) + SYNCER_GRACE_MS;
    return true;
}

struct void_job {
    struct store_job job;
    struct core *core;
    struct audit_row row;
    char what[REASON_BYTES];
};

static enum err write_void(struct store_job *job, struct ledger *ledger, struct why *why) {
    struct void_job *v = (struct void_job *)job;
    return ledger_void_audit(ledger, &v->row, v->what, why);
}

static void void_written(struct store_job *job) {
    struct void_job *v = (struct void_job *)job;
    if (job->err)
        log_error("ledger.failed", LOG_WHY(&job->why));
    else if (v->core->audit.last.id == v->row.id)
        v->core->audit.last = v->row;
    mem_free(v);
}

/* C32: what voids the proof makes the claim stale until the next audit. */
static void consider_claim(struct core *core) {
    struct audit_row *last = &core->audit.last;
    const struct link_report *standby = &core->link[link_other(link_from(core->workflow.primary))];
    const char *what = NULL;
    char seen[REASON_BYTES];
    for (unsigned s = 0; s < SIDES; s++) {
        int64_t evicted = side_facts(core->side[s])->gate.evicted - core->audit.evicted[s];
        if (evicted <= 0) continue;
        snprintf(seen, sizeof seen, "%s evicted %" PRId64 " keys since", side_name((enum side)s), evicted);
        what = seen;
    }
    if (core_has_lanes(core) && core_lanes_went_round(core, last->started_ms, seen, sizeof seen)) what = seen;
    if (standby->gate.known && standby->gate.foreign_units > 0)
        what = "somebody wrote to the follower side";
    if (core->hand_void_ms > 0 && core->hand_void_ms >= last->started_ms)
        what = "a gateway was held, released or pinned by hand";
    if (!what || !last->id || last->stale[0] || barrier_is_open(&core->barrier)) return;
    struct void_job *v = NEW(struct void_job);
    v->job.work = write_void;
    v->job.done = void_written;
    v->core = core;
    v->row = *last;
    snprintf(v->what, sizeof v->what, "%s", what);
    snprintf(last->stale, sizeof last->stale, "%s", what); /* at once; the ledger follows */
    store_submit(core->store, &v->job);
}

void core_audit_tick(struct core *core) {
    consider_claim(core);
    core_audit_lanes_tick(core);
    core_done *done = core->audit.wait_done;
    if (!done || (!core_syncer(core) && core_now_ms(core) < core->audit.wait_until_ms)) return;
    core->audit.wait_done = NULL;
    core->alone_since_ms = 0;
    core_audit_start(core, &core->audit.wait_asker, done, core->audit.wait_self);
}

void core_audit_start(struct core *core, const struct core_asker *asker, core_done *done,
                      void *self) {
    enum phase phase = core->workflow.phase;
    if (wait_for_syncer(core, asker, done, self)) return;
    const char *no =
        phase < PHASE_FOLLOWING || workflow_is_final(phase) ? "an audit needs a link that follows"
        : core_has_lanes(core) && !members_first(core->members, MEMBER_GATEWAY)
            ? "no gateway is here"
        : !core_has_lanes(core) && !core_syncer(core) ? "no syncer is here"
        : core->audit.running.id || core->audit.running.started_ms ? "an audit is running already"
                                                                   : NULL;
    if (no) {
        done(self, ERR_STATE, no, NULL);
        return;
    }
    struct audit_job *a = audit_job(core, done, self);
    a->row = (struct audit_row){.migration = core->migration.id,
                                .link = link_from(core->workflow.primary),
                                .epoch = core->workflow.epoch};
    core->audit.running.started_ms = core_wall_ms(core); /* taken, until the ledger gives the id */
    snprintf(a->who, sizeof a->who, "%s", asker->who);
    a->job.work = write_begin;
    a->job.done = begin_written;
    store_submit(core->store, &a->job);
}

/* The syncer, or state, is another process now. Who still runs it only reports again. */
void core_audit_syncer_joined(struct core *core) {
    if (core->audit.running.id) send_start(core);
}

void core_audit_stop(struct core *core, core_done *done, void *self) {
    struct member *syncer = core_syncer(core);
    if (!core->audit.running.id) {
        done(self, ERR_ABSENT, "no audit is running", NULL);
        return;
    }
    if (core_has_lanes(core))
        core_audit_lanes_tell(core, "STOP", core->audit.running.id);
    else if (syncer)
        member_sendf(syncer, NULL, core, "AUDIT STOP %" PRId64, core->audit.running.id);
    struct audit_job *a = audit_job(core, done, self);
    a->row = core->audit.running;
    end_audit(core, a, "stopped", "");
}

void core_audit_repair(struct core *core, const struct core_asker *asker, core_done *done,
                       void *self) {
    struct member *syncer = core_syncer(core);
    const struct audit_row *last = &core->audit.last;
    bool lanes = core_has_lanes(core);
    if (!last->id || last->differences == 0 || (!syncer && !lanes)) {
        done(self, ERR_STATE,
             !syncer && !lanes ? "no syncer is here" : "the last audit found nothing to repair", NULL);
        return;
    }
    if (lanes)
        core_audit_lanes_tell(core, "REPAIR", last->id);
    else
        member_sendf(syncer, NULL, core, "AUDIT REPAIR %" PRId64, last->id);
    core_note(core, "audit.repair", "%s has the differing keys of audit %" PRId64 " copied again",
              asker->who, last->id);
    done(self, OK, "", core_audit_json(last));
}

/* ---- reports ---- */

static int64_t number(const json_t *json, const char *name) {
    json_t *value = json_object_get(json, name);
    return json_is_integer(value) ? json_integer_value(value) : 0;
}

static void text(const json_t *json, const char *name, char *to, size_t size) {
    const char *value = json_string_value(json_object_get(json, name));
    snprintf(to, size, "%s", value ? value : "");
}

static void take_sample(struct audit_job *a, const json_t *sample) {
    size_t count = json_array_size(sample);
    if (count > CORE_DIFFERENCES) count = CORE_DIFFERENCES;
    if (count == 0) return;
    a->differences = NEW_ARRAY(struct difference, count);
    a->count = count;
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(sample, i);
        struct difference *d = &a->differences[i];
        d->n = (int64_t)i + 1;
        d->db = number(item, "db");
        d->slot = number(item, "slot");
        text(item, "key", d->key, sizeof d->key);
        text(item, "type", d->type, sizeof d->type);
        text(item, "kind", d->kind, sizeof d->kind);
        text(item, "source_digest", d->source_digest, sizeof d->source_digest);
        text(item, "target_digest", d->target_digest, sizeof d->target_digest);
    }
}

static void audited(struct core *core, const json_t *json) {
    struct audit_job *a = audit_job(core, NULL, NULL);
    char error[REASON_BYTES];
    a->row = core->audit.running;
    a->row.keys = number(json, "keys");
    a->row.slots = number(json, "slots");
    a->row.differences = number(json, "differences");
    a->row.undecided = number(json, "undecided");
    a->row.source_offset = number(json, "source_offset");
    a->row.pause_ms = number(json, "pause_ms");
    text(json, "error", error, sizeof error);
    take_sample(a, json_object_get(json, "sample"));
    bool ok = json_is_true(json_object_get(json, "ok"));
    /* What is undecided is never reported as equal (C30). */
    const char *outcome = a->row.differences > 0                ? "different"
                          : !ok || error[0] || a->row.undecided ? "failed"
                                                                : "equal";
    end_audit(core, a, outcome, error);
}

bool core_audit_report(struct core *core, const struct slice *words, size_t count,
                       const json_t *json) {
    int64_t id = 0;
    if (count < 2 || !slice_to_int(words[1], &id) || !json) return false;
    bool running = id == core->audit.running.id && id != 0;
    if (slice_equal(words[0], SLICE("AUDIT")) && running) {
        core->audit.keys = number(json, "keys");
        core->audit.bytes = number(json, "bytes");
        text(json, "part", core->audit.part, sizeof core->audit.part);
    } else if (slice_equal(words[0], SLICE("AUDITED")) && running) {
        audited(core, json);
    } else if (slice_equal(words[0], SLICE("REPAIRED"))) {
        core->audit.repaired_id = id;
        core->audit.repaired = number(json, "keys");
        core->audit.repair_failed = number(json, "failed");
        core_note(core, "audit.repaired", "%" PRId64 " keys copied again, %" PRId64 " failed",
                  core->audit.repaired, core->audit.repair_failed);
    }
    return true;
}

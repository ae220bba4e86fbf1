/* api_reads.c -- what the API reads from the ledger, and the plans of --dry-run. */
#include "state/api_reads.h"

#include "lib/base/mem.h"

#include <inttypes.h>
#include <stdio.h>

struct read_job {
    struct store_job job;
    enum api_table table;
    int64_t migration, id, after, limit;
    json_t *list, *more; /* made in the store's thread, given away in `done` */
    core_done *done;
    void *self;
    const char *schema, *name;
};

static void read_done(struct store_job *job) {
    struct read_job *r = (struct read_job *)job;
    json_t *json = NULL;
    if (job->err)
        json_decref(r->list);
    else {
        json = json_pack("{s:s, s:o}", "schema", r->schema, r->name, r->list);
        if (r->more) json_object_update(json, r->more);
    }
    json_decref(r->more);
    r->done(r->self, job->err, job->err ? job->why.text : "", json);
    mem_free(r);
}

static struct read_job *read_job(struct core *core, const char *schema, const char *name,
                                 core_done *done, void *self) {
    struct read_job *r = NEW(struct read_job);
    r->job.done = read_done;
    r->job.reads_only = true;
    r->migration = core->migration.id;
    r->list = json_array();
    r->schema = schema;
    r->name = name;
    r->done = done;
    r->self = self;
    return r;
}

static enum err add_event(void *self, const struct event *event, struct why *why) {
    (void)why;
    json_array_append_new(self, core_event_json(event));
    return OK;
}

static enum err read_events(struct store_job *job, struct ledger *ledger, struct why *why) {
    struct read_job *r = (struct read_job *)job;
    return ledger_each_event(ledger, r->after, r->limit, add_event, r->list, why);
}

void api_read_events(struct core *core, int64_t after, int64_t limit, core_done *done, void *self) {
    struct read_job *r = read_job(core, "drawbridge.events.v1", "events", done, self);
    r->job.work = read_events;
    r->after = after;
    r->limit = limit;
    store_submit(core->store, &r->job);
}

static enum err add_checkpoint(void *self, const struct checkpoint_row *c, struct why *why) {
    (void)why;
    json_array_append_new(self, json_pack("{s:I, s:I, s:I, s:s, s:s, s:I, s:s}", "barrier",
                                          (json_int_t)c->barrier, "at_ms", (json_int_t)c->at_ms,
                                          "epoch", (json_int_t)c->epoch, "side", side_name(c->side),
                                          "replid", c->place.replid, "offset",
                                          (json_int_t)c->place.offset, "meaning", c->meaning));
    return OK;
}

static enum err add_barrier(void *self, const struct barrier_row *row, struct why *why) {
    (void)why;
    json_array_append_new(self, core_barrier_json(row));
    return OK;
}

static enum err add_difference(void *self, const struct difference *d, struct why *why) {
    (void)why;
    json_array_append_new(
        self, json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:I}", "db", (json_int_t)d->db, "key",
                        d->key, "type", d->type, "kind", d->kind, "source_digest", d->source_digest,
                        "target_digest", d->target_digest, "slot", (json_int_t)d->slot));
    return OK;
}

static enum err verify(struct read_job *r, struct ledger *ledger, struct why *why) {
    struct ledger_verdict verdict;
    enum err err = ledger_verify(ledger, &verdict, why);
    if (err) return err;
    r->more = json_pack("{s:b, s:I, s:I, s:s, s:s}", "ok", verdict.broken_seq == 0, "checked",
                        (json_int_t)verdict.events, "broken_seq", (json_int_t)verdict.broken_seq,
                        "head", verdict.head, "text", verdict.text);
    return OK;
}

static enum err read_table(struct store_job *job, struct ledger *ledger, struct why *why) {
    struct read_job *r = (struct read_job *)job;
    switch (r->table) {
    case API_CHECKPOINTS:
        return ledger_each_checkpoint(ledger, r->migration, add_checkpoint, r->list, why);
    case API_BARRIERS: return ledger_each_barrier(ledger, r->migration, add_barrier, r->list, why);
    case API_DIFFERENCES:
        return ledger_each_difference(ledger, r->id, add_difference, r->list, why);
    case API_VERIFY: return verify(r, ledger, why);
    }
    UNREACHABLE("not a table");
}

void api_read_table(struct core *core, enum api_table table, int64_t id, core_done *done,
                    void *self) {
    static const char *const names[][2] = {{"drawbridge.checkpoints.v1", "checkpoints"},
                                           {"drawbridge.barriers.v1", "barriers"},
                                           {"drawbridge.differences.v1", "differences"},
                                           {"drawbridge.verify.v1", "broken"}};
    struct read_job *r = read_job(core, names[table][0], names[table][1], done, self);
    r->job.work = read_table;
    r->table = table;
    r->id = id;
    store_submit(core->store, &r->job);
}

/* ---- plans ---- */

static json_t *steps_of(enum side from, int64_t max_hold_ms) {
    json_t *list = json_array();
    const char *to = side_name(side_other(from));
    char text[200];
    json_array_append_new(
        list,
        json_string(
            "gateways open connections to the other side and load scripts; clients do not notice"));
    snprintf(text, sizeof text,
             "every gateway holds new commands; from here %" PRId64 " ms are left", max_hold_ms);
    json_array_append_new(list, json_string(text));
    json_array_append_new(
        list, json_string("gateways that do not confirm are cut off from the primary side"));
    json_array_append_new(list, json_string("the link drains to the last write, then stands by"));
    json_array_append_new(list, json_string("keys that changed last are compared"));
    snprintf(text, sizeof text, "the new epoch is written to the ledger: %s is primary", to);
    json_array_append_new(list, json_string(text));
    json_array_append_new(
        list, json_string("the other link begins at that very offset; the held commands go on"));
    return list;
}

json_t *api_plan(struct core *core, enum side from, int64_t max_hold_ms) {
    struct why why = {""};
    enum phase to = core->workflow.phase;
    enum workflow_event event = from == SIDE_LEGACY ? WORKFLOW_CUTOVER : WORKFLOW_ROLLBACK;
    core_judge_gates(core);
    enum gate_id closed = gates_first_closed(core->gates);
    bool possible =
        workflow_decide(&core->workflow, event, &to, &why) == WORKFLOW_MOVE && closed == GATES;
    if (!why.text[0] && closed < GATES)
        why_set(&why, ERR_STATE, "gate %s is closed: %s", gate_name(closed),
                core->gates[closed].observed);
    double last_ms = core->last.outcome == BARRIER_NONE ? -1 : (double)core->last.hold_us / 1000;
    json_t *json =
        json_pack("{s:s, s:s, s:b, s:s, s:o, s:f, s:I, s:s, s:I}", "schema", "drawbridge.plan.v1",
                  "verb", workflow_event_name(event), "possible", possible, "why_not", why.text,
                  "steps", steps_of(from, max_hold_ms), "last_hold_ms", last_ms, "max_hold_ms",
                  (json_int_t)max_hold_ms, "undo",
                  from == SIDE_LEGACY ? "drawbridge rollback, until drawbridge complete"
                                      : "drawbridge cutover, again",
                  "plan_epoch", (json_int_t)core->workflow.epoch);
    if (core_has_lanes(core)) { /* what a hold would have to copy now */
        struct gates_lanes all;
        core_lanes_sum(core, &all);
        json_object_set_new(json, "dirty_keys", json_integer(all.dirty_keys));
        json_object_set_new(json, "drain_ms", json_integer(all.drain_ms));
    }
    json_object_set_new(json, "exit_code", json_integer(possible ? 0 : 3));
    return json;
}

json_t *api_simple_plan(struct core *core, enum workflow_event event, const char *what) {
    struct why why = {""};
    enum phase to = core->workflow.phase;
    struct workflow workflow = core->workflow;
    if (event == WORKFLOW_START && workflow.phase == PHASE_PLANNED) workflow.phase = PHASE_CHECKED;
    bool possible = workflow_decide(&workflow, event, &to, &why) != WORKFLOW_REFUSE;
    json_t *steps = json_array();
    json_array_append_new(steps, json_string(what));
    return json_pack("{s:s, s:s, s:b, s:s, s:o, s:I, s:i}", "schema", "drawbridge.plan.v1", "verb",
                     workflow_event_name(event), "possible", possible, "why_not", why.text, "steps",
                     steps, "plan_epoch", (json_int_t)core->workflow.epoch, "exit_code",
                     possible ? 0 : 3);
}

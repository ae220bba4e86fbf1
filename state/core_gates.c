/* core_gates.c -- gathers what the gates judge; reads link reports; waivers. */
#include "lib/base/mem.h"
#include "state/core.h"

#include <stdio.h>

static int64_t number(const json_t *json, const char *name) {
    json_t *value = json_object_get(json, name);
    return json_is_integer(value) ? json_integer_value(value) : 0;
}

static bool truth(const json_t *json, const char *name) {
    return json_is_true(json_object_get(json, name));
}

static void text(const json_t *json, const char *name, char *to, size_t size) {
    const char *value = json_string_value(json_object_get(json, name));
    snprintf(to, size, "%s", value ? value : "");
}

static void take_copy(struct link_report *report, const json_t *copy) {
    report->gate.copy_done = truth(copy, "done");
    report->copy_keys = number(copy, "keys");
    report->copy_keys_total = number(copy, "keys_total");
    report->copy_bytes = number(copy, "bytes");
    report->copy_bytes_total = number(copy, "bytes_total");
    report->copy_started_ms = number(copy, "started_ms");
    report->copy_ended_ms = number(copy, "ended_ms");
    report->copies = number(copy, "copies");
    report->eta_ms = number(copy, "eta_ms");
}

void core_take_link(struct core *core, enum link_id link, const json_t *json) {
    bool active = link == link_from(core->workflow.primary);
    if (!active && core_capture_of(core, link_source(link)) == CAPTURE_LANE) return;
    struct link_report *report =
        active && core_has_lanes(core) ? &core->attached : &core->link[link];
    struct gates_link *gate = &report->gate;
    report->heard_ms = core_now_ms(core);
    gate->known = true;
    text(json, "state", gate->state, sizeof gate->state);
    text(json, "error", gate->error, sizeof gate->error);
    gate->following = strcmp(gate->state, "following") == 0;
    gate->standby = strcmp(gate->state, "standby") == 0;
    gate->idle = truth(json, "idle");
    gate->way_back = truth(json, "way_back");
    gate->lag_ms = number(json, "lag_ms");
    gate->lag_bytes = number(json, "lag_bytes");
    gate->dirty = number(json, "dirty_keys");
    gate->quarantined = number(json, "quarantined_keys");
    gate->foreign_units = number(json, "foreign_units");
    gate->spool_bytes = number(json, "spool_bytes");
    gate->spool_limit = number(json, "spool_limit_bytes");
    take_copy(report, json_object_get(json, "copy"));
    const json_t *source = json_object_get(json, "source");
    text(source, "replid", report->replid, sizeof report->replid);
    report->received = number(source, "received_offset");
    report->spooled = number(source, "spooled_offset");
    report->begin_offset = number(source, "begin_offset");
    report->applied = number(json, "applied_offset");
    report->units = number(json, "units_total");
    report->commands = number(json, "commands_total");
    report->reconnects = number(json, "reconnects");
    report->since_ms = number(json, "since_ms");
    json_decref(report->json);
    report->json = json_deep_copy(json);
}

static void add_gateways(struct core *core, struct gates_input *in) {
    for (struct member *m = members_first(core->members, MEMBER_GATEWAY); m; m = members_next(m)) {
        in->gateways++;
        if (member_row(m)->epoch != core->workflow.epoch) {
            in->gateways_stale++;
            snprintf(in->stale_gateway, sizeof in->stale_gateway, "%s", member_row(m)->name);
        }
        const json_t *stats = member_stats(m);
        const char *capture = json_string_value(json_object_get(stats, "capture"));
        if (capture && strcmp(capture, capture_name(core->migration.capture)) != 0)
            snprintf(in->other_capture, sizeof in->other_capture, "%s", member_row(m)->name);
        if (truth(stats, "pinned"))
            snprintf(in->pinned_gateway, sizeof in->pinned_gateway, "%s", member_row(m)->name);
        const json_t *unknown = json_object_get(stats, "unknown_commands");
        size_t count = json_array_size(unknown);
        if (count) {
            const char *name = json_string_value(json_array_get(unknown, 0));
            snprintf(in->unknown_command, sizeof in->unknown_command, "%s", name ? name : "?");
        }
        in->unknown_commands += (int64_t)count;
        in->scripts_missing += number(stats, "scripts_missing");
    }
}

void core_judge_gates(struct core *core) {
    uint64_t now_ms = core_now_ms(core);
    struct store_stats ledger;
    store_stats(core->store, &ledger);
    struct gates_input in = {
        .now_ms = core_wall_ms(core),
        .phase = core->workflow.phase,
        .primary = core->workflow.primary,
        .epoch = core->workflow.epoch,
        .syncer_here = core_syncer(core) != NULL,
        .audit = core->audit.last,
        .audit_running = core->audit.running.id != 0,
        .lag_limit_ms = core->config->gates.lag,
        .audit_age_ms = core->config->gates.audit_age,
        .ledger_failed = ledger.failed || core->halted,
        .member_ahead = core->member_ahead,
        .next_by_lanes =
            core_capture_of(core, side_other(core->workflow.primary)) == CAPTURE_LANE,
    };
    snprintf(in.ledger_why, sizeof in.ledger_why, "%.150s", ledger.why);
    for (unsigned s = 0; s < SIDES; s++) {
        const struct side_facts *facts = side_facts(core->side[s]);
        in.side[s] = facts->gate;
        if (now_ms - (uint64_t)facts->heard_ms > REPORT_FRESH_MS && facts->gate.reachable) {
            in.side[s].reachable = false;
            snprintf(in.side[s].error, sizeof in.side[s].error, "silent for 3 s");
        }
    }
    long legacy = strtol(side_facts(core->side[SIDE_LEGACY])->version, NULL, 10);
    in.legacy_too_old = legacy > 0 && legacy < 5;
    core_lanes_sum(core, &in.lanes);
    core_lanes_as_links(core, &in.lanes);
    for (unsigned l = 0; l < LINKS; l++) {
        in.link[l] = core->link[l].gate;
        if (now_ms - core->link[l].heard_ms > REPORT_FRESH_MS) in.link[l].known = false;
    }
    add_gateways(core, &in);
    gates_evaluate(&in, core->waivers, core->waiver_count, core->gates);
}

/* ---- waivers ---- */

struct waive_job {
    struct store_job job;
    struct core *core;
    int64_t migration;
    struct waiver waiver;
    core_done *done;
    void *self;
};

static enum err write_waiver(struct store_job *job, struct ledger *ledger, struct why *why) {
    struct waive_job *w = (struct waive_job *)job;
    return ledger_add_waiver(ledger, w->migration, &w->waiver, why);
}

static void keep(struct core *core, const struct waiver *waiver) {
    size_t at = 0;
    while (at < core->waiver_count && strcmp(core->waivers[at].gate, waiver->gate) != 0) at++;
    ASSERT(at < CORE_WAIVERS_MAX); /* there are fewer gates than that */
    core->waivers[at] = *waiver;
    if (at == core->waiver_count) core->waiver_count++;
}

static void waiver_written(struct store_job *job) {
    struct waive_job *w = (struct waive_job *)job;
    if (!job->err) keep(w->core, &w->waiver);
    core_evaluate(w->core);
    w->done(w->self, job->err, job->err ? job->why.text : "", NULL);
    mem_free(w);
}

void core_waive(struct core *core, enum gate_id gate, int64_t for_ms,
                const struct core_asker *asker, core_done *done, void *self) {
    if (!asker->reason[0]) {
        done(self, ERR_STATE, "a gate is waived with a reason only (--reason)", NULL);
        return;
    }
    struct waive_job *w = NEW(struct waive_job);
    w->job.work = write_waiver;
    w->job.done = waiver_written;
    w->core = core;
    w->migration = core->migration.id;
    w->done = done;
    w->self = self;
    w->waiver.at_ms = core_wall_ms(core);
    w->waiver.until_ms = w->waiver.at_ms + for_ms;
    snprintf(w->waiver.gate, sizeof w->waiver.gate, "%s", gate_name(gate));
    snprintf(w->waiver.who, sizeof w->waiver.who, "%s", asker->who);
    snprintf(w->waiver.reason, sizeof w->waiver.reason, "%s", asker->reason);
    store_submit(core->store, &w->job);
}

/* core_status.c -- the status as JSON: verdict first, then facts, last events, next steps. */
#include "state/core.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A copy converges when it is expected to end; the syncer says -1 when it cannot tell. */
static json_t *copy_json(struct core *core, const struct link_report *link) {
    int64_t began = link->copy_started_ms, now = core_wall_ms(core);
    int64_t ended = link->copy_ended_ms ? link->copy_ended_ms : now;
    double seconds = began ? (double)(ended - began) / 1000 : 0;
    double share =
        link->gate.copy_done         ? 1
        : link->copy_keys_total > 0  ? (double)link->copy_keys / (double)link->copy_keys_total
        : link->copy_bytes_total > 0 ? (double)link->copy_bytes / (double)link->copy_bytes_total
                                     : 0;
    if (share > 1) share = 1;
    double rate = seconds > 0 ? (double)link->copy_keys / seconds : 0;
    return json_pack(
        "{s:b, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:I, s:I}", "done", link->gate.copy_done, "keys",
        (json_int_t)link->copy_keys, "keys_total", (json_int_t)link->copy_keys_total, "bytes",
        (json_int_t)link->copy_bytes, "bytes_total", (json_int_t)link->copy_bytes_total, "seconds",
        seconds, "share", share, "keys_per_s", rate, "eta_ms",
        (json_int_t)(share < 0.01 ? -1 : link->eta_ms), "copies", (json_int_t)link->copies);
}

static json_t *gates_json(struct core *core) {
    json_t *list = json_array();
    for (unsigned id = 0; id < GATES; id++) {
        const struct gate *g = &core->gates[id];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:b}", "id",
                                              gate_name((enum gate_id)id), "title",
                                              gate_title((enum gate_id)id), "state",
                                              gate_state_name(g->state), "observed", g->observed,
                                              "wanted", g->wanted, "since", (json_int_t)g->since_ms,
                                              "why", g->why, "fix", g->fix, "matters", g->matters));
    }
    return list;
}

static json_t *side_json(const struct core *core, enum side side) {
    const struct side_facts *f = side_facts(core->side[side]);
    return json_pack("{s:b, s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I}", "reachable",
                     f->gate.reachable, "error", f->gate.error, "version", f->version, "bundled",
                     f->gate.bundled, "keys", (json_int_t)f->keys, "used_memory_bytes",
                     (json_int_t)f->gate.used_memory, "max_memory_bytes",
                     (json_int_t)f->gate.max_memory, "ops_per_s", (json_int_t)f->ops_per_s,
                     "clients", (json_int_t)f->clients, "evicted", (json_int_t)f->gate.evicted,
                     "replid", f->place.replid, "offset", (json_int_t)f->place.offset);
}

json_t *core_audit_json(const struct audit_row *a) {
    if (!a->id) return json_null();
    return json_pack("{s:s, s:I, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s}",
                     "schema", "drawbridge.audit.v1", "audit", (json_int_t)a->id, "link",
                     link_name(a->link), "outcome", a->outcome, "started_ms",
                     (json_int_t)a->started_ms, "ended_ms", (json_int_t)a->ended_ms, "keys",
                     (json_int_t)a->keys, "slots", (json_int_t)a->slots, "differences",
                     (json_int_t)a->differences, "undecided", (json_int_t)a->undecided,
                     "source_offset", (json_int_t)a->source_offset, "pause_ms",
                     (json_int_t)a->pause_ms, "error", a->error, "stale", a->stale);
}

json_t *core_barrier_json(const struct barrier_row *b) {
    if (b->outcome == BARRIER_NONE) return json_null();
    json_t *json =
        json_pack("{s:I, s:s, s:s, s:s, s:b, s:I, s:I, s:s, s:s, s:f}", "barrier",
                  (json_int_t)b->id, "from", side_name(b->from), "to", side_name(b->to), "outcome",
                  barrier_outcome_name(b->outcome), "rehearsal", b->rehearsal, "began_ms",
                  (json_int_t)b->began_ms, "ended_ms", (json_int_t)b->ended_ms, "why", b->why,
                  "who", b->who, "hold_ms", (double)b->hold_us / 1000);
    /* A rehearsal that came as far as it was meant to. */
    json_object_set_new(json, "ready",
                        json_boolean(b->rehearsal && strncmp(b->why, "a rehearsal:", 12) == 0));
    json_object_set_new(json, "capture",
                        b->capture_after == CAPTURE_AUTO
                            ? json_null()
                            : json_string(capture_name(b->capture_after)));
    json_object_set_new(json, "epoch_before", json_integer((json_int_t)b->epoch_before));
    json_object_set_new(json, "epoch_after", json_integer((json_int_t)b->epoch_after));
    json_object_set_new(
        json, "x",
        json_pack("{s:s, s:I}", "replid", b->x.replid, "offset", (json_int_t)b->x.offset));
    json_object_set_new(
        json, "b",
        json_pack("{s:s, s:I}", "replid", b->b.replid, "offset", (json_int_t)b->b.offset));
    json_object_set_new(json, "compared", json_integer((json_int_t)b->compared));
    json_object_set_new(json, "killed", json_integer((json_int_t)b->killed));
    return json;
}

/* The event's own data stand beside its head, so that a reader needs no second parse. */
json_t *core_event_json(const struct event *e) {
    json_t *json = json_pack("{s:I, s:I, s:s, s:s, s:s, s:s}", "seq", (json_int_t)e->seq, "at_ms",
                             (json_int_t)e->at_ms, "kind", e->kind, "who", e->who, "text", e->text,
                             "hash", e->hash);
    json_t *data = e->data[0] ? json_loads(e->data, 0, NULL) : NULL;
    if (json_is_object(data)) json_object_update_missing(json, data);
    json_decref(data);
    return json;
}

static json_t *recent_json(const struct core *core, size_t most) {
    json_t *list = json_array();
    size_t have = core->recent_count < CORE_RECENT ? core->recent_count : CORE_RECENT;
    if (have > most) have = most;
    for (size_t i = core->recent_count - have; i < core->recent_count; i++)
        json_array_append_new(list, core_event_json(&core->recent[i % CORE_RECENT]));
    return list;
}

json_t *core_members_json(struct core *core) {
    json_t *list = json_array();
    for (unsigned role = 0; role < MEMBER_ROLES; role++)
        for (struct member *m = members_first(core->members, (enum member_role)role); m;
             m = members_next(m)) {
            const struct member_row *row = member_row(m);
            json_t *json =
                json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "role", row->role, "name", row->name,
                          "version", row->version, "pid", (json_int_t)row->pid, "epoch",
                          (json_int_t)row->epoch, "silent_ms", (json_int_t)member_silence_ms(m));
            if (member_stats(m)) json_object_set(json, "stats", member_stats(m));
            json_array_append_new(list, json);
        }
    return list;
}

json_t *core_next_steps(struct core *core) {
    json_t *list = json_array();
    enum gate_id closed = gates_first_closed(core->gates);
    const char *fix = closed < GATES ? core->gates[closed].fix : "";
    switch (core->workflow.phase) {
    case PHASE_PLANNED:
        json_array_append_new(list, json_string("drawbridge check"));
        json_array_append_new(list, json_string("drawbridge start"));
        break;
    case PHASE_CHECKED: json_array_append_new(list, json_string("drawbridge start")); break;
    case PHASE_COPYING:
        json_array_append_new(list, json_string("drawbridge status --watch"));
        break;
    case PHASE_FOLLOWING:
        if (fix[0]) json_array_append_new(list, json_string(fix));
        json_array_append_new(list, json_string("drawbridge status"));
        break;
    case PHASE_LEVEL:
        json_array_append_new(list, json_string("drawbridge cutover --dry-run"));
        json_array_append_new(list, json_string("drawbridge cutover --rehearse"));
        json_array_append_new(list, json_string("drawbridge cutover"));
        break;
    case PHASE_GUARDED:
        json_array_append_new(list, json_string("drawbridge rollback"));
        json_array_append_new(list, json_string("drawbridge complete"));
        break;
    case PHASE_CUTTING_OVER:
    case PHASE_ROLLING_BACK: json_array_append_new(list, json_string("drawbridge status")); break;
    case PHASE_ABORTED: json_array_append_new(list, json_string("drawbridge start")); break;
    case PHASE_COMPLETED:
        json_array_append_new(list, json_string("drawbridge ledger export"));
        break;
    case PHASES: break;
    }
    return list;
}

/* The state sentence; console and command line say the same. */
static void sentence(struct core *core, const struct link_report *link, char *text, size_t size) {
    enum phase phase = core->workflow.phase;
    enum gate_id closed = gates_first_closed(core->gates);
    if (phase == PHASE_COPYING && link->gate.known)
        snprintf(text, size, "%" PRId64 " of %" PRId64 " keys copied, %" PRId64 " MB",
                 link->copy_keys, link->copy_keys_total, link->copy_bytes >> 20);
    else if (phase == PHASE_FOLLOWING && closed < GATES)
        snprintf(text, size, "lag %" PRId64 " ms; gate %s is closed: %s", link->gate.lag_ms,
                 gate_name(closed), core->gates[closed].observed);
    else if (phase == PHASE_LEVEL)
        snprintf(text, size, "both sides are level, lag %" PRId64 " ms", link->gate.lag_ms);
    else if (phase == PHASE_GUARDED)
        snprintf(text, size, "target is primary; the way back is %s",
                 core->gates[GATE_WAY_BACK].state == GATE_PASS ? "open" : "NOT open");
    else if (workflow_has_barrier(phase))
        snprintf(text, size, "barrier %" PRId64 ": %s", core->barrier.row.id,
                 barrier_step_name((enum barrier_step)core->barrier.sm.state));
    else
        snprintf(text, size, "%s", phase_name(phase));
}

json_t *core_status(struct core *core) {
    const struct link_report *link = &core->link[link_from(core->workflow.primary)];
    const struct link_report *forward = &core->link[LINK_FORWARD];
    char summary[320];
    core_judge_gates(core);
    sentence(core, link, summary, sizeof summary);
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:I, s:s, s:I, s:s, s:I, s:I, s:b}", "schema", "drawbridge.status.v1",
        "migration", core->migration.name, "phase", phase_name(core->workflow.phase),
        "phase_since_ms", (json_int_t)core->migration.phase_since_ms, "primary",
        side_name(core->workflow.primary), "epoch", (json_int_t)core->workflow.epoch, "summary",
        summary, "now_ms", (json_int_t)core_wall_ms(core), "lag_ms", (json_int_t)link->gate.lag_ms,
        "gates_open", gates_are_open(core->gates));
    json_object_set_new(json, "copy", copy_json(core, forward));
    json_t *links = json_object();
    for (unsigned l = 0; l < LINKS; l++)
        if (core->link[l].json && core->link[l].gate.known)
            json_object_set(links, link_name((enum link_id)l), core->link[l].json);
    json_object_set_new(json, "links", links);
    json_object_set_new(json, "capture", json_string(capture_name(core->migration.capture)));
    json_object_set_new(json, "capture_note", json_string(core_capture_note(core)));
    json_object_set_new(json, "lanes", core_lanes_json(core));
    json_object_set_new(json, "sides",
                        json_pack("{s:o, s:o}", "legacy", side_json(core, SIDE_LEGACY), "target",
                                  side_json(core, SIDE_TARGET)));
    json_object_set_new(json, "topology", core_topology_json(core));
    json_object_set_new(json, "audit", core_audit_json(&core->audit.last));
    json_object_set_new(json, "audit_running",
                        core->audit.running.id
                            ? json_pack("{s:I, s:I, s:I, s:s}", "audit",
                                        (json_int_t)core->audit.running.id, "keys",
                                        (json_int_t)core->audit.keys, "bytes",
                                        (json_int_t)core->audit.bytes, "part", core->audit.part)
                            : json_null());
    json_object_set_new(json, "barrier", core_barrier_json(&core->last));
    json_object_set_new(json, "barrier_running", json_boolean(barrier_is_open(&core->barrier)));
    json_object_set_new(json, "gates", gates_json(core));
    json_object_set_new(json, "members", core_members_json(core));
    json_object_set_new(json, "events", recent_json(core, 5));
    json_object_set_new(json, "next_steps", core_next_steps(core));
    return json;
}

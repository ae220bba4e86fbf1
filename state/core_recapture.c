/* core_recapture.c -- another capture while the migration runs: a barrier at which the primary side
 * stays, and the capture and the epoch change (C1).
 *
 *   lane -> stream   the link attaches and stands by; barrier: the lanes are drained, and it becomes
 *                    active at the offset that is read then. Nothing is copied again.
 *   stream -> lane   barrier: the link is drained, and stops; the gateways open their lanes with every
 *                    slot dirty, and copy everything anew, by SCAN, while clients go on.
 *
 * What was asked for is in memory until the barrier begins: a state that dies before has forgotten
 * it, and detaches the link.
 */
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "state/core.h"
#include "state/preflight.h"
#include "state/recapture.h"

#include <stdio.h>
#include <stdlib.h>

#define ATTACH_MS 10000 /* the link's, and for gates that are closed for a moment */

/* ---- which capture ---- */

/* RESTORE takes absolute times since 5.0; what does not tell its version is left to the gates. */
static bool may_turn(const struct core *core) {
    const struct side_facts *legacy = side_facts(core->side[SIDE_LEGACY]);
    return !legacy->version[0] || strtol(legacy->version, NULL, 10) >= 5 ||
           strcmp(legacy->mode, "cluster") == 0;
}

enum capture core_capture_of(const struct core *core, enum side side) {
    return recapture_of(side, &core->workflow, core->migration.capture, core->migration.home,
                        (enum capture)core->config->guard.capture, may_turn(core));
}

/* ---- whether it can be ---- */

static bool is_cluster(const struct core *core, enum side side) {
    return strcmp(side_facts(core->side[side])->mode, "cluster") == 0;
}

/* What no waiting will change. */
static enum err is_possible(const struct core *core, enum capture wanted, struct why *why) {
    enum phase phase = core->workflow.phase;
    enum side primary = core->workflow.primary, other = side_other(primary);
    const char *version = side_facts(core->side[other])->version;
    if (core->migration.capture == wanted)
        return why_set(why, ERR_EXISTS, "the capture is %s already", capture_name(wanted));
    if (phase == PHASE_PLANNED || phase == PHASE_CHECKED)
        return why_set(why, ERR_STATE, "nothing runs yet: gateway.capture in the file says which capture it will be");
    if (phase != PHASE_FOLLOWING && phase != PHASE_LEVEL && phase != PHASE_GUARDED)
        return why_set(why, ERR_STATE, "the capture is not changed in phase %s: it is in following, level and guarded",
                       phase_name(phase));
    if (wanted == CAPTURE_STREAM && is_cluster(core, primary))
        return why_set(why, ERR_STATE, "%s is a Cluster: its stream cannot be followed", side_name(primary));
    if (wanted == CAPTURE_LANE && (is_cluster(core, other) || (other == SIDE_TARGET && core->config->target.cluster)))
        return why_set(why, ERR_STATE, "%s is a Cluster: lanes cannot write to it", side_name(other));
    if (wanted == CAPTURE_LANE && version[0] && strtol(version, NULL, 10) < 5)
        return why_set(why, ERR_STATE, "%s is older than 5.0: lanes cannot write to it", side_name(other));
    return OK;
}

static enum err is_closed(const struct core *core, enum gate_id id, struct why *why) {
    const struct gate *gate = &core->gates[id];
    if (gate->state != GATE_FAIL && gate->state != GATE_UNKNOWN) return OK;
    return why_set(why, ERR_STATE, "gate %s is closed: %s, wanted: %s", gate_name(id), gate->observed,
                   gate->wanted);
}

/* Those that say whether it would end well. What differs between the sides is copied by lanes. */
static enum err gates_let(const struct core *core, enum capture wanted, struct why *why) {
    static const enum gate_id asked[] = {GATE_REACHABLE, GATE_CAPTURE, GATE_COPY,
                                         GATE_LAG,       GATE_EPOCH,   GATE_LEDGER};
    enum err err = OK;
    for (size_t i = 0; i < sizeof asked / sizeof *asked && err == OK; i++)
        err = is_closed(core, asked[i], why);
    if (err == OK && wanted == CAPTURE_STREAM) err = is_closed(core, GATE_CLEAN, why);
    return err;
}

/* Lanes of several gateways ask each other. */
static enum err can_be_reached(const struct core *core, struct why *why) {
    struct member *first = members_first(core->members, MEMBER_GATEWAY);
    if (first == NULL || members_next(first) == NULL) return OK;
    for (struct member *m = first; m != NULL; m = members_next(m)) {
        const char *peer = json_string_value(json_object_get(member_stats(m), "peer"));
        if (peer == NULL || peer[0] == '\0')
            return why_set(why, ERR_STATE, "gateway %s has no gateway.peer, where other gateways could reach it",
                           member_row(m)->name);
    }
    return OK;
}

static enum err is_attached(const struct core *core, struct why *why) {
    const struct link_report *link = &core->attached;
    const char *primary = side_name(core->workflow.primary);
    bool heard = link->heard_ms > 0 && core_now_ms(core) - link->heard_ms < REPORT_FRESH_MS;
    if (!core_syncer(core))
        return why_set(why, ERR_STATE, "no syncer is here, which would follow %s", primary);
    if (!heard) return why_set(why, ERR_STATE, "the link to %s has not reported", primary);
    if (link->gate.standby && link->gate.way_back && !link->gate.error[0]) return OK;
    return why_set(why, ERR_STATE, "%s cannot be followed by PSYNC: the link is in state %s%s%s", primary,
                   link->gate.state, link->gate.error[0] ? ": " : "", link->gate.error);
}

static enum err may_begin(struct core *core, enum capture wanted, struct why *why) {
    enum err err = is_possible(core, wanted, why);
    if (err) return err;
    if (core->moving || barrier_is_open(&core->barrier))
        return why_set(why, ERR_STATE, "another step is under way; try again in a moment");
    core_judge_gates(core);
    err = gates_let(core, wanted, why);
    if (!err && wanted == CAPTURE_STREAM) err = is_attached(core, why);
    if (!err && wanted == CAPTURE_LANE) err = can_be_reached(core, why);
    if (err) return err;
    if (wanted == CAPTURE_LANE && !core_syncer(core))
        return why_set(why, ERR_STATE, "no syncer is here");
    const char *away = core_slots_trouble(core);
    if (core_has_lanes(core) && away)
        return why_set(why, ERR_STATE, "gateway %s is away, and its slots with it", away);
    if (core->audit.running.id) return why_set(why, ERR_STATE, "an audit is running");
    if (core->admitting) return why_set(why, ERR_STATE, "a gateway is just coming in");
    return OK;
}

/* ---- the verb ---- */

static json_t *plan(const struct core *core, enum capture wanted, int64_t max_hold_ms) {
    struct why why = {""};
    const char *primary = side_name(core->workflow.primary);
    const char *follower = side_name(side_other(core->workflow.primary));
    bool stream = wanted == CAPTURE_STREAM, possible = is_possible(core, wanted, &why) == OK;
    char attach[200], held[200], drain[200], end[300];
    if (possible) possible = gates_let(core, wanted, &why) == OK;
    if (stream)
        snprintf(attach, sizeof attach, "the syncer's link attaches to %s by PSYNC, and stands by: it needs no copy", primary);
    else
        snprintf(attach, sizeof attach, "%s goes on as it is until then", primary);
    snprintf(held, sizeof held, "clients are held, at most %lld ms; every command is answered", (long long)max_hold_ms);
    snprintf(drain, sizeof drain, stream ? "the gateways' lanes are drained: %s has everything"
                                         : "the link is drained, and stops: its connections to %s are gone",
             follower);
    if (stream)
        snprintf(end, sizeof end, "capture stream and a new epoch are recorded; the link follows from that very offset, and clients "
                                  "go on at %s", primary);
    else
        snprintf(end, sizeof end, "capture lane and a new epoch are recorded; clients go on at %s through lanes, which list and copy "
                                  "all of its keys anew: until that is done the sides are not level", primary);
    return json_pack("{s:s, s:[s,s,s,s], s:b, s:s, s:s, s:f}", "verb", stream ? "capture stream" : "capture lane", "steps",
                     attach, held, drain, end, "possible", possible, "why_not", why.text, "undo",
                     stream ? "drawbridge capture lane" : "drawbridge capture stream", "last_hold_ms",
                     (double)core->last.hold_us / 1000);
}

static void answer(struct core *core, enum err err, const char *text, json_t *result) {
    core_done *done = core->recapture.done;
    core->recapture.done = NULL;
    if (done) done(core->recapture.self, err, text, result);
    else json_decref(result);
}

/* The link is not wanted any more, or is what it has become. */
void core_recapture_over(struct core *core) {
    if (core->recapture.wanted == CAPTURE_AUTO) return;
    core->recapture.wanted = CAPTURE_AUTO;
    answer(core, ERR_STOPPED, "it was given up", NULL);
}

void core_recapture_start(struct core *core, enum capture wanted, bool dry_run, uint32_t max_hold_ms,
                          const struct core_asker *asker, core_done *done, void *self) {
    struct why why = {""};
    if (dry_run) {
        done(self, OK, "", plan(core, wanted, max_hold_ms));
        return;
    }
    enum err err = is_possible(core, wanted, &why);
    if (!err && (core->recapture.wanted != CAPTURE_AUTO || core->announced.done || barrier_is_open(&core->barrier)))
        err = why_set(&why, ERR_EXISTS, "another step is under way; try again in a moment");
    if (err) {
        done(self, err, why.text, NULL);
        return;
    }
    core->recapture = (struct core_recapture){.wanted = wanted,
                                              .done = done,
                                              .self = self,
                                              .max_hold_ms = max_hold_ms,
                                              .asker = *asker,
                                              .until_ms = core_now_ms(core) + ATTACH_MS};
    log_info("capture.wanted", LOG_S("capture", capture_name(wanted)));
    core_link_forget(&core->attached);
    core_carry_out_duties(core); /* the link attaches */
    core_recapture_tick(core);
}

/* As with a cutover: what opens within a moment is waited for. Nobody is held meanwhile. */
void core_recapture_tick(struct core *core) {
    struct core_recapture *r = &core->recapture;
    struct why why = {""};
    if (r->wanted == CAPTURE_AUTO || r->begun) return;
    enum err err = may_begin(core, r->wanted, &why);
    if (err == ERR_STATE && core_now_ms(core) < r->until_ms) return;
    if (err) {
        log_warn("capture.refused", LOG_S("why", why.text));
        r->wanted = CAPTURE_AUTO;
        answer(core, ERR_STATE, why.text, NULL);
        core_carry_out_duties(core); /* it detaches */
        return;
    }
    r->begun = true;
    int64_t before = core->last.id;
    core_barrier_recapture(core, r->wanted, r->max_hold_ms, &r->asker);
    answer(core, OK, "", json_pack("{s:I}", "after_barrier", (json_int_t)before));
}

/* ---- it is a fact ---- */

void core_link_forget(struct link_report *link) {
    json_decref(link->json);
    *link = (struct link_report){0};
}

void core_recaptured(struct core *core, const struct slot_table *slots) {
    for (unsigned l = 0; l < LINKS; l++) core_link_forget(&core->link[l]);
    core_lanes_forget_all(core);
    if (core_has_lanes(core)) core_slots_begin(core, slots);
    log_info("capture.changed", LOG_S("capture", capture_name(core->migration.capture)));
}

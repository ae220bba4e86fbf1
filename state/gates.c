/* gates.c -- the conditions for the next step: one small judge for each. */
#include "state/gates.h"

#include "lib/base/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CLOCK_LIMIT_MS 1000 /* C12a's permitted difference; expiry is judged by it */
#define SPOOL_WARN 0.7
#define SPOOL_FAIL 0.9

static const struct {
    const char *name, *title;
} labels[GATES] = {
    [GATE_REACHABLE] = {"reachable", "Both sides answer"},
    [GATE_CAPTURE] = {"capture", "Every change of the primary side is seen"},
    [GATE_COPY] = {"copy", "The copy is complete"},
    [GATE_LAG] = {"lag", "The follower side keeps up"},
    [GATE_CLEAN] = {"clean", "No key is dirty or quarantined"},
    [GATE_SPOOL] = {"spool", "The spool has room"},
    [GATE_AUDIT] = {"audit", "A fresh audit found both sides equal"},
    [GATE_MEMORY] = {"memory", "The target has memory for twice the growth"},
    [GATE_EVICTION] = {"eviction", "Nothing is evicted"},
    [GATE_BYPASS] = {"bypass", "Every client comes through the gateway"},
    [GATE_CLOCK] = {"clock", "The clocks agree"},
    [GATE_COMMANDS] = {"commands", "The target knows every command that clients use"},
    [GATE_SCRIPTS] = {"scripts", "The body of every script is known"},
    [GATE_WAY_BACK] = {"way-back", "The way back is ready"},
    [GATE_EPOCH] = {"epoch", "Every gateway is at the current epoch"},
    [GATE_LEDGER] = {"ledger", "The ledger is durable"},
};

const char *gate_name(enum gate_id id) {
    ASSERT(id < GATES);
    return labels[id].name;
}
const char *gate_title(enum gate_id id) {
    ASSERT(id < GATES);
    return labels[id].title;
}
const char *gate_state_name(enum gate_state state) {
    static const char *const names[GATE_STATES] = {"pass", "warn", "fail", "unknown", "waived"};
    ASSERT(state < GATE_STATES);
    return names[state];
}
bool gate_parse(const char *name, enum gate_id *id) {
    for (unsigned i = 0; i < GATES; i++) {
        if (strcmp(labels[i].name, name) != 0) continue;
        *id = (enum gate_id)i;
        return true;
    }
    return false;
}

/* ---- how a judge speaks ---- */

static void PRINTF(2, 3) observed(struct gate *gate, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(gate->observed, sizeof gate->observed, fmt, args);
    va_end(args);
}

static void wanted(struct gate *gate, const char *text) {
    snprintf(gate->wanted, sizeof gate->wanted, "%s", text);
}

static void verdict(struct gate *gate, enum gate_state state, const char *why, const char *fix) {
    gate->state = state;
    snprintf(gate->why, sizeof gate->why, "%s", why);
    snprintf(gate->fix, sizeof gate->fix, "%s", fix);
}

static void pass_if(struct gate *gate, bool good, const char *why, const char *fix) {
    verdict(gate, good ? GATE_PASS : GATE_FAIL, good ? "" : why, good ? "" : fix);
}

static bool unknown_if(struct gate *gate, bool unknown, const char *why) {
    if (!unknown) return false;
    observed(gate, "not known");
    verdict(gate, GATE_UNKNOWN, why, "drawbridge status");
    return true;
}

static const struct gates_link *active(const struct gates_input *in) {
    return &in->link[link_from(in->primary)];
}
static const struct gates_link *standby(const struct gates_input *in) {
    return &in->link[link_other(link_from(in->primary))];
}

static bool no_link(struct gate *gate, const struct gates_input *in,
                    const struct gates_link *link) {
    if (in->lanes.used) return unknown_if(gate, !link->known, "no gateway has reported its lanes");
    return unknown_if(gate, !in->syncer_here, "no syncer is connected to state") ||
           unknown_if(gate, !link->known, "the link has not reported");
}

/* ---- the judges ---- */

static void judge_reachable(const struct gates_input *in, struct gate *gate) {
    wanted(gate, "both sides answer, as masters, and are not loading");
    observed(gate, "both answer");
    for (unsigned s = 0; s < SIDES; s++) {
        const struct gates_side *side = &in->side[s];
        const char *what = !side->reachable   ? (side->error[0] ? side->error : "no answer")
                           : side->loading    ? "is loading its data"
                           : !side->is_master ? "is a replica"
                                              : NULL;
        if (!what) continue;
        observed(gate, "%s: %s", side_name((enum side)s), what);
        verdict(gate, GATE_FAIL, "a side that does not answer cannot take part",
                "drawbridge check");
        return;
    }
    verdict(gate, GATE_PASS, "", "");
}

static void judge_capture(const struct gates_input *in, struct gate *gate) {
    const struct gates_link *link = active(in);
    wanted(gate, in->lanes.used ? "every gateway has lanes to both sides"
                                : "the link follows by PSYNC, with no error");
    if (no_link(gate, in, link)) return;
    if (in->lanes.used) {
        observed(gate, "lanes, %s", link->error[0] ? link->error : link->state);
        pass_if(gate, !link->error[0], "what clients write is not carried over", "drawbridge status");
        return;
    }
    observed(gate, "%s%s%s", link->state, link->error[0] ? ": " : "", link->error);
    pass_if(gate, link->following && !link->error[0], "the link does not follow its source",
            "drawbridge check");
}

static void judge_copy(const struct gates_input *in, struct gate *gate) {
    wanted(gate, "complete");
    const struct gates_link *link = active(in);
    if (no_link(gate, in, link)) return;
    observed(gate, link->copy_done ? "complete" : "under way");
    pass_if(gate, link->copy_done, "the copy has not ended", "drawbridge status --watch");
}

static void judge_lag(const struct gates_input *in, struct gate *gate) {
    snprintf(gate->wanted, sizeof gate->wanted, "at most %" PRId64 " ms", in->lag_limit_ms);
    const struct gates_link *link = active(in);
    if (no_link(gate, in, link)) return;
    observed(gate, "%" PRId64 " ms, %" PRId64 " bytes", link->lag_ms, link->lag_bytes);
    pass_if(gate, link->following && link->lag_ms <= in->lag_limit_ms,
            "the follower side is behind", "drawbridge throttle --ops 0 --bytes 0");
}

/* A key that is written outside the order again and again is dirty again and again: what counts is
 * that the hold is long enough to copy what is dirty then (C14). */
static void judge_drain(const struct gates_lanes *lanes, struct gate *gate) {
    int64_t room_ms = lanes->hold_ms / 2;
    snprintf(gate->wanted, sizeof gate->wanted,
             "copied within %" PRId64 " ms (half of cutover.max_hold), 0 refused", room_ms);
    observed(gate, "%" PRId64 " dirty, about %" PRId64 " ms; %" PRId64 " refused%s", lanes->dirty_keys,
             lanes->drain_ms, lanes->failed_keys,
             lanes->functions_refused ? ", and functions" : "");
    if (lanes->failed_keys > 0)
        verdict(gate, GATE_FAIL, "a side refuses to give or to take these keys",
                "drawbridge status --output json");
    else if (lanes->functions_refused)
        verdict(gate, GATE_FAIL,
                "the other side refuses the libraries of functions (FUNCTION came with Redis 7.0)",
                "FUNCTION DELETE them, or go on without the other side");
    else
        pass_if(gate, lanes->drain_ms <= room_ms,
                "a big key that is written all the time, or too many: the hold would miss its deadline",
                "raise cutover.max_hold, or let its writers rest");
}

static void judge_clean(const struct gates_input *in, struct gate *gate) {
    wanted(gate, "0 dirty, 0 quarantined");
    const struct gates_link *link = active(in);
    if (no_link(gate, in, link)) return;
    if (in->lanes.used) {
        judge_drain(&in->lanes, gate);
        return;
    }
    observed(gate, "%" PRId64 " dirty, %" PRId64 " quarantined", link->dirty, link->quarantined);
    pass_if(gate, link->dirty == 0 && link->quarantined == 0,
            "these keys may differ between the sides", "drawbridge status --output json");
}

static void judge_spool(const struct gates_input *in, struct gate *gate) {
    wanted(gate, "under 70 % of its limit");
    double worst = 0;
    for (unsigned l = 0; l < LINKS; l++) {
        const struct gates_link *link = &in->link[l];
        if (link->known && link->spool_limit > 0) {
            double share = (double)link->spool_bytes / (double)link->spool_limit;
            if (share > worst) worst = share;
        }
    }
    if (no_link(gate, in, active(in))) return;
    observed(gate, "%.0f %%", worst * 100);
    if (in->lanes.used) {
        wanted(gate, "the lanes' queues do not overflow");
        verdict(gate, worst < SPOOL_WARN ? GATE_PASS : GATE_WARN,
                worst < SPOOL_WARN ? "" : "what overflows is copied again", "");
        return;
    }
    pass_if(gate, worst < SPOOL_FAIL,
            "a full spool stops reading, and the source may drop the link",
            "give syncer.spool.limit more room");
    if (gate->state == GATE_PASS && worst >= SPOOL_WARN)
        verdict(gate, GATE_WARN, "the spool fills", "give syncer.spool.limit more room");
}

static void judge_audit(const struct gates_input *in, struct gate *gate) {
    const struct audit_row *audit = &in->audit;
    snprintf(gate->wanted, sizeof gate->wanted, "equal, at most %" PRId64 " min old",
             in->audit_age_ms / 60000);
    if (!audit->id) {
        observed(gate, in->audit_running ? "the first one is running" : "none yet");
        verdict(gate, GATE_FAIL, "nobody has compared both sides", "drawbridge audit start --wait");
        return;
    }
    int64_t age_ms = in->now_ms - audit->ended_ms;
    observed(gate, "audit %" PRId64 ": %s, %" PRId64 " s old", audit->id, audit->outcome,
             age_ms / 1000);
    if (strcmp(audit->outcome, "different") == 0)
        verdict(gate, GATE_FAIL, "the last audit found differences",
                "drawbridge audit repair, then audit start");
    else if (strcmp(audit->outcome, "equal") != 0)
        verdict(gate, GATE_FAIL, "the last audit did not end with a claim",
                "drawbridge audit start --wait");
    else if (audit->stale[0])
        verdict(gate, GATE_FAIL, audit->stale, "drawbridge audit start --wait");
    else
        pass_if(gate, age_ms <= in->audit_age_ms, "the claim is too old",
                "drawbridge audit start --wait");
}

static void judge_memory(const struct gates_input *in, struct gate *gate) {
    wanted(gate, "room for twice what the follower side has yet to grow");
    const struct gates_side *legacy = &in->side[SIDE_LEGACY], *target = &in->side[SIDE_TARGET];
    if (unknown_if(gate, !legacy->reachable || !target->reachable, "a side does not answer"))
        return;
    int64_t limit = target->max_memory ? target->max_memory : target->system_memory;
    int64_t growth = legacy->used_memory - target->used_memory;
    if (growth < 0) growth = 0;
    if (limit == 0) {
        observed(gate, "no limit is set and the host's memory is not told");
        verdict(gate, GATE_WARN, "nobody knows whether it will fit", "set maxmemory at the target");
        return;
    }
    int64_t room = limit - target->used_memory;
    observed(gate, "%" PRId64 " MB free, %" PRId64 " MB to come", room >> 20, growth >> 20);
    pass_if(gate, room >= 2 * growth, "the target may run out of memory",
            "raise maxmemory at the target");
}

static void judge_eviction(const struct gates_input *in, struct gate *gate) {
    wanted(gate, "noeviction, or no limit; 0 evicted");
    for (unsigned s = 0; s < SIDES; s++) {
        const struct gates_side *side = &in->side[s];
        if (unknown_if(gate, !side->reachable || !side->policy_known,
                       "a side does not tell its policy"))
            return;
        if (side->evicted > 0) {
            observed(gate, "%s evicted %" PRId64 " keys", side_name((enum side)s), side->evicted);
            verdict(gate, GATE_FAIL, "eviction is a write that nobody sent; the proof is void",
                    "raise maxmemory, then drawbridge audit start");
            return;
        }
    }
    const struct gates_side *target = &in->side[SIDE_TARGET];
    bool evicts = target->max_memory > 0 && strncmp(target->policy, "allkeys", 7) == 0;
    observed(gate, "legacy %s, target %s, 0 evicted", in->side[SIDE_LEGACY].policy, target->policy);
    if (evicts && !target->bundled)
        verdict(gate, GATE_FAIL, "the target may evict the link's checkpoint",
                "CONFIG SET maxmemory-policy noeviction at the target");
    else
        verdict(gate, GATE_PASS, "", "");
}

static void judge_bypass(const struct gates_input *in, struct gate *gate) {
    wanted(gate, "0 connections that are not the bridge's own");
    int64_t total = 0;
    for (unsigned s = 0; s < SIDES; s++) {
        const struct gates_side *side = &in->side[s];
        if (!side->reachable || !side->clients_known) {
            observed(gate, "%s: %s", side_name((enum side)s),
                     side->clients_error[0] ? side->clients_error : "CLIENT LIST was not answered");
            verdict(gate, GATE_UNKNOWN, "nobody can see who writes past the gateway",
                    "waive it when you know that no client does");
            return;
        }
        if (side->bypassing && !total)
            observed(gate, "%" PRId64 " at %s (%s)", side->bypassing, side_name((enum side)s),
                     side->bypass);
        total += side->bypassing;
    }
    if (!total) observed(gate, "0");
    pass_if(gate, total == 0, "what they write after the cutover is written to the wrong side",
            "point these clients at the gateway");
}

static void judge_clock(const struct gates_input *in, struct gate *gate) {
    wanted(gate, "less than 1 s apart");
    const struct gates_side *legacy = &in->side[SIDE_LEGACY], *target = &in->side[SIDE_TARGET];
    if (unknown_if(gate, !legacy->clock_known || !target->clock_known,
                   "a side does not tell its time"))
        return;
    int64_t skew = legacy->clock_ms - target->clock_ms;
    if (skew < 0) skew = -skew;
    observed(gate, "%" PRId64 " ms apart", skew);
    pass_if(gate, skew < CLOCK_LIMIT_MS, "keys with an expiry time would live shorter or longer",
            "synchronise the clocks of both hosts");
}

static void judge_commands(const struct gates_input *in, struct gate *gate) {
    wanted(gate, "0 unknown commands seen");
    if (in->primary == SIDE_TARGET) {
        observed(gate, "target is primary");
        verdict(gate, GATE_PASS, "", "");
        return;
    }
    observed(gate, "%" PRId64 "%s%s", in->unknown_commands, in->unknown_commands ? ": " : "",
             in->unknown_commands ? in->unknown_command : "");
    pass_if(gate, in->unknown_commands == 0, "clients use commands that the target will refuse",
            "take another target, or teach the clients");
}

static void judge_scripts(const struct gates_input *in, struct gate *gate) {
    wanted(gate, "0 scripts without their body");
    observed(gate, "%" PRId64, in->scripts_missing);
    pass_if(gate, in->scripts_missing == 0, "EVALSHA of these would fail at the other side",
            "let the clients load them once through the gateway");
}

/* Lanes that bring writes back to legacy: after a cutover, or now. */
static void judge_lanes_back(const struct gates_input *in, struct gate *gate) {
    wanted(gate, in->lanes.used ? "the same lanes, the other way round"
                                : "legacy can be written to by lanes");
    if (!in->lanes.turnable || in->lanes.cluster) {
        observed(gate, "%s", in->lanes.cluster ? "legacy is a Cluster: way back: none by lanes"
                                               : "legacy is older than 5.0, or does not tell its version");
        verdict(gate, GATE_FAIL, "lanes could not bring writes back to it after a cutover",
                "waive it when you will not want to go back");
        return;
    }
    observed(gate, "%s", active(in)->error[0] ? active(in)->error : "ready");
    pass_if(gate, !active(in)->error[0], "what clients write is not carried over",
            "drawbridge status");
}

/* The link that will be active after the next barrier. */
static void judge_standby(const struct gates_input *in, struct gate *gate) {
    const struct gates_link *link = standby(in);
    if (unknown_if(gate, !in->syncer_here, "no syncer is connected to state") ||
        unknown_if(gate, !link->known, "the link has not reported"))
        return;
    observed(gate, "%s, %" PRId64 " foreign units%s%s", link->state, link->foreign_units,
             link->error[0] ? ": " : "", link->error);
    pass_if(gate, link->standby && link->way_back && link->foreign_units == 0,
            link->foreign_units ? "somebody else writes to the follower side"
                                : "the reverse link is not attached",
            link->foreign_units ? "find the writer; what he wrote is copied again; then drawbridge "
                                  "audit start"
                                : "drawbridge check");
}

static void judge_way_back(const struct gates_input *in, struct gate *gate) {
    wanted(gate, "the other link stands by, and saw no foreign write");
    const struct gates_link *link = active(in);
    bool guarded = in->primary == SIDE_TARGET, lanes = guarded ? in->lanes.used : in->next_by_lanes;
    if (!guarded && !lanes && in->legacy_too_old) {
        observed(gate, "legacy is older than 5.0");
        verdict(gate, GATE_FAIL, "no link can write to it after a cutover: CLIENT ID and RESTORE ABSTTL came with 5.0",
                "waive it when you will not want to go back");
        return;
    }
    if (lanes) {
        if (no_link(gate, in, active(in))) return;
        judge_lanes_back(in, gate);
    } else if (guarded) {
        if (no_link(gate, in, link)) return;
        observed(gate, "%s%s%s", link->state, link->error[0] ? ": " : "", link->error);
        pass_if(gate, link->way_back && link->following,
                "rollback is closed: the reverse link needs a new copy", "drawbridge status");
    } else {
        judge_standby(in, gate);
        return;
    }
    /* Lanes that came after a stream give way to it again. */
    bool passed = gate->state == GATE_PASS;
    if (guarded && passed && in->lanes.used && !in->next_by_lanes) judge_standby(in, gate);
}

static void judge_epoch(const struct gates_input *in, struct gate *gate) {
    snprintf(gate->wanted, sizeof gate->wanted, "all at epoch %" PRIu64 ", at least one",
             in->epoch);
    observed(gate, "%" PRId64 " of %" PRId64 " gateways", in->gateways - in->gateways_stale,
             in->gateways);
    if (in->member_ahead)
        verdict(gate, GATE_FAIL,
                "a member has obeyed a higher epoch than this ledger knows; it is not the latest",
                "start state with the right ledger");
    else if (in->gateways == 0)
        verdict(gate, GATE_FAIL, "no gateway is connected", "start drawbridge gateway");
    else if (in->pinned_gateway[0]) {
        char text[128];
        snprintf(text, sizeof text, "gateway %.64s was pinned by hand", in->pinned_gateway);
        verdict(gate, GATE_FAIL, text, "GATEWAY UNPIN at its admin socket");
    } else if (in->other_capture[0]) {
        char text[128];
        snprintf(text, sizeof text, "gateway %.64s runs with another capture", in->other_capture);
        verdict(gate, GATE_FAIL, text, "start it again");
    } else {
        char text[128];
        snprintf(text, sizeof text, "gateway %.64s lags behind", in->stale_gateway);
        pass_if(gate, in->gateways_stale == 0, text, "look at its log");
    }
}

static void judge_ledger(const struct gates_input *in, struct gate *gate) {
    wanted(gate, "the last write is on disk");
    observed(gate, "%s", in->ledger_failed ? in->ledger_why : "durable");
    pass_if(gate, !in->ledger_failed, "no step can be recorded, so none is taken",
            "make room on its disk");
}

static void (*const judges[GATES])(const struct gates_input *, struct gate *) = {
    judge_reachable, judge_capture,  judge_copy,     judge_lag,    judge_clean, judge_spool,
    judge_audit,     judge_memory,   judge_eviction, judge_bypass, judge_clock, judge_commands,
    judge_scripts,   judge_way_back, judge_epoch,    judge_ledger,
};

/* A rollback is the remedy: only what would make it lose data may close it. */
static bool matters(enum gate_id id, enum phase phase) {
    if (phase == PHASE_COMPLETED || phase == PHASE_ABORTED) return false;
    if (phase != PHASE_GUARDED && phase != PHASE_ROLLING_BACK) return true;
    return id != GATE_AUDIT && id != GATE_MEMORY && id != GATE_EVICTION && id != GATE_COMMANDS &&
           id != GATE_SCRIPTS && id != GATE_BYPASS && id != GATE_CLOCK;
}

static bool is_waived(enum gate_id id, int64_t now_ms, const struct waiver *waivers, size_t count,
                      const struct waiver **waiver) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(waivers[i].gate, gate_name(id)) != 0 || waivers[i].until_ms <= now_ms) continue;
        *waiver = &waivers[i];
        return true;
    }
    return false;
}

void gates_evaluate(const struct gates_input *in, const struct waiver *waivers,
                    size_t waivers_count, struct gate gates[GATES]) {
    for (unsigned id = 0; id < GATES; id++) {
        struct gate old = gates[id], *gate = &gates[id];
        const struct waiver *waiver;
        *gate = (struct gate){.state = GATE_UNKNOWN};
        judges[id](in, gate);
        gate->matters = matters((enum gate_id)id, in->phase);
        bool closed = gate->state == GATE_FAIL || gate->state == GATE_UNKNOWN;
        if (closed && is_waived((enum gate_id)id, in->now_ms, waivers, waivers_count, &waiver)) {
            gate->state = GATE_WAIVED;
            snprintf(gate->why, sizeof gate->why, "waived by %.40s: %.150s", waiver->who,
                     waiver->reason);
        }
        gate->since_ms = old.since_ms && old.state == gate->state ? old.since_ms : in->now_ms;
    }
}

enum gate_id gates_first_closed(const struct gate gates[GATES]) {
    for (unsigned id = 0; id < GATES; id++)
        if (gates[id].matters && (gates[id].state == GATE_FAIL || gates[id].state == GATE_UNKNOWN))
            return (enum gate_id)id;
    return GATES;
}

bool gates_are_open(const struct gate gates[GATES]) {
    return gates_first_closed(gates) == GATES;
}

size_t gates_count(const struct gate gates[GATES], enum gate_state state) {
    size_t count = 0;
    for (unsigned id = 0; id < GATES; id++) count += gates[id].state == state;
    return count;
}

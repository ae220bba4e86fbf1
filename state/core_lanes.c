/* core_lanes.c -- capture `lane`: the gateways are the link. What they report, what they are told,
 * and what the gates and the status see of it as if it were a link (docs/CONTROL.md).
 *
 *     LANES {...} of each gateway --> core->lanes[] --> link[active], link[standby] --> gates
 *     phases, barrier             --> LANES OPEN, CLOSE, DRAIN; ROUTE and RELEASE turn them round
 *
 * The way back needs nothing of its own: the same lanes run the other way round; unless the file
 * wants the reverse link then (guard.capture), which stands by for it.
 */
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "state/core.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FEW_KEYS 256
#define LATE_MS 500 /* behind which a follower is not waited for while clients are held */
#define FEW_FOR_MS 2500 /* a report each second */
#define COPIES_AT_ONCE 64 /* of a lane, at most (gateway/lane.c) */

bool core_has_lanes(const struct core *core) {
    return core->migration.capture == CAPTURE_LANE;
}

/* ---- reports ---- */

static int64_t number(const json_t *json, const char *name) {
    json_t *value = json_object_get(json, name);
    return json_is_integer(value) ? json_integer_value(value) : 0;
}

static struct lanes_report *find(struct core *core, const char *name, bool add) {
    struct lanes_report *oldest = &core->lanes[0];
    for (size_t i = 0; i < BARRIER_GATEWAYS_MAX; i++) {
        struct lanes_report *r = &core->lanes[i];
        if (strcmp(r->name, name) == 0) return r;
        if (r->heard_ms < oldest->heard_ms) oldest = r;
    }
    if (!add) return NULL;
    json_decref(oldest->json);
    *oldest = (struct lanes_report){0};
    snprintf(oldest->name, sizeof oldest->name, "%s", name);
    return oldest;
}

static const char *const witness_states[] = {"off", "refused", "down", "on"};

static const char *witness_state(const struct lanes_report *r) {
    return r->witness >= 0 && r->witness <= 3 ? witness_states[r->witness] : "off";
}

/* C22: since when its witness has seen everything, or has been refused for good. A report is late at
 * most, so the first one after each gap counts. */
static void look_at_witness(struct core *core, struct lanes_report *r, const json_t *json) {
    int64_t before = r->witness, gaps = number(json, "witness_gaps_total");
    r->witness = number(json, "witness");
    bool same = before == r->witness && r->witness_gaps == gaps && r->witness != 2;
    r->witness_gaps = gaps;
    if (same || r->witness == 0) return;
    int64_t since_ms = core_wall_ms(core) - number(json, "witness_ms");
    if (since_ms <= core->witness_void_ms) return;
    core->witness_void_ms = since_ms;
    snprintf(core->witness_void, sizeof core->witness_void,
             "the witness of gateway %.60s was not there; it is %s", r->name, witness_state(r));
}

void core_lanes_take(struct core *core, const struct member *gateway, const json_t *json) {
    struct lanes_report *r = find(core, member_row(gateway)->name, true);
    r->heard_ms = core_now_ms(core);
    r->open = json_is_true(json_object_get(json, "open"));
    r->level = number(json, "level") > 0;
    r->primary_up = number(json, "primary_up") > 0;
    r->follower_up = number(json, "follower_up") > 0;
    r->functions_refused = number(json, "functions_refused") > 0;
    r->dirty_slots = number(json, "dirty_slots");
    r->dirty_keys = number(json, "dirty_keys") + number(json, "pinned_keys");
    r->failed_keys = number(json, "failed_keys");
    r->buried = number(json, "buried");
    r->queue_bytes = number(json, "queue_bytes");
    r->queue_limit = number(json, "queue_limit_bytes");
    r->lag_ms = number(json, "lag_ms");
    r->copies = number(json, "copies_total");
    r->copy_bytes = number(json, "copy_bytes_total");
    r->commands = number(json, "commands_total");
    r->copy_us = number(json, "copy_us");
    r->copy_us_max = number(json, "copy_us_max");
    r->big_copy_ms = number(json, "big_copy_ms"); /* C14a */
    look_at_witness(core, r, json);
    json_decref(r->json);
    r->json = json_deep_copy(json);
}

/* What the process before said of its lanes is not true of the next one's. */
void core_lanes_forget(struct core *core, const struct member *gateway) {
    struct lanes_report *r = find(core, member_row(gateway)->name, false);
    if (r == NULL) return;
    json_decref(r->json);
    *r = (struct lanes_report){0};
}

void core_lanes_forget_all(struct core *core) {
    for (size_t i = 0; i < BARRIER_GATEWAYS_MAX; i++) {
        json_decref(core->lanes[i].json);
        core->lanes[i] = (struct lanes_report){0};
    }
    core->lanes_copying = core_has_lanes(core);
    core->lanes_few_since_ms = core_wall_ms(core);
    core->lanes_base = core->lanes_base_bytes = 0;
}

bool core_lanes_late(const struct core *core) {
    uint64_t now_ms = core_now_ms(core);
    for (size_t i = 0; i < BARRIER_GATEWAYS_MAX; i++) {
        const struct lanes_report *r = &core->lanes[i];
        if (r->heard_ms == 0 || now_ms - r->heard_ms >= REPORT_FRESH_MS) continue;
        if (r->follower_up && r->lag_ms > LATE_MS) return true;
    }
    return false;
}

bool core_lanes_buried(const struct core *core) {
    uint64_t now_ms = core_now_ms(core);
    for (size_t i = 0; i < BARRIER_GATEWAYS_MAX; i++) {
        const struct lanes_report *r = &core->lanes[i];
        if (r->heard_ms > 0 && now_ms - r->heard_ms < REPORT_FRESH_MS && r->buried > 0) return true;
    }
    return false;
}

void core_lanes_close(struct core *core) {
    for (size_t i = 0; i < BARRIER_GATEWAYS_MAX; i++) json_decref(core->lanes[i].json);
}

/* At P a witness sees what strangers write, and it is copied; else nobody knows which keys. */
bool core_lanes_went_round(const struct core *core, int64_t since_ms, char *what, size_t size) {
    bool all_on = true;
    for (size_t i = 0; i < BARRIER_GATEWAYS_MAX; i++)
        if (core->lanes[i].heard_ms > 0 && core->lanes[i].witness != 3) all_on = false;
    if (core->witness_void_ms > since_ms) {
        snprintf(what, size, "%s", core->witness_void);
        return true;
    }
    for (unsigned s = 0; s < SIDES; s++) {
        const struct gates_side *side = &side_facts(core->side[s])->gate;
        bool seen = all_on && s == core->workflow.primary;
        if (!side->writer[0] || seen) continue;
        snprintf(what, size, "somebody wrote to %s past the gateways: %s", side_name((enum side)s),
                 side->writer);
        return true;
    }
    return false;
}

/* ---- all gateways together ---- */

static bool follows(enum phase phase) {
    return phase >= PHASE_COPYING && phase <= PHASE_ROLLING_BACK;
}

/* Why the lanes of a gateway do not see, or do not carry over, what clients write; NULL: they do. */
static const char *trouble(const struct core *core, const struct lanes_report *r) {
    uint64_t now_ms = core_now_ms(core);
    if (r == NULL || r->heard_ms == 0 || now_ms - r->heard_ms > REPORT_FRESH_MS)
        return "has not reported its lanes";
    if (!r->open) return "has its lanes closed";
    if (!r->primary_up) return "has no lanes to the primary side";
    if (r->buried > 0)
        return "waits until connections that broke are known to be gone"; /* C21 */
    if (!r->follower_up) return "has no lanes to the other side";
    if (r->witness == 2) return "waits for its witness at the primary side"; /* C22 */
    return NULL;
}

static void add(struct gates_lanes *all, const struct lanes_report *r) {
    int64_t drain_ms = r->copy_us_max / 1000 + r->dirty_keys * r->copy_us / COPIES_AT_ONCE / 1000 +
                       r->big_copy_ms;
    all->functions_refused |= r->functions_refused;
    all->dirty_slots += r->dirty_slots;
    all->dirty_keys += r->dirty_keys;
    all->failed_keys += r->failed_keys;
    all->queue_bytes += r->queue_bytes;
    all->queue_limit += r->queue_limit;
    all->copies += r->copies;
    all->copy_bytes += r->copy_bytes;
    all->commands += r->commands;
    if (!r->level) all->level = false;
    if (r->lag_ms > all->lag_ms) all->lag_ms = r->lag_ms;
    if (drain_ms > all->drain_ms) all->drain_ms = drain_ms;
}

static long major_version(const struct core *core, enum side side) {
    return strtol(side_facts(core->side[side])->version, NULL, 10);
}

static bool is_cluster(const struct core *core, enum side side) {
    return strcmp(side_facts(core->side[side])->mode, "cluster") == 0;
}

/* At first every slot is dirty. The pass that clears them names every key; the copy is done when
 * those are copied, but for the few that are always dirty under load. */
static void look_at_copy(struct core *core, struct gates_lanes *all) {
    if (all->dirty_slots > 0)
        core->lanes_copying = true;
    else if (all->baseline_done && all->dirty_keys <= FEW_KEYS)
        core->lanes_copying = false;
    if (core->lanes_copying) all->baseline_done = false;
}

void core_lanes_sum(struct core *core, struct gates_lanes *all) {
    *all = (struct gates_lanes){.used = core_has_lanes(core),
                                .level = true,
                                .baseline_done = true,
                                .hold_ms = core->config->cutover.max_hold,
                                .turnable = major_version(core, SIDE_LEGACY) >= 5,
                                .cluster = is_cluster(core, SIDE_LEGACY)};
    if (!all->used) return;
    for (struct member *m = members_first(core->members, MEMBER_GATEWAY); m; m = members_next(m)) {
        const char *name = member_row(m)->name;
        const struct lanes_report *r = find(core, name, false);
        const char *why = trouble(core, r);
        all->gateways++;
        if (why && !all->error[0])
            snprintf(all->error, sizeof all->error, "gateway %.60s %s", name, why);
        if (r) add(all, r);
        if (!r || r->heard_ms == 0) all->baseline_done = all->level = false;
    }
    const char *away = core_slots_trouble(core);
    if (away != NULL) {
        all->level = false;
        if (!all->error[0])
            snprintf(all->error, sizeof all->error, "gateway %.60s is away, and its slots with it",
                     away);
    }
    if (all->gateways == 0) {
        all->baseline_done = all->level = false;
        snprintf(all->error, sizeof all->error, "no gateway is connected");
    }
    look_at_copy(core, all);
}

/* ---- as if it were a link ---- */

static void set_base(struct core *core, const struct gates_lanes *all) {
    core->lanes_base = all->copies;
    core->lanes_base_bytes = all->copy_bytes;
}

/* Copies since the lanes began, against what the primary side holds: a pass over both sides names
 * every key once, and keys that are written meanwhile are copied again. */
static void fill_copy(struct core *core, struct link_report *link, const struct gates_lanes *all) {
    int64_t now_ms = core_wall_ms(core);
    const struct side_facts *facts = side_facts(core->side[core->workflow.primary]);
    link->copy_keys_total = facts->keys;
    link->gate.copy_done = all->baseline_done;
    bool first = link->copy_started_ms == 0;
    /* The first one may have ended before the first report of it came. */
    if (first ? !all->baseline_done || core->workflow.phase == PHASE_COPYING
              : !all->baseline_done && link->copy_ended_ms != 0) {
        if (link->copies > 0) set_base(core, all); /* the first one began at OPEN, which may be a while ago */
        link->copy_started_ms = now_ms;
        link->copy_ended_ms = 0;
        link->copies++;
    }
    if (link->copy_started_ms == 0 || link->copy_ended_ms != 0) return;
    if (all->error[0] && all->copies <= core->lanes_base)
        link->copy_started_ms = now_ms; /* it waits for a connection: that is no copying */
    if (all->copies < core->lanes_base) core->lanes_base = core->lanes_base_bytes = 0;
    link->copy_keys = all->copies - core->lanes_base;
    link->copy_bytes = all->copy_bytes - core->lanes_base_bytes;
    /* Keys that nobody can stop writing to may stay dirty for ever. */
    if (!all->baseline_done) core->lanes_few_since_ms = now_ms;
    bool copied = all->dirty_keys == 0 || link->copy_keys >= link->copy_keys_total ||
                  now_ms - core->lanes_few_since_ms > FEW_FOR_MS;
    if (all->baseline_done && copied) link->copy_ended_ms = now_ms;
    link->gate.copy_done = link->copy_ended_ms != 0;
    int64_t left = link->copy_keys_total - link->copy_keys, took = now_ms - link->copy_started_ms;
    link->eta_ms = left <= 0              ? 0
                   : link->copy_keys == 0 ? -1
                                          : (int64_t)((double)took * (double)left /
                                                      (double)link->copy_keys);
}

void core_lanes_as_links(struct core *core, const struct gates_lanes *all) {
    enum link_id active = link_from(core->workflow.primary);
    struct link_report *link = &core->link[active], *standby = &core->link[link_other(active)];
    bool open = follows(core->workflow.phase);
    /* Whoever is primary next is followed by lanes, which need not stand by. */
    if (core_capture_of(core, side_other(core->workflow.primary)) == CAPTURE_LANE) {
        standby->heard_ms = core_now_ms(core);
        standby->gate = (struct gates_link){.known = !all->used || all->gateways > 0,
                                            .standby = true,
                                            .way_back = true};
        snprintf(standby->gate.state, sizeof standby->gate.state, "standby");
    }
    if (!all->used) return;
    link->heard_ms = core_now_ms(core);
    link->gate = (struct gates_link){.known = all->gateways > 0,
                                     .idle = all->level,
                                     .way_back = true,
                                     .lag_ms = all->lag_ms,
                                     .lag_bytes = all->queue_bytes,
                                     .dirty = all->dirty_keys,
                                     .quarantined = all->failed_keys,
                                     .spool_bytes = all->queue_bytes,
                                     .spool_limit = all->queue_limit};
    snprintf(link->gate.error, sizeof link->gate.error, "%s", open ? all->error : "");
    link->commands = all->commands;
    if (!open) {
        set_base(core, all);
        link->copies = 0;
    } else if (all->gateways > 0) {
        fill_copy(core, link, all);
    }
    link->gate.following = open && !all->error[0] && link->gate.copy_done;
    snprintf(link->gate.state, sizeof link->gate.state, "%s",
             !open                     ? "stopped"
             : all->error[0]           ? "dialing"
             : !link->gate.copy_done   ? "copying"
                                       : "following");
}

/* ---- orders ---- */

void core_lanes_duty(struct core *core, struct member *gateway) {
    if (!core_has_lanes(core)) return;
    member_sendf(gateway, NULL, core, "LANES %s %" PRIu64,
                 follows(core->workflow.phase) ? "OPEN" : "CLOSE", core->workflow.epoch);
}

void core_lanes_duties(struct core *core) {
    for (struct member *m = members_first(core->members, MEMBER_GATEWAY); m; m = members_next(m))
        core_lanes_duty(core, m);
}

static void drain_answered(void *self, struct member *member, bool ok, struct slice text) {
    struct core *core = self;
    char why[200];
    if (ok) return;
    snprintf(why, sizeof why, "gateway %.60s: %.*s", member_row(member)->name,
             (int)(text.size < 100 ? text.size : 100), (const char *)text.data);
    core_barrier_event(core, &(struct barrier_event){.kind = BARRIER_EV_FAILED, .why = why});
}

/* Every gateway that takes part; one that is not here any more has undone the barrier. */
void core_lanes_drain(struct core *core) {
    struct barrier *b = &core->barrier;
    for (struct member *m = members_first(core->members, MEMBER_GATEWAY); m; m = members_next(m))
        member_sendf(m, drain_answered, core, "LANES DRAIN %" PRId64 " %" PRIu64, b->row.id,
                     b->row.epoch_before);
}

void core_lanes_drained(struct core *core, const struct member *gateway, int64_t barrier) {
    struct lanes_report *drained = find(core, member_row(gateway)->name, true);
    drained->drained = barrier;
    for (struct member *m = members_first(core->members, MEMBER_GATEWAY); m; m = members_next(m)) {
        const struct lanes_report *r = find(core, member_row(m)->name, false);
        if (r == NULL || r->drained != barrier) return;
    }
    core_barrier_event(core, &(struct barrier_event){.kind = BARRIER_EV_DRAINED});
}

/* ---- status ---- */

json_t *core_lanes_json(struct core *core) {
    struct gates_lanes all;
    if (!core_has_lanes(core)) return json_null();
    core_lanes_sum(core, &all);
    json_t *gateways = json_object();
    int64_t least = 3;
    for (struct member *m = members_first(core->members, MEMBER_GATEWAY); m; m = members_next(m)) {
        const struct lanes_report *r = find(core, member_row(m)->name, false);
        if (r && r->json) json_object_set(gateways, r->name, r->json);
        if (r && r->heard_ms > 0 && r->witness < least) least = r->witness;
    }
    const struct lanes_report worst = {.witness = json_object_size(gateways) ? least : 2};
    return json_pack("{s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "level", all.level, "witness",
                     witness_state(&worst),
                     "error", all.error, "dirty_keys", (json_int_t)all.dirty_keys, "dirty_slots",
                     (json_int_t)all.dirty_slots, "failed_keys", (json_int_t)all.failed_keys,
                     "queue_bytes", (json_int_t)all.queue_bytes, "lag_ms", (json_int_t)all.lag_ms,
                     "drain_ms", (json_int_t)all.drain_ms, "copies_total", (json_int_t)all.copies,
                     "gateways", gateways);
}

/* core_members.c -- members join, report, and are told what must be so. */
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/redis/resp.h"
#include "state/core.h"

#include <inttypes.h>
#include <stdio.h>

#define DISCARD_BYTES (4 << 20) /* a standby link is told in steps of so much */

/* ---- the ledger's rows of members ---- */

struct member_job {
    struct store_job job;
    int64_t migration;
    struct member_row row;
    bool joined;
    char why[160];
};

static enum err write_member(struct store_job *job, struct ledger *ledger, struct why *why) {
    struct member_job *m = (struct member_job *)job;
    if (m->joined) return ledger_member_joined(ledger, m->migration, &m->row, why);
    return ledger_member_left(ledger, m->migration, &m->row, m->why, why);
}

static void member_written(struct store_job *job) {
    if (job->err) log_error("ledger.failed", LOG_WHY(&job->why));
    mem_free(job);
}

static void record_member(struct core *core, const struct member *member, bool joined,
                          const char *why) {
    struct member_job *job = NEW(struct member_job);
    job->job.work = write_member;
    job->job.done = member_written;
    job->migration = core->migration.id;
    job->row = *member_row(member);
    job->joined = joined;
    snprintf(job->why, sizeof job->why, "%s", why);
    store_submit(core->store, &job->job);
}

/* ---- syncers: one carries the links, others wait ---- */

struct member *core_syncer(const struct core *core) {
    return core->syncer[0] ? members_find(core->members, MEMBER_SYNCER, core->syncer) : NULL;
}

/* The standby link keeps what its source sends from the last possible barrier on (C26). A barrier
 * that begins from now on reads its place later than the last INFO, so nothing before that is
 * needed. */
void core_discard_standby(struct core *core) {
    enum link_id standby = link_from(side_other(core->workflow.primary));
    const struct side_facts *facts = side_facts(core->side[link_source(standby)]);
    struct link_report *report = &core->link[standby];
    struct member *syncer = core_syncer(core);
    if (!syncer || barrier_is_open(&core->barrier) || core->moving) return;
    if (!report->gate.known || !report->gate.standby ||
        strcmp(facts->place.replid, report->replid) != 0)
        return;
    if (facts->place.offset < report->begin_offset + DISCARD_BYTES) return;
    member_sendf(syncer, NULL, core, "LINK DISCARD %s %" PRId64, link_name(standby),
                 facts->place.offset);
}

static void send_open(struct core *core, struct member *syncer, enum link_id link, const char *mode,
                      int64_t own_until, bool by_lanes) {
    char json[320];
    snprintf(json, sizeof json,
             "{\"migration\":\"%s\",\"epoch\":%" PRIu64
             ",\"from\":\"%s\",\"to\":\"%s\",\"mode\":\"%s\","
             "\"own_until\":%" PRId64 ",\"lanes\":%s}",
             core->migration.name, core->workflow.epoch, side_name(link_source(link)),
             side_name(side_other(link_source(link))), mode, own_until, by_lanes ? "true" : "false");
    const struct slice argv[] = {SLICE("LINK"), SLICE("OPEN"), slice_text(link_name(link)),
                                 slice_text(json)};
    member_send(syncer, NULL, core, 4, argv);
}

static void carry_out(struct core *core, struct member *syncer, const struct duty *duty) {
    const char *link = link_name(duty->link);
    switch (duty->kind) {
    case DUTY_OPEN_COPY: send_open(core, syncer, duty->link, "copy", 0, false); break;
    case DUTY_OPEN_STANDBY:
        send_open(core, syncer, duty->link, "standby", duty->own_until, duty->by_lanes);
        break;
    case DUTY_UNDRAIN:
        member_sendf(syncer, NULL, core, "LINK UNDRAIN %s %" PRId64, link, duty->barrier);
        break;
    case DUTY_ACTIVATE:
        member_sendf(syncer, NULL, core, "LINK ACTIVATE %s %" PRIu64 " %s %" PRId64, link,
                     duty->epoch, duty->place.replid, duty->place.offset);
        break;
    case DUTY_CLOSE: member_sendf(syncer, NULL, core, "LINK CLOSE %s", link); break;
    }
}

void core_carry_out_duties(struct core *core) {
    struct member *syncer = core_syncer(core);
    if (barrier_is_open(&core->barrier)) return;
    core_lanes_duties(core);
    if (!syncer || core->migration.capture == CAPTURE_AUTO) return;
    struct duty duties[DUTIES_MAX];
    struct workflow_capture capture = {
        .now = core->migration.capture,
        .other = core_capture_of(core, side_other(core->workflow.primary)),
        .attach = core->recapture.wanted == CAPTURE_STREAM};
    size_t count =
        workflow_duties(&core->workflow, &capture, &core->last, &core->committed, duties);
    for (size_t i = 0; i < count; i++) carry_out(core, syncer, &duties[i]);
}

static void take_syncer(struct core *core, struct member *member) {
    snprintf(core->syncer, sizeof core->syncer, "%s", member_row(member)->name);
    core_carry_out_duties(core);
    core_barrier_event(core, &(struct barrier_event){.kind = BARRIER_EV_LINK_JOINED});
    core_audit_syncer_joined(core);
}

/* ---- gateways ---- */

static void route_answered(void *self, struct member *member, bool ok, struct slice text) {
    struct core *core = self;
    if (ok)
        member_set_epoch(member, core->workflow.epoch);
    else
        log_error("gateway.not_routed", LOG_S("gateway", member_row(member)->name),
                  LOG_SL("why", text));
}

/* RELEASE first: it may still hold for a barrier that ended while it was away (C24). */
void core_route(struct core *core, struct member *gateway) {
    const char *primary = side_name(core->workflow.primary);
    if (core->migration.capture == CAPTURE_AUTO) return; /* routed when it is chosen */
    if (core->last.outcome != BARRIER_NONE && barrier_recaptures(&core->last))
        member_sendf(gateway, NULL, core, "RELEASE %" PRId64 " %" PRIu64 " %s %s", core->last.id,
                     core->workflow.epoch, primary, capture_name(core->migration.capture));
    else if (core->last.outcome != BARRIER_NONE)
        member_sendf(gateway, NULL, core, "RELEASE %" PRId64 " %" PRIu64 " %s", core->last.id,
                     core->workflow.epoch, primary);
    core_slots_route(core, gateway);
    member_sendf(gateway, route_answered, core, "ROUTE %" PRIu64 " %s %s", core->workflow.epoch,
                 primary, capture_name(core->migration.capture));
    core_baseline_joined(core, gateway); /* before its lanes are opened */
    if (!barrier_is_open(&core->barrier)) core_lanes_duty(core, gateway);
    core_audit_lanes_joined(core, gateway);
    core_reads_joined(core, gateway);
}

/* ---- events of members.h ---- */

static bool may_join(void *self, const struct member_row *row, struct why *why) {
    struct core *core = self;
    if (row->epoch > core->workflow.epoch) {
        core->member_ahead = true;
        log_error("state.behind", LOG_S("member", row->name), LOG_U("its_epoch", row->epoch),
                  LOG_U("our_epoch", core->workflow.epoch));
        why_set(why, ERR_STATE, "STALEEPOCH %" PRIu64, core->workflow.epoch);
        return false;
    }
    return true;
}

static void greet(void *self, struct buf *out) {
    struct core *core = self;
    resp_write_array(out, 10);
    resp_write_text(out, "epoch");
    resp_write_int(out, (int64_t)core->workflow.epoch);
    resp_write_text(out, "primary");
    resp_write_text(out, side_name(core->workflow.primary));
    resp_write_text(out, "capture");
    resp_write_text(out, capture_name(core->migration.capture));
    resp_write_text(out, "phase");
    resp_write_text(out, phase_name(core->workflow.phase));
    resp_write_text(out, "migration");
    resp_write_text(out, core->migration.name);
}

static void admit(struct core *core, struct member *gateway) {
    bool open = barrier_is_open(&core->barrier);
    const char *name = member_row(gateway)->name;
    core_slots_joined(core, gateway);
    core_barrier_event(core,
                       &(struct barrier_event){.kind = BARRIER_EV_GATEWAY_JOINED, .gateway = name});
    /* While a barrier runs it says what a gateway does; before the hold, that is to go on. */
    if (!open || core->barrier.sm.state <= BARRIER_PREPARING) core_route(core, gateway);
}

/* ---- a gateway's name that another process had (C21, C25) ----
 * A HELD speaks for all connections of a name. So what the process before left behind under it is
 * killed before this one is routed; what it writes on the way there would be nobody's. */

struct predecessor {
    struct core *core;
    char name[NAME_MAX_BYTES];
    int64_t pid;
};

/* Remembers the process, too. */
static bool is_another_process(struct core *core, const struct member_row *row) {
    size_t at = 0;
    while (at < core->gateway_count && strcmp(core->gateways[at].name, row->name) != 0) at++;
    bool known = at < core->gateway_count, other = known && core->gateways[at].pid != row->pid;
    if (!known && core->gateway_count == BARRIER_GATEWAYS_MAX)
        at = 0; /* the oldest is forgotten */
    else if (!known)
        core->gateway_count++;
    core->gateways[at] = *row;
    return other;
}

static bool keep_others(void *self, const char *name, size_t bytes) {
    const struct predecessor *p = self;
    return strlen(p->name) != bytes || memcmp(p->name, name, bytes) != 0;
}

static void predecessor_fenced(void *self, const struct side_result *result) {
    struct predecessor p = *(struct predecessor *)self;
    mem_free(self);
    p.core->admitting--;
    if (result->err)
        log_warn("member.not_fenced", LOG_S("gateway", p.name), LOG_S("why", result->why));
    struct member *gateway = members_find(p.core->members, MEMBER_GATEWAY, p.name);
    if (gateway && member_row(gateway)->pid == p.pid) admit(p.core, gateway);
}

static void fence_predecessor(struct core *core, const struct member_row *row) {
    struct predecessor *p = NEW(struct predecessor);
    p->core = core;
    p->pid = row->pid;
    snprintf(p->name, sizeof p->name, "%s", row->name);
    core->admitting++;
    side_fence(core->side[core->workflow.primary], keep_others, predecessor_fenced, p);
}

static void on_joined(void *self, struct member *member) {
    struct core *core = self;
    const struct member_row *row = member_row(member);
    log_info("member.joined", LOG_S("role", row->role), LOG_S("name", row->name),
             LOG_I("pid", row->pid));
    record_member(core, member, true, "");
    if (member_role(member) == MEMBER_SYNCER) {
        if (!core_syncer(core)) take_syncer(core, member);
        return;
    }
    core_lanes_forget(core, member);
    if (is_another_process(core, row))
        fence_predecessor(core, row);
    else
        admit(core, member);
}

static void on_lost(void *self, struct member *member, const char *why) {
    struct core *core = self;
    const struct member_row *row = member_row(member);
    log_warn("member.lost", LOG_S("role", row->role), LOG_S("name", row->name), LOG_S("why", why));
    record_member(core, member, false, why);
    if (member_role(member) == MEMBER_GATEWAY) {
        core_barrier_event(
            core, &(struct barrier_event){.kind = BARRIER_EV_GATEWAY_LOST, .gateway = row->name});
        /* It was a part of the link: its dirty keys are known to itself alone. */
        core_slots_lost(core, row->name);
        if (core_has_lanes(core))
            core_barrier_event(core, &(struct barrier_event){.kind = BARRIER_EV_LINK_LOST,
                                                             .why = "a gateway went away"});
        return;
    }
    if (strcmp(core->syncer, row->name) != 0) return;
    core->syncer[0] = 0;
    core->alone_since_ms = core_now_ms(core);
    for (unsigned l = 0; l < LINKS; l++) core->link[l].gate.known = false;
    core_link_forget(&core->attached);
    core_barrier_event(core, &(struct barrier_event){.kind = BARRIER_EV_LINK_LOST});
    struct member *next = members_first(core->members, MEMBER_SYNCER);
    if (next) take_syncer(core, next);
}

static bool is(struct slice word, const char *text) {
    return slice_equal_nocase(word, slice_text(text));
}

static void take_stats(struct core *core, struct member *member, const json_t *json) {
    member_keep_stats(member, json);
    json_t *epoch = json_object_get(json, "epoch");
    if (json_is_integer(epoch) && json_integer_value(epoch) > 0)
        member_set_epoch(member, (uint64_t)json_integer_value(epoch));
    (void)core;
}

static void on_report(void *self, struct member *member, const struct slice *words, size_t count,
                      const json_t *json) {
    struct core *core = self;
    if (count == 0 || core_slots_report(core, member, words, count)) return;
    if (core_barrier_report(core, member, words, count, json)) return;
    if (member_role(member) == MEMBER_GATEWAY) {
        if (is(words[0], "STATS") && json)
            take_stats(core, member, json);
        else if (is(words[0], "LANES") && json) {
            core_lanes_take(core, member, json);
            core_slots_seen(core, member, json);
        } else if (core_audit_lanes_report(core, member, words, count, json))
            return;
        else if (is(words[0], "DOWNGRADED"))
            core_note(core, "side.downgraded", "gateway %s: the primary side is no master any more",
                      member_row(member)->name);
        return;
    }
    if (core_syncer(core) != member) return;
    if (is(words[0], "LINK") && count >= 2 && json) {
        core_take_link(core, is(words[1], "reverse") ? LINK_REVERSE : LINK_FORWARD, json);
        core_evaluate(core);
    } else {
        core_audit_report(core, words, count, json);
    }
}

/* ---- what anybody may ask ---- */

static void write_json(struct buf *out, json_t *json) {
    char *text = json_dumps(json, JSON_COMPACT);
    resp_write_text(out, text ? text : "{}");
    free(text);
    json_decref(json);
}

/* C25: nobody opens a connection to either side while a barrier holds. */
static void answer_epoch(struct core *core, size_t argc, const struct slice *argv,
                         struct buf *out) {
    if (barrier_is_open(&core->barrier) && !barrier_admits(&core->barrier)) {
        resp_write_errorf(out, "HOLD barrier %" PRId64 " is running; ask again",
                          core->barrier.row.id);
        return;
    }
    if (argc == 4 && !core_slots_admit(core, argv[2], argv[3])) {
        resp_write_errorf(out, "HOLD this gateway's slots are not settled");
        return;
    }
    if (core->halted) {
        resp_write_errorf(out, "HOLD state is ending");
        return;
    }
    resp_write_array(out, 3);
    resp_write_int(out, (int64_t)core->workflow.epoch);
    resp_write_text(out, side_name(core->workflow.primary));
    resp_write_text(out, phase_name(core->workflow.phase));
}

static void on_ask(void *self, size_t argc, const struct slice *argv, struct buf *out) {
    struct core *core = self;
    if (argc >= 2 && is(argv[0], "DRAWBRIDGE") && is(argv[1], "BYHAND"))
        core_by_hand_told(core, argc, argv, out);
    else if ((argc == 2 || argc == 4) && is(argv[0], "DRAWBRIDGE") && is(argv[1], "EPOCH"))
        answer_epoch(core, argc, argv, out);
    else if (argc != 2 || !is(argv[0], "DRAWBRIDGE"))
        resp_write_errorf(out, "ERR unknown command");
    else if (is(argv[1], "STATUS"))
        write_json(out, core_status(core));
    else if (is(argv[1], "MEMBERS"))
        write_json(out, core_members_json(core));
    else
        resp_write_errorf(out, "ERR unknown command");
}

const struct members_events core_members_events = {may_join, greet,     on_joined,
                                                   on_lost,  on_report, on_ask};

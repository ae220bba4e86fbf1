/* core_reads.c -- which side answers reads: what an operator wants, and what the gateways are told.
 *
 * A share of the reads goes to the follower side only while both sides are level, or guarded, and
 * the lag is within its limit: else the gateways are told `primary`, until it is so again. Shadow
 * reads change nothing for clients and go on from `following`. What is wanted is in the ledger, so
 * that a restarted state goes on taking a share back when it has to be.
 */
#include "state/core.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"

#include <inttypes.h>
#include <stdio.h>

static struct reads_policy effective(const struct core *core) {
    struct reads_policy p = core->reads.wanted;
    enum phase phase = core->workflow.phase;
    const struct link_report *link = &core->link[link_from(core->workflow.primary)];
    bool level = phase == PHASE_LEVEL || phase == PHASE_GUARDED;
    bool near = link->gate.known && link->gate.lag_ms <= core->config->gates.lag;
    bool follows = phase >= PHASE_FOLLOWING && phase <= PHASE_GUARDED;
    bool may = p.kind == READS_CANARY ? level && near : follows;
    if (!may) p.kind = READS_PRIMARY;
    p.after_ms = (uint32_t)(2 * core->config->gates.lag + READS_AFTER_MS);
    return p;
}

static void tell(struct core *core, struct member *gateway) {
    char text[READS_TEXT_BYTES];
    reads_text(core->reads.told, text);
    member_sendf(gateway, NULL, core, "READS %s AFTER %" PRIu32, text, core->reads.told.after_ms);
}

static void tell_all(struct core *core) {
    core->reads.told = effective(core);
    for (struct member *m = members_first(core->members, MEMBER_GATEWAY); m; m = members_next(m))
        tell(core, m);
}

void core_reads_joined(struct core *core, struct member *gateway) {
    if (core->reads.ordered) tell(core, gateway);
}

void core_reads_tick(struct core *core) {
    if (!core->reads.ordered) return;
    struct reads_policy now = effective(core);
    if (now.kind == core->reads.told.kind && now.share == core->reads.told.share) return;
    tell_all(core);
    core_note(core, "reads.changed", "the gateways are told: reads %s",
              now.kind == READS_PRIMARY ? "by the primary side, for now" : "as wanted again");
}

struct reads_job {
    struct store_job job;
    int64_t migration;
    struct reads_policy wanted;
    char who[64];
};

static enum err write_reads(struct store_job *job, struct ledger *ledger, struct why *why) {
    struct reads_job *r = (struct reads_job *)job;
    return ledger_save_reads(ledger, r->migration, r->wanted, r->who, why);
}

static void reads_written(struct store_job *job) {
    if (job->err) log_error("ledger.failed", LOG_WHY(&job->why));
    mem_free(job);
}

static void keep(struct core *core, const char *who) {
    struct reads_job *r = NEW(struct reads_job);
    r->job.work = write_reads;
    r->job.done = reads_written;
    r->migration = core->migration.id;
    r->wanted = core->reads.wanted;
    snprintf(r->who, sizeof r->who, "%s", who);
    store_submit(core->store, &r->job);
}

enum err core_reads_set(struct core *core, const struct core_asker *asker, struct slice text,
                        struct why *why) {
    struct reads_policy policy;
    enum err err = reads_parse(text, &policy, why);
    if (err) return err;
    core->reads.wanted = policy;
    core->reads.ordered = true;
    keep(core, asker->who);
    tell_all(core);
    return OK;
}

/* ---- what the gateways found ---- */

struct reads_question {
    struct core *core;
    core_done *done;
    void *self;
    size_t left;
    json_t *gateways;
};

static void one_answered(struct reads_question *q) {
    char wanted[READS_TEXT_BYTES] = "", told[READS_TEXT_BYTES] = "";
    if (--q->left > 0) return;
    if (q->core->reads.ordered) reads_text(q->core->reads.wanted, wanted);
    if (q->core->reads.ordered) reads_text(q->core->reads.told, told);
    q->done(q->self, OK, "",
            json_pack("{s:s, s:s, s:o}", "wanted", wanted, "effective", told, "gateways",
                      q->gateways));
    mem_free(q);
}

static void on_answer(void *self, struct member *member, bool ok, struct slice text) {
    struct reads_question *q = self;
    json_t *json = ok ? json_loadb((const char *)text.data, text.size, 0, NULL) : NULL;
    if (json) json_object_set_new(q->gateways, member_row(member)->name, json);
    one_answered(q);
}

void core_reads_ask(struct core *core, core_done *done, void *self) {
    struct reads_question *q = NEW(struct reads_question);
    *q = (struct reads_question){core, done, self, 1, json_object()};
    for (struct member *m = members_first(core->members, MEMBER_GATEWAY); m; m = members_next(m)) {
        q->left++;
        member_sendf(m, on_answer, q, "READS");
    }
    one_answered(q);
}

/* core_baseline.c -- `start --baseline`: the lanes' first copy of all keys comes from an RDB file (C15).
 *
 *     start --> BASELINE CHECK of every gateway --> the ledger --> BASELINE of every gateway --> copying
 *
 * The file is the gateways' to read, and cannot be there yet: it has to be begun after they have put
 * copies on hold and write down what clients write. So `start` asks whether they could read it, and
 * `status` says since when. A gateway that comes while the copy goes on is told, too.
 */
#include "state/core.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- can they read it? ---- */

struct question {
    struct core *core;
    core_baseline_done *done;
    void *self;
    size_t left;
    bool there;
    char why[300]; /* "": it can be read by all */
};

static void one_answered(struct question *q) {
    if (--q->left > 0) return;
    q->done(q->self, q->why, q->there);
    mem_free(q);
}

static void on_answer(void *self, struct member *member, bool ok, struct slice text) {
    struct question *q = self;
    if (ok && slice_equal(text, SLICE("THERE"))) q->there = true;
    if (!ok && q->why[0] == '\0')
        snprintf(q->why, sizeof q->why, "gateway %.60s cannot read it: %.*s",
                 member_row(member)->name, (int)(text.size < 200 ? text.size : 200),
                 (const char *)text.data);
    one_answered(q);
}

void core_baseline_ask(struct core *core, const char *path, core_baseline_done *done, void *self) {
    struct question *q = NEW(struct question);
    *q = (struct question){.core = core, .done = done, .self = self, .left = 1};
    const struct slice argv[] = {SLICE("BASELINE"), SLICE("CHECK"), slice_text(path)};
    struct member *m = members_first(core->members, MEMBER_GATEWAY);
    if (m == NULL) snprintf(q->why, sizeof q->why, "no gateway is here, and they are to read it");
    for (; m; m = members_next(m)) {
        q->left++;
        member_send(m, on_answer, q, 3, argv);
    }
    one_answered(q);
}

/* ---- it is wanted ---- */

static void tell(struct core *core, struct member *gateway) {
    char number[24];
    snprintf(number, sizeof number, "%" PRId64, core->migration.id);
    const struct slice argv[] = {SLICE("BASELINE"), slice_text(number),
                                 core->baseline[0] ? slice_text(core->baseline) : SLICE("-")};
    member_send(gateway, NULL, core, 3, argv);
}

void core_baseline_joined(struct core *core, struct member *gateway) {
    if (core->baseline[0] && core->workflow.phase <= PHASE_COPYING) tell(core, gateway);
}

struct baseline_job {
    struct store_job job;
    struct core *core;
    int64_t migration;
    char path[BASELINE_BYTES], who[64];
};

static enum err write_baseline(struct store_job *job, struct ledger *ledger, struct why *why) {
    struct baseline_job *b = (struct baseline_job *)job;
    return ledger_save_baseline(ledger, b->migration, b->path, b->who, why);
}

static void baseline_written(struct store_job *job) {
    if (job->err) log_error("ledger.failed", LOG_WHY(&job->why));
    mem_free(job);
}

/* Jobs of the ledger are done in their order: it is there before the phase that needs it. */
void core_baseline_set(struct core *core, const char *path, const char *who) {
    snprintf(core->baseline, sizeof core->baseline, "%s", path);
    for (struct member *m = members_first(core->members, MEMBER_GATEWAY); m; m = members_next(m))
        tell(core, m);
    if (path[0] == '\0') return;
    struct baseline_job *b = NEW(struct baseline_job);
    *b = (struct baseline_job){.core = core, .migration = core->migration.id};
    b->job.work = write_baseline;
    b->job.done = baseline_written;
    snprintf(b->path, sizeof b->path, "%s", path);
    snprintf(b->who, sizeof b->who, "%s", who);
    store_submit(core->store, &b->job);
}

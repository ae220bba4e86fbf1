/* core_by_hand.c -- what an operator did to a gateway without state: recorded, and the proof is
 * void.
 *
 * GATEWAY HOLD, RELEASE and PIN by hand are for the hour in which `state` cannot come back (C24).
 * The gateway keeps what was done and tells it by DRAWBRIDGE BYHAND until the answer is OK, which
 * it is once the ledger has it. Told twice it is one event.
 */
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/redis/resp.h"
#include "state/core.h"

#include <inttypes.h>
#include <stdio.h>

struct by_hand_job {
    struct store_job job;
    struct core *core;
    struct core_by_hand done;
    int64_t migration;
};

static enum err write_by_hand(struct store_job *job, struct ledger *ledger, struct why *why) {
    const struct by_hand_job *b = (struct by_hand_job *)job;
    return ledger_gateway_by_hand(ledger, b->migration, b->done.gateway, b->done.what,
                                  b->done.at_ms, why);
}

static struct core_by_hand *find(struct core *core, const struct core_by_hand *wanted) {
    for (size_t i = 0; i < CORE_BY_HAND_MAX; i++) {
        struct core_by_hand *known = &core->by_hand[i];
        if (known->at_ms == wanted->at_ms && strcmp(known->gateway, wanted->gateway) == 0 &&
            strcmp(known->what, wanted->what) == 0)
            return known;
    }
    return NULL;
}

static void by_hand_written(struct store_job *job) {
    struct by_hand_job *b = (struct by_hand_job *)job;
    struct core_by_hand *known = find(b->core, &b->done);
    if (job->err) {
        log_error("ledger.failed", LOG_WHY(&job->why));
        if (known) *known = (struct core_by_hand){0}; /* it will be told again */
    } else if (known) {
        known->recorded = true;
    }
    mem_free(b);
}

static void record(struct core *core, const struct core_by_hand *done) {
    struct by_hand_job *b = NEW(struct by_hand_job);
    b->job.work = write_by_hand;
    b->job.done = by_hand_written;
    b->core = core;
    b->done = *done;
    b->migration = core->migration.id;
    core->by_hand[core->by_hand_next++ % CORE_BY_HAND_MAX] = *done;
    store_submit(core->store, &b->job);
}

static bool copy_word(char *to, size_t room, struct slice word) {
    if (word.size == 0 || word.size >= room) return false;
    for (size_t i = 0; i < word.size; i++)
        if (word.data[i] <= ' ' || word.data[i] >= 0x7f || word.data[i] == '"') return false;
    memcpy(to, word.data, word.size);
    to[word.size] = '\0';
    return true;
}

/* DRAWBRIDGE BYHAND <gateway> <what> <at_ms> */
void core_by_hand_told(struct core *core, size_t argc, const struct slice *argv, struct buf *out) {
    struct core_by_hand done = {0};
    if (argc != 5 || !copy_word(done.gateway, sizeof done.gateway, argv[2]) ||
        !copy_word(done.what, sizeof done.what, argv[3]) || !slice_to_int(argv[4], &done.at_ms) ||
        done.at_ms <= 0) {
        resp_write_errorf(out, "ERR DRAWBRIDGE BYHAND gateway what at_ms");
        return;
    }
    const struct core_by_hand *known = find(core, &done);
    if (known && known->recorded) {
        resp_write_ok(out);
        return;
    }
    core_barrier_event(core, &(struct barrier_event){.kind = BARRIER_EV_STOP,
                                                     .why = "a gateway was moved by hand"});
    /* Until a barrier has ended its audit's claim stays as it is; then it is void for good. */
    if (!known && !barrier_is_open(&core->barrier)) {
        log_warn("gateway.by_hand", LOG_S("gateway", done.gateway), LOG_S("what", done.what));
        core->hand_void_ms = core_wall_ms(core);
        core_audit_tick(core); /* the claim first: who is told OK knows that it is void */
        record(core, &done);
    }
    resp_write_errorf(out, "TRYAGAIN it is being recorded");
}

/* dual_others.c -- dual write: connections of an earlier process that nobody can name (C21). See
 * dual.h, others.h.
 *
 * They are known to be gone when both sides have told so; where one does not tell, when the grace
 * time is over, which counts from an answer of each side.
 */
#include "gateway/dual_inside.h"

#include "gateway/dispatch.h"
#include "gateway/others.h"
#include "gateway/shards/shards.h"

#include "lib/base/log.h"

#define ASK_AGAIN_MS 250u

void dual_note_id(struct worker *w, enum side side, int64_t id) {
    _Atomic int64_t *first = &w->gw->first_ids[side];
    int64_t known = atomic_load(first);
    while ((known == 0 || id < known) && !atomic_compare_exchange_weak(first, &known, id)) {}
}

static void on_list(struct req *req, struct backend *b, struct slice reply) {
    struct dual *d = b->worker->dual;
    struct resp_token t;
    struct why why;
    size_t used = 0;
    if (d == NULL || b->sm.state == BACKEND_GONE) return;
    if (resp_next(&resp_limits_server, reply, &t, &used, &why) != STEP_DONE || t.kind != RESP_BULK)
        return; /* it is refused */
    int64_t first = atomic_load(&d->worker->gw->first_ids[b->side]);
    bool none = others_in(t.text, b->server_id, first) == OTHERS_NONE;
    d->others.none[req->arg] = none && dual_side(d, (enum lane_side)req->arg) == b->side;
}

static void ask(struct dual *d, enum lane_side side) {
    struct shards *shards = d->worker->shards[dual_side(d, side)];
    if (shards != NULL) {
        d->others.none[side] = shards_has_no_others(shards);
        return;
    }
    struct backend *b = dispatch_shared(d->worker, dual_side(d, side), 2, 0);
    struct buf out = {0};
    if (b == NULL) return; /* being dialled */
    resp_write_words(&out, "CLIENT", "LIST", NULL);
    backend_write(b, buf_slice(&out));
    buf_close(&out);
    struct req *req = backend_expect(b, NULL, REQ_WHOLE, 1);
    req->done = on_list;
    req->arg = (uint64_t)side;
}

static void are_gone(struct dual *d, const char *how) {
    d->recovered.others = false;
    log_info("lanes.others_gone", LOG_S("how", how));
    lanes_unbury_others(&d->lanes, &d->file.journal);
}

void dual_watch_others(struct dual *d) {
    uint64_t now_ms = loop_now_ms(d->worker->loop);
    if (!d->recovered.others) return;
    for (unsigned side = 0; side < 2; side++) {
        if (d->line[side][0].up) continue;
        dual_others_reset(d);
        return;
    }
    if (d->others.since_ms == 0) d->others.since_ms = now_ms;
    if (d->others.none[LANE_P] && d->others.none[LANE_F])
        are_gone(d, "neither side has any");
    else if (now_ms - d->others.since_ms >= DUAL_GRACE_MS)
        are_gone(d, "the grace time is over");
    else if (now_ms >= d->others.ask_ms) {
        d->others.ask_ms = now_ms + ASK_AGAIN_MS;
        for (unsigned side = 0; side < 2; side++)
            if (!d->others.none[side]) ask(d, (enum lane_side)side);
    }
}

void dual_others_reset(struct dual *d) {
    for (unsigned side = 0; side < SIDES; side++)
        if (d->worker->shards[side] != NULL) shards_forget_others(d->worker->shards[side]);
    memset(&d->others, 0, sizeof d->others);
}

/* drain.c -- the end of a gateway: the main loop's part. See drain.h; the loops' is drain_loop.c. */
#include "gateway/drain.h"

#include "gateway/control.h"
#include "gateway/gw.h"
#include "gateway/lanes_control.h"
#include "gateway/worker.h"

#include "lib/base/log.h"

static const char *const names[] = {"serving", "leaving", "answering", "closing", "over"};

static void tell_all(struct gateway *gw, enum tell tell) {
    struct tell_message message = {.tell = tell};
    for (unsigned i = 0; i < gw->loops; i++) worker_tell(gw->workers[i], &message);
}

static void enter(struct gateway *gw, enum drain_stage stage) {
    struct drain *d = &gw->drain;
    d->stage = stage;
    d->waiting = gw->loops;
    switch (stage) {
    case DRAIN_LEAVING: break; /* drain_tick() asks state, and looks */
    case DRAIN_ANSWERING: tell_all(gw, TELL_END); break;
    case DRAIN_CLOSING:
        tell_all(gw, TELL_CLOSE);
        if (!gw->lanes) break;
        d->waiting++;
        worker_tell(gw->workers[0], &(struct tell_message){.tell = TELL_SETTLE});
        break;
    case DRAIN_OVER:
        log_info("gateway.drained", LOG_U("ms", loop_now_ms(gw->main) - d->began_ms));
        loop_stop(gw->main);
        break;
    case DRAIN_SERVING:
    default: UNREACHABLE("drain_stage");
    }
}

static void give_up(struct gateway *gw, const char *why) {
    log_warn("gateway.not_drained", LOG_S("why", why), LOG_S("stage", names[gw->drain.stage]),
             LOG_U("loops", gw->drain.waiting));
    gw->drain.stage = DRAIN_OVER;
    loop_stop(gw->main);
}

void drain_begin(struct gateway *gw) {
    struct drain *d = &gw->drain;
    int64_t limit_ms = gw->config->gateway.drain;
    if (d->stage == DRAIN_OVER) return;
    if (d->stage != DRAIN_SERVING) {
        give_up(gw, "a second signal");
        return;
    }
    if (limit_ms == 0) {
        d->stage = DRAIN_OVER;
        loop_stop(gw->main);
        return;
    }
    d->began_ms = loop_now_ms(gw->main);
    d->until_ms = d->began_ms + (uint64_t)limit_ms;
    tell_all(gw, TELL_DEAF);
    enter(gw, lanes_may_leave(gw) ? DRAIN_LEAVING : DRAIN_ANSWERING);
}

void drain_on_loop(struct gateway *gw, uint64_t stage) {
    struct drain *d = &gw->drain;
    if (d->stage != (enum drain_stage)stage || --d->waiting > 0) return;
    enter(gw, stage == DRAIN_ANSWERING ? DRAIN_CLOSING : DRAIN_OVER);
}

/* A part of the time is for the answers: they must not wait for a state that does not move. */
void drain_tick(struct gateway *gw) {
    struct drain *d = &gw->drain;
    uint64_t now_ms = loop_now_ms(gw->main);
    if (d->stage == DRAIN_SERVING || d->stage == DRAIN_OVER) return;
    if (now_ms >= d->until_ms) {
        give_up(gw, "gateway.drain is over");
        return;
    }
    if (d->stage != DRAIN_LEAVING) return;
    bool late = now_ms - d->began_ms >= (d->until_ms - d->began_ms) / 3 * 2;
    if (late) log_warn("gateway.keeps_slots", LOG_S("why", "they were not handed over in time"));
    if (late || !lanes_leave(gw)) enter(gw, DRAIN_ANSWERING);
}

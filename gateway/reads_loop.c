/* reads_loop.c -- canary reads of one loop's clients. See reads_loop.h. */
#include "gateway/reads_loop.h"

#include "gateway/reads_inside.h"

struct reads_loop *reads_loop_open(struct worker *w) {
    struct reads_loop *loop = NEW(struct reads_loop);
    loop->worker = w;
    list_init(&loop->canaries);
    list_init(&loop->shadows);
    list_init(&loop->again);
    return loop;
}

void reads_loop_close(struct reads_loop *loop) {
    if (loop == NULL) return;
    reads_stream_close(loop);
    mem_free(loop);
}

uint32_t *reads_loop_dice(struct reads_loop *loop) {
    return &loop->dice;
}

bool reads_loop_is_backing_off(const struct reads_loop *loop) {
    return loop->worker->now_us < loop->not_before_us;
}

void reads_loop_back_off(struct reads_loop *loop) {
    loop->not_before_us = loop->worker->now_us + READS_BACK_OFF_MS * 1000;
}

/* ---- canaries ---- */

/* Nothing that the client wrote is younger than the link's lag may be (C11). */
static bool wrote_lately(struct client *c, const struct reads_policy *p) {
    if (c->wrote) { /* and its answer was not seen to come: it came just now */
        c->wrote = false;
        c->wrote_at_us = c->worker->now_us;
    }
    return c->wrote_at_us != 0 &&
           c->worker->now_us - c->wrote_at_us <= (uint64_t)p->after_ms * 1000;
}

bool canary_is_due(struct client *c, const struct command *command) {
    struct worker *w = c->worker;
    struct reads *reads = w->gw->reads;
    struct reads_policy p = reads_get(reads);
    if (p.kind != READS_CANARY || !reads_fit(command)) return false;
    if (c->to_primary) { /* it was asked already */
        c->to_primary = false;
        return false;
    }
    bool plain = c->outstanding == 0 && !c->leased && c->multi == NULL && !c->busy &&
                 c->reply_mode == REPLY_ON && c->subs == NULL && !c->tracking;
    if (!plain || w->now_us < w->reads->not_before_us) return false;
    if (!w->lanes && wrote_lately(c, &p)) return false;
    return reads_pick(reads, READS_CANARY, &w->reads->dice);
}

void canary_begin(struct canary *canary, struct client *c, const struct command *command,
                  struct slice request) {
    canary->client = c;
    canary->command = command;
    canary->at_us = c->worker->now_us;
    buf_add(&canary->request, request);
    list_push(&c->worker->reads->canaries, &canary->link);
    ASSERT(c->canary == NULL && !c->busy);
    c->canary = canary;
    c->busy = true;
}

static struct client *let_go(struct canary *canary) {
    struct client *c = canary->client;
    list_remove(&canary->link);
    canary->client = NULL;
    if (c != NULL) {
        c->canary = NULL;
        c->busy = false;
    }
    return c;
}

/* In front of what it sent behind it. */
static void put_back(struct client *c, struct slice request) {
    struct buf all = {0};
    buf_add(&all, request);
    buf_add(&all, buf_slice(&c->in));
    buf_close(&c->in);
    c->in = all;
    c->to_primary = true;
}

static void give_back(struct worker *w, struct canary *canary) {
    struct client *c = let_go(canary);
    if (c == NULL) return;
    reads_count(w->gw->reads, READS_CANARY_RETURNED, canary->command);
    put_back(c, buf_slice(&canary->request));
    client_wake(c);
}

void canary_end(struct worker *w, struct canary *canary, enum side side, struct slice reply) {
    if (reply.size == 0 || reply.data[0] == '-' || reply.data[0] == '!') {
        if (reply.size == 0) w->reads->not_before_us = w->now_us + READS_BACK_OFF_MS * 1000;
        give_back(w, canary);
        return;
    }
    uint64_t at_us = canary->at_us;
    struct client *c = let_go(canary);
    if (c == NULL) return;
    reads_count(w->gw->reads, READS_CANARY_ANSWERED, canary->command);
    counter_add(&w->counters.requests[side][CLASS_READ][OUTCOME_OK], 1);
    hist_record(&w->counters.latency_us[side][CLASS_READ], w->now_us - at_us);
    if (c->stream != NULL) {
        counter_add(&w->counters.bytes_out, reply.size);
        stream_write(c->stream, reply);
    }
    client_wake(c);
}

void canary_forget(struct client *c) {
    if (c->canary == NULL) return;
    list_remove(&c->canary->link);
    c->canary->client = NULL;
    c->canary = NULL;
}

void reads_loop_tick(struct reads_loop *loop) {
    struct worker *w = loop->worker;
    while (!list_is_empty(&loop->canaries)) {
        struct canary *canary = LIST_OWNER(loop->canaries.next, struct canary, link);
        if (w->now_us - canary->at_us < READS_CANARY_MS * 1000) break;
        loop->not_before_us = w->now_us + READS_BACK_OFF_MS * 1000;
        give_back(w, canary);
    }
    reads_stream_tick(loop);
}

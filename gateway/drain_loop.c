/* drain_loop.c -- the end of a gateway: one loop's part. See drain.h, worker.h. */
#include "gateway/backend.h"
#include "gateway/blocked.h"
#include "gateway/client.h"
#include "gateway/dual.h"
#include "gateway/far.h"

#include "lib/base/log.h"

#define SETTLE_MS 1000u

void drain_loop_deaf(struct worker *w) {
    listener_close(w->plain);
    listener_close(w->tls);
    w->plain = w->tls = NULL;
}

static void report(struct worker *w, enum drain_stage stage) {
    struct report_message message = {
        .report = REPORT_ENDED, .worker = w->number, .round = (uint64_t)stage};
    gateway_tell(w->gw, &message);
}

/* ---- answering ---- */

/* Something that it asked for may have been done, and it has no answer. */
static bool is_owed(const struct client *c) {
    if (c->outstanding > 0 || c->canary != NULL || c->barrier_item != NULL) return true;
    if (c->far_wait != NULL || dual_is_tried(c)) return true;
    return c->blocked != NULL && !c->blocked->again;
}

/* Also to clients that have gone: what they asked for was taken. */
static bool owes(const struct backend *b) {
    if (b->due == 0) return false;
    if (b->line != NULL) return dual_owes_clients(b);
    for (const struct req *req = b->head; req != NULL; req = req->next)
        if (req->client != NULL) return true;
    return false;
}

static bool is_answered(const struct worker *w) {
    if (w->far->count > 0) return false;
    if (w->dual != NULL && dual_stands_still(w->dual)) return false;
    LIST_EACH(&w->clients, at) {
        if (is_owed(LIST_OWNER(at, struct client, link))) return false;
    }
    LIST_EACH(&w->backends, at) {
        if (owes(LIST_OWNER(at, struct backend, link))) return false;
    }
    return true;
}

/* Nobody is unblocked by closing a connection: what was popped for it would be lost (C27). */
static void unblock(struct worker *w) {
    LIST_EACH(&w->clients, at) {
        struct client *c = LIST_OWNER(at, struct client, link);
        if (c->blocked != NULL) blocked_end(c);
    }
}

void drain_loop_end(struct worker *w) {
    w->end.on = true;
    LIST_EACH(&w->clients, at) {
        struct client *c = LIST_OWNER(at, struct client, link);
        if (c->far_wait != NULL) far_end(c);
    }
    unblock(w);
}

/* ---- closing ---- */

void drain_loop_close(struct worker *w) {
    w->end.closing = true;
    for (struct list *next, *at = w->clients.next; at != &w->clients; at = next) {
        next = at->next;
        client_close(LIST_OWNER(at, struct client, link));
    }
}

/* What is dirty by then stays so, and is copied by the next process. */
void drain_loop_settle(struct worker *w) {
    w->end.settling = true;
    w->end.settle_until_ms = loop_now_ms(w->loop) + SETTLE_MS;
}

static bool is_settled(const struct worker *w) {
    if (w->dual == NULL || dual_has_settled(w->dual)) return true;
    return loop_now_ms(w->loop) >= w->end.settle_until_ms;
}

void drain_loop_look(struct worker *w) {
    if (!w->end.answered && is_answered(w)) {
        w->end.answered = true;
        report(w, DRAIN_ANSWERING);
    }
    if (w->end.closing && !w->end.closed && list_is_empty(&w->clients)) {
        w->end.closed = true;
        report(w, DRAIN_CLOSING);
    }
    if (w->end.settling && is_settled(w)) {
        w->end.settling = false;
        report(w, DRAIN_CLOSING);
    }
}

void drain_loop_tick(struct worker *w) {
    if (!w->end.answered) unblock(w);
}

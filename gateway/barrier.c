/* barrier.c -- a worker's part of a barrier: hold, confirm, prepare, release (C23-C27); see
 * worker.h. What the gateway as a whole does is decided in hold.c.
 */
#include "gateway/backend.h"
#include "gateway/blocked.h"
#include "gateway/client.h"
#include "gateway/dispatch.h"
#include "gateway/dual.h"
#include "gateway/far.h"
#include "gateway/subs.h"
#include "gateway/worker.h"

#include "lib/base/log.h"

#define HURRY_MS 10000u /* as long as a barrier may take from its announcement to its end */
#define ANNOUNCE_MS 1000u /* clients are not held meanwhile */

/* ---- hold ---- */
static bool is_waiting(const struct worker *w, const struct backend *b) {
    if (b->side != w->side || b->due == 0 || b->witness != NULL) return false;
    return b->line == NULL || dual_owes_clients(b);
}

static void end_blocked(struct worker *w) {
    LIST_EACH(&w->clients, at) {
        struct client *c = LIST_OWNER(at, struct client, link);
        if (c->blocked != NULL) blocked_end(c);
    }
}

static size_t count_parked(const struct worker *w) {
    size_t count = 0;
    for (unsigned i = 0; i < PARKS; i++) count += w->parked_count[i];
    return count;
}

/* Confirmed when all that was sent is answered, and no lost connection can still execute. */
void worker_check_held(struct worker *w) {
    if (!w->held || w->held_said) return;
    if (w->dual != NULL && dual_stands_still(w->dual)) return;
    LIST_EACH(&w->backends, at) {
        if (is_waiting(w, LIST_OWNER(at, struct backend, link))) return;
    }
    if (w->far->unanswered > 0) return;
    LIST_EACH(&w->graves, at) {
        if (LIST_OWNER(at, struct grave, link)->side == w->side) return;
    }
    w->held_said = true;
    w->held_after_us = w->now_us - w->hold_at_us;
    struct report_message message = {
        .report = REPORT_HELD,
        .worker = w->number,
        .round = w->round,
        .totals = {.clients = counter_get(&w->counters.clients),
                   .queued = count_parked(w),
                   .blocked = w->held_blocked,
                   .outstanding_us = w->held_after_us},
    };
    gateway_tell(w->gw, &message);
}

void barrier_hold(struct worker *w, uint64_t round) {
    w->round = round;
    w->held_said = false;
    w->held_us_max = 0;
    w->held_blocked = 0;
    w->hold_at_us = w->now_us;
    w->held = true;
    LIST_EACH(&w->clients, at) {
        if (LIST_OWNER(at, struct client, link)->blocked != NULL) w->held_blocked++;
    }
    end_blocked(w);
    worker_check_held(w);
}

static void announce_tick(struct worker *w);

void barrier_tick(struct worker *w) {
    announce_tick(w);
    if (!w->held || w->held_said) return;
    end_blocked(w);
    worker_check_held(w);
}

/* ---- drain (capture `lane`) ---- */
void worker_check_drained(struct worker *w) {
    if (!w->draining || !w->held_said || w->dual == NULL || !dual_may_be_released(w->dual)) return;
    w->draining = false;
    dual_drained(w->dual);
    struct report_message message = {
        .report = REPORT_DRAINED, .worker = w->number, .round = w->round};
    gateway_tell(w->gw, &message);
}

void barrier_drain(struct worker *w, uint64_t round) {
    if (!w->held || round != w->round) return; /* it crossed a RELEASE */
    w->draining = true;
    if (w->dual != NULL) dual_drain(w->dual);
    worker_check_drained(w);
}

/* The hold goes on; what waits, and what comes, is answered with an error (C24). */
void barrier_blackout(struct worker *w) {
    if (!w->held) return;
    w->refusing = true;
    worker_unpark_all(w, PARK_ROUTE);
    worker_unpark_all(w, PARK_LEASE);
}

/* ---- prepare ---- */
void worker_prepared_one(struct worker *w) {
    if (w->prepare_left == 0 || --w->prepare_left > 0) return; /* 0: of an earlier PREPARE */
    struct report_message message = {.report = REPORT_PREPARED,
                                     .worker = w->number,
                                     .side = w->prepare_side,
                                     .totals = {.queued = 0}};
    message.scripts = w->prepare_scripts - w->prepare_refused;
    message.refused = w->prepare_refused;
    message.subs = w->prepare_subs;
    gateway_tell(w->gw, &message);
}

static void on_loaded(struct req *req, struct backend *b, struct slice reply) {
    if (!slice_starts(reply, SLICE("$"))) {
        b->worker->prepare_refused++;
        log_warn("barrier.script_refused", LOG_S("side", gateway_side_name(b->side)),
                 LOG_SL("reply", reply));
    }
    if (req->arg == 1) worker_prepared_one(b->worker); /* it was the last */
}

/* Loop 0 loads the scripts into the other side; PREPARED waits for the last answer. */
static void load_scripts(struct worker *w, struct backend *b) {
    if (w->number != 0 || b->side != w->prepare_side || b->dedicated || b->proto != 2) return;
    struct buf out = {0};
    size_t count = scripts_write_loads(w->gw->scripts, &out);
    backend_write(b, buf_slice(&out));
    buf_close(&out);
    for (size_t i = 0; i < count; i++) {
        struct req *req = backend_expect(b, NULL, REQ_WHOLE, 1);
        req->done = on_loaded;
        req->arg = i + 1 == count;
    }
    if (count > 0) w->prepare_left++;
    w->prepare_scripts = count;
}

void barrier_on_ready(struct backend *b) {
    if (!b->prepared) return;
    if (b->shadow_of != NULL)
        subs_on_shadow_ready(b);
    else
        load_scripts(b->worker, b);
    worker_prepared_one(b->worker);
}

/* Announce: what is dirty is copied before anybody is held, but for keys that are dirty again at
 * once (C23, C14). */
static void announce_tick(struct worker *w) {
    if (w->announced_ms == 0) return;
    bool late = loop_now_ms(w->loop) - w->announced_ms > ANNOUNCE_MS;
    if (!late && !dual_is_nearly_drained(w->dual)) return;
    w->announced_ms = 0;
    worker_prepared_one(w);
}

/* What blocks is ended over another connection (blocked_end()), and in a hold none is opened any more. A
 * loop whose clients do nothing but wait has none. */
static void prepare_unblocking(struct worker *w) {
    if (w->lanes || dispatch_shared(w, w->side, 2, 0) != NULL) return;
    struct backend *b = w->shared[w->side][0][0];
    if (b == NULL || b->prepared) return; /* it cannot be reached now */
    b->prepared = true;
    w->prepare_left++;
}

/* Connections of every protocol that is in use, the scripts, the subscriptions. */
void barrier_prepare(struct worker *w, enum side side) {
    w->prepare_side = side;
    w->hurry_until_ms = loop_now_ms(w->loop) + HURRY_MS;
    w->prepare_scripts = w->prepare_refused = w->prepare_subs = 0;
    w->prepare_left = 1; /* this function itself */
    w->announced_ms = 0;
    w->retry_at_ms[side] = 0;
    prepare_unblocking(w);
    for (unsigned proto = 2; proto <= 3 && side != w->side; proto++) {
        bool used = proto == 2;
        for (unsigned i = 0; i < SHARED; i++) used |= w->shared[w->side][proto - 2][i] != NULL;
        if (!used) continue;
        struct backend *b = dispatch_shared(w, side, proto, 0);
        if (b != NULL) { /* ready already */
            load_scripts(w, b);
            continue;
        }
        b = w->shared[side][proto - 2][0];
        if (b == NULL || b->prepared) continue;
        b->prepared = true;
        w->prepare_left++;
    }
    LIST_EACH(&w->clients, at) {
        struct client *c = LIST_OWNER(at, struct client, link);
        if (side == w->side || !subs_prepare(c, side)) continue;
        w->prepare_left++;
        w->prepare_subs++;
    }
    if (w->dual != NULL) {
        w->announced_ms = loop_now_ms(w->loop);
        w->prepare_left++;
        announce_tick(w);
    }
    worker_prepared_one(w);
}

/* ---- release ---- */
static void move_subscriptions(struct worker *w, bool changed) {
    for (struct list *next, *at = w->clients.next; at != &w->clients; at = next) {
        next = at->next;
        struct client *c = LIST_OWNER(at, struct client, link);
        if (subs_count(c) == 0) continue;
        if (changed && c->leased)
            subs_switch(c);
        else
            subs_stay(c);
    }
}

/* Open WATCHes fail; MONITOR and tracking start over at the new primary side (C27). */
static void start_over(struct client *c) {
    bool monitor = c->monitor, tracking = c->tracking;
    if (c->watching) c->watch_lost = true;
    if (tracking && c->stream != NULL)
        stream_write(c->stream, SLICE(">2\r\n$10\r\ninvalidate\r\n_\r\n"));
    if (monitor || tracking)
        client_close(c);
    else if (c->leased)
        client_unlease(c, false);
}

static void move_clients(struct worker *w) {
    for (struct list *next, *at = w->clients.next; at != &w->clients; at = next) {
        next = at->next;
        struct client *c = LIST_OWNER(at, struct client, link);
        if (subs_count(c) > 0 || !c->leased) continue;
        start_over(c);
    }
}

/* What nobody needs at the old side is closed; subscriptions still drain there. */
static void leave(struct worker *w, enum side old) {
    bool again = true;
    while (again) {
        again = false;
        LIST_EACH(&w->backends, at) {
            struct backend *b = LIST_OWNER(at, struct backend, link);
            bool drains = b->lessee != NULL && b->lessee->subs != NULL && b->lessee->subs->draining;
            if (b->side != old || b->line != NULL || b->witness != NULL || drains) continue;
            backend_abort(b);
            again = true;
            break;
        }
    }
}

static void rename_all(struct worker *w) {
    LIST_EACH(&w->backends, at) {
        struct backend *b = LIST_OWNER(at, struct backend, link);
        b->prepared = false;
        if (b->side != w->side || b->epoch == w->epoch || !backend_is_ready(b)) continue;
        if (b->mode == MODE_NORMAL) backend_rename(b); /* RESP2 subscribers may not say it */
    }
}

static void go_on(struct worker *w) {
    for (struct list *next, *at = w->clients.next; at != &w->clients; at = next) {
        next = at->next;
        struct client *c = LIST_OWNER(at, struct client, link);
        if (c->blocked != NULL && c->blocked->again)
            client_wake(c);
        else if (c->blocked != NULL)
            c->blocked->ending = false;
    }
    worker_unpark_all(w, PARK_ROUTE);
    worker_unpark_all(w, PARK_LEASE);
    worker_unpark_all(w, PARK_FLOW);
    worker_run_ready(w);
}

void barrier_release(struct worker *w, uint64_t round, uint64_t epoch, enum side side,
                     enum side old) {
    bool changed = side != old;
    struct report_message message = {
        .report = REPORT_RELEASED,
        .worker = w->number,
        .round = round,
        .totals = {.clients = counter_get(&w->counters.clients), .queued = count_parked(w)}};
    w->held = w->refusing = w->draining = false;
    if (w->dual != NULL) dual_released(w->dual);
    w->hurry_until_ms = 0;
    w->routed = true;
    w->side = side;
    w->epoch = epoch;
    if (changed) {
        memset(w->loaded, 0, sizeof w->loaded);
        memset(w->verified_dbs[side], 0, sizeof w->verified_dbs[side]);
        w->retry_at_ms[side] = 0;
        move_clients(w);
    }
    move_subscriptions(w, changed);
    if (changed) leave(w, old);
    rename_all(w);
    go_on(w);
    message.totals.held_us_max = w->held_us_max;
    gateway_tell(w->gw, &message);
}

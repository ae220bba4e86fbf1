/* worker.c -- one loop of the gateway. See worker.h. */
#include "gateway/worker.h"

#include "gateway/backend.h"
#include "gateway/client.h"
#include "gateway/dual.h"
#include "gateway/dual_audit.h"
#include "gateway/reads_loop.h"
#include "gateway/far.h"
#include "gateway/shards/shards.h"
#include "gateway/subs.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"

#include <stdio.h>

#define TIMER_MS 20u
#define REQS_KEPT 65536u

void worker_begin(struct worker *w) {
    w->now_us = clock_mono_us(loop_clock(w->loop));
    w->wall_ms = 0;
}

int64_t worker_wall_ms(struct worker *w) {
    if (w->wall_ms == 0) w->wall_ms = clock_wall_ms(loop_clock(w->loop));
    return w->wall_ms;
}

static struct worker *worker_of(const struct clock *clock) {
    return (struct worker *)(void *)((uintptr_t)clock - offsetof(struct worker, clock));
}
static int64_t turn_wall_ms(const struct clock *clock) {
    return worker_wall_ms(worker_of(clock));
}
static uint64_t turn_mono_us(const struct clock *clock) {
    return worker_of(clock)->now_us;
}

/* The streams have sent what the turn wrote. */
static void on_turn_ended(void *self) {
    struct worker *w = self;
    uint64_t now_us = clock_mono_us(loop_clock(w->loop));
    uint64_t spent_us = now_us > w->turn_began_us ? now_us - w->turn_began_us : 0;
    hist_record_n(&w->counters.overhead_us, spent_us, w->turn_count);
    w->turn_count = 0;
}

void worker_count_turn(struct worker *w) {
    if (w->turn_count++ > 0) return;
    w->turn_began_us = w->now_us;
    loop_at_end(w->loop, &w->turn_ended, on_turn_ended, w);
}

/* Closing one may close others (a shadow, say), so the list is begun anew after each. */
static void close_backends(struct worker *w, bool (*unwanted)(const struct backend *b)) {
    bool again = true;
    while (again) {
        again = false;
        LIST_EACH(&w->backends, at) {
            struct backend *b = LIST_OWNER(at, struct backend, link);
            if (!unwanted(b)) continue;
            backend_abort(b);
            again = true;
            break;
        }
    }
}

static bool is_any(const struct backend *b) {
    (void)b;
    return true;
}

static bool is_off_route(const struct backend *b) {
    return b->side != b->worker->side || b->epoch != b->worker->epoch;
}

static bool is_of_dropped_side(const struct backend *b) {
    return b->worker->drop_side[b->side];
}

/* The primary side said that it is none: its connections go, names are resolved anew. */
static void drop_sides(struct worker *w) {
    if (!w->drop_side[SIDE_LEGACY] && !w->drop_side[SIDE_TARGET]) return;
    close_backends(w, is_of_dropped_side);
    for (unsigned side = 0; side < SIDES; side++) {
        if (!w->drop_side[side]) continue;
        w->drop_side[side] = false;
        w->retry_at_ms[side] = loop_now_ms(w->loop) + 100;
    }
}

void worker_run_ready(struct worker *w) {
    if (w->running) return;
    w->running = true;
    for (;;) {
        drop_sides(w);
        if (w->dual != NULL) dual_turn(w->dual);
        struct list *link = list_pop(&w->ready);
        if (link == NULL) break;
        client_run(LIST_OWNER(link, struct client, ready));
    }
    w->running = false;
    if (w->draining) worker_check_drained(w);
    if (w->end.on) drain_loop_look(w);
}

void worker_unpark_all(struct worker *w, enum park park) {
    struct list waiting;
    list_init(&waiting);
    list_move(&waiting, &w->parked[park]);
    while (!list_is_empty(&waiting)) client_unpark(LIST_OWNER(waiting.next, struct client, parked));
}

void worker_unpark_one(struct worker *w, enum park park) {
    if (list_is_empty(&w->parked[park])) return;
    client_unpark(LIST_OWNER(w->parked[park].next, struct client, parked));
}

struct client *worker_find_client(struct worker *w, uint64_t id) {
    LIST_EACH(&w->clients, at) {
        struct client *c = LIST_OWNER(at, struct client, link);
        if (c->id == id) return c;
    }
    return NULL;
}

void worker_on_unready(struct worker *w) {
    if (w->unready_since_ms == 0) w->unready_since_ms = loop_now_ms(w->loop);
}

static bool any_ready(const struct worker *w) {
    LIST_EACH(&w->backends, at) {
        const struct backend *b = LIST_OWNER(at, struct backend, link);
        bool shared = !b->dedicated || b->line != NULL;
        if (b->side == w->side && shared && backend_is_ready(b)) return true;
    }
    return false;
}

/* Clients that wait for a connection that does not come get an error in the end. */
static void watch_readiness(struct worker *w) {
    if (w->held || w->end.on) return;
    uint64_t now_ms = loop_now_ms(w->loop);
    bool waiting = !list_is_empty(&w->parked[PARK_ROUTE]) || !list_is_empty(&w->parked[PARK_LEASE]);
    if (!waiting || (w->routed && any_ready(w))) {
        w->unready_since_ms = 0;
        w->refusing = false;
    } else if (w->unready_since_ms == 0) {
        w->unready_since_ms = now_ms;
    } else if (now_ms - w->unready_since_ms > (uint64_t)w->gw->config->cutover.max_blackout) {
        w->refusing = true;
    }
    if (w->pause_until_ms != 0 && now_ms >= w->pause_until_ms) w->pause_until_ms = 0;
    if (waiting) { /* they try again: a dial may be due, a pause may be over */
        worker_unpark_all(w, PARK_ROUTE);
        worker_unpark_all(w, PARK_LEASE);
    }
    worker_run_ready(w);
    w->refusing = false;
}

static void on_timer(void *self) {
    struct worker *w = self;
    worker_begin(w);
    for (unsigned side = 0; side < SIDES; side++)
        if (w->shards[side] != NULL) shards_tick(w->shards[side]);
    watch_readiness(w);
    if (!list_is_empty(&w->graves)) graves_dig(w);
    barrier_tick(w);
    if (w->end.on) drain_loop_tick(w);
    if (w->dual != NULL) dual_tick(w->dual);
    reads_loop_tick(w->reads);
    worker_run_ready(w);
}

/* The owner of a stream that is only told why it is not served. */
static void on_stream(void *self, struct stream *stream) {
    struct worker *w = self;
    worker_begin(w);
    uint64_t limit = (uint64_t)w->gw->config->gateway.max_clients;
    counter_add(&w->counters.connections, 1);
    if (atomic_fetch_add(&w->gw->client_count, 1) >= limit && limit > 0) {
        atomic_fetch_sub(&w->gw->client_count, 1);
        counter_add(&w->counters.rejected, 1);
        stream_write(stream, SLICE("-ERR max number of clients reached\r\n"));
        stream_leave(stream);
        return;
    }
    counter_add(&w->counters.clients, 1);
    (void)client_accept(w, stream);
}

/* ---- told by the main loop ---- */
static void obey_release(struct worker *w, const struct tell_message *m) {
    enum side old = w->side; /* lanes that are opened have the new one at once */
    if (worker_take_role(w, m->lanes, m->side)) barrier_release(w, m->round, m->epoch, m->side, old);
}

static void obey_route(struct worker *w, bool lanes, uint64_t epoch, enum side side) {
    if (!worker_take_role(w, lanes, side)) return;
    bool changed = !w->routed || w->epoch != epoch || w->side != side;
    w->routed = true;
    w->epoch = epoch;
    w->side = side;
    if (changed) close_backends(w, is_off_route);
    worker_unpark_all(w, PARK_ROUTE);
}

static void on_epoch(struct worker *w, uint64_t id, bool fine) {
    LIST_EACH(&w->backends, at) {
        struct backend *b = LIST_OWNER(at, struct backend, link);
        if (b->id != id) continue;
        backend_on_epoch(b, fine);
        return;
    }
}

/* New connections get the new certificate; those that stand go on with the old one. */
static void reload_tls(struct worker *w) {
    struct why why;
    if (w->dual != NULL) dual_reload_tls(w->dual);
    if (w->tls == NULL) return;
    if (listener_reload_tls(w->tls, &why) != OK) {
        log_error("gateway.tls_not_reloaded", LOG_U("loop", w->number), LOG_WHY(&why));
        return;
    }
    counter_set(&w->counters.tls_not_after_s, (uint64_t)listener_tls_not_after(w->tls));
}

static void on_tell(void *self) {
    struct tell_message *m = self;
    struct worker *w = m->worker;
    worker_begin(w);
    switch (m->tell) {
    case TELL_ROUTE: obey_route(w, m->lanes, m->epoch, m->side); break;
    case TELL_HOLD: barrier_hold(w, m->round); break;
    case TELL_RELEASE: obey_release(w, m); break;
    case TELL_PREPARE: barrier_prepare(w, m->side); break;
    case TELL_BLACKOUT: barrier_blackout(w); break;
    case TELL_EPOCH: on_epoch(w, m->backend, m->fine); break;
    case TELL_ACCEPT:
        if (w->plain != NULL) listener_pause(w->plain, false);
        if (w->tls != NULL) listener_pause(w->tls, false);
        break;
    case TELL_RELOAD: reload_tls(w); break;
    case TELL_FOLLOW:
        if (w->dual != NULL) dual_follow(w->dual, m->fine);
        break;
    case TELL_DRAIN: barrier_drain(w, m->round); break;
    case TELL_REST:
        if (w->dual != NULL && w->held)
            dual_rest(w->dual, m->round, m->planned);
        else
            mem_free(m->planned);
        break;
    case TELL_DEAF: drain_loop_deaf(w); break;
    case TELL_END: drain_loop_end(w); break;
    case TELL_CLOSE: drain_loop_close(w); break;
    case TELL_SETTLE: drain_loop_settle(w); break;
    case TELL_SLOTS:
        if (w->dual != NULL) dual_take_table(w->dual, m->table);
        worker_unpark_all(w, PARK_ROUTE);
        break;
    case TELL_AUDIT: dual_audit_obey(w, m); break;
    default: UNREACHABLE("tell");
    }
    mem_free(m);
    worker_run_ready(w);
}

void worker_tell(struct worker *w, const struct tell_message *message) {
    struct tell_message *copy = mem_dup(message, sizeof *message);
    copy->worker = w;
    bool taken = loop_call(w->loop, on_tell, copy);
    ASSERT(taken); /* the main loop tells a few things per second; 65,536 may wait */
}

/* ---- opening and closing ---- */
static enum err listen_on(struct worker *w, const struct endpoint *endpoint,
                          struct listener **listener, struct why *why) {
    if (endpoint->kind == ENDPOINT_NONE) return OK;
    if (endpoint->kind == ENDPOINT_UNIX && w->number > 0) return OK; /* one loop serves it */
    struct listener_options options = {.share_port = endpoint->kind == ENDPOINT_TCP,
                                       .streams = {.low_water_bytes = CLIENT_OUTPUT_LOW_BYTES}};
    enum err err = listener_open(listener, w->loop, endpoint, &options, on_stream, w, why);
    if (err == OK) listener_pause(*listener, true); /* TELL_ACCEPT: the other loops are there */
    return err;
}

static enum err on_start(void *self, struct loop *loop, struct why *why) {
    struct worker *w = self;
    const struct drawbridge_config *config = w->gw->config;
    w->loop = loop;
    worker_begin(w);
    enum err err = OK;
    if (w->gw->lanes) w->lanes = true; /* else the route says so */
    if (w->lanes && w->number == 0) err = dual_open(&w->dual, w, why);
    if (err == OK) err = far_open(w->far, loop, why);
    if (err == OK) err = listen_on(w, &config->gateway.listen.endpoint, &w->plain, why);
    if (err == OK && config->gateway.tls.on)
        err = listen_on(w, &config->gateway.tls.listen.endpoint, &w->tls, why);
    if (err != OK) {
        listener_close(w->plain);
        listener_close(w->tls);
        far_close(w->far);
        dual_close(w->dual);
        w->dual = NULL;
        return err;
    }
    if (w->tls != NULL)
        counter_set(&w->counters.tls_not_after_s, (uint64_t)listener_tls_not_after(w->tls));
    loop_timer_start(loop, &w->timer, TIMER_MS, TIMER_MS, on_timer, w);
    return OK;
}

static void on_stop(void *self, struct loop *loop) {
    struct worker *w = self;
    (void)loop;
    worker_begin(w);
    loop_timer_stop(&w->timer);
    loop_work_cancel(&w->turn_ended);
    listener_close(w->plain);
    listener_close(w->tls);
    close_backends(w, is_any);
    far_close(w->far);
    far_abandon(w);
    LIST_EACH(&w->clients, at) client_abort(LIST_OWNER(at, struct client, link));
    for (struct list *link; (link = list_pop(&w->graves)) != NULL;)
        dual_drop_grave(LIST_OWNER(link, struct grave, link));
    dual_close(w->dual);
    w->dual = NULL;
    for (unsigned side = 0; side < SIDES; side++) {
        shards_close(w->shards[side]);
        w->shards[side] = NULL;
    }
}

enum err worker_open(struct worker **worker, struct gateway *gw, unsigned number, struct why *why) {
    struct worker *w = NEW(struct worker);
    char name[16];
    w->gw = gw;
    w->number = number;
    w->clock = (struct clock){turn_wall_ms, turn_mono_us};
    w->audit_board = audit_board_open();
    w->reads = reads_loop_open(w);
    list_init(&w->clients);
    list_init(&w->ready);
    list_init(&w->backends);
    list_init(&w->graves);
    for (unsigned i = 0; i < PARKS; i++) list_init(&w->parked[i]);
    for (unsigned i = 0; i < PROTOS; i++) list_init(&w->idle[i]);
    pool_init(&w->reqs, sizeof(struct req), REQS_KEPT);
    w->far = far_new(w);
    (void)pthread_mutex_init(&w->lanes_lock, NULL);
    (void)snprintf(name, sizeof name, "gw-%u", number);
    enum err err = loop_thread_open(&w->thread, name, on_start, on_stop, w, why);
    if (err != OK) {
        audit_board_close(w->audit_board);
        reads_loop_close(w->reads);
        far_free(w->far);
        (void)pthread_mutex_destroy(&w->lanes_lock);
        mem_free(w);
        return err;
    }
    *worker = w;
    return OK;
}

void worker_stop(struct worker *w) {
    loop_thread_close(w->thread);
    w->thread = NULL;
}

void worker_close(struct worker *w) {
    if (w == NULL) return;
    buf_close(&w->scratch);
    audit_board_close(w->audit_board);
    reads_loop_close(w->reads);
    pool_close(&w->reqs);
    far_free(w->far);
    (void)pthread_mutex_destroy(&w->lanes_lock);
    mem_free(w);
}

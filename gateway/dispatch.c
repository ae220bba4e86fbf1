/* dispatch.c -- over which connection a client's next request goes. See dispatch.h. */
#include "gateway/dispatch.h"

#include "gateway/backend.h"
#include "gateway/shards/shards.h"

#include "lib/base/mem.h"

static unsigned place_of(int32_t db) {
    return db == 0 ? 0 : 1 + (unsigned)(db - 1) % (SHARED - 1);
}

struct backend *dispatch_shared(struct worker *w, enum side side, unsigned proto, int32_t db) {
    unsigned place = place_of(db);
    struct backend **at = &w->shared[side][proto - 2][place];
    if (*at == NULL) {
        if (loop_now_ms(w->loop) < w->retry_at_ms[side]) return NULL;
        *at = backend_open(w, side, proto, false);
        (*at)->place = (uint8_t)place;
    }
    return backend_is_ready(*at) ? *at : NULL;
}

/* Held, paused or without a route: nothing leaves. After max_blackout it fails instead (C24). */
bool dispatch_may_leave(struct client *c, enum take *take) {
    struct worker *w = c->worker;
    if (w->refusing) {
        counter_add(&w->counters.blackouts, 1);
        client_reply_errorf(c, "TRYAGAIN drawbridge: the primary side could not be used in time; "
                               "nothing was sent");
        *take = TAKE_DONE;
        return false;
    }
    if (!worker_may_send(w)) {
        *take = client_park(c, PARK_ROUTE);
        return false;
    }
    if (w->pause_until_ms != 0 && loop_now_ms(w->loop) < w->pause_until_ms) {
        bool writes = c->last == NULL ||
                      (c->last->flags & (COMMAND_WRITE | COMMAND_MAY_REPLICATE)) != 0 ||
                      c->last->group == COMMAND_GROUP_SCRIPTING ||
                      c->last->group == COMMAND_GROUP_TRANSACTIONS;
        if (writes || !w->pause_writes_only) {
            *take = client_park(c, PARK_ROUTE);
            return false;
        }
    }
    return true;
}

/* Too much that is unanswered, unsent or unread: take nothing more for now. */
bool dispatch_flows(struct client *c, struct backend *b, enum take *take) {
    if (c->replies > CLIENT_REPLIES_MAX) {
        *take = client_wait_idle(c);
        return false;
    }
    if (stream_queued_bytes(c->stream) > CLIENT_OUTPUT_HIGH_BYTES) {
        *take = TAKE_WAIT; /* on_drain wakes it */
        return false;
    }
    if (backend_queued_bytes(b) > BACKEND_QUEUE_HIGH_BYTES) {
        *take = client_park(c, PARK_FLOW);
        return false;
    }
    return true;
}

struct backend *client_conn(struct client *c, enum take *take) {
    struct worker *w = c->worker;
    struct backend *b = c->conn;
    if (!dispatch_may_leave(c, take)) return NULL;
    if (c->outstanding > 0 && (b == NULL || b->proto != c->proto || c->lease_ends)) {
        *take = client_wait_idle(c);
        return NULL;
    }
    if (c->outstanding == 0 && !c->leased) {
        b = dispatch_shared(w, w->side, c->proto, c->db);
        if (b == NULL) {
            *take = client_park(c, PARK_ROUTE);
            worker_on_unready(w);
            return NULL;
        }
    }
    if (!dispatch_flows(c, b, take)) return NULL;
    c->conn = b;
    backend_use_db(b, c->db);
    return b;
}

static struct backend *idle_lease(struct worker *w, unsigned proto) {
    LIST_EACH(&w->idle[proto - 2], at) {
        struct backend *b = LIST_OWNER(at, struct backend, idle);
        if (b->side != w->side || b->prepared || b->shadow_of != NULL) continue;
        list_remove(&b->idle);
        w->idle_count--;
        return b;
    }
    return NULL;
}

struct backend *client_lease(struct client *c, enum take *take) {
    struct worker *w = c->worker;
    if (c->leased && !c->lease_ends) return client_conn(c, take);
    if (!dispatch_may_leave(c, take)) return NULL;
    if (c->outstanding > 0) {
        *take = client_wait_idle(c);
        return NULL;
    }
    struct backend *b = idle_lease(w, c->proto);
    if (b == NULL) {
        if (w->lease_count >= LEASES_MAX) {
            client_reply_errorf(c, "ERR drawbridge: more than %u connections of this kind",
                                LEASES_MAX);
            *take = TAKE_DONE;
            return NULL;
        }
        if (w->lease_dialling <= w->parked_count[PARK_LEASE] &&
            loop_now_ms(w->loop) >= w->retry_at_ms[w->side])
            (void)backend_open(w, w->side, c->proto, true);
        *take = client_park(c, PARK_LEASE);
        return NULL;
    }
    b->lessee = c;
    c->conn = b;
    c->leased = true;
    c->lease_ends = false;
    backend_use_db(b, c->db);
    return b;
}

/* A connection that nobody else may see again (subscribed, watching, blocked) is closed. */
void client_unlease(struct client *c, bool clean) {
    struct backend *b = c->conn;
    struct worker *w = c->worker;
    ASSERT(c->leased && b != NULL && b->lessee == c);
    c->leased = c->lease_ends = false;
    b->lessee = NULL;
    bool raw = b->shards != NULL && shards_conn_is_raw(b->shards);
    if (clean && !raw && b->mode == MODE_NORMAL && b->head == NULL && backend_is_ready(b) &&
        b->side == w->side && w->idle_count < LEASES_IDLE_MAX) {
        list_push(&w->idle[b->proto - 2], &b->idle);
        w->idle_count++;
        if (c->outstanding == 0) c->conn = NULL;
        worker_unpark_one(w, PARK_LEASE);
        return;
    }
    backend_abort(b);
}

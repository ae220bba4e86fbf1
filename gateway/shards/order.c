/* order.c -- the order of one connection to a whole Cluster. See order.h. */
#include "gateway/shards/order.h"

#include "lib/base/mem.h"

struct shards_stop {
    struct shards_stop *next;
    uint16_t slot;
};

static struct shards_stop *stop_of(const struct shards_order *o, uint16_t slot) {
    for (struct shards_stop *stop = o->stops; stop != NULL; stop = stop->next)
        if (stop->slot == slot) return stop;
    return NULL;
}

void shards_order_close(struct shards_order *o) {
    for (struct shards_stop *next, *stop = o->stops; stop != NULL; stop = next) {
        next = stop->next;
        mem_free(stop);
    }
    *o = (struct shards_order){0};
}

void shards_order_add(struct shards_order *o, struct shards_unit *u) {
    u->next = NULL;
    u->state = SHARDS_WAITS;
    if (o->tail == NULL)
        o->head = u;
    else
        o->tail->next = u;
    o->tail = u;
    o->count++;
    o->waiting++;
}

/* Of a stopped slot: the first that is not answered leaves alone. */
static bool is_first(const struct shards_order *o, const struct shards_unit *u) {
    bool seen = false;
    for (const struct shards_unit *at = o->head; at != NULL; at = at->next) {
        if (at == u) seen = true;
        if (at->slot != u->slot || at == u || at->state == SHARDS_DONE) continue;
        if (at->state == SHARDS_SENT || !seen) return false;
    }
    return true;
}

struct shards_unit *shards_order_next(const struct shards_order *o, const struct shards_unit *after,
                                      uint64_t now_ms) {
    if (o->waiting == 0) return NULL;
    for (struct shards_unit *u = after == NULL ? o->head : after->next; u != NULL; u = u->next) {
        if (u->state != SHARDS_WAITS || u->due_ms > now_ms) continue;
        if (u->slot != SHARDS_NO_SLOT && o->stops != NULL && stop_of(o, u->slot) != NULL &&
            !is_first(o, u))
            continue;
        return u;
    }
    return NULL;
}

void shards_order_sent(struct shards_order *o, struct shards_unit *u) {
    u->state = SHARDS_SENT;
    o->waiting--;
}

/* What waits before it was redirected, and comes behind it now. */
static void displace(const struct shards_order *o, const struct shards_unit *by) {
    for (struct shards_unit *u = o->head; u != by; u = u->next)
        if (u->slot == by->slot && u->state == SHARDS_WAITS && u->redirected) u->displaced = true;
}

/* The slot goes on when nothing of it waits. */
static void lift(struct shards_order *o, uint16_t slot) {
    for (const struct shards_unit *u = o->head; u != NULL; u = u->next)
        if (u->slot == slot && u->state != SHARDS_DONE) return;
    for (struct shards_stop **at = &o->stops; *at != NULL; at = &(*at)->next) {
        struct shards_stop *stop = *at;
        if (stop->slot != slot) continue;
        *at = stop->next;
        mem_free(stop);
        return;
    }
}

void shards_order_answered(struct shards_order *o, struct shards_unit *u) {
    bool was_sent = u->state == SHARDS_SENT;
    if (!was_sent) o->waiting--;
    u->state = SHARDS_DONE;
    if (u->slot == SHARDS_NO_SLOT || o->stops == NULL || stop_of(o, u->slot) == NULL) return;
    if (was_sent) displace(o, u);
    lift(o, u->slot);
}

void shards_order_stop(struct shards_order *o, uint16_t slot) {
    if (stop_of(o, slot) != NULL) return;
    bool any = false;
    for (const struct shards_unit *u = o->head; u != NULL && !any; u = u->next)
        any = u->slot == slot && u->state != SHARDS_DONE;
    if (!any) return;
    struct shards_stop *stop = NEW(struct shards_stop);
    stop->slot = slot;
    stop->next = o->stops;
    o->stops = stop;
}

void shards_order_redirected(struct shards_order *o, struct shards_unit *u, uint16_t slot,
                             uint64_t now_ms, uint64_t due_ms) {
    if (u->slot == SHARDS_NO_SLOT) u->slot = slot;
    if (u->tries++ == 0) u->since_ms = now_ms;
    u->state = SHARDS_WAITS;
    u->redirected = true;
    u->due_ms = due_ms;
    o->waiting++;
    if (u->slot != SHARDS_NO_SLOT) shards_order_stop(o, u->slot);
}

struct shards_unit *shards_order_pop(struct shards_order *o) {
    struct shards_unit *u = o->head;
    if (u == NULL || u->state != SHARDS_DONE) return NULL;
    o->head = u->next;
    if (o->head == NULL) o->tail = NULL;
    o->count--;
    return u;
}

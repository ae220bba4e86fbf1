/* capture_links.c -- the simulated syncer of capture_world.h: two links with spools and checkpoints,
 * which obey as syncer/steer_orders.c and syncer/link.c do. */
#include "tests/sim/capture_world.h"

#include "lib/base/mem.h"

#include <string.h>

struct link {
    /* on disk; gone with LINK CLOSE */
    bool exists;        /* it has begun to receive */
    int64_t begin, end; /* of the spool */
    uint64_t active_epoch;
    bool dirty[C_KEYS];
    /* of the process */
    bool open, active, drain, drained, take_over;
    bool drain_told, activate_told; /* it is reported when it is so */
    int64_t at; /* read from the spool up to here */
    int64_t drain_to, barrier, take_at;
    uint64_t take_epoch;
    struct c_queue flight; /* to its target; outlives the process */
};

struct c_syncer {
    bool up;
    uint64_t epoch;
    struct link link[2];
};

static const char *name(int link) { return link == C_FORWARD ? "forward" : "reverse"; }

static int64_t *checkpoint(struct c_world *w, int link) { return &w->side[1 - link].checkpoint[link]; }

struct c_syncer *c_syncer_new(void) {
    struct c_syncer *syncer = NEW(struct c_syncer);
    syncer->up = true;
    return syncer;
}

void c_syncer_begin(struct c_world *w) {
    struct link *l = &w->syncer->link[C_FORWARD];
    l->exists = l->open = l->active = true;
}

bool c_syncer_is_up(const struct c_world *w) { return w->syncer->up; }

static void report(struct c_world *w, struct c_item item) {
    if (!w->joined[C_SYNCER]) return;
    if (!c_push(&w->up[C_SYNCER], item)) c_state_lose(w, C_SYNCER);
}

/* ---- its life ---- */

void c_syncer_crash(struct c_world *w) {
    struct c_syncer *s = w->syncer;
    if (!s->up) return;
    c_trace(w, "the syncer dies");
    c_state_lose(w, C_SYNCER);
    s->up = false;
    for (int i = 0; i < 2; i++) {
        struct link *l = &s->link[i];
        l->open = l->active = l->drain = l->drained = l->take_over = l->drain_told = l->activate_told = false;
    }
}

void c_syncer_start(struct c_world *w) {
    w->syncer->up = true;
    w->syncer->epoch = 0;
}

/* ---- orders ---- */

/* The connection of the process before is gone before the checkpoint is read (C21). */
static void resume(struct c_world *w, int id) {
    struct link *l = &w->syncer->link[id];
    c_clear(&l->flight);
    l->at = *checkpoint(w, id);
    c_trace(w, "%s link active from %lld", name(id), (long long)l->at);
}

static void open_link(struct c_world *w, int id, bool copy) {
    struct link *l = &w->syncer->link[id];
    if (l->open) return;
    l->open = true;
    l->active = copy;
    l->drain = l->drained = l->take_over = false;
    if (copy) resume(w, id);
    c_trace(w, "%s link opens, %s", name(id), copy ? "active" : "standby");
}

static void close_link(struct c_world *w, int id) {
    if (w->syncer->link[id].open) c_trace(w, "%s link closes", name(id));
    if (w->syncer->link[id].open) w->syncer->link[id] = (struct link){0};
}

static bool drain(struct c_world *w, const struct c_item *o) {
    struct link *l = &w->syncer->link[o->key];
    if (!l->open || (!l->active && !l->drained)) return false;
    if (l->active) {
        l->drain = true;
        l->drained = false;
        l->drain_to = (int64_t)o->number;
    }
    l->barrier = o->barrier;
    l->drain_told = true;
    return true;
}

static void undrain(struct c_world *w, int id) {
    struct link *l = &w->syncer->link[id];
    if (!l->open || (!l->drain && !l->drained)) return;
    c_trace(w, "%s link goes on", name(id));
    l->drain_told = false;
    l->drain = l->drained = false;
    l->active = true;
}

static bool activate(struct c_world *w, const struct c_item *o) {
    struct link *l = &w->syncer->link[o->key];
    int64_t offset = o->barrier;
    if (!l->open) return false;
    l->activate_told = true;
    if (l->active || l->take_over) return true;
    if (l->active_epoch == o->number) {
        l->active = true;
        l->drained = false;
        resume(w, o->key);
        return true;
    }
    if (!w->on[C_RETAINED] && offset < l->begin) offset = l->begin;
    if (!w->on[C_AT_B]) offset = l->end;
    if (!l->exists || offset < l->begin) return false;
    l->take_over = true;
    l->take_at = offset;
    l->take_epoch = o->number;
    return true;
}

static bool obey_one(struct c_world *w, const struct c_item *o) {
    struct c_syncer *s = w->syncer;
    struct link *l = &s->link[o->key];
    uint64_t epoch = (uint64_t)o->op;
    c_trace(w, "syncer obeys %d %s", o->kind, name(o->key));
    if (epoch > 0 && epoch < s->epoch) return false;
    if (epoch > s->epoch) s->epoch = epoch;
    switch (o->kind) {
    case W_LINK_OPEN: open_link(w, o->key, false); return true;
    case W_LINK_COPY: open_link(w, o->key, true); return true;
    case W_LINK_CLOSE: close_link(w, o->key); return true;
    case W_LINK_DRAIN: return drain(w, o);
    case W_LINK_UNDRAIN: undrain(w, o->key); return true;
    case W_LINK_ACTIVATE: return activate(w, o);
    case W_LINK_DISCARD:
        if (l->open && !l->active && !l->take_over && l->begin < o->barrier && o->barrier <= l->end) l->begin = o->barrier;
        return true;
    default: UNREACHABLE("not an order for the syncer");
    }
}

static void obey(struct c_world *w) {
    if (!w->joined[C_SYNCER] || c_count(&w->down[C_SYNCER]) == 0) return;
    struct c_item o = c_pop(&w->down[C_SYNCER]);
    if (!obey_one(w, &o) && o.flag) report(w, (struct c_item){.kind = W_FAILED});
}

void c_syncer_lost(struct c_world *w) { (void)w; }

/* ---- the stream ---- */

static void receive(struct c_world *w, int id) {
    struct link *l = &w->syncer->link[id];
    int64_t end = w->side[id].end;
    if (!l->open) return;
    if (!l->exists && !w->gives_stream[id]) return;
    if (!l->exists) { /* wherever the source is now, without a copy */
        l->exists = true;
        l->begin = l->end = end;
        return;
    }
    if (l->end < end) l->end++;
    if (!l->active && !w->on[C_RETAINED]) l->begin = l->end;
}

static void apply(struct c_world *w, int id) {
    struct link *l = &w->syncer->link[id];
    if (!l->open || !l->active || l->at >= l->end || c_count(&l->flight) == C_QUEUE) return;
    (void)c_push(&l->flight, (struct c_item){.number = (uint64_t)l->at++});
}

/* A unit and the checkpoint after it, in one transaction (C5). */
static void execute(struct c_world *w, int id) {
    struct link *l = &w->syncer->link[id];
    if (c_count(&l->flight) == 0) return;
    int64_t at = (int64_t)c_pop(&l->flight).number;
    const struct c_entry *entry = &w->side[id].log[at];
    if (entry->key >= 0) c_trace(w, "%s link applies %d of key %d", name(id), entry->op, entry->key);
    if (w->data_errors && !w->healing && entry->key >= 0 && c_pick(w, 12) == 0) l->dirty[entry->key] = true;
    c_applied(w, id, entry, entry->key >= 0 && l->dirty[entry->key]);
    *checkpoint(w, id) = at + 1;
}

/* A copy at the place to which everything is applied (C7a). */
static void repair(struct c_world *w, int id) {
    struct link *l = &w->syncer->link[id];
    bool there = l->at == w->side[id].end && c_count(&l->flight) == 0 && *checkpoint(w, id) == l->at;
    if (!l->open || !l->active || !there) return;
    for (int k = 0; k < C_KEYS; k++) {
        if (!l->dirty[k] || (!w->healing && c_pick(w, 40))) continue;
        c_repair(w, 1 - id, k);
        l->dirty[k] = false;
    }
}

int c_link_dirty(const struct c_world *w, int link, int key) {
    int count = 0;
    for (int k = 0; k < C_KEYS; k++) count += w->syncer->link[link].dirty[k] && (key < 0 || key == k);
    return count;
}

static void end_drain(struct c_world *w, int id) {
    struct link *l = &w->syncer->link[id];
    if (!l->open || !l->drain || l->at < l->drain_to) return;
    if (w->on[C_LINK_DRAINED] && (c_count(&l->flight) > 0 || *checkpoint(w, id) < l->at)) return;
    l->drain = l->active = false;
    l->drained = true;
    c_trace(w, "%s link is drained at %lld", name(id), (long long)l->at);
}

static void take_over(struct c_world *w, int id) {
    struct link *l = &w->syncer->link[id];
    if (!l->open || !l->take_over || l->end < l->take_at) return;
    c_clear(&l->flight);
    *checkpoint(w, id) = l->at = l->take_at;
    l->active_epoch = l->take_epoch;
    memset(l->dirty, 0, sizeof l->dirty);
    l->take_over = l->drained = false;
    l->active = true;
    c_trace(w, "%s link becomes active at %lld", name(id), (long long)l->at);
}

static void tell(struct c_world *w, int id) {
    struct link *l = &w->syncer->link[id];
    if (!l->open || !w->joined[C_SYNCER]) return;
    if (l->drain_told && l->drained) {
        l->drain_told = false;
        report(w, (struct c_item){.kind = W_LINK_DRAINED, .barrier = l->barrier, .number = (uint64_t)c_link_dirty(w, id, -1)});
    }
    if (!l->activate_told || !l->active) return;
    l->activate_told = false;
    report(w, (struct c_item){.kind = W_LINK_ACTIVE, .key = id});
}

void c_syncer_step(struct c_world *w, int what, int link) {
    if (what == 2) execute(w, link); /* whoever sent it may be dead */
    if (!w->syncer->up) return;
    switch (what) {
    case 0: receive(w, link); break;
    case 1: apply(w, link); break;
    case 3:
        if (w->healing || !w->slow_syncer || c_pick(w, 12) == 0) obey(w);
        break;
    case 4:
        if (w->data_errors) repair(w, link);
        end_drain(w, link);
        take_over(w, link);
        tell(w, link);
        break;
    default: break;
    }
}

/* ---- as it reports ---- */

bool c_link_is_attached(const struct c_world *w, int link) {
    const struct link *l = &w->syncer->link[link];
    return w->joined[C_SYNCER] && l->open && l->exists && !l->active && !l->take_over;
}

bool c_link_follows(const struct c_world *w, int link) {
    const struct link *l = &w->syncer->link[link];
    return w->joined[C_SYNCER] && l->open && l->active && !l->drain;
}

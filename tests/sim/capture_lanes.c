/* capture_lanes.c -- the lanes of the simulated gateways of capture_world.h, and what gateways ask each
 * other. Lanes in small: a key is a slot, a gateway has one lane. The real ones are in sim_lane and
 * sim_owners; here they begin, end, are drained, turn round, and die. */
#include "tests/sim/capture_gates.h"

#include <inttypes.h>

/* ---- keys ---- */

static void mark(struct c_gate *gw, int key) {
    gw->lane.dirty[key] = true;
    gw->lane.void_copy[key] = true; /* one that is under way was sent before this */
}

static void mark_queue(struct c_gate *gw, struct c_queue *queue) {
    while (c_count(queue) > 0) mark(gw, c_pop(queue).key);
}

/* ---- connections ---- */

static void drop_p(struct c_gate *gw) {
    struct c_lanes *l = &gw->lane;
    if (l->p >= 0) gw->w->conn[l->p].dead = true;
    l->p = -1;
    while (c_count(&l->p_flight) > 0) {
        struct c_item item = c_pop(&l->p_flight);
        l->copying[item.key] = false;
        if (item.kind == IT_READ) continue;
        mark(gw, item.key);
        c_gate_end(gw, (struct c_task){.op = item.op, .from = item.side}, false);
    }
}

/* What F has not confirmed may have been done or not, and may still be done. */
static void drop_f(struct c_gate *gw) {
    struct c_lanes *l = &gw->lane;
    if (l->f >= 0) gw->w->conn[l->f].dead = true;
    l->f = -1;
    mark_queue(gw, &l->f_flight);
    mark_queue(gw, &l->tail);
}

void c_lanes_break(struct c_gate *gw, bool f) {
    if (!gw->lane.open) return;
    if (f) drop_f(gw);
    else drop_p(gw);
}

void c_lanes_look(struct c_gate *gw) {
    struct c_lanes *l = &gw->lane;
    if (l->p >= 0 && gw->w->conn[l->p].dead) drop_p(gw);
    if (l->f >= 0 && gw->w->conn[l->f].dead) drop_f(gw);
}

/* ---- they begin, end, turn round ---- */

void c_lanes_open(struct c_gate *gw) {
    gw->lane = (struct c_lanes){.open = true, .p = -1, .f = -1, .follow = gw->lane.follow};
    for (int k = 0; k < C_KEYS; k++) gw->lane.dirty[k] = gw->w->on[C_ALL_DIRTY] && (!gw->journal.there || gw->journal.dirty[k]);
    c_trace(gw->w, "g%d opens lanes%s", gw->number, gw->journal.there ? ", with a journal" : "");
}

/* The journal has the dirty keys, and those of everything that is under way (C20). */
void c_lanes_crash(struct c_gate *gw) {
    struct c_lanes *l = &gw->lane;
    for (unsigned i = l->p_flight.head; i != l->p_flight.tail; i++)
        if (l->p_flight.item[i % C_QUEUE].kind != IT_READ) l->dirty[l->p_flight.item[i % C_QUEUE].key] = true;
    for (unsigned i = l->tail.head; i != l->tail.tail; i++) l->dirty[l->tail.item[i % C_QUEUE].key] = true;
    for (unsigned i = l->f_flight.head; i != l->f_flight.tail; i++) l->dirty[l->f_flight.item[i % C_QUEUE].key] = true;
    gw->journal.there = true;
    memcpy(gw->journal.dirty, l->dirty, sizeof l->dirty);
}

static void give_back_waits(struct c_gate *gw) {
    struct c_world *w = gw->w;
    struct c_tasks waits = gw->lane.waits;
    uint64_t version = gw->lane.table ? gw->lane.table->version + 1 : 1;
    gw->lane.waits.count = 0;
    for (unsigned i = 0; i < waits.count; i++) {
        if (waits.task[i].from == C_OWN)
            c_add(&gw->parked, (struct c_task){.op = waits.task[i].op, .from = C_OWN});
        else if (w->on[C_GIVEN_BACK])
            (void)c_push(&w->gates->wire[gw->number][waits.task[i].from],
                         (struct c_item){.kind = PEER_MOVED, .op = waits.task[i].op, .number = version});
    }
}

/* What was parked for others is lost; ours goes by the capture that is next. */
static void lose_parked(struct c_gate *gw) {
    struct c_tasks parked = gw->parked;
    gw->parked.count = 0;
    for (unsigned i = 0; i < parked.count; i++) {
        if (parked.task[i].from == C_OWN) c_add(&gw->parked, (struct c_task){.op = parked.task[i].op, .from = C_OWN});
        else c_gate_end(gw, parked.task[i], false);
    }
}

/* peers_retire(): what blocks is asked anew by what the capture is then, the rest is lost. */
static void retire_asks(struct c_gate *gw) {
    struct c_world *w = gw->w;
    for (unsigned i = 0; i < gw->ask_count; i++) {
        struct c_task task = {.op = gw->asks[i].op, .from = C_OWN};
        if (gw->held && w->op[task.op].blocking && gw->parked.count < C_WAITING) {
            if (w->on[C_GIVEN_BACK]) c_add(&gw->parked, task);
        } else {
            c_gate_end(gw, task, false);
        }
    }
    gw->ask_count = 0;
}

void c_lanes_retire(struct c_gate *gw) {
    c_trace(gw->w, "g%d ends its lanes", gw->number);
    give_back_waits(gw);
    lose_parked(gw);
    retire_asks(gw);
    drop_p(gw);
    drop_f(gw);
    gw->lane = (struct c_lanes){.p = -1, .f = -1};
    gw->journal = (struct c_journal){0};
}

/* Drained, nothing is under way, and both connections stay in their new roles; else all is lost. */
void c_lanes_swap(struct c_gate *gw) {
    struct c_lanes *l = &gw->lane;
    bool drained = c_lanes_are_drained(gw);
    drop_p(gw);
    drop_f(gw);
    if (drained) return;
    for (int k = 0; k < C_KEYS; k++) mark(gw, k);
    l->follow = false;
}

/* Of what is another's now nothing goes to F any more. */
static void forget_lost(struct c_lanes *l) {
    struct c_queue tail = l->tail;
    c_clear(&l->tail);
    while (c_count(&tail) > 0) {
        struct c_item item = c_pop(&tail);
        if (l->owns[item.key]) (void)c_push(&l->tail, item);
    }
}

void c_lanes_table(struct c_gate *gw, const struct slot_table *table) {
    struct c_lanes *l = &gw->lane;
    struct owners_news news;
    bool first = l->table == NULL;
    if (!first && table->version <= l->table->version) return;
    owners_read(&news, table, slice_text(gw->name), first ? NULL : l->owned, first ? 0 : l->table->version,
                first ? gw->journal.since : 0, gw->journal.there);
    for (int k = 0; k < C_KEYS; k++) {
        int slot = c_slot_of(k);
        bool has = (news.owned[slot / 64] >> (slot % 64)) & 1;
        bool got = has && (first || news.missed || !l->owns[k]);
        bool known = first && (news.trusted || !gw->w->on[C_ALL_DIRTY]);
        if (got && !known) mark(gw, k);
        l->owns[k] = has;
    }
    if (gw->w->tracing) c_trace(gw->w, "g%d has table %" PRIu64 ": %u slots%s", gw->number, table->version, news.count, news.trusted ? ", trusted" : "");
    memcpy(l->owned, news.owned, sizeof l->owned);
    forget_lost(l);
    l->table = table;
    l->resting = false;
    if (news.gained && !news.trusted) gw->journal.since = news.since;
    if (news.gained) gw->journal.there = true;
    c_gate_unpark(gw);
}

/* ---- commands ---- */

static bool send_p(struct c_gate *gw, struct c_task task) {
    struct c_lanes *l = &gw->lane;
    struct c_world *w = gw->w;
    if (c_count(&l->p_flight) == C_QUEUE || !c_gate_connect(gw, &l->p, gw->side, USE_LANE_P)) return false;
    struct c_item item = {.kind = IT_WRITE, .op = task.op, .key = w->op[task.op].key, .side = task.from};
    if (w->conn[l->p].dead || !c_push(&w->conn[l->p].asked, item)) return false;
    (void)c_push(&l->p_flight, item);
    return true;
}

static bool forward(struct c_gate *gw, struct c_task task, int peer) {
    struct c_world *w = gw->w;
    struct c_gate *other = c_gate(w, peer);
    bool reached = other->up && other->loop_lanes && other->lane.open;
    if (!reached || gw->ask_count == C_WAITING) return false;
    struct c_item ask = {.kind = PEER_ASK, .op = task.op, .number = gw->lane.table->version};
    if (!c_push(&w->gates->wire[gw->number][peer], ask)) return false;
    gw->asks[gw->ask_count++] = (struct c_asked){task.op, peer};
    w->asks++;
    return true;
}

bool c_lanes_do(struct c_gate *gw, struct c_task task) {
    struct c_lanes *l = &gw->lane;
    struct c_world *w = gw->w;
    int key = w->op[task.op].key;
    if (!l->open || l->table == NULL || l->table->version < task.not_below || l->resting) return false;
    if (l->owns[key] && w->op[task.op].blocking && l->waits.count < C_WAITING) {
        c_add(&l->waits, task);
        return true;
    }
    if (l->owns[key]) return send_p(gw, task);
    if (task.from != C_OWN) { /* its slot is another's by now */
        (void)c_push(&w->gates->wire[gw->number][task.from],
                     (struct c_item){.kind = PEER_MOVED, .op = task.op, .number = l->table->version});
        return true;
    }
    unsigned home = l->table->owner[c_slot_of(key)];
    if (home >= l->table->count) return false;
    return forward(gw, task, l->table->gateway[home].name[1] - '0');
}

/* Something came that can wake it. */
static void wake(struct c_gate *gw) {
    struct c_lanes *l = &gw->lane;
    if (gw->held || l->resting || l->waits.count == 0) return;
    unsigned at = (unsigned)c_pick(gw->w, (int)l->waits.count);
    struct c_task task = l->waits.task[at];
    if (l->owns[gw->w->op[task.op].key]) {
        if (send_p(gw, task)) (void)c_take(&l->waits, at);
    } else {
        (void)c_take(&l->waits, at);
        c_gate_do(gw, task); /* it waits on at the next owner */
    }
}

static void queue_f(struct c_gate *gw, struct c_item item) {
    if (c_push(&gw->lane.tail, item)) return;
    mark_queue(gw, &gw->lane.tail); /* the whole tail (C20) */
    mark(gw, item.key);
}

static void answered_p(struct c_gate *gw) {
    struct c_lanes *l = &gw->lane;
    if (l->p < 0 || gw->w->conn[l->p].dead || c_count(&gw->w->conn[l->p].answers) == 0) return;
    struct c_item answer = c_pop(&gw->w->conn[l->p].answers), item = c_pop(&l->p_flight);
    int key = item.key;
    if (item.kind == IT_READ) {
        bool good = l->copying[key] && !l->void_copy[key] && l->owns[key];
        l->copying[key] = false;
        if (!good) return;
        l->dirty[key] = false;
        queue_f(gw, (struct c_item){.kind = IT_RESTORE, .key = key, .number = answer.number});
        return;
    }
    if (!l->dirty[key] && l->owns[key]) queue_f(gw, (struct c_item){.kind = IT_EFFECT, .key = key, .op = item.op});
    c_gate_end(gw, (struct c_task){.op = item.op, .from = item.side}, true);
}

static void copy(struct c_gate *gw) {
    struct c_lanes *l = &gw->lane;
    int key = c_pick(gw->w, C_KEYS);
    if (l->resting || !l->owns[key] || !l->dirty[key] || l->copying[key] || !l->follow || l->f < 0) return;
    if (c_count(&l->p_flight) == C_QUEUE || !c_gate_connect(gw, &l->p, gw->side, USE_LANE_P)) return;
    struct c_item item = {.kind = IT_READ, .key = key};
    if (gw->w->conn[l->p].dead || !c_push(&gw->w->conn[l->p].asked, item)) return;
    (void)c_push(&l->p_flight, item);
    l->copying[key] = true;
    l->void_copy[key] = false;
}

static void send_f(struct c_gate *gw) {
    struct c_lanes *l = &gw->lane;
    if (!l->follow || l->resting || !gw->routed || !c_gate_connect(gw, &l->f, 1 - gw->side, USE_LANE_F)) return;
    struct c_conn *conn = &gw->w->conn[l->f];
    if (conn->dead || c_count(&l->tail) == 0 || c_count(&conn->asked) == C_QUEUE || c_count(&l->f_flight) == C_QUEUE) return;
    struct c_item item = c_pop(&l->tail);
    (void)c_push(&conn->asked, item);
    (void)c_push(&l->f_flight, item);
}

static void answered_f(struct c_gate *gw) {
    struct c_lanes *l = &gw->lane;
    if (l->f < 0 || gw->w->conn[l->f].dead || c_count(&gw->w->conn[l->f].answers) == 0) return;
    (void)c_pop(&gw->w->conn[l->f].answers);
    (void)c_pop(&l->f_flight);
}

/* ---- level, drained, at rest ---- */

static bool is_clean(const struct c_gate *gw) {
    for (int k = 0; k < C_KEYS; k++)
        if (gw->lane.owns[k] && gw->lane.dirty[k]) return false;
    return true;
}

bool c_lanes_are_level(const struct c_gate *gw) {
    const struct c_lanes *l = &gw->lane;
    return l->open && l->table && l->follow && is_clean(gw);
}

static bool is_quiet(const struct c_gate *gw) {
    const struct c_lanes *l = &gw->lane;
    if (c_count(&l->p_flight) + c_count(&l->tail) + c_count(&l->f_flight) > 0) return false;
    return l->f >= 0 && !gw->w->conn[l->f].dead && !c_has_graves(gw->w, gw->number, -1);
}

bool c_lanes_are_drained(const struct c_gate *gw) {
    for (int g = 0; g < C_GATES && gw->w->on[C_PEERS_FENCED]; g++)
        if (gw->lane.fence_due[g]) return false;
    if (!gw->w->on[C_LANES_DRAINED]) return gw->lane.open;
    return c_lanes_are_level(gw) && is_quiet(gw);
}

/* Of a hand-over: what is queued for F becomes dirty, and goes to whoever has the slots next. */
static void rest(struct c_gate *gw) {
    struct c_lanes *l = &gw->lane;
    if (!l->resting || !gw->said_held) return;
    mark_queue(gw, &l->tail);
    if (c_count(&l->p_flight) + c_count(&l->f_flight) > 0 || c_has_graves(gw->w, gw->number, -1)) return;
    c_gate_report(gw, (struct c_item){.kind = W_RESTED, .barrier = C_SLOTS_HOLD});
}

/* ---- other gateways ---- */

void c_lanes_fence_peers(struct c_gate *gw) {
    memset(gw->lane.fence_due, 0, sizeof gw->lane.fence_due);
    for (unsigned i = 0; i < gw->ask_count; i++) {
        int peer = gw->asks[i].peer;
        if (gw->lane.fence_due[peer]) continue;
        struct c_item fence = {.kind = PEER_FENCE, .number = ++gw->fences};
        gw->lane.fence_due[peer] = fence.number;
        if (!c_push(&gw->w->gates->wire[gw->number][peer], fence)) c_peers_break(gw->w, gw->number, peer);
    }
}

static bool take_ask(struct c_gate *gw, int op, int peer) {
    for (unsigned i = 0; i < gw->ask_count; i++) {
        if (gw->asks[i].op != op || gw->asks[i].peer != peer) continue;
        gw->asks[i] = gw->asks[--gw->ask_count];
        return true;
    }
    return false;
}

/* Its lanes have ended: nobody listens there any more. */
static void refuse(struct c_gate *gw, const struct c_item *item, int from) {
    if (item->kind == PEER_ASK) c_gate_end(gw, (struct c_task){.op = item->op, .from = from}, false);
    if (item->kind == PEER_FENCE) (void)c_push(&gw->w->gates->wire[gw->number][from], (struct c_item){.kind = PEER_FENCED, .number = item->number});
}

void c_peer_step(struct c_gate *gw, int from) {
    struct c_queue *wire = &gw->w->gates->wire[from][gw->number];
    if (from == gw->number || c_count(wire) == 0) return;
    struct c_item item = c_pop(wire);
    if (!gw->lane.open && (item.kind == PEER_ASK || item.kind == PEER_FENCE)) {
        refuse(gw, &item, from);
        return;
    }
    switch (item.kind) {
    case PEER_ASK: c_gate_do(gw, (struct c_task){.op = item.op, .from = from, .not_below = item.number}); break;
    case PEER_ANSWER:
    case PEER_LOST:
        if (take_ask(gw, item.op, from)) c_gate_end(gw, (struct c_task){.op = item.op, .from = C_OWN}, item.kind == PEER_ANSWER);
        break;
    case PEER_MOVED:
        if (take_ask(gw, item.op, from)) c_gate_do(gw, (struct c_task){.op = item.op, .from = C_OWN, .not_below = item.number});
        break;
    case PEER_FENCE: (void)c_push(&gw->w->gates->wire[gw->number][from], (struct c_item){.kind = PEER_FENCED, .number = item.number}); break;
    case PEER_FENCED:
        if (item.number == gw->lane.fence_due[from]) gw->lane.fence_due[from] = 0;
        break;
    default: UNREACHABLE("not between gateways");
    }
}

static void forget_visitor(struct c_gate *gw, int from) {
    for (unsigned i = gw->parked.count; i-- > 0;)
        if (gw->parked.task[i].from == from) (void)c_take(&gw->parked, i);
    for (unsigned i = gw->lane.waits.count; i-- > 0;)
        if (gw->lane.waits.task[i].from == from) (void)c_take(&gw->lane.waits, i);
}

static void lose_asks(struct c_gate *gw, int peer) {
    for (unsigned i = gw->ask_count; i-- > 0;) {
        if (gw->asks[i].peer != peer) continue;
        struct c_task task = {.op = gw->asks[i].op, .from = C_OWN};
        gw->asks[i] = gw->asks[--gw->ask_count];
        c_gate_end(gw, task, false);
    }
    gw->lane.fence_due[peer] = 0;
}

void c_peers_break(struct c_world *w, int a, int b) {
    c_clear(&w->gates->wire[a][b]);
    c_clear(&w->gates->wire[b][a]);
    for (int i = 0; i < 2; i++) {
        struct c_gate *gw = c_gate(w, i ? a : b);
        forget_visitor(gw, i ? b : a);
        lose_asks(gw, i ? b : a);
    }
}

void c_lanes_step(struct c_gate *gw, int what) {
    if (!gw->lane.open) return;
    switch (what) {
    case 0: answered_p(gw); break;
    case 1: answered_f(gw); break;
    case 2: send_f(gw); break;
    case 3: copy(gw); break;
    case 4: wake(gw); break;
    default: rest(gw); break;
    }
}

/* capture_gates.c -- the simulated gateways of capture_world.h: what state tells them, their clients,
 * and capture stream. The real ones are gateway/control.c, barrier.c, worker.c and dual_roles.c. */
#include "tests/sim/capture_gates.h"

#include "lib/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct c_gate *c_gate(struct c_world *w, int g) { return &w->gates->gate[g]; }

static void begin(struct c_gate *gw) {
    hold_init(&gw->hold, 1, UINT64_MAX);
    gw->stream = gw->lane.p = gw->lane.f = -1;
    gw->up = true;
}

struct c_gates *c_gates_new(struct c_world *w) {
    struct c_gates *gates = NEW(struct c_gates);
    for (int g = 0; g < C_GATES; g++) {
        struct c_gate *gw = &gates->gate[g];
        gw->w = w;
        gw->number = g;
        (void)snprintf(gw->name, sizeof gw->name, "g%d", g);
        begin(gw);
    }
    return gates;
}

void c_gates_free(struct c_gates *gates) { mem_free(gates); }

void c_gate_report(struct c_gate *gw, struct c_item item) {
    struct c_world *w = gw->w;
    if (!w->joined[gw->number]) return;
    if (!c_push(&w->up[gw->number], item)) c_state_lose(w, gw->number);
}

/* ---- connections ---- */

bool c_gate_may_open(const struct c_gate *gw) {
    struct c_world *w = gw->w;
    if (!w->on[C_ASKED] || gw->cached) return true;
    return c_state_admits(w, gw->number, gw->epoch, gw->side, gw->lane.table ? gw->lane.table->version : 0);
}

bool c_gate_connect(struct c_gate *gw, int *conn, int side, enum c_use use) {
    if (*conn >= 0) return true;
    if (!c_gate_may_open(gw)) return false;
    if (gw->w->on[C_ANSWERED]) c_bury(gw->w, gw->number, side);
    *conn = c_dial(gw->w, gw->number, gw->process, side, use);
    return *conn >= 0;
}

/* ---- commands ---- */

static bool is_mine(const struct c_gate *gw, const struct c_task *task) {
    const struct c_op *op = &gw->w->op[task->op];
    return op->gate == gw->number && op->process == gw->process && op->fate == FATE_UNDER_WAY;
}

void c_gate_end(struct c_gate *gw, struct c_task task, bool answered) {
    struct c_world *w = gw->w;
    if (task.from != C_OWN) {
        (void)c_push(&w->gates->wire[gw->number][task.from],
                     (struct c_item){.kind = answered ? PEER_ANSWER : PEER_LOST, .op = task.op});
        return;
    }
    if (!is_mine(gw, &task)) return;
    w->op[task.op].fate = answered ? FATE_ANSWERED : FATE_LOST;
    if (!answered) w->lost++;
    c_trace(w, "g%d: the client of %d is %s", gw->number, task.op, answered ? "answered" : "hung up on");
}

static void park(struct c_gate *gw, struct c_task task) {
    if (gw->parked.count == C_WAITING)
        c_gate_end(gw, task, false);
    else
        c_add(&gw->parked, task);
}

static bool send_stream(struct c_gate *gw, struct c_task task) {
    struct c_world *w = gw->w;
    if (gw->flight.count == C_WAITING || !c_gate_connect(gw, &gw->stream, gw->side, USE_STREAM)) return false;
    struct c_conn *conn = &w->conn[gw->stream];
    int kind = w->op[task.op].blocking ? IT_BLOCK : IT_WRITE;
    if (conn->dead || !c_push(&conn->asked, (struct c_item){.kind = kind, .op = task.op})) return false;
    c_add(&gw->flight, task);
    return true;
}

void c_gate_do(struct c_gate *gw, struct c_task task) {
    bool sent = false;
    if (gw->routed && !gw->held) sent = gw->loop_lanes ? c_lanes_do(gw, task) : send_stream(gw, task);
    if (!sent) park(gw, task);
}

void c_gate_unpark(struct c_gate *gw) {
    struct c_tasks tasks = gw->parked;
    gw->parked.count = 0;
    for (unsigned i = 0; i < tasks.count; i++) c_gate_do(gw, tasks.task[i]);
}

void c_gate_client(struct c_world *w, int g, bool blocking) {
    struct c_gate *gw = c_gate(w, g);
    if (!gw->up || gw->paused || w->op_count == C_OPS || gw->parked.count > 4) return;
    if (gw->flight.count + gw->ask_count + gw->lane.waits.count > 8) return;
    int op = w->op_count++;
    w->op[op] = (struct c_op){.fate = FATE_UNDER_WAY, .gate = g, .process = gw->process, .key = c_pick(w, C_KEYS), .blocking = blocking};
    c_gate_do(gw, (struct c_task){.op = op, .from = C_OWN});
}

/* ---- capture stream ---- */

static void lose_flight(struct c_gate *gw) {
    while (gw->flight.count > 0) c_gate_end(gw, c_take(&gw->flight, 0), false);
}

static void drop_stream(struct c_gate *gw) {
    if (gw->stream >= 0) gw->w->conn[gw->stream].dead = true;
    gw->stream = -1;
    lose_flight(gw);
}

static void take_answer(struct c_gate *gw) {
    struct c_world *w = gw->w;
    if (gw->stream < 0) return;
    struct c_conn *conn = &w->conn[gw->stream];
    if (conn->dead || c_count(&conn->answers) == 0) return;
    struct c_item item = c_pop(&conn->answers);
    for (unsigned i = 0; i < gw->flight.count; i++) {
        if (gw->flight.task[i].op != item.op) continue;
        struct c_task task = c_take(&gw->flight, i);
        if (item.kind == IT_NIL) c_gate_do(gw, task); /* with the time that is left */
        else c_gate_end(gw, task, true);
        return;
    }
}

/* Killed by state: it is seen now. */
static void look(struct c_gate *gw) {
    if (gw->stream >= 0 && gw->w->conn[gw->stream].dead) drop_stream(gw);
    c_lanes_look(gw);
}

static void unblock(struct c_gate *gw) {
    struct c_world *w = gw->w;
    if (gw->stream < 0) return;
    struct c_conn *conn = &w->conn[gw->stream];
    for (unsigned i = 0; i < gw->flight.count; i++)
        if (w->op[gw->flight.task[i].op].blocking && !conn->dead)
            (void)c_push(&conn->asked, (struct c_item){.kind = IT_UNBLOCK, .op = gw->flight.task[i].op});
}

/* ---- roles: worker_take_role() ---- */

static void recapture(struct c_gate *gw) { drop_stream(gw); }

static void take_role(struct c_gate *gw, int side) {
    if (gw->routed && gw->lanes != gw->loop_lanes) recapture(gw);
    if (gw->lane.open && !gw->lanes) c_lanes_retire(gw);
    if (gw->lane.open && gw->routed && side != gw->side) c_lanes_swap(gw);
    gw->loop_lanes = gw->lanes;
    if (gw->lane.open || !gw->lanes) return;
    gw->side = side;
    c_lanes_open(gw);
    if (gw->slots) c_lanes_table(gw, gw->slots);
}

/* Held back until all gateways hold: they ask each other. */
static void loop_route(struct c_gate *gw) {
    int side = (int)gw->hold.side;
    take_role(gw, side);
    bool changed = !gw->routed || gw->epoch != gw->hold.epoch || gw->side != side;
    gw->routed = true;
    gw->epoch = gw->hold.epoch;
    gw->side = side;
    gw->cached = false;
    if (changed && gw->stream >= 0 && gw->w->conn[gw->stream].side != side) drop_stream(gw);
    c_gate_unpark(gw);
}

static void loop_release(struct c_gate *gw) {
    int side = (int)gw->hold.side;
    bool changed = gw->side != side;
    take_role(gw, side);
    gw->held = gw->draining = false;
    gw->lane.resting = false;
    gw->routed = true;
    gw->side = side;
    gw->epoch = gw->hold.epoch;
    if (changed) drop_stream(gw);
    gw->confirm_release = true;
    c_trace(gw->w, "g%d goes on at %s by %s, epoch %" PRIu64, gw->number, c_side_name(side), c_capture_name(gw->loop_lanes), gw->epoch);
    c_gate_unpark(gw);
}

static void loop_hold(struct c_gate *gw) {
    gw->held = true;
    gw->said_held = false;
    gw->round = gw->hold.round;
    gw->held_since_ms = gw->w->now_us / 1000;
    unblock(gw);
}

/* ---- state's words: control.c ---- */

static void take_capture(struct c_gate *gw, int capture, bool *changed) {
    bool lanes = capture == 1;
    *changed = gw->capture_known && gw->lanes != lanes;
    if (*changed) {
        gw->slots = NULL;
        gw->lane.follow = false;
    }
    gw->capture_known = true;
    gw->lanes = lanes;
}

static int64_t barrier_number(const struct c_gate *gw) {
    int64_t number = 0;
    if (slice_to_int(slice_text(gw->hold.barrier), &number)) return number;
    return C_SLOTS_HOLD;
}

static void obey(struct c_gate *gw, unsigned todo) {
    if (todo & HOLD_DO_ROUTE) loop_route(gw);
    if (todo & HOLD_DO_HOLD) loop_hold(gw);
    if (todo & HOLD_DO_RELEASE) loop_release(gw);
    if (todo & HOLD_DO_REPORT_HELD)
        c_gate_report(gw, (struct c_item){.kind = W_HELD, .barrier = barrier_number(gw)});
    if (todo & HOLD_DO_ANSWER) c_gate_report(gw, (struct c_item){.kind = W_RELEASED});
}

static unsigned routed(struct c_gate *gw, unsigned todo, bool changed) {
    bool serving = gw->hold.sm.state == HOLD_SERVING && !(todo & HOLD_STALE);
    if ((changed || gw->recaptured) && serving) todo |= HOLD_DO_ROUTE;
    if (todo & (HOLD_DO_ROUTE | HOLD_DO_RELEASE)) gw->recaptured = false;
    return todo;
}

static void on_release(struct c_gate *gw, const struct c_item *o, struct slice barrier) {
    bool changed = false, ours = slice_equal(slice_text(gw->hold.barrier), barrier);
    if (o->capture >= 0 && o->number >= gw->hold.epoch && gw->w->on[C_TAKEN_FIRST]) take_capture(gw, o->capture, &changed);
    if (!gw->capture_known && !hold_is_held(&gw->hold)) return;
    if (!gw->w->on[C_LATER] && hold_is_held(&gw->hold) && !ours) return;
    unsigned todo = routed(gw, hold_on_release(&gw->hold, barrier, o->number, (enum side)o->side), changed);
    obey(gw, todo);
    if (o->flag && !(todo & (HOLD_WAIT | HOLD_STALE))) c_gate_report(gw, (struct c_item){.kind = W_RELEASED});
}

static void on_route(struct c_gate *gw, const struct c_item *o) {
    bool changed = false;
    if (gw->w->on[C_LIVE_CAPTURE] || !gw->capture_known) take_capture(gw, o->capture, &changed);
    obey(gw, routed(gw, hold_on_route(&gw->hold, o->number, (enum side)o->side), changed));
}

static void on_slots(struct c_gate *gw, const struct slot_table *table) {
    if (!gw->capture_known || !gw->lanes || (gw->slots && table->version <= gw->slots->version)) return;
    gw->slots = table;
    if (gw->lane.open) c_lanes_table(gw, table);
}

static void on_drain(struct c_gate *gw, const struct c_item *o) {
    if (!hold_is_held(&gw->hold) || barrier_number(gw) != o->barrier) {
        c_gate_report(gw, (struct c_item){.kind = W_FAILED});
        return;
    }
    gw->draining = true;
    gw->drain_barrier = o->barrier;
    c_lanes_fence_peers(gw);
}

static void obey_state(struct c_gate *gw) {
    struct c_world *w = gw->w;
    if (!w->joined[gw->number] || c_count(&w->down[gw->number]) == 0) return;
    struct c_item o = c_pop(&w->down[gw->number]);
    char text[24] = "slots";
    if (o.barrier != C_SLOTS_HOLD) (void)snprintf(text, sizeof text, "%" PRId64, o.barrier);
    struct slice barrier = slice_text(text);
    c_trace(w, "g%d hears %d, barrier %s, epoch %" PRIu64 " capture %d", gw->number, o.kind, text, o.number, o.capture);
    switch (o.kind) {
    case W_PREPARE: c_gate_report(gw, (struct c_item){.kind = W_PREPARED, .barrier = o.barrier}); break;
    case W_HOLD: obey(gw, hold_on_hold(&gw->hold, barrier, o.number, w->now_us / 1000)); break;
    case W_RELEASE: on_release(gw, &o, barrier); break;
    case W_ROUTE: on_route(gw, &o); break;
    case W_OPEN:
    case W_CLOSE:
        if (gw->lanes && gw->capture_known && o.number >= gw->hold.epoch && gw->hold.sm.state != HOLD_UNROUTED) {
            gw->lane.follow = o.kind == W_OPEN;
            if (!gw->lane.follow) c_lanes_break(gw, true);
        }
        break;
    case W_DRAIN: on_drain(gw, &o); break;
    case W_SLOTS: on_slots(gw, o.table); break;
    case W_REST:
        if (hold_is_held(&gw->hold) && barrier_number(gw) == C_SLOTS_HOLD) gw->lane.resting = true;
        break;
    default: UNREACHABLE("not an order for a gateway");
    }
}

/* ---- what it says ---- */

/* worker_check_held() */
static bool is_answered(const struct c_gate *gw) {
    const struct c_world *w = gw->w;
    if (!w->on[C_ANSWERED]) return true;
    if (gw->flight.count > 0 || c_has_graves(w, gw->number, gw->side)) return false;
    for (unsigned i = gw->lane.p_flight.head; i != gw->lane.p_flight.tail; i++)
        if (gw->lane.p_flight.item[i % C_QUEUE].kind == IT_WRITE) return false;
    return true;
}

static void say(struct c_gate *gw) {
    static const struct hold_totals none;
    if (gw->confirm_release) {
        gw->confirm_release = false;
        obey(gw, hold_on_loop_released(&gw->hold, gw->hold.round, &none));
    }
    if (gw->held && !gw->said_held) {
        unblock(gw);
        if (gw->w->on[C_ANSWERED] && c_has_graves(gw->w, gw->number, gw->side) && c_state_is_alive(gw->w))
            c_bury(gw->w, gw->number, gw->side); /* CLIENT KILL is answered */
        if (!is_answered(gw)) return;
        gw->said_held = true;
        c_trace(gw->w, "g%d holds", gw->number);
        obey(gw, hold_on_loop_held(&gw->hold, gw->round, &none));
    }
    if (gw->draining && gw->said_held && c_lanes_are_drained(gw)) {
        gw->draining = false;
        c_trace(gw->w, "g%d has drained", gw->number);
        c_gate_report(gw, (struct c_item){.kind = W_DRAINED, .barrier = gw->drain_barrier});
    }
}

static void report_lanes(struct c_gate *gw) {
    if (!gw->capture_known || !gw->lanes || !gw->lane.open) return;
    c_gate_report(gw, (struct c_item){.kind = W_LANES,
                                      .number = gw->slots ? gw->slots->version : 0,
                                      .flag = c_lanes_are_level(gw)});
}

void c_gate_timer(struct c_world *w, int g) {
    struct c_gate *gw = c_gate(w, g);
    if (w->on[C_BY_STATE] || !gw->up || gw->paused || !gw->held) return;
    if (w->now_us / 1000 - gw->held_since_ms < 500) return;
    gw->held = false;
    c_gate_unpark(gw);
}

void c_gate_step(struct c_world *w, int g, int what) {
    struct c_gate *gw = c_gate(w, g);
    if (!gw->up || gw->paused) return;
    look(gw);
    switch (what) {
    case 0: obey_state(gw); break;
    case 1: say(gw); break;
    case 2: take_answer(gw); break;
    case 3: report_lanes(gw); break;
    case 4: c_gate_unpark(gw); break;
    case 5: c_peer_step(gw, c_pick(w, C_GATES)); break;
    default: c_lanes_step(gw, what - 6); break;
    }
}

/* ---- its life ---- */

bool c_gate_is_up(const struct c_world *w, int g) { return w->gates->gate[g].up; }
bool c_gate_is_paused(const struct c_world *w, int g) { return w->gates->gate[g].paused; }
int c_gate_process(const struct c_world *w, int g) { return w->gates->gate[g].process; }
uint64_t c_gate_epoch(const struct c_world *w, int g) { return w->gates->gate[g].hold.epoch; }

/* The answer to HELLO says the capture. */
void c_gate_joined(struct c_world *w, int g, int capture) {
    struct c_gate *gw = c_gate(w, g);
    bool changed = false;
    if (w->on[C_LIVE_CAPTURE] || !gw->capture_known) take_capture(gw, capture, &changed);
    if (changed) gw->recaptured = true;
}

void c_gate_lost(struct c_world *w, int g) { (void)w, (void)g; }

void c_gate_drop(struct c_world *w, int g) {
    struct c_gate *gw = c_gate(w, g);
    if (!gw->up || gw->paused) return;
    switch (c_pick(w, 3)) {
    case 0: drop_stream(gw); break;
    case 1: c_lanes_break(gw, false); break;
    default: c_lanes_break(gw, true); break;
    }
}

void c_gate_crash(struct c_world *w, int g) {
    struct c_gate *gw = c_gate(w, g);
    if (!gw->up) return;
    c_trace(w, "g%d dies", g);
    c_state_lose(w, g);
    if (gw->lane.open) c_lanes_crash(gw);
    for (int i = 0; i < w->conn_count; i++)
        if (w->conn[i].gate == g) w->conn[i].dead = true;
    for (int i = 0; i < w->op_count; i++)
        if (w->op[i].gate == g && w->op[i].process == gw->process && w->op[i].fate == FATE_UNDER_WAY) w->op[i].fate = FATE_LOST;
    for (int p = 0; p < C_GATES; p++)
        if (p != g) c_peers_break(w, g, p);
    gw->up = gw->paused = false;
}

void c_gate_pause(struct c_world *w, int g, bool paused) { c_gate(w, g)->paused = paused; }

void c_gate_start(struct c_world *w, int g) {
    struct c_gate *gw = c_gate(w, g), old = *gw;
    if (gw->up) return;
    *gw = (struct c_gate){.w = w, .number = g, .process = old.process + 1, .journal = old.journal};
    (void)snprintf(gw->name, sizeof gw->name, "g%d", g);
    begin(gw);
    if (w->on[C_NO_CACHE]) return;
    gw->capture_known = true; /* a route and a capture from its disk */
    gw->lanes = old.lanes;
    obey(gw, hold_on_route(&gw->hold, old.hold.epoch, old.hold.side));
    gw->cached = true;
    for (int i = 0; i < 3; i++) c_gate_client(w, g, false); /* its clients are back at once */
}

void c_gate_check(struct c_world *w, int g, uint64_t epoch, int side, bool lanes) {
    const struct c_gate *gw = c_gate(w, g);
    if (hold_is_held(&gw->hold) || gw->held) c_fail(w, "in the end gateway g%d still holds, for %s", g, gw->hold.barrier);
    else if (!gw->routed || gw->hold.epoch != epoch || gw->epoch != epoch) c_fail(w, "in the end g%d obeys epoch %" PRIu64 ", not %" PRIu64, g, gw->epoch, epoch);
    else if (gw->side != side) c_fail(w, "in the end g%d is at %s", g, c_side_name(gw->side));
    else if (gw->loop_lanes != lanes || gw->lane.open != lanes) c_fail(w, "in the end g%d has capture %s", g, c_capture_name(gw->loop_lanes));
}

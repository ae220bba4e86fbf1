/* capture_sides.c -- the two sides of capture_world.h, connections to them, and what is checked when
 * something is executed there. */
#include "tests/sim/capture_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void c_fail(struct c_world *w, const char *fmt, ...) {
    va_list args;
    if (w->bad[0]) return;
    va_start(args, fmt);
    vsnprintf(w->bad, sizeof w->bad, fmt, args);
    va_end(args);
    c_trace(w, "FAILS: %s", w->bad);
}

void c_trace(struct c_world *w, const char *fmt, ...) {
    va_list args;
    if (!w->tracing) return;
    printf("%6llu ", (unsigned long long)(w->now_us / 1000));
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
}

/* ---- data ---- */

static uint64_t chained(uint64_t hash, int op) {
    return (hash ^ (uint64_t)op) * UINT64_C(0x9E3779B97F4A7C15) + 1;
}

static void put_hash(struct c_world *w, int side, int key, int op, uint64_t hash, enum c_from from) {
    struct c_side *s = &w->side[side];
    if (s->end == C_LOG) return;
    if (key >= 0) s->data[key] = hash;
    s->log[s->end++] = (struct c_entry){key, op, from};
}

void c_put(struct c_world *w, int side, int key, int op, enum c_from from) {
    put_hash(w, side, key, op, key >= 0 ? chained(w->side[side].data[key], op) : 0, from);
}

bool c_is_level(const struct c_world *w) {
    return memcmp(w->side[0].data, w->side[1].data, sizeof w->side[0].data) == 0;
}

/* ---- what may be executed where ---- */

/* Whatever is not a client's is written to the side that follows. */
static void check_follower(struct c_world *w, int side, const char *who) {
    if (c_ledger_primary(w) == side && !w->final) c_fail(w, "%s writes to %s, which is primary", who, c_side_name(side));
}

void c_repair(struct c_world *w, int side, int key) {
    check_follower(w, side, "a link's copy");
    put_hash(w, side, key, -1, w->side[1 - side].data[key], FROM_LINK);
}

static void execute_write(struct c_world *w, struct c_conn *conn, int op) {
    struct c_op *o = &w->op[op];
    bool lanes = conn->use == USE_LANE_P;
    c_trace(w, "g%d: %s executes %d of key %d by %s%s", conn->gate, c_side_name(conn->side), op, o->key,
            c_capture_name(lanes), conn->dead ? " (dead connection)" : "");
    if (c_ledger_primary(w) != conn->side)
        c_fail(w, "%s executes a client's write, and %s is primary", c_side_name(conn->side), c_side_name(c_ledger_primary(w)));
    if (c_ledger_lanes(w) != lanes)
        c_fail(w, "a write is executed with capture %s, and the epoch's is %s", c_capture_name(lanes), c_capture_name(!lanes));
    if (o->executed++ > 0) c_fail(w, "command %d is executed twice", op);
    o->side = conn->side;
    o->capture = lanes;
    c_put(w, conn->side, o->key, op, FROM_CLIENT);
    (void)c_push(&conn->answers, (struct c_item){.kind = IT_ANSWER, .op = op, .key = o->key});
}

static void execute_effect(struct c_world *w, struct c_conn *conn, const struct c_item *item) {
    struct c_op *o = &w->op[item->op];
    c_trace(w, "g%d: the effect of %d on key %d%s", conn->gate, item->op, item->key, conn->dead ? " (dead connection)" : "");
    check_follower(w, conn->side, "a lane");
    if (o->capture != 1 || o->executed == 0) c_fail(w, "a lane carries %d, which no lane confirmed", item->op);
    if (o->by_lane++ > 0) c_fail(w, "a lane carries %d twice", item->op);
    c_put(w, conn->side, item->key, item->op, FROM_LANE);
    (void)c_push(&conn->answers, *item);
}

void c_execute(struct c_world *w, struct c_conn *conn) {
    if (c_count(&conn->asked) == 0 || c_count(&conn->answers) == C_QUEUE) return;
    struct c_item item = c_pop(&conn->asked);
    switch (item.kind) {
    case IT_WRITE: execute_write(w, conn, item.op); break;
    case IT_BLOCK: conn->blocked[conn->blocked_count++] = item.op; break;
    case IT_UNBLOCK:
        for (unsigned i = 0; i < conn->blocked_count; i++) {
            if (conn->blocked[i] != item.op) continue;
            conn->blocked[i] = conn->blocked[--conn->blocked_count];
            (void)c_push(&conn->answers, (struct c_item){.kind = IT_NIL, .op = item.op});
            break;
        }
        break;
    case IT_READ:
        item.number = w->side[conn->side].data[item.key];
        (void)c_push(&conn->answers, item);
        break;
    case IT_EFFECT: execute_effect(w, conn, &item); break;
    case IT_RESTORE:
        c_trace(w, "g%d: a copy of key %d%s", conn->gate, item.key, conn->dead ? " (dead connection)" : "");
        check_follower(w, conn->side, "a copy");
        put_hash(w, conn->side, item.key, -1, item.number, FROM_LANE);
        (void)c_push(&conn->answers, item);
        break;
    default: UNREACHABLE("not for a side");
    }
}

void c_element(struct c_world *w, struct c_conn *conn) {
    if (conn->blocked_count == 0 || c_count(&conn->answers) == C_QUEUE) return;
    int op = conn->blocked[--conn->blocked_count];
    execute_write(w, conn, op);
}

/* A unit of the stream, applied by LINK at the side that it leads to. */
void c_applied(struct c_world *w, int link, const struct c_entry *entry, bool dirty) {
    int to = 1 - link;
    check_follower(w, to, "a link");
    if (entry->from == FROM_SERVER) return;
    if (entry->from != FROM_CLIENT) {
        c_fail(w, "the %s link carries what is not a client's", link ? "reverse" : "forward");
        return;
    }
    struct c_op *o = &w->op[entry->op];
    if (o->capture != 0) c_fail(w, "a link carries %d, which was written with lanes", entry->op);
    if (o->by_link++ > 0) c_fail(w, "a link carries %d twice", entry->op);
    if (!dirty) c_put(w, to, entry->key, entry->op, FROM_LINK);
}

/* ---- connections ---- */

int c_dial(struct c_world *w, int gate, int process, int side, enum c_use use) {
    if (w->conn_count == C_CONNS) return -1;
    struct c_conn *conn = &w->conn[w->conn_count];
    conn->gate = gate;
    conn->process = process;
    conn->side = side;
    conn->use = use;
    conn->dead = false;
    conn->blocked_count = 0;
    c_clear(&conn->asked);
    c_clear(&conn->answers);
    return w->conn_count++;
}

void c_kill(struct c_conn *conn) {
    c_clear(&conn->asked);
    conn->blocked_count = 0;
    conn->dead = true;
}

void c_bury(struct c_world *w, int gate, int side) {
    for (int i = 0; i < w->conn_count; i++) {
        struct c_conn *conn = &w->conn[i];
        if (conn->dead && conn->gate == gate && (side < 0 || conn->side == side)) c_kill(conn);
    }
}

bool c_has_graves(const struct c_world *w, int gate, int side) {
    for (int i = 0; i < w->conn_count; i++) {
        const struct c_conn *conn = &w->conn[i];
        bool moves = c_count(&conn->asked) > 0 || conn->blocked_count > 0;
        if (conn->dead && moves && conn->gate == gate && (side < 0 || conn->side == side)) return true;
    }
    return false;
}

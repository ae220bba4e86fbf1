/* sim_barrier.c -- the barrier's decider on a virtual network: two gateways, two links, a state
 * that dies anywhere, connections that still execute what is on their way.
 *
 *   clients -> gateway -> connection (a queue that outlives its gateway) -> side P or T
 *   P.log -> forward link -> queue -> T      T.log -> reverse link -> queue -> P
 *   state: barrier.c + workflow.c, a ledger whose writes end some time later, or never
 *
 * Checked: a side executes a client's write only while the ledger says that it is primary; at each
 * commit both sides hold the same; in the end, too, and every confirmed write is there. Every rule
 * can be switched off: then a trace has to fail (C21, C23-C26; the names are those of the model).
 */
#include "tests/sim/barrier_world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const rule_names[RULES] = {"answered", "killconn", "boot",     "noself",
                                              "fwdfence", "geq",      "revretain"};

static void PRINTF(2, 3) fail(struct sim *s, const char *fmt, ...) {
    if (s->bad[0]) return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(s->bad, sizeof s->bad, fmt, args);
    va_end(args);
}

static int pick(struct sim *s, int below) {
    return (int)rng_below(&s->rng, (uint64_t)below);
}

/* ---- sides ---- */

static void put(struct sim *s, enum side side, struct entry e) {
    struct side_model *m = &s->side[side];
    if (m->end == LOG) return;
    if (e.key >= 0) m->data[e.key] = e.value;
    m->log[m->end++] = e;
}

static bool level(const struct sim *s) {
    return memcmp(s->side[0].data, s->side[1].data, sizeof s->side[0].data) == 0;
}

/* ---- connections ---- */

static void dial(struct sim *s, int g) {
    struct gateway *gw = &s->gateway[g];
    if (s->conn_count == CONNS) return;
    s->conns[s->conn_count] = (struct conn){.gateway = g, .side = gw->side};
    gw->conn = s->conn_count++;
    gw->fly = 0;
}

static void kill_conn(struct conn *c) {
    c->head = c->tail = 0;
    c->dead = true;
}

static void drop_conn(struct sim *s, int g) {
    struct gateway *gw = &s->gateway[g];
    if (gw->conn >= 0) s->conns[gw->conn].dead = true;
    gw->conn = -1;
}

/* C25: connect, name, ask state, use. C21: the one before is known to be gone first. */
static bool may_open(struct sim *s, int g) {
    struct gateway *gw = &s->gateway[g];
    if (!s->on[KILLCONN]) return true;
    if (gw->cut || !s->alive || !barrier_admits(&s->b)) return false;
    return gw->epoch == s->workflow.epoch && gw->side == s->workflow.primary;
}

static void kill_old(struct sim *s, int g) {
    if (!s->on[ANSWERED]) return;
    for (int i = 0; i < s->conn_count; i++)
        if (s->conns[i].gateway == g && s->conns[i].dead) kill_conn(&s->conns[i]);
}

static bool connected(struct sim *s, int g) {
    struct gateway *gw = &s->gateway[g];
    if (gw->conn >= 0 && !s->conns[gw->conn].dead && s->conns[gw->conn].side == gw->side)
        return true;
    drop_conn(s, g);
    if (!may_open(s, g)) return false;
    kill_old(s, g);
    dial(s, g);
    return gw->conn >= 0;
}

static void send_write(struct sim *s, int g, int key) {
    struct gateway *gw = &s->gateway[g];
    if (!connected(s, g)) return;
    struct conn *c = &s->conns[gw->conn];
    if (c->tail == QUEUE) return;
    c->queue[c->tail++] = (struct entry){key, ++s->next_value, true};
    gw->fly++;
}

static void execute(struct sim *s, struct conn *c) {
    struct entry e = c->queue[c->head++];
    trace("g%d: %s executes %d=%" PRId64 "%s", c->gateway, side_name(c->side), e.key, e.value,
          c->dead ? " (dead connection)" : "");
    if (s->ledger.primary != c->side)
        fail(s, "%s executes a client's write, but the ledger says %s is primary",
             side_name(c->side), side_name(s->ledger.primary));
    put(s, c->side, e);
    c->replies[c->reply_tail++] = e.value;
    if (c->head == c->tail) c->head = c->tail = 0;
    if (c->reply_tail == QUEUE) kill_conn(c);
}

static void deliver_reply(struct sim *s, int g) {
    struct gateway *gw = &s->gateway[g];
    if (!gw->up || gw->paused || gw->conn < 0) return;
    struct conn *c = &s->conns[gw->conn];
    if (c->dead || c->reply_head == c->reply_tail) return;
    s->confirmed[c->replies[c->reply_head++] % VALUES] = true;
    gw->fly--;
    if (c->reply_head == c->reply_tail && c->head == c->tail) c->reply_head = c->reply_tail = 0;
}

/* ---- state's shell ---- */

static void run_todo(struct sim *s, const struct barrier_todo *todo);

static void event(struct sim *s, struct barrier_event e) {
    struct barrier_todo todo;
    if (!s->alive || !barrier_is_open(&s->b)) return;
    e.now_us = s->now_us;
    barrier_step(&s->b, &e, &todo);
    run_todo(s, &todo);
}

/* A report names its barrier; one of an earlier barrier says nothing about this one. */
static void report(struct sim *s, enum barrier_event_kind kind, int g, int64_t barrier) {
    if (barrier != s->b.row.id) return;
    event(s, (struct barrier_event){.kind = kind, .gateway = g == 0 ? "g0" : "g1"});
}

static const char *name_of(int g) {
    return g == 0 ? "g0" : "g1";
}

static void post(struct sim *s, int g, enum message kind, uint64_t epoch, enum side primary) {
    struct gateway *gw = &s->gateway[g];
    if (gw->cut || !gw->joined || gw->inbox_tail == QUEUE) return;
    gw->inbox[gw->inbox_tail++] = (struct order){kind, s->b.row.id, epoch, primary};
}

static void route_all(struct sim *s) {
    for (int g = 0; g < GATEWAYS; g++) {
        post(s, g, MSG_RELEASE, s->workflow.epoch, s->workflow.primary);
        post(s, g, MSG_ROUTE, s->workflow.epoch, s->workflow.primary);
    }
}

static void run_todo(struct sim *s, const struct barrier_todo *todo) {
    for (size_t i = 0; i < todo->count; i++) {
        const struct barrier_action *a = &todo->actions[i];
        int g = strcmp(s->b.gateways[a->gateway].name, "g1") == 0;
        switch (a->kind) {
        case BARRIER_DO_PREPARE: post(s, g, MSG_PREPARE, a->epoch, a->primary); break;
        case BARRIER_DO_HOLD: post(s, g, MSG_HOLD, a->epoch, a->primary); break;
        case BARRIER_DO_RELEASE: post(s, g, MSG_RELEASE, a->epoch, a->primary); break;
        case BARRIER_DO_FINISHED: route_all(s); break;
        case BARRIER_DO_UNDRAIN: {
            struct link_model *link = &s->link[link_from(s->b.row.from)];
            link->active = true;
            link->draining = false;
            for (int p = 0; p < s->pending_count; p++) /* orders of one connection never overtake */
                if (s->pending[p].kind == BARRIER_DO_DRAIN)
                    s->pending[p--] = s->pending[--s->pending_count];
            break;
        }
        case BARRIER_DO_RECORD_BEGIN:
        case BARRIER_DO_RECORD_COMMIT:
        case BARRIER_DO_RECORD_ABORT:
        case BARRIER_DO_RECORD_END:
        case BARRIER_DO_FENCE:
        case BARRIER_DO_READ_PLACE:
        case BARRIER_DO_DRAIN:
        case BARRIER_DO_SYNC:
        case BARRIER_DO_COMPARE:
        case BARRIER_DO_OPEN_PRIMARY:
        case BARRIER_DO_ACTIVATE:
            if (s->pending_count < 32)
                s->pending[s->pending_count++] = (struct pending){a->kind, a->side};
            break;
        }
    }
}

/* A record reaches the disk. Whether state lives to hear of it is another matter. */
static void write_record(struct sim *s, enum barrier_do kind) {
    struct barrier_row row = s->b.row;
    enum phase to = s->ledger.phase;
    struct why why;
    if (kind == BARRIER_DO_RECORD_BEGIN) {
        row.id = ++s->next_id;
        row.outcome = BARRIER_OPEN;
        to = row.to == SIDE_TARGET ? PHASE_CUTTING_OVER : PHASE_ROLLING_BACK;
    } else if (kind == BARRIER_DO_RECORD_COMMIT) {
        row.outcome = BARRIER_COMMITTED;
        if (workflow_decide(&s->ledger, WORKFLOW_COMMITTED, &to, &why) != WORKFLOW_MOVE)
            fail(s, "commit: %s", why.text);
        if (!level(s)) fail(s, "the sides differ at the commit of epoch %" PRIu64, row.epoch_after);
        s->commits++;
    } else if (kind == BARRIER_DO_RECORD_ABORT) {
        row.outcome = BARRIER_ABORTED;
        if (workflow_decide(&s->ledger, WORKFLOW_BARRIER_ABORTED, &to, &why) != WORKFLOW_MOVE)
            fail(s, "abort: %s", why.text);
        s->aborts++;
    } else {
        row.outcome = BARRIER_COMPLETED;
    }
    bool committed = row.outcome == BARRIER_COMMITTED;
    workflow_move(&s->ledger, to, committed ? row.to : s->ledger.primary,
                  committed ? row.epoch_after : s->ledger.epoch);
    s->row = row;
    if (row.epoch_after) s->committed = row;
}

static void hear_record(struct sim *s) {
    s->b.row.id = s->row.id;
    s->workflow = s->ledger;
    event(s, (struct barrier_event){.kind = BARRIER_EV_RECORDED});
}

static void fence(struct sim *s) {
    int64_t killed = 0;
    for (int i = 0; i < s->conn_count; i++) {
        struct conn *c = &s->conns[i];
        const char *name = name_of(c->gateway);
        if (!s->on[KILLCONN] || c->side != s->b.row.from ||
            barrier_is_held(&s->b, name, strlen(name)))
            continue;
        killed += !c->dead;
        kill_conn(c);
    }
    event(s, (struct barrier_event){.kind = BARRIER_EV_FENCED, .count = killed});
}

static void drain(struct sim *s) {
    struct link_model *link = &s->link[link_from(s->b.row.from)];
    link->draining = true;
    link->drain_to = s->b.row.x.offset;
}

/* The link says DRAINED only when nothing of it is on its way (FWDFENCE), and later than X is fine
 * (GEQ). */
static bool is_drained(struct sim *s, struct link_model *link) {
    bool there = s->on[GEQ] ? link->at >= link->drain_to : link->at == link->drain_to;
    if (!there) return false;
    return !s->on[FWDFENCE] || link->head == link->tail;
}

static void activate(struct sim *s) {
    struct link_model *link = &s->link[link_from(s->b.row.to)];
    if (!link->active) {
        if (s->on[REVRETAIN])
            link->at = s->b.row.b.offset;
        else if (link->at < s->b.row.b.offset)
            link->at = s->b.row.b.offset;
        link->active = true;
    }
    event(s, (struct barrier_event){.kind = BARRIER_EV_ACTIVE});
}

/* One thing that state waits for happens. */
static void progress(struct sim *s) {
    if (!s->alive || s->pending_count == 0) return;
    int i = pick(s, s->pending_count);
    struct pending p = s->pending[i];
    if (p.kind == BARRIER_DO_ACTIVATE && s->slow_syncer && pick(s, 12)) return;
    s->pending[i] = s->pending[--s->pending_count];
    struct barrier_event place = {.kind = BARRIER_EV_PLACE};
    trace("state: action %d at %s ends", (int)p.kind, side_name(p.side));
    switch (p.kind) {
    case BARRIER_DO_RECORD_BEGIN:
    case BARRIER_DO_RECORD_COMMIT:
    case BARRIER_DO_RECORD_ABORT:
    case BARRIER_DO_RECORD_END:
        write_record(s, p.kind);
        hear_record(s);
        break;
    case BARRIER_DO_FENCE: fence(s); break;
    case BARRIER_DO_READ_PLACE:
        place.place.offset = s->side[p.side].end;
        event(s, place);
        break;
    case BARRIER_DO_DRAIN: drain(s); break;
    case BARRIER_DO_SYNC: event(s, (struct barrier_event){.kind = BARRIER_EV_SYNCED}); break;
    case BARRIER_DO_COMPARE:
        event(s, (struct barrier_event){.kind = BARRIER_EV_COMPARED, .count = KEYS});
        break;
    case BARRIER_DO_OPEN_PRIMARY:
        event(s, (struct barrier_event){.kind = BARRIER_EV_OPENED});
        break;
    case BARRIER_DO_ACTIVATE: activate(s); break;
    case BARRIER_DO_PREPARE:
    case BARRIER_DO_HOLD:
    case BARRIER_DO_RELEASE:
    case BARRIER_DO_UNDRAIN:
    case BARRIER_DO_FINISHED: break;
    }
}

/* ---- gateways ---- */

static void join_state(struct sim *s, int g) {
    struct gateway *gw = &s->gateway[g];
    if (!gw->up || gw->cut || !s->alive || gw->joined || gw->paused) return;
    gw->joined = true;
    gw->inbox_head = gw->inbox_tail = 0;
    bool open = barrier_is_open(&s->b);
    event(s, (struct barrier_event){.kind = BARRIER_EV_GATEWAY_JOINED, .gateway = name_of(g)});
    if (!open || s->b.sm.state <= BARRIER_PREPARING) {
        post(s, g, MSG_RELEASE, s->workflow.epoch, s->workflow.primary);
        post(s, g, MSG_ROUTE, s->workflow.epoch, s->workflow.primary);
    }
}

static void leave_state(struct sim *s, int g) {
    if (!s->gateway[g].joined) return;
    s->gateway[g].joined = false;
    event(s, (struct barrier_event){.kind = BARRIER_EV_GATEWAY_LOST, .gateway = name_of(g)});
}

static void go_on(struct sim *s, int g) {
    struct gateway *gw = &s->gateway[g];
    gw->hold = gw->said_held = false;
    while (gw->waiting > 0) {
        gw->waiting--;
        send_write(s, g, pick(s, KEYS));
    }
}

static void obey(struct sim *s, int g) {
    struct gateway *gw = &s->gateway[g];
    if (!gw->up || gw->paused || gw->inbox_head == gw->inbox_tail) return;
    struct order o = gw->inbox[gw->inbox_head++];
    if (gw->inbox_head == gw->inbox_tail) gw->inbox_head = gw->inbox_tail = 0;
    trace("g%d obeys %d epoch %" PRIu64, g, (int)o.kind, o.epoch);
    if (o.epoch < gw->epoch) return;
    if (o.kind == MSG_PREPARE) {
        report(s, BARRIER_EV_PREPARED, g, o.barrier);
    } else if (o.kind == MSG_HOLD) {
        gw->hold = true;
        gw->said_held = false;
        gw->barrier = o.barrier;
        gw->hold_since_ms = s->now_us / 1000;
    } else if (o.kind == MSG_RELEASE || !gw->hold) {
        gw->epoch = o.epoch;
        gw->side = o.primary;
        gw->routed = true;
        go_on(s, g);
        if (o.kind == MSG_RELEASE && gw->joined) report(s, BARRIER_EV_RELEASED, g, o.barrier);
    }
}

/* HELD is said when everything is answered, or its connection known to be gone (C23). */
static void say_held(struct sim *s, int g) {
    struct gateway *gw = &s->gateway[g];
    if (!gw->up || gw->paused || !gw->hold || gw->said_held || !gw->joined) return;
    if (s->on[ANSWERED]) {
        bool alive = gw->conn >= 0 && !s->conns[gw->conn].dead;
        if (alive && gw->fly > 0) return;
        if (!alive) kill_old(s, g);
    }
    gw->said_held = true;
    trace("g%d says HELD", g);
    report(s, BARRIER_EV_HELD, g, gw->barrier);
}

static void own_timer(struct sim *s, int g) {
    struct gateway *gw = &s->gateway[g];
    if (s->on[NOSELF] || !gw->up || gw->paused || !gw->hold) return;
    if (s->now_us / 1000 - gw->hold_since_ms <= 500) return;
    trace("g%d goes on by itself at step %s", g,
          barrier_step_name((enum barrier_step)s->b.sm.state));
    go_on(s, g);
}

static void client_write(struct sim *s, int g) {
    struct gateway *gw = &s->gateway[g];
    if (!gw->up || gw->paused) return;
    if (gw->hold || !gw->routed) {
        if (gw->waiting < 4) gw->waiting++;
    } else {
        send_write(s, g, pick(s, KEYS));
    }
}

static void restart_gateway(struct sim *s, int g) {
    struct gateway *gw = &s->gateway[g], old = *gw;
    trace("g%d restarts", g);
    drop_conn(s, g);
    leave_state(s, g);
    *gw = (struct gateway){.up = true, .cut = old.cut, .conn = -1};
    if (!s->on[BOOT]) { /* trusts a route from its disk */
        gw->routed = true;
        gw->epoch = old.epoch;
        gw->side = old.side;
        dial(s, g);
    }
    /* State kills what another process left behind under this name before it lets this one in. */
    if (s->on[KILLCONN])
        for (int i = 0; i < s->conn_count; i++)
            if (s->conns[i].gateway == g && s->conns[i].dead) kill_conn(&s->conns[i]);
}

/* ---- links ---- */

static void link_reads(struct sim *s, enum link_id id) {
    struct link_model *link = &s->link[id];
    const struct side_model *source = &s->side[link_source(id)];
    if (link->at >= source->end) return;
    if (!link->active) {
        if (!s->on[REVRETAIN]) link->at++; /* throws away as it comes */
        return;
    }
    struct entry e = source->log[link->at++];
    if (e.key >= 0 && e.client && link->tail < LOG) link->queue[link->tail++] = e;
}

static void link_writes(struct sim *s, enum link_id id) {
    struct link_model *link = &s->link[id];
    if (link->head == link->tail) return;
    struct entry e = link->queue[link->head++];
    e.client = false;
    put(s, side_other(link_source(id)), e);
    if (link->head == link->tail) link->head = link->tail = 0;
}

static void link_drains(struct sim *s, enum link_id id) {
    struct link_model *link = &s->link[id];
    if (!link->draining || !is_drained(s, link)) return;
    link->draining = false;
    link->active = false;
    trace("%s link drained at %" PRId64, link_name(id), link->at);
    event(s, (struct barrier_event){.kind = BARRIER_EV_DRAINED});
}

/* ---- state dies and comes back ---- */

static void crash_state(struct sim *s) {
    if (!s->alive) return;
    trace("state dies at %s", barrier_step_name((enum barrier_step)s->b.sm.state));
    for (int i = 0; i < s->pending_count; i++) /* a record on its way may have arrived */
        if (s->pending[i].kind <= BARRIER_DO_RECORD_END && pick(s, 2))
            write_record(s, s->pending[i].kind);
    s->alive = false;
    s->pending_count = 0;
    for (int g = 0; g < GATEWAYS; g++) {
        s->gateway[g].joined = false;
        s->gateway[g].inbox_head = s->gateway[g].inbox_tail = 0;
    }
}

static const struct workflow_capture streams = {CAPTURE_STREAM, CAPTURE_STREAM, false};

/* What workflow_duties() asks of the links, level-triggered. */
static void carry_out_duties(struct sim *s) {
    struct duty duties[DUTIES_MAX];
    size_t count = workflow_duties(&s->workflow, &streams, &s->row, &s->committed, duties);
    for (size_t i = 0; i < count; i++) {
        struct link_model *link = &s->link[duties[i].link];
        if (duties[i].kind == DUTY_ACTIVATE && !link->active && s->row.outcome != BARRIER_ABORTED) {
            if (s->on[REVRETAIN] || link->at < duties[i].place.offset)
                link->at = duties[i].place.offset;
            link->active = true;
        }
        if (duties[i].kind == DUTY_UNDRAIN) {
            link->active = true;
            link->draining = false;
        }
    }
}

static void start_state(struct sim *s) {
    struct barrier_todo todo;
    if (s->alive) return;
    s->alive = true;
    s->workflow = s->ledger;
    barrier_init(&s->b);
    s->recoveries++;
    trace("state starts; the ledger says %s", barrier_outcome_name(s->row.outcome));
    if (s->row.outcome == BARRIER_OPEN || s->row.outcome == BARRIER_COMMITTED) {
        barrier_recover(&s->b, &s->row, s->now_us, &todo);
        run_todo(s, &todo);
    } else {
        carry_out_duties(s);
    }
}

static void operator_begins(struct sim *s) {
    struct why why;
    enum phase to;
    struct barrier_todo todo;
    if (!s->alive || barrier_is_open(&s->b)) return;
    enum workflow_event verb =
        s->workflow.primary == SIDE_LEGACY ? WORKFLOW_CUTOVER : WORKFLOW_ROLLBACK;
    if (workflow_decide(&s->workflow, verb, &to, &why) != WORKFLOW_MOVE) return;
    if (!s->link[link_from(s->workflow.primary)].active || s->pending_count) return;
    struct barrier_plan plan = {
        .from = s->workflow.primary, .max_hold_ms = MAX_HOLD_MS, .epoch = s->workflow.epoch};
    barrier_init(&s->b);
    for (int g = 0; g < GATEWAYS; g++)
        if (s->gateway[g].joined)
            barrier_step(
                &s->b,
                &(struct barrier_event){.kind = BARRIER_EV_GATEWAY_JOINED, .gateway = name_of(g)},
                &todo);
    barrier_begin(&s->b, &plan, s->now_us, &todo);
    run_todo(s, &todo);
}

static void tick(struct sim *s, uint64_t ms) {
    s->now_us += ms * 1000;
    for (int g = 0; g < GATEWAYS; g++) own_timer(s, g);
    event(s, (struct barrier_event){.kind = BARRIER_EV_TIMER});
}

/* ---- a run ---- */

static void init(struct sim *s, uint64_t seed, int without) {
    memset(s, 0, sizeof *s);
    s->rng = rng_from(seed);
    s->now_us = 1000000;
    for (int r = 0; r < RULES; r++) s->on[r] = r != without;
    s->ledger = (struct workflow){.phase = PHASE_LEVEL, .primary = SIDE_LEGACY, .epoch = 1};
    s->workflow = s->ledger;
    s->alive = true;
    barrier_init(&s->b);
    s->link[LINK_FORWARD].active = true;
    for (int g = 0; g < GATEWAYS; g++) {
        s->gateway[g] = (struct gateway){.up = true, .conn = -1};
        join_state(s, g);
    }
}

static void network_step(struct sim *s) {
    int g = pick(s, GATEWAYS);
    enum link_id link = (enum link_id)pick(s, LINKS);
    switch (pick(s, 12)) {
    case 0:
    case 1: client_write(s, g); break;
    case 2:
    case 3:
        if (s->conn_count) {
            struct conn *c = &s->conns[pick(s, s->conn_count)];
            if (c->head < c->tail) execute(s, c);
        }
        break;
    case 4: deliver_reply(s, g); break;
    case 5: obey(s, g); break;
    case 6: say_held(s, g); break;
    case 7: link_reads(s, link); break;
    case 8: link_writes(s, link); break;
    case 9: link_drains(s, link); break;
    case 10: progress(s); break;
    default: join_state(s, g); break;
    }
}

static void bad_day(struct sim *s) {
    int g = pick(s, GATEWAYS);
    struct gateway *gw = &s->gateway[g];
    switch (pick(s, 10)) {
    case 0: drop_conn(s, g); break;
    case 1: crash_state(s); break;
    case 2:
    case 3: start_state(s); break;
    case 4:
        gw->cut = !gw->cut;
        trace("g%d cut: %d", g, gw->cut);
        if (gw->cut) leave_state(s, g);
        break;
    case 5: restart_gateway(s, g); break;
    case 6:
        gw->paused = !gw->paused;
        trace("g%d paused: %d", g, gw->paused);
        if (gw->paused) leave_state(s, g);
        break;
    case 7:
        put(s, (enum side)pick(s, SIDES), (struct entry){-1, 0, false});
        break; /* a PING in the stream */
    case 8: tick(s, (uint64_t)(pick(s, 3) ? 20 : 300)); break;
    default:
        tick(s, 600);
        break; /* a slow disk, a long wait: time flies and nothing else happens */
    }
}

/* Each confirmed write is in the history of the side that answers now. */
static void check_confirmed(struct sim *s) {
    static bool there[VALUES];
    const struct side_model *primary = &s->side[s->ledger.primary];
    memset(there, 0, sizeof there);
    for (int64_t i = 0; i < primary->end; i++)
        if (primary->log[i].key >= 0) there[primary->log[i].value % VALUES] = true;
    for (int v = 1; v < VALUES; v++)
        if (s->confirmed[v] && !there[v]) fail(s, "the confirmed write %d is lost", v);
}

/* Everything heals, everything is delivered; then nothing may differ. */
static void heal(struct sim *s) {
    for (int g = 0; g < GATEWAYS; g++) s->gateway[g].cut = s->gateway[g].paused = false;
    start_state(s);
    for (int i = 0; i < 6000 && !s->bad[0]; i++) {
        for (int g = 0; g < GATEWAYS; g++) {
            join_state(s, g);
            obey(s, g);
            say_held(s, g);
            deliver_reply(s, g);
        }
        progress(s);
        for (int c = 0; c < s->conn_count; c++)
            if (s->conns[c].head < s->conns[c].tail) execute(s, &s->conns[c]);
        for (unsigned l = 0; l < LINKS; l++) {
            link_drains(s, (enum link_id)l);
            if (s->link[l].active) link_reads(s, (enum link_id)l);
            link_writes(s, (enum link_id)l);
        }
        if (i % 10 == 0) tick(s, 10);
    }
    if (s->bad[0]) return;
    if (barrier_is_open(&s->b))
        fail(s, "the barrier never ends: %s", barrier_step_name((enum barrier_step)s->b.sm.state));
    else if (!level(s))
        fail(s, "in the end the sides differ, primary is %s", side_name(s->ledger.primary));
    check_confirmed(s);
}

struct totals {
    int commits, aborts, recoveries;
};

static bool run(uint64_t seed, int without, struct totals *totals, bool say) {
    static struct sim s;
    init(&s, seed, without);
    int trouble = 8 << pick(&s, 5); /* one step in so many goes wrong: 8 to 128 */
    s.slow_syncer = pick(&s, 3) == 0;
    for (int i = 0; i < 600 && !s.bad[0]; i++) {
        if (pick(&s, 40) == 0) operator_begins(&s);
        if (pick(&s, trouble) == 0)
            bad_day(&s);
        else if (pick(&s, 20) == 0)
            tick(&s, 5);
        else
            network_step(&s);
    }
    if (!s.bad[0]) heal(&s);
    totals->commits += s.commits;
    totals->aborts += s.aborts;
    totals->recoveries += s.recoveries;
    if (s.bad[0] && say) printf("seed %" PRIu64 ": %s\n", seed, s.bad);
    return !s.bad[0];
}

/* Without a rule some run has to fail that does not fail with it. Without GEQ nothing is lost: the
 * link runs past X, and a barrier is missed that would have come to an end. */
static int ablate(uint64_t seed, int runs, int rule) {
    bool found = false;
    int n = 0;
    for (; n < 8 * runs && !found; n++) {
        struct totals with = {0}, without = {0};
        bool fine = run(seed + (uint64_t)n, rule, &without, tracing);
        found = !fine && run(seed + (uint64_t)n, -1, &with, false);
        if (rule == GEQ && fine && without.commits == 0)
            found = run(seed + (uint64_t)n, -1, &with, false) && with.commits > 0;
    }
    printf("without %-9s: %s after %d runs\n", rule_names[rule], found ? "fails" : "NO FAILURE", n);
    return found ? 0 : 1;
}

int main(int argc, char **argv) {
    uint64_t seed = rand_test_seed();
    int runs = argc > 1 ? atoi(argv[1]) : 3000, status = 0;
    struct totals all = {0};
    tracing = getenv("TRACE") != NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("sim_barrier: SEED=%" PRIu64 " runs %d\n", seed, runs);
    for (int i = 0; i < runs; i++)
        if (!run(seed + (uint64_t)i, -1, &all, true)) return 1;
    printf("all rules: %d commits, %d aborts, %d recoveries, no failure\n", all.commits, all.aborts,
           all.recoveries);
    if (all.commits < runs / 10 || all.aborts < runs / 10) {
        printf("too few barriers came to an end: this run proves nothing\n");
        status = 1;
    }
    for (int rule = 0; rule < RULES; rule++) status |= ablate(seed, runs, rule);
    return status;
}

/* owners_wires.c -- connections of the simulated gates to both sides, and whatever dies. See
 * owners_world.h. */
#include "tests/sim/marks.h"
#include "tests/sim/owners_world.h"

#include "lib/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char boot[JOURNAL_BOOT_SIZE + 1] = "00000000-0000-0000-0000-000000000001";

struct wire **gate_wire(struct o_gate *g, enum lane_side side, unsigned n) {
    if (n < g->w->lane_count) return &g->wires[side][n];
    n -= g->w->lane_count;
    if (side == LANE_P && n < OWNERS_CLIENTS) return &g->own[n];
    return &g->scan[side];
}

static void run_id(char text[JOURNAL_RUN_ID_SIZE + 1], uint64_t run) { snprintf(text, JOURNAL_RUN_ID_SIZE + 1, "%040" PRIu64, run); }

/* ---- executed ---- */

static void drop_marks(struct o_world *w) {
    for (unsigned i = 0; i < w->gate_count; i++)
        for (unsigned n = 0; n < w->lane_count; n++) marks_drop(w->gates[i].wires[LANE_F][n]);
}

static void execute(struct o_world *w, struct wire *wire, struct message *m) {
    wire_execute(wire, m, &w->server[wire->side], w->talk);
    if (wire->side == LANE_F && memmem(m->bytes.data, m->bytes.end, "FLUSH", 5) != NULL) drop_marks(w);
    w->figures[FIGURE_EXECUTED]++;
    owners_remember(w, wire->side);
}

static void check_order(struct o_world *w, const struct message *m) {
    if (m->client < 0) return;
    struct o_client *c = &w->gates[m->client / OWNERS_CLIENTS].clients[m->client % OWNERS_CLIENTS];
    if (m->seq < c->first) return; /* of one that was hung up on */
    if (m->seq < c->executed && !w->failed[0]) snprintf(w->failed, sizeof w->failed, "client %d: a command was executed before its predecessor", m->client);
    c->executed = m->seq;
}

void owners_execute(struct o_world *w, enum lane_side side, unsigned gate, unsigned n) {
    struct wire *wire = *gate_wire(&w->gates[gate], side, n);
    struct message *m = wire && !wire->dead ? messages_pop(&wire->asked) : NULL;
    if (!m) return;
    if (m->is_mark) {
        w->figures[FIGURE_COMPARED] += mark_check(m, &w->server[LANE_F].state, w->failed, sizeof w->failed);
        message_free(m);
        return;
    }
    execute(w, wire, m);
    if (side == LANE_P) {
        check_order(w, m);
        m->state = mem_dup(&w->server[LANE_P].state, sizeof(struct mini_state));
    }
    messages_push(&wire->answered, m);
}

void owners_zombie(struct o_world *w, unsigned gate) {
    struct wire *list[2] = {w->gates[gate].zombies, w->ghosts};
    for (int i = 0; i < 2; i++)
        for (struct wire *wire = list[i]; wire; wire = wire->next) {
            struct message *m = wire->dead ? NULL : messages_pop(&wire->asked);
            if (!m) continue;
            if (!m->is_mark) execute(w, wire, m);
            message_free(m);
            return;
        }
}

/* ---- answered ---- */

static void put_mark(struct o_gate *g, unsigned lane, const struct mini_state *state) {
    struct lane *l = &g->lanes.lane[lane];
    if (!g->w->check_clean || !l->follower_up || l->tail.count > 0 || g->lanes.barrier.at_f != LANE_FENCE_IDLE) return;
    mark_put(g->wires[LANE_F][lane], l, state);
}

static void primary_answered(struct o_gate *g, unsigned n, const struct message *m) {
    struct lane *l = &g->lanes.lane[n];
    const struct lane_item *item = l->flight.head;
    ASSERT(item);
    struct slice answer = buf_slice(&m->answer);
    bool plain = !item->outside && !item->barrier;
    if (item->limit_bytes > 0 && answer.size > item->limit_bytes) answer = lane_big_too_long;
    lane_primary_answered(l, answer);
    if (plain) put_mark(g, n, m->state);
}

static void lose(struct o_gate *g, enum lane_side side, unsigned n);

void owners_answer(struct o_world *w, enum lane_side side, unsigned gate, unsigned n) {
    struct o_gate *g = &w->gates[gate];
    struct wire *wire = *gate_wire(g, side, n);
    if (!gate_runs(g) || !wire) return;
    struct message *m = messages_pop(&wire->answered);
    if (!m && wire->dead) lose(g, side, n);
    if (m) {
        if (n < w->lane_count && side == LANE_P) primary_answered(g, n, m);
        else if (n < w->lane_count) lane_follower_answered(&g->lanes.lane[n], buf_slice(&m->answer));
        else if (m->own) gate_own_answered(g, m->own);
        else if (n == gate_wires(w, side) - 1 && !lane_scan_page(&g->lanes.scan, m->round, buf_slice(&m->answer))) OTALK("a page that is none\n");
        message_free(m);
    }
    gate_pump(g);
}

/* ---- breaks ---- */

/* Answers that were under way are lost, requests may be executed. */
static void bury(struct o_gate *g, struct wire *wire) {
    messages_free(&wire->answered);
    if (wire->dead) messages_free(&wire->asked);
    wire->next = g->zombies;
    g->zombies = wire;
}

static void lose(struct o_gate *g, enum lane_side side, unsigned n) {
    struct wire **at = gate_wire(g, side, n), *old = *at;
    *at = NULL;
    if (n == gate_wires(g->w, side) - 1) { /* it only reads */
        wire_free(old);
        lane_scan_restart(&g->lanes.scan);
        return;
    }
    bury(g, old);
    if (n >= g->w->lane_count) gate_hang_up(g, (int)(n - g->w->lane_count));
    else if (side == LANE_P) lane_primary_lost(&g->lanes.lane[n]);
    else lane_follower_lost(&g->lanes.lane[n]);
}

void owners_break(struct o_world *w, enum lane_side side, unsigned gate, unsigned n) {
    struct o_gate *g = &w->gates[gate];
    if (!gate_runs(g) || !*gate_wire(g, side, n)) return;
    OTALK("gate %u: connection %" PRId64 " breaks\n", gate, (*gate_wire(g, side, n))->id);
    lose(g, side, n);
    gate_pump(g);
}

static bool is_named(const struct o_gate *g, const struct wire *wire) {
    for (size_t i = 0; i < g->recovered.count; i++)
        if (g->recovered.buried[i].server_id == wire->id) return true;
    return false;
}

bool wires_are_settled(const struct o_gate *g) {
    if (g->recovered.others) return false;
    for (const struct wire *wire = g->zombies; wire; wire = wire->next)
        if (wire->lane == -2 && wire->side == LANE_P) return false;
    return true;
}

/* Of connections that nobody can name: they are gone when both sides say that there are none. */
static void look_for_others(struct o_gate *g) {
    if (!g->recovered.others) return;
    for (const struct wire *wire = g->zombies; wire; wire = wire->next)
        if (wire->lane == -2 && !is_named(g, wire)) return;
    g->recovered.others = false;
    lanes_unbury_others(&g->lanes, &g->journal);
}

static void told_gone(struct o_gate *g, const struct wire *wire) {
    struct lanes_buried buried = {.side = wire->side, .server_id = wire->id};
    run_id(buried.run_id, wire->run);
    if (wire->lane == -2) {
        if (is_named(g, wire)) lanes_unbury(&g->lanes, &g->journal, &buried);
        return;
    }
    if (wire->lane == -1) gate_own_gone(g, wire->id);
    else if (wire->side == LANE_P) lane_primary_gone(&g->lanes.lane[wire->lane]);
    else lane_follower_gone(&g->lanes.lane[wire->lane]);
    g->table.gone(g->table.self, wire->side, wire->id, buried.run_id);
}

void owners_kill(struct o_world *w, unsigned gate) {
    struct o_gate *g = &w->gates[gate];
    if (!gate_runs(g) || !g->zombies) return;
    struct wire **at = &g->zombies;
    while ((*at)->next) at = &(*at)->next;
    struct wire *wire = *at;
    *at = NULL;
    OTALK("gate %u: connection %" PRId64 " is known to be gone\n", gate, wire->id);
    told_gone(g, wire);
    wire_free(wire);
    look_for_others(g);
    gate_pump(g);
}

static void kill_asked(struct wire *wire) {
    if (!wire) return;
    wire->dead = true;
    messages_free(&wire->asked);
}

void wires_fence(struct o_world *w, const char *name) {
    for (unsigned i = 0; i < w->gate_count; i++) {
        struct o_gate *g = &w->gates[i];
        if (strcmp(g->name, name) != 0 || w->off[OFF_FENCING]) continue;
        for (int side = 0; side < 2; side++)
            for (unsigned n = 0; n < gate_wires(w, (enum lane_side)side); n++) kill_asked(*gate_wire(g, (enum lane_side)side, n));
        for (struct wire *wire = g->zombies; wire; wire = wire->next) kill_asked(wire);
    }
}

/* ---- opening ---- */

/* C22a: another process at a side has older data, perhaps. */
static void look_at_run(struct o_gate *g, enum lane_side side) {
    const struct o_world *w = g->w;
    if (g->run[side] == w->run[side]) return;
    bool first = g->run[side] == 0;
    for (unsigned n = 0; n < gate_wires(w, side); n++)
        if (*gate_wire(g, side, n)) lose(g, side, n);
    g->run[side] = w->run[side];
    lane_scan_restart(&g->lanes.scan);
    if (side == LANE_P || first) {
        lanes_mark_all(&g->lanes);
        return;
    }
    for (unsigned i = 0; i < w->lane_count; i++) {
        struct buf answer = {0};
        const char *mark = w->server[LANE_F].state.mark[g->number * OWNERS_LANES + i];
        if (mark[0]) resp_write_text(&answer, mark);
        else resp_write_null(&answer, 2);
        (void)lane_follower_restarted(&g->lanes.lane[i], buf_slice(&answer));
        buf_close(&answer);
    }
    lane_functions_mark(&g->lanes.functions);
}

static struct wire *open_wire(struct o_gate *g, enum lane_side side, int lane) {
    struct wire *wire = wire_new(side, lane, ++g->w->ids);
    char run[JOURNAL_RUN_ID_SIZE + 1];
    wire->run = g->w->run[side];
    run_id(run, wire->run);
    g->table.opened(g->table.self, side, wire->id, run);
    return wire;
}

void wires_open(struct o_gate *g) {
    struct o_world *w = g->w;
    look_for_others(g);
    if (!g->slots || (!state_admits(g) && !w->off[OFF_ADMIT])) return; /* as dual_tick() */
    for (int s = 0; s < 2; s++) {
        enum lane_side side = (enum lane_side)s;
        look_at_run(g, side);
        for (unsigned i = 0; i < w->lane_count; i++) {
            if (g->wires[side][i]) continue;
            g->wires[side][i] = open_wire(g, side, (int)i);
            if (side == LANE_P) lane_primary_up(&g->lanes.lane[i], g->facts.primary_version);
            else lane_follower_up(&g->lanes.lane[i], g->facts.follower_version);
        }
        if (g->scan[side]) continue;
        g->scan[side] = wire_new(side, -1, ++w->ids);
        lane_scan_restart(&g->lanes.scan); /* a page may have been asked for meanwhile */
    }
    for (int i = 0; i < OWNERS_CLIENTS; i++)
        if (!g->own[i]) g->own[i] = open_wire(g, LANE_P, -1);
}

/* ---- deaths ---- */

void wires_die(struct o_gate *g) {
    for (int s = 0; s < 2; s++)
        for (unsigned n = 0; n < gate_wires(g->w, (enum lane_side)s); n++) {
            struct wire **at = gate_wire(g, (enum lane_side)s, n);
            if (!*at) continue;
            bool reads = n == gate_wires(g->w, (enum lane_side)s) - 1;
            if (reads) wire_free(*at);
            else bury(g, *at);
            *at = NULL;
        }
    for (struct wire *wire = g->zombies; wire; wire = wire->next) wire->lane = -2;
}

void owners_die(struct o_world *w, unsigned gate, bool host) {
    struct o_gate *g = &w->gates[gate];
    if (!g->alive) return;
    OTALK("gate %u dies%s\n", gate, host ? ", and its journal is lost" : "");
    w->figures[FIGURE_DEATHS]++;
    wires_die(g);
    links_die(g);
    state_gate_died(g);
    gate_forget_all(g);
    carry_forget(g);
    memset(&g->move, 0, sizeof g->move);
    lanes_close(&g->lanes);
    holders_close(&g->holders);
    lanes_recovered_close(&g->recovered);
    journal_close(&g->journal);
    if (host) memset(g->memory, 0, JOURNAL_SIZE_MIN);
    if (host) g->noted = 0;
    g->slots = NULL;
    g->alive = g->paused = g->unsynced = g->held = g->said_held = g->resting = false;
    g->gained = 0;
}

static void on_unpinned(void *self, const struct effect *effect) { (void)self, (void)effect; }

/* Likewise the first one of all. */
void owners_born(struct o_world *w, unsigned gate) {
    struct o_gate *g = &w->gates[gate];
    if (g->alive) return;
    OTALK("gate %u begins\n", gate);
    uint8_t *old = g->memory;
    g->alive = true;
    g->run[0] = g->run[1] = 0;
    g->memory = mem_zalloc(JOURNAL_SIZE_MIN);
    journal_init(&g->journal, g->memory, JOURNAL_SIZE_MIN, boot);
    lanes_journal_bind(&g->table, &g->journal);
    lanes_init(&g->lanes, &gate_ops, g, &g->table, &g->clock, &w->rules, w->lane_count);
    g->lanes.over = gate_over;
    holders_init(&g->holders, &g->lanes, on_unpinned, g);
    lanes_recover_bytes(&g->lanes, slice_from(old, JOURNAL_SIZE_MIN), boot, &g->recovered);
    mem_free(old);
    for (size_t i = 0; i < g->recovered.count; i++) {
        const struct lanes_buried *buried = &g->recovered.buried[i];
        g->run[buried->side] = strtoull(buried->run_id, NULL, 10);
    }
    g->nonce++;
    for (unsigned i = 0; i < w->lane_count; i++) {
        char name[2] = {(char)('0' + g->number * OWNERS_LANES + i), '\0'};
        lane_marks_name(&g->lanes.lane[i].marks, name, g->nonce);
    }
    g->lanes.scan.databases[LANE_P] = g->lanes.scan.databases[LANE_F] = MINI_DBS;
}

void owners_pause(struct o_world *w, unsigned gate, bool paused) {
    struct o_gate *g = &w->gates[gate];
    if (!g->alive || g->paused == paused) return;
    OTALK("gate %u %s\n", gate, paused ? "stands still" : "wakes up");
    w->figures[FIGURE_PAUSES] += paused;
    g->paused = paused;
}

/* Nothing more is executed by a process that is gone; the new one may have older data. */
void owners_restart(struct o_world *w, enum lane_side side, int back) {
    OTALK("%c restarts, %d back\n", side == LANE_P ? 'P' : 'F', back);
    if (w->history_count[side] > back) {
        w->history_count[side] -= back;
        w->server[side].state = w->history[side][w->history_count[side] - 1];
        for (int db = 0; db < MINI_DBS; db++)
            for (int k = 0; k < MINI_KEYS; k++) w->server[side].version[db][k]++;
    }
    w->run[side]++;
    for (unsigned i = 0; i < w->gate_count; i++) {
        struct o_gate *g = &w->gates[i];
        for (unsigned n = 0; n < gate_wires(w, side); n++) kill_asked(*gate_wire(g, side, n));
        for (struct wire *wire = g->zombies; wire; wire = wire->next)
            if (wire->side == side) kill_asked(wire);
    }
}

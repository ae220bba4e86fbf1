/* owners_state.c -- the simulated state, and what gates and it say to each other. See owners_world.h;
 * the real one is state/core_slots.c. */
#include "tests/sim/owners_world.h"

#include "lib/base/mem.h"

#include <inttypes.h>
#include <stdio.h>

#define EVEN_AFTER_MS 40
#define EVEN_AGAIN_MS 200
#define HOLD_MAX_MS 1000

static uint64_t now_ms(const struct o_world *w) { return (uint64_t)w->world_ms; }

static unsigned gate_called(const struct o_world *w, const char *name) {
    unsigned i = 0;
    while (i + 1 < w->gate_count && strcmp(w->gates[i].name, name) != 0) i++;
    return i;
}

/* ---- telling ---- */

static void tell(struct o_gate *g, int kind) {
    struct o_world *w = g->w;
    if (!w->state.here[g->number] || g->state_broken) return;
    struct o_note *note = NEW(struct o_note);
    note->kind = (__typeof__(note->kind))kind;
    note->table = kind == NOTE_REST ? w->state.planned : w->state.published;
    note->id = w->state.moves;
    notes_push(&g->from_state, note);
}

static void tell_all(struct o_world *w, int kind) {
    for (unsigned i = 0; i < w->gate_count; i++) tell(&w->gates[i], kind);
}

static void report(struct o_gate *g, int kind) {
    if (!g->state_open || g->state_broken) return;
    struct o_note *note = NEW(struct o_note);
    note->kind = (__typeof__(note->kind))kind;
    note->version = g->slots ? g->slots->version : 0;
    notes_push(&g->to_state, note);
}

static void end_move(struct o_world *w, bool done) {
    struct o_state *s = &w->state;
    if (s->move == MOVE_IDLE) return;
    s->move = MOVE_IDLE;
    s->not_before_ms = w->world_ms + (done ? EVEN_AFTER_MS : EVEN_AGAIN_MS);
    tell_all(w, NOTE_RELEASE);
}

/* It is in the ledger before anybody hears of it. */
static void publish(struct o_world *w) {
    struct o_state *s = &w->state;
    s->ledger = s->slots.table;
    ASSERT(w->table_count < OWNERS_TABLES);
    struct slot_table *copy = mem_dup(&s->ledger, sizeof s->ledger);
    w->tables[w->table_count++] = copy;
    s->published = copy;
    OTALK("state: table %" PRIu64 "\n", copy->version);
    tell_all(w, NOTE_SLOTS);
    end_move(w, true);
    if (s->not_before_ms < w->world_ms + EVEN_AFTER_MS) s->not_before_ms = w->world_ms + EVEN_AFTER_MS;
}

/* ---- what it hears ---- */

static void seen(struct o_gate *g, uint64_t version) {
    struct o_world *w = g->w;
    struct o_state *s = &w->state;
    struct why why = {""};
    if (version > s->slots.table.version || w->table_count >= OWNERS_TABLES - 8) return;
    enum slots_step step = slots_joined(&s->slots, g->name, "peer", &why);
    if (step == SLOTS_CHANGED) {
        end_move(w, false);
        publish(w);
    } else if (step == SLOTS_SAME && s->published && version != s->published->version) {
        tell(g, NOTE_SLOTS);
    }
}

static void confirmed(struct o_gate *g, bool held) {
    struct o_world *w = g->w;
    struct o_state *s = &w->state;
    bool due = held ? s->move == MOVE_HOLDING : s->move == MOVE_RESTING;
    if (!due || slot_table_find(&s->slots.table, slice_text(g->name)) == s->slots.table.count) return;
    s->confirmed[g->number] = true;
    for (unsigned i = 0; i < s->slots.table.count; i++)
        if (!s->confirmed[gate_called(w, s->slots.table.gateway[i].name)]) return;
    memset(s->confirmed, 0, sizeof s->confirmed);
    if (held) {
        s->move = MOVE_RESTING;
        s->planned = w->tables[w->table_count++] = mem_dup(&s->even, sizeof s->even);
        tell_all(w, NOTE_REST);
        return;
    }
    OTALK("state: slots are handed over\n");
    w->figures[FIGURE_MOVES]++;
    slots_take(&s->slots, &s->even);
    publish(w);
}

static void state_reads(struct o_gate *g, const struct o_note *note) {
    if (note->kind == NOTE_LANES) seen(g, note->version);
    else confirmed(g, note->kind == NOTE_HELD);
}

/* ---- what a gate hears ---- */

static void hold(struct o_gate *g, bool held) {
    g->held = held;
    g->said_held = false;
    if (held) return;
    carry_end(g);
    g->resting = false;
    lanes_rest(&g->lanes, false);
}

/* What is still to be compared is, before somebody else writes there. */
static void compare_now(struct o_gate *g) {
    for (unsigned i = 0; i < g->w->lane_count; i++)
        for (int turns = 0; g->wires[LANE_F][i] && g->wires[LANE_F][i]->asked.head && g->wires[LANE_F][i]->asked.head->is_mark && turns < 100; turns++)
            owners_execute(g->w, LANE_F, g->number, i);
}

static void say_rested(struct o_gate *g) {
    if (!carry_is_read(g)) return;
    g->resting = false;
    compare_now(g);
    report(g, NOTE_RESTED);
}

static void gate_reads(struct o_gate *g, const struct o_note *note) {
    if (note->kind == NOTE_SLOTS) gate_take_table(g, note->table);
    if (note->kind == NOTE_HOLD) hold(g, true);
    if (note->kind == NOTE_RELEASE) hold(g, false);
    if (note->kind != NOTE_REST || !g->held) return;
    g->resting = true;
    g->move.number = note->id;
    g->move.planned = note->table;
    g->move.carried = false;
    if (g->w->off[OFF_REST]) say_rested(g);
    else lanes_rest(&g->lanes, true);
}

static void noticed(struct o_gate *g) {
    const struct o_world *w = g->w;
    OTALK("gate %u has lost state\n", g->number);
    g->state_open = g->state_broken = false;
    notes_free(&g->to_state);
    notes_free(&g->from_state);
}

static bool step_note(struct o_gate *g, bool to_state) {
    struct o_world *w = g->w;
    struct o_note *note = NULL;
    if (!g->state_open) return false;
    if (to_state) {
        if (!w->state.alive || !w->state.here[g->number]) return false;
        note = notes_pop(&g->to_state);
        if (!note) return false;
        state_reads(g, note);
    } else {
        if (!gate_runs(g)) return false;
        note = notes_pop(&g->from_state);
        if (!note && !g->state_broken) return false;
        if (note) gate_reads(g, note);
        else noticed(g);
        gate_pump(g);
    }
    if (note) buf_close(&note->words), mem_free(note);
    return true;
}

bool owners_note(struct o_world *w, unsigned which) {
    for (unsigned tries = 0; tries < w->gate_count * 2; tries++) {
        unsigned at = (which + tries) % (w->gate_count * 2);
        if (step_note(&w->gates[at / 2], at % 2)) return true;
    }
    return false;
}

/* ---- connections ---- */

static void connect(struct o_gate *g) {
    struct o_world *w = g->w;
    g->state_open = true;
    g->state_broken = false;
    w->state.here[g->number] = true;
    if (w->state.move == MOVE_IDLE) tell(g, NOTE_RELEASE);
    report(g, NOTE_LANES);
}

void owners_break_state(struct o_world *w, unsigned gate) {
    struct o_gate *g = &w->gates[gate];
    if (!g->state_open || g->state_broken) return;
    OTALK("state has lost gate %u\n", gate);
    g->state_broken = true;
    if (!w->state.here[gate]) return;
    w->state.here[gate] = false;
    notes_free(&g->to_state);
    if (!w->state.alive) return;
    slots_lost(&w->state.slots, g->name, now_ms(w));
    end_move(w, false);
}

void state_gate_died(struct o_gate *g) {
    owners_break_state(g->w, g->number);
    if (g->state_open) noticed(g);
}

bool state_admits(const struct o_gate *g) {
    const struct o_state *s = &g->w->state;
    if (!s->alive || !g->state_open || g->state_broken) return false;
    return s->slots.table.count == 0 || slots_admit(&s->slots, slice_text(g->name), g->slots ? g->slots->version : 0);
}

void state_gate_turn(struct o_gate *g) {
    struct o_world *w = g->w;
    if (!g->state_open && w->state.alive && !g->cut) connect(g);
    else if (!g->to_state.head) report(g, NOTE_LANES);
    if (g->held && !g->said_held && gate_has_held(g)) {
        g->said_held = true;
        report(g, NOTE_HELD);
    }
    if (g->resting && g->held && (w->off[OFF_REST] || lanes_are_at_rest(&g->lanes))) say_rested(g);
}

/* ---- state itself ---- */

void owners_state_dies(struct o_world *w) {
    if (!w->state.alive) return;
    OTALK("state dies\n");
    w->state.alive = false;
    for (unsigned i = 0; i < w->gate_count; i++) {
        owners_break_state(w, i);
        w->state.here[i] = false;
    }
}

void owners_state_born(struct o_world *w) {
    struct o_state *s = &w->state;
    if (s->alive) return;
    OTALK("state begins\n");
    s->alive = true;
    s->move = MOVE_IDLE;
    s->fencing[0] = '\0';
    s->not_before_ms = 0;
    slots_init(&s->slots, s->ledger.version > 0 ? &s->ledger : NULL, now_ms(w));
}

static bool may_move(const struct o_world *w) {
    const struct o_state *s = &w->state;
    if (!s->alive || s->move != MOVE_IDLE || s->fencing[0] || w->table_count >= OWNERS_TABLES - 8) return false;
    unsigned members = 0;
    for (unsigned i = 0; i < w->gate_count; i++) members += s->here[i];
    for (unsigned i = 0; i < s->slots.table.count; i++)
        if (!s->slots.seat[i].here || s->slots.seat[i].fencing) return false;
    return members == s->slots.table.count;
}

static void begin_move(struct o_world *w) {
    struct o_state *s = &w->state;
    s->move = MOVE_HOLDING;
    s->moves++;
    s->until_ms = w->world_ms + HOLD_MAX_MS;
    memset(s->confirmed, 0, sizeof s->confirmed);
    tell_all(w, NOTE_HOLD);
}

/* As a gate that is about to leave asks for it. */
void owners_hand_over(struct o_world *w, unsigned from, unsigned to) {
    struct o_state *s = &w->state;
    const struct slot_table *table = &s->slots.table;
    if (!may_move(w)) return;
    unsigned loses = slot_table_find(table, slice_text(w->gates[from].name)), gets = slot_table_find(table, slice_text(w->gates[to].name));
    if (loses == gets || loses == table->count || gets == table->count || slot_table_owned(table, loses) == 0) return;
    s->even = *table;
    for (unsigned slot = 0; slot < SLOT_CLUSTER_COUNT; slot++)
        if (table->owner[slot] == loses) s->even.owner[slot] = (uint8_t)gets;
    s->even.gateway[gets].since = s->even.version = table->version + 1;
    begin_move(w);
}

static void consider_even(struct o_world *w) {
    struct o_state *s = &w->state;
    if (w->world_ms < s->not_before_ms || !may_move(w)) return;
    if (slots_even(&s->slots, &s->even) == SLOTS_CHANGED) begin_move(w);
    else s->not_before_ms = w->world_ms + EVEN_AFTER_MS;
}

/* Connections of a lost gate are killed at both sides; sometimes a side does not answer. */
static void fence(struct o_world *w) {
    struct o_state *s = &w->state;
    if (rng_below(&w->rng, 4) == 0) {
        slots_not_gone(&s->slots, s->fencing, now_ms(w));
    } else {
        OTALK("state: gate %s is fenced\n", s->fencing);
        w->figures[FIGURE_FENCED]++;
        wires_fence(w, s->fencing);
        if (slots_gone(&s->slots, s->fencing) == SLOTS_CHANGED) publish(w);
    }
    s->fencing[0] = '\0';
}

void owners_state_turn(struct o_world *w) {
    struct o_state *s = &w->state;
    if (!s->alive) return;
    if (s->fencing[0]) {
        fence(w);
        return;
    }
    const char *name = w->table_count < OWNERS_TABLES - 8 ? slots_to_fence(&s->slots, now_ms(w)) : NULL;
    if (name) {
        snprintf(s->fencing, sizeof s->fencing, "%s", name);
        end_move(w, false);
        return;
    }
    if (s->move != MOVE_IDLE && w->world_ms > s->until_ms) end_move(w, false);
    if (s->move == MOVE_IDLE) consider_even(w);
}

bool state_is_idle(const struct o_world *w) {
    const struct o_state *s = &w->state;
    if (!s->alive || s->move != MOVE_IDLE || s->fencing[0] || s->slots.table.count != w->gate_count) return false;
    for (unsigned i = 0; i < w->gate_count; i++)
        if (!s->slots.seat[i].here || w->gates[i].slots != s->published) return false;
    return true;
}

/* owners_moments.c -- moments at which a rule of several gateways matters. See owners_moments.h. */
#include "tests/sim/owners_moments.h"

#include <stdio.h>

void owners_lapse(struct rng *r, struct o_world *w, unsigned gate) {
    if (rng_below(r, 3) == 0) w->gates[gate].cut = true;
    else owners_pause(w, gate, true);
    owners_break_state(w, gate);
    w->world_ms += SLOTS_LEASE_MS + (int64_t)rng_below(r, 200);
    for (uint64_t turns = rng_below(r, 5); turns > 0; turns--) owners_state_turn(w);
}

/* GATE does what there is to be done, but for what it says to other gates. */
static void run_alone(struct o_world *w, unsigned gate, int turns) {
    for (int i = 0; i < turns; i++) {
        owners_turn(w, gate);
        for (unsigned k = 0; k < 6; k++) (void)owners_note(w, gate * 2 + k % 2);
        for (int side = 0; side < 2; side++)
            for (unsigned n = 0; n < gate_wires(w, (enum lane_side)side); n++)
                for (int k = 0; k < 3; k++) {
                    owners_execute(w, (enum lane_side)side, gate, n);
                    owners_answer(w, (enum lane_side)side, gate, n);
                }
    }
}

void owners_die_with_pins(struct rng *r, struct o_world *w) {
    unsigned gate = (unsigned)rng_below(r, w->gate_count);
    for (unsigned i = 0; i < w->gate_count && !w->gates[gate].pins; i++) gate = (gate + 1) % w->gate_count;
    unsigned other = (gate + 1 + (unsigned)rng_below(r, w->gate_count - 1)) % w->gate_count;
    bool itself = rng_below(r, 2);
    owners_die(w, itself ? gate : other, rng_below(r, 8) == 0);
    if (rng_below(r, 4) == 0) return;
    owners_born(w, itself ? gate : other);
    if (rng_below(r, 3) == 0) return;
    if (!itself) { /* the other one is at work before the two speak to each other */
        for (int i = 0; i < 3; i++) {
            while (w->gates[other].zombies) owners_kill(w, other);
            run_alone(w, other, 10);
        }
        run_alone(w, gate, 2);
        return;
    }
    for (int i = 0; i < 12; i++) {
        owners_turn(w, gate);
        for (unsigned k = 0; k < 4; k++) (void)owners_note(w, gate * 2 + k % 2);
        for (unsigned k = 0; k < 8; k++) (void)owners_link(w, k);
        run_alone(w, other, 2);
    }
    for (int i = 0; i < 6; i++) owners_zombie(w, gate);
}

/* ---- ---- */

static void all_links(struct o_world *w, int turns) {
    for (int i = 0; i < turns; i++) {
        for (unsigned gate = 0; gate < w->gate_count; gate++) owners_turn(w, gate);
        for (unsigned k = 0; k < 12; k++) (void)owners_link(w, k);
        for (unsigned k = 0; k < 6; k++) (void)owners_note(w, k);
    }
}

static unsigned other_gate(struct rng *r, const struct o_world *w, unsigned gate) {
    return (gate + 1 + (unsigned)rng_below(r, w->gate_count - 1)) % w->gate_count;
}

/* C21: its pins are known only when its old connections are gone. */
static void under_way(struct rng *r, struct o_world *w) {
    unsigned gate = (unsigned)rng_below(r, w->gate_count);
    char text[48];
    snprintf(text, sizeof text, "MSET a %d b %d c %d d %d", (int)rng_below(r, 9), (int)rng_below(r, 9), (int)rng_below(r, 9), (int)rng_below(r, 9));
    owners_rest(w, 12);
    owners_issue(w, gate, (int)rng_below(r, OWNERS_CLIENTS), 0, text, false);
    all_links(w, 4);
    bool sent = false;
    for (unsigned i = 0; i < w->lane_count; i++) sent |= w->gates[gate].wires[LANE_P][i] && w->gates[gate].wires[LANE_P][i]->asked.head;
    if (!sent) return;
    owners_die(w, gate, rng_below(r, 8) == 0);
    owners_born(w, gate);
    for (int i = 0; i < 12; i++) {
        w->world_ms++;
        all_links(w, 1);
        for (unsigned k = 0; k < w->gate_count; k++)
            if (k != gate) run_alone(w, k, 2);
    }
    for (int i = 0; i < 20; i++) owners_zombie(w, gate);
}

/* Until the hand-over is done, or was given up; F does nothing meanwhile if it is LATE. */
static void drive(struct o_world *w, bool late) {
    for (int i = 0; i < 40 && w->state.move != MOVE_IDLE; i++) {
        if (!late) {
            owners_rest(w, 1);
            continue;
        }
        w->world_ms++;
        owners_state_turn(w);
        for (unsigned gate = 0; gate < w->gate_count; gate++)
            for (unsigned n = 0; n < gate_wires(w, LANE_P); n++) {
                owners_execute(w, LANE_P, gate, n);
                owners_answer(w, LANE_P, gate, n);
            }
        all_links(w, 1);
    }
}

static void issue(struct rng *r, struct o_world *w, const char *form, char key) {
    char text[48];
    size_t size = 0;
    for (; *form && size + 1 < sizeof text; form++) text[size++] = *form == '?' ? key : *form;
    text[size] = '\0';
    owners_issue(w, (unsigned)rng_below(r, w->gate_count), (int)rng_below(r, OWNERS_CLIENTS), 0, text, false);
}

static bool hand_over(struct rng *r, struct o_world *w, bool late) {
    unsigned from = (unsigned)rng_below(r, w->gate_count), to = other_gate(r, w, from);
    for (unsigned i = 0; i < w->gate_count; i++)
        if (!gate_runs(&w->gates[i]) || w->gates[i].cut) return false;
    owners_hand_over(w, from, to);
    if (w->state.move == MOVE_IDLE) return false;
    drive(w, late);
    return true;
}

/* C22b: whoever got the slots writes, and what the one before had sent comes later. */
static void busy(struct rng *r, struct o_world *w) {
    char key = (char)('a' + rng_below(r, 4));
    owners_rest(w, 12);
    for (int i = 0; i < 3; i++) issue(r, w, rng_below(r, 2) ? "SET ? 1" : "APPEND ? x", key);
    if (!hand_over(r, w, true)) return;
    issue(r, w, rng_below(r, 2) ? "SET ? 2" : "APPEND ? y", key);
    for (int i = 0; i < 4; i++) {
        all_links(w, 1);
        for (unsigned gate = w->gate_count; gate > 0; gate--) run_alone(w, gate - 1, 1);
    }
}

/* C22b, C12a: who gets a key knows when it will vanish. */
static void vanishing(struct rng *r, struct o_world *w) {
    char key = (char)('a' + rng_below(r, 4));
    issue(r, w, "SET ? 5 PX 300", key);
    owners_rest(w, 12);
    if (!hand_over(r, w, false)) return;
    w->world_ms += 60 + (int64_t)rng_below(r, 300);
    issue(r, w, "INCR ?", key);
    if (rng_below(r, 2)) issue(r, w, "PEXPIRE ? 9000", key);
    owners_rest(w, 8);
}

/* C22a: what the owner before had sent is gone, too. */
static void older(struct rng *r, struct o_world *w) {
    char key = (char)('a' + rng_below(r, 4));
    owners_rest(w, 12);
    issue(r, w, "APPEND ? z", key);
    issue(r, w, "SET ? 8", key);
    owners_rest(w, 4 + (int)rng_below(r, 30));
    if (!hand_over(r, w, false)) return;
    owners_restart(w, LANE_F, 1 + (int)rng_below(r, 3));
    owners_rest(w, 4);
}

void owners_moment(struct rng *r, struct o_world *w, enum owners_moment_kind kind, bool faults) {
    switch (kind) {
    case OWNERS_MOMENT_UNDER_WAY:
        if (faults) under_way(r, w);
        break;
    case OWNERS_MOMENT_BUSY: busy(r, w); break;
    case OWNERS_MOMENT_VOLATILE: vanishing(r, w); break;
    case OWNERS_MOMENT_OLDER:
    case OWNERS_MOMENTS:
    default:
        if (faults) older(r, w);
    }
    if (rng_below(r, 3) == 0) owners_compare(w);
}

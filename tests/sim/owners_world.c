/* owners_world.c -- several simulated gateways: a run from its beginning to its end. See
 * owners_world.h. */
#include "tests/sim/owners_world.h"

#include "lib/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

const char *const owners_rule_names[OWNERS_RULES] = {"owner (C10)",    "pins not acknowledged (C10a)", "pins not known (C10a)",  "no fencing (C25)",
                                                     "admit (C25)",    "gained not dirty (C20)",       "no rest (C22b)",         "waiting (C10)",
                                                     "settled (C21)",  "dirty carried (C22b)",         "deadlines carried (C22b)", "believed (C22b)",
                                                     "old marks (C22a)",             "missed tables (C20)"};

static int64_t wall_ms(const struct clock *clock) {
    const struct o_gate *g = (const struct o_gate *)(const void *)clock;
    return g->w->world_ms + g->skew_ms;
}
static uint64_t mono_us(const struct clock *clock) { return (uint64_t)((const struct o_gate *)(const void *)clock)->w->world_ms * 1000; }

void owners_remember(struct o_world *w, enum lane_side side) {
    int *count = &w->history_count[side];
    if (*count > 0 && memcmp(&w->history[side][*count - 1], &w->server[side].state, sizeof(struct mini_state)) == 0) return;
    if (*count == OWNERS_HISTORY) memmove(w->history[side], w->history[side] + 1, sizeof w->history[side][0] * (size_t)--*count);
    w->history[side][(*count)++] = w->server[side].state;
}

void owners_open(struct o_world *w, uint64_t seed, unsigned gates, unsigned lanes, bool import) {
    *w = (struct o_world){.world_ms = 1000000, .talk = getenv("TALK") != NULL, .gate_count = gates, .lane_count = lanes, .rng = rng_from(seed)};
    for (int side = 0; side < 2; side++) {
        w->server[side].world_ms = &w->world_ms;
        w->server[side].rng = rng_from(seed + (uint64_t)side);
        w->run[side] = 1;
    }
    w->server[LANE_F].import_mode = import;
    w->rules = lane_rules_default;
    w->rules.clock_difference_ms = 400;
    w->rules.follower_keeps_expired = import;
    w->rules.copy_interval_ms = 0;
    for (unsigned i = 0; i < gates; i++) {
        struct o_gate *g = &w->gates[i];
        g->clock = (struct clock){wall_ms, mono_us};
        g->w = w;
        g->number = i;
        g->memory = mem_zalloc(JOURNAL_SIZE_MIN);
        snprintf(g->name, sizeof g->name, "gate-%u", i);
        g->facts = (struct effect_facts){.primary_version = 70015, .follower_version = 70015, .databases = MINI_DBS};
    }
}

void owners_start(struct o_world *w) {
    owners_state_born(w);
    for (unsigned i = 0; i < w->gate_count; i++) owners_born(w, i);
}

void owners_turn(struct o_world *w, unsigned gate) {
    struct o_gate *g = &w->gates[gate];
    if (!gate_runs(g)) return;
    state_gate_turn(g);
    wires_open(g);
    links_turn(g);
    lanes_turn(&g->lanes);
    gate_pump(g);
    for (unsigned i = 0; i < w->lane_count; i++) lane_check(&g->lanes.lane[i]);
}

void owners_close(struct o_world *w) {
    for (unsigned i = 0; i < w->gate_count; i++) {
        owners_die(w, i, false);
        wires_free(&w->gates[i].zombies);
        mem_free(w->gates[i].memory);
    }
    wires_free(&w->ghosts);
    links_close(w);
    for (unsigned i = 0; i < w->table_count; i++) mem_free(w->tables[i]);
}

void owners_rest(struct o_world *w, int turns) {
    for (int i = 0; i < turns && !w->failed[0]; i++) {
        w->world_ms++;
        owners_state_turn(w);
        for (unsigned gate = 0; gate < w->gate_count; gate++) {
            owners_turn(w, gate);
            for (int side = 0; side < 2; side++)
                for (unsigned n = 0; n < gate_wires(w, (enum lane_side)side); n++) {
                    for (int k = 0; k < 20; k++) owners_execute(w, (enum lane_side)side, gate, n);
                    for (int k = 0; k < 20; k++) owners_answer(w, (enum lane_side)side, gate, n);
                }
        }
        for (unsigned k = 0; k < 60 && (owners_link(w, k) || owners_note(w, k)); k++) {}
        for (unsigned k = 0; k < 20 && owners_note(w, k); k++) {}
    }
}

static bool is_idle(const struct o_world *w) {
    for (unsigned i = 0; i < w->gate_count; i++)
        if (!gate_is_idle(&w->gates[i])) return false;
    return state_is_idle(w);
}

static void say_restless(const struct o_world *w, char what[256]) {
    int size = snprintf(what, 256, "it does not come to rest: state %s;", state_is_idle(w) ? "idle" : "not");
    for (unsigned i = 0; i < w->gate_count && size < 100; i++) {
        const struct o_gate *g = &w->gates[i];
        const struct lane *l = &g->lanes.lane[0];
        if (gate_is_idle(g)) continue;
        size += snprintf(what + size, 256 - (size_t)size,
                         " gate %u out %zu own %d held %d unsynced %d pins %d lane 0 flight %zu sent %zu tail %zu up %d %d dirty %zu slots %zu pinned %zu"
                         " all %u functions %d fence %d scan %d;",
                         i, g->asks_out, g->own_asks.head != NULL, g->held, g->unsynced, g->pins != NULL, l->flight.count, l->sent.count, l->tail.count,
                         l->primary_up, l->follower_up, l->keys.dirty_count, l->keys.dirty_slot_count, l->keys.pinned_count, l->keys.pinned_all,
                         g->lanes.functions.dirty, (int)g->lanes.barrier.at_f, (int)g->lanes.scan.state);
    }
}

bool owners_settle(struct o_world *w, char what[256]) {
    w->server[LANE_F].refuse = 0;
    w->server[LANE_F].loading = w->server[LANE_P].loading = false;
    owners_state_born(w);
    for (unsigned i = 0; i < w->gate_count; i++) {
        owners_born(w, i);
        owners_pause(w, i, false);
        w->gates[i].cut = false;
    }
    for (int i = 0; i < 2000 && !w->failed[0] && !(i > 3 && is_idle(w)); i++) {
        w->world_ms += 2;
        for (unsigned gate = 0; gate < w->gate_count; gate++) {
            for (unsigned n = 0; n < w->lane_count; n++) w->gates[gate].lanes.lane[n].hurry = true;
            while (w->gates[gate].zombies) owners_kill(w, gate);
        }
        owners_rest(w, 1);
    }
    if (w->failed[0]) return snprintf(what, 256, "%s", w->failed), false;
    if (!is_idle(w)) return say_restless(w, what), false;
    return mini_equal(&w->server[LANE_P].state, &w->server[LANE_F].state, w->world_ms + 1000, what);
}

void owners_compare(struct o_world *w) {
    char what[256], refuse = w->server[LANE_F].refuse;
    if (!owners_settle(w, what) && !w->failed[0]) snprintf(w->failed, sizeof w->failed, "%s", what);
    for (unsigned gate = 0; gate < w->gate_count; gate++)
        for (unsigned n = 0; n < w->lane_count; n++) w->gates[gate].lanes.lane[n].hurry = false;
    w->server[LANE_F].refuse = refuse;
}

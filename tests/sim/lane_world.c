/* lane_world.c -- lanes between simulated clients and servers: a run from its beginning to its end.
 * See lane_world.h. */
#include "tests/sim/lane_world_inside.h"

#include "tests/sim/world_journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

const char *const world_rule_names[WORLD_RULES] = {
    "kill_p (C21)",       "kill_f (C21)",        "connids (C21)",      "pin (C10a)",          "gen (C13a)",     "spread (C12b)",
    "volatile (C12a)",    "runid_p (C22a)",      "runid_f (C22a)",     "unconfirmed (C20)",   "entry (C20)",    "dirtypersist (C20)",
    "lostjournal (C20)",  "order (C11a)",        "copyerr (C13)",      "extra (C15)",         "unscanned (C15)",  "fence (C14a)",
    "unless changed (C14a)", "swap (C21, C23)",   "mark (C22a)",
    "place (C29)",        "not clean (C29)",     "spoiled (C29)",      "expiry (C29)",        "keys of F (C29)",
    "coalesce (C14)",     "flush (C19)",         "functions (C19)",
    "blocking (C17)",     "block (C18)",
    "witness (C22)",      "scripts (C22)",       "proof (C22)",        "gap (C22)",
    "file (C15)",          "read (C11)",          "clean (C12)",        "copy's place (C13)",  "told (C16)"};

struct world *world_now;

static int64_t wall_ms(const struct clock *clock) {
    (void)clock;
    return world_now->world_ms + world_now->gateway_skew_ms;
}
static uint64_t mono_us(const struct clock *clock) {
    (void)clock;
    return (uint64_t)world_now->world_ms * 1000;
}

struct wire *world_wire_new(struct world *w, enum lane_side side, int lane) {
    return wire_new(side, lane, ++w->ids);
}

unsigned world_wires(const struct world *w, enum lane_side side) {
    return w->lane_count + (side == LANE_P ? WORLD_CLIENTS : 0) + 1;
}

struct wire **world_wire_at(struct world *w, enum lane_side side, unsigned n) {
    if (n < w->lane_count) return &w->wires[side][n];
    n -= w->lane_count;
    if (side == LANE_P && n < WORLD_CLIENTS) return &w->own[n];
    return &w->scan[side];
}

void world_open(struct world *w, uint64_t seed, unsigned lanes, bool import) {
    *w = (struct world){.world_ms = 1000000, .talk = getenv("TALK") != NULL, .lane_count = lanes, .rng = rng_from(seed)};
    world_now = w;
    w->clock = (struct clock){wall_ms, mono_us};
    for (int side = 0; side < 2; side++) {
        w->server[side].world_ms = &w->world_ms;
        w->server[side].rng = rng_from(seed + (uint64_t)side);
    }
    w->server[LANE_F].import_mode = import;
    w->rules = lane_rules_default;
    w->rules.clock_difference_ms = 400;
    w->rules.follower_keeps_expired = import;
    w->rules.copy_interval_ms = 0;
    w->bursts = (seed >> 7) % 4 != 0;
    world_journal_open(w);
    w->facts = (struct effect_facts){.primary_version = 70015, .follower_version = 70015, .databases = MINI_DBS};
}

void world_start(struct world *w, bool baseline) {
    world_open_gateway(w);
    if (baseline) lanes_mark_all(&w->lanes);
    else w->lanes.functions.dirty = false;
    world_connect(w);
    for (int db = 0; !baseline && db < MINI_DBS; db++)
        for (int k = 0; k < MINI_KEYS; k++) {
            char name = (char)('a' + k);
            struct slice key = slice_from(&name, 1);
            int64_t at_ms = w->server[LANE_P].state.at[db][k].expire_ms;
            if (w->server[LANE_P].state.at[db][k].type == MINI_NONE || at_ms < 0) continue;
            lane_deadlines_set(&w->lanes.lane[lane_of(w->lane_count, key)].deadlines, lane_deadlines_hash(db, key), at_ms, 0);
        }
}

void world_close(struct world *w) {
    world_leave_wires(w);
    lane_audit_close(&w->audit);
    world_witness_close(w);
    lanes_close(&w->lanes);
    wires_free(&w->zombies);
    wires_free(&w->ghosts);
    world_journal_close(w);
}

bool world_is_idle(const struct world *w) {
    for (int i = 0; i < WORLD_CLIENTS; i++)
        if (w->clients[i].count > 0 || w->clients[i].place.unanswered > 0 || w->clients[i].own_unanswered > 0) return false;
    return w->zombies == NULL && lanes_are_quiet(&w->lanes) && lanes_are_level(&w->lanes) && world_witness_is_proved(w);
}

static void all_wires(struct world *w) {
    for (int side = 0; side < 2; side++)
        for (unsigned n = 0; n < world_wires(w, (enum lane_side)side); n++) {
            for (int i = 0; i < 50; i++) world_execute(w, (enum lane_side)side, n);
            for (int i = 0; i < 50; i++) world_answer(w, (enum lane_side)side, n);
        }
    world_end_turn(w);
    for (int i = 0; i < 50 && world_witness(w); i++) {}
}

void world_rest(struct world *w) {
    world_leave(w);
    witness_owe(&w->witness.of[LANE_P]); /* as LANES DRAIN does */
    for (int i = 0; i < 100 && !w->failed[0] && !world_is_idle(w); i++) {
        w->world_ms += 1;
        world_turn(w);
        all_wires(w);
    }
}

bool world_settle(struct world *w, char what[256]) {
    world_leave(w);
    witness_owe(&w->witness.of[LANE_P]);
    w->server[LANE_F].refuse = 0;
    w->server[LANE_F].loading = w->server[LANE_P].loading = false;
    for (int i = 0; i < 3000 && !w->failed[0] && !world_is_idle(w); i++) {
        w->world_ms += 1;
        for (unsigned n = 0; n < w->lane_count; n++) w->lanes.lane[n].hurry = true; /* clients are held */
        while (w->zombies) world_kill(w);
        world_turn(w);
        all_wires(w);
    }
    if (w->failed[0]) return snprintf(what, 256, "%s", w->failed), false;
    if (!world_is_idle(w)) return snprintf(what, 256, "it does not come to rest: lane 0 flight %zu sent %zu tail %zu dirty %zu slots %zu pinned %zu, scan %d, barrier %d %d",
                                  w->lanes.lane[0].flight.count, w->lanes.lane[0].sent.count, w->lanes.lane[0].tail.count, w->lanes.lane[0].keys.dirty_count,
                                  w->lanes.lane[0].keys.dirty_slot_count, w->lanes.lane[0].keys.pinned_count, (int)w->lanes.scan.state,
                                  (int)w->lanes.barrier.at_p, (int)w->lanes.barrier.at_f), false;
    for (int i = 0; i < 500; i++) world_zombie(w); /* what still lies in old sockets is executed last */
    return mini_equal(&w->server[LANE_P].state, &w->server[LANE_F].state, w->world_ms + 1000, what);
}

void world_compare(struct world *w) {
    char what[256], refuse = w->server[LANE_F].refuse;
    bool loading[2] = {w->server[LANE_P].loading, w->server[LANE_F].loading};
    if (!world_settle(w, what) && !w->failed[0]) snprintf(w->failed, sizeof w->failed, "%s", what);
    for (unsigned n = 0; n < w->lane_count; n++) w->lanes.lane[n].hurry = false;
    w->server[LANE_F].refuse = refuse;
    for (int side = 0; side < 2; side++) w->server[side].loading = loading[side];
}

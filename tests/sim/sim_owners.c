/* sim_owners.c -- several gateways that own slots by leases, between simulated clients, primary,
 * follower and state: random runs with everything that can go wrong.
 *
 *     sim_owners [RUNS]             RUNS random runs; the seed is printed, $SEED repeats it
 *     sim_owners [RUNS] --ablate [RULE]    for each rule, or for that one (enum owners_rule), the first run that
 *                                      fails without it and not with it
 *
 * Checked: at every item of a lane every clean key of its slots that cannot expire is the same at F;
 * when all is drained everything is the same; a client's commands are executed in its order, through
 * whichever gateways they go; everything comes to rest. With $TALK each step is told.
 */
#include "tests/sim/commands.h"
#include "tests/sim/owners_moments.h"
#include "tests/sim/owners_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void random_issue(struct rng *r, struct o_world *w) {
    char first[48], second[48], text[98];
    command_random(r, w->world_ms, first);
    command_random(r, w->world_ms, second);
    if (strncmp(first, "BLPOP", 5) == 0) return; /* it waits in its owner's gateway: tests/e2e */
    if (rng_below(r, 30) == 0) snprintf(second, sizeof second, "SELECT 1");
    bool own = rng_below(r, 9) == 0;
    if (rng_below(r, 70) == 0) snprintf(text, sizeof text, "%s", rng_below(r, 3) ? "FLUSHALL" : rng_below(r, 2) ? "FLUSHDB" : "SWAPDB 0 1");
    else if (rng_below(r, 80) == 0) snprintf(text, sizeof text, rng_below(r, 4) ? "FUNCTION LOAD %d" : "FUNCTION FLUSH", (int)rng_below(r, 5));
    else if (rng_below(r, 7) == 0) snprintf(text, sizeof text, "%s;%s", first, second);
    else snprintf(text, sizeof text, "%s", first);
    if (text[0] == 'F' || strncmp(text, "SWAP", 4) == 0 || strchr(text, ';') != NULL) own = false;
    owners_issue(w, (unsigned)rng_below(r, w->gate_count), (int)rng_below(r, OWNERS_CLIENTS), rng_below(r, 5) == 0, text, own);
}

struct weather {
    bool faults, refusals, slow; /* slow: F */
    unsigned kinds;              /* 0 .. KINDS - 1: that one only; else all */
    unsigned moments;            /* of OWNERS_MOMENTS: one kind is preferred; beyond: all, beyond MOMENTS: none */
};

#define KINDS 9

static void random_fault(struct rng *r, struct o_world *w, const struct weather *weather) {
    unsigned kind = weather->kinds < KINDS ? weather->kinds : (unsigned)rng_below(r, KINDS);
    unsigned gate = (unsigned)rng_below(r, w->gate_count);
    enum lane_side side = rng_below(r, 2) ? LANE_P : LANE_F;
    switch (kind) {
    case 0: owners_break(w, side, gate, (unsigned)rng_below(r, gate_wires(w, side))); break;
    case 1: owners_break_link(w, (unsigned)rng_next(r) & 0xffff); break;
    case 2:
        owners_break_state(w, gate);
        if (rng_below(r, 3) == 0) w->gates[gate].cut = true;
        break;
    case 3: owners_die(w, gate, rng_below(r, 4) == 0); break;
    case 4: owners_pause(w, gate, true); break;
    case 5: owners_restart(w, side, (int)rng_below(r, 3)); break;
    case 6: owners_lapse(r, w, gate); break;
    case 7: owners_die_with_pins(r, w); break;
    default: owners_state_dies(w); break;
    }
}

/* Whoever stands still long enough loses its slots, and wakes up. */
static void random_return(struct rng *r, struct o_world *w) {
    unsigned gate = (unsigned)rng_below(r, w->gate_count);
    if (rng_below(r, 4) == 0) owners_state_born(w);
    else if (!w->gates[gate].alive) owners_born(w, gate);
    else if (w->gates[gate].cut && rng_below(r, 3) == 0) w->gates[gate].cut = false;
    else if (w->gates[gate].paused && rng_below(r, 2)) owners_break_state(w, gate);
    else if (w->gates[gate].paused) owners_pause(w, gate, false);
}

static void random_wire(struct rng *r, struct o_world *w, bool answered, bool slow) {
    unsigned gate = (unsigned)rng_below(r, w->gate_count);
    enum lane_side side = rng_below(r, slow ? 12 : 3) ? LANE_P : LANE_F;
    unsigned count = gate_wires(w, side), from = (unsigned)rng_below(r, count);
    for (unsigned i = 0; i < w->gate_count * count; i++) {
        unsigned n = (from + i) % count, at = (gate + i / count) % w->gate_count;
        const struct wire *wire = *gate_wire(&w->gates[at], side, n);
        if (!wire || !(answered ? wire->answered.head || wire->dead : wire->asked.head && !wire->dead)) continue;
        if (answered && !gate_runs(&w->gates[at])) continue;
        if (slow && side == LANE_F && at == 0 && rng_below(r, 8) > 0) continue;
        if (answered) owners_answer(w, side, at, n);
        else owners_execute(w, side, at, n);
        return;
    }
}

#define MOMENTS (2u * OWNERS_MOMENTS)

static void random_moment(struct rng *r, struct o_world *w, const struct weather *weather) {
    unsigned kind = weather->moments;
    if (kind >= OWNERS_MOMENTS || rng_below(r, 4) == 0) kind = (unsigned)rng_below(r, OWNERS_MOMENTS);
    owners_moment(r, w, (enum owners_moment_kind)kind, weather->faults);
}

static void random_step(struct rng *r, struct o_world *w, const struct weather *weather) {
    uint64_t dice = rng_below(r, 1000);
    unsigned gate = (unsigned)rng_below(r, w->gate_count);
    if (rng_below(r, 16) == 0) owners_zombie(w, gate);
    if (rng_below(r, 12) == 0) owners_kill(w, gate);
    if (rng_below(r, 12) == 0) random_return(r, w);
    if (w->state.move != MOVE_IDLE && rng_below(r, 2)) (void)owners_note(w, (unsigned)rng_below(r, 16));
    if (rng_below(r, weather->slow ? 2000 : 200) == 0) owners_rest(w, 1 + (int)rng_below(r, 30));
    if (weather->moments < MOMENTS && rng_below(r, 120) == 0) random_moment(r, w, weather);
    if (dice < 150) random_issue(r, w);
    else if (dice < 350) random_wire(r, w, false, weather->slow);
    else if (dice < 550) random_wire(r, w, true, weather->slow);
    else if (dice < 720) (void)owners_link(w, (unsigned)rng_below(r, 64));
    else if (dice < 790) (void)owners_note(w, (unsigned)rng_below(r, 16));
    else if (dice < 890) owners_turn(w, gate);
    else if (dice < 910) owners_state_turn(w);
    else if (dice < 950) w->world_ms += (int64_t)(rng_below(r, 12) == 0 ? 1600 : rng_below(r, 3) == 0 ? 400 : rng_below(r, 2) ? 30 : 1);
    else if (dice < 955) mini_expire(&w->server[rng_below(r, 2)]);
    else if (dice < 960) owners_give_up(w, gate);
    else if (dice < 970 && weather->refusals) w->server[LANE_F].refuse = rng_below(r, 2) ? 0 : rng_below(r, 4) == 0 ? '*' : (char)('a' + rng_below(r, 4));
    else if (dice >= 970 && dice < 974) owners_hand_over(w, weather->slow ? 0 : gate, (weather->slow ? 1 : gate + 1) % w->gate_count);
    else if (dice >= 975 && weather->faults) random_fault(r, w, weather);
}

static bool random_run(uint64_t seed, int off, uint64_t figures[10], bool quiet) {
    struct rng r = rng_from(seed);
    struct o_world *w = NEW(struct o_world);
    char what[256] = "";
    uint64_t world_seed = rng_next(&r);
    unsigned gates = 2 + (unsigned)rng_below(&r, OWNERS_GATES - 1), lanes = 1 + (unsigned)rng_below(&r, OWNERS_LANES);
    owners_open(w, world_seed, gates, lanes, rng_below(&r, 5) < 2);
    if (off >= 0) w->off[off] = true;
    for (int side = 0; side < 2; side++) w->server[side].skew_ms = (int64_t)rng_below(&r, 3) * 200 - 200;
    for (unsigned i = 0; i < gates; i++) w->gates[i].skew_ms = (int64_t)rng_below(&r, 3) * 200 - 200;
    if (rng_below(&r, 4) == 0) w->rules.keys_max = 1 + rng_below(&r, 3);
    if (rng_below(&r, 4) == 0) w->rules.window_items_max = 1 + rng_below(&r, 4);
    w->rules.mark_interval_ms = rng_below(&r, 2) ? 1 : 30;
    struct weather weather = {rng_below(&r, 10) < 8, rng_below(&r, 10) < 3, rng_below(&r, 4) == 0, (unsigned)rng_below(&r, 2 * KINDS),
                              (unsigned)rng_below(&r, 3 * OWNERS_MOMENTS)};
    w->check_clean = !weather.refusals && rng_below(&r, 3) > 0;
    owners_start(w);
    if (rng_below(&r, 3) > 0) owners_rest(w, 60); /* everybody has what it should have */
    for (uint64_t steps = 30 + rng_below(&r, 500); steps > 0 && !w->failed[0]; steps--) random_step(&r, w, &weather);
    bool fine = owners_settle(w, what);
    if (!fine && !quiet) printf("seed %" PRIu64 ": %s\n", seed, what);
    for (int i = 0; figures && i < 10; i++) figures[i] += w->figures[i];
    owners_close(w);
    mem_free(w);
    return fine;
}

static uint64_t seed_of(uint64_t seed, long run) { return seed + (uint64_t)run * 1000003; }

static int ablate(uint64_t seed, long runs, int only) {
    int missed = 0;
    for (int off = 0; off < OWNERS_RULES; off++) {
        if (only >= 0 && off != only) continue;
        long i = 0;
        while (i < runs && (random_run(seed_of(seed, i), off, NULL, true) || !random_run(seed_of(seed, i), -1, NULL, true))) i++;
        if (i < runs) {
            printf("without %s: seed %" PRIu64 ", run %ld\n  ", owners_rule_names[off], seed_of(seed, i), i);
            (void)random_run(seed_of(seed, i), off, NULL, false);
        } else printf("without %s: no failure in %ld runs\n", owners_rule_names[off], runs), missed++;
    }
    return missed;
}

int main(int argc, char **argv) {
    uint64_t seed = rand_test_seed(), f[10] = {0};
    long runs = argc > 1 ? atol(argv[1]) : 300;
    int failed = 0;
    if (argc > 2 && strcmp(argv[2], "--ablate") == 0) return ablate(seed, runs, argc > 3 ? atoi(argv[3]) : -1);
    printf("sim_owners: SEED=%" PRIu64 ", %ld runs\n", seed, runs);
    for (long i = 0; i < runs && failed < 5; i++)
        if (!random_run(seed_of(seed, i), -1, f, false)) failed++;
    printf("%" PRIu64 " requests executed, %" PRIu64 " clean keys compared, %" PRIu64 " forwarded, %" PRIu64 " pinned elsewhere\n", f[FIGURE_EXECUTED],
           f[FIGURE_COMPARED], f[FIGURE_FORWARDED], f[FIGURE_PINNED]);
    printf("%" PRIu64 " deaths, %" PRIu64 " pauses, %" PRIu64 " gates fenced, %" PRIu64 " hand-overs, %" PRIu64 " times with what was known\n", f[FIGURE_DEATHS], f[FIGURE_PAUSES], f[FIGURE_FENCED],
           f[FIGURE_MOVES], f[FIGURE_CARRIED]);
    printf("%s\n", failed ? "FAILED" : "fine");
    return failed ? 1 : 0;
}

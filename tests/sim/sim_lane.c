/* sim_lane.c -- lanes between simulated clients, primary and follower: random runs with everything
 * that can go wrong, and the shortest traces that diverge when one rule is left out.
 *
 *     sim_lane [RUNS]             traces, then RUNS random runs; the seed is printed, $SEED repeats it
 *     sim_lane [RUNS] --ablate [RULE]    for each rule, or for that one (enum world_rule), the first
 *                                        run that fails without it and not with it
 *
 * Checked: at every item of a lane, every clean key that cannot expire is the same at F; when all is
 * drained, everything is the same; a client's commands are executed in its order. With $TALK each
 * step is told: for one run at a time.
 */
#include "tests/sim/commands.h"
#include "tests/sim/lane_moments.h"
#include "tests/sim/lane_world.h"
#include "tests/sim/lane_world_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void both(struct world *w, const char *text, bool at_p, bool at_f) {
    struct mini_conn conn = {0};
    struct buf request = {0}, out = {0};
    struct slice argv[8];
    size_t argc = 0;
    char copy[96];
    snprintf(copy, sizeof copy, "%s", text);
    for (char *word = strtok(copy, " "); word && argc < 8; word = strtok(NULL, " ")) argv[argc++] = slice_text(word);
    resp_write_command(&request, argc, argv);
    if (at_p) mini_serve(&w->server[LANE_P], &conn, buf_slice(&request), &out);
    if (at_f) mini_serve(&w->server[LANE_F], &conn, buf_slice(&request), &out);
    buf_close(&request);
    buf_close(&out);
    mini_conn_close(&conn);
}

/* C12, with the rule off: every key is taken for clean when an answer is processed. The linker leads the lanes
 * here (see the Makefile). */
bool __real_lane_keys_is_dirty(const struct lane_keys *keys, int32_t db, struct slice name);
bool __wrap_lane_keys_is_dirty(const struct lane_keys *keys, int32_t db, struct slice name);
bool __wrap_lane_keys_is_dirty(const struct lane_keys *keys, int32_t db, struct slice name) {
    bool blind = world_now->off[OFF_CLEAN] && world_now->answering;
    return !blind && __real_lane_keys_is_dirty(keys, db, name);
}

/* ---- random runs ---- */

/* Some scripts write keys that they do not name. */
static void undeclare(struct rng *r, const struct world *w, char *text) {
    for (char *at = text; w->witness.used && (at = strstr(at, "EVAL w")) != NULL; at++)
        if (rng_below(r, 2)) at[5] = 'u';
}

/* SCRIPTS alone where the witness may be away: what else is written meanwhile only an audit finds (C22). And
 * a stranger's own keys: what we write in the same moment is taken for ours. */
static void random_stranger(struct rng *r, struct world *w, bool scripts) {
    static const char *const texts[][2] = {{"SET", " s"}, {"DEL", ""}, {"SADD", " s"}, {"INCR", ""}, {"EVAL u 1", ""}, {"PEXPIREAT", " 1000500"}};
    char text[48];
    const char *const *words = texts[scripts ? 4 : rng_below(r, 6)];
    snprintf(text, sizeof text, "%s %c%s", words[0], words == texts[4] ? (char)('a' + rng_below(r, 4)) : (char)('e' + rng_below(r, 2)), words[1]);
    world_stranger(w, (int)rng_below(r, MINI_DBS), text);
}

static void random_issue(struct rng *r, struct world *w) {
    char first[48], second[48], text[98];
    command_random(r, w->world_ms, first);
    command_random(r, w->world_ms, second);
    if (rng_below(r, 30) == 0) snprintf(second, sizeof second, "SELECT 1");
    bool own = rng_below(r, 9) == 0;
    if (rng_below(r, 70) == 0) snprintf(text, sizeof text, "%s", rng_below(r, 3) ? "FLUSHALL" : rng_below(r, 2) ? "FLUSHDB" : "SWAPDB 0 1");
    else if (rng_below(r, 80) == 0) snprintf(text, sizeof text, rng_below(r, 4) ? "FUNCTION LOAD %d" : "FUNCTION FLUSH", (int)rng_below(r, 5));
    else if (rng_below(r, 7) == 0) snprintf(text, sizeof text, "%s;%s", first, second);
    else snprintf(text, sizeof text, "%s", first);
    if (text[0] == 'F' || strncmp(text, "SWAP", 4) == 0 || strchr(text, ';') != NULL || strncmp(text, "BLPOP", 5) == 0) own = false;
    undeclare(r, w, text);
    world_issue(w, (int)rng_below(r, WORLD_CLIENTS), rng_below(r, 5) == 0, text, own);
}

/* What comes in one callback leaves as one (lane_burst.h). */
static void random_burst(struct rng *r, struct world *w) {
    static const char *const verbs[][2] = {{"SET", " 1"}, {"INCR", ""}, {"SADD", " x"}, {"APPEND", " z"}, {"LPUSH", " y"}, {"DEL", ""}, {"SREM", " x"}};
    int db = rng_below(r, 6) == 0;
    for (uint64_t i = 2 + rng_below(r, 5); i > 0; i--) {
        char text[48];
        const char *const *verb = verbs[rng_below(r, sizeof verbs / sizeof *verbs)];
        snprintf(text, sizeof text, "%s %c%s", verb[0], (char)('a' + rng_below(r, 4)), verb[1]);
        world_issue(w, (int)rng_below(r, WORLD_CLIENTS), db, text, false);
    }
}

struct weather {
    bool faults, refusals, loading;
    unsigned kinds;
    bool swaps;
    bool hot; /* a key that is written all the time */
    unsigned moments; /* of LANE_MOMENTS: one kind is preferred; beyond: all, beyond MOMENTS: none */
};

#define MOMENTS (2u * LANE_MOMENTS)

/* A run has its favourite, or none. */
static void random_moment(struct rng *r, struct world *w, const struct weather *weather) {
    unsigned kind = weather->moments;
    if (kind >= LANE_MOMENTS || rng_below(r, 4) == 0) kind = (unsigned)rng_below(r, LANE_MOMENTS);
    lane_moment(r, w, (enum lane_moment_kind)kind, weather->refusals);
}

static void random_fault(struct rng *r, struct world *w, const struct weather *weather) {
    static const unsigned one[] = {0, 1, 2, 3};
    unsigned kind = weather->kinds < 4 ? one[weather->kinds] : (unsigned)rng_below(r, 4);
    switch (kind) {
    case 0: world_break(w, LANE_P, (unsigned)rng_below(r, world_wires(w, LANE_P))); break;
    case 1: world_break(w, LANE_F, (unsigned)rng_below(r, world_wires(w, LANE_F))); break;
    case 2: world_crash(w, rng_below(r, 3) == 0); break;
    default: world_restart(w, rng_below(r, 2) ? LANE_P : LANE_F, (int)rng_below(r, 4)); break;
    }
}

static unsigned busy(struct rng *r, struct world *w, enum lane_side side, bool answered) {
    return world_busy_wire(w, side, answered, (unsigned)rng_below(r, world_wires(w, side)));
}

static void random_step(struct rng *r, struct world *w, const struct weather *weather) {
    uint64_t dice = rng_below(r, 1000);
    if (w->witness.used && rng_below(r, 5) == 0) (void)world_witness(w);
    if (w->witness.used && rng_below(r, 40) == 0) random_stranger(r, w, weather->faults);
    if (w->witness.used && weather->faults && rng_below(r, 60) == 0) world_witness_break(w, rng_below(r, 4) ? LANE_P : LANE_F, false);
    if ((w->zombies || w->ghosts) && rng_below(r, 8) == 0) world_zombie(w);
    if (w->zombies && rng_below(r, 6) == 0) world_kill(w);
    if (rng_below(r, 120) == 0) world_compare(w);
    if (weather->moments < MOMENTS && rng_below(r, 12) == 0) random_moment(r, w, weather);
    if (weather->hot && rng_below(r, 5) == 0) world_issue(w, (int)rng_below(r, WORLD_CLIENTS), 0, "EVAL w 1 b", false);
    if (weather->swaps && rng_below(r, 50) == 0) {
        witness_owe(&w->witness.of[LANE_P]);
        if (rng_below(r, 3) > 0) world_rest(w); /* then it is drained, if it can be */
        world_swap(w);
        return;
    }
    if (w->bursts && dice < 60) random_burst(r, w);
    else if (dice < 230) random_issue(r, w);
    else if (dice < 410) world_execute(w, LANE_P, busy(r, w, LANE_P, false));
    else if (dice < 600) world_answer(w, LANE_P, busy(r, w, LANE_P, true));
    else if (dice < 700) world_execute(w, LANE_F, busy(r, w, LANE_F, false));
    else if (dice < 800) world_answer(w, LANE_F, busy(r, w, LANE_F, true));
    else if (dice < 900) world_turn(w);
    else if (dice < 935) w->world_ms += (int64_t)(rng_below(r, 3) == 0 ? 400 : rng_below(r, 2) ? 30 : 1);
    else if (dice < 945) mini_expire(&w->server[rng_below(r, 2)]);
    else if (dice < 965 && weather->refusals) w->server[LANE_F].refuse = rng_below(r, 2) ? 0 : rng_below(r, 4) == 0 ? '*' : (char)('a' + rng_below(r, 4));
    else if (dice < 975 && weather->loading) w->server[rng_below(r, 2)].loading = rng_below(r, 3) == 0;
    else if (dice >= 975 && weather->faults) random_fault(r, w, weather);
}

/* Small limits in some runs, so that every rule for what is full is tried (C20). */
static void random_limits(struct rng *r, struct world *w) {
    if (rng_below(r, 3) == 0) w->rules.window_items_max = 1 + rng_below(r, 4);
    if (rng_below(r, 4) == 0) w->rules.queue_items_max = 2 + rng_below(r, 4);
    if (rng_below(r, 4) == 0) w->rules.keys_max = 1 + rng_below(r, 3);
    if (rng_below(r, 5) == 0) w->rules.deadlines_max = rng_below(r, 3);
    if (rng_below(r, 3) == 0) w->rules.copies_max = 1;
    if (rng_below(r, 3) == 0) w->rules.copy_interval_ms = 20;
    if (rng_below(r, 3) == 0) w->rules.copy_bytes_max = sizeof(struct mini_value) + 5 + rng_below(r, 900);
    w->rules.mark_interval_ms = rng_below(r, 2) ? 1 : 30;
    if (rng_below(r, 3) == 0) w->rules.mark_keys_max = 1 + rng_below(r, 4);
    if (rng_below(r, 2) == 0) { /* big keys (C14a) */
        static const uint64_t waits_ms[] = {0, 3, 500};
        w->rules.big_bytes = sizeof(struct mini_value) + rng_below(r, 60);
        w->rules.chunk_bytes = 64 * (1 + rng_below(r, 4));
        w->rules.big_queue_bytes = rng_below(r, 2) ? 1 : 100000;
        w->rules.fence_ms = waits_ms[rng_below(r, 3)];
    }
}

static bool random_run(uint64_t seed, int off, uint64_t figures[8], bool quiet) {
    struct rng r = rng_from(seed);
    struct world *w = NEW(struct world);
    char text[48], what[256] = "";
    world_open(w, rng_next(&r), 1 + (unsigned)rng_below(&r, WORLD_LANES), rng_below(&r, 5) < 2);
    if (off >= 0) w->off[off] = true;
    for (int side = 0; side < 2; side++) w->server[side].skew_ms = (int64_t)rng_below(&r, 3) * 200 - 200;
    w->gateway_skew_ms = (int64_t)rng_below(&r, 3) * 200 - 200;
    if (rng_below(&r, 3) == 0) w->facts.primary_version = 60200;
    random_limits(&r, w);
    bool baseline = rng_below(&r, 2);
    w->by_file = baseline && seed % 3 == 0;
    for (uint64_t i = rng_below(&r, 8); i > 0; i--) {
        command_random(&r, w->world_ms, text);
        if (strncmp(text, "EVAL", 4) != 0 && strncmp(text, "SPOP", 4) != 0 && text[0] != 'B' && strncmp(text, "PEXPIRE ", 8) != 0 &&
            strstr(text, " PX ") == NULL)
            both(w, text, true, !baseline);
    }
    if (!baseline) w->server[LANE_F].state = w->server[LANE_P].state;
    if (baseline && rng_below(&r, 3) == 0) both(w, "SET b 9", false, true);
    for (int side = 0; side < 2 && baseline; side++) w->server[side].state.libraries = (uint32_t)rng_below(&r, 4);
    struct weather weather = {rng_below(&r, 10) < 7, rng_below(&r, 10) < 3, rng_below(&r, 10) < 2, (unsigned)rng_below(&r, 8), rng_below(&r, 3) == 0,
                              rng_below(&r, 8) == 0, (unsigned)rng_below(&r, 3 * LANE_MOMENTS)};
    if (w->by_file && rng_below(&r, 2)) weather.moments = LANE_MOMENT_FILE;
    if (weather.hot) w->rules.copy_interval_ms = 500;
    w->check_clean = !weather.refusals && !weather.loading && rng_below(&r, 2);
    w->witness.used = rng_below(&r, 2);
    if (w->witness.used) w->check_clean = false; /* what nobody was told of is repaired later */
    world_start(w, baseline);
    for (uint64_t steps = 15 + rng_below(&r, 250); steps > 0 && !w->failed[0]; steps--) random_step(&r, w, &weather);
    bool fine = world_settle(w, what);
    if (!fine && !quiet) printf("seed %" PRIu64 ": %s\n", seed, what);
    for (int i = 0; figures && i < 8; i++) figures[i] += w->figures[i];
    world_close(w);
    mem_free(w);
    return fine;
}

/* ---- traces: with two lanes, b and d in lane 0, a and c in lane 1 ---- */

struct trace {
    enum world_rule rule;
    bool import, baseline;
    const char *steps[32];
};

#define DONE0 "p0", "r0"
#define THERE0 "f0", "g0"
/* the key was measured, and its copy is asked for */
#define COPY "copy", DONE0
/* b is dirty, and its copy has begun */
#define BIG "*", "= RPUSH b x", "= RPUSH b y", "refuse b", "i0 RPUSH b z", DONE0, THERE0, "accept", "copy"
#define CHUNK "p0", "r0"

static const struct trace traces[] = {
    {OFF_KILL_F, false, false, {"i0 SET b 1", DONE0, "bf0", "kill", COPY, DONE0, THERE0, "i0 SET b x", DONE0, THERE0}},
    {OFF_SPREAD, false, false, {"i0 SADD b x", DONE0, "i0 SUNIONSTORE d b b", DONE0, "refuse b", "f0", "accept", "f0", "g0", "g0"}},
    {OFF_RUN_ID_F, false, false, {"i0 SET b 1", DONE0, THERE0, "i0 SET b x", DONE0, THERE0, "restart F"}},
    {OFF_RUN_ID_P, false, false, {"i0 SET b 1", DONE0, THERE0, "i0 SET b x", DONE0, THERE0, "restart P"}},
    {OFF_KILL_P, false, false, {"i0 APPEND b x", "bp0", "kill", COPY, DONE0, THERE0, "zombie"}},
    {OFF_PIN, false, false, {"o0 SADD b x", "p2", "p2", "i1 SUNIONSTORE d b b", DONE0, "r2", "r2"}},
    {OFF_PIN, false, false, {"= SADD b x", "i0 SMOVE b a x", "p0", "i1 SUNIONSTORE c a a", "p1", "r1", "r0"}},
    {OFF_VOLATILE, false, false, {"i0 SET b 1 PX 300", DONE0, THERE0, "i0 INCR b", DONE0, "tick"}},
    {OFF_VOLATILE, true, false, {"i0 SET b 1 PX 300", DONE0, THERE0, "tick", "i0 INCR b", DONE0, THERE0}},
    {OFF_VOLATILE, false, false, {"i0 SET b 5 PX 300", DONE0, THERE0, "i0 INCR b", "i0 PEXPIRE b 9000", DONE0, DONE0, "tick"}},
    {OFF_CONNIDS, false, false, {"i0 SET b 1", DONE0, "crash", "kill*", COPY, DONE0, THERE0, "i0 SET b x", DONE0, THERE0}},
    {OFF_GEN, false, false, {"i0 SET d 1", DONE0, "refuse d", THERE0, "accept", COPY, "p0", "i1 MSET a 1 d 2", "p1", "r1", "r0"}},
    {OFF_UNCONFIRMED, false, false, {"i0 SET b 1", DONE0, "bf0"}},
    {OFF_JOURNAL_ENTRY, false, false, {"i0 SET b 1", "p0", "crash"}},
    {OFF_JOURNAL_DIRTY, false, false, {"i0 SET b 1", DONE0, "refuse b", THERE0, "accept", "crash"}},
    {OFF_JOURNAL_LOST, false, false, {"i0 SET b 1", DONE0, "refuse b", THERE0, "accept", "host"}},
    {OFF_ORDER, false, false, {"i0 SET b 1", "i0 SET a 1", "p1", "p0"}},
    {OFF_COPY_ERROR, false, false, {"i0 SET b 1", DONE0, "refuse b", THERE0, "accept", COPY, "loading", "p0", "loaded", "r0"}},
    {OFF_EXTRA, false, true, {"+ SET b 9"}},
    {OFF_LISTED, false, true, {"- SET b 9"}},
    {OFF_COALESCE, false, false, {"slow", "i0 EVAL w 1 b", DONE0, "copy", DONE0, "i0 EVAL w 1 b", DONE0, "copy", DONE0, "i0 EVAL w 1 b", DONE0, "copy", DONE0, "copies 0", "tick", "tick", "tick"}},
    {OFF_FLUSH, false, false, {"i0 SET b 1", DONE0, THERE0, "i0 FLUSHALL", "copy", DONE0, "copy", THERE0, "copy", "i0 SET b 2", DONE0, THERE0}},
    {OFF_FUNCTIONS, false, false, {"bf0", "i0 FUNCTION LOAD 1", "copy", DONE0, "kill"}},
    {OFF_SWAP, false, false, {"i0 APPEND b x", "bp0", "swap", "copy", DONE0, THERE0, "rest", "zombie"}},
    {OFF_MARK, false, false, {"i0 SET b 1", DONE0, THERE0, "copy", THERE0, "i0 SET b x", DONE0, THERE0, "restart F"}},
    {OFF_WITNESS, false, false, {"W", "names", "rest", "stranger SET b 9"}},
    {OFF_WITNESS, false, false, {"W", "names", "rest", "i0 EVAL n 1 d b", DONE0}},
    {OFF_SCRIPTS, false, false, {"W", "names", "rest", "i0 SET b 1", "p0", "stranger EVAL n 1 a b", "r0"}},
    {OFF_PROOF, false, false, {"W", "names", "rest", "stranger SET b 9"}},
    {OFF_GAP, false, false, {"W", "names", "rest", "stranger EVAL n 1 a b", "gap"}},
    {OFF_GAP, false, false, {"W", "names", "rest", "i0 EVAL n 1 d b", DONE0, "crash"}},
    {OFF_FILE, false, true, {"- SET b 9", "file", "wait", "i0 SET b 8", "p0", DONE0, "r0", THERE0, COPY, DONE0, THERE0, "read"}},
    {OFF_READ, false, false, {"i0 SET b 1", "i0 GET b", "p2", "p0", "p2"}},
    {OFF_CLEAN, false, false, {"i0 SADD b x", DONE0, "refuse b", THERE0, "accept", "i0 SUNIONSTORE d b b", DONE0}},
    {OFF_PLACE, false, false, {"i0 SET b 1", DONE0, "i0 EVAL w 1 b", DONE0, COPY, DONE0, THERE0}},
    {OFF_TOLD, false, false, {"= SADD b x", "= SADD b y", "= SADD b z", "= SADD b u", "= SADD b v", "i0 SPOP b", DONE0, "i0 SPOP b", DONE0,
                            "i0 SPOP b", DONE0}},
    {OFF_FENCE, false, false, {BIG, CHUNK, CHUNK, CHUNK, CHUNK, "i1 LPUSH b q;RPOP b", DONE0}},
    {OFF_UNLESS_CHANGED, false, false, {"*", "= SADD b x", "= SADD b y", "= PEXPIREAT b 1000300", "i0 SADD b z", DONE0, "copy", CHUNK, CHUNK,
                                        CHUNK, CHUNK, "tick"}},
};

/* Without a switch: each breaks when somebody takes the rule out of the lanes' own code. */
static const struct trace more[] = {
    /* C21: half of a burst was answered, and F has nothing of it */
    {WORLD_RULES, false, false, {"i0 SET b 1", "i1 SET d 1", DONE0, "bp0", "kill"}},
    /* C20: F has confirmed half of a burst */
    {WORLD_RULES, false, false, {"i0 SET b 1", "i1 SET d 1", DONE0, DONE0, THERE0, "crash", "kill*"}},
    /* C12b: what F refuses of a burst, and what counts on it behind it */
    {WORLD_RULES, false, false, {"i0 SET b 1", DONE0, THERE0, "i0 INCR b", "i1 SET d 1", "i2 INCR b", DONE0, DONE0, DONE0, "refuse b", "f0", "accept", "f0", "f0", "g0", "g0", "g0"}},
    /* C2: one of a burst did nothing, one was an error */
    {WORLD_RULES, false, false, {"i0 SADD b x", "i1 SADD b x", "i2 INCR b", "i1 SADD d y", DONE0, DONE0, DONE0, DONE0, THERE0, THERE0}},
    /* C21: no copy before an old connection is known to be gone */
    {WORLD_RULES, false, false, {"i0 APPEND b x", "bp0", COPY, "p0", "r0", "copy", "zombie", "kill"}},
    /* C15: F is listed after what was queued for it */
    {WORLD_RULES, false, false, {"i0 SET d 0", DONE0, THERE0, "i0 SET b 1", DONE0, "restart P", "kill*", "scan"}},
    /* C12a: a copy tells when its key will vanish */
    {WORLD_RULES, false, true, {"- SET b 5 PX 300", "rest", "i0 INCR b", DONE0, "tick"}},
    /* C10a: what another lane's key is when the command runs is not known at F */
    {WORLD_RULES, false, false, {"= SADD a x", "i1 SREM a x", "i0 SUNIONSTORE b a a", "p0", "p1", "r0", "f0", "r1"}},
    /* C19: what is behind a FLUSHALL stays behind it, in every lane */
    {WORLD_RULES, false, false, {"i0 SET a 1", "p1", "r1", "i0 FLUSHALL", "copy", DONE0, "i0 SET a 2", "p1", "r1", "copy", "f1", "g1", "f1", "g1", "copy", "f0"}},
};

static uint64_t n_of(const char *text) { return (uint64_t)strtoul(text, NULL, 10); }

static void step_named(struct world *w, const char *s) {
    unsigned n = s[1] >= '0' && s[1] <= '9' ? (unsigned)(s[1] - '0') : 0, last = (unsigned)(s[strlen(s) - 1] - '0');
    if (s[0] == '=' || s[0] == '+' || s[0] == '-' || s[0] == '*' || s[0] == 'W') return; /* before the start */
    if (s[0] == 'i' || s[0] == 'o') world_issue(w, (int)n, 0, s + 3, s[0] == 'o');
    else if (strcmp(s, "copy") == 0) w->world_ms += 2, world_turn(w);
    else if (strcmp(s, "rest") == 0) world_rest(w);
    else if (strcmp(s, "slow") == 0) {
        for (unsigned i = 0; i < w->lane_count; i++) w->lanes.lane[i].rules.copy_interval_ms = 1000;
    } else if (strncmp(s, "copies ", 7) == 0) {
        if (w->lanes.lane[0].figures.copies > n_of(s + 7)) snprintf(w->failed, sizeof w->failed, "copied %d times", (int)w->lanes.lane[0].figures.copies);
    }
    else if (strcmp(s, "file") == 0) w->by_file = w->lanes.scan.by_file = true;
    else if (strcmp(s, "wait") == 0) {
        for (int i = 0; i < 1000 && !w->file.taken; i++) world_listing(w);
    } else if (strcmp(s, "read") == 0) {
        for (int i = 0; i < 1000 && w->lanes.scan.state >= LANE_SCAN_WAITING; i++) world_turn(w);
    }
    else if (strcmp(s, "scan") == 0) {
        for (int i = 0; i < 60; i++) world_listing(w);
    } else if (strcmp(s, "names") == 0) {
        world_end_turn(w);
        while (world_witness(w)) {}
    } else if (strcmp(s, "gap") == 0) world_witness_break(w, LANE_P, false);
    else if (strncmp(s, "stranger ", 9) == 0) world_stranger(w, 0, s + 9);
    else if (strcmp(s, "tick") == 0) w->world_ms += 400;
    else if (strcmp(s, "kill") == 0) world_kill(w);
    else if (strcmp(s, "kill*") == 0) while (w->zombies) world_kill(w);
    else if (strcmp(s, "zombie") == 0) world_zombie(w);
    else if (strcmp(s, "swap") == 0) world_swap(w);
    else if (strcmp(s, "crash") == 0) world_crash(w, false);
    else if (strcmp(s, "host") == 0) world_crash(w, true);
    else if (strncmp(s, "restart ", 8) == 0) world_restart(w, s[8] == 'P' ? LANE_P : LANE_F, 1);
    else if (strncmp(s, "refuse ", 7) == 0) w->server[LANE_F].refuse = s[7];
    else if (strcmp(s, "accept") == 0) w->server[LANE_F].refuse = 0;
    else if (strcmp(s, "loading") == 0 || strcmp(s, "loaded") == 0) w->server[LANE_P].loading = s[5] == 'n';
    else if (s[0] == 'b') world_break(w, s[1] == 'p' ? LANE_P : LANE_F, last);
    else if (s[0] == 'p') world_execute(w, LANE_P, n);
    else if (s[0] == 'r') world_answer(w, LANE_P, n);
    else if (s[0] == 'f') world_execute(w, LANE_F, n);
    else if (s[0] == 'g') world_answer(w, LANE_F, n);
    else UNREACHABLE("a step that the simulation does not know");
}

static bool run_trace(const struct trace *trace, bool broken, bool bursts, char what[256]) {
    struct world *w = NEW(struct world);
    world_open(w, 1, 2, trace->import);
    w->bursts = bursts;
    if (broken) w->off[trace->rule] = true;
    for (size_t i = 0; trace->steps[i]; i++) {
        const char *s = trace->steps[i];
        if (s[0] == 'W') w->witness.used = true;
        if (s[0] == '*') w->rules.big_bytes = 0, w->rules.chunk_bytes = 64; /* every key is big, and a chunk has one element */
        if (s[0] == '=' || s[0] == '+' || s[0] == '-') both(w, s + 2, s[0] != '+', s[0] != '-');
    }
    world_start(w, trace->baseline);
    for (size_t i = 0; trace->steps[i]; i++) step_named(w, trace->steps[i]);
    bool equal = world_settle(w, what);
    world_close(w);
    mem_free(w);
    return equal;
}

static int run_traces(bool bursts) {
    int failed = 0;
    for (size_t i = 0; i < sizeof traces / sizeof *traces; i++) {
        char with[256] = "equal", without[256] = "equal";
        bool a = run_trace(&traces[i], false, bursts, with), b = run_trace(&traces[i], true, bursts, without);
        if (a && !b) continue;
        printf("trace %zu, %s: with the rule: %s; without: %s\n", i, world_rule_names[traces[i].rule], with, without);
        failed++;
    }
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        char what[256] = "equal";
        if (run_trace(&more[i], false, bursts, what)) continue;
        printf("trace %zu of more: %s\n", i, what);
        failed++;
    }
    return failed;
}

/* ---- ---- */

static int ablate(uint64_t seed, long runs, int only) {
    int missed = 0;
    for (int off = 0; off < WORLD_RULES; off++) {
        if (only >= 0 && off != only) continue;
        if (off >= OFF_AUDIT_PLACE && off <= OFF_AUDIT_EXTRA) continue; /* sim_audit */
        long i = 0;
        while (i < runs && (random_run(seed + (uint64_t)i * 1000003, off, NULL, true) || !random_run(seed + (uint64_t)i * 1000003, -1, NULL, true))) i++;
        if (i < runs) {
            printf("without %s: seed %" PRIu64 ", run %ld\n  ", world_rule_names[off], seed + (uint64_t)i * 1000003, i);
            (void)random_run(seed + (uint64_t)i * 1000003, off, NULL, false);
        } else printf("without %s: no failure in %ld runs\n", world_rule_names[off], runs), missed++;
    }
    return missed;
}

int main(int argc, char **argv) {
    uint64_t seed = rand_test_seed(), figures[8] = {0};
    long runs = argc > 1 ? atol(argv[1]) : 300;
    if (argc > 2 && strcmp(argv[2], "--ablate") == 0) return ablate(seed, runs, argc > 3 ? atoi(argv[3]) : -1);
    int failed = getenv("TALK") && getenv("SEED") ? 0 : run_traces(false) + run_traces(true);
    printf("sim_lane: SEED=%" PRIu64 ", %ld runs\n", seed, runs);
    for (long i = 0; i < runs && failed < 5; i++)
        if (!random_run(seed + (uint64_t)i * 1000003, -1, figures, false)) failed++;
    printf("%" PRIu64 " requests executed, %" PRIu64 " clean keys compared, %" PRIu64 " crashes, %" PRIu64 " breaks, %" PRIu64 " restarts with a mark\n",
           figures[0], figures[1], figures[2], figures[3], figures[6]);
    printf("%" PRIu64 " times P told names\n", figures[7]);
    printf("%" PRIu64 " times P and F changed roles, drained, %" PRIu64 " times not\n", figures[4], figures[5]);
    printf("%s\n", failed ? "FAILED" : "fine");
    return failed ? 1 : 0;
}

/* sim_audit.c -- audits in the lanes while clients write and everything goes wrong (C29).
 *
 *     sim_audit [RUNS]             RUNS random runs, then each rule left out, which must be found
 *     sim_audit [RUNS] --ablate    for each rule, the first run that fails without it and not with it
 *
 * The keys 'a' .. 'd' are written by clients; 'e' and 'f' only by a stranger, at F. An audit must name
 * exactly what the stranger did, and nothing of the clients'; after a repair and a rest both sides are
 * the same. With $TALK each step is told.
 */
#include "tests/sim/lane_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void at_side(struct world *w, enum lane_side side, int db, const char *text) {
    struct mini_conn conn = {.db = db, .import_source = side == LANE_F};
    struct buf request = {0}, out = {0};
    struct slice argv[8];
    size_t argc = 0;
    char copy[96];
    snprintf(copy, sizeof copy, "%s", text);
    for (char *word = strtok(copy, " "); word && argc < 8; word = strtok(NULL, " ")) argv[argc++] = slice_text(word);
    resp_write_command(&request, argc, argv);
    mini_serve(&w->server[side], &conn, buf_slice(&request), &out);
    buf_close(&request);
    buf_close(&out);
    mini_conn_close(&conn);
}

static void both(struct world *w, int db, const char *text) {
    at_side(w, LANE_P, db, text);
    at_side(w, LANE_F, db, text);
}

/* FORM with '@' for a key and '#' for another word of one letter. */
static void fill(char text[48], const char *form, char key, char word) {
    size_t size = strlen(form);
    ASSERT(size < 48);
    for (size_t i = 0; i <= size; i++) text[i] = form[i] == '@' ? key : form[i] == '#' ? word : form[i];
}

/* ---- what a stranger does at F ---- */

static const struct {
    const char *at_both, *at_f;
    enum lane_differs differs;
} plants[] = {
    {"SET @ 1", NULL, LANE_EQUAL},
    {"SET @ 1", "SET @ 2", LANE_DIFFERS_VALUE},
    {"SADD @ x", "SADD @ y", LANE_DIFFERS_VALUE},
    {"SET @ 1", "DEL @", LANE_DIFFERS_MISSING},
    {"DEL @", "RPUSH @ x", LANE_DIFFERS_EXTRA},
    {"RPUSH @ x", "SET @ x", LANE_DIFFERS_VALUE}, /* wrong type is put in below */
    {"SET @ 1", "PEXPIREAT @ 99000000", LANE_DIFFERS_EXPIRY},
    {"SET @ 1", "PERSIST @", LANE_EQUAL},
};
#define PLANTS (sizeof plants / sizeof *plants)

struct plant {
    int db;
    char key;
    size_t kind;
};

static void before(struct world *w, const struct plant *p) {
    char text[48];
    fill(text, plants[p->kind].at_both, p->key, 0);
    both(w, p->db, text);
}

static void plant(struct world *w, const struct plant *p) {
    char text[48];
    if (!plants[p->kind].at_f) return;
    if (p->kind == 5) { /* another type */
        snprintf(text, sizeof text, "DEL %c", p->key);
        at_side(w, LANE_F, p->db, text);
    }
    fill(text, plants[p->kind].at_f, p->key, 0);
    at_side(w, LANE_F, p->db, text);
}

static enum lane_differs expected(const struct plant *p) {
    return p->kind == 5 ? LANE_DIFFERS_TYPE : plants[p->kind].differs;
}

/* ---- clients ---- */

static void random_command(struct rng *r, const struct world *w, char text[48]) {
    static const char *const forms[] = {"SET @ #", "INCR @", "APPEND @ #", "DEL @", "LPUSH @ #", "RPUSH @ #", "SADD @ #", "SREM @ #",
                                        "HSET @ # z", "ZADD @ 3 #", "LPOP @", "GETDEL @", "PERSIST @", "SPOP @", "GET @"};
    char k = (char)('a' + rng_below(r, 4)), v = "xyz"[rng_below(r, 3)], k2 = (char)('a' + rng_below(r, 4));
    static const int lives[] = {20, 300, 5000};
    switch (rng_below(r, 9)) {
    case 0: snprintf(text, 48, "SET %c 1 PX %d", k, lives[rng_below(r, 3)]); return;
    case 1: snprintf(text, 48, "PEXPIREAT %c %" PRId64, k, w->world_ms + (int64_t)rng_below(r, 900)); return;
    case 2: fill(text, rng_below(r, 2) ? "RENAME @ #" : "SUNIONSTORE @ # a", k, k2); return;
    case 3: snprintf(text, 48, "EVAL w 2 %c %c", k, k2); return;
    default: fill(text, forms[rng_below(r, sizeof forms / sizeof *forms)], k, v); return;
    }
}

static void random_step(struct rng *r, struct world *w, bool faults, bool flushes) {
    uint64_t dice = rng_below(r, 1000);
    char text[48];
    enum lane_side side = rng_below(r, 2) ? LANE_P : LANE_F;
    if (w->zombies && rng_below(r, 8) == 0) world_zombie(w);
    if (w->zombies && rng_below(r, 6) == 0) world_kill(w);
    if (dice < 200) {
        random_command(r, w, text);
        bool own = rng_below(r, 9) == 0;
        if (flushes && rng_below(r, 40) == 0) snprintf(text, sizeof text, "%s", rng_below(r, 2) ? "FLUSHALL" : "SWAPDB 0 1"), own = false;
        world_issue(w, (int)rng_below(r, WORLD_CLIENTS), rng_below(r, 5) == 0, text, own);
    } else if (dice < 800) {
        bool answers = rng_below(r, 2);
        unsigned wire = world_busy_wire(w, side, answers, (unsigned)rng_below(r, world_wires(w, side)));
        if (answers) world_answer(w, side, wire);
        else world_execute(w, side, wire);
    } else if (dice < 920) world_turn(w);
    else if (dice < 960) w->world_ms += (int64_t)(rng_below(r, 3) == 0 ? 400 : 30);
    else if (dice < 970) mini_expire(&w->server[side]);
    else if (dice < 985 && faults) w->server[LANE_F].refuse = rng_below(r, 2) ? 0 : (char)('a' + rng_below(r, 4));
    else if (dice >= 985 && faults) world_break(w, side, (unsigned)rng_below(r, world_wires(w, side)));
}

/* ---- a run ---- */

static bool calm(struct world *w) {
    for (int i = 0; i < 3000 && lane_audit_runs(&w->audit); i++) {
        w->world_ms += 25;
        while (w->zombies) world_kill(w);
        world_turn(w);
        for (int side = 0; side < 2; side++)
            for (unsigned n = 0; n < world_wires(w, (enum lane_side)side); n++) {
                for (int k = 0; k < 20; k++) world_execute(w, (enum lane_side)side, n);
                for (int k = 0; k < 20; k++) world_answer(w, (enum lane_side)side, n);
            }
    }
    return !lane_audit_runs(&w->audit);
}

static const struct lane_difference *named(const struct lane_audit *a, int db, char key) {
    for (size_t i = 0; i < a->named_count; i++)
        if (a->named[i]->db == db && a->named[i]->name[0] == (uint8_t)key) return a->named[i];
    return NULL;
}

/* Exactly what was planted was found. */
static bool is_right(const struct world *w, const struct plant *p, size_t count, char what[256]) {
    const struct lane_audit *a = &w->audit;
    size_t wanted = 0;
    if (a->error) return true; /* it does not claim anything */
    for (size_t i = 0; i < count; i++) {
        const struct lane_difference *d = named(a, p[i].db, p[i].key);
        enum lane_differs found = d ? d->differs : LANE_EQUAL;
        wanted += expected(&p[i]) != LANE_EQUAL;
        if (found == expected(&p[i])) continue;
        snprintf(what, 256, "key %c of db %d: planted %s, found %s", p[i].key, p[i].db, lane_differs_text(expected(&p[i])), lane_differs_text(found));
        return false;
    }
    if (a->figures.undecided == 0 && a->figures.differences == wanted) return true;
    const struct lane_difference *d = NULL;
    for (size_t i = 0; i < a->named_count; i++)
        if (a->named[i]->name[0] < 'e') d = a->named[i];
    snprintf(what, 256, "%" PRIu64 " differences, %" PRIu64 " undecided; planted %zu; key %c of db %d: %s", a->figures.differences, a->figures.undecided, wanted,
             d ? d->name[0] : '?', d ? d->db : -1, d ? lane_differs_text(d->differs) : "?");
    return false;
}

static bool random_run(uint64_t seed, int off, uint64_t figures[4], bool quiet) {
    struct rng r = rng_from(seed);
    struct world *w = NEW(struct world);
    char text[48], what[256] = "";
    struct plant p[2];
    bool full;
    world_open(w, rng_next(&r), 1 + (unsigned)rng_below(&r, WORLD_LANES), rng_below(&r, 5) < 2);
    w->audits = true;
    if (off >= 0) w->off[off] = true;
    for (int side = 0; side < 2; side++) w->server[side].skew_ms = (int64_t)rng_below(&r, 3) * 200 - 200;
    w->gateway_skew_ms = (int64_t)rng_below(&r, 3) * 200 - 200;
    if (rng_below(&r, 3) == 0) w->rules.window_items_max = 1 + rng_below(&r, 4);
    if (rng_below(&r, 3) == 0) w->rules.copy_interval_ms = 20;
    for (uint64_t i = rng_below(&r, 8); i > 0; i--) {
        random_command(&r, w, text);
        if (strncmp(text, "EVAL", 4) != 0 && strncmp(text, "SPOP", 4) != 0) both(w, 0, text);
    }
    w->server[LANE_F].state = w->server[LANE_P].state;
    bool flushes = rng_below(&r, 3) == 0, faults = rng_below(&r, 3) > 0;
    for (size_t i = 0; i < 2; i++) {
        p[i] = (struct plant){(int)rng_below(&r, MINI_DBS), (char)('e' + i), flushes ? 4 : rng_below(&r, PLANTS)};
        if (flushes) p[i].kind = 7;
        else before(w, &p[i]);
    }
    world_start(w, false);
    for (uint64_t steps = rng_below(&r, 60); steps > 0 && !w->failed[0]; steps--) random_step(&r, w, faults, flushes);
    for (size_t i = 0; i < 2 && !flushes; i++) plant(w, &p[i]);
    struct lane_audit_rules rules = lane_audit_rules_default;
    rules.slack_ms = w->off[OFF_AUDIT_SLACK] ? -1000 : 800;
    rules.reads_max = 1 + rng_below(&r, 8);
    const char *no = lane_audit_start(&w->audit, &rules);
    for (uint64_t steps = 15 + rng_below(&r, 250); steps > 0 && !w->failed[0]; steps--) random_step(&r, w, faults, flushes);
    w->server[LANE_F].refuse = 0;
    bool fine = calm(w);
    if (!fine) snprintf(what, sizeof what, "the audit does not end");
    if (fine && !no) fine = is_right(w, p, flushes ? 0 : 2, what);
    if (figures && !no) figures[w->audit.error != NULL]++, figures[2] += w->audit.figures.keys, figures[3] += w->audit.figures.differences;
    bool claims = !no && !w->audit.error;
    if (claims) (void)lane_audit_repair(&w->audit, &full);
    for (size_t i = 0; i < 2 && !claims && !flushes; i++) { /* then the stranger takes it back */
        snprintf(text, sizeof text, "DEL %c", p[i].key);
        both(w, p[i].db, text);
    }
    if (fine) fine = world_settle(w, what);
    if (!fine && !quiet) printf("seed %" PRIu64 ": %s\n", seed, what);
    world_close(w);
    mem_free(w);
    return fine;
}

static int ablate(uint64_t seed, long runs, bool talk) {
    int missed = 0;
    for (int off = OFF_AUDIT_PLACE; off <= OFF_AUDIT_EXTRA; off++) {
        long i = 0;
        while (i < runs && (random_run(seed + (uint64_t)i * 1000003, off, NULL, true) || !random_run(seed + (uint64_t)i * 1000003, -1, NULL, true))) i++;
        if (i == runs) printf("without %s: no failure in %ld runs\n", world_rule_names[off], runs), missed++;
        else if (talk) printf("without %s: seed %" PRIu64 ", run %ld\n", world_rule_names[off], seed + (uint64_t)i * 1000003, i);
    }
    return missed;
}

int main(int argc, char **argv) {
    uint64_t seed = rand_test_seed(), figures[4] = {0};
    long runs = argc > 1 ? atol(argv[1]) : 300;
    if (argc > 2 && strcmp(argv[2], "--ablate") == 0) return ablate(seed, runs, true);
    printf("sim_audit: SEED=%" PRIu64 ", %ld runs\n", seed, runs);
    int failed = 0;
    for (long i = 0; i < runs && failed < 5; i++)
        if (!random_run(seed + (uint64_t)i * 1000003, -1, figures, false)) failed++;
    failed += ablate(1, 2000, false); /* fixed seeds: each rule left out is found */
    printf("%" PRIu64 " audits, %" PRIu64 " that ended early, %" PRIu64 " keys compared, %" PRIu64 " differences\n", figures[0], figures[1], figures[2], figures[3]);
    printf("%s\n", failed ? "FAILED" : "fine");
    return failed ? 1 : 0;
}

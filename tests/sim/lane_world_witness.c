/* lane_world_witness.c -- the simulated P tells which keys changed, and the gateway's witness listens
 * (C22). See lane_world.h, gateway/witness.h.
 *
 * Requests that are executed one after the other are of one turn of P; it ends when one of them is
 * answered, and then its names are on their way. A fence is answered inside its turn: the turn's names
 * come behind it. What is on its way arrives in order, some time.
 */
#include "tests/sim/lane_world_inside.h"

#include <stdio.h>

struct told {
    struct told *next;
    uint32_t names; /* as bits */
    bool flushed, is_answer;
    struct witness_answer answer;
};

static struct witness *at_p(struct world *w) { return &w->witness.of[LANE_P]; }

static struct told *tell(struct world *w) {
    struct told *told = NEW(struct told);
    struct told **end = &w->witness.told;
    while (*end) end = &(*end)->next;
    *end = told;
    return told;
}

static void drop_told(struct world *w) {
    for (struct told *next, *told = w->witness.told; told; told = next) {
        next = told->next;
        mem_free(told);
    }
    w->witness.told = NULL;
    w->witness.asked = false;
}

void world_end_turn(struct world *w) {
    struct mini *p = &w->server[LANE_P];
    if (w->witness.used && !w->off[OFF_WITNESS] && (p->changed || p->flushed)) {
        struct told *told = tell(w);
        told->names = p->changed;
        told->flushed = p->flushed;
    }
    p->changed = 0;
    p->flushed = false;
}

static struct witness_answer answer_of(const struct world *w, enum lane_side side) {
    struct witness_answer answer = {.scripts_known = true, .scripts = w->off[OFF_SCRIPTS] ? 0 : w->server[side].scripts};
    for (int db = 0; db < MINI_DBS; db++)
        for (int k = 0; k < MINI_KEYS; k++)
            if (w->server[side].state.at[db][k].type != MINI_NONE) answer.databases[0] |= UINT64_C(1) << db;
    return answer;
}

static void listen(struct world *w, const struct told *told) {
    struct witness *p = at_p(w);
    if (told->is_answer) {
        witness_told(p, &told->answer);
        w->witness.saved = p->safe;
        return;
    }
    for (int k = 0; k < MINI_KEYS; k++) {
        char name = (char)('a' + k);
        if (told->names & (UINT32_C(1) << k)) witness_name(p, slice_from(&name, 1));
    }
    if (told->flushed) witness_flush(p);
    w->figures[7]++;
}

/* One thing that can happen; false: nothing can. */
bool world_witness(struct world *w) {
    struct told *told = w->witness.told;
    if (!w->witness.used) return false;
    if (witness_wants(at_p(w), (uint64_t)w->world_ms * 1000, true)) {
        witness_asked(at_p(w), (uint64_t)w->world_ms * 1000);
        w->witness.asked = true;
        return true;
    }
    if (w->witness.asked && (told == NULL || rng_below(&w->rng, 2))) {
        struct told *answered = tell(w);
        answered->is_answer = true;
        answered->answer = answer_of(w, LANE_P);
        w->witness.asked = false;
        return true;
    }
    if (told == NULL) return false;
    if (told->is_answer) world_end_turn(w); /* it was written at the turn's end, in front of its names */
    w->witness.told = told->next;
    listen(w, told);
    mem_free(told);
    return true;
}

static void begin(struct world *w, enum lane_side side) {
    char run_id[24];
    struct witness *witness = &w->witness.of[side];
    snprintf(run_id, sizeof run_id, "run %d", (int)w->witness.run[side]);
    if (w->off[OFF_GAP]) {
        witness->safe = (struct witness_safe){.known = true, .scripts = answer_of(w, side).scripts};
        snprintf(witness->safe.run_id, sizeof witness->safe.run_id, "%s", run_id);
    }
    witness_begin(witness, run_id);
}

void world_witness_break(struct world *w, enum lane_side side, bool other_process) {
    if (side == LANE_P) {
        world_end_turn(w);
        drop_told(w);
    }
    if (other_process) {
        w->witness.run[side] += 2; /* of the sides one has the odd numbers */
        w->server[side].scripts = 0;
    }
    if (!w->witness.used) return;
    witness_end(&w->witness.of[side]);
    begin(w, side);
}

void world_witness_open(struct world *w) {
    if (w->witness.run[LANE_P] == 0) w->witness.run[LANE_P] = 1, w->witness.run[LANE_F] = 2;
    for (int side = 0; side < 2; side++) {
        witness_init(&w->witness.of[side], &w->lanes);
        if (!w->witness.used) continue;
        witness_watch(&w->witness.of[side], side == LANE_P);
        w->witness.of[side].safe = w->witness.saved;
        begin(w, (enum lane_side)side);
    }
}

void world_witness_close(struct world *w) {
    world_end_turn(w);
    drop_told(w);
    for (int side = 0; side < 2; side++) witness_close(&w->witness.of[side]);
}

/* Before the sides change roles, and after it: F's names are told from before on, or they are not. */
void world_witness_arm(struct world *w) {
    struct witness *f = &w->witness.of[LANE_F];
    if (!w->witness.used || f->answers > 0 || rng_below(&w->rng, 3) == 0) return;
    struct witness_answer answer = answer_of(w, LANE_F);
    witness_asked(f, 0);
    witness_told(f, &answer);
}

void world_witness_swapped(struct world *w) {
    struct witness old = w->witness.of[LANE_P];
    uint64_t run = w->witness.run[LANE_P];
    w->witness.run[LANE_P] = w->witness.run[LANE_F];
    w->witness.run[LANE_F] = run;
    w->server[LANE_F].changed = 0;
    w->server[LANE_F].flushed = false;
    drop_told(w);
    if (!w->witness.used) return;
    w->witness.of[LANE_P] = w->witness.of[LANE_F];
    w->witness.of[LANE_F] = old;
    witness_watch(&w->witness.of[LANE_P], true);
    witness_watch(&w->witness.of[LANE_F], false);
    witness_end(&w->witness.of[LANE_F]);
    begin(w, LANE_F);
    if (w->off[OFF_GAP]) w->witness.of[LANE_P].resuming = false;
    w->witness.saved = w->witness.of[LANE_P].safe;
}

bool world_witness_is_proved(const struct world *w) {
    return !w->witness.used || w->off[OFF_PROOF] || witness_is_proved(&w->witness.of[LANE_P]);
}

void world_stranger(struct world *w, int db, const char *text) {
    struct slice argv[12];
    struct buf request = {0}, out = {0};
    struct mini_conn conn = {.db = db};
    TALK("a stranger, db %d %s\n", db, text);
    resp_write_command(&request, command_split(slice_text(text), argv), argv);
    mini_serve(&w->server[LANE_P], &conn, buf_slice(&request), &out);
    world_remember(w, LANE_P);
    buf_close(&request);
    buf_close(&out);
    mini_conn_close(&conn);
}

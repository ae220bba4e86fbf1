/* lane_moments.c -- moments at which a rule of the lanes matters. See lane_moments.h. */
#include "tests/sim/lane_moments.h"

#include <stdio.h>

static void execute(struct world *w, enum lane_side side, unsigned lane, int turns) {
    for (int i = 0; i < turns; i++) world_execute(w, side, lane);
}

static void answer(struct world *w, enum lane_side side, unsigned lane, int turns) {
    for (int i = 0; i < turns; i++) world_answer(w, side, lane);
}

static void all_but(struct world *w, unsigned lane) {
    for (unsigned i = 0; i < w->lane_count; i++)
        for (int turns = 0; i != lane && turns < 6; turns++) {
            world_execute(w, LANE_P, i);
            world_answer(w, LANE_P, i);
        }
}

/* Somebody who has nothing under way, or else anybody. */
static int idler(struct rng *r, const struct world *w) {
    int client = (int)rng_below(r, WORLD_CLIENTS);
    for (int i = 0; i < WORLD_CLIENTS; i++) {
        const struct world_client *c = &w->clients[(client + i) % WORLD_CLIENTS];
        if (c->count == 0 && c->place.unanswered == 0 && c->own_unanswered == 0) return (client + i) % WORLD_CLIENTS;
    }
    return client;
}

static const struct lane_item *copy_of(const struct world *w, unsigned lane) {
    const struct lane_item *copy = w->lanes.lane[lane].flight.head;
    while (copy && copy->kind != LANE_COPY) copy = copy->next;
    return copy && copy->key ? copy : NULL;
}

static char other_key(struct rng *r, const struct world *w, unsigned lane, bool inside) {
    char key = 'a';
    for (uint64_t i = 1 + rng_below(r, 4), tries = 0; i > 0 && tries < 20; tries++) {
        key = key == 'd' ? 'a' : (char)(key + 1);
        if ((lane_of(w->lane_count, slice_from(&key, 1)) == lane) == inside) i--;
    }
    return key;
}

/* A dirty key, until it is being copied. */
static void begin_copy(struct rng *r, struct world *w, unsigned lane) {
    char text[48];
    if (copy_of(w, lane) || w->rules.copy_interval_ms > 100) return;
    snprintf(text, sizeof text, "EVAL w 1 %c", other_key(r, w, lane, true));
    world_issue(w, idler(r, w), 0, text, false);
    for (int i = 0; i < 4 && !copy_of(w, lane); i++) {
        execute(w, LANE_P, lane, 8);
        answer(w, LANE_P, lane, 8);
        w->world_ms += 2 + (int64_t)w->rules.copy_interval_ms;
        world_turn(w);
    }
}

/* A key whose copy was executed, and a command down another lane that writes it and is answered first (C13a). */
static void outsider(struct rng *r, struct world *w, unsigned lane) {
    char text[48];
    begin_copy(r, w, lane);
    if (!copy_of(w, lane)) return;
    if (rng_below(r, 4) > 0) execute(w, LANE_P, lane, 6);
    const struct lane_item *copy = copy_of(w, lane);
    if (copy == NULL) return;
    char key = (char)copy->key->name[0], other = other_key(r, w, lane, false);
    switch (rng_below(r, 3)) {
    case 0: snprintf(text, sizeof text, "MSET %c 1 %c %d", other, key, (int)rng_below(r, 9)); break;
    case 1: snprintf(text, sizeof text, "RENAME %c %c", other, key); break;
    default: snprintf(text, sizeof text, "SUNIONSTORE %c %c %c", key, other, other); break;
    }
    world_issue(w, idler(r, w), copy->key->db, text, false);
    all_but(w, lane);
    if (rng_below(r, 4) > 0) answer(w, LANE_P, lane, 6);
}

/* P is loading while it is asked for a copy (C13). */
static void loading(struct rng *r, struct world *w, unsigned lane) {
    begin_copy(r, w, lane);
    if (!copy_of(w, lane)) return;
    bool was = w->server[LANE_P].loading;
    w->server[LANE_P].loading = true;
    execute(w, LANE_P, lane, 6);
    w->server[LANE_P].loading = was;
    answer(w, LANE_P, lane, 6);
}

/* F refuses one thing, and takes what came of it (C12b), or the other half of its block (C18). */
static void refusal(struct rng *r, struct world *w, unsigned lane) {
    char key = other_key(r, w, lane, true), to = other_key(r, w, lane, true), text[48];
    int client = idler(r, w);
    bool block = rng_below(r, 2);
    char was = w->server[LANE_F].refuse;
    execute(w, LANE_F, lane, 8);
    answer(w, LANE_F, lane, 8);
    if (block) snprintf(text, sizeof text, "SADD %c z%d;DEL %c", key, (int)rng_below(r, 9), to);
    else snprintf(text, sizeof text, "SADD %c z%d", key, (int)rng_below(r, 9));
    world_issue(w, client, 0, text, false);
    snprintf(text, sizeof text, "SUNIONSTORE %c %c %c", to, key, key);
    if (!block) world_issue(w, client, 0, text, false);
    execute(w, LANE_P, lane, 4);
    answer(w, LANE_P, lane, 4);
    w->server[LANE_F].refuse = key;
    execute(w, LANE_F, lane, 1);
    w->server[LANE_F].refuse = was;
    execute(w, LANE_F, lane, 4);
    if (rng_below(r, 4) > 0) answer(w, LANE_F, lane, 4);
}

/* A list, and one more of it on a connection of the client's own: so it is dirty, and copied. */
static void begin_big(struct rng *r, struct world *w, unsigned lane) {
    char key = other_key(r, w, lane, true), text[48];
    int client = idler(r, w);
    unsigned own = w->lane_count + (unsigned)client;
    snprintf(text, sizeof text, "DEL %c;RPUSH %c 1 2 3 4 5 6", key, key);
    world_issue(w, client, 0, text, false);
    execute(w, LANE_P, lane, 8);
    answer(w, LANE_P, lane, 8);
    snprintf(text, sizeof text, "RPUSH %c 7", key);
    world_issue(w, client, 0, text, true);
    execute(w, LANE_P, own, 3);
    answer(w, LANE_P, own, 3);
    for (int i = 0; i < 6 && !w->lanes.lane[lane].big.key; i++) {
        execute(w, LANE_P, lane, 2);
        answer(w, LANE_P, lane, 2);
        w->world_ms += 2;
        world_turn(w);
    }
}

/* A big key is being read in chunks, and somebody writes it (C14a). */
static void big(struct rng *r, struct world *w, unsigned lane) {
    static const char *const forms[] = {"LPUSH %c q;RPOP %c", "APPEND %c q", "SADD %c q;SPOP %c", "HSET %c q q", "RPUSH %c q", "LPUSH %c q;RPOP %c"};
    bool may_wait = w->rules.big_bytes < 2 * sizeof(struct mini_value) && w->rules.copy_interval_ms == 0;
    char text[48];
    if (!w->lanes.lane[lane].big.key && may_wait && rng_below(r, 2)) begin_big(r, w, lane);
    const struct lane_key *key = w->lanes.lane[lane].big.key;
    if (!key) return;
    int name = key->name[0], db = key->db;
    for (uint64_t turns = rng_below(r, 6); turns > 0; turns--) {
        world_execute(w, LANE_P, lane);
        world_answer(w, LANE_P, lane);
    }
    const char *form = forms[rng_below(r, sizeof forms / sizeof *forms)];
    size_t size = 0;
    for (; *form && size + 1 < sizeof text; form++) {
        bool here = form[0] == '%' && form[1] == 'c';
        text[size++] = here ? (char)name : *form;
        form += here;
    }
    text[size] = '\0';
    world_issue(w, idler(r, w), db, text, false);
}

/* P's file is waited for or read, and somebody writes a key which would be copied at once (C15). */
static void file(struct rng *r, struct world *w, unsigned lane) {
    char text[48];
    if (!w->by_file) return;
    for (int i = 0; i < 8 && !w->file.taken; i++) world_listing(w);
    if (!w->file.taken) return;
    snprintf(text, sizeof text, "SET %c %d", other_key(r, w, lane, true), (int)rng_below(r, 9));
    world_issue(w, idler(r, w), (int)rng_below(r, MINI_DBS), text, false);
    for (int i = 0; i < 3; i++) {
        execute(w, LANE_P, lane, 3);
        answer(w, LANE_P, lane, 3);
        w->world_ms += 2;
        world_turn(w);
    }
    for (uint64_t turns = rng_below(r, 20); turns > 0; turns--) world_turn(w);
}

/* A set that is the same at both sides, and P takes something out of it (C16). */
static void chance(struct rng *r, struct world *w, unsigned lane) {
    char key = other_key(r, w, lane, true), text[48];
    int client = idler(r, w);
    snprintf(text, sizeof text, "DEL %c;SADD %c 1 2 3 4 5", key, key);
    world_issue(w, client, 0, text, false);
    for (int i = 0; i < 4; i++) {
        execute(w, LANE_P, lane, 3);
        answer(w, LANE_P, lane, 3);
        w->world_ms += 2;
        world_turn(w);
    }
    snprintf(text, sizeof text, "SPOP %c", key);
    world_issue(w, client, 0, text, false);
}

void lane_moment(struct rng *r, struct world *w, enum lane_moment_kind kind, bool refusals) {
    unsigned lane = (unsigned)rng_below(r, w->lane_count);
    switch (kind) {
    case LANE_MOMENT_OUTSIDER:
        if (w->lane_count > 1) outsider(r, w, lane);
        break;
    case LANE_MOMENT_BIG: big(r, w, lane); break;
    case LANE_MOMENT_FILE: file(r, w, lane); break;
    case LANE_MOMENT_CHANCE: chance(r, w, lane); break;
    case LANE_MOMENT_LOADING:
        if (refusals) loading(r, w, lane);
        break;
    case LANE_MOMENT_REFUSAL:
    case LANE_MOMENTS:
    default:
        if (refusals) refusal(r, w, lane);
    }
    if (rng_below(r, 3) == 0) world_compare(w);
}

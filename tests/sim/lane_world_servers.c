/* lane_world_servers.c -- what is executed at the simulated servers, and what their answers do. See
 * lane_world.h. */
#include "tests/sim/lane_world_inside.h"
#include "tests/sim/marks.h"

#include <inttypes.h>
#include <stdio.h>

void world_remember(struct world *w, enum lane_side side) {
    int *count = &w->history_count[side];
    if (*count > 0 && memcmp(&w->history[side][*count - 1], &w->server[side].state, sizeof(struct mini_state)) == 0) return;
    if (*count == WORLD_HISTORY) memmove(w->history[side], w->history[side] + 1, sizeof w->history[side][0] * (size_t)--*count);
    w->history[side][(*count)++] = w->server[side].state;
}

static void drop_marks(struct world *w) {
    for (unsigned i = 0; i < w->lane_count; i++) marks_drop(w->wires[LANE_F][i]);
}

void world_run(struct world *w, struct wire *wire, struct message *m) {
    if (m->is_mark) {
        w->figures[1] += mark_check(m, &w->server[LANE_F].state, w->failed, sizeof w->failed);
        return;
    }
    wire_execute(wire, m, &w->server[wire->side], w->talk);
    if (wire->side == LANE_F && memmem(m->bytes.data, m->bytes.end, "FLUSH", 5) != NULL) drop_marks(w);
    w->figures[0]++;
    world_remember(w, wire->side);
}

unsigned world_busy_wire(struct world *w, enum lane_side side, bool answered, unsigned from) {
    unsigned count = world_wires(w, side);
    for (unsigned i = 0; i < count; i++) {
        const struct wire *wire = *world_wire_at(w, side, (from + i) % count);
        if (answered ? wire->answered.head != NULL : wire->asked.head != NULL) return (from + i) % count;
    }
    return from;
}

static void check_order(struct world *w, const struct message *m) {
    if (m->client < 0) return;
    struct world_client *c = &w->clients[m->client];
    if (m->seq < c->executed) snprintf(w->failed, sizeof w->failed, "client %d: a command was executed before its predecessor", m->client);
    c->executed = m->seq;
}

/* The connection stands still until somebody else has written one of its keys. */
static bool blocks(const struct world *w, enum lane_side side, const struct message *m) {
    bool waits = false;
    for (int db = 0; m && db < MINI_DBS; db++)
        for (int k = 0; k < MINI_KEYS; k++) {
            if (!m->waits[db][k]) continue;
            if (mini_alive(&w->server[side].state.at[db][k], mini_now(&w->server[side]))) return false;
            waits = true;
        }
    return waits;
}

void world_execute(struct world *w, enum lane_side side, unsigned n) {
    world_leave(w);
    struct wire *wire = *world_wire_at(w, side, n);
    if (blocks(w, side, wire->asked.head)) return;
    struct message *m = messages_pop(&wire->asked);
    if (!m) return;
    if (!m->early) world_run(w, wire, m);
    if (m->is_mark) {
        message_free(m);
        return;
    }
    if (side == LANE_P) {
        check_order(w, m);
        m->state = mem_dup(&w->server[LANE_P].state, sizeof(struct mini_state));
    }
    messages_push(&wire->answered, m);
}

/* ---- answers ---- */

static void put_mark(struct world *w, unsigned lane, const struct mini_state *state) {
    struct lane *l = &w->lanes.lane[lane];
    if (!w->check_clean || !l->follower_up || l->tail.count > 0 || w->lanes.barrier.at_f != LANE_FENCE_IDLE) return;
    mark_put(w->wires[LANE_F][lane], l, state);
}

static void spoil_memory(struct world *w) {
    if (w->off[OFF_FUNCTIONS]) w->lanes.functions.dirty = false;
    for (unsigned i = 0; w->off[OFF_VOLATILE] && i < w->lane_count; i++) lane_deadlines_close(&w->lanes.lane[i].deadlines);
}

/* With the rule off nobody looks whether the key is still what it was before its elements were read. */
static struct slice unchanged(struct lane *l, char text[80]) {
    l->big.chunks.length = (int64_t)l->big.chunks.had;
    snprintf(text, 80, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:-1\r\n:%" PRIu64 "\r\n", l->big.chunks.had);
    return slice_text(text);
}

/* Sometimes answers to commands of one burst that are the same come together, as the gateway's shell passes
 * them on. *M becomes the last of them; returns how many. */
static uint32_t take_alike(struct world *w, struct wire *wire, const struct lane_item *item, struct message **m) {
    uint32_t count = 1;
    if (item->kind != LANE_BURST || w->figures[0] % 2 == 0) return 1;
    for (struct message *next; count < lane_item_units(item) && (next = wire->answered.head) != NULL; count++) {
        if (next->is_mark || !slice_equal(buf_slice(&next->answer), buf_slice(&(*m)->answer))) break;
        if (wire->side == LANE_P) w->clients[next->client].place.unanswered--;
        message_free(*m);
        *m = messages_pop(&wire->answered);
    }
    return count;
}

static void lane_answered(struct world *w, unsigned n, struct message **first) {
    struct message *m = *first;
    struct lane *l = &w->lanes.lane[n];
    struct lane_item *item = l->flight.head;
    ASSERT(item);
    struct slice answer = buf_slice(&m->answer);
    if (item->kind == LANE_COPY && w->off[OFF_GEN]) item->gen = item->key->gen;
    if (item->kind == LANE_COPY && w->off[OFF_COPY_ERROR] && memchr(answer.data, '-', answer.size) == answer.data)
        answer = SLICE("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:-2\r\n$-1\r\n");
    bool plain = !item->outside && !item->barrier;
    if (item->kind == LANE_BURST || (item->effect != NULL && item->effect->writes)) witness_owe(&w->witness.of[LANE_P]);
    if (item->limit_bytes > 0 && answer.size > item->limit_bytes) answer = lane_big_too_long;
    char text[80];
    if (item->kind == LANE_QUESTION && w->off[OFF_UNLESS_CHANGED] && l->big.chunks.at == CHUNKS_AT_AFTER) answer = unchanged(l, text);
    w->answering = true;
    if (item->kind == LANE_BURST) {
        w->clients[m->client].place.unanswered--;
        uint32_t count = take_alike(w, w->wires[LANE_P][n], item, first), taken = 0;
        m = *first;
        taken = lane_primary_answered_alike(l, buf_slice(&m->answer), count);
        ASSERT(taken == count);
    } else {
        lane_primary_answered(l, answer);
    }
    w->answering = false;
    const struct lane_item *next = l->flight.head;
    bool halfway = next && next->kind == LANE_BURST && next->done > 0; /* F gets all of it at once */
    if (plain && !halfway) put_mark(w, n, m->state);
}

static void own_answered(struct world *w, struct message *m) {
    struct world_client *c = &w->clients[m->client];
    witness_owe(&w->witness.of[LANE_P]);
    if (w->off[OFF_PIN])
        for (size_t i = 0; i < m->own->key_count; i++)
            lane_mark(&w->lanes.lane[lane_of(w->lane_count, m->own->keys[i].name)], m->own->keys[i].db, m->own->keys[i].name);
    else lanes_unpin(&w->lanes, m->own);
    effect_free(m->own);
    c->own_unanswered--;
}

/* With the rule off: what the last one said stands for all of them. */
static void say_done(struct message *m) {
    struct slice rest = buf_slice(&m->answer), last = {0};
    uint32_t count = m->replies > 2 ? m->replies - 2 : 0;
    struct buf out = {0};
    while (rest.size > 0) {
        struct resp_skip skip = {0};
        struct why why;
        size_t used = 0;
        if (resp_skip_next(&skip, &resp_limits_server, rest, &used, &why) != STEP_DONE) break;
        last = slice_take(rest, used);
        rest = slice_drop(rest, used);
    }
    buf_add(&out, SLICE("+OK\r\n"));
    for (uint32_t i = 0; i < count; i++) buf_add(&out, SLICE("+QUEUED\r\n"));
    resp_write_array(&out, count);
    for (uint32_t i = 0; i < count; i++) buf_add(&out, last);
    buf_close(&m->answer);
    m->answer = out;
}

void world_forget_keys(struct lane_item *item) {
    for (size_t i = 0; item->kind == LANE_BURST && i < item->key_count; i++) item->keys[i].use = 0;
    if (item->kind != LANE_BURST) item->key_count = 0;
}

static void follower_answered(struct world *w, unsigned n, struct message **first) {
    struct message *m = *first;
    struct lane *l = &w->lanes.lane[n];
    bool refused = memmem(m->answer.data, m->answer.end, "OOM", 3) != NULL;
    for (struct lane_item *later = l->sent.head->next; later && w->off[OFF_SPREAD] && refused; later = later->next) world_forget_keys(later);
    if (m->taken_apart) say_done(m);
    uint32_t count = take_alike(w, w->wires[LANE_F][n], l->sent.head, first);
    while (count > 0) count -= lane_follower_answered_alike(l, buf_slice(&(*first)->answer), count); /* refused ones come one by one */
}

static void page(struct world *w, enum lane_side side, struct message *m) {
    struct slice answer = buf_slice(&m->answer);
    if (m->audit) {
        if (w->off[OFF_AUDIT_EXTRA] && side == LANE_F && memmem(m->bytes.data, m->bytes.end, "SCAN", 4) != NULL) answer = SLICE("*2\r\n$1\r\n0\r\n*0\r\n");
        lane_audit_answered(&w->audit, m->round, answer);
        return;
    }
    bool blind = (side == LANE_F && w->off[OFF_EXTRA]) || (side == LANE_P && w->off[OFF_LISTED]);
    if (blind) answer = SLICE("*2\r\n$1\r\n0\r\n*0\r\n");
    if (!lane_scan_page(&w->lanes.scan, m->round, answer)) TALK("a page that is none\n");
}

void world_answer(struct world *w, enum lane_side side, unsigned n) {
    world_leave(w);
    struct message *m = messages_pop(&(*world_wire_at(w, side, n))->answered);
    if (!m) return;
    if (side == LANE_P) world_end_turn(w);
    if (n < w->lane_count && side == LANE_P) lane_answered(w, n, &m);
    else if (n < w->lane_count) follower_answered(w, n, &m);
    else if (m->own) own_answered(w, m);
    else if (n == world_wires(w, side) - 1) page(w, side, m);
    spoil_memory(w);
    message_free(m);
    world_pump(w);
}

void world_turn(struct world *w) {
    for (unsigned i = 0; w->off[OFF_COALESCE] && i < w->lane_count; i++) w->lanes.lane[i].hurry = true;
    if (w->off[OFF_FUNCTIONS]) w->lanes.functions.dirty = false;
    lanes_turn(&w->lanes);
    world_file(w);
    if (w->audits) lane_audit_turn(&w->audit);
    world_pump(w);
    for (unsigned i = 0; i < w->lane_count; i++) lane_check(&w->lanes.lane[i]);
}

void world_listing(struct world *w) {
    world_turn(w);
    for (int side = 0; side < 2; side++) {
        world_execute(w, (enum lane_side)side, world_wires(w, (enum lane_side)side) - 1);
        world_answer(w, (enum lane_side)side, world_wires(w, (enum lane_side)side) - 1);
    }
}

/* lane_world_clients.c -- clients of the simulated gateway. See lane_world.h. */
#include "tests/sim/lane_world_inside.h"

#include "tests/sim/commands.h"

#include <inttypes.h>
#include <stdio.h>

static void watch(struct world *w, int client, const struct waiting *q) {
    struct slice argv[12];
    struct buf out = {0};
    (void)command_split(slice_text(q->text), argv);
    bool script = slice_equal(argv[0], SLICE("EVAL"));
    struct slice words[2] = {SLICE("WATCH"), argv[script ? 3 : 1]};
    resp_write_command(&out, 2, words);
    (void)wire_ask_in_db(w->own[client], q->db, buf_slice(&out), 1);
    buf_close(&out);
}

/* EXEC under WATCH: on its own connection, its keys pinned everywhere (C10a). */
static bool send_own(struct world *w, int client, struct effect *e) {
    struct world_client *c = &w->clients[client];
    if (c->place.unanswered > 0 && !w->off[OFF_ORDER]) return false;
    if (!w->off[OFF_FENCE] && lanes_stops(&w->lanes, e)) return false;
    if (!w->off[OFF_PIN]) lanes_pin(&w->lanes, e);
    struct message *m = wire_ask_in_db(w->own[client], e->db, e->send, e->replies);
    m->own = e;
    m->client = client;
    m->seq = c->queue[0].seq;
    c->own_unanswered++;
    return true;
}

static void spoil_key(struct lane *l, const struct effect_key *k) {
    struct lane_key *key = lane_keys_find(&l->keys, k->db, k->name);
    if (!lane_owns(l, k->name) || key == NULL || key->pins > 0 || key->copying || !key->dirty) return;
    list_remove(&key->want);
    key->copying = true;
    lane_keys_copied(&l->keys, key, true, 0);
}

/* With the rule off nobody else learns of a command over several lanes. */
static void spoil_pin(struct world *w, struct lane_item *item) {
    if (!w->off[OFF_PIN] || !item->outside) return;
    item->outside = false;
    unsigned home = lanes_home(&w->lanes, item->effect, &(struct lanes_place){0});
    for (unsigned i = 0; i < w->lane_count; i++)
        if (i != home || item->effect->keys_unknown) {
            lane_unpin(&w->lanes.lane[i], item->effect);
            for (size_t k = 0; k < item->effect->key_count; k++) spoil_key(&w->lanes.lane[i], &item->effect->keys[k]);
        }
}

/* As the gateway's shell does. False: it is none, or goes the long way now. */
static bool send_simple(struct world *w, struct world_client *c) {
    struct slice words[12];
    struct resp_request r = {0};
    struct buf raw = {0};
    struct why why;
    size_t used = 0;
    if (!w->bursts || strchr(c->queue[0].text, ';') != NULL) return false;
    resp_write_command(&raw, command_split(slice_text(c->queue[0].text), words), words);
    enum step step = resp_request_next(&r, &resp_request_limits_open, buf_slice(&raw), &used, &why);
    ASSERT(step == STEP_DONE);
    const struct effect_simple *simple = effect_simple_of(command_lookup(r.argc, r.argv), r.argc, r.argv);
    bool sent = simple != NULL && lanes_send_simple(&w->lanes, &c->place, simple, c->queue[0].db, r.argv[1], buf_slice(&raw), c);
    resp_request_close(&r);
    buf_close(&raw);
    return sent;
}

/* With the rule off a command passes the fence around a big key that is being copied. */
static enum lanes_take send_by_lane(struct world *w, struct world_client *c, struct effect *e, struct lane_item **item) {
    struct lane_key *hidden[WORLD_LANES];
    for (unsigned i = 0; i < w->lane_count; i++) {
        hidden[i] = w->lanes.lane[i].big.key;
        if (w->off[OFF_FENCE]) w->lanes.lane[i].big.key = NULL;
    }
    bool simple = send_simple(w, c);
    enum lanes_take take = simple ? LANES_SENT : lanes_send(&w->lanes, &c->place, e, c, item);
    if (simple) effect_free(e);
    for (unsigned i = 0; w->off[OFF_FENCE] && i < w->lane_count; i++) w->lanes.lane[i].big.key = hidden[i];
    return take;
}

/* With the rule off: at once, past what is under way in a lane. */
static bool send_read(struct world *w, int client, struct effect *e) {
    if (!w->off[OFF_READ] || e->writes || e->blocking || e->barrier) return false;
    struct message *m = wire_ask_in_db(w->own[client], e->db, e->send, e->replies);
    m->own = e;
    m->client = client;
    m->seq = w->clients[client].queue[0].seq;
    w->clients[client].own_unanswered++;
    return true;
}

static bool send_first(struct world *w, int client) {
    struct world_client *c = &w->clients[client];
    struct effect *e = command_prepare(&w->facts, &w->clock, c->queue[0].db, c->queue[0].text, c->queue[0].own);
    struct lane_item *item = NULL;
    bool sent = false;
    if (send_read(w, client, e)) {
        sent = true;
    } else if (c->queue[0].own) {
        sent = send_own(w, client, e);
    } else if (c->own_unanswered == 0 || w->off[OFF_ORDER]) {
        size_t unanswered = c->place.unanswered;
        if (w->off[OFF_ORDER]) c->place.unanswered = 0;
        sent = send_by_lane(w, c, e, &item) == LANES_SENT;
        c->place.unanswered = unanswered + (sent ? 1 : 0);
        if (item) spoil_pin(w, item);
    }
    if (!sent) effect_free(e);
    return sent;
}

void world_pump(struct world *w) {
    for (int i = 0; i < WORLD_CLIENTS; i++) {
        struct world_client *c = &w->clients[i];
        while (c->count > 0 && send_first(w, i)) {
            c->count--;
            memmove(c->queue, c->queue + 1, sizeof *c->queue * (size_t)c->count);
        }
    }
}

void world_leave(struct world *w) {
    for (unsigned i = 0; i < w->lane_count; i++) lane_burst_close(&w->lanes.lane[i]);
}

void world_issue(struct world *w, int client, int db, const char *text, bool own) {
    struct world_client *c = &w->clients[client];
    if (c->count == WORLD_WAITING) return;
    TALK("client %d db %d %s%s  clock %" PRId64 "\n", client, db, text, own ? " (own connection)" : "", w->world_ms);
    struct waiting *q = &c->queue[c->count++];
    *q = (struct waiting){.db = db, .own = own, .seq = ++c->seqs};
    snprintf(q->text, sizeof q->text, "%s", text);
    if (own) watch(w, client, q);
    world_pump(w);
}

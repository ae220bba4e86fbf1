/* owners_gate.c -- a simulated gateway among several: its clients, and commands on their way. See
 * owners_world.h; the real one is dual_asks.c, dual_slots.c, far.c. */
#include "tests/sim/owners_world.h"

#include "tests/sim/commands.h"

#include "lib/base/mem.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- lists ---- */

void asks_push(struct o_asks *asks, struct o_ask *ask) {
    ask->next = NULL;
    if (asks->tail) asks->tail->next = ask;
    else asks->head = ask;
    asks->tail = ask;
}

struct o_ask *asks_pop(struct o_asks *asks) {
    struct o_ask *ask = asks->head;
    if (!ask) return NULL;
    asks->head = ask->next;
    if (!asks->head) asks->tail = NULL;
    ask->next = NULL;
    return ask;
}

void asks_remove(struct o_asks *asks, struct o_ask *ask) {
    struct o_asks kept = {0};
    bool found = false;
    for (struct o_ask *at = asks_pop(asks); at; at = asks_pop(asks)) {
        if (at == ask) found = true;
        else asks_push(&kept, at);
    }
    ASSERT(found);
    *asks = kept;
}

void ask_drop(struct o_ask *ask) {
    effect_free(ask->effect);
    mem_free(ask);
}

static void drop_asks(struct o_asks *asks) {
    for (struct o_ask *ask = asks_pop(asks); ask; ask = asks_pop(asks)) ask_drop(ask);
}

/* ---- the end of a command ---- */

/* C21: whatever the client had not sent goes with it; a new one takes its seat. */
void gate_hang_up(struct o_gate *g, int client) {
    struct o_client *c = &g->clients[client];
    c->count = 0;
    c->session++;
    c->unanswered = 0;
    c->alone = false;
    c->first = c->seqs + 1;
}

void gate_give_back(struct o_gate *g, struct o_ask *ask, bool lost) {
    if (ask->pin) links_unpin(g, ask->pin);
    ask->pin = NULL;
    if (ask->client < 0) {
        links_answer(g, ask, lost);
    } else {
        struct o_client *c = &g->clients[ask->client];
        g->asks_out--;
        if (c->session == ask->session) {
            c->unanswered--;
            c->alone = false;
            if (lost) gate_hang_up(g, ask->client);
        }
    }
    ask_drop(ask);
}

void gate_own_answered(struct o_gate *g, const struct effect *effect) {
    struct o_ask *ask = g->own_asks.head;
    while (ask->effect != effect) ask = ask->next;
    lanes_unpin(&g->lanes, ask->effect);
    asks_remove(&g->own_asks, ask);
    gate_give_back(g, ask, false);
}

void gate_own_gone(struct o_gate *g, int64_t wire_id) {
    for (struct o_ask *next, *ask = g->own_asks.head; ask; ask = next) {
        next = ask->next;
        if (ask->wire_id != wire_id) continue;
        lanes_unpin(&g->lanes, ask->effect);
        asks_remove(&g->own_asks, ask);
        gate_give_back(g, ask, true);
    }
}

/* ---- what the lanes decide ---- */

static void to_primary(void *self, unsigned lane, struct lane_item *item, struct slice bytes, uint32_t replies, int32_t db, int32_t db_after) {
    struct o_gate *g = self;
    (void)db_after;
    struct message *m = wire_ask_in_db(g->wires[LANE_P][lane], db, bytes, replies);
    const struct o_ask *ask = item->kind == LANE_COMMAND ? item->client : NULL;
    if (!ask) return;
    m->client = ask->who;
    m->seq = ask->seq;
}

static void to_follower(void *self, unsigned lane, const struct lane_item *item) {
    struct o_gate *g = self;
    (void)wire_ask_in_db(g->wires[LANE_F][lane], item->db, lane_item_bytes(item), item->replies);
}

static void ended(struct o_gate *g, struct lane_item *item, bool lost) {
    struct o_ask *ask = item->client;
    item->client = NULL;
    if (!ask) return;
    asks_remove(&g->under_way, ask);
    gate_give_back(g, ask, lost);
}

static void answered(void *self, struct lane_item *item, struct slice answer) {
    (void)answer;
    ended(self, item, false);
}
static void nothing_there(void *self, struct lane_item *item) { ended(self, item, false); }
static void lost(void *self, struct lane_item *item) { ended(self, item, true); }
static void wrote(void *self, const struct effect *effect) { (void)self, (void)effect; }

static void scan(void *self, enum lane_side side, int32_t db, uint64_t cursor, uint64_t round) {
    struct o_gate *g = self;
    struct buf out = {0};
    char text[24];
    if (!g->scan[side]) return; /* the pass begins again when it is there */
    snprintf(text, sizeof text, "%" PRIu64, cursor);
    resp_write_words(&out, "SCAN", text, NULL);
    wire_ask_in_db(g->scan[side], db, buf_slice(&out), 1)->round = round;
    buf_close(&out);
}

const struct lanes_ops gate_ops = {to_primary, to_follower, answered, nothing_there, lost, wrote, scan};

void gate_over(void *self, struct lane_item *item) {
    links_unpin(self, item->pins);
    item->pins = NULL;
}

/* ---- whose it is ---- */

/* Its keys are pinned everywhere: the block may leave, unless its connection is gone. */
static void send_own(struct o_gate *g, struct o_ask *ask) {
    struct wire *wire = g->own[ask->client];
    if (!wire || wire->id != ask->wire_id || g->clients[ask->client].session != ask->session) {
        gate_give_back(g, ask, false);
        return;
    }
    lanes_pin(&g->lanes, ask->effect);
    struct message *m = wire_ask_in_db(wire, ask->effect->db, ask->effect->send, ask->effect->replies);
    m->own = ask->effect;
    m->client = ask->who;
    m->seq = ask->seq;
    asks_push(&g->own_asks, ask);
}

static void go(struct o_gate *g, struct o_ask *ask) {
    struct lanes_place place = {.lane = ask->lane, .pinned = ask->pin != NULL};
    struct lane_item *item = NULL;
    struct effect *effect = ask->effect;
    ask->effect = NULL;
    asks_push(&g->under_way, ask);
    enum lanes_take take = lanes_send(&g->lanes, &place, effect, ask, &item);
    ASSERT(take == LANES_SENT);
    item->pins = ask->pin;
    ask->pin = NULL;
}

static bool may_go(struct o_gate *g, const struct o_ask *ask) { return lane_may_send(&g->lanes.lane[ask->lane]) && !lanes_stops(&g->lanes, ask->effect); }

static void take_command(struct o_gate *g, struct o_ask *ask) {
    if (ask->own) send_own(g, ask);
    else if (!g->parked[ask->lane].head && may_go(g, ask)) go(g, ask);
    else asks_push(&g->parked[ask->lane], ask);
}

void gate_pinned(struct o_gate *g, struct o_pin *pin) {
    struct o_ask *ask = pin->ask;
    if (!ask || !links_are_acked(g, pin)) return;
    pin->ask = NULL;
    take_command(g, ask);
}

static void take(struct o_gate *g, struct o_ask *ask) {
    bool wide = ask->own ? g->slots->count > 1 : owners_are_several(g->slots, ask->effect, g->self);
    if (!wide || g->w->off[OFF_OWNER]) {
        take_command(g, ask);
        return;
    }
    ask->pin = links_pin(g, ask->effect, ask);
    if (!g->w->off[OFF_PIN_ACK]) return; /* gate_pinned() goes on */
    ask->pin->ask = NULL;
    take_command(g, ask);
}

void gate_route(struct o_gate *g, struct o_ask *ask) {
    struct owners_ask of = {ask->own, ask->client < 0, ask->version, ask->table, ask->home};
    unsigned home = 0;
    enum owners_way way = g->w->off[OFF_OWNER] && g->slots ? OWNERS_OURS : owners_route(g->slots, g->self, ask->effect, &of, &home);
    switch (way) {
    case OWNERS_LATER: asks_push(&g->early, ask); return;
    case OWNERS_OURS: take(g, ask); return;
    case OWNERS_NOBODY: gate_give_back(g, ask, false); return;
    case OWNERS_LOST: gate_give_back(g, ask, true); return;
    case OWNERS_FORWARD:
    default:
        g->w->figures[FIGURE_FORWARDED]++;
        links_forward(g, ask, home);
    }
}

/* ---- clients ---- */

static bool may_leave(const struct o_client *c, const struct effect *effect, bool own, bool wide, uint64_t place) {
    bool alone = own || effect->blocking || effect->barrier || wide;
    return c->unanswered == 0 || (!c->alone && !alone && place == c->place);
}

static bool send_first(struct o_gate *g, int client) {
    struct o_world *w = g->w;
    struct o_client *c = &g->clients[client];
    if (!g->slots || g->held) return false;
    struct effect *effect = command_prepare(&g->facts, &g->clock, c->queue[0].db, c->queue[0].text, c->queue[0].own);
    unsigned home = owners_home(g->slots, effect, g->self < g->slots->count ? g->self : g->slots->owner[0]);
    unsigned lane = lanes_home_of(w->lane_count, effect, (unsigned)(c->place & 0xff));
    uint64_t place = g->slots->version << 16 | home << 8 | lane;
    bool wide = owners_are_several(g->slots, effect, home), own = c->queue[0].own;
    if (!may_leave(c, effect, own, wide, place)) {
        effect_free(effect);
        return false;
    }
    struct o_ask *ask = NEW(struct o_ask);
    *ask = (struct o_ask){.gate = g, .db = c->queue[0].db, .own = own, .wire_id = c->queue[0].wire_id, .client = client,
                          .who = (int)g->number * OWNERS_CLIENTS + client, .session = c->session, .seq = c->queue[0].seq,
                          .version = g->slots->version, .table = g->slots, .home = home, .lane = lane, .effect = effect};
    memcpy(ask->text, c->queue[0].text, sizeof ask->text);
    c->place = place;
    c->alone = own || effect->blocking || effect->barrier || wide;
    c->unanswered++;
    g->asks_out++;
    c->count--;
    memmove(c->queue, c->queue + 1, sizeof *c->queue * (size_t)c->count);
    gate_route(g, ask);
    return true;
}

static void send_parked(struct o_gate *g, struct o_asks *parked) {
    while (parked->head && may_go(g, parked->head)) go(g, asks_pop(parked));
}

void gate_pump(struct o_gate *g) {
    for (unsigned i = 0; i < g->w->lane_count; i++) send_parked(g, &g->parked[i]);
    for (int i = 0; i < OWNERS_CLIENTS; i++)
        while (g->clients[i].count > 0 && send_first(g, i)) {}
}

static bool watch(struct o_gate *g, int client, int db, const char *text, int64_t *wire_id) {
    struct slice argv[12];
    struct buf out = {0};
    struct wire *wire = g->own[client];
    if (!wire) return false;
    (void)command_split(slice_text(text), argv);
    bool script = slice_equal(argv[0], SLICE("EVAL"));
    struct slice words[2] = {SLICE("WATCH"), argv[script ? 3 : 1]};
    resp_write_command(&out, 2, words);
    (void)wire_ask_in_db(wire, db, buf_slice(&out), 1);
    buf_close(&out);
    *wire_id = wire->id;
    return true;
}

void owners_issue(struct o_world *w, unsigned gate, int client, int db, const char *text, bool own) {
    struct o_gate *g = &w->gates[gate];
    struct o_client *c = &g->clients[client];
    int64_t wire_id = 0;
    if (!gate_runs(g) || c->count == OWNERS_WAITING) return;
    if (own && !watch(g, client, db, text, &wire_id)) return;
    OTALK("gate %u client %d db %d %s%s  clock %" PRId64 "\n", gate, client, db, text, own ? " (own connection)" : "", w->world_ms);
    int at = c->count++;
    c->queue[at].db = db;
    c->queue[at].own = own;
    c->queue[at].wire_id = wire_id;
    c->queue[at].seq = ++c->seqs;
    snprintf(c->queue[at].text, sizeof c->queue[at].text, "%s", text);
    gate_pump(g);
}

/* It waits for pins, or for an owner that cannot be reached: too long. Nothing was done. */
void owners_give_up(struct o_world *w, unsigned gate) {
    struct o_gate *g = &w->gates[gate];
    if (!gate_runs(g)) return;
    for (struct o_pin *pin = g->pins; pin; pin = pin->next) {
        struct o_ask *ask = pin->ask;
        if (!ask) continue;
        pin->ask = NULL;
        gate_give_back(g, ask, false); /* it unpins */
        break;
    }
    gate_pump(g);
}

/* ---- a table ---- */

/* It waits for a lane of ours, and its slot is another gate's now. */
static void lose_parked(struct o_gate *g, struct o_asks *parked) {
    for (struct o_ask *next, *ask = parked->head; ask; ask = next) {
        struct owners_ask of = {ask->own, ask->client < 0, ask->version, ask->table, ask->home};
        unsigned home = 0;
        next = ask->next;
        if (g->w->off[OFF_OWNER] || g->w->off[OFF_WAITING] || owners_route(g->slots, g->self, ask->effect, &of, &home) == OWNERS_OURS) continue;
        asks_remove(parked, ask);
        gate_give_back(g, ask, true);
    }
}

void gate_take_table(struct o_gate *g, const struct slot_table *table) {
    struct o_world *w = g->w;
    struct owners_news news;
    const struct slot_table *before = g->slots;
    bool first = before == NULL;
    struct o_asks early = g->early;
    if (!first && table->version <= g->slots->version) return;
    owners_read(&news, table, slice_text(g->name), first ? NULL : g->lanes.owned, first ? 0 : before->version, g->noted, g->recovered.found == JOURNAL_GOOD);
    OTALK("gate %u takes table %" PRIu64 ": it has %u of %u slots%s%s\n", g->number, table->version, news.count, LANE_SLOTS,
          news.gained ? ", gained" : "", news.trusted ? ", trusted" : "");
    g->slots = table;
    g->self = news.self;
    g->resting = false;
    lanes_rest(&g->lanes, false);
    if (news.missed && !w->off[OFF_MISSED]) lanes_own(&g->lanes, (uint64_t[LANE_SLOTS / 64]){0}, true, false);
    if (w->off[OFF_OWNER]) memset(news.owned, 0xff, sizeof news.owned);
    uint64_t carried[LANE_SLOTS / 64] = {0};
    if (carry_is_known(g, before, table, news.self, carried)) {
        lanes_own_carried(&g->lanes, news.owned, carried);
        carry_unpack(g, before, carried);
    } else {
        lanes_own(&g->lanes, news.owned, table->count > 1, news.trusted || (w->off[OFF_GAINED] && !first));
    }
    carry_end(g);
    if (news.gained && !news.trusted) g->noted = news.since;
    links_on_table(g, news.gained);
    for (unsigned i = 0; i < w->lane_count; i++) lose_parked(g, &g->parked[i]);
    g->early = (struct o_asks){0};
    for (struct o_ask *ask = asks_pop(&early); ask; ask = asks_pop(&early)) gate_route(g, ask);
    gate_pump(g);
}

/* ---- how it is ---- */

bool gate_has_held(const struct o_gate *g) {
    if (g->asks_out > 0 || g->own_asks.head) return false;
    for (const struct wire *wire = g->zombies; wire; wire = wire->next)
        if (wire->side == LANE_P) return false;
    return true;
}

bool gate_is_idle(const struct o_gate *g) {
    for (int i = 0; i < OWNERS_CLIENTS; i++)
        if (g->clients[i].count > 0) return false;
    return g->slots && g->asks_out == 0 && !g->own_asks.head && !g->under_way.head && !g->pins && !g->zombies && !g->held && !g->unsynced &&
           lanes_are_quiet(&g->lanes) && lanes_are_level(&g->lanes);
}

void gate_forget_all(struct o_gate *g) {
    for (unsigned i = 0; i < OWNERS_LANES; i++) drop_asks(&g->parked[i]);
    for (unsigned i = 0; i < OWNERS_GATES; i++) drop_asks(&g->forwarded[i]);
    for (struct o_pin *next, *pin = g->pins; pin; pin = next) {
        next = pin->next;
        if (pin->ask) ask_drop(pin->ask);
        buf_close(&pin->words);
        mem_free(pin);
    }
    g->pins = NULL;
    drop_asks(&g->early);
    drop_asks(&g->under_way);
    drop_asks(&g->own_asks);
    g->asks_out = 0;
    for (int i = 0; i < OWNERS_CLIENTS; i++) {
        gate_hang_up(g, i);
        g->clients[i].place = 0;
    }
}

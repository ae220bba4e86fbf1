/* peers.c -- other gateways: dialling them, asking them, pinning there. See peers.h; what they ask
 * of us is in peers_in.c. */
#include "gateway/peers_inside.h"

#include "lib/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define REDIAL_MS 100u

void peers_number(struct buf *out, uint64_t number) {
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRIu64, number);
    resp_write_text(out, text);
}

bool peers_read_number(struct slice text, uint64_t *number) {
    int64_t value = 0;
    if (!slice_to_int(text, &value) || value < 0) return false;
    *number = (uint64_t)value;
    return true;
}

const struct slot_table *peers_table(const struct peers *p) {
    return p->dual->table_of_slots;
}

/* ---- what is asked ---- */

static void tell_ask(struct peer *peer, struct ask *ask) {
    struct buf out = {0};
    peers_begin(&out, "DO", 8);
    peers_number(&out, ask->far_id);
    peers_number(&out, ask->version);
    peers_number(&out, ask->lane);
    peers_number(&out, (uint64_t)ask->db);
    peers_number(&out, ask->proto);
    peers_number(&out, ask->block_count);
    peers_number(&out, ask->epoch);
    resp_write_bulk(&out, buf_slice(&ask->request));
    stream_write_buf(peer->stream, &out);
    buf_close(&out);
    ask->told = true;
}

static struct peer *find_peer(const struct peers *p, const char *name) {
    LIST_EACH(&p->out, at) {
        struct peer *peer = LIST_OWNER(at, struct peer, link);
        if (strcmp(peer->name, name) == 0) return peer;
    }
    return NULL;
}

void peers_forward(struct peers *p, struct ask *ask, unsigned home) {
    struct peer *peer = find_peer(p, peers_table(p)->gateway[home].name);
    ASSERT(peer != NULL); /* all of the table but ourselves */
    ask->far_id = ++p->next_id;
    ask->told = false;
    ask->parked_at_us = p->dual->worker->now_us;
    list_push(&peer->asks, &ask->link);
    p->dual->forwarded++;
    if (peer->greeted) tell_ask(peer, ask);
}

static void give_back(struct peers *p, struct ask *ask, enum ask_end end) {
    list_remove(&ask->link);
    ask->end = end;
    ask_give_back(p->dual->worker, ask);
}

/* Of what was not told nothing was done; and yet its client's place in the order is lost. */
static void lose_asks(struct peer *peer, bool all) {
    for (struct list *next, *at = peer->asks.next; at != &peer->asks; at = next) {
        next = at->next;
        struct ask *ask = LIST_OWNER(at, struct ask, link);
        if (all || ask->told) give_back(peer->peers, ask, ASK_LOST);
    }
}

static struct ask *find_told(struct peers *p, const struct ask *what, struct peer **peer) {
    LIST_EACH(&p->out, at) {
        *peer = LIST_OWNER(at, struct peer, link);
        LIST_EACH(&(*peer)->asks, on) {
            struct ask *ask = LIST_OWNER(on, struct ask, link);
            if (ask->id == what->id && ask->origin == what->origin) return ask;
        }
    }
    return NULL;
}

void peers_unblock(struct peers *p, const struct ask *what) {
    struct peer *peer = NULL;
    const struct ask *ask = find_told(p, what, &peer);
    if (ask == NULL || !ask->told) return;
    struct buf out = {0};
    peers_begin(&out, "UNBLOCK", 2);
    peers_number(&out, ask->far_id);
    peers_number(&out, what->with_error);
    stream_write(peer->stream, buf_slice(&out));
    buf_close(&out);
}

void peers_cancel(struct peers *p, const struct ask *cancel) {
    struct peer *peer = NULL;
    struct ask *ask = find_told(p, cancel, &peer);
    if (ask == NULL) return;
    if (!ask->told) {
        give_back(p, ask, ASK_LOST);
        return;
    }
    struct buf out = {0};
    peers_begin(&out, "CANCEL", 1);
    peers_number(&out, ask->far_id);
    stream_write(peer->stream, buf_slice(&out));
    buf_close(&out);
}

/* ---- pins ---- */

static void tell_pin(struct peer *peer, const struct far_pin *pin) {
    struct buf out = {0};
    peers_begin(&out, "PIN", 2 + pin->count);
    peers_number(&out, pin->id);
    peers_number(&out, pin->epoch);
    buf_add(&out, buf_slice(&pin->words));
    stream_write(peer->stream, buf_slice(&out));
    buf_close(&out);
}

static void look_at_pin(struct peers *p, struct far_pin *pin) {
    if (pin->done == NULL) return;
    LIST_EACH(&p->out, at)
    if ((pin->acked & (UINT32_C(1) << LIST_OWNER(at, struct peer, link)->bit)) == 0) return;
    void (*done)(struct dual * dual, struct ask * ask) = pin->done;
    pin->done = NULL;
    done(p->dual, pin->ask);
}

static void look_at_pins(struct peers *p) {
    for (struct list *next, *at = p->pins.next; at != &p->pins; at = next) {
        next = at->next;
        look_at_pin(p, LIST_OWNER(at, struct far_pin, link));
    }
}

struct far_pin *peers_pin(struct peers *p, const struct effect *e, struct ask *ask,
                          void (*done)(struct dual *dual, struct ask *ask)) {
    struct far_pin *pin = NEW(struct far_pin);
    pin->id = ++p->next_id;
    pin->ask = ask;
    pin->done = done;
    pin->since_us = p->dual->worker->now_us;
    /* That in which it will leave; this loop may not have been released yet. */
    pin->epoch = ask->epoch > p->dual->worker->epoch ? ask->epoch : p->dual->worker->epoch;
    resp_write_text(&pin->words, e->keys_unknown || e->barrier ? "all" : "some");
    pin->count = 1;
    for (size_t i = 0; i < e->key_count; i++) {
        if ((e->keys[i].use & EFFECT_WRITE) == 0) continue;
        peers_number(&pin->words, (uint64_t)e->keys[i].db);
        resp_write_bulk(&pin->words, e->keys[i].name);
        pin->count += 2;
    }
    list_push(&p->pins, &pin->link);
    p->dual->pins_elsewhere++;
    LIST_EACH(&p->out, at) {
        struct peer *peer = LIST_OWNER(at, struct peer, link);
        if (peer->greeted) tell_pin(peer, pin);
    }
    return pin;
}

void peers_unpin(struct peers *p, struct far_pin *pin) {
    struct buf out = {0};
    peers_begin(&out, "UNPIN", 1);
    peers_number(&out, pin->id);
    LIST_EACH(&p->out, at) {
        struct peer *peer = LIST_OWNER(at, struct peer, link);
        if (peer->greeted) stream_write(peer->stream, buf_slice(&out));
    }
    buf_close(&out);
    list_remove(&pin->link);
    buf_close(&pin->words);
    mem_free(pin);
}

static void on_pinned(struct peer *peer, uint64_t id) {
    LIST_EACH(&peer->peers->pins, at) {
        struct far_pin *pin = LIST_OWNER(at, struct far_pin, link);
        if (pin->id != id) continue;
        pin->acked |= UINT32_C(1) << peer->bit;
        look_at_pin(peer->peers, pin);
        return;
    }
}

/* All that may still be executed is pinned: what this process sent, and nothing of the one before
 * it is left. */
static void say_synced(struct peer *peer) {
    struct peers *p = peer->peers;
    const struct slot_table *table = peers_table(p);
    if (!peer->greeted || peer->synced == table->version || !dual_is_settled(p->dual)) return;
    LIST_EACH(&p->pins, at) tell_pin(peer, LIST_OWNER(at, struct far_pin, link));
    struct buf out = {0};
    peers_begin(&out, "SYNCED", 1);
    peers_number(&out, table->version);
    stream_write(peer->stream, buf_slice(&out));
    buf_close(&out);
    peer->synced = table->version;
}

/* ---- what is answered ---- */

static struct ask *find_ask(struct peer *peer, uint64_t id) {
    LIST_EACH(&peer->asks, at) {
        struct ask *ask = LIST_OWNER(at, struct ask, link);
        if (ask->far_id == id && ask->told) return ask;
    }
    return NULL;
}

static void on_greeted(struct peer *peer) {
    peer->greeted = true;
    log_info("peer.up", LOG_S("gateway", peer->name));
    LIST_EACH(&peer->peers->pins, at) tell_pin(peer, LIST_OWNER(at, struct far_pin, link));
    LIST_EACH(&peer->asks, at) tell_ask(peer, LIST_OWNER(at, struct ask, link));
    say_synced(peer);
}

/* Only what blocks can have waited there while the slot went to somebody else. */
static bool on_moved(struct peer *peer, struct ask *ask, struct slice version) {
    uint64_t number = 0;
    if (!peers_read_number(version, &number)) return false;
    if (ask == NULL) return true;
    if (ask->block_count > 0 || buf_size(&ask->request) == 0) return false;
    list_remove(&ask->link);
    dual_ask_moved(peer->peers->dual, ask, number);
    return true;
}

static bool on_message(struct peer *peer, size_t argc, const struct slice *argv) {
    uint64_t id = 0;
    if (!peer->greeted) {
        if (argc != 1 || !slice_equal(argv[0], SLICE("OK"))) return false;
        on_greeted(peer);
        return true;
    }
    if (argc < 2 || argv[0].size != 1 || !peers_read_number(argv[1], &id)) return false;
    if (argv[0].data[0] == 'P') {
        on_pinned(peer, id);
        return true;
    }
    if (argv[0].data[0] == 'F') {
        if (id == peer->fence) peer->fence = 0;
        return true;
    }
    if (argv[0].data[0] == 'C') { /* of an earlier hand-over: it does not count */
        if (id == peer->carried) peer->carried = 0;
        return true;
    }
    struct ask *ask = find_ask(peer, id);
    if (argv[0].data[0] == 'M') return argc == 3 && on_moved(peer, ask, argv[2]);
    bool answered = argv[0].data[0] == 'A' && argc == 3;
    if (!answered && argv[0].data[0] != 'L') return false;
    if (ask == NULL) return true; /* cancelled */
    if (answered) buf_add(&ask->answer, argv[2]);
    give_back(peer->peers, ask, answered ? ASK_ANSWERED : ASK_LOST);
    return true;
}

const struct resp_request_limits peers_limits = {.args_max = 1u << 20,
                                                 .bulk_bytes_max = PEERS_BYTES_MAX,
                                                 .total_bytes_max = PEERS_BYTES_MAX,
                                                 .authenticated = true};

static void on_bytes(void *self, struct slice bytes) {
    struct peer *peer = self;
    struct worker *w = peer->peers->dual->worker;
    worker_begin(w);
    buf_add(&peer->in, bytes);
    while (buf_size(&peer->in) > 0) {
        struct why why = {0};
        size_t used = 0;
        enum step step =
            resp_request_next(&peer->request, &peers_limits, buf_slice(&peer->in), &used, &why);
        if (step == STEP_MORE) break;
        if (step == STEP_FAIL || !on_message(peer, peer->request.argc, peer->request.argv)) {
            log_warn("peer.protocol", LOG_S("gateway", peer->name),
                     LOG_SL("word", peer->request.argc ? peer->request.argv[0] : SLICE("")));
            stream_abort(peer->stream);
            break;
        }
        buf_consume(&peer->in, used);
    }
    worker_run_ready(w);
}

/* ---- connections ---- */

static void on_open(void *self) {
    struct peer *peer = self;
    struct worker *w = peer->peers->dual->worker;
    struct buf out = {0};
    peers_begin(&out, "HELLO", 2);
    resp_write_text(&out, w->gw->name);
    peers_number(&out, peer->peers->dual->lanes.count);
    stream_write(peer->stream, buf_slice(&out));
    buf_close(&out);
}

static void forget_connection(struct peer *peer) {
    peer->stream = NULL;
    peer->greeted = false;
    peer->synced = peer->carried = peer->fence = 0;
    buf_close(&peer->in);
    resp_request_close(&peer->request);
    peer->request = (struct resp_request){0};
    peer->redial_at_ms = loop_now_ms(peer->peers->dual->worker->loop) + REDIAL_MS;
}

static void on_closed(void *self, enum err err, const struct why *why) {
    struct peer *peer = self;
    struct worker *w = peer->peers->dual->worker;
    worker_begin(w);
    if (peer->greeted) log_warn("peer.lost", LOG_S("gateway", peer->name), LOG_WHY(why));
    (void)err;
    forget_connection(peer);
    lose_asks(peer, false);
    worker_run_ready(w);
}

static const struct stream_events events = {
    .on_open = on_open, .on_bytes = on_bytes, .on_closed = on_closed};

static void dial(struct peer *peer) {
    struct endpoint to = {0};
    struct why why;
    const struct worker *w = peer->peers->dual->worker;
    if (endpoint_parse(&to, peer->address, 0, &why) != OK) return; /* state passes on what it got */
    tls_options_copy(&to.tls, &w->gw->config->gateway.peer.endpoint.tls);
    peer->stream = stream_dial(w->loop, &to, NULL, &events, peer);
    endpoint_close(&to);
}

/* Its connections to both sides are known to be gone, or it never comes back under this name. */
static void peer_free(struct peer *peer) {
    if (peer->stream != NULL) stream_drop(peer->stream);
    forget_connection(peer);
    lose_asks(peer, true);
    peer->peers->bits &= ~(UINT32_C(1) << peer->bit);
    LIST_EACH(&peer->peers->pins, at)
    LIST_OWNER(at, struct far_pin, link)->acked &= ~(UINT32_C(1) << peer->bit);
    list_remove(&peer->link);
    mem_free(peer);
}

static void add_peer(struct peers *p, const struct slot_table_gateway *g) {
    struct peer *peer = NEW(struct peer);
    peer->peers = p;
    list_init(&peer->asks);
    memcpy(peer->name, g->name, sizeof peer->name);
    memcpy(peer->address, g->peer, sizeof peer->address);
    while (p->bits & (UINT32_C(1) << peer->bit)) peer->bit++; /* 31 others at most */
    p->bits |= UINT32_C(1) << peer->bit;
    list_push(&p->out, &peer->link);
    dial(peer);
}

/* ---- the table ---- */

static bool is_known(const struct slot_table *table, const char *name, const char *address) {
    unsigned at = slot_table_find(table, slice_text(name));
    return at < table->count && (address == NULL || strcmp(table->gateway[at].peer, address) == 0);
}

static void update_out(struct peers *p, const struct slot_table *table) {
    for (struct list *next, *at = p->out.next; at != &p->out; at = next) {
        next = at->next;
        struct peer *peer = LIST_OWNER(at, struct peer, link);
        if (!is_known(table, peer->name, peer->address)) peer_free(peer);
    }
    for (unsigned i = 0; i < table->count; i++) {
        bool self = strcmp(table->gateway[i].name, p->dual->worker->gw->name) == 0;
        if (!self && find_peer(p, table->gateway[i].name) == NULL) add_peer(p, &table->gateway[i]);
    }
}

/* Whether it has all slots that it had. */
static bool take_slots(struct peer *peer, const struct slot_table *table) {
    uint64_t owns[LANE_SLOTS / 64] = {0};
    unsigned self = slot_table_find(table, slice_text(peer->name));
    bool kept = true;
    for (unsigned slot = 0; slot < LANE_SLOTS; slot++)
        if (table->owner[slot] == self) owns[slot / 64] |= UINT64_C(1) << (slot % 64);
    for (unsigned i = 0; i < LANE_SLOTS / 64; i++) kept = kept && (peer->owns[i] & ~owns[i]) == 0;
    memcpy(peer->owns, owns, sizeof owns);
    return kept;
}

/* What waits for a gateway that has lost slots meanwhile must not overtake anything: only what blocks, for
 * its client has nothing else under way, goes where it belongs now. */
static void update_asks(struct peers *p) {
    struct list again;
    list_init(&again);
    LIST_EACH(&p->out, at) {
        struct peer *peer = LIST_OWNER(at, struct peer, link);
        bool kept = take_slots(peer, peers_table(p));
        for (struct list *next, *on = peer->asks.next; !kept && on != &peer->asks; on = next) {
            next = on->next;
            if (LIST_OWNER(on, struct ask, link)->told) continue;
            list_remove(on);
            list_push(&again, on);
        }
        say_synced(peer);
    }
    for (struct list *link; (link = list_pop(&again)) != NULL;) {
        struct ask *ask = LIST_OWNER(link, struct ask, link);
        ask->end = ASK_LOST;
        if (ask->kind == ASK_DO && ask->block_count == 0 && buf_size(&ask->request) > 0)
            dual_ask_moved(p->dual, ask, peers_table(p)->version);
        else
            ask_give_back(p->dual->worker, ask);
    }
}

void peers_look(struct peers *p) {
    struct lanes *lanes = &p->dual->lanes;
    bool unsynced =
        !holders_are_known(&p->holders, peers_table(p), p->dual->worker->gw->name, p->gained);
    if (unsynced == p->unsynced) return;
    p->unsynced = unsynced;
    for (unsigned i = 0; i < lanes->count; i++) {
        if (unsynced)
            lane_buried(&lanes->lane[i], LANE_P);
        else
            lane_primary_gone(&lanes->lane[i]);
    }
}

void peers_on_table(struct peers *p, bool gained) {
    const struct slot_table *table = peers_table(p);
    if (gained) p->gained = table->version;
    for (struct list *next, *at = p->holders.list.next; at != &p->holders.list; at = next) {
        next = at->next;
        struct holder *h = LIST_OWNER(at, struct holder, link);
        if (is_known(table, h->name, NULL)) continue;
        peers_holder_gone(p, h);
    }
    update_out(p, table);
    update_asks(p);
    look_at_pins(p);
    peers_look(p);
}

static void fail_late(struct peers *p, struct peer *peer) {
    const struct worker *w = p->dual->worker;
    uint64_t limit_us = (uint64_t)w->gw->config->cutover.max_blackout * 1000;
    if (w->end.on) limit_us = 500000;
    while (!list_is_empty(&peer->asks)) {
        struct ask *ask = LIST_OWNER(peer->asks.next, struct ask, link);
        if (ask->told || w->now_us - ask->parked_at_us <= limit_us) return;
        buf_add(&ask->answer,
                SLICE("-TRYAGAIN drawbridge: the gateway that owns this slot could not "
                      "be reached in time; nothing was sent\r\n"));
        give_back(p, ask, ASK_ANSWERED);
    }
}

/* Somebody could not be reached for so long: its command has not left, and does not. */
static void fail_pins(struct peers *p) {
    const struct worker *w = p->dual->worker;
    uint64_t limit_us = (uint64_t)w->gw->config->cutover.max_blackout * 1000;
    for (struct list *next, *at = p->pins.next; at != &p->pins; at = next) {
        next = at->next;
        struct far_pin *pin = LIST_OWNER(at, struct far_pin, link);
        if (pin->done == NULL || w->now_us - pin->since_us <= limit_us) continue;
        pin->done = NULL;
        dual_ask_unpinned(p->dual, pin->ask);
    }
}

void peers_tick(struct peers *p) {
    uint64_t now_ms = loop_now_ms(p->dual->worker->loop);
    fail_pins(p);
    LIST_EACH(&p->out, at) {
        struct peer *peer = LIST_OWNER(at, struct peer, link);
        if (peer->stream == NULL && now_ms >= peer->redial_at_ms) dial(peer);
        say_synced(peer);
        fail_late(p, peer);
    }
}

void peers_reload_tls(struct peers *p) {
    struct why why;
    if (p->listener == NULL || !listener_endpoint(p->listener)->tls.on) return;
    if (listener_reload_tls(p->listener, &why) != OK)
        log_error("peer.tls_not_reloaded", LOG_WHY(&why));
}

enum err peers_open(struct peers **peers, struct dual *d, struct why *why) {
    struct peers *p = NEW(struct peers);
    const struct endpoint *at = &d->worker->gw->config->gateway.peer.endpoint;
    p->dual = d;
    list_init(&p->out);
    list_init(&p->visitors);
    holders_init(&p->holders, &d->lanes, peers_on_unpinned, d);
    list_init(&p->pins);
    list_init(&p->parcels);
    enum err err = OK;
    if (at->kind != ENDPOINT_NONE)
        err = listener_open(&p->listener, d->worker->loop, at, NULL, peers_on_visit, p, why);
    if (err != OK) {
        mem_free(p);
        return err;
    }
    *peers = p;
    return OK;
}

static bool has_told(const struct peer *peer) {
    LIST_EACH(&peer->asks, at)
    if (LIST_OWNER(at, struct ask, link)->told) return true;
    return false;
}

void peers_fence(struct peers *p) {
    LIST_EACH(&p->out, at) {
        struct peer *peer = LIST_OWNER(at, struct peer, link);
        peer->fence = 0;
        if (!has_told(peer)) continue;
        struct buf out = {0};
        peer->fence = ++p->next_id;
        peers_begin(&out, "FENCE", 1);
        peers_number(&out, peer->fence);
        stream_write(peer->stream, buf_slice(&out));
        buf_close(&out);
    }
}

bool peers_are_fenced(const struct peers *p) {
    LIST_EACH(&p->out, at)
    if (LIST_OWNER(at, struct peer, link)->fence != 0) return false;
    return true;
}

/* While all gateways hold, what is not answered only waits: peers_are_fenced(). */
void peers_retire(struct peers *p) {
    LIST_EACH(&p->out, at) {
        struct peer *peer = LIST_OWNER(at, struct peer, link);
        for (struct list *next, *on = peer->asks.next; on != &peer->asks; on = next) {
            struct ask *ask = LIST_OWNER(on, struct ask, link);
            next = on->next;
            if (!p->dual->worker->held || ask->kind != ASK_DO || ask->block_count > 0) continue;
            list_remove(&ask->link);
            dual_ask_elsewhere(p->dual, ask);
        }
    }
    while (!list_is_empty(&p->visitors))
        visitor_leave(LIST_OWNER(p->visitors.next, struct visitor, link));
}

void peers_close(struct peers *p) {
    if (p == NULL) return;
    peers_drop_parcels(p);
    listener_close(p->listener);
    while (!list_is_empty(&p->visitors))
        visitor_close(LIST_OWNER(p->visitors.next, struct visitor, link));
    while (!list_is_empty(&p->out)) peer_free(LIST_OWNER(p->out.next, struct peer, link));
    holders_close(&p->holders);
    for (struct list *link; (link = list_pop(&p->pins)) != NULL;) {
        struct far_pin *pin = LIST_OWNER(link, struct far_pin, link);
        buf_close(&pin->words);
        mem_free(pin);
    }
    mem_free(p);
}

/* dual_asks.c -- dual write: what clients of other loops ask of the lanes. See far.h. */
#include "gateway/blocked.h"
#include "gateway/dual_inside.h"
#include "gateway/dual_witness.h"
#include "gateway/peers.h"

#define STOPPED_MAX 64u

/* ---- a command ---- */

static void give_back(struct dual *d, struct ask *ask, enum ask_end end) {
    ask->end = end;
    ask_give_back(d->worker, ask);
}

/* Until this loop has been released, too, it would go to the old primary side (C23). */
static bool is_early(const struct dual *d, const struct ask *ask) {
    if (ask->from_peer) return ask->epoch > d->worker->epoch; /* which says which side, too */
    return ask->side != d->worker->side || ask->epoch != d->worker->epoch;
}

static bool may_go(const struct dual *d, const struct ask *ask) {
    const struct backend *b = d->line[LANE_P][ask->lane].backend;
    if (is_early(d, ask)) return false;
    if (ask->kind == ASK_PIN) return true;
    return b != NULL && lane_may_send(&d->lanes.lane[ask->lane]) &&
           backend_queued_bytes(b) <= BACKEND_QUEUE_HIGH_BYTES;
}

/* C10a, and C21: the connection is named before its first write. */
static void pin(struct dual *d, struct ask *ask) {
    if (ask->opened) d->table.opened(d->table.self, LANE_P, ask->server_id, ask->run_id);
    lanes_pin(&d->lanes, ask->effect);
    give_back(d, ask, ASK_ANSWERED);
}

static void go(struct dual *d, struct ask *ask) {
    if (ask->kind == ASK_PIN) {
        pin(d, ask);
        return;
    }
    if (dual_reads_canary_ask(d, ask)) return;
    struct lanes_place place = {.lane = ask->lane, .pinned = ask->pin != NULL};
    struct lane_item *item = NULL;
    struct effect *effect = ask->effect;
    ask->effect = NULL;
    d->sending = ask;
    enum lanes_take take = lanes_send(&d->lanes, &place, effect, ask, &item);
    d->sending = NULL;
    ASSERT(take == LANES_SENT);
    item->far = true;
    item->pins = ask->pin; /* over when the command is: lanes->over */
    ask->pin = NULL;
}

/* It is tried when the turn ends, as if something had woken it (C17). */
static void wait_begin(struct dual *d, struct ask *ask) {
    struct dual_wait *wait = NEW(struct dual_wait);
    wait->ask = ask;
    wait->db = ask->db;
    wait->proto = ask->proto;
    wait->request = ask->request;
    ask->request = (struct buf){0};
    wait->keys = ask->effect;
    ask->effect = NULL;
    wait->deadline_us = ask->deadline_us;
    list_push(&d->waits, &wait->link);
    d->wait_count++;
    d->waits_next_us = 0;
    ask->wait = wait;
}

static void park(struct dual *d, struct ask *ask) {
    ask->parked_at_us = d->worker->now_us;
    list_push(&d->parked[ask->lane], &ask->link);
}

static void take_command(struct dual *d, struct ask *ask) {
    ASSERT(ask->lane < d->lanes.count);
    if (ask->kind == ASK_DO && ask->effect->blocking)
        wait_begin(d, ask);
    else if (list_is_empty(&d->parked[ask->lane]) && may_go(d, ask) &&
             (ask->kind != ASK_DO || !lanes_stops(&d->lanes, ask->effect)))
        go(d, ask);
    else
        park(d, ask);
}

/* Whose earlier ask waits for a big key that is being copied: the client keeps its order (C14a). */
struct stopped {
    const struct ask *asks[STOPPED_MAX];
    unsigned count;
};

static bool is_stopped(struct dual *d, struct stopped *s, const struct ask *ask) {
    for (unsigned i = 0; i < s->count; i++)
        if (s->asks[i]->origin == ask->origin && s->asks[i]->client == ask->client) return true;
    if (ask->kind != ASK_DO || !lanes_stops(&d->lanes, ask->effect)) return false;
    s->asks[s->count++] = ask;
    return true;
}

static void send_parked(struct dual *d, struct list *parked) {
    struct stopped stopped = {.count = 0};
    for (struct list *next, *at = parked->next; at != parked; at = next) {
        struct ask *ask = LIST_OWNER(at, struct ask, link);
        next = at->next;
        if (!may_go(d, ask) || stopped.count == STOPPED_MAX) return;
        if (is_stopped(d, &stopped, ask)) continue;
        list_remove(&ask->link);
        go(d, ask);
    }
}

void dual_asks_turn(struct dual *d) {
    if (d->peers != NULL) peers_turn(d->peers);
    for (unsigned i = 0; i < d->lanes.count; i++) send_parked(d, &d->parked[i]);
}

static void try_again(struct dual *d, struct ask *ask) {
    if (ask->pin != NULL) peers_unpin(d->peers, ask->pin);
    ask->pin = NULL;
    if (ask->kind == ASK_PIN) { /* nothing is pinned here either */
        give_back(d, ask, ASK_LOST);
        return;
    }
    buf_add(&ask->answer, SLICE("-TRYAGAIN drawbridge: the primary side could not be used in time; "
                                "nothing was sent\r\n"));
    give_back(d, ask, ASK_ANSWERED);
}

void dual_ask_unpinned(struct dual *d, struct ask *ask) {
    if (ask->wait == NULL) {
        try_again(d, ask);
        return;
    }
    dual_ask_tried(d, ask, NULL);
    if (ask->wait->cancelled) {
        ask->wait->trying = false;
        dual_wait_cancel(d, ask->wait);
    } else {
        dual_wait_on(d, ask->wait);
    }
}

void dual_ask_tried(struct dual *d, struct ask *ask, struct lane_item *item) {
    if (ask->pin == NULL) return;
    if (item != NULL)
        item->pins = ask->pin;
    else
        peers_unpin(d->peers, ask->pin);
    ask->pin = NULL;
}

#define END_US 500000u /* for what has not left when the process is to end (drain.h) */

/* Nothing was done, and its client may ask again: it is hung up on. */
static void lose(struct dual *d, struct ask *ask) {
    if (ask->pin != NULL) peers_unpin(d->peers, ask->pin);
    ask->pin = NULL;
    give_back(d, ask, ASK_LOST);
}

void dual_asks_tick(struct dual *d) {
    bool ends = d->worker->end.on;
    uint64_t limit_us = ends ? END_US : (uint64_t)d->worker->gw->config->cutover.max_blackout * 1000;
    for (unsigned i = 0; i < d->lanes.count; i++) {
        while (!list_is_empty(&d->parked[i])) {
            struct ask *ask = LIST_OWNER(d->parked[i].next, struct ask, link);
            if (d->worker->now_us - ask->parked_at_us <= limit_us) break;
            list_remove(&ask->link);
            if (ends)
                lose(d, ask);
            else
                try_again(d, ask);
        }
    }
}

/* ---- its answer ---- */

void dual_ask_answered(struct dual *d, struct lane_item *item, struct slice answer) {
    struct ask *ask = item->client;
    struct buf scratch = {0};
    if (ask == NULL) return;
    item->client = NULL;
    if (ask->wait != NULL) dual_wait_free(d, ask->wait);
    buf_add(&ask->answer, effect_answer(item->effect, answer, &scratch));
    buf_close(&scratch);
    give_back(d, ask, ASK_ANSWERED);
}

void dual_ask_nothing(struct dual *d, struct lane_item *item) {
    struct ask *ask = item->client;
    if (ask == NULL || ask->wait == NULL) return;
    if (!ask->wait->cancelled) {
        dual_wait_on(d, ask->wait);
        return;
    }
    dual_wait_free(d, ask->wait);
    give_back(d, ask, ASK_LOST);
}

void dual_ask_lost(struct dual *d, struct lane_item *item) {
    struct ask *ask = item->client;
    if (ask == NULL) return;
    item->client = NULL;
    if (ask->wait != NULL) dual_wait_free(d, ask->wait);
    give_back(d, ask, ASK_LOST);
}

void dual_ask_over(struct dual *d, struct dual_wait *wait, struct slice answer) {
    struct ask *ask = wait->ask;
    dual_wait_free(d, wait);
    buf_add(&ask->answer, answer);
    give_back(d, ask, ASK_ANSWERED);
}

/* Nobody waits for it any more. One that is being tried is let go when it is answered. */
static void cancel(struct dual *d, const struct ask *what) {
    LIST_EACH(&d->waits, at) {
        struct dual_wait *wait = LIST_OWNER(at, struct dual_wait, link);
        struct ask *ask = wait->ask;
        if (ask == NULL || ask->id != what->id || ask->origin != what->origin) continue;
        dual_wait_cancel(d, wait);
        return;
    }
}

/* One that waits for a table: nothing was done. */
static void cancel_early(struct dual *d, const struct ask *what) {
    LIST_EACH(&d->early, at) {
        struct ask *ask = LIST_OWNER(at, struct ask, link);
        if (ask->kind != ASK_DO || ask->id != what->id || ask->origin != what->origin) continue;
        list_remove(&ask->link);
        give_back(d, ask, ASK_LOST);
        return;
    }
}

static void unblock(struct dual *d, const struct ask *what) {
    LIST_EACH(&d->waits, at) {
        struct dual_wait *wait = LIST_OWNER(at, struct dual_wait, link);
        const struct ask *ask = wait->ask;
        if (ask == NULL || ask->id != what->id || ask->origin != what->origin) continue;
        dual_wait_unblock(d, wait, what->with_error);
        return;
    }
    if (d->peers != NULL) peers_unblock(d->peers, what);
}

void dual_wait_cancel(struct dual *d, struct dual_wait *wait) {
    struct ask *ask = wait->ask;
    wait->cancelled = true;
    if (wait->trying) return;
    dual_wait_free(d, wait);
    give_back(d, ask, ASK_LOST);
}

void dual_ask_orphaned(struct dual *d, struct ask *ask) {
    if (ask->wait != NULL) dual_wait_cancel(d, ask->wait);
}

/* ---- whose it is ---- */

static void on_pinned(struct dual *d, struct ask *ask) {
    take_command(d, ask);
}

/* Ours; what it may write elsewhere is pinned there first. */
static void take(struct dual *d, struct ask *ask) {
    const struct slot_table *table = d->table_of_slots;
    ASSERT(table != NULL); /* else owners_route() says that it has to wait */
    bool all = ask->kind == ASK_PIN && table->count > 1;
    bool wide =
        ask->kind == ASK_DO && !ask->effect->blocking && owners_are_several(table, ask->effect, d->self);
    if (all || wide)
        ask->pin = peers_pin(d->peers, ask->effect, ask, on_pinned);
    else
        take_command(d, ask);
}

static void route(struct dual *d, struct ask *ask) {
    const struct slot_table *table = d->table_of_slots;
    if (ask->from_peer && d->worker->end.on) { /* nothing was done; its client may ask again */
        give_back(d, ask, ASK_LOST);
        return;
    }
    if (table == NULL && d->worker->gw->standalone) {
        take_command(d, ask);
        return;
    }
    struct owners_ask of = {ask->kind == ASK_PIN, ask->from_peer, ask->version, ask->table, ask->home};
    unsigned home = 0;
    switch (owners_route(table, d->self, ask->effect, &of, &home)) {
    case OWNERS_LATER: list_push(&d->early, &ask->link); return;
    case OWNERS_OURS: take(d, ask); return;
    case OWNERS_NOBODY: try_again(d, ask); return;
    case OWNERS_LOST: give_back(d, ask, ASK_LOST); return;
    case OWNERS_FORWARD:
    default:
        effect_free(ask->effect);
        ask->effect = NULL;
        peers_forward(d->peers, ask, home);
    }
}

/* It waits for a lane of ours, and its slot is another gateway's now: it must not leave (C10). */
static bool is_lost(const struct dual *d, const struct ask *ask) {
    struct owners_ask of = {ask->kind == ASK_PIN, ask->from_peer, ask->version, ask->table, ask->home};
    unsigned home = 0;
    return owners_route(d->table_of_slots, d->self, ask->effect, &of, &home) != OWNERS_OURS;
}

static void lose_parked(struct dual *d, struct list *parked) {
    for (struct list *next, *at = parked->next; at != parked; at = next) {
        struct ask *ask = LIST_OWNER(at, struct ask, link);
        next = at->next;
        if (!is_lost(d, ask)) continue;
        list_remove(&ask->link);
        if (ask->pin != NULL) peers_unpin(d->peers, ask->pin);
        ask->pin = NULL;
        give_back(d, ask, ASK_LOST);
    }
}

void dual_ask_again(struct dual *d, struct ask *ask) {
    struct effect_facts facts = dual_facts(d->worker);
    struct resp_request r = {0};
    struct why why;
    size_t used = 0;
    enum step step = resp_request_next(&r, &resp_request_limits_open, buf_slice(&ask->request),
                                       &used, &why);
    ASSERT(step == STEP_DONE); /* we wrote it ourselves */
    const struct command *command = command_lookup(r.argc, r.argv);
    struct buf rest = {0};
    effect_free(ask->effect);
    ask->effect = effect_new(&facts, ask->db, command, r.argc, r.argv);
    blocked_write_rest(command, &r, ask->deadline_us, d->worker->now_us, &rest);
    resp_request_close(&r);
    buf_close(&ask->request);
    ask->request = rest;
    ask->table = NULL; /* its client has nothing else under way */
    ask->version = d->table_of_slots->version;
    ask->told = false;
    if (ask->effect->blocking)
        route(d, ask);
    else
        give_back(d, ask, ASK_LOST); /* a peer that errs: it may have been done */
}

void dual_ask_moved(struct dual *d, struct ask *ask, uint64_t version) {
    if (version <= d->table_of_slots->version)
        dual_ask_again(d, ask);
    else
        list_push(&d->early, &ask->link);
}

void dual_asks_on_table(struct dual *d) {
    struct list early;
    for (unsigned i = 0; i < d->lanes.count; i++) lose_parked(d, &d->parked[i]);
    list_init(&early);
    list_move(&early, &d->early);
    for (struct list *link; (link = list_pop(&early)) != NULL;) {
        struct ask *ask = LIST_OWNER(link, struct ask, link);
        if (ask->effect == NULL)
            dual_ask_again(d, ask); /* dual_ask_moved() */
        else
            route(d, ask);
    }
}

void dual_ask(struct dual *d, struct ask *ask) {
    switch (ask->kind) {
    case ASK_DO:
    case ASK_PIN: route(d, ask); return;
    case ASK_UNPIN:
        dual_witness_owe(d->witness);
        lanes_unpin(&d->lanes, ask->effect);
        dual_waits_wrote(d, ask->effect);
        if (ask->pin != NULL) peers_unpin(d->peers, ask->pin);
        break;
    case ASK_GONE:
        d->table.gone(d->table.self, dual_lane_side(d, ask->side), ask->server_id, ask->run_id);
        break;
    case ASK_UNBLOCK: unblock(d, ask); break;
    case ASK_CANCEL:
        cancel(d, ask);
        cancel_early(d, ask);
        if (d->peers != NULL) peers_cancel(d->peers, ask);
        break;
    default: UNREACHABLE("ask");
    }
    ask_free(ask);
}

/* The process ends: the loops that asked have stopped. */
void dual_asks_close(struct dual *d) {
    for (unsigned i = 0; i < LANES_MAX; i++)
        for (struct list *link; (link = list_pop(&d->parked[i])) != NULL;)
            ask_free(LIST_OWNER(link, struct ask, link));
    for (struct list *link; (link = list_pop(&d->early)) != NULL;)
        ask_free(LIST_OWNER(link, struct ask, link));
    while (!list_is_empty(&d->waits)) {
        struct dual_wait *wait = LIST_OWNER(d->waits.next, struct dual_wait, link);
        struct ask *ask = wait->ask;
        dual_wait_free(d, wait);
        if (ask != NULL) ask_free(ask);
    }
}

/* dual_client.c -- dual write: clients' requests, by the lanes or pinned on their own connection,
 * and blocking commands that are tried. See dual.h. */
#include "gateway/dual_inside.h"

#include "gateway/blocked.h"
#include "gateway/dispatch.h"
#include "gateway/dual_witness.h"
#include "gateway/peers.h"
#include "gateway/policy.h"
#include "gateway/scripts.h"

#include "lib/base/log.h"

#define TRY_AGAIN_US 1000000u

bool dual_takes(const struct client *c, const struct command *command) {
    if (command == NULL) return true;
    switch (policy_of(command)) {
    case POLICY_FORWARD:
    case POLICY_SCRIPT:
    case POLICY_TRACKING: return true; /* the last one is refused */
    case POLICY_BLOCKING:
        return (command->flags & COMMAND_WRITE) != 0 ||
               !policy_blocks(command, c->request.argc, c->request.argv);
    case POLICY_LOCAL:
    case POLICY_CLIENT:
    case POLICY_MULTI:
    case POLICY_WATCH:
    case POLICY_WAIT:
    case POLICY_SUBSCRIBE:
    case POLICY_MONITOR:
    case POLICY_HIDE:
    case POLICY_REFUSE:
    default: return false;
    }
}

const char *dual_unfit(const struct command *command) {
    if (strcmp(command->name, "select") != 0) return NULL;
    return "with capture lane it cannot stand inside MULTI";
}

/* ---- on the client's own connection (C10a) ---- */

static void on_own(struct req *req, struct backend *b, struct slice reply) {
    struct dual *d = b->worker->dual;
    struct effect *effect = req->self;
    struct client *c = req->client;
    if (reply.size == 0 && effect->writes && b->grave != NULL) { /* lost: pinned until it is gone */
        struct dual_pin *pin = NEW(struct dual_pin);
        *pin = (struct dual_pin){.next = b->grave->pins, .effect = effect};
        b->grave->pins = pin;
        return;
    }
    struct buf scratch = {0};
    if (reply.size > 0 && c != NULL && c->stream != NULL && !req->mute)
        stream_write(c->stream, effect_answer(effect, reply, &scratch));
    buf_close(&scratch);
    if (effect->writes) {
        dual_witness_owe(d->witness);
        lanes_unpin(&d->lanes, effect);
        dual_waits_wrote(d, effect);
    }
    effect_free(effect);
}

static enum take put_back(struct effect *effect, enum take take) {
    effect_free(effect);
    return take;
}

static enum take send_own(struct client *c, struct effect *effect) {
    struct dual *d = c->worker->dual;
    enum take take = TAKE_DONE;
    struct backend *b = client_conn(c, &take);
    if (b == NULL) {
        effect_free(effect);
        return take;
    }
    if (effect->blocking || (effect->replies != 1 && !effect->is_block)) {
        effect_free(effect);
        client_reply_errorf(c,
                            "ERR drawbridge: with capture lane this command cannot stand between "
                            "WATCH and EXEC");
        return TAKE_DONE;
    }
    bool others = d != NULL && d->table_of_slots != NULL && d->table_of_slots->count > 1;
    if (effect->writes && (d == NULL || others)) {
        far_own(c, b, effect);
        return TAKE_DONE;
    }
    if (effect->writes && lanes_stops(&d->lanes, effect))
        return put_back(effect, client_park(c, PARK_ROUTE));
    if (effect->writes) {
        dual_note_opened(d, LANE_P, b);
        lanes_pin(&d->lanes, effect);
    }
    backend_write(b, effect->send);
    struct req *req = backend_expect(b, c, REQ_WHOLE, effect->replies);
    req->done = on_own;
    req->self = effect;
    return TAKE_DONE;
}

/* ---- down a lane ---- */

static void wait_begin(struct client *c) {
    struct dual *d = c->worker->dual;
    struct dual_wait *wait = NEW(struct dual_wait);
    struct effect_facts facts = dual_facts(c->worker);
    const struct resp_request *r = &c->request;
    wait->client = c;
    wait->db = c->db;
    wait->proto = c->proto;
    wait->trying = true;
    resp_write_command(&wait->request, r->argc, r->argv);
    wait->keys = effect_new(&facts, c->db, c->last, r->argc, r->argv);
    uint64_t timeout_us = blocked_timeout_us(c->last, r);
    wait->deadline_us = timeout_us ? c->worker->now_us + timeout_us : 0;
    list_push(&d->waits, &wait->link);
    d->wait_count++;
    c->dual_wait = wait;
    c->busy = true;
}

static enum take send_by_lane(struct client *c, struct effect *effect) {
    struct dual *d = c->worker->dual;
    struct lanes_place place = {.unanswered = c->outstanding};
    struct lane_item *item = NULL;
    enum take take = TAKE_DONE;
    if (c->outstanding > 0 && (c->conn == NULL || c->conn->line == NULL || effect->blocking))
        return put_back(effect, client_wait_idle(c));
    if (c->outstanding > 0) place.lane = c->conn->line->lane;
    unsigned home = lanes_home(&d->lanes, effect, &place);
    struct backend *b = d->line[LANE_P][home].backend;
    bool ready = effect->barrier || (b != NULL && lane_may_send(&d->lanes.lane[home]));
    if (!ready) {
        if (b == NULL || !d->lanes.lane[home].primary_up) worker_on_unready(c->worker);
        return put_back(effect, client_park(c, PARK_ROUTE));
    }
    if (b != NULL && !dispatch_flows(c, b, &take)) return put_back(effect, take);
    if (dual_reads_canary(c, effect)) return TAKE_DONE;
    bool blocking = effect->blocking, barrier = effect->barrier;
    switch (lanes_send(&d->lanes, &place, effect, c, &item)) {
    case LANES_BUSY: return put_back(effect, client_wait_idle(c));
    case LANES_WAIT: return put_back(effect, client_park(c, PARK_ROUTE));
    case LANES_SENT:
    default: break;
    }
    if (blocking) wait_begin(c);
    if (barrier) {
        c->barrier_item = item;
        c->busy = true;
    }
    return TAKE_DONE;
}

/* It stays in this loop: all that it touches or may write is ours. What blocks is an ask, though: by
 * the time that there is something for it the slot may be another gateway's, and then its keys are
 * pinned there for each try (C10a). */
static bool is_ours(const struct dual *d, const struct effect *effect) {
    if (d->table_of_slots == NULL) return d->worker->gw->standalone;
    if (effect->blocking) return false;
    return owners_home(d->table_of_slots, effect, d->self) == d->self &&
           !owners_are_several(d->table_of_slots, effect, d->self);
}

static enum take send_effect(struct client *c, struct effect *effect, struct slice block,
                             size_t count) {
    const struct dual *d = c->worker->dual;
    if (c->leased) return send_own(c, effect);
    if (d != NULL && is_ours(d, effect)) return send_by_lane(c, effect);
    enum take take = far_send(c, effect, block, count);
    return take == TAKE_DONE ? take : put_back(effect, take);
}

/* Bodies are kept, for the primary side after this one (C27). */
static void note_script(struct client *c, const struct command *command) {
    struct scripts *scripts = c->worker->gw->scripts;
    const struct slice *argv = c->request.argv;
    if (command == NULL || policy_of(command) != POLICY_SCRIPT) return;
    if (strncmp(command->name, "evalsha", 7) == 0) return;
    if (strncmp(command->name, "eval", 4) == 0)
        scripts_add(scripts, argv[1]);
    else if (strcmp(command->name, "script|load") == 0)
        scripts_add(scripts, argv[2]);
    else
        scripts_clear(scripts);
}

static bool owns_alone(const struct dual *d, struct slice name) {
    if (d->table_of_slots == NULL) return d->worker->gw->standalone;
    return d->table_of_slots->owner[slot_cluster(name)] == d->self;
}

/* Nearly all writes (lane_burst.h). False: it goes by an effect, or waits as one that does. */
static bool send_simple(struct client *c, const struct command *command, struct slice raw,
                        enum take *take) {
    struct dual *d = c->worker->dual;
    const struct resp_request *r = &c->request;
    const struct effect_simple *simple = effect_simple_of(command, r->argc, r->argv);
    if (simple == NULL || d == NULL || c->leased || raw.size == 0) return false;
    struct lanes_place place = {.unanswered = c->outstanding};
    if (c->outstanding > 0 && (c->conn == NULL || c->conn->line == NULL)) return false;
    if (c->outstanding > 0) place.lane = c->conn->line->lane;
    struct slice name = r->argv[1];
    struct backend *b = d->line[LANE_P][lane_of(d->lanes.count, name)].backend;
    if (b == NULL || !owns_alone(d, name)) return false;
    if (!dispatch_flows(c, b, take)) return true;
    *take = TAKE_DONE;
    return lanes_send_simple(&d->lanes, &place, simple, c->db, name, raw, c);
}

enum take dual_request(struct client *c, const struct command *command, struct slice raw) {
    const struct resp_request *r = &c->request;
    enum take take = TAKE_DONE;
    if (command != NULL && policy_of(command) == POLICY_TRACKING) {
        client_reply_errorf(c, "ERR drawbridge: '%s' cannot be done with capture lane",
                            command->name);
        return TAKE_DONE;
    }
    if (!dispatch_may_leave(c, &take)) return take;
    if (r->is_inline) raw = (struct slice){0};
    if (send_simple(c, command, raw, &take)) return take;
    struct effect_facts facts = dual_facts(c->worker);
    take = send_effect(c, effect_new_raw(&facts, c->db, command, r->argc, r->argv, raw),
                       (struct slice){0}, 0);
    if (take == TAKE_DONE) note_script(c, command);
    return take;
}

/* ---- MULTI ---- */

struct words {
    struct slice *argv;
    size_t count, cap;
};

static void add_words(struct words *words, const struct resp_request *r) {
    while (words->count + r->argc > words->cap) {
        words->cap = words->cap ? words->cap * 2 : 64;
        words->argv = mem_realloc(words->argv, words->cap * sizeof *words->argv);
    }
    memcpy(words->argv + words->count, r->argv, r->argc * sizeof *r->argv);
    words->count += r->argc;
}

struct effect *dual_block_effect(struct worker *w, int32_t db, struct slice block,
                                 size_t count) {
    struct effect_facts facts = dual_facts(w);
    struct effect *effect = NULL;
    if (count > block.size) return NULL;
    struct effect_request *requests = NEW_ARRAY(struct effect_request, count + 1);
    struct resp_request r = {0};
    struct words words = {0};
    struct why why;
    for (size_t i = 0; i < count; i++) {
        size_t used = 0;
        enum step step = resp_request_next(&r, &resp_request_limits_open, block, &used, &why);
        if (step != STEP_DONE || r.argc == 0) goto out;
        requests[i].argc = r.argc;
        requests[i].command = command_lookup(r.argc, r.argv);
        if (!r.is_inline) requests[i].raw = slice_take(block, used);
        add_words(&words, &r);
        block = slice_drop(block, used);
    }
    for (size_t i = 0, at = 0; i < count; at += requests[i++].argc)
        requests[i].argv = words.argv + at;
    effect = effect_block_new(&facts, db, count, requests);
out:
    resp_request_close(&r);
    mem_free(words.argv);
    mem_free(requests);
    return effect;
}

enum take dual_exec(struct client *c, struct slice block, size_t count) {
    enum take take = TAKE_DONE;
    if (!dispatch_may_leave(c, &take)) return take;
    struct effect *effect = dual_block_effect(c->worker, c->db, block, count);
    ASSERT(effect != NULL); /* it was read before it was queued */
    return send_effect(c, effect, block, count);
}

/* ---- blocking commands (C17) ---- */

void dual_wait_free(struct dual *d, struct dual_wait *wait) {
    list_remove(&wait->link);
    if (d != NULL) d->wait_count--;
    if (wait->client != NULL) wait->client->dual_wait = NULL;
    if (wait->ask != NULL) wait->ask->wait = NULL;
    buf_close(&wait->request);
    effect_free(wait->keys);
    mem_free(wait);
}

void dual_wait_end(struct client *c) {
    if (c->dual_wait == NULL) return;
    dual_wait_free(c->worker->dual, c->dual_wait);
    c->busy = false;
    client_wake(c);
}

void dual_wait_on(struct dual *d, struct dual_wait *wait) {
    wait->trying = false;
    wait->next_us = d->worker->now_us + TRY_AGAIN_US;
    if (wait->unblocked) wait->next_us = 0;
    if (wait->deadline_us != 0 && wait->deadline_us < wait->next_us)
        wait->next_us = wait->deadline_us;
    if (wait->next_us < d->waits_next_us) d->waits_next_us = wait->next_us;
}

static bool share_a_key(const struct effect *a, const struct effect *b) {
    if (b->keys_unknown) return true;
    for (size_t i = 0; i < a->key_count; i++)
        for (size_t k = 0; k < b->key_count; k++)
            if ((b->keys[k].use & EFFECT_WRITE) && a->keys[i].db == b->keys[k].db &&
                slice_equal(a->keys[i].name, b->keys[k].name))
                return true;
    return false;
}

void dual_waits_wrote(struct dual *d, const struct effect *effect) {
    LIST_EACH(&d->waits, at) {
        struct dual_wait *wait = LIST_OWNER(at, struct dual_wait, link);
        if (wait->trying || !share_a_key(wait->keys, effect)) continue;
        wait->next_us = 0;
        d->waits_next_us = 0;
    }
}

static bool try_again(struct dual *d, struct dual_wait *wait);

static void on_pinned(struct dual *d, struct ask *ask) {
    ask->wait->trying = false;
    (void)try_again(d, ask->wait);
}

/* Keys of other gateways are pinned for each try, and not while the client waits (C10a). Takes
 * EFFECT if it says true. */
static bool pin_first(struct dual *d, struct dual_wait *wait, struct effect *effect) {
    const struct slot_table *table = d->table_of_slots;
    struct ask *ask = wait->ask;
    if (table == NULL || ask->pin != NULL || !owners_are_several(table, effect, d->self)) return false;
    wait->trying = true;
    ask->pin = peers_pin(d->peers, effect, ask, on_pinned);
    effect_free(effect);
    return true;
}

/* The slot has got another owner meanwhile: its client waits there, for the time that is left. The
 * wait ends here; nothing is under way for it. False: it is ours, or pinned elsewhere just now. */
static bool moves_on(struct dual *d, struct dual_wait *wait) {
    const struct slot_table *table = d->table_of_slots;
    struct ask *ask = wait->ask;
    if (table == NULL || ask == NULL || ask->pin != NULL || wait->trying) return false;
    unsigned home = owners_home(table, wait->keys, d->self);
    if (home == d->self || home >= table->count) return false;
    struct buf request = wait->request;
    wait->request = (struct buf){0};
    dual_wait_free(d, wait);
    if (ask->from_peer) {
        buf_close(&request);
        peers_moved(d->peers, ask);
        return true;
    }
    buf_close(&ask->request);
    ask->request = request;
    dual_ask_again(d, ask);
    return true;
}

/* False: it has gone to another gateway. */
static bool try_again(struct dual *d, struct dual_wait *wait) {
    if (moves_on(d, wait)) return false;
    struct resp_request r = {0};
    struct why why;
    size_t used = 0;
    struct effect_facts facts = dual_facts(d->worker);
    struct lanes_place place = {.pinned = wait->ask != NULL && wait->ask->pin != NULL};
    struct lane_item *item = NULL;
    enum step step =
        resp_request_next(&r, &resp_request_limits_open, buf_slice(&wait->request), &used, &why);
    ASSERT(step == STEP_DONE); /* we wrote it ourselves */
    struct effect *effect =
        effect_new(&facts, wait->db, command_lookup(r.argc, r.argv), r.argc, r.argv);
    resp_request_close(&r);
    if (wait->ask != NULL && pin_first(d, wait, effect)) return true;
    d->sending = wait->ask;
    void *who = wait->ask != NULL ? (void *)wait->ask : wait->client;
    if (lanes_send(&d->lanes, &place, effect, who, &item) == LANES_SENT)
        wait->trying = true;
    else
        effect_free(effect);
    d->sending = NULL;
    if (wait->ask != NULL) dual_ask_tried(d, wait->ask, item);
    return true;
}

void dual_wait_unblock(struct dual *d, struct dual_wait *wait, bool with_error) {
    wait->unblocked = true;
    wait->with_error = with_error;
    d->waits_next_us = 0;
}

bool dual_unblock(struct client *c, bool with_error) {
    if (c->far_wait != NULL) return far_unblock(c, with_error);
    if (c->dual_wait == NULL) return false;
    dual_wait_unblock(c->worker->dual, c->dual_wait, with_error);
    return true;
}

void dual_waits_turn(struct dual *d) {
    uint64_t now_us = d->worker->now_us;
    if (d->waits_next_us > now_us) return;
    d->waits_next_us = UINT64_MAX;
    for (struct list *next, *at = d->waits.next; at != &d->waits; at = next) {
        next = at->next;
        struct dual_wait *wait = LIST_OWNER(at, struct dual_wait, link);
        struct client *c = wait->client;
        if (wait->trying) continue;
        if (wait->unblocked || (wait->deadline_us != 0 && wait->deadline_us <= now_us)) {
            struct slice nothing = wait->proto == 3 ? SLICE("_\r\n") : SLICE("*-1\r\n");
            if (wait->with_error)
                nothing = SLICE("-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
            if (wait->ask != NULL) {
                dual_ask_over(d, wait, nothing);
                continue;
            }
            if (c->stream != NULL && c->reply_mode == REPLY_ON) stream_write(c->stream, nothing);
            dual_wait_end(c);
            continue;
        }
        bool due = wait->next_us <= now_us && worker_may_send(d->worker);
        if (due && !try_again(d, wait)) continue;
        if (!wait->trying && wait->next_us < d->waits_next_us) d->waits_next_us = wait->next_us;
    }
}

void dual_waits_on_table(struct dual *d) {
    for (struct list *next, *at = d->waits.next; at != &d->waits; at = next) {
        next = at->next;
        (void)moves_on(d, LIST_OWNER(at, struct dual_wait, link));
    }
}

bool dual_is_tried(const struct client *c) {
    return c->dual_wait != NULL && c->dual_wait->trying;
}

void dual_forget(struct client *c) {
    if (c->barrier_item != NULL) c->barrier_item->client = NULL;
    c->barrier_item = NULL;
    if (c->dual_wait != NULL) dual_wait_free(c->worker->dual, c->dual_wait);
}

/* far.c -- a client's commands at the owner of its lane, in the client's own loop. See far.h. */
#include "gateway/far.h"

#include "gateway/backend.h"
#include "gateway/blocked.h"
#include "gateway/dispatch.h"
#include "gateway/dual_inside.h"
#include "gateway/peers.h"
#include "gateway/shards/shards.h"

#include <inttypes.h>

#define MAILS_MAX (FAR_MAX * 64u) /* far more than all loops may have under way at one */

/* What a client will get, in the order in which it asked. */
struct far_entry {
    struct list link;      /* client->far */
    struct client *client; /* NULL: of a blocking one, and gone */
    struct buf text;
    bool done, mute, lost;
    bool apart; /* it blocks: it is not on the list */
    bool busy;  /* the client is, until this is answered */
    uint8_t class;
    uint64_t at_us;
};

/* ---- asks ---- */

struct ask *ask_new(struct worker *w, enum ask_kind kind) {
    struct ask *ask = NEW(struct ask);
    ask->kind = kind;
    ask->origin = w;
    ask->side = w->side;
    ask->epoch = w->epoch;
    ask->id = ++w->far->next_id;
    return ask;
}

void ask_free(struct ask *ask) {
    effect_free(ask->effect);
    buf_close(&ask->request);
    buf_close(&ask->answer);
    mem_free(ask);
}

void ask_post(struct far *to, struct ask *ask) {
    pthread_mutex_lock(&to->lock);
    bool taken = to->mailbox != NULL && mailbox_post(to->mailbox, &ask->mail);
    pthread_mutex_unlock(&to->lock);
    if (!taken) ask_free(ask);
}

static void to_lanes(struct worker *w, struct ask *ask) {
    if (w->dual != NULL)
        dual_ask(w->dual, ask);
    else
        ask_post(w->gw->workers[0]->far, ask);
}

/* ---- what a client gets ---- */

static struct far_entry *entry_new(struct client *c) {
    struct far_entry *entry = NEW(struct far_entry);
    entry->client = c;
    entry->mute = c->reply_mode != REPLY_ON;
    entry->class = request_class_of(c->last);
    entry->at_us = c->worker->now_us;
    return entry;
}

static struct far_entry *entry_push(struct client *c) {
    struct far_entry *entry = entry_new(c);
    list_push(&c->far, &entry->link);
    c->far_count++;
    c->outstanding++;
    c->replies++;
    return entry;
}

static void entry_free(struct far_entry *entry) {
    buf_close(&entry->text);
    mem_free(entry);
}

static void write_out(struct client *c, const struct far_entry *entry) {
    if (c->stream == NULL || entry->mute || buf_size(&entry->text) == 0) return;
    counter_add(&c->worker->counters.bytes_out, buf_size(&entry->text));
    stream_write(c->stream, buf_slice(&entry->text));
}

/* C21: it gets the answers that came, and then its connection is closed. */
static void hang_up(struct client *c) {
    c->far_lost = true;
    if (c->stream == NULL || c->closing) return;
    if (!c->worker->end.on) counter_add(&c->worker->counters.broken_clients, 1);
    client_close(c);
    if (c->outstanding > 0) stream_close(c->stream);
}

/* Everything that is done, from the front. The client may be freed. */
static void flush(struct client *c) {
    while (!list_is_empty(&c->far)) {
        struct far_entry *entry = LIST_OWNER(c->far.next, struct far_entry, link);
        if (!entry->done) return;
        if (entry->lost) hang_up(c);
        if (entry->busy) c->busy = false;
        if (!c->far_lost) write_out(c, entry);
        list_remove(&entry->link);
        entry_free(entry);
        c->far_count--;
        ASSERT(c->outstanding > 0);
        if (c->replies > 0) c->replies--;
        if (--c->outstanding == 0) {
            client_on_idle(c);
            return;
        }
    }
}

void far_text(struct client *c, struct slice bytes) {
    struct far_entry *entry = LIST_OWNER(c->far.prev, struct far_entry, link);
    if (!entry->done) {
        entry = entry_push(c);
        entry->mute = false; /* client_reply() looked */
        entry->done = true;
    }
    buf_add(&entry->text, bytes);
}

/* ---- to the lanes ---- */

static bool flows(struct client *c, enum take *take) {
    const struct far *far = c->worker->far;
    if (c->replies > CLIENT_REPLIES_MAX) {
        *take = client_wait_idle(c);
        return false;
    }
    if (stream_queued_bytes(c->stream) > CLIENT_OUTPUT_HIGH_BYTES) {
        *take = TAKE_WAIT; /* on_drain wakes it */
        return false;
    }
    if (far->count >= FAR_MAX || far->bytes > FAR_BYTES_MAX) {
        *take = client_park(c, PARK_FLOW);
        return false;
    }
    return true;
}

static void leave(struct client *c, struct ask *ask, struct effect *effect) {
    struct far *far = c->worker->far;
    ask->effect = effect;
    ask->db = c->db;
    ask->proto = c->proto;
    ask->bytes = effect->send.size + buf_size(&ask->request);
    far->count++;
    far->bytes += ask->bytes;
    worker_count_turn(c->worker);
    to_lanes(c->worker, ask);
}

static void leave_blocking(struct client *c, struct effect *effect, struct ask *ask) {
    const struct resp_request *r = &c->request;
    uint64_t timeout_us = blocked_timeout_us(c->last, r);
    ask->deadline_us = timeout_us ? c->worker->now_us + timeout_us : 0;
    ask->entry = c->far_wait = entry_new(c);
    ask->entry->apart = true;
    c->far_wait_id = ask->id;
    c->busy = true;
    leave(c, ask, effect);
}

/* Where the effect goes: which gateway, which lane. */
struct target {
    const struct slot_table *table; /* NULL: all slots are ours */
    unsigned home, lane;
    bool far, wide;
    uint64_t place; /* as one number */
};

static struct target find_target(struct client *c, const struct effect *effect) {
    struct gateway *gw = c->worker->gw;
    struct target t = {.table = atomic_load(&gw->slots)};
    unsigned before = (unsigned)(c->far_place & 0xff);
    t.lane = lanes_home_of((unsigned)gw->config->gateway.lanes, effect, before);
    if (t.table != NULL) {
        unsigned self = slot_table_find(t.table, slice_text(gw->name));
        t.home = owners_home(t.table, effect, self < t.table->count ? self : t.table->owner[0]);
        t.far = t.home != self;
        t.wide = owners_are_several(t.table, effect, t.home);
        t.place = t.table->version << 16 | t.home << 8;
    }
    t.place |= t.lane;
    return t;
}

static struct ask *new_ask(struct client *c, const struct target *t, const struct effect *effect,
                           struct slice block, size_t count) {
    struct ask *ask = ask_new(c->worker, ASK_DO);
    ask->client = c->id;
    ask->lane = t->lane;
    ask->first = c->outstanding == 0 && c->reply_mode == REPLY_ON;
    ask->home = t->home;
    ask->table = t->table;
    ask->version = t->table != NULL ? t->table->version : 0;
    ask->block_count = (uint32_t)count;
    if (count > 0 && t->far)
        buf_add(&ask->request, block);
    else if (effect->blocking || t->far)
        resp_write_command(&ask->request, c->request.argc, c->request.argv);
    return ask;
}

enum take far_send(struct client *c, struct effect *effect, struct slice block, size_t count) {
    enum take take = TAKE_DONE;
    struct target t = find_target(c, effect);
    bool alone = effect->blocking || effect->barrier || t.wide;
    if (t.table == NULL && !c->worker->gw->standalone) return client_park(c, PARK_ROUTE);
    if (c->outstanding > 0 && (c->far_count == 0 || alone || t.place != c->far_place))
        return client_wait_idle(c);
    if (!flows(c, &take)) return take;
    c->far_place = t.place;
    struct ask *ask = new_ask(c, &t, effect, block, count);
    if (effect->blocking) {
        leave_blocking(c, effect, ask);
        return TAKE_DONE;
    }
    ask->entry = entry_push(c);
    ask->entry->busy = c->busy = alone;
    c->worker->far->unanswered++;
    leave(c, ask, effect);
    return TAKE_DONE;
}

void far_connection_gone(struct worker *w, enum side side, int64_t server_id, const char *run_id) {
    struct ask *ask = ask_new(w, ASK_GONE);
    ask->side = side;
    ask->server_id = server_id;
    (void)snprintf(ask->run_id, sizeof ask->run_id, "%s", run_id);
    to_lanes(w, ask);
}

/* ---- on the client's own connection (C10a) ---- */

/* Of a Cluster: the one to the node that watches. */
static void name_connection(struct ask *ask, struct backend *b) {
    struct shards_end end = {b->server_id, b->run_id, false, &b->journaled};
    if (b->shards != NULL && !shards_conn_watching(b->shards, &end)) return; /* it will fail */
    ask->opened = !*end.journaled;
    ask->server_id = end.server_id;
    (void)snprintf(ask->run_id, sizeof ask->run_id, "%s", end.run_id);
    *end.journaled = true;
}

void far_own(struct client *c, struct backend *b, struct effect *effect) {
    struct ask *ask = ask_new(c->worker, ASK_PIN);
    ask->entry = entry_push(c);
    name_connection(ask, b);
    c->worker->far->unanswered++;
    leave(c, ask, effect);
}

void far_unpin(struct ask *ask) {
    ask->kind = ASK_UNPIN;
    ask->back = false;
    to_lanes(ask->origin, ask);
}

static void own_done(struct ask *ask, struct client *c, bool lost) {
    struct far_entry *entry = ask->entry;
    entry->done = true;
    entry->lost = lost;
    ask->entry = NULL;
    flush(c);
}

static void on_own(struct req *req, struct backend *b, struct slice reply) {
    struct ask *ask = req->self;
    struct client *c = req->client;
    struct buf scratch = {0};
    if (reply.size == 0 && b->grave != NULL) { /* lost: pinned until it is gone */
        struct dual_pin *pin = NEW(struct dual_pin);
        *pin = (struct dual_pin){.next = b->grave->pins, .ask = ask};
        b->grave->pins = pin;
        own_done(ask, c, true);
        return;
    }
    if (reply.size > 0) buf_add(&ask->entry->text, effect_answer(ask->effect, reply, &scratch));
    buf_close(&scratch);
    own_done(ask, c, reply.size == 0);
    far_unpin(ask);
}

/* The keys are pinned: the block may leave, unless its connection is gone. Then nothing was done,
 * and WATCH has failed. */
static void on_pinned(struct ask *ask) {
    struct client *c = ask->entry->client;
    struct backend *b = c->conn;
    if (ask->end == ASK_LOST) {
        buf_add(&ask->entry->text,
                SLICE("-TRYAGAIN drawbridge: the gateways that own its keys could "
                      "not be reached in time; nothing was sent\r\n"));
        if (c->leased) client_unlease(c, false); /* its keys are still watched there */
        c->conn = NULL;
        own_done(ask, c, false);
        ask_free(ask);
        return;
    }
    if (c->leased && b != NULL && backend_is_ready(b)) {
        backend_write(b, ask->effect->send);
        struct req *req = backend_expect(b, c, REQ_WHOLE, ask->effect->replies);
        req->done = on_own;
        req->self = ask;
        return;
    }
    resp_write_null_array(&ask->entry->text, c->proto);
    own_done(ask, c, false);
    far_unpin(ask);
}

/* ---- what comes back ---- */

static void count(struct worker *w, const struct far_entry *entry, const struct ask *ask) {
    bool error = buf_size(&ask->answer) > 0 && buf_slice(&ask->answer).data[0] == '-';
    unsigned outcome = ask->end == ASK_LOST ? OUTCOME_LOST : error ? OUTCOME_ERROR : OUTCOME_OK;
    counter_add(&w->counters.requests[w->side][entry->class][outcome], 1);
    if (error) counter_add(&w->counters.errors[w->side], 1);
    if (ask->end == ASK_ANSWERED && !entry->apart) {
        hist_record(&w->counters.request_us, w->now_us - entry->at_us);
        hist_record(&w->counters.latency_us[w->side][entry->class], w->now_us - entry->at_us);
    }
    worker_count_turn(w);
}

/* The lanes have ended, and it waits on by what the capture is now. */
static void apart_again(struct far_entry *entry, struct slice request) {
    struct client *c = entry->client;
    if (c != NULL) {
        c->far_wait = NULL;
        c->busy = false;
        client_put_back(c, request);
    }
    entry_free(entry);
}

/* Of a command that blocked. */
static void apart_answered(struct far_entry *entry, bool lost) {
    struct client *c = entry->client;
    if (c != NULL) {
        c->far_wait = NULL;
        c->busy = false;
        if (lost)
            hang_up(c);
        else
            write_out(c, entry);
        client_wake(c);
    }
    entry_free(entry);
}

static void came_back(struct worker *w, struct ask *ask) {
    struct far *far = w->far;
    struct far_entry *entry = ask->entry;
    far->count--;
    far->bytes -= ask->bytes;
    if (!entry->apart) far->unanswered--;
    if (far->count < FAR_MAX / 2 && far->bytes < FAR_BYTES_MAX / 2) worker_unpark_all(w, PARK_FLOW);
    if (ask->kind == ASK_PIN) {
        on_pinned(ask);
        return;
    }
    if (ask->end == ASK_AGAIN) {
        ASSERT(entry->apart);
        apart_again(entry, buf_slice(&ask->request));
        ask_free(ask);
        return;
    }
    count(w, entry, ask);
    entry->text = ask->answer;
    ask->answer = (struct buf){0};
    entry->lost = ask->end == ASK_LOST;
    entry->done = true;
    ask_free(ask);
    if (entry->apart)
        apart_answered(entry, entry->lost);
    else
        flush(entry->client);
}

void ask_give_back(struct worker *at, struct ask *ask) {
    if (ask->from_peer) {
        peers_answer(at->dual->peers, ask);
        return;
    }
    ask->back = true;
    if (ask->origin == at)
        came_back(at, ask);
    else
        ask_post(ask->origin->far, ask);
}

/* There are no lanes any more (C1): nothing was done. */
static void refuse(struct worker *w, struct ask *ask) {
    ask->end = ASK_LOST;
    if (ask->kind == ASK_DO || ask->kind == ASK_PIN)
        ask_give_back(w, ask);
    else
        ask_free(ask);
}

static void on_mail(void *self, struct mail *mail) {
    struct far *far = self;
    struct ask *ask = LIST_OWNER(mail, struct ask, mail);
    struct worker *w = far->worker;
    worker_begin(w);
    if (ask->back)
        came_back(w, ask);
    else if (w->dual == NULL)
        refuse(w, ask);
    else
        dual_ask(w->dual, ask);
    if (w->held) worker_check_held(w);
    worker_run_ready(w);
}

/* ---- the ends ---- */

bool far_unblock(struct client *c, bool with_error) {
    struct ask *ask = ask_new(c->worker, ASK_UNBLOCK);
    ask->id = c->far_wait_id;
    ask->with_error = with_error;
    to_lanes(c->worker, ask);
    return true;
}

void far_end(struct client *c) {
    struct ask *cancel = ask_new(c->worker, ASK_CANCEL);
    cancel->id = c->far_wait_id;
    to_lanes(c->worker, cancel);
}

void far_forget(struct client *c) {
    if (c->far_wait == NULL) return;
    c->far_wait->client = NULL;
    c->far_wait = NULL;
    far_end(c);
}

void far_abandon(struct worker *w) {
    LIST_EACH(&w->clients, at) {
        struct client *c = LIST_OWNER(at, struct client, link);
        for (struct list *link; (link = list_pop(&c->far)) != NULL;)
            entry_free(LIST_OWNER(link, struct far_entry, link));
        if (c->far_wait != NULL) entry_free(c->far_wait);
        c->far_wait = NULL;
        c->outstanding -= c->far_count;
        c->far_count = 0;
    }
}

struct far *far_new(struct worker *w) {
    struct far *far = NEW(struct far);
    far->worker = w;
    pthread_mutex_init(&far->lock, NULL);
    return far;
}

void far_free(struct far *far) {
    if (far == NULL) return;
    pthread_mutex_destroy(&far->lock);
    mem_free(far);
}

enum err far_open(struct far *far, struct loop *loop, struct why *why) {
    return mailbox_open(&far->mailbox, loop, MAILS_MAX, on_mail, far, why);
}

static void drop_mail(void *self, struct mail *mail) {
    (void)self;
    ask_free(LIST_OWNER(mail, struct ask, mail));
}

void far_close(struct far *far) {
    pthread_mutex_lock(&far->lock);
    struct mailbox *mailbox = far->mailbox;
    far->mailbox = NULL;
    pthread_mutex_unlock(&far->lock);
    mailbox_close(mailbox, drop_mail);
}

/* backend.c -- one connection to one side: replies and the queue of what they are for. See
 * backend.h; how it is opened is in greet.c. */
#include "gateway/backend.h"

#include "gateway/client.h"
#include "gateway/dispatch.h"
#include "gateway/dual.h"
#include "gateway/dual_witness.h"
#include "gateway/greet.h"
#include "gateway/shards/shards.h"
#include "gateway/subs.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"

void backend_write(struct backend *b, struct slice bytes) {
    if (b->shards != NULL)
        shards_conn_write(b->shards, bytes);
    else
        stream_write(b->stream, bytes);
}

void backend_write_buf(struct backend *b, struct buf *buf) {
    if (b->shards == NULL) {
        stream_write_buf(b->stream, buf);
        return;
    }
    shards_conn_write(b->shards, buf_slice(buf));
    buf_clear(buf);
}

size_t backend_queued_bytes(const struct backend *b) {
    return b->shards != NULL ? shards_conn_queued_bytes(b->shards) : stream_queued_bytes(b->stream);
}

const char *backend_peer(const struct backend *b) {
    return b->shards != NULL ? shards_conn_peer(b->shards) : stream_peer(b->stream);
}

uint8_t request_class_of(const struct command *command) {
    if (command == NULL) return CLASS_OTHER;
    if (command->flags & (COMMAND_WRITE | COMMAND_MAY_REPLICATE)) return CLASS_WRITE;
    return command->flags & COMMAND_READONLY ? CLASS_READ : CLASS_OTHER;
}

static void count(struct backend *b, const struct req *req, enum request_outcome outcome,
                  uint64_t requests) {
    counter_add(&b->worker->counters.requests[b->side][req->class][outcome], requests);
}

struct req *backend_expect(struct backend *b, struct client *client, enum req_kind kind,
                           uint32_t replies) {
    struct req *req = pool_take(&b->worker->reqs);
    req->client = client;
    req->kind = kind;
    req->replies = replies;
    req->asked = 1;
    req->at_us = b->worker->now_us;
    if (b->tail == NULL)
        b->head = req;
    else
        b->tail->next = req;
    b->tail = req;
    b->due += replies;
    if (client != NULL) {
        ASSERT(client->outstanding == 0 || client->conn == b);
        client->conn = b;
        client->outstanding++;
        client->replies += replies;
        req->mute = client->reply_mode != REPLY_ON;
        req->class = request_class_of(client->last);
        worker_count_turn(b->worker);
    }
    return req;
}

void backend_expect_relay(struct backend *b, struct client *client, bool mute) {
    struct req *tail = b->tail;
    if (tail != NULL && tail->client == client && tail->kind == REQ_RELAY && tail->mute == mute &&
        tail->done == NULL && tail->at_us == b->worker->now_us && tail->class == request_class_of(client->last) &&
        tail->replies < UINT32_MAX) {
        worker_count_turn(b->worker);
        tail->replies++;
        tail->asked++;
        b->due++;
        client->replies++;
        return;
    }
    (void)backend_expect(b, client, REQ_RELAY, 1);
}

void backend_expect_each(struct backend *b, struct client *client, uint32_t count,
                         void (*each)(struct req *req, struct backend *b, struct slice reply,
                                      uint32_t count)) {
    struct req *tail = b->tail;
    bool same = tail != NULL && tail->kind == REQ_EACH && tail->client == client &&
                tail->each == each && tail->at_us == b->worker->now_us &&
                tail->replies < UINT32_MAX - count;
    if (same && client != NULL)
        same = tail->class == request_class_of(client->last) &&
               tail->mute == (client->reply_mode != REPLY_ON);
    if (!same) {
        struct req *req = backend_expect(b, client, REQ_EACH, count);
        req->each = each;
        req->asked = count;
        return;
    }
    tail->replies += count;
    tail->asked += count;
    b->due += count;
    if (client == NULL) return;
    worker_count_turn(b->worker);
    client->replies += count;
}

void backend_use_db(struct backend *b, int32_t db) {
    if (b->db == db) return;
    char text[16];
    struct buf *out = &b->worker->scratch;
    (void)snprintf(text, sizeof text, "%d", db);
    buf_clear(out);
    resp_write_words(out, "SELECT", text, NULL);
    backend_write(b, buf_slice(out));
    buf_clear(out);
    struct req *req = backend_expect(b, NULL, REQ_DROP, 1);
    req->must_be_ok = true;
    b->db = db;
}

/* The head is done with: off the queue, and its client is told when it was its last. */
static void pop(struct backend *b) {
    struct req *req = b->head;
    struct worker *w = b->worker;
    b->head = req->next;
    if (b->head == NULL) b->tail = NULL;
    struct client *client = req->client;
    buf_close(&req->text);
    if (client != NULL && req->kind != REQ_TEXT && req->kind != REQ_DROP) {
        hist_record_n(&w->counters.request_us, w->now_us - req->at_us, req->asked);
        hist_record_n(&w->counters.latency_us[b->side][req->class], w->now_us - req->at_us,
                      req->asked);
    }
    pool_give(&w->reqs, req);
    if (client == NULL) return;
    ASSERT(client->outstanding > 0);
    if (--client->outstanding == 0) client_on_idle(client);
}

static void to_client(struct req *req, struct slice bytes) {
    if (bytes.size == 0 || req->mute || req->client == NULL || req->client->stream == NULL) return;
    counter_add(&req->client->worker->counters.bytes_out, bytes.size);
    stream_write(req->client->stream, bytes);
}

/* Texts of our own whose turn has come. */
static void flush_texts(struct backend *b) {
    while (b->head != NULL && b->head->kind == REQ_TEXT) {
        to_client(b->head, buf_slice(&b->head->text));
        pop(b);
    }
}

static void on_error_reply(struct backend *b, struct slice line, uint32_t count) {
    counter_add(&b->worker->counters.errors[b->side], count);
    if (slice_starts(line, SLICE("-READONLY"))) greet_downgraded(b, "it answers READONLY");
}

/* COUNT whole replies of the head have passed, which begin with FIRST; BYTES is what of one of them
 * was in hand. False: stop. */
static bool replies_ended(struct backend *b, uint8_t first, struct slice bytes, uint32_t n) {
    struct req *req = b->head;
    ASSERT(req->replies >= n && b->due >= n);
    if (first == '-') {
        on_error_reply(b, bytes, n);
        if (req->must_be_ok) {
            log_warn("backend.select_refused", LOG_S("side", gateway_side_name(b->side)),
                     LOG_I("db", b->db), LOG_SL("why", slice_take(bytes, bytes.size < 200 ? bytes.size : 200)));
            backend_abort(b); /* what follows would run in another database */
            return false;
        }
    }
    req->replies -= n;
    b->due -= n;
    bool each = req->kind == REQ_RELAY || req->kind == REQ_EACH;
    bool counts = req->client != NULL && (each || req->replies == 0) && req->kind != REQ_DROP;
    if (counts) {
        count(b, req, first == '-' ? OUTCOME_ERROR : OUTCOME_OK, each ? n : 1);
        worker_count_turn(b->worker);
    }
    if (req->client != NULL)
        req->client->replies -= req->client->replies > n ? n : req->client->replies;
    return true;
}

static bool reply_ended(struct backend *b, uint8_t first, struct slice bytes) {
    return replies_ended(b, first, bytes, 1);
}

/* Bytes of the reply that is passing, for the head. LAST_REPLY: no further one will come. */
static void pass(struct req *req, struct slice bytes) {
    switch (req->kind) {
    case REQ_RELAY: to_client(req, bytes); break;
    case REQ_LAST:
        if (req->replies == 1) to_client(req, bytes);
        break;
    case REQ_WHOLE:
        if (req->limit_bytes > 0 && buf_size(&req->text) + bytes.size > req->limit_bytes)
            req->over = true;
        if (req->over)
            buf_close(&req->text);
        else
            buf_add(&req->text, bytes);
        break;
    case REQ_DROP: break;
    case REQ_EACH:
    case REQ_TEXT:
    default: UNREACHABLE("a reply for a text");
    }
}

/* WHOLE: all that came for it, if it came at once; else it is in req->text. */
static void head_is_done(struct backend *b, struct slice whole) {
    struct req *req = b->head;
    if (req->kind == REQ_WHOLE) {
        struct buf text = req->text;
        req->text = (struct buf){0};
        req->done(req, b, whole.size > 0 ? whole : buf_slice(&text));
        buf_close(&text);
        if (b->sm.state == BACKEND_GONE) return; /* done() ended the connection and the queue */
    } else if (req->kind == REQ_RELAY && req->done != NULL) {
        req->done(req, b, (struct slice){0});
    }
    pop(b);
    flush_texts(b);
    bool forgotten = b->dedicated && b->head == NULL && b->lessee == NULL && b->shadow_of == NULL &&
                     b->line == NULL && b->witness == NULL && !list_is_linked(&b->idle);
    if (forgotten) backend_abort(b);
}

static void broke_protocol(struct backend *b, const char *what) {
    log_warn("backend.protocol", LOG_S("side", gateway_side_name(b->side)), LOG_S("why", what),
             LOG_S("peer", backend_peer(b)));
    backend_abort(b);
}

/* Something that nobody asked for: a RESP3 push to the client that leases the connection. */
static bool take_push(struct backend *b, struct slice bytes, size_t *used) {
    struct why why;
    if (b->shadow_of != NULL) return subs_on_shadow(b, bytes, used);
    enum step step = resp_skip_next(&b->skip, &resp_limits_server, bytes, used, &why);
    if (step == STEP_FAIL) {
        broke_protocol(b, why.text);
        return false;
    }
    if (b->lessee != NULL && b->lessee->stream != NULL)
        stream_write(b->lessee->stream, slice_take(bytes, *used));
    b->push = step == STEP_MORE;
    return step == STEP_DONE;
}

/* Replies of the head, as many as there are; relayed with one write. */
static bool take_replies(struct backend *b, struct slice bytes, size_t *used) {
    struct req *req = b->head;
    size_t at = 0, written = 0;
    bool more = false;
    while (req->replies > 0 && at < bytes.size) {
        if (!b->skip.open && bytes.data[at] == '>' && b->proto == 3) break;
        size_t step_used = 0;
        struct why why;
        struct slice rest = slice_drop(bytes, at);
        enum step step = resp_skip_next(&b->skip, &resp_limits_server, rest, &step_used, &why);
        at += step_used;
        if (step == STEP_FAIL) {
            broke_protocol(b, why.text);
            return false;
        }
        if (step == STEP_MORE) {
            more = true;
            break;
        }
        if (req->kind == REQ_RELAY || req->kind == REQ_WHOLE) {
            if (!reply_ended(b, b->skip.first, slice_take(rest, step_used))) return false;
            continue;
        }
        pass(req, slice_take(slice_drop(bytes, written), at - written));
        written = at;
        if (!reply_ended(b, b->skip.first, slice_take(rest, step_used))) return false;
    }
    *used = at;
    struct slice left = slice_take(slice_drop(bytes, written), at - written);
    bool at_once = req->kind == REQ_WHOLE && req->replies == 0 && buf_size(&req->text) == 0 &&
                   !req->over && (req->limit_bytes == 0 || left.size <= req->limit_bytes);
    if (at_once) {
        head_is_done(b, left);
        return !more && at > 0;
    }
    pass(req, left);
    if (req->replies == 0) head_is_done(b, (struct slice){0});
    return !more && at > 0;
}

#define EACH_AT_ONCE 128u
#define ALIKE_BYTES 16u

/* Whole replies that stand one behind the other. */
struct each {
    size_t count;
    struct { /* some that are the same */
        size_t size; /* of one */
        uint32_t count;
        uint8_t first;
    } runs[EACH_AT_ONCE];
    size_t size; /* with the beginning of one more, perhaps */
    bool more;
};

/* How many more times the first SIZE bytes of BYTES stand behind them, at most MOST. */
static uint32_t count_alike(struct slice bytes, size_t size, uint32_t most) {
    uint32_t n = 0;
    if (size > ALIKE_BYTES) return 0;
    for (size_t at = size; n < most && bytes.size - at >= size; at += size, n++)
        if (memcmp(bytes.data, bytes.data + at, size) != 0) break;
    return n;
}

/* As many as there are of the head's. False: it is not RESP. */
static bool find_each(struct backend *b, struct slice bytes, struct each *each) {
    uint32_t left = b->head->replies;
    size_t at = 0;
    struct why why;
    each->count = 0;
    each->more = false;
    while (left > 0 && each->count < EACH_AT_ONCE && at < bytes.size) {
        bool begun = b->skip.open;
        if (!begun && bytes.data[at] == '>' && b->proto == 3) break;
        size_t used = 0;
        struct slice rest = slice_drop(bytes, at);
        enum step step = resp_skip_next(&b->skip, &resp_limits_server, rest, &used, &why);
        at += used;
        if (step == STEP_FAIL) {
            broke_protocol(b, why.text);
            return false;
        }
        each->more = step == STEP_MORE;
        if (each->more) break;
        /* A Cluster says of each reply by itself where it comes from. */
        uint32_t more = begun || b->shards != NULL ? 0 : count_alike(rest, used, left - 1);
        each->runs[each->count].size = used;
        each->runs[each->count].count = 1 + more;
        each->runs[each->count++].first = b->skip.first;
        at += more * used;
        left -= 1 + more;
    }
    each->size = at;
    return true;
}

/* Replies of a REQ_EACH. The client has them with one write. */
static bool take_each(struct backend *b, struct slice bytes, size_t *used) {
    struct req *req = b->head;
    struct each each;
    size_t at = 0;
    if (!find_each(b, bytes, &each)) return false;
    *used = each.size;
    to_client(req, slice_take(bytes, each.size));
    for (size_t i = 0; i < each.count; i++) {
        struct slice reply = slice_take(slice_drop(bytes, at), each.runs[i].size);
        struct buf text = req->text;
        if (buf_size(&text) > 0) { /* it began before */
            buf_add(&text, reply);
            reply = buf_slice(&text);
            req->text = (struct buf){0};
        }
        if (replies_ended(b, each.runs[i].first, reply, each.runs[i].count))
            req->each(req, b, reply, each.runs[i].count);
        if (buf_size(&text) > 0) buf_close(&text);
        if (b->sm.state == BACKEND_GONE) return false;
        at += each.runs[i].size * each.runs[i].count;
    }
    buf_add(&req->text, slice_take(slice_drop(bytes, at), each.size - at));
    if (req->replies == 0) head_is_done(b, (struct slice){0});
    return !each.more && each.size > 0;
}

/* Whole lines of MONITOR, without those that show our own keys (C5a). */
static size_t take_monitor(struct backend *b, struct slice bytes) {
    static const char hidden[] = "\"drawbridge:";
    size_t at = 0;
    for (;;) {
        struct slice rest = slice_drop(bytes, at);
        const uint8_t *end = rest.size ? memchr(rest.data, '\n', rest.size) : NULL;
        if (end == NULL) return at;
        struct slice line = slice_take(rest, (size_t)(end - rest.data) + 1);
        at += line.size;
        if (memmem(line.data, line.size, hidden, sizeof hidden - 1) != NULL) continue;
        if (b->lessee != NULL && b->lessee->stream != NULL) stream_write(b->lessee->stream, line);
    }
}

static size_t take(struct backend *b, struct slice bytes) {
    size_t at = 0;
    bool go_on = true;
    while (go_on && at < bytes.size && b->sm.state == BACKEND_READY) {
        size_t used = 0;
        struct slice rest = slice_drop(bytes, at);
        if (b->mode == MODE_MONITOR && b->head == NULL) {
            used = take_monitor(b, rest);
            go_on = used > 0;
        } else if (b->mode == MODE_PUBSUB && b->head == NULL) { /* before it, perhaps a SELECT */
            go_on = subs_on_bytes(b, rest, &used);
        } else if (b->push || (!b->skip.open && rest.data[0] == '>' && b->proto == 3)) {
            go_on = b->witness != NULL ? dual_witness_take(b, rest, &used) : take_push(b, rest, &used);
        } else if (b->head != NULL && b->head->kind == REQ_EACH) {
            go_on = take_each(b, rest, &used);
        } else if (b->head != NULL) {
            go_on = take_replies(b, rest, &used);
        } else {
            broke_protocol(b, "a reply that nobody asked for");
            return bytes.size;
        }
        at += used;
    }
    return at;
}

static void on_bytes(void *self, struct slice bytes) {
    struct backend *b = self;
    struct worker *w = b->worker;
    worker_begin(w);
    if (buf_size(&b->in) > 0) {
        buf_add(&b->in, bytes);
        bytes = buf_slice(&b->in);
    }
    size_t used = b->sm.state < BACKEND_READY ? greet_take(b, bytes) : take(b, bytes);
    if (b->sm.state != BACKEND_GONE) {
        if (buf_size(&b->in) > 0)
            buf_consume(&b->in, used);
        else if (used < bytes.size)
            buf_add(&b->in, slice_drop(bytes, used));
        if (w->held) worker_check_held(w);
    }
    worker_run_ready(w);
}

static void on_open(void *self) {
    struct backend *b = self;
    worker_begin(b->worker);
    greet_begin(b);
    worker_run_ready(b->worker);
}

static void on_drain(void *self) {
    struct backend *b = self;
    worker_begin(b->worker);
    worker_unpark_all(b->worker, PARK_FLOW);
    worker_run_ready(b->worker);
}

/* What was asked and not answered is lost: to be known to be gone before anybody relies on it. */
static struct grave *dig_part(struct backend *b, const struct shards_end *end) {
    struct grave *part = NEW(struct grave);
    part->side = b->side;
    part->server_id = end->server_id;
    (void)snprintf(part->run_id, sizeof part->run_id, "%s", end->run_id);
    part->journaled = *end->journaled;
    part->lane = -1;
    list_push(&b->worker->graves, &part->link);
    return part;
}

/* Of a Cluster each node is asked for its own part; the whole is gone with the last of them. */
static void bury_branch(void *self, struct shards_end *end) {
    struct backend *b = self;
    if (!end->unanswered) {
        if (*end->journaled) dual_branch_gone(b, end);
        *end->journaled = false;
        return;
    }
    if (b->grave == NULL) {
        b->grave = NEW(struct grave);
        b->grave->side = b->side;
        b->grave->lane = -1;
    }
    struct grave *part = dig_part(b, end);
    part->whole = b->grave;
    b->grave->parts++;
    log_info("backend.buried", LOG_S("side", gateway_side_name(b->side)),
             LOG_I("server_id", end->server_id), LOG_S("run_id", end->run_id));
}

static void bury(struct backend *b) {
    if (b->shards != NULL) shards_conn_each(b->shards, bury_branch, b);
    if (b->due == 0 || b->shards != NULL) return;
    if (b->witness != NULL) return; /* it writes nothing */
    struct grave *grave = NEW(struct grave);
    grave->side = b->side;
    grave->server_id = b->server_id;
    memcpy(grave->run_id, b->run_id, sizeof grave->run_id);
    grave->journaled = b->journaled;
    grave->lane = -1;
    b->grave = grave;
    list_push(&b->worker->graves, &grave->link);
    log_info("backend.buried", LOG_S("side", gateway_side_name(b->side)),
             LOG_U("unanswered", b->due), LOG_I("server_id", b->server_id));
}

/* The entries go one by one, so that a client that still has others is told once. */
static void lose_queue(struct backend *b) {
    while (b->head != NULL) {
        struct req *req = b->head;
        struct client *client = req->client;
        b->head = req->next;
        if (client != NULL && req->kind != REQ_TEXT && req->kind != REQ_DROP)
            count(b, req, OUTCOME_LOST,
                  req->kind == REQ_RELAY || req->kind == REQ_EACH ? req->replies : 1);
        buf_clear(&req->text);
        if (req->kind == REQ_WHOLE) req->done(req, b, (struct slice){0});
        buf_close(&req->text);
        pool_give(&b->worker->reqs, req);
        if (client == NULL) continue;
        if (--client->outstanding > 0) continue;
        client->replies = 0;
        client_lost_backend(client, true);
    }
    b->tail = NULL;
    b->due = 0;
}

void backend_abort(struct backend *b) {
    if (b->sm.state == BACKEND_GONE) return;
    struct worker *w = b->worker;
    bool was_ready = b->sm.state == BACKEND_READY;
    sm_move(&b->sm, BACKEND_GONE);
    if (was_ready) {
        bury(b);
        counter_set(&w->counters.backends_up, counter_get(&w->counters.backends_up) - 1);
    }
    if (!b->dedicated)
        w->shared[b->side][b->proto - 2][b->place] = NULL;
    else
        w->lease_count--;
    if (b->dedicated && !was_ready) w->lease_dialling--;
    if (list_is_linked(&b->idle)) w->idle_count--;
    list_remove(&b->idle);
    list_remove(&b->link);
    struct client *lessee = b->lessee, *shadowed = b->shadow_of;
    b->lessee = b->shadow_of = NULL;
    lose_queue(b);
    if (b->witness != NULL) dual_witness_lost(b);
    dual_on_lost(b, was_ready);
    if (lessee != NULL) client_lost_backend(lessee, false);
    if (shadowed != NULL) subs_lost_shadow(shadowed);
    if (b->shards != NULL)
        shards_conn_abort(b->shards);
    else
        stream_abort(b->stream);
}

/* The stream is gone, whoever ended it. */
static void on_closed(void *self, enum err err, const struct why *why) {
    struct backend *b = self;
    struct worker *w = b->worker;
    worker_begin(w);
    if (b->sm.state != BACKEND_GONE) {
        if (b->sm.state < BACKEND_READY)
            greet_failed(b, err, why->text);
        else
            log_warn("backend.closed", LOG_S("side", gateway_side_name(b->side)), LOG_WHY(why));
        backend_abort(b);
    }
    buf_close(&b->in);
    mem_free(b);
    if (w->held) worker_check_held(w);
    worker_run_ready(w);
}

static const struct stream_events events = {
    .on_open = on_open, .on_bytes = on_bytes, .on_drain = on_drain, .on_closed = on_closed};

struct backend *backend_open(struct worker *w, enum side side, unsigned proto, bool dedicated) {
    struct backend *b = NEW(struct backend);
    b->worker = w;
    b->side = side;
    b->proto = (uint8_t)proto;
    b->dedicated = dedicated;
    b->epoch = w->epoch;
    b->id = ++w->next_backend;
    b->sm = greet_machine();
    list_push(&w->backends, &b->link);
    if (dedicated) {
        w->lease_count++;
        w->lease_dialling++;
    }
    if (w->shards[side] != NULL) {
        b->shards = shards_conn_open(w->shards[side], &events, b);
        return b;
    }
    const struct drawbridge_config *config = w->gw->config;
    const struct endpoint *to =
        side == SIDE_LEGACY ? &config->legacy.endpoint : &config->target.endpoint;
    struct stream_options options = {.low_water_bytes = BACKEND_QUEUE_LOW_BYTES};
    b->stream = stream_dial(w->loop, to, &options, &events, b);
    return b;
}

void grave_close(struct worker *w, struct grave *grave) {
    struct grave *whole = grave->whole;
    list_remove(&grave->link);
    dual_on_gone(w, grave);
    mem_free(grave);
    if (whole != NULL && --whole->parts == 0) grave_close(w, whole);
}

void grave_ask(const struct grave *grave, struct buf *out) {
    char id[24];
    (void)snprintf(id, sizeof id, "%lld", (long long)grave->server_id);
    if (grave->server_id == 0)
        resp_write_words(out, "PING", NULL);
    else
        resp_write_words(out, "CLIENT", "KILL", "ID", id, NULL);
}

void grave_told(struct worker *w, uint64_t address, struct slice reply) {
    LIST_EACH(&w->graves, at) {
        struct grave *grave = LIST_OWNER(at, struct grave, link);
        if ((uint64_t)(uintptr_t)grave != address) continue;
        grave->asking = false;
        uint64_t now_ms = loop_now_ms(w->loop);
        bool unproven = grave->server_id == 0 || (reply.size > 0 && reply.data[0] == '-');
        if (unproven && reply.size > 0 && grave->answered_ms == 0) grave->answered_ms = now_ms;
        bool gone = !unproven && slice_starts(reply, SLICE(":0"));
        /* CLIENT KILL is refused there: time from an answer on is the weaker proof. (C21) */
        bool old = grave->answered_ms != 0 && now_ms - grave->answered_ms > 10000;
        if (!gone && !old) return;
        if (old) log_warn("backend.assumed_gone", LOG_I("server_id", grave->server_id));
        grave_close(w, grave);
        return;
    }
}

static void on_killed(struct req *req, struct backend *b, struct slice reply) {
    grave_told(b->worker, req->arg, reply);
}

/* A grave is closed when the server says that no such connection exists, or is another process. */
static void dig(struct grave *grave, struct backend *b) {
    if (grave->run_id[0] != '\0' && strcmp(grave->run_id, b->run_id) != 0) {
        grave_close(b->worker, grave);
        return;
    }
    struct buf out = {0};
    grave_ask(grave, &out);
    backend_write(b, buf_slice(&out));
    buf_close(&out);
    struct req *req = backend_expect(b, NULL, REQ_WHOLE, 1);
    req->done = on_killed;
    req->arg = (uint64_t)(uintptr_t)grave;
    grave->asking = true;
}

void graves_dig(struct worker *w) {
    for (struct list *next, *at = w->graves.next; at != &w->graves; at = next) {
        next = at->next;
        struct grave *grave = LIST_OWNER(at, struct grave, link);
        if (grave->asking) continue;
        if (w->shards[grave->side] != NULL) {
            shards_dig(w->shards[grave->side], grave);
            continue;
        }
        struct backend *b = dispatch_shared(w, grave->side, 2, 0); /* dialled if need be */
        if (b != NULL) dig(grave, b);
    }
}

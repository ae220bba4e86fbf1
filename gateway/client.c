/* client.c -- a client's connection: taking its requests, parking, and its end. See client.h. */
#include "gateway/client.h"

#include "gateway/backend.h"
#include "gateway/blocked.h"
#include "gateway/dual.h"
#include "gateway/far.h"
#include "gateway/multi.h"
#include "gateway/reads_loop.h"
#include "gateway/subs.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"

#include <stdarg.h>
#include <stdio.h>

#define GIVEN_UP_MS 1000u

/* A client that does not read its answers is not asked for more questions: on_drain wakes it. */
static bool may_run(const struct client *c) {
    return c->stream != NULL && !c->closing && !c->busy && !c->wait_idle && !c->worker->end.on &&
           !list_is_linked(&c->parked) &&
           stream_queued_bytes(c->stream) <= CLIENT_OUTPUT_HIGH_BYTES;
}

/* What a request may be like depends on whether the client has authenticated. */
static const struct resp_request_limits *limits_of(const struct client *c) {
    return c->authed ? &resp_request_limits_open : &resp_request_limits_closed;
}

/* Take requests from the front of BYTES; returns how many bytes are done with. */
static size_t consume(struct client *c, struct slice bytes) {
    size_t at = 0;
    while (at < bytes.size && may_run(c)) {
        size_t used = 0;
        struct why why;
        struct slice rest = slice_drop(bytes, at);
        enum step step = resp_request_next(&c->request, limits_of(c), rest, &used, &why);
        if (step == STEP_MORE) break;
        if (step == STEP_FAIL) {
            counter_add(&c->worker->counters.rejected, 1);
            client_reply_errorf(c, "ERR %s", why.text);
            client_close(c);
            return bytes.size;
        }
        if (c->request.argc > 0) {
            enum take take = client_request(c, slice_take(rest, used));
            if (take == TAKE_WAIT) break;
            if (take == TAKE_STOP) return bytes.size;
        }
        at += used;
    }
    return at;
}

/* Read on, or let the socket's buffer fill up: a client that may not run is not read for ever. */
static void govern_reading(struct client *c) {
    if (c->stream == NULL) return;
    bool full = buf_size(&c->in) > CLIENT_UNREAD_BYTES && !may_run(c);
    if (full && !stream_is_paused(c->stream)) stream_pause(c->stream);
    if (!full && stream_is_paused(c->stream)) stream_resume(c->stream);
}

/* Waits for what may never come, as Redis would not for a client that has ended its half. */
static bool waits_for_ever(const struct client *c) {
    return c->blocked != NULL || c->dual_wait != NULL || c->far_wait != NULL || c->monitor ||
           c->tracking || subs_count(c) > 0;
}

/* A client that has said its last word, and can get no further with it. */
static void close_if_done(struct client *c) {
    if (!c->ended || c->stream == NULL) return;
    if (waits_for_ever(c)) {
        client_abort(c);
        return;
    }
    if (c->closing || c->outstanding > 0 || c->busy || c->wait_idle) return;
    if (list_is_linked(&c->parked) || list_is_linked(&c->ready)) return;
    if (buf_size(&c->in) > 0 && !may_run(c)) return; /* on_drain runs it again */
    client_close(c);
}

void client_run(struct client *c) {
    if (c->stream == NULL || c->closing) return;
    bool goes_on = !list_is_linked(&c->parked) && !c->worker->end.on;
    if (c->blocked != NULL && c->blocked->again && goes_on)
        (void)blocked_resume(c);
    if (may_run(c) && buf_size(&c->in) > 0) {
        size_t used = consume(c, buf_slice(&c->in));
        if (buf_size(&c->in) > 0) buf_consume(&c->in, used);
        buf_shrink(&c->in, 64u << 10);
    }
    govern_reading(c);
    close_if_done(c);
}

void client_wake(struct client *c) {
    if (!list_is_linked(&c->ready)) list_push(&c->worker->ready, &c->ready);
}

void client_put_back(struct client *c, struct slice request) {
    struct buf in = {0};
    if (c->stream == NULL || c->closing) return;
    buf_add(&in, request);
    buf_add(&in, buf_slice(&c->in));
    buf_close(&c->in);
    c->in = in;
    client_wake(c);
}

/* A request of many megabytes is given its whole room at once. */
static void make_room(struct client *c) {
    size_t wanted = resp_request_wants(&c->request), have = buf_size(&c->in);
    if (wanted > have + (64u << 10) && have > (32u << 10)) (void)buf_room(&c->in, wanted - have);
}

static void on_bytes(void *self, struct slice bytes) {
    struct client *c = self;
    struct worker *w = c->worker;
    worker_begin(w);
    counter_add(&w->counters.bytes_in, bytes.size);
    c->last_at_us = w->now_us;
    if (!c->authed && stream_queued_bytes(c->stream) > CLIENT_CLOSED_OUTPUT_BYTES) {
        log_info("client.unread_before_auth", LOG_S("peer", stream_peer(c->stream)));
        client_abort(c);
        return;
    }
    if (buf_size(&c->in) == 0) {
        size_t used = may_run(c) ? consume(c, bytes) : 0;
        if (used < bytes.size && !c->closing) buf_add(&c->in, slice_drop(bytes, used));
    } else {
        make_room(c);
        buf_add(&c->in, bytes);
        if (may_run(c)) {
            size_t used = consume(c, buf_slice(&c->in));
            if (buf_size(&c->in) > 0) buf_consume(&c->in, used);
        }
    }
    govern_reading(c);
    worker_run_ready(w);
}

/* Held, or with no primary side for long: who ends then has given up, perhaps to ask again
 * elsewhere, and what it asked for shall not happen later. A connection that is being dialled is no
 * such wait. */
static bool has_given_up(const struct client *c) {
    const struct worker *w = c->worker;
    if (!list_is_linked(&c->parked) || c->park == PARK_FLOW) return false;
    bool away =
        w->unready_since_ms != 0 && loop_now_ms(w->loop) - w->unready_since_ms > GIVEN_UP_MS;
    return w->held || away;
}

/* `nc`, and whoever ends its half after a pipeline, still gets its answers, as from Redis. */
static void on_eof(void *self) {
    struct client *c = self;
    worker_begin(c->worker);
    c->ended = true;
    if (has_given_up(c) && !waits_for_ever(c))
        client_close(c);
    else
        close_if_done(c);
    worker_run_ready(c->worker);
}

static void on_drain(void *self) {
    struct client *c = self;
    worker_begin(c->worker);
    client_wake(c);
    worker_run_ready(c->worker);
}

static void leave_park(struct client *c) {
    if (!list_is_linked(&c->parked)) return;
    list_remove(&c->parked);
    ASSERT(c->worker->parked_count[c->park] > 0);
    c->worker->parked_count[c->park]--;
}

static void free_client(struct client *c) {
    ASSERT(c->outstanding == 0 && c->stream == NULL);
    if (c->freed) return; /* its memory lives until the turn ends */
    c->freed = true;
    list_remove(&c->ready);
    leave_park(c);
    resp_request_close(&c->request);
    buf_close(&c->in);
    buf_close(&c->tracking_on);
    multi_free(c);
    blocked_free(c);
    dual_forget(c);
    canary_forget(c);
    far_forget(c);
    subs_free(c);
    mem_free(c->name);
    mem_free(c->lib_name);
    mem_free(c->lib_version);
    loop_free_later(c->worker->loop, c);
}

/* The socket is gone. What is on its way to the primary side will be answered and dropped. */
static void on_closed(void *self, enum err err, const struct why *why) {
    (void)err;
    (void)why;
    struct client *c = self;
    struct worker *w = c->worker;
    worker_begin(w);
    c->stream = NULL;
    c->closing = true;
    list_remove(&c->link);
    leave_park(c);
    counter_set(&w->counters.clients, counter_get(&w->counters.clients) - 1);
    atomic_fetch_sub(&w->gw->client_count, 1);
    if (c->leased) client_unlease(c, false);
    if (c->outstanding == 0) free_client(c);
    if (w->held) worker_check_held(w);
    worker_run_ready(w);
}

static const struct stream_events events = {
    .on_bytes = on_bytes, .on_drain = on_drain, .on_eof = on_eof, .on_closed = on_closed};

struct client *client_accept(struct worker *w, struct stream *stream) {
    struct client *c = NEW(struct client);
    c->worker = w;
    c->stream = stream;
    c->id = atomic_fetch_add(&w->gw->next_client, 1) + 1;
    c->created_at_s = w->now_us / 1000000;
    c->last_at_us = w->now_us;
    client_reset(c);
    list_init(&c->far);
    list_push(&w->clients, &c->link);
    stream_set_owner(stream, &events, c);
    return c;
}

void client_reset(struct client *c) {
    const struct drawbridge_config *config = c->worker->gw->config;
    c->proto = 2;
    c->db = 0;
    c->reply_mode = REPLY_ON;
    c->skip_next = false;
    c->authed = !secret_is_set(&config->gateway.auth.password);
    c->no_evict = c->no_touch = false;
    client_put_text(&c->name, (struct slice){0});
}

void client_put_text(char **field, struct slice text) {
    mem_free(*field);
    *field = NULL;
    if (text.size == 0) return;
    size_t size = text.size < CLIENT_NAME_BYTES ? text.size : CLIENT_NAME_BYTES;
    *field = mem_alloc(size + 1);
    memcpy(*field, text.data, size);
    (*field)[size] = '\0';
}

/* What is queued at a backend for the client's socket still comes first. */
void client_close(struct client *c) {
    c->closing = true;
    buf_clear(&c->in);
    leave_park(c);
    if (c->stream != NULL && c->outstanding == 0) stream_close(c->stream);
}

void client_abort(struct client *c) {
    c->closing = true;
    leave_park(c);
    if (c->stream != NULL) stream_abort(c->stream);
}

void client_on_idle(struct client *c) {
    c->replies = 0;
    c->wait_idle = false;
    if (c->wrote) c->wrote_at_us = c->worker->now_us;
    c->wrote = false;
    if (c->leased && c->lease_ends) client_unlease(c, true);
    if (!c->leased) c->conn = NULL;
    if (c->stream == NULL) {
        free_client(c);
        return;
    }
    if (c->closing) {
        stream_close(c->stream);
        return;
    }
    if (buf_size(&c->in) > 0 || c->ended || stream_is_paused(c->stream)) client_wake(c);
}

/* Its connection broke: the client gets the answers that came, and then its connection is closed,
 * which is what the retry rules of client libraries understand (C21). Others notice nothing. */
void client_lost_backend(struct client *c, bool unanswered) {
    if (c->leased) {
        c->leased = false;
        c->lease_ends = false;
        if (c->watching) c->watch_lost = true;
        if (c->monitor || c->tracking || subs_count(c) > 0) unanswered = true;
    }
    if (c->outstanding == c->far_count) c->conn = NULL;
    c->wait_idle = c->busy = false;
    if (c->stream == NULL) {
        if (c->outstanding == 0) free_client(c);
        return;
    }
    if (unanswered) {
        if (!c->closing) counter_add(&c->worker->counters.broken_clients, 1);
        client_close(c);
    } else {
        client_wake(c);
    }
}

enum take client_park(struct client *c, enum park park) {
    ASSERT(!list_is_linked(&c->parked));
    struct worker *w = c->worker;
    c->park = (uint8_t)park;
    c->parked_at_us = w->now_us;
    if (w->held && c->held_at_us == 0) c->held_at_us = w->now_us;
    list_push(&w->parked[park], &c->parked);
    w->parked_count[park]++;
    return TAKE_WAIT;
}

void client_unpark(struct client *c) {
    struct worker *w = c->worker;
    leave_park(c);
    if (c->held_at_us != 0 && !w->held) {
        uint64_t held_us = w->now_us - c->held_at_us;
        hist_record(&w->counters.held_us, held_us);
        if (held_us > w->held_us_max) w->held_us_max = held_us;
        c->held_at_us = 0;
    }
    client_wake(c);
}

enum take client_wait_idle(struct client *c) {
    ASSERT(c->outstanding > 0);
    c->wait_idle = true;
    return TAKE_WAIT;
}

/* ---- answers of our own ---- */
void client_reply(struct client *c, struct slice bytes) {
    counter_add(&c->worker->counters.local, 1);
    if (c->stream == NULL || c->reply_mode != REPLY_ON) return;
    if (c->outstanding == 0) {
        counter_add(&c->worker->counters.bytes_out, bytes.size);
        stream_write(c->stream, bytes);
        return;
    }
    if (c->far_count > 0) {
        far_text(c, bytes);
        return;
    }
    struct backend *b = c->conn;
    struct req *tail = b->tail;
    if (tail == NULL || tail->client != c || tail->kind != REQ_TEXT)
        tail = backend_expect(b, c, REQ_TEXT, 0);
    buf_add(&tail->text, bytes);
    c->replies +=
        1 + (uint32_t)(bytes.size >> 10); /* they wait for the backend's: so many, and no more */
    if (c->replies > CLIENT_REPLIES_MAX) c->wait_idle = true;
}

void client_reply_scratch(struct client *c) {
    client_reply(c, buf_slice(&c->worker->scratch));
    buf_clear(&c->worker->scratch);
}

void client_reply_ok(struct client *c) {
    client_reply(c, SLICE("+OK\r\n"));
}

void client_reply_errorf(struct client *c, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    buf_clear(&c->worker->scratch);
    resp_write_verrorf(&c->worker->scratch, fmt, args);
    va_end(args);
    client_reply_scratch(c);
}

struct slice client_raw(struct client *c) {
    buf_clear(&c->worker->scratch);
    resp_write_command(&c->worker->scratch, c->request.argc, c->request.argv);
    return buf_slice(&c->worker->scratch);
}

/* rconn.c -- an asynchronous connection to a Redis. See rconn.h.
 *
 *     stream bytes -> `in` -> replies -> the greeting, then the oldest of `pending`
 *     commands -> `held` until the greeting is done -> stream
 */
#include "lib/control/rconn.h"

#include "lib/base/mem.h"
#include "lib/control/greeting.h"
#include "lib/net/loop.h"

#include <string.h>

#define REPLY_BYTES_DEFAULT ((size_t)513 << 20)
#define REPLY_ITEMS_MAX 4000000u
#define IN_KEEP_BYTES (64u * 1024)

struct pending {
    rconn_on_reply *on_reply; /* NULL: the reply is dropped */
    void *self;
    size_t replies; /* still to come */
};

struct rconn {
    struct loop *loop;
    struct stream *stream;             /* NULL once it has ended */
    const struct rconn_events *events; /* NULL: dropped */
    void *self;
    struct greeting greeting;
    struct buf held; /* commands given before the greeting was answered */
    bool ready, finishing;
    struct pending *pending; /* a ring; cap is a power of two */
    size_t pending_head, pending_count, pending_cap;
    size_t replies; /* sum of pending[].replies */
    struct buf in;  /* the beginning of a reply */
    struct resp_reply_reader reader;
    struct resp_reply_limits limits;
    uint32_t reply_timeout_ms;
    uint64_t oldest_since_ms; /* since when the oldest pending one is that */
    struct loop_timer timer;
    struct loop_work free_work;
    enum err err; /* what we ended it for; OK: the stream's own end counts */
    struct why why;
};

/* ---- pending commands ---- */

static void push_pending(struct rconn *conn, struct pending pending) {
    if (conn->pending_count == conn->pending_cap) {
        size_t cap = conn->pending_cap ? conn->pending_cap * 2 : 16;
        struct pending *ring = NEW_ARRAY(struct pending, cap);
        for (size_t i = 0; i < conn->pending_count; i++)
            ring[i] = conn->pending[(conn->pending_head + i) & (conn->pending_cap - 1)];
        mem_free(conn->pending);
        conn->pending = ring;
        conn->pending_cap = cap;
        conn->pending_head = 0;
    }
    if (conn->pending_count == 0) conn->oldest_since_ms = loop_now_ms(conn->loop);
    conn->pending[(conn->pending_head + conn->pending_count++) & (conn->pending_cap - 1)] = pending;
    conn->replies += pending.replies;
}

/* Whose reply comes next; takes one reply off it. */
static struct pending take_pending(struct rconn *conn) {
    struct pending *oldest = &conn->pending[conn->pending_head];
    struct pending taken = *oldest;
    conn->replies--;
    conn->oldest_since_ms = loop_now_ms(conn->loop);
    if (--oldest->replies == 0) {
        conn->pending_head = (conn->pending_head + 1) & (conn->pending_cap - 1);
        conn->pending_count--;
    }
    return taken;
}

/* ---- the end ---- */

static void free_conn(void *self) {
    struct rconn *conn = self;
    buf_close(&conn->in);
    buf_close(&conn->held);
    mem_free(conn->pending);
    mem_free(conn);
}

/* End it for a reason of ours; the rest happens in on_closed. The first reason counts. */
static void give_up(struct rconn *conn, enum err err, const struct why *why) {
    if (conn->stream == NULL || conn->err) return;
    conn->err = err;
    conn->why = *why;
    stream_abort(conn->stream);
}

static void on_closed(void *self, enum err err, const struct why *why) {
    struct rconn *conn = self;
    conn->stream = NULL;
    conn->ready = false;
    loop_timer_stop(&conn->timer);
    if (conn->err == OK) {
        conn->err = err;
        conn->why = *why;
    }
    if (conn->err == OK) why_set(&conn->why, ERR_STOPPED, "the connection was closed by us");
    while (conn->pending_count && conn->events) {
        struct pending pending = take_pending(conn);
        if (pending.on_reply) pending.on_reply(pending.self, NULL, &conn->why);
    }
    if (conn->events) conn->events->on_down(conn->self, conn->err, &conn->why);
    if (conn->events) free_conn(conn); /* else rconn_drop() has asked for it */
}

/* ---- the beginning ---- */

static void become_ready(struct rconn *conn) {
    conn->ready = true;
    stream_write_buf(conn->stream, &conn->held);
    if (conn->events->on_ready) conn->events->on_ready(conn->self);
    if (conn->events && conn->finishing && conn->replies == 0 && conn->stream)
        stream_close(conn->stream);
}

static void on_open(void *self) {
    struct rconn *conn = self;
    if (greeting_is_done(&conn->greeting)) become_ready(conn);
}

static void take_greeting(struct rconn *conn, const struct resp_reply *reply) {
    struct why why;
    enum err err = greeting_take(&conn->greeting, reply, &why);
    if (err) {
        give_up(conn, err, (why_add(&why, err, "%s", stream_peer(conn->stream)), &why));
        return;
    }
    if (greeting_is_done(&conn->greeting)) become_ready(conn);
}

/* ---- replies ---- */

static void nobody_asked(struct rconn *conn, const struct resp_reply *reply) {
    struct why why;
    bool error = resp_reply_is_error(reply);
    size_t size = reply->text.size < 200 ? reply->text.size : 200;
    enum err err = error ? ERR_REFUSED : ERR_PROTO;
    why_set(&why, err, error ? "%s says: %.*s" : "%s sent a reply that nobody had asked for",
            stream_peer(conn->stream), error ? (int)size : 0, (const char *)reply->text.data);
    give_up(conn, err, &why);
}

static void take_reply(struct rconn *conn, const struct resp_reply *reply) {
    struct why none = {""};
    if (reply->kind == RESP_PUSH) {
        if (conn->events->on_push) conn->events->on_push(conn->self, reply);
    } else if (!greeting_is_done(&conn->greeting)) {
        take_greeting(conn, reply);
    } else if (conn->pending_count) {
        struct pending pending = take_pending(conn);
        if (pending.on_reply) pending.on_reply(pending.self, reply, &none);
        bool done = conn->events && conn->finishing && conn->replies == 0 && conn->stream;
        if (done) stream_close(conn->stream);
    } else if (reply->kind == RESP_ARRAY && conn->events->on_push) {
        conn->events->on_push(conn->self, reply); /* a message of RESP2's pub/sub */
    } else {
        nobody_asked(conn, reply);
    }
}

/* Whether it still makes sense to read. */
static bool is_alive(const struct rconn *conn) {
    return conn->events && conn->stream && conn->err == OK;
}

/* Take the whole replies from the front of BYTES; returns how many bytes that were. */
static size_t take_replies(struct rconn *conn, struct slice bytes) {
    size_t taken = 0;
    while (taken < bytes.size && is_alive(conn)) {
        struct resp_reply *reply;
        size_t used;
        struct why why;
        enum step step = resp_reply_next(&conn->reader, &conn->limits, slice_drop(bytes, taken),
                                         &reply, &used, &why);
        if (step == STEP_MORE) break;
        if (step == STEP_FAIL) {
            why_add(&why, ERR_PROTO, "reply of %s", stream_peer(conn->stream));
            give_up(conn, ERR_PROTO, &why);
            break;
        }
        taken += used;
        take_reply(conn, reply);
        resp_reply_free(reply);
    }
    return taken;
}

static void on_bytes(void *self, struct slice bytes) {
    struct rconn *conn = self;
    if (buf_size(&conn->in) == 0) {
        size_t taken = take_replies(conn, bytes);
        buf_add(&conn->in, slice_drop(bytes, taken));
        return;
    }
    buf_add(&conn->in, bytes);
    buf_consume(&conn->in, take_replies(conn, buf_slice(&conn->in)));
    buf_shrink(&conn->in, IN_KEEP_BYTES);
}

static void on_drain(void *self) {
    struct rconn *conn = self;
    if (conn->events->on_drain) conn->events->on_drain(conn->self);
}

static const struct stream_events stream_events = {
    .on_open = on_open,
    .on_bytes = on_bytes,
    .on_drain = on_drain,
    .on_closed = on_closed,
};

/* ---- time ---- */

static void look_at_oldest(void *self) {
    struct rconn *conn = self;
    bool waits = conn->pending_count || (stream_is_open(conn->stream) && !conn->ready);
    uint64_t waited_ms = loop_now_ms(conn->loop) - conn->oldest_since_ms;
    if (!waits || waited_ms < conn->reply_timeout_ms) return;
    struct why why;
    why_set(&why, ERR_TIMEOUT, "%s did not answer within %u ms", stream_peer(conn->stream),
            conn->reply_timeout_ms);
    give_up(conn, ERR_TIMEOUT, &why);
}

static void start_timer(struct rconn *conn, uint32_t timeout_ms) {
    conn->oldest_since_ms = loop_now_ms(conn->loop);
    conn->reply_timeout_ms = timeout_ms;
    uint32_t every_ms = timeout_ms / 4 ? timeout_ms / 4 : 1;
    if (timeout_ms)
        loop_timer_start(conn->loop, &conn->timer, every_ms, every_ms, look_at_oldest, conn);
}

/* ---- what callers use ---- */

struct rconn *rconn_dial(struct loop *loop, const struct endpoint *endpoint,
                         const struct rconn_options *options, const struct rconn_events *events,
                         void *self) {
    static const struct rconn_options none;
    if (options == NULL) options = &none;
    struct rconn *conn = NEW(struct rconn);
    conn->loop = loop;
    conn->events = events;
    conn->self = self;
    conn->limits = (struct resp_reply_limits){
        .bytes_max = options->max_reply_bytes ? options->max_reply_bytes : REPLY_BYTES_DEFAULT,
        .items_max = REPLY_ITEMS_MAX,
        .depth_max = RESP_DEPTH_MAX,
    };
    struct greeting_wish wish = {options->user, options->password, options->name, options->resp3,
                                 options->db};
    struct buf hello = {0};
    greeting_write(&conn->greeting, &wish, &hello);
    conn->stream = stream_dial(loop, endpoint, &options->stream, &stream_events, conn);
    stream_write(conn->stream, buf_slice(&hello));
    secret_wipe(hello.data, hello.cap);
    buf_close(&hello);
    start_timer(conn, options->reply_timeout_ms);
    return conn;
}

void rconn_send_raw(struct rconn *conn, struct slice bytes, size_t replies,
                    rconn_on_reply *on_reply, void *self) {
    ASSERT(replies > 0 && !conn->finishing);
    push_pending(conn, (struct pending){on_reply, self, replies});
    if (conn->ready && conn->stream)
        stream_write(conn->stream, bytes);
    else if (conn->stream)
        buf_add(&conn->held, bytes);
}

void rconn_command(struct rconn *conn, size_t argc, const struct slice *argv,
                   rconn_on_reply *on_reply, void *self) {
    struct buf buf = loop_take_buf(conn->loop);
    resp_write_command(&buf, argc, argv);
    rconn_send_raw(conn, buf_slice(&buf), 1, on_reply, self);
    loop_give_buf(conn->loop, &buf);
}

#define WORDS_MAX 64

void rconn_words(struct rconn *conn, const char *words, rconn_on_reply *on_reply, void *self) {
    struct slice argv[WORDS_MAX];
    size_t argc = 0;
    for (const char *at = words + strspn(words, " "); *at; at += strspn(at, " ")) {
        ASSERT(argc < WORDS_MAX);
        size_t size = strcspn(at, " ");
        argv[argc++] = slice_from(at, size);
        at += size;
    }
    ASSERT(argc > 0);
    rconn_command(conn, argc, argv, on_reply, self);
}

bool rconn_is_ready(const struct rconn *conn) {
    return conn->ready;
}
size_t rconn_pending(const struct rconn *conn) {
    return conn->replies;
}

size_t rconn_queued_bytes(const struct rconn *conn) {
    return buf_size(&conn->held) + (conn->stream ? stream_queued_bytes(conn->stream) : 0);
}

struct stream *rconn_stream(struct rconn *conn) {
    return conn->stream;
}

const char *rconn_peer(const struct rconn *conn) {
    return conn->stream ? stream_peer(conn->stream) : "closed";
}

void rconn_finish(struct rconn *conn) {
    conn->finishing = true;
    if (conn->ready && conn->replies == 0 && conn->stream) stream_close(conn->stream);
}

void rconn_close(struct rconn *conn) {
    if (conn->stream) stream_abort(conn->stream);
}

void rconn_drop(struct rconn *conn) {
    if (conn->events == NULL) return;
    conn->events = NULL;
    loop_timer_stop(&conn->timer);
    if (conn->stream) stream_drop(conn->stream);
    conn->stream = NULL;
    /* A callback of ours may be on the stack. */
    loop_at_end(conn->loop, &conn->free_work, free_conn, conn);
}

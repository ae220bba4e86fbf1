/* stream.c -- reading, writing and ending of streams. See stream.h and stream_inside.h. */
#include "lib/net/stream_inside.h"

#include "lib/base/mem.h"
#include "lib/net/loop_inside.h"
#include "lib/net/net_error.h"

#include <errno.h>
#include <sys/socket.h>

#define READS_PER_EVENT 4
#define PIECES_PER_SEND 32
#define LIMIT_DEFAULT_BYTES (UINT64_C(1) << 30)

static const struct sm_rule rules[] = {
    [STREAM_RESOLVING] = {"resolving", SM_TO(STREAM_CONNECTING) | SM_TO(STREAM_ENDED)},
    [STREAM_CONNECTING] = {"connecting",
                           SM_TO(STREAM_HANDSHAKE) | SM_TO(STREAM_OPEN) | SM_TO(STREAM_ENDED)},
    [STREAM_HANDSHAKE] = {"handshake", SM_TO(STREAM_OPEN) | SM_TO(STREAM_ENDED)},
    [STREAM_OPEN] = {"open", SM_TO(STREAM_CLOSING) | SM_TO(STREAM_ENDED)},
    [STREAM_CLOSING] = {"closing", SM_TO(STREAM_ENDED)},
    [STREAM_ENDED] = {"ended", 0},
};

static void flush(void *self);

/* ---- beginning and end ---- */

struct stream *stream_new(struct loop *loop, const struct stream_options *options,
                          const struct stream_events *events, void *self) {
    struct stream *stream = NEW(struct stream);
    stream->loop = loop;
    stream->events = events;
    stream->self = self;
    stream->state = (struct sm){rules, STREAM_RESOLVING};
    stream->fd = -1;
    if (options) stream->options = *options;
    struct stream_options *o = &stream->options;
    if (o->connect_timeout_ms == 0) o->connect_timeout_ms = 5000;
    if (o->flush_timeout_ms == 0) o->flush_timeout_ms = 5000;
    if (o->queue_limit_bytes == 0) o->queue_limit_bytes = LIMIT_DEFAULT_BYTES;
    if (o->keepalive_s == 0) o->keepalive_s = 60;
    outq_init(&stream->out);
    outq_init(&stream->plain);
    return stream;
}

static void finish(void *self) {
    struct stream *stream = self;
    struct why none = {""};
    if (stream->events && stream->events->on_closed)
        stream->events->on_closed(stream->self, stream->err, stream->why ? stream->why : &none);
    stream_unwatch(stream);
    outq_close(&stream->out, stream->loop); /* room that was asked for after the end */
    mem_free(stream->peer);
    mem_free(stream->local);
    mem_free(stream->why);
    mem_free(stream);
}

void stream_end(struct stream *stream, enum err err, const struct why *why) {
    if (stream->state.state == STREAM_ENDED) return;
    sm_move(&stream->state, STREAM_ENDED);
    stream->err = err;
    if (why) stream->why = mem_dup(why, sizeof *why);
    stream_update_poll(stream);
    loop_timer_stop(&stream->timer);
    loop_work_cancel(&stream->flush_work);
    loop_work_cancel(&stream->drain_work);
    loop_work_cancel(&stream->read_work);
    outq_close(&stream->out, stream->loop);
    outq_close(&stream->plain, stream->loop);
    (void)stream_peer(stream); /* while the dialled name is known */
    stream_dial_close(stream);
    stream_tls_close(stream);
    loop_at_end(stream->loop, &stream->end_work, finish, stream);
}

static void end_by_errno(struct stream *stream, int error, const char *doing) {
    struct why why;
    enum err err = net_fail(&why, error, doing, stream_peer(stream));
    stream_end(stream, err, &why);
}

static void on_connect_timeout(void *self) {
    struct stream *stream = self;
    struct why why;
    static const char *const doing[] = {"resolving the name", "connecting", "the TLS handshake"};
    ASSERT(stream->state.state <= STREAM_HANDSHAKE);
    stream_end(
        stream, ERR_TIMEOUT,
        (why_set(&why, ERR_TIMEOUT, "connect to %s: %s took longer than %u ms", stream_peer(stream),
                 doing[stream->state.state], stream->options.connect_timeout_ms),
         &why));
}

void stream_start_timer(struct stream *stream) {
    loop_timer_start(stream->loop, &stream->timer, stream->options.connect_timeout_ms, 0,
                     on_connect_timeout, stream);
}

void stream_connected(struct stream *stream) {
    stream_set_socket_options(stream);
    if (stream->session == NULL) {
        stream_opened(stream, true);
        return;
    }
    sm_move(&stream->state, STREAM_HANDSHAKE);
    stream_update_poll(stream);
    stream_tls_feed(stream, slice_from(NULL, 0));
}

void stream_opened(struct stream *stream, bool tell) {
    sm_move(&stream->state, STREAM_OPEN);
    loop_timer_stop(&stream->timer);
    stream_update_poll(stream);
    if (stream->plain.bytes || stream->out.bytes) stream_ask_flush(stream);
    if (tell && stream->events && stream->events->on_open) stream->events->on_open(stream->self);
}

struct stream *stream_adopt(struct loop *loop, int fd, struct tls *tls,
                            const struct stream_options *options,
                            const struct stream_events *events, void *self) {
    struct stream *stream = stream_new(loop, options, events, self);
    struct why why;
    sm_move(&stream->state, STREAM_CONNECTING);
    stream->fd = fd;
    enum err err = stream_watch(stream, fd, &why);
    if (err == OK && tls) {
        stream->tls = tls_hold(tls);
        err = stream_tls_begin(stream, NULL, false, &why);
    }
    if (err) {
        stream_end(stream, err, &why);
        return stream;
    }
    stream_set_socket_options(stream);
    if (tls == NULL) {
        stream_opened(stream, false);
        return stream;
    }
    sm_move(&stream->state, STREAM_HANDSHAKE);
    stream_start_timer(stream);
    stream_update_poll(stream);
    return stream;
}

void stream_set_owner(struct stream *stream, const struct stream_events *events, void *self) {
    stream->events = events;
    stream->self = self;
}

/* ---- reading ---- */

void stream_deliver(struct stream *stream, struct slice bytes) {
    if (bytes.size && stream->events && stream->events->on_bytes &&
        stream->state.state == STREAM_OPEN)
        stream->events->on_bytes(stream->self, bytes);
}

void stream_read_ended(struct stream *stream) {
    bool early = stream->state.state == STREAM_HANDSHAKE;
    if (!early && stream->events && stream->events->on_eof) {
        stream->read_ended = true;
        stream_update_poll(stream);
        stream->events->on_eof(stream->self);
        return;
    }
    struct why why;
    flush(stream); /* a peer that closed only its own half still gets what is queued */
    why_set(&why, ERR_CLOSED, "%s closed the connection%s", stream_peer(stream),
            early ? " during the TLS handshake" : "");
    stream_end(stream, ERR_CLOSED, &why);
}

static void read_socket(struct stream *stream) {
    for (int i = 0; i < READS_PER_EVENT; i++) {
        uint8_t *room = stream->loop->read_bytes;
        ssize_t got = recv(stream->fd, room, LOOP_READ_BYTES, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) return;
        if (got < 0) {
            end_by_errno(stream, errno, "read from");
            return;
        }
        if (got == 0) {
            stream_read_ended(stream);
            return;
        }
        stream->bytes_in += (uint64_t)got;
        struct slice bytes = slice_from(room, (size_t)got);
        if (stream->session)
            stream_tls_feed(stream, bytes);
        else
            stream_deliver(stream, bytes);
        bool more = stream_wants_bytes(stream) || stream->state.state == STREAM_HANDSHAKE;
        if (!more || got < (ssize_t)LOOP_READ_BYTES) return;
    }
}

void stream_pause(struct stream *stream) {
    if (stream->paused) return;
    stream->paused = true;
    stream_update_poll(stream);
}

static void read_kept(void *self) {
    struct stream *stream = self;
    if (stream_wants_bytes(stream)) stream_tls_resume(stream);
}

void stream_resume(struct stream *stream) {
    if (!stream->paused) return;
    stream->paused = false;
    stream_update_poll(stream);
    if (stream->session && stream->state.state == STREAM_OPEN)
        loop_at_flush(stream->loop, &stream->read_work, read_kept, stream);
}

/* ---- writing ---- */

/* Give the kernel what it takes. False: not all of it. */
static bool send_some(struct stream *stream) {
    while (stream->out.bytes) {
        struct iovec pieces[PIECES_PER_SEND];
        struct msghdr message = {.msg_iov = pieces};
        message.msg_iovlen = outq_pieces(&stream->out, pieces, PIECES_PER_SEND);
        ssize_t sent = sendmsg(stream->fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno == EAGAIN) {
            stream->send_blocked = true;
            return false;
        }
        if (sent < 0 && stream_wants_bytes(stream)) {
            /* Perhaps it said why before it went: read on, and end when that ends. */
            stream->broken = true;
            outq_close(&stream->out, stream->loop);
            outq_close(&stream->plain, stream->loop);
            return true;
        }
        if (sent < 0) {
            end_by_errno(stream, errno, "write to");
            return false;
        }
        stream->bytes_out += (uint64_t)sent;
        outq_consume(&stream->out, stream->loop, (size_t)sent);
    }
    return true;
}

/* The queue is empty and the owner wanted to leave. */
static void finish_closing(struct stream *stream) {
    /* Closing with unread bytes would send a reset, and that could overtake our last reply. */
    for (int i = 0; i < READS_PER_EVENT; i++)
        if (recv(stream->fd, stream->loop->read_bytes, LOOP_READ_BYTES, 0) <= 0) break;
    stream_end(stream, OK, NULL);
}

static void tell_drained(void *self) {
    struct stream *stream = self;
    if (stream->events && stream->events->on_drain && stream->state.state == STREAM_OPEN)
        stream->events->on_drain(stream->self);
}

static void flush(void *self) {
    struct stream *stream = self;
    unsigned state = stream->state.state;
    bool may_send = state == STREAM_HANDSHAKE || state == STREAM_OPEN || state == STREAM_CLOSING;
    if (!may_send || stream->send_blocked) return;
    bool all = true;
    for (;;) {
        if (stream->session && state != STREAM_HANDSHAKE) stream_tls_encrypt(stream);
        if (stream->out.bytes == 0) break;
        all = send_some(stream);
        if (!all) break;
    }
    if (stream->state.state == STREAM_ENDED) return;
    if (stream->was_above && stream_queued_bytes(stream) <= stream->options.low_water_bytes) {
        stream->was_above = false;
        loop_at_end(stream->loop, &stream->drain_work, tell_drained, stream);
    }
    if (all && stream->state.state == STREAM_CLOSING) {
        finish_closing(stream);
        return;
    }
    stream_update_poll(stream);
}

static void end_at_limit(struct stream *stream) {
    struct why why;
    why_set(&why, ERR_LIMIT, "%s does not read: more than %zu bytes wait for it",
            stream_peer(stream), stream->options.queue_limit_bytes);
    stream_end(stream, ERR_LIMIT, &why);
}

static struct outq *entry(struct stream *stream) {
    return stream->tls ? &stream->plain : &stream->out;
}

static bool takes_writes(const struct stream *stream) {
    return stream->state.state < STREAM_CLOSING && !stream->broken;
}

static void written(struct stream *stream) {
    size_t queued = stream_queued_bytes(stream);
    if (queued > stream->options.queue_limit_bytes) {
        end_at_limit(stream);
        return;
    }
    if (queued > stream->options.low_water_bytes) stream->was_above = true;
    if (!stream->send_blocked) stream_ask_flush(stream);
}

void stream_ask_flush(struct stream *stream) {
    loop_at_flush(stream->loop, &stream->flush_work, flush, stream);
}

void stream_write(struct stream *stream, struct slice bytes) {
    if (bytes.size == 0 || !takes_writes(stream)) return;
    outq_add(entry(stream), stream->loop, bytes);
    written(stream);
}

void stream_write_buf(struct stream *stream, struct buf *buf) {
    if (buf_size(buf) == 0 || !takes_writes(stream)) {
        buf_close(buf);
        return;
    }
    outq_add_buf(entry(stream), stream->loop, buf);
    written(stream);
}

uint8_t *stream_room(struct stream *stream, size_t size) {
    return outq_room(entry(stream), stream->loop, size);
}

void stream_filled(struct stream *stream, size_t size) {
    outq_filled(entry(stream), size);
    if (takes_writes(stream))
        written(stream);
    else
        outq_close(entry(stream), stream->loop);
}

void stream_flush(struct stream *stream) {
    flush(stream);
}

size_t stream_queued_bytes(const struct stream *stream) {
    return stream->plain.bytes + stream->out.bytes;
}

/* ---- events of the socket ---- */

void stream_on_poll(struct stream *stream, bool failed, int events) {
    if (stream->state.state == STREAM_CONNECTING) {
        stream_dial_event(stream);
        return;
    }
    if (stream->send_blocked && (failed || (events & UV_WRITABLE))) {
        stream->send_blocked = false;
        flush(stream);
    }
    bool reads = stream_wants_bytes(stream) || stream->state.state == STREAM_HANDSHAKE;
    if (reads && (failed || (events & UV_READABLE))) read_socket(stream);
    if (failed) stream_update_poll(stream); /* libuv stopped watching; we may still want to */
}

/* ---- leaving ---- */

static void on_flush_timeout(void *self) {
    struct stream *stream = self;
    struct why why;
    why_set(&why, ERR_TIMEOUT, "%s did not take the last %zu bytes within %u ms",
            stream_peer(stream), stream_queued_bytes(stream), stream->options.flush_timeout_ms);
    stream_end(stream, ERR_TIMEOUT, &why);
}

void stream_close(struct stream *stream) {
    if (stream->state.state >= STREAM_CLOSING) return;
    if (stream->state.state != STREAM_OPEN || stream->broken) {
        stream_end(stream, OK, NULL);
        return;
    }
    sm_move(&stream->state, STREAM_CLOSING);
    loop_timer_start(stream->loop, &stream->timer, stream->options.flush_timeout_ms, 0,
                     on_flush_timeout, stream);
    stream_ask_flush(stream);
    stream_update_poll(stream);
}

void stream_abort(struct stream *stream) {
    stream_end(stream, OK, NULL);
}

void stream_leave(struct stream *stream) {
    stream->events = NULL;
    stream_close(stream);
}

void stream_drop(struct stream *stream) {
    stream->events = NULL;
    stream_end(stream, OK, NULL);
}

/* ---- looking ---- */

bool stream_is_paused(const struct stream *stream) {
    return stream->paused;
}
bool stream_is_open(const struct stream *stream) {
    return stream->state.state == STREAM_OPEN;
}
bool stream_is_tls(const struct stream *stream) {
    return stream->tls != NULL;
}
int stream_fd(const struct stream *stream) {
    return stream->fd;
}
struct loop *stream_loop(const struct stream *stream) {
    return stream->loop;
}
uint64_t stream_bytes_in(const struct stream *stream) {
    return stream->bytes_in;
}
uint64_t stream_bytes_out(const struct stream *stream) {
    return stream->bytes_out;
}

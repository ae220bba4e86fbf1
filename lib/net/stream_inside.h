/* stream_inside.h -- what a stream is made of; for the stream's own files only.
 *
 *     RESOLVING --> CONNECTING --> HANDSHAKE --> OPEN --> CLOSING --> ENDED
 *         |            |  ^ next      |           |          |          ^
 *         |            +--+ address   |           |          |          |
 *         +------------+--------------+-----------+----------+----------+
 *
 * ENDED: on_closed is to be called at the end of the turn; then the memory is freed. Nothing else
 * frees it, so every function may go on using the stream after it called the owner.
 */
#ifndef LIB_NET_STREAM_INSIDE_H
#define LIB_NET_STREAM_INSIDE_H

#include "lib/base/sm.h"
#include "lib/net/loop.h"
#include "lib/net/openssl.h"
#include "lib/net/outq.h"
#include "lib/net/stream.h"
#include "lib/net/tls.h"

enum stream_state {
    STREAM_RESOLVING,
    STREAM_CONNECTING,
    STREAM_HANDSHAKE,
    STREAM_OPEN,
    STREAM_CLOSING,
    STREAM_ENDED,
};

struct stream_dial; /* names and addresses; only until connected */
struct poller;      /* a uv_poll_t, which libuv frees in its own time */

struct stream {
    struct loop *loop;
    const struct stream_events *events; /* NULL: nobody is called any more */
    void *self;
    struct stream_options options; /* zeros replaced by the defaults */
    struct sm state;               /* enum stream_state */
    int fd;                        /* -1: none */
    struct poller *poller;         /* NULL: none */
    int polled;                    /* UV_READABLE | UV_WRITABLE, what the poller waits for */
    bool paused, send_blocked;     /* send_blocked: the kernel took not all; wait for writable */
    bool read_ended;               /* the peer sends no more; only with on_eof */
    bool broken;                   /* sending failed; what the peer still said is being read */
    bool said_bye;                 /* TLS's close_notify is queued */
    bool was_above;                /* the queue passed low_water_bytes; on_drain is owed */
    struct outq out;               /* for the socket */
    struct loop_work flush_work, drain_work, end_work, read_work;
    struct loop_timer timer; /* of connecting, later of flushing */
    struct stream_dial *dial;
    uint64_t bytes_in, bytes_out;
    char *peer, *local; /* text; made when asked for */

    /* TLS only */
    struct tls *tls;
    SSL *session;
    struct outq plain;      /* written, not yet encrypted */
    struct slice cipher_in; /* what the session may read now; the loop's, or `kept_in` */
    struct buf kept_in;     /* what it could not read, since the owner paused */

    enum err err;
    struct why *why; /* set with `err` when it ended; NULL: no more to say than the code */
};

/* ---- stream.c ---- */
struct stream *stream_new(struct loop *loop, const struct stream_options *options,
                          const struct stream_events *events, void *self);
/* End for ERR. WHY is copied and may be NULL. Twice: the first counts. */
void stream_end(struct stream *stream, enum err err, const struct why *why);
/* The socket is connected: begin the handshake, or be open. */
void stream_connected(struct stream *stream);
void stream_opened(struct stream *stream, bool tell);
/* Of the time that connecting may take. */
void stream_start_timer(struct stream *stream);
void stream_ask_flush(struct stream *stream);
/* The socket can be read or written (EVENTS), or has FAILED. */
void stream_on_poll(struct stream *stream, bool failed, int events);
/* The peer sends no more. */
void stream_read_ended(struct stream *stream);
/* Deliver to the owner, if it still wants bytes. */
void stream_deliver(struct stream *stream, struct slice bytes);
static inline bool stream_wants_bytes(const struct stream *stream) {
    return stream->state.state == STREAM_OPEN && !stream->paused && !stream->read_ended;
}

/* ---- stream_poll.c: the socket under it ---- */
MUST_CHECK enum err stream_watch(struct stream *stream, int fd, struct why *why);
void stream_unwatch(struct stream *stream); /* closes the socket */
void stream_update_poll(struct stream *stream);
void stream_set_socket_options(struct stream *stream);

/* ---- stream_dial.c ---- */
void stream_dial_event(struct stream *stream); /* the connecting socket became writable or failed */
void stream_dial_close(struct stream *stream);
const char *stream_dial_text(const struct stream *stream); /* the address as it was given */

/* ---- stream_tls.c ---- */
MUST_CHECK enum err stream_tls_begin(struct stream *stream, const char *host, bool client,
                                     struct why *why);
/* Bytes came from the socket: handshake, decrypt, deliver. */
void stream_tls_feed(struct stream *stream, struct slice cipher);
/* Go on with what was kept while paused. */
void stream_tls_resume(struct stream *stream);
void stream_tls_encrypt(struct stream *stream); /* some of `plain` into `out` */
void stream_tls_say_bye(struct stream *stream);
void stream_tls_close(struct stream *stream);

#endif

/* stream.h -- one connection: TCP, Unix socket or TLS, all alike.
 *
 *     stream_dial() ---> resolving -> connecting -> (handshake) -> open ---> closed
 *     listener's on_stream ------------------------ (handshake) ---^
 *
 * Reading: on_bytes(self, bytes) as they come; the bytes are the loop's and dead when you return.
 * Writing: stream_write() copies to the stream's queue; what was written in one turn of the loop
 * leaves it in one sendmsg() at the turn's end, straight to the socket; only what the kernel does
 * not take waits for the socket to become writable. A stream that has nothing to send holds no
 * buffer. Writing before on_open is allowed and waits.
 *
 * Ending: on_closed(self, err, why) comes exactly once for each stream, always at the end of a
 * turn, whoever ended it and however; after it the stream is gone. No other callback comes after
 * stream_close() or stream_abort(), or before the callbacks are set. `err` is
 *     OK             stream_close() or stream_abort() was called
 *     ERR_CLOSED     the peer ended it in order
 *     ERR_IO         reset, unreachable, name not found
 *     ERR_TIMEOUT    connecting took too long, or the peer did not read in time to flush
 *     ERR_REFUSED    connection refused; certificate not accepted by us or by the peer
 *     ERR_LIMIT      the queue passed queue_limit_bytes
 *     ERR_CONFIG     the endpoint's certificate files cannot be used
 * and `why` names the address.
 *
 * Bounds: the queue of bytes to send is the caller's to watch (stream_queued_bytes, on_drain);
 * queue_limit_bytes is the wall behind it, and passing it aborts the stream. A peer can make us
 * hold that much, plus one TLS record, and nothing more.
 * Everything here belongs to the loop's thread.
 */
#ifndef LIB_NET_STREAM_H
#define LIB_NET_STREAM_H

#include "lib/base/buf.h"
#include "lib/base/why.h"
#include "lib/net/endpoint.h"

struct loop;
struct stream;
struct tls;

/* Any of them may be NULL: then that is not told, and bytes are thrown away. */
struct stream_events {
    void (*on_open)(void *self);                      /* not for accepted plain ones */
    void (*on_bytes)(void *self, struct slice bytes); /* bytes.size > 0 */
    void (*on_drain)(void *self); /* the queue fell to low_water_bytes after it had
                                     been above; at the end of a turn */
    void (*on_eof)(void *self);   /* may be NULL: then the peer's end ends the stream (ERR_CLOSED).
                                     Else the peer will send no more, but may still read (`nc`, and
                                     who uses shutdown()): write what it is owed, stream_close() */
    void (*on_closed)(void *self, enum err err, const struct why *why);
};

/* All zero is a sensible choice. */
struct stream_options {
    uint32_t connect_timeout_ms; /* names, connect and TLS handshake together; 0: 5000 */
    uint32_t flush_timeout_ms; /* stream_close() gives the peer so long to take the rest; 0: 5000 */
    size_t low_water_bytes;    /* for on_drain */
    size_t queue_limit_bytes;  /* 0: 1 GiB */
    uint32_t keepalive_s;      /* TCP keepalive after so much silence; 0: 60 */
};

/* Begin to connect. Never fails at once: errors come by on_closed. ENDPOINT and OPTIONS are copied,
 * OPTIONS may be NULL, EVENTS must outlive the stream. TLS as ENDPOINT says. */
struct stream *stream_dial(struct loop *loop, const struct endpoint *endpoint,
                           const struct stream_options *options, const struct stream_events *events,
                           void *self);

/* Take over a connected socket. TLS: NULL for plain, else a server's context (held). Reading
 * begins at the end of the turn at the earliest. */
struct stream *stream_adopt(struct loop *loop, int fd, struct tls *tls,
                            const struct stream_options *options,
                            const struct stream_events *events, void *self);

/* Hand the stream to another owner; from now on EVENTS and SELF get everything. */
void stream_set_owner(struct stream *stream, const struct stream_events *events, void *self);

/* Queue a copy. After the stream has ended (until on_closed) writes are silently dropped. */
void stream_write(struct stream *stream, struct slice bytes);

/* Queue the bytes of BUF without copying, if they are many; BUF is empty afterwards. */
void stream_write_buf(struct stream *stream, struct buf *buf);

/* The place to write at most SIZE bytes at, and how many were written: for formatting a reply
 * straight into the queue. Nothing else of the stream may be called in between. */
uint8_t *stream_room(struct stream *stream, size_t size);
void stream_filled(struct stream *stream, size_t size);

/* Send now instead of at the end of the turn. */
void stream_flush(struct stream *stream);

/* Bytes written and not yet given to the kernel. */
size_t stream_queued_bytes(const struct stream *stream);

/* No on_bytes until resumed. Pauses do not nest: one resume is enough. A paused stream does not
 * notice that the peer has gone until it is resumed, or has something to send. */
void stream_pause(struct stream *stream);
void stream_resume(struct stream *stream);
bool stream_is_paused(const struct stream *stream);

bool stream_is_open(const struct stream *stream); /* after on_open and before any end */

/* Send what is queued, then end. Reading stops at once. Of a stream that is not open yet it is
 * stream_abort(). */
void stream_close(struct stream *stream);
/* stream_close() by an owner that goes away: on_closed does not come. */
void stream_leave(struct stream *stream);
/* End without sending. Twice is fine, after stream_close() too. */
void stream_abort(struct stream *stream);
/* stream_abort() without on_closed: SELF is not touched any more. For owners that go away. */
void stream_drop(struct stream *stream);

const char *stream_peer(const struct stream *stream);  /* "10.0.0.7:51234", or what was dialled */
const char *stream_local(const struct stream *stream); /* our own address */
int stream_fd(const struct stream *stream);            /* -1 before it is connected */
bool stream_is_tls(const struct stream *stream);
struct loop *stream_loop(const struct stream *stream);
uint64_t stream_bytes_in(const struct stream *stream);  /* from the socket */
uint64_t stream_bytes_out(const struct stream *stream); /* to the socket */

#endif

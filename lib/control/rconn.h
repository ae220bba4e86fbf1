/* rconn.h -- an asynchronous connection to a server that speaks the Redis protocol, on a loop.
 *
 *     rconn_dial() --> connect, TLS, AUTH / HELLO, CLIENT SETNAME, SELECT --> on_ready
 *                                                                        \-> on_down
 *
 * Commands are pipelined: they are written at the end of the loop's turn and answered in order.
 * Every command's on_reply is called exactly once: with its reply, or with NULL and a reason when
 * the connection ends first; on_down comes after the last of them, exactly once, and then the
 * rconn is gone. Whoever wants it back dials again. Commands may be given before on_ready; they
 * follow the greeting.
 *
 * Replies come from servers we do not trust: they are read within RESP limits, a reply that nobody
 * asked for ends the connection, and an error reply is a reply (it is for the caller to judge).
 * RESP3 push messages go to on_push, and so do arrays that come while no reply is due (pub/sub in
 * RESP2).
 * The password is never logged.
 */
#ifndef LIB_CONTROL_RCONN_H
#define LIB_CONTROL_RCONN_H

#include "lib/base/secret.h"
#include "lib/base/why.h"
#include "lib/net/endpoint.h"
#include "lib/net/stream.h"

struct loop;
struct rconn;
struct resp_reply;

struct rconn_options {
    const char *user;              /* NULL: the default user */
    const struct secret *password; /* NULL or unset: no AUTH */
    const char *name;              /* for CLIENT SETNAME; NULL: none. A server that refuses it is
                                      used without */
    bool resp3;                /* HELLO 3; the connection fails when the server does not know it */
    int64_t db;                /* SELECT; 0: none needed */
    size_t max_reply_bytes;    /* one reply, with its nested parts; 0: 512 MiB + 1 MiB */
    uint32_t reply_timeout_ms; /* the oldest command may wait so long; 0: for ever */
    struct stream_options stream;
};

struct rconn_events {
    void (*on_ready)(void *self);                               /* may be NULL */
    void (*on_push)(void *self, const struct resp_reply *push); /* may be NULL: dropped */
    void (*on_drain)(void *self);                               /* may be NULL; see stream.h */
    void (*on_down)(void *self, enum err err, const struct why *why);
};

/* REPLY is NULL when the connection ended before it came, and WHY says why. The reply is dead when
 * you return. */
typedef void rconn_on_reply(void *self, const struct resp_reply *reply, const struct why *why);

/* Everything in OPTIONS and ENDPOINT is copied. EVENTS outlives the rconn. Errors come by on_down:
 * ERR_REFUSED for a wrong password, with the server's words. */
struct rconn *rconn_dial(struct loop *loop, const struct endpoint *endpoint,
                         const struct rconn_options *options, const struct rconn_events *events,
                         void *self);

/* ON_REPLY NULL: the reply is dropped. */
void rconn_command(struct rconn *conn, size_t argc, const struct slice *argv,
                   rconn_on_reply *on_reply, void *self);
/* Words without spaces or quotes in them: rconn_words(conn, "INFO replication", ...). */
void rconn_words(struct rconn *conn, const char *words, rconn_on_reply *on_reply, void *self);
/* Preformatted commands with REPLIES answers, each of which goes to ON_REPLY. */
void rconn_send_raw(struct rconn *conn, struct slice bytes, size_t replies,
                    rconn_on_reply *on_reply, void *self);

bool rconn_is_ready(const struct rconn *conn);
size_t rconn_pending(const struct rconn *conn);      /* commands without their reply yet */
size_t rconn_queued_bytes(const struct rconn *conn); /* not yet given to the kernel */
struct stream *rconn_stream(struct rconn *conn);
const char *rconn_peer(const struct rconn *conn);

/* No new commands; the pending ones are answered, then it closes. */
void rconn_finish(struct rconn *conn);
/* Close now: pending callbacks get NULL, then on_down with OK, at the end of the turn. */
void rconn_close(struct rconn *conn);
/* Close now and call nobody, neither pending callbacks nor on_down. */
void rconn_drop(struct rconn *conn);

#endif

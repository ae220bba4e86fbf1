/* client.h -- one connection of a client: what it asked for, and in which state it is.
 *
 * Requests are taken one after the other from the client's bytes. Each is answered here, or sent to
 * the primary side over client->conn, where its reply will come in order. A request that cannot be
 * sent now is *not taken*: the client is parked with its bytes unread, and tries again when what it
 * waits for has come. So what is held during a barrier are just unread bytes, in the client's own
 * order, bounded by CLIENT_UNREAD_BYTES: beyond it nothing more is read from the client's socket.
 *
 *   running --> idle-wait (its earlier requests must be answered first) --> running
 *           --> parked    (on one of the worker's lists; see enum park) --> running
 *           --> busy      (the request that it sent must be answered first) --> running
 *
 * All replies that a client still waits for come over one backend connection (client->conn), so
 * they cannot overtake each other; a local answer goes into that connection's queue behind them.
 *
 * Hostile input: limits before authentication (operations.md), bounds on what is read ahead, on
 * what is outstanding, and on the replies that a client does not read.
 */
#ifndef GATEWAY_CLIENT_H
#define GATEWAY_CLIENT_H

#include "gateway/worker.h"

#include "lib/base/queue.h"
#include "lib/redis/command.h"
#include "lib/redis/resp.h"

#define CLIENT_UNREAD_BYTES (1u << 20)        /* read ahead while nothing can be taken */
#define CLIENT_REPLIES_MAX 65536u             /* unanswered requests of one client */
#define CLIENT_CLOSED_OUTPUT_BYTES (1u << 10) /* unread before AUTH: hung up (CVE-2025-21605) */
#define CLIENT_OUTPUT_HIGH_BYTES (8u << 20)   /* unread replies: take no more requests */
#define CLIENT_OUTPUT_LOW_BYTES (1u << 20)
#define CLIENT_NAME_BYTES 256u

enum reply_mode { REPLY_ON, REPLY_OFF, REPLY_SKIP };

struct multi;
struct subs;
struct blocked;
struct lane_item;
struct canary;
struct dual_wait;

struct client {
    struct list link;   /* in worker->clients; off it once the socket is gone */
    struct list parked; /* in worker->parked[park] */
    struct list ready;  /* in worker->ready */
    struct worker *worker;
    struct stream *stream; /* NULL once it is gone; the rest lives until all replies came */
    struct buf in;         /* unread bytes; empty while everything was taken */
    struct resp_request request;
    uint64_t id;
    struct backend *conn; /* where its outstanding requests are; or its own (leased) */
    size_t outstanding;   /* entries in conn's queue */
    size_t replies;       /* replies that those stand for */
    int32_t db;
    uint8_t proto;
    uint8_t reply_mode; /* enum reply_mode; SKIP: of the request in hand */
    bool skip_next;     /* CLIENT REPLY SKIP was the last command */
    bool authed, first_seen, leased, wait_idle, busy, closing, no_evict, no_touch;
    bool lease_ends; /* give the leased connection back when nothing is outstanding */
    bool watching;   /* a WATCH is open on the leased connection */
    bool watch_lost; /* its connection is gone: EXEC will be nil (C27) */
    bool tracking, monitor, freed;
    bool ended; /* it sends no more, but may still read: closed once all is answered */
    uint8_t park; /* enum park, while linked */
    uint64_t parked_at_us, created_at_s, last_at_us;
    uint64_t held_at_us;                 /* since when a hold keeps it waiting; 0: it does not */
    char *name, *lib_name, *lib_version; /* NULL: none */
    const struct command *last;          /* for CLIENT LIST */
    struct multi *multi;                 /* NULL: not in MULTI */
    struct subs *subs;                   /* NULL: never subscribed */
    struct blocked *blocked;             /* NULL: not in a blocking command */
    struct lane_item *barrier_item; /* of ours, and waits to be sent (dual.h) */
    struct canary *canary; /* a read that the other side was asked (reads_loop.h) */
    bool to_primary;       /* the next request: no canary, it was one */
    bool wrote;            /* since it was last idle; and when that was answered: */
    uint64_t wrote_at_us;
    struct dual_wait *dual_wait;    /* a blocking command that is tried (dual.h) */
    struct list far;             /* what it will get from the lanes' loop, in order (far.h) */
    size_t far_count;            /* of `outstanding` */
    uint64_t far_place;          /* where those are */
    bool far_lost;               /* one of them was: nothing more is written */
    struct far_entry *far_wait;  /* a blocking command there, and its ask */
    uint64_t far_wait_id;
    struct buf tracking_on;              /* the CLIENT TRACKING ON request, to start over with */
};

/* How a request was dealt with. */
enum take {
    TAKE_DONE, /* it is taken */
    TAKE_WAIT, /* it is not: the client was parked, or waits until nothing is outstanding */
    TAKE_STOP, /* the client is gone or going */
};

/* Called by the worker. */
struct client *client_accept(struct worker *worker, struct stream *stream);
void client_run(struct client *client);     /* take requests until something stops it */
void client_wake(struct client *client);    /* run it soon (end of this callback) */
void client_close(struct client *client);   /* after what was written was sent */
void client_abort(struct client *client);   /* now */
void client_on_idle(struct client *client); /* its last outstanding request was answered */
void client_lost_backend(struct client *client, bool unanswered); /* client->conn is gone (C21) */

/* REQUEST, which was taken and is not done, comes before what is unread; the client is woken. */
void client_put_back(struct client *client, struct slice request);

/* Stop until what PARK says has come. Returns TAKE_WAIT. */
enum take client_park(struct client *client, enum park park);
void client_unpark(struct client *client);

/* Wait until nothing is outstanding. Returns TAKE_WAIT. */
enum take client_wait_idle(struct client *client);

/* An answer of our own, in order behind what is outstanding. */
void client_reply(struct client *client, struct slice bytes);
void client_reply_ok(struct client *client);
void client_reply_errorf(struct client *client, const char *fmt, ...) PRINTF(2, 3);
/* From worker->scratch, which is emptied. */
void client_reply_scratch(struct client *client);

/* The connection for the next request: the leased one or a shared one, in the client's database.
 * NULL: the client was parked or told off; return *TAKE. */
struct backend *client_conn(struct client *client, enum take *take);
/* A connection of the client's own, until client_unlease(). Needs that nothing is outstanding. */
struct backend *client_lease(struct client *client, enum take *take);
void client_unlease(struct client *client, bool clean); /* clean: it can be used by others */

/* Forward the request in hand as it is; one reply will be relayed. */
enum take client_forward(struct client *client);

/* front.c: decide what to do with the request in client->request. RAW are its bytes. */
enum take client_request(struct client *client, struct slice raw);
/* local.c, clientcmd.c, multi.c, subs.c, blocked.c, special.c: the kinds of policy.h. */
enum take local_request(struct client *client, const struct command *command);
enum take clientcmd_request(struct client *client, const struct command *command);
enum take tracking_request(struct client *client, const struct command *command);
enum take monitor_request(struct client *client);
enum take hide_request(struct client *client, const struct command *command);
enum take script_request(struct client *client, const struct command *command);
/* Before a block that names them (40 bytes each in SHAS) is sent to BACKEND: SCRIPT LOAD of those
 * that it is not known to have and whose bodies were seen (C27). */
#define SCRIPT_SHA_BYTES 40u
void scripts_load_before(struct backend *backend, struct slice shas);

uint8_t request_class_of(const struct command *command); /* enum request_class */
void client_put_text(char **field, struct slice text); /* empty: none */
void client_reset(struct client *client);              /* RESET: as after connecting */
/* The bytes of the request in hand, as an array of bulk strings whatever it was sent as. */
struct slice client_raw(struct client *client);

#endif

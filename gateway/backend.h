/* backend.h -- one connection to one side, and the queue of what its replies are for.
 *
 *   DIALLING --> GREETING --> JOINING --> ASKING --> READY
 *       |  connect   |  AUTH,     |  (bundled  |  state says that
 *       |            |  HELLO 3,  |  server)   |  the epoch holds
 *       |            |  SETNAME,  |            |
 *       |            |  ID, INFO  |            |
 *       +------------+------------+------------+-----------------> GONE
 *
 * The order is C25's: connect, name it, ask state whether the epoch still holds, and only then use
 * it. A server that turns out to be a replica is not used (DOWNGRADED).
 *
 * The queue: each request that is sent leaves a struct req behind; replies come in that order.
 * A reply's bytes go to the client as they arrive, without waiting for its end; what belongs to
 * several requests of one client in a row is written at once. Replies that nobody asked for, or
 * that are not RESP, close the connection (a backend's replies are counted; operations.md).
 *
 * When the connection breaks, clients with unanswered requests are closed after the answers that
 * came (C21), and a `grave` remembers the server's id of it until it is known to be gone.
 */
#ifndef GATEWAY_BACKEND_H
#define GATEWAY_BACKEND_H

#include "gateway/worker.h"

#include "lib/base/sm.h"
#include "lib/net/stream.h"
#include "lib/redis/reply.h"

#define BACKEND_QUEUE_HIGH_BYTES (32u << 20) /* stop taking requests for it */
#define BACKEND_QUEUE_LOW_BYTES (4u << 20)

enum backend_state {
    BACKEND_DIALLING,
    BACKEND_GREETING,
    BACKEND_JOINING,
    BACKEND_ASKING,
    BACKEND_READY,
    BACKEND_GONE,
    BACKEND_STATES
};

enum req_kind {
    REQ_RELAY, /* REPLIES replies go to the client as they are */
    REQ_TEXT,  /* no reply: `text` goes to the client when its turn comes */
    REQ_DROP,  /* REPLIES replies are read and dropped */
    REQ_LAST,  /* REPLIES - 1 are dropped, the last one is relayed (EXEC) */
    REQ_WHOLE, /* REPLIES replies are collected in `text`, then done() is called */
    REQ_EACH,  /* each() is called for REPLIES replies; the client gets them as they are */
};

struct req {
    struct req *next;
    struct client *client; /* NULL: one of our own */
    enum req_kind kind;
    uint8_t class;    /* enum request_class, of the client's command */
    uint32_t replies; /* to come */
    uint32_t asked;   /* requests that it stands for */
    bool mute;        /* CLIENT REPLY OFF */
    bool must_be_ok;  /* REQ_DROP: an error closes the connection (an injected SELECT) */
    bool over;        /* REQ_WHOLE: the replies were longer than limit_bytes, and are dropped */
    size_t limit_bytes; /* REQ_WHOLE; 0: none */
    uint64_t at_us;
    struct buf text;
    /* REQ_WHOLE, and REQ_RELAY if set: REPLY is empty when the connection was lost, and of a relay. May send; may not free REQ. */
    void (*done)(struct req *req, struct backend *backend, struct slice reply);
    /* REQ_EACH: COUNT replies in a row, all of them REPLY. */
    void (*each)(struct req *req, struct backend *backend, struct slice reply, uint32_t count);
    uint64_t arg;
    void *self;
};

/* What comes without being asked for, on a leased connection. */
enum backend_mode {
    MODE_NORMAL, /* RESP3 pushes go to the lessee */
    MODE_PUBSUB, /* RESP2: everything goes to subs_on_message() */
    MODE_MONITOR,
};

struct dual_line;
struct dual_pin;
struct side_witness;
struct grave;
struct shards_conn;

struct backend {
    struct list link; /* worker->backends */
    struct list idle; /* worker->idle[proto], when leased to nobody */
    struct worker *worker;
    struct sm sm; /* enum backend_state */
    enum side side;
    uint8_t proto;
    bool dedicated;  /* made to be leased */
    uint8_t place;   /* of a shared one, in worker->shared */
    bool prepared;   /* opened for a release to come (PREPARE) */
    bool is_bundled; /* the server is ours: it understands DRAWBRIDGE */
    enum backend_mode mode;
    struct client *lessee;
    struct dual_line *line;   /* a lane's (dual.h); NULL: not one */
    struct side_witness *witness; /* it tells which keys changed (dual_witness.h); NULL: it does not */
    bool journaled;           /* the lanes' journal knows it */
    struct grave *grave;      /* its own, once it is gone with requests unanswered */
    struct client *shadow_of; /* a subscription doubled for this client (C27); subs.c */
    struct stream *stream;      /* or, of a side that is a Cluster, */
    struct shards_conn *shards; /* to all of it (shards/shards.h) */
    uint64_t id;       /* unique in this worker */
    uint64_t epoch;    /* that it is named with */
    int64_t server_id; /* CLIENT ID there; 0: not known */
    char run_id[41];
    int32_t db; /* after everything that was sent; -1: not known */
    struct req *head, *tail;
    size_t due; /* replies to come */
    struct resp_skip skip;
    bool push;     /* the reply that is passing is a push */
    struct buf in; /* bytes of a line that is not whole yet, or of a greeting */
    struct resp_reply_reader greeting;
    unsigned greeted; /* replies of the greeting that came */
    bool id_by_list;  /* CLIENT ID is refused, and CLIENT LIST was asked */
};

/* A connection that was lost with requests unanswered: they may still execute there (C21). */
struct grave {
    struct list link; /* worker->graves */
    enum side side;
    int64_t server_id;
    char run_id[41];
    bool journaled;        /* dual.h: the lanes' journal knows it */
    bool of_lanes;         /* lanes wait for it */
    int lane;              /* whose it was; -1: no lane's */
    void *buried;          /* of an earlier process */
    struct dual_pin *pins; /* keys that nobody may copy before it is gone (C10a) */
    bool asking;
    uint64_t answered_ms; /* when the server first answered that it cannot tell; 0: it did not */
    struct grave *whole;  /* of a connection to a Cluster: this is its part to one node */
    unsigned parts;       /* of a whole one, that are not closed; it is on no list */
};

struct backend *backend_open(struct worker *worker, enum side side, unsigned proto, bool dedicated);
/* Close and forget it; requests in its queue are lost. Safe in its own callbacks. */
void backend_abort(struct backend *backend);

static inline bool backend_is_ready(const struct backend *backend) {
    return backend->sm.state == BACKEND_READY;
}

/* Write a request's bytes. Say with backend_expect() what its reply is for, in the same order. */
void backend_write(struct backend *backend, struct slice bytes);
void backend_write_buf(struct backend *backend, struct buf *buf); /* BUF is empty then */
size_t backend_queued_bytes(const struct backend *backend);
const char *backend_peer(const struct backend *backend);
struct req *backend_expect(struct backend *backend, struct client *client, enum req_kind kind,
                           uint32_t replies);
/* One more reply to be relayed to CLIENT: extends the last entry if it can. */
void backend_expect_relay(struct backend *backend, struct client *client, bool mute);

/* COUNT more, likewise, of REQ_EACH; CLIENT may be NULL. */
void backend_expect_each(struct backend *backend, struct client *client, uint32_t count,
                         void (*each)(struct req *req, struct backend *backend,
                                      struct slice reply, uint32_t count));

/* SELECT DB first, if the connection stands elsewhere. */
void backend_use_db(struct backend *backend, int32_t db);

/* The answer of state to "does the epoch hold". */
void backend_on_epoch(struct backend *backend, bool fine);
/* Give it the new epoch's name (after a release). */
void backend_rename(struct backend *backend);

/* Append what its server is asked: CLIENT KILL ID; of a connection whose id was never told, something
 * that it answers: a KILL of the id 0 ends every client of Redis before 7.0. */
void grave_ask(const struct grave *grave, struct buf *out);
/* The answer to that of the grave at ADDRESS, if that is still one; empty: there was none. */
void grave_told(struct worker *worker, uint64_t address, struct slice reply);
/* It is known to be gone. */
void grave_close(struct worker *worker, struct grave *grave);
/* Ask about graves; a connection to their side is dialled if there is none. */
void graves_dig(struct worker *worker);

#endif

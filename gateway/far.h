/* far.h -- a client's commands at the owner of its lane, when that is another loop (C10).
 *
 *     client's loop                                   the lanes' loop (dual.h)
 *     far_send()  ---- ask: effect, db, protocol ---->  down its lane
 *     the client  <--- the same ask, with the answer -  when P has answered
 *
 * All lanes of a gateway belong to its loop 0, which alone writes its journal; the other loops read
 * clients, prepare effects, and write answers. An ask is one block of memory that goes there and
 * back; it belongs to whoever has it.
 *
 * Order (C11a): a client has asks under way in one lane only. One for another lane, or one that may
 * block, or that is a barrier, waits until the earlier ones are answered. What the gateway answers
 * itself meanwhile stands behind them (client->far).
 *
 * EXEC under WATCH runs on a connection of the client's own, in its own loop: PIN goes ahead with
 * the keys and the name of the connection, the block leaves when it is back, UNPIN follows when it
 * is answered or its connection is known to be gone (C10a).
 *
 * Bounded: FAR_MAX asks and FAR_BYTES_MAX bytes of one loop; then its clients wait (PARK_FLOW).
 */
#ifndef GATEWAY_FAR_H
#define GATEWAY_FAR_H

#include "gateway/client.h"
#include "gateway/effect.h"

#include "lib/net/mailbox.h"

#include <pthread.h>

#define FAR_MAX 65536u
#define FAR_BYTES_MAX (64u << 20)

enum ask_kind {
    ASK_DO,      /* a command; comes back answered or lost */
    ASK_PIN,     /* the written keys of `effect`; comes back when they are pinned */
    ASK_UNPIN,   /* a PIN that is over; does not come back */
    ASK_GONE,    /* the connection is known to be gone; likewise */
    ASK_UNBLOCK, /* CLIENT UNBLOCK of the blocking ask `id`; likewise */
    ASK_CANCEL,  /* the client of the blocking ask `id` is gone; likewise */
};

enum ask_end {
    ASK_ANSWERED,
    ASK_LOST,
    ASK_AGAIN, /* it blocked, and nothing was done: `request` is for the client to send anew (C1) */
};

struct far_entry;
struct far_pin;
struct grave;
struct slot_table;
struct visitor;

struct ask {
    struct mail mail;
    struct list link; /* the lanes' loop's: waits for its lane */
    enum ask_kind kind;
    bool back;               /* it is on its way to `origin` */
    struct worker *origin;   /* whose ask it is */
    struct far_entry *entry; /* the origin's; not looked at elsewhere */
    uint64_t id;             /* unique in the origin's loop */
    uint64_t client;         /* likewise: whose it is */
    struct effect *effect;   /* DO: until it is sent. PIN: until UNPIN */
    struct buf request;      /* of one that blocks, or that goes to another gateway */
    uint32_t block_count;    /* so many requests are a block; 0: it is one */
    uint64_t deadline_us;    /* of a blocking one; 0: never */
    size_t bytes;            /* what it counts for, of FAR_BYTES_MAX */
    int32_t db;
    uint8_t proto;
    enum side side;                 /* that is the primary one to the client's loop */
    uint64_t version;               /* of the table of slots that it goes by; 0: there is none */
    const struct slot_table *table; /* likewise; of a loop of ours */
    unsigned home;                  /* whose it is by that table */
    uint64_t epoch;                 /* likewise: the lanes' loop may not have been released yet */
    unsigned lane;
    bool with_error; /* UNBLOCK */
    bool first;      /* its client had nothing else under way: it may be a canary (reads.h), once */
    struct dual_wait *wait; /* the lanes' loop's, as the next */
    uint64_t parked_at_us;
    struct far_pin *pin; /* of what it may write at other gateways (peers.h) */
    uint64_t far_id;     /* by which two gateways know it */
    bool told;           /* it was sent to its owner */
    bool from_peer;      /* it came from another gateway: VISITOR, which may have gone */
    struct visitor *visitor;
    struct list visit;
    /* PIN, GONE: the connection; PIN: `opened` when it was not named before */
    bool opened;
    int64_t server_id;
    char run_id[41];
    /* the way back */
    enum ask_end end;
    struct buf answer;
};

/* A loop's part: where asks for it, or answers to it, are put. */
struct far {
    struct worker *worker;
    pthread_mutex_t lock; /* of the mailbox's being there */
    struct mailbox *mailbox;
    uint64_t next_id;
    size_t count, bytes; /* of asks that will come back */
    size_t unanswered;   /* of those the ones that a hold waits for: not what blocks */
};

/* Before the loop's thread runs, and after it; in the loop, its mailbox. */
struct far *far_new(struct worker *worker);
void far_free(struct far *far);
MUST_CHECK enum err far_open(struct far *far, struct loop *loop, struct why *why);
void far_close(struct far *far); /* nothing comes back any more */

struct ask *ask_new(struct worker *w, enum ask_kind kind);
void ask_free(struct ask *ask);
/* To the loop that has to do something about it. From any thread; a loop that ends drops it. */
void ask_post(struct far *to, struct ask *ask);
/* From the lanes' loop AT: it is answered, or lost, or its keys are pinned. */
void ask_give_back(struct worker *at, struct ask *ask);

/* ---- in the client's loop ---- */

/* Send EFFECT, which is the request in hand, or a BLOCK of COUNT; takes it if the answer is
 * TAKE_DONE. */
enum take far_send(struct client *client, struct effect *effect, struct slice block, size_t count);
/* EFFECT, which writes, over BACKEND, which is the client's own. Takes it. */
void far_own(struct client *client, struct backend *backend, struct effect *effect);
/* An answer of our own; only while client->far is not empty. */
void far_text(struct client *client, struct slice bytes);
bool far_unblock(struct client *client, bool with_error); /* CLIENT UNBLOCK of one that waits */
void far_forget(struct client *client);                   /* it is freed */
void far_end(struct client *client); /* what blocks comes back, answered or not (drain.h) */
void far_abandon(struct worker *worker);                  /* the loop ends: nothing comes back */
void far_unpin(struct ask *ask);                          /* a PIN that came back */
void far_connection_gone(struct worker *worker, enum side side, int64_t server_id,
                         const char *run_id);

#endif

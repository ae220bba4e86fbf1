/* worker.h -- one loop of the gateway: its clients, its connections to both sides, its route.
 *
 * Loops share nothing but struct gateway's constants, the scripts and atomic counters. The main
 * loop speaks to a worker by worker_tell(), the worker to the main loop by gateway_tell_*().
 *
 * Shared connections: for each side and protocol version up to SHARED of them, dialled when the
 * first client needs one; number 0 is for database 0. Connections of a client's own ("leased") come
 * from a pool of idle ones and go back to it.
 */
#ifndef GATEWAY_WORKER_H
#define GATEWAY_WORKER_H

#include "gateway/gw.h"
#include "gateway/hold.h"

#include "lib/base/clock.h"
#include "lib/base/hist.h"
#include "lib/base/metrics.h"
#include "lib/base/pool.h"
#include "lib/base/queue.h"
#include "lib/net/listener.h"
#include "lib/net/loop.h"

#include <pthread.h>

#define SHARED 4u
#define PROTOS 2u /* RESP2 and RESP3 */
#define LEASES_IDLE_MAX 64u
#define LEASES_MAX 10000u
#define LOADED_SLOTS 8192u
#define WORKER_LANE_FIGURES 64u /* room for enum dual_figure */

struct backend;
struct audit_board;
struct dual;
struct far;
struct slot_table;
struct client;
struct reads_loop;
struct req;
struct shards;

/* What parked clients wait for. */
enum park {
    PARK_ROUTE, /* held, no route, or no connection to the primary side yet */
    PARK_LEASE, /* a connection of its own */
    PARK_FLOW,  /* a backend that does not read fast enough */
    PARKS
};

/* What a request that went to a side was, and how it ended. */
enum request_class { CLASS_READ, CLASS_WRITE, CLASS_OTHER, CLASSES };
enum request_outcome {
    OUTCOME_OK,
    OUTCOME_ERROR, /* an error reply */
    OUTCOME_LOST,  /* its connection broke before the answer (C21) */
    OUTCOMES
};

struct worker_counters {
    struct counter requests[SIDES][CLASSES][OUTCOMES]; /* when they end */
    struct counter errors[SIDES];                      /* error replies relayed */
    struct counter local;                              /* answered here */
    struct counter connections, rejected, clients, backends_up;
    struct counter tls_not_after_s; /* of the TLS listener's certificate; 0: none */
    struct counter bytes_in, bytes_out;
    struct counter broken_clients; /* closed because their backend was lost (C21) */
    struct counter blackouts;      /* requests that failed in a hold that was too long */
    struct counter lanes[WORKER_LANE_FIGURES]; /* enum dual_figure; capture `lane`; lanes_lock */
    struct hist latency_us[SIDES][CLASSES]; /* sent until answered; at the other side of what
                                             * lanes do there, and of canary reads */
    struct hist request_us;        /* sent to the primary side until relayed */
    struct hist held_us;           /* what a barrier added, per client */
    struct hist overhead_us;       /* of the turn, for each request and each reply in it */
};

struct worker {
    struct gateway *gw;
    unsigned number;
    struct loop_thread *thread;
    struct loop *loop;
    struct listener *plain, *tls;
    uint64_t now_us;             /* when the present callback began */
    int64_t wall_ms;             /* likewise, once somebody asked; 0: nobody did */
    struct clock clock;          /* of these two: cheaper than to ask the machine each time */
    uint64_t turn_began_us;      /* when the turn's first request or reply came */
    uint32_t turn_count;         /* how many there were */
    struct loop_work turn_ended; /* asked for when there was one */

    /* the route */
    bool routed;
    enum side side;
    uint64_t epoch;
    bool held;      /* between HOLD and RELEASE */
    bool held_said; /* confirmed to the main loop */
    bool refusing;  /* max_blackout is over: answer with errors */
    uint64_t round; /* of the hold */
    uint64_t hold_at_us, held_after_us, held_us_max;
    size_t held_blocked;
    bool preparing;
    uint64_t announced_ms;   /* PREPARED waits for the lanes since then; 0: it does not */
    uint64_t hurry_until_ms; /* a barrier was announced: the lanes copy what is dirty at once */
    bool draining; /* the main loop wants to hear that the lanes are drained */
    struct {       /* the process is to end (drain.h) */
        bool on, answered, closing, closed, settling;
        uint64_t settle_until_ms; /* of the loop with the lanes */
    } end;
    enum side prepare_side;
    unsigned prepare_left; /* things to wait for until PREPARED */
    size_t prepare_scripts, prepare_refused, prepare_subs;
    uint64_t unready_since_ms; /* since when clients wait for a connection; 0: they do not */
    uint64_t pause_until_ms;   /* CLIENT PAUSE */
    bool pause_writes_only;

    struct list clients; /* struct client.link */
    struct list parked[PARKS];
    size_t parked_count[PARKS];
    struct list ready; /* clients to run before the callback ends */
    bool running;
    struct backend *shared[SIDES][PROTOS][SHARED];
    struct list backends;     /* all of them, struct backend.link */
    struct list idle[PROTOS]; /* leased ones that nobody uses, struct backend.idle */
    size_t idle_count, lease_count, lease_dialling;
    struct list graves; /* struct grave.link: lost connections with unanswered requests (C21) */
    uint64_t next_backend;
    struct pool reqs;
    struct buf scratch;               /* for replies that are made here */
    uint64_t verified_dbs[SIDES][16]; /* bits of databases that are known to exist */
    uint64_t loaded[LOADED_SLOTS];    /* scripts known to be at the primary side; see special.c */
    char run_id[SIDES][41], version[SIDES][32];
    uint64_t fail_count[SIDES], retry_at_ms[SIDES];
    bool drop_side[SIDES]; /* its connections are closed when this callback ends (DOWNGRADED) */
    struct loop_timer timer;
    struct audit_board *audit_board; /* dual_audit.h */
    struct reads_loop *reads;        /* reads_loop.h */
    struct shards *shards[SIDES];    /* a side that is a Cluster (shards/shards.h); else NULL */
    bool lanes;        /* capture `lane` */
    struct far *far;   /* what goes between the loops then */
    struct dual *dual; /* likewise, of loop 0: all lanes are there */
    struct worker_counters counters;
    pthread_mutex_t lanes_lock; /* counters.lanes are those of one moment, all of them */
};

MUST_CHECK enum err worker_open(struct worker **worker, struct gateway *gw, unsigned number,
                                struct why *why);
void worker_stop(struct worker *worker);  /* its thread ends */
void worker_close(struct worker *worker); /* frees it */

/* ---- from the main loop, any time ---- */
enum tell {
    TELL_ACCEPT, /* clients: all loops are there, and may be spoken to */
    TELL_ROUTE,
    TELL_HOLD,
    TELL_RELEASE,
    TELL_PREPARE,
    TELL_BLACKOUT,
    TELL_EPOCH,
    TELL_RELOAD, /* read the TLS listener's certificate again */
    TELL_FOLLOW, /* the lanes write to the other side from now on; not fine: no longer */
    TELL_DRAIN,  /* say when the lanes are drained */
    TELL_REST,   /* say when nothing is under way to either side (C22b) */
    TELL_DEAF,   /* drain.h: accept no more clients */
    TELL_END,    /* likewise: take no more requests; say when all that were taken are answered */
    TELL_CLOSE,  /* likewise: close the clients, after what was written to them is sent; say so */
    TELL_SETTLE, /* likewise: say when the lanes have nothing more to do */
    TELL_SLOTS,  /* `table` says whose slots are whose */
    TELL_AUDIT   /* dual_audit.h */
};
enum tell_audit { AUDIT_START, AUDIT_STOP, AUDIT_REPAIR };
struct tell_message {
    struct worker *worker; /* set by worker_tell() */
    enum tell tell;
    uint64_t round, epoch;
    enum side side;
    uint64_t backend; /* TELL_EPOCH: whose question this answers */
    const struct slot_table *table;
    struct slot_table *planned; /* TELL_REST, with its number in `round`; the loop's */
    bool fine;        /* TELL_EPOCH: the epoch holds; TELL_FOLLOW */
    bool lanes;       /* capture `lane` (C1) */
    struct {
        enum tell_audit verb;
        uint64_t keys_per_s, bytes_per_s, whole_bytes; /* 0: as usual */
    } audit; /* TELL_AUDIT, with its order in `round` */
};
void worker_tell(struct worker *worker, const struct tell_message *message);

/* ---- inside the worker ---- */
static inline bool worker_may_send(const struct worker *w) {
    return w->routed && !w->held && !w->end.on;
}
void worker_begin(struct worker *w); /* first in every callback: takes the time */
int64_t worker_wall_ms(struct worker *w); /* of the callback */
/* A request was passed on, or a reply: the turn's length is what it spent in here, at most. */
void worker_count_turn(struct worker *w);
void worker_run_ready(struct worker *w); /* last in every callback */
void worker_unpark_all(struct worker *w, enum park park);
void worker_unpark_one(struct worker *w, enum park park);
struct client *worker_find_client(struct worker *w, uint64_t id);
void worker_check_held(struct worker *w); /* something was answered: perhaps all is */
void worker_check_drained(struct worker *w);
void worker_prepared_one(struct worker *w);
void worker_on_unready(struct worker *w); /* clients wait for a connection that is not there */

/* The route is about to become this one: open the lanes, turn them round, or end them. False: it cannot be
 * taken, and the process ends. */
MUST_CHECK bool worker_take_role(struct worker *w, bool lanes, enum side side);

/* barrier.c */
void barrier_drain(struct worker *w, uint64_t round);
void barrier_hold(struct worker *w, uint64_t round);
/* OLD is the primary side before. */
void barrier_release(struct worker *w, uint64_t round, uint64_t epoch, enum side side,
                     enum side old);
void barrier_prepare(struct worker *w, enum side side);
void barrier_blackout(struct worker *w);
void barrier_tick(struct worker *w);
void barrier_on_ready(struct backend *backend); /* one that PREPARE waits for, perhaps */

/* drain_loop.c: the end of the process (drain.h) */
void drain_loop_deaf(struct worker *w);
void drain_loop_end(struct worker *w);
void drain_loop_close(struct worker *w);
void drain_loop_settle(struct worker *w);
void drain_loop_look(struct worker *w); /* when a callback ends */
void drain_loop_tick(struct worker *w);

#endif

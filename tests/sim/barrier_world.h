/* barrier_world.h -- what sim_barrier.c is made of: sides, connections, gateways, links, a ledger.
 */
#ifndef TESTS_SIM_BARRIER_WORLD_H
#define TESTS_SIM_BARRIER_WORLD_H

#include "lib/base/rand.h"
#include "state/barrier.h"
#include "state/workflow.h"

#include <stdarg.h>
#include <stdio.h>

#define GATEWAYS 2
#define KEYS 2
#define CONNS 256
#define QUEUE 64
#define LOG 4096
#define VALUES 4096
#define MAX_HOLD_MS 400

enum rule { ANSWERED, KILLCONN, BOOT, NOSELF, FWDFENCE, GEQ, REVRETAIN, RULES };

struct entry {
    int key; /* -1: no data, a PING of the server's own */
    int64_t value;
    bool client; /* not a link's */
};
struct side_model {
    int64_t data[KEYS];
    struct entry log[LOG];
    int64_t end;
};
struct conn {
    int gateway;
    enum side side;
    bool dead; /* its gateway has lost it; what is in `queue` may still execute */
    struct entry queue[QUEUE];
    int head, tail;
    int64_t replies[QUEUE];
    int reply_head, reply_tail;
};
enum message { MSG_PREPARE, MSG_HOLD, MSG_RELEASE, MSG_ROUTE };
struct order {
    enum message kind;
    int64_t barrier;
    uint64_t epoch;
    enum side primary;
};
struct gateway {
    bool up, cut, paused, joined; /* cut: no way to state */
    bool routed, hold, said_held;
    uint64_t epoch;
    enum side side;
    int conn;        /* -1: none */
    int fly;         /* sent, not answered */
    int64_t barrier; /* that it holds for */
    uint64_t hold_since_ms;
    struct order inbox[QUEUE];
    int inbox_head, inbox_tail;
    int waiting; /* held commands */
};
struct link_model {
    bool active, draining;
    int64_t at, drain_to;    /* read up to here of the source's log */
    struct entry queue[LOG]; /* sent to the target, not executed */
    int64_t head, tail;
};
/* What state has asked for, and has not heard of. */
struct pending {
    enum barrier_do kind;
    enum side side;
};

struct sim {
    struct rng rng;
    bool on[RULES];
    uint64_t now_us;
    struct side_model side[SIDES];
    struct conn conns[CONNS];
    int conn_count;
    struct gateway gateway[GATEWAYS];
    struct link_model link[LINKS];
    /* the ledger */
    struct workflow ledger;
    struct barrier_row row, committed;
    int64_t next_id;
    /* state, while it lives */
    bool alive;
    struct barrier b;
    struct workflow workflow;
    struct pending pending[32];
    int pending_count;
    int64_t next_value;
    bool confirmed[VALUES]; /* by value: its client was told that it is done */
    bool slow_syncer;
    int commits, aborts, recoveries;
    char bad[160];
};

/* One line for each thing that happens, with TRACE=1 in the environment: for looking at one seed.
 */
static bool tracing;
static void PRINTF(1, 2) trace(const char *fmt, ...) {
    if (!tracing) return;
    va_list args;
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
}

#endif

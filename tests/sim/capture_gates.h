/* capture_gates.h -- a simulated gateway of capture_world.h: shells around gateway/hold.h and
 * gateway/owners.h, for capture_gates.c and capture_lanes.c alone. */
#ifndef TESTS_SIM_CAPTURE_GATES_H
#define TESTS_SIM_CAPTURE_GATES_H

#include "gateway/hold.h"
#include "gateway/owners.h"
#include "tests/sim/capture_world.h"

#define C_WAITING 64 /* of a gateway: what is parked, what waits */
#define C_OWN (-1)

/* A command that this gateway has, and that nobody else has. */
struct c_task {
    int op, from;       /* C_OWN, or the gateway that asks */
    uint64_t not_below; /* the version of a table that is waited for */
};
struct c_tasks {
    struct c_task task[C_WAITING];
    unsigned count;
};
struct c_asked {
    int op, peer;
};

struct c_lanes {
    bool open, follow, resting;
    const struct slot_table *table;
    uint64_t owned[LANE_SLOTS / 64];
    bool owns[C_KEYS], dirty[C_KEYS], copying[C_KEYS], void_copy[C_KEYS];
    int p, f;                 /* connections; -1: none */
    struct c_queue p_flight;  /* not answered; item.side: who asked */
    struct c_queue tail;      /* for F, not sent */
    struct c_queue f_flight;  /* sent to F, not confirmed */
    struct c_tasks waits;     /* in blocking commands */
    uint64_t fence_due[C_GATES]; /* a number that it has not said again; 0: none */
};

/* A file: survives its process. */
struct c_journal {
    bool there, dirty[C_KEYS];
    uint64_t since; /* of the file beside it */
};

struct c_gate {
    struct c_world *w;
    int number, process;
    char name[16];
    bool up, paused;
    /* the process */
    struct hold hold;
    bool capture_known, lanes, recaptured;
    const struct slot_table *slots;
    /* its loop */
    bool routed, held, said_held, draining, drained_said, loop_lanes, confirm_release;
    int side;
    uint64_t epoch, round, held_since_ms;
    int64_t drain_barrier;
    bool cached; /* C_NO_CACHE off: it trusts its disk */
    int stream;             /* connection; -1: none */
    struct c_tasks flight;  /* sent on it, not answered */
    struct c_tasks parked;
    struct c_asked asks[C_WAITING]; /* at other gateways */
    unsigned ask_count;
    uint64_t fences;
    struct c_lanes lane;
    struct c_journal journal;
};

struct c_gates {
    struct c_gate gate[C_GATES];
    struct c_queue wire[C_GATES][C_GATES]; /* from, to */
};

enum c_peer_word { PEER_ASK, PEER_ANSWER, PEER_LOST, PEER_MOVED, PEER_FENCE, PEER_FENCED };

static inline int c_slot_of(int key) { return key * (int)(SLOT_CLUSTER_COUNT / C_KEYS); }
static inline void c_add(struct c_tasks *t, struct c_task task) {
    ASSERT(t->count < C_WAITING);
    t->task[t->count++] = task;
}
static inline struct c_task c_take(struct c_tasks *t, unsigned at) {
    struct c_task task = t->task[at];
    memmove(&t->task[at], &t->task[at + 1], (--t->count - at) * sizeof task);
    return task;
}

/* ---- capture_gates.c ---- */
struct c_gate *c_gate(struct c_world *w, int g);
void c_gate_do(struct c_gate *gw, struct c_task task); /* send, forward or park it */
void c_gate_unpark(struct c_gate *gw);
void c_gate_end(struct c_gate *gw, struct c_task task, bool answered); /* lost, or answered, wherever it came from */
bool c_gate_may_open(const struct c_gate *gw);
bool c_gate_connect(struct c_gate *gw, int *conn, int side, enum c_use use);
void c_gate_report(struct c_gate *gw, struct c_item item);

/* ---- capture_lanes.c ---- */
void c_lanes_open(struct c_gate *gw);
void c_lanes_retire(struct c_gate *gw);
void c_lanes_swap(struct c_gate *gw);
void c_lanes_crash(struct c_gate *gw); /* what the journal says then */
void c_lanes_table(struct c_gate *gw, const struct slot_table *table);
bool c_lanes_do(struct c_gate *gw, struct c_task task); /* false: not now */
void c_lanes_step(struct c_gate *gw, int what);
void c_lanes_fence_peers(struct c_gate *gw);
bool c_lanes_are_drained(const struct c_gate *gw);
bool c_lanes_are_level(const struct c_gate *gw);
void c_lanes_break(struct c_gate *gw, bool f);
void c_lanes_look(struct c_gate *gw); /* at connections that were killed */
void c_peer_step(struct c_gate *gw, int from);

#endif

/* capture_world.h -- a change of capture on a virtual network: both sides, gateways with lanes, a
 * syncer with its links, and `state`; all simulated (C1, C21, C23-C26).
 *
 *     clients -> gateway --stream or lane--> P.log -> link -> F      (capture stream)
 *                   |  \------- lane ---------------------> F        (capture lane)
 *                   +-- asks -- other gateways, whose slots they are
 *     state: barrier.h, workflow.h, recapture.h, slots.h, a ledger; hold.h and owners.h in the gateways
 *
 * Everything between any two of them waits in a queue until somebody steps it, comes twice, or is
 * lost with its connection; what was on its way to a side may still be executed. Gateways, the syncer
 * and state die at every step. What they have on disk stays: ledger, spools, journals.
 *
 * Data is a chain of hashes: a write that is lost, comes twice, or in another order is seen. Each
 * write is noted when a side executes it: by what capture, and what carried it over.
 *
 *     sim_capture.c      a run, its beginning and end, what is checked
 *     capture_sides.c    both sides, and connections to them
 *     capture_links.c    the syncer
 *     capture_gates.c    gateways: hold, release, clients
 *     capture_lanes.c    their lanes, and what they ask each other
 *     capture_state.c    state: barriers, records, duties
 *     capture_ledger.c   what it says to others, and hears
 */
#ifndef TESTS_SIM_CAPTURE_WORLD_H
#define TESTS_SIM_CAPTURE_WORLD_H

#include "lib/base/check.h"
#include "lib/base/rand.h"
#include "lib/control/slot_table.h"

#include <stdbool.h>
#include <stdint.h>

#define C_GATES 3
#define C_KEYS 4
#define C_CONNS 768
#define C_QUEUE 64
#define C_LOG 8192
#define C_OPS 4096
#define C_TABLES 512
#define C_HOLD_MS 400
#define C_FORWARD 0 /* the links, and the sides that they lead away from */
#define C_REVERSE 1

enum c_rule {
    C_ONE_RECORD,   /* C1: capture and epoch are one transaction */
    C_TAKEN_FIRST,  /* C1: a gateway takes the capture before it lets clients go on */
    C_AT_B,         /* C23: the link becomes active at B exactly */
    C_RETAINED,     /* C26: the standby link keeps what comes */
    C_GIVEN_BACK,   /* C1: what waits at an owner goes back when its lanes end */
    C_FENCED,       /* C25: who did not confirm is fenced */
    C_PEERS_FENCED, /* C1: drained means that answers of other gateways have come */
    C_LANES_DRAINED, /* C23: drained means that nothing is dirty, or on its way to F */
    C_LINK_DRAINED, /* C23: likewise of the link */
    C_LINK_ENDS,    /* C1: the link has stopped when lanes begin */
    C_ALL_DIRTY,    /* C1: lanes begin with every slot dirty */
    C_ANSWERED,     /* C23: held means that all is answered, or its connection known to be gone */
    C_BY_STATE,     /* C24: no gateway ends a hold by itself */
    C_ASKED,        /* C25: nobody opens a connection without state's word */
    C_NO_CACHE,     /* C25: a process that begins knows no route and no capture */
    C_LATER,        /* C24: the word of a later barrier ends a hold, too */
    C_UNDRAINED,    /* C24: an abort sets the link going again */
    C_LIVE_CAPTURE, /* C1: whoever was away is told the capture, with the next route */
    C_TABLE_FIRST,  /* C22b: whoever comes back hears whose the slots are before it goes on */
    C_RULES
};

/* ---- queues ---- */
struct c_item {
    int kind, key, op;
    uint64_t number; /* a hash, an offset, an epoch, a version: by its kind */
    int64_t barrier;
    int side, capture;
    bool flag;
    const struct slot_table *table;
};
struct c_queue {
    struct c_item item[C_QUEUE];
    unsigned head, tail;
};
static inline unsigned c_count(const struct c_queue *q) { return q->tail - q->head; }
static inline bool c_push(struct c_queue *q, struct c_item item) {
    if (c_count(q) == C_QUEUE) return false;
    q->item[q->tail++ % C_QUEUE] = item;
    return true;
}
static inline struct c_item c_pop(struct c_queue *q) {
    ASSERT(c_count(q) > 0);
    return q->item[q->head++ % C_QUEUE];
}
static inline void c_clear(struct c_queue *q) { q->head = q->tail = 0; }

/* ---- sides ---- */
enum c_from { FROM_CLIENT, FROM_LINK, FROM_LANE, FROM_SERVER };
struct c_entry {
    int key, op;
    enum c_from from;
};
struct c_side {
    uint64_t data[C_KEYS];
    struct c_entry log[C_LOG];
    int64_t end;
    int64_t checkpoint[2]; /* of the link that writes here: up to where */
};

enum c_kind {
    IT_WRITE,   /* op */
    IT_BLOCK,   /* op, which waits for an element */
    IT_UNBLOCK, /* op: its answer is nil, if it still waits */
    IT_READ,    /* of a copy; the answer has the hash */
    IT_EFFECT,  /* op, by a lane */
    IT_RESTORE, /* number: the hash */
    IT_ANSWER,
    IT_NIL,
};
enum c_use { USE_STREAM, USE_LANE_P, USE_LANE_F };
struct c_conn {
    int gate, side, process;
    enum c_use use;
    bool dead; /* its gateway has lost it; what is on its way may still be executed */
    struct c_queue asked, answers;
    int blocked[C_QUEUE];
    unsigned blocked_count;
};

/* A command of a client. */
enum c_fate { FATE_NONE, FATE_UNDER_WAY, FATE_ANSWERED, FATE_LOST };
struct c_op {
    enum c_fate fate;
    int gate, process, key;
    bool blocking;
    int executed, side; /* how often; where */
    int capture;        /* by which it was executed: what the ledger said then */
    int by_link, by_lane;
};

struct c_gates; /* capture_gates.c */
struct c_state; /* capture_state.c */
struct c_syncer;

struct c_world {
    struct rng rng;
    bool on[C_RULES];
    uint64_t now_us;
    int gate_count;
    bool gives_stream[2]; /* the sides that do not hide PSYNC */
    int guard, first;     /* guard.capture; the capture at the beginning */
    struct c_side side[2];
    struct c_conn *conn; /* C_CONNS */
    int conn_count;
    struct c_op op[C_OPS];
    int op_count;
    struct c_gates *gates;
    struct c_state *state;
    struct c_syncer *syncer;
    struct slot_table *table[C_TABLES];
    int table_count;
    /* between state and the others: orders down, reports up; both are lost with the connection */
    bool joined[C_GATES + 1], cut[C_GATES + 1];
    struct c_queue down[C_GATES + 1], up[C_GATES + 1];
    int commits[3], aborts, recoveries, asks, lost; /* commits: to stream, to lane, of a primary side alone */
    bool healing, final, slow_syncer, tracing;
    bool data_errors; /* F refuses units now and then: their keys are dirty until they are copied (C7) */
    char bad[200];
};
#define C_SYNCER C_GATES

void PRINTF(2, 3) c_fail(struct c_world *w, const char *fmt, ...);
void PRINTF(2, 3) c_trace(struct c_world *w, const char *fmt, ...);
static inline int c_pick(struct c_world *w, int below) { return (int)rng_below(&w->rng, (uint64_t)below); }
static inline const char *c_side_name(int side) { return side ? "target" : "legacy"; }
static inline const char *c_capture_name(int lane) { return lane ? "lane" : "stream"; }

/* ---- capture_sides.c ---- */
int c_dial(struct c_world *w, int gate, int process, int side, enum c_use use);
void c_execute(struct c_world *w, struct c_conn *conn);
void c_element(struct c_world *w, struct c_conn *conn); /* something comes for a blocked command */
void c_kill(struct c_conn *conn);
/* Kill what is dead of GATE at SIDE (-1: both): it is known to be gone then. */
void c_bury(struct c_world *w, int gate, int side);
bool c_has_graves(const struct c_world *w, int gate, int side);
void c_put(struct c_world *w, int side, int key, int op, enum c_from from);
/* DIRTY: F refuses it, or its key was refused before. */
void c_applied(struct c_world *w, int link, const struct c_entry *entry, bool dirty);
bool c_is_level(const struct c_world *w);
void c_repair(struct c_world *w, int side, int key); /* the other side's value */

/* ---- capture_links.c ---- */
struct c_syncer *c_syncer_new(void);
void c_syncer_begin(struct c_world *w); /* with the forward link active */
void c_syncer_crash(struct c_world *w);
void c_syncer_start(struct c_world *w);
void c_syncer_step(struct c_world *w, int what, int link); /* what: 0-4, one thing each */
bool c_syncer_is_up(const struct c_world *w);
void c_syncer_lost(struct c_world *w);
bool c_link_is_attached(const struct c_world *w, int link); /* as it reports: standby */
int c_link_dirty(const struct c_world *w, int link, int key); /* key -1: how many */
bool c_link_follows(const struct c_world *w, int link);

/* ---- capture_gates.c ---- */
struct c_gates *c_gates_new(struct c_world *w);
void c_gates_free(struct c_gates *gates);
void c_gate_client(struct c_world *w, int g, bool blocking); /* a new command */
void c_gate_step(struct c_world *w, int g, int what);        /* 0-5 */
void c_gate_crash(struct c_world *w, int g);
void c_gate_start(struct c_world *w, int g);
void c_gate_pause(struct c_world *w, int g, bool paused);
bool c_gate_is_up(const struct c_world *w, int g);
bool c_gate_is_paused(const struct c_world *w, int g);
void c_gate_joined(struct c_world *w, int g, int capture);
void c_gate_lost(struct c_world *w, int g);
void c_gate_timer(struct c_world *w, int g);
void c_gate_drop(struct c_world *w, int g); /* one of its connections breaks */
void c_peers_break(struct c_world *w, int a, int b);
int c_gate_process(const struct c_world *w, int g);
uint64_t c_gate_epoch(const struct c_world *w, int g);
void c_gate_check(struct c_world *w, int g, uint64_t epoch, int side, bool lanes);

/* ---- capture_state.c ---- */
enum c_verb { VERB_TURN, VERB_REHEARSE, VERB_STREAM, VERB_LANE, VERB_STOP, VERB_END };
struct c_state *c_state_new(struct c_world *w);
void c_state_crash(struct c_world *w);
void c_state_start(struct c_world *w);
void c_state_step(struct c_world *w);   /* one thing that it waits for happens */
void c_state_hears(struct c_world *w, int who);
void c_state_tick(struct c_world *w);
bool c_state_ask(struct c_world *w, enum c_verb verb); /* an operator; whether it began */
void c_state_join(struct c_world *w, int who);
void c_state_lose(struct c_world *w, int who);
/* C25: the gateway asks, with the epoch and the table that it obeys. */
bool c_state_admits(const struct c_world *w, int g, uint64_t epoch, int side, uint64_t version);
bool c_state_is_alive(const struct c_world *w);
bool c_state_is_quiet(const struct c_world *w); /* no barrier, no record on its way */
int c_ledger_primary(const struct c_world *w);
bool c_ledger_lanes(const struct c_world *w);
bool c_ledger_is_level(const struct c_world *w); /* its phase is level or guarded */
uint64_t c_ledger_epoch(const struct c_world *w);
void c_state_describe(const struct c_world *w, char *text, size_t size);

/* ---- words between state and the others: c_item.kind ---- */
enum c_word {
    /* down */
    W_PREPARE, W_HOLD, W_RELEASE, W_ROUTE, W_OPEN, W_CLOSE, W_DRAIN, W_SLOTS, W_REST,
    /* down, to the syncer; key: the link */
    W_LINK_OPEN, W_LINK_COPY, W_LINK_CLOSE, W_LINK_DRAIN, W_LINK_UNDRAIN, W_LINK_ACTIVATE, W_LINK_DISCARD,
    /* up */
    W_PREPARED, W_HELD, W_RELEASED, W_DRAINED, W_LANES, W_RESTED, W_LINK_DRAINED, W_LINK_ACTIVE, W_FAILED,
};
#define C_SLOTS_HOLD (-7) /* a barrier's number: the hand-over of slots */

#endif

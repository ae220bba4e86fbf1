/* capture_state.h -- the simulated state of capture_world.h: a shell around state/barrier.h,
 * workflow.h, recapture.h and slots.h, for capture_state.c and capture_ledger.c alone. */
#ifndef TESTS_SIM_CAPTURE_STATE_H
#define TESTS_SIM_CAPTURE_STATE_H

#include "state/barrier.h"
#include "state/recapture.h"
#include "state/slots.h"
#include "tests/sim/capture_world.h"

#define C_PENDING 96

/* What a restart finds. */
struct c_ledger {
    struct workflow workflow;
    enum capture capture, home, late; /* late: of a commit that is two records (C_ONE_RECORD off) */
    struct barrier_row last, committed;
    struct slot_table slots;
    int64_t ids;
    int process[C_GATES]; /* of the gateways; 0: never here, else one more */
};

enum c_ask { ASK_RECORD, ASK_SLOTS, ASK_SIDE, ASK_PREDECESSOR, ASK_SLOTS_FENCE };
/* What was asked for, and has not ended. */
struct c_pending {
    enum c_ask ask;
    enum barrier_do what;
    enum side side;
    int64_t run;
    int gate, process;
    struct slot_table *table; /* of the world's */
};

struct c_state {
    struct c_ledger disk;
    bool alive;
    /* the process */
    struct c_ledger now; /* as far as it has heard */
    struct barrier barrier;
    int64_t run;
    struct slots slots;
    const struct slot_table *published;
    bool slots_writing;
    int64_t drained[C_GATES];
    bool level[C_GATES], heard[C_GATES];
    int admitting;
    struct {
        int state; /* 0: none, 1: holding, 2: resting, 3: being written */
        uint64_t until_ms, not_before_ms;
        unsigned confirmed;
        struct slot_table table;
    } move;
    struct {
        enum capture wanted; /* CAPTURE_AUTO: none */
        bool begun;
        uint64_t until_ms;
    } recapture;
    struct c_pending pending[C_PENDING];
    int pending_count;
};

static inline uint64_t c_now_ms(const struct c_world *w) { return w->now_us / 1000; }
static inline bool c_has_lanes(const struct c_state *s) { return s->now.capture == CAPTURE_LANE; }

/* ---- capture_state.c ---- */
void c_state_event(struct c_world *w, struct barrier_event event);
void c_state_wait(struct c_world *w, struct c_pending pending);

/* ---- capture_ledger.c ---- */
void c_tell(struct c_world *w, int who, struct c_item item);
void c_route(struct c_world *w, int g);
void c_duties(struct c_world *w);
void c_publish(struct c_world *w);
void c_end_move(struct c_world *w, bool done);
void c_slots_tick(struct c_world *w);
void c_slots_written(struct c_world *w, struct slot_table *table);
bool c_follows(const struct c_world *w); /* the other side, as far as is known */
bool c_all_here(const struct c_world *w);
enum capture c_capture_of(const struct c_world *w, enum side side);
int c_gate_called(const char *name);

#endif

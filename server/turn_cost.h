/* turn_cost.h -- what turns of the engine cost, and what the long ones of them were: DEBUG TURNS.
 *
 *     DEBUG TURNS ON     measure from now on, from zero
 *     DEBUG TURNS OFF
 *     DEBUG TURNS SHOW   name:value lines, and the turns that took most processor time, the longest first
 *
 * A turn is everything between two sleeps of the loop. Wall time is what others wait; processor time
 * is what the engine itself did: on a machine that it shares it may lose the processor in the middle
 * of a turn, or sleep in a system call. So for each turn both are measured, with the thread's page
 * faults and context switches and the commands that ran, and where the wall time went. `snapshot` is
 * the part that would not be there without one: its walk, and capturing what is about to change.
 * It costs two system calls and some looks at the clock for each turn, so it is off otherwise.
 */
#ifndef SERVER_TURN_COST_H
#define SERVER_TURN_COST_H

#include "server/engine.h"

enum turn_stage {
    TURN_OTHER, /* timers, and what libuv calls that is no client */
    TURN_READ,  /* sockets read */
    TURN_RUN,   /* commands */
    TURN_HOOKS, /* AOF and replication */
    TURN_SEND,  /* replies */
    TURN_WALK,  /* of a snapshot */
    TURN_STAGES
};

struct turn_costs;

void turn_cost_bind(struct engine *engine);
void turn_cost_note_stage(struct engine *engine, enum turn_stage stage);
void turn_cost_note_snapshot(struct engine *engine, uint64_t worked_ns);
void turn_cost_note_end(struct engine *engine);

/* What has passed since the last mark was STAGE. */
static inline void turn_cost_mark(struct engine *engine, enum turn_stage stage) {
    if (engine->turn_costs) turn_cost_note_stage(engine, stage);
}
/* So much of this turn's processor time went into a snapshot. */
static inline void turn_cost_snapshot(struct engine *engine, uint64_t worked_ns) {
    if (engine->turn_costs) turn_cost_note_snapshot(engine, worked_ns);
}
/* The turn ends; the loop is going to sleep. */
static inline void turn_cost_end(struct engine *engine) {
    if (engine->turn_costs) turn_cost_note_end(engine);
}

#endif

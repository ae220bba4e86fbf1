/* lane_barrier.h -- FLUSHALL, FLUSHDB, SWAPDB, SCRIPT and FUNCTION over all lanes (C19).
 *
 *   at P   IDLE --begin--> STOPPING --all is answered--> ASKED --answered, lost--> IDLE, lanes go
 * on at F   IDLE --done at P--> FENCING --every lane's fence is reached--> PASSING --confirmed-->
 * IDLE | a queue was lost                        | its connection broke v v everything is dirty
 * BURIED: until it is known to be gone
 *
 * The request goes to F when everything before it is confirmed there, and nothing after it leaves
 * before it is confirmed. The two machines are apart, so that no client waits for F: when F is not
 * there, or still busy with the barrier before this one, everything becomes dirty instead, and a
 * pass (lane_scan.h) makes it clean. So it is with SWAPDB and with blocks that hold more than one
 * request. What changes scripts and functions only makes those dirty instead (lane_functions.h).
 *
 * Decided without I/O, over the lanes of one loop. barrier_turn() carries out what could not be
 * done inside a lane's own functions: call it when a callback ends.
 */
#ifndef GATEWAY_LANE_BARRIER_H
#define GATEWAY_LANE_BARRIER_H

#include "gateway/lane_functions.h"

enum lane_barrier_at_p { LANE_BARRIER_IDLE, LANE_BARRIER_STOPPING, LANE_BARRIER_ASKED };
enum lane_barrier_at_f {
    LANE_FENCE_IDLE,
    LANE_FENCE_FENCING,
    LANE_FENCE_PASSING,
    LANE_FENCE_BURIED,
};

struct lane_barrier {
    struct lane *lanes;
    unsigned count;
    struct lane_functions *functions;
    struct lane_queue waiting; /* items; each leaves alone, down lane 0 */
    enum lane_barrier_at_p at_p;
    enum lane_barrier_at_f at_f;
    uint64_t closed;               /* lanes with a fence in their queue, as bits */
    uint64_t reached;              /* of those, the ones where all before it is confirmed */
    bool shared;                   /* other gateways own slots: F is not flushed in its place */
    bool no_data;                  /* the fences are of a command that changes no keys */
    bool broken;                   /* a fence was lost: let the others through, send nothing */
    uint64_t done, fenced, marked; /* figures: barriers, and how F got them */
};

void lane_barrier_init(struct lane_barrier *barrier, struct lane *lanes, unsigned count,
                       struct lane_functions *functions);
void lane_barrier_close(struct lane_barrier *barrier);

/* Takes ITEM, whose effect is a barrier. */
void lane_barrier_begin(struct lane_barrier *barrier, struct lane_item *item);

/* What has not left, one after the other: slot 0, and with it their order, is another gateway's now.
 * NULL: there is none. The item is the caller's. */
struct lane_item *lane_barrier_take_back(struct lane_barrier *barrier);

/* From the ops of the lanes. */
void lane_barrier_settled(struct lane_barrier *barrier, struct lane_item *item,
                          const struct effect_outcome *outcome);
void lane_barrier_unanswered(struct lane_barrier *barrier); /* its connection broke */
void lane_barrier_at_fence(struct lane_barrier *barrier, unsigned lane);
void lane_barrier_passed(struct lane_barrier *barrier, struct lane_item *fence);
void lane_barrier_lost(struct lane_barrier *barrier, unsigned lane, struct lane_item *fence,
                       bool sent);

void lane_barrier_turn(struct lane_barrier *barrier);

/* No barrier is under way at P, and none waits. */
static inline bool lane_barrier_is_idle(const struct lane_barrier *barrier) {
    return barrier->at_p == LANE_BARRIER_IDLE && barrier->waiting.count == 0;
}

#endif

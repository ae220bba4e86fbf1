/* hold.h -- the gateway's part of a barrier, decided without I/O (C23, C24).
 *
 *              ROUTE               HOLD               all loops confirmed
 *   UNROUTED ---------> SERVING ----------> HOLDING ------------------------> HELD
 *      |                   ^  ^                | RELEASE                        |
 *      |       HOLD        |  +----------------|--------------+                 | RELEASE
 *      +-------------------|-----------------> +              |                 v
 *                          +---- all loops went on ------- RELEASING <----------+
 *
 * `state` decides, and this obeys: only RELEASE ends a hold, never a timer. The timer only makes
 * the held commands fail after max_blackout; the hold itself goes on.
 *
 * The caller carries out the returned set of `enum hold_do` and answers the command with `+OK` or,
 * after HOLD_STALE, with `-STALEEPOCH <epoch>`.
 * Every command may come again: it then only repeats its report.
 */
#ifndef GATEWAY_HOLD_H
#define GATEWAY_HOLD_H

#include "lib/base/slice.h"
#include "lib/base/sm.h"

enum side { SIDE_LEGACY, SIDE_TARGET, SIDES };

const char *gateway_side_name(enum side side);
bool gateway_side_parse(struct slice text, enum side *side);

enum hold_state {
    HOLD_UNROUTED,
    HOLD_SERVING,
    HOLD_HOLDING,
    HOLD_HELD,
    HOLD_RELEASING,
    HOLD_STATES
};

enum hold_do {
    HOLD_DO_ROUTE = 1 << 0,       /* tell the loops hold.epoch and hold.side */
    HOLD_DO_HOLD = 1 << 1,        /* tell the loops to stop sending; each confirms */
    HOLD_DO_RELEASE = 1 << 2,     /* tell the loops epoch and side and to go on; each confirms */
    HOLD_DO_REPORT_HELD = 1 << 3, /* for hold.barrier */
    HOLD_DO_REPORT_RELEASED = 1 << 4, /* for hold.barrier */
    HOLD_DO_ANSWER = 1 << 5,          /* the RELEASE that was waiting may be answered now */
    HOLD_DO_BLACKOUT = 1 << 6,        /* the loops answer what is held with an error */
    HOLD_WAIT = 1 << 7,               /* answer this command when HOLD_DO_ANSWER comes */
    HOLD_STALE = 1 << 8,              /* the command was refused */
};

#define HOLD_BARRIER_BYTES 64

/* What the loops told, summed or as the maximum. */
struct hold_totals {
    uint64_t clients, queued, blocked, outstanding_us, held_us_max;
};

struct hold {
    struct sm sm;
    uint64_t epoch; /* highest that was obeyed */
    enum side side;
    char barrier[HOLD_BARRIER_BYTES]; /* of the present or the last hold */
    unsigned loops, waiting;          /* loops in all, and those that did not confirm yet */
    uint64_t round; /* of the present or last hold; loops name it when they confirm */
    uint64_t held_since_ms, max_blackout_ms;
    bool blackout; /* said for this hold */
    struct hold_totals held, released;
};

void hold_init(struct hold *hold, unsigned loops, uint64_t max_blackout_ms);

unsigned hold_on_route(struct hold *hold, uint64_t epoch, enum side side);
unsigned hold_on_hold(struct hold *hold, struct slice barrier, uint64_t epoch, uint64_t now_ms);
unsigned hold_on_release(struct hold *hold, struct slice barrier, uint64_t epoch, enum side side);

/* A loop confirmed what it was told with hold.round. TOTALS are its own. */
unsigned hold_on_loop_held(struct hold *hold, uint64_t round, const struct hold_totals *totals);
unsigned hold_on_loop_released(struct hold *hold, uint64_t round, const struct hold_totals *totals);

unsigned hold_on_tick(struct hold *hold, uint64_t now_ms);

static inline bool hold_is_held(const struct hold *hold) {
    return hold->sm.state == HOLD_HOLDING || hold->sm.state == HOLD_HELD;
}

#endif

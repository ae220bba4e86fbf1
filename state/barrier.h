/* barrier.h -- hold clients, drain, prove both sides level, change the primary side, release.
 *
 *   IDLE -> BEGINNING -> PREPARING -> HOLDING -> FENCING -> READING_X -> DRAINING -> READING_B
 *           (ledger)                                                                    |
 *      SYNCING <------------------------------------------------------------------------+ (*)
 *         +-> COMPARING -> COMMITTING ===> OPENING -> ACTIVATING -> RELEASING -> ENDING -> DONE
 *                          (ledger)                                             (ledger)
 *   before ===>  any failure or the deadline:  ABORTING -> RESTORING -> DONE
 *                                              (ledger)
 *
 * (*) not when the primary side stays.
 * The double arrow is the commit: the new epoch is durable (C24). Before it, everything is undone;
 * after it, everything is completed, however often `state` dies. This is the decider: it takes one
 * event, and says what to do in a list of actions; it has no sockets, no clock, no memory of its
 * own. state/barrier_run.c carries the actions out, tests/sim/sim_barrier.c on a virtual network.
 *
 * A change of capture is such a barrier, too (C1): alone, and then both sides are the same one
 * (row.from == row.to), or together with the change of the primary side. Before the commit the old
 * capture is drained; the new one begins at B. Lanes begin with every slot dirty, so what of the link
 * could not be made clean does not hold them up.
 *
 * The owner calls barrier_step() for everything that happens, and again with BARRIER_EV_TIMER once
 * `timer_at_ms` is reached. Events of an earlier step, or of another barrier, are harmless.
 */
#ifndef STATE_BARRIER_H
#define STATE_BARRIER_H

#include "lib/base/sm.h"
#include "state/ledger_tables.h"

#include <stddef.h>

#define BARRIER_GATEWAYS_MAX 64
#define BARRIER_PREPARE_MS 3000 /* clients are not held meanwhile */
#define BARRIER_RELEASE_MS 3000 /* silence of a gateway after which it counts as lost */

enum barrier_step {
    BARRIER_IDLE,
    BARRIER_BEGINNING,
    BARRIER_PREPARING,
    BARRIER_HOLDING,
    BARRIER_FENCING,
    BARRIER_READING_X,
    BARRIER_DRAINING,
    BARRIER_READING_B,
    BARRIER_SYNCING,
    BARRIER_COMPARING,
    BARRIER_COMMITTING,
    BARRIER_OPENING,
    BARRIER_ACTIVATING,
    BARRIER_RELEASING,
    BARRIER_ENDING,
    BARRIER_ABORTING,
    BARRIER_RESTORING,
    BARRIER_DONE,
    BARRIER_STEPS
};
const char *barrier_step_name(enum barrier_step step);

struct barrier_gateway {
    char name[NAME_MAX_BYTES];
    bool live;                     /* its task connection stands */
    bool prepared, held, released; /* said so in this barrier */
};

struct barrier {
    struct sm sm;
    struct barrier_row row; /* as the ledger has it, or will have it */
    struct barrier_gateway gateways[BARRIER_GATEWAYS_MAX];
    size_t gateway_count;
    char link_replid[41];   /* history that the active link follows; X must be of it */
    char next_replid[41];   /* likewise of the link that is active after it; B. "": not checked */
    uint64_t timer_at_ms;   /* 0: none */
    uint64_t hold_began_ms; /* 0: nobody was held yet */
    uint64_t hold_began_us;
    uint64_t deadline_ms; /* of the hold */
    bool draining;        /* LINK DRAIN was sent */
    bool recovered;
    char note[REASON_BYTES];     /* what went less than well after the commit */
    enum barrier_step failed_at; /* valid when aborted */
};

enum barrier_event_kind {
    BARRIER_EV_RECORDED,       /* what RECORD_* asked for is durable */
    BARRIER_EV_RECORD_FAILED,  /* and is certainly not in the ledger */
    BARRIER_EV_PREPARED,       /* gateway */
    BARRIER_EV_HELD,           /* gateway */
    BARRIER_EV_RELEASED,       /* gateway: RELEASE was answered */
    BARRIER_EV_GATEWAY_JOINED, /* gateway: a task connection began, perhaps of a new process */
    BARRIER_EV_GATEWAY_LOST,   /* gateway */
    BARRIER_EV_FENCED,         /* count: connections that were killed; none is left */
    BARRIER_EV_FENCE_REFUSED,  /* the side forbids CLIENT LIST or KILL */
    BARRIER_EV_PLACE,          /* place: of the side that READ_PLACE asked for */
    BARRIER_EV_DRAINED,        /* count: dirty and quarantined keys that are left */
    BARRIER_EV_SYNCED,
    BARRIER_EV_COMPARED, /* count: compared; different */
    BARRIER_EV_OPENED,
    BARRIER_EV_ACTIVE,
    BARRIER_EV_FAILED,    /* the current step's action failed; why */
    BARRIER_EV_LINK_LOST, /* the syncer's task connection broke */
    BARRIER_EV_LINK_JOINED,
    BARRIER_EV_STOP, /* an operator wants it undone; why */
    BARRIER_EV_TIMER,
};

struct barrier_event {
    enum barrier_event_kind kind;
    uint64_t now_us;     /* monotonic */
    const char *gateway; /* name */
    int64_t count, different;
    struct place place;
    const char *why;
};

enum barrier_do {
    BARRIER_DO_RECORD_BEGIN, /* begin `row`; fills in row.id */
    BARRIER_DO_RECORD_COMMIT,
    BARRIER_DO_RECORD_ABORT,
    BARRIER_DO_RECORD_END,
    BARRIER_DO_PREPARE,    /* gateway */
    BARRIER_DO_HOLD,       /* gateway */
    BARRIER_DO_RELEASE,    /* gateway, with `epoch` and `primary` */
    BARRIER_DO_FENCE,      /* kill the connections at row.from of gateways that are not
                              barrier_is_held(); see that none is left */
    BARRIER_DO_READ_PLACE, /* of `side` */
    BARRIER_DO_DRAIN,      /* the active link, to row.x.offset */
    BARRIER_DO_UNDRAIN,
    BARRIER_DO_SYNC,         /* fsync and replicas of row.to, in budget_ms */
    BARRIER_DO_COMPARE,      /* in budget_ms */
    BARRIER_DO_OPEN_PRIMARY, /* row.to: import mode off, epoch */
    BARRIER_DO_ACTIVATE,     /* the other link, at row.b */
    BARRIER_DO_FINISHED,     /* look at row.outcome */
};

struct barrier_action {
    enum barrier_do kind;
    size_t gateway; /* index into barrier.gateways */
    enum side side;
    uint64_t epoch;
    enum side primary;
    uint32_t budget_ms;
};

#define BARRIER_ACTIONS_MAX (2 * BARRIER_GATEWAYS_MAX + 8)
struct barrier_todo {
    size_t count;
    struct barrier_action actions[BARRIER_ACTIONS_MAX];
};

struct barrier_plan {
    enum side from;
    bool rehearsal;
    uint32_t max_hold_ms;
    uint64_t epoch; /* the current one */
    char who[64];
    char link_replid[41]; /* "": not known, not checked */
    bool stays;           /* only the capture changes; the primary side is `from` all the same */
    enum capture capture_before, capture_after;
    char next_replid[41]; /* see struct barrier */
};

void barrier_init(struct barrier *barrier);
/* Begin. The live gateways were joined before, by BARRIER_EV_GATEWAY_JOINED. */
void barrier_begin(struct barrier *barrier, const struct barrier_plan *plan, uint64_t now_us,
                   struct barrier_todo *todo);
/* Go on with what a dead `state` left: ROW is BARRIER_OPEN or BARRIER_COMMITTED. */
void barrier_recover(struct barrier *barrier, const struct barrier_row *row, uint64_t now_us,
                     struct barrier_todo *todo);
void barrier_step(struct barrier *barrier, const struct barrier_event *event,
                  struct barrier_todo *todo);

/* While false, nobody may open a connection to either side (`DRAWBRIDGE EPOCH` is refused, C25). */
bool barrier_admits(const struct barrier *barrier);
/* Whether one runs: from barrier_begin() to BARRIER_DO_FINISHED. */
bool barrier_is_open(const struct barrier *barrier);
/* The new epoch is a fact. */
bool barrier_is_committed(const struct barrier *barrier);
/* Whether the gateway of this NAME confirmed that nothing of its is on its way. */
bool barrier_is_held(const struct barrier *barrier, const char *name, size_t name_bytes);
void barrier_check(const struct barrier *barrier);

#endif

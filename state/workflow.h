/* workflow.h -- where a migration stands, and which moves are allowed. A decider: no I/O, no clock.
 *
 *   planned -> checked -> copying -> following <-> level -> cutting-over -> guarded -> completed
 *      |          |         ^  |         |  |        |  ^        |           |   ^
 *      |          |         |  |         |  |        |  +--------+ aborted   v   | aborted
 *      |          |         +------------+--+--------+ copy again    rolling-back -+-> level
 *      +----------+------------+---------+-----------+--> aborted
 *
 * workflow_decide() looks and changes nothing: the caller writes the move into the ledger, and only
 * when it is durable calls workflow_move() and carries out the duties of the new phase (C24).
 *
 * Duties are what must be so in a phase, not what must be done once: they are made from the
 * ledger's rows alone and may be carried out again at any time. So a `state` that died anywhere
 * goes on by carrying them out, and a syncer that comes back gets them again.
 */
#ifndef STATE_WORKFLOW_H
#define STATE_WORKFLOW_H

#include "lib/base/why.h"
#include "lib/control/config.h"
#include "state/words.h"

#include <stddef.h>

struct barrier_row;

enum workflow_event {
    WORKFLOW_CHECK_PASSED,
    WORKFLOW_START,      /* operator */
    WORKFLOW_COPY_DONE,  /* the forward link follows */
    WORKFLOW_COPY_AGAIN, /* the forward link had to begin a new copy (C9) */
    WORKFLOW_GATES_OPEN, /* every gate of `level` passes or is waived */
    WORKFLOW_GATES_CLOSED,
    WORKFLOW_CUTOVER,   /* operator; rehearsals too */
    WORKFLOW_ROLLBACK,  /* operator; rehearsals too */
    WORKFLOW_COMMITTED, /* the barrier's new epoch is about to be a fact */
    WORKFLOW_BARRIER_ABORTED,
    WORKFLOW_COMPLETE, /* operator */
    WORKFLOW_ABORT,    /* operator */
    WORKFLOW_EVENTS
};

struct workflow {
    enum phase phase;
    enum side primary;
    uint64_t epoch;
};

enum workflow_answer {
    WORKFLOW_MOVE,   /* *to is the next phase */
    WORKFLOW_STAY,   /* nothing to do: it is so already, or it does not matter here */
    WORKFLOW_REFUSE, /* not here: why says where it is possible */
};

enum workflow_answer workflow_decide(const struct workflow *workflow, enum workflow_event event,
                                     enum phase *to, struct why *why);

/* The move to TO is durable. PRIMARY and EPOCH as the ledger has them now. */
void workflow_move(struct workflow *workflow, enum phase to, enum side primary, uint64_t epoch);

void workflow_check(const struct workflow *workflow);
bool workflow_is_final(enum phase phase);
/* Whether clients may be held in this phase. */
bool workflow_has_barrier(enum phase phase);
const char *workflow_event_name(enum workflow_event event);

/* ---- duties ---- */
enum duty_kind {
    DUTY_OPEN_COPY,    /* LINK OPEN link {mode: copy} */
    DUTY_OPEN_STANDBY, /* LINK OPEN link {mode: standby} */
    DUTY_UNDRAIN,      /* LINK UNDRAIN link barrier: the last barrier was aborted */
    DUTY_ACTIVATE,     /* LINK ACTIVATE link epoch place */
    DUTY_CLOSE,        /* LINK CLOSE link */
};
struct duty {
    enum duty_kind kind;
    enum link_id link;
    int64_t barrier;    /* UNDRAIN */
    uint64_t epoch;     /* ACTIVATE */
    struct place place; /* ACTIVATE */
    int64_t own_until;  /* OPEN_STANDBY: the source's units up to here were its clients' */
    bool by_lanes;      /* likewise: until it is activated, lanes write to its target */
};
#define DUTIES_MAX 6

/* How changes of the primary side are learned: with a stream there is a link from that side. */
struct workflow_capture {
    enum capture now, other; /* of the present primary side; of the other one, when it is that */
    bool attach;             /* with lanes: they are about to be replaced by the link (C1) */
};

/* LAST: the latest barrier of the migration, COMMITTED: the latest one that was committed; outcome
 * BARRIER_NONE where there is none. Both as the ledger has them. Returns how many. */
size_t workflow_duties(const struct workflow *workflow, const struct workflow_capture *capture,
                       const struct barrier_row *last,
                       const struct barrier_row *committed, struct duty duties[DUTIES_MAX]);

#endif

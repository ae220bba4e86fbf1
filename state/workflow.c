/* workflow.c -- where a migration stands, and which moves are allowed. */
#include "state/workflow.h"

#include "state/ledger_tables.h"

#define STAY (-1)
#define NO (-2)

/* One row for each event, one column for each phase: the next phase, STAY, or NO. */
/* clang-format off */
static const int moves[WORKFLOW_EVENTS][PHASES] = {
#define P(name) PHASE_##name
    /*                           planned     checked     copying       following    level            cutting-over  guarded          rolling-back  completed  aborted */
    [WORKFLOW_CHECK_PASSED]   = {P(CHECKED), STAY,       STAY,         STAY,        STAY,            STAY,         STAY,            STAY,         STAY,      STAY},
    [WORKFLOW_START]          = {NO,         P(COPYING), STAY,         STAY,        STAY,            STAY,         STAY,            STAY,         NO,        NO},
    [WORKFLOW_COPY_DONE]      = {STAY,       STAY,       P(FOLLOWING), STAY,        STAY,            STAY,         STAY,            STAY,         STAY,      STAY},
    [WORKFLOW_COPY_AGAIN]     = {STAY,       STAY,       STAY,         P(COPYING),  P(COPYING),      STAY,         STAY,            STAY,         STAY,      STAY},
    [WORKFLOW_GATES_OPEN]     = {STAY,       STAY,       STAY,         P(LEVEL),    STAY,            STAY,         STAY,            STAY,         STAY,      STAY},
    [WORKFLOW_GATES_CLOSED]   = {STAY,       STAY,       STAY,         STAY,        P(FOLLOWING),    STAY,         STAY,            STAY,         STAY,      STAY},
    [WORKFLOW_CUTOVER]        = {NO,         NO,         NO,           NO,          P(CUTTING_OVER), NO,           NO,              NO,           NO,        NO},
    [WORKFLOW_ROLLBACK]       = {NO,         NO,         NO,           NO,          NO,              NO,           P(ROLLING_BACK), NO,           NO,        NO},
    [WORKFLOW_COMMITTED]      = {NO,         NO,         NO,           NO,          NO,              P(GUARDED),   NO,              P(LEVEL),     NO,        NO},
    [WORKFLOW_BARRIER_ABORTED]= {NO,         NO,         NO,           NO,          NO,              P(LEVEL),     NO,              P(GUARDED),   NO,        NO},
    [WORKFLOW_COMPLETE]       = {NO,         NO,         NO,           NO,          NO,              NO,           P(COMPLETED),    NO,           STAY,      NO},
    [WORKFLOW_ABORT]          = {P(ABORTED), P(ABORTED), P(ABORTED),   P(ABORTED),  P(ABORTED),      NO,           NO,              NO,           NO,        STAY},
#undef P
};
/* clang-format on */

static const char *const event_names[WORKFLOW_EVENTS] = {
    "check-passed", "start",    "copy-done", "copy-again",      "gates-open", "gates-closed",
    "cutover",      "rollback", "committed", "barrier-aborted", "complete",   "abort"};

const char *workflow_event_name(enum workflow_event event) {
    ASSERT(event < WORKFLOW_EVENTS);
    return event_names[event];
}

bool workflow_is_final(enum phase phase) {
    return phase == PHASE_COMPLETED || phase == PHASE_ABORTED;
}

bool workflow_has_barrier(enum phase phase) {
    return phase == PHASE_CUTTING_OVER || phase == PHASE_ROLLING_BACK;
}

/* Clients are on the target's side exactly when a cutover was committed and not rolled back. */
void workflow_check(const struct workflow *w) {
    bool target =
        w->phase == PHASE_GUARDED || w->phase == PHASE_ROLLING_BACK || w->phase == PHASE_COMPLETED;
    ASSERT(w->phase < PHASES);
    ASSERT((w->primary == SIDE_TARGET) == target);
    ASSERT(w->epoch > 0);
}

/* What the operator can do instead. */
static const char *hint(enum workflow_event event, enum phase phase) {
    switch (event) {
    case WORKFLOW_START:
        if (phase == PHASE_PLANNED) return "the preflight check has not passed";
        return "this migration has ended; give the next one another name";
    case WORKFLOW_CUTOVER:
        if (phase == PHASE_GUARDED || phase == PHASE_COMPLETED)
            return "target is the primary side already";
        return "a cutover begins in phase level; `drawbridge status` says which gate is closed";
    case WORKFLOW_ROLLBACK:
        if (phase == PHASE_COMPLETED) return "complete gave up the way back";
        return "legacy is the primary side; there is nothing to roll back";
    case WORKFLOW_COMPLETE: return "only a guarded migration, after its cutover, can be completed";
    case WORKFLOW_ABORT:
        if (workflow_has_barrier(phase))
            return "a barrier is running; it ends by itself, then try again";
        return "target is the primary side; the way back is `drawbridge rollback`";
    case WORKFLOW_CHECK_PASSED:
    case WORKFLOW_COPY_DONE:
    case WORKFLOW_COPY_AGAIN:
    case WORKFLOW_GATES_OPEN:
    case WORKFLOW_GATES_CLOSED:
    case WORKFLOW_COMMITTED:
    case WORKFLOW_BARRIER_ABORTED:
    case WORKFLOW_EVENTS: break;
    }
    return "there is no barrier";
}

enum workflow_answer workflow_decide(const struct workflow *w, enum workflow_event event,
                                     enum phase *to, struct why *why) {
    workflow_check(w);
    ASSERT(event < WORKFLOW_EVENTS);
    int next = moves[event][w->phase];
    if (next == STAY) return WORKFLOW_STAY;
    if (next == NO) {
        why_set(why, ERR_STATE, "%s is not possible in phase %s: %s", workflow_event_name(event),
                phase_name(w->phase), hint(event, w->phase));
        return WORKFLOW_REFUSE;
    }
    *to = (enum phase)next;
    return WORKFLOW_MOVE;
}

void workflow_move(struct workflow *w, enum phase to, enum side primary, uint64_t epoch) {
    ASSERT(epoch >= w->epoch);
    w->phase = to;
    w->primary = primary;
    w->epoch = epoch;
    workflow_check(w);
}

static size_t add(struct duty *duties, size_t count, struct duty duty) {
    ASSERT(count < DUTIES_MAX);
    duties[count] = duty;
    return count + 1;
}

/* The active link: begun by a copy, or handed over by the last barrier that was committed. An
 * aborted barrier may have drained it, and may have died before it said UNDRAIN. */
static size_t active_duties(const struct workflow *w, const struct barrier_row *last,
                            const struct barrier_row *committed, struct duty *duties) {
    enum link_id link = link_from(w->primary);
    size_t count = 0;
    if (committed->outcome == BARRIER_NONE) {
        count = add(duties, count, (struct duty){.kind = DUTY_OPEN_COPY, .link = link});
    } else {
        ASSERT(committed->to == w->primary);
        count = add(duties, count,
                    (struct duty){.kind = DUTY_OPEN_STANDBY,
                                  .link = link,
                                  .by_lanes = committed->capture_before == CAPTURE_LANE});
        count = add(duties, count,
                    (struct duty){.kind = DUTY_ACTIVATE,
                                  .link = link,
                                  .epoch = committed->epoch_after,
                                  .place = committed->b});
    }
    if (last->outcome == BARRIER_ABORTED && last->id > committed->id)
        count = add(duties, count,
                    (struct duty){.kind = DUTY_UNDRAIN, .link = link, .barrier = last->id});
    return count;
}

/* Where the standby link's source was the primary side before, its stream up to X is clients'. */
static struct duty standby_duty(const struct workflow *w, const struct workflow_capture *capture,
                                const struct barrier_row *committed) {
    struct duty duty = {.kind = DUTY_CLOSE, .link = link_other(link_from(w->primary))};
    if (capture->other != CAPTURE_STREAM) return duty; /* its source gives out no stream */
    duty.kind = DUTY_OPEN_STANDBY;
    duty.by_lanes = capture->now == CAPTURE_LANE;
    bool was_primary = committed->outcome != BARRIER_NONE && committed->from != committed->to &&
                       committed->capture_before != CAPTURE_LANE;
    if (was_primary) duty.own_until = committed->x.offset;
    return duty;
}

/* The lanes carry over what clients write. A link only waits for its turn, if it will have one. */
static size_t lanes_duties(const struct workflow *w, const struct workflow_capture *capture,
                           struct duty *duties) {
    struct duty active = {.kind = capture->attach ? DUTY_OPEN_STANDBY : DUTY_CLOSE,
                          .link = link_from(w->primary),
                          .by_lanes = capture->attach};
    return add(duties, 0, active);
}

size_t workflow_duties(const struct workflow *w, const struct workflow_capture *capture,
                       const struct barrier_row *last, const struct barrier_row *committed,
                       struct duty duties[DUTIES_MAX]) {
    workflow_check(w);
    size_t count = 0;
    bool lanes = capture->now == CAPTURE_LANE;
    switch (w->phase) {
    case PHASE_PLANNED:
    case PHASE_CHECKED: return 0;
    case PHASE_COPYING: /* the reverse link waits: it would spool the copy's own writes */
        count = lanes ? lanes_duties(w, capture, duties)
                      : active_duties(w, last, committed, duties);
        if (lanes || committed->outcome == BARRIER_NONE) return count;
        break;
    case PHASE_FOLLOWING:
    case PHASE_LEVEL:
    case PHASE_CUTTING_OVER:
    case PHASE_GUARDED:
    case PHASE_ROLLING_BACK:
        count = lanes ? lanes_duties(w, capture, duties)
                      : active_duties(w, last, committed, duties);
        break;
    case PHASE_COMPLETED:
    case PHASE_ABORTED:
        count = add(duties, count, (struct duty){.kind = DUTY_CLOSE, .link = LINK_FORWARD});
        return add(duties, count, (struct duty){.kind = DUTY_CLOSE, .link = LINK_REVERSE});
    case PHASES: UNREACHABLE("not a phase");
    }
    return add(duties, count, standby_duty(w, capture, committed));
}

/* recapture.c -- what a barrier that changes the capture means for the rows of the ledger. */
#include "state/recapture.h"

bool recapture_begins_lanes(const struct barrier_row *row) {
    return barrier_recaptures(row) && row->capture_after == CAPTURE_LANE;
}

enum phase recapture_phase(const struct workflow *workflow, const struct barrier_row *row, bool committed) {
    enum phase to = workflow->phase;
    struct why why;
    if (row->from != row->to) {
        enum workflow_event event = committed ? WORKFLOW_COMMITTED : WORKFLOW_BARRIER_ABORTED;
        ASSERT(workflow_decide(workflow, event, &to, &why) == WORKFLOW_MOVE);
    }
    bool copies = committed && recapture_begins_lanes(row) && (to == PHASE_FOLLOWING || to == PHASE_LEVEL);
    return copies ? PHASE_COPYING : to;
}

enum capture recapture_home(enum capture home, const struct barrier_row *row) {
    return row->to == SIDE_LEGACY ? row->capture_after : home;
}

enum capture recapture_of(enum side side, const struct workflow *workflow, enum capture now,
                          enum capture home, enum capture guard, bool may_turn) {
    if (side == workflow->primary) return now;
    if (side == SIDE_LEGACY) return home;
    if (guard != CAPTURE_AUTO) return guard;
    return home != CAPTURE_LANE || may_turn ? home : CAPTURE_STREAM;
}

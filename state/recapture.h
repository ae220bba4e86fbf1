/* recapture.h -- what a barrier that changes the capture means for the rows of the ledger (C1): decided
 * without I/O. The barrier itself is barrier.h's, what is asked for core_recapture.c's.
 */
#ifndef STATE_RECAPTURE_H
#define STATE_RECAPTURE_H

#include "state/ledger_tables.h"
#include "state/workflow.h"

/* Its commit makes lanes of a stream: they own nothing yet, and everything is dirty. */
bool recapture_begins_lanes(const struct barrier_row *row);

/* The phase after ROW was committed, or aborted. Where only the capture changes it stays; lanes that
 * begin have all to copy. */
enum phase recapture_phase(const struct workflow *workflow, const struct barrier_row *row, bool committed);

/* What legacy offers when it is the primary side again: a rollback comes back to what it was last. */
enum capture recapture_home(enum capture home, const struct barrier_row *row);

/* What the capture is while SIDE is the primary side. GUARD: guard.capture; MAY_TURN: legacy could be
 * written to by lanes. */
enum capture recapture_of(enum side side, const struct workflow *workflow, enum capture now,
                          enum capture home, enum capture guard, bool may_turn);

#endif

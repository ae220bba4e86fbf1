/* stop_at.h -- for tests: stop this process inside a chosen step of a barrier, as SIGSTOP would.
 *
 * A test that wants to kill somebody exactly inside a step cannot hit a step of a millisecond by
 * sleeping. When $DRAWBRIDGE_TEST_STOP_AT names a file with the line `STEP before` or `STEP after`
 * (a name of barrier_step_name()), then `state` removes the file and stops itself when that step was
 * entered: before anything of it was sent, or after it was sent and before any answer was read.
 * Without the variable, as in all production, this does nothing. Whoever can set it may as well
 * stop the process by a signal.
 */
#ifndef STATE_STOP_AT_H
#define STATE_STOP_AT_H

#include "lib/net/loop.h"
#include "state/barrier.h"

/* The barrier has entered STEP; its actions were not carried out yet. */
void stop_at_before(enum barrier_step step);
/* And now they were; it stops once this turn of LOOP has sent what was written. WORK is zeroed by
 * its owner. */
void stop_at_after(enum barrier_step step, struct loop *loop, struct loop_work *work);

#endif

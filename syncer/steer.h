/* steer.h -- the syncer as a member: takes orders from `state`, answers, reports (docs/CONTROL.md).
 *
 * One task connection, dialled again half a second after it broke. It belongs to the calling thread,
 * which does nothing that takes long and waits for nobody: links and audits have threads of their
 * own, and what is to end is asked to, and freed later (steer_ending.c).
 */
#ifndef SYNCER_STEER_H
#define SYNCER_STEER_H

#include "lib/base/metrics.h"
#include "lib/control/config.h"

struct steer;

MUST_CHECK enum err steer_open(struct steer **steer, const struct drawbridge_config *config, struct why *why);

/* Take orders until ENDED(SELF) says true; it is asked several times a second. */
void steer_run(struct steer *steer, bool (*ended)(void *self), void *self);

/* Stops the links; their spools and checkpoints stay. */
void steer_close(struct steer *steer);

/* From any thread. */
void steer_metrics(struct steer *steer, struct metrics *metrics);

#endif

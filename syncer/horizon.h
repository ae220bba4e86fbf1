/* horizon.h -- how far back the target could fall if it died now, so that the spool is kept that far (C5b).
 *
 * The owner notes once a second which place is applied, and now and then what INFO persistence says.
 *   AOF on: what was applied five seconds ago is taken as safe (appendfsync everysec, with room).
 *   RDB:    what was applied before the last save that ended well had begun.
 *   none:   nothing is ever safe. The owner trims at its limit, and says that a target that loses its
 *           memory then needs a new copy.
 * The clock is an argument.
 */
#ifndef SYNCER_HORIZON_H
#define SYNCER_HORIZON_H

#include "lib/base/slice.h"
#include "syncer/checkpoint.h"

#define HORIZON_SAMPLES 512

struct horizon_sample {
    int64_t wall_ms;
    struct place place;
};

struct horizon {
    struct horizon_sample samples[HORIZON_SAMPLES]; /* oldest first; thinned when full */
    size_t count;
    bool aof;
    int64_t saved_ms; /* wall clock of the target: the start of the last good save; 0: none */
};

/* The target's INFO persistence; its clock is taken as ours plus AHEAD_MS. */
void horizon_learn(struct horizon *horizon, struct slice info, int64_t ahead_ms);
void horizon_note(struct horizon *horizon, int64_t wall_ms, struct place place);

/* The place behind which the target cannot fall; false: not known. */
bool horizon_safe(const struct horizon *horizon, int64_t wall_ms, struct place *place);

#endif

/* oom.h -- oom-score-adj: whom the kernel ends first when memory is gone.
 *
 * What the process had before is the base of relative values, and comes back with `no`. There are
 * no child processes: the third of oom-score-adj-values is kept and has no effect.
 * Source: setOOMScoreAdj() of Redis 7.0.
 */
#ifndef SERVER_OOM_H
#define SERVER_OOM_H

#include "server/engine.h"

enum oom_mode { OOM_NO, OOM_YES, OOM_RELATIVE, OOM_ABSOLUTE }; /* yes is relative */
#define OOM_VALUES 3 /* of a master, of a replica, of children */

/* Tell the kernel what the settings and the role want; nothing if it knows already. */
MUST_CHECK enum err oom_apply(struct engine *engine, struct why *why);
void oom_role_changed(struct engine *engine); /* the same; a failure is logged */

enum err oom_read_values(struct engine *engine, int argc, const struct slice *argv,
                         struct why *why);
void oom_write_values(struct engine *engine, struct buf *out);

#endif

/* link_apply.h -- what the files of the apply thread share; for link_*.c alone. */
#ifndef SYNCER_LINK_APPLY_H
#define SYNCER_LINK_APPLY_H

#include "syncer/apply.h"
#include "syncer/copy.h"
#include "syncer/horizon.h"
#include "syncer/link.h"
#include "syncer/target.h"

struct applier {
    struct link *link;
    struct target target;
    struct apply_rules rules;
    struct apply apply;
    struct unit_reader units;
    struct spool_reader reader;
    struct unit unit;
    bool have_unit; /* `unit` was read and not yet taken */
    struct copy_files files;
    struct rblock *source; /* for copies of single keys; NULL: not open */
    unsigned source_version;
    struct horizon horizon;
    int64_t ahead_ms; /* the target's clock minus ours */
    uint64_t tick_due_ms, learn_due_ms, copies_due_ms, compact_due_ms;
    struct place sent_checkpoint;
    bool refused; /* the target refused the last batch; the link's state says so until it takes one */
    int failures;
};

/* Read the next unit from the spool into a->unit. STEP_MORE: nothing is there yet.
 * ERR in *ERR with STEP_FAIL. */
enum step applier_next(struct applier *a, enum err *err, struct why *why);

/* Begin to read the stream at PLACE. */
MUST_CHECK enum err applier_move(struct applier *a, uint64_t offset, int db, struct why *why);

/* The stream phase, from the checkpoint on, until an error or other orders (ERR_STOPPED). */
MUST_CHECK enum err link_stream(struct applier *a, const struct checkpoint *checkpoint, struct why *why);

/* Read dirty keys at the source (C7a). */
void link_fetch_copies(struct applier *a);

/* Standby, until other orders. */
MUST_CHECK enum err link_stand_by(struct applier *a, struct why *why);

/* When keys vanish at the other link's target, which is this link's source, as its file says now. */
void applier_load_others_deadlines(const struct link *link, struct deadlines *deadlines);

MUST_CHECK enum err applier_open_files(struct applier *a, bool fresh, struct why *why);
void applier_close_files(struct applier *a);
MUST_CHECK enum err applier_write_logs(struct applier *a, struct why *why);

#endif

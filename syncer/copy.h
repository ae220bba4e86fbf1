/* copy.h -- the copy phase: the RDB in the spool goes to the target, key by key (C9).
 *
 *     RDB in the spool --> rdb_read --> RESTORE key ... REPLACE ABSTTL      (usual values)
 *                                   \-> DEL, RPUSH/SADD/HSET/ZADD/XADD ...  (big ones, newer encodings)
 *
 * Many commands are in flight. A checkpoint names the last key whose answer was seen, so that a
 * restart goes on there; what is sent twice replaces itself. Keys that the target refuses for what
 * they are become dirty, from the copy's offset on, and are copied one by one later (C7a).
 * In the end keys that the RDB does not have are removed, if the target had any when the copy began.
 *
 * Blocking; for the apply thread.
 */
#ifndef SYNCER_COPY_H
#define SYNCER_COPY_H

#include "syncer/apply.h"
#include "syncer/link.h"
#include "syncer/target.h"

struct copy_files {
    int dirty_fd, deadlines_fd; /* logs of the decider, opened for appending */
};

/* Copy the RDB of the spool's present generation, from FROM (kind COPY, of this copy) or from its
 * beginning (FROM NULL). OK: all of it is at the target, and so is a checkpoint of kind STREAM.
 * ERR_STATE: the spool began another copy. ERR_STOPPED: orders changed. Else: connect again. */
MUST_CHECK enum err copy_run(struct link *link, struct target *target, const struct apply_rules *rules,
                             const struct copy_files *files, const struct checkpoint *from, struct why *why);

/* Remove from TARGET all keys that the RDB of the spool does not have. (extras.c) */
MUST_CHECK enum err extras_remove(struct link *link, struct target *target, uint64_t generation, uint64_t *removed,
                                  struct why *why);

/* Keep the figures of link->status.copy, and take them again. (copy_note.c) */
void copy_note_write(struct link *link);
void copy_note_read(struct link *link);

/* A source for rdb_reader_open(): the RDB in the spool, waited for as it arrives. */
struct spool_source;
struct rdb_source *spool_source_open(struct link *link, uint64_t generation, uint64_t position);
void spool_source_close(struct rdb_source *source);

#endif

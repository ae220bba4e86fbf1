/* deadlines.h -- when keys at a foreign target will vanish by themselves (C8).
 *
 * A target without import mode deletes a key when its own clock says so, whatever the source thinks.
 * The link must know that a command touches such a key. Kept per key: a hash and the deadline, 16
 * bytes; two keys with one hash make a key dirty without need, and nothing else.
 *
 * A batch that is not yet applied may fail and be built again, so what it changes is held apart:
 * lookups see the table and what the batch adds (the earlier of both); deadlines_commit() makes the
 * batch's changes the table's, deadlines_abort() forgets them.
 *
 * On disk: additions are logged before the batch is sent, removals when it was applied, so that a
 * log that is read again knows every deadline that a key at the target may have.
 */
#ifndef SYNCER_DEADLINES_H
#define SYNCER_DEADLINES_H

#include "lib/base/buf.h"

#include <stdint.h>

#define DEADLINE_NONE INT64_MAX

struct deadline_slot {
    uint64_t hash;
    int64_t at_ms; /* 0: an empty slot */
};

struct deadline_table {
    struct deadline_slot *slots;
    size_t cap, used, count; /* used: with graves */
};

struct deadline_change {
    uint64_t hash;
    int64_t at_ms; /* DEADLINE_NONE: removed */
};

struct deadlines {
    struct deadline_table table, batch;
    struct deadline_change *changes; /* of the batch, in order */
    size_t change_count, change_cap;
    struct buf log; /* struct deadline_change, to be appended to the file */
};

void deadlines_close(struct deadlines *deadlines); /* all zero is an empty one */
void deadlines_forget_all(struct deadlines *deadlines);

/* The earliest time at which a key with HASH (keymap_hash) may vanish; DEADLINE_NONE. */
int64_t deadlines_find(const struct deadlines *deadlines, uint64_t hash);

void deadlines_set(struct deadlines *deadlines, uint64_t hash, int64_t at_ms); /* AT_MS > 0 */
void deadlines_remove(struct deadlines *deadlines, uint64_t hash);
void deadlines_commit(struct deadlines *deadlines);
void deadlines_abort(struct deadlines *deadlines);

/* Take the file's content; a cut end is ignored. The batch is empty. */
void deadlines_load(struct deadlines *deadlines, struct slice log);

/* Everything that is known, as a fresh log. */
void deadlines_save(const struct deadlines *deadlines, struct buf *log);

#endif

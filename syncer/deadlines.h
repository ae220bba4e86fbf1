/* deadlines.h -- when keys at a target will vanish by themselves (C8).
 *
 * A target without import mode deletes a key when its own clock says so, whatever the source thinks.
 * The link must know that a command touches such a key. Kept per key: a hash, the database and the
 * deadline, 16 bytes; two keys with one hash make a key dirty without need, and nothing else.
 * A target with import mode needs none of it; there the table is kept for the other link, which
 * begins with it when the sides change.
 *
 * A batch that is not yet applied may fail and be built again, so what it changes is held apart:
 * lookups see the table and what the batch adds (the earlier of both); deadlines_commit() makes the
 * batch's changes the table's, deadlines_abort() forgets them. Behind a SWAPDB of the same batch
 * every key counts as one whose deadline has passed.
 *
 * On disk: additions are logged before the batch is sent, removals and events when it was applied,
 * so that a log that is read again knows every deadline that a key at the target may have. An event
 * (SWAPDB, FLUSHDB, FLUSHALL) has its offset in the stream and is obeyed once: a stream that is
 * applied again, because the target fell back or a process died before it saw the answers, brings it
 * a second time, and the table already stands behind it. While a stream is applied again nothing is
 * removed: names of databases may be those of before an event.
 *
 * In doubt: the target's keys came by lanes, and nobody here was told which deadlines they have (a
 * change of capture, C1). Then a key of which nothing is known counts as one whose deadline has
 * passed, so that it is copied at its first change, and known from then on. FLUSHALL ends it.
 *
 * Databases are kept modulo 65536, deadlines up to the year 10000.
 */
#ifndef SYNCER_DEADLINES_H
#define SYNCER_DEADLINES_H

#include "lib/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define DEADLINE_NONE INT64_MAX

struct deadline_slot {
    uint64_t hash; /* of the key */
    uint64_t when; /* database (16 bits), deadline (48 bits); 0: an empty slot */
};

struct deadline_table {
    struct deadline_slot *slots;
    size_t cap, used, count; /* used: with graves */
    bool doubt; /* a key without a slot may have a deadline; one with a grave has none */
};

struct deadlines {
    struct deadline_table table, batch;
    struct deadline_slot *changes; /* of the batch, in order, as they stand in the log */
    size_t change_count, change_cap;
    bool swapped;        /* by the batch */
    uint64_t last_event; /* offset; the table stands behind it */
    struct buf log;      /* to be appended to the file */
};

void deadlines_close(struct deadlines *deadlines); /* all zero is an empty one */
void deadlines_forget_all(struct deadlines *deadlines);

/* The earliest time at which KEY may vanish; DEADLINE_NONE. */
int64_t deadlines_find(const struct deadlines *deadlines, int db, struct slice key);

/* Likewise; in doubt: as far as it is known. Without the batch. */
int64_t deadlines_known(const struct deadlines *deadlines, int db, struct slice key);

/* Forget everything: any key may have a deadline. Not in the log: deadlines_save() says it. */
void deadlines_doubt(struct deadlines *deadlines);

/* ---- changes of the batch ---- */
void deadlines_set(struct deadlines *deadlines, int db, struct slice key, int64_t at_ms); /* AT_MS > 0 */
void deadlines_remove(struct deadlines *deadlines, int db, struct slice key);
void deadlines_swap(struct deadlines *deadlines, int a, int b, uint64_t offset);   /* SWAPDB */
void deadlines_flush(struct deadlines *deadlines, int db, uint64_t offset);        /* FLUSHDB; -1: FLUSHALL */
void deadlines_commit(struct deadlines *deadlines);
void deadlines_abort(struct deadlines *deadlines);

/* Take the file's content; a cut end is ignored. The batch is empty. */
void deadlines_load(struct deadlines *deadlines, struct slice log);

/* Everything that is known, as a fresh log. WITH_EVENT: also behind which event it stands, which
 * means nothing to another link. */
void deadlines_save(const struct deadlines *deadlines, bool with_event, struct buf *log);

#endif

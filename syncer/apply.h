/* apply.h -- the decider behind a link's apply: which commands of the stream go to the target, in
 * which transaction, and what the answers mean (C5 to C8). No I/O, no clock.
 *
 *                     apply_batch_begin
 *     unit ---------> apply_batch_add ----> wire: MULTI, commands, checkpoint, EXEC
 *     answers ------> apply_answer   (each, in order)
 *                     apply_batch_end  ---> APPLIED  the place moved on
 *                                           REBUILD  nothing was applied; some keys became dirty: read
 *                                                    the stream again from apply.place
 *                                           RETRY    nothing was applied, the target cannot now (C7)
 *                                           BROKEN   what was applied is not known: connect again,
 *                                                    read the checkpoint
 *
 * One batch is in flight at a time. A later one could be applied although the one before it was
 * refused whole (EXECABORT), and its checkpoint would pass over what was not applied. Units that
 * arrive in the meantime make the next batch bigger, which is what pipelining would give.
 *
 * Dirty keys (C7a). A command that touches a dirty key is left out and what it writes becomes dirty.
 * apply_want_copies() names keys to be read at the source with the offset at which they were read;
 * apply_copy_came() keeps them until the stream gets there: apply_batch_add() stops at that offset,
 * and apply_copies_build() makes the batch that brings them to the target.
 *
 * What must be on disk: after apply_batch_add() and before sending, and after apply_batch_end(),
 * append deadlines.log and then dirty.log to their files (C7b).
 */
#ifndef SYNCER_APPLY_H
#define SYNCER_APPLY_H

#include "syncer/apply_keys.h"
#include "syncer/checkpoint.h"
#include "syncer/deadlines.h"
#include "syncer/dirty.h"
#include "syncer/unit.h"

struct resp_reply;

struct apply_rules {
    char link[32];           /* name of the link, and of its checkpoint */
    bool import_mode;        /* the target keeps expired keys while we feed it (C8) */
    bool checkpoint_command; /* bundled server: DRAWBRIDGE CHECKPOINT SET; else a key (C5a) */
    size_t commands_max;     /* of one batch; a single larger unit goes alone */
    size_t bytes_max;
    int64_t margin_ms; /* a deadline that is nearer than this at sending time counts as passed */
};

/* Redis before 7.0 streams spans of time (SETEX, EXPIRE): they count from when they are applied; one that is applied later than this after it came makes
 * its key dirty, and the deadline is read at the source (C3). */
#define APPLY_SPAN_LATE_MS 1000

/* One thing that was sent in a batch. */
struct apply_item {
    size_t at, size; /* in wire */
    uint32_t unit;   /* items of one unit fail together */
    int db;
    int64_t deadline_ms; /* earliest of the keys that it touches and does not replace */
    bool plain;          /* MULTI, SELECT, the checkpoint, TIME, EXEC: no data of the source */
    bool refused;        /* when it was queued */
};

/* A key that was read at the source. */
struct apply_copy {
    struct apply_copy *next;
    uint64_t offset;
    int db;
    struct buf key, payload; /* payload empty: no such key */
    int64_t expire_ms;       /* -1: never */
    bool failed;             /* at the target; reason */
    char reason[96];
};

/* Keys that were written lately, each in a place that its hash gives. */
#define APPLY_RECENT 512
struct apply_recent {
    bool used;
    int db;
    struct buf key;
};

#define APPLY_FLUSHED_NONE (-2)
#define APPLY_FLUSHED_ALL (-1)

enum apply_verdict { APPLY_APPLIED, APPLY_REBUILD, APPLY_RETRY, APPLY_BROKEN };

struct apply {
    struct apply_rules rules;
    char replid[REPLID_SIZE + 1]; /* of the history in which `place` lies */
    struct place place;           /* applied; answers seen */
    struct dirty dirty;
    struct deadlines deadlines;
    uint64_t late_until; /* offset: what ends up to here came too long ago for its spans of time */
    uint64_t strict_until; /* offset: replaying what an older state of the target lost; see apply_resume() */

    struct buf wire;          /* the batch, ready to be sent */
    struct apply_item *items; /* one for each answer; the last one is EXEC */
    size_t item_count, item_cap;
    size_t data_items; /* that are not plain */
    size_t noops;      /* units without data */
    struct place end;  /* behind the last unit of the batch */
    uint32_t units;
    int wire_db;       /* selected behind the wire so far; -1: not known */
    size_t answers;
    bool refused, aborted;      /* a command was refused when queued; EXEC was */
    bool state_error, broken;   /* the target cannot now; the answers make no sense */
    struct why trouble;
    int64_t target_ms; /* the target's clock, as its last batch said */
    bool copy_batch;
    bool ends_here; /* no further unit may join */
    int flushed_db; /* emptied when this batch was applied */
    struct buf deletes; /* keys that the batch may make vanish, as foreign_put_key() writes them (C8, sent.h) */
    bool deletes_any;   /* or others, too */
    struct buf scratch;
    struct apply_keys keys;

    struct apply_copy *copies; /* sorted by offset */
    size_t copy_count, copy_bytes;
    uint32_t copies_in_batch;
    int64_t now_ms; /* monotonic, as of the last apply_want_copies() */

    struct apply_recent recent[APPLY_RECENT];
    uint64_t units_total, commands_total, left_out_total, unknown_total;
    struct resp_request parser;
};

void apply_init(struct apply *apply, const struct apply_rules *rules);
void apply_close(struct apply *apply);

/* Begin at the target's checkpoint (kind STREAM). LOG is the whole log of dirty keys, DEADLINES that
 * of deadlines. *FROM is where the stream must be read from: units between *FROM and apply.place go
 * to apply_suspect(), those behind it to batches. *LOG_BYTES of LOG are good. */
void apply_resume(struct apply *apply, const struct checkpoint *checkpoint, struct slice log, struct slice deadlines,
                  struct place *from, size_t *log_bytes);

/* A unit was applied by somebody who did not live to see the answers: all keys that it writes are dirty. */
void apply_suspect(struct apply *apply, const struct unit *unit);

/* ---- a batch ---- */
void apply_batch_begin(struct apply *apply);

/* Decide about UNIT, which begins at apply.end. NOW_MS: the target's clock, about. False: the batch
 * is full, or must end here; the unit was not taken. */
MUST_CHECK bool apply_batch_add(struct apply *apply, const struct unit *unit, int64_t now_ms);

/* No more units. False: there is nothing to send; the place has moved on all the same. With FORCE the
 * checkpoint is sent even if there is nothing else. */
MUST_CHECK bool apply_batch_seal(struct apply *apply, bool force);

/* How many answers are due: apply->item_count. Show each, in order. */
void apply_answer(struct apply *apply, const struct resp_reply *reply);
MUST_CHECK enum apply_verdict apply_batch_end(struct apply *apply, struct why *why);

/* ---- copies of single keys ---- */

/* Fill KEYS with up to MAX dirty keys that should be read now; they count as asked for. */
size_t apply_want_copies(struct apply *apply, struct dirty_key **keys, size_t max, int64_t now_ms);

/* The source said: KEY had PAYLOAD (as DUMP gives it; empty: no such key) at OFFSET of history REPLID. */
void apply_copy_came(struct apply *apply, const char *replid, uint64_t offset, int db, struct slice key,
                     struct slice payload, int64_t expire_ms);
void apply_copy_failed(struct apply *apply, int db, struct slice key, const char *reason, int64_t now_ms);

/* Copies are due at apply.place: build their batch. False: none are. */
MUST_CHECK bool apply_copies_build(struct apply *apply);

/* The history got another name: copies that wait are worth nothing (C7a). */
void apply_renamed(struct apply *apply, const char *replid);

/* What the checkpoint says while the link stands at PLACE. */
void apply_checkpoint(const struct apply *apply, struct place place, struct checkpoint *checkpoint);

/* Append the command(s) that write CHECKPOINT, as they are sent outside of MULTI, too; *COMMANDS of them.
 * *DB is the database selected before and behind them (-1: not known). */
void apply_write_checkpoint(const struct apply_rules *rules, const struct checkpoint *checkpoint, int *db,
                            struct buf *out, size_t *commands);

/* What a command does to the deadlines of keys at the server where it is carried out: changes of the
 * batch of DEADLINES. KEYS and CLASS are what apply_keys_of() told. OFFSET names an event of the
 * stream (apply_command_offset); for other commands it is 0, or APPLY_AGAIN while a stream is applied
 * again (deadlines.h). */
#define APPLY_AGAIN UINT64_MAX
void apply_note_deadlines(struct deadlines *deadlines, const struct apply_keys *keys, enum apply_class class,
                          const struct unit_command *command, uint64_t offset, int64_t now_ms);

/* A number for the INDEX-th command of UNIT that grows along the stream. */
static inline uint64_t apply_command_offset(const struct unit *unit, size_t index) { return unit->start + 1 + index; }

/* Whether an error of the target says that it cannot now (C7), and not that the data does not fit. */
bool apply_error_is_state(struct slice error);

#endif

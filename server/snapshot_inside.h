/* snapshot_inside.h -- a snapshot under way; for the files snapshot*.c only.
 *
 *     snapshot.c          start, end, and the observer: what changes before it was captured
 *     snapshot_walk.c     the walk over all keys, a little in each turn of the loop
 *     snapshot_part.c     one big value: captured element by element
 *     snapshot_stream.c   the same of a stream
 *     snapshot_writer.c   the thread that packs and writes
 *
 * Invariants
 *   1  Each running snapshot has a slot, and so a bit in every entry's colours. An entry is
 *      captured when its bit equals that of `polarity`. With nothing running in a slot all are.
 *   2  Each key that existed at the start is put out exactly once, as it was then: when the walk
 *      comes to it, or before it changes or goes, whichever is first.
 *   3  What is put out is in one piece: while a big value is being written to the tape, others
 *      wait on the side.
 */
#ifndef SERVER_SNAPSHOT_INSIDE_H
#define SERVER_SNAPSHOT_INSIDE_H

#include "server/engine.h"
#include "server/snapshot.h"
#include "server/snapshot_writer.h"

/* All keys of a database that was cleared while snapshots still needed them. */
struct graveyard {
    struct graveyard *next;
    struct partitions *keys;   /* owned */
    int origin[SNAPSHOTS_MAX]; /* which database it was when the slot's snapshot began */
    uint8_t needed_by;         /* bits of slots */
    size_t noted;              /* snapshot_memory.h */
};

/* Where the walk is: in the tables of a database, or of a graveyard. */
struct walk_place {
    bool is_set;                 /* else: look for the next one */
    struct graveyard *graveyard; /* NULL: a database */
    int origin;
    unsigned table;
    uint64_t cursor;
};

struct part;

struct snapshot {
    struct snapshots *all;
    struct engine *engine;
    struct snapshot_want want;
    struct snapshot_writer *writer; /* NULL: aborted; the walk goes on, putting out nothing */
    unsigned slot;
    bool packs;             /* rdbcompression */
    struct slot_set *slots; /* owned; NULL: all */
    bool is_walked;
    unsigned version;
    bool has_failed; /* ended() will hear why, when the walk is over */
    struct why why;
    bool is_held; /* all is captured; rdb-key-save-delay has not passed */
    uint64_t began_us;

    /* Databases are named by what they were at the start; SWAPDB moves them about. */
    int *place_of;             /* [origin]: where its keys are now */
    int *origin_of;            /* [database] */
    uint64_t *sizes, *expires; /* [origin]: at the start */
    bool *announced;           /* [origin]: its sizes were put out */
    int next_db;
    struct walk_place place;

    struct part *parts, **parts_end; /* big values: those begun first in front */
    bool part_is_open;               /* the first part's record is unfinished on the tape */
    struct rdb_tape tape, side;
    struct tapes aside;   /* of the side: in front of it */
    int tape_db, side_db; /* selected there; -1: none */
    uint64_t keys;        /* captured */
    size_t noted;         /* snapshot_memory.h: of the tapes */
};

/* One in a process. */
struct snapshots {
    struct engine *engine;
    struct db_observer observer;
    struct snapshot *slots[SNAPSHOTS_MAX];
    uint8_t running; /* bits of slots */
    unsigned active; /* snapshots whose owners wait for them */
    struct graveyard *graveyards, **graveyards_end;
    uv_idle_t idle;  /* the walks' turns */
    uv_timer_t pace; /* rdb-key-save-delay: when there are turns again */
    unsigned turn;   /* whose it is */
    uint64_t commands; /* executed before the last turn */
    unsigned put_off;  /* turns in a row in which some were */
    struct snapshot_turns turns;
};

/* What is left of a turn. */
struct budget {
    const struct clock *clock;
    uint64_t until_us;
};

static inline bool budget_is_over(const struct budget *budget) {
    return clock_mono_us(budget->clock) >= budget->until_us;
}

/* Whether there are keys for it in the table at AT of a database. */
bool snapshot_wants_table(const struct snapshot *s, unsigned at);

static inline uint8_t snapshot_bit(const struct snapshot *s) {
    return (uint8_t)(1u << s->slot);
}

/* ---- snapshot.c ---- */
/* The tape for the next whole record of a key of ORIGIN, with its SELECT; NULL: put out nothing. */
struct rdb_tape *snapshot_tape(struct snapshot *s, int origin);
/* After records: hand full tapes to the writer. */
void snapshot_push(struct snapshot *s);
/* Put TAPES out behind the tape; they are empty then. */
void snapshot_put_all(struct snapshot *s, struct tapes *tapes);
enum rdb_pack snapshot_pack(const struct snapshot *s);
/* Put E out as it is now, or begin its part; mark it. Not captured yet. */
void snapshot_capture(struct snapshot *s, int origin, struct entry *e);
/* The walk has come to its end. */
void snapshot_walked(struct snapshot *s);
void graveyard_leave(struct snapshots *all, struct graveyard *g, const struct snapshot *s);

/* ---- snapshot_walk.c ---- */
/* Work for about LIMIT_US microseconds. True: nothing is left to walk. */
bool snapshot_walk(struct snapshot *s, uint64_t limit_us);

/* ---- snapshot_part.c ---- */
/* Whether the value of E is too big to be copied at once. */
bool part_is_needed(const struct entry *e);
/* From here on the value's own changes are watched. Strings have no watch of their own: E says by
 * its colours that they have a part, and the keyspace's observer tells part_*_string(). */
void part_begin(struct snapshot *s, int origin, struct entry *e);
static inline uint8_t part_bit(const struct snapshot *s) {
    return (uint8_t)(16u << s->slot);
}
/* The bytes FROM..TO of E, which has a part, are about to change. */
void part_edit_string(struct snapshot *s, const struct entry *e, size_t from, size_t to);
void part_move_string(struct snapshot *s, const struct entry *old, struct entry *new);
/* E is out of the keyspace: it is freed by its last part. */
void part_keep_string(struct snapshot *s, const struct entry *e);
/* Put out some more of the first part: one element or more, until the budget is over. True: it is
 * complete, and gone. */
bool part_step(struct snapshot *s, const struct budget *budget);

#endif

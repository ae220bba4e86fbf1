/* lane.h -- a lane: the order of a set of slots, decided without I/O (C10-C21).
 *
 *      clients' commands        answers               effects of clean keys
 *      and copies                                     and copies
 *   ---------------------> P ------------> lane ------------------------------> F
 *        `flight`, FIFO            dirty, pinned            `tail`, then `sent`, FIFO
 *
 * For every clean key, F after the lane's n-th item equals P after its n-th item. That is kept by
 * what happens when an item is answered (C12, C13): its effect goes to F only if F has P's value of
 * everything that the effect depends on; otherwise the keys that it writes are dirty.
 *
 * How to use it. The owner has one connection to each side and tells the lane, one at a time and
 * never from inside a function of `struct lane_ops`:
 *
 *     connected        lane_primary_up(), lane_follower_up()
 *     answered         lane_primary_answered(), lane_follower_answered(), in the order sent
 *     broke            lane_primary_lost(), lane_follower_lost(): what it sent may still be
 * executed known to be gone lane_primary_gone(), lane_follower_gone() (C21), once for each that was
 * lost another process  lane_mark_all() on every lane (C22a) some time passed lane_tick(): copies
 * leave
 *
 * Commands come as items: lane_item_new() of a prepared effect, then lane_send(). The lane owns the
 * item from then on. Simple ones come one by one and make bursts (lane_burst.h). A command that also touches other lanes' keys, or that runs on a connection of
 * its client's own (EXEC under WATCH), is an *outside* one: lane_outside.h. FLUSHALL and its like
 * go through lane_barrier.h, the baseline through lane_scan.h.
 *
 * Clients never wait for F. While F is not there everything that is written becomes dirty at once.
 * What is queued for F is bounded by rules.queue_items_max and queue_bytes_max; at the bound the
 * whole unsent tail becomes dirty keys; those are bounded too (lane_keys.h), by dirty slots.
 *
 * Nothing that comes from a side is believed: an answer that is not understood makes keys dirty.
 */
#ifndef GATEWAY_LANE_H
#define GATEWAY_LANE_H

#include "gateway/effect.h"
#include "gateway/lane_big.h"
#include "gateway/lane_deadlines.h"
#include "gateway/lane_keys.h"
#include "gateway/lane_marks.h"

#include "lib/base/clock.h"

#define LANES_MAX 64u

struct lane_rules {
    int64_t clock_difference_ms; /* permitted between any two of gateway, P and F (C12a) */
    bool follower_keeps_expired; /* F is in import mode (C8) */
    size_t keys_max;             /* not clean ones, by name */
    size_t deadlines_max;
    size_t queue_items_max, queue_bytes_max;   /* for F, not sent yet */
    size_t window_items_max, window_bytes_max; /* sent to F and not confirmed */
    size_t copies_max;                         /* under way at P */
    uint64_t copy_interval_ms;                 /* of one key (C14) */
    uint64_t copy_bytes_max;                   /* of values that P was asked for, as measured */
    /* lane_big.h */
    uint64_t big_bytes;     /* a value of more goes in chunks */
    size_t chunk_bytes;     /* about */
    size_t big_queue_bytes; /* for F, when no further chunk is asked for */
    uint64_t fence_ms;      /* that a client waits at most */
    size_t mark_keys_max;   /* lane_marks.h */
    uint64_t mark_interval_ms;
};

extern const struct lane_rules lane_rules_default;

enum lane_item_kind {
    LANE_COMMAND,
    LANE_MEASURE,  /* how big is the key that is to be copied? */
    LANE_COPY,
    LANE_QUESTION, /* lane_big.h's */
    LANE_PIECE,    /* in F's queue only: a part of a big key */
    LANE_MARK,     /* in F's queue only (lane_marks.h) */
    LANE_READ,     /* of both sides, for an audit (lane_read.h) */
    LANE_FENCE,    /* in F's queue only: everything before it is confirmed first (C19) */
    LANE_BURST,    /* simple commands, one behind the other (lane_burst.h) */
};

struct lane_burst;

struct lane_item {
    struct lane_item *next;
    uint64_t id; /* of the process; > 0 */
    uint8_t kind;
    bool outside;          /* touches keys that are not in this lane's order (C10a) */
    bool barrier;          /* lane_barrier.h's */
    bool harmless;         /* a fence: F may refuse it (SCRIPT, FUNCTION) */
    void *pins;            /* the owner's: what it pinned elsewhere for this one (C10a) */
    bool far;              /* `client` is an ask of another loop (far.h) */
    bool told, passing;    /* a fence: that it was reached was said; it was let through */
    struct effect *effect; /* LANE_COMMAND, and a fence's request */
    struct lane_burst *burst; /* LANE_BURST; it stands in front of this */
    uint32_t done; /* LANE_BURST: of its commands, answered by the side in whose queue it is */
    void *client;          /* the owner's; it may set it to NULL when the client has gone. LANE_BURST:
                            * of the command that is being sent, or was lost */
    struct lane_key *key;  /* LANE_MEASURE, LANE_COPY, until it is answered */
    uint64_t gen;          /* of the key when the copy was sent (C13a) */
    uint64_t size;         /* LANE_COPY: as measured */
    struct buf name;       /* LANE_COPY, LANE_PIECE: of the key */
    size_t limit_bytes;    /* of the answer: a longer one is lane_big_too_long; 0: none */
    uint64_t expect;       /* LANE_PIECE: one more than its first reply must be; 0: any */
    struct lane_read *read; /* LANE_READ; its owner's */
    bool spoiled;           /* LANE_READ: F refused something before it (C12b); a fence: it itself */
    uint64_t at_us; /* a copy: when P was asked; an effect: when it was queued for F */
    /* for F: */
    struct buf bytes; /* or, in the effect's memory: */
    struct slice verbatim;
    uint32_t replies;
    int32_t db, db_after;
    struct effect_key *keys; /* that its requests touch; names in the effect's memory or `name` */
    size_t key_count;
    struct effect_key one_key; /* room for most. The last, and not cleared */
};

static inline struct slice lane_item_bytes(const struct lane_item *item) {
    return item->verbatim.size > 0 ? item->verbatim : buf_slice(&item->bytes);
}

/* How many commands it stands for in the queue in which it is. */
static inline size_t lane_item_units(const struct lane_item *item) {
    return item->kind == LANE_BURST ? item->key_count - item->done : 1;
}

struct lane_read;
struct lane_watch;
struct lane_value;

struct lane_queue {
    struct lane_item *head, *tail;
    size_t count, bytes; /* of commands and the like, not of items */
};

struct lane;

/* What the lane decides, carried out at once. The first argument is the lane; its `self` is the
 * owner's. None may call the lane, but for lane_mark_all(). */
struct lane_ops {
    /* Write BYTES to P's connection, with DB selected; REPLIES replies make the answer. DB_AFTER is
     * selected then, unless it failed. ITEM stays the lane's. Of a burst: each command by itself. */
    void (*to_primary)(struct lane *lane, struct lane_item *item, struct slice bytes,
                       uint32_t replies, int32_t db, int32_t db_after);
    /* item->replies replies make the answer; of a burst, each of its commands is answered by itself. */
    void (*to_follower)(struct lane *lane, const struct lane_item *item);
    /* A command was answered: ANSWER is for its client (effect_answer() was not applied yet). Not of
     * a burst, whose answers are their clients' as they are. */
    void (*answered)(struct lane *lane, struct lane_item *item, struct slice answer);
    /* Of a blocking command: there was nothing, its client waits (C17). */
    void (*nothing_there)(struct lane *lane, struct lane_item *item);
    /* Its connection broke before the answer: its client is to be closed (C21). A barrier's lanes
     * may go on. Of a burst: for each command. */
    void (*lost)(struct lane *lane, struct lane_item *item);
    /* An outside or a barrier item is answered (its effect told in OUTCOME), or its connection is
     * known to be gone (OUTCOME is NULL). It is the owner's from now on. */
    void (*settled)(struct lane *lane, struct lane_item *item,
                    const struct effect_outcome *outcome);
    /* Keys of EFFECT were written: what waits for them may be tried again. Of a burst EFFECT has keys,
     * and nothing else. */
    void (*wrote)(struct lane *lane, const struct effect *effect);
    /* Every key of every lane becomes dirty: call lane_mark_all() on all, now. */
    void (*mark_everything)(struct lane *lane);
    /* Everything before the fence is confirmed / it was let through and confirmed (and is the
     * owner's now) / it is refused, or lost with the queue (likewise); `sent`: it may still be
     * executed. */
    void (*at_fence)(struct lane *lane, struct lane_item *fence);
    void (*passed_fence)(struct lane *lane, struct lane_item *fence);
    void (*lost_fence)(struct lane *lane, struct lane_item *fence, bool sent);
};

struct lane_figures {
    uint64_t commands, effects, simple, copies, copies_failed, dirtied, refused, dropped, lost;
    uint64_t displaced; /* answered out of their place (C22b) */
    uint64_t copy_bytes;
    /* From asking P until F confirmed: of late on average, and the longest of the last seconds. */
    uint64_t copy_us, copy_us_max, copy_max_at_us;
    /* Copies that P or F refused: in the present window of some seconds, and in the one before. */
    uint64_t refusals, refusals_before, refusals_at_us;
};

struct lane {
    const struct lane_ops *ops;
    void *self;
    const struct lane_journal *journal;
    const struct clock *clock;
    struct lane_rules rules;
    unsigned number, lanes; /* a slot's lane is slot % lanes */
    uint64_t next_id;
    struct lane_keys keys;
    struct lane_deadlines deadlines;
    bool primary_up, follower_up; /* connected, and what was lost before is gone */
    bool follower_open;
    unsigned primary_lost, follower_lost; /* connections not known to be gone */
    bool stopped;                         /* nothing leaves for P (C19) */
    bool holding;                         /* no copies leave: a file is to be read (C15) */
    bool hurry; /* a barrier was announced: copies are not put off (C23) */
    struct lane_queue flight, tail, sent;
    struct lane_burst *open; /* of `flight`: it leaves when the turn ends (lane_burst.h) */
    struct lane_block *block, *free_blocks;
    size_t free_count;
    struct lane_watch *watch; /* is told of copies (lane_read.h); NULL: nobody */
    struct lane_item *lost; /* outside items whose connection is not known to be gone */
    size_t copies;          /* under way at P, with those that are being measured, and questions */
    uint64_t copy_bytes;    /* of those that P was asked for, as measured */
    struct lane_big big;
    struct lane_marks marks;
    bool follower_is_bundled;
    bool no_memory_usage; /* P refuses MEMORY USAGE */
    uint64_t queued, done;  /* for F: ever queued and not dropped unsent, ever ended; in units */
    uint64_t walked_until, spoiled_until; /* of `done`: for refusals (C12b) */
    uint64_t pass_at;       /* of `queued`: what the pass must wait for before it lists F */
    int32_t primary_version, follower_version;
    struct effect_outcome outcome;
    struct buf scratch;
    struct lane_figures figures;
};

void lane_init(struct lane *lane, const struct lane_ops *ops, void *self,
               const struct lane_journal *journal, const struct clock *clock,
               const struct lane_rules *rules, unsigned number, unsigned lanes);
void lane_close(struct lane *lane);
void lane_check(const struct lane *lane); /* asserts its invariants; for tests */

static inline unsigned lane_of(unsigned lanes, struct slice name) {
    return lanes == 1 ? 0 : slot_cluster(name) % lanes;
}
static inline bool lane_owns(const struct lane *lane, struct slice name) {
    if (lane->lanes == 1 && (lane->keys.owned == NULL || lane->keys.owns_all)) return true;
    unsigned slot = slot_cluster(name);
    return slot % lane->lanes == lane->number && lane_keys_owns(&lane->keys, slot);
}

/* ---- P ---- */
void lane_primary_up(struct lane *lane, int32_t version);
void lane_primary_lost(struct lane *lane);
void lane_primary_gone(struct lane *lane);

static inline bool lane_may_send(const struct lane *lane) {
    return lane->primary_up && !lane->stopped;
}

/* Takes EFFECT. */
struct lane_item *lane_item_new(struct effect *effect, void *client);
void lane_item_free(struct lane_item *item);

/* Down the lane, after its keys went into the journal (C20). Needs lane_may_send(), or a barrier
 * item and that nothing else is in flight. */
void lane_send(struct lane *lane, struct lane_item *item);

/* The whole answer to what was sent first of what is not answered; of a burst, to one command. For an effect that needs none
 * (effect.h, needs) ANSWER may be any part of it. */
void lane_primary_answered(struct lane *lane, struct slice answer);
/* COUNT answers that are all ANSWER; returns how many of them were taken, at least 1. */
MUST_CHECK uint32_t lane_primary_answered_alike(struct lane *lane, struct slice answer,
                                                uint32_t count);

/* Before that: it was executed behind something that was sent after it (C22b). As if somebody
 * outside the lane's order had written its keys. */
void lane_displaced(struct lane *lane);

/* ---- F ---- */
void lane_follower_up(struct lane *lane, int32_t version);
/* Before it is up, of a server that is another process than the one before, which read the same
 * data from its disk, or older ones: ANSWER is what it says to lane_marks_ask(). (C22a) Returns how
 * many keys are dirty by that; SIZE_MAX: all of this lane. */
size_t lane_follower_restarted(struct lane *lane, struct slice answer);
void lane_follower_lost(struct lane *lane);
void lane_follower_gone(struct lane *lane);
/* All replies to an item; of a burst, to one command. */
void lane_follower_answered(struct lane *lane, struct slice replies);
/* As lane_primary_answered_alike(). */
MUST_CHECK uint32_t lane_follower_answered_alike(struct lane *lane, struct slice replies,
                                                 uint32_t count);

/* A fence into F's queue, with the request of BYTES to be sent when it is let through, or none.
 * False: F is not there; nothing was done. */
MUST_CHECK bool lane_fence(struct lane *lane, struct lane_item *fence);
void lane_fence_pass(struct lane *lane);

/* For a hand-over, which cannot wait for much that is queued for F: its keys are dirty. */
void lane_shed(struct lane *lane);

/* ---- keys ---- */
void lane_mark(struct lane *lane, int32_t db, struct slice name); /* from outside the order */
void lane_mark_all(struct lane *lane);
/* Likewise, but coalesced (C14), and only if it is this lane's and owned: a name from P (witness.h). */
void lane_named(struct lane *lane, int32_t db, struct slice name);
/* The written keys of its slots, whoever owns those now: so a pin outlives a change of owners. */
void lane_pin(struct lane *lane, const struct effect *effect);
void lane_unpin(struct lane *lane, const struct effect *effect); /* and now they want copies */

/* keys.owned has changed: what is not owned any more is nobody's business here. */
void lane_disown(struct lane *lane);

/* A connection of an earlier process, read from the journal: as lost. */
void lane_buried(struct lane *lane, enum lane_side side);

/* P and F change roles (C23). Nothing is in flight, queued or sent; VERSION is the new P's. What was
 * lost at the old P holds its copies back no longer as P's, but as F's. */
void lane_swap(struct lane *lane, int32_t version);

/* A copy of BYTES began at BEGAN_US and is confirmed; for what a hold would need (C14). */
void lane_note_copy(struct lane *lane, uint64_t began_us, size_t bytes);
uint64_t lane_copy_us_max(const struct lane *lane);
/* P or F refused a copy. / About how many keys are refused again and again; each is tried once a
 * second. */
void lane_note_refusal(struct lane *lane);
uint64_t lane_refused_keys(const struct lane *lane);
/* How long what is first of all that F has not confirmed is waiting. */
uint64_t lane_lag_us(const struct lane *lane);

void lane_stop(struct lane *lane);
void lane_go(struct lane *lane);
void lane_tick(struct lane *lane);

/* ---- passes (lane_scan.h) ---- */
bool lane_pass_begin(struct lane *lane); /* false: not now */
/* What was queued for F before the pass began has been executed: F may be listed. */
static inline bool lane_pass_may_list(const struct lane *lane) {
    return lane->done >= lane->pass_at || lane->done >= lane->queued;
}
void lane_pass_name(struct lane *lane, int32_t db, struct slice name);
bool lane_pass_may_name(const struct lane *lane); /* room for another page */
void lane_pass_end(struct lane *lane);
/* An item of an RDB file that was taken while this lane was `holding` already: it goes to F, unless
 * the key is not clean by itself, which every key is that was written since (lane_scan.h). VALUE
 * NULL: the key is there, and too big for an item. */
struct lane_value;
void lane_pass_value(struct lane *lane, int32_t db, struct slice name,
                     const struct lane_value *value);
bool lane_pass_may_take(const struct lane *lane); /* room for more items */
/* Holding, and nothing is under way that could end a copy, or empty a side. */
bool lane_pass_is_settled(const struct lane *lane);
void lane_pass_drop(struct lane *lane);

/* Nothing of P's is unanswered, and no connection that may still execute something. */
static inline bool lane_is_quiet(const struct lane *lane) {
    return lane->flight.count == 0 && lane->primary_lost == 0;
}
static inline bool lane_follower_is_drained(const struct lane *lane) {
    return lane->sent.count == 0 && lane->tail.count == 0 && lane->follower_lost == 0;
}
/* F equals P for the slots of this lane, when P is quiet. */
static inline bool lane_is_level(const struct lane *lane) {
    return lane_follower_is_drained(lane) && lane->follower_up && lane->keys.dirty_count == 0 &&
           lane->keys.dirty_slot_count == 0 && lane->keys.pinned_count == 0 &&
           lane->keys.pinned_all == 0;
}

#endif

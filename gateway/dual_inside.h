/* dual_inside.h -- what the files of dual write share; nobody else includes it. */
#ifndef GATEWAY_DUAL_INSIDE_H
#define GATEWAY_DUAL_INSIDE_H

#include "gateway/backend.h"
#include "gateway/dual.h"
#include "gateway/far.h"
#include "gateway/lanes_journal.h"

#define DUAL_GRACE_MS 10000u

struct dual_line {
    struct dual *dual;
    enum lane_side side;
    unsigned lane;
    struct backend *backend; /* NULL: to be dialled */
    bool up;                 /* the lane was told so */
};

/* A blocking command of a client that has not been answered (C17). */
struct dual_wait {
    struct list link; /* dual->waits, in the order in which they came */
    struct client *client; /* or */
    struct ask *ask;       /* of another loop */
    int32_t db;
    uint8_t proto;
    bool cancelled;       /* the ask's client is gone */
    bool unblocked, with_error; /* CLIENT UNBLOCK */
    struct buf request;   /* as an array of bulk strings */
    struct effect *keys;  /* of its last try: what may wake it */
    uint64_t deadline_us; /* 0: never */
    uint64_t next_us;     /* when it is tried again at the latest */
    bool trying;          /* it is in its lane now */
};

/* A command on a client's own connection whose keys are pinned. */
struct dual_pin {
    struct dual_pin *next;
    struct effect *effect; /* or */
    struct ask *ask;       /* of a loop that has no lanes */
};

struct peers;
struct slot_table;

struct dual {
    struct worker *worker;
    bool follow; /* the other side is dialled */
    struct lanes lanes;
    struct lane_journal table;
    struct journal_file file;
    struct lanes_recovered recovered;
    struct dual_line line[2][LANES_MAX];
    bool marks_left[2]; /* at the side: to be removed, if that can be done soon */
    uint64_t marks_until_ms;
    char lane_run_id[LANES_MAX][41]; /* of the F that has what its lane sent (dual_marks.c) */
    char run_id[2][41];    /* of the servers that the lanes know; "": not known */
    int32_t databases;     /* that P has; 0: it was never seen to refuse one */
    struct dual_audit *audit;
    struct dual_witness *witness;
    struct dual_baseline *baseline;
    struct list reads; /* dual_reads.c: shadows, and canaries in the order in which they left */
    struct list parked[LANES_MAX]; /* asks for a lane that could not send */
    struct list early;             /* asks of peers that know a later table than we do */
    const struct slot_table *table_of_slots; /* NULL: all are ours, or (with state) none yet */
    unsigned self;                           /* in that table; its count: we are not in it */
    struct peers *peers;
    unsigned owned;                      /* slots */
    uint64_t forwarded, pins_elsewhere; /* figures */
    bool resting; /* for a hand-over: nothing leaves (C22b) */
    struct {      /* that hand-over, from REST to RELEASE */
        uint64_t number;          /* 0: there is none */
        struct slot_table *table; /* as it will be */
        bool carried;             /* the parcels are on their way */
        uint64_t until_ms;        /* that we wait for them to arrive */
    } move;
    struct ask *sending;           /* the ask that is going down its lane */
    struct req *answering; /* whose answer a lane is being told */
    struct {
        bool wanted;
        enum lane_side side;
        int32_t db;
        uint64_t cursor, round;
        uint64_t not_before_us;
    } scan;
    struct { /* dual_shards.c: of a listing of a Cluster */
        uint64_t round, page_round, stamp, ticket;
        enum lane_side side;
        struct buf page;
    } look;
    struct { /* connections that nobody can name */
        uint64_t since_ms, ask_ms; /* since both sides answer; when they are asked again */
        bool none[2];              /* the side says that it has none of them */
    } others;
    struct list waits;
    size_t wait_count;
    uint64_t waits_next_us; /* when the next of them is due */
    bool stood_still;       /* some lane could not send when a client wanted to */
};

static inline enum side dual_side(const struct dual *dual, enum lane_side side) {
    return side == LANE_P ? dual->worker->side : (enum side)(SIDE_TARGET - dual->worker->side);
}

/* dual_marks.c: F that was restarted (C22a) */
void dual_marks_open(struct dual *dual);
void dual_marks_remove(struct dual *dual); /* F is not followed any more */
void dual_marks_tick(struct dual *dual);
void dual_know_follower(struct dual *dual); /* every lane has to do with the present process */
void dual_doubt_follower(struct dual *dual); /* F is another process; lanes have not looked yet */
bool dual_knows_follower(struct backend *backend);
void dual_line_up(struct backend *backend); /* dual.c */

/* dual_shards.c: a side that is a Cluster (shards/shards.h). Its nodes are asked from now on. */
void dual_shards_open(struct worker *worker, enum side side);
void dual_shards_watch(struct dual *dual);
/* Of slots that a hand-over has CARRIED here: without those that moved just now. */
void dual_shards_uncarry(struct dual *dual, uint64_t carried[LANE_SLOTS / 64]);
/* Whether the page that is wanted may be asked for: first the slots are looked at. / A page that is
 * the last is kept until they were looked at again, and comes back here. */
bool dual_shards_may_list(struct dual *dual);
MUST_CHECK bool dual_shards_keep(struct dual *dual, uint64_t round, struct slice page);
MUST_CHECK bool dual_shards_kept(struct dual *dual, uint64_t *round, struct buf *page);

/* dual_others.c */
void dual_watch_others(struct dual *dual);
void dual_others_reset(struct dual *dual); /* what a side told is not true any more */

/* dual_baseline.c: from a file (C15) */
void dual_baseline_open(struct dual *dual);
void dual_baseline_close(struct dual *dual);
void dual_baseline_turn(struct dual *dual);
void dual_baseline_swapped(struct dual *dual);
/* When the file must have been begun that is waited for, in s since 1970; 0: none is. */
int64_t dual_baseline_after_s(const struct dual *dual);

/* dual_copies.c */
struct lane_rules dual_rules(const struct drawbridge_config *config);
void dual_copy_figures(const struct lane *lane, uint64_t figures[DUAL_FIGURES]);

static inline enum lane_side dual_lane_side(const struct dual *dual, enum side side) {
    return side == dual->worker->side ? LANE_P : LANE_F;
}

struct effect_facts dual_facts(struct worker *worker);

/* dual_client.c: for the ops of the lanes. */
void dual_waits_wrote(struct dual *dual, const struct effect *effect);
void dual_waits_turn(struct dual *dual);
void dual_waits_on_table(struct dual *dual); /* their slots may have got other owners */
/* A blocking command found nothing: it waits. / It was answered, or lost; frees it. */
void dual_wait_on(struct dual *dual, struct dual_wait *wait);
void dual_wait_end(struct client *client);
void dual_wait_unblock(struct dual *dual, struct dual_wait *wait, bool with_error);
void dual_wait_free(struct dual *dual, struct dual_wait *wait);

/* dual_asks.c: asks of other loops. */
void dual_ask_answered(struct dual *dual, struct lane_item *item, struct slice answer);
void dual_ask_nothing(struct dual *dual, struct lane_item *item);
void dual_ask_lost(struct dual *dual, struct lane_item *item);
void dual_ask_over(struct dual *dual, struct dual_wait *wait, struct slice answer); /* timed out */
void dual_asks_turn(struct dual *dual); /* what waits for its lane may leave */
void dual_asks_tick(struct dual *dual); /* what has waited too long fails */
void dual_asks_close(struct dual *dual);
void dual_ask_orphaned(struct dual *dual, struct ask *ask); /* its gateway's connection is gone */
void dual_ask_unpinned(struct dual *dual, struct ask *ask); /* others could not be reached */
/* ITEM (NULL: none) is a try of it. */
void dual_ask_tried(struct dual *dual, struct ask *ask, struct lane_item *item);
void dual_wait_cancel(struct dual *dual, struct dual_wait *wait);
void dual_asks_on_table(struct dual *dual);
/* A blocking one of this gateway that has to find its owner anew. */
void dual_ask_again(struct dual *dual, struct ask *ask);
/* Likewise, as soon as we have a table of VERSION. */
void dual_ask_moved(struct dual *dual, struct ask *ask, uint64_t version);

/* dual_retire.c: one of this gateway that has nothing under way: its client sends it anew. */
void dual_ask_elsewhere(struct dual *dual, struct ask *ask);

/* dual_client.c: the effect of COUNT requests that are a block; NULL: that is no such block. */
struct effect *dual_block_effect(struct worker *worker, int32_t db, struct slice block,
                                 size_t count);

/* dual_slots.c */
bool dual_is_settled(const struct dual *dual); /* all of the process before us is gone, at P */
void dual_slots_turn(struct dual *dual);
void dual_slots_close(struct dual *dual);

/* dual_databases.c: before a copy is asked for; false: B's database is not known afterwards. The
 * answer to it that the lane is to be told. A copy for F of what is at neither side. */
bool dual_select_for_copy(struct dual *dual, struct backend *backend, int32_t db);
struct slice dual_copy_answer(const struct dual *dual, const struct lane *lane, struct slice reply);
bool dual_is_at_neither(const struct dual *dual, const struct lane_item *item);

/* dual_reads.c: what the policy for reads says (reads.h). A command is about to leave for P; a
 * client's request, EFFECT, may go to F instead: true, then EFFECT is taken. Of another loop,
 * likewise. */
void dual_reads_shadow(struct dual *dual, struct lane_item *item);
bool dual_reads_canary(struct client *client, struct effect *effect);
bool dual_reads_canary_ask(struct dual *dual, struct ask *ask);
void dual_reads_tick(struct dual *dual);
void dual_reads_close(struct dual *dual); /* after the lanes are */

/* dual.c */
int32_t dual_version(const char *text); /* "7.0.15" as effect.h counts it; 0: not known */
void dual_note_opened(struct dual *dual, enum lane_side side, struct backend *backend);

#endif

/* link.h -- a directed flow of data from one server to another: copy, then follow (C4 to C9, C26).
 *
 *     source --PSYNC--> [receive thread] --> spool on disk --> [apply thread] --> target
 *                                                 |                 ^
 *                                                 +--- standby: looks whose units these are (C26)
 *
 * Two threads that block, each with its own connections. What they are to do stands in
 * link->orders, how they fare in link->status; both under link->lock. An order is picked up at the
 * next unit or within 100 ms; link_wake() makes that at once.
 *
 *   dialing ---> snapshot ---> copying ---> following <---> paused
 *                                  \            |  \---> draining ---> standby ---> following (ACTIVATE)
 *                                   \---> blocked: `error` says what a person must do; tried again
 */
#ifndef SYNCER_LINK_H
#define SYNCER_LINK_H

#include "lib/base/hist.h"
#include "lib/control/config.h"
#include "syncer/checkpoint.h"
#include "syncer/foreign.h"
#include "syncer/sent.h"
#include "syncer/spool.h"

#include <pthread.h>

struct rblock;

enum link_role { LINK_ACTIVE, LINK_STANDBY };

enum link_state {
    LINK_DIALING,
    LINK_SNAPSHOT,
    LINK_COPYING,
    LINK_FOLLOWING,
    LINK_DRAINING,
    LINK_STANDING_BY,
    LINK_PAUSED,
    LINK_BLOCKED,
    LINK_STOPPED,
};
const char *link_state_name(enum link_state state);

/* Where the receiver begins when the spool is empty. */
enum link_begin {
    LINK_BEGIN_UNKNOWN, /* the apply thread has not told yet */
    LINK_BEGIN_COPY,
    LINK_BEGIN_AT,      /* at `place` of `replid`, which the source must still have */
    LINK_BEGIN_NOW,     /* standby: wherever the source is now, without a copy */
};

struct link_orders {
    bool stop;
    enum link_role role;
    bool paused;
    bool audit_pause;      /* an audit holds the stream */
    uint64_t limit;        /* apply nothing behind this offset; UINT64_MAX: no limit */
    uint64_t throttle_ops, throttle_bytes; /* of the copy, per second; 0: no limit */
    bool drain;            /* up to drain_offset, then standby */
    uint64_t drain_offset;
    char barrier[64];
    bool take_over;        /* from standby: find the database at activate_at, and become active there */
    bool activate;         /* active: the first thing is a checkpoint at activate_at */
    bool in_doubt;         /* then: the target's keys came by lanes, and with deadlines that are not known */
    struct place activate_at;
    char activate_replid[REPLID_SIZE + 1];
    enum link_begin begin;
    char begin_replid[REPLID_SIZE + 1];
    struct place begin_at;
    bool begin_again; /* drop the spool, and begin as told above */
    uint64_t discard; /* standby: nothing before this offset is needed */
    bool repair;      /* link->repair or link->repair_foreign has keys to be made dirty */
};

struct link_copy_status {
    bool done;
    uint64_t keys, keys_total, bytes, bytes_total;
    int64_t started_ms, ended_ms; /* wall clock; 0: not yet */
    int64_t eta_ms;               /* -1: not known */
    uint64_t copies;              /* full copies so far */
};

struct link_status {
    enum link_state state;
    int64_t since_ms;
    char error[512];
    bool source_up, target_up;
    int64_t source_lost_ms; /* monotonic: since when the source is away; 0: it is not */
    char source_error[512]; /* why it is away */
    char replid[REPLID_SIZE + 1];
    uint64_t received_offset;
    struct place applied;
    char applied_replid[REPLID_SIZE + 1];
    bool positioned; /* `applied` means something */
    bool holding;    /* an audit's pause, or the limit, is obeyed right now */
    struct link_copy_status copy;
    uint64_t units_total, commands_total, left_out_total, unknown_total;
    uint64_t dirty_keys, quarantined_keys, reconnects;
    uint64_t foreign_dirty; /* of repair_foreign, not yet clean; FOREIGN_UNKNOWN: being noted */
    uint64_t foreign_units, foreign_total; /* see foreign.h: open, total */
    bool way_back, drained, way_broken;
    bool spool_failed; /* source_error tells of our disk, not of the source */
    bool weak_fence;
    int64_t applied_wall_ms; /* when something was applied last */
};

#define FOREIGN_UNKNOWN UINT64_MAX

struct link_sample {
    int64_t at_ms; /* monotonic: when `offset` had been received */
    uint64_t offset;
};
#define LINK_SAMPLES 1024

struct link_quarantined {
    int db;
    struct buf key;
    char reason[96];
};
#define LINK_QUARANTINE_SHOWN 20
#define LINK_PIECES_OVER ((size_t)64 << 20)
#define LINK_RECENT 512

struct link {
    char name[32], other[32]; /* "forward" and "reverse" */
    const struct config_side *from, *to;
    char *folder;             /* of spool, logs and notes */
    size_t pieces_over;       /* bytes: the copy sends larger values element by element (copy.h) */
    uint64_t epoch;
    uint64_t active_epoch; /* of the last ACTIVATE that was carried out; 0: none */
    struct sent *sent, *others_sent; /* borrowed */
    bool may_copy; /* without being asked; else a source that cannot continue blocks the link (C9) */
    struct spool *spool;
    pthread_t receiver, applier;
    bool running;

    pthread_mutex_t lock; /* for all that follows */
    struct link_orders orders;
    struct link_status status;
    struct link_sample samples[LINK_SAMPLES];
    size_t sample_first, sample_count;
    struct link_quarantined quarantined[LINK_QUARANTINE_SHOWN];
    size_t quarantined_shown;
    uint64_t own_until;      /* standby: units of the source up to here were its clients', and are not foreign */
    bool by_lanes;             /* standby: until it is activated, gateways' lanes write to its target, and
                                * perhaps to its source; nothing there is foreign (C1) */
    struct foreign foreign;    /* standby: what others wrote to the source */
    struct buf repair;         /* keys that an audit found different; see foreign_put_key() */
    struct buf repair_foreign; /* keys that the other link saw others write */
    struct buf recent;         /* the keys written last before the drain */
    struct rblock *interruptible[2]; /* connections on which the apply thread may wait */
    void (*on_change)(void *self, struct link *link); /* the state changed; from any thread */
    void *self;
};

struct link_options {
    const char *name;
    const struct config_side *from, *to;
    const char *spool_dir;
    uint64_t limit_bytes;
    uint64_t epoch;
    bool may_copy;
    enum link_role role;
    uint64_t throttle_ops, throttle_bytes;
    uint64_t own_until; /* see struct link */
    bool by_lanes;      /* likewise */
    struct sent *sent, *others_sent; /* of this link and of the other one (sent.h); borrowed; NULL: there is no other */
    size_t pieces_over; /* see struct link; 0: LINK_PIECES_OVER */
    void (*on_change)(void *self, struct link *link);
    void *self;
};

/* Open the spool and start both threads. The sides are borrowed. */
MUST_CHECK enum err link_open(struct link **link, const struct link_options *options, struct why *why);

/* Stop both threads, keep everything on disk. NULL is fine. */
void link_close(struct link *link);

/* link_close(), and remove the spool and the checkpoint at the target. */
void link_remove(struct link *link);

/* Units of the source up to OFFSET were its clients' while it was the primary side. */
void link_own_until(struct link *link, uint64_t offset);
/* Whether the lanes of gateways carry over what clients write, for as long as it stands by. */
void link_set_by_lanes(struct link *link, bool by_lanes);

/* Give what FROM saw others write to the active link TO (both may be one: it saw that while it was in
 * standby), and see whether all of it is made good. Asked several times a second; by one thread. */
void link_hand_over(struct link *from, struct link *to);

/* An audit found both sides equal, at OFFSET of this link's source. */
void link_audited(struct link *link, uint64_t offset);

void link_wake(struct link *link);
void link_get_status(struct link *link, struct link_status *status);
void link_get_orders(struct link *link, struct link_orders *orders);

/* The age of the oldest unit that was received and is not applied; 0 when there is none. */
int64_t link_lag_ms(struct link *link);
/* Up to which offset the stream had come at MONO_MS, as far as it is remembered; 0: not known. */
uint64_t link_came_before(struct link *link, int64_t mono_ms);

/* Orders; each is the message of docs/CONTROL.md. */
void link_pause(struct link *link, bool paused);
void link_throttle(struct link *link, uint64_t ops, uint64_t bytes);
MUST_CHECK enum err link_drain(struct link *link, const char *barrier, uint64_t offset, struct why *why);
void link_undrain(struct link *link);
/* ERR_ABSENT: the spool begins behind OFFSET: the way back is broken. */
MUST_CHECK enum err link_activate(struct link *link, uint64_t epoch, const char *replid, uint64_t offset, struct why *why);
MUST_CHECK enum err link_discard(struct link *link, uint64_t offset, struct why *why);

/* ---- for the threads ---- */
void *link_receive_main(void *self);
void *link_apply_main(void *self);

/* ERROR NULL or "": none. */
void link_set_state(struct link *link, enum link_state state, const char *error);
void link_note_received(struct link *link, uint64_t offset);
bool link_stopping(struct link *link);

/* Wait for news: something was received, or there are other orders. Never longer than MS. */
void link_sleep(struct link *link, int ms);
/* Wait all of MS, unless the link stops. */
void link_rest(struct link *link, int ms);

/* Let link_close() end a wait on CONN (0: the target's, 1: the source's); NULL: not any more. */
void link_set_interruptible(struct link *link, int which, struct rblock *conn);

/* Note durably that the link is active since its present epoch (see link_activate). */
MUST_CHECK enum err link_note_active(struct link *link, struct why *why);

#endif

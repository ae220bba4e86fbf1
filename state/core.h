/* core.h -- the running state: everything that one `drawbridge state` knows, on one loop.
 *
 *     members, sides, links --reports--> core --> workflow, barrier, gates (deciders)
 *                                         |             |
 *                  store (ledger) <-------+ <--actions--+ --> LINK ..., HOLD ..., RELEASE ...
 *
 * An internal header, shared by core*.c, api*.c and metrics.c. All of it belongs to the loop.
 * One change of the migration's row is under way at a time (`moving`); level-triggered events are
 * looked at again when it is done, so nothing is lost by waiting.
 */
#ifndef STATE_CORE_H
#define STATE_CORE_H

#include "lib/base/hist.h"
#include "lib/control/config.h"
#include "lib/net/loop.h"
#include "lib/control/reads_policy.h"
#include "state/barrier.h"
#include "state/gates.h"
#include "state/members.h"
#include "state/side.h"
#include "state/slots.h"
#include "state/store.h"
#include "state/topology_push.h"
#include "state/workflow.h"

#define CORE_WAIVERS_MAX 32
#define CORE_RECENT 64
#define CORE_DIFFERENCES 1000
#define REPORT_FRESH_MS 3000

/* What a command ends with. `result` (may be NULL) is the callback's to decref. */
typedef void core_done(void *self, enum err err, const char *why, json_t *result);

/* Who asks, and why; for the ledger. */
struct core_asker {
    char who[64];
    char reason[REASON_BYTES];
};

struct link_report {
    uint64_t heard_ms; /* monotonic; 0: never */
    struct gates_link gate;
    char replid[41];
    int64_t received, spooled, applied, begin_offset;
    int64_t copy_keys, copy_keys_total, copy_bytes, copy_bytes_total, copy_started_ms,
        copy_ended_ms, copies;
    int64_t eta_ms, units, commands, reconnects, since_ms;
    json_t *json; /* the whole report, for status */
};

/* Capture `lane`: what a gateway last said in LANES. */
struct lanes_report {
    char name[NAME_MAX_BYTES]; /* "": none */
    uint64_t heard_ms;         /* monotonic; 0: never */
    bool open, level, primary_up, follower_up, functions_refused;
    int64_t dirty_slots, dirty_keys, failed_keys, buried, queue_bytes, queue_limit, lag_ms;
    int64_t copies, copy_bytes, commands, copy_us, copy_us_max, big_copy_ms;
    int64_t witness, witness_gaps; /* gateway/dual_witness.h: 0 off, 1 refused, 2 down, 3 on */
    int64_t drained; /* the barrier for which its lanes are drained; 0: none */
    json_t *json;    /* the whole report, for status */
};

/* Capture `lane`: what a gateway says of the slots of its lanes. */
struct core_audit_part {
    char name[NAME_MAX_BYTES];
    int64_t keys, bytes;
    json_t *result; /* NULL: it has not ended there */
    uint64_t heard_ms;
};

struct core_audit {
    struct core_audit_part parts[BARRIER_GATEWAYS_MAX]; /* core_audit_lanes.c */
    size_t part_count;
    struct audit_row running; /* id 0: none */
    struct audit_row last;    /* the last that ended; id 0: none */
    int64_t keys, bytes;      /* progress */
    char part[32];
    int64_t evicted[SIDES]; /* as the last audit began */
    int64_t repaired_id;    /* of the last REPAIRED report */
    int64_t repaired, repair_failed;
    /* An audit that was asked for while the syncer is just coming (back). */
    core_done *wait_done; /* NULL: none */
    void *wait_self;
    struct core_asker wait_asker;
    uint64_t wait_until_ms;
};

/* A barrier that was asked for, and waits a moment for a gate that has just closed. */
struct core_announced {
    core_done *done; /* NULL: none */
    void *self;
    enum side from;
    bool rehearsal;
    uint32_t max_hold_ms;
    struct core_asker asker;
    uint64_t until_ms;
};

/* Another capture was asked for (core_recapture.c). */
struct core_recapture {
    enum capture wanted; /* CAPTURE_AUTO: none */
    bool begun;          /* its barrier has */
    core_done *done;     /* NULL: it was answered */
    void *self;
    uint32_t max_hold_ms;
    struct core_asker asker;
    uint64_t until_ms;
};

struct core_reads {
    bool ordered; /* somebody said what is wanted */
    struct reads_policy wanted, told;
};

/* Slots that go from gateways that live to others (core_slots.c). */
enum slots_move { SLOTS_MOVE_IDLE, SLOTS_MOVE_HOLDING, SLOTS_MOVE_RESTING, SLOTS_MOVE_WRITING };
struct core_slots_move {
    enum slots_move state;
    struct slot_table table; /* as it will be */
    uint64_t confirmed;      /* seats, as bits */
    uint64_t number; /* of this try; no other has it, of whatever state */
    uint64_t until_ms, not_before_ms;
};

#define CORE_BY_HAND_MAX 64
struct core_by_hand {
    char gateway[NAME_MAX_BYTES], what[32]; /* "pin-legacy" */
    int64_t at_ms;                          /* by the gateway's clock */
    bool recorded;
};

struct core {
    const struct drawbridge_config *config;
    struct loop *loop;
    struct store *store;
    struct side_admin *side[SIDES];
    struct members *members;

    struct migration migration; /* as the ledger has it */
    struct workflow workflow;
    bool moving;                 /* a ledger job that changes them is under way */
    bool halted;                 /* the ledger's outcome is not known: this process ends */
    char syncer[NAME_MAX_BYTES]; /* which one carries the links; "": none is here */
    uint64_t alone_since_ms;     /* monotonic: since when none is, or state began */

    struct member_row gateways[BARRIER_GATEWAYS_MAX]; /* the last process of each name */
    size_t gateway_count;
    int admitting; /* gateways whose predecessor is being fenced; no barrier begins meanwhile */

    struct barrier barrier;
    struct barrier_row last,
        committed;       /* barriers of this migration; outcome NONE: there is none */
    int64_t barrier_run; /* grows with each, so that late answers are known as such */
    struct loop_timer barrier_timer;
    struct loop_work stop_work; /* stop_at.h */
    struct core_announced announced;
    struct core_recapture recapture;
    struct link_report attached; /* the link that stands by to replace the lanes (C1) */
    json_t *prepared;      /* of the barrier: what gateways said in PREPARED */
    struct hist holds;     /* us, of the barriers of this process */
    int64_t felt_us;       /* the longest hold that a gateway reported */
    bool open_primary_due; /* the primary side was not told of its role yet */

    struct link_report link[LINKS];
    struct lanes_report lanes[BARRIER_GATEWAYS_MAX];
    bool lanes_copying;
    int64_t lanes_few_since_ms; /* wall clock: since when few keys of the copy are dirty */
    int64_t lanes_base, lanes_base_bytes; /* copies before the present baseline */
    struct core_audit audit;
    struct core_reads reads;
    char baseline[BASELINE_BYTES]; /* of `start --baseline`; "": nobody said (core_baseline.c) */
    struct topology_push *topology; /* NULL: the file names no cluster */
    int64_t topology_noted;         /* the epoch that all nodes had; 0: none yet */
    struct slots slots;                /* capture `lane`: as decided */
    struct slot_table slots_published; /* as the ledger has it, and gateways know it */
    bool slots_writing;
    struct core_slots_move slots_move;
    uint64_t slots_refused_ms; /* since when a fence is refused by a side that answers; 0: it is not */
    struct gate gates[GATES];
    struct waiver waivers[CORE_WAIVERS_MAX];
    size_t waiver_count;
    uint64_t open_since_ms, closed_since_ms; /* monotonic; of the gates taken together */
    bool member_ahead;
    struct core_by_hand by_hand[CORE_BY_HAND_MAX]; /* a ring of what gateways told */
    size_t by_hand_next;
    int64_t witness_void_ms; /* likewise: a gateway's witness missed something then (C22) */
    char witness_void[160];  /* which one, and how */
    int64_t hand_void_ms; /* wall clock: claims of audits that began before it are void */

    struct event recent[CORE_RECENT]; /* a ring */
    size_t recent_count;              /* ever; the newest is at (recent_count - 1) % CORE_RECENT */
    void (*on_event)(void *self, const struct event *event); /* the feed; may be NULL */
    void *feed;
    struct loop_timer tick;
    int starting; /* preflight checks in helper threads */
    bool capture_asking;
    uint64_t capture_asked_ms; /* monotonic; 0: never */
    int exit_code;
};

/* Opens ledger, sides and control listener, and goes on where the ledger says. */
MUST_CHECK enum err core_open(struct core *core, struct loop *loop,
                              const struct drawbridge_config *config, struct why *why);
void core_close(struct core *core);

/* ---- core.c ---- */
uint64_t core_now_ms(const struct core *core);
int64_t core_wall_ms(const struct core *core);
void core_evaluate(struct core *core); /* gates and level-triggered moves; harmless at any time */
/* Record EVENT's move; DONE may be NULL. Refusals come by DONE, too. */
void core_move(struct core *core, enum workflow_event event, const struct core_asker *asker,
               core_done *done, void *self);
/* After a change of row in the ledger: take it over and carry out the duties of the phase. */
void core_moved(struct core *core, const struct migration *migration);
void core_halt(struct core *core, const char *what, const struct why *why);
/* A free event in the ledger; nobody waits for it. */
void core_note(struct core *core, const char *kind, const char *fmt, ...) PRINTF(3, 4);

/* ---- core_slots.c ---- */
MUST_CHECK enum err core_slots_load(struct core *core, struct ledger *ledger, struct why *why);
void core_slots_seen(struct core *core, struct member *gateway, const json_t *json);
void core_slots_lost(struct core *core, const char *name);
/* There are lanes again, or for the first time: nobody owns anything (TABLE, from core_slots_cleared()). */
void core_slots_begin(struct core *core, const struct slot_table *table);
void core_slots_cleared(const struct core *core, struct slot_table *table);
void core_slots_joined(struct core *core, struct member *gateway); /* before it is told anything else */
void core_slots_route(struct core *core, struct member *gateway); /* it may hold for a hand-over */
void core_slots_tick(struct core *core);
/* May a connection be used that NAME opened while it obeyed VERSION? (C25) */
bool core_slots_admit(const struct core *core, struct slice name, struct slice version);
bool core_slots_report(struct core *core, struct member *gateway, const struct slice *words,
                       size_t count);
const char *core_slots_trouble(const struct core *core); /* a gateway that is away with its slots */

/* ---- core_members.c ---- */
extern const struct members_events core_members_events;
struct member *core_syncer(const struct core *core); /* NULL: none is here */
void core_carry_out_duties(struct core *core);       /* towards the syncer, if one is here */
void core_discard_standby(struct core *core); /* tell the standby link what it need not keep */
void core_route(struct core *core, struct member *gateway);

/* ---- core_barrier.c ---- */
void core_barrier_start(struct core *core, enum side from, bool rehearsal, uint32_t max_hold_ms,
                        const struct core_asker *asker, core_done *done, void *self);
void core_barrier_tick(struct core *core);
void core_barrier_recover(struct core *core);
void core_barrier_event(struct core *core, const struct barrier_event *event);
/* A report of a member; false: none of the barrier's. */
bool core_barrier_report(struct core *core, struct member *member, const struct slice *words,
                         size_t count, const json_t *json);

/* Only the capture becomes another one; all gates were looked at. */
void core_barrier_recapture(struct core *core, enum capture capture, uint32_t max_hold_ms,
                            const struct core_asker *asker);

/* ---- core_recapture.c ---- */
/* How changes are learned when SIDE is the primary one: now, or after the next barrier. */
enum capture core_capture_of(const struct core *core, enum side side);
void core_recapture_start(struct core *core, enum capture wanted, bool dry_run,
                          uint32_t max_hold_ms, const struct core_asker *asker, core_done *done,
                          void *self);
void core_recapture_tick(struct core *core);
void core_recapture_over(struct core *core); /* its barrier has ended, whichever way */
/* The ledger has another capture; SLOTS, when that is lanes, is the table without owners. */
void core_recaptured(struct core *core, const struct slot_table *slots);
void core_link_forget(struct link_report *link);

/* ---- core_gates.c ---- */
void core_judge_gates(struct core *core);
void core_take_link(struct core *core, enum link_id link, const json_t *json);
void core_waive(struct core *core, enum gate_id gate, int64_t for_ms,
                const struct core_asker *asker, core_done *done, void *self);

/* ---- core_capture.c ---- */
void core_choose_capture(struct core *core, enum capture capture, const char *reason,
                         core_done *done, void *self); /* nothing else may be moving */
void core_capture_tick(struct core *core);
const char *core_capture_note(const struct core *core); /* what it promises, or what is wrong */

/* ---- core_lanes.c ---- */
bool core_has_lanes(const struct core *core);
void core_lanes_take(struct core *core, const struct member *gateway, const json_t *json);
void core_lanes_forget(struct core *core, const struct member *gateway); /* it has just come */
void core_lanes_forget_all(struct core *core);
void core_lanes_sum(struct core *core, struct gates_lanes *all);
/* Fill in core->link[] from the lanes, so that gates, moves and status see a link. */
void core_lanes_as_links(struct core *core, const struct gates_lanes *all);
void core_lanes_duty(struct core *core, struct member *gateway);
void core_lanes_duties(struct core *core);
void core_lanes_drain(struct core *core);
void core_lanes_drained(struct core *core, const struct member *gateway, int64_t barrier);
json_t *core_lanes_json(struct core *core); /* null with capture `stream` */
/* C22: WHAT voids a claim that is older than SINCE_MS: a witness that was away, a stranger. */
bool core_lanes_went_round(const struct core *core, int64_t since_ms, char *what, size_t size);
bool core_lanes_late(const struct core *core); /* the follower is slow, or has stopped */
bool core_lanes_buried(const struct core *core); /* some connection is not known to be gone */
void core_lanes_close(struct core *core);

/* ---- core_audit.c ---- */
void core_audit_start(struct core *core, const struct core_asker *asker, core_done *done,
                      void *self);
void core_audit_stop(struct core *core, core_done *done, void *self);
void core_audit_repair(struct core *core, const struct core_asker *asker, core_done *done,
                       void *self);
bool core_audit_report(struct core *core, const struct slice *words, size_t count,
                       const json_t *json);
void core_audit_syncer_joined(struct core *core);
void core_audit_tick(struct core *core);
void core_audit_fail(struct core *core, const char *why); /* the one that runs */

/* ---- core_audit_lanes.c: capture `lane` ---- */
void core_audit_lanes_start(struct core *core); /* core->audit.running, at every gateway */
void core_audit_lanes_tell(struct core *core, const char *verb, int64_t id);
void core_audit_lanes_joined(struct core *core, struct member *gateway);
bool core_audit_lanes_report(struct core *core, const struct member *gateway,
                             const struct slice *words, size_t count,
                             const json_t *json);
void core_audit_lanes_tick(struct core *core);
void core_audit_lanes_forget(struct core *core); /* results that came so far */

/* ---- core_reads.c ---- */
MUST_CHECK enum err core_reads_set(struct core *core, const struct core_asker *asker,
                                   struct slice text, struct why *why);
void core_reads_ask(struct core *core, core_done *done, void *self); /* wanted, effective, gateways */
void core_reads_joined(struct core *core, struct member *gateway);
void core_reads_tick(struct core *core);

/* ---- core_topology.c ---- */
MUST_CHECK enum err core_topology_open(struct core *core, struct why *why);
/* Read the file anew; only `topology` is taken from it. As it was when that fails. */
MUST_CHECK enum err core_topology_reload(struct core *core, struct why *why);
json_t *core_topology_json(const struct core *core); /* null without a cluster */

/* ---- core_by_hand.c ---- */
/* A gateway tells what an operator did to it (DRAWBRIDGE BYHAND); one reply goes to OUT. */
void core_by_hand_told(struct core *core, size_t argc, const struct slice *argv, struct buf *out);

/* ---- core_start.c ---- */
/* BASELINE: "" or "scan" or a file, as the gateways see it. */
void core_start(struct core *core, const struct core_asker *asker, const char *baseline,
                core_done *done, void *self);

/* ---- core_baseline.c ---- */
/* WHY: "", or who cannot read it. THERE: somebody sees such a file already. */
typedef void core_baseline_done(void *self, const char *why, bool there);
void core_baseline_ask(struct core *core, const char *path, core_baseline_done *done, void *self);
/* For the migration of now. "": what each gateway's configuration says. */
void core_baseline_set(struct core *core, const char *path, const char *who);
void core_baseline_joined(struct core *core, struct member *gateway);

/* ---- core_status.c ---- */
json_t *core_status(struct core *core);
json_t *core_members_json(struct core *core);
json_t *core_barrier_json(const struct barrier_row *barrier);
json_t *core_audit_json(const struct audit_row *audit);
json_t *core_event_json(const struct event *event);
json_t *core_next_steps(struct core *core);

#endif

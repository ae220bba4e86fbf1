/* ledger_tables.h -- the ledger's rows: migrations and phases, barriers, audits, waivers, members.
 *
 * Every function that writes wants an open transaction, adds the event that goes with the change,
 * and fills in what the ledger knows (ids, times). On failure the caller rolls back.
 */
#ifndef STATE_LEDGER_TABLES_H
#define STATE_LEDGER_TABLES_H

#include "lib/control/config.h"
#include "state/ledger.h"
#include "state/words.h"

#include <stddef.h>

struct buf;

#define NAME_MAX_BYTES 64
#define REASON_BYTES 256

/* ---- migrations and phases (ledger_phases.c) ---- */
struct migration {
    int64_t id;
    char name[NAME_MAX_BYTES];
    enum phase phase;
    int64_t phase_since_ms;
    uint64_t epoch;
    enum side primary;
    enum capture capture; /* CAPTURE_AUTO: `check` has not chosen yet (C1) */
    enum capture home;    /* likewise; of legacy as primary side: what a rollback comes back to */
    int64_t created_ms;
};

const char *capture_name(enum capture capture); /* "undecided" for CAPTURE_AUTO */
bool capture_parse(const char *name, enum capture *capture);

/* The latest migration of NAME. ERR_ABSENT when there is none. */
MUST_CHECK enum err ledger_load_migration(struct ledger *ledger, const char *name,
                                          struct migration *migration, struct why *why);
/* A new one in `planned`, legacy primary, its epoch above every epoch that the ledger knows;
 * migration->capture is the caller's. */
MUST_CHECK enum err ledger_add_migration(struct ledger *ledger, const char *name,
                                         struct migration *migration, struct why *why);

/* Only in `planned`: afterwards a change of capture is a barrier (C1). */
MUST_CHECK enum err ledger_choose_capture(struct ledger *ledger, struct migration *migration,
                                          enum capture capture, const char *reason,
                                          struct why *why);

struct phase_move {
    enum phase to;
    enum side primary;
    uint64_t epoch;
    char who[64];
    char reason[REASON_BYTES];
    struct place at[SIDES]; /* both sides' places; empty replid: not known */
};
/* Records the move and updates *MIGRATION. */
MUST_CHECK enum err ledger_move_phase(struct ledger *ledger, struct migration *migration,
                                      const struct phase_move *move, struct why *why);

/* ---- barriers (ledger_barriers.c) ---- */
enum barrier_outcome {
    BARRIER_NONE,
    BARRIER_OPEN,      /* begun; a restart writes the abort record first */
    BARRIER_ABORTED,   /* or rehearsed: released with the old primary */
    BARRIER_COMMITTED, /* the new epoch is a fact; a restart completes it */
    BARRIER_COMPLETED, /* everybody was released with the new primary */
    BARRIER_OUTCOMES
};
const char *barrier_outcome_name(enum barrier_outcome outcome);

struct barrier_row {
    int64_t id, migration;
    int64_t began_ms, ended_ms;
    enum side from, to; /* the same: the barrier only changes the capture (C1) */
    enum capture capture_before, capture_after; /* CAPTURE_AUTO: not said, by an older program */
    bool rehearsal;
    uint32_t max_hold_ms;
    uint64_t epoch_before, epoch_after;
    enum barrier_outcome outcome;
    char why[REASON_BYTES]; /* of an abort */
    char who[64];
    struct place x, b; /* the old primary's place to drain to; the new one's at the commit */
    int64_t hold_us;   /* from the first HOLD to the last gateway's release */
    int64_t compared, killed;
};

/* Whether it changes the capture. */
static inline bool barrier_recaptures(const struct barrier_row *row) {
    return row->capture_before != row->capture_after;
}

/* `row` without id: begins it, and moves the migration to cutting-over or rolling-back; when only the
 * capture changes the phase stays. */
MUST_CHECK enum err ledger_begin_barrier(struct ledger *ledger, struct migration *migration,
                                         struct barrier_row *row, const char *reason,
                                         struct why *why);
/* The commit point: x, b, epoch_after; two checkpoints; the migration moves to TO_PHASE, with the
 * new primary, capture and epoch, in the one transaction (C24). */
MUST_CHECK enum err ledger_commit_barrier(struct ledger *ledger, struct migration *migration,
                                          struct barrier_row *row, enum phase to_phase,
                                          struct why *why);
/* row->why says why. The migration goes back to TO_PHASE. */
MUST_CHECK enum err ledger_abort_barrier(struct ledger *ledger, struct migration *migration,
                                         struct barrier_row *row, enum phase to_phase,
                                         struct why *why);
MUST_CHECK enum err ledger_complete_barrier(struct ledger *ledger, struct barrier_row *row,
                                            struct why *why);
/* The latest of a migration (id 0 and BARRIER_NONE when there is none), the latest that was
 * committed, or all of them. */
MUST_CHECK enum err ledger_last_barrier(struct ledger *ledger, int64_t migration, bool committed,
                                        struct barrier_row *row, struct why *why);
typedef enum err ledger_on_barrier(void *self, const struct barrier_row *row, struct why *why);
MUST_CHECK enum err ledger_each_barrier(struct ledger *ledger, int64_t migration,
                                        ledger_on_barrier *on_barrier, void *self, struct why *why);

/* ---- audits (ledger_audits.c) ---- */
struct audit_row {
    int64_t id, migration;
    enum link_id link;
    uint64_t epoch;
    int64_t started_ms, ended_ms;
    char outcome[16]; /* "running", "equal", "different", "failed", "stopped" */
    int64_t keys, slots, differences, undecided, source_offset, pause_ms, repaired;
    char error[REASON_BYTES];
    char stale[REASON_BYTES]; /* not empty: what voided the claim (C32) */
};
struct difference {
    int64_t n, db, slot;
    char key[256]; /* as the syncer wrote it, cut */
    char type[16], kind[16];
    char source_digest[40], target_digest[40];
};
MUST_CHECK enum err ledger_begin_audit(struct ledger *ledger, struct audit_row *row,
                                       const char *who, struct why *why);
MUST_CHECK enum err ledger_end_audit(struct ledger *ledger, struct audit_row *row,
                                     const struct difference *differences, size_t count,
                                     struct why *why);
MUST_CHECK enum err ledger_void_audit(struct ledger *ledger, struct audit_row *row,
                                      const char *what, struct why *why);
/* id 0 when there is none. Only those that ended, if ENDED. */
MUST_CHECK enum err ledger_last_audit(struct ledger *ledger, int64_t migration, bool ended,
                                      struct audit_row *row, struct why *why);
typedef enum err ledger_on_difference(void *self, const struct difference *difference,
                                      struct why *why);
MUST_CHECK enum err ledger_each_difference(struct ledger *ledger, int64_t audit,
                                           ledger_on_difference *on_difference, void *self,
                                           struct why *why);

/* ---- waivers and members (ledger_members.c) ---- */
struct waiver {
    char gate[32];
    char who[64];
    char reason[REASON_BYTES];
    int64_t at_ms, until_ms;
};
MUST_CHECK enum err ledger_add_waiver(struct ledger *ledger, int64_t migration,
                                      const struct waiver *waiver, struct why *why);
typedef enum err ledger_on_waiver(void *self, const struct waiver *waiver, struct why *why);
MUST_CHECK enum err ledger_each_waiver(struct ledger *ledger, int64_t migration,
                                       ledger_on_waiver *on_waiver, void *self, struct why *why);

struct member_row {
    char role[16], name[NAME_MAX_BYTES], version[32];
    int64_t pid;
    uint64_t epoch;
};
MUST_CHECK enum err ledger_member_joined(struct ledger *ledger, int64_t migration,
                                         const struct member_row *member, struct why *why);
MUST_CHECK enum err ledger_member_left(struct ledger *ledger, int64_t migration,
                                       const struct member_row *member, const char *reason,
                                       struct why *why);

/* What an operator did to a gateway without us; the same is noted once, however often it is told. */
MUST_CHECK enum err ledger_gateway_by_hand(struct ledger *ledger, int64_t migration,
                                           const char *gateway, const char *what, int64_t at_ms,
                                           struct why *why);

/* The last process of each name, whether it is still here or not. */
typedef enum err ledger_on_member(void *self, const struct member_row *member, struct why *why);
MUST_CHECK enum err ledger_each_member(struct ledger *ledger, ledger_on_member *on_member,
                                       void *self, struct why *why);

/* ---- slots of gateways (ledger_slots.c) ---- */
struct slot_table;
MUST_CHECK enum err ledger_save_slots(struct ledger *ledger, int64_t migration,
                                      const struct slot_table *table, const char *reason,
                                      struct why *why);
/* Version 0: there is none. */
MUST_CHECK enum err ledger_load_slots(struct ledger *ledger, struct slot_table *table,
                                      struct why *why);

/* ---- which side answers reads (ledger_reads.c) ---- */
struct reads_policy;
MUST_CHECK enum err ledger_save_reads(struct ledger *ledger, int64_t migration,
                                      struct reads_policy wanted, const char *who,
                                      struct why *why);
/* Both are left alone when nobody ever said. */
MUST_CHECK enum err ledger_load_reads(struct ledger *ledger, int64_t migration,
                                      struct reads_policy *wanted, bool *ordered, struct why *why);

/* ---- where the lanes' baseline comes from (ledger_baseline.c) ---- */
#define BASELINE_BYTES 1024
MUST_CHECK enum err ledger_save_baseline(struct ledger *ledger, int64_t migration,
                                         const char *path, const char *who, struct why *why);
/* "" when nobody said. */
MUST_CHECK enum err ledger_load_baseline(struct ledger *ledger, int64_t migration,
                                         char path[BASELINE_BYTES], struct why *why);

/* ---- checkpoints (ledger_barriers.c) ---- */
struct checkpoint_row {
    int64_t barrier, at_ms;
    uint64_t epoch;
    enum side side;
    struct place place;
    char meaning[64];
};
typedef enum err ledger_on_checkpoint(void *self, const struct checkpoint_row *row,
                                      struct why *why);
MUST_CHECK enum err ledger_each_checkpoint(struct ledger *ledger, int64_t migration,
                                           ledger_on_checkpoint *on_checkpoint, void *self,
                                           struct why *why);

/* A free event: something happened that no table has a row for. DATA may be NULL or JSON. */
MUST_CHECK enum err ledger_note(struct ledger *ledger, int64_t migration, const char *kind,
                                const char *who, const char *data, struct why *why, const char *fmt,
                                ...) PRINTF(7, 8);

#endif

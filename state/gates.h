/* gates.h -- the conditions for the next step, each with what was observed and what is wanted.
 *
 * A pure function: struct gates_input in, one result for each gate out. What is not known blocks
 * like a failure; a waiver with a reason lets a failing gate pass until it expires.
 */
#ifndef STATE_GATES_H
#define STATE_GATES_H

#include "state/ledger_tables.h"

enum gate_id {
    GATE_REACHABLE,
    GATE_CAPTURE,
    GATE_COPY,
    GATE_LAG,
    GATE_CLEAN,
    GATE_SPOOL,
    GATE_AUDIT,
    GATE_MEMORY,
    GATE_EVICTION,
    GATE_BYPASS,
    GATE_CLOCK,
    GATE_COMMANDS,
    GATE_SCRIPTS,
    GATE_WAY_BACK,
    GATE_EPOCH,
    GATE_LEDGER,
    GATES
};

enum gate_state { GATE_PASS, GATE_WARN, GATE_FAIL, GATE_UNKNOWN, GATE_WAIVED, GATE_STATES };

struct gate {
    enum gate_state state;
    int64_t since_ms; /* in this state, wall clock */
    char observed[160], wanted[96], why[256], fix[160];
    bool matters; /* in this phase, for the next step */
};

struct gates_side {
    bool reachable;  /* answered INFO within the last 3 s */
    char error[160]; /* why not */
    bool is_master, loading, bundled;
    char run_id[41];
    int64_t used_memory, max_memory; /* bytes; max 0: no limit */
    int64_t system_memory;           /* 0: not known */
    bool policy_known;
    char policy[32]; /* maxmemory-policy */
    int64_t evicted; /* keys, since this state first saw this run */
    bool evicted_known;
    bool clients_known; /* CLIENT LIST was answered */
    char clients_error[96];
    int64_t bypassing; /* connections that are not ours */
    char bypass[160];  /* the first of their addresses */
    char writer[96];   /* one of them whose last command may have written; "": none */
    bool clock_known;
    int64_t clock_ms; /* this side's clock minus ours */
};

struct gates_link {
    bool known; /* reported within the last 3 s */
    char state[16], error[160];
    bool following, standby, idle, copy_done, way_back;
    int64_t lag_ms, lag_bytes, dirty, quarantined, foreign_units;
    int64_t spool_bytes, spool_limit;
};

/* Capture `lane`: all gateways' lanes together. */
struct gates_lanes {
    bool used, level, baseline_done;
    bool turnable; /* legacy could follow, too: RESTORE takes absolute times since 5.0 */
    bool cluster;  /* legacy is a Cluster, which lanes read from, and do not write to as followers */
    int64_t gateways;
    char error[160]; /* what keeps a gateway's lanes from carrying over what clients write */
    bool functions_refused; /* the other side does not take libraries that the primary side has */
    int64_t dirty_keys, dirty_slots, failed_keys, queue_bytes, queue_limit, lag_ms;
    int64_t copies, copy_bytes, commands;
    int64_t drain_ms; /* about what the dirty keys would need in a hold */
    int64_t hold_ms;  /* cutover.max_hold */
};

struct gates_input {
    int64_t now_ms; /* wall clock */
    enum phase phase;
    enum side primary;
    uint64_t epoch;
    struct gates_side side[SIDES];
    struct gates_link link[LINKS];
    struct gates_lanes lanes;
    bool syncer_here;
    bool legacy_too_old; /* before 5.0: neither lanes nor a link can write to it */
    bool next_by_lanes; /* the side that is primary after the next barrier is followed by lanes */
    struct audit_row audit; /* the last one that ended; id 0: none */
    bool audit_running;
    int64_t lag_limit_ms, audit_age_ms;
    /* gateways */
    int64_t gateways, gateways_stale; /* stale: at another epoch, or silent */
    char stale_gateway[NAME_MAX_BYTES];
    char other_capture[NAME_MAX_BYTES];  /* one that runs with another capture; "": none */
    char pinned_gateway[NAME_MAX_BYTES]; /* one that obeys an operator, and not us; "": none */
    int64_t unknown_commands; /* kinds that clients used and the target does not have */
    char unknown_command[96];
    int64_t scripts_missing;
    bool ledger_failed;
    char ledger_why[160];
    bool member_ahead; /* a member obeyed a higher epoch than the ledger has */
};

const char *gate_name(enum gate_id id);  /* "way-back" */
const char *gate_title(enum gate_id id); /* "The way back is ready" */
const char *gate_state_name(enum gate_state state);
bool gate_parse(const char *name, enum gate_id *id);

/* GATES[] holds the results of the time before (zeroed at first), for `since`. */
void gates_evaluate(const struct gates_input *input, const struct waiver *waivers,
                    size_t waivers_count, struct gate gates[GATES]);

/* Every gate that matters passes, warns or is waived. */
bool gates_are_open(const struct gate gates[GATES]);
/* The first that blocks; GATES: none. */
enum gate_id gates_first_closed(const struct gate gates[GATES]);
size_t gates_count(const struct gate gates[GATES], enum gate_state state);

#endif

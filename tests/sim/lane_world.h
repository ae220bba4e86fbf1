/* lane_world.h -- a gateway's lanes between clients, a primary and a follower, all simulated.
 *
 * Virtual clocks that differ; connections on which requests wait until somebody steps them, and
 * which may break while requests are on their way: those may still be executed, until the
 * connection is known to be gone. The gateway may die at every step; its journal stays. A server may
 * restart with older data.
 *
 * The world is what the gateway's shell will be, and keeps its rules (C20-C22a). A switch breaks one
 * of them here, or spoils what the lanes remember: never in the lanes' own code.
 */
#ifndef TESTS_SIM_LANE_WORLD_H
#define TESTS_SIM_LANE_WORLD_H

#include "gateway/journal.h"
#include "gateway/lane_audit.h"
#include "gateway/lanes.h"
#include "gateway/witness.h"
#include "tests/sim/wires.h"

#define WORLD_CLIENTS 3
#define WORLD_LANES 3
#define WORLD_WAITING 3 /* commands of a client */
#define WORLD_HISTORY 6

enum world_rule {
    OFF_KILL_P,
    OFF_KILL_F,
    OFF_CONNIDS,
    OFF_PIN,
    OFF_GEN,
    OFF_SPREAD,
    OFF_VOLATILE,
    OFF_RUN_ID_P,
    OFF_RUN_ID_F,
    OFF_UNCONFIRMED,
    OFF_JOURNAL_ENTRY,
    OFF_JOURNAL_DIRTY,
    OFF_JOURNAL_LOST,
    OFF_ORDER,
    OFF_COPY_ERROR,
    OFF_EXTRA,
    OFF_LISTED,
    OFF_FENCE,
    OFF_UNLESS_CHANGED,
    OFF_SWAP, /* what was lost at the old P holds copies back as F's */
    OFF_MARK,
    OFF_AUDIT_PLACE,   /* the rest: sim_audit */
    OFF_AUDIT_CLEAN,
    OFF_AUDIT_SPOILED,
    OFF_AUDIT_SLACK,
    OFF_AUDIT_EXTRA,
    OFF_COALESCE,
    OFF_FLUSH,
    OFF_FUNCTIONS,
    OFF_BLOCKING, /* a command that blocks does so in its lane */
    OFF_BLOCK,    /* F gets the commands of a block one by one, and only the last answer is looked at */
    OFF_WITNESS, /* no names come */
    OFF_SCRIPTS, /* nobody counts scripts */
    OFF_PROOF,   /* level before the names are here */
    OFF_GAP,     /* what was missed is not asked for */
    OFF_FILE,
    OFF_READ,  /* a read goes by a connection of its own */
    OFF_CLEAN, /* an effect goes to F whether it has P's values or not */
    OFF_PLACE, /* a copy overtakes what was queued for F before it */
    OFF_TOLD,  /* F gets what the client sent, and not what it did */
    WORLD_RULES
};
extern const char *const world_rule_names[WORLD_RULES];

struct waiting {
    char text[96];
    int db, tries;
    bool own;
    uint64_t seq;
};

struct world_client {
    struct waiting queue[WORLD_WAITING];
    int count;
    struct lanes_place place;
    size_t own_unanswered;
    uint64_t seqs, executed;
};

struct journal_entry {
    uint64_t id;
    int db;
    char key; /* 0: all keys */
};

struct world {
    bool off[WORLD_RULES];
    bool talk, check_clean;
    bool bursts; /* simple commands go as such (lane_burst.h); else each by its effect */
    int64_t world_ms, gateway_skew_ms;
    struct clock clock; /* the gateway's */
    struct mini server[2];
    struct mini_state history[2][WORLD_HISTORY];
    int history_count[2];
    struct rng rng;
    struct lane_rules rules;
    struct effect_facts facts;
    unsigned lane_count;
    int64_t ids;
    /* the gateway */
    struct lanes lanes;
    bool answering; /* a lane is told what P answered */
    bool audits; /* the gateway has an audit (sim_audit) */
    bool by_file; /* the baseline comes from a file of P (lane_world_file.c) */
    struct {
        struct mini_state state;
        bool taken, reading;
        uint64_t waits, round;
        int at; /* the next item */
    } file;
    struct lane_audit audit;
    struct { /* lane_world_witness.c */
        bool used;
        struct witness of[2]; /* enum lane_side */
        struct told *told;    /* on its way from P */
        bool asked;           /* a fence waits at P */
        uint64_t run[2];
        struct witness_safe saved; /* stays when the gateway dies */
    } witness;
    struct wire *wires[2][WORLD_LANES], *own[WORLD_CLIENTS], *scan[2];
    struct world_client clients[WORLD_CLIENTS];
    struct wire *zombies; /* not known to be gone */
    struct wire *ghosts;  /* called gone while they were not: only with a broken rule */
    /* the journal */
    struct journal_entry entries[512];
    int entry_count;
    bool dirty[MINI_DBS][MINI_KEYS];
    uint64_t dirty_slots[LANE_SLOTS / 64];
    struct {
        uint64_t hash;
        int64_t at_ms;
    } deadlines[64];
    int deadline_count;
    struct journal journal; /* the real one, beside it (world_journal.h) */
    uint8_t *journal_memory;
    struct { /* copies of a key within the interval after its last one (C14) */
        int64_t at_ms;
        int early;
    } copied[MINI_DBS][MINI_KEYS];
    uint64_t figures[8]; /* executed, clean keys compared, crashes, breaks ... */
    char failed[256];
};

void world_open(struct world *w, uint64_t seed, unsigned lanes, bool import);
void world_start(struct world *w, bool baseline); /* after the first data are there */
void world_close(struct world *w);

/* lane_world_journal.c */
struct lane_journal world_journal(struct world *w);
void world_no_journal(struct world *w);
void world_recover(struct world *w); /* a new gateway reads it (lane_journal.h) */

/* What can happen. WIRE: 0..: lanes, then WORLD_CLIENTS own ones, then the one that lists. */
void world_issue(struct world *w, int client, int db, const char *text, bool own);
/* The gateway's callback ends: what it has written leaves. Commands that are issued one behind the other
 * are of one callback; every other thing that happens ends it first. */
void world_leave(struct world *w);
void world_execute(struct world *w, enum lane_side side, unsigned wire);
void world_answer(struct world *w, enum lane_side side, unsigned wire);
void world_break(struct world *w, enum lane_side side, unsigned wire);
void world_kill(struct world *w);   /* the oldest old connection is known to be gone */
void world_zombie(struct world *w); /* an old connection executes something */
void world_crash(struct world *w, bool host);
void world_restart(struct world *w, enum lane_side side, int back);
/* P and F change roles, as at a barrier when the lanes are drained, as by hand when they are not. */
void world_swap(struct world *w);
/* The witness sends, P answers it, or something that P told arrives; false: nothing can happen. */
bool world_witness(struct world *w);
void world_witness_break(struct world *w, enum lane_side side, bool other_process);
/* Round the gateway, at P. */
void world_stranger(struct world *w, int db, const char *text);
void world_turn(struct world *w);
void world_listing(struct world *w); /* a turn, and what both sides are listed for */
void world_remember(struct world *w, enum lane_side side);
/* The first wire from FROM on with something to do. */
unsigned world_busy_wire(struct world *w, enum lane_side side, bool answered, unsigned from);
unsigned world_wires(const struct world *w, enum lane_side side);

/* Everything is answered and copied. */
void world_rest(struct world *w);
/* Likewise, and old connections are gone; then both sides are the same, or WHAT says what is not. */
bool world_settle(struct world *w, char what[256]);
/* Likewise in the middle of a run, which goes on as it was: w->failed says what is not the same. */
void world_compare(struct world *w);

#endif

/* owners_world.h -- several gateways with lanes between clients, a primary and a follower, and the
 * `state` that says which of them owns which slots; all simulated (C10, C10a, C20, C21, C22b, C25).
 *
 *        clients of gate 0        clients of gate 1  ...
 *              |                        |
 *            gate 0 <--- links --->   gate 1 <- - - - - - - - > state: slots.h, its ledger
 *          lanes, journal           lanes, journal        says who owns, fences, lets open
 *              |  \                     |  \
 *              P   F                    P   F
 *
 * Everything between any two of them waits until somebody steps it, and may break: what was on its
 * way may still be read, or executed. A gate may die at every step (its journal stays, or not), or
 * stand still for as long as its lease, and longer; state may die, or be out of reach.
 *
 * The gates are shells around the deciders of the gateway: lanes.h, owners.h, holders.h,
 * lanes_journal.h; state is one around slots.h. A switch breaks a rule in such a shell, never in
 * the deciders.
 *
 *     owners_world.c   a run: its beginning, its end, what is checked
 *     owners_gate.c    clients, asks, pins
 *     owners_links.c   from gate to gate (peers.h)
 *     owners_carry.c   what goes along with slots
 *     owners_wires.c   to both sides, and whatever dies
 *     owners_state.c   state, and what a gate and it say to each other
 */
#ifndef TESTS_SIM_OWNERS_WORLD_H
#define TESTS_SIM_OWNERS_WORLD_H

#include "gateway/holders.h"
#include "gateway/journal.h"
#include "gateway/lanes.h"
#include "gateway/lanes_journal.h"
#include "gateway/owners.h"
#include "state/slots.h"
#include "tests/sim/wires.h"

#define OWNERS_GATES 3
#define OWNERS_CLIENTS 2 /* of a gate */
#define OWNERS_LANES 2
#define OWNERS_WAITING 3 /* commands of a client */
#define OWNERS_HISTORY 4
#define OWNERS_TABLES 512

enum owners_rule {
    OFF_OWNER,     /* C10: every gate takes all slots for its own */
    OFF_PIN_ACK,   /* C10a: a command leaves before its pins are acknowledged */
    OFF_SYNCED,    /* C10a: whoever gets slots copies before it knows of all pins */
    OFF_FENCING,   /* C25: slots of a lost gate go to others while its connections live */
    OFF_ADMIT,     /* C25: connections are opened without state's word */
    OFF_GAINED,    /* C20: what is got is taken for clean */
    OFF_REST,      /* C22b: slots are handed over while commands are under way */
    OFF_WAITING,   /* C10: what waits for a slot that is another's now leaves all the same */
    OFF_SETTLED,   /* C21: a process says that its pins are known, while connections of the one before live */
    OFF_CARRIED,   /* C22b: dirty keys do not go along */
    OFF_CARRIED_TIMES, /* C22b: deadlines do not */
    OFF_BELIEVED,  /* C22b: what was told is believed, whatever became of the hand-over */
    OFF_OLD_MARKS, /* C22a: a mark from before it counts for what others sent */
    OFF_MISSED,    /* C20: whoever had slots before and has them now is taken to have had them all the time */
    OWNERS_RULES
};
extern const char *const owners_rule_names[OWNERS_RULES];

struct o_world;
struct o_gate;
struct o_parcel;

/* A command on its way through the gates. */
struct o_ask {
    struct o_ask *next;
    struct o_gate *gate; /* who has it now */
    char text[96];
    int db;
    bool own; /* EXEC under WATCH: on the connection with this id */
    int64_t wire_id;
    /* whose it is: a client of this gate, or another gate */
    int client; /* -1: another gate's */
    int who;    /* client number WHO of all, for the checker */
    uint64_t session, seq;
    struct o_link *link;    /* over which it came */
    uint64_t far_id;
    bool told;
    /* where it goes */
    uint64_t version;
    const struct slot_table *table;
    unsigned home, lane;
    struct effect *effect;
    struct o_pin *pin;
};

struct o_asks {
    struct o_ask *head, *tail;
};

/* Keys that are pinned at other gates. */
struct o_pin {
    struct o_pin *next;
    uint64_t id;
    struct buf words;
    bool acked[OWNERS_GATES];
    struct o_ask *ask; /* that waits for it; NULL: it has left */
};

/* One message from gate to gate, or between a gate and state. */
struct o_note {
    struct o_note *next;
    enum { NOTE_HELLO, NOTE_OK, NOTE_DO, NOTE_ANSWER, NOTE_LOST, NOTE_PIN, NOTE_PINNED, NOTE_UNPIN, NOTE_SYNCED,
           NOTE_CARRY, NOTE_CARRIED, NOTE_LANES, NOTE_HELD, NOTE_RESTED, NOTE_SLOTS, NOTE_HOLD, NOTE_REST, NOTE_RELEASE } kind;
    uint64_t id, version;
    struct buf words;             /* PIN */
    char text[96];                /* DO */
    int db, who;
    uint64_t seq;
    unsigned lane;
    const struct slot_table *table; /* SLOTS; REST: what is planned */
    struct o_parcel *parcel;        /* CARRY */
};

struct o_notes {
    struct o_note *head, *tail;
};

/* A connection from gate FROM to gate TO, dialled by FROM. Each end may still read when the other
 * one has closed. */
struct o_link {
    struct o_link *next;
    unsigned from, to;
    bool from_open, to_open; /* that end has not noticed that it is over */
    bool broken;             /* nothing more gets through */
    bool greeted;            /* FROM has got OK */
    bool visits;             /* TO has got HELLO */
    uint64_t synced;         /* FROM has said so on it */
    struct o_notes there, back;
};

struct o_client {
    struct {
        char text[96];
        int db;
        bool own;
        int64_t wire_id;
        uint64_t seq;
    } queue[OWNERS_WAITING];
    int count;
    size_t unanswered;
    bool alone; /* what is under way goes by itself */
    uint64_t place, session, seqs, first, executed;
};

struct o_gate {
    struct clock clock;
    struct o_world *w;
    unsigned number;
    char name[16];
    int64_t skew_ms;
    bool alive, paused;
    struct effect_facts facts;
    struct lanes lanes;
    struct lane_journal table;
    struct journal journal;
    uint8_t *memory;
    struct lanes_recovered recovered;
    uint64_t noted;   /* as write_since() of dual_slots.c: outlives the process */
    uint64_t run[2];  /* of the servers that the lanes know; 0: not known */
    uint64_t nonce;
    struct wire *wires[2][OWNERS_LANES], *own[OWNERS_CLIENTS], *scan[2]; /* NULL: to be opened */
    struct wire *zombies; /* not known to be gone, to this gate or the processes before it */
    struct o_client clients[OWNERS_CLIENTS];
    struct o_asks parked[OWNERS_LANES], early, under_way, own_asks;
    struct o_asks forwarded[OWNERS_GATES];
    struct holders holders;
    struct o_pin *pins;
    uint64_t ids, gained;
    bool unsynced;
    const struct slot_table *slots; /* NULL: none yet */
    unsigned self;
    /* with state */
    bool state_open, state_broken; /* it has a connection; nothing more gets through */
    bool cut;                      /* it cannot open one */
    struct o_notes to_state, from_state;
    bool held, said_held, resting;
    struct {
        uint64_t number;
        const struct slot_table *planned;
        bool carried, unread[OWNERS_GATES];
        int64_t until_ms;
    } move;
    struct o_parcel *parcels[OWNERS_GATES]; /* the last one of each */
    size_t asks_out; /* of its clients */
};

struct o_state {
    bool alive;
    struct slots slots;
    struct slot_table ledger;
    const struct slot_table *published;
    bool here[OWNERS_GATES]; /* its end of the connection */
    enum { MOVE_IDLE, MOVE_HOLDING, MOVE_RESTING } move;
    struct slot_table even;
    const struct slot_table *planned;
    uint64_t moves; /* never the same twice */
    bool confirmed[OWNERS_GATES];
    int64_t until_ms, not_before_ms;
    char fencing[16]; /* "": nobody */
};

struct o_world {
    bool off[OWNERS_RULES];
    bool talk, check_clean, quiet;
    int64_t world_ms;
    struct rng rng;
    struct mini server[2];
    uint64_t run[2];
    struct mini_state history[2][OWNERS_HISTORY];
    int history_count[2];
    struct lane_rules rules;
    unsigned gate_count, lane_count;
    int64_t ids;
    struct o_gate gates[OWNERS_GATES];
    struct o_state state;
    struct o_link *links;
    struct slot_table *tables[OWNERS_TABLES];
    unsigned table_count;
    struct wire *ghosts; /* of connections that somebody took for gone: only with a broken rule */
    uint64_t figures[10]; /* executed, clean keys compared, forwarded, pins, deaths, fenced, handed over, ... */
    char failed[256];
};

enum { FIGURE_EXECUTED, FIGURE_COMPARED, FIGURE_FORWARDED, FIGURE_PINNED, FIGURE_DEATHS, FIGURE_FENCED, FIGURE_MOVES, FIGURE_PAUSES, FIGURE_CARRIED };

/* ---- owners_world.c ---- */
void owners_open(struct o_world *w, uint64_t seed, unsigned gates, unsigned lanes, bool import);
void owners_start(struct o_world *w);
void owners_close(struct o_world *w);
bool owners_settle(struct o_world *w, char what[256]);
void owners_compare(struct o_world *w); /* likewise in the middle of a run, which goes on: w->failed */
void owners_rest(struct o_world *w, int turns); /* everybody does what there is to be done */
void owners_remember(struct o_world *w, enum lane_side side);

/* ---- what can happen ---- */
void owners_issue(struct o_world *w, unsigned gate, int client, int db, const char *text, bool own);
void owners_execute(struct o_world *w, enum lane_side side, unsigned gate, unsigned wire);
void owners_answer(struct o_world *w, enum lane_side side, unsigned gate, unsigned wire);
void owners_turn(struct o_world *w, unsigned gate);
bool owners_note(struct o_world *w, unsigned which); /* some message is read; false: there is none */
bool owners_link(struct o_world *w, unsigned which); /* likewise, from gate to gate */
void owners_zombie(struct o_world *w, unsigned gate);
void owners_kill(struct o_world *w, unsigned gate); /* it learns that its oldest old connection is gone */
void owners_break(struct o_world *w, enum lane_side side, unsigned gate, unsigned wire);
void owners_break_link(struct o_world *w, unsigned which);
void owners_break_state(struct o_world *w, unsigned gate);
void owners_die(struct o_world *w, unsigned gate, bool host);
void owners_born(struct o_world *w, unsigned gate);
void owners_pause(struct o_world *w, unsigned gate, bool paused);
void owners_restart(struct o_world *w, enum lane_side side, int back);
void owners_state_dies(struct o_world *w);
void owners_state_born(struct o_world *w);
void owners_state_turn(struct o_world *w);
void owners_hand_over(struct o_world *w, unsigned from, unsigned to); /* all slots of FROM, in order */
void owners_give_up(struct o_world *w, unsigned gate); /* a command that waits fails (max_blackout) */

/* ---- inside ---- */
#define OTALK(...) (w->talk ? (void)printf(__VA_ARGS__) : (void)0)

static inline bool gate_runs(const struct o_gate *g) { return g->alive && !g->paused; }
static inline unsigned gate_wires(const struct o_world *w, enum lane_side side) {
    return w->lane_count + (side == LANE_P ? OWNERS_CLIENTS : 0) + 1;
}
struct wire **gate_wire(struct o_gate *g, enum lane_side side, unsigned n);

/* owners_gate.c */
extern const struct lanes_ops gate_ops;
void gate_pump(struct o_gate *g);
void gate_route(struct o_gate *g, struct o_ask *ask);
void gate_pinned(struct o_gate *g, struct o_pin *pin); /* somebody has acknowledged it, or is gone */
void gate_give_back(struct o_gate *g, struct o_ask *ask, bool lost); /* frees it */
void gate_own_answered(struct o_gate *g, const struct effect *effect);
void gate_own_gone(struct o_gate *g, int64_t wire_id);
void gate_over(void *self, struct lane_item *item);
void gate_hang_up(struct o_gate *g, int client);
void gate_take_table(struct o_gate *g, const struct slot_table *table);
bool gate_is_idle(const struct o_gate *g);
bool gate_has_held(const struct o_gate *g);
void gate_forget_all(struct o_gate *g); /* the process is gone */
void asks_push(struct o_asks *asks, struct o_ask *ask);
struct o_ask *asks_pop(struct o_asks *asks);
void asks_remove(struct o_asks *asks, struct o_ask *ask);
void ask_drop(struct o_ask *ask); /* frees it */

/* owners_links.c */
void links_forward(struct o_gate *g, struct o_ask *ask, unsigned home);
void links_answer(struct o_gate *g, struct o_ask *ask, bool lost);
struct o_pin *links_pin(struct o_gate *g, const struct effect *effect, struct o_ask *ask);
void links_unpin(struct o_gate *g, struct o_pin *pin);
bool links_are_acked(const struct o_gate *g, const struct o_pin *pin);
void links_turn(struct o_gate *g);
void links_on_table(struct o_gate *g, bool gained);
void links_die(struct o_gate *g); /* its process is gone */
void links_close(struct o_world *w);
void notes_push(struct o_notes *notes, struct o_note *note);
struct o_note *notes_pop(struct o_notes *notes);
void notes_free(struct o_notes *notes);

bool links_carry(struct o_gate *g, unsigned to, struct o_parcel *parcel); /* false: it is not connected */

/* owners_carry.c */
void carry_free(struct o_parcel *parcel);
bool carry_is_read(struct o_gate *g); /* everybody has what G knows, or it took too long */
void carry_read(struct o_gate *g, unsigned from, struct o_parcel *parcel); /* takes it */
/* Which of the slots that G gets by TABLE it is told about. */
bool carry_is_known(const struct o_gate *g, const struct slot_table *before, const struct slot_table *table, unsigned self,
                    uint64_t slots[LANE_SLOTS / 64]);
void carry_unpack(struct o_gate *g, const struct slot_table *before, const uint64_t slots[LANE_SLOTS / 64]);
void carry_end(struct o_gate *g);
void carry_forget(struct o_gate *g); /* the process is gone */

/* owners_wires.c */
void wires_open(struct o_gate *g);
void wires_die(struct o_gate *g);
void wires_fence(struct o_world *w, const char *name); /* CLIENT KILL at both sides */
bool wires_are_settled(const struct o_gate *g);

/* owners_state.c */
bool state_admits(const struct o_gate *g);
void state_gate_turn(struct o_gate *g);
void state_gate_died(struct o_gate *g);
bool state_is_idle(const struct o_world *w);

#endif

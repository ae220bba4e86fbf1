/* wires.h -- connections of the simulated network: requests wait on them until somebody steps them.
 *
 * A wire holds what was asked and not executed yet, and what was executed and not answered yet. One
 * that broke may still execute what was asked.
 */
#ifndef TESTS_SIM_WIRES_H
#define TESTS_SIM_WIRES_H

#include "gateway/effect.h"
#include "gateway/lane_journal.h"
#include "tests/sim/mini_redis.h"

struct message {
    struct message *next;
    struct buf bytes, answer;
    uint32_t replies;
    int client; /* -1: none */
    uint64_t seq;
    bool audit;   /* asked by the audit's listing */
    bool early;   /* it was executed out of its place: only with a broken rule */
    bool is_mark; /* not a request: compare EXPECT with F */
    bool has[MINI_DBS][MINI_KEYS];
    struct mini_state *state; /* of P after it was executed, or what a mark expects */
    struct effect *own;       /* EXEC under WATCH: on a connection of its client's own */
    uint64_t round;           /* of a page */
    bool waits[MINI_DBS][MINI_KEYS]; /* it blocks while there is none of them: only with a broken rule */
    bool taken_apart;                /* likewise: as OFF_BLOCK says */
};

struct messages {
    struct message *head, *tail;
};

struct wire {
    struct wire *next; /* zombies */
    enum lane_side side;
    int lane; /* -1: not a lane's */
    int64_t id;
    struct mini_conn conn;
    struct messages asked, answered;
    struct effect *own[8]; /* of a zombie: pinned until it is gone */
    int owns;
    bool dead;    /* nothing more is executed: it was killed, or the process behind it is gone */
    uint64_t run; /* that process */
};

void messages_push(struct messages *q, struct message *m);
struct message *messages_pop(struct messages *q); /* NULL: there is none */
void message_free(struct message *m);
void messages_free(struct messages *q);

struct wire *wire_new(enum lane_side side, int lane, int64_t id);
void wire_free(struct wire *wire);
void wires_free(struct wire **list);

/* Behind what was asked before; in database DB, whose SELECT is no part of the answer. */
struct message *wire_ask(struct wire *wire, struct slice bytes, uint32_t replies);
struct message *wire_ask_in_db(struct wire *wire, int32_t db, struct slice bytes, uint32_t replies);

/* The requests of M at SERVER, one after the other; the replies into m->answer. TALK: told on stdout. */
void wire_execute(struct wire *wire, struct message *m, struct mini *server, bool talk);

#endif

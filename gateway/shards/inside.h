/* inside.h -- what the files of gateway/shards share; nobody else includes it. */
#ifndef GATEWAY_SHARDS_INSIDE_H
#define GATEWAY_SHARDS_INSIDE_H

#include "gateway/backend.h"
#include "gateway/shards/merge.h"
#include "gateway/shards/order.h"
#include "gateway/shards/shards.h"

/* ---- nodes ---- */

struct shards_ctl;

struct shards_host {
    struct shards_node at;
    bool present;
    char run_id[41]; /* of the process that its ctl talks to; "": not known */
    char replid[41];
    struct shards_ctl *ctl; /* NULL: to be dialled */
    bool no_others, asked_others; /* it has no connections of earlier gateways (others.h) */
    uint64_t retry_ms, branch_retry_ms;
};

struct shards {
    struct worker *worker;
    enum side side;
    struct shards_host *host; /* SHARDS_NODES_MAX; never taken away, so that an index stays good */
    unsigned count;
    uint16_t owner[SHARDS_SLOTS]; /* index into host[]; SHARDS_NOBODY at first only */
    bool known;
    char run_id[41]; /* made up: of this Cluster, in this process */
    char version[32]; /* the smallest of its nodes */
    struct shards_ctl *seed; /* to the configured address, until a node is known */
    uint64_t seed_retry_ms;
    struct list conns;
    uint64_t redirected; /* figure */
    int64_t next_id;
    /* the present look */
    uint64_t round, done_round; /* numbers; done: that came to its end, with all owners heard */
    bool looking, wanted, complete, mapped;
    unsigned pending;
    uint64_t began_ms, next_ms;
    unsigned next_asker;
    struct shards_map *fresh;
    /* slots that moved, or could have moved a key */
    uint64_t stamp, restless[SHARDS_SLOTS];
    /* Slots that ASK was said of, since the present look began; that were being moved at the one
     * before, or of which ASK was said; that are being moved as this one tells. */
    uint64_t asked[SHARDS_SLOTS / 64], seen[SHARDS_SLOTS / 64], moving[SHARDS_SLOTS / 64];
    uint64_t recent[2][SHARDS_SLOTS / 64], recent_ms; /* [1]: those of the RECENT_MS before */
    void (*changed)(void *self, enum side side, const uint64_t slots[SHARDS_SLOTS / 64],
                    bool lost);
    void *changed_self;
};

const struct config_side *shards_config(const struct shards *shards);
void shards_endpoint(const struct shards *shards, const struct shards_host *host,
                     struct endpoint *to); /* endpoint_close() it */
/* The node that a redirection by FROM names; count: not known. */
unsigned shards_find_place(const struct shards *shards, const struct shards_redirect *to,
                           unsigned from);
void shards_want(struct shards *shards, unsigned hint); /* the map is old; HINT knows better */
void shards_note_restless(struct shards *shards, uint16_t slot);
void shards_note_ask(struct shards *shards, uint16_t slot);
static inline uint64_t shards_now_ms(const struct shards *s) {
    return loop_now_ms(s->worker->loop);
}
static inline uint64_t shards_limit_ms(const struct shards *s) {
    return (uint64_t)s->worker->gw->config->cutover.max_blackout;
}

/* ---- ctl.c: the connection that asks ---- */

typedef void shards_told(struct shards_ctl *ctl, uint64_t arg, const struct resp_reply *reply);

struct shards_ctl *shards_ctl_open(struct shards *shards, unsigned host); /* count: the seed */
void shards_ctl_abort(struct shards_ctl *ctl);  /* NULL is fine; it is told, and frees itself */
void shards_ctl_forget(struct shards_ctl *ctl); /* likewise, and SHARDS goes away */
bool shards_ctl_is_ready(const struct shards_ctl *ctl); /* NULL: no */
/* REPLY is NULL when the connection broke. */
void shards_ctl_ask(struct shards_ctl *ctl, struct slice request, shards_told *told, uint64_t arg);
void shards_ctl_tell(struct shards_ctl *ctl, struct slice request); /* its answer is nobody's */
struct shards *shards_ctl_of(const struct shards_ctl *ctl);
unsigned shards_ctl_host(const struct shards_ctl *ctl);
int64_t shards_ctl_id(const struct shards_ctl *ctl);
size_t shards_ctl_waiting(const struct shards_ctl *ctl);
void shards_write_auth(const struct config_side *side, struct buf *out);
/* From ctl.c: it is ready, REPLIES of INFO server and INFO replication came; it is gone. */
void shards_on_ctl_info(struct shards *shards, unsigned host, struct slice server,
                        struct slice replication);
void shards_on_replication(struct shards *shards, unsigned host, struct slice text);
void shards_on_ctl_closed(struct shards *shards, struct shards_ctl *ctl);

/* ---- conn.c, branch.c ---- */

struct unit {
    struct shards_unit order; /* first */
    struct buf bytes;  /* the request, or the block; a SCAN's own, rewritten */
    uint32_t replies;  /* of one node */
    uint8_t to;        /* enum shards_to: SLOT, ANY, ALL, SCAN, STREAM, WATCH, UNWATCH */
    uint8_t merge, proto;
    bool block, asking;
    bool watched;      /* it goes where WATCH went */
    unsigned node;     /* of ASK and SCAN */
    uint64_t added_ms;
    struct buf answer; /* whole, when DONE */
    struct buf refusal; /* the last redirection */
    struct buf *parts;  /* TO_ALL: the answers of nodes */
    unsigned part_count, parts_left;
};

enum branch_state { BRANCH_DIALLING, BRANCH_GREETING, BRANCH_NAMED, BRANCH_ASKED, BRANCH_READY, BRANCH_GONE };

/* What is to come over a branch, in order. */
struct due {
    struct due *next;
    struct unit *unit; /* NULL: read and dropped */
    unsigned part;
    uint32_t left;     /* replies */
};

struct shards_branch {
    struct list link; /* conn->branches */
    struct shards_conn *conn;
    unsigned host;
    enum branch_state state;
    struct stream *stream;
    int64_t server_id;
    char run_id[41];
    bool journaled;
    uint8_t proto;
    unsigned greeted;
    struct resp_reply_reader greeting;
    struct resp_skip skip;
    bool pushing; /* what passes was not asked for */
    struct buf in;
    struct buf reply; /* the part of the present reply that came */
    struct due *head, *tail;
    unsigned unanswered; /* requests of units */
};

struct shards_conn {
    struct list link; /* shards->conns */
    struct shards *shards;
    struct backend *backend;
    struct loop *loop;
    const struct stream_events *events;
    int64_t id; /* by which CLIENT UNBLOCK finds it */
    char name[192];
    uint8_t proto;
    bool opened, open_told; /* the map is known; said so */
    bool gone, gone_told, aborted;
    bool asking; /* state is asked for the epoch */
    bool displaced, was_full, drained, emitting;
    bool raw; /* all goes to one node, and comes from it as it is */
    unsigned raw_host;
    enum err err;
    struct why why;
    struct list branches;
    struct shards_order order;
    size_t waiting_bytes;
    struct loop_work work;
    unsigned alive; /* branches that point here or whose stream is not closed */
    /* requests that are not whole yet */
    struct buf in;
    struct resp_request request;
    struct unit *block; /* NULL: no MULTI is open */
    struct shards_route block_route;
    bool watching; /* WATCH was sent, or is to be */
    uint16_t watch_slot;
    struct shards_branch *watch_branch; /* NULL: not answered yet */
};

void shards_unit_free(struct unit *unit);
/* Answer it without asking anybody; of a block, with TEXT as the last reply. */
void shards_conn_answer_here(struct shards_conn *conn, struct unit *unit, struct slice text);
void shards_conn_pump(struct shards_conn *conn);
void shards_conn_turn(struct shards_conn *conn); /* hand out answers, send what may leave */
void shards_conn_fail(struct shards_conn *conn, enum err err, const char *why);
void shards_conn_schedule(struct shards_conn *conn);
void shards_conn_on_map(struct shards_conn *conn); /* it is known, or changed */
void shards_conn_tick(struct shards_conn *conn); /* calls nobody: conns may not go meanwhile */
void shards_conn_ask_epoch(struct shards_conn *conn);
void shards_conn_branch_closed(struct shards_conn *conn);
/* All replies of UNIT (of its PART) came over L. */
void shards_conn_answered(struct shards_conn *conn, struct unit *unit, struct shards_branch *l,
                          unsigned part, struct slice text);

struct shards_branch *shards_branch_open(struct shards_conn *conn, unsigned host);
void shards_branch_send(struct shards_branch *l, struct unit *unit, unsigned part);
void shards_branch_drop(struct shards_branch *l, struct slice request); /* its reply is nobody's */
void shards_branch_abort(struct shards_branch *l);

#endif

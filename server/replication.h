/* replication.h -- both ends of replication: our replicas, and the link to our master.
 *
 *     commands --> sink --> backlog --> replicas (each an offset)          role master
 *     master's bytes --> parser --> execute, and the same bytes --> backlog --> replicas of ours
 *
 *     replication.c  the stream, roles, INFO and ROLE     replica.c      what one replica is sent
 *     failover.c     FAILOVER                             full_sync.c    what several are sent at once
 *     replconf.c     PSYNC, SYNC, REPLCONF                master_link.c  from REPLICAOF to the stream
 *     master_load.c  the RDB that comes first             master_stream.c  obey the master's stream
 *
 * Source of behaviour: replication.c of Redis 7.0; design page protocol-facts.md.
 */
#ifndef SERVER_REPLICATION_H
#define SERVER_REPLICATION_H

#include "lib/redis/psync.h"
#include "lib/redis/resp.h"
#include "server/engine.h"
#include "server/history.h"
#include "server/persistence.h"
#include "server/slot_filter.h"

enum replica_state {
    REPLICA_NEW,      /* has said REPLCONF at most */
    REPLICA_QUEUED,   /* waits for a free snapshot */
    REPLICA_SNAPSHOT, /* is sent the RDB */
    REPLICA_WAIT_ACK, /* has got the RDB that ends in a mark; the stream starts with its first ACK
                       */
    REPLICA_ONLINE,
};

struct replica {
    struct replica *next, *prev; /* replication->replicas; linked from REPLICA_QUEUED on */
    struct client *client;
    enum replica_state state;
    int64_t port;     /* as told by REPLCONF; 0: not told */
    char address[47]; /* likewise; empty */
    bool knows_eof, knows_psync2, rdb_only, is_linked;
    bool old_sync; /* came by SYNC: hears no +FULLRESYNC and sends no ACK */
    enum snapshot_scope scope;
    struct slot_set *slots; /* the RDB holds keys of these alone; owned; NULL: of all */
    struct slot_filter *filter; /* and so does the stream; owned */
    uint64_t
        next_offset; /* of the stream, to be sent next; pins the backlog from REPLICA_SNAPSHOT on */
    int64_t ack_offset, aof_ack_offset;
    int64_t ack_ms; /* monotonic */
    uint64_t soft_since_ms;
    size_t unsent_bytes;  /* at the last tick */
    uint64_t progress_ms; /* monotonic: when the socket took something of it */

    struct full_sync *sync;    /* full_sync.c; NULL: none, or over */
    struct replica *sync_next; /* of the same */
    uint64_t queued_ms;        /* monotonic: since when it waits for one */
    struct buf rdb;            /* a batch that waits for the socket */
    bool has_batch;            /* and was not given to it yet */
    bool rdb_started, rdb_ended;
    char *temp; /* without EOF marks: the file; owned */
    int fd;     /* of it, while it is sent; -1 */
    uint64_t file_at, file_size;
};

enum link_state {
    LINK_NONE,
    LINK_WAIT,
    LINK_RESOLVING,
    LINK_CONNECTING,
    LINK_HANDSHAKE,
    LINK_TRANSFER,
    LINK_LOADING, /* nothing is read from the socket */
    LINK_CONNECTED
};

struct master_link {
    struct engine *engine;
    enum link_state state;
    char *host; /* NULL: we are a master */
    int64_t port;
    int fd;          /* -1: none */
    struct transport transport;
    uv_poll_t *poll; /* NULL: none */
    struct buf in, out;
    struct psync psync;
    struct resp_request request; /* of the stream; it may be half read */
    struct client *client;       /* whom the stream is executed as; kept over breaks of the link */
    bool is_shown;               /* in CLIENT LIST, while connected */
    bool may_continue;           /* our history is the master's, as far as we know */
    uint64_t last_io_ms, retry_at_ms, last_ack_ms; /* monotonic */
    int64_t down_since_ms;
    uint64_t unproxied_bytes; /* of `in`, executed inside a MULTI that has not ended */
    int64_t read_offset;      /* of the last byte received */
    bool ack_waits;           /* the last one said less than we have, as the AOF has not got it */
    bool is_choked;           /* nothing is read: the AOF's disk is behind (aof_is_full) */
    int64_t synced_offset;    /* the AOF holds the stream up to here, on disk; -1: it does not */
    char *temp;               /* the RDB that is being received; owned */
    int temp_fd;
    uint64_t transfer_bytes, transfer_total;
    bool is_diskless;     /* this full copy is loaded from the socket */
    struct buf rdb;       /* of it: what came and is not loaded yet */
    bool rdb_ended;       /* and nothing comes behind it */
    uint64_t rdb_came_ms; /* monotonic */
    unsigned generation; /* answers of an older name lookup are dropped */
};

enum failover_state { FAILOVER_NONE, FAILOVER_WAIT_FOR_SYNC, FAILOVER_IN_PROGRESS };

struct failover {
    enum failover_state state;
    char *host; /* of the target; owned; NULL: the first that has everything */
    int64_t port;
    int64_t end_ms; /* wall clock; 0: never */
    bool force;     /* at the end of the time, even if the target has not got everything */
};

struct replication {
    struct engine *engine;
    struct history history;
    struct backlog backlog;
    uv_async_t news; /* of the backlog's thread */
    bool disk_failed; /* said in the log */
    struct replica *replicas;
    unsigned replica_count;
    int selected_db;    /* in the stream; -1: say it again */
    bool multi_pending; /* MULTI was said, and no command after it yet */
    bool fresh_bytes;   /* replicas are to be woken */
    bool ask_acks;      /* REPLCONF GETACK before the replies of this turn */
    struct buf scratch;
    uint64_t no_replicas_since_ms, last_ping_ms; /* monotonic */
    uint64_t full_syncs, partial_syncs, refused_partial_syncs;
    struct master_link link;
    struct failover failover;
};

static inline struct replication *replication_of(const struct engine *engine) {
    return engine->replication;
}
static inline uint64_t replication_now_ms(const struct replication *r) {
    return r->engine->now_us / 1000;
}

/* Make it, plug it in, bind its commands. After persistence_open(). */
void replication_open(struct engine *engine);

/* ---- replication.c ---- */
/* Append to the stream as it is (a master's words that say no data: PING, GETACK; a replica's
 * proxied bytes). */
void replication_feed(struct replication *r, struct slice bytes);
void replication_flush(struct replication *r); /* wake replicas, trim the backlog */
void replication_need_backlog(struct replication *r);
void replication_drop_backlog(struct replication *r);
/* The command NAME changed something that `oldest-replica` has no words for: all replicas need a full
 * copy. */
void replication_unsaid(struct engine *engine, struct slice name);
void replication_read_settings(struct engine *engine); /* replicaof, at start */
/* What an RDB file said about the stream, at start. EXPIRED: commands that delete what was not taken
 * from the file because its time had passed; who goes on from there has it still. */
void replication_take_place(struct engine *engine, const struct rdb_place *place,
                            const struct buf *expired);

/* ---- failover.c ---- */
void failover_command(struct client *c);
void failover_check(struct replication *r); /* each turn */
/* What the target of a failover that is in progress says to our PSYNC. */
void failover_answered(struct replication *r, bool is_accepted);
/* Our master asks by PSYNC that we take its place. False: an error was replied. */
bool failover_take_request(struct client *c, struct slice id, int64_t wanted);
const char *failover_state_name(const struct replication *r);

/* ---- replconf.c ---- */
void replconf_open(struct engine *engine);
struct replica *replica_of(struct client *c); /* NULL: has said nothing */

/* ---- replica.c ---- */
struct replica *replica_new(struct client *c);
void replica_start_full(struct replica *replica);
void replica_continue(struct replica *replica, uint64_t next_offset);
void replica_tick(struct replica *replica); /* once a second */
void replicas_disconnect(struct replication *r);
void replicas_drain(struct replication *r); /* the process is about to end */
void replica_address(const struct replica *replica, char *text, size_t size, int64_t *port);
const char *replica_state_name(const struct replica *replica);

/* ---- full_sync.c ---- */
/* Start a snapshot for FIRST, which is queued, and for all that can have the same. */
void full_sync_begin(struct replica *first);
bool full_sync_may_share(const struct replica *replica);
void full_sync_taken(struct replica *replica); /* its socket has the batch */
void full_sync_leave(struct replica *replica); /* it is about to be freed */

/* ---- master_link.c ---- */
void master_link_open(struct replication *r);
void master_link_set_master(struct replication *r, struct slice host,
                            int64_t port);            /* REPLICAOF host port */
void master_link_unset_master(struct replication *r); /* REPLICAOF NO ONE */
void master_link_tick(struct replication *r);
void master_link_check_killed(struct replication *r); /* CLIENT KILL of the master */
/* The connection is of no use any more; dial again after a moment. */
void master_link_lost(struct master_link *link, const char *words);
void master_link_send(struct master_link *link); /* what is in link->out */
const char *master_link_state_name(const struct master_link *link);

/* ---- master_load.c ---- */
MUST_CHECK enum err master_load_begin(struct master_link *link, struct why *why); /* FULLRESYNC */
/* The next bytes of the RDB. */
MUST_CHECK enum err master_load_take(struct master_link *link, struct slice bytes,
                                     struct why *why);
/* Load it, outside of the loop. Our data and our history are then the master's; after an error they
 * are empty, or (swapdb) as they were. */
MUST_CHECK enum err master_load_run(struct master_link *link, struct why *why);
void master_load_drop(struct master_link *link); /* what was received is not needed any more */

/* ---- master_stream.c ---- */
void obey_begin(struct master_link *link, int64_t db); /* db: selected; -1: as it was */
void obey_take(struct master_link *link);              /* obey what is whole in link->in */
void obey_reset(struct master_link *link); /* the link is gone: forget what is half said */
void obey_ack(struct master_link *link);

#endif

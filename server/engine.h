/* engine.h -- the server as a whole: what every command can reach, and where the parts are plugged
 * in.
 *
 * One thread runs everything here: the loop, the commands, all hooks. A turn of the loop:
 *
 *     read sockets, parse --> execute (batches) --> before_reply hooks (AOF) --> write replies -->
 * free clients
 *
 * Parts that the core does not know (persistence, replication) attach themselves by the
 * registration functions below, from one function each that groups.c names.
 */
#ifndef SERVER_ENGINE_H
#define SERVER_ENGINE_H

#include "lib/base/clock.h"
#include "lib/base/rand.h"
#include "server/client.h"
#include "server/command.h"
#include "server/config.h"
#include "server/keyspace.h"
#include "server/propagate.h"
#include "server/settings.h"

#include <uv.h>

#define SERVER_VERSION "7.0.15" /* the Redis whose behaviour this is */

enum role { ROLE_MASTER, ROLE_REPLICA };

struct engine_stats {
    uint64_t connections, rejected_connections, commands, hits, misses, expired, evicted,
        net_in_bytes, net_out_bytes, pubsub_messages, errors, unexpected_errors,
        expired_time_cap_reached, peak_clients, reads, writes;
    uint64_t expire_cycle_us, lazyfreed, evicted_clients, output_shrinks;
    uint64_t repl_in_bytes, repl_out_bytes; /* of the two in net_in_bytes and net_out_bytes */
    double ops_per_second;
    size_t memory_peak;
};

struct engine_rate { /* the last sample, and what it gave */
    uint64_t at_us, commands, in_bytes, out_bytes, repl_in_bytes, repl_out_bytes;
    double in_per_second, out_per_second, repl_in_per_second, repl_out_per_second;
};

struct engine {
    struct settings settings;
    const struct clock *clock;
    int64_t now_ms;  /* wall clock, read before every batch; what commands call now */
    uint64_t now_us; /* monotonic */
    struct rng rng;
    uv_loop_t *loop;
    struct db *dbs; /* settings.databases */
    int db_count;
    struct db_observer *observer; /* NULL: no point in time is being kept */
    /* By tables of a database (struct partitions): the colours of an entry that every snapshot has
     * (snapshot.c). */
    uint8_t snapshot_polarity[SLOT_CLUSTER_COUNT];
    enum role role;
    bool busy;          /* a script runs for long: only what may run meanwhile is served */
    bool evicts;        /* over maxmemory, perhaps: a slice of each turn goes into eviction */
    bool over_memory;   /* at the start of the last command that a client sent */
    bool loading;       /* a file or a full copy is being loaded: commands answer -LOADING */
    bool async_loading; /* a full copy is being loaded beside the data, which are served */
    bool in_loop;       /* the loop runs: it must not be run from inside */
    bool expire_active; /* DEBUG SET-ACTIVE-EXPIRE */
    bool tick_paused;   /* DEBUG PAUSE-CRON */
    bool shutting_down;
    struct ending { /* shutdown.c */
        bool asked;          /* by a signal, for the next tick */
        unsigned flags;      /* enum shutdown_flag */
        int64_t deadline_ms; /* until when replicas are waited for; 0: not */
    } ending;
    bool save_was_set; /* while options are read: `save` lines add up */
    uint64_t dirty;    /* changes since the last save */
    struct engine_stats stats;
    struct engine_rate rate;
    size_t memory_startup; /* bytes in use before data was loaded */
    size_t memory_seen; /* evict.c: bytes in use, at memory_seen_us */
    size_t memory_coming; /* evict.c: bytes of what was evicted and the helper has not freed yet */
    uint64_t memory_seen_us;
    char run_id[41];
    int64_t started_ms;
    char *config_file; /* absolute, or NULL */

    struct client *clients, *last_client; /* all with a socket, oldest first */
    uint64_t client_count, next_client_id;
    struct client *current; /* whose command runs now, or NULL */
    int nesting;            /* of executions: EXEC, scripts */

    /* What the other parts of the core keep; each file has its own. */
    struct command_use *uses; /* command_count of them */
    struct engine_config *config;
    struct engine_propagate *propagation;
    struct engine_block *blocking;
    struct engine_pubsub *pubsub;
    struct engine_monitor *monitor;
    struct engine_slowlog *slowlog;
    struct engine_latency *latency;
    struct engine_hooks *hooks;
    struct engine_lazy *lazy;
    struct engine_net *net;
    struct tls *tls; /* of tls-port; NULL: none yet (transport.h) */
    struct engine_pause *pause;
    struct engine_errors *errors;
    struct engine_client_memory *client_memory;
    struct rename *renames; /* rename.c; NULL: none */
    struct engine_acl *acl;
    struct engine_tracking *tracking; /* NULL: nobody ever asked for it */
    struct table client_ids;          /* clients by id */
    struct snapshots *snapshots; /* NULL: there was none yet */
    struct batch *batch;
    void (*later)(struct engine *engine); /* engine_later(); NULL: nothing */
    struct engine_metrics *metrics; /* NULL: not served */
    struct turn_costs *turn_costs;  /* NULL: not measured (turn_cost.h) */
    struct migrate_sockets *migrate_sockets;
    struct value replica_expiry; /* a set; ptr NULL: none yet (replica_expiry.h) */
    struct engine_scripts *scripts;
    /* Those of the other groups, set by them. */
    void *persistence, *replication;
    struct cluster *cluster; /* NULL: not in cluster mode (cluster.h) */
};

static inline int64_t engine_now_ms(const struct engine *engine) {
    return engine->now_ms;
}
/* Read the clocks again (after something that took long). */
void engine_read_clock(struct engine *engine);

/* Something long, which runs turns itself now and then: FN is called outside of the loop, soon. One
 * at a time. */
void engine_later(struct engine *engine, void (*fn)(struct engine *engine));
/* May a turn be run from here, and one turn without waiting for anything. */
static inline bool engine_may_serve(const struct engine *engine) {
    return !engine->in_loop;
}
void engine_serve_once(struct engine *engine);
/* A replica whose master is away, and that may not answer with old data. */
bool engine_is_stale(const struct engine *engine);

/* What the replication stream costs; replication answers. `unsent`: the memory of what is only
 * there because replicas have not been sent it. */
struct stream_memory {
    size_t backlog, unsent;
    size_t aof; /* bytes of the AOF that are not written yet */
    uint64_t on_disk;
};
void engine_stream_memory(const struct engine *engine, struct stream_memory *memory);
void engine_stream_reset_stats(struct engine *engine); /* CONFIG RESETSTAT */

/* A line in the log, in Redis's form. LEVEL: '.' debug, '-' verbose, '*' notice, '#' warning. */
void engine_log(struct engine *engine, char level, const char *fmt, ...) PRINTF(3, 4);

/* ---- plugging in; each for the life of the engine ---- */

typedef void engine_hook(struct engine *engine);
enum hook_kind {
    HOOK_BEFORE_REPLY, /* each turn that executed something, before any reply is sent */
    HOOK_TICK,         /* settings.hz times a second */
    HOOK_STARTED,      /* settings read, listening: load data here (loading.h) */
    HOOK_READY,        /* data loaded */
    HOOK_SHUTDOWN,     /* SHUTDOWN or a signal; see engine_shutdown */
    HOOK_FLUSHED,      /* FLUSHALL was executed */
    HOOK_KINDS
};
void engine_hook_add(struct engine *engine, enum hook_kind kind, engine_hook *fn);

/* A part of an INFO section ("persistence", "replication", ...): called to append "name:value\r\n"
 * lines. */
void engine_info_add(struct engine *engine, const char *section,
                     void (*fn)(struct engine *engine, struct buf *out));

/* DEBUG NAME ...: HELP_LINE as in DEBUG HELP. */
void engine_debug_add(struct engine *engine, const char *name, command_run *run,
                      const char *help_line);

/* May the command run now? A gate says why not by engine_refuse() and answers false (MISCONF,
 * NOREPLICAS and MASTERDOWN are such). Called for every command that a client sends, before it runs
 * or is queued; ask engine_command_flags(), which knows what EXEC is going to run. */
typedef bool command_gate(struct client *c, const struct command *command);
void engine_gate_add(struct engine *engine, command_gate *gate);

uint32_t engine_command_flags(struct client *c, const struct command *spec);
/* Refuse the client's command: the error is replied, and a transaction that is being queued is
 * spoilt. */
void engine_refuse(struct client *c, const char *fmt, ...) PRINTF(2, 3);

/* WAIT: how many replicas have confirmed everything up to now; replication sets it. */
struct engine_acks {
    int64_t (*offset)(struct engine *engine);                /* of the master's stream */
    int (*confirmed)(struct engine *engine, int64_t offset); /* replicas that have OFFSET */
    void (*ask)(struct engine *engine);                      /* REPLCONF GETACK * */
    int (*count)(struct engine *engine);                     /* replicas, in whatever state */
    void (*log_lagging)(struct engine *engine);              /* a line for each that lags */
};
void engine_acks_set(struct engine *engine, const struct engine_acks *acks);
void engine_acks_changed(struct engine *engine); /* some replica confirmed more: WAIT looks again */

/* SHUTDOWN (shutdown.h): a step that answers true, with WHY set, refuses (an RDB could not be
 * saved). */
enum shutdown_flag { SHUTDOWN_SAVE = 1, SHUTDOWN_NOSAVE = 2, SHUTDOWN_NOW = 4, SHUTDOWN_FORCE = 8 };
typedef bool shutdown_step(struct engine *engine, unsigned flags, struct why *why);
void engine_shutdown_add(struct engine *engine, shutdown_step *step);

#endif

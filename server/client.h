/* client.h -- one connection, or something that acts like one (the master link, AOF loading,
 * scripts).
 *
 * A command handler gets its client: the arguments are c->argv[0 .. argc-1] (argv[0] is the name as
 * it was sent). They are borrowed from the input and die when the handler returns; a blocked or
 * queued command gets a copy from the core. Handlers never free or keep clients: an id is what may
 * be kept (client_by_id). A client that must go is marked by client_close_later() and freed at the
 * end of the turn.
 *
 * Fake clients (client_new_fake) have no socket; replies are collected in `out` or, with
 * CLIENT_MUTE, thrown away.
 */
#ifndef SERVER_CLIENT_H
#define SERVER_CLIENT_H

#include "lib/base/buf.h"
#include "lib/base/slice.h"
#include "server/keyspace.h"
#include "server/transport.h"

#include <uv.h>

struct acl_user;
struct command;
struct engine;
struct client_block;
struct client_pubsub;
struct client_multi;

enum client_flag {
    CLIENT_FAKE = 1 << 0, /* no socket */
    CLIENT_MUTE = 1 << 1, /* replies are thrown away (the master link) */
    CLIENT_MASTER =
        1 << 2, /* the link to our master: writes allowed on a read-only replica, never expired */
    CLIENT_REPLICA = 1 << 3, /* one of our replicas (replication owns c->replica) */
    CLIENT_MONITOR = 1 << 4,
    CLIENT_MULTI = 1 << 5,      /* between MULTI and EXEC: commands are queued */
    CLIENT_EXECUTING = 1 << 6,  /* inside EXEC or a script: must not block */
    CLIENT_DIRTY_EXEC = 1 << 7, /* a queued command was refused */
    CLIENT_DIRTY_CAS = 1 << 8,  /* a watched key changed */
    CLIENT_BLOCKED = 1 << 9,
    CLIENT_CLOSING = 1 << 10,   /* close after the reply was sent; no more commands are read */
    CLIENT_CLOSE_NOW = 1 << 11, /* freed at the end of the turn */
    CLIENT_REPLY_OFF = 1 << 12,
    CLIENT_REPLY_SKIP_NEXT = 1 << 13,
    CLIENT_REPLY_SKIP = 1 << 14,
    CLIENT_PUBSUB = 1 << 15,        /* RESP2 with at least one subscription */
    CLIENT_IMPORT_SOURCE = 1 << 16, /* import mode: sees expired keys, may set past expiries (C8) */
    CLIENT_NO_EVICT = 1 << 17,
    CLIENT_NO_TOUCH = 1 << 18,
    CLIENT_LOADING =
        1 << 19, /* executes what a file says: no propagation, no expiry, no checks of state */
    CLIENT_PAUSED = 1 << 20, /* its next command waits for the end of CLIENT PAUSE */
    CLIENT_UNIX = 1 << 21,
    CLIENT_ASKED_PUSH = 1 << 22,
    CLIENT_FORCE_REPL = 1 << 23,   /* this command is propagated whatever its dirty count says */
    CLIENT_PREVENT_PROP = 1 << 24, /* this command is not propagated */
    CLIENT_FAILED = 1 << 25,       /* this command replied an error */
    CLIENT_READ_PAUSED = 1 << 26,
    CLIENT_SCRIPT = 1 << 27,
    CLIENT_ASKING = 1 << 28,   /* the next command may use a slot that is coming (cluster.h) */
    CLIENT_READONLY = 1 << 29, /* may read of a replica what its master serves */
};

struct client {
    struct engine *engine;
    struct db *db; /* the selected one */
    int argc;
    struct slice *argv;            /* see above for who owns the bytes */
    const struct command *command; /* of lib/redis/command.h: the one that runs (or is blocked) */
    uint64_t flags;                /* enum client_flag */
    int resp;                      /* 2 or 3 */
    struct buf out;                /* replies not yet sent */
    uint64_t id;

    /* For whoever takes a connection over (PSYNC: the replica's stream). Called when `out` has been
     * sent completely and the socket takes more; appends to `out` what comes next, if anything. */
    void (*refill)(struct client *c);
    /* Called once before the client is freed. */
    void (*on_free)(struct client *c);
    void *owner_data; /* of the two above and of CLIENT_MASTER/REPLICA's owner */

    /* ---- the core's own ---- */
    int fd; /* -1: none */
    struct transport transport;
    uv_poll_t *poll;
    struct buf in;
    struct client *next, *prev;               /* engine->clients */
    struct client *next_pending, *next_ready; /* lists of this turn */
    /* output_wait.c: the length of the AOF that the first waiting_bytes of `out` wait for (0: not in
     * line), and the one for what came behind them (0: nothing did) */
    uint64_t waits_for_aof, waits_next;
    size_t waiting_bytes;
    struct client *next_waiting;
    bool is_pending_out, is_pending_free, is_ready, wants_write;
    /* SCRIPT DEBUG: what its next EVAL does (script_debug.h) */
    enum client_debugs { CLIENT_DEBUGS_NOT, CLIENT_DEBUGS_COPY, CLIENT_DEBUGS_HERE } debugs;
    bool authenticated;
    struct acl_user *user;           /* of engine->acl; NULL: may do everything (acl.h) */
    char *name, *lib_name, *lib_ver; /* NULL: none; mem_free */
    char peer[64], local[64];
    int64_t created_ms;
    uint64_t active_ms;                 /* monotonic, of the last request */
    uint64_t soft_limit_since_ms;       /* monotonic; 0: below */
    size_t collected;                   /* bytes of a fake client's replies */
    struct client_block *block;         /* while CLIENT_BLOCKED */
    int64_t wait_offset, wait_replicas; /* WAIT */
    struct client_pubsub *pubsub;       /* NULL: no subscription ever */
    struct client_tracking *tracking;   /* NULL: off */
    struct client_multi *multi;         /* NULL: never in MULTI or WATCH */
    const struct command *last_command;
    struct slice hashed_key; /* the key whose hash is key_hash (fetched ahead); borrowed */
    uint64_t key_hash;
    unsigned key_table;
    int slot; /* cluster mode: of the request's keys, or of its script's; -1: none */
    uint64_t bytes_in, commands;
    size_t in_peak;       /* bytes of input that waited, or were asked for, since the last tick */
    uint64_t out_used_ms; /* monotonic, when `out` was last much filled */
    size_t counted_bytes; /* client_memory.c: in the sum */
    struct client *bucket_next, *bucket_prev;
    uint8_t bucket;
    bool in_bucket;
    void *request;       /* the reader of requests */
    bool again, rewound; /* turn.c */
    bool is_held;        /* a script of it is busy: neither read nor freed (net_hold) */
};

/* A client for an open, connected socket; the core reads requests from it. NULL: over maxclients.
 */
struct client *client_new(struct engine *engine, int fd, bool is_unix);
/* One without a socket. Free with client_free_fake(). */
struct client *client_new_fake(struct engine *engine, uint64_t flags);
void client_free_fake(struct client *c);
/* Let CLIENT LIST and CLIENT KILL see it, with `peer` as its address; it is not counted. Killed: it
 * gets CLIENT_CLOSE_NOW, and its owner looks for that. Hide it before it is freed. */
void client_show_fake(struct client *c);
void client_hide_fake(struct client *c);
struct client *client_by_id(struct engine *engine, uint64_t id);

/* Freed at the end of this turn; what is in `out` is lost. Harmless when repeated. */
void client_close_later(struct client *c);
/* Closed when `out` has been sent. */
void client_close_after_reply(struct client *c);
/* Something was put into c->out from outside of a command (push messages, a replica's stream). */
void client_wake_writer(struct client *c);

/* Execute ARGV as this client would (EXEC's queue, AOF loading, the master's stream): looks the
 * command up, checks, calls. The bytes are borrowed for the call. */
void client_execute(struct client *c, int argc, struct slice *argv);

#endif

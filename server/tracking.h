/* tracking.h -- client-side caching: who has read which keys, and telling them when these change.
 *
 *     a read command --> table of keys --> ids of the clients that may have cached them
 *     key_touched()  --> those clients are told, and the key is forgotten
 *     BCAST          --> keys that begin with a prefix are collected and told at the end of a turn
 *
 * What is pushed never stands inside of a reply: for the client whose command runs it waits until
 * the command is over. The table holds at most tracking-table-max-keys keys; beyond that, keys are
 * thrown out as if they had changed. Names are the same for all databases.
 * Source: tracking.c of Redis 7.0.
 */
#ifndef SERVER_TRACKING_H
#define SERVER_TRACKING_H

#include "server/keyspace.h"

struct client_tracking {
    bool on, bcast, optin, optout, noloop;
    bool caching;      /* CLIENT CACHING was said for the next command */
    bool broken;       /* the client to redirect to is gone */
    uint64_t redirect; /* id; 0: to the client itself */
    struct prefix **prefixes;
    size_t prefix_count;
};

/* The command has run and only read: its keys are the client's now. */
void tracking_remember(struct client *c);
/* A key changed, by C (NULL: by expiry or eviction). */
void tracking_key_changed(struct engine *engine, struct client *c, struct slice key);
/* All keys of a database are gone. */
void tracking_flushed(struct engine *engine);
/* A command, or all of a transaction, is over: what waited for it is pushed. */
void tracking_command_over(struct client *c);
/* Before a command: keep the table within its bound. */
void tracking_limit(struct engine *engine);
void tracking_forget(struct client *c); /* ends it; also when the client is freed */

struct tracking_totals {
    uint64_t clients, keys, items, prefixes;
};
struct tracking_totals tracking_totals(const struct engine *engine);
size_t tracking_memory(const struct client *c);

void tracking_open(struct engine *engine);
void tracking_commands_bind(struct engine *engine);

#endif

/* cluster.h -- cluster mode: which requests this server answers, and where it sends the others.
 *
 * With cluster-enabled the server knows a topology (topology.h), kept in cluster-config-file and
 * changed by CLUSTER commands and by DRAWBRIDGE TOPOLOGY SET. There is no gossip: each server is
 * told for itself. Only what clients publish goes from node to node (cluster_bus.h). Every change is written (fs_replace) before it is answered; if that fails the server
 * says so in its log, and goes on with what it was told.
 *
 * How a request goes (cluster_admits), as getNodeByQuery() of Redis 7.0 decides:
 *
 *     no keys ........................................ here
 *     keys of two slots .............................. CROSSSLOT
 *     slot without owner, or the cluster is down ..... CLUSTERDOWN
 *     slot is ours and leaves; some keys are gone .... TRYAGAIN (others are here), else ASK
 *     slot comes, and the client said ASKING ......... here (TRYAGAIN: several keys, some missing)
 *     slot of our master, READONLY, no write ......... here
 *     slot of another ................................ MOVED
 */
#ifndef SERVER_CLUSTER_H
#define SERVER_CLUSTER_H

#include "server/client.h"
#include "server/topology.h"

/* cluster-preferred-endpoint-type */
enum cluster_endpoint { CLUSTER_ENDPOINT_IP, CLUSTER_ENDPOINT_HOSTNAME, CLUSTER_ENDPOINT_UNKNOWN };
#define CLUSTER_HOSTNAME_MAX 255

struct cluster {
    struct topology *topology; /* owned; replaced whole by DRAWBRIDGE TOPOLOGY SET */
    bool names_itself;         /* our host name is that of cluster-announce-hostname */
    struct cluster_bus *bus;   /* cluster_bus.h; NULL: nobody to talk to yet */
};

/* Reads or makes the file, binds the commands. Harmless without cluster-enabled. */
MUST_CHECK enum err cluster_open(struct engine *engine, struct why *why);
void cluster_commands_bind(struct engine *engine);

/* May the client's command run here? False with the error replied. Only in cluster mode. */
bool cluster_admits(struct client *c, const struct command *command);
/* May a script's command run here? NULL: yes, and *SLOT is that of its keys (-1: it has none). C is
 * the script's client with the request, CALLER who runs the script. */
const char *cluster_refuses_call(struct client *c, const struct client *caller,
                                 const struct command *command, int *slot);
/* Every slot has an owner, or cluster-require-full-coverage is off. */
bool cluster_is_ok(const struct engine *engine);

/* By which port a client like C reaches NODE: that of TLS if C came by TLS. */
int cluster_port(const struct client *c, const struct node *node);
/* By which port we follow NODE: that of TLS with tls-replication. */
int cluster_replication_port(const struct engine *engine, const struct node *node);
/* What clients are told to connect to; empty: to where they are connected. */
const char *cluster_endpoint(const struct engine *engine, const struct node *node);
/* Our own address, ports and name as the options have them now. */
void cluster_announce(struct engine *engine);
/* The topology has changed: write it, and send blocked clients where their keys are now. */
void cluster_changed(struct engine *engine);
/* Keys in a slot: counted all the time in cluster mode, O(1). */
uint64_t cluster_count_keys(const struct engine *engine, unsigned slot);

/* DRAWBRIDGE TOPOLOGY ... */
void cluster_topology_command(struct client *c);
void cluster_info_put(struct engine *engine, struct buf *out); /* of CLUSTER INFO */

/* ---- cluster_reports.c ---- */
void cluster_reply_slots(struct client *c);
void cluster_reply_shards(struct client *c);
void cluster_reply_replicas(struct client *c, const struct node *master);

#endif

/* topology.h -- who serves which slot: nodes, owners, slots that move. No I/O.
 *
 * The text form is that of a nodes.conf of Redis 7.0: a line per node
 *
 *     ID HOST:PORT@BUSPORT[,[HOSTNAME][,tls-port=PORT]] FLAGS MASTER|- PING PONG EPOCH LINK [SLOT |
 * FROM-TO | [SLOT->-ID] | [SLOT-<-ID]] ...
 *
 * and at the end "vars currentEpoch N lastVoteEpoch M". The line whose flags have `myself` is this
 * server. The text comes from a file or an operator: every field is checked, at most
 * TOPOLOGY_NODES_MAX nodes, and what is wrong is told with its line.
 *
 * Pointers to nodes are the topology's, and live until it is closed or the node is forgotten.
 */
#ifndef SERVER_TOPOLOGY_H
#define SERVER_TOPOLOGY_H

#include "lib/base/buf.h"
#include "lib/base/why.h"
#include "lib/redis/slot.h"

#define TOPOLOGY_NODES_MAX 1000
#define TOPOLOGY_ID 40
#define TOPOLOGY_TEXT_MAX (4u << 20) /* bytes */

struct node {
    char id[TOPOLOGY_ID + 1]; /* 40 lower case letters and digits */
    char host[64];            /* an address; empty: not known (only for ourselves) */
    char hostname[256];       /* empty: none */
    int port, bus_port;       /* port 0: the node speaks TLS only */
    int tls_port;             /* 0: not known, or none */
    struct node *master;      /* NULL: it is one itself */
    uint64_t epoch;
    bool is_failed;
    uint32_t slots; /* how many it owns */
};

struct topology {
    struct node *nodes[TOPOLOGY_NODES_MAX]; /* in the order in which they came */
    size_t count;
    struct node *myself;
    struct node *owner[SLOT_CLUSTER_COUNT];     /* NULL: nobody */
    struct node *migrating[SLOT_CLUSTER_COUNT]; /* to; NULL: stays */
    struct node *importing[SLOT_CLUSTER_COUNT]; /* from; NULL: nothing comes */
    uint64_t epoch;
};

/* One node, ourselves, without slots. ID NULL: a random one. */
struct topology *topology_new(const char *id, int port);
void topology_free(struct topology *topology);

/* ERR_CORRUPT: WHY names the line. MYSELF NULL: the text says it by a flag; else this id is us
 * whatever the flags say. */
MUST_CHECK enum err topology_read(struct slice text, const char *myself, struct topology **topology,
                                  struct why *why);
void topology_write(const struct topology *topology, struct buf *out);
/* One node's line, without the line break, as CLUSTER NODES shows it to a client that may use PORT.
 */
void topology_write_node(const struct topology *topology, const struct node *node, int port,
                         struct buf *out);

struct node *topology_find(const struct topology *topology, struct slice id); /* NULL: unknown */
void topology_assign(struct topology *topology, unsigned slot, struct node *owner);
void topology_forget(struct topology *topology, struct node *node); /* not ourselves */
/* Masters that own slots. */
size_t topology_size(const struct topology *topology);
/* Is our epoch higher than all others'? If not make it so; returns whether it changed. */
bool topology_bump_epoch(struct topology *topology);

#endif

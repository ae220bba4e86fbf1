/* topology_plan.h -- the cluster of bundled servers as the configuration wants it: read, written
 * for a node, compared with what a node has. No I/O.
 *
 * `topology.nodes` has a line for each node:
 *
 *     NAME HOST:PORT SLOT|FROM-TO ...        a master
 *     NAME HOST:PORT replica-of NAME         a replica of a master
 *
 * and `topology.epoch` is the version of the whole. A node's id is made of its name, so that the
 * same file means the same cluster whenever it is read. Each node is told all of it by DRAWBRIDGE
 * TOPOLOGY SET (docs/CLUSTER.md), in which the epochs of the masters are one lower than the
 * version: whatever changes a node by hand afterwards (SETSLOT, FAILOVER) gives it a higher epoch
 * than the version, and shows.
 *
 * The texts are an operator's and a server's: nothing of them is believed.
 */
#ifndef STATE_TOPOLOGY_PLAN_H
#define STATE_TOPOLOGY_PLAN_H

#include "lib/base/buf.h"
#include "lib/base/why.h"
#include "lib/redis/slot.h"

#define PLAN_NODES_MAX 256
#define PLAN_NAME_BYTES 65
#define PLAN_HOST_BYTES 64 /* of the server's own limit */
#define PLAN_ID 40
#define PLAN_NOBODY UINT16_MAX

struct plan_node {
    char name[PLAN_NAME_BYTES], id[PLAN_ID + 1], host[PLAN_HOST_BYTES];
    int port;
    int master; /* index; -1: it is one itself */
};

struct topology_plan {
    int64_t epoch; /* at least 1 */
    bool tls;      /* the ports are ports with TLS */
    size_t count;
    struct plan_node nodes[PLAN_NODES_MAX];
    uint16_t owner[SLOT_CLUSTER_COUNT]; /* index, or PLAN_NOBODY */
};

/* ERR_CONFIG: WHY names the line. *PLAN is the caller's (mem_free). */
MUST_CHECK enum err topology_plan_read(struct slice nodes, int64_t epoch, bool tls,
                                       struct topology_plan **plan, struct why *why);
/* What the node NODE is told. */
void topology_plan_write(const struct topology_plan *plan, size_t node, struct buf *out);
bool topology_plan_equal(const struct topology_plan *a, const struct topology_plan *b);
unsigned topology_plan_unowned(const struct topology_plan *plan); /* slots without a node */

/* What a node has, by its answer to TOPOLOGY GET. */
enum plan_verdict {
    PLAN_SAME,
    PLAN_OLDER,     /* tell it */
    PLAN_NEWER,     /* it has a higher epoch: leave it alone */
    PLAN_DIFFERENT, /* the same epoch, but other nodes or slots: somebody changed it by hand */
    PLAN_UNREADABLE
};
/* *EPOCH: what the node has; 0 when that cannot be read. WHY: what is different. */
enum plan_verdict topology_plan_compare(const struct topology_plan *plan, size_t node,
                                        struct slice text, int64_t *epoch, struct why *why);

#endif

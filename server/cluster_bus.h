/* cluster_bus.h -- PUBLISH and SPUBLISH across the nodes of a cluster of ours.
 *
 * What a client publishes at one node goes to the others over ordinary connections, as
 * DRAWBRIDGE PUBLISH (to all) and DRAWBRIDGE SPUBLISH (to the nodes of the same shard); the node
 * that gets it delivers it to its own subscribers and sends it nowhere, so nothing goes round. As
 * on the bus of Redis nobody waits for it, nothing is repeated, and replicas have it from here, not
 * from the replication stream.
 *
 *     engine --mailbox--> thread with a loop --+--> node b
 *                                              +--> node c
 *
 * Bounds: BUS_WAITING_MAX bytes on the way to the thread, BUS_QUEUE_MAX for each node that takes
 * nothing. Beyond these, and for a node that is not connected, messages are dropped and counted.
 * The nodes are asked with masteruser and masterauth, and by TLS as replication is.
 */
#ifndef SERVER_CLUSTER_BUS_H
#define SERVER_CLUSTER_BUS_H

#include "lib/base/slice.h"

#include <stdbool.h>

struct engine;

#define BUS_WAITING_MAX (32u << 20) /* bytes */
#define BUS_QUEUE_MAX (32u << 20)   /* bytes */

/* The topology is another one, or we are starting: whom to send to. Only in cluster mode. */
void cluster_bus_learn(struct engine *engine);
void cluster_bus_publish(struct engine *engine, struct slice channel, struct slice message,
                         bool sharded);
void cluster_bus_close(struct engine *engine); /* fine without */

struct cluster_bus_counts {
    uint64_t sent, dropped; /* messages, for each node once */
};
struct cluster_bus_counts cluster_bus_counts(const struct engine *engine);

#endif

/* shards_map.h -- which node of a Redis Cluster owns which slot, read from what its nodes say.
 *
 * CLUSTER SLOTS names the owners of slots and how they want to be reached; CLUSTER NODES adds the
 * nodes that own nothing yet, what each node is (master, failed), and the slots that the node which
 * answers is giving or getting just now. A map is made for each look and compared with the one
 * before; whoever keeps connections knows a node by its id, which never changes.
 *
 * Hostile input: the answers may be anything. At most SHARDS_NODES_MAX nodes; names, ports, ids and
 * slots are checked before they are stored; what does not fit is an error, and the map is not used.
 * Nothing is dialled because a redirection says so: it only names a node of the map.
 * Source: CLUSTER SLOTS, CLUSTER NODES and redirections of Redis 4.0 to 7.0.
 */
#ifndef LIB_REDIS_SHARDS_MAP_H
#define LIB_REDIS_SHARDS_MAP_H

#include "lib/base/slice.h"
#include "lib/base/why.h"
#include "lib/redis/reply.h"
#include "lib/redis/slot.h"

#define SHARDS_NODES_MAX 512u
#define SHARDS_NOBODY UINT16_MAX
#define SHARDS_SLOTS SLOT_CLUSTER_COUNT
#define SHARDS_ID 40u

struct shards_node {
    char id[SHARDS_ID + 1];
    char host[256]; /* as CLUSTER SLOTS says; else as CLUSTER NODES does */
    char ip[64];    /* of CLUSTER NODES; may be empty */
    uint16_t port;
    bool master, failed; /* as CLUSTER NODES says */
    unsigned slots;      /* that it owns */
};

struct shards_map {
    size_t count;
    struct shards_node node[SHARDS_NODES_MAX];
    uint16_t owner[SHARDS_SLOTS]; /* index into node[], or SHARDS_NOBODY */
};

/* REPLY is that of CLUSTER SLOTS; a node without a name of its own is where HOST is. MAP is made
 * anew, and of use only after OK. */
MUST_CHECK enum err shards_map_read(struct shards_map *map, const struct resp_reply *reply,
                                    const char *host, struct why *why);

/* TEXT is that of CLUSTER NODES: adds to MAP what it does not have. Lines that are not understood
 * are passed over. */
void shards_map_add(struct shards_map *map, struct slice text);

/* The slots that the node which said TEXT is giving away or getting: sets their bits. */
void shards_moving(struct slice text, uint64_t moving[SHARDS_SLOTS / 64]);

size_t shards_map_find(const struct shards_map *map, const char *id); /* map->count: not there */

enum shards_redirection { SHARDS_FINE, SHARDS_MOVED, SHARDS_ASK, SHARDS_LATER };

/* What an error line says: MOVED and ASK, with slot and place; TRYAGAIN and CLUSTERDOWN: the same
 * again, later; anything else is an answer. HOST is empty when the place is on the host that
 * answered. */
struct shards_redirect {
    enum shards_redirection kind;
    uint16_t slot;
    char host[256];
    uint16_t port;
};
void shards_redirect_read(struct slice line, struct shards_redirect *redirect);

#endif

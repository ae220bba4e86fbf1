/* side.h -- state's own connection to one side: what it is, how it fares, and the barrier's steps
 * there.
 *
 * It is dialled again half a second after it broke. Each second it asks INFO and TIME, every third
 * second CLIENT LIST; the answers are `side_facts()`. What the barrier asks for goes down the same
 * connection and is answered by one callback, exactly once; while nobody is connected it fails at
 * once. Replies are untrusted: fields that are not there stay unknown.
 */
#ifndef STATE_SIDE_H
#define STATE_SIDE_H

#include "lib/control/config.h"
#include "state/gates.h"

struct loop;
struct side_admin;

struct side_facts {
    struct gates_side gate;
    char version[32];   /* redis_version */
    char mode[16];      /* "standalone", "cluster" */
    struct place place; /* as of the last INFO */
    int64_t connected_replicas, keys;
    int64_t ops_per_s, clients;
    bool aof;
    int64_t heard_ms; /* monotonic, of the last INFO; 0: never */
};

struct side_admin *side_open(struct loop *loop, enum side side, const struct config_side *config);
void side_close(struct side_admin *admin); /* pending callbacks are not called */
const struct side_facts *side_facts(const struct side_admin *admin);

/* What a step ends with. */
struct side_result {
    enum err err;
    const char *why; /* "" when OK; dead when you return */
    bool refused;    /* fence: the side forbids CLIENT LIST or KILL */
    int64_t count;   /* fence: killed; sync: 1 when the fsync is proved, 0 when it cannot be */
    struct place place;
};
typedef void side_on_result(void *self, const struct side_result *result);

/* Replication id and offset, read now; fails when the side is not a master. */
void side_read_place(struct side_admin *admin, side_on_result *on_result, void *self);

/* Kill every connection named drawbridge-gw:NAME:... for which KEEP(NAME) is false, and see in
 * CLIENT LIST that none is left (C25); of a Cluster, at every node, masters and replicas. */
void side_fence(struct side_admin *admin, bool (*keep)(void *self, const char *name, size_t bytes),
                side_on_result *on_result, void *self);

/* What was written is fsynced (WAITAOF, where known), and every replica but OWN_REPLICAS of them,
 * which are our links, has it. */
void side_sync(struct side_admin *admin, int64_t own_replicas, uint32_t budget_ms,
               side_on_result *on_result, void *self);

/* It is the primary side now: a bundled server learns the epoch and leaves import mode. */
void side_open_primary(struct side_admin *admin, uint64_t epoch, side_on_result *on_result,
                       void *self);

#endif

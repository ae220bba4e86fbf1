/* topology_push.h -- tells each node of our cluster the topology of the configuration, and sees
 * that it has it.
 *
 * A connection to every node; it is dialled again half a second after it broke. Each two seconds,
 * and as soon as a node is there, it is asked what it has (TOPOLOGY GET). Older: it is told the
 * plan, and asked again. Confirmed is only what was read back. A node that has a higher epoch, or
 * the same with other contents, was changed by somebody else: it is left alone and named, until
 * the file has a higher epoch.
 *
 *     away ---> asked ---> confirmed
 *       ^         |  ^----- told
 *       |         +-------> newer, different, refused    (asked again and again)
 *       +--- any, when the connection breaks
 */
#ifndef STATE_TOPOLOGY_PUSH_H
#define STATE_TOPOLOGY_PUSH_H

#include "lib/control/config.h"
#include "state/topology_plan.h"

struct loop;
struct topology_push;

enum push_state {
    PUSH_AWAY,
    PUSH_ASKED,
    PUSH_CONFIRMED,
    PUSH_NEWER,
    PUSH_DIFFERENT,
    PUSH_REFUSED,
    PUSH_STATES
};

struct push_node {
    const struct plan_node *node; /* lives until the plan is replaced */
    enum push_state state;
    int64_t epoch;   /* what it has; 0: not known */
    const char *why; /* "" unless something is wrong */
};

/* TLS and password are those of SIDE, which outlives this. PLAN becomes ours. ON_CHANGE: all nodes
 * have confirmed that had not before, or no longer have. */
struct topology_push *topology_push_open(struct loop *loop, const struct config_side *side,
                                         struct topology_plan *plan,
                                         void (*on_change)(void *self, bool all), void *self);
void topology_push_close(struct topology_push *push); /* NULL is fine */
/* Another plan: PLAN becomes ours when it is OK. ERR_STATE: its epoch is lower than the present
 * one's, or it is another topology with the same epoch. */
MUST_CHECK enum err topology_push_replace(struct topology_push *push, struct topology_plan *plan,
                                          struct why *why);

const struct topology_plan *topology_push_plan(const struct topology_push *push);
struct push_node topology_push_node(const struct topology_push *push, size_t at);
size_t topology_push_confirmed(const struct topology_push *push);
const char *push_state_name(enum push_state state);

#endif

/* side_inside.h -- what side.c and side_steps.c share. */
#ifndef STATE_SIDE_INSIDE_H
#define STATE_SIDE_INSIDE_H

#include "lib/control/rconn.h"
#include "lib/net/loop.h"
#include "lib/redis/reply.h"
#include "state/side.h"

struct side_admin {
    struct loop *loop;
    enum side side;
    const struct config_side *config;
    struct rconn *conn; /* NULL: waiting to dial again */
    struct loop_timer redial, probe;
    struct side_facts facts;
    unsigned probes;
    char evicted_run[41]; /* of which run evicted_base is */
    int64_t evicted_base;
    int64_t time_asked_ms; /* wall clock, when TIME left */
};

/* One line of CLIENT LIST, as far as we care. Slices point into the reply. */
struct client_line {
    struct slice id, addr, name, flags, cmd; /* cmd: the last one, "client|list" */
    int64_t age_s;
};
/* The next line of TEXT; false at its end. */
bool client_list_next(struct slice *text, struct client_line *line);
/* The gateway's name in "drawbridge-gw:NAME:EPOCH:LOOP-N"; false: it is no gateway's. */
bool client_gateway_name(struct slice connection, struct slice *name);

/* side_fence() of a Cluster: all its nodes (side_nodes.c). */
void side_fence_nodes(struct side_admin *admin,
                      bool (*keep)(void *self, const char *name, size_t bytes),
                      side_on_result *on_result, void *self);

/* Reads an INFO reply into FACTS. */
void side_read_info(struct side_admin *admin, struct slice info);
bool side_info_int(struct slice info, const char *field, int64_t *number);
void side_info_text(struct slice info, const char *field, char *to, size_t size);
/* The history that INFO (the whole) tells; before 4.0 it is the server's own run id. */
void side_info_replid(struct slice info, char replid[41]);

#endif

/* tracking_inside.h -- what tracking*.c share. */
#ifndef SERVER_TRACKING_INSIDE_H
#define SERVER_TRACKING_INSIDE_H

#include "server/engine.h"
#include "server/tracking.h"

struct engine_tracking {
    struct table keys; /* of tracked_key */
    uint64_t items, clients, prefix_count;
    unsigned over_limit; /* turns in a row that did not get the table under its bound */
    struct prefix *prefixes;
    struct told_later *pending, **pending_end;
};

/* Turn it on, or change its options; PREFIXES are copied. The options were checked. */
void tracking_start(struct client *c, const struct client_tracking *options,
                    const struct slice *prefixes, size_t count);
struct slice tracking_prefix_text(const struct prefix *prefix);

/* tracking_bcast.c */
void tracking_bcast_changed(struct engine *engine, uint64_t changer, struct slice name);
void tracking_bcast_join(struct client *c, struct slice text);
void tracking_bcast_leave(struct client *c);
void tracking_bcast_flush(struct engine *engine);

/* Push an invalidation to where the client wants it. VALUE: RESP, an array of keys or a null. */
void tracking_send(struct client *c, struct slice value);

#endif

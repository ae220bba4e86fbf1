/* route.h -- where in a Redis Cluster a request belongs, so that all of it looks like one server.
 *
 * Most requests have keys, all of one slot, and go to its owner. Keys of several slots are answered
 * as a Cluster would. What has no key goes to some node; what concerns every key goes to all
 * masters, and their answers are made one (merge.h). What is about the connection is answered here,
 * because there are several connections behind it.
 *
 * Pure; the request may be anything that resp_request_next() takes.
 */
#ifndef GATEWAY_SHARDS_ROUTE_H
#define GATEWAY_SHARDS_ROUTE_H

#include "lib/redis/command.h"

enum shards_to {
    SHARDS_TO_SLOT,
    SHARDS_TO_ANY,
    SHARDS_TO_ALL,    /* all masters */
    SHARDS_TO_SCAN,   /* one after the other: the cursor says which */
    SHARDS_TO_WATCH,  /* to the slot, and what follows to the same connection */
    SHARDS_TO_UNWATCH,
    SHARDS_TO_STREAM, /* to one node for good: what it says comes unasked (SUBSCRIBE) */
    SHARDS_TO_NAME,   /* CLIENT SETNAME: every connection that there is */
    SHARDS_TO_HERE,   /* answered here */
    SHARDS_TO_ERROR,  /* answered with `error` */
};

enum shards_merge {
    SHARDS_MERGE_FIRST, /* they are alike: the first one */
    SHARDS_MERGE_SUM,
    SHARDS_MERGE_MIN,
    SHARDS_MERGE_ARRAYS,
    SHARDS_MERGE_KEYSPACE,
};

enum shards_here {
    SHARDS_HERE_PING,
    SHARDS_HERE_ECHO,
    SHARDS_HERE_SELECT,
    SHARDS_HERE_HELLO,
    SHARDS_HERE_ID,
    SHARDS_HERE_SERVER,
    SHARDS_HERE_ROLE,
    SHARDS_HERE_UNBLOCK,
};

struct shards_route {
    enum shards_to to;
    uint16_t slot; /* TO_SLOT, TO_WATCH */
    enum shards_merge merge;
    enum shards_here here;
    const char *error; /* with its code, "CROSSSLOT ..." */
};

/* argc > 0. */
void shards_route(size_t argc, const struct slice *argv, struct shards_route *route);

/* A request between MULTI and EXEC: what it adds to the ROUTE of the block, which is TO_ANY at
 * first. */
void shards_route_block(size_t argc, const struct slice *argv, struct shards_route *route);

#endif

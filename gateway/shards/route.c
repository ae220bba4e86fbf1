/* route.c -- where in a Redis Cluster a request belongs. See route.h. */
#include "gateway/shards/route.h"

#include "lib/base/mem.h"
#include "lib/redis/slot.h"

#include <string.h>

#define KEYS_HERE 32u

static const char crossslot[] = "CROSSSLOT Keys in request don't hash to the same slot";
static const char not_in_block[] =
    "ERR drawbridge: this command concerns all nodes of the Cluster, and cannot stand inside MULTI";
static const char no_databases[] = "ERR drawbridge: a Cluster has one database";
static const char no_cluster[] = "ERR This instance has cluster support disabled";
static const char no_monitor[] = "ERR drawbridge: MONITOR would show one node of the Cluster only";
static const char no_channels[] =
    "ERR drawbridge: channels of shards are not served over a Cluster; use SUBSCRIBE";

static const struct {
    const char *name; /* a '*' at the end: all that begin so */
    enum shards_to to;
    enum shards_merge merge;
    enum shards_here here;
    const char *error;
} table[] = {
    {"ping", SHARDS_TO_HERE, 0, SHARDS_HERE_PING, NULL},
    {"echo", SHARDS_TO_HERE, 0, SHARDS_HERE_ECHO, NULL},
    {"select", SHARDS_TO_HERE, 0, SHARDS_HERE_SELECT, NULL},
    {"auth", SHARDS_TO_HERE, 0, SHARDS_HERE_HELLO, NULL},
    {"hello", SHARDS_TO_HERE, 0, SHARDS_HERE_HELLO, NULL},
    {"client|id", SHARDS_TO_HERE, 0, SHARDS_HERE_ID, NULL},
    {"client|unblock", SHARDS_TO_HERE, 0, SHARDS_HERE_UNBLOCK, NULL},
    {"client|setname", SHARDS_TO_NAME, 0, 0, NULL},
    {"role", SHARDS_TO_HERE, 0, SHARDS_HERE_ROLE, NULL},
    {"flushall", SHARDS_TO_ALL, SHARDS_MERGE_FIRST, 0, NULL},
    {"flushdb", SHARDS_TO_ALL, SHARDS_MERGE_FIRST, 0, NULL},
    {"dbsize", SHARDS_TO_ALL, SHARDS_MERGE_SUM, 0, NULL},
    {"keys", SHARDS_TO_ALL, SHARDS_MERGE_ARRAYS, 0, NULL},
    {"wait", SHARDS_TO_ALL, SHARDS_MERGE_MIN, 0, NULL},
    {"script|load", SHARDS_TO_ALL, SHARDS_MERGE_FIRST, 0, NULL},
    {"script|flush", SHARDS_TO_ALL, SHARDS_MERGE_FIRST, 0, NULL},
    {"function|load", SHARDS_TO_ALL, SHARDS_MERGE_FIRST, 0, NULL},
    {"function|delete", SHARDS_TO_ALL, SHARDS_MERGE_FIRST, 0, NULL},
    {"function|flush", SHARDS_TO_ALL, SHARDS_MERGE_FIRST, 0, NULL},
    {"function|restore", SHARDS_TO_ALL, SHARDS_MERGE_FIRST, 0, NULL},
    {"scan", SHARDS_TO_SCAN, 0, 0, NULL},
    {"watch", SHARDS_TO_WATCH, 0, 0, NULL},
    {"unwatch", SHARDS_TO_UNWATCH, 0, 0, NULL},
    {"subscribe", SHARDS_TO_STREAM, 0, 0, NULL},
    {"psubscribe", SHARDS_TO_STREAM, 0, 0, NULL},
    {"unsubscribe", SHARDS_TO_STREAM, 0, 0, NULL},
    {"punsubscribe", SHARDS_TO_STREAM, 0, 0, NULL},
    {"ssubscribe", SHARDS_TO_ERROR, 0, 0, no_channels},
    {"sunsubscribe", SHARDS_TO_ERROR, 0, 0, no_channels},
    {"spublish", SHARDS_TO_ERROR, 0, 0, no_channels},
    {"monitor", SHARDS_TO_ERROR, 0, 0, no_monitor},
    {"swapdb", SHARDS_TO_ERROR, 0, 0, no_databases},
    {"move", SHARDS_TO_ERROR, 0, 0, no_databases},
    {"cluster*", SHARDS_TO_ERROR, 0, 0, no_cluster},
};

static bool row_fits(const char *pattern, const char *name) {
    size_t size = strlen(pattern);
    if (pattern[size - 1] == '*') return strncmp(pattern, name, size - 1) == 0;
    return strcmp(pattern, name) == 0;
}

/* The one slot of all keys; without a key: any node, which will also refuse what is wrong. */
static void by_keys(const struct command *command, size_t argc, const struct slice *argv,
                    struct shards_route *r) {
    struct command_key some[KEYS_HERE], *keys = some;
    size_t count = 0;
    struct why why;
    if (!command_arity_fits(command, argc)) return;
    enum err err = command_keys(command, argc, argv, keys, KEYS_HERE, &count, &why);
    if (err == ERR_LIMIT) {
        keys = NEW_ARRAY(struct command_key, argc);
        err = command_keys(command, argc, argv, keys, argc, &count, &why);
    }
    if (err != OK) count = 0;
    for (size_t i = 0; i < count && r->to != SHARDS_TO_ERROR; i++) {
        uint16_t slot = slot_cluster(argv[keys[i].at]);
        if (r->to == SHARDS_TO_SLOT && slot != r->slot) {
            r->to = SHARDS_TO_ERROR;
            r->error = crossslot;
        } else {
            r->to = SHARDS_TO_SLOT;
            r->slot = slot;
        }
    }
    if (keys != some) mem_free(keys);
}

/* INFO of one section that all nodes must be asked for, or that we make up. */
static void route_info(size_t argc, const struct slice *argv, struct shards_route *r) {
    if (argc != 2) return;
    if (slice_equal_nocase(argv[1], SLICE("keyspace"))) {
        r->to = SHARDS_TO_ALL;
        r->merge = SHARDS_MERGE_KEYSPACE;
    } else if (slice_equal_nocase(argv[1], SLICE("server"))) {
        r->to = SHARDS_TO_HERE;
        r->here = SHARDS_HERE_SERVER;
    } else if (slice_equal_nocase(argv[1], SLICE("replication"))) {
        r->to = SHARDS_TO_HERE;
        r->here = SHARDS_HERE_ROLE;
    }
}

void shards_route(size_t argc, const struct slice *argv, struct shards_route *r) {
    const struct command *command = command_lookup(argc, argv);
    *r = (struct shards_route){.to = SHARDS_TO_ANY};
    if (command == NULL) return;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (!row_fits(table[i].name, command->name)) continue;
        r->to = table[i].to;
        r->merge = table[i].merge;
        r->here = table[i].here;
        r->error = table[i].error;
        if (r->to == SHARDS_TO_WATCH) {
            r->to = SHARDS_TO_ANY;
            by_keys(command, argc, argv, r);
            if (r->to == SHARDS_TO_SLOT) r->to = SHARDS_TO_WATCH;
        }
        return;
    }
    if (strcmp(command->name, "info") == 0)
        route_info(argc, argv, r);
    else
        by_keys(command, argc, argv, r);
}

void shards_route_block(size_t argc, const struct slice *argv, struct shards_route *r) {
    struct shards_route one;
    if (r->to == SHARDS_TO_ERROR) return;
    shards_route(argc, argv, &one);
    bool plain = one.to == SHARDS_TO_ANY || one.to == SHARDS_TO_HERE || one.to == SHARDS_TO_UNWATCH;
    if (plain) return;
    if (one.to == SHARDS_TO_ERROR) {
        r->to = SHARDS_TO_ERROR;
        r->error = one.error;
    } else if (one.to != SHARDS_TO_SLOT) {
        r->to = SHARDS_TO_ERROR;
        r->error = not_in_block;
    } else if (r->to == SHARDS_TO_SLOT && r->slot != one.slot) {
        r->to = SHARDS_TO_ERROR;
        r->error = crossslot;
    } else {
        r->to = SHARDS_TO_SLOT;
        r->slot = one.slot;
    }
}

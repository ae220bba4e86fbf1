/* xstream_group.h -- consumer groups of a stream: who was given which entries and has not confirmed
 * them.
 *
 *     group -- pending by id ----> struct xstream_pending --> consumer
 *           -- consumers by name       ^
 *                  +-- pending by id --+
 *
 * A pending entry is in the group's map and in that of exactly one consumer. Names are kept in the
 * order of their bytes, in which Redis lists them. Source: Redis 7.0 t_stream.c.
 */
#ifndef SERVER_XSTREAM_GROUP_H
#define SERVER_XSTREAM_GROUP_H

#include "server/idtree.h"

#define ENTRIES_READ_UNKNOWN (-1)

struct xstream;

/* The beginning of groups and consumers. */
struct xstream_named {
    struct slice name; /* owned */
};

/* An ordered set of named things. */
struct xstream_names { /* all-zero: empty */
    struct xstream_named **items;
    size_t count, room;
};

struct xstream_consumer {
    struct xstream_named named;
    int64_t seen_ms; /* wall clock */
    struct idtree pending;
};

struct xstream_pending {
    int64_t delivered_ms; /* wall clock */
    uint64_t deliveries;
    struct xstream_consumer *consumer; /* NULL only while it is being handed out or loaded */
};

struct xstream_group {
    struct xstream_named named;
    struct stream_id last_id;
    int64_t entries_read; /* ENTRIES_READ_UNKNOWN */
    struct idtree pending;
    struct xstream_names consumers;
};

struct xstream_group *xstream_group_find(const struct xstream *stream, struct slice name);
/* NULL if there is one of that name. */
struct xstream_group *xstream_group_add(struct xstream *stream, struct slice name,
                                        struct stream_id last_id, int64_t entries_read);
void xstream_group_remove(struct xstream *stream, struct xstream_group *group);
void xstream_groups_free(struct xstream *stream);
void xstream_groups_copy(struct xstream *to, const struct xstream *from);

static inline struct xstream_group *xstream_group_at(const struct xstream_names *groups, size_t i) {
    return (struct xstream_group *)groups->items[i];
}
static inline struct xstream_consumer *xstream_consumer_at(const struct xstream_names *consumers,
                                                           size_t i) {
    return (struct xstream_consumer *)consumers->items[i];
}

struct xstream_consumer *xstream_consumer_find(const struct xstream_group *group,
                                               struct slice name);
/* NULL if there is one of that name. */
struct xstream_consumer *xstream_consumer_add(struct xstream_group *group, struct slice name,
                                              int64_t seen_ms);
/* With all its pending entries. */
void xstream_consumer_remove(struct xstream_group *group, struct xstream_consumer *consumer);

/* Make ID pending for CONSUMER, whoever had it before; the times are the caller's. */
struct xstream_pending *xstream_pending_give(struct xstream_group *group, struct stream_id id,
                                             struct xstream_consumer *consumer);
/* False if it was not pending. */
bool xstream_pending_drop(struct xstream_group *group, struct stream_id id);

/* How many entries were ever added up to ID, or ENTRIES_READ_UNKNOWN. */
int64_t xstream_distance(const struct xstream *stream, struct stream_id id);
/* How many entries GROUP has yet to read; false if that is not known. */
bool xstream_lag(const struct xstream *stream, const struct xstream_group *group, int64_t *lag);
/* GROUP is given ID, which is above its last id: moves last_id and entries_read. */
void xstream_group_advance(const struct xstream *stream, struct xstream_group *group,
                           struct stream_id id);

#endif

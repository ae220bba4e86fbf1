/* xstream_node.h -- one node of a stream: a listpack of entries, byte for byte that of Redis 7.0.
 *
 *     live  deleted  fields  field ...  0
 *     { flags  ms-difference  seq-difference  [fields]  field/value ...  items before this one }
 * ...
 *
 * Ids are differences to the node's first id, which is its key in the index of nodes. Flags: 1 the
 * entry was deleted, 2 its fields are those of the head (only values follow). Source: Redis 7.0
 * t_stream.c.
 *
 * The structure is taken for granted: what comes from outside is checked by lib/redis/rdb_stream.c.
 */
#ifndef SERVER_XSTREAM_NODE_H
#define SERVER_XSTREAM_NODE_H

#include "lib/redis/listpack.h"
#include "lib/redis/rdb.h"

#define XSTREAM_ENTRY_DELETED 1
#define XSTREAM_ENTRY_SAME_FIELDS 2

struct xstream_entry {
    struct stream_id id;
    int64_t flags;
    uint32_t flags_at;        /* in the listpack */
    struct rdb_fields fields; /* use a copy; dies with the next change */
};

/* A walk over a node in either direction; dies with any change of it. */
struct xstream_walk {
    const uint8_t *lp;
    struct stream_id first;
    int64_t live, deleted, fields;
    uint32_t fields_at, at;
    bool backward;
};
void xstream_walk_init(struct xstream_walk *walk, struct stream_id first, const uint8_t *lp,
                       bool backward);
/* The next entry, deleted ones too; false at the end. */
bool xstream_walk_next(struct xstream_walk *walk, struct xstream_entry *entry);

int64_t xstream_node_live(const uint8_t *lp);
int64_t xstream_node_deleted(const uint8_t *lp);

/* A new node with the head for entries with the FIELDS of ARGV (field, value, field, value ...). */
uint8_t *xstream_node_new(const struct slice *argv, int64_t fields, size_t room_bytes);
/* Append an entry behind all others. */
void xstream_node_append(uint8_t **lp, struct stream_id first, struct stream_id id,
                         const struct slice *argv, int64_t fields);
/* Mark ENTRY, found by a walk since the last change, as deleted. Its neighbours stay where they
 * are; the counts of the head are the caller's business. */
void xstream_node_mark(uint8_t **lp, const struct xstream_entry *entry);
/* Change the counts of live and deleted entries by LESS. */
void xstream_node_count(uint8_t **lp, int64_t less);

#endif

/* xstream.h -- the value type stream: entries in listpacks behind an ordered index (idtree.h), and
 * consumer groups (xstream_group.h).
 *
 * Nodes are byte for byte those of Redis 7.0 and begin and end where Redis begins and ends them, so
 * an RDB of either is a check and a copy. What a stream knows of itself (first id, max deleted id,
 * entries added) follows Redis 7.0 (t_stream.c).
 *
 * Slices handed out point into the stream and die with its next change.
 */
#ifndef SERVER_XSTREAM_H
#define SERVER_XSTREAM_H

#include "server/idtree.h"
#include "server/limits.h"
#include "server/value.h"
#include "server/xstream_group.h"
#include "server/xstream_node.h"

struct xstream {
    struct idtree nodes; /* listpacks by their first id */
    uint64_t length;     /* live entries */
    struct stream_id last_id, first_id /* 0-0 when empty */, max_deleted_id;
    uint64_t entries_added;
    struct xstream_names groups;
    struct value_watch *watch; /* hears of each node before it changes */
};

/* What a watch is told of. */
struct xstream_change {
    struct stream_id first;
    const uint8_t *lp; /* NULL: about to be there */
};

/* So many nodes that they are not to be copied in one go. */
bool xstream_is_big(const struct xstream *stream);

struct xstream *xstream_new(void) __attribute__((returns_nonnull));
void xstream_free(struct xstream *stream);

/* Add an entry with an id above last_id. FIELDS pairs in ARGV, which xstream_takes() was asked
 * about. */
void xstream_append(struct xstream *stream, const struct type_limits *limits, struct stream_id id,
                    const struct slice *argv, int64_t fields);
/* Whether these strings can be one entry: no node gets too large. */
bool xstream_takes(const struct slice *argv, int64_t fields);

/* A walk over entries from FROM up to UP_TO, or the other way round; deleted ones are passed over
 * unless with_deleted is set. Dies with any change. */
struct xstream_iter {
    const struct xstream *stream;
    struct stream_id from, up_to;
    bool backward, with_deleted, in_node, ended;
    struct xstream_walk walk;
    struct stream_id node; /* the next one to look at begins here or beyond */
};
void xstream_iter_init(struct xstream_iter *iter, const struct xstream *stream,
                       struct stream_id from, struct stream_id up_to, bool backward);
bool xstream_next(struct xstream_iter *iter, struct xstream_entry *entry);

bool xstream_find(const struct xstream *stream, struct stream_id id, struct xstream_entry *entry);
/* The first or the last live entry; false when there is none. */
bool xstream_edge(const struct xstream *stream, bool last, struct stream_id *id);

/* Delete one entry; false if it is not there. first_id and max_deleted_id are not touched. */
bool xstream_delete(struct xstream *stream, struct stream_id id);

struct xstream_trim {
    bool by_id, approximately; /* approximately: whole nodes only */
    uint64_t length;           /* keep so many */
    struct stream_id min_id;   /* or those from here on */
    uint64_t limit;            /* delete at most about so many; 0: any number */
};
/* How many were deleted. Keeps first_id right. */
uint64_t xstream_trim(struct xstream *stream, const struct xstream_trim *trim);
/* After deletions: first_id anew. */
void xstream_refresh_first(struct xstream *stream);

/* For loading: a node behind all others, checked; LP becomes the stream's. */
void xstream_adopt_node(struct xstream *stream, struct stream_id first, uint8_t *lp);

extern const struct value_ops xstream_ops;

#endif

/* table.h -- a hash table of pointers to items that hold their own key: the keyspace's index, and
 * the inside of big hashes and sets.
 *
 * Extendible hashing. The top bits of the hash choose a segment from the directory, the next ones a
 * bucket in it, the low ones a tag:
 *
 *     directory --> segment --> [bucket 0][bucket 1] ... [bucket n-1]      1 <= n <= 96
 *     bucket (64 bytes): 7 tags, 1 byte of marks, 7 pointers
 *
 * A bucket that is full puts the item into its neighbour (the other one of its pair), then into a
 * child bucket in place of its last pointer. A full segment grows from 64 to 96 buckets, then
 * splits in two; neither touches any other segment, so no insert ever does more than one segment's
 * work.
 *
 * Items belong to the caller; the table stores pointers and asks `key` for an item's key. An item
 * may move in memory: tell the table by table_moved(). Not thread safe.
 *
 * Hostile input: the hash is seeded per process, so that colliding keys cannot be made at will.
 */
#ifndef SERVER_TABLE_H
#define SERVER_TABLE_H

#include "lib/base/rand.h"
#include "lib/base/slice.h"
#include "server/value_watch.h"

struct table_type {
    struct slice (*key)(const void *item);
};

/* Embed it; the fields are the table's own. An item count is table_count(). */
struct table {
    const struct table_type *type;
    struct segment **directory; /* 1 << depth pointers; NULL while nothing was ever added */
    uint64_t count;             /* items */
    int64_t due_ms;    /* a lower bound of what table_due() was told; INT64_MAX when none */
    uint32_t segments; /* how many differ */
    uint32_t children; /* child buckets */
    uint32_t buckets;  /* in all segments, without children */
    uint8_t depth;
    struct value_watch *watch; /* told of items that come, change and go; see table_edit() */
};

/* The hash of a key, seeded by table_seed(); engine_new() takes the seed from the kernel. */
uint64_t table_hash(struct slice key);
void table_seed(uint64_t seed); /* before the first item of the process is added */

void table_init(struct table *table, const struct table_type *type);
/* Frees the table's own memory, not the items: walk them first. It is then empty and usable. */
void table_close(struct table *table);
/* The same, with every item by mem_free(). */
void table_close_items(struct table *table);
static inline uint64_t table_count(const struct table *table) {
    return table->count;
}
/* The bytes that the table itself takes, without items. */
size_t table_memory(const struct table *table);

/* The item with KEY, or NULL. The _hashed forms take table_hash(key), for callers that have it. */
void *table_find(const struct table *table, struct slice key);
void *table_find_hashed(const struct table *table, struct slice key, uint64_t hash);
/* Add an item whose key is not in the table yet (the caller knows: it has just looked). */
void table_add(struct table *table, void *item);
void table_add_hashed(struct table *table, void *item, uint64_t hash);
/* The same, looking for the key on the way. False: there is an item with this key, and nothing was
 * done. ITEM is read only when another one is likely to be the same. */
MUST_CHECK bool table_add_new(struct table *table, void *item, uint64_t hash);
/* Take the item with KEY out and return it; NULL when there is none. */
void *table_take(struct table *table, struct slice key);
void *table_take_hashed(struct table *table, struct slice key, uint64_t hash);
/* ITEM, which is in the table, is about to change, or to be replaced by table_moved(): say so. */
static inline void table_edit(struct table *table, void *item) {
    if (table->watch) value_watch_tell(table->watch, item, WATCH_EDIT);
}
/* OLD, which is in the table, now lives at NEW with the same key (OLD is not read). */
void table_moved(struct table *table, const void *old, void *new, uint64_t hash);

/* COUNT items are going to be added to the empty table: let no segment have to split on the way. What
 * it costs is what COUNT items cost; bound it. */
void table_reserve(struct table *table, uint64_t count);

/* Fetch what table_find_hashed() will touch: stage 0 the segment's header, 1 the bucket. Then
 * table_peek() gives a likely item (right tag; not compared yet) to fetch next, or NULL. */
void table_prefetch(const struct table *table, uint64_t hash, int stage);
const void *table_peek(const struct table *table, uint64_t hash);

/* Call FN for the items of a few buckets from CURSOR (a hash prefix) on, and return the cursor to
 * go on with; start with 0, and 0 means the end. An item that is present from start to end is seen
 * at least once, whatever is added, taken or split in between; it may be seen twice. All items
 * whose hash lies between the two cursors are seen, and few others. FN may take
 * the item that it is given out of the table, and nothing else. The cursor's low 16 bits are 0. */
uint64_t table_scan(struct table *table, uint64_t cursor, void (*fn)(void *ctx, void *item),
                    void *ctx);

/* table_scan() again and again, until FN had WANT items or there were ten times as many calls: what
 * a step of HSCAN, SSCAN and ZSCAN is. */
uint64_t table_scan_many(struct table *table, uint64_t cursor, size_t want,
                         void (*fn)(void *ctx, void *item), void *ctx);

/* Walk all items of a table that does not change meanwhile. */
struct table_iter {
    const struct table *table;
    uint64_t place;        /* directory index */
    uint32_t bucket, slot; /* in its segment */
    struct bucket *at;     /* the bucket or its child */
};
void table_iter_init(struct table_iter *iter, const struct table *table);
void *table_iter_next(struct table_iter *iter); /* NULL at the end */

/* A random item, each with the same probability; NULL when empty. */
void *table_random(const struct table *table, struct rng *rng);

/* Expiry: note that the item with HASH is due at DUE_MS (milliseconds since 1970). Each segment
 * keeps the smallest. table_due_scan() visits at most one segment that has something due at NOW_MS,
 * from *CURSOR (0 first) on: it calls FN for each of its items; FN answers the item's due time
 * (INT64_MAX: none), or INT64_MIN after it took the item out. False when nothing was due behind
 * *CURSOR. */
void table_due(struct table *table, uint64_t hash, int64_t due_ms);
bool table_due_scan(struct table *table, uint64_t *cursor, int64_t now_ms,
                    int64_t (*fn)(void *ctx, void *item), void *ctx);

/* Abort when an invariant is broken; for tests. */
void table_check(const struct table *table);

#endif

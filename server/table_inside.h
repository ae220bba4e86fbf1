/* table_inside.h -- the memory of a table, for table.c and table_walk.c only. */
#ifndef SERVER_TABLE_INSIDE_H
#define SERVER_TABLE_INSIDE_H

#include "server/table.h"

#define SLOTS 7
#define BUCKETS_MAX 96 /* of a segment; before that 1, 2, 4 ... 64 */
#define DEPTH_MAX 32   /* so that a scan cursor's low 16 bits stay 0 */
#define TAG_CHILD 255  /* in tags[6]: items[6] is a child bucket */

/* A cache line. Tag 0: the slot is free. */
struct bucket {
    uint8_t tags[SLOTS];
    uint8_t spilled; /* an item whose home is here may be in the neighbour */
    union {
        void *items[SLOTS];
        struct {
            void *first[SLOTS - 1];
            struct bucket *child;
        };
    };
};
_Static_assert(sizeof(struct bucket) == 64, "a bucket is one cache line");

struct segment {
    struct bucket *buckets;
    int64_t due_ms; /* a lower bound of what its items are due at */
    uint32_t count; /* items, those in children too */
    uint8_t depth;  /* how many top bits of the hash all its items share */
    uint8_t size;   /* buckets */
};

static inline struct segment *segment_of(const struct table *t, uint64_t hash) {
    return t->directory[t->depth ? hash >> (64 - t->depth) : 0];
}

static inline unsigned bucket_of(const struct segment *s, uint64_t hash) {
    return (unsigned)((((hash << s->depth) >> 48) * s->size) >> 16);
}

static inline bool bucket_has_child(const struct bucket *b) {
    return b->tags[SLOTS - 1] == TAG_CHILD;
}

/* The other bucket of the pair; a segment of one bucket has none. */
static inline unsigned neighbour_of(const struct segment *s, unsigned bucket) {
    return s->size > 1 ? bucket ^ 1 : bucket;
}

/* How many items a segment of SIZE buckets holds before it grows. */
static inline uint32_t segment_limit(unsigned size) {
    return size * SLOTS * 15 / 16;
}

/* The items of a pair of buckets (FIRST even), children too, appended to ITEMS up to MAX; how many
 * there are altogether. */
size_t pair_items(const struct segment *s, unsigned first, void **items, size_t max);

#endif

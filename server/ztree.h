/* ztree.h -- a big sorted set's order: a B+tree of items by (score, member) that knows ranks.
 *
 *     inner node: up to 31 x {smallest score and item below, items below, child}
 *     leaf:       up to 31 x {score, item}
 *
 * The tree borrows the items: they belong to the table of members beside it (zset.c), and must
 * leave the tree before they are freed. Nodes know no neighbours and no parents, and every change
 * goes down one path from the root: a snapshot can share nodes by counting references to them.
 * Everything is O(log n); positions are ranks, counted from 0.
 */
#ifndef SERVER_ZTREE_H
#define SERVER_ZTREE_H

#include "lib/base/slice.h"

struct zitem {
    uint32_t size; /* bytes of the member; first, as members.h wants it */
    uint32_t unused;
    double score;     /* never NaN; must not change while the item is in a tree */
    uint8_t member[]; /* SIZE bytes */
};

#define ZITEM_KEY_AT offsetof(struct zitem, member)

static inline struct slice zitem_member(const struct zitem *item) {
    return slice_from(item->member, item->size);
}

/* The same bits: 0 and -0 differ. */
static inline bool zscore_same(double a, double b) {
    uint64_t bits_of_a, bits_of_b;
    memcpy(&bits_of_a, &a, sizeof a);
    memcpy(&bits_of_b, &b, sizeof b);
    return bits_of_a == bits_of_b;
}

struct znode;

struct ztree { /* all-zero: empty */
    struct znode *root;
    size_t count;
    size_t nodes;
};

void ztree_close(struct ztree *tree); /* frees nodes, not items */

void ztree_add(struct ztree *tree, struct zitem *item);    /* not in the tree yet */
void ztree_remove(struct ztree *tree, struct zitem *item); /* must be in the tree */

/* Put ITEMS, COUNT of them in ascending order, into the empty TREE. O(n). */
void ztree_build(struct ztree *tree, struct zitem **items, size_t count);

/* How many items lie before a bound: BELOW says of a single one whether it does, and must be true
 * for a prefix of the order and false for the rest. */
typedef bool ztree_below_fn(const struct zitem *item, const void *bound);
size_t ztree_count_below(const struct ztree *tree, ztree_below_fn *below, const void *bound);

/* How many items have a score below SCORE, or up to it. Looks at no item. */
size_t ztree_count_score(const struct ztree *tree, double score, bool up_to);

/* How many items lie before (SCORE, MEMBER). */
size_t ztree_rank(const struct ztree *tree, double score, struct slice member);

/* The item of RANK < tree->count. */
struct zitem *ztree_at(const struct ztree *tree, size_t rank);

/* A walk from a rank, in either direction. Any change of the tree ends it. */
struct ztree_iter {
    const struct ztree *tree;
    const struct znode *leaf; /* NULL: look the rank up */
    size_t rank;              /* of the next item; SIZE_MAX: past the front */
    unsigned at;              /* in the leaf */
    bool backward;
};
struct ztree_iter ztree_iter_at(const struct ztree *tree, size_t rank, bool backward);
struct zitem *ztree_next(struct ztree_iter *iter); /* NULL at the end */

size_t ztree_bytes(const struct ztree *tree);
void ztree_check(const struct ztree *tree); /* panics if the structure is broken; for tests */

#endif

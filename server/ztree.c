/* ztree.c -- the counted B+tree of sorted sets. See ztree.h.
 *
 * A slot of an inner node repeats what its child is worth: the number of items below it and the
 * smallest of them. Whoever changes a child refreshes its slot on the way up (slot_refresh).
 */
#include "server/ztree.h"

#include "lib/base/mem.h"

#define FAN 31U        /* a leaf is 8 + 31 * 16 bytes: the allocator's class of 512 */
#define FEW (FAN / 4U) /* a node with fewer looks for a neighbour to join */

struct zslot {
    double score;
    struct zitem *item; /* in an inner node: the smallest below */
};

struct zlink {
    struct znode *child;
    size_t count; /* items below */
};

struct znode {
    uint16_t used;   /* slots */
    uint16_t height; /* 0: leaf */
    uint32_t unused;
    struct zslot slots[FAN];
    struct zlink links[]; /* FAN of them in inner nodes */
};

static size_t node_bytes(unsigned height) {
    return sizeof(struct znode) + (height ? FAN * sizeof(struct zlink) : 0);
}

static struct znode *node_new(struct ztree *tree, unsigned height) {
    struct znode *node = mem_alloc(node_bytes(height));
    node->used = 0;
    node->unused = 0;
    node->height = (uint16_t)height;
    tree->nodes++;
    return node;
}

static void node_free(struct ztree *tree, struct znode *node) {
    tree->nodes--;
    mem_free(node);
}

static size_t node_count(const struct znode *node) {
    size_t count = 0;
    if (node->height == 0) return node->used;
    for (unsigned i = 0; i < node->used; i++) count += node->links[i].count;
    return count;
}

static bool slot_before(const struct zslot *slot, double score, struct slice member) {
    if (slot->score < score) return true;
    if (slot->score > score) return false;
    return slice_compare(zitem_member(slot->item), member) < 0;
}

/* Slots of NODE that lie before (SCORE, MEMBER). */
static unsigned node_before(const struct znode *node, double score, struct slice member) {
    unsigned low = 0, high = node->used;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        if (slot_before(&node->slots[mid], score, member)) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

/* The child in whose part of the order (SCORE, MEMBER) lies. */
static unsigned node_child(const struct znode *node, const struct zitem *item) {
    unsigned at = node_before(node, item->score, zitem_member(item));
    bool exact = at < node->used && node->slots[at].item == item;
    return exact || at == 0 ? at : at - 1;
}

static void slot_refresh(struct znode *node, unsigned at) {
    const struct znode *child = node->links[at].child;
    node->slots[at] = child->slots[0];
    node->links[at].count = node_count(child);
}

/* Open COUNT slots at AT, or close them. */
static void node_open(struct znode *node, unsigned at, unsigned count) {
    unsigned behind = node->used - at;
    ASSERT(node->used + count <= FAN);
    memmove(&node->slots[at + count], &node->slots[at], behind * sizeof node->slots[0]);
    if (node->height)
        memmove(&node->links[at + count], &node->links[at], behind * sizeof node->links[0]);
    node->used = (uint16_t)(node->used + count);
}

static void node_close(struct znode *node, unsigned at, unsigned count) {
    unsigned behind = node->used - at - count;
    memmove(&node->slots[at], &node->slots[at + count], behind * sizeof node->slots[0]);
    if (node->height)
        memmove(&node->links[at], &node->links[at + count], behind * sizeof node->links[0]);
    node->used = (uint16_t)(node->used - count);
}

/* Append COUNT slots of FROM, from AT on, to TO. */
static void node_append(struct znode *to, const struct znode *from, unsigned at, unsigned count) {
    ASSERT(to->height == from->height && to->used + count <= FAN);
    memcpy(&to->slots[to->used], &from->slots[at], count * sizeof to->slots[0]);
    if (to->height) memcpy(&to->links[to->used], &from->links[at], count * sizeof to->links[0]);
    to->used = (uint16_t)(to->used + count);
}

/* Split the full NODE; what comes next goes to slot AT. Sets that grow at their end (scores that
 * are times) leave full nodes behind. */
static struct znode *node_split(struct ztree *tree, struct znode *node, unsigned at) {
    struct znode *right = node_new(tree, node->height);
    unsigned keep = at == FAN ? FAN : FAN / 2;
    node_append(right, node, keep, FAN - keep);
    node->used = (uint16_t)keep;
    return right;
}

/* Put a slot (and, in an inner node, the child behind it) at AT. Returns the new right neighbour if
 * NODE had to split, else NULL. */
static struct znode *node_put(struct ztree *tree, struct znode *node, unsigned at,
                              struct zitem *item, struct znode *child) {
    struct znode *right = node->used == FAN ? node_split(tree, node, at) : NULL;
    if (right && (at > node->used || node->used == FAN)) {
        at -= node->used;
        node = right;
    }
    node_open(node, at, 1);
    if (child) {
        node->links[at].child = child;
        slot_refresh(node, at);
    } else {
        node->slots[at] = (struct zslot){item->score, item};
    }
    return right;
}

/* Returns NODE's new right neighbour, if it had to split. */
static struct znode *add_below(struct ztree *tree, struct znode *node, struct zitem *item) {
    if (node->height == 0) {
        unsigned at = node_before(node, item->score, zitem_member(item));
        return node_put(tree, node, at, item, NULL);
    }
    unsigned at = node_child(node, item);
    struct znode *right = add_below(tree, node->links[at].child, item);
    slot_refresh(node, at);
    return right ? node_put(tree, node, at + 1, NULL, right) : NULL;
}

static void grow_root(struct ztree *tree, struct znode *right) {
    struct znode *root = node_new(tree, tree->root->height + 1U);
    root->used = 2;
    root->links[0].child = tree->root;
    root->links[1].child = right;
    slot_refresh(root, 0);
    slot_refresh(root, 1);
    tree->root = root;
}

void ztree_add(struct ztree *tree, struct zitem *item) {
    if (!tree->root) tree->root = node_new(tree, 0);
    struct znode *right = add_below(tree, tree->root, item);
    if (right) grow_root(tree, right);
    tree->count++;
}

/* The child at AT has become small: drop it if it is empty, join it with a neighbour if both fit
 * well into one node. */
static void node_join(struct ztree *tree, struct znode *node, unsigned at) {
    struct znode *child = node->links[at].child;
    if (child->used == 0) {
        node_free(tree, child);
        node_close(node, at, 1);
        return;
    }
    unsigned left = at > 0 ? at - 1 : at;
    if (left + 1 >= node->used) return;
    struct znode *first = node->links[left].child, *second = node->links[left + 1].child;
    if (first->used + second->used > FAN * 3 / 4) return;
    node_append(first, second, 0, second->used);
    node_free(tree, second);
    node_close(node, left + 1, 1);
    slot_refresh(node, left);
}

static void remove_below(struct ztree *tree, struct znode *node, const struct zitem *item) {
    if (node->height == 0) {
        unsigned at = node_before(node, item->score, zitem_member(item));
        ASSERT(at < node->used && node->slots[at].item == item);
        node_close(node, at, 1);
        return;
    }
    unsigned at = node_child(node, item);
    struct znode *child = node->links[at].child;
    remove_below(tree, child, item);
    if (child->used > 0) slot_refresh(node, at);
    if (child->used < FEW) node_join(tree, node, at);
}

void ztree_remove(struct ztree *tree, struct zitem *item) {
    ASSERT(tree->root);
    remove_below(tree, tree->root, item);
    tree->count--;
    while (tree->root && (tree->root->used == 0 || (tree->root->height && tree->root->used == 1))) {
        struct znode *old = tree->root;
        tree->root = old->used ? old->links[0].child : NULL;
        node_free(tree, old);
    }
}

void ztree_build(struct ztree *tree, struct zitem **items, size_t count) {
    ASSERT(tree->count == 0);
    if (count == 0) return;
    struct znode *last = NULL;
    for (size_t i = 0; i < count;
         i++) { /* one leaf after the other, each hung in once it is full */
        if (!last) last = node_new(tree, 0);
        last->slots[last->used++] = (struct zslot){items[i]->score, items[i]};
        if (last->used < FAN && i + 1 < count) continue;
        if (!tree->root) {
            tree->root = last;
        } else {
            struct znode *path[16], *right = last;
            unsigned depth = 0;
            for (struct znode *n = tree->root; n->height; n = n->links[n->used - 1].child)
                path[depth++] = n;
            while (depth > 0 && right) {
                struct znode *node = path[--depth];
                slot_refresh(node, node->used - 1U);
                right = node_put(tree, node, node->used, NULL, right);
            }
            while (depth > 0) {
                struct znode *node = path[--depth];
                slot_refresh(node, node->used - 1U);
            }
            if (right) grow_root(tree, right);
        }
        last = NULL;
    }
    tree->count = count;
}

static void free_below(struct ztree *tree, struct znode *node) {
    if (node->height)
        for (unsigned i = 0; i < node->used; i++) free_below(tree, node->links[i].child);
    node_free(tree, node);
}

void ztree_close(struct ztree *tree) {
    if (tree->root) free_below(tree, tree->root);
    *tree = (struct ztree){0};
}

size_t ztree_count_below(const struct ztree *tree, ztree_below_fn *below, const void *bound) {
    size_t rank = 0;
    const struct znode *node = tree->root;
    while (node) {
        unsigned low = 0, high = node->used;
        while (low < high) {
            unsigned mid = (low + high) / 2;
            if (below(node->slots[mid].item, bound)) {
                low = mid + 1;
            } else {
                high = mid;
            }
        }
        if (node->height == 0) return rank + low;
        if (low == 0) return rank; /* even the smallest is not below */
        for (unsigned i = 0; i + 1 < low; i++) rank += node->links[i].count;
        node = node->links[low - 1].child;
    }
    return rank;
}

size_t ztree_count_score(const struct ztree *tree, double score, bool up_to) {
    size_t rank = 0;
    const struct znode *node = tree->root;
    while (node) {
        unsigned before = 0; /* of at most FAN slots, side by side in a few cache lines */
        while (before < node->used &&
               (up_to ? node->slots[before].score <= score : node->slots[before].score < score))
            before++;
        if (node->height == 0) return rank + before;
        if (before == 0) return rank;
        for (unsigned i = 0; i + 1 < before; i++) rank += node->links[i].count;
        node = node->links[before - 1].child;
    }
    return rank;
}

size_t ztree_rank(const struct ztree *tree, double score, struct slice member) {
    size_t rank = 0;
    const struct znode *node = tree->root;
    while (node) {
        unsigned before = node_before(node, score, member);
        if (node->height == 0) return rank + before;
        if (before == 0) return rank;
        for (unsigned i = 0; i + 1 < before; i++) rank += node->links[i].count;
        node = node->links[before - 1].child;
    }
    return rank;
}

/* The leaf and slot of RANK < tree->count. */
static const struct znode *descend(const struct ztree *tree, size_t rank, unsigned *at) {
    const struct znode *node = tree->root;
    ASSERT(rank < tree->count);
    while (node->height) {
        unsigned i = 0;
        while (rank >= node->links[i].count) rank -= node->links[i++].count;
        node = node->links[i].child;
    }
    *at = (unsigned)rank;
    return node;
}

struct zitem *ztree_at(const struct ztree *tree, size_t rank) {
    unsigned at;
    const struct znode *leaf = descend(tree, rank, &at);
    return leaf->slots[at].item;
}

struct ztree_iter ztree_iter_at(const struct ztree *tree, size_t rank, bool backward) {
    return (struct ztree_iter){.tree = tree, .rank = rank, .backward = backward};
}

struct zitem *ztree_next(struct ztree_iter *iter) {
    if (iter->rank >= iter->tree->count) return NULL;
    if (!iter->leaf) iter->leaf = descend(iter->tree, iter->rank, &iter->at);
    const struct znode *leaf = iter->leaf;
    struct zitem *item = leaf->slots[iter->at].item;
    if (iter->backward) {
        iter->rank--; /* wraps at the front, and so ends */
        if (iter->at-- == 0) iter->leaf = NULL;
    } else {
        iter->rank++;
        if (++iter->at == leaf->used) iter->leaf = NULL;
    }
    return item;
}

size_t ztree_bytes(const struct ztree *tree) {
    /* An estimate: about one node in FAN * 2 / 3 is an inner one. */
    return tree->nodes * node_bytes(0) +
           tree->nodes / (FAN * 2 / 3) * (node_bytes(1) - node_bytes(0));
}

static size_t check_below(const struct znode *node, const struct zitem **last, size_t *nodes) {
    size_t count = 0;
    ASSERT(node->used > 0 && node->used <= FAN);
    ++*nodes;
    for (unsigned i = 0; i < node->used; i++) {
        const struct zslot *slot = &node->slots[i];
        ASSERT(zscore_same(slot->score, slot->item->score));
        if (node->height == 0) {
            struct zslot before = {*last ? (*last)->score : 0, NULL};
            before.item = (struct zitem *)(uintptr_t)*last;
            if (*last) ASSERT(slot_before(&before, slot->score, zitem_member(slot->item)));
            *last = slot->item;
            count++;
            continue;
        }
        const struct znode *child = node->links[i].child;
        ASSERT(child->height + 1 == node->height && child->slots[0].item == slot->item);
        size_t below = check_below(child, last, nodes);
        ASSERT(below == node->links[i].count);
        count += below;
    }
    return count;
}

void ztree_check(const struct ztree *tree) {
    const struct zitem *last = NULL;
    size_t nodes = 0, count = tree->root ? check_below(tree->root, &last, &nodes) : 0;
    ASSERT(count == tree->count && nodes == tree->nodes);
    ASSERT(IMPLIES(tree->root && tree->root->height, tree->root->used > 1));
}

/* idtree.c -- a B+tree of stream ids. See idtree.h.
 *
 *     node: up to 42 x {id, child or item}
 *
 * In an inner node the id is the smallest one below the child. A node grows by doubling up to its
 * 42 places; a full one is cut in two, or, when the new id belongs behind it, left full. A node
 * that shrinks under a quarter is put together with a neighbour if both fit into three quarters of
 * one.
 */
#include "server/idtree.h"

#include "lib/base/mem.h"

#define PLACES 42u /* a full node is 1016 bytes, which allocators have room for */
#define FEW (PLACES / 4)
#define ENOUGH (PLACES * 3 / 4)

struct place {
    struct stream_id id;
    void *item; /* a child in an inner node */
};

struct idnode {
    uint16_t count, room;
    bool inner;
    struct place places[];
};

bool stream_id_next(struct stream_id *id) {
    if (++id->seq == 0 && ++id->ms == 0) return false;
    return true;
}

bool stream_id_previous(struct stream_id *id) {
    if (id->seq-- == 0 && id->ms-- == 0) return false;
    return true;
}

static struct idnode *node_new(unsigned room, bool inner) {
    struct idnode *node = mem_alloc(sizeof *node + room * sizeof node->places[0]);
    *node = (struct idnode){.room = (uint16_t)room, .inner = inner};
    return node;
}

static void node_free(struct idnode *node) {
    if (node == NULL) return;
    for (unsigned i = 0; node->inner && i < node->count; i++) node_free(node->places[i].item);
    mem_free(node);
}

void idtree_close(struct idtree *tree) {
    node_free(tree->root);
    *tree = (struct idtree){0};
}

/* How many places have an id of at most ID. */
static unsigned up_to(const struct idnode *node, struct stream_id id) {
    unsigned low = 0, high = node->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (stream_id_compare(node->places[middle].id, id) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The place in an inner node under which ID is, or would be. */
static unsigned child_of(const struct idnode *node, struct stream_id id) {
    unsigned count = up_to(node, id);
    return count ? count - 1 : 0;
}

/* ---- reading ---- */

void *idtree_find(const struct idtree *tree, struct stream_id id) {
    struct stream_id found;
    void *item = idtree_up_to(tree, id, &found);
    return item && stream_id_compare(found, id) == 0 ? item : NULL;
}

static void *take(const struct place *place, struct stream_id *found) {
    *found = place->id;
    return place->item;
}

static const struct place *edge(const struct idnode *node, bool last) {
    while (node->inner) node = node->places[last ? node->count - 1u : 0].item;
    return &node->places[last ? node->count - 1u : 0];
}

void *idtree_up_to(const struct idtree *tree, struct stream_id id, struct stream_id *found) {
    const struct idnode *node = tree->root;
    if (node == NULL) return NULL;
    for (;;) {
        unsigned count = up_to(node, id);
        if (count == 0) return NULL; /* only at the root: below, the first id is not above ID */
        if (!node->inner) return take(&node->places[count - 1], found);
        node = node->places[count - 1].item;
    }
}

void *idtree_from(const struct idtree *tree, struct stream_id id, struct stream_id *found) {
    const struct idnode *node = tree->root, *behind = NULL;
    if (node == NULL) return NULL;
    while (node->inner) {
        unsigned at = child_of(node, id);
        if (at + 1 < node->count) behind = node->places[at + 1].item;
        node = node->places[at].item;
    }
    unsigned count = up_to(node, id);
    if (count && stream_id_compare(node->places[count - 1].id, id) == 0) count--;
    if (count < node->count) return take(&node->places[count], found);
    return behind ? take(edge(behind, false), found) : NULL;
}

void idtree_replace(struct idtree *tree, struct stream_id id, void *item) {
    struct idnode *node = tree->root;
    while (node->inner) node = node->places[child_of(node, id)].item;
    unsigned count = up_to(node, id);
    ASSERT(count && stream_id_compare(node->places[count - 1].id, id) == 0);
    node->places[count - 1].item = item;
}

/* ---- adding ---- */

static void put(struct idnode **slot, unsigned at, struct place place) {
    struct idnode *node = *slot;
    ASSERT(node->count < PLACES && at <= node->count);
    if (node->count == node->room) {
        node->room = (uint16_t)(node->room * 2 > PLACES ? PLACES : node->room * 2u);
        node = mem_realloc(node, sizeof *node + node->room * sizeof node->places[0]);
        *slot = node;
    }
    memmove(node->places + at + 1, node->places + at, (node->count - at) * sizeof *node->places);
    node->places[at] = place;
    node->count++;
}

/* Put PLACE at AT; if the node is full, into it or into a new one to its right, which is returned.
 */
static struct idnode *put_or_split(struct idnode **slot, unsigned at, struct place place) {
    struct idnode *node = *slot;
    if (node->count < PLACES) {
        put(slot, at, place);
        return NULL;
    }
    unsigned stay = at == node->count ? PLACES : PLACES / 2;
    struct idnode *right = node_new(PLACES, node->inner);
    right->count = (uint16_t)(PLACES - stay);
    memcpy(right->places, node->places + stay, right->count * sizeof *right->places);
    node->count = (uint16_t)stay;
    if (at < stay || (at == stay && stay < PLACES))
        put(slot, at, place);
    else
        put(&right, at - stay, place);
    return right;
}

static bool add_below(struct idnode **slot, struct place place, struct idnode **right) {
    struct idnode *node = *slot;
    unsigned count = up_to(node, place.id);
    *right = NULL;
    if (!node->inner) {
        if (count && stream_id_compare(node->places[count - 1].id, place.id) == 0) return false;
        *right = put_or_split(slot, count, place);
        return true;
    }
    unsigned at = count ? count - 1 : 0;
    struct idnode *child = node->places[at].item, *split;
    if (!add_below(&child, place, &split)) return false;
    node->places[at] = (struct place){child->places[0].id, child};
    if (split) *right = put_or_split(slot, at + 1, (struct place){split->places[0].id, split});
    return true;
}

bool idtree_add(struct idtree *tree, struct stream_id id, void *item) {
    struct idnode *right;
    ASSERT(item != NULL);
    if (tree->root == NULL) tree->root = node_new(2, false);
    if (!add_below(&tree->root, (struct place){id, item}, &right)) return false;
    tree->count++;
    if (right) {
        struct idnode *root = node_new(4, true);
        root->places[0] = (struct place){tree->root->places[0].id, tree->root};
        root->places[1] = (struct place){right->places[0].id, right};
        root->count = 2;
        tree->root = root;
    }
    return true;
}

/* ---- removing ---- */

static void drop(struct idnode *node, unsigned at) {
    node->count--;
    memmove(node->places + at, node->places + at + 1, (node->count - at) * sizeof *node->places);
}

/* Put the children at AT and AT + 1 together if that makes one that is not too full. */
static void join(struct idnode *parent, unsigned at) {
    struct idnode *left = parent->places[at].item, *right = parent->places[at + 1].item;
    if (left->count + right->count > ENOUGH) return;
    for (unsigned i = 0; i < right->count; i++) put(&left, left->count, right->places[i]);
    mem_free(right);
    parent->places[at].item = left;
    drop(parent, at + 1);
}

static void *remove_below(struct idnode *node, struct stream_id id) {
    unsigned count = up_to(node, id);
    if (count == 0) return NULL;
    struct place *place = &node->places[count - 1];
    if (!node->inner) {
        if (stream_id_compare(place->id, id) != 0) return NULL;
        void *item = place->item;
        drop(node, count - 1);
        return item;
    }
    struct idnode *child = place->item;
    void *item = remove_below(child, id);
    if (item == NULL) return NULL;
    if (child->count == 0) {
        mem_free(child);
        drop(node, count - 1);
        return item;
    }
    place->id = child->places[0].id;
    if (child->count < FEW) {
        if (count < node->count)
            join(node, count - 1);
        else if (count > 1)
            join(node, count - 2);
    }
    return item;
}

void *idtree_remove(struct idtree *tree, struct stream_id id) {
    if (tree->root == NULL) return NULL;
    void *item = remove_below(tree->root, id);
    if (item == NULL) return NULL;
    tree->count--;
    while (tree->root->inner && tree->root->count == 1) {
        struct idnode *only = tree->root->places[0].item;
        mem_free(tree->root);
        tree->root = only;
    }
    if (tree->count == 0) idtree_close(tree);
    return item;
}

size_t idtree_bytes(const struct idtree *tree) {
    return tree->count * sizeof(struct place) * 5 / 4 + (tree->root ? sizeof *tree->root : 0);
}

static size_t check_below(const struct idnode *node, const struct idnode *root, unsigned *depth) {
    size_t items = 0;
    unsigned first_depth = 0;
    ASSERT(node->count > 0 && node->count <= node->room && node->room <= PLACES);
    for (unsigned i = 0; i < node->count; i++) {
        unsigned below = 0;
        if (i) ASSERT(stream_id_compare(node->places[i - 1].id, node->places[i].id) < 0);
        if (!node->inner) {
            items++;
            continue;
        }
        const struct idnode *child = node->places[i].item;
        ASSERT(stream_id_compare(child->places[0].id, node->places[i].id) == 0);
        items += check_below(child, root, &below);
        if (i == 0) first_depth = below;
        ASSERT(below == first_depth);
        if (i + 1 < node->count)
            ASSERT(stream_id_compare(edge(child, true)->id, node->places[i + 1].id) < 0);
    }
    *depth = first_depth + 1;
    return items;
}

void idtree_check(const struct idtree *tree) {
    unsigned depth;
    ASSERT((tree->root == NULL) == (tree->count == 0));
    if (tree->root) ASSERT(check_below(tree->root, tree->root, &depth) == tree->count);
}

/* list.c -- a chain of listpacks. See list.h.
 *
 * No node is ever empty. Everything that changes a node goes through node_put(), node_cut() and
 * list_remove(), which keep both counts.
 */
#include "server/list.h"

#include "lib/base/mem.h"

#define PLAIN_MIN                                                                                  \
    ((size_t)512 << 20)  /* beyond this an element is plain whatever the limits say                \
                          */
#define SAFE_BYTES 8192U /* a bound on nodes that are limited by their count */
#define ITEM_EXTRA 11U   /* the most that a listpack adds to an element */

struct list_node {
    struct list_node *prev, *next;
    uint8_t *data; /* a listpack; if plain, the element's bytes */
    size_t size;   /* if plain: its bytes */
    uint32_t count;
    bool plain;
    uint8_t passed; /* bits of walks: see list_walk_begin() */
};

struct list {
    struct list_node *first, *last;
    size_t count, nodes;
    struct value_watch *watch;
    uint8_t polarity; /* a node is passed by a walk when its bit is as here */
};

struct list *list_new(void) {
    return NEW(struct list);
}

static struct list_node *node_new(struct list *list, uint8_t *data, uint32_t count) {
    struct list_node *node = NEW(struct list_node);
    node->data = data;
    node->count = count;
    node->passed = list->polarity;
    list->nodes++;
    list->count += count;
    return node;
}

static struct list_node *node_new_packed(struct list *list) {
    return node_new(list, lp_new(0), 0);
}

static struct list_node *node_new_plain(struct list *list, struct slice element) {
    uint8_t *data = mem_alloc(element.size ? element.size : 1);
    if (element.size) memcpy(data, element.data, element.size);
    struct list_node *node = node_new(list, data, 1);
    node->plain = true;
    node->size = element.size;
    return node;
}

/* Hang NODE in behind BEFORE; at the front for NULL. */
static void node_link(struct list *list, struct list_node *node, struct list_node *before) {
    node->prev = before;
    node->next = before ? before->next : list->first;
    *(node->prev ? &node->prev->next : &list->first) = node;
    *(node->next ? &node->next->prev : &list->last) = node;
}

static void node_drop(struct list *list, struct list_node *node) {
    value_watch_tell(list->watch, node, WATCH_GONE);
    *(node->prev ? &node->prev->next : &list->first) = node->next;
    *(node->next ? &node->next->prev : &list->last) = node->prev;
    list->nodes--;
    list->count -= node->count;
    mem_free(node->data);
    mem_free(node);
}

void list_free(struct list *list) {
    if (!list) return;
    while (list->first) node_drop(list, list->first);
    mem_free(list);
}

static size_t node_data_bytes(const struct list_node *node) {
    return node->plain ? node->size : lp_bytes(node->data);
}

struct list *list_copy(const struct list *list) {
    struct list *copy = list_new();
    for (const struct list_node *n = list->first; n; n = n->next) {
        if (n->plain) {
            list_append_plain(copy, slice_from(n->data, n->size));
        } else {
            list_append_listpack(copy, mem_dup(n->data, lp_bytes(n->data)));
        }
    }
    return copy;
}

size_t list_count(const struct list *list) {
    return list->count;
}
size_t list_nodes(const struct list *list) {
    return list->nodes;
}

size_t list_memory(const struct list *list, size_t samples) {
    size_t bytes = 0, seen = 0;
    for (const struct list_node *n = list->first; n && (samples == 0 || seen < samples);
         n = n->next) {
        bytes += mem_size(n) + mem_size(n->data);
        seen++;
    }
    if (seen) bytes = bytes / seen * list->nodes + bytes % seen;
    return mem_size(list) + bytes;
}

static bool is_plain(const struct type_limits *limits, struct slice element) {
    return element.size >= PLAIN_MIN || (int64_t)element.size >= limits->list_packed_threshold;
}

/* Whether a node of COUNT elements in BYTES is within the limits. */
static bool size_is_good(const struct type_limits *limits, size_t bytes, size_t count) {
    static const uint32_t classes[] = {4096, 8192, 16384, 32768, 65536};
    int64_t limit = limits->list_max_listpack_size;
    if (limit < 0) return bytes <= classes[limit < -5 ? 4 : -limit - 1];
    if (limit > 32767) limit = 32767;
    return bytes <= SAFE_BYTES && count <= (limit ? (size_t)limit : 1);
}

static bool node_takes(const struct type_limits *limits, const struct list_node *node,
                       struct slice element) {
    if (!node || node->plain) return false;
    return size_is_good(limits, lp_bytes(node->data) + element.size + ITEM_EXTRA, node->count + 1U);
}

/* Put ELEMENT at AT of the packed NODE; LP_NONE: at its end (LP_AFTER) or front (LP_BEFORE). */
static void node_put(struct list *list, struct list_node *node, uint32_t at, enum lp_where where,
                     struct slice element) {
    value_watch_tell(list->watch, node, WATCH_EDIT);
    if (at != LP_NONE) {
        lp_insert(&node->data, at, element, where);
    } else if (where == LP_BEFORE) {
        lp_prepend(&node->data, element);
    } else {
        lp_append(&node->data, element);
    }
    if (where == LP_REPLACE) return;
    node->count++;
    list->count++;
}

/* A new node for ELEMENT alone, behind BEFORE. */
static void put_alone(struct list *list, const struct type_limits *limits, struct list_node *before,
                      struct slice element) {
    struct list_node *node;
    if (is_plain(limits, element)) {
        node = node_new_plain(list, element);
    } else {
        node = node_new_packed(list);
        node_put(list, node, LP_NONE, LP_AFTER, element);
    }
    node_link(list, node, before);
}

void list_push(struct list *list, const struct type_limits *limits, enum list_end end,
               struct slice element) {
    struct list_node *node = end == LIST_HEAD ? list->first : list->last;
    if (!is_plain(limits, element) && node_takes(limits, node, element)) {
        node_put(list, node, LP_NONE, end == LIST_HEAD ? LP_BEFORE : LP_AFTER, element);
    } else {
        put_alone(list, limits, end == LIST_HEAD ? NULL : list->last, element);
    }
}

/* The node of INDEX < list_count(); *INDEX becomes the index in it. */
static struct list_node *find_node(const struct list *list, size_t *index) {
    if (*index < list->count / 2) {
        struct list_node *node = list->first;
        while (*index >= node->count) {
            *index -= node->count;
            node = node->next;
        }
        return node;
    }
    struct list_node *node = list->last;
    size_t from_end = list->count - 1 - *index;
    while (from_end >= node->count) {
        from_end -= node->count;
        node = node->prev;
    }
    *index = node->count - 1 - from_end;
    return node;
}

/* Cut COUNT elements from position FROM on out of NODE, which keeps some. */
static uint32_t node_cut(struct list *list, struct list_node *node, uint32_t at, uint32_t count) {
    ASSERT(!node->plain && count < node->count);
    value_watch_tell(list->watch, node, WATCH_EDIT);
    node->count -= count;
    list->count -= count;
    return lp_delete(&node->data, at, count);
}

void list_remove(struct list *list, size_t index, size_t count) {
    if (count == 0) return;
    ASSERT(index < list->count && count <= list->count - index);
    struct list_node *node = find_node(list, &index);
    while (count > 0) {
        struct list_node *next = node->next;
        size_t here = node->count - index < count ? node->count - index : count;
        if (here == node->count) {
            node_drop(list, node);
        } else {
            node_cut(list, node, lp_seek(node->data, (int64_t)index), (uint32_t)here);
        }
        count -= here;
        index = 0;
        node = next;
    }
}

/* Stand on the first (or, backwards, last) element of NODE. */
static void iter_enter(struct list_iter *iter, struct list_node *node) {
    iter->node = node;
    iter->valid = node != NULL;
    iter->at = LP_NONE;
    if (node && !node->plain)
        iter->at = iter->backward ? lp_last(node->data) : lp_first(node->data);
}

struct list_iter list_iter_at(struct list *list, size_t index, bool backward) {
    struct list_iter iter = {.list = list, .backward = backward};
    if (index >= list->count) return iter;
    iter.node = find_node(list, &index);
    iter.valid = true;
    if (!iter.node->plain) iter.at = lp_seek(iter.node->data, (int64_t)index);
    return iter;
}

bool list_next(struct list_iter *iter, struct slice *element) {
    struct list_node *node = iter->node;
    if (!iter->valid) return false;
    iter->last_node = node;
    iter->last_at = iter->at;
    if (node->plain) {
        *element = slice_from(node->data, node->size);
    } else {
        *element = lp_text(node->data, iter->at, iter->scratch);
        iter->at = iter->backward ? lp_prev(node->data, iter->at) : lp_next(node->data, iter->at);
    }
    if (iter->at == LP_NONE) iter_enter(iter, iter->backward ? node->prev : node->next);
    return true;
}

void list_iter_remove(struct list_iter *iter) {
    struct list_node *node = iter->last_node;
    ASSERT(node);
    iter->last_node = NULL;
    if (node->count == 1) { /* the walk is already in another node */
        node_drop(iter->list, node);
        return;
    }
    uint32_t next = node_cut(iter->list, node, iter->last_at, 1);
    if (!iter->backward && iter->node == node) iter->at = next; /* it has moved up */
}

/* Cut the packed NODE before AT; the part from AT on becomes the node behind it. */
static void node_split(struct list *list, struct list_node *node, uint32_t at) {
    value_watch_tell(list->watch, node, WATCH_EDIT);
    uint8_t *rest = lp_split(&node->data, at);
    uint32_t moved = lp_count(rest);
    ASSERT(moved > 0 && moved < node->count);
    node->count -= moved;
    list->count -= moved;
    node_link(list, node_new(list, rest, moved), node);
}

void list_iter_insert(struct list_iter *iter, const struct type_limits *limits, enum lp_where where,
                      struct slice element) {
    struct list *list = iter->list;
    struct list_node *node = iter->last_node;
    uint32_t at = iter->last_at;
    ASSERT(node && where != LP_REPLACE);
    iter->valid = false;
    bool plain = is_plain(limits, element);
    if (!plain && node_takes(limits, node, element)) {
        node_put(list, node, at, where, element);
        return;
    }
    bool at_front = node->plain || at == lp_first(node->data);
    bool at_end = node->plain || lp_next(node->data, at) == LP_NONE;
    if (where == LP_AFTER && at_end) {
        if (!plain && node_takes(limits, node->next, element)) {
            node_put(list, node->next, LP_NONE, LP_BEFORE, element);
        } else {
            put_alone(list, limits, node, element);
        }
    } else if (where == LP_BEFORE && at_front) {
        if (!plain && node_takes(limits, node->prev, element)) {
            node_put(list, node->prev, LP_NONE, LP_AFTER, element);
        } else {
            put_alone(list, limits, node->prev, element);
        }
    } else {
        node_split(list, node, where == LP_AFTER ? lp_next(node->data, at) : at);
        if (!plain && node_takes(limits, node, element)) {
            node_put(list, node, LP_NONE, LP_AFTER, element);
        } else {
            put_alone(list, limits, node, element);
        }
    }
}

void list_iter_replace(struct list_iter *iter, const struct type_limits *limits,
                       struct slice element) {
    struct list_node *node = iter->last_node;
    ASSERT(node);
    if (!node->plain && !is_plain(limits, element)) {
        size_t rest = lp_bytes(node->data) - lp_item_bytes(node->data, iter->last_at);
        if (node->count == 1 ||
            size_is_good(limits, rest + element.size + ITEM_EXTRA, node->count)) {
            node_put(iter->list, node, iter->last_at, LP_REPLACE, element);
            iter->valid = false;
            return;
        }
    }
    struct list_iter old = *iter; /* the new one goes in behind, then the old one goes out */
    uint32_t count = node->count;
    list_iter_insert(iter, limits, LP_AFTER, element);
    ASSERT(node->count <= count + 1);
    old.backward = true;
    list_iter_remove(&old);
}

void list_walk_begin(struct list *list, uint8_t walk) {
    list->polarity ^= walk;
}

bool list_node_is_passed(const struct list *list, const struct list_node *node, uint8_t walk) {
    return ((node->passed ^ list->polarity) & walk) == 0;
}

void list_node_pass(const struct list *list, struct list_node *node, uint8_t walk) {
    node->passed = (uint8_t)((node->passed & ~walk) | (list->polarity & walk));
}

const struct list_node *list_node_next(const struct list *list, const struct list_node *node) {
    return node ? node->next : list->first;
}

struct slice list_node_bytes(const struct list_node *node, bool *plain) {
    *plain = node->plain;
    return slice_from(node->data, node_data_bytes(node));
}

void list_append_listpack(struct list *list, uint8_t *lp) {
    uint32_t count = lp_count(lp);
    ASSERT(count > 0);
    node_link(list, node_new(list, lp, count), list->last);
}

void list_append_plain(struct list *list, struct slice element) {
    node_link(list, node_new_plain(list, element), list->last);
}

void list_check(const struct list *list) {
    size_t count = 0, nodes = 0;
    const struct list_node *prev = NULL;
    for (const struct list_node *n = list->first; n; prev = n, n = n->next) {
        ASSERT(n->prev == prev && n->count > 0);
        ASSERT(n->plain ? n->count == 1 : lp_count(n->data) == n->count);
        count += n->count;
        nodes++;
    }
    ASSERT(list->last == prev && count == list->count && nodes == list->nodes);
}

/* ---- what every type must be able to do */

static void ops_free(enum encoding encoding, void *ptr) {
    (void)encoding;
    list_free(ptr);
}

static size_t ops_effort(enum encoding encoding, const void *ptr) {
    (void)encoding;
    return list_nodes(ptr);
}

static void *ops_copy(enum encoding encoding, const void *ptr) {
    (void)encoding;
    return list_copy(ptr);
}

static size_t ops_memory(enum encoding encoding, const void *ptr, size_t samples) {
    (void)encoding;
    return list_memory(ptr, samples);
}

static size_t ops_length(enum encoding encoding, const void *ptr) {
    (void)encoding;
    return list_count(ptr);
}

static struct value_watch **ops_watch(enum encoding encoding, void *ptr) {
    (void)encoding;
    return &((struct list *)ptr)->watch;
}

const struct value_ops list_ops = {ops_free,   ops_effort, ops_copy,
                                   ops_memory, ops_length, ops_watch};

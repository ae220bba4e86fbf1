/* list.h -- the list behind ENC_QUICKLIST: a chain of listpacks, each with its count.
 *
 *     list: count, first, last
 *     node <-> node <-> node      packed: a listpack of at most list_max_listpack_size
 *                                 plain:  one huge element as it is
 *
 * Ends are O(1); an index is found by skipping whole nodes from the nearer end.
 * Sizes of nodes follow Redis 7.0 (quicklist.c): limits->list_max_listpack_size, and an element of
 * limits->list_packed_threshold bytes or more is plain.
 *
 * Slices that are handed out point into the list, or into the iterator if the element is a number;
 * they die with the next change of the list or step of the iterator.
 * Elements may have any size that the protocol lets through; slices given in must not lie in the
 * list.
 */
#ifndef SERVER_LIST_H
#define SERVER_LIST_H

#include "lib/base/slice.h"
#include "lib/redis/listpack.h"
#include "server/limits.h"
#include "server/value.h"

struct list;

enum list_end { LIST_HEAD, LIST_TAIL };

struct list *list_new(void);
void list_free(struct list *list);
struct list *list_copy(const struct list *list);

size_t list_count(const struct list *list);
size_t list_nodes(const struct list *list);
size_t list_memory(const struct list *list, size_t samples); /* bytes; 0: measure all nodes */

void list_push(struct list *list, const struct type_limits *limits, enum list_end end,
               struct slice element);
/* Remove COUNT <= list_count() elements from INDEX on. */
void list_remove(struct list *list, size_t index, size_t count);

/* ---- walking and changing in the middle */

struct list_node;
struct list_iter {
    struct list *list;
    struct list_node *node, *last_node; /* of the next element, and of the last one returned */
    uint32_t at, last_at;               /* in the listpack; LP_NONE: the node's one plain element */
    bool backward, valid;               /* valid: there is a next element */
    char scratch[LP_TEXT_SIZE];
};

/* A walk whose first element is the one at INDEX; none if INDEX >= list_count(). */
struct list_iter list_iter_at(struct list *list, size_t index, bool backward);
bool list_next(struct list_iter *iter, struct slice *element); /* false at the end */

/* Remove the element that list_next() has just returned; the walk goes on with the same next one.
 */
void list_iter_remove(struct list_iter *iter);
/* Put ELEMENT in the place of the one just returned, or beside it. The walk is over. */
void list_iter_replace(struct list_iter *iter, const struct type_limits *limits,
                       struct slice element);
void list_iter_insert(struct list_iter *iter, const struct type_limits *limits, enum lp_where where,
                      struct slice element);

/* ---- whole nodes, for loading and saving */

/* The node behind NODE, the first one for NULL; NULL at the end. */
const struct list_node *list_node_next(const struct list *list, const struct list_node *node);
/* The node's bytes: a listpack, or the one element of a plain node. */
struct slice list_node_bytes(const struct list_node *node, bool *plain);

/* A walk over the nodes while the list changes: a snapshot's. WALK is a bit, of one walk at a time.
 * Beginning makes all nodes not passed; a node that comes later is born passed. When the walk ends
 * all must be passed. The list's watch hears of a node before it changes or goes. */
void list_walk_begin(struct list *list, uint8_t walk);
bool list_node_is_passed(const struct list *list, const struct list_node *node, uint8_t walk);
void list_node_pass(const struct list *list, struct list_node *node, uint8_t walk);

/* Append a node. The listpack, which is valid and not empty, or a copy of the plain element becomes
 * the list's. A listpack that is over the limits is kept as it is. */
void list_append_listpack(struct list *list, uint8_t *lp);
void list_append_plain(struct list *list, struct slice element);

extern const struct value_ops list_ops; /* ENC_QUICKLIST: a struct list */

void list_check(const struct list *list); /* panics if the structure is broken; for tests */

#endif

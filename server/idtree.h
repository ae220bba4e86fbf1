/* idtree.h -- an ordered map from stream ids to pointers: the nodes of a stream, and the pending
 * entries of groups and consumers.
 *
 * A B+tree whose nodes know neither parents nor neighbours; a small map is one small allocation.
 * Ids mostly come in ascending order and mostly leave from the front: appending fills nodes to the
 * brim. Everything is O(log n). A walk needs no state that a change could spoil: ask for the first
 * item from an id on, then from the id behind it on.
 *
 *     struct stream_id at = {0, 0};
 *     for (void *item; (item = idtree_from(&tree, at, &at)) != NULL;) {
 *         ...
 *         if (!stream_id_next(&at)) break;
 *     }
 *
 * Items are the caller's; the tree neither frees nor looks at them.
 */
#ifndef SERVER_IDTREE_H
#define SERVER_IDTREE_H

#include "lib/redis/rdb.h"

#define STREAM_ID_MIN ((struct stream_id){0, 0})
#define STREAM_ID_MAX ((struct stream_id){UINT64_MAX, UINT64_MAX})

/* The id behind or before *ID. False at the end: then *ID is the other end (as Redis has it). */
bool stream_id_next(struct stream_id *id);
bool stream_id_previous(struct stream_id *id);

struct idnode;

struct idtree { /* all-zero: empty */
    struct idnode *root;
    size_t count;
};

void idtree_close(struct idtree *tree);

/* ITEM is not NULL. False if ID is there already: nothing changes then. */
bool idtree_add(struct idtree *tree, struct stream_id id, void *item);
/* The item that was there, or NULL. */
void *idtree_remove(struct idtree *tree, struct stream_id id);
/* Put ITEM in the place of the one that is there. */
void idtree_replace(struct idtree *tree, struct stream_id id, void *item);

void *idtree_find(const struct idtree *tree, struct stream_id id);
/* The first item with an id of at least ID, or the last with one of at most ID; *FOUND is its
 * id. NULL: there is none. */
void *idtree_from(const struct idtree *tree, struct stream_id id, struct stream_id *found);
void *idtree_up_to(const struct idtree *tree, struct stream_id id, struct stream_id *found);

size_t idtree_bytes(const struct idtree *tree); /* O(1), estimated from the count */
void idtree_check(const struct idtree *tree);   /* panics if the structure is broken; for tests */

#endif

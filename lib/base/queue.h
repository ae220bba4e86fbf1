/* queue.h -- an intrusive list, and a bounded ring of pointers.
 *
 * The list is circular with a head of its own; a member embeds a `struct list`. A zeroed link is on
 * no list, and list_remove() zeroes it, so "is it queued" needs no flag.
 */
#ifndef LIB_BASE_QUEUE_H
#define LIB_BASE_QUEUE_H

#include "lib/base/check.h"
#include "lib/base/mem.h"

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev; /* both NULL: on no list. A head that is alone points to itself. */
};

static inline void list_init(struct list *head) {
    head->next = head->prev = head;
}
static inline bool list_is_empty(const struct list *head) {
    return head->next == head;
}
static inline bool list_is_linked(const struct list *link) {
    return link->next != NULL;
}

static inline void list_insert(struct list *before, struct list *link) {
    ASSERT(link->next == NULL);
    link->next = before;
    link->prev = before->prev;
    before->prev->next = link;
    before->prev = link;
}

static inline void list_push(struct list *head, struct list *link) {
    list_insert(head, link);
}
static inline void list_push_front(struct list *head, struct list *link) {
    list_insert(head->next, link);
}

/* From whatever list it is on; on none is fine. */
static inline void list_remove(struct list *link) {
    if (link->next == NULL) return;
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->next = link->prev = NULL;
}

/* The first link, taken off; NULL when empty. */
static inline struct list *list_pop(struct list *head) {
    struct list *link = head->next;
    if (link == head) return NULL;
    list_remove(link);
    return link;
}

/* Everything from FROM to the end of TO, in order; FROM is empty afterwards. */
static inline void list_move(struct list *to, struct list *from) {
    if (list_is_empty(from)) return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

/* The struct TYPE whose MEMBER is LINK. */
#define LIST_OWNER(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

#define LIST_EACH(head, at) for (struct list *at = (head)->next; at != (head); at = at->next)

/* A first-in first-out ring of at most CAP pointers. One owner; no locks. */
struct ring {
    void **slots;
    size_t cap, head, count; /* elements */
};

static inline void ring_init(struct ring *ring, size_t cap) {
    ASSERT(cap > 0);
    *ring = (struct ring){NEW_ARRAY(void *, cap), cap, 0, 0};
}
static inline void ring_close(struct ring *ring) {
    mem_free(ring->slots);
    *ring = (struct ring){0};
}
/* False when full; nothing is done then. */
MUST_CHECK static inline bool ring_push(struct ring *ring, void *item) {
    if (ring->count == ring->cap) return false;
    ring->slots[(ring->head + ring->count++) % ring->cap] = item;
    return true;
}
/* The oldest, or NULL. */
static inline void *ring_pop(struct ring *ring) {
    if (ring->count == 0) return NULL;
    void *item = ring->slots[ring->head];
    ring->head = (ring->head + 1) % ring->cap;
    ring->count--;
    return item;
}
static inline void *ring_peek(const struct ring *ring) {
    return ring->count ? ring->slots[ring->head] : NULL;
}

#endif

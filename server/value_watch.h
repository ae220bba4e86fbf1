/* value_watch.h -- hearing of changes inside one big value, before they happen.
 *
 * A snapshot captures a big value element by element, while it changes (snapshot_part.c). The
 * value has the head of a list of watches, NULL but for that time; whatever changes an element
 * calls value_watch_tell() first. All of it happens on the engine's thread.
 */
#ifndef SERVER_VALUE_WATCH_H
#define SERVER_VALUE_WATCH_H

#include <stddef.h>

enum value_change { WATCH_BORN /* about to be added */, WATCH_EDIT, WATCH_GONE };

struct value_watch {
    struct value_watch *next;
    /* ELEMENT: an item of the table, or a node of the list. */
    void (*changes)(struct value_watch *watch, void *element, enum value_change change);
    /* The value was to be freed: it belongs to its watches now; the last one frees it. */
    void (*orphaned)(struct value_watch *watch);
};

static inline void value_watch_tell(struct value_watch *watch, void *element,
                                    enum value_change change) {
    for (; watch; watch = watch->next) watch->changes(watch, element, change);
}

#endif

/* list_commands.h -- what the list commands that wait share with those that do not. */
#ifndef SERVER_LIST_COMMANDS_H
#define SERVER_LIST_COMMANDS_H

#include "server/list.h"

struct client;

/* Reply COUNT elements from FIRST on as an array, the last one first if BACKWARD. */
void list_reply_range(struct client *c, struct list *list, size_t first, size_t count,
                      bool backward);

/* Remove up to MOST (> 0) elements from an END and reply them as an array, or one as a bulk string.
 */
size_t list_reply_popped(struct client *c, struct list *list, enum list_end end, int64_t most);
void list_reply_one_popped(struct client *c, struct list *list, enum list_end end);

/* COUNT elements were popped: note the change, and delete KEY if LIST is now empty. */
void list_popped(struct client *c, struct slice key, struct list *list, enum list_end end,
                 size_t count);

#endif

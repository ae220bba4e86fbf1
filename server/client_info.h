/* client_info.h -- what CLIENT LIST says about a client, and the texts that clients give
 * themselves. */
#ifndef SERVER_CLIENT_INFO_H
#define SERVER_CLIENT_INFO_H

#include "server/client.h"

void client_describe(const struct client *c, struct buf *out); /* one line, without its end */
bool client_name_is_good(struct slice name);                   /* printable, without spaces */
void client_set_text(char **text, struct slice value);         /* empty: NULL */
const char *client_type_name(const struct client *c);          /* normal, master, replica, pubsub */

#endif

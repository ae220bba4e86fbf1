/* admin.h -- the gateway's own socket, for an operator with redis-cli (RESP):
 *
 *   GATEWAY STATS                    the counters as JSON
 *   GATEWAY CLIENTS                  as CLIENT LIST
 *   GATEWAY HOLD                     stop sending to the primary side; commands wait
 *   GATEWAY RELEASE [legacy|target]  go on, perhaps at the other side
 *   GATEWAY PIN legacy|target        forward there and obey state no more
 *   GATEWAY UNPIN                    obey state again
 *   GATEWAY RELOAD                   read the TLS listener's certificate again, as SIGHUP does
 *
 * HOLD, RELEASE and PIN by hand void the proof that both sides are level (C24); the answers say so.
 * The socket's file has mode 0600: who can open it may do this.
 */
#ifndef GATEWAY_ADMIN_H
#define GATEWAY_ADMIN_H

#include "gateway/gw.h"

struct admin;

MUST_CHECK enum err admin_open(struct admin **admin, struct gateway *gw, struct why *why);
void admin_close(struct admin *admin); /* NULL is fine */

#endif

/* net.h -- sockets: listening, accepting, reading requests, writing replies. For the core only.
 *
 * libuv polls; reading and writing are done here, one read and one write a turn and client. A
 * client whose input holds a whole request is put on the ready list; the turn (turn.c) executes.
 */
#ifndef SERVER_NET_H
#define SERVER_NET_H

#include "lib/base/why.h"
#include "server/client.h"

MUST_CHECK enum err net_listen(struct engine *engine, struct why *why);
/* Listens at what it does not listen at yet; so CONFIG SET port closes the TCP ones and calls it
 * again. */
void net_close_listeners(struct engine *engine, bool unix_too);
bool net_port_changed(const struct engine *engine); /* the option is not what is listened at */
void net_start(struct client *c);                   /* begin to poll the client's socket */
void net_stop(struct client *c);                    /* end it; also off all lists of the turn */
void net_forget(struct client *c);
void net_ready(struct client *c); /* look at its input in this turn, or the next */
struct client *net_take_ready(struct engine *engine); /* NULL: none */
void client_free_closed(struct client *c);
uint16_t net_port(const struct engine *engine); /* the one that is really listened at */

/* For output_wait.c: send what there is, what is refilled included; a client that is done with is
 * freed at the end of the turn. Or only the first BYTES of `out`. */
void net_send(struct client *c);
void net_send_part(struct client *c, size_t bytes);
void net_writable_later(struct client *c); /* nobody needs to know that the socket takes more */

/* While a script of C is busy, C is not read, written to or freed; what waits is done after. */
void net_hold(struct client *c);
void net_release(struct client *c);

#endif

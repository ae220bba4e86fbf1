/* dispatch.h -- over which connection a client's next request goes: the one place that knows.
 *
 * Capture `stream`: a client's requests stay in its own loop, over one connection that it shares
 * with others, or over one of its own ("leased"). A request that would change connections waits
 * until the client's earlier ones are answered, because applications rely on the order of their
 * pipeline (C11a).
 * Capture `lane`: dual.h.
 *
 * The functions are declared in client.h: client_conn(), client_lease(), client_unlease().
 */
#ifndef GATEWAY_DISPATCH_H
#define GATEWAY_DISPATCH_H

#include "gateway/client.h"

/* The shared connection of WORKER for PROTO and DB, dialled if need be; NULL: not ready. */
struct backend *dispatch_shared(struct worker *worker, enum side side, unsigned proto, int32_t db);

/* Whether a request of CLIENT may leave now; false: the client was parked, or told off. */
bool dispatch_may_leave(struct client *client, enum take *take);
/* Whether BACKEND and the client have room for one more; false: it waits. */
bool dispatch_flows(struct client *client, struct backend *backend, enum take *take);

#endif

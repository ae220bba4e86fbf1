/* output.h -- the way of a reply from the handler to the socket. */
#ifndef SERVER_OUTPUT_H
#define SERVER_OUTPUT_H

#include "server/client.h"

/* It is sent the stream: an answer, whatever it asks, would be taken for a part of that. */
static inline bool output_is_stream(const struct client *c) {
    return (c->flags & (CLIENT_REPLICA | CLIENT_MONITOR)) == CLIENT_REPLICA;
}

/* May something be appended to c->out now? If so, the client is noted for writing at the end of the
 * turn. A replica that would be answered is disconnected. */
bool output_open_slow(struct client *c);
static inline bool output_open(struct client *c) {
    if (c->is_pending_out && !output_is_stream(c) &&
        !(c->flags & (CLIENT_MUTE | CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP | CLIENT_CLOSE_NOW)))
        return true;
    return output_open_slow(c);
}

/* The end of the turn: write what there is, then free clients that are done. */
void output_flush(struct engine *engine);
/* After a command: hang up clients whose unsent output is over its limit. */
void output_check_limit(struct client *c);

#endif

/* greeting.h -- the first commands on a connection to a Redis: HELLO or AUTH, CLIENT SETNAME,
 * SELECT.
 *
 * A decider without I/O, shared by the asynchronous and the blocking client.
 */
#ifndef LIB_CONTROL_GREETING_H
#define LIB_CONTROL_GREETING_H

#include "lib/base/buf.h"
#include "lib/base/secret.h"
#include "lib/redis/reply.h"

enum greeting_step { GREETING_HELLO, GREETING_AUTH, GREETING_NAME, GREETING_SELECT };

struct greeting {
    enum greeting_step steps[4]; /* one reply each, in this order */
    size_t count, answered;
};

struct greeting_wish {
    const char *user;              /* NULL: the default user */
    const struct secret *password; /* NULL or unset: no AUTH */
    const char *name;              /* NULL: no CLIENT SETNAME */
    bool resp3;
    int64_t db;
};

/* Append the commands to OUT. */
void greeting_write(struct greeting *greeting, const struct greeting_wish *wish, struct buf *out);

static inline bool greeting_is_done(const struct greeting *greeting) {
    return greeting->answered == greeting->count;
}

/* The next step's REPLY. An error has the server's words; a refused name is no error. */
MUST_CHECK enum err greeting_take(struct greeting *greeting, const struct resp_reply *reply,
                                  struct why *why);

#endif

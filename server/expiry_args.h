/* expiry_args.h -- expiry times as commands take them. */
#ifndef SERVER_EXPIRY_ARGS_H
#define SERVER_EXPIRY_ARGS_H

#include "lib/base/slice.h"

struct client;

/* A time in seconds or milliseconds, relative to now or absolute, to milliseconds since 1970.
 * Overflow, and with POSITIVE anything below 1, is replied as Redis does ("invalid expire time in
 * 'x' command"). */
bool expiry_read(struct client *c, struct slice arg, bool seconds, bool absolute, bool positive,
                 int64_t *expiry_ms);
/* Whether a key that gets this expiry is deleted at once: the time has passed, and we are who
 * decides. */
bool expiry_deletes_now(const struct client *c, int64_t expiry_ms);

#endif

/* fake_redis.h -- a server in a thread that speaks enough of the protocol to test clients against.
 *
 *     PING, ECHO text, AUTH [user] pass, HELLO 3 [AUTH user pass], SELECT n (0 to 15), CLIENT ...
 *     SILENT          never answers
 *     HANGUP          closes without an answer
 *     GARBAGE         answers with what is no reply
 *     BIG n           a bulk string of n bytes 'x'
 *     TWICE           two replies for one command
 *     PUSH text       a push, then +OK
 * Anything else: -ERR unknown command.
 */
#ifndef TESTS_SUPPORT_FAKE_REDIS_H
#define TESTS_SUPPORT_FAKE_REDIS_H

#include "lib/net/endpoint.h"

struct fake_redis;

struct fake_redis_options {
    const char *user, *password; /* NULL: no password is asked for */
    const char *listen;          /* NULL: 127.0.0.1:0 */
    const char *cert, *key;      /* NULL: no TLS */
    bool full;                   /* says that it has too many clients, and closes */
};

/* Aborts when it cannot start. */
struct fake_redis *fake_redis_open(const struct fake_redis_options *options);
void fake_redis_endpoint(const struct fake_redis *server, struct endpoint *endpoint);
void fake_redis_close(struct fake_redis *server);

#endif

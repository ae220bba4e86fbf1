/* why.h -- errors: a code the caller can act on, and a sentence a person can read.
 *
 * A function that can fail returns `enum err` and takes a `struct why *` last.
 * The code says what to do next (retry, give up, tell the client).
 * The text says what happened, outermost context first:
 *     "task t7: load checkpoint: open /var/lib/gw/state.db: permission denied"
 * A sentence is one line: control characters of names and values that came from outside become
 * spaces, so that nobody forges a line of a log or a reply.
 * On failure all out parameters are left as they were.
 */
#ifndef LIB_BASE_WHY_H
#define LIB_BASE_WHY_H

#include "lib/base/check.h"

#include <stdbool.h>

#define ERR_LIST(X)                                                                                \
    X(ERR_NOMEM, "out of memory")                                                                  \
    X(ERR_LIMIT, "a limit was exceeded")                                                           \
    X(ERR_IO, "input or output failed")                                                            \
    X(ERR_TIMEOUT, "timed out")                                                                    \
    X(ERR_CLOSED, "the peer closed the connection")                                                \
    X(ERR_PROTO, "the peer broke the protocol")                                                    \
    X(ERR_REFUSED, "the peer refused")                                                             \
    X(ERR_CORRUPT, "stored data is corrupt")                                                       \
    X(ERR_CONFIG, "the configuration is not valid")                                                \
    X(ERR_ABSENT, "there is no such thing")                                                        \
    X(ERR_EXISTS, "it is there already")                                                           \
    X(ERR_STATE, "not possible in this state")                                                     \
    X(ERR_DISK_FULL, "no space left on the disk")                                                  \
    X(ERR_STOPPED, "it was told to stop")

#define ERR_ENUM(name, text) name,
enum err { OK = 0, ERR_LIST(ERR_ENUM) };
#undef ERR_ENUM

struct why {
    char text[512]; /* always terminated; long texts are cut at the right end */
};

/* Start a reason. Returns ERR, so that `return why_set(...)` is the whole story. */
enum err why_set(struct why *why, enum err err, const char *fmt, ...) PRINTF(3, 4);

/* Put "FMT: " before the reason already in WHY. Returns ERR. */
enum err why_add(struct why *why, enum err err, const char *fmt, ...) PRINTF(3, 4);

#ifdef __clang_analyzer__ /* looks at one file at a time: it shall know that these fail */
#define why_set(why, err, ...) ((void)(why_set)(why, err, __VA_ARGS__), (err))
#define why_add(why, err, ...) ((void)(why_add)(why, err, __VA_ARGS__), (err))
#endif

/* The fixed sentence for a code, for metrics labels and replies. */
const char *err_text(enum err err);

/* Whether trying the same thing again later may succeed. */
bool err_is_transient(enum err err);

#endif

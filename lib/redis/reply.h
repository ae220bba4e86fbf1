/* reply.h -- one whole reply as a tree, for those who want to look at it.
 *
 * The reply may come from anybody: depth, number of elements and bytes are limited before memory
 * is taken. The tree is one block of memory: the nodes, and behind them a copy of the reply's
 * bytes, into which the texts point. It does not borrow from the bytes that were shown.
 */
#ifndef LIB_REDIS_REPLY_H
#define LIB_REDIS_REPLY_H

#include "lib/redis/resp.h"

#define RESP_DEPTH_MAX 32

struct resp_reply {
    enum resp_kind kind;
    struct slice text;              /* as resp_token.text; not terminated; of this tree's memory */
    int64_t number;                 /* RESP_INT, RESP_BOOL */
    double real;                    /* RESP_DOUBLE */
    size_t count;                   /* children; a map of n pairs has 2n: key, value, key, value */
    const struct resp_reply *child; /* child[0] .. child[count - 1] */
};

struct resp_reply_limits {
    size_t bytes_max; /* of the whole reply as it was sent */
    size_t items_max; /* nodes of the tree */
    size_t depth_max; /* at most RESP_DEPTH_MAX; a reply without children has depth 1 */
};

extern const struct resp_reply_limits resp_reply_limits_default; /* 64 MB, 1 million, 32 */

/* A reader of replies: remembers how far it looked. All zero is ready; it owns nothing. */
struct resp_reply_reader {
    struct resp_skip skip;
    size_t seen; /* bytes of the current reply that need no second look */
};

/* Read one reply from the front of BYTES.
 *   STEP_DONE  *reply is the tree (resp_reply_free() it); the reply took *used_bytes.
 *   STEP_MORE  nothing was taken; show the same bytes again with more behind them.
 *   STEP_FAIL  not RESP, over LIMITS, or no memory; WHY says which. Hang up.
 * A push comes out like any reply; attributes are dropped.
 */
MUST_CHECK enum step resp_reply_next(struct resp_reply_reader *reader,
                                     const struct resp_reply_limits *limits, struct slice bytes,
                                     struct resp_reply **reply, size_t *used_bytes,
                                     struct why *why);

void resp_reply_free(struct resp_reply *reply); /* NULL is fine */

static inline bool resp_reply_is_error(const struct resp_reply *reply) {
    return reply->kind == RESP_ERROR || reply->kind == RESP_BLOB_ERROR;
}

/* Whether it is a string or a status with exactly this TEXT ("OK"). */
bool resp_reply_is(const struct resp_reply *reply, const char *text);

/* The value that stands behind KEY in a map, or in an array of keys and values (as RESP2 sends
 * maps). NULL when there is none. */
const struct resp_reply *resp_reply_field(const struct resp_reply *reply, const char *key);

/* An integer, or a string that is one in full. */
bool resp_reply_to_int(const struct resp_reply *reply, int64_t *number);

/* The value of "name:value\r\n" in the text of an INFO reply; an empty slice and false when the
 * field is not there. */
bool resp_info_field(struct slice info, const char *name, struct slice *value);

#endif

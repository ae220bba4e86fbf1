/* reply_token.h -- what a side has answered, taken from its front token by token.
 *
 * Hostile input: false when there is no whole token (of that kind). Of reply_token() and
 * reply_token_of() REST is then what it was.
 */
#ifndef GATEWAY_REPLY_TOKEN_H
#define GATEWAY_REPLY_TOKEN_H

#include "lib/redis/resp.h"

static inline bool reply_token(struct slice *rest, struct resp_token *token) {
    size_t used = 0;
    struct why why;
    if (resp_next(&resp_limits_server, *rest, token, &used, &why) != STEP_DONE) return false;
    *rest = slice_drop(*rest, used);
    return true;
}

static inline bool reply_token_of(struct slice *rest, enum resp_kind kind,
                                  struct resp_token *token) {
    struct slice was = *rest;
    if (reply_token(rest, token) && token->kind == kind) return true;
    *rest = was;
    return false;
}

/* The head of an array or a map of at least one level: which of them is another client's choice. */
static inline bool reply_items(struct slice *rest, int64_t *items) {
    struct resp_token t;
    if (!reply_token(rest, &t) || (t.kind != RESP_ARRAY && t.kind != RESP_MAP)) return false;
    *items = t.number;
    return true;
}

static inline bool reply_text(struct slice *rest, struct slice *text) {
    struct resp_token t;
    if (!reply_token(rest, &t) || (t.kind != RESP_BULK && t.kind != RESP_DOUBLE)) return false;
    *text = t.text;
    return true;
}

static inline bool reply_int(struct slice *rest, int64_t *number) {
    struct resp_token t;
    if (!reply_token(rest, &t) || t.kind != RESP_INT) return false;
    *number = t.number;
    return true;
}

/* One whole reply of any nesting. */
static inline bool reply_skip(struct slice *rest) {
    struct resp_skip skip = {0};
    struct why why;
    size_t used = 0;
    if (resp_skip_next(&skip, &resp_limits_server, *rest, &used, &why) != STEP_DONE) return false;
    *rest = slice_drop(*rest, used);
    return true;
}

#endif

/* reply_token.h -- what a side has answered, taken from its front token by token.
 *
 * Hostile input: false when there is no whole token (of that kind); then REST is what it was.
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

#endif

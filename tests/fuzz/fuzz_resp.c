/* fuzz_resp.c -- any bytes as replies: the three readers agree, wherever the bytes are split.
 *
 * The first byte says in which pieces the bytes arrive.
 */
#include "lib/base/mem.h"
#include "lib/redis/reply.h"

static const struct resp_limits limits = {
    .line_bytes_max = 200, .bulk_bytes_max = 2000, .items_max = 500};
static const struct resp_reply_limits tree_limits = {
    .bytes_max = 3000, .items_max = 500, .depth_max = 8};

/* In a block of its exact size, so that a read past the end is seen. */
static enum step token_of(struct slice bytes, struct resp_token *token, size_t *used) {
    struct why why = {{0}};
    uint8_t *exact = mem_dup(bytes.data, bytes.size);
    enum step step = resp_next(&limits, slice_from(exact, bytes.size), token, used, &why);
    ASSERT((step == STEP_FAIL) == (why.text[0] != '\0'));
    if (step == STEP_DONE) {
        ASSERT(*used > 0 && *used <= bytes.size && token->kind < RESP_KINDS);
        if (token->text.size) {
            size_t at = (size_t)(token->text.data - exact);
            ASSERT(at + token->text.size <= *used);
            token->text.data = bytes.data + at;
        }
    }
    mem_free(exact);
    return step;
}

/* A token is the same with nothing behind it, and is not there with a byte less. */
static void tokens(struct slice bytes) {
    while (bytes.size) {
        struct resp_token token, again;
        size_t used, used_again;
        if (token_of(bytes, &token, &used) != STEP_DONE) return;
        ASSERT(token_of(slice_take(bytes, used), &again, &used_again) == STEP_DONE);
        ASSERT(used == used_again && token.kind == again.kind && token.number == again.number);
        ASSERT(slice_equal(token.text, again.text));
        ASSERT(token_of(slice_take(bytes, used - 1), &again, &used_again) == STEP_MORE);
        bytes = slice_drop(bytes, used);
    }
}

/* Where the first reply ends: 0 if it does not, SIZE_MAX if it is none. */
static size_t end_of(struct slice bytes, size_t piece) {
    struct resp_skip skip = {0};
    struct why why;
    size_t done = 0, shown = 0;
    while (shown < bytes.size) {
        shown = bytes.size - shown < piece ? bytes.size : shown + piece;
        size_t used = 0;
        enum step step = resp_skip_next(
            &skip, &limits, slice_drop(slice_take(bytes, shown), done), &used, &why);
        if (step == STEP_FAIL) return SIZE_MAX;
        ASSERT(used <= shown - done);
        done += used;
        if (step == STEP_DONE) return done;
    }
    return 0;
}

static size_t count(const struct resp_reply *reply) {
    size_t nodes = 1;
    for (size_t i = 0; i < reply->count; i++) nodes += count(&reply->child[i]);
    return nodes;
}

static void trees(struct slice bytes, size_t piece) {
    struct resp_reply_reader reader = {0};
    struct why why;
    size_t shown = 0;
    while (shown < bytes.size) {
        shown = bytes.size - shown < piece ? bytes.size : shown + piece;
        struct resp_reply *reply = NULL;
        size_t used = 0;
        enum step step = resp_reply_next(&reader, &tree_limits, slice_take(bytes, shown), &reply,
                                         &used, &why);
        if (step == STEP_FAIL) return;
        if (step != STEP_DONE) continue;
        ASSERT(used > 0 && used <= shown && count(reply) <= tree_limits.items_max);
        resp_reply_free(reply);
        return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    struct slice bytes = slice_from(data + 1, size - 1);
    size_t piece = 1 + data[0] % 40;
    tokens(bytes);
    ASSERT(end_of(bytes, piece) == end_of(bytes, bytes.size));
    trees(bytes, piece);
    return 0;
}

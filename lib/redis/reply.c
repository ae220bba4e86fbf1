/* reply.c -- one whole reply as a tree. See reply.h. */
#include "lib/redis/reply.h"

#include "lib/base/mem.h"

const struct resp_reply_limits resp_reply_limits_default = {
    .bytes_max = 64u << 20, .items_max = 1u << 20, .depth_max = RESP_DEPTH_MAX};

/* Building: nodes are handed out from one array, texts stay where they are in the copy. */
struct builder {
    struct resp_limits limits;
    struct slice unread;
    struct resp_reply *nodes;
    size_t used, cap;
    size_t depth_max;
};

/* Attributes are read and forgotten: COUNT trees pass. Depth needs no care, only the sum does. */
static enum step drop_trees(struct builder *b, int64_t count, struct why *why) {
    uint64_t left = (uint64_t)count;
    while (left > 0) {
        struct resp_token token;
        size_t used = 0;
        enum step step = resp_next(&b->limits, b->unread, &token, &used, why);
        if (step != STEP_DONE) return STEP_FAIL;
        b->unread = slice_drop(b->unread, used);
        if (token.kind != RESP_ATTRIBUTE) left--;
        if (token.kind == RESP_ARRAY || token.kind == RESP_MAP || token.kind == RESP_SET ||
            token.kind == RESP_PUSH || token.kind == RESP_ATTRIBUTE)
            left += (uint64_t)token.number;
    }
    return STEP_DONE;
}

static enum step next_token(struct builder *b, struct resp_token *token, struct why *why) {
    for (;;) {
        size_t used = 0;
        enum step step = resp_next(&b->limits, b->unread, token, &used, why);
        ASSERT(step != STEP_MORE); /* the reply was found to be whole */
        if (step != STEP_DONE) return step;
        b->unread = slice_drop(b->unread, used);
        if (token->kind != RESP_ATTRIBUTE) return STEP_DONE;
        step = drop_trees(b, token->number, why);
        if (step != STEP_DONE) return step;
    }
}

static enum step build(struct builder *b, struct resp_reply *node, size_t depth, struct why *why) {
    if (depth > b->depth_max) {
        why_set(why, ERR_LIMIT, "a reply of more than %zu levels", b->depth_max);
        return STEP_FAIL;
    }
    struct resp_token token;
    enum step step = next_token(b, &token, why);
    if (step != STEP_DONE) return step;
    *node = (struct resp_reply){
        .kind = token.kind, .text = token.text, .number = token.number, .real = token.real};
    if (token.kind != RESP_ARRAY && token.kind != RESP_MAP && token.kind != RESP_SET &&
        token.kind != RESP_PUSH)
        return STEP_DONE;
    size_t count = (size_t)token.number;
    ASSERT(count <= b->cap - b->used);
    struct resp_reply *child = b->nodes + b->used;
    b->used += count;
    node->number = 0;
    node->count = count;
    node->child = child;
    for (size_t i = 0; i < count && step == STEP_DONE; i++)
        step = build(b, &child[i], depth + 1, why);
    return step;
}

static enum step build_tree(const struct resp_reply_limits *limits, struct slice bytes,
                            size_t items, struct resp_reply **reply, struct why *why) {
    uint8_t *block = mem_try_alloc(items * sizeof(struct resp_reply) + bytes.size);
    if (block == NULL) {
        why_set(why, ERR_NOMEM, "no memory for a reply of %zu elements", items);
        return STEP_FAIL;
    }
    uint8_t *copy = block + items * sizeof(struct resp_reply);
    memcpy(copy, bytes.data, bytes.size);
    struct builder b = {
        .limits = {limits->bytes_max, limits->bytes_max, limits->items_max},
        .unread = slice_from(copy, bytes.size),
        .nodes = (struct resp_reply *)(void *)block,
        .used = 1,
        .cap = items,
        .depth_max = limits->depth_max,
    };
    ASSERT(b.depth_max <= RESP_DEPTH_MAX);
    enum step step = build(&b, b.nodes, 1, why);
    if (step != STEP_DONE) {
        mem_free(block);
        return STEP_FAIL;
    }
    *reply = b.nodes;
    return STEP_DONE;
}

enum step resp_reply_next(struct resp_reply_reader *reader, const struct resp_reply_limits *limits,
                          struct slice bytes, struct resp_reply **reply, size_t *used_bytes,
                          struct why *why) {
    ASSERT(reader->seen <= bytes.size);
    const struct resp_limits skim = {limits->bytes_max, limits->bytes_max, limits->items_max};
    size_t used = 0;
    enum step step =
        resp_skip_next(&reader->skip, &skim, slice_drop(bytes, reader->seen), &used, why);
    reader->seen += used;
    if (step == STEP_MORE) {
        if (bytes.size <= limits->bytes_max) return STEP_MORE;
        why_set(why, ERR_LIMIT, "a reply of more than %zu bytes", limits->bytes_max);
        return STEP_FAIL;
    }
    if (step == STEP_FAIL) return STEP_FAIL;
    if (reader->seen > limits->bytes_max) {
        why_set(why, ERR_LIMIT, "a reply of more than %zu bytes", limits->bytes_max);
        return STEP_FAIL;
    }
    size_t size = reader->seen;
    step = build_tree(limits, slice_take(bytes, size), (size_t)reader->skip.items, reply, why);
    if (step != STEP_DONE) return step;
    *reader = (struct resp_reply_reader){0};
    *used_bytes = size;
    return STEP_DONE;
}

void resp_reply_free(struct resp_reply *reply) {
    mem_free(reply);
}

static bool is_text(const struct resp_reply *reply) {
    return reply->kind == RESP_SIMPLE || reply->kind == RESP_BULK || reply->kind == RESP_VERBATIM;
}

bool resp_reply_is(const struct resp_reply *reply, const char *text) {
    return is_text(reply) && slice_equal(reply->text, slice_text(text));
}

const struct resp_reply *resp_reply_field(const struct resp_reply *reply, const char *key) {
    if (reply->kind != RESP_MAP && reply->kind != RESP_ARRAY) return NULL;
    for (size_t i = 0; i + 1 < reply->count; i += 2)
        if (resp_reply_is(&reply->child[i], key)) return &reply->child[i + 1];
    return NULL;
}

bool resp_reply_to_int(const struct resp_reply *reply, int64_t *number) {
    if (reply->kind == RESP_INT) {
        *number = reply->number;
        return true;
    }
    return is_text(reply) && slice_to_int(reply->text, number);
}

bool resp_info_field(struct slice info, const char *name, struct slice *value) {
    struct slice wanted = slice_text(name);
    *value = (struct slice){0};
    while (info.size > 0) {
        const uint8_t *end = memchr(info.data, '\n', info.size);
        size_t size = end ? (size_t)(end - info.data) : info.size;
        struct slice line = slice_take(info, size);
        info = slice_drop(info, end ? size + 1 : size);
        if (line.size > 0 && line.data[line.size - 1] == '\r') line.size--;
        if (line.size <= wanted.size || line.data[wanted.size] != ':') continue;
        if (!slice_starts(line, wanted)) continue;
        *value = slice_drop(line, wanted.size + 1);
        return true;
    }
    return false;
}

/* reads_compare.c -- whether two answers to the same read say the same. See reads.h. */
#include "gateway/reads.h"

#include "lib/base/mem.h"
#include "lib/redis/rdb_value.h"
#include "lib/redis/resp.h"

#include <stdlib.h>
#include <string.h>

#define TTL_S 1          /* two clocks, and rounding */
#define TTL_MS 1000
#define EXPIRETIME_MS 2 /* C3 */

/* How the elements of an answer are to be looked at. */
enum order { IN_ORDER, ANY_ORDER, PAIRS_IN_ANY_ORDER };

static const struct {
    const char *name;
    enum order order;
    int64_t apart; /* integers may differ by so much */
} table[] = {
    {"smembers", ANY_ORDER, 0},       {"sinter", ANY_ORDER, 0},
    {"sunion", ANY_ORDER, 0},         {"sdiff", ANY_ORDER, 0},
    {"hkeys", ANY_ORDER, 0},          {"hvals", ANY_ORDER, 0},
    {"hgetall", PAIRS_IN_ANY_ORDER, 0}, {"ttl", IN_ORDER, TTL_S},
    {"pttl", IN_ORDER, TTL_MS},       {"expiretime", IN_ORDER, 1},
    {"pexpiretime", IN_ORDER, EXPIRETIME_MS},
};

static bool take(struct slice *rest, struct resp_token *t) {
    size_t used = 0;
    struct why why;
    if (resp_next(&resp_limits_server, *rest, t, &used, &why) != STEP_DONE) return false;
    *rest = slice_drop(*rest, used);
    return true;
}

/* One whole tree from the front. */
static bool take_tree(struct slice *rest, struct slice *tree) {
    struct resp_skip skip = {0};
    struct why why;
    size_t used = 0;
    if (resp_skip_next(&skip, &resp_limits_server, *rest, &used, &why) != STEP_DONE) return false;
    *tree = slice_take(*rest, used);
    *rest = slice_drop(*rest, used);
    return true;
}

static bool is_error(const struct resp_token *t) {
    return t->kind == RESP_ERROR || t->kind == RESP_BLOB_ERROR;
}

static struct slice code_of(struct slice text) {
    const uint8_t *space = text.size ? memchr(text.data, ' ', text.size) : NULL;
    return space ? slice_take(text, (size_t)(space - text.data)) : text;
}

static int by_bytes(const void *a, const void *b) {
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

/* The elements of an aggregate, EACH trees making one; NULL: it is none. */
static struct slice *elements(struct slice rest, size_t each, size_t *count) {
    struct resp_token t;
    if (!take(&rest, &t) || t.number < 0) return NULL;
    if (t.kind != RESP_ARRAY && t.kind != RESP_SET && t.kind != RESP_MAP) return NULL;
    size_t trees = (size_t)t.number;
    if (trees > rest.size || trees % each != 0) return NULL;
    struct slice *list = NEW_ARRAY(struct slice, trees / each + 1);
    for (size_t i = 0; i < trees / each; i++) {
        struct slice tree, more;
        bool fine = take_tree(&rest, &tree);
        for (size_t k = 1; fine && k < each; k++) {
            fine = take_tree(&rest, &more);
            tree.size += fine ? more.size : 0;
        }
        if (!fine) {
            mem_free(list);
            return NULL;
        }
        list[i] = tree;
    }
    *count = trees / each;
    return list;
}

static bool same_elements(struct slice one, struct slice other, size_t each) {
    size_t count = 0, others = 0;
    struct slice *a = elements(one, each, &count), *b = elements(other, each, &others);
    bool same = a != NULL && b != NULL && count == others;
    if (same) {
        qsort(a, count, sizeof *a, by_bytes);
        qsort(b, count, sizeof *b, by_bytes);
    }
    for (size_t i = 0; same && i < count; i++) same = slice_equal(a[i], b[i]);
    mem_free(a);
    mem_free(b);
    return same;
}

static bool same_number(struct slice one, struct slice other) {
    double a = 0, b = 0;
    return rdb_score_parse(one, &a) && rdb_score_parse(other, &b) && a == b;
}

/* Token by token; SCORES: numbers that are written differently are the same. */
static bool same_in_order(struct slice one, struct slice other, int64_t apart, bool scores) {
    struct resp_token a, b;
    while (one.size > 0 && other.size > 0) {
        if (!take(&one, &a) || !take(&other, &b)) return false;
        if (is_error(&a) && is_error(&b)) {
            if (!slice_equal(code_of(a.text), code_of(b.text))) return false;
            continue;
        }
        if (a.kind != b.kind) return false;
        if (a.kind == RESP_INT) {
            bool exact = apart == 0 || a.number < 0 || b.number < 0; /* -1, -2 */
            int64_t between = a.number - b.number;
            if (exact ? a.number != b.number : between > apart || between < -apart) return false;
        } else if (a.kind == RESP_DOUBLE) {
            if (a.real != b.real) return false; /* NOLINT: the same bits are meant */
        } else if (!slice_equal(a.text, b.text) && !(scores && same_number(a.text, b.text))) {
            return false;
        }
        if (a.kind != RESP_INT && a.kind != RESP_DOUBLE && a.number != b.number) return false;
    }
    return one.size == 0 && other.size == 0;
}

bool reads_same(const struct command *command, struct slice one, struct slice other) {
    if (slice_equal(one, other)) return true;
    bool scores =
        command->group == COMMAND_GROUP_SORTED_SET || command->group == COMMAND_GROUP_GEO;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].name, command->name) != 0) continue;
        if (table[i].order == IN_ORDER) return same_in_order(one, other, table[i].apart, false);
        if (same_elements(one, other, table[i].order == ANY_ORDER ? 1 : 2)) return true;
    }
    return same_in_order(one, other, 0, scores);
}

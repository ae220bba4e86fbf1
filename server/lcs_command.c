/* lcs_command.c -- LCS: the longest common subsequence of two strings.
 *
 * length[i][j] is that of the first i bytes of one and the first j of the other. The table is
 * bounded: where it would be more than proto-max-bulk-len the command is refused.
 */
#include "lib/base/mem.h"
#include "server/args.h"
#include "server/engine.h"
#include "server/groups.h"
#include "server/reply.h"


struct lcs {
    struct slice a, b;
    uint32_t *length; /* (a.size + 1) rows of (b.size + 1) */
    bool want_len, want_matches, with_len;
    int64_t match_min;
};

static uint32_t *at(const struct lcs *l, size_t i, size_t j) {
    return &l->length[i * (l->b.size + 1) + j];
}

static bool read_options(struct client *c, struct lcs *l) {
    for (int i = 3; i < c->argc; i++) {
        if (arg_is(c->argv[i], "idx"))
            l->want_matches = true;
        else if (arg_is(c->argv[i], "len"))
            l->want_len = true;
        else if (arg_is(c->argv[i], "withmatchlen"))
            l->with_len = true;
        else if (arg_is(c->argv[i], "minmatchlen") && i + 1 < c->argc) {
            if (!arg_int(c, c->argv[++i], &l->match_min, NULL)) return false;
            if (l->match_min < 0) l->match_min = 0;
        } else {
            reply_syntax_error(c);
            return false;
        }
    }
    if (l->want_len && l->want_matches) {
        reply_error(c, "ERR If you want both the length and indexes, please just use IDX.");
        return false;
    }
    return true;
}

static void fill(struct lcs *l) {
    for (size_t i = 1; i <= l->a.size; i++)
        for (size_t j = 1; j <= l->b.size; j++) {
            uint32_t above = *at(l, i - 1, j), left = *at(l, i, j - 1);
            bool same = l->a.data[i - 1] == l->b.data[j - 1];
            *at(l, i, j) = same ? *at(l, i - 1, j - 1) + 1 : above > left ? above : left;
        }
}

/* A run of equal bytes that ends before I and J was found. */
static bool reply_match(struct client *c, const struct lcs *l, size_t i, size_t j, size_t size) {
    if (size == 0 || (int64_t)size < l->match_min) return false;
    reply_array(c, l->with_len ? 3 : 2);
    reply_array(c, 2);
    reply_int(c, (int64_t)i);
    reply_int(c, (int64_t)(i + size - 1));
    reply_array(c, 2);
    reply_int(c, (int64_t)j);
    reply_int(c, (int64_t)(j + size - 1));
    if (l->with_len) reply_int(c, (int64_t)size);
    return true;
}

/* Walk back from the end: the bytes go into TEXT (if not NULL), matches are replied as they are
 * found. */
static size_t walk(struct client *c, const struct lcs *l, uint8_t *text) {
    size_t i = l->a.size, j = l->b.size, left = *at(l, i, j), run = 0, matches = 0;
    while (i > 0 && j > 0) {
        if (l->a.data[i - 1] == l->b.data[j - 1]) {
            if (text) text[--left] = l->a.data[i - 1];
            i--, j--, run++;
            continue;
        }
        if (!text) matches += reply_match(c, l, i, j, run);
        run = 0;
        if (*at(l, i - 1, j) > *at(l, i, j - 1))
            i--;
        else
            j--;
    }
    if (!text) matches += reply_match(c, l, i, j, run);
    return matches;
}

static void answer(struct client *c, const struct lcs *l) {
    uint32_t length = *at(l, l->a.size, l->b.size);
    if (l->want_len) {
        reply_int(c, length);
    } else if (l->want_matches) {
        reply_map(c, 2);
        reply_bulk_text(c, "matches");
        size_t mark = reply_later(c);
        reply_later_array(c, mark, walk(c, l, NULL));
        reply_bulk_text(c, "len");
        reply_int(c, length);
    } else {
        uint8_t *text = mem_alloc(length);
        (void)walk(c, l, text);
        reply_bulk(c, slice_from(text, length));
        mem_free(text);
    }
}

static bool read_string(struct client *c, struct slice key, char scratch[ENTRY_INT_TEXT],
                        struct slice *text) {
    struct entry *e = key_read(c, key);
    if (e && entry_type(e) != TYPE_STRING) {
        reply_error(c, "ERR The specified keys must contain string values");
        return false;
    }
    *text = e ? entry_string(e, scratch) : SLICE("");
    return true;
}

static void run_lcs(struct client *c) {
    struct lcs l = {0};
    char first[ENTRY_INT_TEXT], second[ENTRY_INT_TEXT];
    (void)key_lookup(
        c, c->argv[2]); /* what has expired goes now, not while the first string is borrowed */
    if (!read_string(c, c->argv[1], first, &l.a) || !read_string(c, c->argv[2], second, &l.b) ||
        !read_options(c, &l))
        return;
    uint64_t cells = (uint64_t)(l.a.size + 1) * (l.b.size + 1);
    if (cells > (uint64_t)c->engine->settings.proto_max_bulk_len / sizeof *l.length) {
        reply_error(c,
                    "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
        return;
    }
    l.length = mem_try_alloc(cells * sizeof *l.length);
    if (l.length == NULL) {
        reply_error(c, "ERR Insufficient memory, failed allocating transient memory for LCS");
        return;
    }
    memset(l.length, 0, cells * sizeof *l.length);
    fill(&l);
    answer(c, &l);
    mem_free(l.length);
}

void string_lcs_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"lcs", run_lcs}};
    command_bind(engine, bindings, COUNT(bindings));
}

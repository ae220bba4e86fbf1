/* mini_chunks.c -- the mini Redis: how big a value is, and parts of it. See mini_redis.h. */
#include "tests/sim/mini_inside.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
    const char *length, *scan, *type;
} words[] = {
    [MINI_NONE] = {NULL, NULL, "none"},          [MINI_STRING] = {"strlen", NULL, "string"}, [MINI_LIST] = {"llen", NULL, "list"},
    [MINI_SET] = {"scard", "sscan", "set"},      [MINI_HASH] = {"hlen", "hscan", "hash"},    [MINI_ZSET] = {"zcard", "zscan", "zset"},
};

static bool is(const struct call *c, const char *word) { return word != NULL && slice_equal_nocase(c->argv[0], slice_text(word)); }

static bool is_pairs(const struct mini_value *v) { return v->type == MINI_HASH || v->type == MINI_ZSET; }

/* The more items the more: the real one has its own idea. */
void mini_do_memory(struct call *c) {
    struct mini_value *v = mini_look(c, c->argv[2]);
    if (v) resp_write_int(c->out, (int64_t)sizeof(struct mini_value) + v->count * 10);
    else resp_write_null(c->out, 2);
}

void mini_do_type(struct call *c) {
    struct mini_value *v = mini_look(c, c->argv[1]);
    resp_write_simple(c->out, slice_text(words[v ? v->type : MINI_NONE].type));
}

void mini_do_length(struct call *c) {
    struct mini_value *v;
    enum mini_type type = MINI_STRING;
    if (is(c, "xlen")) {
        resp_write_int(c->out, 0);
        return;
    }
    while (!is(c, words[type].length)) type++;
    if (!mini_typed(c, c->argv[1], type, &v)) return;
    resp_write_int(c->out, !v ? 0 : type == MINI_STRING ? (int64_t)strlen(v->item[0]) : is_pairs(v) ? v->count / 2 : v->count);
}

/* From and to as Redis reads them; false: nothing. */
static bool range(const struct call *c, int64_t count, int64_t *from, int64_t *to) {
    (void)slice_to_int(c->argv[2], from);
    (void)slice_to_int(c->argv[3], to);
    if (*from < 0) *from = *from + count < 0 ? 0 : *from + count;
    if (*to < 0) *to += count;
    if (*to >= count) *to = count - 1;
    return *from <= *to && count > 0;
}

void mini_do_getrange(struct call *c) {
    struct mini_value *v;
    int64_t from = 0, to = 0;
    if (!mini_typed(c, c->argv[1], MINI_STRING, &v)) return;
    struct slice text = v ? slice_text(v->item[0]) : SLICE("");
    if (!range(c, (int64_t)text.size, &from, &to)) text = SLICE("");
    else text = slice_take(slice_drop(text, (size_t)from), (size_t)(to - from + 1));
    resp_write_bulk(c->out, text);
}

void mini_do_lrange(struct call *c) {
    struct mini_value *v;
    int64_t from = 0, to = 0;
    if (!mini_typed(c, c->argv[1], MINI_LIST, &v)) return;
    if (!v || !range(c, v->count, &from, &to)) {
        resp_write_array(c->out, 0);
        return;
    }
    resp_write_array(c->out, (size_t)(to - from + 1));
    for (int64_t i = from; i <= to; i++) resp_write_text(c->out, v->item[i]);
}

/* The cursor counts items: whoever writes in between may have one of them skipped. */
void mini_do_scan_of(struct call *c) {
    struct mini_value *v;
    enum mini_type type = MINI_SET;
    int64_t cursor = 0, count = 10;
    char text[24];
    while (!is(c, words[type].scan)) type++;
    if (!mini_typed(c, c->argv[1], type, &v)) return;
    (void)slice_to_int(c->argv[2], &cursor);
    if (c->argc > 4) (void)slice_to_int(c->argv[4], &count);
    if (v && is_pairs(v)) count *= 2;
    int64_t size = v ? v->count : 0, end = cursor + count < size ? cursor + count : size;
    if (cursor > end) cursor = end;
    snprintf(text, sizeof text, "%" PRId64, end == size ? 0 : end);
    resp_write_array(c->out, 2);
    resp_write_text(c->out, text);
    resp_write_array(c->out, (size_t)(end - cursor));
    for (int64_t i = cursor; i < end; i++) resp_write_text(c->out, v->item[i]);
}

void mini_mark(struct call *c) {
    unsigned which = (unsigned)(c->argv[2].data[0] - '0');
    ASSERT(which < MINI_MARKS);
    snprintf(c->m->state.mark[which], sizeof c->m->state.mark[which], "%.*s", (int)c->argv[3].size, (const char *)c->argv[3].data);
    resp_write_int(c->out, 1);
}

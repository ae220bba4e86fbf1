/* mpop.c -- LMPOP, ZMPOP, BLMPOP and BZMPOP, whatever the type. See mpop.h. */
#include "server/mpop.h"

#include "server/types.h"

struct mpop {
    const struct mpop_kind *kind;
    int first_key, keys, end;
    int64_t most;
};

/* The arguments from AT on. */
static bool arguments_read(struct client *c, int at, const struct mpop_kind *kind, struct mpop *m) {
    int64_t keys;
    *m = (struct mpop){.kind = kind, .first_key = at + 1, .most = 1};
    if (!arg_int_range(c, c->argv[at], 1, INT64_MAX, &keys, "numkeys should be greater than 0"))
        return false;
    if (keys < c->argc - at - 1) {
        m->keys = (int)keys;
        int i = m->first_key + m->keys;
        m->end = arg_is(c->argv[i], kind->ends[1]);
        bool good = m->end || arg_is(c->argv[i], kind->ends[0]);
        i++;
        if (good && i == c->argc) return true;
        bool is_count = good && c->argc - i >= 2 && arg_is(c->argv[i], "count");
        if (is_count && !arg_int_range(c, c->argv[i + 1], 1, INT64_MAX, &m->most,
                                       "count should be greater than 0"))
            return false;
        if (is_count && c->argc - i == 2) return true;
    }
    reply_syntax_error(c);
    return false;
}

/* INSTEAD of what the client sent, or, when it was served later, beside it. */
static void give(struct client *c, struct slice key, struct typed *t, const struct mpop *m,
                 bool instead) {
    char text[NUMBER_TEXT];
    size_t length = value_ops(m->kind->type)->length(t->value.encoding, t->value.ptr);
    size_t count = (uint64_t)m->most > length ? length : (size_t)m->most;
    struct slice pop = slice_text(m->kind->pops[m->end]);
    struct slice number = slice_from(text, number_write_int(text, (int64_t)count));
    if (instead) {
        PROPAGATE_INSTEAD(c, pop, key, number);
    } else {
        PROPAGATE_ALSO(c, pop, key, number);
    }
    reply_array(c, 2);
    reply_bulk(c, key);
    m->kind->give(c, key, t, m->end, count);
}

bool mpop_serve(struct client *c, struct slice key, struct entry *e, const struct mpop_kind *kind) {
    struct mpop m;
    if (entry_type(e) != kind->type) return false;
    if (!arguments_read(c, 2, kind, &m)) return true;
    db_edit(c->db, e);
    struct typed t = {e, entry_value(e)};
    give(c, key, &t, &m, false);
    return true;
}

/* True when a reply was written. */
static bool give_first(struct client *c, const struct mpop *m) {
    for (int i = 0; i < m->keys; i++) {
        struct typed t;
        struct slice key = c->argv[m->first_key + i];
        enum found found = typed_write(c, key, m->kind->type, &t);
        if (found == ABSENT) continue;
        if (found == FOUND) give(c, key, &t, m, true);
        return true;
    }
    return false;
}

void mpop_run(struct client *c, const struct mpop_kind *kind) {
    struct mpop m;
    if (arguments_read(c, 1, kind, &m) && !give_first(c, &m)) reply_null_array(c);
}

void mpop_run_blocking(struct client *c, const struct mpop_kind *kind,
                       const struct block_how *how) {
    struct mpop m;
    int64_t deadline_ms;
    if (!arguments_read(c, 2, kind, &m) || !arg_timeout(c, c->argv[1], false, &deadline_ms)) return;
    if (give_first(c, &m)) return;
    if (block_is_denied(c)) {
        reply_null_array(c);
    } else {
        block_on_keys(c, c->argv + m.first_key, m.keys, deadline_ms, how);
    }
}

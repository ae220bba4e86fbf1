/* zset_pop.c -- ZPOPMIN, ZPOPMAX, ZMPOP and their blocking forms. Behaviour and texts follow
 * Redis 7.0 (t_zset.c, blocked.c). What leaves for replicas is always ZPOPMIN or ZPOPMAX.
 */
#include "server/block.h"
#include "server/mpop.h"
#include "server/typed.h"
#include "server/types.h"
#include "server/zset.h"

struct pop {
    bool from_top; /* MAX */
    bool nested;   /* pairs are arrays of their own */
    int64_t most;
};

static struct slice pop_name(const struct pop *p) {
    return p->from_top ? SLICE("ZPOPMAX") : SLICE("ZPOPMIN");
}

static size_t pop_size(const struct pop *p, const struct value *zset) {
    size_t length = zset_length(zset);
    return (uint64_t)p->most > length ? length : (size_t)p->most;
}

/* Reply COUNT pairs, remove them, and note what changed. The caller has begun the array. */
static void pop_pairs(struct client *c, const struct pop *p, struct slice key, struct typed *t,
                      size_t count) {
    struct zset_iter iter;
    struct slice member;
    double score;
    size_t length = zset_length(&t->value);
    zset_iter_init(&iter, &t->value, p->from_top ? length - 1 : 0, p->from_top);
    for (size_t i = 0; i < count && zset_next(&iter, &member, &score); i++) {
        if (p->nested) reply_array(c, 2);
        reply_bulk(c, member);
        reply_double(c, score);
    }
    if (count < length) zset_remove_ranks(&t->value, p->from_top ? length - count : 0, count);
    typed_store(t);
    key_changed(c, key, NOTIFY_ZSET, p->from_top ? "zpopmax" : "zpopmin", count);
    if (count == length) key_delete_empty(c, key);
}

static void pop(struct client *c, bool from_top) {
    struct typed t;
    struct pop p = {.from_top = from_top, .most = 1};
    if (c->argc > 3) {
        reply_syntax_error(c);
        return;
    }
    if (c->argc == 3 && !arg_int_range(c, c->argv[2], 0, INT64_MAX, &p.most,
                                       "value is out of range, must be positive"))
        return;
    enum found found = typed_write(c, c->argv[1], TYPE_ZSET, &t);
    if (found == WRONG_TYPE) return;
    if (found == ABSENT || p.most == 0) {
        reply_empty_array(c);
        return;
    }
    size_t count = pop_size(&p, &t.value);
    p.nested = c->resp > 2 && c->argc == 3;
    reply_array(c, p.nested ? count : count * 2);
    pop_pairs(c, &p, c->argv[1], &t, count);
}

static void zpopmin(struct client *c) {
    pop(c, false);
}
static void zpopmax(struct client *c) {
    pop(c, true);
}

/* ---- BZPOPMIN, BZPOPMAX */

static struct pop single_by_name(const struct client *c) {
    return (struct pop){.from_top = c->command->name[6] == 'a', .most = 1}; /* bzpopmAx */
}

static void give_one(struct client *c, const struct pop *p, struct slice key, struct typed *t) {
    reply_array(c, 3);
    reply_bulk(c, key);
    pop_pairs(c, p, key, t, 1);
}

static bool bzpop_serve(struct client *c, struct slice key, struct entry *e) {
    if (entry_type(e) != TYPE_ZSET) return false;
    struct typed t = {e, entry_value(e)};
    struct pop p = single_by_name(c);
    typed_edit(c, &t);
    PROPAGATE_ALSO(c, pop_name(&p), key);
    give_one(c, &p, key, &t);
    return true;
}

static const struct block_how bzpop_how = {bzpop_serve, reply_null_array, TYPE_ZSET};

static void bzpop(struct client *c) {
    int64_t deadline_ms;
    int keys = c->argc - 2;
    struct pop p = single_by_name(c);
    if (!arg_timeout(c, c->argv[c->argc - 1], false, &deadline_ms)) return;
    for (int i = 1; i <= keys; i++) {
        struct typed t;
        enum found found = typed_write(c, c->argv[i], TYPE_ZSET, &t);
        if (found == WRONG_TYPE) return;
        if (found == ABSENT) continue;
        PROPAGATE_INSTEAD(c, pop_name(&p), c->argv[i]);
        give_one(c, &p, c->argv[i], &t);
        return;
    }
    if (block_is_denied(c)) {
        reply_null_array(c);
    } else {
        block_on_keys(c, c->argv + 1, keys, deadline_ms, &bzpop_how);
    }
}

/* ---- ZMPOP, BZMPOP */

static void mpop_give(struct client *c, struct slice key, struct typed *t, int end, size_t count) {
    reply_array(c, count);
    pop_pairs(c, &(struct pop){.from_top = end, .nested = true}, key, t, count);
}

static const struct mpop_kind zsets = {
    TYPE_ZSET, {"min", "max"}, {"ZPOPMIN", "ZPOPMAX"}, mpop_give};

static bool bzmpop_serve(struct client *c, struct slice key, struct entry *e) {
    return mpop_serve(c, key, e, &zsets);
}

static const struct block_how bzmpop_how = {bzmpop_serve, reply_null_array, TYPE_ZSET};

static void zmpop(struct client *c) {
    mpop_run(c, &zsets);
}
static void bzmpop(struct client *c) {
    mpop_run_blocking(c, &zsets, &bzmpop_how);
}

void zset_pop_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"zpopmin", zpopmin}, {"zpopmax", zpopmax}, {"bzpopmin", bzpop},
        {"bzpopmax", bzpop},  {"zmpop", zmpop},     {"bzmpop", bzmpop},
    };
    command_bind(engine, bindings, COUNT(bindings));
}

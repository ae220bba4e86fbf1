/* zset_commands.c -- ZADD, ZINCRBY, ZREM and the commands that ask for single members. Behaviour
 * and texts follow Redis 7.0 (t_zset.c). Ranges are in zset_range.c, ZPOP in zset_pop.c, ZUNION and
 * its like in zset_algebra.c, ZRANDMEMBER in random_commands.c, ZSCAN in value_scan.c.
 */
#include "server/zset_commands.h"
#include "server/typed.h"
#include "server/types.h"
#include "server/zset.h"

#include "lib/base/mem.h"

#include <math.h>

struct zadd {
    bool nx, xx, gt, lt, ch, incr;
    int first, pairs; /* the argument of the first score; how many scores */
    uint64_t added, updated, processed;
    double score; /* of the last one processed */
};

static bool zadd_option(struct zadd *z, struct slice word) {
    static const char *const names[] = {"nx", "xx", "gt", "lt", "ch", "incr"};
    bool *const flags[] = {&z->nx, &z->xx, &z->gt, &z->lt, &z->ch, &z->incr};
    for (size_t i = 0; i < COUNT(names); i++) {
        if (!arg_is(word, names[i])) continue;
        *flags[i] = true;
        return true;
    }
    return false;
}

static bool zadd_read(struct client *c, struct zadd *z) {
    const char *error = NULL;
    z->first = 2;
    while (z->first < c->argc && zadd_option(z, c->argv[z->first])) z->first++;
    int rest = c->argc - z->first;
    z->pairs = rest / 2;
    if (rest % 2 || rest == 0) {
        reply_syntax_error(c);
        return false;
    }
    if (z->nx && z->xx) {
        error = "XX and NX options at the same time are not compatible";
    } else if ((z->gt && z->nx) || (z->lt && z->nx) || (z->gt && z->lt)) {
        error = "GT, LT, and/or NX options at the same time are not compatible";
    } else if (z->incr && z->pairs > 1) {
        error = "INCR option supports a single increment-element pair";
    }
    if (error) reply_error(c, "ERR %s", error);
    return !error;
}

/* False if the result would be no number. */
static bool zadd_one(struct client *c, struct zadd *z, struct value *zset, struct slice member,
                     double score) {
    double old = 0;
    bool there = zset_score(zset, member, &old);
    if (there ? z->nx : z->xx) return true;
    if (there && z->incr) score += old;
    if (isnan(score)) return false;
    if (there && ((z->lt && score >= old) || (z->gt && score <= old))) return true;
    z->processed++;
    z->score = score;
    if (!there || score != old) {
        zset_add(zset, limits_of(c), member, score);
        z->added += !there;
        z->updated += there;
    }
    return true;
}

static void zadd_reply(struct client *c, const struct zadd *z) {
    if (!z->incr) {
        reply_int(c, (int64_t)(z->added + (z->ch ? z->updated : 0)));
    } else if (z->processed) {
        reply_double(c, z->score);
    } else {
        reply_null(c);
    }
}

static void zadd_store(struct client *c, struct zadd *z, const double *scores) {
    struct typed t;
    bool good = true;
    enum found found = typed_write(c, c->argv[1], TYPE_ZSET, &t);
    if (found == WRONG_TYPE) return;
    if (found == ABSENT && z->xx) {
        zadd_reply(c, z);
        return;
    }
    if (found == ABSENT) t.value = zset_new(limits_of(c), c->argv[z->first + 1].size);
    for (int i = 0; good && i < z->pairs; i++)
        good = zadd_one(c, z, &t.value, c->argv[z->first + 1 + i * 2], scores[i]);
    if (found == FOUND) {
        typed_store(&t);
    } else {
        key_add(c, c->argv[1], &t.value);
    }
    if (good) {
        zadd_reply(c, z);
    } else {
        reply_error(c, "ERR resulting score is not a number (NaN)");
    }
    uint64_t changes = z->added + z->updated;
    if (changes) key_changed(c, c->argv[1], NOTIFY_ZSET, z->incr ? "zincr" : "zadd", changes);
}

static void add(struct client *c, struct zadd *z) {
    if (!zadd_read(c, z)) return;
    double *scores = NEW_ARRAY(double, (size_t)z->pairs);
    bool good = true;
    for (int i = 0; good && i < z->pairs; i++)
        good = arg_double(c, c->argv[z->first + i * 2], &scores[i], NULL);
    if (good) zadd_store(c, z, scores);
    mem_free(scores);
}

static void zadd(struct client *c) {
    struct zadd z = {0};
    add(c, &z);
}

void zset_run_zadd(struct client *c, int argc, struct slice *argv) {
    int own_argc = c->argc;
    struct slice *own_argv = c->argv;
    uint64_t before = c->engine->dirty;
    c->argc = argc;
    c->argv = argv;
    zadd(c);
    c->argc = own_argc;
    c->argv = own_argv;
    if (c->engine->dirty != before) propagate_instead(c, argc, argv);
}

static void zincrby(struct client *c) {
    struct zadd z = {.incr = true};
    add(c, &z);
}

static void zrem(struct client *c) {
    struct typed t;
    uint64_t removed = 0;
    enum found found = typed_write(c, c->argv[1], TYPE_ZSET, &t);
    if (found == ABSENT) reply_int(c, 0);
    if (found != FOUND) return;
    for (int i = 2; i < c->argc && zset_length(&t.value) > 0; i++)
        removed += zset_remove(&t.value, c->argv[i]);
    typed_store(&t);
    if (removed) {
        key_changed(c, c->argv[1], NOTIFY_ZSET, "zrem", removed);
        if (zset_length(&t.value) == 0) key_delete_empty(c, c->argv[1]);
    }
    reply_int(c, (int64_t)removed);
}

static void zcard(struct client *c) {
    struct typed t;
    enum found found = typed_read(c, c->argv[1], TYPE_ZSET, &t);
    if (found == WRONG_TYPE) return;
    reply_int(c, found == FOUND ? (int64_t)zset_length(&t.value) : 0);
}

static void reply_score(struct client *c, const struct typed *t, struct slice member) {
    double score;
    if (t->entry && zset_score(&t->value, member, &score)) {
        reply_double(c, score);
    } else {
        reply_null(c);
    }
}

static void zscore(struct client *c) {
    struct typed t;
    if (typed_read(c, c->argv[1], TYPE_ZSET, &t) != WRONG_TYPE) reply_score(c, &t, c->argv[2]);
}

static void zmscore(struct client *c) {
    struct typed t;
    if (typed_read(c, c->argv[1], TYPE_ZSET, &t) == WRONG_TYPE) return;
    reply_array(c, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) reply_score(c, &t, c->argv[i]);
}

static void rank(struct client *c, bool backward) {
    struct typed t;
    size_t rank;
    enum found found = typed_read(c, c->argv[1], TYPE_ZSET, &t);
    if (found == WRONG_TYPE) return;
    if (found == ABSENT || !zset_rank(&t.value, c->argv[2], &rank)) {
        reply_null(c);
    } else {
        reply_int(c, (int64_t)(backward ? zset_length(&t.value) - 1 - rank : rank));
    }
}

static void zrank(struct client *c) {
    rank(c, false);
}
static void zrevrank(struct client *c) {
    rank(c, true);
}

void zset_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"zadd", zadd},     {"zincrby", zincrby}, {"zrem", zrem},   {"zcard", zcard},
        {"zscore", zscore}, {"zmscore", zmscore}, {"zrank", zrank}, {"zrevrank", zrevrank},
    };
    command_bind(engine, bindings, COUNT(bindings));
}

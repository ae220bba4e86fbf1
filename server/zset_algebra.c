/* zset_algebra.c -- ZUNION, ZINTER, ZDIFF, their STORE forms and ZINTERCARD, over sorted sets and
 * plain sets (whose members count with score 1). Behaviour and texts follow Redis 7.0 (t_zset.c).
 */
#include "server/set.h"
#include "server/typed.h"
#include "server/types.h"
#include "server/zset.h"

#include "lib/base/mem.h"

#include <math.h>
#include <stdlib.h>

enum operation { UNION, INTER, DIFF };
enum aggregate { SUM, MIN, MAX };

struct source {
    struct entry *entry; /* NULL: no such key */
    struct value value;
    double weight;
};

struct algebra {
    enum operation operation;
    enum aggregate aggregate;
    bool store, count_only, with_scores;
    int64_t limit; /* of count_only; 0: none */
    struct source *sources;
    size_t count;
};

/* ---- both kinds of source */

static size_t source_length(const struct source *s) {
    if (!s->entry) return 0;
    return s->value.type == TYPE_SET ? set_length(&s->value) : zset_length(&s->value);
}

static bool source_find(const struct source *s, struct slice member, double *score) {
    *score = 1;
    if (!s->entry) return false;
    if (s->value.type == TYPE_SET) return set_has(&s->value, member);
    return zset_score(&s->value, member, score);
}

struct source_iter {
    bool is_set;
    struct set_iter set;
    struct zset_iter zset;
};

static void source_iter_init(struct source_iter *iter, const struct source *s) {
    iter->is_set = s->value.type == TYPE_SET;
    if (iter->is_set) {
        set_iter_init(&iter->set, &s->value);
    } else {
        zset_iter_init(&iter->zset, &s->value, 0, false);
    }
}

static bool source_next(struct source_iter *iter, struct slice *member, double *score) {
    *score = 1;
    return iter->is_set ? set_next(&iter->set, member) : zset_next(&iter->zset, member, score);
}

static int by_length(const void *a, const void *b) {
    size_t x = source_length(a), y = source_length(b);
    return (x > y) - (x < y);
}

/* ---- scores */

static double number_or_zero(double score) {
    return isnan(score) ? 0 : score;
}

static double combine(double a, double b, enum aggregate how) {
    switch (how) {
    case SUM: return number_or_zero(a + b); /* inf - inf */
    case MIN: return b < a ? b : a;
    case MAX: return b > a ? b : a;
    }
    return a;
}

/* ---- the three operations; into RESULT, or only counted */

static bool score_in_all(const struct algebra *a, struct slice member, double first,
                         double *score) {
    *score = number_or_zero(a->sources[0].weight * first);
    for (size_t i = 1; i < a->count; i++) {
        const struct source *s = &a->sources[i];
        double other = first;
        if (s->entry != a->sources[0].entry && !source_find(s, member, &other)) return false;
        *score = combine(*score, other * s->weight, a->aggregate);
    }
    return true;
}

static uint64_t intersect(struct client *c, struct algebra *a, struct value *result) {
    struct source_iter iter;
    struct slice member;
    double first, score;
    uint64_t found = 0;
    qsort(a->sources, a->count, sizeof *a->sources, by_length);
    if (source_length(&a->sources[0]) == 0) return 0;
    source_iter_init(&iter, &a->sources[0]);
    while (source_next(&iter, &member, &first)) {
        if (!score_in_all(a, member, first, &score)) continue;
        found++;
        if (!a->count_only) {
            zset_add(result, limits_of(c), member, score);
        } else if (a->limit && found >= (uint64_t)a->limit) {
            break;
        }
    }
    return found;
}

static void unite(struct client *c, struct algebra *a, struct value *result) {
    struct source_iter iter;
    struct slice member;
    double score, old;
    qsort(a->sources, a->count, sizeof *a->sources, by_length);
    for (size_t i = 0; i < a->count; i++) {
        if (!a->sources[i].entry) continue;
        source_iter_init(&iter, &a->sources[i]);
        while (source_next(&iter, &member, &score)) {
            score = number_or_zero(a->sources[i].weight * score);
            if (zset_score(result, member, &old)) score = combine(old, score, a->aggregate);
            zset_add(result, limits_of(c), member, score);
        }
    }
}

static void subtract(struct client *c, struct algebra *a, struct value *result) {
    struct source_iter iter;
    struct slice member;
    double score, other;
    size_t first = source_length(&a->sources[0]), lookups = 0, removals = 0;
    if (first == 0) return;
    for (size_t i = 0; i < a->count; i++) {
        if (i > 0 && a->sources[i].entry == a->sources[0].entry) return;
        lookups += first;
        removals += source_length(&a->sources[i]);
    }
    bool by_lookup = lookups / 2 <= removals;
    source_iter_init(&iter, &a->sources[0]);
    while (source_next(&iter, &member, &score)) {
        bool keep = true;
        for (size_t i = 1; by_lookup && keep && i < a->count; i++)
            keep = !source_find(&a->sources[i], member, &other);
        if (keep) zset_add(result, limits_of(c), member, score);
    }
    for (size_t i = 1; !by_lookup && i < a->count && zset_length(result) > 0; i++) {
        if (!a->sources[i].entry) continue;
        source_iter_init(&iter, &a->sources[i]);
        while (source_next(&iter, &member, &score)) zset_remove(result, member);
    }
}

/* ---- reading the words */

static bool read_sources(struct client *c, struct algebra *a, int first_key) {
    for (size_t i = 0; i < a->count; i++) {
        struct entry *e = key_read(c, c->argv[first_key + (int)i]);
        a->sources[i] = (struct source){.entry = e, .weight = 1};
        if (!e) continue;
        if (entry_type(e) != TYPE_ZSET && entry_type(e) != TYPE_SET) {
            reply_wrong_type(c);
            return false;
        }
        a->sources[i].value = entry_value(e);
    }
    return true;
}

static bool read_weights(struct client *c, struct algebra *a, int at) {
    for (size_t i = 0; i < a->count; i++)
        if (!arg_double(c, c->argv[at + (int)i], &a->sources[i].weight,
                        "weight value is not a float"))
            return false;
    return true;
}

static bool read_aggregate(struct slice word, enum aggregate *aggregate) {
    static const char *const names[] = {"sum", "min", "max"};
    for (int i = 0; i < 3; i++) {
        if (!arg_is(word, names[i])) continue;
        *aggregate = (enum aggregate)i;
        return true;
    }
    return false;
}

static bool read_options(struct client *c, struct algebra *a, int at) {
    bool scored = a->operation != DIFF && !a->count_only;
    while (at < c->argc) {
        struct slice word = c->argv[at];
        size_t more = (size_t)(c->argc - at - 1);
        if (scored && more >= a->count && arg_is(word, "weights")) {
            if (!read_weights(c, a, at + 1)) return false;
            at += 1 + (int)a->count;
        } else if (scored && more >= 1 && arg_is(word, "aggregate") &&
                   read_aggregate(c->argv[at + 1], &a->aggregate)) {
            at += 2;
        } else if (!a->store && !a->count_only && arg_is(word, "withscores")) {
            a->with_scores = true;
            at++;
        } else if (a->count_only && more >= 1 && arg_is(word, "limit")) {
            if (!arg_int_range(c, c->argv[at + 1], 0, INT64_MAX, &a->limit,
                               "LIMIT can't be negative"))
                return false;
            at += 2;
        } else {
            reply_syntax_error(c);
            return false;
        }
    }
    return true;
}

/* ---- the commands */

static void reply_members(struct client *c, const struct algebra *a, const struct value *result) {
    struct zset_iter iter;
    struct slice member;
    double score;
    size_t length = zset_length(result);
    reply_array(c, a->with_scores && c->resp == 2 ? length * 2 : length);
    zset_iter_init(&iter, result, 0, false);
    while (zset_next(&iter, &member, &score)) {
        if (a->with_scores && c->resp > 2) reply_array(c, 2);
        reply_bulk(c, member);
        if (a->with_scores) reply_double(c, score);
    }
}

static void execute(struct client *c, struct algebra *a) {
    static const char *const events[] = {"zunionstore", "zinterstore", "zdiffstore"};
    if (a->count_only) {
        reply_int(c, (int64_t)intersect(c, a, NULL));
        return;
    }
    /* Big while it grows, as there may be many to come; a listpack again if it stays small. */
    struct value result = zset_new_sized(limits_of(c), SIZE_MAX);
    switch (a->operation) {
    case UNION: unite(c, a, &result); break;
    case INTER: intersect(c, a, &result); break;
    case DIFF: subtract(c, a, &result); break;
    }
    if (a->store) {
        zset_compact(&result, limits_of(c));
        typed_replace(c, c->argv[1], &result, NOTIFY_ZSET, events[a->operation]);
    } else {
        reply_members(c, a, &result);
        value_free(&result);
    }
}

static void algebra(struct client *c, enum operation operation, bool store, bool count_only) {
    struct algebra a = {.operation = operation, .store = store, .count_only = count_only};
    int at = store ? 2 : 1;
    int64_t keys;
    if (!arg_int(c, c->argv[at], &keys, NULL)) return;
    if (keys < 1) {
        reply_error(c, "ERR at least 1 input key is needed for '%s' command", c->command->name);
        return;
    }
    if (keys > c->argc - at - 1) {
        reply_syntax_error(c);
        return;
    }
    a.count = (size_t)keys;
    a.sources = NEW_ARRAY(struct source, a.count);
    if (read_sources(c, &a, at + 1) && read_options(c, &a, at + 1 + (int)a.count)) execute(c, &a);
    mem_free(a.sources);
}

static void zunion(struct client *c) {
    algebra(c, UNION, false, false);
}
static void zinter(struct client *c) {
    algebra(c, INTER, false, false);
}
static void zdiff(struct client *c) {
    algebra(c, DIFF, false, false);
}
static void zunionstore(struct client *c) {
    algebra(c, UNION, true, false);
}
static void zinterstore(struct client *c) {
    algebra(c, INTER, true, false);
}
static void zdiffstore(struct client *c) {
    algebra(c, DIFF, true, false);
}
static void zintercard(struct client *c) {
    algebra(c, INTER, false, true);
}

void zset_algebra_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"zunion", zunion},           {"zinter", zinter},           {"zdiff", zdiff},
        {"zunionstore", zunionstore}, {"zinterstore", zinterstore}, {"zdiffstore", zdiffstore},
        {"zintercard", zintercard},
    };
    command_bind(engine, bindings, COUNT(bindings));
}

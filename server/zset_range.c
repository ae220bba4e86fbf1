/* zset_range.c -- everything that takes a range of a sorted set: ZRANGE and its older forms,
 * ZRANGESTORE, ZREMRANGEBY*, ZCOUNT, ZLEXCOUNT. Behaviour and texts follow Redis 7.0 (t_zset.c).
 *
 *     words --> range (by rank, score or lex) --> first rank and count --> reply, store or remove
 */
#include "server/typed.h"
#include "server/types.h"
#include "server/zset.h"

#include <math.h>
#include <stdlib.h>

enum range_by { BY_AUTO, BY_RANK, BY_SCORE, BY_LEX };

struct score_bound {
    double score;
    bool open; /* the score itself is outside */
};

struct lex_bound {
    struct slice member;
    int end; /* -1: before all, 1: behind all, 0: see member */
    bool open;
};

struct range {
    enum range_by by;
    int64_t start, stop;
    struct score_bound low_score, high_score;
    struct lex_bound low_lex, high_lex;
};

/* ---- reading */

/* As strtod reads it, to the end; "(" in front excludes the score itself. */
static bool score_bound_read(struct slice arg, struct score_bound *bound) {
    char text[256], *end;
    bound->open = arg.size > 0 && arg.data[0] == '(';
    if (bound->open) arg = slice_drop(arg, 1);
    if (arg.size >= sizeof text) return false;
    if (arg.size) memcpy(text, arg.data, arg.size);
    text[arg.size] = '\0';
    bound->score = strtod(text, &end);
    return *end == '\0' && !isnan(bound->score);
}

static bool lex_bound_read(struct slice arg, struct lex_bound *bound) {
    char first = arg.size ? (char)arg.data[0] : '\0';
    *bound = (struct lex_bound){.open = first == '('};
    switch (first) {
    case '-':
    case '+':
        bound->end = first == '-' ? -1 : 1;
        bound->open = true;
        return arg.size == 1;
    case '(':
    case '[': bound->member = slice_drop(arg, 1); return true;
    default: return false;
    }
}

/* The range from LOW to HIGH; an error is replied. */
static bool range_read(struct client *c, struct range *r, struct slice low, struct slice high) {
    switch (r->by) {
    case BY_AUTO:
    case BY_RANK: return arg_int(c, low, &r->start, NULL) && arg_int(c, high, &r->stop, NULL);
    case BY_SCORE:
        if (score_bound_read(low, &r->low_score) && score_bound_read(high, &r->high_score))
            return true;
        reply_error(c, "ERR min or max is not a float");
        return false;
    case BY_LEX:
        if (lex_bound_read(low, &r->low_lex) && lex_bound_read(high, &r->high_lex)) return true;
        reply_error(c, "ERR min or max not valid string range item");
        return false;
    }
    return false;
}

/* ---- finding */

static int lex_compare(struct slice member, const struct lex_bound *b) {
    return b->end ? -b->end : slice_compare(member, b->member);
}

static bool before_low_lex(struct slice member, double score, const void *bound) {
    const struct lex_bound *b = bound;
    (void)score;
    int order = lex_compare(member, b);
    return b->open ? order <= 0 : order < 0;
}

static bool within_high_lex(struct slice member, double score, const void *bound) {
    const struct lex_bound *b = bound;
    (void)score;
    int order = lex_compare(member, b);
    return b->open ? order < 0 : order <= 0;
}

/* The ranks that R covers, counted from the low end. For BY_RANK, BACKWARD counts from the high
 * end. */
static void range_find(const struct value *zset, const struct range *r, bool backward,
                       size_t *first, size_t *count) {
    size_t length = zset_length(zset), behind = 0;
    *first = *count = 0;
    if (r->by == BY_RANK) {
        if (range_clip(r->start, r->stop, length, first, count) && backward)
            *first = length - *first - *count;
        return;
    }
    if (r->by == BY_SCORE) {
        *first = zset_count_score(zset, r->low_score.score, r->low_score.open);
        behind = zset_count_score(zset, r->high_score.score, !r->high_score.open);
    } else {
        *first = zset_count_below(zset, before_low_lex, &r->low_lex);
        behind = zset_count_below(zset, within_high_lex, &r->high_lex);
    }
    if (behind > *first) *count = behind - *first;
}

/* LIMIT: leave out OFFSET members from the side where the walk begins, and keep LIMIT (all if < 0).
 */
static void range_limit(int64_t offset, int64_t limit, bool backward, size_t *first,
                        size_t *count) {
    if (offset < 0 || (uint64_t)offset >= *count) {
        *count = 0;
        return;
    }
    *count -= (size_t)offset;
    if (!backward) *first += (size_t)offset;
    if (limit >= 0 && (uint64_t)limit < *count) {
        if (backward) *first += *count - (size_t)limit;
        *count = (size_t)limit;
    }
}

/* ---- ZRANGE and its forms */

struct zrange {
    struct range range;
    bool store, backward, direction_is_fixed, with_scores;
    int64_t offset, limit;
};

static bool zrange_options(struct client *c, struct zrange *z, int at) {
    z->limit = -1;
    for (int i = at; i < c->argc; i++) {
        struct slice word = c->argv[i];
        bool is_auto = z->range.by == BY_AUTO;
        if (!z->store && arg_is(word, "withscores")) {
            z->with_scores = true;
        } else if (arg_is(word, "limit") && c->argc - i > 2) {
            if (!arg_int(c, c->argv[i + 1], &z->offset, NULL) ||
                !arg_int(c, c->argv[i + 2], &z->limit, NULL))
                return false;
            i += 2;
        } else if (!z->direction_is_fixed && arg_is(word, "rev")) {
            z->backward = z->direction_is_fixed = true;
        } else if (is_auto && arg_is(word, "bylex")) {
            z->range.by = BY_LEX;
        } else if (is_auto && arg_is(word, "byscore")) {
            z->range.by = BY_SCORE;
        } else {
            reply_syntax_error(c);
            return false;
        }
    }
    if (z->range.by == BY_AUTO) z->range.by = BY_RANK;
    if (z->limit != -1 && z->range.by == BY_RANK) {
        reply_error(c,
                    "ERR syntax error, LIMIT is only supported in combination with either BYSCORE "
                    "or BYLEX");
        return false;
    }
    if (z->with_scores && z->range.by == BY_LEX) {
        reply_error(c, "ERR syntax error, WITHSCORES not supported in combination with BYLEX");
        return false;
    }
    return true;
}

static void zrange_reply(struct client *c, const struct zrange *z, const struct value *zset,
                         size_t first, size_t count) {
    struct zset_iter iter;
    struct slice member;
    double score;
    reply_array(c, z->with_scores && c->resp == 2 ? count * 2 : count);
    zset_iter_init(&iter, zset, z->backward ? first + count - 1 : first, z->backward);
    while (count-- > 0 && zset_next(&iter, &member, &score)) {
        if (z->with_scores && c->resp > 2) reply_array(c, 2);
        reply_bulk(c, member);
        if (z->with_scores) reply_double(c, score);
    }
}

static void zrange_store(struct client *c, const struct zrange *z, const struct value *zset,
                         size_t first, size_t count) {
    struct value result = zset_new_sized(limits_of(c), z->range.by == BY_RANK ? count : 0);
    struct zset_iter iter;
    struct slice member;
    double score;
    if (count > 0) {
        zset_iter_init(&iter, zset, first, false);
        while (count-- > 0 && zset_next(&iter, &member, &score))
            zset_add(&result, limits_of(c), member, score);
    }
    typed_replace(c, c->argv[1], &result, NOTIFY_ZSET, "zrangestore");
}

/* The arguments from KEY_AT on: key min max [options]. */
static void zrange_run(struct client *c, struct zrange *z, int key_at) {
    struct typed t;
    size_t first = 0, count = 0;
    if (!zrange_options(c, z, key_at + 3)) return;
    bool swap = z->backward && z->range.by != BY_RANK; /* given as max, min */
    if (!range_read(c, &z->range, c->argv[key_at + 1 + swap], c->argv[key_at + 2 - swap])) return;
    enum found found = typed_read(c, c->argv[key_at], TYPE_ZSET, &t);
    if (found == WRONG_TYPE) return;
    if (found == FOUND) {
        range_find(&t.value, &z->range, z->backward, &first, &count);
        if (z->range.by != BY_RANK) range_limit(z->offset, z->limit, z->backward, &first, &count);
    }
    if (z->store) {
        zrange_store(c, z, &t.value, first, count);
    } else if (count == 0) {
        reply_empty_array(c);
    } else {
        zrange_reply(c, z, &t.value, first, count);
    }
}

static void zrange(struct client *c) {
    struct zrange z = {0};
    zrange_run(c, &z, 1);
}

static void zrangestore(struct client *c) {
    struct zrange z = {.store = true};
    zrange_run(c, &z, 2);
}

static void old_form(struct client *c, enum range_by by, bool backward) {
    struct zrange z = {.range.by = by, .backward = backward, .direction_is_fixed = true};
    zrange_run(c, &z, 1);
}

static void zrevrange(struct client *c) {
    old_form(c, BY_RANK, true);
}
static void zrangebyscore(struct client *c) {
    old_form(c, BY_SCORE, false);
}
static void zrevrangebyscore(struct client *c) {
    old_form(c, BY_SCORE, true);
}
static void zrangebylex(struct client *c) {
    old_form(c, BY_LEX, false);
}
static void zrevrangebylex(struct client *c) {
    old_form(c, BY_LEX, true);
}

/* ---- counting and removing */

static void count_range(struct client *c, enum range_by by) {
    struct typed t;
    struct range r = {.by = by};
    size_t first, count = 0;
    if (!range_read(c, &r, c->argv[2], c->argv[3])) return;
    enum found found = typed_read(c, c->argv[1], TYPE_ZSET, &t);
    if (found == WRONG_TYPE) return;
    if (found == FOUND) range_find(&t.value, &r, false, &first, &count);
    reply_int(c, (int64_t)count);
}

static void zcount(struct client *c) {
    count_range(c, BY_SCORE);
}
static void zlexcount(struct client *c) {
    count_range(c, BY_LEX);
}

static void remove_range(struct client *c, enum range_by by, const char *event) {
    struct typed t;
    struct range r = {.by = by};
    size_t first, count = 0;
    if (!range_read(c, &r, c->argv[2], c->argv[3])) return;
    enum found found = typed_write(c, c->argv[1], TYPE_ZSET, &t);
    if (found == ABSENT) reply_int(c, 0);
    if (found != FOUND) return;
    range_find(&t.value, &r, false, &first, &count);
    bool all = count == zset_length(&t.value); /* then the whole value is freed elsewhere */
    if (!all) zset_remove_ranks(&t.value, first, count);
    typed_store(&t);
    if (count) key_changed(c, c->argv[1], NOTIFY_ZSET, event, count);
    if (all) key_delete_empty(c, c->argv[1]);
    reply_int(c, (int64_t)count);
}

static void zremrangebyrank(struct client *c) {
    remove_range(c, BY_RANK, "zremrangebyrank");
}
static void zremrangebyscore(struct client *c) {
    remove_range(c, BY_SCORE, "zremrangebyscore");
}
static void zremrangebylex(struct client *c) {
    remove_range(c, BY_LEX, "zremrangebylex");
}

void zset_range_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"zrange", zrange},
        {"zrangestore", zrangestore},
        {"zrevrange", zrevrange},
        {"zrangebyscore", zrangebyscore},
        {"zrevrangebyscore", zrevrangebyscore},
        {"zrangebylex", zrangebylex},
        {"zrevrangebylex", zrevrangebylex},
        {"zcount", zcount},
        {"zlexcount", zlexcount},
        {"zremrangebyrank", zremrangebyrank},
        {"zremrangebyscore", zremrangebyscore},
        {"zremrangebylex", zremrangebylex},
    };
    command_bind(engine, bindings, COUNT(bindings));
}

/* random_commands.c -- HRANDFIELD, SRANDMEMBER, ZRANDMEMBER: random elements of a big or small
 * value, with or without repetition. Replies and texts follow Redis 7.0.
 *
 * Distinct elements are chosen in one walk (each is taken with the probability that makes the
 * choice uniform), unless only a few of a big value are wanted: then by drawing, and drawing again
 * what came twice. Negative counts, which repeat elements, are refused beyond REPEAT_MOST: the
 * reply would be as big as the client likes.
 */
#include "server/hash.h"
#include "server/set.h"
#include "server/typed.h"
#include "server/types.h"
#include "server/zset.h"

#define REPEAT_MOST (INT64_C(1) << 26)
#define DRAW_IF_TIMES 3 /* the value has over this many times the wanted elements: draw */

struct element {
    struct slice name, value; /* value: of hashes */
    double score;             /* of sorted sets */
};

struct element_scratch {
    char name[LP_TEXT_SIZE];
    char both[2][LP_TEXT_SIZE];
};

struct element_iter {
    enum type type;
    struct hash_iter hash;
    struct set_iter set;
    struct zset_iter zset;
};

static size_t value_length(const struct value *v) {
    return value_ops(v->type)->length(v->encoding, v->ptr);
}

static void iter_init(struct element_iter *iter, const struct value *v) {
    iter->type = v->type;
    if (v->type == TYPE_HASH) {
        hash_iter_init(&iter->hash, v);
    } else if (v->type == TYPE_SET) {
        set_iter_init(&iter->set, v);
    } else {
        zset_iter_init(&iter->zset, v, 0, false);
    }
}

static bool iter_next(struct element_iter *iter, struct element *e) {
    if (iter->type == TYPE_HASH) return hash_next(&iter->hash, &e->name, &e->value);
    if (iter->type == TYPE_SET) return set_next(&iter->set, &e->name);
    return zset_next(&iter->zset, &e->name, &e->score);
}

static void draw(struct client *c, const struct value *v, struct element *e,
                 struct element_scratch *scratch) {
    struct rng *rng = &c->engine->rng;
    if (v->type == TYPE_HASH) {
        hash_random(v, rng, &e->name, &e->value, scratch->both);
    } else if (v->type == TYPE_SET) {
        e->name = set_random(v, rng, scratch->name);
    } else {
        e->name = zset_random(v, rng, &e->score, scratch->name);
    }
}

static void reply_element(struct client *c, const struct value *v, const struct element *e,
                          bool with_values) {
    if (with_values && c->resp > 2) reply_array(c, 2);
    reply_bulk(c, e->name);
    if (!with_values) return;
    if (v->type == TYPE_HASH) {
        reply_bulk(c, e->value);
    } else {
        reply_double(c, e->score);
    }
}

static void begin(struct client *c, size_t count, bool with_values) {
    reply_array(c, with_values && c->resp == 2 ? count * 2 : count);
}

static void reply_repeating(struct client *c, const struct value *v, size_t count,
                            bool with_values) {
    struct element e;
    struct element_scratch scratch;
    begin(c, count, with_values);
    while (count-- > 0 && !(c->flags & CLIENT_CLOSE_NOW)) {
        draw(c, v, &e, &scratch);
        reply_element(c, v, &e, with_values);
    }
}

/* Take each element with probability wanted / left: all sets of COUNT elements are equally likely.
 */
static void reply_by_walk(struct client *c, const struct value *v, size_t count, bool with_values) {
    struct element_iter iter;
    struct element e;
    size_t left = value_length(v);
    iter_init(&iter, v);
    while (count > 0 && iter_next(&iter, &e)) {
        if (rng_below(&c->engine->rng, left--) >= count) continue;
        reply_element(c, v, &e, with_values);
        count--;
    }
}

static void reply_by_drawing(struct client *c, const struct value *v, size_t count,
                             bool with_values) {
    static const struct type_limits no_intset = {.set_max_intset_entries = 0};
    struct value seen = set_new_sized(&no_intset, count);
    struct element e;
    struct element_scratch scratch;
    while (count > 0) {
        draw(c, v, &e, &scratch);
        if (!set_add(&seen, &no_intset, e.name)) continue;
        reply_element(c, v, &e, with_values);
        count--;
    }
    value_free(&seen);
}

static void reply_distinct(struct client *c, const struct value *v, size_t count,
                           bool with_values) {
    size_t length = value_length(v);
    bool small = v->encoding == ENC_LISTPACK || v->encoding == ENC_INTSET;
    if (count > length) count = length;
    begin(c, count, with_values);
    if (small || count * DRAW_IF_TIMES > length) {
        reply_by_walk(c, v, count, with_values);
    } else {
        reply_by_drawing(c, v, count, with_values);
    }
}

/* The count and the word behind it. */
static bool read_options(struct client *c, const char *word, int64_t *count, bool *with_values) {
    *with_values = false;
    if (!arg_int_range(c, c->argv[2], -INT64_MAX, INT64_MAX, count, NULL)) return false;
    if (c->argc > 4 || (c->argc == 4 && !arg_is(c->argv[3], word))) {
        reply_syntax_error(c);
        return false;
    }
    *with_values = c->argc == 4;
    bool doubles = !*with_values || (*count >= -INT64_MAX / 2 && *count <= INT64_MAX / 2);
    if (!doubles || *count < -REPEAT_MOST) {
        reply_error(c, "ERR value is out of range");
        return false;
    }
    return true;
}

static void some(struct client *c, enum type type, const char *word) {
    struct typed t;
    int64_t count;
    bool with_values;
    if (!read_options(c, word, &count, &with_values)) return;
    enum found found = typed_read(c, c->argv[1], type, &t);
    if (found == WRONG_TYPE) return;
    if (found == ABSENT || count == 0) {
        reply_empty_array(c);
    } else if (count < 0) {
        reply_repeating(c, &t.value, (size_t)-count, with_values);
    } else {
        reply_distinct(c, &t.value, (size_t)count, with_values);
    }
}

static void one(struct client *c, enum type type) {
    struct typed t;
    struct element e;
    struct element_scratch scratch;
    enum found found = typed_read(c, c->argv[1], type, &t);
    if (found == ABSENT) reply_null(c);
    if (found != FOUND) return;
    draw(c, &t.value, &e, &scratch);
    reply_bulk(c, e.name);
}

static void hrandfield(struct client *c) {
    if (c->argc == 2) {
        one(c, TYPE_HASH);
    } else {
        some(c, TYPE_HASH, "withvalues");
    }
}

static void zrandmember(struct client *c) {
    if (c->argc == 2) {
        one(c, TYPE_ZSET);
    } else {
        some(c, TYPE_ZSET, "withscores");
    }
}

static void srandmember(struct client *c) {
    if (c->argc == 2) {
        one(c, TYPE_SET);
    } else if (c->argc > 3) {
        reply_syntax_error(c);
    } else {
        some(c, TYPE_SET, "");
    }
}

void random_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"hrandfield", hrandfield},
        {"srandmember", srandmember},
        {"zrandmember", zrandmember},
    };
    command_bind(engine, bindings, COUNT(bindings));
}

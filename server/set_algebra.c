/* set_algebra.c -- SINTER, SUNION, SDIFF, their STORE forms and SINTERCARD. Behaviour and texts
 * follow Redis 7.0 (t_set.c).
 */
#include "server/set.h"
#include "server/typed.h"
#include "server/types.h"

#include "lib/base/mem.h"

#include <stdlib.h>

struct source {
    struct value value;
    struct entry *entry; /* NULL: no such key, an empty set */
};

/* The sets under KEYS; NULL when one of them is something else (replied). */
static struct source *read_sources(struct client *c, const struct slice *keys, size_t count) {
    struct source *sources = NEW_ARRAY(struct source, count);
    for (size_t i = 0; i < count; i++) {
        struct typed t;
        if (typed_read(c, keys[i], TYPE_SET, &t) == WRONG_TYPE) {
            mem_free(sources);
            return NULL;
        }
        sources[i] = (struct source){t.value, t.entry};
    }
    return sources;
}

static size_t source_length(const struct source *s) {
    return s->entry ? set_length(&s->value) : 0;
}

static int by_length(const void *a, const void *b) {
    size_t x = source_length(a), y = source_length(b);
    return (x > y) - (x < y);
}

static int by_length_falling(const void *a, const void *b) {
    return by_length(b, a);
}

static void reply_members(struct client *c, const struct value *set) {
    struct set_iter iter;
    struct slice member;
    reply_set(c, set_length(set));
    set_iter_init(&iter, set);
    while (set_next(&iter, &member)) reply_bulk(c, member);
}

/* ---- intersection */

/* Whether MEMBER of the first source is in all others. */
static bool in_all(const struct source *sources, size_t count, struct slice member) {
    for (size_t i = 1; i < count; i++)
        if (sources[i].entry != sources[0].entry && !set_has(&sources[i].value, member))
            return false;
    return true;
}

/* The sources in order of size, the smallest first; it may be empty. */
static void intersect(struct source *sources, size_t count, uint64_t limit,
                      void (*visit)(void *ctx, struct slice member), void *ctx) {
    struct set_iter iter;
    struct slice member;
    uint64_t found = 0;
    qsort(sources, count, sizeof *sources, by_length);
    if (source_length(&sources[0]) == 0) return;
    set_iter_init(&iter, &sources[0].value);
    while (found < limit && set_next(&iter, &member)) {
        if (!in_all(sources, count, member)) continue;
        visit(ctx, member);
        found++;
    }
}

struct collect {
    struct client *c;
    struct value *into; /* or NULL: reply */
    size_t count;
};

static void collect(void *ctx, struct slice member) {
    struct collect *k = ctx;
    k->count++;
    if (k->into) {
        set_add(k->into, limits_of(k->c), member);
    } else {
        reply_bulk(k->c, member);
    }
}

static void count_only(void *ctx, struct slice member) {
    (void)member;
    ++*(int64_t *)ctx;
}

static void sinter(struct client *c) {
    size_t count = (size_t)c->argc - 1;
    struct source *sources = read_sources(c, c->argv + 1, count);
    if (!sources) return;
    struct collect k = {.c = c};
    size_t mark = reply_later(c);
    intersect(sources, count, UINT64_MAX, collect, &k);
    reply_later_set(c, mark, k.count);
    mem_free(sources);
}

static void sinterstore(struct client *c) {
    size_t count = (size_t)c->argc - 2;
    struct source *sources = read_sources(c, c->argv + 2, count);
    if (!sources) return;
    struct value result = set_new();
    struct collect k = {.c = c, .into = &result};
    intersect(sources, count, UINT64_MAX, collect, &k);
    mem_free(sources);
    typed_replace(c, c->argv[1], &result, NOTIFY_SET, "sinterstore");
}

static void sintercard(struct client *c) {
    int64_t keys, limit = 0, found = 0;
    if (!arg_int_range(c, c->argv[1], 1, INT64_MAX, &keys, "numkeys should be greater than 0"))
        return;
    if (keys > c->argc - 2) {
        reply_error(c, "ERR Number of keys can't be greater than number of args");
        return;
    }
    for (int i = 2 + (int)keys; i < c->argc; i += 2) {
        if (!arg_is(c->argv[i], "limit") || i + 1 == c->argc) {
            reply_syntax_error(c);
            return;
        }
        if (!arg_int_range(c, c->argv[i + 1], 0, INT64_MAX, &limit, "LIMIT can't be negative"))
            return;
    }
    struct source *sources = read_sources(c, c->argv + 2, (size_t)keys);
    if (!sources) return;
    intersect(sources, (size_t)keys, limit ? (uint64_t)limit : UINT64_MAX, count_only, &found);
    mem_free(sources);
    reply_int(c, found);
}

/* ---- union and difference */

static void add_all(struct client *c, struct value *into, const struct source *source) {
    struct set_iter iter;
    struct slice member;
    if (!source->entry) return;
    set_iter_init(&iter, &source->value);
    while (set_next(&iter, &member)) set_add(into, limits_of(c), member);
}

static void unite(struct client *c, struct source *sources, size_t count, struct value *into) {
    for (size_t i = 0; i < count; i++) add_all(c, into, &sources[i]);
}

/* Look every member of the first set up in the others: good when the first is small. */
static void subtract_by_lookup(struct client *c, struct source *sources, size_t count,
                               struct value *into) {
    struct set_iter iter;
    struct slice member;
    qsort(sources + 1, count - 1, sizeof *sources, by_length_falling);
    set_iter_init(&iter, &sources[0].value);
    while (set_next(&iter, &member)) {
        bool keep = true;
        for (size_t i = 1; keep && i < count; i++)
            keep = !sources[i].entry || !set_has(&sources[i].value, member);
        if (keep) set_add(into, limits_of(c), member);
    }
}

/* Copy the first set and remove the others' members: good when the others are small. */
static void subtract_by_removal(struct client *c, const struct source *sources, size_t count,
                                struct value *into) {
    add_all(c, into, &sources[0]);
    for (size_t i = 1; i < count && set_length(into) > 0; i++) {
        struct set_iter iter;
        struct slice member;
        if (!sources[i].entry) continue;
        set_iter_init(&iter, &sources[i].value);
        while (set_next(&iter, &member)) set_remove(into, member);
    }
}

static void subtract(struct client *c, struct source *sources, size_t count, struct value *into) {
    size_t first = source_length(&sources[0]), lookups = 0, removals = 0;
    if (first == 0) return;
    for (size_t i = 0; i < count; i++) {
        if (!sources[i].entry) continue;
        if (i > 0 && sources[i].entry == sources[0].entry) return;
        lookups += first;
        removals += source_length(&sources[i]);
    }
    if (lookups / 2 <= removals) {
        subtract_by_lookup(c, sources, count, into);
    } else {
        subtract_by_removal(c, sources, count, into);
    }
}

static void combine(struct client *c, int first_key, const char *store_event,
                    void (*how)(struct client *c, struct source *sources, size_t count,
                                struct value *into)) {
    size_t count = (size_t)(c->argc - first_key);
    struct source *sources = read_sources(c, c->argv + first_key, count);
    if (!sources) return;
    struct value result = set_new();
    how(c, sources, count, &result);
    mem_free(sources);
    if (store_event) {
        typed_replace(c, c->argv[1], &result, NOTIFY_SET, store_event);
    } else {
        reply_members(c, &result);
        value_free(&result);
    }
}

static void sunion(struct client *c) {
    combine(c, 1, NULL, unite);
}
static void sunionstore(struct client *c) {
    combine(c, 2, "sunionstore", unite);
}
static void sdiff(struct client *c) {
    combine(c, 1, NULL, subtract);
}
static void sdiffstore(struct client *c) {
    combine(c, 2, "sdiffstore", subtract);
}

void set_algebra_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"sinter", sinter},         {"sinterstore", sinterstore}, {"sintercard", sintercard},
        {"sunion", sunion},         {"sunionstore", sunionstore}, {"sdiff", sdiff},
        {"sdiffstore", sdiffstore},
    };
    command_bind(engine, bindings, COUNT(bindings));
}

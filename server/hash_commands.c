/* hash_commands.c -- HSET to HSTRLEN. Behaviour and texts follow Redis 7.0 (t_hash.c). HRANDFIELD
 * is in random_commands.c, HSCAN in value_scan.c.
 */
#include "server/hash.h"
#include "server/typed.h"
#include "server/types.h"

#include <math.h>

/* The hash under KEY, or a new one that is not stored yet. */
static bool write_or_create(struct client *c, struct typed *t) {
    enum found found = typed_write(c, c->argv[1], TYPE_HASH, t);
    if (found == ABSENT) t->value = hash_new();
    return found != WRONG_TYPE;
}

static void store(struct client *c, struct typed *t) {
    if (t->entry) {
        typed_store(t);
    } else {
        key_add(c, c->argv[1], &t->value);
    }
}

/* Returns how many fields are new. */
static int64_t set_pairs(struct client *c) {
    struct typed t;
    size_t largest = 0, total = 0;
    int64_t created = 0;
    if (!write_or_create(c, &t)) return -1;
    for (int i = 2; i < c->argc; i++) {
        if (c->argv[i].size > largest) largest = c->argv[i].size;
        total += c->argv[i].size;
    }
    hash_expect(&t.value, limits_of(c), largest, total);
    for (int i = 2; i < c->argc; i += 2)
        created += hash_set(&t.value, limits_of(c), c->argv[i], c->argv[i + 1]);
    store(c, &t);
    key_changed(c, c->argv[1], NOTIFY_HASH, "hset", (uint64_t)(c->argc - 2) / 2);
    return created;
}

static void hset(struct client *c) {
    if (c->argc % 2 == 1) {
        reply_wrong_arity(c);
        return;
    }
    int64_t created = set_pairs(c);
    if (created >= 0) reply_int(c, created);
}

static void hmset(struct client *c) {
    if (c->argc % 2 == 1) {
        reply_wrong_arity(c);
    } else if (set_pairs(c) >= 0) {
        reply_ok(c);
    }
}

static void hsetnx(struct client *c) {
    struct typed t;
    char scratch[LP_TEXT_SIZE];
    struct slice old;
    enum found found = typed_lookup(c, c->argv[1], TYPE_HASH, &t);
    if (found == WRONG_TYPE) return;
    if (found == FOUND && hash_get(&t.value, c->argv[2], &old, scratch)) {
        reply_int(c, 0);
        return;
    }
    if (set_pairs(c) >= 0) reply_int(c, 1);
}

static void hincrby(struct client *c) {
    struct typed t;
    int64_t by, number = 0;
    char scratch[LP_TEXT_SIZE], text[NUMBER_TEXT];
    struct slice old;
    if (!arg_int(c, c->argv[3], &by, NULL)) return;
    enum found found = typed_write(c, c->argv[1], TYPE_HASH, &t);
    if (found == WRONG_TYPE) return;
    if (found == FOUND && hash_get(&t.value, c->argv[2], &old, scratch) &&
        !slice_to_int(old, &number)) {
        reply_error(c, "ERR hash value is not an integer");
        return;
    }
    if (__builtin_add_overflow(number, by, &number)) {
        reply_error(c, "ERR increment or decrement would overflow");
        return;
    }
    if (found == ABSENT) t.value = hash_new();
    struct slice new = slice_from(text, number_write_int(text, number));
    hash_set(&t.value, limits_of(c), c->argv[2], new);
    store(c, &t);
    reply_int(c, number);
    key_changed(c, c->argv[1], NOTIFY_HASH, "hincrby", 1);
}

static void hincrbyfloat(struct client *c) {
    struct typed t;
    long double by, number = 0;
    char scratch[LP_TEXT_SIZE], text[LONG_DOUBLE_TEXT];
    struct slice old;
    if (!arg_long_double(c, c->argv[3], &by, NULL)) return;
    if (isnan(by) || isinf(by)) {
        reply_error(c, "ERR value is NaN or Infinity");
        return;
    }
    enum found found = typed_write(c, c->argv[1], TYPE_HASH, &t);
    if (found == WRONG_TYPE) return;
    if (found == FOUND && hash_get(&t.value, c->argv[2], &old, scratch) &&
        !number_read_long_double(old, &number)) {
        reply_error(c, "ERR hash value is not a float");
        return;
    }
    number += by;
    if (isnan(number) || isinf(number)) {
        reply_error(c, "ERR increment would produce NaN or Infinity");
        return;
    }
    if (found == ABSENT) t.value = hash_new();
    struct slice new = slice_from(text, number_write_human(text, number));
    hash_set(&t.value, limits_of(c), c->argv[2], new);
    store(c, &t);
    reply_bulk(c, new);
    key_changed(c, c->argv[1], NOTIFY_HASH, "hincrbyfloat", 1);
    PROPAGATE_INSTEAD(c, SLICE("HSET"), c->argv[1], c->argv[2], new);
}

static void reply_field(struct client *c, const struct typed *t, struct slice field) {
    char scratch[LP_TEXT_SIZE];
    struct slice value;
    if (t->entry && hash_get(&t->value, field, &value, scratch)) {
        reply_bulk(c, value);
    } else {
        reply_null(c);
    }
}

static void hget(struct client *c) {
    struct typed t;
    if (typed_read(c, c->argv[1], TYPE_HASH, &t) != WRONG_TYPE) reply_field(c, &t, c->argv[2]);
}

static void hmget(struct client *c) {
    struct typed t;
    if (typed_read(c, c->argv[1], TYPE_HASH, &t) == WRONG_TYPE) return;
    reply_array(c, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) reply_field(c, &t, c->argv[i]);
}

static void hdel(struct client *c) {
    struct typed t;
    uint64_t removed = 0;
    enum found found = typed_write(c, c->argv[1], TYPE_HASH, &t);
    if (found == ABSENT) reply_int(c, 0);
    if (found != FOUND) return;
    for (int i = 2; i < c->argc && hash_length(&t.value) > 0; i++)
        removed += hash_remove(&t.value, c->argv[i]);
    typed_store(&t);
    if (removed) {
        key_changed(c, c->argv[1], NOTIFY_HASH, "hdel", removed);
        if (hash_length(&t.value) == 0) key_delete_empty(c, c->argv[1]);
    }
    reply_int(c, (int64_t)removed);
}

static void hlen(struct client *c) {
    struct typed t;
    enum found found = typed_read(c, c->argv[1], TYPE_HASH, &t);
    if (found == WRONG_TYPE) return;
    reply_int(c, found == FOUND ? (int64_t)hash_length(&t.value) : 0);
}

/* The size of the field's value; -1 if there is no such field. *WRONG: replied already. */
static int64_t value_size(struct client *c, bool *wrong) {
    struct typed t;
    char scratch[LP_TEXT_SIZE];
    struct slice value;
    enum found found = typed_read(c, c->argv[1], TYPE_HASH, &t);
    *wrong = found == WRONG_TYPE;
    if (found != FOUND || !hash_get(&t.value, c->argv[2], &value, scratch)) return -1;
    return (int64_t)value.size;
}

static void hstrlen(struct client *c) {
    bool wrong;
    int64_t size = value_size(c, &wrong);
    if (!wrong) reply_int(c, size < 0 ? 0 : size);
}

static void hexists(struct client *c) {
    bool wrong;
    int64_t size = value_size(c, &wrong);
    if (!wrong) reply_int(c, size >= 0);
}

static void get_all(struct client *c, bool names, bool values) {
    struct typed t;
    struct hash_iter iter;
    struct slice name, value;
    enum found found = typed_read(c, c->argv[1], TYPE_HASH, &t);
    if (found == WRONG_TYPE) return;
    size_t length = found == FOUND ? hash_length(&t.value) : 0;
    if (names && values) {
        reply_map(c, length);
    } else {
        reply_array(c, length);
    }
    if (found == ABSENT) return;
    hash_iter_init(&iter, &t.value);
    while (hash_next(&iter, &name, &value)) {
        if (names) reply_bulk(c, name);
        if (values) reply_bulk(c, value);
    }
}

static void hgetall(struct client *c) {
    get_all(c, true, true);
}
static void hkeys(struct client *c) {
    get_all(c, true, false);
}
static void hvals(struct client *c) {
    get_all(c, false, true);
}

void hash_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"hset", hset},
        {"hmset", hmset},
        {"hsetnx", hsetnx},
        {"hincrby", hincrby},
        {"hincrbyfloat", hincrbyfloat},
        {"hget", hget},
        {"hmget", hmget},
        {"hdel", hdel},
        {"hlen", hlen},
        {"hstrlen", hstrlen},
        {"hexists", hexists},
        {"hgetall", hgetall},
        {"hkeys", hkeys},
        {"hvals", hvals},
    };
    command_bind(engine, bindings, COUNT(bindings));
}

/* set_commands.c -- SADD to SPOP. Behaviour and texts follow Redis 7.0 (t_set.c). SRANDMEMBER is in
 * random_commands.c, SSCAN in value_scan.c, SINTER and its like in set_algebra.c.
 */
#include "server/set.h"
#include "server/typed.h"
#include "server/types.h"

static void sadd(struct client *c) {
    struct typed t;
    uint64_t added = 0;
    enum found found = typed_write(c, c->argv[1], TYPE_SET, &t);
    if (found == WRONG_TYPE) return;
    if (found == ABSENT) t.value = set_new_for(c->argv[2]);
    for (int i = 2; i < c->argc; i++) added += set_add(&t.value, limits_of(c), c->argv[i]);
    if (found == FOUND) {
        typed_store(&t);
    } else {
        key_add(c, c->argv[1], &t.value);
    }
    if (added) key_changed(c, c->argv[1], NOTIFY_SET, "sadd", added);
    reply_int(c, (int64_t)added);
}

static void srem(struct client *c) {
    struct typed t;
    uint64_t removed = 0;
    enum found found = typed_write(c, c->argv[1], TYPE_SET, &t);
    if (found == ABSENT) reply_int(c, 0);
    if (found != FOUND) return;
    for (int i = 2; i < c->argc && set_length(&t.value) > 0; i++)
        removed += set_remove(&t.value, c->argv[i]);
    typed_store(&t);
    if (removed) {
        key_changed(c, c->argv[1], NOTIFY_SET, "srem", removed);
        if (set_length(&t.value) == 0) key_delete_empty(c, c->argv[1]);
    }
    reply_int(c, (int64_t)removed);
}

/* Both types are checked before anything is done, even if the member is not there. */
static void smove(struct client *c) {
    struct typed source, target;
    struct slice from = c->argv[1], to = c->argv[2], member = c->argv[3];
    struct entry *there = key_lookup(c, from);
    if (!there) {
        reply_int(c, 0);
        return;
    }
    if (typed_lookup(c, from, TYPE_SET, &source) == WRONG_TYPE) return;
    enum found found = typed_lookup(c, to, TYPE_SET, &target);
    if (found == WRONG_TYPE) return;
    if (source.entry == target.entry || !set_has(&source.value, member)) {
        reply_int(c, source.entry == target.entry && set_has(&source.value, member));
        return;
    }
    typed_edit(c, &source);
    set_remove(&source.value, member);
    typed_store(&source);
    key_changed(c, from, NOTIFY_SET, "srem", 1);
    if (set_length(&source.value) == 0) key_delete_empty(c, from);
    if (found == ABSENT) {
        target.value = set_new_for(member);
        set_add(&target.value, limits_of(c), member);
        key_add(c, to, &target.value);
        key_changed(c, to, NOTIFY_SET, "sadd", 1);
    } else {
        typed_edit(c, &target);
        bool added = set_add(&target.value, limits_of(c), member);
        typed_store(&target);
        if (added) key_changed(c, to, NOTIFY_SET, "sadd", 1);
    }
    reply_int(c, 1);
}

static void sismember(struct client *c) {
    struct typed t;
    enum found found = typed_read(c, c->argv[1], TYPE_SET, &t);
    if (found == WRONG_TYPE) return;
    reply_int(c, found == FOUND && set_has(&t.value, c->argv[2]));
}

static void smismember(struct client *c) {
    struct typed t;
    enum found found = typed_read(c, c->argv[1], TYPE_SET, &t);
    if (found == WRONG_TYPE) return;
    reply_array(c, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) reply_int(c, found == FOUND && set_has(&t.value, c->argv[i]));
}

static void scard(struct client *c) {
    struct typed t;
    enum found found = typed_read(c, c->argv[1], TYPE_SET, &t);
    if (found == WRONG_TYPE) return;
    reply_int(c, found == FOUND ? (int64_t)set_length(&t.value) : 0);
}

static void smembers(struct client *c) {
    struct typed t;
    struct set_iter iter;
    struct slice member;
    enum found found = typed_read(c, c->argv[1], TYPE_SET, &t);
    if (found == WRONG_TYPE) return;
    reply_set(c, found == FOUND ? set_length(&t.value) : 0);
    if (found == ABSENT) return;
    set_iter_init(&iter, &t.value);
    while (set_next(&iter, &member)) reply_bulk(c, member);
}

/* ---- SPOP */

/* All of it: leaves as DEL. */
static void pop_all(struct client *c, struct typed *t) {
    struct set_iter iter;
    struct slice member;
    size_t length = set_length(&t->value);
    reply_set(c, length);
    set_iter_init(&iter, &t->value);
    while (set_next(&iter, &member)) reply_bulk(c, member);
    key_changed(c, c->argv[1], NOTIFY_SET, "spop", length);
    key_delete_empty(c, c->argv[1]);
    PROPAGATE_INSTEAD(c, SLICE("DEL"), c->argv[1]);
}

/* Take one out: its bytes go to the reply and, as SREM, to the replicas. */
static void pop_one(struct client *c, struct typed *t, bool instead) {
    char scratch[SET_TEXT_SIZE];
    struct slice member = set_random(&t->value, &c->engine->rng, scratch);
    reply_bulk(c, member);
    if (instead) {
        PROPAGATE_INSTEAD(c, SLICE("SREM"), c->argv[1], member);
    } else {
        PROPAGATE_ALSO(c, SLICE("SREM"), c->argv[1], member);
    }
    set_remove(&t->value, member);
}

static void pop_count(struct client *c) {
    struct typed t;
    int64_t count;
    if (!arg_int_range(c, c->argv[2], 0, INT64_MAX, &count,
                       "value is out of range, must be positive"))
        return;
    enum found found = typed_write(c, c->argv[1], TYPE_SET, &t);
    if (found == WRONG_TYPE) return;
    if (found == ABSENT || count == 0) {
        reply_set(c, 0);
        return;
    }
    if ((uint64_t)count >= set_length(&t.value)) {
        pop_all(c, &t);
        return;
    }
    propagate_nothing(c); /* but one SREM a member */
    reply_set(c, (size_t)count);
    for (int64_t i = 0; i < count; i++) pop_one(c, &t, false);
    typed_store(&t);
    key_changed(c, c->argv[1], NOTIFY_SET, "spop", (uint64_t)count);
}

static void spop(struct client *c) {
    struct typed t;
    if (c->argc == 3) {
        pop_count(c);
        return;
    }
    if (c->argc > 3) {
        reply_syntax_error(c);
        return;
    }
    enum found found = typed_write(c, c->argv[1], TYPE_SET, &t);
    if (found == ABSENT) reply_null(c);
    if (found != FOUND) return;
    pop_one(c, &t, true);
    typed_store(&t);
    key_changed(c, c->argv[1], NOTIFY_SET, "spop", 1);
    if (set_length(&t.value) == 0) key_delete_empty(c, c->argv[1]);
}

void set_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"sadd", sadd},   {"srem", srem},         {"smove", smove}, {"sismember", sismember},
        {"scard", scard}, {"smembers", smembers}, {"spop", spop},   {"smismember", smismember},
    };
    command_bind(engine, bindings, COUNT(bindings));
}

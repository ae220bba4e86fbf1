/* mini_types.c -- the mini Redis: lists, sets, hashes and sorted sets. See mini_redis.h. */
#include "tests/sim/mini_inside.h"

#include <stdio.h>
#include <stdlib.h>

void mini_do_push(struct call *c) {
    struct mini_value *v;
    char text[MINI_ITEM];
    if (!mini_typed(c, c->argv[1], MINI_LIST, &v)) return;
    if (!v && mini_is(c, 0, "lpushx")) {
        mini_number(c, 0);
        return;
    }
    v = mini_made(c, v, MINI_LIST);
    for (size_t i = 2; i < c->argc; i++) {
        mini_text_of(text, c->argv[i]);
        mini_insert(v, mini_is(c, 0, "rpush") ? v->count : 0, text);
    }
    mini_touch(c, c->argv[1]);
    mini_number(c, v->count);
}

void mini_do_pop(struct call *c) {
    struct mini_value *v;
    if (!mini_typed(c, c->argv[1], MINI_LIST, &v)) return;
    if (!v) {
        mini_nil(c);
        return;
    }
    int at = mini_is(c, 0, "rpop") ? v->count - 1 : 0;
    resp_write_text(c->out, v->item[at]);
    mini_take_out(v, at, 1);
    mini_touch(c, c->argv[1]);
}

/* Inside MULTI, where it never waits. */
void mini_do_blpop(struct call *c) {
    struct mini_value *v;
    for (size_t i = 1; i + 1 < c->argc; i++) {
        if (!mini_typed(c, c->argv[i], MINI_LIST, &v)) return;
        if (!v) continue;
        resp_write_array(c->out, 2);
        resp_write_bulk(c->out, c->argv[i]);
        resp_write_text(c->out, v->item[0]);
        mini_take_out(v, 0, 1);
        mini_touch(c, c->argv[i]);
        return;
    }
    resp_write_null_array(c->out, 2);
}

/* ---- sets, hashes, sorted sets ---- */

void mini_do_sadd(struct call *c) {
    struct mini_value *v;
    char text[MINI_ITEM];
    int64_t added = 0;
    if (!mini_typed(c, c->argv[1], MINI_SET, &v)) return;
    for (size_t i = 2; i < c->argc; i++) {
        mini_text_of(text, c->argv[i]);
        if (v && mini_find(v, text) >= 0) continue;
        mini_insert_sorted(v = mini_made(c, v, MINI_SET), text, NULL);
        added++;
    }
    if (added > 0) mini_touch(c, c->argv[1]);
    mini_number(c, added);
}

/* SREM, HDEL, ZREM of one. */
void mini_do_remove(struct call *c) {
    struct mini_value *v;
    char text[MINI_ITEM];
    enum mini_type type = mini_is(c, 0, "srem") ? MINI_SET : mini_is(c, 0, "hdel") ? MINI_HASH : MINI_ZSET;
    if (!mini_typed(c, c->argv[1], type, &v)) return;
    mini_text_of(text, c->argv[2]);
    int at = v ? mini_find(v, text) : -1;
    if (at >= 0) mini_take_out(v, at, mini_step_of(v)), mini_touch(c, c->argv[1]);
    mini_number(c, at >= 0);
}

void mini_do_spop(struct call *c) {
    struct mini_value *v;
    if (!mini_typed(c, c->argv[1], MINI_SET, &v)) return;
    if (!v) {
        mini_nil(c);
        return;
    }
    int at = (int)rng_below(&c->m->rng, (uint64_t)v->count);
    resp_write_text(c->out, v->item[at]);
    mini_take_out(v, at, 1);
    mini_touch(c, c->argv[1]);
}

void mini_do_smove(struct call *c) {
    struct mini_value *v, *to;
    char text[MINI_ITEM];
    if (!mini_look(c, c->argv[1])) {
        mini_number(c, 0);
        return;
    }
    if (!mini_typed(c, c->argv[1], MINI_SET, &v) || !mini_typed(c, c->argv[2], MINI_SET, &to)) return;
    mini_text_of(text, c->argv[3]);
    int at = mini_find(v, text);
    mini_number(c, at >= 0);
    if (at < 0 || v == to) return;
    mini_take_out(v, at, 1);
    if (!to) to = mini_make(mini_slot(c, c->argv[2]), MINI_SET);
    if (mini_find(to, text) < 0) mini_insert_sorted(to, text, NULL);
    mini_touch(c, c->argv[1]);
    mini_touch(c, c->argv[2]);
}

void mini_do_sunionstore(struct call *c) {
    struct mini_value sum, *v;
    mini_make(&sum, MINI_SET);
    for (size_t i = 2; i < c->argc; i++) {
        if (!mini_typed(c, c->argv[i], MINI_SET, &v)) return;
        for (int k = 0; v && k < v->count; k++)
            if (mini_find(&sum, v->item[k]) < 0) mini_insert_sorted(&sum, v->item[k], NULL);
    }
    if (sum.count == 0) sum.type = MINI_NONE;
    if (sum.count > 0 || mini_look(c, c->argv[1])) mini_touch(c, c->argv[1]);
    *mini_slot(c, c->argv[1]) = sum;
    mini_number(c, sum.count);
}

static void put_pair(struct mini_value *v, const char *name, const char *value) {
    int at = mini_find(v, name);
    if (at >= 0) snprintf(v->item[at + 1], MINI_ITEM, "%s", value);
    else mini_insert_sorted(v, name, value);
}

void mini_do_hset(struct call *c) {
    struct mini_value *v;
    char field[MINI_ITEM], value[MINI_ITEM];
    int64_t added = 0;
    if (c->argv[1].size > 1) {
        mini_mark(c);
        return;
    }
    if (!mini_typed(c, c->argv[1], MINI_HASH, &v)) return;
    v = mini_made(c, v, MINI_HASH);
    for (size_t i = 2; i + 1 < c->argc; i += 2) {
        mini_text_of(field, c->argv[i]);
        mini_text_of(value, c->argv[i + 1]);
        added += mini_find(v, field) < 0;
        put_pair(v, field, value);
    }
    mini_touch(c, c->argv[1]);
    mini_number(c, added);
}

/* ZADD key score member; ZINCRBY key by member: whole numbers. */
void mini_do_zadd(struct call *c) {
    struct mini_value *v;
    char member[MINI_ITEM], score[MINI_ITEM];
    bool by = mini_is(c, 0, "zincrby");
    int64_t added = 0;
    if (!mini_typed(c, c->argv[1], MINI_ZSET, &v)) return;
    v = mini_made(c, v, MINI_ZSET);
    for (size_t i = 2; i + 1 < c->argc; i += 2) {
        mini_text_of(member, c->argv[i + 1]);
        mini_text_of(score, c->argv[i]);
        int at = mini_find(v, member);
        if (by && at >= 0) snprintf(score, sizeof score, "%d", atoi(score) + atoi(v->item[at + 1]));
        put_pair(v, member, score);
        added += at < 0;
    }
    mini_touch(c, c->argv[1]);
    if (by) resp_write_text(c->out, score);
    else mini_number(c, added);
}

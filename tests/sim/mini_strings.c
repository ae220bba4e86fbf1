/* mini_strings.c -- the mini Redis: strings. See mini_redis.h. */
#include "tests/sim/mini_inside.h"

#include <inttypes.h>
#include <stdio.h>

void mini_do_get(struct call *c) {
    struct mini_value *v;
    if (!mini_typed(c, c->argv[1], MINI_STRING, &v)) return;
    if (v) resp_write_text(c->out, v->item[0]);
    else mini_nil(c);
}

struct set_options {
    bool nx, xx, get, keep;
    int64_t at_ms;
};

static struct set_options set_options(const struct call *c) {
    struct set_options o = {.at_ms = -1};
    for (size_t i = 3; i < c->argc; i++) {
        if (mini_is(c, i, "nx")) o.nx = true;
        if (mini_is(c, i, "xx")) o.xx = true;
        if (mini_is(c, i, "get")) o.get = true;
        if (mini_is(c, i, "keepttl")) o.keep = true;
        int64_t ms = 0;
        if ((mini_is(c, i, "px") || mini_is(c, i, "pxat")) && i + 1 < c->argc && slice_to_int(c->argv[i + 1], &ms))
            o.at_ms = mini_is(c, i, "px") ? ms + mini_now(c->m) : ms;
    }
    return o;
}

void mini_do_set(struct call *c) {
    struct set_options o = set_options(c);
    struct mini_value *v = mini_look(c, c->argv[1]);
    char old[MINI_ITEM] = "";
    if (o.get && !mini_typed(c, c->argv[1], MINI_STRING, &v)) return;
    bool had = v != NULL;
    int64_t kept = v ? v->expire_ms : -1;
    if (o.get && v) snprintf(old, sizeof old, "%s", v->item[0]);
    bool done = !(o.nx && v) && !(o.xx && !v);
    if (done) {
        mini_make_string(mini_slot(c, c->argv[1]), c->argv[2])->expire_ms = o.keep ? kept : o.at_ms;
        mini_touch(c, c->argv[1]);
    }
    if (o.get && had) resp_write_text(c->out, old);
    else if (o.get || !done) mini_nil(c);
    else resp_write_ok(c->out);
}

void mini_do_setnx(struct call *c) {
    bool had = mini_look(c, c->argv[1]) != NULL;
    if (!had) mini_make_string(mini_slot(c, c->argv[1]), c->argv[2]), mini_touch(c, c->argv[1]);
    mini_number(c, !had);
}

/* GETSET and GETDEL */
void mini_do_getset(struct call *c) {
    struct mini_value *v;
    if (!mini_typed(c, c->argv[1], MINI_STRING, &v)) return;
    if (v) resp_write_text(c->out, v->item[0]);
    else mini_nil(c);
    if (c->argc == 2 && !v) return;
    if (c->argc == 3) mini_make_string(mini_slot(c, c->argv[1]), c->argv[2]);
    else v->type = MINI_NONE;
    mini_touch(c, c->argv[1]);
}

void mini_do_append(struct call *c) {
    struct mini_value *v;
    if (!mini_typed(c, c->argv[1], MINI_STRING, &v)) return;
    v = mini_made(c, v, MINI_STRING);
    v->count = 1;
    size_t size = strlen(v->item[0]);
    snprintf(v->item[0] + size, MINI_ITEM - size, "%.*s", (int)c->argv[2].size, (const char *)c->argv[2].data);
    mini_touch(c, c->argv[1]);
    mini_number(c, (int64_t)strlen(v->item[0]));
}

void mini_do_incr(struct call *c) {
    struct mini_value *v;
    int64_t n = 0;
    if (!mini_typed(c, c->argv[1], MINI_STRING, &v)) return;
    if (v && !slice_to_int(slice_text(v->item[0]), &n)) {
        resp_write_errorf(c->out, "ERR value is not an integer or out of range");
        return;
    }
    v = mini_made(c, v, MINI_STRING);
    v->count = 1;
    snprintf(v->item[0], MINI_ITEM, "%" PRId64, n + 1);
    mini_touch(c, c->argv[1]);
    mini_number(c, n + 1);
}

void mini_do_mset(struct call *c) {
    for (size_t i = 1; i + 1 < c->argc; i += 2) mini_make_string(mini_slot(c, c->argv[i]), c->argv[i + 1]), mini_touch(c, c->argv[i]);
    resp_write_ok(c->out);
}

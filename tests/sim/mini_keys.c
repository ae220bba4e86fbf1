/* mini_keys.c -- the mini Redis: keys of any type, and whole databases. See mini_redis.h. */
#include "tests/sim/mini_inside.h"

#include <stdio.h>

void mini_do_del(struct call *c) {
    int64_t n = 0;
    for (size_t i = 1; i < c->argc; i++) {
        if (mini_key_of(c->argv[i]) < 0) continue;
        /* What has expired and is hidden goes too, but nobody is told. */
        if (mini_look(c, c->argv[i])) n++, mini_touch(c, c->argv[i]);
        mini_slot(c, c->argv[i])->type = MINI_NONE;
    }
    mini_number(c, n);
}

void mini_do_rename(struct call *c) {
    struct mini_value *v = mini_look(c, c->argv[1]), *to = mini_slot(c, c->argv[2]);
    if (!v) {
        resp_write_errorf(c->out, "ERR no such key");
        return;
    }
    if (v != to) {
        *to = *v;
        v->type = MINI_NONE;
        mini_touch(c, c->argv[1]);
        mini_touch(c, c->argv[2]);
    }
    resp_write_ok(c->out);
}

void mini_do_expire(struct call *c) {
    int64_t at = 0;
    struct mini_value *v = mini_look(c, c->argv[1]);
    (void)slice_to_int(c->argv[2], &at);
    if (mini_is(c, 0, "pexpire")) at += mini_now(c->m);
    if (v && at <= mini_now(c->m) && !c->m->import_mode) v->type = MINI_NONE;
    else if (v) v->expire_ms = at;
    if (v) mini_touch(c, c->argv[1]);
    mini_number(c, v != NULL);
}

void mini_do_persist(struct call *c) {
    struct mini_value *v = mini_look(c, c->argv[1]);
    bool had = v && v->expire_ms >= 0;
    if (had) v->expire_ms = -1, mini_touch(c, c->argv[1]);
    mini_number(c, had);
}

/* PEXPIRETIME and PTTL */
void mini_do_ttl(struct call *c) {
    struct mini_value *v = mini_look(c, c->argv[1]);
    if (!v || v->expire_ms < 0) mini_number(c, v ? -1 : -2);
    else mini_number(c, mini_is(c, 0, "pttl") ? v->expire_ms - mini_now(c->m) : v->expire_ms);
}

void mini_do_dump(struct call *c) {
    struct mini_value *v = mini_look(c, c->argv[1]);
    if (v) resp_write_bulk(c->out, slice_from(v, sizeof *v));
    else mini_nil(c);
}

void mini_do_restore(struct call *c) {
    struct mini_value *v = mini_slot(c, c->argv[1]);
    int64_t at = 0;
    (void)slice_to_int(c->argv[2], &at);
    ASSERT(c->argv[3].size == sizeof *v);
    memcpy(v, c->argv[3].data, sizeof *v);
    v->expire_ms = at > 0 ? at : -1;
    if (at > 0 && at <= mini_now(c->m) && !c->m->import_mode) v->type = MINI_NONE;
    mini_touch(c, c->argv[1]);
    resp_write_ok(c->out);
}

void mini_do_exists(struct call *c) { mini_number(c, mini_look(c, c->argv[1]) != NULL); }

/* INFO keyspace */
void mini_do_info(struct call *c) {
    struct buf text = {0};
    for (int db = 0; db < MINI_DBS; db++)
        for (int k = 0; k < MINI_KEYS; k++)
            if (c->m->state.at[db][k].type != MINI_NONE) {
                buf_printf(&text, "db%d:keys=1,expires=0\r\n", db);
                break;
            }
    resp_write_bulk(c->out, buf_slice(&text));
    buf_close(&text);
}

/* Two keys a page. */
void mini_do_scan(struct call *c) {
    int64_t cursor = 0;
    struct buf names = {0};
    size_t count = 0;
    char text[24];
    (void)slice_to_int(c->argv[1], &cursor);
    int end = (int)cursor + 2 < MINI_KEYS ? (int)cursor + 2 : MINI_KEYS;
    for (int k = (int)cursor; k < end; k++) {
        char name = (char)('a' + k);
        if (!c->m->import_mode && !mini_look(c, slice_from(&name, 1))) continue;
        if (c->m->state.at[c->conn->db][k].type == MINI_NONE) continue;
        resp_write_bulk(&names, slice_from(&name, 1));
        count++;
    }
    snprintf(text, sizeof text, "%d", end == MINI_KEYS ? 0 : end);
    resp_write_array(c->out, 2);
    resp_write_text(c->out, text);
    resp_write_array(c->out, count);
    buf_add(c->out, buf_slice(&names));
    buf_close(&names);
}

void mini_do_flush(struct call *c) {
    for (int db = 0; db < MINI_DBS; db++)
        if (mini_is(c, 0, "flushall") || db == c->conn->db) {
            c->m->flushed = true;
            for (int k = 0; k < MINI_KEYS; k++) c->m->version[db][k] += mini_alive(&c->m->state.at[db][k], mini_now(c->m));
            memset(c->m->state.at[db], 0, sizeof c->m->state.at[db]);
        }
    resp_write_ok(c->out);
}

void mini_do_swapdb(struct call *c) {
    struct mini_state was = c->m->state;
    memcpy(c->m->state.at[0], was.at[1], sizeof was.at[0]);
    memcpy(c->m->state.at[1], was.at[0], sizeof was.at[0]);
    for (int k = 0; k < MINI_KEYS; k++) {
        bool any = mini_alive(&was.at[0][k], mini_now(c->m)) || mini_alive(&was.at[1][k], mini_now(c->m));
        if (any) c->m->version[0][k]++, c->m->version[1][k]++;
    }
    resp_write_ok(c->out);
}

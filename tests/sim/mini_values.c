/* mini_values.c -- the mini Redis: values, and what commands have in common. See mini_redis.h. */
#include "tests/sim/mini_inside.h"

#include <stdio.h>

int64_t mini_now(const struct mini *m) { return *m->world_ms + m->skew_ms; }

int mini_key_of(struct slice name) {
    bool known = name.size == 1 && name.data[0] >= 'a' && name.data[0] < 'a' + MINI_KEYS;
    return known ? name.data[0] - 'a' : -1;
}

struct mini_value *mini_slot(const struct call *c, struct slice name) {
    int key = mini_key_of(name);
    ASSERT(key >= 0);
    return &c->m->state.at[c->conn->db][key];
}

void mini_touch(const struct call *c, struct slice name) {
    int key = mini_key_of(name);
    ASSERT(key >= 0);
    c->m->version[c->conn->db][key]++;
    c->m->changed |= UINT32_C(1) << key;
}

struct mini_value *mini_look(const struct call *c, struct slice name) {
    struct mini_value *v = mini_slot(c, name);
    if (v->type == MINI_NONE) return NULL;
    if (v->expire_ms < 0 || v->expire_ms > mini_now(c->m)) return v;
    if (c->m->import_mode) return c->conn->import_source ? v : NULL;
    v->type = MINI_NONE;
    mini_touch(c, name);
    return NULL;
}

void mini_text_of(char *to, struct slice s) { snprintf(to, MINI_ITEM, "%.*s", (int)s.size, (const char *)s.data); }

struct mini_value *mini_make(struct mini_value *v, enum mini_type type) {
    memset(v, 0, sizeof *v);
    v->type = type;
    v->expire_ms = -1;
    return v;
}

struct mini_value *mini_make_string(struct mini_value *v, struct slice text) {
    mini_make(v, MINI_STRING)->count = 1;
    mini_text_of(v->item[0], text);
    return v;
}

int mini_step_of(const struct mini_value *v) { return v->type == MINI_HASH || v->type == MINI_ZSET ? 2 : 1; }

int mini_find(const struct mini_value *v, const char *text) {
    for (int i = 0; i < v->count; i += mini_step_of(v))
        if (strcmp(v->item[i], text) == 0) return i;
    return -1;
}

void mini_insert(struct mini_value *v, int at, const char *text) {
    if (v->count == MINI_ITEMS) v->count -= 2;
    if (at > v->count) at = v->count;
    memmove(v->item[at + 1], v->item[at], (size_t)(v->count - at) * MINI_ITEM);
    snprintf(v->item[at], MINI_ITEM, "%s", text);
    v->count++;
}

void mini_insert_sorted(struct mini_value *v, const char *text, const char *second) {
    int at = 0;
    while (at < v->count && strcmp(v->item[at], text) < 0) at += mini_step_of(v);
    mini_insert(v, at, text);
    if (second) mini_insert(v, at + 1, second);
}

void mini_take_out(struct mini_value *v, int at, int count) {
    memmove(v->item[at], v->item[at + count], (size_t)(v->count - at - count) * MINI_ITEM);
    v->count -= count;
    if (v->count == 0) v->type = MINI_NONE;
}

void mini_number(struct call *c, int64_t n) { resp_write_int(c->out, n); }
void mini_nil(struct call *c) { resp_write_null(c->out, 2); }

bool mini_typed(struct call *c, struct slice name, enum mini_type type, struct mini_value **v) {
    *v = mini_look(c, name);
    if (*v == NULL || (*v)->type == type) return true;
    resp_write_errorf(c->out, "WRONGTYPE Operation against a key holding the wrong kind of value");
    return false;
}

struct mini_value *mini_made(struct call *c, struct mini_value *v, enum mini_type type) {
    return v ? v : mini_make(mini_slot(c, c->argv[1]), type);
}

bool mini_is(const struct call *c, size_t at, const char *word) {
    return at < c->argc && slice_equal_nocase(c->argv[at], slice_text(word));
}

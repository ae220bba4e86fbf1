/* mini_redis.c -- a small Redis for the simulation of lanes. See mini_redis.h. */
#include "tests/sim/mini_inside.h"

#include "lib/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int64_t mini_now(const struct mini *m) { return *m->world_ms + m->skew_ms; }

/* ---- values ---- */

static int key_of(struct slice name) {
    bool known = name.size == 1 && name.data[0] >= 'a' && name.data[0] < 'a' + MINI_KEYS;
    return known ? name.data[0] - 'a' : -1;
}

static struct mini_value *slot(const struct call *c, struct slice name) {
    int key = key_of(name);
    ASSERT(key >= 0);
    return &c->m->state.at[c->conn->db][key];
}

static void touch(const struct call *c, struct slice name) { c->m->version[c->conn->db][key_of(name)]++; }

struct mini_value *mini_look(const struct call *c, struct slice name) {
    struct mini_value *v = slot(c, name);
    if (v->type == MINI_NONE) return NULL;
    if (v->expire_ms < 0 || v->expire_ms > mini_now(c->m)) return v;
    if (c->m->import_mode) return c->conn->import_source ? v : NULL;
    v->type = MINI_NONE;
    touch(c, name);
    return NULL;
}

static void text_of(char *to, struct slice s) { snprintf(to, MINI_ITEM, "%.*s", (int)s.size, (const char *)s.data); }

static struct mini_value *make(struct mini_value *v, enum mini_type type) {
    memset(v, 0, sizeof *v);
    v->type = type;
    v->expire_ms = -1;
    return v;
}

static struct mini_value *make_string(struct mini_value *v, struct slice text) {
    make(v, MINI_STRING)->count = 1;
    text_of(v->item[0], text);
    return v;
}

static int step_of(const struct mini_value *v) { return v->type == MINI_HASH || v->type == MINI_ZSET ? 2 : 1; }

static int find(const struct mini_value *v, const char *text) {
    for (int i = 0; i < v->count; i += step_of(v))
        if (strcmp(v->item[i], text) == 0) return i;
    return -1;
}

static void insert(struct mini_value *v, int at, const char *text) {
    if (v->count == MINI_ITEMS) v->count -= 2;
    if (at > v->count) at = v->count;
    memmove(v->item[at + 1], v->item[at], (size_t)(v->count - at) * MINI_ITEM);
    snprintf(v->item[at], MINI_ITEM, "%s", text);
    v->count++;
}

/* Into its place by order; a pair when SECOND is not NULL. */
static void insert_sorted(struct mini_value *v, const char *text, const char *second) {
    int at = 0;
    while (at < v->count && strcmp(v->item[at], text) < 0) at += step_of(v);
    insert(v, at, text);
    if (second) insert(v, at + 1, second);
}

static void take_out(struct mini_value *v, int at, int count) {
    memmove(v->item[at], v->item[at + count], (size_t)(v->count - at - count) * MINI_ITEM);
    v->count -= count;
    if (v->count == 0) v->type = MINI_NONE;
}

/* ---- answers ---- */

static void number(struct call *c, int64_t n) { resp_write_int(c->out, n); }
static void nil(struct call *c) { resp_write_null(c->out, 2); }

/* The value of argv[1] if it has TYPE or there is none; false: an error was answered. */
static bool typed(struct call *c, struct slice name, enum mini_type type, struct mini_value **v) {
    *v = mini_look(c, name);
    if (*v == NULL || (*v)->type == type) return true;
    resp_write_errorf(c->out, "WRONGTYPE Operation against a key holding the wrong kind of value");
    return false;
}

static struct mini_value *made(struct call *c, struct mini_value *v, enum mini_type type) {
    return v ? v : make(slot(c, c->argv[1]), type);
}

static bool is(const struct call *c, size_t at, const char *word) {
    return at < c->argc && slice_equal_nocase(c->argv[at], slice_text(word));
}

/* ---- strings ---- */

static void do_get(struct call *c) {
    struct mini_value *v;
    if (!typed(c, c->argv[1], MINI_STRING, &v)) return;
    if (v) resp_write_text(c->out, v->item[0]);
    else nil(c);
}

struct set_options {
    bool nx, xx, get, keep;
    int64_t at_ms;
};

static struct set_options set_options(const struct call *c) {
    struct set_options o = {.at_ms = -1};
    for (size_t i = 3; i < c->argc; i++) {
        if (is(c, i, "nx")) o.nx = true;
        if (is(c, i, "xx")) o.xx = true;
        if (is(c, i, "get")) o.get = true;
        if (is(c, i, "keepttl")) o.keep = true;
        int64_t ms = 0;
        if ((is(c, i, "px") || is(c, i, "pxat")) && i + 1 < c->argc && slice_to_int(c->argv[i + 1], &ms))
            o.at_ms = is(c, i, "px") ? ms + mini_now(c->m) : ms;
    }
    return o;
}

static void do_set(struct call *c) {
    struct set_options o = set_options(c);
    struct mini_value *v = mini_look(c, c->argv[1]);
    char old[MINI_ITEM] = "";
    if (o.get && !typed(c, c->argv[1], MINI_STRING, &v)) return;
    bool had = v != NULL;
    int64_t kept = v ? v->expire_ms : -1;
    if (o.get && v) snprintf(old, sizeof old, "%s", v->item[0]);
    bool done = !(o.nx && v) && !(o.xx && !v);
    if (done) {
        make_string(slot(c, c->argv[1]), c->argv[2])->expire_ms = o.keep ? kept : o.at_ms;
        touch(c, c->argv[1]);
    }
    if (o.get && had) resp_write_text(c->out, old);
    else if (o.get || !done) nil(c);
    else resp_write_ok(c->out);
}

static void do_setnx(struct call *c) {
    bool had = mini_look(c, c->argv[1]) != NULL;
    if (!had) make_string(slot(c, c->argv[1]), c->argv[2]), touch(c, c->argv[1]);
    number(c, !had);
}

/* GETSET and GETDEL */
static void do_getset(struct call *c) {
    struct mini_value *v;
    if (!typed(c, c->argv[1], MINI_STRING, &v)) return;
    if (v) resp_write_text(c->out, v->item[0]);
    else nil(c);
    if (c->argc == 2 && !v) return;
    if (c->argc == 3) make_string(slot(c, c->argv[1]), c->argv[2]);
    else v->type = MINI_NONE;
    touch(c, c->argv[1]);
}

static void do_append(struct call *c) {
    struct mini_value *v;
    if (!typed(c, c->argv[1], MINI_STRING, &v)) return;
    v = made(c, v, MINI_STRING);
    v->count = 1;
    size_t size = strlen(v->item[0]);
    snprintf(v->item[0] + size, MINI_ITEM - size, "%.*s", (int)c->argv[2].size, (const char *)c->argv[2].data);
    touch(c, c->argv[1]);
    number(c, (int64_t)strlen(v->item[0]));
}

static void do_incr(struct call *c) {
    struct mini_value *v;
    int64_t n = 0;
    if (!typed(c, c->argv[1], MINI_STRING, &v)) return;
    if (v && !slice_to_int(slice_text(v->item[0]), &n)) {
        resp_write_errorf(c->out, "ERR value is not an integer or out of range");
        return;
    }
    v = made(c, v, MINI_STRING);
    v->count = 1;
    snprintf(v->item[0], MINI_ITEM, "%" PRId64, n + 1);
    touch(c, c->argv[1]);
    number(c, n + 1);
}

static void do_mset(struct call *c) {
    for (size_t i = 1; i + 1 < c->argc; i += 2) make_string(slot(c, c->argv[i]), c->argv[i + 1]), touch(c, c->argv[i]);
    resp_write_ok(c->out);
}

/* ---- keys ---- */

static void do_del(struct call *c) {
    int64_t n = 0;
    for (size_t i = 1; i < c->argc; i++) {
        if (key_of(c->argv[i]) < 0) continue;
        /* What has expired and is hidden goes too, but nobody is told. */
        if (mini_look(c, c->argv[i])) n++, touch(c, c->argv[i]);
        slot(c, c->argv[i])->type = MINI_NONE;
    }
    number(c, n);
}

static void do_rename(struct call *c) {
    struct mini_value *v = mini_look(c, c->argv[1]), *to = slot(c, c->argv[2]);
    if (!v) {
        resp_write_errorf(c->out, "ERR no such key");
        return;
    }
    if (v != to) {
        *to = *v;
        v->type = MINI_NONE;
        touch(c, c->argv[1]);
        touch(c, c->argv[2]);
    }
    resp_write_ok(c->out);
}

static void do_expire(struct call *c) {
    int64_t at = 0;
    struct mini_value *v = mini_look(c, c->argv[1]);
    (void)slice_to_int(c->argv[2], &at);
    if (is(c, 0, "pexpire")) at += mini_now(c->m);
    if (v && at <= mini_now(c->m) && !c->m->import_mode) v->type = MINI_NONE;
    else if (v) v->expire_ms = at;
    if (v) touch(c, c->argv[1]);
    number(c, v != NULL);
}

static void do_persist(struct call *c) {
    struct mini_value *v = mini_look(c, c->argv[1]);
    bool had = v && v->expire_ms >= 0;
    if (had) v->expire_ms = -1, touch(c, c->argv[1]);
    number(c, had);
}

/* PEXPIRETIME and PTTL */
static void do_ttl(struct call *c) {
    struct mini_value *v = mini_look(c, c->argv[1]);
    if (!v || v->expire_ms < 0) number(c, v ? -1 : -2);
    else number(c, is(c, 0, "pttl") ? v->expire_ms - mini_now(c->m) : v->expire_ms);
}

static void do_dump(struct call *c) {
    struct mini_value *v = mini_look(c, c->argv[1]);
    if (v) resp_write_bulk(c->out, slice_from(v, sizeof *v));
    else nil(c);
}

static void do_restore(struct call *c) {
    struct mini_value *v = slot(c, c->argv[1]);
    int64_t at = 0;
    (void)slice_to_int(c->argv[2], &at);
    ASSERT(c->argv[3].size == sizeof *v);
    memcpy(v, c->argv[3].data, sizeof *v);
    v->expire_ms = at > 0 ? at : -1;
    if (at > 0 && at <= mini_now(c->m) && !c->m->import_mode) v->type = MINI_NONE;
    touch(c, c->argv[1]);
    resp_write_ok(c->out);
}

static void do_exists(struct call *c) { number(c, mini_look(c, c->argv[1]) != NULL); }

/* INFO keyspace */
static void do_info(struct call *c) {
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
static void do_scan(struct call *c) {
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

static void do_flush(struct call *c) {
    for (int db = 0; db < MINI_DBS; db++)
        if (is(c, 0, "flushall") || db == c->conn->db) {
            for (int k = 0; k < MINI_KEYS; k++) c->m->version[db][k] += mini_alive(&c->m->state.at[db][k], mini_now(c->m));
            memset(c->m->state.at[db], 0, sizeof c->m->state.at[db]);
        }
    resp_write_ok(c->out);
}

static void do_swapdb(struct call *c) {
    struct mini_state was = c->m->state;
    memcpy(c->m->state.at[0], was.at[1], sizeof was.at[0]);
    memcpy(c->m->state.at[1], was.at[0], sizeof was.at[0]);
    for (int k = 0; k < MINI_KEYS; k++) {
        bool any = mini_alive(&was.at[0][k], mini_now(c->m)) || mini_alive(&was.at[1][k], mini_now(c->m));
        if (any) c->m->version[0][k]++, c->m->version[1][k]++;
    }
    resp_write_ok(c->out);
}

/* ---- lists ---- */

static void do_push(struct call *c) {
    struct mini_value *v;
    char text[MINI_ITEM];
    if (!typed(c, c->argv[1], MINI_LIST, &v)) return;
    if (!v && is(c, 0, "lpushx")) {
        number(c, 0);
        return;
    }
    v = made(c, v, MINI_LIST);
    for (size_t i = 2; i < c->argc; i++) {
        text_of(text, c->argv[i]);
        insert(v, is(c, 0, "rpush") ? v->count : 0, text);
    }
    touch(c, c->argv[1]);
    number(c, v->count);
}

static void do_pop(struct call *c) {
    struct mini_value *v;
    if (!typed(c, c->argv[1], MINI_LIST, &v)) return;
    if (!v) {
        nil(c);
        return;
    }
    int at = is(c, 0, "rpop") ? v->count - 1 : 0;
    resp_write_text(c->out, v->item[at]);
    take_out(v, at, 1);
    touch(c, c->argv[1]);
}

/* Inside MULTI, where it never waits. */
static void do_blpop(struct call *c) {
    struct mini_value *v;
    for (size_t i = 1; i + 1 < c->argc; i++) {
        if (!typed(c, c->argv[i], MINI_LIST, &v)) return;
        if (!v) continue;
        resp_write_array(c->out, 2);
        resp_write_bulk(c->out, c->argv[i]);
        resp_write_text(c->out, v->item[0]);
        take_out(v, 0, 1);
        touch(c, c->argv[i]);
        return;
    }
    resp_write_null_array(c->out, 2);
}

/* ---- sets, hashes, sorted sets ---- */

static void do_sadd(struct call *c) {
    struct mini_value *v;
    char text[MINI_ITEM];
    int64_t added = 0;
    if (!typed(c, c->argv[1], MINI_SET, &v)) return;
    for (size_t i = 2; i < c->argc; i++) {
        text_of(text, c->argv[i]);
        if (v && find(v, text) >= 0) continue;
        insert_sorted(v = made(c, v, MINI_SET), text, NULL);
        added++;
    }
    if (added > 0) touch(c, c->argv[1]);
    number(c, added);
}

/* SREM, HDEL, ZREM of one. */
static void do_remove(struct call *c) {
    struct mini_value *v;
    char text[MINI_ITEM];
    enum mini_type type = is(c, 0, "srem") ? MINI_SET : is(c, 0, "hdel") ? MINI_HASH : MINI_ZSET;
    if (!typed(c, c->argv[1], type, &v)) return;
    text_of(text, c->argv[2]);
    int at = v ? find(v, text) : -1;
    if (at >= 0) take_out(v, at, step_of(v)), touch(c, c->argv[1]);
    number(c, at >= 0);
}

static void do_spop(struct call *c) {
    struct mini_value *v;
    if (!typed(c, c->argv[1], MINI_SET, &v)) return;
    if (!v) {
        nil(c);
        return;
    }
    int at = (int)rng_below(&c->m->rng, (uint64_t)v->count);
    resp_write_text(c->out, v->item[at]);
    take_out(v, at, 1);
    touch(c, c->argv[1]);
}

static void do_smove(struct call *c) {
    struct mini_value *v, *to;
    char text[MINI_ITEM];
    if (!mini_look(c, c->argv[1])) {
        number(c, 0);
        return;
    }
    if (!typed(c, c->argv[1], MINI_SET, &v) || !typed(c, c->argv[2], MINI_SET, &to)) return;
    text_of(text, c->argv[3]);
    int at = find(v, text);
    number(c, at >= 0);
    if (at < 0 || v == to) return;
    take_out(v, at, 1);
    if (!to) to = make(slot(c, c->argv[2]), MINI_SET);
    if (find(to, text) < 0) insert_sorted(to, text, NULL);
    touch(c, c->argv[1]);
    touch(c, c->argv[2]);
}

static void do_sunionstore(struct call *c) {
    struct mini_value sum, *v;
    make(&sum, MINI_SET);
    for (size_t i = 2; i < c->argc; i++) {
        if (!typed(c, c->argv[i], MINI_SET, &v)) return;
        for (int k = 0; v && k < v->count; k++)
            if (find(&sum, v->item[k]) < 0) insert_sorted(&sum, v->item[k], NULL);
    }
    if (sum.count == 0) sum.type = MINI_NONE;
    if (sum.count > 0 || mini_look(c, c->argv[1])) touch(c, c->argv[1]);
    *slot(c, c->argv[1]) = sum;
    number(c, sum.count);
}

static void put_pair(struct mini_value *v, const char *name, const char *value) {
    int at = find(v, name);
    if (at >= 0) snprintf(v->item[at + 1], MINI_ITEM, "%s", value);
    else insert_sorted(v, name, value);
}

static void do_hset(struct call *c) {
    struct mini_value *v;
    char field[MINI_ITEM], value[MINI_ITEM];
    int64_t added = 0;
    if (c->argv[1].size > 1) {
        mini_mark(c);
        return;
    }
    if (!typed(c, c->argv[1], MINI_HASH, &v)) return;
    v = made(c, v, MINI_HASH);
    for (size_t i = 2; i + 1 < c->argc; i += 2) {
        text_of(field, c->argv[i]);
        text_of(value, c->argv[i + 1]);
        added += find(v, field) < 0;
        put_pair(v, field, value);
    }
    touch(c, c->argv[1]);
    number(c, added);
}

/* ZADD key score member; ZINCRBY key by member: whole numbers. */
static void do_zadd(struct call *c) {
    struct mini_value *v;
    char member[MINI_ITEM], score[MINI_ITEM];
    bool by = is(c, 0, "zincrby");
    int64_t added = 0;
    if (!typed(c, c->argv[1], MINI_ZSET, &v)) return;
    v = made(c, v, MINI_ZSET);
    for (size_t i = 2; i + 1 < c->argc; i += 2) {
        text_of(member, c->argv[i + 1]);
        text_of(score, c->argv[i]);
        int at = find(v, member);
        if (by && at >= 0) snprintf(score, sizeof score, "%d", atoi(score) + atoi(v->item[at + 1]));
        put_pair(v, member, score);
        added += at < 0;
    }
    touch(c, c->argv[1]);
    if (by) resp_write_text(c->out, score);
    else number(c, added);
}

/* ---- scripts ---- */

static void run(struct call *c);

/* EVAL "w" writes something at random to each key; EVAL "x" errs after the first. */
static void do_eval(struct call *c) {
    char text[MINI_ITEM];
    for (size_t i = 3; i < c->argc; i++) {
        struct buf out = {0};
        snprintf(text, sizeof text, "e%d", (int)rng_below(&c->m->rng, 99));
        struct slice argv[3] = {rng_below(&c->m->rng, 2) ? SLICE("SET") : SLICE("SADD"), c->argv[i], slice_text(text)};
        struct call inner = {c->m, c->conn, 3, argv, &out};
        run(&inner);
        bool err = slice_starts(buf_slice(&out), SLICE("-"));
        buf_close(&out);
        if (!err && !is(c, 1, "x")) continue;
        resp_write_errorf(c->out, "ERR script");
        return;
    }
    number(c, 1);
}

static void do_time(struct call *c) {
    char text[24];
    resp_write_array(c->out, 2);
    snprintf(text, sizeof text, "%" PRId64, mini_now(c->m) / 1000);
    resp_write_text(c->out, text);
    snprintf(text, sizeof text, "%" PRId64, mini_now(c->m) % 1000 * 1000);
    resp_write_text(c->out, text);
}

static void do_select(struct call *c) {
    int64_t db = 0;
    (void)slice_to_int(c->argv[1], &db);
    ASSERT(db >= 0 && db < MINI_DBS);
    c->conn->db = (int)db;
    resp_write_ok(c->out);
}

static void do_function(struct call *c) {
    uint32_t *libraries = &c->m->state.libraries;
    char text[16];
    snprintf(text, sizeof text, "libs%08" PRIx32, *libraries);
    if (is(c, 1, "dump")) {
        resp_write_text(c->out, text);
        return;
    }
    uint32_t bit = c->argc > 2 ? UINT32_C(1) << (c->argv[2].data[0] & 31) : 0;
    if (is(c, 1, "flush")) *libraries = 0;
    else if (is(c, 1, "restore")) *libraries = (uint32_t)strtoul((const char *)c->argv[2].data + 4, NULL, 16);
    else if (*libraries & bit) {
        resp_write_errorf(c->out, "ERR Library already exists");
        return;
    } else *libraries |= bit;
    resp_write_ok(c->out);
}

static const struct {
    const char *name;
    void (*run)(struct call *c);
} commands[] = {
    {"get", do_get},           {"set", do_set},       {"setnx", do_setnx},     {"getset", do_getset},   {"getdel", do_getset},
    {"append", do_append},     {"incr", do_incr},     {"mset", do_mset},       {"del", do_del},         {"unlink", do_del},
    {"rename", do_rename},     {"pexpire", do_expire}, {"pexpireat", do_expire}, {"persist", do_persist}, {"pexpiretime", do_ttl},
    {"pttl", do_ttl},          {"dump", do_dump},     {"restore", do_restore}, {"scan", do_scan},       {"flushall", do_flush},
    {"flushdb", do_flush},     {"swapdb", do_swapdb}, {"lpush", do_push},      {"rpush", do_push},      {"lpushx", do_push},
    {"lpop", do_pop},          {"rpop", do_pop},      {"blpop", do_blpop},     {"sadd", do_sadd},       {"srem", do_remove},
    {"hdel", do_remove},       {"zrem", do_remove},   {"spop", do_spop},       {"smove", do_smove},     {"sunionstore", do_sunionstore},
    {"hset", do_hset},         {"zadd", do_zadd},     {"zincrby", do_zadd},    {"eval", do_eval},       {"time", do_time},
    {"select", do_select},     {"exists", do_exists}, {"memory", mini_do_memory}, {"info", do_info},       {"function", do_function},
    {"type", mini_do_type},    {"strlen", mini_do_length}, {"llen", mini_do_length},  {"scard", mini_do_length}, {"hlen", mini_do_length},
    {"zcard", mini_do_length}, {"xlen", mini_do_length}, {"getrange", mini_do_getrange}, {"lrange", mini_do_lrange}, {"sscan", mini_do_scan_of},
    {"hscan", mini_do_scan_of}, {"zscan", mini_do_scan_of},
};

/* As a server without memory: what can only shrink is not refused. */
static bool refused(const struct call *c) {
    static const char *const fine[] = {"get", "dump", "pexpiretime", "pttl", "time", "scan", "select", "del", "unlink", "lpop", "srem",
                                       "flushall", "flushdb", "swapdb", "exists", "memory", "info", "strlen", "llen",
                                       "scard", "hlen", "zcard"};
    if (!c->m->refuse) return false;
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        if (is(c, 0, fine[i])) return false;
    for (size_t i = 1; i < c->argc; i++)
        if (c->m->refuse == '*' || (c->argv[i].size == 1 && c->argv[i].data[0] == c->m->refuse)) return true;
    return false;
}

static void run(struct call *c) {
    if (refused(c)) {
        resp_write_errorf(c->out, "OOM command not allowed when used memory > 'maxmemory'.");
        return;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (slice_equal_nocase(c->argv[0], slice_text(commands[i].name))) {
            commands[i].run(c);
            return;
        }
    UNREACHABLE("a command that the mini Redis does not know");
}

/* ---- connections ---- */

static void do_watch(struct call *c) {
    for (size_t i = 1; i < c->argc; i++) {
        (void)mini_look(c, c->argv[i]);
        int key = key_of(c->argv[i]);
        if (c->conn->seen[c->conn->db][key] == 0) c->conn->seen[c->conn->db][key] = c->m->version[c->conn->db][key] + 1;
    }
    c->conn->watching = true;
    resp_write_ok(c->out);
}

static void forget_watch(struct mini_conn *conn) {
    conn->watching = false;
    memset(conn->seen, 0, sizeof conn->seen);
}

static bool watch_failed(const struct call *c) {
    for (int db = 0; c->conn->watching && db < MINI_DBS; db++)
        for (int k = 0; k < MINI_KEYS; k++)
            if (c->conn->seen[db][k] != 0) {
                const struct mini_value *v = &c->m->state.at[db][k];
                bool expired = v->type != MINI_NONE && !mini_alive(v, mini_now(c->m)); /* it was there at WATCH */
                if (expired || c->conn->seen[db][k] != c->m->version[db][k] + 1) return true;
            }
    return false;
}

static void end_multi(struct mini_conn *conn) {
    conn->multi = conn->spoiled = false;
    buf_clear(&conn->queued);
    conn->count = 0;
    forget_watch(conn);
}

static void do_exec(struct call *c) {
    struct resp_request r = {0};
    struct why why;
    size_t used = 0;
    if (c->conn->spoiled) {
        resp_write_errorf(c->out, "EXECABORT Transaction discarded because of previous errors.");
    } else if (watch_failed(c)) {
        resp_write_null_array(c->out, 2);
    } else {
        resp_write_array(c->out, c->conn->count);
        struct slice rest = buf_slice(&c->conn->queued);
        while (rest.size > 0 && resp_request_next(&r, &resp_request_limits_open, rest, &used, &why) == STEP_DONE) {
            struct call one = {c->m, c->conn, r.argc, r.argv, c->out};
            run(&one);
            rest = slice_drop(rest, used);
        }
    }
    resp_request_close(&r);
    end_multi(c->conn);
}

static void serve(struct call *c, struct slice request) {
    if (c->m->loading && !c->conn->multi) {
        resp_write_errorf(c->out, "LOADING Redis is loading the dataset in memory");
    } else if (is(c, 0, "multi")) {
        c->conn->multi = true;
        resp_write_ok(c->out);
    } else if (is(c, 0, "exec")) {
        if (c->conn->multi) do_exec(c);
        else resp_write_errorf(c->out, "ERR EXEC without MULTI");
    } else if (c->conn->multi && refused(c)) {
        c->conn->spoiled = true;
        resp_write_errorf(c->out, "OOM command not allowed when used memory > 'maxmemory'.");
    } else if (c->conn->multi) {
        buf_add(&c->conn->queued, request);
        c->conn->count++;
        resp_write_simple(c->out, SLICE("QUEUED"));
    } else if (is(c, 0, "watch")) {
        do_watch(c);
    } else if (is(c, 0, "unwatch")) {
        forget_watch(c->conn);
        resp_write_ok(c->out);
    } else {
        run(c);
    }
}

void mini_serve(struct mini *m, struct mini_conn *conn, struct slice request, struct buf *out) {
    struct resp_request r = {0};
    struct why why;
    size_t used = 0;
    enum step step = resp_request_next(&r, &resp_request_limits_open, request, &used, &why);
    ASSERT(step == STEP_DONE && used == request.size);
    struct call c = {m, conn, r.argc, r.argv, out};
    serve(&c, request);
    resp_request_close(&r);
}

void mini_conn_close(struct mini_conn *conn) { buf_close(&conn->queued); }

void mini_expire(struct mini *m) {
    if (m->import_mode) return;
    for (int db = 0; db < MINI_DBS; db++)
        for (int k = 0; k < MINI_KEYS; k++)
            if (!mini_alive(&m->state.at[db][k], mini_now(m)) && m->state.at[db][k].type != MINI_NONE) {
                m->state.at[db][k].type = MINI_NONE;
                m->version[db][k]++;
            }
}

bool mini_same(const struct mini_value *a, const struct mini_value *b) {
    if (a->type == MINI_NONE || b->type == MINI_NONE) return a->type == b->type;
    bool same = a->type == b->type && a->count == b->count && a->expire_ms == b->expire_ms;
    for (int i = 0; same && i < a->count; i++) same = strcmp(a->item[i], b->item[i]) == 0;
    return same;
}

bool mini_equal(const struct mini_state *a, const struct mini_state *b, int64_t at_ms, char what[256]) {
    if (a->libraries != b->libraries) {
        snprintf(what, 256, "P has the libraries %" PRIx32 ", F has %" PRIx32, a->libraries, b->libraries);
        return false;
    }
    for (int db = 0; db < MINI_DBS; db++)
        for (int k = 0; k < MINI_KEYS; k++) {
            const struct mini_value *x = &a->at[db][k], *y = &b->at[db][k];
            bool in_a = mini_alive(x, at_ms), in_b = mini_alive(y, at_ms);
            if (in_a == in_b && (!in_a || mini_same(x, y))) continue;
            snprintf(what, 256,
                     "db %d key %c: P has type %d count %d first '%s' expires %" PRId64 ", F type %d count %d first '%s' expires %" PRId64, db,
                     'a' + k, in_a ? (int)x->type : 0, x->count, x->item[0], x->expire_ms, in_b ? (int)y->type : 0, y->count, y->item[0],
                     y->expire_ms);
            return false;
        }
    return true;
}

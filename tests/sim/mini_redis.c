/* mini_redis.c -- a small Redis for the simulation of lanes. See mini_redis.h. */
#include "tests/sim/mini_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- scripts ---- */

static void run(struct call *c);

static void run_words(struct call *c, struct slice word, struct slice key, struct slice value) {
    struct buf out = {0};
    struct slice argv[3] = {word, key, value};
    struct call inner = {c->m, c->conn, slice_equal(word, SLICE("DEL")) ? 2 : 3, argv, &out};
    run(&inner);
    buf_close(&out);
}

/* Keys that nobody was told of, in whatever database. */
static void write_undeclared(struct call *c) {
    int db = c->conn->db;
    for (uint64_t i = 1 + rng_below(&c->m->rng, 2); i > 0; i--) {
        static const char *const words[] = {"SET", "DEL", "SADD", "APPEND"};
        char name = (char)('a' + rng_below(&c->m->rng, 4)), text[MINI_ITEM];
        snprintf(text, sizeof text, "u%d", (int)rng_below(&c->m->rng, 99));
        c->conn->db = (int)rng_below(&c->m->rng, MINI_DBS);
        run_words(c, slice_text(words[rng_below(&c->m->rng, 4)]), slice_from(&name, 1), slice_text(text));
    }
    c->conn->db = db;
}

/* EVAL "w" writes something at random to each key; EVAL "x" errs after the first; EVAL "u" is "w", and
 * writes keys that it does not name; EVAL "n" sets its first argument, which is no key. */
static void do_eval(struct call *c) {
    char text[MINI_ITEM];
    c->m->scripts++;
    if (mini_is(c, 1, "n")) run_words(c, SLICE("SET"), c->argv[4], SLICE("n"));
    if (mini_is(c, 1, "u")) write_undeclared(c);
    for (size_t i = 3; !mini_is(c, 1, "n") && i < c->argc; i++) {
        struct buf out = {0};
        snprintf(text, sizeof text, "e%d", (int)rng_below(&c->m->rng, 99));
        struct slice argv[3] = {rng_below(&c->m->rng, 2) ? SLICE("SET") : SLICE("SADD"), c->argv[i], slice_text(text)};
        struct call inner = {c->m, c->conn, 3, argv, &out};
        run(&inner);
        bool err = slice_starts(buf_slice(&out), SLICE("-"));
        buf_close(&out);
        if (!err && !mini_is(c, 1, "x")) continue;
        resp_write_errorf(c->out, "ERR script");
        return;
    }
    mini_number(c, 1);
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
    if (mini_is(c, 1, "dump")) {
        resp_write_text(c->out, text);
        return;
    }
    uint32_t bit = c->argc > 2 ? UINT32_C(1) << (c->argv[2].data[0] & 31) : 0;
    if (mini_is(c, 1, "flush")) *libraries = 0;
    else if (mini_is(c, 1, "restore")) *libraries = (uint32_t)strtoul((const char *)c->argv[2].data + 4, NULL, 16);
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
    {"get", mini_do_get},           {"set", mini_do_set},       {"setnx", mini_do_setnx},     {"getset", mini_do_getset},   {"getdel", mini_do_getset},
    {"append", mini_do_append},     {"incr", mini_do_incr},     {"mset", mini_do_mset},       {"del", mini_do_del},         {"unlink", mini_do_del},
    {"rename", mini_do_rename},     {"pexpire", mini_do_expire}, {"pexpireat", mini_do_expire}, {"persist", mini_do_persist}, {"pexpiretime", mini_do_ttl},
    {"pttl", mini_do_ttl},          {"dump", mini_do_dump},     {"restore", mini_do_restore}, {"scan", mini_do_scan},       {"flushall", mini_do_flush},
    {"flushdb", mini_do_flush},     {"swapdb", mini_do_swapdb}, {"lpush", mini_do_push},      {"rpush", mini_do_push},      {"lpushx", mini_do_push},
    {"lpop", mini_do_pop},          {"rpop", mini_do_pop},      {"blpop", mini_do_blpop},     {"sadd", mini_do_sadd},       {"srem", mini_do_remove},
    {"hdel", mini_do_remove},       {"zrem", mini_do_remove},   {"spop", mini_do_spop},       {"smove", mini_do_smove},     {"sunionstore", mini_do_sunionstore},
    {"hset", mini_do_hset},         {"zadd", mini_do_zadd},     {"zincrby", mini_do_zadd},    {"eval", do_eval},       {"time", do_time},
    {"select", do_select},     {"exists", mini_do_exists}, {"memory", mini_do_memory}, {"info", mini_do_info},       {"function", do_function},
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
        if (mini_is(c, 0, fine[i])) return false;
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
        int key = mini_key_of(c->argv[i]);
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
    } else if (mini_is(c, 0, "multi")) {
        c->conn->multi = true;
        resp_write_ok(c->out);
    } else if (mini_is(c, 0, "exec")) {
        if (c->conn->multi) do_exec(c);
        else resp_write_errorf(c->out, "ERR EXEC without MULTI");
    } else if (c->conn->multi && refused(c)) {
        c->conn->spoiled = true;
        resp_write_errorf(c->out, "OOM command not allowed when used memory > 'maxmemory'.");
    } else if (c->conn->multi) {
        buf_add(&c->conn->queued, request);
        c->conn->count++;
        resp_write_simple(c->out, SLICE("QUEUED"));
    } else if (mini_is(c, 0, "watch")) {
        do_watch(c);
    } else if (mini_is(c, 0, "unwatch")) {
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
                m->changed |= UINT32_C(1) << k;
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

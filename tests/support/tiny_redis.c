/* tiny_redis.c -- enough of a Redis for simulations. See tiny_redis.h. */
#include "tests/support/tiny_redis.h"

#include "lib/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct call {
    struct tiny *t;
    int db;
    bool link; /* the link's connection: sees expired keys in import mode */
    size_t argc;
    const struct slice *argv;
    struct buf *out;
};

int64_t tiny_now(const struct tiny *tiny) { return *tiny->world_ms + tiny->skew_ms; }

static void propagate(struct tiny *t, int db, const char *fmt, ...) PRINTF(3, 4);
static void propagate(struct tiny *t, int db, const char *fmt, ...) {
    if (!t->stream || t->effect_count == 8) return;
    char words[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    struct slice argv[8];
    size_t argc = 0;
    for (char *w = strtok(words, " "); w && argc < 8; w = strtok(NULL, " ")) argv[argc++] = slice_text(w);
    t->effect_db[t->effect_count] = db;
    buf_clear(&t->effects[t->effect_count]);
    resp_write_command(&t->effects[t->effect_count++], argc, argv);
}

static struct tiny_value *slot(const struct call *c, struct slice key) {
    ASSERT(key.size == 1 && key.data[0] >= 'a' && key.data[0] < 'a' + TINY_KEYS);
    return &c->t->state.at[c->db][key.data[0] - 'a'];
}

/* The value under KEY, or NULL; an expired one is deleted. */
static struct tiny_value *look(const struct call *c, struct slice key) {
    struct tiny_value *v = slot(c, key);
    if (v->type == TINY_NONE) return NULL;
    if (v->expire_ms >= 0 && v->expire_ms <= tiny_now(c->t)) {
        if (c->t->import_mode) return c->link ? v : NULL;
        v->type = TINY_NONE;
        propagate(c->t, c->db, "DEL %c", key.data[0]);
        return NULL;
    }
    return v;
}

static void text_of(char *to, struct slice s) { snprintf(to, TINY_ITEM, "%.*s", (int)s.size, (const char *)s.data); }

static struct tiny_value *make(struct tiny_value *v, enum tiny_type type) {
    *v = (struct tiny_value){.type = type, .expire_ms = -1};
    return v;
}

static int find_item(const struct tiny_value *v, const char *text, int step) {
    for (int i = 0; i < v->count; i += step)
        if (strcmp(v->item[i], text) == 0) return i;
    return -1;
}

static void insert(struct tiny_value *v, int at, const char *text) {
    if (v->count == TINY_ITEMS) v->count -= 2; /* the same at both ends: order is all that matters */
    if (at > v->count) at = v->count;
    memmove(v->item[at + 1], v->item[at], (size_t)(v->count - at) * TINY_ITEM);
    snprintf(v->item[at], TINY_ITEM, "%s", text);
    v->count++;
}

static void take_out(struct tiny_value *v, int at, int count) {
    memmove(v->item[at], v->item[at + count], (size_t)(v->count - at - count) * TINY_ITEM);
    v->count -= count;
    if (v->count == 0) v->type = TINY_NONE;
}

static int sorted_place(const struct tiny_value *v, const char *text) {
    int at = 0;
    while (at < v->count && strcmp(v->item[at], text) < 0) at++;
    return at;
}

static void number(struct call *c, int64_t n) { resp_write_int(c->out, n); }
static void wrong_type(struct call *c) { resp_write_errorf(c->out, "WRONGTYPE of value"); }

/* ---- commands; each returns after writing one answer ---- */

static void do_set(struct call *c) {
    struct tiny_value *v = slot(c, c->argv[1]);
    (void)look(c, c->argv[1]);
    make(v, TINY_STRING);
    v->count = 1;
    text_of(v->item[0], c->argv[2]);
    int64_t at = -1;
    if (c->argc == 5) (void)slice_to_int(c->argv[4], &at);
    if (c->argc == 5 && slice_equal_nocase(c->argv[3], SLICE("px"))) at += tiny_now(c->t);
    v->expire_ms = at;
    if (at >= 0) propagate(c->t, c->db, "SET %c %s PXAT %" PRId64, c->argv[1].data[0], v->item[0], at);
    else propagate(c->t, c->db, "SET %c %s", c->argv[1].data[0], v->item[0]);
    resp_write_ok(c->out);
}

static void do_incr(struct call *c) {
    struct tiny_value *v = look(c, c->argv[1]);
    int64_t n = 0;
    if (v && v->type != TINY_STRING) {
        wrong_type(c);
        return;
    }
    if (v && !slice_to_int(slice_text(v->item[0]), &n)) {
        resp_write_errorf(c->out, "ERR value is not an integer");
        return;
    }
    if (!v) v = make(slot(c, c->argv[1]), TINY_STRING);
    v->count = 1;
    snprintf(v->item[0], TINY_ITEM, "%" PRId64, n + 1);
    propagate(c->t, c->db, "INCR %c", c->argv[1].data[0]);
    number(c, n + 1);
}

static void do_append(struct call *c) {
    struct tiny_value *v = look(c, c->argv[1]);
    if (v && v->type != TINY_STRING) {
        wrong_type(c);
        return;
    }
    if (!v) v = make(slot(c, c->argv[1]), TINY_STRING);
    v->count = 1;
    size_t size = strlen(v->item[0]);
    snprintf(v->item[0] + size, TINY_ITEM - size, "%.*s", (int)c->argv[2].size, (const char *)c->argv[2].data);
    propagate(c->t, c->db, "APPEND %c %.*s", c->argv[1].data[0], (int)c->argv[2].size, (const char *)c->argv[2].data);
    number(c, (int64_t)strlen(v->item[0]));
}

static void do_del(struct call *c) {
    int64_t n = 0;
    for (size_t i = 1; i < c->argc; i++) {
        if (look(c, c->argv[i])) n++;
        struct tiny_value *v = slot(c, c->argv[i]);
        if (v->type == TINY_NONE) continue;
        v->type = TINY_NONE;
        propagate(c->t, c->db, "DEL %c", c->argv[i].data[0]);
    }
    number(c, n);
}

static void do_push(struct call *c) {
    bool left = slice_equal_nocase(c->argv[0], SLICE("lpush"));
    char text[TINY_ITEM];
    struct tiny_value *v = look(c, c->argv[1]);
    if (v && v->type != TINY_LIST) {
        wrong_type(c);
        return;
    }
    if (!v) v = make(slot(c, c->argv[1]), TINY_LIST);
    text_of(text, c->argv[2]);
    insert(v, left ? 0 : v->count, text);
    propagate(c->t, c->db, "%s %c %s", left ? "LPUSH" : "RPUSH", c->argv[1].data[0], text);
    number(c, v->count);
}

static void do_lpop(struct call *c) {
    struct tiny_value *v = look(c, c->argv[1]);
    if (v && v->type != TINY_LIST) {
        wrong_type(c);
        return;
    }
    if (!v) {
        resp_write_null(c->out, 2);
        return;
    }
    resp_write_text(c->out, v->item[0]);
    take_out(v, 0, 1);
    propagate(c->t, c->db, "LPOP %c", c->argv[1].data[0]);
}

static void do_sadd(struct call *c) {
    char text[TINY_ITEM];
    struct tiny_value *v = look(c, c->argv[1]);
    if (v && v->type != TINY_SET) {
        wrong_type(c);
        return;
    }
    if (!v) v = make(slot(c, c->argv[1]), TINY_SET);
    text_of(text, c->argv[2]);
    if (find_item(v, text, 1) >= 0) {
        number(c, 0);
        return;
    }
    insert(v, sorted_place(v, text), text);
    propagate(c->t, c->db, "SADD %c %s", c->argv[1].data[0], text);
    number(c, 1);
}

/* SREM, and SPOP, which goes into the stream as SREM. */
static void do_srem(struct call *c) {
    char text[TINY_ITEM];
    bool pop = c->argc == 2;
    struct tiny_value *v = look(c, c->argv[1]);
    if (v && v->type != TINY_SET) {
        wrong_type(c);
        return;
    }
    if (!v) {
        number(c, 0);
        return;
    }
    if (pop) snprintf(text, sizeof text, "%s", v->item[rng_below(&c->t->rng, (uint64_t)v->count)]);
    else text_of(text, c->argv[2]);
    int at = find_item(v, text, 1);
    if (at < 0) {
        number(c, 0);
        return;
    }
    take_out(v, at, 1);
    propagate(c->t, c->db, "SREM %c %s", c->argv[1].data[0], text);
    number(c, 1);
}

static void do_sunionstore(struct call *c) {
    struct tiny_value sum;
    make(&sum, TINY_SET);
    for (size_t i = 2; i < c->argc; i++) {
        struct tiny_value *v = look(c, c->argv[i]);
        if (v && v->type != TINY_SET) {
            wrong_type(c);
            return;
        }
        for (int k = 0; v && k < v->count; k++)
            if (find_item(&sum, v->item[k], 1) < 0) insert(&sum, sorted_place(&sum, v->item[k]), v->item[k]);
    }
    struct tiny_value *to = slot(c, c->argv[1]);
    bool was = look(c, c->argv[1]) != NULL;
    to->type = TINY_NONE;
    if (sum.count > 0) {
        *to = sum;
        propagate(c->t, c->db, "SUNIONSTORE %c %c %c", c->argv[1].data[0], c->argv[2].data[0], c->argv[c->argc - 1].data[0]);
    } else if (was) {
        propagate(c->t, c->db, "DEL %c", c->argv[1].data[0]);
    }
    number(c, sum.count);
}

static void do_hset(struct call *c) {
    char field[TINY_ITEM], value[TINY_ITEM];
    struct tiny_value *v = look(c, c->argv[1]);
    if (v && v->type != TINY_HASH) {
        wrong_type(c);
        return;
    }
    if (!v) v = make(slot(c, c->argv[1]), TINY_HASH);
    text_of(field, c->argv[2]);
    text_of(value, c->argv[3]);
    int at = find_item(v, field, 2);
    if (at >= 0) {
        snprintf(v->item[at + 1], TINY_ITEM, "%s", value);
    } else {
        at = 0;
        while (at < v->count && strcmp(v->item[at], field) < 0) at += 2;
        insert(v, at, field);
        insert(v, at + 1, value);
    }
    propagate(c->t, c->db, "HSET %c %s %s", c->argv[1].data[0], field, value);
    number(c, 1);
}

static void do_expire(struct call *c) {
    int64_t at = 0;
    struct tiny_value *v = look(c, c->argv[1]);
    (void)slice_to_int(c->argv[2], &at);
    if (slice_equal_nocase(c->argv[0], SLICE("pexpire"))) at += tiny_now(c->t);
    if (!v) {
        number(c, 0);
        return;
    }
    if (at <= tiny_now(c->t) && !c->t->import_mode) {
        v->type = TINY_NONE;
        propagate(c->t, c->db, "DEL %c", c->argv[1].data[0]);
        number(c, 1);
        return;
    }
    v->expire_ms = at;
    propagate(c->t, c->db, "PEXPIREAT %c %" PRId64, c->argv[1].data[0], at);
    number(c, 1);
}

static void do_persist(struct call *c) {
    struct tiny_value *v = look(c, c->argv[1]);
    if (!v || v->expire_ms < 0) {
        number(c, 0);
        return;
    }
    v->expire_ms = -1;
    propagate(c->t, c->db, "PERSIST %c", c->argv[1].data[0]);
    number(c, 1);
}

static void do_rename(struct call *c) {
    struct tiny_value *v = look(c, c->argv[1]), *to = slot(c, c->argv[2]);
    if (!v) {
        resp_write_errorf(c->out, "ERR no such key");
        return;
    }
    if (v != to) {
        *to = *v;
        v->type = TINY_NONE;
        propagate(c->t, c->db, "RENAME %c %c", c->argv[1].data[0], c->argv[2].data[0]);
    }
    resp_write_ok(c->out);
}

static void do_mset(struct call *c) {
    for (size_t i = 1; i + 1 < c->argc; i += 2) {
        struct tiny_value *v = make(slot(c, c->argv[i]), TINY_STRING);
        v->count = 1;
        text_of(v->item[0], c->argv[i + 1]);
    }
    propagate(c->t, c->db, "MSET %c %.*s %c %.*s", c->argv[1].data[0], (int)c->argv[2].size, (const char *)c->argv[2].data,
              c->argv[3].data[0], (int)c->argv[4].size, (const char *)c->argv[4].data);
    resp_write_ok(c->out);
}

static void do_flushall(struct call *c) {
    memset(&c->t->state, 0, sizeof c->t->state);
    propagate(c->t, c->db, "FLUSHALL");
    resp_write_ok(c->out);
}

static void do_restore(struct call *c) {
    struct tiny_value *v = slot(c, c->argv[1]);
    int64_t at = 0;
    (void)slice_to_int(c->argv[2], &at);
    ASSERT(c->argv[3].size == sizeof *v);
    memcpy(v, c->argv[3].data, sizeof *v);
    v->expire_ms = at > 0 ? at : -1;
    if (at > 0 && at <= tiny_now(c->t) && !c->t->import_mode) v->type = TINY_NONE;
    resp_write_ok(c->out);
}

static void do_time(struct call *c) {
    char text[24];
    resp_write_array(c->out, 2);
    snprintf(text, sizeof text, "%" PRId64, tiny_now(c->t) / 1000);
    resp_write_text(c->out, text);
    snprintf(text, sizeof text, "%" PRId64, tiny_now(c->t) % 1000 * 1000);
    resp_write_text(c->out, text);
}

static const struct {
    const char *name;
    void (*run)(struct call *c);
} commands[] = {
    {"set", do_set},       {"incr", do_incr},         {"append", do_append}, {"del", do_del},         {"lpush", do_push},
    {"rpush", do_push},    {"lpop", do_lpop},         {"sadd", do_sadd},     {"srem", do_srem},       {"spop", do_srem},
    {"sunionstore", do_sunionstore}, {"hset", do_hset}, {"pexpire", do_expire}, {"pexpireat", do_expire}, {"persist", do_persist},
    {"rename", do_rename}, {"mset", do_mset},         {"flushall", do_flushall}, {"restore", do_restore}, {"time", do_time},
};

static bool refused(const struct call *c) {
    if (!c->t->refuse || slice_equal_nocase(c->argv[0], SLICE("time")) || slice_equal_nocase(c->argv[0], SLICE("del"))) return false;
    if (c->t->refuse == '*') return true;
    for (size_t i = 1; i < c->argc; i++)
        if (c->argv[i].size == 1 && c->argv[i].data[0] == c->t->refuse) return true;
    return false;
}

static void run(struct call *c) {
    if (c->argc > 1 && slice_starts(c->argv[1], SLICE("drawbridge:checkpoint:"))) { /* SET */
        snprintf(c->t->state.checkpoint, sizeof c->t->state.checkpoint, "%.*s", (int)c->argv[2].size, (const char *)c->argv[2].data);
        resp_write_ok(c->out);
        return;
    }
    if (slice_equal_nocase(c->argv[0], SLICE("select"))) {
        c->db = c->argv[1].data[0] - '0';
        resp_write_ok(c->out);
        return;
    }
    if (c->link && refused(c)) {
        resp_write_errorf(c->out, "ERR refused by the simulation");
        return;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (slice_equal_nocase(c->argv[0], slice_text(commands[i].name))) {
            commands[i].run(c);
            return;
        }
    UNREACHABLE("a command that the tiny Redis does not know");
}

/* ---- connections ---- */

static void flush_effects(struct tiny *t) {
    if (!t->stream) return;
    if (t->effect_count > 1) resp_write_words(t->stream, "MULTI", NULL);
    for (int i = 0; i < t->effect_count; i++) {
        if (t->effect_db[i] != t->stream_db) resp_write_words(t->stream, "SELECT", t->effect_db[i] ? "1" : "0", NULL);
        t->stream_db = t->effect_db[i];
        buf_add(t->stream, buf_slice(&t->effects[i]));
    }
    if (t->effect_count > 1) resp_write_words(t->stream, "EXEC", NULL);
    t->effect_count = 0;
}

static void run_text(struct tiny *tiny, int db, struct slice command) {
    struct slice argv[8];
    struct buf out = {0};
    size_t argc = 0;
    while (command.size > 0 && argc < 8) {
        const uint8_t *space = memchr(command.data, ' ', command.size);
        size_t size = space ? (size_t)(space - command.data) : command.size;
        argv[argc++] = slice_take(command, size);
        command = slice_drop(command, space ? size + 1 : size);
    }
    struct call c = {.t = tiny, .db = db, .argc = argc, .argv = argv, .out = &out};
    run(&c);
    buf_close(&out);
}

void tiny_client(struct tiny *tiny, int db, struct slice command, const struct slice *second) {
    run_text(tiny, db, command);
    if (second) run_text(tiny, db, *second);
    flush_effects(tiny);
}

bool tiny_serve(struct tiny *tiny, struct slice wire, struct buf *out) {
    struct resp_request r = {0};
    struct call c = {.t = tiny, .link = true};
    struct buf queued = {0};
    size_t used = 0, count = 0;
    bool abort = false, exec = false;
    struct why why;
    while (wire.size > 0 && resp_request_next(&r, &resp_request_limits_open, wire, &used, &why) == STEP_DONE) {
        if (slice_equal(r.argv[0], SLICE("MULTI"))) {
            resp_write_ok(out);
        } else if (slice_equal(r.argv[0], SLICE("EXEC"))) {
            exec = true;
        } else if (tiny->out_of_memory && !slice_equal(r.argv[0], SLICE("SELECT")) && !slice_equal(r.argv[0], SLICE("TIME"))) {
            abort = true;
            resp_write_errorf(out, "OOM command not allowed when used memory > 'maxmemory'.");
        } else {
            buf_add(&queued, slice_take(wire, used));
            count++;
            resp_write_simple(out, SLICE("QUEUED"));
        }
        wire = slice_drop(wire, used);
    }
    if (exec && abort) resp_write_errorf(out, "EXECABORT Transaction discarded because of previous errors.");
    if (exec && !abort) {
        resp_write_array(out, count);
        struct slice rest = buf_slice(&queued);
        c.out = out;
        while (rest.size > 0 && resp_request_next(&r, &resp_request_limits_open, rest, &used, &why) == STEP_DONE) {
            c.argc = r.argc;
            c.argv = r.argv;
            run(&c);
            rest = slice_drop(rest, used);
        }
    }
    buf_close(&queued);
    resp_request_close(&r);
    return exec;
}

void tiny_dump(struct tiny *tiny, int db, char key, struct buf *payload, int64_t *expire_ms) {
    struct call c = {.t = tiny, .db = db};
    struct slice name = slice_from(&key, 1);
    const struct tiny_value *v = look(&c, name);
    *expire_ms = v ? v->expire_ms : -1;
    if (v) buf_append(payload, v, sizeof *v);
    flush_effects(tiny);
}

void tiny_expire(struct tiny *tiny) {
    for (int db = 0; db < TINY_DBS; db++)
        for (char k = 'a'; k < 'a' + TINY_KEYS; k++) {
            struct call c = {.t = tiny, .db = db, .link = true};
            (void)look(&c, slice_from(&k, 1));
            flush_effects(tiny);
        }
}

static bool alive(const struct tiny_value *v, int64_t at_ms) { return v->type != TINY_NONE && (v->expire_ms < 0 || v->expire_ms > at_ms); }

bool tiny_equal(const struct tiny_state *a, const struct tiny_state *b, int64_t at_ms, char what[256]) {
    for (int db = 0; db < TINY_DBS; db++)
        for (int k = 0; k < TINY_KEYS; k++) {
            const struct tiny_value *x = &a->at[db][k], *y = &b->at[db][k];
            bool same = alive(x, at_ms) == alive(y, at_ms);
            if (same && alive(x, at_ms)) {
                same = x->type == y->type && x->count == y->count && x->expire_ms == y->expire_ms;
                for (int i = 0; same && i < x->count; i++) same = strcmp(x->item[i], y->item[i]) == 0;
            }
            if (same) continue;
            snprintf(what, 256, "db %d key %c: source type %d count %d first '%s' expires %" PRId64 ", target type %d count %d first '%s' expires %" PRId64,
                     db, 'a' + k, alive(x, at_ms) ? x->type : 0, x->count, x->item[0], x->expire_ms, alive(y, at_ms) ? y->type : 0, y->count,
                     y->item[0], y->expire_ms);
            return false;
        }
    return true;
}

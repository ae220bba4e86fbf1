/* hll_commands.c -- PFADD, PFCOUNT, PFMERGE, PFDEBUG, PFSELFTEST. Behaviour and texts follow
 * Redis 7.0 (hyperloglog.c).
 *
 * PFCOUNT of one key writes the count into the value, so it is a write, and leaves as one.
 */
#include "server/args.h"
#include "server/command.h"
#include "server/engine.h"
#include "server/hll.h"
#include "server/reply.h"
#include "server/types.h"

#include "lib/base/mem.h"

#include <math.h>

static void reply_broken(struct client *c) {
    reply_error(c, "INVALIDOBJ Corrupted HLL object detected");
}

/* Of a string that is no number. */
static struct slice bytes_of(const struct entry *e) {
    char unused[ENTRY_INT_TEXT];
    ASSERT(entry_encoding(e) != ENC_INT);
    return entry_string(e, unused);
}

/* Whether E may be used; false with the error replied. */
static bool is_hll(struct client *c, const struct entry *e) {
    if (entry_type(e) != TYPE_STRING) {
        reply_wrong_type(c);
        return false;
    }
    if (entry_encoding(e) != ENC_INT && hll_is(bytes_of(e))) return true;
    reply_error(c, "WRONGTYPE Key is not a valid HyperLogLog string value.");
    return false;
}

static size_t sparse_max(const struct client *c) {
    return (size_t)c->engine->settings.hll_sparse_max_bytes;
}

/* HLL becomes the value of KEY, whose entry is E (NULL: none yet). */
static void store(struct client *c, struct slice key, struct entry *e, const struct buf *hll) {
    struct slice bytes = buf_slice(hll);
    if (e) {
        uint8_t *to;
        (void)db_string_edit(c->db, e, bytes.size, &to);
        memcpy(to, bytes.data, bytes.size);
    } else {
        struct value value = {.type = TYPE_STRING, .encoding = ENC_RAW, .bytes = bytes};
        key_add(c, key, &value);
    }
}

/* ---- PFADD ---- */

/* Raise the registers of a dense one where it is; how many were raised. */
static uint64_t add_dense(struct client *c, struct entry *e) {
    uint64_t raised = 0;
    uint8_t *to = NULL;
    for (int i = 2; i < c->argc; i++) {
        unsigned index;
        uint8_t value = hll_pattern(c->argv[i], &index);
        const uint8_t *now = to ? to : bytes_of(e).data;
        if (hll_dense_get(now, index) >= value) continue;
        if (to == NULL) e = db_string_edit(c->db, e, HLL_DENSE_BYTES, &to);
        hll_dense_set(to, index, value);
        raised++;
    }
    if (to) hll_uncache(to);
    return raised;
}

/* The same for one that is new (E is NULL) or sparse; false if it is broken. */
static bool add_sparse(struct client *c, struct entry *e, uint64_t *raised) {
    struct buf hll = {0};
    enum hll_change change = HLL_SAME;
    *raised = e == NULL;
    if (e)
        buf_add(&hll, bytes_of(e));
    else
        hll_new(&hll);
    for (int i = 2; change != HLL_BROKEN && i < c->argc; i++) {
        unsigned index;
        uint8_t value = hll_pattern(c->argv[i], &index);
        change = hll_raise(&hll, sparse_max(c), index, value);
        *raised += change == HLL_CHANGED;
    }
    if (change != HLL_BROKEN && *raised > 0) {
        hll_uncache(hll.data + hll.start);
        store(c, c->argv[1], e, &hll);
    }
    buf_close(&hll);
    return change != HLL_BROKEN;
}

static void pfadd(struct client *c) {
    uint64_t raised;
    struct entry *e = key_lookup(c, c->argv[1]);
    if (e && !is_hll(c, e)) return;
    if (e && hll_encoding(bytes_of(e)) == HLL_DENSE) {
        raised = add_dense(c, e);
    } else if (!add_sparse(c, e, &raised)) {
        reply_broken(c);
        return;
    }
    if (raised) key_changed(c, c->argv[1], NOTIFY_STRING, "pfadd", raised);
    reply_int(c, raised > 0);
}

/* ---- PFCOUNT, PFMERGE ---- */

/* Raise REGISTERS to those of the keys from argument 1 on; *DENSE: one of them is. */
static bool merge_keys(struct client *c, uint8_t registers[HLL_REGISTERS], bool *dense) {
    for (int i = 1; i < c->argc; i++) {
        struct entry *e = key_read(c, c->argv[i]);
        if (e == NULL) continue;
        if (!is_hll(c, e)) return false;
        if (hll_encoding(bytes_of(e)) == HLL_DENSE) *dense = true;
        if (hll_merge(registers, bytes_of(e))) continue;
        reply_broken(c);
        return false;
    }
    return true;
}

static void count_union(struct client *c) {
    uint8_t registers[HLL_REGISTERS] = {0};
    bool dense = false;
    if (merge_keys(c, registers, &dense)) reply_int(c, (int64_t)hll_count_registers(registers));
}

static void pfcount(struct client *c) {
    uint64_t count;
    if (c->argc > 2) {
        count_union(c);
        return;
    }
    struct entry *e = key_read(c, c->argv[1]);
    if (e == NULL) {
        reply_int(c, 0);
        return;
    }
    if (!is_hll(c, e)) return;
    if (!hll_cached(bytes_of(e), &count)) {
        uint8_t *to;
        if (!hll_count(bytes_of(e), &count)) {
            reply_broken(c);
            return;
        }
        (void)db_string_edit(c->db, e, entry_string_size(e), &to);
        hll_cache(to, count);
        key_changed(c, c->argv[1], NOTIFY_NONE, NULL, 1);
    }
    reply_int(c, (int64_t)count);
}

static void pfmerge(struct client *c) {
    uint8_t registers[HLL_REGISTERS] = {0};
    bool dense = false;
    struct buf hll = {0};
    if (!merge_keys(c, registers, &dense)) return;
    struct entry *e = key_lookup(c, c->argv[1]);
    if (e)
        buf_add(&hll, bytes_of(e));
    else
        hll_new(&hll);
    bool good = !dense || hll_to_dense(&hll);
    for (unsigned i = 0; good && i < HLL_REGISTERS; i++)
        if (registers[i]) good = hll_raise(&hll, sparse_max(c), i, registers[i]) != HLL_BROKEN;
    if (good) {
        hll_uncache(hll.data + hll.start);
        store(c, c->argv[1], e, &hll);
        key_changed(c, c->argv[1], NOTIFY_STRING, "pfadd", 1);
        reply_ok(c);
    } else {
        reply_broken(c);
    }
    buf_close(&hll);
}

/* ---- PFDEBUG ---- */

/* Make the value of E dense; *CHANGED says whether it was not. NULL: broken, the error replied. */
static struct entry *make_dense(struct client *c, struct entry *e, bool *changed) {
    struct buf hll = {0};
    *changed = hll_encoding(bytes_of(e)) == HLL_SPARSE;
    if (!*changed) return e;
    buf_add(&hll, bytes_of(e));
    if (hll_to_dense(&hll)) {
        store(c, c->argv[2], e, &hll);
        e = db_find(c->db, c->argv[2]);
        c->engine->dirty++;
    } else {
        reply_broken(c);
        e = NULL;
    }
    buf_close(&hll);
    return e;
}

static void debug_getreg(struct client *c, struct entry *e) {
    bool changed;
    e = make_dense(c, e, &changed);
    if (e == NULL) return;
    reply_array(c, HLL_REGISTERS);
    for (unsigned i = 0; i < HLL_REGISTERS; i++) reply_int(c, hll_dense_get(bytes_of(e).data, i));
}

static void debug_decode(struct client *c, struct entry *e) {
    struct slice bytes = bytes_of(e);
    struct buf text = {0};
    struct hll_run run;
    if (hll_encoding(bytes) != HLL_SPARSE) {
        reply_error(c, "ERR HLL encoding is not sparse");
        return;
    }
    for (size_t at = HLL_HEAD_BYTES; at < bytes.size && hll_run_read(bytes, at, &run);
         at += run.bytes) {
        if (at > HLL_HEAD_BYTES) buf_byte(&text, ' ');
        if (run.value)
            buf_printf(&text, "v:%d,%u", run.value, run.length);
        else
            buf_printf(&text, "%c:%u", run.is_long ? 'Z' : 'z', run.length);
    }
    reply_bulk(c, buf_slice(&text));
    buf_close(&text);
}

static void debug_encoding(struct client *c, struct entry *e) {
    reply_simple(c, hll_encoding(bytes_of(e)) == HLL_DENSE ? "dense" : "sparse");
}

static void debug_todense(struct client *c, struct entry *e) {
    bool changed;
    if (make_dense(c, e, &changed)) reply_int(c, changed);
}

static void pfdebug(struct client *c) {
    static const struct {
        const char *name;
        void (*run)(struct client *c, struct entry *e);
    } words[] = {{"getreg", debug_getreg},
                 {"decode", debug_decode},
                 {"encoding", debug_encoding},
                 {"todense", debug_todense}};
    struct entry *e = key_lookup(c, c->argv[2]);
    if (e == NULL) {
        reply_error(c, "ERR The specified key does not exist");
        return;
    }
    if (!is_hll(c, e)) return;
    for (size_t i = 0; i < COUNT(words); i++) {
        if (!arg_is(c->argv[1], words[i].name)) continue;
        words[i].run(c, e);
        return;
    }
    reply_error(c, "ERR Unknown PFDEBUG subcommand '%.*s'", (int)c->argv[1].size,
                (const char *)c->argv[1].data);
}

/* ---- PFSELFTEST: shorter than that of Redis, since nobody is served meanwhile ---- */

#define SELFTEST_ELEMENTS 100000

static const char *test_registers(struct rng *rng) {
    uint8_t *dense = mem_zalloc(HLL_DENSE_BYTES), *plain = mem_zalloc(HLL_REGISTERS);
    const char *error = NULL;
    for (unsigned i = 0; i < 2 * HLL_REGISTERS; i++) {
        unsigned index = (unsigned)rng_below(rng, HLL_REGISTERS);
        plain[index] = (uint8_t)rng_below(rng, HLL_REGISTER_MAX + 1);
        hll_dense_set(dense, index, plain[index]);
    }
    for (unsigned i = 0; i < HLL_REGISTERS; i++)
        if (hll_dense_get(dense, i) != plain[i]) error = "a register is not what was written";
    mem_free(dense);
    mem_free(plain);
    return error;
}

static const char *test_counts(struct rng *rng, size_t limit) {
    struct buf dense = {0}, sparse = {0};
    const char *error = NULL;
    uint64_t next = 1, counts[2], salt = rng_next(rng);
    hll_new(&dense);
    hll_new(&sparse);
    if (!hll_to_dense(&dense)) error = "an empty one is broken";
    for (uint64_t i = 1; error == NULL && i <= SELFTEST_ELEMENTS; i++) {
        uint64_t element = i ^ salt;
        unsigned index;
        uint8_t value = hll_pattern(slice_from(&element, sizeof element), &index);
        (void)hll_raise(&dense, limit, index, value);
        (void)hll_raise(&sparse, limit, index, value);
        if (i != next) continue;
        next *= 10;
        double most = i == 10 ? 1 : ceil(1.04 / sqrt(HLL_REGISTERS) * 6 * (double)i);
        if (!hll_count(buf_slice(&dense), &counts[0]) || !hll_count(buf_slice(&sparse), &counts[1]))
            error = "one is broken";
        else if (counts[0] != counts[1])
            error = "dense and sparse disagree";
        else if (fabs((double)counts[0] - (double)i) > most)
            error = "the error is too big";
    }
    buf_close(&dense);
    buf_close(&sparse);
    return error;
}

static void pfselftest(struct client *c) {
    const char *error = test_registers(&c->engine->rng);
    if (error == NULL) error = test_counts(&c->engine->rng, sparse_max(c));
    if (error)
        reply_error(c, "TESTFAILED %s", error);
    else
        reply_ok(c);
}

void hll_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"pfadd", pfadd},
                                                      {"pfcount", pfcount},
                                                      {"pfmerge", pfmerge},
                                                      {"pfdebug", pfdebug},
                                                      {"pfselftest", pfselftest}};
    command_bind(engine, bindings, COUNT(bindings));
}

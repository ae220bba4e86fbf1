/* sim_snapshot.c -- random commands on all types with up to four snapshots running, each compared
 * with a deep copy that was taken when it began.
 *
 * The copy is an RDB written at once; the snapshot's own bytes come in batches, to a consumer that
 * is sometimes slow, while commands change what is being captured. Both are read back, and each
 * key's digest must be equal, each key there exactly once. Walks get their turns from here, a few
 * steps at a time. Run: sim_snapshot [RUNS]; the seed is printed, $SEED repeats it.
 */
#include "lib/base/mem.h"
#include "lib/redis/digest.h"
#include "lib/redis/rdb_read.h"
#include "server/command.h"
#include "server/evict.h"
#include "server/expire_cycle.h"
#include "server/helper.h"
#include "server/persistence.h"
#include "server/snapshot_inside.h"
#include "server/snapshot_memory.h"
#include "server/start.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DATABASES 3
#define STEPS 4000
#define ARGS_MAX 1000

static struct engine *engine;
static struct client *client;
static struct rng rng;

static uint64_t below(uint64_t n) {
    return rng_below(&rng, n);
}

/* ---- what was there, and what came out ---- */

struct line {
    uint32_t db;
    struct slice key; /* owned */
    struct digest digest;
};

struct lines {
    struct line *all;
    size_t count, room;
};

static enum err take_line(void *self, const struct digest_key *key, struct why *why) {
    struct lines *lines = self;
    (void)why;
    if (lines->count == lines->room) {
        lines->room = lines->room ? lines->room * 2 : 256;
        lines->all = mem_realloc(lines->all, lines->room * sizeof *lines->all);
    }
    struct slice name = key->key->key;
    lines->all[lines->count++] = (struct line){
        key->key->db, slice_from(mem_dup(name.data, name.size), name.size), key->digest};
    return OK;
}

static int by_name(const void *a, const void *b) {
    const struct line *x = a, *y = b;
    if (x->db != y->db) return x->db < y->db ? -1 : 1;
    return slice_compare(x->key, y->key);
}

struct memory_source {
    struct rdb_source source;
    struct slice rest;
};

static enum err read_memory(struct rdb_source *source, void *bytes, size_t size, size_t *got,
                            struct why *why) {
    struct memory_source *memory = (struct memory_source *)(void *)source;
    (void)why;
    *got = size < memory->rest.size ? size : memory->rest.size;
    if (*got) memcpy(bytes, memory->rest.data, *got);
    memory->rest = slice_drop(memory->rest, *got);
    return OK;
}

static struct lines lines_of(const struct buf *rdb, bool is_old) {
    struct lines lines = {0};
    struct why why = {""};
    struct digester *digester = digester_new(take_line, &lines, NULL);
    if (is_old) digester_streams(digester, DIGEST_STREAM_OLD);
    struct memory_source memory = {.source.read = read_memory, .rest = buf_slice(rdb)};
    struct rdb_limits limits = RDB_LIMITS_DEFAULT;
    struct rdb_reader *reader = rdb_reader_open(&memory.source, limits, digester_handler(digester));
    enum err err = rdb_reader_run(reader, &why);
    if (err) {
        printf("the RDB cannot be read: %s\n", why.text);
        exit(1);
    }
    rdb_reader_close(reader);
    digester_free(digester);
    if (lines.count) qsort(lines.all, lines.count, sizeof *lines.all, by_name);
    return lines;
}

static void lines_free(struct lines *lines) {
    for (size_t i = 0; i < lines->count; i++) mem_free((void *)(uintptr_t)lines->all[i].key.data);
    mem_free(lines->all);
}

/* Of the copy, what the snapshot was asked for. */
static void keep_wanted(struct lines *lines, const struct slot_set *slots, int db) {
    size_t kept = 0;
    for (size_t i = 0; i < lines->count; i++) {
        struct line *line = &lines->all[i];
        bool is_wanted = (db < 0 || line->db == (uint32_t)db) &&
                         (slots == NULL || slot_set_has(slots, slot_cluster(line->key)));
        if (is_wanted)
            lines->all[kept++] = *line;
        else
            mem_free((void *)(uintptr_t)line->key.data);
    }
    lines->count = kept;
}

static void compare(const struct buf *wanted_rdb, const struct buf *got_rdb,
                    const struct slot_set *slots, int db, bool is_old) {
    struct lines wanted = lines_of(wanted_rdb, is_old), got = lines_of(got_rdb, is_old);
    keep_wanted(&wanted, slots, db);
    bool same = wanted.count == got.count;
    for (size_t i = 0; i < wanted.count && i < got.count; i++) {
        const struct line *w = &wanted.all[i], *g = &got.all[i];
        if (by_name(w, g) == 0 && digest_equal(w->digest, g->digest)) continue;
        printf("differs: %u %.*s in the copy, %u %.*s in the snapshot\n", w->db, (int)w->key.size,
               (const char *)w->key.data, g->db, (int)g->key.size, (const char *)g->key.data);
        same = false;
        break;
    }
    if (!same) {
        printf("%zu keys in the copy, %zu in the snapshot\n", wanted.count, got.count);
        exit(1);
    }
    lines_free(&wanted);
    lines_free(&got);
}

/* ---- snapshots ---- */

struct taken {
    struct snapshot *snapshot; /* NULL: free */
    struct buf copy, bytes;
    bool owes_next, over, some_slots;
    struct slot_set slots;
    int db;      /* -1: all */
    bool is_old; /* written for Redis 5 */
};

static struct taken taken[SNAPSHOTS_MAX];
static uint64_t compared, aborted, restored;

struct memory_sink {
    struct rdb_sink sink;
    struct buf *out;
};

static enum err write_memory(struct rdb_sink *sink, struct slice bytes, struct why *why) {
    (void)why;
    buf_add(((struct memory_sink *)(void *)sink)->out, bytes);
    return OK;
}

static void on_batch(void *owner, struct slice bytes) {
    struct taken *t = owner;
    buf_add(&t->bytes, bytes);
    if (below(3))
        snapshot_next(t->snapshot);
    else
        t->owes_next = true;
}

static void on_end(void *owner, enum err err, const char *why) {
    struct taken *t = owner;
    if (err) {
        printf("snapshot failed: %s\n", why);
        exit(1);
    }
    compare(&t->copy, &t->bytes, t->some_slots ? &t->slots : NULL, t->db, t->is_old);
    compared++;
    t->over = true;
    t->snapshot = NULL;
}

static void begin_one(void) {
    struct taken *t = &taken[below(SNAPSHOTS_MAX)];
    struct why why;
    if (t->snapshot) return;
    buf_clear(&t->copy);
    buf_clear(&t->bytes);
    t->owes_next = t->over = false;
    struct memory_sink sink = {.sink.write = write_memory, .out = &t->copy};
    struct rdb_save_options options = {.scope = SNAPSHOT_ALL, .version = RDB_VERSION_WRITTEN};
    t->some_slots = below(3) == 0;
    t->is_old = below(3) == 0;
    t->db = below(5) ? -1 : (int)below(DATABASES);
    memset(&t->slots, 0, sizeof t->slots);
    for (int i = 0; i < 40; i++) { /* a slot, or a run of them */
        uint64_t first = below(SLOT_CLUSTER_COUNT);
        for (uint64_t slot = first; slot < first + below(2) * 300 + 1 && slot < SLOT_CLUSTER_COUNT;)
            slot_set_add(&t->slots, (unsigned)slot++);
    }
    struct snapshot_want want = {.scope = SNAPSHOT_ALL,
                                 .slots = t->some_slots ? &t->slots : NULL,
                                 .one_db = t->db >= 0,
                                 .version = t->is_old ? 9 : 0,
                                 .db = t->db,
                                 .owner = t,
                                 .batch = on_batch,
                                 .ended = on_end};
    if (snapshot_start(engine, &want, &t->snapshot, &why)) { /* one that was aborted has its slot */
        t->snapshot = NULL;
        return;
    }
    if (rdb_save_to(engine, &sink.sink, &options, &why)) exit(1);
    (void)uv_idle_stop(&engine->snapshots->idle); /* turns come from walk_some() */
}

static void walk_some(void) {
    if (engine->snapshots == NULL) return;
    struct snapshot *s = engine->snapshots->slots[below(SNAPSHOTS_MAX)];
    if (s && snapshot_walk(s, below(2) ? 0 : below(20))) snapshot_walked(s);
}

static void serve_consumers(void) {
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++) {
        struct taken *t = &taken[i];
        if (!t->snapshot || !t->owes_next || below(4)) continue;
        t->owes_next = false;
        snapshot_next(t->snapshot);
    }
    (void)uv_run(engine->loop, UV_RUN_NOWAIT);
}

static void abort_one(void) {
    struct taken *t = &taken[below(SNAPSHOTS_MAX)];
    if (!t->snapshot) return;
    snapshot_abort(t->snapshot);
    t->snapshot = NULL;
    aborted++;
}

static bool some_run(void) {
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++)
        if (taken[i].snapshot || (engine->snapshots && engine->snapshots->slots[i])) return true;
    return false;
}

/* ---- commands ---- */

static struct slice args[ARGS_MAX];
static int arg_count;
static struct buf words;
static size_t starts[ARGS_MAX];

PRINTF(1, 2) static void add(const char *fmt, ...) {
    va_list list;
    starts[arg_count++] = buf_size(&words);
    va_start(list, fmt);
    buf_vprintf(&words, fmt, list);
    va_end(list);
}

/* The reply stays in client->out. */
static void execute(void) {
    for (int i = 0; i < arg_count; i++) {
        size_t end = i + 1 < arg_count ? starts[i + 1] : buf_size(&words);
        args[i] = slice_from(words.data + starts[i], end - starts[i]);
    }
    client_execute(client, arg_count, args);
    arg_count = 0;
    buf_clear(&words);
}

static void run(void) {
    execute();
    buf_clear(&client->out);
}

static void add_key(char kind) {
    add("%c%" PRIu64, kind, below(below(2) ? 3 : 40));
}

static void add_text(const char *prefix) {
    uint64_t size = below(20) ? below(60) : below(3000);
    add("%s%0*" PRIu64, prefix, (int)size, below(1000));
}

static size_t how_many(void) {
    return 1 + (size_t)(below(6) ? below(3) : below(below(4) ? 60 : 450));
}

static void on_bits(void) {
    uint64_t bit = below(below(4) ? 2000 : 2000000);
    if (below(2)) {
        add("setbit"), add_key('s'), add("%" PRIu64, bit), add("%" PRIu64, below(2));
    } else {
        add("bitfield"), add_key('s'), add("incrby"), add("u7"), add("%" PRIu64, bit), add("9");
        add("set"), add("i40"), add("%" PRIu64, bit / 3), add("%" PRIu64, below(1u << 30));
    }
    run();
}

static void on_string(void) {
    if (below(4) == 0) {
        on_bits();
        return;
    }
    static const char *const names[] = {"append", "setrange", "getdel", "set",
                                        "set",    "incrby",   "setex"};
    const char *name = names[below(7)];
    add("%s", name);
    add_key('s');
    if (strcmp(name, "setrange") == 0) add("%" PRIu64, below(below(4) ? 300 : 300000));
    if (strcmp(name, "setex") == 0) add("1000");
    if (strcmp(name, "incrby") == 0)
        add("%" PRIu64, below(99));
    else if (strcmp(name, "getdel") != 0)
        add_text("");
    run();
}

static void on_hash(void) {
    size_t count = how_many();
    bool removes = below(3) == 0;
    add("%s", removes ? "hdel" : "hset");
    add_key('h');
    while (count-- > 0) {
        add("field%" PRIu64, below(1000));
        if (!removes) add_text("v");
    }
    run();
}

static void on_set(void) {
    static const char *const names[] = {"sadd", "sadd",  "sadd",       "srem",
                                        "spop", "smove", "sunionstore"};
    uint64_t which = below(7);
    add("%s", names[which]);
    add_key('t');
    if (which >= 5) add_key('t');
    if (which == 6) add_key('t');
    if (which == 4) add("%" PRIu64, below(20));
    if (which == 5) add("m%" PRIu64, below(1000));
    for (size_t count = which < 4 ? how_many() : 0; count > 0; count--)
        add("m%" PRIu64, below(1000));
    run();
}

static void on_zset(void) {
    static const char *const names[] = {
        "zadd", "zadd", "zadd", "zrem", "zincrby", "zremrangebyrank", "zpopmin", "zpopmax"};
    uint64_t which = below(8);
    add("%s", names[which]);
    add_key('z');
    for (size_t count = which < 4 ? how_many() : 0; count > 0; count--) {
        if (which < 3) add("%" PRIu64 ".5", below(50));
        add("m%" PRIu64, below(1000));
    }
    if (which == 4) add("2"), add("m%" PRIu64, below(1000));
    if (which == 5) add("%" PRIu64, below(50)), add("%d", below(8) ? 60 : -3);
    if (which > 5) add("%" PRIu64, below(10));
    run();
}

static void on_list(void) {
    static const char *const names[] = {"rpush", "lpush", "rpush", "lpop",    "rpop",
                                        "lset",  "ltrim", "lrem",  "linsert", "lmove"};
    uint64_t which = below(10);
    add("%s", names[which]);
    add_key('l');
    for (size_t count = which < 3 ? how_many() : 0; count > 0; count--) {
        if (below(9))
            add_text("e");
        else
            add("pivot");
    }
    if (which == 3 || which == 4) add("%" PRIu64, below(30));
    if (which == 5) add("%" PRIu64, below(100)), add_text("e");
    if (which == 6) add("%" PRIu64, below(5)), add("-%" PRIu64, 1 + below(5));
    if (which == 7) add("%d", (int)below(5) - 2), add("pivot");
    if (which == 8) add(below(2) ? "before" : "after"), add("pivot"), add_text("e");
    if (which == 9) add_key('l'), add("left"), add("right");
    run();
}

static void on_stream(void) {
    switch (below(8)) {
    case 0: add("xdel"), add_key('x'), add("5-%" PRIu64, below(300)); break;
    case 1: add("xtrim"), add_key('x'), add("maxlen"), add("%" PRIu64, below(200)); break;
    case 2: add("xgroup"), add("create"), add_key('x'), add("g%" PRIu64, below(3)), add("0"); break;
    case 3:
        add("xreadgroup"), add("group"), add("g%" PRIu64, below(3)), add("c%" PRIu64, below(3));
        add("count"), add("%" PRIu64, below(9)), add("streams"), add_key('x'), add(">");
        break;
    case 4: add("xtrim"), add_key('x'), add("minid"), add("5-%" PRIu64, below(60)); break;
    case 5:
        if (below(3)) return;
        add("xtrim"), add("x1"), add("maxlen"), add("0"), run(); /* then ids may come again */
        add("xsetid"), add("x1"), add("5-%" PRIu64, below(99));
        break;
    default:
        for (size_t count = below(4) ? 1 : 30; count > 0; count--) {
            if (count > 1) add("xadd"), add("x1"), add("5-*"), add("field"), add_text("v"), run();
        }
        add("xadd"), add_key('x'), add("5-*"), add("field"), add_text("v");
    }
    run();
}

static void on_any(void) {
    static const char *const names[] = {"del",  "unlink",    "rename",  "copy",
                                        "move", "pexpireat", "persist", "pexpireat"};
    static const char kinds[] = "shtzlx";
    char kind = kinds[below(6)];
    uint64_t which = below(8);
    add("%s", names[which]);
    add_key(kind);
    if (which == 2 || which == 3) add_key(kind);
    if (which == 3 && below(2)) add("replace");
    if (which == 4) add("%" PRIu64, below(DATABASES));
    if (which == 5 || which == 7)
        add("%" PRId64, engine->now_ms + (below(4) ? 100000 : -1 + (int64_t)below(3)));
    run();
}

/* Its own value, or another key's, under any key: as RESTORE puts it, or a script. */
static void on_restore(void) {
    static const char kinds[] = "shtzlx";
    char kind = kinds[below(6)];
    struct buf payload = {0};
    add("dump"), add_key(kind);
    execute();
    struct slice reply = buf_slice(&client->out);
    const uint8_t *line = reply.size ? memchr(reply.data, '\n', reply.size) : NULL;
    bool there = line && reply.data[0] == '$' && reply.data[1] != '-';
    if (there) {
        size_t from = (size_t)(line - reply.data) + 1;
        buf_append(&payload, line + 1, reply.size - from - 2);
    }
    buf_clear(&client->out);
    if (there) {
        add("restore"), add_key(kind);
        add("%" PRId64, below(4) ? 0 : engine->now_ms + 100000);
        starts[arg_count++] = buf_size(&words);
        buf_add(&words, buf_slice(&payload));
        add("replace"), add("absttl");
        run();
        restored++;
    }
    buf_close(&payload);
}

static void on_script(void) {
    add("eval");
    add("redis.call('rename', KEYS[1], KEYS[2]) redis.call('append', KEYS[3], ARGV[1]) "
        "redis.call('hset', KEYS[4], ARGV[1], 'x') redis.call('hdel', KEYS[4], 'y')");
    add("4");
    add_key('l'), add_key('l'), add_key('s'), add_key('h');
    add_text("a");
    run();
}

/* What a bit less memory than there is in use would throw away. */
static void on_eviction(void) {
    engine->settings.maxmemory = (int64_t)memory_used(engine) - (int64_t)snapshot_memory() - (int64_t)below(40000);
    if (engine->settings.maxmemory <= 0) engine->settings.maxmemory = 1;
    engine->settings.maxmemory_policy = EVICT_ALLKEYS_RANDOM;
    (void)evict_until_under(engine);
    engine->settings.maxmemory = 0;
}

static void on_databases(void) {
    switch (below(100)) {
    case 0:
        if (below(10)) return;
        add("flushall");
        break;
    case 1:
        if (below(2)) return;
        add("flushdb");
        add("%s", below(2) ? "async" : "sync");
        break;
    case 2:
    case 3:
    case 4:
        add("swapdb");
        add("%" PRIu64, below(DATABASES));
        add("%" PRIu64, below(DATABASES));
        break;
    case 5: expire_cycle_run(engine); return;
    case 6: on_eviction(); return;
    default: add("select"); add("%" PRIu64, below(DATABASES));
    }
    run();
}

static void one_command(void) {
    engine_read_clock(engine);
    bool block = below(20) == 0;
    if (block) add("multi"), run();
    for (size_t count = block ? 1 + below(5) : 1; count > 0; count--) switch (below(17)) {
        case 0:
        case 1: on_string(); break;
        case 2:
        case 3: on_hash(); break;
        case 4:
        case 5: on_set(); break;
        case 6:
        case 7: on_zset(); break;
        case 8:
        case 9:
        case 10: on_list(); break;
        case 11: on_any(); break;
        case 12:
        case 13: on_stream(); break;
        case 14: on_restore(); break;
        case 15: on_script(); break;
        default: on_databases();
        }
    if (block) add("exec"), run();
}

static void one_run(void) {
    for (int i = 0; i < STEPS; i++) {
        one_command();
        if (below(60) == 0) begin_one();
        if (below(2000) == 0) abort_one();
        if (below(4) == 0) walk_some();
        if (below(40) == 0) serve_consumers();
    }
    while (some_run()) {
        if (below(3) == 0) one_command();
        walk_some();
        serve_consumers();
    }
}

/* No snapshot is left: writers end at their time, but what was held for them is not forgotten. */
static void check_nothing_is_held(void) {
    for (int i = 0; i < 10000 && snapshot_memory() > 0; i++) {
        (void)uv_run(engine->loop, UV_RUN_NOWAIT);
        (void)usleep(1000);
    }
    helper_drain();
    ASSERT(snapshot_memory() == 0);
}

static void set_option(const char *name, const char *value) {
    add("config"), add("set"), add("%s", name), add("%s", value);
    run();
}

int main(int argc, char **argv) {
    uint64_t seed = rand_test_seed();
    int runs = argc > 1 ? atoi(argv[1]) : 12;
    printf("seed %" PRIu64 "\n", seed);
    char folder[] = "/tmp/drawbridge-test-XXXXXX";
    if (mkdtemp(folder) == NULL || chdir(folder)) return 1;
    rng = rng_from(seed);
    engine = engine_new();
    config_init(engine);
    char *options[] = {(char *)(uintptr_t) "server", (char *)(uintptr_t) "--databases",
                       (char *)(uintptr_t) "3", (char *)(uintptr_t) "--save",
                       (char *)(uintptr_t) ""};
    struct why why;
    if (config_read_all(engine, 5, options, &why)) {
        printf("%s\n", why.text);
        return 1;
    }
    engine_make_dbs(engine);
    command_groups_bind(engine);
    client = client_new_fake(engine, 0);
    set_option("hash-max-listpack-entries", "16");
    set_option("zset-max-listpack-entries", "16");
    set_option("list-max-listpack-size", "5");
    set_option("stream-node-max-entries", "6");
    for (int i = 0; i < runs; i++) one_run();
    client_free_fake(client);
    check_nothing_is_held();
    printf("%" PRIu64 " snapshots equal, %" PRIu64 " aborted; %" PRIu64 " values restored, %lld evicted\n",
           compared, aborted, restored, (long long)engine->stats.evicted);
    (void)rmdir(folder);
    return compared == 0;
}

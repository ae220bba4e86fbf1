/* older.c -- which words an older Redis knows, and what it is told instead. See older.h.
 *
 * A rule per command, in one table; since when a command exists is in the command table. Facts about
 * versions were seen on 2.8.24, 3.2.13, 4.0.14, 5.0.14 and 6.2.14 (tests/e2e/test_other_versions.py).
 */
#include "server/older.h"

#include "lib/base/mem.h"
#include "lib/redis/command.h"
#include "lib/redis/dump.h"
#include "server/args.h"
#include "server/engine.h"
#include "server/list.h"
#include "server/value_rdb.h"
#include "server/xstream_args.h"
#include "server/zset.h"

#define KEYS_MAX 64

struct op {
    struct engine *engine;
    struct db *db;
    enum older_version version;
    int argc;
    const struct slice *argv;
    older_say_fn *say;
    void *ctx;
};

static void say(const struct op *op, int argc, const struct slice *argv) {
    op->say(op->ctx, op->db->id, argc, argv);
}
#define SAY(op, ...)                                                                               \
    say((op), (int)(sizeof((struct slice[]){__VA_ARGS__}) / sizeof(struct slice)),                 \
        (struct slice[]){__VA_ARGS__})

unsigned older_rdb_version(enum older_version version) {
    static const unsigned rdb[] = {[OLDER_2_8] = 6, [OLDER_3_2] = 7, [OLDER_4_0] = 8, [OLDER_5_0] = 9,
                                   [OLDER_6_0] = 9, [OLDER_6_2] = 9, [OLDER_7_0] = 10};
    return rdb[version];
}

const char *older_name(enum older_version version) {
    static const char *const names[] = {"2.8", "3.2", "4.0", "5.0", "6.0", "6.2", "7.0"};
    return names[version];
}

/* "6.2.0" is known by 6.2. */
static bool knows(enum older_version version, const char *since) {
    static const char *const after[] = {"2.8.z", "3.2.z", "4.0.z", "5.0.z", "6.0.z", "6.2.z", "7.0.z"};
    return strcmp(since, after[version]) <= 0;
}

static bool has_word(const struct op *op, int from, const char *word) {
    for (int i = from; i < op->argc; i++)
        if (arg_is(op->argv[i], word)) return true;
    return false;
}

/* ---- keys as they are ---- */

static void say_expiry(const struct op *op, struct slice key, const struct entry *e) {
    char when[NUMBER_TEXT];
    if (!entry_expires(e)) return;
    SAY(op, SLICE("PEXPIREAT"), key, slice_from(when, number_write_int(when, entry_expiry(e))));
}

static enum older say_key(const struct op *op, struct slice key) {
    const struct entry *e = db_find(op->db, key);
    SAY(op, SLICE("DEL"), key);
    if (e == NULL) return OLDER_SAID;
    struct value value = entry_value(e);
    uint8_t type = value_rdb_type_for(&value, older_rdb_version(op->version));
    if (type == RDB_NO_TYPE) return OLDER_UNSAID;
    struct buf body = {0}, payload = {0};
    value_put_as(&body, &value, type, op->engine->settings.rdbcompression ? RDB_PACK : RDB_PLAIN);
    dump_put(&payload, type, buf_slice(&body));
    SAY(op, SLICE("RESTORE"), key, SLICE("0"), buf_slice(&payload));
    buf_close(&body);
    buf_close(&payload);
    say_expiry(op, key, e);
    return OLDER_SAID;
}

/* Whatever the command is: the keys that it may have written. */
static enum older say_keys(const struct op *op) {
    struct command_key keys[KEYS_MAX];
    struct why why;
    size_t count = 0;
    const struct command *command = command_lookup((size_t)op->argc, op->argv);
    if (!command || command_keys(command, (size_t)op->argc, op->argv, keys, KEYS_MAX, &count, &why))
        return OLDER_UNSAID;
    for (size_t i = 0; i < count; i++)
        if (command_key_written(keys[i].flags) && say_key(op, op->argv[keys[i].at]) == OLDER_UNSAID)
            return OLDER_UNSAID;
    return OLDER_SAID;
}

static enum older say_nothing(const struct op *op) {
    (void)op;
    return OLDER_SAID;
}

static enum older cannot(const struct op *op) {
    (void)op;
    return OLDER_UNSAID;
}

/* ---- strings and keys ---- */

static enum older say_set(const struct op *op) {
    bool fine = op->version >= OLDER_6_2 || !(has_word(op, 3, "pxat") || has_word(op, 3, "exat") || has_word(op, 3, "get"));
    if (fine && (op->version >= OLDER_6_0 || !has_word(op, 3, "keepttl"))) return OLDER_SAME;
    const struct entry *e = db_find(op->db, op->argv[1]);
    if (e == NULL) {
        SAY(op, SLICE("DEL"), op->argv[1]);
        return OLDER_SAID;
    }
    SAY(op, SLICE("SET"), op->argv[1], op->argv[2]);
    say_expiry(op, op->argv[1], e);
    return OLDER_SAID;
}

static enum older say_restore(const struct op *op) {
    return say_key(op, op->argv[1]);
}

/* The copy is in the database that the words name. */
static enum older say_copy(const struct op *op) {
    struct op there = *op;
    int64_t number;
    for (int i = 3; i + 1 < op->argc; i++)
        if (arg_is(op->argv[i], "db") && slice_to_int(op->argv[i + 1], &number) && number >= 0 &&
            number < op->engine->db_count)
            there.db = &op->engine->dbs[number];
    return say_key(&there, op->argv[2]);
}

static enum older say_unlink(const struct op *op) {
    struct slice *argv = mem_dup(op->argv, (size_t)op->argc * sizeof *argv);
    argv[0] = SLICE("DEL");
    say(op, op->argc, argv);
    mem_free(argv);
    return OLDER_SAID;
}

/* FLUSHALL and FLUSHDB: how it is freed is the replica's own affair. */
static enum older say_flush(const struct op *op) {
    if (op->argc == 1) return OLDER_SAME;
    say(op, 1, op->argv);
    return OLDER_SAID;
}

static enum older say_hset(const struct op *op) {
    if (op->argc == 4) return OLDER_SAME;
    struct slice *argv = mem_dup(op->argv, (size_t)op->argc * sizeof *argv);
    argv[0] = SLICE("HMSET");
    say(op, op->argc, argv);
    mem_free(argv);
    return OLDER_SAID;
}

/* ---- lists ---- */

/* A count came with 6.2. */
static enum older say_pop(const struct op *op) {
    char text[NUMBER_TEXT];
    int64_t count;
    if (op->argc < 3) return OLDER_SAME;
    if (!slice_to_int(op->argv[2], &count) || count < 0) return OLDER_UNSAID;
    bool head = arg_is(op->argv[0], "lpop");
    struct slice place = slice_from(text, number_write_int(text, head ? count : -count - 1));
    SAY(op, SLICE("LTRIM"), op->argv[1], head ? place : SLICE("0"), head ? SLICE("-1") : place);
    return OLDER_SAID;
}

static enum older say_lmove(const struct op *op) {
    bool from_head = arg_is(op->argv[3], "left"), to_head = arg_is(op->argv[4], "left");
    if (!from_head && to_head) {
        SAY(op, SLICE("RPOPLPUSH"), op->argv[1], op->argv[2]);
        return OLDER_SAID;
    }
    const struct entry *e = db_find(op->db, op->argv[2]);
    if (e == NULL || entry_type(e) != TYPE_LIST) return OLDER_UNSAID;
    struct list *list = entry_ptr(e);
    struct list_iter iter = list_iter_at(list, to_head ? 0 : list_count(list) - 1, false);
    struct slice element;
    if (!list_next(&iter, &element)) return OLDER_UNSAID;
    SAY(op, from_head ? SLICE("LPOP") : SLICE("RPOP"), op->argv[1]);
    SAY(op, to_head ? SLICE("LPUSH") : SLICE("RPUSH"), op->argv[2], element);
    return OLDER_SAID;
}

/* More than one element came with 4.0; the list was there, or nothing would have changed. */
static enum older say_pushx(const struct op *op) {
    if (op->argc == 3) return OLDER_SAME;
    struct slice *argv = mem_dup(op->argv, (size_t)op->argc * sizeof *argv);
    argv[0] = arg_is(op->argv[0], "lpushx") ? SLICE("LPUSH") : SLICE("RPUSH");
    say(op, op->argc, argv);
    mem_free(argv);
    return OLDER_SAID;
}

/* ---- sorted sets ---- */

/* Members from FIRST on, every third or second argument, with the scores that they have now. */
static enum older say_scores(const struct op *op, int first, int step) {
    const struct entry *e = db_find(op->db, op->argv[1]);
    if (e == NULL || entry_type(e) != TYPE_ZSET) return say_key(op, op->argv[1]);
    struct value zset = entry_value(e);
    struct slice *argv = NEW_ARRAY(struct slice, (size_t)op->argc + 2);
    char(*texts)[NUMBER_TEXT] = mem_alloc((size_t)op->argc * sizeof *texts);
    int argc = 2;
    argv[0] = SLICE("ZADD");
    argv[1] = op->argv[1];
    for (int i = first; i < op->argc; i += step) {
        double score;
        if (!zset_score(&zset, op->argv[i], &score)) continue;
        argv[argc++] = slice_from(texts[i], number_write_double(texts[i], score));
        argv[argc++] = op->argv[i];
    }
    if (argc > 2) say(op, argc, argv);
    mem_free(argv);
    mem_free(texts);
    return OLDER_SAID;
}

/* GT and LT came with 6.2, the other options with 3.0.2. */
static enum older say_zadd(const struct op *op) {
    int i = 2;
    bool newer = false, any = false;
    for (; i < op->argc; i++) {
        bool compares = arg_is(op->argv[i], "gt") || arg_is(op->argv[i], "lt");
        if (!compares && !arg_is(op->argv[i], "nx") && !arg_is(op->argv[i], "xx") &&
            !arg_is(op->argv[i], "ch") && !arg_is(op->argv[i], "incr"))
            break;
        newer |= compares;
        any = true;
    }
    if (!newer && (!any || op->version >= OLDER_3_2)) return OLDER_SAME;
    return say_scores(op, i + 1, 2);
}

static enum older say_geoadd(const struct op *op) {
    int i = 2;
    while (i < op->argc && (arg_is(op->argv[i], "nx") || arg_is(op->argv[i], "xx") || arg_is(op->argv[i], "ch"))) i++;
    return i == 2 && op->version >= OLDER_3_2 ? OLDER_SAME : say_scores(op, i + 2, 3);
}

/* ANY came with 6.2. */
static enum older say_georadius(const struct op *op) {
    return op->version >= OLDER_3_2 && !has_word(op, 4, "any") ? OLDER_SAME : say_keys(op);
}

static enum older say_zpop(const struct op *op) {
    char text[NUMBER_TEXT];
    int64_t count = 1;
    if (op->argc > 2 && (!slice_to_int(op->argv[2], &count) || count < 0)) return OLDER_UNSAID;
    if (count == 0) return OLDER_SAID;
    bool min = arg_is(op->argv[0], "zpopmin");
    struct slice place = slice_from(text, number_write_int(text, min ? count - 1 : -count));
    SAY(op, SLICE("ZREMRANGEBYRANK"), op->argv[1], min ? SLICE("0") : place, min ? place : SLICE("-1"));
    return OLDER_SAID;
}

/* ---- streams ---- */

/* As many are left as there are; what was trimmed stood first. */
static enum older say_length(const struct op *op) {
    char text[NUMBER_TEXT];
    const struct entry *e = db_find(op->db, op->argv[1]);
    if (e == NULL || entry_type(e) != TYPE_STREAM) return say_key(op, op->argv[1]);
    const struct xstream *stream = entry_ptr(e);
    SAY(op, SLICE("XTRIM"), op->argv[1], SLICE("MAXLEN"),
        slice_from(text, number_write_int(text, (int64_t)stream->length)));
    return OLDER_SAID;
}

/* MINID, LIMIT and NOMKSTREAM came with 6.2. */
static enum older say_xtrim(const struct op *op) {
    bool newer = arg_is(op->argv[2], "minid") || has_word(op, 4, "limit");
    return newer ? say_length(op) : OLDER_SAME;
}

static enum older say_xadd(const struct op *op) {
    bool newer = false, trims = false;
    int i = 2;
    for (; i < op->argc; i++) {
        if (arg_is(op->argv[i], "nomkstream")) {
            newer = true;
        } else if (arg_is(op->argv[i], "maxlen") || arg_is(op->argv[i], "minid")) {
            trims = true;
            newer |= arg_is(op->argv[i], "minid");
            if (i + 1 < op->argc && (arg_is(op->argv[i + 1], "=") || arg_is(op->argv[i + 1], "~"))) i++;
            i++;
        } else if (arg_is(op->argv[i], "limit")) {
            newer = true;
            i++;
        } else {
            break;
        }
    }
    if (!newer || i >= op->argc) return OLDER_SAME;
    struct slice *argv = NEW_ARRAY(struct slice, (size_t)(op->argc - i) + 2);
    argv[0] = op->argv[0];
    argv[1] = op->argv[1];
    memcpy(argv + 2, op->argv + i, (size_t)(op->argc - i) * sizeof *argv);
    say(op, op->argc - i + 2, argv);
    mem_free(argv);
    return trims ? say_length(op) : OLDER_SAID;
}

/* What was added and deleted is told since 7.0. */
static enum older say_xsetid(const struct op *op) {
    if (op->argc == 3) return OLDER_SAME;
    say(op, 3, op->argv);
    return OLDER_SAID;
}

/* ENTRIESREAD came with 7.0, CREATECONSUMER with 6.2: before, a consumer comes with what it owns. */
static enum older say_xgroup(const struct op *op) {
    if (arg_is(op->argv[1], "createconsumer"))
        return op->version >= OLDER_6_2 ? OLDER_SAME : OLDER_SAID;
    if (!has_word(op, 5, "entriesread")) return OLDER_SAME;
    bool makes = has_word(op, 5, "mkstream");
    struct slice words[6] = {op->argv[0], op->argv[1], op->argv[2], op->argv[3], op->argv[4], SLICE("MKSTREAM")};
    say(op, makes ? 6 : 5, words);
    return OLDER_SAID;
}

/* What is gone from the stream is dropped from its group; before 7.0 XCLAIM keeps it. */
static enum older say_xclaim(const struct op *op) {
    struct stream_id id;
    struct xstream_entry entry;
    const struct entry *e = db_find(op->db, op->argv[1]);
    if (op->argc < 6 || e == NULL || entry_type(e) != TYPE_STREAM || !xstream_id_read(op->argv[5], 0, &id))
        return OLDER_SAME;
    if (xstream_find(entry_ptr(e), id, &entry)) return OLDER_SAME;
    SAY(op, SLICE("XACK"), op->argv[1], op->argv[2], op->argv[5]);
    return OLDER_SAID;
}

/* ---- the table ---- */

/* For versions below BELOW. Commands without a row are older than 2.8, or change no data. */
static const struct rule {
    const char *name;
    enum older_version below;
    enum older (*say)(const struct op *op);
} rules[] = {
    {"set", OLDER_6_2, say_set},
    {"restore", OLDER_7_0, say_restore},
    {"copy", OLDER_6_2, say_copy},
    {"unlink", OLDER_4_0, say_unlink},
    {"flushall", OLDER_6_2, say_flush},
    {"flushdb", OLDER_6_2, say_flush},
    {"swapdb", OLDER_4_0, cannot},
    {"hset", OLDER_4_0, say_hset},
    {"lpop", OLDER_6_2, say_pop},
    {"rpop", OLDER_6_2, say_pop},
    {"lmove", OLDER_6_2, say_lmove},
    {"lpushx", OLDER_4_0, say_pushx},
    {"rpushx", OLDER_4_0, say_pushx},
    {"zadd", OLDER_6_2, say_zadd},
    {"geoadd", OLDER_6_2, say_geoadd},
    {"georadius", OLDER_6_2, say_georadius},
    {"georadiusbymember", OLDER_6_2, say_georadius},
    {"zpopmin", OLDER_5_0, say_zpop},
    {"zpopmax", OLDER_5_0, say_zpop},
    {"xadd", OLDER_6_2, say_xadd},
    {"xtrim", OLDER_6_2, say_xtrim},
    {"xsetid", OLDER_7_0, say_xsetid},
    {"xgroup", OLDER_7_0, say_xgroup},
    {"xclaim", OLDER_7_0, say_xclaim},
    {"function", OLDER_7_0, say_nothing},
    {"spublish", OLDER_7_0, say_nothing},
};

static bool is_of_streams(struct slice name) {
    return name.size > 1 && (name.data[0] == 'x' || name.data[0] == 'X');
}

enum older older_say(struct engine *engine, enum older_version version, int db, int argc,
                     const struct slice *argv, older_say_fn *say_fn, void *ctx) {
    if (version >= OLDER_7_0 || db < 0 || argc < 1 || db >= engine->db_count) return OLDER_SAME;
    const struct op op = {engine, &engine->dbs[db], version, argc, argv, say_fn, ctx};
    if (version < OLDER_5_0 && is_of_streams(argv[0])) return OLDER_UNSAID;
    for (size_t i = 0; i < COUNT(rules); i++)
        if (arg_is(argv[0], rules[i].name)) return version < rules[i].below ? rules[i].say(&op) : OLDER_SAME;
    const struct command *command = command_find(argv[0]);
    if (command == NULL || knows(version, command->since)) return OLDER_SAME;
    return command->flags & COMMAND_WRITE ? say_keys(&op) : say_nothing(&op);
}

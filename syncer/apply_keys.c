/* apply_keys.c -- what a command of the stream does to keys. See apply_keys.h. */
#include "syncer/apply_keys.h"

#include "lib/base/mem.h"

static bool is(const struct command *command, const char *name) { return strcmp(command->name, name) == 0; }

static bool is_one_of(const struct command *command, const char *const *names) {
    for (; *names; names++)
        if (is(command, *names)) return true;
    return false;
}

void apply_keys_close(struct apply_keys *keys) {
    mem_free(keys->at);
    mem_free(keys->found);
    *keys = (struct apply_keys){0};
}

static enum apply_class class_of(const struct command *command) {
    static const char *const nothing[] = {"ping", "replconf", "publish", "spublish", "select", "script|exists", NULL};
    switch (command->name[0]) {
    case 'p':
    case 'r':
    case 's':
        if (is_one_of(command, nothing)) return APPLY_NOTHING;
        return is(command, "swapdb") ? APPLY_SWAPDB : APPLY_ORDINARY;
    case 'f':
        if (is(command, "flushall")) return APPLY_FLUSHALL;
        return is(command, "flushdb") ? APPLY_FLUSHDB : APPLY_ORDINARY;
    default: return APPLY_ORDINARY;
    }
}

static void add(struct apply_keys *keys, struct slice key, int db, bool written, bool replaced) {
    if (keys->count == keys->cap) {
        keys->cap = keys->cap ? keys->cap * 2 : 32;
        keys->at = mem_realloc(keys->at, keys->cap * sizeof *keys->at);
    }
    keys->at[keys->count++] = (struct apply_key){.key = key, .db = db, .written = written, .replaced = replaced};
}

static bool has_word(size_t argc, const struct slice *argv, size_t from, struct slice word) {
    for (size_t i = from; i < argc; i++)
        if (slice_equal_nocase(argv[i], word)) return true;
    return false;
}

/* The value behind WORD among the options; false when it is not there or not a number. */
static bool option(size_t argc, const struct slice *argv, size_t from, struct slice word, int64_t *number) {
    for (size_t i = from; i + 1 < argc; i++)
        if (slice_equal_nocase(argv[i], word)) return slice_to_int(argv[i + 1], number);
    return false;
}

/* SET is flagged by its options; without KEEPTTL and GET it replaces whatever was there. */
static bool replaces(const struct command *command, unsigned flags, size_t argc, const struct slice *argv) {
    if (is(command, "set")) return !has_word(argc, argv, 3, SLICE("keepttl")) && !has_word(argc, argv, 3, SLICE("get"));
    return (flags & (COMMAND_KEY_OW | COMMAND_KEY_RM)) != 0;
}

/* The database of the second key of COPY ... DB n, or of MOVE. */
static int other_db(const struct command *command, size_t argc, const struct slice *argv, int db) {
    int64_t number = db;
    bool told = is(command, "move") ? argc > 2 && slice_to_int(argv[2], &number)
                                    : option(argc, argv, 3, SLICE("db"), &number);
    return told && number >= 0 && number < 1 << 20 ? (int)number : db;
}

enum apply_class apply_keys_of(struct apply_keys *keys, const struct command *command, size_t argc,
                               const struct slice *argv, int db) {
    size_t count = 0;
    struct why why;
    keys->count = 0;
    if (!command || !command_arity_fits(command, argc)) {
        if (argc > 1) add(keys, argv[1], db, true, false);
        return APPLY_UNKNOWN;
    }
    enum apply_class class = class_of(command);
    if (class != APPLY_ORDINARY || !command_has_keys(command)) return class;
    if (keys->found_cap < argc) {
        keys->found_cap = argc < 32 ? 32 : argc;
        keys->found = mem_realloc(keys->found, keys->found_cap * sizeof *keys->found);
    }
    if (command_keys(command, argc, argv, keys->found, keys->found_cap, &count, &why) != OK) {
        if (argc > 1) add(keys, argv[1], db, true, false);
        return APPLY_UNKNOWN;
    }
    bool copies = is(command, "copy");
    for (size_t i = 0; i < count; i++) {
        unsigned flags = keys->found[i].flags;
        if (flags & COMMAND_KEY_NOT_KEY) continue;
        int at_db = copies && i == 1 ? other_db(command, argc, argv, db) : db;
        add(keys, argv[keys->found[i].at], at_db, command_key_written(flags), replaces(command, flags, argc, argv));
    }
    if (is(command, "move") && keys->count > 0) add(keys, argv[1], other_db(command, argc, argv, db), true, false);
    return class;
}

/* One of the words EX, PX, EXAT, PXAT of SET and GETEX. */
static bool expiry_option(size_t argc, const struct slice *argv, size_t from, int64_t now_ms, int64_t *at_ms) {
    int64_t n = 0;
    if (option(argc, argv, from, SLICE("pxat"), &n)) *at_ms = n;
    else if (option(argc, argv, from, SLICE("exat"), &n)) *at_ms = n > INT64_MAX / 1000 ? INT64_MAX - 1 : n * 1000;
    else if (option(argc, argv, from, SLICE("px"), &n)) *at_ms = n > INT64_MAX - now_ms - 1 ? INT64_MAX - 1 : now_ms + n;
    else if (option(argc, argv, from, SLICE("ex"), &n)) *at_ms = n > INT64_MAX / 2000 ? INT64_MAX - 1 : now_ms + n * 1000;
    else return false;
    return true;
}

/* A time in an argument, in seconds or milliseconds, relative or not. Always above 0. */
static int64_t time_of(struct slice text, bool seconds, bool relative, int64_t now_ms) {
    int64_t n = 0;
    if (!slice_to_int(text, &n)) return 1;
    if (seconds) n = n > INT64_MAX / 2000 ? INT64_MAX / 2 : n * 1000;
    if (relative) n = n > INT64_MAX - now_ms - 1 ? INT64_MAX - 1 : n + now_ms;
    if (n >= INT64_MAX) n = INT64_MAX - 1;
    return n > 0 ? n : 1;
}

int64_t apply_deadline_of(const struct command *command, size_t argc, const struct slice *argv, int64_t now_ms) {
    int64_t at = 0;
    if (!command) return APPLY_DEADLINE_KEPT;
    switch (command->name[0]) {
    case 's':
        if (is(command, "set")) {
            if (has_word(argc, argv, 3, SLICE("keepttl"))) return APPLY_DEADLINE_KEPT;
            return expiry_option(argc, argv, 3, now_ms, &at) && at > 0 ? at : APPLY_DEADLINE_GONE;
        }
        if (is(command, "setex")) return time_of(argv[2], true, true, now_ms);
        return APPLY_DEADLINE_KEPT;
    case 'p':
        if (is(command, "pexpireat")) return time_of(argv[2], false, false, now_ms);
        if (is(command, "pexpire") || is(command, "psetex")) return time_of(argv[2], false, true, now_ms);
        return is(command, "persist") ? APPLY_DEADLINE_GONE : APPLY_DEADLINE_KEPT;
    case 'e':
        if (is(command, "expire")) return time_of(argv[2], true, true, now_ms);
        return is(command, "expireat") ? time_of(argv[2], true, false, now_ms) : APPLY_DEADLINE_KEPT;
    case 'g':
        if (!is(command, "getex")) return APPLY_DEADLINE_KEPT;
        if (has_word(argc, argv, 2, SLICE("persist"))) return APPLY_DEADLINE_GONE;
        return expiry_option(argc, argv, 2, now_ms, &at) ? at : APPLY_DEADLINE_KEPT;
    case 'r':
        if (is(command, "rename") || is(command, "renamenx")) return APPLY_DEADLINE_MOVED;
        if (!is(command, "restore") || slice_equal(argv[2], SLICE("0"))) return APPLY_DEADLINE_KEPT;
        return time_of(argv[2], false, !has_word(argc, argv, 4, SLICE("absttl")), now_ms);
    case 'c': return is(command, "copy") ? APPLY_DEADLINE_MOVED : APPLY_DEADLINE_KEPT;
    case 'm': return is(command, "move") ? APPLY_DEADLINE_MOVED : APPLY_DEADLINE_KEPT;
    default: return APPLY_DEADLINE_KEPT;
    }
}

bool apply_changed_nothing(const struct command *command, int64_t number) {
    static const char *const changing[] = {"pexpireat", "expireat", "pexpire", "expire", "persist", "renamenx", "move",
                                           "copy", "hdel", "srem", "zrem", "lrem", "smove", NULL};
    return number == 0 && is_one_of(command, changing);
}

bool apply_swapped(size_t argc, const struct slice *argv, int *a, int *b) {
    int64_t x = 0, y = 0;
    if (argc != 3 || !slice_to_int(argv[1], &x) || !slice_to_int(argv[2], &y)) return false;
    if (x < 0 || y < 0 || x > 1 << 20 || y > 1 << 20) return false;
    *a = (int)x;
    *b = (int)y;
    return true;
}

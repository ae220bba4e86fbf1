/* debug_commands.c -- DEBUG: what test suites and the curious need. DIGEST, RELOAD and their kin
 * are added by persistence (engine_debug_add). */
#include "lib/base/mem.h"
#include "server/access.h"
#include "server/args.h"
#include "server/engine.h"
#include "server/gates.h"
#include "server/groups.h"
#include "server/propagate.h"
#include "server/reply.h"

#include <stdio.h>
#include <time.h>

static void debug_sleep(struct client *c) {
    double seconds;
    if (!arg_double(c, c->argv[2], &seconds, NULL)) return;
    if (seconds < 0 || seconds > 3600) seconds = 0;
    struct timespec span = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&span, NULL);
    reply_ok(c);
}

static void debug_set_active_expire(struct client *c) {
    int64_t on;
    if (!arg_int(c, c->argv[2], &on, NULL)) return;
    c->engine->expire_active = on != 0;
    reply_ok(c);
}

static void debug_object(struct client *c) {
    struct entry *e = db_find(c->db, c->argv[2]);
    if (e == NULL) {
        reply_no_such_key(c);
        return;
    }
    char line[256];
    snprintf(line, sizeof line,
             "Value at:%p refcount:1 encoding:%s serializedlength:%zu lru:%u lru_seconds_idle:%lld",
             (void *)e, encoding_name(entry_encoding(e)), entry_memory(e, 0), entry_access(e),
             (long long)access_idle_s(c->engine, e));
    reply_simple(c, line);
}

static void debug_populate(struct client *c) {
    int64_t count, size = 0;
    struct slice prefix = c->argc > 3 ? c->argv[3] : SLICE("key");
    if (!arg_int_range(c, c->argv[2], 0, INT64_MAX, &count, NULL)) return;
    if (c->argc > 4 && !arg_int_range(c, c->argv[4], 0, 512 << 20, &size, NULL)) return;
    struct buf key = {0}, value = {0};
    for (int64_t i = 0; i < count; i++) {
        buf_clear(&key);
        buf_clear(&value);
        buf_add(&key, prefix);
        buf_printf(&key, ":%lld", (long long)i);
        if (db_find(c->db, buf_slice(&key))) continue;
        buf_printf(&value, "value:%lld", (long long)i);
        if (size > 0) {
            size_t had = buf_size(&value);
            if ((size_t)size > had)
                memset(buf_room(&value, (size_t)size - had), 0, (size_t)size - had),
                    buf_filled(&value, (size_t)size - had);
        }
        struct slice text = buf_slice(&value);
        if (size > 0 && text.size > (size_t)size) text.size = (size_t)size;
        struct value string = value_string(text);
        (void)db_add(c->db, buf_slice(&key), &string, -1);
        key_touched(c, c->db, buf_slice(&key));
    }
    buf_close(&key);
    buf_close(&value);
    reply_ok(c);
}

static void debug_stringmatch(struct client *c) {
    int64_t size;
    if (!arg_int_range(c, c->argv[2], 0, 64 << 20, &size, NULL)) return;
    void *text = mem_zalloc((size_t)size + 1);
    memset(text, 'a', (size_t)size);
    reply_int(c, pattern_matches(c->argv[3], slice_from(text, (size_t)size), false));
    mem_free(text);
}

static void debug_packed_threshold(struct client *c) {
    int64_t bytes;
    struct slice text = c->argv[2];
    if (text.size > 0 && (text.data[text.size - 1] == 'b' || text.data[text.size - 1] == 'B'))
        text.size--;
    if (!slice_to_int(text, &bytes) || bytes < 0 || bytes > UINT32_MAX) {
        reply_error(c, "ERR argument must be a memory value bigger than 1 and smaller than 4gb");
        return;
    }
    c->engine->settings.types.list_packed_threshold = bytes ? bytes : 1 << 30;
    reply_ok(c);
}

static void debug_protocol(struct client *c) {
    struct slice kind = c->argv[2];
    if (arg_is(kind, "string"))
        reply_bulk_text(c, "Hello World");
    else if (arg_is(kind, "integer"))
        reply_int(c, 12345);
    else if (arg_is(kind, "double"))
        reply_double(c, 3.141);
    else if (arg_is(kind, "null"))
        reply_null(c);
    else if (arg_is(kind, "array")) {
        reply_array(c, 3);
        for (int i = 0; i < 3; i++) reply_int(c, i);
    } else if (arg_is(kind, "set")) {
        reply_set(c, 3);
        for (int i = 0; i < 3; i++) reply_int(c, i);
    } else if (arg_is(kind, "map")) {
        reply_map(c, 3);
        for (int i = 0; i < 3; i++) reply_int(c, i), reply_bool(c, i == 1);
    } else if (arg_is(kind, "attrib")) {
        if (c->resp == 3)
            reply_raw(c, SLICE("|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n"));
        reply_bulk_text(c, "Some real reply following the attribute");
    } else if (arg_is(kind, "push")) {
        reply_push(c, 2);
        reply_bulk_text(c, "server-cpu-usage");
        reply_int(c, 42);
    } else if (arg_is(kind, "verbatim"))
        reply_verbatim(c, "txt", SLICE("This is a verbatim\nstring"));
    else if (arg_is(kind, "true"))
        reply_bool(c, true);
    else if (arg_is(kind, "false"))
        reply_bool(c, false);
    else if (arg_is(kind, "bignum")) {
        if (c->resp < 3)
            reply_bulk_text(c, "1234567999999999999999999999999999999");
        else
            reply_raw(c, SLICE("(1234567999999999999999999999999999999\r\n"));
    } else
        reply_error(c, "ERR Wrong protocol type name. Please use one of the following: "
                       "string|integer|double|null|array|set|map|attrib|push|verbatim|true|false");
}

static void debug_log(struct client *c) {
    engine_log(c->engine, '#', "DEBUG LOG: %.*s",
               (int)(c->argv[2].size < 1024 ? c->argv[2].size : 1024),
               (const char *)c->argv[2].data);
    reply_ok(c);
}

/* To the replicas as it is, whatever it is; it is not executed here. */
static void debug_replicate(struct client *c) {
    unsigned before = propagate_aim(c->engine, PROPAGATE_REPLICAS);
    propagate(c->engine, c->db->id, c->argc - 2, c->argv + 2);
    (void)propagate_aim(c->engine, before);
    reply_ok(c);
}

static void debug_error(struct client *c) {
    reply_error(c, "%.*s", (int)c->argv[2].size, (const char *)c->argv[2].data);
}

static void debug_pause_cron(struct client *c) {
    int64_t on;
    if (!arg_int(c, c->argv[2], &on, NULL)) return;
    c->engine->tick_paused = on != 0;
    reply_ok(c);
}

static void debug_htstats(struct client *c) {
    int64_t id = 0;
    if (c->argc > 2 && (!slice_to_int(c->argv[2], &id) || id < 0 || id >= c->engine->db_count)) {
        reply_error(c, "ERR Out of range database");
        return;
    }
    struct buf out = {0};
    const struct partitions *p = c->engine->dbs[id].partitions;
    for (uint32_t i = 0; i < p->count; i++)
        if (p->count == PARTITIONS || p->tables[i].count > 0)
            buf_printf(&out, "table %u: keys %llu segments %u children %u depth %u\n", i,
                       (unsigned long long)p->tables[i].count, p->tables[i].segments,
                       p->tables[i].children, p->tables[i].depth);
    reply_verbatim(c, "txt", buf_slice(&out));
    buf_close(&out);
}

static const struct {
    const char *name;
    int argc; /* at least */
    command_run *run;
    const char *help;
} debugs[] = {
    {"sleep", 3, debug_sleep, "SLEEP <seconds>"},
    {"set-active-expire", 3, debug_set_active_expire, "SET-ACTIVE-EXPIRE <0|1>"},
    {"object", 3, debug_object, "OBJECT <key>"},
    {"populate", 3, debug_populate, "POPULATE <count> [<prefix>] [<size>]"},
    {"stringmatch-len", 4, debug_stringmatch, "STRINGMATCH-LEN <len> <pattern>"},
    {"quicklist-packed-threshold", 3, debug_packed_threshold, "QUICKLIST-PACKED-THRESHOLD <size>"},
    {"protocol", 3, debug_protocol, "PROTOCOL <type>"},
    {"log", 3, debug_log, "LOG <message>"},
    {"error", 3, debug_error, "ERROR <string>"},
    {"replicate", 3, debug_replicate, "REPLICATE <command> [<argument> ...]"},
    {"htstats", 2, debug_htstats, "HTSTATS [<dbid>]"},
    {"pause-cron", 3, debug_pause_cron, "PAUSE-CRON <0|1>"}};

static bool changes_data(const struct client *c) {
    return arg_is(c->argv[1], "reload") || arg_is(c->argv[1], "loadaof") ||
           arg_is(c->argv[1], "populate");
}

static void run_debug(struct client *c) {
    if (arg_is(c->argv[1], "help")) {
        const char *lines[80];
        size_t count = 0;
        for (size_t i = 0; i < COUNT(debugs); i++) lines[count++] = debugs[i].help;
        hooks_debug_help(c, lines, &count, COUNT(lines) - 1);
        lines[count] = NULL;
        reply_help(c, lines);
        return;
    }
    if (changes_data(c) && (c->engine->loading || c->engine->async_loading)) {
        reply_error(c, "LOADING Redis is loading the dataset in memory");
        return;
    }
    if (hooks_debug(c)) return;
    for (size_t i = 0; i < COUNT(debugs); i++)
        if (arg_is(c->argv[1], debugs[i].name) && c->argc >= debugs[i].argc) {
            debugs[i].run(c);
            return;
        }
    reply_unknown_subcommand(c);
}

void debug_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"debug", run_debug}};
    command_bind(engine, bindings, COUNT(bindings));
}

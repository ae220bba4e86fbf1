/* config_table.c -- the core's options, and those that are only remembered. */
#include "server/config_inside.h"

#include "lib/base/mem.h"
#include "server/acl.h"
#include "server/args.h"
#include "server/client_memory.h"
#include "server/evict.h"
#include "server/net.h"
#include "server/persistence.h"
#include "server/transport.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define AT(member) offsetof(struct settings, member)
#define INT_OPTION(text, member, low, high, start)                                                 \
    {                                                                                              \
        .name = text, .kind = CONFIG_INT, .offset = AT(member), .min = (low), .max = (high),       \
        .fallback = start                                                                          \
    }
#define BOOL_OPTION(text, member, start)                                                           \
    { .name = text, .kind = CONFIG_BOOL, .offset = AT(member), .fallback = start }
#define MEMORY_OPTION(text, member, low, high, start)                                              \
    {                                                                                              \
        .name = text, .kind = CONFIG_MEMORY, .offset = AT(member), .min = (low), .max = (high),    \
        .fallback = start                                                                          \
    }
#define TEXT_OPTION(text, member, start)                                                           \
    { .name = text, .kind = CONFIG_TEXT, .offset = AT(member), .fallback = start }
/* The file is read again whenever it is set, even to the same name: so certificates are renewed. */
#define TLS_OPTION(text, member)                                                                   \
    {                                                                                              \
        .name = text, .kind = CONFIG_TEXT, .offset = AT(member), .fallback = "",                   \
        .apply = transport_configure                                                               \
    }
#define ENUM_OPTION(text, member, list, start)                                                     \
    { .name = text, .kind = CONFIG_ENUM, .offset = AT(member), .names = list, .fallback = start }

static const char *const policies[] = {"volatile-lru",   "volatile-lfu", "volatile-random",
                                       "volatile-ttl",   "allkeys-lru",  "allkeys-lfu",
                                       "allkeys-random", "noeviction",   NULL};
static const char *const tls_clients[] = {"no", "yes", "optional", NULL};
static const char *const fsyncs[] = {"no", "always", "everysec", NULL};
static const char *const pubsub_defaults[] = {"allchannels", "resetchannels", NULL};
static const char *const protections[] = {"no", "yes", "local", NULL};

/* ---- options with a form of their own ---- */

static const struct {
    char letter;
    int64_t bits;
} event_letters[] = {{'g', NOTIFY_GENERIC}, {'$', NOTIFY_STRING},   {'l', NOTIFY_LIST},
                     {'s', NOTIFY_SET},     {'h', NOTIFY_HASH},     {'z', NOTIFY_ZSET},
                     {'x', NOTIFY_EXPIRED}, {'e', NOTIFY_EVICTED},  {'t', NOTIFY_STREAM},
                     {'d', NOTIFY_MODULE},  {'K', NOTIFY_KEYSPACE}, {'E', NOTIFY_KEYEVENT},
                     {'m', NOTIFY_MISS},    {'n', NOTIFY_NEW}};
#define ALL_EVENTS                                                                                 \
    (NOTIFY_GENERIC | NOTIFY_STRING | NOTIFY_LIST | NOTIFY_SET | NOTIFY_HASH | NOTIFY_ZSET |       \
     NOTIFY_EXPIRED | NOTIFY_EVICTED | NOTIFY_STREAM | NOTIFY_MODULE)

static enum err read_events(struct engine *engine, int argc, const struct slice *argv,
                            struct why *why) {
    int64_t bits = 0;
    for (size_t i = 0; argc > 0 && i < argv[0].size; i++) {
        int64_t found = argv[0].data[i] == 'A' ? ALL_EVENTS : 0;
        for (size_t n = 0; n < COUNT(event_letters); n++)
            if (event_letters[n].letter == (char)argv[0].data[i]) found = event_letters[n].bits;
        if (found == 0)
            return why_set(why, ERR_CONFIG,
                           "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
        bits |= found;
    }
    engine->settings.notify_keyspace_events = bits;
    return OK;
}

static void write_events(struct engine *engine, struct buf *out) {
    int64_t bits = engine->settings.notify_keyspace_events;
    bool all = (bits & ALL_EVENTS) == ALL_EVENTS;
    if (all) buf_byte(out, 'A');
    for (size_t i = 0; i < COUNT(event_letters); i++)
        if (bits & event_letters[i].bits && !(all && ALL_EVENTS & event_letters[i].bits))
            buf_byte(out, (uint8_t)event_letters[i].letter);
}

/* Passwords are bytes, not text. */
static enum err put_secret(char **text, size_t *size, int argc, const struct slice *argv,
                           struct why *why) {
    if (argc != 1) return why_set(why, ERR_CONFIG, "wrong number of arguments");
    mem_free(*text);
    *text = mem_zalloc(argv[0].size + 1);
    if (argv[0].size) memcpy(*text, argv[0].data, argv[0].size);
    *size = argv[0].size;
    return OK;
}

static enum err read_password(struct engine *engine, int argc, const struct slice *argv,
                              struct why *why) {
    return put_secret(&engine->settings.requirepass, &engine->settings.requirepass_size, argc, argv,
                      why);
}

static void write_password(struct engine *engine, struct buf *out) {
    buf_append(out, engine->settings.requirepass, engine->settings.requirepass_size);
}

static enum err read_masterauth(struct engine *engine, int argc, const struct slice *argv,
                                struct why *why) {
    return put_secret(&engine->settings.masterauth, &engine->settings.masterauth_size, argc, argv,
                      why);
}

static void write_masterauth(struct engine *engine, struct buf *out) {
    buf_append(out, engine->settings.masterauth, engine->settings.masterauth_size);
}

/* In a file each line adds a point; the first one replaces the defaults. */
static enum err read_save(struct engine *engine, int argc, const struct slice *argv,
                          struct why *why) {
    struct settings *s = &engine->settings;
    struct save_point points[SAVE_POINTS_MAX];
    int count = 0;
    bool none = argc == 0 || (argc == 1 && argv[0].size == 0);
    if (!none && (argc % 2 || argc / 2 > SAVE_POINTS_MAX))
        return why_set(why, ERR_CONFIG, "Invalid save parameters");
    for (int i = 0; !none && i < argc; i += 2, count++)
        if (!slice_to_int(argv[i], &points[count].seconds) ||
            !slice_to_int(argv[i + 1], &points[count].changes) || points[count].seconds < 1 ||
            points[count].changes < 0)
            return why_set(why, ERR_CONFIG, "Invalid save parameters");
    if (!engine->save_was_set || none) s->save_count = 0;
    engine->save_was_set = true;
    if (s->save_count + count > SAVE_POINTS_MAX)
        return why_set(why, ERR_CONFIG, "more than %d save points", SAVE_POINTS_MAX);
    for (int i = 0; i < count; i++) s->save_points[s->save_count++] = points[i];
    return OK;
}

static void write_save(struct engine *engine, struct buf *out) {
    const struct settings *s = &engine->settings;
    for (int i = 0; i < s->save_count; i++)
        buf_printf(out, "%s%lld %lld", i ? " " : "", (long long)s->save_points[i].seconds,
                   (long long)s->save_points[i].changes);
}

static const char *const class_names[OUTPUT_CLASSES] = {"normal", "slave", "pubsub"};

static enum err read_limits(struct engine *engine, int argc, const struct slice *argv,
                            struct why *why) {
    struct output_limit limits[OUTPUT_CLASSES];
    memcpy(limits, engine->settings.output_limits, sizeof limits);
    if (argc == 0 || argc % 4)
        return why_set(why, ERR_CONFIG, "Wrong number of arguments in buffer limit configuration.");
    for (int i = 0; i < argc; i += 4) {
        int class = 0;
        while (class < OUTPUT_CLASSES && !arg_is(argv[i], class_names[class])) class ++;
        if (arg_is(argv[i], "replica")) class = OUTPUT_REPLICA;
        if (class == OUTPUT_CLASSES)
            return why_set(why, ERR_CONFIG,
                           "Invalid client class specified in buffer limit configuration.");
        struct output_limit *l = &limits[class];
        if (!config_read_memory(argv[i + 1], &l->hard_bytes) ||
            !config_read_memory(argv[i + 2], &l->soft_bytes) ||
            !slice_to_int(argv[i + 3], &l->soft_seconds) || l->soft_seconds < 0)
            return why_set(
                why, ERR_CONFIG,
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.");
    }
    memcpy(engine->settings.output_limits, limits, sizeof limits);
    return OK;
}

static void write_limits(struct engine *engine, struct buf *out) {
    for (int i = 0; i < OUTPUT_CLASSES; i++) {
        const struct output_limit *l = &engine->settings.output_limits[i];
        buf_printf(out, "%s%s %lld %lld %lld", i ? " " : "", class_names[i],
                   (long long)l->hard_bytes, (long long)l->soft_bytes, (long long)l->soft_seconds);
    }
}

static enum err read_percentiles(struct engine *engine, int argc, const struct slice *argv,
                                 struct why *why) {
    double values[LATENCY_PERCENTILES_MAX];
    if (argc == 1 && argv[0].size == 0) argc = 0;
    if (argc > LATENCY_PERCENTILES_MAX)
        return why_set(why, ERR_CONFIG, "more than %d percentiles", LATENCY_PERCENTILES_MAX);
    for (int i = 0; i < argc; i++) {
        if (!number_read_double(argv[i], &values[i]))
            return why_set(why, ERR_CONFIG, "Invalid latency-tracking-info-percentiles parameters");
        if (!(values[i] >= 0 && values[i] <= 100))
            return why_set(why, ERR_CONFIG,
                           "latency-tracking-info-percentiles parameters should sit between "
                           "[0.0,100.0]");
    }
    memcpy(engine->settings.latency_percentiles, values, sizeof values);
    engine->settings.latency_percentile_count = argc;
    return OK;
}

static void write_percentiles(struct engine *engine, struct buf *out) {
    for (int i = 0; i < engine->settings.latency_percentile_count; i++)
        buf_printf(out, "%s%.15g", i ? " " : "", engine->settings.latency_percentiles[i]);
}

static enum err read_maxmemory_clients(struct engine *engine, int argc, const struct slice *argv,
                                       struct why *why) {
    int64_t value;
    if (argc != 1) return why_set(why, ERR_CONFIG, "wrong number of arguments");
    struct slice text = argv[0];
    if (text.size > 0 && text.data[text.size - 1] == '%') {
        text.size--;
        if (!slice_to_int(text, &value) || value < 0)
            return why_set(why, ERR_CONFIG, "argument must be a memory or percent value");
        if (value > 100)
            return why_set(why, ERR_CONFIG, "percentage argument must be less or equal to 100");
        engine->settings.maxmemory_clients = -value;
        return OK;
    }
    if (!config_read_memory(text, &value) || value < 0)
        return why_set(why, ERR_CONFIG, "argument must be a memory or percent value");
    engine->settings.maxmemory_clients = value;
    return OK;
}

static void write_maxmemory_clients(struct engine *engine, struct buf *out) {
    int64_t value = engine->settings.maxmemory_clients;
    buf_printf(out, "%lld%s", (long long)(value < 0 ? -value : value), value < 0 ? "%" : "");
}

static enum err apply_maxmemory_clients(struct engine *engine, struct why *why) {
    (void)why;
    client_memory_recount(engine);
    return OK;
}

static enum err apply_dir(struct engine *engine, struct why *why) {
    if (chdir(engine->settings.dir) != 0)
        return why_set(why, ERR_CONFIG, "cannot go to the directory");
    return OK;
}

static enum err apply_password(struct engine *engine, struct why *why) {
    (void)why;
    acl_set_requirepass(engine);
    return OK;
}

static enum err apply_port(struct engine *engine, struct why *why) {
    struct why reason = {{0}};
    net_close_listeners(engine, false);
    if (net_listen(engine, &reason) == OK) return OK;
    return why_set(why, ERR_IO, "%s",
                   net_port_changed(engine) ? "Unable to listen on this port. Check server logs."
                                            : "Failed to bind to specified addresses.");
}

static enum err apply_tls_port(struct engine *engine, struct why *why) {
    enum err err = transport_configure(engine, why);
    return err ? err : apply_port(engine, why);
}

static enum err apply_maxclients(struct engine *engine, struct why *why) {
    long limit = sysconf(_SC_OPEN_MAX);
    if (limit > 0 && engine->settings.maxclients > limit - 32)
        return why_set(why, ERR_CONFIG,
                       "The operating system is not able to handle the specified number of "
                       "clients, try with %ld",
                       limit - 32);
    return OK;
}

static enum err apply_maxmemory(struct engine *engine, struct why *why) {
    (void)why;
    engine->memory_seen_us = 0;
    (void)evict_until_under(engine);
    return OK;
}

static enum err apply_loglevel(struct engine *engine, struct why *why) {
    static const char *const levels[] = {"debug", "verbose", "notice", "warning"};
    for (size_t i = 0; i < COUNT(levels); i++)
        if (strcmp(engine->settings.loglevel, levels[i]) == 0) return OK;
    return why_set(why, ERR_CONFIG,
                   "argument(s) must be one of the following: debug, verbose, notice, warning");
}

static const struct config_option options[] = {
    {.name = "port",
     .kind = CONFIG_INT,
     .offset = AT(port),
     .min = 0,
     .max = 65535,
     .fallback = "6379",
     .apply = apply_port},
    {.name = "tls-port",
     .kind = CONFIG_INT,
     .offset = AT(tls_port),
     .min = 0,
     .max = 65535,
     .fallback = "0",
     .apply = apply_tls_port},
    TLS_OPTION("tls-cert-file", tls_cert_file),
    TLS_OPTION("tls-key-file", tls_key_file),
    TLS_OPTION("tls-client-cert-file", tls_client_cert_file),
    TLS_OPTION("tls-client-key-file", tls_client_key_file),
    TLS_OPTION("tls-ca-cert-file", tls_ca_cert_file),
    TLS_OPTION("tls-ca-cert-dir", tls_ca_cert_dir),
    {.name = "tls-auth-clients",
     .kind = CONFIG_ENUM,
     .offset = AT(tls_auth_clients),
     .names = tls_clients,
     .fallback = "yes",
     .apply = transport_configure},
    BOOL_OPTION("tls-replication", tls_replication, "no"),
    {.name = "tcp-backlog",
     .kind = CONFIG_INT,
     .flags = CONFIG_FIXED,
     .offset = AT(tcp_backlog),
     .min = 0,
     .max = INT_MAX,
     .fallback = "511"},
    {.name = "bind",
     .kind = CONFIG_TEXT,
     .flags = CONFIG_MULTI,
     .offset = AT(bind),
     .fallback = "* -::*",
     .apply = apply_port},
    {.name = "unixsocket",
     .kind = CONFIG_TEXT,
     .flags = CONFIG_FIXED,
     .offset = AT(unixsocket),
     .fallback = ""},
    {.name = "unixsocketperm",
     .kind = CONFIG_OCTAL,
     .flags = CONFIG_FIXED,
     .offset = AT(unixsocketperm),
     .max = 0777,
     .fallback = "0"},
    INT_OPTION("timeout", timeout_s, 0, INT_MAX, "0"),
    INT_OPTION("tcp-keepalive", tcp_keepalive_s, 0, INT_MAX, "300"),
    {.name = "maxclients",
     .kind = CONFIG_INT,
     .offset = AT(maxclients),
     .min = 1,
     .max = UINT32_MAX,
     .fallback = "10000",
     .apply = apply_maxclients},
    BOOL_OPTION("protected-mode", protected_mode, "yes"),
    {.name = "requirepass",
     .kind = CONFIG_CUSTOM,
     .flags = CONFIG_SECRET,
     .read = read_password,
     .write = write_password,
     .fallback = "",
     .apply = apply_password},
    {.name = "aclfile",
     .kind = CONFIG_TEXT,
     .flags = CONFIG_FIXED,
     .offset = AT(aclfile),
     .fallback = ""},
    ENUM_OPTION("acl-pubsub-default", acl_pubsub_default, pubsub_defaults, "resetchannels"),
    INT_OPTION("tracking-table-max-keys", tracking_table_max_keys, 0, LONG_MAX, "1000000"),
    INT_OPTION("acllog-max-len", acllog_max_len, 0, LONG_MAX, "128"),
    MEMORY_OPTION("client-query-buffer-limit", client_query_buffer_limit, 1 << 20, LONG_MAX, "1gb"),
    MEMORY_OPTION("proto-max-bulk-len", proto_max_bulk_len, 1 << 20, LONG_MAX, "512mb"),
    {.name = "maxmemory-clients",
     .kind = CONFIG_CUSTOM,
     .read = read_maxmemory_clients,
     .write = write_maxmemory_clients,
     .fallback = "0",
     .apply = apply_maxmemory_clients},
    {.name = "client-output-buffer-limit",
     .kind = CONFIG_CUSTOM,
     .flags = CONFIG_MULTI,
     .read = read_limits,
     .write = write_limits,
     .fallback = "normal 0 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 60"},
    {.name = "daemonize",
     .kind = CONFIG_BOOL,
     .flags = CONFIG_FIXED,
     .offset = AT(daemonize),
     .fallback = "no"},
    {.name = "pidfile",
     .kind = CONFIG_TEXT,
     .flags = CONFIG_FIXED,
     .offset = AT(pidfile),
     .fallback = ""},
    {.name = "logfile",
     .kind = CONFIG_TEXT,
     .flags = CONFIG_FIXED,
     .offset = AT(logfile),
     .fallback = ""},
    {.name = "loglevel",
     .kind = CONFIG_TEXT,
     .offset = AT(loglevel),
     .fallback = "notice",
     .apply = apply_loglevel},
    {.name = "dir",
     .kind = CONFIG_TEXT,
     .flags = CONFIG_PROTECTED | CONFIG_SETTLED,
     .offset = AT(dir),
     .fallback = ".",
     .apply = apply_dir},
    {.name = "metrics",
     .kind = CONFIG_TEXT,
     .flags = CONFIG_FIXED,
     .offset = AT(metrics),
     .fallback = ""},
    INT_OPTION("hz", hz, 1, 500, "10"),
    {.name = "io-threads",
     .kind = CONFIG_INT,
     .flags = CONFIG_FIXED,
     .offset = AT(io_threads),
     .min = 1,
     .max = 128,
     .fallback = "1"},
    {.name = "enable-debug-command",
     .kind = CONFIG_ENUM,
     .flags = CONFIG_FIXED,
     .offset = AT(enable_debug_command),
     .names = protections,
     .fallback = "no"},
    {.name = "enable-protected-configs",
     .kind = CONFIG_ENUM,
     .flags = CONFIG_FIXED,
     .offset = AT(enable_protected_configs),
     .names = protections,
     .fallback = "no"},
    {.name = "enable-module-command",
     .kind = CONFIG_ENUM,
     .flags = CONFIG_FIXED,
     .offset = AT(enable_module_command),
     .names = protections,
     .fallback = "no"},
    {.name = "databases",
     .kind = CONFIG_INT,
     .flags = CONFIG_FIXED,
     .offset = AT(databases),
     .min = 1,
     .max = 16384,
     .fallback = "16"},
    {.name = "maxmemory",
     .kind = CONFIG_MEMORY,
     .offset = AT(maxmemory),
     .max = LONG_MAX,
     .fallback = "0",
     .apply = apply_maxmemory},
    ENUM_OPTION("maxmemory-policy", maxmemory_policy, policies, "noeviction"),
    INT_OPTION("maxmemory-samples", maxmemory_samples, 1, 64, "5"),
    INT_OPTION("lfu-log-factor", lfu_log_factor, 0, INT_MAX, "10"),
    INT_OPTION("lfu-decay-time", lfu_decay_time, 0, INT_MAX, "1"),
    INT_OPTION("active-expire-effort", active_expire_effort, 1, 10, "1"),
    BOOL_OPTION("lazyfree-lazy-eviction", lazyfree_lazy_eviction, "no"),
    BOOL_OPTION("lazyfree-lazy-expire", lazyfree_lazy_expire, "no"),
    BOOL_OPTION("lazyfree-lazy-server-del", lazyfree_lazy_server_del, "no"),
    BOOL_OPTION("lazyfree-lazy-user-del", lazyfree_lazy_user_del, "no"),
    BOOL_OPTION("lazyfree-lazy-user-flush", lazyfree_lazy_user_flush, "no"),
    {.name = "hash-max-listpack-entries",
     .alias = "hash-max-ziplist-entries",
     .kind = CONFIG_INT,
     .offset = AT(types.hash_max_listpack_entries),
     .max = LONG_MAX,
     .fallback = "512"},
    {.name = "hash-max-listpack-value",
     .alias = "hash-max-ziplist-value",
     .kind = CONFIG_MEMORY,
     .offset = AT(types.hash_max_listpack_value),
     .max = LONG_MAX,
     .fallback = "64"},
    MEMORY_OPTION("stream-node-max-bytes", types.stream_node_max_bytes, 0, LONG_MAX, "4096"),
    MEMORY_OPTION("hll-sparse-max-bytes", hll_sparse_max_bytes, 0, LONG_MAX, "3000"),
    INT_OPTION("stream-node-max-entries", types.stream_node_max_entries, 0, LONG_MAX, "100"),
    INT_OPTION("set-max-intset-entries", types.set_max_intset_entries, 0, LONG_MAX, "512"),
    {.name = "zset-max-listpack-entries",
     .alias = "zset-max-ziplist-entries",
     .kind = CONFIG_INT,
     .offset = AT(types.zset_max_listpack_entries),
     .max = LONG_MAX,
     .fallback = "128"},
    {.name = "zset-max-listpack-value",
     .alias = "zset-max-ziplist-value",
     .kind = CONFIG_MEMORY,
     .offset = AT(types.zset_max_listpack_value),
     .max = LONG_MAX,
     .fallback = "64"},
    {.name = "list-max-listpack-size",
     .alias = "list-max-ziplist-size",
     .kind = CONFIG_INT,
     .offset = AT(types.list_max_listpack_size),
     .min = INT_MIN,
     .max = INT_MAX,
     .fallback = "-2"},
    {.name = "notify-keyspace-events",
     .kind = CONFIG_CUSTOM,
     .read = read_events,
     .write = write_events,
     .fallback = ""},
    BOOL_OPTION("import-mode", import_mode, "no"),
    {.name = "key-load-delay",
     .kind = CONFIG_INT,
     .flags = CONFIG_HIDDEN,
     .offset = AT(key_load_delay_us),
     .min = INT_MIN,
     .max = INT_MAX,
     .fallback = "0"},
    {.name = "lua-memory-limit",
     .kind = CONFIG_MEMORY,
     .flags = CONFIG_HIDDEN,
     .offset = AT(lua_memory_limit),
     .min = 16 << 20,
     .max = LONG_MAX,
     .fallback = "1gb"},
    {.name = "busy-reply-threshold",
     .alias = "lua-time-limit",
     .kind = CONFIG_INT,
     .offset = AT(busy_reply_threshold_ms),
     .max = LLONG_MAX,
     .fallback = "5000"},
    INT_OPTION("slowlog-log-slower-than", slowlog_log_slower_than_us, -1, LLONG_MAX, "10000"),
    INT_OPTION("slowlog-max-len", slowlog_max_len, 0, LONG_MAX, "128"),
    BOOL_OPTION("latency-tracking", latency_tracking, "yes"),
    {.name = "latency-tracking-info-percentiles",
     .kind = CONFIG_CUSTOM,
     .flags = CONFIG_MULTI,
     .read = read_percentiles,
     .write = write_percentiles,
     .fallback = "50 99 99.9"},
    INT_OPTION("latency-monitor-threshold", latency_monitor_threshold_ms, 0, LLONG_MAX, "0"),
    /* persistence and replication */
    {.name = "dbfilename",
     .kind = CONFIG_TEXT,
     .flags = CONFIG_PROTECTED,
     .offset = AT(dbfilename),
     .fallback = "dump.rdb",
     .apply = persistence_apply_dbfilename},
    BOOL_OPTION("rdbcompression", rdbcompression, "yes"),
    {.name = "rdbchecksum",
     .kind = CONFIG_BOOL,
     .flags = CONFIG_FIXED,
     .offset = AT(rdbchecksum),
     .fallback = "yes"},
    BOOL_OPTION("stop-writes-on-bgsave-error", stop_writes_on_bgsave_error, "yes"),
    BOOL_OPTION("rdb-save-incremental-fsync", rdb_save_incremental_fsync, "yes"),
    BOOL_OPTION("rdb-del-sync-files", rdb_del_sync_files, "no"),
    {.name = "appendonly",
     .kind = CONFIG_BOOL,
     .flags = CONFIG_SETTLED,
     .offset = AT(appendonly),
     .fallback = "no",
     .apply = persistence_apply_appendonly},
    ENUM_OPTION("appendfsync", appendfsync, fsyncs, "everysec"),
    {.name = "appendfilename",
     .kind = CONFIG_TEXT,
     .flags = CONFIG_FIXED,
     .offset = AT(appendfilename),
     .fallback = "appendonly.aof"},
    {.name = "appenddirname",
     .kind = CONFIG_TEXT,
     .flags = CONFIG_FIXED,
     .offset = AT(appenddirname),
     .fallback = "appendonlydir"},
    BOOL_OPTION("aof-load-truncated", aof_load_truncated, "yes"),
    BOOL_OPTION("aof-use-rdb-preamble", aof_use_rdb_preamble, "yes"),
    BOOL_OPTION("aof-timestamp-enabled", aof_timestamp_enabled, "no"),
    BOOL_OPTION("aof-rewrite-incremental-fsync", aof_rewrite_incremental_fsync, "yes"),
    BOOL_OPTION("no-appendfsync-on-rewrite", no_appendfsync_on_rewrite, "no"),
    INT_OPTION("auto-aof-rewrite-percentage", auto_aof_rewrite_percentage, 0, INT_MAX, "100"),
    MEMORY_OPTION("auto-aof-rewrite-min-size", auto_aof_rewrite_min_size, 0, LONG_MAX, "64mb"),
    {.name = "replicaof",
     .alias = "slaveof",
     .kind = CONFIG_TEXT,
     .flags = CONFIG_FIXED | CONFIG_MULTI,
     .offset = AT(replicaof),
     .fallback = ""},
    {.name = "masterauth",
     .kind = CONFIG_CUSTOM,
     .flags = CONFIG_SECRET,
     .read = read_masterauth,
     .write = write_masterauth,
     .fallback = ""},
    TEXT_OPTION("masteruser", masteruser, ""),
    {.name = "replica-serve-stale-data",
     .alias = "slave-serve-stale-data",
     .kind = CONFIG_BOOL,
     .offset = AT(replica_serve_stale_data),
     .fallback = "yes"},
    {.name = "replica-read-only",
     .alias = "slave-read-only",
     .kind = CONFIG_BOOL,
     .offset = AT(replica_read_only),
     .fallback = "yes"},
    BOOL_OPTION("repl-diskless-sync", repl_diskless_sync, "yes"),
    BOOL_OPTION("repl-disable-tcp-nodelay", repl_disable_tcp_nodelay, "no"),
    INT_OPTION("repl-diskless-sync-delay", repl_diskless_sync_delay_s, 0, INT_MAX, "5"),
    INT_OPTION("repl-diskless-sync-max-replicas", repl_diskless_sync_max_replicas, 0, INT_MAX, "0"),
    {.name = "repl-ping-replica-period",
     .alias = "repl-ping-slave-period",
     .kind = CONFIG_INT,
     .offset = AT(repl_ping_replica_period_s),
     .min = 1,
     .max = INT_MAX,
     .fallback = "10"},
    INT_OPTION("repl-timeout", repl_timeout_s, 1, INT_MAX, "60"),
    MEMORY_OPTION("repl-backlog-size", repl_backlog_size, 1, LONG_MAX, "1mb"),
    INT_OPTION("repl-backlog-ttl", repl_backlog_ttl_s, 0, LONG_MAX, "3600"),
    {.name = "replica-priority",
     .alias = "slave-priority",
     .kind = CONFIG_INT,
     .offset = AT(replica_priority),
     .max = INT_MAX,
     .fallback = "100"},
    {.name = "min-replicas-to-write",
     .alias = "min-slaves-to-write",
     .kind = CONFIG_INT,
     .offset = AT(min_replicas_to_write),
     .max = INT_MAX,
     .fallback = "0"},
    {.name = "min-replicas-max-lag",
     .alias = "min-slaves-max-lag",
     .kind = CONFIG_INT,
     .offset = AT(min_replicas_max_lag_s),
     .max = INT_MAX,
     .fallback = "10"},
    {.name = "replica-announce-ip",
     .alias = "slave-announce-ip",
     .kind = CONFIG_TEXT,
     .offset = AT(replica_announce_ip),
     .fallback = ""},
    {.name = "replica-announce-port",
     .alias = "slave-announce-port",
     .kind = CONFIG_INT,
     .offset = AT(replica_announce_port),
     .max = 65535,
     .fallback = "0"},
    {.name = "save",
     .kind = CONFIG_CUSTOM,
     .flags = CONFIG_MULTI,
     .read = read_save,
     .write = write_save,
     .fallback = "3600 1 300 100 60 10000"},
};

const struct config_kept config_kept[] = {
    {"activedefrag", "no"},
    {"active-defrag-cycle-max", "25"},
    {"active-defrag-cycle-min", "1"},
    {"active-defrag-ignore-bytes", "104857600"},
    {"active-defrag-max-scan-fields", "1000"},
    {"active-defrag-threshold-lower", "10"},
    {"active-defrag-threshold-upper", "100"},
    {"activerehashing", "yes"},
    {"always-show-logo", "no"},
    {"aof-disable-auto-gc", "no"},
    {"aof_rewrite_cpulist", ""},
    {"bgsave_cpulist", ""},
    {"bio_cpulist", ""},
    {"server_cpulist", ""},
    {"bind-source-addr", ""},
    {"cluster-allow-pubsubshard-when-down", "yes"},
    {"cluster-allow-reads-when-down", "no"},
    {"cluster-allow-replica-migration", "yes"},
    {"cluster-announce-bus-port", "0"},
    {"cluster-announce-hostname", ""},
    {"cluster-announce-ip", ""},
    {"cluster-announce-port", "0"},
    {"cluster-announce-tls-port", "0"},
    {"cluster-config-file", "nodes.conf"},
    {"cluster-enabled", "no"},
    {"cluster-link-sendbuf-limit", "0"},
    {"cluster-migration-barrier", "1"},
    {"cluster-node-timeout", "15000"},
    {"cluster-port", "0"},
    {"cluster-preferred-endpoint-type", "ip"},
    {"cluster-replica-no-failover", "no"},
    {"cluster-replica-validity-factor", "10"},
    {"cluster-require-full-coverage", "yes"},
    {"crash-log-enabled", "yes"},
    {"crash-memcheck-enabled", "yes"},
    {"disable-thp", "yes"},
    {"dynamic-hz", "yes"},
    {"ignore-warnings", ""},
    {"io-threads-do-reads", "no"},
    {"jemalloc-bg-thread", "yes"},
    {"list-compress-depth", "0"},
    {"locale-collate", ""},
    {"loadmodule", ""},
    {"maxmemory-eviction-tenacity", "10"},
    {"oom-score-adj", "no"},
    {"oom-score-adj-values", "0 200 800"},
    {"proc-title-template", "{title} {listen-addr} {server-mode}"},
    {"propagation-error-behavior", "ignore"},
    {"rdb-key-save-delay", "0"},
    {"loading-process-events-interval-bytes", "2097152"},
    {"rename-command", ""},
    {"repl-diskless-load", "disabled"},
    {"replica-announced", "yes"},
    {"replica-ignore-maxmemory", "yes"},
    {"replica-lazy-flush", "no"},
    {"replica-ignore-disk-write-errors", "no"},
    {"sanitize-dump-payload", "no"},
    {"set-proc-title", "yes"},
    {"shutdown-on-sigint", "default"},
    {"shutdown-on-sigterm", "default"},
    {"shutdown-timeout", "10"},
    {"socket-mark-id", "0"},
    {"supervised", "no"},
    {"syslog-enabled", "no"},
    {"syslog-facility", "local0"},
    {"syslog-ident", "redis"},
    {"tls-ciphers", ""},
    {"tls-ciphersuites", ""},
    {"tls-cluster", "no"},
    {"tls-dh-params-file", ""},
    {"tls-prefer-server-ciphers", "no"},
    {"tls-protocols", ""},
    {"tls-session-cache-size", "20480"},
    {"tls-session-cache-timeout", "300"},
    {"tls-session-caching", "yes"},
    {"use-exit-on-panic", "no"},
    {"watchdog-period", "0"},
    {"tcp-user-timeout", "0"}};
const size_t config_kept_count = COUNT(config_kept);

void config_core_register(struct engine *engine) {
    engine->settings.types.list_packed_threshold = 1 << 30;
    config_register(engine, options, COUNT(options));
}

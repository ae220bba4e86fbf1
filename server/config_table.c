/* config_table.c -- the core's options, and those that are only remembered. */
#include "server/config_forms.h"

#include "lib/base/mem.h"
#include "server/acl.h"
#include "server/allocator.h"
#include "server/args.h"
#include "server/client_memory.h"
#include "server/cluster.h"
#include "server/crash.h"
#include "server/evict.h"
#include "server/net.h"
#include "server/oom.h"
#include "server/persistence.h"
#include "server/transport.h"
#include "server/load_team.h"

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
static const char *const diskless_loads[] = {"disabled", "on-empty-db", "swapdb", NULL};
static const char *const versions[] = {"2.8", "3.2", "4.0", "5.0", "6.0", "6.2", "7.0", NULL}; /* enum older_version */
static const char *const fsyncs[] = {"no", "always", "everysec", NULL};
static const char *const pubsub_defaults[] = {"allchannels", "resetchannels", NULL};
static const char *const oom_modes[] = {"no", "yes", "relative", "absolute", NULL};
static const char *const endpoints[] = {"ip", "hostname", "unknown-endpoint", NULL};
static const char *const protections[] = {"no", "yes", "local", NULL};

/* ---- after a change ---- */

static enum err apply_maxmemory_clients(struct engine *engine, struct why *why) {
    (void)why;
    client_memory_recount(engine);
    return OK;
}

static enum err apply_bg_thread(struct engine *engine, struct why *why) {
    (void)why;
    allocator_background(engine->settings.jemalloc_bg_thread);
    return OK;
}

static enum err apply_announced(struct engine *engine, struct why *why) {
    (void)why;
    if (engine->cluster == NULL) return OK;
    cluster_announce(engine);
    cluster_changed(engine);
    return OK;
}

static enum err apply_hostname(struct engine *engine, struct why *why) {
    const char *name = engine->settings.cluster_announce_hostname;
    size_t good = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.");
    if (strlen(name) > CLUSTER_HOSTNAME_MAX)
        return why_set(why, ERR_CONFIG, "Hostnames must be less than 256 characters");
    if (name[good] != '\0')
        return why_set(why, ERR_CONFIG,
                       "Hostnames may only contain alphanumeric characters, hyphens or dots");
    return apply_announced(engine, why);
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

static enum err apply_bind(struct engine *engine, struct why *why) {
    struct why reason = {{0}};
    net_close_listeners(engine, false);
    if (net_listen(engine, &reason) == OK) return OK;
    return why_set(why, ERR_IO, "Failed to bind to specified addresses.");
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
    engine->evicts = true; /* soon, and not as a part of CONFIG SET */
    return OK;
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
    TLS_OPTION("tls-protocols", tls_protocols),
    TLS_OPTION("tls-ciphers", tls_ciphers),
    TLS_OPTION("tls-ciphersuites", tls_ciphersuites),
    TLS_OPTION("tls-dh-params-file", tls_dh_params_file),
    TLS_OPTION("tls-key-file-pass", tls_key_file_pass),
    TLS_OPTION("tls-client-key-file-pass", tls_client_key_file_pass),
    {.name = "tls-prefer-server-ciphers",
     .kind = CONFIG_BOOL,
     .offset = AT(tls_prefer_server_ciphers),
     .fallback = "no",
     .apply = transport_configure},
    {.name = "tls-session-caching",
     .kind = CONFIG_BOOL,
     .offset = AT(tls_session_caching),
     .fallback = "yes",
     .apply = transport_configure},
    {.name = "tls-session-cache-size",
     .kind = CONFIG_INT,
     .offset = AT(tls_session_cache_size),
     .max = INT_MAX,
     .fallback = "20480",
     .apply = transport_configure},
    {.name = "tls-session-cache-timeout",
     .kind = CONFIG_INT,
     .offset = AT(tls_session_cache_timeout),
     .max = INT_MAX,
     .fallback = "300",
     .apply = transport_configure},
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
     .apply = apply_bind},
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
     .read = config_read_password,
     .write = config_write_password,
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
     .read = config_read_maxmemory_clients,
     .write = config_write_maxmemory_clients,
     .fallback = "0",
     .apply = apply_maxmemory_clients},
    {.name = "client-output-buffer-limit",
     .kind = CONFIG_CUSTOM,
     .flags = CONFIG_MULTI,
     .read = config_read_limits,
     .write = config_write_limits,
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
     .kind = CONFIG_CUSTOM,
     .read = config_read_loglevel,
     .write = config_write_loglevel,
     .fallback = "notice"},
    {.name = "dir",
     .kind = CONFIG_TEXT,
     .flags = CONFIG_PROTECTED | CONFIG_SETTLED,
     .offset = AT(dir),
     .fallback = ".",
     .apply = apply_dir},
    {.name = "metrics",
     .kind = CONFIG_TEXT,
     .flags = CONFIG_FIXED | CONFIG_HIDDEN,
     .offset = AT(metrics),
     .fallback = ""},
    TEXT_OPTION("bind-source-addr", bind_source_addr, ""),
    {.name = "shutdown-on-sigint",
     .kind = CONFIG_CUSTOM,
     .flags = CONFIG_MULTI,
     .read = config_read_on_sigint,
     .write = config_write_on_sigint,
     .fallback = "default"},
    {.name = "shutdown-on-sigterm",
     .kind = CONFIG_CUSTOM,
     .flags = CONFIG_MULTI,
     .read = config_read_on_sigterm,
     .write = config_write_on_sigterm,
     .fallback = "default"},
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
    /* cluster mode: cluster.h */
    {.name = "cluster-enabled",
     .kind = CONFIG_BOOL,
     .flags = CONFIG_FIXED,
     .offset = AT(cluster_enabled),
     .fallback = "no"},
    {.name = "cluster-config-file",
     .kind = CONFIG_TEXT,
     .flags = CONFIG_FIXED,
     .offset = AT(cluster_config_file),
     .fallback = "nodes.conf"},
    BOOL_OPTION("cluster-require-full-coverage", cluster_require_full_coverage, "yes"),
    BOOL_OPTION("cluster-allow-reads-when-down", cluster_allow_reads_when_down, "no"),
    BOOL_OPTION("cluster-allow-pubsubshard-when-down", cluster_allow_pubsubshard_when_down, "yes"),
    {.name = "cluster-announce-ip",
     .kind = CONFIG_TEXT,
     .offset = AT(cluster_announce_ip),
     .fallback = "",
     .apply = apply_announced},
    {.name = "cluster-announce-port",
     .kind = CONFIG_INT,
     .offset = AT(cluster_announce_port),
     .max = 65535,
     .fallback = "0",
     .apply = apply_announced},
    {.name = "cluster-announce-tls-port",
     .kind = CONFIG_INT,
     .offset = AT(cluster_announce_tls_port),
     .max = 65535,
     .fallback = "0",
     .apply = apply_announced},
    {.name = "cluster-announce-hostname",
     .kind = CONFIG_TEXT,
     .offset = AT(cluster_announce_hostname),
     .fallback = "",
     .apply = apply_hostname},
    ENUM_OPTION("cluster-preferred-endpoint-type", cluster_preferred_endpoint_type, endpoints,
                "ip"),
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
    {.name = "jemalloc-bg-thread",
     .kind = CONFIG_BOOL,
     .offset = AT(jemalloc_bg_thread),
     .fallback = "yes",
     .apply = apply_bg_thread},
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
     .read = config_read_events,
     .write = config_write_events,
     .fallback = ""},
    BOOL_OPTION("import-mode", import_mode, "no"),
    {.name = "crash-log-enabled",
     .kind = CONFIG_BOOL,
     .offset = AT(crash_log_enabled),
     .fallback = "yes",
     .apply = crash_apply},
    {.name = "oom-score-adj",
     .kind = CONFIG_ENUM,
     .offset = AT(oom_score_adj),
     .names = oom_modes,
     .fallback = "no",
     .apply = oom_apply},
    {.name = "oom-score-adj-values",
     .kind = CONFIG_CUSTOM,
     .flags = CONFIG_MULTI,
     .read = oom_read_values,
     .write = oom_write_values,
     .fallback = "0 200 800",
     .apply = oom_apply},
    {.name = "rdb-key-save-delay",
     .kind = CONFIG_INT,
     .flags = CONFIG_HIDDEN,
     .offset = AT(rdb_key_save_delay_us),
     .min = INT_MIN,
     .max = INT_MAX,
     .fallback = "0"},
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
    INT_OPTION("shutdown-timeout", shutdown_timeout_s, 0, INT_MAX, "10"),
    BOOL_OPTION("latency-tracking", latency_tracking, "yes"),
    {.name = "latency-tracking-info-percentiles",
     .kind = CONFIG_CUSTOM,
     .flags = CONFIG_MULTI,
     .read = config_read_percentiles,
     .write = config_write_percentiles,
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
    INT_OPTION("rdb-version", rdb_version, 6, RDB_VERSION_WRITTEN, "10"),
    INT_OPTION("rdb-load-threads", rdb_load_threads, 0, LOAD_THREADS_MAX, "0"),
    BOOL_OPTION("rdb-del-sync-files", rdb_del_sync_files, "no"),
    {.name = "appendonly",
     .kind = CONFIG_BOOL,
     .flags = CONFIG_SETTLED,
     .offset = AT(appendonly),
     .fallback = "no",
     .apply = persistence_apply_appendonly,
     .prepare = persistence_waits_to_open,
     .settle = persistence_answers_later},
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
    INT_OPTION("aof-patience-ms", aof_patience_ms, 0, INT_MAX, "50"),
    MEMORY_OPTION("aof-buffer-memory", aof_buffer_memory, 1 << 20, LONG_MAX, "256mb"),
    BOOL_OPTION("aof-load-to-the-break", aof_load_to_the_break, "no"),
    BOOL_OPTION("aof-load-truncated", aof_load_truncated, "yes"),
    BOOL_OPTION("aof-use-rdb-preamble", aof_use_rdb_preamble, "yes"),
    BOOL_OPTION("aof-timestamp-enabled", aof_timestamp_enabled, "no"),
    {.name = "aof-disable-auto-gc",
     .kind = CONFIG_BOOL,
     .offset = AT(aof_disable_auto_gc),
     .fallback = "no",
     .apply = persistence_apply_auto_gc},
    BOOL_OPTION("aof-rewrite-incremental-fsync", aof_rewrite_incremental_fsync, "yes"),
    BOOL_OPTION("no-appendfsync-on-rewrite", no_appendfsync_on_rewrite, "no"),
    INT_OPTION("auto-aof-rewrite-percentage", auto_aof_rewrite_percentage, 0, INT_MAX, "100"),
    MEMORY_OPTION("auto-aof-rewrite-min-size", auto_aof_rewrite_min_size, 0, LONG_MAX, "64mb"),
    {.name = "replicaof",
     .alias = "slaveof",
     .kind = CONFIG_CUSTOM,
     .flags = CONFIG_FIXED | CONFIG_MULTI,
     .read = config_read_replicaof,
     .write = config_write_replicaof,
     .fallback = ""},
    {.name = "masterauth",
     .kind = CONFIG_CUSTOM,
     .flags = CONFIG_SECRET,
     .read = config_read_masterauth,
     .write = config_write_masterauth,
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
    {.name = "replica-ignore-maxmemory",
     .alias = "slave-ignore-maxmemory",
     .kind = CONFIG_BOOL,
     .offset = AT(replica_ignore_maxmemory),
     .fallback = "yes"},
    BOOL_OPTION("repl-diskless-sync", repl_diskless_sync, "yes"),
    BOOL_OPTION("repl-disable-tcp-nodelay", repl_disable_tcp_nodelay, "no"),
    INT_OPTION("repl-diskless-sync-delay", repl_diskless_sync_delay_s, 0, INT_MAX, "0"),
    INT_OPTION("repl-diskless-sync-max-replicas", repl_diskless_sync_max_replicas, 0, INT_MAX, "0"),
    ENUM_OPTION("oldest-replica", oldest_replica, versions, "7.0"),
    ENUM_OPTION("repl-diskless-load", repl_diskless_load, diskless_loads, "disabled"),
    {.name = "repl-ping-replica-period",
     .alias = "repl-ping-slave-period",
     .kind = CONFIG_INT,
     .offset = AT(repl_ping_replica_period_s),
     .min = 1,
     .max = INT_MAX,
     .fallback = "10"},
    INT_OPTION("repl-timeout", repl_timeout_s, 1, INT_MAX, "60"),
    MEMORY_OPTION("repl-backlog-size", repl_backlog_size, 1, LONG_MAX, "1mb"),
    MEMORY_OPTION("repl-backlog-memory", repl_backlog_memory, 0, LONG_MAX, "64mb"),
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
    BOOL_OPTION("replica-announced", replica_announced, "yes"),
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
     .read = config_read_save,
     .write = config_write_save,
     .fallback = "3600 1 300 100 60 10000"},
};

const struct config_kept config_kept[] = {
    {"activedefrag", "no", NULL},
    {"active-defrag-cycle-max", "25", NULL},
    {"active-defrag-cycle-min", "1", NULL},
    {"active-defrag-ignore-bytes", "104857600", NULL},
    {"active-defrag-max-scan-fields", "1000", NULL},
    {"active-defrag-threshold-lower", "10", NULL},
    {"active-defrag-threshold-upper", "100", NULL},
    {"activerehashing", "yes", NULL},
    {"always-show-logo", "no", NULL},
    {"aof_rewrite_cpulist", "", NULL},
    {"bgsave_cpulist", "", NULL},
    {"bio_cpulist", "", NULL},
    {"server_cpulist", "", NULL},
    {"cluster-allow-replica-migration", "yes", NULL},
    {"cluster-announce-bus-port", "0", NULL},
    {"cluster-link-sendbuf-limit", "0", NULL},
    {"cluster-migration-barrier", "1", NULL},
    {"cluster-node-timeout", "15000", NULL},
    {"cluster-port", "0", NULL},
    {"cluster-replica-no-failover", "no", "cluster-slave-no-failover"},
    {"cluster-replica-validity-factor", "10", "cluster-slave-validity-factor"},
    {"crash-memcheck-enabled", "yes", NULL},
    {"disable-thp", "yes", NULL},
    {"dynamic-hz", "yes", NULL},
    {"ignore-warnings", "", NULL},
    {"io-threads-do-reads", "no", NULL},
    {"list-compress-depth", "0", NULL},
    {"locale-collate", "", NULL},
    {"loadmodule", "", NULL},
    {"maxmemory-eviction-tenacity", "10", NULL},
    {"proc-title-template", "{title} {listen-addr} {server-mode}", NULL},
    {"propagation-error-behavior", "ignore", NULL},
    {"loading-process-events-interval-bytes", "2097152", NULL},
    {"replica-lazy-flush", "no", "slave-lazy-flush"},
    {"replica-ignore-disk-write-errors", "no", NULL},
    {"sanitize-dump-payload", "no", NULL},
    {"set-proc-title", "yes", NULL},
    {"socket-mark-id", "0", NULL},
    {"supervised", "no", NULL},
    {"syslog-enabled", "no", NULL},
    {"syslog-facility", "local0", NULL},
    {"syslog-ident", "redis", NULL},
    {"tls-cluster", "no", NULL},
    {"use-exit-on-panic", "no", NULL},
    {"watchdog-period", "0", NULL},
    {"tcp-user-timeout", "0", NULL}};
const size_t config_kept_count = COUNT(config_kept);

void config_core_register(struct engine *engine) {
    engine->settings.types.list_packed_threshold = 1 << 30;
    config_register(engine, options, COUNT(options));
}

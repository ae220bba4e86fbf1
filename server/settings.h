/* settings.h -- the values of all options that the server obeys, in one flat struct.
 *
 * config.c has the table that names them (redis.conf, CONFIG, command line). Read them where they
 * are needed: a change by CONFIG SET is seen at once.
 */
#ifndef SERVER_SETTINGS_H
#define SERVER_SETTINGS_H

#include "server/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct output_limit {
    int64_t hard_bytes, soft_bytes, soft_seconds; /* 0: none */
};
enum output_class { OUTPUT_NORMAL, OUTPUT_REPLICA, OUTPUT_PUBSUB, OUTPUT_CLASSES };
#define SAVE_POINTS_MAX 16
#define LATENCY_PERCENTILES_MAX 32

enum maxmemory_policy {
    EVICT_VOLATILE_LRU,
    EVICT_VOLATILE_LFU,
    EVICT_VOLATILE_RANDOM,
    EVICT_VOLATILE_TTL,
    EVICT_ALLKEYS_LRU,
    EVICT_ALLKEYS_LFU,
    EVICT_ALLKEYS_RANDOM,
    EVICT_NOTHING
};
enum acl_pubsub_default { ACL_PUBSUB_ALLCHANNELS, ACL_PUBSUB_RESETCHANNELS };
enum tls_clients { TLS_CLIENTS_NO, TLS_CLIENTS_YES, TLS_CLIENTS_OPTIONAL };
enum appendfsync { APPENDFSYNC_NO, APPENDFSYNC_ALWAYS, APPENDFSYNC_EVERYSEC };

/* Texts are owned by the struct (mem_free), never NULL. Times end in their unit. */
struct settings {
    /* the network */
    int64_t port, tls_port, tcp_backlog, timeout_s, tcp_keepalive_s, maxclients;
    char *bind; /* addresses, separated by spaces; one that begins with '-' may fail */
    char *unixsocket;
    int64_t unixsocketperm;
    bool protected_mode;
    char *tls_cert_file, *tls_key_file, *tls_client_cert_file, *tls_client_key_file,
        *tls_ca_cert_file, *tls_ca_cert_dir, *tls_protocols, *tls_ciphers, *tls_ciphersuites,
        *tls_dh_params_file, *tls_key_file_pass, *tls_client_key_file_pass;
    int64_t tls_auth_clients; /* enum tls_clients */
    bool tls_replication, tls_prefer_server_ciphers, tls_session_caching;
    int64_t tls_session_cache_size, tls_session_cache_timeout;
    char *aclfile; /* empty: none */
    int64_t acl_pubsub_default, acllog_max_len, tracking_table_max_keys;
    char *requirepass;       /* may hold any bytes: */
    size_t requirepass_size; /* bytes */
    int64_t client_query_buffer_limit, proto_max_bulk_len;
    char *bind_source_addr;                          /* of connections to a master; empty: any */
    int64_t shutdown_on_sigint, shutdown_on_sigterm; /* shutdown_flag */
    int64_t shutdown_timeout_s;                      /* how long replicas are waited for */
    int64_t maxmemory_clients; /* bytes; negative: percent of maxmemory; 0: no limit */
    struct output_limit output_limits[OUTPUT_CLASSES];
    /* the process */
    bool daemonize;
    char *pidfile, *logfile, *loglevel, *dir;
    bool crash_log_enabled;
    int64_t oom_score_adj; /* enum oom_mode */
    int64_t oom_score_adj_values[3];
    int64_t key_load_delay_us, rdb_key_save_delay_us; /* for tests */
    char *metrics;                                    /* where /metrics is served; empty: nowhere */
    int64_t hz, io_threads;
    int64_t enable_debug_command, enable_protected_configs,
        enable_module_command; /* no, yes, local */
    /* data */
    int64_t databases, maxmemory, maxmemory_policy, maxmemory_samples, lfu_log_factor,
        lfu_decay_time;
    int64_t active_expire_effort;
    bool lazyfree_lazy_eviction, lazyfree_lazy_expire, lazyfree_lazy_server_del,
        lazyfree_lazy_user_del, lazyfree_lazy_user_flush, jemalloc_bg_thread;
    struct type_limits types;
    int64_t hll_sparse_max_bytes;
    int64_t notify_keyspace_events; /* bits of notify_class */
    bool import_mode;
    /* cluster */
    bool cluster_enabled, cluster_require_full_coverage, cluster_allow_reads_when_down,
        cluster_allow_pubsubshard_when_down;
    char *cluster_config_file, *cluster_announce_ip, *cluster_announce_hostname;
    int64_t cluster_announce_port, cluster_announce_tls_port, cluster_preferred_endpoint_type;
    /* observation */
    int64_t busy_reply_threshold_ms, lua_memory_limit;
    int64_t slowlog_log_slower_than_us, slowlog_max_len, latency_monitor_threshold_ms;
    bool latency_tracking;
    double latency_percentiles[LATENCY_PERCENTILES_MAX];
    int latency_percentile_count;
    /* persistence and replication: obeyed by their own files */
    struct save_point {
        int64_t seconds, changes;
    } save_points[SAVE_POINTS_MAX];
    int save_count;
    char *dbfilename;
    bool rdbcompression, rdbchecksum, stop_writes_on_bgsave_error, rdb_save_incremental_fsync,
        rdb_del_sync_files;
    int64_t rdb_version;      /* of what is written for others to load */
    int64_t rdb_load_threads; /* 0: by the cores */
    bool appendonly;
    int64_t appendfsync;
    char *appendfilename, *appenddirname;
    bool aof_load_truncated, aof_load_to_the_break, aof_use_rdb_preamble, aof_timestamp_enabled,
        aof_disable_auto_gc, aof_rewrite_incremental_fsync, no_appendfsync_on_rewrite;
    int64_t aof_patience_ms, aof_buffer_memory; /* aof.h */
    int64_t auto_aof_rewrite_percentage, auto_aof_rewrite_min_size;
    char *replicaof; /* "host port", or empty */
    char *masterauth, *masteruser;
    size_t masterauth_size; /* bytes; it may hold any */
    bool replica_serve_stale_data, replica_read_only, replica_ignore_maxmemory, replica_announced,
        repl_diskless_sync, repl_disable_tcp_nodelay;
    int64_t repl_diskless_sync_delay_s, repl_diskless_sync_max_replicas, repl_ping_replica_period_s,
        repl_timeout_s, repl_backlog_size, repl_backlog_memory, repl_backlog_ttl_s,
        replica_priority, min_replicas_to_write, min_replicas_max_lag_s;
    char *replica_announce_ip;
    int64_t replica_announce_port;
    int64_t repl_diskless_load; /* enum diskless_load (master_load.c) */
    int64_t oldest_replica;     /* enum older_version */
};

#endif

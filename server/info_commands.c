/* info_commands.c -- INFO: sections in Redis's words, so that tools find what they look for. */
#include "lib/base/mem.h"
#include "lib/base/version.h"
#include "server/args.h"
#include "server/block.h"
#include "server/errors.h"
#include "server/gates.h"
#include "server/groups.h"
#include "server/helper.h"
#include "server/latency.h"
#include "server/memory_report.h"
#include "server/migrate_socket.h"
#include "server/net.h"
#include "server/pubsub.h"
#include "server/replica_expiry.h"
#include "server/reply.h"
#include "server/shutdown.h"
#include "server/tracking.h"
#include "server/script.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#define LL(x) ((long long)(x))

static const char *program_path(void) {
    static char path[4096];
    ssize_t size = path[0] ? 0 : readlink("/proc/self/exe", path, sizeof path - 1);
    if (size > 0) path[size] = '\0';
    return path;
}

static void info_server(struct engine *engine, struct buf *out) {
    struct utsname name = {0};
    (void)uname(&name);
    int64_t up_s = (engine->now_ms - engine->started_ms) / 1000;
    buf_printf(
        out,
        "redis_version:%s\r\nredis_git_sha1:00000000\r\nredis_git_dirty:0\r\nredis_build_id:"
        "0\r\nredis_mode:%s\r\n"
        "os:%s %s "
        "%s\r\narch_bits:64\r\nmonotonic_clock:POSIX clock_gettime\r\nmultiplexing_api:epoll\r\n"
        "atomicvar_api:c11-builtin\r\n",
        SERVER_VERSION, engine->cluster ? "cluster" : "standalone", name.sysname, name.release, name.machine);
    buf_printf(out,
               "gcc_version:%d.%d.%d\r\nprocess_id:%d\r\nprocess_supervised:no\r\nrun_id:%s\r\ntcp_"
               "port:%d\r\n",
               __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__, (int)getpid(), engine->run_id,
               net_port(engine));
    buf_printf(out,
               "server_time_usec:%lld\r\nuptime_in_seconds:%lld\r\nuptime_in_days:%lld\r\nhz:%"
               "lld\r\nconfigured_hz:%lld\r\nlru_clock:%lld\r\n"
               "executable:%s\r\nconfig_file:%s\r\nio_threads_active:0\r\n"
               "server_name:drawbridge\r\ndrawbridge_version:" DRAWBRIDGE_VERSION "\r\n",
               LL(engine->now_ms * 1000), LL(up_s), LL(up_s / 86400), LL(engine->settings.hz),
               LL(engine->settings.hz), LL(engine->now_ms / 1000 & 0xffffff), program_path(),
               engine->config_file ? engine->config_file : "");
    if (shutdown_end_ms(engine))
        buf_printf(out, "shutdown_in_milliseconds:%lld\r\n",
                   LL(shutdown_end_ms(engine) - engine->now_ms));
}

static void info_clients(struct engine *engine, struct buf *out) {
    size_t in_max = 0, out_max = 0, normal = 0, blocked = block_count(engine);
    for (const struct client *c = engine->clients; c; c = c->next) {
        if (c->in.cap > in_max) in_max = c->in.cap;
        if (buf_size(&c->out) > out_max) out_max = buf_size(&c->out);
        normal += !(c->flags & CLIENT_REPLICA);
        blocked += (c->flags & CLIENT_PAUSED) != 0;
    }
    buf_printf(
        out,
        "connected_clients:%zu\r\ncluster_connections:0\r\nmaxclients:%lld\r\nclient_recent_"
        "max_input_buffer:%zu\r\n"
        "client_recent_max_output_buffer:%zu\r\nblocked_clients:%zu\r\ntracking_clients:%llu\r\n"
        "clients_in_timeout_table:%zu\r\n",
        normal, LL(engine->settings.maxclients), in_max, out_max, blocked,
        (unsigned long long)tracking_totals(engine).clients, block_count(engine));
}

static void human(char *text, size_t room, size_t bytes) {
    static const char units[] = "BKMGT";
    double value = (double)bytes;
    int unit = 0;
    while (value >= 1024 && unit < 4) value /= 1024, unit++;
    if (unit == 0)
        snprintf(text, room, "%zuB", bytes);
    else
        snprintf(text, room, "%.2f%c", value, units[unit]);
}

static void memory_line(struct buf *out, const char *name, size_t bytes) {
    char text[32];
    human(text, sizeof text, bytes);
    buf_printf(out, "%s:%zu\r\n%s_human:%s\r\n", name, bytes, name, text);
}

static void info_memory(struct engine *engine, struct buf *out) {
    static const char *const policies[] = {"volatile-lru",   "volatile-lfu", "volatile-random",
                                           "volatile-ttl",   "allkeys-lru",  "allkeys-lfu",
                                           "allkeys-random", "noeviction"};
    struct memory_report r;
    memory_report(engine, &r);
    memory_line(out, "used_memory", r.used);
    memory_line(out, "used_memory_rss", r.rss);
    memory_line(out, "used_memory_peak", r.peak);
    buf_printf(out,
               "used_memory_peak_perc:%.2f%%\r\nused_memory_overhead:%zu\r\n"
               "used_memory_startup:%zu\r\nused_memory_dataset:%zu\r\n"
               "used_memory_dataset_perc:%.2f%%\r\nallocator_allocated:%zu\r\n"
               "allocator_active:%zu\r\nallocator_resident:%zu\r\n",
               memory_ratio(r.used, r.peak) * 100, r.overhead, r.startup, r.dataset,
               memory_dataset_percent(&r), r.allocated, r.active, r.resident);
    memory_line(out, "total_system_memory",
                (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE));
    script_info(engine, out);
    memory_line(out, "maxmemory", (size_t)engine->settings.maxmemory);
    buf_printf(out,
               "maxmemory_policy:%s\r\nallocator_frag_ratio:%.2f\r\nallocator_frag_bytes:%zu\r\n"
               "allocator_rss_ratio:%.2f\r\nallocator_rss_bytes:%lld\r\n"
               "rss_overhead_ratio:%.2f\r\nrss_overhead_bytes:%lld\r\n"
               "mem_fragmentation_ratio:%.2f\r\nmem_fragmentation_bytes:%lld\r\n",
               policies[engine->settings.maxmemory_policy], memory_ratio(r.active, r.allocated),
               r.active - r.allocated, memory_ratio(r.resident, r.active),
               LL(r.resident) - LL(r.active), memory_ratio(r.rss, r.resident),
               LL(r.rss) - LL(r.resident), memory_ratio(r.rss, r.used), LL(r.rss) - LL(r.used));
    buf_printf(out,
               "mem_not_counted_for_evict:%zu\r\nmem_replication_backlog:%zu\r\n"
               "mem_total_replication_buffers:%zu\r\nmem_clients_slaves:%zu\r\n"
               "mem_clients_normal:%zu\r\nmem_cluster_links:0\r\nmem_aof_buffer:%zu\r\n"
               "mem_allocator:jemalloc\r\nactive_defrag_running:0\r\n"
               "lazyfree_pending_objects:%zu\r\nlazyfreed_objects:%llu\r\n",
               r.unsent + r.aof + r.snapshots, r.backlog, r.backlog + r.unsent, r.replicas, r.clients,
               r.aof, helper_pending(),
               (unsigned long long)engine->stats.lazyfreed);
}

static void info_persistence(struct engine *engine, struct buf *out) {
    buf_printf(out, "loading:%d\r\nasync_loading:%d\r\n", engine->loading,
               engine->async_loading);
    hooks_info(engine, "persistence", out);
}

static void count_line(struct buf *out, const char *name, uint64_t count) {
    buf_printf(out, "%s:%llu\r\n", name, (unsigned long long)count);
}

static void rate_line(struct buf *out, const char *name, double bytes_per_second) {
    buf_printf(out, "%s:%.2f\r\n", name, bytes_per_second / 1024);
}

/* In Redis's order; zero is what we do not do: forks, defragmentation, threads for input. */
static void info_stats(struct engine *engine, struct buf *out) {
    const struct engine_stats *s = &engine->stats;
    const struct engine_rate *rate = &engine->rate;
    struct tracking_totals tracked = tracking_totals(engine);
    size_t topics[3];
    pubsub_totals(engine, topics);
    count_line(out, "total_connections_received", s->connections);
    count_line(out, "total_commands_processed", s->commands);
    count_line(out, "instantaneous_ops_per_sec", (uint64_t)s->ops_per_second);
    count_line(out, "total_net_input_bytes", s->net_in_bytes);
    count_line(out, "total_net_output_bytes", s->net_out_bytes);
    count_line(out, "total_net_repl_input_bytes", s->repl_in_bytes);
    count_line(out, "total_net_repl_output_bytes", s->repl_out_bytes);
    rate_line(out, "instantaneous_input_kbps", rate->in_per_second);
    rate_line(out, "instantaneous_output_kbps", rate->out_per_second);
    rate_line(out, "instantaneous_input_repl_kbps", rate->repl_in_per_second);
    rate_line(out, "instantaneous_output_repl_kbps", rate->repl_out_per_second);
    count_line(out, "rejected_connections", s->rejected_connections);
    hooks_info(engine, "stats", out);
    count_line(out, "expired_keys", s->expired);
    buf_printf(out, "expired_stale_perc:0.00\r\n");
    count_line(out, "expired_time_cap_reached_count", s->expired_time_cap_reached);
    count_line(out, "expire_cycle_cpu_milliseconds", s->expire_cycle_us / 1000);
    count_line(out, "evicted_keys", s->evicted);
    count_line(out, "evicted_clients", s->evicted_clients);
    buf_printf(out, "total_eviction_exceeded_time:0\r\ncurrent_eviction_exceeded_time:0\r\n");
    count_line(out, "keyspace_hits", s->hits);
    count_line(out, "keyspace_misses", s->misses);
    count_line(out, "pubsub_channels", topics[0]);
    count_line(out, "pubsub_patterns", topics[1]);
    count_line(out, "pubsubshard_channels", topics[2]);
    buf_printf(out, "latest_fork_usec:0\r\ntotal_forks:0\r\n");
    count_line(out, "migrate_cached_sockets", migrate_sockets_count(engine));
    count_line(out, "slave_expires_tracked_keys", replica_expiry_count(engine));
    buf_printf(out, "active_defrag_hits:0\r\n"
                    "active_defrag_misses:0\r\nactive_defrag_key_hits:0\r\n"
                    "active_defrag_key_misses:0\r\ntotal_active_defrag_time:0\r\n"
                    "current_active_defrag_time:0\r\n");
    count_line(out, "tracking_total_keys", tracked.keys);
    count_line(out, "tracking_total_items", tracked.items);
    count_line(out, "tracking_total_prefixes", tracked.prefixes);
    count_line(out, "unexpected_error_replies", s->unexpected_errors);
    count_line(out, "total_error_replies", s->errors);
    buf_printf(out, "dump_payload_sanitizations:0\r\n");
    count_line(out, "total_reads_processed", s->reads);
    count_line(out, "total_writes_processed", s->writes);
    buf_printf(out, "io_threaded_reads_processed:0\r\nio_threaded_writes_processed:0\r\n");
    count_line(out, "reply_buffer_shrinks", s->output_shrinks);
    buf_printf(out, "reply_buffer_expands:0\r\n");
}

static void info_replication(struct engine *engine, struct buf *out) {
    size_t before = buf_size(out);
    hooks_info(engine, "replication", out);
    if (buf_size(out) == before)
        buf_printf(out,
                   "role:master\r\nconnected_slaves:0\r\nmaster_failover_state:no-"
                   "failover\r\nmaster_replid:%s\r\nmaster_repl_offset:0\r\n",
                   engine->run_id);
}

static void info_cpu(struct engine *engine, struct buf *out) {
    struct rusage self, children, thread;
    (void)engine;
    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &children);
    getrusage(RUSAGE_THREAD, &thread);
    buf_printf(out,
               "used_cpu_sys:%ld.%06ld\r\nused_cpu_user:%ld.%06ld\r\nused_cpu_sys_children:%ld.%"
               "06ld\r\nused_cpu_user_children:%ld.%06ld\r\nused_cpu_sys_main_thread:%ld.%06ld\r\n"
               "used_cpu_user_main_thread:%ld.%06ld\r\n",
               self.ru_stime.tv_sec, self.ru_stime.tv_usec, self.ru_utime.tv_sec,
               self.ru_utime.tv_usec, children.ru_stime.tv_sec, children.ru_stime.tv_usec,
               children.ru_utime.tv_sec, children.ru_utime.tv_usec, thread.ru_stime.tv_sec,
               thread.ru_stime.tv_usec, thread.ru_utime.tv_sec, thread.ru_utime.tv_usec);
}

static void info_modules(struct engine *engine, struct buf *out) {
    (void)engine;
    (void)out;
}

static void info_commandstats(struct engine *engine, struct buf *out) {
    for (size_t i = 0; i < command_count; i++) {
        const struct command_use *use = &engine->uses[i];
        if (use->calls == 0 && use->rejected == 0) continue;
        buf_printf(out,
                   "cmdstat_%s:calls=%llu,usec=%llu,usec_per_call=%.2f,rejected_calls=%llu,failed_"
                   "calls=%llu\r\n",
                   command_at(i)->name, (unsigned long long)use->calls,
                   (unsigned long long)use->micros,
                   use->calls ? (double)use->micros / (double)use->calls : 0,
                   (unsigned long long)use->rejected, (unsigned long long)use->failed);
    }
}

static void info_cluster(struct engine *engine, struct buf *out) {
    buf_printf(out, "cluster_enabled:%d\r\n", engine->cluster != NULL);
}

static void info_keyspace(struct engine *engine, struct buf *out) {
    for (int i = 0; i < engine->db_count; i++) {
        uint64_t keys = db_size(&engine->dbs[i]);
        if (keys > 0)
            buf_printf(out, "db%d:keys=%llu,expires=%llu,avg_ttl=%lld\r\n", i,
                       (unsigned long long)keys, (unsigned long long)engine->dbs[i].expires,
                       LL(engine->dbs[i].avg_ttl_ms));
    }
}

static const struct section {
    const char *name, *title;
    bool by_default;
    void (*write)(struct engine *engine, struct buf *out);
} sections[] = {{"server", "Server", true, info_server},
                {"clients", "Clients", true, info_clients},
                {"memory", "Memory", true, info_memory},
                {"persistence", "Persistence", true, info_persistence},
                {"stats", "Stats", true, info_stats},
                {"replication", "Replication", true, info_replication},
                {"cpu", "CPU", true, info_cpu},
                {"modules", "Modules", true, info_modules},
                {"commandstats", "Commandstats", false, info_commandstats},
                {"errorstats", "Errorstats", true, errors_info},
                {"latencystats", "Latencystats", false, latency_info},
                {"cluster", "Cluster", true, info_cluster},
                {"keyspace", "Keyspace", true, info_keyspace}};

static bool asked_for(const struct client *c, const struct section *section) {
    if (c->argc == 1) return section->by_default;
    for (int i = 1; i < c->argc; i++) {
        if (arg_is(c->argv[i], "all") || arg_is(c->argv[i], "everything")) return true;
        if (arg_is(c->argv[i], "default") && section->by_default) return true;
        if (arg_is(c->argv[i], section->name)) return true;
    }
    return false;
}

static void run_info(struct client *c) {
    struct buf out = {0};
    for (size_t i = 0; i < COUNT(sections); i++) {
        if (!asked_for(c, &sections[i])) continue;
        buf_printf(&out, "%s# %s\r\n", buf_size(&out) ? "\r\n" : "", sections[i].title);
        sections[i].write(c->engine, &out);
    }
    reply_verbatim(c, "txt", buf_slice(&out));
    buf_close(&out);
}

void info_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"info", run_info}};
    command_bind(engine, bindings, COUNT(bindings));
}

/* metrics.c -- /metrics of the server: what is sampled, and how it is called. See metrics.h. */
#include "server/metrics.h"

#include "lib/base/mem.h"
#include "lib/net/metrics_http.h"
#include "server/aof.h"
#include "server/block.h"
#include "server/persistence.h"
#include "server/replication.h"

#define LONGEST_KEPT_US 60000000u /* how long the longest turn is remembered, and up to twice that */

struct engine_metrics {
    struct metrics_http *http;
    struct hist turns_us;
    uint64_t turn_ended_ns, idle_ns; /* of the loop, when the last turn ended; 0: none has */
    uint64_t longest_us, longest_before_us, longest_since_us;
    struct counter sampled_ms, longest_seen_us;
    struct counter keys, expiring_keys;
    struct counter memory, memory_peak, memory_limit;
    struct counter clients, blocked, connections, rejected;
    struct counter commands, errors, hits, misses, expired, evicted, in_bytes, out_bytes;
    struct counter is_master, replicas, offset, master_up, master_silent_ms, full_syncs,
        partial_syncs, refused_syncs;
    struct counter loading, loading_total, loading_done, dirty, saving, last_save_ms, last_save_ok;
    struct counter aof_on, aof_ok, aof_appended, aof_synced;
};

#define AT(field) offsetof(struct engine_metrics, field)
#define NAME(rest) "drawbridge_server_" rest
static const struct metric table[] = {
    {NAME("sampled_timestamp_seconds"), METRIC_GAUGE, "When the engine last wrote these figures.",
     AT(sampled_ms), 1e-3},
    {NAME("longest_turn_seconds"), METRIC_GAUGE,
     "The longest turn of the engine in the last one to two minutes.", AT(longest_seen_us), 1e-6},
    {NAME("keys"), METRIC_GAUGE, "Keys in all databases.", AT(keys), 1},
    {NAME("expiring_keys"), METRIC_GAUGE, "Keys that have an expiry time.", AT(expiring_keys), 1},
    {NAME("memory_used_bytes"), METRIC_GAUGE, "Memory in use, as the allocator counts it.",
     AT(memory), 1},
    {NAME("memory_peak_bytes"), METRIC_GAUGE, "The most that was in use.", AT(memory_peak), 1},
    {NAME("memory_limit_bytes"), METRIC_GAUGE, "maxmemory; 0: none.", AT(memory_limit), 1},
    {NAME("clients"), METRIC_GAUGE, "Connections, replicas included.", AT(clients), 1},
    {NAME("blocked_clients"), METRIC_GAUGE, "Clients that wait in a blocking command.", AT(blocked),
     1},
    {NAME("connections_total"), METRIC_COUNTER, "Connections accepted.", AT(connections), 1},
    {NAME("rejected_connections_total"), METRIC_COUNTER, "Connections refused by maxclients.",
     AT(rejected), 1},
    {NAME("commands_total"), METRIC_COUNTER, "Commands executed.", AT(commands), 1},
    {NAME("error_replies_total"), METRIC_COUNTER, "Error replies.", AT(errors), 1},
    {NAME("keyspace_hits_total"), METRIC_COUNTER, "Reads of keys that were there.", AT(hits), 1},
    {NAME("keyspace_misses_total"), METRIC_COUNTER, "Reads of keys that were not.", AT(misses), 1},
    {NAME("expired_keys_total"), METRIC_COUNTER, "Keys that expired.", AT(expired), 1},
    {NAME("evicted_keys_total"), METRIC_COUNTER, "Keys that maxmemory pushed out.", AT(evicted), 1},
    {NAME("net_input_bytes_total"), METRIC_COUNTER, "Bytes read from clients.", AT(in_bytes), 1},
    {NAME("net_output_bytes_total"), METRIC_COUNTER, "Bytes sent to clients.", AT(out_bytes), 1},
    {NAME("is_master"), METRIC_GAUGE, "1: it is a master; 0: it follows one.", AT(is_master), 1},
    {NAME("replicas"), METRIC_GAUGE, "Replicas attached.", AT(replicas), 1},
    {NAME("replication_offset_bytes"), METRIC_GAUGE, "Offset of the replication stream.",
     AT(offset), 1},
    {NAME("master_link_up"), METRIC_GAUGE, "1 while the master is followed.", AT(master_up), 1},
    {NAME("master_silent_seconds"), METRIC_GAUGE, "Since the master said anything.",
     AT(master_silent_ms), 1e-3},
    {NAME("full_syncs_total"), METRIC_COUNTER, "Replicas that got a full copy.", AT(full_syncs), 1},
    {NAME("partial_syncs_total"), METRIC_COUNTER, "Replicas that continued.", AT(partial_syncs), 1},
    {NAME("refused_partial_syncs_total"), METRIC_COUNTER, "Replicas that could not continue.",
     AT(refused_syncs), 1},
    {NAME("loading"), METRIC_GAUGE, "1 while data is being loaded.", AT(loading), 1},
    {NAME("loading_total_bytes"), METRIC_GAUGE, "Bytes of what is, or was last, being loaded.",
     AT(loading_total), 1},
    {NAME("loading_loaded_bytes"), METRIC_GAUGE, "How many of these are loaded.", AT(loading_done),
     1},
    {NAME("unsaved_changes"), METRIC_GAUGE, "Changes since the last RDB was saved.", AT(dirty), 1},
    {NAME("saving"), METRIC_GAUGE, "1 while an RDB is being saved.", AT(saving), 1},
    {NAME("last_save_timestamp_seconds"), METRIC_GAUGE, "When an RDB was last saved.",
     AT(last_save_ms), 1e-3},
    {NAME("last_save_ok"), METRIC_GAUGE, "1: the last save in the background worked.",
     AT(last_save_ok), 1},
    {NAME("aof_enabled"), METRIC_GAUGE, "1: an append-only file is kept.", AT(aof_on), 1},
    {NAME("aof_ok"), METRIC_GAUGE, "0: it cannot be written, and writes are refused.", AT(aof_ok),
     1},
    {NAME("aof_appended_bytes_total"), METRIC_COUNTER, "Bytes appended to it.", AT(aof_appended),
     1},
    {NAME("aof_synced_bytes_total"), METRIC_COUNTER, "How many of these are safe on disk.",
     AT(aof_synced), 1},
};
static const struct metric turn_seconds = {NAME("turn_seconds"), METRIC_HISTOGRAM,
                                           "What one turn of the engine took.", 0, 1e-6};

/* In the thread of the HTTP server. */
static void collect(void *self, struct metrics *metrics) {
    struct engine_metrics *m = self;
    const struct metric_label none = METRIC_LABELS_END;
    metrics_add_table(metrics, table, COUNT(table), m, &none);
    metrics_add_hist(metrics, &turn_seconds, &m->turns_us, NULL, 0, &none);
}

/* ---- turns ---- */

static void note_longest(struct engine_metrics *m, uint64_t now_us, uint64_t took_us) {
    if (now_us - m->longest_since_us > LONGEST_KEPT_US) {
        m->longest_before_us = m->longest_us;
        m->longest_us = 0;
        m->longest_since_us = now_us;
    }
    if (took_us > m->longest_us) m->longest_us = took_us;
}

void server_metrics_turn(struct engine *engine) {
    struct engine_metrics *m = engine->metrics;
    if (m == NULL) return;
    uint64_t now_ns = uv_hrtime(), idle_ns = uv_metrics_idle_time(engine->loop);
    if (m->turn_ended_ns) {
        uint64_t passed_ns = now_ns - m->turn_ended_ns, slept_ns = idle_ns - m->idle_ns;
        uint64_t took_us = passed_ns > slept_ns ? (passed_ns - slept_ns) / 1000 : 0;
        hist_record(&m->turns_us, took_us);
        note_longest(m, now_ns / 1000, took_us);
    }
    m->turn_ended_ns = now_ns;
    m->idle_ns = idle_ns;
}

/* ---- sampling ---- */

static void sample_stats(struct engine_metrics *m, const struct engine_stats *s) {
    counter_set(&m->connections, s->connections);
    counter_set(&m->rejected, s->rejected_connections);
    counter_set(&m->commands, s->commands);
    counter_set(&m->errors, s->errors);
    counter_set(&m->hits, s->hits);
    counter_set(&m->misses, s->misses);
    counter_set(&m->expired, s->expired);
    counter_set(&m->evicted, s->evicted);
    counter_set(&m->in_bytes, s->net_in_bytes);
    counter_set(&m->out_bytes, s->net_out_bytes);
    counter_set(&m->memory_peak, s->memory_peak);
}

static void sample_data(struct engine_metrics *m, struct engine *engine) {
    uint64_t keys = 0, expiring = 0;
    for (int i = 0; i < engine->db_count; i++) {
        keys += db_size(&engine->dbs[i]);
        expiring += engine->dbs[i].expires;
    }
    counter_set(&m->keys, keys);
    counter_set(&m->expiring_keys, expiring);
    counter_set(&m->memory, engine->memory_seen);
    counter_set(&m->memory_limit, (uint64_t)engine->settings.maxmemory);
    counter_set(&m->clients, engine->client_count);
    counter_set(&m->blocked, block_count(engine));
}

static void sample_replication(struct engine_metrics *m, const struct engine *engine) {
    const struct replication *r = replication_of(engine);
    bool is_replica = engine->role == ROLE_REPLICA, up = r->link.state == LINK_CONNECTED;
    uint64_t now_ms = replication_now_ms(r);
    bool is_silent = is_replica && now_ms > r->link.last_io_ms;
    counter_set(&m->is_master, !is_replica);
    counter_set(&m->replicas, r->replica_count);
    counter_set(&m->offset, (uint64_t)r->history.offset);
    counter_set(&m->master_up, is_replica && up);
    counter_set(&m->master_silent_ms, is_silent ? now_ms - r->link.last_io_ms : 0);
    counter_set(&m->full_syncs, r->full_syncs);
    counter_set(&m->partial_syncs, r->partial_syncs);
    counter_set(&m->refused_syncs, r->refused_partial_syncs);
}

static void sample_persistence(struct engine_metrics *m, const struct engine *engine) {
    const struct persistence *p = persistence_of(engine);
    counter_set(&m->loading, engine->loading);
    counter_set(&m->loading_total, p->loading_total_bytes);
    counter_set(&m->loading_done, p->loading_done_bytes);
    counter_set(&m->dirty, engine->dirty);
    counter_set(&m->saving, bgsave_is_running(engine));
    counter_set(&m->last_save_ms, (uint64_t)p->last_save_ms);
    counter_set(&m->last_save_ok, p->last_bgsave_ok);
    counter_set(&m->aof_on, aof_is_on(p->aof));
    counter_set(&m->aof_ok, aof_fault(p->aof) == NULL);
    counter_set(&m->aof_appended, aof_appended(p->aof));
    counter_set(&m->aof_synced, aof_synced(p->aof));
}

void server_metrics_sample(struct engine *engine) {
    struct engine_metrics *m = engine->metrics;
    if (m == NULL) return;
    sample_stats(m, &engine->stats);
    sample_data(m, engine);
    sample_replication(m, engine);
    sample_persistence(m, engine);
    bool before = m->longest_before_us > m->longest_us;
    counter_set(&m->longest_seen_us, before ? m->longest_before_us : m->longest_us);
    counter_set(&m->sampled_ms, (uint64_t)engine->now_ms);
}

enum err server_metrics_open(struct engine *engine, struct why *why) {
    struct endpoint listen;
    if (engine->settings.metrics[0] == '\0') return OK;
    enum err err = endpoint_parse(&listen, engine->settings.metrics, 0, why);
    if (err) return why_add(why, err, "metrics");
    struct engine_metrics *m = NEW(struct engine_metrics);
    (void)uv_loop_configure(engine->loop, UV_METRICS_IDLE_TIME);
    engine->metrics = m;
    server_metrics_sample(engine);
    err = metrics_http_open(&m->http, &listen, "server", collect, m, why);
    if (!err) {
        engine_hook_add(engine, HOOK_TICK, server_metrics_sample);
        return OK;
    }
    engine->metrics = NULL;
    mem_free(m);
    return err;
}

void server_metrics_close(struct engine *engine) {
    struct engine_metrics *m = engine->metrics;
    if (m == NULL) return;
    metrics_http_close(m->http);
    engine->metrics = NULL;
    mem_free(m);
}

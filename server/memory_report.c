/* memory_report.c -- MEMORY STATS, DOCTOR, MALLOC-STATS and PURGE. */
#include "server/memory_report.h"

#include "server/allocator.h"
#include "server/client_memory.h"
#include "server/evict.h"
#include "server/replication.h"
#include "server/reply.h"
#include "server/script.h"
#include "server/snapshot_memory.h"

#include <stdio.h>
#include <unistd.h>

#define SMALL_BYTES (5u << 20) /* below, ratios say nothing */

static size_t resident(void) {
    long total = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL) return 0;
    int got = fscanf(file, "%ld %ld", &total, &pages);
    fclose(file);
    return got == 2 ? (size_t)pages * (size_t)sysconf(_SC_PAGESIZE) : 0;
}

static size_t index_bytes(const struct db *db) {
    const struct partitions *p = db->partitions;
    size_t bytes = sizeof *p + p->count * sizeof p->tables[0];
    for (uint32_t i = 0; i < p->count; i++) bytes += table_memory(&p->tables[i]);
    return bytes;
}

void memory_report(struct engine *engine, struct memory_report *r) {
    allocator_flush();
    *r = (struct memory_report){.used = memory_used(engine),
                                .peak = engine->stats.memory_peak,
                                .startup = engine->memory_startup,
                                .rss = resident()};
    allocator_sizes(&r->allocated, &r->active, &r->resident);
    for (const struct client *c = engine->clients; c; c = c->next)
        *(c->flags & CLIENT_REPLICA && !(c->flags & CLIENT_MONITOR) ? &r->replicas : &r->clients) +=
            client_memory(c);
    struct stream_memory stream;
    engine_stream_memory(engine, &stream);
    r->backlog = stream.backlog;
    r->unsent = stream.unsent;
    r->aof = stream.aof;
    r->replicas += stream.unsent;
    r->snapshots = snapshot_memory();
    for (int i = 0; i < engine->db_count; i++) {
        r->index += index_bytes(&engine->dbs[i]);
        r->keys += db_size(&engine->dbs[i]);
    }
    r->overhead = r->startup + r->clients + r->replicas + r->backlog + r->aof + r->index +
                  r->snapshots;
    r->dataset = r->used > r->overhead ? r->used - r->overhead : 0;
}

/* ---- STATS ---- */

static void number(struct client *c, const char *name, size_t value) {
    reply_bulk_text(c, name);
    reply_int(c, (int64_t)value);
}

static void real(struct client *c, const char *name, double value) {
    reply_bulk_text(c, name);
    reply_double(c, value);
}

static void reply_db(struct client *c, const struct db *db) {
    char name[32];
    snprintf(name, sizeof name, "db.%d", db->id);
    reply_bulk_text(c, name);
    reply_map(c, 3);
    number(c, "overhead.hashtable.main", index_bytes(db));
    number(c, "overhead.hashtable.expires", 0); /* entries hold their own expiry */
    number(c, "overhead.hashtable.slot-to-keys", 0);
}

static void reply_allocator(struct client *c, const struct memory_report *r) {
    number(c, "allocator.allocated", r->allocated);
    number(c, "allocator.active", r->active);
    number(c, "allocator.resident", r->resident);
    real(c, "allocator-fragmentation.ratio", memory_ratio(r->active, r->allocated));
    number(c, "allocator-fragmentation.bytes", r->active - r->allocated);
    real(c, "allocator-rss.ratio", memory_ratio(r->resident, r->active));
    number(c, "allocator-rss.bytes", r->resident - r->active);
    real(c, "rss-overhead.ratio", memory_ratio(r->rss, r->resident));
    number(c, "rss-overhead.bytes", r->rss - r->resident);
    real(c, "fragmentation", memory_ratio(r->rss, r->used));
    number(c, "fragmentation.bytes", r->rss - r->used);
}

static void run_stats(struct client *c) {
    struct engine *engine = c->engine;
    struct memory_report r;
    memory_report(engine, &r);
    size_t dbs = 0, net = r.used > r.startup ? r.used - r.startup : 0;
    for (int i = 0; i < engine->db_count; i++) dbs += db_size(&engine->dbs[i]) > 0;
    reply_map(c, 27 + dbs);
    number(c, "peak.allocated", r.peak);
    number(c, "total.allocated", r.used);
    number(c, "startup.allocated", r.startup);
    number(c, "replication.backlog", r.backlog);
    number(c, "clients.slaves", r.replicas);
    number(c, "clients.normal", r.clients);
    number(c, "cluster.links", 0);
    number(c, "aof.buffer", r.aof);
    struct script_totals scripts;
    script_count(engine, &scripts);
    number(c, "lua.caches", scripts.cache_bytes);
    number(c, "functions.caches", scripts.function_bytes);
    for (int i = 0; i < engine->db_count; i++)
        if (db_size(&engine->dbs[i]) > 0) reply_db(c, &engine->dbs[i]);
    number(c, "overhead.total", r.overhead);
    number(c, "keys.count", r.keys);
    number(c, "keys.bytes-per-key", r.keys ? net / r.keys : 0);
    number(c, "dataset.bytes", r.dataset);
    real(c, "dataset.percentage", memory_dataset_percent(&r));
    real(c, "peak.percentage", memory_ratio(r.used, r.peak) * 100);
    reply_allocator(c, &r);
}

/* ---- DOCTOR ---- */

static void run_doctor(struct client *c) {
    struct memory_report r;
    struct buf text = {0};
    memory_report(c->engine, &r);
    size_t clients = c->engine->client_count ? r.clients / c->engine->client_count : 0;
    if (r.used < SMALL_BYTES)
        buf_printf(&text, "There are less than 5 MB in use: too little to say anything.\n");
    else {
        if (memory_ratio(r.peak, r.used) > 1.5)
            buf_printf(&text,
                       "Much more was in use once (%.1f times as much): the system may not "
                       "have got all of that back.\n",
                       memory_ratio(r.peak, r.used));
        if (memory_ratio(r.rss, r.used) > 1.4)
            buf_printf(&text,
                       "The process takes %.2f times the memory that is in use: MEMORY "
                       "PURGE gives some back, a restart all of it.\n",
                       memory_ratio(r.rss, r.used));
        if (clients > 200u << 10)
            buf_printf(&text,
                       "Clients take %zu KB each on average: some send or fetch much at "
                       "once, or read slowly. See CLIENT LIST (tot-mem, omem).\n",
                       clients >> 10);
        if (r.replicas > 10u << 20)
            buf_printf(&text, "Replicas take %zu MB of buffers: one of them is slow.\n",
                       r.replicas >> 20);
        if (buf_size(&text) == 0) buf_printf(&text, "Nothing looks wrong.\n");
    }
    reply_verbatim(c, "txt", buf_slice(&text));
    buf_close(&text);
}

static void run_malloc_stats(struct client *c) {
    struct buf text = {0};
    allocator_describe(&text);
    reply_verbatim(c, "txt", buf_slice(&text));
    buf_close(&text);
}

static void run_purge(struct client *c) {
    allocator_purge();
    reply_ok(c);
}

static void run_help(struct client *c) {
    static const char *const help[] = {"DOCTOR",
                                       "    What looks wrong.",
                                       "MALLOC-STATS",
                                       "    What the allocator tells of itself.",
                                       "PURGE",
                                       "    Give unused pages back to the system.",
                                       "STATS",
                                       "    Where the memory is.",
                                       "USAGE <key> [SAMPLES <count>]",
                                       "    What a key and its value take.",
                                       NULL};
    reply_help(c, help);
}

void memory_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"memory|stats", run_stats},
                                                      {"memory|doctor", run_doctor},
                                                      {"memory|malloc-stats", run_malloc_stats},
                                                      {"memory|purge", run_purge},
                                                      {"memory|help", run_help}};
    command_bind(engine, bindings, COUNT(bindings));
}

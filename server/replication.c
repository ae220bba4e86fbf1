/* replication.c -- the replication stream, the roles, and what INFO and ROLE say. See
 * replication.h. */
#include "server/replication.h"

#include "lib/base/mem.h"
#include "lib/redis/resp.h"
#include "server/aof.h"
#include "server/args.h"
#include "server/older.h"
#include "server/reply.h"
#include "server/shutdown.h"

void replication_feed(struct replication *r, struct slice bytes) {
    if (!r->backlog.exists) return;
    backlog_append(&r->backlog, bytes);
    r->history.offset += (int64_t)bytes.size;
    r->fresh_bytes = true;
}

static void stream_op(void *ctx, int db, int argc, const struct slice *argv);

void replication_need_backlog(struct replication *r) {
    if (r->backlog.exists) return;
    const struct propagate_sink sink = {.ctx = r, .op = stream_op, .kind = PROPAGATE_REPLICAS};
    backlog_open(&r->backlog, (uint64_t)r->history.offset + 1);
    r->no_replicas_since_ms = replication_now_ms(r);
    propagate_attach(r->engine, &sink);
}

void replication_drop_backlog(struct replication *r) {
    if (!r->backlog.exists) return;
    backlog_close(&r->backlog);
    propagate_detach(r->engine, r);
}

void replication_unsaid(struct engine *engine, struct slice name) {
    struct replication *r = replication_of(engine);
    enum older_version oldest = (enum older_version)engine->settings.oldest_replica;
    history_new_id(&r->history);
    replicas_disconnect(r);
    engine_log(engine, '#',
               "%.*s cannot be told to a Redis %s (oldest-replica): replicas need a full sync",
               name.size > 64 ? 64 : (int)name.size, (const char *)name.data, older_name(oldest));
}

/* ---- the sink: what commands did here ---- */

static void put_words(struct buf *out, const char *a, const char *b) {
    struct slice words[2] = {slice_text(a), slice_text(b ? b : "")};
    resp_write_command(out, b ? 2 : 1, words);
}

/* SELECT stands before MULTI, as Redis has it: a unit then begins with MULTI. */
static void stream_op(void *ctx, int db, int argc, const struct slice *argv) {
    struct replication *r = ctx;
    if (r->engine->role != ROLE_MASTER || !r->backlog.exists) return;
    if (db < 0 && slice_equal_nocase(argv[0], SLICE("MULTI"))) {
        r->multi_pending = true;
        return;
    }
    if (db < 0 && r->multi_pending) { /* EXEC of nothing */
        r->multi_pending = false;
        return;
    }
    buf_clear(&r->scratch);
    if (db >= 0 && db != r->selected_db) {
        char number[16];
        (void)snprintf(number, sizeof number, "%d", db);
        put_words(&r->scratch, "SELECT", number);
        r->selected_db = db;
    }
    if (r->multi_pending) put_words(&r->scratch, "MULTI", NULL);
    r->multi_pending = false;
    resp_write_command(&r->scratch, (size_t)argc, argv);
    replication_feed(r, buf_slice(&r->scratch));
    buf_shrink(&r->scratch, (size_t)1 << 20);
}

/* ---- flow ---- */

void replication_flush(struct replication *r) {
    if (r->ask_acks && r->replicas && r->engine->role == ROLE_MASTER)
        replication_feed(r, SLICE("*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n"));
    r->ask_acks = false;
    if (!r->fresh_bytes) return;
    r->fresh_bytes = false;
    uint64_t pinned = UINT64_MAX;
    for (struct replica *replica = r->replicas; replica; replica = replica->next) {
        if (replica->state == REPLICA_QUEUED || replica->rdb_only) continue;
        if (replica->next_offset < pinned) pinned = replica->next_offset;
        if (replica->state == REPLICA_ONLINE) client_wake_writer(replica->client);
    }
    backlog_trim(&r->backlog, (uint64_t)r->engine->settings.repl_backlog_size, pinned);
    backlog_settle(&r->backlog, (uint64_t)r->engine->settings.repl_backlog_memory,
                   r->replica_count);
}

/* The backlog's thread has done something. */
static void take_news(uv_async_t *news) {
    struct replication *r = news->data;
    engine_read_clock(r->engine);
    if (backlog_poll(&r->backlog)) {
        for (struct replica *replica = r->replicas; replica; replica = replica->next)
            if (replica->state == REPLICA_ONLINE) client_wake_writer(replica->client);
    }
    backlog_settle(&r->backlog, (uint64_t)r->engine->settings.repl_backlog_memory,
                   r->replica_count);
}

/* On the thread. */
static void tell_news(void *owner) {
    struct replication *r = owner;
    (void)uv_async_send(&r->news);
}

static void open_store(struct replication *r) {
    (void)uv_async_init(r->engine->loop, &r->news, take_news);
    r->news.data = r;
    uv_unref((uv_handle_t *)&r->news);
    r->backlog.store = backlog_store_open(tell_news, r);
}

static void check_disk(struct replication *r) {
    if (r->backlog.disk_fails && !r->disk_failed)
        engine_log(r->engine, '#', "What replicas have not been sent stays in memory: %s",
                   r->backlog.disk_why.text);
    r->disk_failed = r->backlog.disk_fails;
    backlog_retry(&r->backlog);
}

void engine_stream_reset_stats(struct engine *engine) {
    struct replication *r = replication_of(engine);
    if (r) r->full_syncs = r->partial_syncs = r->refused_partial_syncs = 0;
}

void engine_stream_memory(const struct engine *engine, struct stream_memory *memory) {
    const struct replication *r = replication_of(engine);
    *memory = (struct stream_memory){0};
    if (!r) return;
    size_t held = backlog_memory(&r->backlog),
           backlog = (size_t)engine->settings.repl_backlog_size;
    memory->backlog = held < backlog || !r->replica_count ? held : backlog;
    memory->unsent = held - memory->backlog;
    memory->on_disk = r->backlog.file_bytes;
    memory->aof = aof_memory(persistence_of(engine)->aof);
}

static void before_reply(struct engine *engine) {
    struct replication *r = replication_of(engine);
    master_link_check_killed(r);
    failover_check(r);
    replication_flush(r);
}

/* Nobody has come back for repl-backlog-ttl: give the memory back. The id changes with it, because
 * nothing is counted from now on. */
static void check_backlog_ttl(struct replication *r) {
    int64_t ttl_s = r->engine->settings.repl_backlog_ttl_s;
    if (r->replicas || !r->backlog.exists || ttl_s == 0 || r->engine->role != ROLE_MASTER) return;
    if (replication_now_ms(r) - r->no_replicas_since_ms <= (uint64_t)ttl_s * 1000) return;
    history_new_id(&r->history);
    replication_drop_backlog(r);
    engine_log(r->engine, '*',
               "Replication backlog freed after %lld seconds without connected replicas.",
               (long long)ttl_s);
}

static void check_ping(struct replication *r) {
    uint64_t period_ms = (uint64_t)r->engine->settings.repl_ping_replica_period_s * 1000;
    uint64_t now_ms = replication_now_ms(r);
    if (!r->replicas || r->engine->role != ROLE_MASTER || now_ms - r->last_ping_ms < period_ms)
        return;
    if (r->failover.state != FAILOVER_NONE || shutdown_end_ms(r->engine))
        return; /* nobody would ever have everything */
    r->last_ping_ms = now_ms;
    replication_feed(r, SLICE("*1\r\n$4\r\nPING\r\n"));
}

static void at_shutdown(struct engine *engine) {
    replicas_drain(replication_of(engine));
}

static void tick(struct engine *engine) {
    struct replication *r = replication_of(engine);
    static uint64_t last_second; /* one engine in a process */
    master_link_tick(r);
    failover_check(r);
    replication_flush(r);
    if (replication_now_ms(r) - last_second < 1000) return;
    last_second = replication_now_ms(r);
    check_ping(r);
    check_disk(r);
    for (struct replica *replica = r->replicas, *next; replica; replica = next) {
        next = replica->next;
        replica_tick(replica);
    }
    check_backlog_ttl(r);
    replication_flush(r);
}

void replication_read_settings(struct engine *engine) {
    struct replication *r = replication_of(engine);
    struct slice text = slice_text(engine->settings.replicaof);
    const uint8_t *space = text.size ? memchr(text.data, ' ', text.size) : NULL;
    int64_t port;
    if (!space || !slice_to_int(slice_drop(text, (size_t)(space - text.data) + 1), &port)) return;
    master_link_set_master(r, slice_take(text, (size_t)(space - text.data)), port);
    r->link.may_continue = false; /* what we have is nobody's yet */
}

void replication_take_place(struct engine *engine, const struct rdb_place *place,
                            const struct buf *expired) {
    struct replication *r = replication_of(engine);
    if (!place->known) return;
    struct history *history = &r->history;
    replication_drop_backlog(r);
    history->offset = place->offset;
    if (engine->role == ROLE_REPLICA) {
        memcpy(history->id, place->id, sizeof history->id);
        r->link.may_continue = true;
        obey_begin(&r->link, place->db);
    } else { /* those who had followed us may go on, with what they have as our former self */
        memcpy(history->id2, place->id, sizeof history->id2);
        history->id2_end = place->offset + 1;
    }
    replication_need_backlog(r);
    if (engine->role == ROLE_MASTER && buf_size(expired)) {
        replication_feed(r, buf_slice(expired));
        r->selected_db = -1;
        replication_flush(r);
    }
}

struct rdb_place persistence_place(const struct engine *engine) {
    const struct replication *r = replication_of(engine);
    struct rdb_place place = {.offset = -1, .db = -1};
    if (!r) return place;
    if (engine->role == ROLE_MASTER ? !r->backlog.exists : !r->link.client || !r->link.may_continue)
        return place;
    place.known = true;
    memcpy(place.id, r->history.id, sizeof place.id);
    place.offset = r->history.offset;
    place.db = engine->role == ROLE_MASTER ? r->selected_db : r->link.client->db->id;
    return place;
}

bool replication_sends_rdb(const struct engine *engine) {
    const struct replication *r = replication_of(engine);
    const struct replica *replica = r ? r->replicas : NULL;
    while (replica && replica->state != REPLICA_SNAPSHOT) replica = replica->next;
    return replica != NULL;
}

/* ---- acknowledgements ---- */

static int64_t acks_offset(struct engine *engine) {
    return replication_of(engine)->history.offset;
}

static int acks_confirmed(struct engine *engine, int64_t offset) {
    int count = 0;
    for (struct replica *replica = replication_of(engine)->replicas; replica;
         replica = replica->next)
        count += replica->state == REPLICA_ONLINE && replica->ack_offset >= offset;
    return count;
}

static void acks_ask(struct engine *engine) {
    replication_of(engine)->ask_acks = true;
}

static int acks_count(struct engine *engine) {
    return (int)replication_of(engine)->replica_count;
}

static void acks_log_lagging(struct engine *engine) {
    struct replication *r = replication_of(engine);
    int64_t now_ms = (int64_t)replication_now_ms(r);
    for (struct replica *replica = r->replicas; replica; replica = replica->next) {
        char address[64];
        int64_t port, behind = r->history.offset - replica->ack_offset;
        bool is_online = replica->state == REPLICA_ONLINE;
        if (is_online && behind <= 0) continue;
        replica_address(replica, address, sizeof address, &port);
        engine_log(engine, '#',
                   "Lagging replica %s:%lld reported offset %lld behind master, lag=%lld, state=%s.",
                   address, (long long)port, (long long)behind,
                   is_online ? (long long)(now_ms - replica->ack_ms) / 1000 : 0,
                   replica_state_name(replica));
    }
}

static int good_replicas(const struct replication *r) {
    int count = 0;
    uint64_t max_ms = (uint64_t)r->engine->settings.min_replicas_max_lag_s * 1000;
    for (struct replica *replica = r->replicas; replica; replica = replica->next)
        count += replica->state == REPLICA_ONLINE &&
                 replication_now_ms(r) - (uint64_t)replica->ack_ms <= max_ms + 999;
    return count;
}

/* ---- gates ---- */

static bool role_gate(struct client *c, const struct command *command) {
    struct engine *engine = c->engine;
    struct replication *r = replication_of(engine);
    const struct settings *s = &engine->settings;
    if (c->flags & (CLIENT_MASTER | CLIENT_LOADING)) return true;
    bool is_write = engine_command_flags(c, command) & COMMAND_WRITE;
    if (engine->role == ROLE_MASTER) {
        if (!is_write || !s->min_replicas_to_write || good_replicas(r) >= s->min_replicas_to_write)
            return true;
        engine_refuse(c, "NOREPLICAS Not enough good replicas to write.");
        return false;
    }
    if (r->link.state != LINK_CONNECTED && !s->replica_serve_stale_data &&
        !(engine_command_flags(c, command) & COMMAND_STALE)) {
        engine_refuse(
            c, "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.");
        return false;
    }
    return true;
}

bool engine_is_stale(const struct engine *engine) {
    return engine->role == ROLE_REPLICA && !engine->settings.replica_serve_stale_data &&
           replication_of(engine)->link.state != LINK_CONNECTED;
}

/* ---- INFO and ROLE ---- */

static void info_link(const struct replication *r, struct buf *out) {
    const struct master_link *link = &r->link;
    const struct settings *s = &r->engine->settings;
    bool up = link->state == LINK_CONNECTED;
    int64_t idle_s = up ? (int64_t)((replication_now_ms(r) - link->last_io_ms) / 1000) : -1;
    int64_t read_offset = up || link->client ? link->read_offset : r->history.offset;
    buf_printf(
        out,
        "master_host:%s\r\nmaster_port:%lld\r\nmaster_link_status:%s\r\nmaster_last_io_seconds_ago:"
        "%lld\r\n"
        "master_sync_in_progress:%d\r\nslave_read_repl_offset:%lld\r\nslave_repl_offset:%lld\r\n",
        link->host, (long long)link->port, up ? "up" : "down", (long long)idle_s,
        link->state == LINK_TRANSFER || link->state == LINK_LOADING,
        (long long)(read_offset > r->history.offset ? read_offset : r->history.offset),
        (long long)r->history.offset);
    if (link->state == LINK_TRANSFER || (link->state == LINK_LOADING && link->is_diskless))
        buf_printf(out,
                   "master_sync_total_bytes:%llu\r\nmaster_sync_read_bytes:%llu\r\nmaster_sync_"
                   "left_bytes:%lld\r\n"
                   "master_sync_perc:0.00\r\nmaster_sync_last_io_seconds_ago:%lld\r\n",
                   (unsigned long long)link->transfer_total,
                   (unsigned long long)link->transfer_bytes,
                   (long long)(link->transfer_total - link->transfer_bytes),
                   (long long)((replication_now_ms(r) - link->last_io_ms) / 1000));
    if (!up)
        buf_printf(out, "master_link_down_since_seconds:%lld\r\n",
                   (long long)(link->down_since_ms
                                   ? (r->engine->now_ms - link->down_since_ms) / 1000
                                   : -1));
    buf_printf(out, "slave_priority:%lld\r\nslave_read_only:%d\r\nreplica_announced:%d\r\n",
               (long long)s->replica_priority, s->replica_read_only, s->replica_announced);
}

static void info(struct engine *engine, struct buf *out) {
    const struct replication *r = replication_of(engine);
    const struct backlog *backlog = &r->backlog;
    buf_printf(out, "role:%s\r\n", engine->role == ROLE_MASTER ? "master" : "slave");
    if (engine->role == ROLE_REPLICA) info_link(r, out);
    buf_printf(out, "connected_slaves:%u\r\n", r->replica_count);
    if (engine->settings.min_replicas_to_write)
        buf_printf(out, "min_slaves_good_slaves:%d\r\n", good_replicas(r));
    unsigned number = 0;
    for (struct replica *replica = r->replicas; replica; replica = replica->next) {
        char address[64];
        int64_t port;
        replica_address(replica, address, sizeof address, &port);
        uint64_t lag_ms = replica->state == REPLICA_ONLINE
                              ? replication_now_ms(r) - (uint64_t)replica->ack_ms
                              : 0;
        buf_printf(out, "slave%u:ip=%s,port=%lld,state=%s,offset=%lld,lag=%llu\r\n", number++,
                   address, (long long)port, replica_state_name(replica),
                   (long long)replica->ack_offset, (unsigned long long)(lag_ms / 1000));
    }
    buf_printf(out,
               "master_failover_state:%s\r\nmaster_replid:%s\r\nmaster_replid2:%"
               "s\r\nmaster_repl_offset:%lld\r\n"
               "second_repl_offset:%lld\r\nrepl_backlog_active:%d\r\nrepl_backlog_size:%lld\r\n"
               "repl_backlog_first_byte_offset:%llu\r\nrepl_backlog_histlen:%llu\r\n",
               failover_state_name(r), r->history.id, r->history.id2,
               (long long)r->history.offset, (long long)r->history.id2_end, backlog->exists,
               (long long)engine->settings.repl_backlog_size,
               (unsigned long long)(backlog->exists ? backlog->begin : 0),
               (unsigned long long)(backlog->exists ? backlog_size(backlog) : 0));
    buf_printf(out, "repl_backlog_memory:%zu\r\nrepl_backlog_disk:%llu\r\n",
               backlog_memory(backlog), (unsigned long long)backlog->file_bytes);
}

static void info_stats(struct engine *engine, struct buf *out) {
    const struct replication *r = replication_of(engine);
    buf_printf(out, "sync_full:%llu\r\nsync_partial_ok:%llu\r\nsync_partial_err:%llu\r\n",
               (unsigned long long)r->full_syncs, (unsigned long long)r->partial_syncs,
               (unsigned long long)r->refused_partial_syncs);
}

static void role_as_master(struct client *c, const struct replication *r) {
    size_t count = 0;
    reply_array(c, 3);
    reply_bulk_text(c, "master");
    reply_int(c, r->history.offset);
    size_t mark = reply_later(c);
    for (struct replica *replica = r->replicas; replica; replica = replica->next) {
        char address[64];
        int64_t port;
        if (replica->state != REPLICA_ONLINE) continue;
        replica_address(replica, address, sizeof address, &port);
        reply_array(c, 3);
        reply_bulk_text(c, address);
        reply_bulk_int(c, port);
        reply_bulk_int(c, replica->ack_offset);
        count++;
    }
    reply_later_array(c, mark, count);
}

static void role_command(struct client *c) {
    const struct replication *r = replication_of(c->engine);
    if (c->engine->role == ROLE_MASTER) {
        role_as_master(c, r);
        return;
    }
    reply_array(c, 5);
    reply_bulk_text(c, "slave");
    reply_bulk_text(c, r->link.host);
    reply_int(c, r->link.port);
    reply_bulk_text(c, master_link_state_name(&r->link));
    reply_int(c, r->link.state == LINK_CONNECTED ? r->history.offset : -1);
}

static void replicaof_command(struct client *c) {
    struct replication *r = replication_of(c->engine);
    int64_t port;
    if (r->failover.state != FAILOVER_NONE) {
        reply_error(c, "ERR REPLICAOF not allowed while failing over.");
        return;
    }
    if (arg_is(c->argv[1], "no") && arg_is(c->argv[2], "one")) {
        if (r->link.host) {
            master_link_unset_master(r);
            engine_log(c->engine, '*', "MASTER MODE enabled (user request from '%s')", c->peer);
        }
        reply_ok(c);
        return;
    }
    if (c->flags & CLIENT_REPLICA) {
        reply_error(c, "ERR Command is not valid when client is a replica.");
        return;
    }
    if (!arg_int_range(c, c->argv[2], 0, 65535, &port, "Invalid master port")) return;
    if (r->link.host && slice_equal_nocase(slice_text(r->link.host), c->argv[1]) &&
        r->link.port == port) {
        reply_simple(c, "OK Already connected to specified master");
        return;
    }
    master_link_set_master(r, c->argv[1], port);
    engine_log(c->engine, '*', "REPLICAOF %s:%lld enabled (user request from '%s')", r->link.host,
               (long long)port, c->peer);
    reply_ok(c);
}

void replication_open(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"role", role_command}, {"failover", failover_command}, {"replicaof", replicaof_command}, {"slaveof", replicaof_command}};
    static const struct engine_acks acks = {acks_offset, acks_confirmed, acks_ask, acks_count,
                                            acks_log_lagging};
    struct replication *r = NEW(struct replication);
    r->engine = engine;
    r->selected_db = -1;
    engine->replication = r;
    history_init(&r->history);
    engine_acks_set(engine, &acks);
    engine_hook_add(engine, HOOK_BEFORE_REPLY, before_reply);
    engine_hook_add(engine, HOOK_TICK, tick);
    engine_hook_add(engine, HOOK_SHUTDOWN, at_shutdown);
    engine_gate_add(engine, role_gate);
    engine_info_add(engine, "replication", info);
    engine_info_add(engine, "stats", info_stats);
    command_bind(engine, bindings, COUNT(bindings));
    open_store(r);
    replconf_open(engine);
    master_link_open(r);
}

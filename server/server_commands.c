/* server_commands.c -- DBSIZE, FLUSHDB, FLUSHALL, SWAPDB, TIME, SHUTDOWN, WAIT. */
#include "lib/base/mem.h"
#include "server/args.h"
#include "server/block.h"
#include "server/engine.h"
#include "server/gates.h"
#include "server/groups.h"
#include "server/multi.h"
#include "server/reply.h"
#include "server/tracking.h"
#include "server/script.h"

static void run_dbsize(struct client *c) {
    reply_int(c, (int64_t)db_size(c->db));
}

static bool read_flush_mode(struct client *c, bool *lazy) {
    *lazy = c->engine->settings.lazyfree_lazy_user_flush;
    if (c->argc == 1) return true;
    *lazy = c->argc == 2 && arg_is(c->argv[1], "async");
    if (c->argc == 2 && (*lazy || arg_is(c->argv[1], "sync"))) return true;
    reply_syntax_error(c);
    return false;
}

static uint64_t flush_one(struct db *db, bool lazy) {
    multi_db_changes(db, NULL);
    tracking_flushed(db->engine);
    return db_clear(db, lazy);
}

static void run_flushdb(struct client *c) {
    bool lazy;
    if (!read_flush_mode(c, &lazy)) return;
    c->engine->dirty += flush_one(c->db, lazy);
    c->flags |= CLIENT_FORCE_REPL; /* a database that is empty here may not be so elsewhere */
    reply_ok(c);
}

static void run_flushall(struct client *c) {
    bool lazy;
    if (!read_flush_mode(c, &lazy)) return;
    for (int i = 0; i < c->engine->db_count; i++)
        c->engine->dirty += flush_one(&c->engine->dbs[i], lazy);
    c->flags |= CLIENT_FORCE_REPL;
    c->engine->dirty++;
    hooks_run(c->engine, HOOK_FLUSHED);
    reply_ok(c);
}

static void run_swapdb(struct client *c) {
    int64_t a, b;
    if (c->engine->cluster) {
        reply_error(c, "ERR SWAPDB is not allowed in cluster mode");
        return;
    }
    if (!arg_int_range(c, c->argv[1], INT32_MIN, INT32_MAX, &a, "invalid first DB index") ||
        !arg_int_range(c, c->argv[2], INT32_MIN, INT32_MAX, &b, "invalid second DB index"))
        return;
    if (a < 0 || b < 0 || a >= c->engine->db_count || b >= c->engine->db_count) {
        reply_error(c, "ERR DB index is out of range");
        return;
    }
    if (a != b) {
        struct db *first = &c->engine->dbs[a], *second = &c->engine->dbs[b];
        multi_db_changes(first, second);
        multi_db_changes(second, first);
        db_swap(first, second);
        block_scan_db(first);
        block_scan_db(second);
    }
    c->engine->dirty++;
    reply_ok(c);
}

static void run_time(struct client *c) {
    int64_t now_ms = clock_wall_ms(c->engine->clock); /* in a script too, where the engine's stands still */
    reply_array(c, 2);
    reply_bulk_int(c, now_ms / 1000);
    reply_bulk_int(c, now_ms % 1000 * 1000);
}

/* ---- WAIT ---- */

static int confirmed(struct engine *engine, int64_t offset) {
    const struct engine_acks *acks = hooks_acks(engine);
    return acks ? acks->confirmed(engine, offset) : 0;
}

/* The offset that a client waits for is that of the moment when it called WAIT. */
static void wait_over(struct client *c) {
    reply_int(c, confirmed(c->engine, c->wait_offset));
}

static const struct block_how waits = {.timed_out = wait_over, .type = -1};

static void run_wait(struct client *c) {
    int64_t replicas, deadline_ms;
    if (c->engine->role == ROLE_REPLICA) {
        reply_error(c, "ERR WAIT cannot be used with replica instances. Please also note that "
                       "since Redis 4.0 if a replica is "
                       "configured to be writable (which is not the default) writes to replicas "
                       "are just local and are not "
                       "propagated.");
        return;
    }
    if (!arg_int(c, c->argv[1], &replicas, NULL) || !arg_timeout(c, c->argv[2], true, &deadline_ms))
        return;
    const struct engine_acks *acks = hooks_acks(c->engine);
    c->wait_offset = acks ? acks->offset(c->engine) : 0;
    c->wait_replicas = replicas;
    int now = confirmed(c->engine, c->wait_offset);
    if (now >= replicas || block_is_denied(c)) {
        reply_int(c, now);
        return;
    }
    block_until(c, deadline_ms, &waits);
    if (acks) acks->ask(c->engine);
}

void engine_acks_changed(struct engine *engine) {
    for (struct client *c = engine->clients; c; c = c->next) {
        if (!block_waits_by(c, &waits) || confirmed(engine, c->wait_offset) < c->wait_replicas)
            continue;
        wait_over(c);
        block_end(c);
    }
}

void server_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"dbsize", run_dbsize}, {"flushdb", run_flushdb}, {"flushall", run_flushall},
        {"swapdb", run_swapdb}, {"time", run_time},       {"wait", run_wait}};
    command_bind(engine, bindings, COUNT(bindings));
}

/* engine.c -- the engine's life: made, started, ticking, shut down. */
#include "server/engine.h"

#include "lib/base/mem.h"
#include "server/acl.h"
#include "server/allocator.h"
#include "server/block.h"
#include "server/client_memory.h"
#include "server/evict.h"
#include "server/execute.h"
#include "server/expire_cycle.h"
#include "server/gates.h"
#include "server/cluster_bus.h"
#include "server/metrics.h"
#include "server/net.h"
#include "server/output.h"
#include "server/pause.h"
#include "server/shutdown.h"
#include "server/start.h"
#include "server/turn_cost.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

struct loop_parts {
    uv_loop_t loop;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t tick, deadline;
    uv_idle_t spin; /* the next turn comes at once */
    uv_signal_t term, interrupt;
};

struct engine *engine_new(void) {
    struct engine *engine = NEW(struct engine);
    engine->clock = clock_real();
    uint64_t secret[2];
    rand_secret(secret, sizeof secret);
    table_seed(secret[0]);
    engine->rng = rng_from(secret[1]);
    engine->expire_active = true;
    rand_hex40(engine->run_id);
    engine_read_clock(engine);
    engine->started_ms = engine->now_ms;
    acl_open(engine);
    engine->client_memory = NEW(struct engine_client_memory);
    engine->uses = NEW_ARRAY(struct command_use, command_count);
    struct loop_parts *parts = NEW(struct loop_parts);
    int status = uv_loop_init(&parts->loop);
    ASSERT(status == 0);
    engine->loop = &parts->loop;
    engine->loop->data = engine;
    return engine;
}

void engine_make_dbs(struct engine *engine) {
    /* Cluster mode has slots instead of databases. */
    engine->db_count = engine->settings.cluster_enabled ? 1 : (int)engine->settings.databases;
    engine->dbs = NEW_ARRAY(struct db, (size_t)engine->db_count);
    for (int i = 0; i < engine->db_count; i++) db_init(&engine->dbs[i], engine, i);
}

/* ---- the turn ---- */

static void aim_deadline(struct engine *engine);

static void on_spin(uv_idle_t *idle) {
    (void)idle;
}

/* maxmemory was lowered, or passed by something that is no command of a client. */
static void evict_a_slice(struct engine *engine) {
    struct loop_parts *parts = (struct loop_parts *)engine->loop;
    if (!engine->evicts || engine->busy || engine->nesting) return;
    engine->evicts = evict_for_a_while(engine);
    if (engine->evicts)
        (void)uv_idle_start(&parts->spin, on_spin);
    else
        (void)uv_idle_stop(&parts->spin);
}

/* Execute what came, then let the AOF write, then answer. */
static void end_turn(struct engine *engine) {
    turn_cost_mark(engine, TURN_OTHER);
    turn_run(engine);
    evict_a_slice(engine);
    turn_cost_mark(engine, TURN_RUN);
    hooks_run(engine, HOOK_BEFORE_REPLY);
    turn_cost_mark(engine, TURN_HOOKS);
    (void)client_memory_evict(engine);
    output_flush(engine);
    aim_deadline(engine);
    turn_cost_mark(engine, TURN_SEND);
}

static void on_check(uv_check_t *check) {
    turn_cost_mark(check->loop->data, TURN_READ);
    turn_run(check->loop->data);
    turn_cost_mark(check->loop->data, TURN_RUN);
}

static void on_prepare(uv_prepare_t *prepare) {
    end_turn(prepare->loop->data);
    server_metrics_turn(prepare->loop->data);
    turn_cost_end(prepare->loop->data);
}

/* A blocked client's timeout does not wait for the next tick. */
static void on_deadline(uv_timer_t *timer) {
    struct engine *engine = timer->loop->data;
    engine_read_clock(engine);
    block_check_timeouts(engine);
    pause_check(engine);
}

static void aim_deadline(struct engine *engine) {
    struct loop_parts *parts = (struct loop_parts *)engine->loop;
    int64_t first = block_count(engine) ? block_next_deadline(engine) : 0,
            pause = pause_end_ms(engine);
    if (pause && (first == 0 || pause < first)) first = pause;
    if (first == 0) {
        if (uv_is_active((uv_handle_t *)&parts->deadline)) uv_timer_stop(&parts->deadline);
        return;
    }
    int64_t wait_ms = first - engine->now_ms;
    uv_update_time(engine->loop);
    uv_timer_start(&parts->deadline, on_deadline, wait_ms > 0 ? (uint64_t)wait_ms : 0, 0);
}

static void close_idle_clients(struct engine *engine) {
    if (engine->settings.timeout_s == 0) return;
    uint64_t limit_ms = (uint64_t)engine->settings.timeout_s * 1000, now_ms = engine->now_us / 1000;
    for (struct client *c = engine->clients; c; c = c->next) {
        if (c->flags &
            (CLIENT_REPLICA | CLIENT_MASTER | CLIENT_BLOCKED | CLIENT_PUBSUB | CLIENT_MONITOR))
            continue;
        if (now_ms - c->active_ms > limit_ms) client_close_later(c);
    }
}

static void measure_rate(struct engine *engine) {
    struct engine_rate *rate = &engine->rate;
    if (engine->now_us - rate->at_us < 100000) return;
    double seconds = (double)(engine->now_us - rate->at_us) / 1e6;
    engine->stats.ops_per_second = (double)(engine->stats.commands - rate->commands) / seconds;
    rate->in_per_second = (double)(engine->stats.net_in_bytes - rate->in_bytes) / seconds;
    rate->out_per_second = (double)(engine->stats.net_out_bytes - rate->out_bytes) / seconds;
    rate->commands = engine->stats.commands;
    rate->repl_in_per_second =
        (double)(engine->stats.repl_in_bytes - rate->repl_in_bytes) / seconds;
    rate->repl_out_per_second =
        (double)(engine->stats.repl_out_bytes - rate->repl_out_bytes) / seconds;
    rate->repl_in_bytes = engine->stats.repl_in_bytes;
    rate->repl_out_bytes = engine->stats.repl_out_bytes;
    rate->in_bytes = engine->stats.net_in_bytes;
    rate->out_bytes = engine->stats.net_out_bytes;
    rate->at_us = engine->now_us;
    (void)memory_used(engine);
}

static void on_tick(uv_timer_t *timer) {
    struct engine *engine = timer->loop->data;
    engine_read_clock(engine);
    if (engine->tick_paused || engine->busy) return;
    expire_cycle_run(engine);
    engine->evicts = true;
    block_serve_ready(engine); /* streams that have expired or were evicted */
    block_check_timeouts(engine);
    pause_check(engine);
    close_idle_clients(engine);
    for (struct client *c = engine->clients; c; c = c->next) output_check_limit(c);
    client_memory_tick(engine);
    measure_rate(engine);
    hooks_run(engine, HOOK_TICK);
    shutdown_tick(engine);
    uint64_t period_ms = 1000u / (uint64_t)engine->settings.hz;
    if (uv_timer_get_repeat(timer) != period_ms)
        uv_timer_set_repeat(timer, period_ms ? period_ms : 1);
}

/* ---- turns from outside ---- */

void engine_later(struct engine *engine, void (*fn)(struct engine *engine)) {
    ASSERT(engine->later == NULL);
    engine->later = fn;
    uv_stop(engine->loop);
}

static void run_loop(struct engine *engine, uv_run_mode mode) {
    ASSERT(!engine->in_loop);
    engine->in_loop = true;
    (void)uv_run(engine->loop, mode);
    engine->in_loop = false;
}

void engine_serve_once(struct engine *engine) {
    run_loop(engine, UV_RUN_NOWAIT);
    end_turn(engine); /* what came last in the loop's turn is answered now, too */
    engine_read_clock(engine);
}

/* ---- log ---- */

void engine_log(struct engine *engine, char level, const char *fmt, ...) {
    static const char levels[] = ".-*#";
    static const char *const names[] = {"debug", "verbose", "notice", "warning"};
    size_t wanted = 0;
    while (wanted < 3 && strcmp(names[wanted], engine->settings.loglevel) != 0) wanted++;
    const char *at = strchr(levels, level);
    if (at == NULL || (size_t)(at - levels) < wanted) return;
    FILE *file = engine->settings.logfile[0] ? fopen(engine->settings.logfile, "a") : stdout;
    if (file == NULL) return;
    char when[40];
    time_t seconds = (time_t)(clock_wall_ms(engine->clock) / 1000);
    struct tm tm;
    localtime_r(&seconds, &tm);
    strftime(when, sizeof when, "%d %b %Y %H:%M:%S", &tm);
    fprintf(file, "%d:%c %s.%03d %c ", (int)getpid(), engine->role == ROLE_MASTER ? 'M' : 'S', when,
            (int)(clock_wall_ms(engine->clock) % 1000), level);
    va_list args;
    va_start(args, fmt);
    vfprintf(file, fmt, args);
    va_end(args);
    fputc('\n', file);
    if (file == stdout)
        fflush(file);
    else
        fclose(file);
}

/* ---- start and end ---- */

static void on_signal(uv_signal_t *handle, int number) {
    struct engine *engine = handle->loop->data;
    bool interrupt = number == SIGINT;
    engine_log(engine, '#', "Received %s scheduling shutdown...",
               interrupt ? "SIGINT" : "SIGTERM");
    int64_t flags = interrupt ? engine->settings.shutdown_on_sigint
                              : engine->settings.shutdown_on_sigterm;
    shutdown_ask(engine, (unsigned)flags, interrupt);
}

static void start_handles(struct engine *engine) {
    struct loop_parts *parts = (struct loop_parts *)engine->loop;
    uv_prepare_init(engine->loop, &parts->prepare);
    uv_prepare_start(&parts->prepare, on_prepare);
    uv_check_init(engine->loop, &parts->check);
    uv_check_start(&parts->check, on_check);
    uint64_t period_ms = 1000u / (uint64_t)engine->settings.hz;
    uv_timer_init(engine->loop, &parts->tick);
    uv_timer_start(&parts->tick, on_tick, period_ms, period_ms);
    uv_timer_init(engine->loop, &parts->deadline);
    uv_idle_init(engine->loop, &parts->spin);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    uv_signal_init(engine->loop, &parts->term);
    uv_signal_start(&parts->term, on_signal, SIGTERM);
    uv_signal_init(engine->loop, &parts->interrupt);
    uv_signal_start(&parts->interrupt, on_signal, SIGINT);
}

enum err engine_run(struct engine *engine, struct why *why) {
    start_handles(engine);
    allocator_background(engine->settings.jemalloc_bg_thread);
    engine_read_clock(engine);
    engine->memory_startup = memory_used(engine);
    enum err err = server_metrics_open(engine, why);
    if (err != OK) return err;
    err = net_listen(engine, why);
    if (err != OK) return err;
    hooks_run(engine, HOOK_STARTED);
    if (!engine->shutting_down) {
        hooks_run(engine, HOOK_READY);
        engine_log(engine, '*', "Ready to accept connections");
    }
    while (!engine->shutting_down) {
        run_loop(engine, UV_RUN_DEFAULT);
        void (*later)(struct engine * engine) = engine->later;
        engine->later = NULL;
        if (later && !engine->shutting_down) later(engine);
    }
    net_close_listeners(engine, true);
    server_metrics_close(engine);
    cluster_bus_close(engine);
    return OK;
}

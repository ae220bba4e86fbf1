/* turn_cost.c -- DEBUG TURNS: turns by wall and by processor time. See turn_cost.h. */
#include "server/turn_cost.h"

#include "lib/base/hist.h"
#include "lib/base/mem.h"
#include "server/args.h"
#include "server/reply.h"

#include <sys/resource.h>
#include <time.h>

#define LONG_US 200u
#define LONGEST_KEPT 12

struct turn {
    uint64_t wall_ns, worked_ns, snapshot_ns, commands, in_bytes;
    uint64_t stages_ns[TURN_STAGES];
    uint64_t faults, slept, displaced; /* page faults; context switches of its own will and not */
};

struct turn_costs {
    struct hist wall_us, worked_us, snapshot_us;
    struct {
        uint64_t wall, worked, without_snapshot; /* turns over LONG_US by each of these */
        uint64_t displaced, slept;               /* of those over it by wall time alone, and why */
        uint64_t commands, faults, snapshot_us;  /* in those over it by processor time */
    } over;
    uint64_t began_ns;
    struct turn longest[LONGEST_KEPT]; /* by processor time */
    /* As things stood when the last turn ended: */
    uint64_t ended_ns, idle_ns, worked_ns, commands, in_bytes;
    struct rusage usage;
    uint64_t marked_ns;
    struct turn now;
};

static uint64_t worked_ns(void) {
    struct timespec used;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

void turn_cost_note_stage(struct engine *engine, enum turn_stage stage) {
    struct turn_costs *t = engine->turn_costs;
    uint64_t now_ns = uv_hrtime();
    t->now.stages_ns[stage] += now_ns - t->marked_ns;
    t->marked_ns = now_ns;
}

void turn_cost_note_snapshot(struct engine *engine, uint64_t ns) {
    engine->turn_costs->now.snapshot_ns += ns;
}

static void begin_turn(struct engine *engine, uint64_t now_ns) {
    struct turn_costs *t = engine->turn_costs;
    t->now = (struct turn){0};
    t->ended_ns = t->marked_ns = now_ns;
    t->idle_ns = uv_metrics_idle_time(engine->loop);
    t->commands = engine->stats.commands;
    t->in_bytes = engine->stats.net_in_bytes;
    (void)getrusage(RUSAGE_THREAD, &t->usage);
    t->worked_ns = worked_ns();
}

static uint64_t since(long now, long before) {
    return now > before ? (uint64_t)(now - before) : 0;
}

static void measure(struct engine *engine, uint64_t now_ns) {
    struct turn_costs *t = engine->turn_costs;
    struct turn *turn = &t->now;
    struct rusage usage;
    turn->worked_ns = worked_ns() - t->worked_ns;
    (void)getrusage(RUSAGE_THREAD, &usage);
    uint64_t passed_ns = now_ns - t->ended_ns,
             idle_ns = uv_metrics_idle_time(engine->loop) - t->idle_ns;
    turn->wall_ns = passed_ns > idle_ns ? passed_ns - idle_ns : 0;
    uint64_t *read_ns = &turn->stages_ns[TURN_READ]; /* the loop slept in it */
    *read_ns -= idle_ns < *read_ns ? idle_ns : *read_ns;
    if (turn->worked_ns > turn->wall_ns) turn->worked_ns = turn->wall_ns; /* the rest was going to sleep */
    if (turn->snapshot_ns > turn->worked_ns) turn->snapshot_ns = turn->worked_ns;
    turn->commands = engine->stats.commands - t->commands;
    turn->in_bytes = engine->stats.net_in_bytes - t->in_bytes;
    turn->faults = since(usage.ru_minflt, t->usage.ru_minflt);
    turn->slept = since(usage.ru_nvcsw, t->usage.ru_nvcsw);
    turn->displaced = since(usage.ru_nivcsw, t->usage.ru_nivcsw);
}

static void keep_longest(struct turn_costs *t) {
    int at = LONGEST_KEPT;
    while (at > 0 && t->longest[at - 1].worked_ns < t->now.worked_ns) at--;
    if (at == LONGEST_KEPT) return;
    memmove(&t->longest[at + 1], &t->longest[at],
            (size_t)(LONGEST_KEPT - 1 - at) * sizeof t->longest[0]);
    t->longest[at] = t->now;
}

void turn_cost_note_end(struct engine *engine) {
    struct turn_costs *t = engine->turn_costs;
    struct turn *turn = &t->now;
    uint64_t now_ns = uv_hrtime();
    measure(engine, now_ns);
    uint64_t worked_us = turn->worked_ns / 1000, snapshot_us = turn->snapshot_ns / 1000;
    hist_record(&t->wall_us, turn->wall_ns / 1000);
    hist_record(&t->worked_us, worked_us);
    if (snapshot_us) hist_record(&t->snapshot_us, snapshot_us);
    keep_longest(t);
    if (turn->wall_ns / 1000 > LONG_US) {
        t->over.wall++;
        if (worked_us <= LONG_US && turn->displaced)
            t->over.displaced++;
        else if (worked_us <= LONG_US && turn->slept)
            t->over.slept++;
    }
    if (worked_us > LONG_US) {
        t->over.worked++;
        t->over.commands += turn->commands;
        t->over.faults += turn->faults;
        t->over.snapshot_us += snapshot_us;
    }
    if (worked_us - snapshot_us > LONG_US) t->over.without_snapshot++;
    begin_turn(engine, uv_hrtime());
}

/* ---- DEBUG TURNS ---- */

static unsigned long long ull(uint64_t n) {
    return n;
}

static void put_hist(struct buf *out, const char *name, const struct hist *h) {
    buf_printf(out, "%s_p50_usec:%llu\n%s_p99_usec:%llu\n%s_p999_usec:%llu\n%s_max_usec:%llu\n",
               name, ull(hist_quantile(h, 0.5)), name, ull(hist_quantile(h, 0.99)), name,
               ull(hist_quantile(h, 0.999)), name, ull(hist_max(h)));
}

static void put_turn(struct buf *out, const struct turn *turn) {
    static const char *const names[] = {"other", "read", "run", "hooks", "send", "walk"};
    buf_printf(out, "long:cpu=%llu,wall=%llu,snapshot=%llu,commands=%llu,in=%llu,faults=%llu,"
                    "slept=%llu,displaced=%llu",
               ull(turn->worked_ns / 1000), ull(turn->wall_ns / 1000),
               ull(turn->snapshot_ns / 1000), ull(turn->commands), ull(turn->in_bytes),
               ull(turn->faults), ull(turn->slept), ull(turn->displaced));
    for (int i = 0; i < TURN_STAGES; i++)
        buf_printf(out, ",%s=%llu", names[i], ull(turn->stages_ns[i] / 1000));
    buf_printf(out, "\n");
}

static void show(const struct turn_costs *t, struct buf *out) {
    buf_printf(out,
               "seconds:%.3f\nturns:%llu\nover_wall:%llu\nover_cpu:%llu\nover_cpu_without_snapshot:%llu\n"
               "over_wall_displaced:%llu\nover_wall_slept:%llu\nover_cpu_commands:%llu\n"
               "over_cpu_faults:%llu\nover_cpu_snapshot_usec:%llu\n",
               (double)(uv_hrtime() - t->began_ns) / 1e9, ull(hist_count(&t->worked_us)),
               ull(t->over.wall), ull(t->over.worked), ull(t->over.without_snapshot),
               ull(t->over.displaced), ull(t->over.slept), ull(t->over.commands),
               ull(t->over.faults), ull(t->over.snapshot_us));
    put_hist(out, "wall", &t->wall_us);
    put_hist(out, "cpu", &t->worked_us);
    put_hist(out, "snapshot", &t->snapshot_us);
    for (int i = 0; i < LONGEST_KEPT && t->longest[i].worked_ns; i++) put_turn(out, &t->longest[i]);
}

static void stop(struct engine *engine) {
    mem_free(engine->turn_costs);
    engine->turn_costs = NULL;
}

static void debug_turns(struct client *c) {
    struct engine *engine = c->engine;
    struct buf text = {0};
    if (c->argc != 3) {
        reply_wrong_arity(c);
    } else if (arg_is(c->argv[2], "on")) {
        stop(engine);
        (void)uv_loop_configure(engine->loop, UV_METRICS_IDLE_TIME);
        engine->turn_costs = NEW(struct turn_costs);
        engine->turn_costs->began_ns = uv_hrtime();
        begin_turn(engine, engine->turn_costs->began_ns);
        reply_ok(c);
    } else if (arg_is(c->argv[2], "off")) {
        stop(engine);
        reply_ok(c);
    } else if (arg_is(c->argv[2], "show")) {
        if (engine->turn_costs) show(engine->turn_costs, &text);
        reply_verbatim(c, "txt", buf_slice(&text));
        buf_close(&text);
    } else {
        reply_unknown_subcommand(c);
    }
}

void turn_cost_bind(struct engine *engine) {
    engine_debug_add(engine, "turns", debug_turns,
                     "TURNS <ON|OFF|SHOW>: What turns of the engine cost, by the clock and in processor time.");
}

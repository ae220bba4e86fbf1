/* gateway.c -- the front proxy: one Redis endpoint for clients. Start, the main loop, and what it
 * does with the decisions of hold.c and the reports of the loops.
 *
 *     main loop:  control (state), admin, signals, hold        gw-0 ... gw-N: clients and backends
 *                       |  worker_tell()  ------------------------->  |
 *                       |  <-------------------------  gateway_tell() |
 */
#include "gateway/gateway.h"

#include "gateway/admin.h"
#include "gateway/control.h"
#include "gateway/dual_audit.h"
#include "gateway/lanes_control.h"
#include "gateway/reads.h"
#include "gateway/stats.h"
#include "gateway/worker.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/net/listener.h"
#include "lib/net/metrics_http.h"
#include "lib/net/tls.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define TICK_MS 50u

/* ---- decisions ---- */
static void tell_all(struct gateway *gw, enum tell tell) {
    struct tell_message message = {
        .tell = tell, .round = gw->hold.round, .epoch = gw->hold.epoch, .side = gw->hold.side,
        .lanes = gw->lanes};
    for (unsigned i = 0; i < gw->loops; i++) worker_tell(gw->workers[i], &message);
}

static void report_held(struct gateway *gw) {
    const struct hold_totals *t = &gw->hold.held;
    struct buf json = {0};
    buf_printf(&json,
               "{\"outstanding_us\":%" PRIu64 ",\"clients\":%" PRIu64 ",\"queued\":%" PRIu64
               ",\"blocked\":%" PRIu64 "}",
               t->outstanding_us, t->clients, t->queued, t->blocked);
    log_info("barrier.held", LOG_S("barrier", gw->hold.barrier), LOG_U("clients", t->clients),
             LOG_U("outstanding_us", t->outstanding_us), LOG_U("blocked", t->blocked));
    control_report(gw->control, "HELD", gw->hold.barrier, buf_slice(&json));
    buf_close(&json);
}

static void report_released(struct gateway *gw) {
    const struct hold_totals *t = &gw->hold.released;
    struct buf json = {0};
    buf_printf(&json,
               "{\"held_us_max\":%" PRIu64 ",\"clients\":%" PRIu64 ",\"queued\":%" PRIu64 "}",
               t->held_us_max, t->clients, t->queued);
    log_info("barrier.released", LOG_S("barrier", gw->hold.barrier), LOG_U("epoch", gw->hold.epoch),
             LOG_S("primary", gateway_side_name(gw->hold.side)),
             LOG_U("held_us_max", t->held_us_max));
    control_report(gw->control, "RELEASED", gw->hold.barrier, buf_slice(&json));
    buf_close(&json);
}

void gateway_carry_out(struct gateway *gw, unsigned todo) {
    if (todo & HOLD_DO_ROUTE) {
        log_info("gateway.route", LOG_U("epoch", gw->hold.epoch),
                 LOG_S("primary", gateway_side_name(gw->hold.side)));
        tell_all(gw, TELL_ROUTE);
    }
    if (todo & HOLD_DO_HOLD) {
        log_info("barrier.hold", LOG_S("barrier", gw->hold.barrier));
        tell_all(gw, TELL_HOLD);
    }
    if (todo & HOLD_DO_RELEASE) tell_all(gw, TELL_RELEASE);
    if (todo & HOLD_DO_ANSWER) control_released(gw->control);
    if (todo & HOLD_DO_REPORT_HELD) report_held(gw);
    if (todo & HOLD_DO_REPORT_RELEASED) report_released(gw);
    if (todo & HOLD_DO_BLACKOUT) {
        log_error(
            "barrier.blackout", LOG_S("barrier", gw->hold.barrier),
            LOG_S("note", "held commands fail now; the hold goes on until state releases it"));
        tell_all(gw, TELL_BLACKOUT);
    }
    stats_tick_hold(gw);
}

void gateway_prepare(struct gateway *gw, struct slice barrier, enum side side) {
    size_t size = barrier.size < HOLD_BARRIER_BYTES ? barrier.size : HOLD_BARRIER_BYTES - 1;
    if (size > 0) memcpy(gw->prepare_barrier, barrier.data, size);
    gw->prepare_barrier[size] = '\0';
    gw->prepare_left = gw->loops;
    gw->prepare_scripts = gw->prepare_refused = gw->prepare_subs = 0;
    struct tell_message message = {.tell = TELL_PREPARE, .side = side};
    for (unsigned i = 0; i < gw->loops; i++) worker_tell(gw->workers[i], &message);
}

/* ---- reports of the loops ---- */
static void on_prepared(struct gateway *gw, const struct report_message *m) {
    if (gw->prepare_left == 0) return;
    gw->prepare_scripts += m->scripts;
    gw->prepare_refused += m->refused;
    gw->prepare_subs += m->subs;
    if (--gw->prepare_left > 0) return;
    struct buf json = {0};
    buf_printf(&json, "{\"scripts\":%zu,\"scripts_missing\":%zu,\"subscriptions\":%zu}",
               gw->prepare_scripts, scripts_missing(gw->scripts) + gw->prepare_refused,
               gw->prepare_subs);
    control_report(gw->control, "PREPARED", gw->prepare_barrier, buf_slice(&json));
    buf_close(&json);
}

static void on_downgraded(struct gateway *gw, const struct report_message *m) {
    char text[sizeof m->why];
    size_t n = 0;
    for (const char *c = m->why; *c; c++)
        text[n++] = *c == '"' || *c == '\\' || *c < ' ' ? ' ' : *c;
    text[n] = '\0';
    struct buf json = {0};
    buf_printf(&json, "{\"side\":\"%s\",\"why\":\"%s\"}", gateway_side_name(m->side), text);
    control_report(gw->control, "DOWNGRADED", NULL, buf_slice(&json));
    buf_close(&json);
}

static void on_report(void *self) {
    struct report_message *m = self;
    struct gateway *gw = m->gw;
    if (gw->stopping) {
        mem_free(m);
        return;
    }
    switch (m->report) {
    case REPORT_HELD:
        gateway_carry_out(gw, hold_on_loop_held(&gw->hold, m->round, &m->totals));
        break;
    case REPORT_RELEASED:
        gateway_carry_out(gw, hold_on_loop_released(&gw->hold, m->round, &m->totals));
        break;
    case REPORT_PREPARED: on_prepared(gw, m); break;
    case REPORT_DRAINED: lanes_on_drained(gw, m->round); break;
    case REPORT_RESTED: lanes_on_rested(gw); break;
    case REPORT_DOWNGRADED: on_downgraded(gw, m); break;
    case REPORT_ENDED: drain_on_loop(gw, m->round); break;
    case REPORT_ASK: control_ask(gw->control, m->worker, m->backend, m->epoch); break;
    case REPORT_FAILED:
        log_error("gateway.failed", LOG_S("why", m->why));
        gw->failed = true;
        loop_stop(gw->main);
        break;
    default: UNREACHABLE("report");
    }
    mem_free(m);
}

void gateway_tell(struct gateway *gw, const struct report_message *message) {
    struct report_message *copy = mem_dup(message, sizeof *message);
    copy->gw = gw;
    bool taken = loop_call(gw->main, on_report, copy);
    ASSERT(taken); /* a report per connection that is opened; 65,536 may wait */
}

/* ---- the main loop ---- */
static void on_tick(void *self) {
    struct gateway *gw = self;
    uint64_t now_ms = loop_now_ms(gw->main);
    gateway_carry_out(gw, hold_on_tick(&gw->hold, now_ms));
    bool second = now_ms - gw->last_second_ms >= 1000;
    drain_tick(gw);
    lanes_tick(gw, second);
    gateway_audit_tick(gw, second);
    if (!second) return;
    gw->last_second_ms = now_ms;
    log_repeats(false);
    stats_tick(gw);
    control_tick(gw->control);
    if (!control_is_up(gw->control)) return;
    struct buf json = {0};
    stats_write_json(gw, &json);
    control_report(gw->control, "STATS", NULL, buf_slice(&json));
    buf_close(&json);
}

static enum err try_tls(const struct endpoint *listen, int64_t *not_after_s, struct why *why) {
    struct tls *tls = NULL;
    enum err err = tls_server_open(&tls, &listen->tls, why);
    if (err != OK) return why_add(why, err, "the old certificate stays");
    *not_after_s = tls_not_after(tls);
    tls_close(tls);
    return OK;
}

/* It is tried here first, so that whoever asked for it is told. */
enum err gateway_reload(struct gateway *gw, int64_t *not_after_s, struct why *why) {
    const struct drawbridge_config *config = gw->config;
    const struct endpoint *listen = &config->gateway.tls.listen.endpoint;
    const struct endpoint *peer = &config->gateway.peer.endpoint;
    bool clients = config->gateway.tls.on && listen->kind != ENDPOINT_NONE;
    bool peers = peer->kind == ENDPOINT_TCP && peer->tls.on;
    enum err err = OK;
    if (!clients && !peers)
        return why_set(why, ERR_CONFIG, "this gateway has no TLS listener");
    if (peers) err = try_tls(peer, not_after_s, why);
    if (err == OK && clients) err = try_tls(listen, not_after_s, why);
    if (err != OK) return err;
    log_info("gateway.tls_reloaded", LOG_I("not_after_s", *not_after_s));
    tell_all(gw, TELL_RELOAD);
    return OK;
}

static void on_hangup(struct gateway *gw) {
    struct why why;
    int64_t not_after_s = 0;
    if (gateway_reload(gw, &not_after_s, &why) != OK)
        log_error("gateway.not_reloaded", LOG_WHY(&why));
}

static void on_signal(uv_signal_t *handle, int number) {
    struct gateway *gw = handle->data;
    if (number == SIGHUP) {
        on_hangup(gw);
        return;
    }
    log_info("gateway.stopping", LOG_I("signal", number));
    drain_begin(gw);
}

/* ---- start ---- */

/* Our loops share a port (SO_REUSEPORT), and another process with our user could share it, too:
 * then each would get a part of the clients. So it is taken once without sharing, to see that
 * nobody has it. */
static enum err see_free(const struct endpoint *endpoint, struct why *why) {
    int fd = -1;
    if (endpoint->kind != ENDPOINT_TCP || endpoint->port == 0) return OK;
    enum err err = listener_socket(endpoint, NULL, &fd, why);
    if (err == OK) (void)close(fd);
    return err;
}

static enum err open_all(struct gateway *gw, struct why *why) {
    const struct drawbridge_config *config = gw->config;
    int64_t loops = config->gateway.loops;
    if (loops <= 0) loops = sysconf(_SC_NPROCESSORS_ONLN);
    if (loops < 1) loops = 1;
    if (loops > (int64_t)GATEWAY_LOOPS_MAX) loops = GATEWAY_LOOPS_MAX;
    const struct endpoint *plain = &config->gateway.listen.endpoint;
    const struct endpoint *tls = &config->gateway.tls.listen.endpoint;
    if (plain->kind == ENDPOINT_NONE && !config->gateway.tls.on)
        return why_set(why, ERR_CONFIG,
                       "gateway.listen is missing: where do clients connect? "
                       "(gateway.tls.listen alone would do)");
    if (plain->kind == ENDPOINT_UNIX) loops = 1;
    hold_init(&gw->hold, (unsigned)loops, (uint64_t)config->cutover.max_blackout);
    enum err err = see_free(plain, why);
    if (err == OK && config->gateway.tls.on) err = see_free(tls, why);
    for (unsigned i = 0; err == OK && i < loops; i++) {
        err = worker_open(&gw->workers[i], gw, i, why);
        if (err == OK) gw->loops = i + 1;
    }
    if (err == OK && config->gateway.admin.endpoint.kind != ENDPOINT_NONE)
        err = admin_open(&gw->admin, gw, why);
    if (err == OK && config->gateway.metrics.endpoint.kind != ENDPOINT_NONE)
        err = metrics_http_open(&gw->http, &config->gateway.metrics.endpoint, "gateway",
                                stats_add_metrics, gw, why);
    return err;
}

static void close_all(struct gateway *gw) {
    gw->stopping = true;
    metrics_http_close(gw->http);
    admin_close(gw->admin);
    for (unsigned i = gw->loops; i > 0; i--) worker_stop(gw->workers[i - 1]); /* lanes are last */
    control_close(gw->control);
    loop_close(gw->main); /* what the loops still reported is dropped here */
    for (unsigned i = 0; i < gw->loops; i++) worker_close(gw->workers[i]);
}

/* A client and, perhaps, a connection of its own behind it: as many files as that may take. */
static void raise_file_limit(const struct drawbridge_config *config) {
    struct rlimit limit;
    rlim_t wanted = (rlim_t)config->gateway.max_clients * 2 + 256;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= wanted) return;
    log_warn("gateway.few_files", LOG_U("limit", limit.rlim_cur), LOG_U("wanted", wanted));
}

#define SIGNALS 3

static void catch_signals(struct gateway *gw, uv_signal_t signals[SIGNALS], bool on) {
    static const int numbers[SIGNALS] = {SIGINT, SIGTERM, SIGHUP};
    for (int i = 0; i < SIGNALS; i++) {
        if (!on) {
            uv_close((uv_handle_t *)&signals[i], NULL);
            continue;
        }
        uv_signal_init(loop_uv(gw->main), &signals[i]);
        signals[i].data = gw;
        uv_signal_start(&signals[i], on_signal, numbers[i]);
    }
}

static enum err run(struct gateway *gw, struct why *why) {
    uv_signal_t signals[SIGNALS];
    enum err err = loop_open(&gw->main, "gw-main", why);
    if (err != OK) return err;
    err = open_all(gw, why);
    if (err == OK) {
        catch_signals(gw, signals, true);
        tell_all(gw, TELL_ACCEPT);
        if (gw->standalone)
            gateway_carry_out(gw, hold_on_route(&gw->hold, 0, SIDE_LEGACY));
        else
            gw->control = control_open(gw);
        loop_timer_start(gw->main, &gw->timer, TICK_MS, TICK_MS, on_tick, gw);
        log_info(
            "gateway.ready", LOG_S("listen", gw->config->gateway.listen.text),
            LOG_S("tls", gw->config->gateway.tls.on ? gw->config->gateway.tls.listen.text : NULL),
            LOG_U("loops", gw->loops), LOG_B("standalone", gw->standalone));
        loop_run(gw->main);
        if (gw->failed) err = why_set(why, ERR_STOPPED, "a loop cannot go on");
        loop_timer_stop(&gw->timer);
        catch_signals(gw, signals, false);
    }
    close_all(gw);
    return err;
}

#define OVERRIDES_MAX 8u

static int usage(void) {
    fprintf(stderr,
            "usage: drawbridge gateway FILE [--name NAME] [--listen ADDRESS] [--admin PATH] "
            "[--metrics ADDRESS] [--loops N] [--standalone yes] [--peer ADDRESS]\n");
    return 2;
}

/* FILE and overrides; false: wrong usage. */
static bool read_arguments(int argc, char **argv, const char **file,
                           struct config_override overrides[OVERRIDES_MAX]) {
    static const char *const names[][2] = {
        {"--name", "gateway.name"},   {"--listen", "gateway.listen"},
        {"--admin", "gateway.admin"}, {"--metrics", "gateway.metrics"},
        {"--loops", "gateway.loops"}, {"--standalone", "gateway.standalone"},
        {"--peer", "gateway.peer"},
    };
    size_t count = 0;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-') {
            if (*file != NULL) return false;
            *file = argv[i];
            continue;
        }
        size_t at = 0;
        while (at < sizeof names / sizeof *names && strcmp(argv[i], names[at][0]) != 0) at++;
        if (at == sizeof names / sizeof *names || i + 1 == argc || count + 1 == OVERRIDES_MAX)
            return false;
        overrides[count++] = (struct config_override){names[at][1], argv[++i]};
    }
    return *file != NULL;
}

int gateway_main(int argc, char **argv) {
    const char *file = NULL;
    struct config_override overrides[OVERRIDES_MAX] = {{0}};
    if (!read_arguments(argc, argv, &file, overrides)) return usage();
    struct drawbridge_config config;
    struct why why;
    enum err err = config_load(&config, file, overrides, &why);
    if (err != OK) {
        fprintf(stderr, "drawbridge gateway: %s\n", why.text);
        return 2;
    }
    struct gateway *gw = NEW(struct gateway);
    gw->config = &config;
    gw->standalone = gw->capture_known = config.gateway.standalone;
    gw->lanes = gw->standalone && config.gateway.capture == CAPTURE_LANE;
    (void)snprintf(gw->name, sizeof gw->name, "%s", config.gateway.name);
    baseline_board_init(&gw->baseline, config.gateway.baseline);
    gw->scripts = scripts_open();
    gw->stats = stats_open();
    struct reads_policy reads;
    if (reads_parse(slice_text(config.gateway.reads), &reads, &why) != OK)
        reads = (struct reads_policy){.kind = READS_PRIMARY}; /* config.c has checked it */
    gw->reads = reads_open(reads);
    (void)signal(SIGPIPE, SIG_IGN);
    err = config_start_log(&config, "gateway", &why);
    raise_file_limit(&config);
    if (err == OK) err = run(gw, &why);
    if (err != OK) {
        log_error("gateway.failed", LOG_WHY(&why));
        fprintf(stderr, "drawbridge gateway: %s\n", why.text);
    }
    scripts_close(gw->scripts);
    stats_close(gw->stats);
    reads_close(gw->reads);
    mem_free(gw);
    config_close(&config);
    return err == OK ? 0 : 1;
}

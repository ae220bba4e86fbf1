/* syncer.c -- links: copy and follow any Redis. See syncer.h. */
#include "syncer/syncer.h"

#include "lib/base/log.h"
#include "lib/net/metrics_http.h"
#include "syncer/steer.h"
#include "syncer/link.h"
#include "syncer/report.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PROGRESS_S 1

static int usage(void) {
    fprintf(stderr, "usage: drawbridge syncer FILE [--standalone [--pieces-over BYTES]]\n"
                    "  copies and follows as `state` tells it; --standalone: runs the forward link by itself\n"
                    "  --pieces-over: larger values are copied element by element (for tests; else 64 MB)\n");
    return 2;
}

/* Wait for a signal that ends the process, or for TIMEOUT_S. */
static bool told_to_end(const sigset_t *signals, int timeout_s) {
    struct timespec timeout = {.tv_sec = timeout_s};
    return sigtimedwait(signals, NULL, &timeout) > 0;
}

static void collect_link(void *link, struct metrics *metrics) { report_metrics(link, metrics); }
static void collect_steer(void *steer, struct metrics *metrics) { steer_metrics(steer, metrics); }

static int run_standalone(const struct drawbridge_config *config, const sigset_t *signals, size_t pieces_over, struct why *why) {
    struct link *link = NULL;
    struct metrics_http *http = NULL;
    struct link_options options = {.name = "forward", .from = &config->legacy, .to = &config->target,
        .spool_dir = config->syncer.spool.dir, .limit_bytes = (uint64_t)config->syncer.spool.limit, .epoch = 1,
        .may_copy = true, .role = LINK_ACTIVE, .throttle_ops = (uint64_t)config->syncer.copy.throttle.ops,
        .throttle_bytes = (uint64_t)config->syncer.copy.throttle.bytes, .pieces_over = pieces_over};
    enum err err = link_open(&link, &options, why);
    if (err == OK) err = metrics_http_open(&http, &config->syncer.metrics.endpoint, "syncer", collect_link, link, why);
    while (err == OK && !told_to_end(signals, PROGRESS_S)) report_log(link);
    metrics_http_close(http);
    link_close(link);
    return err == OK ? 0 : 1;
}

struct ending {
    sigset_t *signals;
    bool told; /* for good: a signal is seen once, and many ask */
};

static bool told_now(void *self) {
    struct ending *ending = self;
    ending->told = ending->told || told_to_end(ending->signals, 0);
    return ending->told;
}

static int run_member(const struct drawbridge_config *config, sigset_t *signals, struct why *why) {
    struct steer *steer = NULL;
    struct metrics_http *http = NULL;
    struct ending ending = {.signals = signals};
    enum err err = steer_open(&steer, config, why);
    if (err == OK) err = metrics_http_open(&http, &config->syncer.metrics.endpoint, "syncer", collect_steer, steer, why);
    if (err == OK) steer_run(steer, told_now, &ending);
    metrics_http_close(http);
    steer_close(steer);
    return err == OK ? 0 : 1;
}

int syncer_main(int argc, char **argv) {
    struct drawbridge_config config;
    struct why why;
    sigset_t signals;
    int64_t pieces_over = 0;
    bool standalone = argc >= 3 && strcmp(argv[2], "--standalone") == 0;
    bool pieces = standalone && argc == 5 && strcmp(argv[3], "--pieces-over") == 0 &&
                  slice_to_int(slice_text(argv[4]), &pieces_over) && pieces_over > 0;
    if (argc != 2 && !(standalone && argc == 3) && !pieces) return usage();
    if (config_load(&config, argv[1], NULL, &why) != OK || config_start_log(&config, "syncer", &why) != OK) {
        fprintf(stderr, "drawbridge syncer: %s\n", why.text);
        return 2;
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    int code = standalone ? run_standalone(&config, &signals, (size_t)pieces_over, &why) : run_member(&config, &signals, &why);
    if (code != 0) {
        log_error("syncer.failed", LOG_WHY(&why));
        fprintf(stderr, "drawbridge syncer: %s\n", why.text);
    }
    config_close(&config);
    return code;
}

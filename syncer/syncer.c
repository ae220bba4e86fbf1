/* syncer.c -- links: copy and follow any Redis. See syncer.h. */
#include "syncer/syncer.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "syncer/link.h"
#include "syncer/report.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PROGRESS_S 1

static int usage(void) {
    fprintf(stderr, "usage: drawbridge syncer FILE [--standalone]\n"
                    "  copies and follows as `state` tells it; --standalone: runs the forward link by itself\n");
    return 2;
}

/* Wait for a signal that ends the process, or for TIMEOUT_S. */
static bool told_to_end(const sigset_t *signals, int timeout_s) {
    struct timespec timeout = {.tv_sec = timeout_s};
    return sigtimedwait(signals, NULL, &timeout) > 0;
}

static int run_standalone(const struct drawbridge_config *config, const sigset_t *signals) {
    struct link *link = NULL;
    struct why why;
    struct link_options options = {.name = "forward", .from = &config->legacy, .to = &config->target,
        .spool_dir = config->syncer.spool.dir, .limit_bytes = (uint64_t)config->syncer.spool.limit, .epoch = 1,
        .may_copy = true, .role = LINK_ACTIVE, .throttle_ops = (uint64_t)config->syncer.copy.throttle.ops,
        .throttle_bytes = (uint64_t)config->syncer.copy.throttle.bytes};
    if (link_open(&link, &options, &why) != OK) {
        log_error("syncer.start", LOG_WHY(&why));
        return 1;
    }
    while (!told_to_end(signals, PROGRESS_S)) report_log(link);
    link_close(link);
    return 0;
}

int syncer_main(int argc, char **argv) {
    struct drawbridge_config config;
    struct why why;
    sigset_t signals;
    bool standalone = argc == 3 && strcmp(argv[2], "--standalone") == 0;
    if (argc < 2 || (argc == 3 && !standalone) || argc > 3) return usage();
    if (config_load(&config, argv[1], NULL, &why) != OK || config_start_log(&config, "syncer", &why) != OK) {
        fprintf(stderr, "drawbridge syncer: %s\n", why.text);
        return 2;
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    int code = run_standalone(&config, &signals);
    config_close(&config);
    return code;
}

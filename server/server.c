/* server.c -- the bundled target: a Redis-compatible in-memory server. */
#include "server/server.h"

#include "lib/base/version.h"
#include "server/acl.h"
#include "server/cluster.h"
#include "server/crash.h"
#include "server/oom.h"
#include "server/replica_expiry.h"
#include "server/start.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void allow_connections(struct engine *engine) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    rlim_t wanted = (rlim_t)engine->settings.maxclients + 32;
    if (limit.rlim_cur >= wanted) return;
    limit.rlim_cur =
        limit.rlim_max == RLIM_INFINITY || limit.rlim_max > wanted ? wanted : limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void write_pid(struct engine *engine) {
    const char *path = engine->settings.pidfile;
    FILE *file = path[0] ? fopen(path, "w") : NULL;
    if (file == NULL) return;
    fprintf(file, "%d\n", (int)getpid());
    fclose(file);
}

static int fail(const struct why *why) {
    fprintf(stderr, "drawbridge server: %s\n", why->text);
    return 1;
}

/* Where a daemon's words are heard. */
static int fail_later(struct engine *engine, const struct why *why) {
    if (engine->settings.daemonize) engine_log(engine, '#', "%s", why->text);
    return fail(why);
}

static const char usage[] =
    "usage: drawbridge server [FILE] [--OPTION VALUE ...]\n"
    "FILE and options are those of redis.conf; - reads the file from standard input.\n";

int server_main(int argc, char **argv) {
    struct why why = {{0}};
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    struct engine *engine = engine_new();
    config_init(engine);
    if (config_read_all(engine, argc, argv, &why) != OK) return fail(&why);
    if (chdir(engine->settings.dir) != 0) {
        why_set(&why, ERR_CONFIG, "cannot go to the directory '%s': %s", engine->settings.dir,
                strerror(errno));
        return fail(&why);
    }
    if (engine->settings.daemonize && daemon(1, 0) != 0) {
        why_set(&why, ERR_IO, "cannot become a daemon: %s", strerror(errno));
        return fail(&why);
    }
    allow_connections(engine);
    oom_role_changed(engine);
    crash_open(engine);
    replica_expiry_open(engine);
    if (acl_start(engine, &why) != OK) return fail_later(engine, &why);
    engine_make_dbs(engine);
    command_groups_bind(engine);
    if (cluster_open(engine, &why) != OK) return fail_later(engine, &why);
    write_pid(engine);
    engine_log(engine, '#',
               "Drawbridge " DRAWBRIDGE_VERSION " (behaves as Redis " SERVER_VERSION "), PID: %d",
               (int)getpid());
    if (engine_run(engine, &why) != OK) return fail_later(engine, &why);
    if (engine->settings.pidfile[0]) (void)unlink(engine->settings.pidfile);
    return 0;
}

/* state.c -- the process: configuration, loop, core, API, signals. */
#include "state/state.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/control/config.h"
#include "state/api.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define SIGNALS 3

struct signals {
    uv_signal_t watched[SIGNALS];
    struct loop *loop;
    struct core *core;
};

static void on_signal(uv_signal_t *signal, int number) {
    struct signals *signals = signal->data;
    struct why why;
    if (number != SIGHUP) {
        log_info("state.stopping", LOG_I("signal", number));
        loop_stop(signals->loop);
        return;
    }
    enum err err = members_reload_tls(signals->core->members, &why);
    if (!err) err = core_topology_reload(signals->core, &why);
    if (err)
        log_error("state.not_reloaded", LOG_WHY(&why));
    else
        log_info("state.reloaded");
}

static void watch_signals(struct signals *signals, struct loop *loop, struct core *core) {
    static const int numbers[SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
    signals->loop = loop;
    signals->core = core;
    for (size_t i = 0; i < SIGNALS; i++) {
        uv_signal_init(loop_uv(loop), &signals->watched[i]);
        signals->watched[i].data = signals;
        uv_signal_start(&signals->watched[i], on_signal, numbers[i]);
    }
}

static void forget_signals(struct signals *signals) {
    for (size_t i = 0; i < SIGNALS; i++) uv_close((uv_handle_t *)&signals->watched[i], NULL);
}

static enum err serve(struct loop *loop, const struct drawbridge_config *config, int *exit_code,
                      struct why *why) {
    struct core *core = NEW(struct core);
    struct api *api = NULL;
    struct signals signals;
    enum err err = core_open(core, loop, config, why);
    if (err) {
        mem_free(core);
        return err;
    }
    err = api_open(&api, core, why);
    if (!err) {
        watch_signals(&signals, loop, core);
        loop_run(loop);
        forget_signals(&signals);
    }
    *exit_code = core->exit_code;
    while (core->starting) loop_turn(loop, true);
    core_close(core); /* answers what waits for the ledger; the API answers the rest */
    api_close(api);
    mem_free(core);
    return err;
}

static int fail(int code, const char *text) {
    fprintf(stderr, "drawbridge state: %s\n", text);
    return code;
}

static enum err run(const struct drawbridge_config *config, int *exit_code, struct why *why) {
    struct loop *loop = NULL;
    enum err err = config_start_log(config, "state", why);
    if (!err) err = loop_open(&loop, "state", why);
    if (!err) err = serve(loop, config, exit_code, why);
    loop_close(loop);
    return err;
}

int state_main(int argc, char **argv) {
    struct config_override overrides[32] = {{NULL, NULL}};
    struct drawbridge_config config;
    struct why why;
    char names[31][64];
    size_t count = 0;
    int exit_code = 0;
    if (argc < 2 || argv[1][0] == '-')
        return fail(2, "usage: drawbridge state FILE [--OPTION VALUE ...]");
    for (int i = 2; i < argc; i += 2) {
        if (i + 1 >= argc || strncmp(argv[i], "--", 2) != 0 || count == 31)
            return fail(2, "options come as --name value, such as --state.api unix:/run/api.sock");
        /* Options of this role may leave out its name. */
        bool dotted = strchr(argv[i], '.') != NULL || strcmp(argv[i], "--migration") == 0;
        snprintf(names[count], sizeof names[count], "%s%.40s", dotted ? "" : "state.", argv[i] + 2);
        overrides[count] = (struct config_override){names[count], argv[i + 1]};
        overrides[++count] = (struct config_override){NULL, NULL};
    }
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    if (config_load(&config, argv[1], overrides, &why)) return fail(2, why.text);
    enum err err = run(&config, &exit_code, &why);
    config_close(&config);
    return err ? fail(1, why.text) : exit_code;
}

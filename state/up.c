/* up.c -- `drawbridge up FILE`: every role of the file on this machine, each a process of its own.
 *
 *   start: server, state, syncer, gateway      stop: gateway, syncer, state, server
 *
 * A role that ends is started again, after 0.2 s, 0.4 s ... 10 s. One that fails within its first
 * seconds has a mistake that a restart does not mend (port in use, bad certificate): everything is
 * stopped, and what it said last is shown. Each role logs to run_dir/ROLE.log.
 */
#include "lib/base/mem.h"
#include "state/cli_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FIRST_SECONDS_MS 3000
#define BACKOFF_MIN_MS 200
#define BACKOFF_MAX_MS 10000
#define GOOD_AFTER_MS 30000 /* a life this long forgives the deaths before */
#define STOP_MS 10000

enum { SERVER, STATE, SYNCER, GATEWAY, CHILDREN };

struct child {
    const char *name;
    bool wanted;
    int64_t stop_ms; /* how long it may take to end */
    pid_t pid; /* 0: not running */
    int64_t started_ms, restart_at_ms, backoff_ms;
    unsigned starts;
    char log[512];
    const char *argv[12];
};

struct supervisor {
    struct child child[CHILDREN];
    const char *file;
    bool stopping;
    int exit_code;
};

static void PRINTF(1, 2) say(const char *fmt, ...) {
    char at[32];
    struct timespec now;
    va_list args;
    clock_gettime(CLOCK_REALTIME, &now);
    printf("%s  ", cli_clock((int64_t)now.tv_sec * 1000, at));
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

/* What the role said last, when it fell. */
static void show_tail(const struct child *child) {
    char bytes[2048];
    int fd = open(child->log, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    off_t size = lseek(fd, 0, SEEK_END);
    off_t from = size > (off_t)sizeof bytes ? size - (off_t)sizeof bytes : 0;
    ssize_t got = pread(fd, bytes, sizeof bytes, from);
    close(fd);
    if (got <= 0) return;
    int lines = 0;
    ssize_t start = got;
    while (start > 0 && lines < 5)
        if (bytes[--start] == '\n' && start != got - 1) lines++;
    fprintf(stderr, "%.*s", (int)(got - start), bytes + start);
}

static void run_child(const struct child *child) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0); /* Ctrl-C is for the supervisor, which stops the roles in order */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    int log = open(child->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (log >= 0) {
        dup2(log, STDOUT_FILENO);
        dup2(log, STDERR_FILENO);
    }
    if (null >= 0) dup2(null, STDIN_FILENO);
    union {
        const char *const *from;
        char *const *to;
    } argv = {child->argv};
    execv("/proc/self/exe", argv.to);
    _exit(127);
}

static void start_child(struct child *child) {
    pid_t pid = fork();
    if (pid == 0) run_child(child);
    if (pid < 0) {
        say("%s: cannot start: %s", child->name, strerror(errno));
        child->restart_at_ms = cli_now_ms() + BACKOFF_MAX_MS;
        return;
    }
    child->pid = pid;
    child->started_ms = cli_now_ms();
    child->restart_at_ms = 0;
    child->starts++;
    say("%s: %s, process %d, log %s", child->name, child->starts > 1 ? "started again" : "started",
        (int)pid, child->log);
}

static void stop_child(struct child *child) {
    if (!child->pid) return;
    kill(child->pid, SIGTERM);
    int64_t until = cli_now_ms() + child->stop_ms;
    while (waitpid(child->pid, NULL, WNOHANG) == 0) {
        if (cli_now_ms() >= until) {
            say("%s: does not stop; killed", child->name);
            kill(child->pid, SIGKILL);
            waitpid(child->pid, NULL, 0);
            break;
        }
        struct timespec ts = {0, 20 * 1000000};
        nanosleep(&ts, NULL);
    }
    child->pid = 0;
    say("%s: stopped", child->name);
}

static void stop_all(struct supervisor *s) {
    static const int order[CHILDREN] = {GATEWAY, SYNCER, STATE, SERVER};
    s->stopping = true;
    for (size_t i = 0; i < CHILDREN; i++) stop_child(&s->child[order[i]]);
}

static void describe(int status, char text[64]) {
    if (WIFSIGNALED(status))
        snprintf(text, 64, "killed by signal %d", WTERMSIG(status));
    else
        snprintf(text, 64, "ended with code %d", WEXITSTATUS(status));
}

static void child_ended(struct supervisor *s, struct child *child, int status) {
    char text[64];
    int64_t lived_ms = cli_now_ms() - child->started_ms;
    describe(status, text);
    child->pid = 0;
    bool mistake = WIFEXITED(status) && WEXITSTATUS(status) != 0;
    if (child->starts == 1 && lived_ms < FIRST_SECONDS_MS && mistake) {
        say("%s: %s; it cannot run like this:", child->name, text);
        show_tail(child);
        s->exit_code = WEXITSTATUS(status) == EXIT_USAGE ? EXIT_USAGE : EXIT_FAILED;
        s->stopping = true;
        return;
    }
    if (lived_ms > GOOD_AFTER_MS || child->backoff_ms == 0)
        child->backoff_ms = BACKOFF_MIN_MS;
    else if (child->backoff_ms < BACKOFF_MAX_MS / 2)
        child->backoff_ms *= 2;
    else
        child->backoff_ms = BACKOFF_MAX_MS;
    child->restart_at_ms = cli_now_ms() + child->backoff_ms;
    say("%s: %s; again in %.1f s", child->name, text, (double)child->backoff_ms / 1000);
}

static void reap(struct supervisor *s) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < CHILDREN; i++)
            if (s->child[i].pid == pid) child_ended(s, &s->child[i], status);
}

static void start_due(struct supervisor *s) {
    for (size_t i = 0; i < CHILDREN; i++) {
        struct child *child = &s->child[i];
        if (child->wanted && !child->pid && child->restart_at_ms <= cli_now_ms())
            start_child(child);
    }
}

/* The roles that keep certificates of listeners read them again. */
static void reload(struct supervisor *s) {
    static const int order[] = {STATE, GATEWAY};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (s->child[order[i]].pid) kill(s->child[order[i]].pid, SIGHUP);
    say("reload: certificates of state and gateway are read again");
}

static void supervise(struct supervisor *s) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    while (!s->stopping) {
        start_due(s);
        struct timespec wait = {0, 100 * 1000000};
        int number = sigtimedwait(&set, NULL, &wait);
        reap(s);
        if (number == SIGHUP) reload(s);
        if (number == SIGINT || number == SIGTERM) {
            say("stopping: gateway, syncer, state, server");
            s->stopping = true;
        }
    }
    stop_all(s);
}

static void add(struct supervisor *s, int at, const char *name,
                const struct drawbridge_config *config) {
    struct child *child = &s->child[at];
    child->name = name;
    child->wanted = true;
    child->stop_ms = STOP_MS;
    if (at == GATEWAY && config->gateway.drain > STOP_MS / 2)
        child->stop_ms = config->gateway.drain + STOP_MS / 2;
    child->argv[0] = "drawbridge";
    child->argv[1] = name;
    child->argv[2] = s->file;
    snprintf(child->log, sizeof child->log, "%.400s/%s.log", config->run_dir, name);
}

/* The bundled server takes redis.conf's words. Without a file of its own it keeps an append-only
 * file, so that nothing that was confirmed is lost with the process. */
static void add_server(struct supervisor *s, const struct drawbridge_config *config,
                       char port[16]) {
    add(s, SERVER, "server", config);
    const char **argv = s->child[SERVER].argv;
    size_t n = 2;
    snprintf(port, 16, "%" PRId64, config->server.port);
    if (config->server.config) argv[n++] = config->server.config;
    argv[n++] = "--port";
    argv[n++] = port;
    if (config->server.dir) {
        argv[n++] = "--dir";
        argv[n++] = config->server.dir;
    }
    if (config->server.metrics.text) {
        argv[n++] = "--metrics";
        argv[n++] = config->server.metrics.text;
    }
    if (!config->server.config) {
        argv[n++] = "--appendonly";
        argv[n++] = "yes";
    }
    argv[n] = NULL;
}

static bool make_folder(const char *path) {
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return true;
    if (mkdir(path, 0700) == 0) return true;
    fprintf(stderr, "drawbridge up: run_dir %s: %s\n", path, strerror(errno));
    return false;
}

int cli_up(struct cli *cli) {
    struct drawbridge_config config;
    struct supervisor s = {.file = cli_config_path(cli)};
    struct why why;
    char port[16];
    if (cli_load_config(cli, &config, &why)) {
        fprintf(stderr, "drawbridge up: %s\n", why.text);
        return EXIT_USAGE;
    }
    bool ready = make_folder(config.run_dir) &&
                 (!config.server.wanted || !config.server.dir || make_folder(config.server.dir));
    if (ready) {
        if (config.server.wanted) add_server(&s, &config, port);
        add(&s, STATE, "state", &config);
        add(&s, SYNCER, "syncer", &config);
        add(&s, GATEWAY, "gateway", &config);
        supervise(&s);
    }
    config_close(&config);
    return ready ? s.exit_code : EXIT_FAILED;
}

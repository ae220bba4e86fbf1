/* crash.c -- a stack trace in the log. See crash.h.
 *
 * In the handler only what a signal handler may call: write, open, and the dynamic linker's tables
 * behind backtrace_symbols_fd(), which were loaded before.
 */
#include "server/crash.h"

#include "lib/base/version.h"
#include "server/args.h"
#include "server/reply.h"

#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FRAMES_MAX 100
#define STACK_BYTES ((size_t)64 * 1024)

static const int deadly[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
static struct engine *owner;
static uint8_t own_stack[STACK_BYTES]; /* that of the thread may be what overflowed */

static void say(int fd, const char *words) {
    ssize_t written = write(fd, words, strlen(words));
    (void)written; /* nobody is left to be told */
}

static void say_number(int fd, const char *name, unsigned long long number, unsigned base) {
    char digits[24];
    size_t at = sizeof digits - 1;
    digits[at] = '\0';
    do {
        digits[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number && at > 0);
    say(fd, name);
    say(fd, digits + at);
}

static void report(int fd, int number, const siginfo_t *info) {
    void *frames[FRAMES_MAX];
    say_number(fd, "\n=== DRAWBRIDGE " DRAWBRIDGE_VERSION ": crashed by signal: ",
               (unsigned long long)number, 10);
    say_number(fd, ", si_code: ", (unsigned long long)info->si_code & 0xffffffffu, 10);
    say_number(fd, ", address: 0x", (unsigned long long)(uintptr_t)info->si_addr, 16);
    say_number(fd, ", pid: ", (unsigned long long)getpid(), 10);
    say(fd, "\n--- STACK TRACE (addr2line -e drawbridge ADDRESS names the lines)\n");
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), fd);
    say(fd, "=== END. Please report this with what stands above.\n");
}

static void on_crash(int number, siginfo_t *info, void *context) {
    (void)context;
    const char *path = owner->settings.logfile;
    int fd = path[0] ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : 1;
    if (fd >= 0) report(fd, number, info);
    (void)raise(number); /* SA_RESETHAND: this time it ends the process */
}

static bool is_ours_or_free(int number) {
    struct sigaction now;
    if (sigaction(number, NULL, &now) != 0) return false;
    if (now.sa_flags & SA_SIGINFO) return now.sa_sigaction == on_crash;
    return now.sa_handler == SIG_DFL;
}

enum err crash_apply(struct engine *engine, struct why *why) {
    (void)why;
    struct sigaction action = {.sa_sigaction = on_crash,
                               .sa_flags = (int)(SA_SIGINFO | SA_RESETHAND | SA_NODEFER | SA_ONSTACK)};
    if (!engine->settings.crash_log_enabled)
        action = (struct sigaction){.sa_handler = SIG_DFL};
    for (size_t i = 0; owner && i < COUNT(deadly); i++)
        if (is_ours_or_free(deadly[i])) (void)sigaction(deadly[i], &action, NULL);
    return OK;
}

static void debug_segfault(struct client *c) {
    (void)c;
    (void)raise(SIGSEGV);
}

void crash_open(struct engine *engine) {
    void *frame[1];
    const stack_t stack = {.ss_sp = own_stack, .ss_size = sizeof own_stack};
    struct why why;
    owner = engine;
    (void)backtrace(frame, 1); /* loads what it needs, which the handler could not */
    (void)sigaltstack(&stack, NULL);
    if (crash_apply(engine, &why) != OK) engine_log(engine, '#', "%s", why.text);
    engine_debug_add(engine, "segfault", debug_segfault, "SEGFAULT");
}

/* cli_text.c -- numbers and errors for people; the little things that every verb needs. */
#include "state/cli_inside.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void cli_print_json(const json_t *json) {
    json_dumpf(json, stdout, JSON_INDENT(1) | JSON_ENSURE_ASCII);
    fputc('\n', stdout);
    fflush(stdout);
}

static const char *scaled(double n, double base, const char *const *units, char text[32]) {
    size_t unit = 0;
    while (n >= base && units[unit + 1]) {
        n /= base;
        unit++;
    }
    snprintf(text, 32, unit && n < 100 ? "%.1f %s" : unit ? "%.0f %s" : "%.0f%s", n, units[unit]);
    return text;
}

const char *cli_count(int64_t n, char text[32]) {
    static const char *const units[] = {"", "k", "M", "G", NULL};
    return scaled((double)n, 1000, units, text);
}

const char *cli_bytes(int64_t bytes, char text[32]) {
    static const char *const units[] = {" B", "KB", "MB", "GB", "TB", NULL};
    return scaled((double)bytes, 1024, units, text);
}

const char *cli_duration(int64_t ms, char text[32]) {
    int64_t s = ms / 1000;
    if (ms < 0)
        snprintf(text, 32, "?");
    else if (s < 60)
        snprintf(text, 32, "%" PRId64 " s", s);
    else if (s < 3600)
        snprintf(text, 32, "%" PRId64 " min", s / 60);
    else if (s < 86400)
        snprintf(text, 32, "%" PRId64 " h %" PRId64 " min", s / 3600, s / 60 % 60);
    else
        snprintf(text, 32, "%" PRId64 " d %" PRId64 " h", s / 86400, s / 3600 % 24);
    return text;
}

const char *cli_clock(int64_t wall_ms, char text[32]) {
    time_t at = (time_t)(wall_ms / 1000);
    struct tm tm;
    localtime_r(&at, &tm);
    strftime(text, 32, "%H:%M:%S", &tm);
    return text;
}

const char *cli_paint(const struct cli *cli, const char *colour) {
    return cli->colour ? colour : "";
}

int64_t json_number(const json_t *json, const char *name) {
    json_t *value = json_object_get(json, name);
    return json_is_number(value) ? (int64_t)json_number_value(value) : 0;
}
double json_double(const json_t *json, const char *name) {
    json_t *value = json_object_get(json, name);
    return json_is_number(value) ? json_number_value(value) : 0;
}
const char *json_text(const json_t *json, const char *name) {
    const char *value = json_string_value(json_object_get(json, name));
    return value ? value : "";
}
bool json_truth(const json_t *json, const char *name) {
    return json_is_true(json_object_get(json, name));
}

void cli_print_error(const struct cli *cli, const json_t *answer) {
    if (cli->json) {
        cli_print_json(answer);
        return;
    }
    fprintf(stderr, "drawbridge %s: %s\n", cli->verb, json_text(answer, "error"));
    size_t i;
    json_t *step;
    json_array_foreach(json_object_get(answer, "next_steps"), i, step) {
        const char *text = json_string_value(step);
        if (text) fprintf(stderr, "  next: %s\n", text);
    }
}

bool cli_confirm(const struct cli *cli, const char *question) {
    if (cli->yes || !isatty(STDIN_FILENO)) return true;
    char line[16];
    fprintf(stderr, "%s [yes/no] ", question);
    return fgets(line, sizeof line, stdin) && strcmp(line, "yes\n") == 0;
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number) {
    (void)number;
    interrupted = 1;
}

bool cli_interrupted(void) {
    return interrupted != 0;
}

void cli_watch_interrupt(void) {
    struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
}

int64_t cli_now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void cli_sleep(int64_t ms) {
    if (interrupted) return;
    struct timespec ts = {ms / 1000, (ms % 1000) * 1000000};
    nanosleep(&ts, NULL);
}

bool cli_gone(int called, int64_t *reached_ms) {
    if (called != EXIT_UNREACHABLE) *reached_ms = cli_now_ms();
    return cli_now_ms() - *reached_ms > 60000;
}

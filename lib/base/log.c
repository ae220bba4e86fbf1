/* log.c -- log lines: which are written, and where to. What they look like is in log_line.c. */
#include "lib/base/log.h"

#include "lib/base/clock.h"
#include "lib/base/fs.h"
#include "lib/base/log_line.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define FIELDS_MAX 24
#define EVENTS 64           /* places for counting repeats; events share one if their hashes meet */
#define LINES_PER_SECOND 20 /* of one event */

_Atomic int log_level_now = LOG_LEVEL_INFO;

/* What one event did in the second that began at second_ms. */
struct repeats {
    int64_t second_ms;
    uint64_t last_line; /* hash of the newest line written */
    unsigned written;
    uint64_t held_back;
    enum log_level level;
    char event[48];
};

static struct {
    pthread_mutex_t lock;
    int fd;
    bool fd_is_ours;
    enum log_format format;
    char role[32];
    struct repeats repeats[EVENTS];
    struct buf line;
} out = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = STDERR_FILENO};

static _Atomic uint64_t counts[LOG_LEVEL_NONE], lost;

void log_set(enum log_format format, enum log_level level, const char *role) {
    pthread_mutex_lock(&out.lock);
    out.format = format;
    (void)snprintf(out.role, sizeof out.role, "%s", role ? role : "");
    pthread_mutex_unlock(&out.lock);
    log_set_level(level);
}

void log_set_level(enum log_level level) {
    atomic_store_explicit(&log_level_now, (int)level, memory_order_relaxed);
}

static void use_fd(int fd, bool ours) {
    pthread_mutex_lock(&out.lock);
    if (out.fd_is_ours) close(out.fd);
    out.fd = fd;
    out.fd_is_ours = ours;
    pthread_mutex_unlock(&out.lock);
}

enum err log_to_file(const char *path, struct why *why) {
    int fd;
    enum err err = fs_open(path, O_WRONLY | O_APPEND | O_CREAT, &fd, why);
    if (err) return why_add(why, err, "log file");
    use_fd(fd, true);
    return OK;
}

void log_to_fd(int fd) {
    use_fd(fd, false);
}

uint64_t log_count(enum log_level level) {
    return level < LOG_LEVEL_NONE ? atomic_load(&counts[level]) : 0;
}

uint64_t log_lost(void) {
    return atomic_load(&lost);
}

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size) {
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* One write(): lines of several threads and processes do not mix. Lock held. */
static void write_line(void) {
    struct slice line = buf_slice(&out.line);
    size_t cut = line.size < PIPE_BUF ? 0 : line.size - PIPE_BUF + 1; /* see log.h */
    out.line.end -= cut;
    buf_byte(&out.line, '\n');
    line = buf_slice(&out.line);
    /* A pipe that nobody empties must not stop a loop: then the line is lost. What it can take
     * without waiting, when it can take anything, is PIPE_BUF. */
    struct pollfd ready = {.fd = out.fd, .events = POLLOUT};
    ssize_t wrote = -1;
    if (poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT)) {
        do wrote = write(out.fd, line.data, line.size);
        while (wrote < 0 && errno == EINTR);
    }
    if (wrote != (ssize_t)line.size) atomic_fetch_add(&lost, 1);
    buf_clear(&out.line);
}

/* Say how many lines of the slot's event were held back, and forget them. Lock held. */
static void tell_repeats(struct repeats *slot) {
    if (slot->held_back == 0) return;
    struct log_field fields[] = {LOG_U("repeated", slot->held_back)};
    log_line(&out.line, out.format, clock_wall_ms(clock_real()), slot->level, out.role, slot->event,
             fields, 1);
    write_line();
    slot->held_back = 0;
}

void log_repeats(bool even_if_not) {
    int64_t now = clock_wall_ms(clock_real());
    pthread_mutex_lock(&out.lock);
    for (size_t i = 0; i < EVENTS; i++) {
        struct repeats *slot = &out.repeats[i];
        int64_t age = now - slot->second_ms;
        if (even_if_not || age >= 1000 || age < 0) tell_repeats(slot);
    }
    pthread_mutex_unlock(&out.lock);
}

/* Whether this line is to be written, or only counted. Lock held. */
static bool may_write(const char *event, enum log_level level, uint64_t line_hash, int64_t now) {
    struct repeats *slot = &out.repeats[hash_bytes(7, event, strlen(event)) % EVENTS];
    int64_t age = now - slot->second_ms;
    if (strncmp(slot->event, event, sizeof slot->event - 1) != 0 || age >= 1000 || age < 0) {
        tell_repeats(slot);
        *slot = (struct repeats){.second_ms = now, .level = level};
        (void)snprintf(slot->event, sizeof slot->event, "%s", event);
    }
    if (slot->written >= LINES_PER_SECOND || (slot->written && slot->last_line == line_hash)) {
        slot->held_back++;
        return false;
    }
    slot->written++;
    slot->last_line = line_hash;
    return true;
}

void log_event(enum log_level level, const char *event, ...) {
    ASSERT(level < LOG_LEVEL_NONE);
    struct log_field fields[FIELDS_MAX];
    size_t count = 0;
    va_list args;
    va_start(args, event);
    for (;;) {
        struct log_field field = va_arg(args, struct log_field);
        if (field.kind == LOG_KIND_END) break;
        ASSERT(count < FIELDS_MAX);
        fields[count++] = field;
    }
    va_end(args);
    atomic_fetch_add_explicit(&counts[level], 1, memory_order_relaxed);
    int64_t now = clock_wall_ms(clock_real());

    pthread_mutex_lock(&out.lock);
    /* The line without its time decides whether it is a repetition. */
    log_line(&out.line, out.format, 0, level, out.role, event, fields, count);
    uint64_t hash =
        hash_bytes(UINT64_C(0xcbf29ce484222325), buf_slice(&out.line).data, buf_size(&out.line));
    buf_clear(&out.line);
    if (may_write(event, level, hash, now)) {
        log_line(&out.line, out.format, now, level, out.role, event, fields, count);
        write_line();
    }
    pthread_mutex_unlock(&out.lock);
}

/* log.h -- event lines with fields, as text or JSON, to standard error or a file.
 *
 *     log_info("link.moved", LOG_S("id", link->id), LOG_U("offset", offset));
 *     2026-11-21T11:40:02.123Z info  link.moved id=east-3 offset=118
 *
 * error: a person must act; warn: we coped; info: state changes; debug. An event's name is a
 * constant like "area.verb". Values are escaped, cut at 512 bytes, and never keys of users or
 * secrets. A line equal to one of the same second, and more than 20 lines of one event in a second,
 * are counted; the count follows as "repeated=N" once the second is over.
 * Thread-safe. A line is one write() of at most PIPE_BUF (4096) bytes; when it fails, or would have
 * to wait because nobody empties the pipe, the line is lost and counted.
 */
#ifndef LIB_BASE_LOG_H
#define LIB_BASE_LOG_H

#include "lib/base/slice.h"
#include "lib/base/why.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR, LOG_LEVEL_NONE };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

enum log_kind {
    LOG_KIND_END,
    LOG_KIND_TEXT,
    LOG_KIND_BYTES,
    LOG_KIND_INT,
    LOG_KIND_UINT,
    LOG_KIND_DOUBLE,
    LOG_KIND_BOOL
};

struct log_field {
    const char *key;
    enum log_kind kind;
    union {
        const char *text;
        struct slice bytes;
        int64_t number;
        uint64_t count;
        double real;
        bool truth;
    } as;
};

#define LOG_FIELD(k, kind_, member, value)                                                         \
    ((struct log_field){.key = (k), .kind = (kind_), .as = {.member = (value)}})
#define LOG_S(key, value)                                                                          \
    LOG_FIELD(key, LOG_KIND_TEXT, text, value) /* a C string; NULL: left out */
#define LOG_SL(key, value) LOG_FIELD(key, LOG_KIND_BYTES, bytes, value) /* a slice */
#define LOG_I(key, value) LOG_FIELD(key, LOG_KIND_INT, number, (int64_t)(value))
#define LOG_U(key, value) LOG_FIELD(key, LOG_KIND_UINT, count, (uint64_t)(value))
#define LOG_D(key, value) LOG_FIELD(key, LOG_KIND_DOUBLE, real, (double)(value))
#define LOG_B(key, value) LOG_FIELD(key, LOG_KIND_BOOL, truth, value)
#define LOG_WHY(why) LOG_FIELD("why", LOG_KIND_TEXT, text, (why)->text)
#define LOG_END ((struct log_field){.kind = LOG_KIND_END})

/* log_info("event.name", fields...) */
#define log_error(...) LOG_AT(LOG_LEVEL_ERROR, __VA_ARGS__, LOG_END)
#define log_warn(...) LOG_AT(LOG_LEVEL_WARN, __VA_ARGS__, LOG_END)
#define log_info(...) LOG_AT(LOG_LEVEL_INFO, __VA_ARGS__, LOG_END)
#define log_debug(...) LOG_AT(LOG_LEVEL_DEBUG, __VA_ARGS__, LOG_END)
#define LOG_AT(level, ...) (log_is_on(level) ? log_event(level, __VA_ARGS__) : (void)0)

extern _Atomic int log_level_now; /* read by log_is_on() only */
static inline bool log_is_on(enum log_level level) {
    return (int)level >= atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

/* The variable arguments are struct log_field, the last one LOG_END. */
void log_event(enum log_level level, const char *event, ...);

/* Before anything is opened: text, info and standard error. ROLE (copied, NULL: none) is the first
 * field of each line. */
void log_set(enum log_format format, enum log_level level, const char *role);
void log_set_level(enum log_level level);

/* Append to the file PATH from now on (made with mode 0600); call again after rotation. */
MUST_CHECK enum err log_to_file(const char *path, struct why *why);
void log_to_fd(int fd); /* not closed by us */

/* Write the counts of repeats whose second is over (EVEN_IF_NOT: all). Loops call it each second.
 */
void log_repeats(bool even_if_not);

/* error and warn lines since start, and lines lost; for metrics. */
uint64_t log_count(enum log_level level);
uint64_t log_lost(void);

#endif

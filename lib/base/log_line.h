/* log_line.h -- what a log line looks like: a pure function, apart from where lines go. */
#ifndef LIB_BASE_LOG_LINE_H
#define LIB_BASE_LOG_LINE_H

#include "lib/base/buf.h"
#include "lib/base/log.h"

#define LOG_VALUE_BYTES_MAX 512 /* longer values are cut and end in "..." */

/* Append one line without its line feed. Whatever the values hold, the line has no control
 * characters, and as JSON it is one valid object. ROLE "" is left out. */
void log_line(struct buf *out, enum log_format format, int64_t wall_ms, enum log_level level,
              const char *role, const char *event, const struct log_field *fields, size_t count);

/* Append BYTES as a JSON string with its quotes; what is not UTF-8 becomes U+FFFD. */
void log_json_string(struct buf *out, struct slice bytes);

#endif

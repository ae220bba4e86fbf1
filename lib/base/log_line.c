/* log_line.c -- format a log line as text or JSON. */
#include "lib/base/log_line.h"

#include <math.h>
#include <time.h>

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static void put_time(struct buf *out, int64_t wall_ms) {
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char text[32];
    size_t size = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_append(out, text, size);
    buf_printf(out, ".%03dZ", (int)(wall_ms % 1000));
}

/* The length of the UTF-8 character at the front of S, or 0 when it is not one. */
static size_t utf8_length(struct slice s) {
    uint8_t c = s.data[0];
    size_t size = c < 0x80                ? 1
                  : c >= 0xc2 && c < 0xe0 ? 2
                  : c >= 0xe0 && c < 0xf0 ? 3
                  : c >= 0xf0 && c < 0xf5 ? 4
                                          : 0;
    if (size == 0 || size > s.size) return 0;
    for (size_t i = 1; i < size; i++)
        if ((s.data[i] & 0xc0) != 0x80) return 0;
    if ((c == 0xe0 && s.data[1] < 0xa0) || (c == 0xed && s.data[1] > 0x9f) ||
        (c == 0xf0 && s.data[1] < 0x90) || (c == 0xf4 && s.data[1] > 0x8f))
        return 0;
    return size;
}

static void put_escaped(struct buf *out, struct slice s) {
    while (s.size) {
        uint8_t c = s.data[0];
        size_t size = utf8_length(s);
        if (c == '"' || c == '\\') {
            buf_byte(out, '\\');
            buf_byte(out, c);
        } else if (c == '\n') {
            buf_add(out, SLICE("\\n"));
        } else if (c == '\0') {
            buf_add(out, SLICE("\\ufffd")); /* many readers of JSON refuse a NUL */
        } else if (c < 0x20 || c == 0x7f) {
            buf_printf(out, "\\u%04x", c);
        } else if (size == 0) {
            buf_add(out, SLICE("\\ufffd"));
            size = 1;
        } else {
            buf_append(out, s.data, size);
        }
        s = slice_drop(s, size ? size : 1);
    }
}

void log_json_string(struct buf *out, struct slice bytes) {
    buf_byte(out, '"');
    put_escaped(out, bytes);
    buf_byte(out, '"');
}

static bool is_plain(struct slice s) {
    if (s.size == 0) return false;
    for (size_t i = 0; i < s.size; i++) {
        uint8_t c = s.data[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=') return false;
    }
    return true;
}

static void put_bytes(struct buf *out, enum log_format format, struct slice s) {
    bool cut = s.size > LOG_VALUE_BYTES_MAX;
    if (cut) s = slice_take(s, LOG_VALUE_BYTES_MAX);
    if (format == LOG_FORMAT_TEXT && !cut && is_plain(s)) {
        buf_add(out, s);
        return;
    }
    buf_byte(out, '"');
    put_escaped(out, s);
    if (cut) buf_add(out, SLICE("..."));
    buf_byte(out, '"');
}

static void put_value(struct buf *out, enum log_format format, const struct log_field *field) {
    switch (field->kind) {
    case LOG_KIND_TEXT: put_bytes(out, format, slice_text(field->as.text)); break;
    case LOG_KIND_BYTES: put_bytes(out, format, field->as.bytes); break;
    case LOG_KIND_INT: buf_printf(out, "%lld", (long long)field->as.number); break;
    case LOG_KIND_UINT: buf_printf(out, "%llu", (unsigned long long)field->as.count); break;
    case LOG_KIND_DOUBLE:
        if (isfinite(field->as.real))
            buf_printf(out, "%.6g", field->as.real);
        else
            buf_add(out, SLICE("null"));
        break;
    case LOG_KIND_BOOL: buf_add(out, field->as.truth ? SLICE("true") : SLICE("false")); break;
    case LOG_KIND_END: UNREACHABLE("the end of the fields is no field");
    }
}

static void put_key(struct buf *out, enum log_format format, const char *key) {
    if (format == LOG_FORMAT_TEXT)
        buf_printf(out, " %s=", key);
    else
        buf_printf(out, ",\"%s\":", key);
}

void log_line(struct buf *out, enum log_format format, int64_t wall_ms, enum log_level level,
              const char *role, const char *event, const struct log_field *fields, size_t count) {
    if (format == LOG_FORMAT_TEXT) {
        put_time(out, wall_ms);
        buf_printf(out, " %-5s ", level_names[level]);
        if (*role) buf_printf(out, "%s ", role);
        buf_printf(out, "%s", event);
    } else {
        buf_add(out, SLICE("{\"time\":\""));
        put_time(out, wall_ms);
        buf_printf(out, "\",\"level\":\"%s\"", level_names[level]);
        if (*role) buf_printf(out, ",\"role\":\"%s\"", role);
        buf_printf(out, ",\"event\":\"%s\"", event);
    }
    for (size_t i = 0; i < count; i++) {
        if (fields[i].kind == LOG_KIND_TEXT && fields[i].as.text == NULL) continue;
        put_key(out, format, fields[i].key);
        put_value(out, format, &fields[i]);
    }
    if (format == LOG_FORMAT_JSON) buf_byte(out, '}');
}

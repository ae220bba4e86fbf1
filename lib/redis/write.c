/* write.c -- write RESP into a buffer. See resp.h. */
#include "lib/redis/resp.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define HEAD_BYTES_MAX 24

/* MARK, NUMBER, CRLF. */
static void write_head(struct buf *out, char mark, int64_t number) {
    uint8_t *to = buf_room(out, HEAD_BYTES_MAX);
    char digits[HEAD_BYTES_MAX];
    size_t n = 0, i = 0;
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do {
        digits[n++] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    to[i++] = (uint8_t)mark;
    if (number < 0) to[i++] = '-';
    while (n > 0) to[i++] = (uint8_t)digits[--n];
    to[i++] = '\r';
    to[i++] = '\n';
    buf_filled(out, i);
}

static void write_line(struct buf *out, char mark, struct slice text) {
    uint8_t *to = buf_room(out, text.size + 3);
    to[0] = (uint8_t)mark;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        to[1 + i] = c == '\r' || c == '\n' ? ' ' : c;
    }
    memcpy(to + 1 + text.size, "\r\n", 2);
    buf_filled(out, text.size + 3);
}

void resp_write_simple(struct buf *out, struct slice text) {
    write_line(out, '+', text);
}
void resp_write_error(struct buf *out, struct slice text) {
    write_line(out, '-', text);
}
void resp_write_ok(struct buf *out) {
    buf_append(out, "+OK\r\n", 5);
}
void resp_write_int(struct buf *out, int64_t number) {
    write_head(out, ':', number);
}

void resp_write_errorf(struct buf *out, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    resp_write_verrorf(out, fmt, args);
    va_end(args);
}

void resp_write_verrorf(struct buf *out, const char *fmt, va_list args) {
    char text[1024];
    int size = vsnprintf(text, sizeof text, fmt, args);
    ASSERT(size >= 0);
    size_t kept = (size_t)size < sizeof text ? (size_t)size : sizeof text - 1;
    resp_write_error(out, slice_from(text, kept));
}

void resp_write_bulk(struct buf *out, struct slice bytes) {
    write_head(out, '$', (int64_t)bytes.size);
    uint8_t *to = buf_room(out, bytes.size + 2);
    if (bytes.size > 0) memcpy(to, bytes.data, bytes.size);
    memcpy(to + bytes.size, "\r\n", 2);
    buf_filled(out, bytes.size + 2);
}

void resp_write_text(struct buf *out, const char *text) {
    resp_write_bulk(out, slice_text(text));
}

void resp_write_array(struct buf *out, size_t items) {
    write_head(out, '*', (int64_t)items);
}

size_t resp_double_text(double number, char text[40]) {
    int size;
    if (isnan(number)) {
        size = snprintf(text, 40, "nan");
    } else if (isinf(number)) {
        size = snprintf(text, 40, number < 0 ? "-inf" : "inf");
    } else {
        size = snprintf(text, 40, "%.17g", number);
    }
    ASSERT(size > 0 && size < 40);
    return (size_t)size;
}

void resp_write_double(struct buf *out, int proto, double number) {
    char text[40];
    struct slice digits = slice_from(text, resp_double_text(number, text));
    if (proto >= 3)
        write_line(out, ',', digits);
    else
        resp_write_bulk(out, digits);
}

void resp_write_null(struct buf *out, int proto) {
    if (proto >= 3)
        buf_append(out, "_\r\n", 3);
    else
        buf_append(out, "$-1\r\n", 5);
}

void resp_write_null_array(struct buf *out, int proto) {
    if (proto >= 3)
        buf_append(out, "_\r\n", 3);
    else
        buf_append(out, "*-1\r\n", 5);
}

void resp_write_bool(struct buf *out, int proto, bool value) {
    if (proto >= 3)
        buf_append(out, value ? "#t\r\n" : "#f\r\n", 4);
    else
        resp_write_int(out, value);
}

void resp_write_map(struct buf *out, int proto, size_t pairs) {
    if (proto >= 3)
        write_head(out, '%', (int64_t)pairs);
    else
        resp_write_array(out, pairs * 2);
}

void resp_write_set(struct buf *out, int proto, size_t items) {
    write_head(out, proto >= 3 ? '~' : '*', (int64_t)items);
}

void resp_write_push(struct buf *out, int proto, size_t items) {
    write_head(out, proto >= 3 ? '>' : '*', (int64_t)items);
}

void resp_write_big(struct buf *out, int proto, struct slice digits) {
    if (proto >= 3)
        write_line(out, '(', digits);
    else
        resp_write_bulk(out, digits);
}

void resp_write_verbatim(struct buf *out, int proto, const char format[4], struct slice text) {
    if (proto < 3) {
        resp_write_bulk(out, text);
        return;
    }
    write_head(out, '=', (int64_t)text.size + 4);
    buf_append(out, format, 3);
    buf_byte(out, ':');
    buf_add(out, text);
    buf_append(out, "\r\n", 2);
}

void resp_write_command(struct buf *out, size_t argc, const struct slice *argv) {
    resp_write_array(out, argc);
    for (size_t i = 0; i < argc; i++) resp_write_bulk(out, argv[i]);
}

void resp_write_words(struct buf *out, ...) {
    size_t count = 0;
    va_list args, again;
    va_start(args, out);
    va_copy(again, args);
    while (va_arg(args, const char *) != NULL) count++;
    va_end(args);
    resp_write_array(out, count);
    for (size_t i = 0; i < count; i++) resp_write_text(out, va_arg(again, const char *));
    va_end(again);
}

/* reply.c -- replies in RESP2 and RESP3, into the client's output buffer. */
#include "server/reply.h"

#include "server/args.h"
#include "server/engine.h"
#include "server/errors.h"
#include "server/output.h"

#include <ctype.h>
#include <stdio.h>

/* "*123\r\n" and its kin: a type byte, a number, a line end. */
static void head(struct client *c, char kind, int64_t number) {
    if (!output_open(c)) return;
    uint8_t *at = buf_room(&c->out, 24);
    *at = (uint8_t)kind;
    size_t size = number_write_int((char *)at + 1, number) + 1;
    at[size] = '\r';
    at[size + 1] = '\n';
    buf_filled(&c->out, size + 2);
}

void reply_raw(struct client *c, struct slice bytes) {
    if (output_open(c)) buf_add(&c->out, bytes);
}

void reply_ok(struct client *c) {
    reply_raw(c, SLICE("+OK\r\n"));
}

void reply_simple(struct client *c, const char *text) {
    if (output_open(c)) buf_printf(&c->out, "+%s\r\n", text);
}

void reply_int(struct client *c, int64_t number) {
    head(c, ':', number);
}

void reply_bulk(struct client *c, struct slice bytes) {
    if (!output_open(c)) return;
    uint8_t *at = buf_room(&c->out, bytes.size + 28);
    *at = '$';
    size_t size = number_write_int((char *)at + 1, (int64_t)bytes.size) + 1;
    at[size++] = '\r';
    at[size++] = '\n';
    if (bytes.size) memcpy(at + size, bytes.data, bytes.size);
    size += bytes.size;
    at[size++] = '\r';
    at[size++] = '\n';
    buf_filled(&c->out, size);
}

void reply_bulk_text(struct client *c, const char *text) {
    reply_bulk(c, slice_text(text));
}

void reply_bulk_int(struct client *c, int64_t number) {
    char text[ENTRY_INT_TEXT];
    reply_bulk(c, slice_from(text, number_write_int(text, number)));
}

void reply_bulk_printf(struct client *c, const char *fmt, ...) {
    struct buf text = {0};
    va_list args;
    va_start(args, fmt);
    buf_vprintf(&text, fmt, args);
    va_end(args);
    reply_bulk(c, buf_slice(&text));
    buf_close(&text);
}

void reply_null(struct client *c) {
    reply_raw(c, c->resp == 2 ? SLICE("$-1\r\n") : SLICE("_\r\n"));
}

void reply_null_array(struct client *c) {
    reply_raw(c, c->resp == 2 ? SLICE("*-1\r\n") : SLICE("_\r\n"));
}

void reply_bool(struct client *c, bool yes) {
    if (c->resp == 2)
        reply_int(c, yes);
    else
        reply_raw(c, yes ? SLICE("#t\r\n") : SLICE("#f\r\n"));
}

void reply_double(struct client *c, double number) {
    char text[NUMBER_TEXT];
    struct slice digits = slice_from(text, number_write_double(text, number));
    if (c->resp == 2) {
        reply_bulk(c, digits);
    } else {
        reply_raw(c, SLICE(","));
        reply_raw(c, digits);
        reply_raw(c, SLICE("\r\n"));
    }
}

void reply_array(struct client *c, size_t count) {
    head(c, '*', (int64_t)count);
}

void reply_map(struct client *c, size_t pairs) {
    if (c->resp == 2)
        head(c, '*', (int64_t)pairs * 2);
    else
        head(c, '%', (int64_t)pairs);
}

void reply_set(struct client *c, size_t count) {
    head(c, c->resp == 2 ? '*' : '~', (int64_t)count);
}

void reply_push(struct client *c, size_t count) {
    head(c, c->resp == 2 ? '*' : '>', (int64_t)count);
}

void reply_empty_array(struct client *c) {
    reply_raw(c, SLICE("*0\r\n"));
}

void reply_verbatim(struct client *c, const char *format, struct slice text) {
    if (c->resp == 2) {
        reply_bulk(c, text);
        return;
    }
    head(c, '=', (int64_t)text.size + 4);
    reply_raw(c, slice_text(format));
    reply_raw(c, SLICE(":"));
    reply_raw(c, text);
    reply_raw(c, SLICE("\r\n"));
}

/* ---- collections whose count comes later ---- */

size_t reply_later(struct client *c) {
    return output_open(c) ? buf_size(&c->out) : SIZE_MAX;
}

/* Move what was written since MARK and put TEXT in front of it. */
static void insert(struct client *c, size_t mark, struct slice text) {
    if (mark == SIZE_MAX || !output_open(c)) return;
    (void)buf_room(&c->out, text.size);
    uint8_t *at = c->out.data + c->out.start + mark;
    memmove(at + text.size, at, buf_size(&c->out) - mark);
    memcpy(at, text.data, text.size);
    buf_filled(&c->out, text.size);
}

static void insert_head(struct client *c, size_t mark, char kind, size_t count) {
    char text[28] = {kind};
    size_t size = number_write_int(text + 1, (int64_t)count) + 1;
    text[size++] = '\r';
    text[size++] = '\n';
    insert(c, mark, slice_from(text, size));
}

void reply_later_bulk(struct client *c, size_t mark, struct slice bytes) {
    insert(c, mark, SLICE("\r\n"));
    insert(c, mark, bytes);
    insert_head(c, mark, '$', bytes.size);
}

void reply_later_array(struct client *c, size_t mark, size_t count) {
    insert_head(c, mark, '*', count);
}

void reply_later_map(struct client *c, size_t mark, size_t pairs) {
    if (c->resp == 2)
        insert_head(c, mark, '*', pairs * 2);
    else
        insert_head(c, mark, '%', pairs);
}

void reply_later_set(struct client *c, size_t mark, size_t count) {
    insert_head(c, mark, c->resp == 2 ? '*' : '~', count);
}

/* ---- errors ---- */

static bool ends_line(uint8_t byte) {
    return byte == '\r' || byte == '\n';
}

static void write_error(struct client *c, struct buf *text, bool count) {
    while (text->end > text->start && ends_line(text->data[text->end - 1])) text->end--;
    for (size_t i = text->start; i < text->end; i++)
        if (ends_line(text->data[i])) text->data[i] = ' ';
    if (count)
        errors_count(c, buf_slice(text));
    else
        c->flags |= CLIENT_FAILED;
    if (output_open(c)) {
        buf_byte(&c->out, '-');
        buf_add(&c->out, buf_slice(text));
        buf_append(&c->out, "\r\n", 2);
    }
    buf_close(text);
}

void reply_error(struct client *c, const char *fmt, ...) {
    struct buf text = {0};
    va_list args;
    va_start(args, fmt);
    buf_vprintf(&text, fmt, args);
    va_end(args);
    write_error(c, &text, true);
}

void reply_error_seen(struct client *c, const char *fmt, ...) {
    struct buf text = {0};
    va_list args;
    va_start(args, fmt);
    buf_vprintf(&text, fmt, args);
    va_end(args);
    write_error(c, &text, false);
}

void reply_wrong_type(struct client *c) {
    reply_error(c, "WRONGTYPE Operation against a key holding the wrong kind of value");
}

void reply_syntax_error(struct client *c) {
    reply_error(c, "ERR syntax error");
}

void reply_not_an_integer(struct client *c) {
    reply_error(c, "ERR value is not an integer or out of range");
}

void reply_no_such_key(struct client *c) {
    reply_error(c, "ERR no such key");
}

void reply_wrong_arity(struct client *c) {
    reply_error(c, "ERR wrong number of arguments for '%s' command", c->command->name);
}

static void upper_container(const struct client *c, char *text, size_t room) {
    size_t i = 0;
    for (; i + 1 < room && c->command->name[i] && c->command->name[i] != '|'; i++)
        text[i] = (char)toupper((unsigned char)c->command->name[i]);
    text[i] = '\0';
}

void reply_unknown_subcommand(struct client *c) {
    char name[40];
    upper_container(c, name, sizeof name);
    struct slice sub = c->argc > 1 ? c->argv[1] : SLICE("");
    reply_error(c, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try %s HELP.",
                (int)(sub.size < 128 ? sub.size : 128), (const char *)sub.data, name);
}

void reply_help(struct client *c, const char *const *lines) {
    char name[40];
    upper_container(c, name, sizeof name);
    size_t mark = reply_later(c), count = 3;
    if (output_open(c))
        buf_printf(&c->out, "+%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n",
                   name);
    for (; *lines; lines++, count++) reply_simple(c, *lines);
    reply_simple(c, "HELP");
    reply_simple(c, "    Prints this help.");
    reply_later_array(c, mark, count);
}

/* why.c -- errors: building and naming them. */
#include "lib/base/why.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void PRINTF(2, 0) write_text(struct why *why, const char *fmt, va_list args) {
    (void)vsnprintf(why->text, sizeof why->text, fmt, args);
    for (char *at = why->text; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 127) *at = ' ';
}

enum err(why_set)(struct why *why, enum err err, const char *fmt, ...) {
    ASSERT(err != OK);
    va_list args;
    va_start(args, fmt);
    write_text(why, fmt, args);
    va_end(args);
    return err;
}

/* Append MORE at AT, cutting what does not fit. Returns the new length. */
static size_t append(struct why *why, size_t at, const char *more) {
    size_t room = sizeof why->text - 1 - at;
    size_t size = strnlen(more, room);
    memcpy(why->text + at, more, size);
    why->text[at + size] = '\0';
    return at + size;
}

enum err(why_add)(struct why *why, enum err err, const char *fmt, ...) {
    ASSERT(err != OK);
    struct why inner = *why;
    va_list args;
    va_start(args, fmt);
    write_text(why, fmt, args);
    va_end(args);
    size_t at = append(why, strlen(why->text), ": ");
    append(why, at, inner.text);
    return err;
}

const char *err_text(enum err err) {
    switch (err) {
    case OK: return "ok";
#define ERR_CASE(name, text)                                                                       \
    case name: return text;
        ERR_LIST(ERR_CASE)
#undef ERR_CASE
    }
    UNREACHABLE("unknown error code");
}

bool err_is_transient(enum err err) {
    return err == ERR_IO || err == ERR_TIMEOUT || err == ERR_CLOSED;
}

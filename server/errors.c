/* errors.c -- errorstats: how often each error code was replied. An error that a master's stream, a
 * replica or a file gets is one that nobody sees, and the data may differ from then on: the log has
 * it. */
#include "server/errors.h"

#include "lib/base/mem.h"
#include "server/engine.h"
#include "server/output.h"

#include <stdio.h>

#define CODES_MAX                                                                                  \
    128 /* a script or module may invent codes; then all others are counted as one                 \
         */

struct engine_errors {
    size_t count;
    struct {
        char code[64];
        uint64_t times;
    } codes[CODES_MAX];
};

static void count_code(struct engine *engine, const char *code) {
    if (engine->errors == NULL) engine->errors = NEW(struct engine_errors);
    struct engine_errors *errors = engine->errors;
    size_t i = 0;
    while (i < errors->count && strcmp(errors->codes[i].code, code) != 0) i++;
    if (i == errors->count) {
        if (errors->count == CODES_MAX) return;
        snprintf(errors->codes[i].code, sizeof errors->codes[i].code, "%s", code);
        errors->codes[i].times = 0;
        errors->count++;
    }
    errors->codes[i].times++;
}

/* Errors of the stream and of files that are named in the log; of the others each thousandth. */
#define UNEXPECTED_NAMED 100
#define UNEXPECTED_STEP 1000

/* Without the words of the error: there may be values in them. */
static void note_unexpected(struct client *c, const char *code) {
    uint64_t number = ++c->engine->stats.unexpected_errors;
    const char *self = "server", *other = "AOF-loading-client";
    if (c->flags & CLIENT_MASTER) self = "replica", other = "master";
    if (c->flags & CLIENT_REPLICA) self = "master", other = "replica";
    if (number > UNEXPECTED_NAMED && number % UNEXPECTED_STEP != 0) return;
    struct slice name = c->command ? slice_text(c->command->name)
                        : c->argc  ? c->argv[0]
                                   : SLICE("");
    engine_log(c->engine, '#',
               "== CRITICAL == This %s is sending an error to its %s: '%s' after processing the "
               "command '%.*s' (error %llu of this kind)",
               self, other, code, (int)(name.size < 64 ? name.size : 64), (const char *)name.data,
               (unsigned long long)number);
}

void errors_count(struct client *c, struct slice text) {
    char code[64] = "ERR";
    const uint8_t *space = memchr(text.data, ' ', text.size);
    size_t size = space ? (size_t)(space - text.data) : text.size;
    if (size > 0 && size < sizeof code) {
        memcpy(code, text.data, size);
        code[size] = '\0';
    }
    c->flags |= CLIENT_FAILED;
    c->engine->stats.errors++;
    count_code(c->engine, code);
    if (c->flags & (CLIENT_MASTER | CLIENT_LOADING) || output_is_stream(c))
        note_unexpected(c, code);
}

void errors_info(struct engine *engine, struct buf *out) {
    for (size_t i = 0; engine->errors && i < engine->errors->count; i++)
        buf_printf(out, "errorstat_%s:count=%llu\r\n", engine->errors->codes[i].code,
                   (unsigned long long)engine->errors->codes[i].times);
}

void errors_reset(struct engine *engine) {
    if (engine->errors) engine->errors->count = 0;
}

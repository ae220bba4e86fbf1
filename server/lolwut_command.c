/* lolwut_command.c -- LOLWUT: the version, below a drawbridge that is open as wide as asked. */
#include "lib/base/version.h"
#include "server/args.h"
#include "server/engine.h"
#include "server/groups.h"
#include "server/reply.h"

#define WIDTH_MAX 64

/* LOLWUT [VERSION n] [columns]: two towers and the road between them. */
static void run_lolwut(struct client *c) {
    int64_t width = 16, version;
    int at = 1;
    if (c->argc > 2 && arg_is(c->argv[1], "version")) {
        if (!arg_int(c, c->argv[2], &version, NULL)) return;
        at = 3;
    }
    if (at < c->argc && !arg_int(c, c->argv[at], &width, NULL)) return;
    if (width < 1) width = 1;
    if (width > WIDTH_MAX) width = WIDTH_MAX;
    struct buf text = {0};
    static const char *const rows[][2] = {{" |^|", "|^| "}, {" | |", "| | "}, {"=| |", "| |="}};
    static const char spans[] = {' ', '.', '='};
    for (size_t row = 0; row < COUNT(rows); row++) {
        buf_printf(&text, "%s", rows[row][0]);
        for (int64_t i = 0; i < width; i++) buf_byte(&text, (uint8_t)spans[row]);
        buf_printf(&text, "%s\n", rows[row][1]);
    }
    buf_printf(&text, "\nRedis ver. " SERVER_VERSION " (Drawbridge " DRAWBRIDGE_VERSION ")\n");
    reply_verbatim(c, "txt", buf_slice(&text));
    buf_close(&text);
}

void lolwut_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"lolwut", run_lolwut}};
    command_bind(engine, bindings, COUNT(bindings));
}

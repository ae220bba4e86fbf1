/* function_commands.c -- FUNCTION and SCRIPT as far as they are true on a server that has none:
 * nothing can be loaded yet, so there is nothing to list and flushing succeeds. Tools that copy a
 * server ask for these. */
#include "server/args.h"
#include "server/engine.h"
#include "server/groups.h"
#include "server/reply.h"

static void run_flush(struct client *c) {
    if (c->argc > 3 ||
        (c->argc == 3 && !arg_is(c->argv[2], "sync") && !arg_is(c->argv[2], "async")))
        reply_error(c, "ERR %s FLUSH only supports SYNC|ASYNC option",
                    c->command->name[0] == 'f' ? "FUNCTION" : "SCRIPT");
    else
        reply_ok(c);
}

static void run_list(struct client *c) {
    reply_empty_array(c);
}

static void run_exists(struct client *c) {
    reply_array(c, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) reply_int(c, 0);
}

void function_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"function|flush", run_flush},
                                                      {"function|list", run_list},
                                                      {"script|flush", run_flush},
                                                      {"script|exists", run_exists}};
    command_bind(engine, bindings, COUNT(bindings));
}

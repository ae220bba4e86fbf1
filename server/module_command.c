/* module_command.c -- MODULE: there are no modules here, and none can be loaded; clients that ask
 * get an empty list. */
#include "server/engine.h"
#include "server/groups.h"
#include "server/reply.h"

static void run_list(struct client *c) {
    reply_empty_array(c);
}

static void run_load(struct client *c) {
    engine_log(c->engine, '#', "Modules cannot be loaded: this server has no interface for them");
    reply_error(c, "ERR Error loading the extension. Please check the server logs.");
}

static void run_unload(struct client *c) {
    reply_error(c, "ERR Error unloading module: no such module with that name");
}

static void run_help(struct client *c) {
    static const char *const help[] = {"LIST", "    The modules that are loaded: none.",
                                       "LOAD <path> [<arg> ...], LOADEX <path> ..., UNLOAD <name>",
                                       "    Refused: modules are not supported.", NULL};
    reply_help(c, help);
}

void module_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"module|list", run_list},
                                                      {"module|load", run_load},
                                                      {"module|loadex", run_load},
                                                      {"module|unload", run_unload},
                                                      {"module|help", run_help}};
    command_bind(engine, bindings, COUNT(bindings));
}

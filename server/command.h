/* command.h -- which commands this server has, and how they are called.
 *
 * lib/redis/command.h knows every command of Redis 7.0: arity, flags, keys. Here its names are
 * bound to functions, one table per group of commands:
 *
 *     static const struct command_binding bindings[] = {
 *         {"lpush", list_push_left}, {"client|list", client_list}, ...
 *     };
 *     void list_commands_bind(struct engine *engine) { command_bind(engine, bindings,
 * COUNT(bindings)); }
 *
 * A container command ("object", "xgroup") is bound either by its subcommands ("object|encoding")
 * or as a whole. What is not bound answers as an unknown command. groups.c lists all groups.
 *
 * When a handler runs: arity was checked, the client may run it, the engine's clock was read
 * (engine->now_ms). The handler writes exactly one reply, or blocks the client (block.h).
 */
#ifndef SERVER_COMMAND_H
#define SERVER_COMMAND_H

#include "lib/redis/command.h"

struct client;
struct engine;

typedef void command_run(struct client *c); /* the one function type that tables need */

struct command_binding {
    const char *name; /* a row of lib/redis/command.h */
    command_run *run;
};

/* What the server knows about a row of the table; engine->uses[command->index]. */
struct command_use {
    command_run *run; /* NULL: not bound */
    uint64_t calls, micros, rejected, failed;
    struct latency_hist *latency; /* NULL: no call yet, or latency-tracking is off */
};

void command_bind(struct engine *engine, const struct command_binding *bindings, size_t count);
/* The row of a request, if it is bound; NULL with the error replied. The arity fits. */
const struct command *command_resolve(struct client *c, int argc, const struct slice *argv);

/* rename-command: from now on FROM is called TO; empty: it cannot be called. */
MUST_CHECK enum err command_rename(struct engine *engine, struct slice from, struct slice to,
                                   struct why *why);
const struct command *command_lookup_named(const struct engine *engine, size_t argc,
                                           const struct slice *argv);
/* "config" or "config|get", by the name that it has here. */
const struct command *command_of_path(const struct engine *engine, struct slice path);
/* It was renamed to nothing. */
bool command_is_gone(const struct engine *engine, const struct command *command);
/* command_lookup() by the names that commands have here. */
#define command_lookup_here(engine, argc, argv)                                                    \
    ((engine)->renames == NULL ? command_lookup((argc), (argv))                                    \
                               : command_lookup_named((engine), (argc), (argv)))

/* All groups and parts, in groups.c. */
void command_groups_bind(struct engine *engine);

#define COUNT(array) (sizeof(array) / sizeof *(array))

#endif

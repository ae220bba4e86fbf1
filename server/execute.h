/* execute.h -- from a parsed request to the call of its handler. For the core only. */
#ifndef SERVER_EXECUTE_H
#define SERVER_EXECUTE_H

#include "server/engine.h"

/* Check, then queue (MULTI) or call. SPEC: what command_lookup() says, or NULL to look it up here.
 * False: the client was paused and nothing happened; offer the request again later. */
bool execute_request(struct client *c, int argc, struct slice *argv, const struct command *spec);
/* Run the client's command (c->command, c->argv) without checks: EXEC does. */
void execute_call(struct client *c);
/* From within a script that is busy. Set aside: what was read of others, and more of the RUNNING
 * client, is forgotten and will be read again. Nested: one turn of the loop, inside of this one. */
void turn_set_aside(struct engine *engine, struct client *running);
void turn_nested(struct engine *engine);
/* Everything that is ready is read and executed, in batches. */
void turn_run(struct engine *engine);

#endif

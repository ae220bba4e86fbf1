/* gates.h -- calling the gates that other parts added by engine_gate_add(). */
#ifndef SERVER_GATES_H
#define SERVER_GATES_H

#include "server/engine.h"

bool gates_admit(struct client *c, const struct command *command);
void hooks_forget(struct engine *engine, enum hook_kind kind); /* those of this kind */
void hooks_run(struct engine *engine, enum hook_kind kind);
void hooks_info(struct engine *engine, const char *section, struct buf *out);
/* DEBUG NAME: false when no part has it. */
bool hooks_debug(struct client *c);
void hooks_debug_help(struct client *c, const char **lines, size_t *count, size_t max);
bool hooks_shutdown(struct engine *engine, unsigned flags, struct why *why);
const struct engine_acks *hooks_acks(const struct engine *engine); /* NULL: nobody replicates */

#endif

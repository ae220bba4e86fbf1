/* command_docs.h -- what commands are for. */
#ifndef SERVER_COMMAND_DOCS_H
#define SERVER_COMMAND_DOCS_H

#include "server/engine.h"

/* A sentence; empty: we have none. */
const char *command_summary(const struct command *command);
/* Its arguments in the notation of command_syntax.c; NULL: it has none. */
const char *command_syntax(const struct command *command);
void command_reply_syntax(struct client *c, const char *arguments);
/* How its time grows; NULL: nothing is said. */
const char *command_cost(const struct command *command);
/* The tips of COMMAND INFO, with spaces between; never NULL. */
const char *command_tips(const struct command *command);
size_t command_history_count(const struct command *command);
void command_reply_history(struct client *c, const struct command *command);
/* Its name and its map of COMMAND DOCS, subcommands and all. */
void command_reply_doc(struct client *c, const struct command *command);
/* Whether the command, or some subcommand of it, can be called here. */
bool command_is_there(const struct engine *engine, const struct command *command);

#endif

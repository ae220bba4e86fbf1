/* multi.h -- MULTI, EXEC, WATCH: the queue of a transaction and the keys it depends on. */
#ifndef SERVER_MULTI_H
#define SERVER_MULTI_H

#include "server/keyspace.h"

struct command;

void multi_commands_bind(struct engine *engine);
/* Queue the client's command; the bytes are copied. */
void multi_queue(struct client *c);
/* The flags of EXEC (OWN) with those of what it will run: any that writes makes it a write, any
 * that may not run on stale data or while loading keeps it from running then. */
uint32_t multi_flags(const struct client *c, uint32_t own);
/* End the transaction without executing, and unwatch. */
void multi_discard(struct client *c);
void multi_unwatch(struct client *c);
/* KEY changed: transactions that watch it will fail. */
void multi_key_changed(struct db *db, struct slice key);
/* DB is going to be emptied, or (OTHER given) exchanged with OTHER. */
void multi_db_changes(struct db *db, struct db *other);
void multi_forget(struct client *c);
size_t multi_memory(const struct client *c); /* bytes: of queued commands and watches */
/* Call FN for each queued command. */
void multi_visit(const struct client *c,
                 void (*fn)(void *ctx, const struct command *command, int argc,
                            const struct slice *argv),
                 void *ctx);
size_t multi_queued(const struct client *c); /* commands; for CLIENT LIST */
/* A copy of arguments in one block, bytes and all; mem_free(). */
struct slice *args_copy(int argc, const struct slice *argv);

#endif

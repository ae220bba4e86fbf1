/* zset_commands.h -- what other commands need of those on sorted sets. */
#ifndef SERVER_ZSET_COMMANDS_H
#define SERVER_ZSET_COMMANDS_H

#include "lib/base/slice.h"

struct client;

/* Run ZADD with these words, ARGV[0] being its name, in place of the client's own; it leaves for
 * replicas in these words too. */
void zset_run_zadd(struct client *c, int argc, struct slice *argv);

#endif

/* others.h -- whether a server still has connections of gateways that lived before this one (C21).
 *
 * Without a journal of the process before (a first start, or it was lost) nobody can name its
 * connections, and what lies in their sockets may still be executed. But all of them were named
 * before their first write, and were accepted before the first one of this process: when CLIENT
 * LIST shows no gateway's connection with a smaller id, there is none. A server that does not show
 * this process's own connection under its name does not tell.
 *
 * Pure. Hostile input: the list may be anything; what is not understood does not tell.
 * Source: CLIENT LIST of Redis 5.0 to 7.0: a line for each, "id=3 addr=... name=... ...".
 */
#ifndef GATEWAY_OTHERS_H
#define GATEWAY_OTHERS_H

#include "lib/base/slice.h"

#define OTHERS_NAME "drawbridge-gw:" /* begins the names of all connections of gateways (C25) */
#define OTHERS_MAP_NAME "drawbridge-map:" /* of those that only ask a Cluster (shards/shards.h) */

enum others {
    OTHERS_NONE,
    OTHERS_SOME,   /* they may also be those of another gateway that lives */
    OTHERS_UNTOLD,
};

/* LIST: the text of CLIENT LIST, asked on the connection OWN, which has one of these names; FIRST:
 * the smallest id that a connection of this process has had there. */
enum others others_in(struct slice list, int64_t own, int64_t first);

/* The id of the connection with this NAME, which is not empty; 0: it is not told. */
int64_t others_id_of(struct slice list, struct slice name);

#endif

/* slot_filter.h -- of a replication stream, only what concerns some slots; and every offset stays.
 *
 *     ... SET a 1 | SET b 2 | MSET a 3 b 4 | FLUSHALL ...      b is in no slot that is wanted
 *     ... SET a 1 | padding | MSET a 3 pad | FLUSHALL ...      as many bytes as before
 *
 * Commands of wanted slots and commands without keys (SELECT, MULTI, EXEC, PING, FLUSHALL, FUNCTION
 * LOAD ...) pass as they are. Others become padding of the same size that every replica ignores and
 * counts: empty lines, or a PING with a long argument. So offsets are those of the whole stream: a
 * replica acknowledges, waits and comes back as any other.
 * A command whose keys are in slots of both kinds is cut down to the wanted ones when it does to
 * each what it would do alone (DEL, UNLINK, MSET, MSETNX: it is in the stream because it was done).
 * What else has keys of both kinds (RENAME, SUNIONSTORE ...) cannot be cut: the filter gives up,
 * and the replica needs a copy. Servers in cluster mode run no such commands.
 *
 * Pure; no I/O. Memory: one command that is not whole yet.
 */
#ifndef SERVER_SLOT_FILTER_H
#define SERVER_SLOT_FILTER_H

#include "lib/base/buf.h"
#include "server/snapshot.h"

struct slot_filter;

/* SLOTS is copied. The stream begins with the next byte, at a command. */
struct slot_filter *slot_filter_new(const struct slot_set *slots) __attribute__((returns_nonnull));
void slot_filter_free(struct slot_filter *filter); /* NULL is fine */

/* Take the next BYTES of the stream, and append to OUT what takes their place; what is not whole
 * yet comes later. ERR_PROTO, ERR_REFUSED: it cannot be, and WHY says of what; then no more. */
MUST_CHECK enum err slot_filter_take(struct slot_filter *filter, struct slice bytes,
                                     struct buf *out, struct why *why);

#endif

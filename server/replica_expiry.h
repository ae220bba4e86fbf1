/* replica_expiry.h -- keys that clients of a writable replica gave a deadline.
 *
 * A replica waits for its master to delete what has expired. Of what its own clients wrote
 * (replica-read-only no) the master knows nothing, so those keys are remembered here by name and
 * expire here. A name whose key is gone, or has no deadline any more, is forgotten when its turn
 * comes. One that the master has written meanwhile expires here too, as in Redis.
 * Source: rememberSlaveKeyWithExpire() and expireSlaveKeys() of Redis 7.0.
 */
#ifndef SERVER_REPLICA_EXPIRY_H
#define SERVER_REPLICA_EXPIRY_H

#include "server/engine.h"

void replica_expiry_remember(struct db *db, struct slice key);

/* A deadline was set: called for each, so it is cheap where it is not a client of a replica. */
static inline void replica_expiry_note(struct db *db, struct slice key) {
    if (db->engine->role == ROLE_REPLICA) replica_expiry_remember(db, key);
}

size_t replica_expiry_count(const struct engine *engine);
void replica_expiry_open(struct engine *engine);

#endif

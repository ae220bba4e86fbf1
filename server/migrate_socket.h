/* migrate_socket.h -- connections of MIGRATE, kept for the next one to the same server.
 *
 * At most 64; one that nobody used for ten seconds is closed. A connection serves only a MIGRATE
 * with the same user and password as the one that opened it. Everything here may block the engine,
 * for no longer than the timeout of the request at each step: see migrate.c.
 * Source: cluster.c of Redis 7.0 (migrateGetSocket), where passwords make no difference.
 */
#ifndef SERVER_MIGRATE_SOCKET_H
#define SERVER_MIGRATE_SOCKET_H

#include "server/engine.h"

struct migrate_target {
    struct slice host, port, user, password; /* the last two may be empty */
    int64_t timeout_ms;
};

struct migrate_socket {
    uint8_t name[32]; /* a digest of the target */
    int fd;
    int64_t db; /* that is selected there; -1: not known */
    uint64_t used_us;
};

/* A connection to TARGET, *fresh if it was opened now; NULL: *timed_out or not reachable. It stays
 * the cache's: give it back by one of the next two before anything else runs. */
struct migrate_socket *migrate_socket_take(struct engine *engine,
                                           const struct migrate_target *target, bool *fresh,
                                           bool *timed_out);
/* Every reply was read: the next one may have it. */
void migrate_socket_give(struct engine *engine, struct migrate_socket *socket);
void migrate_socket_drop(struct engine *engine, struct migrate_socket *socket);

/* Wait until the socket is ready for EVENTS of poll(); false after the timeout. */
bool migrate_socket_wait(int fd, short events, int64_t timeout_ms);

size_t migrate_sockets_count(const struct engine *engine);
void migrate_sockets_start(struct engine *engine);

#endif

/* client_memory.h -- what connections cost, and closing the biggest ones: maxmemory-clients.
 *
 * While there is a limit, each client's bytes are summed up whenever they may have changed (input
 * read, command run, something pushed), and evictable clients stand in lists by powers of two, so
 * that finding the biggest costs nothing. Without a limit nothing is counted; INFO counts when it
 * is asked. Masters, replicas and clients with NO-EVICT are never closed for this.
 *
 * Buffers shrink here too: an input buffer that has been much too big for a moment, or idle for two
 * seconds; an output buffer that was not needed for a while.
 * Source: evictClients() and clientsCron() of Redis 7.0.
 */
#ifndef SERVER_CLIENT_MEMORY_H
#define SERVER_CLIENT_MEMORY_H

#include "server/client.h"

#define CLIENT_BUCKETS 20 /* up to 32 KB, 64 KB ... the last: all that is bigger */

struct engine_client_memory {
    size_t bytes; /* of normal and pub/sub clients */
    struct client *buckets[CLIENT_BUCKETS];
    int64_t out_idle_ms; /* DEBUG REPLYBUFFER peak-reset-time; -1: never */
    bool out_fixed;      /* DEBUG REPLYBUFFER resizing 0 */
};

size_t client_memory(const struct client *c);
/* Bytes of input that no request has taken yet. */
size_t client_input_waiting(const struct client *c);

/* Something of it may have changed. */
void client_memory_note_slow(struct client *c);
static inline void client_memory_note(struct client *c);
/* The limit was set or changed: count all. */
void client_memory_recount(struct engine *engine);
void client_memory_forget(struct client *c);
/* Close clients, the biggest first, until the limit is kept; whether there were any. What they have
 * not been sent is freed at once. Between commands only. */
bool client_memory_evict(struct engine *engine);
/* Ten times a second: buffers. */
void client_memory_tick(struct engine *engine);
void client_memory_open(struct engine *engine);

/* The limit in bytes; 0: none. */
size_t client_memory_limit(const struct engine *engine);

#include "server/engine.h"

static inline void client_memory_note(struct client *c) {
    if (c->engine->settings.maxmemory_clients != 0) client_memory_note_slow(c);
}

#endif

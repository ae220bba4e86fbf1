/* block.h -- clients that wait: for keys (BLPOP, XREAD), for replicas (WAIT), for time.
 *
 * A handler that finds nothing to give calls block_on_keys() and returns without a reply; the core
 * keeps a copy of the arguments (c->argv stays valid and points to it while the client is blocked).
 *
 * When a key is added (key_add, key_replace, RENAME, ...) and, for streams, when block_key_ready()
 * is called, the key is noted. After the command (after EXEC) ended, each noted key that exists is
 * offered to the clients that wait for it, first come first served: serve() gets the client, the
 * key and its entry. true   serve() wrote the reply (and propagated, by PROPAGATE_ALSO, what it
 * did); the client goes on false  not for this client (wrong type, no new entries): it stays where
 * it is serve() runs as the client: c->argv, c->db.
 *
 * When a stream goes away (deleted, overwritten, flushed, swapped) its key is noted too, and
 * serve() of those that wait for TYPE_STREAM is called with what is there now, NULL for nothing:
 * who waits as member of a consumer group gets an error.
 *
 * In a client with CLIENT_EXECUTING (MULTI, script) nothing blocks: the handler must reply as if
 * the timeout had passed (block_is_denied()).
 */
#ifndef SERVER_BLOCK_H
#define SERVER_BLOCK_H

#include "lib/base/slice.h"

struct client;
struct db;
struct engine;
struct entry;

struct block_how {
    bool (*serve)(struct client *c, struct slice key, struct entry *e); /* NULL: not for keys */
    void (*timed_out)(struct client *c); /* writes the reply of the timeout */
    int type;                            /* enum type that is waited for, or -1 */
};

bool block_is_denied(const struct client *c);
/* DEADLINE_MS as arg_timeout() gives it; 0: for ever. HOW lives for ever. KEYS may repeat. */
void block_on_keys(struct client *c, const struct slice *keys, int count, int64_t deadline_ms,
                   const struct block_how *how);
/* Wait for something that the caller ends itself by block_end(). */
void block_until(struct client *c, int64_t deadline_ms, const struct block_how *how);
/* The client's reply was written (by someone else than serve()): let it go on. */
void block_end(struct client *c);
/* RUN as if its command ran now, which writes the reply; then it goes on. */
void block_run(struct client *c, void (*run)(struct client *c));

/* Something was added under KEY. key_add() and friends call it; streams call it after XADD. */
void block_key_ready(struct db *db, struct slice key);

/* ---- the core ---- */
void block_serve_ready(struct engine *engine); /* after each outermost command */
void block_check_timeouts(struct engine *engine);
void block_forget(struct client *c); /* the client goes away */
size_t block_count(const struct engine *engine);
bool block_waits_by(const struct client *c, const struct block_how *how);
int block_type(const struct client *c); /* enum type, or -1 */
/* CLIENT UNBLOCK; false when the client is not blocked in a way that can time out. */
bool block_unblock(struct client *c, bool with_error);
int64_t block_next_deadline(struct engine *engine); /* 0: none */
void block_scan_db(struct db *db); /* SWAPDB, FLUSHALL */
/* Their connections are closed behind ERROR: a master became a replica. */
void block_end_all(struct engine *engine, const char *error);

size_t block_memory(const struct client *c); /* bytes */

#endif

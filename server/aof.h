/* aof.h -- the append-only file: what commands did is written before they are answered.
 *
 *     propagate --> buffer --> write(2) before the replies of this turn --> fsync
 *                                          always: at once, everysec: beside the engine, no: the
 * kernel
 *
 *     OFF --start--> WAITING (a base is being made; what happens meanwhile goes to a temporary incr
 * file) ^                | base done
 *      +----- ON <------+   rewrite: a new incr file at once, a new base in the background
 *
 * Formats and names are those of Redis 7 (lib/redis/aof.h). Messages on the channel of checkpoints
 * are written, other PUBLISHes are not.
 *
 * A disk that is full or broken: what could not be written stays in the buffer and is tried again
 * each second; meanwhile writes are refused (aof_fault). With appendfsync always the process ends,
 * as in Redis: what it would answer could not be promised.
 */
#ifndef SERVER_AOF_H
#define SERVER_AOF_H

#include "lib/base/buf.h"
#include "lib/base/why.h"

struct aof;
struct engine;

/* Makes it and plugs it in; OFF. */
struct aof *aof_open(struct engine *engine);

/* At start, with appendonly yes: load what is there (or the RDB, if there is no AOF yet, which then
 * becomes the base), and go on appending. */
MUST_CHECK enum err aof_start_with_data(struct aof *aof, struct why *why);

/* The data was made anew (full sync, DEBUG RELOAD, CONFIG SET appendonly yes): from OFF or ON to
 * WAITING. */
MUST_CHECK enum err aof_restart(struct aof *aof, struct why *why);
/* CONFIG SET appendonly no: everything written and synced first. */
void aof_stop(struct aof *aof);
/* A new base in the background; of an AOF that is OFF all that there is. */
MUST_CHECK enum err aof_rewrite(struct aof *aof, struct why *why);
void aof_rewrite_later(struct aof *aof); /* soon */

bool aof_is_on(const struct aof *aof); /* ON or WAITING */

/* Write what is in the buffer. Called before replies; others call it before they say that
 * something is kept. */
void aof_flush(struct aof *aof);

/* NULL, or why writes must be refused. */
const char *aof_fault(const struct aof *aof);

/* Bytes appended since the process began, and how many of these are safe on disk. */
uint64_t aof_appended(const struct aof *aof);
uint64_t aof_synced(const struct aof *aof);
/* Begin to sync now, whatever appendfsync says; aof_synced() will reach aof_appended(). */
void aof_sync_soon(struct aof *aof);

/* DEBUG AOF-FLUSH-SLEEP: each write takes so much longer. */
void aof_set_flush_sleep(struct aof *aof, int64_t sleep_us);

void aof_info(const struct aof *aof, struct buf *out);

/* Load the AOF again in place of the data in memory (DEBUG LOADAOF). The keyspace is empty. */
MUST_CHECK enum err aof_load_again(struct aof *aof, struct why *why);

#endif

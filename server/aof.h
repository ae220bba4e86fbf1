/* aof.h -- the append-only file: what commands did is written before they are answered.
 *
 *     propagate --> buffer --> a thread: write(2), under `always` fdatasync --> replies, replicas
 *                              another, under `everysec`: fdatasync once a second
 *
 *     OFF --start--> WAITING (a base is being made; what happens meanwhile goes to a temporary incr
 * file) ^                | base done
 *      +----- ON <------+   rewrite: a new incr file at once, a new base in the background
 *
 * Formats and names are those of Redis 7 (lib/redis/aof.h). Messages on the channel of checkpoints
 * are written, other PUBLISHes are not.
 *
 * The engine never writes itself. What a turn appended is given to the thread at its end; replies,
 * to reads too, wait until all is there that was appended before them (output_wait.h), and so do
 * replicas: nobody is told what could be lost again. The engine goes on meanwhile. One write is
 * under way at a time, and the next one takes all that came meanwhile.
 *
 * A disk that is slow:
 *   always    they wait for fdatasync, however long it takes.
 *   everysec  and no: they wait for write(2), which makes what they say outlive a kill -9 of the
 *             process, but no longer than aof-patience-ms (50). Then the AOF is *late*: nobody
 *             waits any more, and replicas would have to copy if the process were killed, until
 *             all is written. After two seconds of it, or with aof-buffer-memory (256 MB)
 *             unwritten, commands that write wait until all is written (INFO aof_delayed_fsync);
 *             reads go on. Nothing is read from our own master meanwhile.
 * SHUTDOWN, DEBUG LOADAOF, the end of a full copy, and CONFIG SET appendonly inside of EXEC or a
 * script wait for the disk.
 *
 * A disk that is full or broken: what could not be written stays in the buffer and is tried again
 * each second; meanwhile writes are refused (aof_fault). With appendfsync always the process ends,
 * as in Redis: what it would answer could not be promised. For syncs that fail see aof_sync.c.
 */
#ifndef SERVER_AOF_H
#define SERVER_AOF_H

#include "lib/base/buf.h"
#include "lib/base/why.h"

struct aof;
struct client;
struct engine;

/* Makes it and plugs it in; OFF. */
struct aof *aof_open(struct engine *engine);

/* At start, with appendonly yes: load what is there (or the RDB, if there is no AOF yet, which then
 * becomes the base), and go on appending. */
MUST_CHECK enum err aof_start_with_data(struct aof *aof, struct why *why);

/* The data was made anew (full sync, DEBUG RELOAD, CONFIG SET appendonly yes): from OFF or ON to
 * WAITING. */
MUST_CHECK enum err aof_restart(struct aof *aof, struct why *why);
/* OFF, with everything written and synced. Waits for the disk. */
void aof_stop(struct aof *aof);
/* OFF, and the disk's thread writes and syncs. */
void aof_stop_begin(struct aof *aof);
/* For CONFIG SET, of a client that may block. C, who turned it off, is answered when that is done;
 * false: it is, answer now. */
bool aof_answers_later(struct aof *aof, struct client *c);
/* C turns it on: its command is executed again when the file is open, or cannot be. False: now. */
bool aof_waits_to_open(struct aof *aof, struct client *c);
/* A new base in the background; of an AOF that is OFF all that there is. */
MUST_CHECK enum err aof_rewrite(struct aof *aof, struct why *why);
void aof_rewrite_later(struct aof *aof); /* soon */

/* Remove what former bases and incr files left behind, unless aof-disable-auto-gc. */
void aof_collect_history(struct aof *aof);

bool aof_is_on(const struct aof *aof); /* ON or WAITING */

/* Give what is in the buffer to the thread that writes, if it is idle. Called before replies; others
 * call it before they ask for a sync. */
void aof_flush(struct aof *aof);
/* Wait for the disk until all is in the file, or cannot be written. */
void aof_write_all(struct aof *aof);

/* Replicas may be sent the stream up to, not including, this offset: what lies behind it might be
 * lost if the process were killed. UINT64_MAX: all. */
uint64_t aof_stream_limit(const struct aof *aof);
/* No more is to be obeyed of our master's stream for now: too much waits for the disk already. */
bool aof_is_full(const struct aof *aof);
size_t aof_memory(const struct aof *aof); /* bytes of what waits */

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

/* resume.h -- what lets a server that was killed go on with its history: its replicas, and its own
 * master, continue by partial resync, as if the connection had been cut.
 *
 * The AOF has the data to the last reply. A file beside it, mapped into memory, has the id of the
 * history, the last bytes of the stream, and which size of the AOF is which offset of the stream:
 *
 *     stream bytes into the map --> "size S is offset O, size S' will be O'" --> write(2) of the
 * AOF --> replies, replicas
 *
 * Whatever dies in between, the size of the AOF says which of the two offsets it stands at, and
 * nobody has been sent anything beyond it. What is in the page cache outlives the process but not
 * the machine, so after another boot the file counts for nothing; nor does it while the AOF cannot
 * be written, or with another size. Then the server is a new history, as Redis would be.
 */
#ifndef SERVER_RESUME_H
#define SERVER_RESUME_H

#include "server/replication.h"

#define RESUME_FILE "replication.resume"

struct resume; /* of the engine; NULL while nothing is kept */

/* At start, after the AOF was loaded and is AOF_SIZE bytes long in its incr file AOF_SEQ: take
 * history and backlog from the file if it fits. *TOOK says whether. */
void resume_load(struct engine *engine, int64_t aof_seq, uint64_t aof_size, bool *took);

/* Before the AOF is written (and each turn): it has SIZE bytes, and will have SIZE_AFTER. Does
 * nothing without a backlog. */
void resume_note(struct engine *engine, int64_t aof_seq, uint64_t size, uint64_t size_after);

/* The AOF does not say any more what was done: the file counts for nothing until the next
 * resume_note(). */
void resume_void(struct engine *engine);

#endif

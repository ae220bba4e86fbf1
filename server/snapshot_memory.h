/* snapshot_memory.h -- what snapshots hold beside the data, in bytes.
 *
 * Whoever keeps something for a snapshot has a number of bytes that he noted, and tells when it
 * changes. The sum does not count towards eviction: keys that go would be captured first, and make
 * more of it. Any thread.
 */
#ifndef SERVER_SNAPSHOT_MEMORY_H
#define SERVER_SNAPSHOT_MEMORY_H

#include <stddef.h>

/* *NOTED, 0 at first, becomes BYTES; 0 again before its owner goes. */
void snapshot_memory_note(size_t *noted, size_t bytes);
/* The same, when all that the helper thread was given so far is freed. */
void snapshot_memory_forget_later(size_t *noted);
/* The sum of what is noted now. */
size_t snapshot_memory(void);

#endif

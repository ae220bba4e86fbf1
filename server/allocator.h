/* allocator.h -- what jemalloc knows; sanitizer builds have another allocator and know less. */
#ifndef SERVER_ALLOCATOR_H
#define SERVER_ALLOCATOR_H

#include "lib/base/buf.h"

#include <stdbool.h>

size_t allocator_used(void); /* bytes in use now */
/* Bytes in use, in pages that are in use, and in pages that the process holds. */
void allocator_sizes(size_t *allocated, size_t *active, size_t *resident);
void allocator_describe(struct buf *out);
/* What this thread has freed and keeps for its next allocations is counted as in use: give it back.
 */
void allocator_flush(void);
/* Whether pages that nobody uses any more are given back by a thread of the allocator's own, instead of by
 * whoever happens to free something: it takes system calls that the engine would wait for. */
void allocator_background(bool on);
/* Between true and false much is going to be allocated, and nobody waits: what is asked of the kernel comes in
 * huge pages where it has them, so in few page faults. Later, when a fault of a huge page would be a pause, it
 * does not. Call with true before the threads begin, with false when they have ended. */
void allocator_grows(bool on);
void allocator_purge(void); /* give unused pages back */

#endif

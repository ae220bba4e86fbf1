/* evict.h -- maxmemory: throw keys away until the data fits. */
#ifndef SERVER_EVICT_H
#define SERVER_EVICT_H

#include <stdbool.h>
#include <stddef.h>

struct engine;

/* Bytes in use, as the allocator counts them; refreshed at most every few hundred microseconds. */
size_t memory_used(struct engine *engine);
/* Evict by the policy for a moment; false when the data is still over maxmemory. */
bool evict_until_under(struct engine *engine);

#endif

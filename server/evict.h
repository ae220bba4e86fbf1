/* evict.h -- maxmemory: throw keys away until the data fits. */
#ifndef SERVER_EVICT_H
#define SERVER_EVICT_H

#include <stdbool.h>
#include <stddef.h>

struct engine;

/* Bytes in use, as the allocator counts them now. */
size_t memory_used(struct engine *engine);
/* Evict by the policy for a moment; false when the data is still over maxmemory. Looks at what was
 * in use at some moment of the last 300 microseconds. */
bool evict_until_under(struct engine *engine);
/* The same outside of commands, for about half a millisecond; whether to go on in the next turn. */
bool evict_for_a_while(struct engine *engine);

#endif

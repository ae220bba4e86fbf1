/* helper.h -- one thread beside the engine, for work that would make it stall: freeing, above all.
 *
 * Jobs run in the order in which they came. A job may touch only what nobody else can reach any
 * more. The queue is not bounded: each job holds memory that was in use a moment ago, and frees it.
 */
#ifndef SERVER_HELPER_H
#define SERVER_HELPER_H

#include <stddef.h>
#include <stdint.h>

/* Run FN(ARG) on the helper thread, which starts with the first job. From any thread. */
void helper_run(void (*fn)(void *arg), void *arg);
/* Jobs that are not done yet. */
size_t helper_pending(void);
/* Jobs that there ever were. */
uint64_t helper_given(void);
/* Wait until all are done; for shutdown and tests. */
void helper_drain(void);

#endif

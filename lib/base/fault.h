/* fault.h -- make the n-th allocation, write or sync fail, so that tests can sweep every place.
 *
 *     for (n = 1; ; n++) { fault_arm(FAULT_WRITE, n); run(); if (!fault_fired(FAULT_WRITE)) break; }
 *
 * Counters are per process and atomic. Disarmed (the normal case) a check costs one relaxed load.
 */
#ifndef LIB_BASE_FAULT_H
#define LIB_BASE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

enum fault_kind { FAULT_MEMORY, FAULT_WRITE, FAULT_SYNC, FAULT_KINDS };

/* The N-th check of KIND from now on fails, once; 0 disarms. */
void fault_arm(enum fault_kind kind, uint64_t n);

/* True when this call is the one that must fail. */
bool fault_now(enum fault_kind kind);

/* Whether the armed fault has fired. */
bool fault_fired(enum fault_kind kind);

#endif

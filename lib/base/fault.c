/* fault.c -- fault injection at the n-th call. */
#include "lib/base/fault.h"

#include <stdatomic.h>

static _Atomic uint64_t left[FAULT_KINDS]; /* checks until the fault; 0: disarmed */
static _Atomic bool fired[FAULT_KINDS];

void fault_arm(enum fault_kind kind, uint64_t n) {
    atomic_store(&fired[kind], false);
    atomic_store(&left[kind], n);
}

bool fault_now(enum fault_kind kind) {
    if (atomic_load_explicit(&left[kind], memory_order_relaxed) == 0) return false;
    if (atomic_fetch_sub(&left[kind], 1) != 1) return false;
    atomic_store(&fired[kind], true);
    return true;
}

bool fault_fired(enum fault_kind kind) {
    return atomic_load(&fired[kind]);
}

/* snapshot_memory.c -- the sum of what snapshots hold. See snapshot_memory.h. */
#include "server/snapshot_memory.h"

#include "lib/base/mem.h"
#include "server/helper.h"

#include <stdatomic.h>

static _Atomic size_t held;

void snapshot_memory_note(size_t *noted, size_t bytes) {
    if (*noted == bytes) return;
    atomic_fetch_add_explicit(&held, bytes - *noted, memory_order_relaxed); /* modulo: it may be less */
    *noted = bytes;
}

static void forget(void *arg) {
    size_t *noted = arg;
    snapshot_memory_note(noted, 0);
    mem_free(noted);
}

void snapshot_memory_forget_later(size_t *noted) {
    if (*noted == 0) return;
    helper_run(forget, mem_dup(noted, sizeof *noted));
    *noted = 0;
}

size_t snapshot_memory(void) {
    return atomic_load_explicit(&held, memory_order_relaxed);
}

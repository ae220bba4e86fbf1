/* allocator.c -- asking jemalloc, or the sanitizers' own allocator. */
#include "server/allocator.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAVE_JEMALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAVE_JEMALLOC 0
#endif
#endif
#ifndef HAVE_JEMALLOC
#define HAVE_JEMALLOC 1
#endif
#if HAVE_JEMALLOC
#include <jemalloc/jemalloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#else
/* Of the sanitizers' run-time library; gcc brings no header for it. */
size_t __sanitizer_get_current_allocated_bytes(void);
#endif

#if HAVE_JEMALLOC

static size_t ask(const char *name) {
    size_t value = 0, size = sizeof value;
    return mallctl(name, &value, &size, NULL, 0) == 0 ? value : 0;
}

static void refresh(void) {
    uint64_t epoch = 1;
    size_t size = sizeof epoch;
    (void)mallctl("epoch", &epoch, &size, &epoch, size);
}

size_t allocator_used(void) {
    refresh();
    return ask("stats.allocated");
}

void allocator_flush(void) {
    (void)mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
}

void allocator_sizes(size_t *allocated, size_t *active, size_t *resident) {
    refresh();
    *allocated = ask("stats.allocated");
    *active = ask("stats.active");
    *resident = ask("stats.resident");
}

static void add_text(void *out, const char *text) {
    buf_add(out, slice_text(text));
}

void allocator_describe(struct buf *out) {
    malloc_stats_print(add_text, out, NULL);
}

void allocator_background(bool on) {
    (void)mallctl("background_thread", NULL, NULL, &on, sizeof on);
}

/* ---- huge pages ---- */

#define RANGES_MAX 1024 /* they become bigger and bigger; more are not made huge */
#define HUGE_BYTES ((size_t)2 << 20)
#define GROWTH_MIN (2 * HUGE_BYTES) /* less need not have a whole one in it */
#define SLOW_US 700u
#define SLOW_MAX 1u /* in one growth; then it goes on with small ones */

static struct {
    _Atomic bool on;
    bool is_hooked;
    extent_hooks_t *old, hooks;
    _Atomic unsigned slow;
    _Atomic size_t count; /* of ranges; may pass the maximum */
    struct {
        void *at;
        size_t size;
    } ranges[RANGES_MAX];
} growth;

static uint64_t processor_us(void) {
    struct timespec used;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

/* A huge page is cleared in some 200 us, 20 times as fast as so many small ones are found. But the kernel
 * takes it from where memory was least used, and in a virtual machine that may be what the host has not
 * given yet: then it takes milliseconds, where small pages that were used before are at hand. One page
 * shows which. */
static bool is_slow(void *at) {
    uint64_t began_us = processor_us();
    uintptr_t first = ((uintptr_t)at + HUGE_BYTES - 1) & ~(uintptr_t)(HUGE_BYTES - 1);
    *(volatile uint8_t *)first = 0; /* it is zero */
    return processor_us() - began_us > SLOW_US;
}

static void make_huge(void *at, size_t size) {
    size_t n = atomic_fetch_add(&growth.count, 1);
    if (n >= RANGES_MAX || madvise(at, size, MADV_HUGEPAGE)) return;
    if (is_slow(at)) {
        (void)madvise(at, size, MADV_NOHUGEPAGE);
        if (atomic_fetch_add(&growth.slow, 1) + 1 == SLOW_MAX) atomic_store(&growth.on, false);
        return;
    }
    growth.ranges[n].at = at;
    growth.ranges[n].size = size;
}

static void *grow(extent_hooks_t *hooks, void *wanted, size_t size, size_t alignment, bool *zero,
                  bool *commit, unsigned arena) {
    (void)hooks;
    void *at = growth.old->alloc(growth.old, wanted, size, alignment, zero, commit, arena);
    if (at == NULL || size < GROWTH_MIN || !*commit || !atomic_load(&growth.on))
        return at;
    make_huge(at, size);
    return at;
}

/* Where all arenas get their memory from passes us. */
static void hook_in(void) {
    unsigned arenas = 0;
    size_t size = sizeof arenas;
    extent_hooks_t *mine = &growth.hooks;
    size_t hooks_size = sizeof growth.old;
    growth.is_hooked = true;
    if (mallctl("opt.narenas", &arenas, &size, NULL, 0) ||
        mallctl("arena.0.extent_hooks", &growth.old, &hooks_size, NULL, 0))
        return;
    growth.hooks = *growth.old;
    growth.hooks.alloc = grow;
    for (unsigned i = 0; i < arenas; i++) {
        char name[48];
        (void)snprintf(name, sizeof name, "arena.%u.extent_hooks", i);
        (void)mallctl(name, NULL, NULL, &mine, sizeof mine);
    }
}

void allocator_grows(bool on) {
    if (on && !growth.is_hooked) hook_in();
    atomic_store(&growth.slow, 0);
    atomic_store(&growth.on, on);
    if (on) return;
    size_t count = atomic_exchange(&growth.count, 0);
    for (size_t i = 0; i < count && i < RANGES_MAX; i++) {
        if (growth.ranges[i].at) (void)madvise(growth.ranges[i].at, growth.ranges[i].size, MADV_NOHUGEPAGE);
        growth.ranges[i].at = NULL;
    }
}

void allocator_purge(void) {
    (void)mallctl("arena.4096.purge", NULL, NULL, NULL, 0); /* MALLCTL_ARENAS_ALL */
}

#else

size_t allocator_used(void) {
    return __sanitizer_get_current_allocated_bytes();
}

void allocator_flush(void) {}

void allocator_sizes(size_t *allocated, size_t *active, size_t *resident) {
    *allocated = *active = *resident = allocator_used();
}

void allocator_describe(struct buf *out) {
    buf_printf(out, "Stats not supported for the current allocator");
}

void allocator_background(bool on) {
    (void)on;
}

void allocator_grows(bool on) {
    (void)on;
}

void allocator_purge(void) {}

#endif

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

void allocator_purge(void) {}

#endif

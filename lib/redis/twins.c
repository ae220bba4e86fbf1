/* twins.c -- have these bytes been seen? See twins.h. */
#include "lib/redis/twins.h"

#include "lib/base/mem.h"
#include "lib/base/rand.h"

#include <xxhash.h>

#define SLOTS_MIN 64u
#define SLOTS_IN_CACHE 4096u
#define SLOTS_AT_ONCE (1u << 16) /* no claim makes the first table larger */
#define SLOTS_KEPT (1u << 16)    /* a larger table is given back at the next reset */

/* One for the process, so that nobody outside can make hashes that collide in a table. */
static uint64_t secret;

__attribute__((constructor)) static void twins_prepare(void) {
    rand_secret(&secret, sizeof secret);
}

void twins_init(struct twins *twins, uint64_t bytes_max) {
    *twins = (struct twins){.bytes_max = bytes_max < SIZE_MAX ? (size_t)bytes_max : SIZE_MAX};
}

void twins_close(struct twins *twins) {
    mem_free(twins->slots);
    twins->slots = NULL;
    twins->size = twins->allocated = 0;
}

/* A table of SIZE slots, all empty; false if that is too much. */
static bool table_take(struct twins *twins, size_t size) {
    if (size > twins->bytes_max / sizeof *twins->slots) return false;
    if (size > twins->allocated) {
        mem_free(twins->slots);
        twins->allocated = 0;
        twins->slots = mem_try_alloc(size * sizeof *twins->slots);
        if (twins->slots == NULL) return false;
        twins->allocated = size;
    }
    ASSERT(twins->slots);
    memset(twins->slots, 0, size * sizeof *twins->slots);
    twins->size = size;
    return true;
}

void twins_reset(struct twins *twins, uint64_t expected) {
    if (twins->allocated > SLOTS_KEPT) twins_close(twins);
    size_t size = SLOTS_MIN;
    while (size < SLOTS_AT_ONCE && size / 3 * 2 < expected) size *= 2;
    twins->used = twins->size = twins->queued = 0;
    twins->full = !table_take(twins, size);
}

/* Put HASH in its place; false if it is there. There is an empty slot. */
static bool place(struct twins *twins, struct twins_slot hash) {
    size_t mask = twins->size - 1, at = (size_t)hash.low & mask;
    for (;; at = (at + 1) & mask) {
        struct twins_slot *slot = &twins->slots[at];
        if (slot->low == hash.low && slot->high == hash.high) return false;
        if (slot->low == 0 && slot->high == 0) {
            *slot = hash;
            return true;
        }
    }
}

static bool grow(struct twins *twins) {
    struct twins old = *twins;
    twins->slots = NULL;
    twins->allocated = 0;
    if (!table_take(twins, old.size * 2)) {
        *twins = old;
        return false;
    }
    for (size_t i = 0; i < old.size; i++)
        if (old.slots[i].low != 0 || old.slots[i].high != 0) place(twins, old.slots[i]);
    mem_free(old.slots);
    return true;
}

bool twins_done(struct twins *twins) {
    bool unique = true;
    for (size_t i = 0; i < twins->queued; i++) unique = place(twins, twins->queue[i]) && unique;
    twins->queued = 0;
    return unique;
}

bool twins_add(struct twins *twins, struct slice bytes) {
    if (twins->full) return true;
    if (twins->used >= twins->size / 3 * 2) {
        if (!twins_done(twins)) return false;
        if (!grow(twins)) {
            twins->full = true;
            return true;
        }
    }
    XXH128_hash_t hash = XXH3_128bits_withSeed(bytes.data, bytes.size, secret);
    struct twins_slot slot = {.low = hash.low64, .high = hash.high64 | 1}; /* never empty */
    twins->used++;
    if (twins->size <= SLOTS_IN_CACHE) return place(twins, slot);
    __builtin_prefetch(&twins->slots[slot.low & (twins->size - 1)], 1);
    twins->queue[twins->queued++] = slot;
    return twins->queued < TWINS_QUEUE || twins_done(twins);
}

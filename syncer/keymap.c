/* keymap.c -- a map from (database, key) to a struct of the caller's. See keymap.h. */
#include "syncer/keymap.h"

#include "lib/base/mem.h"

#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wcast-qual"
#include <xxhash.h>
#pragma GCC diagnostic pop

void keymap_init(struct keymap *map, size_t entry_size) {
    ASSERT(entry_size >= sizeof(struct keymap_entry));
    *map = (struct keymap){.entry_size = entry_size};
}

void keymap_clear(struct keymap *map) {
    for (size_t i = 0; i < map->bucket_count; i++)
        for (struct keymap_entry *e = map->buckets[i], *next; e; e = next) {
            next = e->next;
            mem_free(e);
        }
    mem_free(map->buckets);
    map->buckets = NULL;
    map->bucket_count = map->count = map->key_bytes = 0;
}

void keymap_close(struct keymap *map) { keymap_clear(map); }

uint64_t keymap_hash(int db, struct slice key) {
    return XXH3_64bits_withSeed(key.size ? key.data : (const uint8_t *)"", key.size, (uint64_t)(unsigned)db);
}

static struct keymap_entry **find(const struct keymap *map, uint64_t hash, int db, struct slice key) {
    struct keymap_entry **at = &map->buckets[hash & (map->bucket_count - 1)];
    while (*at && !((*at)->hash == hash && (*at)->db == db && slice_equal((*at)->key, key))) at = &(*at)->next;
    return at;
}

void *keymap_find(const struct keymap *map, int db, struct slice key) {
    return map->count ? *find(map, keymap_hash(db, key), db, key) : NULL;
}

static void grow(struct keymap *map) {
    size_t count = map->bucket_count ? map->bucket_count * 2 : 64;
    struct keymap_entry **buckets = NEW_ARRAY(struct keymap_entry *, count);
    for (size_t i = 0; i < map->bucket_count; i++)
        for (struct keymap_entry *e = map->buckets[i], *next; e; e = next) {
            next = e->next;
            e->next = buckets[e->hash & (count - 1)];
            buckets[e->hash & (count - 1)] = e;
        }
    mem_free(map->buckets);
    map->buckets = buckets;
    map->bucket_count = count;
}

void *keymap_put(struct keymap *map, int db, struct slice key, bool *added) {
    if (map->count >= map->bucket_count) grow(map);
    uint64_t hash = keymap_hash(db, key);
    struct keymap_entry **at = find(map, hash, db, key);
    *added = *at == NULL;
    if (*at) return *at;
    struct keymap_entry *e = mem_zalloc(map->entry_size + key.size);
    uint8_t *bytes = (uint8_t *)e + map->entry_size;
    if (key.size) memcpy(bytes, key.data, key.size);
    *e = (struct keymap_entry){.hash = hash, .db = db, .key = slice_from(bytes, key.size)};
    *at = e;
    map->count++;
    map->key_bytes += key.size;
    return e;
}

void keymap_remove(struct keymap *map, void *entry) {
    struct keymap_entry *e = entry, **at = &map->buckets[e->hash & (map->bucket_count - 1)];
    while (*at != e) {
        ASSERT(*at);
        at = &(*at)->next;
    }
    *at = e->next;
    map->count--;
    map->key_bytes -= e->key.size;
    mem_free(e);
}

void *keymap_next(const struct keymap *map, struct keymap_walk *walk) {
    if (!walk->started) {
        walk->started = true;
        walk->next = map->bucket_count ? map->buckets[0] : NULL;
    }
    while (!walk->next && walk->bucket + 1 < map->bucket_count) walk->next = map->buckets[++walk->bucket];
    struct keymap_entry *e = walk->next;
    if (e) walk->next = e->next;
    return e;
}

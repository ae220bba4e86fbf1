/* keymap.h -- a map from (database, key) to a struct of the caller's.
 *
 * Entries embed `struct keymap_entry` as their first member and are allocated by the map, with the
 * key's bytes behind them. One thread. Grows as it must: the caller bounds it.
 */
#ifndef SYNCER_KEYMAP_H
#define SYNCER_KEYMAP_H

#include "lib/base/slice.h"

struct keymap_entry {
    struct keymap_entry *next; /* in the bucket */
    uint64_t hash;
    int db;
    struct slice key; /* lies behind the entry */
};

struct keymap {
    size_t entry_size; /* bytes of the caller's struct */
    struct keymap_entry **buckets;
    size_t bucket_count, count;
    size_t key_bytes;
};

void keymap_init(struct keymap *map, size_t entry_size);
void keymap_close(struct keymap *map); /* frees the entries */
void keymap_clear(struct keymap *map);

uint64_t keymap_hash(int db, struct slice key);

/* NULL when it is not there. */
void *keymap_find(const struct keymap *map, int db, struct slice key);

/* Find or add; an added one is all zero behind the keymap_entry, and *ADDED says so. */
void *keymap_put(struct keymap *map, int db, struct slice key, bool *added);

/* Remove and free ENTRY. */
void keymap_remove(struct keymap *map, void *entry);

/* Walk: start with *AT == 0; NULL at the end. The entry that was told may be removed meanwhile,
 * nothing may be added. */
struct keymap_walk {
    size_t bucket;
    struct keymap_entry *next;
    bool started;
};
void *keymap_next(const struct keymap *map, struct keymap_walk *walk);

#endif

/* sent.c -- which keys a link itself made vanish at its target. See sent.h. */
#include "syncer/sent.h"

#include "lib/base/mem.h"
#include "syncer/keymap.h"

#include <pthread.h>

#define SETS ((size_t)1 << 14)
#define WAYS 8

struct sent_set {
    uint64_t hash[WAYS]; /* 0: free */
};

struct sent {
    pthread_mutex_t lock;
    bool begun;
    struct place from;
    struct sent_set *sets; /* SETS */
    uint8_t oldest[SETS];
};

struct sent *sent_new(void) {
    struct sent *sent = NEW(struct sent);
    pthread_mutex_init(&sent->lock, NULL);
    sent->sets = NEW_ARRAY(struct sent_set, SETS);
    return sent;
}

void sent_free(struct sent *sent) {
    if (!sent) return;
    pthread_mutex_destroy(&sent->lock);
    mem_free(sent->sets);
    mem_free(sent);
}

void sent_begin(struct sent *sent, struct place at) {
    pthread_mutex_lock(&sent->lock);
    if (!sent->begun || place_compare(&at, &sent->from) < 0) sent->from = at;
    sent->begun = true;
    pthread_mutex_unlock(&sent->lock);
}

/* `any` has a database that no key has. */
static uint64_t hash_of(struct place at, int db, struct slice key) {
    uint64_t place = at.offset * UINT64_C(0x9e3779b97f4a7c15) + at.copies;
    uint64_t hash = (keymap_hash(db, key) ^ place) * UINT64_C(0xff51afd7ed558ccd);
    hash ^= hash >> 32;
    return hash ? hash : 1;
}

static void put(struct sent *sent, uint64_t hash) {
    pthread_mutex_lock(&sent->lock);
    size_t set = hash % SETS;
    sent->sets[set].hash[sent->oldest[set]] = hash;
    sent->oldest[set] = (uint8_t)((sent->oldest[set] + 1) % WAYS);
    pthread_mutex_unlock(&sent->lock);
}

void sent_note(struct sent *sent, struct place at, int db, struct slice key) { put(sent, hash_of(at, db, key)); }

void sent_note_any(struct sent *sent, struct place at) { put(sent, hash_of(at, -1, SLICE(""))); }

static bool find(const struct sent *sent, uint64_t hash) {
    const struct sent_set *set = &sent->sets[hash % SETS];
    for (size_t i = 0; i < WAYS; i++)
        if (set->hash[i] == hash) return true;
    return false;
}

bool sent_has(struct sent *sent, struct place at, int db, struct slice key) {
    pthread_mutex_lock(&sent->lock);
    bool unknown = !sent->begun || place_compare(&at, &sent->from) <= 0;
    bool has = unknown || find(sent, hash_of(at, db, key)) || find(sent, hash_of(at, -1, SLICE("")));
    pthread_mutex_unlock(&sent->lock);
    return has;
}

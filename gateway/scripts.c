/* scripts.c -- the bodies of Lua scripts, by SHA-1. See scripts.h. */
#include "gateway/scripts.h"

#include "lib/base/mem.h"
#include "lib/base/queue.h"
#include "lib/redis/resp.h"

#include <openssl/sha.h>
#include <pthread.h>
#include <xxhash.h>

#define SCRIPTS_MAX 10000u
#define SCRIPTS_BYTES_MAX (64u << 20)
#define BUCKETS 16384u
#define SHA_BYTES 20

struct script {
    struct list age;     /* in scripts->by_age */
    struct script *next; /* in its bucket */
    uint8_t sha[SHA_BYTES];
    uint64_t hash; /* of the body, so that EVAL of a known one needs no SHA-1 */
    bool known;    /* false: only its hash was seen */
    size_t size;
    uint8_t body[];
};

struct scripts {
    pthread_mutex_t lock;
    struct script *buckets[BUCKETS];
    struct list by_age;
    uint64_t seen[4096]; /* hashes of bodies that are in the store; a cache in front of it */
    size_t known, missing, bytes;
};

struct scripts *scripts_open(void) {
    struct scripts *s = NEW(struct scripts);
    pthread_mutex_init(&s->lock, NULL);
    list_init(&s->by_age);
    return s;
}

static struct script **place_of(struct scripts *s, const uint8_t *sha) {
    uint32_t bucket;
    memcpy(&bucket, sha, sizeof bucket);
    struct script **at = &s->buckets[bucket % BUCKETS];
    while (*at != NULL && memcmp((*at)->sha, sha, SHA_BYTES) != 0) at = &(*at)->next;
    return at;
}

static void drop(struct scripts *s, struct script **at) {
    struct script *script = *at;
    ASSERT(script);
    *at = script->next;
    list_remove(&script->age);
    if (script->known) {
        s->known--;
        s->bytes -= script->size;
        uint64_t *seen = &s->seen[script->hash % (sizeof s->seen / sizeof *s->seen)];
        if (*seen == script->hash) *seen = 0;
    } else {
        s->missing--;
    }
    mem_free(script);
}

static void clear(struct scripts *s) {
    while (!list_is_empty(&s->by_age)) {
        struct script *oldest = LIST_OWNER(s->by_age.next, struct script, age);
        drop(s, place_of(s, oldest->sha));
    }
}

void scripts_close(struct scripts *s) {
    if (s == NULL) return;
    clear(s);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

/* Make room: the oldest of the kind that is over its bound goes. */
static void shed(struct scripts *s) {
    while (s->known > SCRIPTS_MAX || s->bytes > SCRIPTS_BYTES_MAX || s->missing > SCRIPTS_MAX) {
        struct script *oldest = LIST_OWNER(s->by_age.next, struct script, age);
        drop(s, place_of(s, oldest->sha));
    }
}

static void insert(struct scripts *s, const uint8_t *sha, struct slice body, uint64_t hash,
                   bool known) {
    struct script **at = place_of(s, sha);
    if (*at != NULL && (*at)->known) return;
    if (*at != NULL) drop(s, at);
    struct script *script = mem_alloc(sizeof *script + body.size);
    *script = (struct script){.next = *at, .hash = hash, .known = known, .size = body.size};
    memcpy(script->sha, sha, SHA_BYTES);
    if (body.size > 0) memcpy(script->body, body.data, body.size);
    *at = script;
    list_push(&s->by_age, &script->age);
    if (known) {
        s->known++;
        s->bytes += body.size;
    } else {
        s->missing++;
    }
    shed(s);
}

void scripts_add(struct scripts *s, struct slice body) {
    if (body.size > SCRIPTS_BYTES_MAX / 4) return;
    uint64_t hash = XXH3_64bits(body.data, body.size);
    uint8_t sha[SHA_BYTES];
    pthread_mutex_lock(&s->lock);
    uint64_t *seen = &s->seen[hash % (sizeof s->seen / sizeof *s->seen)];
    if (*seen != hash || hash == 0) {
        SHA1(body.data, body.size, sha);
        insert(s, sha, body, hash, true);
        *seen = hash;
    }
    pthread_mutex_unlock(&s->lock);
}

static int digit(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_sha(struct slice text, uint8_t *sha) {
    if (text.size != 2u * SHA_BYTES) return false;
    for (size_t i = 0; i < SHA_BYTES; i++) {
        int high = digit(text.data[2 * i]), low = digit(text.data[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        sha[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

bool scripts_find(struct scripts *s, struct slice text, struct buf *out) {
    uint8_t sha[SHA_BYTES];
    if (!read_sha(text, sha)) return false;
    pthread_mutex_lock(&s->lock);
    struct script *script = *place_of(s, sha);
    bool known = script != NULL && script->known;
    if (known && out != NULL) buf_append(out, script->body, script->size);
    if (script == NULL) insert(s, sha, (struct slice){0}, 0, false);
    pthread_mutex_unlock(&s->lock);
    return known;
}

void scripts_clear(struct scripts *s) {
    pthread_mutex_lock(&s->lock);
    clear(s);
    pthread_mutex_unlock(&s->lock);
}

size_t scripts_count(struct scripts *s) {
    pthread_mutex_lock(&s->lock);
    size_t count = s->known;
    pthread_mutex_unlock(&s->lock);
    return count;
}

size_t scripts_missing(struct scripts *s) {
    pthread_mutex_lock(&s->lock);
    size_t count = s->missing;
    pthread_mutex_unlock(&s->lock);
    return count;
}

size_t scripts_write_loads(struct scripts *s, struct buf *out) {
    pthread_mutex_lock(&s->lock);
    size_t count = 0;
    LIST_EACH(&s->by_age, at) {
        const struct script *script = LIST_OWNER(at, struct script, age);
        if (!script->known) continue;
        struct slice argv[3] = {SLICE("SCRIPT"), SLICE("LOAD"),
                                slice_from(script->body, script->size)};
        resp_write_command(out, 3, argv);
        count++;
    }
    pthread_mutex_unlock(&s->lock);
    return count;
}

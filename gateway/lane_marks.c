/* lane_marks.c -- what a lane has sent to F since a mark. See lane_marks.h. */
#include "gateway/lane_marks.h"

#include "lib/base/mem.h"
#include "lib/redis/resp.h"

#include <inttypes.h>
#include <stdio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define BUCKETS 4096u

void lane_marks_init(struct lane_marks *m, size_t max) {
    *m = (struct lane_marks){.max = max, .oldest = 1, .bucket_count = BUCKETS};
    m->buckets = NEW_ARRAY(struct lane_mark_key *, BUCKETS);
    list_init(&m->keys);
}

static void forget(struct lane_marks *m, struct lane_mark_key *key) {
    struct lane_mark_key **at = &m->buckets[key->hash % m->bucket_count];
    while (*at != key) at = &(*at)->next;
    *at = key->next;
    list_remove(&key->link);
    m->count--;
    mem_free(key);
}

static void forget_all(struct lane_marks *m) {
    while (!list_is_empty(&m->keys))
        forget(m, LIST_OWNER(m->keys.next, struct lane_mark_key, link));
}

void lane_marks_close(struct lane_marks *m) {
    if (m->buckets == NULL) return;
    forget_all(m);
    mem_free(m->buckets);
    *m = (struct lane_marks){0};
}

void lane_marks_name(struct lane_marks *m, const char *name, uint64_t nonce) {
    (void)snprintf(m->name, sizeof m->name, "%s", name);
    m->nonce = nonce;
}

/* ---- keys ---- */

static uint64_t hash_of(int32_t db, struct slice name) {
    return XXH3_64bits_withSeed(name.data, name.size, (uint64_t)(uint32_t)db);
}

static struct lane_mark_key *find(const struct lane_marks *m, uint64_t hash, int32_t db,
                                  struct slice name) {
    struct lane_mark_key *key = m->buckets[hash % m->bucket_count];
    while (key != NULL && (key->hash != hash || key->db != db ||
                           !slice_equal(slice_from(key->name, key->name_bytes), name)))
        key = key->next;
    return key;
}

static struct lane_mark_key *add(struct lane_marks *m, uint64_t hash, int32_t db,
                                 struct slice name) {
    struct lane_mark_key *key = mem_zalloc(sizeof *key + name.size);
    key->hash = hash;
    key->db = db;
    key->name_bytes = (uint32_t)name.size;
    if (name.size > 0) memcpy(key->name, name.data, name.size);
    key->next = m->buckets[hash % m->bucket_count];
    m->buckets[hash % m->bucket_count] = key;
    m->count++;
    return key;
}

/* What is forgotten was sent behind the mark of its number: from the next one on all is known. */
static void make_room(struct lane_marks *m) {
    while (m->count > m->max) {
        struct lane_mark_key *key = LIST_OWNER(m->keys.next, struct lane_mark_key, link);
        if (key->number >= m->oldest) m->oldest = key->number + 1;
        forget(m, key);
    }
}

void lane_marks_sent(struct lane_marks *m, const struct effect_key *keys, size_t count) {
    if (m->name[0] == '\0') return;
    for (size_t i = 0; i < count; i++) {
        if ((keys[i].use & EFFECT_WRITE) == 0) continue;
        uint64_t hash = hash_of(keys[i].db, keys[i].name);
        struct lane_mark_key *key = find(m, hash, keys[i].db, keys[i].name);
        if (key == NULL) key = add(m, hash, keys[i].db, keys[i].name);
        key->number = m->number;
        list_remove(&key->link);
        list_push(&m->keys, &key->link);
        m->any = true;
    }
    make_room(m);
}

void lane_marks_sent_all(struct lane_marks *m) {
    forget_all(m);
    m->oldest = m->number + 1;
    m->any = true;
}

/* ---- marks ---- */

static struct slice mark_text(const struct lane_marks *m, char text[LANE_MARK_BYTES]) {
    (void)snprintf(text, LANE_MARK_BYTES, "%016" PRIx64 "-%" PRIu64, m->nonce, m->number);
    return slice_text(text);
}

static void command(const struct lane_marks *m, bool bundled, const char *verb,
                    const struct slice *mark, struct buf *out) {
    char name[128];
    size_t argc = 0;
    struct slice argv[5];
    if (bundled) {
        argv[argc++] = SLICE("DRAWBRIDGE");
        argv[argc++] = SLICE("CHECKPOINT");
        argv[argc++] = slice_text(verb);
        (void)snprintf(name, sizeof name, "lane:%s", m->name);
        argv[argc++] = slice_text(name);
    } else {
        argv[argc++] = strcmp(verb, "SET") == 0   ? SLICE("HSET")
                       : strcmp(verb, "DEL") == 0 ? SLICE("HDEL")
                                                  : SLICE("HGET");
        argv[argc++] = SLICE(LANE_MARKS_KEY);
        argv[argc++] = slice_text(m->name);
    }
    if (mark != NULL) argv[argc++] = *mark;
    resp_write_command(out, argc, argv);
}

void lane_marks_write(struct lane_marks *m, bool bundled, struct buf *out) {
    char text[LANE_MARK_BYTES];
    m->number++;
    m->any = false;
    struct slice mark = mark_text(m, text);
    command(m, bundled, "SET", &mark, out);
}

void lane_marks_remove(const struct lane_marks *m, bool bundled, struct buf *out) {
    command(m, bundled, "DEL", NULL, out);
}

void lane_marks_ask(const struct lane_marks *m, bool bundled, struct buf *out) {
    command(m, bundled, "GET", NULL, out);
}

/* The number of a mark of ours; 0: it is none. */
static uint64_t number_of(const struct lane_marks *m, struct slice answer) {
    struct resp_token t;
    struct why why;
    size_t used = 0;
    char nonce[20];
    int64_t number = 0;
    if (answer.size == 0) return 0;
    if (resp_next(&resp_limits_server, answer, &t, &used, &why) != STEP_DONE) return 0;
    int size = snprintf(nonce, sizeof nonce, "%016" PRIx64 "-", m->nonce);
    if (t.kind != RESP_BULK || !slice_starts(t.text, slice_from(nonce, (size_t)size))) return 0;
    if (!slice_to_int(slice_drop(t.text, (size_t)size), &number) || number <= 0) return 0;
    return (uint64_t)number;
}

bool lane_marks_since(const struct lane_marks *m, struct slice answer,
                      void (*found)(void *self, int32_t db, struct slice name), void *self) {
    uint64_t number = number_of(m, answer);
    if (number == 0 || number < m->oldest || number > m->number) return false;
    LIST_EACH(&m->keys, at) {
        const struct lane_mark_key *key = LIST_OWNER(at, struct lane_mark_key, link);
        if (key->number >= number) found(self, key->db, slice_from(key->name, key->name_bytes));
    }
    return true;
}

/* lane_marks.c -- what a lane has sent to F since a mark. See lane_marks.h. */
#include "gateway/lane_marks.h"

#include "lib/base/mem.h"
#include "lib/redis/resp.h"

#include <inttypes.h>
#include <stdio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define SEEN 2048u /* a power of two; they stay in the processor's cache */
#define BYTES_PER_KEY 64u

/* In the log, one behind the other. */
struct mark_key {
    uint64_t number; /* of the mark behind which it was sent */
    int32_t db;
    uint32_t bytes;
    uint8_t name[]; /* and up to the next multiple of 8 */
};

struct lane_mark_seen {
    uint32_t tag; /* of the key's hash */
    uint32_t at;  /* in the log */
};

void lane_marks_init(struct lane_marks *m, size_t max) {
    ASSERT(max > 0 && max < UINT32_MAX / BYTES_PER_KEY / 2);
    *m = (struct lane_marks){.max = max, .oldest = 1};
    m->seen = NEW_ARRAY(struct lane_mark_seen, SEEN);
}

void lane_marks_close(struct lane_marks *m) {
    buf_close(&m->log);
    mem_free(m->seen);
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

static struct mark_key *key_at(const struct lane_marks *m, size_t at) {
    return (struct mark_key *)(void *)(m->log.data + at);
}

static size_t size_of(size_t name_bytes) {
    return (sizeof(struct mark_key) + name_bytes + 7) & ~(size_t)7;
}

static struct slice name_of(const struct mark_key *key) {
    return slice_from(key->name, key->bytes);
}

static bool is_same(const struct mark_key *key, int32_t db, struct slice name) {
    return key->db == db && slice_equal(name_of(key), name);
}

/* It is in the log already, behind the last mark. */
static bool was_seen(const struct lane_marks *m, const struct lane_mark_seen *seen, uint32_t tag,
                     const struct effect_key *key) {
    return seen->tag == tag && seen->at >= m->since && seen->at < m->log.end &&
           is_same(key_at(m, seen->at), key->db, key->name);
}

static void add(struct lane_marks *m, const struct effect_key *key) {
    size_t size = size_of(key->name.size);
    struct mark_key *to = (struct mark_key *)(void *)buf_room(&m->log, size);
    to->number = m->number;
    to->db = key->db;
    to->bytes = (uint32_t)key->name.size;
    if (key->name.size > 0) memcpy(to->name, key->name.data, key->name.size);
    buf_filled(&m->log, size);
    m->count++;
}

static bool is_full(const struct lane_marks *m) {
    return m->count > m->max || buf_size(&m->log) > m->max * BYTES_PER_KEY;
}

/* Which places of the log stand for the last time that their key was sent: SET of the places, by
 * hash. */
struct last {
    uint32_t *set; /* place + 1 */
    size_t mask;
    uint8_t *keep; /* one for each key of the log */
};

static bool is_last(const struct lane_marks *m, struct last *last, uint32_t at) {
    const struct mark_key *key = key_at(m, at);
    size_t i = hash_of(key->db, name_of(key)) & last->mask;
    for (; last->set[i] != 0; i = (i + 1) & last->mask)
        if (is_same(key_at(m, last->set[i] - 1), key->db, name_of(key))) return false;
    last->set[i] = at + 1;
    return true;
}

/* From the newest to the oldest, because the first one that is met stays. */
static void find_last(const struct lane_marks *m, struct last *last) {
    size_t cap = 16, n = 0;
    while (cap < m->count * 2) cap *= 2;
    *last = (struct last){NEW_ARRAY(uint32_t, cap), cap - 1, NEW_ARRAY(uint8_t, m->count + 1)};
    uint32_t *place = NEW_ARRAY(uint32_t, m->count + 1);
    for (size_t at = 0; at < m->log.end; at += size_of(key_at(m, at)->bytes))
        place[n++] = (uint32_t)at;
    ASSERT(n == m->count);
    while (n-- > 0) last->keep[n] = is_last(m, last, place[n]);
    mem_free(place);
}

static void last_close(struct last *last) {
    mem_free(last->set);
    mem_free(last->keep);
}

/* Those behind move up to where what goes has stood. */
static void keep_last(struct lane_marks *m) {
    struct last last;
    size_t to = 0, n = 0, kept = 0;
    find_last(m, &last);
    m->since = 0;
    for (size_t size, at = 0; at < m->log.end; at += size) {
        bool older = key_at(m, at)->number < m->number;
        size = size_of(key_at(m, at)->bytes);
        if (!last.keep[n++]) continue;
        memmove(m->log.data + to, m->log.data + at, size);
        to += size;
        kept++;
        if (older) m->since = to;
    }
    m->log.end = to;
    m->count = kept;
    last_close(&last);
}

/* What is forgotten was sent behind the mark of its number: from the next one on all is known. */
static void drop_older(struct lane_marks *m) {
    size_t at = 0, bytes = m->max * BYTES_PER_KEY / 2;
    while (m->count > (m->max + 1) / 2 || m->log.end - at > bytes) {
        const struct mark_key *key = key_at(m, at);
        if (key->number >= m->oldest) m->oldest = key->number + 1;
        at += size_of(key->bytes);
        m->count--;
    }
    m->since = m->since > at ? m->since - at : 0;
    memmove(m->log.data, m->log.data + at, m->log.end - at);
    m->log.end -= at;
    buf_shrink(&m->log, 2 * bytes); /* the name of a key may be long */
}

static void make_room(struct lane_marks *m) {
    bool slowly = m->number > key_at(m, 0)->number + 1;
    if (slowly) keep_last(m);
    bool many = m->count > m->max / 4 * 3 || m->log.end > m->max / 4 * 3 * BYTES_PER_KEY;
    if (many) drop_older(m);
    memset(m->seen, 0, SEEN * sizeof *m->seen); /* all have moved */
}

void lane_marks_sent(struct lane_marks *m, const struct effect_key *keys, size_t count) {
    if (m->name[0] == '\0') return;
    for (size_t i = 0; i < count; i++) {
        if ((keys[i].use & EFFECT_WRITE) == 0) continue;
        uint64_t hash = hash_of(keys[i].db, keys[i].name);
        struct lane_mark_seen *seen = &m->seen[hash % SEEN];
        uint32_t tag = (uint32_t)(hash >> 32) | 1; /* 0: an empty place */
        if (was_seen(m, seen, tag, &keys[i])) continue;
        *seen = (struct lane_mark_seen){tag, (uint32_t)m->log.end};
        add(m, &keys[i]);
        m->any = true;
        if (is_full(m)) make_room(m);
    }
}

void lane_marks_sent_all(struct lane_marks *m) {
    buf_clear(&m->log);
    m->count = m->since = 0;
    memset(m->seen, 0, SEEN * sizeof *m->seen); /* places in what was cleared */
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
    m->since = m->log.end;
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
    struct last last;
    size_t n = 0;
    find_last(m, &last);
    for (size_t at = 0; at < m->log.end; at += size_of(key_at(m, at)->bytes), n++) {
        const struct mark_key *key = key_at(m, at);
        if (key->number >= number && last.keep[n]) found(self, key->db, name_of(key));
    }
    last_close(&last);
    return true;
}

/* extras.c -- after a repeated copy: what the target has and the RDB has not is removed (C9).
 *
 * Memory is bounded: keys are 128-bit hashes in a table of up to 8 million; when there are more, the
 * RDB and the target are gone through several times, each time for one part of the hashes.
 */
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/control/rblock.h"
#include "lib/redis/rdb_read.h"
#include "lib/redis/reply.h"
#include "syncer/copy.h"

#include <inttypes.h>
#include <stdio.h>

#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wcast-qual"
#include <xxhash.h>
#pragma GCC diagnostic pop

#define TABLE_KEYS_MAX ((size_t)8 << 20)

struct extras {
    struct link *link;
    struct target *target;
    XXH128_hash_t *table; /* open addressing; all zero: empty */
    size_t cap, count;
    uint64_t part, parts; /* hashes with low64 % parts == part */
    bool full;
    uint64_t removed;
};

static XXH128_hash_t hash_of(uint32_t db, struct slice key) {
    XXH128_hash_t h = XXH3_128bits_withSeed(key.size ? key.data : (const uint8_t *)"", key.size, db);
    if (h.low64 == 0 && h.high64 == 0) h.low64 = 1;
    return h;
}

static XXH128_hash_t *slot_of(const struct extras *e, XXH128_hash_t h) {
    for (size_t i = h.high64 & (e->cap - 1);; i = (i + 1) & (e->cap - 1)) {
        XXH128_hash_t *s = &e->table[i];
        if ((s->low64 == 0 && s->high64 == 0) || (s->low64 == h.low64 && s->high64 == h.high64)) return s;
    }
}

static void grow(struct extras *e) {
    struct extras next = {.cap = e->cap ? e->cap * 2 : 4096};
    next.table = NEW_ARRAY(XXH128_hash_t, next.cap);
    for (size_t i = 0; i < e->cap; i++)
        if (e->table[i].low64 || e->table[i].high64) *slot_of(&next, e->table[i]) = e->table[i];
    mem_free(e->table);
    e->table = next.table;
    e->cap = next.cap;
}

static enum err see_key(void *self, const struct rdb_key *key, struct why *why) {
    struct extras *e = self;
    XXH128_hash_t h = hash_of(key->db, key->key);
    if (h.low64 % e->parts != e->part) return OK;
    if (e->count >= TABLE_KEYS_MAX) {
        e->full = true;
        return why_set(why, ERR_LIMIT, "too many keys for one pass");
    }
    if (e->count * 2 >= e->cap) grow(e);
    XXH128_hash_t *s = slot_of(e, h);
    if (s->low64 == 0 && s->high64 == 0) e->count++;
    *s = h;
    return OK;
}

static enum err read_keys(struct extras *e, uint64_t generation, struct why *why) {
    struct rdb_handler handler = {.self = e, .key_end = see_key};
    struct rdb_limits limits = RDB_LIMITS_DEFAULT;
    limits.skip_empty = true;
    struct rdb_source *source = spool_source_open(e->link, generation, 0);
    struct rdb_reader *reader = rdb_reader_open(source, limits, &handler);
    enum err err = rdb_reader_run(reader, why);
    rdb_reader_close(reader);
    spool_source_close(source);
    return err;
}

/* Delete those of the keys that SCAN told which the table does not have. */
static enum err look_at(struct extras *e, uint32_t db, const struct resp_reply *keys, struct why *why) {
    struct buf out = {0};
    size_t count = 0;
    const struct resp_reply *reply = NULL;
    enum err err = OK;
    for (size_t i = 0; i < keys->count; i++) {
        struct slice key = keys->child[i].text;
        XXH128_hash_t h = hash_of(db, key);
        if (checkpoint_is_key(key) || h.low64 % e->parts != e->part) continue;
        if (e->count > 0) {
            const XXH128_hash_t *s = slot_of(e, h);
            if (s->low64 || s->high64) continue;
        }
        resp_write_command(&out, 2, (struct slice[]){SLICE("DEL"), key});
        count++;
    }
    rblock_append_raw(e->target->conn, buf_slice(&out));
    buf_close(&out);
    e->removed += count;
    while (err == OK && count-- > 0) {
        err = rblock_read(e->target->conn, &reply, why);
        if (err == OK && resp_reply_is_error(reply)) err = why_set(why, ERR_REFUSED, "the target refuses to delete a key");
    }
    return err;
}

static enum err scan_db(struct extras *e, uint32_t db, struct why *why) {
    char words[96];
    const struct resp_reply *reply = NULL;
    uint64_t cursor = 0;
    snprintf(words, sizeof words, "SELECT %u", db);
    enum err err = rblock_words(e->target->conn, &reply, why, words);
    do {
        if (err != OK) return err;
        if (link_stopping(e->link)) return why_set(why, ERR_STOPPED, "the link stops");
        snprintf(words, sizeof words, "SCAN %" PRIu64 " COUNT 1000", cursor);
        err = rblock_words(e->target->conn, &reply, why, words);
        if (err != OK) return err;
        if (reply->kind != RESP_ARRAY || reply->count != 2 || reply->child[1].kind != RESP_ARRAY)
            return why_set(why, ERR_PROTO, "SCAN of the target's database %u was not answered", db);
        cursor = strtoull((const char *)reply->child[0].text.data, NULL, 10);
        err = look_at(e, db, &reply->child[1], why);
    } while (cursor != 0 && err == OK);
    return err;
}

static enum err scan_target(struct extras *e, struct why *why) {
    const struct resp_reply *reply = NULL;
    bool present[1024] = {false};
    enum err err = rblock_words(e->target->conn, &reply, why, "INFO keyspace");
    if (err != OK) return err;
    for (unsigned db = 0; db < 1024; db++) {
        char name[16];
        struct slice value;
        snprintf(name, sizeof name, "db%u", db);
        present[db] = resp_info_field(reply->text, name, &value);
    }
    for (uint32_t db = 0; db < 1024 && err == OK; db++)
        if (present[db]) err = scan_db(e, db, why);
    return err;
}

enum err extras_remove(struct link *link, struct target *target, uint64_t generation, uint64_t *removed, struct why *why) {
    struct extras e = {.link = link, .target = target, .parts = 1};
    enum err err = OK;
    log_info("copy.extras", LOG_S("link", link->name));
    for (e.part = 0; e.part < e.parts && err == OK; e.part++) {
        if (e.table) memset(e.table, 0, e.cap * sizeof *e.table);
        e.count = 0;
        err = read_keys(&e, generation, why);
        if (err != OK && e.full) { /* start over, in twice as many parts */
            err = OK;
            e.full = false;
            e.parts *= 2;
            e.part = UINT64_MAX;
            continue;
        }
        if (err == OK) err = scan_target(&e, why);
    }
    mem_free(e.table);
    *removed = e.removed;
    return err;
}

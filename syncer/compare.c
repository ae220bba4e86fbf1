/* compare.c -- the digests of the keys that were changed last. See compare.h. */
#include "syncer/compare.h"

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/control/rblock.h"
#include "lib/redis/digest.h"
#include "lib/redis/dump.h"
#include "lib/redis/reply.h"
#include "syncer/target.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define BATCH 32
#define NAMED_MAX 20

struct compare {
    char barrier[64];
    struct link *link;
    uint64_t budget_ms;
    pthread_t thread;
    _Atomic bool done;
    uint64_t compared, different, left_out;
    json_t *keys;
};

struct key {
    int db;
    struct slice key; /* into the copy of link->recent */
};

/* What one end says of a key. */
struct seen {
    bool told, present, expires;
    int64_t expire_ms;
    struct digest digest;
};

static enum err take_digest(void *self, const struct digest_key *key, struct why *why) {
    (void)why;
    *(struct digest *)self = key->digest;
    return OK;
}

/* The expiry takes no part: before 7.0 it cannot be read exactly, and audits look at it. */
static void digest_of(const struct key *k, struct slice payload, enum digest_streams streams, struct seen *seen) {
    struct why why;
    struct rdb_key key = {.db = (uint32_t)k->db, .key = k->key, .expire_at_ms = -1, .idle_s = -1, .freq = -1};
    struct digester *digester = digester_new(take_digest, &seen->digest, NULL);
    digester_streams(digester, streams);
    seen->told = dump_read(payload, RDB_LIMITS_DEFAULT, &key, digester_handler(digester), &why) == OK;
    seen->present = true;
    digester_free(digester);
}

static enum err ask(struct rblock *conn, const struct key *keys, size_t count, enum digest_streams streams, struct seen *seen,
                    struct why *why) {
    const struct resp_reply *reply = NULL;
    enum err err = OK;
    for (size_t i = 0; i < count; i++) {
        char db[16];
        snprintf(db, sizeof db, "%d", keys[i].db);
        rblock_append(conn, 2, (struct slice[]){SLICE("SELECT"), slice_text(db)});
        rblock_append(conn, 2, (struct slice[]){SLICE("PTTL"), keys[i].key});
        rblock_append(conn, 2, (struct slice[]){SLICE("DUMP"), keys[i].key});
    }
    for (size_t i = 0; i < count && err == OK; i++) {
        seen[i] = (struct seen){0};
        err = rblock_read(conn, &reply, why);
        if (err == OK) err = rblock_read(conn, &reply, why);
        if (err != OK) return err;
        seen[i].expires = reply->kind == RESP_INT && reply->number >= 0;
        err = rblock_read(conn, &reply, why);
        if (err != OK) return err;
        if (reply->kind == RESP_NULL) seen[i].told = true;
        else if (reply->kind == RESP_BULK) digest_of(&keys[i], reply->text, streams, &seen[i]);
    }
    return err;
}

static void judge(struct compare *c, const struct key *key, const struct seen *a, const struct seen *b) {
    if (!a->told || !b->told || a->expires || b->expires) { /* what expires may be gone at one end already */
        c->left_out++;
        return;
    }
    c->compared++;
    if (a->present == b->present && (!a->present || digest_equal(a->digest, b->digest))) return;
    c->different++;
    json_t *name = json_stringn((const char *)key->key.data, key->key.size);
    if (name && json_array_size(c->keys) < NAMED_MAX)
        json_array_append_new(c->keys, json_pack("{s:i,s:O}", "db", key->db, "key", name));
    json_decref(name);
}

static size_t split(struct slice recent, struct key *keys, size_t max) {
    size_t count = 0;
    for (struct key k; count < max && foreign_take_key(&recent, &k.db, &k.key); count++) keys[count] = (struct key){.db = k.db, .key = k.key};
    return count;
}

static enum err work(struct compare *c, const struct key *keys, size_t count, struct why *why) {
    struct rblock *source = NULL, *target = NULL;
    char name[96];
    snprintf(name, sizeof name, "drawbridge-link:%s:%" PRIu64 ":compare", c->link->name, c->link->epoch);
    struct rblock_options from = side_options(c->link->from, name), to = side_options(c->link->to, name);
    uint64_t until = clock_mono_ms(clock_real()) + c->budget_ms;
    enum err err = rblock_open(&source, &c->link->from->endpoint, &from, why);
    if (err == OK) err = rblock_open(&target, &c->link->to->endpoint, &to, why);
    bool both = err == OK && side_counts_streams(source) && side_counts_streams(target);
    enum digest_streams streams = both ? DIGEST_STREAM_CARRIED : DIGEST_STREAM_OLD;
    size_t at = 0;
    while (err == OK && at < count && clock_mono_ms(clock_real()) < until) {
        struct seen a[BATCH], b[BATCH];
        size_t part = count - at < BATCH ? count - at : BATCH;
        err = ask(source, keys + at, part, streams, a, why);
        if (err == OK) err = ask(target, keys + at, part, streams, b, why);
        for (size_t i = 0; i < part && err == OK; i++) judge(c, &keys[at + i], &a[i], &b[i]);
        at += part;
    }
    c->left_out += count - (at < count ? at : count);
    rblock_close(source);
    rblock_close(target);
    return err;
}

static void *run(void *self) {
    struct compare *c = self;
    struct buf recent = {0};
    struct why why;
    struct key keys[LINK_RECENT];
    pthread_mutex_lock(&c->link->lock);
    buf_add(&recent, buf_slice(&c->link->recent));
    pthread_mutex_unlock(&c->link->lock);
    size_t count = split(buf_slice(&recent), keys, LINK_RECENT);
    if (work(c, keys, count, &why) != OK) log_warn("barrier.compare", LOG_S("link", c->link->name), LOG_WHY(&why));
    buf_close(&recent);
    atomic_store(&c->done, true);
    return NULL;
}

struct compare *compare_start(const char *barrier, struct link *link, uint64_t budget_ms) {
    struct compare *c = NEW(struct compare);
    snprintf(c->barrier, sizeof c->barrier, "%s", barrier);
    c->link = link;
    c->budget_ms = budget_ms;
    c->keys = json_array();
    if (pthread_create(&c->thread, NULL, run, c) != 0) check_failed("pthread_create", __FILE__, __LINE__, __func__);
    return c;
}

struct link *compare_link(const struct compare *c) { return c->link; }
const char *compare_barrier(const struct compare *c) { return c->barrier; }
bool compare_is_done(struct compare *c) { return atomic_load(&c->done); }

void compare_json(struct compare *c, struct buf *out) {
    json_t *o = json_pack("{s:I,s:I,s:I,s:O}", "compared", (json_int_t)c->compared, "different", (json_int_t)c->different, "left_out",
                          (json_int_t)c->left_out, "keys", c->keys);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    buf_printf(out, "%s", text ? text : "{}");
    free(text);
    json_decref(o);
}

void compare_free(struct compare *c) {
    if (!c) return;
    pthread_join(c->thread, NULL);
    json_decref(c->keys);
    mem_free(c);
}

/* digest_command.c -- DRAWBRIDGE DIGEST: the digests of keys, slots and databases (C31), those that
 * the syncer's audits compare.
 *
 * KEY is answered at once, of what is there now. All others are a survey: their moment is that of
 * the command. Keys whose expiry had passed then are left out.
 */
#include "lib/base/mem.h"
#include "lib/redis/digest.h"
#include "lib/redis/rdb_read.h"
#include "server/args.h"
#include "server/block.h"
#include "server/drawbridge.h"
#include "server/engine.h"
#include "server/execute.h"
#include "server/reply.h"
#include "server/survey.h"
#include "server/value_rdb.h"

/* ---- one key, now ---- */

struct one {
    struct rdb_source source;
    struct slice rest;
    struct digest digest;
};

static enum err read_rest(struct rdb_source *source, void *into, size_t size, size_t *got,
                          struct why *why) {
    struct one *one = (struct one *)(void *)source;
    (void)why;
    *got = size < one->rest.size ? size : one->rest.size;
    if (*got) memcpy(into, one->rest.data, *got);
    one->rest = slice_drop(one->rest, *got);
    return OK;
}

static enum err take_one(void *self, const struct digest_key *key, struct why *why) {
    struct one *one = self;
    (void)why;
    one->digest = key->digest;
    return OK;
}

struct memory_sink {
    struct rdb_sink sink;
    struct buf bytes;
};

static enum err write_into(struct rdb_sink *sink, struct slice bytes, struct why *why) {
    (void)why;
    buf_add(&((struct memory_sink *)(void *)sink)->bytes, bytes);
    return OK;
}

/* An RDB of this key alone. */
static struct buf rdb_of(const struct db *db, const struct entry *e) {
    struct memory_sink memory = {.sink.write = write_into};
    struct rdb_writer writer;
    struct why why;
    struct value value = entry_value(e);
    struct rdb_key key = {.db = (uint32_t)db->id,
                          .key = entry_key(e),
                          .expire_at_ms = entry_expiry(e),
                          .idle_s = -1,
                          .freq = -1,
                          .rdb_type = value_rdb_type(&value)};
    rdb_writer_open(&writer, &memory.sink, RDB_VERSION_WRITTEN);
    rdb_writer_select(&writer, key.db);
    rdb_put_key(&writer.out, &key, RDB_PLAIN);
    value_put(&writer.out, &value, RDB_PLAIN);
    enum err err = rdb_writer_end(&writer, &why);
    ASSERT(!err); /* memory takes everything */
    rdb_writer_close(&writer);
    return memory.bytes;
}

static enum err digest_of(const struct db *db, const struct entry *e, enum digest_streams streams,
                          struct digest *digest, struct why *why) {
    struct buf bytes = rdb_of(db, e);
    struct one one = {.source.read = read_rest, .rest = buf_slice(&bytes)};
    struct digester *digester = digester_new(take_one, &one, NULL);
    digester_streams(digester, streams);
    struct rdb_limits limits = RDB_LIMITS_DEFAULT;
    struct rdb_reader *reader = rdb_reader_open(&one.source, limits, digester_handler(digester));
    enum err err = rdb_reader_run(reader, why);
    rdb_reader_close(reader);
    digester_free(digester);
    buf_close(&bytes);
    *digest = one.digest;
    return err;
}

static void reply_digest(struct client *c, struct digest digest) {
    char text[DIGEST_TEXT_SIZE];
    digest_write(digest, text);
    reply_bulk_text(c, text);
}

void digest_reply_total(struct client *c, size_t at, const struct digest_total *total) {
    reply_array(c, 3);
    reply_int(c, (int64_t)at);
    reply_int(c, (int64_t)total->keys);
    reply_digest(c, total->digest);
}

static void keys(struct client *c, int end, enum digest_streams streams) {
    struct why why;
    reply_array(c, (size_t)(end - 3));
    for (int i = 3; i < end; i++) {
        struct digest digest;
        const struct entry *e = db_find(c->db, c->argv[i]);
        if (e == NULL || entry_is_expired(c->engine, e))
            reply_null(c);
        else if (digest_of(c->db, e, streams, &digest, &why))
            reply_error(c, "ERR %s", why.text);
        else
            reply_digest(c, digest);
    }
}

/* ---- many keys, of one moment ---- */

enum by { BY_DB, BY_SLOT };

/* DIGEST SLOT or DB that somebody waits for. */
struct request {
    struct engine *engine;
    uint64_t client_id;
    enum by by;
    struct slot_set slots; /* asked for; all zero: whatever there is */
    bool some;             /* slots or a database were named: they are told even if empty */
    int db;                /* asked for; -1: all */
    int64_t now_ms;
    enum digest_streams streams;
    struct digest_total *totals; /* by database or slot */
    size_t count;
};

static enum err take_key(void *self, const struct digest_key *key, struct why *why) {
    struct request *s = self;
    int64_t due_ms = key->key->expire_at_ms;
    size_t at = s->by == BY_DB ? key->key->db : key->slot;
    (void)why;
    if (at >= s->count || (due_ms >= 0 && due_ms <= s->now_ms)) return OK;
    s->totals[at].keys++;
    digest_add(&s->totals[at].digest, key->digest);
    return OK;
}

static bool is_told(const struct request *s, size_t at) {
    if (!s->some) return s->totals[at].keys > 0;
    return s->by == BY_DB ? at == (size_t)s->db : slot_set_has(&s->slots, (unsigned)at);
}

static void reply_totals(struct client *c, const struct request *s) {
    size_t told = 0;
    for (size_t i = 0; i < s->count; i++) told += is_told(s, i);
    reply_array(c, told);
    for (size_t i = 0; i < s->count; i++) {
        if (!is_told(s, i)) continue;
        digest_reply_total(c, i, &s->totals[i]);
    }
}

static void request_free(struct request *s) {
    mem_free(s->totals);
    mem_free(s);
}

static void timed_out(struct client *c) {
    reply_null(c); /* CLIENT UNBLOCK; what comes later finds nobody */
}

static const struct block_how waits = {.timed_out = timed_out, .type = -1};

static void survey_ended(void *owner, enum err err, const char *why) {
    struct request *s = owner;
    struct client *c = client_by_id(s->engine, s->client_id);
    if (c && block_waits_by(c, &waits)) {
        if (err)
            reply_error(c, "ERR %s", why);
        else
            reply_totals(c, s);
        block_end(c);
    }
    request_free(s);
}

static void begin(struct client *c, struct request *s) {
    struct survey *survey;
    struct why why;
    struct survey_want want = {.slots = s->by == BY_SLOT && s->some ? &s->slots : NULL,
                               .db = s->db,
                               .streams = s->streams,
                               .owner = s,
                               .key = take_key,
                               .ended = survey_ended};
    s->engine = c->engine;
    s->client_id = c->id;
    s->now_ms = c->engine->now_ms;
    s->count = s->by == BY_DB ? (size_t)c->engine->db_count : SLOT_CLUSTER_COUNT;
    s->totals = NEW_ARRAY(struct digest_total, s->count);
    if (survey_start(c->engine, &want, &survey, &why)) {
        reply_error(c, "ERR %s", why.text);
        request_free(s);
        return;
    }
    block_until(c, 0, &waits);
}

/* ---- what is asked for ---- */

bool digest_take_streams(struct client *c, int *end, enum digest_streams *streams) {
    static const char *const names[] = {"whole", "carried", "old"};
    *end = c->argc;
    *streams = DIGEST_STREAM_WHOLE;
    if (c->argc < 5 || !arg_is(c->argv[c->argc - 2], "streams")) return true;
    *end -= 2;
    for (int i = 0; i < (int)COUNT(names); i++)
        if (arg_is(c->argv[c->argc - 1], names[i])) {
            *streams = (enum digest_streams)i;
            return true;
        }
    reply_error(c, "ERR STREAMS is WHOLE, CARRIED or OLD");
    return false;
}

static bool take_slots(struct client *c, int end, struct slot_set *slots) {
    for (int i = 3; i < end; i++) {
        int64_t slot;
        if (!arg_int_range(c, c->argv[i], 0, SLOT_CLUSTER_COUNT - 1, &slot, "ERR Invalid slot"))
            return false;
        slot_set_add(slots, (unsigned)slot);
    }
    return true;
}

static void many(struct client *c, int end, enum digest_streams streams, enum by by) {
    struct request *s = NEW(struct request);
    s->by = by;
    s->db = -1;
    s->streams = streams;
    s->some = end > 3;
    int64_t db = -1;
    bool fine = by == BY_SLOT ? take_slots(c, end, &s->slots)
                              : end == 3 || arg_int_range(c, c->argv[3], 0, c->engine->db_count - 1,
                                                          &db, "ERR DB index is out of range");
    s->db = (int)db;
    if (!fine) {
        mem_free(s);
    } else if (block_is_denied(c)) {
        reply_error(c, "ERR not in MULTI or a script: it takes a snapshot");
        mem_free(s);
    } else {
        begin(c, s);
    }
}

void drawbridge_digest(struct client *c) {
    enum digest_streams streams;
    int end;
    if (!digest_take_streams(c, &end, &streams)) return;
    if (arg_is(c->argv[2], "key") && end > 3)
        keys(c, end, streams);
    else if (arg_is(c->argv[2], "slot"))
        many(c, end, streams, BY_SLOT);
    else if (arg_is(c->argv[2], "db") && end <= 4)
        many(c, end, streams, BY_DB);
    else
        reply_error(c, "ERR syntax: DRAWBRIDGE DIGEST KEY key ... | SLOT [slot ...] | DB [db] "
                       "[STREAMS WHOLE|CARRIED|OLD]");
}

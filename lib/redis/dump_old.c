/* dump_old.c -- payloads for servers that do not know the newest types: dump_put_for().
 *
 * A handler takes the pieces of the value as a reader gives them and writes them in an older type.
 * Counts stand before what they count, so pieces are collected apart and put together at the end.
 */
#include "lib/base/mem.h"
#include "lib/redis/dump.h"
#include "lib/redis/rdb_write.h"

/* Pieces, and how many they are. */
struct counted {
    struct buf bytes;
    uint64_t count;
};

struct old {
    uint8_t rdb_type;                         /* that is written */
    struct counted elements;                  /* of a collection; a stream's nodes */
    struct buf stream;                        /* what stands between nodes and groups */
    struct counted groups;                    /* complete ones, but for the last */
    struct counted pending, consumers, owned; /* of the group and consumer that come now */
    bool in_consumer;
};

/* The newest type up to VERSION_MAX for a value; false if there is none. */
static bool old_type(enum value_type type, unsigned version_max, uint8_t *rdb_type) {
    static const uint8_t simple[] = {
        [VALUE_STRING] = RDB_STRING, [VALUE_LIST] = RDB_LIST, [VALUE_SET] = RDB_SET,
        [VALUE_ZSET] = RDB_ZSET_2,   [VALUE_HASH] = RDB_HASH, [VALUE_STREAM] = RDB_STREAM_2};
    *rdb_type = simple[type];
    if (type == VALUE_ZSET && version_max < rdb_type_version(RDB_ZSET_2)) *rdb_type = RDB_ZSET;
    if (type == VALUE_STREAM && version_max < rdb_type_version(RDB_STREAM_2))
        *rdb_type = RDB_STREAM;
    return rdb_type_version(*rdb_type) <= version_max;
}

static enum err on_element(void *self, struct slice element, struct why *why) {
    (void)why;
    struct old *old = self;
    old->elements.count++;
    rdb_put_string(&old->elements.bytes, element, true);
    return OK;
}

static enum err on_hash_field(void *self, struct slice field, struct slice value, struct why *why) {
    struct old *old = self;
    rdb_put_string(&old->elements.bytes, field, true);
    return on_element(self, value, why);
}

static enum err on_zset_member(void *self, struct slice member, double score, struct why *why) {
    struct old *old = self;
    enum err err = on_element(self, member, why);
    rdb_put_score(&old->elements.bytes, score, old->rdb_type);
    return err;
}

/* ---- streams */

static enum err on_stream_node(void *self, struct stream_id first, struct slice listpack,
                               uint64_t live, struct why *why) {
    (void)live, (void)why;
    struct old *old = self;
    old->elements.count++;
    rdb_put_stream_node(&old->elements.bytes, first, listpack, true);
    return OK;
}

static enum err on_stream(void *self, const struct rdb_stream *stream, struct why *why) {
    (void)why;
    struct old *old = self;
    rdb_put_stream(&old->stream, stream, old->rdb_type);
    return OK;
}

/* Append PART's count and bytes to OUT; PART is empty afterwards. */
static void counted_move(struct buf *out, struct counted *part) {
    rdb_put_length(out, part->count);
    buf_add(out, buf_slice(&part->bytes));
    buf_clear(&part->bytes);
    part->count = 0;
}

static void consumer_close(struct old *old) {
    if (old->in_consumer) counted_move(&old->consumers.bytes, &old->owned);
    old->in_consumer = false;
}

static void group_close(struct old *old) {
    consumer_close(old);
    if (old->groups.count == 0) return;
    counted_move(&old->groups.bytes, &old->pending);
    counted_move(&old->groups.bytes, &old->consumers);
}

static enum err on_group(void *self, const struct rdb_group *group, struct why *why) {
    (void)why;
    struct old *old = self;
    group_close(old);
    old->groups.count++;
    rdb_put_group(&old->groups.bytes, group, old->rdb_type);
    return OK;
}

static enum err on_pending(void *self, const struct rdb_pending *pending, struct why *why) {
    (void)why;
    struct old *old = self;
    old->pending.count++;
    rdb_put_pending(&old->pending.bytes, pending);
    return OK;
}

static enum err on_consumer(void *self, const struct rdb_consumer *consumer, struct why *why) {
    (void)why;
    struct old *old = self;
    consumer_close(old);
    old->in_consumer = true;
    old->consumers.count++;
    rdb_put_consumer(&old->consumers.bytes, consumer, old->rdb_type);
    return OK;
}

static enum err on_consumer_pending(void *self, struct stream_id id, struct why *why) {
    (void)why;
    struct old *old = self;
    old->owned.count++;
    rdb_put_stream_id(&old->owned.bytes, id);
    return OK;
}

/* All pieces are there: the serialised value. */
static void put_together(struct old *old, enum value_type type, struct buf *value) {
    if (type == VALUE_STRING) {
        buf_add(value, buf_slice(&old->elements.bytes));
        return;
    }
    counted_move(value, &old->elements);
    if (type != VALUE_STREAM) return;
    group_close(old);
    buf_add(value, buf_slice(&old->stream));
    counted_move(value, &old->groups);
}

static void old_close(struct old *old) {
    struct buf *all[] = {&old->elements.bytes, &old->stream,          &old->groups.bytes,
                         &old->pending.bytes,  &old->consumers.bytes, &old->owned.bytes};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) buf_close(all[i]);
}

enum err dump_put_for(struct buf *out, uint8_t rdb_type, struct slice value, unsigned version_max,
                      struct why *why) {
    enum value_type type;
    if (!rdb_type_value(rdb_type, &type))
        return why_set(why, ERR_CORRUPT, "%u is no RDB type that is known", (unsigned)rdb_type);
    if (rdb_type_version(rdb_type) <= version_max) {
        dump_put(out, rdb_type, value);
        return OK;
    }
    struct old old = {0};
    if (!old_type(type, version_max, &old.rdb_type))
        return why_set(why, ERR_LIMIT, "RDB version %u has no %ss", version_max,
                       value_type_name(type));
    const struct rdb_handler handler = {.self = &old,
                                        .string = on_element,
                                        .list_item = on_element,
                                        .set_member = on_element,
                                        .hash_field = on_hash_field,
                                        .zset_member = on_zset_member,
                                        .stream_node = on_stream_node,
                                        .stream = on_stream,
                                        .group = on_group,
                                        .pending = on_pending,
                                        .consumer = on_consumer,
                                        .consumer_pending = on_consumer_pending};
    struct rdb_key key = {.expire_at_ms = -1, .idle_s = -1, .freq = -1};
    struct rdb_limits limits = RDB_LIMITS_DEFAULT;
    limits.value_bytes_max = UINT32_MAX; /* VALUE is in memory already */
    struct buf payload = {0}, older = {0};
    dump_put(&payload, rdb_type, value);
    enum err err = dump_read(buf_slice(&payload), limits, &key, &handler, why);
    if (err == OK) {
        put_together(&old, type, &older);
        dump_put(out, old.rdb_type, buf_slice(&older));
    }
    old_close(&old);
    buf_close(&payload);
    buf_close(&older);
    return err;
}

/* value_rdb.c -- values to and from the bytes of an RDB. See value_rdb.h. */
#include "server/value_rdb.h"

#include "lib/base/mem.h"
#include "lib/redis/ziplist.h"
#include "server/hash.h"
#include "server/list.h"
#include "server/set.h"
#include "server/xstream.h"
#include "server/zset.h"

#define ROOM_MAX (1u << 20) /* what a file announces is believed up to here */

static enum err begin(void *self, const struct rdb_key *key, uint64_t count, struct why *why) {
    struct value_builder *b = self;
    size_t room = count > ROOM_MAX ? ROOM_MAX : (size_t)count;
    ASSERT(!b->value.ptr);
    switch (key->type) {
    case VALUE_STRING: return OK;
    case VALUE_LIST: b->value = value_container(TYPE_LIST, ENC_QUICKLIST, list_new()); return OK;
    case VALUE_SET: b->value = set_new_sized(&b->limits, room); return OK;
    case VALUE_HASH: b->value = hash_new_sized(&b->limits, room); return OK;
    case VALUE_ZSET: b->value = zset_new_sized(&b->limits, room); return OK;
    case VALUE_STREAM:
        b->value = value_container(TYPE_STREAM, ENC_STREAM, xstream_new());
        return OK;
    }
    return why_set(why, ERR_REFUSED, "a value of an unknown type");
}

static enum err take_string(void *self, struct slice bytes, struct why *why) {
    struct value_builder *b = self;
    struct value value = value_string(bytes);
    return b->emit(b->self, &b->key, &value, why);
}

static enum err take_item(void *self, struct slice item, struct why *why) {
    struct value_builder *b = self;
    (void)why;
    list_push(b->value.ptr, &b->limits, LIST_TAIL, item);
    return OK;
}

static enum err take_member(void *self, struct slice member, struct why *why) {
    struct value_builder *b = self;
    (void)why;
    (void)set_add(&b->value, &b->limits, member);
    return OK;
}

static enum err take_field(void *self, struct slice field, struct slice value, struct why *why) {
    struct value_builder *b = self;
    (void)why;
    (void)hash_set(&b->value, &b->limits, field, value);
    return OK;
}

static enum err take_scored(void *self, struct slice member, double score, struct why *why) {
    struct value_builder *b = self;
    (void)why;
    (void)zset_add(&b->value, &b->limits, member, score);
    return OK;
}

static void take_set_listpack(struct value_builder *b, struct slice bytes) {
    char scratch[LP_TEXT_SIZE];
    for (uint32_t at = lp_first(bytes.data); at != LP_NONE; at = lp_next(bytes.data, at))
        (void)set_add(&b->value, &b->limits, lp_text(bytes.data, at, scratch));
}

static enum err take_blob(void *self, enum rdb_blob kind, struct slice bytes, struct why *why) {
    struct value_builder *b = self;
    (void)why;
    if (kind == RDB_BLOB_SET_LISTPACK) {
        take_set_listpack(b, bytes);
        return OK;
    }
    uint8_t *copy = mem_dup(bytes.data, bytes.size);
    if (kind == RDB_BLOB_LIST_LISTPACK) {
        list_append_listpack(b->value.ptr, copy);
        return OK;
    }
    value_free(&b->value);
    if (kind == RDB_BLOB_INTSET)
        b->value = set_adopt_intset(&b->limits, copy);
    else if (kind == RDB_BLOB_HASH_LISTPACK)
        b->value = hash_adopt_listpack(&b->limits, copy);
    else
        b->value = zset_adopt_listpack(&b->limits, copy);
    return OK;
}

/* ---- streams; the reader has checked how all of it fits together ---- */

static enum err take_node(void *self, struct stream_id first, struct slice listpack, uint64_t live,
                          struct why *why) {
    struct value_builder *b = self;
    (void)live, (void)why;
    xstream_adopt_node(b->value.ptr, first, mem_dup(listpack.data, listpack.size));
    return OK;
}

static enum err take_stream(void *self, const struct rdb_stream *told, struct why *why) {
    struct value_builder *b = self;
    struct xstream *stream = b->value.ptr;
    (void)why;
    stream->last_id = told->last_id;
    stream->first_id = told->first_id;
    stream->max_deleted_id = told->max_deleted_id;
    stream->entries_added = told->entries_added;
    return OK;
}

static enum err take_group(void *self, const struct rdb_group *group, struct why *why) {
    struct value_builder *b = self;
    b->group = xstream_group_add(b->value.ptr, group->name, group->last_id, group->entries_read);
    b->consumer = NULL;
    return b->group ? OK : why_set(why, ERR_CORRUPT, "the stream has a group twice");
}

static enum err take_pending(void *self, const struct rdb_pending *told, struct why *why) {
    struct value_builder *b = self;
    struct xstream_pending *pending = NEW(struct xstream_pending);
    pending->delivered_ms = told->delivered_ms;
    pending->deliveries = told->deliveries;
    if (idtree_add(&b->group->pending, told->id, pending)) return OK;
    mem_free(pending);
    return why_set(why, ERR_CORRUPT, "the stream has an entry that is pending twice");
}

static enum err take_consumer(void *self, const struct rdb_consumer *consumer, struct why *why) {
    struct value_builder *b = self;
    b->consumer = xstream_consumer_add(b->group, consumer->name, consumer->seen_ms);
    return b->consumer ? OK : why_set(why, ERR_CORRUPT, "the stream has a consumer twice");
}

static enum err take_owned(void *self, struct stream_id id, struct why *why) {
    struct value_builder *b = self;
    (void)why;
    (void)xstream_pending_give(b->group, id, b->consumer);
    return OK;
}

static enum err end_key(void *self, const struct rdb_key *key, struct why *why) {
    struct value_builder *b = self;
    if (key->type == VALUE_STRING) return OK;
    struct value value = b->value;
    b->value = (struct value){0};
    return b->emit(b->self, key, &value, why);
}

static enum err begin_key(void *self, const struct rdb_key *key, uint64_t count, struct why *why) {
    struct value_builder *b = self;
    b->key = *key;
    return begin(self, key, count, why);
}

static enum err refuse_function(void *self, struct slice code, struct why *why) {
    (void)self;
    (void)code;
    return why_set(why, ERR_REFUSED,
                   "the file has a library of functions, which this server does not hold yet");
}

void value_builder_init(struct value_builder *builder, const struct type_limits *limits, void *self,
                        enum err (*emit)(void *self, const struct rdb_key *key,
                                         const struct value *value, struct why *why)) {
    *builder = (struct value_builder){
        .handler = {.self = builder,
                    .function = refuse_function,
                    .key_begin = begin_key,
                    .string = take_string,
                    .list_item = take_item,
                    .set_member = take_member,
                    .hash_field = take_field,
                    .zset_member = take_scored,
                    .blob = take_blob,
                    .stream_node = take_node,
                    .stream = take_stream,
                    .group = take_group,
                    .pending = take_pending,
                    .consumer = take_consumer,
                    .consumer_pending = take_owned,
                    .key_end = end_key},
        .limits = *limits,
        .self = self,
        .emit = emit,
    };
}

void value_builder_close(struct value_builder *builder) {
    if (builder->value.ptr) value_free(&builder->value);
    builder->value = (struct value){0};
}

uint8_t value_rdb_type(const struct value *value) {
    switch (value->encoding) {
    case ENC_RAW:
    case ENC_INT:
    case ENC_EMBSTR: return RDB_STRING;
    case ENC_QUICKLIST: return RDB_LIST_QUICKLIST_2;
    case ENC_INTSET: return RDB_SET_INTSET;
    case ENC_LISTPACK: return value->type == TYPE_HASH ? RDB_HASH_LISTPACK : RDB_ZSET_LISTPACK;
    case ENC_HASHTABLE: return value->type == TYPE_HASH ? RDB_HASH : RDB_SET;
    case ENC_SKIPLIST: return RDB_ZSET_2;
    case ENC_STREAM: return RDB_STREAM_2;
    case ENCODINGS: break;
    }
    UNREACHABLE("an encoding that is not written");
}

/* Before quicklists a list was one ziplist, or its items. */
static uint8_t list_type_for(const struct list *list, unsigned version) {
    bool plain;
    if (version >= rdb_type_version(RDB_LIST_QUICKLIST)) return RDB_LIST_QUICKLIST;
    if (list_nodes(list) != 1) return RDB_LIST;
    (void)list_node_bytes(list_node_next(list, NULL), &plain);
    return plain ? RDB_LIST : RDB_LIST_ZIPLIST;
}

uint8_t value_rdb_type_for(const struct value *value, unsigned version) {
    uint8_t newest = value_rdb_type(value);
    if (rdb_type_version(newest) <= version) return newest;
    switch (newest) {
    case RDB_LIST_QUICKLIST_2: return list_type_for(value->ptr, version);
    case RDB_HASH_LISTPACK: return RDB_HASH_ZIPLIST;
    case RDB_ZSET_LISTPACK: return RDB_ZSET_ZIPLIST;
    case RDB_ZSET_2: return RDB_ZSET;
    case RDB_STREAM_2: return version >= rdb_type_version(RDB_STREAM) ? RDB_STREAM : RDB_NO_TYPE;
    default: UNREACHABLE("a type that is not written");
    }
}

static void put_ziplist(struct buf *out, const uint8_t *lp, enum rdb_pack pack) {
    struct buf ziplist = {0};
    ziplist_put(&ziplist, lp);
    rdb_put_string(out, buf_slice(&ziplist), pack);
    buf_close(&ziplist);
}

static void put_old_node(struct buf *out, struct slice bytes, bool plain, enum rdb_pack pack) {
    struct buf ziplist = {0};
    if (!plain) {
        put_ziplist(out, bytes.data, pack);
        return;
    }
    ziplist_put_one(&ziplist, bytes);
    rdb_put_string(out, buf_slice(&ziplist), pack);
    buf_close(&ziplist);
}

static void put_items(struct buf *out, struct slice node, bool plain, enum rdb_pack pack) {
    char scratch[LP_TEXT_SIZE];
    if (plain) {
        rdb_put_string(out, node, pack);
        return;
    }
    for (uint32_t at = lp_first(node.data); at != LP_NONE; at = lp_next(node.data, at))
        rdb_put_string(out, lp_text(node.data, at, scratch), pack);
}

void value_put_list_node(struct buf *out, const struct list_node *node, uint8_t rdb_type,
                         enum rdb_pack pack) {
    bool plain;
    struct slice bytes = list_node_bytes(node, &plain);
    if (rdb_type == RDB_LIST)
        put_items(out, bytes, plain, pack);
    else if (rdb_type == RDB_LIST_QUICKLIST_2)
        rdb_put_list_node(out, bytes, plain, pack);
    else
        put_old_node(out, bytes, plain, pack);
}

static void put_list(struct buf *out, const struct list *list, uint8_t rdb_type,
                     enum rdb_pack pack) {
    if (rdb_type != RDB_LIST_ZIPLIST)
        rdb_put_length(out, rdb_type == RDB_LIST ? list_count(list) : list_nodes(list));
    for (const struct list_node *node = list_node_next(list, NULL); node;
         node = list_node_next(list, node))
        value_put_list_node(out, node, rdb_type, pack);
}

static void put_hash(struct buf *out, const struct value *hash, enum rdb_pack pack) {
    rdb_put_length(out, hash_length(hash));
    struct hash_iter iter;
    struct slice field, value;
    for (hash_iter_init(&iter, hash); hash_next(&iter, &field, &value);) {
        rdb_put_string(out, field, pack);
        rdb_put_string(out, value, pack);
    }
}

static void put_set(struct buf *out, const struct value *set, enum rdb_pack pack) {
    rdb_put_length(out, set_length(set));
    struct set_iter iter;
    struct slice member;
    for (set_iter_init(&iter, set); set_next(&iter, &member);) rdb_put_string(out, member, pack);
}

/* From the highest to the lowest, as Redis does: a reader that inserts one by one then inserts at
 * the front. */
static void put_zset(struct buf *out, const struct value *zset, uint8_t rdb_type,
                     enum rdb_pack pack) {
    size_t length = zset_length(zset);
    rdb_put_length(out, length);
    struct zset_iter iter;
    struct slice member;
    double score;
    for (zset_iter_init(&iter, zset, length - 1, true); zset_next(&iter, &member, &score);) {
        rdb_put_string(out, member, pack);
        rdb_put_score(out, score, rdb_type);
    }
}

static void put_consumer(struct buf *out, const struct xstream_consumer *consumer,
                         uint8_t rdb_type) {
    struct rdb_consumer told = {.name = consumer->named.name, .seen_ms = consumer->seen_ms};
    struct stream_id at = STREAM_ID_MIN;
    rdb_put_consumer(out, &told, rdb_type);
    rdb_put_length(out, consumer->pending.count);
    while (idtree_from(&consumer->pending, at, &at) != NULL) {
        rdb_put_stream_id(out, at);
        if (!stream_id_next(&at)) break;
    }
}

static void put_group(struct buf *out, const struct xstream_group *group, uint8_t rdb_type) {
    struct rdb_group told = {group->named.name, group->last_id, group->entries_read};
    struct stream_id at = STREAM_ID_MIN;
    rdb_put_group(out, &told, rdb_type);
    rdb_put_length(out, group->pending.count);
    for (const struct xstream_pending *p; (p = idtree_from(&group->pending, at, &at)) != NULL;) {
        struct rdb_pending pending = {at, p->delivered_ms, p->deliveries};
        rdb_put_pending(out, &pending);
        if (!stream_id_next(&at)) break;
    }
    rdb_put_length(out, group->consumers.count);
    for (size_t i = 0; i < group->consumers.count; i++)
        put_consumer(out, xstream_consumer_at(&group->consumers, i), rdb_type);
}

void value_put_stream_tail(struct buf *out, const struct xstream *stream, uint8_t rdb_type) {
    struct rdb_stream told = {.length = stream->length,
                              .last_id = stream->last_id,
                              .first_id = stream->first_id,
                              .max_deleted_id = stream->max_deleted_id,
                              .entries_added = stream->entries_added};
    rdb_put_stream(out, &told, rdb_type);
    rdb_put_length(out, stream->groups.count);
    for (size_t i = 0; i < stream->groups.count; i++)
        put_group(out, xstream_group_at(&stream->groups, i), rdb_type);
}

static void put_stream(struct buf *out, const struct xstream *stream, uint8_t rdb_type,
                       enum rdb_pack pack) {
    struct stream_id at = STREAM_ID_MIN;
    rdb_put_length(out, stream->nodes.count);
    for (const uint8_t *lp; (lp = idtree_from(&stream->nodes, at, &at)) != NULL;) {
        rdb_put_stream_node(out, at, lp_slice(lp), pack);
        if (!stream_id_next(&at)) break;
    }
    value_put_stream_tail(out, stream, rdb_type);
}

void value_put_as(struct buf *out, const struct value *value, uint8_t rdb_type,
                  enum rdb_pack pack) {
    switch (rdb_type) {
    case RDB_STRING:
        if (value->encoding == ENC_INT)
            rdb_put_number(out, value->number);
        else
            rdb_put_string(out, value->bytes, pack);
        return;
    case RDB_LIST:
    case RDB_LIST_ZIPLIST:
    case RDB_LIST_QUICKLIST:
    case RDB_LIST_QUICKLIST_2: put_list(out, value->ptr, rdb_type, pack); return;
    case RDB_SET_INTSET: rdb_put_string(out, intset_slice(value->ptr), pack); return;
    case RDB_HASH_LISTPACK:
    case RDB_ZSET_LISTPACK: rdb_put_string(out, lp_slice(value->ptr), pack); return;
    case RDB_HASH_ZIPLIST:
    case RDB_ZSET_ZIPLIST: put_ziplist(out, value->ptr, pack); return;
    case RDB_HASH: put_hash(out, value, pack); return;
    case RDB_SET: put_set(out, value, pack); return;
    case RDB_ZSET:
    case RDB_ZSET_2: put_zset(out, value, rdb_type, pack); return;
    case RDB_STREAM:
    case RDB_STREAM_2: put_stream(out, value->ptr, rdb_type, pack); return;
    default: UNREACHABLE("a type that is not written");
    }
}

void value_put(struct buf *out, const struct value *value, enum rdb_pack pack) {
    value_put_as(out, value, value_rdb_type(value), pack);
}

/* rdb_stream.c -- streams: nodes of entries, what the stream knows of itself, consumer groups.
 *
 * A node is a listpack that counts from its first id:
 *     live  deleted  fields  field ...  0
 *     { flags  ms-difference  seq-difference  [fields]  field/value ...  items before this one }
 * ... Flags: 1 deleted, 2 the fields are those of the head (only values follow). Source: Redis 7.0
 * t_stream.c, rdb.c.
 */
#include "lib/base/mem.h"
#include "lib/redis/bytes.h"
#include "lib/redis/listpack.h"
#include "lib/redis/rdb_value.h"

#define ENTRY_DELETED 1
#define ENTRY_SAME_FIELDS 2
#define ID_BYTES 16u

/* What is known while one stream is read. */
struct progress {
    struct stream_id last, first; /* of the entries so far that live */
    uint64_t live;
    struct rdb_stream stream;
};

static enum err corrupt(const char *what, struct why *why) {
    return why_set(why, ERR_CORRUPT, "the stream %s", what);
}

static struct stream_id id_from(const uint8_t *p) {
    return (struct stream_id){.ms = bytes_be(p, 8), .seq = bytes_be(p + 8, 8)};
}

static enum err read_id(struct rdb_value *value, struct stream_id *id, struct why *why) {
    RDB_TRY(rdb_length(value, &id->ms, why));
    return rdb_length(value, &id->seq, why);
}

/* ---- entries */

/* A walk over the items of a node. */
struct cursor {
    const uint8_t *lp;
    uint32_t at;
    bool broken; /* an item was missing or no number */
};

static void skip(struct cursor *c, uint64_t count) {
    for (; count > 0 && !c->broken; count--) {
        if (c->at == LP_NONE)
            c->broken = true;
        else
            c->at = lp_next(c->lp, c->at);
    }
}

static int64_t number(struct cursor *c) {
    int64_t n = 0;
    if (c->at == LP_NONE || !lp_number(c->lp, c->at, &n)) {
        c->broken = true;
        return 0;
    }
    c->at = lp_next(c->lp, c->at);
    return n;
}

/* The head of a node. */
struct node {
    struct stream_id first;
    int64_t live, deleted, fields;
    uint32_t fields_at;
};

static bool node_head(struct cursor *c, struct node *node) {
    node->live = number(c);
    node->deleted = number(c);
    node->fields = number(c);
    node->fields_at = c->at;
    if (c->broken || node->live < 0 || node->deleted < 0 || node->fields < 0) return false;
    skip(c, (uint64_t)node->fields);
    return number(c) == 0 && !c->broken;
}

/* Check the entry at C and put where its fields are into FIELDS. */
static bool node_entry(struct cursor *c, const struct node *node, int64_t *flags,
                       struct stream_id *id, struct rdb_fields *fields) {
    *flags = number(c);
    id->ms = node->first.ms + (uint64_t)number(c);
    id->seq = node->first.seq + (uint64_t)number(c);
    bool same = *flags & ENTRY_SAME_FIELDS;
    int64_t count = same ? node->fields : number(c);
    if (c->broken || (*flags & ~(ENTRY_DELETED | ENTRY_SAME_FIELDS)) || count < 0 ||
        count > UINT32_MAX)
        return false;
    *fields = (struct rdb_fields){.count = (uint64_t)count, .lp = c->lp, .same_fields = same};
    fields->field_at = same ? node->fields_at : c->at;
    fields->value_at = c->at;
    skip(c, (uint64_t)(same ? count : 2 * count));
    int64_t items = number(c);
    return !c->broken && items == (same ? count + 3 : 2 * count + 4);
}

static enum err node_entries(struct rdb_value *value, struct progress *progress, struct cursor *c,
                             const struct node *node, struct why *why) {
    int64_t live = 0, deleted = 0, flags;
    struct stream_id id;
    struct rdb_fields fields;
    while (c->at != LP_NONE) {
        if (!node_entry(c, node, &flags, &id, &fields)) return corrupt("has a broken entry", why);
        bool is_deleted = flags & ENTRY_DELETED;
        /* XSETID lets ids of deleted entries come again. */
        if (stream_id_compare(id, node->first) < 0 ||
            (!is_deleted && progress->live > 0 && stream_id_compare(id, progress->last) <= 0))
            return corrupt("has ids that do not ascend", why);
        if (is_deleted) {
            deleted++;
            continue;
        }
        progress->last = id;
        live++;
        if (progress->live++ == 0) progress->first = id;
        if (value->handler->stream_node == NULL) RDB_CALL(value, entry, id, &fields);
    }
    if (live != node->live || deleted != node->deleted)
        return corrupt("has a node with another number of entries than it says", why);
    return OK;
}

static enum err read_node(struct rdb_value *value, struct progress *progress, struct why *why) {
    struct slice name, blob;
    RDB_TRY(rdb_text(value, &value->two, false, &name, why));
    if (name.size != ID_BYTES) return corrupt("has a node whose name is no id", why);
    struct node node = {.first = id_from(name.data)};
    RDB_TRY(rdb_text(value, &value->one, false, &blob, why));
    if (!lp_validate(blob, NULL)) return corrupt("has a broken listpack", why);
    struct cursor c = {.lp = blob.data, .at = lp_first(blob.data)};
    if (!node_head(&c, &node)) return corrupt("has a node with a broken head", why);
    RDB_TRY(node_entries(value, progress, &c, &node, why));
    RDB_CALL(value, stream_node, node.first, blob, (uint64_t)node.live);
    return OK;
}

/* ---- the stream itself */

static enum err stream_check(const struct rdb_stream *s, const struct progress *p,
                             struct why *why) {
    if (s->length != p->live)
        return why_set(why, ERR_CORRUPT, "the stream says that it has %llu entries and has %llu",
                       (unsigned long long)s->length, (unsigned long long)p->live);
    if (p->live > 0 && stream_id_compare(s->last_id, p->last) < 0)
        return corrupt("has entries behind its last id", why);
    if (s->entries_added < s->length) return corrupt("has more entries than were added", why);
    return OK;
}

static enum err read_stream(struct rdb_value *value, struct progress *p, struct why *why) {
    struct rdb_stream *s = &p->stream;
    RDB_TRY(rdb_length(value, &s->length, why));
    RDB_TRY(read_id(value, &s->last_id, why));
    s->first_id = p->first;
    s->entries_added = s->length;
    if (value->key->rdb_type != RDB_STREAM) {
        RDB_TRY(read_id(value, &s->first_id, why));
        RDB_TRY(read_id(value, &s->max_deleted_id, why));
        RDB_TRY(rdb_length(value, &s->entries_added, why));
    }
    RDB_TRY(stream_check(s, p, why));
    RDB_CALL(value, stream, s);
    return OK;
}

/* ---- consumer groups */

/* How many entries a group has read, for a file from before Redis counted it: what Redis 7.0
 * takes it to be when it loads such a file. Nothing is known of deleted entries. */
static int64_t entries_read_guess(const struct rdb_stream *s, struct stream_id last) {
    if (s->entries_added == 0) return 0;
    int behind = stream_id_compare(last, s->last_id);
    if (behind == 0) return (int64_t)s->entries_added;
    if (behind > 0) return -1;
    int before = stream_id_compare(last, s->first_id);
    if (before < 0) return 0;
    return before == 0 ? 1 : -1;
}

/* A pending entry of the group that is read. */
struct owned {
    struct stream_id id;
    bool has_owner;
};

/* Room for one more behind the COUNT there are. */
static enum err pending_room(struct rdb_room *room, uint64_t count, struct why *why) {
    size_t used = (size_t)count * sizeof(struct owned);
    if (room->size - used >= sizeof(struct owned)) return OK;
    size_t size = room->size < 4096 ? 4096 : room->size * 2;
    uint8_t *data = mem_try_realloc(room->data, size);
    if (data == NULL) return why_set(why, ERR_NOMEM, "no memory for pending entries");
    *room = (struct rdb_room){.data = data, .size = size};
    return OK;
}

static struct owned pending_get(const struct rdb_room *room, uint64_t index) {
    struct owned owned;
    memcpy(&owned, room->data + (size_t)index * sizeof owned, sizeof owned);
    return owned;
}

static void pending_put(struct rdb_room *room, uint64_t index, struct owned owned) {
    memcpy(room->data + (size_t)index * sizeof owned, &owned, sizeof owned);
}

static enum err read_pending(struct rdb_value *value, uint64_t *count, struct why *why) {
    uint64_t left;
    const uint8_t *p;
    struct stream_id last = {0};
    RDB_TRY(rdb_length(value, &left, why));
    for (*count = 0; *count < left; ++*count) {
        struct rdb_pending pending;
        RDB_TRY(rdb_in_take(value->in, ID_BYTES + 8, &p, why));
        pending.id = id_from(p);
        pending.delivered_ms = (int64_t)bytes_le(p + ID_BYTES, 8);
        RDB_TRY(rdb_length(value, &pending.deliveries, why));
        if (*count > 0 && stream_id_compare(pending.id, last) <= 0)
            return corrupt("has pending entries that do not ascend", why);
        last = pending.id;
        RDB_TRY(pending_room(&value->pending, *count, why));
        pending_put(&value->pending, *count, (struct owned){.id = last});
        RDB_CALL(value, pending, &pending);
    }
    return OK;
}

/* Mark ID as owned; false if it is not among the COUNT pending ones or has an owner. */
static bool pending_own(struct rdb_room *room, uint64_t count, struct stream_id id) {
    uint64_t low = 0, high = count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (stream_id_compare(pending_get(room, middle).id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == count) return false;
    struct owned found = pending_get(room, low);
    if (stream_id_compare(found.id, id) != 0 || found.has_owner) return false;
    found.has_owner = true;
    pending_put(room, low, found);
    return true;
}

/* Read a consumer; *OWNED grows by the pending entries that it has. */
static enum err read_consumer(struct rdb_value *value, uint64_t pending, uint64_t *owned,
                              struct why *why) {
    struct rdb_consumer consumer;
    uint64_t count;
    const uint8_t *p;
    RDB_TRY(rdb_text(value, &value->one, true, &consumer.name, why));
    if (!twins_add(&value->more_twins, consumer.name)) return corrupt("has a consumer twice", why);
    RDB_TRY(rdb_time_ms(value, &consumer.seen_ms, why));
    consumer.active_ms = consumer.seen_ms;
    if (value->key->rdb_type == RDB_STREAM_3) RDB_TRY(rdb_time_ms(value, &consumer.active_ms, why));
    RDB_CALL(value, consumer, &consumer);
    RDB_TRY(rdb_length(value, &count, why));
    for (; count > 0; count--) {
        RDB_TRY(rdb_in_take(value->in, ID_BYTES, &p, why));
        struct stream_id id = id_from(p);
        if (!pending_own(&value->pending, pending, id))
            return corrupt("has a consumer with an entry that is not pending or not its own", why);
        ++*owned;
        RDB_CALL(value, consumer_pending, id);
    }
    return OK;
}

static enum err read_group(struct rdb_value *value, const struct progress *progress,
                           struct why *why) {
    struct rdb_group group;
    uint64_t entries_read, pending, consumers, owned = 0;
    RDB_TRY(rdb_text(value, &value->one, true, &group.name, why));
    if (!twins_add(&value->twins, group.name)) return corrupt("has a group twice", why);
    RDB_TRY(read_id(value, &group.last_id, why));
    group.entries_read = entries_read_guess(&progress->stream, group.last_id);
    if (value->key->rdb_type != RDB_STREAM) {
        RDB_TRY(rdb_length(value, &entries_read, why));
        group.entries_read = (int64_t)entries_read;
    }
    RDB_CALL(value, group, &group);
    RDB_TRY(read_pending(value, &pending, why));
    RDB_TRY(rdb_length(value, &consumers, why));
    twins_reset(&value->more_twins, consumers);
    for (; consumers > 0; consumers--) RDB_TRY(read_consumer(value, pending, &owned, why));
    if (!twins_done(&value->more_twins)) return corrupt("has a consumer twice", why);
    if (owned != pending) return corrupt("has a pending entry without a consumer", why);
    return OK;
}

enum err rdb_stream_read(struct rdb_value *value, struct why *why) {
    struct progress progress = {0};
    uint64_t count;
    RDB_TRY(rdb_length(value, &count, why));
    RDB_TRY(rdb_begin(value, 0, why));
    for (; count > 0; count--) RDB_TRY(read_node(value, &progress, why));
    RDB_TRY(read_stream(value, &progress, why));
    RDB_TRY(rdb_length(value, &count, why));
    twins_reset(&value->twins, count);
    for (; count > 0; count--) RDB_TRY(read_group(value, &progress, why));
    if (!twins_done(&value->twins)) return corrupt("has a group twice", why);
    return OK;
}

/* digest.c -- digests of keys that do not depend on how they are stored (C31).
 *
 * All numbers are hashed as eight bytes, little end first. h() is XXH3-128, + is modulo 2^128:
 *     key      h(db, type, size, h(name), value), + h(db, expiry, h(name)) if it expires
 *     string   h(bytes)                         list   h of (size, bytes) one after the other
 *     set      sum of h(member)                 hash   sum of h(h(field), h(value))
 *     zset     sum of h(h(member), score bits; -0 is 0)
 *     stream   h(h of the entries one after the other, last id, max deleted id, entries added)
 *              + sum of groups: h(1, h(name), last id, entries read)
 *              + sum of consumers: h(2, h(group), h(name))
 *              + sum of pending entries: h(3, h(group), h(consumer), id)
 *     size     elements; of a stream its entries
 */
#include "lib/redis/digest.h"

#include "lib/base/mem.h"
#include "lib/redis/bytes.h"

#include <stdio.h>
#include <xxhash.h>

struct digester {
    struct rdb_handler handler;
    enum err (*emit)(void *self, const struct digest_key *key, struct why *why);
    void *self;
    uint32_t (*slot_of)(struct slice key);

    struct digest sum;   /* of what has no order */
    uint64_t size;       /* elements so far */
    XXH3_state_t *state; /* of what has one */
    bool parts;          /* it is a string that comes in parts */
    struct rdb_stream stream;
    struct digest group, consumer; /* names of the current ones */
    enum digest_streams streams;
};

void digest_add(struct digest *sum, struct digest more) {
    sum->low += more.low;
    sum->high += more.high + (sum->low < more.low);
}

void digest_take(struct digest *sum, struct digest less) {
    uint64_t borrow = sum->low < less.low;
    sum->low -= less.low;
    sum->high -= less.high + borrow;
}

void digest_write(struct digest digest, char text[DIGEST_TEXT_SIZE]) {
    snprintf(text, DIGEST_TEXT_SIZE, "%016llx%016llx", (unsigned long long)digest.high,
             (unsigned long long)digest.low);
}

static struct digest from_xxh(XXH128_hash_t hash) {
    return (struct digest){.low = hash.low64, .high = hash.high64};
}

static struct digest of_bytes(struct slice bytes) {
    return from_xxh(XXH3_128bits(bytes.data, bytes.size));
}

static struct digest of_numbers(const uint64_t *numbers, size_t count) {
    uint8_t bytes[8 * 8];
    ASSERT(count <= 8);
    for (size_t i = 0; i < count; i++) bytes_put_le(bytes + 8 * i, numbers[i], 8);
    return of_bytes(slice_from(bytes, 8 * count));
}

static struct digest of_pair(struct digest a, struct digest b) {
    return of_numbers((uint64_t[]){a.low, a.high, b.low, b.high}, 4);
}

/* ---- elements, by order */

static void ordered_number(struct digester *d, uint64_t number) {
    uint8_t bytes[8];
    bytes_put_le(bytes, number, 8);
    ASSERT(XXH3_128bits_update(d->state, bytes, 8) == XXH_OK);
}

static void ordered_text(struct digester *d, struct slice text) {
    ordered_number(d, text.size);
    if (text.size) ASSERT(XXH3_128bits_update(d->state, text.data, text.size) == XXH_OK);
}

static enum err on_key_begin(void *self, const struct rdb_key *key, uint64_t count,
                             struct why *why) {
    (void)count, (void)why;
    struct digester *d = self;
    d->sum = (struct digest){0};
    d->size = 0;
    d->parts = false;
    if (key->type == VALUE_LIST || key->type == VALUE_STREAM)
        ASSERT(XXH3_128bits_reset(d->state) == XXH_OK);
    return OK;
}

static enum err on_string(void *self, struct slice value, struct why *why) {
    (void)why;
    struct digester *d = self;
    d->size = 1;
    d->sum = of_bytes(value);
    return OK;
}

void digester_string_part(struct digester *d, struct slice part) {
    if (!d->parts) ASSERT(XXH3_128bits_reset(d->state) == XXH_OK);
    d->parts = true;
    d->size = 1;
    if (part.size) ASSERT(XXH3_128bits_update(d->state, part.data, part.size) == XXH_OK);
}

static enum err on_list_item(void *self, struct slice item, struct why *why) {
    (void)why;
    struct digester *d = self;
    d->size++;
    ordered_text(d, item);
    return OK;
}

static enum err on_set_member(void *self, struct slice member, struct why *why) {
    (void)why;
    struct digester *d = self;
    d->size++;
    digest_add(&d->sum, of_bytes(member));
    return OK;
}

static enum err on_hash_field(void *self, struct slice field, struct slice value, struct why *why) {
    (void)why;
    struct digester *d = self;
    d->size++;
    digest_add(&d->sum, of_pair(of_bytes(field), of_bytes(value)));
    return OK;
}

static enum err on_zset_member(void *self, struct slice member, double score, struct why *why) {
    (void)why;
    struct digester *d = self;
    struct digest name = of_bytes(member);
    uint64_t bits;
    if (score == 0) score = 0; /* small sorted sets of Redis do not keep the sign of zero */
    memcpy(&bits, &score, sizeof bits);
    d->size++;
    digest_add(&d->sum, of_numbers((uint64_t[]){name.low, name.high, bits}, 3));
    return OK;
}

/* ---- streams */

void digester_entry(struct digester *d, struct stream_id id, uint64_t pairs) {
    d->size++;
    ordered_number(d, id.ms);
    ordered_number(d, id.seq);
    ordered_number(d, pairs);
}

void digester_entry_pair(struct digester *d, struct slice field, struct slice value) {
    ordered_text(d, field);
    ordered_text(d, value);
}

static enum err on_entry(void *self, struct stream_id id, struct rdb_fields *fields,
                         struct why *why) {
    (void)why;
    struct digester *d = self;
    struct slice field, value;
    digester_entry(d, id, fields->count);
    while (rdb_fields_next(fields, &field, &value)) digester_entry_pair(d, field, value);
    return OK;
}

static enum err on_stream(void *self, const struct rdb_stream *s, struct why *why) {
    (void)why;
    struct digester *d = self;
    struct digest entries = from_xxh(XXH3_128bits_digest(d->state));
    if (d->streams == DIGEST_STREAM_OLD) {
        d->sum = of_numbers(
            (uint64_t[]){entries.low, entries.high, s->last_id.ms, s->last_id.seq, 0, 0, 0}, 7);
        return OK;
    }
    d->sum = of_numbers((uint64_t[]){entries.low, entries.high, s->last_id.ms, s->last_id.seq,
                                     s->max_deleted_id.ms, s->max_deleted_id.seq, s->entries_added},
                        7);
    return OK;
}

static enum err on_group(void *self, const struct rdb_group *group, struct why *why) {
    (void)why;
    struct digester *d = self;
    d->group = of_bytes(group->name);
    uint64_t entries_read = d->streams == DIGEST_STREAM_WHOLE ? (uint64_t)group->entries_read : 0;
    digest_add(&d->sum, of_numbers((uint64_t[]){1, d->group.low, d->group.high, group->last_id.ms,
                                                group->last_id.seq, entries_read},
                                   6));
    return OK;
}

static enum err on_consumer(void *self, const struct rdb_consumer *consumer, struct why *why) {
    (void)why;
    struct digester *d = self;
    d->consumer = of_bytes(consumer->name);
    if (d->streams != DIGEST_STREAM_WHOLE) return OK; /* pending entries name their owners */
    digest_add(&d->sum, of_numbers((uint64_t[]){2, d->group.low, d->group.high, d->consumer.low,
                                                d->consumer.high},
                                   5));
    return OK;
}

static enum err on_consumer_pending(void *self, struct stream_id id, struct why *why) {
    (void)why;
    struct digester *d = self;
    digest_add(&d->sum, of_numbers((uint64_t[]){3, d->group.low, d->group.high, d->consumer.low,
                                                d->consumer.high, id.ms, id.seq},
                                   7));
    return OK;
}

struct digest digest_of_expiry(uint32_t db, struct slice name, int64_t expire_at_ms) {
    if (expire_at_ms < 0) return (struct digest){0};
    struct digest h = of_bytes(name);
    return of_numbers((uint64_t[]){db, (uint64_t)expire_at_ms, h.low, h.high}, 4);
}

static enum err on_key_end(void *self, const struct rdb_key *key, struct why *why) {
    struct digester *d = self;
    struct digest name = of_bytes(key->key), value = d->sum;
    if (key->type == VALUE_LIST || d->parts) value = from_xxh(XXH3_128bits_digest(d->state));
    struct digest_key out = {.key = key, .slot = d->slot_of ? d->slot_of(key->key) : 0};
    out.digest = of_numbers((uint64_t[]){key->db, (uint64_t)key->type, d->size, name.low,
                                         name.high, value.low, value.high},
                            7);
    digest_add(&out.digest, digest_of_expiry(key->db, key->key, key->expire_at_ms));
    return d->emit(d->self, &out, why);
}

struct digester *digester_new(enum err (*emit)(void *self, const struct digest_key *key,
                                               struct why *why),
                              void *self, uint32_t (*slot_of)(struct slice key)) {
    struct digester *d = NEW(struct digester);
    d->emit = emit;
    d->self = self;
    d->slot_of = slot_of;
    d->state = XXH3_createState();
    ASSERT(d->state != NULL);
    d->handler = (struct rdb_handler){
        .self = d,
        .key_begin = on_key_begin,
        .string = on_string,
        .list_item = on_list_item,
        .set_member = on_set_member,
        .hash_field = on_hash_field,
        .zset_member = on_zset_member,
        .entry = on_entry,
        .stream = on_stream,
        .group = on_group,
        .consumer = on_consumer,
        .consumer_pending = on_consumer_pending,
        .key_end = on_key_end,
    };
    return d;
}

void digester_free(struct digester *d) {
    if (d == NULL) return;
    XXH3_freeState(d->state);
    mem_free(d);
}

void digester_streams(struct digester *d, enum digest_streams what) {
    d->streams = what;
}

const struct rdb_handler *digester_handler(struct digester *d) {
    return &d->handler;
}

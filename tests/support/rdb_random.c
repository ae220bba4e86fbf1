/* rdb_random.c -- see rdb_random.h. */
#include "tests/support/rdb_random.h"

#include "lib/base/mem.h"
#include "lib/redis/bytes.h"
#include "lib/redis/intset.h"
#include "lib/redis/listpack.h"
#include "lib/redis/rdb_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const uint8_t kinds[RDB_RANDOM_KINDS] = {
    RDB_STRING,     RDB_LIST,          RDB_SET,           RDB_ZSET,
    RDB_HASH,       RDB_ZSET_2,        RDB_HASH_ZIPMAP,   RDB_LIST_ZIPLIST,
    RDB_SET_INTSET, RDB_ZSET_ZIPLIST,  RDB_HASH_ZIPLIST,  RDB_LIST_QUICKLIST,
    RDB_STREAM,     RDB_HASH_LISTPACK, RDB_ZSET_LISTPACK, RDB_LIST_QUICKLIST_2,
    RDB_STREAM_2,   RDB_SET_LISTPACK,  RDB_STREAM_3};

static struct why why; /* callbacks of tests do not fail */

#define TELL(function, ...)                                                                        \
    do {                                                                                           \
        if (expect->function && expect->function(expect->self, __VA_ARGS__, &why) != OK) abort();  \
    } while (0)

void rdb_random_text(struct rng *rng, struct buf *text) {
    char number[LP_TEXT_SIZE];
    int64_t value = (int64_t)(rng_next(rng) >> rng_below(rng, 64));
    size_t size = rng_below(rng, 60);
    switch (rng_below(rng, 12)) {
    case 0:
    case 1:
    case 2: buf_append(text, number, lp_write_number(value, number)); return;
    case 3: buf_append(text, number, lp_write_number(-value, number)); return;
    case 4: size = rng_below(rng, 70000); break;
    case 5: size = rng_below(rng, 500); break;
    case 6: /* compresses */
        for (size = rng_below(rng, 5000); size > 0; size--)
            buf_byte(text, (uint8_t)('a' + size / 100 % 3));
        return;
    default: break;
    }
    for (; size > 0; size--) buf_byte(text, (uint8_t)rng_next(rng));
}

/* A text that no other INDEX has. */
static void unique_text(struct rng *rng, unsigned index, struct buf *text) {
    buf_clear(text);
    if (index % 3 == 0) {
        buf_printf(text, "%u", index);
        return;
    }
    rdb_random_text(rng, text);
    buf_printf(text, ":%u", index);
}

static double random_score(struct rng *rng) {
    static const double special[] = {0.0, -0.0, 1e-9, 0.123456789012345, 5e-324, 1.7e308, 3, -17};
    double score;
    uint64_t bits = rng_next(rng);
    switch (rng_below(rng, 8)) {
    case 0: return (double)INFINITY;
    case 1: return -(double)INFINITY;
    case 2:
    case 3: return special[rng_below(rng, 8)];
    case 4: return (double)rng_below(rng, 100);
    default: memcpy(&score, &bits, 8); return isfinite(score) ? score : 1;
    }
}

static void score_text(double score, struct buf *text) {
    buf_clear(text);
    if (isinf(score))
        buf_printf(text, score > 0 ? "inf" : "-inf");
    else
        buf_printf(text, "%.17g", score);
}

/* ---- ziplist and zipmap, which only tests write */

struct ziplist {
    struct buf bytes;
    uint32_t last, size_before, count;
};

static void ziplist_add(struct ziplist *z, struct slice text) {
    int64_t number;
    size_t start = buf_size(&z->bytes);
    z->last = (uint32_t)start + 10;
    z->count++;
    uint8_t *p = buf_room(&z->bytes, text.size + 16), *begin = p;
    if (z->size_before < 254) {
        *p++ = (uint8_t)z->size_before;
    } else {
        *p++ = 254;
        bytes_put_le(p, z->size_before, 4);
        p += 4;
    }
    size_t data = text.size;
    if (slice_to_int(text, &number)) {
        data = 0;
        if (number >= 0 && number <= 12) {
            *p++ = (uint8_t)(0xf1 + number);
        } else {
            data = number >= -128 && number < 128               ? 1
                   : number >= INT16_MIN && number <= INT16_MAX ? 2
                   : number >= -8388608 && number <= 8388607    ? 3
                   : number >= INT32_MIN && number <= INT32_MAX ? 4
                                                                : 8;
            *p++ = (uint8_t[]){0, 0xfe, 0xc0, 0xf0, 0xd0, 0, 0, 0, 0xe0}[data];
            bytes_put_le(p, (uint64_t)number, data);
        }
    } else {
        if (text.size < 64) {
            *p++ = (uint8_t)text.size;
        } else if (text.size < 16384) {
            bytes_put_be(p, 0x4000 | text.size, 2);
            p += 2;
        } else {
            *p++ = 0x80;
            bytes_put_be(p, text.size, 4);
            p += 4;
        }
        if (text.size) memcpy(p, text.data, text.size);
    }
    p += data;
    z->size_before = (uint32_t)(p - begin);
    buf_filled(&z->bytes, z->size_before);
}

static void ziplist_put(struct ziplist *z, struct buf *value) {
    struct buf all = {0};
    uint8_t *head = buf_room(&all, 10);
    bytes_put_le(head, buf_size(&z->bytes) + 11, 4);
    bytes_put_le(head + 4, z->count ? z->last : 10, 4);
    bytes_put_le(head + 8, z->count, 2);
    buf_filled(&all, 10);
    buf_add(&all, buf_slice(&z->bytes));
    buf_byte(&all, 255);
    rdb_put_string(value, buf_slice(&all), true);
    buf_close(&all);
    buf_close(&z->bytes);
    *z = (struct ziplist){0};
}

static void zipmap_text(struct buf *map, struct slice text) {
    if (text.size < 254) {
        buf_byte(map, (uint8_t)text.size);
    } else {
        buf_byte(map, 254);
        bytes_put_le(buf_room(map, 4), text.size, 4);
        buf_filled(map, 4);
    }
}

/* ---- collections */

/* Where elements of a value go, in the form of its type. */
struct target {
    uint8_t type;
    struct buf *value;
    uint8_t *lp;
    struct ziplist zl;
    struct buf zipmap;
};

static void put(struct target *t, struct slice text) {
    switch (t->type) {
    case RDB_HASH_LISTPACK:
    case RDB_ZSET_LISTPACK:
    case RDB_SET_LISTPACK:
    case RDB_LIST_QUICKLIST_2: lp_append(&t->lp, text); break;
    case RDB_LIST_ZIPLIST:
    case RDB_ZSET_ZIPLIST:
    case RDB_HASH_ZIPLIST:
    case RDB_LIST_QUICKLIST: ziplist_add(&t->zl, text); break;
    default: rdb_put_string(t->value, text, true);
    }
}

static void random_list(struct rng *rng, unsigned scale, struct target *t,
                        const struct rdb_handler *expect) {
    unsigned nodes =
        t->type == RDB_LIST || t->type == RDB_LIST_ZIPLIST ? 1 : 1 + (unsigned)rng_below(rng, 4);
    struct buf text = {0};
    if (t->type != RDB_LIST_ZIPLIST && t->type != RDB_LIST) rdb_put_length(t->value, nodes);
    for (unsigned n = 0; n < nodes; n++) {
        unsigned count = 1 + (unsigned)rng_below(rng, scale);
        bool plain = t->type == RDB_LIST_QUICKLIST_2 && rng_below(rng, 3) == 0;
        if (plain) count = 1;
        if (t->type == RDB_LIST) rdb_put_length(t->value, count);
        for (unsigned i = 0; i < count; i++) {
            buf_clear(&text);
            rdb_random_text(rng, &text);
            if (plain) buf_byte(&text, 'x');
            TELL(list_item, buf_slice(&text));
            if (!plain) put(t, buf_slice(&text));
        }
        if (t->type == RDB_LIST_QUICKLIST_2) {
            rdb_put_list_node(t->value, plain ? buf_slice(&text) : lp_slice(t->lp), plain, true);
            mem_free(t->lp);
            t->lp = lp_new(0);
        } else if (t->type != RDB_LIST) {
            ziplist_put(&t->zl, t->value);
        }
    }
    buf_close(&text);
}

static void random_set(struct rng *rng, unsigned count, struct target *t,
                       const struct rdb_handler *expect) {
    struct buf text = {0};
    uint8_t *numbers = intset_new();
    unsigned bits = 1 + (unsigned)rng_below(rng, 60);
    if (t->type == RDB_SET) rdb_put_length(t->value, count);
    for (unsigned i = 0; i < count; i++) {
        if (t->type == RDB_SET_INTSET) {
            intset_add(&numbers,
                       (int64_t)rng_below(rng, UINT64_C(2) << bits) - (INT64_C(1) << bits));
            continue;
        }
        unique_text(rng, i, &text);
        TELL(set_member, buf_slice(&text));
        put(t, buf_slice(&text));
    }
    if (t->type == RDB_SET_INTSET) {
        char number[LP_TEXT_SIZE];
        for (uint32_t i = 0; i < intset_count(numbers); i++) {
            size_t size = lp_write_number(intset_get(numbers, i), number);
            TELL(set_member, slice_from(number, size));
        }
        rdb_put_string(t->value, intset_slice(numbers), true);
    }
    mem_free(numbers);
    buf_close(&text);
}

static void random_hash(struct rng *rng, unsigned count, struct target *t,
                        const struct rdb_handler *expect) {
    struct buf field = {0}, value = {0};
    if (t->type == RDB_HASH) rdb_put_length(t->value, count);
    if (t->type == RDB_HASH_ZIPMAP) buf_byte(&t->zipmap, count < 254 ? (uint8_t)count : 254);
    for (unsigned i = 0; i < count; i++) {
        unique_text(rng, i, &field);
        buf_clear(&value);
        rdb_random_text(rng, &value);
        TELL(hash_field, buf_slice(&field), buf_slice(&value));
        if (t->type == RDB_HASH_ZIPMAP) {
            uint8_t unused = (uint8_t)rng_below(rng, 5);
            zipmap_text(&t->zipmap, buf_slice(&field));
            buf_add(&t->zipmap, buf_slice(&field));
            zipmap_text(&t->zipmap, buf_slice(&value));
            buf_byte(&t->zipmap, unused);
            buf_add(&t->zipmap, buf_slice(&value));
            buf_append(&t->zipmap, "....", unused);
        } else {
            put(t, buf_slice(&field));
            put(t, buf_slice(&value));
        }
    }
    if (t->type == RDB_HASH_ZIPMAP) {
        buf_byte(&t->zipmap, 255);
        rdb_put_string(t->value, buf_slice(&t->zipmap), true);
        buf_close(&t->zipmap);
    }
    buf_close(&field);
    buf_close(&value);
}

static int by_score(const void *a, const void *b) {
    double x, y;
    memcpy(&x, a, 8);
    memcpy(&y, b, 8);
    return x < y ? -1 : x > y;
}

static void random_zset(struct rng *rng, unsigned count, struct target *t,
                        const struct rdb_handler *expect) {
    struct buf text = {0}, score_as_text = {0};
    double *scores = NEW_ARRAY(double, count);
    for (unsigned i = 0; i < count; i++) scores[i] = random_score(rng);
    qsort(scores, count, sizeof *scores, by_score);
    if (t->type == RDB_ZSET || t->type == RDB_ZSET_2) rdb_put_length(t->value, count);
    for (unsigned i = 0; i < count; i++) {
        buf_clear(&text);
        buf_printf(&text, "m%06u", i); /* in order even when scores are equal */
        TELL(zset_member, buf_slice(&text), scores[i]);
        put(t, buf_slice(&text));
        score_text(scores[i], &score_as_text);
        if (t->type == RDB_ZSET_2) {
            rdb_put_double(t->value, scores[i]);
        } else if (t->type == RDB_ZSET && isinf(scores[i])) {
            buf_byte(t->value, scores[i] > 0 ? 254 : 255);
        } else if (t->type == RDB_ZSET) {
            buf_byte(t->value, (uint8_t)buf_size(&score_as_text));
            buf_add(t->value, buf_slice(&score_as_text));
        } else {
            put(t, buf_slice(&score_as_text));
        }
    }
    mem_free(scores);
    buf_close(&text);
    buf_close(&score_as_text);
}

/* ---- streams */

static struct stream_id id_after(struct rng *rng, struct stream_id id) {
    if (rng_below(rng, 2)) return (struct stream_id){id.ms, id.seq + 1 + rng_below(rng, 3)};
    return (struct stream_id){id.ms + 1 + rng_below(rng, 100000), rng_below(rng, 5)};
}

/* One entry into LP; tells it if it lives. */
static bool random_entry(struct rng *rng, uint8_t **lp, struct stream_id first, struct stream_id id,
                         const struct rdb_handler *expect) {
    bool same = rng_below(rng, 2), deleted = rng_below(rng, 5) == 0;
    unsigned count = same ? 2 : (unsigned)rng_below(rng, 4);
    static const char *const master[] = {"temperature", "7"};
    struct buf text = {0};
    uint8_t *pairs = lp_new(0); /* the same in the form that rdb_fields_next() walks */
    lp_append_number(lp, (deleted ? 1 : 0) | (same ? 2 : 0));
    lp_append_number(lp, (int64_t)(id.ms - first.ms));
    lp_append_number(lp, (int64_t)(id.seq - first.seq));
    if (!same) lp_append_number(lp, count);
    for (unsigned i = 0; i < count; i++) {
        for (int half = 0; half < 2; half++) {
            buf_clear(&text);
            if (same && half == 0)
                buf_printf(&text, "%s", master[i]);
            else
                rdb_random_text(rng, &text);
            if (!same || half == 1) lp_append(lp, buf_slice(&text));
            lp_append(&pairs, buf_slice(&text));
        }
    }
    lp_append_number(lp, same ? count + 3 : 2 * count + 4);
    struct rdb_fields fields = {.count = count, .lp = pairs, .field_at = lp_first(pairs)};
    if (!deleted) TELL(entry, id, &fields);
    mem_free(pairs);
    buf_close(&text);
    return !deleted;
}

static struct rdb_stream random_entries(struct rng *rng, unsigned scale, struct buf *value,
                                        const struct rdb_handler *expect) {
    struct rdb_stream stream = {0};
    struct stream_id id = {rng_below(rng, 1u << 30), 0};
    unsigned nodes = (unsigned)rng_below(rng, 4);
    rdb_put_length(value, nodes);
    for (unsigned n = 0; n < nodes; n++) {
        unsigned count = 1 + (unsigned)rng_below(rng, scale);
        uint8_t *entries = lp_new(0), *lp = lp_new(0);
        struct stream_id first = id_after(rng, id);
        uint64_t live = 0;
        for (unsigned i = 0; i < count; i++) {
            id = i == 0 ? first : id_after(rng, id);
            if (random_entry(rng, &entries, first, id, expect)) {
                if (stream.length + live++ == 0) stream.first_id = id;
            } else {
                stream.max_deleted_id = id;
            }
        }
        stream.length += live;
        stream.entries_added += count;
        lp_append_number(&lp, (int64_t)live);
        lp_append_number(&lp, (int64_t)(count - live));
        lp_append_number(&lp, 2);
        lp_append(&lp, SLICE("temperature"));
        lp_append(&lp, SLICE("7"));
        lp_append_number(&lp, 0);
        lp_append_all(&lp, entries);
        rdb_put_stream_node(value, first, lp_slice(lp), true);
        mem_free(entries);
        mem_free(lp);
    }
    stream.last_id = rng_below(rng, 2) ? id : id_after(rng, id);
    stream.entries_added += rng_below(rng, 3);
    return stream;
}

/* COUNT pending entries, of which consumer (index % consumers) owns each. */
static void random_group(struct rng *rng, unsigned index, unsigned scale, uint8_t type,
                         const struct rdb_stream *s, struct buf *value,
                         const struct rdb_handler *expect) {
    struct buf name = {0};
    buf_printf(&name, "group-%u", index);
    unsigned consumers = (unsigned)rng_below(rng, 4);
    unsigned count = consumers ? (unsigned)rng_below(rng, scale) : 0;
    struct stream_id *ids = NEW_ARRAY(struct stream_id, count);
    for (unsigned i = 0; i < count; i++) ids[i] = id_after(rng, i ? ids[i - 1] : s->first_id);
    struct rdb_group group = {buf_slice(&name), s->last_id, (int64_t)rng_below(rng, 9) - 1};
    if (type == RDB_STREAM) group.entries_read = (int64_t)s->entries_added; /* as at the last id */
    TELL(group, &group);
    rdb_put_group(value, &group, type);
    rdb_put_length(value, count);
    for (unsigned i = 0; i < count; i++) {
        struct rdb_pending pending = {ids[i], (int64_t)rng_below(rng, 1ull << 40),
                                      rng_below(rng, 99)};
        TELL(pending, &pending);
        rdb_put_pending(value, &pending);
    }
    rdb_put_length(value, consumers);
    for (unsigned c = 0; c < consumers; c++) {
        buf_clear(&name);
        buf_printf(&name, "consumer-%u", c);
        int64_t seen = (int64_t)rng_below(rng, 1ull << 40);
        struct rdb_consumer consumer = {buf_slice(&name), seen,
                                        type == RDB_STREAM_3 ? seen / 2 : seen};
        TELL(consumer, &consumer);
        rdb_put_consumer(value, &consumer, type);
        unsigned owns = count / consumers + (c < count % consumers);
        rdb_put_length(value, owns);
        for (unsigned i = c; i < count; i += consumers) {
            TELL(consumer_pending, ids[i]);
            rdb_put_stream_id(value, ids[i]);
        }
    }
    mem_free(ids);
    buf_close(&name);
}

static void random_stream(struct rng *rng, unsigned scale, struct target *t,
                          const struct rdb_handler *expect) {
    struct rdb_stream s = random_entries(rng, scale, t->value, expect);
    if (t->type == RDB_STREAM) {
        s.max_deleted_id = (struct stream_id){0};
        s.entries_added = s.length;
    }
    TELL(stream, &s);
    rdb_put_stream(t->value, &s, t->type);
    unsigned groups = (unsigned)rng_below(rng, 3);
    rdb_put_length(t->value, groups);
    for (unsigned g = 0; g < groups; g++)
        random_group(rng, g, scale, t->type, &s, t->value, expect);
}

void rdb_random_value(struct rng *rng, unsigned kind, unsigned scale, struct rdb_key *key,
                      struct buf *value, const struct rdb_handler *expect) {
    if (kind >= RDB_RANDOM_KINDS) abort();
    struct target t = {.type = kinds[kind], .value = value, .lp = lp_new(0)};
    key->rdb_type = t.type;
    if (!rdb_type_value(t.type, &key->type)) abort();
    TELL(key_begin, key, 0);
    unsigned count = 1 + (unsigned)rng_below(rng, scale);
    struct buf text = {0};
    switch (key->type) {
    case VALUE_STRING:
        rdb_random_text(rng, &text);
        TELL(string, buf_slice(&text));
        rdb_put_string(value, buf_slice(&text), true);
        break;
    case VALUE_LIST: random_list(rng, scale, &t, expect); break;
    case VALUE_SET: random_set(rng, count, &t, expect); break;
    case VALUE_ZSET: random_zset(rng, count, &t, expect); break;
    case VALUE_HASH: random_hash(rng, count, &t, expect); break;
    case VALUE_STREAM: random_stream(rng, scale, &t, expect); break;
    }
    if (t.type == RDB_HASH_LISTPACK || t.type == RDB_ZSET_LISTPACK || t.type == RDB_SET_LISTPACK)
        rdb_put_string(value, lp_slice(t.lp), true);
    if (t.type == RDB_HASH_ZIPLIST || t.type == RDB_ZSET_ZIPLIST) ziplist_put(&t.zl, value);
    TELL(key_end, key);
    mem_free(t.lp);
    buf_close(&t.zl.bytes);
    buf_close(&text);
}

/* hash.c -- hashes in both encodings. See hash.h. */
#include "server/hash.h"

#include "lib/base/mem.h"
#include "server/value_table.h"

/* A field with its value: one block. */
struct field {
    uint32_t name_size, value_size; /* bytes */
    uint8_t bytes[];                /* the name, then the value */
};

static struct slice field_name(const struct field *f) {
    return slice_from(f->bytes, f->name_size);
}

static struct slice field_value(const struct field *f) {
    return slice_from(f->bytes + f->name_size, f->value_size);
}

static struct slice table_key(const void *item) {
    return field_name(item);
}

static const struct table_type fields = {.key = table_key};

static struct field *field_new(struct slice name, struct slice value) {
    ASSERT(name.size <= UINT32_MAX && value.size <= UINT32_MAX); /* the protocol's bound is lower */
    struct field *f = mem_alloc(sizeof *f + name.size + value.size);
    f->name_size = (uint32_t)name.size;
    f->value_size = (uint32_t)value.size;
    if (name.size) memcpy(f->bytes, name.data, name.size);
    if (value.size) memcpy(f->bytes + name.size, value.data, value.size);
    return f;
}

static struct value with_table(void) {
    struct table *table = NEW(struct table);
    table_init(table, &fields);
    return value_container(TYPE_HASH, ENC_HASHTABLE, table);
}

struct value hash_new(void) {
    return value_container(TYPE_HASH, ENC_LISTPACK, lp_new(0));
}

struct value hash_new_sized(const struct type_limits *limits, size_t room) {
    return (uint64_t)room <= (uint64_t)limits->hash_max_listpack_entries ? hash_new()
                                                                         : with_table();
}

static void convert(struct value *hash) {
    struct value big = with_table();
    struct hash_iter iter;
    struct slice name, value;
    hash_iter_init(&iter, hash);
    while (hash_next(&iter, &name, &value)) table_add(big.ptr, field_new(name, value));
    mem_free(hash->ptr);
    *hash = big;
}

static bool over_limit(size_t size, int64_t limit) {
    return (uint64_t)size > (uint64_t)limit;
}

struct value hash_adopt_listpack(const struct type_limits *limits, uint8_t *lp) {
    struct value hash = value_container(TYPE_HASH, ENC_LISTPACK, lp);
    struct hash_iter iter;
    struct slice name, value;
    bool big = over_limit(hash_length(&hash), limits->hash_max_listpack_entries);
    hash_iter_init(&iter, &hash);
    while (!big && hash_next(&iter, &name, &value))
        big = over_limit(name.size, limits->hash_max_listpack_value) ||
              over_limit(value.size, limits->hash_max_listpack_value);
    if (big) convert(&hash);
    return hash;
}

size_t hash_length(const struct value *hash) {
    return hash->encoding == ENC_LISTPACK ? lp_count(hash->ptr) / 2 : table_count(hash->ptr);
}

bool hash_get(const struct value *hash, struct slice field, struct slice *value,
              char scratch[LP_TEXT_SIZE]) {
    if (hash->encoding == ENC_LISTPACK) {
        const uint8_t *lp = hash->ptr;
        uint32_t at = lp_find(lp, lp_first(lp), field, 1);
        if (at == LP_NONE) return false;
        *value = lp_text(lp, lp_next(lp, at), scratch);
        return true;
    }
    const struct field *f = table_find(hash->ptr, field);
    if (f) *value = field_value(f);
    return f != NULL;
}

void hash_expect(struct value *hash, const struct type_limits *limits, size_t largest,
                 size_t total) {
    if (hash->encoding != ENC_LISTPACK) return;
    if (over_limit(largest, limits->hash_max_listpack_value) || !lp_fits(hash->ptr, total, 2))
        convert(hash);
}

static bool set_in_listpack(struct value *hash, struct slice field, struct slice value) {
    uint8_t *lp = hash->ptr;
    uint32_t at = lp_find(lp, lp_first(lp), field, 1);
    if (at != LP_NONE) {
        lp_replace(&lp, lp_next(lp, at), value);
    } else {
        lp_append(&lp, field);
        lp_append(&lp, value);
    }
    hash->ptr = lp;
    return at == LP_NONE;
}

static bool set_in_table(struct table *table, struct slice name, struct slice value) {
    uint64_t hash = table_hash(name);
    struct field *old = table_find_hashed(table, name, hash);
    if (!old) {
        table_add_hashed(table, field_new(name, value), hash);
        return true;
    }
    table_edit(table, old);
    if (old->value_size == value.size) {
        if (value.size) memmove(old->bytes + old->name_size, value.data, value.size);
        return false;
    }
    struct field *new = field_new(name, value);
    table_moved(table, old, new, hash);
    mem_free(old);
    return false;
}

bool hash_set(struct value *hash, const struct type_limits *limits, struct slice field,
              struct slice value) {
    size_t largest = field.size > value.size ? field.size : value.size;
    hash_expect(hash, limits, largest, field.size + value.size);
    if (hash->encoding == ENC_HASHTABLE) return set_in_table(hash->ptr, field, value);
    bool created = set_in_listpack(hash, field, value);
    if (over_limit(hash_length(hash), limits->hash_max_listpack_entries)) convert(hash);
    return created;
}

bool hash_remove(struct value *hash, struct slice field) {
    if (hash->encoding == ENC_LISTPACK) {
        uint8_t *lp = hash->ptr;
        uint32_t at = lp_find(lp, lp_first(lp), field, 1);
        if (at == LP_NONE) return false;
        lp_delete(&lp, at, 2);
        hash->ptr = lp;
        return true;
    }
    struct field *f = table_take(hash->ptr, field);
    mem_free(f);
    return f != NULL;
}

void hash_item(const void *item, struct slice *field, struct slice *value) {
    *field = field_name(item);
    *value = field_value(item);
}

void hash_iter_init(struct hash_iter *iter, const struct value *hash) {
    *iter = (struct hash_iter){.hash = hash};
    if (hash->encoding == ENC_LISTPACK) {
        iter->at = lp_first(hash->ptr);
    } else {
        table_iter_init(&iter->table, hash->ptr);
    }
}

bool hash_next(struct hash_iter *iter, struct slice *field, struct slice *value) {
    if (iter->hash->encoding == ENC_LISTPACK) {
        const uint8_t *lp = iter->hash->ptr;
        if (iter->at == LP_NONE) return false;
        *field = lp_text(lp, iter->at, iter->scratch[0]);
        iter->at = lp_next(lp, iter->at);
        *value = lp_text(lp, iter->at, iter->scratch[1]);
        iter->at = lp_next(lp, iter->at);
        return true;
    }
    const struct field *f = table_iter_next(&iter->table);
    if (!f) return false;
    *field = field_name(f);
    *value = field_value(f);
    return true;
}

void hash_random(const struct value *hash, struct rng *rng, struct slice *field,
                 struct slice *value, char scratch[2][LP_TEXT_SIZE]) {
    if (hash->encoding == ENC_LISTPACK) {
        const uint8_t *lp = hash->ptr;
        uint32_t at = lp_seek(lp, (int64_t)(2 * rng_below(rng, hash_length(hash))));
        *field = lp_text(lp, at, scratch[0]);
        *value = lp_text(lp, lp_next(lp, at), scratch[1]);
        return;
    }
    const struct field *f = table_random(hash->ptr, rng);
    ASSERT(f);
    *field = field_name(f);
    *value = field_value(f);
}

struct scan {
    hash_visit_fn *visit;
    void *ctx;
};

static void scan_item(void *ctx, void *item) {
    struct scan *scan = ctx;
    const struct field *f = item;
    scan->visit(scan->ctx, field_name(f), field_value(f));
}

uint64_t hash_scan(const struct value *hash, uint64_t cursor, size_t want, hash_visit_fn *visit,
                   void *ctx) {
    if (hash->encoding == ENC_LISTPACK) {
        struct hash_iter iter;
        struct slice field, value;
        hash_iter_init(&iter, hash);
        while (hash_next(&iter, &field, &value)) visit(ctx, field, value);
        return 0;
    }
    struct scan scan = {visit, ctx};
    return table_scan_many(hash->ptr, cursor, want, scan_item, &scan);
}

/* ---- what every type must be able to do */

static void *ops_copy(enum encoding encoding, const void *ptr) {
    if (encoding == ENC_LISTPACK) return mem_dup(ptr, lp_bytes(ptr));
    struct value copy = with_table();
    struct table_iter iter;
    const struct field *f;
    table_iter_init(&iter, (struct table *)(uintptr_t)ptr);
    while ((f = table_iter_next(&iter)))
        table_add(copy.ptr, field_new(field_name(f), field_value(f)));
    return copy.ptr;
}

static size_t ops_length(enum encoding encoding, const void *ptr) {
    return encoding == ENC_LISTPACK ? lp_count(ptr) / 2 : table_count(ptr);
}

const struct value_ops hash_ops = {value_table_free,   value_table_effort, ops_copy,
                                   value_table_memory, ops_length,         value_table_watch};

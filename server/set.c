/* set.c -- sets in both encodings. See set.h. */
#include "server/set.h"

#include "lib/base/mem.h"
#include "server/value_table.h"

#define INTSET_MAX (UINT32_C(1) << 30) /* as in Redis, whatever the limits say */

struct member {
    uint32_t size; /* bytes */
    uint8_t bytes[];
};

static struct slice member_bytes(const struct member *m) {
    return slice_from(m->bytes, m->size);
}
static struct slice table_key(const void *item) {
    return member_bytes(item);
}
static const struct table_type members = {.key = table_key};

static struct member *member_new(struct slice bytes) {
    ASSERT(bytes.size <= UINT32_MAX); /* the protocol's bound is lower */
    struct member *m = mem_alloc(sizeof *m + bytes.size);
    m->size = (uint32_t)bytes.size;
    if (bytes.size) memcpy(m->bytes, bytes.data, bytes.size);
    return m;
}

static struct value with_table(void) {
    struct table *table = NEW(struct table);
    table_init(table, &members);
    return value_container(TYPE_SET, ENC_HASHTABLE, table);
}

struct value set_new(void) {
    return value_container(TYPE_SET, ENC_INTSET, intset_new());
}

struct value set_new_for(struct slice member) {
    int64_t number;
    return slice_to_int(member, &number) ? set_new() : with_table();
}

static uint32_t intset_limit(const struct type_limits *limits) {
    int64_t limit = limits->set_max_intset_entries;
    return limit >= (int64_t)INTSET_MAX ? INTSET_MAX : (uint32_t)limit;
}

struct value set_new_sized(const struct type_limits *limits, size_t room) {
    return room <= intset_limit(limits) ? set_new() : with_table();
}

static void convert(struct value *set) {
    struct value big = with_table();
    struct set_iter iter;
    struct slice member;
    set_iter_init(&iter, set);
    while (set_next(&iter, &member)) table_add(big.ptr, member_new(member));
    mem_free(set->ptr);
    *set = big;
}

struct value set_adopt_intset(const struct type_limits *limits, uint8_t *intset) {
    struct value set = value_container(TYPE_SET, ENC_INTSET, intset);
    if (intset_count(intset) > intset_limit(limits)) convert(&set);
    return set;
}

size_t set_length(const struct value *set) {
    return set->encoding == ENC_INTSET ? intset_count(set->ptr) : table_count(set->ptr);
}

bool set_has(const struct value *set, struct slice member) {
    int64_t number;
    if (set->encoding == ENC_HASHTABLE) return table_find(set->ptr, member) != NULL;
    return slice_to_int(member, &number) && intset_find(set->ptr, number, NULL);
}

static bool add_to_intset(struct value *set, const struct type_limits *limits, int64_t number) {
    uint8_t *intset = set->ptr;
    bool added = intset_add(&intset, number);
    set->ptr = intset;
    if (added && intset_count(intset) > intset_limit(limits)) convert(set);
    return added;
}

bool set_add(struct value *set, const struct type_limits *limits, struct slice member) {
    int64_t number;
    if (set->encoding == ENC_INTSET) {
        if (slice_to_int(member, &number)) return add_to_intset(set, limits, number);
        convert(set);
    }
    uint64_t hash = table_hash(member);
    if (table_find_hashed(set->ptr, member, hash)) return false;
    table_add_hashed(set->ptr, member_new(member), hash);
    return true;
}

bool set_remove(struct value *set, struct slice member) {
    int64_t number;
    if (set->encoding == ENC_HASHTABLE) {
        struct member *m = table_take(set->ptr, member);
        mem_free(m);
        return m != NULL;
    }
    if (!slice_to_int(member, &number)) return false;
    uint8_t *intset = set->ptr;
    bool removed = intset_remove(&intset, number);
    set->ptr = intset;
    return removed;
}

struct slice set_item(const void *item) {
    return member_bytes(item);
}

void set_iter_init(struct set_iter *iter, const struct value *set) {
    *iter = (struct set_iter){.set = set};
    if (set->encoding == ENC_HASHTABLE) table_iter_init(&iter->table, set->ptr);
}

static struct slice number_text(int64_t number, char scratch[SET_TEXT_SIZE]) {
    return slice_from(scratch, lp_write_number(number, scratch));
}

bool set_next(struct set_iter *iter, struct slice *member) {
    if (iter->set->encoding == ENC_INTSET) {
        if (iter->at >= intset_count(iter->set->ptr)) return false;
        *member = number_text(intset_get(iter->set->ptr, iter->at++), iter->scratch);
        return true;
    }
    const struct member *m = table_iter_next(&iter->table);
    if (m) *member = member_bytes(m);
    return m != NULL;
}

struct slice set_random(const struct value *set, struct rng *rng, char scratch[SET_TEXT_SIZE]) {
    if (set->encoding == ENC_INTSET) {
        uint32_t at = (uint32_t)rng_below(rng, intset_count(set->ptr));
        return number_text(intset_get(set->ptr, at), scratch);
    }
    const struct member *m = table_random(set->ptr, rng);
    ASSERT(m);
    return member_bytes(m);
}

struct scan {
    set_visit_fn *visit;
    void *ctx;
};

static void scan_item(void *ctx, void *item) {
    struct scan *scan = ctx;
    scan->visit(scan->ctx, member_bytes(item));
}

uint64_t set_scan(const struct value *set, uint64_t cursor, size_t want, set_visit_fn *visit,
                  void *ctx) {
    if (set->encoding == ENC_INTSET) {
        struct set_iter iter;
        struct slice member;
        set_iter_init(&iter, set);
        while (set_next(&iter, &member)) visit(ctx, member);
        return 0;
    }
    struct scan scan = {visit, ctx};
    return table_scan_many(set->ptr, cursor, want, scan_item, &scan);
}

/* ---- what every type must be able to do */

static void *ops_copy(enum encoding encoding, const void *ptr) {
    if (encoding == ENC_INTSET) return mem_dup(ptr, intset_bytes(ptr));
    struct value copy = with_table();
    struct table_iter iter;
    const struct member *m;
    table_iter_init(&iter, (struct table *)(uintptr_t)ptr);
    while ((m = table_iter_next(&iter))) table_add(copy.ptr, member_new(member_bytes(m)));
    return copy.ptr;
}

static size_t ops_length(enum encoding encoding, const void *ptr) {
    return encoding == ENC_INTSET ? intset_count(ptr) : table_count(ptr);
}

const struct value_ops set_ops = {value_table_free,   value_table_effort, ops_copy,
                                  value_table_memory, ops_length,         value_table_watch};

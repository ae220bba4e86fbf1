/* zset.c -- sorted sets in both encodings. See zset.h; the big one's order is ztree.c. */
#include "server/zset.h"

#include "lib/base/mem.h"
#include "server/args.h"

#include <math.h>
#include <stdlib.h>

#define REMOVE_MANY 200 /* members; fewer are removed one by one, whatever is left */

struct zset {
    struct table members; /* owns the items */
    struct ztree order;   /* borrows them */
};

static struct slice table_key(const void *item) {
    return zitem_member(item);
}
static const struct table_type members = {.key = table_key};

static struct zitem *item_new(struct slice member, double score) {
    ASSERT(member.size <= UINT32_MAX); /* the protocol's bound is lower */
    struct zitem *item = mem_alloc(sizeof *item + member.size);
    item->size = (uint32_t)member.size;
    item->unused = 0;
    item->score = score;
    if (member.size) memcpy(item->member, member.data, member.size);
    return item;
}

static struct value with_tree(void) {
    struct zset *big = NEW(struct zset);
    table_init(&big->members, &members);
    return value_container(TYPE_ZSET, ENC_SKIPLIST, big);
}

static struct value with_listpack(void) {
    return value_container(TYPE_ZSET, ENC_LISTPACK, lp_new(0));
}

static void big_insert(struct zset *big, struct zitem *item) {
    table_add(&big->members, item);
    ztree_add(&big->order, item);
}

static bool over_limit(size_t size, int64_t limit) {
    return (uint64_t)size > (uint64_t)limit;
}

struct value zset_new(const struct type_limits *limits, size_t first_member_bytes) {
    bool big = limits->zset_max_listpack_entries == 0 ||
               over_limit(first_member_bytes, limits->zset_max_listpack_value);
    return big ? with_tree() : with_listpack();
}

struct value zset_new_sized(const struct type_limits *limits, size_t room) {
    return over_limit(room, limits->zset_max_listpack_entries) ? with_tree() : with_listpack();
}

/* ---- the listpack */

/* The score at AT. One that is not a number (a file's fault) counts as strtod() reads it. */
static double lp_score(const uint8_t *lp, uint32_t at) {
    struct lp_item item = lp_get(lp, at);
    char text[128];
    if (item.is_number) return (double)item.number;
    size_t size = item.bytes.size < sizeof text ? item.bytes.size : sizeof text - 1;
    memcpy(text, item.bytes.data, size);
    text[size] = '\0';
    double score = strtod(text, NULL);
    return isnan(score) ? 0 : score;
}

bool zset_score_as_int(double score, int64_t *number) {
    if (!(score >= -0x1p62 && score <= 0x1p62)) return false;
    *number = (int64_t)score;
    return (double)*number == score;
}

static void lp_put_score(uint8_t **lp, uint32_t member, double score) {
    int64_t number;
    char text[NUMBER_TEXT];
    if (zset_score_as_int(score, &number)) {
        lp_insert_number(lp, member, number, LP_AFTER);
    } else {
        lp_insert(lp, member, slice_from(text, number_write_double(text, score)), LP_AFTER);
    }
}

static void lp_put(uint8_t **lp, struct slice member, double score) {
    char scratch[LP_TEXT_SIZE];
    uint32_t at = lp_first(*lp);
    while (at != LP_NONE) {
        uint32_t score_at = lp_next(*lp, at);
        double other = lp_score(*lp, score_at);
        if (other > score ||
            (other == score && slice_compare(lp_text(*lp, at, scratch), member) > 0))
            break;
        at = lp_next(*lp, score_at);
    }
    if (at == LP_NONE) {
        lp_append(lp, member);
        at = lp_last(*lp);
    } else {
        at = lp_insert(lp, at, member, LP_BEFORE);
    }
    lp_put_score(lp, at, score);
}

static uint32_t lp_member(const uint8_t *lp, struct slice member) {
    return lp_find(lp, lp_first(lp), member, 1);
}

static void convert(struct value *zset) {
    struct value big = with_tree();
    struct zset_iter iter;
    struct slice member;
    double score;
    zset_iter_init(&iter, zset, 0, false);
    while (zset_next(&iter, &member, &score)) big_insert(big.ptr, item_new(member, score));
    mem_free(zset->ptr);
    *zset = big;
}

struct value zset_adopt_listpack(const struct type_limits *limits, uint8_t *lp) {
    struct value zset = value_container(TYPE_ZSET, ENC_LISTPACK, lp);
    struct zset_iter iter;
    struct slice member;
    double score;
    bool big = over_limit(zset_length(&zset), limits->zset_max_listpack_entries);
    zset_iter_init(&iter, &zset, 0, false);
    while (!big && zset_next(&iter, &member, &score))
        big = over_limit(member.size, limits->zset_max_listpack_value);
    if (big) convert(&zset);
    return zset;
}

void zset_compact(struct value *zset, const struct type_limits *limits) {
    struct zset_iter iter;
    struct slice member;
    double score;
    size_t total = 0;
    if (zset->encoding == ENC_LISTPACK) return;
    if (over_limit(zset_length(zset), limits->zset_max_listpack_entries)) return;
    zset_iter_init(&iter, zset, 0, false);
    while (zset_next(&iter, &member, &score)) {
        if (over_limit(member.size, limits->zset_max_listpack_value)) return;
        total += member.size;
    }
    struct value small = with_listpack();
    uint8_t *lp = small.ptr;
    if (lp_fits(lp, total + NUMBER_TEXT * zset_length(zset), 2 * zset_length(zset))) {
        zset_iter_init(&iter, zset, 0, false);
        while (zset_next(&iter, &member, &score)) {
            lp_append(&lp, member);
            lp_put_score(&lp, lp_last(lp), score);
        }
        zset_ops.free(zset->encoding, zset->ptr);
        zset->encoding = ENC_LISTPACK;
        zset->ptr = lp;
    } else {
        mem_free(lp);
    }
}

/* ---- both encodings */

size_t zset_length(const struct value *zset) {
    return zset_ops.length(zset->encoding, zset->ptr);
}

bool zset_score(const struct value *zset, struct slice member, double *score) {
    if (zset->encoding == ENC_LISTPACK) {
        uint32_t at = lp_member(zset->ptr, member);
        if (at != LP_NONE) *score = lp_score(zset->ptr, lp_next(zset->ptr, at));
        return at != LP_NONE;
    }
    const struct zset *big = zset->ptr;
    const struct zitem *item = table_find(&big->members, member);
    if (item) *score = item->score;
    return item != NULL;
}

bool zset_rank(const struct value *zset, struct slice member, size_t *rank) {
    if (zset->encoding == ENC_LISTPACK) {
        const uint8_t *lp = zset->ptr;
        size_t n = 0;
        for (uint32_t at = lp_first(lp); at != LP_NONE; at = lp_next(lp, lp_next(lp, at)), n++) {
            if (!lp_equal(lp, at, member)) continue;
            *rank = n;
            return true;
        }
        return false;
    }
    const struct zset *big = zset->ptr;
    const struct zitem *item = table_find(&big->members, member);
    if (item) *rank = ztree_rank(&big->order, item->score, member);
    return item != NULL;
}

static bool add_to_big(struct zset *big, struct slice member, double score) {
    struct zitem *item = table_find(&big->members, member);
    if (!item) {
        big_insert(big, item_new(member, score));
        return true;
    }
    if (zscore_same(item->score, score)) return false;
    table_edit(&big->members, item);
    ztree_remove(&big->order, item);
    item->score = score;
    ztree_add(&big->order, item);
    return false;
}

bool zset_add(struct value *zset, const struct type_limits *limits, struct slice member,
              double score) {
    ASSERT(!isnan(score));
    if (zset->encoding == ENC_LISTPACK) {
        uint8_t *lp = zset->ptr;
        uint32_t at = lp_member(lp, member);
        bool fits = !over_limit(lp_count(lp) / 2 + 1, limits->zset_max_listpack_entries) &&
                    !over_limit(member.size, limits->zset_max_listpack_value) &&
                    lp_fits(lp, member.size + NUMBER_TEXT, 2);
        if (at != LP_NONE) {
            if (lp_score(lp, lp_next(lp, at)) != score) {
                lp_delete(&lp, at, 2);
                lp_put(&lp, member, score);
            }
        } else if (fits) {
            lp_put(&lp, member, score);
        }
        zset->ptr = lp;
        if (at != LP_NONE || fits) return at == LP_NONE;
        convert(zset);
    }
    return add_to_big(zset->ptr, member, score);
}

static void big_remove(struct zset *big, struct zitem *item) {
    ztree_remove(&big->order, item);
    void *taken = table_take(&big->members, zitem_member(item));
    ASSERT(taken == item);
    mem_free(item);
}

bool zset_remove(struct value *zset, struct slice member) {
    if (zset->encoding == ENC_LISTPACK) {
        uint8_t *lp = zset->ptr;
        uint32_t at = lp_member(lp, member);
        if (at == LP_NONE) return false;
        lp_delete(&lp, at, 2);
        zset->ptr = lp;
        return true;
    }
    struct zset *big = zset->ptr;
    struct zitem *item = table_find(&big->members, member);
    if (item) big_remove(big, item);
    return item != NULL;
}

/* What stays goes into a new set, and what goes is freed elsewhere with the old one. */
static void keep_the_rest(struct value *zset, size_t rank, size_t count) {
    const struct zset *old = zset->ptr;
    struct value kept = with_tree();
    struct zset *big = kept.ptr;
    size_t length = old->order.count, n = 0;
    struct zitem **items = mem_alloc((length - count + 1) * sizeof *items);
    for (int part = 0; part < 2; part++) {
        size_t end = part ? length : rank;
        struct ztree_iter iter = ztree_iter_at(&old->order, part ? rank + count : 0, false);
        while (iter.rank < end) {
            const struct zitem *item = ztree_next(&iter);
            items[n] = item_new(zitem_member(item), item->score);
            table_add(&big->members, items[n++]);
        }
    }
    ztree_build(&big->order, items, n);
    mem_free(items);
    value_free(zset);
    *zset = kept;
}

void zset_remove_ranks(struct value *zset, size_t rank, size_t count) {
    ASSERT(rank <= zset_length(zset) && count <= zset_length(zset) - rank);
    if (count == 0) return;
    if (zset->encoding == ENC_LISTPACK) {
        uint8_t *lp = zset->ptr;
        lp_delete(&lp, lp_seek(lp, (int64_t)(2 * rank)), (uint32_t)(2 * count));
        zset->ptr = lp;
        return;
    }
    struct zset *big = zset->ptr;
    if (count >= REMOVE_MANY && count > big->order.count / 2) {
        keep_the_rest(zset, rank, count);
        return;
    }
    while (count-- > 0) big_remove(big, ztree_at(&big->order, rank));
}

struct below {
    zset_below_fn *below;
    const void *bound;
};

static bool item_below(const struct zitem *item, const void *bound) {
    const struct below *b = bound;
    return b->below(zitem_member(item), item->score, b->bound);
}

size_t zset_count_below(const struct value *zset, zset_below_fn *below, const void *bound) {
    if (zset->encoding == ENC_SKIPLIST) {
        const struct zset *big = zset->ptr;
        struct below b = {below, bound};
        return ztree_count_below(&big->order, item_below, &b);
    }
    struct zset_iter iter;
    struct slice member;
    double score;
    size_t count = 0;
    zset_iter_init(&iter, zset, 0, false);
    while (zset_next(&iter, &member, &score) && below(member, score, bound)) count++;
    return count;
}

size_t zset_count_score(const struct value *zset, double score, bool up_to) {
    if (zset->encoding == ENC_SKIPLIST) {
        const struct zset *big = zset->ptr;
        return ztree_count_score(&big->order, score, up_to);
    }
    const uint8_t *lp = zset->ptr;
    size_t count = 0;
    for (uint32_t at = lp_first(lp); at != LP_NONE; count++) {
        uint32_t score_at = lp_next(lp, at);
        double found = lp_score(lp, score_at);
        if (up_to ? found > score : found >= score) break;
        at = lp_next(lp, score_at);
    }
    return count;
}

void zset_iter_init(struct zset_iter *iter, const struct value *zset, size_t rank, bool backward) {
    *iter = (struct zset_iter){.zset = zset, .backward = backward};
    if (zset->encoding == ENC_SKIPLIST) {
        const struct zset *big = zset->ptr;
        iter->tree = ztree_iter_at(&big->order, rank, backward);
    } else if (rank < lp_count(zset->ptr) / 2) {
        iter->at = lp_seek(zset->ptr, (int64_t)(2 * rank));
    }
}

bool zset_next(struct zset_iter *iter, struct slice *member, double *score) {
    if (iter->zset->encoding == ENC_SKIPLIST) {
        const struct zitem *item = ztree_next(&iter->tree);
        if (!item) return false;
        *member = zitem_member(item);
        *score = item->score;
        return true;
    }
    const uint8_t *lp = iter->zset->ptr;
    if (iter->at == LP_NONE) return false;
    uint32_t score_at = lp_next(lp, iter->at);
    *member = lp_text(lp, iter->at, iter->scratch);
    *score = lp_score(lp, score_at);
    if (iter->backward) {
        uint32_t before = lp_prev(lp, iter->at);
        iter->at = before == LP_NONE ? LP_NONE : lp_prev(lp, before);
    } else {
        iter->at = lp_next(lp, score_at);
    }
    return true;
}

struct slice zset_random(const struct value *zset, struct rng *rng, double *score,
                         char scratch[LP_TEXT_SIZE]) {
    if (zset->encoding == ENC_LISTPACK) {
        const uint8_t *lp = zset->ptr;
        uint32_t at = lp_seek(lp, (int64_t)(2 * rng_below(rng, lp_count(lp) / 2)));
        *score = lp_score(lp, lp_next(lp, at));
        return lp_text(lp, at, scratch);
    }
    const struct zset *big = zset->ptr;
    const struct zitem *item = ztree_at(&big->order, rng_below(rng, big->order.count));
    *score = item->score;
    return zitem_member(item);
}

struct scan {
    zset_visit_fn *visit;
    void *ctx;
};

static void scan_item(void *ctx, void *item) {
    struct scan *scan = ctx;
    const struct zitem *i = item;
    scan->visit(scan->ctx, zitem_member(i), i->score);
}

uint64_t zset_scan(const struct value *zset, uint64_t cursor, size_t want, zset_visit_fn *visit,
                   void *ctx) {
    if (zset->encoding == ENC_LISTPACK) {
        struct zset_iter iter;
        struct slice member;
        double score;
        zset_iter_init(&iter, zset, 0, false);
        while (zset_next(&iter, &member, &score)) visit(ctx, member, score);
        return 0;
    }
    struct zset *big = zset->ptr;
    struct scan scan = {visit, ctx};
    return table_scan_many(&big->members, cursor, want, scan_item, &scan);
}

/* ---- what every type must be able to do */

static void ops_free(enum encoding encoding, void *ptr) {
    if (encoding == ENC_SKIPLIST) {
        struct zset *big = ptr;
        ztree_close(&big->order);
        table_close_items(&big->members);
    }
    mem_free(ptr);
}

static size_t ops_length(enum encoding encoding, const void *ptr) {
    if (encoding == ENC_LISTPACK) return lp_count(ptr) / 2;
    return ((const struct zset *)ptr)->order.count;
}

static size_t ops_effort(enum encoding encoding, const void *ptr) {
    return encoding == ENC_SKIPLIST ? ops_length(encoding, ptr) : 1;
}

static void *ops_copy(enum encoding encoding, const void *ptr) {
    if (encoding == ENC_LISTPACK) return mem_dup(ptr, lp_bytes(ptr));
    const struct zset *big = ptr;
    struct zset *copy = with_tree().ptr;
    struct ztree_iter iter = ztree_iter_at(&big->order, 0, false);
    size_t count = big->order.count, n = 0;
    struct zitem **items = mem_alloc((count + 1) * sizeof *items), *item;
    while ((item = ztree_next(&iter))) {
        items[n] = item_new(zitem_member(item), item->score);
        table_add(&copy->members, items[n++]);
    }
    ztree_build(&copy->order, items, n);
    mem_free(items);
    return copy;
}

static size_t ops_memory(enum encoding encoding, const void *ptr, size_t samples) {
    if (encoding == ENC_LISTPACK) return mem_size(ptr);
    const struct zset *big = ptr;
    struct ztree_iter iter = ztree_iter_at(&big->order, 0, false);
    size_t seen = 0, bytes = 0;
    const void *item;
    while ((samples == 0 || seen < samples) && (item = ztree_next(&iter))) {
        bytes += mem_size(item);
        seen++;
    }
    return mem_size(ptr) + table_memory(&big->members) + ztree_bytes(&big->order) +
           (seen ? bytes * big->order.count / seen : 0);
}

static struct value_watch **ops_watch(enum encoding encoding, void *ptr) {
    return encoding == ENC_SKIPLIST ? &((struct zset *)ptr)->members.watch : NULL;
}

const struct value_ops zset_ops = {ops_free,   ops_effort, ops_copy,
                                   ops_memory, ops_length, ops_watch};

struct table *zset_members(const struct value *zset) {
    ASSERT(zset->encoding == ENC_SKIPLIST);
    return &((struct zset *)zset->ptr)->members;
}

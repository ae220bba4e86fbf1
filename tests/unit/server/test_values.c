/* test_values.c -- hashes, sets and sorted sets, small and big, against simple arrays. */
#include "server/hash.h"
#include "server/set.h"
#include "server/zset.h"

#include "lib/base/mem.h"
#include "lib/base/rand.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MOST 2000

struct row {
    char name[80], value[80];
    double score;
    bool seen;
};

struct model {
    struct row rows[MOST];
    size_t count;
};

static struct model model;

static struct row *model_find(const char *name) {
    for (size_t i = 0; i < model.count; i++)
        if (strcmp(model.rows[i].name, name) == 0) return &model.rows[i];
    return NULL;
}

static bool model_remove(const char *name) {
    struct row *row = model_find(name);
    if (row) *row = model.rows[--model.count];
    return row != NULL;
}

static struct row *model_put(const char *name) {
    struct row *row = model_find(name);
    if (row) return row;
    assert_true(model.count < MOST);
    row = &model.rows[model.count++];
    *row = (struct row){.seen = false};
    snprintf(row->name, sizeof row->name, "%s", name);
    return row;
}

static void text_make(struct rng *rng, uint64_t range, bool numbers, char text[80]) {
    unsigned long long n = rng_below(rng, range);
    if (numbers) {
        snprintf(text, 80, "%lld", (long long)n - 50);
    } else {
        snprintf(text, 80, "%s%llu", rng_below(rng, 2) ? "" : "long-name-", n);
    }
}

static void mark(struct slice name) {
    char text[80];
    assert_true(name.size < sizeof text);
    memcpy(text, name.data, name.size);
    text[name.size] = '\0';
    struct row *row = model_find(text);
    assert_non_null(row);
    row->seen = true;
}

static void assert_all_seen(void) {
    for (size_t i = 0; i < model.count; i++) {
        assert_true(model.rows[i].seen);
        model.rows[i].seen = false;
    }
}

/* ---- hash */

static void visit_field(void *ctx, struct slice field, struct slice value) {
    (void)ctx;
    (void)value;
    mark(field);
}

static void hash_compare(const struct value *hash, struct rng *rng) {
    struct hash_iter iter;
    struct slice field, value;
    char scratch[2][LP_TEXT_SIZE];
    size_t count = 0;
    assert_int_equal(hash_length(hash), model.count);
    hash_iter_init(&iter, hash);
    while (hash_next(&iter, &field, &value)) {
        mark(field);
        count++;
    }
    assert_int_equal(count, model.count);
    assert_all_seen();
    uint64_t cursor = 0;
    do cursor = hash_scan(hash, cursor, 7, visit_field, NULL);
    while (cursor);
    assert_all_seen();
    for (size_t i = 0; i < model.count; i++) {
        assert_true(hash_get(hash, slice_text(model.rows[i].name), &value, scratch[0]));
        assert_true(slice_equal(value, slice_text(model.rows[i].value)));
    }
    if (model.count == 0) return;
    hash_random(hash, rng, &field, &value, scratch);
    mark(field);
    for (size_t i = 0; i < model.count; i++) model.rows[i].seen = false;
}

static void hash_run(uint64_t seed, const struct type_limits *limits, uint64_t range) {
    struct rng rng = rng_from(seed);
    struct value hash = hash_new();
    char name[80], value[80];
    model.count = 0;
    for (int i = 0; i < 6000; i++) {
        bool growing = i % 2000 < 1300;
        text_make(&rng, range, false, name);
        text_make(&rng, 100000, rng_below(&rng, 2), value);
        if (rng_below(&rng, 10) < (growing ? 8 : 2)) {
            bool is_new = !model_find(name);
            assert_int_equal(hash_set(&hash, limits, slice_text(name), slice_text(value)), is_new);
            snprintf(model_put(name)->value, 80, "%s", value);
        } else {
            assert_int_equal(hash_remove(&hash, slice_text(name)), model_remove(name));
        }
        if (i % 500 == 0) hash_compare(&hash, &rng);
    }
    hash_compare(&hash, &rng);
    struct value copy = hash;
    copy.ptr = hash_ops.copy(hash.encoding, hash.ptr);
    hash_ops.free(hash.encoding, hash.ptr);
    hash_compare(&copy, &rng);
    hash_ops.free(copy.encoding, copy.ptr);
}

/* ---- set */

static void visit_member(void *ctx, struct slice member) {
    (void)ctx;
    mark(member);
}

static void set_compare(const struct value *set) {
    struct set_iter iter;
    struct slice member;
    assert_int_equal(set_length(set), model.count);
    set_iter_init(&iter, set);
    while (set_next(&iter, &member)) mark(member);
    assert_all_seen();
    uint64_t cursor = 0;
    do cursor = set_scan(set, cursor, 3, visit_member, NULL);
    while (cursor);
    assert_all_seen();
    for (size_t i = 0; i < model.count; i++)
        assert_true(set_has(set, slice_text(model.rows[i].name)));
    assert_false(set_has(set, SLICE("not there")));
}

static void set_run(uint64_t seed, const struct type_limits *limits, uint64_t range, bool numbers) {
    struct rng rng = rng_from(seed);
    struct value set = set_new();
    char name[80], scratch[SET_TEXT_SIZE];
    model.count = 0;
    for (int i = 0; i < 6000; i++) {
        text_make(&rng, range, numbers, name);
        uint64_t what = rng_below(&rng, 10);
        if (what < (i % 2000 < 1300 ? 8u : 2u)) {
            bool is_new = !model_find(name);
            assert_int_equal(set_add(&set, limits, slice_text(name)), is_new);
            model_put(name);
        } else if (what < 9 || model.count == 0) {
            assert_int_equal(set_remove(&set, slice_text(name)), model_remove(name));
        } else {
            struct slice member = set_random(&set, &rng, scratch);
            snprintf(name, sizeof name, "%.*s", (int)member.size, (const char *)member.data);
            assert_true(set_remove(&set, slice_text(name)) && model_remove(name));
        }
        if (i % 500 == 0) set_compare(&set);
    }
    set_compare(&set);
    struct value copy = set;
    copy.ptr = set_ops.copy(set.encoding, set.ptr);
    set_ops.free(set.encoding, set.ptr);
    set_compare(&copy);
    set_ops.free(copy.encoding, copy.ptr);
}

/* ---- sorted set */

static int row_compare(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? -1 : 1;
    return slice_compare(slice_text(x->name), slice_text(y->name));
}

static void visit_scored(void *ctx, struct slice member, double score) {
    (void)ctx;
    (void)score;
    mark(member);
}

static bool below(struct slice member, double score, const void *bound) {
    (void)member;
    return score < *(const double *)bound;
}

static void zset_compare(const struct value *zset, struct rng *rng) {
    struct zset_iter iter;
    struct slice member;
    double score;
    size_t rank;
    assert_int_equal(zset_length(zset), model.count);
    qsort(model.rows, model.count, sizeof model.rows[0], row_compare);
    zset_iter_init(&iter, zset, 0, false);
    for (size_t i = 0; i < model.count; i++) {
        assert_true(zset_next(&iter, &member, &score));
        assert_true(slice_equal(member, slice_text(model.rows[i].name)));
        assert_true(memcmp(&score, &model.rows[i].score, sizeof score) == 0);
        assert_true(zset_rank(zset, slice_text(model.rows[i].name), &rank) && rank == i);
    }
    assert_false(zset_next(&iter, &member, &score));
    uint64_t cursor = 0;
    do cursor = zset_scan(zset, cursor, 3, visit_scored, NULL);
    while (cursor);
    assert_all_seen();
    if (model.count == 0) return;
    size_t from = (size_t)rng_below(rng, model.count), before = 0;
    zset_iter_init(&iter, zset, from, true);
    for (size_t i = from + 1; i-- > 0;) {
        assert_true(zset_next(&iter, &member, &score));
        assert_true(slice_equal(member, slice_text(model.rows[i].name)));
    }
    assert_false(zset_next(&iter, &member, &score));
    while (before < model.count && model.rows[before].score < score) before++;
    assert_int_equal(zset_count_below(zset, below, &score), before);
    assert_int_equal(zset_count_score(zset, score, false), before);
    while (before < model.count && model.rows[before].score <= score) before++;
    assert_int_equal(zset_count_score(zset, score, true), before);
}

static double score_make(struct rng *rng) {
    switch (rng_below(rng, 6)) {
    case 0: return (double)rng_below(rng, 10);
    case 1: return (double)rng_next(rng) / 3;
    case 2: return rng_below(rng, 2) ? (double)INFINITY : -(double)INFINITY;
    case 3: return 0.1 * (double)rng_below(rng, 100);
    case 4: return -(double)(rng_next(rng) >> 3);
    default: return 1e-9 * (double)rng_below(rng, 1000);
    }
}

static void zset_run(uint64_t seed, const struct type_limits *limits, uint64_t range) {
    struct rng rng = rng_from(seed);
    struct value zset = zset_new(limits, 5);
    char name[80];
    model.count = 0;
    for (int i = 0; i < 6000; i++) {
        text_make(&rng, range, false, name);
        uint64_t what = rng_below(&rng, 40);
        if (what < (i % 2000 < 1300 ? 32u : 8u)) {
            double score = score_make(&rng);
            bool is_new = !model_find(name);
            assert_int_equal(zset_add(&zset, limits, slice_text(name), score), is_new);
            model_put(name)->score = score;
        } else if (what < 39 || model.count < 10) {
            assert_int_equal(zset_remove(&zset, slice_text(name)), model_remove(name));
        } else {
            qsort(model.rows, model.count, sizeof model.rows[0], row_compare);
            bool many = rng_below(&rng, 20) == 0;
            size_t from = (size_t)rng_below(&rng, many ? model.count / 4 : model.count - 5);
            size_t count = (size_t)rng_below(&rng, many ? model.count - from : 6);
            zset_remove_ranks(&zset, from, count);
            model.count -= count;
            memmove(&model.rows[from], &model.rows[from + count],
                    (model.count - from) * sizeof model.rows[0]);
        }
        if (i % 500 == 0) zset_compare(&zset, &rng);
    }
    zset_compare(&zset, &rng);
    struct value copy = zset;
    copy.ptr = zset_ops.copy(zset.encoding, zset.ptr);
    zset_ops.free(zset.encoding, zset.ptr);
    zset_compare(&copy, &rng);
    struct type_limits roomy = *limits;
    roomy.zset_max_listpack_entries = MOST;
    roomy.zset_max_listpack_value = 64;
    zset_compact(&copy, &roomy);
    assert_int_equal(copy.encoding, ENC_LISTPACK);
    zset_compare(&copy, &rng);
    copy = zset_adopt_listpack(limits, copy.ptr);
    zset_compare(&copy, &rng);
    zset_ops.free(copy.encoding, copy.ptr);
}

/* ---- the tests */

static const struct type_limits normal = TYPE_LIMITS_DEFAULT;
static const struct type_limits tiny = {.hash_max_listpack_entries = 4,
                                        .hash_max_listpack_value = 12,
                                        .set_max_intset_entries = 4,
                                        .zset_max_listpack_entries = 4,
                                        .zset_max_listpack_value = 12};

static uint64_t seed_shown(void) {
    uint64_t seed = rand_test_seed();
    print_message("seed %llu\n", (unsigned long long)seed);
    return seed;
}

static void test_random_changes_leave_a_hash_like_a_list_of_pairs(void **state) {
    (void)state;
    uint64_t seed = seed_shown();
    hash_run(seed, &normal, 40);
    hash_run(seed + 1, &normal, 600);
    hash_run(seed + 2, &tiny, 900);
}

static void test_random_changes_leave_a_set_like_a_list_of_names(void **state) {
    (void)state;
    uint64_t seed = seed_shown();
    set_run(seed, &normal, 300, true);
    set_run(seed + 1, &normal, 900, true);
    set_run(seed + 2, &tiny, 900, false);
}

static void test_random_changes_leave_a_sorted_set_like_a_sorted_array(void **state) {
    (void)state;
    uint64_t seed = seed_shown();
    value_register(TYPE_ZSET, &zset_ops); /* value_free() is used when most of a set goes */
    zset_run(seed, &normal, 60);
    zset_run(seed + 1, &normal, 400);
    zset_run(seed + 2, &tiny, 900);
}

static void test_encodings_change_where_redis_changes_them(void **state) {
    (void)state;
    struct value hash = hash_new();
    for (int i = 0; i < 513; i++) {
        char name[16];
        assert_int_equal(hash.encoding, ENC_LISTPACK);
        snprintf(name, sizeof name, "f%d", i);
        hash_set(&hash, &normal, slice_text(name), SLICE("v"));
    }
    assert_int_equal(hash.encoding, ENC_HASHTABLE);
    hash_ops.free(hash.encoding, hash.ptr);
    struct value set = set_new_for(SLICE("12"));
    assert_int_equal(set.encoding, ENC_INTSET);
    set_add(&set, &normal, SLICE("12"));
    set_add(&set, &normal, SLICE("012"));
    assert_int_equal(set.encoding, ENC_HASHTABLE);
    assert_true(set_has(&set, SLICE("12")) && set_has(&set, SLICE("012")));
    set_ops.free(set.encoding, set.ptr);
    struct value zset = zset_new(&normal, 64);
    assert_int_equal(zset.encoding, ENC_LISTPACK);
    for (int i = 0; i < 129; i++) {
        char name[16];
        assert_int_equal(zset.encoding, ENC_LISTPACK);
        snprintf(name, sizeof name, "m%d", i);
        zset_add(&zset, &normal, slice_text(name), i);
    }
    assert_int_equal(zset.encoding, ENC_SKIPLIST);
    zset_ops.free(zset.encoding, zset.ptr);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_changes_leave_a_hash_like_a_list_of_pairs),
        cmocka_unit_test(test_random_changes_leave_a_set_like_a_list_of_names),
        cmocka_unit_test(test_random_changes_leave_a_sorted_set_like_a_sorted_array),
        cmocka_unit_test(test_encodings_change_where_redis_changes_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_ztree.c -- the counted B+tree against a sorted array. */
#include "server/ztree.h"

#include "lib/base/mem.h"
#include "lib/base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MOST 3000

struct model {
    struct zitem *items[MOST];
    size_t count;
};

static int compare(const struct zitem *a, const struct zitem *b) {
    if (a->score != b->score) return a->score < b->score ? -1 : 1;
    return slice_compare(zitem_member(a), zitem_member(b));
}

static size_t model_place(const struct model *model, const struct zitem *item) {
    size_t at = 0;
    while (at < model->count && compare(model->items[at], item) < 0) at++;
    return at;
}

static struct zitem *item_new(struct rng *rng, unsigned id, unsigned scores) {
    char text[32];
    size_t size = (size_t)snprintf(text, sizeof text, "m%u", id);
    struct zitem *item = mem_alloc(sizeof *item + size);
    *item = (struct zitem){.size = (uint32_t)size, .score = (double)rng_below(rng, scores) - 5};
    memcpy(item->member, text, size);
    return item;
}

static void add(struct ztree *tree, struct model *model, struct zitem *item) {
    size_t at = model_place(model, item);
    memmove(&model->items[at + 1], &model->items[at], (model->count - at) * sizeof(void *));
    model->items[at] = item;
    model->count++;
    ztree_add(tree, item);
}

static void drop(struct ztree *tree, struct model *model, size_t at) {
    struct zitem *item = model->items[at];
    ztree_remove(tree, item);
    model->count--;
    memmove(&model->items[at], &model->items[at + 1], (model->count - at) * sizeof(void *));
    mem_free(item);
}

static bool score_below(const struct zitem *item, const void *bound) {
    return item->score < *(const double *)bound;
}

static void compare_all(const struct ztree *tree, const struct model *model, struct rng *rng) {
    ztree_check(tree);
    assert_int_equal(tree->count, model->count);
    struct ztree_iter iter = ztree_iter_at(tree, 0, false);
    for (size_t i = 0; i < model->count; i++) assert_ptr_equal(ztree_next(&iter), model->items[i]);
    assert_null(ztree_next(&iter));
    if (model->count == 0) return;
    size_t from = (size_t)rng_below(rng, model->count);
    iter = ztree_iter_at(tree, from, true);
    for (size_t i = from + 1; i-- > 0;) assert_ptr_equal(ztree_next(&iter), model->items[i]);
    assert_null(ztree_next(&iter));
    const struct zitem *item = model->items[from];
    assert_int_equal(ztree_rank(tree, item->score, zitem_member(item)), from);
    assert_ptr_equal(ztree_at(tree, from), item);
    size_t below = 0;
    while (below < model->count && model->items[below]->score < item->score) below++;
    assert_int_equal(ztree_count_below(tree, score_below, &item->score), below);
    assert_int_equal(ztree_count_score(tree, item->score, false), below);
    while (below < model->count && model->items[below]->score <= item->score) below++;
    assert_int_equal(ztree_count_score(tree, item->score, true), below);
}

static void run(uint64_t seed, unsigned scores, unsigned most) {
    struct rng rng = rng_from(seed);
    struct ztree tree = {0};
    static struct model model;
    unsigned id = 0;
    model.count = 0;
    for (int round = 0; round < 6; round++) {
        while (model.count < most) {
            add(&tree, &model, item_new(&rng, id++, scores));
            if (rng_below(&rng, 5) == 0) drop(&tree, &model, (size_t)rng_below(&rng, model.count));
            if (rng_below(&rng, 64) == 0) compare_all(&tree, &model, &rng);
        }
        compare_all(&tree, &model, &rng);
        bool in_order = round % 2; /* whole leaves become empty, or all become thin */
        while (model.count > (round == 5 ? 0 : most / 10)) {
            size_t at = in_order ? model.count / 3 : (size_t)rng_below(&rng, model.count);
            drop(&tree, &model, at);
            if (rng_below(&rng, 64) == 0) compare_all(&tree, &model, &rng);
        }
        compare_all(&tree, &model, &rng);
    }
    assert_null(tree.root);
    ztree_close(&tree);
}

static void test_random_changes_leave_the_tree_like_a_sorted_array(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    print_message("seed %llu\n", (unsigned long long)seed);
    run(seed, 1, 200);
    run(seed + 1, 10, 400);
    run(seed + 2, 1000000, 1500);
}

static void test_ascending_scores_leave_full_leaves(void **state) {
    (void)state;
    struct ztree tree = {0};
    struct rng rng = rng_from(1);
    struct zitem *items[2000];
    for (unsigned i = 0; i < 2000; i++) {
        items[i] = item_new(&rng, i, 1);
        items[i]->score = i;
        ztree_add(&tree, items[i]);
    }
    ztree_check(&tree);
    assert_true(tree.nodes <= 65 + 3 + 1);
    ztree_close(&tree);
    for (unsigned i = 0; i < 2000; i++) mem_free(items[i]);
}

static void test_building_at_once_gives_the_same_order(void **state) {
    (void)state;
    struct rng rng = rng_from(2);
    for (size_t count = 0; count < 1200; count = count * 3 / 2 + 1) {
        struct zitem *items[1200];
        struct ztree tree = {0};
        for (size_t i = 0; i < count; i++) {
            items[i] = item_new(&rng, (unsigned)i, 1);
            items[i]->score = (double)i / 2;
        }
        ztree_build(&tree, items, count);
        ztree_check(&tree);
        for (size_t i = 0; i < count; i++) assert_ptr_equal(ztree_at(&tree, i), items[i]);
        ztree_close(&tree);
        for (size_t i = 0; i < count; i++) mem_free(items[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_changes_leave_the_tree_like_a_sorted_array),
        cmocka_unit_test(test_ascending_scores_leave_full_leaves),
        cmocka_unit_test(test_building_at_once_gives_the_same_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

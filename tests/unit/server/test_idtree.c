/* test_idtree.c -- the ordered map of stream ids against a sorted array. */
#include "server/idtree.h"

#include "lib/base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MOST 4000

struct model {
    struct stream_id ids[MOST];
    size_t count;
};

static size_t model_place(const struct model *model, struct stream_id id) {
    size_t at = 0;
    while (at < model->count && stream_id_compare(model->ids[at], id) < 0) at++;
    return at;
}

static bool model_has(const struct model *model, struct stream_id id) {
    size_t at = model_place(model, id);
    return at < model->count && stream_id_compare(model->ids[at], id) == 0;
}

static void model_add(struct model *model, struct stream_id id) {
    size_t at = model_place(model, id);
    memmove(&model->ids[at + 1], &model->ids[at], (model->count - at) * sizeof *model->ids);
    model->ids[at] = id;
    model->count++;
}

static void model_remove(struct model *model, size_t at) {
    model->count--;
    memmove(&model->ids[at], &model->ids[at + 1], (model->count - at) * sizeof *model->ids);
}

/* An item that can be told from others. */
static void *item_of(struct stream_id id) {
    return (void *)(uintptr_t)(id.ms * 1000 + id.seq + 1);
}

static void compare_around(const struct idtree *tree, const struct model *model,
                           struct stream_id id) {
    struct stream_id found = {99, 99};
    size_t at = model_place(model, id);
    bool there = model_has(model, id);
    assert_ptr_equal(idtree_find(tree, id), there ? item_of(id) : NULL);
    void *from = idtree_from(tree, id, &found);
    assert_ptr_equal(from, at < model->count ? item_of(model->ids[at]) : NULL);
    if (from) assert_int_equal(stream_id_compare(found, model->ids[at]), 0);
    size_t up_to = at + there;
    void *last = idtree_up_to(tree, id, &found);
    assert_ptr_equal(last, up_to ? item_of(model->ids[up_to - 1]) : NULL);
    if (last) assert_int_equal(stream_id_compare(found, model->ids[up_to - 1]), 0);
}

static struct stream_id random_id(struct rng *rng, unsigned range) {
    return (struct stream_id){rng_below(rng, range), rng_below(rng, 3)};
}

static void play(struct rng *rng, struct idtree *tree, struct model *model, unsigned grow,
                 unsigned range) {
    struct stream_id id = random_id(rng, range);
    if (rng_below(rng, 100) < grow) {
        if (model->count == MOST) return;
        bool there = model_has(model, id);
        assert_int_equal(idtree_add(tree, id, item_of(id)), !there);
        if (!there) model_add(model, id);
    } else if (model->count > 0 && rng_below(rng, 4)) {
        size_t at = rng_below(rng, 3) ? 0 : rng_below(rng, model->count);
        id = model->ids[at];
        assert_ptr_equal(idtree_remove(tree, id), item_of(id));
        model_remove(model, at);
    } else if (!model_has(model, id)) {
        assert_null(idtree_remove(tree, id));
    }
    compare_around(tree, model, random_id(rng, range));
}

static void test_any_order_of_changes_gives_the_sorted_ids(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    printf("seed %llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    static struct model model;
    for (int round = 0; round < 20; round++) {
        struct idtree tree = {0};
        model.count = 0;
        unsigned range = 1 + (unsigned)rng_below(&rng, round % 2 ? 2000 : 60);
        for (int phase = 0; phase < 4; phase++)
            for (int i = 0; i < 1000; i++) {
                play(&rng, &tree, &model, phase % 2 ? 20 : 80, range);
                if (i % 100 == 0) idtree_check(&tree);
            }
        assert_int_equal(tree.count, model.count);
        while (model.count > 0) {
            assert_non_null(idtree_remove(&tree, model.ids[model.count / 2]));
            model_remove(&model, model.count / 2);
            if (model.count % 64 == 0) idtree_check(&tree);
        }
        assert_null(tree.root);
    }
}

static void test_appending_fills_nodes_and_the_front_can_be_eaten(void **state) {
    (void)state;
    struct idtree tree = {0};
    struct stream_id found;
    for (uint64_t i = 1; i <= 5000; i++)
        assert_true(idtree_add(&tree, (struct stream_id){i, 0}, item_of((struct stream_id){i, 0})));
    idtree_check(&tree);
    for (uint64_t i = 1; i <= 5000; i++) {
        assert_non_null(idtree_from(&tree, STREAM_ID_MIN, &found));
        assert_int_equal(found.ms, i);
        assert_non_null(idtree_remove(&tree, found));
    }
    assert_int_equal(tree.count, 0);
}

static void test_ids_count_over_the_border_and_stop_at_the_ends(void **state) {
    (void)state;
    struct stream_id id = {1, UINT64_MAX};
    assert_true(stream_id_next(&id));
    assert_true(id.ms == 2 && id.seq == 0);
    assert_true(stream_id_previous(&id));
    assert_true(id.ms == 1 && id.seq == UINT64_MAX);
    id = STREAM_ID_MAX;
    assert_false(stream_id_next(&id));
    assert_int_equal(stream_id_compare(id, STREAM_ID_MIN), 0);
    assert_false(stream_id_previous(&id));
    assert_int_equal(stream_id_compare(id, STREAM_ID_MAX), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_order_of_changes_gives_the_sorted_ids),
        cmocka_unit_test(test_appending_fills_nodes_and_the_front_can_be_eaten),
        cmocka_unit_test(test_ids_count_over_the_border_and_stop_at_the_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

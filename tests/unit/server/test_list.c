/* test_list.c -- lists against an array of strings, with small nodes and plain ones. */
#include "server/list.h"

#include "lib/base/mem.h"
#include "lib/base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MOST 600

struct model {
    char *items[MOST];
    size_t count;
};

static char *text_new(struct rng *rng) {
    char text[300];
    switch (rng_below(rng, 4)) {
    case 0:
        snprintf(text, sizeof text, "%lld", (long long)(rng_next(rng) >> rng_below(rng, 64)));
        break;
    case 1:
        snprintf(text, sizeof text, "-%llu", (unsigned long long)rng_below(rng, 1 << 20));
        break;
    case 2: snprintf(text, sizeof text, "%*s", (int)rng_below(rng, 250), "x"); break;
    default: snprintf(text, sizeof text, "e%llu", (unsigned long long)rng_below(rng, 9)); break;
    }
    return mem_strdup(text);
}

static void model_put(struct model *model, size_t at, char *text) {
    memmove(&model->items[at + 1], &model->items[at], (model->count - at) * sizeof(char *));
    model->items[at] = text;
    model->count++;
}

static void model_cut(struct model *model, size_t at, size_t count) {
    for (size_t i = 0; i < count; i++) mem_free(model->items[at + i]);
    model->count -= count;
    memmove(&model->items[at], &model->items[at + count], (model->count - at) * sizeof(char *));
}

static void assert_text(struct slice got, const char *want) {
    assert_int_equal(got.size, strlen(want));
    assert_memory_equal(got.data, want, got.size);
}

static void compare(struct list *list, const struct model *model, struct rng *rng) {
    struct slice got;
    list_check(list);
    assert_int_equal(list_count(list), model->count);
    struct list_iter iter = list_iter_at(list, 0, false);
    for (size_t i = 0; i < model->count; i++) {
        assert_true(list_next(&iter, &got));
        assert_text(got, model->items[i]);
    }
    assert_false(list_next(&iter, &got));
    if (model->count == 0) return;
    size_t from = (size_t)rng_below(rng, model->count);
    iter = list_iter_at(list, from, true);
    for (size_t i = from + 1; i-- > 0;) {
        assert_true(list_next(&iter, &got));
        assert_text(got, model->items[i]);
    }
    assert_false(list_next(&iter, &got));
}

/* Remove every element that equals one of them, walking either way, as LREM does. */
static void remove_equal(struct list *list, struct model *model, struct rng *rng) {
    char *text = mem_strdup(model->items[rng_below(rng, model->count)]);
    bool backward = rng_below(rng, 2);
    struct list_iter iter = list_iter_at(list, backward ? model->count - 1 : 0, backward);
    struct slice got;
    while (list_next(&iter, &got))
        if (slice_equal(got, slice_text(text))) list_iter_remove(&iter);
    for (size_t i = model->count; i-- > 0;)
        if (strcmp(model->items[i], text) == 0) model_cut(model, i, 1);
    mem_free(text);
}

static void change_one(struct list *list, const struct type_limits *limits, struct model *model,
                       struct rng *rng) {
    char *text = text_new(rng);
    size_t at = (size_t)rng_below(rng, model->count);
    struct list_iter iter = list_iter_at(list, at, rng_below(rng, 2));
    struct slice got;
    assert_true(list_next(&iter, &got));
    if (rng_below(rng, 2)) {
        list_iter_replace(&iter, limits, slice_text(text));
        mem_free(model->items[at]);
        model->items[at] = text;
    } else {
        bool after = rng_below(rng, 2);
        list_iter_insert(&iter, limits, after ? LP_AFTER : LP_BEFORE, slice_text(text));
        model_put(model, at + after, text);
    }
}

static void step(struct list *list, const struct type_limits *limits, struct model *model,
                 struct rng *rng) {
    uint64_t what = rng_below(rng, 20);
    if (model->count == 0 || (what < 10 && model->count < MOST - 2)) {
        char *text = text_new(rng);
        bool tail = rng_below(rng, 2);
        list_push(list, limits, tail ? LIST_TAIL : LIST_HEAD, slice_text(text));
        model_put(model, tail ? model->count : 0, text);
    } else if (what < 16 && model->count < MOST - 2) {
        change_one(list, limits, model, rng);
    } else if (what < 18) {
        size_t at = (size_t)rng_below(rng, model->count);
        size_t most = model->count - at < 12 || what == 17 ? model->count - at : 12;
        size_t count =
            (size_t)rng_below(rng, rng_below(rng, 20) ? (most < 12 ? most : 12) + 1 : most + 1);
        list_remove(list, at, count);
        model_cut(model, at, count);
    } else {
        remove_equal(list, model, rng);
    }
}

static void run(uint64_t seed, int64_t node_size, int64_t plain) {
    struct rng rng = rng_from(seed);
    struct type_limits limits = TYPE_LIMITS_DEFAULT;
    struct list *list = list_new();
    static struct model model;
    limits.list_max_listpack_size = node_size;
    limits.list_packed_threshold = plain;
    for (int i = 0; i < 4000; i++) {
        step(list, &limits, &model, &rng);
        if (i % 16 == 0) compare(list, &model, &rng);
    }
    compare(list, &model, &rng);
    struct list *copy = list_copy(list);
    compare(copy, &model, &rng);
    list_free(copy);
    list_remove(list, 0, list_count(list));
    assert_int_equal(list_nodes(list), 0);
    model_cut(&model, 0, model.count);
    list_free(list);
}

static void test_random_changes_leave_the_list_like_an_array(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    print_message("seed %llu\n", (unsigned long long)seed);
    run(seed, 1, 1 << 30);
    run(seed + 1, 5, 1 << 30);
    run(seed + 2, -1, 1 << 30);
    run(seed + 3, -2, 1 << 30);
    run(seed + 4, 7, 100);
    run(seed + 5, 3, 1);
}

static void test_nodes_keep_to_their_limit(void **state) {
    (void)state;
    struct type_limits limits = TYPE_LIMITS_DEFAULT;
    struct list *list = list_new();
    limits.list_max_listpack_size = 10;
    for (int i = 0; i < 1000; i++) list_push(list, &limits, LIST_TAIL, SLICE("element"));
    assert_int_equal(list_nodes(list), 100);
    bool plain;
    for (const struct list_node *n = NULL; (n = list_node_next(list, n));)
        assert_int_equal(lp_count(list_node_bytes(n, &plain).data), 10);
    list_free(list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_changes_leave_the_list_like_an_array),
        cmocka_unit_test(test_nodes_keep_to_their_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

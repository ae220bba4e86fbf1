/* test_xstream.c -- streams against an array of entries: adding, deleting, trimming, walking, and
 * out into a DUMP payload and in again. */
#include "lib/base/mem.h"
#include "lib/base/rand.h"
#include "lib/redis/dump.h"
#include "server/value_rdb.h"
#include "server/xstream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MOST 3000

struct model {
    struct stream_id ids[MOST];
    uint64_t values[MOST];
    size_t count;
};

static void model_remove(struct model *m, size_t at, size_t count) {
    m->count -= count;
    memmove(&m->ids[at], &m->ids[at + count], (m->count - at) * sizeof *m->ids);
    memmove(&m->values[at], &m->values[at + count], (m->count - at) * sizeof *m->values);
}

static void append(struct rng *rng, struct xstream *s, struct model *m,
                   const struct type_limits *limits) {
    static const char *const names[] = {"field", "f", "7"};
    if (m->count == MOST) return;
    char value[24];
    struct stream_id id = {s->last_id.ms + rng_below(rng, 3), rng_below(rng, 1000)};
    if (stream_id_compare(id, s->last_id) <= 0) id.ms = s->last_id.ms + 1;
    uint64_t number = rng_next(rng) >> rng_below(rng, 64);
    int size = snprintf(value, sizeof value, "%llu", (unsigned long long)number);
    struct slice argv[4] = {slice_text(names[rng_below(rng, 8) ? 0 : rng_below(rng, 3)]),
                            slice_from(value, (size_t)size), SLICE("more"), SLICE("x")};
    xstream_append(s, limits, id, argv, rng_below(rng, 9) ? 1 : 2);
    m->ids[m->count] = id;
    m->values[m->count++] = number;
}

static size_t first_from(const struct model *m, struct stream_id id) {
    size_t at = 0;
    while (at < m->count && stream_id_compare(m->ids[at], id) < 0) at++;
    return at;
}

static void remove_some(struct rng *rng, struct xstream *s, struct model *m) {
    struct stream_id id = {rng_below(rng, s->last_id.ms + 2), rng_below(rng, 1000)};
    if (m->count && rng_below(rng, 5)) id = m->ids[rng_below(rng, m->count)];
    size_t at = first_from(m, id);
    bool there = at < m->count && stream_id_compare(m->ids[at], id) == 0;
    assert_int_equal(xstream_delete(s, id), there);
    if (there) model_remove(m, at, 1);
    xstream_refresh_first(s);
}

static void trim(struct rng *rng, struct xstream *s, struct model *m) {
    struct xstream_trim how = {.by_id = rng_below(rng, 2), .approximately = rng_below(rng, 2)};
    how.length = rng_below(rng, m->count + 20);
    how.min_id = m->count ? m->ids[rng_below(rng, m->count)] : (struct stream_id){5, 5};
    if (how.approximately && rng_below(rng, 2)) how.limit = 1 + rng_below(rng, 60);
    size_t exact =
        how.by_id ? first_from(m, how.min_id) : (m->count > how.length ? m->count - how.length : 0);
    uint64_t deleted = xstream_trim(s, &how);
    if (how.approximately)
        assert_true(deleted <= exact);
    else
        assert_int_equal(deleted, exact);
    if (how.limit) assert_true(deleted <= how.limit);
    model_remove(m, 0, deleted);
}

static void compare_walk(struct rng *rng, const struct xstream *s, const struct model *m) {
    bool backward = rng_below(rng, 2);
    struct stream_id from = {rng_below(rng, s->last_id.ms + 2), rng_below(rng, 1000)};
    struct stream_id up_to = {from.ms + rng_below(rng, 50), rng_below(rng, 1000)};
    if (rng_below(rng, 3) == 0) from = STREAM_ID_MIN, up_to = STREAM_ID_MAX;
    size_t low = first_from(m, from), high = low;
    while (high < m->count && stream_id_compare(m->ids[high], up_to) <= 0) high++;
    struct xstream_iter iter;
    struct xstream_entry entry;
    xstream_iter_init(&iter, s, from, up_to, backward);
    size_t seen = 0;
    for (; xstream_next(&iter, &entry); seen++) {
        assert_true(seen < high - low);
        size_t at = backward ? high - 1 - seen : low + seen;
        assert_int_equal(stream_id_compare(entry.id, m->ids[at]), 0);
        struct slice field, value;
        char text[24];
        int size = snprintf(text, sizeof text, "%llu", (unsigned long long)m->values[at]);
        assert_true(rdb_fields_next(&entry.fields, &field, &value));
        assert_true(slice_equal(value, slice_from(text, (size_t)size)));
    }
    assert_int_equal(seen, high - low);
}

static void compare(const struct xstream *s, const struct model *m) {
    struct stream_id id;
    assert_int_equal(s->length, m->count);
    idtree_check(&s->nodes);
    assert_int_equal(xstream_edge(s, false, &id), m->count > 0);
    if (m->count == 0) {
        assert_int_equal(stream_id_compare(s->first_id, STREAM_ID_MIN), 0);
        return;
    }
    assert_int_equal(stream_id_compare(id, m->ids[0]), 0);
    assert_int_equal(stream_id_compare(s->first_id, m->ids[0]), 0);
    assert_true(xstream_edge(s, true, &id));
    assert_int_equal(stream_id_compare(id, m->ids[m->count - 1]), 0);
}

static void groups(struct rng *rng, struct xstream *s, const struct model *m) {
    static const char *const names[] = {"g1", "g2", ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct xstream_group *group = xstream_group_add(s, slice_text(names[i]), s->last_id, 3);
        if (group == NULL) continue;
        struct xstream_consumer *a = xstream_consumer_add(group, SLICE("anna"), 5);
        struct xstream_consumer *b = xstream_consumer_add(group, SLICE("bert"), 6);
        for (size_t j = 0; j < m->count; j += 1 + rng_below(rng, 5)) {
            struct xstream_pending *p =
                xstream_pending_give(group, m->ids[j], rng_below(rng, 2) ? a : b);
            p->delivered_ms = (int64_t)rng_below(rng, 1u << 30);
            p->deliveries = rng_below(rng, 5);
        }
        if (rng_below(rng, 4) == 0) xstream_consumer_remove(group, a);
        for (size_t j = 0; j < m->count; j += 7) (void)xstream_pending_drop(group, m->ids[j]);
    }
}

static enum err keep(void *self, const struct rdb_key *key, const struct value *value,
                     struct why *why) {
    (void)key, (void)why;
    *(struct value *)self = *value;
    return OK;
}

static void dump(const struct value *value, struct buf *payload) {
    struct buf body = {0};
    value_put(&body, value, true);
    dump_put(payload, value_rdb_type(value), buf_slice(&body));
    buf_close(&body);
}

static void out_and_in(struct xstream *s, const struct type_limits *limits) {
    struct value value = value_container(TYPE_STREAM, ENC_STREAM, s), back;
    struct buf first = {0}, second = {0};
    struct value_builder builder;
    struct rdb_key key = {.key = SLICE("k"), .expire_at_ms = -1, .idle_s = -1, .freq = -1};
    struct why why;
    dump(&value, &first);
    value_builder_init(&builder, limits, &back, keep);
    if (dump_read(buf_slice(&first), RDB_LIMITS_DEFAULT, &key, &builder.handler, &why))
        fail_msg("%s", why.text);
    struct value copy =
        value_container(TYPE_STREAM, ENC_STREAM, xstream_ops.copy(ENC_STREAM, back.ptr));
    xstream_free(back.ptr);
    dump(&copy, &second);
    assert_true(slice_equal(buf_slice(&first), buf_slice(&second)));
    xstream_free(copy.ptr);
    buf_close(&first);
    buf_close(&second);
}

static void test_a_stream_is_the_array_of_its_entries(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    printf("seed %llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    static struct model model;
    for (int round = 0; round < 30; round++) {
        struct type_limits limits = TYPE_LIMITS_DEFAULT;
        limits.stream_node_max_entries = (int64_t)rng_below(&rng, 30);
        if (round % 3 == 0) limits.stream_node_max_bytes = (int64_t)rng_below(&rng, 300);
        struct xstream *s = xstream_new();
        model.count = 0;
        for (int i = 0; i < 600; i++) {
            uint64_t what = rng_below(&rng, 100);
            if (what < 65)
                append(&rng, s, &model, &limits);
            else if (what < 90)
                remove_some(&rng, s, &model);
            else if (what < 92)
                trim(&rng, s, &model);
            if (i % 20 == 0) compare(s, &model);
            if (i % 10 == 0) compare_walk(&rng, s, &model);
        }
        groups(&rng, s, &model);
        out_and_in(s, &limits);
        xstream_free(s);
    }
}

static void test_a_group_knows_its_lag_while_nothing_was_deleted_before_it(void **state) {
    (void)state;
    const struct type_limits limits = TYPE_LIMITS_DEFAULT;
    struct slice argv[2] = {SLICE("f"), SLICE("v")};
    struct xstream *s = xstream_new();
    struct xstream_group *group =
        xstream_group_add(s, SLICE("g"), STREAM_ID_MIN, ENTRIES_READ_UNKNOWN);
    int64_t lag = -1;
    assert_true(xstream_lag(s, group, &lag));
    assert_int_equal(lag, 0);
    for (uint64_t i = 1; i <= 5; i++) xstream_append(s, &limits, (struct stream_id){i, 0}, argv, 1);
    assert_true(xstream_lag(s, group, &lag));
    assert_int_equal(lag, 5);
    xstream_group_advance(s, group, (struct stream_id){1, 0});
    assert_int_equal(group->entries_read, 1);
    assert_true(xstream_delete(s, (struct stream_id){3, 0}));
    s->max_deleted_id = (struct stream_id){3, 0};
    assert_false(xstream_lag(s, group, &lag));
    for (uint64_t i = 2; i <= 5; i++)
        if (i != 3) xstream_group_advance(s, group, (struct stream_id){i, 0});
    assert_true(xstream_lag(s, group, &lag));
    assert_int_equal(lag, 0);
    xstream_free(s);
}

static void test_entries_that_no_node_could_hold_are_refused(void **state) {
    (void)state;
    static const uint8_t byte;
    struct slice argv[2] = {SLICE("f"), slice_from(&byte, (size_t)1 << 30)};
    assert_false(xstream_takes(argv, 1)); /* only sizes are looked at */
    argv[1].size = 1;
    assert_true(xstream_takes(argv, 1));
}

static void test_an_id_that_was_deleted_and_comes_again_is_found(void **state) {
    (void)state;
    struct type_limits limits = {.stream_node_max_entries = 100};
    struct slice argv[2] = {SLICE("f"), SLICE("v")};
    struct xstream *s = xstream_new();
    struct xstream_entry entry;
    for (uint64_t i = 1; i <= 5; i++) xstream_append(s, &limits, (struct stream_id){i, 0}, argv, 1);
    for (uint64_t i = 3; i <= 5; i++) assert_true(xstream_delete(s, (struct stream_id){i, 0}));
    s->last_id = (struct stream_id){2, 0}; /* as XSETID does */
    xstream_append(s, &limits, (struct stream_id){3, 0}, argv, 1);
    assert_true(xstream_find(s, (struct stream_id){3, 0}, &entry));
    assert_false(xstream_find(s, (struct stream_id){4, 0}, &entry));
    xstream_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stream_is_the_array_of_its_entries),
        cmocka_unit_test(test_a_group_knows_its_lag_while_nothing_was_deleted_before_it),
        cmocka_unit_test(test_an_id_that_was_deleted_and_comes_again_is_found),
        cmocka_unit_test(test_entries_that_no_node_could_hold_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

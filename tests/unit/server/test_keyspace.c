/* test_keyspace.c -- the keyspace against a model: values in all forms, expiry, scans, the
 * observer. */
#include "server/start.h"

#include "lib/base/mem.h"
#include "server/helper.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define KEYS 3000
#define TEXT_MAX 400

static struct engine *engine;
static struct rng rng;

struct model {
    bool present, seen;
    char key[300];
    size_t key_size;
    uint8_t text[TEXT_MAX];
    size_t size;
    int64_t expiry_ms;
};
static struct model model[KEYS];

static struct slice key_of(const struct model *m) {
    return slice_from(m->key, m->key_size);
}

static void forget_model(void) {
    for (size_t i = 0; i < KEYS; i++) {
        model[i] = (struct model){.expiry_ms = -1};
        model[i].key_size = (size_t)snprintf(model[i].key, sizeof model[i].key, "%s%zu",
                                             i % 7 ? "key:" : "{tag}", i);
        if (i % 50 == 0) model[i].key_size = 280; /* a long key: its size has a field of its own */
    }
}

/* Numbers, short and long texts. */
static void random_text(struct model *m) {
    if (rng_below(&rng, 3) == 0) {
        m->size = (size_t)snprintf((char *)m->text, TEXT_MAX, "%" PRId64, (int64_t)rng_next(&rng));
        return;
    }
    m->size = rng_below(&rng, rng_below(&rng, 4) ? 140 : TEXT_MAX);
    for (size_t i = 0; i < m->size; i++) m->text[i] = (uint8_t)rng_next(&rng);
}

static struct model *model_of(const struct entry *e) {
    for (size_t i = 0; i < KEYS; i++)
        if (slice_equal(entry_key(e), key_of(&model[i]))) return &model[i];
    fail();
    return NULL;
}

static void check(struct db *db, const struct model *m) {
    struct entry *e = db_find(db, key_of(m));
    assert_int_equal(e != NULL, m->present);
    if (e == NULL) return;
    char scratch[ENTRY_INT_TEXT];
    assert_true(slice_equal(entry_key(e), key_of(m)));
    assert_true(slice_equal(entry_string(e, scratch), slice_from(m->text, m->size)));
    assert_int_equal(entry_expiry(e), m->expiry_ms);
}

static void set(struct db *db, struct model *m) {
    bool keep = rng_below(&rng, 2);
    int64_t expiry_ms = rng_below(&rng, 2) ? -1 : (int64_t)rng_below(&rng, 1u << 30);
    random_text(m);
    struct value value = value_string(slice_from(m->text, m->size));
    (void)db_set(db, key_of(m), &value, expiry_ms, keep);
    if (!keep || !m->present) m->expiry_ms = expiry_ms;
    m->present = true;
}

static void edit(struct db *db, struct model *m) {
    size_t size = rng_below(&rng, TEXT_MAX);
    uint8_t *bytes;
    struct entry *e = db_string_edit(db, db_find(db, key_of(m)), size, &bytes);
    if (size > m->size) memset(m->text + m->size, 0, size - m->size);
    m->size = size;
    assert_int_equal(entry_string_size(e), size);
    assert_int_equal(entry_encoding(e), ENC_RAW);
    if (size > 0) bytes[size - 1] = m->text[size - 1] = 'x';
}

static void rename_key(struct db *db, struct model *from, struct model *to) {
    struct value value;
    int64_t expiry_ms;
    void *text;
    assert_true(db_take(db, key_of(from), &value, &expiry_ms, &text));
    (void)db_set(db, key_of(to), &value, expiry_ms, false);
    mem_free(text);
    memcpy(to->text, from->text, from->size);
    to->size = from->size;
    to->expiry_ms = from->expiry_ms;
    to->present = true;
    from->present = false;
    from->expiry_ms = -1;
}

static void random_step(struct db *db) {
    struct model *m = &model[rng_below(&rng, KEYS)], *other = &model[rng_below(&rng, KEYS)];
    check(db, m);
    switch (rng_below(&rng, 7)) {
    case 0:
    case 1: set(db, m); break;
    case 2:
        assert_int_equal(db_delete(db, key_of(m)), m->present);
        m->present = false;
        m->expiry_ms = -1;
        break;
    case 3:
        if (m->present) edit(db, m);
        break;
    case 4:
        if (!m->present) break;
        m->expiry_ms = rng_below(&rng, 2) ? -1 : (int64_t)rng_below(&rng, 1u << 30);
        (void)db_set_expiry(db, db_find(db, key_of(m)), m->expiry_ms);
        break;
    case 5:
        if (m->present && m != other) rename_key(db, m, other);
        break;
    default:
        if (!m->present) break;
        random_text(m);
        struct value value = value_string(slice_from(m->text, m->size));
        (void)db_string_set(db, db_find(db, key_of(m)), &value);
    }
    check(db, m);
    check(db, other);
}

static void see(void *ctx, struct entry *e) {
    (void)ctx;
    for (size_t i = 0; i < KEYS; i++)
        if (slice_equal(entry_key(e), key_of(&model[i]))) model[i].seen = true;
}

static uint64_t present(uint64_t *expiring) {
    uint64_t count = *expiring = 0;
    for (size_t i = 0; i < KEYS; i++) {
        count += model[i].present;
        *expiring += model[i].expiry_ms != -1;
    }
    return count;
}

static int64_t take_due(void *ctx, void *item) {
    struct entry *e = item;
    if (!entry_expires(e)) return INT64_MAX;
    if (entry_expiry(e) > *(int64_t *)ctx) return entry_expiry(e);
    for (size_t i = 0; i < KEYS; i++)
        if (slice_equal(entry_key(e), key_of(&model[i]))) {
            model[i].present = false;
            model[i].expiry_ms = -1;
        }
    assert_true(db_delete(&engine->dbs[0], entry_key(e)));
    return INT64_MIN;
}

/* Every now and then all that is due goes; nothing that is due may stay. */
static void remove_due(struct db *db) {
    int64_t now_ms = 0;
    size_t pick = rng_below(&rng, KEYS);
    if (model[pick].expiry_ms > 0) now_ms = model[pick].expiry_ms;
    assert_true(db_due_scan(db, now_ms, UINT64_MAX, take_due, &now_ms));
    for (size_t i = 0; i < KEYS; i++)
        assert_false(model[i].present && model[i].expiry_ms != -1 && model[i].expiry_ms <= now_ms);
}

static void check_partitions(const struct db *db) {
    const struct partitions *p = db->partitions;
    unsigned share = p->count / PARTITIONS;
    for (unsigned i = 0; i < PARTITIONS; i++) {
        uint64_t keys = 0;
        for (unsigned n = 0; n < share; n++) {
            table_check(&p->tables[i * share + n]);
            keys += table_count(&p->tables[i * share + n]);
        }
        assert_int_equal(keys, p->keys[i]);
    }
}

static void live(struct db *db) {
    uint64_t expiring;
    forget_model();
    for (int i = 0; i < 60000; i++) {
        random_step(db);
        if (i % 1000 == 0) remove_due(db);
    }
    assert_int_equal(db_size(db), present(&expiring));
    assert_int_equal(db->expires, expiring);
    check_partitions(db);
    for (int i = 0; i < 1000; i++) check(db, model_of(db_random(db, &rng)));
    uint64_t cursor = 0;
    do cursor = db_scan(db, cursor, see, NULL);
    while (cursor != 0);
    for (size_t i = 0; i < KEYS; i++) assert_int_equal(model[i].seen, model[i].present);
    struct db_iter iter;
    uint64_t met = 0;
    db_iter_init(&iter, db);
    for (struct entry *e; (e = db_iter_next(&iter)); met++) assert_true(model_of(e)->present);
    assert_int_equal(met, present(&expiring));
    assert_int_equal(db_clear(db, true), present(&expiring));
    helper_drain();
    assert_int_equal(db_size(db), 0);
}

static void test_a_database_holds_what_a_model_holds(void **state) {
    (void)state;
    live(&engine->dbs[0]);
}

static void test_with_a_table_for_each_slot_too(void **state) {
    (void)state;
    struct db *db = &engine->dbs[0];
    db_free_partitions(db->partitions, false);
    engine->settings.cluster_enabled = true;
    db_init(db, engine, 0);
    assert_int_equal(db->partitions->count, SLOT_CLUSTER_COUNT);
    live(db);
    db_free_partitions(db->partitions, false);
    engine->settings.cluster_enabled = false;
    db_init(db, engine, 0);
}

/* An observer that keeps a copy of what each key was when it was first told about it, as a snapshot
 * would. */
struct watcher {
    struct db_observer observer;
    bool told[KEYS];
    struct model before[KEYS];
};

static size_t index_of(const struct entry *e) {
    for (size_t i = 0; i < KEYS; i++)
        if (slice_equal(entry_key(e), key_of(&model[i]))) return i;
    fail();
    return 0;
}

/* Keys that were added since have the colours already. */
static void keep(struct watcher *w, struct entry *e) {
    size_t i = index_of(e);
    uint8_t all = engine->snapshot_polarity[db_table(&engine->dbs[1], entry_key(e))];
    if (e->colours == all) return;
    e->colours = all;
    assert_false(w->told[i]);
    char scratch[ENTRY_INT_TEXT];
    struct slice text = entry_string(e, scratch);
    w->told[i] = true;
    w->before[i].size = text.size;
    w->before[i].expiry_ms = entry_expiry(e);
    if (text.size) memcpy(w->before[i].text, text.data, text.size);
}

static void watch_edit(void *ctx, struct db *db, struct entry *e, size_t from, size_t to) {
    (void)db, (void)from, (void)to;
    keep(ctx, e);
}

static void watch_move(void *ctx, struct entry *old, struct entry *new) {
    (void)ctx;
    assert_int_equal(old->colours, new->colours);
}

static bool watch_drop(void *ctx, struct db *db, struct entry *e, bool shell) {
    (void)db, (void)shell;
    keep(ctx, e);
    return false;
}

static void test_the_observer_hears_of_every_change_before_it_happens(void **state) {
    (void)state;
    static struct watcher w;
    static struct model start[KEYS];
    struct db *db = &engine->dbs[1];
    forget_model();
    for (size_t i = 0; i < KEYS; i += 2) set(db, &model[i]);
    memcpy(start, model, sizeof start);
    w.observer = (struct db_observer){
        .ctx = &w, .before_edit = watch_edit, .moved = watch_move, .dropped = watch_drop};
    for (size_t i = 0; i < SLOT_CLUSTER_COUNT; i++) engine->snapshot_polarity[i] ^= 1;
    engine->observer = &w.observer;
    for (int i = 0; i < 4000; i++) random_step(db);
    engine->observer = NULL;
    size_t told = 0;
    for (size_t i = 0; i < KEYS; i++) {
        const struct model *then = &start[i], *now = &model[i];
        told += w.told[i];
        if (w.told[i]) {
            assert_true(then->present);
            assert_true(slice_equal(slice_from(w.before[i].text, w.before[i].size),
                                    slice_from(then->text, then->size)));
            assert_int_equal(w.before[i].expiry_ms, then->expiry_ms);
        } else if (then->present) {
            assert_true(now->present && now->expiry_ms == then->expiry_ms);
            assert_true(
                slice_equal(slice_from(now->text, now->size), slice_from(then->text, then->size)));
        }
    }
    assert_true(told > 100);
    (void)db_clear(db, false);
}

static void test_a_small_string_takes_one_small_block(void **state) {
    (void)state;
    struct value value = value_string(SLICE("12345abc"));
    struct entry *e = entry_new(SLICE("key:123456"), &value, -1);
    assert_true(e->flags & ENTRY_INLINE);
    assert_true(mem_size(e) <= 32);
    entry_free(e);
}

int main(void) {
    uint64_t seed = rand_test_seed();
    printf("seed %" PRIu64 "\n", seed);
    rng = rng_from(seed);
    engine = engine_new();
    config_init(engine);
    engine_make_dbs(engine);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_database_holds_what_a_model_holds),
        cmocka_unit_test(test_with_a_table_for_each_slot_too),
        cmocka_unit_test(test_the_observer_hears_of_every_change_before_it_happens),
        cmocka_unit_test(test_a_small_string_takes_one_small_block),
    };
    return cmocka_run_group_tests_name("keyspace", tests, NULL, NULL);
}

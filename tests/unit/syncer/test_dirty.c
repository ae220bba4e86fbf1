/* test_dirty.c -- dirty keys, their log, deadlines and checkpoints: what a restart finds again. */
#include "lib/base/mem.h"
#include "lib/base/rand.h"
#include "syncer/checkpoint.h"
#include "syncer/dirty.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct place at(uint64_t offset) { return (struct place){.offset = offset}; }

static void load(struct dirty *d, const struct buf *log, uint64_t offset, uint64_t *seen, bool *fell_back) {
    struct place s, highest;
    size_t used = 0;
    buf_clear(&d->log);
    dirty_load(d, buf_slice(log), at(offset), &s, &highest, &used);
    assert_int_equal(used, buf_size(log));
    *seen = s.offset;
    *fell_back = highest.offset > offset;
}

static void test_a_restart_finds_the_state_at_its_checkpoint(void **state) {
    (void)state;
    struct dirty d, again;
    uint64_t seen;
    bool fell_back;
    dirty_init(&d);
    dirty_init(&again);
    dirty_mark(&d, at(10), 0, SLICE("a"), "why");
    dirty_mark(&d, at(10), 1, SLICE("a"), "why");
    dirty_seen(&d, at(20));
    dirty_clean(&d, at(30), dirty_find(&d, 0, SLICE("a")));
    dirty_mark(&d, at(40), 0, SLICE("b"), "why");
    dirty_seen(&d, at(50));
    load(&again, &d.log, 60, &seen, &fell_back);
    assert_int_equal(seen, 50);
    assert_int_equal(dirty_count(&again), 2);
    assert_true(dirty_find(&again, 1, SLICE("a")) && dirty_find(&again, 0, SLICE("b")) && !fell_back);
    load(&again, &d.log, 25, &seen, &fell_back); /* the target fell back */
    assert_int_equal(seen, 25);
    assert_true(fell_back);
    assert_int_equal(dirty_count(&again), 2);
    assert_true(dirty_find(&again, 0, SLICE("a")) && dirty_find(&again, 1, SLICE("a")));
    load(&again, &d.log, 5, &seen, &fell_back);
    assert_int_equal(dirty_count(&again), 0);
    dirty_close(&d);
    dirty_close(&again);
}

static void test_what_came_after_a_fall_back_is_void_for_good(void **state) {
    (void)state;
    struct dirty d, again;
    struct buf log = {0};
    uint64_t seen;
    bool fell_back;
    dirty_init(&d);
    dirty_init(&again);
    dirty_mark(&d, at(10), 0, SLICE("a"), "why");
    dirty_clean(&d, at(30), dirty_find(&d, 0, SLICE("a"))); /* of a time that is undone below */
    buf_add(&log, buf_slice(&d.log));
    load(&again, &log, 20, &seen, &fell_back);
    buf_add(&log, buf_slice(&again.log)); /* REWIND 20 */
    load(&again, &log, 40, &seen, &fell_back);
    assert_non_null(dirty_find(&again, 0, SLICE("a")));
    buf_close(&log);
    dirty_close(&d);
    dirty_close(&again);
}

static void test_a_log_that_is_cut_anywhere_is_read_up_to_there(void **state) {
    (void)state;
    struct dirty d, again;
    dirty_init(&d);
    dirty_init(&again);
    for (int i = 0; i < 20; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        dirty_mark(&d, at((uint64_t)i), i % 3, slice_text(key), "why");
    }
    for (size_t size = 0; size <= buf_size(&d.log); size++) {
        struct place seen, highest;
        size_t used = 0;
        uint8_t *cut = malloc(size ? size : 1);
        memcpy(cut, d.log.data, size);
        dirty_load(&again, slice_from(cut, size), at(100), &seen, &highest, &used);
        assert_true(used <= size);
        assert_int_equal(dirty_count(&again), size == buf_size(&d.log) ? 20 : dirty_count(&again));
        if (size > 0) {
            cut[size / 2] ^= 1; /* a damaged entry ends the log */
            dirty_load(&again, slice_from(cut, size), at(100), &seen, &highest, &used);
            assert_true(used <= size / 2);
        }
        free(cut);
    }
    dirty_close(&d);
    dirty_close(&again);
}

/* A compacted log means the same as the whole one, for every checkpoint from the horizon on. */
static void test_compacting_changes_nothing_behind_the_horizon(void **state) {
    (void)state;
    struct rng rng = rng_from(rand_test_seed());
    for (int run = 0; run < 50; run++) {
        struct dirty d, a, b;
        struct buf small = {0};
        uint64_t seen_a, seen_b;
        bool fell;
        dirty_init(&d);
        dirty_init(&a);
        dirty_init(&b);
        for (uint64_t p = 1; p < 60; p++) {
            char key[4] = {(char)('a' + rng_below(&rng, 5)), 0};
            struct dirty_key *k = dirty_find(&d, 0, slice_text(key));
            if (k && rng_below(&rng, 2)) dirty_clean(&d, at(p), k);
            else dirty_mark(&d, at(p), 0, slice_text(key), "why");
            dirty_seen(&d, at(p));
        }
        uint64_t horizon = rng_below(&rng, 60);
        dirty_compact(buf_slice(&d.log), at(horizon), &small);
        assert_true(buf_size(&small) <= buf_size(&d.log));
        for (uint64_t p = horizon; p < 61; p++) {
            load(&a, &d.log, p, &seen_a, &fell);
            load(&b, &small, p, &seen_b, &fell);
            assert_int_equal(seen_a, seen_b);
            assert_int_equal(dirty_count(&a), dirty_count(&b));
            for (char k = 'a'; k < 'f'; k++)
                assert_int_equal(dirty_find(&a, 0, slice_from(&k, 1)) != NULL, dirty_find(&b, 0, slice_from(&k, 1)) != NULL);
        }
        buf_close(&small);
        dirty_close(&d);
        dirty_close(&a);
        dirty_close(&b);
    }
}

static void test_a_key_that_cannot_be_copied_is_quarantined_and_counted(void **state) {
    (void)state;
    struct dirty d;
    dirty_init(&d);
    dirty_mark(&d, at(1), 0, SLICE("a"), "why");
    struct dirty_key *k = dirty_find(&d, 0, SLICE("a"));
    dirty_failed(&d, k, "no", 0);
    dirty_failed(&d, k, "no", 0);
    assert_int_equal(d.quarantined, 0);
    dirty_failed(&d, k, "no", 0);
    assert_int_equal(d.quarantined, 1);
    assert_true(k->next_try_ms >= 10000);
    dirty_clean(&d, at(2), k);
    assert_int_equal(d.quarantined, 0);
    dirty_close(&d);
}

static void test_swapped_databases_make_both_twins_dirty(void **state) {
    (void)state;
    struct dirty d;
    dirty_init(&d);
    dirty_mark(&d, at(1), 2, SLICE("a"), "why");
    dirty_mirror(&d, at(1), 2, 5);
    assert_true(dirty_find(&d, 2, SLICE("a")) && dirty_find(&d, 5, SLICE("a")));
    dirty_close(&d);
}

static void test_checkpoints_are_read_as_they_were_written(void **state) {
    (void)state;
    struct buf text = {0};
    struct why why;
    struct checkpoint read, stream = {.kind = CHECKPOINT_STREAM, .replid = "0123456789012345678901234567890123456789",
                                      .place = {.offset = UINT64_MAX - 1, .copies = 7, .db = 15}};
    checkpoint_write(&stream, &text);
    assert_int_equal(checkpoint_read(buf_slice(&text), &read, &why), OK);
    assert_memory_equal(&read, &stream, sizeof read);
    struct checkpoint copy = {.kind = CHECKPOINT_COPY, .replid = "0123456789012345678901234567890123456789", .place = {.offset = 5},
                              .copy_id = "abcdefabcdabcdefabcdabcdefabcdabcdefabcd", .rdb_offset = 77, .rdb_db = 3, .rdb_version = 10};
    buf_clear(&text);
    checkpoint_write(&copy, &text);
    assert_int_equal(checkpoint_read(buf_slice(&text), &read, &why), OK);
    assert_memory_equal(&read, &copy, sizeof read);
    for (size_t size = 0; size + 12 < buf_size(&text); size++)
        assert_int_equal(checkpoint_read(slice_take(buf_slice(&text), size), &read, &why), ERR_CORRUPT);
    buf_close(&text);
    assert_int_equal(checkpoint_read(SLICE("drawbridge 1 stream 0123456789012345678901234567890123456789 5.0 db=0 lanes=4"), &read, &why), ERR_CORRUPT);
    assert_true(checkpoint_is_key(SLICE("drawbridge:checkpoint:reverse")) && !checkpoint_is_key(SLICE("drawbridge")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_restart_finds_the_state_at_its_checkpoint),
        cmocka_unit_test(test_what_came_after_a_fall_back_is_void_for_good),
        cmocka_unit_test(test_a_log_that_is_cut_anywhere_is_read_up_to_there),
        cmocka_unit_test(test_compacting_changes_nothing_behind_the_horizon),
        cmocka_unit_test(test_a_key_that_cannot_be_copied_is_quarantined_and_counted),
        cmocka_unit_test(test_swapped_databases_make_both_twins_dirty),
        cmocka_unit_test(test_checkpoints_are_read_as_they_were_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

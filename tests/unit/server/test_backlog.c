/* test_backlog.c -- the backlog gives back what went in, and only those continue who may. */
#include "server/history.h"

#include "lib/base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint8_t byte_at(uint64_t offset) {
    return (uint8_t)(offset * 2654435761u >> 13);
}

static void test_every_held_offset_gives_its_byte(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    printf("seed %llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    struct backlog backlog = {0};
    backlog_open(&backlog, 1001);
    static uint8_t bytes[50000];
    for (int round = 0; round < 300; round++) {
        size_t size = rng_below(&rng, rng_below(&rng, 4) ? 300 : sizeof bytes);
        for (size_t i = 0; i < size; i++) bytes[i] = byte_at(backlog.end + i);
        backlog_append(&backlog, slice_from(bytes, size));
        uint64_t limit = 16384 + rng_below(&rng, 200000);
        uint64_t pinned = rng_below(&rng, 3)
                              ? UINT64_MAX
                              : backlog.begin + rng_below(&rng, backlog_size(&backlog) + 1);
        uint64_t before = backlog.begin;
        backlog_trim(&backlog, limit, pinned);
        assert_true(backlog.begin >= before && backlog.begin <= pinned);
        assert_true(backlog_size(&backlog) <= limit || backlog.begin == pinned);
        assert_true(backlog.begin == before || backlog_size(&backlog) >= limit ||
                    backlog.begin == pinned);
        for (int probe = 0; probe < 20; probe++) {
            uint64_t offset = backlog.begin + rng_below(&rng, backlog_size(&backlog) + 1);
            struct slice got = backlog_at(&backlog, offset);
            assert_int_equal(got.size == 0, offset == backlog.end);
            for (size_t i = 0; i < got.size; i++)
                assert_int_equal(got.data[i], byte_at(offset + i));
        }
    }
    assert_true(backlog_memory(&backlog) < 1000000);
    backlog_close(&backlog);
    assert_false(backlog.exists);
}

static struct history somebody(int64_t offset) {
    struct history history;
    history_init(&history);
    history.offset = offset;
    return history;
}

static void test_the_edges_of_the_backlog_are_exact(void **state) {
    (void)state;
    struct history history = somebody(0);
    struct backlog backlog = {0};
    struct slice id = slice_text(history.id);
    assert_int_equal(history_judge(&history, &backlog, id, 1), PSYNC_NO_BACKLOG);
    backlog_open(&backlog, 101);
    history.offset = 100;
    assert_int_equal(history_judge(&history, &backlog, id, 101), PSYNC_CONTINUE);
    assert_int_equal(history_judge(&history, &backlog, id, 102), PSYNC_OUT_OF_BACKLOG);
    backlog_append(&backlog, SLICE("0123456789"));
    history.offset = 110;
    assert_int_equal(history_judge(&history, &backlog, id, 100), PSYNC_OUT_OF_BACKLOG);
    assert_int_equal(history_judge(&history, &backlog, id, 101), PSYNC_CONTINUE);
    assert_int_equal(history_judge(&history, &backlog, id, 111), PSYNC_CONTINUE);
    assert_int_equal(history_judge(&history, &backlog, id, 112), PSYNC_OUT_OF_BACKLOG);
    assert_int_equal(history_judge(&history, &backlog, id, -1), PSYNC_OUT_OF_BACKLOG);
    assert_int_equal(history_judge(&history, &backlog, SLICE("?"), -1), PSYNC_OTHER_HISTORY);
    backlog_close(&backlog);
}

static void test_a_promoted_replica_lets_its_siblings_continue_up_to_its_promotion(void **state) {
    (void)state;
    struct history history = somebody(200);
    struct backlog backlog = {0};
    backlog_open(&backlog, 101);
    for (int i = 0; i < 10; i++) backlog_append(&backlog, SLICE("0123456789"));
    char old[41];
    memcpy(old, history.id, sizeof old);
    history_shift_id(&history);
    backlog_append(&backlog, SLICE("0123456789"));
    history.offset += 10;
    assert_string_equal(history.id2, old);
    assert_int_equal(history.id2_end, 201);
    assert_int_equal(history_judge(&history, &backlog, slice_text(old), 201), PSYNC_CONTINUE);
    assert_int_equal(history_judge(&history, &backlog, slice_text(old), 202),
                     PSYNC_BEYOND_SECOND_ID);
    assert_int_equal(history_judge(&history, &backlog, slice_text(history.id), 211),
                     PSYNC_CONTINUE);
    history_new_id(&history);
    assert_int_equal(history_judge(&history, &backlog, slice_text(old), 150), PSYNC_OTHER_HISTORY);
    assert_int_equal(history_judge(&history, &backlog,
                                   slice_text("0000000000000000000000000000000000000000"), 150),
                     PSYNC_OTHER_HISTORY);
    backlog_close(&backlog);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_held_offset_gives_its_byte),
        cmocka_unit_test(test_the_edges_of_the_backlog_are_exact),
        cmocka_unit_test(test_a_promoted_replica_lets_its_siblings_continue_up_to_its_promotion),
    };
    return cmocka_run_group_tests_name("backlog", tests, NULL, NULL);
}

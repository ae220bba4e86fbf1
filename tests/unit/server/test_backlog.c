/* test_backlog.c -- the backlog gives back what went in, and only those continue who may. */
#include "server/history.h"

#include "lib/base/fault.h"
#include "lib/base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static uint8_t byte_at(uint64_t offset) {
    uint64_t mixed = (offset ^ offset >> 7) * UINT64_C(0x9E3779B97F4A7C15); /* hard to pack */
    return (uint8_t)((mixed ^ mixed >> 29) * UINT64_C(0xBF58476D1CE4E5B9) >> 50);
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

static void hear_nothing(void *owner) {
    (void)owner;
}

/* Whatever was packed, spilled, fetched and dropped between: an offset gives its byte, now or after
 * it was asked for, and memory stays small. */
static void test_what_lies_on_disk_comes_back(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    printf("seed %llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    struct backlog backlog = {.store = backlog_store_open(hear_nothing, NULL)};
    static uint8_t bytes[200000];
    const uint64_t memory = (uint64_t)3 << 20;
    for (int life = 0; life < 3; life++) {
        uint64_t pinned = 5001, most_on_disk = 0;
        backlog_open(&backlog, pinned);
        for (int round = 0; round < 300; round++) {
            size_t size = rng_below(&rng, sizeof bytes);
            for (size_t i = 0; i < size; i++) bytes[i] = byte_at(backlog.end + i);
            backlog_append(&backlog, slice_from(bytes, size));
            if (round % 100 > 50) pinned += rng_below(&rng, backlog.end - pinned + 1) / 10;
            backlog_trim(&backlog, 100000, pinned);
            if (rng_below(&rng, 2)) backlog_store_wait(backlog.store);
            (void)backlog_poll(&backlog);
            backlog_settle(&backlog, memory, 1);
            uint64_t offset = backlog.begin + rng_below(&rng, backlog_size(&backlog));
            struct slice got = backlog_at(&backlog, offset);
            for (int tries = 0; got.size == 0; tries++) {
                assert_true(tries < 3);
                backlog_want(&backlog, offset);
                backlog_store_wait(backlog.store);
                (void)backlog_poll(&backlog);
                got = backlog_at(&backlog, offset);
            }
            for (size_t i = 0; i < got.size; i += 7)
                assert_int_equal(got.data[i], byte_at(offset + i));
            if (backlog.file_bytes > most_on_disk) most_on_disk = backlog.file_bytes;
        }
        for (int i = 0; i < 100; i++) {
            backlog_store_wait(backlog.store);
            (void)backlog_poll(&backlog);
            backlog_settle(&backlog, memory, 1);
        }
        assert_false(backlog.disk_fails);
        assert_true(most_on_disk > 0);
        assert_true(backlog_memory(&backlog) < memory * 2);
        assert_true(backlog_hot_begin(&backlog) + BACKLOG_HOT_BYTES <= backlog.end);
        backlog_close(&backlog);
    }
    backlog_store_wait(backlog.store);
    (void)backlog_poll(&backlog);
    assert_int_equal(backlog.raw_blocks, 0);
    assert_int_equal(backlog.packed_bytes, 0);
    assert_int_equal(backlog.file_blocks, 0);
    assert_int_equal(backlog.file_bytes, 0);
    assert_int_equal(backlog.jobs, 0);
    backlog_store_close(backlog.store);
}

static void fill(struct backlog *backlog, size_t bytes) {
    static uint8_t piece[65536];
    for (size_t done = 0; done < bytes; done += sizeof piece) {
        for (size_t i = 0; i < sizeof piece; i++) piece[i] = byte_at(backlog->end + i);
        backlog_append(backlog, slice_from(piece, sizeof piece));
    }
}

/* Until the thread has nothing more to do. */
static void settle(struct backlog *backlog, uint64_t memory) {
    for (int i = 0; i < 50; i++) {
        backlog_settle(backlog, memory, 1);
        backlog_store_wait(backlog->store);
        (void)backlog_poll(backlog);
    }
}

static void test_a_disk_that_fails_costs_memory_and_is_tried_again(void **state) {
    (void)state;
    const uint64_t memory = (uint64_t)2 << 20;
    for (uint64_t n = 1; n < 6; n++) {
        struct backlog backlog = {.store = backlog_store_open(hear_nothing, NULL)};
        backlog_open(&backlog, 1);
        fill(&backlog, 8 << 20);
        fault_arm(FAULT_WRITE, n);
        settle(&backlog, memory);
        assert_true(fault_fired(FAULT_WRITE));
        fault_arm(FAULT_WRITE, 0);
        assert_true(backlog.disk_fails);
        assert_true(backlog_memory(&backlog) > memory);
        backlog_retry(&backlog);
        settle(&backlog, memory);
        assert_false(backlog.disk_fails);
        assert_true(backlog_memory(&backlog) <= memory);
        for (uint64_t offset = 1; offset < backlog.end; offset += 50000) {
            backlog_want(&backlog, offset);
            backlog_store_wait(backlog.store);
            (void)backlog_poll(&backlog);
            struct slice got = backlog_at(&backlog, offset);
            assert_true(got.size > 0);
            assert_int_equal(got.data[0], byte_at(offset));
        }
        backlog_close(&backlog);
        backlog_store_close(backlog.store);
    }
}

/* Empty the file without a name under the backlog's feet. */
static void lose_the_file(void) {
    for (int fd = 3; fd < 64; fd++) {
        char link[64], name[256] = "";
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, name, sizeof name - 1) > 0 && strstr(name, "temp-stream"))
            assert_int_equal(ftruncate(fd, 0), 0);
    }
}

static void test_what_cannot_be_read_back_is_lost_and_nothing_else(void **state) {
    (void)state;
    struct backlog backlog = {.store = backlog_store_open(hear_nothing, NULL)};
    backlog_open(&backlog, 1);
    fill(&backlog, 8 << 20);
    settle(&backlog, (uint64_t)2 << 20);
    assert_true(backlog.file_bytes > 0);
    lose_the_file();
    backlog_want(&backlog, 1);
    backlog_store_wait(backlog.store);
    assert_true(backlog_poll(&backlog));
    assert_true(backlog.begin >= 1 + BACKLOG_AHEAD * BACKLOG_BLOCK_SIZE);
    assert_true(backlog.begin < backlog.end);
    uint64_t hot = backlog_hot_begin(&backlog);
    struct slice got = backlog_at(&backlog, hot);
    assert_true(got.size > 0);
    assert_int_equal(got.data[0], byte_at(hot));
    backlog_trim(&backlog, UINT64_MAX, UINT64_MAX);
    backlog_close(&backlog);
    backlog_store_close(backlog.store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_disk_that_fails_costs_memory_and_is_tried_again),
        cmocka_unit_test(test_what_cannot_be_read_back_is_lost_and_nothing_else),
        cmocka_unit_test(test_what_lies_on_disk_comes_back),
        cmocka_unit_test(test_every_held_offset_gives_its_byte),
        cmocka_unit_test(test_the_edges_of_the_backlog_are_exact),
        cmocka_unit_test(test_a_promoted_replica_lets_its_siblings_continue_up_to_its_promotion),
    };
    return cmocka_run_group_tests_name("backlog", tests, NULL, NULL);
}

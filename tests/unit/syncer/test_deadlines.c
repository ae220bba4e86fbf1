/* Deadlines of keys at a target, and what the commands of a stream do to them (C8). */
#include "lib/base/mem.h"
#include "syncer/apply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define K SLICE("k")

static void set(struct deadlines *d, int db, const char *key, int64_t at_ms) {
    deadlines_set(d, db, slice_text(key), at_ms);
    deadlines_commit(d);
}

static int64_t find(const struct deadlines *d, int db, const char *key) { return deadlines_find(d, db, slice_text(key)); }

/* What a process that reads the log again knows. */
static int64_t find_again(const struct deadlines *d, int db, const char *key) {
    struct deadlines again = {0};
    deadlines_load(&again, buf_slice(&d->log));
    int64_t at = find(&again, db, key);
    deadlines_close(&again);
    return at;
}

/* One command of the stream, carried out in DB and applied. OFFSET as apply_note_deadlines() takes it. */
static void run_at(struct deadlines *d, uint64_t offset, int db, const char *text) {
    struct slice argv[16];
    char words[256];
    size_t argc = 0;
    struct apply_keys keys = {0};
    snprintf(words, sizeof words, "%s", text);
    for (char *rest = words, *word; (word = strtok_r(rest, " ", &rest));) argv[argc++] = slice_text(word);
    struct unit_command c = {.argv = argv, .argc = argc, .command = command_lookup(argc, argv), .db = db};
    assert_non_null(c.command);
    enum apply_class class = apply_keys_of(&keys, c.command, argc, argv, db);
    apply_note_deadlines(d, &keys, class, &c, offset, 1000000);
    deadlines_commit(d);
    apply_keys_close(&keys);
}

static void run(struct deadlines *d, int db, const char *text) { run_at(d, 0, db, text); }

static void test_a_batch_that_failed_is_forgotten_but_stays_logged(void **state) {
    (void)state;
    struct deadlines d = {0};
    set(&d, 0, "k", 1000);
    deadlines_remove(&d, 0, K);
    deadlines_set(&d, 0, K, 5000);
    assert_int_equal(find(&d, 0, "k"), 1000); /* the earlier of both, until it is applied */
    assert_int_equal(find_again(&d, 0, "k"), 1000);
    deadlines_abort(&d);
    assert_int_equal(find(&d, 0, "k"), 1000);
    deadlines_remove(&d, 0, K);
    deadlines_set(&d, 0, K, 5000);
    deadlines_commit(&d);
    assert_int_equal(find(&d, 0, "k"), 5000);
    assert_int_equal(find_again(&d, 0, "k"), 5000);
    deadlines_close(&d);
}

static void test_many_come_and_go(void **state) {
    (void)state;
    struct deadlines d = {0};
    char key[16];
    for (int round = 0; round < 5; round++) {
        for (int n = 0; n < 5000; n++) {
            snprintf(key, sizeof key, "k%d", n);
            deadlines_set(&d, n % 3, slice_text(key), n + round + 1);
        }
        deadlines_commit(&d);
        for (int n = 0; n < 5000; n += 2) {
            snprintf(key, sizeof key, "k%d", n);
            deadlines_remove(&d, n % 3, slice_text(key));
        }
        deadlines_commit(&d);
        for (int n = 0; n < 5000; n++) {
            snprintf(key, sizeof key, "k%d", n);
            assert_int_equal(find(&d, n % 3, key), n % 2 ? n + round + 1 : DEADLINE_NONE);
        }
    }
    deadlines_close(&d);
}

static void test_a_far_deadline_is_one_all_the_same(void **state) {
    (void)state;
    struct deadlines d = {0};
    set(&d, 15, "k", INT64_MAX - 1);
    assert_true(find(&d, 15, "k") > INT64_C(200000000000000));
    assert_int_not_equal(find(&d, 15, "k"), DEADLINE_NONE);
    assert_int_equal(find(&d, 14, "k"), DEADLINE_NONE);
    deadlines_close(&d);
}

static void test_they_follow_swapdb(void **state) {
    (void)state;
    struct deadlines d = {0};
    set(&d, 0, "k", 100);
    set(&d, 3, "k", 300);
    set(&d, 3, "only", 400);
    set(&d, 7, "k", 700);
    run_at(&d, 50, 9, "swapdb 0 3");
    assert_int_equal(find(&d, 0, "k"), 300);
    assert_int_equal(find(&d, 3, "k"), 100);
    assert_int_equal(find(&d, 0, "only"), 400);
    assert_int_equal(find(&d, 3, "only"), DEADLINE_NONE);
    assert_int_equal(find(&d, 7, "k"), 700);
    assert_int_equal(find_again(&d, 0, "k"), 300);
    assert_int_equal(find_again(&d, 3, "k"), 100);
    run(&d, 0, "del k"); /* the one that came from 3 */
    assert_int_equal(find(&d, 0, "k"), DEADLINE_NONE);
    assert_int_equal(find(&d, 3, "k"), 100);
    deadlines_close(&d);
}

static void test_an_event_is_obeyed_once(void **state) {
    (void)state;
    struct deadlines d = {0}, again = {0};
    struct buf saved = {0};
    set(&d, 0, "k", 100);
    run_at(&d, 50, 0, "swapdb 0 1");
    run_at(&d, 50, 0, "swapdb 0 1"); /* its answer was not seen, or the target fell back */
    assert_int_equal(find(&d, 1, "k"), 100);
    assert_int_equal(find_again(&d, 1, "k"), 100);
    deadlines_save(&d, true, &saved);
    deadlines_load(&again, buf_slice(&saved));
    run_at(&again, 50, 0, "swapdb 0 1");
    assert_int_equal(find(&again, 1, "k"), 100);
    run_at(&again, 51, 0, "swapdb 0 1");
    assert_int_equal(find(&again, 0, "k"), 100);
    buf_clear(&saved);
    deadlines_save(&d, false, &saved); /* for another link, whose offsets are others */
    deadlines_load(&again, buf_slice(&saved));
    run_at(&again, 7, 0, "swapdb 1 2");
    assert_int_equal(find(&again, 2, "k"), 100);
    buf_close(&saved);
    deadlines_close(&again);
    deadlines_close(&d);
}

static void test_behind_a_swap_of_the_same_batch_every_key_counts_as_gone(void **state) {
    (void)state;
    struct deadlines d = {0};
    set(&d, 0, "k", 5000);
    deadlines_swap(&d, 0, 1, 50);
    assert_int_equal(find(&d, 1, "k"), 1);
    assert_int_equal(find(&d, 5, "other"), 1);
    deadlines_abort(&d);
    assert_int_equal(find(&d, 1, "k"), DEADLINE_NONE);
    assert_int_equal(find(&d, 0, "k"), 5000);
    assert_int_equal(find_again(&d, 0, "k"), 5000); /* it was never applied, and is not in the log */
    deadlines_close(&d);
}

static void test_they_go_with_flushdb_and_flushall(void **state) {
    (void)state;
    struct deadlines d = {0};
    set(&d, 0, "k", 100);
    set(&d, 1, "k", 200);
    run_at(&d, 10, 1, "flushdb");
    assert_int_equal(find(&d, 0, "k"), 100);
    assert_int_equal(find(&d, 1, "k"), DEADLINE_NONE);
    assert_int_equal(find_again(&d, 1, "k"), DEADLINE_NONE);
    set(&d, 1, "k", 300);
    run_at(&d, 10, 1, "flushdb"); /* again, of a stream that is applied again */
    assert_int_equal(find(&d, 1, "k"), 300);
    run_at(&d, 20, 5, "flushall async");
    assert_int_equal(find(&d, 0, "k"), DEADLINE_NONE);
    assert_int_equal(find_again(&d, 0, "k"), DEADLINE_NONE);
    set(&d, 0, "k", 400);
    assert_int_equal(find_again(&d, 0, "k"), 400);
    deadlines_close(&d);
}

static void test_rename_move_and_copy_take_them_along(void **state) {
    (void)state;
    struct deadlines d = {0};
    set(&d, 2, "a", 100);
    set(&d, 2, "b", 50);
    run(&d, 2, "rename a b");
    assert_int_equal(find(&d, 2, "a"), DEADLINE_NONE);
    assert_int_equal(find(&d, 2, "b"), 100);
    run(&d, 2, "move b 4");
    assert_int_equal(find(&d, 2, "b"), DEADLINE_NONE);
    assert_int_equal(find(&d, 4, "b"), 100);
    run(&d, 4, "copy b c db 6 replace");
    assert_int_equal(find(&d, 4, "b"), 100);
    assert_int_equal(find(&d, 4, "c"), DEADLINE_NONE);
    assert_int_equal(find(&d, 6, "c"), 100);
    run(&d, 6, "renamenx plain c"); /* a key without one replaces a key with one */
    assert_int_equal(find(&d, 6, "c"), DEADLINE_NONE);
    run(&d, 4, "rename b b");
    assert_int_equal(find(&d, 4, "b"), 100);
    assert_int_equal(find_again(&d, 4, "b"), 100);
    assert_int_equal(find_again(&d, 6, "c"), DEADLINE_NONE);
    deadlines_close(&d);
}

static void test_writes_give_and_take_them(void **state) {
    (void)state;
    static const struct {
        const char *command;
        int64_t at_ms; /* behind it, of a key that had 500 */
    } rows[] = {
        {"set k v", DEADLINE_NONE}, {"set k v keepttl", 500}, {"set k v pxat 2000", 2000}, {"set k v ex 3", 1003000},
        {"incr k", 500}, {"persist k", DEADLINE_NONE}, {"pexpireat k 700", 700}, {"expire k 2", 1002000}, {"del k", DEADLINE_NONE},
        {"unlink k", DEADLINE_NONE}, {"setex k 4 v", 1004000}, {"getex k persist", DEADLINE_NONE}, {"append k v", 500},
        {"restore k 800 payload replace absttl", 800}, {"restore k 0 payload replace", DEADLINE_NONE},
        {"sunionstore k a b", DEADLINE_NONE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct deadlines d = {0};
        set(&d, 0, "k", 500);
        run(&d, 0, rows[i].command);
        if (find(&d, 0, "k") != rows[i].at_ms) fail_msg("%s: %lld", rows[i].command, (long long)find(&d, 0, "k"));
        deadlines_close(&d);
    }
}

static void test_nothing_is_removed_while_a_stream_is_applied_again(void **state) {
    (void)state;
    struct deadlines d = {0};
    set(&d, 0, "k", 500);
    run_at(&d, APPLY_AGAIN, 0, "del k");
    assert_int_equal(find(&d, 0, "k"), 500);
    run_at(&d, APPLY_AGAIN, 0, "rename k other");
    assert_int_equal(find(&d, 0, "k"), 500);
    assert_int_equal(find(&d, 0, "other"), 500);
    run_at(&d, APPLY_AGAIN, 0, "set k v pxat 900");
    assert_int_equal(find(&d, 0, "k"), 900);
    deadlines_close(&d);
}

static void test_a_log_cut_anywhere_is_read_up_to_there(void **state) {
    (void)state;
    struct deadlines d = {0};
    set(&d, 0, "a", 100);
    run_at(&d, 5, 0, "swapdb 0 1");
    run_at(&d, 6, 0, "flushall");
    set(&d, 2, "b", 200);
    struct slice log = buf_slice(&d.log);
    for (size_t size = 0; size <= log.size; size++) {
        struct deadlines again = {0};
        uint8_t *copy = mem_dup(log.size ? log.data : (const uint8_t *)"", size + (size == 0));
        deadlines_load(&again, slice_from(copy, size));
        if (size >= log.size) assert_int_equal(find(&again, 2, "b"), 200);
        assert_true(size == 0 || find(&again, 1, "a") == 100 || find(&again, 1, "a") == DEADLINE_NONE);
        mem_free(copy);
        deadlines_close(&again);
    }
    deadlines_close(&d);
}

/* A change of capture: its keys came by lanes (C1). */
static void test_in_doubt_a_key_counts_as_gone_until_it_was_written_as_a_whole(void **state) {
    (void)state;
    struct deadlines d = {0}, again = {0};
    struct buf saved = {0};
    char name[32];
    set(&d, 0, "old", 900); /* of another time */
    deadlines_doubt(&d);
    assert_int_equal(find(&d, 0, "old"), 1);
    assert_int_equal(deadlines_known(&d, 0, SLICE("old")), DEADLINE_NONE);
    run(&d, 0, "set plain v");
    run(&d, 0, "set timed v pxat 5000");
    run(&d, 0, "incr other");
    run(&d, 0, "rename other moved");
    for (int i = 0; i < 1000; i++) { /* graves are kept however often the table grows */
        snprintf(name, sizeof name, "set plain:%d v", i);
        run(&d, 0, name);
    }
    deadlines_save(&d, false, &saved);
    deadlines_load(&again, buf_slice(&saved));
    for (int round = 0; round < 2; round++) {
        const struct deadlines *of = round ? &again : &d;
        assert_int_equal(find(of, 0, "plain"), DEADLINE_NONE);
        assert_int_equal(find(of, 0, "plain:999"), DEADLINE_NONE);
        assert_int_equal(find(of, 1, "plain"), 1);
        assert_int_equal(find(of, 0, "timed"), 5000);
        assert_int_equal(find(of, 0, "moved"), 1);
        assert_int_equal(find(of, 0, "never seen"), 1);
    }
    run_at(&again, 70, 0, "flushall");
    assert_int_equal(find(&again, 0, "never seen"), DEADLINE_NONE);
    buf_close(&saved);
    deadlines_close(&again);
    deadlines_close(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_batch_that_failed_is_forgotten_but_stays_logged),
        cmocka_unit_test(test_many_come_and_go),
        cmocka_unit_test(test_a_far_deadline_is_one_all_the_same),
        cmocka_unit_test(test_they_follow_swapdb),
        cmocka_unit_test(test_an_event_is_obeyed_once),
        cmocka_unit_test(test_behind_a_swap_of_the_same_batch_every_key_counts_as_gone),
        cmocka_unit_test(test_they_go_with_flushdb_and_flushall),
        cmocka_unit_test(test_rename_move_and_copy_take_them_along),
        cmocka_unit_test(test_writes_give_and_take_them),
        cmocka_unit_test(test_nothing_is_removed_while_a_stream_is_applied_again),
        cmocka_unit_test(test_in_doubt_a_key_counts_as_gone_until_it_was_written_as_a_whole),
        cmocka_unit_test(test_a_log_cut_anywhere_is_read_up_to_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

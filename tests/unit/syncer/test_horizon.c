/* test_horizon.c -- how far back a target could fall, from what INFO persistence says (C5b). */
#include "syncer/horizon.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct slice text(const char *s) { return slice_from(s, strlen(s)); }

static void note_seconds(struct horizon *h, int64_t from_s, int64_t to_s) {
    for (int64_t s = from_s; s <= to_s; s++) horizon_note(h, s * 1000, (struct place){.offset = (uint64_t)s});
}

static void test_a_target_that_saves_nothing_is_never_safe(void **state) {
    (void)state;
    struct horizon h = {0};
    struct place place;
    note_seconds(&h, 1000, 1100);
    horizon_learn(&h, text("aof_enabled:0\r\n"), 0);
    assert_false(horizon_safe(&h, 1100000, &place));
}

static void test_with_an_aof_what_is_five_seconds_old_is_safe(void **state) {
    (void)state;
    struct horizon h = {0};
    struct place place;
    note_seconds(&h, 1000, 1100);
    horizon_learn(&h, text("aof_enabled:1\r\naof_rewrite_in_progress:0\r\n"), 0);
    assert_true(horizon_safe(&h, 1100000, &place));
    assert_int_equal(place.offset, 1095);
}

static void test_a_save_counts_from_its_start_and_only_if_it_ended_well(void **state) {
    (void)state;
    struct horizon h = {0};
    struct place place;
    note_seconds(&h, 1000, 1100);
    horizon_learn(&h, text("rdb_last_save_time:1090\r\nrdb_last_bgsave_time_sec:10\r\nrdb_last_bgsave_status:err\r\n"), 0);
    assert_false(horizon_safe(&h, 1100000, &place));
    horizon_learn(&h, text("rdb_last_save_time:1090\r\nrdb_last_bgsave_time_sec:10\r\nrdb_last_bgsave_status:ok\r\n"), 0);
    assert_true(horizon_safe(&h, 1100000, &place));
    assert_int_equal(place.offset, 1078); /* ten seconds of saving, two for whole seconds */
}

static void test_samples_are_thinned_and_never_told_too_late(void **state) {
    (void)state;
    struct horizon h = {0};
    struct place place;
    note_seconds(&h, 1, 5000);
    horizon_learn(&h, text("aof_enabled:1\r\naof_rewrite_in_progress:0\r\n"), 0);
    for (int64_t s = 100; s <= 5000; s += 100)
        if (horizon_safe(&h, s * 1000, &place)) assert_true((int64_t)place.offset <= s - 5);
    assert_true(horizon_safe(&h, 5000000, &place));
    assert_int_equal(place.offset, 4995);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_target_that_saves_nothing_is_never_safe),
        cmocka_unit_test(test_with_an_aof_what_is_five_seconds_old_is_safe),
        cmocka_unit_test(test_a_save_counts_from_its_start_and_only_if_it_ended_well),
        cmocka_unit_test(test_samples_are_thinned_and_never_told_too_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

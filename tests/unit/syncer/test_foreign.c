/* What others wrote to a follower side, until it is made good (C26). */
#include "syncer/foreign.h"

#include "lib/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define LATER (FOREIGN_QUIET_MS + 1000)

static void test_keys_come_out_of_a_list_as_they_went_in(void **state) {
    (void)state;
    struct buf list = {0};
    struct slice rest, key;
    int db = -1;
    foreign_put_key(&list, 0, SLICE("a"));
    foreign_put_key(&list, 15, SLICE(""));
    foreign_put_key(&list, 3, slice_from("\0\r\n", 3));
    uint8_t *exact = mem_dup(buf_slice(&list).data, buf_size(&list));
    rest = slice_from(exact, buf_size(&list));
    assert_true(foreign_take_key(&rest, &db, &key) && db == 0 && slice_equal(key, SLICE("a")));
    assert_true(foreign_take_key(&rest, &db, &key) && db == 15 && key.size == 0);
    assert_true(foreign_take_key(&rest, &db, &key) && db == 3 && slice_equal(key, slice_from("\0\r\n", 3)));
    assert_false(foreign_take_key(&rest, &db, &key));
    mem_free(exact);
    buf_close(&list);
}

static void test_the_gate_opens_when_all_is_clean_and_nobody_wrote_for_a_while(void **state) {
    (void)state;
    struct foreign f = {0};
    foreign_add_key(&f, 100, 0, SLICE("k"));
    foreign_add_unit(&f, 100, 1000, true);
    assert_true(foreign_is_waiting(&f));
    assert_false(foreign_settle(&f, true, true, 1000 + LATER)); /* its key was not even handed over */
    buf_clear(&f.keys);
    f.handed = true;
    assert_true(foreign_is_waiting(&f));
    assert_false(foreign_settle(&f, false, false, 1000 + LATER));
    assert_true(foreign_is_waiting(&f)); /* not noted on disk yet */
    assert_false(foreign_settle(&f, true, false, 1000 + LATER));
    assert_false(foreign_is_waiting(&f));
    assert_int_equal(f.open, 1);
    assert_false(foreign_settle(&f, true, true, 1000 + FOREIGN_QUIET_MS - 1));
    foreign_add_unit(&f, 200, 5000, true); /* he writes again */
    assert_false(foreign_settle(&f, true, true, 1000 + LATER));
    assert_true(foreign_settle(&f, true, true, 5000 + LATER));
    assert_int_equal(f.open, 0);
    assert_int_equal(f.total, 2);
    assert_false(foreign_settle(&f, true, true, 5000 + LATER)); /* told once */
    foreign_close(&f);
}

static void test_what_has_no_keys_waits_for_an_audit_behind_it(void **state) {
    (void)state;
    struct foreign f = {0};
    foreign_add_unit(&f, 100, 1000, false);
    foreign_add_unit(&f, 200, 1000, true);
    assert_false(foreign_settle(&f, true, true, 1000 + LATER));
    foreign_audited(&f, 199); /* it looked before the last unit */
    assert_int_equal(f.open, 2);
    assert_false(foreign_settle(&f, true, true, 1000 + LATER));
    foreign_audited(&f, 200);
    assert_int_equal(f.open, 0);
    assert_false(f.audit);
    foreign_close(&f);
}

static void test_more_keys_than_there_is_room_for_need_an_audit(void **state) {
    (void)state;
    struct foreign f = {0};
    size_t size = (size_t)1 << 20;
    uint8_t *key = mem_alloc(size);
    memset(key, 'k', size);
    for (int i = 0; i < 15; i++) foreign_add_key(&f, 300, i, slice_from(key, size));
    assert_false(f.audit);
    assert_int_equal(f.open, 0); /* keys that went: the gate stays open */
    foreign_add_key(&f, 300, 15, slice_from(key, size));
    assert_true(f.audit);
    assert_int_equal(f.open, 1);
    assert_true(buf_size(&f.keys) <= FOREIGN_BYTES_MAX);
    buf_clear(&f.keys);
    assert_false(foreign_settle(&f, true, true, LATER));
    foreign_audited(&f, 299);
    assert_true(f.audit);
    foreign_audited(&f, 300);
    assert_false(f.audit || f.open);
    mem_free(key);
    foreign_close(&f);
}

static void test_what_turns_out_to_be_the_copy_is_forgotten(void **state) {
    (void)state;
    struct foreign f = {0};
    foreign_add_key(&f, 100, 0, SLICE("k"));
    foreign_add_unit(&f, 100, 1000, false);
    foreign_forget(&f);
    assert_false(foreign_is_waiting(&f) || f.audit || f.open);
    assert_int_equal(f.total, 1);
    foreign_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_come_out_of_a_list_as_they_went_in),
        cmocka_unit_test(test_the_gate_opens_when_all_is_clean_and_nobody_wrote_for_a_while),
        cmocka_unit_test(test_what_has_no_keys_waits_for_an_audit_behind_it),
        cmocka_unit_test(test_more_keys_than_there_is_room_for_need_an_audit),
        cmocka_unit_test(test_what_turns_out_to_be_the_copy_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

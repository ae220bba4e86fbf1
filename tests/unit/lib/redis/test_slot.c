/* test_slot.c -- known slots. The cluster ones are answers of CLUSTER KEYSLOT of redis-server. */
#include "lib/redis/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_check_values_of_both_sums(void **state) {
    (void)state;
    assert_int_equal(slot_crc16(SLICE("123456789")), 0x31c3);
    assert_int_equal(slot_crc32(SLICE("123456789")), 0xcbf43926);
}

static void test_slots_of_keys_with_and_without_tags(void **state) {
    (void)state;
    assert_int_equal(slot_cluster(SLICE("foo")), 12182);
    assert_int_equal(slot_cluster(SLICE("")), 0);
    assert_int_equal(slot_cluster(SLICE("a{foo}b")), 12182);
    assert_int_equal(slot_cluster(SLICE("{foo}{bar}")), 12182);
    assert_int_equal(slot_cluster(SLICE("foo{}{bar}")), 8363);
    assert_int_equal(slot_cluster(SLICE("foo{{bar}}zap")), slot_cluster(SLICE("{bar")));
    assert_int_equal(slot_cluster(SLICE("foo{bar")), slot_crc16(SLICE("foo{bar")) % 16384);
}

static void test_codis_takes_an_empty_tag_as_a_tag(void **state) {
    (void)state;
    assert_int_equal(slot_codis(SLICE("123456789")), 0xcbf43926 % 1024);
    assert_int_equal(slot_codis(SLICE("x{123456789}y")), 0xcbf43926 % 1024);
    assert_int_equal(slot_codis(SLICE("x{}y")), slot_codis(SLICE("")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_values_of_both_sums),
        cmocka_unit_test(test_slots_of_keys_with_and_without_tags),
        cmocka_unit_test(test_codis_takes_an_empty_tag_as_a_tag),
    };
    return cmocka_run_group_tests_name("slot", tests, NULL, NULL);
}

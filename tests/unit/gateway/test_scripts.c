/* test_scripts.c -- bodies are found by their SHA-1, and the store keeps its bounds. */
#include "gateway/scripts.h"

#include "lib/redis/resp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/sha.h>

#define RETURN1 "e0e1f9fabfc9d4800c877a703b823ac0578ff8db" /* SCRIPT LOAD "return 1" says so */

static void test_a_body_is_found_by_its_hash_in_any_case(void **state) {
    (void)state;
    struct scripts *s = scripts_open();
    struct buf out = {0};
    assert_false(scripts_find(s, SLICE(RETURN1), &out));
    assert_int_equal(scripts_missing(s), 1);
    scripts_add(s, SLICE("return 1"));
    scripts_add(s, SLICE("return 1"));
    assert_int_equal(scripts_count(s), 1);
    assert_int_equal(scripts_missing(s), 0);
    assert_true(scripts_find(s, SLICE("E0E1F9FABFC9D4800C877A703B823AC0578FF8DB"), &out));
    assert_string_equal(buf_text(&out), "return 1");
    assert_true(scripts_find(s, SLICE(RETURN1), NULL));
    assert_false(scripts_find(s, SLICE("short"), NULL));
    assert_false(scripts_find(s, SLICE("zze1f9fabfc9d4800c877a703b823ac0578ff8db"), NULL));
    assert_int_equal(scripts_missing(s), 0);
    scripts_clear(s);
    assert_int_equal(scripts_count(s), 0);
    scripts_add(s, SLICE("return 1"));
    assert_int_equal(scripts_count(s), 1);
    buf_close(&out);
    scripts_close(s);
}

static void test_the_store_is_bounded_and_the_oldest_goes(void **state) {
    (void)state;
    struct scripts *s = scripts_open();
    char body[32], sha[41];
    for (int i = 0; i < 10050; i++) {
        int size = snprintf(body, sizeof body, "return %d", i);
        scripts_add(s, slice_from(body, (size_t)size));
    }
    assert_int_equal(scripts_count(s), 10000);
    uint8_t digest[SHA_DIGEST_LENGTH];
    SHA1((const uint8_t *)"return 0", 8, digest);
    for (size_t i = 0; i < sizeof digest; i++) snprintf(sha + 2 * i, 3, "%02x", digest[i]);
    assert_false(scripts_find(s, slice_text(sha), NULL));
    scripts_add(s, SLICE("return 0")); /* forgotten, and welcome again */
    assert_true(scripts_find(s, slice_text(sha), NULL));
    scripts_close(s);
}

static void test_loads_are_requests(void **state) {
    (void)state;
    struct scripts *s = scripts_open();
    struct buf out = {0};
    scripts_add(s, SLICE("return 'a\r\n'"));
    assert_int_equal(scripts_write_loads(s, &out), 1);
    assert_string_equal(buf_text(&out),
                        "*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$12\r\nreturn 'a\r\n'\r\n");
    buf_close(&out);
    scripts_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_body_is_found_by_its_hash_in_any_case),
        cmocka_unit_test(test_the_store_is_bounded_and_the_oldest_goes),
        cmocka_unit_test(test_loads_are_requests),
    };
    return cmocka_run_group_tests_name("scripts", tests, NULL, NULL);
}

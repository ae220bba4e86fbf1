/* test_reads.c -- which reads take part in a policy, how often, and when two answers say the same. */
#include "gateway/reads.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static bool same(const char *command, const char *one, const char *other) {
    bool forth = reads_same(command_named(command), slice_text(one), slice_text(other));
    assert_true(forth == reads_same(command_named(command), slice_text(other), slice_text(one)));
    return forth;
}

static void test_answers_that_are_equal_are_the_same(void **state) {
    (void)state;
    assert_true(same("get", "$1\r\na\r\n", "$1\r\na\r\n"));
    assert_false(same("get", "$1\r\na\r\n", "$1\r\nb\r\n"));
    assert_false(same("get", "$1\r\na\r\n", "$-1\r\n"));
    assert_false(same("lrange", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*2\r\n$1\r\nb\r\n$1\r\na\r\n"));
    assert_false(same("lrange", "*1\r\n$1\r\na\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"));
    assert_false(same("get", "", "$1\r\na\r\n"));
}

static void test_sets_and_hashes_have_no_order(void **state) {
    (void)state;
    assert_true(same("smembers", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*2\r\n$1\r\nb\r\n$1\r\na\r\n"));
    assert_true(same("smembers", "~2\r\n$1\r\na\r\n$1\r\nb\r\n", "~2\r\n$1\r\nb\r\n$1\r\na\r\n"));
    assert_false(same("smembers", "*2\r\n$1\r\na\r\n$1\r\na\r\n", "*2\r\n$1\r\nb\r\n$1\r\na\r\n"));
    assert_true(same("hgetall", "*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n",
                     "*4\r\n$1\r\nb\r\n$1\r\n2\r\n$1\r\na\r\n$1\r\n1\r\n"));
    assert_false(same("hgetall", "*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n",
                      "*4\r\n$1\r\na\r\n$1\r\n2\r\n$1\r\nb\r\n$1\r\n1\r\n"));
    assert_true(same("hgetall", "%2\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n",
                     "%2\r\n$1\r\nb\r\n$1\r\n2\r\n$1\r\na\r\n$1\r\n1\r\n"));
    assert_false(same("smembers", "*2\r\n$1\r\na\r\n", "*2\r\n$1\r\nb\r\n$1\r\na\r\n")); /* not whole */
}

static void test_times_and_scores_are_numbers(void **state) {
    (void)state;
    assert_true(same("ttl", ":100\r\n", ":99\r\n"));
    assert_false(same("ttl", ":100\r\n", ":97\r\n"));
    assert_false(same("ttl", ":1\r\n", ":-1\r\n"));
    assert_false(same("ttl", ":-1\r\n", ":-2\r\n"));
    assert_true(same("pexpiretime", ":4000000000000\r\n", ":4000000000002\r\n"));
    assert_false(same("pexpiretime", ":4000000000000\r\n", ":4000000000003\r\n"));
    assert_false(same("llen", ":100\r\n", ":99\r\n"));
    assert_true(same("zscore", "$4\r\n1e20\r\n", "$5\r\n1e+20\r\n"));
    assert_false(same("zscore", "$1\r\n1\r\n", "$1\r\n2\r\n"));
    assert_false(same("get", "$1\r\n1\r\n", "$3\r\n1.0\r\n"));
}

static void test_errors_are_the_same_by_their_code(void **state) {
    (void)state;
    assert_true(same("get", "-WRONGTYPE one\r\n", "-WRONGTYPE another\r\n"));
    assert_false(same("get", "-WRONGTYPE one\r\n", "-ERR one\r\n"));
    assert_false(same("get", "-WRONGTYPE one\r\n", "$1\r\na\r\n"));
}

static void test_only_plain_reads_take_part(void **state) {
    (void)state;
    static const char *const fit[] = {"get", "hgetall", "zrange", "ttl", "exists", "xrange", "lindex"};
    static const char *const not[] = {"set",  "srandmember", "sscan", "scan",   "keys",   "object|encoding",
                                      "eval", "eval_ro",     "blpop", "pfcount", "dbsize", "getdel"};
    for (size_t i = 0; i < sizeof fit / sizeof *fit; i++)
        if (!reads_fit(command_named(fit[i]))) fail_msg("%s does not", fit[i]);
    for (size_t i = 0; i < sizeof not / sizeof *not; i++)
        if (reads_fit(command_named(not[i]))) fail_msg("%s does", not[i]);
    assert_false(reads_fit(NULL));
}

static void test_the_share_is_kept(void **state) {
    (void)state;
    struct reads_policy p;
    struct why why;
    uint32_t dice = 0;
    unsigned picked = 0;
    assert_int_equal(reads_parse(SLICE("12.5%"), &p, &why), OK);
    struct reads *r = reads_open(p);
    for (unsigned i = 0; i < 8000; i++) {
        picked += reads_pick(r, READS_CANARY, &dice);
        assert_false(reads_pick(r, READS_SHADOW, &dice));
    }
    assert_int_equal(picked, 1000);
    reads_close(r);
}

static void test_policies_have_words(void **state) {
    (void)state;
    static const char *const good[] = {"primary", "shadow", "shadow:5%", "10%", "0.25%", "100%"};
    static const char *const bad[] = {"", "%", "10", "101%", "-1%", "shadow:", "shadow:x%", "nan%", "1e1%x", " 5%"};
    struct reads_policy p;
    struct why why;
    char text[READS_TEXT_BYTES];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(reads_parse(slice_text(good[i]), &p, &why), OK);
        reads_text(p, text);
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (reads_parse(slice_text(bad[i]), &p, &why) == OK) fail_msg("\"%s\" is taken", bad[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_that_are_equal_are_the_same),
        cmocka_unit_test(test_sets_and_hashes_have_no_order),
        cmocka_unit_test(test_times_and_scores_are_numbers),
        cmocka_unit_test(test_errors_are_the_same_by_their_code),
        cmocka_unit_test(test_only_plain_reads_take_part),
        cmocka_unit_test(test_the_share_is_kept),
        cmocka_unit_test(test_policies_have_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_endpoint.c -- addresses are read strictly and written as they are read. */
#include "lib/net/endpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_good_ones_come_back_the_same(void **state) {
    (void)state;
    static const char *const good[][2] = {{"127.0.0.1:6379", NULL},
                                          {"[::1]:6379", NULL},
                                          {":80", NULL},
                                          {"a.b-c_d:1", NULL},
                                          {"unix:/run/x.sock", NULL},
                                          {"host", "host:6379"},
                                          {"[fe80::1]", "[fe80::1]:6379"},
                                          {"/run/y.sock", "unix:/run/y.sock"},
                                          {"h:0", NULL}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct endpoint endpoint, again;
        struct why why;
        char text[ENDPOINT_TEXT];
        if (endpoint_parse(&endpoint, good[i][0], 6379, &why) != OK) fail_msg("%s", why.text);
        endpoint_format(&endpoint, text);
        assert_string_equal(text, good[i][1] ? good[i][1] : good[i][0]);
        assert_int_equal(endpoint_parse(&again, text, 0, &why), OK);
        assert_true(endpoint_equal(&endpoint, &again));
    }
}

static void test_bad_ones_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",          "host:",     "host:x", "host:65536", "host:-1",  "host:01",     "::1:6379",
        "[::1:6379", "[::1]6379", "unix:",  "a b:1",      "host:1:2", "h\xc3\xa9:1", "host\n:1"};
    struct why why;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct endpoint endpoint = {.kind = ENDPOINT_NONE};
        if (endpoint_parse(&endpoint, bad[i], 6379, &why) != ERR_CONFIG) fail_msg("%s", bad[i]);
        assert_int_equal(endpoint.kind, ENDPOINT_NONE);
    }
    char longest[400];
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "unix:/", 6);
    longest[399] = '\0';
    struct endpoint endpoint;
    assert_int_equal(endpoint_parse(&endpoint, longest, 1, &why), ERR_CONFIG);
    assert_int_equal(endpoint_parse(&endpoint, longest + 6, 1, &why), ERR_CONFIG);
    assert_int_equal(endpoint_parse(&endpoint, "host", 0, &why), ERR_CONFIG);
}

static void test_copies_own_their_texts(void **state) {
    (void)state;
    struct endpoint endpoint, copy;
    struct why why;
    assert_int_equal(endpoint_parse(&endpoint, "h:1", 0, &why), OK);
    endpoint.tls = (struct tls_options){.on = true, .ca = strdup("ca"), .cert = strdup("cert")};
    endpoint_copy(&copy, &endpoint);
    endpoint_close(&endpoint);
    assert_string_equal(copy.tls.ca, "ca");
    assert_null(copy.tls.key);
    endpoint_close(&copy);
    assert_null(copy.tls.ca);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_ones_come_back_the_same),
        cmocka_unit_test(test_bad_ones_are_refused),
        cmocka_unit_test(test_copies_own_their_texts),
    };
    return cmocka_run_group_tests_name("endpoint", tests, NULL, NULL);
}

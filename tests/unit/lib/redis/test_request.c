/* test_request.c -- requests are read the same however they arrive, as Redis reads them. */
#include "lib/base/rand.h"
#include "lib/redis/resp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Show TEXT in pieces (each call a fresh block, as when a buffer moves), and transcribe what comes:
 * "SET,k,v;" and at the end "!" with the words of the error, if any. */
static void transcribe(const struct resp_request_limits *limits, const char *text, size_t size,
                       size_t stride, struct buf *script) {
    struct resp_request request = {0};
    struct why why;
    size_t done = 0, shown = 0;
    buf_clear(script);
    while (shown < size) {
        shown = shown + stride > size ? size : shown + stride;
        for (;;) {
            uint8_t *block = malloc(shown - done + 1);
            assert_non_null(block);
            block = realloc(block, shown - done ? shown - done : 1);
            memcpy(block, text + done, shown - done);
            size_t used = 0;
            enum step step =
                resp_request_next(&request, limits, slice_from(block, shown - done), &used, &why);
            if (step == STEP_DONE) {
                for (size_t i = 0; i < request.argc; i++)
                    buf_printf(script, "%s%.*s", i ? "," : "", (int)request.argv[i].size,
                               (const char *)request.argv[i].data);
                buf_byte(script, ';');
                done += used;
            }
            if (step == STEP_FAIL) buf_printf(script, "!%s", why.text);
            if (step == STEP_MORE && resp_request_wants(&request) != 0)
                assert_true(resp_request_wants(&request) > shown - done);
            free(block);
            if (step == STEP_FAIL) {
                resp_request_close(&request);
                return;
            }
            if (step == STEP_MORE) break;
        }
    }
    resp_request_close(&request);
}

static const struct {
    const char *bytes, *script;
} cases[] = {
    {"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\na\r\n\r\n", "SET,k,a\r\n;"},
    {"PING\r\n\r\n*0\r\n*-1\r\nGET  k \n", "PING;;;;GET,k;"},
    {"SET \"a b\" 'c\\'d' \"\\x41\\n\" \"\"\r\n", "SET,a b,c'd,A\n,;"},
    {"*2\r\n$0\r\n\r\n$12\r\nabcdefghijkl\r\n*1\r\n$4\r\nPING\r\n", ",abcdefghijkl;PING;"},
    {"*1\r\n:4\r\n", "!Protocol error: expected '$', got ':'"},
    {"*1\r\n$-1\r\n", "!Protocol error: invalid bulk length"},
    {"*1\r\n$x\r\n", "!Protocol error: invalid bulk length"},
    {"*01\r\n", "!Protocol error: invalid multibulk length"},
    {"*1\r\n$01\r\na\r\n", "!Protocol error: invalid bulk length"},
    {"*1\r\n$1\r\nabc", "!Protocol error: invalid bulk length"},
    {"*1\r\n$1\rxa\r\n", "!Protocol error: invalid bulk length"},
    {"*x\r\n", "!Protocol error: invalid multibulk length"},
    {"*2147483648\r\n", "!Protocol error: invalid multibulk length"},
    {"*1\r\n$536870913\r\n", "!Protocol error: invalid bulk length"},
    {"SET \"a\r\n", "!Protocol error: unbalanced quotes in request"},
    {"SET \"a\"b\r\n", "!Protocol error: unbalanced quotes in request"},
};

static void test_any_pieces_give_the_same_requests(void **state) {
    (void)state;
    struct buf script = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size = strlen(cases[i].bytes);
        for (size_t stride = 1; stride <= size; stride++) {
            transcribe(&resp_request_limits_open, cases[i].bytes, size, stride, &script);
            assert_string_equal(buf_text(&script), cases[i].script);
        }
    }
    buf_close(&script);
}

static void test_before_authentication_little_is_allowed(void **state) {
    (void)state;
    static const struct {
        const char *bytes, *script;
    } closed[] = {
        {"*11\r\n", "!Protocol error: unauthenticated multibulk length"},
        {"*1\r\n$16385\r\n", "!Protocol error: unauthenticated bulk length"},
        {"a b c d e f g h i j k\r\n", "!Protocol error: unauthenticated multibulk length"},
        {"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n", "AUTH,x;"},
    };
    struct buf script = {0};
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++) {
        transcribe(&resp_request_limits_closed, closed[i].bytes, strlen(closed[i].bytes), 3,
                   &script);
        assert_string_equal(buf_text(&script), closed[i].script);
    }
    buf_close(&script);
}

static void test_endless_lines_are_refused(void **state) {
    (void)state;
    struct buf script = {0};
    char *text = malloc(70000);
    assert_non_null(text);
    memset(text, 'a', 70000);
    transcribe(&resp_request_limits_open, text, 70000, 1000, &script);
    assert_string_equal(buf_text(&script), "!Protocol error: too big inline request");
    memset(text, '1', 70000);
    text[0] = '*';
    transcribe(&resp_request_limits_open, text, 70000, 1000, &script);
    assert_string_equal(buf_text(&script), "!Protocol error: too big mbulk count string");
    free(text);
    buf_close(&script);
}

/* Random requests, written and read back in random pieces. */
static void test_written_requests_read_back(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    print_message("SEED=%llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    struct buf out = {0}, want = {0}, have = {0};
    for (int round = 0; round < 300; round++) {
        buf_clear(&out);
        buf_clear(&want);
        for (uint64_t n = rng_below(&rng, 4) + 1; n > 0; n--) {
            struct slice argv[20];
            char words[20][24];
            size_t argc = (size_t)rng_below(&rng, 20) + 1;
            for (size_t i = 0; i < argc; i++) {
                size_t size = (size_t)rng_below(&rng, 24);
                for (size_t j = 0; j < size; j++) words[i][j] = "ab\r\n*$1"[rng_below(&rng, 7)];
                argv[i] = slice_from(words[i], size);
                buf_printf(&want, "%s%.*s", i ? "," : "", (int)size, words[i]);
            }
            buf_byte(&want, ';');
            resp_write_command(&out, argc, argv);
        }
        size_t size = buf_size(&out);
        size_t stride = (size_t)rng_below(&rng, size) + 1;
        transcribe(&resp_request_limits_open, buf_text(&out), size, stride, &have);
        assert_int_equal(buf_size(&have), buf_size(&want));
        assert_memory_equal(buf_text(&have), buf_text(&want), buf_size(&want));
    }
    buf_close(&out);
    buf_close(&want);
    buf_close(&have);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_pieces_give_the_same_requests),
        cmocka_unit_test(test_before_authentication_little_is_allowed),
        cmocka_unit_test(test_endless_lines_are_refused),
        cmocka_unit_test(test_written_requests_read_back),
    };
    return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}

/* test_resp.c -- the readers say the same thing however the bytes arrive, and read what we write.
 */
#include "lib/redis/resp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct resp_limits limits = {
    .line_bytes_max = 64, .bulk_bytes_max = 1024, .items_max = 64};

/* A copy in a heap block of exactly that size, so that ASan catches a read past the end. */
static struct slice exact(const void *bytes, size_t size) {
    uint8_t *block = malloc(size ? size : 1);
    assert_non_null(block);
    if (size) memcpy(block, bytes, size);
    return slice_from(block, size);
}

static void drop(struct slice s) {
    free((void *)(uintptr_t)s.data);
}

/* Show the first SHOWN bytes and write what was read as a short script, a letter a token. */
static enum step transcribe(const char *text, size_t shown, struct buf *script) {
    struct slice block = exact(text, shown), unread = block;
    struct why why;
    struct resp_token token;
    size_t used = 0;
    enum step step;
    buf_clear(script);
    while ((step = resp_next(&limits, unread, &token, &used, &why)) == STEP_DONE) {
        buf_printf(script, "%c%lld:%.*s ", "seibNadtBEvmSpA"[token.kind], (long long)token.number,
                   (int)token.text.size, (const char *)token.text.data);
        unread = slice_drop(unread, used);
    }
    drop(block);
    return step;
}

static const struct {
    const char *bytes, *script;
} good[] = {
    {"+OK\r\n", "s0:OK "},
    {":-9223372036854775808\r\n", "i-9223372036854775808: "},
    {"$0\r\n\r\n", "b0: "},
    {"$-1\r\n*-1\r\n_\r\n", "N0: N0: N0: "},
    {"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n", "a3: b0:SET b0:k b0:\r\n "},
    {"-ERR no\r\n:7\r\n", "e0:ERR no i7: "},
    {",1.5\r\n,inf\r\n#t\r\n#f\r\n", "d0:1.5 d0:inf t1: t0: "},
    {"(123456789012345678901234567890\r\n", "B0:123456789012345678901234567890 "},
    {"!5\r\nERR x\r\n=7\r\ntxt:abc\r\n", "E0:ERR x v0:abc "},
    {"%1\r\n+a\r\n:1\r\n~1\r\n:2\r\n>1\r\n+p\r\n|1\r\n+k\r\n+v\r\n",
     "m2: s0:a i1: S1: i2: p1: s0:p A2: s0:k s0:v "},
};

static void test_any_prefix_is_a_prefix_of_the_whole(void **state) {
    (void)state;
    struct buf script = {0};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        size_t size = strlen(good[i].bytes);
        for (size_t shown = 0; shown <= size; shown++) {
            assert_int_equal(transcribe(good[i].bytes, shown, &script), STEP_MORE);
            assert_memory_equal(buf_text(&script), good[i].script, buf_size(&script));
        }
        assert_string_equal(buf_text(&script), good[i].script);
    }
    buf_close(&script);
}

static void test_nonsense_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "\r\n",    "OK\r\n",        "+OK\n",          ":\r\n",         ":1x\r\n",
        "$-2\r\n", "$1025\r\n",     "*65\r\n",        "$1\r\nabc\r\n", ":9223372036854775808\r\n",
        "#x\r\n",  ",\r\n",         ",1x\r\n",        "%-1\r\n",       "$?\r\n",
        "*?\r\n",  "=3\r\nabc\r\n", "=4\r\nabcd\r\n", "_x\r\n",        "!-1\r\n"};
    struct buf script = {0};
    struct why why;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(transcribe(bad[i], strlen(bad[i]), &script), STEP_FAIL);
        struct resp_skip skip = {0};
        size_t used = 0;
        if (bad[i][0] == '=' && bad[i][1] == '4') continue; /* the skipper does not look inside */
        struct slice block = exact(bad[i], strlen(bad[i]));
        assert_int_equal(resp_skip_next(&skip, &limits, block, &used, &why), STEP_FAIL);
        drop(block);
    }
    buf_close(&script);
}

/* Feed the skipper in pieces of STRIDE bytes; return where the reply ends. */
static size_t skip_in_pieces(const char *text, size_t size, size_t stride, uint8_t *first) {
    struct resp_skip skip = {0};
    struct why why;
    size_t done = 0, shown = 0;
    for (;;) {
        shown = shown + stride > size ? size : shown + stride;
        size_t used = 0;
        struct slice block = exact(text + done, shown - done);
        enum step step = resp_skip_next(&skip, &limits, block, &used, &why);
        drop(block);
        done += used;
        assert_int_not_equal(step, STEP_FAIL);
        if (step == STEP_DONE) break;
        assert_true(shown < size);
    }
    *first = skip.first;
    assert_false(skip.open);
    return done;
}

static void test_the_skipper_finds_the_same_end_in_any_pieces(void **state) {
    (void)state;
    static const char *const replies[] = {
        "+OK\r\n",
        "$-1\r\n",
        "$3\r\nabc\r\n",
        "*0\r\n",
        "*2\r\n*2\r\n:1\r\n$3\r\n\r\n*\r\n%1\r\n+k\r\n~1\r\n_\r\n",
        "|1\r\n+ttl\r\n:3\r\n*1\r\n|1\r\n+a\r\n+b\r\n$1\r\nx\r\n",
        ">2\r\n+message\r\n=5\r\ntxt:x\r\n",
    };
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        char text[256];
        size_t size = strlen(replies[i]);
        snprintf(text, sizeof text, "%s+next\r\n", replies[i]);
        for (size_t stride = 1; stride <= strlen(text); stride++) {
            uint8_t first = 0;
            assert_int_equal(skip_in_pieces(text, strlen(text), stride, &first), size);
            assert_int_equal(first, replies[i][0]);
        }
    }
}

static void test_the_skipper_takes_an_error_line_only_whole(void **state) {
    (void)state;
    struct resp_skip skip = {0};
    struct why why;
    size_t used = 1;
    assert_int_equal(resp_skip_next(&skip, &limits, SLICE("-READONLY You"), &used, &why),
                     STEP_MORE);
    assert_int_equal(used, 0);
}

static void test_the_skipper_limits_the_sum_of_elements(void **state) {
    (void)state;
    struct resp_skip skip = {0};
    struct why why;
    size_t used = 0;
    struct slice bytes = SLICE("*60\r\n*60\r\n");
    assert_int_equal(resp_skip_next(&skip, &limits, bytes, &used, &why), STEP_FAIL);
}

static void test_what_is_written_reads_back(void **state) {
    (void)state;
    struct buf out = {0}, script = {0};
    resp_write_simple(&out, SLICE("OK"));
    resp_write_errorf(&out, "ERR bad\r\n:%d", 7);
    resp_write_int(&out, INT64_MIN);
    resp_write_int(&out, 0);
    resp_write_bulk(&out, SLICE("a\r\n"));
    resp_write_array(&out, 2);
    resp_write_double(&out, 3, 0.5);
    resp_write_double(&out, 2, 0.1);
    resp_write_null(&out, 3);
    resp_write_map(&out, 2, 1);
    resp_write_map(&out, 3, 1);
    resp_write_verbatim(&out, 3, "txt", SLICE("hi"));
    resp_write_bool(&out, 2, true);
    resp_write_words(&out, "GET", "k", NULL);
    assert_int_equal(transcribe(buf_text(&out), buf_size(&out), &script), STEP_MORE);
    assert_string_equal(buf_text(&script),
                        "s0:OK e0:ERR bad  :7 i-9223372036854775808: i0: b0:a\r\n a2: d0:0.5 "
                        "b0:0.10000000000000001 N0: a2: m2: v0:hi i1: a2: b0:GET b0:k ");
    buf_close(&out);
    buf_close(&script);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_prefix_is_a_prefix_of_the_whole),
        cmocka_unit_test(test_nonsense_is_refused),
        cmocka_unit_test(test_the_skipper_finds_the_same_end_in_any_pieces),
        cmocka_unit_test(test_the_skipper_takes_an_error_line_only_whole),
        cmocka_unit_test(test_the_skipper_limits_the_sum_of_elements),
        cmocka_unit_test(test_what_is_written_reads_back),
    };
    return cmocka_run_group_tests_name("resp", tests, NULL, NULL);
}

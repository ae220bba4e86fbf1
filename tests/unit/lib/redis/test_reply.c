/* test_reply.c -- replies become trees, within limits, however they arrive. */
#include "lib/redis/reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct resp_reply_limits small = {.bytes_max = 200, .items_max = 20, .depth_max = 4};

static struct resp_reply *parse_in_pieces(const char *text, size_t stride, enum step *step) {
    struct resp_reply_reader reader = {0};
    struct resp_reply *reply = NULL;
    struct why why;
    size_t size = strlen(text), shown = 0, used = 0;
    do {
        shown = shown + stride > size ? size : shown + stride;
        uint8_t *block = malloc(shown ? shown : 1);
        assert_non_null(block);
        memcpy(block, text, shown);
        *step = resp_reply_next(&reader, &small, slice_from(block, shown), &reply, &used, &why);
        free(block); /* the tree must not need it */
    } while (*step == STEP_MORE && shown < size);
    if (*step == STEP_DONE) assert_int_equal(used, size);
    return reply;
}

static void print_tree(const struct resp_reply *r, struct buf *out) {
    buf_printf(out, "%d", (int)r->kind);
    if (r->kind == RESP_INT || r->kind == RESP_BOOL) buf_printf(out, "=%lld", (long long)r->number);
    if (r->text.size) buf_printf(out, "'%.*s'", (int)r->text.size, (const char *)r->text.data);
    if (r->count == 0) return;
    buf_byte(out, '[');
    for (size_t i = 0; i < r->count; i++) {
        if (i) buf_byte(out, ' ');
        print_tree(&r->child[i], out);
    }
    buf_byte(out, ']');
}

static void test_a_tree_is_the_same_in_any_pieces(void **state) {
    (void)state;
    static const char text[] =
        "*4\r\n%1\r\n+k\r\n:5\r\n|1\r\n+a\r\n*1\r\n:1\r\n$2\r\nhi\r\n*2\r\n~1\r\n"
        "#t\r\n_\r\n-ERR x\r\n";
    for (size_t stride = 1; stride <= sizeof text; stride++) {
        enum step step;
        struct resp_reply *reply = parse_in_pieces(text, stride, &step);
        assert_int_equal(step, STEP_DONE);
        struct buf out = {0};
        print_tree(reply, &out);
        assert_string_equal(buf_text(&out), "5[11[0'k' 2=5] 3'hi' 5[12[7=1] 4] 1'ERR x']");
        buf_close(&out);
        resp_reply_free(reply);
    }
}

static void test_limits_hold(void **state) {
    (void)state;
    static const char *const bad[] = {
        "*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",                                           /* too deep */
        "*21\r\n",                                                                  /* too many */
        "*3\r\n*9\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n*9\r\n", /* in sum */
        "$300\r\n",                                                                 /* too long */
        "*1\r\n=4\r\nabcd\r\n", /* seen only when the tree is built */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (size_t stride = 1; stride <= strlen(bad[i]); stride += 3) {
            enum step step;
            (void)parse_in_pieces(bad[i], stride, &step);
            assert_int_equal(step, STEP_FAIL);
        }
}

static void test_fields_are_found_in_both_forms(void **state) {
    (void)state;
    static const char *const texts[] = {"%2\r\n+a\r\n:1\r\n+b\r\n$1\r\n2\r\n",
                                        "*4\r\n+a\r\n:1\r\n+b\r\n$1\r\n2\r\n"};
    for (size_t i = 0; i < 2; i++) {
        enum step step;
        struct resp_reply *reply = parse_in_pieces(texts[i], 100, &step);
        assert_int_equal(step, STEP_DONE);
        int64_t number = 0;
        const struct resp_reply *b = resp_reply_field(reply, "b");
        assert_non_null(b);
        assert_true(resp_reply_to_int(b, &number));
        assert_int_equal(number, 2);
        assert_null(resp_reply_field(reply, "c"));
        assert_true(resp_reply_is(b, "2"));
        resp_reply_free(reply);
    }
}

static void test_info_fields(void **state) {
    (void)state;
    struct slice info = SLICE("# Server\r\nrole:master\r\nrole2:x\r\nempty:\r\nlast:1");
    struct slice value;
    assert_true(resp_info_field(info, "role", &value));
    assert_true(slice_equal(value, SLICE("master")));
    assert_true(resp_info_field(info, "empty", &value));
    assert_int_equal(value.size, 0);
    assert_true(resp_info_field(info, "last", &value));
    assert_true(slice_equal(value, SLICE("1")));
    assert_false(resp_info_field(info, "rol", &value));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_tree_is_the_same_in_any_pieces),
        cmocka_unit_test(test_limits_hold),
        cmocka_unit_test(test_fields_are_found_in_both_forms),
        cmocka_unit_test(test_info_fields),
    };
    return cmocka_run_group_tests_name("reply", tests, NULL, NULL);
}

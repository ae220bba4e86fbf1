/* test_baseline_file.c -- an RDB file item by item: only one that was begun late enough, and what is
 * broken ends with a reason. */
#include "gateway/baseline_file.h"

#include "lib/base/buf.h"
#include "lib/redis/dump.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static _Atomic int woken;
static char path[] = "/tmp/drawbridge-baseline-XXXXXX";

static void wake(void *self) {
    (void)self;
    atomic_fetch_add(&woken, 1);
}

static void put_text(struct buf *out, struct slice text) {
    if (text.size < 64) {
        buf_byte(out, (uint8_t)text.size);
    } else {
        buf_byte(out, 0x80);
        for (int i = 24; i >= 0; i -= 8) buf_byte(out, (uint8_t)(text.size >> i));
    }
    buf_add(out, text);
}

static void put_head(struct buf *out, const char *ctime) {
    buf_printf(out, "REDIS0010");
    if (ctime) {
        buf_byte(out, 0xFA);
        put_text(out, SLICE("ctime"));
        put_text(out, slice_text(ctime));
    }
    buf_append(out, "\xFE\x03", 2);
}

static void put_string(struct buf *out, const char *name, struct slice value) {
    buf_byte(out, 0);
    put_text(out, slice_text(name));
    put_text(out, value);
}

static void put_end(struct buf *out) {
    buf_byte(out, 0xFF);
    buf_append(out, "\0\0\0\0\0\0\0", 8);
}

static struct baseline_file *open_bytes(struct buf *bytes, int64_t after_ms) {
    struct baseline_file *file = NULL;
    struct why why;
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(buf_slice(bytes).data, 1, buf_size(bytes), out), buf_size(bytes));
    fclose(out);
    buf_close(bytes);
    assert_int_equal(baseline_open(&file, path, after_ms, wake, NULL, &why), OK);
    return file;
}

/* The next item; NULL at the end, of which *STATE tells. */
static const struct baseline_item *next(struct baseline_file *file, enum baseline_state *state,
                                        struct why *why) {
    for (;;) {
        const struct baseline_item *item = baseline_next(file);
        if (item) return item;
        *state = baseline_state(file, why);
        if (*state != BASELINE_READING) return NULL;
        usleep(1000);
    }
}

static void items_come_with_payload_and_deadline(void **context) {
    (void)context;
    struct buf bytes = {0};
    enum baseline_state state = BASELINE_READING;
    struct why why;
    put_head(&bytes, "1000");
    put_string(&bytes, "k", SLICE("v"));
    buf_append(&bytes, "\xFC\x88\x13\0\0\0\0\0\0", 9); /* 5000 ms */
    put_string(&bytes, "expires", SLICE("w"));
    put_end(&bytes);
    struct baseline_file *file = open_bytes(&bytes, 1000000);
    const struct baseline_item *item = next(file, &state, &why);
    assert_non_null(item);
    assert_int_equal(item->db, 3);
    assert_true(slice_equal(item->name, SLICE("k")));
    assert_int_equal(item->deadline_ms, 0);
    assert_false(item->is_big);
    uint8_t type = 9;
    struct slice value;
    assert_int_equal(dump_open(item->payload, &type, &value, &why), OK);
    assert_int_equal(type, RDB_STRING);
    baseline_taken(file);
    item = next(file, &state, &why);
    assert_non_null(item);
    assert_int_equal(item->deadline_ms, 5000);
    baseline_taken(file);
    assert_null(next(file, &state, &why));
    assert_int_equal(state, BASELINE_DONE);
    assert_true(atomic_load(&woken) > 0);
    baseline_close(file);
}

static void fails(struct buf *bytes, const char *words) {
    enum baseline_state state = BASELINE_READING;
    struct why why = {""};
    struct baseline_file *file = open_bytes(bytes, 1000000);
    while (next(file, &state, &why)) baseline_taken(file);
    assert_int_equal(state, BASELINE_FAILED);
    if (!strstr(why.text, words)) fail_msg("'%s' is not in: %s", words, why.text);
    baseline_close(file);
}

static void a_file_that_is_too_old_or_does_not_tell_has_no_items(void **context) {
    (void)context;
    static const char *const times[] = {"999", "0", "-5", "soon", "99999999999999999999", ""};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        struct buf bytes = {0};
        put_head(&bytes, times[i]);
        put_string(&bytes, "k", SLICE("v"));
        put_end(&bytes);
        fails(&bytes, "it is too old");
    }
    struct buf bytes = {0};
    put_head(&bytes, NULL);
    put_string(&bytes, "k", SLICE("v"));
    put_end(&bytes);
    fails(&bytes, "does not say when it was begun");
    put_head(&bytes, NULL); /* nor without keys */
    put_end(&bytes);
    fails(&bytes, "does not say when it was begun");
}

static void a_file_that_is_not_whole_fails(void **context) {
    (void)context;
    struct buf bytes = {0};
    put_head(&bytes, "1000");
    put_string(&bytes, "k", SLICE("v"));
    fails(&bytes, "");
    buf_printf(&bytes, "not an RDB at all");
    fails(&bytes, "");
}

static void what_is_too_large_comes_by_its_name(void **context) {
    (void)context;
    struct buf bytes = {0};
    enum baseline_state state = BASELINE_READING;
    struct why why;
    size_t size = BASELINE_ITEM_MAX + 1;
    char *large = calloc(1, size);
    put_head(&bytes, "1000");
    put_string(&bytes, "large", slice_from(large, size));
    put_end(&bytes);
    struct baseline_file *file = open_bytes(&bytes, 0);
    const struct baseline_item *item = next(file, &state, &why);
    assert_non_null(item);
    assert_true(item->is_big);
    assert_true(slice_equal(item->name, SLICE("large")));
    assert_int_equal(item->payload.size, 0);
    baseline_taken(file);
    assert_null(next(file, &state, &why));
    assert_int_equal(state, BASELINE_DONE);
    baseline_close(file);
    free(large);
}

static void one_that_nobody_takes_stands_still_and_can_be_closed(void **context) {
    (void)context;
    struct buf bytes = {0};
    size_t size = 1u << 20;
    char *large = malloc(size), name[16];
    for (size_t i = 0; i < size; i++) large[i] = (char)rand();
    put_head(&bytes, "1000");
    for (int i = 0; i < 40; i++) {
        (void)snprintf(name, sizeof name, "key %d", i);
        put_string(&bytes, name, slice_from(large, size));
    }
    put_end(&bytes);
    struct baseline_file *file = open_bytes(&bytes, 0);
    enum baseline_state state = BASELINE_READING;
    struct why why;
    assert_non_null(next(file, &state, &why));
    assert_int_equal(baseline_state(file, &why), BASELINE_READING); /* 40 MB do not fit */
    baseline_close(file);
    free(large);
}

static int begin(void **context) {
    (void)context;
    int fd = mkstemp(path);
    if (fd >= 0) close(fd);
    return fd < 0;
}

static int end(void **context) {
    (void)context;
    return unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_come_with_payload_and_deadline),
        cmocka_unit_test(a_file_that_is_too_old_or_does_not_tell_has_no_items),
        cmocka_unit_test(a_file_that_is_not_whole_fails),
        cmocka_unit_test(what_is_too_large_comes_by_its_name),
        cmocka_unit_test(one_that_nobody_takes_stands_still_and_can_be_closed),
    };
    return cmocka_run_group_tests(tests, begin, end);
}

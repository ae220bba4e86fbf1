/* test_unit.c -- the stream as units: any split gives the same ones; what is not a stream is refused. */
#include "lib/base/mem.h"
#include "syncer/unit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void add(struct buf *out, const char *line) {
    char text[256], *word;
    struct slice argv[16];
    size_t argc = 0;
    snprintf(text, sizeof text, "%s", line);
    for (char *at = text; (word = strtok(at, " ")); at = NULL) argv[argc++] = slice_text(word);
    resp_write_command(out, argc, argv);
}

static void make_stream(struct buf *out) {
    static const char *const lines[] = {"SELECT 0", "SET a 1", "PING", "MULTI", "INCR a", "SELECT 3", "LPUSH l x y", "EXEC", "DEL b",
                                        "MULTI", "EXEC", "REPLCONF GETACK *", "SELECT 9", "UNKNOWN.CMD k v", "FLUSHALL"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) add(out, lines[i]);
}

/* What was read, as text: "offset db [command@db command@db]". */
static void describe(const struct unit *unit, struct buf *out) {
    buf_printf(out, "%llu-%llu %d [", (unsigned long long)unit->start, (unsigned long long)unit->end, unit->end_db);
    for (size_t i = 0; i < unit->count; i++) {
        const struct unit_command *c = &unit->commands[i];
        buf_printf(out, "%.*s/%zu@%d%s ", (int)c->argv[0].size, (const char *)c->argv[0].data, c->argc, c->db, c->command ? "" : "?");
        assert_true(c->raw.size > 0 && c->raw.data[0] == '*');
    }
    buf_printf(out, "]\n");
}

static void read_in_parts(struct slice stream, size_t part, struct buf *out) {
    struct unit_reader reader;
    struct unit unit;
    struct why why;
    unit_reader_init(&reader, 1000, -1);
    while (stream.size > 0) {
        size_t size = stream.size < part ? stream.size : part;
        buf_add(&reader.in, slice_take(stream, size));
        stream = slice_drop(stream, size);
        enum step step;
        while ((step = unit_next(&reader, &unit, &why)) == STEP_DONE) describe(&unit, out);
        assert_int_equal(step, STEP_MORE);
    }
    unit_reader_close(&reader);
}

static void test_any_split_gives_the_same_units(void **state) {
    (void)state;
    struct buf stream = {0}, whole = {0};
    make_stream(&stream);
    read_in_parts(buf_slice(&stream), buf_size(&stream), &whole);
    for (size_t part = 1; part < buf_size(&stream); part++) {
        struct buf parts = {0};
        read_in_parts(buf_slice(&stream), part, &parts);
        assert_string_equal(buf_text(&parts), buf_text(&whole));
        buf_close(&parts);
    }
    buf_close(&stream);
    buf_close(&whole);
}

static void test_databases_and_blocks_are_kept_track_of(void **state) {
    (void)state;
    struct buf stream = {0}, out = {0};
    make_stream(&stream);
    read_in_parts(buf_slice(&stream), buf_size(&stream), &out);
    const char *text = buf_text(&out);
    assert_non_null(strstr(text, "1000-1023 0 []"));
    assert_non_null(strstr(text, "[INCR/2@0 LPUSH/4@3 ]"));
    assert_non_null(strstr(text, "3 [DEL/2@3 ]"));
    assert_non_null(strstr(text, "9 [UNKNOWN.CMD/3@9? ]"));
    buf_close(&stream);
    buf_close(&out);
}

static void refused(const char *const *lines, const char *raw) {
    struct unit_reader reader;
    struct unit unit;
    struct why why;
    enum step step;
    unit_reader_init(&reader, 0, 0);
    for (; lines && *lines; lines++) add(&reader.in, *lines);
    if (raw) buf_append(&reader.in, raw, strlen(raw));
    while ((step = unit_next(&reader, &unit, &why)) == STEP_DONE) {}
    assert_int_equal(step, STEP_FAIL);
    unit_reader_close(&reader);
}

static void test_what_is_not_a_stream_is_refused(void **state) {
    (void)state;
    refused((const char *[]){"EXEC", NULL}, NULL);
    refused((const char *[]){"MULTI", "MULTI", NULL}, NULL);
    refused((const char *[]){"SELECT x", NULL}, NULL);
    refused((const char *[]){"SELECT -1", NULL}, NULL);
    refused(NULL, "SET a b\r\n");
    refused(NULL, "*1\r\n$-5\r\nx\r\n");
    refused(NULL, "*99999999999\r\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_split_gives_the_same_units),
        cmocka_unit_test(test_databases_and_blocks_are_kept_track_of),
        cmocka_unit_test(test_what_is_not_a_stream_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

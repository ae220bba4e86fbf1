/* test_log.c -- a log line is one line, whatever is in its fields, and repeats are counted. */
#include "lib/base/log.h"
#include "lib/base/log_line.h"
#include "lib/base/mem.h"
#include "lib/base/rand.h"

#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void format(struct buf *out, enum log_format format, const struct log_field *fields,
                   size_t count) {
    buf_clear(out);
    log_line(out, format, 1234567890123, LOG_LEVEL_WARN, "gateway", "link.moved", fields, count);
}

static void test_lines_look_as_the_guide_says(void **state) {
    (void)state;
    struct buf out = {0};
    struct log_field fields[] = {LOG_S("id", "east-3"),   LOG_U("offset", 118), LOG_I("n", -4),
                                 LOG_S("none", NULL),     LOG_B("ok", true),    LOG_D("rate", 0.25),
                                 LOG_S("say", "a \"b\""), LOG_S("empty", "")};
    format(&out, LOG_FORMAT_TEXT, fields, 8);
    assert_string_equal(
        buf_text(&out),
        "2009-02-13T23:31:30.123Z warn  gateway link.moved id=east-3 offset=118 n=-4 "
        "ok=true rate=0.25 say=\"a \\\"b\\\"\" empty=\"\"");
    format(&out, LOG_FORMAT_JSON, fields, 8);
    assert_string_equal(
        buf_text(&out),
        "{\"time\":\"2009-02-13T23:31:30.123Z\",\"level\":\"warn\",\"role\":\"gateway\","
        "\"event\":\"link.moved\",\"id\":\"east-3\",\"offset\":118,\"n\":-4,\"ok\":true,"
        "\"rate\":0.25,\"say\":\"a \\\"b\\\"\",\"empty\":\"\"}");
    buf_close(&out);
}

static void test_any_bytes_make_one_line_of_valid_json(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    printf("SEED=%llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    struct buf out = {0};
    for (int i = 0; i < 20000; i++) {
        size_t size = rng_below(&rng, i % 100 == 0 ? 700 : 12);
        uint8_t *exact = malloc(size ? size : 1);
        for (size_t n = 0; n < size; n++) {
            uint8_t some[] = {0, '\n', '"', '\\', 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0xed, 0xa0, 0xc0};
            exact[n] = rng_below(&rng, 2) ? some[rng_below(&rng, 12)] : (uint8_t)rng_next(&rng);
        }
        struct log_field field = LOG_SL("x", slice_from(exact, size));
        format(&out, LOG_FORMAT_TEXT, &field, 1);
        for (const uint8_t *at = buf_slice(&out).data; at < out.data + out.end; at++)
            assert_true(*at >= 0x20 && *at != 0x7f);
        format(&out, LOG_FORMAT_JSON, &field, 1);
        json_error_t error;
        json_t *json = json_loadb((const char *)buf_slice(&out).data, buf_size(&out), 0, &error);
        if (json == NULL) fail_msg("%s: %s", error.text, buf_text(&out));
        json_decref(json);
        free(exact);
    }
    buf_close(&out);
}

/* Everything that was logged through the pipe. */
static size_t read_lines(int fd, char *text, size_t room) {
    ssize_t got = read(fd, text, room - 1);
    text[got > 0 ? got : 0] = '\0';
    size_t lines = 0;
    for (const char *at = text; *at; at++) lines += *at == '\n';
    return lines;
}

static void test_repeats_are_counted_not_printed(void **state) {
    (void)state;
    int pipes[2];
    static char text[200000];
    assert_int_equal(pipe2(pipes, O_NONBLOCK), 0);
    log_to_fd(pipes[1]);
    uint64_t before = log_count(LOG_LEVEL_WARN);
    for (int i = 0; i < 1000; i++) log_warn("peer.lost", LOG_S("id", "a"));
    size_t same = read_lines(pipes[0], text, sizeof text);
    assert_true(same >= 1 && same <= 5); /* a second may have begun in between, once or twice */
    for (int i = 0; i < 1000; i++) log_warn("client.lost", LOG_I("n", i));
    size_t different = read_lines(pipes[0], text, sizeof text);
    assert_true(different >= 20 && different <= 100);
    log_repeats(true);
    read_lines(pipes[0], text, sizeof text);
    assert_non_null(strstr(text, "warn  peer.lost repeated="));
    assert_non_null(strstr(text, "warn  client.lost repeated="));
    assert_int_equal(log_count(LOG_LEVEL_WARN) - before, 2000);
    log_debug("not.shown");
    log_info("shown");
    assert_int_equal(read_lines(pipes[0], text, sizeof text), 1);
    log_to_fd(STDERR_FILENO);
    close(pipes[0]);
    close(pipes[1]);
}

static void test_a_full_pipe_loses_lines_and_stops_nobody(void **state) {
    (void)state;
    int pipes[2];
    static char text[200000], value[600];
    assert_int_equal(pipe(pipes), 0); /* blocking, as standard error is */
    memset(value, 'v', sizeof value - 1);
    log_to_fd(pipes[1]);
    uint64_t before = log_lost();
    for (int i = 0; i < 300; i++) {
        char event[24];
        (void)snprintf(event, sizeof event, "full.%d", i);
        log_info(event, LOG_S("a", value), LOG_S("b", value), LOG_S("c", value), LOG_S("d", value),
                 LOG_S("e", value), LOG_S("f", value), LOG_S("g", value), LOG_S("h", value),
                 LOG_S("i", value));
    }
    assert_true(log_lost() > before);
    log_to_fd(STDERR_FILENO);
    close(pipes[1]);
    while (read_lines(pipes[0], text, sizeof text)) {
        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
            assert_true(strstr(line, "info  full.") == line + 25);
    }
    close(pipes[0]);
}

static void *log_much(void *name) {
    for (int i = 0; i < 300; i++) log_info(name, LOG_I("i", i));
    return NULL;
}

static void test_lines_of_threads_do_not_mix(void **state) {
    (void)state;
    int pipes[2];
    static char text[200000];
    static char names[8][8] = {"t.0", "t.1", "t.2", "t.3", "t.4", "t.5", "t.6", "t.7"};
    pthread_t threads[8];
    assert_int_equal(pipe2(pipes, O_NONBLOCK), 0);
    log_to_fd(pipes[1]);
    for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, log_much, names[i]);
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    log_to_fd(STDERR_FILENO);
    assert_true(read_lines(pipes[0], text, sizeof text) >= 8);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        assert_true(strstr(line, "info  t.") == line + 25);
    close(pipes[0]);
    close(pipes[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_look_as_the_guide_says),
        cmocka_unit_test(test_any_bytes_make_one_line_of_valid_json),
        cmocka_unit_test(test_repeats_are_counted_not_printed),
        cmocka_unit_test(test_a_full_pipe_loses_lines_and_stops_nobody),
        cmocka_unit_test(test_lines_of_threads_do_not_mix),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}

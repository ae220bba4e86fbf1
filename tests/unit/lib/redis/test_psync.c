/* test_psync.c -- the handshake says the same however the master's bytes are cut. */
#include "lib/redis/psync.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define ID "0123456789abcdef0123456789abcdef01234567"
#define MARK "fedcba9876543210fedcba9876543210fedcba98"

/* Show TEXT in pieces of STRIDE, write events and sent bytes as a script. A master's answers are
 * shown without waiting for what we send: the decider must not care. */
static void play(const struct psync_config *config, const char *text, size_t stride,
                 struct buf *script) {
    struct psync psync;
    struct buf out = {0};
    struct why why;
    size_t size = strlen(text), shown = 0, done = 0;
    buf_clear(script);
    psync_start(&psync, config, &out);
    for (;;) {
        shown = shown + stride > size ? size : shown + stride;
        enum psync_event event;
        do {
            uint8_t *block = malloc(shown - done ? shown - done : 1);
            assert_non_null(block);
            memcpy(block, text + done, shown - done);
            size_t used = 0;
            event = psync_feed(&psync, slice_from(block, shown - done), &used, &out, &why);
            done += used;
            if (event == PSYNC_EV_BYTES) buf_append(script, psync.rdb.data, psync.rdb.size);
            if (event == PSYNC_EV_FULL) buf_printf(script, "F%lld<", (long long)psync.offset);
            if (event == PSYNC_EV_RDB_END) buf_printf(script, ">");
            if (event == PSYNC_EV_CONTINUE)
                buf_printf(script, "C%lld%s", (long long)psync.offset, psync.id_changed ? "!" : "");
            if (event == PSYNC_EV_LATER) buf_printf(script, "later");
            if (event == PSYNC_EV_REFUSED) buf_printf(script, "refused");
            free(block);
        } while (event != PSYNC_EV_MORE);
        if (shown == size) break;
    }
    buf_printf(script, " left=%s", text + done);
    buf_close(&out);
}

static const struct psync_config plain = {.listening_port = 7000};
static const struct psync_config resume = {.replid = ID, .next_offset = 101};
static const struct psync_config filtered = {.listening_port = 7000,
                                             .rdb_filter = "",
                                             .need_filter = true,
                                             .password = {(const uint8_t *)"p", 1}};

static const struct {
    const struct psync_config *config;
    const char *master, *script;
} talks[] = {
    {&plain, "+PONG\r\n+OK\r\n+OK\r\n+FULLRESYNC " ID " 7\r\n\n\n$5\r\nREDIS*1\r\n",
     "F7<REDIS> left=*1\r\n"},
    {&plain,
     "\n+PONG\r\n\n-ERR what\r\n+OK\r\n\n+FULLRESYNC " ID " 0\r\n$EOF:" MARK "\r\nab" MARK "xy",
     "F0<ab> left=xy"},
    {&plain, "-NOAUTH x\r\n+OK\r\n+OK\r\n+FULLRESYNC " ID " 0\r\n$EOF:" MARK "\r\nfedcfedcba" MARK,
     "F0<fedcfedcba> left="},
    {&plain, "+PONG\r\n+OK\r\n+OK\r\n-NOMASTERLINK Can't SYNC\r\n", "later left="},
    {&plain, "-LOADING x\r\n", "later left="},
    {&plain, "+PONG\r\n+OK\r\n+OK\r\n-ERR unknown command 'PSYNC'\r\n", "refused left="},
    {&plain, "+PONG\r\n-NOAUTH x\r\n", "refused left="},
    {&plain, "+PONG\r\n+OK\r\n+OK\r\n+CONTINUE\r\n", "refused left="},
    {&plain, "+PONG\r\n+OK\r\n+OK\r\n+FULLRESYNC short 7\r\n", "refused left="},
    {&plain, "+PONG\r\n+OK\r\n+OK\r\n+FULLRESYNC " ID " 7\r\n$0\r\n", "F7<refused left="},
    {&resume, "+PONG\r\n+OK\r\n+OK\r\n+CONTINUE\r\n*1\r\n", "C100 left=*1\r\n"},
    {&resume, "+PONG\r\n+OK\r\n+OK\r\n+CONTINUE " MARK "\r\n", "C100! left="},
    {&resume, "+PONG\r\n+OK\r\n+OK\r\n+CONTINUE bad\r\n", "refused left="},
    {&filtered, "+PONG\r\n+OK\r\n+OK\r\n+OK\r\n-ERR no\r\n", "refused left="},
    {&filtered, "+PONG\r\n-WRONGPASS x\r\n", "refused left="},
};

static void test_any_cut_gives_the_same_talk(void **state) {
    (void)state;
    struct buf script = {0};
    for (size_t i = 0; i < sizeof talks / sizeof *talks; i++)
        for (size_t stride = 1; stride <= strlen(talks[i].master); stride++) {
            play(talks[i].config, talks[i].master, stride, &script);
            assert_string_equal(buf_text(&script), talks[i].script);
        }
    buf_close(&script);
}

static void test_what_is_sent(void **state) {
    (void)state;
    struct psync psync;
    struct buf out = {0};
    struct why why;
    struct psync_config config = {.listening_port = 7001,
                                  .password = SLICE("p"),
                                  .user = SLICE("u"),
                                  .psync_command = "xpsync",
                                  .rdb_only = true,
                                  .replid = ID,
                                  .next_offset = 5};
    psync_start(&psync, &config, &out);
    const char *text = "+PONG\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n";
    for (size_t done = 0, used = 0; done < strlen(text); done += used)
        assert_int_equal(psync_feed(&psync, slice_text(text + done), &used, &out, &why),
                         PSYNC_EV_SEND);
    assert_string_equal(
        buf_text(&out),
        "*1\r\n$4\r\nPING\r\n*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$1\r\np\r\n"
        "*3\r\n$8\r\nREPLCONF\r\n$14\r\nlistening-port\r\n$4\r\n7001\r\n"
        "*5\r\n$8\r\nREPLCONF\r\n$4\r\ncapa\r\n$3\r\neof\r\n$4\r\ncapa\r\n$6\r\npsync2\r\n"
        "*3\r\n$8\r\nREPLCONF\r\n$8\r\nrdb-only\r\n$1\r\n1\r\n"
        "*3\r\n$6\r\nxpsync\r\n$40\r\n" ID "\r\n$1\r\n5\r\n");
    buf_close(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_cut_gives_the_same_talk),
        cmocka_unit_test(test_what_is_sent),
    };
    return cmocka_run_group_tests_name("psync", tests, NULL, NULL);
}

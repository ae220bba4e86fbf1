/* test_clients.c -- both clients of the Redis protocol: every command gets its own reply or a
 * reason, once, whatever the server does. */
#include "lib/base/mem.h"
#include "lib/base/rand.h"
#include "lib/control/rblock.h"
#include "lib/control/rconn.h"
#include "lib/net/loop.h"
#include "lib/redis/reply.h"
#include "tests/support/certs.h"
#include "tests/support/fake_redis.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct loop *loop;

/* ---- the asynchronous one ---- */

struct user {
    struct rconn *conn;
    size_t asked, answered, lost, pushes;
    bool in_order;
    int ready, down;
    bool drop_at_reply;
    enum err err;
    struct why why;
    char last[200];
};

struct ask {
    struct user *user;
    size_t number; /* what ECHO must give back */
};

static void on_ready(void *self) {
    struct user *user = self;
    user->ready++;
}

static void on_push(void *self, const struct resp_reply *push) {
    struct user *user = self;
    assert_true(push->count > 0);
    user->pushes++;
}

static void on_down(void *self, enum err err, const struct why *why) {
    struct user *user = self;
    assert_int_equal(user->answered + user->lost, user->asked); /* it comes after all of them */
    user->down++;
    user->err = err;
    user->why = *why;
}

static const struct rconn_events events = {
    .on_ready = on_ready, .on_push = on_push, .on_down = on_down};

static void on_echo(void *self, const struct resp_reply *reply, const struct why *why) {
    struct ask *ask = self;
    struct user *user = ask->user;
    if (reply) {
        int64_t number = -1;
        assert_true(resp_reply_to_int(reply, &number));
        assert_int_equal(number, ask->number);
        assert_int_equal(user->lost, 0);
        user->answered++;
    } else {
        assert_true(*why->text != '\0');
        user->lost++;
    }
    mem_free(ask);
}

static void echo(struct user *user, size_t number) {
    struct ask *ask = NEW(struct ask);
    *ask = (struct ask){user, number};
    char text[32];
    (void)snprintf(text, sizeof text, "%zu", number);
    struct slice argv[] = {SLICE("ECHO"), slice_text(text)};
    user->asked++;
    rconn_command(user->conn, 2, argv, on_echo, ask);
}

static void on_any(void *self, const struct resp_reply *reply, const struct why *why) {
    struct user *user = self;
    if (reply)
        (void)snprintf(user->last, sizeof user->last, "%.*s", (int)reply->text.size,
                       (const char *)reply->text.data);
    else
        (void)snprintf(user->last, sizeof user->last, "lost: %.100s", why->text);
    if (reply)
        user->answered++;
    else
        user->lost++;
    if (user->drop_at_reply) rconn_drop(user->conn);
}

static void words(struct user *user, const char *text) {
    user->asked++;
    rconn_words(user->conn, text, on_any, user);
}

static void run_until_answered(const struct user *user) {
    while (user->answered + user->lost < user->asked) loop_turn(loop, true);
}

static void run_until_down(const struct user *user) {
    while (user->down == 0) loop_turn(loop, true);
    assert_int_equal(user->down, 1);
}

static void dial(struct user *user, const struct fake_redis *server,
                 const struct rconn_options *options) {
    struct endpoint to;
    fake_redis_endpoint(server, &to);
    user->conn = rconn_dial(loop, &to, options, &events, user);
}

static void test_replies_come_in_order_and_every_one(void **state) {
    (void)state;
    struct fake_redis *server = fake_redis_open(NULL);
    struct user user = {0};
    dial(&user, server, NULL);
    for (size_t i = 0; i < 1000; i++) echo(&user, i); /* before it is ready */
    while (!user.ready) loop_turn(loop, true);
    for (size_t i = 0; i < 5000; i++) {
        echo(&user, i);
        if (i % 97 == 0) loop_turn(loop, false);
    }
    run_until_answered(&user);
    assert_int_equal(user.answered, 6000);
    rconn_send_raw(user.conn, SLICE("PING\r\nPING\r\nECHO last\r\n"), 3, on_any, &user);
    user.asked += 3;
    rconn_finish(user.conn);
    run_until_down(&user);
    assert_int_equal(user.err, OK);
    assert_string_equal(user.last, "last");
    fake_redis_close(server);
}

static void test_a_lost_connection_answers_every_command_once(void **state) {
    (void)state;
    static const char *const endings[] = {"HANGUP", "GARBAGE"};
    static const enum err codes[] = {ERR_CLOSED, ERR_PROTO};
    for (size_t i = 0; i < 2; i++) {
        struct fake_redis *server = fake_redis_open(NULL);
        struct user user = {0};
        dial(&user, server, NULL);
        for (size_t n = 0; n < 10; n++) echo(&user, n);
        words(&user, endings[i]);
        for (size_t n = 0; n < 10; n++) words(&user, "PING");
        run_until_down(&user);
        assert_int_equal(user.err, codes[i]);
        assert_int_equal(user.answered, 10);
        assert_int_equal(user.lost, 11);
        fake_redis_close(server);
    }
}

static void test_a_reply_that_nobody_asked_for_ends_it(void **state) {
    (void)state;
    struct fake_redis *server = fake_redis_open(NULL);
    struct user user = {0};
    dial(&user, server, NULL);
    words(&user, "TWICE");
    run_until_down(&user);
    assert_int_equal(user.err, ERR_PROTO);
    assert_non_null(strstr(user.why.text, "nobody had asked for"));
    fake_redis_close(server);
    struct fake_redis *full = fake_redis_open(&(struct fake_redis_options){.full = true});
    user = (struct user){0};
    dial(&user, full, NULL);
    run_until_down(&user);
    assert_int_equal(user.err, ERR_REFUSED);
    assert_non_null(strstr(user.why.text, "says: ERR max number of clients reached"));
    fake_redis_close(full);
}

static void test_passwords_names_and_databases(void **state) {
    (void)state;
    struct fake_redis_options with = {.user = "mover", .password = "open sesame"};
    struct fake_redis *server = fake_redis_open(&with);
    struct secret right = {0}, wrong = {0};
    secret_set(&right, SLICE("open sesame"));
    secret_set(&wrong, SLICE("hunter2"));
    struct rconn_options options = {.user = "mover", .password = &right, .name = "x", .db = 3};
    struct user user = {0};
    for (int resp3 = 0; resp3 < 2; resp3++) {
        options.resp3 = resp3;
        user = (struct user){0};
        dial(&user, server, &options);
        words(&user, "PING");
        words(&user, "PUSH hey");
        run_until_answered(&user);
        assert_string_equal(user.last, "OK");
        assert_int_equal(user.pushes, 1);
        rconn_close(user.conn);
        run_until_down(&user);
        assert_int_equal(user.err, OK);
    }
    options.password = &wrong;
    user = (struct user){0};
    dial(&user, server, &options);
    words(&user, "PING"); /* must not be sent without the greeting's success */
    run_until_down(&user);
    assert_int_equal(user.err, ERR_REFUSED);
    assert_int_equal(user.ready, 0);
    assert_int_equal(user.lost, 1);
    assert_non_null(strstr(user.why.text, "WRONGPASS"));
    assert_null(strstr(user.why.text, "hunter2"));
    options.password = &right;
    options.db = 99;
    user = (struct user){0};
    dial(&user, server, &options);
    run_until_down(&user);
    assert_non_null(strstr(user.why.text, "SELECT: the server says: ERR DB index is out of range"));
    secret_close(&right);
    secret_close(&wrong);
    fake_redis_close(server);
}

static void test_silence_and_size_have_limits(void **state) {
    (void)state;
    struct fake_redis *server = fake_redis_open(NULL);
    struct user user = {0};
    struct rconn_options options = {.reply_timeout_ms = 60, .max_reply_bytes = 1u << 20};
    dial(&user, server, &options);
    words(&user, "SILENT");
    run_until_down(&user);
    assert_int_equal(user.err, ERR_TIMEOUT);
    user = (struct user){0};
    options.reply_timeout_ms = 0;
    dial(&user, server, &options);
    words(&user, "BIG 1000000");
    words(&user, "BIG 1100000");
    run_until_down(&user);
    assert_int_equal(user.answered, 1);
    assert_int_equal(user.err, ERR_PROTO);
    fake_redis_close(server);
}

static void test_it_may_be_dropped_inside_a_reply(void **state) {
    (void)state;
    struct fake_redis *server = fake_redis_open(NULL);
    struct user user = {.drop_at_reply = true};
    dial(&user, server, NULL);
    words(&user, "PING");
    words(&user, "PING");
    while (user.answered == 0) loop_turn(loop, true);
    for (int i = 0; i < 10; i++) loop_turn(loop, false);
    assert_int_equal(user.answered, 1);
    assert_int_equal(user.lost + (size_t)user.down, 0);
    user = (struct user){0};
    dial(&user, server, NULL);
    words(&user, "PING");
    rconn_drop(user.conn);
    for (int i = 0; i < 10; i++) loop_turn(loop, false);
    assert_int_equal(user.answered + user.lost, 0);
    fake_redis_close(server);
}

/* ---- the blocking one ---- */

static struct rblock *open_client(const struct fake_redis *server, const struct tls_options *tls,
                                  const struct rblock_options *options) {
    struct endpoint to;
    struct rblock *client;
    struct why why;
    fake_redis_endpoint(server, &to);
    if (tls) to.tls = *tls;
    if (rblock_open(&client, &to, options, &why) != OK) fail_msg("%s", why.text);
    return client;
}

static void exchange(struct rblock *client) {
    const struct resp_reply *reply;
    struct why why;
    for (int i = 0; i < 3000; i++) {
        char text[24];
        (void)snprintf(text, sizeof text, "%d", i);
        rblock_append(client, 2, (struct slice[]){SLICE("ECHO"), slice_text(text)});
    }
    assert_true(rblock_appended_bytes(client) > 0);
    assert_int_equal(rblock_flush(client, &why), OK);
    for (int i = 0; i < 3000; i++) {
        int64_t number = -1;
        if (rblock_read(client, &reply, &why) != OK) fail_msg("%s", why.text);
        assert_true(resp_reply_to_int(reply, &number));
        assert_int_equal(number, i);
    }
    /* More is on its way in both directions than the sockets hold. */
    for (int i = 0; i < 60; i++) rblock_append_raw(client, SLICE("BIG 200000\r\n"));
    struct buf big = {0};
    memset(buf_room(&big, 8u << 20), 'y', 8u << 20);
    buf_filled(&big, 8u << 20);
    rblock_append(client, 2, (struct slice[]){SLICE("ECHO"), buf_slice(&big)});
    for (int i = 0; i < 61; i++) {
        if (rblock_read(client, &reply, &why) != OK) fail_msg("%s", why.text);
        assert_int_equal(reply->text.size, i < 60 ? 200000 : 8u << 20);
    }
    buf_close(&big);
    assert_int_equal(rblock_words(client, &reply, &why, "NONSENSE a b"), OK);
    assert_true(resp_reply_is_error(reply));
}

static void test_blocking_over_tcp_unix_and_tls(void **state) {
    (void)state;
    char cert[300], key[300], ca[300], path[300];
    (void)snprintf(cert, sizeof cert, "%s/server.pem", certs_scratch());
    (void)snprintf(key, sizeof key, "%s/server.key", certs_scratch());
    (void)snprintf(ca, sizeof ca, "%s/ca.pem", certs_scratch());
    (void)snprintf(path, sizeof path, "unix:%s/r.sock", certs_scratch());
    struct fake_redis_options options[3] = {{0}, {.listen = path}, {.cert = cert, .key = key}};
    struct tls_options tls = {.on = true, .ca = ca};
    for (int i = 0; i < 3; i++) {
        struct fake_redis *server = fake_redis_open(&options[i]);
        struct rblock *client = open_client(server, i == 2 ? &tls : NULL, NULL);
        exchange(client);
        rblock_close(client);
        fake_redis_close(server);
    }
}

static void test_blocking_failures_have_reasons(void **state) {
    (void)state;
    struct fake_redis *server = fake_redis_open(&(struct fake_redis_options){.password = "p"});
    struct endpoint to;
    struct rblock *client;
    struct why why;
    const struct resp_reply *reply;
    fake_redis_endpoint(server, &to);
    struct secret wrong = {0}, right = {0};
    secret_set(&wrong, SLICE("q"));
    secret_set(&right, SLICE("p"));
    struct rblock_options options = {.password = &wrong};
    assert_int_equal(rblock_open(&client, &to, &options, &why), ERR_REFUSED);
    assert_non_null(strstr(why.text, "AUTH: the server says: WRONGPASS"));
    to.tls.on = true;
    assert_int_equal(rblock_open(&client, &to, NULL, &why), ERR_PROTO);
    to.tls.on = false;
    options = (struct rblock_options){.password = &right, .io_timeout_ms = 50};
    client = open_client(server, NULL, &options);
    assert_int_equal(rblock_words(client, &reply, &why, "SILENT"), ERR_TIMEOUT);
    rblock_close(client);
    client = open_client(server, NULL, &options);
    assert_int_equal(rblock_words(client, &reply, &why, "HANGUP"), ERR_CLOSED);
    rblock_close(client);
    client = open_client(server, NULL, &options);
    assert_int_equal(rblock_words(client, &reply, &why, "GARBAGE"), ERR_PROTO);
    rblock_close(client);
    fake_redis_close(server);
    assert_int_equal(rblock_open(&client, &to, NULL, &why), ERR_REFUSED);
    assert_non_null(strstr(why.text, "connection refused"));
    secret_close(&wrong);
    secret_close(&right);
}

static void *interrupt(void *client) {
    rblock_interrupt(client);
    return NULL;
}

static void test_a_waiting_thread_can_be_interrupted(void **state) {
    (void)state;
    struct fake_redis *server = fake_redis_open(NULL);
    struct rblock *client = open_client(server, NULL, NULL);
    const struct resp_reply *reply;
    struct why why;
    pthread_t thread;
    assert_int_equal(rblock_words(client, &reply, &why, "PING"), OK);
    pthread_create(&thread, NULL, interrupt, client);
    assert_int_equal(rblock_words(client, &reply, &why, "SILENT"), ERR_STOPPED);
    pthread_join(thread, NULL);
    assert_int_equal(rblock_words(client, &reply, &why, "PING"), ERR_STOPPED);
    rblock_close(client);
    fake_redis_close(server);
}

static int set_up(void **state) {
    (void)state;
    struct why why;
    certs_make(certs_scratch());
    return loop_open(&loop, "test", &why) == OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    loop_close(loop);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies_come_in_order_and_every_one),
        cmocka_unit_test(test_a_lost_connection_answers_every_command_once),
        cmocka_unit_test(test_a_reply_that_nobody_asked_for_ends_it),
        cmocka_unit_test(test_passwords_names_and_databases),
        cmocka_unit_test(test_silence_and_size_have_limits),
        cmocka_unit_test(test_it_may_be_dropped_inside_a_reply),
        cmocka_unit_test(test_blocking_over_tcp_unix_and_tls),
        cmocka_unit_test(test_blocking_failures_have_reasons),
        cmocka_unit_test(test_a_waiting_thread_can_be_interrupted),
    };
    return cmocka_run_group_tests_name("clients", tests, set_up, tear_down);
}

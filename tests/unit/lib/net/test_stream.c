/* test_stream.c -- streams over TCP, Unix sockets and TLS carry every byte, whatever the splits,
 * and end exactly once with a reason. */
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/rand.h"
#include "lib/net/listener.h"
#include "lib/net/loop.h"
#include "lib/net/stream.h"
#include "tests/support/certs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct loop *loop;
static uint64_t seed;

/* ---- an echo server with moods: it pauses, resumes, and copies or hands over ---- */

struct echo {
    struct listener *listener;
    struct rng rng;
    bool moody; /* pauses now and then */
    size_t accepted, closed;
    struct stream *last;
    bool greets_and_closes;
};

struct echo_peer {
    struct echo *echo;
    struct stream *stream;
    struct loop_timer timer;
};

static void resume_echo(void *self) {
    stream_resume(((struct echo_peer *)self)->stream);
}

static void echo_bytes(void *self, struct slice bytes) {
    struct echo_peer *peer = self;
    struct rng *rng = &peer->echo->rng;
    assert_true(bytes.size > 0);
    if (rng_below(rng, 2)) {
        stream_write(peer->stream, bytes);
    } else {
        struct buf buf = {0};
        buf_add(&buf, bytes);
        stream_write_buf(peer->stream, &buf);
        assert_int_equal(buf_size(&buf), 0);
        buf_close(&buf);
    }
    if (peer->echo->moody && rng_below(rng, 4) == 0) {
        stream_pause(peer->stream);
        loop_timer_start(loop, &peer->timer, rng_below(rng, 3), 0, resume_echo, peer);
    }
}

static void echo_closed(void *self, enum err err, const struct why *why) {
    struct echo_peer *peer = self;
    (void)err;
    (void)why;
    loop_timer_stop(&peer->timer);
    peer->echo->closed++;
    mem_free(peer);
}

static const struct stream_events echo_events = {.on_bytes = echo_bytes, .on_closed = echo_closed};

static void echo_accept(void *self, struct stream *stream) {
    struct echo *echo = self;
    struct echo_peer *peer = NEW(struct echo_peer);
    peer->echo = echo;
    peer->stream = stream;
    echo->accepted++;
    stream_set_owner(stream, &echo_events, peer);
    if (!echo->greets_and_closes) return;
    stream_write(stream, SLICE("-ERR max number of clients reached\r\n"));
    stream_close(stream);
}

/* ---- a client that sends a random text and compares what comes back ---- */

struct client {
    struct stream *stream;
    struct rng rng;
    struct buf text, received;
    size_t sent;
    bool stop_when_all; /* close when everything came back */
    int opened, drained, closed;
    enum err err;
    struct why why;
};

static void send_more(struct client *client) {
    size_t total = buf_size(&client->text);
    while (client->sent < total && stream_queued_bytes(client->stream) < 200000) {
        size_t size = 1 + rng_below(&client->rng, rng_below(&client->rng, 2) ? 30 : 70000);
        if (size > total - client->sent) size = total - client->sent;
        struct slice part = slice_take(slice_drop(buf_slice(&client->text), client->sent), size);
        if (rng_below(&client->rng, 3) == 0) {
            struct buf buf = {0};
            buf_add(&buf, part);
            stream_write_buf(client->stream, &buf);
        } else if (rng_below(&client->rng, 2)) {
            memcpy(stream_room(client->stream, size + 10), part.data, size);
            stream_filled(client->stream, size);
        } else {
            stream_write(client->stream, part);
        }
        client->sent += size;
    }
}

static void client_open(void *self) {
    ((struct client *)self)->opened++;
}

static void client_drain(void *self) {
    struct client *client = self;
    client->drained++;
    send_more(client);
}

static void client_bytes(void *self, struct slice bytes) {
    struct client *client = self;
    assert_int_equal(client->closed, 0);
    buf_add(&client->received, bytes);
    if (client->stop_when_all && buf_size(&client->received) == buf_size(&client->text))
        stream_close(client->stream);
}

static void client_closed(void *self, enum err err, const struct why *why) {
    struct client *client = self;
    client->closed++;
    client->err = err;
    client->why = *why;
}

static const struct stream_events client_events = {
    .on_open = client_open,
    .on_bytes = client_bytes,
    .on_drain = client_drain,
    .on_closed = client_closed,
};

static void run_until(const int *flag) {
    while (*flag == 0) loop_turn(loop, true);
}

static void wait_for_echo(const struct echo *echo) {
    while (echo->closed < echo->accepted) loop_turn(loop, true);
}

static void close_client(struct client *client) {
    buf_close(&client->text);
    buf_close(&client->received);
}

static void open_echo(struct echo *echo, const struct endpoint *at) {
    struct why why;
    if (listener_open(&echo->listener, loop, at, NULL, echo_accept, echo, &why) != OK)
        fail_msg("%s", why.text);
    echo->rng = rng_from(seed);
}

static struct endpoint parse(const char *text) {
    struct endpoint endpoint;
    struct why why;
    if (endpoint_parse(&endpoint, text, 0, &why) != OK) fail_msg("%s", why.text);
    return endpoint;
}

static char *in_scratch(const char *name) {
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%s", certs_scratch(), name);
    return mem_strdup(path);
}

static void echo_everything(struct endpoint *at, struct endpoint *to, size_t bytes) {
    struct echo echo = {.moody = true};
    open_echo(&echo, at);
    if (at->kind == ENDPOINT_TCP) to->port = listener_port(echo.listener);
    struct client clients[3] = {0};
    struct stream_options options = {.low_water_bytes = 50000};
    for (int i = 0; i < 3; i++) {
        struct client *client = &clients[i];
        client->rng = rng_from(seed + (uint64_t)i);
        client->stop_when_all = true;
        for (size_t n = 0; n < bytes; n++) buf_byte(&client->text, (uint8_t)rng_next(&client->rng));
        client->stream = stream_dial(loop, to, &options, &client_events, client);
        send_more(client); /* before it is open */
    }
    for (int i = 0; i < 3; i++) {
        struct client *client = &clients[i];
        run_until(&client->closed);
        if (client->err != OK) fail_msg("%s", client->why.text);
        assert_int_equal(client->opened, 1);
        assert_true(client->drained > 0);
        assert_true(slice_equal(buf_slice(&client->text), buf_slice(&client->received)));
        close_client(client);
    }
    wait_for_echo(&echo);
    listener_close(echo.listener);
    assert_int_equal(echo.accepted, 3);
    assert_int_equal(echo.closed, 3);
}

static void test_tcp_echoes_everything(void **state) {
    (void)state;
    struct endpoint at = parse("127.0.0.1:0"), to = parse("127.0.0.1:1");
    echo_everything(&at, &to, 1500000);
}

static void test_a_name_is_resolved_and_echoes(void **state) {
    (void)state;
    struct endpoint at = parse("127.0.0.1:0"), to = parse("localhost:1");
    echo_everything(&at, &to, 1000000);
}

static void test_a_unix_socket_echoes_everything(void **state) {
    (void)state;
    char *path = in_scratch("echo.sock"), text[400];
    (void)snprintf(text, sizeof text, "unix:%s", path);
    struct endpoint at = parse(text), to = at;
    echo_everything(&at, &to, 1500000);
    assert_int_equal(access(path, F_OK), -1); /* the listener removed it */
    mem_free(path);
}

static void use_server_cert(struct endpoint *endpoint, const char *cert, const char *key) {
    endpoint->tls.on = true;
    endpoint->tls.cert = in_scratch(cert);
    endpoint->tls.key = in_scratch(key);
}

static void test_tls_echoes_everything(void **state) {
    (void)state;
    struct endpoint at = parse("127.0.0.1:0"), to = parse("127.0.0.1:1");
    use_server_cert(&at, "server.pem", "server.key");
    to.tls.on = true;
    to.tls.ca = in_scratch("ca.pem");
    echo_everything(&at, &to, 1500000);
    endpoint_close(&at);
    endpoint_close(&to);
}

/* ---- how it fails ---- */

/* Dial TO and return what on_closed said; OK when it opened and the server closed it. */
static void expect_failure(const struct endpoint *to, enum err err, const char *words) {
    struct client client = {0};
    client.stream = stream_dial(loop, to, NULL, &client_events, &client);
    assert_int_equal(client.closed, 0); /* never at once */
    run_until(&client.closed);
    if (client.err != err || strstr(client.why.text, words) == NULL)
        fail_msg("expected '%s' (%s), got %s: %s", err_text(err), words, err_text(client.err),
                 client.why.text);
    assert_int_equal(client.closed, 1);
    close_client(&client);
}

static void test_what_cannot_be_reached_is_said_clearly(void **state) {
    (void)state;
    struct echo echo = {0};
    struct endpoint at = parse("127.0.0.1:0");
    open_echo(&echo, &at);
    struct endpoint gone = parse("127.0.0.1:1");
    gone.port = listener_port(echo.listener);
    listener_close(echo.listener);
    expect_failure(&gone, ERR_REFUSED, "connection refused");
    struct endpoint nobody = parse("no-such-host.invalid:6379");
    expect_failure(&nobody, ERR_IO, "connect to no-such-host.invalid:6379: the name");
    struct endpoint no_socket = parse("unix:/nonexistent/x.sock");
    expect_failure(&no_socket, ERR_REFUSED, "no such file");
}

static void test_a_wrong_certificate_is_said_clearly(void **state) {
    (void)state;
    struct echo echo = {0}, plain = {.greets_and_closes = true};
    struct endpoint at = parse("127.0.0.1:0"), to = parse("127.0.0.1:1"),
                    bare = parse("127.0.0.1:0");
    use_server_cert(&at, "other.pem", "other.key");
    open_echo(&echo, &at);
    open_echo(&plain, &bare);
    to.port = listener_port(echo.listener);
    to.tls.on = true;
    to.tls.ca = in_scratch("ca.pem");
    expect_failure(&to, ERR_REFUSED, "IP address mismatch");
    to.tls.server_name = in_scratch("x");
    mem_free(to.tls.server_name);
    to.tls.server_name = mem_strdup("another.example");
    expect_failure(&to, ERR_REFUSED, "ostname mismatch");
    mem_free(to.tls.ca);
    to.tls.ca = in_scratch("stranger-ca.pem");
    expect_failure(&to, ERR_REFUSED, "certificate is not accepted");
    mem_free(to.tls.ca);
    to.tls.ca = in_scratch("missing.pem");
    expect_failure(&to, ERR_CONFIG, "missing.pem: No such file");
    mem_free(to.tls.ca);
    to.tls.ca = in_scratch("ca.pem");
    to.port = listener_port(plain.listener);
    expect_failure(&to, ERR_PROTO, "does not speak TLS");
    wait_for_echo(&echo);
    wait_for_echo(&plain);
    listener_close(echo.listener);
    listener_close(plain.listener);
    endpoint_close(&at);
    endpoint_close(&to);
}

static void test_a_server_that_wants_certificates_gets_one_or_refuses(void **state) {
    (void)state;
    struct echo echo = {0};
    struct endpoint at = parse("127.0.0.1:0"), to = parse("127.0.0.1:1");
    use_server_cert(&at, "server.pem", "server.key");
    at.tls.ca = in_scratch("ca.pem");
    open_echo(&echo, &at);
    to.port = listener_port(echo.listener);
    to.tls.on = true;
    to.tls.ca = in_scratch("ca.pem");
    expect_failure(&to, ERR_REFUSED, "the peer refused");
    use_server_cert(&to, "other.pem", "other.key");
    struct client client = {.stop_when_all = true};
    buf_add(&client.text, SLICE("hello"));
    client.stream = stream_dial(loop, &to, NULL, &client_events, &client);
    send_more(&client);
    run_until(&client.closed);
    assert_int_equal(client.err, OK);
    close_client(&client);
    wait_for_echo(&echo);
    listener_close(echo.listener);
    endpoint_close(&at);
    endpoint_close(&to);
}

static void test_certificates_are_reloaded(void **state) {
    (void)state;
    struct why why;
    struct echo echo = {0};
    struct endpoint at = parse("127.0.0.1:0"), to = parse("127.0.0.1:1");
    char *cert = in_scratch("server.pem"), *other = in_scratch("other.pem"),
         *live = in_scratch("live.pem"), *wrong = in_scratch("wrong.key"),
         *key = in_scratch("server.key"), *live_key = in_scratch("live.key");
    assert_int_equal(symlink(other, live), 0);
    assert_int_equal(symlink(key, live_key), 0);
    use_server_cert(&at, "live.pem", "live.key");
    open_echo(&echo, &at);
    assert_true(listener_tls_not_after(echo.listener) > 1700000000);
    to.port = listener_port(echo.listener);
    to.tls.on = true;
    to.tls.ca = in_scratch("ca.pem");
    expect_failure(&to, ERR_REFUSED, "mismatch");
    unlink(live_key);
    assert_int_equal(symlink(wrong, live_key), 0);
    assert_int_equal(listener_reload_tls(echo.listener, &why), ERR_CONFIG);
    expect_failure(&to, ERR_REFUSED, "mismatch"); /* the old one stayed */
    unlink(live_key);
    unlink(live);
    assert_int_equal(symlink(key, live_key), 0);
    assert_int_equal(symlink(cert, live), 0);
    assert_int_equal(listener_reload_tls(echo.listener, &why), OK);
    struct client client = {.stop_when_all = true};
    buf_add(&client.text, SLICE("hello"));
    client.stream = stream_dial(loop, &to, NULL, &client_events, &client);
    send_more(&client);
    run_until(&client.closed);
    assert_int_equal(client.err, OK);
    close_client(&client);
    wait_for_echo(&echo);
    listener_close(echo.listener);
    char *all[] = {cert, other, live, wrong, key, live_key};
    for (size_t i = 0; i < 6; i++) mem_free(all[i]);
    endpoint_close(&at);
    endpoint_close(&to);
}

static void test_a_peer_that_never_answers_times_out(void **state) {
    (void)state;
    int fd;
    struct why why;
    struct endpoint at = parse("127.0.0.1:0"), to = parse("127.0.0.1:1");
    assert_int_equal(listener_socket(&at, NULL, &fd, &why), OK);
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    getsockname(fd, (struct sockaddr *)&address, &size);
    uint8_t port[2];
    memcpy(port, (uint8_t *)&address + 2, 2);
    to.port = (uint16_t)(port[0] << 8 | port[1]);
    to.tls.on = true;
    to.tls.ca = in_scratch("ca.pem");
    struct client client = {0};
    struct stream_options options = {.connect_timeout_ms = 50};
    client.stream = stream_dial(loop, &to, &options, &client_events, &client);
    run_until(&client.closed);
    assert_int_equal(client.err, ERR_TIMEOUT);
    assert_non_null(strstr(client.why.text, "the TLS handshake took longer than 50 ms"));
    close(fd);
    close_client(&client);
    endpoint_close(&to);
}

static void test_last_words_reach_a_peer_that_was_still_writing(void **state) {
    (void)state;
    struct echo echo = {.greets_and_closes = true};
    struct endpoint at = parse("127.0.0.1:0"), to = parse("127.0.0.1:1");
    open_echo(&echo, &at);
    to.port = listener_port(echo.listener);
    struct client client = {0};
    client.rng = rng_from(seed);
    client.stream = stream_dial(loop, &to, NULL, &client_events, &client);
    buf_add(&client.text, SLICE("PING\r\nPING\r\n"));
    send_more(&client);
    run_until(&client.closed);
    assert_string_equal(buf_text(&client.received), "-ERR max number of clients reached\r\n");
    assert_true(client.err == ERR_CLOSED || client.err == ERR_IO); /* a reset may follow */
    close_client(&client);
    wait_for_echo(&echo);
    listener_close(echo.listener);
}

static void test_an_owner_without_callbacks_is_no_trouble(void **state) {
    (void)state;
    static const struct stream_events none = {.on_bytes = NULL};
    for (int i = 0; i < 2; i++) {
        int pair[2];
        char got[10];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
        struct stream *stream = stream_adopt(loop, pair[0], NULL, NULL, NULL, NULL);
        stream_set_owner(stream, i ? &none : NULL, NULL);
        assert_int_equal(send(pair[1], "thrown away", 11, 0), 11);
        loop_turn(loop, true);
        stream_write(stream, SLICE("bye"));
        stream_close(stream);
        loop_turn(loop, true);
        assert_int_equal(recv(pair[1], got, sizeof got, 0), 3);
        assert_int_equal(recv(pair[1], got, sizeof got, 0), 0);
        close(pair[1]);
    }
}

static void test_a_peer_that_does_not_read_meets_the_wall(void **state) {
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    struct client client = {0};
    struct stream_options options = {.queue_limit_bytes = 4u << 20};
    client.stream = stream_adopt(loop, pair[0], NULL, &options, &client_events, &client);
    struct buf block = {0};
    memset(buf_room(&block, 100000), 'x', 100000);
    buf_filled(&block, 100000);
    for (int i = 0; i < 200 && client.closed == 0; i++) {
        stream_write(client.stream, buf_slice(&block));
        loop_turn(loop, false);
    }
    assert_int_equal(client.closed, 1);
    assert_int_equal(client.err, ERR_LIMIT);
    buf_close(&block);
    close_client(&client);
    close(pair[1]);
}

static void test_a_graceful_close_gives_up_after_its_time(void **state) {
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    struct client client = {0};
    struct stream_options options = {.flush_timeout_ms = 30};
    client.stream = stream_adopt(loop, pair[0], NULL, &options, &client_events, &client);
    struct buf block = {0};
    memset(buf_room(&block, 4u << 20), 'x', 4u << 20);
    buf_filled(&block, 4u << 20);
    stream_write_buf(client.stream, &block);
    stream_close(client.stream);
    run_until(&client.closed);
    assert_int_equal(client.err, ERR_TIMEOUT);
    close_client(&client);
    close(pair[1]);
}

static void test_a_dropped_stream_calls_nobody(void **state) {
    (void)state;
    struct echo echo = {0};
    struct endpoint at = parse("127.0.0.1:0"), to = parse("127.0.0.1:1"),
                    name = parse("localhost:1");
    open_echo(&echo, &at);
    to.port = name.port = listener_port(echo.listener);
    struct client client = {0};
    client.stream = stream_dial(loop, &to, NULL, &client_events, &client);
    stream_write(client.stream, SLICE("x"));
    stream_drop(client.stream);
    client.stream = stream_dial(loop, &name, NULL, &client_events, &client);
    stream_drop(client.stream);
    for (int i = 0; i < 20; i++) loop_turn(loop, false);
    assert_int_equal(client.opened + client.closed, 0);
    wait_for_echo(&echo);
    listener_close(echo.listener);
}

static void test_a_stream_that_is_left_sends_its_rest_and_calls_nobody(void **state) {
    (void)state;
    int pair[2];
    char got[8];
    ssize_t size;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    struct client client = {0};
    struct stream *stream = stream_adopt(loop, pair[0], NULL, NULL, &client_events, &client);
    stream_write(stream, SLICE("rest"));
    stream_leave(stream);
    assert_int_equal(write(pair[1], "more", 4), 4);
    while ((size = read(pair[1], got, sizeof got)) < 0) loop_turn(loop, true);
    assert_int_equal(size, 4);
    assert_memory_equal(got, "rest", 4);
    close(pair[1]);
    for (int i = 0; i < 20; i++) loop_turn(loop, false);
    assert_int_equal(client.closed, 0);
    assert_int_equal(buf_size(&client.received), 0);
}

static void test_writes_of_one_turn_leave_in_one_call(void **state) {
    (void)state;
    int pair[2];
    char got[200000];
    /* This kind of socket keeps apart what was sent apart. */
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
    struct client client = {0};
    client.stream = stream_adopt(loop, pair[0], NULL, NULL, &client_events, &client);
    struct buf block = {0};
    memset(buf_room(&block, 50000), 'x', 50000);
    buf_filled(&block, 50000);
    stream_write(client.stream, SLICE("one "));
    stream_write_buf(client.stream, &block);
    stream_write(client.stream, SLICE(" two"));
    assert_int_equal(stream_queued_bytes(client.stream), 50008);
    assert_int_equal(recv(pair[1], got, sizeof got, 0), -1); /* not before the turn's end */
    loop_turn(loop, false);
    assert_int_equal(recv(pair[1], got, sizeof got, 0), 50008);
    assert_memory_equal(got, "one xxx", 7);
    assert_memory_equal(got + 50004, " two", 4);
    assert_int_equal(stream_queued_bytes(client.stream), 0);
    stream_abort(client.stream);
    run_until(&client.closed);
    close(pair[1]);
}

/* ---- a peer that closes only its own half ---- */

struct half {
    struct stream *stream;
    struct loop_timer timer;
    int closed, eof;
    enum err err;
};

static void answer_late(void *self) {
    struct half *half = self;
    stream_write(half->stream, SLICE("late answer"));
    stream_close(half->stream);
}

static void half_eof(void *self) {
    struct half *half = self;
    half->eof++;
    loop_timer_start(loop, &half->timer, 5, 0, answer_late, half);
}

static void half_bytes(void *self, struct slice bytes) {
    (void)self;
    assert_true(slice_equal(bytes, SLICE("PING")));
}

static void half_closed(void *self, enum err err, const struct why *why) {
    struct half *half = self;
    (void)why;
    half->closed++;
    half->err = err;
}

static const struct stream_events half_events = {
    .on_bytes = half_bytes, .on_eof = half_eof, .on_closed = half_closed};

static void test_a_half_closed_peer_gets_its_late_answer(void **state) {
    (void)state;
    int pair[2];
    char got[100] = "";
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    struct half half = {0};
    half.stream = stream_adopt(loop, pair[0], NULL, NULL, &half_events, &half);
    assert_int_equal(send(pair[1], "PING", 4, 0), 4);
    shutdown(pair[1], SHUT_WR);
    run_until(&half.closed);
    assert_int_equal(half.eof, 1);
    assert_int_equal(half.err, OK);
    assert_int_equal(recv(pair[1], got, sizeof got, 0), 11);
    assert_string_equal(got, "late answer");
    close(pair[1]);
}

static void test_accepting_rests_when_descriptors_run_out(void **state) {
    (void)state;
    struct echo echo = {0};
    struct endpoint at = parse("127.0.0.1:0"), to = parse("127.0.0.1:1");
    struct rlimit before, low;
    open_echo(&echo, &at);
    to.port = listener_port(echo.listener);
    struct client client = {.stop_when_all = true};
    client.rng = rng_from(seed);
    buf_add(&client.text, SLICE("hello"));
    client.stream = stream_dial(loop, &to, NULL, &client_events, &client);
    send_more(&client);
    getrlimit(RLIMIT_NOFILE, &before);
    low = before;
    low.rlim_cur = (rlim_t)stream_fd(client.stream) + 1; /* no number is left */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    uint64_t warnings = log_count(LOG_LEVEL_WARN);
    while (log_count(LOG_LEVEL_WARN) == warnings) loop_turn(loop, true);
    assert_int_equal(echo.accepted, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    run_until(&client.closed);
    assert_int_equal(client.err, OK);
    assert_int_equal(echo.accepted, 1);
    close_client(&client);
    wait_for_echo(&echo);
    listener_close(echo.listener);
}

static void test_a_port_in_use_is_named(void **state) {
    (void)state;
    struct echo echo = {0};
    struct listener *second;
    struct why why;
    struct endpoint at = parse("127.0.0.1:0");
    open_echo(&echo, &at);
    at.port = listener_port(echo.listener);
    char expected[100];
    (void)snprintf(expected, sizeof expected, "listen on 127.0.0.1:%u: address already in use",
                   at.port);
    assert_int_equal(listener_open(&second, loop, &at, NULL, echo_accept, &echo, &why), ERR_EXISTS);
    assert_string_equal(why.text, expected);
    listener_close(echo.listener);
    char *path = in_scratch("twice.sock"), text[400];
    (void)snprintf(text, sizeof text, "unix:%s", path);
    struct endpoint local = parse(text);
    open_echo(&echo, &local);
    assert_int_equal(listener_open(&second, loop, &local, NULL, echo_accept, &echo, &why),
                     ERR_EXISTS);
    assert_non_null(strstr(why.text, "address already in use"));
    listener_close(echo.listener);
    /* A stale file is no obstacle. */
    int fd;
    assert_int_equal(listener_socket(&local, NULL, &fd, &why), OK);
    close(fd);
    assert_int_equal(access(path, F_OK), 0);
    open_echo(&echo, &local);
    listener_close(echo.listener);
    mem_free(path);
}

static int set_up(void **state) {
    (void)state;
    struct why why;
    seed = rand_test_seed();
    printf("SEED=%llu\n", (unsigned long long)seed);
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
        cmocka_unit_test(test_tcp_echoes_everything),
        cmocka_unit_test(test_a_name_is_resolved_and_echoes),
        cmocka_unit_test(test_a_unix_socket_echoes_everything),
        cmocka_unit_test(test_tls_echoes_everything),
        cmocka_unit_test(test_what_cannot_be_reached_is_said_clearly),
        cmocka_unit_test(test_a_wrong_certificate_is_said_clearly),
        cmocka_unit_test(test_a_server_that_wants_certificates_gets_one_or_refuses),
        cmocka_unit_test(test_certificates_are_reloaded),
        cmocka_unit_test(test_a_peer_that_never_answers_times_out),
        cmocka_unit_test(test_last_words_reach_a_peer_that_was_still_writing),
        cmocka_unit_test(test_an_owner_without_callbacks_is_no_trouble),
        cmocka_unit_test(test_a_peer_that_does_not_read_meets_the_wall),
        cmocka_unit_test(test_a_graceful_close_gives_up_after_its_time),
        cmocka_unit_test(test_a_dropped_stream_calls_nobody),
        cmocka_unit_test(test_a_stream_that_is_left_sends_its_rest_and_calls_nobody),
        cmocka_unit_test(test_writes_of_one_turn_leave_in_one_call),
        cmocka_unit_test(test_a_half_closed_peer_gets_its_late_answer),
        cmocka_unit_test(test_accepting_rests_when_descriptors_run_out),
        cmocka_unit_test(test_a_port_in_use_is_named),
    };
    return cmocka_run_group_tests_name("stream", tests, set_up, tear_down);
}

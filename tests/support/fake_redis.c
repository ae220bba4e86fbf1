/* fake_redis.c -- a server to test clients against. */
#include "tests/support/fake_redis.h"

#include "lib/base/mem.h"
#include "lib/net/listener.h"
#include "lib/net/loop.h"
#include "lib/redis/resp.h"

#include <stdio.h>
#include <stdlib.h>

struct fake_redis {
    struct fake_redis_options options;
    struct loop_thread *thread;
    struct listener *listener;
    struct endpoint endpoint;
    struct list clients;
};

struct fake_client {
    struct list link;
    struct fake_redis *server;
    struct stream *stream;
    struct buf in;
    struct resp_request request;
    bool authenticated;
};

static bool is(const struct fake_client *client, size_t at, const char *word) {
    return at < client->request.argc &&
           slice_equal_nocase(client->request.argv[at], slice_text(word));
}

static bool password_is_right(const struct fake_client *client, size_t at) {
    const struct fake_redis_options *want = &client->server->options;
    const struct resp_request *request = &client->request;
    if (want->password == NULL || at >= request->argc) return false;
    bool with_user = at + 1 < request->argc;
    if (with_user &&
        !slice_equal(request->argv[at], slice_text(want->user ? want->user : "default")))
        return false;
    return slice_equal(request->argv[at + with_user], slice_text(want->password));
}

static void answer_auth(struct fake_client *client, size_t at, struct buf *out) {
    if (password_is_right(client, at)) {
        client->authenticated = true;
        resp_write_ok(out);
    } else {
        resp_write_error(out, SLICE("WRONGPASS invalid username-password pair"));
    }
}

static void answer(struct fake_client *client, struct buf *out) {
    struct slice first = client->request.argc > 1 ? client->request.argv[1] : SLICE("");
    int64_t number = -1;
    (void)slice_to_int(first, &number);
    if (is(client, 0, "AUTH"))
        answer_auth(client, 1, out);
    else if (is(client, 0, "HELLO") && client->request.argc > 2)
        answer_auth(client, 3, out);
    else if (client->server->options.password && !client->authenticated)
        resp_write_error(out, SLICE("NOAUTH Authentication required."));
    else if (is(client, 0, "HELLO"))
        resp_write_map(out, 3, 0);
    else if (is(client, 0, "PING"))
        resp_write_simple(out, SLICE("PONG"));
    else if (is(client, 0, "ECHO"))
        resp_write_bulk(out, first);
    else if (is(client, 0, "CLIENT"))
        resp_write_error(out, SLICE("ERR no such command here"));
    else if (is(client, 0, "SELECT") && number >= 0 && number < 16)
        resp_write_ok(out);
    else if (is(client, 0, "SELECT"))
        resp_write_error(out, SLICE("ERR DB index is out of range"));
    else if (is(client, 0, "HANGUP")) {
        stream_write_buf(client->stream, out);
        stream_close(client->stream);
    } else if (is(client, 0, "GARBAGE"))
        buf_add(out, SLICE("what is this\r\n"));
    else if (is(client, 0, "TWICE"))
        buf_add(out, SLICE("+one\r\n+two\r\n"));
    else if (is(client, 0, "PUSH")) {
        resp_write_push(out, 3, 1);
        resp_write_bulk(out, first);
        resp_write_ok(out);
    } else if (is(client, 0, "BIG")) {
        struct buf big = {0};
        memset(buf_room(&big, (size_t)number), 'x', (size_t)number);
        buf_filled(&big, (size_t)number);
        resp_write_bulk(out, buf_slice(&big));
        buf_close(&big);
    } else if (!is(client, 0, "SILENT")) {
        resp_write_error(out, SLICE("ERR unknown command"));
    }
}

static void on_bytes(void *self, struct slice bytes) {
    struct fake_client *client = self;
    struct buf out = {0};
    struct why why;
    size_t used;
    buf_add(&client->in, bytes);
    while (buf_size(&client->in) &&
           resp_request_next(&client->request, &resp_request_limits_open, buf_slice(&client->in),
                             &used, &why) == STEP_DONE) {
        if (client->request.argc) answer(client, &out);
        buf_consume(&client->in, used);
    }
    stream_write_buf(client->stream, &out);
}

static void on_closed(void *self, enum err err, const struct why *why) {
    struct fake_client *client = self;
    (void)err;
    (void)why;
    list_remove(&client->link);
    resp_request_close(&client->request);
    buf_close(&client->in);
    mem_free(client);
}

static const struct stream_events events = {.on_bytes = on_bytes, .on_closed = on_closed};

static void on_stream(void *self, struct stream *stream) {
    struct fake_redis *server = self;
    struct fake_client *client = NEW(struct fake_client);
    client->server = server;
    client->stream = stream;
    list_push(&server->clients, &client->link);
    stream_set_owner(stream, &events, client);
    if (!server->options.full) return;
    stream_write(stream, SLICE("-ERR max number of clients reached\r\n"));
    stream_close(stream);
}

static enum err start(void *self, struct loop *loop, struct why *why) {
    struct fake_redis *server = self;
    struct endpoint at;
    const char *listen = server->options.listen ? server->options.listen : "127.0.0.1:0";
    list_init(&server->clients);
    enum err err = endpoint_parse(&at, listen, 0, why);
    if (err) return err;
    at.tls.on = server->options.cert != NULL;
    at.tls.cert = (char *)(uintptr_t)server->options.cert;
    at.tls.key = (char *)(uintptr_t)server->options.key;
    err = listener_open(&server->listener, loop, &at, NULL, on_stream, server, why);
    if (err) return err;
    server->endpoint = at;
    server->endpoint.tls = (struct tls_options){0};
    server->endpoint.port = listener_port(server->listener);
    return OK;
}

static void stop(void *self, struct loop *loop) {
    struct fake_redis *server = self;
    (void)loop;
    listener_close(server->listener);
    LIST_EACH(&server->clients, link)
    stream_abort(LIST_OWNER(link, struct fake_client, link)->stream);
}

struct fake_redis *fake_redis_open(const struct fake_redis_options *options) {
    struct fake_redis *server = NEW(struct fake_redis);
    if (options) server->options = *options;
    struct why why;
    if (loop_thread_open(&server->thread, "fake-redis", start, stop, server, &why) != OK) {
        fprintf(stderr, "fake redis: %s\n", why.text);
        abort();
    }
    return server;
}

void fake_redis_endpoint(const struct fake_redis *server, struct endpoint *endpoint) {
    *endpoint = server->endpoint;
}

void fake_redis_close(struct fake_redis *server) {
    loop_thread_close(server->thread);
    mem_free(server);
}

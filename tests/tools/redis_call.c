/* redis_call.c -- one command to a Redis by both of our clients, for end-to-end tests.
 *
 *     redis_call [--ca F] [--cert F --key F] [--name N] [--user U] [--password env:P] [--resp3]
 *                ADDRESS WORDS...
 * Prints "block: ..." and "loop: ..." with the reply's text or with why there is none; exit code 0
 * when both got a reply.
 */
#include "lib/control/rblock.h"
#include "lib/control/rconn.h"
#include "lib/net/loop.h"
#include "lib/redis/reply.h"

#include <stdio.h>
#include <string.h>

struct call {
    struct endpoint endpoint;
    const char *user;
    struct secret password;
    bool resp3;
    const char *words;
    struct loop *loop;
    bool got_reply;
};

static void show(const char *who, const struct resp_reply *reply) {
    if (reply->kind == RESP_INT)
        printf("%s: %lld\n", who, (long long)reply->number);
    else
        printf("%s: %.*s\n", who, (int)reply->text.size, (const char *)reply->text.data);
}

static bool by_blocking(const struct call *call) {
    struct rblock_options options = {.user = call->user,
                                     .password = &call->password,
                                     .name = "redis-call",
                                     .resp3 = call->resp3,
                                     .io_timeout_ms = 5000};
    struct rblock *client;
    struct why why;
    const struct resp_reply *reply;
    enum err err = rblock_open(&client, &call->endpoint, &options, &why);
    if (err == OK) {
        err = rblock_words(client, &reply, &why, call->words);
        if (err == OK) show("block", reply);
        rblock_close(client);
    }
    if (err) printf("block: %s: %s\n", err_text(err), why.text);
    return err == OK;
}

static void on_reply(void *self, const struct resp_reply *reply, const struct why *why) {
    struct call *call = self;
    (void)why; /* on_down says it too */
    if (reply == NULL) return;
    show("loop", reply);
    call->got_reply = true;
}

static void on_down(void *self, enum err err, const struct why *why) {
    struct call *call = self;
    if (err) printf("loop: %s: %s\n", err_text(err), why->text);
    loop_stop(call->loop);
}

static bool by_loop(struct call *call) {
    static const struct rconn_events events = {.on_down = on_down};
    struct rconn_options options = {.user = call->user,
                                    .password = &call->password,
                                    .name = "redis-call",
                                    .resp3 = call->resp3,
                                    .reply_timeout_ms = 5000};
    struct why why;
    if (loop_open(&call->loop, "call", &why) != OK) return false;
    struct rconn *conn = rconn_dial(call->loop, &call->endpoint, &options, &events, call);
    rconn_words(conn, call->words, on_reply, call);
    rconn_finish(conn);
    loop_run(call->loop);
    loop_close(call->loop);
    return call->got_reply;
}

/* One option and its value; false: no option of ours. */
static bool take_option(struct call *call, const char *name, char *value) {
    struct tls_options *tls = &call->endpoint.tls;
    struct why why;
    if (strcmp(name, "--ca") == 0)
        tls->ca = value;
    else if (strcmp(name, "--cert") == 0)
        tls->cert = value;
    else if (strcmp(name, "--key") == 0)
        tls->key = value;
    else if (strcmp(name, "--name") == 0)
        tls->server_name = value;
    else if (strcmp(name, "--user") == 0)
        call->user = value;
    else if (strcmp(name, "--password") == 0)
        return secret_load(&call->password, value, &why) == OK;
    else
        return false;
    tls->on = tls->ca || tls->cert || tls->server_name;
    return true;
}

int main(int argc, char **argv) {
    struct call call = {0};
    struct buf words = {0};
    struct why why;
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; at++) {
        if (strcmp(argv[at], "--resp3") == 0)
            call.resp3 = true;
        else if (at + 1 < argc && take_option(&call, argv[at], argv[at + 1]))
            at++;
        else
            return 2;
    }
    if (argc - at < 2) return 2;
    struct tls_options tls = call.endpoint.tls;
    if (endpoint_parse(&call.endpoint, argv[at], 6379, &why) != OK) {
        printf("%s\n", why.text);
        return 2;
    }
    call.endpoint.tls = tls; /* the texts are argv's: nothing to close */
    for (at++; at < argc; at++) buf_printf(&words, "%s ", argv[at]);
    call.words = buf_text(&words);
    bool blocking = by_blocking(&call), loop = by_loop(&call);
    buf_close(&words);
    secret_close(&call.password);
    return blocking && loop ? 0 : 1;
}

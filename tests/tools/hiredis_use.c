/* hiredis_use.c -- hiredis in its ordinary use, as a transcript: blocking, pipelined, and
 * asynchronous on a libuv loop.
 *
 *     hiredis_use PORT
 * Prints a line for each reply; exit code 1 when a connection breaks.
 */
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <hiredis/adapters/libuv.h>
#pragma GCC diagnostic pop

static void show(const char *what, const redisReply *reply) {
    printf("%s ", what);
    switch (reply->type) {
    case REDIS_REPLY_ARRAY:
        printf("[%zu]\n", reply->elements);
        for (size_t i = 0; i < reply->elements; i++) show("  -", reply->element[i]);
        return;
    case REDIS_REPLY_INTEGER: printf(":%lld\n", reply->integer); return;
    case REDIS_REPLY_NIL: printf("nil\n"); return;
    default:
        printf("%d ", reply->type);
        for (size_t i = 0; i < reply->len; i++) printf("%02x", (unsigned char)reply->str[i]);
        printf("\n");
    }
}

static void broken(const char *what, const char *why) {
    printf("%s: %s\n", what, why);
    exit(1);
}

/* ---- blocking ---- */

static void say(redisContext *context, const char *format, ...) {
    va_list args;
    va_start(args, format);
    redisReply *reply = redisvCommand(context, format, args);
    va_end(args);
    if (reply == NULL) broken(format, context->errstr);
    show(format, reply);
    freeReplyObject(reply);
}

static void use_blocking(redisContext *context) {
    static const char bytes[] = {'a', 0, '\r', '\n', 'z'};
    say(context, "SET %s %b EX 100", "key", bytes, sizeof bytes);
    say(context, "GET %s", "key");
    say(context, "STRLEN key");
    say(context, "RPUSH list a b c %d", 4);
    say(context, "LRANGE list 0 -1");
    say(context, "HSET hash f v g %s", "");
    say(context, "HGETALL hash");
    say(context, "INCR list");
    say(context, "NOSUCH");
    say(context, "EVAL %s 1 key", "return {1, redis.call('STRLEN', KEYS[1]), 'x', false}");
    const char *words[] = {"MSET", "a", "1", "b", "2"};
    redisReply *reply = redisCommandArgv(context, 5, words, NULL);
    if (reply == NULL) broken("MSET", context->errstr);
    show("MSET", reply);
    freeReplyObject(reply);
}

static void use_pipeline(redisContext *context) {
    for (int i = 0; i < 1000; i++) redisAppendCommand(context, "SET pipe:%d %d", i, i * i);
    redisAppendCommand(context, "MULTI");
    redisAppendCommand(context, "GET pipe:31");
    redisAppendCommand(context, "INCR pipe:32");
    redisAppendCommand(context, "EXEC");
    for (int i = 0; i < 1004; i++) {
        void *reply;
        if (redisGetReply(context, &reply) != REDIS_OK) broken("pipeline", context->errstr);
        if (i >= 1000) show("pipelined", reply);
        freeReplyObject(reply);
    }
}

static void use_subscription(redisContext *context, redisContext *other) {
    say(context, "SUBSCRIBE one");
    say(context, "PSUBSCRIBE o*");
    say(other, "PUBLISH one hello");
    for (int i = 0; i < 2; i++) {
        void *reply;
        if (redisGetReply(context, &reply) != REDIS_OK) broken("message", context->errstr);
        show("heard", reply);
        freeReplyObject(reply);
    }
}

/* ---- asynchronous ---- */

struct run {
    redisAsyncContext *listener, *speaker;
    int answered;
};

static void on_message(redisAsyncContext *context, void *reply, void *arg) {
    struct run *run = arg;
    redisReply *message = reply;
    if (message == NULL || message->elements < 3) return;
    show("async", message);
    if (strcmp(message->element[0]->str, "subscribe") == 0)
        redisAsyncCommand(run->speaker, NULL, NULL, "PUBLISH async hi");
    if (strcmp(message->element[0]->str, "message") != 0) return;
    redisAsyncDisconnect(context);
    redisAsyncDisconnect(run->speaker);
}

static void on_reply(redisAsyncContext *context, void *reply, void *arg) {
    struct run *run = arg;
    if (reply == NULL) broken("async", context->errstr);
    if (++run->answered == 1000) show("the thousandth", reply);
    if (run->answered == 1000) redisAsyncCommand(run->listener, on_message, run, "SUBSCRIBE async");
}

static void use_async(int port) {
    uv_loop_t *loop = uv_default_loop();
    struct run run = {.listener = redisAsyncConnect("127.0.0.1", port),
                      .speaker = redisAsyncConnect("127.0.0.1", port)};
    if (run.listener->err || run.speaker->err) broken("async", "does not connect");
    redisLibuvAttach(run.listener, loop);
    redisLibuvAttach(run.speaker, loop);
    for (int i = 0; i < 1000; i++) redisAsyncCommand(run.speaker, on_reply, &run, "INCR counter");
    uv_run(loop, UV_RUN_DEFAULT);
}

int main(int argc, char **argv) {
    if (argc != 2) broken("usage", "hiredis_use PORT");
    int port = atoi(argv[1]);
    redisContext *context = redisConnect("127.0.0.1", port),
                 *other = redisConnect("127.0.0.1", port);
    if (context == NULL || context->err || other == NULL || other->err)
        broken("connect", context ? context->errstr : "no memory");
    use_blocking(context);
    use_pipeline(context);
    use_subscription(context, other);
    use_async(port);
    redisFree(context);
    redisFree(other);
    return 0;
}

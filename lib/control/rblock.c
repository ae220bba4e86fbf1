/* rblock.c -- a blocking client of a Redis. See rblock.h. */
#include "lib/control/rblock.h"

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/control/greeting.h"
#include "lib/control/rblock_io.h"

#include <poll.h>

#define READ_BYTES (64u * 1024)
#define KEEP_BYTES (1u << 20)
#define REPLY_BYTES_DEFAULT ((size_t)513 << 20)
#define UNREAD_BYTES_DEFAULT ((size_t)1 << 30)
#define REPLY_ITEMS_MAX 4000000u
#define WORDS_MAX 64

struct rblock {
    struct rblock_io io;
    struct buf out, in; /* not yet sent; not yet read as replies */
    struct resp_reply_reader reader;
    struct resp_reply_limits limits;
    struct resp_reply *reply; /* what rblock_read() gave last */
    uint32_t io_timeout_ms;
    size_t max_unread_bytes;
};

/* ---- bytes ---- */

/* Read what is there. *GOT 0: nothing now, and *WAITS_FOR says what to wait for. */
static enum err read_some(struct rblock *client, size_t *got, short *waits_for, struct why *why) {
    uint8_t *room = buf_room(&client->in, READ_BYTES);
    enum err err = rblock_io_recv(&client->io, room, READ_BYTES, got, waits_for, why);
    if (err == OK) buf_filled(&client->in, *got);
    return err;
}

/* The socket takes no more: wait, and read meanwhile what the peer may be waiting to get rid of. */
static enum err wait_to_send(struct rblock *client, short waits_for, struct why *why) {
    size_t got;
    short unused;
    enum err err =
        rblock_io_wait(&client->io, (short)(waits_for | POLLIN), client->io_timeout_ms, why);
    if (err == OK) err = read_some(client, &got, &unused, why);
    if (err == OK && buf_size(&client->in) > client->max_unread_bytes)
        return why_set(why, ERR_LIMIT,
                       "%s: more than %zu bytes of replies came before the last "
                       "command was sent",
                       client->io.peer, client->max_unread_bytes);
    return err;
}

enum err rblock_flush(struct rblock *client, struct why *why) {
    while (buf_size(&client->out)) {
        size_t sent;
        short waits_for = POLLOUT;
        enum err err = rblock_io_send(&client->io, buf_slice(&client->out), &sent, &waits_for, why);
        if (err == OK && sent == 0) err = wait_to_send(client, waits_for, why);
        if (err) return err;
        buf_consume(&client->out, sent);
    }
    buf_shrink(&client->out, KEEP_BYTES);
    return OK;
}

/* ---- replies ---- */

static enum err next_reply(struct rblock *client, struct why *why) {
    for (;;) {
        size_t used, got;
        enum step step = resp_reply_next(&client->reader, &client->limits, buf_slice(&client->in),
                                         &client->reply, &used, why);
        if (step == STEP_FAIL) return why_add(why, ERR_PROTO, "reply of %s", client->io.peer);
        if (step == STEP_DONE) {
            buf_consume(&client->in, used);
            buf_shrink(&client->in, KEEP_BYTES);
            return OK;
        }
        short waits_for = POLLIN;
        enum err err = read_some(client, &got, &waits_for, why);
        if (err == OK && got == 0)
            err = rblock_io_wait(&client->io, waits_for, client->io_timeout_ms, why);
        if (err) return err;
    }
}

enum err rblock_read(struct rblock *client, const struct resp_reply **reply, struct why *why) {
    resp_reply_free(client->reply);
    client->reply = NULL;
    enum err err = rblock_flush(client, why);
    if (err == OK) err = next_reply(client, why);
    if (err == OK) *reply = client->reply;
    return err;
}

/* ---- commands ---- */

void rblock_append(struct rblock *client, size_t argc, const struct slice *argv) {
    resp_write_command(&client->out, argc, argv);
}

void rblock_append_raw(struct rblock *client, struct slice bytes) {
    buf_add(&client->out, bytes);
}

size_t rblock_appended_bytes(const struct rblock *client) {
    return buf_size(&client->out);
}

enum err rblock_call(struct rblock *client, size_t argc, const struct slice *argv,
                     const struct resp_reply **reply, struct why *why) {
    rblock_append(client, argc, argv);
    return rblock_read(client, reply, why);
}

enum err rblock_words(struct rblock *client, const struct resp_reply **reply, struct why *why,
                      const char *words) {
    struct slice argv[WORDS_MAX];
    size_t argc = 0;
    for (const char *at = words + strspn(words, " "); *at; at += strspn(at, " ")) {
        ASSERT(argc < WORDS_MAX);
        argv[argc] = slice_from(at, strcspn(at, " "));
        at += argv[argc++].size;
    }
    ASSERT(argc > 0);
    return rblock_call(client, argc, argv, reply, why);
}

/* ---- life ---- */

static enum err greet(struct rblock *client, const struct rblock_options *options,
                      struct why *why) {
    struct greeting greeting;
    struct greeting_wish wish = {options->user, options->password, options->name, options->resp3,
                                 options->db};
    greeting_write(&greeting, &wish, &client->out);
    enum err err = OK;
    while (err == OK && !greeting_is_done(&greeting)) {
        const struct resp_reply *reply;
        err = rblock_read(client, &reply, why);
        if (err) break;
        err = greeting_take(&greeting, reply, why);
        if (err) (void)why_add(why, err, "%s", client->io.peer);
    }
    return err;
}

enum err rblock_open(struct rblock **client, const struct endpoint *endpoint,
                     const struct rblock_options *options, struct why *why) {
    static const struct rblock_options none;
    if (options == NULL) options = &none;
    struct rblock *made = NEW(struct rblock);
    uint32_t connect_ms = options->connect_timeout_ms ? options->connect_timeout_ms : 5000;
    made->io_timeout_ms = connect_ms;
    made->max_unread_bytes =
        options->max_unread_bytes ? options->max_unread_bytes : UNREAD_BYTES_DEFAULT;
    made->limits = (struct resp_reply_limits){
        .bytes_max = options->max_reply_bytes ? options->max_reply_bytes : REPLY_BYTES_DEFAULT,
        .items_max = REPLY_ITEMS_MAX,
        .depth_max = RESP_DEPTH_MAX,
    };
    enum err err = rblock_io_open(&made->io, endpoint, connect_ms, why);
    if (err == OK) err = greet(made, options, why);
    if (err) {
        rblock_close(made);
        return err;
    }
    made->io_timeout_ms = options->io_timeout_ms ? options->io_timeout_ms : 60000;
    *client = made;
    return OK;
}

void rblock_close(struct rblock *client) {
    if (client == NULL) return;
    rblock_io_close(&client->io);
    resp_reply_free(client->reply);
    buf_close(&client->in);
    buf_close(&client->out);
    mem_free(client);
}

void rblock_interrupt(struct rblock *client) {
    rblock_io_interrupt(&client->io);
}
const char *rblock_peer(const struct rblock *client) {
    return client->io.peer;
}
int rblock_fd(const struct rblock *client) {
    return client->io.fd;
}

/* blocked.c -- commands that block. See blocked.h. */
#include "gateway/blocked.h"

#include "gateway/backend.h"
#include "gateway/dispatch.h"
#include "gateway/reply_token.h"

#include "lib/base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define UNBLOCK_AGAIN_US 5000u

void blocked_free(struct client *c) {
    if (c->blocked == NULL) return;
    buf_close(&c->blocked->request);
    mem_free(c->blocked);
    c->blocked = NULL;
}

/* Where the timeout stands, and its unit. False: the server will refuse the request anyway. */
static bool find_timeout(const struct command *command, const struct resp_request *r, size_t *at,
                         bool *milliseconds) {
    *milliseconds = command->group == COMMAND_GROUP_STREAM;
    if (!*milliseconds) {
        bool first = strcmp(command->name, "blmpop") == 0 || strcmp(command->name, "bzmpop") == 0;
        *at = first ? 1 : r->argc - 1;
        return true;
    }
    for (size_t i = 1; i + 1 < r->argc; i++) {
        if (!slice_equal_nocase(r->argv[i], SLICE("block"))) continue;
        *at = i + 1;
        return true;
    }
    return false;
}

/* The timeout in microseconds; 0: for ever, or not a number. */
static uint64_t read_timeout(struct slice text, bool milliseconds) {
    char copy[64];
    if (text.size == 0 || text.size >= sizeof copy) return 0;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    double value = strtod(copy, NULL) * (milliseconds ? 1e3 : 1e6);
    return isfinite(value) && value > 0 && value < 1e18 ? (uint64_t)value : 0;
}

uint64_t blocked_timeout_us(const struct command *command, const struct resp_request *r) {
    size_t at = 0;
    bool milliseconds = false;
    return find_timeout(command, r, &at, &milliseconds) ? read_timeout(r->argv[at], milliseconds)
                                                        : 0;
}

static bool is_empty(struct slice reply) {
    return slice_starts(reply, SLICE("*-1")) || slice_starts(reply, SLICE("$-1")) ||
           slice_starts(reply, SLICE("_\r"));
}

static void on_answer(struct req *req, struct backend *b, struct slice reply) {
    struct client *c = req->client;
    (void)b;
    c->lease_ends = true;  /* client_on_idle() gives the connection back */
    if (reply.size == 0) { /* lost */
        blocked_free(c);
        c->busy = false;
        return;
    }
    if (c->blocked != NULL && c->blocked->ending && is_empty(reply)) {
        c->blocked->again = true;
        return; /* still busy: blocked_resume() goes on */
    }
    if (c->stream != NULL && !req->mute) stream_write(c->stream, reply);
    blocked_free(c);
    c->busy = false;
    client_wake(c);
}

/* ---- `$` of XREAD (C17) ---- */

/* The ids of XREAD: *COUNT of them from the returned place on, their keys as far before it. */
static size_t find_ids(const struct resp_request *r, size_t *count) {
    size_t at = 1;
    while (at < r->argc && !slice_equal_nocase(r->argv[at], SLICE("streams"))) at++;
    *count = at + 1 < r->argc ? (r->argc - at - 1) / 2 : 0;
    return at + 1 + *count;
}

/* What XINFO STREAM says; false: nothing that is of use. */
static bool take_last_id(struct slice *replies, struct slice *id) {
    struct slice reply = *replies;
    struct resp_token t;
    struct why why;
    bool next = false;
    if (!reply_skip(replies)) return false;
    reply = slice_take(reply, reply.size - replies->size);
    *id = SLICE("0-0");
    if (slice_starts(reply, SLICE("-"))) return slice_starts(reply, SLICE("-ERR no such key"));
    for (size_t used = 0; reply.size > 0; reply = slice_drop(reply, used)) {
        if (resp_next(&resp_limits_server, reply, &t, &used, &why) != STEP_DONE) return false;
        *id = t.text;
        if (next) return t.kind == RESP_BULK;
        next = slice_equal(t.text, SLICE("last-generated-id"));
    }
    return false;
}

/* If it has to be issued again, it goes on where it began to wait. */
static void on_ids(struct req *req, struct backend *b, struct slice replies) {
    struct blocked *blocked = req->client->blocked;
    struct resp_request again = {0};
    struct buf request = {0};
    struct why why;
    size_t used = 0, count = 0;
    (void)b;
    if (blocked == NULL || replies.size == 0) return;
    enum step step = resp_request_next(&again, &resp_request_limits_open,
                                       buf_slice(&blocked->request), &used, &why);
    ASSERT(step == STEP_DONE);
    size_t first = find_ids(&again, &count);
    for (size_t i = first; i < first + count; i++) {
        struct slice id;
        if (!slice_equal(again.argv[i], SLICE("$"))) continue;
        if (take_last_id(&replies, &id)) again.argv[i] = id;
    }
    resp_write_command(&request, again.argc, again.argv);
    resp_request_close(&again);
    buf_close(&blocked->request);
    blocked->request = request;
}

/* In front of it: what comes between the two was there before it waited, or is an entry more. */
static void ask_for_ids(struct client *c, struct backend *b, const struct command *command) {
    const struct resp_request *r = &c->request;
    struct buf out = {0};
    uint32_t asked = 0;
    size_t count = 0;
    if (strcmp(command->name, "xread") != 0 || c->worker->shards[c->worker->side] != NULL) return;
    size_t first = find_ids(r, &count);
    for (size_t i = first; i < first + count; i++) {
        if (!slice_equal(r->argv[i], SLICE("$"))) continue;
        struct slice argv[] = {SLICE("XINFO"), SLICE("STREAM"), r->argv[i - count]};
        resp_write_command(&out, 3, argv);
        asked++;
    }
    if (asked > 0) {
        backend_write(b, buf_slice(&out));
        backend_expect(b, c, REQ_WHOLE, asked)->done = on_ids;
    }
    buf_close(&out);
}

static void send_blocking(struct client *c, struct backend *b) {
    backend_write(b, buf_slice(&c->blocked->request));
    backend_expect(b, c, REQ_WHOLE, 1)->done = on_answer;
    c->busy = true;
}

enum take blocked_request(struct client *c, const struct command *command) {
    size_t at = 0;
    bool milliseconds = false;
    bool timed = find_timeout(command, &c->request, &at, &milliseconds);
    if (c->watching || c->monitor || c->tracking || !timed) return client_forward(c);
    enum take take = TAKE_DONE;
    struct backend *b = client_lease(c, &take);
    if (b == NULL) return take;
    struct blocked *blocked = c->blocked = NEW(struct blocked);
    blocked->timeout_at = at;
    blocked->milliseconds = milliseconds;
    uint64_t timeout_us = read_timeout(c->request.argv[at], milliseconds);
    blocked->deadline_us = timeout_us ? c->worker->now_us + timeout_us : 0;
    buf_add(&blocked->request, client_raw(c));
    ask_for_ids(c, b, command);
    send_blocking(c, b);
    return TAKE_DONE;
}

/* WAIT counts from the last write of its own connection; a PING before it moves that to now, so it
 * waits for everything that this client wrote, over whatever connection. */
enum take blocked_wait(struct client *c) {
    enum take take = TAKE_DONE;
    struct backend *b = client_lease(c, &take);
    if (b == NULL) return take;
    backend_write(b, SLICE("*1\r\n$4\r\nPING\r\n"));
    (void)backend_expect(b, NULL, REQ_DROP, 1);
    backend_write(b, client_raw(c));
    (void)backend_expect(b, c, REQ_RELAY, 1);
    if (!c->watching) c->lease_ends = true;
    return TAKE_DONE;
}

static void on_unblocked(struct req *req, struct backend *b, struct slice reply) {
    (void)req;
    (void)b;
    (void)reply; /* 0: it was answered already, or did not arrive yet; barrier_tick() asks again */
}

void blocked_end(struct client *c) {
    struct worker *w = c->worker;
    struct blocked *blocked = c->blocked;
    if (blocked == NULL || blocked->again || !c->leased || c->conn->server_id == 0) return;
    if (blocked->ending && w->now_us - blocked->asked_us < UNBLOCK_AGAIN_US) return;
    struct backend *b = dispatch_shared(w, w->side, 2, 0);
    if (b == NULL) return; /* being dialled; asked again at the next tick */
    char id[24];
    struct buf out = {0};
    (void)snprintf(id, sizeof id, "%" PRId64, c->conn->server_id);
    resp_write_words(&out, "CLIENT", "UNBLOCK", id, NULL);
    backend_write(b, buf_slice(&out));
    buf_close(&out);
    backend_expect(b, NULL, REQ_WHOLE, 1)->done = on_unblocked;
    blocked->ending = true;
    blocked->asked_us = w->now_us;
}

/* The time that is left, as it stands in a request: at least a millisecond, since 0 means for ever. */
static void write_left(uint64_t deadline_us, uint64_t now_us, bool milliseconds, char text[32]) {
    uint64_t left_us = deadline_us > now_us ? deadline_us - now_us : 0;
    if (left_us < 1000) left_us = 1000;
    if (milliseconds)
        (void)snprintf(text, 32, "%" PRIu64, (left_us + 999) / 1000);
    else
        (void)snprintf(text, 32, "%" PRIu64 ".%06" PRIu64, left_us / 1000000, left_us % 1000000);
}

void blocked_write_rest(const struct command *command, const struct resp_request *r,
                        uint64_t deadline_us, uint64_t now_us, struct buf *out) {
    size_t at = 0;
    char text[32];
    bool milliseconds = false;
    struct slice *argv = NEW_ARRAY(struct slice, r->argc);
    memcpy(argv, r->argv, r->argc * sizeof *argv);
    if (deadline_us != 0 && find_timeout(command, r, &at, &milliseconds)) {
        write_left(deadline_us, now_us, milliseconds, text);
        argv[at] = slice_text(text);
    }
    resp_write_command(out, r->argc, argv);
    mem_free(argv);
}

/* The same request with the time that is left. */
static void shorten(struct client *c) {
    struct blocked *blocked = c->blocked;
    if (blocked->deadline_us == 0) return;
    char text[32];
    write_left(blocked->deadline_us, c->worker->now_us, blocked->milliseconds, text);
    struct resp_request again = {0};
    struct why why;
    size_t used = 0;
    enum step step = resp_request_next(&again, &resp_request_limits_open,
                                       buf_slice(&blocked->request), &used, &why);
    ASSERT(step == STEP_DONE && blocked->timeout_at < again.argc); /* we wrote it ourselves */
    struct buf request = {0};
    again.argv[blocked->timeout_at] = slice_text(text);
    resp_write_command(&request, again.argc, again.argv);
    resp_request_close(&again);
    buf_close(&blocked->request);
    blocked->request = request;
}

void blocked_put_back(struct client *c) {
    if (c->blocked == NULL || !c->blocked->again) return;
    shorten(c);
    struct buf request = c->blocked->request;
    c->blocked->request = (struct buf){0};
    blocked_free(c);
    c->busy = false;
    if (c->leased) client_unlease(c, true);
    client_put_back(c, buf_slice(&request));
    buf_close(&request);
}

enum take blocked_resume(struct client *c) {
    struct blocked *blocked = c->blocked;
    ASSERT(blocked != NULL && blocked->again);
    enum take take = TAKE_DONE;
    c->last = NULL;
    struct backend *b = client_lease(c, &take);
    if (b == NULL) {
        if (take == TAKE_DONE) { /* told off */
            blocked_free(c);
            c->busy = false;
            client_wake(c);
        }
        return take;
    }
    shorten(c);
    blocked->ending = blocked->again = false;
    send_blocking(c, b);
    return TAKE_DONE;
}

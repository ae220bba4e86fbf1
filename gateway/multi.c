/* multi.c -- MULTI ... EXEC and WATCH. See multi.h. */
#include "gateway/multi.h"

#include "gateway/backend.h"
#include "gateway/dual.h"
#include "gateway/filter.h"
#include "gateway/policy.h"
#include "gateway/stats.h"

#include "lib/base/mem.h"

#define SHAS_BYTES_MAX (SCRIPT_SHA_BYTES * 1000u)

static const struct command *cmd_exec, *cmd_multi, *cmd_watch, *cmd_select;

__attribute__((constructor)) static void find_commands(void) {
    cmd_exec = command_named("exec");
    cmd_multi = command_named("multi");
    cmd_watch = command_named("watch");
    cmd_select = command_named("select");
}

void multi_free(struct client *c) {
    if (c->multi == NULL) return;
    buf_close(&c->multi->block);
    buf_close(&c->multi->rules);
    buf_close(&c->multi->shas);
    mem_free(c->multi);
    c->multi = NULL;
}

static enum take spoil(struct client *c, const char *error) {
    c->multi->spoiled = true;
    client_reply_errorf(c, "%s", error);
    return TAKE_DONE;
}

/* Why COMMAND cannot stand in a block; NULL: it can. */
static const char *unfit(const struct command *command) {
    if (command->flags & COMMAND_NO_MULTI) return "ERR Command not allowed inside a transaction";
    switch (policy_of(command)) {
    case POLICY_REFUSE: return policy_why(command);
    case POLICY_CLIENT:
    case POLICY_TRACKING:
    case POLICY_SUBSCRIBE:
    case POLICY_MONITOR:
    case POLICY_WAIT: return "drawbridge cannot do this inside MULTI";
    case POLICY_LOCAL:
        if (strcmp(command->name, "auth") == 0 || strcmp(command->name, "hello") == 0)
            return "drawbridge cannot do this inside MULTI";
        return NULL;
    case POLICY_FORWARD:
    case POLICY_MULTI:
    case POLICY_WATCH:
    case POLICY_BLOCKING:
    case POLICY_HIDE:
    case POLICY_SCRIPT:
    default: return NULL;
    }
}

/* A body passes by, or a hash: both are of use when the block is sent. */
static void note_script(struct client *c, const struct command *command) {
    struct slice script = c->request.argv[1];
    if (policy_of(command) != POLICY_SCRIPT || strncmp(command->name, "eval", 4) != 0) return;
    if (strncmp(command->name, "evalsha", 7) != 0)
        scripts_add(c->worker->gw->scripts, script);
    else if (script.size == SCRIPT_SHA_BYTES && buf_size(&c->multi->shas) < SHAS_BYTES_MAX)
        buf_add(&c->multi->shas, script);
}

static void add_rule(struct multi *multi, enum filter_kind kind, int32_t db) {
    struct filter_rule rule = {.at = (uint32_t)multi->count, .kind = kind, .db = db};
    buf_append(&multi->rules, &rule, sizeof rule);
}

/* Say what EXEC's reply has to be looked through for, and send with it what that needs (filter.h).
 * The command itself stands at the end of the block, uncounted. */
static void add_rules(struct client *c, const struct command *command) {
    struct multi *multi = c->multi;
    int64_t db = 0;
    if (command == cmd_select && slice_to_int(c->request.argv[1], &db) && db >= 0 &&
        db < INT32_MAX) {
        add_rule(multi, FILTER_SELECT, (int32_t)db);
        multi->selects = true;
    }
    if (policy_of(command) != POLICY_HIDE) return;
    switch (command->name[0]) {
    case 'k': add_rule(multi, FILTER_KEYS, 0); break;
    case 's': add_rule(multi, FILTER_SCAN, 0); break;
    case 'd':
        add_rule(multi, FILTER_DBSIZE, 0);
        buf_add(&multi->block, filter_exists_request());
        multi->count++;
        break;
    case 'r':
        add_rule(multi, FILTER_RANDOMKEY, 0);
        for (unsigned i = 1; i < FILTER_RANDOMKEY_TRIES; i++)
            buf_add(&multi->block, SLICE("*1\r\n$9\r\nRANDOMKEY\r\n"));
        multi->count += FILTER_RANDOMKEY_TRIES - 1;
        break;
    default: UNREACHABLE("a hidden command");
    }
}

static enum take queue(struct client *c, const struct command *command, struct slice raw) {
    struct multi *multi = c->multi;
    if (buf_size(&multi->block) + raw.size > MULTI_BYTES_MAX || multi->count >= MULTI_COMMANDS_MAX)
        return spoil(c, "ERR drawbridge: the transaction is too big");
    note_script(c, command);
    if (c->request.is_inline)
        resp_write_command(&multi->block, c->request.argc, c->request.argv);
    else
        buf_add(&multi->block, raw);
    if (!c->worker->lanes) add_rules(c, command);
    if (c->worker->lanes && (command == cmd_select || policy_of(command) == POLICY_HIDE))
        multi->odd = true;
    multi->count++;
    client_reply(c, SLICE("+QUEUED\r\n"));
    return TAKE_DONE;
}

static void end_watch(struct client *c, bool unwatch);

/* As Redis: an EXEC that is wrong in itself ends the transaction, and says why. */
static enum take abort_exec(struct client *c) {
    multi_free(c);
    client_reply_errorf(c, "EXECABORT Transaction discarded because of: wrong number of arguments "
                           "for 'exec' command");
    end_watch(c, true);
    return TAKE_DONE;
}

/* ---- a command that our table does not know: a module's, a newer server's, or nobody's ---- */
static enum take spoil_as_redis(struct client *c, size_t argc, const struct slice *argv) {
    struct buf *error = &c->worker->scratch;
    buf_clear(error);
    (void)command_admit(argc, argv, error);
    c->multi->spoiled = true;
    client_reply_scratch(c);
    return TAKE_DONE;
}

/* Read name and arity from the answer of COMMAND INFO: an array of one command, which is null when
 * there is none. False: none, or not such an answer. */
static bool read_info(struct slice reply, struct slice *name, int64_t *arity) {
    static const enum resp_kind kinds[4] = {RESP_ARRAY, RESP_ARRAY, RESP_BULK, RESP_INT};
    struct resp_token token[4];
    for (size_t i = 0; i < 4; i++) {
        struct why why;
        size_t used = 0;
        if (resp_next(&resp_limits_server, reply, &token[i], &used, &why) != STEP_DONE ||
            token[i].kind != kinds[i])
            return false;
        reply = slice_drop(reply, used);
    }
    *name = token[2].text;
    *arity = token[3].number;
    return token[0].number == 1;
}

static bool fits(int64_t arity, size_t argc) {
    return arity >= 0 ? (uint64_t)arity == argc : argc >= 0 - (uint64_t)arity;
}

static void on_known(struct req *req, struct backend *b, struct slice reply) {
    struct client *c = req->client;
    struct buf *request = req->self, out = {0};
    struct resp_request parsed = {0};
    struct why why;
    size_t used = 0;
    (void)b;
    enum step step =
        resp_request_next(&parsed, &resp_request_limits_open, buf_slice(request), &used, &why);
    ASSERT(step == STEP_DONE && parsed.argc > 0); /* we wrote it ourselves */
    struct slice name = {0};
    int64_t arity = 0;
    bool known = read_info(reply, &name, &arity);
    if (known && fits(arity, parsed.argc)) {
        buf_add(&c->multi->block, buf_slice(request));
        c->multi->count++;
        buf_add(&out, SLICE("+QUEUED\r\n"));
    } else {
        if (known)
            resp_write_errorf(&out, "ERR wrong number of arguments for '%.*s' command",
                              (int)(name.size < 128 ? name.size : 128), (const char *)name.data);
        else
            (void)command_admit(parsed.argc, parsed.argv, &out);
        c->multi->spoiled = true;
    }
    c->busy = false;
    if (reply.size > 0) {
        if (c->stream != NULL && !req->mute) stream_write(c->stream, buf_slice(&out));
        client_wake(c);
    }
    resp_request_close(&parsed);
    buf_close(&out);
    buf_close(request);
    mem_free(request);
}

/* The server is asked, so that it is queued or refused as there; the next request waits for it. */
void multi_recaptured(struct client *c) {
    if (c->multi == NULL) return;
    if (c->multi->odd || buf_size(&c->multi->rules) > 0) c->multi->spoiled = true;
}

static enum take ask_server(struct client *c) {
    static const struct slice words[2] = {{(const uint8_t *)"COMMAND", 7},
                                          {(const uint8_t *)"INFO", 4}};
    struct slice argv[3] = {words[0], words[1], c->request.argv[0]};
    struct multi *multi = c->multi;
    struct slice raw = client_raw(c);
    if (buf_size(&multi->block) + raw.size > MULTI_BYTES_MAX || multi->count >= MULTI_COMMANDS_MAX)
        return spoil(c, "ERR drawbridge: the transaction is too big");
    enum take take = TAKE_DONE;
    struct backend *b = client_conn(c, &take);
    if (b == NULL) return take;
    struct buf *request = NEW(struct buf), out = {0};
    buf_add(request, client_raw(c));
    resp_write_command(&out, 3, argv);
    backend_write(b, buf_slice(&out));
    buf_close(&out);
    struct req *req = backend_expect(b, c, REQ_WHOLE, 1);
    req->done = on_known;
    req->self = request;
    c->busy = true;
    return TAKE_DONE;
}

enum take multi_collect(struct client *c, const struct command *command, struct slice raw) {
    if (command == cmd_exec && !command_arity_fits(command, c->request.argc)) return abort_exec(c);
    if (command == NULL && command_find(c->request.argv[0]) == NULL) {
        stats_unknown_command(c->worker->gw, c->request.argv[0]);
        return ask_server(c);
    }
    if (command == NULL || !command_arity_fits(command, c->request.argc))
        return spoil_as_redis(c, c->request.argc, c->request.argv);
    if (policy_of(command) == POLICY_MULTI) return multi_request(c, command);
    if (command == cmd_watch) {
        client_reply_errorf(c, "ERR WATCH inside MULTI is not allowed");
        return TAKE_DONE;
    }
    const char *why = unfit(command);
    if (why == NULL && c->worker->lanes) why = dual_unfit(command);
    if (why == NULL) return queue(c, command, raw);
    if (strncmp(why, "ERR ", 4) == 0) return spoil(c, why);
    c->multi->spoiled = true;
    client_reply_errorf(c, "ERR drawbridge: '%s': %s", command->name, why);
    return TAKE_DONE;
}

/* What on_exec() needs of a block that was sent. */
struct sent {
    uint32_t lines; /* +OK, +QUEUED ... before EXEC's own reply */
    bool selects;
    struct buf rules;
};

static void on_exec(struct req *req, struct backend *b, struct slice replies) {
    struct client *c = req->client;
    struct sent *sent = req->self;
    struct slice last = replies;
    for (uint32_t i = sent->lines; i > 0 && last.size > 0; i--) {
        const uint8_t *end = memchr(last.data, '\n', last.size);
        last = end ? slice_drop(last, (size_t)(end - last.data) + 1) : (struct slice){0};
    }
    struct buf out = {0};
    if (last.size > 0)
        filter_exec(last, (const struct filter_rule *)(const void *)sent->rules.data,
                    buf_size(&sent->rules) / sizeof(struct filter_rule), b->proto, &c->db, &out);
    if (c->stream != NULL && !req->mute) stream_write_buf(c->stream, &out);
    buf_close(&out);
    if (sent->selects) {
        b->db = -1;
        c->busy = false;
        if (replies.size > 0) client_wake(c);
    }
    buf_close(&sent->rules);
    mem_free(sent);
}

static void send_block(struct client *c, struct backend *b) {
    struct multi *multi = c->multi;
    uint32_t replies = (uint32_t)multi->count + 2;
    scripts_load_before(b, buf_slice(&multi->shas));
    backend_write(b, SLICE("*1\r\n$5\r\nMULTI\r\n"));
    if (buf_size(&multi->block) > (64u << 10))
        backend_write_buf(b, &multi->block);
    else
        backend_write(b, buf_slice(&multi->block));
    backend_write(b, SLICE("*1\r\n$4\r\nEXEC\r\n"));
    if (buf_size(&multi->rules) == 0) {
        (void)backend_expect(b, c, REQ_LAST, replies);
        return;
    }
    struct sent *sent = NEW(struct sent);
    *sent = (struct sent){replies - 1, multi->selects, multi->rules};
    multi->rules = (struct buf){0};
    struct req *req = backend_expect(b, c, REQ_WHOLE, replies);
    req->done = on_exec;
    req->self = sent;
    if (!sent->selects) return;
    b->db = -1;
    c->busy = true; /* which database its next request is for depends on the reply */
}

/* The WATCH ends: with its own connection, which goes back to the pool once all is answered. */
static void end_watch(struct client *c, bool unwatch) {
    c->watch_lost = false;
    if (!c->watching) return;
    c->watching = false;
    if (!c->leased || c->lease_ends) return;
    if (unwatch) {
        backend_write(c->conn, SLICE("*1\r\n$7\r\nUNWATCH\r\n"));
        (void)backend_expect(c->conn, c, REQ_DROP, 1);
    }
    c->lease_ends = true; /* something is outstanding: EXEC or UNWATCH */
}

static enum take exec(struct client *c) {
    struct worker *w = c->worker;
    if (c->multi == NULL) {
        client_reply_errorf(c, "ERR EXEC without MULTI");
        return TAKE_DONE;
    }
    if (c->multi->spoiled) {
        multi_free(c);
        client_reply_errorf(c, "EXECABORT Transaction discarded because of previous errors.");
        end_watch(c, true);
        return TAKE_DONE;
    }
    if (c->watch_lost) {
        multi_free(c);
        buf_clear(&w->scratch);
        resp_write_null_array(&w->scratch, c->proto);
        client_reply_scratch(c);
        end_watch(c, true);
        return TAKE_DONE;
    }
    if (c->multi->count == 0 && !c->watching) {
        multi_free(c);
        client_reply(c, SLICE("*0\r\n"));
        return TAKE_DONE;
    }
    enum take take = TAKE_DONE;
    if (w->lanes) {
        take = dual_exec(c, buf_slice(&c->multi->block), c->multi->count);
        if (take != TAKE_DONE) return take;
        multi_free(c);
        end_watch(c, false);
        return TAKE_DONE;
    }
    struct backend *b = client_conn(c, &take);
    if (b == NULL) {
        if (take == TAKE_DONE) multi_free(c); /* it was told that it failed */
        return take;
    }
    send_block(c, b);
    multi_free(c);
    end_watch(c, false);
    return TAKE_DONE;
}

enum take multi_request(struct client *c, const struct command *command) {
    if (command == cmd_exec) return exec(c);
    if (command == cmd_multi) {
        if (c->multi != NULL) {
            client_reply_errorf(c, "ERR MULTI calls can not be nested");
            return TAKE_DONE;
        }
        c->multi = NEW(struct multi);
        client_reply_ok(c);
        return TAKE_DONE;
    }
    if (c->multi == NULL) {
        client_reply_errorf(c, "ERR DISCARD without MULTI");
        return TAKE_DONE;
    }
    multi_free(c);
    client_reply_ok(c);
    end_watch(c, true);
    return TAKE_DONE;
}

enum take watch_request(struct client *c, const struct command *command) {
    if (command != cmd_watch) { /* UNWATCH */
        client_reply_ok(c);
        end_watch(c, true);
        return TAKE_DONE;
    }
    if (c->watch_lost) { /* its EXEC is nil already */
        client_reply_ok(c);
        return TAKE_DONE;
    }
    enum take take = TAKE_DONE;
    if (client_lease(c, &take) == NULL) return take;
    take = client_forward(c);
    if (take == TAKE_DONE) c->watching = true;
    return take;
}

/* front.c -- decide what to do with a client's request; see client.h. */
#include "gateway/backend.h"
#include "gateway/blocked.h"
#include "gateway/client.h"
#include "gateway/dispatch.h"
#include "gateway/dual.h"
#include "gateway/multi.h"
#include "gateway/policy.h"
#include "gateway/reads_loop.h"
#include "gateway/stats.h"
#include "gateway/subs.h"

#include "lib/base/log.h"

static const char *const http_words[] = {"post", "host:",   "put",  "delete",
                                         "head", "options", "patch"};

/* A browser that was lured here must not be able to run commands (as Redis: POST and Host:). */
static bool looks_like_http(const struct resp_request *r) {
    for (size_t i = 0; i < sizeof http_words / sizeof *http_words; i++)
        if (slice_equal_nocase(r->argv[0], slice_text(http_words[i]))) return true;
    return r->is_inline && r->argc == 3 && slice_starts(r->argv[2], SLICE("HTTP/"));
}

enum take client_forward(struct client *c) {
    enum take take = TAKE_DONE;
    struct backend *b = client_conn(c, &take);
    if (b == NULL) return take;
    backend_write(b, client_raw(c));
    backend_expect_relay(b, c, c->reply_mode != REPLY_ON);
    return TAKE_DONE;
}

/* The usual case: nearly every request comes this way. */
static enum take forward_raw(struct client *c, struct slice raw) {
    if (c->request.is_inline) return client_forward(c);
    enum take take = TAKE_DONE;
    struct backend *b = client_conn(c, &take);
    if (b == NULL) return take;
    if (raw.size > (256u << 10) && raw.size == buf_size(&c->in) &&
        raw.data == buf_slice(&c->in).data)
        backend_write_buf(b, &c->in); /* many megabytes are not copied */
    else
        backend_write(b, raw);
    backend_expect_relay(b, c, c->reply_mode != REPLY_ON);
    return TAKE_DONE;
}

/* What a RESP2 client that has subscriptions may still say. */
static bool may_say(const struct command *command) {
    return policy_of(command) == POLICY_SUBSCRIBE || strcmp(command->name, "ping") == 0 ||
           strcmp(command->name, "quit") == 0 || strcmp(command->name, "reset") == 0;
}

/* An error of ours for a request that Redis would refuse before it looks at it; false: none. */
static bool refused(struct client *c, const struct command *command) {
    const struct resp_request *r = &c->request;
    if (!c->authed && (command == NULL || (command->flags & COMMAND_NO_AUTH) == 0)) {
        client_reply_errorf(c, "NOAUTH Authentication required.");
        return true;
    }
    if (command == NULL && slice_equal_nocase(r->argv[0], SLICE("client"))) {
        buf_clear(&c->worker->scratch); /* it would speak about the gateway's own connection */
        (void)command_admit(r->argc, r->argv, &c->worker->scratch);
        client_reply_scratch(c);
        return true;
    }
    if (command == NULL) {
        stats_unknown_command(c->worker->gw, r->argv[0]);
        return false; /* the server may know it: a module, a newer version */
    }
    if (!command_arity_fits(command, r->argc)) {
        client_reply_errorf(c, "ERR wrong number of arguments for '%s' command", command->name);
        return true;
    }
    if (c->proto == 2 && subs_count(c) > 0 && !may_say(command)) {
        client_reply_errorf(
            c,
            "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / "
            "QUIT / RESET are allowed in this context",
            command->name);
        return true;
    }
    if (policy_of(command) == POLICY_REFUSE) {
        const char *why = policy_why(command);
        bool cluster = strncmp(why, "This instance", 13) == 0;
        client_reply_errorf(c, cluster ? "ERR %.0s%s" : "ERR drawbridge refuses '%s': %s",
                            command->name, why);
        return true;
    }
    return false;
}

static enum take act(struct client *c, const struct command *command, struct slice raw) {
    if (c->multi != NULL && c->authed &&
        (command == NULL ||
         (strcmp(command->name, "quit") != 0 && strcmp(command->name, "reset") != 0)))
        return multi_collect(c, command, raw);
    if (subs_must_wait(c, command)) return TAKE_WAIT;
    if (refused(c, command)) return TAKE_DONE;
    if (c->proto == 2 && subs_count(c) > 0 && subs_goes_along(command)) return subs_forward(c);
    if (command == NULL || (command->flags & COMMAND_READONLY) == 0) c->wrote = true;
    if (c->worker->lanes && dual_takes(c, command)) return dual_request(c, command, raw);
    if (command == NULL) return forward_raw(c, raw);
    enum take take = TAKE_DONE;
    switch (policy_of(command)) {
    case POLICY_FORWARD:
        return reads_request(c, command, raw, &take) ? take : forward_raw(c, raw);
    case POLICY_LOCAL: return local_request(c, command);
    case POLICY_CLIENT: return clientcmd_request(c, command);
    case POLICY_TRACKING: return tracking_request(c, command);
    case POLICY_MULTI: return multi_request(c, command);
    case POLICY_WATCH: return watch_request(c, command);
    case POLICY_BLOCKING:
        if (!policy_blocks(command, c->request.argc, c->request.argv)) return forward_raw(c, raw);
        return blocked_request(c, command);
    case POLICY_WAIT: return blocked_wait(c);
    case POLICY_SUBSCRIBE: return subs_request(c, command);
    case POLICY_MONITOR: return monitor_request(c);
    case POLICY_HIDE: return hide_request(c, command);
    case POLICY_SCRIPT: return script_request(c, command);
    case POLICY_REFUSE:
    default: UNREACHABLE("policy");
    }
}

enum take client_request(struct client *c, struct slice raw) {
    const struct resp_request *r = &c->request;
    if (!c->first_seen && looks_like_http(r)) {
        log_info("client.http", LOG_S("peer", stream_peer(c->stream)));
        client_abort(c);
        return TAKE_STOP;
    }
    c->first_seen = true;
    /* Its own connection is still the old side's: nothing may go there any more (C23). */
    if (c->subs != NULL && c->subs->draining) return TAKE_WAIT;
    if (c->lease_ends && c->outstanding > 0) return client_wait_idle(c);
    const struct command *command = command_lookup(r->argc, r->argv);
    c->last = command;
    bool skipped = c->skip_next;
    if (skipped) {
        c->skip_next = false;
        c->reply_mode = REPLY_SKIP;
    }
    enum take take = act(c, command, raw);
    if (skipped) {
        if (c->reply_mode == REPLY_SKIP) c->reply_mode = REPLY_ON;
        if (take == TAKE_WAIT) c->skip_next = true;
    }
    return take;
}

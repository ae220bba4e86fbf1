/* shutdown.c -- SHUTDOWN, signals, and the wait for replicas. See shutdown.h. */
#include "server/shutdown.h"

#include "server/args.h"
#include "server/block.h"
#include "server/gates.h"
#include "server/groups.h"
#include "server/output.h"
#include "server/pause.h"
#include "server/reply.h"
#include "server/script.h"

static bool no_replica_lags(struct engine *engine) {
    const struct engine_acks *acks = hooks_acks(engine);
    return acks == NULL || acks->confirmed(engine, acks->offset(engine)) == acks->count(engine);
}

/* ---- clients that called SHUTDOWN ---- */

static const struct block_how until_the_end = {.type = -1};

static void answer_waiting(struct engine *engine) {
    for (struct client *c = engine->clients; c; c = c->next) {
        if (!block_waits_by(c, &until_the_end)) continue;
        reply_error(c, "ERR Errors trying to SHUTDOWN. Check logs.");
        block_end(c);
    }
}

/* ---- the steps ---- */

static void live_on(struct engine *engine) {
    engine->ending.asked = false;
    if (engine->ending.deadline_ms == 0) return;
    engine->ending.deadline_ms = 0;
    pause_end(engine, PAUSE_SHUTDOWN);
    answer_waiting(engine);
}

static bool finish(struct engine *engine, unsigned flags) {
    const struct engine_acks *acks = hooks_acks(engine);
    struct why why;
    int replicas = acks ? acks->count(engine) : 0;
    if (replicas) {
        acks->log_lagging(engine);
        engine_log(engine, '*', "%d of %d replicas are in sync when shutting down.",
                   acks->confirmed(engine, acks->offset(engine)), replicas);
    }
    if (!hooks_shutdown(engine, flags, &why) && !(flags & SHUTDOWN_FORCE)) {
        engine_log(engine, '#',
                   "Errors trying to shut down the server. Check the logs for more information.");
        live_on(engine);
        return false;
    }
    engine->shutting_down = true;
    hooks_run(engine, HOOK_SHUTDOWN);
    output_flush(engine);
    engine_log(engine, '#', "Redis is now ready to exit, bye bye...");
    uv_stop(engine->loop);
    return true;
}

enum shutdown_begun shutdown_begin(struct engine *engine, unsigned flags) {
    struct ending *ending = &engine->ending;
    if (engine->shutting_down) return SHUTDOWN_ENDS;
    if (ending->deadline_ms && !(flags & SHUTDOWN_NOW)) return SHUTDOWN_WAITS;
    engine_log(engine, '#', "User requested shutdown...");
    bool cannot_wait = flags & SHUTDOWN_NOW || engine->busy || engine->loading;
    if (cannot_wait || engine->settings.shutdown_timeout_s == 0 || no_replica_lags(engine))
        return finish(engine, flags) ? SHUTDOWN_ENDS : SHUTDOWN_REFUSED;
    ending->flags = flags;
    ending->deadline_ms = engine->now_ms + engine->settings.shutdown_timeout_s * 1000;
    hooks_acks(engine)->ask(engine);
    pause_start(engine, PAUSE_SHUTDOWN, INT64_MAX, false);
    engine_log(engine, '*', "Waiting for replicas before shutting down.");
    return SHUTDOWN_WAITS;
}

void shutdown_ask(struct engine *engine, unsigned flags, bool interrupt) {
    struct ending *ending = &engine->ending;
    if (interrupt && (ending->asked || ending->deadline_ms)) { /* somebody at a terminal insists */
        engine_log(engine, '#', "You insist... exiting now.");
        (void)finish(engine, SHUTDOWN_NOW | SHUTDOWN_NOSAVE | SHUTDOWN_FORCE);
        return;
    }
    if (ending->deadline_ms) return;
    ending->asked = true;
    ending->flags = flags;
}

bool shutdown_abort(struct engine *engine) {
    if (!engine->ending.asked && engine->ending.deadline_ms == 0) return false;
    live_on(engine);
    engine_log(engine, '*', "Shutdown manually aborted.");
    return true;
}

void shutdown_tick(struct engine *engine) {
    struct ending *ending = &engine->ending;
    if (engine->shutting_down) return;
    if (ending->asked) {
        ending->asked = false;
        (void)shutdown_begin(engine, ending->flags);
    } else if (ending->deadline_ms &&
               (engine->now_ms >= ending->deadline_ms || no_replica_lags(engine))) {
        (void)finish(engine, ending->flags);
    }
}

int64_t shutdown_end_ms(const struct engine *engine) {
    return engine->ending.deadline_ms;
}

/* ---- the command ---- */

static bool read_flags(struct client *c, unsigned *flags, bool *abort) {
    static const struct {
        const char *word;
        unsigned flag;
    } words[] = {{"nosave", SHUTDOWN_NOSAVE},
                 {"save", SHUTDOWN_SAVE},
                 {"now", SHUTDOWN_NOW},
                 {"force", SHUTDOWN_FORCE}};
    for (int i = 1; i < c->argc; i++) {
        unsigned flag = 0;
        for (size_t n = 0; n < COUNT(words); n++)
            if (arg_is(c->argv[i], words[n].word)) flag = words[n].flag;
        if (arg_is(c->argv[i], "abort"))
            *abort = true;
        else if (flag == 0)
            return false;
        *flags |= flag;
    }
    return !(*abort && *flags) && !(*flags & SHUTDOWN_SAVE && *flags & SHUTDOWN_NOSAVE);
}

static void abort_for(struct client *c) {
    if (shutdown_abort(c->engine))
        reply_ok(c);
    else
        reply_error(c, "ERR No shutdown in progress.");
}

static void run_shutdown(struct client *c) {
    unsigned flags = 0;
    bool abort = false;
    if (!read_flags(c, &flags, &abort)) {
        reply_syntax_error(c);
    } else if (abort) {
        abort_for(c);
    } else if (!(flags & SHUTDOWN_NOW) && block_is_denied(c)) {
        reply_error(c, "ERR SHUTDOWN without NOW or ABORT isn't allowed for DENY BLOCKING client");
    } else if (c->engine->busy && !(flags & SHUTDOWN_NOSAVE)) {
        reply_error(c, "%s", script_busy_error(c->engine));
    } else {
        enum shutdown_begun begun = shutdown_begin(c->engine, flags);
        if (begun == SHUTDOWN_WAITS) block_until(c, 0, &until_the_end);
        if (begun == SHUTDOWN_REFUSED) reply_error(c, "ERR Errors trying to SHUTDOWN. Check logs.");
    }
}

void shutdown_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"shutdown", run_shutdown}};
    command_bind(engine, bindings, COUNT(bindings));
}

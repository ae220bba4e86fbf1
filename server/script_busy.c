/* script_busy.c -- a script that takes long: others are served from within its hook, and it can be
 * killed.
 *
 * The loop is run once from inside of the loop. That is sound here because scripts are executed
 * before or after the loop polls, never from within a callback of a socket; the batch of requests
 * that was being executed is set aside, and the caller is neither read nor freed meanwhile. */
#include "server/script.h"

#include "server/execute.h"
#include "server/function.h"
#include "server/net.h"
#include "server/reply.h"

#define SERVE_EVERY_US 1000

static bool may_be_interrupted(const struct script_run *run) {
    return run->caller->fd >= 0 && !run->vm->engine->loading;
}

static void become_busy(struct script_run *run, uint64_t elapsed_ms) {
    struct engine *engine = run->vm->engine;
    engine_log(engine, '#',
               "Slow script detected: still in execution after %llu milliseconds. You can try "
               "killing the script "
               "using the %s command. Script name is: %s.",
               (unsigned long long)elapsed_ms, run->is_eval ? "SCRIPT KILL" : "FUNCTION KILL",
               run->name);
    run->busy = engine->busy = true;
    net_hold(run->caller);
    turn_set_aside(engine, run->caller);
}

static void serve_others(struct script_run *run) {
    struct engine *engine = run->vm->engine;
    struct client *current = engine->current;
    turn_nested(engine);
    engine->current = current;
    if (engine->shutting_down) run->killed = true;
}

bool script_is_to_end(struct script_vm *vm) {
    struct script_run *run = vm->run;
    if (vm->load) return function_load_is_late(vm);
    if (run == NULL || vm->engine->scripts->debug) return false; /* its own hook looks after it */
    if (run->killed) return true;
    int64_t threshold_ms = vm->engine->settings.busy_reply_threshold_ms;
    if (threshold_ms <= 0 || vm->in_command || !may_be_interrupted(run)) return false;
    uint64_t now_us = clock_mono_us(vm->engine->clock),
             elapsed_ms = (now_us - run->began_us) / 1000;
    if (elapsed_ms < (uint64_t)threshold_ms) return false;
    if (!run->busy) become_busy(run, elapsed_ms);
    if (now_us - run->served_us < SERVE_EVERY_US) return false;
    serve_others(run);
    run->served_us = clock_mono_us(vm->engine->clock);
    return run->killed;
}

bool script_is_ending(const struct script_vm *vm) {
    return (vm->run && vm->run->killed) || (vm->load && function_load_is_late(vm));
}

void script_raise_end(lua_State *lua) {
    bool loading = script_vm_of(lua)->load != NULL;
    script_push_error(lua,
                      loading ? "ERR FUNCTION LOAD timeout"
                              : "ERR Script killed by user with SCRIPT KILL...",
                      false);
    (void)lua_error(lua);
    UNREACHABLE("lua_error() does not return");
}

void script_busy_over(struct script_run *run) {
    struct engine *engine = run->vm->engine;
    if (!run->busy) return;
    engine->busy = false;
    net_release(run->caller);
    if (run->killed) engine_log(engine, '#', "Lua script killed by user with SCRIPT KILL.");
    engine_read_clock(engine);
    if (engine->shutting_down || engine->later)
        uv_stop(engine->loop); /* the loop inside took the stop for itself */
}

void script_kill(struct client *c, bool is_eval) {
    struct script_run *run = c->engine->scripts->run;
    if (run == NULL)
        reply_error(c, "NOTBUSY No scripts in execution right now.");
    else if (run->caller->flags & CLIENT_MASTER)
        reply_error(c, "UNKILLABLE The busy script was sent by a master instance in the context of "
                       "replication and "
                       "cannot be killed.");
    else if (run->wrote)
        reply_error(c, "UNKILLABLE Sorry the script already executed write commands against the "
                       "dataset. You can "
                       "either wait the script termination or kill the server in a hard way using "
                       "the SHUTDOWN "
                       "NOSAVE command.");
    else if (is_eval != run->is_eval)
        reply_error(c, "%s", script_busy_error(c->engine));
    else {
        run->killed = true;
        reply_ok(c);
    }
}

const char *script_busy_error(const struct engine *engine) {
    const struct script_run *run = engine->scripts->run;
    return run && !run->is_eval ? "BUSY Redis is busy running a script. You can only call FUNCTION "
                                  "KILL or SHUTDOWN NOSAVE."
                                : "BUSY Redis is busy running a script. You can only call SCRIPT "
                                  "KILL or SHUTDOWN NOSAVE.";
}

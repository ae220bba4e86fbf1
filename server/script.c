/* script.c -- from EVAL or FCALL to the reply. See script.h. */
#include "server/script.h"
#include "server/script_debug.h"

#include "lib/base/mem.h"
#include "server/args.h"
#include "server/function.h"
#include "server/gates.h"
#include "server/lua_json.h"
#include "server/lua_sandbox.h"
#include "server/multi.h"
#include "server/replication.h"
#include "server/reply.h"

struct engine_scripts *scripts_of(const struct engine *engine) {
    return engine->scripts;
}

void script_open(struct engine *engine) {
    engine->scripts = NEW(struct engine_scripts);
    script_debug_open(engine);
    script_commands_bind(engine);
    function_commands_bind(engine);
}

struct client *script_caller(struct client *c) {
    struct script_run *run = c->flags & CLIENT_SCRIPT ? c->engine->scripts->run : NULL;
    return run ? run->caller : c;
}

bool script_key_count(struct client *c, const char *bad, int *count) {
    int64_t keys;
    if (!arg_int(c, c->argv[2], &keys, bad)) return false;
    if (keys > c->argc - 3)
        reply_error(c, "ERR Number of keys can't be greater than number of args");
    else if (keys < 0)
        reply_error(c, "ERR Number of keys can't be negative");
    *count = (int)keys;
    return keys >= 0 && keys <= c->argc - 3;
}

/* ---- before ---- */

static bool obeyed(const struct client *c) {
    return c->flags & (CLIENT_MASTER | CLIENT_LOADING);
}

/* What a script that declares its flags may be refused for, where EVAL itself was not: inside of
 * EXEC, which was checked by the flags of the commands. */
static bool may_begin(struct client *c, uint32_t flags, bool ro) {
    struct engine *engine = c->engine;
    const struct settings *s = &engine->settings;
    if (engine_is_stale(engine) && flags & SCRIPT_COMPAT) {
        reply_error(
            c, "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.");
        return false;
    }
    if (flags & SCRIPT_COMPAT) return true;
    if (engine->cluster && flags & SCRIPT_NO_CLUSTER) {
        reply_error(c, "ERR Can not run script on cluster, 'no-cluster' flag is set.");
        return false;
    }
    if (engine_is_stale(engine) && !(flags & SCRIPT_ALLOW_STALE)) {
        reply_error(
            c, "MASTERDOWN Link with MASTER is down, replica-serve-stale-data is set to 'no' and "
               "'allow-stale' flag is not set on the script.");
        return false;
    }
    if (!(flags & SCRIPT_NO_WRITES)) {
        if (engine->role == ROLE_REPLICA && s->replica_read_only && !obeyed(c)) {
            reply_error(c, "READONLY Can not run script with write flag on readonly replica");
            return false;
        }
        if (ro) {
            reply_error(c, "ERR Can not execute a script with write flag using *_ro command.");
            return false;
        }
        if (!obeyed(c) && !gates_admit(c, command_named("set"))) return false;
    }
    if (engine->over_memory && s->maxmemory && !(flags & (SCRIPT_ALLOW_OOM | SCRIPT_NO_WRITES))) {
        reply_error(c, "OOM allow-oom flag is not set on the script, can not run it when used "
                       "memory > 'maxmemory'");
        return false;
    }
    return true;
}

bool script_begin(struct script_run *run, struct script_vm *vm, struct client *caller,
                  const char *name, uint32_t flags, bool is_eval, bool ro) {
    struct engine *engine = caller->engine;
    ASSERT(engine->scripts->run == NULL);
    if (!may_begin(caller, flags, ro)) return false;
    bool declared = !(flags & SCRIPT_COMPAT);
    *run = (struct script_run){.vm = vm,
                               .caller = caller,
                               .name = name,
                               .is_eval = is_eval,
                               .readonly = ro || (declared && flags & SCRIPT_NO_WRITES),
                               .allow_oom = declared && flags & SCRIPT_ALLOW_OOM,
                               .cross_slot = !declared || flags & SCRIPT_CROSS_SLOT,
                               .targets = PROPAGATE_ALL,
                               .began_us = clock_mono_us(engine->clock),
                               .reply_mark = SIZE_MAX};
    struct client *c = vm->client;
    c->db = caller->db;
    c->user = caller->user;
    c->resp = 2;
    c->flags = (c->flags & (CLIENT_FAKE | CLIENT_SCRIPT | CLIENT_EXECUTING)) |
               (caller->flags & (CLIENT_MASTER | CLIENT_LOADING | CLIENT_IMPORT_SOURCE));
    buf_clear(&c->out);
    lua_random_begin(script_is_replayed(run));
    vm->run = engine->scripts->run = run;
    return true;
}

/* ---- the call, protected ---- */

#define WRAPPED 3 /* functions in C that may stand between an error and the script */

/* Around the error: where it happened, as a table. Argument: the error. */
static int on_error(lua_State *lua) {
    lua_Debug where;
    bool known = false;
    for (int level = 1; level <= WRAPPED && !known; level++) {
        if (!lua_getstack(lua, level, &where) || !lua_getinfo(lua, "nSl", &where)) break;
        known = strcmp(where.what, "C") != 0;
    }
    lua_settop(lua, 1);
    if (!lua_istable(lua, 1) || lua_push_real(lua, 1)) {
        const char *text = lua_type(lua, 1) == LUA_TSTRING || lua_type(lua, 1) == LUA_TNUMBER
                               ? lua_tostring(lua, 1)
                               : luaL_typename(lua, 1);
        if (lua_type(lua, 1) == LUA_TBOOLEAN) text = lua_toboolean(lua, 1) ? "true" : "false";
        lua_newtable(lua);
        lua_pushfstring(lua, "ERR %s", text);
        lua_setfield(lua, -2, "err");
    }
    if (!known) return 1;
    lua_pushliteral(lua, "source");
    lua_pushstring(lua, where.source);
    lua_rawset(lua, -3);
    lua_pushliteral(lua, "line");
    lua_pushinteger(lua, where.currentline);
    lua_rawset(lua, -3);
    return 1;
}

static const char *member(lua_State *lua, const char *name) { /* of the table on the top; pushes */
    lua_pushstring(lua, name);
    lua_rawget(lua, -2);
    return lua_isstring(lua, -1) ? lua_tostring(lua, -1) : NULL;
}

/* The error on the top of the stack. */
static void reply_failure(struct script_run *run, lua_State *lua) {
    struct client *c = run->caller;
    if (!lua_istable(lua, -1)) {
        const char *text = lua_isstring(lua, -1) ? lua_tostring(lua, -1) : "execution failure";
        reply_error(c, "ERR Error running script %s, %.100s", run->name, text);
        return;
    }
    int table = lua_gettop(lua);
    lua_checkstack(lua, 8);
    const char *text = member(lua, "err");
    lua_pushvalue(lua, table);
    const char *source = member(lua, "source");
    lua_pushvalue(lua, table);
    const char *line = member(lua, "line");
    lua_pushvalue(lua, table);
    (void)member(lua, "ignore_error_stats_update");
    bool seen = lua_toboolean(lua, -1);
    if (text == NULL) text = "ERR unknown error";
    if (source && line)
        lua_pushfstring(lua, "%s script: %s, on %s:%s.", text, run->name, source, line);
    else
        lua_pushstring(lua, text);
    if (seen)
        reply_error_seen(c, "%s", lua_tostring(lua, -1));
    else
        reply_error(c, "%s", lua_tostring(lua, -1));
}

static void push_list(lua_State *lua, const struct slice *items, int count) {
    lua_createtable(lua, count, 0);
    for (int i = 0; i < count; i++) {
        lua_pushlstring(lua, items[i].size ? (const char *)items[i].data : "", items[i].size);
        lua_rawseti(lua, -2, i + 1);
    }
}

static int run_inside(lua_State *lua) {
    struct script_run *run = lua_touserdata(lua, 1);
    lua_settop(lua, 0);
    json_reset(lua);
    lua_pushcfunction(lua, on_error);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, run->function);
    if (run->is_eval) { /* whatever setfenv() did to it the last time */
        lua_sandbox_push_globals(lua);
        (void)lua_setfenv(lua, -2);
    }
    push_list(lua, run->keys, run->key_count);
    if (run->is_eval) lua_sandbox_set(lua, "KEYS");
    push_list(lua, run->args, run->arg_count);
    if (run->is_eval) lua_sandbox_set(lua, "ARGV");
    if (lua_pcall(lua, run->is_eval ? 0 : 2, 1, 1) != 0)
        reply_failure(run, lua);
    else {
        run->reply_mark = buf_size(&run->caller->out);
        script_reply(run, lua);
    }
    return 0;
}

/* What was said of a reply that could not be finished is taken back. */
static void drop_reply(struct script_run *run) {
    struct buf *out = &run->caller->out;
    if (run->reply_mark < buf_size(out)) out->end = out->start + run->reply_mark;
}

void script_run(struct script_run *run, int function, const struct slice *keys, int key_count,
                const struct slice *args, int arg_count) {
    struct client *c = run->caller;
    struct script_vm *vm = run->vm;
    char text[128];
    run->function = function;
    run->keys = keys;
    run->key_count = key_count;
    run->args = args;
    run->arg_count = arg_count;
    if (vm->engine->scripts->debug) script_debug_watch(vm);
    if (!script_vm_protect(vm, run_inside, run, text, sizeof text)) {
        drop_reply(run);
        reply_error(c, "ERR Error running script %s, %.100s", run->name, text);
    }
    if (vm->client->flags & CLIENT_MULTI) multi_discard(vm->client);
    vm->run = vm->engine->scripts->run = NULL;
    vm->client->user = NULL;
    vm->in_command = false;
    script_busy_over(run);
    script_vm_tidy(vm);
    propagate_nothing(c); /* its commands spoke for themselves */
}

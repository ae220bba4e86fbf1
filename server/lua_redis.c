/* lua_redis.c -- the table `redis`: call, pcall, and what else a script may ask of the server. */
#include "server/acl.h"
#include "server/function.h"
#include "server/lua_sandbox.h"
#include "server/script_debug.h"

#include <stdio.h>

#define NUMBER_TEXT_BYTES 32

void script_push_error(lua_State *lua, const char *text, bool seen) {
    luaL_checkstack(lua, 3, "error");
    lua_createtable(lua, 0, 2);
    lua_pushliteral(lua, "err");
    lua_pushstring(lua, text);
    lua_rawset(lua, -3);
    if (!seen) return;
    lua_pushliteral(lua, "ignore_error_stats_update");
    lua_pushboolean(lua, 1);
    lua_rawset(lua, -3);
}

static int throw(lua_State * lua, const char *text) {
    script_push_error(lua, text, false);
    return lua_error(lua);
}

static struct script_run *running(lua_State *lua, const char *function) {
    struct script_run *run = script_vm_of(lua)->run;
    if (run) return run;
    lua_pushfstring(lua, "ERR %s can only be called inside a script invocation", function);
    throw(lua, lua_tostring(lua, -1));
    return NULL;
}

/* ---- call and pcall ---- */

static struct slice *bad_arguments(lua_State *lua, const char *error) {
    lua_settop(lua, 0);
    script_push_error(lua, error, false);
    return NULL;
}

/* The arguments as bytes. They stay on the stack, so the strings stay where they are; numbers are
 * written behind the array. NULL: an error was pushed instead. */
static struct slice *read_arguments(lua_State *lua, int *count) {
    int argc = *count = lua_gettop(lua);
    if (argc == 0)
        return bad_arguments(lua,
                             "ERR Please specify at least one argument for this redis lib call");
    struct slice *argv = script_vm_argv(lua, (size_t)argc, NUMBER_TEXT_BYTES);
    char *text = (char *)(argv + argc);
    for (int i = 0; i < argc; i++, text += NUMBER_TEXT_BYTES) {
        size_t size;
        const char *bytes;
        if (lua_type(lua, i + 1) == LUA_TNUMBER) {
            size = (size_t)snprintf(text, NUMBER_TEXT_BYTES, "%.17g", lua_tonumber(lua, i + 1));
            bytes = text;
        } else if (lua_type(lua, i + 1) == LUA_TSTRING)
            bytes = lua_tolstring(lua, i + 1, &size);
        else
            return bad_arguments(lua,
                                 "ERR Lua redis lib command arguments must be strings or integers");
        argv[i] = slice_from(bytes, size);
    }
    return argv;
}

static int call(lua_State *lua, bool raises) {
    struct script_run *run = running(lua, "redis.call/pcall");
    int argc;
    struct slice *argv = read_arguments(lua, &argc);
    if (argv == NULL) return raises ? lua_error(lua) : 1;
    if (run->vm->engine->scripts->debug) script_debug_note_call(lua, argc, argv);
    const char *error = script_call(run, argc, argv);
    struct slice reply = buf_slice(&run->vm->client->out);
    if (run->vm->engine->scripts->debug) script_debug_note_reply(lua, reply, error);
    lua_settop(lua, 0);
    if (error)
        script_push_error(lua, error, true);
    else
        script_push_reply(lua, reply);
    if (raises && (error || (reply.size > 0 && reply.data[0] == '-'))) return lua_error(lua);
    return 1;
}

static int run_call(lua_State *lua) {
    return call(lua, true);
}

static int run_pcall(lua_State *lua) {
    return call(lua, false);
}

/* ---- replies made by scripts ---- */

static bool one_string(lua_State *lua) {
    if (lua_gettop(lua) == 1 && lua_type(lua, 1) == LUA_TSTRING) return true;
    script_push_error(lua, "ERR wrong number or type of arguments", false);
    return false;
}

/* "-CODE words" and "CODE words" mean the same; without a code it is ERR. */
static int run_error_reply(lua_State *lua) {
    if (!one_string(lua)) return 1;
    const char *text = lua_tostring(lua, 1);
    if (*text == '-') text++;
    size_t size = strlen(text);
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r')) size--;
    while (size > 0 && strchr(text, ' ') == NULL && (*text == '\r' || *text == '\n'))
        text++, size--;
    if (strchr(text, ' ') == NULL)
        lua_pushliteral(lua, "ERR ");
    else
        lua_pushliteral(lua, "");
    lua_pushlstring(lua, text, size);
    lua_concat(lua, 2);
    script_push_error(lua, lua_tostring(lua, -1), false);
    return 1;
}

static int run_status_reply(lua_State *lua) {
    if (!one_string(lua)) return 1;
    lua_createtable(lua, 0, 1);
    lua_pushvalue(lua, 1);
    lua_setfield(lua, -2, "ok");
    return 1;
}

/* ---- settings of the run ---- */

static int run_setresp(lua_State *lua) {
    struct script_run *run = running(lua, "redis.setresp");
    if (lua_gettop(lua) != 1) return throw(lua, "ERR redis.setresp() requires one argument.");
    double version = lua_tonumber(lua, 1);
    if (version != 2 && version != 3) return throw(lua, "ERR RESP version must be 2 or 3.");
    run->vm->client->resp = (int)version;
    return 0;
}

static int run_set_repl(lua_State *lua) {
    struct script_run *run = running(lua, "redis.set_repl");
    if (lua_gettop(lua) != 1) return throw(lua, "ERR redis.set_repl() requires two arguments.");
    double wanted = lua_tonumber(lua, 1);
    if (!(wanted >= 0 && wanted <= PROPAGATE_ALL))
        return throw(
            lua,
            "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.");
    run->targets = (unsigned)wanted;
    return 0;
}

/* Effects are what is replicated, always. */
static int run_replicate_commands(lua_State *lua) {
    lua_pushboolean(lua, 1);
    return 1;
}

static int run_breakpoint(lua_State *lua) {
    lua_pushboolean(lua, script_debug_break(script_vm_of(lua)->engine));
    return 1;
}

static int run_debug(lua_State *lua) {
    script_debug_note_values(lua);
    return 0;
}

/* ---- others ---- */

static int run_sha1hex(lua_State *lua) {
    char sha[41];
    size_t size;
    if (lua_gettop(lua) != 1) return throw(lua, "ERR wrong number of arguments");
    const char *bytes = lua_tolstring(lua, 1, &size);
    script_sha(bytes ? slice_from(bytes, size) : SLICE(""), sha);
    lua_pushstring(lua, sha);
    return 1;
}

/* Line breaks would forge lines of the log. */
static int run_log(lua_State *lua) {
    int argc = lua_gettop(lua);
    if (argc < 2) return throw(lua, "ERR redis.log() requires two arguments or more.");
    if (!lua_isnumber(lua, 1))
        return throw(lua, "ERR First argument must be a number (log level).");
    double level = lua_tonumber(lua, 1);
    if (!(level >= 0 && level <= 3)) return throw(lua, "ERR Invalid debug level.");
    struct buf *line = script_vm_scratch(lua);
    for (int i = 2; i <= argc; i++) {
        size_t size;
        const char *text = lua_tolstring(lua, i, &size);
        if (text == NULL) continue;
        if (i > 2) buf_byte(line, ' ');
        script_vm_room(lua, line, size);
        for (size_t n = 0; n < size; n++)
            buf_byte(line, text[n] == '\n' || text[n] == '\r' ? ' ' : (uint8_t)text[n]);
    }
    struct slice bytes = buf_slice(line);
    engine_log(script_vm_of(lua)->engine, ".-*#"[(int)level], "%.*s",
               (int)(bytes.size < 4096 ? bytes.size : 4096),
               bytes.data ? (const char *)bytes.data : "");
    return 0;
}

static int run_acl_check_cmd(lua_State *lua) {
    struct script_run *run = running(lua, "redis.acl_check_cmd");
    int argc, at;
    struct slice *argv = read_arguments(lua, &argc);
    if (argv == NULL) return lua_error(lua);
    const struct command *command = command_lookup_here(run->vm->engine, (size_t)argc, argv);
    if (command == NULL) {
        lua_settop(lua, 0);
        return throw(lua, "ERR Invalid command passed to redis.acl_check_cmd()");
    }
    const struct acl_user *user = run->caller->user;
    bool allowed = user == NULL || acl_check(user, command, argc, argv, &at) == ACL_OK;
    lua_settop(lua, 0);
    lua_pushboolean(lua, allowed);
    return 1;
}

/* ---- the tables ---- */

static void add_log_and_version(lua_State *lua) {
    static const struct lua_member members[] = {{"log", run_log}};
    lua_add(lua, members, COUNT(members));
    lua_add_number(lua, "LOG_DEBUG", 0);
    lua_add_number(lua, "LOG_VERBOSE", 1);
    lua_add_number(lua, "LOG_NOTICE", 2);
    lua_add_number(lua, "LOG_WARNING", 3);
    lua_pushliteral(lua, SERVER_VERSION);
    lua_setfield(lua, -2, "REDIS_VERSION");
    lua_add_number(lua, "REDIS_VERSION_NUM", 0x0007000f);
}

void lua_redis_open(lua_State *lua) {
    static const struct lua_member members[] = {{"call", run_call},
                                                {"pcall", run_pcall},
                                                {"error_reply", run_error_reply},
                                                {"status_reply", run_status_reply},
                                                {"setresp", run_setresp},
                                                {"set_repl", run_set_repl},
                                                {"replicate_commands", run_replicate_commands},
                                                {"breakpoint", run_breakpoint},
                                                {"debug", run_debug},
                                                {"sha1hex", run_sha1hex},
                                                {"acl_check_cmd", run_acl_check_cmd}};
    lua_newtable(lua);
    lua_add(lua, members, COUNT(members));
    add_log_and_version(lua);
    lua_add_number(lua, "REPL_NONE", 0);
    lua_add_number(lua, "REPL_AOF", PROPAGATE_AOF);
    lua_add_number(lua, "REPL_SLAVE", PROPAGATE_REPLICAS);
    lua_add_number(lua, "REPL_REPLICA", PROPAGATE_REPLICAS);
    lua_add_number(lua, "REPL_ALL", PROPAGATE_ALL);
    lua_setglobal(lua, "redis");
}

void lua_redis_push_loading(lua_State *lua) {
    lua_newtable(lua);
    add_log_and_version(lua);
    lua_pushcfunction(lua, function_register);
    lua_setfield(lua, -2, "register_function");
}

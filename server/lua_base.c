/* lua_base.c -- the basic functions that must know of read-only tables, of scripts that are to end,
 * and of bytecode; they behave as those of Lua 5.1 otherwise. pcall() as in Redis 7.0, where an
 * error that is a table gives its text. */
#include "server/command.h"
#include "server/lua_sandbox.h"
#include "server/script.h"
#include "server/script_vm.h"

/* ---- protected calls ---- */

/* A script that is to end may not catch that. */
static void end_again(lua_State *lua) {
    if (script_is_ending(script_vm_of(lua))) script_raise_end(lua);
}

static int run_pcall(lua_State *lua) {
    luaL_checkany(lua, 1);
    luaL_checkstack(lua, 3, "pcall");
    if (lua_pcall(lua, lua_gettop(lua) - 1, LUA_MULTRET, 0) == 0) {
        luaL_checkstack(lua, 1, "pcall");
        lua_pushboolean(lua, 1);
        lua_insert(lua, 1);
        return lua_gettop(lua);
    }
    end_again(lua);
    if (lua_istable(lua, -1)) {
        lua_pushliteral(lua, "err");
        lua_rawget(lua, -2);
        if (lua_isstring(lua, -1))
            lua_replace(lua, -2);
        else
            lua_pop(lua, 1);
    }
    lua_pushboolean(lua, 0);
    lua_insert(lua, -2);
    return 2;
}

/* Around the script's own handler (the upvalue). When the script is to end it is not called: it
 * would run inside of the hook, where no hook can end it. */
static int handle_error(lua_State *lua) {
    if (script_is_ending(script_vm_of(lua))) return 1;
    lua_settop(lua, 1);
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    lua_call(lua, 1, 1);
    return 1;
}

static int run_xpcall(lua_State *lua) {
    luaL_checkany(lua, 2);
    lua_settop(lua, 2);
    lua_pushcclosure(lua, handle_error, 1);
    lua_insert(lua, 1);
    int status = lua_pcall(lua, 0, LUA_MULTRET, 1);
    if (status != 0) end_again(lua);
    lua_pushboolean(lua, status == 0);
    lua_replace(lua, 1);
    return lua_gettop(lua);
}

/* ---- code from text ---- */

static int compiled(lua_State *lua, int status) {
    if (status == 0) return 1;
    lua_pushnil(lua);
    lua_insert(lua, -2);
    return 2;
}

static int run_loadstring(lua_State *lua) {
    size_t size;
    const char *text = luaL_checklstring(lua, 1, &size);
    const char *name = luaL_optstring(lua, 2, text);
    return compiled(lua, script_vm_compile(lua, text, size, name));
}

/* All pieces are collected first: no Lua code runs while the parser works. */
static int run_load(lua_State *lua) {
    const char *name = luaL_optstring(lua, 2, "=(load)");
    luaL_checktype(lua, 1, LUA_TFUNCTION);
    lua_settop(lua, 2);
    luaL_Buffer text;
    luaL_buffinit(lua, &text);
    for (;;) {
        luaL_checkstack(lua, 2, "too many nested functions");
        lua_pushvalue(lua, 1);
        lua_call(lua, 0, 1);
        if (lua_isnil(lua, -1)) break;
        if (!lua_isstring(lua, -1)) return luaL_error(lua, "reader function must return a string");
        if (lua_objlen(lua, -1) == 0) break;
        luaL_addvalue(&text);
        script_vm_tick(lua);
    }
    lua_pop(lua, 1);
    luaL_pushresult(&text);
    size_t size;
    const char *bytes = lua_tolstring(lua, -1, &size);
    return compiled(lua, script_vm_compile(lua, bytes, size, name));
}

/* ---- tables ---- */

static int run_setmetatable(lua_State *lua) {
    int type = lua_type(lua, 2);
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_argcheck(lua, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table expected");
    lua_check_writable(lua, 1);
    if (luaL_getmetafield(lua, 1, "__metatable"))
        return luaL_error(lua, "cannot change a protected metatable");
    lua_settop(lua, 2);
    lua_setmetatable(lua, 1);
    return 1;
}

static int run_rawset(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_checkany(lua, 2);
    luaL_checkany(lua, 3);
    lua_check_writable(lua, 1);
    lua_settop(lua, 3);
    lua_rawset(lua, 1);
    return 1;
}

/* From here on the first argument is the real table: for functions that hand out its members. */
static void see_through(lua_State *lua) {
    if (lua_push_real(lua, 1)) lua_replace(lua, 1);
}

static int run_rawget(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_checkany(lua, 2);
    lua_settop(lua, 2);
    see_through(lua);
    lua_rawget(lua, 1);
    return 1;
}

static int run_next(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_settop(lua, 2);
    see_through(lua);
    if (lua_next(lua, 1)) return 2;
    lua_pushnil(lua);
    return 1;
}

static int run_pairs(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_pushcfunction(lua, run_next);
    lua_pushvalue(lua, 1);
    lua_pushnil(lua);
    return 3;
}

/* That of Debian's Lua counts in an int, which overflows for the whole range, and then crashes. */
static int run_unpack(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    int64_t first = luaL_optint(lua, 2, 1);
    int64_t last = luaL_opt(lua, luaL_checkint, 3, (int)lua_objlen(lua, 1));
    if (first > last) return 0;
    int64_t count = last - first + 1;
    if (count > LUAI_MAXCSTACK || !lua_checkstack(lua, (int)count))
        return luaL_error(lua, "too many results to unpack");
    for (int64_t i = first; i <= last; i++) lua_rawgeti(lua, 1, (int)i);
    return (int)count;
}

/* ---- environments ---- */

static void push_function(lua_State *lua) {
    if (lua_isfunction(lua, 1)) {
        lua_pushvalue(lua, 1);
        return;
    }
    lua_Debug where;
    int level = luaL_checkint(lua, 1);
    luaL_argcheck(lua, level >= 1, 1, "level must be positive");
    if (lua_getstack(lua, level, &where) == 0) luaL_argerror(lua, 1, "invalid level");
    lua_getinfo(lua, "f", &where);
    if (lua_isnil(lua, -1))
        luaL_error(lua, "no function environment for tail call at level %d", level);
}

/* Level 0, the globals of all that is loaded later, is not for scripts. */
static int run_setfenv(lua_State *lua) {
    luaL_checktype(lua, 2, LUA_TTABLE);
    if (lua_isnumber(lua, 1) && lua_tonumber(lua, 1) == 0)
        return luaL_error(lua, "'setfenv' cannot change environment of given object");
    push_function(lua);
    lua_pushvalue(lua, 2);
    if (lua_iscfunction(lua, -2) || lua_setfenv(lua, -2) == 0)
        return luaL_error(lua, "'setfenv' cannot change environment of given object");
    return 1;
}

/* ---- memory ---- */

/* What would last longer than the script (stop, setpause ...) is accepted and changes nothing. */
static int run_collectgarbage(lua_State *lua) {
    static const char *const words[] = {"stop", "restart",  "collect",    "count",
                                        "step", "setpause", "setstepmul", NULL};
    enum { STOP, RESTART, COLLECT, TELL, STEP, PAUSE, FACTOR };
    int word = luaL_checkoption(lua, 1, "collect", words), argument = luaL_optint(lua, 2, 0);
    if (script_is_to_end(script_vm_of(lua))) script_raise_end(lua);
    switch (word) {
    case TELL: {
        int rest = lua_gc(lua, LUA_GCCOUNTB, 0);
        lua_pushnumber(lua, lua_gc(lua, LUA_GCCOUNT, 0) + (lua_Number)rest / 1024);
        return 1;
    }
    case STEP: lua_pushboolean(lua, lua_gc(lua, LUA_GCSTEP, argument)); return 1;
    case COLLECT: (void)lua_gc(lua, LUA_GCCOLLECT, 0); break;
    case PAUSE:
    case FACTOR: lua_pushnumber(lua, 200); return 1;
    default: break;
    }
    lua_pushnumber(lua, 0);
    return 1;
}

void lua_base_open(lua_State *lua) {
    static const struct lua_member members[] = {{"pcall", run_pcall},
                                                {"xpcall", run_xpcall},
                                                {"load", run_load},
                                                {"loadstring", run_loadstring},
                                                {"setmetatable", run_setmetatable},
                                                {"rawset", run_rawset},
                                                {"rawget", run_rawget},
                                                {"next", run_next},
                                                {"pairs", run_pairs},
                                                {"unpack", run_unpack},
                                                {"setfenv", run_setfenv},
                                                {"collectgarbage", run_collectgarbage}};
    lua_pushvalue(lua, LUA_GLOBALSINDEX);
    lua_add(lua, members, COUNT(members));
    lua_pop(lua, 1);
}

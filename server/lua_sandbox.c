/* lua_sandbox.c -- builds the globals and seals them. See lua_sandbox.h. */
#include "server/lua_sandbox.h"

#include "server/command.h"

#include <lualib.h>

/* Their addresses are the keys. */
static char mark, key_globals, key_seen, key_meta, key_loading;

static void *key(char *at) {
    return at;
}

static void put(lua_State *lua, char *at) { /* pops the value */
    lua_pushlightuserdata(lua, key(at));
    lua_insert(lua, -2);
    lua_rawset(lua, LUA_REGISTRYINDEX);
}

static void get(lua_State *lua, char *at) {
    lua_pushlightuserdata(lua, key(at));
    lua_rawget(lua, LUA_REGISTRYINDEX);
}

static int refuse_write(lua_State *lua) {
    return luaL_error(lua, "Attempt to modify a readonly table");
}

static int refuse_unknown(lua_State *lua) {
    const char *name = lua_type(lua, 2) == LUA_TSTRING || lua_type(lua, 2) == LUA_TNUMBER
                           ? lua_tostring(lua, 2)
                           : luaL_typename(lua, 2);
    return luaL_error(lua, "Script attempted to access nonexistent global variable '%s'", name);
}

void lua_readonly(lua_State *lua) {
    luaL_checkstack(lua, 5, "sandbox");
    lua_newtable(lua);
    lua_createtable(lua, 0, 3);
    lua_pushvalue(lua, -3);
    lua_setfield(lua, -2, "__index");
    lua_pushcfunction(lua, refuse_write);
    lua_setfield(lua, -2, "__newindex");
    lua_pushlightuserdata(lua, key(&mark));
    lua_pushvalue(lua, -4);
    lua_rawset(lua, -3);
    lua_setmetatable(lua, -2);
    lua_remove(lua, -2);
}

bool lua_push_real(lua_State *lua, int index) {
    if (lua_type(lua, index) != LUA_TTABLE || !lua_getmetatable(lua, index)) return false;
    luaL_checkstack(lua, 2, "sandbox");
    lua_pushlightuserdata(lua, key(&mark));
    lua_rawget(lua, -2);
    lua_remove(lua, -2);
    if (lua_istable(lua, -1)) return true;
    lua_pop(lua, 1);
    return false;
}

void lua_check_writable(lua_State *lua, int index) {
    if (lua_push_real(lua, index)) refuse_write(lua);
}

void lua_add(lua_State *lua, const struct lua_member *members, size_t count) {
    for (size_t i = 0; i < count; i++) {
        lua_pushcfunction(lua, members[i].fn);
        lua_setfield(lua, -2, members[i].name);
    }
}

void lua_add_number(lua_State *lua, const char *name, double number) {
    lua_pushnumber(lua, number);
    lua_setfield(lua, -2, name);
}

/* ---- metatables that scripts may look at ---- */

/* getmetatable() of the globals: Redis shows one with __index, which cannot be changed. */
static void make_meta(lua_State *lua) {
    lua_newtable(lua);
    lua_pushcfunction(lua, refuse_unknown);
    lua_setfield(lua, -2, "__index");
    lua_readonly(lua);
    put(lua, &key_meta);
}

/* Methods of strings are those of the table `string`, whose real one is out of reach. */
static void seal_strings(lua_State *lua) {
    lua_pushliteral(lua, "");
    lua_createtable(lua, 0, 2);
    lua_getglobal(lua, "string");
    (void)lua_push_real(lua, -1);
    lua_setfield(lua, -3, "__index");
    lua_createtable(lua, 0, 1);
    lua_insert(lua, -2);
    lua_setfield(lua, -2, "__index");
    lua_readonly(lua);
    lua_setfield(lua, -2, "__metatable");
    lua_setmetatable(lua, -2);
    lua_pop(lua, 1);
}

static int run_getmetatable(lua_State *lua) {
    luaL_checkany(lua, 1);
    if (lua_push_real(lua, 1)) {
        get(lua, &key_globals);
        if (lua_rawequal(lua, -1, -2))
            get(lua, &key_meta);
        else
            lua_pushnil(lua);
        return 1;
    }
    if (!lua_getmetatable(lua, 1)) {
        lua_pushnil(lua);
        return 1;
    }
    (void)luaL_getmetafield(lua, 1, "__metatable");
    return 1;
}

/* ---- the whole ---- */

static void open_standard(lua_State *lua) {
    static const struct luaL_Reg parts[] = {{"", luaopen_base},
                                            {LUA_TABLIBNAME, luaopen_table},
                                            {LUA_STRLIBNAME, luaopen_string},
                                            {LUA_MATHLIBNAME, luaopen_math}};
    static const char *const removed[] = {"dofile",   "loadfile", "print",
                                          "newproxy", "module",   "require"};
    for (size_t i = 0; i < COUNT(parts); i++) {
        lua_pushcfunction(lua, parts[i].func);
        lua_pushstring(lua, parts[i].name);
        lua_call(lua, 1, 0);
    }
    for (size_t i = 0; i < COUNT(removed); i++) {
        lua_pushnil(lua);
        lua_setglobal(lua, removed[i]);
    }
}

static void seal_libraries(lua_State *lua) {
    static const char *const names[] = {"string", "table",    "math",   "coroutine", "bit",
                                        "cjson",  "cmsgpack", "struct", "redis"};
    for (size_t i = 0; i < COUNT(names); i++) {
        lua_getglobal(lua, names[i]);
        lua_readonly(lua);
        lua_setglobal(lua, names[i]);
    }
}

/* A table whose missing members raise an error; pops nothing. */
static void make_strict(lua_State *lua) {
    lua_createtable(lua, 0, 1);
    lua_pushcfunction(lua, refuse_unknown);
    lua_setfield(lua, -2, "__index");
    lua_setmetatable(lua, -2);
}

static void make_loading_globals(lua_State *lua) {
    lua_newtable(lua);
    lua_redis_push_loading(lua);
    make_strict(lua);
    lua_readonly(lua);
    lua_setfield(lua, -2, "redis");
    make_strict(lua);
    put(lua, &key_loading);
}

void lua_sandbox_open(lua_State *lua) {
    static const struct lua_member members[] = {{"getmetatable", run_getmetatable}};
    open_standard(lua);
    lua_base_open(lua);
    lua_table_open(lua);
    lua_string_open(lua);
    lua_random_open(lua);
    lua_bit_open(lua);
    lua_struct_open(lua);
    lua_json_open(lua);
    lua_msgpack_open(lua);
    lua_redis_open(lua);
    lua_pushvalue(lua, LUA_GLOBALSINDEX);
    lua_add(lua, members, COUNT(members));
    make_meta(lua);
    seal_libraries(lua);
    seal_strings(lua);
    make_loading_globals(lua);
    make_strict(lua);
    lua_pushvalue(lua, -1);
    put(lua, &key_globals);
    lua_readonly(lua);
    lua_pushvalue(lua, -1);
    put(lua, &key_seen);
    lua_pushvalue(lua, -1);
    lua_setglobal(lua, "_G");
    lua_replace(lua, LUA_GLOBALSINDEX);
}

void lua_sandbox_set(lua_State *lua, const char *name) {
    get(lua, &key_globals);
    lua_insert(lua, -2);
    lua_setfield(lua, -2, name);
    lua_pop(lua, 1);
}

void lua_sandbox_push_globals(lua_State *lua) {
    get(lua, &key_seen);
}

void lua_sandbox_loading(lua_State *lua, bool loading) {
    get(lua, &key_seen);
    (void)lua_getmetatable(lua, -1);
    get(lua, loading ? &key_loading : &key_globals);
    lua_setfield(lua, -2, "__index");
    lua_pop(lua, 2);
}

/* lua_sandbox.h -- the globals that a script sees, and how they are kept from being changed.
 *
 * Redis marks tables as read-only inside its own Lua; Debian's Lua cannot. Here every table that
 * scripts share is hidden behind an empty one:
 *
 *     stand-in {}  --metatable-->  __index = the real table, __newindex = error, MARK = the real
 * table
 *
 * Reading goes through, writing raises "Attempt to modify a readonly table". What writes past
 * metatables (rawset, setmetatable, table.insert ...) is replaced by functions that know the mark;
 * the mark is a light userdata, which Lua code can neither make nor see.
 *
 * Which names there are: those of Redis 7.0 (script_lua.c), without newproxy, whose objects could
 * have finalisers: code that runs at any moment, in somebody else's script.
 */
#ifndef SERVER_LUA_SANDBOX_H
#define SERVER_LUA_SANDBOX_H

#include <lauxlib.h>
#include <lua.h>

#include <stdbool.h>

struct lua_member {
    const char *name;
    lua_CFunction fn;
};

/* Everything: libraries, redis.*, globals sealed. In a protected call. */
void lua_sandbox_open(lua_State *lua);
/* Replaces the table on the top of the stack by a stand-in. */
void lua_readonly(lua_State *lua);
/* Is the value at INDEX a stand-in? If so, pushes the real table. */
bool lua_push_real(lua_State *lua, int index);
/* Raise the error if the value at INDEX is a stand-in. */
void lua_check_writable(lua_State *lua, int index);
/* Add functions to the table on the top. */
void lua_add(lua_State *lua, const struct lua_member *members, size_t count);
void lua_add_number(lua_State *lua, const char *name, double number);

/* Set KEYS or ARGV (a table on the top, which is popped) for EVAL. */
void lua_sandbox_set(lua_State *lua, const char *name);
/* Push the globals as scripts see them. */
void lua_sandbox_push_globals(lua_State *lua);
/* While a library is being loaded it sees only what registers functions. */
void lua_sandbox_loading(lua_State *lua, bool loading);

/* The parts; each leaves the stack as it was, and adds to the globals, which are open still. */
void lua_base_open(lua_State *lua);
void lua_table_open(lua_State *lua);
void lua_string_open(lua_State *lua);
void lua_random_open(lua_State *lua);
/* A script begins: chance goes on, or is (KNOWN) the same for each. */
void lua_random_begin(bool known);
void lua_bit_open(lua_State *lua);
void lua_struct_open(lua_State *lua);
void lua_json_open(lua_State *lua);
void lua_msgpack_open(lua_State *lua);
void lua_redis_open(lua_State *lua);
/* Pushes the table `redis` of libraries that are being loaded. */
void lua_redis_push_loading(lua_State *lua);

#endif

/* lua_table.c -- those functions of `table` that write, and math.random.
 *
 * table.insert() at a position far outside of the table would run for minutes where no hook
 * reaches; here it is refused. */
#include "server/command.h"
#include "server/lua_sandbox.h"
#include "server/script_vm.h"

#include <math.h>

#define INSERT_FAR 1000000 /* positions below 1 for which table.insert() may shift */

static int run_insert(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_check_writable(lua, 1);
    int end = (int)lua_objlen(lua, 1) + 1;
    switch (lua_gettop(lua)) {
    case 2: lua_rawseti(lua, 1, end); return 0;
    case 3: break;
    default: return luaL_error(lua, "wrong number of arguments to 'insert'");
    }
    int at = luaL_checkint(lua, 2);
    if (at < -INSERT_FAR) return luaL_argerror(lua, 2, "position out of bounds");
    for (int i = end; i > at; i--) {
        lua_rawgeti(lua, 1, i - 1);
        lua_rawseti(lua, 1, i);
        script_vm_tick(lua);
    }
    lua_rawseti(lua, 1, at);
    return 0;
}

static int run_remove(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_check_writable(lua, 1);
    int end = (int)lua_objlen(lua, 1), at = luaL_optint(lua, 2, end);
    if (at < 1 || at > end) return 0;
    lua_rawgeti(lua, 1, at);
    for (; at < end; at++) {
        lua_rawgeti(lua, 1, at + 1);
        lua_rawseti(lua, 1, at);
        script_vm_tick(lua);
    }
    lua_pushnil(lua);
    lua_rawseti(lua, 1, end);
    return 1;
}

/* The sort of Lua itself (its upvalue), for a table that may be written. */
static int run_sort(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_check_writable(lua, 1);
    if (!lua_isnoneornil(lua, 2)) luaL_checktype(lua, 2, LUA_TFUNCTION);
    lua_settop(lua, 2);
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    lua_call(lua, lua_gettop(lua) - 1, 0);
    return 0;
}

void lua_table_open(lua_State *lua) {
    static const struct lua_member members[] = {{"insert", run_insert}, {"remove", run_remove}};
    lua_getglobal(lua, "table");
    lua_add(lua, members, COUNT(members));
    lua_getfield(lua, -1, "sort");
    lua_pushcclosure(lua, run_sort, 1);
    lua_setfield(lua, -2, "sort");
    lua_pop(lua, 1);
}

/* ---- math.random: the 48-bit generator that POSIX describes, so that a seed gives the same
 * numbers everywhere, as in Redis ---- */

#define RANDOM_SEED(seed) (((uint64_t)(uint32_t)(seed) << 16) + 0x330E)

static uint64_t random_own = UINT64_C(0x1234ABCD330E), random_known, *random_state = &random_own;

void lua_random_begin(bool known) {
    random_known = RANDOM_SEED(0);
    random_state = known ? &random_known : &random_own;
}

static int32_t random_next(void) {
    *random_state = (*random_state * UINT64_C(0x5DEECE66D) + 0xB) & ((UINT64_C(1) << 48) - 1);
    return (int32_t)(*random_state >> 17);
}

static void check_running(lua_State *lua, const char *name) {
    if (script_vm_of(lua)->run == NULL)
        luaL_error(lua, "math.%s can only be called inside a script invocation", name);
}

static int run_random(lua_State *lua) {
    check_running(lua, "random");
    const int32_t most = INT32_MAX;
    double part = (double)(random_next() % most) / most;
    int low = 1, high;
    switch (lua_gettop(lua)) {
    case 0: lua_pushnumber(lua, part); return 1;
    case 1:
        high = luaL_checkint(lua, 1);
        luaL_argcheck(lua, low <= high, 1, "interval is empty");
        break;
    case 2:
        low = luaL_checkint(lua, 1);
        high = luaL_checkint(lua, 2);
        luaL_argcheck(lua, low <= high, 2, "interval is empty");
        break;
    default: return luaL_error(lua, "wrong number of arguments");
    }
    lua_pushnumber(lua, floor(part * ((double)high - low + 1)) + low);
    return 1;
}

static int run_randomseed(lua_State *lua) {
    check_running(lua, "randomseed");
    *random_state = RANDOM_SEED(luaL_checkint(lua, 1));
    return 0;
}

void lua_random_open(lua_State *lua) {
    static const struct lua_member members[] = {{"random", run_random},
                                                {"randomseed", run_randomseed}};
    lua_getglobal(lua, "math");
    lua_add(lua, members, COUNT(members));
    lua_pop(lua, 1);
}

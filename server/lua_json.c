/* lua_json.c -- the table `cjson` and its settings. */
#include "server/lua_json.h"

#include "server/command.h"
#include "server/lua_sandbox.h"

#include <limits.h>
#include <stdio.h>

static char key_settings;

static const struct json_settings at_first = {.sparse_ratio = 2,
                                              .sparse_safe = 10,
                                              .encode_depth = 1000,
                                              .decode_depth = 1000,
                                              .precision = 14,
                                              .keep_buffer = 1,
                                              .decode_invalid = 1};

struct json_settings *json_settings_of(lua_State *lua) {
    return lua_touserdata(lua, lua_upvalueindex(1));
}

void json_reset(lua_State *lua) {
    lua_pushlightuserdata(lua, &key_settings);
    lua_rawget(lua, LUA_REGISTRYINDEX);
    struct json_settings *settings = lua_touserdata(lua, -1);
    *settings = at_first;
    lua_pop(lua, 1);
}

static struct json_settings *begin(lua_State *lua, int most) {
    luaL_argcheck(lua, lua_gettop(lua) <= most, most + 1, "found too many arguments");
    lua_settop(lua, most);
    return json_settings_of(lua);
}

static int number_setting(lua_State *lua, int argument, int *setting, int low, int high) {
    if (!lua_isnil(lua, argument)) {
        lua_Integer value = luaL_checkinteger(lua, argument);
        char text[64];
        snprintf(text, sizeof text, "expected integer between %d and %d", low, high);
        luaL_argcheck(lua, low <= value && value <= high, 1, text);
        *setting = (int)value;
    }
    lua_pushinteger(lua, *setting);
    return 1;
}

static int choice_setting(lua_State *lua, int argument, int *setting, const char *const *words) {
    if (!lua_isnil(lua, argument))
        *setting = lua_isboolean(lua, argument) ? lua_toboolean(lua, argument)
                                                : luaL_checkoption(lua, argument, NULL, words);
    if (*setting <= 1)
        lua_pushboolean(lua, *setting);
    else
        lua_pushstring(lua, words[*setting]);
    return 1;
}

static const char *const on_off[] = {"off", "on", NULL}, *const on_off_null[] = {"off", "on",
                                                                                 "null", NULL};

static int run_sparse(lua_State *lua) {
    struct json_settings *s = begin(lua, 3);
    choice_setting(lua, 1, &s->sparse_convert, on_off);
    number_setting(lua, 2, &s->sparse_ratio, 0, INT_MAX);
    number_setting(lua, 3, &s->sparse_safe, 0, INT_MAX);
    return 3;
}

static int run_encode_depth(lua_State *lua) {
    return number_setting(lua, 1, &begin(lua, 1)->encode_depth, 1, INT_MAX);
}

static int run_decode_depth(lua_State *lua) {
    return number_setting(lua, 1, &begin(lua, 1)->decode_depth, 1, INT_MAX);
}

static int run_precision(lua_State *lua) {
    return number_setting(lua, 1, &begin(lua, 1)->precision, 1, 14);
}

static int run_keep_buffer(lua_State *lua) {
    return choice_setting(lua, 1, &begin(lua, 1)->keep_buffer, on_off);
}

static int run_encode_invalid(lua_State *lua) {
    return choice_setting(lua, 1, &begin(lua, 1)->encode_invalid, on_off_null);
}

static int run_decode_invalid(lua_State *lua) {
    return choice_setting(lua, 1, &begin(lua, 1)->decode_invalid, on_off);
}

/* Push a table with functions that share fresh settings. */
static int run_new(lua_State *lua) {
    static const struct lua_member members[] = {{"encode", json_encode},
                                                {"decode", json_decode},
                                                {"encode_sparse_array", run_sparse},
                                                {"encode_max_depth", run_encode_depth},
                                                {"decode_max_depth", run_decode_depth},
                                                {"encode_number_precision", run_precision},
                                                {"encode_keep_buffer", run_keep_buffer},
                                                {"encode_invalid_numbers", run_encode_invalid},
                                                {"decode_invalid_numbers", run_decode_invalid},
                                                {"new", run_new}};
    lua_newtable(lua);
    struct json_settings *settings = lua_newuserdata(lua, sizeof *settings);
    *settings = at_first;
    for (size_t i = 0; i < COUNT(members); i++) {
        lua_pushvalue(lua, -1);
        lua_pushcclosure(lua, members[i].fn, 1);
        lua_setfield(lua, -3, members[i].name);
    }
    lua_insert(lua, -2);
    lua_pushlightuserdata(lua, NULL);
    lua_setfield(lua, -2, "null");
    lua_pushliteral(lua, "cjson");
    lua_setfield(lua, -2, "_NAME");
    lua_pushliteral(lua, "2.1.0");
    lua_setfield(lua, -2, "_VERSION");
    return 1; /* below it: the settings */
}

void lua_json_open(lua_State *lua) {
    (void)run_new(lua);
    lua_setglobal(lua, "cjson");
    lua_pushlightuserdata(lua, &key_settings);
    lua_insert(lua, -2);
    lua_rawset(lua, LUA_REGISTRYINDEX);
}

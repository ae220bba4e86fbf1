/* lua_string.c -- those functions of `string` that a script could make run or grow without end:
 * find, match, gmatch, gsub and rep. They behave as those of Lua 5.1. */
#include "server/command.h"
#include "server/lua_pattern.h"
#include "server/lua_sandbox.h"
#include "server/script_vm.h"

#include <ctype.h>
#include <string.h>

/* ---- find and match ---- */

/* Where a search begins: 1 is the first character, -1 the last; as an offset. */
static size_t start_offset(lua_State *lua, int argument, size_t size) {
    ptrdiff_t at = luaL_optinteger(lua, argument, 1);
    if (at < 0) at += (ptrdiff_t)size + 1;
    if (at < 1) return 0;
    return (size_t)at - 1 > size ? size : (size_t)at - 1;
}

static int find_plain(lua_State *lua, const char *text, size_t size, size_t from, const char *word,
                      size_t word_size) {
    const char *found = word_size ? memmem(text + from, size - from, word, word_size) : text + from;
    if (found == NULL) {
        lua_pushnil(lua);
        return 1;
    }
    lua_pushinteger(lua, found - text + 1);
    lua_pushinteger(lua, found - text + (ptrdiff_t)word_size);
    return 2;
}

static int search(lua_State *lua, bool find) {
    size_t size, pattern_size;
    const char *text = luaL_checklstring(lua, 1, &size);
    const char *pattern = luaL_checklstring(lua, 2, &pattern_size);
    size_t from = start_offset(lua, 3, size);
    if (find && (lua_toboolean(lua, 4) || strpbrk(pattern, "^$*+?.([%-") == NULL))
        return find_plain(lua, text, size, from, pattern, pattern_size);
    bool anchored = *pattern == '^';
    struct pattern_match m;
    pattern_init(&m, lua, text, size, pattern);
    for (const char *at = text + from; at <= m.text_end; at++) {
        m.count = m.depth = 0;
        const char *end = pattern_match(&m, at, pattern + anchored);
        if (end && find) {
            lua_pushinteger(lua, at - text + 1);
            lua_pushinteger(lua, end - text);
            return pattern_push_all(&m, NULL, NULL) + 2;
        }
        if (end) return pattern_push_all(&m, at, end);
        if (anchored) break;
    }
    lua_pushnil(lua);
    return 1;
}

static int run_find(lua_State *lua) {
    return search(lua, true);
}

static int run_match(lua_State *lua) {
    return search(lua, false);
}

/* ---- gmatch: upvalues text, pattern, offset ---- */

static int next_match(lua_State *lua) {
    size_t size;
    const char *text = lua_tolstring(lua, lua_upvalueindex(1), &size);
    const char *pattern = lua_tostring(lua, lua_upvalueindex(2));
    struct pattern_match m;
    pattern_init(&m, lua, text, size, pattern);
    for (const char *at = text + (size_t)lua_tointeger(lua, lua_upvalueindex(3)); at <= m.text_end;
         at++) {
        m.count = m.depth = 0;
        const char *end = pattern_match(&m, at, pattern);
        if (end == NULL) continue;
        lua_pushinteger(lua, end - text + (end == at));
        lua_replace(lua, lua_upvalueindex(3));
        return pattern_push_all(&m, at, end);
    }
    return 0;
}

static int run_gmatch(lua_State *lua) {
    (void)luaL_checkstring(lua, 1);
    (void)luaL_checkstring(lua, 2);
    lua_settop(lua, 2);
    lua_pushinteger(lua, 0);
    lua_pushcclosure(lua, next_match, 3);
    return 1;
}

/* ---- gsub ---- */

/* Argument 3 as a text with %1 and its kin. */
static void add_text(struct pattern_match *m, luaL_Buffer *out, const char *from, const char *to) {
    size_t size;
    const char *news = lua_tolstring(m->lua, 3, &size);
    for (size_t i = 0; i < size; i++) {
        if (news[i] != '%') {
            luaL_addchar(out, news[i]);
            continue;
        }
        i++; /* behind the end stands a NUL */
        if (!isdigit((unsigned char)news[i]))
            luaL_addchar(out, news[i]);
        else if (news[i] == '0')
            luaL_addlstring(out, from, (size_t)(to - from));
        else {
            pattern_push(m, news[i] - '1', from, to);
            luaL_addvalue(out);
        }
    }
}

static void add_value(struct pattern_match *m, luaL_Buffer *out, const char *from, const char *to) {
    lua_State *lua = m->lua;
    switch (lua_type(lua, 3)) {
    case LUA_TFUNCTION:
        lua_pushvalue(lua, 3);
        lua_call(lua, pattern_push_all(m, from, to), 1);
        break;
    case LUA_TTABLE:
        pattern_push(m, 0, from, to);
        lua_gettable(lua, 3);
        break;
    default: add_text(m, out, from, to); return;
    }
    if (!lua_toboolean(lua, -1)) {
        lua_pop(lua, 1);
        lua_pushlstring(lua, from, (size_t)(to - from));
    } else if (!lua_isstring(lua, -1))
        luaL_error(lua, "invalid replacement value (a %s)", luaL_typename(lua, -1));
    luaL_addvalue(out);
}

static int run_gsub(lua_State *lua) {
    size_t size;
    const char *text = luaL_checklstring(lua, 1, &size), *pattern = luaL_checkstring(lua, 2);
    int type = lua_type(lua, 3);
    luaL_argcheck(lua,
                  type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION ||
                      type == LUA_TTABLE,
                  3, "string/function/table expected");
    ptrdiff_t most = luaL_optinteger(lua, 4, (ptrdiff_t)size + 1), count = 0;
    bool anchored = *pattern == '^';
    struct pattern_match m;
    luaL_Buffer out;
    pattern_init(&m, lua, text, size, pattern);
    luaL_buffinit(lua, &out);
    const char *at = text;
    while (count < most) {
        m.count = m.depth = 0;
        const char *end = pattern_match(&m, at, pattern + anchored);
        if (end) {
            count++;
            add_value(&m, &out, at, end);
        }
        if (end && end > at)
            at = end;
        else if (at < m.text_end)
            luaL_addchar(&out, *at++);
        else
            break;
        if (anchored) break;
    }
    luaL_addlstring(&out, at, (size_t)(m.text_end - at));
    luaL_pushresult(&out);
    lua_pushinteger(lua, count);
    return 2;
}

/* ---- rep ---- */

static int run_rep(lua_State *lua) {
    size_t size;
    const char *text = luaL_checklstring(lua, 1, &size);
    int times = luaL_checkint(lua, 2);
    if (times <= 0 || size == 0) {
        lua_pushliteral(lua, "");
        return 1;
    }
    struct buf *out = script_vm_scratch(lua);
    if (size > script_vm_text_max(script_vm_of(lua)) / (size_t)times)
        return luaL_error(lua, "not enough memory");
    size_t total = size * (size_t)times, done = size;
    uint8_t *at = buf_room(out, total);
    memcpy(at, text, size);
    for (; done < total; done += done < total - done ? done : total - done)
        memcpy(at + done, at, done < total - done ? done : total - done);
    buf_filled(out, total);
    script_vm_push(lua, out);
    return 1;
}

void lua_string_open(lua_State *lua) {
    static const struct lua_member members[] = {{"find", run_find},     {"match", run_match},
                                                {"gmatch", run_gmatch}, {"gfind", run_gmatch},
                                                {"gsub", run_gsub},     {"rep", run_rep}};
    lua_getglobal(lua, "string");
    lua_add(lua, members, COUNT(members));
    lua_pop(lua, 1);
}

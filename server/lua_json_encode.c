/* lua_json_encode.c -- cjson.encode(): a Lua value as JSON. */
#include "server/lua_json.h"
#include "server/script_vm.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>

struct encoder {
    lua_State *lua;
    const struct json_settings *settings;
    struct buf *out;
    int depth;
    size_t values;
};

static void add_value(struct encoder *e);

static void fail(struct encoder *e, int index, const char *reason) {
    luaL_error(e->lua, "Cannot serialise %s: %s", luaL_typename(e->lua, index), reason);
}

static void add(struct encoder *e, struct slice bytes) {
    script_vm_room(e->lua, e->out, bytes.size);
    buf_add(e->out, bytes);
}

/* How C is written in a string, or NULL: as it is. */
static const char *escape(uint8_t c, char text[8]) {
    switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '/': return "\\/";
    case '\b': return "\\b";
    case '\t': return "\\t";
    case '\n': return "\\n";
    case '\f': return "\\f";
    case '\r': return "\\r";
    default: break;
    }
    if (c >= 0x20 && c != 0x7f) return NULL;
    snprintf(text, 8, "\\u%04x", c);
    return text;
}

/* Its size is counted first, so that nothing can overflow (CVE-2022-24834). */
static void add_string(struct encoder *e, int index) {
    size_t size, total = 2;
    const uint8_t *bytes = (const uint8_t *)lua_tolstring(e->lua, index, &size);
    char text[8];
    for (size_t i = 0; i < size; i++) {
        const char *escaped = escape(bytes[i], text);
        total += escaped ? strlen(escaped) : 1;
    }
    script_vm_room(e->lua, e->out, total);
    buf_byte(e->out, '"');
    for (size_t i = 0; i < size; i++) {
        const char *escaped = escape(bytes[i], text);
        if (escaped)
            buf_add(e->out, slice_text(escaped));
        else
            buf_byte(e->out, bytes[i]);
    }
    buf_byte(e->out, '"');
}

static void add_number(struct encoder *e, int index) {
    double number = lua_tonumber(e->lua, index);
    char text[40];
    if (!isfinite(number)) {
        if (e->settings->encode_invalid == 0) fail(e, index, "must not be NaN or Inf");
        if (e->settings->encode_invalid == 2) {
            add(e, SLICE("null"));
            return;
        }
        if (isnan(number)) {
            add(e, SLICE("nan"));
            return;
        }
    }
    int size = snprintf(text, sizeof text, "%.*g", e->settings->precision, number);
    add(e, slice_from(text, (size_t)size));
}

/* The highest index of the table on the top if it is a list, else -1. */
static int list_length(struct encoder *e) {
    lua_State *lua = e->lua;
    double highest = 0, items = 0;
    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        double at = lua_type(lua, -2) == LUA_TNUMBER ? lua_tonumber(lua, -2) : 0;
        if (!(at >= 1) || floor(at) != at) {
            lua_pop(lua, 2);
            return -1;
        }
        if (at > highest) highest = at;
        items++;
        lua_pop(lua, 1);
        script_vm_tick(lua);
    }
    const struct json_settings *s = e->settings;
    bool sparse =
        s->sparse_ratio > 0 && highest > items * s->sparse_ratio && highest > s->sparse_safe;
    if (!sparse && highest <= INT_MAX) return (int)highest;
    if (!s->sparse_convert) fail(e, -1, "excessively sparse array");
    return -1;
}

static void add_list(struct encoder *e, int length) {
    add(e, SLICE("["));
    for (int i = 1; i <= length; i++) {
        if (i > 1) add(e, SLICE(","));
        lua_rawgeti(e->lua, -1, i);
        add_value(e);
        lua_pop(e->lua, 1);
        script_vm_tick(e->lua);
    }
    add(e, SLICE("]"));
}

static void add_object(struct encoder *e) {
    lua_State *lua = e->lua;
    bool first = true;
    add(e, SLICE("{"));
    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        if (!first) add(e, SLICE(","));
        first = false;
        if (lua_type(lua, -2) == LUA_TNUMBER) {
            add(e, SLICE("\""));
            add_number(e, -2);
            add(e, SLICE("\""));
        } else if (lua_type(lua, -2) == LUA_TSTRING)
            add_string(e, -2);
        else
            fail(e, -2, "table key must be a number or string");
        add(e, SLICE(":"));
        add_value(e);
        lua_pop(lua, 1);
        script_vm_tick(lua);
    }
    add(e, SLICE("}"));
}

static void add_table(struct encoder *e) {
    e->depth++;
    if (e->depth > e->settings->encode_depth || !lua_checkstack(e->lua, 4))
        luaL_error(e->lua, "Cannot serialise, excessive nesting (%d)", e->depth);
    int length = list_length(e);
    if (length > 0)
        add_list(e, length);
    else
        add_object(e);
    e->depth--;
}

static void add_value(struct encoder *e) {
    lua_State *lua = e->lua;
    if (++e->values > script_vm_values_max(script_vm_of(lua))) luaL_error(lua, "not enough memory");
    switch (lua_type(lua, -1)) {
    case LUA_TSTRING: add_string(e, -1); return;
    case LUA_TNUMBER: add_number(e, -1); return;
    case LUA_TBOOLEAN: add(e, lua_toboolean(lua, -1) ? SLICE("true") : SLICE("false")); return;
    case LUA_TTABLE: add_table(e); return;
    case LUA_TNIL: add(e, SLICE("null")); return;
    default: break;
    }
    if (lua_type(lua, -1) == LUA_TLIGHTUSERDATA && lua_touserdata(lua, -1) == NULL)
        add(e, SLICE("null"));
    else
        fail(e, -1, "type not supported");
}

int json_encode(lua_State *lua) {
    luaL_argcheck(lua, lua_gettop(lua) == 1, 1, "expected 1 argument");
    struct encoder e = {lua, json_settings_of(lua), script_vm_scratch(lua), 0, 0};
    add_value(&e);
    script_vm_push(lua, e.out);
    return 1;
}

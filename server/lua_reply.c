/* lua_reply.c -- replies between RESP and Lua, both ways.
 *
 *     RESP                      Lua
 *     :1                        1
 *     $3 abc                    "abc"
 *     +OK  -ERR no              {ok = "OK"}  {err = "ERR no"}
 *     *2 ...                    {..., ...}
 *     $-1 *-1                   false
 *     RESP3, after setresp(3):
 *     _  #t  ,1.5  (12          nil  true  {double = 1.5}  {big_number = "12"}
 *     %1 k v   ~1 m             {map = {k = v}}  {set = {m = true}}
 *     =txt                      {verbatim_string = {string = ..., format = "txt"}}
 *
 * On the way back numbers become integers, false the null, true 1 (in RESP3 the boolean).
 * Hostile input: values of scripts may be deep, circular, or a tree of shared tables that would
 * never end: Lua's stack ends depth, lua-memory-limit the size. Metatables are not looked at. */
#include "server/script.h"

#include "lib/redis/resp.h"
#include "server/reply.h"

#include <stdio.h>

/* ---- RESP to Lua ---- */

struct parser {
    lua_State *lua;
    struct slice rest;
};

static void push_one(struct parser *p);

static void push_field(lua_State *lua, const char *name, struct slice text) {
    lua_pushlstring(lua, (const char *)text.data, text.size);
    lua_setfield(lua, -2, name);
}

static void push_array(struct parser *p, int64_t count) {
    lua_createtable(p->lua, count < 1 << 20 ? (int)count : 0, 0);
    for (int64_t i = 1; i <= count; i++) {
        push_one(p);
        lua_rawseti(p->lua, -2, (int)i);
    }
}

static void push_map(struct parser *p, int64_t trees) {
    lua_createtable(p->lua, 0, 1);
    lua_newtable(p->lua);
    for (int64_t i = 0; i < trees; i += 2) {
        push_one(p);
        push_one(p);
        lua_rawset(p->lua, -3);
    }
    lua_setfield(p->lua, -2, "map");
}

static void push_set(struct parser *p, int64_t count) {
    lua_createtable(p->lua, 0, 1);
    lua_newtable(p->lua);
    for (int64_t i = 0; i < count; i++) {
        push_one(p);
        lua_pushboolean(p->lua, 1);
        lua_rawset(p->lua, -3);
    }
    lua_setfield(p->lua, -2, "set");
}

static void push_verbatim(lua_State *lua, struct slice text) {
    lua_createtable(lua, 0, 1);
    lua_createtable(lua, 0, 2);
    push_field(lua, "string", text);
    push_field(lua, "format", slice_from(text.data - 4, 3));
    lua_setfield(lua, -2, "verbatim_string");
}

static void push_failure(lua_State *lua, struct slice text) {
    const char *code = memchr(text.data, ' ', text.size) ? "" : "ERR ";
    lua_pushstring(lua, code);
    lua_pushlstring(lua, (const char *)text.data, text.size);
    lua_concat(lua, 2);
    script_push_error(lua, lua_tostring(lua, -1), true);
    lua_remove(lua, -2);
}

/* Attributes are skipped; what they belong to follows. */
static void push_behind_attribute(struct parser *p, int64_t trees) {
    for (int64_t i = 0; i < trees; i++) {
        push_one(p);
        lua_pop(p->lua, 1);
    }
    push_one(p);
}

static void push_token(struct parser *p, const struct resp_token *token, uint8_t first) {
    lua_State *lua = p->lua;
    switch (token->kind) {
    case RESP_INT: lua_pushnumber(lua, (lua_Number)token->number); return;
    case RESP_BULK: lua_pushlstring(lua, (const char *)token->text.data, token->text.size); return;
    case RESP_SIMPLE:
        lua_createtable(lua, 0, 1);
        push_field(lua, "ok", token->text);
        return;
    case RESP_ERROR:
    case RESP_BLOB_ERROR: push_failure(lua, token->text); return;
    case RESP_NULL:
        if (first == '_')
            lua_pushnil(lua);
        else
            lua_pushboolean(lua, 0);
        return;
    case RESP_ARRAY:
    case RESP_PUSH: push_array(p, token->number); return;
    case RESP_DOUBLE:
        lua_createtable(lua, 0, 1);
        lua_pushnumber(lua, token->real);
        lua_setfield(lua, -2, "double");
        return;
    case RESP_BOOL: lua_pushboolean(lua, token->number != 0); return;
    case RESP_BIG:
        lua_createtable(lua, 0, 1);
        push_field(lua, "big_number", token->text);
        return;
    case RESP_VERBATIM: push_verbatim(lua, token->text); return;
    case RESP_MAP: push_map(p, token->number); return;
    case RESP_SET: push_set(p, token->number); return;
    case RESP_ATTRIBUTE: push_behind_attribute(p, token->number); return;
    case RESP_KINDS: break;
    }
    luaL_error(lua, "a reply of an unknown kind");
}

static void push_one(struct parser *p) {
    static const struct resp_limits limits = {SIZE_MAX / 4, SIZE_MAX / 4, SIZE_MAX / 4};
    struct resp_token token;
    size_t used = 0;
    struct why why = {{0}};
    luaL_checkstack(p->lua, 5, "reply");
    uint8_t first = p->rest.size ? p->rest.data[0] : 0;
    if (resp_next(&limits, p->rest, &token, &used, &why) != STEP_DONE)
        luaL_error(p->lua, "a reply that is not whole");
    p->rest = slice_drop(p->rest, used);
    push_token(p, &token, first);
}

void script_push_reply(lua_State *lua, struct slice reply) {
    struct parser p = {lua, reply};
    push_one(&p);
}

/* ---- Lua to RESP ---- */

struct writer {
    struct script_run *run;
    lua_State *lua;
    struct client *c;
    size_t values;
};

static void write_value(struct writer *w);

/* Pushes the member NAME of the table on the top if it is of TYPE. */
static bool member(lua_State *lua, const char *name, int type) {
    lua_pushstring(lua, name);
    lua_rawget(lua, -2);
    if (lua_type(lua, -1) == type) return true;
    lua_pop(lua, 1);
    return false;
}

static struct slice text_on_top(lua_State *lua) {
    size_t size;
    const char *text = lua_tolstring(lua, -1, &size);
    return slice_from(text, size);
}

/* A line may have no line breaks in it. */
static void write_line(struct writer *w, const char *head, struct slice text) {
    struct buf line = {0};
    buf_add(&line, slice_text(head));
    buf_add(&line, text);
    for (size_t i = line.start; i < line.end; i++)
        if (line.data[i] == '\r' || line.data[i] == '\n') line.data[i] = ' ';
    buf_add(&line, SLICE("\r\n"));
    reply_raw(w->c, buf_slice(&line));
    buf_close(&line);
}

static void write_failure(struct writer *w) { /* its text on the top, the table below */
    const char *text = lua_tostring(w->lua, -1);
    lua_pushvalue(w->lua, -2);
    bool seen =
        member(w->lua, "ignore_error_stats_update", LUA_TBOOLEAN) && lua_toboolean(w->lua, -1);
    if (seen)
        reply_error_seen(w->c, "%s", text);
    else
        reply_error(w->c, "%s", text);
}

static void write_big_number(struct writer *w, struct slice text) {
    if (w->c->resp == 2) {
        char head[32];
        snprintf(head, sizeof head, "$%zu\r\n", text.size);
        reply_raw(w->c, slice_text(head));
    }
    write_line(w, w->c->resp == 2 ? "" : "(", text);
}

/* A verbatim string: a table with format and string on the top. */
static bool write_verbatim(struct writer *w) {
    lua_State *lua = w->lua;
    char format[4] = "   ";
    if (!member(lua, "format", LUA_TSTRING)) return false;
    struct slice given = text_on_top(lua);
    for (size_t i = 0; i < 3 && i < given.size; i++) {
        if (given.data[i] == '\0') break;
        format[i] =
            (char)given.data[i] == '\r' || (char)given.data[i] == '\n' ? ' ' : (char)given.data[i];
    }
    lua_pop(lua, 1);
    if (!member(lua, "string", LUA_TSTRING)) return false;
    reply_verbatim(w->c, format, text_on_top(lua));
    return true;
}

/* Of the table on the top. */
static size_t count_pairs(lua_State *lua) {
    size_t count = 0;
    lua_pushnil(lua);
    for (; lua_next(lua, -2); lua_pop(lua, 1)) count++;
    return count;
}

static void write_map(struct writer *w) {
    reply_map(w->c, count_pairs(w->lua));
    lua_pushnil(w->lua);
    while (lua_next(w->lua, -2)) {
        lua_pushvalue(w->lua, -2);
        write_value(w);
        write_value(w);
    }
}

static void write_set(struct writer *w) {
    reply_set(w->c, count_pairs(w->lua));
    lua_pushnil(w->lua);
    while (lua_next(w->lua, -2)) {
        lua_pop(w->lua, 1);
        lua_pushvalue(w->lua, -1);
        write_value(w);
    }
}

/* Up to the first nil. */
static void write_array(struct writer *w) {
    int count = 0;
    for (bool more = true; more; lua_pop(w->lua, 1)) {
        lua_rawgeti(w->lua, -1, count + 1);
        more = !lua_isnil(w->lua, -1);
        if (more) count++;
    }
    reply_array(w->c, (size_t)count);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(w->lua, -1, i);
        write_value(w);
    }
}

static void write_table(struct writer *w) {
    lua_State *lua = w->lua;
    int top = lua_gettop(lua);
    if (member(lua, "err", LUA_TSTRING))
        write_failure(w);
    else if (member(lua, "ok", LUA_TSTRING))
        write_line(w, "+", slice_text(lua_tostring(lua, -1)));
    else if (member(lua, "double", LUA_TNUMBER))
        reply_double(w->c, lua_tonumber(lua, -1));
    else if (member(lua, "big_number", LUA_TSTRING))
        write_big_number(w, text_on_top(lua));
    else if (member(lua, "verbatim_string", LUA_TTABLE) && write_verbatim(w))
        (void)0;
    else {
        lua_settop(lua, top);
        if (member(lua, "map", LUA_TTABLE))
            write_map(w);
        else if (member(lua, "set", LUA_TTABLE))
            write_set(w);
        else
            write_array(w);
    }
    lua_settop(lua, top);
}

static int64_t integer_of(double number) {
    return number >= -9223372036854775808.0 && number < 9223372036854775808.0 ? (int64_t)number
                                                                              : INT64_MIN;
}

/* Takes the value off the stack. */
static void write_value(struct writer *w) {
    lua_State *lua = w->lua;
    script_vm_tick(lua);
    struct script_vm *vm = w->run->vm;
    size_t bytes = buf_size(&w->c->out) - w->run->reply_mark;
    if (bytes > script_vm_text_max(vm) || ++w->values > script_vm_values_max(vm))
        luaL_error(lua, "the reply is too big");
    if (!lua_checkstack(lua, 6)) {
        reply_error(w->c, "ERR reached lua stack limit");
        lua_pop(lua, 1);
        return;
    }
    switch (lua_type(lua, -1)) {
    case LUA_TSTRING: reply_bulk(w->c, text_on_top(lua)); break;
    case LUA_TNUMBER: reply_int(w->c, integer_of(lua_tonumber(lua, -1))); break;
    case LUA_TTABLE: write_table(w); break;
    case LUA_TBOOLEAN:
        if (w->run->vm->client->resp == 3)
            reply_bool(w->c, lua_toboolean(lua, -1));
        else if (lua_toboolean(lua, -1))
            reply_int(w->c, 1);
        else
            reply_null(w->c);
        break;
    default: reply_null(w->c);
    }
    lua_pop(lua, 1);
}

void script_reply(struct script_run *run, lua_State *lua) {
    struct writer w = {run, lua, run->caller, 0};
    write_value(&w);
}

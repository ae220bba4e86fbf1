/* script_debug_show.c -- values and replies as a debugger shows them; see script_debug.h. */
#include "server/script_debug.h"

#include "lib/redis/resp.h"

#include <ctype.h>

#define DEPTH_MAX 10           /* of tables in tables */
#define SHOWN_MAX (1u << 20)   /* bytes of d->text */
#define LOGS_MAX (64u << 20)   /* bytes of what was not sent yet */

static void put_line(struct script_debug *d, struct slice text) {
    if (buf_size(&d->logs) + text.size > LOGS_MAX) return;
    buf_byte(&d->logs, '+');
    for (size_t i = 0; i < text.size; i++)
        buf_byte(&d->logs, text.data[i] == '\r' || text.data[i] == '\n' ? ' ' : text.data[i]);
    buf_printf(&d->logs, "\r\n");
    d->log_count++;
}

void debug_log(struct script_debug *d, const char *fmt, ...) {
    struct buf line = {0};
    va_list args;
    va_start(args, fmt);
    buf_vprintf(&line, fmt, args);
    va_end(args);
    put_line(d, buf_slice(&line));
    buf_close(&line);
}

void debug_log_text(struct script_debug *d) {
    bool cut = d->length_max && buf_size(&d->text) > d->length_max;
    if (cut) {
        d->text.end = d->text.start + d->length_max;
        buf_printf(&d->text, " ...");
    }
    put_line(d, buf_slice(&d->text));
    buf_clear(&d->text);
    if (!cut || d->hinted) return;
    d->hinted = true;
    debug_log(d, "<hint> The above reply was trimmed. Use 'maxlen 0' to disable trimming.");
}

/* ---- values ---- */

static bool is_full(const struct script_debug *d) {
    return buf_size(&d->text) > SHOWN_MAX;
}

static void put_quoted(struct script_debug *d, struct slice bytes) {
    struct buf *out = &d->text;
    buf_byte(out, '"');
    for (size_t i = 0; i < bytes.size && !is_full(d); i++) {
        uint8_t byte = bytes.data[i];
        const char *at = byte ? strchr("\nn\rr\tt\aa\bb", byte) : NULL;
        if (byte == '\\' || byte == '"')
            buf_printf(out, "\\%c", byte);
        else if (at && byte < ' ')
            buf_printf(out, "\\%c", at[1]);
        else if (isprint(byte) && byte < 127)
            buf_byte(out, byte);
        else
            buf_printf(out, "\\x%02x", byte);
    }
    buf_byte(out, '"');
}

static void put_value(struct script_debug *d, lua_State *lua, int index, int depth);

/* Are its keys 1, 2, 3 ..., as they come? */
static bool is_list(lua_State *lua, int index) {
    bool list = true;
    lua_Number expected = 1;
    for (lua_pushnil(lua); lua_next(lua, index); lua_pop(lua, 1), expected++)
        list = list && lua_type(lua, -2) == LUA_TNUMBER && lua_tonumber(lua, -2) == expected;
    return list;
}

static void put_table(struct script_debug *d, lua_State *lua, int index, int depth) {
    bool list = is_list(lua, index), first = true;
    buf_byte(&d->text, '{');
    for (lua_pushnil(lua); lua_next(lua, index); lua_pop(lua, 1)) {
        if (is_full(d)) continue;
        if (!first) buf_printf(&d->text, "; ");
        first = false;
        int top = lua_gettop(lua);
        if (!list) {
            buf_byte(&d->text, '[');
            put_value(d, lua, top - 1, depth);
            buf_printf(&d->text, "]=");
        }
        put_value(d, lua, top, depth);
    }
    buf_byte(&d->text, '}');
}

static void put_value(struct script_debug *d, lua_State *lua, int index, int depth) {
    size_t size;
    const char *bytes;
    if (depth == DEPTH_MAX) {
        buf_printf(&d->text, "<max recursion level reached! Nested table?>");
        return;
    }
    luaL_checkstack(lua, 4, "debugger");
    switch (lua_type(lua, index)) {
    case LUA_TSTRING:
        bytes = lua_tolstring(lua, index, &size);
        put_quoted(d, slice_from(bytes, size));
        return;
    case LUA_TBOOLEAN:
        buf_printf(&d->text, "%s", lua_toboolean(lua, index) ? "true" : "false");
        return;
    case LUA_TNUMBER: buf_printf(&d->text, "%g", lua_tonumber(lua, index)); return;
    case LUA_TNIL: buf_printf(&d->text, "nil"); return;
    case LUA_TTABLE: put_table(d, lua, index, depth + 1); return;
    case LUA_TLIGHTUSERDATA:
        buf_printf(&d->text, "\"light-userdata@%p\"", lua_topointer(lua, index));
        return;
    default:
        buf_printf(&d->text, "\"%s@%p\"", luaL_typename(lua, index), lua_topointer(lua, index));
        return;
    }
}

void debug_put_value(struct script_debug *d, lua_State *lua, int index) {
    put_value(d, lua, index, 0);
}

/* ---- replies ---- */

static void put_reply(struct script_debug *d, struct slice *rest, unsigned depth);

static void put_items(struct script_debug *d, struct slice *rest, const struct resp_token *token,
                      unsigned depth, const char *open, const char *close) {
    buf_printf(&d->text, "%s", open);
    for (int64_t i = 0; i < token->number; i++) {
        bool value = token->kind == RESP_MAP && i % 2;
        if (i) buf_printf(&d->text, value ? " => " : ",");
        put_reply(d, rest, depth + 1);
    }
    buf_printf(&d->text, "%s", close);
}

/* Our own replies: whole, and as they should be. Too deep or too long ones end early. */
static void put_reply(struct script_debug *d, struct slice *rest, unsigned depth) {
    struct resp_token token;
    struct why why;
    size_t used;
    struct slice whole = *rest;
    if (depth > 100 || is_full(d) ||
        resp_next(&resp_limits_server, *rest, &token, &used, &why) != STEP_DONE) {
        *rest = slice_from(NULL, 0);
        return;
    }
    *rest = slice_drop(*rest, used);
    switch (token.kind) {
    case RESP_INT: buf_printf(&d->text, "%lld", (long long)token.number); return;
    case RESP_BULK: put_quoted(d, token.text); return;
    case RESP_SIMPLE:
    case RESP_ERROR: put_quoted(d, slice_take(whole, token.text.size + 1)); return;
    case RESP_NULL: buf_printf(&d->text, whole.data[0] == '_' ? "(null)" : "NULL"); return;
    case RESP_BOOL: buf_printf(&d->text, token.number ? "#true" : "#false"); return;
    case RESP_DOUBLE: buf_printf(&d->text, "(double) "); break;
    case RESP_ARRAY:
    case RESP_PUSH: put_items(d, rest, &token, depth, "[", "]"); return;
    case RESP_SET: put_items(d, rest, &token, depth, "~(", ")"); return;
    case RESP_MAP: put_items(d, rest, &token, depth, "{", "}"); return;
    case RESP_BIG:
    case RESP_VERBATIM:
    case RESP_BLOB_ERROR:
    case RESP_ATTRIBUTE:
    case RESP_KINDS: break;
    }
    buf_add(&d->text, token.text);
}

void debug_put_reply(struct script_debug *d, struct slice reply) {
    put_reply(d, &reply, 0);
}

/* lua_json_decode.c -- cjson.decode(): JSON as a Lua value.
 *
 * A NUL in the text is its end; Lua puts one behind every string, so looking at the next character
 * is always allowed. */
#include "server/lua_json.h"
#include "server/script_vm.h"

#include <stdlib.h>
#include <strings.h>

enum token_kind {
    TOKEN_OBJECT,
    TOKEN_OBJECT_END,
    TOKEN_LIST,
    TOKEN_LIST_END,
    TOKEN_STRING, /* its text is in the scratch */
    TOKEN_NUMBER,
    TOKEN_BOOLEAN,
    TOKEN_NULL,
    TOKEN_COLON,
    TOKEN_COMMA,
    TOKEN_END,
    TOKEN_WRONG
};

struct token {
    enum token_kind kind;
    size_t offset;
    double number; /* or the boolean */
    const char *wrong;
};

struct decoder {
    lua_State *lua;
    const struct json_settings *settings;
    const char *text, *at;
    struct buf *string;
    int depth;
};

static void take_value(struct decoder *d, const struct token *token);

static void fail(struct decoder *d, const char *wanted, const struct token *token) {
    static const char *const names[] = {"T_OBJ_BEGIN", "T_OBJ_END", "T_ARR_BEGIN", "T_ARR_END",
                                        "T_STRING",    "T_NUMBER",  "T_BOOLEAN",   "T_NULL",
                                        "T_COLON",     "T_COMMA",   "T_END"};
    const char *found = token->kind == TOKEN_WRONG ? token->wrong : names[token->kind];
    luaL_error(d->lua, "Expected %s but found %s at character %d", wanted, found,
               (int)token->offset + 1);
}

static void wrong(struct decoder *d, struct token *token, const char *what) {
    token->kind = TOKEN_WRONG;
    token->wrong = what;
    token->offset = (size_t)(d->at - d->text);
}

/* ---- strings ---- */

static int hex4(const char *at) {
    int number = 0;
    for (int i = 0; i < 4; i++) {
        int c = (unsigned char)at[i], digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (c | 0x20) - 'a' + 10;
        else
            return -1;
        number = number << 4 | digit;
    }
    return number;
}

static void put_utf8(struct buf *out, int code) {
    if (code <= 0x7f) {
        buf_byte(out, (uint8_t)code);
        return;
    }
    if (code <= 0x7ff)
        buf_byte(out, (uint8_t)(code >> 6 | 0xc0));
    else if (code <= 0xffff)
        buf_byte(out, (uint8_t)(code >> 12 | 0xe0));
    else {
        buf_byte(out, (uint8_t)(code >> 18 | 0xf0));
        buf_byte(out, (uint8_t)((code >> 12 & 0x3f) | 0x80));
    }
    if (code > 0x7ff) buf_byte(out, (uint8_t)((code >> 6 & 0x3f) | 0x80));
    buf_byte(out, (uint8_t)((code & 0x3f) | 0x80));
}

/* d->at is at a backslash and a 'u'; surrogates come in pairs. */
static bool take_unicode(struct decoder *d) {
    int code = hex4(d->at + 2);
    if (code < 0) return false;
    const char *next = d->at + 6;
    if ((code & 0xf800) == 0xd800) {
        if (code & 0x400 || next[0] != '\\' || next[1] != 'u') return false;
        int low = hex4(next + 2);
        if (low < 0 || (low & 0xfc00) != 0xdc00) return false;
        code = ((code & 0x3ff) << 10 | (low & 0x3ff)) + 0x10000;
        next += 6;
    }
    put_utf8(d->string, code);
    d->at = next;
    return true;
}

static char unescape(char c) {
    switch (c) {
    case '"':
    case '\\':
    case '/': return c;
    case 'b': return '\b';
    case 't': return '\t';
    case 'n': return '\n';
    case 'f': return '\f';
    case 'r': return '\r';
    default: return '\0';
    }
}

static void take_string(struct decoder *d, struct token *token) {
    buf_clear(d->string);
    d->at++;
    while (*d->at != '"') {
        char c = *d->at;
        if (c == '\0') {
            wrong(d, token, "unexpected end of string");
            return;
        }
        if (c == '\\' && d->at[1] == 'u') {
            if (take_unicode(d)) continue;
            wrong(d, token, "invalid unicode escape code");
            return;
        }
        if (c == '\\') {
            c = unescape(d->at[1]);
            if (c == '\0') {
                wrong(d, token, "invalid escape code");
                return;
            }
            d->at++;
        }
        buf_byte(d->string, (uint8_t)c);
        d->at++;
    }
    d->at++;
    token->kind = TOKEN_STRING;
}

/* ---- numbers ---- */

/* What strtod() takes and JSON does not have: signs, hex, leading zeros, inf, nan. */
static bool is_strange(const char *at) {
    if (*at == '+') return true;
    if (*at == '-') at++;
    if (*at == '0') return (at[1] | 0x20) == 'x' || (at[1] >= '0' && at[1] <= '9');
    if (*at <= '9') return false;
    return strncasecmp(at, "inf", 3) == 0 || strncasecmp(at, "nan", 3) == 0;
}

static void take_number(struct decoder *d, struct token *token) {
    char *end;
    token->number = strtod(d->at, &end);
    if (end == d->at) {
        wrong(d, token, "invalid number");
        return;
    }
    d->at = end;
    token->kind = TOKEN_NUMBER;
}

/* ---- tokens ---- */

static bool take_word(struct decoder *d, const char *word) {
    if (strncmp(d->at, word, strlen(word)) != 0) return false;
    d->at += strlen(word);
    return true;
}

static void next_token(struct decoder *d, struct token *token) {
    static const char single[] = "{}[]:,";
    static const enum token_kind kinds[] = {TOKEN_OBJECT,   TOKEN_OBJECT_END, TOKEN_LIST,
                                            TOKEN_LIST_END, TOKEN_COLON,      TOKEN_COMMA};
    while (*d->at == ' ' || *d->at == '\t' || *d->at == '\n' || *d->at == '\r') d->at++;
    script_vm_tick(d->lua);
    char c = *d->at;
    *token = (struct token){.kind = TOKEN_END, .offset = (size_t)(d->at - d->text)};
    if (c == '\0') return;
    const char *known = strchr(single, c);
    bool lax = d->settings->decode_invalid;
    if (known) {
        token->kind = kinds[known - single];
        d->at++;
    } else if (c == '"') {
        take_string(d, token);
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        if (!lax && is_strange(d->at))
            wrong(d, token, "invalid number");
        else
            take_number(d, token);
    } else if (take_word(d, "true")) {
        *token = (struct token){.kind = TOKEN_BOOLEAN, .offset = token->offset, .number = 1};
    } else if (take_word(d, "false")) {
        token->kind = TOKEN_BOOLEAN;
    } else if (take_word(d, "null")) {
        token->kind = TOKEN_NULL;
    } else if (lax && strchr("+iInN", c) && is_strange(d->at)) {
        take_number(d, token);
    } else
        wrong(d, token, "invalid token");
}

/* ---- values ---- */

static void descend(struct decoder *d) {
    d->depth++;
    if (d->depth > d->settings->decode_depth || !lua_checkstack(d->lua, 4))
        luaL_error(d->lua, "Found too many nested data structures (%d) at character %d", d->depth,
                   (int)(d->at - d->text));
}

static void take_object(struct decoder *d) {
    struct token token;
    descend(d);
    lua_newtable(d->lua);
    next_token(d, &token);
    while (token.kind != TOKEN_OBJECT_END) {
        if (token.kind != TOKEN_STRING) fail(d, "object key string", &token);
        script_vm_push(d->lua, d->string);
        next_token(d, &token);
        if (token.kind != TOKEN_COLON) fail(d, "colon", &token);
        next_token(d, &token);
        take_value(d, &token);
        lua_rawset(d->lua, -3);
        next_token(d, &token);
        if (token.kind == TOKEN_OBJECT_END) break;
        if (token.kind != TOKEN_COMMA) fail(d, "comma or object end", &token);
        next_token(d, &token);
        if (token.kind == TOKEN_OBJECT_END) fail(d, "object key string", &token);
    }
    d->depth--;
}

static void take_list(struct decoder *d) {
    struct token token;
    descend(d);
    lua_newtable(d->lua);
    next_token(d, &token);
    for (int i = 1; token.kind != TOKEN_LIST_END; i++) {
        take_value(d, &token);
        lua_rawseti(d->lua, -2, i);
        next_token(d, &token);
        if (token.kind == TOKEN_LIST_END) break;
        if (token.kind != TOKEN_COMMA) fail(d, "comma or array end", &token);
        next_token(d, &token);
        if (token.kind == TOKEN_LIST_END) fail(d, "value", &token);
    }
    d->depth--;
}

static void take_value(struct decoder *d, const struct token *token) {
    switch (token->kind) {
    case TOKEN_STRING: script_vm_push(d->lua, d->string); return;
    case TOKEN_NUMBER: lua_pushnumber(d->lua, token->number); return;
    case TOKEN_BOOLEAN: lua_pushboolean(d->lua, token->number != 0); return;
    case TOKEN_OBJECT: take_object(d); return;
    case TOKEN_LIST: take_list(d); return;
    case TOKEN_NULL: lua_pushlightuserdata(d->lua, NULL); return;
    case TOKEN_OBJECT_END:
    case TOKEN_LIST_END:
    case TOKEN_COLON:
    case TOKEN_COMMA:
    case TOKEN_END:
    case TOKEN_WRONG: break;
    }
    fail(d, "value", token);
}

int json_decode(lua_State *lua) {
    size_t size;
    struct token token;
    luaL_argcheck(lua, lua_gettop(lua) == 1, 1, "expected 1 argument");
    struct decoder d = {.lua = lua, .settings = json_settings_of(lua)};
    d.text = d.at = luaL_checklstring(lua, 1, &size);
    if (size >= 2 && (d.text[0] == '\0' || d.text[1] == '\0'))
        return luaL_error(lua, "JSON parser does not support UTF-16 or UTF-32");
    d.string = script_vm_scratch(lua);
    next_token(&d, &token);
    take_value(&d, &token);
    next_token(&d, &token);
    if (token.kind != TOKEN_END) fail(&d, "the end", &token);
    return 1;
}

/* lua_struct.c -- the library `struct`: numbers and strings to bytes and back, by a format.
 *
 *     > <  byte order    !n  alignment    x  a byte of padding
 *     b B h H l L T i[n] I[n]  integers     f d  floating point    s  text with a NUL    c[n]  n
 * bytes
 *
 * As Redis 7.0 has it. Hostile input: formats and data are; every size is checked against what is
 * there before it is added to anything (CVE-2018-11219, CVE-2020-14147). */
#include "server/command.h"
#include "server/lua_sandbox.h"
#include "server/script_vm.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>

#define INTEGER_BYTES_MAX 32
#define ALIGN_DEFAULT 8

struct layout {
    lua_State *lua;
    const char *at; /* in the format, which is terminated */
    bool big;
    size_t align;
};

static int read_count(struct layout *f, int missing) {
    if (!isdigit((unsigned char)*f->at)) return missing;
    int number = 0;
    while (isdigit((unsigned char)*f->at)) {
        int digit = *f->at++ - '0';
        if (number > INT_MAX / 10 || number * 10 > INT_MAX - digit)
            luaL_error(f->lua, "integral size overflow");
        number = number * 10 + digit;
    }
    return number;
}

/* The size of what OPTION stands for; 0 for a text, for c0, and for what is no value. */
static size_t size_of(struct layout *f, char option) {
    switch (option) {
    case 'B':
    case 'b':
    case 'x': return 1;
    case 'H':
    case 'h': return 2;
    case 'L':
    case 'l':
    case 'T':
    case 'd': return 8;
    case 'f': return 4;
    case 'c': return (size_t)read_count(f, 1);
    case 'I':
    case 'i': {
        int size = read_count(f, (int)sizeof(int));
        if (size > INTEGER_BYTES_MAX)
            luaL_error(f->lua, "integral size %d is larger than limit of %d", size,
                       INTEGER_BYTES_MAX);
        return (size_t)size;
    }
    default: return 0;
    }
}

/* Bytes between AT and where a value of SIZE may begin. */
static size_t padding(const struct layout *f, size_t at, char option, size_t size) {
    if (size == 0 || option == 'c') return 0;
    if (size > f->align) size = f->align;
    return size > 1 ? (size - (at & (size - 1))) & (size - 1) : 0;
}

static void set_option(struct layout *f, char option) {
    switch (option) {
    case ' ': return;
    case '>': f->big = true; return;
    case '<': f->big = false; return;
    case '!': {
        int align = read_count(f, ALIGN_DEFAULT);
        if (align <= 0 || (align & (align - 1)) != 0)
            luaL_error(f->lua, "alignment %d is not a power of 2", align);
        f->align = (size_t)align;
        return;
    }
    default:
        lua_pushfstring(f->lua, "invalid format option '%c'", option);
        luaL_argerror(f->lua, 1, lua_tostring(f->lua, -1));
    }
}

static bool is_integer(char option) {
    return option && strchr("bBhHlLTiI", option) != NULL;
}

/* ---- writing ---- */

static uint64_t integer_of(double number) {
    if (number >= 0) return number < 18446744073709551616.0 ? (uint64_t)number : 0;
    return number >= -9223372036854775808.0 ? (uint64_t)(int64_t)number : UINT64_C(1) << 63;
}

static void put_integer(struct buf *out, uint64_t number, size_t size, bool big) {
    uint8_t bytes[INTEGER_BYTES_MAX];
    for (size_t i = 0; i < size; i++) {
        bytes[big ? size - 1 - i : i] = (uint8_t)(i < 8 ? number >> (8 * i) : 0);
    }
    buf_append(out, bytes, size);
}

static void put_real(struct buf *out, double number, size_t size, bool big) {
    uint8_t bytes[8];
    if (size == 4) {
        float part = (float)number;
        memcpy(bytes, &part, 4);
    } else
        memcpy(bytes, &number, 8);
    for (size_t i = 0; i < size; i++) buf_byte(out, bytes[big ? size - 1 - i : i]);
}

/* Argument ARG as the value of OPTION. */
static void put_value(struct layout *f, struct buf *out, char option, size_t size, int arg) {
    if (is_integer(option)) {
        put_integer(out, integer_of(luaL_checknumber(f->lua, arg)), size, f->big);
    } else if (option == 'f' || option == 'd') {
        put_real(out, luaL_checknumber(f->lua, arg), size, f->big);
    } else {
        size_t length;
        const char *text = luaL_checklstring(f->lua, arg, &length);
        if (size == 0) size = length;
        luaL_argcheck(f->lua, length >= size, arg + 1, "string too short");
        script_vm_room(f->lua, out, size + 1);
        buf_append(out, text, size);
        if (option == 's') buf_byte(out, 0);
    }
}

static int run_pack(lua_State *lua) {
    struct layout f = {lua, luaL_checkstring(lua, 1), false, 1};
    struct buf *out = script_vm_scratch(lua);
    int arg = 2;
    lua_pushnil(lua); /* what is missing is nil, as errors say it */
    while (*f.at) {
        char option = *f.at++;
        size_t size = size_of(&f, option), pad = padding(&f, buf_size(out), option, size);
        script_vm_room(lua, out, pad + INTEGER_BYTES_MAX);
        for (; pad; pad--) buf_byte(out, 0);
        if (option == 'x')
            buf_byte(out, 0);
        else if (is_integer(option) || strchr("fdsc", option))
            put_value(&f, out, option, size, arg++);
        else
            set_option(&f, option);
    }
    script_vm_push(lua, out);
    return 1;
}

/* ---- reading ---- */

static double get_integer(const uint8_t *bytes, size_t size, bool big, bool is_signed) {
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++) number = number << 8 | bytes[big ? i : size - 1 - i];
    if (!is_signed) return (double)number;
    if (size > 0 && size < 8 && number >> (8 * size - 1)) number |= ~UINT64_C(0) << (8 * size);
    return (double)(int64_t)number;
}

static double get_real(const uint8_t *bytes, size_t size, bool big) {
    uint8_t order[8];
    for (size_t i = 0; i < size; i++) order[i] = bytes[big ? size - 1 - i : i];
    if (size == 4) {
        float part;
        memcpy(&part, order, 4);
        return (double)part;
    }
    double number;
    memcpy(&number, order, 8);
    return number;
}

/* Push what stands at the front of DATA; returns how many bytes it took. COUNT: results so far. */
static size_t get_value(struct layout *f, struct slice data, char option, size_t size, int *count) {
    lua_State *lua = f->lua;
    if (option == 'x') return size;
    if (is_integer(option)) {
        lua_pushnumber(lua, get_integer(data.data, size, f->big, islower((unsigned char)option)));
    } else if (option == 'f' || option == 'd') {
        lua_pushnumber(lua, get_real(data.data, size, f->big));
    } else if (option == 'c') {
        if (size == 0) { /* the size is what came before */
            if (*count == 0 || !lua_isnumber(lua, -1))
                luaL_error(lua, "format 'c0' needs a previous size");
            double wanted = lua_tonumber(lua, -1);
            lua_pop(lua, 1);
            (*count)--;
            if (wanted >= 18446744073709551616.0) wanted = 0; /* as the cast of Redis has it */
            luaL_argcheck(lua, wanted > -1 && wanted <= (double)data.size, 2,
                          "data string too short");
            size = (size_t)wanted;
        }
        lua_pushlstring(lua, (const char *)data.data, size);
    } else {
        const uint8_t *end = memchr(data.data, 0, data.size);
        if (end == NULL) luaL_error(lua, "unfinished string in data");
        size = (size_t)(end - data.data) + 1;
        lua_pushlstring(lua, (const char *)data.data, size - 1);
    }
    (*count)++;
    return size;
}

static int run_unpack(lua_State *lua) {
    struct layout f = {lua, luaL_checkstring(lua, 1), false, 1};
    size_t all;
    const char *data = luaL_checklstring(lua, 2, &all);
    ptrdiff_t first = luaL_optinteger(lua, 3, 1);
    luaL_argcheck(lua, first > 0, 3, "offset must be 1 or greater");
    size_t at = (size_t)first - 1;
    int count = 0;
    lua_settop(lua, 2);
    while (*f.at) {
        char option = *f.at++;
        size_t size = size_of(&f, option);
        at += padding(&f, at, option, size);
        luaL_argcheck(lua, size <= all && at <= all - size, 2, "data string too short");
        luaL_checkstack(lua, 2, "too many results");
        if (is_integer(option) || strchr("xfdsc", option))
            at += get_value(&f, slice_from(data + at, all - at), option, size, &count);
        else
            set_option(&f, option);
    }
    lua_pushinteger(lua, (lua_Integer)at + 1);
    return count + 1;
}

static int run_size(lua_State *lua) {
    struct layout f = {lua, luaL_checkstring(lua, 1), false, 1};
    size_t at = 0;
    while (*f.at) {
        char option = *f.at++;
        size_t size = size_of(&f, option);
        at += padding(&f, at, option, size);
        if (option == 's') luaL_argerror(lua, 1, "option 's' has no fixed size");
        if (option == 'c' && size == 0) luaL_argerror(lua, 1, "option 'c0' has no fixed size");
        if (!isalnum((unsigned char)option)) set_option(&f, option);
        at += size;
    }
    lua_pushinteger(lua, (lua_Integer)at);
    return 1;
}

void lua_struct_open(lua_State *lua) {
    static const struct lua_member members[] = {
        {"pack", run_pack}, {"unpack", run_unpack}, {"size", run_size}};
    lua_createtable(lua, 0, (int)COUNT(members));
    lua_add(lua, members, COUNT(members));
    lua_setglobal(lua, "struct");
}

/* lua_msgpack.c -- the library `cmsgpack`: Lua values as MessagePack and back, as lua-cmsgpack 0.4
 * in Redis 7.0 does it.
 *
 * Hostile input: any bytes. A length is a claim: nothing is allocated before the bytes are there;
 * what is nested ends with Lua's stack (CVE-2018-11218). */
#include "server/command.h"
#include "server/lua_sandbox.h"
#include "server/script_vm.h"

#include <limits.h>
#include <math.h>

#define NESTING 16 /* deeper tables are packed as nil */

/* ---- packing ---- */

struct packer {
    lua_State *lua;
    struct buf *out;
    size_t values;
};

static void put_big_endian(struct packer *p, uint8_t head, uint64_t number, int bytes) {
    script_vm_room(p->lua, p->out, 9);
    buf_byte(p->out, head);
    for (int i = bytes - 1; i >= 0; i--) buf_byte(p->out, (uint8_t)(number >> (8 * i)));
}

static void put_integer(struct packer *p, int64_t n) {
    uint64_t bits = (uint64_t)n;
    if (n >= -32 && n <= 127)
        put_big_endian(p, (uint8_t)n, 0, 0);
    else if (n >= 0)
        n <= UINT8_MAX    ? put_big_endian(p, 0xcc, bits, 1)
        : n <= UINT16_MAX ? put_big_endian(p, 0xcd, bits, 2)
        : n <= UINT32_MAX ? put_big_endian(p, 0xce, bits, 4)
                          : put_big_endian(p, 0xcf, bits, 8);
    else
        n >= INT8_MIN    ? put_big_endian(p, 0xd0, bits, 1)
        : n >= INT16_MIN ? put_big_endian(p, 0xd1, bits, 2)
        : n >= INT32_MIN ? put_big_endian(p, 0xd2, bits, 4)
                         : put_big_endian(p, 0xd3, bits, 8);
}

static void put_number(struct packer *p, double number) {
    float narrow = (float)number;
    if (number >= -9223372036854775808.0 && number < 9223372036854775808.0 &&
        floor(number) == number) {
        put_integer(p, (int64_t)number);
    } else if ((double)narrow == number) {
        uint32_t bits;
        memcpy(&bits, &narrow, sizeof bits);
        put_big_endian(p, 0xca, bits, 4);
    } else {
        uint64_t bits;
        memcpy(&bits, &number, sizeof bits);
        put_big_endian(p, 0xcb, bits, 8);
    }
}

static void put_string(struct packer *p) {
    size_t size;
    const char *text = lua_tolstring(p->lua, -1, &size);
    if (size < 32)
        put_big_endian(p, (uint8_t)(0xa0 | size), 0, 0);
    else
        size <= UINT8_MAX    ? put_big_endian(p, 0xd9, size, 1)
        : size <= UINT16_MAX ? put_big_endian(p, 0xda, size, 2)
                             : put_big_endian(p, 0xdb, size, 4);
    script_vm_room(p->lua, p->out, size);
    buf_append(p->out, text, size);
}

static void put_count(struct packer *p, size_t count, uint8_t small, uint8_t wide) {
    if (count <= 15)
        put_big_endian(p, (uint8_t)(small | count), 0, 0);
    else
        count <= UINT16_MAX ? put_big_endian(p, wide, count, 2)
                            : put_big_endian(p, (uint8_t)(wide + 1), count, 4);
}

/* The table on the top: how many pairs it has, and whether their keys are 1 to N. */
static size_t count_pairs(lua_State *lua, bool *is_list) {
    size_t count = 0;
    double highest = 0;
    *is_list = true;
    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        lua_pop(lua, 1);
        double at = lua_type(lua, -1) == LUA_TNUMBER ? lua_tonumber(lua, -1) : 0;
        if (!(at >= 1) || at > INT_MAX || floor(at) != at) *is_list = false;
        if (at > highest) highest = at;
        count++;
        script_vm_tick(lua);
    }
    if (highest != (double)count) *is_list = false;
    return count;
}

static void put_value(struct packer *p, int level);

static void put_table(struct packer *p, int level) {
    bool is_list;
    luaL_checkstack(p->lua, 4, "in function mp_encode_lua_table_as_map");
    size_t count = count_pairs(p->lua, &is_list);
    put_count(p, count, is_list ? 0x90 : 0x80, is_list ? 0xdc : 0xde);
    for (size_t i = 1; is_list && i <= count; i++) {
        lua_rawgeti(p->lua, -1, (int)i);
        put_value(p, level + 1);
    }
    if (is_list) return;
    lua_pushnil(p->lua);
    while (lua_next(p->lua, -2)) {
        lua_pushvalue(p->lua, -2);
        put_value(p, level + 1);
        put_value(p, level + 1);
    }
}

/* Takes the value off the stack. */
static void put_value(struct packer *p, int level) {
    lua_State *lua = p->lua;
    script_vm_tick(lua);
    if (++p->values > script_vm_values_max(script_vm_of(lua))) luaL_error(lua, "not enough memory");
    int type = lua_type(lua, -1);
    if (type == LUA_TSTRING)
        put_string(p);
    else if (type == LUA_TNUMBER)
        put_number(p, lua_tonumber(lua, -1));
    else if (type == LUA_TBOOLEAN)
        put_big_endian(p, lua_toboolean(lua, -1) ? 0xc3 : 0xc2, 0, 0);
    else if (type == LUA_TTABLE && level < NESTING)
        put_table(p, level);
    else
        put_big_endian(p, 0xc0, 0, 0);
    lua_pop(lua, 1);
}

static int run_pack(lua_State *lua) {
    int count = lua_gettop(lua);
    if (count == 0) return luaL_argerror(lua, 0, "MessagePack pack needs input.");
    struct packer p = {lua, script_vm_scratch(lua), 0};
    for (int i = 1; i <= count; i++) {
        luaL_checkstack(lua, 1, "in function mp_check");
        lua_pushvalue(lua, i);
        put_value(&p, 0);
    }
    script_vm_push(lua, p.out);
    return 1;
}

/* ---- unpacking ---- */

struct unpacker {
    lua_State *lua;
    const uint8_t *at;
    size_t left;
};

static void take_value(struct unpacker *u);

static const uint8_t *take(struct unpacker *u, size_t size) {
    if (u->left < size) luaL_error(u->lua, "Missing bytes in input.");
    const uint8_t *at = u->at;
    u->at += size;
    u->left -= size;
    return at;
}

static uint64_t take_number(struct unpacker *u, int bytes) {
    const uint8_t *at = take(u, (size_t)bytes);
    uint64_t number = 0;
    for (int i = 0; i < bytes; i++) number = number << 8 | at[i];
    return number;
}

static void take_string(struct unpacker *u, size_t size) {
    const uint8_t *at = take(u, size);
    lua_pushlstring(u->lua, (const char *)at, size);
}

static void take_list(struct unpacker *u, uint64_t count) {
    lua_newtable(u->lua);
    for (uint64_t i = 1; i <= count; i++) {
        lua_pushnumber(u->lua, (lua_Number)i);
        take_value(u);
        lua_rawset(u->lua, -3);
    }
}

static void take_map(struct unpacker *u, uint64_t count) {
    lua_newtable(u->lua);
    for (uint64_t i = 0; i < count; i++) {
        take_value(u);
        take_value(u);
        lua_rawset(u->lua, -3);
    }
}

static void take_real(struct unpacker *u, int bytes) {
    uint64_t bits = take_number(u, bytes);
    if (bytes == 4) {
        uint32_t narrow = (uint32_t)bits;
        float part;
        memcpy(&part, &narrow, sizeof part);
        lua_pushnumber(u->lua, (lua_Number)part);
        return;
    }
    double number;
    memcpy(&number, &bits, sizeof number);
    lua_pushnumber(u->lua, number);
}

static void take_value(struct unpacker *u) {
    lua_State *lua = u->lua;
    script_vm_tick(lua);
    luaL_checkstack(lua, 3,
                    "too many return values at once; use unpack_one or unpack_limit instead.");
    uint8_t head = *take(u, 1);
    switch (head) {
    case 0xcc: lua_pushinteger(lua, (lua_Integer)take_number(u, 1)); return;
    case 0xcd: lua_pushinteger(lua, (lua_Integer)take_number(u, 2)); return;
    case 0xce: lua_pushinteger(lua, (lua_Integer)take_number(u, 4)); return;
    case 0xcf: lua_pushinteger(lua, (lua_Integer)take_number(u, 8)); return;
    case 0xd0: lua_pushinteger(lua, (int8_t)take_number(u, 1)); return;
    case 0xd1: lua_pushinteger(lua, (int16_t)take_number(u, 2)); return;
    case 0xd2: lua_pushinteger(lua, (int32_t)take_number(u, 4)); return;
    case 0xd3: lua_pushnumber(lua, (lua_Number)(int64_t)take_number(u, 8)); return;
    case 0xc0: lua_pushnil(lua); return;
    case 0xc2:
    case 0xc3: lua_pushboolean(lua, head == 0xc3); return;
    case 0xca: take_real(u, 4); return;
    case 0xcb: take_real(u, 8); return;
    case 0xd9: take_string(u, take_number(u, 1)); return;
    case 0xda: take_string(u, take_number(u, 2)); return;
    case 0xdb: take_string(u, take_number(u, 4)); return;
    case 0xdc: take_list(u, take_number(u, 2)); return;
    case 0xdd: take_list(u, take_number(u, 4)); return;
    case 0xde: take_map(u, take_number(u, 2)); return;
    case 0xdf: take_map(u, take_number(u, 4)); return;
    default: break;
    }
    if (head < 0x80 || head >= 0xe0)
        lua_pushinteger(lua, (int8_t)head);
    else if (head >= 0xa0 && head < 0xc0)
        take_string(u, head & 0x1f);
    else if (head >= 0x90 && head < 0xa0)
        take_list(u, head & 0xf);
    else if (head < 0x90)
        take_map(u, head & 0xf);
    else
        luaL_error(lua, "Bad data format in input.");
}

static int unpack_some(lua_State *lua, lua_Integer limit, lua_Integer offset) {
    size_t size;
    const char *text = luaL_checklstring(lua, 1, &size);
    bool all = limit == 0 && offset == 0;
    int count = 0;
    if (offset < 0 || limit < 0)
        return luaL_error(lua, "Invalid request to unpack with offset of %d and limit of %d.",
                          (int)offset, (int)size);
    if ((size_t)offset > size)
        return luaL_error(lua, "Start offset %d greater than input length %d.", (int)offset,
                          (int)size);
    struct unpacker u = {lua, (const uint8_t *)text + offset, size - (size_t)offset};
    if (all) limit = INT_MAX;
    for (; u.left > 0 && count < limit; count++) take_value(&u);
    if (all) return count;
    luaL_checkstack(lua, 1, "in function mp_unpack_full");
    lua_pushinteger(lua, u.left == 0 ? -1 : (lua_Integer)(size - u.left));
    lua_insert(lua, 2);
    return count + 1;
}

static int run_unpack(lua_State *lua) {
    return unpack_some(lua, 0, 0);
}

static int run_unpack_one(lua_State *lua) {
    lua_Integer offset = luaL_optinteger(lua, 2, 0);
    lua_settop(lua, 1);
    return unpack_some(lua, 1, offset);
}

static int run_unpack_limit(lua_State *lua) {
    lua_Integer limit = luaL_checkinteger(lua, 2), offset = luaL_optinteger(lua, 3, 0);
    lua_settop(lua, 1);
    return unpack_some(lua, limit, offset);
}

void lua_msgpack_open(lua_State *lua) {
    static const struct lua_member members[] = {{"pack", run_pack},
                                                {"unpack", run_unpack},
                                                {"unpack_one", run_unpack_one},
                                                {"unpack_limit", run_unpack_limit}};
    static const char *const texts[][2] = {
        {"_NAME", "cmsgpack"},
        {"_VERSION", "lua-cmsgpack 0.4.0"},
        {"_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo"},
        {"_DESCRIPTION", "MessagePack C implementation for Lua"}};
    lua_newtable(lua);
    lua_add(lua, members, COUNT(members));
    for (size_t i = 0; i < COUNT(texts); i++) {
        lua_pushstring(lua, texts[i][1]);
        lua_setfield(lua, -2, texts[i][0]);
    }
    lua_setglobal(lua, "cmsgpack");
}

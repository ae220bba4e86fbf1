/* lua_bit.c -- the library `bit`: operations on 32-bit integers, as LuaBitOp 1.0 has them. */
#include "server/command.h"
#include "server/lua_sandbox.h"

#include <stdint.h>
#include <string.h>

/* A number modulo 2^32, halves rounded to even: adding 2^52 + 2^51 leaves the integer in the low
 * bits of the double. */
static uint32_t get_bits(lua_State *lua, int argument) {
    double sum = luaL_checknumber(lua, argument) + 6755399441055744.0;
    uint64_t image;
    memcpy(&image, &sum, sizeof image);
    return (uint32_t)image;
}

static int give(lua_State *lua, uint32_t bits) {
    lua_pushnumber(lua, (lua_Number)(int32_t)bits);
    return 1;
}

static int run_tobit(lua_State *lua) {
    return give(lua, get_bits(lua, 1));
}

static int run_bnot(lua_State *lua) {
    return give(lua, ~get_bits(lua, 1));
}

static int run_band(lua_State *lua) {
    uint32_t bits = get_bits(lua, 1);
    for (int i = lua_gettop(lua); i > 1; i--) bits &= get_bits(lua, i);
    return give(lua, bits);
}

static int run_bor(lua_State *lua) {
    uint32_t bits = get_bits(lua, 1);
    for (int i = lua_gettop(lua); i > 1; i--) bits |= get_bits(lua, i);
    return give(lua, bits);
}

static int run_bxor(lua_State *lua) {
    uint32_t bits = get_bits(lua, 1);
    for (int i = lua_gettop(lua); i > 1; i--) bits ^= get_bits(lua, i);
    return give(lua, bits);
}

static int run_lshift(lua_State *lua) {
    uint32_t bits = get_bits(lua, 1), by = get_bits(lua, 2) & 31;
    return give(lua, bits << by);
}

static int run_rshift(lua_State *lua) {
    uint32_t bits = get_bits(lua, 1), by = get_bits(lua, 2) & 31;
    return give(lua, bits >> by);
}

static int run_arshift(lua_State *lua) {
    uint32_t bits = get_bits(lua, 1), by = get_bits(lua, 2) & 31;
    uint32_t sign = bits >> 31 && by ? ~(UINT32_MAX >> by) : 0;
    return give(lua, bits >> by | sign);
}

static uint32_t rotate(uint32_t bits, uint32_t left) {
    left &= 31;
    return left ? bits << left | bits >> (32 - left) : bits;
}

static int run_rol(lua_State *lua) {
    uint32_t bits = get_bits(lua, 1);
    return give(lua, rotate(bits, get_bits(lua, 2)));
}

static int run_ror(lua_State *lua) {
    uint32_t bits = get_bits(lua, 1);
    return give(lua, rotate(bits, 32 - (get_bits(lua, 2) & 31)));
}

static int run_bswap(lua_State *lua) {
    return give(lua, __builtin_bswap32(get_bits(lua, 1)));
}

/* Any number of digits may be asked for (CVE-2024-31449); there are eight. */
static int run_tohex(lua_State *lua) {
    uint32_t bits = get_bits(lua, 1);
    int32_t wanted = lua_isnone(lua, 2) ? 8 : (int32_t)get_bits(lua, 2);
    const char *digits = wanted < 0 ? "0123456789ABCDEF" : "0123456789abcdef";
    int count = wanted > 8 || wanted < -8 ? 8 : wanted < 0 ? -wanted : wanted;
    char text[8];
    for (int i = count; i > 0; i--, bits >>= 4) text[i - 1] = digits[bits & 15];
    lua_pushlstring(lua, text, (size_t)count);
    return 1;
}

void lua_bit_open(lua_State *lua) {
    static const struct lua_member members[] = {
        {"tobit", run_tobit},   {"bnot", run_bnot},       {"band", run_band},
        {"bor", run_bor},       {"bxor", run_bxor},       {"lshift", run_lshift},
        {"rshift", run_rshift}, {"arshift", run_arshift}, {"rol", run_rol},
        {"ror", run_ror},       {"bswap", run_bswap},     {"tohex", run_tohex}};
    lua_createtable(lua, 0, (int)COUNT(members));
    lua_add(lua, members, COUNT(members));
    lua_setglobal(lua, "bit");
}

/* lua_json.h -- the library `cjson`: what the two directions share.
 *
 * Behaves as lua-cjson 2.1 in Redis 7.0. Settings (cjson.encode_max_depth() and its kin) last until
 * the script ends, in Redis until SCRIPT FLUSH: a script does not change what the next one gets.
 * Hostile input: any text, any table. Recursion ends with Lua's own stack (8,000 slots), whatever
 * the depth is set to; results are limited by lua-memory-limit.
 */
#ifndef SERVER_LUA_JSON_H
#define SERVER_LUA_JSON_H

#include <lua.h>

struct json_settings {
    int sparse_convert, sparse_ratio, sparse_safe;
    int encode_depth, decode_depth, precision;
    int keep_buffer;    /* accepted, no effect */
    int encode_invalid; /* 0 no, 1 as they are, 2 as null */
    int decode_invalid;
};

/* Those of the function that runs (its upvalue). */
struct json_settings *json_settings_of(lua_State *lua);
int json_encode(lua_State *lua);
int json_decode(lua_State *lua);
/* Before a script runs: what cjson.new() did not make is as at first. */
void json_reset(lua_State *lua);

#endif

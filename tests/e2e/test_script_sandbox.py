#!/usr/bin/python3
"""What a hostile script may try at the bundled server: each hole of Redis's Lua that became known has a case of its own.

Every case is a script that must end with a given error or answer; after it the server must be the same process, the
shared tables must be what they were, and nothing of the script may be left. Scripts that run for ever must be killable.
"""
import re
import sys
import threading
import time

import redis

from servers import Folder, Ours, wait_until

READONLY = "Attempt to modify a readonly table"

# name, script, what the error matches (None: it must succeed and answer `answer`)
CASES = [
    # ---- globals
    ("globals are not written", "x = 1", READONLY),
    ("globals are not read when they do not exist", "return x", "nonexistent global variable 'x'"),
    ("_G is not written", "_G.x = 1", READONLY),
    ("_G is not written by rawset", "rawset(_G, 'x', 1)", READONLY),
    ("_G gets no metatable", "setmetatable(_G, {})", READONLY),
    ("the metatable of _G is not written", "getmetatable(_G).__index = function() return 1 end", READONLY),
    ("the metatable of _G is not written by rawset", "rawset(getmetatable(_G), '__index', nil)", READONLY),
    ("the metatable of the metatable is none", "return type(getmetatable(getmetatable(_G)))", "nil"),
    ("_G is not filled by table.insert", "table.insert(_G, 1)", READONLY),
    ("_G is not filled by table.sort", "table.sort(_G)", READONLY),
    ("_G is not emptied by table.remove", "table.remove(_G, 1)", READONLY),
    ("_G does not hide a real table in _G._G", "_G._G._G.x = 1", READONLY),
    ("pairs of _G gives no writable table",
     "for k, v in pairs(_G) do if type(v) == 'table' and k ~= 'KEYS' and k ~= 'ARGV' then v.x = 1 end end", READONLY),
    ("next of _G gives no writable table",
     "local k, v repeat k, v = next(_G, k) until k == nil or (type(v) == 'table' and k ~= 'KEYS' and k ~= 'ARGV') "
     "v.x = 1", READONLY),
    ("the environment of the script is the guarded one", "getfenv(1).x = 1", READONLY),
    ("the environment of builtins is the guarded one", "getfenv(pcall).x = 1", READONLY),
    ("the environment of the thread is the guarded one", "getfenv(0).x = 1", READONLY),
    ("the environment of the thread is not replaced", "setfenv(0, {})", "cannot change environment"),
    ("the environment of builtins is not replaced", "setfenv(pcall, {})", "cannot change environment"),
    ("the environment of the caller's caller is not replaced", "setfenv(2, {})", "cannot change environment|invalid level"),
    ("what setfenv() did is gone with the script", "setfenv(1, {redis = {call = 1}, y = 1}) return y", "1"),
    # ---- tables that are shared
    *[(f"{name} is not written", f"{name}.x = 1", READONLY)
      for name in ("redis", "string", "table", "math", "cjson", "cmsgpack", "struct", "bit", "coroutine")],
    ("functions of redis are not replaced", "redis.call = print", "nonexistent|" + READONLY),
    ("rawset does not replace them", "rawset(redis, 'call', 1)", READONLY),
    ("table.insert does not add to them", "table.insert(redis, 1)", READONLY),
    ("setmetatable does not change them", "setmetatable(string, {__index = redis})", READONLY),
    # ---- the metatable of strings (CVE-2025-46818)
    ("the metatable of strings is not written", "getmetatable('').__index = redis", READONLY),
    ("the metatable of strings is not written by rawset", "rawset(getmetatable(''), '__index', nil)", READONLY),
    ("the methods of strings are not written", "getmetatable('').__index.upper = 1", READONLY),
    ("strings get no metatable", "setmetatable('', {})", "table expected"),
    ("strings get no call metamethod", "local m = getmetatable('') m.__call = function() return 1 end", READONLY),
    ("other basic types have no metatable",
     "return tostring(getmetatable(1)) .. tostring(getmetatable(true)) .. tostring(getmetatable(print_ == nil or nil))",
     "nonexistent"),
    ("string.format is not replaced for others", "('').format = 1", "attempt to index|" + READONLY),
    # ---- what is not there (CVE-2022-0543)
    *[(f"{name} does not exist", f"return {name}", f"nonexistent global variable '{name}'")
      for name in ("os", "io", "package", "require", "module", "debug", "dofile", "loadfile", "print", "newproxy",
                   "loadlib", "__redis__err__handler_")],
    ("there is no finaliser", "return newproxy(true)", "nonexistent"),
    # ---- code from text
    ("loadstring takes no bytecode", "return loadstring(string.dump(function() return 1 end))()", "attempt to call a nil value"),
    ("load takes no bytecode", "local d, done = string.dump(function() return 1 end) "
     "return load(function() if not done then done = true return d end end)()", "attempt to call a nil value"),
    ("load takes no bytecode in pieces", "local d, i = string.dump(function() return 1 end), 0 "
     "return load(function() i = i + 1 return d:sub(i, i) end)()", "attempt to call a nil value"),
    ("bytecode is no script", "\x1bLuaQ\x00\x01\x04\x08\x04\x08\x00", "Error compiling script"),
    ("loaded code sees the guarded globals", "loadstring('x = 1')()", READONLY),
    ("load with a reader that collects garbage (CVE-2025-49844)",
     "local n = 0 local f = load(function() n = n + 1 for i = 1, 50 do local t = {string.rep('x', i)} end collectgarbage() "
     "if n < 100 then return 'local a' .. n .. ' = ' .. n .. ' ' end end, string.rep('name', 100) .. tostring(n)) "
     "return f() == nil and 'fine'", "fine"),
    ("loadstring with names that are garbage", "for i = 1, 300 do local f, e = loadstring('return ' .. i, 'chunk' .. i) "
     "collectgarbage() assert(f() == i) f, e = loadstring('syntax error', 'bad' .. i) assert(e:find('bad' .. i, 1, true)) "
     "end return 'fine'", "fine"),
    # ---- depth
    ("recursion without end", "local function f() return 1 + f() end f()", "stack overflow"),
    ("recursion through pcall", "local function f() local ok, e = pcall(f) error(e) end f()", "stack overflow"),
    ("recursion through xpcall", "local function f() error(select(2, xpcall(f, tostring))) end f()", "stack overflow|error in error"),
    ("recursion through metamethods", "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k .. 'x'] end "
     "return t.a", "stack overflow"),
    ("recursion through tostring", "local t = setmetatable({}, {__tostring = function(t) return tostring(t) end}) tostring(t)",
     "stack overflow"),
    ("recursion through gsub", "local function f(s) return string.gsub('a', 'a', f) end f()", "stack overflow"),
    ("recursion through coroutines", "local function f() return coroutine.wrap(f)() end f()", "stack overflow"),
    ("coroutines in pcall in coroutines", "local function f() return pcall(coroutine.wrap(f)) end f() return 'fine'", "fine"),
    ("an index loop", "local t = {} setmetatable(t, {__index = t}) return t.x", "loop in gettable"),
    ("code that nests deeply", "return loadstring('return ' .. string.rep('(', 100000) .. '1' .. string.rep(')', 100000))()",
     "attempt to call a nil value"),
    ("tables that nest deeply in code", "return loadstring('return ' .. string.rep('{', 100000))()", "attempt to call a nil value"),
    ("too many upvalues, locals and constants",
     "local s = {} for i = 1, 300 do s[i] = 'local a' .. i end return loadstring(table.concat(s, ' '))()", "attempt to call a nil"),
    ("concatenation of much", "local s = {} for i = 1, 5000 do s[i] = '\"a\"' end return loadstring('return ' .. table.concat(s, '..'))()",
     "attempt to call a nil|stack overflow"),
    # ---- patterns (CVE-2024-31228's kin)
    ("a pattern that nests deeply", "return string.find(string.rep('a', 300000), string.rep('a?', 300000))", "pattern too complex"),
    ("a pattern of many captures", "return string.find('a', string.rep('()', 40))", "too many captures"),
    ("captures that nest", "return string.find('a', string.rep('(', 40))", "too many captures|unfinished capture"),
    ("a capture that does not exist", "return string.find('a', '%1')", "invalid capture"),
    ("a capture that is open", "return string.find('aa', '(a%1)')", "invalid capture"),
    ("a pattern that ends in the middle", "return string.find('a', '%')", "malformed pattern"),
    ("a set that ends in the middle", "return string.find('a', '[a')", "malformed pattern"),
    ("a set that ends in an escape", "return string.find('a', '[%')", "malformed pattern"),
    ("a frontier without a set", "return string.find('a', '%f')", r"missing '\['"),
    ("a balance without its pair", "return string.find('a', '%b')", "unbalanced|missing"),
    ("gsub with a broken replacement", "return string.gsub('abc', 'b', '%2')", "invalid capture"),
    ("gsub with a replacement that ends in an escape", "return #string.gsub('abc', 'b', '%')", "3"),
    # ---- memory
    ("string.rep without end", "return string.rep('x', 2^31 - 1)", "not enough memory"),
    ("string.rep that doubles", "local s = 'x' while true do s = s .. s end", "not enough memory"),
    ("string.rep of nothing", "return #string.rep('', 2^31 - 1)", "0"),
    ("a table without end", "local t = {} local i = 0 while true do i = i + 1 t[i] = string.rep('x', 1000000) .. i end", "not enough memory"),
    ("memory that pcall gives back", "local ok, e = pcall(function() local t = {} local i = 0 while true do i = i + 1 "
     "t[i] = string.rep('x', 1000000) .. i end end) return e", "not enough memory"),
    ("unpack of much", "return unpack({}, 1, 1e8)", "too many results"),
    ("unpack of a negative range", "return unpack({}, -2^31, 2^31 - 1)", "too many results|too many"),
    ("unpack of the end of the range", "return #{unpack({}, 2^31 - 2, 2^31 - 1)}", "0"),
    ("table.concat of much", "return table.concat({}, 'x', 1, 2^31 - 1)", "invalid value"),
    ("table.insert far away", "table.insert({1, 2, 3}, -2^31, 1)", "out of bounds"),
    ("a format that is too wide", "return string.format('%1000d', 1)", "invalid"),
    ("a format that is long", "return #string.format('%99.99f', 1.7e308)", "[0-9]+"),
    ("string.byte of much", "return #{string.byte(string.rep('x', 100000), 1, -1)}", "string slice too long|stack overflow|too"),
    ("select of a far place", "return select('#', select(-1, 1, 2))", "1"),
    ("a reply without end", "local t = {} for i = 1, 40 do t = {t, t} end return t", "too big|stack limit"),
    ("a reply of big strings without end", "local s = string.rep('x', 1000000) local t = {} for i = 1, 1000 do t[i] = s end return t", "too big"),
    ("garbage collection cannot be stopped for others", "collectgarbage('stop') return collectgarbage('setpause', 100000)", "200"),
    # ---- cjson (CVE-2022-24834)
    ("cjson.encode of a big string", "return #cjson.encode(string.rep('\\1', 5000000))", "30000002"),
    ("cjson.encode of a string that is too big", "return #cjson.encode(string.rep('\\1', 10000000))", "not enough memory"),
    ("cjson.encode of depth", "local t = {} for i = 1, 2000 do t = {t} end return cjson.encode(t)", "excessive nesting"),
    ("cjson.encode of any depth", "cjson.encode_max_depth(2^31 - 1) local t = {} for i = 1, 100000 do t = {t} end return cjson.encode(t)",
     "excessive nesting"),
    ("cjson.encode of a circle", "cjson.encode_max_depth(2^31 - 1) local t = {} t[1] = t return cjson.encode(t)", "excessive nesting"),
    ("cjson.encode of a tree that never ends", "local t = {} for i = 1, 40 do t = {t, t} end return cjson.encode(t)", "not enough memory"),
    ("cjson.encode of a sparse list", "return cjson.encode({[2^31 - 2] = 1})", "excessively sparse"),
    ("cjson.encode of a sparse list that is wanted", "cjson.encode_sparse_array(false, 0) return cjson.encode({[2^31 - 2] = 1})", "not enough memory"),
    ("cjson.encode of NaN", "return cjson.encode(0/0)", "must not be NaN or Inf"),
    ("cjson.decode of depth", "return cjson.decode(string.rep('[', 2000))", "too many nested"),
    ("cjson.decode of any depth", "cjson.decode_max_depth(2^31 - 1) return cjson.decode(string.rep('[', 1000000))", "too many nested"),
    ("cjson.decode of a number that is long", "return cjson.decode(string.rep('9', 100000)) == math.huge and 'fine'", "fine"),
    ("cjson.decode of half an escape", "return cjson.decode('\"\\\\u12')", "invalid unicode escape"),
    ("cjson.decode of half a pair", "return cjson.decode('\"\\\\ud800\\\\u')", "invalid unicode escape"),
    ("cjson.decode of a NUL", "return cjson.decode('[1' .. string.char(0) .. ']')", "T_END"),
    ("cjson settings end with the script", "cjson.encode_max_depth(1) return 'fine'", "fine"),
    ("cjson.encode_max_depth is what it was", "return #cjson.encode({{{1}}})", "7"),
    ("cjson.new has settings of its own", "local c = cjson.new() c.encode_max_depth(1) return #cjson.encode({{{1}}})", "7"),
    # ---- cmsgpack (CVE-2018-11218)
    ("cmsgpack.unpack of a list that claims much", "return cmsgpack.unpack(string.char(0xdd, 255, 255, 255, 255))", "Missing bytes"),
    ("cmsgpack.unpack of a map that claims much", "return cmsgpack.unpack(string.char(0xdf, 255, 255, 255, 255))", "Missing bytes"),
    ("cmsgpack.unpack of a string that claims much", "return cmsgpack.unpack(string.char(0xdb, 255, 255, 255, 255))", "Missing bytes"),
    ("cmsgpack.unpack of depth", "return cmsgpack.unpack(string.rep(string.char(0x91), 1000000))", "stack overflow"),
    ("cmsgpack.unpack of many", "return cmsgpack.unpack(string.rep(string.char(1), 1000000))", "stack overflow"),
    ("cmsgpack.unpack_limit of a negative limit", "return cmsgpack.unpack_limit('a', -1, 0)", "Invalid request"),
    ("cmsgpack.unpack_limit of a far offset", "return cmsgpack.unpack_limit('a', 1, 2^40)", "Start offset"),
    ("cmsgpack.unpack_one of a negative offset", "return cmsgpack.unpack_one('a', -1)", "Invalid request"),
    ("cmsgpack.pack of a circle", "local t = {} t[1] = t return #cmsgpack.pack(t)", "17"),
    ("cmsgpack.pack of a tree that never ends", "local t = {} for i = 1, 14 do local n = {} for j = 1, 20 do n[j] = t end t = n end "
     "return #cmsgpack.pack(t)", "not enough memory"),
    ("cmsgpack.pack of many", "local t = {} for i = 1, 7000 do t[i] = 1 end return #cmsgpack.pack(unpack(t))", "7000"),
    ("cmsgpack.unpack of a nil key", "return cmsgpack.unpack(string.char(0x81, 0xc0, 1))", "index is nil"),
    # ---- struct (CVE-2018-11219, CVE-2020-14147)
    ("struct.pack of a size that overflows", "return struct.pack('>I2147483648', 1)", "integral size overflow"),
    ("struct.pack of a size that is too big", "return struct.pack('>I33', 1)", "integral size 33 is larger"),
    ("struct.pack of much padding", "return struct.pack('!1024 x d', 1)", "not enough|.*"),
    ("struct.pack of an alignment of zero", "return struct.pack('!0 d', 1)", "not a power of 2"),
    ("struct.unpack behind the end", "return struct.unpack('I4', 'abcd', 2^31)", "too short"),
    ("struct.unpack far behind the end", "return struct.unpack('I4', 'abcd', 2^53)", "too short"),
    ("struct.unpack before the start", "return struct.unpack('I4', 'abcd', 0)", "offset must be 1 or greater"),
    ("struct.unpack of a string of a huge size", "return struct.unpack('c2147483647', 'abcd')", "too short"),
    ("struct.unpack of a size that is read", "return struct.unpack('I4c0', string.char(255, 255, 255, 255) .. 'abc')", "too short"),
    ("struct.unpack of a negative size that is read", "return struct.unpack('i4c0', string.char(255, 255, 255, 255) .. 'abc')", "too short"),
    ("struct.unpack of a string without end", "return struct.unpack('s', 'abc')", "unfinished string"),
    ("struct.unpack of many", "return struct.unpack(string.rep('b', 100000), string.rep('x', 100000))", "too many results"),
    ("struct.size of what has none", "return struct.size('s')", "no fixed size"),
    # ---- bit (CVE-2024-31449)
    ("bit.tohex of the smallest number", "return bit.tohex(65535, -2147483648)", "0000FFFF"),
    ("bit.tohex of many digits", "return bit.tohex(65535, 2147483647)", "0000ffff"),
    ("bit of what is no number", "return bit.band({}, 1)", "number expected"),
    ("shifts by any amount", "return bit.lshift(1, 2^40) .. bit.arshift(-1, 31) .. bit.rol(1, -1)", "1-1-2147483648"),
    # ---- redis.*
    ("redis.call of a table", "return redis.call('set', 'x', {})", "must be strings or integers"),
    ("redis.call of nothing", "return redis.call()", "at least one argument"),
    ("redis.call of EVAL", "return redis.call('eval', 'return 1', 0)", "not allowed from script"),
    ("redis.call of SCRIPT FLUSH", "return redis.call('script', 'flush')", "not allowed from script"),
    ("redis.call of FUNCTION FLUSH", "return redis.call('function', 'flush')", "not allowed from script"),
    ("redis.call in a coroutine", "return coroutine.wrap(function() return redis.call('ping').ok end)()", "PONG"),
    ("redis.call in a sort", "table.sort({3, 2, 1}, function(a, b) redis.call('ping') return a < b end) return 'fine'", "fine"),
    ("yield out of the script", "coroutine.yield()", "attempt to yield"),
    ("yield in a sort", "return tostring(coroutine.resume(coroutine.create(function() table.sort({3, 2, 1}, coroutine.yield) end)))", "false"),
    ("redis.setresp of a strange number", "redis.setresp(2.5)", "must be 2 or 3"),
    ("redis.set_repl of a strange number", "redis.set_repl(-1)", "Invalid replication flags"),
    ("redis.log of a strange level", "redis.log(1e300, 'x')", "Invalid debug level"),
    ("redis.error_reply with line breaks", "return redis.error_reply('MY a\\r\\n+OK')", "MY a  \\+OK"),
    ("a status with line breaks", "return {ok = 'a\\r\\n+OK'}", "a  \\+OK"),
    ("an error of a table that is shared", "error(redis)", "table|unknown"),
    ("an error of nil", "error()", "nil"),
    ("an error table without text", "error({})", "unknown"),
    ("math.random of a strange range", "return math.random(2, 1)", "interval is empty"),
    ("math.random of the whole range", "return type(math.random(-2^31, 2^31 - 1))", "number"),
]

# Scripts that do not end by themselves: SCRIPT KILL must end them, whatever they do.
ENDLESS = [
    ("a loop", "while true do end"),
    ("a loop in pcall", "while true do pcall(function() while true do end end) end"),
    ("a loop in xpcall", "while true do xpcall(function() while true do end end, function() while true do end end) end"),
    ("a loop in coroutines", "while true do coroutine.resume(coroutine.create(function() while true do end end)) end"),
    ("a loop in a metamethod", "local t = setmetatable({}, {__index = function() while true do end end}) while true do pcall(function() return t.x end) end"),
    ("a loop in a sort", "while true do pcall(table.sort, {1, 2, 3}, function() while true do end end) end"),
    ("a loop in gsub", "while true do pcall(string.gsub, 'a', 'a', function() while true do end end) end"),
    ("a loop in load", "while true do pcall(load, function() return 'a ' end) end"),
    ("errors in handlers of errors", "local function f() error(select(2, xpcall(f, f))) end f()"),
    ("a loop of commands", "while true do redis.pcall('ping') end"),
    ("a loop of collections", "local t = {} for i = 1, 1000000 do t[i] = {} end while true do collectgarbage() end"),
    ("a pattern that tries for ever", "return string.find(string.rep('a', 60), string.rep('a-', 60) .. 'b')"),
    ("a pattern that tries for ever in gsub", "return string.gsub(string.rep('a', 100), string.rep('a*', 30) .. 'b', '')"),
    ("a pattern that tries for ever in gmatch", "for m in string.gmatch(string.rep('a', 100), string.rep('a?', 90) .. string.rep('a', 99) .. 'b') do end"),
    ("json of a tree that never ends", "while true do pcall(cjson.encode, (function() local t = {} for i = 1, 200 do t[i] = string.rep('a', 100000) end return t end)()) end"),
]

PROBE = """
local names = {}
for k in pairs(_G) do names[#names + 1] = tostring(k) end
table.sort(names)
assert(getmetatable('').__index.upper == string.upper and ('a'):upper() == 'A')
assert(redis.sha1hex('') == 'da39a3ee5e6b4b0d3255bfef95601890afd80709')
assert(cjson.encode({1, {2}}) == '[1,[2]]' and #cmsgpack.pack({1}) == 2 and bit.band(7, 3) == 3)
assert(rawget(redis, 'x') == nil and next({}) == nil and rawget(_G, 'x') == nil)
return table.concat(names, ' ')
"""


def answer_of(client, script):
    try:
        answer = client.execute_command("EVAL", script, 0)
        return answer.decode(errors="replace") if isinstance(answer, bytes) else str(answer)
    except redis.RedisError as error:
        return f"{error}"


def run_cases(server, client):
    """One after the other."""
    names = client.execute_command("EVAL", PROBE, 0)
    pid = client.info("server")["process_id"]
    wrong, start = [], time.time()
    for name, script, wanted in CASES:
        began = time.time()
        if "-v" in sys.argv:
            print(f"{time.time() - start:.1f} {name}", flush=True)
        got = answer_of(client, script)
        if not re.search(wanted, got):
            wrong.append(f"{name}: {got[:300]!r} is not {wanted!r}")
        assert client.info("server")["process_id"] == pid, f"{name}: another process"
        assert client.execute_command("EVAL", PROBE, 0) == names, f"{name}: the globals changed"
        assert time.time() - began < 600, f"{name}: took {time.time() - began:.0f} s"
    assert not wrong, "\n".join(wrong)
    print(f"{len(CASES)} hostile scripts", flush=True)


def run_endless(server, client):
    client.config_set("busy-reply-threshold", 20)
    for name, script in ENDLESS:
        result = []
        other = server.client(encoding_errors="replace")
        thread = threading.Thread(target=lambda: result.append(answer_of(other, script)))
        thread.start()
        wait_until(f"{name} is killed", lambda: client.script_kill(), 180)
        thread.join(180)
        assert result and "killed by user" in result[0], f"{name}: {result}"
        assert client.ping()
    client.config_set("busy-reply-threshold", 5000)
    print(f"{len(ENDLESS)} scripts that do not end by themselves", flush=True)


def check_memory(client):
    """What scripts took is given back."""
    client.execute_command("SCRIPT", "FLUSH")
    client.execute_command("EVAL", "return 1", 0)
    assert client.info("memory")["used_memory_vm_eval"] < 100 * 1024


def check_functions(server, client):
    """Libraries keep state in their own upvalues and nowhere else."""
    for name, code, wanted in (
        ("a library sees no globals while it is loaded", "local x = string", "nonexistent global variable 'string'"),
        ("it writes none", "x = 1", READONLY),
        ("it gets half a second", "while true do end", "FUNCTION LOAD timeout"),
        ("it cannot catch the end of that", "local f = redis.register_function while true do f() end", "wrong number|timeout"),
        ("it takes no bytecode", "\x1bLua", "Error compiling function"),
        ("it takes no memory without end", "local s = {} for i = 1, 1e9 do s[i] = {i} end", "not enough memory|timeout"),
    ):
        try:
            client.execute_command("FUNCTION", "LOAD", "#!lua name=bad\n" + code)
            raise AssertionError(f"{name}: it was loaded")
        except redis.ResponseError as error:
            assert re.search(wanted, str(error)), f"{name}: {error}"
    client.execute_command("FUNCTION", "LOAD", """#!lua name=lib
        local saved = redis
        local co
        redis.register_function('keep', function() saved.x = 1 end)
        redis.register_function('late', function() saved.register_function('more', function() end) end)
        redis.register_function('spin', function() while true do end end)
        redis.register_function('make', function() co = coroutine.create(function() while true do coroutine.yield(1) end end) return 1 end)
        redis.register_function('use', function() coroutine.resume(co) return 1 end)""")
    for name, wanted in (("keep", READONLY), ("late", "can only be called on FUNCTION LOAD")):
        try:
            client.execute_command("FCALL", name, 0)
            raise AssertionError(f"{name}: no error")
        except redis.ResponseError as error:
            assert wanted in str(error), f"{name}: {error}"
    assert client.execute_command("FCALL", "make", 0) == 1 and client.execute_command("FCALL", "use", 0) == 1
    client.config_set("busy-reply-threshold", 20)
    other, result = server.client(), []

    def spin():
        try:
            other.execute_command("FCALL", "spin", 0)
        except redis.ResponseError as error:
            result.append(str(error))
    thread = threading.Thread(target=spin)
    thread.start()
    wait_until("the function is killed", lambda: client.execute_command("FUNCTION", "KILL"), 180)
    thread.join(180)
    assert "killed by user" in result[0], result
    assert client.execute_command("FCALL", "use", 0) == 1
    client.execute_command("FUNCTION", "FLUSH")
    print("functions", flush=True)


def check_payloads(client):
    """FUNCTION RESTORE of anything: refused, or loaded."""
    client.execute_command("FUNCTION", "LOAD", "#!lua name=a\nredis.register_function('f', function() return 1 end)")
    payload = client.execute_command("FUNCTION", "DUMP")
    for i in range(len(payload)):
        for bad in (payload[:i], payload[:i] + bytes([payload[i] ^ 0x41]) + payload[i + 1:]):
            try:
                client.execute_command("FUNCTION", "RESTORE", bad, "REPLACE")
                raise AssertionError(f"byte {i}: it was restored")
            except redis.ResponseError:
                pass
    client.execute_command("FUNCTION", "RESTORE", payload, "FLUSH")
    assert client.execute_command("FCALL", "f", 0) == 1
    client.execute_command("FUNCTION", "FLUSH")
    print("payloads", flush=True)


def main():
    with Folder("script-sandbox") as folder:
        server = Ours(folder, "server", "--enable-debug-command", "yes", "--lua-memory-limit", "64mb")
        client = server.client(encoding_errors="replace")
        run_cases(server, client)
        run_endless(server, client)
        check_memory(client)
        check_functions(server, client)
        check_payloads(client)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""Scripts at the bundled server and at redis-server 7.0: the same bytes must come back.

Fixed scripts for errors, conversions and the libraries, then random ones from a printed seed: patterns, JSON, MessagePack,
struct formats, bit operations. COUNT random scripts of each kind (300).
"""
import os
import random
import socket
import sys

from resp import encode
from servers import Folder, Ours, RedisServer

COUNT = int(os.environ.get("COUNT", "300"))

FIXED = r"""
return 1.9
return -1.9
return 2^53
return 2^63
return -2^63
return 0/0
return 1/0
return true
return false
return nil
return {1, 2, nil, 4}
return {}
return {ok = 'fine'}
return {ok = 1}
return {err = 'fine'}
return {err = 'MY fine'}
return {err = 'MY fine', ok = 'x'}
return {double = 1.5}
return {double = 1e300}
return {double = -0.1}
return {big_number = '123'}
return {map = {a = 1}}
return {set = {a = true}}
return {verbatim_string = {format = 'txt', string = 'abc'}}
return {verbatim_string = {format = 'toolong', string = 'abc'}}
return {verbatim_string = {format = 'x', string = 'abc'}}
return {verbatim_string = {format = 'txt'}}
return {{{}}, {1, {2, {3}}}}
return {1, false, true, {err = 'X y'}}
redis.setresp(3) return {1, false, true, {double = 2}, {map = {a = {1}}}}
redis.setresp(3) return true
redis.setresp(3) return false
redis.setresp(3) return nil
redis.setresp(4)
redis.setresp()
redis.setresp(2, 3)
return redis.call('get', 'nothing') == false
redis.setresp(3) return redis.call('get', 'nothing') == nil
redis.call('del', 'h') redis.call('hset', 'h', 'f', 'v') return redis.call('hgetall', 'h')
redis.setresp(3) return redis.call('hgetall', 'h')
redis.setresp(3) return redis.call('hgetall', 'h').map.f
redis.call('del', 's') redis.call('sadd', 's', 'm') redis.setresp(3) return redis.call('smembers', 's')
redis.setresp(3) return redis.call('smembers', 's').set.m
redis.call('del', 'z') redis.call('zadd', 'z', 1.5, 'm') return redis.call('zscore', 'z', 'm')
redis.setresp(3) return redis.call('zscore', 'z', 'm')
redis.setresp(3) return redis.call('zscore', 'z', 'm').double
redis.setresp(3) return redis.call('zrange', 'z', 0, -1, 'withscores')
return redis.call('debug', 'protocol', 'attrib')
redis.setresp(3) return redis.call('debug', 'protocol', 'bignum')
redis.setresp(3) return redis.call('debug', 'protocol', 'verbatim')
redis.setresp(3) return redis.call('debug', 'protocol', 'true')
redis.setresp(3) return redis.call('debug', 'protocol', 'null')
return redis.call('ping')
return redis.call('ping').ok
return redis.call('echo', 1)
return redis.call('echo', 1.5)
return redis.call('echo', 1e20)
return redis.call('echo', 0.1)
return redis.call('echo', -0)
return redis.call('set', 'a', 1)
return redis.call('lpush', 'a', 1)
return redis.pcall('lpush', 'a', 1)
return redis.pcall('lpush', 'a', 1).err
local t = redis.pcall('lpush', 'a', 1) return {t.ignore_error_stats_update, t.source, t.line}
return pcall(redis.call, 'lpush', 'a', 1)
return {pcall(redis.call, 'lpush', 'a', 1)}
return {xpcall(function() return redis.call('lpush', 'a', 1) end, function(e) return e.err end)}
return {pcall(function() error('x') end)}
return {pcall(function() error({err = 'x y'}) end)}
return {pcall(function() error({a = 'x y'}) end)}
return {pcall(error)}
error('abc')
error('abc', 0)
error('abc', 2)
error({err = 'MY abc'})
error({err = 'abc'})
error(1)
error(true)
redis.call('nosuch')
redis.call('get')
redis.call('set', 'a')
redis.call('blpop', 'x', 0)
redis.call('subscribe', 'x')
redis.call('config', 'nosuch')
redis.call('config')
redis.call('object', 'encoding')
redis.call('client', 'id')
redis.call()
redis.call({})
redis.call('set', 'x', nil)
redis.pcall('nosuch')
return redis.pcall('nosuch')
return redis.pcall()
return redis.pcall('get', {})
return redis.error_reply('MY error')
return redis.error_reply('-MY error')
return redis.error_reply('error')
return redis.error_reply('')
return redis.error_reply('a\r\n')
return redis.error_reply(1)
return redis.error_reply()
return redis.status_reply('a b')
return redis.status_reply('')
return redis.status_reply({})
return redis.status_reply()
return redis.sha1hex()
return redis.sha1hex('a', 'b')
return redis.sha1hex(1)
redis.log()
redis.log(1)
redis.log('x', 'y')
redis.log(5, 'y')
redis.set_repl()
redis.set_repl(9)
return redis.replicate_commands()
return redis.breakpoint()
return redis.debug('x')
return redis.REDIS_VERSION
return redis.REDIS_VERSION_NUM
return {redis.LOG_DEBUG, redis.LOG_VERBOSE, redis.LOG_NOTICE, redis.LOG_WARNING}
return {redis.REPL_NONE, redis.REPL_AOF, redis.REPL_SLAVE, redis.REPL_REPLICA, redis.REPL_ALL}
return redis.nosuch
redis.nosuch()
return redis.acl_check_cmd('set', 'a', 1)
return redis.acl_check_cmd('nosuch')
return redis.acl_check_cmd()
return x
x = 1
local x = nosuch.y
return _G.x
return _G
return rawget(_G, 'x')
redis = 1
redis.call = 1
string.x = 1
return {type(redis), type(_G), type(string), type(cjson.null), type(KEYS), type(ARGV)}
return #KEYS + #ARGV
return tostring(nil) .. tostring(true) .. tostring(1e15) .. tostring(0.1) .. tostring(-1e100)
return 10 / 3
return tostring(10 / 3)
syntax error
return 'unfinished
for i = 1, 2 do
return nosuch(1)
local t = nil return t.x
local t = {} return t.x.y
return 'a' + 1
return {} .. 'a'
return {} < {}
return 1 < 'a'
return #1
return ('x'):nosuch()
return string.format('%d %5.2f %s %q %x %c', 3, 2.5, 'a', 'b"\n', 255, 65)
return string.format('%d', 'x')
return string.format('%y', 1)
return {string.find('abc', 'b')}
return {string.find('abc', 'b', 1, true)}
return {string.find('abc', '', 10)}
return {string.find('abc', '', 4)}
return {('abc'):byte(1, -1)}
return {string.gsub('hello world', 'o', '0')}
return {string.gsub('hello world', '(o)', '<%1>', 1)}
return {string.gsub('hello', '', '-')}
return {string.gsub('abc', '%w', {a = 1, b = true})}
return {string.gsub('abc', '%w', function(c) if c == 'b' then return 'X' end end)}
return {string.gsub('abc', 'b', function() return {} end)}
return {string.match('key=val', '(%w+)=(%w+)')}
return {string.match('2026-11-21', '(%d+)-(%d+)-(%d+)')}
return {string.match('abc', '()b()')}
return {string.rep('ab', 3), string.rep('a', 0), string.rep('a', -1)}
return {string.reverse('abc'), string.upper('abc'), string.lower('ABC'), string.len('abc'), string.sub('abc', 2)}
local r = {} for k, v in string.gmatch('a=1, b=2', '(%w+)=(%w+)') do r[#r + 1] = k .. v end return r
local t = {3, 1, 2} table.sort(t) return t
local t = {3, 1, 2} table.sort(t, function(a, b) return a > b end) return t
local t = {3, 1, 2} table.sort(t, 1)
local t = {1, 2} table.insert(t, 3) table.insert(t, 1, 0) return t
local t = {1, 2} table.insert(t, 5, 9) return {#t, t[5]}
local t = {1, 2} table.insert(t)
local t = {1, 2} table.insert(t, 1, 2, 3)
table.insert(1, 2)
local t = {1, 2, 3} return {table.remove(t), table.remove(t, 1), #t}
local t = {} return {table.remove(t), #t}
local t = {1, 2, 3} return {table.remove(t, 7), #t}
return table.concat({1, 2, 'x'}, ', ')
return table.concat({1, {}, 'x'}, ', ')
return {table.maxn({1, 2, [10] = 3}), table.getn({1, 2})}
return {unpack({1, 2, 3})}
return {unpack({1, 2, 3}, 2)}
return {unpack({1, 2, 3}, 2, 5)}
return {unpack({1, 2, 3}, 3, 2)}
return unpack()
return {select('#', 1, 2), select(2, 'a', 'b')}
return select(0)
return {next({})}
return next({}, 'x')
return {tonumber('0x10'), tonumber('10', 2), tonumber('zz', 36), tonumber('x')}
return {math.floor(1.5), math.max(1, 2), math.huge, math.fmod(7, 3), math.pow(2, 10)}
return math.random(0)
return math.random(1, 2, 3)
math.randomseed(7) return {math.random(1000), math.random(1000), math.random(5, 10), tostring(math.random())}
math.randomseed(-1) return {math.random(1000000), math.random(1000000)}
return {loadstring('return 1 + 1')()}
return {loadstring('syntax error')}
return {loadstring('return 1', 'name')()}
return {load(function() return nil end)}
return {pcall(load, 1)}
return {pcall(loadstring)}
return coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b * 2 end)(1)
local co = coroutine.create(function() error('in co') end) return {coroutine.resume(co)}
local co = coroutine.create(function() end) coroutine.resume(co) return {coroutine.status(co), coroutine.resume(co)}
return {pcall(coroutine.create, 1)}
return getmetatable('').__index == string and 1 or 2
return type(getmetatable(_G))
return {pcall(setmetatable, 1, {})}
return {pcall(setmetatable, {}, 1)}
return {pcall(setmetatable, setmetatable({}, {__metatable = 1}), {})}
return getmetatable(setmetatable({}, {__metatable = 'x'}))
return collectgarbage('nosuch')
return {pcall(string.rep)}
return {pcall(string.rep, 'x')}
return {pcall(xpcall, 1)}
return cjson.encode({1, 2, 3})
return cjson.encode({})
return cjson.encode({a = {}})
return cjson.encode({[1] = 1, [3] = 3})
return cjson.encode({[1] = 1, [100] = 3})
return cjson.encode({[1.5] = 1})
return cjson.encode({[-1] = 1})
return cjson.encode({[true] = 1})
return cjson.encode('a"\\/\b\f\n\r\t\0\127' .. string.char(200))
return cjson.encode(1e100) .. cjson.encode(0.1) .. cjson.encode(123456789012345678)
return cjson.encode(1/0)
return cjson.encode(function() end)
return cjson.encode({f = function() end})
return cjson.encode(cjson.null) .. cjson.encode(nil) .. cjson.encode(true)
return cjson.encode()
return cjson.encode(1, 2)
cjson.encode_invalid_numbers('null') return cjson.encode({0/0, 1/0})
cjson.encode_number_precision(3) return cjson.encode(math.pi)
cjson.encode_number_precision(15)
return cjson.encode_max_depth()
return cjson.encode_max_depth('x')
return {cjson.encode_sparse_array()}
return cjson.decode('[1, 2.5, "x", null, true, false, {"a": [{}]}]')
return cjson.decode('{"a": 1')
return cjson.decode('[1,]')
return cjson.decode('{"a":1,}')
return cjson.decode('{a:1}')
return cjson.decode('[1 2]')
return cjson.decode('')
return cjson.decode(' ')
return cjson.decode('nul')
return cjson.decode('truex')
return cjson.decode('[0x10, 1e5, -0, +1]')
return cjson.decode('[0x10, inf, nan]') and 1
return cjson.decode('"\\u00e9\\ud83d\\ude00\\/\\n"')
return cjson.decode('"\\x"')
return cjson.decode('"abc')
return cjson.decode('"\\ud83d"')
return cjson.decode('[[[[[]]]]')
return cjson.decode(1)
return cjson.decode({})
return cjson.decode('[1]]')
return cjson.decode('a\0b')
return cjson._NAME .. cjson._VERSION
return cmsgpack._NAME .. cmsgpack._VERSION
return cmsgpack.pack()
return cmsgpack.pack(1, 'a', nil, true, {1, 2}, {a = 1}, 1.5, 0.1, -1, 300, 70000, 2^40, -2^40, 2^63, 1/0)
return cmsgpack.pack(function() end)
return {cmsgpack.unpack(cmsgpack.pack(1, 'a', nil, true, {1, 2}))}
return {cmsgpack.unpack_one(cmsgpack.pack(1, 2), 0)}
return {cmsgpack.unpack_one(cmsgpack.pack(1, 2), 1)}
return {cmsgpack.unpack_limit(cmsgpack.pack(1, 2, 3), 2, 0)}
return {cmsgpack.unpack_limit(cmsgpack.pack(1, 2, 3), 0, 0)}
return cmsgpack.unpack('')
return cmsgpack.unpack(string.char(0xc1))
return cmsgpack.unpack(string.char(0xc4))
return cmsgpack.unpack(string.char(0x92, 1))
return struct.pack('>I2', 258)
return struct.pack('<i4', -2)
return struct.pack('z', 1)
return struct.pack('I2')
return struct.pack('c3', 'ab')
return struct.pack('!4 b i4', 1, 2)
return struct.pack('!3 b', 1)
return {struct.unpack('>I2 b s', struct.pack('>I2 b s', 258, -1, 'abc'))}
return {struct.unpack('I4', 'abc')}
return struct.size('!8 b d i4 c5')
return struct.size('s')
return bit.tohex(255) .. bit.tohex(255, 4) .. bit.tohex(-1, -8) .. bit.tohex(1, 0)
return {bit.tobit(2^31), bit.tobit(2^32 + 5), bit.tobit(-1), bit.tobit(1.5), bit.tobit(2.5)}
return {bit.bnot(0), bit.band(255, 15, 7), bit.bor(1, 2), bit.bxor(5, 3), bit.bswap(1)}
return {bit.lshift(1, 31), bit.rshift(-1, 28), bit.arshift(-8, 1), bit.rol(1, 33), bit.ror(1, 1)}
return bit.band()
return bit.band('x')
#!lua
#!lua\nreturn 1
#!lua flags=\nreturn 1
#!lua flags=no-writes\nreturn redis.call('set', 'x', 1)
#!lua flags=nosuch\nreturn 1
#!lua flags=no-writes,\nreturn 1
#!lua x=1\nreturn 1
#!perl\nreturn 1
#!\nreturn 1
#!lua flags=allow-stale,allow-oom,no-cluster,allow-cross-slot-keys\nreturn 2
#!lua\nreturn nosuch
""".strip().split("\n")

COMMANDS = [
    ["EVAL"], ["EVAL", "return 1"], ["EVAL", "return 1", "x"], ["EVAL", "return 1", "-1"], ["EVAL", "return 1", "1"],
    ["EVAL", "return {KEYS, ARGV}", "1", "k", "a", "b"], ["EVAL", "return KEYS[1]", "0"],
    ["EVALSHA", "x", "0"], ["EVALSHA", "f" * 40, "0"], ["EVALSHA", "f" * 40, "x"],
    ["EVAL_RO", "return redis.call('set', 'x', 1)", "0"], ["EVAL_RO", "#!lua\nreturn 1", "0"],
    ["EVAL_RO", "return redis.call('publish', 'x', 1)", "0"],
    ["SCRIPT"], ["SCRIPT", "NOSUCH"], ["SCRIPT", "LOAD"], ["SCRIPT", "LOAD", "return 7"], ["SCRIPT", "LOAD", "syntax error"],
    ["SCRIPT", "EXISTS"], ["SCRIPT", "EXISTS", "f" * 40, "x"], ["SCRIPT", "FLUSH", "x"], ["SCRIPT", "FLUSH", "SYNC", "x"],
    ["SCRIPT", "KILL"], ["SCRIPT", "DEBUG", "x"], ["SCRIPT", "DEBUG", "no"],
    ["FUNCTION"], ["FUNCTION", "NOSUCH"], ["FUNCTION", "LOAD"], ["FUNCTION", "LOAD", "x"], ["FUNCTION", "LOAD", "#!lua"],
    ["FUNCTION", "LOAD", "#!lua name=a\nreturn 1"], ["FUNCTION", "LOAD", "#!lua name=a\nerror('x')"],
    ["FUNCTION", "LOAD", "#!lua name=a\nerror({err = 'x y'})"], ["FUNCTION", "LOAD", "#!lua name=a\nx = 1"],
    ["FUNCTION", "LOAD", "#!lua name=a\nreturn x"], ["FUNCTION", "LOAD", "#!lua name=a\nsyntax error"],
    ["FUNCTION", "LOAD", "#!lua name=a name=b\n"], ["FUNCTION", "LOAD", "#!lua nosuch=b\n"], ["FUNCTION", "LOAD", "#!js name=b\n"],
    ["FUNCTION", "LOAD", "#!lua name=a-b\n"], ["FUNCTION", "LOAD", "NOSUCH", "#!lua name=a\n"],
    *[["FUNCTION", "LOAD", "#!lua name=a\nredis.register_function" + call] for call in (
        "()", "(1)", "('f')", "('f', 1)", "(1, function() end)", "('f', function() end, 1)", "('f-g', function() end)", "{}",
        "{function_name = 1}", "{function_name = 'f'}", "{callback = function() end}", "{function_name = 'f', callback = 1}",
        "{function_name = 'f', callback = function() end, flags = 1}",
        "{function_name = 'f', callback = function() end, flags = {'x'}}", "{function_name = 'f', callback = function() end, x = 1}",
        "{function_name = 'f', callback = function() end, description = {}}")],
    ["FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function(k, a) return {k, a} end)\n"
     "redis.register_function{function_name = 'g', callback = function() return nosuch end, flags = {'no-writes'}, description = 'd'}"],
    ["FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function(k, a) return {k, a} end)"],
    ["FUNCTION", "LOAD", "#!lua name=lib2\nredis.register_function('f', function(k, a) return {k, a} end)"],
    ["FUNCTION", "STATS"], ["FUNCTION", "LIST", "x"], ["FUNCTION", "LIST", "LIBRARYNAME"], ["FUNCTION", "LIST", "LIBRARYNAME", "nosuch"],
    ["FCALL", "f", "0"], ["FCALL", "F", "1", "k", "a"], ["FCALL", "f", "x"], ["FCALL", "f", "5"], ["FCALL", "f", "-5"],
    ["FCALL", "g", "0"], ["FCALL_RO", "g", "0"], ["FCALL_RO", "f", "0"], ["FCALL", "nosuch", "0"], ["FCALL", "f"],
    ["FUNCTION", "DELETE", "nosuch"], ["FUNCTION", "KILL"], ["FUNCTION", "FLUSH", "x"], ["FUNCTION", "FLUSH", "SYNC", "x"],
    ["FUNCTION", "RESTORE", "x"], ["FUNCTION", "RESTORE", "x" * 20, "x"], ["FUNCTION", "FLUSH"], ["FUNCTION", "DUMP"],
    ["FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function(k, a) return {k, a} end)"], ["FUNCTION", "DUMP"],
    ["FUNCTION", "LIST", "WITHCODE"], ["FUNCTION", "FLUSH"], ["FUNCTION", "LIST"],
    ["MULTI"], ["EVAL", "return redis.call('set', 'm', 1)", "0"], ["EVAL", "return redis.call('nosuch')", "0"], ["EXEC"],
    ["INFO", "errorstats"],
]


class Line:
    """A connection that gives replies as the bytes that came."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(180)
        self.file = self.socket.makefile("rb")

    def read(self):
        head = self.file.readline()
        kind, rest = head[:1], head[1:-2]
        if kind in b"$=!":
            return head + (self.file.read(int(rest) + 2) if rest != b"-1" else b"")
        if kind in b"*~>%|" and rest != b"-1":
            count = int(rest) * (2 if kind in b"%|" else 1) + (kind == b"|")
            return head + b"".join(self.read() for _ in range(count))
        return head

    def call(self, *words):
        self.socket.sendall(encode(*words))
        return self.read()


class Random:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def pattern(self):
        r = self.r
        items = []
        for _ in range(r.randint(1, 6)):
            item = r.choice(["a", "b", ".", "%a", "%d", "%w", "%s", "%W", "[ab]", "[^a]", "[a-c]", "[%d_]", "(", ")", "()", "%1", "%b()",
                             "%f[%w]", "$", "^", "%", "[", "]", "%z", "-", "x"])
            items.append(item + (r.choice(["", "", "*", "+", "-", "?"]) if item not in "()" else ""))
        return ("^" if r.random() < 0.2 else "") + "".join(items)

    def text(self):
        return "".join(self.r.choice("aabbc1 _(x)%") for _ in range(self.r.randint(0, 14)))

    def value(self, depth=0):
        r = self.r
        kind = r.randint(0, 9 if depth < 4 else 6)
        if kind <= 1:
            return str(r.choice([0, 1, -1, 127, 128, 255, 256, 65535, 65536, 2**31, 2**32, -32, -33, -128, -129, -32769, 2**53, -2**53,
                                 0.5, 0.1, -1.5, 1e300, 1e-300, r.randint(-10**6, 10**6), r.random()]))
        if kind <= 4:
            return "'" + "".join(r.choice(["a", "\\n", "\\\\", '"', "/", "\\0", "\\200", "\\127", "é"]) for _ in range(r.choice([0, 1, 3, 31, 33]))) + "'"
        if kind == 5:
            return r.choice(["true", "false", "cjson.null", "nil"])
        if kind == 6:
            return "{}"
        if kind == 7:
            return "{" + f"k = {self.value(depth + 1)}" + "}"
        return "{" + ", ".join(self.value(depth + 1) for _ in range(r.randint(1, 17))) + "}"

    def json(self, depth=0):
        r = self.r
        kind = r.randint(0, 8 if depth < 4 else 5)
        if kind <= 1:
            return r.choice(["0", "1", "-1", "1.5", "1e5", "01", "-", "0x1f", "+1", "1.", ".5", "1e", "nan", "Infinity", "-inf"])
        if kind <= 3:
            return '"' + "".join(r.choice(["a", "\\n", "\\u0041", "\\u00e9", "\\ud83d\\ude00", "\\ud83d", "\\x", "é"])
                                 for _ in range(r.randint(0, 2))) + '"'
        if kind <= 5:
            return r.choice(["true", "false", "null", "tru", "", "]", "}", ",", ":"])
        if kind == 6:
            return "[" + ",".join(self.json(depth + 1) for _ in range(r.randint(0, 4))) + "]"
        return "{" + ",".join(f'"k{i}":{self.json(depth + 1)}' for i in range(r.randint(0, 1))) + "}"

    def format(self):
        r = self.r
        return "".join(r.choice([">", "<", "=", "!", "!4", "!8", "!3", " ", "x", "b", "B", "h", "H", "i", "I", "i3", "I8", "i16", "l", "L",
                                 "T", "f", "d", "s", "c4", "c0", "c", "q", "i0"]) for _ in range(r.randint(1, 6)))

    def scripts(self):
        number = lambda: self.r.choice(["0", "1", "-1", "2^31", "-2^31", "2^32", "2^53", "1.5", "-2.5", "255", "31", "32", "33"])
        call = self.r.choice(["find", "match", "gsub"])
        last = {"find": str(self.r.randint(-5, 5)), "match": str(self.r.randint(-5, 5)), "gsub": "'<%0%1>'"}[call]
        yield f"return {{string.{call}(ARGV[1], ARGV[2], {last})}}", self.text(), self.pattern()
        yield f"return cjson.encode({self.value()})",
        yield "local v = cjson.decode(ARGV[1]) return {type(v), cjson.encode(v)}", self.json()
        yield f"return cmsgpack.pack({self.value()})",
        yield "local v = {cmsgpack.unpack(ARGV[1])} return v", bytes(self.r.choice([0x91, 0x92, 0x81, 0xa1, 0xa2, 0xc0, 0xc2, 0xc3, 0xca, 0xcb, 0xcc,
              0xcd, 0xce, 0xcf, 0xd0, 0xd1, 0xd2, 0xd3, 0xd9, 0xda, 0xdb, 0xdc, 0xde, 0, 1, 2, 97, 0xff, 0xe0]) for _ in range(self.r.randint(0, 12)))
        yield f"return struct.pack(ARGV[1], {', '.join(self.r.choice([number(), repr('abcd')]) for _ in range(6))})", self.format()
        yield "return {struct.unpack(ARGV[1], ARGV[2])}", self.format(), bytes(self.r.randrange(256) for _ in range(self.r.randint(0, 24)))
        function = self.r.choice(["tobit", "bnot", "band", "bor", "bxor", "lshift", "rshift", "arshift", "rol", "ror", "bswap", "tohex"])
        yield f"return bit.{function}({number()}, {number()})",


def compare(ours, theirs, words, wrong):
    mine, real = ours.call(*words), theirs.call(*words)
    if mine != real:
        wrong.append(f"{words}\n  ours  {mine[:300]!r}\n  redis {real[:300]!r}")


def main():
    with Folder("script-differential") as folder:
        mine, real = Ours(folder, "ours", "--enable-debug-command", "yes"), RedisServer(folder, "redis", "--enable-debug-command", "yes")
        wrong = []
        for protocol in (2, 3):
            ours, theirs = Line(mine.port), Line(real.port)
            ours.call("HELLO", protocol), theirs.call("HELLO", protocol)
            for script in FIXED:
                compare(ours, theirs, ["EVAL", script.replace("\\n", "\n") if script.startswith("#!") else script, 0], wrong)
            for line in (ours, theirs):
                line.call("SCRIPT", "FLUSH"), line.call("CONFIG", "RESETSTAT")
            for words in COMMANDS:
                compare(ours, theirs, words, wrong)
        source = Random(folder.seed)
        for _ in range(COUNT):
            for script, *args in source.scripts():
                compare(ours, theirs, ["EVAL", script, 0, *args], wrong)
        print(f"{2 * (len(FIXED) + len(COMMANDS)) + COUNT * 8} scripts and commands, {len(wrong)} answered differently", flush=True)
        assert not wrong, "\n".join(wrong[:int(os.environ.get("SHOW", "40"))])
    return 0


if __name__ == "__main__":
    sys.exit(main())

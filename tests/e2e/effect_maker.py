"""effect_maker.py -- random requests for every write command of Redis 7.0, many of them wrong or without effect.

Lists, hashes, sets, sorted sets and some places come from test_types_differential; the rest is here. Times are either over or
far away, so that nothing expires while a test looks. Strings, HyperLogLogs and streams are not those of string_maker
and stream_maker, which change the configuration of the server that they talk to: a follower with other limits keeps
other bytes of a HyperLogLog.
"""
import time

from test_types_differential import Maker

GROUPS = ["g1", "g2"]
CONSUMERS = ["c1", "c2", "c3"]
SCRIPTS = [
    "return redis.call('set', KEYS[1], ARGV[1])", "return redis.call('incr', KEYS[1])", "return 1",
    "redis.call('rpush', KEYS[1], ARGV[1]); return redis.call('hset', KEYS[1], 'a', 'b')",
    "redis.call('set', KEYS[1], 'x'); error('in the middle')", "return redis.call('spop', KEYS[1])",
    "redis.call('xadd', KEYS[1], '*', 'f', ARGV[1]); return redis.call('del', KEYS[#KEYS])", "syntax error",
]
LIBRARY = "#!lua name=lib%d\nredis.register_function('put%d', function(keys, args) return redis.call('set', keys[1], args[1]) end)"


class EffectMaker(Maker):
    def __init__(self, rng, migrate_port):
        super().__init__(rng)
        self.migrate_port = migrate_port
        self.payloads = [b"", b"garbage"]  # the test adds what DUMP gives
        self.wide = 30

    def any(self):
        """A key of any type."""
        r = self.rng.random()
        if r < 0.03:
            return "none"
        return self.rng.choice("wlhszxpgb") + str(self.rng.randrange(4))

    def now(self):
        return int(time.time() * 1000)

    def seconds(self):
        return self.rng.choice(["0", "-1", "-100", "5000", "100000", "999999999", "9223372036854775", "9223372036854776",
                                "-9223372036854776", "abc", "", "1.5", "9223372036854775807", "7200", "86400"])

    def milliseconds(self):
        return self.rng.choice(["0", "-1", "-100", "5000000", "100000000", "9223372036854775807", "9223370000000000000",
                                "-9223372036854775808", "abc", "", "1.5", "7200001", "86400123"])

    def at(self):
        past = self.rng.choice([1, 0, -1, self.now() // 1000 - 1000, self.now() // 1000 - 1])
        return str(past) if self.rng.random() < 0.3 else str(self.now() // 1000 + self.rng.randint(5000, 90000)) \
            if self.rng.random() < 0.9 else self.seconds()

    def at_ms(self):
        past = self.rng.choice([1, 0, -1, self.now() - 1000000, self.now() - 1])
        return str(past) if self.rng.random() < 0.3 else str(self.now() + self.rng.randint(5000000, 90000000)) \
            if self.rng.random() < 0.9 else self.milliseconds()

    def set_options(self):
        r, options = self.rng, []
        for word in (["NX"], ["XX"], ["GET"], ["get"], ["KEEPTTL"], ["EX", self.seconds()], ["PX", self.milliseconds()],
                     ["EXAT", self.at()], ["PXAT", self.at_ms()], ["ex", "7200"], ["WHAT"], ["PX"]):
            if r.random() < 0.12:
                options += word
        return options

    def string_keys(self):
        r, k = self.rng, self.key("w")
        number = lambda: self.int()
        return r.choice([
            lambda: ["SET", k, self.name()], lambda: ["SET", k, self.name()] + self.set_options(),
            lambda: ["SET", k, r.randint(-50, 50)] + self.set_options(), lambda: ["SET", k, "1", "NX", "GET"],
            lambda: ["SET", k, "1", "XX", "GET"] + self.maybe("EX", "8000"), lambda: ["SET", k, "2", "GET", "PX", "80000001"],
            lambda: ["SETEX", k, self.seconds(), self.name()], lambda: ["PSETEX", k, self.milliseconds(), self.name()],
            lambda: ["SETNX", k, self.name()], lambda: ["APPEND", k, self.name()], lambda: ["INCR", k], lambda: ["DECR", k],
            lambda: ["INCRBY", k, number()], lambda: ["DECRBY", k, number()], lambda: ["INCRBYFLOAT", k, self.float()],
            lambda: ["GETSET", k, self.name()], lambda: ["GETDEL", k], lambda: ["GETEX", k],
            lambda: ["GETEX", k, r.choice(["EX", "PX"]), r.choice(["70000", "7200000", "0", "-1", "x"])],
            lambda: ["GETEX", k, "PXAT", self.at_ms()], lambda: ["GETEX", k, "EXAT", self.at()],
            lambda: ["GETEX", k, "PERSIST"] + self.maybe("EX", "5"),
            lambda: ["SETRANGE", k, r.choice(["0", "1", "5", "-1", "x", "536870912"]), r.choice(["", "a", "hello"])],
            lambda: ["MSET"] + [x for _ in range(r.randint(1, 3)) for x in (self.key("w"), self.name())] + (["odd"] if r.random() < .1 else []),
            lambda: ["MSETNX"] + [x for _ in range(r.randint(1, 2)) for x in (self.any(), self.name())],
            lambda: ["LCS", k, self.key("w")], lambda: ["GET", k], lambda: ["STRLEN", k], lambda: ["MGET", k, self.key("w")],
        ])()

    def bits_keys(self):
        r, k = self.rng, self.key("b")
        return r.choice([
            lambda: ["SETBIT", k, r.choice(["0", "7", "100", "-1", "4294967296"]), r.choice(["0", "1", "2"])],
            lambda: ["BITOP", r.choice(["AND", "OR", "XOR", "x"]), self.key("b")] + self.keys("b"),
            lambda: ["BITOP", "NOT", self.key("b"), self.key("b")],
            lambda: ["BITFIELD", k, "GET", "u8", "0"], lambda: ["BITFIELD", k, "SET", "i16", "#1", self.int()],
            lambda: ["BITFIELD", k, "OVERFLOW", r.choice(["FAIL", "SAT", "WRAP"]), "INCRBY", "u4", r.choice(["0", "9"]), self.int()],
            lambda: ["BITFIELD_RO", k, "GET", "u8", "0"], lambda: ["BITCOUNT", k],
        ])()

    def hyper_keys(self):
        r, k = self.rng, self.key("p")
        return r.choice([
            lambda: ["PFADD", k] + self.names(6), lambda: ["PFADD", k], lambda: ["PFADD", k] + [f"m{r.randrange(2000)}" for _ in range(300)],
            lambda: ["PFCOUNT", k], lambda: ["PFCOUNT"] + self.keys("p"), lambda: ["PFMERGE", k] + self.keys("p", 3),
            lambda: ["PFMERGE", k], lambda: ["PFDEBUG", r.choice(["TODENSE", "ENCODING", "GETREG"]), k], lambda: ["DEL", k],
        ])()

    def place(self):
        return [f"{self.rng.uniform(-20, 20):.6f}", f"{self.rng.uniform(-20, 20):.6f}"]

    def geo_keys(self):
        r, k = self.rng, self.key("g")
        store = lambda: r.choice([[], ["STORE", self.key("g")], ["STOREDIST", self.key("g")], ["STORE", k]])
        sort = lambda: self.maybe(r.choice(["ASC", "DESC"])) + self.maybe("COUNT", r.choice(["1", "3", "0"]))
        return r.choice([
            lambda: ["GEOADD", k] + self.maybe(r.choice(["NX", "XX", "CH"])) + [x for _ in range(r.randint(1, 4)) for x in self.place() + [self.name()]],
            lambda: ["GEOADD", k, "200", "200", "x"],
            lambda: ["GEORADIUS", k] + self.place() + [r.choice(["100", "3000", "0"]), "km"] + sort() + store(),
            lambda: ["GEORADIUSBYMEMBER", k, self.name(), "2000", "km"] + sort() + store(),
            lambda: ["GEOSEARCHSTORE", self.key("g"), k, "FROMLONLAT"] + self.place() + ["BYRADIUS", r.choice(["1500", "1"]), "km"] + self.maybe("STOREDIST"),
            lambda: ["GEOSEARCH", k, "FROMLONLAT", "0", "0", "BYRADIUS", "900", "km"], lambda: ["ZREM", k] + self.names(4),
        ])()

    def id(self):
        r = self.rng
        return r.choice([f"{r.randrange(1, 30)}-{r.randrange(4)}", f"{r.randrange(1, 30)}", "0", "0-0", "x", f"{self.now()}-{r.randrange(9)}"])

    def trim(self):
        r = self.rng
        how = r.choice(["MAXLEN", "MINID", "maxlen"])
        count = self.id() if how == "MINID" else r.choice(["0", "1", "5", "20", "-1", "x"])
        about = r.choice([[], ["="], ["~"], ["~"]])
        return [how] + about + [count] + (["LIMIT", r.choice(["0", "1", "100"])] if about == ["~"] and r.random() < .5 else [])

    def stream_keys(self):
        r, k = self.rng, self.key("x")
        group, consumer = r.choice(GROUPS + ["nogroup"] * (r.random() < .1)), r.choice(CONSUMERS)
        group = group if isinstance(group, str) else "g1"
        fields = lambda: [x for _ in range(r.randint(1, 3)) for x in (self.name(), self.name())]
        ids = lambda: [self.id() if r.random() < .5 else r.choice(self.seen) for _ in range(r.randint(1, 5))]
        small = lambda: f"{r.randrange(1, 30)}-{r.randrange(1, 4)}"
        seen = lambda: r.choice(self.seen)
        ks = [k] if r.random() < .6 else [k, self.key("x")]
        return r.choice([
            lambda: ["XADD", k, "*"] + fields(), lambda: ["XADD", k, "*"] + fields(), lambda: ["XADD", k, f"{self.now() + 5000}-*"] + fields(),
            lambda: ["XADD", k] + self.trim() + ["*"] + fields(), lambda: ["XADD", k, "NOMKSTREAM"] + self.maybe(*self.trim()) + ["*"] + fields(),
            lambda: ["XADD", k, self.id()] + fields(), lambda: ["XADD", k, "*", "odd"],
            lambda: ["XADD", k] + ["MAXLEN", "~", "120"] + ["*"] + fields(),
            lambda: ["XTRIM", k] + self.trim(), lambda: ["XTRIM", k, "MINID", "~", seen()], lambda: ["XDEL", k] + ids(),
            lambda: ["XSETID", k, r.choice([self.id(), f"{self.now() + 10000}-1"])] + self.maybe("ENTRIESADDED", r.choice(["5", "500", "-1"]), "MAXDELETEDID", small()),
            lambda: ["XGROUP", "CREATE", k, group, r.choice(["$", "0", self.id()])] + self.maybe("MKSTREAM") + self.maybe("ENTRIESREAD", r.choice(["0", "3", "-1", "-2"])),
            lambda: ["XGROUP", "CREATE", k, group, "0", "MKSTREAM"], lambda: ["XGROUP", "CREATE", k, "g1", "0", "MKSTREAM"],
            lambda: ["XGROUP", "SETID", k, group, r.choice(["$", "0", self.id(), seen()])] + self.maybe("ENTRIESREAD", r.choice(["0", "3", "-1"])),
            lambda: ["XGROUP", "CREATECONSUMER", k, group, consumer], lambda: ["XGROUP", "DELCONSUMER", k, group, consumer] if r.random() < .3 else ["XLEN", k],
            lambda: ["XGROUP", "DESTROY", k, group] if r.random() < .3 else ["XINFO", "GROUPS", k],
            lambda: ["XREADGROUP", "GROUP", group, consumer] + self.maybe("COUNT", r.choice(["1", "3", "0", "x"])) + self.maybe("BLOCK", r.choice(["0", "1", "-1"]))
            + self.maybe("NOACK") + ["STREAMS"] + ks + [">"] * len(ks),
            lambda: ["XREADGROUP", "GROUP", "g1", consumer, "COUNT", "4", "STREAMS", k, ">"],
            lambda: ["XREADGROUP", "BLOCK", "0", "GROUP", "g1", consumer, "STREAMS", k, ">"],
            lambda: ["XREADGROUP", "GROUP", group, consumer] + self.maybe("COUNT", "2") + ["STREAMS"] + ks + [self.id() for _ in ks],
            lambda: ["XACK", k, group] + ids(),
            lambda: ["XCLAIM", k, group, consumer, r.choice(["0", "0", "1", "100000", "-1", "x"])] + ids()
            + self.maybe(r.choice(["JUSTID", "FORCE", "force", "WHAT"])) + self.maybe("IDLE", "10") + self.maybe("RETRYCOUNT", "7") + self.maybe("LASTID", self.id()),
            lambda: ["XCLAIM", k, "g1", consumer, "0"] + [seen() for _ in range(r.randint(1, 6))] + self.maybe("JUSTID"),
            lambda: ["XCLAIM", k, "g1", consumer, "0"] + [seen() for _ in range(r.randint(1, 6))] + ["FORCE"],
            lambda: ["XAUTOCLAIM", k, group, consumer, r.choice(["0", "0", "1", "100000", "x"]), r.choice(["0", self.id(), "(1-1"])]
            + self.maybe("COUNT", r.choice(["1", "4", "0"])) + self.maybe("JUSTID"),
            lambda: ["XAUTOCLAIM", k, "g1", consumer, "0", "0", "JUSTID", "COUNT", "3"],
            lambda: ["XREAD", "BLOCK", "0", "STREAMS", k, "$"], lambda: ["XREAD", "STREAMS", k, "0"], lambda: ["XPENDING", k, group],
        ])()

    seen = ["1-1"]  # ids that servers gave out lately; the test adds to it

    def whole(self):
        """Commands for any key."""
        r, k = self.rng, self.any()
        db = lambda: r.choice(["0", "1", "2", "0", "1", "99", "x"])
        option = lambda: self.maybe(r.choice(["NX", "XX", "GT", "LT", "gt", "WHAT"]))
        return r.choice([
            lambda: ["DEL"] + [self.any() for _ in range(r.randint(1, 2))], lambda: ["UNLINK", k, "none"],
            lambda: ["EXPIRE", k, self.seconds()] + option(), lambda: ["PEXPIRE", k, self.milliseconds()] + option(),
            lambda: ["EXPIREAT", k, self.at()] + option(), lambda: ["PEXPIREAT", k, self.at_ms()] + option(),
            lambda: ["EXPIRE", k, "50000"] + option(), lambda: ["PEXPIRE", k, str(r.randint(5000000, 9000000))] + option(),
            lambda: ["PERSIST", k], lambda: ["RENAME", k, self.any()], lambda: ["RENAMENX", k, self.any()], lambda: ["RENAME", k, k],
            lambda: ["COPY", k, self.any()] + self.maybe("DB", db()) + self.maybe("REPLACE"), lambda: ["MOVE", k, db()],
            lambda: ["RESTORE", self.any(), r.choice(["0", "0", "9000000", "-1", "x"]), r.choice(self.payloads)] + self.maybe("REPLACE")
            + self.maybe(r.choice(["IDLETIME", "FREQ"]), "10"),
            lambda: ["RESTORE", self.any(), self.at_ms(), r.choice(self.payloads), "ABSTTL"] + self.maybe("REPLACE"),
            lambda: ["RESTORE-ASKING", self.any(), r.choice(["0", "8000000"]), r.choice(self.payloads), "REPLACE"],
            lambda: ["TOUCH", k], lambda: ["OBJECT", "FREQ", k], lambda: ["TTL", k], lambda: ["DUMP", k], lambda: ["ZRANDMEMBER", k], lambda: ["TYPE", k],
        ])()

    def script(self):
        r = self.rng
        number = r.randrange(2)
        return r.choice([
            lambda: ["EVAL", r.choice(SCRIPTS), "1", self.any(), self.name()], lambda: ["EVAL", r.choice(SCRIPTS[:1] + SCRIPTS[6:]), "2", self.any(), self.any(), "v"],
            lambda: ["EVAL", "return 1", "0"], lambda: ["EVALSHA", "0" * 40, "1", self.any()], lambda: ["EVAL_RO", "return redis.call('get', KEYS[1])", "1", self.any()],
            lambda: ["SCRIPT", "LOAD", r.choice(SCRIPTS)], lambda: ["SCRIPT", "FLUSH"],
            lambda: ["FUNCTION", "LOAD"] + self.maybe("REPLACE") + [LIBRARY % (number, number)], lambda: ["FUNCTION", "DELETE", f"lib{number}"],
            lambda: ["FUNCTION", "FLUSH"], lambda: ["FCALL", f"put{number}", "1", self.any(), self.name()],
            lambda: ["MIGRATE", "127.0.0.1", r.choice([str(self.migrate_port), "1"]), self.any(), "0", "2000"] + self.maybe("COPY") + ["REPLACE"],
            lambda: ["MIGRATE", "127.0.0.1", str(self.migrate_port), "", "0", "2000", "REPLACE", "KEYS", self.any(), self.any()],
            lambda: ["DEBUG", "SLEEP", "0"], lambda: ["DEBUG", "OBJECT", self.any()], lambda: ["NO.SUCH", self.any()], lambda: ["XGROUP", "WHAT", "x"],
            lambda: ["FLUSHDB"] if r.random() < .05 else ["ECHO", "x"], lambda: ["FLUSHALL"] if r.random() < .03 else ["PING"],
            lambda: ["SWAPDB", r.choice(["0", "1", "x"]), r.choice(["1", "2"])] if r.random() < .2 else ["TIME"],
            lambda: ["DEBUG", "POPULATE", "3", "pop"] if r.random() < .1 else ["DBSIZE"],
        ])()

    def popping(self):
        r = self.rng
        return r.choice([lambda: ["SPOP", self.key("s")], lambda: ["SPOP", self.key("s"), str(r.randrange(6))],
                         lambda: ["BZPOPMIN", self.key("z"), "0"], lambda: ["BLPOP", self.key("l"), self.key("l"), "0"],
                         lambda: ["BLMOVE", self.key("l"), self.key("l"), self.end(), self.end(), "0"], lambda: ["BRPOPLPUSH", self.key("l"), self.key("l"), "0"],
                         lambda: ["HINCRBYFLOAT", self.key("h"), "f", r.choice(["0.1", "1e-5", "3"])],
                         lambda: ["ZADD", self.key("z"), "INCR", self.float(), self.name()], lambda: ["BRPOP", self.key("l"), "0"],
                         lambda: ["BLMPOP", "0", "1", self.key("l"), self.end()], lambda: ["BZMPOP", "0", "1", self.key("z"), "MIN"], lambda: ["BZPOPMAX", self.key("z"), "0"]])()

    def command(self):
        r = self.rng.random()
        if r < 0.05:
            return self.sort()
        if r < 0.09:
            return self.script()
        if r < 0.35:
            return self.rng.choice([self.list, self.hash, self.set, self.zset])()
        return self.rng.choice([self.string_keys, self.string_keys, self.bits_keys, self.hyper_keys, self.geo, self.geo_keys, self.stream_keys, self.stream_keys, self.stream_keys,
                                self.whole, self.whole, self.popping])()




def warm_up(now_ms, payload, library_dump, migrate_port):
    """Requests of which each has an effect, at least one for every write command."""
    text = """
    SET w0 5|APPEND w0 1|DECR w0|DECRBY w0 3|INCR w0|INCRBY w0 7|INCRBYFLOAT w0 0.1|GETSET w0 x|GETEX w0 EX 9000|GETEX w0 PERSIST
    GETDEL w0|MSET w0 a w1 b|DEL w0 w1|MSETNX w0 a w1 b|PSETEX w0 90000000 v|SETEX w0 90000 v|UNLINK w0|SETNX w0 v|SETRANGE w0 3 abc
    SET w0 v NX GET|SET w0 v XX GET|SET w0 v KEEPTTL|SET w0 v PX 90000000|SET w2 v EX 90000 NX
    SETBIT b0 7 1|BITFIELD b0 SET u8 0 200|BITOP NOT b1 b0|PFADD p0 a b|PFADD p1 c|PFCOUNT p0|PFMERGE p2 p0 p1|PFDEBUG TODENSE p0
    COPY w0 w3|COPY w0 w3 DB 1 REPLACE|EXPIRE w0 90000|PEXPIRE w0 90000000|EXPIREAT w0 {at}|PEXPIREAT w0 {at_ms}|PERSIST w0|EXPIRE w0 90000 NX
    MOVE w3 2|RENAME w0 w3|RENAMENX w3 w0|EXPIRE w1 -1|RPUSH l3 3 1 2|SORT l3 STORE l2|SORT none STORE l2
    HSET h0 a 1|HSET h0 a 2|HDEL h0 a|HINCRBY h0 n 5|HINCRBYFLOAT h0 f 0.1|HMSET h0 a b|HSETNX h0 new v
    DEL l0 l1|RPUSH l0 a b c d e f g h|LPUSH l0 z|LPUSHX l0 y|RPUSHX l0 x|BLMOVE l0 l1 LEFT RIGHT 0|BLMPOP 0 2 none l0 LEFT COUNT 2|BLPOP l0 0|BRPOP l0 0
    BRPOPLPUSH l0 l1 0|LINSERT l0 BEFORE e E|LMOVE l0 l1 RIGHT LEFT|LMPOP 2 none l0 RIGHT|RPUSH l0 q r s t u v|LPOP l0 1|LREM l0 1 q|LSET l0 0 k|RPOP l0
    RPOPLPUSH l0 l1|LTRIM l0 0 1|SADD s0 a b c d e f|SADD s1 a b c|SDIFFSTORE s2 s0 s1|SINTERSTORE s2 s0 s1|SUNIONSTORE s2 s0 s1|SMOVE s0 s1 f|SPOP s0|SPOP s0 2|SREM s1 a
    ZADD z0 1 a 2 b 3 c 4 d 5 e 6 f 7 g 8 h 9 i|ZADD z0 INCR 0.1 b|ZADD z0 55 a|ZADD z0 CH GT 100 c|ZINCRBY z0 0.3 a|BZMPOP 0 2 none z0 MAX COUNT 2|BZPOPMAX z0 0|BZPOPMIN none z0 0
    ZPOPMAX z0|ZPOPMIN z0 1|ZADD z0 1 a 2 b 3 c 4 d 5 e 6 f 7 g 8 h 9 i|ZADD z1 1 a 2 b|ZDIFFSTORE z2 2 z0 z1|ZINTERSTORE z2 2 z0 z1|ZUNIONSTORE z2 2 z0 z1 WEIGHTS 0.1 0.7
    ZMPOP 1 z0 MIN|ZRANGESTORE z2 z0 0 2|ZREM z0 b|ZREMRANGEBYRANK z0 0 0|ZREMRANGEBYSCORE z0 4 4|ZADD z3 0 a 0 b 0 c|ZREMRANGEBYLEX z3 [a [b
    GEOADD g0 13.3 38.1 Palermo 15.0 37.5 Catania|GEOADD g0 13.4 38.2 Palermo|GEORADIUS g0 15 37 200 km STORE g1|GEORADIUSBYMEMBER g0 Catania 500 km STOREDIST g1
    GEOSEARCHSTORE g2 g0 FROMLONLAT 15 37 BYRADIUS 400 km|GEOSEARCHSTORE g2 none FROMLONLAT 15 37 BYRADIUS 400 km
    DEL x0 x1|XADD x0 * f v|XADD x0 MAXLEN = 1 * f v|XADD x0 1 f v|XADD x1 1-1 f v|XADD x1 1-2 f v|XADD x1 1-3 f v|XADD x1 1-4 f v|XADD x1 1-5 f v
    XGROUP CREATE x1 g1 0|XGROUP CREATECONSUMER x1 g1 c9|XREADGROUP GROUP g1 c1 COUNT 3 STREAMS x1 >|XREADGROUP GROUP g1 c1 COUNT 1 NOACK STREAMS x1 >|XDEL x1 1-2
    XCLAIM x1 g1 c2 0 1-1 1-2|XAUTOCLAIM x1 g1 c3 0 0|XACK x1 g1 1-1|XREADGROUP GROUP g1 c3 STREAMS x1 0|XGROUP SETID x1 g1 0|XGROUP DELCONSUMER x1 g1 c3
    XREADGROUP BLOCK 0 GROUP g1 c1 STREAMS x1 >|XGROUP DESTROY x1 g1|XSETID x1 9-9|XTRIM x1 MAXLEN 2|XTRIM x1 MINID = 1-5|XADD x1 MAXLEN ~ 1 * f v
    EVALSHA {sha} 1 w0|MIGRATE 127.0.0.1 {migrate} w2 0 2000 REPLACE|SWAPDB 0 1|SWAPDB 0 1|FLUSHDB|SET w0 x|FLUSHALL|SET w0 y
    """
    text = text.format(at=now_ms // 1000 + 90000, at_ms=now_ms + 90000000, migrate=migrate_port,
                       sha="e0e1f9fabfc9d4800c877a703b823ac0578ff8db")
    requests = [["SCRIPT", "LOAD", "return 1"], ["FUNCTION", "LOAD", LIBRARY % (0, 0)], ["FCALL", "put0", "1", "w1", "v"]]
    requests += [r.split() for line in text.strip().split("\n") for r in line.strip().split("|")]
    big = [x for i in range(300) for x in (f"f{i}", "v")]
    requests += [["XADD", "x3", "*"] + big[:2 + i % 4 * 2] for i in range(250)] + [["XADD", "x3", "MAXLEN", "~", "10", "*", "f", "v"]]
    requests += [["XADD", "x2", "*", "f", "v"] for _ in range(250)] + [["XTRIM", "x2", "MAXLEN", "~", "10"]]
    requests += [["RESTORE", "w1", "90000000", payload, "REPLACE"], ["RESTORE-ASKING", "w2", "0", payload, "REPLACE"],
                 ["EVAL", SCRIPTS[0], "1", "w1", "v"], ["FUNCTION", "DELETE", "lib0"], ["FUNCTION", "RESTORE", library_dump],
                 ["FUNCTION", "FLUSH"], ["SCRIPT", "FLUSH"]]
    return requests

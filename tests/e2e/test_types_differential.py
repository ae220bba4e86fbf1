#!/usr/bin/python3
"""test_types_differential.py [SECONDS] -- lists, hashes, sets, sorted sets, places, streams, bits, HyperLogLogs
and SORT beside redis-server 7.0.15.

The same random commands, with boundary values, go to both servers. Every reply (errors word for word), every
keyspace notification in its order, and at the end every value with its encoding must be equal. Replies without
an order are compared sorted; random ones by their shape. SEED=n repeats a run; the failing commands are printed.
"""
import os, random, socket, subprocess, sys, tempfile, time

from geo_maker import GeoMaker
from resp import encode
from string_maker import StringMaker
from stream_maker import StreamMaker, comparable_stream, stream_state

from ports import free_port

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OURS = os.environ.get("DRAWBRIDGE", os.path.join(os.environ.get("BUILD", os.path.join(ROOT, "build")), "drawbridge"))
THEIRS = os.environ.get("REDIS_SERVER", "redis-server")


class Wire:
    """A connection that speaks RESP, and nothing more."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=120)
        self.file = self.sock.makefile("rb")

    def send(self, *commands):
        self.sock.sendall(b"".join(encode(*command) for command in commands))

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server hung up")
        kind, rest = line[:1], line[1:-2]
        if kind in b"+-:,#(_":
            return (kind, rest)
        size = int(rest)
        if kind in b"$=":
            if size < 0:
                return (b"$", None)
            return (b"$", self.file.read(size + 2)[:-2])
        if size < 0:
            return (b"*", None)
        if kind == b"%":
            return (kind, [(self.read(), self.read()) for _ in range(size)])
        return (kind, [self.read() for _ in range(size)])

    def close(self):
        self.file.close()
        self.sock.close()

    def ask(self, *command):
        self.send(command)
        return self.read()


class Server:
    def __init__(self, command):
        self.port = free_port()
        self.dir = tempfile.mkdtemp(prefix="types-")
        self.log = open(os.path.join(self.dir, "log"), "wb")
        self.process = subprocess.Popen(
            command + ["--port", str(self.port), "--dir", self.dir, "--save", "", "--enable-debug-command", "yes"],
            stdout=self.log, stderr=subprocess.STDOUT)
        for _ in range(3600):
            try:
                self.wire = Wire(self.port)
                break
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
        else:
            raise SystemExit(f"{command} does not listen")
        self.events = Wire(self.port)

    def drain_events(self):
        """All events up to now: a marker published behind them ends the list."""
        self.wire.ask("PUBLISH", "the-end", "x")
        found = []
        while True:
            _, message = self.events.read()
            texts = [m[1] for m in message]
            if texts[-2] == b"the-end":
                return found
            found.append((texts[-2], texts[-1]))

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        subprocess.run(["rm", "-rf", self.dir], check=False)


INTS = ["0", "1", "-1", "2", "-2", "3", "5", "-7", "10", "100", "-100", "2147483647", "2147483648", "-2147483649",
        "4294967296", "9223372036854775807", "-9223372036854775808", "-9223372036854775807", "9223372036854775808",
        "-9223372036854775809", "3.5", "", "abc", " 1", "1 ", "01", "+1", "-0"]
FLOATS = ["0", "1", "-1", "2", "0.1", "0.5", "-0.5", "3.0", "1e3", "1e17", "1e19", "1e300", "-1e300", "1e-9", "-0", "inf",
          "-inf", "+inf", "nan", "4503599627370497", "4611686018427387904", "9007199254740993", "123456789.123456789",
          "0.30000000000000004", "1e400", "", "abc", " 1", "1 ", "0x10", "5"]
NAMES = ["a", "b", "c", "d", "e", "1", "2", "3", "10", "-5", "007", "", "9223372036854775807", "-9223372036854775808",
         "9223372036854775808", b"\xff\x00\r\n", "L" * 64, "M" * 65, "N" * 300, "-0", "1.5", "*", "a*", "[", "aa", "ab"]
PATTERNS = ["*", "a*", "?", "[ab]", "[^a]*", "\\*", "", "*1*", "[a-c]?", "nomatch"]


class Maker:
    """Random commands. Keys are few, so that types collide; one in ten names comes from a wide range, so that
    values become big."""

    def __init__(self, rng):
        self.rng = rng
        self.wide = 50
        self.stream = StreamMaker(self).command
        self.geo = GeoMaker(self).command
        self.string = StringMaker(self).command

    def key(self, kind=""):
        r = self.rng
        if r.random() < 0.06:
            return r.choice(["str", "none", "l0", "h0", "s0", "z0", "x0"])
        return kind + str(r.randrange(4)) if kind else r.choice("lhszxgbp") + str(r.randrange(4))

    def keys(self, kind, most=3):
        return [self.key(kind) for _ in range(self.rng.randint(1, most))]

    def name(self):
        r = self.rng
        if r.random() < 0.4:
            return f"m{r.randrange(self.wide)}"
        if r.random() < 0.3:
            return str(r.randrange(self.wide))
        return r.choice(NAMES)

    def names(self, most=5):
        return [self.name() for _ in range(self.rng.randint(1, most))]

    def int(self):
        r = self.rng
        return r.choice(INTS) if r.random() < 0.4 else str(r.randint(-12, 12))

    def index(self):
        return str(self.rng.randint(-12, 30)) if self.rng.random() < 0.8 else self.int()

    def float(self):
        r = self.rng
        return r.choice(FLOATS) if r.random() < 0.6 else str(r.randint(-20, 20))

    def score(self):
        r = self.rng
        return str(r.randint(0, 30)) if r.random() < 0.7 else self.float()

    def bound(self):
        return ("(" if self.rng.random() < 0.3 else "") + self.float()

    def lex(self):
        r = self.rng
        if r.random() < 0.3:
            return r.choice(["-", "+", "", "x", "(", "[", "-x", "++"])
        name = self.name()
        return r.choice([b"[", b"("]) + (name if isinstance(name, bytes) else name.encode())

    def maybe(self, *words):
        return list(words) if self.rng.random() < 0.4 else []

    def end(self):
        return self.rng.choice(["LEFT", "RIGHT", "left", "right"]) if self.rng.random() < 0.95 else "up"

    def timeout(self):
        return self.rng.choice(["0.01", "0.02", "0.001", "-1", "abc", "nan", "", "-0.5"])

    def count_of(self, keys):
        return str(len(keys)) if self.rng.random() < 0.9 else self.int()

    def list(self):
        r, k = self.rng, self.key("l")
        return r.choice([
            lambda: ["LPUSH", k] + self.names(8), lambda: ["RPUSH", k] + self.names(8),
            lambda: ["RPUSH", k] + self.names(8), lambda: ["LPUSHX", k] + self.names(2),
            lambda: ["RPUSHX", k] + self.names(2), lambda: ["LPOP", k] + self.maybe(self.index()),
            lambda: ["RPOP", k] + self.maybe(self.index()), lambda: ["LLEN", k],
            lambda: ["LINDEX", k, self.index()], lambda: ["LSET", k, self.index(), self.name()],
            lambda: ["LINSERT", k, r.choice(["BEFORE", "AFTER", "after", "x"]), self.name(), self.name()],
            lambda: ["LRANGE", k, self.index(), self.index()], lambda: ["LRANGE", k, "0", "-1"],
            lambda: ["LTRIM", k, str(r.randint(-40, 4)), str(r.randint(-4, 40))], lambda: ["LTRIM", k, self.int(), self.int()],
            lambda: ["LREM", k, self.index(), self.name()],
            lambda: ["LPOS", k, self.name()] + self.maybe("RANK", str(r.randint(-3, 3))) + self.maybe("COUNT", self.index())
            + self.maybe("MAXLEN", self.index()),
            lambda: ["LMOVE", k, self.key("l"), self.end(), self.end()], lambda: ["RPOPLPUSH", k, self.key("l")],
            lambda: (lambda ks: ["LMPOP", self.count_of(ks)] + ks + [self.end()] + self.maybe("COUNT", self.index()))(self.keys("l")),
            lambda: (lambda ks: ["BLMPOP", self.timeout(), self.count_of(ks)] + ks + [self.end()] + self.maybe("COUNT", self.index()))(self.keys("l")),
            lambda: ["BLPOP"] + self.keys("l") + [self.timeout()], lambda: ["BRPOP"] + self.keys("l") + [self.timeout()],
            lambda: ["BLMOVE", k, self.key("l"), self.end(), self.end(), self.timeout()],
            lambda: ["BRPOPLPUSH", k, self.key("l"), self.timeout()],
            lambda: ["RPUSH", k] + [str(self.name()) * r.choice([1, 1, 50]) for _ in range(r.randint(20, 60))],
        ])()

    def hash(self):
        r, k = self.rng, self.key("h")
        pairs = lambda most: [x for _ in range(r.randint(1, most)) for x in (self.name(), self.name())]
        return r.choice([
            lambda: ["HSET", k] + pairs(5), lambda: ["HSET", k] + pairs(5) + self.maybe("odd"), lambda: ["HMSET", k] + pairs(4),
            lambda: ["HSETNX", k, self.name(), self.name()], lambda: ["HINCRBY", k, self.name(), self.int()],
            lambda: ["HSET", k, "n", self.int()], lambda: ["HINCRBY", k, "n", self.int()],
            lambda: ["HINCRBYFLOAT", k, "f", self.float()], lambda: ["HSET", k, "f", self.float()],
            lambda: ["HINCRBYFLOAT", k, self.name(), self.float()], lambda: ["HGET", k, self.name()],
            lambda: ["HMGET", k] + self.names(), lambda: ["HDEL", k] + self.names(6), lambda: ["HLEN", k],
            lambda: ["HSTRLEN", k, self.name()], lambda: ["HEXISTS", k, self.name()], lambda: ["HGETALL", k],
            lambda: ["HKEYS", k], lambda: ["HVALS", k], lambda: ["HRANDFIELD", k],
            lambda: ["HRANDFIELD", k, str(r.randint(-20, 40))] + self.maybe("WITHVALUES") + (self.maybe("x") if r.random() < .1 else []),
            lambda: ["HRANDFIELD", k, r.choice(["", "a", "1.5", "9223372036854775808", "-9223372036854775808"])] + self.maybe("WITHVALUES"),
            lambda: ["HSCAN", k, r.choice(["0", "0", "abc"])] + self.maybe("MATCH", r.choice(PATTERNS)) + self.maybe("COUNT", r.choice(["1000", "0", "x", "-1"])),
            lambda: ["HSET", k] + [x for i in range(r.randint(20, 200)) for x in (f"m{r.randrange(self.wide * 4)}", i)],
        ])()

    def set(self):
        r, k = self.rng, self.key("s")
        return r.choice([
            lambda: ["SADD", k] + self.names(8), lambda: ["SADD", k] + [r.randint(-9, 99) for _ in range(8)],
            lambda: ["SREM", k] + self.names(6), lambda: ["SMOVE", k, self.key("s"), self.name()],
            lambda: ["SISMEMBER", k, self.name()], lambda: ["SMISMEMBER", k] + self.names(), lambda: ["SCARD", k],
            lambda: ["SMEMBERS", k], lambda: ["SPOP", k, r.choice(["100000", "9223372036854775807", "0", "-1", "x", ""])],
            lambda: ["SPOP", k, "1", "2"], lambda: ["SRANDMEMBER", k], lambda: ["SRANDMEMBER", k, str(r.randint(-20, 40))],
            lambda: ["SRANDMEMBER", k, r.choice(["", "a", "1.5", "9223372036854775808", "-9223372036854775808"])],
            lambda: [r.choice(["SINTER", "SUNION", "SDIFF"])] + self.keys("s", 4),
            lambda: [r.choice(["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"]), self.key("s")] + self.keys("s", 4),
            lambda: (lambda ks: ["SINTERCARD", self.count_of(ks)] + ks + self.maybe("LIMIT", self.int()))(self.keys("s")),
            lambda: ["SSCAN", k, r.choice(["0", "0", "abc"])] + self.maybe("MATCH", r.choice(PATTERNS)) + self.maybe("COUNT", "10000"),
            lambda: ["SADD", k] + [r.choice([f"m{i}", i]) for i in range(r.randint(50, 200))],
            lambda: ["SADD", k] + list(range(r.randint(0, 600), 700)),
        ])()

    def zset(self):
        r, k = self.rng, self.key("z")
        scored = lambda most: [x for _ in range(r.randint(1, most)) for x in (self.score(), self.name())]
        options = lambda: [w for w in ["NX", "XX", "GT", "LT", "CH", "INCR"] if r.random() < 0.15]
        limit = lambda: self.maybe("LIMIT", str(r.randint(-2, 8)), str(r.randint(-2, 12))) if r.random() < .8 else ["LIMIT", self.int(), self.int()]
        extra = lambda n: (["WEIGHTS"] + [self.float() if r.random() < .3 else str(r.randint(-3, 3)) for _ in range(n)] if r.random() < 0.3 else []) \
            + self.maybe("AGGREGATE", r.choice(["SUM", "MIN", "MAX", "x"])) + (self.maybe("WITHSCORES") if r.random() < 0.7 else [])
        any_keys = lambda: [self.key(r.choice(["z", "z", "s"])) for _ in range(r.randint(1, 3))]
        return r.choice([
            lambda: ["ZADD", k] + scored(6), lambda: ["ZADD", k] + options() + scored(3), lambda: ["ZADD", k] + options() + scored(1),
            lambda: ["ZINCRBY", k, self.float(), self.name()], lambda: ["ZREM", k] + self.names(6), lambda: ["ZCARD", k],
            lambda: ["ZSCORE", k, self.name()], lambda: ["ZMSCORE", k] + self.names(),
            lambda: [r.choice(["ZRANK", "ZREVRANK"]), k, self.name()],
            lambda: ["ZCOUNT", k, self.bound(), self.bound()],
            lambda: ["ZRANGE", k, self.index(), self.index()] + self.maybe("WITHSCORES") + self.maybe("REV"),
            lambda: ["ZRANGE", k, self.bound(), self.bound(), "BYSCORE"] + self.maybe("REV") + limit() + self.maybe("WITHSCORES"),
            lambda: ["ZRANGE", "zlex", self.lex(), self.lex(), "BYLEX"] + self.maybe("REV") + limit() + (["WITHSCORES"] if r.random() < .1 else []),
            lambda: ["ZREVRANGE", k, self.index(), self.index()] + self.maybe("WITHSCORES"),
            lambda: [r.choice(["ZRANGEBYSCORE", "ZREVRANGEBYSCORE"]), k, self.bound(), self.bound()] + self.maybe("WITHSCORES") + limit(),
            lambda: [r.choice(["ZRANGEBYLEX", "ZREVRANGEBYLEX"]), "zlex", self.lex(), self.lex()] + limit(),
            lambda: ["ZLEXCOUNT", "zlex", self.lex(), self.lex()],
            lambda: ["ZADD", "zlex"] + [x for _ in range(r.randint(1, 9)) for x in ("0", self.name())],
            lambda: ["ZREMRANGEBYLEX", "zlex", self.lex(), self.lex()],
            lambda: ["ZREMRANGEBYRANK", k, self.index(), str(r.randint(-9, 9))], lambda: ["ZREMRANGEBYSCORE", k, self.bound(), self.score()],
            lambda: ["ZRANGESTORE", self.key("z"), k, self.index(), self.index()] + self.maybe("REV"),
            lambda: ["ZRANGESTORE", self.key("z"), k, self.bound(), self.bound(), "BYSCORE"] + self.maybe("REV") + limit(),
            lambda: [r.choice(["ZPOPMIN", "ZPOPMAX"]), k] + self.maybe(self.index()),
            lambda: (lambda ks: ["ZMPOP", self.count_of(ks)] + ks + [r.choice(["MIN", "MAX", "x"])] + self.maybe("COUNT", self.index()))(self.keys("z")),
            lambda: (lambda ks: ["BZMPOP", self.timeout(), self.count_of(ks)] + ks + [r.choice(["MIN", "MAX"])] + self.maybe("COUNT", self.index()))(self.keys("z")),
            lambda: [r.choice(["BZPOPMIN", "BZPOPMAX"])] + self.keys("z") + [self.timeout()],
            lambda: (lambda ks: [r.choice(["ZUNION", "ZINTER", "ZDIFF"]), self.count_of(ks)] + ks + extra(len(ks)))(any_keys()),
            lambda: (lambda ks: [r.choice(["ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE"]), self.key("z"), self.count_of(ks)] + ks + extra(len(ks)))(any_keys()),
            lambda: (lambda ks: ["ZINTERCARD", self.count_of(ks)] + ks + self.maybe("LIMIT", self.int()))(any_keys()),
            lambda: ["ZRANDMEMBER", k], lambda: ["ZRANDMEMBER", k, str(r.randint(-20, 40))] + self.maybe("WITHSCORES"),
            lambda: ["ZSCAN", k, r.choice(["0", "0", "abc"])] + self.maybe("MATCH", r.choice(PATTERNS)) + self.maybe("COUNT", "10000"),
            lambda: ["ZADD", k] + [x for i in range(r.randint(20, 150)) for x in (r.randint(0, 40), f"m{r.randrange(self.wide * 4)}")],
        ])()

    def sort(self):
        r = self.rng
        words = [r.choice(["SORT", "SORT", "SORT_RO"]), self.key(r.choice(["l", "s", "z", "h"]))]
        words += self.maybe(r.choice(["ALPHA", "ALPHA", "DESC", "ASC", "x"])) + self.maybe("LIMIT", self.index(), self.index())
        if r.random() < 0.3 and "ALPHA" not in words: # equal weights would leave the order open
            words += ["BY", r.choice(["h*->n", "w*", "*", "h*->"])]
        if r.random() < 0.3:
            words += ["GET", r.choice(["#", "w*", "h*->f", "h*", "str", "*->"])]
        return words + (["STORE", self.key("l")] if r.random() < 0.3 and "ALPHA" in words else [])

    def other(self):
        r = self.rng
        return r.choice([
            lambda: ["DEL", self.key()], lambda: ["TYPE", self.key()], lambda: ["SET", "w" + str(r.randrange(9)), r.randrange(9)],
            lambda: ["OBJECT", "ENCODING", self.key(r.choice(["l", "h", "s"]))], lambda: ["SET", "str", "x"],
            lambda: ["RENAME", self.key(), self.key()], lambda: ["COPY", self.key(), self.key()] + self.maybe("REPLACE"),
            lambda: ["MULTI"], lambda: ["EXEC"], lambda: ["PERSIST", self.key()], lambda: ["EXPIRE", self.key(), "100000"],
            lambda: ["EXISTS"] + [self.key() for _ in range(3)], lambda: ["LPUSH", self.key()], lambda: ["ZADD"], lambda: ["HGET", self.key()],
        ])()

    def command(self):
        r = self.rng.random()
        if r < 0.06:
            return self.other()
        if r < 0.12:
            return self.sort()
        return self.rng.choice([self.list, self.hash, self.set, self.zset, self.stream, self.geo, self.string])()


UNORDERED = {"SMEMBERS", "SUNION", "SINTER", "SDIFF", "HKEYS", "HVALS", "SPOP"}
RANDOM = {"SRANDMEMBER", "HRANDFIELD", "ZRANDMEMBER"}

# SORT of Redis 7.0 says so of good numbers too, when an earlier overflow somewhere else has left its errno behind.
STALE_ERRNO = (b"-", b"ERR One or more scores can't be converted into double")


def shape(reply):
    """The kinds in it, but not the texts."""
    kind, rest = reply
    return (kind, [shape(x) for x in rest]) if isinstance(rest, list) else kind if kind != b"-" else reply


def unsigned_zero(reply):
    """A small sorted set of Redis forgets the sign of -0, a big one does not; and SORT changes which it is there."""
    kind, rest = reply
    if kind == b"%":
        return (kind, [(unsigned_zero(k), unsigned_zero(v)) for k, v in rest])
    return (kind, [unsigned_zero(x) for x in rest] if isinstance(rest, list) else b"0" if rest == b"-0" else rest)


def comparable(command, reply, resp):
    name = str(command[0]).upper()
    kind, rest = reply
    if name[0] == "X":
        return comparable_stream(name, reply)
    if name == "OBJECT": # SORT makes a small sorted set big in Redis, and leaves it alone here
        return (kind, b"listpack" if rest == b"skiplist" else rest)
    if kind == b"-" or not isinstance(rest, list):
        return shape(reply) if name in RANDOM else reply
    if name in RANDOM:
        return shape(reply)
    if name in UNORDERED:
        return (kind, sorted(rest, key=repr))
    if name == "HGETALL":
        return (kind, sorted(rest if kind == b"%" else zip(rest[::2], rest[1::2]), key=repr))
    if name in ("HSCAN", "ZSCAN", "SSCAN"):
        if "1000" not in command and "10000" not in command:
            return kind # how much comes at once is each server's own
        items = rest[1][1]
        if name == "ZSCAN": # the text of a score depends on the encoding; see OBJECT
            return (kind, sorted((m[1], float(s[1])) for m, s in zip(items[::2], items[1::2])))
        return (kind, rest[0], sorted(items if name == "SSCAN" else zip(items[::2], items[1::2]), key=repr))
    return reply


def in_multi(names, replies, resp):
    """EXEC: compare each reply as its own command."""
    kind, rest = replies
    if not isinstance(rest, list):
        return replies
    return (kind, [comparable(c, r, resp) for c, r in zip(names, rest) if not c[0].startswith("SORT") or "ALPHA" in c])


def state(wire, encodings, exact_streams=True):
    found = {}
    wire.send(["SELECT", "0"], ["KEYS", "*"])
    wire.read()
    for _, key in sorted(wire.read()[1]):
        kind = wire.ask("TYPE", key)[1].decode()
        if kind == "stream":
            found[key] = (kind, None, stream_state(wire, key, exact_streams), wire.ask("TTL", key)[1] != b"-1")
            continue
        read = {"string": ["GET", key], "list": ["LRANGE", key, 0, -1], "hash": ["HGETALL", key],
                "set": ["SMEMBERS", key], "zset": ["ZRANGE", key, 0, -1, "WITHSCORES"]}[kind]
        value = wire.ask(*read)
        value = comparable(read, value if encodings else unsigned_zero(value), 2)
        encoding = wire.ask("OBJECT", "ENCODING", key) if encodings or kind != "zset" else None
        if key[:1] == b"q": # PFCOUNT of Redis makes an embstr raw, ours is no write if nothing is to be cached
            encoding = None
        found[key] = (kind, encoding, value, wire.ask("TTL", key)[1] != b"-1")
    return found


def fail(ours, theirs, history, what):
    print("\n".join(line[:600] for line in what.split("\n")))
    print("last commands:")
    for command in history[-12:]:
        print("   ", str(command)[:300])
    raise SystemExit(1)


def run(seed, ours, theirs, count, resp, with_sort):
    rng = random.Random(seed)
    maker = Maker(rng)
    pair = (ours, theirs)
    for server in pair:
        server.wire = Wire(server.port)
        events = "KEA" if with_sort else "KEAmn" # SORT BY looks keys up in the order inside a set
        # Packed strings differ: what finds other repetitions is as good a packer.
        for command in (["HELLO", str(resp)], ["CONFIG", "SET", "notify-keyspace-events", events, "rdbcompression", "no"], ["FLUSHALL"],
                        ["SET", "str", "x"]):
            server.wire.ask(*command)
        server.drain_events()
    history, queued = [], None
    for _ in range(count // 50):
        maker.wide = rng.choice([10, 50, 300])
        batch = [maker.command() for _ in range(50)]
        batch = [c for c in batch if with_sort or not str(c[0]).startswith("SORT")]
        for server in pair:
            server.wire.send(*batch)
        for command in batch:
            history.append(command)
            try:
                replies = [unsigned_zero(server.wire.read()) if with_sort else server.wire.read() for server in pair]
            except (ConnectionError, OSError) as error:
                fail(ours, theirs, history, f"seed {seed}: {error}; our server's exit code: {ours.process.poll()}")
            name = command[0]
            if name == "MULTI" and queued is None and replies[1][0] == b"+":
                queued = []
            elif queued is not None and name == "EXEC":
                replies = [in_multi(queued, reply, resp) for reply in replies]
                queued = None
            elif queued is not None and replies[1] == (b"+", b"QUEUED"):
                queued.append(command)
            if str(name).startswith("SORT") and replies[1] == STALE_ERRNO:
                continue
            if comparable(command, replies[0], resp) != comparable(command, replies[1], resp):
                fail(ours, theirs, history, f"seed {seed}, RESP{resp}: {command}\n  ours:   {replies[0]}\n  redis:  {replies[1]}")
        if queued is None:
            events = [server.drain_events() for server in pair]
            if events[0] != events[1]:
                at = next((i for i, (a, b) in enumerate(zip(*events)) if a != b), min(map(len, events)))
                fail(ours, theirs, batch, f"seed {seed}: events differ from number {at}:\n  ours:  {events[0][at:at + 4]}\n  redis: {events[1][at:at + 4]}")
    if queued is not None:
        for server in pair:
            server.wire.ask("DISCARD")
            server.drain_events()
    states = [state(server.wire if resp == 2 else Wire(server.port), not with_sort) for server in pair]
    for key in sorted(set(states[0]) | set(states[1])):
        if states[0].get(key) != states[1].get(key):
            fail(ours, theirs, history, f"seed {seed}: {key} differs at the end:\n  ours:  {states[0].get(key)}\n  redis: {states[1].get(key)}")
    return len(history)


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 0
    seed = int(os.environ.get("SEED") or (random.randrange(1 << 32) if seconds else 20261121))  # `make test`: the same every time
    print(f"seed {seed} (repeat with SEED={seed})")
    ours, theirs = Server([OURS, "server"]), Server([THEIRS])
    try:
        for server in (ours, theirs):
            server.events.ask("PSUBSCRIBE", "__key*")
            server.events.ask("SUBSCRIBE", "the-end")
        deadline, total = time.time() + seconds, 0
        while True:
            for resp, with_sort in ((2, False), (3, True)):
                total += run(seed, ours, theirs, 4000, resp, with_sort)
                seed += 1
            if time.time() >= deadline:
                break
        print(f"{total} commands, no difference")
    finally:
        ours.stop()
        theirs.stop()


if __name__ == "__main__":
    main()

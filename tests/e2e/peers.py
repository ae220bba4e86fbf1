"""peers.py -- servers of other versions, for tests that want them: binaries redis-server-X.Y.Z and valkey-server-X.Y.Z in
the folder that PEERS names. What they cannot be told (options, commands) is left out; what they cannot say is found otherwise.

    for peer in peers():            every binary there is, the oldest first
        server = peer(folder, "name")
    walk(port)                      as walk.py's, of any version since 2.8: {(db, key): (type, value, (earliest, latest expiry))}
"""
import os
import re
import time

import redis
from servers import Load, Server

WANTED = ("2.8", "3.2", "4.0", "5.0", "6.2", "7.0", "7.2", "valkey 8.0")


class Peer(Server):
    path, version, valkey = "", (0, 0, 0), False

    @property
    def program(self):
        return (self.path,)

    def command(self):
        options = ["--port", str(self.port), "--dir", self.dir, "--save", "", "--appendonly", "no"]
        if self.version >= (7, 0, 0):
            options += ["--enable-debug-command", "yes"]
        if self.version >= (2, 8, 18):
            options += ["--repl-diskless-sync-delay", "0"]
        return (*self.program, *options, *self.options)

    def info(self, section):
        return self.client().info(section)


def name_of(path):
    return os.path.basename(path).replace("redis-server-", "redis ").replace("valkey-server-", "valkey ")


def peers(*only):
    """Classes, the oldest first; ONLY: words of which one must be in the name."""
    folder, found = os.environ.get("PEERS", ""), []
    for file in os.listdir(folder) if folder else ():
        match = re.fullmatch(r"(redis|valkey)-server-(\d+)\.(\d+)\.(\d+)", file)
        if match:
            path, numbers = os.path.join(folder, file), tuple(int(n) for n in match.groups()[1:])
            found.append(type("Peer", (Peer,), {"path": path, "version": numbers, "valkey": match[1] == "valkey", "name": name_of(path)}))
    if folder and os.path.exists("/usr/bin/redis-server"):
        found.append(type("Peer", (Peer,), {"path": "/usr/bin/redis-server", "version": (7, 0, 15), "valkey": False, "name": "redis 7.0.15"}))
    found.sort(key=lambda p: (p.valkey, p.version))
    return [p for p in found if not only or any(w in p.name for w in only)]


def absent():
    names = [p.name for p in peers()]
    return [w for w in WANTED if not any(n.startswith(("redis " + w, w)) for n in names)]


# ---- a walk of any version

def version_of(r):
    info = r.info("server")
    return tuple(int(n) for n in info["redis_version"].split("."))


def pairs(flat):
    return {flat[i]: flat[i + 1] for i in range(0, len(flat), 2)}


def raw(r, *words):
    r.response_callbacks.pop(words[0], None)
    return r.execute_command(*words)


def read_stream(r, key):
    """What every version since 5.0 tells."""
    info = pairs(raw(r, "XINFO", "STREAM", key))
    groups = []
    for group in raw(r, "XINFO", "GROUPS", key):
        group = pairs(group)
        name = group[b"name"]
        pending = sorted((p[0], p[1]) for p in raw(r, "XPENDING", key, name, "-", "+", 100000))
        groups.append((name, group[b"last-delivered-id"], pending))
    return info[b"length"], info[b"last-generated-id"], raw(r, "XRANGE", key, "-", "+"), sorted(groups)


def registers(value):
    """Of a HyperLogLog; versions keep the same ones as a sparse or a dense string. None: it is none."""
    if value[:4] != b"HYLL" or len(value) < 16 or value[4] > 1:
        return None
    if value[4] == 0:
        bits = int.from_bytes(value[16:], "little")
        return bytes(bits >> 6 * i & 63 for i in range(16384)) if len(value) == 16 + 12288 else None
    out, at = bytearray(), 16
    while at < len(value):
        code = value[at]
        if code & 0xC0 == 0x40:
            if at + 1 == len(value):
                return None
            out += bytes(((code & 63) << 8 | value[at + 1]) + 1)
            at += 1
        else:
            out += bytes([(code >> 2 & 31) + 1] * ((code & 3) + 1)) if code & 0x80 else bytes((code & 63) + 1)
        at += 1
    return bytes(out) if len(out) == 16384 else None


def read_value(r, kind, key):
    if kind == b"string":
        value = r.get(key)
        return registers(value) or value if value else value
    if kind == b"list":
        return r.lrange(key, 0, -1)
    if kind == b"set":
        return sorted(r.smembers(key))
    if kind == b"hash":
        return sorted(r.hgetall(key).items())
    if kind == b"zset":
        flat = raw(r, "ZRANGE", key, 0, -1, "WITHSCORES")
        return [(flat[i], repr(float(flat[i + 1]))) for i in range(0, len(flat), 2)]
    if kind == b"stream":
        return read_stream(r, key)
    raise ValueError(f"{key!r}: what is a {kind!r}?")


def read_deadlines(r, keys, exact):
    """(earliest, latest) for each key in milliseconds, or None; below 7.0 what PTTL was between two looks at the clock."""
    with r.pipeline(transaction=True) as p:
        p.time()
        for key in keys:
            p.execute_command("PEXPIRETIME" if exact else "PTTL", key)
        p.time()
        (began, micro_began), *answers, (ended, micro_ended) = p.execute()
    began, ended = (0, 0) if exact else (began * 1000 + micro_began // 1000 - 1, ended * 1000 + micro_ended // 1000 + 2)
    return [(began + left, ended + left) if left >= 0 else None for left in answers]


def walk(port, databases=16, password=None):
    everything = {}
    for db in range(databases):
        with redis.Redis(port=port, db=db, socket_timeout=60, password=password) as r:
            exact = version_of(r) >= (7, 0, 0)
            keys = [k for k in r.scan_iter(count=1000) if not k.startswith(b"drawbridge:")]
            for first in range(0, len(keys), 50):
                part = keys[first:first + 50]
                for key, deadline in zip(part, read_deadlines(r, part, exact)):
                    kind = r.type(key)
                    try:
                        value = read_value(r, kind, key) if kind != b"none" else None
                    except redis.ResponseError as error:
                        if "no such key" not in str(error):
                            raise
                        continue
                    if kind != b"none" and r.exists(key):
                        everything[(db, key)] = (kind, value, deadline)
    return everything


def differences(a, b, tolerance_ms=0, most=10):
    """Sentences. Deadlines may be TOLERANCE_MS apart: what Redis before 7.0 sends to its replicas are spans of time."""
    found, now = [], time.time() * 1000
    for name in sorted(set(a) | set(b)):
        x, y = a.get(name), b.get(name)
        deadline = (x or y)[2]
        if deadline and deadline[0] < now + tolerance_ms + 50:
            continue  # its time came between the two walks, or may have
        if x and y and x[:2] == y[:2]:
            if x[2] is None and y[2] is None:
                continue
            if x[2] and y[2] and x[2][0] - tolerance_ms <= y[2][1] and y[2][0] - tolerance_ms <= x[2][1]:
                continue
            found.append(f"db {name[0]} key {name[1]!r}: deadline {x[2]} | {y[2]}")
        else:
            found.append(f"db {name[0]} key {name[1]!r}: {str(x)[:300]} | {str(y)[:300]}")
        if len(found) >= most:
            break
    return found


# ---- a load that a version can execute

SINCE = {  # words of a command, or of an option
    "LMOVE": (6, 2), "COPY": (6, 2), "GETDEL": (6, 2), "GEOSEARCHSTORE": (6, 2), "XAUTOCLAIM": (6, 2), "CREATECONSUMER": (6, 2), "MINID": (6, 2),
    "KEEPTTL": (6, 0), "ZPOPMIN": (5, 0), "ZPOPMAX": (5, 0), "UNLINK": (4, 0), "SWAPDB": (4, 0), "BITFIELD": (3, 2), "GEOADD": (3, 2), "HSETNX": (2, 0), "PXAT": (6, 2),
    "FUNCTION": (7, 0), "NOMKSTREAM": (6, 2), "LIMIT": (6, 2), "ENTRIESADDED": (7, 0), "ENTRIESREAD": (7, 0), "GET": (6, 2), "LT": (6, 2), "BLMOVE": (6, 2),
    "SMISMEMBER": (6, 2), "CH": (3, 2), "INCR": (0,), "GETEX": (6, 2), "ZRANGESTORE": (6, 2), "ZDIFFSTORE": (6, 2), "GT": (6, 2), "NX7": (7, 0), "LMPOP": (7, 0), "ZMPOP": (7, 0), "SPUBLISH": (7, 0)}


def survives(version, words):
    """Whether a server of VERSION answers WORDS, and keeps what may be kept: not where old ones are broken."""
    if version >= (7, 0, 0):
        return True
    texts = [w.decode(errors="replace") if isinstance(w, bytes) else str(w) for w in words]
    if texts[0].upper().endswith("RANDMEMBER") or texts[0].upper() == "HRANDFIELD":  # a count below 0 is how much it answers, or until memory is full
        return not any(w.startswith("-") and len(w) > 5 for w in texts[2:])
    if version < (5, 0, 0) and texts[0].upper() in ("RENAME", "RENAMENX", "RESTORE", "RESTORE-ASKING"):
        return False  # a HyperLogLog to which APPEND adds is no error there
    if texts[0].upper() == "HINCRBYFLOAT":  # leaves a hash without fields when it fails
        return texts[3:] and texts[3].lower().lstrip("+-") not in ("inf", "nan", "infinity")
    return not any(w[:4] in ("9223", "-922") and len(w) > 15 for w in texts)  # times beyond 63 bits


class PeerLoad(Load):
    """Load, with what MADE_FOR (a version) does not know left out; streams from STREAMS on. MORE: also what is new in 7.0."""

    def __init__(self, server, seed, made_for=(7, 0, 0), streams=True, more=False, **options):
        super().__init__(server, seed, **options)
        self.made_for, self.streams, self.more = made_for, streams and made_for >= (5, 0), more
        self.swaps = made_for >= (4, 0)

    def run(self):
        class Raw:  # answers as they come
            def __init__(self, server):
                self.server = server

            def client(self, db):
                client = self.server.client(db)
                client.response_callbacks.clear()
                return client
        self.server = Raw(self.server)
        super().run()

    def knows(self, words):
        v = self.made_for
        if any(SINCE.get(word, (0,)) > v for word in words if isinstance(word, str)):
            return False
        name = words[0]
        if v < (7, 0) and (name == "EVAL" and self.more and "redis.call('COPY'" in words[1] or name == "EVAL" and "SPOP" in words[1]):
            return False
        if v < (7, 0) and name in ("EXPIRE", "PEXPIRE", "PEXPIREAT") and len(words) > 3:
            return False
        if v < (6, 2) and name == "GEOADD" and len(words) > 5 or v < (3, 2) and (name == "RESTORE" or name == "ZADD" and len(words) > 4):
            return False
        if name == "HSET" and len(words) > 4 and v < (4, 0):
            return False
        if name in ("SPOP", "LPOP", "RPOP") and len(words) > 2 and v < ((3, 2) if name == "SPOP" else (6, 2)):
            return False
        return self.streams or name[0] != "X"

    def modern(self):
        """Commands and options of 6.0 to 7.0."""
        r, w, n = self.random, self.word, self.keys
        key = lambda kind: f"{kind}{r.randrange(n)}"
        now = int(time.time() * 1000)
        return r.choice((
            ("SET", key("s"), w(), "PXAT", now + r.randrange(1, 5000)), ("SET", key("s"), w(), "EX", 100, "GET"), ("SET", key("s"), w(), "KEEPTTL"),
            ("SETEX", key("s"), 100, w()), ("GETEX", key("s"), "PX", r.randrange(1, 5000)), ("GETEX", key("s"), "PERSIST"), ("GETEX", key("s"), "EX", 200),
            ("EXPIRE", key("s"), 100, "NX"), ("PEXPIRE", key("h"), 100000, "GT"), ("PEXPIREAT", key("z"), now + 50000, "LT"), ("EXPIRE", key("l"), 50, "XX"),
            ("LMOVE", key("l"), key("l"), r.choice(("LEFT", "RIGHT")), r.choice(("LEFT", "RIGHT"))), ("BLMOVE", key("l"), key("l"), "LEFT", "LEFT", "0.01"),
            ("RPOPLPUSH", key("l"), key("l")), ("LPOP", key("l"), r.randrange(1, 4)), ("RPOP", key("l"), r.randrange(1, 4)),
            ("LMPOP", 2, key("l"), key("l"), r.choice(("LEFT", "RIGHT")), "COUNT", r.randrange(1, 4)),
            ("ZMPOP", 2, key("z"), key("z"), r.choice(("MIN", "MAX")), "COUNT", r.randrange(1, 4)), ("ZPOPMAX", key("z"), 2), ("ZPOPMIN", key("z")),
            ("ZRANGESTORE", key("z"), key("z"), 0, r.randrange(0, 20)), ("ZDIFFSTORE", key("z"), 2, key("z"), key("z")),
            ("ZINTERSTORE", key("z"), 2, key("z"), key("z"), "WEIGHTS", 2, 3), ("ZADD", key("z"), "GT", r.random(), "w1"), ("ZADD", key("z"), "LT", "CH", 3, "w2"),
            ("ZADD", key("z"), "INCR", "0.5", "w3"), ("ZADD", key("z"), "GT", "INCR", "-1", "w3"), ("COPY", key("s"), key("s"), "DB", r.randrange(self.databases), "REPLACE"),
            ("COPY", key("z"), key("z"), "REPLACE"), ("COPY", key("e"), key("e"), "REPLACE"), ("COPY", key("l"), key("l")), ("COPY", key("h"), key("h"), "REPLACE"),
            ("GEOADD", key("g"), "CH", 1, 2, w()), ("GEOADD", key("g"), "XX", 3, 4, "w1"),
            ("GEOSEARCHSTORE", key("z"), key("g"), "FROMLONLAT", 0, 0, "BYBOX", 9000, 9000, "km", "STOREDIST"), ("SPUBLISH", "channel", w()), ("PUBLISH", "channel", w()),
            ("HSET", key("h"), "a", w(), "b", w(), "c", w()), ("HINCRBYFLOAT", key("h"), "q", "0.1"), ("INCRBYFLOAT", f"f{r.randrange(20)}", "0.7"), ("PEXPIRE", f"f{r.randrange(20)}", 20000),
            ("GETDEL", key("s")), ("SMISMEMBER", key("e"), "a"), ("SINTERSTORE", key("e"), key("e"), key("e")), ("SORT", key("e"), "ALPHA", "STORE", key("l")),
            ("FUNCTION", "LOAD", "REPLACE", f"#!lua name=lib{r.randrange(3)}\nredis.register_function('f{r.randrange(9)}', function(k, a) return redis.call('SET', k[1], a[1]) end)"),
            ("EVAL", "redis.call('SET', KEYS[1], ARGV[1], 'PX', 9000) redis.call('LPOP', KEYS[2], 2) return redis.call('COPY', KEYS[1], KEYS[3], 'REPLACE')", 3, key("s"), key("l"), key("s"), w()),
            ("EVAL", "redis.call('INCRBYFLOAT', KEYS[1], 0.3) return redis.call('SPOP', KEYS[2], 2)", 2, f"f{r.randrange(20)}", key("e")),
            ("MOVE", key("s"), r.randrange(self.databases)), ("RENAMENX", key("h"), key("h")), ("UNLINK", key("s"), key("z")), ("MSETNX", key("s"), w(), key("s"), w()),
            ("DUMPED", key("z"), key("z")), ("DUMPED", key("h"), key("h")), ("DUMPED", key("l"), key("l")), ("DUMPED", key("e"), key("e")), ("DUMPED", key("s"), key("s")))
            + ((("XADD", key("x"), "NOMKSTREAM", "*", "a", w()), ("XADD", key("x"), "MAXLEN", "~", 10, "LIMIT", 5, "*", "a", w()),
                ("XTRIM", key("x"), "MAXLEN", "~", 5, "LIMIT", 10), ("XTRIM", key("x"), "MINID", "~", 10), ("XSETID", key("x"), "9999999999999-0", "ENTRIESADDED", 10, "MAXDELETEDID", "0-1"),
                ("XGROUP", "CREATE", key("x"), "g3", "$", "MKSTREAM", "ENTRIESREAD", 3), ("XGROUP", "SETID", key("x"), "g3", "0", "ENTRIESREAD", 0),
                ("XREADGROUP", "GROUP", "g1", "a", "COUNT", 2, "STREAMS", key("x"), ">"), ("XAUTOCLAIM", key("x"), "g1", "b", 0, "-", "COUNT", 2, "JUSTID"),
                ("XGROUP", "CREATECONSUMER", key("x"), "g1", "d"), ("DUMPED", key("x"), key("x")), ("COPY", key("x"), key("x"), "REPLACE")) if self.streams else ()))

    def one(self):
        while True:
            words = self.modern() if self.more and self.random.random() < 0.3 else super().one()
            if words[0] == "DUMPED":
                payload = self.server.client(0).execute_command("DUMP", words[1])
                words = ("RESTORE", words[2], self.random.choice((0, 5000)), payload, "REPLACE") if payload else ("PING",)
            if self.knows(words):
                if self.made_for < (7, 0) and words[0] == "XADD":
                    words = tuple(f"{self.entry}-{self.random.randrange(1, 9)}" if isinstance(w, str) and w.endswith("-*") else w for w in words)
                return words

    def some(self, clients):
        r = self.random
        db = r.randrange(self.databases)
        pipeline = clients[db].pipeline(transaction=r.random() < 0.3)
        for _ in range(r.randrange(1, 12)):
            pipeline.execute_command(*self.one())
        self.commands += len(pipeline.command_stack)
        try:
            answers = pipeline.execute(raise_on_error=False)
        except redis.ResponseError as error:
            if "EXECABORT" not in str(error) and "OOM" not in str(error):
                raise
            return
        for answer in answers:
            if isinstance(answer, Exception) and not str(answer).lower().startswith((
                    "wrongtype", "no such key", "index out", "hash value", "value is not", "resulting", "increment", "source and dest", "nogroup", "busygroup",
                    "the id specified", "the xgroup", "xx and nx", "gt, lt", "user_script", "error running script", "err error running", "busykey", "xgroup",
                    "the entries_added", "script", "oom", "invalid first", "one or more scores", "wrong type", "library", "function", "syntax error, limit cannot")) \
                    and not any(word in str(answer) for word in ("WRONGTYPE", "OOM")):
                raise answer
        if r.random() < 0.002:
            clients[0].execute_command(*r.choice((("FLUSHDB",), ("SWAPDB", 1, 2)) if self.swaps else (("FLUSHDB",),)))

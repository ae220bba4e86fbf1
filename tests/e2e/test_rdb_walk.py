"""test_rdb_walk.py -- our RDB reader and writer against a real redis-server 7.0.

1. Each golden file that the server loads: a walk over all its keys equals what rdbwalk prints.
2. Random data of all types and encodings that the server writes: the same, whole and in pieces;
   each DUMP of it is read, each of our payloads RESTOREs to the same value.
3. Random files that our writer makes: the server loads them, and its walk equals what was meant.

The walk is by a small client of its own, with all that a file holds: times of delivery too.
"""
import json
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

import seeds
from resp import encode
from ports import free_port

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("BUILD", os.path.join(TOP, "build"))
WALK = os.path.join(BUILD, "tests", "tools", "rdbwalk")
MAKE = os.path.join(BUILD, "tests", "tools", "rdbmake")
GOLDEN = os.path.join(TOP, "tests", "golden", "rdb")
NOT_LOADED_BY_REDIS = {"redis-tests-corrupt_ziplist.rdb", "redis_40_with_module.rdb", "redis_60_with_module_aux.rdb"}


class Client:
    """RESP2, blocking."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.file = self.socket.makefile("rb")

    def send(self, *args):
        self.socket.sendall(encode(*args))

    def read(self):
        line = self.file.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        return None if rest == b"-1" else [self.read() for _ in range(int(rest))]

    def __call__(self, *args):
        self.send(*args)
        return self.read()


class Server:
    def __init__(self, folder, *options):
        self.port = free_port()
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", folder, "--save", "",
             "--enable-debug-command", "yes", "--loglevel", "warning", "--logfile", os.path.join(folder, "log"), *options])
        deadline = time.time() + 180
        while True:
            try:
                self.client = Client(self.port)
                self.client("PING")
                return
            except (OSError, RuntimeError):
                if self.process.poll() is not None or time.time() > deadline:
                    self.stop()
                    raise RuntimeError("redis-server does not start: " + open(os.path.join(folder, "log")).read()[-2000:])
                time.sleep(0.02)

    def stop(self):
        self.process.kill()
        self.process.wait()


def pairs(flat):
    return {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}


def bits(score):
    return struct.pack(">d", float(score) + 0.0).hex()  # redis itself turns -0 into 0 in small sorted sets


def walk_stream(c, key):
    full = pairs(c("XINFO", "STREAM", key, "FULL", "COUNT", 0))
    groups = []
    for group in map(pairs, full["groups"]):
        consumers = [pairs(k) for k in group["consumers"]]
        groups.append((group["name"].hex(), group["last-delivered-id"].decode(),
                       -1 if group["entries-read"] is None else group["entries-read"],
                       [[p[0].decode(), p[2], p[3]] for p in group["pending"]],
                       sorted((k["name"].hex(), k["seen-time"], [p[0].decode() for p in k["pending"]]) for k in consumers)))
    return {"entries": [[e[0].decode(), [x.hex() for x in e[1]]] for e in full["entries"]],
            "length": full["length"], "last": full["last-generated-id"].decode(),
            "deleted": full["max-deleted-entry-id"].decode(), "added": full["entries-added"], "groups": sorted(groups)}


def walk_value(c, kind, key):
    if kind == "string":
        return [c("GET", key).hex()]
    if kind == "list":
        return [x.hex() for x in c("LRANGE", key, 0, -1)]
    if kind == "set":
        return sorted(x.hex() for x in c("SMEMBERS", key))
    if kind == "hash":
        flat = [x.hex() for x in c("HGETALL", key)]
        return sorted(zip(flat[::2], flat[1::2]))
    if kind == "zset":
        flat = c("ZRANGE", key, 0, -1, "WITHSCORES")
        return sorted((m.hex(), bits(s)) for m, s in zip(flat[::2], flat[1::2]))
    return walk_stream(c, key)


def walk(c):
    """{(db, key as hex): (type, expiry, value)} of a server."""
    found = {}
    for line in c("INFO", "keyspace").decode().split("\r\n"):
        if not line.startswith("db"):
            continue
        db = int(line[2:line.index(":")])
        c("SELECT", db)
        for key in c("KEYS", "*"):
            kind = c("TYPE", key).decode()
            found[(db, key.hex())] = (kind, c("PEXPIRETIME", key), walk_value(c, kind, key))
    c("SELECT", 0)
    return found


def parse(text):
    """What rdbwalk or rdbmake printed, in the form of walk(); and the libraries of functions."""
    found, functions = {}, []
    for line in text.splitlines():
        key = json.loads(line)
        if "function" in key:
            functions.append(bytes.fromhex(key["function"]))
        if "key" not in key:
            continue
        value, kind = key["value"], key["type"]
        if kind == "zset":
            value = ["0" * 16 if x == "8" + "0" * 15 else x for x in value]
        if kind == "set":
            value = sorted(value)
        elif kind in ("hash", "zset"):
            value = sorted(zip(value[::2], value[1::2]))
        elif kind == "stream":
            groups = []
            for g in value["groups"]:
                consumers = sorted((x["consumer"], x["seen"], x["owns"]) for x in g["pending"] if isinstance(x, dict))
                groups.append((g["name"], g["last"], g["read"], [p for p in g["pending"] if isinstance(p, list)], consumers))
            value["groups"] = sorted(groups)
        name = (key["db"], key["key"])
        assert name not in found, f"{name} twice"
        found[name] = (kind, key["expire"], value)
    return found, functions


def rdbwalk(path, *options):
    run = subprocess.run([WALK, *options, path], capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"{path}: {run.stderr}"
    return run.stdout


def expect_equal(what, ours, theirs):
    now = time.time() * 1000
    expired = {k for k, v in ours.items() if v[1] != -1 and v[1] < now + 60000}
    for name in sorted((set(ours) | set(theirs)) - expired):
        if ours.get(name) != theirs.get(name):
            print(f"{what}: db {name[0]} key {bytes.fromhex(name[1])!r} differs:\n"
                  f" rdbwalk {str(ours.get(name))[:3000]}\n redis   {str(theirs.get(name))[:3000]}")
            sys.exit(1)


def golden(folder):
    checked = 0
    for name in sorted(os.listdir(GOLDEN)):
        if not name.endswith(".rdb") or name in NOT_LOADED_BY_REDIS:
            continue
        path = os.path.join(GOLDEN, name)
        server = Server(folder, "--dbfilename", shutil.copy(path, os.path.join(folder, name)).rsplit("/", 1)[1])
        try:
            ours, _ = parse(rdbwalk(path, "--lax"))
            raw, _ = parse(rdbwalk(path, "--lax", "--raw", "1000"))
            assert ours == raw, f"{name}: whole and in pieces differ"
            expect_equal(name, ours, walk(server.client))
            checked += 1
        finally:
            server.stop()
    assert checked == 32, checked
    print(f"{checked} golden files equal")


def random_text(rng):
    return rng.choice([
        lambda: str(rng.randrange(-2 ** rng.randrange(1, 64), 2 ** rng.randrange(1, 64))).encode(),
        lambda: rng.randbytes(rng.randrange(1, 40)),
        lambda: rng.randbytes(rng.randrange(60, 70)),
        lambda: b"abcabd" * rng.randrange(1, 400),
        lambda: rng.randbytes(rng.randrange(1, 5000)),
    ])()


def random_stream(c, rng, key, count):
    for i in range(count):
        fields = [b"f%d" % rng.randrange(3) for _ in range(rng.randrange(1, 4))] if rng.random() < 0.3 else [b"a", b"7"]
        c("XADD", key, f"{1000 + i}-{rng.randrange(9)}", *[x for f in fields for x in (f, random_text(rng))])
    ids = [e[0] for e in c("XRANGE", key, "-", "+")]
    for i in rng.sample(ids, count // 7):
        c("XDEL", key, i)
    for g in range(rng.randrange(4)):
        c("XGROUP", "CREATE", key, f"g{g}", rng.choice(["0", "$", "1005-0"]))
        c("XGROUP", "CREATECONSUMER", key, f"g{g}", "empty")
        for k in range(rng.randrange(4)):
            c("XREADGROUP", "GROUP", f"g{g}", f"c{k}", "COUNT", rng.randrange(1, 30), "STREAMS", key, ">")
        pending = [p[0] for p in c("XPENDING", key, f"g{g}", "-", "+", 100)]
        for i in pending[::3]:
            c("XACK", key, f"g{g}", i)
        for i in pending[1::3]:
            c("XCLAIM", key, f"g{g}", "thief", 0, i)
        if g == 2:
            c("XGROUP", "SETID", key, "g2", "1003-1", "ENTRIESREAD", 2)
    if rng.random() < 0.3:
        c("XTRIM", key, "MAXLEN", count // 3)
    if rng.random() < 0.3:
        c("XSETID", key, "99999999-5", "ENTRIESADDED", count + 50, "MAXDELETEDID", "5000-0")


def random_key(c, rng, key, kind, count):
    texts = list({random_text(rng) for _ in range(count)})
    if kind == 0:
        c("SET", key, rng.choice(texts + [b""]))
    elif kind == 1:
        c("RPUSH", key, *texts)
    elif kind == 2:
        c("SADD", key, *texts)
    elif kind == 3:
        top = 2 ** rng.randrange(3, 63)
        c("SADD", key, *{rng.randrange(-top, top) for _ in range(count)})
    elif kind == 4:
        scores = [1e-9, 0.123456789012345, "inf", "-inf", "-0", 5e-324, 1.7976931348623157e308, 3, -2 ** 40]
        score = lambda: rng.choice(scores) if rng.random() < 0.5 else repr(rng.uniform(-1e6, 1e6))  # noqa: E731
        c("ZADD", key, *[x for t in texts for x in (score(), t)])
    elif kind == 5:
        c("HSET", key, *[x for t in texts for x in (t, random_text(rng))])
    elif kind == 6:
        c("HSET", key, *[x for i in range(count) for x in (b"f%d" % i, i * i)])
    else:
        random_stream(c, rng, key, count)
    if rng.random() < 0.3:
        c("PEXPIREAT", key, int(time.time() * 1000) + rng.randrange(10 ** 7, 10 ** 13))


def fill(c, rng):
    c("FUNCTION", "LOAD", "#!lua name=lib1\nredis.register_function('f1', function() return 1 end)")
    c("FUNCTION", "LOAD", "#!lua name=lib2\nredis.register_function('f2', function() return 'x' end)")
    for n in range(320):
        c("SELECT", rng.choice([0, 0, 0, 3, 15]))
        count = rng.choice([1, 3, 30, 100]) if n % 40 else 3000
        random_key(c, rng, b"key:%d" % n, n % 8, count)
    c("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "200b")
    for n in range(10):
        random_key(c, rng, b"plain:%d" % n, 1, 50)
    c("XGROUP", "CREATE", "empty-stream", "g", "$", "MKSTREAM")
    c("SELECT", 0)


def dumps(c, folder, ours):
    """DUMP of the server is read; what we would DUMP is RESTOREd to the same."""
    path = os.path.join(folder, "payload")
    checked = 0
    for (db, key), value in list(ours.items())[::6]:
        c("SELECT", db)
        with open(path, "wb") as f:
            f.write(c("DUMP", bytes.fromhex(key)))
        read, _ = parse(rdbwalk(path, "--payload"))
        (kind, _, payload_value), = read.values()
        assert (kind, payload_value) == (value[0], value[2]), f"DUMP of {key}"
        checked += 1
    print(f"{checked} payloads of DUMP read")


def without_newer(value):
    """A stream as an older server keeps it: redis 7.0 guesses what is not in the payload."""
    if value[0] != "stream":
        return value
    stream = {k: v for k, v in value[2].items() if k not in ("deleted", "added")}
    stream["groups"] = [g[:2] + g[3:] for g in stream["groups"]]
    return value[0], value[1], stream


def restore(c, path, ours, version=11):
    c("FLUSHALL")
    for line in rdbwalk(path, "--dump", "--for", str(version)).splitlines():
        if line.startswith("{"):
            continue
        db, key, expire, payload = line.split(" ")
        c("SELECT", db)
        payload = bytes.fromhex(payload)
        assert int.from_bytes(payload[-10:-8], "little") <= version
        c("RESTORE", bytes.fromhex(key), max(0, int(expire)), payload, "ABSTTL")
    theirs = walk(c)
    if version < 10:
        ours, theirs = ({k: without_newer(v) for k, v in walked.items()} for walked in (ours, theirs))
    expect_equal(f"RESTORE of version {version}", ours, theirs)
    print(f"{len(ours)} keys RESTOREd from our payloads of version {version}")


def written_by_redis(folder, rng, *options):
    path = os.path.join(folder, "random.rdb")
    if os.path.exists(path):
        os.unlink(path)
    server = Server(folder, "--dbfilename", "random.rdb", *options)
    try:
        c = server.client
        fill(c, rng)
        c("SAVE")
        ours, functions = parse(rdbwalk(path))
        assert len(functions) == 2 and any(b"lib1" in f for f in functions), functions
        for limit in ("50", "5000", "100000000"):
            assert parse(rdbwalk(path, "--raw", limit))[0] == ours, f"--raw {limit} differs"
        digests = rdbwalk(path, "--digest").splitlines()
        assert len(digests) == len(ours) and len(set(d.rsplit(" ", 1)[1] for d in digests)) == len(ours)
        expect_equal("written by redis", ours, walk(c))
        print(f"{len(ours)} keys written by redis equal {options}")
        dumps(c, folder, ours)
        restore(c, path, ours)
        restore(c, path, ours, 9)
        for db, key in [k for k, v in ours.items() if v[0] == "stream"]:
            c("SELECT", db)
            c("DEL", bytes.fromhex(key))
        c("SAVE")
        restore(c, path, {k: v for k, v in ours.items() if v[0] != "stream"}, 6)
    finally:
        server.stop()


def written_by_us(folder, seed):
    path = os.path.join(folder, "ours.rdb")
    run = subprocess.run([MAKE, str(seed), "500", "12", path], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    meant, _ = parse(run.stdout)
    assert parse(rdbwalk(path))[0] == meant
    server = Server(folder, "--dbfilename", "ours.rdb", "--sanitize-dump-payload", "yes")
    try:
        expect_equal("written by us", meant, walk(server.client))
        assert len(meant) > 400
        print(f"{len(meant)} keys written by us are loaded by redis")
    finally:
        server.stop()


def main():
    seed = seeds.seed()
    print(f"SEED={seed}", flush=True)
    folder = tempfile.mkdtemp(prefix="drawbridge-rdb-")
    try:
        golden(folder)
        rng = random.Random(seed)
        written_by_redis(folder, rng, "--maxmemory-policy", "allkeys-lfu", "--list-compress-depth", "1",
                         "--maxmemory", "2gb", "--stream-node-max-entries", "20")
        written_by_redis(folder, rng, "--maxmemory-policy", "allkeys-lru", "--rdbcompression", "no",
                         "--list-max-listpack-size", "5")
        written_by_us(folder, seed)
    finally:
        shutil.rmtree(folder)


main()

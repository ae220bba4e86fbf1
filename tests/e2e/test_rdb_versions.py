#!/usr/bin/python3
"""RDB files for older Redis (rdb-version 6 to 10): by SAVE, by BGSAVE and in a full sync, with small and big values. redis-server
and our own reader load them, and what they hold is what was saved. There is no old Redis to be had: rdb_old.py reads those below
10 as one would, and looks at every byte of their ziplists."""
import os
import random
import re
import shutil
import subprocess
import sys

import redis

import rdb_old
from servers import TOP, Folder, Ours, RedisServer, wait_until

WALK = os.path.join(os.environ.get("BUILD", os.path.join(TOP, "build")), "tests", "tools", "rdbwalk")
EVERYWHERE = {"string", "set", "intset", "hash", "hash_ziplist", "zset_ziplist"}
TYPES = {6: {"list", "list_ziplist", "zset"}, 7: {"quicklist", "zset"}, 8: {"quicklist", "zset_2"}, 9: {"quicklist", "zset_2", "stream"}}


def fill(c, r, streams):
    word = lambda: r.choice((str(r.randrange(-10**12, 10**12)), "w" * r.randrange(90), r.randbytes(r.randrange(1, 200))))
    with c.pipeline(transaction=False) as p:
        for i in range(60):
            p.set(f"s{i}", word(), px=r.choice((None, 3_600_000)))
            for kind, count in (("small", r.randrange(1, 9)), ("big", r.randrange(600, 900))) if i < 12 else (("small", 5),):
                p.hset(f"h{kind}{i}", mapping={f"f{j}": word() for j in range(count)})
                p.sadd(f"t{kind}{i}", *(word() for _ in range(count)))
                p.sadd(f"i{kind}{i}", *(r.randrange(10**9) for _ in range(count)))
                p.rpush(f"l{kind}{i}", *(word() for _ in range(count)))
                p.zadd(f"z{kind}{i}", {f"m{j}": r.choice((j / 7, -j, 1e300, 5e-324, float("inf"), float("-inf"))) for j in range(count)})
        p.set("long", r.randbytes(300_000))
        p.rpush("plain", r.randbytes(20_000), "x", r.randbytes(9_000))
        p.rpush("one plain", r.randbytes(30_000))
        p.zadd("ziplist edges", {"whole": 12, "more": 13, "less": -1, "third": 1 / 3, "far": float("inf"), "near": float("-inf")})
        edges = [sign * (1 << bits) + off for bits in (7, 15, 23, 31, 63) for sign in (1, -1) for off in (-1, 0, 1)]
        p.rpush("edges", *edges, *range(-2, 16), "", "007", "-0", " 1", *("e" * size for size in (63, 64, 248, 249, 250, 251, 252, 253, 254, 16383, 16384, 3)))
        p.hset("wide", mapping={"a" * size: "b" * (60 - size) for size in range(1, 60)})
        for i in range(700 if streams else 0):
            p.xadd(f"x{i % 3}", {"f": i, "n": word()})
        p.execute()
    if streams:
        c.xgroup_create("x1", "group", "0")
        c.xreadgroup("group", "consumer", {"x1": ">"}, count=9)
        c.xdel("x1", c.xrange("x1", count=3)[2][0])


def digest(c):
    return c.execute_command("DRAWBRIDGE", "DIGEST", "DB", "STREAMS", "OLD")


def header(path):
    with open(path, "rb") as file:
        return file.read(9)


def value_of(c, key):
    kind = c.type(key)
    if kind == b"zset":
        return dict(c.zrange(key, 0, -1, withscores=True))
    read = {b"string": c.get, b"list": lambda k: c.lrange(k, 0, -1), b"set": c.smembers, b"hash": c.hgetall, b"stream": c.xlen}
    return read[kind](key)


def check_as_old(c, path, version):
    said, aux, keys = rdb_old.read(path)
    assert said == version and bool(aux) == (version >= 7), (said, aux)
    assert {name for name, _, _ in keys.values()} == EVERYWHERE | TYPES[version], version
    want = {(0, key): (value_of(c, key), c.pexpiretime(key)) for key in c.scan_iter(count=1000)}
    assert {key: (value, -1 if expiry is None else expiry) for key, (_, value, expiry) in keys.items()} == want, version


def check_file(folder, path, version, want, name):
    assert header(path) == b"REDIS%04d" % version, header(path)
    lines = subprocess.run([WALK, path], check=True, capture_output=True).stdout  # our reader, strict
    assert lines
    for start, kind in ((Ours, "ours"), (RedisServer, "redis")):
        server = start(folder, f"{kind}-{name}", start=False)
        shutil.copy(path, os.path.join(server.dir, "dump.rdb"))
        server.start()
        if start is Ours:
            assert digest(server.client()) == want, name
        else: # what redis-server holds now, as its RDB says it
            replica = Ours(folder, f"of-{name}", "--replicaof", "127.0.0.1", str(server.port))
            wait_until("the replica follows", lambda: replica.info("replication")["master_link_status"] == "up")
            assert digest(replica.client()) == want, f"redis-server, {name}"
            replica.kill()
        server.kill()


def main():
    with Folder("rdb-versions") as folder:
        r = random.Random(folder.seed)
        server = Ours(folder, "server")
        c = server.client()
        dump = os.path.join(server.dir, "dump.rdb")
        c.function_load("#!lua name=lib\nredis.register_function('f', function() return 1 end)")
        for version in (6, 7, 8, 9, 10):
            c.flushall()
            fill(c, r, version >= 9)
            want = digest(c)
            c.config_set("rdb-version", version)
            c.save()
            if version < 10:
                check_as_old(c, dump, version)
            check_file(folder, dump, version, want, f"save-{version}")
            os.remove(dump)
            c.bgsave()
            wait_until("it is saved", lambda: c.info("persistence")["rdb_bgsave_in_progress"] == 0)
            if version < 10:
                check_as_old(c, dump, version)
            check_file(folder, dump, version, want, f"bgsave-{version}")
            replica = RedisServer(folder, f"replica-{version}", "--replicaof", "127.0.0.1", str(server.port))
            wait_until("the replica follows", lambda: replica.info("replication")["master_link_status"] == "up")
            assert replica.client().dbsize() == c.dbsize()
            assert len(replica.client().function_list()) == (version == 10)
            replica.kill()

        # a stream where there is none: the save fails with a sentence, and nothing is replaced
        c.config_set("rdb-version", 8)
        before = open(dump, "rb").read()
        for _ in range(2):
            try:
                c.save()
                raise AssertionError("SAVE wrote a stream as version 8")
            except redis.ResponseError as error:
                assert re.search("RDB version 8 .* has no streams, and 'x[012]' in database 0 is one", str(error)), error
        c.bgsave()
        wait_until("it is over", lambda: c.info("persistence")["rdb_bgsave_in_progress"] == 0)
        assert c.info("persistence")["rdb_last_bgsave_status"] == "err"
        assert re.search("Background saving error: .*'x[012]' in database 0", open(server.log).read())
        assert open(dump, "rb").read() == before and not [f for f in os.listdir(server.dir) if f.startswith("temp-")]
        c.config_set("rdb-version", 9)
        c.bgsave()
        wait_until("it is well again", lambda: c.info("persistence")["rdb_last_bgsave_status"] == "ok")
        for wrong in (5, 11, "x"):
            try:
                c.config_set("rdb-version", wrong)
                raise AssertionError(wrong)
            except redis.ResponseError:
                pass
    print("test_rdb_versions: fine")


if __name__ == "__main__":
    main()

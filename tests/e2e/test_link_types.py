#!/usr/bin/python3
"""Every type arrives exactly, by the copy and by the stream: scores with all bits, streams with groups, functions, databases."""
import random

import walk
from link import Link

LIBRARY = """#!lua name=mylib
redis.register_function('twice', function(keys, args) return redis.call('INCRBY', keys[1], 2) end)
"""


def streams(r, prefix):
    for n in range(30):
        r.xadd(f"{prefix}:stream", {"field": n, "other": "x" * n}, id=f"{n + 1}-{n}")
    r.xgroup_create(f"{prefix}:stream", "group", id="5-4")
    r.xgroup_create(f"{prefix}:stream", "late", id="$")
    r.execute_command("XGROUP", "CREATECONSUMER", f"{prefix}:stream", "group", "idle")
    r.xreadgroup("group", "anna", {f"{prefix}:stream": ">"}, count=7)
    r.xreadgroup("group", "bert", {f"{prefix}:stream": ">"}, count=3)
    r.xack(f"{prefix}:stream", "group", "7-6", "13-12")
    r.xdel(f"{prefix}:stream", "20-19", "30-29")
    r.xtrim(f"{prefix}:stream", maxlen=20, approximate=False)
    r.execute_command("XADD", f"{prefix}:empty", "1-1", "a", "b")
    r.xdel(f"{prefix}:empty", "1-1")
    r.execute_command("XGROUP", "CREATE", f"{prefix}:groups", "only", "$", "MKSTREAM")
    r.xautoclaim(f"{prefix}:stream", "group", "carl", 0, count=2)


def values(r, prefix, rnd):
    r.set(f"{prefix}:text", b"\x00\xff binary \r\n")
    r.set(f"{prefix}:number", -2 ** 63)
    r.set(f"{prefix}:big", rnd.randbytes(300000))
    r.setbit(f"{prefix}:bits", 100001, 1)
    r.pfadd(f"{prefix}:hll", *range(5000))
    r.pfcount(f"{prefix}:hll")
    r.rpush(f"{prefix}:short", 1, "two", b"\x03")
    r.rpush(f"{prefix}:long", *range(3000), "x" * 20000)
    r.sadd(f"{prefix}:ints", *range(-40, 40))
    r.sadd(f"{prefix}:members", *[f"m{n}" for n in range(1000)])
    r.hset(f"{prefix}:hash", mapping={f"f{n}": n for n in range(20)})
    r.hset(f"{prefix}:hashbig", mapping={f"f{n}": "v" * (n % 90) for n in range(1500)})
    r.zadd(f"{prefix}:zset", {"tiny": 1e-9, "odd": 0.123456789012345, "inf": float("inf"), "ninf": float("-inf"), "zero": -0.0,
                              "third": 1 / 3, "big": 2 ** 53 + 2})
    r.zadd(f"{prefix}:zsetbig", {f"m{n}": n / 7 for n in range(1000)})
    r.geoadd(f"{prefix}:geo", (13.361389, 38.115556, "Palermo"))
    r.set(f"{prefix}:lives", "x", px=10 ** 8 + rnd.randrange(1000))
    r.expireat(f"{prefix}:hash", 4 * 10 ** 9)
    streams(r, prefix)


def changes(r, rnd):
    """Commands that the stream rewrites, or that touch several keys."""
    r.incrbyfloat("copied:float", 0.1)
    r.hincrbyfloat("copied:hash", "f1", 1e-7)
    r.zincrby("copied:zset", 1e-7, "third")
    r.spop("copied:members", 5)
    r.spop("copied:ints")
    r.getdel("copied:text")
    r.getex("copied:number", px=10 ** 7)
    r.persist("copied:lives")
    r.rename("copied:short", "copied:renamed")
    r.copy("copied:renamed", "copied:twin")
    r.execute_command("COPY", "copied:renamed", "elsewhere", "DB", 5)
    r.move("copied:twin", 6)
    r.sunionstore("copied:union", "copied:ints", "copied:members")
    r.zrangestore("copied:range", "copied:zsetbig", 0, 10)
    r.sort("copied:long", store="copied:sorted", alpha=True)
    r.lmove("copied:long", "copied:renamed")
    r.eval("for i = 1, 5 do redis.call('RPUSH', KEYS[1], i) end return redis.call('TIME')", 1, "copied:script")
    r.fcall("twice", 1, "copied:called")
    r.bitop("NOT", "copied:not", "copied:bits")
    r.pfmerge("copied:merged", "copied:hll")
    r.xadd("copied:stream", {"a": rnd.random()}, maxlen=10, approximate=True)
    with r.pipeline(transaction=True) as p:
        p.set("copied:multi", 1)
        p.lpush("copied:multilist", *range(200))
        p.execute()
    r.execute_command("SWAPDB", 8, 9)
    walk.connect(r.connection_pool.connection_kwargs["port"], 10).flushdb()


def check_functions(link):
    a, b = (sorted(repr(f) for f in link.client(side).execute_command("FUNCTION", "LIST", "WITHCODE")) for side in ("source", "target"))
    assert a == b and len(a) == 2, (a, b)


def main():
    with Link("types") as link:
        rnd = random.Random(link.seed)
        source = link.client("source")
        source.execute_command("FUNCTION", "LOAD", LIBRARY)
        for db in (0, 3, 8, 10):
            values(link.client("source", db), "copied", rnd)
        values(link.client("source", 9), "nine", rnd)
        link.start()
        link.wait_log("link.following")
        link.wait_level()
        link.check_equal()
        for db in (0, 3):
            values(link.client("source", db), "streamed", rnd)
        source.execute_command("FUNCTION", "LOAD", LIBRARY.replace("mylib", "second").replace("twice", "again"))
        changes(source, rnd)
        link.wait_clean()
        link.check_equal()
        check_functions(link)
        source.flushall()
        values(source, "after", rnd)
        link.wait_clean()
        link.check_equal()
        assert not link.client("target").exists("copied:hash")
        assert link.log().count("copy.done") == 1


main()

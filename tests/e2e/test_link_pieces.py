#!/usr/bin/python3
"""Values that are too big for one command are copied element by element: every type arrives exactly, with kill -9 in the middle.

The limit is 64 MB; here the syncer is told a lower one, so that nearly everything goes that way.
"""
import time

import walk
from link import Link

OVER = "200"  # bytes of a value in the RDB


def streams(r, size):
    for n in range(size):
        r.xadd("stream", {"field": n, "other": "x" * (n % 50)}, id=f"{n + 1}-{n}")
    r.xgroup_create("stream", "group", id="5-4")
    r.xgroup_create("stream", "late", id="$")
    r.xgroup_create("stream", "none", id="0")
    r.execute_command("XGROUP", "CREATE", "stream", "counted", "9-8", "ENTRIESREAD", 9)
    r.execute_command("XGROUP", "CREATECONSUMER", "stream", "group", "idle")
    r.xreadgroup("group", "anna", {"stream": ">"}, count=70)
    r.xreadgroup("group", "bert", {"stream": ">"}, count=30)
    r.xack("stream", "group", "7-6", "13-12")
    r.xdel("stream", f"{size - 1}-{size - 2}", f"{size}-{size - 1}", "3-2")  # none of them is pending
    r.execute_command("XGROUP", "SETID", "stream", "late", f"{size // 2}-0")
    for n in range(40):  # a stream of which only groups are left
        r.xadd("emptied", {"a": "b" * 20}, id=f"{n + 1}-1")
    r.xgroup_create("emptied", "g" * 60, id="0")
    r.execute_command("XGROUP", "CREATECONSUMER", "emptied", "g" * 60, "c" * 300)
    r.xtrim("emptied", maxlen=0, approximate=False)


def fill(link):
    r, rnd = link.client("source"), link.random
    with r.pipeline(transaction=False) as p:
        p.set("string", rnd.randbytes(100000))
        p.set("text", "compressible " * 5000, px=10 ** 8)
        p.setbit("bits", 100001, 1)
        p.pfadd("hll", *range(5000))
        p.rpush("list:packed", *range(100))
        p.rpush("list:large", *[rnd.randbytes(rnd.randrange(400)) for _ in range(20000)], b"y" * 70000, b"")
        p.sadd("set:ints", *range(-200, 200), 2 ** 60)
        p.sadd("set:large", *[f"member {n}" for n in range(20000)])
        p.hset("hash:packed", mapping={f"f{n}": "v" * (n % 30) for n in range(50)})
        p.hset("hash:large", mapping={f"field {n}": rnd.randbytes(rnd.randrange(100)) for n in range(20000)})
        p.zadd("zset:packed", {"tiny": 1e-9, "odd": 0.123456789012345, "inf": float("inf"), "ninf": float("-inf"), "zero": -0.0,
                               "third": 1 / 3, "big": 2 ** 53 + 2, "long member " * 20: 5e-324})
        p.zadd("zset:large", {f"m{n}": rnd.random() * 10 ** rnd.randrange(-200, 200) for n in range(20000)})
        p.geoadd("geo", (13.361389, 38.115556, "Palermo" * 30))
        p.expireat("hash:large", 4 * 10 ** 9)
        p.pexpireat("zset:packed", 4 * 10 ** 12 + 1)
        for n in range(400):
            p.rpush(f"many:{n}", *[f"{n}:{i}" * 5 for i in range(60)])
            p.set(f"small:{n}", n)
        p.execute()
    streams(r, 1500)
    other = link.client("source", 3)
    other.rpush("list:packed", *["in another database"] * 50)
    r.execute_command("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('one', function() return 1 end)")


def calls(link, name):
    return link.client("target").info("commandstats").get(f"cmdstat_{name}", {}).get("calls", 0)


def check(link):
    link.wait_clean()
    link.check_equal()
    for name in ("rpush", "sadd", "hset", "zadd", "xadd", "xsetid", "xgroup|create", "xgroup|createconsumer", "xclaim", "pexpireat"):
        assert calls(link, name) > 0, f"nothing was sent by {name}"
    assert link.client("target").execute_command("FUNCTION", "LIST")


def in_one_go():
    with Link("pieces") as link:
        fill(link)
        link.start("--pieces-over", OVER)
        check(link)
        assert calls(link, "restore") <= 450, "large values were sent by RESTORE"
        assert len(walk.walk(link.ports["target"])) > 800


def killed():
    with Link("pieces-killed", copy="throttle: { ops: 250 }") as link:
        fill(link)
        link.start("--pieces-over", OVER)
        link.wait_log("link.rdb_complete")
        for kill in range(4):
            time.sleep(0.4 + link.random.random())
            link.client("source").rpush("many:7", f"while it is copied {kill}")
            link.client("source").append("string", "x")
            link.kill()
            link.start("--pieces-over", OVER)
        check(link)
        assert "copy.start link=forward resumed=true" in link.log(), "no copy went on where it was"


in_one_go()
killed()

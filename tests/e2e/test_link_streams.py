#!/usr/bin/python3
"""Streams arrive exactly at the bundled server, by the copy and by the stream: groups, pending entries, consumers with nothing
to do, empty streams, max-deleted-id, entries-added; and with them places, HyperLogLogs and bits."""
import random

from link import Link


def fill(r, prefix):
    for n in range(300):
        r.xadd(f"{prefix}:stream", {"field": n, "other": "x" * (n % 40)}, id=f"{n + 1}-{n}")
    r.xgroup_create(f"{prefix}:stream", "group", id="5-4")
    r.xgroup_create(f"{prefix}:stream", "late", id="$")
    r.execute_command("XGROUP", "CREATECONSUMER", f"{prefix}:stream", "group", "idle")
    r.xreadgroup("group", "anna", {f"{prefix}:stream": ">"}, count=7)
    r.xreadgroup("group", "bert", {f"{prefix}:stream": ">"}, count=30)
    r.xack(f"{prefix}:stream", "group", "7-6", "13-12")
    r.xdel(f"{prefix}:stream", "20-19", "30-29", "300-299")
    r.xtrim(f"{prefix}:stream", maxlen=200, approximate=False)
    r.execute_command("XADD", f"{prefix}:empty", "1-1", "a", "b")
    r.xdel(f"{prefix}:empty", "1-1")
    r.execute_command("XGROUP", "CREATE", f"{prefix}:groups", "only", "$", "MKSTREAM")
    r.xautoclaim(f"{prefix}:stream", "group", "carl", 0, count=2)
    r.execute_command("XSETID", f"{prefix}:empty", "9-9", "ENTRIESADDED", 77, "MAXDELETEDID", "5-5")


def fill_others(r, prefix, rnd):
    for n in range(200):
        r.geoadd(f"{prefix}:places", (rnd.uniform(-180, 180), rnd.uniform(-85, 85), f"p{rnd.randrange(150)}"))
        r.pfadd(f"{prefix}:small" if n % 2 else f"{prefix}:large", *(str(rnd.random()) for _ in range(n % 60)))
        r.setbit(f"{prefix}:bits", rnd.randrange(5000), rnd.randrange(2))
        r.execute_command("BITFIELD", f"{prefix}:bits", "OVERFLOW", "SAT", "INCRBY", "i13", f"#{rnd.randrange(80)}", rnd.randint(-5000, 5000))
    r.georadius(f"{prefix}:places", 0, 0, 8000, unit="km", store=f"{prefix}:near")
    r.execute_command("GEOSEARCHSTORE", f"{prefix}:dist", f"{prefix}:places", "FROMLONLAT", 13, 38, "BYRADIUS", 9000, "km", "STOREDIST")
    r.pfmerge(f"{prefix}:both", f"{prefix}:small", f"{prefix}:large")
    assert r.pfcount(f"{prefix}:both") == r.pfcount(f"{prefix}:small", f"{prefix}:large") > 3000
    r.bitop("XOR", f"{prefix}:xor", f"{prefix}:bits", f"{prefix}:small")


def work(r, rnd, rounds):
    """What workers do all day."""
    for n in range(rounds):
        key = f"work:{rnd.randrange(3)}"
        r.xadd(key, {"n": n, rnd.choice(["a", "b"]): rnd.random()}, maxlen=rnd.choice([None, 40]), approximate=rnd.random() < .5)
        if n < 5 and not any(g["name"] == f"g{n}".encode() for g in (r.xinfo_groups(f"work:{n % 3}") if r.exists(f"work:{n % 3}") else [])):
            r.execute_command("XGROUP", "CREATE", f"work:{n % 3}", f"g{n}", "0", "MKSTREAM")
        for group in r.xinfo_groups(key):
            name = group["name"]
            for _, entries in r.xreadgroup(name, rnd.choice("abc"), {key: ">"}, count=5, noack=rnd.random() < .2):
                for entry, _ in entries:
                    if rnd.random() < .5:
                        r.xack(key, name, entry)
            pending = [p["message_id"] for p in r.xpending_range(key, name, "-", "+", 3)]
            if pending and rnd.random() < .2:
                r.xclaim(key, name, "d", 0, pending)
        if rnd.random() < .1:
            r.xautoclaim(key, "g0", "e", 0, count=3) if r.exists(key) and any(g["name"] == b"g0" for g in r.xinfo_groups(key)) else None
        if rnd.random() < .2: # leaves as "= n LIMIT m", which Redis takes from a master only
            r.execute_command("XADD", key, "MAXLEN", "~", 20, "LIMIT", rnd.randrange(300), "*", "n", n)
            r.execute_command("XTRIM", key, "MINID", "~", r.xrange(key, count=30)[-1][0], "LIMIT", rnd.randrange(300))
        if rnd.random() < .1:
            r.xdel(key, *[e for e, _ in r.xrange(key, count=2)])
        if rnd.random() < .05:
            r.copy(key, key + ":copy", replace=True)


def main():
    with Link("streams", bundled=True, source_options=("--stream-node-max-entries", "7")) as link:
        rnd = random.Random(link.seed)
        source, target = link.client("source"), link.client("target")
        for db in (0, 3):
            fill(link.client("source", db), "copied")
        fill_others(source, "copied", rnd)
        work(source, rnd, 60)
        link.start()
        link.wait_log("link.following")
        link.wait_level()
        link.check_equal()
        fill(source, "streamed")
        fill_others(source, "streamed", rnd)
        fill_others(source, "copied", rnd)
        work(source, rnd, 200)
        link.wait_clean()
        link.check_equal()
        assert target.xinfo_stream("copied:empty")["entries-added"] == 77
        assert target.xinfo_stream("copied:stream")["length"] == 200
        for prefix in ("copied", "streamed"):
            names = [c["name"] for c in target.xinfo_consumers(f"{prefix}:stream", "group")]
            assert b"idle" in names and b"anna" in names, names
        assert link.log().count("copy.done") == 1
        assert target.info("errorstats") == {}, target.info("errorstats")


main()

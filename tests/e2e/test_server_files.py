#!/usr/bin/python3
"""Every combination of the options of files: what this server writes satisfies redis-check-rdb and redis-check-aof, and loads in
redis-server and here with the same data, functions included.

aof-use-rdb-preamble, aof-timestamp-enabled, rdbcompression and rdbchecksum, over several databases with all types, streams with
groups and pending entries, expiries and a library of functions; the AOF as it is after a rewrite and more writes.
"""
import itertools
import os
import shutil
import sys

import walk
from servers import Folder, Ours, RedisServer, run_tests, wait_until
from test_server_persistence import KEPT, check_same, checked, loaded

OPTIONS = ("aof-use-rdb-preamble", "aof-timestamp-enabled", "rdbcompression")
LIBRARY = "#!lua name=lib\nredis.register_function('f', function(keys, args) return args[1] .. '\\r\\n' end)"


def appends(server):
    return os.path.join(server.dir, "appendonlydir")


def odd_keys(r):
    """What random commands seldom make."""
    r.function_load(LIBRARY)
    r.execute_command("DRAWBRIDGE", "CHECKPOINT", "SET", "forward", "abc:1")
    r.execute_command("DRAWBRIDGE", "EPOCH", "7")
    r.set(b"bytes \x00\xff\r\n", bytes(range(256)) * 40)
    r.set("", "the empty key")
    r.set("empty", "")
    r.xgroup_create("no entries", "g", mkstream=True)
    r.xadd("gone", {"a": 1}, id="5-5")
    r.xdel("gone", "5-5")
    for i in range(300):
        r.xadd("pending", {"n": i, "text": "x" * i}, id=f"{i + 1}-0")
    r.xgroup_create("pending", "group " * 200, id="0")
    r.xreadgroup("group " * 200, "one", {"pending": ">"}, count=100)
    r.xreadgroup("group " * 200, "two", {"pending": ">"}, count=50)
    r.xtrim("pending", maxlen=298, approximate=False)
    r.xack("pending", "group " * 200, "1-0", "2-0")  # who is pending and gone cannot be said in commands
    r.rpush("long list", *range(3000))
    r.rpush("big items", "y" * 100_000, "z")
    r.sadd("numbers", *range(2000))
    r.hset("hash", mapping={f"field {i}": "v" * (i % 90) for i in range(1500)})
    r.zadd("scores", {f"m{i}": i / 7 for i in range(1500)})
    r.zadd("scores", {"most": "inf", "least": "-inf", "tiny": 5e-324})
    r.set("goes", "x", pxat=4_000_000_000_000)


def beginning(path):
    with open(path, "rb") as file:
        return file.read(5)


def check_functions(r):
    assert r.execute_command("FCALL", "f", 0, "x") == b"x\r\n"


def one(folder, ours, number, values):
    r = ours.client()
    for name, value in zip(OPTIONS, values):
        r.config_set(name, value)
    loaded(ours, folder.seed + number, 0.15)
    r.execute_command("BGREWRITEAOF")
    wait_until("it is rewritten", lambda: not r.info("persistence")["aof_rewrite_in_progress"])
    assert r.info("persistence")["aof_last_bgrewrite_status"] == "ok"
    wait_until("what was there before is removed", lambda: len(os.listdir(appends(ours))) == 3)
    loaded(ours, folder.seed + 100 + number, 0.15)
    assert r.save()
    want = walk.walk(ours.port)
    names = sorted(os.listdir(appends(ours)))
    commands = values[0] == "no"
    base = next(name for name in names if ".base." in name)
    assert base.endswith("base.aof" if commands else "base.rdb") and len(names) == 3, names
    if commands:
        assert beginning(os.path.join(appends(ours), base)).startswith(b"#TS:" if values[1] == "yes" else b"*")
    assert "is valid" in checked("redis-check-aof", os.path.join(appends(ours), "appendonly.aof.manifest"))
    assert "RDB looks OK" in checked("redis-check-rdb", os.path.join(ours.dir, "dump.rdb"))
    for kind in ("aof", "rdb"):
        stock = RedisServer(folder, f"stock-{number}-{kind}", "--appendonly", "yes" if kind == "aof" else "no", start=False)
        if kind == "aof":
            shutil.copytree(appends(ours), appends(stock))
        else:
            shutil.copy(os.path.join(ours.dir, "dump.rdb"), stock.dir)
        stock.start()
        check_same(want, stock)
        check_functions(stock.client())
        stock.kill()
        shutil.rmtree(stock.dir)
    r.execute_command("DEBUG", "LOADAOF")
    r.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    check_same(want, ours)
    check_functions(r)
    assert r.execute_command("DRAWBRIDGE", "CHECKPOINT", "GET", "forward") == b"abc:1"
    assert r.execute_command("DRAWBRIDGE", "EPOCH") == 7


def every_combination(checksum):
    with Folder(f"files-checksum-{checksum}") as folder:
        ours = Ours(folder, "ours", *KEPT, "--auto-aof-rewrite-percentage", "0", "--rdbchecksum", checksum)
        odd_keys(ours.client())
        for number, values in enumerate(itertools.product(("yes", "no"), repeat=len(OPTIONS))):
            one(folder, ours, number, values)
        with open(os.path.join(ours.dir, "dump.rdb"), "rb") as rdb:
            assert (rdb.read()[-8:] == bytes(8)) == (checksum == "no")


def test_every_combination_with_checksums():
    every_combination("yes")


def test_every_combination_without_checksums():
    every_combination("no")


def test_the_first_base_is_in_commands_too():
    with Folder("files-first") as folder:
        before = Ours(folder, "before")
        odd_keys(before.client())
        loaded(before, folder.seed, 0.3)
        want = walk.walk(before.port)
        before.client().save()
        ours = Ours(folder, "ours", "--appendonly", "yes", "--aof-use-rdb-preamble", "no", start=False)
        shutil.copy(os.path.join(before.dir, "dump.rdb"), ours.dir)
        ours.start()
        check_same(want, ours)
        assert sorted(os.listdir(appends(ours))) == ["appendonly.aof.1.base.aof", "appendonly.aof.1.incr.aof", "appendonly.aof.manifest"]
        checked("redis-check-aof", os.path.join(appends(ours), "appendonly.aof.manifest"))
        ours.kill()
        os.remove(os.path.join(ours.dir, "dump.rdb"))
        ours.start()
        check_same(want, ours)
        assert ours.client().execute_command("DRAWBRIDGE", "EPOCH") == 7


def test_a_rewrite_that_is_not_wanted_any_more_leaves_nothing():
    """Switched off while the snapshot runs, or while it becomes commands; then on again."""
    with Folder("files-stopped") as folder:
        ours = Ours(folder, "ours", "--aof-use-rdb-preamble", "no")
        r = ours.client()
        r.execute_command("DEBUG", "POPULATE", 100_000, "key", 100)
        for _ in range(8):
            r.config_set("appendonly", "yes")
            r.incr("count")
            r.config_set("appendonly", "no")
        r.config_set("appendonly", "yes")
        info = lambda: r.info("persistence")  # it may have been put off: those that were dropped take a moment to end
        wait_until("the base is made", lambda: not info()["aof_rewrite_in_progress"] and not info()["aof_rewrite_scheduled"])
        wait_until("nothing is left", lambda: not [name for name in os.listdir(ours.dir) if name.startswith("temp-")])
        digest = r.execute_command("DEBUG", "DIGEST")
        r.execute_command("DEBUG", "LOADAOF")
        assert r.execute_command("DEBUG", "DIGEST") == digest and r.get("count") == b"8"


def test_old_files_stay_while_nobody_is_to_remove_them():
    with Folder("files-history") as folder:
        ours = Ours(folder, "ours", "--appendonly", "yes", "--aof-disable-auto-gc", "yes")
        r = ours.client()
        r.set("a", 1)
        for _ in range(2):
            r.execute_command("BGREWRITEAOF")
            wait_until("it is rewritten", lambda: not r.info("persistence")["aof_rewrite_in_progress"])
        kinds = lambda: [line.split()[-1] for line in open(os.path.join(appends(ours), "appendonly.aof.manifest"), encoding="ascii")]
        wait_until("all are there", lambda: kinds() == list("bhhhhi") and len(os.listdir(appends(ours))) == 7)
        r.config_set("aof-disable-auto-gc", "no")
        wait_until("they are gone", lambda: kinds() == ["b", "i"] and len(os.listdir(appends(ours))) == 3)


def test_info_tells_how_far_each_snapshot_is():
    with Folder("files-progress") as folder:
        ours = Ours(folder, "ours", "--appendonly", "yes")
        r = ours.client()
        r.execute_command("DEBUG", "POPULATE", 3010)
        r.config_set("rdb-key-save-delay", 20_000)
        replica = Ours(folder, "replica", "--replicaof", "127.0.0.1", str(ours.port))
        r.bgsave()
        r.execute_command("BGREWRITEAOF")

        def found():
            info = r.info("persistence")
            return [info.get(f"drawbridge_snapshot_{place}") for place in range(4)]

        wait_until("three are under way, and go on", lambda: sorted(
            about["for"] for about in found() if about and 0 < about["keys"] < about["keys_total"] == 3010) == ["aof-rewrite", "bgsave", "full-sync"])
        first = {about["for"]: about["keys"] for about in found() if about}
        wait_until("each has got further", lambda: all(
            about["keys"] > first[about["for"]] for about in found() if about))
        r.config_set("rdb-key-save-delay", 0)
        wait_until("none is left", lambda: not any(found()))
        wait_until("the replica has all", lambda: replica.client().dbsize() == 3010)


if __name__ == "__main__":
    run_tests(sys.modules[__name__])

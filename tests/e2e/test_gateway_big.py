#!/usr/bin/python3
"""test_gateway_big.py [--long] -- big keys in the lanes: copied in chunks under a fence, exactly, with bounded memory (C14a).

Values of every type that take more than gateway.copy.big: odd scores, binary strings, streams with groups, consumers
without work and pending entries whose entries are gone. Then a key that is written while it is copied, with clients
that wait and with clients that do not. Last the gateway's memory: half a million elements, 5 million with --long.
"""
import os
import random
import struct
import subprocess
import sys
import threading
import time

import redis

from servers import Folder, Ours, RedisServer, run_tests, wait_until
from test_gateway_lanes import HIDDEN, PATIENT, Gateway
from gwtest import Raw
from walk import differences, walk

LONG = "--long" in sys.argv
SMALL = "copy: { big: 64KB }"


def pipe(r):
    return r.pipeline(transaction=False)


def add_stream(r, rng, key, groups=3):
    """Groups at places of every kind, entries deleted in the middle, at the front, and under pending ones."""
    with pipe(r) as p:
        for i in range(3000):
            p.execute_command("XADD", key, f"{i + 5}-{rng.randrange(3)}", "field", "v" * rng.randrange(60), "n", i)
        p.execute()
    ids = [entry[0] for entry in r.xrange(key)]
    for g in range(groups):
        r.xgroup_create(key, f"g{g}", "0" if g != 2 else ids[1500], entries_read=None)
        r.execute_command("XGROUP", "CREATECONSUMER", key, f"g{g}", "idle")
        for c in range(3):
            r.xreadgroup(f"g{g}", f"c{c}", {key: ">"}, count=300)
        r.xack(key, f"g{g}", *ids[10:200:7])
        r.execute_command("XCLAIM", key, f"g{g}", "late", 0, ids[1], ids[5], "RETRYCOUNT", 7)
    r.xdel(key, *ids[:4], *ids[100:130], ids[-1])
    r.xtrim(key, minid=ids[2], approximate=False)


def add_all(r, rng):
    scores = [0.1, 1 / 3, -1e308, 5e-324, float("inf"), float("-inf"), -0.0, 1e17, 123456789.123456789]
    scores += [struct.unpack("<d", struct.pack("<Q", rng.getrandbits(62)))[0] for _ in range(5000)]
    with pipe(r) as p:
        for i in range(0, 5000, 100):
            p.hset("hash", mapping={f"f{j}": rng.randbytes(rng.randrange(40)) for j in range(i, i + 100)})
            p.sadd("set", *(rng.randbytes(12) for _ in range(100)))
            p.sadd("ints", *range(i, i + 100))
            p.rpush("list", *(rng.randbytes(rng.randrange(40)) for _ in range(100)))
        for i, score in enumerate(scores):
            p.execute_command("ZADD", "zset", repr(score), b"m%d" % i)
        p.set("string", rng.randbytes(3 << 20))
        p.set("ends at a chunk", rng.randbytes(512 << 10))
        p.hset("wide", mapping={f"f{i}": rng.randbytes(300 << 10) for i in range(12)})
        p.rpush("wide list", *(rng.randbytes(900 << 10) for _ in range(5)))
        p.pexpire("set", 9000000)
        p.pexpire("string", 7000000)
        p.execute()
    add_stream(r, rng, "stream")
    add_stream(r, rng, "no group", groups=0)
    with pipe(r) as p:  # big by its groups alone
        p.xgroup_create("empty", "first", "$", mkstream=True)
        for i in range(3000):
            p.xadd("empty", {"f": "v"}, id=f"{i + 1}-0")
        p.execute()
    r.xreadgroup("first", "c", {"empty": ">"})
    r.xtrim("empty", maxlen=0, approximate=False)
    for i in range(800):
        r.xgroup_create("empty", f"group number {i}", "0")


def rss_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["VmRSS"].split()[0]), int(fields["VmHWM"].split()[0])


def check_equal(legacy, target):
    found = differences(walk(legacy.port), walk(target.port))
    assert not found, "\n".join(line[:300] for line in found)


def all_types(target_class, **options):
    with Folder("big-types") as folder:
        rng = random.Random(folder.seed)
        legacy, target = RedisServer(folder, "legacy", *HIDDEN), target_class(folder, "target")
        add_all(legacy.client(), rng)
        gateway = Gateway(folder, legacy, target, lanes=1, options=SMALL)
        three = Raw(gateway.port)
        three.call("HELLO", 3)
        while gateway.lanes()["level"] != 1:  # the lane's connection speaks now the one, now the other protocol
            three.call("HGET", "hash", "f1")
            gateway.client().get("x")
        lanes = gateway.lanes()
        assert lanes["big_copies_total"] >= 10, lanes
        assert lanes["big_keys"] == 0 and lanes["big_bytes"] == 0 and lanes["refused_total"] == 0, lanes
        check_equal(legacy, target)


def test_every_type_is_copied_exactly_to_the_bundled_server():
    all_types(Ours)


def test_every_type_is_copied_exactly_to_a_redis():
    all_types(RedisServer)


def test_a_target_that_refuses_restore_gets_the_elements():
    with Folder("big-elements") as folder:
        legacy = RedisServer(folder, "legacy", *HIDDEN)
        target = RedisServer(folder, "target", "--rename-command", "RESTORE", "")
        r = legacy.client()
        add_stream(r, random.Random(folder.seed), "stream")
        r.execute_command("XADD", "emptied", "MAXLEN", "0", "5-1", "f", "v")
        r.mset({"number": 17, "text": "x", "nothing": ""})
        r.rpush("list", "a", "", "c")
        r.sadd("set", 1, 2, "x")
        r.hset("hash", mapping={"f": "v", "": "empty"})
        r.zadd("zset", {"a": 0.1, "b": float("-inf")})
        r.pexpire("zset", 900000)
        gateway = Gateway(folder, legacy, target)
        gateway.wait_level()
        check_equal(legacy, target)
        gateway.client().append("text", "y")
        gateway.wait_level()
        check_equal(legacy, target)


def fill_hash(legacy, key, fields):
    legacy.client().eval("for i = 1, ARGV[1] do redis.call('HSET', KEYS[1], 'field ' .. i, 'value of ' .. i) end", 1, key, fields)


class Hot(threading.Thread):
    """One client that writes one key, again and again."""

    def __init__(self, gateway, key, pause=0.0):
        super().__init__(daemon=True)
        self.gateway, self.key, self.pause = gateway, key, pause
        self.stopping, self.error, self.count, self.slowest = False, None, 0, 0.0

    def run(self):
        r = self.gateway.client()
        try:
            while not self.stopping:
                began = time.monotonic()
                n = self.count % 50000
                r.hset(self.key, f"field {n}", f"{self.count}") if self.count % 3 else r.hdel(self.key, f"field {n + 7}")
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.count += 1
                time.sleep(self.pause)
        except (redis.RedisError, OSError) as error:
            self.error = error

    def stop(self):
        self.stopping = True
        self.join(300)
        assert self.error is None and not self.is_alive(), self.error


def test_clients_that_write_a_key_wait_while_it_is_copied():
    with Folder("big-hot") as folder:
        legacy, target = RedisServer(folder, "legacy", *HIDDEN), Ours(folder, "target")
        fill_hash(legacy, "hot", 50000)
        gateway = Gateway(folder, legacy, target, options="copy: { big: 64KB, hold: 60s }")
        writer = Hot(gateway, "hot")
        writer.start()
        wait_until("it was copied though it is written all the time", lambda: gateway.lanes()["big_copies_total"] > 0, 300)
        before = gateway.lanes()["effects_total"]
        wait_until("its writes go on as effects", lambda: gateway.lanes()["effects_total"] > before + 100, 300)
        writer.stop()
        gateway.wait_level()
        check_equal(legacy, target)
        print(f"{writer.count} writes, the slowest took {writer.slowest:.3f} s, {gateway.lanes()}")


def test_without_a_hold_a_write_ends_the_copy_and_the_figures_tell_what_it_would_need():
    with Folder("big-open") as folder:
        legacy, target = RedisServer(folder, "legacy", *HIDDEN), Ours(folder, "target")
        fill_hash(legacy, "hot", 400000)
        gateway = Gateway(folder, legacy, target, options="copy: { big: 64KB, hold: 0ms }", more=PATIENT)
        writer = Hot(gateway, "hot", pause=0.002)
        writer.start()
        wait_until("the copy was given up twice", lambda: gateway.lanes()["big_copies_given_up_total"] > 1, 300)
        lanes = gateway.lanes()
        assert lanes["big_keys"] == 1 and lanes["big_bytes"] > 10000000 and lanes["big_copy_ms"] > 100, lanes
        assert lanes["level"] == 0 and lanes["dirty_keys"] >= 1, lanes
        with redis.Redis(unix_socket_path=gateway.admin) as admin:
            admin.execute_command("GATEWAY", "HOLD")
            gateway.wait_level(180)  # now nobody writes it
            assert gateway.lanes()["big_copies_total"] == 1, gateway.lanes()
            admin.execute_command("GATEWAY", "RELEASE")
        writer.stop()
        gateway.wait_level()
        check_equal(legacy, target)


def test_where_memory_usage_is_refused_elements_are_counted():
    with Folder("big-count") as folder:
        legacy = RedisServer(folder, "legacy", *HIDDEN, "--rename-command", "MEMORY", "")
        target = RedisServer(folder, "target")
        add_all(legacy.client(), random.Random(folder.seed))
        gateway = Gateway(folder, legacy, target, options=SMALL)
        gateway.wait_level()
        assert gateway.lanes()["big_copies_total"] >= 8, gateway.lanes()
        check_equal(legacy, target)


def test_memory_is_bounded_whatever_the_size_of_a_key():
    elements = 5000000 if LONG else 500000
    with Folder("big-memory") as folder:
        legacy, target = RedisServer(folder, "legacy", *HIDDEN, "--save", ""), Ours(folder, "target")
        gateway = Gateway(folder, legacy, target, options="witness: off")  # nothing is copied while it is being made
        gateway.wait_level()
        gateway.client().set("one", 1)
        base = rss_kb(gateway.process.pid)[0]
        for first in range(1, elements, 100000):
            legacy.client().eval("for i = ARGV[1], ARGV[1] + 99999 do redis.call('ZADD', KEYS[1], i / 7, 'member ' .. i) end", 1, "zset", first)
        legacy.client().eval("redis.call('SET', KEYS[1], string.rep('0123456789abcdef', ARGV[1] / 16))", 1, "string", 200 << 20)
        began = time.monotonic()
        gateway.client().execute_command("EVAL", "return redis.call('DBSIZE')", 2, "zset", "string")  # they are dirty now
        wait_until("they are dirty", lambda: gateway.lanes()["dirty_keys"] > 0 or gateway.lanes()["big_copies_total"] > 0, 300)
        gateway.wait_level(300)
        took = time.monotonic() - began
        lanes, (_, peak) = gateway.lanes(), rss_kb(gateway.process.pid)
        assert lanes["big_copies_total"] == 2, lanes
        assert legacy.client().zcard("zset") == target.client().zcard("zset") == elements
        assert target.client().strlen("string") == 200 << 20
        for i in (1, 2, elements // 2, elements):
            assert legacy.client().zscore("zset", f"member {i}") == target.client().zscore("zset", f"member {i}")
        print(f"{elements} elements and 200 MB in {took:.1f} s; the gateway had {base} KB, at most {peak} KB")
        assert peak < base + (48 << 10), f"{base} KB grew to {peak} KB"


if __name__ == "__main__":
    sys.argv = [a for a in sys.argv if a != "--long"]
    sys.exit(run_tests(sys.modules[__name__]))

#!/usr/bin/python3
"""Read policies: primary, canary, shadow, with capture lane and with capture stream.

Canary: the share of the reads is answered by the target, a client always sees its own writes, and a target that stops or dies
costs no errors. Shadow: planted differences are counted per command and shown with their keys, orders and clocks are none, and
the client always gets legacy's answer.
"""
import json
import os
import signal
import sys
import threading
import time

import redis

from gwtest import Raw
from servers import Folder, Ours, PROGRAM, RedisServer, run_tests, wait_until
from test_gateway_lanes import Gateway, HIDDEN


class Reads(Gateway):
    def say(self, *words):
        with redis.Redis(unix_socket_path=self.admin, socket_timeout=60) as admin:
            return admin.execute_command("GATEWAY", *words)

    def reads(self):
        return json.loads(self.say("READS"))

    def start(self):
        super().start()
        wait_until("its admin socket is there", lambda: os.path.exists(self.admin))


class Stream(Reads):
    """A standalone gateway that only forwards to legacy."""

    def __init__(self, folder, legacy, target, loops=2):
        super().__init__(folder, legacy, target, loops=loops)

    def start(self):
        with open(self.file, encoding="utf-8") as config:
            text = config.read().replace("capture: lane", "capture: stream")
        with open(self.file, "w", encoding="utf-8") as config:
            config.write(text)
        super().start()


def undisturbed(gateway, read):
    """What READ() gives when no answer of the target was waited for in vain, now and a while ago (READS_BACK_OFF_MS): a busy machine
    makes the target slow, and then reads go to legacy."""
    def attempt():
        before = gateway.reads()["canary_returned"]
        time.sleep(1.1)
        got = read()
        return got if gateway.reads()["canary_returned"] == before else None
    return wait_until("no read came back from the target", attempt, 300)


def answered_by_target(gateway, client, key):
    """What the target says: the policy is 100%."""
    def attempt():
        before = gateway.reads()["canary_answered"]
        got = client.get(key)
        return (got,) if gateway.reads()["canary_answered"] == before + 1 else None
    return wait_until("the target answers", attempt, 60)[0]


def stop(process):
    process.send_signal(signal.SIGSTOP)


def level(gateway):
    gateway.wait_level()
    time.sleep(0.1)


def canary_by_lanes(loops):
    with Folder("reads-canary") as folder:
        legacy, target = RedisServer(folder, "legacy", *HIDDEN), Ours(folder, "target")
        for i in range(50):
            legacy.client().set(f"k{i}", "legacy")
        gateway = Reads(folder, legacy, target, loops=loops)
        wait_until("the copy is done", lambda: gateway.lanes()["passes_total"] > 0)
        level(gateway)
        for i in range(50):
            target.client().set(f"k{i}", "target")
        clients = [gateway.client() for _ in range(8)]
        read = lambda n: [clients[i % 8].get(f"k{i % 50}") for i in range(n)]
        assert set(read(200)) == {b"legacy"}
        gateway.say("READS", "25%")
        got = undisturbed(gateway, lambda: read(800))
        assert 150 <= got.count(b"target") <= 250, got.count(b"target")
        # its own writes: every read after an answered write sees it, whoever answers
        gateway.say("READS", "100%")
        before = gateway.reads()["canary_answered"]
        def own_writes():
            for i in range(400):
                c = clients[i % 8]
                c.set(f"own{i % 8}", i)
                assert c.get(f"own{i % 8}") == b"%d" % i, i
                c.rpush(f"list{i % 8}", i)
                assert c.lindex(f"list{i % 8}", -1) == b"%d" % i, i
        own_writes()
        wait_until("the target answered some of them", lambda: gateway.reads()["canary_answered"] > before + 100 or own_writes(), 300)
        # RESP3 clients get RESP3 answers
        new, old = Raw(gateway.port), Raw(gateway.port)
        assert isinstance(new.call("HELLO", 3), dict)
        old.call("HSET", "h", "f", "v")
        assert new.call("HGETALL", "h") == {b"f": b"v"} and old.call("HGETALL", "h") == [b"f", b"v"]
        # what a client asks in a pipeline stays in order
        with clients[0].pipeline(transaction=False) as p:
            for i in range(100):
                p.set("piped", i)
                p.get("piped")
            assert p.execute()[1::2] == [b"%d" % i for i in range(100)]
        # wrong types are errors as ever, told by the primary side
        try:
            clients[0].lindex("own0", 0)
            raise AssertionError("no error")
        except redis.ResponseError as err:
            assert "WRONGTYPE" in str(err), err
        # a target that stops costs a moment, and no error
        undisturbed(gateway, lambda: read(8))
        stop(target.process)
        returned, began = gateway.reads()["canary_returned"], time.monotonic()
        for i in range(300):
            assert clients[i % 8].get(f"own{i % 8}") is not None
        spent = time.monotonic() - began
        target.process.send_signal(signal.SIGCONT)
        tried = gateway.reads()["canary_returned"] - returned
        assert 0 < tried <= loops * (1 + spent), (spent, tried)  # each loop once, and once more a second later
        target.kill()
        for i in range(100):
            assert clients[i % 8].get(f"own{i % 8}") is not None
        gateway.say("READS", "primary")
        stats = json.loads(gateway.say("STATS"))
        side = stats["latency"]["target"]["read"]
        assert side["count"] > 100 and side["p50_us"] <= side["p99_us"] <= side["p999_us"] <= side["p9999_us"] <= side["max_us"], side
        assert stats["latency"]["target"]["write"]["count"] > 400 and stats["latency"]["legacy"]["write"]["count"] > 400, stats["latency"]
        print(f"stopped target: 300 reads in {spent:.2f} s")


def test_a_share_of_the_reads_goes_to_the_target_by_the_lanes():
    canary_by_lanes(1)


def test_likewise_for_clients_of_other_loops():
    canary_by_lanes(3)


PLANTED = {
    ("get", "text"): ("SET", "text", "other"),
    ("smembers", "set"): ("SADD", "set", "another"),
    ("hgetall", "hash"): ("HSET", "hash", "a", "9"),
    ("lrange", "list"): ("LSET", "list", 1, "x"),
    ("zscore", "zset"): ("ZADD", "zset", 7, "m"),
    ("ttl", "lives"): ("EXPIRE", "lives", 100),
}
READS = [("GET", "text"), ("SMEMBERS", "set"), ("HGETALL", "hash"), ("LRANGE", "list", 0, -1), ("ZSCORE", "zset", "m"), ("TTL", "lives"),
         ("STRLEN", "same"), ("SMEMBERS", "bigset"), ("HGETALL", "bighash"), ("ZRANGE", "zset2", 0, -1, "WITHSCORES"), ("PTTL", "also-lives"),
         ("HKEYS", "bighash"), ("SRANDMEMBER", "bigset"), ("OBJECT", "ENCODING", "bigset"), ("MGET", "text", "same"), ("LINDEX", "text", 0)]


def fill_one(r):
    r.set("text", "one")
    r.set("same", "same")
    r.sadd("set", *range(20))
    r.sadd("bigset", *[f"m{i}" for i in range(1000)])
    r.hset("hash", mapping={"a": 1, "b": 2})
    r.hset("bighash", mapping={f"f{i}": i for i in range(1000)})
    r.rpush("list", "a", "b", "c")
    r.zadd("zset", {"m": 1.5})
    r.zadd("zset2", {f"m{i}": i / 3 for i in range(50)})
    r.set("lives", 1, ex=5000)
    r.set("also-lives", 1, ex=5000)


def shadows(gateway, legacy, target, minimum):
    gateway.say("READS", "shadow", "AFTER", "300")
    c, direct = gateway.client(), legacy.client()
    for r in (c, direct):
        r.response_callbacks.clear()

    def round_of_reads():
        for words in READS:
            try:
                got = c.execute_command(*words)
            except redis.ResponseError as err:
                got = str(err).split()[0]
            if words[0] in ("SRANDMEMBER", "TTL", "PTTL"):
                continue
            try:
                assert got == direct.execute_command(*words), words
            except redis.ResponseError as err:
                assert got == str(err).split()[0], words
    for _ in range(10):
        round_of_reads()
    wait_until("they were compared", lambda: gateway.reads()["shadow_same"] >= minimum or round_of_reads(), 300)
    time.sleep(1)
    before = gateway.reads()
    assert before["shadow_different"] == 0 and before["differences"] == [], before
    assert not set(before["commands"]) & {"srandmember", "object|encoding"}, before["commands"]
    t = target.client()
    for words in PLANTED.values():
        t.execute_command(*words)
    def all_seen():
        told = gateway.reads()["commands"]
        return all(told[command]["different"] >= 3 for command, _ in PLANTED)
    for _ in range(3):
        round_of_reads()
    began = time.monotonic()  # what the busy machine left out is read once more
    wait_until("all was compared", lambda: all_seen() or time.monotonic() > began + 5 and round_of_reads(), 300)
    time.sleep(0.5)
    found = gateway.reads()
    named = {(d["command"], d["key"]) for d in found["differences"]}
    assert set(PLANTED) <= named and named <= set(PLANTED) | {("mget", "text")}, (named, set(PLANTED))
    for command, _ in PLANTED:  # every one that was compared since
        told = found["commands"][command]
        if [words[0].lower() for words in READS].count(command) == 1:
            assert told["different"] == told["compared"] - before["commands"][command]["compared"], (command, told)
    text = next(d for d in found["differences"] if d["command"] == "get")
    assert "one" in text["primary"] and "other" in text["other"], text
    gateway.say("READS", "primary")


def test_shadow_reads_by_the_lanes_show_what_differs():
    with Folder("reads-shadow") as folder:
        legacy, target = RedisServer(folder, "legacy", *HIDDEN), Ours(folder, "target")
        fill_one(legacy.client())
        gateway = Reads(folder, legacy, target)
        wait_until("the copy is done", lambda: gateway.lanes()["passes_total"] > 0)
        level(gateway)
        shadows(gateway, legacy, target, 100)
        # while others write, and the target is behind: no false difference
        gateway.say("READS", "shadow")
        before = gateway.reads()["shadow_different"]
        stopping = threading.Event()

        def write():
            r, n = gateway.client(), 0
            while not stopping.is_set():
                r.set("moving", n)
                r.rpush("growing", n)
                n += 1
        writer = threading.Thread(target=write)
        writer.start()
        reader = gateway.client()
        def read():
            for _ in range(400):
                reader.get("moving")
                reader.llen("growing")
        read()
        wait_until("many were compared", lambda: gateway.reads()["commands"].get("llen", {}).get("compared", 0) > 50 or read(), 300)
        stopping.set()
        writer.join()
        time.sleep(0.5)
        after = gateway.reads()
        assert after["shadow_different"] == before, after["differences"]


def test_shadow_and_canary_reads_beside_a_stream():
    with Folder("reads-stream") as folder:
        legacy, target = RedisServer(folder, "legacy"), RedisServer(folder, "target")
        fill_one(legacy.client())
        fill_one(target.client())
        gateway = Stream(folder, legacy, target)
        assert gateway.reads()["policy"] == "primary"
        shadows(gateway, legacy, target, 100)
        # lag: what is the same a moment later is no difference
        gateway.say("READS", "shadow", "AFTER", "5000")
        c = gateway.client()
        warm = gateway.reads()["shadow_same"]
        wait_until("its loop has a connection to the target", lambda: c.get("same") and gateway.reads()["shadow_same"] > warm)
        before = gateway.reads()
        c.set("late", 1)
        assert c.get("late") == b"1"
        time.sleep(0.1)
        target.client().set("late", 1)  # the link does it
        wait_until("it was read again", lambda: gateway.reads()["shadow_late"] == before["shadow_late"] + 1)
        assert gateway.reads()["shadow_different"] == before["shadow_different"], gateway.reads()
        # a client that wrote lately is answered by legacy, another one by the target
        gateway.say("READS", "100%", "AFTER", "5000")
        other = gateway.client()
        answered = gateway.reads()["canary_answered"]
        wait_until("its loop has a connection, too", lambda: other.get("same") and gateway.reads()["canary_answered"] > answered)
        c.set("mine", 1)
        assert c.get("mine") == b"1" and answered_by_target(gateway, other, "mine") is None
        time.sleep(5.1)
        assert answered_by_target(gateway, c, "mine") is None, "the target, where nobody wrote it"
        with c.pipeline(transaction=True) as p:
            p.set("block", 1)
            p.get("block")
            assert p.execute() == [True, b"1"]
        assert c.get("block") == b"1"
        stop(target.process)
        returned, began = gateway.reads()["canary_returned"], time.monotonic()
        for _ in range(200):
            assert other.get("same") == b"same"
        spent = time.monotonic() - began
        target.process.send_signal(signal.SIGCONT)
        tried = gateway.reads()["canary_returned"] - returned
        assert tried <= 1 + spent, (tried, spent)  # and then for a second no other one
        target.kill()
        for _ in range(50):
            assert other.get("same") == b"same"
        assert gateway.reads()["canary_returned"] > 0
        for words in (("tertiary",), ("110%",), ("10",), ("-5%",), ("10%", "AFTER"), ("10%", "AFTER", "x")):
            try:
                gateway.say("READS", *words)
                raise AssertionError(words)
            except redis.ResponseError:
                pass
        assert gateway.reads()["policy"] == "canary" and gateway.reads()["share"] == 1


def test_the_option_is_checked():
    import subprocess
    with Folder("reads-option") as folder:
        file = os.path.join(folder.path, "x.yaml")
        for value, fine in (("25%", True), ("shadow:5%", True), ("sometimes", False), ("200%", False)):
            with open(file, "w", encoding="utf-8") as out:
                out.write(f"migration: x\nlegacy: {{ address: \"127.0.0.1:1\" }}\ntarget: {{ address: \"127.0.0.1:2\" }}\n"
                          f"gateway: {{ listen: \"127.0.0.1:3\", reads: \"{value}\" }}\nrun_dir: \"{folder.path}\"\n")
            done = subprocess.run([PROGRAM, "config", "check", file], capture_output=True, text=True, check=False)
            assert (done.returncode == 0) == fine, (value, done)
            assert fine or "reads" in done.stderr + done.stdout, done


if __name__ == "__main__":
    sys.exit(run_tests(sys.modules[__name__]))

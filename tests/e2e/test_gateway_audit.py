#!/usr/bin/python3
"""Audits in the lanes (C29): what a stranger did at the target is named exactly, while clients write on; a repair makes it good.

Legacy hides PSYNC, SYNC, CONFIG and DEBUG. The keys that differ are of every kind, some of them larger than what is read at once.
"""
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import redis

from resp import encode
from servers import Folder, Ours, RedisServer, run_tests, wait_until
from test_gateway_lanes import Gateway, HIDDEN, Writer, compare, fill


class Audits(Gateway):
    def show(self):
        return json.loads(self.admin_call("SHOW"))

    def admin_call(self, *words):
        with redis.Redis(unix_socket_path=self.admin, socket_timeout=60) as admin:
            return admin.execute_command("GATEWAY", "AUDIT", *words)

    def audit(self, *words, seconds=300):
        self.turned()
        wait_until("the baseline has ended", lambda: self.lanes()["dirty_slots"] == 0, 300)
        self.admin_call("START", *words)
        wait_until("the audit ends", lambda: self.show()["done"], seconds)
        return self.show()


# key, what both sides have, what the stranger does at the target, and what that is called
PLANTED = [
    ("p:value", [("SET", "a")], [("SET", "b")], "value", "string"),
    ("p:type", [("RPUSH", "a", "b")], [("DEL",), ("SADD", "a", "b")], "type", "list"),
    ("p:missing", [("HSET", "f", "v")], [("DEL",)], "missing", "hash"),
    ("p:extra", [], [("ZADD", "1", "m")], "extra", "zset"),
    ("p:expiry", [("SET", "a"), ("PEXPIREAT", "4000000000000")], [("PEXPIREAT", "4000000000001")], "expiry", "string"),
    ("p:no-expiry", [("SADD", "a"), ("PEXPIREAT", "4000000000000")], [("PERSIST",)], "expiry", "set"),
    ("p:field", [("HSET", "f", "v", "g", "w")], [("HSET", "g", "x")], "value", "hash"),
    ("p:order", [("RPUSH", "a", "b", "c")], [("LMOVE", "p:order", "RIGHT", "LEFT")], "value", "list"),
    ("p:score", [("ZADD", "1.5", "m", "2", "n")], [("ZADD", "1.25", "m")], "value", "zset"),
    ("p:group", [("XADD", "1-1", "f", "v"), ("XADD", "1-2", "f", "v")], [("XGROUP CREATE", "g", "1-1")], "value", "stream"),
    ("p:pending", [("XADD", "1-1", "f", "v"), ("XGROUP CREATE", "g", "0"), ("XREADGROUP", "g")], [("XACK", "g", "1-1")], "value", "stream"),
    ("p:cut", [("XADD", "1-1", "f", "v"), ("XADD", "1-2", "f", "v")], [("XDEL", "1-1")], "value", "stream"),
    (b"p:\xff\x00binary", [("SET", "a")], [("APPEND", "b")], "value", "string"),
]


def do(r, key, words):
    if words[0].startswith("XGROUP"):
        r.execute_command("XGROUP", words[0].split()[1], key, *words[1:])
    elif words[0] == "XREADGROUP":
        r.execute_command("XREADGROUP", "GROUP", words[1], "c", "COUNT", 1, "STREAMS", key, ">")
    else:
        r.execute_command(words[0], key, *words[1:])


def name(key):
    return key if isinstance(key, str) else key.decode("latin-1").replace("\xff", "\\xff").replace("\x00", "\\x00")


def by_name(result):
    return {(d["db"], d["key"]): d for d in result["sample"]}


def start(folder, target_class, lanes=3, loops=1):
    legacy, target = RedisServer(folder, "legacy", *HIDDEN), target_class(folder, "target")
    fill(legacy.port, random.Random(folder.seed), 200)
    for db in (0, 3):
        with redis.Redis(port=legacy.port, db=db) as r:
            for key, there, _, _, _ in PLANTED:
                for words in there:
                    do(r, key, words)
    return legacy, target, Audits(folder, legacy, target, lanes=lanes, loops=loops)


def stop(writers):
    for writer in writers:
        writer.stopping = True
    for writer in writers:
        writer.join(300)


def with_writers(folder, target_class, loops=1):
    legacy, target, gateway = start(folder, target_class, loops=loops)
    writers = [Writer(gateway, folder.seed + i) for i in range(3)]
    for writer in writers:
        writer.start()
    clean = gateway.audit()
    assert clean["ok"] and clean["differences"] == 0 and clean["undecided"] == 0, clean
    assert clean["keys"] >= 2 * (5 * 200 + len(PLANTED) - 1) and clean["slots"] == 16384, clean
    for key, _, done, _, _ in PLANTED:
        for words in done:
            with redis.Redis(port=target.port, db=3) as r:
                if words[0] == "LMOVE":
                    r.execute_command("LMOVE", key, *words[1:])
                else:
                    do(r, key, words)
    before = after = sum(w.done for w in writers)
    while after == before:  # clients that write during the audit
        before = sum(w.done for w in writers)
        found = gateway.audit()
        after = sum(w.done for w in writers)
    assert found["ok"] and found["undecided"] == 0, found
    named = by_name(found)
    wanted = {(3, name(key)): (kind, what) for key, _, _, kind, what in PLANTED}
    assert {k: (d["kind"], d["type"]) for k, d in named.items()} == wanted, (set(named) ^ set(wanted), found["sample"])
    assert found["differences"] == len(PLANTED), found
    for (_, key), d in named.items():
        assert (d["source_digest"] == "") == (d["kind"] == "extra") and (d["target_digest"] == "") == (d["kind"] == "missing"), (key, d)
        assert d["source_digest"] != d["target_digest"], (key, d)
    with redis.Redis(unix_socket_path=gateway.admin) as admin:
        slots = json.loads(admin.execute_command("GATEWAY", "SLOTS"))
    assert sum(lane["slots"] for lane in slots["lanes"]) == slots["slots"] == 16384 and len(slots["lanes"]) == 3, slots
    assert all(lane["primary_up"] and lane["follower_up"] and lane["dirty_slots"] == 0 for lane in slots["lanes"]), slots
    gateway.admin_call("REPAIR")
    wait_until("the repaired keys are clean", lambda: gateway.audit()["differences"] == 0, 300)
    stop(writers)
    assert all(w.wrong is None and w.broken == 0 for w in writers), [(w.wrong, w.broken) for w in writers]
    gateway.wait_level()
    compare(legacy, target)
    last = gateway.audit()
    assert last["ok"] and last["differences"] == last["undecided"] == 0, last
    print(f"{last['keys']} keys, {found['late']} reads had to be repeated with {sum(w.done for w in writers)} steps of clients")
    gateway.kill(signal.SIGTERM)
    assert gateway.process.returncode == 0


def test_what_a_stranger_did_at_our_server_is_named_while_clients_write():
    with Folder("audit-ours") as folder:
        with_writers(folder, Ours)


def test_what_a_stranger_did_at_a_stock_redis_is_named_while_clients_write():
    with Folder("audit-redis") as folder:
        with_writers(folder, RedisServer, loops=2)


def groups(r, k):
    """Pages of entries and of pending ones, some of entries that are gone; a consumer without any, and a group."""
    with r.pipeline(transaction=False) as p:
        for i in range(1, 4001):
            p.xadd(k, {"field": f"value {i}", "n": i} if i % 3 else {"field": f"value {i}"}, id=f"7-{i}")
        for group in ("one", "two", "idle"):
            p.xgroup_create(k, group, "0")
        p.xreadgroup("one", "ann", {k: ">"}, count=2500)
        p.xreadgroup("two", "bob", {k: ">"}, count=10)
        p.xreadgroup("two", "ann", {k: ">"}, count=1500)
        p.xgroup_createconsumer(k, "two", "nobody")
        p.xack(k, "one", "7-3", "7-999", "7-1000")
        p.xdel(k, "7-5", "7-1001", "7-4000")
        p.execute()


BIG = {
    "big:string": lambda r, k: r.set(k, "0123456789" * 70000),
    "big:list": lambda r, k: [r.rpush(k, *[f"element {i} of many" for i in range(at, at + 5000)]) for at in range(0, 30000, 5000)],
    "big:set": lambda r, k: [r.sadd(k, *[f"member {i} of many" for i in range(at, at + 5000)]) for at in range(0, 30000, 5000)],
    "big:hash": lambda r, k: [r.hset(k, mapping={f"field {i}": f"value {i}" for i in range(at, at + 5000)}) for at in range(0, 30000, 5000)],
    "big:zset": lambda r, k: [r.zadd(k, {f"member {i}": i / 7 for i in range(at, at + 5000)}) for at in range(0, 30000, 5000)],
    "big:stream": lambda r, k: [r.xadd(k, {"field": f"value {i}"}) for i in range(3000)],
    "big:entry": groups, "big:owner": groups, "big:acked": groups, "big:group": groups, "big:last": groups, "big:deleted": groups,
}

BIG_CHANGES = {
    "big:string": lambda r, k: r.setrange(k, 650001, "x"),
    "big:list": lambda r, k: r.lset(k, 29000, "another"),
    "big:set": lambda r, k: (r.srem(k, "member 777 of many"), r.sadd(k, "member 777 of men")),
    "big:hash": lambda r, k: r.hset(k, "field 12345", "value 12346"),
    "big:zset": lambda r, k: r.zadd(k, {"member 29999": 1}),
    "big:stream": lambda r, k: r.xtrim(k, maxlen=2999, approximate=False),
    "big:entry": lambda r, k: r.xdel(k, "7-2222"),
    "big:owner": lambda r, k: r.xclaim(k, "one", "bob", 0, ["7-2001"], justid=True),
    "big:acked": lambda r, k: r.xack(k, "two", "7-1444"),
    "big:group": lambda r, k: r.xgroup_setid(k, "idle", "7-1"),
    "big:last": lambda r, k: r.execute_command("XSETID", k, "7-5000"),
    "big:deleted": lambda r, k: r.execute_command("XSETID", k, "7-4000", "ENTRIESADDED", 4000, "MAXDELETEDID", "7-1001"),
}


def test_large_values_are_read_in_pieces():
    with Folder("audit-big") as folder:
        legacy, target = RedisServer(folder, "legacy", *HIDDEN), Ours(folder, "target")
        for key, make in BIG.items():
            make(legacy.client(), key)
            make(legacy.client(), "equal:" + key)
        gateway = Audits(folder, legacy, target)
        clean = gateway.audit("WHOLE", 20000)
        assert clean["ok"] and clean["differences"] == clean["undecided"] == 0 and clean["keys"] == 2 * len(BIG), clean
        for key, change in BIG_CHANGES.items():
            change(target.client(), key)
        found = gateway.audit("WHOLE", 20000)
        assert {key for _, key in by_name(found)} == set(BIG) and found["undecided"] == 0 and found["keys"] == 2 * len(BIG), found
        whole = gateway.audit("WHOLE", 1000000000)
        pieces, at_once = by_name(found), by_name(whole)
        assert {k: (d["source_digest"], d["target_digest"]) for k, d in pieces.items()} == {k: (d["source_digest"], d["target_digest"]) for k, d in at_once.items()}, \
            "the digests of pieces are other ones"
        gateway.admin_call("REPAIR")
        gateway.wait_level()
        again = gateway.audit("WHOLE", 20000)
        assert again["ok"] and again["differences"] == again["undecided"] == 0, again


def test_a_large_value_that_is_written_all_the_time_is_never_called_equal_unless_it_was_read_between_two_writes():
    with Folder("audit-hot") as folder:
        legacy, target = RedisServer(folder, "legacy", *HIDDEN), Ours(folder, "target")
        BIG["big:hash"](legacy.client(), "hot")
        gateway = Audits(folder, legacy, target)
        wait_until("the baseline has ended", lambda: gateway.lanes()["passes_total"] > 0 and gateway.lanes()["level"], 300)
        stopping = threading.Event()

        def write():
            """There are always writes in the socket: whenever the gateway is awake it has some to do."""
            with socket.create_connection(("127.0.0.1", gateway.port), 60) as s:
                threading.Thread(target=lambda: [None for _ in iter(lambda: s.recv(1 << 16), b"")], daemon=True).start()
                n = 0
                while not stopping.is_set():
                    s.sendall(b"".join(encode("HSET", "hot", f"field {i % 30000}", i) for i in range(n, n + 500)))
                    n += 500
                s.shutdown(socket.SHUT_WR)
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        gateway.admin_call("START", "WHOLE", 20000)
        time.sleep(3)
        wait_until("it is read again and again", lambda: gateway.show()["late"] > 3, 300)
        assert not gateway.show()["done"], gateway.show()
        stopping.set()
        writer.join()
        wait_until("the audit ends", lambda: gateway.show()["done"], 300)
        result = gateway.show()
        assert result["ok"] and result["keys"] == 1 and result["differences"] == result["undecided"] == 0, result


def test_an_audit_says_when_it_cannot_claim_anything():
    with Folder("audit-lost") as folder:
        legacy, target, gateway = start(folder, Ours)
        gateway.audit()
        gateway.admin_call("START", "KEYS", 50)  # slow
        wait_until("it has begun", lambda: gateway.show()["keys"] > 20)
        try:
            gateway.admin_call("START")
            raise AssertionError("two at a time")
        except redis.ResponseError as err:
            assert "running already" in str(err), err
        since, began = time.monotonic(), gateway.show()["keys"]
        time.sleep(2)
        read = gateway.show()["keys"] - began
        assert read < 50 * (time.monotonic() - since) + 50, "it is not as slow as it was told to be"
        target.kill()
        target.start()
        wait_until("it ends", lambda: gateway.show()["done"])
        result = gateway.show()
        assert not result["ok"] and "copy all keys again" in result["error"], result
        gateway.wait_level()
        gateway.admin_call("START", "KEYS", 50)
        gateway.admin_call("STOP")
        wait_until("it ends", lambda: gateway.show()["done"])
        assert not gateway.show()["ok"] and "stopped" in gateway.show()["error"], gateway.show()
        assert gateway.audit()["ok"]
        for words in (("REPAIR",), ("START", "KEYS"), ("START", "KEYS", "0"), ("WHAT",)):
            try:
                gateway.admin_call(*words)
                raise AssertionError(words)
            except redis.ResponseError:
                pass


def tiny_module(folder):
    module = os.path.join(folder.path, "tiny_module.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", module, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiny_module.c")], check=True)
    return module


def test_values_of_a_module_are_compared_as_they_are_dumped():
    for version in ("1", "2"):
        with Folder(f"audit-module-{version}") as folder:
            module = tiny_module(folder)
            legacy = RedisServer(folder, "legacy", *HIDDEN, "--loadmodule", module, "1")
            target = RedisServer(folder, "target", "--loadmodule", module, version)
            there, here = legacy.client(), target.client()
            for key in ("same", "changed", "gone", "typed"):
                there.execute_command("TINY.SET", key, "some text")
            there.execute_command("TINY.SET", "large", "x" * 100000)
            there.pexpireat("same", 4000000000000)
            there.set("plain", "some text")
            gateway = Audits(folder, legacy, target)
            first = gateway.audit("WHOLE", 20000)
            if version == "2":  # each side writes the type in its own way
                assert first["differences"] == 0 and first["keys"] == 1 and not first["error"], first
                assert {u["key"]: u["why"] for u in first["undecided_keys"]} == dict.fromkeys(
                    ("same", "changed", "gone", "typed", "large"), "its module writes another version of it there"), first
                continue
            assert first["ok"] and first["keys"] == 6 and first["differences"] == first["undecided"] == 0, first
            assert here.execute_command("TINY.GET", "large") == b"x" * 100000
            here.execute_command("TINY.SET", "changed", "another text")
            here.execute_command("TINY.SET", "large", "x" * 99999 + "y")
            here.delete("gone")
            here.set("typed", "some text")
            here.pexpireat("same", 4000000000001)
            here.execute_command("TINY.SET", "plain", "some text")
            found = gateway.audit("WHOLE", 20000)
            assert found["ok"] and found["undecided"] == 0, found
            assert {k: (d["kind"], d["type"]) for (_, k), d in by_name(found).items()} == {
                "changed": ("value", "tiny-type"), "large": ("value", "tiny-type"), "gone": ("missing", "tiny-type"), "typed": ("type", "tiny-type"),
                "same": ("expiry", "tiny-type"), "plain": ("type", "string")}, found
            gateway.admin_call("REPAIR")
            gateway.wait_level()
            again = gateway.audit()
            assert again["ok"] and again["keys"] == 6 and again["differences"] == again["undecided"] == 0, again


if __name__ == "__main__":
    sys.exit(run_tests(sys.modules[__name__]))

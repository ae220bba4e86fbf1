#!/usr/bin/python3
"""Two links, one there and one back, as `state` orders them: standby, drain, compare, activate, audit, repair, kill -9.

Between two real redis-servers, and between one and the bundled server; state is played by fake_state.py. Writes go on at the
primary side all the time but in the barrier, and nothing differs in the end.
"""
import json
import os
import random
import threading
import time

import walk
from fake_state import FakeState
from link import PROGRAM, Link

FORWARD = {"migration": "m", "from": "legacy", "to": "target"}
REVERSE = {"migration": "m", "from": "target", "to": "legacy"}


class Writer(threading.Thread):
    def __init__(self, link, side, seed):
        super().__init__()
        self.link, self.side, self.random, self.stop, self.count = link, side, random.Random(seed), False, 0

    def run(self):
        clients = [self.link.client(self.side, db) for db in (0, 2)]
        while not self.stop:
            r = self.random.choice(clients)
            n = self.random.randrange(50)
            with r.pipeline(transaction=self.random.random() < 0.3) as p:
                p.incr(f"n:{n}")
                p.rpush(f"l:{n}", self.count)
                p.hset(f"h:{n}", self.count % 10, self.count)
                if n == 3:
                    p.set(f"gone:{self.count}", "x", px=300)
                p.execute()
            self.count += 1
            time.sleep(0.002)

    def end(self):
        self.stop = True
        self.join()


class Bridge(Link):
    def open_state(self):
        path = os.path.join(self.folder, "control.sock")
        self.state = FakeState(path)
        self.start_member()
        self.state.wait_member()

    def start_member(self):
        self.run("syncer", PROGRAM, "syncer", "drawbridge.yaml")

    def place(self, side):
        info = self.client(side).info("replication")
        return info["master_replid"], info["master_repl_offset"]

    def open(self, link, mode, epoch):
        json_text = json.dumps({**(FORWARD if link == "forward" else REVERSE), "mode": mode, "epoch": epoch})
        assert self.state.order("LINK", "OPEN", link, json_text) == "OK"

    def switch(self, active, barrier, epoch):
        """A barrier: ACTIVE drains, the other one takes over at the exact offset. Nobody writes now."""
        source, target = ("source", "target") if active == "forward" else ("target", "source")
        other = "reverse" if active == "forward" else "forward"
        _, x = self.place(source)
        self.state.forget()
        assert self.state.order("LINK", "DRAIN", active, barrier, epoch - 1, x) == "OK"
        drained = self.state.wait_report("DRAINED", barrier)
        assert drained["applied_offset"] >= x and drained["dirty"] == 0 and drained["quarantined"] == 0, drained
        names = [c["name"] for c in self.client(target).client_list()]
        assert not [n for n in names if n.startswith(f"drawbridge-link:{active}") and n.endswith(":1")], names
        replid, b = self.place(target)
        assert self.state.order("LINK", "COMPARE", active, barrier, 500) == "OK"
        compared = self.state.wait_report("COMPARED", barrier)
        assert compared["different"] == 0 and compared["compared"] > 0, compared
        assert self.state.order("LINK", "ACTIVATE", other, epoch, replid, b) == "OK"
        assert self.state.wait_report("ACTIVE", other)["offset"] >= b
        return replid, b

    def audit(self, number, link):
        assert self.state.order("AUDIT", "START", number, link) == "OK"
        return self.state.wait_report("AUDITED", number, timeout_s=40)

    def differences(self):
        """With both sides at rest. A key whose time comes between the two walks is looked at again."""
        for _ in range(4):
            found = walk.differences(walk.walk(self.ports["source"]), walk.walk(self.ports["target"]))
            if not found:
                return found
            time.sleep(0.5)
        return found


def follow(b):
    b.open("forward", "copy", 1)
    b.state.wait_report("LINK", "forward", lambda j: j["state"] == "following" and j["copy"]["done"])
    b.open("reverse", "standby", 1)
    b.state.wait_report("LINK", "reverse", lambda j: j["state"] == "standby")


def audits(b):
    """Exact while writes go on; a difference that was made is found, named and repaired."""
    result = b.audit(1, "forward")
    assert result["ok"] and result["differences"] == 0 and result["keys"] > 3000, result
    other = b.client("target")
    other.set("fill:7", "wrong")
    other.delete("fill:8")
    other.rpush("stranger", "x")
    other.expire("fill:9", 100000)
    result = b.audit(2, "forward")
    found = {(d["key"], d["kind"]) for d in result["sample"]}
    assert found == {("fill:7", "value"), ("fill:8", "missing"), ("stranger", "extra"), ("fill:9", "expiry")}, result
    assert b.state.wait_report("LINK", "reverse", lambda j: j["foreign_units"] >= 3)
    assert b.state.order("AUDIT", "REPAIR", 2) == "OK"
    assert b.state.wait_report("REPAIRED", 2)["keys"] == 4
    result = b.audit(3, "forward")
    assert result["ok"] and result["differences"] == 0, result


def scenario(bundled):
    with Bridge("roles", bundled=bundled) as b:
        with b.client("source").pipeline(transaction=False) as p:
            for n in range(4000):
                p.set(f"fill:{n}", n)
            p.execute()
        b.open_state()
        writer = Writer(b, "source", b.seed)
        writer.start()
        follow(b)
        audits(b)
        writer.end()
        replid, place = b.switch("forward", "10", 2)
        writer = Writer(b, "target", b.seed + 1)
        writer.start()
        time.sleep(0.5)
        result = b.audit(4, "reverse")
        assert result["ok"] and result["differences"] == 0, result
        b.kill()  # the syncer forgets everything, and is told again what must be so
        b.start_member()
        b.state.wait_member(joined=2)
        b.open("reverse", "standby", 2)
        assert b.state.order("LINK", "ACTIVATE", "reverse", 2, replid, place) == "OK"
        b.open("forward", "standby", 2)
        b.state.forget()
        b.state.wait_report("LINK", "reverse", lambda j: j["state"] == "following" and j["role"] == "active")
        b.state.wait_report("LINK", "forward", lambda j: j["state"] == "standby")
        time.sleep(0.5)
        writer.end()
        b.switch("reverse", "11", 3)  # rollback
        writer = Writer(b, "source", b.seed + 2)
        writer.start()
        time.sleep(0.5)
        writer.end()
        b.switch("forward", "12", 4)
        found = b.differences()
        assert not found, "\n".join(found)
        assert b.client("source").info("stats")["sync_full"] <= 6  # one copy, audits, no copy for a change of sides
        assert b.state.order("LINK", "CLOSE", "forward") == "OK"
        assert b.state.order("LINK", "CLOSE", "reverse") == "OK"
        until = time.monotonic() + 20
        if bundled:
            assert b.client("target").execute_command("DRAWBRIDGE", "CHECKPOINT", "LIST") is not None
        while (b.client("target").keys("drawbridge:*") or b.client("source").keys("drawbridge:*") or
               (bundled and b.client("target").execute_command("DRAWBRIDGE", "CHECKPOINT", "GET", "forward"))):
            assert time.monotonic() < until, "checkpoints stay after CLOSE"
            time.sleep(0.1)


scenario(bundled=False)
scenario(bundled=True)

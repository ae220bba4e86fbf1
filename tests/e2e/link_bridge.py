"""link_bridge.py -- two links, one there and one back, as `state` orders them, for end-to-end tests; a Link with a FakeState.

    with Bridge("name") as b:
        b.open_state(); follow(b)         both links: the forward one follows, the reverse one stands by
        b.switch("forward", "10", 2)      a barrier: the reverse link is the active one
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

    def switch(self, active, barrier, epoch, before_activate=lambda: None):
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
        assert self.state.order("LINK", "COMPARE", active, barrier, 500) == "OK"
        compared = self.state.wait_report("COMPARED", barrier)
        assert compared["different"] == 0 and compared["compared"] > 0, compared
        before_activate()
        replid, b = self.place(target)
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


def follow_forward(b):
    b.open("forward", "copy", 1)
    b.state.wait_report("LINK", "forward", lambda j: j["state"] == "following" and j["copy"]["done"])


def follow_reverse(b):
    b.open("reverse", "standby", 1)
    b.state.wait_report("LINK", "reverse", lambda j: j["state"] == "standby")


def follow(b):
    follow_forward(b)
    follow_reverse(b)

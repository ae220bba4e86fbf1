"""peer_effects.py -- test_effects.py between servers of different versions: what the lanes say that a command did at A is done at B.

    run(seed, commands, a, b)        each is a class of peers.py, or None: the bundled server

Requests that A does not know are errors there, and change nothing. What B refuses makes the keys that it writes dirty (C12b), and
they are copied, in the form that B reads. In the end, and now and then, peers.py walks both. Returns how often B refused what.
"""
import re

from peers import differences, survives, walk
from test_effects import Run, SCOPE_KEYS, Side, plain_zeros
from test_types_differential import OURS

OURS_VERSION = (7, 0, 15)
PTTL_MS = 50  # before 7.0 a deadline is the sum of two looks at the clock


class PeerServer:
    """What Side wants of test_types_differential.Server, of a version that does not know all its options."""

    def __init__(self, folder, peer, name):
        from test_types_differential import Wire  # pylint: disable=import-outside-toplevel
        self.server = peer(folder, name)
        self.port = self.server.port
        self.wire = Wire(self.port)

    def stop(self):
        self.server.kill()


class PeerSide(Side):
    def __init__(self, folder, peer, name):
        self.peer, self.version, self.db = peer, peer.version if peer else OURS_VERSION, 0
        if peer is None:
            super().__init__("ours")
            return
        self.server = PeerServer(folder, peer, name)
        self.port = self.server.port
        self.open()

    def open(self, proto=2):
        if self.version >= (6, 0, 0):
            super().open(proto)
            return
        from test_effects import Raw  # pylint: disable=import-outside-toplevel
        self.wire = self.server.wire.sock
        self.raw = Raw(self.server.wire.file)

    @property
    def number(self):
        major, minor, patch = (7, 2, 4) if self.peer and self.peer.valkey else self.version
        return 10000 * major + 100 * minor + patch

    def deadline(self, key):
        """In ms, -1: none."""
        if self.version >= (7, 0, 0):
            return self.ask("PEXPIRETIME", key)
        self.wire.sendall(b"*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nTIME\r\n")
        left = self.send_raw(b"*2\r\n$4\r\nPTTL\r\n$%d\r\n%s\r\n*1\r\n$4\r\nEXEC\r\n" % (len(key), key), 4)[-1][1]
        (seconds, micros), left = left
        return left if left < 0 else int(seconds) * 1000 + int(micros) // 1000 + left


class PeerRun(Run):
    def __init__(self, seed, folder, a, b):  # pylint: disable=super-init-not-called
        import random  # pylint: disable=import-outside-toplevel
        from effect_maker import EffectMaker  # pylint: disable=import-outside-toplevel
        from test_effects import Tool  # pylint: disable=import-outside-toplevel
        self.rng = random.Random(seed)
        self.a, self.b, self.c = PeerSide(folder, a, "a"), PeerSide(folder, b, "b"), Side("redis")
        self.tool = Tool()
        self.maker = EffectMaker(self.rng, self.c.port)
        self.history, self.sent, self.done = [], {}, {}
        self.deadlines, self.refused = {}, {}
        self.counts = dict.fromkeys(["commands", "nothing", "requests", "copies", "all dirty", "blocks", "spoilt", "refused by B"], 0)

    def facts(self, db):
        return [db, self.maker.now(), self.a.number, self.b.number, 0]

    def copy(self, db, key):
        self.counts["copies"] += 1
        key = key if isinstance(key, bytes) else key.encode()
        self.a.select(db)
        self.b.select(db)
        value, expires = self.a.ask("DUMP", key), self.a.deadline(key)
        if value is None:
            self.b.ask("DEL", key)
            self.deadlines.pop((db, key), None)
            return
        told = self.b.ask("RESTORE", key, max(expires, 0), self.tool.ask("FIT", self.b.number, value), "REPLACE", "ABSTTL")
        if told != b"OK":
            self.fail(f"copy of {key}: {told}")
        if expires > 0:
            self.deadlines[(db, key)] = expires
        else:
            self.deadlines.pop((db, key), None)

    def apply_request(self, item, alone):
        kind, scope, db, other, request, keys = item
        self.counts["requests"] += 1
        if scope == SCOPE_KEYS and self.rng.random() < 0.25:
            for name, at, use, *_ in keys:
                if use == 6:  # written, as a whole
                    self.spoil(at, name)
        self.b.select(db)
        answer = self.b.send_raw(request)[0][1]
        if isinstance(answer, Exception):
            self.counts["refused by B"] += 1
            words = re.sub(r"[`'\"].*", "...", answer.args[0].decode(errors="replace"))[:70]
            name = request.split(b"\r\n")[2].decode().upper() + ": " + words
            self.refused[name] = self.refused.get(name, 0) + 1
            return False
        self.note_deadlines(item, keys)
        return True

    def one(self, db, commands, in_block):
        if all(survives(min(self.a.version, self.b.version), c) for c in commands):
            super().one(db, commands, in_block)

    def warm_up(self):
        from effect_maker import warm_up  # pylint: disable=import-outside-toplevel
        self.a.ask("SET", "w0", "payload")
        payload = self.a.ask("DUMP", "w0")
        self.a.ask("DEL", "w0")
        for number, command in enumerate(warm_up(self.maker.now(), payload, b"no library", self.c.port)):
            self.one(0, [command], False)
            if number % 8 == 0:
                self.compare()
        self.compare()
        if self.a.version >= (5, 0, 0):
            self.deleted_entries()

    def deleted_entries(self):
        """Before 7.0 what is deleted stays in the pending lists; from 7.0 on XCLAIM and XAUTOCLAIM drop it when they meet it."""
        ids = [f"5-{n}" for n in range(1, 7)]
        for command in (["DEL", "x0"], *(["XADD", "x0", id, "f", "v"] for id in ids), ["XGROUP", "CREATE", "x0", "g1", "0"],
                        ["XREADGROUP", "GROUP", "g1", "c1", "STREAMS", "x0", ">"], ["XDEL", "x0", "5-2", "5-3", "5-5"], ["XCLAIM", "x0", "g1", "c2", "99999999", "5-2"],
                        ["XCLAIM", "x0", "g1", "c2", "99999999", "5-1", "5-5"], ["XAUTOCLAIM", "x0", "g1", "c4", "99999999", "0"], ["XCLAIM", "x0", "g1", "c3", "0", "5-3"],
                        ["XCLAIM", "x0", "g1", "c3", "0", "5-2", "5-4", "JUSTID"], ["XCLAIM", "x0", "g1", "c5", "99999999", "5-6", "LASTID", "5-9"],
                        ["XCLAIM", "x0", "g1", "c5", "0", "7-7", "FORCE"], ["XCLAIM", "x0", "g1", "c6", "0", "8-8"], ["XAUTOCLAIM", "x0", "g1", "c4", "0", "0", "COUNT", "2"],
                        ["XAUTOCLAIM", "x0", "g1", "c4", "0", "0", "JUSTID"], ["XREADGROUP", "GROUP", "g1", "c1", "STREAMS", "x0", "0"],
                        ["XREADGROUP", "GROUP", "g1", "c9", "STREAMS", "x0", ">"]):
            self.one(0, [command], False)
            self.compare()

    def compare(self):
        left, right = plain_zeros(walk(self.a.port)), plain_zeros(walk(self.b.port))
        found = differences(left, right, PTTL_MS)
        if found:
            names = {n for n in set(left) | set(right) if left.get(n) != right.get(n)}
            self.history = [h for h in self.history if any(str(n[1])[2:-1] in str(h) for n in names)]
            self.fail(f"A ({self.a.version}) and B ({self.b.version}) differ:\n" + "\n".join(found))
        for name, (_, _, deadline) in left.items():
            told = self.deadlines.get(name)
            if deadline and (told is None or not deadline[0] - PTTL_MS <= told <= deadline[1] + PTTL_MS):
                self.history = [h for h in self.history if str(name[1])[2:-1] in str(h)]
                self.fail(f"{name} expires at {deadline}, but the outcomes told {told}")
        self.history = []


def run(seed, wanted, folder, a, b):
    r = PeerRun(seed, folder, a, b)
    try:
        r.warm_up()
        steps = 0
        while r.counts["commands"] < wanted:
            r.step()
            steps += 1
            if steps % 150 == 0:
                r.compare()
        r.compare()
        print("    " + ", ".join(f"{v} {k}" for k, v in r.counts.items()) + "; both sides are equal", flush=True)
        return r.refused
    finally:
        r.close()

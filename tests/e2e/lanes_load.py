"""lanes_load.py -- many clients that write everything at once through a gateway with lanes, and what disturbs them.

    clients = [LoadClient(port, seed + i, migrate_port) for i in range(6)]

Each is a thread with one connection: single commands, pipelines, MULTI, WATCH, blocking commands with a short time, scripts,
short expiries, values that grow big. The requests come from effect_maker.py, which has every write command of Redis 7.0, many of
them wrong or without effect. A connection that broke is opened again; an error that says 'drawbridge' is kept in `wrong`.
"""
import random
import threading
import time

from effect_maker import EffectMaker
from test_types_differential import Wire

TAGS = 30
SHORT_MS = (20, 60, 200, 700, 1400)  # what expires while the test runs
LAST_IS_TIMEOUT = {"BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BZPOPMIN", "BZPOPMAX"}
FIRST_IS_TIMEOUT = {"BLMPOP", "BZMPOP"}
# What the gateway refuses in lanes, with a sentence of its own.
REFUSED = (b"it would stop or disturb one side", b"cannot be done", b"with capture lane this command cannot stand between WATCH and EXEC")


class LaneMaker(EffectMaker):
    """Keys under few hash tags, so that a command's keys share a lane more often than not; and times that come."""

    def __init__(self, rng, migrate_port, gentle):
        super().__init__(rng, migrate_port)
        self.gentle = gentle  # nothing after which all keys are listed again
        self.tag, self.wide = 0, 40
        self.seen = ["1-1"]

    def tagged(self, name):
        tag = self.tag if self.rng.random() < 0.85 else self.rng.randrange(TAGS)
        return "{t%d}%s" % (tag, name)

    def key(self, kind=""):
        if self.rng.random() < 0.05:
            return self.any()
        return self.tagged((kind or self.rng.choice("wlhszxpgb")) + str(self.rng.randrange(3)))

    def any(self):
        return "none" if self.rng.random() < 0.03 else self.tagged(self.rng.choice("wlhszxpgb") + str(self.rng.randrange(3)))

    def short(self):
        r, k = self.rng, self.any()
        ms = r.choice(SHORT_MS)
        return r.choice([["PEXPIRE", k, ms], ["PEXPIRE", k, ms, "NX"], ["SET", self.key("w"), "5", "PX", ms], ["PSETEX", self.key("w"), ms, "7"], ["EXPIRE", k, 1],
                         ["GETEX", self.key("w"), "PX", ms], ["PEXPIREAT", k, self.now() + ms], ["PERSIST", k]])

    def grow(self):
        """Values of thousands of elements."""
        r = self.rng
        first, kind = r.randrange(1 << 30), r.choice("lhszxw")
        key, many = self.key(kind), range(first, first + 500)
        return {"l": ["RPUSH", key, *many], "s": ["SADD", key, *many], "h": ["HSET", key, *[x for n in many for x in (n, "v%d" % n)]],
                "z": ["ZADD", key, *[x for n in many for x in (n, "m%d" % n)]], "x": ["XADD", key, "*", *[x for n in many for x in (n, "v")]],
                "w": ["SETRANGE", key, r.choice((0, 100000, 900000)), "x" * 3000]}[kind]

    def command(self):
        r = self.rng
        self.tag = r.randrange(TAGS)
        dice = r.random()
        if dice < 0.06:
            return self.short()
        if dice < 0.12 and self.gentle:  # what depends on a value that may be gone
            return self.rng.choice([["INCR", self.key("w")], ["APPEND", self.key("w"), "1"], ["RPUSH", self.key("l"), "x"]])
        if dice < 0.064:
            return self.grow()
        command = super().command()
        # A command that nobody knows may write any key: everything is listed again, as it is after SWAPDB.
        odd = command[0] in ("NO.SUCH", "DEBUG") or command[:2] == ["XGROUP", "WHAT"]
        if (odd and r.random() < 0.9) or (self.gentle and (odd or command[0] in ("SWAPDB", "FLUSHALL", "FLUSHDB"))):
            return ["PING"]
        return self.hasty(command)

    def hasty(self, command):
        """Nothing blocks for long."""
        name, at = command[0], None
        if name in LAST_IS_TIMEOUT:
            at = len(command) - 1
        elif name in FIRST_IS_TIMEOUT:
            at = 1
        elif "BLOCK" in command:
            at = command.index("BLOCK") + 1
        if at is not None and at < len(command) and command[at] == "0":
            command[at] = "30" if "BLOCK" in command else "0.03"
        return command


class LoadClient(threading.Thread):
    def __init__(self, port, seed, migrate_port, gentle=False, databases=(0, 0, 0, 1)):
        super().__init__(daemon=True)
        self.port, self.rng, self.databases = port, random.Random(seed), databases
        self.maker = LaneMaker(self.rng, migrate_port, gentle)
        self.done, self.broken, self.errors, self.wrong = 0, 0, 0, None
        self.slowest_s, self.stopping = 0.0, threading.Event()
        self.sent = {}

    def note(self, commands):
        for command in commands:
            name = str(command[0]).lower()
            if name in ("xgroup", "function", "script"):
                name += "|" + str(command[1]).lower()
            self.sent[name] = self.sent.get(name, 0) + 1

    def check(self, reply):
        if reply[0] == b"-":
            self.errors += 1
            if b"drawbridge" in reply[1] and not any(text in reply[1] for text in REFUSED):
                self.wrong = reply[1]

    def ask(self, wire, commands):
        self.note(commands)
        wire.send(*commands)
        for command in commands:
            reply = wire.read()
            self.check(reply)
            if command[0] == "XADD" and reply[0] == b"$" and reply[1]:
                self.maker.seen = (self.maker.seen + [reply[1].decode()])[-25:]
            if command[0] == "DUMP" and reply[0] == b"$" and reply[1]:
                self.maker.payloads = (self.maker.payloads + [reply[1]])[-12:]
        self.done += len(commands)

    def some(self, most):
        return [self.maker.command() for _ in range(self.rng.randint(1, most))]

    def block(self, most):
        """Between MULTI and EXEC; what changes libraries there makes all keys dirty, and so does what cannot be read."""
        found = self.some(most)
        if not self.maker.gentle:
            return found
        return [c for c in found if c[0] not in ("SCRIPT", "FUNCTION", "FCALL", "EVAL", "LMPOP", "BLMPOP", "ZMPOP", "BZMPOP") and "STORE" not in c[0]] or [["PING"]]

    def step(self, wire):
        r, dice = self.rng, self.rng.random()
        if dice < 0.12:
            self.ask(wire, self.some(25))
        elif dice < 0.20:
            self.ask(wire, [["MULTI"], *self.block(6), ["EXEC" if r.random() < 0.95 else "DISCARD"]])
        elif dice < 0.25:
            self.ask(wire, [["WATCH", self.maker.any(), self.maker.any()], *self.block(1), ["MULTI"], *self.block(3), ["EXEC"]])
        elif dice < 0.255:
            self.ask(wire, [["SELECT", r.choice(self.databases)]])
        else:
            self.ask(wire, [self.maker.command()])

    def life(self):
        wire = Wire(self.port)
        try:
            wire.ask("HELLO", self.rng.choice((2, 2, 3)))
            wire.ask("SELECT", self.rng.choice(self.databases))
            while not self.stopping.is_set():
                began = time.monotonic()
                self.step(wire)
                self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        finally:
            wire.close()

    def run(self):
        while not self.stopping.is_set():
            try:
                self.life()
            except OSError:  # and ConnectionError: the connection broke
                self.broken += 1
                time.sleep(0.05)
            except Exception as error:  # the test's main thread tells
                self.wrong = repr(error)
                raise

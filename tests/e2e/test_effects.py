#!/usr/bin/python3
"""test_effects.py [COMMANDS [A B]] -- what gateway/effect.h says that a command did, done at another server, makes it equal (C16).

Random requests for every write command of Redis 7.0 go to redis-server A as gateway/effect.h prepares them. What it
says of A's answers is done at redis-server B: requests are sent, dirty keys are copied. Then an independent reader
walks both. Some of the time both are said to be older than they are, so that only what those know is used. Beside that:
  - no key is changed that was not among the written keys of the prepared command (they go to the journal before it leaves);
  - B's value of a key that an item calls replaced is spoilt before it, and that must not matter; nor must values of keys
    that an item does not name;
  - the expiry times that the outcomes told are those that A's keys have.
A and B are `redis` (redis-server 7.0) or `ours` (the bundled server); without a choice each of redis-redis, redis-ours
and ours-redis gets its turn. SEED=n repeats a run; WHY=1 shows what made every key dirty.
"""
import os, random, subprocess, sys, time

from effect_maker import EffectMaker, LIBRARY, warm_up
from resp import encode
import seeds
from servers import TOP
from test_types_differential import OURS, Server, THEIRS
from walk import differences, walk

TOOL = os.path.join(os.environ.get("BUILD", os.path.join(TOP, "build")), "tests", "tools", "effects")
READ, WRITE, WHOLE = 1, 2, 4
KEPT, NONE, AT, OF = range(4)
REQUEST, DIRTY, DIRTY_ALL = range(3)
SCOPE_KEYS, SCOPE_DB, SCOPE_ALL, SCOPE_SWAP, SCOPE_SCRIPTS = range(5)


class Raw:
    """Replies as bytes, and as values."""

    def __init__(self, file):
        self.file = file

    def read(self):
        """(bytes, value); errors are Exceptions."""
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the other end hung up")
        kind, rest = line[:1], line[1:-2]
        if kind in b"+,(#":
            return line, rest
        if kind == b"-":
            return line, Exception(rest)
        if kind == b"_":
            return line, None
        size = int(rest)
        if kind == b":":
            return line, size
        if size < 0:
            return line, None
        if kind in b"$=":
            body = self.file.read(size + 2)
            return line + body, body[:-2]
        parts = [self.read() for _ in range(size * (2 if kind == b"%" else 1))]
        return line + b"".join(p[0] for p in parts), [p[1] for p in parts]


class Side:
    def __init__(self, program):
        self.server = Server([THEIRS] if program == "redis" else [OURS, "server"])
        self.port = self.server.port
        self.db = 0
        self.open()

    def open(self, proto=2):
        self.wire = self.server.wire.sock
        self.raw = Raw(self.server.wire.file)
        self.ask("HELLO", proto)

    def send_raw(self, data, replies=1):
        self.wire.sendall(data)
        return [self.raw.read() for _ in range(replies)]

    def ask(self, *command):
        return self.send_raw(encode(*command))[0][1]

    def select(self, db):
        if db != self.db:
            assert self.ask("SELECT", db) == b"OK", db
            self.db = db


class Tool:
    def __init__(self):
        self.process = subprocess.Popen([TOOL], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.raw = Raw(self.process.stdout)

    def ask(self, *command):
        self.process.stdin.write(encode(*command))
        self.process.stdin.flush()
        return self.raw.read()[1]


def plain_zeros(found):
    """A small sorted set forgets the sign of -0 and a big one does not; which it is depends on its past."""
    for name, (kind, value, expires) in found.items():
        if kind == b"zset":
            found[name] = (kind, [(m, "0.0" if score == "-0.0" else score) for m, score in value], expires)
    return found


class Run:
    def __init__(self, seed, a, b):
        self.rng = random.Random(seed)
        self.a, self.b, self.c = Side(a), Side(b), Side("redis")
        self.tool = Tool()
        self.version = 70015
        self.maker = EffectMaker(self.rng, self.c.port)
        self.history, self.sent, self.done = [], {}, {}
        self.deadlines = {}
        self.counts = dict.fromkeys(["commands", "nothing", "requests", "copies", "all dirty", "blocks", "spoilt", "unknown to B"], 0)

    def fail(self, text):
        print(text[:4000])
        for line in self.history[-8:]:
            print("   ", str(line)[:700])
        raise SystemExit(1)

    def close(self):
        for side in (self.a, self.b, self.c):
            side.server.stop()
        self.tool.process.stdin.close()
        self.tool.process.wait()

    # ---- the follower ----

    def copy(self, db, key):
        self.counts["copies"] += 1
        self.a.select(db)
        self.b.select(db)
        value, expires = self.a.ask("DUMP", key), self.a.ask("PEXPIRETIME", key)
        if value is None:
            self.b.ask("DEL", key)
            self.deadlines.pop((db, key), None)
            return
        told = self.b.ask("RESTORE", key, max(expires, 0), value, "REPLACE", "ABSTTL")
        if told != b"OK":
            self.fail(f"copy of {key}: {told}")
        if expires > 0:
            self.deadlines[(db, key)] = expires
        else:
            self.deadlines.pop((db, key), None)

    def copy_all(self):
        self.counts["all dirty"] += 1
        if os.environ.get("WHY"):
            print("all dirty:", str(self.history[-1])[:1500])
        for side in (self.a, self.b):
            for db in range(3):
                side.select(db)
                for key in side.ask("KEYS", "*"):
                    self.copy(db, key)
                    side.select(db)

    def spoil(self, db, key):
        """Something else at B than what is at A."""
        self.counts["spoilt"] += 1
        self.b.select(db)
        self.b.ask("DEL", key)
        how = self.rng.randrange(4)
        if how == 1:
            self.b.ask("SET", key, "spoilt", "PX", "5000000")
        elif how == 2:
            self.b.ask("RPUSH", key, "spoilt")
        elif how == 3:
            self.b.ask("HSET", key, "spoilt", "1")

    def note_deadlines(self, item, keys):
        kind, scope, db, other = item[:4]
        if scope == SCOPE_ALL:
            self.deadlines.clear()
        elif scope == SCOPE_DB:
            self.deadlines = {n: d for n, d in self.deadlines.items() if n[0] != db}
        elif scope == SCOPE_SWAP:
            turn = {db: other, other: db}
            self.deadlines = {(turn.get(n[0], n[0]), n[1]): d for n, d in self.deadlines.items()}
        before = [self.deadlines.get((k[1], k[0])) for k in keys]
        for name, at, use, expiry, source, deadline in keys:
            new = {KEPT: self.deadlines.get((at, name)), NONE: None, AT: deadline, OF: before[source] if expiry == OF else None}[expiry]
            if new is None:
                self.deadlines.pop((at, name), None)
            else:
                self.deadlines[(at, name)] = new

    def apply(self, items):
        """As a lane does it: what touches a dirty key makes what it writes dirty; copies come at the end."""
        dirty, everything = set(), False
        for item in items:
            kind, scope, db, other, request, keys = item
            if kind == DIRTY_ALL:
                everything = True
            elif kind == DIRTY or any((k[1], k[0]) in dirty for k in keys):
                dirty |= {(k[1], k[0]) for k in keys if k[2] & WRITE}
            elif not everything:
                known = self.apply_request(item, len(items) == 1)
                dirty = self.moved(dirty, item)
                if not known:
                    dirty |= {(k[1], k[0]) for k in keys if k[2] & WRITE}
        if everything:
            self.copy_all()
        for db, key in dirty:
            self.copy(db, key)

    def moved(self, dirty, item):
        """What becomes of dirty keys when databases are emptied or swapped."""
        _, scope, db, other = item[:4]
        if scope == SCOPE_ALL:
            return set()
        if scope == SCOPE_DB:
            return {n for n in dirty if n[0] != db}
        if scope == SCOPE_SWAP:
            turn = {db: other, other: db}
            return {(turn.get(n[0], n[0]), n[1]) for n in dirty}
        return dirty

    def apply_request(self, item, alone):
        """False: B does not have the command, and what it writes is dirty (C12b)."""
        kind, scope, db, other, request, keys = item
        self.counts["requests"] += 1
        strangers = []
        if scope == SCOPE_KEYS and self.rng.random() < 0.25:
            for name, at, use, *_ in keys:
                if use == WRITE | WHOLE:
                    self.spoil(at, name)
            names = [(k[1], k[0]) for k in keys]
            stranger = (self.rng.choice([db, db, 0, 1]), self.maker.any().encode())
            if alone and stranger not in names:
                self.spoil(*stranger)
                strangers.append(stranger)
        self.b.select(db)
        answer = self.b.send_raw(request)[0][1]
        known = not str(answer).startswith("b'ERR unknown command") and not str(answer).startswith('b"ERR unknown command')
        if isinstance(answer, Exception) and known:
            self.fail(f"B refuses {request}: {answer}")
        self.counts["unknown to B"] += not known
        self.note_deadlines(item, keys)
        for stranger in strangers:
            self.copy(*stranger)
        return known

    # ---- one step ----

    def facts(self, db):
        return [db, self.maker.now(), self.version, self.version, 0]

    def check_keys(self, plan_keys, unknown, items):
        written = {(k[1], k[0]) for k in plan_keys if k[2] & WRITE}
        for item in items:
            for key in item[5]:
                if key[2] & WRITE and not unknown and (key[1], key[0]) not in written:
                    self.fail(f"{key[:3]} is written, but was not foretold in {plan_keys}")
                if item[0] == DIRTY and not key[2] & WRITE:
                    self.fail(f"{key[:3]} is not written, but dirty")

    def warm_up(self):
        """Every write command with an effect."""
        self.a.ask("SET", "w0", "payload")
        self.a.ask("FUNCTION", "LOAD", LIBRARY % (0, 0))
        payload, library = self.a.ask("DUMP", "w0"), self.a.ask("FUNCTION", "DUMP")
        self.a.ask("FUNCTION", "FLUSH")
        self.a.ask("DEL", "w0")
        for number, command in enumerate(warm_up(self.maker.now(), payload, library, self.c.port)):
            self.one(0, [command], False)
            if number % 8 == 0:
                self.compare()
        self.compare()
        without = write_commands(self.a) - set(self.done)
        if without:
            self.fail(f"these had no effect: {sorted(without)}")

    def step(self):
        rng = self.rng
        db = rng.choice([0, 0, 0, 1])
        in_block = rng.random() < 0.15
        commands = [self.maker.command() for _ in range(rng.randint(1, 7) if in_block else 1)]
        if in_block:
            commands = [c if rng.random() > 0.08 else ["SELECT", rng.choice(["0", "1", "2", "99", "x"])] for c in commands]
            commands = [c for c in commands if c[0] not in ("MULTI", "EXEC")]
        elif commands[0][0] in ("MULTI", "EXEC"):
            return
        self.one(db, commands, in_block)

    def one(self, db, commands, in_block):
        if in_block:
            plan = self.tool.ask("BLOCK", *self.facts(db), len(commands), *[x for c in commands for x in [len(c)] + c])
        else:
            plan = self.tool.ask("NEW", *self.facts(db), *commands[0])
        send, replies, db_after, writes, plain, blocking, barrier, unknown, keys = plan
        self.a.select(db)
        answers = self.a.send_raw(send, replies)
        self.a.db = None if in_block else db
        if in_block:
            self.a.ask("SELECT", 0)
            self.a.db = 0
        whole = b"".join(x[0] for x in answers)
        client, would_block, refusal, items = self.tool.ask("TELL", whole)
        self.history.append((db, commands, send[:200], whole[:200], plan[3:], items))
        self.check_client(client, commands, in_block, refusal)
        self.count(commands, in_block, items)
        if not writes and items:
            self.fail("it does not write, but did something")
        self.check_keys(keys, unknown, items)
        self.apply(items)
        self.learn(commands, client)

    def check_client(self, client, commands, in_block, refusal):
        import io
        raw = Raw(io.BytesIO(client))
        _, value = raw.read()
        if raw.file.read():
            self.fail(f"the client gets more than one reply: {client}")
        if in_block and isinstance(value, list) and len(value) != len(commands):
            self.fail(f"the client gets {len(value)} replies for {len(commands)} commands")
        if refusal and not isinstance(value, Exception):
            self.fail(f"refused as {refusal}, but the client gets {client}")

    def count(self, commands, in_block, items):
        self.counts["commands"] += len(commands)
        self.counts["blocks"] += in_block
        self.counts["nothing"] += not items
        for command in commands:
            name = str(command[0]).lower()
            if name in ("xgroup", "function", "script"):
                name += "|" + str(command[1]).lower()
            self.sent[name] = self.sent.get(name, 0) + 1
            if items and not in_block:
                self.done[name] = self.done.get(name, 0) + 1

    def learn(self, commands, client):
        if len(commands) != 1:
            return
        if commands[0][0] == "XADD" and client[:1] == b"$" and len(client) > 6:
            self.maker.seen = (self.maker.seen + [client.split(b"\r\n")[1].decode()])[-25:]
        if commands[0][0] == "DUMP" and client[:1] == b"$" and client[1:2] != b"-":
            body = client[client.index(b"\r\n") + 2:-2]
            self.maker.payloads = (self.maker.payloads + [body])[-12:]

    def compare(self):
        left, right = plain_zeros(walk(self.a.port)), plain_zeros(walk(self.b.port))
        found = differences(left, right)
        if found:
            names = {n for n in set(left) | set(right) if left.get(n) != right.get(n)}
            told = [h for h in self.history if any(n[1] in str(h).encode() or str(n[1])[2:-1] in str(h) for n in names)]
            self.history = told
            self.fail("A and B differ:\n" + "\n".join(found))
        for name, (_, _, expires) in left.items():
            if expires > 0 and self.deadlines.get(name) != expires:
                self.history = [h for h in self.history if str(name[1])[2:-1] in str(h)]
                self.fail(f"{name} expires at {expires}, but the outcomes told {self.deadlines.get(name)}")
        self.history = []


def write_commands(side):
    """Every command that redis-server flags as a write, and the others that may write."""
    rows = []
    for row in side.ask("COMMAND"):
        rows += [row] + (row[9] if len(row) > 9 else [])
    names = {r[0].decode() for r in rows}
    writes = {r[0].decode() for r in rows if b"write" in r[2]}
    return writes | ({"eval", "evalsha", "fcall", "pfcount", "script|load", "script|flush"} & names)


def run(seed, wanted, a, b):
    print(f"seed {seed}, {a} to {b} (repeat with SEED={seed})", flush=True)
    run = Run(seed, a, b)
    try:
        run.warm_up()
        steps = 0
        while run.counts["commands"] < wanted:
            if steps % 1000 == 0:
                run.a.open(run.rng.choice([2, 3]))
                run.version = run.rng.choice([70015, 70015, 60000, 40000])
            run.step()
            steps += 1
            if steps % 150 == 0:
                run.compare()
        run.compare()
        print(", ".join(f"{v} {k}" for k, v in run.counts.items()) + "; both sides are equal", flush=True)
    finally:
        run.close()


def main():
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    seed = seeds.seed()
    pairs = [sys.argv[2:4]] if len(sys.argv) > 3 else [("redis", "redis"), ("redis", "ours"), ("ours", "redis")]
    for a, b in pairs:
        run(seed, wanted, a, b)


if __name__ == "__main__":
    main()

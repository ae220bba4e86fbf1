#!/usr/bin/python3
"""test_mini_redis.py [COMMANDS] -- the Redis of the simulations (tests/sim/mini_redis.h) beside redis-server 7.0.15.

What the lanes are proved against in the simulation must be what they will meet. The same random commands go to both,
over three connections with MULTI and WATCH; replies must be the same bytes, and now and then every value and expiry
time. What the server chose at random (SPOP) is told to the other. SEED=n repeats a run.
"""
import os, random, subprocess, sys, time

from resp import encode
from servers import TOP
from test_effects import Raw
from test_types_differential import Server, THEIRS, Wire
from walk import walk

TOOL = os.path.join(os.environ.get("BUILD", os.path.join(TOP, "build")), "tests", "tools", "mini")
KEYS = "abcdef"


class Maker:
    def __init__(self, rng):
        self.rng = rng

    def command(self):
        """As random_command() of sim_lane.c, with more of each."""
        r = self.rng
        k, k2, k3, v = (r.choice(KEYS[:4]) for _ in range(4))
        v = r.choice("xyz")
        now = int(time.time() * 1000)
        at = r.choice([now + 1000000 + r.randrange(9000000), now - 1000, 1, now + 5000000])
        life = r.choice(["5000000", "7000000"])
        return r.choice([
            ["SUNIONSTORE", k, k2, k3], ["RENAME", k, k2], ["RENAME", k, k], ["MSET", k, "1", k2, "2"], ["SMOVE", k, k2, v],
            ["PEXPIRE", k, life], ["PEXPIRE", k, "-1"], ["PERSIST", k], ["PERSIST", k], ["SET", k, "1", "PX", life], ["SET", k, "1", "PXAT", at if at > 0 else 1],
            ["PEXPIREAT", k, at], ["SET", k, v], ["SET", k, "1"], ["SET", k, "7", "NX"], ["SET", k, "7", "XX"], ["SET", k, "8", "KEEPTTL"],
            ["SET", k, "9", "GET"], ["SET", k, "9", "NX", "GET"], ["SET", k, "9", "XX", "GET"], ["SETNX", k, "5"], ["GETSET", k, v],
            ["GETDEL", k], ["INCR", k], ["INCR", k], ["APPEND", k, v], ["DEL", k, k2], ["UNLINK", k], ["LPUSH", k, v], ["RPUSH", k, v], ["LPUSHX", k, v],
            ["LPOP", k], ["RPOP", k], ["SADD", k, v], ["SADD", k, v + "2"], ["SREM", k, v], ["SPOP", k], ["HSET", k, v, v], ["HDEL", k, v],
            ["ZADD", k, str(r.randrange(5)), v], ["ZINCRBY", k, "2", v], ["ZREM", k, v], ["GET", k], ["PTTL", k], ["PEXPIRETIME", k], ["SELECT", str(r.randrange(2))],
            ["DEL", k], ["FLUSHALL"] if r.random() < .1 else ["GET", k], ["FLUSHDB"] if r.random() < .1 else ["GET", k], ["SWAPDB", "0", "1"] if r.random() < .3 else ["GET", k],
        ])


class Run:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.maker = Maker(self.rng)
        self.server = Server([THEIRS])
        self.wires = [Wire(self.server.port) for _ in range(3)]
        self.raws = [Raw(w.file) for w in self.wires]
        self.tool = subprocess.Popen([TOOL], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.mini = Raw(self.tool.stdout)
        self.queued = [None, None, None]  # commands in MULTI
        self.dbs = [0, 0, 0]
        self.history, self.count = [], 0

    def close(self):
        for wire in self.wires:
            wire.close()
        self.server.stop()
        self.tool.stdin.close()
        self.tool.wait()

    def fail(self, text):
        print(text[:3000])
        for line in self.history[-15:]:
            print("   ", str(line)[:300])
        raise SystemExit(1)

    def at_mini(self, who, command):
        self.tool.stdin.write(encode(who, *command))
        self.tool.stdin.flush()
        return self.mini.read()[0]

    def at_redis(self, who, command):
        self.wires[who].sock.sendall(encode(*command))
        return self.raws[who].read()[0]

    def one(self, who, command):
        """To both, and the replies are the same bytes."""
        redis = self.at_redis(who, command)
        mini = self.at_mini(who, command)
        self.history.append((who, command, redis, mini))
        self.count += 1
        if redis != mini and not (command[0] == "PTTL" and redis[:1] == mini[:1] == b":" and abs(int(redis[1:]) - int(mini[1:])) < 5000):
            self.fail(f"{command}: redis-server says {redis}, the mini Redis {mini}")
        return redis

    def level(self, who, key):
        """A relative time was counted from two clocks: make it the same. (Answers of PEXPIRETIME are compared.)"""
        mini, redis = (int(f(who, ["PEXPIRETIME", key])[1:]) for f in (self.at_mini, self.at_redis))
        if abs(mini - redis) > 5000:
            self.fail(f"{key}: {redis} or {mini}")
        if redis > 0:
            self.one(who, ["PEXPIREAT", key, redis])

    def alone(self, who, command):
        if command[0] == "SPOP":
            redis = self.at_redis(who, command)
            self.history.append((who, command, redis))
            if redis[:1] == b"$" and redis[1:2] != b"-":
                member = redis.split(b"\r\n")[1]
                mini = self.at_mini(who, ["SREM", command[1], member])
                if mini != b":1\r\n":
                    self.fail(f"redis-server popped {member} of {command[1]}, the mini Redis says {mini}")
            else:
                mini = self.at_mini(who, command)
                if mini != redis:
                    self.fail(f"{command}: {redis} or {mini}")
            return
        self.one(who, command)
        if command[0] == "PEXPIRE" or "PX" in command:
            self.level(who, command[1])

    def step(self):
        who = self.rng.randrange(3)
        command = self.maker.command()
        dice = self.rng.random()
        if self.queued[who] is None and dice < 0.05:
            self.one(who, ["MULTI"])
            self.queued[who] = 0
        elif self.queued[who] is None and dice < 0.08:
            self.one(who, ["WATCH", self.rng.choice(KEYS[:4])])
        elif self.queued[who] is not None and (dice < 0.25 or self.queued[who] > 6):
            self.one(who, ["EXEC"])
            self.queued[who] = None
        elif self.queued[who] is not None:
            relative = command[0] in ("SPOP", "PTTL", "PEXPIRE") or "PX" in command
            self.one(who, command if not relative else ["BLPOP", "a", "b", "c", "0"])
            self.queued[who] += 1
        else:
            self.alone(who, command)

    def compare(self):
        for who in range(3):
            if self.queued[who] is not None:
                self.one(who, ["EXEC"])
                self.queued[who] = None
        self.tool.stdin.write(encode("STATE"))
        self.tool.stdin.flush()
        mini = {}
        for line in self.mini.read()[1]:
            db, key, kind, expires, *items = line.decode().split(" ")
            mini[(int(db), key)] = (kind, int(expires), items)
        real = {(db, key.decode()): (kind.decode(), expires, items_of(kind, value)) for (db, key), (kind, value, expires) in walk(self.server.port).items()}
        if mini != real:
            self.fail(f"the mini Redis holds\n{mini}\nredis-server holds\n{real}")


def items_of(kind, value):
    if kind == b"string":
        return [value.decode()]
    if kind in (b"hash", b"zset"):
        pairs = sorted((a.decode(), b.decode() if isinstance(b, bytes) else str(int(float(b)))) for a, b in value)
        return [x for pair in pairs for x in pair]
    return [x.decode() for x in value]


def main():
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
    seed = int(os.environ.get("SEED") or (random.randrange(1 << 32) if sys.argv[1:] else 20261121))
    print(f"seed {seed} (repeat with SEED={seed})", flush=True)
    run = Run(seed)
    try:
        while run.count < wanted:
            for _ in range(100):
                run.step()
            run.compare()
        print(f"{run.count} commands: the mini Redis answers as redis-server, and holds the same")
    finally:
        run.close()


if __name__ == "__main__":
    main()

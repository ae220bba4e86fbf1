#!/usr/bin/python3
"""test_lanes_load.py [--long] -- every write command at random through the lanes, with deaths of all but legacy: both sides end up equal.

Legacy is a redis-server that hides PSYNC, SYNC, CONFIG and DEBUG; the target is the bundled server, and then redis-server. Both
are reached through relays that cut all connections. Meanwhile the target is stopped (10 s, with --long a minute) and killed, and
the gateway is killed. In the end the lanes say that they are level, and an independent walk finds no difference. Plain runs have
a fixed seed; SEED=n repeats a run.
The test itself is tried by test_lanes_breaks.py.
"""
import os
import random
import signal
import subprocess
import sys
import time

import redis

from lanes_load import LoadClient
from servers import Folder, Ours, RedisServer, Relay, wait_until
from test_effects import plain_zeros
from test_gateway_lanes import Gateway, HIDDEN
from walk import differences, walk

LONG = "--long" in sys.argv
FIXED_SEED = 20261121
TARGETS = {"bundled": Ours, "redis": RedisServer}


def clients(count, gateway, seed, migrate_port, gentle):
    found = [LoadClient(gateway.port, seed + i, migrate_port, gentle) for i in range(count)]
    for client in found:
        client.start()
    return found


def done(load):
    return sum(client.done for client in load)


def fill(port, rng, elements):
    for db in (0, 1):
        with redis.Redis(port=port, db=db) as r, r.pipeline(transaction=False) as p:
            for i in range(400):
                p.set(f"old{i}", "x" * rng.randrange(200))
                p.set(f"gone{i}", 1, px=rng.randrange(1, 3000))
                p.hset(f"oldh{i}", mapping={f"f{j}": j for j in range(rng.randrange(1, 20))})
            for first in range(0, elements, 1000):
                some = range(first, min(first + 1000, elements))
                p.rpush("bigl", *some)
                p.sadd("bigs", *some)
                p.hset("bigh", mapping={n: n for n in some})
                p.zadd("bigz", {n: n / 3 for n in some})
            p.execute()


def functions(port):
    """What libraries there are, with their code: they are no keys."""
    with redis.Redis(port=port) as r:
        return sorted(repr(sorted((k, v) for k, v in zip(row[::2], row[1::2]) if k != b"functions"))
                      for row in r.execute_command("FUNCTION", "LIST", "WITHCODE"))


def compare(legacy, target):
    time.sleep(1.6)  # what was about to expire has
    a, b = plain_zeros(walk(legacy.port)), plain_zeros(walk(target.port))
    found = differences(a, b)
    if functions(legacy.port) != functions(target.port):
        found.append(f"libraries: {functions(legacy.port)} | {functions(target.port)}")
    return found, len(a)


def progress(load, text, commands=100):
    before = done(load)
    wait_until(text, lambda: done(load) > before + commands, 180)


def cuts(gateway, side, rng, times):
    """The servers live on, and may still execute what was on its way."""
    for _ in range(times):
        gateway.relays[side].cut()
        time.sleep(rng.uniform(0.02, 0.3))
        gateway.relays[side].open()
        time.sleep(rng.uniform(0.1, 0.8))


def stopped(target, load, seconds):
    broken = sum(client.broken for client in load)
    target.process.send_signal(signal.SIGSTOP)
    before, until = done(load), time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(seconds / 5)
        progress(load, "the clients go on while the target stands still")
    target.process.send_signal(signal.SIGCONT)
    assert sum(client.broken for client in load) == broken, "clients lost their connections because of the target"
    return done(load) - before


def killed(target, load, rng):
    target.kill()
    progress(load, "the clients go on without a target")
    time.sleep(rng.uniform(0, 0.5))
    target.start()


def gateway_dies(gateway, rng, times):
    for _ in range(times):
        time.sleep(rng.uniform(0.2, 1.5))
        gateway.kill()
        gateway.start()


def gateway_dies_full(gateway, target):
    """While much is under way to the target."""
    target.process.send_signal(signal.SIGSTOP)
    time.sleep(0.4)
    gateway.kill()
    target.process.send_signal(signal.SIGCONT)
    gateway.start()


class World:
    def __init__(self, folder, target_class, count=6, elements=20000, witness="auto", options=("--appendonly", "yes", "--appendfsync", "everysec"), gentle=False):
        self.rng, self.folder = random.Random(folder.seed), folder
        self.legacy = RedisServer(folder, "legacy", *HIDDEN)
        self.target = target_class(folder, "target", *options)
        self.third = RedisServer(folder, "third")  # for MIGRATE
        fill(self.legacy.port, self.rng, elements)
        self.target.client().set("junk", "must go")
        to_legacy, to_target = Relay(self.legacy.port), Relay(self.target.port)
        self.gateway = Gateway(folder, to_legacy, to_target, lanes=self.rng.choice((1, 2, 2, 3, 5)), loops=self.rng.choice((1, 2, 3)),
                               options=f"witness: {witness}")
        self.gateway.relays = to_legacy, to_target
        wait_until("both sides were listed", lambda: self.gateway.lanes()["passes_total"] > 0, 180)
        self.load = clients(count, self.gateway, folder.seed, self.third.port, gentle)

    def calm(self, effects=300):
        """Effects go to the target, and not only copies."""
        before = self.gateway.lanes()["effects_total"]
        wait_until(f"{effects} effects went", lambda: self.gateway.lanes()["effects_total"] > before + effects, 180)

    def end(self, seconds=90):
        for client in self.load:
            client.stopping.set()
        for client in self.load:
            client.join(180)
            assert not client.is_alive(), "a client waits for ever"
            assert client.wrong is None, client.wrong
        self.gateway.wait_level(seconds)
        found, keys = compare(self.legacy, self.target)
        sent = {}
        for client in self.load:
            for name, times in client.sent.items():
                sent[name] = sent.get(name, 0) + times
        print(f"{done(self.load)} commands of {len(sent)} names, {sum(c.errors for c in self.load)} errors, {sum(c.broken for c in self.load)} broken connections, "
              f"slowest {max(c.slowest_s for c in self.load):.2f} s, {keys} keys, {self.gateway.lanes()}", flush=True)
        return found


def trouble(w):
    rng = w.rng
    w.calm()
    cuts(w.gateway, 1, rng, 2)
    cuts(w.gateway, 0, rng, 2)
    w.calm(100)
    went = stopped(w.target, w.load, 60 if LONG else 10 if isinstance(w.target, Ours) else 2)
    print(f"{went} commands while the target stood still")
    killed(w.target, w.load, rng)
    gateway_dies(w.gateway, rng, 8 if LONG else 2)
    gateway_dies_full(w.gateway, w.target)
    w.calm(100)
    for _ in range(5 if LONG else 0):
        cuts(w.gateway, rng.randrange(2), rng, 5)
        killed(w.target, w.load, rng)
        w.calm(500)
        gateway_dies(w.gateway, rng, 2)
    w.calm(50)


def run(target_class):
    if not LONG:
        os.environ.setdefault("SEED", str(FIXED_SEED))
    with Folder("lanes-load") as folder:
        # The witness would make good by copies what the lanes do wrong.
        w = World(folder, target_class, witness="auto" if target_class is Ours else "off")
        trouble(w)
        found = w.end()
        assert not found, "\n".join(found)
        w.gateway.kill(signal.SIGTERM)
        assert w.gateway.process.returncode == 0, f"the gateway ended with {w.gateway.process.returncode}"


def main():
    names = [name for name in sys.argv[1:] if name in TARGETS]
    if len(names) == 1:
        run(TARGETS[names[0]])
        return 0
    words = [sys.executable, os.path.abspath(__file__), *sys.argv[1:]]
    both = {name: subprocess.Popen([*words, name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for name in TARGETS}
    for name, process in both.items():
        print(f"---- {name}\n{process.communicate()[0]}", flush=True)
    return max(process.returncode != 0 for process in both.values())


if __name__ == "__main__":
    sys.exit(main())

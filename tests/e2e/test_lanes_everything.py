#!/usr/bin/python3
"""test_lanes_everything.py [--long] -- all at once: two gateways under `state`, every write command at random by clients of both,
keys of many elements (--long: 5 million) that are written to all the time, broken connections, gateways killed, the target stopped
(--long: for a minute) and killed. In the end an independent walk over both sides finds no difference.

First the bundled server is the target, then redis-server; legacy hides PSYNC, SYNC, CONFIG and DEBUG. SEED=n repeats a run.
"""
import random
import subprocess
import sys
import threading
import time

import redis

from bridge import HIDDEN, Bridge
from lanes_load import LoadClient
from servers import Folder, RedisServer
from test_effects import plain_zeros
from test_lanes_many import Gate, all_level, owned, wait
from walk import differences, walk

LONG = "--long" in sys.argv
ELEMENTS = 5_000_000 if LONG else 100_000
TARGETS = ("bundled", "redis")

FILL = """for i = ARGV[1], ARGV[2] do
redis.call('ZADD', KEYS[1], i / 3, 'm' .. i)
redis.call('HSET', KEYS[2], 'f' .. i, i)
end"""


def fill(b):
    with redis.Redis(port=b.ports["legacy"]) as r:
        for first in range(0, ELEMENTS, 100_000):
            r.eval(FILL, 2, "bigz", "bigh", first, first + 99_999)
        assert r.zcard("bigz") == r.hlen("bigh") == ELEMENTS
    b.fill(2000)


class BigWriter(threading.Thread):
    """Writes to the big keys; a connection that broke is opened again, and what was under way may have been done or not."""

    def __init__(self, port, seed):
        super().__init__(daemon=True)
        self.port, self.rng, self.done, self.wrong, self.stopping = port, random.Random(seed), 0, None, False

    def one(self, r):
        i = self.rng.randrange(2 * ELEMENTS)
        self.rng.choice((lambda: r.zadd("bigz", {f"m{i}": i}), lambda: r.zrem("bigz", f"m{i}"), lambda: r.zincrby("bigz", 1.5, f"m{i}"),
                         lambda: r.hset("bigh", f"f{i}", "new"), lambda: r.hdel("bigh", f"f{i}"), lambda: r.zpopmin("bigz", 3)))()
        self.done += 1
        time.sleep(0.02)

    def run(self):
        while not self.stopping:
            try:
                with redis.Redis(port=self.port, socket_timeout=120) as r:
                    while not self.stopping:
                        self.one(r)
            except (redis.ConnectionError, redis.TimeoutError):
                time.sleep(0.1)
            except redis.RedisError as error:
                self.wrong = repr(error)
                return


def broken_connections(b):
    """Of both gateways, at both sides."""
    for side in ("legacy", "target"):
        with redis.Redis(port=b.ports[side]) as r:
            for client in r.client_list():
                if client["name"].startswith("drawbridge") and b.random.random() < 0.5:
                    try:
                        r.client_kill_filter(_id=client["id"])
                    except redis.RedisError:
                        pass
        time.sleep(0.5)


def trouble(b, progress):
    for _ in range(3 if LONG else 1):
        broken_connections(b)
        progress("clients go on after broken connections")
        b.pause("target")
        for _ in range(12 if LONG else 2):
            time.sleep(5 if LONG else 1)
            progress("clients go on while the target stands still")
        b.go_on("target")
        for role in ("gateway", "gateway2"):
            b.kill(role)
            progress("clients of the other gateway go on")
            b.restart(role)
            progress("clients go on with both gateways")
        b.kill("target")
        progress("clients go on without a target")
        b.restart("target")


def run(target):
    with Folder("lanes-all") as folder, \
            Bridge(f"lanes-everything-{target}", target=target, legacy_options=HIDDEN, capture="lane", gateways=2, lanes=2) as b:
        third = RedisServer(folder, "third")  # for MIGRATE
        fill(b)
        gates = [Gate(b, "gateway"), Gate(b, "gateway2")]
        b.verb("start", "--yes")
        wait("both own slots", lambda: min(owned(gates)) > 5000)
        load = [LoadClient(gates[i % 2].port, b.seed + i, third.port, True) for i in range(4)]
        load += [BigWriter(gate.port, b.seed + 10 + i) for i, gate in enumerate(gates)]
        for client in load:
            client.start()

        def progress(text, commands=50):
            before = sum(c.done for c in load)
            wait(text, lambda: sum(c.done for c in load) > before + commands, 120)

        b.wait_phase("following", "level", timeout_s=900)
        print(f"{target}: the copy is there", flush=True)
        trouble(b, progress)
        for client in load:
            if isinstance(client, BigWriter):
                client.stopping = True
            else:
                client.stopping.set()
        for client in load:
            client.join(150)
            assert not client.is_alive(), "a client waits for ever"
            assert client.wrong is None, client.wrong
        for gate in gates:
            gate.turned()
        wait("all lanes are level", lambda: all_level(gates), 900)
        time.sleep(1.6)  # what was about to expire has
        sides = [plain_zeros(walk(b.ports[side])) for side in ("legacy", "target")]
        found = differences(*sides)
        assert not found, "\n".join(str(line)[:300] for line in found[:40])
        print(f"{target}: {sum(c.done for c in load)} steps, {len(sides[0])} keys, no difference", flush=True)


def main():
    names = [name for name in sys.argv[1:] if name in TARGETS]
    if names:
        return run(names[0])
    for target in TARGETS:  # each in a process of its own: a walk over millions of elements takes memory
        subprocess.run([sys.executable, __file__, *sys.argv[1:], target], check=True)


if __name__ == "__main__":
    main()

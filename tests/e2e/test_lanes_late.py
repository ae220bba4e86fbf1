#!/usr/bin/python3
"""test_lanes_late.py [--long] -- barriers of two gateways of which one is late: its thread that listens to `state` hardly gets the
processor, so that the other one is released, and its clients go on at the new primary side, while it still holds for the old one (C23).

Blocks of several keys, most of them of both gateways, go on all the time. No confirmed write is lost at any change of the primary
side, and in the end an independent walk finds no difference. Plain runs have a fixed seed; SEED=n repeats a run.
"""
import os
import random
import subprocess
import sys
import threading
import time

import redis

from test_lanes_many import begin, bridge, equal

LONG = "--long" in sys.argv
FIXED_SEED = 20261122
KEYS = 6


class Blocks(threading.Thread):
    """The only writer of its lists: pushes a number to some of them in one block, and looks at each length. A connection that broke (a
    gateway that is late for seconds is fenced) is opened again; the last block was done then, or was not."""

    def __init__(self, port, number):
        super().__init__(daemon=True)
        self.port, self.number, self.rng = port, number, random.Random(number)
        self.length, self.some, self.done, self.broken, self.wrong, self.stopping = [0] * KEYS, [], 0, 0, None, False

    def key(self, i):
        return f"blocks:{self.number}:{i}"

    def look(self, found, wanted):
        if found not in wanted and self.wrong is None:
            self.wrong = f"{time.time():.3f} client {self.number} finds {found}, and not {wanted}"

    def step(self, r):
        self.some = self.rng.sample(range(KEYS), self.rng.randint(1, 3))
        with r.pipeline(transaction=True) as block:
            for i in self.some:
                block.rpush(self.key(i), self.length[i])
            answers = block.execute()
        self.look(answers, [[self.length[i] + 1 for i in self.some]])
        for i in self.some:
            self.length[i] += 1
        self.some = []
        self.done += 1

    def settle(self, r):
        found = [r.llen(self.key(i)) for i in range(KEYS)]
        self.look(found, [self.length, [n + (i in self.some) for i, n in enumerate(self.length)]])
        self.length = found

    def run(self):
        while not self.stopping and self.wrong is None:
            try:
                with redis.Redis(port=self.port, socket_timeout=60, retry_on_timeout=False) as r:
                    self.settle(r)
                    while not self.stopping:
                        self.step(r)
                        time.sleep(0.002)
            except (redis.ConnectionError, redis.TimeoutError):
                self.broken += 1
                time.sleep(0.1)
            except redis.RedisError as error:
                self.wrong = repr(error)


class Late:
    """ROLE's first thread has the lowest priority on a processor that is busy all the time."""

    def __init__(self, b, role):
        tid = b.processes[role].pid
        cpu = {min(os.sched_getaffinity(0))}
        self.burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        os.sched_setaffinity(self.burner.pid, cpu)
        os.sched_setaffinity(tid, cpu)
        os.setpriority(os.PRIO_PROCESS, tid, 19)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.burner.kill()
        self.burner.wait()


def change(b):
    """To the other side; a barrier that is too slow is undone, and tried again."""
    for _ in range(20):
        verb = "cutover" if b.settled()["primary"] == "legacy" else "rollback"
        result = b.verb(verb, "--yes", "--wait", wanted=(0, 3, 7, 8))
        if result.get("outcome") == "completed":
            return
        time.sleep(0.3)
    raise AssertionError(f"no barrier completes: {result}")


def main():
    if not LONG:
        os.environ.setdefault("SEED", str(FIXED_SEED))
    with bridge("lanes-late", lanes=1, witness=False, max_hold="3s") as b:
        gates = begin(b, 300)
        b.verb("gates", "waive", "audit", "--reason", "the test walks over both sides itself", "--for", "1h")
        clients = [Blocks(gates[i % 2].port, i) for i in range(4)]
        for client in clients:
            client.start()
        with Late(b, "gateway2"):
            for _ in range(60 if LONG else 6):
                change(b)
                assert not any(c.wrong for c in clients), [c.wrong for c in clients]
        for client in clients:
            client.stopping = True
        for client in clients:
            client.join(180)
            assert not client.is_alive(), "a client waits for ever"
        b.settled()
        assert not any(c.wrong for c in clients), [c.wrong for c in clients]
        equal(b, gates)
        print(f"{sum(c.done for c in clients)} blocks, {sum(c.broken for c in clients)} broken connections", flush=True)


if __name__ == "__main__":
    sys.exit(main())

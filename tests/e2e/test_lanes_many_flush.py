#!/usr/bin/python3
"""Two gateways: FLUSHALL, FLUSHDB, SWAPDB, SCRIPT and FUNCTION through either of them, under random load (C19).

The owner of slot 0 sends them, with all keys pinned at the others; everything is dirty then. In the end both sides are equal, by
an independent walk, and have the same libraries of functions; and what a client was told after its FLUSHALL is true.
"""
import random
import sys
import threading
import time

import redis

from test_lanes_many import begin, bridge, equal, wait, with_writers

LIBRARY = "#!lua name=lib%d\nredis.register_function('f%d', function(keys, args) return redis.call('SET', keys[1], %d) end)"


class Flusher(threading.Thread):
    """Everything that concerns the whole server, and what it must have done for the client that asked for it."""

    def __init__(self, gates, seed, seconds):
        super().__init__(daemon=True)
        self.clients = [redis.Redis(port=gate.port, socket_timeout=60) for gate in gates]
        self.rng, self.until, self.done, self.wrong = random.Random(seed), time.monotonic() + seconds, 0, None

    def one(self):
        r, other, n = *self.rng.sample(self.clients, 2), self.rng.randrange(5)
        what = self.rng.choice(("all", "db", "swap", "script", "load", "delete", "call"))
        if what == "all":
            r.set("mine:" + str(n), 1)
            r.flushall()
            assert other.get("mine:" + str(n)) is None, "a key is there after FLUSHALL"
        elif what == "db":
            r.flushdb()
        elif what == "swap":
            r.swapdb(0, 3)
        elif what == "script":
            r.script_flush()
            assert other.eval("return 7", 0) == 7
        elif what == "load":
            r.function_load(LIBRARY % (n, n, n), replace=True)
            assert other.fcall(f"f{n}", 1, "mine:called") == b"OK"
            assert r.get("mine:called") in (b"%d" % n, None)  # None: somebody else flushed
        elif what == "delete":
            r.function_flush("SYNC")
        else:
            try:
                r.fcall(f"f{n}", 1, f"called:{n}")
            except redis.ResponseError as error:
                assert "Function not found" in str(error), error
        self.done += 1

    def run(self):
        try:
            while time.monotonic() < self.until or self.done <= 15:
                self.one()
                time.sleep(0.15)
        except Exception as error:  # told by the test
            self.wrong = repr(error)


def libraries(port):
    with redis.Redis(port=port) as r:
        return sorted((dict(zip(one[::2], one[1::2]))[b"library_name"], dict(zip(one[::2], one[1::2]))[b"library_code"])
                      for one in r.execute_command("FUNCTION", "LIST", "WITHCODE"))


def test_what_concerns_all_keys_through_two_gateways():
    for target, lanes in (("redis", 1), ("bundled", 3)):
        with bridge(f"many-flush-{target}", target=target, lanes=lanes, witness=False) as b:
            gates = begin(b, 300)
            wait("all lanes are level", lambda: all(gate.lanes()["level"] for gate in gates))
            flusher = Flusher(gates, 1, 6)

            def flush(writers):
                flusher.start()
                flusher.join(180)
                wait("each client writes", lambda: all(w.done > 20 for w in writers))

            writers = with_writers(b, gates, flush)
            assert flusher.wrong is None, flusher.wrong
            assert flusher.done > 15 and all(w.done > 20 for w in writers), (flusher.done, [w.done for w in writers])
            assert all(w.broken == 0 for w in writers), "clients lost their connections"
            flusher.one()
            equal(b, gates)
            wait("the functions are the same", lambda: libraries(b.ports["legacy"]) == libraries(b.ports["target"]), 180)
            print(target, flusher.done, "of all keys,", sum(w.done for w in writers), "steps", flush=True)


if __name__ == "__main__":
    from servers import run_tests
    sys.exit(run_tests(sys.modules[__name__]))

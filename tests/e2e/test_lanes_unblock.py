#!/usr/bin/python3
"""CLIENT UNBLOCK of clients that wait in the gateway (C17): answered as Redis does, whichever loop they are at, and nothing is lost."""
import sys
import time

from gwtest import Error, Raw
from servers import Folder, Ours, RedisServer, run_tests, wait_until
from test_gateway_lanes import Gateway, HIDDEN


def unblock(loops):
    with Folder("lanes-unblock") as folder:
        legacy, target = RedisServer(folder, "legacy", *HIDDEN), Ours(folder, "target")
        gateway = Gateway(folder, legacy, target, loops=loops)
        gateway.wait_level()
        other = Raw(gateway.port)
        waiting = [Raw(gateway.port) for _ in range(6)]
        flags = lambda i: other.call("CLIENT", "LIST", "ID", i).decode().split("flags=")[1].split()[0]
        for n, c in enumerate(waiting):
            if n == 5:
                c.call("HELLO", 3)
            me = c.call("CLIENT", "ID")
            assert other.call("CLIENT", "UNBLOCK", me) == 0, "it does not block"
            for words in (("BLPOP", "none", "also", 0), ("BLMOVE", "none", "to", "LEFT", "LEFT", 0), ("BZPOPMIN", "zset", 0)):
                c.send(*words)
                wait_until("it waits", lambda: flags(me) == "b")
                time.sleep(0.02)
                assert other.call("CLIENT", "UNBLOCK", me) == 1
                assert c.read() is None, words
                c.send(*words)
                wait_until("it waits", lambda: flags(me) == "b")
                assert other.call("CLIENT", "UNBLOCK", me, "ERROR") == 1
                said = c.read()
                assert isinstance(said, Error) and said.startswith("UNBLOCKED"), said
            assert other.call("CLIENT", "UNBLOCK", me) == 0
            assert c.call("PING") == "PONG"
        # whoever is unblocked and whoever is served: each element goes to exactly one
        ids = [c.call("CLIENT", "ID") for c in waiting]
        for turn in range(20):
            for c in waiting:
                c.send("BLPOP", "queue", 0)
            other.send("RPUSH", "queue", *[f"{turn}-{i}" for i in range(3)])
            for i in ids:
                other.send("CLIENT", "UNBLOCK", i)
            assert other.read() == 3
            for _ in ids:
                other.read()
            for i, c in zip(ids, waiting):  # those that were neither
                c.sock.settimeout(0.3)
                while True:
                    try:
                        c.got = c.read()
                        break
                    except TimeoutError:
                        c.file = c.sock.makefile("rb")
                        other.call("CLIENT", "UNBLOCK", i)
                c.sock.settimeout(60)
            left = other.call("LRANGE", "queue", 0, -1)
            other.call("DEL", "queue")
            served = [c.got[1] for c in waiting if c.got is not None]
            assert sorted(served + left) == [f"{turn}-{i}".encode() for i in range(3)], (served, left)
        gateway.wait_level()


def test_at_the_lanes_own_loop():
    unblock(1)


def test_at_other_loops():
    unblock(3)


if __name__ == "__main__":
    sys.exit(run_tests(sys.modules[__name__]))

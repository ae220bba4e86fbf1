#!/usr/bin/python3
"""C8: at a target that expires keys by its own clock, with a lag of two seconds and keys that live for one: nothing differs.

A key that the target has already dropped when INCR, HSET or LPUSH arrive would begin anew there, with another value and no
expiry. The link must notice, leave the command out, and copy the key. Databases are swapped now and then, and the deadlines with them.
"""
import random
import threading
import time

import walk
from link import Link


class Load(threading.Thread):
    def __init__(self, link):
        super().__init__()
        self.link, self.stop, self.random = link, False, random.Random(link.seed)

    def run(self):
        r = self.link.client("source")
        while not self.stop:
            n = self.random.randrange(60)
            what = self.random.randrange(8)
            if what == 0:
                r.incr(f"count:{n}")
                r.pexpire(f"count:{n}", 1000)
            elif what == 1:
                r.incr(f"count:{n}")
            elif what == 2:
                r.hset(f"hash:{n}", self.random.randrange(9), 1)
                r.pexpire(f"hash:{n}", 1000)
            elif what == 3:
                r.hset(f"hash:{n}", self.random.randrange(9), 2)
            elif what == 4:
                r.lpush(f"list:{n}", n)
                r.expire(f"list:{n}", 1)
            elif what == 5:
                r.lpush(f"list:{n}", n)
                if self.random.random() < 0.3:
                    r.persist(f"list:{n}")
            elif what == 6:
                r.set(f"count:{n}", 5, px=1000)
                r.append(f"count:{n}", "1")
            else:
                r.sunionstore(f"union:{n}", f"set:{n}", f"set:{n + 1}")
                r.sadd(f"set:{n}", self.random.randrange(9))
                r.pexpire(f"set:{n}", 1000)
            if self.random.random() < 0.01:
                r.swapdb(0, 3)
            time.sleep(0.001)


def lag(link, seconds):
    """The target stands still for a while: what arrives meanwhile is applied late."""
    stop = link.processes["target"]
    stop.send_signal(19)
    time.sleep(seconds)
    stop.send_signal(18)


def deadlines_go_with_their_database(link):
    """Sets expire at the target before it hears what was made from them, in a database that had another number before."""
    source, swapped = link.client("source"), link.client("source", 3)
    at_ms = int(time.time() * 1000) + 12000
    with source.pipeline() as p:
        for n in range(20):
            p.sadd(f"dies:{n}", "one", "two")
            p.pexpireat(f"dies:{n}", at_ms)
        p.execute()
    source.swapdb(0, 3)
    link.wait_level()
    link.processes["target"].send_signal(19)
    with swapped.pipeline() as p:
        for n in range(20):
            p.sunionstore(f"made:{n}", f"dies:{n}")
        assert p.execute() == [2] * 20, "this machine is too slow for a deadline of 12 s"
    time.sleep(max(0, at_ms / 1000 - time.time()) + 0.3)
    link.processes["target"].send_signal(18)


def main():
    with Link("expiry") as link:
        load = Load(link)
        load.start()
        try:
            link.start()
            link.wait_log("link.following")
            for _ in range(4):
                lag(link, 2)
                time.sleep(0.3)
            link.kill()
            time.sleep(2)
            link.start()
            time.sleep(1)
        finally:
            load.stop = True
            load.join()
        link.wait_clean()
        deadlines_go_with_their_database(link)
        for source in (link.client("source"), link.client("source", 3)):
            for key in source.scan_iter():  # what is left must not go away between the two walks
                if source.pttl(key) > 0:
                    source.pexpire(key, 10 ** 7)
        link.wait_clean()
        link.check_equal()
        assert walk.walk(link.ports["source"])


main()

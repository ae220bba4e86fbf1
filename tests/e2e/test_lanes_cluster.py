#!/usr/bin/python3
"""test_lanes_cluster.py -- capture lane with a Redis Cluster as the legacy side (C22b): clients write to the gateway as
to one server while slots are moved between nodes, and a walk over all nodes finds the target equal.

LONG=1: more slots are moved, and a master dies and its replica takes over.
"""
import os
import random
import signal
import sys
import threading
import time

import redis

from cluster_nodes import Cluster, slot_of
from servers import Folder, Ours, RedisServer, run_tests, wait_until
from test_gateway_lanes import Gateway
from walk import Walk, differences, walk

LONG = os.environ.get("LONG") == "1"
TAGS = [f"{{t{n}}}" for n in range(24)]


class Writer(threading.Thread):
    """One client that knows nothing of Clusters: random writes of all types, and of blocks and scripts over one slot."""

    def __init__(self, gateway, seed, pause=0):
        super().__init__(daemon=True)
        self.gateway, self.rng, self.pause = gateway, random.Random(seed), pause
        self.last = ""
        self.done, self.broken, self.refused, self.wrong, self.stopping = 0, 0, 0, None, False

    def key(self, tag, kind):
        return f"{tag}{kind}{self.rng.randrange(12)}"

    def one(self, tag):
        rng, word = self.rng, "w%d" % self.rng.randrange(40)
        kind = rng.choice("slehzx")
        k, k2 = self.key(tag, kind), self.key(tag, kind)
        common = [("DEL", k), ("RENAME", k, k2), ("PEXPIRE", k, rng.choice((200, 900000))), ("PERSIST", k), ("COPY", k, k2, "REPLACE"), ("UNLINK", k, k2)]
        own = {
            "s": [("SET", k, word), ("SET", k, 5, "PX", rng.choice((250, 900000))), ("INCR", k), ("APPEND", k, word), ("MSET", k, 1, k2, 2),
                  ("INCRBYFLOAT", k, "0.1"), ("GETDEL", k), ("SETRANGE", k, 3, word)],
            "l": [("RPUSH", k, word, word), ("LPUSH", k, word), ("LPOP", k), ("RPOP", k, 2), ("LMOVE", k, k2, "LEFT", "RIGHT"), ("LTRIM", k, 0, 30),
                  ("BLPOP", k, k2, "0.01")],
            "e": [("SADD", k, word, rng.randrange(99)), ("SREM", k, word), ("SPOP", k), ("SMOVE", k, k2, word), ("SUNIONSTORE", k, k, k2)],
            "h": [("HSET", k, word, word, "a", 1), ("HDEL", k, word), ("HINCRBY", k, "n", 2), ("HINCRBYFLOAT", k, "f", "0.3")],
            "z": [("ZADD", k, rng.random(), word), ("ZINCRBY", k, "0.1", word), ("ZPOPMIN", k), ("ZUNIONSTORE", k, 2, k, k2)],
            "x": [("XADD", k, "*", "f", word), ("XADD", k, "*", "g", word), ("XTRIM", k, "MAXLEN", 20), ("XDEL", k, "1-1")],
        }[kind]
        return rng.choice(own if rng.random() < 0.75 else common)

    def some(self, r):
        tag = self.rng.choice(TAGS)
        way = self.rng.random()
        if way < 0.05:
            k = self.key(tag, "s")
            r.eval("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('INCR', KEYS[2])", 2, k, f"{tag}count", self.rng.randrange(99))
            return 1
        if way < 0.10:
            with r.pipeline() as p:
                k = self.key(tag, "s")
                p.watch(k)
                p.get(k)
                p.multi()
                p.execute_command("SET", k, "watched")
                p.execute_command("INCR", f"{tag}count")
                try:
                    p.execute()
                except redis.WatchError:
                    pass
            return 2
        block = way < 0.4
        with r.pipeline(transaction=block) as p:
            for _ in range(self.rng.randrange(1, 12)):
                p.execute_command(*self.one(tag if block or self.rng.random() < 0.5 else self.rng.choice(TAGS)))
            count = len(p.command_stack)
            for answer in p.execute(raise_on_error=False):
                self.look(answer)
        return count

    def look(self, answer):
        if not isinstance(answer, redis.ResponseError):
            return
        text = str(answer)
        if text.startswith(("TRYAGAIN", "CLUSTERDOWN")):
            self.refused += 1
        elif text.startswith(("MOVED", "ASK", "CROSSSLOT")) or "drawbridge" in text:
            raise AssertionError(text)

    def run(self):
        r = self.gateway.client()
        while not self.stopping:
            try:
                self.done += self.some(r)
                time.sleep(self.pause)
            except (redis.ConnectionError, redis.TimeoutError, redis.WatchError) as err:  # the last: it broke between WATCH and EXEC
                self.broken += 1
                self.last = f"{time.time():.3f} {err!r}"
                time.sleep(0.02)
            except redis.ResponseError as err:
                try:
                    self.look(err)
                except AssertionError as wrong:
                    self.wrong = wrong
                    return
            except Exception as err:  # pylint: disable=broad-except
                self.wrong = err
                return

    def stop(self):
        self.stopping = True
        self.join()
        assert self.wrong is None, f"a client saw: {self.wrong!r}"


def start(folder, seed, clients=3):
    gateway_writers = [Writer(folder, seed + n) for n in range(clients)]
    for writer in gateway_writers:
        writer.start()
    return gateway_writers


def end(writers):
    for writer in writers:
        writer.stop()
    return sum(w.done for w in writers), sum(w.broken for w in writers), sum(w.refused for w in writers)


def compare(cluster, target):
    time.sleep(0.5)  # what was about to expire has
    have = Walk()
    for node in cluster.masters():
        have.update(walk(node.port))
    wrong = differences(have, walk(target.port))
    assert not wrong, wrong[:5]
    return len(have)


def test_slots_are_moved_under_writes():
    with Folder("lanes-cluster") as folder:
        cluster = Cluster(folder, 3)
        for n in range(300):
            cluster.owner(slot_of(f"old{n}")).client().set(f"old{n}", n)
        target = Ours(folder, "target")
        gateway = Gateway(folder, cluster.nodes[0], target, lanes=3)
        writers = start(gateway, folder.seed)
        wait_until("both sides were listed", lambda: gateway.lanes()["passes_total"] > 0, 180)
        for number, tag in enumerate(TAGS[:24 if LONG else 10]):
            before = [w.done for w in writers]
            cluster.move(slot_of(tag), step=1 if number % 3 else 4, pause=0.005)
            wait_until("each client went on", lambda: all(w.done > b for w, b in zip(writers, before)) or any(w.wrong for w in writers))
        number = 0
        while not gateway.lanes()["redirected_total"]:  # until a client wrote to one that had moved
            number += 1
            cluster.move(slot_of(TAGS[number % len(TAGS)]))
        done, broken, refused = end(writers)
        gateway.wait_level(180)
        keys = compare(cluster, target)
        lanes = gateway.lanes()
        print(f"  {done} commands, {broken} broken connections, {refused} refused, {keys} keys; "
              f"redirected {lanes['redirected_total']}, displaced {lanes['displaced_total']}, passes {lanes['passes_total']}")
        assert broken == 0, "moving slots cost clients their connections"
        assert lanes["redirected_total"] > 0, "no redirection was seen: the test moved nothing that was written"
        # Keys that were moved and came back have other deadlines, by a millisecond or two: they are copied again.
        r = gateway.client()
        tag = next(tag for tag in TAGS[::-1] if cluster.call(cluster.owner(slot_of(tag)), "COUNTKEYSINSLOT", slot_of(tag)) > 1)
        cluster.call_off(slot_of(tag), r.exists)
        wait_until("both sides were listed again", lambda: gateway.lanes()["passes_total"] > lanes["passes_total"])
        gateway.wait_level(180)
        keys = compare(cluster, target)
        # All looks like one server.
        assert r.dbsize() == keys == len(set(r.scan_iter(count=50))) == len(r.keys("*"))
        r.flushall()
        gateway.wait_level(180)
        assert compare(cluster, target) == 0 and r.dbsize() == 0


def test_gateways_and_links_break():
    with Folder("lanes-cluster-breaks") as folder:
        cluster = Cluster(folder, 3)
        target = RedisServer(folder, "target")
        gateway = Gateway(folder, cluster.nodes[1], target, lanes=2, loops=2)
        writers = start(gateway, folder.seed)
        wait_until("both sides were listed", lambda: gateway.lanes()["passes_total"] > 0, 180)
        slot = slot_of(TAGS[0])
        for _ in range(3 if LONG else 1):
            cluster.move(slot)
            before = sum(w.broken for w in writers)
            gateway.kill()
            wait_until("clients see it", lambda: sum(w.broken for w in writers) > before)
            cluster.move(slot)
            gateway.start()
            # What breaks at one node only, with requests under way.
            for _ in range(3):
                for node in cluster.nodes:
                    killed = [c for c in node.client().client_list() if c["name"].startswith("drawbridge-gw:")]
                    for c in killed[:2]:
                        node.client().client_kill_filter(_id=c["id"])
                time.sleep(0.2)
            cluster.move(slot)
        done, broken, _ = end(writers)
        gateway.wait_level(180)
        keys = compare(cluster, target)
        print(f"  {done} commands, {broken} broken connections, {keys} keys")
        assert broken > 0


def fail_over(cluster, writers, kill):
    """The last master goes; its replica owns its slots then. Another process comes in its place, and is the replica."""
    number = 2
    master, replica = cluster.nodes[number], cluster.nodes[number + 3]
    if kill:
        master.kill()
    else:
        cluster.call(replica, "FAILOVER", "FORCE")
    owner = cluster.ids[number + 3]
    wait_until("the replica has taken over", lambda: any(bytes(row[2][2]).decode() == owner for row in cluster.call(cluster.nodes[0], "SLOTS")), 180)
    before = [w.done for w in writers]
    wait_until("each client went on", lambda: all(w.done > b for w, b in zip(writers, before)) or any(w.wrong for w in writers), 180)
    if kill:
        master.start()
    wait_until("it is a replica", lambda: master.client().info("replication")["role"] == "slave", 180)


def test_a_replica_takes_over():
    for kill in (True, False) if LONG else ():
        with Folder("lanes-cluster-failover") as folder:
            cluster = Cluster(folder, 3, replicas=3)
            target = Ours(folder, "target")
            gateway = Gateway(folder, cluster.nodes[0], target, lanes=3)
            writers = start(gateway, folder.seed)
            wait_until("both sides were listed", lambda: gateway.lanes()["passes_total"] > 0, 180)
            # What the old master confirms and its replica never gets.
            stopped = cluster.nodes[5]
            stopped.process.send_signal(signal.SIGSTOP)
            cluster.nodes[2].client().execute_command("CLIENT", "KILL", "TYPE", "replica")
            r = gateway.client()
            lost = [key for key in (f"lost{n}" for n in range(400)) if cluster.slot_owner[slot_of(key)] == 2]
            for key in lost:
                r.set(key, "x" * 100)
            if kill:
                cluster.nodes[2].kill()
            stopped.process.send_signal(signal.SIGCONT)
            fail_over(cluster, writers, kill)
            done, broken, refused = end(writers)
            gateway.wait_level(90)
            keys = compare(cluster, target)
            left = sum(1 for key in lost if r.exists(key))
            assert not kill or left == 0, "nothing was lost: the test shows less than it should"
            print(f"  {done} commands, {broken} broken connections, {refused} refused, {keys} keys; of {len(lost)} written before the failover {left} are left")


if __name__ == "__main__":
    sys.exit(run_tests(sys.modules[__name__]))

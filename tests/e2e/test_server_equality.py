#!/usr/bin/python3
"""A random life of four servers, two of ours and two redis-servers: whatever happens to their links and roles, they end equal.

From a seed: a load of all types with expiries and scripts whose results are random, bursts of eviction at the master,
links cut and opened, chains of replicas, replicas stopped and killed, promotions with and without everything received.
Equal: a walk over all keys with types, values and expiry times. ROUNDS (12) in the environment makes it longer.
"""
import os
import random
import sys
import time

import redis
from servers import Folder, Load, Ours, RedisServer, Relay, run_tests, wait_until
from test_server_replication import check_equal, offset

SCRIPTS = (
    "local t = redis.call('TIME') redis.call('SET', KEYS[1], t[1] .. '-' .. t[2]) return t",
    "redis.call('SADD', KEYS[2], math.random(1000), math.random(1000)) return redis.call('SPOP', KEYS[2])",
    "local m = redis.call('SRANDMEMBER', KEYS[2]) if m then redis.call('SET', KEYS[1], m, 'PX', 5000) end return m",
    "for i = 1, 5 do redis.call('INCR', 'n' .. i) end if math.random(2) == 1 then redis.call('DEL', KEYS[1]) end return redis.call('RANDOMKEY')",
    "redis.call('SET', KEYS[1], 'before an error') return redis.call('LPUSH', KEYS[1], 'x')",
)


class ScriptLoad(Load):
    def one(self):
        r = self.random
        if r.random() < 0.05:
            return ("EVAL", r.choice(SCRIPTS), 2, f"s{r.randrange(self.keys)}", f"e{r.randrange(self.keys)}")
        return super().one()

    def some(self, clients):
        try:
            super().some(clients)
        except redis.ResponseError as error:
            if not any(word in str(error) for word in ("OOM", "WRONGTYPE", "script", "EXECABORT")):
                raise


class World:
    def __init__(self, folder):
        self.folder, self.random = folder, random.Random(folder.seed)
        common = ("--repl-backlog-size", "4mb", "--repl-ping-replica-period", "1", "--repl-timeout", "20", "--maxmemory-policy", "allkeys-lru")
        self.nodes = [kind(folder, name, *common) for kind, name in ((Ours, "ours0"), (RedisServer, "redis1"), (Ours, "ours2"), (RedisServer, "redis3"))]
        self.relays = [Relay(node.port) for node in self.nodes]
        self.of = {}  # replica: whom it follows
        self.master, self.load = self.random.randrange(4), None
        for i in range(4):
            if i != self.master:
                self.follow(i, self.master)
        self.fulls = self.partials = 0

    def say(self, words):
        print(f"    {words}", flush=True)

    def follow(self, replica, master):
        self.of[replica] = master
        self.nodes[replica].client().replicaof("127.0.0.1", self.relays[master].port)

    def replicas(self):
        return [i for i in range(4) if i != self.master]

    def start_load(self):
        self.load = ScriptLoad(self.nodes[self.master], self.random.randrange(1 << 30), keys=60, pause=0.001)
        self.load.start()

    def stop_load(self):
        if self.load:
            self.load.stop()
        self.load = None

    def all_linked(self):
        for relay in self.relays:
            relay.open()
        for i in self.replicas():
            wait_until(f"{self.nodes[i].log}: the link is up", lambda: self.nodes[i].info("replication")["master_link_status"] == "up", 180)

    def check(self):
        self.stop_load()
        self.all_linked()
        master = self.nodes[self.master]
        master.client().config_set("maxmemory", 0)
        for i in range(30):  # FLUSHDB or eviction may have left nothing to compare
            master.client().set(f"sure{i}", i)
        keys = check_equal(master, *(self.nodes[i] for i in self.replicas()))
        self.say(f"equal: {keys} keys at offset {offset(master)}")

    # ---- what happens ----

    def cut(self):
        relay = self.relays[self.random.choice([self.master, *self.of.values()])]
        relay.cut()
        time.sleep(self.random.random() / 2)
        relay.open()

    def evict(self):
        r = self.nodes[self.master].client()
        before = r.info("stats")["evicted_keys"]
        r.config_set("maxmemory", max(r.info("memory")["used_memory"] - self.random.randrange(20_000, 200_000), 1))
        time.sleep(0.2)
        r.config_set("maxmemory", 0)
        self.say(f"{r.info('stats')['evicted_keys'] - before} keys evicted")

    def chain(self):
        leaf, middle = self.random.sample(self.replicas(), 2)
        if self.of[middle] == self.master and leaf not in self.of.values():
            self.follow(leaf, middle)

    def restart(self):
        """Without a file to start from: with everything or nothing."""
        replica = self.nodes[self.random.choice(self.replicas())]
        if self.random.random() < 0.5:
            replica.kill()
        else:
            replica.shutdown("SAVE")
        replica.start()
        number = self.nodes.index(replica)
        self.follow(number, self.of[number])

    def promote(self):
        self.stop_load()
        new, old = self.random.choice(self.replicas()), self.master
        if self.random.random() < 0.5:
            self.all_linked()
            wait_until("it has everything", lambda: offset(self.nodes[new]) >= offset(self.nodes[old]))
        self.nodes[new].client().replicaof("NO", "ONE")
        self.master = new
        self.of.pop(new, None)
        for i in self.replicas():
            self.follow(i, new)
        self.say(f"{os.path.basename(self.nodes[new].dir)} is the master")
        self.start_load()

    def live(self, rounds):
        for round_ in range(rounds):
            if not self.load:
                self.start_load()
            event = self.random.choice((self.cut, self.cut, self.evict, self.chain, self.restart, self.promote))
            self.say(f"{round_}: {event.__name__}")
            event()
            time.sleep(self.random.random() / 2)
            if round_ % 4 == 3:
                self.check()
        self.check()
        stats = [node.info("stats") for node in self.nodes]
        self.say(f"full syncs {[s['sync_full'] for s in stats]}, partial {[s['sync_partial_ok'] for s in stats]}, refused {[s['sync_partial_err'] for s in stats]}")


def test_a_random_life_ends_equal():
    with Folder("equality") as folder:
        World(folder).live(int(os.environ.get("ROUNDS", "12")))


if __name__ == "__main__":
    run_tests(sys.modules[__name__])

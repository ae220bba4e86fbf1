"""cluster_nodes.py -- a Redis Cluster of redis-server for tests, put together by hand: faster than redis-cli does it.

    cluster = Cluster(folder, 3, replicas=0)
    cluster.move(slot)         # its keys go to another master, as `redis-cli --cluster reshard` does it
    cluster.masters()          # nodes that own slots now
"""
import time

import redis

from servers import RedisServer, free_port, wait_until
from test_lanes_odd import crc16

SLOTS = 16384


def slot_of(key):
    key = key.encode()
    begin = key.find(b"{")
    finish = key.find(b"}", begin + 1)
    if begin >= 0 and finish > begin + 1:
        key = key[begin + 1:finish]
    return crc16(key) % SLOTS


def ports(count):
    """Those whose bus port is free, too, and below 65536."""
    found = []
    while len(found) < count:
        port = free_port()
        if port < 55000 and port not in found:
            found.append(port)
    return found


class Cluster:
    def __init__(self, folder, masters, replicas=0, options=()):
        # Where nobody is to take over nobody may be taken for dead, however busy the machine is.
        timeout_ms = "1500" if replicas else "60000"
        self.nodes = [RedisServer(folder, f"node{n}", "--cluster-enabled", "yes", "--cluster-node-timeout", timeout_ms, "--cluster-config-file", "nodes.conf",
                                  *options, port=port) for n, port in enumerate(ports(masters + replicas))]
        self.ids = [self.call(node, "MYID").decode() for node in self.nodes]
        self.slot_owner = [slot * masters // SLOTS for slot in range(SLOTS)]
        for n, node in enumerate(self.nodes):
            self.call(node, "SET-CONFIG-EPOCH", n + 1)
            mine = [slot for slot in range(SLOTS) if self.slot_owner[slot] == n]
            if mine:
                self.call(node, "ADDSLOTSRANGE", mine[0], mine[-1])
            if n > 0:
                self.call(self.nodes[0], "MEET", "127.0.0.1", node.port)
        wait_until("all nodes know each other", lambda: all(len(self.lines(node)) == len(self.nodes) for node in self.nodes))
        for n in range(masters, masters + replicas):
            self.call(self.nodes[n], "REPLICATE", self.ids[n - masters])
        wait_until("the cluster is fine", lambda: all(b"cluster_state:ok" in self.call(node, "INFO") for node in self.nodes))
        for n in range(masters, masters + replicas):
            wait_until("the replica follows", lambda n=n: self.nodes[n].client().info("replication")["master_link_status"] == "up")

    @staticmethod
    def call(node, *words):
        with redis.Redis(port=node.port, socket_timeout=20) as r:
            r.response_callbacks = {}
            return r.execute_command("CLUSTER", *words)

    def lines(self, node):
        return [line.split() for line in self.call(node, "NODES").decode().splitlines() if "handshake" not in line]

    def owner(self, slot):
        return self.nodes[self.slot_owner[slot]]

    def masters(self):
        """As the first node that answers says."""
        for node in self.nodes:
            if node.process.poll() is not None:
                continue
            owners = {bytes(row[2][2]).decode() for row in self.call(node, "SLOTS")}
            return [n for n, i in zip(self.nodes, self.ids) if i in owners]
        raise AssertionError("no node answers")

    def keys_over(self, slot, a, b, step, pause=0.0):
        with redis.Redis(port=a.port, socket_timeout=20) as r:
            while keys := self.call(a, "GETKEYSINSLOT", slot, step):
                r.execute_command("MIGRATE", "127.0.0.1", b.port, "", 0, 5000, "KEYS", *keys)
                time.sleep(pause)

    def call_off(self, slot, meanwhile):
        """A move that is begun, and undone: the owner is the same as before. Nobody may write to the slot."""
        source = self.slot_owner[slot]
        target = (source + 1) % len(self.masters())
        a, b = self.nodes[source], self.nodes[target]
        self.call(b, "SETSLOT", slot, "IMPORTING", self.ids[source])
        self.call(a, "SETSLOT", slot, "MIGRATING", self.ids[target])
        with redis.Redis(port=a.port, socket_timeout=20) as r:
            for key in self.call(a, "GETKEYSINSLOT", slot, 100):
                r.execute_command("MIGRATE", "127.0.0.1", b.port, key, 0, 5000)
                meanwhile(key)
        self.call(a, "SETSLOT", slot, "STABLE")
        self.keys_over(slot, b, a, 10)
        self.call(b, "SETSLOT", slot, "STABLE")

    def move(self, slot, step=10, pause=0.0):
        source = self.slot_owner[slot]
        target = (source + 1) % len(self.masters())
        a, b = self.nodes[source], self.nodes[target]
        self.call(b, "SETSLOT", slot, "IMPORTING", self.ids[source])
        self.call(a, "SETSLOT", slot, "MIGRATING", self.ids[target])
        self.keys_over(slot, a, b, step, pause)
        for node in (b, a, *(n for n in self.masters() if n not in (a, b))):
            self.call(node, "SETSLOT", slot, "NODE", self.ids[target])
        self.slot_owner[slot] = target

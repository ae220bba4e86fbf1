#!/usr/bin/python3
"""Three real sentinels watch a master and two replicas of mixed kind, and fail over when the master is killed.

The master is ours once and redis-server's once. Clients that ask the sentinels go on; the old master comes back
as a replica of the new one; the configuration files say so; all three are equal in the end.
"""
import os
import sys
import threading
import time

import redis
import redis.sentinel
from servers import Folder, Ours, RedisServer, Server, run_tests, wait_until
from test_server_replication import check_equal, wait_linked


class Configured(Server):
    """A server with a file of its own, which CONFIG REWRITE changes."""

    def start(self, wait=True):
        self.file = os.path.join(self.dir, "server.conf")
        if not os.path.exists(self.file):
            lines = [f"port {self.port}", f"dir {self.dir}", 'save ""', "repl-diskless-sync-delay 0", "repl-backlog-size 8mb",
                     "enable-debug-command yes", "bind 127.0.0.1", "repl-ping-replica-period 1", *self.options]
            with open(self.file, "w", encoding="ascii") as out:
                out.write("\n".join(lines) + "\n")
        super().start(wait)

    def command(self):
        return (*self.program, self.file)


class OursConfigured(Configured):
    program = Ours.program


class RedisConfigured(Configured):
    program = RedisServer.program


class SentinelServer(Server):
    program = ("redis-server",)

    def __init__(self, folder, name, master):
        self.master = master
        super().__init__(folder, name)

    def command(self):
        file = os.path.join(self.dir, "sentinel.conf")
        if not os.path.exists(file):
            with open(file, "w", encoding="ascii") as out:
                out.write(f"port {self.port}\ndir {self.dir}\nbind 127.0.0.1\nsentinel monitor m 127.0.0.1 {self.master.port} 2\n"
                          "sentinel down-after-milliseconds m 4000\nsentinel failover-timeout m 10000\nsentinel parallel-syncs m 1\n")
        return (*self.program, file, "--sentinel")

    def state(self):
        r = self.client()
        flat = r.execute_command("SENTINEL", "MASTER", "m")
        return flat if isinstance(flat, dict) else {flat[i]: flat[i + 1] for i in range(0, len(flat), 2)}


def number(state, name):
    return int(state.get(name, state.get(name.encode(), -1)))


class Client(threading.Thread):
    """Counts at whoever the sentinels say is the master; what was confirmed is remembered."""

    def __init__(self, sentinels):
        super().__init__(daemon=True)
        self.sentinel = redis.sentinel.Sentinel([("127.0.0.1", s.port) for s in sentinels], socket_timeout=1)
        self.stopping, self.confirmed, self.failures = threading.Event(), 0, 0

    def run(self):
        master = self.sentinel.master_for("m", socket_timeout=1)
        number_ = 0
        while not self.stopping.is_set():
            number_ += 1
            try:
                with master.pipeline(transaction=True) as unit:
                    unit.incr("count")
                    unit.rpush("list", number_)
                    unit.set(f"key{number_ % 100}", number_, px=100000)
                    unit.execute()
                self.confirmed += 1
            except (redis.RedisError, OSError):
                self.failures += 1
                time.sleep(0.05)
            time.sleep(0.005)

    def stop(self):
        self.stopping.set()
        self.join()


def role_of(server):
    return server.info("replication")["role"]


def fail_over(folder, kinds, preferred):
    """KINDS: classes of the master and its two replicas; PREFERRED: the number of who is to be promoted."""
    nodes = []
    for i, kind in enumerate(kinds):
        options = [f"replica-priority {1 if i == preferred else 50}"]
        if nodes:
            options.append(f"replicaof 127.0.0.1 {nodes[0].port}")
        nodes.append(kind(folder, f"node{i}", *options))
    for node in nodes[1:]:
        wait_linked(node)
    sentinels = [SentinelServer(folder, f"sentinel{i}", nodes[0]) for i in range(3)]
    for sentinel in sentinels:
        wait_until("the sentinels know each other and the replicas",
                   lambda: number(sentinel.state(), "num-slaves") == 2 and number(sentinel.state(), "num-other-sentinels") == 2)
    client = Client(sentinels)
    client.start()
    wait_until("clients write", lambda: client.confirmed > 50)
    time.sleep(1)
    old, new, other = nodes[0], nodes[preferred], nodes[3 - preferred]
    old.kill()
    began = time.time()
    wait_until("the preferred replica is the master", lambda: role_of(new) == "master", 180)
    took = time.time() - began
    wait_until("the third follows the new master", lambda: other.info("replication")["master_port"] == new.port, 180)
    wait_linked(other)
    before = client.confirmed
    wait_until("clients go on", lambda: client.confirmed > before + 50)
    old.start()
    wait_until("the old master follows the new one",
               lambda: role_of(old) == "slave" and old.info("replication")["master_port"] == new.port, 60)
    wait_linked(old)
    wait_until("the sentinels see both replicas", lambda: all(number(s.state(), "num-slaves") == 2 for s in sentinels))
    client.stop()
    for node in (old, other):
        wait_until("CONFIG REWRITE says whom it follows", lambda: f"replicaof 127.0.0.1 {new.port}" in open(node.file, encoding="ascii").read())
    assert f"replicaof 127.0.0.1 {old.port}" not in open(new.file, encoding="ascii").read(), "the new master's file still names the old one"
    check = new.client()
    assert check.llen("list") == int(check.get("count")), "a transaction was cut in two"
    check_equal(new, old, other)
    announced = sentinels[0].client().execute_command("SENTINEL", "SENTINELS", "m")
    assert len(announced) == 2
    print(f"  {' '.join(k.__name__ for k in kinds)}: promoted after {took:.1f} s, {client.confirmed} confirmed, {client.failures} failures seen by the client")


def test_our_master_is_killed_and_ours_takes_over():
    with Folder("sentinel-ours") as folder:
        fail_over(folder, (OursConfigured, OursConfigured, RedisConfigured), 1)


def test_our_master_is_killed_and_redis_takes_over():
    with Folder("sentinel-to-redis") as folder:
        fail_over(folder, (OursConfigured, RedisConfigured, OursConfigured), 1)


def test_a_redis_master_is_killed_and_ours_takes_over():
    with Folder("sentinel-from-redis") as folder:
        fail_over(folder, (RedisConfigured, OursConfigured, RedisConfigured), 1)


if __name__ == "__main__":
    run_tests(sys.modules[__name__])

#!/usr/bin/python3
"""Two gateways; one is killed with -9 in each phase, and paused across a barrier. Its own clients see broken
connections and find everything that was confirmed; the other gateway's clients notice nothing."""
import os
import time

import redis
from bridge import Bridge, Direct
from ports import free_port
from stage import wait_for_redis


def killed(b):
    b.kill("gateway2")
    time.sleep(0.3)
    b.restart("gateway2")


def attach_replica(b):
    """A real replica of the legacy side. Returns its port."""
    port = free_port()
    os.makedirs(os.path.join(b.folder, "replica"))
    b.start("replica", "redis-server", "--port", str(port), "--dir", os.path.join(b.folder, "replica"), "--save", "",
            "--replicaof", "127.0.0.1", str(b.ports["legacy"]))
    wait_for_redis(port)
    until = time.monotonic() + 60
    while redis.Redis(port=port).info("replication")["master_link_status"] != "up":
        assert time.monotonic() < until, "the replica does not come up"
        time.sleep(0.1)
    return port


def check_nobody_at_replica(b, port):
    """C25 fences the primary side alone, because no gateway goes anywhere else."""
    addresses = [r["ip"] + ":" + str(r["port"]) for name, r in Direct(port=b.ports["legacy"]).info("replication").items()
                 if name.startswith("slave") and isinstance(r, dict) and r["port"] == port]
    assert addresses, "the primary side does not name its replica"
    names = [c["name"] for c in redis.Redis(port=port).client_list()]
    assert not any(n.startswith("drawbridge-gw:") for n in names), names
    at_primary = [c["name"] for c in Direct(port=b.ports["legacy"]).client_list()]
    assert any(n.startswith("drawbridge-gw:") for n in at_primary), at_primary


def scenario(target):
    with Bridge(f"gateways-{target}", target=target, gateways=2) as b:
        b.fill(6000)
        replica = attach_replica(b)
        steady = b.clients(2)
        shaken = b.clients(2, port="gateway2", first=10)
        b.verb("start", "--yes")
        killed(b)
        b.wait_ready()
        killed(b)
        b.wait_ready()
        check_nobody_at_replica(b, replica)
        b.move("cutover")
        time.sleep(1)
        killed(b)
        b.wait_gates()
        b.move("rollback")
        time.sleep(1)
        b.wait_ready()
        b.pause("gateway2")  # it stops without a word: the barrier fences it, or misses and lets the clients go on
        result = b.verb("cutover", "--yes", "--wait", wanted=(0, 3, 8))
        b.go_on("gateway2")
        time.sleep(2)
        if result.get("primary") != "target":
            b.wait_ready()
            b.move("cutover")
        time.sleep(1)
        b.check_clients(steady)
        b.check_clients(shaken, errors=40)
        b.wait_gates()
        b.audit()
        b.check_equal()


scenario("redis")
scenario("bundled")

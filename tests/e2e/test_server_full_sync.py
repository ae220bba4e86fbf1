#!/usr/bin/python3
"""Replicas that come within repl-diskless-sync-delay share one snapshot, or repl-diskless-sync-max-replicas of them begin at once.

Real redis-servers and ours follow a bundled server; all must have the same in the end, also when one of them dies while the snapshot is sent."""
import random
import sys

from servers import Folder, Ours, RedisServer, wait_until

KEYS = 3000


def fill(r):
    p = r.pipeline(transaction=False)
    for i in range(KEYS):
        p.set(f"k{i}", random.randbytes(3000))
    p.rpush("list", *range(5000))
    p.sadd("set", *range(2000))
    p.execute()


def states(master):
    info = master.info("replication")
    return sorted(info[f"slave{i}"]["state"] for i in range(info["connected_slaves"]))


def snapshots(master):
    return open(master.log, errors="replace").read().count("Starting BGSAVE for SYNC with target: replicas sockets")


def follow(master, replicas):
    for replica in replicas:
        replica.client().replicaof("127.0.0.1", master.port)


def same(master, replicas):
    want = master.client().execute_command("DEBUG", "DIGEST")
    for replica in replicas:
        wait_until("it has the same", lambda r=replica: r.client().execute_command("DEBUG", "DIGEST") == want and
                   r.info("replication")["master_link_status"] == "up")


def replicas_of(folder, name, *kinds):
    return [kind(folder, f"{name}-{i}") for i, kind in enumerate(kinds)]


def one_for_all(folder):
    master = Ours(folder, "delay", "--repl-diskless-sync-delay", "10")
    fill(master.client())
    replicas = replicas_of(folder, "together", RedisServer, Ours, RedisServer)
    follow(master, replicas[:2])
    wait_until("two wait", lambda: states(master) == ["wait_bgsave"] * 2)
    assert snapshots(master) == 0 and master.client().role()[2] == []
    follow(master, replicas[2:])
    master.client().set("meanwhile", "1")
    wait_until("all are online", lambda: states(master) == ["online"] * 3)
    master.client().set("later", "1")
    same(master, replicas)
    # The third may have come when the first had waited for that long already: then there are two.
    assert 1 <= snapshots(master) <= 2 and master.info("stats")["sync_full"] == 3, snapshots(master)
    for server in (*replicas, master):
        server.kill()


def enough_of_them(folder):
    master = Ours(folder, "enough", "--repl-diskless-sync-delay", "1000", "--repl-diskless-sync-max-replicas", "3")
    fill(master.client())
    replicas = replicas_of(folder, "three", RedisServer, Ours, Ours)
    follow(master, replicas[:2])
    wait_until("two wait", lambda: states(master) == ["wait_bgsave"] * 2)
    assert snapshots(master) == 0
    follow(master, replicas[2:])
    same(master, replicas)
    assert snapshots(master) == 1, snapshots(master)
    late = Ours(folder, "late")
    follow(master, [late])
    wait_until("it waits", lambda: "wait_bgsave" in states(master))
    master.client().config_set("repl-diskless-sync-delay", 0)
    same(master, [*replicas, late])
    assert snapshots(master) == 2
    for server in (*replicas, late, master):
        server.kill()


def one_dies(folder):
    """The others go on, whether the one that dies was the slowest or not; and when all have gone, nothing is made any more."""
    master = Ours(folder, "dies", "--repl-diskless-sync-delay", "1000", "--repl-diskless-sync-max-replicas", "3")
    fill(master.client())
    for round_number in range(2):
        replicas = replicas_of(folder, f"dies-{round_number}", Ours, RedisServer, Ours)
        before = snapshots(master)
        master.client().config_set("rdb-key-save-delay", 10000)
        follow(master, replicas)
        wait_until("it is sent", lambda: snapshots(master) == before + 1 and states(master) == ["wait_bgsave"] * 3)
        replicas[round_number].kill()
        master.client().config_set("rdb-key-save-delay", 0)
        left = [r for i, r in enumerate(replicas) if i != round_number]
        if round_number == 1:
            for replica in left:
                replica.kill()
            wait_until("nothing is made", lambda: master.info("persistence")["rdb_bgsave_in_progress"] == 0 and not states(master))
        else:
            same(master, left)
            assert snapshots(master) == before + 1
        for replica in left:
            replica.kill()
        wait_until("they are gone", lambda: not states(master))
    master.shutdown("NOSAVE")


def main():
    with Folder("full-sync") as folder:
        random.seed(folder.seed)
        for test in (one_for_all, enough_of_them, one_dies):
            test(folder)
            print(f"  {test.__name__}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

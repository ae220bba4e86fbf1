#!/usr/bin/python3
"""A full copy loaded from the socket: on-empty-db and swapdb, from redis-server and from ours, with keys that a piece does not hold.

swapdb: the old data stay until the new ones are whole. They are served meanwhile when they are of the same history, come back when the
copy breaks off, and a client that watched them hears of the change."""
import os
import random
import sys

import redis

from servers import Folder, Ours, RedisServer, wait_until

KEYS = 1500
SLOWLY = "50000"  # us for each key: a copy of more than a minute, until it is told otherwise


def library(answer):
    return ("#!lua name=lib\nredis.register_function{function_name='f', flags={'no-writes'}, "
            f"callback=function() return '{answer}' end}}")


def fill(r):
    p = r.pipeline(transaction=False)
    for i in range(KEYS):
        p.set(f"k{i}", random.randbytes(2000))
    p.set("big", random.randbytes(3_000_000))
    p.rpush("list", *range(50000))
    p.zadd("scores", {f"m{i}": i / 7 for i in range(5000)})
    p.xadd("stream", {"a": 1})
    p.xgroup_create("stream", "g")
    p.execute()
    r.function_load(library("new"))


def loading(r):
    return r.info("persistence")["loading"] == 1


def loading_aside(r):
    return r.info("persistence")["async_loading"] == 1


def digest(server):
    return server.client().execute_command("DEBUG", "DIGEST")


def same(master, replica):
    wait_until("it has the same", lambda: digest(master) == digest(replica) and replica.info("replication")["master_link_status"] == "up")
    assert replica.client().fcall("f", 0) == b"new"
    master.client().set("after", random.random())
    wait_until("it follows", lambda: digest(master) == digest(replica))


def no_file(replica):
    assert not [name for name in os.listdir(replica.dir) if name.startswith("temp-repl")], os.listdir(replica.dir)


def from_any_master(folder):
    for kind in (RedisServer, Ours):
        for how, has_data in (("on-empty-db", False), ("on-empty-db", True), ("swapdb", True)):
            name = f"{kind.__name__}-{how}-{has_data}"
            master, replica = kind(folder, f"m-{name}"), Ours(folder, f"r-{name}", "--repl-diskless-load", how)
            fill(master.client())
            if has_data:
                replica.client().set("own", 1)
                replica.client().function_load(library("old"))
            replica.client().replicaof("127.0.0.1", master.port)
            same(master, replica)
            no_file(replica)
            assert replica.client().get("own") is None
            for server in (master, replica):
                server.kill()


def another_history(folder):
    """Its data are kept, but not served; and stay when the master dies in the middle."""
    master, replica = (Ours(folder, f"{name}-another", *options) for name, options in
                       (("m", ("--rdb-key-save-delay", SLOWLY)), ("r", ("--repl-diskless-load", "swapdb"))))
    fill(master.client())
    replica.client().mset({f"own{i}": i for i in range(100)})
    replica.client().function_load(library("old"))
    old = digest(replica)
    replica.client().replicaof("127.0.0.1", master.port)
    wait_until("it loads", lambda: loading(replica.client()))
    assert not loading_aside(replica.client())
    try:
        replica.client().get("own1")
        raise AssertionError("it served old data of another history")
    except redis.BusyLoadingError:
        pass
    no_file(replica)
    master.kill()
    wait_until("it gives up", lambda: not loading(replica.client()))
    assert digest(replica) == old and replica.client().get("own7") == b"7" and replica.client().fcall("f", 0) == b"old"
    assert replica.said("Failed trying to load the MASTER synchronization DB from socket")
    replica.shutdown("NOSAVE")


def same_history(folder):
    """Its old data are served until the new ones are whole."""
    master = Ours(folder, "m-same", "--repl-backlog-size", "16384", "--repl-backlog-memory", "0")
    replica = Ours(folder, "r-same", "--repl-diskless-load", "swapdb", "--save", "")
    fill(master.client())
    replica.client().replicaof("127.0.0.1", master.port)
    same(master, replica)
    for ends_well in (False, True):
        before = replica.client().get("k1")
        watcher = replica.client().pipeline()
        watcher.watch("k1")
        # The link is broken while the master writes more than its backlog holds, then found again.
        replica.client().replicaof("127.0.0.1", 1)
        old = digest(replica)
        p = master.client().pipeline(transaction=False)
        for i in range(KEYS):
            p.set(f"k{i}", random.randbytes(2000))  # not to be compressed: what is sent is sent in pieces of 64 KB
        p.execute()
        master.client().config_set("rdb-key-save-delay", SLOWLY)
        replica.client().replicaof("127.0.0.1", master.port)
        wait_until("it loads beside", lambda: loading_aside(replica.client()))
        r = replica.client()
        assert not loading(r) and r.get("k1") == before and r.fcall("f", 0) == b"new" and r.dbsize() > KEYS
        for refused in ("BGSAVE", "BGREWRITEAOF", "REPLICAOF NO ONE", "CONFIG SET appendonly yes", "DEBUG RELOAD", "PSYNC ? -1"):
            try:
                r.execute_command(*refused.split())
                raise AssertionError(f"{refused} ran")
            except redis.RedisError as error:
                assert "LOADING" in str(error) or "loading" in str(error), (refused, error)
        info = r.info("persistence")
        assert info["loading_start_time"] > 0 and digest(replica) == old
        if not ends_well:
            master.client().client_kill_filter(_type="slave")
            wait_until("it gives up", lambda: replica.said("Discarding temporary DB"))
            assert r.get("k1") == before
            master.client().config_set("rdb-key-save-delay", 0)
            same(master, replica)
            continue
        master.client().config_set("rdb-key-save-delay", 0)
        same(master, replica)
        assert replica.said("Swapping active DB with loaded DB")
        watcher.multi()
        watcher.ping()
        try:
            watcher.execute()
            raise AssertionError("the watched key was replaced, and EXEC ran")
        except redis.WatchError:
            pass
    p = replica.client()
    p.bgsave()
    wait_until("it has saved", lambda: p.info("persistence")["rdb_bgsave_in_progress"] == 0)
    assert p.info("persistence")["rdb_last_bgsave_status"] == "ok"
    p.execute_command("DEBUG", "RELOAD", "NOSAVE")  # what a snapshot of data that took others' place has
    assert digest(replica) == digest(master)
    for server in (master, replica):
        server.kill()


def main():
    with Folder("diskless-load") as folder:
        random.seed(folder.seed)
        for test in (from_any_master, another_history, same_history):
            test(folder)
            print(f"  {test.__name__}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""test_server_eviction.py -- maxmemory takes what it must and no more: big values, clients before keys, MULTI, and the stream."""
import glob, os, socket, sys

import redis

from servers import Folder, Ours, run_tests, wait_until


def evicted(client):
    return client.info("stats")["evicted_keys"]


def test_big_values_that_are_freed_later_are_not_evicted_twice():
    with Folder("evict") as folder:
        server = Ours(folder, "server", "--maxmemory-policy", "allkeys-random")
        client = server.client()
        for n in range(60):
            client.setrange(f"string{n}", 1_000_000, "x")
            client.zadd(f"zset{n}", {f"member:{m}": m for m in range(10_000)})
        limit = client.info("memory")["used_memory"] + 100_000
        client.config_set("maxmemory", limit)
        before = evicted(client)
        for n in range(10):
            client.setrange(f"more{n}", 1_000_000, "x")
            wait_until("it is under", lambda: client.info("memory")["used_memory"] <= limit + 1_100_000)
        assert 5 <= evicted(client) - before <= 25, evicted(client) - before
        assert client.info("memory")["used_memory"] > limit - 5_000_000


def test_a_lower_limit_is_reached_without_any_command():
    with Folder("evict") as folder:
        server = Ours(folder, "server", "--maxmemory-policy", "allkeys-lru", "--appendonly", "yes", "--hz", "1")
        client = server.client()
        for n in range(20_000):
            client.execute_command("SET", f"key:{n}", "v" * 100)
        half = client.info("memory")["used_memory"] // 2
        client.config_set("maxmemory", half)
        wait_until("half of it is gone", lambda: client.info("memory")["used_memory"] - uncounted(client) <= half)  # the AOF's buffer
        assert 5_000 < client.dbsize() < 15_000

        def written():
            return b"".join(open(path, "rb").read() for path in glob.glob(os.path.join(server.dir, "appendonlydir", "*incr*")))
        wait_until("the file has it", lambda: written().count(b"\r\nDEL\r\n") == 20_000 - client.dbsize())
        assert b"MULTI" not in written()


def test_nothing_goes_inside_of_a_transaction():
    with Folder("evict") as folder:
        client = Ours(folder, "server", "--maxmemory-policy", "allkeys-lru").client()
        with client.pipeline(transaction=True) as pipe:
            pipe.incr("x")
            pipe.execute_command("CONFIG", "SET", "maxmemory", "1")
            pipe.incr("x")
            answers = pipe.execute()
        assert answers[0] == 1 and answers[2] == 2, answers
        wait_until("then it goes", lambda: client.dbsize() == 0)


def test_clients_go_before_keys():
    with Folder("evict") as folder:
        server = Ours(folder, "server", "--maxmemory", "11mb", "--maxmemory-policy", "allkeys-lru", "--maxmemory-clients", "3mb")
        client = redis.Redis(port=server.port)
        client.execute_command("CLIENT", "NO-EVICT", "on")
        for n in range(50):
            client.setrange(str(n), 100_000, "x")
        sockets = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]

        def somebody_went():
            for one in sockets:
                try:
                    one.sendall(b"*2\r\n$4\r\nMGET\r\n$1\r\n1\r\n" * 3)
                except OSError:
                    pass
            return client.info("stats")["evicted_clients"] > 0
        wait_until("clients are closed", somebody_went)
        assert evicted(client) == 0 and client.dbsize() == 50


def fill_hash(client, value, members=100_000):
    for first in range(0, members, 1000):
        client.hset("big", mapping={f"member:{n}": value for n in range(first, first + 1000)})


def uncounted(client):
    return client.info("memory")["mem_not_counted_for_evict"]


def tight(client, headroom):
    """From now on HEADROOM bytes more than there are, and something goes."""
    client.config_set("maxmemory-policy", "allkeys-random")
    client.config_set("maxmemory", client.info("memory")["used_memory"] + headroom)


def test_what_a_snapshot_holds_evicts_nothing():
    with Folder("evict") as folder:
        client = Ours(folder, "server").client()
        with client.pipeline(transaction=False) as pipe:
            for n in range(20_000):
                pipe.set(f"key:{n}", "v" * 100)
            pipe.execute()
        fill_hash(client, "a" * 20)
        tight(client, 2_000_000)
        keys = client.dbsize()
        client.config_set("rdb-key-save-delay", 100_000_000)  # its walk stands still: whatever changes is kept
        client.bgsave()
        fill_hash(client, "b" * 20)  # a name of each member
        client.delete("big")  # and the whole of it
        fill_hash(client, "c" * 20)
        held = uncounted(client)
        assert held > 10_000_000, held
        with client.pipeline(transaction=False) as pipe:
            for n in range(20_000):
                pipe.set(f"key:{n}", "w" * 100)
            pipe.execute()
        memory = client.info("memory")
        assert memory["used_memory"] > memory["maxmemory"] + 5_000_000, "this proves nothing"
        assert (evicted(client), client.dbsize()) == (0, keys)
        client.config_set("rdb-key-save-delay", 0)
        wait_until("it is saved", lambda: client.info("persistence")["rdb_bgsave_in_progress"] == 0)
        wait_until("nothing is held", lambda: uncounted(client) == 0)
        assert client.info("persistence")["rdb_last_bgsave_status"] == "ok"
        assert evicted(client) == 0
        for n in range(200):
            client.set(f"more:{n}", "x" * 50_000)
        assert evicted(client) > 0, "what is no snapshot's counts as before"


def test_a_database_that_a_snapshot_still_needs_evicts_nothing():
    with Folder("evict") as folder:
        client = Ours(folder, "server").client()

        def fill(letter):
            with client.pipeline(transaction=False) as pipe:
                for n in range(50_000):
                    pipe.set(f"key:{n}", letter * 200)
                pipe.execute()
        fill("v")
        tight(client, 3_000_000)
        client.config_set("rdb-key-save-delay", 100_000_000)
        client.bgsave()
        client.flushdb()
        fill("w")
        memory = client.info("memory")
        assert memory["used_memory"] > memory["maxmemory"] + 5_000_000, "this proves nothing"
        assert (evicted(client), client.dbsize()) == (0, 50_000)
        client.flushall()  # ends it
        wait_until("nothing is held", lambda: uncounted(client) == 0)


run_tests(sys.modules[__name__])

#!/usr/bin/python3
"""test_migrate.py -- MIGRATE between the bundled server and redis-server 7.0.15, both ways, and every way it can fail."""
import socket, sys

import redis

from servers import Folder, Ours, RedisServer, free_port, run_tests
from walk import differences, walk


def fill(client):
    """One key of each type, small and big; with and without a deadline. Their names."""
    client.flushall()
    client.set("string", b"\x00\xff" * 5000)
    client.set("number", 12, px=10_000_000)
    client.rpush("list", *range(500))
    client.hset("hash", mapping={f"f{n}": "v" * n for n in range(300)})
    client.sadd("set", *range(50))
    client.zadd("zset", {f"m{n}": n / 3 for n in range(300)})
    client.xadd("stream", {"a": "b"}, id="5-1")
    client.xgroup_create("stream", "g", "0")
    return ["string", "number", "list", "hash", "set", "zset", "stream"]


def ask(client, *command):
    try:
        return client.execute_command(*command)
    except redis.ResponseError as error:
        return str(error)


def both_ways(check):
    with Folder("migrate") as folder:
        ours, theirs = Ours(folder, "ours"), RedisServer(folder, "theirs")
        for source, target in ((ours, theirs), (theirs, ours)):
            source.client().flushall()
            target.client().flushall()
            check(source, target)


def test_all_types_arrive_whole():
    def check(source, target):
        names = fill(source.client())
        before = walk(source.port)
        for key in names[:3]:
            assert ask(source.client(), "MIGRATE", "127.0.0.1", target.port, key, 0, 60000) in (b"OK", True)
        assert ask(source.client(), "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *names) in (b"OK", True)
        assert source.client().dbsize() == 0
        after = walk(target.port)
        assert all(abs(before[k][2] - after[k][2]) < 2000 for k in before)
        undated = lambda keys: {k: v[:2] for k, v in keys.items()}
        assert not differences(undated(before), undated(after)), differences(undated(before), undated(after))
    both_ways(check)


def test_replies_are_those_of_redis():
    answers = []

    def check(source, target):
        a, b, found = source.client(), target.client(), []
        a.set("x", "1"), b.set("x", "2")
        port = target.port
        for command in (["nokey", 0, 60000], ["x", 0, 60000], ["x", 0, 60000, "COPY"], ["x", 0, 60000, "COPY", "REPLACE"], ["x", 9, 60000], ["x", 99, 60000],
                        ["x", "a", 1000], ["x", 0, "b"], ["x", 0, 60000, "KEYS", "x"], ["", 0, 60000, "KEYS", "none"], ["", 0, 60000, "KEYS"],
                        ["x", 0, 60000, "AUTH"], ["x", 0, 60000, "what"], ["x", 0, 60000, "AUTH2", "u"], ["", 0, 60000, "KEYS", "p", "q"]):
            a.set("p", 1), a.set("q", 2), b.set("p", 3), b.delete("q")
            a.setnx("x", "again")
            found.append((command, ask(a, "MIGRATE", "127.0.0.1", port, *command), sorted(a.keys()), sorted(b.keys()), b.get("x")))
        found.append(ask(a, "MIGRATE", "127.0.0.1", free_port(), "p", 0, 100))
        answers.append(found)
    both_ways(check)
    for mine, other in zip(*answers):
        assert mine == other, f"\n  ours:  {mine}\n  redis: {other}"


def test_auth_is_given_and_not_shown():
    def check(source, target):
        target.client().config_set("requirepass", "secret")
        source.client().config_set("slowlog-log-slower-than", 0)
        source.client().set("k", "v")
        assert "NOAUTH" in ask(source.client(), "MIGRATE", "127.0.0.1", target.port, "k", 0, 60000)
        assert "WRONGPASS" in ask(source.client(), "MIGRATE", "127.0.0.1", target.port, "k", 0, 60000, "AUTH", "wrong")
        assert source.client().exists("k")
        assert ask(source.client(), "MIGRATE", "127.0.0.1", target.port, "k", 0, 60000, "AUTH2", "default", "secret") in (b"OK", True)
        shown = str(source.client().slowlog_get(50))
        assert "MIGRATE" in shown and "secret" not in shown and "wrong" not in shown, shown
        with_password = redis.Redis(port=target.port, password="secret")
        assert with_password.get("k") == b"v" and not source.client().exists("k")
        with_password.config_set("requirepass", "")
    both_ways(check)


def test_a_target_that_says_nothing_costs_the_timeout_and_no_key():
    with Folder("migrate") as folder, socket.create_server(("127.0.0.1", 0)) as mute:
        ours = Ours(folder, "ours")
        ours.client().set("k", "v" * 1_000_000)
        assert "IOERR error or timeout reading" in ask(ours.client(), "MIGRATE", "127.0.0.1", mute.getsockname()[1], "k", 0, 100) \
            or "IOERR error or timeout writing" in ask(ours.client(), "MIGRATE", "127.0.0.1", mute.getsockname()[1], "k", 0, 100)
        assert ours.client().strlen("k") == 1_000_000


def test_a_migrated_key_leaves_replicas_as_del():
    with Folder("migrate") as folder:
        ours, theirs = Ours(folder, "ours"), RedisServer(folder, "theirs")
        with ours.client() as client:
            client.mset({"a": 1, "b": 2})
            client.config_set("appendonly", "yes")
            while client.info("persistence")["aof_rewrite_in_progress"]:
                pass
            ask(client, "MIGRATE", "127.0.0.1", theirs.port, "", 0, 60000, "KEYS", "a", "b")
            client.execute_command("DEBUG", "LOADAOF")
            assert client.dbsize() == 0


def cached(client):
    return client.info("stats")["migrate_cached_sockets"]


def test_a_connection_is_kept_for_the_next_and_a_dead_one_is_replaced():
    with Folder("migrate") as folder:
        ours, theirs = Ours(folder, "ours"), RedisServer(folder, "theirs")
        a, b = ours.client(), theirs.client()
        accepted = lambda: b.info("stats")["total_connections_received"]
        before = accepted()
        for n in range(20):
            a.set(f"k{n}", n)
            assert ask(a, "MIGRATE", "127.0.0.1", theirs.port, f"k{n}", n % 3, 60000) in (b"OK", True)
        assert cached(a) == 1 and accepted() == before + 1
        assert b.info("keyspace")["db1"]["keys"] == 7 and b.dbsize() == 7
        b.client_kill_filter(_type="normal", skipme=True)
        a.set("after", 1)
        assert ask(a, "MIGRATE", "127.0.0.1", theirs.port, "after", 0, 60000) in (b"OK", True)
        assert b.get("after") == b"1" and cached(a) == 1
        theirs.kill()
        a.set("late", 1)
        assert "IOERR" in ask(a, "MIGRATE", "127.0.0.1", theirs.port, "late", 0, 60000)
        assert a.get("late") == b"1" and cached(a) == 0


def test_a_connection_with_a_password_serves_nobody_else():
    with Folder("migrate") as folder:
        ours, theirs = Ours(folder, "ours"), RedisServer(folder, "theirs")
        theirs.client().config_set("requirepass", "secret")
        a = ours.client()
        a.mset({"one": 1, "two": 2})
        assert ask(a, "MIGRATE", "127.0.0.1", theirs.port, "one", 0, 60000, "AUTH", "secret") in (b"OK", True)
        assert "NOAUTH" in ask(a, "MIGRATE", "127.0.0.1", theirs.port, "two", 0, 60000)
        assert "NOAUTH" in ask(a, "MIGRATE", "127.0.0.1", theirs.port, "two", 0, 60000)
        assert "WRONGPASS" in ask(a, "MIGRATE", "127.0.0.1", theirs.port, "two", 0, 60000, "AUTH", "wrong")
        assert ask(a, "MIGRATE", "127.0.0.1", theirs.port, "two", 0, 60000, "AUTH", "secret") in (b"OK", True)
        assert cached(a) == 3 and a.dbsize() == 0


run_tests(sys.modules[__name__])

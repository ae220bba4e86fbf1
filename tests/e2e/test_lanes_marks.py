#!/usr/bin/python3
"""test_lanes_marks.py -- a target that is killed and comes back with older data costs copies of few keys (C22a).

Each lane writes a mark into the target, in its own order. After kill -9 and a restart from an older RDB the keys of what
was sent behind the mark that is found there are copied again, and no others; without a mark, all keys are.
"""
import random
import sys

import redis

from servers import Folder, Ours, RedisServer, run_tests, wait_until
from test_gateway_lanes import HIDDEN, Gateway, Writer
from walk import differences, walk

KEYS = 3000


def log_of(gateway):
    with open(gateway.log, encoding="utf-8") as log:
        return log.read()


def marks(target):
    """The marks that lanes have written, with their lanes."""
    r = target.client()
    r.response_callbacks.clear()
    try:
        answer = r.execute_command("DRAWBRIDGE", "CHECKPOINT", "LIST")
    except redis.ResponseError:
        answer = r.execute_command("HGETALL", "drawbridge:checkpoint:lanes")
    flat = [word for part in answer for word in (part if isinstance(part, list) else [part])]
    return {(flat[i], flat[i + 1]) for i in range(0, len(flat), 2) if b"gateway:" in flat[i]}


def new_marks(gateway, target):
    """Everything that was sent is before a mark of its lane."""
    before = marks(target)
    r = gateway.client()

    def all_new():
        for i in range(8):
            r.set(f"some {i}", i)
        now = marks(target)
        return len(now) == 2 and not before & now

    wait_until("both lanes have written new marks", all_new)
    gateway.wait_level()


def level_and_equal(gateway, legacy, target):
    gateway.wait_level()
    found = differences(walk(legacy.port), walk(target.port))
    assert not found, "\n".join(found[:10])


def older_data(target_class):
    with Folder("marks-older") as folder:
        legacy, target = RedisServer(folder, "legacy", *HIDDEN), target_class(folder, "target")
        legacy.client().mset({f"key {i}": i for i in range(KEYS)})
        gateway = Gateway(folder, legacy, target)
        gateway.wait_level()
        r = gateway.client()
        r.mset({"a": 1, "b": 2})
        new_marks(gateway, target)
        assert b"drawbridge" not in b" ".join(target.client().keys("*")) or target_class is RedisServer
        target.client().save()
        rng = random.Random(folder.seed)
        for i in range(200):  # the saved data have none of this
            r.incr(f"key {rng.randrange(KEYS)}")
            r.lpush("new", i)
        r.delete("a")
        gateway.wait_level()
        before = gateway.lanes()
        target.kill()
        r.set("while it was gone", 1)  # and so dirty without a mark
        target.start()
        wait_until("the target is back", lambda: gateway.lanes()["follower_up"] == 1)
        level_and_equal(gateway, legacy, target)
        after = gateway.lanes()
        copied = after["copies_total"] - before["copies_total"]
        assert 150 < copied < 600, copied
        assert after["passes_total"] == before["passes_total"], (before, after)
        assert "lanes.restarted" in log_of(gateway) and "all=true" not in log_of(gateway), log_of(gateway)
        assert r.dbsize() == len(walk(legacy.port)), "our own key is counted"
        print(f"{copied} of {KEYS} keys were copied again")


def test_a_redis_that_falls_back_to_an_older_rdb():
    older_data(RedisServer)


def test_the_bundled_server_that_falls_back_to_an_older_rdb():
    older_data(Ours)


def test_a_target_without_its_data_gets_all_keys():
    with Folder("marks-empty") as folder:
        legacy, target = RedisServer(folder, "legacy", *HIDDEN), RedisServer(folder, "target")
        legacy.client().mset({f"key {i}": i for i in range(KEYS)})
        gateway = Gateway(folder, legacy, target)
        gateway.wait_level()
        gateway.client().incr("key 1")
        gateway.wait_level()
        target.kill()
        target.start()
        level_and_equal(gateway, legacy, target)
        assert "all=true" in log_of(gateway) and gateway.lanes()["passes_total"] == 2, gateway.lanes()


def test_under_load_with_many_restarts():
    with Folder("marks-load") as folder:
        legacy, target = RedisServer(folder, "legacy", *HIDDEN), RedisServer(folder, "target")
        gateway = Gateway(folder, legacy, target)
        gateway.wait_level()
        writers = [Writer(gateway, folder.seed + i) for i in range(3)]
        for writer in writers:
            writer.start()
        for _ in range(3):
            before = gateway.lanes()["effects_total"]
            wait_until("effects go", lambda: gateway.lanes()["effects_total"] > before + 200)
            target.client().save()
            before = gateway.lanes()["effects_total"]
            wait_until("effects go", lambda: gateway.lanes()["effects_total"] > before + 200)
            target.kill()
            target.start()
            wait_until("the target is back", lambda: gateway.lanes()["follower_up"] == 1)
        for writer in writers:
            writer.stopping = True
            writer.join(180)
        level_and_equal(gateway, legacy, target)
        assert gateway.lanes()["passes_total"] == 1, gateway.lanes()


if __name__ == "__main__":
    sys.exit(run_tests(sys.modules[__name__]))

#!/usr/bin/python3
"""test_lanes_baseline.py -- the baseline of lanes from an RDB file that legacy made after recording began (C15).

Legacy is never listed. While it saves, and while the gateway reads, clients write through the gateway: what they wrote since is
copied and not taken from the file; keys that only the target has go. A file that is too old, or not whole, is not taken; FLUSHALL
between the file and its reading makes it worthless.
"""
import os
import shutil
import sys
import time

from servers import Folder, Ours, RedisServer, run_tests, wait_until
from test_gateway_lanes import HIDDEN, Gateway, Writer
from walk import differences, walk

TYPES = ("string", "list", "set", "hash", "zset", "stream")


class Stage:
    def __init__(self, folder, **options):
        self.folder = folder
        self.legacy, self.target = RedisServer(folder, "legacy", *HIDDEN), Ours(folder, "target")
        self.file = os.path.join(folder.path, "baseline.rdb")
        fill(self.legacy.client(), 3000)
        fill(self.legacy.client(3), 200)
        self.target.client().mset({f"extra {i}": i for i in range(50)})
        self.target.client().set("same 1", "an old value")
        self.target.client(5).rpush("extra list", 1)
        self.gateway = Gateway(folder, self.legacy, self.target, options=f"baseline: {self.file}", **options)

    def waits_since(self):
        """When the file must have been begun: once the gateway knows."""
        return wait_until("a file is waited for", lambda: self.gateway.lanes()["baseline_wants_file_after_s"])

    def save(self):
        """BGSAVE of legacy, begun late enough."""
        since = self.waits_since()
        while time.time() < since + 0.2:  # its clock is read in ticks
            time.sleep(0.05)
        return self.save_now()

    def save_now(self):
        client, before = self.legacy.client(), self.legacy.client().lastsave()
        while int(time.time()) <= before.timestamp():
            time.sleep(0.05)
        client.bgsave()
        wait_until("legacy has saved", lambda: client.lastsave() != before)
        return os.path.join(self.legacy.dir, "dump.rdb")

    def put(self, path, cut=None):
        shutil.copy(path, self.file + ".tmp")
        if cut:
            os.truncate(self.file + ".tmp", os.path.getsize(path) - cut)
        os.rename(self.file + ".tmp", self.file)

    def said(self, words):
        with open(self.gateway.log, encoding="utf-8") as log:
            return words in log.read()

    def check(self):
        """Both sides are equal, and legacy was not listed."""
        self.gateway.wait_level()
        assert "cmdstat_scan" not in self.legacy.client().info("commandstats"), "legacy was listed"
        assert not differences(walk(self.legacy.port), walk(self.target.port))


def fill(client, count):
    with client.pipeline(transaction=False) as pipe:
        for i in range(count):
            kind = TYPES[i % len(TYPES)]
            key = f"{kind} {i}"
            if kind == "string":
                pipe.set(key, "v" * (i % 300), px=900_000 if i % 5 == 0 else None)
            elif kind == "list":
                pipe.rpush(key, *range(i % 300 + 1))
            elif kind == "set":
                pipe.sadd(key, *range(i % 300 + 1))
            elif kind == "hash":
                pipe.hset(key, mapping={n: "x" * n for n in range(i % 40 + 1)})
            elif kind == "zset":
                pipe.zadd(key, {n: n / 7 for n in range(i % 300 + 1)})
            else:
                pipe.xadd(key, {"f": i}, id=f"{i + 1}-1")
        pipe.set("same 1", "value")
        pipe.execute()


def test_load_goes_on_while_the_file_is_made_and_read():
    with Folder("baseline") as folder:
        stage = Stage(folder)
        writers = [Writer(stage.gateway, folder.seed + n) for n in range(3)]
        for writer in writers:
            writer.start()
        path = stage.save()
        time.sleep(0.5)  # what is written now is not in the file
        stage.legacy.client().set("string 0", "by nobody's leave")  # and this is in no lane: the next line makes it known
        stage.gateway.client().append("string 0", "!")
        stage.gateway.client().delete("list 1", "set 2")
        stage.gateway.client().rename("hash 3", "hash 3 new")
        stage.put(path)
        wait_until("the file was read", lambda: stage.said("lanes.baseline_read"))
        time.sleep(0.5)
        for writer in writers:
            writer.stopping = True
            writer.join()
            assert writer.wrong is None, writer.wrong
        stage.gateway.wait_level()
        lanes = stage.gateway.lanes()
        assert lanes["pass_items"] > 3000, lanes
        assert lanes["passes_total"] == 1 and lanes["baseline_wants_file_after_s"] == 0, lanes
        assert stage.target.client().exists("extra 1", "list 1", "set 2", "hash 3") == 0 and stage.target.client(5).exists("extra list") == 0
        assert stage.target.client().get("string 0") == b"by nobody's leave!"
        stage.check()
        print(f"    {lanes['pass_items']} items of the file, {lanes['copies_total'] - lanes['pass_items']} other copies, "
              f"{sum(w.done for w in writers)} commands")


def test_a_file_that_is_too_old_or_broken_is_not_taken():
    with Folder("baseline-bad") as folder:
        stage = Stage(folder)
        old = os.path.join(folder.path, "old.rdb")
        shutil.copy(stage.save_now(), old)
        stage.waits_since()
        wait_until("it says that there is none", lambda: stage.said("lanes.baseline_waits"))
        stage.put(old)
        wait_until("it says that it is too old", lambda: stage.said("it is too old"))
        stage.gateway.client().set("string 6", "written meanwhile")
        new = stage.save()
        stage.put(new, cut=500)
        wait_until("it says that it is not whole", lambda: stage.said("end"))
        stage.gateway.client().set("string 12", "and this")
        assert stage.gateway.lanes()["level"] == 0 and stage.gateway.lanes()["dirty_slots"] > 0
        stage.put(new)
        stage.check()


def test_flushall_after_the_file_was_made_makes_it_worthless():
    with Folder("baseline-flush") as folder:
        stage = Stage(folder)
        path = stage.save()
        stage.gateway.client().flushall()
        stage.gateway.client().set("alone", 1)
        stage.put(path)
        wait_until("it is too old now", lambda: stage.said("it is too old"))
        stage.put(stage.save())
        stage.check()
        assert stage.target.client().dbsize() == 1 and stage.target.client(3).dbsize() == 0


def test_big_keys_go_in_pieces():
    with Folder("baseline-big") as folder:
        stage = Stage(folder, lanes=1)
        stage.legacy.client().hset("big", mapping={n: os.urandom(100) for n in range(60_000)})
        stage.put(stage.save())
        stage.check()
        assert stage.gateway.lanes()["big_copies_total"] >= 1, stage.gateway.lanes()


def test_the_target_may_lose_everything_meanwhile():
    """Then the file says nothing any more: a later one is wanted, or, when it had been read, legacy is listed."""
    with Folder("baseline-dies") as folder:
        stage = Stage(folder)
        stage.put(stage.save())
        wait_until("the file is read", lambda: stage.gateway.lanes()["pass_items"] > 0)
        stage.target.kill()
        stage.target.start()
        given = [stage.gateway.lanes()["baseline_wants_file_after_s"]]

        def level():
            lanes = stage.gateway.lanes()
            since = lanes["baseline_wants_file_after_s"]
            if since and since not in given and time.time() > since + 0.2:
                given.append(since)
                stage.put(stage.save_now())
            return lanes["level"]

        wait_until("both sides are level", level, 180)
        assert not differences(walk(stage.legacy.port), walk(stage.target.port))


if __name__ == "__main__":
    sys.exit(run_tests(sys.modules[__name__]))

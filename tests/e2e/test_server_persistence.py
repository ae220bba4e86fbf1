#!/usr/bin/python3
"""What the bundled server confirmed is there after kill -9, and its files are those of Redis 7.

RDB and AOF go both ways between it and redis-server 7.0.15; redis-check-rdb and redis-check-aof look
at them; an AOF is cut at every byte; the disk is full for a while.
"""
import os
import random
import shutil
import subprocess
import sys
import threading
import time

import redis
import walk
from servers import Folder, Load, Ours, RedisServer, run_tests, wait_until

# Servers that are killed: however busy the disk is, nothing is answered before write(2).
KEPT = ("--appendonly", "yes", "--aof-patience-ms", "1000000")
KEPT_BY_REDIS = ("--appendonly", "yes", "--appendfsync", "always")  # with everysec it lets write(2) wait for a slow sync


def checked(*command):
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert run.returncode == 0, f"{' '.join(command)}:\n{run.stdout}"
    return run.stdout


def loaded(server, seed, seconds=1.0):
    load = Load(server, seed)
    load.start()
    load.go_on(seconds)
    load.stop()
    server.client().execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")


def lasting(walked):
    """Keys that will not expire while files are copied and servers start."""
    return {name: what for name, what in walked.items() if what[2] == -1 or what[2] > time.time() * 1000 + 10000}


def check_same(want, server):
    found = walk.differences(lasting(want), lasting(walk.walk(server.port)))
    assert not found, "\n".join(found)
    assert len(lasting(want)) > 20


def test_rdb_goes_both_ways():
    with Folder("persistence-rdb") as folder:
        ours = Ours(folder, "ours")
        loaded(ours, folder.seed)
        want = walk.walk(ours.port)
        assert ours.client().save()
        rdb = os.path.join(ours.dir, "dump.rdb")
        assert "RDB looks OK" in checked("redis-check-rdb", rdb)
        stock = RedisServer(folder, "stock", start=False)
        shutil.copy(rdb, stock.dir)
        stock.start()
        check_same(want, stock)
        loaded(stock, folder.seed + 1)
        want = walk.walk(stock.port)
        stock.client().save()
        back = Ours(folder, "back", start=False)
        shutil.copy(os.path.join(stock.dir, "dump.rdb"), back.dir)
        back.start()
        check_same(want, back)
        for db in range(3):  # nothing may expire between the two digests
            for key in back.client(db).keys():
                back.client(db).persist(key)
        digest = back.client().execute_command("DEBUG", "DIGEST")
        back.client().execute_command("DEBUG", "RELOAD")
        assert back.client().execute_command("DEBUG", "DIGEST") == digest
        back.client().bgsave()
        wait_until("BGSAVE is done", lambda: not back.info("persistence")["rdb_bgsave_in_progress"])
        assert back.info("persistence")["rdb_last_bgsave_status"] == "ok"
        checked("redis-check-rdb", os.path.join(back.dir, "dump.rdb"))
        want = walk.walk(back.port)
        back.kill()
        back.start()
        check_same(want, back)


REFUSED = {"redis-tests-corrupt_ziplist.rdb": "the ziplist of the hash is broken", "redis_40_with_module.rdb": "module type ReJSON-RL",
           "redis_60_with_module_aux.rdb": "module type test__rdb"}


def test_files_of_older_versions_load():
    """tests/golden/rdb: what redis-server 7.0 loads, ours loads alike, and says what is wrong with those that it refuses."""
    golden = os.path.join(os.path.dirname(__file__), "..", "golden", "rdb")
    files = sorted(f for f in os.listdir(golden) if f.endswith(".rdb"))
    assert len(files) == 35 and set(REFUSED) < set(files)
    with Folder("persistence-golden") as folder:
        for number, name in enumerate(files):
            stock = RedisServer(folder, f"stock{number}", start=False)
            ours = Ours(folder, f"ours{number}", start=False)
            for server in (stock, ours):
                shutil.copy(os.path.join(golden, name), os.path.join(server.dir, "dump.rdb"))
                server.start(wait=False)
            def up(server):
                return server.process.poll() is not None or server.answers()
            wait_until(f"{name} is loaded", lambda: up(stock) and up(ours))
            assert (ours.process.poll() is not None) == (name in REFUSED), f"{name}:\n{open(ours.log).read()}"
            if name in REFUSED:
                assert ours.said("Fatal error loading the DB") and ours.said(REFUSED[name]), f"{name}:\n{open(ours.log).read()}"
            else:
                found = walk.differences(walk.walk(stock.port), walk.walk(ours.port))
                assert not found, f"{name}: {found}"
            for server in (stock, ours):
                server.kill()


def test_a_file_of_redis_7_2_or_valkey_8_loads():
    """RDB version 11: a set as listpack (type 20), a stream with active times (21), the sizes of slots; as their rdb.c write them."""
    text = lambda t: bytes([len(t)]) + t
    members = b"".join(b"\x81" + bytes([m]) + b"\x02" for m in b"abc")
    listpack = (7 + len(members)).to_bytes(4, "little") + (3).to_bytes(2, "little") + members + b"\xff"
    stream = bytes.fromhex("0110 00000000000000010000000000000001 1d 1d0000000a0001010001010181660200010201000100018176020401ff")
    stream += bytes((1, 1, 1, 1, 1, 0, 0, 1))  # entries, last id, first id, max deleted id, entries added
    stream += b"\x01" + text(b"group") + bytes((1, 1, 1))  # last id, entries read
    stream += b"\x01" + bytes(7) + b"\x01" + bytes(7) + b"\x01" + bytes(8) + b"\x01"  # pending: id, time, deliveries
    stream += b"\x01" + text(b"consumer") + (1700000000000).to_bytes(8, "little") * 2 + b"\x01" + bytes(7) + b"\x01" + bytes(7) + b"\x01"
    rdb = b"REDIS0011" + b"\xfa" + text(b"valkey-ver") + text(b"8.1.0") + b"\xfa" + text(b"redis-bits") + b"\xc0\x40" + b"\xfe\x00\xfb\x02\x00"
    rdb += b"\xf4" + bytes((1, 2, 0))  # slot, keys, of them with an expiry
    rdb += b"\x14" + text(b"set") + text(listpack) + b"\x15" + text(b"stream") + stream + b"\xff" + bytes(8)  # no checksum
    with Folder("persistence-11") as folder:
        ours = Ours(folder, "ours", start=False)
        with open(os.path.join(ours.dir, "dump.rdb"), "wb") as file:
            file.write(rdb)
        ours.start()
        c = ours.client()
        assert c.dbsize() == 2 and c.smembers("set") == {b"a", b"b", b"c"} and c.xrange("stream") == [(b"1-1", {b"f": b"v"})]
        assert c.xpending("stream", "group")["pending"] == 1 and c.xinfo_consumers("stream", "group")[0]["name"] == b"consumer"
        c.save()
        assert "RDB looks OK" in checked("redis-check-rdb", os.path.join(ours.dir, "dump.rdb"))


def test_aof_goes_both_ways():
    with Folder("persistence-aof") as folder:
        ours = Ours(folder, "ours", *KEPT)
        ours.client().execute_command("DRAWBRIDGE", "CHECKPOINT", "SET", "forward", "abc:1")
        ours.client().publish("news", "not for the file")
        loaded(ours, folder.seed)
        want = walk.walk(ours.port)
        ours.kill()
        folder_of = lambda s: os.path.join(s.dir, "appendonlydir")
        assert b"not for the file" not in open(os.path.join(folder_of(ours), "appendonly.aof.1.incr.aof"), "rb").read()
        checked("redis-check-aof", os.path.join(folder_of(ours), "appendonly.aof.manifest"))
        stock = RedisServer(folder, "stock", *KEPT_BY_REDIS, start=False)
        shutil.copytree(folder_of(ours), folder_of(stock))
        stock.start()
        check_same(want, stock)
        ours.start()
        check_same(want, ours)
        assert ours.client().execute_command("DRAWBRIDGE", "CHECKPOINT", "GET", "forward") == b"abc:1"
        digest = ours.client().execute_command("DEBUG", "DIGEST")
        ours.client().execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        loaded(stock, folder.seed + 1)
        stock.client().execute_command("BGREWRITEAOF")
        wait_until("the rewrite is done", lambda: not stock.info("persistence")["aof_rewrite_in_progress"])
        loaded(stock, folder.seed + 2)
        want = walk.walk(stock.port)
        stock.kill()
        back = Ours(folder, "back", *KEPT, start=False)
        shutil.copytree(folder_of(stock), folder_of(back))
        back.start()
        check_same(want, back)
        assert digest  # of the first server; the second has other data


def test_a_rewrite_that_a_transaction_asks_for_is_made_without_an_aof_too():
    with Folder("persistence-multi") as folder:
        ours = Ours(folder, "ours")
        with ours.client().pipeline(transaction=True) as p:
            p.set("a", 1)
            p.execute_command("BGREWRITEAOF")
            p.execute()
        wait_until("it was made", lambda: ours.info("persistence")["aof_rewrites"] == 1 and ours.info("persistence")["aof_rewrite_in_progress"] == 0)
        said = ours.info("persistence")
        assert (said["aof_enabled"], said["aof_rewrite_scheduled"]) == (0, 0), said
        assert sorted(os.listdir(os.path.join(ours.dir, "appendonlydir"))) == ["appendonly.aof.1.base.rdb", "appendonly.aof.manifest"]


def test_an_aof_can_be_switched_on_rewritten_and_loaded():
    with Folder("persistence-switch") as folder:
        ours = Ours(folder, "ours", "--aof-patience-ms", "1000000")
        r = ours.client()
        loaded(ours, folder.seed)
        ready = lambda: ours.info("persistence")["aof_rewrite_in_progress"] == 0
        load = Load(ours, folder.seed + 1)
        load.start()
        r.config_set("appendonly", "yes")
        wait_until("the base is made", ready)
        for _ in range(3):
            r.execute_command("BGREWRITEAOF")
            wait_until("it is rewritten", ready)
        load.stop()
        r.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        want = walk.walk(ours.port)
        checked("redis-check-aof", os.path.join(ours.dir, "appendonlydir", "appendonly.aof.manifest"))
        assert len(os.listdir(os.path.join(ours.dir, "appendonlydir"))) == 3, "history files are removed"
        r.execute_command("DEBUG", "LOADAOF")
        check_same(want, ours)
        ours.kill()
        ours.options += ("--appendonly", "yes")
        ours.start()
        check_same(want, ours)
        # An RDB, and then appendonly yes at start: the data is kept.
        ours.client().save()
        other = Ours(folder, "other", *KEPT, start=False)
        shutil.copy(os.path.join(ours.dir, "dump.rdb"), other.dir)
        other.start()
        other.client().set("one more", "1")
        other.kill()
        other.start()
        assert other.client().get("one more") == b"1"
        other.client().delete("one more")
        check_same(want, other)


def test_what_a_killed_server_had_begun_is_removed():
    with Folder("persistence-leftovers") as folder:
        ours = Ours(folder, "ours", start=False)
        dead = subprocess.Popen(["true"])
        dead.wait()
        begun = [f"temp-{dead.pid}-1.rdb", f"temp-save-{dead.pid}-2.rdb", f"temp-sync{dead.pid}-1.rdb", f"temp-rewriteaof-bg-{dead.pid}.aof"]
        kept = [f"temp-{os.getpid()}-1.rdb", "temp-readings.csv", "temp-0.rdb"]
        for name in begun + kept:
            open(os.path.join(ours.dir, name), "w").close()
        ours.start()
        assert sorted(os.listdir(ours.dir)) == sorted(kept), os.listdir(ours.dir)


def test_an_aof_that_has_grown_is_rewritten():
    with Folder("persistence-grown") as folder:
        ours = Ours(folder, "ours", *KEPT, "--auto-aof-rewrite-min-size", "1mb")
        r = ours.client()
        for i in range(3000):
            r.set("k", f"{i}" + "x" * 1000)
        wait_until("a rewrite begins by itself", lambda: ours.said("Starting automatic rewriting of AOF"))

        def is_small():  # what was written meanwhile may have made one more necessary
            info = ours.info("persistence")
            return not info["aof_rewrite_in_progress"] and info["aof_current_size"] < 1 << 20

        wait_until("it is rewritten", is_small)
        want = r.get("k")
        ours.kill()
        ours.start()
        assert ours.client().get("k") == want


class Counting(threading.Thread):
    """Writes what can be counted, and remembers what was confirmed."""

    def __init__(self, server, number):
        super().__init__(daemon=True)
        self.server, self.number = server, number
        self.confirmed = self.sent = 0

    def run(self):
        r = self.server.client(single_connection_client=True)
        n = self.number
        try:
            while True:
                self.sent += 1
                with r.pipeline() as unit:
                    unit.incr(f"count{n}")
                    unit.lpush(f"list{n}", self.sent)
                    unit.append(f"text{n}", "x")
                    unit.execute()
                self.confirmed = self.sent
        except redis.RedisError:
            pass


def kill_under_load(policy):
    with Folder(f"persistence-kill-{policy}") as folder:
        # However busy the disk is: everysec and no wait for write(2) only so long.
        ours = Ours(folder, "ours", "--appendonly", "yes", "--appendfsync", policy, "--aof-patience-ms", "1000000")
        for round_ in range(4):
            ours.client().flushall()
            threads = [Counting(ours, n) for n in range(4)]
            for t in threads:
                t.start()
            rewriter = ours.client()
            time.sleep(0.3 + random.Random(folder.seed + round_).random() * 0.5)
            wait_until("each thread has written", lambda: all(t.confirmed > 20 for t in threads))
            if round_ % 2:
                rewriter.execute_command("BGREWRITEAOF")
            ours.kill()
            for t in threads:
                t.join()
            ours.start()
            r = ours.client()
            for t in threads:
                count = int(r.get(f"count{t.number}"))
                items = [int(x) for x in r.lrange(f"list{t.number}", 0, -1)]
                assert t.confirmed <= count <= t.sent, f"confirmed {t.confirmed}, sent {t.sent}, there {count}"
                assert items == list(range(count, 0, -1)), "items lost or doubled"
                assert r.strlen(f"text{t.number}") == count
            print(f"    {policy}: {sum(t.confirmed for t in threads)} units confirmed, all there")


def test_kill_9_loses_nothing_that_was_confirmed():
    for policy in ("everysec", "no", "always"):
        kill_under_load(policy)


def test_an_aof_cut_anywhere_loads_up_to_the_cut():
    with Folder("persistence-cut") as folder:
        ours = Ours(folder, "ours", *KEPT)
        r = ours.client()
        r.set("a", "1")
        with r.pipeline() as unit:
            unit.incr("a")
            unit.rpush("l", "x\r\n", "y")
            unit.execute()
        r.append("b", "end")
        ours.kill()
        aof = os.path.join(ours.dir, "appendonlydir", "appendonly.aof.1.incr.aof")
        whole = open(aof, "rb").read()
        multi, after = whole.index(b"*1\r\n$5\r\nMULTI"), whole.index(b"EXEC\r\n") + 6
        for cut in range(0, len(whole) + 1, 1 if len(whole) < 300 else 3):
            with open(aof, "wb") as out:
                out.write(whole[:cut])
            ours.start()
            r = ours.client()
            state = (r.get("a"), r.lrange("l", 0, -1), r.get("b"))
            if cut == len(whole):
                want = (b"2", [b"x\r\n", b"y"], b"end")
            elif cut >= after:
                want = (b"2", [b"x\r\n", b"y"], None)
            else:
                want = (b"1" if cut >= multi else None, [], None)
            assert state == want, f"cut at {cut} of {len(whole)}: {state}, not {want}"
            kept = {len(whole): cut}.get(cut, after if cut >= after else multi if cut >= multi else 0)
            got = os.path.getsize(aof)
            assert got == kept or got <= cut, f"cut at {cut}: {got} bytes are kept"
            ours.kill()
        with open(aof, "wb") as out:
            out.write(whole[:-1])
        ours.options += ("--aof-load-truncated", "no")
        ours.start(wait=False)
        assert ours.process.wait(180) == 1 and ours.said("Unexpected end of file")
        with open(aof, "wb") as out:
            out.write(whole[:40] + b"garbage\r\n" + whole[40:])
        ours.start(wait=False)
        assert ours.process.wait(180) == 1 and ours.said("Bad file format")


def test_an_old_aof_moves_in():
    with Folder("persistence-old-aof") as folder:
        ours = Ours(folder, "ours", "--appendonly", "yes", start=False)
        with open(os.path.join(ours.dir, "appendonly.aof"), "wb") as out:
            out.write(b"*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n")
        for _ in range(2):
            ours.start()
            assert ours.client(2).get("k") == b"v"
            ours.kill()
        assert sorted(os.listdir(os.path.join(ours.dir, "appendonlydir"))) == [
            "appendonly.aof", "appendonly.aof.1.incr.aof", "appendonly.aof.manifest"]


def test_a_full_disk_refuses_writes_and_recovers():
    """/dev/full in place of the incr file: every write of it fails with ENOSPC."""
    if os.geteuid() != 0:
        print("    left out: needs root for a small file system")
        return
    with Folder("persistence-full") as folder:
        ours = Ours(folder, "ours", "--appendonly", "yes", start=False)
        small = os.path.join(ours.dir, "appendonlydir")
        os.makedirs(small)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small], check=False).returncode:
            print("    left out: no small file system can be mounted here")
            return
        try:
            ours.start()
            r = ours.client()
            written = 0
            try:
                while written < 1000:
                    r.rpush("l", "x" * 1000)
                    written += 1
                raise AssertionError("the disk never became full")
            except redis.ResponseError as error:
                assert "Errors writing to the AOF file" in str(error), error
            assert r.llen("l") in (written, written + 1) and ours.info("persistence")["aof_last_write_status"] == "err"
            checked("mount", "-o", "remount,size=4m", small)
            wait_until("it can write again", lambda: ours.info("persistence")["aof_last_write_status"] == "ok")
            r.rpush("l", "last")
            count = r.llen("l")
            ours.kill()
            ours.start()
            assert ours.client().llen("l") == count
            ours.kill()
        finally:
            subprocess.run(["umount", "-l", small], check=False)


def test_dump_and_restore_go_both_ways():
    with Folder("persistence-dump") as folder:
        ours, stock = Ours(folder, "ours"), RedisServer(folder, "stock")
        loaded(ours, folder.seed)
        loaded(stock, folder.seed + 1)
        for a, b in ((ours, stock), (stock, ours)):
            source, to = a.client(), b.client()
            to.flushall()
            names = [k for k in source.keys() if source.pttl(k) == -1]
            for key in names:
                to.restore(key, 0, source.dump(key))
            want = {n: w for n, w in walk.walk(a.port).items() if n[0] == 0 and w[2] == -1}
            found = walk.differences(want, walk.walk(b.port))
            assert not found and len(want) > 20, found
        r = ours.client()
        r.set("k", "v")
        payload = r.dump("k")
        r.restore("k2", 100000, payload)
        assert 90000 < r.pttl("k2") <= 100000
        at = int(time.time() * 1000) + 50000
        r.execute_command("RESTORE", "k2", at, payload, "REPLACE", "ABSTTL", "IDLETIME", "1000")
        assert r.execute_command("PEXPIRETIME", "k2") == at
        for args, words in ((("k2", 0, payload), "BUSYKEY"), (("k3", -1, payload), "Invalid TTL"),
                            (("k3", 0, payload[:-1] + b"x"), "checksum"), (("k3", 0, b""), "checksum"),
                            (("k3", 0, payload, "FREQ", 300), "Invalid FREQ")):
            try:
                r.execute_command("RESTORE", *args)
                raise AssertionError(f"taken: {args}")
            except redis.ResponseError as error:
                assert words in str(error), error
        r.execute_command("RESTORE", "k2", 1, payload, "REPLACE", "ABSTTL")
        assert r.exists("k2") == 0
        sc = stock.client()
        sc.xadd("orders", {"f": "v"})
        sc.xgroup_create("orders", "g", "0")
        sc.xreadgroup("g", "c", {"orders": ">"})
        r.restore("orders", 0, sc.dump("orders"))
        assert r.dump("orders") == sc.dump("orders")
        sc.restore("back", 0, r.dump("orders"))
        assert sc.xpending("back", "g")["pending"] == 1


def test_save_points_and_bgsave_errors():
    with Folder("persistence-points") as folder:
        ours = Ours(folder, "ours")
        r = ours.client()
        r.config_set("save", "1 3")
        for i in range(5):
            r.set(f"k{i}", i)
        wait_until("a save point saves", lambda: ours.info("persistence")["rdb_saves"] >= 1)
        assert r.info("persistence")["rdb_changes_since_last_save"] == 0
        r.flushall()
        ours.kill()
        ours.start()
        r = ours.client()
        assert r.dbsize() == 0, "flushed data came back"
        r.config_set("save", "1 3")
        shutil.rmtree(ours.dir)
        r.set("k", "1")
        try:
            r.save()
            raise AssertionError("saved into a folder that is gone")
        except redis.ResponseError:
            pass
        r.bgsave()
        wait_until("the failure is told", lambda: ours.info("persistence")["rdb_last_bgsave_status"] == "err")
        try:
            r.set("k", "2")
            raise AssertionError("a write after a failed BGSAVE")
        except redis.ResponseError as error:
            assert "MISCONF" in str(error) or "unable to persist" in str(error), error
        r.config_set("stop-writes-on-bgsave-error", "no")
        r.set("k", "3")


if __name__ == "__main__":
    run_tests(sys.modules[__name__])

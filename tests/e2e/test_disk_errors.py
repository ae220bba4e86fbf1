#!/usr/bin/python3
"""EIO at any call: each write, sync, rename, truncation and creation of a file fails once, while the server appends, saves and
rewrites its AOF. What was confirmed is there after a restart; under `everysec` and with RDB files the server refuses writes
by MISCONF or goes on, and is well again when the disk is; under `always` it may also end, and says why.

A sync of the AOF that failed is made good by a rewrite, and by nothing else.

CALLS tells how many calls are tried of each (default 14, spread over all)."""
import os
import subprocess
import sys
import time

import redis

from servers import Folder, Ours, needs_preloading, preload, preloaded, wait_until

CALLS = int(os.environ.get("CALLS", "14"))


class Failing(Ours):
    def __init__(self, folder, name, *options):
        super().__init__(folder, name, *options, start=False)
        self.shim = preload(folder, "disk_fail")
        self.begin({**preloaded(self.shim), "DISK_FAIL_BELOW": self.dir})

    def begin(self, env):
        with open(self.log, "a", encoding="utf-8") as out:
            self.process = subprocess.Popen(self.command(), stdout=out, stderr=out, env=env)
        wait_until("it answers", self.answers)

    def arm(self, n):
        with open(self.dir + ".arm.new", "w", encoding="ascii") as file:
            file.write(str(n))
        os.rename(self.dir + ".arm.new", self.dir + ".arm")

    def fired(self):
        try:
            return open(self.dir + ".fired", encoding="utf-8").read().strip()
        except FileNotFoundError:
            return None


class Ended(Exception):
    pass


def call(server, client, *words):
    """The answer, or None if it was refused for the disk."""
    try:
        return client.execute_command(*words)
    except redis.ResponseError as error:
        text = str(error)
        assert "MISCONF" in text or "in progress" in text or "Input/output error" in text, (words, text)
        return None
    except redis.ConnectionError:
        wait_until("the process has ended", lambda: server.process.poll() is not None)
        raise Ended from None


def idle(client):
    info = client.info("persistence")
    return info["rdb_bgsave_in_progress"] == 0 and info["aof_rewrite_in_progress"] == 0


def work(server, client, confirmed, turns, cut=False):
    """CUT: stop soon after the failure, before anything writes the data once more."""
    for turn in range(turns):
        for i in range(30):
            if cut and server.fired():
                call(server, client, "SET", "last", "x")
                return
            key = f"k{len(confirmed)}" # each its own: nothing covers for one that is lost
            if call(server, client, "SET", key, "v" * (i * 40)) is not None:
                confirmed[key] = i * 40
        call(server, client, "BGSAVE" if turn % 2 else "BGREWRITEAOF")
        end = time.time() + 10
        while time.time() < end:
            try:
                if idle(client) or (cut and server.fired()):
                    break
            except redis.ConnectionError:
                raise Ended from None
            time.sleep(0.01)


def one(folder, name, n, *options):
    """The call that failed, or None: there were fewer."""
    server = Failing(folder, name, *options)
    client, confirmed = server.client(), {}
    always = "always" in options
    work(server, client, confirmed, 1)
    server.arm(n)
    ended, cut = False, always and n % 3 != 0
    try:
        work(server, client, confirmed, 5, cut)
        for _ in range(n if "everysec" in options else 0): # each makes at least one call, in its own time
            if server.fired():
                break
            call(server, client, "SET", "more", 1)
            wait_until("it is synced, or was not", lambda: server.fired() or client.execute_command("WAITAOF", 1, 0, 500)[0])
        fired = server.fired()
        if fired and not cut: # the disk is well: so is the server, at the latest after a save
            def writes():
                call(server, client, "BGSAVE")
                wait_until("nothing is under way", lambda: idle(client))
                return call(server, client, "SET", "well", "again") is not None
            wait_until(f"writes are taken again after {fired}", writes)
            confirmed["well"] = 5
            info = client.info("persistence")
            assert info["rdb_last_bgsave_status"] == "ok" and info["aof_last_write_status"] == "ok", (fired, info)
    except Ended:
        ended, fired = True, server.fired()
        assert always and server.said("Exiting"), f"it ended after {fired}"
    server.kill()
    if not ended and "appendonly" not in str(options):
        server.begin(dict(os.environ)) # the RDB of the last save: it loads
        assert server.client().get("k3") is not None, fired
        server.kill()
        return fired
    server.begin(dict(os.environ))
    client = server.client()
    with client.pipeline(transaction=False) as p:
        for key in confirmed:
            p.strlen(key)
        got = p.execute()
    wrong = [key for (key, size), there in zip(confirmed.items(), got) if size != there]
    assert not wrong, f"lost after {fired}: {wrong[:5]} and {len(wrong)} in all"
    server.kill()
    return fired


def sweep(name, *options):
    with Folder(f"disk-errors-{name}") as folder:
        seen, n, step = [], 1, 1
        while len(seen) < CALLS:
            fired = one(folder, f"{name}{n}", n, *options)
            if fired is None:
                break
            seen.append(f"{n}:{fired.split()[0]}")
            n += step
            step += len(seen) % 3 == 0
        assert len(seen) > 5, seen
        print(f"{name}: {' '.join(seen)}", flush=True)


def failed_sync():
    """Syncs that work later do not make it good: nothing counts as synced, and writes are refused, until a rewrite that began
    after it is done."""
    with Folder("disk-errors-sync") as folder:
        server = Failing(folder, "sync", "--appendonly", "yes", "--appendfsync", "everysec")
        client = server.client()
        client.set("before", "x" * 1000)
        assert client.execute_command("WAITAOF", 1, 0, 20000) == [1, 0]
        client.config_set("rdb-key-save-delay", 1_000_000_000)  # the rewrite does not end
        server.arm("1 fsync")
        client.set("lost", "perhaps")
        wait_until("a sync has failed", lambda: server.fired() and "incr.aof" in server.fired())
        wait_until("it is rewritten", lambda: client.info("persistence")["aof_rewrite_in_progress"] == 1)
        assert client.execute_command("WAITAOF", 1, 0, 2500) == [0, 0], "a later sync made it good"
        assert call(server, client, "SET", "refused", "x") is None
        assert client.info("persistence")["aof_last_write_status"] == "err"
        client.config_set("rdb-key-save-delay", 0)
        wait_until("writes are taken", lambda: call(server, client, "SET", "well", "again") is not None)
        assert client.execute_command("WAITAOF", 1, 0, 20000) == [1, 0]
        base = next(name for name in os.listdir(os.path.join(server.dir, "appendonlydir")) if name.endswith("base.rdb"))
        assert b"perhaps" in open(os.path.join(server.dir, "appendonlydir", base), "rb").read()
        server.kill()
        server.begin(dict(os.environ))
        assert server.client().mget("before", "lost", "refused", "well") == [b"x" * 1000, b"perhaps", None, b"again"]


def main():
    needs_preloading()
    failed_sync()
    save = ("--save", "3600 1")
    sweep("rdb", *save)
    # It is killed: however busy the disk is, no answer comes before write(2) is done, or has failed.
    sweep("everysec", "--appendonly", "yes", "--appendfsync", "everysec", "--aof-patience-ms", "1000000", *save)
    sweep("always", "--appendonly", "yes", "--appendfsync", "always", *save)
    print("test_disk_errors: fine")


if __name__ == "__main__":
    main()

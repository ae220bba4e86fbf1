#!/usr/bin/python3
"""While it loads an RDB, an AOF or a full sync, the bundled server answers, and as redis-server does in the same place.

key-load-delay makes loading slow: each key takes a millisecond at least, so that 3,000 keys leave time to look. Were the engine
blocked for that time, a handful of commands would be answered in it; hundreds must be."""
import os
import random
import shutil
import signal
import sys
import time

import redis

from servers import Folder, Ours, RedisServer, wait_until
from test_server_replication import KEPT

TIMEOUT_S = 6  # of a master that hears nothing from its replica

KEYS, DELAY_US, ANSWERS = 3000, 10000, 100
COMMANDS = ("PING", "GET k1", "SET a b", "INFO persistence", "CONFIG GET port", "CONFIG SET appendonly no", "CONFIG SET dir /tmp",
            "CONFIG SET maxmemory 0", "CLIENT ID", "SELECT 3", "MULTI", "GET k1", "EXEC", "DISCARD", "SUBSCRIBE c", "UNSUBSCRIBE c",
            "COMMAND COUNT", "ROLE", "LASTSAVE", "DBSIZE", "KEYS *", "SAVE", "BGSAVE", "FLUSHALL", "REPLICAOF NO ONE", "TIME",
            "WATCH k1", "UNWATCH", "ECHO x", "PSYNC ? -1", "SLOWLOG LEN", "LATENCY RESET", "NOSUCH")
INFO = ("loading_start_time", "loading_total_bytes", "loading_rdb_used_mem", "loading_loaded_bytes", "loading_loaded_perc",
        "loading_eta_seconds")


def fill(r, keys):
    p = r.pipeline(transaction=False)
    for i in range(keys):
        p.set(f"k{i}", random.randbytes(60))
    p.rpush("list", *range(5000))
    p.execute()


class Lines:
    """Answers as they come: the first line of each."""

    def __init__(self, server):
        self.r = server.client().connection_pool.get_connection("PING")

    def __call__(self, command):
        self.r.send_command(*command.split())
        try:
            answer = self.r.read_response()
        except redis.BusyLoadingError:
            return "LOADING"
        except redis.RedisError as error:
            return f"error {str(error)[:40]}"
        return type(answer).__name__


def loading(r):
    return r.info("persistence")["loading"] == 1


def count_answers(server, until, seconds=0):
    """How often the server answers until it has loaded; each answer must be -LOADING. It loads slowly for SECONDS, and until there
    were enough of them: on a busy machine they take their time."""
    r, answers, progress, began = server.client(), 0, [], time.time()
    info = r.info("persistence")
    for name in INFO:
        assert name in info, f"{name} is missing in {info}"
    while True:
        try:
            r.get("k1")
        except redis.BusyLoadingError as error:
            assert "Redis is loading the dataset in memory" in str(error)
            answers += 1
        else:
            assert not loading(r) and until(r)
            break
        info = r.info("persistence")
        if info["loading"]:
            progress.append(info["loading_loaded_bytes"])
            assert 0 <= info["loading_loaded_perc"] <= 100 and info["loading_eta_seconds"] >= 0, info
            assert abs(info["loading_start_time"] - time.time()) < 60
            if answers >= ANSWERS and len(set(progress)) > 2 and time.time() > began + seconds:
                r.config_set("key-load-delay", 0)
            assert info["loading_total_bytes"] > 0 and info["loading_loaded_bytes"] <= info["loading_total_bytes"], info
    assert answers >= ANSWERS, f"only {answers} answers: the engine was blocked"
    assert progress == sorted(progress) and len(set(progress)) > 2, f"no progress: {sorted(set(progress))}"
    print(f"  {answers} answers while it loaded", flush=True)


def answers_of(server):
    say = Lines(server)
    got = [say(command) for command in COMMANDS]
    if isinstance(server, Ours):  # redis-server would begin to load a second time
        assert [say(f"DEBUG {what}") for what in ("RELOAD", "LOADAOF", "POPULATE 10")] == ["LOADING"] * 3
    assert loading(server.client()), "it had loaded before all was asked"
    return got


def all_there(keys):
    return lambda r: r.dbsize() == keys + 1 and r.llen("list") == 5000


def start_from_files(folder, redis_dump):
    """An RDB and an AOF, and every command answers as redis-server would."""
    slow = ("--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024", "--rdbcompression", "no")
    theirs, ours = RedisServer(folder, "theirs", *slow, start=False), Ours(folder, "ours", *slow, start=False)
    want = got = None
    for server in (theirs, ours):
        shutil.copy(redis_dump, os.path.join(server.dir, "dump.rdb"))
        server.start(wait=False)
        wait_until("it loads", lambda: loading(server.client()))
        want, got = got, answers_of(server)
        server.kill(signal.SIGTERM)  # in the middle of loading: at once, and without saving half of the data
        assert server.process.returncode == 0, f"exit code {server.process.returncode}"
        assert os.path.getsize(os.path.join(server.dir, "dump.rdb")) == os.path.getsize(redis_dump)
    differing = [(c, w, g) for c, w, g in zip(COMMANDS, want, got) if w != g]
    assert not differing, f"command, redis, ours: {differing}"
    ours.options = ("--key-load-delay", str(DELAY_US))
    ours.start(wait=False)
    wait_until("it loads", lambda: loading(ours.client()))
    count_answers(ours, all_there(KEYS))
    ours.shutdown("NOSAVE")


def start_from_aof(folder):
    ours = Ours(folder, "aof", *KEPT, "--key-load-delay", str(DELAY_US))
    fill(ours.client(), KEYS)
    ours.kill()
    ours.start(wait=False)
    wait_until("it loads", lambda: loading(ours.client()))
    count_answers(ours, all_there(KEYS))
    ours.client().bgrewriteaof()
    wait_until("it is rewritten", lambda: ours.info("persistence")["aof_rewrite_in_progress"] == 0)
    ours.client().incr("after")
    ours.kill()
    ours.start(wait=False)
    wait_until("it loads", lambda: loading(ours.client()))
    count_answers(ours, lambda r: r.dbsize() == KEYS + 2 and r.get("after") == b"1")
    ours.shutdown("NOSAVE")


def full_sync(folder):
    """The replica answers while it loads, follows afterwards, and says MASTERDOWN if it may not serve what is stale."""
    for kind, diskless in ((RedisServer, "yes"), (RedisServer, "no"), (Ours, "yes")):
        name = f"{kind.__name__}-{diskless}"
        master = kind(folder, f"master-{name}", "--repl-diskless-sync", diskless, "--repl-timeout", str(TIMEOUT_S))
        fill(master.client(), KEYS)
        replica = Ours(folder, f"replica-{name}", "--key-load-delay", str(DELAY_US))
        replica.client().set("own", 1)
        watcher = replica.client().pipeline()
        watcher.watch("own")
        replica.client().replicaof("127.0.0.1", master.port)
        wait_until("it loads", lambda: loading(replica.client()))
        master.client().incr("meanwhile")
        assert replica.info("replication")["master_sync_in_progress"] == 1
        replica.client().config_set("replica-serve-stale-data", "no")
        assert Lines(replica)("GET k1").startswith("error"), "MASTERDOWN goes before LOADING"
        replica.client().config_set("replica-serve-stale-data", "yes")
        count_answers(replica, lambda r: wait_until("it follows", lambda: r.get("meanwhile") == b"1") and r.get("own") is None, TIMEOUT_S + 1)
        watcher.multi()
        watcher.ping()
        try:
            watcher.execute()
            raise AssertionError("the watched key went with the old data, and EXEC ran")
        except redis.WatchError:
            pass
        counts = master.info("stats")
        assert (counts["sync_full"], counts["sync_partial_ok"]) == (1, 0), f"the master did not wait: {counts}"
        master.kill()
        replica.kill()


def main():
    with Folder("loading") as folder:
        random.seed(folder.seed)
        source = RedisServer(folder, "source")
        fill(source.client(), KEYS)
        source.client().save()
        source.kill()
        for test in (lambda f: start_from_files(f, os.path.join(source.dir, "dump.rdb")), start_from_aof, full_sync):
            test(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())

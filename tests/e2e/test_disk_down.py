#!/usr/bin/python3
"""A disk that is full, read-only or broken for a while: from the k-th call on that changes a file all fail (disk_fail.c), until
the disk is mended. Writes are refused in the words of redis-server, reads go on, nothing ends; then writes are taken again, and
everything that was ever confirmed is there after a kill -9.

The words: redis-server 7.0.15 and ours with the same failing disk, command by command.

FIRST tells which k are tried (default 1 3 6)."""
import errno
import os
import subprocess
import sys

import redis

from servers import Folder, Ours, RedisServer, needs_preloading, preload, preloaded, run_tests, wait_until

FIRST = [int(k) for k in os.environ.get("FIRST", "1 3 6").split()]
ERRORS = (errno.ENOSPC, errno.EROFS, errno.EIO)
AOF = ("--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0")


def failing(kind):
    class Failing(kind):
        def __init__(self, folder, name, *options):
            super().__init__(folder, name, *options, start=False)
            self.config, self.acl = os.path.join(self.dir, "server.conf"), os.path.join(self.dir, "users.acl")
            for path, text in ((self.config, f"aclfile {self.acl}\n"), (self.acl, "user default on nopass ~* &* +@all\n")):
                with open(path, "w", encoding="ascii") as file:
                    file.write(text)
            self.begin({**preloaded(preload(folder, "disk_fail")), "DISK_FAIL_BELOW": self.dir})

        def command(self):
            words = super().command()
            at = len(self.program)
            return (*words[:at], self.config, *words[at:])

        def begin(self, env):
            with open(self.log, "a", encoding="utf-8") as out:
                self.process = subprocess.Popen(self.command(), stdout=out, stderr=out, env=env)
            wait_until("it answers", self.answers)

        def breaks(self, text):
            if os.path.exists(self.dir + ".fired"):
                os.remove(self.dir + ".fired")
            with open(self.dir + ".arm.new", "w", encoding="ascii") as file:
                file.write(text)
            os.rename(self.dir + ".arm.new", self.dir + ".arm")

        def has_failed(self):
            return os.path.exists(self.dir + ".fired")

        def mend(self):
            os.remove(self.dir + ".arm")

    return Failing


def said(client, *words):
    """The error, or None: it worked."""
    try:
        client.execute_command(*words)
        return None
    except redis.ResponseError as error:
        return str(error)


def is_idle(client):
    info = client.info("persistence")
    return info["rdb_bgsave_in_progress"] == 0 and info["aof_rewrite_in_progress"] == 0


def well_again(server, client):
    """Writes are taken, at the latest after a rewrite and a save."""
    server.mend()

    def is_well():
        for words in (("BGREWRITEAOF",), ("BGSAVE",)):
            said(client, *words)
            wait_until("nothing is under way", lambda: is_idle(client))
        return said(client, "SET", "well", "again") is None

    wait_until("writes are taken again", is_well)
    info = client.info("persistence")
    assert info["rdb_last_bgsave_status"] == "ok" and info["aof_last_write_status"] == "ok", info


def words_of(kind, number):
    with Folder(f"disk-words-{kind.__name__.lower()}") as folder:
        server = failing(kind)(folder, "a", *AOF, "--save", "3600 1")
        client = server.client()  # nothing was written yet: a sync within the next second would fail before the first SET does
        server.breaks(f"1 any {number}")
        told = {"a first SET": said(client, "SET", "k", "2")}
        told["SET"] = wait_until("writes are refused", lambda: said(client, "SET", "k", "3"))
        told["PING"], told["EVAL"] = said(client, "PING"), said(client, "EVAL", "return redis.call('set', 'k', 4)", 0)
        told["MULTI"] = said(client, "MULTI"), said(client, "INCR", "n"), said(client, "EXEC")
        told["GET"] = client.get("k") in (b"2", b"3")  # one more may be taken before the write has failed
        for words in ("CONFIG REWRITE", "ACL SAVE"):
            told[words] = said(client, *words.split())
        told["SAVE"] = said(client, "SAVE") is not None  # ours says why, DIFFERENCES.md
        said(client, "BGSAVE")
        wait_until("it has failed", lambda: is_idle(client) and client.info("persistence")["rdb_last_bgsave_status"] == "err")
        told["SET, and no save"] = said(client, "SET", "k", "5")
        told["INFO"] = client.info("persistence")["aof_last_write_status"]
        if kind is Ours:  # redis-server may refuse for ever: it syncs only what is written
            well_again(server, client)
            for words in ("CONFIG REWRITE", "ACL SAVE", "SAVE"):
                assert said(client, *words.split()) is None, words
        return told


def test_the_words_are_those_of_redis():
    for number in ERRORS:
        ours, theirs = words_of(Ours, number), words_of(RedisServer, number)
        different = {what: (ours[what], theirs[what]) for what in ours if ours[what] != theirs[what]}
        assert not different, f"{errno.errorcode[number]}: {different}"


def down(first, number, *options):
    """What failed first."""
    with Folder(f"disk-down-{first}-{errno.errorcode[number]}") as folder:
        # It is killed: however busy the disk is, no answer comes before write(2) is done, or has failed.
        server = failing(Ours)(folder, "a", *options, "--aof-patience-ms", "1000000")
        client, confirmed = server.client(), {}

        def write():
            key = f"k{len(confirmed)}"  # each its own: nothing covers for one that is lost
            error = said(client, "SET", key, "v" * len(confirmed))
            if error is None:
                confirmed[key] = b"v" * len(confirmed)
            else:
                assert error.startswith("MISCONF"), error
            return error

        for _ in range(20):
            assert write() is None
        server.breaks(f"{first} any {number}")
        for turn in range(100):
            write()
            if turn % 10 == 5:
                said(client, "BGREWRITEAOF" if AOF[0] in options and turn % 20 == 5 else "BGSAVE")
                wait_until("nothing is under way", lambda: is_idle(client))
        assert server.has_failed()
        wait_until("writes are refused", lambda: (said(client, "BGSAVE"), is_idle(client) and write())[1])
        for key, value in confirmed.items():
            assert client.get(key) == value
        assert server.process.poll() is None
        well_again(server, client)
        for _ in range(20):
            assert write() is None
        if AOF[0] not in options:
            client.save()
        server.kill()
        server.begin(dict(os.environ))
        client = server.client()
        lost = [key for key, value in confirmed.items() if client.get(key) != value]
        assert not lost, f"lost: {lost[:5]} and {len(lost)} in all"
        leftover = [name for name in os.listdir(server.dir) if name.startswith("temp-")]
        assert not leftover, leftover
        with open(server.dir + ".fired", encoding="utf-8") as file:
            return file.read().split()[0]


def test_an_aof_comes_through():
    print("    first:", *(down(first, ERRORS[i % 3], *AOF, "--save", "3600 1") for i, first in enumerate(FIRST)))


def test_an_rdb_comes_through():
    print("    first:", *(down(first, ERRORS[(i + 1) % 3], "--save", "3600 1") for i, first in enumerate(FIRST)))


needs_preloading()
run_tests(sys.modules[__name__])

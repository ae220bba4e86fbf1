#!/usr/bin/python3
"""Bad days of a link: source gone for a while, source restarted empty-handed, spool full, target restarted, target not empty."""
import os
import time

from link import Link


def write(r, name, count, size=10):
    with r.pipeline(transaction=False) as p:
        for n in range(count):
            p.set(f"{name}:{n}", os.urandom(size))
            p.incr("counter")
            p.rpush("list", n)
        p.execute()


def source_away(link):
    """SIGSTOP, and SHUTDOWN SAVE: partial resync. A restart without its history: a full copy, and extra keys are removed."""
    source = link.client("source")
    write(source, "one", 500)
    link.wait_level()
    source.execute_command("CONFIG", "SET", "save", "3600 1")
    source.shutdown(save=True)
    link.processes["source"].wait()
    time.sleep(1)
    link.start_redis("source")
    write(link.client("source"), "two", 500)
    link.wait_level()
    link.check_equal()
    assert link.log().count("link.full_copy") == 1, "a source that saved can be continued"
    link.client("source").execute_command("CONFIG", "SET", "save", "")
    link.kill("source")
    link.client("target").set("only-here", "x")
    link.start_redis("source")  # what the file has: the state of the shutdown; one and list, not two
    write(link.client("source"), "three", 500)
    link.wait_log("link.full_copy", count=2)
    link.wait_level()
    link.check_equal()
    assert not link.client("target").exists("only-here") and not link.client("target").exists("two:1")


def target_away(link):
    link.kill("target")
    write(link.client("source"), "four", 500)
    link.start_redis("target")  # it kept nothing: a new copy
    link.wait_level()
    link.check_equal()


def full_spool():
    """A spool of 64 MB, a target that stands still, 110 MB of writes: nothing is lost."""
    with Link("spool", limit="64MB") as link:
        link.start()
        link.wait_log("link.following")
        link.processes["target"].send_signal(19)
        for part in range(22):
            write(link.client("source"), f"part{part}", 500, 10000)
        link.wait_log("spool.full")
        link.processes["target"].send_signal(18)
        link.wait_level()
        link.check_equal()
        assert link.log().count("link.full_copy") == 1, "the source's backlog had it all"


def rdb_cut():
    """The syncer dies before the RDB is complete: a new one is made, and what it lacks goes from the target."""
    with Link("cut") as link:
        source = link.client("source")
        write(source, "early", 1500, 4000)  # enough that the RDB comes in many parts
        source.config_set("rdb-key-save-delay", 5000)
        link.start()
        until = time.monotonic() + 180
        while not link.client("target").dbsize() > 100:  # it is applied as it arrives
            assert time.monotonic() < until, "nothing arrives"
            time.sleep(0.02)
        link.kill()
        for n in range(1500):
            source.delete(f"early:{n}")
        write(source, "late", 50)
        source.config_set("rdb-key-save-delay", 0)
        link.start()
        link.wait_log("link.rdb_cut")
        link.wait_level()
        link.check_equal()
        assert link.client("target").exists("late:1") and not link.client("target").exists("early:1")


def not_empty():
    with Link("notempty") as link:
        link.client("target").set("mine", "x")
        link.client("source").set("a", "b")
        link.start()
        link.wait_log("the target is not empty")
        time.sleep(0.5)
        assert link.client("target").keys() == [b"mine"]


def main():
    with Link("source", source_options=("--dbfilename", "kept.rdb")) as link:
        link.start()
        link.wait_log("link.following")
        source_away(link)
        target_away(link)
    full_spool()
    rdb_cut()
    not_empty()


main()

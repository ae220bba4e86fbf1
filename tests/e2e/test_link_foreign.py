#!/usr/bin/python3
"""Somebody writes to the follower side by hand (C26): what he wrote becomes dirty, is copied again from the primary side, and the
gate opens again. Keys that merely expire there are nothing (C8), and the way back knows the deadlines that the way there gave.

Between two real redis-servers, and between one and the bundled server; state is played by fake_state.py.
"""
import signal
import socket
import threading
import time

from link_bridge import Bridge, Writer, follow
from resp import encode

LATE_AT_ONCE = 1000


def copies(b, side="source"):
    """How often keys were read for a copy."""
    return b.client(side).info("commandstats").get("cmdstat_dump", {}).get("calls", 0)


def wait_open(b, link="reverse", at_least=1):
    return b.state.wait_report("LINK", link, lambda j: j["foreign_units"] >= at_least)


def wait_repaired(b, link="reverse", other="forward"):
    b.state.forget()
    b.state.wait_report("LINK", link, lambda j: j["foreign_units"] == 0)
    b.state.wait_report("LINK", other, lambda j: j["dirty_keys"] == 0 and j["lag_bytes"] == 0)


def somebody_writes(b):
    """A changed key, one that the primary side lacks, a deleted one, one that expires earlier, another database, a renamed one."""
    other = b.client("target")
    other.set("fill:7", "wrong")
    other.rpush("stranger", "x", "y")
    other.delete("fill:8")
    other.delete("fill:10", "fill:11")
    other.pexpire("fill:9", 10 ** 7)
    b.client("target", 2).hset("h:3", "stranger", "x")
    other.rename("fill:12", "renamed")
    wait_open(b, at_least=5)
    wait_repaired(b)
    assert other.get("fill:7") == b"7" and other.get("fill:12") == b"12" and other.ttl("fill:9") == -1
    assert other.get("fill:8") == b"8" and other.get("fill:10") == b"10"
    assert not other.exists("stranger", "renamed")
    assert not b.client("target", 2).hexists("h:3", "stranger")


def a_syncer_that_dies_forgets_nothing(b):
    copied = b.state.wait_report("LINK", "forward", lambda j: j["copy"]["done"])["copy"]
    assert copied["keys"] >= 2000 and copied["bytes"] > 20000 and copied["ended_ms"] >= copied["started_ms"] > 0, copied
    b.client("target").set("fill:20", "wrong")
    b.client("target").delete("fill:21")
    b.kill()
    b.client("target").set("fill:22", "wrong, while nobody looked")
    b.start_member()
    b.state.wait_member(joined=2)
    b.state.forget()
    follow(b)
    until = time.monotonic() + 180
    while [b.client("target").get(f"fill:{n}") for n in (20, 21, 22)] != [b"20", b"21", b"22"]:
        assert time.monotonic() < until, "what was written before the syncer died stays wrong"
        time.sleep(0.1)
    wait_repaired(b)
    assert b.state.wait_report("LINK", "forward", lambda j: j["copy"]["done"])["copy"] == copied


def a_standby_link_that_was_refused_stands_by_again(b):
    """Its source lets nobody in for a while: that is told, and over when it is over."""
    target = b.client("target")
    target.config_set("requirepass", "secret")
    b.state.forget()
    target.client_kill_filter(_type="slave")
    b.state.wait_report("LINK", "reverse", lambda j: j["state"] == "blocked" and j["error"])
    target.config_set("requirepass", "")
    b.state.forget()
    b.state.wait_report("LINK", "reverse", lambda j: j["state"] == "standby" and not j["error"])


def what_has_no_keys_needs_an_audit(b):
    for n in range(50):
        b.client("source", 5).set(f"five:{n}", n)
    b.wait_level()
    b.state.forget()
    b.client("target", 5).flushdb()
    wait_open(b)
    time.sleep(7)  # longer than the gate stays closed for a unit whose keys are known
    b.state.forget()
    wait_open(b)
    assert b.client("target", 5).dbsize() == 0
    result = b.audit(1, "forward")
    assert result["differences"] == 50, result
    b.state.forget()
    wait_open(b)  # an audit with differences opens nothing
    assert b.state.order("AUDIT", "REPAIR", 1) == "OK"
    assert b.state.wait_report("REPAIRED", 1)["keys"] == 50
    result = b.audit(2, "forward")
    assert result["ok"] and result["differences"] == 0, result
    wait_repaired(b)


def short_lived_keys_are_nothing(b):
    """Thousands expire at the target by its own clock; nearly none of them is read again."""
    source = b.client("source")
    source.set("held:1", "x")  # what expires later than the standby link reads
    b.wait_level()
    b.state.forget()
    before = copies(b)
    for round in range(40):
        with source.pipeline(transaction=False) as p:
            for n in range(100):
                p.set(f"short:{round}:{n}", n, px=300)
            p.execute()
        time.sleep(0.05)
    time.sleep(1)
    b.wait_level()
    made = copies(b) - before
    assert made < 200, f"{made} of 4000 keys that expired were copied"
    reports = [r for r in b.state.reports if r[0] == "LINK" and r[1] == "reverse"]
    assert all(r[2]["foreign_units"] == 0 for r in reports), "expiry counts as somebody's write"
    before = copies(b)
    b.client("target").delete("held:1")
    until = time.monotonic() + 180
    while b.client("target").get("held:1") != b"x":
        assert time.monotonic() < until, "a key that was deleted at the target stays away"
        time.sleep(0.05)
    assert copies(b) > before


def a_key_that_vanishes_inside_our_own_transaction(b):
    """At the target it got a deadline that its stream does not tell: it goes when the link's own command touches it, in that MULTI."""
    source, target = b.client("source"), b.client("target")
    target.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    source.set("vanishes", "abc")
    source.set("held:2", "x")
    b.wait_level()
    script = "redis.replicate_commands(); redis.set_repl(redis.REPL_NONE); return redis.call('PEXPIRE', KEYS[1], 50)"
    assert target.eval(script, 1, "vanishes") == 1
    time.sleep(0.2)
    before = copies(b)
    source.delete("held:2", "fill:40")  # our own deletions are none of that
    source.append("vanishes", "d")
    b.wait_level()  # nobody but the link touches it before
    until = time.monotonic() + 180
    while target.get("vanishes") != b"abcd":
        assert time.monotonic() < until, f"what is left at the target: {target.get('vanishes')}"
        time.sleep(0.05)
    target.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "1")
    wait_repaired(b)
    assert copies(b) == before + 1, "more was copied than what vanished"


def a_write_in_the_barrier_is_carried_back(b):
    """Between the drain and the offset at which the other link begins: the reverse link must not pass over it."""
    def late():
        b.processes["syncer"].send_signal(signal.SIGSTOP)  # so that the order is there before the link has looked at all of it
        with socket.create_connection(("127.0.0.1", b.ports["target"])) as s:  # at once: what has a deadline waits for us
            for some in b.late:
                s.sendall(some)
                left = LATE_AT_ONCE * len(b"+OK\r\n")
                while left > 0:
                    left -= len(s.recv(left))
        b.client("target").set("late", "kept")
        b.client("target").delete("fill:30")
        threading.Timer(0.3, b.processes["syncer"].send_signal, [signal.SIGCONT]).start()
    place = b.switch("forward", "10", 2, before_activate=late)
    until = time.monotonic() + 180
    while b.client("source").get("late") != b"kept" or b.client("source").exists("fill:30"):
        assert time.monotonic() < until, "a write of the barrier is missing at the other side"
        time.sleep(0.05)
    return place


def the_way_back_knows_deadlines(b):
    """Sets that were given their deadline before the barrier expire at the old side while it does not hear us; what is made from
    them there would lack their members."""
    target = b.client("target")
    b.processes["source"].send_signal(signal.SIGSTOP)
    with target.pipeline() as p:
        for n in range(20):
            p.sunionstore(f"union:{n}", f"dies:{n}")
        assert p.execute() == [2] * 20, f"{time.time() - b.dies_at:.1f} s after the deadline: this machine is too slow for one of 15 s"
    time.sleep(max(0, b.dies_at - time.time()) + 0.5)
    b.processes["source"].send_signal(signal.SIGCONT)
    until = time.monotonic() + 180
    while not all(b.client("source").scard(f"union:{n}") == 2 for n in range(20)):
        assert time.monotonic() < until, "a set was made at the old side from one that had expired there"
        time.sleep(0.1)


def scenario(bundled):
    with Bridge("foreign", bundled=bundled) as b:
        with b.client("source").pipeline(transaction=False) as p:
            for n in range(2000):
                p.set(f"fill:{n}", n)
            p.execute()
        b.open_state()
        writer = Writer(b, "source", b.seed)
        writer.start()
        follow(b)
        b.wait_level()
        somebody_writes(b)
        a_standby_link_that_was_refused_stands_by_again(b)
        a_syncer_that_dies_forgets_nothing(b)
        what_has_no_keys_needs_an_audit(b)
        writer.end()
        if not bundled:  # the bundled server keeps expired keys until the primary side says so
            short_lived_keys_are_nothing(b)
            a_key_that_vanishes_inside_our_own_transaction(b)
        b.late = [b"".join(encode("SET", f"late:{n % 100}", n) for n in range(first, first + LATE_AT_ONCE)) for first in range(0, 60000, LATE_AT_ONCE)]
        b.dies_at = time.time() + 15
        with b.client("source").pipeline() as p:
            for n in range(20):
                p.sadd(f"dies:{n}", "one", "two")
                p.pexpireat(f"dies:{n}", int(b.dies_at * 1000))
            p.execute()
        b.wait_level()
        a_write_in_the_barrier_is_carried_back(b)
        the_way_back_knows_deadlines(b)
        b.client("source").set("by hand", "at the old side")
        wait_open(b, "forward")
        wait_repaired(b, "forward", "reverse")
        found = b.differences()
        assert not found, "\n".join(found)


for bundled in (False, True):
    scenario(bundled)

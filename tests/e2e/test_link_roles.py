#!/usr/bin/python3
"""Two links, one there and one back, as `state` orders them: standby, drain, compare, activate, audit, repair, kill -9.

Between two real redis-servers, between one and the bundled server, and audits between two of those; state is played by fake_state.py. Writes go on at the
primary side all the time but in the barrier, and nothing differs in the end.
"""
import threading
import time

from link_bridge import Bridge, Writer, follow_forward, follow_reverse

def audits(b):
    """Exact while writes go on; a difference that was made is found, named and repaired. The other link is not there yet: it would
    see who made the differences, and have them repaired at once."""
    result = b.audit(1, "forward")
    assert result["ok"] and result["differences"] == 0 and result["keys"] > 3000 and result["bytes"] > 60000, result
    other = b.client("target")
    other.set("fill:7", "wrong")
    other.delete("fill:8")
    other.rpush("stranger", "x")
    other.expire("fill:9", 100000)
    result = b.audit(2, "forward")
    found = {(d["key"], d["kind"]) for d in result["sample"]}
    assert found == {("fill:7", "value"), ("fill:8", "missing"), ("stranger", "extra"), ("fill:9", "expiry")}, result
    assert b.state.order("AUDIT", "REPAIR", 2) == "OK"
    assert b.state.wait_report("REPAIRED", 2)["keys"] == 4
    result = b.audit(3, "forward")
    assert result["ok"] and result["differences"] == 0, result


def scenario(bundled):
    with Bridge("roles", bundled=bundled) as b:
        with b.client("source").pipeline(transaction=False) as p:
            for n in range(4000):
                p.set(f"fill:{n}", n)
            p.execute()
        b.open_state()
        writer = Writer(b, "source", b.seed)
        writer.start()
        follow_forward(b)
        audits(b)
        if bundled:
            assert b.client("target").info("stats")["sync_full"] == 0  # it made the digests itself: nobody read its RDB
        follow_reverse(b)
        writer.end()
        replid, place = b.switch("forward", "10", 2)
        writer = Writer(b, "target", b.seed + 1)
        writer.start()
        time.sleep(0.5)
        result = b.audit(4, "reverse")
        assert result["ok"] and result["differences"] == 0, result
        b.kill()  # the syncer forgets everything, and is told again what must be so
        b.start_member()
        b.state.wait_member(joined=2)
        b.open("reverse", "standby", 2)
        assert b.state.order("LINK", "ACTIVATE", "reverse", 2, replid, place) == "OK"
        b.open("forward", "standby", 2)
        b.state.forget()
        b.state.wait_report("LINK", "reverse", lambda j: j["state"] == "following" and j["role"] == "active")
        b.state.wait_report("LINK", "forward", lambda j: j["state"] == "standby")
        time.sleep(0.5)
        writer.end()
        b.switch("reverse", "11", 3)  # rollback
        writer = Writer(b, "source", b.seed + 2)
        writer.start()
        time.sleep(0.5)
        writer.end()
        b.switch("forward", "12", 4)
        found = b.differences()
        assert not found, "\n".join(found)
        assert b.client("source").info("stats")["sync_full"] <= 6  # one copy, audits, no copy for a change of sides
        assert b.state.order("LINK", "CLOSE", "forward") == "OK"
        assert b.state.order("LINK", "CLOSE", "reverse") == "OK"
        until = time.monotonic() + 180
        if bundled:
            assert b.client("target").execute_command("DRAWBRIDGE", "CHECKPOINT", "LIST") is not None
        while (b.client("target").keys("drawbridge:*") or b.client("source").keys("drawbridge:*") or
               (bundled and b.client("target").execute_command("DRAWBRIDGE", "CHECKPOINT", "GET", "forward"))):
            assert time.monotonic() < until, "checkpoints stay after CLOSE"
            time.sleep(0.1)


def two_of_ours():
    """Audits while keys expire in masses: sums of slots, and the keys of those where a deadline passed between two looks."""
    with Bridge("ours", bundled="both") as b:
        c = b.client("source")
        with c.pipeline(transaction=False) as p:
            for n in range(4000):
                p.set(f"fill:{n}", n * 20)
            p.execute()
        b.open_state()
        follow_forward(b)
        copies = b.client("source").info("stats")["sync_full"]
        writer = Writer(b, "source", b.seed)
        writer.start()
        stop = threading.Event()

        def expiring():
            while not stop.wait(0.01):
                with b.client("source").pipeline(transaction=False) as p:
                    for n in range(100):
                        p.set(f"due:{b.random.randrange(5000)}", n, px=b.random.randrange(1, 1500))
                    p.execute()
        thread = threading.Thread(target=expiring)
        thread.start()
        try:
            audits(b)
        finally:
            stop.set()
            thread.join()
            writer.end()
        assert b.client("source").info("stats")["sync_full"] == copies
        assert b.client("target").info("stats")["sync_full"] == 0
        assert "audit.no_survey" not in b.log()


scenario(bundled=False)
scenario(bundled=True)
two_of_ours()

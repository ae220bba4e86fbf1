#!/usr/bin/python3
"""A whole migration by capture lane: legacy hides PSYNC, SYNC, CONFIG and DEBUG; live clients check themselves.

start, audit, level, rehearsal, cutover, write on, rollback, write on, cutover, complete: no error, nothing lost or doubled, and an
independent walk over both sides finds no difference after each turn. A key too big for the deadline closes a gate; a cutover
that misses its deadline leaves everything as it was.
"""
import contextlib
import json
import subprocess
import sys
import threading
import time

import redis

from bridge import HIDDEN, Bridge
from stage import PROGRAM
from test_bridge_steps import Steps

PATIENT = "20s"  # these barriers have no deadline to miss, however busy the machine is


@contextlib.contextmanager
def direct(b, side):
    """A connection past the gateway, which a gate would see if it stayed."""
    r = redis.Redis(port=b.ports[side])
    try:
        yield r
    finally:
        r.connection_pool.disconnect()


def say(b, text):
    print(f"{b.kind}: {text}", flush=True)


def gate(status, name):
    return next(g for g in status["gates"] if g["id"] == name)


def begin(b, keys=9000):
    b.fill(keys)
    checked = b.verb("check", wanted=(0,))
    promised = [f["text"] for f in checked["findings"] if f["id"] == "capture"]
    assert promised and "capture lane" in promised[0], checked
    began = b.verb("start", "--yes")
    assert began["phase"] == "copying", began
    status = b.wait_phase("following", "level", timeout_s=180)
    assert status["capture"] == "lane" and status["copy"]["done"] and status["copy"]["keys"] >= keys, status["copy"]
    b.audit()
    return b.wait_phase("level", timeout_s=180)


def asked(b, *words):
    for _ in range(10):  # a slow build falls back to `following` for a moment, and is asked again
        result = b.verb(*words, "--yes", "--wait", wanted=(0, 3))
        if "outcome" in result:
            break
        b.settled()
    return result


def turn(b, verb):
    result = asked(b, verb)
    assert result.get("outcome") == "completed", result
    say(b, f"{verb}: held for {result['hold_ms']:.1f} ms")
    return result


def no_stray_keys(b):
    for side in ("legacy", "target"):
        with direct(b, side) as r:
            strays = [k for k in r.scan_iter(match="drawbridge:*")]
            assert not strays, (side, strays)


def whole_migration(target):
    with Bridge(f"lanes-{target}", target=target, max_hold=PATIENT, legacy_options=HIDDEN, capture="lane") as b:
        clients = b.clients(3)
        begin(b)
        rehearsed = asked(b, "cutover", "--rehearse")
        assert rehearsed["outcome"] == "aborted" and "rehearsal" in rehearsed["why"], rehearsed
        b.wait_phase("level")
        for verb in ("cutover", "rollback", "cutover"):
            b.settled()
            turn(b, verb)
            time.sleep(2)
            b.wait_gates()
        total = b.check_clients(clients)
        b.wait_lanes()
        b.check_equal()
        done = b.verb("complete", "--yes", "--wait")
        assert done["phase"] == "completed", done
        with redis.Redis(port=b.ports["gateway"]) as r:
            assert r.set("after", "completed")
        time.sleep(0.5)
        with direct(b, "legacy") as r:
            assert r.get("after") is None, "after complete nothing is written to legacy"
        no_stray_keys(b)
        say(b, f"{total['commands']} commands, no error, lost or doubled")


def test_a_whole_migration_to_the_bundled_server():
    whole_migration("bundled")


def test_a_whole_migration_to_redis():
    whole_migration("redis")


def test_rolled_back_and_aborted_legacy_has_everything():
    """After a rollback legacy is complete; abort then leaves the target alone, and a new start copies anew."""
    with Bridge("lanes-back", target="redis", max_hold=PATIENT, legacy_options=HIDDEN, capture="lane") as b:
        clients = b.clients(3)
        begin(b, 3000)
        turn(b, "cutover")
        time.sleep(1)
        b.wait_gates()
        turn(b, "rollback")
        b.wait_phase("level")
        b.check_clients(clients)
        b.wait_lanes()
        b.check_equal()
        b.verb("abort", "--yes", "--wait")
        with redis.Redis(port=b.ports["gateway"]) as r:
            r.set("after", "abort")
        time.sleep(0.5)
        with direct(b, "target") as r:
            assert r.get("after") is None, "after abort nothing is written to the target"
            r.flushall()
            r.set("junk", "must go")
            r.delete("junk")
        again = b.clients(2, first=10)
        b.verb("start", "--yes")
        b.wait_phase("following", "level", timeout_s=180)
        b.audit()
        b.wait_phase("level", timeout_s=180)
        b.check_clients(again)
        b.wait_lanes()
        b.check_equal()


def test_a_deadline_that_is_missed_restores():
    """The target stands still when the lanes are to be drained: who is held goes on at legacy, and the ledger says why."""
    with Steps("lanes-late", target="redis", max_hold="6s", legacy_options=HIDDEN, capture="lane") as b:
        clients = b.clients(2)
        begin(b, 3000)
        before = b.settled()
        with redis.Redis(port=b.ports["gateway"]) as r:
            b.write("stop-at", "holding before\n")
            process = subprocess.Popen([PROGRAM, "cutover", "--yes"], cwd=b.folder, env=b.env, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            until = time.monotonic() + 180
            while not b.is_stopped():
                assert time.monotonic() < until, "the cutover did not come to holding"
                time.sleep(0.002)
            b.pause("target")
            r.set("late", 1)  # the target has not got it
            b.go_on("state")
            process.wait(180)
            until = time.monotonic() + 180
            while b.status()["barrier_running"]:
                assert time.monotonic() < until, "the barrier does not end"
                time.sleep(0.1)
            b.go_on("target")
        after = b.settled()
        assert after["primary"] == "legacy" and after["epoch"] == before["epoch"], after["summary"]
        barrier = after["barrier"]
        assert barrier["outcome"] == "aborted" and "deadline of 6000 ms was missed while draining" in barrier["why"], barrier
        say(b, f"missed: {barrier['why']}")
        turn(b, "cutover")
        b.check_clients(clients)
        b.wait_lanes()
        b.check_equal()


class Hot(threading.Thread):
    """Makes a big key dirty all the time, by a script whose effect nobody can tell."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.stopping = port, False

    def run(self):
        with redis.Redis(port=self.port) as r:
            while not self.stopping:
                r.eval("return redis.call('HSET', KEYS[1], ARGV[1], 'x')", 1, "big", time.monotonic())
                time.sleep(0.02)


def test_a_hot_big_key_is_a_gate():
    """It would have to be copied in the hold; how long that takes is known before, and shown."""
    with Bridge("lanes-hot", target="redis", max_hold="60ms", legacy_options=HIDDEN, capture="lane") as b:
        with direct(b, "legacy") as r:
            for n in range(40):
                r.hset("big", mapping={f"{n}:{i}": "v" * 20 for i in range(10000)})
        hot = Hot(b.ports["gateway"])
        hot.start()
        b.verb("start", "--yes")
        b.wait_phase("following", "level", timeout_s=180)
        b.verb("gates", "waive", "audit", "--reason", "this test is about another gate", "--for", "1h")
        until = time.monotonic() + 180
        plan = {}
        while time.monotonic() < until:
            status = b.status()
            if gate(status, "clean")["state"] == "fail" and status["lanes"]["drain_ms"] > 30:
                plan = b.verb("cutover", "--dry-run", wanted=(0, 3))  # and the plan says so, too
                if not plan["possible"]:
                    break
            time.sleep(0.1)
        else:
            raise AssertionError(f"the gate stays open: {gate(status, 'clean')} {json.dumps(status['lanes'])[:600]}")
        say(b, f"gate clean: {gate(status, 'clean')['observed']}")
        assert plan["drain_ms"] > 0 and plan["why_not"], plan
        hot.stopping = True
        hot.join()
        b.wait_phase("level", timeout_s=180)


def reconfigure(b, capture):
    """state dies, and comes back to a file that says another capture."""
    b.kill("state")
    with open(f"{b.folder}/drawbridge.yaml", encoding="utf-8") as file:
        text = file.read()
    b.write("drawbridge.yaml", text.replace(f"capture: {b.capture}", f"capture: {capture}"))
    b.capture = capture
    b.restart("state")


def chosen(b, timeout_s=180):
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        try:
            status = b.status()
        except SystemExit:
            status = {"capture": "undecided"}
        if status["capture"] != "undecided":
            return status
        time.sleep(0.1)
    raise AssertionError(f"no capture is chosen: {status.get('capture_note')}")


def test_auto_asks_legacy_once():
    """PSYNC hidden: lanes. PSYNC given out, also under a name that the file tells: stream. The ledger keeps it (C1)."""
    renamed = ("--rename-command", "PSYNC", "cloud-psync")
    for options, psync, wanted in ((HIDDEN, "PSYNC", "lane"), ((), "PSYNC", "stream"), (renamed, "cloud-psync", "stream")):
        with Bridge("lanes-auto", target="redis", legacy_options=options, capture="auto", psync=psync) as b:
            status = chosen(b)
            assert status["capture"] == wanted and f"capture {wanted}" in status["capture_note"], status
            with redis.Redis(port=b.ports["gateway"]) as r:
                assert r.set("a", 1)
            events = [e["text"] for e in b.verb("ledger", "events")["events"] if e["kind"] == "capture.chosen"]
            assert len(events) == 1 and events[0].startswith(f"capture {wanted}: legacy "), events
            say(b, events[0])
            if wanted != "lane":
                continue
            b.verb("start", "--yes")
            b.wait_phase("following", "level")
            reconfigure(b, "stream")
            b.wait_phase("following", "level")
            status = b.status()
            assert status["capture"] == "lane" and "drawbridge capture stream changes it" in status["capture_note"], status["capture_note"]
            b.verb("abort", "--yes", "--wait")


def test_a_planned_capture_may_be_changed_in_the_file():
    """Nothing runs yet: the gateway is told, and goes by the new one; its clients go on."""
    with Bridge("lanes-other", target="redis", capture="stream") as b:
        assert chosen(b)["capture"] == "stream"
        with redis.Redis(port=b.ports["gateway"]) as r:
            assert r.set("a", 1), "it is routed"
            reconfigure(b, "lane")
            until = time.monotonic() + 180
            while time.monotonic() < until:
                status = chosen(b)
                if status["capture"] == "lane" and "another capture" not in gate(status, "epoch")["why"]:
                    break
                time.sleep(0.1)
            else:
                raise AssertionError(json.dumps([status["capture"], gate(status, "epoch")]))
            assert r.set("a", 2), "a client of before goes on"
        begin(b, 300)
        b.wait_lanes()


def main():
    for name, test in sorted(globals().items()):
        if name.startswith("test_") and (len(sys.argv) < 2 or any(word in name for word in sys.argv[1:])):
            print(f"--- {name}", flush=True)
            test()


if __name__ == "__main__":
    main()

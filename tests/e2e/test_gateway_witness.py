#!/usr/bin/python3
"""The witness (C22): keys that change behind the lanes' back become dirty, and are copied.

Scripts write and delete keys that they do not name, keys expire, a stranger writes at the primary side in several databases, and
empties it; while other clients write by lanes, whose keys are explained and not copied. The witness is killed, the gateway is, at
both primary sides: what may have been missed then is dirty if scripts ran meanwhile. With state: the claim of an audit is void.
"""
import signal
import sys
import threading
import time

import redis

from bridge import HIDDEN, Bridge
from servers import Folder, Ours, RedisServer, run_tests, wait_until
from test_gateway_lanes import PATIENT, Gateway
from test_lanes_bridge import begin, direct, turn
from walk import differences, walk

OTHERS = "redis.call('DEL', ARGV[1]) redis.call('SET', ARGV[2], ARGV[3]) return redis.call('INCR', KEYS[1])"


def settled(gateway, legacy, target):
    gateway.wait_level()
    found = differences(walk(legacy.port), walk(target.port))
    assert not found, "\n".join(found)
    return gateway.lanes()


def kill_witness(server):
    """Killed by whoever may; it is the one that tracks."""
    with redis.Redis(port=server.port) as r:
        def tracking():
            return [c for c in r.client_list() if c["name"].startswith("drawbridge-gw") and "t" in c["flags"]]
        wait_until("one tracks", lambda: len(tracking()) == 1)
        r.client_kill_filter(_id=tracking()[0]["id"])


class Lanes(threading.Thread):
    """Writes that the lanes see, all the while."""

    def __init__(self, gateway):
        super().__init__(daemon=True)
        self.gateway, self.stopping, self.done, self.wrong = gateway, threading.Event(), 0, None

    def run(self):
        r = self.gateway.client()
        try:
            while not self.stopping.is_set():
                with r.pipeline(transaction=False) as p:
                    for i in range(50):
                        p.set(f"lane:{(self.done + i) % 700}", self.done)
                    p.execute()
                self.done += 50
        except redis.RedisError as error:
            self.wrong = error

    def stop(self):
        self.stopping.set()
        self.join(300)
        assert self.wrong is None and self.done > 0, self.wrong


def test_what_the_lanes_wrote_is_explained_and_not_copied():
    for target_class in (RedisServer, Ours):
        with Folder("witness-explained") as folder:
            legacy, target = RedisServer(folder, "legacy", *HIDDEN), target_class(folder, "target")
            gateway = Gateway(folder, legacy, target, lanes=3, loops=2)
            gateway.wait_level()
            before, writer = gateway.lanes(), Lanes(gateway)
            writer.start()
            wait_until("much was written", lambda: writer.done > 20000, 300)
            writer.stop()
            lanes = settled(gateway, legacy, target)
            names = lanes["witness_names_total"] - before["witness_names_total"]
            assert lanes["witness"] == 3 and names > 0, lanes
            assert lanes["witness_explained_total"] - before["witness_explained_total"] == names, (before, lanes)
            assert lanes["copies_total"] == before["copies_total"] and lanes["passes_total"] == before["passes_total"], (before, lanes)


def test_scripts_that_name_nothing_expiry_and_strangers():
    for target_class in (RedisServer, Ours):
        with Folder("witness") as folder:
            legacy, target = RedisServer(folder, "legacy", *HIDDEN), target_class(folder, "target")
            with redis.Redis(port=legacy.port, db=9) as r:
                r.set("in nine", 1)
            gateway = Gateway(folder, legacy, target, lanes=2, loops=2)
            gateway.wait_level()
            r, writer = gateway.client(), Lanes(gateway)
            r.set("old", 1)
            r.sadd("set", *range(100))
            writer.start()
            for i in range(60):  # keys of other lanes, and of other databases
                r.eval(OTHERS, 1, f"named:{i}", f"made:{i - 7}", f"made:{i}", i)
            r.eval("redis.call('DEL', 'old') redis.call('SELECT', 9) redis.call('SET', 'by script', 1) redis.call('DEL', 'in nine')", 0)
            r.eval("for i = 0, 90 do redis.call('SREM', 'set', i) end redis.call('PEXPIRE', 'set', 400000)", 1, "other")
            with r.pipeline(transaction=True) as p:
                p.set("a", 1)
                p.eval(OTHERS, 1, "b", "named:1", "c", 1)
                p.execute()
            writer.stop()
            settled(gateway, legacy, target)
            for db in (0, 4):  # the second one is used by nobody else
                with redis.Redis(port=legacy.port, db=db) as stranger:
                    stranger.set("stranger", 5)
                    stranger.set("soon gone", 1, px=150)
                    stranger.delete("a")
            time.sleep(0.5)
            settled(gateway, legacy, target)
            with redis.Redis(port=target.port, db=4) as there:
                assert there.get("stranger") == b"5" and not there.exists("soon gone")
            passes = gateway.lanes()["passes_total"]
            with redis.Redis(port=legacy.port) as stranger:
                stranger.flushall()
            wait_until("both sides are listed again", lambda: gateway.lanes()["passes_total"] > passes, 300)
            settled(gateway, legacy, target)


def test_names_that_were_missed():
    """Lost without a script: the keys are trusted. Lost while scripts ran, or the process with it: all are listed."""
    with Folder("witness-gaps") as folder:
        legacy, target = RedisServer(folder, "legacy", *HIDDEN), Ours(folder, "target")
        gateway = Gateway(folder, legacy, target)
        gateway.wait_level()
        r = gateway.client()

        def gap(action, script, listed):
            r.set("plain", 1)
            before = settled(gateway, legacy, target)
            action()
            if script:  # at once: it may be back already, or not
                with redis.Redis(port=legacy.port) as stranger:
                    stranger.eval(OTHERS, 1, "one", "two", f"three:{before['commands_total']}", 3)
            gateway.turned()
            wait_until("the witness is there", lambda: gateway.lanes()["witness"] == 3, 300)
            after = settled(gateway, legacy, target)
            if listed is not None:
                assert bool(after["witness_everything_total"] - before["witness_everything_total"]) == listed, (before, after)

        def anew(script):
            def action():
                gateway.kill()
                if script:
                    with redis.Redis(port=legacy.port) as stranger:
                        stranger.eval(OTHERS, 1, "one", "two", "three", time.time())
                gateway.start()
            return action

        gap(lambda: kill_witness(legacy), False, False)
        gap(lambda: kill_witness(legacy), True, None)
        gateway.kill()
        gateway.start()
        wait_until("the witness is there", lambda: gateway.lanes()["witness"] == 3, 300)
        lanes = settled(gateway, legacy, target)
        assert lanes["witness_everything_total"] == 0 and lanes["passes_total"] == 0, lanes
        anew(True)()
        wait_until("the witness is there", lambda: gateway.lanes()["witness"] == 3, 300)
        lanes = settled(gateway, legacy, target)
        assert lanes["witness_everything_total"] == 1 and lanes["passes_total"] == 1, lanes


def test_where_it_is_refused_or_off():
    for options, words, state in (("", ("--rename-command", "HELLO", ""), 1), ("witness: off", (), 0)):
        with Folder("witness-refused") as folder:
            legacy, target = RedisServer(folder, "legacy", *HIDDEN, *words), RedisServer(folder, "target")
            gateway = Gateway(folder, legacy, target, options=options)
            wait_until("it is seen", lambda: gateway.lanes()["witness"] == state, 300)
            gateway.wait_level()
            gateway.client().set("a", 1)
            settled(gateway, legacy, target)
            gateway.kill(signal.SIGTERM)


def test_it_turns_round_with_the_lanes():
    """After the turn scripts run at the target, the very first of them at once."""
    for target_class in (RedisServer, Ours):
        with Folder("witness-turn") as folder:
            legacy, target = RedisServer(folder, "legacy"), target_class(folder, "target")
            gateway = Gateway(folder, legacy, target, lanes=2, loops=2, more=PATIENT)
            gateway.wait_level()
            r = gateway.client()
            with redis.Redis(unix_socket_path=gateway.admin) as admin:
                for turn_no, side in enumerate(("target", "legacy", "target")):
                    for i in range(30):
                        r.eval(OTHERS, 1, "named", f"t{turn_no}:{i - 3}", f"t{turn_no}:{i}", i)
                    admin.execute_command("GATEWAY", "HOLD")
                    waiting = threading.Thread(target=lambda: gateway.client().eval(OTHERS, 1, "n", "t0:29", f"first:{turn_no}", 1))
                    waiting.start()  # held, and sent to the new primary side before anything else
                    time.sleep(0.1)
                    gateway.wait_level()
                    everything = gateway.lanes()["witness_everything_total"]
                    admin.execute_command("GATEWAY", "RELEASE", side)
                    waiting.join(300)
                    wait_until("the witness is there", lambda: gateway.lanes()["witness"] == 3, 300)
                    lanes = settled(gateway, legacy, target)
                    assert lanes["witness_everything_total"] == everything, lanes
                    primary = target if side == "target" else legacy
                    with redis.Redis(port=primary.port) as stranger:
                        assert stranger.get(f"first:{turn_no}") == b"1"
                        stranger.set("stranger", turn_no)
                    settled(gateway, legacy, target)


def test_a_claim_is_void_when_the_witness_was_away():
    with Bridge("witness-claim", target="bundled", legacy_options=HIDDEN, capture="lane") as b:
        begin(b, 500)
        b.settled()
        good = [f["id"] for f in b.verb("check", wanted=(0,))["findings"] if f["level"] == "good"]
        assert "legacy.witness" in good and "target.witness" in good, good

        def stale():
            status = b.status()
            return [g for g in status["gates"] if g["id"] == "audit" and g["state"] == "fail" and "witness" in g["why"]]

        with direct(b, "legacy") as r:
            def tracking():
                return [c["id"] for c in r.client_list() if c["name"].startswith("drawbridge-gw") and "t" in c["flags"]]
            wait_until("one tracks", lambda: len(tracking()) == 1)
            r.client_kill_filter(_id=tracking()[0])
        wait_until("the claim is void", stale, 300)
        events = b.verb("ledger", "events")
        assert any(e["kind"] == "audit.voided" and "witness" in e["text"] for e in events["events"]), events["events"][-5:]
        wait_until("it is back", lambda: b.status()["lanes"]["witness"] == "on", 300)
        b.audit()
        b.settled()
        assert not stale()
        turn(b, "cutover")
        b.settled()
        assert not stale(), "the turn is no gap"


if __name__ == "__main__":
    sys.exit(run_tests(sys.modules[__name__]))

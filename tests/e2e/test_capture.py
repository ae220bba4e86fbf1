#!/usr/bin/python3
"""Another capture while a migration runs (C1): stream -> lane, lane -> stream, in both directions of the traffic, with live
clients that check themselves, some of them in blocking commands; then a walk over both sides. After a cutover with lanes the
reverse link follows by PSYNC, and legacy, which hides it, comes back by a rollback. What cannot be is refused with a sentence.

    test_capture.py          a slice: each way with one kind of target (what `make test` runs)
    test_capture.py --long   each way with both kinds
    test_capture.py WORD     the tests with this word in their name
"""
import json
import sys
import threading
import time

import redis

from bridge import HIDDEN, Bridge


def say(b, text):
    print(f"{b.kind}: {text}", flush=True)


def gate(status, name):
    return next(g for g in status["gates"] if g["id"] == name)


def guard(b, capture):
    with open(f"{b.folder}/drawbridge.yaml", "a", encoding="utf-8") as file:
        file.write(f"guard: {{ capture: {capture} }}\n")
    b.kill("state")
    b.restart("state")


class Queue(threading.Thread):
    """Producer and consumer of a list: BLPOP for ever, each element once and in order."""

    def __init__(self, port, name, consumer_port=None, every_s=0.3):
        super().__init__(daemon=True)
        self.port, self.name, self.stopping, self.error, self.got = port, name, False, None, 0
        self.consumer_port, self.every_s = consumer_port or port, every_s
        self.waiter = threading.Thread(target=self.consume, daemon=True)

    def consume(self):
        try:
            with redis.Redis(port=self.consumer_port, socket_timeout=180) as r:
                while True:
                    popped = r.blpop([self.name], timeout=120)
                    assert popped is not None, "nothing within 30 s"
                    if popped[1] == b"end":
                        return
                    assert int(popped[1]) == self.got, (popped, self.got)
                    self.got += 1
        except Exception as e:  # pylint: disable=broad-except
            self.error = self.error or f"consumer: {e!r} after {self.got}"

    def run(self):
        self.waiter.start()
        number = 0
        try:
            with redis.Redis(port=self.port, socket_timeout=180) as r:
                while not self.stopping:
                    r.rpush(self.name, number)
                    number += 1
                    time.sleep(self.every_s)
                r.rpush(self.name, "end")
        except Exception as e:  # pylint: disable=broad-except
            self.error = self.error or f"producer: {e!r} after {number}"
        self.sent = number

    def finish(self):
        self.stopping = True
        self.join(300)
        self.waiter.join(300)
        assert not self.error and not self.waiter.is_alive() and self.got == self.sent, (self.error, self.got, self.sent)


def change(b, capture):
    """The verb; it is asked again when a slow machine has closed a gate, or missed the deadline."""
    for _ in range(10):
        result = b.verb("capture", capture, "--yes", "--wait", wanted=(0, 3, 8))
        if result.get("outcome") == "completed":
            break
        say(b, f"again: {result.get('why') or result.get('error')}")
        b.wait_gates()
    assert result.get("outcome") == "completed", result
    status = b.status()
    assert status["capture"] == capture, status["capture"]
    say(b, f"capture {capture}: held for {result['hold_ms']:.1f} ms, phase {status['phase']}")
    return status


def planned(b, capture):
    """What a change would do; a gate that a slow machine has just closed forbids it."""
    for _ in range(10):
        plan = b.verb("capture", capture, "--dry-run", wanted=(0, 3))
        if plan.get("possible"):
            break
        b.wait_open()
    assert plan.get("possible"), plan
    return plan


def refused(b, capture, words):
    """Refused for good, and not by a gate that a slow machine has just closed."""
    for _ in range(10):
        told = b.verb("capture", capture, "--yes", "--wait", wanted=(3,))
        if words in json.dumps(told):
            break
        b.wait_open()
    assert words in json.dumps(told), told
    say(b, f"refused: {told.get('error')}")


def turn(b, verb):
    result = b.move(verb)
    say(b, f"{verb}: held for {result['hold_ms']:.1f} ms")
    return b.status()


def begin(b, keys):
    b.fill(keys)
    b.verb("start", "--yes")
    return b.wait_phase("level", audit=True)


def there_and_back(target):
    """Both ways before the cutover, and both ways after it."""
    with Bridge(f"capture-{target}", target=target) as b:
        begin(b, 3000)
        clients = b.clients(3)
        queue = Queue(b.ports["gateway"], "queue")
        queue.start()
        time.sleep(1)
        plan = planned(b, "lane")
        assert any("anew" in step for step in plan["steps"]), plan
        status = change(b, "lane")
        assert status["phase"] in ("copying", "following", "level"), status["phase"]
        b.wait_ready()
        with redis.Redis(port=b.ports["gateway"]) as r:
            r.set("by", "lane")
        planned(b, "stream")
        copies = b.status()["copy"].get("copies")
        status = change(b, "stream")
        assert status["phase"] in ("following", "level"), (status["phase"], copies)
        b.wait_ready()
        turn(b, "cutover")
        b.wait_gates()
        change(b, "lane")
        b.wait_gates()
        change(b, "stream")
        b.wait_gates()
        time.sleep(1)
        turn(b, "rollback")
        time.sleep(1)
        queue.finish()
        total = b.check_clients(clients)
        b.wait_ready()
        b.audit()
        b.check_equal()
        assert b.verb("ledger", "verify")["ok"]
        say(b, f"{total['commands']} commands, {queue.got} elements, no error")


def test_there_and_back_with_the_bundled_server():
    there_and_back("bundled")


def test_there_and_back_with_redis():
    there_and_back("redis")


def by_link_in_the_guard_phase(target):
    """Legacy hides PSYNC, target gives it out: lanes, then the reverse link, then lanes again, and once more."""
    with Bridge(f"capture-guard-{target}", target=target, legacy_options=HIDDEN, capture="lane") as b:
        guard(b, "stream")
        begin(b, 3000)
        clients = b.clients(3)
        queue = Queue(b.ports["gateway"], "queue")
        queue.start()
        for round_ in range(2):
            b.wait_ready()
            status = turn(b, "cutover")
            assert status["capture"] == "stream" and status["primary"] == "target", status["capture"]
            b.wait_gates()
            with redis.Redis(port=b.ports["target"]) as r:  # past the gateway: a link brings that back, too
                r.set(f"past:{round_}", "the gateway")
                r.connection_pool.disconnect()
            time.sleep(1)
            b.settled()
            status = turn(b, "rollback")
            assert status["capture"] == "lane" and status["primary"] == "legacy", status["capture"]
            with redis.Redis(port=b.ports["gateway"]) as r:
                assert r.get(f"past:{round_}") == b"the gateway", round_
        b.wait_ready()
        queue.finish()
        total = b.check_clients(clients)
        b.wait_lanes()
        b.audit()
        b.check_equal()
        refused(b, "stream", "PSYNC")
        assert b.settled()["capture"] == "lane"
        turn(b, "cutover")
        b.wait_gates()
        done = b.verb("complete", "--yes", "--wait")
        assert done["phase"] == "completed", done
        say(b, f"{total['commands']} commands, {queue.got} elements, no error")


def test_by_link_in_the_guard_phase_from_the_bundled_server():
    by_link_in_the_guard_phase("bundled")


def test_by_link_in_the_guard_phase_from_redis():
    by_link_in_the_guard_phase("redis")


def test_with_two_gateways():
    """Whoever blocks at one gateway on a key of the other gets each element once, across both changes."""
    with Bridge("capture-two", target="redis", gateways=2, peers=True) as b:
        begin(b, 2000)
        clients = [b.clients(2), b.clients(2, port="gateway2", first=10)]
        ports = [b.ports["gateway"], b.ports["gateway2"]]
        queues = [Queue(ports[i % 2], f"queue:{i}", ports[1 - i % 2], 0.02) for i in range(6)]
        for queue in queues:
            queue.start()
        for capture in ("lane", "stream", "lane", "stream"):
            b.wait_ready()
            change(b, capture)
            time.sleep(1)
        for queue in queues:
            queue.finish()
        for some in clients:
            b.check_clients(some)
        b.wait_ready()
        b.audit()
        b.check_equal()
        assert b.verb("ledger", "verify")["ok"]
        say(b, f"{sum(q.got for q in queues)} elements, no error")


def test_gateways_that_cannot_reach_each_other():
    with Bridge("capture-alone", target="redis", gateways=2) as b:
        begin(b, 100)
        refused(b, "lane", "has no gateway.peer")
        assert b.settled()["capture"] == "stream"


SLICE = ("cannot_reach", "two_gateways", "there_and_back_with_redis", "guard_phase_from_the_bundled_server")


def main():
    words = sys.argv[1:] or SLICE
    for name, test in sorted(globals().items()):
        if name.startswith("test_") and (words == ["--long"] or any(word in name for word in words)):
            print(f"--- {name}", flush=True)
            test()


if __name__ == "__main__":
    main()

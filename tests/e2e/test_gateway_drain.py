#!/usr/bin/python3
"""SIGTERM drains a gateway (gateway/drain.h): what it took is answered, and what has no answer was not done.

Clients count their answers. Whatever the primary side executed for them must have been answered: a counter stands where its
client's answers say, and every element that was popped came to somebody. Both captures; pipelines, firehoses that never wait for
an answer, transactions, blocking commands; a signal in the middle of a script that keeps the server busy; a second signal.
"""
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import redis

from servers import Folder, Ours, PROGRAM, RedisServer, free_port, run_tests, wait_until
from test_gateway_lanes import HIDDEN, Gateway


PATIENT = "drain: 60s"  # a busy machine may take longer than the 5 s of the default


class Stream(Gateway):
    """Capture stream, alone: a proxy in front of legacy."""

    def __init__(self, folder, legacy, target, loops=1, options=""):
        super().__init__(folder, legacy, target, loops=loops, options=options)
        self.kill()
        text = open(self.file, encoding="utf-8").read().replace("capture: lane", "capture: stream")
        with open(self.file, "w", encoding="utf-8") as out:
            out.write(text)
        self.start()

    def wait_level(self, seconds=300):
        pass


def request(*words):
    out = b"*%d\r\n" % len(words)
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        out += b"$%d\r\n%s\r\n" % (len(word), word)
    return out


class Counting(threading.Thread):
    """INCR of a key of its own over one connection, until that ends; `answers` are whole answers that came."""

    def __init__(self, port, number, firehose):
        super().__init__(daemon=True)
        self.port, self.key, self.firehose = port, f"counter:{number}", firehose
        self.answers, self.errors, self.sent = 0, [], 0
        self.socket = socket.create_connection(("127.0.0.1", port), 30)

    def send(self, count):
        self.socket.sendall(request("INCR", self.key) * count)
        self.sent += count

    def pour(self):
        try:
            while True:
                self.send(50)
                time.sleep(0.001)
        except OSError:
            pass

    def run(self):
        left, waiting = b"", 0
        if self.firehose:
            threading.Thread(target=self.pour, daemon=True).start()
        try:
            while True:
                if not self.firehose and waiting == 0:
                    self.send(16)
                    waiting = 16
                data = self.socket.recv(65536)
                if not data:
                    return
                *lines, left = (left + data).split(b"\r\n")
                self.errors += [line for line in lines if not line.startswith(b":")]
                self.answers += len(lines)
                waiting -= len(lines)
        except OSError:
            pass
        finally:
            self.socket.close()


class Popping(threading.Thread):
    """Pops, and moves, with a blocking command, until the connection ends."""

    def __init__(self, port, number):
        super().__init__(daemon=True)
        self.r = redis.Redis(port=port, socket_timeout=300, retry=None)
        self.number, self.got, self.errors = number, [], []

    def run(self):
        try:
            while True:
                if self.number % 2:
                    got = self.r.blpop(["jobs", "{other}jobs"], 0)
                    self.got.append(got[1])
                else:
                    self.got.append(self.r.brpoplpush("jobs", "moved", 0))
        except (redis.ConnectionError, redis.TimeoutError):
            pass
        except redis.RedisError as error:
            self.errors.append(repr(error))


def busy(legacy):
    """The server is in a script when the signal comes: what is behind it must still be answered."""
    legacy.client().eval("local t = redis.call('TIME') local e = t[1] * 1e6 + t[2] + 400000 "
                         "repeat t = redis.call('TIME') until t[1] * 1e6 + t[2] > e return 1", 0)


def ended(gateway, seconds=180):
    """It ends by itself, in order; returns how long that took."""
    began = time.monotonic()
    try:
        code = gateway.process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise AssertionError("the gateway does not end") from None
    assert code == 0, f"it ended with {code}"
    return time.monotonic() - began


def said(gateway, event):
    return event in open(gateway.log, encoding="utf-8", errors="replace").read()


def one_drain(gateway, legacy, round_, with_script):
    r = legacy.client()
    r.flushall()
    gateway.wait_level()
    counters = [Counting(gateway.port, n, n % 3 == 0) for n in range(6)]
    poppers = [Popping(gateway.port, n) for n in range(4)]
    for one in counters + poppers:
        one.start()
    through = gateway.client()
    pushed = 0
    until = time.monotonic() + 0.3 + 0.1 * round_
    while time.monotonic() < until:
        through.lpush("jobs" if pushed % 3 else "{other}jobs", pushed)
        pushed += 1
    wait_until("the counters count", lambda: all(c.answers > 50 for c in counters))
    if with_script:
        threading.Thread(target=busy, args=(legacy,), daemon=True).start()
        time.sleep(0.05)
    gateway.process.send_signal(signal.SIGTERM)
    took = ended(gateway)
    for one in counters + poppers:
        one.join(300)
        assert not one.is_alive() and not one.errors, one.errors[:3]
    for c in counters:
        done = int(r.get(c.key) or 0)
        assert done == c.answers, f"{c.key}{' (firehose)' if c.firehose else ''}: {done} were executed, {c.answers} answered"
    got = sorted(int(x) for p in poppers for x in p.got)
    left = sorted(int(x) for x in r.lrange("jobs", 0, -1) + r.lrange("{other}jobs", 0, -1))
    assert sorted(got + left) == list(range(pushed)), f"pushed {pushed}, got {len(got)}, left {len(left)}"
    assert said(gateway, "gateway.drained") and not said(gateway, "gateway.not_drained")
    return took


def drains(name, make, legacy_options=()):
    with Folder(name) as folder:
        legacy, target = RedisServer(folder, "legacy", *legacy_options), Ours(folder, "target", "--appendonly", "yes")
        gateway = make(folder, legacy, target)
        for round_ in range(4):
            took = one_drain(gateway, legacy, round_, with_script=round_ % 2)
            print(f"{name}: drained in {took:.2f} s", flush=True)
            gateway.start()


def test_stream():
    drains("drain-stream", lambda *where: Stream(*where, loops=2, options=PATIENT))


def test_one_lane():
    drains("drain-lane", lambda *where: Gateway(*where, lanes=1, loops=1, options=PATIENT), HIDDEN)


def test_lanes_of_another_loop():
    drains("drain-lanes", lambda *where: Gateway(*where, lanes=3, loops=3, options=PATIENT), HIDDEN)


def recovered(gateway):
    """What the present process read in the journal: keys and slots."""
    line = [x for x in open(gateway.log, encoding="utf-8", errors="replace") if "lanes.recovered" in x][-1]
    words = dict(word.split("=", 1) for word in line.split() if "=" in word)
    return int(words["keys"]), int(words["slots"])


def test_the_next_process_has_nothing_to_copy():
    """F has confirmed everything, the journal says so, and with which servers it was: nothing is listed, nothing is copied."""
    with Folder("drain-journal") as folder:
        legacy, target = RedisServer(folder, "legacy", *HIDDEN), Ours(folder, "target", "--appendonly", "yes")
        gateway = Gateway(folder, legacy, target, lanes=2, loops=2, options=PATIENT)
        gateway.wait_level()
        for round_ in range(3):
            counters = [Counting(gateway.port, n, False) for n in range(4)]
            for one in counters:
                one.start()
            with gateway.client() as r:
                r.eval("for i = 1, 300 do redis.call('SET', KEYS[1] .. i, ARGV[1]) end", 1, "undeclared:", round_)
                for i in range(200):  # dirty: nobody can tell what a script wrote
                    r.eval("redis.call('SET', KEYS[1], ARGV[1])", 1, f"scripted:{i}", round_)
            wait_until("the counters count", lambda: all(c.answers > 50 for c in counters))
            gateway.process.send_signal(signal.SIGTERM)
            ended(gateway)
            for one in counters:
                one.join(300)
            values = [int(s.client().get(c.key)) for c in counters for s in (legacy, target)]
            assert values[0::2] == values[1::2], values
            assert legacy.client().get("scripted:199") == target.client().get("scripted:199") == str(round_).encode()
            gateway.start()
            gateway.wait_level()
            assert recovered(gateway) == (0, 0), recovered(gateway)
            lanes = gateway.lanes()
            assert lanes["passes_total"] == 0 and lanes["copies_total"] == 0, lanes


def stuck(folder, limit, with_signal):
    """A server that does not answer: the gateway waits for it, until a second signal comes or LIMIT has passed."""
    legacy, target = RedisServer(folder, "legacy", *HIDDEN), Ours(folder, "target")
    gateway = Gateway(folder, legacy, target, options=f"drain: {limit}")
    gateway.wait_level()
    client = socket.create_connection(("127.0.0.1", gateway.port), 60)
    client.sendall(request("SET", "before", "v"))
    assert client.recv(10) == b"+OK\r\n"
    legacy.process.send_signal(signal.SIGSTOP)
    client.sendall(request("SET", "k", "v"))
    time.sleep(0.3)
    gateway.process.send_signal(signal.SIGTERM)
    if with_signal:
        time.sleep(1)
        assert gateway.process.poll() is None, "it did not wait for an answer"
        try:
            socket.create_connection(("127.0.0.1", gateway.port), 5)
            raise AssertionError("it still accepts clients")
        except ConnectionRefusedError:
            pass
        gateway.process.send_signal(signal.SIGTERM)
    ended(gateway)
    assert said(gateway, "gateway.not_drained") and client.recv(10) == b""
    legacy.process.send_signal(signal.SIGCONT)
    gateway.start()
    gateway.wait_level()


def test_a_second_signal_ends_it_at_once():
    with Folder("drain-signal") as folder:
        stuck(folder, "10m", True)


def test_the_limit_ends_it():
    with Folder("drain-limit") as folder:
        stuck(folder, "3s", False)


if __name__ == "__main__":
    sys.exit(run_tests(sys.modules[__name__]))

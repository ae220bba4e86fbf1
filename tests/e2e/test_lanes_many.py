#!/usr/bin/python3
"""Capture lane with two gateways: each owns a part of the slots, and clients of both write everywhere.

Whatever dies (kill -9 of each gateway in turn, of state), an independent walk over both sides finds no difference in the end.
"""
import json
import os
import socket
import sys
import time

import redis

from bridge import HIDDEN, Bridge
from gwtest import Raw
from test_gateway_lanes import Gateway, Writer
from walk import differences, walk


class Gate:
    """One of a bridge's gateways, as test_gateway_lanes.Writer wants it."""

    def __init__(self, b, role):
        self.b, self.role, self.port = b, role, b.ports[role]

    turned = Gateway.turned

    @property
    def process(self):
        return self.b.processes[self.role]

    def client(self, db=0, **options):
        return redis.Redis(port=self.port, db=db, socket_timeout=60, **options)

    def lanes(self):
        with redis.Redis(unix_socket_path=os.path.join(self.b.folder, f"{self.role}.sock"), socket_timeout=60) as admin:
            return json.loads(admin.execute_command("GATEWAY", "LANES"))


def wait(what, condition, timeout_s=180):
    until = time.monotonic() + timeout_s
    while True:
        try:
            value = condition()
            if value:
                return value
        except (OSError, redis.RedisError):
            value = None
        assert time.monotonic() < until, f"waited in vain until {what}: {value}"
        time.sleep(0.05)


def owned(gates):
    return [gate.lanes()["owned_slots"] for gate in gates]


def all_level(gates):
    return all(gate.lanes()["level"] == 1 for gate in gates)


def begin(b, keys=2000):
    gates = [Gate(b, "gateway"), Gate(b, "gateway2")]
    b.fill(keys)
    b.verb("start", "--yes")
    wait("both own slots", lambda: min(owned(gates)) > 5000)
    return gates


def with_writers(b, gates, disturb):
    writers = [Writer(gates[i % 2], b.seed + i) for i in range(6)]
    for writer in writers:
        writer.start()
    disturb(writers)
    for writer in writers:
        writer.stopping = True
    for writer in writers:
        writer.join(180)
        assert not writer.is_alive(), "a client waits for ever"
        assert writer.wrong is None or "in time" in writer.wrong, writer.wrong
    return writers


def equal(b, gates):
    for gate in gates:
        gate.turned()
    try:
        wait("all lanes are level", lambda: all_level(gates), 180)
    except AssertionError:
        print([gate.lanes() for gate in gates])
        raise
    time.sleep(0.5)  # what was about to expire has
    found = differences(walk(b.ports["legacy"]), walk(b.ports["target"]))
    assert not found, "\n".join(found[:40])


def bridge(name, target="redis", lanes=1, witness=True, max_hold="20s"):
    """Without the witness (C22) what one gateway does not tell the other stays untold."""
    b = Bridge(name, target=target, max_hold=max_hold, legacy_options=HIDDEN, capture="lane", gateways=2, lanes=lanes)
    with open(os.path.join(b.folder, "drawbridge.yaml"), encoding="utf-8") as file:
        text = file.read()
    assert text.count("gateway: {") == 1, text
    b.write("drawbridge.yaml", text.replace("gateway: {", "gateway: { drain: 60s," + ("" if witness else " witness: off,")))
    return b


def test_clients_of_both_write_everywhere():
    with bridge("many-calm") as b:
        gates = begin(b)

        def calm(writers):
            time.sleep(6)
            wait("every client gets through", lambda: all(w.done > 100 for w in writers))

        writers = with_writers(b, gates, calm)
        assert all(w.done > 100 for w in writers), [w.done for w in writers]
        assert all(w.broken == 0 for w in writers), "clients lost their connections"
        equal(b, gates)
        print(sum(w.done for w in writers), "steps", [g.lanes() for g in gates])


def test_what_one_gateway_wrote_the_other_reads_and_the_order_is_kept():
    with bridge("many-order") as b:
        gates = begin(b, 100)
        one, two = Raw(gates[0].port), Raw(gates[1].port)
        for i in range(50):
            key = f"k{i}"
            assert one.call("SET", key, i) == "OK" and two.call("GET", key) == b"%d" % i
            assert two.call("INCR", key) == i + 1 and one.call("GET", key) == b"%d" % (i + 1)
        for client in (one, two):
            for i in range(100):
                client.send("SET", f"a{i % 7}", i)
                client.send("EVAL", "return redis.call('GET', KEYS[1]) .. redis.call('INCR', KEYS[2])", 2, f"a{i % 7}", "n")
            before = None
            for i in range(100):
                assert client.read() == "OK"
                answer = client.read()
                count = int(answer[len(str(i)):])
                assert answer.startswith(b"%d" % i) and (before is None or count == before + 1), (i, answer)
                before = count
        one.send("BLPOP", "queue", 50)
        two.send("BLPOP", "queue2", 50)
        time.sleep(0.3)
        for name in ("queue", "queue2"):
            assert two.call("PING") == "PONG" if name == "none" else True
        three, four = Raw(gates[0].port), Raw(gates[1].port)
        assert four.call("RPUSH", "queue", "job") == 1 and three.call("RPUSH", "queue2", "job") == 1
        assert one.read() == [b"queue", b"job"] and two.read() == [b"queue2", b"job"]
        three.send("MULTI")
        for i in range(20):
            three.send("INCR", f"m{i}")
        three.send("EXEC")
        answers = [three.read() for _ in range(22)]
        assert answers[-1] == [1] * 20, answers
        equal(b, gates)


def test_each_gateway_is_killed_in_turn():
    with bridge("many-kill", target="bundled", lanes=3) as b:
        gates = begin(b)

        def kills(writers):
            time.sleep(2)
            for role, other in (("gateway", 1), ("gateway2", 0)):
                b.kill(role)
                wait("the other has all slots", lambda: gates[other].lanes()["owned_slots"] == 16384, 180)
                time.sleep(1)
                before = sum(w.done for w in writers if w.gateway is gates[other])
                wait("clients of the living go on", lambda: sum(w.done for w in writers if w.gateway is gates[other]) > before + 50)
                b.restart(role)
                wait("slots are dealt out again", lambda: min(owned(gates)) > 5000)
                time.sleep(1)
            for role in ("gateway", "gateway2"):  # back before its lease is over
                b.kill(role)
                b.restart(role)
                wait("it is back", lambda: min(owned(gates)) > 5000)
                time.sleep(1)

        writers = with_writers(b, gates, kills)
        equal(b, gates)
        print(sum(w.done for w in writers), "steps", sum(w.broken for w in writers), "broken", [g.lanes() for g in gates])


def test_without_state_all_goes_on_but_for_a_dead_gateway():
    with bridge("many-state") as b:
        gates = begin(b)

        def state_dies(writers):
            time.sleep(1)
            b.kill("state")
            time.sleep(1)
            before = [w.done for w in writers]
            wait("clients go on without state", lambda: all(w.done > d + 20 for w, d in zip(writers, before)))
            assert all(w.broken == 0 for w in writers)
            b.kill("gateway2")
            time.sleep(5)
            assert gates[0].lanes()["owned_slots"] < 16384, "slots moved without state"
            b.restart("state")
            wait("the other has all slots", lambda: gates[0].lanes()["owned_slots"] == 16384, 180)
            b.restart("gateway2")
            wait("slots are dealt out again", lambda: min(owned(gates)) > 5000)
            time.sleep(1)

        with_writers(b, gates, state_dies)
        equal(b, gates)


def test_who_is_no_peer_is_hung_up_on():
    with bridge("many-hostile") as b:
        gates = begin(b, 100)
        wrong = (b"hello\r\n", b"*1\r\n$5\r\nHELLO\r\n", b"*3\r\n$5\r\nHELLO\r\n$6\r\nnobody\r\n$1\r\n1\r\n",
                 b"*3\r\n$5\r\nHELLO\r\n$7\r\ngateway\r\n$2\r\n99\r\n", b"*2\r\n$6\r\nSYNCED\r\n$1\r\n9\r\n", b"*-7\r\n",
                 b"*3\r\n$3\r\nPIN\r\n$1\r\n1\r\n$3\r\nall\r\n", b"$5\r\nHELLO\r\n", b"*2000000000\r\n")
        for message in wrong:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(60)
                s.connect(os.path.join(b.folder, "gateway2.peer"))
                s.sendall(message)
                try:
                    got = s.recv(100)
                except ConnectionResetError:
                    got = b""
                assert got == b"", (message, got)
        one, two = Raw(gates[0].port), Raw(gates[1].port)
        for i in range(20):
            assert one.call("SET", f"x{i}", i) == "OK" and two.call("GET", f"x{i}") == b"%d" % i
        equal(b, gates)


def turned(b, verb):
    """A cutover or rollback that completes; it is asked for again when a gate was closed just then."""
    for _ in range(10):
        b.settled()
        result = b.verb(verb, "--yes", "--wait", wanted=(0, 3))
        if "outcome" in result:
            break
        time.sleep(0.5)
    assert result.get("outcome") == "completed", result
    return result


def message(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in (str(word).encode() for word in words))


def test_a_pin_of_a_later_epoch_waits_for_the_release():
    """C23: who pins has been released already. Said by us, in place of the first gateway, which stands still for a moment."""
    with bridge("many-early") as b:
        gates = begin(b, 100)
        epoch = b.status()["epoch"]
        b.pause("gateway")
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(os.path.join(b.folder, "gateway2.peer"))
            s.settimeout(60)
            s.sendall(message("HELLO", "gateway", 1))
            assert s.recv(100) == message("OK")
            s.sendall(message("PIN", 900000, epoch, "some", 0, "key"))
            assert s.recv(100) == message("P", 900000)
            s.settimeout(0.5)
            s.sendall(message("UNPIN", 900000) + message("PIN", 900001, epoch + 1, "some", 0, "key"))
            try:
                raise AssertionError(f"it is pinned for the old primary side: {s.recv(100)}")
            except socket.timeout:
                pass
        b.go_on("gateway")
        b.verb("gates", "waive", "audit", "--reason", "nothing is compared here", "--for", "1h")
        turned(b, "cutover")
        one = Raw(gates[0].port)
        one.send("MULTI")
        for i in range(20):
            one.send("INCR", f"m{i}")
        one.send("EXEC")
        assert [one.read() for _ in range(22)][-1] == [1] * 20
        time.sleep(1)  # LANES tells how it was a moment ago
        equal(b, gates)


def test_cutover_and_rollback_with_two_gateways():
    with bridge("many-cutover") as b:
        gates = begin(b)
        clients = [b.clients(2), b.clients(2, port="gateway2", first=10)]
        b.verb("gates", "waive", "audit", "--reason", "the test walks over both sides itself", "--for", "1h")
        for verb in ("cutover", "rollback", "cutover"):
            result = turned(b, verb)
            print(f"{verb}: held for {result['hold_ms']:.1f} ms", flush=True)
            time.sleep(1.5)
        for some in clients:
            b.check_clients(some)
        equal(b, gates)


if __name__ == "__main__":
    from servers import run_tests
    sys.exit(run_tests(sys.modules[__name__]))

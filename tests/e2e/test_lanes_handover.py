#!/usr/bin/python3
"""Slots go from one gateway to another in order (C22b): what is known about them goes along, and nothing is listed anew.

Two gateways with clients that write at random through both. One is told to end, and started again, several times: the other one
takes its slots, and gives them back, without a dirty slot or a pass; what the ending one executed it has answered; who waits in a
blocking command of a slot that moves is still served. In the end an independent walk over both sides finds no difference.
"""
import itertools
import os
import signal
import socket
import sys
import threading
import time

import redis

from test_gateway_drain import Counting, ended
from test_lanes_many import begin, bridge, equal, owned, wait, with_writers


NUMBERS = itertools.count()


class Role:
    """A gateway of a bridge, as test_gateway_drain wants it."""

    def __init__(self, b, role):
        self.process, self.log = b.processes[role], os.path.join(b.folder, role + ".log")


def said(b, role, event):
    """The lines with EVENT, as dictionaries."""
    found = []
    with open(os.path.join(b.folder, role + ".log"), encoding="utf-8", errors="replace") as log:
        for line in log:
            if event in line.split():
                found.append(dict(word.split("=", 1) for word in line.split() if "=" in word))
    return found


def passes(gates):
    return [gate.lanes()["passes_total"] for gate in gates]


def hand_over(b, gates, staying, leaving):
    """ROLE of LEAVING ends; the other one gets its slots, and knows all about them."""
    role = gates[leaving].role
    before = gates[staying].lanes()["passes_total"]
    r = redis.Redis(port=b.ports["legacy"])
    counters = [Counting(gates[leaving].port, next(NUMBERS), False) for _ in range(4)]
    for one in counters:
        one.start()
    wait("the counters count", lambda: all(c.answers > 50 for c in counters))
    b.processes[role].send_signal(signal.SIGTERM)
    took = ended(Role(b, role))
    for one in counters:
        one.join(180)
        assert not one.is_alive() and not one.errors, one.errors[:3]
        done = int(r.get(one.key))
        assert done == one.answers, f"{one.key}: {done} were executed, {one.answers} answered"
    def has_all():
        found = gates[staying].lanes()
        return found["owned_slots"] == 16384 and found

    lanes, last = wait("the other one has all slots", has_all), said(b, gates[staying].role, "lanes.slots")[-1]
    assert lanes["dirty_slots"] == 0, lanes
    assert lanes["passes_total"] == before, (before, lanes["passes_total"], last)
    print(f"{role} ended in {took:.2f} s, {last['carried']} slots were carried", flush=True)
    assert not said(b, role, "gateway.not_drained") and not said(b, role, "gateway.keeps_slots")


def comes_back(b, gates, role, back):
    """It is started again, and gets its half of the slots."""
    b.restart(role)
    wait("slots are dealt out again", lambda: min(owned(gates)) > 5000)
    lanes = [gate.lanes() for gate in gates]
    assert not any(one["dirty_slots"] for one in lanes), lanes
    assert int(said(b, role, "lanes.slots")[-1]["carried"]) == lanes[back]["owned_slots"], said(b, role, "lanes.slots")
    assert lanes[back]["passes_total"] == 0, lanes[back]


def test_slots_go_to_and_fro_under_load():
    for target, lanes, plan in (("bundled", 1, ((0, 1), (1, 0))), ("redis", 3, ((1, 0),))):
        with bridge(f"handover-{target}", target=target, lanes=lanes, witness=target == "redis") as b:
            gates = begin(b)
            wait("all lanes are level", lambda: all(gate.lanes()["level"] for gate in gates))

            def turns(writers):
                for staying, leaving in plan:
                    time.sleep(1)
                    hand_over(b, gates, staying, leaving)
                    before = sum(w.done for w in writers if w.gateway is gates[staying])
                    wait("its clients go on", lambda: sum(w.done for w in writers if w.gateway is gates[staying]) > before + 20)
                    comes_back(b, gates, gates[leaving].role, leaving)

            writers = with_writers(b, gates, turns)
            equal(b, gates)
            print(sum(w.done for w in writers), "steps", sum(w.broken for w in writers), "broken")


class Waiting(threading.Thread):
    """Pops from one list, for ever, over one connection."""

    def __init__(self, gate, name, how):
        super().__init__(daemon=True)
        self.r = redis.Redis(port=gate.port, socket_timeout=100, retry=None, single_connection_client=True)
        self.name, self.how, self.got, self.error = name, how, [], None

    def run(self):
        try:
            while True:
                if self.how == "pop":
                    self.got.append(self.r.blpop(self.name, 90)[1])
                elif self.how == "two":
                    self.got.append(self.r.blpop([self.name, "nothing:" + self.name], 0)[1])
                else:
                    self.got.append(self.r.brpoplpush(self.name, self.name + ":moved", 90))
        except redis.RedisError as error:
            self.error = repr(error)


def test_who_waits_is_served_by_the_next_owner():
    """Lists in both halves, and clients of either gateway: those of the one that stays notice nothing of all this."""
    with bridge("handover-waits", target="bundled", lanes=1) as b:
        gates = begin(b, 500)
        wait("all lanes are level", lambda: all(gate.lanes()["level"] for gate in gates))
        lists = [f"jobs:{n}" for n in range(12)]
        waiting = [Waiting(gates[0], name, how) for name in lists for how in ("pop", "two", "move")]
        for one in waiting:
            one.start()

        def are_waiting():
            return sum(gate.lanes()["waiting_clients"] for gate in gates[:len(through)]) == len(waiting)

        through = [redis.Redis(port=gate.port) for gate in gates]
        for turn in range(3):
            wait("all wait", are_waiting)
            if turn == 1:
                hand_over(b, gates, 0, 1)
                through.pop()
            if turn == 2:
                comes_back(b, gates, "gateway2", 1)
                through.append(redis.Redis(port=gates[1].port))
            wait("all wait again", are_waiting)
            for n, name in enumerate(lists * 3):
                through[n % len(through)].lpush(name, f"{turn}-{n}")
            wanted = len(waiting) * (turn + 1)
            wait(f"{wanted} were popped", lambda: sum(len(w.got) for w in waiting) == wanted)
            assert not [w.error for w in waiting if w.error], [w.error for w in waiting]
        assert len(set(x for w in waiting for x in w.got)) == 3 * len(waiting)
        for one in waiting:  # while they wait their keys are dirty for a moment, once a second
            one.r.connection._sock.shutdown(socket.SHUT_RDWR)
        equal(b, gates)


if __name__ == "__main__":
    from servers import run_tests
    sys.exit(run_tests(sys.modules[__name__]))

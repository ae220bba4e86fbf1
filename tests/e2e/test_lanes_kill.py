#!/usr/bin/python3
"""Capture lane: kill -9 of gateway and state, in each phase and inside each step of a barrier; the work goes on by itself.

What dies with the gateway is its clients' connections: they see errors, and each may have one command whose answer never
came. Nothing else is lost or doubled, both sides are equal in the end, and a barrier is undone or completed (C24).

    test_lanes_kill.py           a slice: each phase, and each step of a barrier once, the victims in turn
    test_lanes_kill.py --long    each victim in each step, before and after, in cutover and in rollback
    test_lanes_kill.py VICTIM [STEP ...]
"""
import sys
import time

from bridge import HIDDEN, Bridge
from stage import wait_for_redis
from test_bridge_steps import STEPS, Steps
from test_lanes_bridge import PATIENT, turn

VICTIMS = ("gateway", "state")


def after_kill(b, role):
    b.kill(role)
    time.sleep(0.3)
    b.restart(role)


def claim(b):
    b.verb("gates", "waive", "audit", "--reason", "the test walks over both sides itself", "--for", "2h")


def finish(b, clients, errors):
    b.settled()
    wait_for_redis(b.ports["gateway"])
    b.check_clients(clients, errors=errors)
    b.settled()
    b.wait_lanes()
    b.check_equal()
    assert b.verb("ledger", "verify")["ok"]


def in_each_phase(victim, target):
    with Bridge(f"lanes-kill-{victim}-{target}", target=target, max_hold=PATIENT, legacy_options=HIDDEN, capture="lane") as b:
        b.fill(9000)
        clients = b.clients(2)
        b.verb("start", "--yes")
        after_kill(b, victim)  # copying
        b.wait_phase("following", "level", timeout_s=180)
        after_kill(b, victim)  # following
        b.wait_phase("copying", "following", "level", timeout_s=180)  # state answers
        claim(b)
        for verb in ("cutover", "rollback", "cutover"):
            b.settled()
            after_kill(b, victim)  # level, guarded
            b.settled()
            turn(b, verb)
            time.sleep(1)
        finish(b, clients, 1000 if victim == "gateway" else 0)
        b.verb("complete", "--yes", "--wait")
        print(f"{target}: {victim} killed in each phase", flush=True)


def in_steps(name, cases, target="redis"):
    with Steps(f"lanes-steps-{name}", target=target, legacy_options=HIDDEN, capture="lane") as b:
        b.fill(3000)
        clients = b.clients(2, ops_per_s=80)
        b.verb("start", "--yes")
        b.wait_phase("following", "level", timeout_s=180)
        claim(b)
        for victim, step, when, primary in cases:
            if primary:
                b.go_to(primary)
            b.kill_inside(victim, step, when)
        finish(b, clients, 600 * sum(victim == "gateway" for victim, *_ in cases))


def main():
    words = sys.argv[1:]
    if words == ["--long"]:
        for victim in VICTIMS:
            in_steps(victim, [(victim, step, when, primary) for primary in ("legacy", "target") for step in STEPS
                              for when in ("before", "after")])
    elif words:
        in_steps(words[0], [(words[0], step, when, None) for step in words[1:] or STEPS for when in ("before", "after")])
    else:
        for victim, target in zip(VICTIMS, ("redis", "bundled")):
            in_each_phase(victim, target)
        in_steps("slice", [(VICTIMS[number % 2], step, ("before", "after")[number // 2 % 2], None)
                           for number, step in enumerate(STEPS)])


main()

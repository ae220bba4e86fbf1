#!/usr/bin/python3
"""kill -9 of gateway, syncer and state, each exactly inside each step of a change of capture (C1, C24), with live clients: nothing
confirmed is lost or doubled, the change is undone or a fact, and a walk over both sides finds no difference.

    test_capture_steps.py          a slice: each step once, the victims in turn (what `make test` runs)
    test_capture_steps.py --long   each victim in each step, before and after, in both directions, before and after a cutover
    test_capture_steps.py VICTIM [STEP ...]
"""
import sys
import time

from test_bridge_steps import Steps, wait_for_redis

STEPS = ("preparing", "holding", "fencing", "reading-x", "draining", "reading-b", "comparing", "committing", "opening", "activating",
         "releasing", "ending")
VICTIMS = ("gateway", "syncer", "state")


def settled(b, timeout_s=300):
    """No barrier runs, every gate that matters is open; an audit is asked for where it is missing."""
    return b.wait_open(timeout_s)


def other(capture):
    return "lane" if capture == "stream" else "stream"


def kill_inside(b, victim, step, when):
    before = settled(b)
    wanted = other(before["capture"])
    process = b.stopped_inside(("capture", wanted, "--yes", "--reason", "steps"), step, when)
    b.kill(victim)
    if victim != "state":
        b.go_on("state")
    time.sleep(0.2)
    b.restart(victim)
    process.wait(180)
    after = settled(b)
    barrier = after["barrier"]
    outcome, moved = barrier["outcome"], after["capture"] != before["capture"]
    print(f"  {victim} killed {when} the work of {step} of capture {wanted} at {after['primary']}: {outcome}, epoch {after['epoch']}",
          flush=True)
    assert outcome in ("aborted", "completed") and barrier["from"] == barrier["to"] == before["primary"], barrier
    assert moved == (outcome == "completed") and after["epoch"] == before["epoch"] + moved, (before["epoch"], after)
    assert after["primary"] == before["primary"]
    if STEPS.index(step) > STEPS.index("committing"):
        assert outcome == "completed", "the new epoch was written: it is a fact (C24)"
    elif victim == "state" and step != "committing":
        assert outcome == "aborted", "no epoch was written when state died (C24)"


def go_to(b, side):
    if settled(b)["primary"] != side:
        b.move("cutover" if side == "target" else "rollback")
        settled(b)


def run(name, target, cases):
    with Steps(f"capture-steps-{name}", target=target) as b:
        b.fill(1000)
        clients = b.clients(2, ops_per_s=60)
        b.verb("start", "--yes")
        b.wait_phase("level", audit=True)
        for victim, step, when, primary in cases:
            if primary:
                go_to(b, primary)
            kill_inside(b, victim, step, when)
        wait_for_redis(b.ports["gateway"])
        shaken = sum(victim == "gateway" for victim, *_ in cases)
        b.check_clients(clients, errors=600 * shaken)
        if settled(b)["capture"] == "lane":
            b.wait_lanes()
        b.audit()
        b.check_equal()
        assert b.verb("ledger", "verify")["ok"]


def main():
    words = sys.argv[1:]
    if words == ["--long"]:
        for target in ("redis", "bundled"):
            for victim in VICTIMS:
                run(f"{victim}-{target}", target, [(victim, step, when, primary) for primary in ("legacy", "target") for step in STEPS
                                                   for when in ("before", "after") for _ in range(2)])
    elif words:
        run(words[0], "redis", [(words[0], step, when, None) for step in words[1:] or STEPS for when in ("before", "after")])
    else:
        run("slice", "redis", [(VICTIMS[(number + number // 3) % 3], step, ("before", "after")[number // 2 % 2], None)
                               for number, step in enumerate(STEPS)])


if __name__ == "__main__":
    main()

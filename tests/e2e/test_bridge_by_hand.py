#!/usr/bin/python3
"""State is gone for good, so it seems, and an operator moves the gateway by hand (C24). When state is back, the ledger
has each deed, the audit's claim is void, and nothing goes on before both sides were compared again."""
import os
import subprocess
import time

from bridge import Bridge


def by_hand(b, *words):
    return subprocess.run(["redis-cli", "-s", os.path.join(b.folder, "gateway.sock"), "GATEWAY", *words], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()


def deeds(b):
    return [e["text"].split(" by hand")[0] for e in b.verb("ledger", "events")["events"] if e["kind"] == "gateway.by-hand"]


def wait_for(what, condition, timeout_s=300):
    until = time.monotonic() + timeout_s
    while True:
        try:
            found = condition()
        except SystemExit:  # state is just starting
            found = None
        if found:
            return found
        assert time.monotonic() < until, what
        time.sleep(0.05)


def begun(b, verb):
    """A barrier that runs; a gate that a slow machine has just closed refuses it."""
    while True:
        process = subprocess.Popen([b.commands["state"][0], verb, "--yes"], cwd=b.folder, env=b.env, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        if process.wait(180) == 0:
            return process
        b.go_on("syncer")
        b.wait_gates()
        b.pause("syncer")


def gate(b, name):
    return next(g for g in b.status()["gates"] if g["id"] == name)


with Bridge("by-hand", target="bundled", max_hold="15s") as b:  # long enough to do something by hand in it
    b.fill(1000)
    clients = b.clients(2)
    b.verb("start", "--yes")
    b.wait_phase("level", audit=True)
    assert not deeds(b)

    b.kill("state")
    assert by_hand(b, "HOLD") == "OK"
    time.sleep(0.3)
    assert by_hand(b, "RELEASE").startswith("OK released by hand")
    assert by_hand(b, "PIN", "legacy").startswith("OK pinned by hand")
    b.restart("state")
    wait_for("the ledger has what was done", lambda: deeds(b) == ["gateway gateway: hold", "gateway gateway: release-legacy",
                                                                  "gateway gateway: pin-legacy"])
    wait_for("the claim is void", lambda: "by hand" in gate(b, "audit")["why"] and gate(b, "audit")["state"] == "fail")
    wait_for("the pin is seen", lambda: "pinned by hand" in gate(b, "epoch")["why"])
    refused = b.verb("cutover", "--yes", "--wait", wanted=(3,))
    assert "gate" in str(refused), refused

    b.kill("state")  # it stays void when state is started again
    b.restart("state")
    wait_for("the claim is void", lambda: "by hand" in gate(b, "audit")["why"])
    assert by_hand(b, "UNPIN") == "OK"
    wait_for("the ledger has that, too", lambda: deeds(b)[3:] == ["gateway gateway: unpin"])
    b.wait_ready()
    assert b.move("cutover")["primary"] == "target"

    # In the middle of a barrier it undoes the barrier.
    b.wait_gates()
    assert len(deeds(b)) == 4
    b.pause("syncer")
    process = begun(b, "rollback")
    wait_for("it holds", lambda: '"held":true' in by_hand(b, "STATS"))
    assert by_hand(b, "RELEASE").startswith("OK released by hand")
    b.go_on("syncer")
    process.wait(180)
    wait_for("the barrier ends", lambda: not b.status()["barrier_running"])
    barrier = b.status()["barrier"]
    assert barrier["outcome"] == "aborted" and "moved by hand" in barrier["why"] and b.status()["primary"] == "target", barrier
    wait_for("the ledger has that", lambda: deeds(b)[4:] == ["gateway gateway: release-target"])
    wait_for("the claim is void", lambda: "by hand" in gate(b, "audit")["why"])
    b.audit()
    b.check_clients(clients)
    b.wait_gates()
    b.check_equal()
    assert b.verb("ledger", "verify")["ok"]

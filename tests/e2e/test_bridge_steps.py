#!/usr/bin/python3
"""kill -9 of gateway, syncer, bundled server and state, each exactly inside each step of a barrier, with live
clients: nothing confirmed is lost or doubled, both sides are equal, and the workflow ends in a defined phase.

`state` stops itself in the wanted step (state/stop_at.h), before or after the step's own messages left; the
victim is killed while it stands there, and `state` goes on. The barrier is then undone or completed:
C24 allows nothing else.

    test_bridge_steps.py          a slice: each step once, the victims in turn (what `make test` runs)
    test_bridge_steps.py --long   each victim in each step, before and after, in cutover and in rollback
    test_bridge_steps.py VICTIM [STEP ...]
"""
import os
import subprocess
import sys
import time

from bridge import Bridge
from stage import PROGRAM, wait_for_redis

STEPS = ("preparing", "holding", "fencing", "reading-x", "draining", "reading-b", "syncing", "comparing", "committing",
         "opening", "activating", "releasing", "ending")
VICTIMS = ("gateway", "syncer", "target", "state")


class Steps(Bridge):
    """A bridge whose `state` can be stopped inside a step."""

    def __enter__(self):
        self.stop_at = os.path.join(self.folder, "stop-at")
        self.env["DRAWBRIDGE_TEST_STOP_AT"] = self.stop_at
        return super().__enter__()

    def is_stopped(self):
        with open(f"/proc/{self.processes['state'].pid}/stat", encoding="utf-8") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "T"

    def stopped_inside(self, words, step, when):
        """The verb that WORDS are, begun; state stands in STEP. A gate that a slow machine has just closed refuses it, and a deadline
        that it missed ends it before that step: then once more."""
        for _ in range(10):
            self.write("stop-at", f"{step} {when}\n")
            process = subprocess.Popen([PROGRAM, *words], cwd=self.folder, env=self.env, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            until = time.monotonic() + 20
            while not self.is_stopped() and process.poll() in (None, 0) and time.monotonic() < until:
                time.sleep(0.002)
            if self.is_stopped():
                return process
            process.wait(180)
            print(f"  {words} did not come to {step}: once more", flush=True)
            self.write("stop-at", "")
            self.go_on("state")  # if it came there just now
            self.wait_open()
        raise AssertionError(f"{words} did not come to {step}")

    def kill_inside(self, victim, step, when):
        """One barrier with VICTIM killed in it. Returns its outcome and who is the primary side now."""
        before = self.settled()
        verb = "cutover" if before["primary"] == "legacy" else "rollback"
        process = self.stopped_inside((verb, "--yes"), step, when)
        self.kill(victim)
        if victim != "state":
            self.go_on("state")
        time.sleep(0.2)
        self.restart(victim)
        process.wait(180)
        after = self.settled()
        barrier = after["barrier"]
        outcome, moved = barrier["outcome"], after["primary"] != before["primary"]
        print(f"  {victim} killed {when} the work of {step} of a {verb}: {outcome}, {after['primary']}, "
              f"epoch {after['epoch']}", flush=True)
        assert outcome in ("aborted", "completed"), barrier
        assert moved == (outcome == "completed") and after["epoch"] == before["epoch"] + moved, (before["epoch"], after)
        if STEPS.index(step) > STEPS.index("committing"):
            assert outcome == "completed", "the new epoch was written: it is a fact (C24)"
        elif victim == "state" and step != "committing":
            assert outcome == "aborted", "no epoch was written when state died (C24)"
        return outcome

    def go_to(self, side):
        """Change the primary side, undisturbed, if need be."""
        if self.settled()["primary"] != side:
            self.move("cutover" if side == "target" else "rollback")
            self.settled()


def run(name, cases):
    """CASES are (victim, step, when, primary side before). The clients' own errors are those of a killed
    gateway or primary side: a broken connection, and never a wrong answer."""
    with Steps(f"steps-{name}", target="bundled") as b:
        b.fill(3000)
        clients = b.clients(2, ops_per_s=80)
        b.verb("start", "--yes")
        b.wait_phase("level", audit=True)
        for victim, step, when, primary in cases:
            if primary:
                b.go_to(primary)
            b.kill_inside(victim, step, when)
        wait_for_redis(b.ports["gateway"])
        b.audit()
        shaken = sum(victim in ("gateway", "target") for victim, *_ in cases)
        b.check_clients(clients, errors=600 * shaken)
        b.wait_gates()
        b.check_equal()
        assert b.verb("ledger", "verify")["ok"]


def main():
    words = sys.argv[1:]
    if words == ["--long"]:
        for victim in VICTIMS:
            run(victim, [(victim, step, when, primary) for primary in ("legacy", "target") for step in STEPS
                         for when in ("before", "after")])
    elif words:
        run(words[0], [(words[0], step, when, None) for step in words[1:] or STEPS for when in ("before", "after")])
    else:
        run("slice", [(VICTIMS[(number + number // 4) % 4], step, ("before", "after")[number // 2 % 2], None)
                      for number, step in enumerate(STEPS)])


if __name__ == "__main__":
    main()

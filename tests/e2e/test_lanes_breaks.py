#!/usr/bin/python3
"""test_lanes_breaks.py [RULE ...] -- a gateway that breaks one rule of the lanes is found by a random load.

For each rule that tests/tools/broken.c can break: a short life of test_lanes_load.py must end with a difference, or not come to
rest. The same life with no rule broken must end without one.
"""
import concurrent.futures
import os
import subprocess
import sys
import time

import test_gateway_lanes
from servers import Folder, Ours, TOP, wait_until
from test_lanes_load import World, cuts, gateway_dies_full, killed, stopped

BROKEN = os.path.join(os.environ.get("BUILD", os.path.join(TOP, "build")), "tests", "tools", "broken")
NOTHING = ("", "nothing, with the witness")
WITNESS = ("c22", NOTHING[1])
RULES = ("c12", "c12a", "c16", "c10a", "c15", "c20", "c22", "c22a", *NOTHING)
UNTOLD = "redis.call('SET', ARGV[1], ARGV[2]) return redis.call('GET', KEYS[1])"
SEED = "4711"
LIVES = 10


def life():
    """In a process of its own: exit code 5 when a difference was found."""
    test_gateway_lanes.PROGRAM = BROKEN
    rule = os.environ["BREAK"]
    with Folder("lanes-break") as folder:
        w = World(folder, Ours, count=5, elements=100, witness="auto" if rule in WITNESS else "off", options=(), gentle=True)  # it would make good what is broken
        killed(w.target, w.load, w.rng)  # without its data
        # From here on nothing makes everything dirty: what is missed is not copied by the way.
        if rule != "c22a":  # it does not see that this one has lost its data
            wait_until("both sides were listed again", lambda: w.gateway.lanes()["passes_total"] > 1)
        w.calm(200)
        cuts(w.gateway, 1, w.rng, 1)
        w.calm(200)
        stopped(w.target, w.load, 2)
        if rule in WITNESS:
            wait_until("no pass is under way, which would find them", lambda: w.gateway.lanes()["dirty_slots"] == 0)
            r = w.gateway.client()
            for n in range(50):  # scripts that write what they do not name
                r.eval(UNTOLD, 1, f"named:{n}", f"untold:{n}", n)
        if rule == "c20":
            for _ in range(4):
                w.calm(100)
                gateway_dies_full(w.gateway, w.target)
        found = w.end(20 if rule not in NOTHING else 180)  # what is broken may never come to rest
    print("\n".join(found))
    raise SystemExit(5 if found else 0)


def life_of(rule, seed):
    began = time.time()
    done = subprocess.run([sys.executable, os.path.abspath(__file__), "--life"], env={**os.environ, "BREAK": rule, "SEED": str(seed)},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1000, check=False)
    restless = "the lanes are level" in done.stdout
    right = done.returncode == 0 if rule in NOTHING else done.returncode == 5 or restless
    lines = [line for line in done.stdout.splitlines() if line.startswith("db ")]
    verdict = f"{len(lines)} differences" if lines else "no rest" if restless else "nothing found" if done.returncode == 0 else "broke"
    print(f"  {rule or 'no rule broken'}: {verdict} in {time.time() - began:.1f} s" + ("" if right else "\n" + done.stdout[-4000:]), flush=True)
    return right


def find(rule):
    """Threads and their timing are not from the seed: a rule may need another life, the whole gateway may not have one bad one."""
    seed = int(os.environ.get("SEED", SEED))
    return life_of(rule, seed) if rule in NOTHING else any(life_of(rule, seed + n) for n in range(LIVES))


def main():
    if sys.argv[1:] == ["--life"]:
        life()
    rules = sys.argv[1:] or RULES
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        right = list(pool.map(find, rules))
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())

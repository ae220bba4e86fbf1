#!/usr/bin/python3
"""State killed with -9, or stopped for a while, at a random moment of real barriers, with live clients:
nothing is lost or doubled, no client sees an error, and each barrier is either undone or completed."""
import subprocess
import sys
import time

from bridge import Bridge
from stage import PROGRAM, Clients

ROUNDS = 10


def disturb(b, number):
    """Begin a barrier, and hit state between its begin and a tenth of a second later."""
    verb = "cutover" if b.status()["primary"] == "legacy" else "rollback"
    process = subprocess.Popen([PROGRAM, verb, "--yes"], cwd=b.folder, env=b.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(b.random.random() * 0.15)
    if number % 3 == 2:
        b.pause("state")
        time.sleep(b.random.random() * 1.5)
        b.go_on("state")
    else:
        b.kill("state")
        time.sleep(b.random.random() * 0.5)
        b.restart("state")
    process.wait(180)
    status = b.settled()
    print(f"  {verb}, {'stopped' if number % 3 == 2 else 'killed'}: {(status['barrier'] or {}).get('outcome')}, "
          f"{status['primary']}, epoch {status['epoch']}", flush=True)
    return (status["barrier"] or {}).get("outcome")


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with Bridge("bridge-state", target="redis", gateways=2) as b:
        b.fill(6000)
        clients = [b.clients(2), Clients(b, b.ports["gateway2"], 1, 150, first=2)]
        b.verb("start", "--yes")
        b.wait_phase("level", audit=True)
        b.settled()
        outcomes = [disturb(b, number) for number in range(rounds)]
        assert all(o in (None, "aborted", "completed") for o in outcomes), outcomes
        b.audit()
        for group in clients:
            b.check_clients(group)
        b.check_equal()
        assert b.verb("ledger", "verify")["ok"]


main()

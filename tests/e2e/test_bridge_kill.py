#!/usr/bin/python3
"""kill -9 of gateway, syncer, server and state, each in turn in each phase: the work goes on by itself, and nothing is lost.

The clients are not connected through a gateway that is killed without expecting broken connections:
when the gateway dies its clients see errors, and then may have one unanswered command each.
"""
import sys
import time

from bridge import Bridge

ROLES = ("syncer", "state", "target")


def after_kill(b, role):
    b.kill(role)
    time.sleep(0.3)
    b.restart(role)


def scenario(role, target):
    """One run through all phases; ROLE is killed once in each of them."""
    with Bridge(f"kill-{role}-{target}", target=target) as b:
        b.fill(9000)
        clients = b.clients(2)
        b.verb("start", "--yes")
        after_kill(b, role)  # copying
        b.wait_phase("following", "level")
        after_kill(b, role)  # following
        b.wait_ready()
        if role != "target":
            after_kill(b, role)  # level
        b.wait_ready()
        b.move("cutover")
        time.sleep(1)
        if role != "target":  # then the target is the primary side: its death is the clients' too
            after_kill(b, role)  # guarded
        time.sleep(2)
        b.wait_gates()
        b.audit()
        b.move("rollback")
        time.sleep(1)
        b.wait_phase("level", "following")
        after_kill(b, role)
        b.wait_ready()
        b.move("cutover")
        b.check_clients(clients)
        b.wait_gates()
        b.audit()
        b.check_equal()
        b.verb("complete", "--yes", "--wait")


def main():
    for target in ("redis", "bundled"):
        for role in ROLES:
            if len(sys.argv) < 2 or role in sys.argv[1:]:
                scenario(role, target)


main()

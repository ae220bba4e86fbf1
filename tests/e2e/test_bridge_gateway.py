#!/usr/bin/python3
"""Two gateways; one is killed with -9 in each phase, and paused across a barrier. Its own clients see broken
connections and find everything that was confirmed; the other gateway's clients notice nothing."""
import time

from bridge import Bridge


def killed(b):
    b.kill("gateway2")
    time.sleep(0.3)
    b.restart("gateway2")


def scenario(target):
    with Bridge(f"gateways-{target}", target=target, gateways=2) as b:
        b.fill(6000)
        steady = b.clients(2)
        shaken = b.clients(2, port="gateway2", first=10)
        b.verb("start", "--yes")
        killed(b)
        b.wait_ready()
        killed(b)
        b.wait_ready()
        b.verb("cutover", "--yes", "--wait")
        time.sleep(1)
        killed(b)
        b.wait_gates()
        b.verb("rollback", "--yes", "--wait")
        time.sleep(1)
        b.wait_ready()
        b.pause("gateway2")  # it stops without a word: the barrier fences it, or misses and lets the clients go on
        result = b.verb("cutover", "--yes", "--wait", wanted=(0, 3, 8))
        b.go_on("gateway2")
        time.sleep(2)
        if result.get("primary") != "target":
            b.wait_ready()
            b.verb("cutover", "--yes", "--wait")
        time.sleep(1)
        b.check_clients(steady)
        b.check_clients(shaken, errors=40)
        b.wait_gates()
        b.audit()
        b.check_equal()


scenario("redis")
scenario("bundled")

#!/usr/bin/python3
"""Clients that do nothing but wait in blocking commands keep their connections across a cutover and a rollback (C27).

A loop of the gateway whose clients all block has no shared connection to the primary side, and in a hold none is opened any
more: what ends the blocked ones (CLIENT UNBLOCK) has to be prepared before.
"""
from bridge import Bridge, Direct
from gwtest import Raw, check, wait_for


def waiting(b):
    """More than enough for both loops; nothing else is asked of the gateway after its start."""
    b.kill("gateway")
    b.restart("gateway")
    b.wait_gates()
    clients = [Raw(b.ports["gateway"], timeout_s=60) for _ in range(16)]
    for i, client in enumerate(clients):
        client.send("BLPOP", f"queue:{i}", 0)
    blocked = Direct(port=b.ports[b.status()["primary"]])
    wait_for("all wait", lambda: blocked.info("clients")["blocked_clients"] == len(clients))
    return clients


def changed(b, verb, side):
    clients = waiting(b)
    b.move(verb)
    check("primary", b.status()["primary"], side)
    pusher = Direct(port=b.ports[side])
    for i in range(len(clients)):
        pusher.rpush(f"queue:{i}", f"{verb} {i}")
    for i, client in enumerate(clients):
        check(f"client {i}", client.read(), [b"queue:%d" % i, b"%s %d" % (verb.encode(), i)])
        client.close()


def main():
    with Bridge("waiting", target="redis", seed=5) as b:
        b.fill(200)
        b.verb("start", "--yes")
        b.wait_ready()
        changed(b, "cutover", "target")
        changed(b, "rollback", "legacy")
        b.check_equal()


main()

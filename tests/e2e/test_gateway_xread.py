#!/usr/bin/python3
"""XREAD with `$` that waits through a change of the primary side goes on where it began to wait (C17, C27).

Two gateways are told by a state of this test's own. Between hold and release an entry is added at the new primary side, as a client
of a gateway that was released earlier would: who waits must get it, with the old side's ids, on keys that are there and that are not.
"""
import sys
import time

from gwtest import check, wait_for
from test_gateway_barrier import Two

STREAMS = ("there", "gone", "empty")


def waiting(b, count):
    wait_for("all wait", lambda: b.direct(b.state.primary).info("clients")["blocked_clients"] == count)


def hold_and_release(b, barrier, side, meanwhile):
    state = b.state
    state.all("PREPARE", barrier, side)
    state.reports("PREPARED", barrier)
    state.all("HOLD", barrier, state.epoch)
    held = state.reports("HELD", barrier)
    wait_for("drained", lambda: not b.direct(side).exists("not there") and same_offset(b, side))
    b.direct(side).execute_command("REPLICAOF", "NO", "ONE")
    meanwhile(b.direct(side))
    state.epoch, state.primary = state.epoch + 1, side
    state.all("RELEASE", barrier, state.epoch, side)
    state.reports("RELEASED", barrier)
    return sum(h["blocked"] for h in held)


def same_offset(b, side):
    old = "legacy" if side == "target" else "target"
    return b.direct(side).info("replication").get("slave_repl_offset", 0) >= b.direct(old).info("replication")["master_repl_offset"]


def test_an_entry_behind_the_release_is_not_missed(b):
    legacy = b.direct("legacy")
    legacy.xadd("there", {"old": 1}, id="5-1")
    legacy.xadd("empty", {"old": 1}, id="7-1")
    legacy.xdel("empty", "7-1")
    clients = []
    for n, version in enumerate(("2", "3", "2")):
        c = b.raw()
        c.call("HELLO", version)
        c.send("XREAD", "BLOCK", "60000", "COUNT", "9", "STREAMS", *STREAMS, "$", "$", "5-5" if n == 2 else "$")
        clients.append(c)
    waiting(b, 3)

    def meanwhile(new):
        for name in STREAMS:
            new.xadd(name, {"new": name}, id="9-9")
    check("blocked", hold_and_release(b, "one", "target", meanwhile), 3)
    for c in clients:
        got = c.read()
        streams = list(got) if not isinstance(got, dict) else [[k, v] for k, v in got.items()]
        check("all entries", [[bytes(s[0]), [e[0] for e in s[1]]] for s in streams], [[name.encode(), [b"9-9"]] for name in STREAMS])
    c = clients[0]
    c.send("XREAD", "BLOCK", "60000", "STREAMS", "there", "$")  # and without a change as ever
    waiting(b, 1)
    b.direct("target").xadd("there", {"last": 1}, id="10-1")
    check("woken", c.read()[0][1][0][0], b"10-1")
    check("odd", str(c.call("XREAD", "BLOCK", "10", "STREAMS", "there")).startswith("ERR Unbalanced"), True)


def main():
    with Two() as b:
        test_an_entry_behind_the_release_is_not_missed(b)


if __name__ == "__main__":
    sys.exit(main())

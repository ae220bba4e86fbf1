#!/usr/bin/python3
"""Who waits for a stream: XREADGROUP gets an error at once when its stream or its group goes away, in whatever way; XREAD waits on."""
import time

from test_types_differential import OURS, Server, Wire

GONE = {
    "DEL": [["DEL", "s"]], "UNLINK": [["UNLINK", "s"]], "SET": [["SET", "s", "x"]], "RENAME": [["RENAME", "s", "t"]],
    "RENAME over": [["SET", "t", "x"], ["RENAME", "t", "s"]], "FLUSHALL": [["FLUSHALL"]], "FLUSHDB": [["FLUSHDB", "ASYNC"]],
    "SWAPDB": [["SWAPDB", "0", "1"]], "MOVE": [["MOVE", "s", "2"]], "EXPIRE": [["PEXPIRE", "s", "-1"]],
    "expiry": [["PEXPIRE", "s", "30"]], "RESTORE": [["RESTORE", "s", "0", "payload", "REPLACE"]],
    "MULTI": [["MULTI"], ["DEL", "s"], ["SADD", "s", "x"], ["EXEC"]], "XGROUP DESTROY": [["XGROUP", "DESTROY", "s", "g"]],
    "SUNIONSTORE": [["SADD", "t", "x"], ["SUNIONSTORE", "s", "t"]],
}


def wait_blocked(wire, count):
    until = time.monotonic() + 180
    while b"blocked_clients:%d\r" % count not in wire.ask("INFO", "clients")[1]:
        if time.monotonic() > until:
            raise SystemExit(f"there are not {count} blocked clients")
        time.sleep(0.005)


def check(name, got, wanted):
    if got != wanted:
        raise SystemExit(f"{name}: {got}, not {wanted}")


def goes_away(server, name, commands):
    wire = server.wire
    wire.ask("FLUSHALL")
    wire.ask("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    wire.ask("SET", "other", "x")
    payload = wire.ask("DUMP", "other")[1]
    member, reader = Wire(server.port), Wire(server.port)
    member.send(["XREADGROUP", "GROUP", "g", "anna", "BLOCK", "0", "STREAMS", "s", ">"])
    reader.send(["XREAD", "BLOCK", "0", "STREAMS", "s", "$"])
    wait_blocked(wire, 2)
    for command in commands:
        wire.ask(*[payload if word == "payload" else word for word in command])
    error = b"NOGROUP the consumer group this client was blocked on no longer exists" if name == "XGROUP DESTROY" \
        else b"UNBLOCKED the stream key no longer exists"
    check(name, member.read(), (b"-", error))
    wait_blocked(wire, 1)
    wire.ask("DEL", "s")
    entry = wire.ask("XADD", "s", "9-9" if name != "XGROUP DESTROY" else "*", "f", "v")[1]
    got = reader.read()
    check(name + ", XREAD", got[1][0][1][1][1][0][1][0], (b"$", entry))
    member.close()
    reader.close()
    wait_blocked(wire, 0)


def in_order(server):
    """One entry goes to the member that has waited longest; NOACK leaves nothing pending; a second stream wakes as well."""
    wire = server.wire
    wire.ask("FLUSHALL")
    for stream in ("s", "t"):
        wire.ask("XGROUP", "CREATE", stream, "g", "$", "MKSTREAM")
    members = [Wire(server.port) for _ in range(3)]
    for n, member in enumerate(members):
        member.send(["XREADGROUP", "GROUP", "g", f"m{n}", "BLOCK", "0"] + ["NOACK"] * (n == 1) + ["STREAMS", "s", "t", ">", ">"])
        wait_blocked(wire, n + 1)
    for n, stream in enumerate(("s", "t", "s")):
        entry = wire.ask("XADD", stream, "*", "n", str(n))[1]
        got = members[n].read()[1][0][1]
        check(f"member {n}", (got[0][1], got[1][1][0][1][0][1]), (stream.encode(), entry))
    check("pending of s", wire.ask("XPENDING", "s", "g")[1][0], (b":", b"2"))
    check("pending of t", wire.ask("XPENDING", "t", "g")[1][0], (b":", b"0"))
    for member in members:
        member.close()


def main():
    server = Server([OURS, "server"])
    try:
        for name, commands in GONE.items():
            goes_away(server, name, commands)
        in_order(server)
        print(f"{len(GONE)} ways for a stream to go")
    finally:
        server.stop()


main()

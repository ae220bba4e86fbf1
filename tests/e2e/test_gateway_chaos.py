#!/usr/bin/python3
"""Clients that send anything in any order, while connections are killed, the server dies and barriers pass: the gateway lives.

Random, from a printed seed. In the end it serves, knows of no client that is gone, and ends in order.
"""
import random
import socket
import sys
import time

from gwtest import Bench, check, wait_for
from resp import encode
import seeds

WORDS = """SET GET k MULTI EXEC DISCARD WATCH SELECT 3 0 99 SUBSCRIBE PSUBSCRIBE ch HELLO 2 RESET PING CLIENT REPLY OFF ON SKIP LIST
ID KILL TRACKING BLPOP q 0.05 RPUSH EVAL EVALSHA SCRIPT LOAD KEYS * SCAN DBSIZE MONITOR WAIT INFO AUTH XREAD BLOCK 10 STREAMS s $
PAUSE 20 UNBLOCK GETNAME SETNAME NOSUCH DRAWBRIDGE COMMAND TYPE normal SSUBSCRIBE PUBLISH SETINFO LIB-NAME""".split()
WHOLE = [line.split() for line in """SET k v;GET k;INCR n;MULTI;EXEC;DISCARD;WATCH k;UNWATCH;SELECT 3;SELECT 0;SELECT 99;SUBSCRIBE ch c2
UNSUBSCRIBE;PSUBSCRIBE c*;PUNSUBSCRIBE;SSUBSCRIBE x;HELLO 3;HELLO 2;RESET;PING;CLIENT REPLY SKIP;CLIENT REPLY OFF;CLIENT REPLY ON
CLIENT LIST;CLIENT KILL TYPE pubsub;CLIENT TRACKING ON;CLIENT TRACKING OFF;BLPOP q 0.02;RPUSH q 1;EVAL return_1 0;SCRIPT FLUSH
EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0;KEYS *;SCAN 0;DBSIZE;RANDOMKEY;MONITOR;WAIT 0 10;QUIT;XREAD BLOCK 10 STREAMS s $
PUBLISH ch m;CLIENT PAUSE 20;FLUSHALL;CLIENT KILL ID 5;CLIENT UNBLOCK 7""".replace("\n", ";").split(";")]


def request(words):
    return encode(*(word.replace("return_1", "return 1") for word in words))


def some_bytes(rng):
    data = b""
    for _ in range(rng.randrange(1, 8)):
        kind = rng.random()
        if kind < 0.8:
            data += request(rng.choice(WHOLE))
        elif kind < 0.97:
            data += request([rng.choice(WORDS) for _ in range(rng.randrange(1, 5))])
        else:
            data += bytes(rng.choice(b'*$\r\n0123 abc"\x00\xff') for _ in range(rng.randrange(1, 20)))
    return data if rng.random() < 0.9 else data[:rng.randrange(len(data) + 1)]


def exchange(sock, data):
    """Send and read what is there; false when the connection has ended."""
    try:
        sock.send(data)
        while sock.recv(65536):
            pass
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def disturb(b, rng, side):
    kind = rng.random()
    if kind < 0.3:
        b.direct().execute_command("CLIENT", "KILL", "TYPE", "normal")
    elif kind < 0.6:
        b.call_admin("GATEWAY", "HOLD")
        time.sleep(0.1)
        side = 1 - side
        b.call_admin("GATEWAY", "RELEASE", ("legacy", "target")[side])
    elif kind < 0.7:
        b.stop("legacy", kill=True)
        b.start_redis("legacy")
    return side


def main():
    seed = seeds.seed()
    print(f"SEED={seed}")
    rng = random.Random(seed)
    with Bench(target=True, cutover="cutover: { max_blackout: 1s }") as b:
        socks, side, rounds, until, disturbed = [], 0, 0, time.monotonic() + 8, time.monotonic()
        while time.monotonic() < until:
            if len(socks) < 40:
                socks.append(socket.create_connection(("127.0.0.1", b.port)))
                socks[-1].setblocking(False)
            sock = rng.choice(socks)
            if not exchange(sock, some_bytes(rng)) or rng.random() < 0.02:
                socks.remove(sock)
                sock.close()
            if time.monotonic() - disturbed > 0.7:
                disturbed, side = time.monotonic(), disturb(b, rng, side)
            check("the gateway lives", b.processes["gateway"].poll(), None)
            rounds += 1
        for sock in socks:
            sock.close()
        print(f"  {rounds} rounds")
        wait_for("service", lambda: b.client().ping())
        wait_for("no client is left", lambda: '"clients":0,' in b.call_admin("GATEWAY", "STATS"))
        wait_for("none blocked", lambda: b.direct().info("clients")["blocked_clients"] == 0)
        wait_for("a write", lambda: b.client().set("last", 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

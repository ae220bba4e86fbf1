#!/usr/bin/python3
"""test_restore_hostile.py [ROUNDS] -- payloads that are almost right: bytes of DUMP are changed, and what RESTORE takes is used.

Nothing that is restored may end the server, whatever commands follow. DEBUG SET-SKIP-CHECKSUM-VALIDATION lets the changed bytes
in. SEED=n repeats a run; with DRAWBRIDGE=build/san-address/drawbridge the sanitizers look on.
"""
import os, random, sys, time

import seeds
from test_types_differential import Maker, OURS, Server

KINDS = {"l": "list", "h": "hash", "s": "set", "z": "zset", "x": "stream", "g": "geo", "b": "string", "p": "string"}


def spoil(rng, payload):
    spoilt = bytearray(payload)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(1, len(spoilt) - 10)
        how = rng.random()
        if how < .5:
            spoilt[at] = rng.choice([0, 1, 2, 3, 0x40, 0x7f, 0x80, 0xff, rng.randrange(256)])
        elif how < .8:
            spoilt[at] ^= 1 << rng.randrange(8)
        elif how < .9 and len(spoilt) > 20:
            del spoilt[at]
        else:
            spoilt.insert(at, rng.randrange(256))
    return bytes(spoilt)


def only_key(command, key):
    """COMMAND with all keys of its kind replaced by KEY; None if it cannot be used here."""
    if str(command[0]) in ("CONFIG", "MULTI", "EXEC") or str(command[0]).startswith("B") and "." in str(command):
        return None
    return [key if isinstance(w, str) and len(w) == 2 and w[0] == key[0] and w[1] in "0123" else w for w in command]


def use(wire, maker, kind, key, count):
    for _ in range(count):
        command = only_key(getattr(maker, KINDS[kind])(), key)
        if command:
            wire.ask(*command)


def one_round(server, maker, rng, kind):
    wire, key, taken = server.wire, kind + "0", 0
    wire.ask("FLUSHALL")
    wire.ask("CONFIG", "SET", "stream-node-max-entries", rng.choice(["3", "10", "100"]))
    maker.wide = rng.choice([5, 60])
    use(wire, maker, kind, key, rng.choice([10, 60, 200]))
    payload = wire.ask("DUMP", key)[1]
    if payload is None:
        return 0, 0
    for _ in range(60):
        if wire.ask("RESTORE", key, "0", spoil(rng, payload), "REPLACE")[0] != b"+":
            continue
        taken += 1
        use(wire, maker, kind, key, 8)
        for command in (["DUMP", key], ["COPY", key, "copy", "REPLACE"], ["OBJECT", "ENCODING", key], ["DEBUG", "DIGEST-VALUE", key], ["TYPE", key],
                        ["SORT", key, "ALPHA"], ["XTRIM", key, "MAXLEN", "3"], ["XINFO", "STREAM", key, "FULL"], ["MEMORY", "USAGE", key, "SAMPLES", "0"]):
            wire.ask(*command)
    return 60, taken


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 24
    seed = seeds.seed()
    print(f"seed {seed} (repeat with SEED={seed})")
    rng = random.Random(seed)
    maker, server = Maker(rng), Server([OURS, "server"])
    total = taken = 0
    try:
        server.wire.ask("DEBUG", "SET-SKIP-CHECKSUM-VALIDATION", "1")
        for n in range(rounds):
            more = one_round(server, maker, rng, list(KINDS)[n % len(KINDS)])
            total, taken = total + more[0], taken + more[1]
    except (ConnectionError, OSError) as error:
        time.sleep(0.5)
        with open(os.path.join(server.dir, "log"), errors="replace") as log:
            print(log.read()[-4000:])
        raise SystemExit(f"{error}; the server's exit code: {server.process.poll()}")
    finally:
        server.stop()
    if not taken:
        raise SystemExit("no changed payload was taken: this tests nothing")
    print(f"{total} payloads, {taken} taken, the server lives")


if __name__ == "__main__":
    main()

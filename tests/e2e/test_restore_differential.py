#!/usr/bin/python3
"""test_restore_differential.py [PAYLOADS] -- what RESTORE takes and refuses, beside redis-server 7.0.15 with sanitize-dump-payload yes.

Payloads of DUMP from both servers, of every type and encoding: whole (both must take them and end up equal), cut short, and with
bytes changed under a right checksum (DEBUG SET-SKIP-CHECKSUM-VALIDATION). A changed payload that both take must give the same
value (DEBUG DIGEST-VALUE); one that only one takes must be explained by a row of EXPLAINED. SEED=n repeats a run.
"""
import os, random, sys, time

from test_restore_hostile import spoil
from test_types_differential import OURS, THEIRS, Server

KINDS = 16


def make(kind, key, rng):
    """Commands that make a value of a KIND under KEY."""
    few, many, word = rng.randint(1, 8), rng.randint(130, 200), lambda: rng.choice(["a", "bb", "17", "-3", "70000", "x" * rng.randint(1, 90), str(rng.random())])
    entry = lambda n: ["XADD", key, f"{n + 1}-{rng.randrange(3)}"] + (["field", word()] if rng.random() < .6 else [word(), word(), "z", word()])
    return [
        lambda: [["SET", key, rng.choice(["12", "-70000", "4000000000", "99999999999", "word"])]], lambda: [["SET", key, "abcabc" * many]],
        lambda: [["RPUSH", key] + [word() for _ in range(few)]], lambda: [["RPUSH", key] + ["e" * 90 for _ in range(many)]],
        lambda: [["SADD", key] + list(range(few))], lambda: [["SADD", key] + [rng.randint(-1 << 40, 1 << 40) for _ in range(few)]],
        lambda: [["SADD", key] + [f"m{n}" for n in range(many)]], lambda: [["HSET", key] + [w for n in range(few) for w in (f"f{n}", word())]],
        lambda: [["HSET", key] + [w for n in range(many * 4) for w in (n, n)]], lambda: [["ZADD", key] + [w for n in range(few) for w in (rng.choice([n, n + .5, "inf", "-inf", 1e17]), f"m{n}")]],
        lambda: [["ZADD", key] + [w for n in range(many) for w in (n / 3, f"m{n}")]], lambda: [entry(n) for n in range(few)],
        lambda: [entry(n) for n in range(few)] + [["XDEL", key, "1-0", "1-1", "2-0"], ["XGROUP", "CREATE", key, "g", "0"], ["XREADGROUP", "GROUP", "g", "anna", "COUNT", "3", "STREAMS", key, ">"],
                                                  ["XGROUP", "CREATECONSUMER", key, "g", "bert"], ["XGROUP", "CREATE", key, "h", "2-0"]],
        lambda: [entry(n) for n in range(120)], lambda: [["PFADD", key] + [word() for _ in range(few)]],
        lambda: [["RPUSH", key] + [word() for _ in range(few)] + ["B" * 9000]],
    ][kind]()


def bytes_behind(servers, payload):
    """Redis does not look at what follows the value; we refuse it. Without it we take the payload too, to the same value."""
    body, foot = payload[:-10], payload[-10:]
    for size in range(len(body) - 1, max(len(body) - 4000, 0), -1):
        if take(servers[0].wire.ask("RESTORE", "k", "0", body[:size] + foot, "REPLACE")):
            digests = ask_both(servers, "DEBUG", "DIGEST-VALUE", "k")
            return digests[0] == digests[1]
    return False


def runs_into_foot(servers, payload):
    """Redis reads on into the version and the checksum when the value is too short; so do we when they stand there twice."""
    body, foot = payload[:-10], payload[-10:]
    for size in range(1, 11):
        if take(servers[0].wire.ask("RESTORE", "k", "0", body + foot[:size] + foot, "REPLACE")):
            return True
    return False


def number(id):
    return tuple(int(part) for part in id.split(b"-"))


def broken_stream(servers, payload):
    """Redis does not compare a stream's numbers with its entries: read them there."""
    if payload[0] not in (15, 19):
        return False
    wire = servers[1].wire
    full = wire.ask("XINFO", "STREAM", "k", "FULL", "COUNT", "0")[1]
    said = {full[n][1]: full[n + 1][1] for n in range(0, len(full), 2)}
    wire.send(["XRANGE", "k", "-", "+"])
    ids = [number(entry[1][0][1]) for entry in wire.read()[1]]
    first = number(said[b"recorded-first-entry-id"])
    return (ids != sorted(set(ids)) or len(ids) != int(said[b"length"]) or bool(ids) and number(said[b"last-generated-id"]) < ids[-1]
            or first != (ids[0] if ids else (0, 0)) or int(said[b"entries-added"]) < len(ids))


def is_zset(servers, payload):
    return payload[0] in (12, 17)


def is_stream(servers, payload):
    return payload[0] in (15, 19)


def has_special_count(servers, payload):
    container = payload[0] == 18 and (b"\xc1" in payload[2:-10] or b"\xc2" in payload[2:-10])  # of a node of a list
    return payload[0] != 0 and (payload[1] >= 0xc0 or container)


def has_packed(servers, payload):
    return b"\xc3" in payload


# Why only one of both took the payload: (who took it, test, reason).
EXPLAINED = [("theirs", bytes_behind, "bytes behind the value"), ("theirs", runs_into_foot, "reads its own checksum as part of the value"),
             ("theirs", broken_stream, "a stream whose length, first or last id do not fit its entries"),
             ("theirs", has_special_count, "a count that is marked as a packed string, which Redis reads as a number"),
             ("theirs", is_zset, "a packed sorted set with a score that is no number, or not in order"),
             ("theirs", is_stream, "a stream whose listpacks do not count right, or whose group points to nothing"),
             ("theirs", has_packed, "a packed string that unpacks to less than it says (Redis leaves the rest uninitialised)")]


def explanation(servers, payload, taker):
    for who, test, why in EXPLAINED:
        if who == taker and test(servers, payload):
            return why
    return None


def ask_both(servers, *command):
    for server in servers:
        server.wire.send(command)
    return [server.wire.read() for server in servers]


def take(reply):
    return reply[0] == b"+"


def compare(servers, kind, payload, what, tally):
    ours, theirs = ask_both(servers, "RESTORE", "k", "0", payload, "REPLACE")
    tally["both" if take(ours) and take(theirs) else "ours" if take(ours) else "theirs" if take(theirs) else "none"] += 1
    if take(ours) != take(theirs):
        why = explanation(servers, payload, "ours" if take(ours) else "theirs")
        if why is None:
            return f"{what} kind {kind} {payload!r}\n  ours: {ours}\n  redis: {theirs}"
        tally[why] = tally.get(why, 0) + 1
    elif take(ours):
        digests = ask_both(servers, "DEBUG", "DIGEST-VALUE", "k")
        if digests[0] != digests[1]:
            return f"{what} kind {kind} {payload!r}: both took it and have different values"
    elif ours != theirs and what != "spoilt":
        return f"{what} kind {kind} {payload!r}\n  ours: {ours}\n  redis: {theirs}"
    return None


def payloads(servers, rng):
    """(what, payload) of one value: as each server dumps it, cut short, and spoilt."""
    kind, source = rng.randrange(KINDS), rng.choice(servers)
    source.wire.ask("DEL", "from")
    for command in make(kind, "from", rng):
        source.wire.ask(*command)
    dumped = source.wire.ask("DUMP", "from")[1]
    yield kind, "whole", dumped
    yield kind, "cut", dumped[:rng.randrange(len(dumped))]
    for _ in range(40):
        yield kind, "spoilt", spoil(rng, dumped)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 15000
    # `make test` asks the same every time, a long run something new.
    seed = int(os.environ.get("SEED") or (random.randrange(1 << 32) if len(sys.argv) > 1 else 20261121))
    print(f"seed {seed} (repeat with SEED={seed})", flush=True)
    rng, began = random.Random(seed), time.time()
    servers = [Server([OURS, "server"]), Server([THEIRS, "--sanitize-dump-payload", "yes"])]
    tally, found, sent, skipping, payload = {"both": 0, "ours": 0, "theirs": 0, "none": 0}, [], 0, None, b""
    try:
        while sent < count and len(found) < int(os.environ.get("MOST", "10")):
            for kind, what, payload in payloads(servers, rng):
                if skipping != (what == "spoilt"):
                    skipping = what == "spoilt"
                    ask_both(servers, "DEBUG", "SET-SKIP-CHECKSUM-VALIDATION", int(skipping))
                different = compare(servers, kind, payload, what, tally)
                sent += 1
                if different:
                    print(different[:6000], flush=True)
                    found.append(different)
                elif what == "whole" and not tally["both"]:
                    found.append("a whole payload was refused")
    except (ConnectionError, OSError) as error:
        raise SystemExit(f"{error} after {payload!r}; our exit code {servers[0].process.poll()}, theirs {servers[1].process.poll()}")
    finally:
        for server in servers:
            server.stop()
    print(f"{sent} payloads in {time.time() - began:.0f} s: {tally}; {len(found)} unexplained")
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()

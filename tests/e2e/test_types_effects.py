#!/usr/bin/python3
"""test_types_effects.py [SECONDS] -- what commands on all types and SORT did arrives at a redis-server.

A real redis-server 7.0.15 is a replica of ours while random commands run there, random and blocking ones too (SPOP,
BLPOP, BLMOVE ...), some by a client that waits. In the end both hold the same values. SEED=n repeats a run.
"""
import random, sys, time

import seeds
from test_types_differential import Maker, OURS, Server, THEIRS, Wire, state


def more_random(maker, rng):
    return [["SPOP", maker.key("s")], ["SPOP", maker.key("s"), str(rng.randrange(1, 30))],
            ["HINCRBYFLOAT", maker.key("h"), "f", rng.choice(["0.1", "1e-5", "3"])]]


WAITING = [["BLPOP", "wait1", "wait2", "5"], ["BRPOP", "wait1", "5"], ["BLMOVE", "wait1", "l0", "LEFT", "RIGHT", "5"],
           ["BRPOPLPUSH", "wait2", "l1", "5"], ["BLMPOP", "5", "2", "wait1", "wait2", "LEFT", "COUNT", "3"],
           ["BZPOPMIN", "wait1", "5"], ["BZPOPMAX", "wait2", "5"], ["BZMPOP", "5", "1", "wait1", "MAX", "COUNT", "2"],
           ["XREAD", "BLOCK", "5000", "STREAMS", "wait2", "wait1", "$", "$"],
           ["XREADGROUP", "GROUP", "g", "anna", "BLOCK", "5000", "STREAMS", "wait1", ">"],
           ["XREADGROUP", "GROUP", "g", "bert", "NOACK", "BLOCK", "5000", "STREAMS", "wait1", ">"]]


def serve_waiting(ours, rng):
    """Clients wait; one command gives them something; each gets an answer at once, and no other than the first come."""
    first, second = Wire(ours.port), Wire(ours.port)
    command = rng.choice(WAITING)
    key = next(w for w in command if w.startswith("wait"))
    ours.wire.ask("DEL", "wait1", "wait2", "l0", "l1")
    if command[0].startswith("X"):
        for stream in ("wait1", "wait2"):
            ours.wire.ask("XGROUP", "CREATE", stream, "g", "$", "MKSTREAM")
    for waiting in (first, second):
        waiting.send(["CLIENT", "SETNAME", "waiting"], command)
        waiting.read()
        want = b"blocked_clients:%d" % (1 if waiting is first else 2)
        while want not in ours.wire.ask("INFO", "clients")[1]:
            time.sleep(0.005)
    give = ["ZADD", key, "1", "a", "2", "b", "3", "c"] if command[0].startswith("BZ") else ["XADD", key, "*", "f", "v"] if command[0][0] == "X" else ["RPUSH", key, "a"]
    ours.wire.ask(*give)
    answer = first.read()
    if answer[1] is None:
        raise SystemExit(f"{command}: the first client got nothing")
    for waiting in (first, second):
        waiting.close()
    while b"blocked_clients:0" not in ours.wire.ask("INFO", "clients")[1]:
        time.sleep(0.005)


def level(ours, theirs):
    for _ in range(7200):
        infos = [s.wire.ask("INFO", "replication")[1].decode() for s in (ours, theirs)]
        offsets = [next((l for l in i.splitlines() if l.startswith("master_repl_offset")), "") for i in infos]
        if "master_link_status:up" in infos[1] and offsets[0] == offsets[1]:
            return
        time.sleep(0.025)
    raise SystemExit("the replica does not get level")


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 0
    seed = seeds.seed()
    print(f"seed {seed} (repeat with SEED={seed})")
    rng = random.Random(seed)
    maker = Maker(rng)
    ours, theirs = Server([OURS, "server"]), Server([THEIRS])
    try:
        theirs.wire.ask("REPLICAOF", "127.0.0.1", ours.port)
        level(ours, theirs)
        ours.wire.ask("SET", "str", "x")
        deadline, total = time.time() + seconds, 0
        while True:
            for _ in range(40):
                batch = [maker.command() for _ in range(50)] + more_random(maker, rng)
                batch = [c for c in batch if c[0] not in ("MULTI", "EXEC", "CONFIG")]
                if rng.random() < 0.3:
                    batch = [["MULTI"]] + batch + [["EXEC"]]
                ours.wire.send(*batch)
                for _ in batch:
                    ours.wire.read()
                total += len(batch)
                if rng.random() < 0.2:
                    serve_waiting(ours, rng)
            level(ours, theirs)
            states = [state(s.wire, False, False) for s in (ours, theirs)]
            for key in sorted(set(states[0]) | set(states[1])):
                mine, other = states[0].get(key), states[1].get(key)
                if (mine and (mine[0], mine[2:])) != (other and (other[0], other[2:])):
                    print(f"{key} differs:\n  ours:    {str(mine)[:600]}\n  replica: {str(other)[:600]}")
                    raise SystemExit(1)
            if time.time() >= deadline:
                break
        print(f"{total} commands, the replica holds the same")
    finally:
        ours.stop()
        theirs.stop()


if __name__ == "__main__":
    main()

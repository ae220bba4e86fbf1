#!/usr/bin/python3
"""An AOF cut at every byte of its last second of writing loads with exactly the blocks that are whole before the cut, and an RDB
cut at every byte is refused, named, with a way out; test_power_loss.py tells which cuts a power cut can leave behind.

The server loads each by DEBUG LOADAOF and DEBUG RELOAD, as at a start; some are started from, too. Plain commands and MULTI blocks,
all types; bases in both formats. SEED repeats a run; `--long` writes ten times as much.
"""
import os
import random
import sys
import time

import redis
from servers import Folder, Ours, run_tests

BLOCKS = 250 if "--long" in sys.argv else 25
STARTS = 3


def block(r, rng, number):
    """One block, whole or not at all in the file; it never changes nothing."""
    pipe = r.pipeline(rng.random() < 0.5)
    pick = rng.randrange(6)
    words = (("SET", f"s{rng.randrange(9)}", f"{number}\r\n" + "x" * rng.randrange(40)), ("RPUSH", f"l{rng.randrange(3)}", number),
             ("HSET", f"h{rng.randrange(3)}", number, "v"), ("ZADD", f"z{rng.randrange(3)}", number / 3, f"m{number}"),
             ("XADD", f"x{rng.randrange(3)}", f"{number + 1}-1", "f", number), ("SET", f"e{number}", number, "PXAT", 4_000_000_000_000))[pick]
    pipe.execute_command(*words)
    if pipe.explicit_transaction or pipe.transaction:
        pipe.execute_command("INCR", "count")
        pipe.execute_command("SADD", "blocks", number)
    pipe.execute()


def digest(r):
    return r.execute_command("DEBUG", "DIGEST")


def put(path, content):
    """In place: the server has the file open."""
    with open(path, "r+b") as file:
        file.write(content)
        file.truncate(len(content))


def every_byte_of_an_aof(preamble):
    with Folder(f"every-byte-preamble-{preamble}") as folder:
        rng = random.Random(folder.seed)
        ours = Ours(folder, "ours", "--appendonly", "yes", "--appendfsync", "always", "--aof-use-rdb-preamble", preamble,
                    "--auto-aof-rewrite-percentage", "0")
        r = ours.client()
        for number in range(20):
            block(r, rng, number)
        r.execute_command("BGREWRITEAOF")
        while r.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(0.01)
        path = os.path.join(ours.dir, "appendonlydir", "appendonly.aof.2.incr.aof")
        states = [(os.path.getsize(path), digest(r))]
        for number in range(20, 20 + BLOCKS):
            block(r, rng, number)
            states.append((os.path.getsize(path), digest(r)))  # written before it was answered
        with open(path, "rb") as file:
            whole = file.read()
        assert states[-1][0] == len(whole) and len({size for size, _ in states}) == len(states)
        for cut in range(states[0][0], len(whole) + 1):
            put(path, whole[:cut])
            r.execute_command("DEBUG", "LOADAOF")
            size, want = [state for state in states if state[0] <= cut][-1]
            assert digest(r) == want, f"cut at {cut} of {len(whole)}: not the state at {size}"
            assert size <= os.path.getsize(path) <= cut, f"cut at {cut}: {os.path.getsize(path)} bytes are kept, {size} are whole"
        ours.kill()
        for _ in range(STARTS):
            cut = rng.randrange(states[0][0], len(whole))
            put(path, whole[:cut])
            ours.start()
            assert digest(ours.client()) == [state for state in states if state[0] <= cut][-1][1], f"started from a cut at {cut}"
            ours.kill()
        print(f"    {len(whole) - states[0][0]} cuts", flush=True)


def test_an_aof_with_a_base_in_rdb():
    every_byte_of_an_aof("yes")


def test_an_aof_with_a_base_in_commands():
    every_byte_of_an_aof("no")


def test_an_rdb():
    """It never stands half written under its own name; a disk may still lose its end."""
    with Folder("every-byte-rdb") as folder:
        rng = random.Random(folder.seed)
        ours = Ours(folder, "ours")
        r = ours.client()
        for number in range(BLOCKS + 20):
            block(r, rng, number)
        before = digest(r)
        assert r.save()
        path = os.path.join(ours.dir, "dump.rdb")
        with open(path, "rb") as file:
            whole = file.read()
        for cut in range(len(whole)):
            put(path, whole[:cut])
            try:
                r.execute_command("DEBUG", "RELOAD", "NOSAVE")
                raise AssertionError(f"cut at {cut} of {len(whole)} it was taken")
            except redis.ResponseError as error:
                assert "Error trying to load the RDB dump" in str(error), error
        put(path, whole)
        r.execute_command("DEBUG", "RELOAD", "NOSAVE")
        assert digest(r) == before
        ours.kill()
        for cut in (0, 5, rng.randrange(9, len(whole)), len(whole) - 1):
            put(path, whole[:cut])
            ours.start(wait=False)
            assert ours.process.wait(180) == 1 and ours.said("dump.rdb: ") and ours.said("move it away"), f"cut at {cut}"
            os.rename(ours.log, f"{ours.log}.{cut}")
        os.rename(path, path + ".away")
        ours.start()
        assert ours.client().dbsize() == 0
        print(f"    {len(whole)} cuts", flush=True)


if __name__ == "__main__":
    sys.argv = [word for word in sys.argv if word != "--long"]
    run_tests(sys.modules[__name__])

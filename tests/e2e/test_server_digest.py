#!/usr/bin/python3
"""DRAWBRIDGE DIGEST says what our reader says of the RDB: by key, slot and database, while writes go on, at a replica, and of
a redis-server's data. An RDB of some slots holds their keys and no others."""
import binascii
import collections
import os
import random
import socket
import subprocess
import sys
import threading

from servers import TOP, Folder, Load, Ours, RedisServer, free_port, wait_until

WALK = os.path.join(os.environ.get("BUILD", os.path.join(TOP, "build")), "tests", "tools", "rdbwalk")
MODULO = 1 << 128


def slot_of(key):
    tag = key
    begin = key.find(b"{")
    if begin >= 0:
        end = key.find(b"}", begin)
        if end > begin + 1:
            tag = key[begin + 1:end]
    return binascii.crc_hqx(tag, 0) % 16384


def walk(path):
    """{(db, key): digest}"""
    lines = subprocess.run([WALK, "--digest", path], check=True, capture_output=True, text=True).stdout.splitlines()
    return {(int(db), bytes.fromhex(key)): digest for db, key, digest in (line.split(" ") for line in lines)}


def totals(keys, name):
    sums = collections.defaultdict(lambda: [0, 0])
    for (db, key), digest in keys.items():
        at = name(db, key)
        sums[at][0] += 1
        sums[at][1] = (sums[at][1] + int(digest, 16)) % MODULO
    return [[at, count, "%032x" % total] for at, (count, total) in sorted(sums.items())]


def ask(client, *words):
    return client.execute_command("DRAWBRIDGE", "DIGEST", *words)


def told(reply):
    return [[at, count, digest.decode()] for at, count, digest in reply]


def fill(client, r, count):
    with client.pipeline(transaction=False) as p:
        for i in range(count):
            p.set(f"s{i}", r.randbytes(r.randrange(200)), px=r.choice([None, 3_600_000 + i]))
            p.hset(f"h{{tag{i % 9}}}", mapping={f"f{j}": i for j in range(r.randrange(1, 9))})
            p.zadd(f"z{i % 40}", {f"m{i}": i / 3})
            p.sadd(f"t{i % 20}", i, f"m{i}")
            p.rpush(f"l{i % 10}", r.randbytes(30))
            p.xadd(f"x{i % 5}", {"f": i})
        p.xgroup_create("x1", "group", "0")
        p.xreadgroup("group", "consumer", {"x1": ">"}, count=5)
        p.execute()


def check(server, client, r, dbs):
    client.save()
    keys = walk(os.path.join(server.dir, "dump.rdb"))
    assert len(keys) > 300
    assert told(ask(client, "DB")) == totals(keys, lambda db, key: db)
    by_slot = totals(keys, lambda db, key: slot_of(key))
    assert told(ask(client, "SLOT")) == by_slot
    some = r.sample(by_slot, 5)
    empty = next(slot for slot in range(16384) if slot not in [row[0] for row in by_slot])
    want = sorted(some + [[empty, 0, "0" * 32]])
    assert told(ask(client, "SLOT", *(row[0] for row in want))) == want
    for db in dbs:
        rows = [row for row in totals(keys, lambda db, key: db) if row[0] == db]
        assert told(ask(client, "DB", db)) == (rows or [[db, 0, "0" * 32]]), db
    for (db, key), digest in r.sample(sorted(keys.items()), 40):
        assert server.client(db=db).execute_command("DRAWBRIDGE", "DIGEST", "KEY", key, "no such key") == [digest.encode(), None], key
    return keys


def rdb_of_slots(server, ranges, path):
    """What PSYNC gives with these slots alone."""
    with socket.create_connection(("127.0.0.1", server.port), 30) as s:
        file = s.makefile("rb")
        for words in (b"REPLCONF rdb-only 1", b"REPLCONF capa eof", b"REPLCONF rdb-filter-slots " + ranges.encode()):
            s.sendall(words + b"\r\n")
            assert file.readline() == b"+OK\r\n", words
        s.sendall(b"PSYNC ? -1\r\n")
        assert file.readline().startswith(b"+FULLRESYNC")
        line = file.readline()
        while line == b"\n":
            line = file.readline()
        mark, rest = line[5:-2], file.read()
        assert line.startswith(b"$EOF:") and rest.endswith(mark), line
    with open(path, "wb") as out:
        out.write(rest[:-40])


def refuses(client, *words):
    try:
        client.execute_command(*words)
    except Exception as error:
        return str(error)
    raise AssertionError(f"{words} was not refused")


def main():
    with Folder("digest") as folder:
        r = random.Random(folder.seed)
        ours = Ours(folder, "ours")
        c = ours.client()
        fill(c, r, 500)
        fill(ours.client(db=3), r, 60)
        keys = check(ours, c, r, (0, 3, 9))

        slots = {slot_of(key) for _, key in r.sample(sorted(keys), 7)} | set(range(4000, 4500))
        text = ",".join(str(slot) for slot in slots if slot < 4000 or slot > 4499) + ",4000-4499"
        rdb_of_slots(ours, text, os.path.join(folder.path, "some.rdb"))
        some = walk(os.path.join(folder.path, "some.rdb"))
        assert some == {at: digest for at, digest in keys.items() if slot_of(at[1]) in slots} and len(some) > 6

        c.set("gone", "x", px=1)
        c.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        wait_until("the key has expired", lambda: c.pttl("gone") == -2 or c.get("gone") is None)
        for words in (("SLOT", 16384), ("SLOT", "x"), ("DB", 16), ("DB", 0, 1), ("KEY",), ("WORD", 1), ("DB", "STREAMS", "SOME")):
            refuses(c, "DRAWBRIDGE", "DIGEST", *words)
        with c.pipeline(transaction=True) as p:
            p.execute_command("DRAWBRIDGE", "DIGEST", "DB")
            assert "MULTI" in str(p.execute(raise_on_error=False)[0])
        refuses(c, "REPLCONF", "rdb-filter-slots", "1-16384")

        # a replica says the same, while commands of all kinds run: each of its own moment, so compare at rest
        replica = Ours(folder, "replica", "--replicaof", "127.0.0.1", str(ours.port))
        wait_until("the replica follows", lambda: replica.info("replication")["master_link_status"] == "up")
        load = Load(ours, folder.seed, expiries=False)
        load.start()
        asked = threading.Thread(target=lambda: [ask(ours.client(), "SLOT") for _ in range(5)])
        asked.start()
        asked.join()
        load.stop()
        wait_until("the replica has everything", lambda: replica.info("replication")["slave_repl_offset"] == ours.info("replication")["master_repl_offset"])
        for words in (("DB", "STREAMS", "CARRIED"), ("SLOT", "STREAMS", "OLD")):
            assert ask(c, *words) == ask(replica.client(), *words), words

        # redis-server's data is digested alike
        redis = RedisServer(folder, "redis")
        fill(redis.client(), r, 200)
        redis.client().save()
        keys = walk(os.path.join(redis.dir, "dump.rdb"))
        follower = Ours(folder, "follower", "--replicaof", "127.0.0.1", str(redis.port))
        wait_until("the follower follows", lambda: follower.info("replication")["master_link_status"] == "up")
        assert told(ask(follower.client(), "DB")) == totals(keys, lambda db, key: db)

        cluster = Ours(folder, "cluster", "--cluster-enabled", "yes")
        cluster.client().execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        fill(cluster.client(), r, 300)
        check(cluster, cluster.client(), r, (0,))
    print("test_server_digest: fine")


if __name__ == "__main__":
    main()

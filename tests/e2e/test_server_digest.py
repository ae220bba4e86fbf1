#!/usr/bin/python3
"""DRAWBRIDGE DIGEST says what our reader says of the RDB: by key, slot and database, while writes go on, at a replica, and of
a redis-server's data. An RDB of some slots holds their keys and no others. DRAWBRIDGE AUDIT says the same of one moment while
writes go on, and tells the keys of the slots that it is asked for."""
import binascii
import collections
import os
import random
import socket
import struct
import subprocess
import sys
import threading

import redis

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


def audit(client, *words):
    return client.execute_command("DRAWBRIDGE", "AUDIT", *words)


def slots_of(client):
    """{slot: [keys, sum]} of those that have keys, when the survey is over."""
    wait_until("the survey is over", lambda: isinstance(audit(client, "SLOTS"), bytes))
    reply = audit(client, "SLOTS")
    assert len(reply) == 24 * 16384
    rows = struct.iter_unpack("<QQQ", reply)
    return {slot: [count, "%032x" % (high << 64 | low)] for slot, (count, low, high) in enumerate(rows) if count}


def keys_of(client, slots):
    """{(db, key): (slot, digest, deadline)} and the number of pages."""
    more, page = audit(client, "KEYS", *slots)
    pages, found, at = [page], {}, 0
    while more:
        more, page = audit(client, "NEXT")
        pages.append(page)
    data = b"".join(pages)
    while at < len(data):
        slot, db, _, deadline, low, high, size = struct.unpack_from("<HIBqQQI", data, at)
        key = db, data[at + 35:at + 35 + size]
        assert key not in found
        found[key] = slot, "%032x" % (high << 64 | low), deadline
        at += 35 + size
    return found, len(pages)


def check_audit(folder, r):
    ours = Ours(folder, "audited", "--repl-ping-replica-period", "3600")  # it and its replica are asked at one offset
    c = ours.client()
    fill(c, r, 300)
    with c.pipeline(transaction=False) as p:
        for i in range(20000):  # more than a page, and a file
            p.set(f"many:{i}", i)
        p.set("leave:1", "x")
        p.set("k" * 400_000, "a key that is longer than a block of the file")
        p.set("late", "there still", pxat=4102444800000)
        p.execute()
    c.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    for i in range(50):
        c.set(f"due:{i}", "x", px=1)  # they are not left out: who compares decides that
    c.save()
    want = {at: digest for at, digest in walk(os.path.join(ours.dir, "dump.rdb")).items() if not at[1].startswith(b"leave:")}
    auditor = ours.client()
    refuses(auditor, "DRAWBRIDGE", "AUDIT", "SLOTS")
    replid, offset = audit(auditor, "BEGIN", "WITHOUT", "leave:")
    assert replid.decode() == ours.info("replication")["master_replid"] and offset == ours.info("replication")["master_repl_offset"]
    refuses(auditor, "DRAWBRIDGE", "AUDIT", "BEGIN")
    c.flushall()  # the moment has passed
    fill(c, r, 10)
    sums = slots_of(auditor)
    assert [[slot, *row] for slot, row in sorted(sums.items())] == totals(want, lambda db, key: slot_of(key))
    some = r.sample(sorted(sums), 3)
    for slots in (some, sums, [slot for slot in range(16384) if slot not in sums][:2], [slot_of(b"late")]):
        found, pages = keys_of(auditor, slots)
        assert {at: (slot, digest) for at, (slot, digest, _) in found.items()} == {
            at: (slot_of(at[1]), digest) for at, digest in want.items() if slot_of(at[1]) in slots}
        assert (pages > 3) == (slots is sums), pages
    assert found[0, b"late"][2] == 4102444800000
    for words in (("KEYS",), ("KEYS", 16384), ("KEYS", "x"), ("NEXT", 1), ("WORD",), ("BEGIN", "WITHOUT")):
        refuses(auditor, "DRAWBRIDGE", "AUDIT", *words)
    with ours.client().pipeline(transaction=True) as p:
        p.execute_command("DRAWBRIDGE", "AUDIT", "BEGIN")
        assert "MULTI" in str(p.execute(raise_on_error=False)[0])

    # connections that go away in the middle, and at the end, leave nothing
    c.config_set("rdb-key-save-delay", 10_000_000)
    others = [ours.client() for _ in range(3)]
    for other in others:
        audit(other, "BEGIN")
    refuses(ours.client(), "DRAWBRIDGE", "AUDIT", "BEGIN")  # four are under way
    for other in (*others, auditor):
        other.connection_pool.disconnect()
    c.config_set("rdb-key-save-delay", 0)
    last = ours.client()
    begin(last)
    assert sum(row[0] for row in slots_of(last).values()) == c.dbsize()
    assert not [name for name in os.listdir(ours.dir) if name.startswith("temp-")]
    replica = Ours(folder, "audited-replica", "--replicaof", "127.0.0.1", str(ours.port))
    wait_until("the replica follows", lambda: replica.info("replication")["master_link_status"] == "up")
    load = Load(ours, folder.seed, expiries=False)
    load.start()
    for _ in range(3):  # of one moment, while commands of all kinds run
        one = ours.client()
        begin(one, "STREAMS", "CARRIED")
        sums = slots_of(one)
        found, _ = keys_of(one, sums)
        assert {slot: row[0] for slot, row in sums.items()} == collections.Counter(slot for slot, _, _ in found.values())
        one.connection_pool.disconnect()
    load.stop()
    wait_until("the replica has everything", lambda: replica.info("replication")["slave_repl_offset"] == ours.info("replication")["master_repl_offset"])
    told = []
    for server in (ours, replica):
        one = server.client()
        place = begin(one, "STREAMS", "CARRIED")
        told.append((place, slots_of(one)))
    assert told[0] == told[1] and len(told[0][1]) > 10


def begin(client, *words):
    """When those whose connections were dropped are gone."""
    reply = []

    def begun():
        try:
            reply.append(audit(client, "BEGIN", *words))
        except redis.ResponseError as error:
            assert "under way" in str(error), error
        return reply
    wait_until("an audit begins", begun)
    return reply[0]


def main():
    with Folder("digest") as folder:
        check_audit(folder, random.Random(folder.seed))
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
        stock = RedisServer(folder, "redis")
        fill(stock.client(), r, 200)
        stock.client().save()
        keys = walk(os.path.join(stock.dir, "dump.rdb"))
        follower = Ours(folder, "follower", "--replicaof", "127.0.0.1", str(stock.port))
        wait_until("the follower follows", lambda: follower.info("replication")["master_link_status"] == "up")
        assert told(ask(follower.client(), "DB")) == totals(keys, lambda db, key: db)

        cluster = Ours(folder, "cluster", "--cluster-enabled", "yes")
        cluster.client().execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        fill(cluster.client(), r, 300)
        check(cluster, cluster.client(), r, (0,))
    print("test_server_digest: fine")


if __name__ == "__main__":
    main()

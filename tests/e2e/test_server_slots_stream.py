#!/usr/bin/python3
"""A replica of some slots alone: a snapshot of them, then their part of the stream, at the offsets of the whole.

A peer written here says REPLCONF rdb-filter-slots, starts a server from the RDB that comes, and gives it what the stream brings, while
the master takes random writes in all slots, in transactions and without. In the end the slots' digests are equal, the server has
nothing else, and WAIT at the master counts the peer. Its connection breaks now and then, and it goes on where it was."""
import os
import random
import socket
import sys
import threading
import time

from servers import Folder, Ours, wait_until
from test_server_digest import ask, told

SLOTS = "0-4999,9000,9002,12000-16383"


def wanted(slot):
    return slot < 5000 or slot in (9000, 9002) or slot >= 12000


def packed(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def whole(data):
    """How many bytes of whole commands lie in front."""
    at = 0
    while at < len(data):
        end = data.find(b"\n", at)
        if end < 0:
            break
        if data[at:at + 1] != b"*":
            assert data[at:end] in (b"", b"\r"), data[at:end + 20]
            at = end + 1
            continue
        after = end + 1
        for _ in range(int(data[at + 1:end])):
            line = data.find(b"\n", after)
            if line < 0:
                return at
            after = line + 1 + int(data[after + 1:line]) + 2
        if after > len(data):
            break
        at = after
    return at


class Peer:
    def __init__(self, master, folder):
        self.master, self.target, self.folder = master, None, folder
        self.id, self.offset, self.full, self.again = b"?", -1, 0, 0
        self.stopping = threading.Event()
        self.error, self.may_be_closed = None, False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def dial(self):
        s = socket.create_connection(("127.0.0.1", self.master.port), 60)
        file = s.makefile("rb")
        for words in ((b"capa", b"eof", b"capa", b"psync2"), (b"rdb-filter-slots", SLOTS.encode())):
            s.sendall(packed(b"REPLCONF", *words))
            assert file.readline() == b"+OK\r\n", words
        s.sendall(packed(b"PSYNC", self.id, b"%d" % (self.offset + 1 if self.offset >= 0 else -1)))
        return s, file

    def full_sync(self, line, s, file):
        _, self.id, offset = line.split()
        self.offset, self.full = int(offset), self.full + 1
        line = b"\n"
        while line == b"\n":
            line = file.readline()
        mark, rdb = line[5:-2], b""
        while not rdb.endswith(mark):
            rdb += file.read1(65536)
        self.target = Ours(self.folder, "target", start=False)
        with open(os.path.join(self.target.dir, "dump.rdb"), "wb") as out:
            out.write(rdb[:-40])
        self.target.start()
        wait_until("the target has loaded", lambda: self.target.info("persistence")["loading"] == 0)
        self.out = socket.create_connection(("127.0.0.1", self.target.port))
        threading.Thread(target=self.discard, daemon=True).start()
        self.ack(s)

    def discard(self):
        while data := self.out.recv(1 << 20):
            assert b"-ERR" not in data and b"-WRONG" not in data, data

    def ack(self, s):
        s.sendall(packed(b"REPLCONF", b"ACK", b"%d" % self.offset))

    def follow(self, s, file, until):
        data = b""
        while not self.stopping.is_set() and time.time() < until:
            try:
                data += file.read1(1 << 16)
            except socket.timeout:
                break
            size = whole(data)
            self.out.sendall(data[:size])
            self.offset, data = self.offset + size, data[size:]
            self.ack(s)

    def run(self):
        r = random.Random(5)
        try:
            while not self.stopping.is_set():
                s, file = self.dial()
                line = file.readline()
                if line.startswith(b"+FULLRESYNC"):
                    self.full_sync(line, s, file)
                else:
                    assert line.startswith(b"+CONTINUE"), line
                    self.again += 1
                self.follow(s, file, time.time() + r.uniform(0.5, 1.5))
                file.close()
                s.close()
        except Exception as error:
            if not self.may_be_closed:
                self.error = error
                raise


def write(r, c):
    key = f"k{r.randrange(3000)}"
    value = r.randbytes(r.choice((3, 30, 300, 3000)))
    r.choice((lambda: c.set(key, value), lambda: c.set(key, value, px=10**7), lambda: c.append("s" + key, "x"), lambda: c.delete(key, f"k{r.randrange(3000)}", "s" + key),
              lambda: c.mset({f"k{r.randrange(3000)}": i for i in range(5)}), lambda: c.hset("h" + key, "f", value), lambda: c.rpush("l" + key, value, 1),
              lambda: c.lpop("l" + key), lambda: c.sadd("e" + key, value, 7), lambda: c.spop("e" + key), lambda: c.zincrby("z" + key, 1, "m"),
              lambda: c.incr("n" + key), lambda: c.xadd("x" + key, {"a": value}), lambda: c.unlink("h" + key, "l" + key), lambda: c.expire("z" + key, 10**6)))()


def writes(master, seed, stop):
    r = random.Random(seed)
    clients = [master.client(db=db) for db in (0, 0, 3)]
    while not stop.is_set():
        p = r.choice(clients).pipeline(transaction=r.random() < 0.3)
        for _ in range(r.randrange(1, 15)):
            write(r, p)
        p.execute()
        if r.random() < 0.002:
            clients[2].flushdb()
        time.sleep(0.001)


def digests(server):
    return [row for row in told(ask(server.client(), "SLOT", "STREAMS", "CARRIED")) if wanted(row[0])]


def main():
    with Folder("slots-stream") as folder:
        master = Ours(folder, "master")
        c = master.client()
        r = random.Random(folder.seed)
        with c.pipeline(transaction=False) as p:
            for _ in range(3000):
                write(r, p)
            p.execute()
        stop = threading.Event()
        load = threading.Thread(target=writes, args=(master, folder.seed, stop))
        load.start()
        peer = Peer(master, folder)
        try:
            wait_until("it has come back three times", lambda: peer.again >= 3 or peer.error, 180)
        finally:
            stop.set()
            load.join()
        assert peer.error is None, peer.error
        wait_until("it has all", lambda: peer.offset == master.info("replication")["master_repl_offset"])
        wait_until("WAIT counts it", lambda: c.wait(1, 2000) == 1)
        assert peer.full == 1, peer.full
        wait_until("it has run all", lambda: digests(master) == digests(peer.target))
        others = [row for row in told(ask(peer.target.client(), "SLOT")) if not wanted(row[0])]
        assert not others and len(digests(master)) > 500, others
        # what cannot be cut ends the link, and is said
        peer.may_be_closed = True
        inside, outside = "k{a}", "k{b}"
        while wanted(slot_of(inside)) == wanted(slot_of(outside)):
            outside = f"k{{{r.randrange(10000)}}}"
        c.set(inside, 1)
        c.rename(inside, outside)
        wait_until("it is said", lambda: master.said("RENAME has keys in slots of both kinds"))
        peer.stopping.set()
        print(f"  {len(digests(master))} slots equal after {peer.again} breaks")
    return 0


def slot_of(key):
    from redis.crc import key_slot
    return key_slot(key.encode())


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""A master of Redis 2.8 to 4.0, spoken by hand: it knows no `capa`, continues without an id, sends scripts word by word and spans of
time instead of deadlines, and its RDB carries the scripts that EVALSHA will name. What scripts make of chance and of the order of
sets is what such servers themselves made of it (written down from 2.8.24, 3.2.13 and 4.0.14; they agree).
"""
import hashlib
import socket
import sys
import time

from resp import encode
from servers import Folder, Ours, run_tests, wait_until

REPLID = b"0123456789abcdef" * 2 + b"01234567"
NUMBERS = [170829, 749902, 96372, 870466, 577304]  # math.random(1000000) from the start of a script
BODY = "redis.call('SET', KEYS[1], ARGV[1] .. math.random(1000000)) return redis.call('INCR', 'calls')"


def aux(name, value):
    return b"\xfa" + b"".join((bytes([len(w)]) if len(w) < 64 else bytes([0x40 | len(w) >> 8, len(w) & 255])) + w for w in (name, value))


def rdb(version, *parts):
    return b"REDIS%04d" % version + b"".join(parts) + b"\xff" + bytes(8)


class OldMaster:
    """2.8: errors for what it does not know; 4.0: knows psync2."""

    def __init__(self, knows):
        self.knows, self.listener = knows, socket.create_server(("127.0.0.1", 0))
        self.port, self.sock = self.listener.getsockname()[1], None

    def read(self):
        line = self.file.readline()
        return [self.file.read(int(self.file.readline()[1:]) + 2)[:-2] for _ in range(int(line[1:]))] if line else []

    def handshake(self):
        self.sock, _ = self.listener.accept()
        self.sock.settimeout(180)
        self.file = self.sock.makefile("rb")
        while (words := self.read())[0] != b"PSYNC":
            if words[0] == b"PING":
                self.sock.sendall(b"+PONG\r\n")
            elif words[0] == b"REPLCONF" and words[1] not in self.knows:
                self.sock.sendall(b"-ERR Unrecognized REPLCONF option: " + words[1] + b"\r\n")
            else:
                self.sock.sendall(b"+OK\r\n")
        return words[1:]

    def say(self, *words):
        self.sock.sendall(encode(*words))

    def close(self):
        self.file.close()
        self.sock.close()


def full(folder, name, knows, data):
    master = OldMaster(knows)
    ours = Ours(folder, name, "--replicaof", "127.0.0.1", str(master.port))
    assert master.handshake() == [b"?", b"-1"]
    master.sock.sendall(b"+FULLRESYNC %s 100\r\n\n$%d\r\n" % (REPLID, len(data)) + data)
    return master, ours


def follows(folder, name, knows, data):
    master, ours = full(folder, name, knows, data)
    r = ours.client()
    digest = hashlib.sha1(BODY.encode()).hexdigest()
    master.say("SELECT", 0)
    master.say("SADD", "set", *(f"member{n}" for n in range(300)))
    master.say("HMSET", "hash", *(word for n in range(200) for word in (f"field{n}", n * 7)))
    master.say("EVAL", "for i = 1, 5 do redis.call('RPUSH', KEYS[1], math.random(1000000)) end", 1, "numbers")
    master.say("EVAL", "math.randomseed(42) redis.call('RPUSH', KEYS[1], math.random(1000000), math.random(1000000))", 1, "seeded")
    if b"lua" in data:
        master.say("EVALSHA", digest, 1, "from the file", "x")
    master.say("EVAL", BODY, 1, "key", "y")
    master.say("EVALSHA", digest, 1, "again", "z")
    for command in ("SMEMBERS", "SUNION"):
        master.say("EVAL", f"for _, m in ipairs(redis.call('{command}', 'set')) do redis.call('RPUSH', '{command}', m) end", 0)
    for command in ("HKEYS", "HVALS"):
        master.say("EVAL", f"for _, m in ipairs(redis.call('{command}', 'hash')) do redis.call('RPUSH', '{command}', m) end", 0)
    before = time.time()
    for words in (("SETEX", "a", 100, "v"), ("PSETEX", "b", 100000, "v"), ("SET", "c", "v"), ("EXPIRE", "c", 100), ("SET", "d", "v", "EX", 100)):
        master.say(*words)
    master.say("INCRBYFLOAT", "float", "0.5")
    master.say("SET", "end", "1")
    wait_until("it is all executed", lambda: r.get("end") == b"1")
    after = time.time()
    assert r.lrange("numbers", 0, -1) == [b"%d" % n for n in NUMBERS], r.lrange("numbers", 0, -1)
    assert r.get("key") == b"y170829" and r.get("again") == b"z170829", (r.get("key"), r.get("again"))
    assert r.lrange("seeded", 0, -1) == [b"744526", b"342702"], r.lrange("seeded", 0, -1)
    if b"lua" in data:
        assert r.get("from the file") == b"x170829"
    for command in ("SMEMBERS", "SUNION"):
        assert r.lrange(command, 0, -1) == sorted(r.smembers("set")), command
    assert r.lrange("HKEYS", 0, -1) == sorted(r.hkeys("hash")) and r.lrange("HVALS", 0, -1) == sorted(r.hvals("hash"))
    for key in "abcd":
        assert before + 99.9 <= r.pexpiretime(key) / 1000 <= after + 100.1, key

    # The link breaks; it continues without an id, and from the right byte.
    place = r.info("replication")["slave_repl_offset"]
    master.close()
    assert master.handshake() == [REPLID, b"%d" % (place + 1)]
    master.sock.sendall(b"+CONTINUE\r\n")
    master.say("INCR", "calls")
    wait_until("the stream goes on", lambda: int(r.get("calls")) == (4 if b"lua" in data else 3))

    # After a restart from the file that it saves it goes on, and knows the scripts that it was sent.
    place = r.info("replication")["slave_repl_offset"]
    ours.shutdown("SAVE")
    master.close()
    ours.start(wait=False)
    assert master.handshake() == [REPLID, b"%d" % (place + 1)]
    master.sock.sendall(b"+CONTINUE\r\n")
    master.say("EVALSHA", digest, 1, "after the restart", "w")
    wait_until("the script is known", lambda: r.get("after the restart") == b"w170829")
    # And so does a replica of ours.
    copy = Ours(folder, "copy", "--replicaof", "127.0.0.1", str(ours.port))
    wait_until("the copy follows", lambda: copy.info("replication")["master_link_status"] == "up")
    master.say("EVALSHA", digest, 1, "below", "v")
    wait_until("the copy knows the script", lambda: copy.client().get("below") == b"v170829")
    copy.kill()

    # What clients run here themselves is left to chance, and in the order of the set.
    r.replicaof("NO", "ONE")
    first, second = (r.eval("return math.random(1000000000)", 0) for _ in range(2))
    assert first != second
    assert sorted(r.eval("return redis.call('SMEMBERS', 'set')", 0)) == sorted(r.smembers("set"))
    master.close()
    ours.kill()


def test_a_master_of_2_8():
    with Folder("old-master-2.8") as folder:
        follows(folder, "ours", (b"listening-port",), rdb(6, b"\xfe\x00\x00\x03old\x05value"))


def test_a_master_of_4_0_whose_rdb_has_scripts():
    with Folder("old-master-4.0") as folder:
        follows(folder, "ours", (b"listening-port", b"ip-address", b"capa"), rdb(8, aux(b"redis-ver", b"4.0.14"), aux(b"lua", BODY.encode())))


if __name__ == "__main__":
    run_tests(sys.modules[__name__])

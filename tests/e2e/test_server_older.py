#!/usr/bin/python3
"""oldest-replica: what replicas are sent holds no word that a Redis of that version does not know, and still does the same.

A load of everything that 7.0 has, options included. A replica spoken by hand writes down the RDB and the stream, whose words are
looked up here in a list of what each version has; redis-server (7.0 knows the old words too) executes the same stream, and ends
equal by a walk. Real servers of those versions: test_other_versions.py."""
import io
import socket
import sys

import redis
import resp
from peers import PeerLoad, differences, walk
from servers import Folder, Ours, RedisServer, run_tests, wait_until

# Which words came when. Of the commands that a master of ours sends; options behind the name.
WORDS = {
    (2, 8): "SELECT MULTI EXEC PING REPLCONF PUBLISH SET DEL PEXPIREAT PERSIST MOVE RENAME RENAMENX APPEND INCR DECR INCRBY GETSET SETNX MSET MSETNX SETRANGE "
            "SETBIT BITOP RPUSH LPUSH LPOP RPOP RPOPLPUSH LSET LINSERT LTRIM LREM HSET HMSET HDEL HINCRBY HSETNX SADD SREM SMOVE SUNIONSTORE SINTERSTORE ZADD "
            "ZINCRBY ZREM ZREMRANGEBYRANK ZUNIONSTORE ZINTERSTORE SORT PFADD PFMERGE PFCOUNT RESTORE FLUSHDB FLUSHALL",
    (3, 2): "BITFIELD GEOADD ZADD:NX ZADD:XX ZADD:CH ZADD:INCR", (4, 0): "UNLINK SWAPDB HSET:multi",
    (5, 0): "XADD XADD:MAXLEN XTRIM XTRIM:MAXLEN XDEL XGROUP XGROUP:CREATE XGROUP:SETID XGROUP:DESTROY XGROUP:DELCONSUMER XCLAIM XACK XSETID ZPOPMIN ZPOPMAX "
            "RESTORE:ABSTTL", (6, 0): "SET:KEEPTTL"}
RDB = {"2.8": b"0006", "3.2": b"0007", "4.0": b"0008", "5.0": b"0009", "6.0": b"0009"}
OPTIONS = {"SET": (3, "KEEPTTL PXAT EXAT GET"), "ZADD": (2, "NX XX GT LT CH INCR"), "XADD": (2, "NOMKSTREAM MAXLEN MINID LIMIT"), "XTRIM": (2, "MAXLEN MINID LIMIT"),
           "RESTORE": (4, "ABSTTL IDLETIME FREQ"), "XSETID": (3, "ENTRIESADDED MAXDELETEDID"), "XGROUP": (1, "CREATE SETID DESTROY DELCONSUMER CREATECONSUMER ENTRIESREAD"),
           "FLUSHALL": (1, "ASYNC SYNC"), "FLUSHDB": (1, "ASYNC SYNC")}


def words_of(command):
    """Its name, and its options as NAME:OPTION."""
    name = command[0].upper().decode()
    yield name
    if name in OPTIONS:
        first, options = OPTIONS[name]
        for word in command[first:]:
            if word.upper().decode(errors="replace") in options.split():
                yield f"{name}:{word.upper().decode()}"
            elif name in ("ZADD", "XADD") and word.upper() not in (b"=", b"~") and (name == "ZADD" or b"-" in word):
                break  # scores and members, fields and values
    if name in ("LPOP", "RPOP") and len(command) > 2:
        yield name + ":count"
    if name == "HSET" and len(command) > 4:
        yield "HSET:multi"


def may_say(version):
    return {word for since, words in WORDS.items() if since <= version for word in words.split()}


class Listener:
    """A replica that only writes down what it is sent."""

    def __init__(self, master):
        self.sock = socket.create_connection(("127.0.0.1", master.port))
        self.file = self.sock.makefile("rb")
        for words in (("REPLCONF", "capa", "eof"), ("PSYNC", "?", "-1")):
            self.sock.sendall(resp.encode(*words))
            line = self.file.readline()
        self.offset = int(line.split()[2])
        while (line := self.file.readline()) == b"\n":
            pass
        mark, self.rdb = line.strip()[5:], b""
        while not self.rdb.endswith(mark):
            self.rdb += self.file.read1(65536)
        self.sock.sendall(resp.encode("REPLCONF", "ACK", self.offset))

    def stream_up_to(self, offset):
        data = b""
        while self.offset + len(data) < offset:
            data += self.file.read1(1 << 20)
        file, commands = io.BytesIO(data[:offset - self.offset]), []
        while line := file.readline():
            commands.append([file.read(int(file.readline()[1:]) + 2)[:-2] for _ in range(int(line[1:]))])
        return commands


def offset(server):
    return server.info("replication")["master_repl_offset"]


def check_version(folder, name):
    version = tuple(int(n) for n in name.split("."))
    master = Ours(folder, "master" + name, "--oldest-replica", name, "--repl-ping-replica-period", "3600", "--appendonly", "yes")
    follower = RedisServer(folder, "follower" + name, "--replicaof", "127.0.0.1", str(master.port))
    wait_until("it follows", lambda: follower.info("replication")["master_link_status"] == "up")
    listener = Listener(master)
    assert listener.rdb[5:9] == RDB[name], listener.rdb[:9]
    load = PeerLoad(master, folder.seed, streams=version >= (5, 0), more=True, keys=25)
    load.swaps = version >= (4, 0)
    clients = [redis.Redis(port=master.port, db=db, socket_timeout=60) for db in range(load.databases)]
    for client in clients:
        client.response_callbacks.clear()
    for _ in range(500):
        load.some(clients)
    r = clients[0]
    r.execute_command("SET", "nothing", "to say", "PX", 1)  # expires
    wait_until("it is gone", lambda: not r.execute_command("EXISTS", "nothing"))
    r.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    walk(master.port)  # expires what is due
    end = offset(master)
    wait_until("the follower has everything", lambda: offset(follower) >= end)
    known, told = may_say(version), set()
    for command in listener.stream_up_to(end):
        told.update(words_of(command))
        assert set(words_of(command)) <= known, f"a Redis {name} does not know {command[:8]}"
    found = differences(walk(master.port), walk(follower.port))
    assert not found, "\n".join(found)
    errors = follower.info("stats")["total_error_replies"]
    assert errors == 0, f"the follower could not execute {errors} of the commands"
    print(f"    {name}: {load.commands} commands, told with {len(told)} words", flush=True)
    for word in ("RESTORE", "LTRIM", "ZADD", "PEXPIREAT"):
        assert word in told, f"the load did not make {word}"
    # The AOF has everything in the words of 7.0.
    master.shutdown("NOSAVE", "NOW")  # the listener confirms nothing
    master.start()
    found = differences(walk(master.port), walk(follower.port))
    assert not found, "after a restart from the AOF:\n" + "\n".join(found)
    for server in (master, follower):
        server.kill()


def test_each_version_is_told_in_its_words():
    with Folder("older") as folder:
        folder.seed = folder.seed if "SEED" in __import__("os").environ else 20261122
        for name in RDB:
            check_version(folder, name)


def test_what_cannot_be_told_costs_a_full_sync():
    with Folder("older-unsaid") as folder:
        master = Ours(folder, "master", "--oldest-replica", "3.2")
        follower = RedisServer(folder, "follower", "--replicaof", "127.0.0.1", str(master.port))
        wait_until("it follows", lambda: follower.info("replication")["master_link_status"] == "up")
        r = master.client()
        r.set("a", 1)
        r.execute_command("SWAPDB", 0, 5)
        wait_until("the follower has it", lambda: follower.client(5).get("a") == b"1")
        assert master.info("stats")["sync_full"] == 2 and master.info("stats")["sync_partial_ok"] == 0, master.info("stats")
        assert master.said("SWAPDB cannot be told to a Redis 3.2 (oldest-replica)")
        r.xadd("stream", {"f": "v"})
        wait_until("the log names what is in the way", lambda: master.said("RDB version 7 (rdb-version, oldest-replica) has no streams, and 'stream' in database 0"))
        r.config_set("oldest-replica", "5.0")
        wait_until("the follower has the stream", lambda: follower.client().xlen("stream") == 1)


if __name__ == "__main__":
    run_tests(sys.modules[__name__])

#!/usr/bin/python3
"""The bundled server and real redis-servers replicate from each other, both ways, and stay equal.

Equal: a walk over all keys of all databases with type, value and PEXPIRETIME (walk.py), at the same
replication offset. Links are cut in the middle of a random load and must go on by partial resync.
"""
import glob
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import redis
import walk
from servers import Folder, Load, Ours, RedisServer, Relay, run_tests, wait_until

# A server that is killed: however busy the disk is, nothing is answered or sent to replicas before write(2).
KEPT = ("--appendonly", "yes", "--aof-patience-ms", "1000000")


def offset(server):
    info = server.info("replication")
    return info["master_repl_offset"] if info["role"] == "master" else info["slave_repl_offset"]


def wait_linked(replica):
    wait_until("the link is up", lambda: replica.info("replication")["master_link_status"] == "up")


def wait_level(master, *replicas):
    """Nobody writes any more; expiries are stopped at the master, so that nothing moves."""
    master.client().execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    for replica in replicas:
        wait_until("the replica has everything", lambda: offset(replica) == offset(master))


def check_equal(master, *replicas):
    wait_level(master, *replicas)
    want = walk.walk(master.port)
    assert len(want) > 20, f"only {len(want)} keys: the load did nothing"
    wait_level(master, *replicas)  # reading expired some
    want = walk.walk(master.port)
    for replica in replicas:
        got = walk.walk(replica.port)
        found = [d for d in walk.differences(want, got) if not about_to_expire(d, want, got)]
        assert not found, "\n".join(found)
    master.client().execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "1")
    return len(want)


def about_to_expire(sentence, want, got):
    """A key whose time came between the two walks."""
    for name in set(want) | set(got):
        if sentence.startswith(f"db {name[0]} key {name[1]!r}:"):
            deadline = (want.get(name) or got.get(name))[2]
            return 0 < deadline < time.time() * 1000 + 50
    return False


def digest_equal(master, *replicas):
    wait_level(master, *replicas)
    digests = {s.client().execute_command("DEBUG", "DIGEST") for s in (master, *replicas)}
    assert len(digests) == 1, digests


def back_and_forth(name, make_master, make_replica, **options):
    with Folder(name) as folder:
        master = make_master(folder, "master", "--repl-backlog-size", "64mb", **options)
        early = Load(master, folder.seed)
        early.start()
        early.go_on(0.5)
        relay = Relay(master.port)
        replica = make_replica(folder, "replica", "--replicaof", "127.0.0.1", str(relay.port))
        wait_linked(replica)
        early.go_on(1)
        early.stop()
        print(f"    {check_equal(master, replica)} keys equal after {early.commands} commands")
        for round_ in range(3):  # cut under load
            load = Load(master, folder.seed + round_ + 1)
            load.start()
            load.go_on(0.3)
            relay.cut()
            wait_until("the link is seen to be down", lambda: replica.info("replication")["master_link_status"] == "down")
            time.sleep(0.2)
            relay.open()
            wait_linked(replica)
            load.go_on(0.2, 50)
            load.stop()
            check_equal(master, replica)
            stats = master.info("stats")
            assert stats["sync_full"] == 1, f"a full copy where a partial one was possible: {stats['sync_full']}"
            assert stats["sync_partial_ok"] == round_ + 1, stats["sync_partial_ok"]
        master.client().execute_command("FLUSHALL")
        master.client().set("x", "0123456789" * 30)
        digest_equal(master, replica)


def test_a_redis_server_follows_ours():
    back_and_forth("replication-master", Ours, RedisServer)


def test_ours_follows_a_redis_server():
    back_and_forth("replication-replica", RedisServer, Ours)


def test_ours_follows_ours():
    back_and_forth("replication-both", Ours, Ours)


def test_digests_are_those_of_redis():
    with Folder("replication-digest") as folder:
        master = Ours(folder, "master")
        load = Load(master, folder.seed, expiries=False)
        load.start()
        load.go_on(1)
        load.stop()
        replica = RedisServer(folder, "replica", "--replicaof", "127.0.0.1", str(master.port))
        wait_linked(replica)
        digest_equal(master, replica)


def test_a_chain_and_a_promotion():
    """redis -> ours -> redis; then ours is promoted, and its replica goes on without a full copy; and back."""
    with Folder("replication-chain") as folder:
        # A PING of its own would put one ahead of the one that it goes back to: then no server can go on without a copy.
        quiet = "--repl-ping-replica-period", "3600"
        top = RedisServer(folder, "top", *quiet)
        load = Load(top, folder.seed)
        load.start()
        middle = Ours(folder, "middle", "--replicaof", "127.0.0.1", str(top.port), *quiet)
        wait_linked(middle)
        bottom = RedisServer(folder, "bottom", "--replicaof", "127.0.0.1", str(middle.port))
        wait_linked(bottom)
        load.go_on(1)
        load.stop()
        check_equal(top, middle, bottom)
        digest_equal(top, middle, bottom)
        first_id = top.info("replication")["master_replid"]
        assert middle.info("replication")["master_replid"] == first_id
        full = middle.info("stats")["sync_full"]

        # What the promoted one lets expire would put it ahead of its last master, and of the one that it goes back to.
        middle.client().execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        middle.client().execute_command("REPLICAOF", "NO", "ONE")
        info = middle.info("replication")
        assert info["role"] == "master" and info["master_replid2"] == first_id and info["master_replid"] != first_id, info
        assert info["second_repl_offset"] == info["master_repl_offset"] + 1, info
        wait_linked(bottom)
        middle.client().set("after", "promotion")
        wait_until("the write arrives", lambda: bottom.client().get("after") == b"promotion")
        assert middle.info("stats")["sync_full"] == full, "the replica needed a full copy after the promotion"

        # The former master becomes a replica of the promoted one: it has nothing of its own, so it can go on.
        top.client().execute_command("REPLICAOF", "127.0.0.1", str(middle.port))
        wait_linked(top)
        assert middle.info("stats")["sync_full"] == full, "the former master needed a full copy"
        assert top.client().get("after") == b"promotion"

        # And ours goes back under it.
        wait_until("the former master has all", lambda: offset(top) == offset(middle))
        top.client().execute_command("REPLICAOF", "NO", "ONE")
        middle.client().execute_command("REPLICAOF", "127.0.0.1", str(top.port))
        wait_linked(middle)
        top.client().set("after", "return")
        wait_until("the write arrives at the end of the chain", lambda: bottom.client().get("after") == b"return")
        assert top.info("stats")["sync_full"] <= 1


def test_replicas_by_a_length_and_without_keys():
    """SYNC, a replica without `capa eof`, rdb-only and rdb-filter-only, spoken by hand."""
    with Folder("replication-by-hand") as folder:
        master = Ours(folder, "master", "--repl-ping-replica-period", "3600")  # nothing else comes in the stream
        r = master.client()
        r.set("key", "value" * 1000)

        connection, file = dial(master, ("PSYNC", "?", "-1"))
        words = file.readline().split()
        assert words[0] == b"+FULLRESYNC" and len(words[1]) == 40
        line = b"\n"
        while line == b"\n":
            line = file.readline()
        assert line.startswith(b"$") and not line.startswith(b"$EOF"), line
        rdb = file.read(int(line[1:]))
        assert rdb[:9] == b"REDIS0010" and b"key" in rdb
        r.set("next", "1")
        select_and_set = file.read(23 + 30)
        assert select_and_set.startswith(b"*2\r\n$6\r\nSELECT"), select_and_set
        connection.close()

        connection, file = dial(master, ("REPLCONF", "capa", "eof"), ("REPLCONF", "rdb-only", "1"), ("PSYNC", "?", "-1"))
        head = file.readline().split()
        assert int(head[2]) == r.info("replication")["master_repl_offset"], "the offset of the moment"
        mark = file.readline().strip()[5:]
        rest = file.read()
        assert rest.endswith(mark) and b"next" in rest, "the RDB, and then it hangs up"

        connection, file = dial(master, ("REPLCONF", "capa", "eof"), ("REPLCONF", "rdb-filter-only", ""), ("PSYNC", "?", "-1"))
        head = file.readline().split()
        mark = file.readline().strip()[5:]
        rdb = b""
        while not rdb.endswith(mark):
            rdb += file.read(1)
        assert b"value" not in rdb, "no keys"
        offset_ = head[2]
        r.set("third", "1")
        connection.sendall(b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$%d\r\n%s\r\n" % (len(offset_), offset_))
        assert file.read(4) == b"*2\r\n", "SELECT comes first"
        connection.close()


def dial(server, *commands):
    """A connection that says these commands, REPLCONF's answers taken; (socket, file)."""
    sock = socket.create_connection(("127.0.0.1", server.port))
    file = sock.makefile("rb")
    for words in commands:
        sock.sendall(command(*(w.encode() for w in words)))
        if words[0] == "REPLCONF":
            assert file.readline() == b"+OK\r\n", words
    return sock, file


def test_a_replica_that_does_not_read_is_cut_off():
    with Folder("replication-lag") as folder:
        master = Ours(folder, "master", "--repl-backlog-memory", "0")  # all in memory, as in Redis
        r = master.client()
        r.execute_command("CONFIG", "SET", "client-output-buffer-limit", "replica 8mb 0 0")
        sock, file = dial(master, ("REPLCONF", "capa", "eof"), ("PSYNC", "?", "-1"))
        at = file.readline().split()[2]
        mark = file.readline().strip()[5:]
        rdb = b""
        while not rdb.endswith(mark):
            rdb += file.read(1)
        sock.sendall(command(b"REPLCONF", b"ACK", at))
        wait_until("it is online", lambda: master.info("replication").get("slave0", {}).get("state") == "online")
        for _ in range(40):
            r.set("big", "x" * 1000000)
        wait_until("it is cut off", lambda: master.info("replication")["connected_slaves"] == 0)
        r.set("one", "more")
        info = master.info("replication")
        assert info["repl_backlog_histlen"] <= info["repl_backlog_size"], info
        assert master.said("lags too far behind")
        sock.close()


def test_many_full_copies_at_once():
    """More than may be made at a time: the others wait for their turn, and each is whole."""
    with Folder("replication-many") as folder:
        master = Ours(folder, "master")
        r = master.client()
        with r.pipeline() as p:
            for i in range(20000):
                p.set(f"key{i}", f"value{i}" * 10)
            p.execute()
        links = [dial(master, ("REPLCONF", "capa", "eof"), ("REPLCONF", "rdb-only", "1"), ("PSYNC", "?", "-1")) for _ in range(9)]
        for number, (sock, file) in enumerate(links):
            line = b"\n"
            while line == b"\n":
                line = file.readline()
            assert line.startswith(b"+FULLRESYNC"), line
            while (line := file.readline()) == b"\n":
                pass
            rest = file.read()
            assert rest.endswith(line.strip()[5:]), f"copy {number} is not whole"
            path = os.path.join(folder.path, f"{number}.rdb")
            with open(path, "wb") as out:
                out.write(rest[:-40])
            run = subprocess.run(["redis-check-rdb", path], stdout=subprocess.PIPE, text=True, check=False)
            assert run.returncode == 0 and "[info] 20000 keys read" in run.stdout, run.stdout
            sock.close()
        assert master.info("replication")["connected_slaves"] == 0


def command(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


class FakeMaster:
    """Answers a replica's handshake by hand, so that a link can be cut at any byte."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def handshake(self):
        """The words of PSYNC that the replica sends."""
        self.sock, _ = self.listener.accept()
        self.file = self.sock.makefile("rb")
        while True:
            words = self.read()
            if words[0] == b"PSYNC":
                return words
            self.sock.sendall(b"+PONG\r\n" if words[0] == b"PING" else b"+OK\r\n")

    def read(self):
        line = self.file.readline()
        if not line:
            return [b""]
        return [self.file.read(int(self.file.readline()[1:]) + 2)[:-2] for _ in range(int(line[1:]))]

    def full(self, replid, at, rdb):
        self.sock.sendall(b"+FULLRESYNC %s %d\r\n$%d\r\n" % (replid, at, len(rdb)) + rdb)

    def close(self):
        self.file.close()
        self.sock.close()


def test_a_block_that_breaks_off_comes_again():
    """The offset moves over a MULTI block only at its EXEC, and over a command only when it is whole."""
    with Folder("replication-breaks") as folder:
        empty = RedisServer(folder, "empty")
        empty.client().save()
        rdb = open(os.path.join(empty.dir, "dump.rdb"), "rb").read()
        master = FakeMaster()
        ours = Ours(folder, "ours", "--replicaof", "127.0.0.1", str(master.port))
        assert master.handshake()[1:] == [b"?", b"-1"]
        replid, at = b"a" * 40, 1000
        master.full(replid, at, rdb)
        first = command(b"SELECT", b"2") + command(b"INCR", b"n")
        block = command(b"MULTI") + command(b"INCR", b"n") + command(b"RPUSH", b"l", b"x") + command(b"EXEC")
        master.sock.sendall(first)
        at += len(first)
        for cut in (len(block) - 1, 3, 15, len(block) - 14, len(block) // 2):
            master.sock.sendall(block[:cut])
            time.sleep(0.05)
            master.close()
            words = master.handshake()
            assert words[1:] == [replid, b"%d" % (at + 1)], f"cut at {cut}: asks for {words}, not {at + 1}"
            assert ours.client(2).get("n") == b"1", f"cut at {cut}: a part of the block was executed"
            master.sock.sendall(b"+CONTINUE\r\n")
        master.sock.sendall(block + command(b"REPLCONF", b"GETACK", b"*"))
        at += len(block)
        want = [b"REPLCONF", b"ACK", b"%d" % at]
        while (got := master.read()) != want:
            assert got[:2] == [b"REPLCONF", b"ACK"] and int(got[2]) < at, got
        assert ours.client(2).get("n") == b"2" and ours.client(2).lrange("l", 0, -1) == [b"x"]
        master.close()


def test_failover_hands_the_role_over_and_back():
    """FAILOVER under load: ours to a redis-server, that one to ours, and back: nothing is lost, no full sync."""
    with Folder("replication-failover") as folder:
        nodes = [Ours(folder, "a"), RedisServer(folder, "b"), Ours(folder, "c")]
        for node in nodes[1:]:
            node.client().replicaof("127.0.0.1", nodes[0].port)
            wait_linked(node)
        for old, new in ((0, 1), (1, 2), (2, 0)):
            master, target = nodes[old], nodes[new]
            wait_until("it is online", lambda: all(master.info("replication").get(f"slave{i}", {}).get("state") == "online" for i in (0, 1)))
            load = Load(master, folder.seed + old, pause=0.002)
            load.start()
            waiting = redis.Redis(port=master.port)
            answers = []
            blocked = threading.Thread(target=lambda: answers.append(outcome(waiting.blpop, "nothing", 0)), daemon=True)
            blocked.start()
            load.go_on(0.3)
            wait_until("the other client is blocked", lambda: master.info("clients")["blocked_clients"] == 1)
            assert master.client().execute_command("FAILOVER", "TO", "127.0.0.1", target.port) == b"OK"
            wait_until("it is over", lambda: master.info("replication")["master_failover_state"] == "no-failover")
            load.stopping.set()
            load.join()  # it ends with the first -READONLY
            blocked.join(180)
            assert "UNBLOCKED" in str(answers), f"who was blocked at the old master: {answers}"
            assert target.info("replication")["role"] == "master"
            third = nodes[3 - old - new]
            third.client().replicaof("127.0.0.1", target.port)
            for node in (master, third):
                wait_linked(node)
                wait_until("it follows", lambda: node.info("replication")["master_port"] == target.port)
            check_equal(target, master, third)
            assert target.info("stats")["sync_full"] == (2 if new == 0 else 0), target.info("stats")


def outcome(call, *words):
    try:
        return call(*words)
    except redis.RedisError as error:
        return error


def test_wait_and_gates():
    with Folder("replication-wait") as folder:
        master = Ours(folder, "master")
        replica = RedisServer(folder, "replica", "--replicaof", "127.0.0.1", str(master.port))
        wait_linked(replica)
        r = master.client()
        wait_until("the replica is online", lambda: r.info("replication").get("slave0", {}).get("state") == "online")
        r.set("a", "1")
        asked = replica.info("commandstats").get("cmdstat_replconf", {}).get("calls", 0)
        assert r.execute_command("WAIT", 1, 60000) == 1
        assert replica.info("commandstats")["cmdstat_replconf"]["calls"] > asked, "GETACK was not asked for"
        assert r.execute_command("WAIT", 2, 100) == 1
        role = r.execute_command("ROLE")
        assert role[0] == b"master" and len(role[2]) == 1, role
        r.config_set("min-replicas-to-write", 2)
        try:
            r.set("b", "1")
            raise AssertionError("a write without enough replicas")
        except Exception as error:
            assert "NOREPLICAS" in str(error) or "Not enough good replicas" in str(error), error
        r.config_set("min-replicas-to-write", 0)
        own = Ours(folder, "own", "--replicaof", "127.0.0.1", str(master.port))
        wait_linked(own)
        try:
            own.client().set("b", "1")
            raise AssertionError("a write at a replica")
        except Exception as error:
            assert "read only replica" in str(error), error
        assert own.client().execute_command("ROLE")[3] == b"connected"
        assert r.info("replication")["connected_slaves"] == 2


def test_a_restart_goes_on_where_it_was():
    """A clean restart with an RDB keeps the history, as master and as replica."""
    with Folder("replication-restart") as folder:
        master = Ours(folder, "master", "--repl-timeout", "10")
        master.client().set("a", "1")
        replica = RedisServer(folder, "replica", "--replicaof", "127.0.0.1", str(master.port))
        wait_linked(replica)
        master.client().set("b", "2")
        wait_level(master, replica)
        master.shutdown("SAVE")
        master.start()
        wait_linked(replica)
        assert master.info("stats")["sync_full"] == 0 and master.info("stats")["sync_partial_ok"] == 1
        own = Ours(folder, "own", "--replicaof", "127.0.0.1", str(master.port))
        wait_linked(own)
        own.shutdown("SAVE")
        master.client().set("c", "3")
        own.start()
        wait_linked(own)
        wait_until("it has what came meanwhile", lambda: own.client().get("c") == b"3")
        assert master.info("stats")["sync_full"] == 1, "only the first of the two was full"


def test_a_killed_master_goes_on():
    """kill -9 of a master with an AOF, under load: its replica goes on by partial resync, and is equal."""
    with Folder("replication-killed-master") as folder:
        master = Ours(folder, "master", *KEPT, "--repl-backlog-size", "16mb")
        replica = RedisServer(folder, "replica", "--replicaof", "127.0.0.1", str(master.port))
        wait_linked(replica)
        replid = master.info("replication")["master_replid"]
        for round_ in range(5):
            load = Load(master, folder.seed + round_)
            load.start()
            load.go_on(0.3 + round_ / 20)
            if round_ % 2:
                master.client().execute_command("BGREWRITEAOF")
                time.sleep(0.1)
            at = offset(master)
            master.kill()
            load.stopping.set()
            load.join()
            wait_until("the replica has seen it", lambda: replica.info("replication")["master_link_status"] == "down")
            master.start()
            wait_linked(replica)
            info, stats = master.info("replication"), master.info("stats")
            assert info["master_replid"] == replid and info["master_repl_offset"] >= at, (at, info)
            assert stats["sync_full"] == 0 and stats["sync_partial_ok"] == 1, stats
            check_equal(master, replica)
        master.shutdown()
        master.start()
        wait_linked(replica)
        assert master.info("stats")["sync_full"] == 0, "after a SHUTDOWN"
        copy = Ours(folder, "copy", "--appendonly", "yes", start=False)
        shutil.copytree(master.dir, copy.dir, dirs_exist_ok=True)
        copy.start()
        assert copy.info("replication")["master_replid"] != replid, "a copy of the folder is another server"
        master.kill()
        last = max(glob.glob(os.path.join(master.dir, "appendonlydir", "*.incr.aof")), key=lambda path: int(path.split(".")[-3]))
        with open(last, "ab") as out:
            out.write(command(b"SET", b"by another hand", b"1"))
        master.start()
        wait_linked(replica)
        assert master.info("stats")["sync_full"] == 1, "an AOF of another size is another history"
        wait_level(master, replica)
        assert replica.client().get("by another hand") == b"1" or master.client(0).get("by another hand") is None


def test_a_master_killed_before_its_aof_was_written():
    """Between the note beside the AOF and the write itself: the command never was, for anybody."""
    with Folder("replication-between") as folder:
        master = Ours(folder, "master", *KEPT)
        replica = RedisServer(folder, "replica", "--replicaof", "127.0.0.1", str(master.port))
        wait_linked(replica)
        r = master.client()
        r.set("before", "1")
        wait_level(master, replica)
        info = master.info("replication")
        r.execute_command("DEBUG", "AOF-FLUSH-SLEEP", 10000000)
        sock = socket.create_connection(("127.0.0.1", master.port))
        sock.sendall(command(b"SET", b"between", b"1"))
        time.sleep(0.5)
        master.kill()
        assert sock.recv(10) == b"", "it was answered before it was kept"
        sock.close()
        master.start()
        wait_linked(replica)
        now = master.info("replication")
        assert now["master_replid"] == info["master_replid"], "another history"
        assert master.info("stats")["sync_full"] == 0
        assert master.client().get("between") is None and replica.client().get("between") is None
        master.client().set("after", "1")
        wait_level(master, replica)
        assert replica.client().get("after") == b"1" and replica.client().get("before") == b"1"


def test_a_killed_replica_goes_on():
    with Folder("replication-killed-replica") as folder:
        master = RedisServer(folder, "master", "--repl-backlog-size", "64mb")
        replica = Ours(folder, "replica", *KEPT, "--replicaof", "127.0.0.1", str(master.port))
        wait_linked(replica)
        wait_until("the AOF is there", lambda: not replica.info("persistence")["aof_rewrite_in_progress"])
        load = Load(master, folder.seed)
        load.start()
        for _ in range(5):
            load.go_on(0.5)
            replica.kill()
            time.sleep(0.1)
            replica.start()
            wait_linked(replica)
        load.stop()
        check_equal(master, replica)
        assert master.info("stats")["sync_full"] == 1, "only the first copy was a full one"


def test_import_mode_keeps_what_has_expired():
    """C8: in import mode nothing goes because its time has come, clients do not see it, the link does."""
    with Folder("replication-import") as folder:
        master = Ours(folder, "master")
        replica = RedisServer(folder, "replica", "--replicaof", "127.0.0.1", str(master.port))
        wait_linked(replica)
        r, link = master.client(), master.client(single_connection_client=True)
        r.config_set("import-mode", "yes")
        assert link.execute_command("CLIENT", "IMPORT-SOURCE", "ON")
        past = int(time.time() * 1000) - 5000
        link.execute_command("SET", "past", "5", "PXAT", past)
        link.rpush("list", "a", "b")
        link.execute_command("PEXPIREAT", "list", past)
        r.set("short", "1", px=30)
        time.sleep(0.6)  # many cycles of active expiry
        assert r.get("past") is None and r.llen("list") == 0 and r.get("short") is None and r.exists("past") == 0
        assert r.dbsize() == 3, "they are still there"
        assert link.get("past") == b"5" and link.llen("list") == 2
        assert link.incr("past") == 6 and link.rpush("list", "c") == 3
        assert link.execute_command("PEXPIRETIME", "past") == past
        link.execute_command("PERSIST", "list")
        assert r.lrange("list", 0, -1) == [b"a", b"b", b"c"]
        wait_level(master, replica)
        assert replica.client().dbsize() == 3, "the replica keeps them, too"
        r.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "1")
        r.config_set("import-mode", "no")
        wait_until("they expire", lambda: r.dbsize() == 1)
        wait_until("at the replica too", lambda: replica.client().dbsize() == 1)


def test_checkpoints_travel():
    with Folder("replication-checkpoints") as folder:
        master = Ours(folder, "master", *KEPT)
        stock = RedisServer(folder, "stock", "--replicaof", "127.0.0.1", str(master.port))
        own = Ours(folder, "own", "--replicaof", "127.0.0.1", str(stock.port))
        wait_linked(stock)
        wait_linked(own)
        r = master.client()
        with r.pipeline() as unit:
            unit.execute_command("SELECT", 3)
            unit.set("k", "v")
            unit.execute_command("DRAWBRIDGE", "CHECKPOINT", "SET", "forward", "abc:15")
            unit.execute_command("SELECT", 0)
            unit.execute()
        r.execute_command("DRAWBRIDGE", "EPOCH", 7)
        get = ("DRAWBRIDGE", "CHECKPOINT", "GET", "forward")
        assert r.execute_command(*get) == b"abc:15"
        wait_until("it arrives behind a stock Redis", lambda: own.client().execute_command(*get) == b"abc:15")
        wait_until("the epoch, too", lambda: own.client().execute_command("DRAWBRIDGE", "EPOCH") == 7)
        r.flushall()
        assert r.execute_command(*get) == b"abc:15"
        assert r.execute_command("WAITAOF", 1, 0, 60000) == [1, 0]
        master.kill()
        master.start()
        r = master.client()
        assert r.execute_command(*get) == b"abc:15" and r.execute_command("DRAWBRIDGE", "EPOCH") == 7
        assert r.execute_command("DRAWBRIDGE", "JOIN", "drawbridge-gw:a:7:0-1", 7) == b"OK"
        try:
            r.execute_command("DRAWBRIDGE", "JOIN", "drawbridge-gw:a:6:0-1", 6)
            raise AssertionError("an old epoch may join")
        except Exception as error:
            assert "STALEEPOCH 7" in str(error), error
        late = Ours(folder, "late", "--replicaof", "127.0.0.1", str(master.port))  # by the RDB's aux fields
        wait_linked(late)
        assert late.client().execute_command(*get) == b"abc:15"
        r.execute_command("DRAWBRIDGE", "CHECKPOINT", "DEL", "forward")
        wait_until("the deletion travels", lambda: late.client().execute_command("DRAWBRIDGE", "CHECKPOINT", "LIST") == [])


def test_what_clients_of_a_writable_replica_wrote_expires_there():
    with Folder("replication") as folder:
        master, replica = Ours(folder, "master"), Ours(folder, "replica", "--replica-read-only", "no")
        replica.client().execute_command("REPLICAOF", "127.0.0.1", master.port)
        wait_linked(replica)
        r = replica.client(db=3)
        master.client(db=3).set("of the master", 1, px=100)
        r.set("set", 1, px=100)
        r.set("pexpire", 1)
        r.pexpire("pexpire", 100)
        with r.pipeline(transaction=True) as at_once:
            at_once.set("kept", 1, px=100).persist("kept").execute()
        r.restore("restored", 100, master_dump(master))
        wait_until("all are gone", lambda: r.dbsize() == 1)
        assert r.keys("*") == [b"kept"]
        wait_until("and forgotten", lambda: replica.info("stats")["slave_expires_tracked_keys"] == 0)


def master_dump(master):
    master.client(db=4).set("k", "v")
    return master.client(db=4).dump("k")


def test_a_copy_that_breaks_off_costs_neither_the_data_nor_the_replicas():
    """Another master's copy is not whole yet when that master dies: back to the first one, the stream goes on where it was, and
    whoever replicates from the replica never noticed."""
    with Folder("copy-breaks") as folder:
        first, second = Ours(folder, "first"), Ours(folder, "second", "--rdb-key-save-delay", "1000000")
        middle, leaf = Ours(folder, "middle"), RedisServer(folder, "leaf")
        for i in range(30):
            first.client().set(f"key{i}", i)
        second.client().execute_command("DEBUG", "POPULATE", 10)
        middle.client().replicaof("127.0.0.1", first.port)
        wait_linked(middle)
        leaf.client().replicaof("127.0.0.1", middle.port)
        wait_linked(leaf)
        middle.client().replicaof("127.0.0.1", second.port)
        wait_until("the copy has begun", lambda: middle.info("replication")["master_sync_in_progress"] == 1)
        second.kill()
        assert leaf.client().get("key7") == b"7" and leaf.info("replication")["master_replid"] == first.info("replication")["master_replid"]
        middle.client().replicaof("127.0.0.1", first.port)
        wait_linked(middle)
        first.client().set("more", 1)
        check_equal(first, middle, leaf)
        assert first.info("stats")["sync_full"] == 1 and first.info("stats")["sync_partial_ok"] == 1
        assert middle.info("stats")["sync_full"] == 1 and not leaf.said("Connection with master lost")


def test_a_replica_that_asks_something_is_hung_up_on():
    """Its stream holds nothing but the stream: an answer in it would be taken for data."""
    with Folder("replica-asks") as folder:
        master = Ours(folder, "master")
        master.client().set("a", "b")
        for words in ("PING", "GET a", "XINFO HELP", "no such command"):
            with socket.create_connection(("127.0.0.1", master.port), 30) as link:
                link.sendall(b"SYNC\r\n")
                wait_until("it is sent the stream", lambda: master.info("replication")["connected_slaves"] == 1)
                link.sendall(words.encode() + b"\r\n")
                got = b""
                while more := link.recv(65536):
                    got += more
            assert not any(word in got for word in (b"PONG", b"keyspace", b"XINFO", b"unknown")), got
            wait_until("it is gone", lambda: master.info("replication")["connected_slaves"] == 0)
        assert master.said("Replica generated a reply to command 'ping', disconnecting it: 127.0.0.1")
        assert master.info("stats")["unexpected_error_replies"] == 2


if __name__ == "__main__":
    run_tests(sys.modules[__name__])

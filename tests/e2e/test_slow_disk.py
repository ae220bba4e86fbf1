#!/usr/bin/python3
"""A disk that stands still: calls that change files do not return until the test lets them (disk_hold.c), while the server's
clients go on. None of the calls is made by the engine's thread.

- `everysec` and `no`: with write(2) held for longer than aof-patience-ms, and with the sync held, reads and writes are answered;
  what was answered is in the file when the disk goes on. After two seconds writes wait, reads do not; nothing is refused.
- `always`: nobody is answered before the sync, nor are those who only read: it might be what is not on the disk yet.
- A rewrite begins and ends while the disk stands, and is whole when it goes on; so does a BGSAVE, and what is dropped is
  removed; FLUSHALL's own save comes after a BGSAVE that was about to end.
- CONFIG SET appendonly is answered when the disk goes on; everybody else goes on meanwhile.
- A replica has nothing that a killed master would not have; a replica of a master, too, when its own disk stands.
"""
import os
import socket
import subprocess
import sys
import time

from servers import Folder, Ours, RedisServer, needs_preloading, preload, preloaded, run_tests, wait_until

ROUNDS = 300
TIMEOUT_S = 60


class Slow(Ours):
    def __init__(self, folder, name, *options):
        super().__init__(folder, name, *options, start=False)
        self.shim = preload(folder, "disk_hold")
        self.begin()

    def begin(self):
        with open(self.log, "a", encoding="utf-8") as out:
            self.process = subprocess.Popen(self.command(), stdout=out, stderr=out, env={
                **preloaded(self.shim), "DISK_HOLD_BELOW": self.dir})
        wait_until("it answers", self.answers)

    def hold(self, what):
        with open(self.dir + ".hold.new", "w", encoding="utf-8") as file:
            file.write(what)
        if os.path.exists(self.dir + ".held"):
            os.remove(self.dir + ".held")
        os.rename(self.dir + ".hold.new", self.dir + ".hold")

    def held(self):
        """(call, thread, path) of all that were held since hold()."""
        try:
            with open(self.dir + ".held", encoding="utf-8") as file:
                return [line.split(" ", 2) for line in file.read().splitlines()]
        except FileNotFoundError:
            return []

    def stands(self):
        """Wait until a call is held; it is none of the engine's, or nobody would be answered."""
        wait_until("the disk stands", self.held)
        by_engine = [line for line in self.held() if line[1] == "engine"]
        assert not by_engine, f"the engine itself waits for the disk: {by_engine}"

    def release(self):
        os.remove(self.dir + ".hold")
        by_engine = [line for line in self.held() if line[1] == "engine"]
        assert not by_engine, f"the engine itself waited for the disk: {by_engine}"

    def aof(self):
        folder = os.path.join(self.dir, "appendonlydir")
        return b"".join(open(os.path.join(folder, name), "rb").read() for name in sorted(os.listdir(folder)) if "incr" in name)


def command(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def asks(server, *words):
    """A connection on which a command was sent, and no answer read."""
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S)
    sock.sendall(command(*words))
    return sock


def is_silent(sock):
    sock.setblocking(False)
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    finally:
        sock.settimeout(TIMEOUT_S)


def goes_on(policy, call):
    with Folder(f"slow-{policy}-{call}") as folder:
        server = Slow(folder, "a", "--appendonly", "yes", "--appendfsync", policy, "--aof-patience-ms", "1")
        writer, reader = server.client(), server.client()
        writer.set("before", "1")
        delayed = writer.info("persistence")["aof_delayed_fsync"]
        server.hold(f"{call} incr.aof")
        writer.set("first", "1")
        wait_until("the disk stands", server.held)
        rounds, until = 0, time.monotonic() + 1.2  # after two seconds of standing writes wait, too
        for i in range(ROUNDS):
            if rounds >= 20 and time.monotonic() > until:
                break
            rounds += 1
            assert reader.incr("n") == i + 1 and reader.get("first") == b"1"
            if i % 100 == 0:
                writer.rpush("list", i)
        info = writer.info("persistence")
        assert info["aof_last_write_status"] == "ok", info
        if call == "write":
            assert info["drawbridge_aof_late"] == 1 and info["aof_buffer_length"] > 0 and b"list" not in server.aof(), info
            assert reader.info("memory")["mem_aof_buffer"] > 0
            assert reader.execute_command("WAITAOF", 1, 0, 100) == [0, 0]
            wait_until("writes wait", lambda: reader.info("persistence")["aof_delayed_fsync"] > delayed)
            waiting = asks(server, "SET", "waits", "1")
            for i in range(ROUNDS):
                assert reader.get("n") == b"%d" % rounds
            assert is_silent(waiting), "a write after two seconds of standing"
            server.release()
            assert waiting.recv(10) == b"+OK\r\n"
        else:
            wait_until("all is written", lambda: reader.info("persistence")["aof_buffer_length"] == 0)
            assert info["aof_pending_bio_fsync"] == 1, info
            assert reader.execute_command("WAITAOF", 1, 0, 100) == [0, 0]
            server.release()
        assert reader.execute_command("WAITAOF", 1, 0, 60000) == [1, 0]
        wait_until("it is not late any more", lambda: reader.info("persistence")["drawbridge_aof_late"] == 0)
        server.kill()
        server.begin()
        assert server.client().mget("before", "first", "n") == [b"1", b"1", b"%d" % rounds]
        assert server.client().get("waits") == (b"1" if call == "write" else None)


def test_everysec_with_writes_held():
    goes_on("everysec", "write")


def test_everysec_with_syncs_held():
    goes_on("everysec", "fsync")


def test_no_with_writes_held():
    goes_on("no", "write")


def test_patience():
    """Whoever is answered waits for write(2) as long as aof-patience-ms says."""
    with Folder("slow-patience") as folder:
        server = Slow(folder, "a", "--appendonly", "yes", "--aof-patience-ms", "1000000")
        reader = server.client()
        reader.set("k", "1")
        server.hold("write incr.aof")
        first = asks(server, "SET", "k", "2")
        wait_until("the disk stands", server.held)
        more, reading = asks(server, "APPEND", "k", "3"), asks(server, "STRLEN", "k")
        time.sleep(0.3)  # to be answered, if it were
        assert is_silent(first) and is_silent(more) and is_silent(reading)
        server.release()
        assert first.recv(10) == b"+OK\r\n" and more.recv(10) == b":2\r\n" and reading.recv(10) in (b":1\r\n", b":2\r\n")
        assert reader.info("persistence")["drawbridge_aof_times_late"] == 0
        server.hold("write incr.aof")
        first = asks(server, "SET", "k", "2")
        wait_until("the disk stands", server.held)
        reading = asks(server, "GET", "k")
        assert is_silent(first)
        impatient = asks(server, "CONFIG", "SET", "aof-patience-ms", "1")
        assert first.recv(10) == impatient.recv(10) == b"+OK\r\n" and reading.recv(20) == b"$1\r\n2\r\n"
        assert reader.info("persistence")["drawbridge_aof_late"] == 1
        server.release()


def test_always():
    with Folder("slow-always") as folder:
        server = Slow(folder, "a", "--appendonly", "yes", "--appendfsync", "always")
        r = server.client()
        r.set("k", "1")
        server.hold("fsync incr.aof")
        first = asks(server, "SET", "k", "2")
        wait_until("the disk stands", server.held)
        waiting = [asks(server, "INCR", "n") for _ in range(50)]
        reading = asks(server, "GET", "k")
        time.sleep(0.3)  # to be answered, if it were
        assert all(is_silent(sock) for sock in [first, reading, *waiting]), "answered before it was on the disk"
        server.release()
        assert first.recv(10) == b"+OK\r\n" and reading.recv(20) in (b"$1\r\n2\r\n", b"$1\r\n1\r\n")
        got = sorted(int(sock.recv(20)[1:-2]) for sock in waiting)
        assert got == list(range(1, 51)), got
        server.kill()
        server.begin()
        assert server.client().mget("k", "n") == [b"2", b"50"]


def rewrite(policy, held):
    """HELD, and the rewrite is begun: clients go on, and it is whole in the end."""
    with Folder(f"slow-rewrite-{policy}") as folder:
        server = Slow(folder, "a", "--appendonly", "yes", "--appendfsync", policy, "--aof-patience-ms", "1")
        r, reader = server.client(), server.client()
        for i in range(200):
            r.set(f"k{i}", i)
        server.hold(held)
        assert r.execute_command("BGREWRITEAOF")
        wait_until(f"the disk stands: {held}", server.held)
        for i in range(ROUNDS):
            assert reader.incr("n") == i + 1
        info = reader.info("persistence")
        assert info["aof_rewrite_in_progress"] == 1, info
        server.release()
        wait_until("the rewrite has ended", lambda: reader.info("persistence")["aof_rewrite_in_progress"] == 0)
        info = reader.info("persistence")
        assert info["aof_last_bgrewrite_status"] == "ok" and info["aof_last_write_status"] == "ok", info
        assert reader.execute_command("WAITAOF", 1, 0, 60000) == [1, 0]
        wait_until("history files are gone", lambda: len(os.listdir(os.path.join(server.dir, "appendonlydir"))) == 3)
        server.kill()
        server.begin()
        r = server.client()
        assert r.get("n") == b"%d" % ROUNDS and r.dbsize() == 201


def test_a_rewrite_with_the_next_file_held():
    rewrite("everysec", "open 2.incr.aof")


def test_a_rewrite_with_the_sync_of_its_manifest_held():
    rewrite("everysec", "fsync manifest")


def test_a_rewrite_with_the_names_held():
    rewrite("everysec", "rename base.rdb")


def test_a_rewrite_with_the_manifest_held():
    rewrite("no", "rename manifest")


def test_a_rewrite_with_the_removal_held():
    with Folder("slow-removal") as folder:
        server = Slow(folder, "a", "--appendonly", "yes", "--aof-patience-ms", "1")
        r = server.client()
        r.set("k", 1)
        server.hold("unlink appendonlydir")
        r.execute_command("BGREWRITEAOF")
        wait_until("the disk stands", server.held)
        for i in range(ROUNDS):
            assert r.incr("n") == i + 1
        server.release()
        wait_until("history files are gone", lambda: len(os.listdir(os.path.join(server.dir, "appendonlydir"))) == 3)


def goes_round(reader):
    for i in range(ROUNDS):
        reader.set("round", i)
        assert reader.get("round") == b"%d" % i


def files_like(server, text):
    return [name for name in os.listdir(server.dir) if text in name]


def test_a_bgsave_with_each_call_held():
    with Folder("slow-bgsave") as folder:
        server = Slow(folder, "a", "--save", "", "--rdbcompression", "no")
        r, reader = server.client(), server.client()
        for i in range(100):
            r.set(f"k{i}", b"x" * 10000)
        dump = os.path.join(server.dir, "dump.rdb")
        for held in ("open temp-", "write temp-", "fsync temp-", "rename dump.rdb", f"fsync {os.path.basename(server.dir)}$"):
            if os.path.exists(dump):
                os.remove(dump)
            r.set("held", held)
            saves = r.info("persistence")["rdb_saves"]
            server.hold(held)
            began = asks(server, "BGSAVE")
            server.stands()
            assert began.recv(100) == b"+Background saving started\r\n"
            goes_round(reader)
            info = reader.info("persistence")
            assert info["rdb_bgsave_in_progress"] == 1 and info["rdb_saves"] == saves, (held, info)
            assert info["rdb_changes_since_last_save"] >= ROUNDS, (held, info)
            assert asks(server, "BGSAVE").recv(100) == b"-ERR Background save already in progress\r\n"
            assert asks(server, "SAVE").recv(100) == b"-ERR Background save already in progress\r\n"
            server.release()
            wait_until("the BGSAVE has ended", lambda: reader.info("persistence")["rdb_bgsave_in_progress"] == 0)
            info = reader.info("persistence")
            assert info["rdb_last_bgsave_status"] == "ok" and info["rdb_saves"] == saves + 1, (held, info)
            assert info["rdb_changes_since_last_save"] == ROUNDS, (held, info)
            assert os.path.getsize(dump) > 1000000 and not files_like(server, "temp-")
        server.kill()
        server.begin()
        assert server.client().get("held").endswith(b"$") and server.client().dbsize() == 102


def test_a_bgsave_that_is_dropped_with_each_call_held():
    """FLUSHALL without save points: it goes on at once, and the file goes when the disk does."""
    with Folder("slow-dropped") as folder:
        server = Slow(folder, "a", "--save", "", "--rdbcompression", "no")
        r, reader = server.client(), server.client()
        for held in ("open temp-", "write temp-", "fsync temp-", "rename dump.rdb"):
            for i in range(100):
                r.set(f"k{i}", b"x" * 10000)
            server.hold(held)
            r.execute_command("BGSAVE")
            server.stands()
            assert asks(server, "FLUSHALL").recv(10) == b"+OK\r\n"
            goes_round(reader)
            assert reader.info("persistence")["rdb_bgsave_in_progress"] == 0
            server.release()
            wait_until("no file is left", lambda: not files_like(server, "temp-"))
        server.hold("unlink temp-")
        r.config_set("rdb-key-save-delay", 100000)
        for i in range(100):
            r.set(f"k{i}", b"x" * 10000)
        r.execute_command("BGSAVE")
        wait_until("its file is there", lambda: files_like(server, "temp-"))
        r.flushall()
        server.stands()
        goes_round(reader)
        server.release()
        wait_until("no file is left", lambda: not files_like(server, "temp-"))
        r.config_set("rdb-key-save-delay", 0)
        r.execute_command("BGSAVE")
        wait_until("a BGSAVE goes through", lambda: r.info("persistence")["rdb_bgsave_in_progress"] == 0
                   and r.info("persistence")["rdb_last_bgsave_status"] == "ok")


def test_the_save_of_a_flush_comes_last():
    """With save points FLUSHALL saves, and waits for the disk: a BGSAVE that was getting its name is not what stays."""
    with Folder("slow-flush") as folder:
        server = Slow(folder, "a", "--save", "100000 1")
        r = server.client()
        r.set("old", "1")
        server.hold("rename dump.rdb")
        r.execute_command("BGSAVE")
        server.stands()
        flushing = asks(server, "FLUSHALL")
        time.sleep(0.2)
        assert is_silent(flushing), "the older BGSAVE would come over it"
        server.release()
        assert flushing.recv(10) == b"+OK\r\n"
        server.kill()
        server.begin()
        assert server.client().dbsize() == 0


def is_on(r):
    info = r.info("persistence")
    return info["aof_enabled"] == 1 and info["aof_rewrite_in_progress"] == 0 and info["aof_rewrite_scheduled"] == 0


def test_appendonly_yes_with_each_call_held():
    with Folder("slow-yes") as folder:
        server = Slow(folder, "a", "--save", "", "--aof-patience-ms", "1")
        r, reader = server.client(), server.client()
        for held in ("open .incr", "open temp-rewriteaof", "write temp-rewriteaof", "rename base.rdb", "fsync manifest", "rename manifest",
                     "unlink appendonlydir"):
            r.set("held", held)
            server.hold(held)
            setting = asks(server, "CONFIG", "SET", "appendonly", "yes")
            server.stands()
            goes_round(reader)
            if held == "open .incr":
                assert is_silent(setting) and reader.config_get("appendonly")["appendonly"] == "no"
                assert reader.info("persistence")["aof_enabled"] == 0
                server.release()
            assert setting.recv(100) == b"+OK\r\n", held
            assert reader.info("persistence")["aof_enabled"] == 1, held
            if held != "open .incr":
                server.release()
            wait_until("the AOF is on", lambda: is_on(reader))
            r.incr("n")
            assert r.execute_command("WAITAOF", 1, 0, 60000) == [1, 0]
            assert r.config_set("appendonly", "no")
        server.kill()
        server.options = [*server.options, "--appendonly", "yes"]
        server.begin()
        assert server.client().get("held") == b"unlink appendonlydir" and server.client().get("n") == b"7"


def test_appendonly_no_with_each_call_held():
    for policy in ("everysec", "no"):
        for call in ("write", "fsync"):
            with Folder(f"slow-no-{policy}-{call}") as folder:
                server = Slow(folder, "a", "--save", "", "--appendonly", "yes", "--appendfsync", policy, "--aof-patience-ms", "1")
                r, reader = server.client(), server.client()
                r.set("k", "1")
                server.hold(f"{call} incr.aof")
                r.set("k", "2")
                setting = asks(server, "CONFIG", "SET", "appendonly", "no")
                server.stands()
                wait_until("it is off", lambda: reader.info("persistence")["aof_enabled"] == 0)
                goes_round(reader)
                again = asks(server, "CONFIG", "SET", "appendonly", "no")
                back = asks(server, "CONFIG", "SET", "appendonly", "yes")
                goes_round(reader)
                assert is_silent(setting) and is_silent(again) and is_silent(back)
                server.release()
                assert setting.recv(100) == b"+OK\r\n" and again.recv(100) == b"+OK\r\n" and back.recv(100) == b"+OK\r\n"
                wait_until("the AOF is on", lambda: is_on(reader))
                r.set("k", "3")
                r.config_set("appendonly", "no")
                r.set("k", "4")
                server.kill()
                server.begin()
                assert server.client().get("k") == b"3"


def test_appendonly_no_under_always():
    """What came before it is on the disk before anybody is answered, it included."""
    with Folder("slow-no-always") as folder:
        server = Slow(folder, "a", "--save", "", "--appendonly", "yes", "--appendfsync", "always")
        r = server.client()
        r.set("k", "1")
        server.hold("fsync incr.aof")
        first = asks(server, "SET", "k", "2")
        server.stands()
        second, setting = asks(server, "APPEND", "k", "3"), asks(server, "CONFIG", "SET", "appendonly", "no")
        time.sleep(0.3)  # to be answered, if they were
        assert is_silent(first) and is_silent(second) and is_silent(setting)
        server.release()
        assert first.recv(10) == b"+OK\r\n" and second.recv(10) == b":2\r\n" and setting.recv(10) == b"+OK\r\n"
        assert r.info("persistence")["aof_enabled"] == 0
        server.kill()
        server.begin()
        assert server.client().get("k") == b"23"


def test_who_wanted_an_aof_is_gone():
    with Folder("slow-gone") as folder:
        server = Slow(folder, "a", "--save", "")
        reader = server.client()
        server.hold("open .incr")
        setting = asks(server, "CONFIG", "SET", "appendonly", "yes")
        server.stands()
        clients = reader.info("clients")["connected_clients"]
        setting.close()
        wait_until("it is gone", lambda: reader.info("clients")["connected_clients"] < clients)
        server.release()
        wait_until("the file is there", lambda: os.listdir(os.path.join(server.dir, "appendonlydir")))
        goes_round(reader)
        assert reader.info("persistence")["aof_enabled"] == 0
        assert reader.config_set("appendonly", "yes")
        wait_until("the AOF is on", lambda: is_on(reader))


def test_appendonly_inside_of_a_transaction():
    """There it waits for the disk, and has done what it says when EXEC answers."""
    with Folder("slow-exec") as folder:
        server = Slow(folder, "a", "--save", "")
        pipe = server.client().pipeline(transaction=True)
        pipe.config_set("appendonly", "yes").set("k", 1).config_set("appendonly", "no").config_set("appendonly", "yes").incr("k")
        assert pipe.execute() == [True, True, True, True, 2]
        wait_until("the AOF is on", lambda: is_on(server.client()))
        assert server.client().execute_command("WAITAOF", 1, 0, 60000) == [1, 0]
        server.kill()
        server.options = [*server.options, "--appendonly", "yes"]
        server.begin()
        assert server.client().get("k") == b"2"


def linked(replica):
    wait_until("the link is up", lambda: replica.info("replication")["master_link_status"] == "up")


def test_a_replica_has_no_more_than_the_file():
    """The master's disk stands, and it is killed: what the replica has the master has, too, when it is back."""
    with Folder("slow-master") as folder:
        master = Slow(folder, "master", "--appendonly", "yes", "--aof-patience-ms", "1000000")
        replica = RedisServer(folder, "replica", "--replicaof", "127.0.0.1", str(master.port))
        linked(replica)
        r, copy = master.client(), replica.client()
        r.set("before", "1")
        wait_until("the replica has it", lambda: copy.get("before") == b"1")
        replid = master.info("replication")["master_replid"]
        master.hold("write incr.aof")
        waiting = asks(master, "SET", "between", "1")
        wait_until("the disk stands", master.held)
        for _ in range(ROUNDS):
            assert copy.get("between") is None, "the replica has what the master may lose"
        master.kill()
        assert waiting.recv(10) == b""
        master.release()
        master.begin()
        linked(replica)
        assert master.info("replication")["master_replid"] == replid and master.info("stats")["sync_full"] == 0
        assert master.client().get("between") is None and copy.get("between") is None


def test_a_late_master_that_is_killed_is_another_history():
    with Folder("slow-late-master") as folder:
        master = Slow(folder, "master", "--appendonly", "yes", "--aof-patience-ms", "1")
        replica = RedisServer(folder, "replica", "--replicaof", "127.0.0.1", str(master.port))
        linked(replica)
        r, copy = master.client(), replica.client()
        r.set("before", "1")
        wait_until("the replica has it", lambda: copy.get("before") == b"1")
        wait_until("the file has it", lambda: master.info("persistence")["aof_buffer_length"] == 0)
        replid = master.info("replication")["master_replid"]
        master.hold("write incr.aof")
        r.set("between", "1")
        wait_until("the replica has what the file has not", lambda: copy.get("between") == b"1")
        master.kill()
        master.release()
        master.begin()
        linked(replica)
        assert master.info("replication")["master_replid"] != replid and master.info("stats")["sync_full"] == 1
        wait_until("they are equal", lambda: copy.get("between") == master.client().get("between"))
        assert copy.get("before") == b"1"


def test_a_replica_whose_disk_stands():
    """It does not confirm what a kill would take; what it may not hold waits at the master, and comes when the disk goes on."""
    with Folder("slow-replica") as folder:
        master = RedisServer(folder, "master")
        replica = Slow(folder, "replica", "--appendonly", "yes", "--aof-patience-ms", "1000000",
                       "--aof-buffer-memory", "1mb", "--replicaof", "127.0.0.1", str(master.port))
        linked(replica)
        wait_until("its AOF is on", lambda: replica.info("persistence")["aof_rewrite_in_progress"] == 0)
        r = master.client()
        r.set("before", "1")
        assert r.execute_command("WAIT", 1, 60000) == 1
        replica.hold("write incr.aof")
        r.set("k", "1")
        wait_until("the disk stands", replica.held)
        assert r.execute_command("WAIT", 1, 300) == 0, "confirmed, and not written"
        for i in range(100):
            r.set(f"big{i}", b"x" * 100000)
        # So far it answers nobody, as it would tell what a kill takes.
        assert asks(replica, "CONFIG", "SET", "aof-patience-ms", "1").recv(10) == b"+OK\r\n"
        copy = replica.client()
        wait_until("it holds no more", lambda: copy.info("persistence")["aof_buffer_length"] > 1 << 20)
        assert copy.get("k") == b"1"
        time.sleep(0.3)  # for more to come, if it did
        assert copy.info("persistence")["aof_buffer_length"] < 3 << 20
        replica.release()
        assert r.execute_command("WAIT", 1, 60000) == 1
        assert copy.dbsize() == 102
        # While it is late it confirms what is not written; from here on it waits for the file again.
        copy.config_set("aof-patience-ms", 1000000)
        wait_until("it is not late any more", lambda: copy.info("persistence")["drawbridge_aof_late"] == 0)
        r.set("last", "1")
        assert r.execute_command("WAIT", 1, 60000) == 1
        replica.kill()
        replica.begin()
        assert replica.client().dbsize() == 103


def test_shutdown_waits_for_the_disk():
    with Folder("slow-shutdown") as folder:
        server = Slow(folder, "a", "--appendonly", "yes", "--aof-patience-ms", "1")
        r = server.client()
        server.hold("write incr.aof")
        for i in range(ROUNDS):
            r.rpush("list", i)
        server.process.terminate()
        wait_until("it ends", lambda: server.said("Calling fsync() on the AOF file"))
        assert server.process.poll() is None
        os.remove(server.dir + ".hold")  # here the engine may wait
        assert server.process.wait(180) == 0
        server.begin()
        assert server.client().llen("list") == ROUNDS


needs_preloading()
run_tests(sys.modules[__name__])

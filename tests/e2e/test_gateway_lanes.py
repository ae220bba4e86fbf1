#!/usr/bin/python3
"""Dual write by lanes (C10-C21): legacy hides PSYNC, SYNC, CONFIG and DEBUG; what clients write is at the target, too.

Several clients write at random through the gateway: every type, expiries, MULTI, WATCH, scripts, blocking commands, keys of
several lanes at once. Meanwhile the target is stopped for a while, killed and started again without data, and the gateway is
killed. In the end the lanes say that both sides are level, and a reader that shares no code with them finds no difference.
"""
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import redis

from gwtest import Raw
from servers import Folder, Ours, PROGRAM, RedisServer, Relay, free_port, run_tests, wait_until
from walk import differences, walk

HIDDEN = [word for name in ("PSYNC", "SYNC", "CONFIG", "DEBUG") for word in ("--rename-command", name, "secret-" + name.lower())]


PATIENT = "cutover: { max_blackout: 10m }"  # what is held by hand while something is looked at gets no error


class Gateway:
    def __init__(self, folder, legacy, target, lanes=2, loops=1, options="", more=""):
        self.folder, self.port = folder.path, free_port()
        self.admin = os.path.join(folder.path, "gw.sock")
        self.file = os.path.join(folder.path, "lanes.yaml")
        self.log = os.path.join(folder.path, "gateway.log")
        self.process = None
        with open(self.file, "w", encoding="utf-8") as out:
            out.write(f"""migration: lanes
legacy: {{ address: "127.0.0.1:{legacy.port}" }}
target: {{ address: "127.0.0.1:{target.port}" }}
gateway:
  listen: "127.0.0.1:{self.port}"
  capture: lane
  lanes: {lanes}
  loops: {loops}
  standalone: true
  admin: "unix:{self.admin}"
  {options}
run_dir: "{folder.path}"
{more}
""")
        folder.servers.append(self)
        self.start()

    def start(self):
        with open(self.log, "a", encoding="utf-8") as out:
            self.process = subprocess.Popen([PROGRAM, "gateway", self.file], stdout=out, stderr=out)
        wait_until("the gateway answers", lambda: self.client().ping())

    def client(self, db=0, **options):
        return redis.Redis(port=self.port, db=db, socket_timeout=60, **options)

    def kill(self, how=signal.SIGKILL):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait()

    def lanes(self):
        with redis.Redis(unix_socket_path=self.admin, socket_timeout=60) as admin:
            return json.loads(admin.execute_command("GATEWAY", "LANES"))

    def turned(self):
        """Its figures are of now: each loop shows them by a timer of 20 ms, and has slept and woken since, however busy the machine is."""
        time.sleep(0.05)
        tasks, loops, slept = f"/proc/{self.process.pid}/task", {}, {}
        for task in sorted(os.listdir(tasks), key=int):
            try:
                with open(f"{tasks}/{task}/status", encoding="ascii") as status:
                    fields = dict(line.split(":", 1) for line in status)
            except OSError:
                continue  # it has ended
            name = fields["Name"].strip()
            if name.startswith("gw-") and name not in loops:  # a later one of that name is a loop's helper: it rests, or ends
                loops[name], slept[task] = task, int(fields["voluntary_ctxt_switches"])

        def has_woken(task):
            with open(f"{tasks}/{task}/status", encoding="ascii") as status:
                return int(status.read().split("\nvoluntary_ctxt_switches:")[1].split()[0]) > slept[task] + 2
        assert slept
        for task in slept:
            wait_until("each loop has turned", lambda task=task: has_woken(task))

    def wait_level(self, seconds=300):
        self.turned()
        try:
            wait_until("the lanes are level", lambda: self.lanes()["level"] == 1, seconds)
        except AssertionError:
            print(self.lanes())
            raise


class Writer(threading.Thread):
    """One client: random commands; a broken connection is opened again."""

    def __init__(self, gateway, seed, keys=60):
        super().__init__(daemon=True)
        self.gateway, self.rng, self.keys = gateway, random.Random(seed), keys
        self.done, self.broken, self.wrong, self.stopping = 0, 0, None, False
        self.slowest_s = 0.0

    def key(self, kind=None):
        return f"{kind or self.rng.choice('slehz')}{self.rng.randrange(self.keys)}"

    def one(self, r):
        rng, word = self.rng, "w%d" % self.rng.randrange(40)
        kind = rng.choice("slehzxp")
        k, k2 = self.key(kind), self.key(kind)
        common = [("DEL", k), ("RENAME", k, k2), ("PEXPIRE", k, rng.choice((100, 900000))), ("PERSIST", k), ("COPY", k, k2, "REPLACE"),
                  ("UNLINK", k, k2), ("EXPIRE", k, 900)]
        own = {
            "s": [("SET", k, word), ("SET", k, 5, "PX", rng.choice((150, 900000))), ("INCR", k), ("APPEND", k, word), ("SET", k, word, "NX"),
                  ("GETSET", k, word), ("INCRBYFLOAT", k, "0.1"), ("MSET", k, 1, k2, 2), ("SETRANGE", k, 3, word), ("GETDEL", k),
                  ("SETEX", k, 900, word), ("GETEX", k, "PX", 900000), ("SETBIT", k, 77, 1), ("MSETNX", k, 3, k2, 4)],
            "l": [("LPUSH", k, word), ("RPUSH", k, word, word), ("LPOP", k), ("RPOP", k, 2), ("LMOVE", k, k2, "LEFT", "RIGHT"),
                  ("LTRIM", k, 0, 20), ("LREM", k, 1, word), ("LSET", k, 0, word), ("BLPOP", k, k2, "0.05"), ("LINSERT", k, "BEFORE", word, "x"),
                  ("BLMOVE", k, k2, "LEFT", "LEFT", "0.05")],
            "e": [("SADD", k, word, "a"), ("SREM", k, word), ("SPOP", k), ("SPOP", k, 2), ("SMOVE", k, k2, word), ("SUNIONSTORE", k, k2, self.key("e")),
                  ("SDIFFSTORE", k, k2, self.key("e"))],
            "x": [("XADD", k, "*", "f", word), ("XADD", k, "MAXLEN", "~", 50, "*", "f", word), ("XADD", k, "MAXLEN", 20, "*", "f", word),
                  ("XTRIM", k, "MAXLEN", 10), ("XGROUP", "CREATE", k, "g", "0", "MKSTREAM"), ("XREADGROUP", "GROUP", "g", word, "COUNT", 2, "STREAMS", k, ">"),
                  ("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "BLOCK", 20, "STREAMS", k, ">"), ("XACK", k, "g", "0-1"), ("XSETID", k, "9999999999999-0"),
                  ("XAUTOCLAIM", k, "g", "other", 0, "0"), ("XGROUP", "DELCONSUMER", k, "g", word)],
            "p": [("PFADD", k, word), ("PFMERGE", k, k2), ("PFCOUNT", k)],
            "h": [("HSET", k, word, 1), ("HDEL", k, word), ("HINCRBY", k, "n", 2), ("HINCRBYFLOAT", k, "f", "0.3"), ("HSETNX", k, word, 7)],
            "z": [("ZADD", k, rng.random(), word), ("ZINCRBY", k, "0.1", word), ("ZREM", k, word), ("ZPOPMIN", k), ("ZADD", k, "INCR", 2, word),
                  ("ZUNIONSTORE", k, 2, k, k2), ("ZREMRANGEBYRANK", k, 0, 0), ("BZPOPMIN", k, "0.05"), ("ZRANGESTORE", k, k2, 0, 3)],
        }
        return rng.choice(own[kind] * 3 + common)

    def step(self, r):
        dice = self.rng.random()
        if dice < 0.05:
            with r.pipeline(transaction=True) as p:
                for _ in range(self.rng.randrange(1, 5)):
                    p.execute_command(*self.one(r))
                p.execute(raise_on_error=False)
        elif dice < 0.08:
            with r.pipeline(transaction=True) as p:
                k = self.key("s")
                p.watch(k)
                value = p.get(k)
                p.multi()
                p.set(k, (value or b"")[:20] + b"!")
                p.execute_command(*self.one(r))
                p.execute(raise_on_error=False)
        elif dice < 0.11:
            r.eval("redis.call('SET', KEYS[1], ARGV[1]); return redis.call('INCR', KEYS[2])", 2, self.key("s"), self.key("s"), "by script")
        elif dice < 0.2:
            with r.pipeline(transaction=False) as p:
                for _ in range(20):
                    p.execute_command(*self.one(r))
                p.execute(raise_on_error=False)
        else:
            r.execute_command(*self.one(r))

    def run(self):
        r = self.gateway.client(db=self.rng.choice((0, 0, 3)))
        r.response_callbacks.clear()  # ZADD INCR has another answer than ZADD
        while not self.stopping:
            began = time.monotonic()
            try:
                self.step(r)
                self.done += 1
            except redis.WatchError:
                pass
            except redis.ResponseError as err:
                if "drawbridge" in str(err):
                    self.wrong = str(err)
            except (redis.ConnectionError, redis.TimeoutError):
                self.broken += 1
                time.sleep(0.05)
                continue
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        r.close()


def fill(port, rng, count):
    for db in (0, 3):
        with redis.Redis(port=port, db=db) as r, r.pipeline(transaction=False) as p:
            for i in range(count):
                p.set(f"old{i}", "x" * rng.randrange(200))
                p.rpush(f"l{i}", *range(rng.randrange(1, 30)))
                p.hset(f"h{i}", mapping={f"f{j}": j for j in range(rng.randrange(1, 20))})
                p.zadd(f"z{i}", {f"m{j}": j / 3 for j in range(rng.randrange(1, 20))})
                p.set(f"t{i}", 1, ex=9000)
            p.execute()


def compare(legacy, target):
    time.sleep(0.5)  # what was about to expire has
    a, b = walk(legacy.port), walk(target.port)
    found = differences(a, b)
    assert not found, "\n".join(found)
    return len(a)


def with_load(folder, target_class, disturb, loops=1, options=""):
    rng = random.Random(folder.seed)
    legacy = RedisServer(folder, "legacy", *HIDDEN)
    target = target_class(folder, "target")
    fill(legacy.port, rng, 300)
    target.client().set("junk", "must go")
    to_legacy, to_target = Relay(legacy.port), Relay(target.port)
    gateway = Gateway(folder, to_legacy, to_target, loops=loops, options=options)
    gateway.relays = to_legacy, to_target
    writers = [Writer(gateway, folder.seed + i) for i in range(4)]
    for writer in writers:
        writer.start()
    wait_until("both sides were listed", lambda: gateway.lanes()["passes_total"] > 0, 300)
    disturb(gateway, target, writers)
    wait_until("much was done", lambda: sum(writer.done for writer in writers) > 500, 300)
    for writer in writers:
        writer.stopping = True
    for writer in writers:
        writer.join(300)
        assert not writer.is_alive(), "a client waits for ever"
        assert writer.wrong is None, writer.wrong
    gateway.wait_level()
    count = compare(legacy, target)
    lanes = gateway.lanes()
    done = sum(writer.done for writer in writers)
    print(f"{done} steps, {count} keys, slowest {max(w.slowest_s for w in writers):.3f} s, {lanes}")
    gateway.kill(signal.SIGTERM)
    assert gateway.process.returncode == 0, f"the gateway ended with {gateway.process.returncode}"


def calm(gateway):
    """Effects go to the target, and not only copies."""
    before = gateway.lanes()["effects_total"]
    wait_until("a hundred effects went", lambda: gateway.lanes()["effects_total"] > before + 100)


def follower_trouble(target, writers):
    def go_on(why):
        before = sum(w.done for w in writers)
        wait_until(f"the clients go on, with {why}", lambda: sum(w.done for w in writers) > before + 100)

    target.process.send_signal(signal.SIGSTOP)
    time.sleep(2)
    go_on("a stopped follower")
    target.process.send_signal(signal.SIGCONT)
    time.sleep(1)
    target.kill()
    time.sleep(1)
    go_on("a dead follower")
    target.start()  # without its data
    time.sleep(2)
    assert all(w.broken == 0 for w in writers), "clients lost their connections because of the follower"


def gateway_dies(gateway, journal_alone=False):
    """With the witness all keys are listed again, for scripts have run meanwhile (C22)."""
    passes = gateway.lanes()["passes_total"]
    for _ in range(3):
        gateway.kill()
        gateway.start()
        time.sleep(1)
    assert not journal_alone or passes > 0 and gateway.lanes()["passes_total"] == 0, "the journal knew the dirty keys, and yet all were listed"


def cuts(gateway, side, times):
    """The servers live on, and may still execute what was on its way."""
    for _ in range(times):
        gateway.relays[side].cut()
        time.sleep(0.2)
        gateway.relays[side].open()
        time.sleep(0.8)


def flushes(gateway):
    r = gateway.client()
    for _ in range(3):
        time.sleep(0.7)
        r.flushdb()
    r.flushall()
    time.sleep(0.5)


def test_the_bundled_server_as_target_with_deaths_of_all_but_legacy():
    def disturb(gateway, target, writers):
        calm(gateway)
        cuts(gateway, 1, 3)
        follower_trouble(target, writers)
        time.sleep(3)
        gateway_dies(gateway, journal_alone=True)

    with Folder("lanes-ours") as folder:
        with_load(folder, Ours, disturb, options="witness: off")


def test_a_redis_as_target_and_flushes_in_their_place():
    def disturb(gateway, target, writers):
        calm(gateway)
        cuts(gateway, 1, 4)
        flushes(gateway)
        cuts(gateway, 0, 3)
        wait_until("the link to legacy broke while a client's command was on its way",
                   lambda: any(w.broken for w in writers) or cuts(gateway, 0, 1), 120)
        calm(gateway)
        cuts(gateway, 1, 2)

    with Folder("lanes-redis") as folder:
        with_load(folder, RedisServer, disturb)


def test_clients_of_several_loops_with_deaths_of_all_but_legacy():
    def disturb(gateway, target, writers):
        calm(gateway)
        cuts(gateway, 1, 2)
        follower_trouble(target, writers)
        time.sleep(2)
        gateway_dies(gateway)
        cuts(gateway, 0, 3)
        flushes(gateway)
        calm(gateway)

    with Folder("lanes-loops") as folder:
        with_load(folder, Ours, disturb, loops=3)


def test_a_pipeline_over_several_lanes_keeps_its_order_in_any_loop():
    with Folder("lanes-order") as folder:
        legacy, target = RedisServer(folder, "legacy", *HIDDEN), Ours(folder, "target")
        gateway = Gateway(folder, legacy, target, lanes=3, loops=3)
        clients = [Raw(gateway.port) for _ in range(12)]  # the kernel deals them out to the loops
        for n, client in enumerate(clients):
            wanted = []
            for i in range(200):
                client.send("SET", f"c{n}", i)
                client.send("EVAL", "return redis.call('GET', KEYS[1]) .. redis.call('INCR', KEYS[2])", 2, f"c{n}", f"d{n}")
                client.send("PING")
                client.send("GET", f"d{n}")
                wanted += ["OK", b"%d%d" % (i, i + 1), "PONG", b"%d" % (i + 1)]
            for at, want in enumerate(wanted):
                got = client.read()
                assert got == want, (n, at, got, want)
        waiting, pusher = clients[0], clients[1]
        waiting.send("BLPOP", "queue", 60)
        wait_until("it waits", lambda: gateway.lanes()["waiting_clients"] == 1)
        assert pusher.call("RPUSH", "queue", "job", "next") == 2
        assert waiting.read() == [b"queue", b"job"]
        lost = Raw(gateway.port)  # a client that goes while it waits takes nothing with it
        lost.send("BLPOP", "other", 0)
        wait_until("it waits", lambda: gateway.lanes()["waiting_clients"] == 1)
        lost.sock.close()
        lost.file.close()
        wait_until("nobody waits", lambda: gateway.lanes()["waiting_clients"] == 0)
        assert pusher.call("RPUSH", "other", 1) == 1 and pusher.call("LLEN", "other") == 1
        gateway.wait_level()
        compare(legacy, target)


def test_what_lanes_cannot_do_is_said():
    with Folder("lanes-refuse") as folder:
        legacy, target = RedisServer(folder, "legacy", *HIDDEN), Ours(folder, "target")
        gateway = Gateway(folder, legacy, target)
        r = gateway.client()
        try:
            r.execute_command("CLIENT", "TRACKING", "ON")
            raise AssertionError("tracking was taken")
        except redis.ResponseError as err:
            assert "capture lane" in str(err), err
        assert r.blpop("nothing", timeout=1) is None
        other = gateway.client()
        threading.Timer(0.3, lambda: other.rpush("queue", "job")).start()
        assert r.blpop("queue", timeout=60) == (b"queue", b"job")


def test_by_hand_the_clients_are_held_and_moved_and_the_lanes_turn_round():
    with Folder("lanes-hold") as folder:
        legacy, target = RedisServer(folder, "legacy", *HIDDEN), Ours(folder, "target")
        gateway = Gateway(folder, legacy, target, more=PATIENT)
        writers = [Writer(gateway, folder.seed + i) for i in range(3)]
        for writer in writers:
            writer.start()
        wait_until("both sides were listed", lambda: gateway.lanes()["passes_total"] > 0, 300)
        for side in ("legacy", "target", "legacy"):
            with redis.Redis(unix_socket_path=gateway.admin) as admin:
                assert admin.execute_command("GATEWAY", "HOLD") == b"OK"
                wait_until("the loops have stopped", lambda: json.loads(admin.execute_command("GATEWAY", "STATS"))["held"])
                gateway.wait_level()
                compare(legacy, target)
                assert gateway.lanes()["level"] == 1
                done = sum(w.done for w in writers)
                admin.execute_command("GATEWAY", "RELEASE", side)
            primary = legacy if side == "legacy" else target
            before = primary.client().info("stats")["total_commands_processed"]
            wait_until("the clients go on", lambda: sum(w.done for w in writers) > done + 100)
            assert primary.client().info("stats")["total_commands_processed"] > before + 100
        for writer in writers:
            writer.stopping = True
            writer.join(300)
            assert writer.broken == 0, "nobody was disconnected"
        gateway.wait_level()
        compare(legacy, target)


def test_clients_of_both_protocols_share_a_lane():
    with Folder("lanes-resp3") as folder:
        legacy, target = RedisServer(folder, "legacy", *HIDDEN), Ours(folder, "target")
        gateway = Gateway(folder, legacy, target, lanes=1)
        new, old = Raw(gateway.port), Raw(gateway.port)
        assert isinstance(new.call("HELLO", 3), dict)
        for i in range(50):
            new.send("ZADD", "z", "INCR", 0.5, "m")
            old.send("HSET", "h", i, i)
            assert new.read() == (i + 1) / 2 and old.read() == 1, i
        assert isinstance(new.call("HGETALL", "h"), dict) and isinstance(old.call("HGETALL", "h"), list)
        assert new.call("BLPOP", "none", "0.1") is None and old.call("BLPOP", "none", "0.1") is None
        new.send("MULTI")
        new.send("HGETALL", "h")
        new.send("INCR", "n")
        new.send("EXEC")
        assert [new.read() for _ in range(3)] == ["OK", "QUEUED", "QUEUED"]
        block = new.read()
        assert isinstance(block[0], dict) and block[1] == 1, block
        gateway.wait_level()
        assert not differences(walk(legacy.port), walk(target.port))


if __name__ == "__main__":
    sys.exit(run_tests(sys.modules[__name__]))

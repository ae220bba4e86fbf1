#!/usr/bin/python3
"""Two gateways, told by a state of this test's own (docs/CONTROL.md), change the primary side under live clients.

The target is a redis replica of legacy until the barrier, so that what is at one side is at the other.
"""
import json
import os
import socket
import subprocess
import sys
import threading
import time

import redis

from gwtest import PROGRAM, Bench, Error, Push, Raw, check, free_port, wait_for


class Member:
    """The task connection of one gateway, after HELLO."""

    def __init__(self, conn, hello):
        self.conn, self.hello = conn, hello
        self.answers, self.reports = [], []
        self.changed = threading.Condition()

    def run(self):
        try:
            while True:
                value = self.conn.read()
                with self.changed:
                    (self.reports if isinstance(value, Push) else self.answers).append(value)
                    self.changed.notify_all()
        except (OSError, EOFError, ValueError):
            pass

    def tell(self, *words):
        with self.changed:
            before = len(self.answers)
            self.conn.send(*words)
            assert self.changed.wait_for(lambda: len(self.answers) > before, 30), f"no answer to {words}"
            return self.answers[before]

    def report(self, kind, barrier):
        def find():
            return [r for r in self.reports if r[0] == kind.encode() and r[1] == barrier.encode()]
        with self.changed:
            assert self.changed.wait_for(find, 30), f"no {kind} {barrier}; reports {self.reports[-3:]}"
            return json.loads(find()[-1][-1])


class State:
    def __init__(self, path):
        self.epoch, self.primary = 5, "legacy"
        self.members, self.asked = {}, 0
        self.mute = False
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(20)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            conn = Raw.__new__(Raw)
            conn.sock, conn.file = sock, sock.makefile("rb")
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        try:
            while True:
                words = [w.decode() for w in conn.read()]
                if words[:2] == ["DRAWBRIDGE", "EPOCH"]:
                    self.asked += 1
                    while self.mute:
                        time.sleep(0.01)
                    conn.send(str(self.epoch), self.primary, "following")
                elif words[:2] == ["DRAWBRIDGE", "HELLO"]:
                    check("hello", words[2], "gateway")
                    conn.send("epoch", self.epoch, "primary", self.primary, "capture", "stream", "phase", "following", "migration", "t")
                    self.members[words[3]] = member = Member(conn, words)
                    conn.send("ROUTE", self.epoch, self.primary, "stream")
                    member.run()
                    return
        except (OSError, EOFError, TypeError):
            pass

    def all(self, *words):
        for member in self.members.values():
            check(words, member.tell(*words), "OK")

    def reports(self, kind, barrier):
        return [member.report(kind, barrier) for member in self.members.values()]


class Two(Bench):
    """Two gateways with a state, legacy, and target as its replica."""

    def __init__(self, max_blackout="10m"):
        super().__init__(target=True, cutover=f"cutover: {{ max_blackout: {max_blackout} }}")
        self.port2 = free_port()

    def start_gateway(self):
        path = os.path.join(self.folder, "drawbridge.yaml")
        with open(path, encoding="utf-8") as text:
            config = text.read().replace("standalone: true", "standalone: false")
        with open(path, "w", encoding="utf-8") as out:
            out.write(config + f'state: {{ control: "unix:{self.folder}/control.sock" }}\n')
        self.state = State(os.path.join(self.folder, "control.sock"))
        self.start("gateway", PROGRAM, "gateway", "drawbridge.yaml", "--name", "one")
        self.start("gateway2", PROGRAM, "gateway", "drawbridge.yaml", "--name", "two", "--listen", f"127.0.0.1:{self.port2}",
                   "--admin", f"unix:{self.folder}/two.sock")
        wait_for("both gateways", lambda: len(self.state.members) == 2)
        self.follow("target")

    def follow(self, side):
        other = self.legacy_port if side == "target" else self.target_port
        self.direct(side).execute_command("REPLICAOF", "127.0.0.1", other)
        wait_for("the replica", lambda: self.direct(side).info("replication")["master_link_status"] == "up")

    def change(self, barrier, side):
        """PREPARE, HOLD, drain, RELEASE at SIDE. Returns what the gateways reported."""
        state, old = self.state, "legacy" if side == "target" else "target"
        state.all("PREPARE", barrier, side)
        prepared = state.reports("PREPARED", barrier)
        state.all("HOLD", barrier, state.epoch)
        held = state.reports("HELD", barrier)
        offset = self.direct(old).info("replication")["master_repl_offset"]
        wait_for("drained", lambda: self.direct(side).info("replication").get("slave_repl_offset", 0) >= offset)
        time.sleep(0.05)
        after = self.direct(old).info("replication")["master_repl_offset"]
        check("nothing was written while held, but pings", after - offset in (0, 14), True)
        self.direct(side).execute_command("REPLICAOF", "NO", "ONE")
        state.epoch, state.primary = state.epoch + 1, side
        state.all("RELEASE", barrier, state.epoch, side)
        return prepared, held, state.reports("RELEASED", barrier)


class Counter(threading.Thread):
    """INCR and RPUSH with sequence numbers; knows what was confirmed."""

    def __init__(self, port, name):
        super().__init__()
        self.client, self.key = redis.Redis(port=port), name
        self.count, self.errors, self.slowest, self.go = 0, [], 0.0, True

    def run(self):
        while self.go:
            began = time.monotonic()
            try:
                pipe = self.client.pipeline(transaction=self.count % 2 == 0)
                pipe.incr(self.key)
                pipe.rpush(self.key + ":list", self.count)
                check("count", pipe.execute(), [self.count + 1, self.count + 1])
                self.count += 1
            except (redis.RedisError, AssertionError) as error:
                self.errors.append(repr(error))
                return
            self.slowest = max(self.slowest, time.monotonic() - began)
            time.sleep(0.001)


def test_there_and_back(b):
    counters = [Counter(port, f"c{n}") for n, port in enumerate([b.port, b.port2] * 4)]
    for counter in counters:
        counter.start()
    blocked, popped = [b.raw() for _ in range(5)], []
    for n, c in enumerate(blocked):
        c.send("BLPOP", f"wait{n}", "30")
    wait_for("blocked", lambda: b.direct().info("clients")["blocked_clients"] == 5)
    stream = b.raw()
    stream.send("XREAD", "BLOCK", "20000", "STREAMS", "xs", "$")
    sub = b.raw()
    sub.send("SUBSCRIBE", "news", "more")
    sub.read(), sub.read()
    sub3 = Raw(b.port2)
    sub3.call("HELLO", "3")
    check("subscribed", sub3.call("PSUBSCRIBE", "n*"), [b"psubscribe", b"n*", 1])
    watch = b.raw()
    watch.call("SET", "w", "1")
    watch.call("WATCH", "w")
    in_db = b.raw()
    in_db.call("SELECT", "7")
    in_db.call("CLIENT", "SETNAME", "seven")
    sha = b.raw().call("SCRIPT", "LOAD", "return 'from ' .. ARGV[1]").decode()
    for round_, side in enumerate(("target", "legacy", "target")):
        wait_for("they wait", lambda: b.direct(b.state.primary).info("clients")["blocked_clients"] == 6)
        b.raw().call("PUBLISH", "news", f"before {side}")
        prepared, held, released = b.change(f"b{round_}", side)
        check("prepared", (sum(p["subscriptions"] for p in prepared), max(p["scripts"] for p in prepared)), (2, 1))
        check("blocked", sum(h["blocked"] for h in held), 6)
        check("held", max(r["held_us_max"] for r in released) > 0, True)
        sub3.send("SET", "by a subscriber", side)  # at once: it must go to the new side
        check("published", b.raw().call("PUBLISH", "news", f"after {side}"), 2)
        check("database survives", (in_db.call("SET", "seven", side), b.direct(side, db=7).get("seven")), ("OK", side.encode()))
        check("name survives", in_db.call("CLIENT", "GETNAME"), b"seven")
        watch.call("MULTI")
        watch.call("SET", "w", "2")
        check("an open WATCH fails", watch.call("EXEC"), None)
        check("and then works again", (watch.call("WATCH", "w"), watch.call("GET", "w")), ("OK", b"1"))
        check("script", b.raw().call("EVALSHA", sha, 0, side), b"from " + side.encode())
        b.follow("legacy" if side == "target" else "target")
    expected = [f"{when} {side}".encode() for side in ("target", "legacy", "target") for when in ("before", "after")]
    check("RESP2 messages", [sub.read() for _ in range(6)], [[b"message", b"news", m] for m in expected])
    replies = [sub3.read() for _ in range(9)]
    check("RESP3 messages", [r for r in replies if r != "OK"], [[b"pmessage", b"n*", b"news", m] for m in expected])
    check("a subscriber's own writes", (len([r for r in replies if r == "OK"]), b.raw().call("GET", "by a subscriber")), (3, b"target"))
    c = b.raw()
    for n in range(5):
        c.call("RPUSH", f"wait{n}", n)
    check("blocked ones", [x.read() for x in blocked], [[f"wait{n}".encode(), str(n).encode()] for n in range(5)])
    c.call("XADD", "xs", "1-1", "f", "v")
    check("blocked in a stream", stream.read(), [[b"xs", [[b"1-1", [b"f", b"v"]]]]])
    for counter in counters:
        counter.go = False
    for counter in counters:
        counter.join()
    check("errors", [e for k in counters for e in k.errors], [])
    for counter in counters:
        check("counted", int(c.call("GET", counter.key)), counter.count)
        check("in order", c.call("LRANGE", counter.key + ":list", 0, -1), [str(i).encode() for i in range(counter.count)])
    print("  slowest request %.0f ms, %d requests" % (1000 * max(k.slowest for k in counters), sum(k.count for k in counters)))


def test_an_aborted_barrier_releases_the_old_side(b):
    side, state = b.state.primary, b.state
    c = b.raw()
    waiting = b.raw()
    waiting.send("BLPOP", "aborted", "20")
    wait_for("it waits", lambda: any(x["cmd"] == "blpop" for x in b.direct(side).client_list()))
    state.all("HOLD", "b9", state.epoch)
    state.reports("HELD", "b9")
    c.send("INCR", "held")
    state.all("HOLD", "b9", state.epoch)  # again, as after a broken connection
    state.all("ROUTE", state.epoch, side, "stream")  # does not end a hold
    c.sock.settimeout(0.3)
    try:
        c.sock.recv(1)
        raise AssertionError("it was answered while held")
    except TimeoutError:
        c.sock.settimeout(30)
    state.all("RELEASE", "b9", state.epoch, side)
    check("answered", c.read(), 1)
    b.direct(side).rpush("aborted", "x")
    check("blocked", waiting.read(), [b"aborted", b"x"])
    check("stale", [m.tell("ROUTE", state.epoch - 1, side, "stream") for m in state.members.values()],
          [Error(f"STALEEPOCH {state.epoch}")] * 2)


def after_max_blackout_commands_fail_and_nothing_is_sent(b):
    state = b.state
    c = b.raw()
    c.call("DEL", "dark")
    began = time.monotonic()
    state.all("HOLD", "b10", state.epoch)
    c.send("INCR", "dark")
    check("failed", c.read().startswith("TRYAGAIN"), True)
    check("after a second", time.monotonic() - began > 0.8, True)
    check("at once now", c.call("INCR", "dark").startswith("TRYAGAIN"), True)
    check("local ones go on", c.call("PING"), "PONG")
    state.all("RELEASE", "b10", state.epoch, state.primary)
    check("nothing was sent", c.call("GET", "dark"), None)


def test_a_new_connection_asks_for_the_epoch_first(b):
    side, state = b.state.primary, b.state
    c = b.raw()
    c.call("SET", "k", "1")
    state.mute, asked = True, state.asked
    b.direct(side).execute_command("CLIENT", "KILL", "TYPE", "normal")
    wait_for("the loss is known", lambda: '"backend_up":false' in b.call_admin("GATEWAY", "STATS"))
    c = b.raw()
    c.send("SET", "k", "2")
    wait_for("it asks", lambda: state.asked > asked)
    time.sleep(0.3)
    check("not used before the answer", b.direct(side).get("k"), b"1")
    state.mute = False
    check("used after it", c.read(), "OK")


def test_a_lost_connection_is_known_to_be_gone_before_held(b):
    side, state = b.state.primary, b.state
    direct = b.direct(side)
    c = b.raw()
    check("connected", c.call("SET", "k", "5"), "OK")
    direct.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
    c.send("INCR", "k")
    wait_for("it is there", lambda: any(x["cmd"] == "incr" for x in direct.client_list()))
    state.all("HOLD", "b11", state.epoch)
    time.sleep(0.1)
    check("not held yet", [r for m in state.members.values() for r in m.reports if r[1] == b"b11" and m.hello[3] == "one"], [])
    direct.execute_command("CLIENT", "KILL", "TYPE", "normal")
    check("its client is closed", c.is_closed(), True)
    state.reports("HELD", "b11")
    direct.execute_command("CLIENT", "UNPAUSE")
    check("it was never executed, and never will be", direct.get("k"), b"5")
    state.all("RELEASE", "b11", state.epoch, side)
    check("and on", b.raw().call("INCR", "k"), 6)


def test_a_gateway_that_was_left_behind_sends_nothing(b):
    """It does not hear of the barrier (its state is deaf), is fenced, and may go on only with the new epoch."""
    side, state = b.state.primary, b.state
    direct, c = b.direct(side), b.raw()
    check("before", c.call("SET", "left", "1"), "OK")
    state.epoch += 1  # a barrier that this gateway did not hear of
    direct.execute_command("CLIENT", "KILL", "TYPE", "normal")
    time.sleep(0.2)
    c.send("SET", "left", "2")
    time.sleep(0.4)
    check("nothing is sent with an old epoch", direct.get("left"), b"1")
    state.all("ROUTE", state.epoch, side, "stream")
    check("with the new one it goes on", (c.read(), direct.get("left")), ("OK", b"2"))
    names = {n["name"].split(":")[2] for n in direct.client_list() if n["name"].startswith("drawbridge-gw:one")}
    check("named with the new epoch", names, {str(state.epoch)})


def test_a_primary_that_turned_replica_is_noticed(b):
    side, state = b.state.primary, b.state
    other = b.legacy_port if side == "target" else b.target_port
    direct = b.direct(side)
    c = b.raw()
    check("connected", c.call("SET", "k", "2"), "OK")
    direct.execute_command("REPLICAOF", "127.0.0.1", other)
    check("refused", c.call("SET", "k", "3").startswith("READONLY"), True)
    wait_for("the report", lambda: [r for m in state.members.values() for r in m.reports if r[0] == b"DOWNGRADED"])
    c.send("SET", "k", "4")
    time.sleep(0.3)
    direct.execute_command("REPLICAOF", "NO", "ONE")
    check("goes on when it is a primary again", c.read(), "OK")


def main():
    with Two() as b:
        for name, test in list(globals().items()):
            if name.startswith("test_"):
                began = time.monotonic()
                test(b)
                print(f"  {name}: fine in {time.monotonic() - began:.2f} s", flush=True)
        print(subprocess.run(["redis-cli", "-s", b.admin, "GATEWAY", "STATS"], stdout=subprocess.PIPE, text=True, check=True).stdout)
    with Two("1s") as b:
        after_max_blackout_commands_fail_and_nothing_is_sent(b)
        print("  after_max_blackout_commands_fail_and_nothing_is_sent: fine", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""bridge.py -- a whole bridge for end-to-end tests: legacy, target, gateway(s), syncer, state, live clients.

    with Bridge("name", target="bundled") as b:
        b.fill(20000)
        clients = b.clients(3)
        b.verb("start", "--yes"); b.wait_phase("level", audit=True)
        b.verb("cutover", "--yes", "--wait")
        b.kill("syncer"); b.restart("syncer")
        b.check_clients(clients)

Every role is a process of its own, so that each can be killed with -9 and started again. All ports
are free ones of 127.0.0.1, all files are in a temporary folder, which is kept when the test fails.
"""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import redis

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(TOP, "deploy", "demo"))
from ports import free_port  # noqa: E402
from stage import PROGRAM, Clients, Stage, wait_for_redis  # noqa: E402
import seeds  # noqa: E402
import walk  # noqa: E402

CONFIG = """\
migration: test
legacy:  {{ address: "127.0.0.1:{legacy}", commands: {{ psync: {psync} }} }}
target:  {{ address: "127.0.0.1:{target}" }}
{server}
gateway: {{ listen: "127.0.0.1:{gateway}", loops: 2, capture: {capture}, lanes: {lanes}, admin: "unix:gateway.sock" }}
syncer:  {{ spool: {{ dir: spool, limit: 1GB }} }}
state:   {{ ledger: ledger.db, control: "unix:control.sock", api: "unix:api.sock" }}
run_dir: .
gates:   {{ lag: 1s, audit_age: 1h }}
cutover: {{ max_hold: {max_hold}, max_blackout: 20s }}
"""


# Why a barrier is refused or undone on a machine that is too slow for its deadlines.
SLOW = ("is closed", "deadline of", "did not get ready in time", "another step is under way", "a gateway is just coming in",
        "did not confirm", "went away", "silent for")

# As clouds hide them: to everybody but the tests, which know the names.
HIDDEN = tuple(word for name in ("PSYNC", "SYNC", "CONFIG", "DEBUG") for word in ("--rename-command", name, "secret-" + name.lower()))


class Direct(redis.Redis):
    """Past the gateway: a gate is closed while somebody stays there."""

    def execute_command(self, *words, **options):
        try:
            return super().execute_command(*words, **options)
        finally:
            self.connection_pool.disconnect()


class Bridge(Stage):
    def __init__(self, name, target="bundled", max_hold="3s", gateways=1, legacy_options=(), seed=None, capture="stream",
                 psync="PSYNC", lanes=1, programs=None, peers=None):
        super().__init__(tempfile.mkdtemp(prefix=f"drawbridge-{name}-"))
        self.seed = seeds.seed() if seed is None else int(os.environ.get("SEED", seed))
        self.random = random.Random(self.seed)
        print(f"{name}: SEED={self.seed} folder {self.folder}", flush=True)
        self.kind = target
        self.programs = programs or {}  # side: binary of another version
        self.ports = {n: free_port() for n in ("legacy", "target", "gateway", "gateway2")}
        self.commands = {}
        self.processes = {}
        server = f"server:  {{ port: {self.ports['target']}, dir: server }}" if target == "bundled" else ""
        self.write("drawbridge.yaml", CONFIG.format(server=server, max_hold=max_hold, capture=capture, psync=psync, lanes=lanes, **self.ports))
        self.capture = capture
        self.peers = capture != "stream" if peers is None else peers  # gateways that can reach each other
        for folder in ("legacy-data", "server"):
            os.makedirs(os.path.join(self.folder, folder))
        self.legacy_options = legacy_options
        self.gateways = gateways

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as out:
            out.write(text)

    def redis_command(self, side, folder, *options):
        return (self.programs.get(side, "redis-server"), "--port", str(self.ports[side]), "--dir", os.path.join(self.folder, folder),
                "--save", "", "--repl-diskless-sync-delay", "0", "--repl-backlog-size", "32mb", *options)

    def __enter__(self):
        self.commands["legacy"] = self.redis_command("legacy", "legacy-data", *self.legacy_options)
        if self.kind == "bundled":
            self.commands["target"] = (PROGRAM, "server", "--port", str(self.ports["target"]), "--dir",
                                       os.path.join(self.folder, "server"), "--appendonly", "yes",
                                       "--aof-patience-ms", "1000000")  # who is killed has written what it answered, however busy the disk is
        else:
            self.commands["target"] = self.redis_command("target", "server", "--appendonly", "yes")
        for role in ("state", "syncer", "gateway"):
            self.commands[role] = (PROGRAM, role, "drawbridge.yaml")
        if self.gateways == 2:
            self.commands["gateway2"] = (PROGRAM, "gateway", "drawbridge.yaml", "--name", "second", "--listen",
                                         f"127.0.0.1:{self.ports['gateway2']}", "--admin", "unix:gateway2.sock")
            if self.peers:
                self.commands["gateway"] += ("--peer", "unix:gateway.peer")
                self.commands["gateway2"] += ("--peer", "unix:gateway2.peer")
        for role in self.commands:
            self.restart(role)
        wait_for_redis(self.ports["gateway"])
        if self.gateways == 2:
            wait_for_redis(self.ports["gateway2"])
        until = time.monotonic() + 120
        while not os.path.exists(os.path.join(self.folder, "api.sock")):  # verbs can be said
            assert time.monotonic() < until, "state does not come"
            time.sleep(0.02)
        return self

    def __exit__(self, kind, *_):
        self.close()
        if kind is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            for role in self.commands:
                print(f"--- the end of {role}.log\n{self.log_tail(role, 12)}")

    def restart(self, role):
        """Start ROLE (again). A server is waited for; the others are not."""
        old = self.log_tail(role, 400)
        self.processes[role] = self.start(role, *self.commands[role])
        if old:
            self.write(f"{role}.{int(time.time() * 1000)}.log", old)
        if role in ("legacy", "target"):
            wait_for_redis(self.ports[role], 300 if old else 120)  # it may have much to load

    def kill(self, role):
        """kill -9, and wait until it is gone."""
        process = self.processes[role]
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()

    def settled(self, timeout_s=180):
        """Wait until no barrier runs and every gate that matters is open; the status then."""
        until = time.monotonic() + timeout_s
        status = {}
        while time.monotonic() < until:
            try:
                status = self.status()
            except SystemExit:
                time.sleep(0.1)
                continue
            if not status["barrier_running"] and status["phase"] in ("level", "guarded") and status["gates_open"]:
                return status
            time.sleep(0.05)
        closed = [(g["id"], g["observed"]) for g in status.get("gates", []) if g["matters"] and g["state"] not in ("pass", "warn")]
        raise AssertionError(f"not settled: {status.get('phase')} {status.get('summary')} {closed}")

    def pause(self, role):
        self.processes[role].send_signal(signal.SIGSTOP)

    def go_on(self, role):
        self.processes[role].send_signal(signal.SIGCONT)

    def fill(self, count, side="legacy"):
        """COUNT keys of five types in three databases, a part with expiry times, as one pipe of commands."""
        pick = self.random
        lines = []
        for number in range(count):
            if number % (count // 3 + 1) == 0:
                lines.append(f"SELECT {3 * number // count}")
            kind = number % 5
            key, word = f"fill:{number}", f"{pick.random()}"
            lines.append((f"SET {key} {word * pick.randrange(1, 9)}", f"RPUSH {key} " + f"{word} " * pick.randrange(1, 30),
                          f"SADD {key} {word} {number} x{number}", f"HMSET {key} f {word} g {number} h {word * 5}",
                          f"ZADD {key} {word} a 1e-9 b {number} c")[kind])
            if number % 7 == 3:
                lines.append(f"PEXPIRE {key} {pick.randrange(10 ** 6, 10 ** 8)}")
        subprocess.run(["redis-cli", "-p", str(self.ports[side]), "--pipe"], input="\r\n".join(lines) + "\r\n", text=True,
                       check=True, stdout=subprocess.DEVNULL)

    def clients(self, count=3, ops_per_s=150, port="gateway", first=0):
        """COUNT live clients, numbered from FIRST on (their keys carry the number)."""
        return Clients(self, self.ports[port], count, ops_per_s, first)

    def attempt(self, *words):
        """A verb whose outcome does not matter here: state may die under it."""
        subprocess.run([PROGRAM, *words, "--output", "json"], cwd=self.folder, env=self.env, capture_output=True,
                       timeout=300, check=False)

    def status(self):
        return self.verb("status", wanted=(0, 1, 3, 5))

    def wait_phase(self, *phases, timeout_s=180, audit=False):
        """Wait for one of PHASES; with AUDIT, run one audit as soon as the link follows."""
        until = time.monotonic() + timeout_s
        status, asked = {}, 0.0
        while time.monotonic() < until:
            try:
                status = self.status()
            except SystemExit:  # state is dead or just starting
                time.sleep(0.3)
                continue
            if status.get("phase") in phases:
                return status
            if audit and time.monotonic() > asked + 10 and status.get("phase") == "following":
                asked = time.monotonic()  # one that met a link just starting fails, and is asked for again
                self.verb("audit", "start", "--wait", "--yes", wanted=(0, 1, 3, 5))
            time.sleep(0.1)
        raise AssertionError(f"not in phase {phases} after {timeout_s} s: " + json.dumps(status)[:3000])

    def wait_ready(self, timeout_s=180):
        """Level, with every gate open: what a person waits for before a cutover."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            status = self.wait_phase("level", timeout_s=timeout_s, audit=True)
            if status.get("gates_open"):
                return status
            time.sleep(0.1)
        raise AssertionError("gates stay closed: " + json.dumps(status.get("gates"))[:3000])

    def wait_gates(self, timeout_s=180):
        """Every gate is known and open again, in whatever phase."""
        until = time.monotonic() + timeout_s
        status = {}
        while time.monotonic() < until:
            try:
                status = self.status()
            except SystemExit:
                status = {}
            if status.get("gates_open"):
                return status
            time.sleep(0.1)
        raise AssertionError("gates stay closed: " + json.dumps([g for g in status.get("gates", []) if g["state"] != "pass"])[:3000])

    def move(self, verb, *more):
        """A cutover or a rollback. It is asked for again when a busy machine has just closed a gate or was too slow for a deadline, and
        then everything is as it was; nothing else may undo it."""
        for _ in range(10):
            result = self.verb(verb, "--yes", "--wait", *more, wanted=(0, 3, 8))
            if result.get("outcome") == "completed":
                return result
            why = result.get("why") or result.get("error") or json.dumps(result)
            print(f"  {verb} again: {why}", flush=True)
            assert any(reason in why for reason in SLOW), f"{verb}: {why}"
            self.wait_open()
        raise AssertionError(f"{verb} was not possible ten times: {why}")

    def wait_open(self, timeout_s=300):
        """No barrier runs, and every gate that matters is open; an audit is made where its claim is missing."""
        until = time.monotonic() + timeout_s
        while True:
            status = self.wait_phase("level", "guarded", timeout_s=timeout_s, audit=True)
            if status["gates_open"] and not status["barrier_running"]:
                return status
            assert time.monotonic() < until, [(g["id"], g["observed"]) for g in status["gates"] if g["state"] not in ("pass", "warn")]
            time.sleep(0.1)

    def audit(self, wanted=0):
        for _ in range(5):
            result = self.verb("audit", "start", "--wait", "--yes", wanted=(0, 3, 5))
            if result.get("outcome") in ("equal", "different"):
                break
            print(f"  audit again: {result.get('error')}", flush=True)  # it claims nothing: a link that had just begun, and the like
            time.sleep(0.5)
        assert result.get("differences") == wanted, f"audit: {json.dumps(result)[:2000]}"
        return result

    def check_clients(self, clients, errors=0):
        """Nothing lost, doubled or wrong; at most ERRORS failed commands (0 when nothing of theirs was killed)."""
        total = clients.finish()
        assert not (total["lost"] or total["doubled"] or total["wrong"]) and total["errors"] <= errors, json.dumps(total)[:4000]
        assert total["commands"] > 0
        return total

    def wait_lanes(self, timeout_s=180):
        """Capture lane: wait until everything is copied and confirmed. What state knows is up to a second old: what counts was reported
        after the call, and so knows of a DEL through each gateway."""
        def figures(lanes):
            return {name: [told.get(figure) for figure in ("commands_total", "simple_total", "forwarded_total")]
                    for name, told in (lanes.get("gateways") or {}).items()}

        before = figures(self.status().get("lanes") or {})
        for role in ("gateway", "gateway2")[:self.gateways]:
            subprocess.run(["redis-cli", "-p", str(self.ports[role]), "DEL", "nobody's key"], stdout=subprocess.DEVNULL, timeout=300, check=False)
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            lanes = self.status().get("lanes") or {}
            now = figures(lanes)
            if lanes.get("level") and all(now[name] != before.get(name) for name in now):
                return
            time.sleep(0.1)
        raise AssertionError("the lanes are not level: " + json.dumps(lanes))

    def check_equal(self):
        """Both sides at rest: an independent walk finds no difference."""
        found = walk.differences(*(walk.told(walk.walk(self.ports[side])) for side in ("legacy", "target")))
        assert not found, "legacy | target\n" + "\n".join(found)

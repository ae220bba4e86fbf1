"""state_stage.py -- a real state and two real redis-servers, with members that are fakes."""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

import redis

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(TOP, "deploy", "demo"))
from ports import free_port  # noqa: E402
from stage import PROGRAM, Stage, wait_for_redis  # noqa: E402
from fakes import Gateway, Syncer, Wire  # noqa: E402
from seeds import seed  # noqa: E402

CONFIG = """\
migration: test
legacy:  {{ address: "127.0.0.1:{legacy}" }}
target:  {{ address: "127.0.0.1:{target}" }}
gateway: {{ listen: "127.0.0.1:1" }}
syncer:  {{ spool: {{ dir: spool, limit: 64MB }} }}
state:   {{ ledger: ledger.db, control: "unix:control.sock", api: "unix:api.sock" }}
run_dir: .
gates:   {{ lag: 1s, audit_age: 1h }}
cutover: {{ max_hold: {max_hold}, max_blackout: 20s }}
"""


class StateStage(Stage):
    def __init__(self, name, gateways=2, max_hold="8s"):
        super().__init__(tempfile.mkdtemp(prefix=f"drawbridge-{name}-"))
        self.seed = seed()
        self.random = random.Random(self.seed)
        print(f"{name}: SEED={self.seed} folder {self.folder}", flush=True)
        self.ports = {side: free_port() for side in ("legacy", "target")}
        self.control = os.path.join(self.folder, "control.sock")
        with open(os.path.join(self.folder, "drawbridge.yaml"), "w", encoding="utf-8") as out:
            out.write(CONFIG.format(max_hold=max_hold, **self.ports))
        self.wanted_gateways = gateways
        self.members = []

    def __enter__(self):
        for side, port in self.ports.items():
            os.mkdir(os.path.join(self.folder, side))
            self.start(side, "redis-server", "--port", str(port), "--save", "", "--dir", os.path.join(self.folder, side),
                       "--appendonly", "yes" if side == "target" else "no")
            wait_for_redis(port)
        self.redis = {side: redis.Redis(port=port, client_name="drawbridge-test") for side, port in self.ports.items()}
        self.start_state()
        self.gateways = [Gateway(self.control, f"g{number}") for number in range(self.wanted_gateways)]
        self.syncer = Syncer(self.control, "s", lambda side: self.redis[side].info("replication")["master_replid"])
        self.members = [*self.gateways, self.syncer]
        return self

    def __exit__(self, kind, *_):
        for member in self.members:
            member.stop()
        self.close()
        if kind is None:
            assert self.state.returncode == 0, f"state ended with {self.state.returncode}\n" + self.log_tail("state", 40)
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            print("--- state.log\n" + self.log_tail("state", 60))

    def start_state(self, **env):
        self.env.update(env)
        self.state = self.start("state", PROGRAM, "state", "drawbridge.yaml")
        for name in env:
            del self.env[name]
        self.wait(lambda: os.path.exists(os.path.join(self.folder, "api.sock")) and self.status(), "state does not start")

    def kill_state(self):
        self.state.kill()
        self.state.wait()

    def run(self, *words):
        """Exit code, standard output, standard error."""
        done = subprocess.run([PROGRAM, *words], cwd=self.folder, env=self.env, text=True, capture_output=True, timeout=180, check=False)
        return done.returncode, done.stdout, done.stderr

    def status(self):
        code, out, _ = self.run("status", "--output", "json")
        return json.loads(out) if code == 0 else None

    def wait(self, condition, what, timeout_s=120):
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            found = condition()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"{what} (after {timeout_s} s): {json.dumps(self.status())[:3000]}")

    def wait_phase(self, *phases, timeout_s=120):
        return self.wait(lambda: (s := self.status()) and s["phase"] in phases and s, f"not in phase {phases}", timeout_s)

    def to_level(self):
        self.verb("start", "--yes")
        self.wait_phase("following")
        self.verb("audit", "start", "--wait")
        return self.wait_phase("level")

    def ask(self, *words):
        wire = Wire(self.control)
        try:
            return wire.ask(*words)
        finally:
            wire.close()

    def events(self):
        return self.verb("ledger", "events")["events"]

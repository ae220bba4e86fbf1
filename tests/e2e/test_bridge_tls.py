#!/usr/bin/python3
"""The whole bridge with TLS and passwords everywhere: legacy speaks nothing but TLS, clients come by TLS with a password of
the gateway's own; there and back. Then: the metrics of every role, logs in JSON, and no secret anywhere."""
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
import urllib.request

import redis

from bridge import PROGRAM, TOP, Bridge, free_port
import walk

SECRETS = {"LEGACY_PASSWORD": "legacy-5ecret-pass", "LEGACY_ADMIN": "legacy-adm1n-pass", "TARGET_PASSWORD": "target-5ecret-pass",
           "CLIENT_PASSWORD": "client-5ecret-pass"}

CONFIG = """\
migration: tls
legacy:
  address: "127.0.0.1:{legacy}"
  tls: {{ ca: certs/ca.pem }}
  auth: {{ user: mover, password: "file:legacy.pass" }}
target:
  address: "127.0.0.1:{target}"
  auth: {{ password: "env:TARGET_PASSWORD" }}
gateway:
  listen: "127.0.0.1:{gateway}"
  tls: {{ listen: "127.0.0.1:{tls}", cert: certs/server.pem, key: certs/server.key }}
  auth: {{ password: "env:CLIENT_PASSWORD" }}
  loops: 2
  admin: "unix:gateway.sock"
  metrics: "127.0.0.1:{gateway_metrics}"
syncer:  {{ spool: {{ dir: spool, limit: 1GB }}, metrics: "127.0.0.1:{syncer_metrics}" }}
state:   {{ ledger: ledger.db, control: "unix:control.sock", api: "unix:api.sock", metrics: "127.0.0.1:{state_metrics}" }}
log:     {{ format: json, level: debug }}
run_dir: .
gates:   {{ lag: 1s, audit_age: 1h }}
cutover: {{ max_hold: 3s, max_blackout: 20s }}
"""

METRICS = {
    "gateway": ("requests_total", "request_duration_seconds_bucket", "hold_seconds_count", "epoch", "build_info",
                "tls_not_after_timestamp_seconds"),
    "syncer": ("link_up", "link_lag_seconds", "link_lag_bytes", "link_last_apply_timestamp_seconds", "spool_bytes", "copy_keys",
               "quarantined_keys", "build_info"),
    "state": ("phase", "epoch", "gates", "hold_seconds_count", "audit_different_keys", "audit_timestamp_seconds", "link_up",
              "build_info"),
}


class SecureBridge(Bridge):
    def __init__(self, name, target):
        super().__init__(name, target=target)
        for port in ("tls", "gateway_metrics", "syncer_metrics", "state_metrics"):
            self.ports[port] = free_port()
        self.env.update({name: value for name, value in SECRETS.items() if name in ("TARGET_PASSWORD", "CLIENT_PASSWORD")})
        self.write("drawbridge.yaml", CONFIG.format(**self.ports))
        self.write("legacy.pass", SECRETS["LEGACY_PASSWORD"] + "\n")
        os.chmod(os.path.join(self.folder, "legacy.pass"), 0o600)
        self.certs = os.path.join(self.folder, "certs")
        subprocess.run(["sh", os.path.join(TOP, "tests/support/make-certs.sh"), self.certs], check=True, stderr=subprocess.DEVNULL)
        self.write("legacy.conf", f"""port 0
tls-port {self.ports['legacy']}
tls-cert-file {self.certs}/server.pem
tls-key-file {self.certs}/server.key
tls-ca-cert-file {self.certs}/ca.pem
tls-auth-clients no
requirepass {SECRETS['LEGACY_ADMIN']}
user mover on >{SECRETS['LEGACY_PASSWORD']} ~* &* +@all
save ""
repl-diskless-sync-delay 0
repl-backlog-size 32mb
dir {self.folder}/legacy-data
""")
        self.write("target.conf", f"port {self.ports['target']}\nrequirepass {SECRETS['TARGET_PASSWORD']}\n"
                   f'appendonly yes\nsave ""\ndir {self.folder}/server\n')

    def __enter__(self):
        first = ("redis-server",) if self.kind == "redis" else (PROGRAM, "server")
        self.commands = {"legacy": ("redis-server", "legacy.conf"), "target": (*first, "target.conf"),
                         "state": (PROGRAM, "state", "drawbridge.yaml"), "syncer": (PROGRAM, "syncer", "drawbridge.yaml"),
                         "gateway": (PROGRAM, "gateway", "drawbridge.yaml")}
        for role, command in self.commands.items():
            self.processes[role] = self.start(role, *command)
        self.wait_for(lambda: self.legacy().ping() and self.target().ping() and self.client().ping())
        return self

    @staticmethod
    def wait_for(condition, timeout_s=300):
        until = time.monotonic() + timeout_s
        while True:
            try:
                if condition():
                    return
            except redis.exceptions.RedisError:
                assert time.monotonic() < until, "not up in time"
            time.sleep(0.1)

    def legacy(self, db=0):
        return redis.Redis(port=self.ports["legacy"], db=db, ssl=True, ssl_ca_certs=f"{self.certs}/ca.pem", password=SECRETS["LEGACY_ADMIN"])

    def target(self, db=0):
        return redis.Redis(port=self.ports["target"], db=db, password=SECRETS["TARGET_PASSWORD"])

    def client(self):
        return redis.Redis(host="localhost", port=self.ports["tls"], ssl=True, ssl_ca_certs=f"{self.certs}/ca.pem",
                           ssl_check_hostname=True, password=SECRETS["CLIENT_PASSWORD"], socket_timeout=60)

    def check_equal_here(self):
        """As check_equal(), with the passwords and TLS."""
        def everything(connect):
            found = {}
            for db in (0, 1, 2):
                r = connect(db)
                for key in r.scan_iter(count=1000):
                    if key.startswith(b"drawbridge:"):
                        continue
                    kind = r.type(key)
                    found[db, key] = (kind, walk.read_value(r, kind, key), r.execute_command("PEXPIRETIME", key))
            return found
        one, two = everything(self.legacy), everything(self.target)
        wrong = [k for k in {*one, *two} if one.get(k) != two.get(k)]
        assert not wrong, [(k, one.get(k), two.get(k)) for k in wrong[:5]]
        return len(one)


class Live(threading.Thread):
    """A client through TLS that counts, lists and checks each answer."""

    def __init__(self, bridge, number):
        super().__init__(daemon=True)
        self.redis, self.name, self.stopping, self.problems, self.count = bridge.client(), f"tls:{number}", False, [], 0

    def run(self):
        rng = random.Random(self.name)
        while not self.stopping:
            try:
                text = "x" * rng.choice((10, 1000, 40000))
                with self.redis.pipeline(transaction=rng.random() < 0.5) as p:
                    p.incr(self.name + ":counter").rpush(self.name + ":list", self.count).set(self.name + ":s", text).get(self.name + ":s")
                    got = p.execute()
                self.count += 1
                if got != [self.count, self.count, True, text.encode()]:
                    self.problems.append(f"{self.count}: {str(got)[:200]}")
            except (redis.exceptions.RedisError, OSError) as error:
                self.problems.append(f"{self.count}: {type(error).__name__} {error}")
                time.sleep(0.1)
            time.sleep(0.01)

    def stop(self):
        while self.count <= 50 and not self.problems and self.is_alive():
            time.sleep(0.05)
        self.stopping = True
        self.join(300)
        assert not self.problems and self.count > 50, (self.count, self.problems[:5])


def fill(b):
    for db in (0, 1, 2):
        with b.legacy(db).pipeline(transaction=False) as p:
            for n in range(1000):
                p.set(f"s{n}", b.random.randbytes(30)).rpush(f"l{n}", n, "x").hset(f"h{n}", "f", n).sadd(f"e{n}", n, "y").zadd(f"z{n}", {"a": n})
            p.pexpire("s7", 10**8)
            p.execute()


def check_metrics(b):
    for role, names in METRICS.items():
        text = urllib.request.urlopen(f"http://127.0.0.1:{b.ports[role + '_metrics']}/metrics", timeout=60).read().decode()
        missing = [n for n in names if f"\ndrawbridge_{n}" not in text]
        assert not missing, f"{role}: metrics missing: {missing} of\n{text[:6000]}"
        if shutil.which("promtool"):
            run = subprocess.run(["promtool", "check", "metrics"], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                 check=False)
            assert run.returncode == 0 and not run.stdout, f"{role}: {run.stdout}"
        for secret in SECRETS.values():
            assert secret not in text


def check_logs(b):
    for role in ("gateway", "syncer", "state"):
        with open(os.path.join(b.folder, role + ".log"), encoding="utf-8") as log:
            lines = log.read().splitlines()
        assert len(lines) > 3, f"{role} logs nothing"
        for line in lines:
            fields = json.loads(line)  # each line for itself
            assert {"time", "level", "event"} <= fields.keys(), f"{role}: {line}"


def check_secrets(b, processes):
    """In no argument list, no output of a verb, no file of ours but where it was put; not in the ledger."""
    for process in processes:
        with open(f"/proc/{process.pid}/cmdline", "rb") as text:
            line = text.read()
        assert not any(s.encode() in line for s in SECRETS.values()), line
    for words in (("status",), ("check", "--config", "drawbridge.yaml"), ("ledger", "events"), ("ledger", "export"), ("config", "check", "drawbridge.yaml")):
        run = subprocess.run([PROGRAM, *words, "--output", "json"], cwd=b.folder, env=b.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, check=False)
        assert not any(s in run.stdout for s in SECRETS.values()), f"{words} tells a secret"
    allowed = {"legacy.pass", "legacy.conf", "target.conf"}
    looked = 0
    for folder, _, names in os.walk(b.folder):
        for name in names:
            path = os.path.join(folder, name)
            if name in allowed or not os.path.isfile(path):
                continue
            with open(path, "rb") as content:
                text = content.read()
            looked += 1
            for secret_name, secret in SECRETS.items():
                assert secret.encode() not in text, f"{secret_name} is in {path}"
    assert looked > 5
    for name in ("ledger.db", "gateway.sock", "control.sock", "api.sock", "spool") if processes else ("ledger.db", "spool"):
        mode = os.stat(os.path.join(b.folder, name)).st_mode & 0o077
        assert mode == 0, f"others may use {name}: {mode:o}"


def scenario(kind):
    with SecureBridge(f"tls-{kind}", kind) as b:
        fill(b)
        live = [Live(b, n) for n in range(3)]
        for client in live:
            client.start()
        b.verb("check", "--config", "drawbridge.yaml")
        b.verb("start", "--yes")
        for verb, primary in (("cutover", "target"), ("rollback", "legacy"), ("cutover", "target")):
            if primary == "target":
                b.wait_ready()
            result = b.move(verb, "--reason", "test")
            assert result["primary"] == primary, result
            time.sleep(1)
            b.audit()
        for wrong in ("", "wrong", SECRETS["LEGACY_PASSWORD"], SECRETS["TARGET_PASSWORD"]):
            try:
                redis.Redis(port=b.ports["gateway"], password=wrong or None).get("a")
            except (redis.exceptions.AuthenticationError, redis.exceptions.ResponseError):
                continue
            raise AssertionError(f"the gateway takes the password '{wrong}'")
        check_metrics(b)
        check_secrets(b, b.processes.values())
        for client in live:
            client.stop()
        b.wait_gates()
        b.audit()
        keys = b.check_equal_here()
        for role in ("gateway", "syncer", "state"):
            assert b.end(b.processes[role]) == 0, f"{role} does not end in order"
        check_logs(b)
        check_secrets(b, ())
        print(f"  {kind}: {keys} keys equal, {sum(c.count for c in live)} pipelines by TLS", flush=True)


for wanted in sys.argv[1:] or ("redis", "bundled"):
    scenario(wanted)

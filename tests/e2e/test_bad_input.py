#!/usr/bin/python3
"""Bad input and bad environments: a clear sentence, the right exit code, nothing half done.

`drawbridge check` (and `start`, which runs the same check inside state) against sides that are wrong in
one way each; ports in use; mistakes in the configuration; a full disk under the spool.
"""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

import redis

from bridge import PROGRAM, TOP, Stage, free_port
from link import Link

SECRETS = {"RIGHT": "open sesame 1001", "WRONG": "hunter2-and-more"}


class Bad(Stage):
    """A folder, redis-servers in it, and drawbridge run against them."""

    def __init__(self):
        super().__init__(tempfile.mkdtemp(prefix="drawbridge-bad-"))
        self.env.update(SECRETS)
        self.count = 0
        self.legacy, self.target = self.redis(), self.redis()

    def redis(self, *options, port=None, wait=True):
        """Start a redis-server; return its port."""
        port = port or free_port()
        self.count += 1
        folder = os.path.join(self.folder, f"redis-{self.count}")
        os.mkdir(folder)
        self.start(f"redis-{self.count}", "redis-server", "--port", str(port), "--save", "", "--dir", folder, *options)
        until = time.monotonic() + 60
        while wait:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < until, "redis-server does not come"
                time.sleep(0.02)
        return port

    def config(self, legacy=None, target=None, more=""):
        """Write a configuration whose sides are ports or texts; return its name."""
        def side(value):
            return f'{{ address: "127.0.0.1:{value}" }}' if isinstance(value, int) else value
        self.count += 1
        name = f"config-{self.count}.yaml"
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as out:
            out.write(f"migration: bad\nlegacy: {side(legacy or self.legacy)}\ntarget: {side(target or self.target)}\n"
                      "syncer: { spool: { dir: spool, limit: 64MB } }\n"
                      'state: { ledger: ledger.db, control: "unix:control.sock", api: "unix:api.sock" }\n'
                      f"run_dir: .\n{more}\n")
        return name

    def run(self, *words, timeout_s=300):
        """Exit code and everything that it said; secrets are in none of it."""
        done = subprocess.run([PROGRAM, *words], cwd=self.folder, env=self.env, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout_s, check=False)
        for secret in SECRETS.values():
            assert secret not in done.stdout, f"{words} tells a secret: {done.stdout}"
        return done.returncode, done.stdout

    def expect(self, what, got, code, *texts):
        missing = [t for t in texts if t not in got[1]]
        assert got[0] == code and not missing, f"{what}: exit code {got[0]}, wanted {code}; missing {missing} in\n{got[1]}"

    def check(self, what, config, code, finding, *texts):
        """`check` fails with FINDING, as a person and as a program reads it, and `start` says the same."""
        self.expect(what, self.run("check", "--config", config), code, finding, "fix: ", *texts)
        got = self.run("check", "--config", config, "--output", "json")
        self.expect(what, got, code, *texts)
        findings = {f["id"]: f for f in json.loads(got[1])["findings"]}
        assert findings[finding]["level"] == "fail" and findings[finding]["fix"], f"{what}: {findings}"
        self.starts_nothing(what, config, code, texts[0] if texts else finding)

    def starts_nothing(self, what, config, code, text):
        for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
            if os.path.exists(os.path.join(self.folder, name)):
                os.unlink(os.path.join(self.folder, name))
        state = self.start("state", PROGRAM, "state", config)
        until = time.monotonic() + 60
        while self.run("status")[0] == 9:
            assert time.monotonic() < until and state.poll() is None, f"{what}: state: {self.log_tail('state')}"
            time.sleep(0.05)
        got = self.run("start", "--yes")
        self.expect(what + ": start", got, code, text, "next: fix what failed, then drawbridge check")
        assert "next: drawbridge start" not in got[1], got[1]
        status = json.loads(self.run("status", "--output", "json")[1])
        assert status["phase"] == "planned", f"{what}: after a failed start: {status['phase']}"
        for secret in SECRETS.values():
            assert secret not in self.log_tail("state", 1000)
        assert self.end(state) == 0
        self.running.pop()


def passwords(b):
    locked = b.redis("--requirepass", SECRETS["RIGHT"])
    wrong = f'{{ address: "127.0.0.1:{locked}", auth: {{ password: "env:WRONG" }} }}'
    right = f'{{ address: "127.0.0.1:{locked}", auth: {{ password: "env:RIGHT" }} }}'
    stranger = f'{{ address: "127.0.0.1:{locked}", auth: {{ user: stranger, password: "env:RIGHT" }} }}'
    open_side = f'{{ address: "127.0.0.1:{b.legacy}", auth: {{ password: "env:RIGHT" }} }}'
    b.check("wrong password of legacy", b.config(legacy=wrong), 4, "legacy.password", "legacy refuses our user or password", "WRONGPASS")
    b.check("wrong password of target", b.config(target=wrong), 4, "target.password", "target refuses our user or password", "WRONGPASS")
    b.check("no password for legacy", b.config(legacy=locked), 4, "legacy.password", "NOAUTH")
    b.check("a user that is not there", b.config(legacy=stranger), 4, "legacy.password", "WRONGPASS")
    b.check("a password where none is wanted", b.config(legacy=open_side), 4, "legacy.password", "without any password")
    b.expect("the right one", b.run("check", "--config", b.config(legacy=right)), 0, "check passed")
    b.expect("a secret that is not there", b.run("check", "--config", b.config(legacy=right.replace("RIGHT", "NOSUCH"))), 2,
             "legacy.auth.password", "NOSUCH")


def hosts(b):
    nobody = free_port()
    b.check("a name that does not resolve", b.config(legacy='{ address: "no-such-host.invalid:6379" }'), 3, "legacy.reachable",
            "legacy cannot be reached", "no-such-host.invalid")
    b.check("a closed port", b.config(target=nobody), 3, "target.reachable", f"127.0.0.1:{nobody}", "connection refused")
    for wrong in ("127.0.0.1:x", "127.0.0.1:70000", ":", ""):
        b.expect(f"address '{wrong}'", b.run("check", "--config", b.config(legacy=f'{{ address: "{wrong}" }}')), 2, "legacy.address")


def psync(b):
    """Whoever cannot have PSYNC is told what else there is."""
    hidden = b.redis("--rename-command", "PSYNC", "", "--rename-command", "SYNC", "")
    stream = "gateway: { capture: stream }"
    b.check("PSYNC hidden", b.config(legacy=hidden, more=stream), 3, "legacy.psync", "legacy refuses PSYNC", "legacy.commands.psync", "gateway.capture: lane")
    renamed = b.redis("--rename-command", "PSYNC", "xhma21xfkssync")
    b.check("PSYNC renamed", b.config(legacy=renamed, more=stream), 3, "legacy.psync", "legacy.commands.psync")
    b.expect("PSYNC hidden, and nothing said of the capture", b.run("check", "--config", b.config(legacy=hidden)), 0,
             "legacy refuses PSYNC", "capture lane: the gateway writes to both sides")
    b.expect("by its other name", b.run("check", "--config", b.config(
        legacy=f'{{ address: "127.0.0.1:{renamed}", commands: {{ psync: xhma21xfkssync }} }}')), 0, "legacy allows PSYNC")
    password = SECRETS["RIGHT"].replace(" ", "")
    b.env["JOINED"] = password
    rights = {"nopsync": "-psync -sync", "noacl": "-psync -sync -acl", "norepl": "-replconf", "mover": ""}
    users = b.redis(*(word for user, less in rights.items()
                      for word in ("--user", user, "on", f">{password}", "~*", "&*", "+@all", *less.split())))
    for user in ("nopsync", "noacl", "norepl"):
        side = f'{{ address: "127.0.0.1:{users}", auth: {{ user: {user}, password: "env:JOINED" }} }}'
        b.check(f"the user {user}", b.config(legacy=side, more=stream), 3, "legacy.psync", "legacy refuses PSYNC", "+psync +replconf")
    side = f'{{ address: "127.0.0.1:{users}", auth: {{ user: mover, password: "env:JOINED" }} }}'
    b.expect("a user who may", b.run("check", "--config", b.config(legacy=side)), 0, "legacy allows PSYNC")
    for port in (hidden, renamed, users):
        with redis.Redis(port=port) as r:
            assert r.info("persistence")["rdb_bgsave_in_progress"] == 0 and r.info("stats")["total_forks"] == 0, "check began a copy"
            assert r.info("stats")["sync_full"] == 0


def targets(b):
    full = b.redis()
    with redis.Redis(port=full, db=3) as r:
        r.set("mine", "x")
        b.check("a target that is not empty", b.config(target=full), 3, "target.empty", "target is not empty: 1 keys")
        assert r.get("mine") == b"x" and r.dbsize() == 1
    legacy = b.redis()
    with redis.Redis(port=legacy) as r:
        r.set("big", "x" * 20_000_000)
    small = b.redis("--maxmemory", "10mb")
    b.check("too little memory", b.config(legacy=legacy, target=small), 3, "target.memory", "target has room for", "legacy uses", "maxmemory")
    lru = b.redis("--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru")
    b.check("a target that evicts", b.config(target=lru), 3, "target.eviction", "allkeys-lru", "noeviction")
    replica = b.redis("--replicaof", "127.0.0.1", str(legacy))
    b.check("a target that is a replica", b.config(target=replica), 3, "target.role", "replica")


def loading(b):
    """A server that answers -LOADING to everything but what Redis allows then."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(client):
        with client:
            while data := client.recv(4096):
                client.sendall(b"-LOADING Redis is loading the dataset in memory\r\n" * data.count(b"*"))

    def accept():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    port = listener.getsockname()[1]
    b.check("legacy loading", b.config(legacy=port), 3, "legacy.loading", "legacy is loading its data", "wait until it has loaded")
    b.check("target loading", b.config(target=port), 3, "target.loading", "target is loading its data")
    listener.close()
    slow = b.redis("--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024")  # a real one: it answers INFO while it loads
    with redis.Redis(port=slow) as r:
        with r.pipeline(transaction=False) as p:
            for n in range(2000):
                p.set(f"k{n}", os.urandom(500))
            p.execute()
        r.config_set("key-load-delay", 40000)
        thread = threading.Thread(target=lambda: subprocess.run(["redis-cli", "-p", str(slow), "DEBUG", "RELOAD"], check=False,
                                                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        thread.start()
        until = time.monotonic() + 60
        while not r.info("persistence")["loading"]:
            assert time.monotonic() < until, "it does not load"
        b.check("a real legacy loading", b.config(legacy=slow), 3, "legacy.loading", "legacy is loading its data")
        assert r.info("persistence")["loading"], "it had loaded before the check ended: raise the delay"
        r.config_set("key-load-delay", 0)
        thread.join()


def not_redis(b):
    """Something answers, and it is no Redis."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.recv(100)
                client.sendall(b"SSH-2.0-OpenSSH_9.2p1 \x1b[31mred\r\n")

    threading.Thread(target=accept, daemon=True).start()
    b.check("not a Redis", b.config(legacy=listener.getsockname()[1]), 3, "legacy.reachable", "legacy cannot be reached")
    assert "\x1b" not in b.run("check", "--config", b.config(legacy=listener.getsockname()[1]))[1], "control characters pass"
    listener.close()


def certificates(b):
    certs = os.path.join(b.folder, "certs")
    subprocess.run(["sh", os.path.join(TOP, "tests/support/make-certs.sh"), certs], check=True, stderr=subprocess.DEVNULL)

    def side(name, ca="ca.pem", more=""):
        if name not in ports:
            ports[name] = free_port()
            b.redis("--tls-port", str(ports[name]), "--tls-cert-file", f"{certs}/{name}.pem", "--tls-key-file", f"{certs}/{name}.key",
                    "--tls-ca-cert-file", f"{certs}/ca.pem", "--tls-auth-clients", "no")
        return f'{{ address: "127.0.0.1:{ports[name]}", tls: {{ ca: {certs}/{ca}{more} }} }}'

    ports = {}
    b.check("expired", b.config(legacy=side("expired")), 3, "legacy.tls", "certificate has expired", "tls.ca")
    b.check("wrong CA", b.config(legacy=side("server", "stranger-ca.pem")), 3, "legacy.tls", "certificate is not accepted")
    b.check("wrong name", b.config(target=side("other")), 3, "target.tls", "certificate is not accepted", "tls.server_name")
    b.check("TLS to a plain port", b.config(legacy=f'{{ address: "127.0.0.1:{b.legacy}", tls: {{ ca: {certs}/ca.pem }} }}'), 3, "legacy.tls",
            "does this port speak TLS?")
    b.check("no TLS to a TLS port", b.config(legacy=ports["server"]), 3, "legacy.tls", "if this port speaks TLS, set tls")
    b.check("no such CA", b.config(legacy=side("server", "nosuch.pem")), 2, "legacy.tls", "nosuch.pem: No such file", "tls.ca")
    b.expect("the right one", b.run("check", "--config", b.config(legacy=side("server"))), 0, "check passed")
    b.expect("by another name", b.run("check", "--config", b.config(legacy=side("other", more=", server_name: other.example"))), 0)
    for what, more in (("cert", f"cert: {certs}/nosuch.pem, key: {certs}/server.key"), ("key", f"cert: {certs}/server.pem, key: {certs}/nosuch.key"),
                       ("pair", f"cert: {certs}/server.pem, key: {certs}/other.key")):
        config = b.config(more=f'gateway: {{ listen: "127.0.0.1:{free_port()}", admin: "unix:gw.sock", standalone: true, tls: {{ listen: "127.0.0.1:{free_port()}", {more} }} }}')
        got = b.run("gateway", config)
        assert got[0] in (1, 2) and ("nosuch" in got[1] or "key" in got[1]), f"the gateway's {what}: {got}"


def ports_in_use(b):
    taken = b.target
    words = (f"127.0.0.1:{taken}", "in use")
    b.expect("gateway", b.run("gateway", b.config(more=f'gateway: {{ listen: "127.0.0.1:{taken}", standalone: true, admin: "unix:gw.sock" }}')),
             1, *words)
    b.expect("server", b.run("server", "--port", str(taken), "--bind", "127.0.0.1"), 1, str(taken), "in use")
    b.expect("state", b.run("state", b.config(), "--api", f"127.0.0.1:{taken}"), 1, *words)
    b.expect("state's metrics", b.run("state", b.config(), "--metrics", f"127.0.0.1:{taken}"), 1, *words)
    metrics = b.config().replace(".yaml", "-m.yaml")
    with open(os.path.join(b.folder, b.config()), encoding="utf-8") as text, open(os.path.join(b.folder, metrics), "w", encoding="utf-8") as out:
        out.write(text.read().replace("syncer: {", f'syncer: {{ metrics: "127.0.0.1:{taken}",'))
    b.expect("syncer's metrics", b.run("syncer", metrics), 1, *words)
    state = b.start("state", PROGRAM, "state", b.config())
    while b.run("status")[0] == 9:
        time.sleep(0.05)
    b.expect("a second state", b.run("state", b.config()), 1)
    assert b.run("status")[0] != 9, "the first state suffered"
    assert b.end(state) == 0
    b.expect("up", b.run("up", b.config(more=f'gateway: {{ listen: "127.0.0.1:{taken}" }}')), 1, "in use", "gateway")
    b.expect("nobody home", b.run("status"), 9)


def configuration(b):
    def mistake(what, text, at, *words):
        with open(os.path.join(b.folder, "m.yaml"), "w", encoding="utf-8") as out:
            out.write(text)
        for verb in (("config", "check", "m.yaml"), ("check", "--config", "m.yaml"), ("up", "m.yaml"), ("gateway", "m.yaml"),
                     ("syncer", "m.yaml"), ("state", "m.yaml")):
            b.expect(f"{what}: {verb[0]}", b.run(*verb), 2, f"m.yaml{at}", *words)

    good = f'migration: t\nlegacy: {{ address: "127.0.0.1:{b.legacy}" }}\ntarget: {{ address: "127.0.0.1:{b.target}" }}\n'
    mistake("unknown key", good + "gates: { lagg: 1s }\n", ":4:10", "gates.lagg: there is no such option; did you mean gates.lag?")
    mistake("unknown section", good + "gatewy:\n  listen: 127.0.0.1:1\n", ":4:1", "gatewy: there is no such option; did you mean gateway?")
    mistake("wrong type", good + "gates: { lag: soon }\n", ":4:15", "gates.lag: found 'soon', expected a duration")
    mistake("out of range", good + "gateway: { loops: 65 }\n", ":4:19", "gateway.loops: found '65'", "between 1 and 64")
    mistake("wrong choice", good + "log: { format: xml }\n", ":4:16", "log.format", "text", "json")
    mistake("missing section", good.replace("legacy:", "#"), "", "legacy.address is missing")
    mistake("twice", good + "run_dir: a\nrun_dir: b\n", ":5:10", "run_dir")
    mistake("a section as a value", good + "gates: 5\n", ":4:8", "gates")
    mistake("a list as a value", good + "run_dir: [a, b]\n", ":4:10", "run_dir")
    mistake("broken YAML", good + "gates: { lag: 1s }}\n", ":4:", "while parsing")
    mistake("a tab", good + "gates:\n\tlag: 1s\n", ":5:")
    mistake("a password as itself", good.replace(f'{b.legacy}" }}\ntarget', f'{b.legacy}", auth: {{ password: "{SECRETS["WRONG"]}" }} }}\ntarget'),
            ":2:", "legacy.auth.password", "file:/path or env:NAME")
    mistake("not text", good + "run_dir: \"\x01\"\n", "")
    b.expect("no file", b.run("config", "check", "nosuch.yaml"), 2, "nosuch.yaml", "No such file")
    b.expect("a folder", b.run("config", "check", "."), 2)
    b.expect("no such option", b.run("status", "--nosuch", "1"), 2, "--nosuch")
    b.expect("no such verb", b.run("statsu"), 2, "statsu")
    b.expect("server: unknown", b.run("server", "--maxmemmory", "1gb"), 1, "maxmemmory")
    with open(os.path.join(b.folder, "s.conf"), "w", encoding="utf-8") as out:
        out.write("port 0\nmaxmemory lots\n")
    b.expect("server: wrong value", b.run("server", "s.conf"), 1, "s.conf", "2", "maxmemory")
    b.expect("server: no folder", b.run("server", "--port", str(free_port()), "--dir", "/nonexistent"), 1, "/nonexistent")


def disk_full():
    """The spool's disk fills: the link says so, reads no more, loses nothing, and goes on when there is room."""
    if os.geteuid() != 0:
        print("  disk_full: SKIPPED, only root may mount a small tmpfs", flush=True)
        return
    with Link("diskfull", limit="1GB") as link:
        spool = os.path.join(link.folder, "spool")
        os.mkdir(spool)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", spool], stderr=subprocess.PIPE, text=True, check=False)
        if mounted.returncode:
            print(f"  disk_full: SKIPPED, no tmpfs here: {mounted.stderr.strip()}", flush=True)
            return
        try:
            source = link.client("source")
            source.set("first", "1")
            link.start()
            link.wait_log("link.following")
            link.processes["target"].send_signal(19)
            filler = os.path.join(spool, "filler")
            with open(filler, "wb") as out:
                try:
                    while True:
                        out.write(b"x" * 65536)
                        out.flush()
                        if shutil.disk_usage(spool).free < 4 << 20:
                            break
                except OSError:
                    pass
            for part in range(20):
                with source.pipeline(transaction=False) as p:
                    for n in range(100):
                        p.set(f"part:{part}:{n}", link.random.randbytes(5000))
                        p.incr("counter")
                        p.rpush("list", n)
                    p.execute()
            link.wait_log("spool.disk_full.*No space left on device")
            link.processes["target"].send_signal(18)
            os.unlink(filler)
            link.wait_log("spool.room_again")
            link.wait_level()
            link.check_equal()
            assert link.client("target").get("counter") == b"2000"
            assert link.log().count("link.full_copy") == 1, "nothing was copied again"
            copy_into_full_disk(link, spool)
        finally:
            link.kill()
            subprocess.run(["umount", spool], check=True)


def copy_into_full_disk(link, spool):
    """The RDB itself does not fit: the same."""
    link.kill()
    for name in os.listdir(spool):
        path = os.path.join(spool, name)
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    link.client("target").flushall()
    filler = os.path.join(spool, "filler")
    with open(filler, "wb") as out:
        out.write(b"x" * (20 << 20))
    seen = link.log().count("spool.room_again")
    link.start()
    link.wait_log("spool.disk_full", count=2)
    os.unlink(filler)
    link.wait_log("spool.room_again", count=seen + 1)
    link.wait_level()
    link.check_equal()


def main():
    wanted = sys.argv[1:]
    b = Bad()
    good = False
    try:
        for case in (configuration, passwords, hosts, psync, targets, loading, not_redis, certificates, ports_in_use):
            if not wanted or case.__name__ in wanted:
                case(b)
                print(f"  {case.__name__}: fine", flush=True)
        good = True
    finally:
        b.close()
        if good:
            shutil.rmtree(b.folder, ignore_errors=True)
        else:
            print(f"files kept: {b.folder}", flush=True)
    if not wanted or "disk_full" in wanted:
        disk_full()
        print("  disk_full: fine", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

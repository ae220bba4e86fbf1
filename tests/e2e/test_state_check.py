#!/usr/bin/python3
"""Bad input and bad days before anything begins: each a clear sentence and its exit code; nothing is written."""
import json
import os
import signal
import shutil
import socket
import subprocess
import sys
import tempfile
import time

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(TOP, "deploy", "demo"))
import redis  # noqa: E402
from ports import free_port  # noqa: E402
from stage import PROGRAM, Stage, wait_for_redis  # noqa: E402

GOOD = """\
migration: test
legacy:  {{ address: "127.0.0.1:{legacy}" {legacy_more} }}
target:  {{ address: "127.0.0.1:{target}" {target_more} }}
gateway: {{ listen: "127.0.0.1:{gateway}", admin: gateway.sock, capture: {capture} }}
syncer:  {{ spool: {{ dir: spool, limit: 64MB }} }}
state:   {{ ledger: ledger.db, control: "unix:control.sock", api: "unix:api.sock" }}
run_dir: .
{more}
"""


class Check(Stage):
    def __init__(self):
        super().__init__(tempfile.mkdtemp(prefix="drawbridge-check-"))
        self.ports = {name: free_port() for name in ("legacy", "target", "gateway")}

    def config(self, text=None, **changes):
        values = {"legacy_more": "", "target_more": "", "more": "", "capture": "auto", **self.ports, **changes}
        with open(os.path.join(self.folder, "drawbridge.yaml"), "w", encoding="utf-8") as out:
            out.write(text if text is not None else GOOD.format(**values))

    def server(self, side, *options):
        process = self.start(side, "redis-server", "--port", str(self.ports[side]), "--save", "", "--dir", self.folder, *options)
        wait_for_redis(self.ports[side])
        return process

    def run(self, *words):
        done = subprocess.run([PROGRAM, *words], cwd=self.folder, env=self.env, text=True, capture_output=True, timeout=180, check=False)
        return done.returncode, done.stdout, done.stderr

    def check(self, code, finding=None, *parts):
        """`check` ends with CODE; FINDING failed (or warned), has a fix, and its words contain PARTS."""
        got, out, err = self.run("check", "--output", "json")
        assert got == code, (got, out, err)
        answer = json.loads(out)
        if finding is None:
            assert answer["passed"], answer
            return
        found = [f for f in answer["findings"] if f["id"] == finding and f["level"] in ("fail", "warn")]
        assert found, (finding, answer)
        assert found[0]["fix"], found
        for part in parts:
            assert part in found[0]["text"] + found[0]["fix"], (part, found)


def test_configuration_with_a_mistake(c):
    for text, parts in (("migration: x\nlegacy: { addres: 1 }\n", ["drawbridge.yaml:2:", "legacy.addres", "address"]),
                        ("migration: x\ngates: { lag: 5 parsecs }\n", ["drawbridge.yaml:2:", "gates.lag", "5 parsecs", "duration"]),
                        ("migration: [1]\n", ["drawbridge.yaml:1:"])):
        c.config(text)
        for verb in (("config", "check"), ("check",), ("state", "drawbridge.yaml"), ("up", "drawbridge.yaml")):
            code, out, err = c.run(*verb)
            assert code == 2, (verb, code, out, err)
            for part in parts:
                assert part in err, (verb, part, err)
    c.config()
    assert c.run("config", "check")[0] == 0
    assert c.run("nonsense")[0] == 2 and c.run("status", "--nonsense")[0] == 2


def test_nobody_is_there(c):
    c.config()
    c.check(3, "legacy.reachable", str(c.ports["legacy"]), "refused")
    c.check(3, "target.reachable")
    code, _, err = c.run("status")
    assert code == 9 and "api.sock" in err, (code, err)
    text = GOOD.format(**{"legacy_more": "", "target_more": "", "more": "", "capture": "auto", **c.ports})
    c.config(text.replace(f"127.0.0.1:{c.ports['legacy']}", "no-such-host.invalid:6379"))
    c.check(3, "legacy.reachable", "no-such-host.invalid")


def test_two_good_servers_pass_and_nothing_is_written(c):
    c.server("legacy")
    c.server("target", "--appendonly", "yes")
    c.config()
    with redis.Redis(port=c.ports["legacy"]) as legacy:
        legacy.set("a", 1)
        before = legacy.info("replication")["master_repl_offset"]
        c.check(0)
        assert legacy.info("replication")["master_repl_offset"] == before and legacy.dbsize() == 1
        assert legacy.info("stats")["sync_full"] == 0


def test_a_target_that_is_not_empty(c):
    with redis.Redis(port=c.ports["target"]) as target:
        target.set("mine", 1)
        c.check(3, "target.empty", "1 keys", "FLUSHALL")
        target.flushall()


def test_a_target_that_evicts_or_has_no_room(c):
    with redis.Redis(port=c.ports["target"]) as target:
        target.config_set("maxmemory", "1gb")
        target.config_set("maxmemory-policy", "allkeys-lru")
        c.check(3, "target.eviction", "allkeys-lru")
        target.config_set("maxmemory-policy", "noeviction")
        target.config_set("maxmemory", "1200kb")
        c.check(3, "target.memory", "maxmemory")
        target.config_set("maxmemory", "0")
        target.config_set("appendonly", "no")
        c.check(0)
        assert "target.durable" in c.run("check")[1]
        target.config_set("appendonly", "yes")


def test_a_target_with_fewer_databases(c):
    small = free_port()
    process = c.start("small", "redis-server", "--port", str(small), "--save", "", "--dir", c.folder, "--databases", "5", "--appendonly", "yes",
                      "--appenddirname", "small")
    wait_for_redis(small)
    c.config(target=small)
    with redis.Redis(port=c.ports["legacy"], db=5) as legacy:
        c.check(0)
        c.check(0, "target.databases", "legacy has 16 databases, target 5")
        legacy.set("far", "away")
        c.check(3, "target.databases", "keys in database 5", "only 5 databases")
        legacy.flushdb()
    c.end(process)
    c.config()


def test_a_replica_as_target(c):
    with redis.Redis(port=c.ports["target"]) as target:
        target.replicaof("127.0.0.1", c.ports["legacy"])
        c.check(3, "target.role", "master")
        target.replicaof("no", "one")
        target.flushall()


def test_a_wrong_password(c):
    with redis.Redis(port=c.ports["legacy"]) as legacy:
        legacy.config_set("requirepass", "secret")
        c.check(4, "legacy.password", "auth.password")
        with open(os.path.join(c.folder, "pass"), "w", encoding="utf-8") as out:
            out.write("wrong")
        c.config(legacy_more=', auth: { password: "file:' + os.path.join(c.folder, "pass") + '" }')
        c.check(4, "legacy.password", "WRONGPASS")
        with open(os.path.join(c.folder, "pass"), "w", encoding="utf-8") as out:
            out.write("secret")
        c.check(0)
        legacy.config_set("requirepass", "")
        c.config()


def promised(c):
    answer = json.loads(c.run("check", "--output", "json")[1])
    return [f["text"] for f in answer["findings"] if f["id"] == "capture"]


def test_a_source_that_refuses_psync(c):
    mover = ', auth: { user: mover, password: "env:MOVER" }'
    with redis.Redis(port=c.ports["legacy"]) as legacy:
        legacy.execute_command("ACL", "SETUSER", "mover", "on", "nopass", "~*", "+@all", "-psync", "-sync", "-replconf")
        c.config(legacy_more=mover)
        c.env["MOVER"] = "x"
        c.check(0)
        assert len(promised(c)) == 1 and promised(c)[0].startswith("capture lane"), promised(c)
        c.config(legacy_more=mover, capture="stream")
        c.check(3, "legacy.psync", "commands.psync", "gateway.capture: lane")
        legacy.execute_command("ACL", "SETUSER", "mover", "+replconf")
        c.check(3, "legacy.psync")
        legacy.execute_command("ACL", "SETUSER", "mover", "+psync")
        c.check(0)
        c.config(legacy_more=mover)
        assert promised(c)[0].startswith("capture stream"), promised(c)
    c.config(legacy_more=", commands: { psync: xhma21xfkssync }", capture="stream")
    c.check(3, "legacy.psync", "xhma21xfkssync")
    c.config()


def test_tls_where_there_is_none(c):
    c.config(legacy_more=", tls: { ca: /etc/ssl/certs }")
    code, out, _ = c.run("check", "--output", "json")
    assert code == 3, out
    found = [f for f in json.loads(out)["findings"] if f["level"] == "fail"]
    assert found and found[0]["id"] in ("legacy.tls", "legacy.reachable"), found
    c.config()


def test_a_refused_start_says_why_and_leaves_the_phase(c):
    with redis.Redis(port=c.ports["target"]) as target:
        target.set("mine", 1)
        state = c.start("state", PROGRAM, "state", "drawbridge.yaml")
        until = time.monotonic() + 180
        while c.run("status")[0] != 0 and time.monotonic() < until:
            time.sleep(0.1)
        code, _, err = c.run("start", "--yes")
        assert code == 3 and "not empty" in err, (code, err)
        assert c.verb("status")["phase"] == "planned"
        second = subprocess.run([PROGRAM, "state", "drawbridge.yaml"], cwd=c.folder, capture_output=True, text=True, timeout=180, check=False)
        assert second.returncode == 1 and "in use" in second.stderr, second
        c.end(state)
        assert state.returncode == 0
        target.flushall()


def test_a_port_in_use_ends_up_with_a_sentence(c):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", c.ports["gateway"]))
        taken.listen()
        done = subprocess.run([PROGRAM, "up", "drawbridge.yaml"], cwd=c.folder, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 1, done
        assert "in use" in done.stderr, done


def test_up_starts_again_what_dies_and_stops_in_order(c):
    up = c.start("up", PROGRAM, "up", "drawbridge.yaml")
    wait_for_redis(c.ports["gateway"])
    until = time.monotonic() + 180
    while c.run("status")[0] != 0 and time.monotonic() < until:
        time.sleep(0.1)
    c.verb("status")

    def pid_of(role):
        lines = [w for w in c.log_tail("up", 100).splitlines() if f"  {role}: started" in w]
        return int(lines[-1].split("process ")[1].split(",")[0])
    first = pid_of("state")
    os.kill(first, signal.SIGKILL)
    until = time.monotonic() + 180
    while pid_of("state") == first and time.monotonic() < until:
        time.sleep(0.1)
    assert pid_of("state") != first
    until = time.monotonic() + 180
    while c.run("status")[0] != 0 and time.monotonic() < until:
        time.sleep(0.1)
    c.verb("status")
    pids = [pid_of(role) for role in ("state", "syncer", "gateway")]
    assert c.end(up, 180) == 0
    for pid in pids:
        assert not os.path.exists(f"/proc/{pid}"), pid
    stops = [w for w in c.log_tail("up", 100).splitlines() if w.endswith(": stopped")]
    assert [w.split()[1] for w in stops] == ["gateway:", "syncer:", "state:"], stops


def main():
    stage = Check()
    print(f"folder {stage.folder}", flush=True)
    try:
        for name, test in list(globals().items()):
            if name.startswith("test_"):
                print(name, flush=True)
                test(stage)
    finally:
        stage.close()
    shutil.rmtree(stage.folder, ignore_errors=True)


main()

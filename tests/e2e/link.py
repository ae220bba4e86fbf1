"""link.py -- one link between two real redis-servers, for end-to-end tests: `drawbridge syncer FILE --standalone`.

    with Link("name") as l:
        l.start()                 the syncer
        l.kill()                  kill -9 of it
        l.wait_level()            everything that the source has is applied
        l.check_equal()           an independent walk finds no difference

Ports are free ones of 127.0.0.1; files are in a temporary folder, kept when the test fails.
"""
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import redis

import seeds
import walk

from ports import free_port


TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
PROGRAM = os.environ.get("DRAWBRIDGE", os.path.join(os.environ.get("BUILD", os.path.join(TOP, "build")), "drawbridge"))

CONFIG = """\
migration: test
legacy:  {{ address: "127.0.0.1:{source}" }}
target:  {{ address: "127.0.0.1:{target}" }}
gateway: {{ listen: "127.0.0.1:1" }}
syncer:  {{ spool: {{ dir: spool, limit: {limit} }}{copy} }}
state:   {{ ledger: ledger.db, control: "unix:control.sock", api: "unix:api.sock" }}
run_dir: .
"""


class Link:
    def __init__(self, name, limit="1GB", source_options=(), target_options=(), copy="", seed=None, bundled=False):
        self.folder = tempfile.mkdtemp(prefix=f"drawbridge-{name}-")
        self.seed = seeds.seed() if seed is None else int(os.environ.get("SEED", seed))
        self.random = random.Random(self.seed)
        print(f"{name}: SEED={self.seed} folder {self.folder}", flush=True)
        self.ports = {"source": free_port(), "target": free_port()}
        self.options = {"source": source_options, "target": target_options}
        self.processes = {}
        self.copy = f", copy: {{ {copy} }}" if copy else ""
        self.limit = limit
        self.bundled = bundled  # the target is our own server; "both": the source, too
        self.write_config()
        for side in self.ports:
            os.makedirs(os.path.join(self.folder, side))

    def write_config(self, **ports):
        with open(os.path.join(self.folder, "drawbridge.yaml"), "w", encoding="utf-8") as out:
            out.write(CONFIG.format(limit=self.limit, copy=self.copy, **{**self.ports, **ports}))

    def __enter__(self):
        for side in self.ports:
            self.start_redis(side)
        return self

    def __exit__(self, kind, *_):
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
        if kind is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            print("--- the end of the syncer's log\n" + self.log()[-4000:])

    def run(self, name, *command):
        log = open(os.path.join(self.folder, f"{name}.log"), "a", encoding="utf-8")  # noqa: SIM115
        self.processes[name] = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        log.close()

    def start_redis(self, side):
        ours = self.bundled == "both" or (side == "target" and self.bundled)
        if ours:
            self.run(side, PROGRAM, "server", "--port", str(self.ports[side]), "--dir", os.path.join(self.folder, side),
                     "--appendonly", "yes", "--aof-patience-ms", "1000000", *self.options[side])
        else:
            self.run(side, "redis-server", "--port", str(self.ports[side]), "--dir", os.path.join(self.folder, side), "--save", "",
                     "--repl-diskless-sync-delay", "0", "--repl-backlog-size", "64mb", "--enable-debug-command", "yes",
                     *self.options[side])
        until = time.monotonic() + 120
        while True:
            try:
                if self.client(side).ping():
                    return
            except redis.exceptions.RedisError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def client(self, side, db=0):
        return redis.Redis(port=self.ports[side], db=db, socket_timeout=120)

    def start(self, *options):
        self.run("syncer", PROGRAM, "syncer", "drawbridge.yaml", "--standalone", *options)

    def kill(self, name="syncer", how=signal.SIGKILL):
        process = self.processes[name]
        if process.poll() is None:
            process.send_signal(how)
        process.wait()

    def log(self):
        with open(os.path.join(self.folder, "syncer.log"), encoding="utf-8") as log:
            return log.read()

    def wait_log(self, pattern, timeout_s=180, count=1):
        until = time.monotonic() + timeout_s
        while len(re.findall(pattern, self.log())) < count:
            assert time.monotonic() < until, f"not in the log after {timeout_s} s: {pattern}"
            assert self.processes["syncer"].poll() is None, "the syncer ended by itself"
            time.sleep(0.05)

    def checkpoint(self):
        """(kind, offset) of the checkpoint at the target."""
        text = self.client("target").get("drawbridge:checkpoint:forward")
        if text is None:
            return None, 0
        words = text.decode().split()
        return words[2], int(words[4].split(".")[0])

    def wait_level(self, timeout_s=180):
        """Write a last key at the source and wait until it is at the target: what came before is there, too.

        Twice: the first may have come with an RDB, which has no order; the second is then behind that RDB in the stream."""
        until = time.monotonic() + timeout_s
        for _ in range(2):
            mark = f"mark:{time.monotonic_ns()}"
            self.client("source").set(mark, "1")
            while not self.client("target").exists(mark):
                assert time.monotonic() < until, f"the target is not level after {timeout_s} s"
                time.sleep(0.02)

    def wait_clean(self, timeout_s=180):
        """Level, and no dirty key left, as the syncer says each second."""
        self.wait_level(timeout_s)
        seen = len(re.findall("link.progress", self.log()))
        until = time.monotonic() + timeout_s
        while True:
            lines = re.findall("link.progress.*", self.log())
            if len(lines) > seen and re.search(r"lag_bytes=0 .* dirty=0 quarantined=0", lines[-1]):
                return
            assert time.monotonic() < until, "keys stay dirty: " + (lines[-1] if lines else "")
            time.sleep(0.1)

    def check_equal(self):
        found = walk.differences(walk.walk(self.ports["source"]), walk.walk(self.ports["target"]))
        assert not found, "source | target\n" + "\n".join(found)

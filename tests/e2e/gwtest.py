"""gwtest.py -- a redis-server (or two) and a standalone gateway for end-to-end tests, and a raw RESP connection.

    with Bench() as b:
        r = b.client()          # python3-redis, through the gateway
        c = b.raw()             # raw RESP, through the gateway
        d = b.direct()          # python3-redis, to legacy itself
"""
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import redis

from resp import encode
from ports import free_port

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("BUILD", os.path.join(TOP, "build"))
PROGRAM = os.path.join(BUILD, "drawbridge")


def wait_for(what, condition, timeout_s=120.0):
    until = time.monotonic() + timeout_s
    while True:
        try:
            value = condition()
            if value:
                return value
        except (OSError, redis.RedisError):
            pass
        if time.monotonic() > until:
            raise AssertionError("waited in vain for " + what)
        time.sleep(0.02)


class Error(str):
    """An error reply."""


class Push(list):
    """A RESP3 push."""


class Raw:
    """One connection that speaks RESP2 or RESP3."""

    def __init__(self, port, timeout_s=60):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.file = self.sock.makefile("rb")

    def send(self, *args):
        self.sock.sendall(encode(*args))

    def send_bytes(self, data):
        self.sock.sendall(data)

    def call(self, *args):
        self.send(*args)
        return self.read()

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return Error(rest.decode())
        if kind in b":":
            return int(rest)
        if kind == b"_":
            return None
        if kind == b",":
            return float(rest)
        if kind == b"#":
            return rest == b"t"
        if kind in b"$=":
            if rest == b"-1":
                return None
            data = self.file.read(int(rest) + 2)[:-2]
            return data[4:].decode() if kind == b"=" else data
        if kind in b"*~":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        if kind == b">":
            return Push(self.read() for _ in range(int(rest)))
        if kind == b"%":
            return {self.hashable(self.read()): self.read() for _ in range(int(rest))}
        raise AssertionError("not RESP: %r" % line)

    @staticmethod
    def hashable(value):
        return tuple(value) if isinstance(value, list) else value

    def is_closed(self):
        try:
            self.sock.settimeout(30)
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.file.close()
        self.sock.close()


class Bench:
    def __init__(self, loops=2, gateway="", target=False, cutover="", legacy_options=()):
        self.folder = tempfile.mkdtemp(prefix="gateway-")
        self.port, self.legacy_port, self.target_port = free_port(), free_port(), free_port()
        self.admin = os.path.join(self.folder, "gw.sock")
        self.legacy_options = legacy_options
        self.with_target = target
        self.processes = {}
        text = f"""migration: test
legacy: {{ address: "127.0.0.1:{self.legacy_port}" }}
target: {{ address: "127.0.0.1:{self.target_port}" }}
gateway:
  listen: "127.0.0.1:{self.port}"
  loops: {loops}
  standalone: true
  admin: "unix:{self.admin}"
{gateway}
{cutover}
run_dir: "{self.folder}"
"""
        with open(os.path.join(self.folder, "drawbridge.yaml"), "w", encoding="utf-8") as out:
            out.write(text)

    def __enter__(self):
        self.start_redis("legacy")
        if self.with_target:
            self.start_redis("target")
        self.start_gateway()
        return self

    def __exit__(self, kind, *_):
        for name in list(self.processes):
            self.stop(name)
        if kind is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            print("--- the end of gateway.log\n" + self.log()[-4000:])

    def log(self):
        with open(os.path.join(self.folder, "gateway.log"), encoding="utf-8", errors="replace") as text:
            return text.read()

    def start(self, name, *command):
        with open(os.path.join(self.folder, name + ".log"), "ab") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)

    def start_redis(self, name):
        port = self.legacy_port if name == "legacy" else self.target_port
        self.start(name, "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder,
                   "--dbfilename", name + ".rdb", "--enable-debug-command", "yes", *self.legacy_options)
        wait_for(name, lambda: redis.Redis(port=port).ping())

    def start_gateway(self):
        self.start("gateway", PROGRAM, "gateway", "drawbridge.yaml")
        wait_for("the gateway", lambda: Raw(self.port).call("PING") == "PONG" or True)

    def stop(self, name, kill=False):
        process = self.processes.pop(name)
        if kill:
            process.kill()
        else:
            process.terminate()
        code = process.wait()
        if name == "gateway" and not kill and code != 0:
            raise AssertionError(f"the gateway ended with {code}\n{self.log()[-4000:]}")

    def client(self, **options):
        return redis.Redis(port=self.port, **options)

    def direct(self, side="legacy", **options):
        return redis.Redis(port=self.legacy_port if side == "legacy" else self.target_port, **options)

    def raw(self, **options):
        return Raw(self.port, **options)

    def call_admin(self, *words):
        return subprocess.run(["redis-cli", "-s", self.admin, *words], check=True, stdout=subprocess.PIPE,
                              text=True).stdout.strip()


def check(what, have, want):
    if have != want:
        raise AssertionError(f"{what}: have {have!r}, want {want!r}")


def run_tests(tests, bench=None):
    """Each test is a function of a Bench; all share one, so they must leave it usable."""
    with (bench or Bench()) as b:
        for test in tests:
            b.direct().flushall()
            began = time.monotonic()
            test(b)
            print(f"  {test.__name__}: fine in {time.monotonic() - began:.2f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit("this is a module")

"""servers.py -- start the bundled server or redis-server beside each other, and load them with random commands.

    with Folder("name") as folder:
        ours = Ours(folder, "a", "--appendonly", "yes")
        redis = RedisServer(folder, "b", "--replicaof", "127.0.0.1", str(ours.port))

Free ports of 127.0.0.1; all files in a temporary folder, which is kept when the test fails.
"""
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import redis

from ports import free_port
from seeds import seed


TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
PROGRAM = os.environ.get("DRAWBRIDGE", os.path.join(os.environ.get("BUILD", os.path.join(TOP, "build")), "drawbridge"))


def wait_until(what, check, seconds=180):
    """SECONDS are for a machine that is busy with much else; nothing is proved by them."""
    end = time.time() + seconds
    while True:
        try:
            answer = check()
        except (redis.RedisError, OSError):
            answer = None
        if answer:
            return answer
        if time.time() > end:
            raise AssertionError(f"waited {seconds} s in vain until {what}")
        time.sleep(0.02)


class Folder:
    def __init__(self, name):
        self.path = tempfile.mkdtemp(prefix=f"drawbridge-{name}-")
        self.servers = []
        self.seed = seed()
        print(f"{name}: SEED={self.seed} folder {self.path}", flush=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for server in self.servers:
            server.kill()
        if kind is None:
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            for server in self.servers:
                print(f"---- end of {server.log}\n" + "".join(open(server.log, errors="replace").readlines()[-15:]))


class Server:
    program = ()
    password = None

    def __init__(self, folder, name, *options, port=None, start=True):
        self.port = port or free_port()
        self.dir = os.path.join(folder.path, name)
        self.log = os.path.join(folder.path, name + ".log")
        os.makedirs(self.dir, exist_ok=True)
        self.options = options
        self.process = None
        folder.servers.append(self)
        if start:
            self.start()

    def command(self):
        return (*self.program, "--port", str(self.port), "--dir", self.dir, "--save", "", "--enable-debug-command", "yes",
                "--repl-diskless-sync-delay", "0", *self.options)

    def start(self, wait=True):
        with open(self.log, "a", encoding="utf-8") as out:
            self.process = subprocess.Popen(self.command(), stdout=out, stderr=out)
        if wait:
            wait_until(f"{self.log} answers", self.answers)

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"it ended with {self.process.returncode}:\n" + "".join(open(self.log, errors="replace").readlines()[-15:]))
        return self.client().ping()

    def client(self, db=0, **options):
        return redis.Redis(port=self.port, db=db, **{"socket_timeout": 300, "password": self.password, **options})

    def kill(self, how=signal.SIGKILL):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait()

    def shutdown(self, *how):
        """By SHUTDOWN; it must end in order."""
        try:
            self.client().execute_command("SHUTDOWN", *how)
        except redis.ConnectionError:
            pass
        assert self.process.wait(30) == 0, f"exit code {self.process.returncode}"

    def info(self, section):
        return self.client().info(section)

    def said(self, words):
        return words in open(self.log, errors="replace").read()


class Ours(Server):
    program = (PROGRAM, "server")


class RedisServer(Server):
    program = ("redis-server",)


class Load(threading.Thread):
    """Random commands of all types that the bundled server has, over several databases, until stopped."""

    def __init__(self, server, seed, keys=300, databases=3, expiries=True, pause=0.0):
        super().__init__(daemon=True)
        self.server, self.random, self.keys, self.databases = server, random.Random(seed), keys, databases
        self.expiries, self.pause = expiries, pause
        self.stopping, self.error, self.commands = threading.Event(), None, 0
        self.entry = 0

    def word(self):
        r = self.random
        return r.choice((str(r.randrange(-10**r.randrange(1, 19), 10**r.randrange(1, 19))), f"w{r.randrange(50)}",
                         "x" * r.randrange(200), bytes(r.randrange(256) for _ in range(r.randrange(20)))))

    def stream(self, key):
        """Not XREADGROUP without NOACK: Redis's replicas do not learn a group's entries-read from it."""
        r, w = self.random, self.word
        self.entry += 1
        add = ("XADD", key, f"{self.entry}-*", "f", w(), "n", self.entry)
        recent, other = (f"{max(self.entry - r.randrange(60), 0)}-0" for _ in range(2))
        group, consumer = r.choice(("g1", "g2")), r.choice("abc")
        return (add, add, add, ("XADD", key, "MAXLEN", "~", 30, f"{self.entry}-*", w(), w()), ("XDEL", key, recent), ("XTRIM", key, "MAXLEN", 20),
                ("XTRIM", key, "MINID", "~", recent), ("XGROUP", "CREATE", key, group, r.choice(("0", "$")), "MKSTREAM"),
                ("XREADGROUP", "GROUP", group, consumer, "COUNT", 3, "NOACK", "STREAMS", key, ">"), ("XACK", key, group, recent),
                ("XCLAIM", key, group, consumer, 0, recent, other, "FORCE"), ("XAUTOCLAIM", key, group, consumer, 0, "-", "COUNT", 3),
                ("XGROUP", "CREATECONSUMER", key, group, consumer), ("XGROUP", "DELCONSUMER", key, group, consumer), ("XGROUP", "SETID", key, group, "$"),
                ("XGROUP", "DESTROY", key, group), ("XSETID", key, f"{self.entry}-{r.randrange(9)}"))

    def one(self):
        r, w = self.random, self.word
        kind = r.choice("slhezxxgbp")
        key = f"{kind}{r.randrange(self.keys)}"
        score = r.choice((r.randrange(100), r.random(), "inf", "-inf", 1e-9, 0.123456789012345))
        choices = {
            "s": (("SET", key, w()), ("APPEND", key, "ab"), ("SETRANGE", key, r.randrange(30), "zz"), ("GETSET", key, w()),
                  ("MSET", key, w(), f"s{r.randrange(self.keys)}", w()), ("GETDEL", key), ("INCRBYFLOAT", f"f{r.randrange(20)}", "0.1"),
                  ("INCR", f"n{r.randrange(20)}"), ("SET", key, w(), "KEEPTTL")),
            "l": (("LPUSH", key, w(), w()), ("RPUSH", key, w()), ("LPOP", key), ("RPOP", key, 2), ("LSET", key, 0, w()),
                  ("LINSERT", key, "BEFORE", "w1", w()), ("LTRIM", key, 0, 200), ("LREM", key, 1, "w2"),
                  ("LMOVE", key, f"l{r.randrange(self.keys)}", "LEFT", "RIGHT")),
            "h": (("HSET", key, w(), w(), w(), w()), ("HDEL", key, f"w{r.randrange(50)}"), ("HINCRBY", key, "n", 3),
                  ("HINCRBYFLOAT", key, "f", "1.5"), ("HSETNX", key, w(), w())),
            "e": (("SADD", key, w(), w()), ("SADD", key, r.randrange(1000)), ("SREM", key, f"w{r.randrange(50)}"), ("SPOP", key),
                  ("SPOP", key, 3), ("SMOVE", key, f"e{r.randrange(self.keys)}", "w1"),
                  ("SUNIONSTORE", key, f"e{r.randrange(self.keys)}", f"e{r.randrange(self.keys)}")),
            "z": (("ZADD", key, score, w()), ("ZINCRBY", key, "0.1", f"w{r.randrange(50)}"), ("ZREM", key, f"w{r.randrange(50)}"),
                  ("ZPOPMIN", key), ("ZREMRANGEBYRANK", key, 200, -1),
                  ("ZUNIONSTORE", key, 2, f"z{r.randrange(self.keys)}", f"z{r.randrange(self.keys)}")),
            "x": self.stream(key),
            "g": (("GEOADD", key, r.uniform(-180, 180), r.uniform(-85, 85), w()), ("GEOSEARCHSTORE", f"g{r.randrange(self.keys)}", key, "FROMLONLAT", 0, 0, "BYRADIUS", 9000, "km")),
            "b": (("SETBIT", key, r.randrange(900), r.randrange(2)), ("BITOP", "XOR", key, key, f"b{r.randrange(self.keys)}"),
                  ("BITFIELD", key, "INCRBY", "i7", f"#{r.randrange(60)}", r.randrange(-60, 60))),
            "p": (("PFADD", key, w(), w()), ("PFADD", key, *(r.random() for _ in range(300))), ("PFMERGE", key, f"p{r.randrange(self.keys)}"), ("PFCOUNT", key)),
        }[kind]
        any_key = (("DEL", key), ("UNLINK", key), ("RENAME", key, f"{kind}{r.randrange(self.keys)}"), ("COPY", key, f"{kind}{r.randrange(self.keys)}"),
                   ("PERSIST", key))
        if self.expiries:
            any_key += (("PEXPIRE", key, r.randrange(1, 3000)), ("EXPIRE", key, 1000), ("PEXPIREAT", key, int(time.time() * 1000) + r.randrange(-5, 2000)),
                        ("SET", f"s{r.randrange(self.keys)}", w(), "PX", r.randrange(1, 2000)), ("EXPIRE", key, 0))
        return r.choice(choices if r.random() < 0.8 else any_key)

    def some(self, clients):
        r = self.random
        pipeline = clients[r.randrange(self.databases)].pipeline(transaction=r.random() < 0.3)
        for _ in range(r.randrange(1, 12)):
            pipeline.execute_command(*self.one())
        self.commands += len(pipeline.command_stack)
        for answer in pipeline.execute(raise_on_error=False):
            if isinstance(answer, Exception) and not str(answer).lower().startswith(("wrongtype", "no such key", "index out", "hash value", "value is not", "resulting", "increment", "source and dest", "nogroup", "busygroup", "the id specified", "the xgroup")):
                raise answer
        if r.random() < 0.002:
            clients[0].execute_command(*r.choice((("FLUSHDB",), ("SWAPDB", 1, 2))))

    def run(self):
        try:
            clients = [self.server.client(db) for db in range(self.databases)]
            while not self.stopping.is_set():
                self.some(clients)
                if self.pause:
                    time.sleep(self.pause)
        except Exception as error:  # the test's main thread tells
            self.error = error

    def go_on(self, seconds, commands=600):
        """For SECONDS, and, where that is not enough for so many, until COMMANDS more were answered."""
        before = self.commands
        time.sleep(seconds)
        wait_until(f"the load has done {commands} commands", lambda: self.commands > before + commands or self.error)

    def stop(self):
        self.stopping.set()
        self.join()
        if self.error:
            raise AssertionError(f"the load: {type(self.error).__name__}: {self.error}")


class Relay:
    """A TCP relay that can be cut and opened again."""

    def __init__(self, to_port):
        self.to_port, self.pairs, self.is_open = to_port, [], True
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                a, _ = self.listener.accept()
            except OSError:
                return
            if not self.is_open:
                a.close()
                continue
            try:
                b = socket.create_connection(("127.0.0.1", self.to_port))
            except OSError:
                a.close()
                continue
            self.pairs.append((a, b))
            for x, y in ((a, b), (b, a)):
                threading.Thread(target=self.copy, args=(x, y), daemon=True).start()

    @staticmethod
    def copy(x, y):
        try:
            while data := x.recv(65536):
                y.sendall(data)
        except OSError:
            pass
        for s in (x, y):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        self.is_open = False
        for pair in self.pairs:
            for s in pair:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.pairs = []

    def open(self):
        self.is_open = True


def preload(folder, name):
    """A library for LD_PRELOAD, made of NAME.c beside this file."""
    path = os.path.join(folder.path, name + ".so")
    if not os.path.exists(path):
        subprocess.run(["cc", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", os.path.join(TOP, "tests", "e2e", name + ".c"),
                        "-o", path, "-ldl", "-lpthread"], check=True)
    return path


def preloaded(*libraries):
    """The environment of a program with these libraries before all others, those of the sanitizers too."""
    options = [os.environ["ASAN_OPTIONS"]] if os.environ.get("ASAN_OPTIONS") else []
    return {**os.environ, "LD_PRELOAD": ":".join(libraries), "ASAN_OPTIONS": ":".join([*options, "verify_asan_link_order=0"])}


def needs_preloading():
    """Ends the test where AddressSanitizer is inside the program, as clang links it: it takes the calls before a preloaded library."""
    with open(PROGRAM, "rb") as program:
        code = program.read()
    if b"__asan_init" in code and b"libasan.so" not in code:
        print("not run: AddressSanitizer takes the calls that the preloaded library is there for")
        sys.exit(0)


def run_tests(module):
    """All functions test_* of a module in order; the first failure ends it."""
    wanted = sys.argv[1:]
    for name, fn in list(vars(module).items()):
        if name.startswith("test_") and callable(fn) and (not wanted or any(w in name for w in wanted)):
            began = time.time()
            fn()
            print(f"  {name}: {time.time() - began:.1f} s", flush=True)

"""peers.py -- start a candidate of a benchmark: ours, or a peer of Debian; read its CPU time and memory."""
import os
import socket
import subprocess
import time

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
WORK = os.path.join(TOP, "build", "bench")
PROGRAM = os.path.join(TOP, "build", "drawbridge")
TICK = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.settimeout(1)
            connection.sendall(b"*1\r\n$4\r\nPING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-"))
    except OSError:
        return False


class Process:
    """A server in a folder of its own, ended at the end of the with block. FILES: name -> text."""

    def __init__(self, name, port, command, files=None):
        self.name, self.port = name, port
        self.folder = os.path.join(WORK, f"{name}-{port}")
        os.makedirs(self.folder, exist_ok=True)
        for file, text in (files or {}).items():
            with open(os.path.join(self.folder, file), "w", encoding="utf-8") as out:
                out.write(text)
        self.log = open(os.path.join(self.folder, "log"), "w", encoding="utf-8")
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=self.log, stderr=self.log,
                                        stdin=subprocess.DEVNULL)

    def ready(self):
        for _ in range(200):
            if self.process.poll() is None and answers(self.port):
                return self
            time.sleep(0.05)
        self.__exit__()
        raise SystemExit(f"{self.name} did not start; see {self.folder}/log")

    def cpu_s(self):
        """User and system time of the process so far."""
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as stat:
            field = stat.read().rpartition(")")[2].split()
        return (int(field[11]) + int(field[12])) / TICK

    def memory_bytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def redis_server(*options):
    port = free_port()
    return Process("redis-server", port, ["redis-server", "--port", str(port), "--save", "", *options]).ready()


def our_server(*options):
    port = free_port()
    return Process("drawbridge-server", port, [PROGRAM, "server", "--port", str(port), "--save", "", *options]).ready()


def our_gateway(backend):
    port = free_port()
    text = (f"migration: bench\nlegacy: {{ address: 127.0.0.1:{backend} }}\ntarget: {{ address: 127.0.0.1:{free_port()} }}\n"
            f"gateway: {{ listen: 127.0.0.1:{port}, loops: 1, standalone: true }}\nrun_dir: .\nlog: {{ level: warn }}\n")
    return Process("drawbridge-gateway", port, [PROGRAM, "gateway", "drawbridge.yaml"], {"drawbridge.yaml": text}).ready()


def our_link(source, target):
    """A syncer alone, copying SOURCE to TARGET. Its port is the target's: ready when that one answers."""
    text = (f"migration: bench\nlegacy: {{ address: 127.0.0.1:{source} }}\ntarget: {{ address: 127.0.0.1:{target} }}\n"
            f"syncer: {{ spool: {{ dir: spool }} }}\nrun_dir: .\nlog: {{ level: warn }}\n")
    return Process("drawbridge-syncer", target, [PROGRAM, "syncer", "drawbridge.yaml", "--standalone"],
                   {"drawbridge.yaml": text})


def nutcracker(backend):
    port = free_port()
    text = (f"bench:\n  listen: 127.0.0.1:{port}\n  redis: true\n  hash: fnv1a_64\n  distribution: ketama\n"
            f"  servers:\n    - 127.0.0.1:{backend}:1\n")
    return Process("nutcracker", port, ["nutcracker", "-c", "nutcracker.yml", "-s", str(free_port())],
                   {"nutcracker.yml": text}).ready()


def haproxy(backend):
    port = free_port()
    text = ("global\n  nbthread 1\n  maxconn 2000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n"
            f"  timeout server 60s\nlisten bench\n  bind 127.0.0.1:{port}\n  server redis 127.0.0.1:{backend}\n")
    return Process("haproxy", port, ["haproxy", "-db", "-f", "haproxy.cfg"], {"haproxy.cfg": text}).ready()

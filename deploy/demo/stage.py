"""stage.py -- what the demo stands on: processes with logs, the command line, the live clients."""
import json
import os
import random
import signal
import socket
import subprocess
import time

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.environ.get("DRAWBRIDGE", os.path.join(os.environ.get("BUILD", os.path.join(TOP, "build")), "drawbridge"))


given = set()


def free_port():
    """Not one of those that the kernel gives to connections (32768 on): it would be somebody's before it is used."""
    while True:
        port = random.randrange(11000, 21000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in given:
            given.add(port)
            return port


class Stage:
    """A folder with everything that runs in it; all of it is ended by close()."""

    def __init__(self, folder):
        self.folder = folder
        self.running = []
        self.env = dict(os.environ, DRAWBRIDGE_API=os.path.join(folder, "api.sock"))

    def start(self, name, *command):
        with open(os.path.join(self.folder, name + ".log"), "w", encoding="utf-8") as log:
            process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env=self.env, start_new_session=True)
        self.running.append((name, process))
        return process

    def end(self, process, timeout_s=60):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return process.wait()

    def close(self):
        for _, process in reversed(self.running):
            self.end(process)

    def log_tail(self, name, lines=15):
        try:
            with open(os.path.join(self.folder, name + ".log"), encoding="utf-8", errors="replace") as log:
                return "".join(log.readlines()[-lines:])
        except OSError:
            return ""

    def verb(self, *words, wanted=(0,), timeout_s=300):
        """Run a verb of the command line with JSON output; return what it says. Other exit codes end the demo."""
        run = subprocess.run([PROGRAM, *words, "--output", "json"], cwd=self.folder, env=self.env, text=True,
                             capture_output=True, timeout=timeout_s, check=False)
        if run.returncode not in wanted:
            raise SystemExit(f"drawbridge {' '.join(words)}: exit code {run.returncode}\n{run.stdout}{run.stderr}")
        return json.loads(run.stdout) if run.stdout.strip() else {}


def wait_for_redis(port, timeout_s=120):
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.settimeout(1)
                connection.sendall(b"*1\r\n$4\r\nPING\r\n")
                if connection.recv(16).startswith(b"+PONG"):
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"nothing answers at 127.0.0.1:{port}")


class Clients:
    """Live clients, one process each, that check themselves (clients.py)."""

    def __init__(self, stage, port, count, ops_per_s, first=0):
        self.stage = stage
        self.reports = [os.path.join(stage.folder, f"client-{number}.json") for number in range(first, first + count)]
        self.processes = [stage.start(f"client-{number}", "/usr/bin/python3", os.path.join(HERE, "clients.py"), str(port),
                                      str(number), path, str(ops_per_s))
                          for number, path in enumerate(self.reports, first)]

    def finish(self):
        """End them all; return the sum of what they report, with `slow` as one list."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        total = {"commands": 0, "errors": 0, "lost": 0, "doubled": 0, "wrong": 0, "slow": [], "messages": []}
        for process, path in zip(self.processes, self.reports):
            process.wait(120)
            with open(path, encoding="utf-8") as report:
                for name, value in json.load(report).items():
                    total[name] += value
        return total

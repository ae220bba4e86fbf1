"""lanes.py -- what dual write costs: a gateway with lanes beside the same gateway that passes everything through.

CPU of the gateway's process per SET of 64 bytes, one round of each in turn; and the latency of requests sent at a fixed pace
while the follower is healthy, answers late, or is dead, beside pass-through in the same round.
"""
import json
import socket
import statistics
import subprocess
import threading
import time

from peers import PROGRAM, Process, free_port, redis_server

PACE = 1000  # requests a second
SECONDS = 2


def gateway(primary, follower, capture):
    port = free_port()
    lanes = "capture: lane, " if capture == "lane" else ""
    text = (f"migration: bench\nlegacy: {{ address: 127.0.0.1:{primary} }}\ntarget: {{ address: 127.0.0.1:{follower} }}\n"
            f"gateway: {{ listen: 127.0.0.1:{port}, loops: 1, standalone: true, {lanes}admin: \"unix:gw.sock\" }}\nrun_dir: .\nlog: {{ level: warn }}\n")
    return Process(f"gateway-{capture}", port, [PROGRAM, "gateway", "drawbridge.yaml"], {"drawbridge.yaml": text}).ready()


def wait_level(process):
    """Both sides were listed, and nothing is queued."""
    while True:
        told = subprocess.run(["redis-cli", "-s", f"{process.folder}/gw.sock", "GATEWAY", "LANES"], capture_output=True, text=True, check=False).stdout
        if '"level":1' in told:
            return json.loads(told)
        time.sleep(0.1)


class SlowRelay:
    """Passes what comes from one side at once, and what the other answers DELAY_S later."""

    def __init__(self, to_port, delay_s):
        self.to_port, self.delay_s = to_port, delay_s
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                a, _ = self.listener.accept()
                b = socket.create_connection(("127.0.0.1", self.to_port))
            except OSError:
                return
            threading.Thread(target=self.copy, args=(a, b, 0), daemon=True).start()
            threading.Thread(target=self.copy, args=(b, a, self.delay_s), daemon=True).start()

    @staticmethod
    def copy(x, y, delay_s):
        try:
            while data := x.recv(1 << 20):
                time.sleep(delay_s)
                y.sendall(data)
        except OSError:
            pass
        for s in (x, y):
            s.close()


def latencies(port, pace=PACE, seconds=SECONDS):
    """Microseconds of SETs at a fixed pace, by one client; a late answer makes what was due late, too."""
    found = []
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.perf_counter()
        for n in range(int(pace * seconds)):
            due = began + n / pace
            if due > time.perf_counter():
                time.sleep(due - time.perf_counter())
            due = max(due, time.perf_counter() - 1e-3)  # that this client slept too long is not the gateway's
            s.sendall(b"*3\r\n$3\r\nSET\r\n$8\r\nk%07d\r\n$64\r\n%s\r\n" % (n % 5000, b"v" * 64))
            answer = s.recv(64)
            if not answer.startswith(b"+OK"):
                raise SystemExit(f"SET was answered by {answer!r}")
            found.append((time.perf_counter() - due) * 1e6)
    found.sort()
    return {"p50": found[len(found) // 2], "p99": found[len(found) * 99 // 100], "p99.9": found[len(found) * 999 // 1000]}


def bench_cpu(measure, show):
    with redis_server() as a, redis_server() as b, gateway(a.port, free_port(), "none") as plain, gateway(a.port, b.port, "lane") as lanes:
        wait_level(lanes)
        table = measure({"lanes": lanes, "pass-through": plain}, ("set",), (1, 16))
        figures = wait_level(lanes)
        print(f"\n  {figures['effects_total']} effects and {figures['copies_total']} copies for {figures['commands_total']} commands")
        return show("gateway with lanes, all writes, before two redis-servers", table, "lanes")


def bench_latency(rounds):
    table = {}
    with redis_server() as a, redis_server() as b:
        slow = SlowRelay(b.port, 0.05)
        with gateway(a.port, free_port(), "none") as plain, gateway(a.port, b.port, "lane") as healthy, \
                gateway(a.port, slow.port, "lane") as late, gateway(a.port, free_port(), "lane") as dead:
            wait_level(healthy)
            time.sleep(12)  # the others: the grace time of a gateway without a journal
            for _ in range(rounds):
                for name, process in (("pass-through", plain), ("healthy", healthy), ("50 ms late", late), ("dead", dead)):
                    for what, us in latencies(process.port).items():
                        table.setdefault(name, {}).setdefault(what, []).append(us)
    print(f"\nlatency of SET through the gateway at {PACE}/s by the state of the follower, microseconds, median of {rounds} rounds; in brackets: to pass-through")
    report = {}
    for name, row in table.items():
        cells = []
        for what, values in row.items():
            ratio = statistics.median(x / y for x, y in zip(values, table["pass-through"][what]))
            cells.append(f"{what} {statistics.median(values):7.0f} ({ratio:.2f})")
            report.setdefault(name, {})[what] = {"us": statistics.median(values), "ratio": ratio}
        print(f"  {name:14}" + "   ".join(cells))
    return report

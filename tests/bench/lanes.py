"""lanes.py -- what dual write costs: a gateway with lanes beside the same gateway that passes everything through.

CPU of the gateway's process per SET of 64 bytes, one round of each in turn. And the latency of SETs that are sent at a
fixed rate whether answers come or not, counted from when they were due (tests/tools/pace.c), while the follower is
healthy, answers late, hangs, or is not there, and through pass-through twice. All of them take turns of a fraction of a
second in any order, and a round holds many turns. What is compared are the differences to pass-through within each
round; of their median there is an interval that holds whatever the noise is like (order statistics), and 'equal' is
said when it contains 0; how much it could have seen is the width of the interval. The second pass-through is the
control: the same thing measured twice. Everything that takes part runs at a high priority, if it may, so that what else
the machine does is seen as little as possible.
"""
import json
import math
import os
import random
import signal
import socket
import statistics
import subprocess
import threading
import time

from peers import PROGRAM, TOP, Process, free_port, redis_server

PACE = os.path.join(TOP, "build", "tests", "tools", "pace")
RATE = 2000  # requests a second
SLICE_MS, SLICES = 250, 8  # of each candidate, in a round
LATENCY_ROUNDS = 10
SINCE = {"latency": "from due", "after_sent": "from sent"}  # as pace.c calls them
WHAT = ("p50", "p99.9")


def gateway(primary, follower, capture, options=""):
    port = free_port()
    lanes = "capture: lane, " + options if capture == "lane" else ""
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


def one_round(processes):
    """Name -> what pace says of it; and by how much the client itself was late, at worst of all."""
    ports = [str(process.port) for process in processes.values()]
    told = subprocess.run([PACE, str(RATE), str(SLICE_MS), str(SLICES), str(random.randrange(1 << 30)), *ports],
                          capture_output=True, text=True, check=True).stdout
    found = dict(zip(processes, json.loads(told)))
    return found, max(row["late"]["p99"] for row in found.values())


def prefer(processes):
    for process in processes:
        for thread in os.listdir(f"/proc/{process.process.pid}/task"):
            try:
                os.setpriority(os.PRIO_PROCESS, int(thread), -10)
            except PermissionError:
                return


def interval(values):
    """Of the median, by ranks: (low, high, confidence), the narrowest with 95 % or more; all there is, if that is less."""
    values, n = sorted(values), len(values)
    outside = [sum(math.comb(n, i) for i in range(k)) / 2 ** (n - 1) for k in range(1, n // 2 + 1)]  # below rank k, or above
    k = max([k for k, share in enumerate(outside, 1) if share <= 0.05], default=1)
    return values[k - 1], values[n - k], 1 - outside[k - 1]


def bench_cpu(measure, show):
    with redis_server() as a, redis_server() as b, redis_server() as c, redis_server() as d, gateway(a.port, free_port(), "none") as plain, \
            gateway(a.port, b.port, "lane", 'witness: "off", ') as lanes, gateway(c.port, d.port, "lane") as watched:
        both = {"lanes": lanes, "and the witness": watched}
        for process in both.values():
            wait_level(process)
        table = measure({"lanes": lanes, "pass-through": plain, "and the witness": watched}, ("set",), (1, 16, 64))
        for name, process in both.items():
            figures = wait_level(process)
            print(f"\n  {name}: {figures['effects_total']} effects and {figures['copies_total']} copies for {figures['commands_total']} commands", end="")
        print()
        return show("gateway with lanes, all writes, before two redis-servers", table, "lanes")


def measure_latency(rounds):
    """Name -> (since when, percentile) -> microseconds, one a round."""
    table, late = {}, []
    with redis_server() as a, redis_server() as b, redis_server() as hung:
        slow = SlowRelay(b.port, 0.05)
        with gateway(a.port, free_port(), "none") as plain, gateway(a.port, free_port(), "none") as again, \
                gateway(a.port, b.port, "lane") as healthy, gateway(a.port, slow.port, "lane") as late_one, \
                gateway(a.port, hung.port, "lane") as hanging, gateway(a.port, free_port(), "lane") as dead:
            for process in (healthy, late_one, hanging):
                wait_level(process)
            time.sleep(12)  # the last one: the grace time of a gateway without a journal
            processes = {"pass-through": plain, "the same again": again, "healthy": healthy, "50 ms late": late_one, "hangs": hanging, "not there": dead}
            prefer([a, b, hung, *processes.values()])
            one_round(processes)  # to warm up
            os.kill(hung.process.pid, signal.SIGSTOP)
            try:
                for _ in range(rounds):
                    found, by = one_round(processes)
                    late.append(by)
                    for name, row in found.items():
                        for since in SINCE:
                            for what in WHAT:
                                table.setdefault(name, {}).setdefault((since, what), []).append(row[since][what])
            finally:
                os.kill(hung.process.pid, signal.SIGCONT)
            wait_level(healthy)
    return table, statistics.median(late)


def compare(values, base):
    """The difference of each round to BASE in the same round: its median, its interval, and what that means."""
    differences = [x - y for x, y in zip(values, base)]
    low, high, confidence = interval(differences)
    return {"median_us": statistics.median(values), "spread_us": [min(values), max(values)], "difference_us": statistics.median(differences),
            "low_us": low, "high_us": high, "confidence": confidence, "equal": low <= 0 <= high}


def bench_latency(rounds=LATENCY_ROUNDS):
    table, late = measure_latency(rounds)
    report = {}
    print(f"\nlatency of SET through the gateway at {RATE}/s, from when it was due, by the state of the follower: microseconds, median of {rounds} rounds")
    print(f"of {SLICES} x {SLICE_MS} ms in turn (least to most); and the differences in the same rounds, with the {100 * interval(range(rounds))[2]:.0f} % interval of their median")
    print(f"(the client itself sent too late by {late:.0f} us at its 99th percentile, to all alike)")
    for name, row in table.items():
        for (since, what), values in row.items():
            line = f"  {name:15}{SINCE[since]:10}{what:6}{statistics.median(values):7.0f} ({min(values):.0f} to {max(values):.0f})"
            for against in ("pass-through", "healthy"):
                if name in ("pass-through", against) or (name == "the same again" and against == "healthy"):
                    continue
                c = compare(values, table[against][since, what])
                report.setdefault(against, {}).setdefault(name, {})[f"{what} {SINCE[since]}"] = c
                verdict = "equal within noise" if c["equal"] else "MORE" if c["low_us"] > 0 else "less"
                line += f"   {c['difference_us']:+.0f} [{c['low_us']:+.0f}, {c['high_us']:+.0f}] to {against}: {verdict}"
            print(line)
    return report

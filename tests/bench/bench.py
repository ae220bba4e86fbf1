#!/usr/bin/python3
"""bench.py [gateway] [server] [copy] [files] [lanes] -- CPU time per request, memory and time, ours beside the peers'.

Machines are shared, so single figures are noise: each round runs every candidate in turn, and the
table shows the median of the rounds and the median of the per-round ratios. Ratios below 1 are in
our favour. Everything listens on 127.0.0.1 and ends by itself. $ROUNDS (3) and $REQUESTS (300000)
change the size; build/bench/report.json has the figures.
"""
import json
import os
import statistics
import subprocess
import sys
import time

import lanes
from files import bench_files
from peers import TOP, WORK, haproxy, nutcracker, our_gateway, our_link, our_server, redis_server

ROUNDS = int(os.environ.get("ROUNDS", "3"))
REQUESTS = int(os.environ.get("REQUESTS", "300000"))
KEYS = 1000000
CONNECTIONS = 50


def load(port, verb, pipeline, requests):
    subprocess.run(["redis-benchmark", "-p", str(port), "-t", verb, "-n", str(requests), "-P", str(pipeline), "-c",
                    str(CONNECTIONS), "-r", str(KEYS), "-d", "64", "-q"], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def fill(port):
    """KEYS strings of 64 bytes under the names that redis-benchmark asks for."""
    pipe = subprocess.Popen(["redis-cli", "-p", str(port), "--pipe"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    value = b"x" * 64
    for first in range(0, KEYS, 10000):
        pipe.stdin.write(b"".join(b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$64\r\n%s\r\n" % (number, value)
                                  for number in range(first, first + 10000)))
    pipe.stdin.close()
    if pipe.wait() != 0:
        raise SystemExit("redis-cli --pipe failed")


def measure(candidates, verbs=("set", "get"), pipelines=(1, 16, 64)):
    """CANDIDATES: name -> Process. Returns (verb, pipeline) -> name -> CPU microseconds per request, one a round."""
    table = {}
    for _ in range(ROUNDS):
        for pipeline in pipelines:
            requests = REQUESTS if pipeline == 1 else REQUESTS * 4
            for verb in verbs:
                for name, process in candidates.items():
                    before = process.cpu_s()
                    load(process.port, verb, pipeline, requests)
                    used_us = (process.cpu_s() - before) * 1e6 / requests
                    table.setdefault((verb, pipeline), {}).setdefault(name, []).append(used_us)
    return table


def show(title, table, ours):
    names = list(next(iter(table.values())))
    print(f"\n{title}: CPU microseconds per request, median of {ROUNDS}; in brackets ours / theirs")
    print(f"  {'':14}" + "".join(f"{name:>22}" for name in names))
    report = []
    for (verb, pipeline), row in table.items():
        cells, ratios = [], {}
        for name in names:
            cell = f"{statistics.median(row[name]):.2f}"
            if name != ours:
                ratios[name] = statistics.median(a / b for a, b in zip(row[ours], row[name]) if b)
                cell += f" ({ratios[name]:.2f})"
            cells.append(cell)
        print(f"  {verb.upper()} P={pipeline:<8}" + "".join(f"{cell:>22}" for cell in cells))
        report.append({"verb": verb, "pipeline": pipeline, "ratio": ratios,
                       "cpu_us": {name: statistics.median(row[name]) for name in names}})
    return report


def bench_gateway():
    with redis_server() as backend:
        fill(backend.port)
        with our_gateway(backend.port) as ours, nutcracker(backend.port) as twem, haproxy(backend.port) as proxy:
            table = measure({"gateway": ours, "nutcracker": twem, "haproxy (tcp)": proxy})
    return show("gateway before one redis-server", table, "gateway")


def bench_server():
    with our_server() as ours, redis_server() as theirs:
        per_key = {}
        for name, process in (("server", ours), ("redis-server", theirs)):
            before = process.memory_bytes()
            fill(process.port)
            per_key[name] = (process.memory_bytes() - before) / KEYS
        cpu = show("server", measure({"server": ours, "redis-server": theirs}), "server")
    print("\nserver: resident bytes per key (16-byte key, 64-byte value)")
    for name, size in per_key.items():
        print(f"  {name:14}{size:8.1f}")
    print(f"  ratio         {per_key['server'] / per_key['redis-server']:8.2f}")
    return {"cpu": cpu, "bytes_per_key": per_key}


def wait_for_keys(port, wanted):
    while True:
        answer = subprocess.run(["redis-cli", "-p", str(port), "dbsize"], capture_output=True, text=True, check=False).stdout
        if answer.strip().isdigit() and int(answer) >= wanted:
            return
        time.sleep(0.02)


def replica_sync(source):
    """Seconds, and CPU seconds of the receiving side, of a stock replica's full sync."""
    with redis_server() as replica:
        began, cpu = time.monotonic(), replica.cpu_s()
        subprocess.run(["redis-cli", "-p", str(replica.port), "replicaof", "127.0.0.1", str(source)], check=True,
                       stdout=subprocess.DEVNULL)
        wait_for_keys(replica.port, KEYS)
        return time.monotonic() - began, replica.cpu_s() - cpu


def link_copy(source):
    with redis_server() as target:
        began, cpu = time.monotonic(), target.cpu_s()
        with our_link(source, target.port) as link:
            wait_for_keys(target.port, KEYS)
            return time.monotonic() - began, link.cpu_s() + target.cpu_s() - cpu


def bench_copy():
    with redis_server("--repl-diskless-sync-delay", "0") as source:
        fill(source.port)
        rows = [(replica_sync(source.port), link_copy(source.port)) for _ in range(ROUNDS)]
    seconds = [statistics.median(row[who][0] for row in rows) for who in (0, 1)]
    cpu = [statistics.median(row[who][1] for row in rows) for who in (0, 1)]
    print(f"\ncopy of {KEYS} keys of 64 bytes, redis-server to redis-server, median of {ROUNDS}")
    for name, took, used in zip(("replica's full sync", "link"), seconds, cpu):
        print(f"  {name:22}{took:6.2f} s {KEYS / took:12.0f} keys/s   CPU of the receiving side {used:6.2f} s")
    print(f"  ratio of time         {statistics.median(row[1][0] / row[0][0] for row in rows):6.2f}")
    return {"replica_s": seconds[0], "link_s": seconds[1], "replica_cpu_s": cpu[0], "link_cpu_s": cpu[1]}


def bench_lanes():
    return {"cpu": lanes.bench_cpu(measure, show), "latency": lanes.bench_latency()}


def main():
    parts = {"gateway": bench_gateway, "server": bench_server, "copy": bench_copy, "lanes": bench_lanes, "files": lambda: bench_files(ROUNDS)}
    os.makedirs(WORK, exist_ok=True)
    report = {name: parts[name]() for name in sys.argv[1:] or parts}
    with open(os.path.join(WORK, "report.json"), "w", encoding="utf-8") as out:
        json.dump(report, out, indent=1)
    print(f"\nfigures: {os.path.relpath(WORK, TOP)}/report.json")


main()

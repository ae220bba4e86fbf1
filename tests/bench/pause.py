#!/usr/bin/python3
"""pause.py -- how long clients wait while a snapshot is taken, ours beside redis-server.

For each size of data, under SECONDS of steady writes: a run without a snapshot, then one with BGSAVE.
`wait` is what a second client's GETs took; `hiccup` what a sleeping thread saw at the same time, which
no server is guilty of. Memory is the highest that the process had beyond what it had before, in percent
of the data; of redis-server it is what that reports as copied on write.
    $SIZES ("1": gigabytes, "1 4 8"), $RATE (50000 writes a second), $SECONDS (10), $BIG (1000000 members)
"""
import json
import os
import subprocess
import threading
import time

from peers import TOP, WORK, our_server, redis_server

SIZES = [float(text) for text in os.environ.get("SIZES", "1").split()]
RATE = int(os.environ.get("RATE", "50000"))
SECONDS = int(os.environ.get("SECONDS", "10"))
BIG = int(os.environ.get("BIG", "1000000"))
VALUE_BYTES = 1000
PROBE = os.path.join(TOP, "build", "tests", "tools", "pause_probe")


def cli(port, *words):
    return subprocess.run(["redis-cli", "-p", str(port), *words], check=True, capture_output=True, text=True).stdout.strip()


def info(port, field):
    for line in cli(port, "INFO").splitlines():
        if line.startswith(field + ":"):
            return line.split(":", 1)[1]
    return "0"


def fill(port, kind, gigabytes):
    """The number of keys, or members of `big`."""
    if kind == "string":
        keys = int(gigabytes * 1e9 / VALUE_BYTES)
        cli(port, "DEBUG", "POPULATE", str(keys), "key", str(VALUE_BYTES))
        return keys
    pipe = subprocess.Popen(["redis-cli", "-p", str(port), "--pipe"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    for first in range(0, BIG, 1000):
        words = []
        for number in range(first, min(first + 1000, BIG)):
            member = b"member:%d" % number
            words += [b"%d" % (number * 7 % BIG), member] if kind == "zset" else [member, b"v" * 100]
        verb = b"ZADD" if kind == "zset" else b"HSET"
        words = [verb, b"big"] + words
        pipe.stdin.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
    pipe.stdin.close()
    if pipe.wait() != 0:
        raise SystemExit("redis-cli --pipe failed")
    return BIG


class Memory(threading.Thread):
    """The highest resident size of a process while this runs."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.process, self.first, self.highest, self.over = process, process.memory_bytes(), 0, False
        self.start()

    def run(self):
        while not self.over:
            self.highest = max(self.highest, self.process.memory_bytes())
            time.sleep(0.02)

    def extra_bytes(self):
        self.over = True
        self.join()
        return max(0, self.highest - self.first)


def probe(process, keys, kind, snapshot):
    load = subprocess.Popen([PROBE, str(process.port), str(SECONDS), str(RATE), str(keys),
                             str(VALUE_BYTES if kind == "string" else 100), kind], stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    memory = Memory(process)
    if snapshot:
        cli(process.port, "BGSAVE")
    out = load.communicate()[0]
    result = json.loads(out)
    while info(process.port, "rdb_bgsave_in_progress") != "0":
        time.sleep(0.1)
    result["extra_bytes"] = memory.extra_bytes()
    return result


def measure(name, process, kind, gigabytes):
    with process:
        keys = fill(process.port, kind, gigabytes)
        data_bytes = process.memory_bytes()
        rows = []
        for snapshot in (False, True):
            row = probe(process, keys, kind, snapshot)
            row.update(server=name, kind=kind, gigabytes=gigabytes, keys=keys, snapshot=snapshot, data_bytes=data_bytes)
            rows.append(row)
        rows[1]["fork_us"] = int(info(process.port, "latest_fork_usec"))
        rows[1]["seconds"] = int(info(process.port, "rdb_last_bgsave_time_sec"))
        for field in ("turns", "turn_p999_usec", "turn_max_usec", "turn_cpu_p999_usec", "turn_cpu_max_usec",
                      "turns_cpu_over_200_usec"):
            rows[1][field] = int(info(process.port, "drawbridge_snapshot_" + field))
        copied = int(info(process.port, "rdb_last_cow_size"))
        if copied:
            rows[1]["extra_bytes"] = copied
        return rows


def show(rows):
    for row in rows:
        waits, hiccups = row["waits"], row["hiccups"]
        what = "BGSAVE" if row["snapshot"] else "quiet"
        line = (f"  {row['server']:12} {row['kind']:7} {row['data_bytes'] / 1e9:5.2f} GB  {what:7}"
                f" wait us p50 {waits['p50']:5} p99.9 {waits['p999']:6} p99.99 {waits['p9999']:6} max {waits['max']:7}"
                f"  hiccup p99.9 {hiccups['p999']:5} max {hiccups['max']:6}  writes/s {row['writes'] / SECONDS:6.0f}")
        if row["snapshot"]:
            line += f"\n{'':14}memory +{100 * row['extra_bytes'] / row['data_bytes']:.1f} %, {row['seconds']} s"
            if row["turns"]:
                line += (f", {row['turns']} turns of the walk: us p99.9 {row['turn_p999_usec']} max {row['turn_max_usec']}, of"
                         f" processor time p99.9 {row['turn_cpu_p999_usec']} max {row['turn_cpu_max_usec']}"
                         f" ({row['turns_cpu_over_200_usec']} over 200; of a thread that only looks at the clock for the"
                         f" same 30 us p99.9 {row['spins']['p999']} max {row['spins']['max']})")
            else:
                line += f", fork {row['fork_us']} us"
        print(line, flush=True)


def main():
    os.makedirs(WORK, exist_ok=True)
    everything = []
    cases = [("string", size) for size in SIZES] + [("hash", 0), ("zset", 0)]
    for kind, size in cases:
        for name, start in (("drawbridge", our_server), ("redis-server", redis_server)):
            rows = measure(name, start("--enable-debug-command", "yes", "--maxmemory", "0"), kind, size)
            show(rows)
            everything += rows
    with open(os.path.join(WORK, "pause.json"), "w", encoding="utf-8") as report:
        json.dump(everything, report, indent=1)


main()

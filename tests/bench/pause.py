#!/usr/bin/python3
"""pause.py -- how long clients wait while a snapshot is taken, ours beside redis-server.

For each size of data, under steady writes: a run without a snapshot, then one with BGSAVE, one with a full sync (of a replica
that takes the bytes and throws them away, diskless), and one with the rewrite of an AOF that begins. `wait` is what a second
client's GETs took; `hiccup` what a sleeping thread saw at the same time, which no server is guilty of. `turns over 200` are turns
of the whole engine, as /metrics counts them, in a million. Memory is the highest that the process had beyond what it had
before, in percent of the data; of redis-server what that reports as copied on write, if that is more.
    $SIZES ("1": gigabytes, "1 4 8"), $RATE (50000 writes a second), $SECONDS (10; longer where the data is big), $BIG (1000000
    members; 0: no hash and no sorted set), $KINDS ("string hash zset"), $SERVERS ("drawbridge redis-server")
"""
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request

from peers import TOP, WORK, free_port, our_server, redis_server

SIZES = [float(text) for text in os.environ.get("SIZES", "1").split()]
RATE = int(os.environ.get("RATE", "50000"))
SECONDS = int(os.environ.get("SECONDS", "10"))
BIG = int(os.environ.get("BIG", "1000000"))
VALUE_BYTES = 1000
KINDS = os.environ.get("KINDS", "string hash zset").split()
SERVERS = os.environ.get("SERVERS", "drawbridge redis-server").split()
EVENTS = ("quiet", "BGSAVE", "full sync", "AOF rewrite")
TURN_FIELDS = ("turns", "turn_p999_usec", "turn_max_usec", "turn_cpu_p999_usec", "turn_cpu_max_usec", "turns_cpu_over_200_usec")
PROBE = os.path.join(TOP, "build", "tests", "tools", "pause_probe")


def cli(port, *words):
    return subprocess.run(["redis-cli", "-p", str(port), *words], check=True, capture_output=True, text=True).stdout.strip()


def info(port, field, section="everything"):
    """SECTION: the one that it is in; asking for all of them is work for a server that is being measured."""
    for line in cli(port, "INFO", section).splitlines():
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


def take_full_sync(port):
    """As a replica would; in a process of its own, so that it does not slow the one that measures."""
    with socket.create_connection(("127.0.0.1", port)) as master:
        master.settimeout(60)
        master.sendall(b"REPLCONF capa eof capa psync2\r\n")
        master.recv(100)
        master.sendall(b"PSYNC ? -1\r\n")
        seen = b""
        while b"$EOF:" not in seen or len(seen) < seen.index(b"$EOF:") + 47:
            part = master.recv(1 << 16)
            if not part:
                raise SystemExit(f"no full sync: {seen[-200:]}")
            seen = (seen + part)[-(1 << 17):]
        start = seen.index(b"$EOF:") + 5
        mark, tail = seen[start:start + 40], seen[start + 42:]
        room = bytearray(1 << 20)
        while mark not in tail:
            got = master.recv_into(room)
            if not got:
                raise SystemExit("the full sync broke off")
            tail = tail[-40:] + room[:got]


def begin(port, event):
    """A function that tells whether it is over."""
    if event == "BGSAVE":
        cli(port, "BGSAVE")
        return lambda: info(port, "rdb_bgsave_in_progress", "persistence") == "0"
    if event == "full sync":
        replica = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--replica", str(port)])

        def over():
            if replica.poll():
                raise SystemExit("the replica failed")
            return replica.poll() is not None
        return over
    if event == "AOF rewrite":
        cli(port, "CONFIG", "SET", "appendonly", "yes")
        return lambda: info(port, "aof_rewrite_in_progress", "persistence") == "0" and info(port, "aof_rewrite_scheduled", "persistence") == "0"
    return lambda: True


def engine_turns(metrics):
    """(all, those of at most 200 us) so far."""
    if not metrics:
        return 0, 0
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    value = lambda start: next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(start)), 0)
    return value("drawbridge_server_turn_seconds_count"), value('drawbridge_server_turn_seconds_bucket{le="0.0002"}')


def probe(process, keys, kind, event, seconds, metrics):
    load = subprocess.Popen([PROBE, str(process.port), str(seconds), str(RATE), str(keys),
                             str(VALUE_BYTES if kind == "string" else 100), kind], stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    cli(process.port, "CONFIG", "RESETSTAT")
    all_before, short_before = engine_turns(metrics)
    memory = Memory(process)
    began = time.monotonic()
    over = begin(process.port, event)
    while not over():
        time.sleep(0.05)
    took = time.monotonic() - began
    load_outlived_it = load.poll() is None
    out = load.communicate()[0]
    result = json.loads(out)
    all_after, short_after = engine_turns(metrics)
    turns = all_after - all_before
    result.update(extra_bytes=memory.extra_bytes(), took_s=took, load_outlived_it=load_outlived_it, seconds=seconds,
                  turns_over_200_per_million=1e6 * (turns - (short_after - short_before)) / turns if turns else None)
    for field in TURN_FIELDS:
        result[field] = int(info(process.port, "drawbridge_snapshot_" + field))
    copied = int(info(process.port, "aof_last_cow_size" if event == "AOF rewrite" else "rdb_last_cow_size"))
    if event != "quiet":
        result["extra_bytes"] = max(result["extra_bytes"], copied)
        result["fork_us"] = int(info(process.port, "latest_fork_usec"))
    if event == "AOF rewrite":
        cli(process.port, "CONFIG", "SET", "appendonly", "no")
    return result


def measure(name, process, kind, gigabytes, metrics):
    try:
        with process:
            keys = fill(process.port, kind, gigabytes)
            data_bytes = process.memory_bytes()
            seconds = max(SECONDS, int(5 * data_bytes / 1e9))
            rows = []
            for event in EVENTS:
                row = probe(process, keys, kind, event, seconds, metrics)
                row.update(server=name, kind=kind, gigabytes=gigabytes, keys=keys, event=event, data_bytes=data_bytes,
                           load=os.getloadavg()[0])
                rows.append(row)
                show(row)
            return rows
    finally:
        shutil.rmtree(process.folder, ignore_errors=True)  # as big as the data


def show(row):
    waits, hiccups = row["waits"], row["hiccups"]
    line = (f"  {row['server']:12} {row['kind']:7} {row['data_bytes'] / 1e9:5.2f} GB  {row['event']:11}"
            f" wait us p50 {waits['p50']:5} p99.9 {waits['p999']:6} p99.99 {waits['p9999']:6} max {waits['max']:7}"
            f"  hiccup p99.9 {hiccups['p999']:5} max {hiccups['max']:6}  writes/s {row['writes'] / row['seconds']:6.0f}"
            f"  load {row['load']:.1f}")
    if row["turns_over_200_per_million"] is not None:
        line += f"  turns over 200 us {row['turns_over_200_per_million']:.0f} ppm"
    if row["event"] != "quiet":
        line += (f"\n{'':14}memory +{100 * row['extra_bytes'] / row['data_bytes']:.1f} %, {row['took_s']:.1f} s"
                 f"{'' if row['load_outlived_it'] else ' (writes ended before it)'}")
        if row["turns"]:
            line += (f", {row['turns']} turns of the walk: us p99.9 {row['turn_p999_usec']} max {row['turn_max_usec']}, of"
                     f" processor time p99.9 {row['turn_cpu_p999_usec']} max {row['turn_cpu_max_usec']}"
                     f" ({row['turns_cpu_over_200_usec']} over 200; of a thread that only looks at the clock for the"
                     f" same 30 us p99.9 {row['spins']['p999']} max {row['spins']['max']})")
        elif row["server"] == "redis-server":
            line += f", fork {row['fork_us']} us"
    print(line, flush=True)


def main():
    os.makedirs(WORK, exist_ok=True)
    everything = []
    cases = [("string", size) for size in SIZES if "string" in KINDS] + [(kind, 0) for kind in ("hash", "zset") if kind in KINDS and BIG]
    options = ("--enable-debug-command", "yes", "--maxmemory", "0", "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0",
               "--client-output-buffer-limit", "replica 0 0 0")
    for kind, size in cases:
        for name in SERVERS:
            if name == "drawbridge":
                metrics = free_port()
                rows = measure(name, our_server(*options, "--metrics", f"127.0.0.1:{metrics}"), kind, size, metrics)
            else:
                rows = measure(name, redis_server(*options), kind, size, None)
            everything += rows
    with open(os.path.join(WORK, "pause.json"), "w", encoding="utf-8") as report:
        json.dump(everything, report, indent=1)


if __name__ != "__main__":
    pass
elif sys.argv[1:2] == ["--replica"]:
    take_full_sync(int(sys.argv[2]))
else:
    main()

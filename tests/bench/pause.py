#!/usr/bin/python3
"""pause.py -- how long clients wait while a snapshot is taken, ours beside redis-server.

For each size of data, under steady writes: a run without a snapshot, then one with BGSAVE, one with a full sync (of a replica
that takes the bytes and throws them away, diskless), one with the rewrite of an AOF that begins, and one without a snapshot again,
but with that AOF. `wait` is what a second client's GETs took; `hiccup` what a sleeping thread saw at the same time, which no
server is guilty of. Turns are those of the whole engine while the event lasts (DEBUG TURNS): how many a second took over 200 us
of processor time, which is what the engine did itself, and by the clock, with how many of those had lost the processor to
somebody else. Memory is the highest that the process had beyond what it had
before, in percent of the data; of redis-server what that reports as copied on write, if that is more.
At the end: each goal, what was measured, and whether it was reached; all of it in build/bench/pause.json and pause.md.
    $SIZES ("1": gigabytes, "1 4 8"), $RATE (50000 writes a second), $SECONDS (10; longer where the data is big), $BIG (1000000
    members; 0: no hash and no sorted set), $KINDS ("string hash zset"), $SERVERS ("drawbridge redis-server")
"""
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

from peers import TOP, WORK, our_server, redis_server

SIZES = [float(text) for text in os.environ.get("SIZES", "1").split()]
RATE = int(os.environ.get("RATE", "50000"))
SECONDS = int(os.environ.get("SECONDS", "10"))
BIG = int(os.environ.get("BIG", "1000000"))
VALUE_BYTES = 1000
KINDS = os.environ.get("KINDS", "string hash zset").split()
SERVERS = os.environ.get("SERVERS", "drawbridge redis-server").split()
EVENTS = ("quiet", "BGSAVE", "full sync", "AOF rewrite", "quiet with AOF")
# What would be there without the snapshot.
QUIET_OF = {"BGSAVE": "quiet", "full sync": "quiet", "AOF rewrite": "quiet with AOF"}
WALK_P999_US, EXTRA_PERCENT, SIZES_ALIKE = 100, 5, 1.5
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


def turns_of(port):
    """What DEBUG TURNS SHOW says; `long` are the turns that took most."""
    fields = {"long": []}
    for line in cli(port, "DEBUG", "TURNS", "SHOW").splitlines():
        name, colon, value = line.partition(":")
        if name == "long":
            fields["long"].append({key: int(number) for key, number in (pair.split("=") for pair in value.split(","))})
        elif colon:
            fields[name] = float(value)
    return fields


def probe(process, keys, kind, event, seconds, ours):
    load = subprocess.Popen([PROBE, str(process.port), str(seconds), str(RATE), str(keys),
                             str(VALUE_BYTES if kind == "string" else 100), kind], stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    cli(process.port, "CONFIG", "RESETSTAT")
    memory = Memory(process)
    if ours:
        cli(process.port, "DEBUG", "TURNS", "ON")
    began = time.monotonic()
    over = begin(process.port, event)
    if event not in QUIET_OF:
        time.sleep(seconds - 2)
    while not over():
        time.sleep(0.05)
    took = time.monotonic() - began
    load_outlived_it = load.poll() is None
    turns = turns_of(process.port) if ours else None
    if ours:
        cli(process.port, "DEBUG", "TURNS", "OFF")
    out = load.communicate()[0]
    result = json.loads(out)
    result.update(extra_bytes=memory.extra_bytes(), took_s=took, load_outlived_it=load_outlived_it, seconds=seconds, engine=turns)
    for field in TURN_FIELDS:
        result[field] = int(info(process.port, "drawbridge_snapshot_" + field))
    if event in QUIET_OF:
        copied = int(info(process.port, "aof_last_cow_size" if event == "AOF rewrite" else "rdb_last_cow_size"))
        result["extra_bytes"] = max(result["extra_bytes"], copied)
        result["fork_us"] = int(info(process.port, "latest_fork_usec"))
    if event == "quiet with AOF":
        cli(process.port, "CONFIG", "SET", "appendonly", "no")
    return result


def measure(name, process, kind, gigabytes):
    rows = []
    try:
        with process:
            keys = fill(process.port, kind, gigabytes)
            data_bytes = process.memory_bytes()
            seconds = max(SECONDS, int(5 * data_bytes / 1e9))
            for event in EVENTS:
                row = probe(process, keys, kind, event, seconds, name == "drawbridge")
                row.update(server=name, kind=kind, gigabytes=gigabytes, keys=keys, event=event, data_bytes=data_bytes,
                           load=os.getloadavg()[0])
                rows.append(row)
                show(row)
    except (Exception, SystemExit) as why:  # the others shall be measured all the same
        print(f"  {name} {kind} {gigabytes}: FAILED: {why!r}", flush=True)
        rows.append({"server": name, "kind": kind, "gigabytes": gigabytes, "failed": repr(why)})
    finally:
        shutil.rmtree(process.folder, ignore_errors=True)  # as big as the data
    return rows


def rate(row):
    """Turns over 200 us of processor time, a second."""
    return row["engine"]["over_cpu"] / row["engine"]["seconds"]


def show(row):
    waits, hiccups = row["waits"], row["hiccups"]
    line = (f"  {row['server']:12} {row['kind']:7} {row['data_bytes'] / 1e9:5.2f} GB  {row['event']:11}"
            f" wait us p50 {waits['p50']:5} p99.9 {waits['p999']:6} p99.99 {waits['p9999']:6} max {waits['max']:7}"
            f"  hiccup p99.9 {hiccups['p999']:5} max {hiccups['max']:6}  writes/s {row['writes'] / row['seconds']:6.0f}"
            f"  load {row['load']:.1f}")
    if row["engine"]:
        engine = row["engine"]
        line += (f"\n{'':14}{engine['turns']:.0f} turns of the engine: over 200 us a second, of processor time {rate(row):.2f}"
                 f" ({engine['over_cpu']:.0f}), by the clock {engine['over_wall'] / engine['seconds']:.1f}, of which"
                 f" {engine['over_wall_displaced'] / engine['seconds']:.1f} lost the processor; p99.9 {engine['cpu_p999_usec']:.0f}"
                 f" of processor time, {engine['wall_p999_usec']:.0f} by the clock")
    if row["event"] in QUIET_OF:
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


# ---- the verdict

def is_by_chance(count, seconds, quiet_count, quiet_seconds):
    """Whether COUNT in SECONDS, or more, is to be expected one time of forty where QUIET_COUNT came in QUIET_SECONDS."""
    both, share, chance = int(count + quiet_count), seconds / (seconds + quiet_seconds), 0.0
    for n in range(int(count), both + 1):
        chance += math.exp(math.lgamma(both + 1) - math.lgamma(n + 1) - math.lgamma(both - n + 1)
                           + n * math.log(share) + (both - n) * math.log(1 - share))
    return chance > 0.025


def name_of(row):
    return f"{row['kind']} {row['data_bytes'] / 1e9:.1f} GB, {row['event']}"


def say(goal, reached, measured):
    print(f"  {'reached    ' if reached else 'NOT REACHED'} {goal}: {measured}", flush=True)
    return {"goal": goal, "reached": reached, "measured": measured}


def verdict(rows):
    """One line for each goal. Rows of ours in which a snapshot was taken while writes went on."""
    ours = [row for row in rows if row["server"] == "drawbridge" and "failed" not in row]
    events = [row for row in ours if row["event"] in QUIET_OF]
    failed = [row for row in rows if "failed" in row]
    results = [say("everything could be measured", not failed, f"{len(failed)} cases failed")]
    if not events:
        return results
    worst = max(events, key=lambda row: row["turn_cpu_p999_usec"])
    results.append(say(f"p99.9 of the walk's turns at most {WALK_P999_US} us of processor time",
                       worst["turn_cpu_p999_usec"] <= WALK_P999_US,
                       f"at most {worst['turn_cpu_p999_usec']} ({name_of(worst)}); a thread that touches nothing had"
                       f" {worst['spins']['p999']} then; longest of all {max(row['turn_cpu_max_usec'] for row in events)}"))
    for event in QUIET_OF:
        alike = [row["turn_cpu_p999_usec"] for row in events if row["event"] == event and row["kind"] == "string"]
        if len(alike) > 1:
            results.append(say(f"{event}: the same at every size of strings (within {SIZES_ALIKE} times)",
                               max(alike) <= SIZES_ALIKE * min(alike), " ".join(map(str, alike))))
    for row in events:
        quiet = next(other for other in ours if other["event"] == QUIET_OF[row["event"]]
                     and (other["kind"], other["gigabytes"]) == (row["kind"], row["gigabytes"]))
        counts = [(r["engine"]["over_cpu"], r["engine"]["seconds"]) for r in (row, quiet)]
        chance = is_by_chance(*counts[0], *counts[1])
        more = rate(row) > rate(quiet)
        results.append(say(f"{name_of(row)}: turns over 200 us of processor time not more frequent than without", not more or chance,
                           f"{rate(row):.2f} a second ({counts[0][0]:.0f} in {counts[0][1]:.1f} s) beside {rate(quiet):.2f}"
                           f" ({counts[1][0]:.0f} in {counts[1][1]:.1f} s)" + (", which may be chance" if more and chance else "")))
    for row in events:
        percent = 100 * row["extra_bytes"] / row["data_bytes"]
        results.append(say(f"{name_of(row)}: at most {EXTRA_PERCENT} % more memory", percent <= EXTRA_PERCENT, f"{percent:.1f} %"))
    return results


def table(rows):
    """As docs/PAUSES.md has it."""
    lines = ["| data | server | event | load | wait p99.9 | p99.99 | max | hiccup p99.9 | walk | spin | turns cpu | turns wall | memory | took | fork |",
             "|" + "---|" * 15]
    for row in rows:
        if "failed" in row:
            continue
        waits, engine, is_event = row["waits"], row["engine"], row["event"] in QUIET_OF
        walk = f"{row['turn_cpu_p999_usec']}, {row['turn_cpu_max_usec']}, {row['turns_cpu_over_200_usec']}" if row["turns"] else ""
        cells = [f"{row['kind']} {row['data_bytes'] / 1e9:.2f} GB", row["server"], row["event"], f"{row['load']:.1f}", waits["p999"],
                 waits["p9999"], waits["max"], row["hiccups"]["p999"], walk, row["spins"]["p999"] if walk else "",
                 f"{rate(row):.2f}" if engine else "",
                 f"{engine['over_wall'] / engine['seconds']:.1f}, {engine['over_wall_displaced'] / engine['seconds']:.1f}" if engine else "",
                 f"{100 * row['extra_bytes'] / row['data_bytes']:.1f} %" if is_event else "",
                 f"{row['took_s']:.1f} s{'' if row['load_outlived_it'] else '*'}" if is_event else "",
                 f"{row['fork_us'] // 1000} ms" if is_event and row["server"] == "redis-server" else ""]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def main():
    os.makedirs(WORK, exist_ok=True)
    everything = []
    cases = [("string", size) for size in SIZES if "string" in KINDS] + [(kind, 0) for kind in ("hash", "zset") if kind in KINDS and BIG]
    options = ("--enable-debug-command", "yes", "--maxmemory", "0", "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0",
               "--client-output-buffer-limit", "replica 0 0 0")
    for kind, size in cases:
        for name in SERVERS:
            if name == "drawbridge":
                everything += measure(name, our_server(*options), kind, size)
            else:
                everything += measure(name, redis_server(*options), kind, size)
    print(f"\ngoals, on a machine of {os.cpu_count()} processors at load {os.getloadavg()[0]:.1f}", flush=True)
    results = verdict(everything)
    with open(os.path.join(WORK, "pause.json"), "w", encoding="utf-8") as report:
        json.dump({"rows": everything, "goals": results}, report, indent=1)
    with open(os.path.join(WORK, "pause.md"), "w", encoding="utf-8") as report:
        report.write(table(everything))
        report.writelines(f"- {'reached' if r['reached'] else '**not reached**'}: {r['goal']}: {r['measured']}\n" for r in results)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--replica"]:
        take_full_sync(int(sys.argv[2]))
    else:
        main()

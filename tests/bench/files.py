"""files.py -- how fast RDB files are loaded and saved, ours beside redis-server, for bench.py.

The data are 1.1 million keys of text: strings of some 120 bytes, hashes, lists, sets and sorted sets. Time is that of
the clock, CPU that of the process with its threads and children; what an empty server needs to start is taken off.
"""
import os
import random
import shutil
import statistics
import subprocess
import time

from peers import WORK, our_server, redis_server

STRINGS = int(os.environ.get("STRINGS", "1000000"))
WORDS = ("alpha beta gamma delta session token user order item price street city country payload request answer value true false null "
         "2026-11-21 12:00:00 10.0.0.1 example.com /index.html status shipped pending").split()


def request(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def fill(port):
    r = random.Random(5)
    texts = [" ".join(r.choices(WORDS, k=18)).encode() for _ in range(4000)]
    pipe = subprocess.Popen(["redis-cli", "-p", str(port), "--pipe"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    for first in range(0, STRINGS, 1000):
        batch = []
        for i in range(first, first + 1000):
            batch.append(request(b"SET", b"key:%d" % i, b"%x %s" % (r.getrandbits(64), texts[i * 7 % 4000])))
            if i % 20 == 0:
                fields = [w for j in range(10) for w in (b"field:%d" % j, texts[(i + j) % 4000][:30])]
                batch.append(request(b"HSET", b"hash:%d" % i, *fields))
            if i % 40 == 1:
                batch.append(request(b"ZADD", b"zset:%d" % i, *(w for j in range(20) for w in (b"%d" % (j * i), b"member:%d" % (i + j)))))
            if i % 80 == 2:
                batch.append(request(b"RPUSH", b"list:%d" % i, *(texts[(i + j) % 4000] for j in range(20))))
                batch.append(request(b"SADD", b"set:%d" % i, *(b"%d:%x" % (j, r.getrandbits(40)) for j in range(20))))
        pipe.stdin.write(b"".join(batch))
    pipe.stdin.close()
    if pipe.wait() != 0:
        raise SystemExit("redis-cli --pipe failed")


def cli(port, *words):
    return subprocess.run(["redis-cli", "-p", str(port), *words], capture_output=True, text=True, check=True).stdout.replace("\r", "")


def cpu_s(process):
    """With the children that have ended: redis-server's BGSAVE."""
    with open(f"/proc/{process.process.pid}/stat", encoding="utf-8") as stat:
        field = stat.read().rpartition(")")[2].split()
    return sum(int(field[i]) for i in (11, 12, 13, 14)) / os.sysconf("SC_CLK_TCK")


def loaded(start, folder):
    """The server, and the seconds and CPU seconds until it has read what is in FOLDER."""
    began = time.monotonic()
    process = start("--dir", folder, "--dbfilename", "dump.rdb", "--enable-protected-configs", "yes")
    while "\nloading:0" not in cli(process.port, "info", "persistence"):
        time.sleep(0.01)
    return process, time.monotonic() - began, cpu_s(process)


def measure(start, folder, empty):
    process, nothing_s, nothing_cpu_s = loaded(start, empty)
    process.__exit__()
    process, load_s, load_cpu_s = loaded(start, folder)
    with process:
        row = {"keys": int(cli(process.port, "dbsize")), "load": (load_s - nothing_s, load_cpu_s - nothing_cpu_s)}
        cli(process.port, "config", "set", "dbfilename", "other.rdb")
        for name in ("save", "bgsave"):
            began, cpu = time.monotonic(), cpu_s(process)
            cli(process.port, name)
            while "rdb_bgsave_in_progress:0" not in cli(process.port, "info", "persistence"):
                time.sleep(0.01)
            row[name] = (time.monotonic() - began, cpu_s(process) - cpu)
            row[name + "_bytes"] = os.path.getsize(os.path.join(folder, "other.rdb"))
    return row


def bench_files(rounds):
    folder, empty = os.path.join(WORK, "files"), os.path.join(WORK, "empty")
    for path in (folder, empty):
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)
    with redis_server("--dir", folder) as source:
        fill(source.port)
        cli(source.port, "save")
    megabytes = os.path.getsize(os.path.join(folder, "dump.rdb")) / 1e6
    rows = {"server": [], "redis-server": []}
    for _ in range(rounds):
        rows["server"].append(measure(our_server, folder, empty))
        rows["redis-server"].append(measure(redis_server, folder, empty))
    print(f"\nfiles: an RDB of {megabytes:.0f} MB by redis-server, {rows['server'][0]['keys']} keys; median of {rounds}")
    for what in ("load", "save", "bgsave"):
        for name, all_of in rows.items():
            took, used = (statistics.median(row[what][i] for row in all_of) for i in (0, 1))
            size = f"{all_of[0][what + '_bytes'] / 1e6:6.0f} MB written" if what != "load" else ""
            print(f"  {what:7} {name:13}{took:6.2f} s {megabytes / took:7.0f} MB/s   CPU {used:5.2f} s {size}")
        ratios = [statistics.median(theirs[what][i] / ours[what][i] for ours, theirs in zip(*rows.values())) for i in (0, 1)]
        print(f"  {what:7} times as fast as redis-server: {ratios[0]:.2f}, per core {ratios[1]:.2f}", flush=True)
    return {"megabytes": megabytes, "rows": rows}

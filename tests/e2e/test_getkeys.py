#!/usr/bin/env python3
"""The command table says what a live redis-server 7.0 says: rows, and the keys of every command.

Each command is tried with argument lists of many shapes (words that commands look for, counts that
fit, do not fit and are no numbers); COMMAND GETKEYSANDFLAGS of the server must agree with ours.
"""
import os, random, shutil, socket, subprocess, sys, tempfile, time

from ports import free_port
import seeds


ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.path.join(os.environ.get("BUILD", os.path.join(ROOT, "build")), "tests/tools/getkeys")
HIDDEN = {"may_replicate", "protected"}  # Redis 7.0 has these flags but does not show them
WORDS = ["get", "GET", "store", "STORE", "storedist", "limit", "by", "keys", "KEYS", "auth", "auth2",
         "streams", "STREAMS", "block", "count", "group", "set", "incrby", "overflow", "copy",
         "0", "1", "2", "3", "-1", "2x", "+1", " 2", "02", "999999999999", "", "a", "k{1}", "left", "numkeys"]


class Connection:
    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.file = self.sock.makefile("rb")

    def call(self, *args):
        self.sock.sendall(encode(args))
        return self.read()

    def read(self):
        line = self.file.readline()[:-2]
        kind, rest = line[:1], line[1:].decode("latin1")
        if kind == b"-":
            return Exception(rest)
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == "-1" else self.file.read(int(rest) + 2)[:-2].decode("latin1")
        return None if rest == "-1" else [self.read() for _ in range(int(rest))]


def encode(args):
    out = b"*%d\r\n" % len(args)
    for arg in args:
        arg = arg.encode("latin1")
        out += b"$%d\r\n%s\r\n" % (len(arg), arg)
    return out


def rows_of(info):
    for row in info:
        yield row
        yield from rows_of(row[9])


def check_rows(redis, rows):
    docs = redis.call("COMMAND", "DOCS")
    docs = dict(zip(docs[::2], docs[1::2]))
    ours = {}
    for line in subprocess.check_output([TOOL, "table"], text=True).splitlines():
        name, arity, since, group, flags, categories = line.split(" ")
        ours[name] = (int(arity), since, group, set(flags.split(",")) - {""}, set(categories.split(",")) - {""})
    bad = 0
    for row in rows:
        name = row[0]
        base = docs[name.split("|")[0]]
        base = dict(zip(base[::2], base[1::2]))
        doc = base
        if "|" in name:
            subs = dict(zip(base["subcommands"][::2], base["subcommands"][1::2]))[name]
            doc = dict(zip(subs[::2], subs[1::2]))
        want = (row[1], doc["since"], base["group"], set(row[2]), {c[1:] for c in row[6]})
        have = ours.pop(name, None)
        if have is not None:
            have = have[:3] + (have[3] - HIDDEN, have[4])
        if have != want:
            bad += 1
            print(f"row {name}: have {have}, want {want}")
    for name, row in ours.items():
        if tuple(map(int, row[1].split("."))) < (7, 1):
            bad += 1
            print(f"row {name}: not known to the server")
    return bad


def shapes(rng, name, arity):
    head = name.split("|")
    least = abs(arity) - len(head)
    for extra in range(0, 9):
        count = max(0, least + (extra if arity < 0 else extra - 1))
        yield head + ["k%d" % i for i in range(count)]
        for _ in range(12):
            yield head + [rng.choice(WORDS) for _ in range(count)]
        for at in range(count):
            for word in ("1", "2", "streams", "store", "get"):
                args = ["k%d" % i for i in range(count)]
                args[at] = word
                yield head + args


def expected(reply, args):
    if isinstance(reply, Exception):
        text = str(reply)
        for part, word in (("Invalid command", "unknown"), ("no key arguments", "nokeys"),
                           ("Invalid number", "arity"), ("Invalid arguments", "invalid")):
            if part in text:
                return word
        return "error " + text
    return [(key, sorted(flags)) for key, flags in reply]


def ours_of(line, args):
    if line in ("unknown", "nokeys", "arity", "invalid"):
        return line
    keys = []
    for item in line.split():
        at, flags = item.split(":")
        keys.append((args[int(at)], sorted(f for f in flags.split(",") if f)))
    return keys


def check_keys(redis, rows):
    seed = seeds.seed()
    print("SEED=%d" % seed)
    rng = random.Random(seed)
    requests = [args for row in rows for args in shapes(rng, row[0], row[1])
                if len(args) > 1]  # GETKEYSANDFLAGS itself wants a word more
    requests += [["nosuch", "a"], ["client", "nosuch"], ["SET", "k", "v"], ["cLiEnT", "SetName", "x"]]
    lines = subprocess.run([TOOL, "keys"], input=b"".join(map(encode, requests)), check=True,
                           stdout=subprocess.PIPE).stdout.decode().splitlines()
    assert len(lines) == len(requests), (len(lines), len(requests))
    bad = 0
    for at in range(0, len(requests), 500):
        part = requests[at:at + 500]
        redis.sock.sendall(b"".join(encode(["COMMAND", "GETKEYSANDFLAGS"] + args) for args in part))
        for args, line in zip(part, lines[at:at + 500]):
            want, have = expected(redis.read(), args), ours_of(line, args)
            if want != have:
                bad += 1
                if bad <= 20:
                    print(f"keys {args}: have {have}, want {want}")
    print("%d requests compared, %d differ" % (len(requests), bad))
    return bad


def main():
    folder = tempfile.mkdtemp(prefix="getkeys")
    port = free_port()
    server = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                               "--dir", folder], stdout=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            try:
                redis = Connection(port)
                break
            except OSError:
                time.sleep(0.05)
        rows = list(rows_of(redis.call("COMMAND")))
        print("%d rows" % len(rows))
        return 1 if check_rows(redis, rows) + check_keys(redis, rows) else 0
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""What a power cut leaves behind: every write and sync of the server is recorded (disk_log.c), the files are rebuilt as
they could stand on the disk at many moments, and the server starts from each. What was synced is there; of the rest any
part may be: cut at any byte, and with --reorder, any writes without those before them. The state must always be the one
after some first N commands: with `appendfsync always` all that were answered, with `everysec` all that were synced.

A file that does not load must say so clearly, and name ways out that keep what was synced: `redis-check-aof --fix`, which
mends the last file only, and `aof-load-to-the-break`.
$POINTS (40): moments in each part. SEED repeats a run."""
import os
import random
import shutil
import struct
import subprocess
import sys
import time

import redis

from servers import Folder, Ours, needs_preloading, preload, preloaded, run_tests, wait_until

POINTS = int(os.environ.get("POINTS", "40"))
OPEN, WRITE, SYNC, TRUNCATE, RENAME, UNLINK, SYNC_DIR = range(1, 8)
HEAD = struct.Struct("=5Q")


class Recorded(Ours):
    """A server whose changes of files are written down in `journal`."""

    def __init__(self, folder, name, *options):
        self.journal = os.path.join(folder.path, name + ".journal")
        self.shim, self.made = preload(folder, "disk_log"), [(0, 0)]
        super().__init__(folder, name, *options, start=False)
        self.fail = preload(folder, "disk_fail")
        self.begin()

    def begin(self):
        with open(self.log, "a", encoding="utf-8") as out:
            self.process = subprocess.Popen(self.command(), stdout=out, stderr=out, env={
                **preloaded(self.fail, self.shim), "DISK_LOG": self.journal,
                "DISK_LOG_BELOW": self.dir, "DISK_FAIL_BELOW": self.dir})
        wait_until("it answers", self.answers)

    def journal_bytes(self):
        return os.path.getsize(self.journal)


class File:
    """CONTENT is on the disk; PENDING was written and not synced."""

    def __init__(self, path):
        self.content, self.pending = bytearray(), []
        self.is_aof, self.unsynced_since = path.endswith(".incr.aof"), None  # a place in the journal

    def change(self, change, place):
        self.pending.append(change)
        self.unsynced_since = self.unsynced_since or place

    def sync(self):
        for change in self.pending:
            apply(self.content, change)
        self.pending, self.unsynced_since = [], None


def apply(content, change):
    kind, at, data = change
    if kind == TRUNCATE:
        del content[at:]
        content.extend(bytes(at - len(content)))
    else:
        content.extend(bytes(max(0, at - len(content))))
        content[at:at + len(data)] = data


class Disk:
    def __init__(self):
        self.names, self.pending_names = {}, []  # what is on the disk; what is not yet
        self.seen, self.by_inode = {}, {}  # as the running server sees it

    def take(self, place, kind, inode, at, data):
        if kind == OPEN:
            path = data.decode()
            known = self.by_inode.get(inode)
            if known is None or self.seen.get(path) is not known:
                self.by_inode[inode] = self.seen[path] = File(path)
                self.pending_names.append((OPEN, path, self.seen[path]))
            elif at:
                known.change((TRUNCATE, 0, b""), place)
        elif kind in (WRITE, TRUNCATE) and inode in self.by_inode:
            self.by_inode[inode].change((kind, at, data), place)
        elif kind == SYNC and inode in self.by_inode:
            self.by_inode[inode].sync()
        elif kind == RENAME:
            old, new = data.decode().split("\n")
            if old in self.seen:
                self.seen[new] = self.seen.pop(old)
                self.pending_names.append((RENAME, old, new))
        elif kind == UNLINK:
            path = data.decode()
            if self.seen.pop(path, None):
                self.pending_names.append((UNLINK, path, None))
        elif kind == SYNC_DIR:
            self.names, self.pending_names = name_all(self.names, self.pending_names), []

    def lose_unsynced(self):
        lost = 0
        for file in self.by_inode.values():
            if file.is_aof:
                lost += len(file.pending)
                file.pending, file.unsynced_since = [], None
        return lost

    def unsynced_since(self):
        """From where in the journal on the AOF may lack what was written."""
        return min((file.unsynced_since for file in self.by_inode.values() if file.is_aof and file.unsynced_since),
                   default=1 << 62)

    def after_the_cut(self, rng, reorder):
        """Path -> bytes: one of the states that the disk may be found in."""
        names = name_all(self.names, self.pending_names[:rng.randrange(len(self.pending_names) + 1)])
        found = {}
        for path, file in names.items():
            content, pending = bytearray(file.content), list(file.pending)
            if reorder:
                pending = [change for change in pending if rng.random() < 0.5]
            else:
                pending = pending[:rng.randrange(len(pending) + 1)]
            if pending and pending[-1][0] == WRITE:  # the last one is torn
                kind, at, data = pending[-1]
                pending[-1] = (kind, at, data[:rng.randrange(len(data) + 1)])
            for change in pending:
                apply(content, change)
            found[path] = bytes(content)
        return found


def name_all(names, changes):
    names = dict(names)
    for kind, path, what in changes:
        if kind == OPEN:
            names[path] = what
        elif kind == RENAME and path in names:
            names[what] = names.pop(path)
        elif kind == UNLINK:
            names.pop(path, None)
    return names


def records(path):
    with open(path, "rb") as log:
        while len(head := log.read(HEAD.size)) == HEAD.size:
            kind, inode, at, size, _ = HEAD.unpack(head)
            data = log.read(size)
            yield log.tell(), kind, inode, at, data


def command(number, rng):
    """The number of each command is in what it writes: the state says how many were executed."""
    pick = rng.randrange(5)
    if pick == 0:
        return [("SET", f"s{rng.randrange(50)}", f"{number}:" + "x" * rng.randrange(300))]
    if pick == 1:
        return [("RPUSH", f"l{rng.randrange(5)}", str(number))]
    if pick == 2:
        return [("HSET", f"h{rng.randrange(5)}", f"f{number}", "v" * rng.randrange(100))]
    if pick == 3:
        return [("INCR", f"c{rng.randrange(5)}")]
    return [("LPOP", f"l{rng.randrange(5)}"), ("SADD", "set", str(number)), ("DEL", f"s{rng.randrange(50)}")]


class Model:
    """What the keys hold after the first N of the commands."""

    def __init__(self):
        self.data, self.states = {}, [{}]

    def run(self, block):
        for name, key, *more in [("SET", "count", str(len(self.states)))] + block:
            if name == "SET":
                self.data[key] = more[0]
            elif name == "RPUSH":
                self.data[key] = self.data.get(key, ()) + (more[0],)
            elif name == "HSET":
                self.data[key] = {**self.data.get(key, {}), more[0]: more[1]}
            elif name == "INCR":
                self.data[key] = str(int(self.data.get(key, "0")) + 1)
            elif name == "SADD":
                self.data[key] = self.data.get(key, frozenset()) | {more[0]}
            elif name == "LPOP" and key in self.data:
                self.data[key] = self.data[key][1:]
                if not self.data[key]:
                    del self.data[key]
            elif name == "DEL":
                self.data.pop(key, None)
        self.states.append(dict(self.data))


def read_all(r):
    state = {}
    for key in r.keys():
        kind = r.type(key)
        state[key] = (r.get(key) if kind == "string" else tuple(r.lrange(key, 0, -1)) if kind == "list"
                      else r.hgetall(key) if kind == "hash" else frozenset(r.smembers(key)))
    return state


def write_some(server, model, rng, count, after):
    """Blocks, each with its number in `count`. server.made: (bytes of the journal, blocks answered by then)."""
    r = server.client()
    for number in range(count):
        block = command(len(model.states), rng)
        pipe = r.pipeline(True)
        pipe.execute_command("SET", "count", str(len(model.states)))
        for words in block:
            pipe.execute_command(*words)
        pipe.execute()
        model.run(block)
        server.made.append((server.journal_bytes(), len(model.states) - 1))
        after(r, number)


def start_from(folder, files, rng, options, original, name):
    """The state that a server finds there; how often it needed help."""
    path = os.path.join(folder.path, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(os.path.join(path, "appendonlydir"))
    for file, content in files.items():
        with open(file.replace(original, path, 1), "wb") as out:
            out.write(content)
    helped = 0
    while True:
        server = Ours(folder, name, *options, start=False)
        folder.servers.remove(server)
        server.process = subprocess.Popen(server.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            try:
                wait_until("it starts", lambda: server.process.poll() is not None or server.client().ping(), 120)
            except AssertionError:
                raise AssertionError(f"neither starts nor ends: {path}") from None
            if server.process.poll() is None:
                return read_all(server.client(decode_responses=True)), helped
        finally:
            server.kill()
        said = server.process.stdout.read()
        assert server.process.returncode == 1 and not helped, f"{path}: code {server.process.returncode}\n{said}"
        assert "redis-check-aof --fix" in said and "aof-load-to-the-break yes" in said, f"{path}: no way out is named:\n{said}"
        fixed = subprocess.run(["redis-check-aof", "--fix", os.path.join(path, "appendonlydir", "appendonly.aof.manifest")],
                               input="y\n", capture_output=True, text=True, check=False)
        if fixed.returncode != 0:  # it mends the last file only
            assert "because it is not the last file" in fixed.stdout, f"{path}: {fixed.stdout}{fixed.stderr}"
            options = (*options, "--aof-load-to-the-break", "yes")
        helped += 1


def cut_everywhere(folder, server, model, rng, options, at_least, reorder, start=None, failed_at=None):
    """AT_LEAST(bytes of the journal, disk, answered): how many blocks must be there when the power goes. START: where in the
    journal the cuts begin. FAILED_AT: there a sync of the AOF has failed, and what was not synced will never be on the disk,
    whatever is synced later."""
    all_records = list(records(server.journal))
    start = start or server.made[1][0]
    first = next(index for index, record in enumerate(all_records) if record[0] >= start)
    points = sorted(rng.sample(range(first, len(all_records)), min(POINTS, len(all_records) - first)))
    disk, helped, lost = Disk(), 0, 0
    for index, (end, kind, inode, at, data) in enumerate(all_records):
        if index in points:
            files = disk.after_the_cut(rng, reorder)
            state, more = start_from(folder, files, rng, options, server.dir, "found")
            helped += more
            number = int(state.get("count", "0"))
            assert state == model.states[number], f"no state that there ever was, {number} blocks"
            begin = all_records[index - 1][0] if index else 0
            answered = max(count for size, count in server.made if size <= begin)
            needed = min(answered, at_least(begin, disk, answered))
            assert number >= needed, f"{number} blocks are left, {needed} were promised ({answered} answered)"
            lost += answered - number
        if failed_at and end > failed_at:
            failed_at = None
            assert disk.lose_unsynced(), "the failed sync lost nothing"
        disk.take(all_records[index - 1][0] if index else 0, kind, inode, at, data)
    print(f"    {len(points)} cuts, {helped} times it needed help to start, {lost / max(1, len(points)):.1f} blocks lost at a cut")


def appendonly(fsync, reorder):
    with Folder(f"power-{fsync}{'-reorder' if reorder else ''}") as folder:
        rng, model = random.Random(folder.seed), Model()
        # What is written when is told by when it was answered: so no answer before write(2), however busy the disk is.
        options = ("--appendonly", "yes", "--appendfsync", fsync, "--auto-aof-rewrite-percentage", "0",
                   "--aof-patience-ms", "1000000")
        server = Recorded(folder, "a", *options)

        def rewrite(r, number):
            if number in (150, 300):
                wait_until("the last rewrite has ended", lambda: not r.info("persistence")["aof_rewrite_in_progress"])
                r.bgrewriteaof()
            if fsync == "everysec":
                time.sleep(0.01)

        write_some(server, model, rng, 450, rewrite)
        wait_until("the rewrite has ended", lambda: not server.info("persistence")["aof_rewrite_in_progress"])
        write_some(server, model, rng, 50, rewrite)
        server.kill()
        assert sum(kind == SYNC for _, kind, *_ in records(server.journal)) >= 8, "it hardly ever synced"

        def promised(_, disk, answered):
            if fsync == "always":
                return answered
            return max(count for size, count in server.made if size <= disk.unsynced_since())

        cut_everywhere(folder, server, model, rng, options, promised, reorder)


def test_always():
    appendonly("always", False)


def test_always_with_writes_reordered():
    appendonly("always", True)


def test_everysec():
    appendonly("everysec", False)


def test_everysec_with_writes_reordered():
    appendonly("everysec", True)


def test_always_after_a_failed_sync():
    """The process ends; the next one of this boot finds in the page cache what the disk never got. Before it serves that, and
    confirms what is built on it, it makes a base of it."""
    with Folder("power-failed-sync") as folder:
        rng, model = random.Random(folder.seed), Model()
        options = ("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")
        server = Recorded(folder, "a", *options)
        write_some(server, model, rng, 40, lambda *_: None)
        with open(server.dir + ".arm.new", "w", encoding="ascii") as file:
            file.write("1 fsync")
        os.rename(server.dir + ".arm.new", server.dir + ".arm")
        block = command(len(model.states), rng)
        pipe = server.client().pipeline(True)
        for words in [("SET", "count", str(len(model.states)))] + block:
            pipe.execute_command(*words)
        try:
            raise AssertionError(f"answered: {pipe.execute()}")
        except redis.ConnectionError:
            pass
        assert server.process.wait(180) == 1 and server.said("Can't persist AOF for fsync error")
        model.run(block)
        failed_at = server.journal_bytes()
        os.remove(server.dir + ".arm")
        server.begin()
        served_at = server.journal_bytes()
        state = read_all(server.client(decode_responses=True))
        assert state == model.states[-1], "the page cache has it: else this test proves nothing"
        server.made.append((served_at, len(model.states) - 1))
        write_some(server, model, rng, 40, lambda *_: None)
        server.shutdown()
        server.begin()
        assert len(os.listdir(os.path.join(server.dir, "appendonlydir"))) == 3, "no mark is left"
        server.kill()
        cut_everywhere(folder, server, model, rng, options, lambda begin, disk, answered: answered, True, served_at, failed_at)


def test_rdb():
    with Folder("power-rdb") as folder:
        rng, model = random.Random(folder.seed), Model()
        server, saved = Recorded(folder, "a"), [(0, 0)]

        def save(r, number):
            if number % 60 == 30:
                r.save() if number % 120 == 30 else r.bgsave()
                wait_until("it is saved", lambda: not r.info("persistence")["rdb_bgsave_in_progress"])
                saved.append((server.journal_bytes(), len(model.states) - 1))

        write_some(server, model, rng, 400, save)
        server.kill()
        cut_everywhere(folder, server, model, rng, (),
                       lambda begin, *_: max(count for size, count in saved if size <= begin), False)


needs_preloading()
run_tests(sys.modules[__name__])

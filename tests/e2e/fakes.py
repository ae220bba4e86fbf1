"""fakes.py -- a gateway and a syncer that only speak docs/CONTROL.md, for tests of state alone.

They move no data: what they are told is kept in `seen`, what they answer can be changed by a test
(`silent` words are not answered by a report, `refuse` words by an error).
"""
import json
import os
import socket
import threading
import time

import resp


def push(*words):
    return b">" + resp.encode(*words)[1:]


class Wire:
    """A RESP connection that reads requests and replies as lists, strings and numbers."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def send(self, data):
        self.socket.sendall(data)

    def read(self):
        return resp.read(self.file)

    def ask(self, *words):
        self.send(resp.encode(*words))
        return self.read()

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


class Member:
    role = ""

    def __init__(self, control, name, pid=None):
        self.control, self.name, self.pid = control, name, pid or os.getpid()
        self.epoch, self.primary = 0, None
        self.seen, self.silent, self.refuse = [], set(), set()
        self.running, self.wire, self.lock = True, None, threading.Lock()
        threading.Thread(target=self.run, daemon=True).start()
        threading.Thread(target=self.report_forever, daemon=True).start()

    def run(self):
        while self.running:
            try:
                wire = Wire(self.control)
                greeting = wire.ask("DRAWBRIDGE", "HELLO", self.role, self.name, "fake", self.epoch, self.pid)
                if isinstance(greeting, RuntimeError):
                    raise EOFError
                self.wire = wire
                while self.running:
                    command = wire.read()
                    self.seen.append(command)
                    self.answer(command)
            except (OSError, EOFError, ValueError):
                self.wire = None
                time.sleep(0.1)

    def write(self, data):
        wire = self.wire
        if wire:
            with self.lock:
                try:
                    wire.send(data)
                except OSError:
                    pass

    def report(self, *words, **fields):
        self.write(push(*words, json.dumps(fields)))

    def answer(self, command):
        word = " ".join(command[:2]).upper() if command[0] in ("LINK", "AUDIT") else command[0].upper()
        if word in self.refuse:
            self.write(b"-ERR refused by the test\r\n")
            return
        self.write(b"+OK\r\n" if word != "PING" else b"+PONG\r\n")
        if word not in self.silent:
            self.handle(word, command)

    def handle(self, word, command):
        raise NotImplementedError

    def report_forever(self):
        while self.running:
            if self.wire:
                self.tick()
            time.sleep(0.2)

    def tick(self):
        raise NotImplementedError

    def has_seen(self, *start):
        return [c for c in self.seen if c[:len(start)] == [str(s) for s in start]]

    def cut(self):
        wire = self.wire
        if wire:
            wire.close()

    def stop(self):
        self.running = False
        self.cut()


class Gateway(Member):
    role = "gateway"

    def __init__(self, control, name, pid=None):
        self.held = None
        super().__init__(control, name, pid)

    def handle(self, word, command):
        if word == "ROUTE":
            self.epoch, self.primary = int(command[1]), command[2]
        elif word == "PREPARE":
            self.report("PREPARED", command[1], scripts=0, scripts_missing=0, subscriptions=0)
        elif word == "HOLD":
            self.held = command[1]
            self.report("HELD", command[1], outstanding_us=10, clients=1, queued=0, blocked=0)
        elif word == "RELEASE":
            self.held = None
            self.epoch, self.primary = int(command[2]), command[3]
            self.report("RELEASED", command[1], held_us_max=1000, clients=1, queued=0)

    def tick(self):
        self.report("STATS", clients=1, ops_total=1, epoch=self.epoch, primary=self.primary or "", held=bool(self.held),
                    backend_up=True, unknown_commands=[], scripts_missing=0)


class Syncer(Member):
    role = "syncer"

    def __init__(self, control, name, replid):
        self.replid = replid  # function of a side: what its replication id is now
        self.links = {}
        self.copy_takes = 3   # ticks
        self.differences = 0
        super().__init__(control, name)

    def handle(self, word, command):
        link = command[2] if len(command) > 2 else ""
        if word == "LINK OPEN":
            order = json.loads(command[3])
            if link not in self.links:
                copy = order["mode"] == "copy"
                self.links[link] = {"from": order["from"], "state": "copying" if copy else "standby", "copy": copy, "ticks": 0}
        elif word == "LINK DRAIN":
            self.links[link]["state"] = "standby"
            self.report("DRAINED", command[3], link=link, applied_offset=int(command[5]), dirty=0, quarantined=0)
        elif word == "LINK UNDRAIN":
            self.links[link]["state"] = "following"
        elif word == "LINK COMPARE":
            self.report("COMPARED", command[3], compared=7, different=self.differences, left_out=0, keys=[])
        elif word == "LINK ACTIVATE":
            self.links[link]["state"] = "following"
            self.report("ACTIVE", link, offset=int(command[5]))
        elif word == "LINK CLOSE":
            self.links.pop(link, None)
        elif word == "AUDIT START":
            self.report("AUDITED", command[2], ok=True, keys=10, slots=16384, differences=self.differences, undecided=0,
                        source_offset=1, sample=[{"db": 0, "key": "k", "type": "string", "kind": "value", "source_digest": "a",
                                                  "target_digest": "b", "slot": 1}] if self.differences else [])
        if word.startswith("LINK"):
            self.tick()  # at once when a state changed

    def tick(self):
        for name, link in list(self.links.items()):
            link["ticks"] += 1
            if link["state"] == "copying" and link["ticks"] > self.copy_takes:
                link["state"] = "following"
            done = link["state"] != "copying"
            self.report("LINK", name, link=name, role="active", state=link["state"], since_ms=0, error="", idle=True,
                        source={"replid": self.replid(link["from"]), "received_offset": 0, "spooled_offset": 0, "begin_offset": 0},
                        applied_offset=0, lag_bytes=0, lag_ms=1, copy={"done": done, "keys": link["ticks"], "keys_total": 10,
                                                                       "bytes": 0, "bytes_total": 0, "eta_ms": -1, "copies": 1},
                        dirty_keys=0, quarantined_keys=0, foreign_units=0, spool_bytes=0, spool_limit_bytes=1 << 30,
                        way_back=True, reconnects=0)

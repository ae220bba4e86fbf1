#!/usr/bin/python3
"""clients.py PORT NUMBER REPORT [OPS_PER_S] -- one live client that checks itself.

It is the only writer of its keys, keeps what the server confirmed, and compares each answer with
what it must be. On SIGTERM it finishes its command, reads everything back, writes REPORT (JSON)
and ends:

    commands, errors     what was sent; what was answered with an error or not at all
    lost, doubled        confirmed writes that are not there; effects that are there twice
    wrong                answers that are neither (a read that does not see its own write)
    slow                 [end time in ms since 1970, latency in ms] of every command over 2 ms
"""
import json
import random
import signal
import sys
import time

import redis

SLOW_MS = 2


class Client:
    def __init__(self, port, number, ops_per_s):
        self.redis = redis.Redis(port=port, decode_responses=True, socket_timeout=60, retry_on_timeout=False)
        self.jobs = redis.Redis(port=port, decode_responses=True, socket_timeout=60, retry_on_timeout=False)
        self.name = f"live:{number}"
        self.pause_s = 1.0 / ops_per_s
        self.random = random.Random(number)
        self.counter = self.listed = self.field = self.score = self.pushed = self.told = self.heard = 0
        self.appended = ""
        self.strings = {}
        self.taken = []
        self.setting = None
        self.unsure = False
        self.report = {"commands": 0, "errors": 0, "lost": 0, "doubled": 0, "wrong": 0, "slow": [], "messages": []}
        self.stopping = False

    def say(self, kind, message):
        self.report[kind] += 1
        if len(self.report["messages"]) < 50:
            self.report["messages"].append(f"{time.time():.3f} {self.name} {kind}: {message}")

    def expect(self, what, got, wanted):
        """GOT is a running number: too low means that a write was lost, too high that one came twice."""
        if got == wanted:
            return
        self.say("lost" if got is None or got < wanted else "doubled", f"{what} is {got}, not {wanted}")

    def incr(self):
        got = self.redis.incr(self.name + ":counter")
        self.expect("counter", got, self.counter + 1)
        self.counter = got

    def rpush(self):
        got = self.redis.rpush(self.name + ":list", self.listed)
        self.listed += 1
        self.expect("length of list", got, self.listed)

    def hincrby(self):
        got = self.redis.hincrby(self.name + ":hash", "field", 3)
        self.expect("hash field", got, self.field + 3)
        self.field = got

    def zincrby(self):
        got = int(self.redis.zincrby(self.name + ":zset", 1, "member"))
        self.expect("score", got, self.score + 1)
        self.score = got

    def append(self):
        word = self.random.choice("abcdefgh")
        got = self.redis.append(self.name + ":text", word)
        self.appended += word
        self.expect("length of text", got, len(self.appended))

    def set(self):
        key = f"{self.name}:string:{self.random.randrange(500)}"
        value = str(self.random.random())
        self.setting = key
        self.redis.set(key, value, ex=self.random.choice((None, 3600, 86400)))
        self.strings[key] = value

    def get(self):
        if not self.strings:
            return
        key = self.random.choice(list(self.strings))
        got = self.redis.get(key)
        if got != self.strings[key]:
            self.say("lost" if got is None else "wrong", f"{key} is {got!r}, not {self.strings[key]!r}")

    def transaction(self):
        with self.redis.pipeline(transaction=True) as block:
            counter, listed = block.incr(self.name + ":counter").rpush(self.name + ":list", self.listed).execute()
        self.expect("counter in MULTI", counter, self.counter + 1)
        self.listed += 1
        self.expect("length of list in MULTI", listed, self.listed)
        self.counter = counter

    def job(self):
        """A queue with one worker: every job is taken exactly once."""
        self.redis.rpush(self.name + ":queue", self.pushed)
        self.pushed += 1
        if self.random.random() < 0.8:
            _, number = self.jobs.blpop([self.name + ":queue"], timeout=20)
            self.taken.append(int(number))

    def event(self):
        """A stream with a group of one worker: events come in order, once, and leave the pending ones when confirmed."""
        stream = self.name + ":stream"
        self.redis.xadd(stream, {"event": self.told}, maxlen=5000)
        self.told += 1
        if self.told == 1:
            self.redis.xgroup_create(stream, "workers", id="0")
        if self.random.random() < 0.5:
            return
        for _, entries in self.redis.xreadgroup("workers", "worker", {stream: ">"}, count=20):
            for entry, fields in entries:
                self.expect("event", int(fields["event"]), self.heard)
                self.heard = int(fields["event"]) + 1
                if self.redis.xack(stream, "workers", entry) != 1:
                    self.say("lost", f"event {entry} was not pending")

    def read_wordnet(self):
        letter = self.random.choice("abcdefghijklmnoprstuvw")
        self.redis.zrangebylex("senses:n", f"[{letter}", f"[{letter}z", start=0, num=3)

    def step(self):
        what = self.random.choices(
            (self.incr, self.rpush, self.hincrby, self.zincrby, self.append, self.set, self.get, self.transaction,
             self.job, self.event, self.read_wordnet), (4, 4, 2, 2, 2, 4, 6, 2, 2, 2, 1))[0]
        began = time.monotonic()
        try:
            self.report["commands"] += 1
            what()
        except redis.RedisError as error:
            self.say("errors", f"{what.__name__}: {type(error).__name__}: {error}")
            self.settle(what.__name__)
        latency_ms = (time.monotonic() - began) * 1000
        if latency_ms > SLOW_MS:
            self.report["slow"].append([int(time.time() * 1000), round(latency_ms, 1)])

    def settle(self, what):
        """After a command without an answer: it was carried out, or it was not; find out which, and go on from there."""
        for _ in range(600):  # also when it is to end: what is compared then must be known
            try:
                found = (int(self.redis.get(self.name + ":counter") or 0), self.redis.llen(self.name + ":list"),
                         int(self.redis.hget(self.name + ":hash", "field") or 0),
                         int(self.redis.zscore(self.name + ":zset", "member") or 0), self.redis.get(self.name + ":text") or "")
                break
            except redis.RedisError:
                time.sleep(0.1)
        else:
            return
        for name, got, step in (("counter", found[0], 1), ("listed", found[1], 1), ("field", found[2], 3), ("score", found[3], 1)):
            wanted = getattr(self, name)
            if got not in (wanted, wanted + step):
                self.say("lost" if got < wanted else "doubled", f"{name} is {got}, not {wanted} or {wanted + step}, after {what}")
            setattr(self, name, got)
        if len(found[4]) not in (len(self.appended), len(self.appended) + 1) or not found[4].startswith(self.appended):
            self.say("lost", f"the text has {len(found[4])} characters, not {len(self.appended)}, after {what}")
        self.appended = found[4]
        if what == "set":
            self.strings = {key: value for key, value in self.strings.items() if self.redis.get(key) == value or key != self.setting}
        if what == "job":
            self.unsure = True
        if what == "event":
            self.find_events()

    def find_events(self):
        """What was told is in the stream; what was heard is before the group's place or pending."""
        stream = self.name + ":stream"
        last = self.redis.xrevrange(stream, count=1)
        self.told = int(last[0][1]["event"]) + 1 if last else 0
        if self.told and not any(g["name"] == "workers" for g in self.redis.xinfo_groups(stream)):
            self.redis.xgroup_create(stream, "workers", id="0")
        for _, entries in self.redis.xreadgroup("workers", "worker", {stream: "0"}) if self.told else ():
            for entry, fields in entries:
                self.heard = max(self.heard, int(fields["event"]) + 1)
                self.redis.xack(stream, "workers", entry)

    def compare(self):
        self.expect("counter at the end", int(self.redis.get(self.name + ":counter") or 0), self.counter)
        self.expect("hash field at the end", int(self.redis.hget(self.name + ":hash", "field") or 0), self.field)
        self.expect("score at the end", int(self.redis.zscore(self.name + ":zset", "member") or 0), self.score)
        text = self.redis.get(self.name + ":text") or ""
        if text != self.appended:
            self.say("lost" if len(text) <= len(self.appended) else "doubled", "the text differs")
        listed = [int(x) for x in self.redis.lrange(self.name + ":list", 0, -1)]
        taken = self.taken + [int(x) for x in self.redis.lrange(self.name + ":queue", 0, -1)]
        # A job that was popped for an answer that never came is gone for any client of any Redis.
        queues = () if self.unsure else (("queue", taken, self.pushed),)
        for what, numbers, count in (("list", listed, self.listed), *queues):
            for number in sorted(set(range(count)) - set(numbers)):
                self.say("lost", f"{number} of the {what} is gone")
            for _ in range(len(numbers) - len(set(numbers))):
                self.say("doubled", f"an element of the {what} is there twice")
        events = [int(fields["event"]) for _, fields in self.redis.xrange(self.name + ":stream")]
        if events != list(range(self.told))[-len(events) or None:]:
            self.say("lost", f"of {self.told} events the stream ends with {events[-3:]}, and has {len(events)}")
        if listed != sorted(listed):
            self.say("wrong", "the list is not in order")
        for key, value in self.strings.items():
            got = self.redis.get(key)
            if got != value:
                self.say("lost" if got is None else "wrong", f"{key} is {got!r}, not {value!r}")

    def run(self):
        next_at = time.monotonic()
        while not self.stopping:
            self.step()
            next_at = max(next_at + self.pause_s, time.monotonic() - 1)
            time.sleep(max(0, next_at - time.monotonic()))
        self.compare()


def main():
    port, number, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    client = Client(port, number, float(sys.argv[4]) if len(sys.argv) > 4 else 200)

    def stop(_signal, _frame):
        client.stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        client.run()
    except Exception as error:  # the report must say so, whatever it was
        client.say("errors", f"ended by {type(error).__name__}: {error}")
    with open(path, "w", encoding="utf-8") as out:
        json.dump(client.report, out)


main()

#!/usr/bin/python3
"""`drawbridge start --baseline FILE`, with two gateways: what cannot be read is refused before anything begins; a file that was made
before is not taken, and `status` says why and since when; who dies meanwhile is told again. Legacy is never listed. After an abort a
start without it lists legacy. With capture stream it is refused.
"""
import json
import os
import shutil
import subprocess
import sys
import time

import redis

import walk
from bridge import HIDDEN, Bridge
from stage import PROGRAM
from test_lanes_many import wait


def say(b, *words):
    """Exit code, and what was answered as JSON, or said."""
    done = subprocess.run([PROGRAM, *words, "--yes", "--output", "json"], cwd=b.folder, env=b.env, text=True, capture_output=True, timeout=180, check=False)
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        return done.returncode, done.stdout + done.stderr


def refused(b, path, words, code):
    got, told = say(b, "start", "--baseline", path)
    assert got == code and words in json.dumps(told), (path, got, told)
    assert b.status()["phase"] == "planned"


def save(b, since_s=0):
    """BGSAVE of legacy, not before SINCE_S."""
    with redis.Redis(port=b.ports["legacy"]) as r:
        before = r.lastsave()
        while time.time() < max(since_s + 0.2, before.timestamp() + 1.1):
            time.sleep(0.05)
        r.bgsave()
        wait("legacy has saved", lambda: r.lastsave() != before)
    return os.path.join(b.folder, "legacy-data", "dump.rdb")


def put(source, path):
    shutil.copy(source, path + ".tmp")
    os.rename(path + ".tmp", path)


def waiting(b):
    """Since when the file may have been begun, once both gateways say so; and what they say."""
    def both():
        told = list(b.status()["lanes"]["gateways"].values())
        return told if len(told) == 2 and all(t["baseline_wants_file_after_s"] for t in told if t["owned_slots"]) and \
            sum(t["owned_slots"] for t in told) == 16384 else None
    told = wait("the gateways wait for a file", both)
    return max(t["baseline_wants_file_after_s"] for t in told), told


def feed(b, path, timeout_s=180):
    """What is waited for; again when slots change hands meanwhile, and a later one is wanted."""
    given, until = 0, time.monotonic() + timeout_s
    while time.monotonic() < until:
        status = b.status()
        if status["phase"] in ("following", "level"):
            return
        since = max(t["baseline_wants_file_after_s"] for t in status["lanes"]["gateways"].values())
        if since > given:
            put(save(b, since), path)
            given = since
        time.sleep(0.1)
    raise AssertionError(f"the file is not taken: {json.dumps(b.status()['lanes'])[:3000]}")


def listed(b):
    with redis.Redis(port=b.ports["legacy"]) as r:
        return "cmdstat_scan" in r.info("commandstats")


def said(b, role, words):
    return words in b.log_tail(role, 10000)


def lanes():
    with Bridge("baseline-start", target="redis", legacy_options=HIDDEN, capture="lane", gateways=2) as b:
        b.fill(3000)
        path = os.path.join(b.folder, "the file.rdb")  # the space is meant
        assert say(b, "start", "--baseline", "file.rdb")[0] == 2, "a path that is nobody's"
        wait("both gateways are here", lambda: len([m for m in b.status()["members"] if m["role"] == "gateway"]) == 2)
        refused(b, "/nowhere/file.rdb", "there is no folder /nowhere", 3)
        refused(b, b.folder, "is no regular file", 3)
        refused(b, os.path.join(b.folder, "drawbridge.yaml"), "is no RDB file", 3)
        put(save(b), path)
        code, told = say(b, "start", "--baseline", path)
        assert code == 0, told
        found = [f for f in told["findings"] if f["id"] == "baseline"]
        assert len(found) == 1 and found[0]["level"] == "warn" and path in found[0]["text"], told
        _, told = waiting(b)
        assert all(t["baseline"] == path for t in told), told
        wait("the old file is not taken", lambda: all("too old" in t["baseline_why"] for t in waiting(b)[1] if t["owned_slots"]))
        text = subprocess.run([PROGRAM, "status"], cwd=b.folder, env=b.env, text=True, capture_output=True, timeout=180, check=False).stdout
        assert f"waits for {path}, an RDB of legacy that was begun at" in text and "too old" in text, text
        for role in ("state", "gateway"):
            b.kill(role)
            b.restart(role)
        b.wait_phase("copying")  # state answers
        _, told = waiting(b)
        assert all(t["baseline"] == path for t in told), told
        clients = b.clients(2)
        feed(b, path)
        assert said(b, "gateway", "lanes.baseline_read") or said(b, "gateway2", "lanes.baseline_read")
        b.check_clients(clients)
        b.wait_lanes()
        assert not listed(b), "legacy was listed"
        b.check_equal()
        with redis.Redis(port=b.ports["legacy"]) as r:  # the walk has listed it
            r.execute_command("secret-config", "RESETSTAT")
        b.verb("abort", "--yes")
        with redis.Redis(port=b.ports["target"]) as r:
            r.flushall()
        code, told = say(b, "start")
        assert code == 0 and not [f for f in told["findings"] if f["id"] == "baseline"], told
        wait("legacy is listed, and not a file of an earlier migration waited for", lambda: listed(b))
        wait("both sides are equal", lambda: not walk.differences(*(walk.told(walk.walk(b.ports[side])) for side in ("legacy", "target"))))


def stream():
    with Bridge("baseline-stream", target="redis") as b:
        refused(b, "/tmp/file.rdb", "--baseline is for capture lane; with capture stream the copy is the snapshot that legacy gives with PSYNC", 2)
        assert say(b, "start")[0] == 0


def main():
    lanes()
    stream()


if __name__ == "__main__":
    sys.exit(main())

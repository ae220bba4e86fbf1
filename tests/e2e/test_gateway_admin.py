#!/usr/bin/python3
"""The admin socket of a gateway with lanes, and its /metrics: every figure is there, by its name, and those that a load must move have
moved. HOLD, RELEASE, PIN and UNPIN do what they say.

The lists below are what docs/GATEWAY.md and docs/RUNBOOK.md promise; a figure that is new here or gone belongs there, too.
"""
import json
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request

import redis

from servers import Folder, Ours, RedisServer, free_port, wait_until
from test_gateway_lanes import HIDDEN, PATIENT, Gateway

LANES = """level primary_up follower_up dirty_keys dirty_slots functions_dirty functions_refused pinned_keys queue_items queue_bytes unconfirmed buried commands_total
simple_total effects_total copies_total functions_failed_total copies_failed_total refused_total dropped_total lost_total passes_total pass_names pass_items
baseline_wants_file_after_s waiting_clients copy_bytes_total copy_us copy_us_max lag_ms failed_keys queue_limit_bytes big_keys big_bytes big_copy_ms
big_copies_total big_copies_given_up_total owned_slots forwarded_total pins_elsewhere_total redirected_total displaced_total witness witness_ms
witness_names_total witness_explained_total witness_dirtied_total witness_gaps_total witness_everything_total witness_fences_total
journal_bytes journal_limit_bytes journal_records journal_moved_total journal_spilled_slots""".split()
STATS = """clients ops_total ops_per_s bytes_in bytes_out errors_total p50_us p99_us p999_us max_us held pinned epoch primary backend_up unknown_commands
scripts scripts_missing latency reads capture peer""".split()
SLOTS = """lane slots primary_up follower_up unanswered queue_items queue_bytes unconfirmed buried dirty_keys pinned_keys failed_keys dirty_slots
dirty_ranges""".split()
READS = """policy share after_ms canary_answered canary_returned shadow_same shadow_different shadow_late shadow_undecided shadow_skipped commands
differences""".split()
QUANTILES = ("p50_us", "p99_us", "p999_us", "p9999_us", "max_us")
METRICS = """drawbridge_requests_total drawbridge_request_duration_seconds drawbridge_gateway_overhead_seconds drawbridge_hold_seconds
drawbridge_side_latency_seconds drawbridge_side_latency_quantile_seconds drawbridge_gateway_held drawbridge_epoch drawbridge_gateway_primary
drawbridge_gateway_clients drawbridge_gateway_backends drawbridge_gateway_error_replies_total drawbridge_reads_total drawbridge_reads_share
drawbridge_build_info""".split()


def metric_of(figure):
    """Base units: seconds."""
    name = "drawbridge_lanes_" + figure
    if figure.endswith("_us_max"):
        return name[:-len("_us_max")] + "_max_seconds"
    return re.sub("_s$", "_timestamp_seconds", re.sub("_(ms|us)$", "_seconds", name))


class Stage:
    def __init__(self, folder):
        self.metrics = free_port()
        self.legacy, self.target = RedisServer(folder, "legacy", *HIDDEN), Ours(folder, "target")
        self.gateway = Gateway(folder, self.legacy, self.target, lanes=2, loops=2, options=f'metrics: "127.0.0.1:{self.metrics}"', more=PATIENT)
        self.gateway.wait_level()

    def ask(self, *words):
        with redis.Redis(unix_socket_path=self.gateway.admin, socket_timeout=60) as admin:
            answer = admin.execute_command("GATEWAY", *words)
        return answer.decode() if isinstance(answer, bytes) else answer

    def json(self, *words):
        return json.loads(self.ask(*words))

    def scrape(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=60) as page:
            return page.read().decode()


def load(s):
    r = s.gateway.client()
    for i in range(300):
        r.set(f"k{i}", i)
        r.get(f"k{i}")
    r.mset({f"m{i}": i for i in range(20)})
    s.gateway.wait_level()


def figures(s):
    lanes = s.json("LANES")
    assert set(lanes) == set(LANES), set(lanes) ^ set(LANES)
    assert lanes["commands_total"] + lanes["simple_total"] >= 300 and lanes["effects_total"] + lanes["simple_total"] >= 300, lanes
    assert lanes["journal_limit_bytes"] > 0 and lanes["journal_spilled_slots"] == 0, lanes
    def is_counted():
        latency = s.json("STATS")["latency"]
        return all(latency[side].get(kind, {}).get("count", 0) >= 250 for side, kind in (("legacy", "read"), ("legacy", "write"), ("target", "write")))
    wait_until("the latencies are counted", is_counted)
    stats = s.json("STATS")
    assert set(stats) == set(STATS), set(stats) ^ set(STATS)
    for side, classes in (("legacy", ("read", "write")), ("target", ("write",))):
        for kind in classes:
            told = stats["latency"][side][kind]
            assert set(told) == {"count", *QUANTILES}, told
            assert told["count"] >= 250, (side, kind, told)
            values = [told[q] for q in QUANTILES]
            assert values == sorted(values) and values[-1] > 0, (side, kind, told)
    slots = s.json("SLOTS")
    assert slots["slots"] == 16384 and len(slots["lanes"]) == 2, slots
    assert all(set(lane) == set(SLOTS) for lane in slots["lanes"]), slots
    reads = s.json("READS")
    assert set(reads) == set(READS), set(reads) ^ set(READS)
    with s.gateway.client(client_name="shown") as r:
        r.ping()
        lines = [line for line in s.ask("CLIENTS").splitlines() if "name=shown " in line]
    assert len(lines) == 1 and all(f" {word}=" in lines[0] for word in ("addr", "age", "idle", "db", "cmd", "flags")), lines


def metrics(s):
    text = s.scrape()
    names = set(re.findall(r"^# TYPE (\S+) ", text, re.M))
    wanted = {*METRICS, *(metric_of(figure) for figure in LANES)}
    assert not wanted - names, wanted - names
    for side, kind in (("legacy", "read"), ("legacy", "write"), ("target", "write")):
        for q in ("0.5", "0.99", "0.999", "0.9999", "1"):
            line = f'drawbridge_side_latency_quantile_seconds{{side="{side}",class="{kind}",q="{q}"}} '
            assert line in text, (line, re.findall(r"^drawbridge_side_latency_quantile.*", text, re.M))
    if shutil.which("promtool"):
        run = subprocess.run(["promtool", "check", "metrics"], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
        assert run.returncode == 0, run.stdout


def by_hand(s):
    r = s.gateway.client()
    assert s.ask("HOLD").startswith("OK")
    wait_until("it holds", lambda: s.json("STATS")["held"])
    answered = []
    waiting = threading.Thread(target=lambda: answered.append(r.set("held", 1)), daemon=True)
    waiting.start()
    time.sleep(0.5)
    assert not answered, "it is not held"
    assert s.ask("RELEASE").startswith("OK")
    waiting.join(300)
    assert answered == [True]
    wait_until("it does not hold", lambda: not s.json("STATS")["held"])
    assert s.ask("PIN", "legacy").startswith("OK") and s.json("STATS")["pinned"]
    assert s.ask("UNPIN").startswith("OK") and not s.json("STATS")["pinned"]
    for words in (("RELEASE",), ("PIN",), ("PIN", "nobody"), ("RELOAD",), ("WHAT",)):
        try:
            raise AssertionError((words, s.ask(*words)))
        except redis.ResponseError:
            pass
    assert r.get("held") == b"1"


def main():
    with Folder("gateway-admin") as folder:
        stage = Stage(folder)
        load(stage)
        figures(stage)
        metrics(stage)
        by_hand(stage)


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""/metrics of the bundled server: promtool finds nothing to say, the figures are those of INFO, and it answers while the
engine is busy."""
import re
import subprocess
import sys
import threading
import urllib.request

from servers import Folder, Ours, PROGRAM, free_port, wait_until


def read(port):
    return urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60).read().decode()


def figures(text):
    return {m[1]: float(m[2]) for m in re.finditer(r"^drawbridge_server_(\w+) (\S+)$", text, re.M)}


def figures_are_those_of_info(server, port, replica):
    r = server.client()
    for i in range(250):
        r.set(f"k{i}", "x" * 100, px=3_600_000 if i < 100 else None)
    server.client(db=3).lpush("list", "a")
    r.get("k1")
    r.get("none")
    wait_until("a replica is attached", lambda: r.info("replication").get("slave0", {}).get("state") == "online")
    sampled = figures(read(port))["sampled_timestamp_seconds"]
    wait_until("the engine sampled again", lambda: figures(read(port))["sampled_timestamp_seconds"] > sampled)
    got, info = figures(read(port)), r.info()
    for name, want in {"keys": 251, "expiring_keys": 100, "is_master": 1, "replicas": 1, "loading": 0, "aof_enabled": 1, "aof_ok": 1,
                       "keyspace_hits_total": info["keyspace_hits"], "keyspace_misses_total": info["keyspace_misses"],
                       "rejected_connections_total": 0, "memory_limit_bytes": 0,
                       "replication_offset_bytes": info["master_repl_offset"], "full_syncs_total": info["sync_full"]}.items():
        assert got[name] == want, f"{name}: {got[name]}, expected {want}"
    assert 0 < got["memory_used_bytes"] <= got["memory_peak_bytes"]
    assert got["commands_total"] > 250 and got["net_input_bytes_total"] > 25000 and got["clients"] >= 2
    assert got["aof_appended_bytes_total"] > 25000
    figures_of = lambda names: [figures(read(replica))[name] for name in names]
    wait_until("the replica tells that it follows", lambda: figures_of(("is_master", "master_link_up", "keys")) == [0, 1, 251])


def the_longest_turn_is_seen(server, port):
    """DEBUG SLEEP holds the engine up; the metrics are read meanwhile, and tell of it afterwards."""
    count = lambda text, le: float(re.search(rf'turn_seconds_bucket{{le="{re.escape(le)}"}} (\S+)', text)[1])
    long_turns = lambda: count(text := read(port), "+Inf") - count(text, "0.5")
    before = long_turns()
    sleeper = threading.Thread(target=lambda: server.client().execute_command("DEBUG", "SLEEP", "3"))
    sleeper.start()
    reads = 0
    while sleeper.is_alive():
        read(port)
        reads += 1
    assert reads >= 2, "not answered while the engine is busy"
    wait_until("the turn is seen", lambda: figures(read(port))["longest_turn_seconds"] >= 3)
    wait_until("one more turn took more than half a second", lambda: long_turns() > before)


def wrong_addresses(folder, server):
    for words, text in ((("--metrics", f"127.0.0.1:{server.port}"), "in use"), (("--metrics", "nonsense"), "metrics")):
        run = subprocess.run([PROGRAM, "server", "--port", str(free_port()), "--dir", folder.path, *words], capture_output=True, text=True,
                             timeout=180, check=False)
        assert run.returncode == 1 and text in run.stderr, (words, run)


def main():
    port, replica_port = free_port(), free_port()
    with Folder("metrics") as folder:
        server = Ours(folder, "a", "--metrics", f"127.0.0.1:{port}", "--appendonly", "yes", "--repl-ping-replica-period", "3600")
        Ours(folder, "b", "--metrics", f"127.0.0.1:{replica_port}", "--replicaof", "127.0.0.1", str(server.port))
        figures_are_those_of_info(server, port, replica_port)
        text = read(port)
        assert 'drawbridge_build_info{role="server"' in text
        lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert (lint.returncode, lint.stdout, lint.stderr) == (0, "", ""), lint
        the_longest_turn_is_seen(server, port)
        wrong_addresses(folder, server)
        server.shutdown("NOSAVE")
    return 0


if __name__ == "__main__":
    sys.exit(main())

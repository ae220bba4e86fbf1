#!/usr/bin/python3
"""test_redis_exporter.py -- Prometheus's redis_exporter reads from us the metrics that it reads from redis-server 7.0.15, name by name and label by label.

Each side is a master with a replica, after the same commands. A value that is not zero at redis-server is not zero here either,
but for what is listed in ZERO_HERE; a metric that only we have is listed in ONLY_HERE; nothing may be missing here.
"""
import re, subprocess, sys, threading, time, urllib.request

from servers import Folder, Ours, RedisServer, free_port, run_tests, wait_until

ONLY_HERE = {  # options of ours, documented in DIFFERENCES.md
    'config_key_value{key="aof-load-to-the-break"', 'config_key_value{key="aof-patience-ms"', 'config_value{key="aof-patience-ms"', 'config_key_value{key="aof-buffer-memory"', 'config_value{key="aof-buffer-memory"', 'config_key_value{key="import-mode"', 'config_key_value{key="rdb-load-threads"', 'config_value{key="rdb-load-threads"', 'config_key_value{key="oldest-replica"', 'config_value{key="oldest-replica"', 'config_key_value{key="rdb-version"', 'config_value{key="rdb-version"', 'config_key_value{key="repl-backlog-memory"', 'config_value{key="repl-backlog-memory"',
}
ZERO_HERE = {  # metric: why it may be 0 here and not at redis-server
    "rdb_last_cow_size_bytes": "there is no child process that copies pages",
    "aof_last_cow_size_bytes": "the same",
    "latest_fork_seconds": "the same",
    "cpu_sys_children_seconds_total": "the same", "cpu_user_children_seconds_total": "the same",
    "mem_clients_slaves": "the stream is kept once for all replicas", "mem_not_counted_for_eviction_bytes": "the same",
    "memory_used_lua_bytes": "an interpreter is made when the first script comes", "memory_used_scripts_bytes": "the same",
    "expired_stale_percentage": "what expires is found by its time, not by sampling", "expired_time_cap_reached_total": "a cycle of a busy machine", "commands_failed_calls_total": "BGSAVE, refused while a full sync runs",
    "allocator_frag_bytes": "a difference of two sums of the allocator, which may be even", "allocator_rss_bytes": "the same", "rss_overhead_bytes": "the same",
    "instantaneous_input_kbps": "a rate of this moment", "instantaneous_output_kbps": "the same", "instantaneous_ops_per_sec": "the same",
    "commands_duration_seconds_total": "of a command that took less than a microsecond each time", "latency_percentiles_usec_sum": "the same",
    "rdb_last_bgsave_duration_sec": "whole seconds by the clock: 1 if one ended meanwhile",
    "connected_slave_lag_seconds": "seconds since the last PING", "master_last_io_seconds_ago": "the same", "master_last_io_seconds": "the same",
    "client_recent_max_output_buffer_bytes": "of the last seconds", "client_recent_max_input_buffer_bytes": "the same",
}
PLACED = ("connected_clients_details", "instance_info", "connected_slave", "slave_", "master_")
# What says something about the place, not about the metric.
PLACE = re.compile(r'(slave_ip|slave_port|master_host|master_port|host|port|created_at|idle_since|process_id|run_id|redis_build_id|tcp_port|id|resp|cmd|omem|name)="[^"]*"')
VALUES = re.compile(r'(config_key_value\{key="(?:dir|port|replicaof|slaveof|logfile|repl-diskless-sync-delay)"),value="[^"]*"')
CHANCE = re.compile('latency_spike.*event_name="(?!command)')  # a fork, a slow disk: what took over a millisecond is different each time
FLAGS = ("-include-config-metrics", "-include-system-metrics", "-export-client-list", "-check-keys", "*", "-check-streams", "st*", "-redis-only-metrics")


def scrape(server):
    """{name with labels: value} of one server."""
    port = free_port()
    exporter = subprocess.Popen(["prometheus-redis-exporter", "-redis.addr", f"redis://127.0.0.1:{server.port}", "-web.listen-address", f"127.0.0.1:{port}", *FLAGS],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def page():
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60).read().decode()
        wait_until("the exporter answers", page)
        text = page()
    finally:
        exporter.kill()
        exporter.wait()
    found = {}
    for line in text.splitlines():
        if CHANCE.search(line):
            continue
        if line.startswith("redis_") and not line.startswith("redis_exporter"):
            name, value = line[len("redis_"):].rsplit(" ", 1)
            name = PLACE.sub(r"\1", name) if name.startswith(PLACED) else VALUES.sub(r"\1", name)
            found[name] = float(value)
    assert found.get("up") == 1 and len(found) > 300, text[:500]
    return found


def use(server):
    """A little of everything that makes metrics."""
    client = server.client()
    for n in range(300):
        client.set(f"s:{n}", "x" * 50, ex=1000 if n % 3 else None)
        client.get(f"s:{n * 2}")
    client.rpush("list", *range(300))
    client.zadd("zset", {str(n): n for n in range(70)})
    client.eval("return redis.call('GET', KEYS[1])", 1, "s:1")
    client.xadd("st", {"a": 1}, id="1-1")
    client.xgroup_create("st", "group", "0")
    client.xreadgroup("group", "reader", {"st": ">"})
    client.pexpire("s:9", 1)
    for wrong in (("INCR", "list"), ("NOSUCH",), ("GET",)):
        try:
            client.execute_command(*wrong)
        except Exception:
            pass
    client.config_set("latency-monitor-threshold", 1)
    for _ in range(2):  # two in the slow log at least: the last one's number is not 0
        client.execute_command("DEBUG", "SLEEP", "0.02")
    wait_until("no other snapshot runs", lambda: client.info("persistence")["rdb_bgsave_in_progress"] == 0)
    wait_until("the snapshot begins", client.bgsave)
    wait_until("the snapshot is there", lambda: client.info("persistence")["rdb_bgsave_in_progress"] == 0)


def subscribed(server):
    listener = server.client().pubsub()
    listener.subscribe("channel")
    listener.psubscribe("p*")
    listener.get_message(timeout=5)
    return listener


def compare(mine, other):
    said = []
    for name in sorted(other.keys() | mine.keys()):
        short = name.split("{")[0]
        if name not in mine:
            said.append(f"only at redis-server: {name}")
        elif name not in other:
            if not any(name.startswith(known) for known in ONLY_HERE):
                said.append(f"only here: {name}")
        elif other[name] != 0 and mine[name] == 0 and short not in ZERO_HERE:
            said.append(f"0 here and {other[name]:g} at redis-server: {name}")
    return said


def test_the_same_metrics():
    with Folder("exporter") as folder:
        seen = []
        for kind, name in ((Ours, "ours"), (RedisServer, "redis")):
            master = kind(folder, name, "--appendonly", "yes")
            replica = kind(folder, name + "-replica", "--replicaof", f"127.0.0.1 {master.port}")
            wait_until("the replica follows", lambda: replica.info("replication")["master_link_status"] == "up")
            wait_until("the first rewrite is over", lambda: master.info("persistence")["aof_rewrite_in_progress"] == 0)
            use(master)
            listener = subscribed(master)
            blocked = threading.Thread(target=lambda: master.client().blpop("never", 50))
            blocked.start()
            wait_until("it waits", lambda: master.info("clients")["blocked_clients"])
            time.sleep(1.1)  # the replica's acknowledgement, and the clock of the server's averages
            seen.append((scrape(master), scrape(replica)))
            master.client().rpush("never", "now")
            blocked.join()
            listener.close()
        for what, mine, other in (("master", seen[0][0], seen[1][0]), ("replica", seen[0][1], seen[1][1])):
            print(f"  {what}: {len(mine)} metrics here, {len(other)} at redis-server")
            said = compare(mine, other)
            assert not said, what + ":\n" + "\n".join(said)


run_tests(sys.modules[__name__])

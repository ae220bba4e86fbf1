#!/usr/bin/python3
"""test_cluster.py -- two and three of our servers as a cluster with a static topology, seen by redis-cli, python3-redis and redis-benchmark."""
import logging, subprocess, sys, threading, time

import redis
from redis.cluster import RedisCluster

from servers import Folder, Ours, free_port, run_tests, wait_until
from test_server_tls import certificates, tls_options
from test_types_differential import Wire

OPTIONS = ("--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1")
SLOTS = 16384
logging.disable()  # RedisCluster logs every redirection


class Cluster:
    """COUNT masters that know each other; the slots are shared out evenly."""

    def __init__(self, folder, count):
        self.nodes = [Ours(folder, f"node{n}", *OPTIONS) for n in range(count)]
        self.ids = [raw(node, "CLUSTER", "MYID").decode() for node in self.nodes]
        for node in range(count):
            for other in range(count):
                self.tell(other, 1)

    def text(self, epoch):
        count, lines = len(self.nodes), []
        for n, node in enumerate(self.nodes):
            lines.append(f"{self.ids[n]} 127.0.0.1:{node.port}@{node.port + 10000} master - 0 0 {n + 1} connected {SLOTS * n // count}-{SLOTS * (n + 1) // count - 1}")
        return "\n".join(lines) + f"\nvars currentEpoch {epoch} lastVoteEpoch 0\n"

    def tell(self, n, epoch):
        assert raw(self.nodes[n], "DRAWBRIDGE", "TOPOLOGY", "SET", self.ids[n], self.text(epoch)) == b"OK"

    def owner(self, slot):
        return slot * len(self.nodes) // SLOTS


def raw(node, *command):
    client = node.client()
    client.response_callbacks = {}
    with client:
        return client.execute_command(*command)


def error_of(node, *commands):
    """The error of the last of these commands on one connection, word for word; None if it had none."""
    wire = Wire(node.port)
    for command in commands:
        kind, text = wire.ask(*command)
    wire.close()
    return text.decode() if kind == b"-" else None


def key_in(slot, other=""):
    """A key of a slot: found by trying tags."""
    return KEYS[slot] + other if other else KEYS[slot]


KEYS = {}
for number in range(200_000):
    tag = "{%d}" % number
    KEYS.setdefault(redis.crc.key_slot(tag.encode()), tag)


def test_redirections_and_refusals():
    with Folder("cluster") as folder:
        cluster = Cluster(folder, 2)
        a, b = cluster.nodes
        mine, theirs = key_in(100), key_in(16000)
        assert error_of(a, ("SET", mine, 1)) is None
        assert error_of(a, ("SET", theirs, 1)) == f"MOVED 16000 127.0.0.1:{b.port}"
        assert "CROSSSLOT" in error_of(a, ("MGET", mine, key_in(101)))
        assert error_of(a, ("MGET", mine, mine + "x")) is None
        assert "SELECT is not allowed" in error_of(a, ("SELECT", 1)) and "SWAPDB is not allowed" in error_of(a, ("SWAPDB", 0, 1))
        assert "MOVED" in error_of(a, ("MULTI",), ("SET", theirs, 1))
        assert "EXECABORT" in error_of(a, ("MULTI",), ("SET", theirs, 1), ("EXEC",))
        assert error_of(a, ("PING",)) is None and error_of(a, ("EVAL", "return 1", 0)) is None
        assert "MOVED" in error_of(a, ("EVAL", "return 1", 1, theirs))
        raw(a, "CLUSTER", "DELSLOTS", 100)
        raw(a, "CONFIG", "SET", "cluster-require-full-coverage", "no")
        assert error_of(a, ("GET", mine)) == "CLUSTERDOWN Hash slot not served"
        assert error_of(a, ("GET", key_in(101))) is None
        raw(a, "CONFIG", "SET", "cluster-require-full-coverage", "yes")
        assert "CLUSTERDOWN" in error_of(a, ("GET", key_in(101)))
        raw(a, "CONFIG", "SET", "cluster-allow-reads-when-down", "yes")
        assert error_of(a, ("GET", key_in(101))) is None
        assert "only accepts read commands" in error_of(a, ("SET", key_in(101), 1))


def test_a_moving_slot_asks_and_says_try_again():
    with Folder("cluster") as folder:
        cluster = Cluster(folder, 2)
        a, b = cluster.nodes
        here, there = key_in(5), key_in(5, "x")
        raw(a, "SET", here, 1)
        raw(a, "DEBUG", "SET-ACTIVE-EXPIRE", 0)
        raw(a, "SET", key_in(5, "e"), 1, "PX", 1)
        time.sleep(0.01)
        raw(b, "CLUSTER", "SETSLOT", 5, "IMPORTING", cluster.ids[0])
        raw(a, "CLUSTER", "SETSLOT", 5, "MIGRATING", cluster.ids[1])
        assert error_of(a, ("GET", here)) is None
        assert error_of(a, ("GET", there)) == f"ASK 5 127.0.0.1:{b.port}"
        assert "TRYAGAIN" in error_of(a, ("MGET", here, there))
        assert "MOVED" in error_of(b, ("SET", there, 1))
        assert error_of(b, ("ASKING",), ("SET", there, 1)) is None
        assert "MOVED" in error_of(b, ("ASKING",), ("GET", there), ("GET", there))
        assert "TRYAGAIN" in error_of(b, ("ASKING",), ("MGET", here, there))
        assert "ASK" in error_of(a, ("GET", key_in(5, "e"))), "what has expired is not here"
        raw(a, "DEBUG", "SET-ACTIVE-EXPIRE", 1)
        while raw(a, "CLUSTER", "COUNTKEYSINSLOT", 5) != 1:
            time.sleep(0.01)
        assert "still hold keys" in error_of(a, ("CLUSTER", "SETSLOT", 5, "NODE", cluster.ids[1]))
        assert raw(a, "MIGRATE", "127.0.0.1", b.port, here, 0, 1000) == b"OK"
        for node in (b, a):
            raw(node, "CLUSTER", "SETSLOT", 5, "NODE", cluster.ids[1])
        assert "MOVED" in error_of(a, ("GET", here)) and raw(b, "GET", here) == b"1"


def test_scripts_stay_with_keys_that_are_here():
    with Folder("cluster") as folder:
        cluster = Cluster(folder, 2)
        a = cluster.nodes[0]
        mine, other, theirs = key_in(100), key_in(101), key_in(16000)
        get = "return redis.call('GET', ARGV[1])"
        assert error_of(a, ("EVAL", get, 0, mine)) is None
        assert "attempted to access a non local key in a cluster node" in error_of(a, ("EVAL", get, 0, theirs))
        assert "attempted to access a non local key" in error_of(a, ("EVAL", get, 1, mine, theirs))
        assert "attempted to access a non local key" in error_of(a, ("EVAL", "return redis.call('MGET', ARGV[1], ARGV[2])", 0, mine, other))
        both = "redis.call('SET', ARGV[1], 1) return redis.call('GET', ARGV[2])"
        assert error_of(a, ("EVAL", both, 0, mine, other)) is None, "as before Redis 7"
        assert error_of(a, ("EVAL", "#!lua\n" + both, 0, mine, mine + "x")) is None
        assert "do not hash to the same slot" in error_of(a, ("EVAL", "#!lua\n" + both, 0, mine, other))
        assert "do not hash to the same slot" in error_of(a, ("EVAL", "#!lua\n" + get, 1, mine, other))
        assert error_of(a, ("EVAL", "#!lua flags=allow-cross-slot-keys\n" + both, 0, mine, other)) is None
        assert error_of(a, ("EVAL", "#!lua flags=no-cluster\nreturn 1", 0)) == "ERR Can not run script on cluster, 'no-cluster' flag is set."
        assert raw(a, "FUNCTION", "LOAD", f"#!lua name=l\nredis.register_function('both', function(KEYS, ARGV) {both} end)") == b"l"
        assert "do not hash to the same slot" in error_of(a, ("FCALL", "both", 0, mine, other))
        assert "do not hash to the same slot" in error_of(a, ("MULTI",), ("SET", mine, 1), ("EXEC",), ("EVAL", "#!lua\n" + get, 1, mine, other))
        raw(a, "CLUSTER", "DELSLOTS", 9)
        assert "while the cluster is down" in error_of(a, ("EVAL", get, 0, mine))
        raw(a, "CONFIG", "SET", "cluster-allow-reads-when-down", "yes")
        assert error_of(a, ("EVAL", get, 0, mine)) is None
        assert "cluster is down and readonly" in error_of(a, ("EVAL", both, 0, mine, mine))


def test_clients_are_told_the_endpoint_that_is_preferred():
    with Folder("cluster") as folder:
        cluster = Cluster(folder, 2)
        a, b = cluster.nodes
        text = cluster.text(5).replace(f"{b.port}@{b.port + 10000}", f"{b.port}@{b.port + 10000},b.example.com")
        raw(a, "DRAWBRIDGE", "TOPOLOGY", "SET", cluster.ids[0], text)
        theirs = key_in(16000)
        def of_b():
            first, second = raw(a, "CLUSTER", "SLOTS")[1][2:3][0], error_of(a, ("GET", theirs))
            return first[0], first[1], first[3], second
        assert of_b() == (b"127.0.0.1", b.port, [b"hostname", b"b.example.com"], f"MOVED 16000 127.0.0.1:{b.port}"), of_b()
        raw(a, "CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname")
        assert of_b() == (b"b.example.com", b.port, [b"ip", b"127.0.0.1"], f"MOVED 16000 b.example.com:{b.port}"), of_b()
        assert raw(a, "CLUSTER", "SLOTS")[0][2][0] == b"?", "it has no name yet"
        raw(a, "CONFIG", "SET", "cluster-announce-hostname", "a.example.com")
        assert raw(a, "CLUSTER", "SLOTS")[0][2][0] == b"a.example.com"
        assert b",a.example.com myself" in raw(a, "CLUSTER", "NODES")
        assert "alphanumeric" in error_of(a, ("CONFIG", "SET", "cluster-announce-hostname", "a b"))
        raw(a, "CONFIG", "SET", "cluster-preferred-endpoint-type", "unknown-endpoint")
        assert of_b() == (None, b.port, [b"ip", b"127.0.0.1", b"hostname", b"b.example.com"], f"MOVED 16000 :{b.port}"), of_b()
        shard = raw(a, "CLUSTER", "SHARDS")[0][3][0]
        assert dict(zip(shard[::2], shard[1::2]))[b"endpoint"] == b"" and dict(zip(shard[::2], shard[1::2]))[b"hostname"] == b"a.example.com"
        raw(a, "CONFIG", "SET", "cluster-announce-hostname", "")
        assert b"a.example.com" not in raw(a, "CLUSTER", "NODES")


def test_a_client_with_tls_is_sent_to_ports_with_tls():
    with Folder("cluster") as folder:
        cert, ports = certificates(folder), [free_port(), free_port()]
        nodes = [Ours(folder, f"node{n}", *OPTIONS, *tls_options(cert, ports[n]), "--tls-auth-clients", "no", "--tls-replication", "yes") for n in range(2)]
        ids = [raw(node, "CLUSTER", "MYID").decode() for node in nodes]
        text = "".join(f"{ids[n]} localhost:{nodes[n].port}@{nodes[n].port + 10000},,tls-port={ports[n]} master - 0 0 {n + 1} connected {n * 8192}-{n * 8192 + 8191}\n" for n in range(2))
        for n in range(2):
            raw(nodes[n], "DRAWBRIDGE", "TOPOLOGY", "SET", ids[n], text + "vars currentEpoch 3 lastVoteEpoch 0\n")
        assert error_of(nodes[0], ("GET", key_in(16000))) == f"MOVED 16000 localhost:{nodes[1].port}"
        safe = redis.Redis(port=ports[0], ssl=True, ssl_ca_certs=cert("ca.pem"), host="localhost")
        safe.response_callbacks = {}
        try:
            safe.get(key_in(16000))
            raise SystemExit("it was answered")
        except redis.ResponseError as error:
            assert str(error).split()[-1] == f"localhost:{ports[1]}", error
        assert [r[2][1] for r in safe.execute_command("CLUSTER", "SLOTS")] == ports
        assert f":{ports[1]}@".encode() in safe.execute_command("CLUSTER", "NODES") and b"tls-port" not in safe.execute_command("CLUSTER", "NODES")
        shard = safe.execute_command("CLUSTER", "SHARDS")[1][3][0]
        shard = dict(zip(shard[::2], shard[1::2]))
        assert (shard[b"port"], shard[b"tls-port"]) == (nodes[1].port, ports[1]), shard
        with RedisCluster(host="localhost", port=ports[0], ssl=True, ssl_ca_certs=cert("ca.pem")) as client:
            for n in range(100):
                client.set(f"k{n}", n)
            assert int(client.get("k99")) == 99
        nodes[0].client().config_set("cluster-announce-tls-port", 7)
        assert [r[2][1] for r in safe.execute_command("CLUSTER", "SLOTS")] == [7, ports[1]]


def test_blocked_clients_follow_their_slot():
    with Folder("cluster") as folder:
        cluster = Cluster(folder, 2)
        a, found = cluster.nodes[0], []
        waiting = threading.Thread(target=lambda: found.append(error_of(a, ("BLPOP", key_in(7), 60))))
        waiting.start()
        while a.client().info("clients")["blocked_clients"] == 0:
            time.sleep(0.01)
        raw(a, "CLUSTER", "SETSLOT", 7, "NODE", cluster.ids[1])
        waiting.join(300)
        assert found and found[0] == f"MOVED 7 127.0.0.1:{cluster.nodes[1].port}", found


def test_keys_of_a_slot_are_counted_and_listed():
    with Folder("cluster") as folder:
        node = Ours(folder, "node", *OPTIONS)
        raw(node, "CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        client = node.client()
        for n in range(300):
            client.set(key_in(9, str(n)), n)
            client.set(key_in(n), n)
        count = lambda slot: raw(node, "CLUSTER", "COUNTKEYSINSLOT", slot)
        assert count(9) == 301 and count(10) == 1 and count(5000) == 0
        assert sorted(raw(node, "CLUSTER", "GETKEYSINSLOT", 9, 1000)) == sorted([key_in(9, str(n)).encode() for n in range(300)] + [key_in(9).encode()])
        assert len(raw(node, "CLUSTER", "GETKEYSINSLOT", 9, 7)) == 7
        assert len(list(client.scan_iter(count=7))) == 300 + 300, "SCAN goes over the tables of all slots"
        assert len({client.randomkey() for _ in range(200)}) > 50
        client.delete(*[key_in(9, str(n)) for n in range(100)])
        client.rename(key_in(9, "200"), key_in(9, "renamed"))
        client.pexpire(key_in(9, "201"), 1)
        wait_until("the key has expired", lambda: count(9) == 200)
        client.execute_command("DEBUG", "RELOAD")
        assert count(9) == 200, count(9)
        client.flushall()
        assert count(9) == 0


def test_the_topology_is_kept_and_wrong_ones_are_refused():
    with Folder("cluster") as folder:
        cluster = Cluster(folder, 3)
        node, before = cluster.nodes[0], raw(cluster.nodes[0], "CLUSTER", "NODES")
        good = cluster.text(9)
        for wrong in ("", "x", good.replace(cluster.ids[1], cluster.ids[0]), good.replace("0-", "70000-"), good.replace("127.0.0.1", "a b"), good.replace(" master - ", " slave " + "f" * 40 + " "),
                      cluster.text(0), good.replace("5461-10921", "5460-10921"), good.replace("@", "@x"), good.replace(cluster.ids[0], "f" * 40)):
            assert error_of(node, ("DRAWBRIDGE", "TOPOLOGY", "SET", cluster.ids[0], wrong)), wrong
            assert raw(node, "CLUSTER", "NODES") == before
        raw(node, "CLUSTER", "SETSLOT", 1, "MIGRATING", cluster.ids[2])
        before = raw(node, "CLUSTER", "NODES")
        node.kill()
        node.start()
        assert raw(node, "CLUSTER", "NODES") == before and b"[1->-" in before
        info = raw(node, "CLUSTER", "INFO").decode()
        assert "cluster_state:ok" in info and "cluster_slots_assigned:16384" in info and "cluster_known_nodes:3" in info and "cluster_size:3" in info


def test_a_replica_follows_and_serves_reads_when_asked():
    with Folder("cluster") as folder:
        master, replica = Ours(folder, "master", *OPTIONS), Ours(folder, "replica", *OPTIONS)
        ids = [raw(node, "CLUSTER", "MYID").decode() for node in (master, replica)]
        text = (f"{ids[0]} 127.0.0.1:{master.port}@1 master - 0 0 1 connected 0-16383\n{ids[1]} 127.0.0.1:{replica.port}@1 slave {ids[0]} 0 0 1 connected\n"
                "vars currentEpoch 1 lastVoteEpoch 0")
        for node, name in ((master, ids[0]), (replica, ids[1])):
            raw(node, "DRAWBRIDGE", "TOPOLOGY", "SET", name, text)
        raw(master, "SET", "k", "v")
        while replica.client().info("replication").get("master_link_status") != "up" or raw(replica, "DBSIZE") != 1:
            time.sleep(0.02)
        assert raw(replica, "CLUSTER", "COUNTKEYSINSLOT", redis.crc.key_slot(b"k")) == 1
        assert "MOVED" in error_of(replica, ("GET", "k"))
        assert error_of(replica, ("READONLY",), ("GET", "k")) is None
        assert "MOVED" in error_of(replica, ("READONLY",), ("SET", "k", 1))
        assert "MOVED" in error_of(replica, ("READONLY",), ("READWRITE",), ("GET", "k"))
        assert raw(master, "CLUSTER", "SLOTS")[0][3][2].decode() == ids[1] and len(raw(master, "CLUSTER", "REPLICAS", ids[0])) == 1
        with RedisCluster(host="127.0.0.1", port=master.port, read_from_replicas=True) as client:
            assert {client.get("k") for _ in range(6)} == {b"v"}
        raw(replica, "CLUSTER", "FAILOVER", "TAKEOVER")
        assert error_of(replica, ("SET", "k", 2)) is None


def move(cluster, slot, to):
    """As redis-cli --cluster reshard does it."""
    source, target = cluster.nodes[cluster.owner(slot)], cluster.nodes[to]
    raw(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.ids[cluster.owner(slot)])
    raw(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.ids[to])
    while keys := raw(source, "CLUSTER", "GETKEYSINSLOT", slot, 10):
        assert raw(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys) in (b"OK", b"NOKEY")
    for node in (target, source, *cluster.nodes):
        raw(node, "CLUSTER", "SETSLOT", slot, "NODE", cluster.ids[to])


def test_slots_move_while_a_client_writes_and_nothing_is_lost():
    with Folder("cluster") as folder:
        cluster, confirmed, stop, errors = Cluster(folder, 3), {}, threading.Event(), []

        def write(name):
            try:
                with RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port) as client:
                    n = 0
                    while not stop.is_set():
                        slot = 20 + n % 8
                        key = key_in(slot, f"{name}:{n % 300}")
                        confirmed[key] = client.incr(key)
                        n += 1
            except Exception as error:  # the main thread tells
                errors.append(error)

        writers = [threading.Thread(target=write, args=(name,)) for name in ("a", "b")]
        for writer in writers:
            writer.start()
        while len(confirmed) < 400 and not errors:
            time.sleep(0.01)
        for slot in range(20, 28):
            move(cluster, slot, 1 + slot % 2)
        done = len(confirmed)
        time.sleep(0.2)
        stop.set()
        for writer in writers:
            writer.join()
        assert not errors, errors
        with RedisCluster(host="127.0.0.1", port=cluster.nodes[2].port) as client:
            for key, value in confirmed.items():
                assert int(client.get(key)) == value, (key, value, client.get(key))
        assert raw(cluster.nodes[0], "DBSIZE") == 0 and done >= 400
        print(f"    {sum(confirmed.values())} confirmed writes to {len(confirmed)} keys while 8 slots moved", flush=True)


def test_the_tools_of_redis_find_their_way():
    with Folder("cluster") as folder:
        cluster = Cluster(folder, 3)
        cli = ["redis-cli", "-p", str(cluster.nodes[0].port)]
        text = "".join(f"set key:{n} {n}\n" for n in range(50)) + "".join(f"get key:{n}\n" for n in range(50))
        out = subprocess.run([*cli, "-c"], input=text, capture_output=True, text=True, check=True, timeout=180).stdout.split()
        assert [w for w in out if w == "OK"] == ["OK"] * 50 and out[-1] == "49", out
        assert all(raw(node, "DBSIZE") > 5 for node in cluster.nodes)
        check = subprocess.run(["redis-cli", "--cluster", "check", f"127.0.0.1:{cluster.nodes[1].port}"], capture_output=True, text=True, check=False, timeout=180)
        assert check.returncode == 0 and "[OK] All 16384 slots covered." in check.stdout and "[ERR]" not in check.stdout, check.stdout
        bench = subprocess.run(["redis-benchmark", "-p", str(cluster.nodes[0].port), "--cluster", "-t", "set,get,mset", "-n", "3000", "-r", "1000", "-P", "4", "-q"],
                               capture_output=True, text=True, check=False, timeout=180)
        assert bench.returncode == 0 and "3 master nodes" in bench.stdout.replace("Cluster has ", "") and "rror" not in bench.stderr, bench.stdout + bench.stderr
        shards = raw(cluster.nodes[0], "CLUSTER", "SHARDS")
        assert len(shards) == 3 and all(shard[0] == b"slots" and len(shard[1]) == 2 for shard in shards)
        moved = subprocess.run(["redis-cli", "--cluster", "reshard", f"127.0.0.1:{cluster.nodes[0].port}", "--cluster-from", cluster.ids[0], "--cluster-to", cluster.ids[1],
                                "--cluster-slots", "20", "--cluster-yes"], capture_output=True, text=True, check=False, timeout=180)
        assert moved.returncode == 0, moved.stdout[-800:] + moved.stderr
        assert raw(cluster.nodes[0], "CLUSTER", "SLOTS") == raw(cluster.nodes[1], "CLUSTER", "SLOTS")


if __name__ == "__main__":
    run_tests(sys.modules[__name__])

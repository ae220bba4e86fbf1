#!/usr/bin/python3
"""test_clients.py -- client libraries in their ordinary use: what they are told by us, by us through the gateway, and by redis-server 7.0 is the same.

python3-redis, ioredis, node-redis and hiredis run the same program against each (tests/clients, tests/tools/hiredis_use.c); BullMQ's
queues run against us; the cluster clients of the three write to us while slots move.
"""
import difflib, json, os, subprocess, sys, threading, time

import npm
import redis
from redis.cluster import RedisCluster

from servers import Folder, Ours, RedisServer, TOP, free_port, run_tests, wait_until


CLIENTS = os.path.join(TOP, "tests", "clients")
BUILD = os.environ.get("BUILD", os.path.join(TOP, "build"))
HIREDIS = os.path.join(BUILD, "tests", "tools", "hiredis_use")


class Gateway:
    """A standalone gateway in front of a server."""

    def __init__(self, folder, server):
        self.port = free_port()
        path = os.path.join(folder.path, "gateway.yaml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(f"migration: clients\nlegacy: {{ address: 127.0.0.1:{server.port} }}\ntarget: {{ address: 127.0.0.1:{free_port()} }}\n"
                      f"gateway: {{ listen: 127.0.0.1:{self.port}, standalone: true, admin: unix:{folder.path}/gw.sock }}\nrun_dir: {folder.path}\n")
        self.log = os.path.join(folder.path, "gateway.log")
        with open(self.log, "w", encoding="utf-8") as out:
            self.process = subprocess.Popen([os.path.join(BUILD, "drawbridge"), "gateway", path], stdout=out, stderr=out)
        folder.servers.append(self)
        wait_until("the gateway answers", lambda: redis.Redis(port=self.port).ping())

    def kill(self):
        self.process.kill()
        self.process.wait()


def transcript(program, port):
    done = subprocess.run([*program, str(port)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return done.stdout.splitlines()


def same(use, least, by_gateway=True):
    """USE(port) gives lines; they must be those of redis-server, and at least LEAST."""
    with Folder("clients") as folder:
        wanted = use(RedisServer(folder, "redis").port)
        ours = Ours(folder, "ours")
        told = {"directly": use(ours.port)}
        ours.client().flushall()
        ours.client().function_flush("SYNC")
        ours.client().script_flush()
        if by_gateway:
            told["through the gateway"] = use(Gateway(folder, ours).port)
        assert len(wanted) >= least, wanted
        for how, lines in told.items():
            assert lines == wanted, f"{how}:\n" + "\n".join(difflib.unified_diff(wanted, lines, "redis-server", "here", lineterm="", n=0))


def test_hiredis():
    same(lambda port: transcript([HIREDIS], port), 40)


def test_ioredis():
    npm.install()
    same(lambda port: transcript(["node", os.path.join(CLIENTS, "ioredis.js")], port), 40)


def test_node_redis():
    npm.install()
    same(lambda port: transcript(["node", os.path.join(CLIENTS, "node-redis.js")], port), 40)


def test_bullmq():
    npm.install()
    with Folder("bullmq") as folder:
        ours = Ours(folder, "ours")
        done = subprocess.run(["node", os.path.join(CLIENTS, "queue.js"), str(ours.port), "5"], capture_output=True, text=True, timeout=300, check=False)
        print("    " + done.stdout.strip())
        assert done.returncode == 0 and json.loads(done.stdout.splitlines()[-1])["added"] > 100, done.stdout + done.stderr


# ---- python3-redis ----


class Told(list):
    def __call__(self, what, fn, *args, **options):
        try:
            value = fn(*args, **options)
        except redis.RedisError as error:
            value = f"{type(error).__name__}: {error}"
        self.append(f"{what}: {value!r}")


def use_python(port):
    told, r = Told(), redis.Redis(port=port, decode_responses=True)
    told("set", r.set, "key", "value", ex=100, get=True)
    told("mset", r.mset, {"a": 1, "b": 2})
    told("hset", r.hset, "hash", mapping={"f": 1, "g": "x"})
    told("hgetall", r.hgetall, "hash")
    told("zadd", r.zadd, "zset", {"one": 1, "two": 2.5}, ch=True)
    told("zrange", r.zrange, "zset", 0, -1, withscores=True, desc=True)
    told("wrong type", r.incr, "hash")
    told("sort", r.sort, "list", by="nosort", get=["#", "*"])
    told("geoadd", r.geoadd, "geo", (13.36, 38.11, "Palermo", 15.08, 37.5, "Catania"))
    told("geosearch", r.geosearch, "geo", longitude=15, latitude=37, radius=200, unit="km", withdist=True)
    told("scan", lambda: sorted(r.scan_iter("*", count=2)))
    with r.pipeline() as pipe:
        told("transaction", pipe.set("t", 1).incr("t").get("t").execute)
    with r.pipeline(transaction=False) as pipe:
        told("pipeline", pipe.incr("t").incr("hash").get("t").execute, raise_on_error=False)
    told("optimistic", r.transaction, lambda pipe: (pipe.get("t"), pipe.multi(), pipe.incr("t")) and None, "t", value_from_callable=False)
    with r.pipeline() as pipe:
        pipe.watch("t")
        r.set("t", 9)
        pipe.multi()
        told("watched", pipe.get("t").execute)
    script = r.register_script("return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}")
    told("script", script, keys=["counter"], args=["x"])
    r.script_flush()
    told("script again", script, keys=["counter"], args=["x"])
    told("xgroup", r.xgroup_create, "stream", "group", id="0", mkstream=True)
    told("xadd", r.xadd, "stream", {"a": 1}, id="3-1")
    told("xreadgroup", r.xreadgroup, "group", "me", {"stream": ">"}, count=3, block=100)
    told("xpending", r.xpending, "stream", "group")
    told("xclaim", r.xclaim, "stream", "group", "you", 0, ["3-1"])
    told("xinfo", r.xinfo_stream, "stream")
    listener = r.pubsub()
    listener.subscribe("one")
    listener.psubscribe("o*")
    for _ in range(2):
        told("listening", lambda: wait_until("it is said", lambda: listener.get_message(timeout=1)))
    told("publish", r.publish, "one", "hi")
    for _ in range(2):
        told("heard", lambda: wait_until("a message", lambda: listener.get_message(timeout=1)))
    listener.close()  # the next one that listens is alone
    lock = r.lock("lock", timeout=60)
    told("lock", lock.acquire)
    told("extend", lock.extend, 60)
    told("release", lock.release)
    told("blpop", r.blpop, ["q1", "q2"], timeout=0.05)
    told("object", r.object, "ENCODING", "hash")
    told("dump", lambda: r.restore("copy", 0, redis.Redis(port=port).dump("zset")))
    told("copy", r.zrange, "copy", 0, -1)
    return told


def use_access(port):
    told, r = Told(), redis.Redis(port=port, decode_responses=True)
    told("acl", r.acl_setuser, "tester", enabled=True, passwords=["+secret"], keys=["t*"], commands=["+get", "+set"])
    told("acl getuser", lambda: {k: sorted(v) if k == "commands" else v for k, v in r.acl_getuser("tester").items()})  # it makes a set of them
    other = redis.Redis(port=port, username="tester", password="secret", decode_responses=True)
    told("acl allowed", other.set, "tkey", 1)
    told("acl refused", other.set, "key", 1)
    told("acl removed", r.acl_deluser, "tester")
    return told


def test_python_redis():
    same(use_python, 30)
    same(use_access, 4, by_gateway=False)  # a gateway has the users of its own file


# ---- the clients of a cluster ----


def move_slots(nodes, ids, slots, stop, moved):
    """MOVED has each that was. One slot after the other to the next node, and so on, as redis-cli --cluster reshard does."""
    from test_cluster import raw
    owner = {slot: 0 for slot in slots}
    while not stop.is_set():
        for slot in slots:
            source, target = owner[slot], (owner[slot] + 1) % len(nodes)
            raw(nodes[target], "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
            raw(nodes[source], "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
            while keys := raw(nodes[source], "CLUSTER", "GETKEYSINSLOT", slot, 20):
                raw(nodes[source], "MIGRATE", "127.0.0.1", nodes[target].port, "", 0, 5000, "KEYS", *keys)
            for node in (target, source, *range(len(nodes))):
                raw(nodes[node], "CLUSTER", "SETSLOT", slot, "NODE", ids[target])
            owner[slot] = target
            moved.append(slot)
            time.sleep(0.02)


def cluster_client(kind):
    from test_cluster import Cluster, KEYS
    npm.install()
    with Folder("cluster") as folder:
        cluster, stop, moved = Cluster(folder, 3), threading.Event(), []
        slots = sorted({redis.crc.key_slot(b"key:%d" % n) for n in range(3000)} & set(range(5000)))[:40]
        assert len(KEYS) and slots
        mover = threading.Thread(target=move_slots, args=(cluster.nodes, cluster.ids, slots, stop, moved))
        mover.start()
        enough = os.path.join(folder.path, "enough")  # it goes on until then
        client = subprocess.Popen(["node", os.path.join(CLIENTS, "cluster.js"), kind, str(cluster.nodes[0].port), "3", enough],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            wait_until("slots moved", lambda: len(moved) > 20 or client.poll() is not None or not mover.is_alive(), 300)
            with open(enough, "w", encoding="utf-8"):
                pass
            told = client.communicate(timeout=180)[0]
        finally:
            client.kill()
            stop.set()
            mover.join()
        print(f"    {kind}: {told.strip()} while slots moved {len(moved)} times")
        assert client.returncode == 0 and len(moved) > 20, told


def test_ioredis_cluster():
    cluster_client("ioredis")


def test_node_redis_cluster():
    cluster_client("node-redis")


def test_python_redis_cluster():
    from test_cluster import Cluster
    with Folder("cluster") as folder:
        cluster = Cluster(folder, 3)
        with RedisCluster(host="127.0.0.1", port=cluster.nodes[1].port, decode_responses=True) as r:
            for n in range(300):
                assert r.set(f"k{n}", n)
            assert [r.get(f"k{n}") for n in range(300)] == [str(n) for n in range(300)]
            pipe = r.pipeline()
            for n in range(300):
                pipe.incr(f"k{n}")
            assert pipe.execute() == [n + 1 for n in range(300)]
            assert r.mset_nonatomic({f"m{n}": n for n in range(50)}) and r.mget_nonatomic([f"m{n}" for n in range(50)]) == [str(n) for n in range(50)]
            assert r.eval("return redis.call('GET', KEYS[1])", 1, "k7") == "8"
            assert len(set(r.scan_iter("k*", count=10))) == 300
            assert r.dbsize(target_nodes=r.PRIMARIES) == 350
            assert r.delete(*[f"k{n}" for n in range(300)]) == 300
            assert len(r.get_nodes()) == 3 and r.cluster_keyslot("k7") == redis.crc.key_slot(b"k7")


if __name__ == "__main__":
    run_tests(sys.modules[__name__])

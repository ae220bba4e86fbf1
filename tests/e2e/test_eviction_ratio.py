#!/usr/bin/python3
"""test_eviction_ratio.py [READS] -- the hit ratio of every policy that evicts, on a Zipf load, is at least that of redis-server 7.0.15.

Both hold the same number of keys, FITS: maxmemory is moved after every batch of reads towards what that takes, and how many
there were on average is printed. The reads are the same for both; what is missing is set. volatile-ttl does not look at reads: there the ratio is chance, and only a collapse counts. SEED=n repeats the reads; the servers' own samples are random, so ours may be worse by TOLERANCE.
"""
import bisect, itertools, random, sys, time

from servers import Folder, Ours, RedisServer

READS = int(sys.argv[1]) if len(sys.argv) > 1 else 30000
KEYS, FITS, BATCH, TOLERANCE = 20000, 4000, 100, 0.015
VALUE = b"v" * 100


def zipf(rng, count):
    weights = list(itertools.accumulate(1 / (n + 1) for n in range(KEYS)))
    ranks = list(range(KEYS))
    rng.shuffle(ranks)
    return [ranks[bisect.bisect(weights, rng.random() * weights[-1])] for _ in range(count)]


def put(pipe, key, volatile):
    pipe.set(f"key:{key}", VALUE, ex=100000 + key if volatile else None)


def prepare(server, policy):
    """An empty server that may hold about FITS keys; a client, and the bytes that a key takes."""
    client = server.client()
    client.flushall()
    client.config_set("maxmemory", 0)
    client.config_set("maxmemory-policy", policy)
    time.sleep(0.3)  # what was flushed is freed behind the reply
    empty = client.info("memory")["used_memory"]
    pipe = client.pipeline(transaction=False)
    for key in range(FITS):
        put(pipe, key, policy.startswith("volatile"))
    pipe.execute()
    full = client.info("memory")["used_memory"]
    client.config_set("maxmemory", full)
    client.flushall()
    client.config_resetstat()
    return client, (full - empty) / FITS


def hit_ratio(server, policy, reads, counts=True):
    client, key_bytes = prepare(server, policy)
    limit = int(client.config_get("maxmemory")["maxmemory"])
    pipe, hits, counted, held = client.pipeline(transaction=False), 0, 0, []
    for at in range(0, len(reads), BATCH):
        batch = reads[at:at + BATCH]
        if policy.endswith("lru"):  # its clock has seconds
            time.sleep(0.015)
        for key in batch:
            pipe.get(f"key:{key}")
        found = pipe.execute()
        for key, value in zip(batch, found):
            if value is None:
                put(pipe, key, policy.startswith("volatile"))
        pipe.dbsize()
        keys = pipe.execute()[-1]
        if keys > FITS or client.info("stats")["evicted_keys"]:
            limit += int((FITS - keys) * key_bytes / 2)
            client.config_set("maxmemory", limit)
        if at > len(reads) // 3:  # warm by then
            hits, counted = hits + sum(v is not None for v in found), counted + len(found)
            held.append(keys)
    assert not counts or client.info("stats")["evicted_keys"] > 0, "nothing was evicted: this tests nothing"
    client.config_set("maxmemory", 0)
    return hits / counted, sum(held) / len(held)


def main():
    worse = []
    with Folder("eviction") as folder:
        ours, theirs = Ours(folder, "ours"), RedisServer(folder, "theirs")
        reads = zipf(random.Random(folder.seed), READS)
        for server in (ours, theirs):  # buffers and pools have their size before it counts
            hit_ratio(server, "allkeys-random", reads[:12000], counts=False)
        for policy in ("allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"):
            mine, other = hit_ratio(ours, policy, reads), hit_ratio(theirs, policy, reads)
            print(f"  {policy:16} ours {mine[0]:.3f} with {mine[1]:.0f} keys, redis {other[0]:.3f} with {other[1]:.0f} keys", flush=True)
            assert abs(mine[1] - FITS) < FITS * 0.02 and abs(other[1] - FITS) < FITS * 0.02, "not the same number of keys: nothing is shown"
            if mine[0] < other[0] - (0.1 if policy == "volatile-ttl" else TOLERANCE):
                worse.append(policy)
        assert not worse, f"worse than redis-server: {worse}"


main()

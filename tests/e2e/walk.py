"""walk.py -- read every key of a Redis-protocol server and compare two servers: the independent reader of the tests.

    walk(port)              {(db, key): (type, value, expire_at_ms)}; our own checkpoint keys are left out
    differences(a, b)       list of sentences, empty when both sides are equal

It shares no code with the program: python3-redis reads, this file compares. Values keep all their
bits: scores come as the server's own text; streams come by XINFO STREAM FULL without the times
that are not part of the data (delivery, seen and active time).
"""
import time

import redis

OURS = (b"drawbridge:checkpoint:", b"drawbridge:marker:")
DATABASES = 16


class Walk(dict):
    """What was found, and when the walk began."""

    def __init__(self, began_ms=None):
        super().__init__()
        self.began_ms = int(time.time() * 1000) if began_ms is None else began_ms


def connect(port, db=0, **options):
    return redis.Redis(port=port, db=db, socket_timeout=60, **options)


def read_zset(r, key):
    flat = r.execute_command("ZRANGE", key, 0, -1)
    with r.pipeline(transaction=False) as p:
        for member in flat:
            p.execute_command("ZSCORE", key, member)
        scores = p.execute()
    return list(zip(flat, [s if s is None else repr(float(s)) for s in scores]))


def as_dict(flat):
    return {flat[i]: flat[i + 1] for i in range(0, len(flat), 2)} if isinstance(flat, list) else dict(flat)


def stream_group(group):
    group = as_dict(group)
    pending = sorted((bytes(p[0]), bytes(p[1])) for p in group[b"pending"])
    consumers = sorted((as_dict(c)[b"name"], sorted(bytes(p[0]) for p in as_dict(c)[b"pending"])) for c in group[b"consumers"])
    return (group[b"name"], group[b"last-delivered-id"], group[b"entries-read"], pending, consumers)


def read_stream(r, key):
    r.response_callbacks = {}
    full = as_dict(r.execute_command("XINFO", "STREAM", key, "FULL", "COUNT", 0))
    head = tuple((name, full.get(name)) for name in (b"length", b"last-generated-id", b"max-deleted-entry-id",
                                                      b"entries-added", b"recorded-first-entry-id"))
    return head, full[b"entries"], sorted(stream_group(g) for g in full[b"groups"])


def read_value(r, kind, key):
    if kind == b"string":
        return r.get(key)
    if kind == b"list":
        return r.lrange(key, 0, -1)
    if kind == b"set":
        return sorted(r.smembers(key))
    if kind == b"hash":
        return sorted(r.hgetall(key).items())
    if kind == b"zset":
        return read_zset(r, key)
    if kind == b"stream":
        with connect(r.connection_pool.connection_kwargs["port"], r.connection_pool.connection_kwargs["db"]) as raw:
            try:
                return read_stream(raw, key)
            except redis.ResponseError as error:
                if "no such key" in str(error):  # its time has come
                    return None
                raise
    raise ValueError(f"{key!r}: what is a {kind!r}?")


def walk_db(port, db, into):
    with connect(port, db) as r:
        keys = [k for k in r.scan_iter(count=1000) if not k.startswith(OURS)]
        for first in range(0, len(keys), 1000):
            part = keys[first:first + 1000]
            with r.pipeline(transaction=False) as p:
                for key in part:
                    p.execute_command("TYPE", key)
                    p.execute_command("PEXPIRETIME", key)
                answers = p.execute()
            for at, key in enumerate(part):
                kind, expire = answers[2 * at: 2 * at + 2]
                if kind == b"none" or expire == -2:
                    continue
                value = read_value(r, kind, key)
                if expire < 0 or r.exists(key):  # else its time came while it was read
                    into[(db, key)] = (kind, value, expire)


def walk(port):
    """Every key of every database that INFO names."""
    everything = Walk()
    with connect(port) as r:
        databases = [int(name[2:]) for name in r.info("keyspace") if name.startswith("db")]
    for db in databases:
        walk_db(port, db, everything)
    return everything


def told(everything):
    """A walk without what Redis 7.0 tells no replica: how much a group has read, and consumers that own nothing."""
    known = Walk(getattr(everything, "began_ms", None))
    for name, value in everything.items():
        if isinstance(value, tuple) and value[0] == b"stream" and isinstance(value[1], tuple):
            (head, entries, groups), rest = value[1], value[2:]
            groups = [(group[0], group[1], group[3], [consumer for consumer in group[4] if consumer[1]]) for group in groups]
            value = (value[0], (head, entries, groups), *rest)
        known[name] = value
    return known


def came_due(value, began_ms):
    """Its deadline passed since then."""
    return isinstance(value, tuple) and len(value) > 2 and isinstance(value[2], int) and began_ms <= value[2] <= time.time() * 1000


def differences(a, b, most=20):
    """What differs between two walks, as sentences. A key whose time came since the first of them began may be in one and not in the
    other, and is left out: on a busy machine they take their time."""
    found, began_ms = [], min((w.began_ms for w in (a, b) if isinstance(w, Walk)), default=1 << 62)
    for name in sorted(set(a) | set(b)):
        if a.get(name) != b.get(name) and not came_due(a.get(name), began_ms) and not came_due(b.get(name), began_ms):
            x, y = str(a.get(name)), str(b.get(name))
            same = next((at for at in range(min(len(x), len(y))) if x[at] != y[at]), 0)  # from just before the difference on
            from_ = max(0, same - 80)
            found.append(f"db {name[0]} key {name[1]!r}: {x[:60]} … {x[from_:from_ + 200]} | {y[from_:from_ + 200]}")
            if len(found) >= most:
                break
    return found

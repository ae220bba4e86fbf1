#!/usr/bin/python3
"""test_lanes_pipeline.py -- the same bytes of a pipeline, to a Redis and through lanes: the same bytes come back.

Replies of a burst reach the client with few writes, and the lane one by one: large ones in pieces, errors, replies that
are not wanted, blocks, local answers and other databases in between. Afterwards both sides are equal.
"""
import random
import socket
import sys
import threading

from servers import Folder, Ours, RedisServer, run_tests
from test_gateway_lanes import Gateway, HIDDEN
from walk import differences, walk

END = b"the end of the pipeline"


def encode(words):
    words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def pieces(rng, name):
    """Requests of one client, each as a list of those that stay together."""
    k = lambda: f"{name}:{rng.randrange(8)}"
    return rng.choice([
        lambda: [["SET", k(), "v" * rng.choice((1, 64, 3000))]],
        lambda: [["SET", k(), "w"]] * rng.randrange(1, 40),
        lambda: [["GETSET", k(), rng.choice("abc") * rng.choice((10, 20000, 400000))]],
        lambda: [["MSET", k(), 1, k(), 2]],
        lambda: [["INCR", k()], ["APPEND", k(), "x" * 100], ["STRLEN", k()]],
        lambda: [["SET", k(), "n", "NX"], ["SET", k(), "g", "GET"], ["SETRANGE", k(), 5, "zz"]],
        lambda: [["LPUSH", k(), "a", "b"], ["LRANGE", k(), 0, -1], ["RPOP", k()]],
        lambda: [["DEL", k()]],
        lambda: [["GET", k()], ["EXISTS", k()]],
        lambda: [["PING"], ["ECHO", "hello " * rng.choice((1, 3000))]],
        lambda: [["NOSUCHCOMMAND", k()], ["SET", k()], ["GET"]],
        lambda: [["MULTI"], ["SET", k(), 1], ["INCR", k()], ["GET", k()], ["EXEC"]],
        lambda: [["SELECT", rng.randrange(3)], ["SET", k(), "in another"]],
        lambda: [["CLIENT", "REPLY", "SKIP"], ["SET", k(), "skipped"], ["SET", k(), "seen"]],
        lambda: [["CLIENT", "REPLY", "OFF"], ["SET", k(), "mute"], ["INCR", k()], ["CLIENT", "REPLY", "ON"]],
        lambda: [["SADD", f"{name}:set", "x"], ["SPOP", f"{name}:set"], ["SADD", f"{name}:set", "y" * 100000], ["SPOP", f"{name}:set", 3]],
    ])()


def talk(port, data, cuts):
    """What is answered to DATA, sent in pieces that end at CUTS; the last request is an ECHO of END."""
    answer = bytearray()
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.settimeout(60)

        def send():
            at = 0
            for cut in [*cuts, len(data)]:
                s.sendall(data[at:cut])
                at = cut

        sender = threading.Thread(target=send)
        sender.start()
        while not answer.endswith(b"$%d\r\n%s\r\n" % (len(END), END)):
            more = s.recv(1 << 16)
            if not more:
                raise AssertionError(f"hung up after {len(answer)} bytes: {bytes(answer[-200:])!r}")
            answer += more
        sender.join()
    return bytes(answer)


def one_client(rng, name, plain, gateway, wrong):
    requests = [r for _ in range(150) for r in pieces(rng, name)]
    requests.append(["ECHO", END])
    data = b"".join(map(encode, requests))
    cuts = sorted(rng.randrange(len(data)) for _ in range(20))
    expected, found = talk(plain, data, cuts), talk(gateway, data, cuts)
    if expected != found:
        at = next((i for i, (x, y) in enumerate(zip(expected, found)) if x != y), min(len(expected), len(found)))
        wrong.append(f"{name}: {len(expected)} bytes and {len(found)}, from {at}: {expected[at - 100:at + 100]!r} and {found[at - 100:at + 100]!r}")


def test_a_pipeline_is_answered_as_by_a_redis():
    for lanes, loops, target_class in ((1, 1, RedisServer), (3, 2, Ours)):
        with Folder("lanes-pipeline") as folder:
            legacy, target, plain = RedisServer(folder, "legacy", *HIDDEN), target_class(folder, "target"), RedisServer(folder, "plain")
            gateway = Gateway(folder, legacy, target, lanes=lanes, loops=loops)
            gateway.wait_level(180)  # from here on keys are clean, and what is done goes as effects
            wrong = []
            clients = [threading.Thread(target=one_client, args=(random.Random(lanes * 100 + n), f"c{n}", plain.port, gateway.port, wrong)) for n in range(6)]
            for client in clients:
                client.start()
            for client in clients:
                client.join()
            assert not wrong, "\n".join(wrong)
            gateway.wait_level(180)
            figures = gateway.lanes()
            assert figures["lost_total"] == 0, figures
            assert lanes > 1 or figures["effects_total"] > 1000, figures  # over several lanes keys are pinned, and copied
            assert not differences(walk(legacy.port), walk(target.port))
            assert not differences(walk(plain.port), walk(legacy.port))


if __name__ == "__main__":
    run_tests(sys.modules[__name__])

#!/usr/bin/python3
"""The gateway before one redis-server: clients cannot tell it from the server itself."""
import random
import socket
import sys
import threading
import time

import redis

from gwtest import Bench, Error, Raw, check, run_tests, wait_for


def test_pipelines_stay_in_order(b):
    r = b.client()
    for size in (1, 10, 1000, 20000):
        pipe = r.pipeline(transaction=False)
        for i in range(size):
            pipe.set(f"k{i % 50}", i)
            pipe.get(f"k{i % 50}")
        check("pipeline", pipe.execute()[1::2], [str(i).encode() for i in range(size)])


def test_local_answers_stand_in_order_between_forwarded_ones(b):
    c = b.raw()
    for _ in range(200):
        c.send("SET", "a", "1")
        c.send("PING", "x")
        c.send("GET", "a")
        c.send("ECHO", "y")
        c.send("CLIENT", "GETNAME")
        c.send("INCR", "a")
    for _ in range(200):
        check("in order", [c.read() for _ in range(6)], ["OK", b"x", b"1", b"y", None, 2])


def test_requests_in_any_pieces(b):
    c = b.raw()
    text = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\nGET k\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n\r\n*0\r\nECHO \"a b\"\r\n"
    rng = random.Random(1)
    for _ in range(20):
        at = 0
        while at < len(text):
            size = rng.randrange(1, 9)
            c.send_bytes(text[at:at + size])
            at += size
            time.sleep(0.0005)
        check("pieces", [c.read() for _ in range(5)], ["OK", b"hello", b"hello", "PONG", b"a b"])


def test_errors_as_redis(b):
    c, d = b.raw(), Raw(b.legacy_port)
    for words in (["GET"], ["NOSUCH", "a", "b"], ["CLIENT", "NOSUCH"], ["SET", "a", "b", "WHAT"], ["EXEC"], ["DISCARD"],
                  ["LPUSH", "x"], ["SELECT", "99"], ["SELECT", "x"], ["AUTH", "x"], ["HELLO", "9"], ["CLIENT"],
                  ["HELLO", "2", "WHAT"], ["CLIENT", "REPLY", "x"], ["CLIENT", "KILL", "ID", "0"], ["CONFIG", "NOSUCH"]):
        check(words, c.call(*words), d.call(*words))
    for words in (["SHUTDOWN"], ["REPLICAOF", "NO", "ONE"], ["DEBUG", "SLEEP", "0"], ["CONFIG", "SET", "a", "b"], ["PSYNC", "?", "-1"]):
        check(words, isinstance(c.call(*words), Error), True)
    check("still there", c.call("PING"), "PONG")


def test_protocol_errors_close(b):
    for text, words in ((b"*1\r\n:1\r\n", "Protocol error: expected '$', got ':'"),
                        (b"*x\r\n", "Protocol error: invalid multibulk length"),
                        (b"*1\r\n$-5\r\n", "Protocol error: invalid bulk length")):
        c = b.raw()
        c.send_bytes(text)
        check(text, c.read(), "ERR " + words)
        check("closed", c.is_closed(), True)
    for text in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /x HTTP/1.0\r\n\r\n"):
        c = b.raw()
        c.send_bytes(text)
        check("http is closed", c.is_closed(), True)


def test_databases(b):
    clients = [b.client(db=n) for n in (0, 1, 2, 3, 4, 15)]
    for n, r in enumerate(clients):
        r.set("k", n)
    for _ in range(50):
        for n, r in enumerate(clients):
            check("own database", r.get("k"), str(n).encode())
    c = b.raw()
    for n in (3, 9, 0, 99, 5):
        c.send("SELECT", n)
        c.send("SET", "where", n)
        c.send("GET", "where")
    check("select", [c.read() for _ in range(15)],
          ["OK", "OK", b"3", "OK", "OK", b"9", "OK", "OK", b"0", "ERR DB index is out of range", "OK", b"99", "OK", "OK", b"5"])
    check("the refused one stayed in database 0", b.direct(db=0).get("where"), b"99")


def test_multi(b):
    r = b.client()
    pipe = r.pipeline()
    pipe.set("a", 1).incr("a").lpush("l", 1, 2).lrange("l", 0, -1)
    check("exec", pipe.execute(), [True, 2, 2, [b"2", b"1"]])
    c = b.raw()
    check("multi", [c.call(*w.split()) for w in ("MULTI", "SET a 5", "GET", "NOSUCH x", "EXEC", "GET a")],
          ["OK", "QUEUED", "ERR wrong number of arguments for 'get' command",
           "ERR unknown command 'NOSUCH', with args beginning with: 'x' ",
           "EXECABORT Transaction discarded because of previous errors.", b"2"])
    check("run-time error", [c.call(*w.split()) for w in ("MULTI", "LPUSH a 1", "INCR a", "EXEC")][3],
          ["WRONGTYPE Operation against a key holding the wrong kind of value", 3])
    check("empty, nested, discard", [c.call(*w.split()) for w in ("MULTI", "EXEC", "MULTI", "MULTI", "SET a 9", "DISCARD", "GET a")],
          ["OK", [], "OK", "ERR MULTI calls can not be nested", "QUEUED", "OK", b"3"])
    check("select inside", [c.call(*w.split()) for w in ("MULTI", "SELECT 4", "SET in4 x", "EXEC", "GET in4", "SELECT 0", "GET in4")],
          ["OK", "QUEUED", "QUEUED", ["OK", "OK"], b"x", "OK", None])
    other = b.client()
    check("others stay in their database", other.get("a"), b"3")


def test_watch(b):
    r, other = b.client(), b.client()
    r.set("w", 1)
    with r.pipeline() as pipe:
        pipe.watch("w")
        check("read while watching", pipe.get("w"), b"1")
        pipe.multi()
        pipe.incr("w")
        check("untouched", pipe.execute(), [2])
    with r.pipeline() as pipe:
        pipe.watch("w")
        other.incr("w")
        pipe.multi()
        pipe.incr("w")
        try:
            pipe.execute()
            raise AssertionError("a touched WATCH did not fail")
        except redis.WatchError:
            pass
    with r.pipeline() as pipe:
        pipe.watch("w")
        other.incr("w")
        pipe.unwatch()
        pipe.multi()
        pipe.incr("w")
        check("unwatched", pipe.execute(), [5])
    c = b.raw()
    check("watch, discard, watch", [c.call(*w.split()) for w in
          ("WATCH w", "MULTI", "WATCH w", "DISCARD", "WATCH w", "MULTI", "EXEC", "WATCH w", "UNWATCH", "GET w")],
          ["OK", "OK", "ERR WATCH inside MULTI is not allowed", "OK", "OK", "OK", [], "OK", "OK", b"5"])
    c.send("WATCH", "w")
    c.send("MULTI")
    c.send("INCR", "w")
    c.send("EXEC")
    c.send("GET", "w")
    check("pipelined", [c.read() for _ in range(5)], ["OK", "OK", "QUEUED", [6], b"6"])
    done = []

    def count():
        mine = b.client()
        for _ in range(30):
            mine.transaction(lambda p: (p.multi(), p.set("sum", int(p_get(mine, p)) + 1)) and None, "sum")
        done.append(1)

    def p_get(mine, pipe):
        return pipe.immediate_execute_command("GET", "sum") or 0 if False else (mine.get("sum") or 0)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check("optimistic counters", (len(done), r.get("sum")), (4, b"120"))


def test_blocking(b):
    r = b.client()
    got = []

    def pop(n):
        got.append((n, b.client().blpop("q", 60)))

    threads = [threading.Thread(target=pop, args=(n,)) for n in range(20)]
    for t in threads:
        t.start()
    wait_for("twenty blocked", lambda: b.direct().info("clients")["blocked_clients"] == 20)
    check("others go on", r.set("x", 1), True)
    for i in range(20):
        r.rpush("q", i)
    for t in threads:
        t.join()
    check("each element once", sorted(int(v[1][1]) for v in got), list(range(20)))
    began = time.monotonic()
    check("timeout", r.blpop("nothing", 0.2), None)
    check("that long", time.monotonic() - began > 0.15, True)
    c = b.raw()
    c.send("BLPOP", "q2", "0.1")
    c.send("SET", "after", "1")
    c.send("GET", "after")
    check("a client's pipeline waits for its blocked command", [c.read() for _ in range(3)], [None, "OK", b"1"])
    gone = b.raw()
    gone.send("BLPOP", "q3", "0")
    wait_for("one blocked", lambda: b.direct().info("clients")["blocked_clients"] == 1)
    gone.close()
    wait_for("none blocked", lambda: b.direct().info("clients")["blocked_clients"] == 0)
    r.rpush("q3", "kept")
    check("a client that left popped nothing", r.llen("q3"), 1)
    r.xadd("s", {"a": 1}, id="5-1")
    check("xread without block", r.xread({"s": "0"})[0][1][0][0], b"5-1")
    check("xread with block", r.xread({"s": "$"}, block=50), [])
    check("wait", r.wait(0, 100), 0)


def test_pubsub(b):
    r = b.client()
    p = r.pubsub()
    p.subscribe("a", "b")
    p.psubscribe("c*")
    kinds = [p.get_message(timeout=30)["type"] for _ in range(3)]
    check("confirmed", kinds, ["subscribe", "subscribe", "psubscribe"])
    check("receivers", (r.publish("a", "1"), r.publish("cx", "2"), r.publish("zz", "3")), (1, 1, 0))
    check("messages", [p.get_message(timeout=30)["data"] for _ in range(2)], [b"1", b"2"])
    c = b.raw()
    check("subscribe", c.call("SUBSCRIBE", "x"), [b"subscribe", b"x", 1])
    check("refused", c.call("GET", "a").startswith("ERR Can't execute 'get'"), True)
    check("ping", c.call("PING", "hi"), [b"pong", b"hi"])
    r.publish("x", "m")
    check("message", c.read(), [b"message", b"x", b"m"])
    c.send("UNSUBSCRIBE")
    c.send("GET", "nothing")
    c.send("PING")
    check("an ordinary client again", [c.read() for _ in range(3)], [[b"unsubscribe", b"x", 0], None, "PONG"])
    check("unsubscribe of nothing", c.call("UNSUBSCRIBE"), [b"unsubscribe", None, 0])
    many = [b.raw() for _ in range(30)]
    for n, m in enumerate(many):
        m.send("SUBSCRIBE", f"ch{n}", "all")
        m.read(), m.read()
    check("all of them", r.publish("all", "x"), 30)
    for m in many:
        check("each", m.read(), [b"message", b"all", b"x"])


def test_resp3(b):
    c = b.raw()
    hello = c.call("HELLO", "3", "SETNAME", "me")
    check("hello", (hello[b"proto"], hello[b"version"], hello[b"role"]), (3, b"7.0.15", b"master"))
    check("name", c.call("CLIENT", "GETNAME"), b"me")
    c.call("HSET", "h", "f", "v")
    check("map", c.call("HGETALL", "h"), {b"f": b"v"})
    check("null", c.call("GET", "none"), None)
    check("double", (c.call("ZADD", "z", "1.5", "m"), c.call("ZSCORE", "z", "m")), (1, 1.5))
    check("subscribe is a push", c.call("SUBSCRIBE", "x"), [b"subscribe", b"x", 1])
    check("other commands go on", c.call("GET", "none"), None)
    b.client().publish("x", "m")
    check("message", c.read(), [b"message", b"x", b"m"])
    t = b.raw()
    t.call("HELLO", "3")
    check("tracking", t.call("CLIENT", "TRACKING", "ON"), "OK")
    t.call("GET", "tracked")
    b.client().set("tracked", 1)
    check("invalidation", t.read(), [b"invalidate", [b"tracked"]])
    check("and on", t.call("GET", "tracked"), b"1")
    two = b.raw()
    check("both protocols beside each other", two.call("HGETALL", "h"), [b"f", b"v"])


def test_what_a_subscriber_says_in_one_breath(b):
    """RESP2: everything in the order in which it was asked, whatever database it is in, and the connection is an ordinary one again."""
    talk = """SELECT 3;SUBSCRIBE x y;PING;PING hello;NOSUCH a;UNSUBSCRIBE x;NOSUCH;PING;UNSUBSCRIBE;PING;GET nothing;SET k v;GET k
PSUBSCRIBE p*;SUBSCRIBE z;UNSUBSCRIBE;PUNSUBSCRIBE;WATCH k;SUBSCRIBE x;NOSUCH b;UNSUBSCRIBE x;PING;MULTI;GET k;EXEC;SUBSCRIBE q;RESET
PING;SELECT 3;GET k""".replace("\n", ";").split(";")
    sent = b"".join(b"*%d\r\n" % len(w) + b"".join(b"$%d\r\n%s\r\n" % (len(x), x.encode()) for x in w)
                    for w in (words.split() for words in talk))
    heard = []
    for port in (b.port, b.legacy_port):
        with socket.create_connection(("127.0.0.1", port), 30) as s:
            s.sendall(sent + b"*1\r\n$4\r\nQUIT\r\n")
            heard.append(b"".join(iter(lambda s=s: s.recv(65536), b"")))
    check("the same, byte for byte", heard[0], heard[1])


def test_our_own_keys_are_hidden(b):
    d, r = b.direct(), b.client()
    d.set("drawbridge:checkpoint:forward", "x")
    d.set("drawbridge:checkpoint:reverse", "x")
    check("randomkey of none", r.randomkey(), None)
    for i in range(50):
        d.set(f"k{i}", i)
    check("keys", sorted(r.keys()), sorted(f"k{i}".encode() for i in range(50)))
    check("scan", sorted(r.scan_iter(count=7)), sorted(f"k{i}".encode() for i in range(50)))
    check("dbsize", r.dbsize(), 50)
    for _ in range(50):
        check("randomkey", r.randomkey().startswith(b"k"), True)
    d3 = b.direct(db=3)
    d3.set("drawbridge:checkpoint:x", 1)
    check("only in database 0", b.client(db=3).keys(), [b"drawbridge:checkpoint:x"])


def test_our_own_keys_are_hidden_inside_multi(b):
    """Element by element, on RESP2 and RESP3, in the database where each command was executed."""
    d = b.direct()
    d.set("drawbridge:checkpoint:forward", "x")
    block = ("MULTI", "SET one 1", "KEYS *", "SCAN 0 COUNT 100", "DBSIZE", "LRANGE none 0 -1", "RANDOMKEY", "INCR one",
             "SELECT 3", "KEYS *", "DBSIZE", "RANDOMKEY", "SELECT 99", "DBSIZE", "SELECT 0", "DBSIZE", "DEL one", "DBSIZE",
             "RANDOMKEY", "LPUSH one 1", "EXEC")
    want = ["OK", [b"one"], [b"0", [b"one"]], 1, [], b"one", 2, "OK", [b"drawbridge:checkpoint:x"], 1,
            b"drawbridge:checkpoint:x", "ERR DB index is out of range", 1, "OK", 1, 1, 0, None, 1]
    b.direct(db=3).set("drawbridge:checkpoint:x", 1)
    for proto in (2, 3):
        d.delete("one")
        c = b.raw()
        c.call("HELLO", proto)
        for words in block[:-1]:
            c.send(*words.split())
        check("queued", [c.read() for _ in block[:-1]], ["OK"] + ["QUEUED"] * (len(block) - 2))
        c.send("EXEC")
        c.send("PING", "after")
        check(f"EXEC with RESP{proto}", c.read(), want)
        check("in order", c.read(), b"after")
    check("aborted", [c.call(*w.split()) for w in ("MULTI", "DBSIZE", "GET", "EXEC", "DBSIZE")][3:],
          ["EXECABORT Transaction discarded because of previous errors.", 1])
    c.call("SET", "w", 1)
    c.call("WATCH", "w")
    b.client().set("w", 2)
    check("nil", [c.call(*w.split()) for w in ("MULTI", "KEYS *", "EXEC", "DBSIZE")], ["OK", "QUEUED", None, 2])
    check("a SELECT that fails leaves the database", [c.call(*w.split()) for w in ("MULTI", "SELECT 99", "EXEC", "GET w")][2:],
          [["ERR DB index is out of range"], b"2"])


def test_unknown_commands_in_multi_as_redis(b):
    c, d = b.raw(), Raw(b.legacy_port)
    for block in (("MULTI", "NOSUCH a b", "SET x 1", "EXEC", "GET x"), ("MULTI", "CONFIG NOSUCH", "EXEC"),
                  ("MULTI", "SUBSCRIBE", "EXEC"), ("MULTI", "NOSUCH", "DISCARD", "GET x"),
                  ("MULTI", "EXEC x", "SET x 1", "EXEC"), ("MULTI", "WATCH x", "SET x 2", "EXEC", "GET x")):
        check(block, [c.call(*w.split()) for w in block], [d.call(*w.split()) for w in block])


def test_a_modules_command_in_multi(b):
    """SUBSTR has another name there, so our table does not know it, and the server does."""
    c, d = b.raw(), Raw(b.legacy_port)
    for block in (("MULTI", "SET x hello", "MODULE.SUBSTR x 0 1", "GET x", "EXEC"), ("MULTI", "MODULE.SUBSTR x", "EXEC", "GET x"),
                  ("MULTI", "MODULE.SUBSTR x 0 1", "DISCARD", "MODULE.SUBSTR x 0 1"),
                  ("MULTI", "NOSUCH", "MODULE.SUBSTR x 0 1", "EXEC"), ("WATCH x", "MULTI", "MODULE.SUBSTR x 1 1", "EXEC")):
        want = [d.call(*w.split()) for w in block]
        for proto in (2, 3):
            c.call("HELLO", proto)
            check(block, [c.call(*w.split()) for w in block], want)
            for w in block:  # the same as one pipeline
                c.send(*w.split())
            check(block, [c.read() for _ in block], want)


def test_who_ends_its_half_gets_its_answers(b):
    for count in (1, 3, 20000):
        c = b.raw()
        c.send_bytes(b"INCR half\r\nMULTI\r\nINCR half\r\nEXEC\r\nWATCH other\r\nSELECT 1\r\nSELECT 0\r\n" * count + b"GET hal")
        c.sock.shutdown(socket.SHUT_WR)
        for number in range(count):
            check("answers", [c.read() for _ in range(7)], [2 * number + 1, "OK", "QUEUED", [2 * number + 2], "OK", "OK", "OK"])
        check("then it is closed", c.is_closed(), True)
        b.direct().delete("half")
    for _ in range(20):  # at once, while earlier ones are unanswered, or before it has a connection of its own
        c = b.raw()
        c.send_bytes(b"INCR half\r\nLPUSH more 1\r\nBLPOP nothing 0\r\nINCR half\r\n")
        c.close()
    wait_for("nobody is blocked", lambda: b.direct().info("clients")["blocked_clients"] == 0 and
             not any(e["cmd"] == "blpop" for e in b.client().client_list()))
    for words in (("BLPOP", "nothing", "0"), ("SUBSCRIBE", "x"), ("MONITOR",)):
        c = b.raw()
        c.send(*words)
        wait_for("it waits", lambda words=words: any(e["cmd"].startswith(words[0].lower()) for e in b.direct().client_list()))
        c.sock.shutdown(socket.SHUT_WR)
        wait_for("who waits is gone", lambda words=words: not any(e["cmd"].startswith(words[0].lower()) for e in b.direct().client_list()))


def test_monitor(b):
    m, r = b.raw(), b.client()
    check("monitor", m.call("MONITOR"), "OK")
    r.set("drawbridge:checkpoint:x", "hidden")
    r.set("shown", "1")
    line = ""
    while "shown" not in line:
        line = m.read()
        check("hidden", "drawbridge:checkpoint" in line, False)
    m.close()


def test_scripts(b):
    r = b.client()
    sha = r.script_load("return redis.call('incr', KEYS[1])")
    check("evalsha", r.evalsha(sha, 1, "s"), 1)
    b.direct().script_flush()
    c = b.raw()
    check("eval", r.eval("return ARGV[1]", 0, "x"), b"x")
    b.direct().script_flush()
    b.stop("legacy", kill=True)
    b.start_redis("legacy")
    c = wait_for("the gateway to reconnect", lambda: (lambda c: c.call("SET", "s", "5") == "OK" and c)(b.raw()))
    c.send("EVALSHA", sha, "1", "s")
    c.send("GET", "s")
    check("a lost script is healed, in order", [c.read(), c.read()], [6, b"6"])
    b.direct().script_flush()
    b.stop("legacy", kill=True)
    b.start_redis("legacy")
    c = wait_for("the gateway to reconnect", lambda: (lambda c: c.call("SET", "s", "5") == "OK" and c)(b.raw()))
    for words in (("MULTI",), ("EVALSHA", sha, "1", "s"), ("INCR", "s"), ("EVALSHA", sha.upper(), "1", "s"), ("EXEC",), ("GET", "s")):
        c.send(*words)
    check("healed inside MULTI", [c.read() for _ in range(6)], ["OK", "QUEUED", "QUEUED", "QUEUED", [6, 7, 8], b"8"])
    check("unknown ones are as ever", [c.call(*w) for w in (("MULTI",), ("EVALSHA", "f" * 40, "0"), ("INCR", "s"), ("EXEC",))][3][1], 9)
    check("unknown scripts are not", c.call("EVALSHA", "f" * 40, "0").startswith("NOSCRIPT"), True)


def test_client_commands(b):
    r, other = b.client(), b.client(client_name="other")
    other.ping()
    ids = [b.raw().call("CLIENT", "ID") for _ in range(4)]
    check("ids differ", len(set(ids)), 4)
    lines = wait_for("the list", lambda: [c for c in r.client_list() if c["name"] == "other"])
    check("list", lines[0]["db"], "0")
    many = [b.raw() for _ in range(10)]
    for m in many:
        m.call("CLIENT", "SETNAME", "many")
    check("all loops are listed", len([c for c in r.client_list() if c["name"] == "many"]), 10)
    victim = many[0].call("CLIENT", "ID")
    check("kill", r.client_kill_filter(_id=victim), 1)
    check("killed", many[0].is_closed(), True)
    c = b.raw()
    check("setinfo", c.call("CLIENT", "SETINFO", "LIB-NAME", "x"), "OK")
    check("info", "lib-name=x" in c.call("CLIENT", "INFO").decode(), True)
    c.send("CLIENT", "REPLY", "OFF")
    c.send("SET", "quiet", "1")
    c.send("GET", "quiet")
    c.send("CLIENT", "REPLY", "ON")
    check("reply on", c.read(), "OK")
    c.send("CLIENT", "REPLY", "SKIP")
    c.send("GET", "quiet")
    c.send("INCR", "quiet")
    check("skipped one", c.read(), 2)
    check("pause", (r.client_pause(150), b.client().set("p", 1)), (True, True))
    check("unpause", r.client_unpause(), b"OK")
    check("names of the backend stay", all(c["name"].startswith("drawbridge-gw:") for c in b.direct().client_list()
                                           if c["cmd"] != "client|list" and c["name"]), True)
    q = b.raw()
    q.send("QUIT")
    check("quit", (q.read(), q.is_closed()), ("OK", True))
    q = b.raw()
    q.call("SELECT", "3")
    q.call("MULTI")
    check("reset", (q.call("RESET"), q.call("GET", "p")), ("RESET", b"1"))


def test_big_values(b):
    r = b.client()
    big = random.Random(5).randbytes(64 << 20)
    check("set", r.set("big", big), True)
    check("get", r.get("big") == big, True)
    check("strlen", r.strlen("big"), len(big))
    others = b.client()
    pipe = others.pipeline(transaction=False)
    for i in range(50):
        pipe.set(f"m{i}", big[i * 1000:i * 1000 + 200000])
        pipe.get(f"m{i}")
    check("many middling ones", all(v == big[i * 1000:i * 1000 + 200000] for i, v in enumerate(pipe.execute()[1::2])), True)


def test_many_clients(b):
    clients = [b.raw() for _ in range(600)]
    for round_ in range(3):
        for n, c in enumerate(clients):
            c.send("SET", f"c{n}", f"{round_}-{n}")
            c.send("GET", f"c{n}")
        for n, c in enumerate(clients):
            check("own value", [c.read(), c.read()], ["OK", f"{round_}-{n}".encode()])
    wait_for("few connections behind", lambda: b.direct().info("clients")["connected_clients"] < 60)


if __name__ == "__main__":
    sys.exit(run_tests([f for name, f in list(globals().items()) if name.startswith("test_")],
                       Bench(legacy_options=("--rename-command", "SUBSTR", "MODULE.SUBSTR"))))

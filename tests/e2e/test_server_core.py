#!/usr/bin/env python3
"""The server's core from outside: options, hostile input, limits, pipelining, blocking order, expiry, eviction."""
import os, random, socket, subprocess, sys, tempfile, time

import redis

from ports import free_port


TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SERVER = os.environ.get("SERVER", os.path.join(os.environ.get("BUILD", os.path.join(TOP, "build")), "drawbridge"))

class Server:
    def __init__(self, *options):
        self.port = free_port()
        self.dir = tempfile.TemporaryDirectory()
        self.log = open(os.path.join(self.dir.name, "log"), "w+")
        self.process = subprocess.Popen([SERVER, "server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.dir.name,
                                         "--save", "", "--enable-debug-command", "yes", *options],
                                        stdout=self.log, stderr=subprocess.STDOUT)
        for _ in range(9000):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError("the server does not listen")

    def client(self, **options):
        return redis.Redis(port=self.port, **options)

    def raw(self):
        s = socket.create_connection(("127.0.0.1", self.port))
        s.settimeout(180)
        return s

    def stop(self):
        self.process.terminate()
        code = self.process.wait(180)
        self.log.close()
        self.dir.cleanup()
        assert code == 0, f"exit code {code}"

def until(what, condition):
    for _ in range(9000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("never: " + what)

def read_all(s):
    data = b""
    try:
        while chunk := s.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return data

def exchange(server, request, end=b""):
    """Send, and read up to END, or until the server hangs up."""
    with server.raw() as s:
        s.sendall(request)
        data = b""
        while not end or not data.endswith(end):
            chunk = s.recv(65536)
            if not chunk:
                break
            data += chunk
        return data

def test_protocol_errors_hang_up_and_hurt_nobody(server):
    bad = [(b"*x\r\n", b"-ERR Protocol error: invalid multibulk length"), (b"*1\r\n$-5\r\n", b"-ERR Protocol error: invalid bulk length"),
           (b"*2147483648\r\n", b"-ERR Protocol error: invalid multibulk length"), (b"*1\r\nping\r\n", b"-ERR Protocol error: expected '$', got 'p'"),
           (b"*1\r\n$999999999999\r\n", b"-ERR Protocol error: invalid bulk length"), (b'"unbalanced\r\n', b"-ERR Protocol error: unbalanced quotes")]
    for request, reply in bad:
        got = exchange(server, b"PING\r\n" + request)
        assert got.startswith(b"+PONG\r\n" + reply), (request, got)
    assert server.client().ping()

def test_random_bytes_do_not_stop_the_server(server):
    rng = random.Random(7)
    words = [b"*3\r\n", b"$3\r\n", b"SET\r\n", b"\r\n", b"GET", b"MULTI\r\n", b"EXEC\r\n", b"*-1\r\n", b"$0\r\n\r\n", b"CLIENT REPLY OFF\r\n",
             b"SUBSCRIBE a\r\n", b"BLPOP a 0\r\n", b"WATCH a\r\n", b"HELLO 3\r\n", b"*1\r\n$4\r\nPING\r\n", b"DEBUG OBJECT a\r\n", b"SCAN 99999\r\n"]
    for _ in range(150):
        with server.raw() as s:
            try:
                for _ in range(20):
                    s.sendall(rng.choice(words) if rng.random() < 0.8 else rng.randbytes(rng.randrange(60)))
            except OSError:
                pass
    assert server.client().ping()

def test_a_pipeline_may_be_cut_anywhere(server):
    commands = b"".join(b"*3\r\n$3\r\nSET\r\n$5\r\nkey%02d\r\n$2\r\n%02d\r\n" % (i, i) for i in range(100)) + b"INLINE-GET\r\nget key07\r\n\r\nget key99\r\n"
    rng = random.Random(3)
    for _ in range(10):
        with server.raw() as s:
            at = 0
            while at < len(commands):
                n = rng.choice([1, 2, 7, 30, 500])
                s.sendall(commands[at:at + n])
                at += n
                time.sleep(0.0002)
            s.shutdown(socket.SHUT_WR)
            got = read_all(s)
        assert got.count(b"+OK\r\n") == 100 and got.endswith(b"$2\r\n07\r\n$2\r\n99\r\n"), got[-200:]

def test_a_blocked_client_goes_on_where_it_was(server):
    c = server.client()
    with server.raw() as s:
        s.sendall(b"BLPOP list 0\r\nINCR after\r\nBLPOP list 0\r\nINCR after\r\n")
        until("blocked", lambda: c.info("clients")["blocked_clients"] == 1)
        assert c.get("after") is None
        c.rpush("list", "a", "b")
        until("both done", lambda: c.get("after") == b"2")
        data = b""
        while data.count(b"\r\n") < 12:
            data += s.recv(1000)
        assert data == b"*2\r\n$4\r\nlist\r\n$1\r\na\r\n:1\r\n*2\r\n$4\r\nlist\r\n$1\r\nb\r\n:2\r\n", data

def test_a_transaction_fails_when_a_watched_key_changed(server):
    c = server.client()
    with c.pipeline() as p:
        p.watch("w")
        c.set("w", "1")
        p.multi()
        p.set("w", "2")
        try:
            p.execute()
            raise AssertionError("EXEC should have failed")
        except redis.WatchError:
            pass
    assert c.get("w") == b"1"

def test_keys_expire_without_being_asked_and_scan_sees_the_rest(server):
    c = server.client(db=3)
    p = c.pipeline(transaction=False)
    for i in range(20000):
        p.set(f"stay{i}", i)
        p.set(f"go{i}", i, px=200)
    p.execute()
    until("expired", lambda: c.dbsize() == 20000)
    seen = set(c.scan_iter(count=500))
    assert len(seen) == 20000 and c.info("stats")["expired_keys"] >= 20000

def test_an_unauthenticated_client_gets_no_memory(_):
    server = Server("--requirepass", "secret")
    assert exchange(server, b"GET a\r\n", b"\r\n").startswith(b"-NOAUTH")
    assert b"unauthenticated multibulk length" in exchange(server, b"*100\r\n")
    assert b"unauthenticated bulk length" in exchange(server, b"*2\r\n$100000\r\n")
    assert exchange(server, b"AUTH secre\r\n", b"\r\n").startswith(b"-WRONGPASS")
    assert exchange(server, b"AUTH secret\r\nSET a b\r\n", b"+OK\r\n+OK\r\n")
    server.stop()

def test_a_reader_that_does_not_read_is_closed(server):
    c = server.client()
    c.config_set("client-output-buffer-limit", "pubsub 1000000 0 0")
    with server.raw() as s:
        s.sendall(b"SUBSCRIBE news\r\n")
        until("subscribed", lambda: c.pubsub_numsub("news")[0][1] == 1)
        for _ in range(400):
            if c.publish("news", b"x" * 100000) == 0:
                break
        until("closed", lambda: c.pubsub_numsub("news")[0][1] == 0)

def test_maxmemory_evicts_by_policy(server):
    c = server.client(db=5)
    used = c.info("memory")["used_memory"]
    if used == 0:
        return print("a sanitizer build does not know how much memory is in use: eviction was not tried")
    limit = used + 3_000_000
    c.config_set("maxmemory-policy", "allkeys-lru")
    c.config_set("maxmemory", limit)
    for i in range(8000):
        c.set(f"k{i}", b"v" * 1000)
    info = c.info()
    assert info["evicted_keys"] > 1000 and info["used_memory"] < limit + 500_000, (info["evicted_keys"], info["used_memory"], limit)
    c.config_set("maxmemory", 0)

def test_maxclients_refuses_and_goes_on(server):
    c = server.client()
    c.config_set("maxclients", 5)
    c.ping()
    held = [server.raw() for _ in range(10)]
    until("five at least were refused", lambda: c.info("stats")["rejected_connections"] >= 5)
    refused = 0
    for s in held:
        s.settimeout(0.3)
        try:
            refused += s.recv(100).startswith(b"-ERR max number of clients")
        except TimeoutError:
            pass
        s.close()
    assert refused >= 5, refused
    until("room again", lambda: c.config_set("maxclients", 10000))

def main():
    server = Server()
    failed = 0
    try:
        for name, test in sorted(globals().items()):
            if not name.startswith("test_"):
                continue
            try:
                server.client().flushall()
                test(server)
                assert server.process.poll() is None, "the server is gone"
            except Exception as error: # every test is tried
                failed += 1
                print(f"{name}: {type(error).__name__}: {error}")
                if server.process.poll() is not None:
                    print(open(server.log.name).read()[-3000:])
                    return 1
        server.stop()
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
    return 1 if failed else 0

sys.exit(main())

#!/usr/bin/python3
"""The gateway's own life: passwords, TLS, limits, lost backends, its admin socket, metrics, a clean end."""
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.request

import redis

from gwtest import Bench, Error, Raw, check, free_port, wait_for
from resp import encode


def with_password():
    os.environ["GATEWAY_TEST_PASSWORD"] = "open sesame"
    with Bench(gateway='  auth: { password: "env:GATEWAY_TEST_PASSWORD" }') as b:
        c = b.raw()
        check("closed", c.call("GET", "a"), Error("NOAUTH Authentication required."))
        check("hello", c.call("HELLO", "3").startswith("NOAUTH"), True)
        check("wrong", c.call("AUTH", "open").startswith("WRONGPASS"), True)
        check("wrong user", c.call("AUTH", "somebody", "open sesame").startswith("WRONGPASS"), True)
        check("right", c.call("AUTH", "open sesame"), "OK")
        check("open", c.call("SET", "a", "1"), "OK")
        check("hello auth", Raw(b.port).call("HELLO", "3", "AUTH", "default", "open sesame")[b"proto"], 3)
        check("a client library", redis.Redis(port=b.port, password="open sesame").get("a"), b"1")
        check("reset closes again", (c.call("RESET"), c.call("GET", "a")), ("RESET", Error("NOAUTH Authentication required.")))
        c = b.raw()
        c.send_bytes(b"*11\r\n")
        check("few arguments before AUTH", c.read(), Error("ERR Protocol error: unauthenticated multibulk length"))
        check("closed", c.is_closed(), True)
        c = b.raw()
        c.send_bytes(b"*2\r\n$4\r\nAUTH\r\n$20000\r\n")
        check("short ones, too", c.read(), Error("ERR Protocol error: unauthenticated bulk length"))


def certificate(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"],
                   check=True, stderr=subprocess.DEVNULL)


def with_tls():
    import tempfile
    folder, port = tempfile.mkdtemp(), free_port()
    try:
        certificate(folder)
        with Bench(gateway=f'  tls: {{ listen: "127.0.0.1:{port}", cert: "{folder}/cert.pem", key: "{folder}/key.pem" }}') as b:
            r = redis.Redis(port=port, ssl=True, ssl_ca_certs=f"{folder}/cert.pem", ssl_check_hostname=False)
            check("set", (r.set("t", "x" * 3000000), len(r.get("t"))), (True, 3000000))
            check("the plain port beside it", b.client().strlen("t"), 3000000)
            pipe = r.pipeline(transaction=False)
            for i in range(5000):
                pipe.incr("n")
            check("pipeline", pipe.execute()[-1], 5000)
            check("blocking", r.blpop("q", 0.1), None)
            plain = socket.create_connection(("127.0.0.1", port))
            plain.sendall(b"PING\r\n")
            plain.settimeout(5)
            check("no TLS, no service", b"PONG" in plain.recv(100), False)
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
            with old.wrap_socket(socket.create_connection(("127.0.0.1", port))) as s:
                check("TLS 1.2 or later", s.version() in ("TLSv1.2", "TLSv1.3"), True)
    finally:
        shutil.rmtree(folder)


def a_backend_that_is_lost(b):
    asked, quiet, blocked = b.raw(), b.raw(), b.raw()
    check("warm", (asked.call("SET", "a", "1"), quiet.call("GET", "a")), ("OK", b"1"))
    blocked.send("BLPOP", "q", "0")
    wait_for("blocked", lambda: b.direct().info("clients")["blocked_clients"] == 1)
    b.processes["legacy"].send_signal(19)  # SIGSTOP: what is asked now stays unanswered
    asked.send("INCR", "a")
    asked.send("PING")
    time.sleep(0.1)
    b.processes["legacy"].send_signal(18)
    check("nothing was lost by waiting", (asked.read(), asked.read()), (2, "PONG"))
    b.processes["legacy"].send_signal(19)
    asked.send_bytes(encode("PING") + encode("INCR", "a") + encode("PING"))
    check("what came before", asked.read(), "PONG")
    time.sleep(0.3)  # INCR has left, too
    b.stop("legacy", kill=True)
    check("an unanswered request closes its client (C21)", asked.is_closed(), True)
    check("a blocked one, too", blocked.is_closed(), True)
    check("others notice nothing", quiet.call("PING"), "PONG")
    quiet.send("SET", "b", "2")  # waits
    time.sleep(0.3)
    b.start_redis("legacy")
    check("and go on", (quiet.read(), quiet.call("GET", "b")), ("OK", b"2"))


def a_backend_that_does_not_come(b):
    c = b.raw()
    b.stop("legacy")  # a request before the gateway has seen it closes its client (C21)
    wait_for("it is seen", lambda: '"backend_up":false' in b.call_admin("GATEWAY", "STATS"))
    began = time.monotonic()
    check("an error in the end", c.call("SET", "a", "1").startswith("TRYAGAIN"), True)
    check("after max_blackout", time.monotonic() - began > 0.5, True)
    b.start_redis("legacy")
    wait_for("service", lambda: c.call("SET", "a", "1") == "OK")


def a_reader_that_does_not_read(b):
    b.direct().set("big", "x" * 1000000)
    slow, other = b.raw(), b.client()
    for _ in range(200):
        slow.send("GET", "big")
    for i in range(200):
        check("others go on", other.set("o", i), True)
    memory = int(open(f"/proc/{b.processes['gateway'].pid}/statm", encoding="ascii").read().split()[1]) * 4096
    check("memory for what was asked, and no more", memory < 400 << 20, True)
    check("all of it in the end", all(len(slow.read()) == 1000000 for _ in range(200)), True)


def clients_that_vanish(b):
    for _ in range(200):
        c = b.raw()
        c.send("SET", "v", "x" * 1000)
        c.send("GET", "v")
        c.send("BLPOP", "never", "0")
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        c.close()
    check("still there", b.client().ping(), True)
    wait_for("none blocked", lambda: b.direct().info("clients")["blocked_clients"] == 0)


def the_admin_socket(b):
    check("stats", '"primary":"legacy"' in b.call_admin("GATEWAY", "STATS"), True)
    c = b.raw()
    c.call("CLIENT", "SETNAME", "shown")
    check("clients", "name=shown" in b.call_admin("GATEWAY", "CLIENTS"), True)
    check("hold", b.call_admin("GATEWAY", "HOLD"), "OK")
    c.send("SET", "held", "1")
    time.sleep(0.2)
    check("nothing came", b.direct().get("held"), None)
    gone = b.raw()
    gone.send("SET", "gone", "1")
    time.sleep(0.1)
    gone.sock.shutdown(socket.SHUT_WR)
    check("who ends in a hold is let go", gone.is_closed(), True)
    check("release", b.call_admin("GATEWAY", "RELEASE").startswith("OK released"), True)
    check("answered", c.read(), "OK")
    check("and nothing of it happens later", b.direct().get("gone"), None)
    check("not held", "nothing is held" in b.call_admin("GATEWAY", "RELEASE"), True)
    check("pin", b.call_admin("GATEWAY", "PIN", "target").startswith("OK pinned"), True)
    check("at the target", (c.call("SET", "where", "t"), b.direct("target").get("where")), ("OK", b"t"))
    check("pin back", b.call_admin("GATEWAY", "PIN", "legacy").startswith("OK pinned"), True)
    check("at legacy", c.call("GET", "where"), None)
    check("unpin", b.call_admin("GATEWAY", "UNPIN"), "OK")
    check("mode of the socket", os.stat(b.admin).st_mode & 0o777, 0o600)


def count_requests(port):
    """Of legacy, by class and outcome."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60).read().decode()
    found = {}
    for side, kind, outcome, value in re.findall(r'drawbridge_requests_total\{.*?side="(\w+)",class="(\w+)",outcome="(\w+)"\} (\S+)', text):
        if side == "legacy":
            found[kind, outcome] = found.get((kind, outcome), 0) + int(float(value))
    return found, int(re.search(r"^drawbridge_gateway_overhead_seconds_count (\d+)", text, re.M).group(1))


def requests_by_outcome(b, port):
    before, overhead = count_requests(port)
    c = b.raw()
    for words in (("SET", "m", "text"), ("GET", "m"), ("GET", "m"), ("INCR", "m"), ("LPUSH", "m", "1"), ("KEYS", "*"), ("MULTI",), ("GET", "m"),
                  ("EXEC",), ("SET", "m", "2"), ("NOSUCH",), ("PING",)):
        c.send(*words)
    for _ in range(12):
        c.read()
    c.send("BLPOP", "nothing", "0")
    wait_for("it blocks", lambda: b.direct().info("clients")["blocked_clients"] == 1)
    b.direct().client_kill_filter(_type="normal", skipme=True)
    check("a lost connection", c.is_closed(), True)
    after, overhead_after = count_requests(port)
    grown = {what: after[what] - before[what] for what in after if after[what] != before[what]}
    check("requests", grown, {("read", "ok"): 3, ("write", "ok"): 2, ("write", "error"): 2, ("write", "lost"): 1, ("other", "ok"): 1,
                              ("other", "error"): 1})
    check("each was measured on both ways", overhead_after - overhead >= 2 * 9, True)
    wait_for("service again", lambda: b.client().ping() and b.client().get("m") == b"2")


def the_metrics(b, port):
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60).read()
    for name in (b"drawbridge_requests_total", b"drawbridge_request_duration_seconds_bucket", b"drawbridge_hold_seconds_count",
                 b"drawbridge_gateway_overhead_seconds_bucket",
                 b"drawbridge_epoch", b"drawbridge_gateway_clients", b"drawbridge_build_info"):
        check(name, name in text, True)
    if shutil.which("promtool"):
        run = subprocess.run(["promtool", "check", "metrics"], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        check("promtool", (run.returncode, run.stdout.decode()), (0, ""))


def too_many_clients(b):
    clients = [b.raw() for _ in range(100)]
    answers = []
    for c in clients:
        try:
            answers.append(c.call("PING"))
        except (OSError, EOFError):
            answers.append("closed")
    check("some are refused", 0 < sum(a != "PONG" for a in answers) < 60, True)


def wrong_configuration(b):
    def run(*words):
        from gwtest import PROGRAM
        return subprocess.run([PROGRAM, "gateway", *words], cwd=b.folder, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              timeout=60, check=False)
    check("no file", run().returncode, 2)
    check("not there", (run("nosuch.yaml").returncode, "nosuch.yaml" in run("nosuch.yaml").stderr), (2, True))
    taken = run("drawbridge.yaml", "--admin", f"unix:{b.folder}/none-of-this.sock", "--metrics", f"127.0.0.1:{b.legacy_port}")
    check("port in use", (taken.returncode, "in use" in taken.stderr), (1, True))
    second = run("drawbridge.yaml", "--admin", f"unix:{b.folder}/none-of-this.sock", "--metrics", "127.0.0.1:0")
    check("a second gateway does not share the first one's port",
          (second.returncode, f"listen on 127.0.0.1:{b.port}: address already in use" in second.stderr), (1, True))
    check("the first one has its loops", len({b.client().ping() for _ in range(20)}), 1)


def main():
    with_password()
    print("  passwords: fine", flush=True)
    with_tls()
    print("  TLS: fine", flush=True)
    port = free_port()
    with Bench(cutover="cutover: { max_blackout: 1s }") as b:
        a_backend_that_does_not_come(b)
        print("  a_backend_that_does_not_come: fine", flush=True)
    with Bench(target=True, gateway=f'  metrics: "127.0.0.1:{port}"\n  max_clients: 80', cutover="cutover: { max_blackout: 10m }") as b:
        for test in (a_backend_that_is_lost, a_reader_that_does_not_read, clients_that_vanish,
                     the_admin_socket, too_many_clients, wrong_configuration):
            test(b)
            print(f"  {test.__name__}: fine", flush=True)
        requests_by_outcome(b, port)
        the_metrics(b, port)
        print("  metrics: fine", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

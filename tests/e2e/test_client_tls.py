#!/usr/bin/env python3
"""test_client_tls.py -- our clients against a real redis-server with TLS and a password: the right
things work, and each wrong one is said in a clear sentence."""
import os, shutil, socket, subprocess, sys, tempfile, time

from ports import free_port


root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
tool = os.path.join(os.environ.get("BUILD", os.path.join(root, "build")), "tests/tools/redis_call")
failures = []

def call(*words):
    run = subprocess.run([tool, *words], capture_output=True, text=True, timeout=60, check=False,
                         env={**os.environ, "RIGHT": "open sesame", "WRONG": "hunter2"})
    return run.returncode, run.stdout

def expect(what, got, code, *texts):
    lines = got[1].splitlines()
    good = got[0] == code and len(lines) == 2 and all(t in line for t in texts for line in lines)
    if not good or "hunter2" in got[1] or "open sesame" in got[1]:
        failures.append(what)
        print(f"{what}: exit {got[0]}, expected {code} and {texts}:\n{got[1]}")

def start(certs, name, *more):
    port, tls = free_port(), free_port()
    c = lambda f: os.path.join(certs, f)
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--tls-port", str(tls), "--tls-cert-file", c(name + ".pem"),
         "--tls-key-file", c(name + ".key"), "--tls-ca-cert-file", c("ca.pem"), "--save", "",
         "--requirepass", "open sesame", "--dir", certs, *more], stdout=subprocess.DEVNULL)
    for _ in range(1200):
        try:
            socket.create_connection(("127.0.0.1", tls), 1).close()
            return server, port, tls
        except OSError:
            time.sleep(0.05)
    server.kill()
    raise SystemExit("redis-server did not start")

def main():
    certs = tempfile.mkdtemp(prefix="drawbridge-tls-")
    servers = []
    try:
        subprocess.run(["sh", os.path.join(root, "tests/support/make-certs.sh"), certs], check=True)
        c = lambda f: os.path.join(certs, f)
        right = ["--ca", c("ca.pem"), "--password", "env:RIGHT"]
        server, port, tls = start(certs, "server", "--tls-auth-clients", "no")
        servers.append(server)
        at = f"127.0.0.1:{tls}"
        for more in ([], ["--resp3"]):
            expect("right", call(*right, *more, at, "PING"), 0, "PONG")
            expect("name", call(*right, *more, at, "CLIENT GETNAME"), 0, "redis-call")
        expect("localhost", call(*right, f"localhost:{tls}", "ECHO", "hi"), 0, "hi")
        expect("user", call(*right, "--user", "default", at, "PING"), 0, "PONG")
        expect("error reply", call(*right, at, "NONSENSE"), 0, "ERR unknown command")
        expect("no password", call("--ca", c("ca.pem"), at, "PING"), 0, "NOAUTH")
        expect("wrong password", call("--ca", c("ca.pem"), "--password", "env:WRONG", at, "PING"), 1,
               "the peer refused", "WRONGPASS")
        expect("stranger", call("--ca", c("stranger-ca.pem"), at, "PING"), 1,
               "certificate is not accepted")
        expect("wrong name", call(*right, "--name", "another.example", at, "PING"), 1,
               "certificate is not accepted", "ostname mismatch")
        expect("no such CA", call("--ca", "/nonexistent/ca.pem", at, "PING"), 1,
               "the configuration is not valid", "/nonexistent/ca.pem")
        expect("TLS to a plain port", call(*right, f"127.0.0.1:{port}", "PING"), 1)
        expect("nobody there", call(*right, f"127.0.0.1:{free_port()}", "PING"), 1, "connection refused")

        server, port, tls = start(certs, "server", "--tls-auth-clients", "yes")
        servers.append(server)
        at = f"127.0.0.1:{tls}"
        expect("no client certificate", call(*right, at, "PING"), 1)
        expect("client certificate", call(*right, "--cert", c("client.pem"), "--key", c("client.key"), at,
                                          "PING"), 0, "PONG")
        server, port, tls = start(certs, "expired", "--tls-auth-clients", "no")
        servers.append(server)
        expect("expired", call(*right, f"127.0.0.1:{tls}", "PING"), 1, "certificate has expired")
    finally:
        for server in servers:
            server.terminate()
            server.wait()
        shutil.rmtree(certs)
    return 1 if failures else 0

sys.exit(main())

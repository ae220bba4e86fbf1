#!/usr/bin/python3
"""state.control as a port with TLS and certificates at both ends: the whole bridge there and back, state killed in between;
who shows no certificate, or one of another authority, or speaks no TLS, is nobody."""
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time

import redis
from bridge import PROGRAM, TOP, Bridge, free_port


class ControlTls(Bridge):
    def __init__(self):
        super().__init__("control-tls", target="bundled")
        self.ports["control"] = free_port()
        with open(os.path.join(self.folder, "drawbridge.yaml"), encoding="utf-8") as text:
            self.text = text.read()
        for name in ("certs", "others"):
            subprocess.run(["sh", os.path.join(TOP, "tests/support/make-certs.sh"), os.path.join(self.folder, name)], check=True,
                           stderr=subprocess.DEVNULL)
        self.configure("drawbridge.yaml", "ca: certs/ca.pem, cert: certs/server.pem, key: certs/server.key")
        self.configure("member.yaml", "ca: certs/ca.pem, cert: certs/client.pem, key: certs/client.key")
        self.configure("stranger.yaml", "ca: certs/ca.pem, cert: others/client.pem, key: others/client.key")
        self.configure("fooled.yaml", "ca: others/ca.pem, cert: certs/client.pem, key: certs/client.key")

    def configure(self, name, tls):
        control = f'control: "127.0.0.1:{self.ports["control"]}", tls: {{ {tls} }}'
        assert 'control: "unix:control.sock"' in self.text
        self.write(name, self.text.replace('control: "unix:control.sock"', control))

    def restart(self, role):
        """The members have a certificate of their own."""
        if role in ("gateway", "syncer"):
            self.commands[role] = (PROGRAM, role, "member.yaml")
        super().restart(role)

    def control(self, **options):
        return redis.Redis(port=self.ports["control"], socket_timeout=30, retry_on_timeout=False, **options)

    def secure(self, folder):
        return self.control(ssl=True, ssl_ca_certs=f"{self.folder}/certs/ca.pem", ssl_certfile=f"{self.folder}/{folder}/client.pem",
                            ssl_keyfile=f"{self.folder}/{folder}/client.key")

    def members(self):
        return {m["name"] for m in json.loads(self.secure("certs").execute_command("DRAWBRIDGE", "MEMBERS"))}


def is_refused(connection):
    try:
        connection.execute_command("DRAWBRIDGE", "EPOCH")
    except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError):
        return True
    return False


def wait_for(what, condition, timeout_s=300):
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.1)


def shown(b):
    """The certificate that the control port shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(f"{b.folder}/certs/ca.pem")
    context.load_cert_chain(f"{b.folder}/certs/client.pem", f"{b.folder}/certs/client.key")
    with socket.create_connection(("127.0.0.1", b.ports["control"]), timeout=30) as plain, context.wrap_socket(plain) as secure:
        return secure.getpeercert(True)


def the_certificate_is_read_again(b):
    def put(name):
        for end in ("pem", "key"):
            shutil.copy(f"{b.folder}/certs/{name}.{end}", f"{b.folder}/certs/server.{end}")

    def hang_up(word):
        before = b.log_tail("state", 10000).count(word)
        b.processes["state"].send_signal(signal.SIGHUP)
        wait_for(word, lambda: b.log_tail("state", 10000).count(word) > before)

    for end in ("pem", "key"):
        shutil.copy(f"{b.folder}/certs/server.{end}", f"{b.folder}/certs/first.{end}")
    first = shown(b)
    put("client")
    assert shown(b) == first, "nobody asked for it"
    hang_up("state.reloaded")
    second = shown(b)
    assert second != first
    b.write("certs/server.pem", "no certificate\n")
    hang_up("state.not_reloaded")
    assert shown(b) == second, "one that cannot be used takes the place of one that can"
    put("first")
    hang_up("state.reloaded")
    assert shown(b) == first
    assert b.members() == {"gateway", "syncer"}, "connections that stand go on"


with ControlTls() as b:
    b.fill(1000)
    clients = b.clients(2)
    wait_for("both are here", lambda: b.members() == {"gateway", "syncer"})
    assert b.secure("certs").execute_command("DRAWBRIDGE", "EPOCH")[1] == b"legacy"
    the_certificate_is_read_again(b)
    assert is_refused(b.control()), "a plain connection is answered"
    assert is_refused(b.control(ssl=True, ssl_ca_certs=f"{b.folder}/certs/ca.pem")), "no certificate, and an answer"
    assert is_refused(b.secure("others")), "a stranger's certificate, and an answer"
    for name, words in (("stranger", "control.task_lost"), ("fooled", "certificate is not accepted")):
        process = b.start(name, PROGRAM, "gateway", f"{name}.yaml", "--name", name, "--listen", f"127.0.0.1:{free_port()}",
                          "--admin", f"unix:{name}.sock")
        wait_for(f"{name} says why", lambda n=name, w=words: w in b.log_tail(n, 100))
        time.sleep(0.7)  # it dials again, and again
        assert b.members() == {"gateway", "syncer"}, b.members()
        assert "control.joined" not in b.log_tail(name, 1000)
        assert b.end(process) == 0
    b.write("none.yaml", b.text.replace('control: "unix:control.sock"', f'control: "127.0.0.1:{b.ports["control"]}", tls: {{ ca: certs/ca.pem }}'))
    done = subprocess.run([PROGRAM, "syncer", "none.yaml"], cwd=b.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=60, check=False)
    assert done.returncode == 2 and "state.tls.cert is missing" in done.stdout, done

    b.verb("start", "--yes")
    b.wait_ready()
    assert b.move("cutover")["primary"] == "target"
    b.kill("state")
    time.sleep(0.5)
    b.restart("state")
    b.wait_gates()
    assert b.move("rollback")["primary"] == "legacy"
    b.wait_ready()
    b.check_clients(clients)
    b.wait_gates()
    b.audit()
    b.check_equal()
    if shutil.which("redis-cli"):  # every part can be looked at with it
        def told():
            return subprocess.run(["redis-cli", "--tls", "-p", str(b.ports["control"]), "--cacert", "certs/ca.pem", "--cert", "certs/client.pem",
                                   "--key", "certs/client.key", "DRAWBRIDGE", "EPOCH"], cwd=b.folder, stdout=subprocess.PIPE, text=True,
                                  check=True).stdout.split()
        wait_for(f"the phase of the status: {told()}", lambda: told() == ["3", "legacy", b.status()["phase"]])

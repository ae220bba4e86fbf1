#!/usr/bin/python3
"""state.control as a port with TLS and certificates at both ends: the whole bridge there and back, state killed in between;
who shows no certificate, or one of another authority, or speaks no TLS, is nobody."""
import json
import os
import shutil
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
        return redis.Redis(port=self.ports["control"], socket_timeout=5, retry_on_timeout=False, **options)

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


def wait_for(what, condition, timeout_s=20):
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.1)


with ControlTls() as b:
    b.fill(1000)
    clients = b.clients(2)
    wait_for("both are here", lambda: b.members() == {"gateway", "syncer"})
    assert b.secure("certs").execute_command("DRAWBRIDGE", "EPOCH")[1] == b"legacy"
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
                          timeout=20, check=False)
    assert done.returncode == 2 and "state.tls.cert is missing" in done.stdout, done

    b.verb("start", "--yes")
    b.wait_ready()
    assert b.verb("cutover", "--yes", "--wait")["primary"] == "target"
    b.kill("state")
    time.sleep(0.5)
    b.restart("state")
    b.wait_gates()
    assert b.verb("rollback", "--yes", "--wait")["primary"] == "legacy"
    b.wait_ready()
    b.check_clients(clients)
    b.wait_gates()
    b.audit()
    b.check_equal()
    if shutil.which("redis-cli"):  # every part can be looked at with it
        told = subprocess.run(["redis-cli", "--tls", "-p", str(b.ports["control"]), "--cacert", "certs/ca.pem", "--cert", "certs/client.pem",
                               "--key", "certs/client.key", "DRAWBRIDGE", "EPOCH"], cwd=b.folder, stdout=subprocess.PIPE, text=True, check=True).stdout
        assert told.split() == ["3", "legacy", b.status()["phase"]], told

#!/usr/bin/python3
"""Capture lane, two gateways, and TLS between all of our roles: `state.control` and both `gateway.peer` are ports with TLS that ask
for certificates. Cutover and rollback while clients of both write; who shows no certificate at a peer's port, or one of another
authority, or speaks no TLS, is nobody; a new certificate is read on SIGHUP.
"""
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time

from bridge import HIDDEN, PROGRAM, TOP, Bridge, free_port
from test_lanes_many import all_level, begin, equal, turned, wait, with_writers

HELLO = b"*3\r\n$5\r\nHELLO\r\n$7\r\ngateway\r\n$1\r\n1\r\n"


class Tls(Bridge):
    def __init__(self):
        super().__init__("lanes-tls", target="redis", legacy_options=HIDDEN, capture="lane", gateways=2, max_hold="20s")
        for name in ("control", "peer", "peer2"):
            self.ports[name] = free_port()
        for name in ("certs", "others"):
            subprocess.run(["sh", os.path.join(TOP, "tests/support/make-certs.sh"), os.path.join(self.folder, name)], check=True,
                           stderr=subprocess.DEVNULL)
        for gateway in ("gateway", "gateway2"):  # each with a certificate of its own, so that it can be changed
            for end in ("pem", "key"):
                shutil.copy(f"{self.folder}/certs/server.{end}", f"{self.folder}/certs/{gateway}.{end}")
        with open(os.path.join(self.folder, "drawbridge.yaml"), encoding="utf-8") as file:
            self.text = file.read()
        self.write("drawbridge.yaml", self.with_tls("server"))
        for gateway, peer in (("gateway", "peer"), ("gateway2", "peer2")):
            text = self.with_tls(gateway)
            assert text.count("gateway: {") == 1, text
            self.write(f"{gateway}.yaml", text.replace("gateway: {", f'gateway: {{ peer: "127.0.0.1:{self.ports[peer]}", witness: off,'))

    def with_tls(self, name):
        assert self.text.count('control: "unix:control.sock"') == 1, self.text
        return self.text.replace('control: "unix:control.sock"', f'control: "127.0.0.1:{self.ports["control"]}", '
                                 f'tls: {{ ca: certs/ca.pem, cert: certs/{name}.pem, key: certs/{name}.key }}')

    def restart(self, role):
        if role in ("gateway", "gateway2"):
            words = [w for w in self.commands[role] if w != "--peer" and not w.endswith(".peer")]
            self.commands[role] = tuple(words[:2]) + (f"{role}.yaml",) + tuple(words[3:])
        super().restart(role)


def context(b, cert=None, authority="certs"):
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    found.load_verify_locations(f"{b.folder}/{authority}/ca.pem")
    if cert:
        found.load_cert_chain(f"{b.folder}/{cert}.pem", f"{b.folder}/{cert}.key")
    return found


def said(b, port, how):
    """What a peer's port answers to a HELLO: a visitor with a certificate is heard, nobody else. Returns the bytes, or the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        try:
            stream = how.wrap_socket(plain, server_hostname="127.0.0.1") if how else plain
            stream.sendall(HELLO)
            stream.settimeout(60)
            return stream.recv(100)
        except socket.timeout:
            return "it listens"
        except (ssl.SSLError, ConnectionError):
            return b""


def shown(b, port):
    how = context(b, "certs/client")
    how.check_hostname = False
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, \
            how.wrap_socket(plain) as secure:
        return secure.getpeercert(True)


def who_is_nobody(b):
    for port in (b.ports["peer"], b.ports["peer2"]):
        assert said(b, port, None) == b"", "plain words are answered"
        assert said(b, port, context(b)) == b"", "no certificate, and it listens"
        assert said(b, port, context(b, "others/client")) == b"", "a stranger's certificate, and it listens"


def a_new_certificate(b):
    def put(name):
        for end in ("pem", "key"):
            shutil.copy(f"{b.folder}/certs/{name}.{end}", f"{b.folder}/certs/gateway2.{end}")

    port = b.ports["peer2"]
    first = shown(b, port)
    put("client")
    assert shown(b, port) == first, "nobody asked for it"
    b.processes["gateway2"].send_signal(signal.SIGHUP)
    wait("the new certificate is shown", lambda: shown(b, port) != first, 180)
    second = shown(b, port)
    b.write("certs/gateway2.pem", "no certificate\n")
    b.processes["gateway2"].send_signal(signal.SIGHUP)
    wait("it says that it cannot", lambda: "gateway.not_reloaded" in b.log_tail("gateway2", 1000), 180)
    assert shown(b, port) == second, "one that cannot be used takes the place of one that can"
    put("server")
    b.processes["gateway2"].send_signal(signal.SIGHUP)
    wait("the first one is shown again", lambda: shown(b, port) == first, 180)


def a_gateway_of_strangers(b):
    """It knows where all is, and has a certificate of another authority: state does not let it in, and so no peer does."""
    text = b.with_tls("x").replace("certs/x.", "others/client.").replace("gateway: {", f'gateway: {{ peer: "127.0.0.1:{free_port()}",')
    b.write("stranger.yaml", text)
    process = b.start("stranger", PROGRAM, "gateway", "stranger.yaml", "--name", "stranger", "--listen", f"127.0.0.1:{free_port()}", "--admin", "unix:stranger.sock")
    wait("it hears that it is nobody", lambda: "control.task_lost" in b.log_tail("stranger", 100), 180)
    assert "control.joined" not in b.log_tail("stranger", 1000)
    assert b.end(process) == 0


def main():
    with Tls() as b:
        gates = begin(b, 500)
        clients = [b.clients(2), b.clients(2, port="gateway2", first=10)]
        who_is_nobody(b)
        a_gateway_of_strangers(b)
        a_new_certificate(b)
        b.verb("gates", "waive", "audit", "--reason", "the test walks over both sides itself", "--for", "1h")
        for verb in ("cutover", "rollback"):
            turned(b, verb)
        for some in clients:
            b.check_clients(some)

        def kill_one(writers):  # and connect to it anew
            time.sleep(1)
            b.kill("gateway2")
            time.sleep(0.3)
            b.restart("gateway2")
            wait("it is back", lambda: min(gate.lanes()["owned_slots"] for gate in gates) > 5000)
            time.sleep(1)
            wait("each client writes", lambda: all(w.done > 20 for w in writers))

        writers = with_writers(b, gates, kill_one)
        assert all(w.done > 20 for w in writers), [w.done for w in writers]
        equal(b, gates)
        assert all_level(gates)


if __name__ == "__main__":
    sys.exit(main())

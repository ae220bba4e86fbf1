#!/usr/bin/python3
"""The gateway's TLS port alone: its certificate is swapped while clients work, by SIGHUP and by GATEWAY RELOAD; what
cannot be used changes nothing; the metric follows."""
import os
import shutil
import signal
import ssl
import subprocess
import time
import urllib.request

import redis

from gwtest import PROGRAM, TOP, Bench, check, free_port, wait_for


class TlsBench(Bench):
    """A gateway without a plain port (gateway.listen is left out)."""

    def __init__(self):
        self.tls_port, self.metrics_port = free_port(), free_port()
        super().__init__(gateway=f"""  metrics: "127.0.0.1:{self.metrics_port}"
  tls: {{ listen: "127.0.0.1:{self.tls_port}", cert: server.pem, key: server.key }}""")
        path = os.path.join(self.folder, "drawbridge.yaml")
        with open(path, encoding="utf-8") as text:
            lines = [line for line in text if f'listen: "127.0.0.1:{self.port}"' not in line]
        with open(path, "w", encoding="utf-8") as out:
            out.writelines(lines)
        for name in ("one", "two"):  # two authorities, each with a certificate for the same server
            subprocess.run(["sh", os.path.join(TOP, "tests/support/make-certs.sh"), os.path.join(self.folder, name)], check=True,
                           stderr=subprocess.DEVNULL)
            time.sleep(1.1)  # so that they end at different seconds
        self.install("one")

    def install(self, name):
        for file in ("server.pem", "server.key"):
            shutil.copy(os.path.join(self.folder, name, file), os.path.join(self.folder, file + ".new"))
            os.rename(os.path.join(self.folder, file + ".new"), os.path.join(self.folder, file))

    def start_gateway(self):
        self.start("gateway", PROGRAM, "gateway", "drawbridge.yaml")
        wait_for("the gateway", lambda: self.secure("one").ping())

    def secure(self, authority):
        return redis.Redis(host="localhost", port=self.tls_port, ssl=True, ssl_ca_certs=os.path.join(self.folder, authority, "ca.pem"),
                           ssl_check_hostname=True)

    def trusts(self, authority):
        """Several connections, so that each loop is met."""
        outcomes = set()
        for _ in range(12):
            try:
                outcomes.add(self.secure(authority).ping())
            except redis.exceptions.ConnectionError as error:
                assert "CERTIFICATE_VERIFY_FAILED" in str(error), error
                outcomes.add(False)
        return outcomes

    def not_after(self, name):
        text = subprocess.run(["openssl", "x509", "-enddate", "-noout", "-in", os.path.join(self.folder, name, "server.pem")],
                              check=True, stdout=subprocess.PIPE, text=True).stdout
        return int(ssl.cert_time_to_seconds(text.strip().split("=")[1]))

    def metric(self):
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=60).read().decode()
        values = [line.split()[1] for line in text.splitlines() if line.startswith("drawbridge_tls_not_after_timestamp_seconds")]
        check("one value", len(values), 1)
        return int(float(values[0]))


with TlsBench() as b:
    check("the first certificate", (b.trusts("one"), b.trusts("two")), ({True}, {False}))
    check("its end", b.metric(), b.not_after("one"))
    standing = b.secure("one")
    check("a connection", standing.set("a", 1), True)

    b.install("two")
    check("nothing happens by itself", b.trusts("one"), {True})
    b.processes["gateway"].send_signal(signal.SIGHUP)
    wait_for("SIGHUP to be heard", lambda: b.metric() == b.not_after("two"))
    wait_for("every loop", lambda: b.trusts("two") == {True})
    check("the old one is gone", b.trusts("one"), {False})
    check("connections go on", standing.incr("a"), 2)

    b.install("one")
    check("by the admin socket", b.call_admin("GATEWAY", "RELOAD"), f"OK the certificate ends at {b.not_after('one')}")
    wait_for("every loop", lambda: b.trusts("one") == {True} and b.metric() == b.not_after("one"))

    with open(os.path.join(b.folder, "server.pem"), "w", encoding="utf-8") as out:
        out.write("no certificate\n")
    answer = b.call_admin("GATEWAY", "RELOAD")
    assert answer.startswith("ERR the old certificate stays: ") and "server.pem" in answer, answer
    shutil.copy(os.path.join(b.folder, "two", "server.pem"), os.path.join(b.folder, "server.pem"))  # and the key of one
    answer = b.call_admin("GATEWAY", "RELOAD")
    assert answer.startswith("ERR the old certificate stays: ") and "server." in answer, answer
    b.processes["gateway"].send_signal(signal.SIGHUP)
    wait_for("the log to say so", lambda: "gateway.not_reloaded" in b.log())
    check("the old one stays", (b.trusts("one"), b.metric()), ({True}, b.not_after("one")))
    check("connections go on", standing.incr("a"), 3)

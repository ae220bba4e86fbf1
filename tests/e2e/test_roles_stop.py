#!/usr/bin/python3
"""Every role ends in order on SIGTERM, also when nobody whom it wants to talk to is there."""
import os
import signal
import subprocess
import tempfile
import time

from bridge import PROGRAM, free_port

CONFIG = """\
migration: alone
legacy: {{ address: "127.0.0.1:{legacy}" }}
target: {{ address: "127.0.0.1:{target}" }}
gateway: {{ listen: "127.0.0.1:{gateway}" }}
syncer: {{ spool: {{ dir: spool }} }}
state: {{ ledger: ledger.db, control: "unix:control.sock", api: "unix:api.sock" }}
run_dir: .
"""


def catches(pid, number):
    """It has a handler for the signal; or, as `up`, it blocked it before it started anybody (that mask is not seen while it waits)."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        masks = [int(line.split()[1], 16) for line in status if line.startswith(("SigCgt:", "SigBlk:"))]
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
        return any(mask >> (number - 1) & 1 for mask in masks) or children.read() != ""


with tempfile.TemporaryDirectory(prefix="drawbridge-stop-") as folder:
    with open(os.path.join(folder, "drawbridge.yaml"), "w", encoding="utf-8") as out:
        out.write(CONFIG.format(legacy=free_port(), target=free_port(), gateway=free_port()))
    for role in (("gateway", "drawbridge.yaml"), ("syncer", "drawbridge.yaml"), ("state", "drawbridge.yaml"),
                 ("server", "--port", str(free_port())), ("up", "drawbridge.yaml")):
        process = subprocess.Popen([PROGRAM, *role], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not catches(process.pid, signal.SIGTERM):
            time.sleep(0.05)
        time.sleep(1.5)
        assert process.poll() is None, f"{role[0]} ended by itself with {process.returncode}"
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(180)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"{role[0]} does not end") from None
        assert code == 0, f"{role[0]} ended with {code}"
        print(f"{role[0]} ends")

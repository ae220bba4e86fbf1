#!/usr/bin/python3
"""BullMQ through the gateway, during a cutover and a rollback: no error, no lost or doubled job.

Once from a real Redis to another, once to the bundled server, whose scripts, streams and blocking commands then carry
the queues.
"""
import json
import os
import subprocess
import time

import npm
from bridge import TOP, Bridge

CLIENTS = os.path.join(TOP, "tests", "clients")


def move(target):
    with Bridge("bullmq-" + target, target=target) as b:
        b.fill(1000)
        enough = os.path.join(b.folder, "enough")
        queue = subprocess.Popen(["node", os.path.join(CLIENTS, "queue.js"), str(b.ports["gateway"]), "15"],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "QUEUE_UNTIL": enough})
        try:
            b.verb("start", "--yes")
            b.wait_phase("level", audit=True)
            b.move("cutover")
            time.sleep(3)
            b.move("rollback")
            time.sleep(1)
            b.write("enough", "")
            out, _ = queue.communicate(timeout=180)
        finally:
            queue.kill()
        print(target, out)
        assert queue.returncode == 0, out
        assert json.loads(out.strip().splitlines()[-1])["added"] > 100


def main():
    npm.install()
    for target in ("redis", "bundled"):
        move(target)


if __name__ == "__main__":
    main()

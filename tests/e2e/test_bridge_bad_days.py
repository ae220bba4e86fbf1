#!/usr/bin/python3
"""Bad days of the whole bridge: the source restarts, the state is stopped across a barrier and goes on later."""
import subprocess
import threading
import time

from bridge import Bridge


def source_restarts(target):
    """Legacy shuts down in order, with its data, and comes back: its clients see that, the bridge goes on by itself."""
    with Bridge(f"source-{target}", target=target) as b:
        b.fill(6000)
        b.verb("start", "--yes")
        b.wait_ready()
        subprocess.run(["redis-cli", "-p", str(b.ports["legacy"]), "shutdown", "save"], check=False, capture_output=True)
        b.processes["legacy"].wait(180)
        time.sleep(1)
        b.restart("legacy")
        clients = b.clients(2)
        time.sleep(2)
        b.wait_ready()
        b.move("cutover")
        b.check_clients(clients)
        b.wait_gates()
        b.audit()
        b.check_equal()


def state_stops_in_the_hold(target):
    """SIGSTOP of state at a random moment around the commit of a barrier, for a second: clients wait, and that is all."""
    with Bridge(f"state-{target}", target=target) as b:
        b.fill(3000)
        clients = b.clients(2)
        b.verb("start", "--yes")
        b.wait_ready()
        for verb in ("cutover", "rollback", "cutover"):
            b.wait_gates()
            if verb == "cutover":
                b.wait_ready()
            delay_s = b.random.random() * 0.3

            def freeze(delay_s=delay_s):
                time.sleep(delay_s)
                b.pause("state")
                time.sleep(1)
                b.go_on("state")

            thread = threading.Thread(target=freeze)
            thread.start()
            result = b.verb(verb, "--yes", "--wait", wanted=(0, 3, 8))
            thread.join()
            wanted = {"cutover": "target", "rollback": "legacy"}[verb]
            if result.get("primary") != wanted:  # the deadline passed while state slept: undone, and said so
                b.wait_gates()
                b.move(verb)
            time.sleep(1)
        b.check_clients(clients)
        b.wait_gates()
        b.audit()
        b.check_equal()


def state_dies_in_the_hold(target):
    """kill -9 of state at a random moment around the commit; started again after a second."""
    with Bridge(f"state-dies-{target}", target=target) as b:
        b.fill(3000)
        clients = b.clients(2)
        b.verb("start", "--yes")
        for verb in ("cutover", "rollback", "cutover"):
            b.wait_ready() if verb == "cutover" else b.wait_gates()
            call = threading.Thread(target=lambda v=verb: b.attempt(v, "--yes", "--wait"))
            call.start()
            time.sleep(b.random.random() * 0.3)
            b.kill("state")
            time.sleep(1)
            b.restart("state")
            call.join()
            status = b.wait_phase("level", "following", "guarded")
            if status["primary"] != {"cutover": "target", "rollback": "legacy"}[verb]:
                b.wait_ready() if verb == "cutover" else b.wait_gates()
                b.move(verb)
            time.sleep(1)
        b.check_clients(clients)
        b.wait_gates()
        b.audit()
        b.check_equal()


for kind in ("redis", "bundled"):
    source_restarts(kind)
    state_stops_in_the_hold(kind)
    state_dies_in_the_hold(kind)

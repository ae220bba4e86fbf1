#!/usr/bin/python3
"""The scenario of the demo in small: there, back, and there again, with live clients; towards both kinds of target."""
import time

from bridge import Bridge


def scenario(target):
    with Bridge(f"bridge-{target}", target=target) as b:
        b.fill(9000)
        clients = b.clients(3)
        b.verb("check", wanted=(0, 3))
        b.verb("start", "--yes")
        b.wait_phase("level", audit=True)
        for verb, primary in (("cutover", "target"), ("rollback", "legacy"), ("cutover", "target")):
            if primary == "target":
                b.wait_ready()
            before = b.status()["epoch"]
            result = b.move(verb, "--reason", "test")
            assert result["primary"] == primary, result
            assert b.status()["epoch"] > before
            time.sleep(2)
            b.audit()
        b.check_clients(clients)
        b.check_equal()
        b.verb("complete", "--yes", "--wait")
        assert b.status()["phase"] == "completed"
        events = b.verb("ledger", "events")["events"]
        phases = [e["to"] for e in events if e.get("to")]
        for phase in ("copying", "following", "level", "cutting-over", "guarded", "rolling-back", "completed"):
            assert phase in phases, (phase, phases)
        b.verb("ledger", "verify")


scenario("redis")
scenario("bundled")

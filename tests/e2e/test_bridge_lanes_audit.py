#!/usr/bin/python3
"""`drawbridge audit` when PSYNC is hidden (C29): the gateway's lanes compare, `state` keeps what they found.

With live clients: the audit makes the migration level; what a stranger did at the target is listed by `audit diff`, is made good
by `audit repair`, and closes the gate meanwhile. A gateway that is killed in an audit begins again; `state`, too.
"""
import json
import sys
import time

import redis

from bridge import HIDDEN, Bridge, Direct
from servers import run_tests, wait_until


class Lanes(Bridge):
    def __init__(self, name):
        super().__init__(name, legacy_options=HIDDEN, capture="lane")

    def __enter__(self):
        super().__enter__()
        wait_until("state answers", self.answers)
        return self

    def answers(self):
        try:
            return self.status()["phase"]
        except SystemExit:
            return None

    def target(self, db=0):
        return Direct(port=self.ports["target"], db=db)

    def gate(self, name):
        return next(g for g in self.status()["gates"] if g["id"] == name)


def test_an_audit_by_the_lanes_makes_level_and_differences_are_repaired():
    with Lanes("audit-lanes") as b:
        b.fill(3000)
        clients = b.clients(2, ops_per_s=80)
        b.verb("start", "--yes")
        b.wait_phase("following", "level", timeout_s=300)
        clean = b.audit()
        with redis.Redis(unix_socket_path=b.folder + "/gateway.sock") as admin:
            undecided = json.loads(admin.execute_command("GATEWAY", "AUDIT", "SHOW"))["undecided_keys"]
        assert undecided == [], undecided
        assert clean["outcome"] == "equal" and clean["slots"] == 16384 and clean["keys"] >= 3000, clean
        assert b.gate("audit")["state"] == "pass", b.gate("audit")
        b.target().set("stranger", "was here")
        b.target().execute_command("RESTORE", "fill:0", 0, b.target(1).dump("fill:1003") or b.target().dump("fill:5"), "REPLACE")
        found = b.audit(wanted=2)
        assert found["outcome"] == "different", found
        listed = b.verb("audit", "diff", wanted=(5,))["differences"]
        assert sorted(d["key"] for d in listed) == ["fill:0", "stranger"], listed
        assert {d["key"]: d["kind"] for d in listed}["stranger"] == "extra", listed
        assert b.gate("audit")["state"] == "fail", b.gate("audit")
        b.verb("audit", "repair", "--yes")
        again = {}
        for _ in range(20):
            again = b.verb("audit", "start", "--wait", "--yes", wanted=(0, 5))
            if again["differences"] == 0:
                break
        assert again["outcome"] == "equal", again
        assert b.target().get("stranger") is None
        b.check_clients(clients)
        b.audit()
        b.check_equal()


def test_a_gateway_and_a_state_that_die_in_an_audit_begin_it_again():
    with Lanes("audit-lanes-kill") as b:
        b.fill(30000)
        b.verb("start", "--yes")
        b.wait_phase("following", "level", timeout_s=300)
        b.audit()
        for victim in ("state", "gateway"):
            before = b.verb("audit", "start", "--yes")["audit"]
            b.kill(victim)
            time.sleep(0.3)
            b.restart(victim)
            until = time.monotonic() + 180
            audit = {}
            while time.monotonic() < until:
                try:
                    audit = b.status().get("audit") or {}
                except SystemExit:
                    audit = {}
                if audit.get("audit", 0) >= before:
                    break
                time.sleep(0.1)
            assert audit.get("audit") == before, (victim, audit)
            # The gateway's journal survives kill -9, so its lanes need not copy all keys again; if they had to, the audit says so.
            assert audit["outcome"] == "equal" or (audit["outcome"] == "failed" and audit["error"]), json.dumps(audit)
            print(victim, audit["outcome"], audit["error"])
        b.wait_phase("following", "level", timeout_s=300)
        assert b.audit()["outcome"] == "equal"


def test_verbs_of_a_link_say_what_there_is_instead():
    with Lanes("audit-verbs") as b:
        b.verb("start", "--yes")
        b.wait_phase("following", "level", timeout_s=300)
        for words, instead in ((("pause",), "drawbridge abort"), (("resume",), "no link"), (("throttle", "--ops", "100"), "GATEWAY AUDIT START KEYS")):
            told = b.verb(*words, wanted=(3,))
            assert "with capture lane there is no link" in told["error"] and instead in told["error"], told
        assert b.audit()["outcome"] == "equal"


if __name__ == "__main__":
    sys.exit(run_tests(sys.modules[__name__]))

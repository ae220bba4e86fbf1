#!/usr/bin/python3
"""`drawbridge reads`: a share of the reads goes to the target while both sides are level, and only then; shadow reads show what
differs, with the keys. With capture stream, and with capture lane."""
import sys
import time

import redis

from bridge import HIDDEN, Bridge, Direct
from servers import run_tests, wait_until


FIGURES = ("shadow_same", "shadow_different", "shadow_late", "canary_answered")


def answers(b):
    try:
        return b.status()["phase"]
    except SystemExit:
        return None


def run(name, **options):
    with Bridge(name, **options) as b:
        wait_until("state answers", lambda: answers(b))
        b.fill(2000)
        b.verb("start", "--yes")
        b.wait_phase("following", timeout_s=300)
        said = b.verb("reads", "--target", "50%")
        assert said["wanted"] == "50%" and said["effective"] == "primary", said  # not level: nobody has audited
        b.wait_ready()
        wait_until("the share is in effect", lambda: b.verb("reads")["effective"] == "50%")
        b.kill("state")
        b.restart("state")
        wait_until("a new state knows what was wanted", lambda: answers(b) and b.verb("reads")["wanted"] == "50%")
        wait_until("the share is in effect again", lambda: b.verb("reads")["effective"] == "50%")
        clients = [redis.Redis(port=b.ports["gateway"]) for _ in range(6)]
        one = clients[0]
        one.set("text", "one")

        def figure(what):
            told = wait_until("the gateway has told", lambda: b.verb("reads", wanted=(0, 5))["gateways"].get("gateway"))
            return told[what]

        def at_rest():
            """What was answered or compared, when nothing is under way any more."""
            while True:
                before = [figure(what) for what in FIGURES]
                time.sleep(3)
                if before == [figure(what) for what in FIGURES]:
                    return before

        def read():
            for c in clients:
                for i in range(20):
                    assert c.get("text") == b"one"
        time.sleep(3)  # whoever wrote is answered by legacy for a while
        read()
        wait_until("some were answered by the target", lambda: read() or figure("canary_answered") > 50)
        wait_until("shadow reads are in effect", lambda: b.verb("reads", "--target", "shadow")["effective"] == "shadow")
        read()
        wait_until("answers were compared", lambda: read() or figure("shadow_same") > 50)
        assert figure("shadow_different") == 0
        with Direct(port=b.ports["target"]) as target:
            # again and again: with capture stream the standby link has the key copied as soon as it sees the stranger (C26)
            wait_until("the difference is seen", lambda: target.set("text", "two") and read() or figure("shadow_different") > 0)
        shown = b.verb("reads", wanted=(5,))
        assert [d["key"] for d in shown["gateways"]["gateway"]["differences"]][0] == "text", shown
        assert shown["gateways"]["gateway"]["commands"]["get"]["different"] > 0, shown
        said = b.verb("reads", "--target", "primary", wanted=(0, 5))
        assert said["effective"] == "primary", said
        b.verb("reads", "--target", "sometimes", wanted=(2,))
        before = at_rest()
        read()
        assert at_rest() == before


def test_reads_with_capture_stream():
    run("reads-stream")


def test_reads_with_capture_lane():
    run("reads-lane", legacy_options=HIDDEN, capture="lane")


if __name__ == "__main__":
    sys.exit(run_tests(sys.modules[__name__]))

#!/usr/bin/python3
"""Slots go from one gateway to another while somebody writes round both of them (C22, C22b).

What he writes behind the last fence of the witness of the gateway that ends, and before the other one has the table, is named to
that one, which keeps it while it holds. With BREAK=c22b (tests/tools/broken.c) this finds differences.
"""
import sys
import threading
import time

import redis

from test_lanes_handover import comes_back, hand_over
from test_lanes_many import begin, bridge, equal, wait


class Stranger(threading.Thread):
    """Writes round the gateways, each key once: nothing later makes good what nobody was told of."""

    def __init__(self, b):
        super().__init__(daemon=True)
        self.r, self.done, self.stopping = redis.Redis(port=b.ports["legacy"]), 0, False

    def run(self):
        while not self.stopping:
            with self.r.pipeline(transaction=False) as p:
                for _ in range(8):
                    p.set(f"stranger:{self.done}", self.done)
                    self.done += 1
                p.execute()
            time.sleep(0.001)


def test_what_a_stranger_writes_meanwhile_is_named_to_one_of_the_two():
    """C22: behind the last fence of the gateway that ends, and before the other one has the table."""
    with bridge("handover-stranger", target="bundled", lanes=2) as b:
        gates = begin(b, 500)
        wait("all lanes are level", lambda: all(gate.lanes()["level"] for gate in gates))
        stranger = Stranger(b)
        stranger.start()
        wait("the stranger writes", lambda: stranger.done > 200)
        for staying, leaving in ((0, 1), (1, 0)):
            hand_over(b, gates, staying, leaving)
            comes_back(b, gates, gates[leaving].role, leaving)
        stranger.stopping = True
        stranger.join(180)
        assert not stranger.is_alive()
        equal(b, gates)
        print(stranger.done, "keys of a stranger")


if __name__ == "__main__":
    from servers import run_tests
    sys.exit(run_tests(sys.modules[__name__]))

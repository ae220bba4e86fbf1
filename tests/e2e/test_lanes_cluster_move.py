#!/usr/bin/python3
"""test_lanes_cluster_move.py -- a migration from a Redis Cluster to one server, with state: what check says, two gateways under
load while a slot is moved, an audit, the gate that says that lanes lead no way back, a gateway that did not confirm is fenced at
every node, and the cutover: the target has what the Cluster had, and nothing is written to the Cluster after it.
"""
import sys

import redis

import bridge
from cluster_nodes import Cluster, slot_of
from servers import run_tests, wait_until
from test_lanes_cluster import TAGS, Writer
from walk import walk


class ClusterBridge(bridge.Bridge):
    """Its legacy side is the first node of a Cluster that runs already."""

    def __init__(self, name, cluster_of, **options):
        super().__init__(name, capture="auto", psync="PSYNC", lanes=2, **options)
        self.servers, self.path = [], self.folder  # as servers.Folder
        self.cluster = cluster_of(self)
        self.ports["legacy"] = self.cluster.nodes[0].port
        self.write("drawbridge.yaml", bridge.CONFIG.format(server=f"server:  {{ port: {self.ports['target']}, dir: server }}", max_hold="20s", capture="auto",
                                                           psync="PSYNC", lanes=2, **self.ports))

    def restart(self, role):
        if role != "legacy":
            super().restart(role)

    def __exit__(self, kind, *rest):
        for server in self.servers:
            server.kill()
        super().__exit__(kind, *rest)


class Door:
    """A gateway, for a Writer."""

    def __init__(self, b, name):
        self.b, self.name = b, name

    def client(self):
        return redis.Redis(port=self.b.ports[self.name], socket_timeout=60)


def gate(status, name):
    return next(g for g in status["gates"] if g["id"] == name)


def gateways_at(node):
    return {c["name"].split(":")[1] for c in node.client().client_list() if c["name"].startswith("drawbridge-gw:")}


def test_a_cluster_is_moved_to_one_server():
    with ClusterBridge("lanes-cluster-move", lambda b: Cluster(b, 3), gateways=2) as b:
        for n in range(500):
            b.cluster.owner(slot_of(f"old{n}")).client().set(f"old{n}", n)
        checked = b.verb("check", wanted=(0,))
        said = {f["id"]: f for f in checked["findings"]}
        assert said["legacy.cluster"]["level"] == "warn" and "way back: none by lanes" in said["legacy.cluster"]["text"], said["legacy.cluster"]
        assert "capture lane" in said["capture"]["text"], said["capture"]
        writers = [Writer(Door(b, name), b.seed + n, pause=0.03) for n, name in enumerate(("gateway", "gateway2", "gateway"))]
        for w in writers:
            w.start()
        b.verb("start", "--yes")
        b.wait_phase("following", "level", timeout_s=180)
        # One that sleeps is fenced at every node, before its slots go to the other.
        wait_until("both gateways are connected to every node", lambda: all(len(gateways_at(node)) == 2 for node in b.cluster.nodes), 180)
        b.pause("gateway2")
        wait_until("it has no connection at any node", lambda: not any("second" in gateways_at(node) for node in b.cluster.nodes), 180)
        b.go_on("gateway2")
        wait_until("it is back at every node", lambda: all("second" in gateways_at(node) for node in b.cluster.nodes), 180)
        before = [w.done for w in writers]
        wait_until("each client has gone on", lambda: all(w.done > d + 5 for w, d in zip(writers, before)) or any(w.wrong for w in writers))
        for w in writers:  # some were cut off by that, and some when slots were dealt out at the start
            w.broken = 0
        for tag in TAGS[:3]:
            b.cluster.move(slot_of(tag))
        status = b.wait_phase("following", timeout_s=180)
        back = gate(status, "way-back")
        assert back["state"] == "fail" and "legacy is a Cluster" in back["observed"], back
        assert not status["gates_open"]
        refused = b.verb("cutover", "--yes", "--wait", wanted=(0, 1, 2, 3, 4, 5))
        assert "outcome" not in refused, refused
        b.verb("gates", "waive", "way-back", "--reason", "nobody wants to go back to the Cluster", "--for", "1h")
        b.verb("gates", "waive", "bypass", "--reason", "the test looks at the nodes itself", "--for", "1h")
        b.wait_phase("level", timeout_s=180, audit=True)
        b.settled()
        turned = b.verb("cutover", "--yes", "--wait", wanted=(0, 3))
        assert turned.get("outcome") == "completed", turned
        wait_until("no gateway is connected to a node", lambda: not any(gateways_at(node) for node in b.cluster.nodes))
        before = {}
        for node in b.cluster.nodes:
            before.update(walk(node.port))
        done = [w.done for w in writers]
        wait_until("each client writes on", lambda: all(w.done > d + 20 for w, d in zip(writers, done)) or any(w.wrong for w in writers))
        for w in writers:
            w.stop()
        assert sum(w.broken for w in writers) == 0, [w.last for w in writers]
        after = {}
        for node in b.cluster.nodes:
            after.update(walk(node.port))
        assert set(after) <= set(before) and all(after[k] == before[k] for k in after), "something was written to the Cluster after the cutover"
        print(f"  held for {turned['hold_ms']:.1f} ms, {sum(w.done for w in writers)} commands, {len(before)} keys at the Cluster")


if __name__ == "__main__":
    sys.exit(run_tests(sys.modules[__name__]))

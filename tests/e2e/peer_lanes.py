"""peer_lanes.py -- a whole migration by lanes with a server of another version as legacy, which hides PSYNC, SYNC, CONFIG and DEBUG.

Clients write at random what effect_maker.py knows (what the version does not know is an error there). Connections are broken, the
target stands still, the gateway is killed; then everything again behind the cutover, when the old server follows, and behind the
rollback. After each turn the lanes come to be level, and peers.py walks both sides.
"""
import time

import redis

from bridge import HIDDEN, Bridge
from lanes_load import LoadClient
from peers import differences, survives, walk
from servers import Folder, RedisServer
from test_effects import plain_zeros
from test_lanes_many import wait

PTTL_MS = 50  # before 7.0 a deadline is the sum of two looks at the clock


class PeerClient(LoadClient):
    version = (7, 0, 0)

    def ask(self, wire, commands):
        super().ask(wire, [c if survives(self.version, c) else ["PING"] for c in commands])


class Turns:
    def __init__(self, b, peer, third, seconds):
        self.b, self.peer, self.third, self.seconds, self.load, self.round = b, peer, third, seconds, [], 0
        self.commands = 0

    def start(self):
        self.round += 1
        self.load = [PeerClient(self.b.ports["gateway"], self.b.seed + 100 * self.round + i, self.third.port, gentle=True) for i in range(4)]
        for client in self.load:
            client.version = self.peer.version
            client.start()

    def progress(self, text, commands=100):
        before = sum(c.done for c in self.load)
        wait(text, lambda: sum(c.done for c in self.load) > before + commands, 60)

    def trouble(self, other):
        """OTHER: the side that follows."""
        b = self.b
        time.sleep(self.seconds)
        for side in ("legacy", "target"):
            with redis.Redis(port=b.ports[side]) as r:
                for client in r.client_list():
                    if client["name"].startswith("drawbridge") and b.random.random() < 0.5:
                        r.execute_command("CLIENT", "KILL", "ADDR", client["addr"])
            self.progress("clients go on after broken connections")
        b.pause(other)
        self.progress("clients go on while the other side stands still")
        b.go_on(other)
        time.sleep(self.seconds)
        b.kill("gateway")
        b.restart("gateway")
        self.progress("clients go on with a new gateway", 300)
        time.sleep(self.seconds)

    def stop(self):
        for client in self.load:
            client.stopping.set()
        for client in self.load:
            client.join(60)
            assert not client.is_alive(), "a client waits for ever"
            assert client.wrong is None, client.wrong
        self.commands += sum(c.done for c in self.load)

    def equal(self, what):
        b = self.b
        b.wait_lanes(90)
        time.sleep(1.6)  # what was about to expire has
        found = differences(*(plain_zeros(walk(b.ports[side])) for side in ("legacy", "target")), PTTL_MS)
        assert not found, f"{what}: legacy | target\n" + "\n".join(found)

    def turn(self, verb):
        b = self.b
        for _ in range(20):
            b.settled(90)
            result = b.verb(verb, "--yes", "--wait", wanted=(0, 3))
            if result.get("outcome") == "completed":
                return
        raise AssertionError(f"{verb}: {result}")


def functions_close_the_way_back(b):
    with redis.Redis(port=b.ports["gateway"]) as r:
        r.execute_command("FUNCTION", "LOAD", "REPLACE", "#!lua name=here\nredis.register_function('here', function(k, a) return 1 end)")
        wait("the gate says why", lambda: any(g["id"] == "clean" and g["state"] == "fail" and "FUNCTION" in g["why"] for g in b.status()["gates"]), 20)
        r.execute_command("FUNCTION", "FLUSH")


def no_way_back(b, said):
    """Told before the cutover, and after it nothing is written to the old server."""
    assert said["legacy.lanes"]["level"] == "warn" and "cannot bring writes back" in said["legacy.lanes"]["text"], said
    wait("the gate says so", lambda: any(g["id"] == "way-back" and g["state"] == "fail" and "older than 5.0" in g["observed"] for g in b.status()["gates"]), 20)
    b.verb("gates", "waive", "way-back", "--reason", "this is about going there", "--for", "2h")
    b.settled(90)
    assert b.verb("cutover", "--yes", "--wait", wanted=(0, 3)).get("outcome") == "completed"
    with redis.Redis(port=b.ports["gateway"]) as r, redis.Redis(port=b.ports["legacy"]) as legacy:
        r.set("after", "the cutover")
        time.sleep(2)
        assert legacy.get("after") is None
        status = b.status()
        assert not status["gates_open"], "a way back that cannot be"
        refused = b.verb("rollback", "--yes", "--wait", wanted=tuple(range(1, 9)))
        assert refused.get("outcome") != "completed", refused


def migrate(peer, seconds):
    with Folder("peer-third") as folder, Bridge("peer-lanes", programs={"legacy": peer.path}, legacy_options=HIDDEN, capture="lane", lanes=2, max_hold="5s") as b:
        said = {f["id"]: f for f in b.verb("check", wanted=tuple(range(9)))["findings"]}
        if peer.version < (3, 0, 0):
            assert said["legacy.lanes"]["level"] == "fail", said
            print(f"    {peer.name} as legacy of lanes: refused by check", flush=True)
            return
        b.fill(2000)
        t = Turns(b, peer, RedisServer(folder, "third"), seconds)
        b.verb("start", "--yes")
        t.start()
        b.wait_phase("following", "level", timeout_s=90)
        t.trouble("target")
        t.stop()
        t.equal("to ours")
        b.verb("gates", "waive", "audit", "--reason", "the test walks over both sides itself", "--for", "2h")
        if peer.version < (5, 0, 0):
            no_way_back(b, said)
            print(f"    {peer.name} as legacy of lanes: {t.commands} commands; there is no way back, as check and gate say", flush=True)
            return
        for verb, other in (("cutover", "legacy"), ("rollback", "target")):
            t.start()
            time.sleep(seconds)
            t.turn(verb)
            t.trouble(other)
            t.stop()
            if verb == "cutover" and peer.version < (7, 0, 0):
                functions_close_the_way_back(b)
            t.equal(f"after {verb}")
        found = b.verb("audit", "start", "--wait", "--yes", wanted=(0, 5))
        assert found.get("differences") == 0, found
        print(f"    {peer.name} as legacy of lanes: there and back, {t.commands} commands, witness {b.status()['lanes']['witness']}", flush=True)

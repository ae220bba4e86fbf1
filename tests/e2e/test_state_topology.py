#!/usr/bin/python3
"""test_state_topology.py -- state tells the nodes of a cluster of ours who serves what: at their start, when they come back with nothing,
when the file has a new version; what somebody changed by hand is left alone and named. Seen by python3-redis and ioredis."""
import json, logging, os, signal, subprocess, sys

import npm
import redis
from redis.cluster import RedisCluster

from servers import Folder, Ours, PROGRAM, TOP, free_port, run_tests, wait_until
from test_cluster import key_in, raw

OPTIONS = ("--cluster-enabled", "yes")
logging.disable()


class State:
    """A state whose file has a cluster; legacy and target are nobody."""

    def __init__(self, folder, nodes, epoch):
        self.folder = folder
        self.config = os.path.join(folder.path, "drawbridge.yaml")
        self.log = os.path.join(folder.path, "state.log")
        self.ports = free_port(), free_port()
        self.write(nodes, epoch)
        folder.servers.append(self)
        self.start()

    def write(self, nodes, epoch):
        lines = "".join(f"    {line}\n" for line in nodes)
        with open(self.config, "w", encoding="utf-8") as out:
            out.write(f"migration: cluster\nlegacy: {{ address: '127.0.0.1:{self.ports[0]}' }}\ntarget: {{ address: '127.0.0.1:{self.ports[1]}' }}\n"
                      f"state: {{ ledger: {self.folder.path}/ledger.db }}\nrun_dir: {self.folder.path}\n"
                      f"topology:\n  epoch: {epoch}\n  nodes: |\n{lines}")

    def start(self):
        with open(self.log, "a", encoding="utf-8") as out:
            self.process = subprocess.Popen([PROGRAM, "state", self.config], stdout=out, stderr=out)

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def said(self, words):
        return words in open(self.log, errors="replace").read()

    def run(self, *words):
        env = dict(os.environ, DRAWBRIDGE_API=os.path.join(self.folder.path, "api.sock"))
        return subprocess.run([PROGRAM, *words], env=env, capture_output=True, text=True, timeout=180, check=False).stdout

    def topology(self):
        out = self.run("status", "--output", "json")
        return json.loads(out).get("topology") if out else None  # a state that is not there yet answers with an error

    def states(self):
        topology = self.topology()
        return topology and {node["name"]: node["state"] for node in topology["nodes"]}

    def wait(self, states):
        return wait_until(f"nodes are {states}", lambda: self.states() == states)

    def metrics(self):
        return subprocess.run(["curl", "-s", "--unix-socket", os.path.join(self.folder.path, "api.sock"), "http://x/metrics"],
                              capture_output=True, text=True, check=True).stdout


def three(folder):
    nodes = [Ours(folder, f"node{n}", *OPTIONS) for n in range(3)]
    lines = [f"n{n} 127.0.0.1:{node.port} {slots}" for n, (node, slots) in enumerate(zip(nodes, ("0-5460", "5461-10922", "10923-16383")))]
    return nodes, lines


CONFIRMED = {"n0": "confirmed", "n1": "confirmed", "n2": "confirmed"}


def load(nodes):
    client = RedisCluster(host="127.0.0.1", port=nodes[0].port)
    for n in range(500):
        client.set(f"key:{n}", n)
    assert all(client.get(f"key:{n}") == str(n).encode() for n in range(500))
    assert sum(node.client().dbsize() for node in nodes[:3]) >= 500 and all(node.client().dbsize() > 50 for node in nodes[:3])
    client.close()


def test_a_cluster_out_of_the_file():
    npm.install()
    with Folder("topology") as folder:
        nodes, lines = three(folder)
        state = State(folder, lines, 1)
        state.wait(CONFIRMED)
        load(nodes)
        done = subprocess.run(["node", os.path.join(TOP, "tests", "clients", "cluster.js"), "ioredis", str(nodes[1].port), "1"],
                              capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        text = state.metrics()
        assert "drawbridge_topology_epoch 1\n" in text and 'drawbridge_topology_node_confirmed{node="n2"} 1\n' in text, text
        assert 'drawbridge_topology_nodes{state="confirmed"} 3\n' in text, text
        assert "cluster epoch 1, 3 of 3 nodes have it" in state.run("status")
        assert "all 3 nodes have the topology of epoch 1" in state.run("ledger", "events")


def test_a_node_that_comes_back_with_nothing_is_told_again():
    with Folder("topology-restart") as folder:
        nodes, lines = three(folder)
        state = State(folder, lines, 4)
        state.wait(CONFIRMED)
        nodes[2].kill()
        away = wait_until("it is away", lambda: (t := state.topology()) and t["confirmed"] == 2 and t["nodes"][2])
        assert away["state"] == "away" and away["why"] and away["epoch"] == 0, away
        assert "n2" in state.run("status") and 'drawbridge_topology_node_confirmed{node="n2"} 0\n' in state.metrics()
        os.unlink(os.path.join(nodes[2].dir, "nodes.conf"))
        nodes[2].start()
        state.wait(CONFIRMED)
        load(nodes)
        nodes[1].kill()
        nodes[1].start()  # with its file: nothing to be told
        state.wait(CONFIRMED)
        state.kill()
        state.start()  # and to a new state the nodes have it already
        state.wait(CONFIRMED)
        load(nodes)


def test_a_new_version_moves_slots_and_adds_a_replica():
    with Folder("topology-reload") as folder:
        nodes, lines = three(folder)
        state = State(folder, lines, 1)
        state.wait(CONFIRMED)
        load(nodes)
        replica = Ours(folder, "replica", *OPTIONS)
        state.write([*lines, f"r 127.0.0.1:{replica.port} replica-of n1"], 2)
        state.reload()
        state.wait({**CONFIRMED, "r": "confirmed"})
        wait_until("it has its master's keys", lambda: replica.client().dbsize() == nodes[1].client().dbsize() > 50)
        reader = RedisCluster(host="127.0.0.1", port=nodes[0].port, read_from_replicas=True)
        assert {node.port for node in reader.get_replicas()} == {replica.port}
        assert reader.get("key:1") == b"1"
        reader.close()
        # What is no newer version is not taken, and the state goes on with what it has.
        state.write(lines, 2)
        state.reload()
        wait_until("it says so", lambda: state.said("topology.epoch: found 2; another topology needs more than 2"))
        state.write(["n0 127.0.0.1:1 0-3"], 1)
        state.reload()
        wait_until("it says so", lambda: state.said("topology.epoch: found 1"))
        state.write(["n0 127.0.0.1:1 0-3 x"], 9)
        state.reload()
        wait_until("it says so", lambda: state.said("line 1: expected a slot"))
        assert state.topology()["epoch"] == 2 and state.topology()["confirmed"] == 4


def test_what_was_changed_by_hand_is_left_alone():
    with Folder("topology-hand") as folder:
        nodes, lines = three(folder)
        state = State(folder, lines, 3)
        state.wait(CONFIRMED)
        ids = [node["id"] for node in state.topology()["nodes"]]
        # A slot moves by hand, as redis-cli --cluster reshard does it.
        raw(nodes[1], "CLUSTER", "SETSLOT", 100, "IMPORTING", ids[0])
        raw(nodes[0], "CLUSTER", "SETSLOT", 100, "MIGRATING", ids[1])
        state.wait({**CONFIRMED, "n0": "different", "n1": "different"})
        for node in (nodes[1], nodes[0], nodes[2]):
            raw(node, "CLUSTER", "SETSLOT", 100, "NODE", ids[1])
        state.wait({"n0": "different", "n1": "newer", "n2": "different"})
        seen = state.topology()["nodes"]
        assert seen[1]["epoch"] == 4 and "it has epoch 4, the file has 3" in seen[1]["why"], seen
        assert raw(nodes[1], "SET", key_in(100), "x") == b"OK"
        # An old state that comes back changes nothing; a file with a higher epoch does.
        state.kill()
        state.start()
        state.wait({"n0": "different", "n1": "newer", "n2": "different"})
        assert raw(nodes[1], "GET", key_in(100)) == b"x"
        state.write([lines[0].replace("0-5460", "0-99 101-5460"), lines[1] + " 100", lines[2]], 5)
        state.reload()
        state.wait(CONFIRMED)
        client = RedisCluster(host="127.0.0.1", port=nodes[2].port)
        assert client.get(key_in(100)) == b"x"
        client.close()


class Listener:
    """Hears one channel at one node."""

    def __init__(self, node, channel, sharded=False, readonly=False):
        self.client = redis.Redis(port=node.port)
        self.connection = self.client.connection_pool.get_connection("x")
        if readonly:
            self.ask("READONLY")
        self.ask("SSUBSCRIBE" if sharded else "SUBSCRIBE", channel)

    def ask(self, *words):
        self.connection.send_command(*words)
        return self.connection.read_response()

    def heard(self, count):
        """COUNT messages, and no more after them."""
        got = []
        while self.connection.can_read(timeout=180 if len(got) < count else 0.2):
            got.append(self.connection.read_response()[2])
        return got

    def close(self):
        self.connection.disconnect()


def test_what_is_published_at_one_node_is_heard_at_all_once():
    with Folder("topology-publish") as folder:
        nodes, lines = three(folder)
        replica = Ours(folder, "replica", *OPTIONS)
        state = State(folder, [*lines, f"r 127.0.0.1:{replica.port} replica-of n1"], 1)
        state.wait({**CONFIRMED, "r": "confirmed"})
        everyone = [*nodes, replica]
        listeners = [Listener(node, "news") for node in everyone]
        for n, node in enumerate(everyone):
            assert raw(node, "PUBLISH", "news", f"from {n}") == 1
        wanted = {b"from 0", b"from 1", b"from 2", b"from 3"}
        for listener in listeners:
            got = listener.heard(4)
            assert len(got) == 4 and set(got) == wanted, got
        # By a script, in a transaction, and after the topology has changed.
        raw(nodes[0], "EVAL", "return redis.call('PUBLISH', 'news', 'script')", 0)
        with nodes[0].client().pipeline() as pipe:
            pipe.publish("news", "one").publish("news", "two").execute()
        raw(nodes[0], "CLUSTER", "BUMPEPOCH")
        raw(nodes[0], "PUBLISH", "news", "three")
        for listener in listeners:
            assert listener.heard(4) == [b"script", b"one", b"two", b"three"]
        # A node that was away hears what is published once it is back.
        nodes[2].kill()
        raw(nodes[0], "PUBLISH", "news", "lost")
        nodes[2].start()
        listeners[2].close()
        listeners[2] = Listener(nodes[2], "news")

        def arrives():
            raw(nodes[0], "PUBLISH", "news", "again")
            return listeners[2].heard(0)

        wait_until("the node that came back hears", arrives)
        assert listeners[1].heard(2)[:2] == [b"lost", b"again"]
        for listener in listeners:
            listener.close()


def test_shard_channels_stay_in_their_shard():
    with Folder("topology-spublish") as folder:
        nodes, lines = three(folder)
        replica = Ours(folder, "replica", *OPTIONS)
        state = State(folder, [*lines, f"r 127.0.0.1:{replica.port} replica-of n1"], 1)
        state.wait({**CONFIRMED, "r": "confirmed"})
        channel = key_in(6000)
        here, there, elsewhere = Listener(nodes[1], channel, sharded=True), Listener(replica, channel, sharded=True), Listener(nodes[0], channel)
        assert raw(nodes[1], "SPUBLISH", channel, "x") == 1
        assert here.heard(1) == [b"x"] and there.heard(1) == [b"x"]
        assert raw(replica, "SPUBLISH", channel, "y") == 1
        assert here.heard(1) == [b"y"] and there.heard(1) == [b"y"] and elsewhere.heard(0) == []
        info = raw(nodes[1], "CLUSTER", "INFO").decode()
        assert "cluster_stats_messages_publish_sent:1\r\n" in info, info
        for listener in (here, there, elsewhere):
            listener.close()


def test_who_is_no_node_of_ours_is_named():
    with Folder("topology-refused") as folder:
        plain = Ours(folder, "plain")
        secret = Ours(folder, "secret", *OPTIONS, "--requirepass", "x", start=False)
        secret.start(wait=False)
        state = State(folder, [f"a 127.0.0.1:{plain.port} 0-9", f"b 127.0.0.1:{secret.port} 10", f"c 127.0.0.1:{free_port()}"], 1)
        state.wait({"a": "refused", "b": "refused", "c": "away"})
        nodes = state.topology()["nodes"]
        assert "cluster support disabled" in nodes[0]["why"] and "NOAUTH" in nodes[1]["why"], nodes
        assert "16373 slots without a node" in state.run("status")
        bad, run_dir = os.path.join(folder.path, "bad.yaml"), os.path.join(folder.path, "bad")
        os.mkdir(run_dir)
        with open(bad, "w", encoding="utf-8") as out:
            out.write(open(state.config, encoding="utf-8").read().replace(folder.path, run_dir).replace("epoch: 1", "epoch: 0"))
        done = subprocess.run([PROGRAM, "state", bad], capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 1 and "topology.epoch is missing" in done.stderr, done


if __name__ == "__main__":
    run_tests(sys.modules[__name__])

#!/usr/bin/python3
"""Real servers of other versions, in the folder that PEERS names (peers.py): as replicas and masters of ours, their files and ours.

    PEERS=/folder test_other_versions.py [--long] [part of a test's name] ... [--only 5.0]

Without PEERS nothing is run. What was seen with which version: docs/VERSIONS.md."""
import os
import shutil
import subprocess
import sys
import time

import redis
from peers import Peer, PeerLoad, absent, differences, peers, walk
from servers import Folder, Ours, Relay, wait_until

LONG = "--long" in sys.argv
SECONDS = 4 if LONG else 1
OLDEST = ((2, 8), (3, 2), (4, 0), (5, 0), (6, 0), (6, 2), (7, 0))
RDB = {(2, 8): 6, (3, 2): 7, (4, 0): 8, (5, 0): 9, (6, 2): 9, (7, 0): 10, (7, 2): 10, (8, 0): 10}
SCRIPTS = (
    "for i = 1, 5 do redis.call('INCR', 'n' .. i) end return redis.call('SET', KEYS[1], ARGV[1])",
    "for i = 1, 3 do redis.call('RPUSH', KEYS[2], math.random(1000000)) end return redis.call('LLEN', KEYS[2])",
    "local all = redis.call('SMEMBERS', KEYS[3]) for i, m in ipairs(all) do redis.call('SET', KEYS[1], m) end return #all",
    "redis.call('SET', KEYS[1], 'before an error') return redis.call('LPUSH', KEYS[1], 'x')",
    "redis.call('SET', KEYS[1], cjson.encode({a = ARGV[1]}) .. struct.pack('>I', 7)) redis.call('PEXPIRE', KEYS[1], 20000) return 1",
    "redis.call('SELECT', 2) redis.call('SET', KEYS[1], tostring(0.1 + 0.2)) return redis.sha1hex('x')",
)


class ScriptLoad(PeerLoad):
    """Scripts without chance, as Redis before 5.0 sends them to its replicas word by word."""

    def knows(self, words):
        """Redis before 6.0 tells its replicas INCRBYFLOAT as a SET, and they lose the deadline; so do stock ones."""
        keeps = self.made_for >= (6, 0) or not str(words[1] if len(words) > 1 else "").startswith("f") or words[0] not in ("PEXPIRE", "EXPIRE", "PEXPIREAT")
        return keeps and super().knows(words)

    def one(self):
        r = self.random
        if r.random() < 0.06:
            return ("EVAL", r.choice(SCRIPTS), 3, f"s{r.randrange(self.keys)}", f"l{r.randrange(self.keys)}", f"e{r.randrange(self.keys)}", f"v{r.random()}")
        return super().one()


def oldest_for(peer):
    fitting = [v for v in OLDEST if v <= peer.version[:2]]
    return "{}.{}".format(*fitting[-1])


def offset(server):
    info = server.info("replication")
    return info["master_repl_offset"] if info["role"] == "master" else info["slave_repl_offset"]


def wait_linked(replica):
    wait_until(f"{replica.log}: the link is up", lambda: replica.info("replication")["master_link_status"] == "up", 40)


def evict(server):
    r = server.client()
    r.config_set("maxmemory", max(r.info("memory")["used_memory"] - 100_000, 1))
    time.sleep(0.1)
    r.config_set("maxmemory", 0)


def check_equal(what, tolerance_ms, master, *replicas):
    for i in range(25):
        master.client().set(f"sure{i}", i)
    for replica in replicas:
        wait_until(f"{replica.log} has everything", lambda: offset(replica) >= offset(master))
    want = walk(master.port, password=master.password)
    for replica in replicas:
        found = differences(want, walk(replica.port), tolerance_ms)
        if found:  # something may have been on its way
            time.sleep(1)
            found = differences(walk(master.port, password=master.password), walk(replica.port), tolerance_ms)
        assert not found, f"{what}: master | replica\n" + "\n".join(found)
    return len(want)


def life(folder, master, replica, relay, made_for, start_load, tolerance_ms):
    """Under load: links that break, evictions, the replica restarted and killed. How many partial syncs there were of how many breaks."""
    before = master.info("stats")
    for round_ in range(3):
        load = start_load(folder.seed + round_)
        load.start()
        time.sleep(SECONDS / 2)
        relay.cut()
        time.sleep(0.2)
        relay.open()
        wait_linked(replica)
        evict(master)
        time.sleep(SECONDS / 2)
        load.stop()
        keys = check_equal(f"after break {round_}", tolerance_ms, master, replica)
    stats = master.info("stats")
    partial = stats["sync_partial_ok"] - before["sync_partial_ok"]
    assert partial == 3 and stats["sync_full"] == before["sync_full"], f"3 breaks: {partial} partial syncs, {stats['sync_full'] - before['sync_full']} full ones"
    return keys


def restart(folder, master, replica, start_load, tolerance_ms, how):
    load = start_load(folder.seed + 10)
    load.start()
    if how == "kill":
        replica.kill()
    else:
        replica.shutdown("SAVE")
    replica.start(wait=False)
    wait_until("it answers again", lambda: replica.client().ping())
    wait_linked(replica)
    time.sleep(SECONDS / 2)
    load.stop()
    check_equal(f"after {how}", tolerance_ms, master, replica)


def test_a_replica_of_ours(peer):
    for diskless in ("yes", "no"):
        with Folder("peer-replica") as folder:
            master = Ours(folder, "master", "--repl-backlog-size", "64mb", "--repl-ping-replica-period", "1", "--maxmemory-policy", "allkeys-lru",
                          "--oldest-replica", oldest_for(peer), "--repl-diskless-sync", diskless)
            relay = Relay(master.port)
            start_load = lambda seed: PeerLoad(master, seed, streams=peer.version >= (5, 0, 0), more=True, keys=60)
            load = start_load(folder.seed)
            load.swaps = peer.version >= (4, 0, 0)
            load.start()
            time.sleep(SECONDS)
            replica = peer(folder, "replica", "--slaveof", "127.0.0.1", str(relay.port), *(("--repl-diskless-load", "swapdb") if diskless == "yes" and peer.version >= (6, 0, 0) else ()))
            wait_linked(replica)
            load.stop()
            check_equal("after the full sync", 0, master, replica)
            fulls = master.info("stats")["sync_full"]
            def quiet(seed):
                load = start_load(seed)
                load.swaps = peer.version >= (4, 0, 0)
                return load
            keys = life(folder, master, replica, relay, (7, 0), quiet, 0)
            fulls = master.info("stats")["sync_full"]
            restart(folder, master, replica, quiet, 0, "a restart")
            goes_on = master.info("stats")["sync_full"] == fulls
            assert goes_on == (peer.version >= (4, 0, 0)), f"a clean restart of {peer.name}: partial {goes_on}"
            restart(folder, master, replica, quiet, 0, "kill")
            r = master.client()
            r.set("waited", "for")
            assert r.wait(1, 5000) == 1
            r.config_set("min-replicas-to-write", 1)
            r.set("still", "written")
            replica.kill()
            wait_until("it is gone", lambda: master.info("replication")["connected_slaves"] == 0)
            try:
                r.set("x", 1)
                raise AssertionError("written without a replica")
            except redis.ResponseError as error:
                assert "NOREPLICAS" in str(error), error
            print(f"    {peer.name}, {'diskless' if diskless == 'yes' else 'by a file'}: {keys} keys equal, partial syncs after breaks{' and a restart' if goes_on else ''}", flush=True)


def test_a_master_of_ours(peer):
    for diskless, load_from in (("no", "disabled"), ("yes", "swapdb")):
        with Folder("peer-master") as folder:
            tolerance = 0 if peer.version >= (7, 0, 0) else 60000  # spans of time, counted from when they come: also after a break
            master = peer(folder, "master", "--repl-backlog-size", "64mb", "--repl-ping-slave-period", "1", "--maxmemory-policy", "allkeys-lru", "--requirepass", "secret",
                          "--repl-diskless-sync", diskless, start=False)
            master.password = "secret"
            master.start()
            old = peer.version < (7, 0, 0)
            start_load = lambda seed: ScriptLoad(master, seed, made_for=peer.version, streams=True, more=True, keys=60)
            load = start_load(folder.seed)
            load.start()
            time.sleep(SECONDS)
            relay = Relay(master.port)
            ours = Ours(folder, "ours", "--replicaof", "127.0.0.1", str(relay.port), "--masterauth", "secret", "--repl-diskless-load", load_from)
            wait_linked(ours)
            load.stop()
            check_equal("after the full sync", tolerance, master, ours)
            keys = life(folder, master, ours, relay, peer.version, start_load, tolerance)
            fulls = master.info("stats")["sync_full"]
            restart(folder, master, ours, start_load, tolerance, "a restart")
            goes_on = master.info("stats")["sync_full"] == fulls
            restart(folder, master, ours, start_load, tolerance, "kill")
            r = master.client()
            r.set("waited", "for")
            if peer.version >= (3, 0, 0):
                assert r.execute_command("WAIT", 1, 5000) == 1
            print(f"    {peer.name}, {'diskless' if diskless == 'yes' else 'by a file'}: {keys} keys equal, partial syncs after breaks{' and a restart' if goes_on else ''}", flush=True)


def test_chains_and_failover(peer):
    """peer <- ours <- peer; then FAILOVER from ours to the peer and back (6.2 and later), else REPLICAOF NO ONE."""
    if peer.version < (4, 0, 0):
        print(f"    {peer.name}: not tried: it does not learn from an RDB which database the stream of a replica stands in", flush=True)
        return
    with Folder("peer-chain") as folder:
        slow = 0 if peer.version >= (7, 0, 0) else 60000
        top = peer(folder, "top", "--repl-ping-slave-period", "3600")
        load = ScriptLoad(top, folder.seed, made_for=peer.version, more=True, keys=60)
        load.start()
        middle = Ours(folder, "middle", "--replicaof", "127.0.0.1", str(top.port), "--repl-ping-replica-period", "3600", "--oldest-replica", oldest_for(peer))
        wait_linked(middle)
        bottom = peer(folder, "bottom", "--slaveof", "127.0.0.1", str(middle.port), "--repl-ping-slave-period", "3600")
        wait_linked(bottom)
        time.sleep(SECONDS)
        load.stop()
        check_equal("a chain", slow, top, middle, bottom)
        fulls = middle.info("stats")["sync_full"]
        middle.client().execute_command("REPLICAOF", "NO", "ONE")
        wait_linked(bottom)
        middle.client().set("after", "promotion")
        wait_until("the write arrives", lambda: bottom.client().get("after") == b"promotion")
        psync2 = peer.version >= (4, 0, 0)
        assert not psync2 or middle.info("stats")["sync_full"] == fulls, "a promotion costs the replica a full sync"
        top.client().execute_command("SLAVEOF", "127.0.0.1", str(middle.port))
        wait_linked(top)
        wait_until("the former master has the write", lambda: top.client().get("after") == b"promotion")
        went_on = middle.info("stats")["sync_full"] == fulls
        if peer.version >= (6, 2, 0):
            middle.client().execute_command("FAILOVER", "TO", "127.0.0.1", top.port, "TIMEOUT", 20000)
            wait_until("the peer is the master", lambda: top.info("replication")["role"] == "master" and middle.info("replication")["role"] == "slave")
            wait_linked(middle)
            top.client().set("by", "the peer")
            wait_until("ours has it", lambda: middle.client().get("by") == b"the peer")
            top.client().execute_command("FAILOVER", "TO", "127.0.0.1", middle.port, "TIMEOUT", 20000)
            wait_until("ours is the master", lambda: middle.info("replication")["role"] == "master" and top.info("replication")["role"] == "slave")
            wait_linked(top)
            middle.client().set("by", "ours")
            wait_until("all have it", lambda: top.client().get("by") == bottom.client().get("by") == b"ours")
            assert middle.info("stats")["sync_full"] + top.info("stats")["sync_full"] <= fulls + 2 + (not went_on), "a failover costs a full sync"
        check_equal("at the end", slow, middle, top, bottom)
        print(f"    {peer.name}: a chain, a promotion (the former master {'goes on' if went_on else 'copies anew'}){', FAILOVER both ways' if peer.version >= (6, 2, 0) else ''}", flush=True)


def test_renamed_commands(peer):
    """A master that hides commands, or gives them other names: it sends these names, so ours has to have them too, as stock replicas."""
    with Folder("peer-renamed") as folder:
        hidden = ("--rename-command", "CONFIG", "", "--rename-command", "FLUSHALL", "otherwise", "--rename-command", "DEBUG", "")
        master = peer(folder, "master", *hidden)
        master.client().set("a", 1)
        ours = Ours(folder, "ours", "--replicaof", "127.0.0.1", str(master.port), "--rename-command", "FLUSHALL", "otherwise")
        wait_linked(ours)
        master.client().execute_command("otherwise")
        master.client().set("b", 2)
        wait_until("it has both", lambda: ours.client().keys() == [b"b"])
        print(f"    {peer.name}: renamed commands", flush=True)


def test_tls(peer):
    """Both ways over TLS, where the peer has it."""
    if peer.version < (6, 0, 0):
        return
    from test_server_tls import certificates, tls_options  # pylint: disable=import-outside-toplevel
    with Folder("peer-tls") as folder:
        cert = certificates(folder)
        options = lambda port: (*tls_options(cert, port), "--tls-replication", "yes")
        ports = [Ours(folder, f"probe{i}", start=False).port for i in range(2)]
        try:
            there = peer(folder, "there", *options(ports[0]))
        except AssertionError as error:
            print(f"    {peer.name}: this build has no TLS ({str(error)[-80:].strip()})", flush=True)
            return
        ours = Ours(folder, "ours", *options(ports[1]), "--replicaof", "127.0.0.1", str(ports[0]))
        wait_linked(ours)
        there.client().set("a", 1)
        wait_until("ours has it", lambda: ours.client().get("a") == b"1")
        ours.client().execute_command("REPLICAOF", "NO", "ONE")
        there.client().execute_command("REPLICAOF", "127.0.0.1", ports[1])
        wait_linked(there)
        ours.client().set("b", 1)
        wait_until("the peer has it", lambda: there.client().get("b") == b"1")
        print(f"    {peer.name}: TLS both ways", flush=True)


def filled(server, seed, version):
    load = PeerLoad(server, seed, made_for=version, streams=True, more=True, keys=80)
    clients = [server.client(db) for db in range(load.databases)]
    for client in clients:
        client.response_callbacks.clear()
    for _ in range(600 if LONG else 250):
        load.some(clients)
    r = server.client()
    r.sadd("ints", *range(300))
    r.rpush("long", *(f"item{i}" * (i % 7) for i in range(2000)))
    r.execute_command("HMSET", "wide", *(word for i in range(900) for word in (f"field{i}", i)))
    r.execute_command("ZADD", "scores", *(word for i in range(900) for word in (i / 7, f"member{i}")))
    r.set("big", "x" * 100000)


def test_our_files_there(peer):
    """RDB of ours, written for that version."""
    with Folder("peer-files") as folder:
        version = [n for v, n in sorted(RDB.items()) if v <= peer.version[:2]][-1]
        ours = Ours(folder, "ours", "--rdb-version", str(version))
        filled(ours, folder.seed, (7, 0) if peer.version >= (5, 0, 0) else (4, 9))
        want = walk(ours.port)
        ours.client().save()
        there = peer(folder, "there", start=False)
        path = shutil.copy(os.path.join(ours.dir, "dump.rdb"), there.dir)
        if peer.version >= (4, 0, 0):  # the server is the checker, by its name
            check = subprocess.run(["redis-check-rdb", path], executable=peer.path, capture_output=True, text=True, check=False)
            assert check.returncode == 0 and "RDB looks OK" in check.stdout, check.stdout[-2000:]
        there.start()
        found = differences(want, walk(there.port), 2)
        assert not found, "ours | there\n" + "\n".join(found)
        print(f"    {peer.name} loads our RDB of version {version}: {len(want)} keys", flush=True)


def test_their_files_here(peer):
    """RDB and AOF of that version."""
    with Folder("peer-files") as folder:
        there = peer(folder, "there", "--appendonly", "yes", "--appendfsync", "always")
        filled(there, folder.seed, peer.version)
        want = walk(there.port)
        there.client().save()
        there.shutdown("NOSAVE")
        for kind in ("rdb", "aof"):
            here = Ours(folder, kind, "--appendonly", "yes" if kind == "aof" else "no", start=False)
            for name in ("dump.rdb",) if kind == "rdb" else ("appendonly.aof", "appendonlydir"):
                path = os.path.join(there.dir, name)
                if os.path.isdir(path):
                    shutil.copytree(path, os.path.join(here.dir, name))
                elif os.path.exists(path):
                    shutil.copy(path, here.dir)
            here.start()
            found = differences(want, walk(here.port), 60000 if kind == "aof" and peer.version < (7, 0, 0) else 2)
            assert not found, f"{kind}: there | ours\n" + "\n".join(found)
            print(f"    {peer.name}: its {kind} here, {len(want)} keys", flush=True)
            here.kill()


class Through:
    """What PeerLoad writes to, by its port."""

    def __init__(self, port):
        self.port = port

    def client(self, db=0):
        return redis.Redis(port=self.port, db=db, socket_timeout=60)


def test_a_bridge(peer):
    """A whole migration under load, with that version as legacy, and as the target: copy, audit, cutover, rollback."""
    from bridge import Bridge  # pylint: disable=import-outside-toplevel
    for side in ("legacy", "target"):
        with Bridge("peer-bridge", target="bundled" if side == "legacy" else "redis", programs={side: peer.path}) as b:
            b.fill(3000)
            said = {f["id"]: f for f in b.verb("check", wanted=tuple(range(9)))["findings"]}
            if side == "target" and peer.version < (5, 0, 0):
                assert said["target.version"]["level"] == "fail", said
                print(f"    {peer.name} as target: refused by check", flush=True)
                continue
            if peer.version < (3, 0, 0):
                print(f"    {peer.name} as legacy: copies and follows; its INFO has no maxmemory_policy, so the gate eviction stays closed", flush=True)
                continue
            way_back = side == "target" or peer.version >= (5, 0, 0)
            clients = b.clients(2, 80) if way_back else None  # they use streams
            writes = None if way_back else ScriptLoad(Through(b.ports["legacy"]), b.seed, made_for=peer.version, keys=60)
            if writes:
                writes.start()
            b.verb("start", "--yes")
            time.sleep(2 * SECONDS)
            if writes:
                writes.stop()
            if not way_back:
                b.verb("gates", "waive", "way-back", "--reason", "the gate says that there is none", "--for", "2h")
            b.wait_ready(90)
            wait_until("an audit finds no difference", lambda: b.verb("audit", "start", "--wait", "--yes", wanted=(0, 5)).get("differences") == 0, 40)
            if writes:
                found = differences(walk(b.ports["legacy"]), walk(b.ports["target"]), 2000)
                assert not found, "legacy | target\n" + "\n".join(found)
            b.verb("cutover", "--yes", "--wait")
            if not way_back:
                assert "no way back" in said["legacy.version"]["text"], said
                time.sleep(2)
                assert not b.status()["gates_open"], "a way back that cannot be"
            else:
                b.settled()
                time.sleep(SECONDS)
                b.verb("rollback", "--yes", "--wait")
                b.settled()
                time.sleep(SECONDS)
                wait_until("an audit finds no difference", lambda: b.verb("audit", "start", "--wait", "--yes", wanted=(0, 5)).get("differences") == 0, 40)
                b.check_clients(clients)
                time.sleep(1)
                found = differences(walk(b.ports["legacy"]), walk(b.ports["target"]), 0 if peer.version >= (7, 0, 0) else 2000)
                assert not found, "legacy | target\n" + "\n".join(found)
            print(f"    {peer.name} as {side}: there{' and back' if way_back else ', no way back, as check says'}", flush=True)


def test_effects(peer):
    """What the lanes say that a command did there is done here, and the other way round."""
    import peer_effects  # pylint: disable=import-outside-toplevel
    with Folder("peer-effects") as folder:
        peer_effects.run(folder.seed, 12000 if LONG else 3000, folder, peer, None)
    if peer.version >= (5, 0, 0):  # RESTORE with ABSTTL
        with Folder("peer-effects") as folder:
            peer_effects.run(folder.seed, 12000 if LONG else 3000, folder, None, peer)


def test_lanes(peer):
    """A migration by capture lane, under every write command, and back."""
    import peer_lanes  # pylint: disable=import-outside-toplevel
    peer_lanes.migrate(peer, SECONDS)


def main():
    words = [w for w in sys.argv[1:] if not w.startswith("-")]
    only = [words.pop(words.index(w)) for w in sys.argv[1:] if w.replace(".", "").isdigit() or w in ("valkey", "redis")]
    found = peers(*only)
    if not found:
        print("test_other_versions: PEERS names no folder with redis-server-X.Y.Z or valkey-server-X.Y.Z: nothing was run")
        return
    if not only:
        print(f"    absent: {', '.join(absent()) or 'none'}", flush=True)
    failed = 0
    for name, test in list(globals().items()):
        if not name.startswith("test_") or (words and not any(w in name for w in words)):
            continue
        for peer in found:
            began = time.time()
            try:
                test(peer)
                print(f"  {name}, {peer.name}: {time.time() - began:.1f} s", flush=True)
            except Exception as error:  # the next version is tried all the same
                failed += 1
                print(f"  {name}, {peer.name}: FAILED: {type(error).__name__}: {str(error)[:3000]}", flush=True)
                if os.environ.get("TRACE"):
                    raise
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

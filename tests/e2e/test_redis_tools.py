#!/usr/bin/python3
"""test_redis_tools.py -- redis-cli and redis-benchmark of Redis 7.0 in their ordinary use, and what they print of us beside redis-server."""
import subprocess, sys

from servers import Folder, Ours, RedisServer, run_tests


def cli(server, *args, text=None):
    done = subprocess.run(["redis-cli", "-p", str(server.port), *args], input=text, capture_output=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def fill(server):
    client = server.client()
    for n in range(200):
        client.set(f"s:{n}", "x" * n)
    client.rpush("list", *range(300))
    client.hset("hash", mapping={f"f{n}": n for n in range(40)})
    client.sadd("set", *range(90))
    client.zadd("zset", {str(n): n for n in range(70)})
    client.xadd("stream", {"a": 1}, id="1-1")


def both(check):
    with Folder("tools") as folder:
        found = []
        for server in (Ours(folder, "ours"), RedisServer(folder, "redis")):
            fill(server)
            found.append(check(server))
        assert found[0] == found[1], f"\n  ours:  {found[0]}\n  redis: {found[1]}"
        return found[0]


def test_commands_by_pipe_print_the_same():
    lines = b"ping\nset k \"a b\\x00\"\nget k\nlrange list 0 2\nhgetall nokey\nincr k\nzrange zset 0 1 withscores\nxrange stream - +\nhello 3\nnosuch\n\"unbalanced\nmulti\nset a 1\nget a\nexec\ndiscard\n"
    both(lambda server: [line for line in cli(server, text=lines.replace(b"hello 3\n", b""))[1].split(b"\n")])
    both(lambda server: cli(server, "-3", text=b"hgetall hash\nsmismember set 1 x\nzscore zset 1\n"))
    both(lambda server: (cli(server, "--no-raw", "lrange", "list", "0", "3"), cli(server, "--csv", "lrange", "list", "0", "3"), cli(server, "--json", "-3", "hgetall", "hash"),
                         cli(server, "-x", "set", "in", text=b"from stdin"), cli(server, "get", "in"), cli(server, "-e", "incr", "in"), cli(server, "-r", "3", "incr", "n")))


def test_scan_bigkeys_and_memkeys_see_all_keys():
    names = both(lambda server: sorted(cli(server, "--scan")[1].split()))
    assert len(names) == 205, (len(names), names[:5])
    assert len(both(lambda server: sorted(cli(server, "--scan", "--pattern", "s:1*")[1].split()))) == 111
    wanted = lambda out: sorted(line for line in out.split(b"\n") if line.startswith((b"Biggest", b"Sampled", b"Total key")) or b" with " in line and b"[" not in line)
    assert len(both(lambda server: wanted(cli(server, "--bigkeys")[1]))) > 10
    with Folder("tools") as folder:
        ours = Ours(folder, "ours")
        fill(ours)
        code, out = cli(ours, "--memkeys")
        assert code == 0 and b"Sampled 205 keys" in out and b"Biggest   list found" in out, out


def test_mass_insertion_by_pipe():
    text = b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\nkey:%d\r\n$1\r\nv\r\n" % (len(b"key:%d" % n), n) for n in range(20000)) + b"*1\r\n$4\r\nNOPE\r\n"
    code, out = both(lambda server: (cli(server, "--pipe", text=text), server.client().dbsize()))[0]
    assert code == 1 and b"errors: 1, replies: 20001" in out, out


def test_rdb_of_ours_is_an_rdb():
    with Folder("tools") as folder:
        ours = Ours(folder, "ours")
        fill(ours)
        code, out = cli(ours, "--rdb", f"{folder.path}/copy.rdb")
        assert code == 0, out
        checked = subprocess.run(["redis-check-rdb", f"{folder.path}/copy.rdb"], capture_output=True, check=False, timeout=60)
        assert b"RDB looks OK" in checked.stdout and b"205 keys read" in checked.stdout, checked.stdout


def test_latency_and_statistics_come():
    with Folder("tools") as folder:
        ours = Ours(folder, "ours")
        code, out = cli(ours, "-i", "0.01", "-r", "3", "ping")
        assert (code, out) == (0, b"PONG\nPONG\nPONG\n"), out
        assert b"# Server" in cli(ours, "info", "server")[1]


def test_every_test_of_redis_benchmark_runs():
    with Folder("tools") as folder:
        ours, theirs = Ours(folder, "ours"), RedisServer(folder, "redis")
        ran = []
        for server in (ours, theirs):
            done = subprocess.run(["redis-benchmark", "-p", str(server.port), "-n", "2000", "-c", "20", "-P", "5", "-r", "500", "--csv"], capture_output=True, text=True, check=False, timeout=200)
            assert done.returncode == 0 and "rror" not in done.stdout + done.stderr, done.stdout + done.stderr
            ran.append([line.split(",")[0] for line in done.stdout.splitlines()])
        assert ran[0] == ran[1] and len(ran[0]) > 18, ran
        assert ours.client().dbsize() > 100


run_tests(sys.modules[__name__])

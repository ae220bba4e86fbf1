#!/usr/bin/python3
"""test_redis_tools.py -- redis-cli and redis-benchmark of Redis 7.0 in their ordinary use, and what they print of us beside redis-server."""
import os, re, subprocess, sys, tempfile

from servers import Folder, Ours, RedisServer, run_tests


def cli(server, *args, text=None):
    done = subprocess.run(["redis-cli", "-p", str(server.port), *args], input=text, capture_output=True, check=False, timeout=180)
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
        checked = subprocess.run(["redis-check-rdb", f"{folder.path}/copy.rdb"], capture_output=True, check=False, timeout=180)
        assert b"RDB looks OK" in checked.stdout and b"205 keys read" in checked.stdout, checked.stdout


def test_latency_and_statistics_come():
    with Folder("tools") as folder:
        ours = Ours(folder, "ours")
        code, out = cli(ours, "-i", "0.01", "-r", "3", "ping")
        assert (code, out) == (0, b"PONG\nPONG\nPONG\n"), out
        assert b"# Server" in cli(ours, "info", "server")[1]
        low, high, average, count = cli(ours, "--raw", "--latency", "-i", "4")[1].split()
        assert 0 <= int(low) <= float(average) <= int(high) and int(count) > 20, (low, high, average, count)
        out = watched(ours, "--stat", "-i", "0.05", lines=6)
        rows = [line.split() for line in out if line and line.split()[0].isdigit()]
        assert len(rows) >= 3 and rows[0][0] == b"0" and rows[0][1][-1:] in b"KM", out
        fill(ours)
        ours.client().config_set("maxmemory-policy", "allkeys-lfu")
        for _ in range(300):
            ours.client().get("s:7")
        assert any(b"hot key found" in line for line in cli(ours, "--hotkeys")[1].split(b"\n"))


def watched(server, *args, lines):
    """The first lines that redis-cli prints."""
    process = subprocess.Popen(["redis-cli", "-p", str(server.port), *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        return [process.stdout.readline() for _ in range(lines)]
    finally:
        process.kill()
        process.wait()


def test_monitor_shows_what_others_do():
    def seen(server):
        process = subprocess.Popen(["redis-cli", "-p", str(server.port), "MONITOR"], stdout=subprocess.PIPE)
        try:
            assert process.stdout.readline() == b"OK\n"
            client = server.client()
            client.set("key", b'a "quote"\n\x00\xff')
            client.eval("return redis.call('INCR', KEYS[1])", 1, "n")
            with client.pipeline() as pipe:
                pipe.get("key").get("n").execute()
            lines = []
            while not lines or b'"EXEC"' not in lines[-1]:
                lines.append(process.stdout.readline())
            return [re.sub(rb"^[0-9.]+ |127.0.0.1:[0-9]+", b"", line) for line in lines]
        finally:
            process.kill()
            process.wait()
    lines = both(seen)
    assert any(b"[0 lua]" in line for line in lines), lines


def test_a_script_from_a_file_and_a_typed_session():
    with open(f"{tempfile.gettempdir()}/drawbridge-{os.getpid()}.lua", "w") as file:
        file.write("return {KEYS[1], ARGV[1], ARGV[2], redis.call('SET', KEYS[1], ARGV[1])}")
    try:
        both(lambda server: (cli(server, "--eval", file.name, "key", ",", "a", "b"), cli(server, "--no-raw", "EVAL", "return redis.error_reply('MY error')", "0"),
                             cli(server, "--no-raw", "EVALSHA", "0" * 40, "0")))
    finally:
        os.unlink(file.name)
    typed = b'set a 1\nget a\nmulti\nincr a\nexec\n3 incr a\nnosuch thing\nselect 3\nget a\nhello 3\nhgetall hash\n'
    both(lambda server: [line for line in cli(server, "--no-raw", text=typed)[1].split(b"\n") if b'"id"' not in line])
    names = both(lambda server: [line for line in cli(server, "--scan", "--pattern", "s:1?")[1].split(b"\n")].__len__())
    assert names == 11, names


def test_functions_by_redis_cli():
    with Folder("tools") as folder:
        ours, theirs = Ours(folder, "ours"), RedisServer(folder, "redis")
        theirs.client().function_load("#!lua name=l\nredis.register_function('f', function(keys, args) return args[1] end)")
        code, _ = cli(theirs, "--functions-rdb", f"{folder.path}/functions.rdb")
        assert code == 0
        assert cli(ours, "--functions-rdb", f"{folder.path}/none.rdb")[0] == 0
        dump = subprocess.run(["redis-cli", "-p", str(theirs.port), "function", "dump"], capture_output=True, check=True).stdout[:-1]
        assert cli(ours, "-x", "function", "restore", text=dump) == (0, b"OK\n")
        assert cli(ours, "fcall", "f", "0", "hi") == (0, b"hi\n")


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

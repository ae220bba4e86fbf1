#!/usr/bin/python3
"""test_server_says.py -- what only the log or the kernel is told: refused payloads, empty keys, crashes, oom-score-adj."""
import os, signal, sys

import redis

from servers import PROGRAM, Folder, Ours, run_tests


def test_a_refused_payload_is_explained_in_the_log():
    with Folder("says") as folder:
        server = Ours(folder, "server")
        client = server.client()
        client.hset("h", mapping={"a": 1, "b": 2})
        payload = bytearray(client.dump("h"))
        client.execute_command("DEBUG", "SET-SKIP-CHECKSUM-VALIDATION", 1)
        payload[6] = 0x7f
        try:
            client.restore("k", 0, bytes(payload))
            assert False, "it was taken"
        except redis.ResponseError as error:
            assert "Bad data format" in str(error)
        assert server.said("Hash listpack integrity check failed: ")


def test_empty_keys_of_an_old_file_are_skipped_and_named():
    with Folder("says") as folder:
        server = Ours(folder, "server", start=False)
        text = lambda s: bytes([len(s)]) + s
        empty = b"".join(bytes([kind]) + text(name) + b"\0" for kind, name in ((1, b"list"), (2, b"set"), (4, b"hash"), (5, b"zset")))
        with open(os.path.join(server.dir, "dump.rdb"), "wb") as out:
            out.write(b"REDIS0009\xfe\0" + empty + b"\0" + text(b"whole") + text(b"value") + b"\xff" + bytes(8))
        server.start()
        assert server.client().keys("*") == [b"whole"]
        assert all(server.said("skipping empty key: " + name) for name in ("list", "set", "hash", "zset"))
        assert server.said("empty keys skipped: 4")


def oom_score(server):
    with open(f"/proc/{server.process.pid}/oom_score_adj", encoding="ascii") as file:
        return int(file.read())


def test_the_kernel_hears_of_oom_score_adj():
    with Folder("says") as folder:
        server = Ours(folder, "server")
        client, base = server.client(), oom_score(server)
        client.execute_command("CONFIG", "SET", "oom-score-adj-values", "10 20 30", "oom-score-adj", "yes")
        assert oom_score(server) == min(base + 10, 1000)
        client.execute_command("REPLICAOF", "127.0.0.1", 1)
        assert oom_score(server) == min(base + 20, 1000)
        client.execute_command("REPLICAOF", "NO", "ONE")
        client.execute_command("CONFIG", "SET", "oom-score-adj", "absolute", "oom-score-adj-values", "500 600 700")
        assert oom_score(server) == 500
        try:
            client.execute_command("CONFIG", "SET", "oom-score-adj-values", "1 2 2001")
            assert False, "it was taken"
        except redis.ResponseError as error:
            assert "between -2000 and 2000" in str(error)
        client.execute_command("CONFIG", "SET", "oom-score-adj", "no")
        assert oom_score(server) == base


def test_a_crash_leaves_a_stack_trace_and_still_is_one():
    for how, number in (("SEGFAULT", signal.SIGSEGV), (None, signal.SIGABRT)):
        with Folder("says") as folder:
            server = Ours(folder, "server", "--logfile", "own.log")
            if how:
                try:
                    server.client().execute_command("DEBUG", how)
                except redis.ConnectionError:
                    pass
            else:
                os.kill(server.process.pid, number)
            assert server.process.wait(180) == -number
            log = open(os.path.join(server.dir, "own.log"), encoding="utf-8").read()
            assert f"crashed by signal: {int(number)}" in log and "STACK TRACE" in log and log.count("[0x") > 3, log
            server.start()
            server.client().config_set("crash-log-enabled", "no")
            os.kill(server.process.pid, number)
            assert server.process.wait(180) == -number
            assert open(os.path.join(server.dir, "own.log"), encoding="utf-8").read().count("STACK TRACE") == 1


with open(PROGRAM, "rb") as program:
    if b"__asan_init" in program.read():
        del test_a_crash_leaves_a_stack_trace_and_still_is_one  # AddressSanitizer writes its own
run_tests(sys.modules[__name__])

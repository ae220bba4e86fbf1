#!/usr/bin/python3
"""test_server_shutdown.py -- how the bundled server ends: replicas that lag are waited for, and who may say no."""
import os, signal, sys, threading, time

import redis

from servers import Folder, Ours, RedisServer, run_tests, wait_until


class Caller(threading.Thread):
    """A client that calls SHUTDOWN; `heard` is what it is answered."""
    def __init__(self, server, *words):
        super().__init__(daemon=True)
        self.server, self.words, self.heard = server, words, None
        self.start()

    def run(self):
        try:
            self.heard = str(self.server.client().execute_command("SHUTDOWN", *self.words))
        except redis.ConnectionError:
            self.heard = "gone"
        except redis.ResponseError as error:
            self.heard = str(error)


def pair(folder, kind=Ours):
    """A master with a replica of KIND that has everything."""
    master, replica = Ours(folder, "master"), kind(folder, "replica")
    replica.client().execute_command("REPLICAOF", "127.0.0.1", master.port)
    wait_until("the replica follows", lambda: replica.info("replication").get("master_link_status") == "up")
    master.client().set("k", 1)
    wait_until("the replica has it", lambda: replica.client().get("k") == b"1")
    master.client().config_set("shutdown-timeout", 1000)  # whoever ends before that did not wait for it
    return master, replica


def stop(replica):
    os.kill(replica.process.pid, signal.SIGSTOP)


def go_on(replica):
    os.kill(replica.process.pid, signal.SIGCONT)


def waiting_ms(server):
    return server.info("server").get("shutdown_in_milliseconds", 0)


def ended(server):
    return server.process.poll() is not None


def test_the_last_write_reaches_a_replica_that_was_slow():
    for kind in (Ours, RedisServer):
        for ask in ("signal", "command"):
            with Folder("shutdown") as folder:
                master, replica = pair(folder, kind)
                stop(replica)
                master.client().incr("k")
                if ask == "signal":
                    os.kill(master.process.pid, signal.SIGTERM)
                else:
                    caller = Caller(master)
                wait_until("it waits", lambda: waiting_ms(master) > 0)
                go_on(replica)
                wait_until("it has ended", lambda: ended(master))
                wait_until("the write is there", lambda: replica.client().get("k") == b"2")
                assert master.said("1 of 1 replicas are in sync") and not master.said("Lagging replica")


def test_writes_wait_and_reads_do_not_until_the_time_is_over():
    with Folder("shutdown") as folder:
        master, replica = pair(folder)
        client = master.client()
        client.config_set("shutdown-timeout", 6)
        stop(replica)
        client.incr("k")
        os.kill(master.process.pid, signal.SIGTERM)
        wait_until("it waits", lambda: waiting_ms(master) > 0)
        writer = redis.Redis(port=master.port, socket_timeout=0.5)
        try:
            assert client.get("k") == b"2"
            writer.incr("k")
            assert False, "a write was answered"
        except (redis.TimeoutError, redis.ConnectionError):
            pass
        wait_until("it has ended", lambda: ended(master))
        assert master.said("Lagging replica") and master.said("0 of 1 replicas are in sync")
        go_on(replica)


def test_abort_answers_those_who_asked_and_life_goes_on():
    with Folder("shutdown") as folder:
        master, replica = pair(folder)
        client = master.client()
        stop(replica)
        client.incr("k")
        callers = [Caller(master), Caller(master, "NOSAVE")]
        wait_until("both wait", lambda: client.info("clients")["blocked_clients"] == 2)
        assert client.execute_command("SHUTDOWN", "ABORT") in (b"OK", True)
        for caller in callers:
            caller.join(180)
            assert "Errors trying to SHUTDOWN" in caller.heard, caller.heard
        assert client.incr("k") == 3 and waiting_ms(master) == 0
        try:
            client.execute_command("SHUTDOWN", "ABORT")
            assert False, "there is nothing to abort"
        except redis.ResponseError as error:
            assert "No shutdown in progress" in str(error)
        go_on(replica)
        wait_until("the replica has it", lambda: replica.client().get("k") == b"3")


def test_now_ends_a_wait_and_an_abort_leaves_a_pause_of_clients():
    with Folder("shutdown") as folder:
        master, replica = pair(folder)
        client = master.client()
        stop(replica)
        client.incr("k")
        caller = Caller(master)
        wait_until("it waits", lambda: waiting_ms(master) > 0)
        client.execute_command("CLIENT", "PAUSE", 100000, "WRITE")
        client.execute_command("SHUTDOWN", "ABORT")
        writer = redis.Redis(port=master.port, socket_timeout=0.3)
        try:
            writer.incr("k")
            assert False, "the pause is gone"
        except (redis.TimeoutError, redis.ConnectionError):
            pass
        client.execute_command("CLIENT", "UNPAUSE")
        caller = Caller(master)
        wait_until("it waits", lambda: waiting_ms(master) > 0)
        Caller(master, "NOW", "NOSAVE")
        wait_until("it has ended", lambda: ended(master))
        caller.join(180)
        assert caller.heard == "gone"
        go_on(replica)


def test_a_signal_does_not_cut_a_script_in_two():
    with Folder("shutdown") as folder:
        server = Ours(folder, "server", "--busy-reply-threshold", "50", "--shutdown-on-sigterm", "save")
        script = "redis.call('set','a',1); local t=redis.call('time')[1]+1; while redis.call('time')[1]+0<=t do end; redis.call('set','b',1)"
        runner = threading.Thread(target=lambda: ignore_end(lambda: server.client().eval(script, 0)), daemon=True)
        runner.start()

        def busy():
            try:
                server.client().ping()
            except redis.ResponseError as error:
                return "BUSY" in str(error)
        wait_until("the script runs", busy)
        os.kill(server.process.pid, signal.SIGTERM)
        wait_until("it has ended", lambda: ended(server))
        server.start()
        assert server.client().mget("a", "b") == [b"1", b"1"]


def ignore_end(fn):
    try:
        fn()
    except redis.ConnectionError:
        pass


def test_a_snapshot_that_cannot_be_saved_keeps_it_alive():
    with Folder("shutdown") as folder:
        server = Ours(folder, "server")
        client = server.client()
        client.set("k", 1)
        directory = os.path.join(client.config_get("dir")["dir"], "dump.rdb")
        if os.path.exists(directory):
            os.remove(directory)
        os.mkdir(directory)
        client.config_set("save", "3600 1")
        os.kill(server.process.pid, signal.SIGTERM)
        wait_until("it says why", lambda: server.said("Error trying to save the DB, can't exit"))
        assert client.get("k") == b"1"
        os.rmdir(directory)
        os.kill(server.process.pid, signal.SIGTERM)
        wait_until("it has ended", lambda: ended(server))
        assert os.path.isfile(directory)


run_tests(sys.modules[__name__])

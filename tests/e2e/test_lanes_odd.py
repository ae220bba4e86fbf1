#!/usr/bin/python3
"""test_lanes_odd.py -- requests and data that lanes must get right though they are rare: each was wrong once."""
import signal
import socket
import sys
import time

import redis

from servers import Folder, Ours, RedisServer, Relay, run_tests, wait_until
from test_gateway_lanes import Gateway, HIDDEN
from walk import differences, walk


def two_sides(folder, target_class=Ours, lanes=2, legacy=()):
    a = RedisServer(folder, "legacy", *HIDDEN, *legacy)
    b = target_class(folder, "target")
    return a, b, Gateway(folder, a, b, lanes=lanes)


def key_in(lane, tag):
    """A name whose slot is in LANE of two."""
    for n in range(99):
        name = f"{tag}{n}"
        if crc16(name.encode()) % 16384 % 2 == lane:
            return name
    raise AssertionError


def crc16(data):
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021) & 0xffff if crc & 0x8000 else crc << 1
    return crc


def test_a_database_that_legacy_does_not_have_stops_nothing():
    with Folder("lanes-db") as folder:
        legacy, target, gateway = two_sides(folder)
        r = gateway.client()
        even, odd = key_in(0, "a"), key_in(1, "b")
        r.set(even, 1)
        for command in (("COPY", even, odd, "DB", "99"), ("COPY", odd, even, "DB", "16")):
            try:
                r.execute_command(*command)
                raise AssertionError("copied to a database that is not there")
            except redis.ResponseError as err:
                assert "DB index is out of range" in str(err), err
        with r.pipeline() as p:
            p.watch(odd)
            p.multi()
            p.execute_command("MOVE", even, "70")
            p.execute(raise_on_error=False)
        gateway.wait_level(180)
        assert gateway.lanes()["lost_total"] == 0
        r.set(even, 2)
        gateway.wait_level(180)
        assert not differences(walk(legacy.port), walk(target.port))


def library(name):
    return "#!lua name=%s\nredis.register_function('f_%s', function(keys, args) return args[1] end)" % (name, name)


def functions(server):
    return sorted(dict(zip(row[::2], row[1::2]))[b"library_name"].decode() for row in server.client().execute_command("FUNCTION", "LIST"))


def test_functions_are_at_the_target_whenever_they_were_loaded():
    with Folder("lanes-functions") as folder:
        legacy = RedisServer(folder, "legacy", *HIDDEN)
        legacy.client().execute_command("FUNCTION", "LOAD", library("before"))
        target = Ours(folder, "target")
        target.client().execute_command("FUNCTION", "LOAD", library("stranger"))
        relay = Relay(target.port)
        gateway = Gateway(folder, legacy, relay)
        r = gateway.client()
        gateway.wait_level(180)
        assert functions(target) == ["before"], functions(target)
        r.execute_command("FUNCTION", "LOAD", library("beside"))
        gateway.wait_level(180)
        assert functions(target) == ["before", "beside"], functions(target)
        passes = gateway.lanes()["passes_total"]
        relay.cut()
        wait_until("the target is away", lambda: gateway.lanes()["follower_up"] == 0)
        r.execute_command("FUNCTION", "LOAD", library("away"))
        r.execute_command("FUNCTION", "DELETE", "before")
        r.execute_command("SCRIPT", "LOAD", "return 1")
        assert gateway.lanes()["level"] == 0
        relay.open()
        gateway.wait_level(180)
        assert functions(target) == functions(legacy) == ["away", "beside"], functions(target)
        lanes = gateway.lanes()
        assert lanes["passes_total"] == passes and lanes["dirty_slots"] == 0, f"keys were listed again because of functions: {lanes}"


def test_what_legacy_refuses_makes_nothing_dirty():
    with Folder("lanes-refused") as folder:
        legacy, target, gateway = two_sides(folder)
        r = gateway.client()
        r.rpush("l", 1)
        gateway.wait_level(180)
        passes = gateway.lanes()["passes_total"]
        for command in (("NO.SUCH", "l"), ("XGROUP", "NOSUCH", "l"), ("LMPOP", "0", "l", "LEFT"), ("LMPOP", "9", "l", "LEFT"), ("ZUNIONSTORE", "l", "-1", "l"),
                        ("EVAL", "return redis.call('incr', 'x')", "-1"), ("EVAL", "return 1", "7", "l"), ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "l"),
                        ("FCALL", "f", "x", "l"), ("BLMPOP", "0", "x", "l", "LEFT"), ("SORT", "l", "STORE")):
            try:
                r.execute_command(*command)
                raise AssertionError(f"{command} was taken")
            except redis.ResponseError:
                pass
        time.sleep(1.1)  # the figures are a second old at most
        lanes = gateway.lanes()
        assert lanes["passes_total"] == passes and lanes["dirty_slots"] == 0, f"all keys were copied again: {lanes}"
        # What nobody here knows, and legacy does: everything is dirty, and copied.
        r.execute_command("SECRET-DEBUG", "POPULATE", 100, "many")
        wait_until("both sides were listed again", lambda: gateway.lanes()["passes_total"] > passes)
        gateway.wait_level(180)
        assert target.client().dbsize() == 101
        assert not differences(walk(legacy.port), walk(target.port))


class WithoutIds(Relay):
    """In front of a server that has no CLIENT ID, as Redis before 5.0; HIDES_LIST: nor CLIENT LIST. Keeps what is killed."""

    def __init__(self, to_port, hides_list):
        super().__init__(to_port)
        self.hides_list, self.hidden, self.killed = hides_list, 0, []

    def copy(self, x, y):
        try:
            while data := x.recv(65536):
                self.hidden += data.count(b"CLIENT\r\n$2\r\nID\r\n")
                data = data.replace(b"CLIENT\r\n$2\r\nID\r\n", b"CLIENT\r\n$2\r\nXX\r\n")
                if self.hides_list:
                    data = data.replace(b"CLIENT\r\n$4\r\nLIST\r\n", b"CLIENT\r\n$4\r\nXXXX\r\n")
                self.killed += [int(part.split(b"\r\n")[1]) for part in data.split(b"KILL\r\n$2\r\nID\r\n")[1:]]
                y.sendall(data)
        except OSError:
            pass
        for s in (x, y):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def test_where_there_is_no_client_id_nobody_else_is_killed():
    """CLIENT KILL ID 0 ends every connection of Redis before 7.0. Ours are found by their names, or the grace time has to do."""
    for hides_list in (False, True):
        with Folder("lanes-ids") as folder:
            legacy, target = RedisServer(folder, "legacy", *HIDDEN), Ours(folder, "target")
            relay = WithoutIds(legacy.port, hides_list)
            gateway = Gateway(folder, relay, target)
            gateway.client().set("a", 1)
            gateway.wait_level(60)
            assert relay.hidden > 0
            lost = gateway.lanes()["lost_total"]
            legacy.process.send_signal(signal.SIGSTOP)
            with socket.create_connection(("127.0.0.1", gateway.port)) as client:
                client.sendall(b"SET a 2\r\nINCR a\r\n")
                wait_until("they are on their way", lambda: gateway.lanes()["commands_total"] >= 2)
                relay.cut()
                wait_until("the lane is lost", lambda: gateway.lanes()["lost_total"] > lost)
            legacy.process.send_signal(signal.SIGCONT)
            relay.open()
            gateway.wait_level(60)
            assert 0 not in relay.killed, relay.killed
            assert bool(relay.killed) != hides_list, relay.killed
            assert not differences(walk(legacy.port), walk(target.port))


if __name__ == "__main__":
    sys.exit(run_tests(sys.modules[__name__]))

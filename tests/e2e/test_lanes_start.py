#!/usr/bin/python3
"""test_lanes_start.py -- the first copies of a gateway without a journal wait for nothing that is not there (C21).

Both sides' CLIENT LIST tells that no connection of an earlier gateway is left: a first start copies at once. While
one is left nothing is copied; where a side does not tell, the grace time has to do.
"""
import sys
import time

import redis

from servers import Folder, Ours, RedisServer, run_tests, wait_until
from test_gateway_lanes import HIDDEN, Gateway
from walk import differences, walk


def log_of(gateway):
    with open(gateway.log, encoding="utf-8") as log:
        return log.read()


def filled(folder, *options):
    legacy, target = RedisServer(folder, "legacy", *HIDDEN, *options), Ours(folder, "target")
    legacy.client().mset({f"key {i}": i for i in range(100)})
    return legacy, target


def test_a_first_start_copies_at_once():
    with Folder("start-first") as folder:
        legacy, target = filled(folder)
        gateway = Gateway(folder, legacy, target)
        gateway.wait_level()
        assert 'how="neither side has any"' in log_of(gateway), log_of(gateway)
        assert not differences(walk(legacy.port), walk(target.port))


def test_while_an_older_connection_is_there_nothing_is_copied():
    with Folder("start-old") as folder:
        legacy, target = filled(folder)
        old = redis.Redis(port=target.port, client_name="drawbridge-gw:gateway:0:0-7", single_connection_client=True)
        number = old.client_id()
        gateway = Gateway(folder, legacy, target)
        wait_until("both sides are reached", lambda: gateway.lanes()["primary_up"] == 1)
        for _ in range(20):
            lanes = gateway.lanes()
            assert lanes["buried"] > 0 and lanes["copies_total"] == 0, lanes
            time.sleep(0.1)
        target.client().client_kill_filter(_id=number)
        gateway.wait_level()
        assert 'how="neither side has any"' in log_of(gateway), log_of(gateway)
        assert not differences(walk(legacy.port), walk(target.port))


def test_a_side_that_refuses_client_list_costs_the_grace_time():
    with Folder("start-grace") as folder:
        legacy, target = filled(folder, "--rename-command", "CLIENT", "")
        gateway = Gateway(folder, legacy, target)
        gateway.wait_level()
        assert 'how="the grace time is over"' in log_of(gateway), log_of(gateway)
        assert not differences(walk(legacy.port), walk(target.port))


if __name__ == "__main__":
    sys.exit(run_tests(sys.modules[__name__]))

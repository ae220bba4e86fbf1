#!/usr/bin/python3
"""What scripts and functions leave behind: effects in the stream and the AOF, libraries in every form that data has.

Our server and redis-server 7.0 as master and replica of each other; restarts from RDB and AOF; files of one read by the other.
"""
import sys

import redis

from servers import Folder, Ours, RedisServer, wait_until

LIBRARY = """#!lua name=stock
local sold = 0
redis.register_function('sell', function(keys, args)
    local left = redis.call('DECRBY', keys[1], args[1])
    redis.call('LPUSH', keys[2], left)
    redis.call('EXPIRE', keys[2], 1000)
    return left
end)
redis.register_function{function_name = 'left', callback = function(keys) return redis.call('GET', keys[1]) end, flags = {'no-writes'}}"""

SCRIPTS = (
    "for i = 1, 5 do redis.call('RPUSH', 'list', i) end redis.call('LPOP', 'list')",
    "redis.call('SADD', 'set', 1, 2, 3, 4, 5, 6) redis.call('SPOP', 'set') redis.call('SPOP', 'set', 2)",
    "redis.call('SET', 'timed', 'x', 'EX', 1000) redis.call('EXPIRE', 'timed', 2000) redis.call('GETEX', 'timed', 'PERSIST')",
    "redis.call('INCRBYFLOAT', 'float', 0.1) redis.call('HINCRBYFLOAT', 'hash', 'f', 0.25) redis.call('HSET', 'hash', 'g', math.random())",
    "redis.call('XADD', 'stream', '*', 'a', 1) redis.call('XADD', 'stream', 'MAXLEN', '~', 10, '*', 'b', redis.call('TIME')[2])",
    "redis.pcall('INCR', 'list') redis.call('SET', 'after', 'error')",
    "redis.call('SELECT', 3) redis.call('SET', 'there', 1) redis.call('SELECT', 0) redis.call('SET', 'here', 1)",
    "redis.call('SET', 'before', 1) redis.call('NOSUCH')",
    "redis.call('ZADD', 'zset', math.random(100), 'a', 2, 'b') redis.call('ZPOPMIN', 'zset')",
    "redis.call('DEL', 'after') redis.call('SET', 'binary', string.char(0, 1, 13, 10, 255))",
)


def digest(server):
    return server.client().execute_command("DEBUG", "DIGEST")


def libraries(server):
    """Functions of a library come in any order."""
    every = server.client().execute_command("FUNCTION", "LIST", "WITHCODE")
    return sorted((name, code, sorted(map(str, functions))) for _, name, _, _, _, functions, _, code in every)


def same(master, replica):
    wait_until("replica is level", lambda: digest(master) == digest(replica) and libraries(master) == libraries(replica))


def run_scripts(client):
    for script in SCRIPTS:
        try:
            client.execute_command("EVAL", script, 0)
        except redis.ResponseError as error:
            assert "Unknown Redis command" in str(error), error
    pipe = client.pipeline(transaction=True)
    pipe.set("multi", 1)
    pipe.execute_command("EVAL", "redis.call('INCR', 'multi') return redis.call('INCR', 'multi')", 0)
    pipe.execute_command("FCALL", "sell", 2, "apples", "history", 3)
    assert pipe.execute()[1:] == [3, -3]


def check_pair(master, replica):
    """REPLICA joins with an empty stream behind it, then everything comes through the stream."""
    client = master.client()
    client.execute_command("FLUSHALL")
    client.execute_command("FUNCTION", "FLUSH")
    client.execute_command("FUNCTION", "LOAD", LIBRARY)
    client.execute_command("EVAL", "redis.call('SET', 'first', 1)", 0)
    replica.client().execute_command("REPLICAOF", "127.0.0.1", master.port)
    same(master, replica)
    run_scripts(client)
    same(master, replica)
    assert replica.client().execute_command("FCALL_RO", "left", 1, "apples") == b"-3"
    try:
        replica.client().execute_command("FCALL", "sell", 2, "apples", "history", 1)
        raise AssertionError("a replica was written to")
    except redis.ReadOnlyError:
        pass
    payload = client.execute_command("FUNCTION", "DUMP")
    client.execute_command("FUNCTION", "LOAD", "REPLACE", LIBRARY.replace("'sell'", "'buy'"))
    same(master, replica)
    client.execute_command("FUNCTION", "DELETE", "stock")
    same(master, replica)
    client.execute_command("FUNCTION", "RESTORE", payload)
    same(master, replica)
    assert libraries(replica)
    client.execute_command("FUNCTION", "FLUSH")
    same(master, replica)
    client.execute_command("FUNCTION", "LOAD", LIBRARY)
    same(master, replica)
    replica.client().execute_command("REPLICAOF", "NO", "ONE")
    assert replica.client().execute_command("FCALL", "sell", 2, "apples", "history", 1) == -4


def check_set_repl(master, replica):
    client = master.client()
    client.delete("none", "aof", "replica", "all")
    replica.client().execute_command("REPLICAOF", "127.0.0.1", master.port)
    same(master, replica)
    client.execute_command("EVAL", "redis.set_repl(redis.REPL_NONE) redis.call('SET', 'none', 1) "
                                   "redis.set_repl(redis.REPL_AOF) redis.call('SET', 'aof', 1) "
                                   "redis.set_repl(redis.REPL_REPLICA) redis.call('SET', 'replica', 1) "
                                   "redis.set_repl(redis.REPL_ALL) redis.call('SET', 'all', 1)", 0)
    wait_until("the last one came", lambda: replica.client().get("all"))
    assert replica.client().mget("none", "aof", "replica", "all") == [None, None, b"1", b"1"]
    replica.client().execute_command("REPLICAOF", "NO", "ONE")


def check_restart(server):
    """From the AOF, then from an RDB."""
    client = server.client()
    client.execute_command("FLUSHALL")
    client.execute_command("FUNCTION", "FLUSH")
    client.execute_command("FUNCTION", "LOAD", LIBRARY)
    run_scripts(client)
    before = digest(server), libraries(server)
    server.shutdown()
    server.start()
    assert (digest(server), libraries(server)) == before, "after a restart from the AOF"
    assert server.client().execute_command("FCALL", "left", 1, "apples") == b"-3"
    server.client().execute_command("BGREWRITEAOF")
    wait_until("the AOF is rewritten", lambda: not server.client().info("persistence")["aof_rewrite_in_progress"])
    server.client().execute_command("SET", "more", 1)
    before = digest(server), libraries(server)
    server.shutdown()
    server.start()
    assert (digest(server), libraries(server)) == before, "after a restart from a rewritten AOF"
    server.client().execute_command("DEBUG", "RELOAD")
    assert (digest(server), libraries(server)) == before, "after DEBUG RELOAD"
    server.client().execute_command("FLUSHALL")
    assert libraries(server), "FLUSHALL leaves libraries alone"


def main():
    with Folder("script-effects") as folder:
        debug = ("--enable-debug-command", "yes")
        ours, other, real = (Ours(folder, "ours", "--appendonly", "yes", *debug), Ours(folder, "other", *debug),
                             RedisServer(folder, "redis", *debug))
        for master, replica in ((ours, real), (ours, other), (real, ours)):
            check_pair(master, replica)
            print("a pair", flush=True)
        check_set_repl(ours, real)
        check_set_repl(ours, other)
        check_restart(ours)
        print("restarts", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

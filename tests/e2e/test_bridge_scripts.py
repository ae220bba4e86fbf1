#!/usr/bin/python3
"""Scripts and functions over a cutover to the bundled server and back: what was loaded at the old side runs at the new one."""
import sys

import redis

from bridge import Bridge, Direct

LIBRARY = "#!lua name=count\nredis.register_function('count', function(keys) return redis.call('INCRBY', keys[1], %d) end)"


def libraries(client):
    return "".join(library[7].decode() for library in client.execute_command("FUNCTION", "LIST", "WITHCODE"))


def main():
    with Bridge("scripts", target="bundled") as b:
        b.fill(500)
        legacy, target, gateway = Direct(port=b.ports["legacy"]), Direct(port=b.ports["target"]), redis.Redis(port=b.ports["gateway"])
        legacy.execute_command("FUNCTION", "LOAD", LIBRARY % 1)
        sha = gateway.script_load("return redis.call('INCR', KEYS[1])")
        assert gateway.evalsha(sha, 1, "hits") == 1
        b.verb("start", "--yes")
        b.wait_phase("level", audit=True)
        assert libraries(target) == libraries(legacy) == LIBRARY % 1, "by the copy"
        gateway.execute_command("FUNCTION", "LOAD", "REPLACE", LIBRARY % 10)
        assert gateway.execute_command("FCALL", "count", 1, "hits") == 11
        b.move("cutover")
        assert libraries(target) == libraries(legacy) == LIBRARY % 10, "by the stream"
        assert gateway.evalsha(sha, 1, "hits") == 12, "a script that was loaded before the cutover"
        assert gateway.execute_command("FCALL", "count", 1, "hits") == 22
        assert gateway.eval("redis.call('SET', 'new', ARGV[1]) return redis.call('GET', 'new')", 0, "side") == b"side"
        assert target.get("hits") == b"22"
        gateway.execute_command("FUNCTION", "LOAD", "REPLACE", LIBRARY % 100)
        b.move("rollback")
        assert legacy.get("hits") == b"22" and legacy.get("new") == b"side"
        assert gateway.execute_command("FCALL", "count", 1, "hits") == 122, "the library of the target"
        assert gateway.evalsha(sha, 1, "hits") == 123
    return 0


if __name__ == "__main__":
    sys.exit(main())

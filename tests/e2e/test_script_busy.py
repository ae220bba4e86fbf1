#!/usr/bin/python3
"""A script that takes long: who is answered what meanwhile, and that nobody's requests are lost, doubled or mixed up.

Clients with pipelines, half requests, inline commands and closing connections come while scripts are busy; transactions,
blocked clients, replicas and SHUTDOWN NOSAVE too.
"""
import random
import socket
import sys
import time

import redis

from servers import Folder, Ours, wait_until

SPIN = "local n = tonumber(ARGV[1]) while true do n = n - 1 if n < 0 then break end end return 'spun'"
FOREVER = "redis.call('GET', 'x') while true do end"


def pack(*words):
    words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def raw(server):
    s = socket.create_connection(("127.0.0.1", server.port))
    s.settimeout(60)
    return s


def take_lines(s, count):
    data = b""
    while data.count(b"\r\n") < count:
        piece = s.recv(65536)
        assert piece, f"closed after {data!r}"
        data += piece
    return data.split(b"\r\n")[:-1]


def until_busy(client):
    def busy():
        try:
            client.ping()
        except redis.ResponseError as error:
            return "BUSY" in str(error)
        return False
    wait_until("the script is busy", busy)


def start(server, script=FOREVER, *args):
    """Begins a script on a connection of its own; its reply is read by take_lines()."""
    s = raw(server)
    s.sendall(pack("EVAL", script, 0, *args))
    return s


def kill(client, s):
    assert client.execute_command("SCRIPT", "KILL") in (True, b"OK")
    assert b"killed by user" in take_lines(s, 1)[0]


def check_words(server, client):
    """What is answered while a script is busy."""
    s = start(server)
    until_busy(client)
    for words in (("GET", "x"), ("SET", "x", 1), ("EVAL", "return 1", 0), ("SCRIPT", "FLUSH"), ("CONFIG", "GET", "port"), ("INFO",), ("PING",),
                  ("SHUTDOWN",), ("FUNCTION", "KILL"), ("FUNCTION", "STATS")):
        try:
            client.execute_command(*words)
            raise AssertionError(f"{words} was answered")
        except redis.ResponseError as error:
            assert "BUSY Redis is busy running a script" in str(error) and "SCRIPT KILL" in str(error), f"{words}: {error}"
    other = raw(server)
    other.sendall(pack("HELLO", 3) + pack("MULTI") + pack("SET", "x", 1) + pack("EXEC") + pack("RESET") + pack("UNWATCH"))
    text = b"\n".join(take_lines(other, 1))
    assert text.startswith(b"%"), text
    kill(client, s)
    assert client.ping()
    try:
        client.execute_command("SCRIPT", "KILL")
        raise AssertionError("nothing ran")
    except redis.ResponseError as error:
        assert "NOTBUSY" in str(error)


def check_pipelines(server, client, chance):
    """Requests that wait in the same turn as the script, before and behind it."""
    for round in range(20):
        sockets = [raw(server) for _ in range(12)]
        spin = pack("EVAL", SPIN, 0, chance.choice([10, 3000000, 6000000]))
        wanted = []
        for i, s in enumerate(sockets):
            requests, count = [], chance.randint(1, 30)
            for n in range(count):
                requests.append(chance.choice([pack("ECHO", f"{i}-{n}"), f"ECHO {i}-{n}\r\n".encode()]))
            where = chance.randrange(count) if i % 4 == 0 else None
            if where is not None:
                requests[where] = spin
            wanted.append([b"spun" if n == where else f"{i}-{n}".encode() for n in range(count)])
            data = b"".join(requests)
            cut = chance.randrange(len(data))
            s.sendall(data[:cut])
            sockets[i] = (s, data[cut:])
        for s, rest in sockets:
            s.sendall(rest)
        for (s, _), words in zip(sockets, wanted):
            lines = take_lines_of(s, len(words))
            for got, word in zip(lines, words):
                assert got == word or got.startswith(b"BUSY"), f"round {round}: {got!r} instead of {word!r}"
            s.close()


def take_lines_of(s, count):
    """COUNT replies, bulk strings or errors."""
    file, out = s.makefile("rb"), []
    for _ in range(count):
        head = file.readline()
        assert head, "closed"
        out.append(head[1:-2] if head[:1] == b"-" else file.read(int(head[1:]) + 2)[:-2])
    return out


def check_closing(server, client, chance):
    """Connections that go while a script is busy, the caller's own among them."""
    for _ in range(10):
        s = start(server, FOREVER)
        others = [raw(server) for _ in range(5)]
        until_busy(client)
        for other in others:
            other.sendall(pack("ECHO", "x") * chance.randint(0, 3) + b"*2\r\n$4\r\nEC"[: chance.randint(0, 10)])
            if chance.random() < 0.7:
                other.close()
        if chance.random() < 0.5:
            s.close()
            time.sleep(0.02)
            client.execute_command("SCRIPT", "KILL")
        else:
            kill(client, s)
        wait_until("the server goes on", client.ping)
    wait_until("those who have gone are gone", lambda: client.info("clients")["connected_clients"] < 20)


def check_transactions(server, client):
    s = raw(server)
    s.sendall(pack("MULTI") + pack("SET", "a", 1) + pack("EVAL", FOREVER, 0) + pack("SET", "a", 2) + pack("EXEC") + pack("GET", "a"))
    until_busy(client)
    assert client.execute_command("SCRIPT", "KILL")
    lines = take_lines(s, 10)[4:]
    assert lines[0] == b"*3" and b"killed" in lines[2] and lines[3] == b"+OK" and lines[5] == b"2", lines


def check_blocked(server, client):
    """A blocked client is served when the script is over, not in the middle of it."""
    blocked = raw(server)
    blocked.sendall(pack("BLPOP", "queue", 0))
    wait_until("it waits", lambda: client.info("clients")["blocked_clients"] == 1)
    s = start(server, "redis.call('LPUSH', 'queue', 'a') local n = 20000000 while n > 0 do n = n - 1 end redis.call('LPUSH', 'queue', 'b') return 'spun'")
    until_busy(client)
    assert b"spun" in take_lines(s, 2)
    assert take_lines(blocked, 5)[4] == b"b"


def check_written(server, client):
    s = start(server, "redis.call('SET', 'x', 1) local n = 30000000 while n > 0 do n = n - 1 end return 'spun'")
    until_busy(client)
    try:
        client.execute_command("SCRIPT", "KILL")
        raise AssertionError("a script that had written was killed")
    except redis.ResponseError as error:
        assert "UNKILLABLE" in str(error) or "NOTBUSY" in str(error), error
    take_lines(s, 2)


def check_replica(server, client, folder):
    """A replica that is busy takes no writes of its master meanwhile, and all of them after."""
    replica = Ours(folder, "replica", "--busy-reply-threshold", "20")
    replica.client().execute_command("REPLICAOF", "127.0.0.1", server.port)
    wait_until("the link is up", lambda: replica.client().info("replication")["master_link_status"] == "up")
    s = start(replica, "local a = redis.call('GET', 'counter') local n = 20000000 while n > 0 do n = n - 1 end "
                       "return a == redis.call('GET', 'counter') and 'same' or 'changed'")
    until_busy(replica.client())
    for _ in range(1000):
        client.incr("counter")
    assert b"same" in take_lines(s, 2)
    wait_until("the replica has all of it", lambda: replica.client().get("counter") == client.get("counter"))
    s = start(server, "redis.call('INCR', 'counter') local n = 20000000 while n > 0 do n = n - 1 end return redis.call('INCR', 'counter')")
    until_busy(client)
    take_lines(s, 1)
    wait_until("the replica has all of it", lambda: replica.client().get("counter") == client.get("counter"))


def check_shutdown(server, client):
    s = start(server, "redis.call('SET', 'x', 1) while true do end")
    until_busy(client)
    try:
        client.execute_command("SHUTDOWN", "NOSAVE")
    except redis.ConnectionError:
        pass
    assert server.process.wait(180) == 0
    s.close()


def main():
    with Folder("script-busy") as folder:
        server = Ours(folder, "server", "--busy-reply-threshold", "5")
        client, chance = server.client(), random.Random(folder.seed)
        for check, args in ((check_words, ()), (check_pipelines, (chance,)), (check_closing, (chance,)), (check_transactions, ()),
                            (check_blocked, ()), (check_written, ()), (check_replica, (folder,)), (check_shutdown, ())):
            check(server, client, *args)
            print(check.__name__, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""The server's users, client-side caches, limits of clients, and what CONFIG REWRITE keeps of them."""
import os
import socket
import sys
import time

import redis

from servers import Folder, Ours, wait_until


def raw(server):
    s = socket.create_connection(("127.0.0.1", server.port))
    s.settimeout(180)
    return s


def heard(s, seconds=0.2):
    """What comes until nothing came for a moment; b"" when the connection is closed."""
    got = b""
    s.settimeout(seconds)
    try:
        while chunk := s.recv(65536):
            got += chunk
    except socket.timeout:
        pass
    except ConnectionResetError:
        return b""
    return got


def heard_with(s, words):
    got = [b""]

    def look():
        got[0] += heard(s, 0.05)
        return words in got[0]

    wait_until(f"{words} is heard", look)
    return got[0]


def refused(words, call, *args):
    try:
        call(*args)
    except redis.exceptions.RedisError as error:
        text = f"{type(error).__name__} {error}"
        assert words in text, f"expected {words!r}, got {text!r}"
        return
    raise AssertionError(f"not refused: {args}")


def test_a_user_may_do_what_its_rules_say(folder):
    server = Ours(folder, "a")
    admin = server.client()
    admin.execute_command("ACL", "SETUSER", "reader", "on", ">secret", "+@read", "%R~r:*", "+publish", "&news*")
    admin.set("r:1", "x")
    reader = server.client(username="reader", password="secret", decode_responses=True)
    assert reader.get("r:1") == "x"
    assert reader.publish("news.today", "m") == 0
    refused("run the 'set' command", reader.set, "r:1", "y")
    refused("one of the keys", reader.get, "w:1")
    refused("one of the channels", reader.publish, "old", "m")
    log = admin.execute_command("ACL", "LOG")
    assert len(log) == 3, log
    refused("WRONGPASS", server.client().execute_command, "AUTH", "reader", "wrong")
    # Rules that change between MULTI and EXEC count.
    admin.execute_command("ACL", "SETUSER", "reader", "+multi", "+exec")
    conn = raw(server)
    conn.sendall(b"AUTH reader secret\r\nMULTI\r\nGET r:1\r\n")
    heard_with(conn, b"QUEUED")
    admin.execute_command("ACL", "SETUSER", "reader", "-get")
    conn.sendall(b"EXEC\r\n")
    heard_with(conn, b"no longer allowed")
    # A user that goes takes its connections along.
    assert admin.execute_command("ACL", "DELUSER", "reader") == 1
    conn.settimeout(180)
    assert conn.recv(100) == b""


def test_users_survive_in_files(folder):
    path = os.path.join(folder.path, "users.acl")
    with open(path, "w") as file:
        file.write("user default on nopass ~* &* +@all\nuser bob on >b (+get ~b*)\n")
    server = Ours(folder, "a", "--aclfile", path)
    admin = server.client(decode_responses=True)
    refused("run the", server.client(username="bob", password="b").set, "b", 1)
    admin.execute_command("ACL", "SETUSER", "eve", "on", "nopass", "+@all", "~*")
    admin.execute_command("ACL", "SAVE")
    with open(path) as file:
        assert "user eve on nopass ~* resetchannels +@all" in file.read()
    before = admin.execute_command("ACL", "LIST")
    with open(path, "a") as file:
        file.write("user mallory on +@nosuch\n")
    refused("Unknown command or category", admin.execute_command, "ACL", "LOAD")
    assert admin.execute_command("ACL", "LIST") == before, "a bad file changed something"

def test_a_cache_hears_of_every_change(folder):
    server = Ours(folder, "a")
    writer = server.client()
    cache = raw(server)
    cache.sendall(b"HELLO 3\r\nCLIENT TRACKING ON\r\n")
    heard_with(cache, b"+OK\r\n")
    changes = [lambda: writer.set("k", 1), lambda: writer.delete("k"), lambda: writer.expire("k", 100),
               lambda: writer.rename("k", "k2"), lambda: writer.flushall(), lambda: writer.pexpire("k", 1)]
    for change in changes:
        writer.set("k", "v")
        heard(cache)
        cache.sendall(b"GET k\r\n")
        heard_with(cache, b"v\r\n")
        change()
        heard_with(cache, b"invalidate")
    # What it did not read it does not hear of.
    writer.set("other", 1)
    assert b"invalidate" not in heard(cache)


def test_prefixes_are_told_at_once_and_not_to_who_changed_them(folder):
    server = Ours(folder, "a")
    writer = server.client()
    listener = raw(server)
    listener.sendall(b"HELLO 3\r\nCLIENT TRACKING ON BCAST PREFIX a: NOLOOP\r\n")
    heard_with(listener, b"+OK\r\n")
    with writer.pipeline(transaction=True) as pipe:
        pipe.set("a:1", 1).set("a:2", 2).set("b:1", 3)
        pipe.execute()
    got = heard_with(listener, b"invalidate")
    got += heard(listener)
    assert got.count(b"invalidate") == 1 and b"a:1" in got and b"a:2" in got and b"b:1" not in got, got
    listener.sendall(b"SET a:3 1\r\n")
    assert heard_with(listener, b"+OK\r\n") + heard(listener) == b"+OK\r\n"


def test_the_biggest_client_goes_first(folder):
    server = Ours(folder, "a", "--maxmemory-clients", "4mb")
    admin = server.client(decode_responses=True)
    admin.execute_command("CLIENT", "NO-EVICT", "ON")
    small, big = raw(server), raw(server)
    small.sendall(b"*2\r\n$3\r\nSET\r\n$600000\r\n" + b"x" * 500000)
    time.sleep(0.2)
    try:
        big.sendall(b"*2\r\n$3\r\nSET\r\n$9000000\r\n" + b"x" * 8000000)
    except OSError:
        pass
    wait_until("one is closed", lambda: admin.info("stats")["evicted_clients"] == 1)
    assert heard(big) == b"", "it was answered"
    small.sendall(b"x" * 100000 + b"\r\n")
    heard_with(small, b"wrong number")


def test_a_command_can_be_renamed_and_rewrite_keeps_it(folder):
    path = os.path.join(folder.path, "redis.conf")
    with open(path, "w") as file:
        file.write("rename-command flushall wipe\nrename-command evalsha hash\nrename-command hash runsha\nrename-command debug \"\"\nuser u on nopass +ping\n"
                   "# a comment\nactivedefrag no\n")
    server = FileServer(folder, "a", path)
    admin = server.client()
    refused("unknown command", admin.execute_command, "FLUSHALL")
    refused("unknown command", admin.execute_command, "DEBUG", "SLEEP", "0")
    assert admin.execute_command("WIPE")
    refused("nknown", admin.eval, "return redis.call('FLUSHALL')", 0)
    assert admin.eval("return redis.call('WIPE')", 0) == b"OK"
    refused("not found", admin.execute_command, "ACL", "DRYRUN", "default", "FLUSHALL")
    del admin.response_callbacks["COMMAND"]
    assert admin.execute_command("COMMAND", "DOCS", "FLUSHALL", "DEBUG", "config|get")[::2] == [b"config|get"], "they have no such names here"
    refused("Invalid command", admin.execute_command, "COMMAND", "GETKEYS", "EVALSHA", "x", 1, "key")
    assert admin.execute_command("COMMAND", "GETKEYS", "RUNSHA", "x", 1, "key") == [b"key"]
    names = admin.execute_command("COMMAND", "LIST")
    assert b"flushall" in names and b"debug" not in names
    admin.config_set("maxmemory-clients", "5%")
    admin.execute_command("CONFIG", "REWRITE")
    with open(path) as file:
        text = file.read()
    assert text.count("rename-command") == 4 and "maxmemory-clients" in text, text
    assert "# a comment" in text and text.count("user ") == 2 and "user u on nopass" in text, text
    server.kill()
    server = FileServer(folder, "b", path)
    admin = server.client(decode_responses=True)
    assert admin.config_get("maxmemory-clients")["maxmemory-clients"] == "5%"
    assert admin.execute_command("ACL", "USERS") == ["default", "u"]


class FileServer(Ours):
    """One with a configuration file."""

    def __init__(self, folder, name, path):
        self.file = path
        super().__init__(folder, name)

    def command(self):
        return (*self.program, self.file, "--port", str(self.port), "--dir", self.dir, "--save", "")


def main():
    tests = [test for name, test in globals().items() if name.startswith("test_")]
    for test in tests:
        with Folder(test.__name__) as folder:
            test(folder)


sys.exit(main())

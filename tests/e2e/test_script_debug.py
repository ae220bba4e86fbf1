#!/usr/bin/python3
"""test_script_debug.py -- SCRIPT DEBUG says word for word what redis-server says, by itself and with redis-cli --ldb; what a script did in
a copy of the process was never done; who misbehaves or goes away harms nobody."""
import os, signal, subprocess, sys

import redis

from servers import Folder, Ours, RedisServer, free_port, run_tests, wait_until
from test_server_tls import certificates, tls_options

SCRIPT = """local a = {1,2,'x"y',{k=true}}
local n = 0
local function add(by)
  n = n + by
end
for i = 1,3 do
  add(i)
  redis.call('SET', KEYS[1], n)
end
redis.debug('hello', a, nil, 1.5)
redis.breakpoint()
return redis.call('GET', KEYS[1])
"""

SESSION = """s|p|p a|b 5|b 4 8 99 x 0|b 8|b|c|p n|p i|p KEYS|p ARGV|p zz|r incr foo|r nothing here|r hset h f v|r hgetall h|r set h 1 xx px|r get h
r mget a b c d e f g h i j k l m|r lrange foo 0 1|e redis.call("get","foo")|e x y|e error("x")|e n|e 1,2|e {1,{2,{3,{4,{5,{6,{7,{8,{9,{10,{11}}}}}}}}}}}
e {a=function() end} == nil|e "\\1\\n\\r\\t\\"\\\\é"|e 1e100|e -0.5|e redis.status_reply("yes")|e redis.setresp(3)|r hgetall h|r zadd z 1.5 m|r zscore z m|r get nokey|r smembers nokey
e redis.setresp(2)|t|l|l 3 1|l 0 2|l 100 1|l x|w|whole|LIST|m|maxlen 10|e string.rep("x", 100)|m 0|e string.rep("x", 300)|m -5|zz|r|'x\\0y'|b -8|b -8|n|step|s|s|t|p|c|r get k|c"""


class Debugger:
    """A client that steps; what it is told is kept as a list of lists of lines."""

    def __init__(self, port, mode, script=SCRIPT, arguments=("1", "k", "arg"), **options):
        self.client = redis.Redis(port=port, decode_responses=True, socket_timeout=60, **options)
        self.connection = self.client.connection_pool.get_connection("x")
        assert self.ask("SCRIPT", "DEBUG", mode) == "OK"
        self.told = [self.ask("EVAL", script, *arguments)]

    def ask(self, *words):
        self.connection.send_command(*words)
        return self.read()

    def read(self):
        try:
            return self.connection.read_response()
        except redis.ResponseError as error:
            return f"error: {error}"

    def run(self, commands):
        """Until the session has ended; then the reply of EVAL, and the end of the connection."""
        for command in commands:
            self.told.append(self.ask(*command.split(" ")))
            if "<endsession>" in self.told[-1]:
                break
        return self.end()

    def end(self):
        if "<endsession>" in self.told[-1]:
            self.told.append(self.read())
            try:
                self.told.append(self.connection.read_response())
            except redis.ConnectionError:
                self.told.append("closed")
        return self.told

    def close(self):
        self.connection.disconnect()


def told(port, mode, commands, **options):
    debugger = Debugger(port, mode, **options)
    try:
        return debugger.run(commands)
    finally:
        debugger.close()


def both(folder):
    return Ours(folder, "ours"), RedisServer(folder, "redis", "--save", "")


def test_a_session_is_word_for_word_that_of_redis():
    with Folder("debug") as folder:
        servers = both(folder)
        commands = SESSION.replace("\n", "|").split("|")
        for mode in ("YES", "SYNC"):
            for server in servers:
                server.client().flushall()
            ours, theirs = (told(server.port, mode, commands) for server in servers)
            assert len(theirs) > 60 and theirs[-3][-1] == "<endsession>" and theirs[-1] == "closed", theirs[-4:]
            for n, (mine, wanted) in enumerate(zip(ours, theirs)):
                assert mine == wanted, f"{mode}, {(['EVAL'] + commands)[n] if n <= len(commands) else 'the end'}:\n{mine}\n{wanted}"
            assert len(ours) == len(theirs)
            keys = [sorted(server.client().keys()) for server in servers]
            assert keys[0] == keys[1] == ([] if mode == "YES" else [b"foo", b"h", b"k", b"z"]), keys


def test_redis_cli_steps_through_a_script():
    with Folder("debug-cli") as folder:
        servers = both(folder)
        path = os.path.join(folder.path, "script.lua")
        with open(path, "w", encoding="utf-8") as out:
            out.write(SCRIPT)
        for how in ("--ldb", "--ldb-sync-mode"):
            for commands in ("s\np\nb 8\nc\nt\nr incr foo\nc\nw\nb 0\nc\nc\n", "abort\n", "s\nrestart\nc\nc\n", "s\nquit\n"):
                said = [subprocess.run(["redis-cli", "-p", str(server.port), how, "--eval", path, "k", ",", "x"], input=commands, text=True,
                                       capture_output=True, timeout=180, check=False) for server in servers]
                assert "Stopped at 1" in said[1].stdout and said[0].stdout == said[1].stdout, f"{how} {commands}\n{said[0].stdout}\n{said[1].stdout}"


def test_a_copy_of_the_process_leaves_nothing_behind():
    script = """redis.call('SELECT', 1)
for i = 1,1000 do redis.call('RPUSH', 'list', i) redis.call('SADD', 'set', i) end
redis.call('PUBLISH', 'news', 'x')
redis.call('DEL', 'big')
redis.call('SELECT', 0)
redis.call('FLUSHALL')
redis.call('SET', 'k', 'copy')
return redis.call('DBSIZE')
"""
    with Folder("debug-copy") as folder:
        ours = Ours(folder, "ours", "--appendonly", "yes", "--aof-patience-ms", "1000000", "--save", "3600 1", "--notify-keyspace-events", "KEA")
        replica = Ours(folder, "replica", "--replicaof", "127.0.0.1", str(ours.port))
        wait_until("the replica follows", lambda: replica.info("replication")["master_link_status"] == "up")
        client = ours.client()
        client.set("k", "here")
        ours.client(1).sadd("big", *range(20000))
        client.unlink("nothing")
        client.execute_command("SAVE")
        rdb, aof = os.path.join(ours.dir, "dump.rdb"), ours.info("persistence")["aof_current_size"]
        saved, offset = open(rdb, "rb").read(), ours.info("replication")["master_repl_offset"]
        listener = ours.client().pubsub(ignore_subscribe_messages=True)
        listener.psubscribe("*")
        listener.get_message(timeout=60)
        debugger = Debugger(ours.port, "YES", script, ("0",))
        client.set("mine", 1)  # while it stands still, everybody else goes on
        assert client.get("mine") == b"1" and ours.client(1).scard("big") == 20000
        wait_until("the write was heard", lambda: listener.get_message(timeout=0.1))
        debugger.run(["c"])
        assert debugger.told[-2:] == [1, "closed"], debugger.told
        assert debugger.told[1] == ["<endsession>"]
        debugger.close()
        while (message := listener.get_message(timeout=0.2)) is not None:
            assert b"mine" in message["channel"] or b"mine" in message["data"], message
        assert client.get("k") == b"here" and ours.client(1).scard("big") == 20000 and client.dbsize() == 2
        assert open(rdb, "rb").read() == saved
        assert ours.info("persistence")["aof_current_size"] - aof < 100, "only SET mine"
        assert ours.info("replication")["master_repl_offset"] - offset < 150
        wait_until("the copy is gone", lambda: ours.said("which debugged a script, is gone"))
        assert client.debug_object("k") and ours.client().execute_command("WAIT", 1, 10000) == 1
        assert replica.client().get("k") == b"here"
        listener.close()


def test_tls_goes_on_in_the_copy():
    with Folder("debug-tls") as folder:
        cert, port = certificates(folder), free_port()
        ours = Ours(folder, "ours", *tls_options(cert, port))
        options = {"ssl": True, "ssl_ca_certs": cert("ca.pem"), "host": "localhost", "ssl_certfile": cert("client.pem"), "ssl_keyfile": cert("client.key")}
        for mode in ("YES", "SYNC"):
            lines = told(port, mode, ["s", "p", "c", "c"], **options)
            assert "* Stopped at 2" in lines[1][0] and lines[-2:] == ["6", "closed"], lines
            assert ours.client().get("k") == (None if mode == "YES" else b"6")


def test_who_misbehaves_ends_his_script_and_nothing_else():
    with Folder("debug-hostile") as folder:
        ours, theirs = both(folder)
        for raw in (b"*1\r\n$1025\r\n", b"*2000\r\n", b"$3\r\nabc\r\n", b"*1\r\n:5\r\n", b"*-1\r\n", b"*1\r\n$3\r\nabcde\r\n"):
            for mode in ("YES", "SYNC"):
                ended = []
                for server in (ours, theirs):
                    debugger = Debugger(server.port, mode)
                    debugger.connection._sock.sendall(raw)
                    debugger.told = [debugger.read()]
                    ended.append(debugger.end())
                    debugger.close()
                assert ended[0] == ended[1] and "protocol error" in ended[0][1], (raw, ended)
        # Who sends without end is told so; who goes away lets the script run to its end.
        debugger = Debugger(ours.port, "SYNC")
        debugger.connection._sock.sendall(b"*1024\r\n" + b"$1000\r\n" + b"x" * 1000 + b"\r\n")
        debugger.close()
        wait_until("the script ran to its end", lambda: ours.client().get("k") == b"6")
        assert told(ours.port, "SYNC", ["e error({})", "e error()", "c", "c"])[1:3] == [["<error> ?"], ["<error> nil"]], "redis-server dies of it"
        # A script that never ends stops by itself, and ends when its client goes.
        for mode in ("YES", "SYNC"):
            ours.client().config_set("busy-reply-threshold", 100)
            debugger = Debugger(ours.port, mode, "while true do end", ("0",))
            assert "timeout reached, infinite loop?" in debugger.ask("c")[0]
            debugger.close()
            assert ours.client().ping()
        # Where it is not possible it is refused.
        client = redis.Redis(port=ours.port)
        connection = client.connection_pool.get_connection("x")
        for words, wanted in ((("SCRIPT", "DEBUG", "maybe"), "Use SCRIPT DEBUG YES/SYNC/NO"), (("SCRIPT", "DEBUG", "SYNC"), "OK"),
                              (("EVALSHA", "0" * 40, 0), "Please use EVAL"), (("MULTI",), "OK"), (("EVAL", "return 1", 0), "QUEUED")):
            connection.send_command(*words)
            try:
                said = connection.read_response()
            except redis.ResponseError as error:
                said = str(error).encode()
            assert wanted.encode() in said, (words, said)
        connection.send_command("EXEC")
        assert "cannot be debugged here" in str(connection.read_response()[0])
        client.close()
        assert ours.client().ping()


def test_copies_are_few_and_die_with_the_server():
    with Folder("debug-many") as folder:
        ours = Ours(folder, "ours")
        debuggers = [Debugger(ours.port, "YES") for _ in range(16)]
        late = Debugger(ours.port, "YES")
        assert "16 scripts are being debugged already" in str(late.told), late.told
        copies = children(ours.process.pid)
        assert len(copies) == 16
        os.kill(copies[0], signal.SIGKILL)
        wait_until("it is gone", lambda: len(children(ours.process.pid)) == 15)
        wait_until("there is room for another", lambda: "Stopped at 1" in str(Debugger(ours.port, "YES").told))
        ours.kill()
        wait_until("all copies are gone", lambda: not any(alive(pid) for pid in copies))
        for debugger in debuggers:
            debugger.close()


def children(pid):
    out = subprocess.run(["ps", "-o", "pid=,stat=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(line.split()[0]) for line in out.splitlines() if "Z" not in line.split()[1]]


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    run_tests(sys.modules[__name__])

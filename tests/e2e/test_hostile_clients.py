#!/usr/bin/python3
"""Hostile clients at the gateway and at the bundled server: raw bytes that no client library would send.

After each of them the process is the same one, still answers, and has not grown beyond reason.
"""
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from gwtest import PROGRAM, Bench, check, free_port, wait_for
import seeds

SECRET = "open sesame 77"
MORE_MEMORY_BYTES = 96 << 20


class Door:
    """A port of one process: raw connections to it."""

    def __init__(self, name, port, pid, password=None):
        self.name, self.port, self.pid, self.password = name, port, pid, password
        self.at_first = self.memory()

    def memory(self):
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as text:
            return int(text.read().split()[1]) * 4096

    def open(self, timeout_s=60):
        return socket.create_connection(("127.0.0.1", self.port), timeout_s)

    def talk(self, data, timeout_s=60, half=False, most=1 << 20, enough=None):
        """Send DATA; return what came until the other side closed, ENOUGH(what came), or was silent, and whether it closed."""
        with self.open(timeout_s) as s:
            got, closed = b"", False
            try:
                s.sendall(data)
                if half:
                    s.shutdown(socket.SHUT_WR)
                while len(got) < most and not (enough and enough(got)):
                    more = s.recv(65536)
                    if not more:
                        closed = True
                        break
                    got += more
            except TimeoutError:
                pass
            except OSError:  # reset, or gone before we could close our half
                closed = True
        return got, closed

    def is_well(self, what):
        """It answers, and has not grown much."""
        auth = f"*2\r\n$4\r\nAUTH\r\n${len(self.password)}\r\n{self.password}\r\n".encode() if self.password else b""
        with self.open() as s:
            s.sendall(auth + b"*1\r\n$4\r\nPING\r\n")
            got = b""
            while not got.endswith(b"+PONG\r\n"):
                more = s.recv(4096)
                assert more, f"{self.name}: after {what} it hangs up: {got}"
                got += more
        grown = self.memory() - self.at_first
        assert grown < MORE_MEMORY_BYTES, f"{self.name}: after {what} it has {grown >> 20} MB more"


def frame(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def has_lines(count):
    return lambda got: got.count(b"\r\n") >= count


def one_line_error(what, got):
    """One or more error lines, each ended by CR LF, with neither inside, and no other control character."""
    assert got.endswith(b"\r\n"), f"{what}: {got[:200]}"
    for line in got[:-2].split(b"\r\n"):
        assert b"\r" not in line and b"\n" not in line, f"{what}: {got[:200]}"


def http(door):
    for text in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nSET http 1\r\n", b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET http 1\r\n",
                 b"GET / HTTP/1.1\r\nUser-Agent: x\r\nHost: x\r\n\r\n", b"Host: x\r\nSET http 1\r\n", b"post x\r\nSET http 1\r\n"):
        got, closed = door.talk(text)
        assert closed, f"{door.name}: an HTTP request stays connected: {text} {got}"
        assert b"+OK" not in got, f"{door.name}: a command behind an HTTP request ran: {got}"
    door.is_well("HTTP")


def bad_lengths(door):
    for text in (b"*-5\r\n", b"*x\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$x\r\n", b"*1\r\n:1\r\n", b"*1\r\n$536870913\r\n", b"*1048577\r\n*",
                 b"*2147483648\r\n", b"*9223372036854775807\r\n", b"*9223372036854775808\r\n", b"*18446744073709551616\r\n",
                 b"*1\r\n$9223372036854775807\r\n", b"*1\r\n$-9223372036854775808\r\n", b"*1\r\n$4294967296\r\n", b"*1\r\n$ 4\r\nPING\r\n",
                 b"*1\r\n$+4\r\nPING\r\n", b"*1\r\n$04\r\nPING\r\n", b"*+1\r\n$4\r\nPING\r\n", b"*1\r\n*1\r\n*1\r\n$4\r\nPING\r\n",
                 b"*1\r\n$4\r\nPINGxx*1\r\n", b"*3\r\n$3\r\nSET\r\n" + b"*1\r\n" * 1000, b"*" + b"1" * 70000, b"*1\r\n$" + b"9" * 70000,
                 b"%1\r\n+a\r\n+b\r\n", b">1\r\n+a\r\n", b"\x00" * 1000 + b"\r\n", bytes(range(256)) * 10, b"\xff" * 70000,
                 b"\r\n" * 5000 + b"\n" * 5000, b"*0\r\n" * 10000, b"*-1\r\n" * 1000):
        got, _ = door.talk(text, timeout_s=0.5, half=True)
        assert b"+OK" not in got, f"{door.name}: {text[:60]} did something: {got[:100]}"
        if got:
            one_line_error(text[:60], got)
    door.is_well("wrong lengths")


def huge_promises(door):
    """A length that is allowed and never comes: it costs nothing until it comes."""
    held = []
    for _ in range(30):
        for text in (b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$536870912\r\n", b"*1048576\r\n$1\r\na\r\n", b"*1048576\r\n"):
            s = door.open()
            s.sendall(text)
            held.append(s)
    time.sleep(0.3)
    door.is_well("90 promises of huge commands")
    for s in held:
        s.close()


def half_commands(door, rng):
    whole = frame(b"SET", b"half", b"x" * 100) + frame(b"BLPOP", b"never", b"0") + frame(b"MULTI") + frame(b"SUBSCRIBE", b"c")
    for _ in range(150):
        s = door.open()
        s.sendall(whole[:rng.randrange(1, len(whole))])
        if rng.random() < 0.5:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()
    door.is_well("half commands")


def many_connections(door):
    for _ in range(10):
        held = [door.open() for _ in range(100)]
        for at, s in enumerate(held):
            if at % 3 == 0:
                s.sendall(b"*1\r\n$4\r\nPI")
            elif at % 3 == 1:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        for s in held:
            s.close()
    files = f"/proc/{door.pid}/fd"
    wait_for("the connections are closed", lambda: len(os.listdir(files)) < 100)
    door.is_well("1,000 connections")


def inline(door):
    for text in (b'SET "a b\r\n', b"SET 'a\r\n", b'SET "a"b c\r\n', b'ECHO "\\x4', b'"\r\n', b"'\\\r\n", b'ECHO "\\xzz\\"\r\n'):
        got, _ = door.talk(text, timeout_s=0.5)
        assert b"+OK" not in got, f"{door.name}: {text}: {got}"
        if got and got[:1] == b"-":
            one_line_error(text, got)
    got, closed = door.talk(b"x" * 70000)
    assert closed and got.startswith(b"-"), f"{door.name}: an inline command of 70,000 bytes: {got[:100]} {closed}"
    got, _ = door.talk(b'SET "a b\r\n', enough=has_lines(1))
    assert b"unbalanced quotes" in got, f"{door.name}: {got}"
    door.is_well("inline commands")


def split_errors(door, auth):
    """CR and LF of arguments are in no error (a client would take the rest for the next answer)."""
    evil = b"x\r\n+OK\r\n:1\r\n"
    calls = [frame(evil), frame(evil, evil), frame(b"CLIENT", evil), frame(b"CONFIG", evil), frame(b"OBJECT", evil, b"a"),
             frame(b"SET", b"a", b"b", evil), frame(b"HELLO", evil), frame(b"HELLO", b"3", evil), frame(b"AUTH", evil, evil),
             frame(b"CLIENT", b"SETNAME", evil), frame(b"CLIENT", b"KILL", evil, evil), frame(b"DEBUG", evil), frame(b"ACL", evil),
             frame(b"COMMAND", b"GETKEYS", evil), frame(b"SELECT", evil), frame(b"EVAL", b"return redis.error_reply('a\\r\\n+b')", b"0"),
             frame(b"EVAL", b"return " + evil, b"0"), frame(b"CONFIG", b"SET", evil, evil), frame(b"XGROUP", evil), frame(b"SCRIPT", evil),
             frame(b"MEMORY", evil), frame(b"CLIENT", b"REPLY", evil), frame(b"ZADD", b"z", evil, b"a"), frame(b"FUNCTION", evil)]
    for call in calls:
        got, _ = door.talk(auth + call + frame(b"PING"), enough=has_lines(3 if auth else 2))
        if auth:
            assert got.startswith(b"+OK\r\n"), got
            got = got[5:]
        lines = got.split(b"\r\n")
        assert len(lines) == 3 and lines[0][:1] == b"-" and lines[1] in (b"+PONG", b"-NOAUTH Authentication required.") and not lines[2], \
            f"{door.name}: {call[:80]}: {got}"
    door.is_well("errors with line ends")


def before_auth(door):
    """C: at most 10 arguments of 16 KB, and little output, for who has not said a password."""
    got, closed = door.talk(b"*11\r\n")
    assert closed and b"unauthenticated multibulk length" in got, f"{door.name}: {got}"
    got, closed = door.talk(b"*2\r\n$4\r\nAUTH\r\n$16385\r\n")
    assert closed and b"unauthenticated bulk length" in got, f"{door.name}: {got}"
    got, _ = door.talk(b"*2\r\n$4\r\nAUTH\r\n$16384\r\n" + b"x" * 16384 + b"\r\n", enough=has_lines(1))
    assert got.startswith(b"-WRONGPASS"), f"{door.name}: {got[:100]}"
    for words in ((b"GET", b"a"), (b"SET", b"a", b"b"), (b"CONFIG", b"GET", b"*"), (b"COMMAND",), (b"INFO",), (b"CLIENT", b"LIST"), (b"PING",),
                  (b"MULTI",), (b"SUBSCRIBE", b"x"), (b"EVAL", b"return 1", b"0"), (b"HELLO", b"3"), (b"MONITOR",), (b"PSYNC", b"?", b"-1"),
                  (b"SYNC",), (b"REPLCONF", b"ACK", b"1"), (b"CLIENT", b"SETNAME", b"x"), (b"SELECT", b"1"), (b"DRAWBRIDGE", b"IMPORT")):
        got, _ = door.talk(frame(*words), enough=has_lines(1))
        assert got.startswith((b"-NOAUTH", b"-ERR unknown command")) and got.count(b"\r\n") == 1, f"{door.name}: {words}: {got[:100]}"
    with door.open(5) as s:  # questions without reading the answers: it hangs up before the answers pile up
        sent = 0
        try:
            for _ in range(2000):
                s.sendall(frame(b"NOSUCH", b"x" * 100) * 200)
                sent += 1
        except OSError:
            pass
        assert sent < 2000, f"{door.name}: takes any number of answers for who has no password"
    door.is_well("what comes before a password")
    with door.open(5) as s:  # ... also one that reads slowly is the same process afterwards
        s.sendall(frame(b"AUTH", b"wrong") * 20)
        time.sleep(0.2)
    door.is_well("guesses")


def never_reads(door, auth):
    """Questions by the megabyte, no answer read: the process does not keep the answers for ever."""
    many = (frame(b"ECHO", b"x" * 1000) * 500, frame(b"CLIENT", b"LIST") * 2000, frame(b"PING") * 5000,
            (frame(b"GET", b"never-there") + frame(b"PING") * 20) * 1000)
    for text in many:
        with door.open(1) as s:
            s.sendall(auth)
            sent = 0
            try:
                while sent < 200 << 20:
                    sent += s.send(text)
            except TimeoutError:
                pass
            assert sent < 200 << 20, f"{door.name}: takes questions without end: {text[:40]}"
            door.is_well("a client that does not read, " + repr(text[8:30]))


def mixture(door, rng):
    """Pieces of commands in any order, cut anywhere."""
    pieces = [b"*3\r\n", b"$3\r\nSET\r\n", b"$1\r\na\r\n", b"$-1\r\n", b"PING\r\n", b"*1\r\n$4\r\nPING\r\n", b"$5\r\nhello\r\n", b"\r\n", b"*",
              b"$", b"\"", b"QUIT", b"*2\r\n$4\r\nECHO\r\n", b"\n", b"*0\r\n", b"HELLO 3\r\n", b"RESET\r\n", b"MULTI\r\n", b"EXEC\r\n", b"\0"]
    for _ in range(200):
        text = b"".join(rng.choice(pieces) for _ in range(rng.randrange(1, 40)))
        door.talk(text, timeout_s=0.2, half=True)
    door.is_well("a mixture")


def hostile(door, rng):
    auth = frame(b"AUTH", door.password.encode()) if door.password else b""
    cases = [http, bad_lengths, huge_promises, many_connections]
    if door.password:
        cases += [before_auth]
    else:
        cases += [inline]
    for case in cases:
        case(door)
        print(f"  {door.name}: {case.__name__}: fine", flush=True)
    half_commands(door, rng)
    mixture(door, rng)
    split_errors(door, auth)
    if "gateway" in door.name:  # as Redis, the server has client-output-buffer-limit for it
        never_reads(door, auth)
    print(f"  {door.name}: halves, mixtures, line ends in errors: fine", flush=True)


def open_gateway(rng):
    with Bench() as b:
        hostile(Door("gateway", b.port, b.processes["gateway"].pid), rng)
        check("nothing was written behind HTTP", b.direct().exists("http"), 0)


def locked_gateway(rng):
    os.environ["GATEWAY_TEST_PASSWORD"] = SECRET
    with Bench(gateway='  auth: { password: "env:GATEWAY_TEST_PASSWORD" }') as b:
        hostile(Door("gateway with a password", b.port, b.processes["gateway"].pid, SECRET), rng)


def bundled(rng, password):
    folder, port = tempfile.mkdtemp(prefix="drawbridge-hostile-"), free_port()
    log = os.path.join(folder, "server.log")
    options = ("--requirepass", password) if password else ()
    with open(log, "wb") as out:
        process = subprocess.Popen([PROGRAM, "server", "--port", str(port), "--dir", folder, "--appendonly", "yes", *options],
                                   stdout=out, stderr=out)
    try:
        wait_for("the server", lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None)
        hostile(Door("server with a password" if password else "server", port, process.pid, password), rng)
        process.terminate()
        check("it ends in order", process.wait(180), 0)
        with open(log, "rb") as text:
            check("no password in the log", SECRET.encode() in text.read(), False)
        shutil.rmtree(folder)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if os.path.exists(log):
            with open(log, encoding="utf-8", errors="replace") as text:
                print("--- the end of server.log\n" + text.read()[-3000:])


def main():
    seed = seeds.seed()
    print(f"SEED={seed}", flush=True)
    rng = random.Random(seed)
    wanted = sys.argv[1:]
    cases = {"gateway": open_gateway, "locked": locked_gateway, "server": lambda r: bundled(r, None),
             "server-locked": lambda r: bundled(r, SECRET)}
    for name, case in cases.items():
        if not wanted or name in wanted:
            case(rng)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""ports.py -- ports that nobody listens on, and that nobody gets before they are used: no connection, and no other test.

The kernel gives outgoing connections ports from its own range (32768 on); one of these that is free now may be somebody's
connection a moment later. A server with a port in 11000-20999 has its cluster bus in 21000-30999, which is free of both.

Programs that run beside each other share a file, in which each locks the byte of every port that it was given, until it ends: a
server that is killed and started again finds its port, and one that starts late, too.
"""
import fcntl
import os
import random
import socket
import tempfile

FIRST, COUNT = 11000, 10000
given = set()
shared = os.open(os.path.join(tempfile.gettempdir(), f"drawbridge-ports-{os.getuid()}"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def is_mine(port):
    try:
        fcntl.lockf(shared, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        return True
    except OSError:
        return False


def free_port():
    chance = random.SystemRandom()  # programs that run beside each other, and a seed does not decide about it
    while True:
        port = FIRST + chance.randrange(COUNT)
        if port in given or not is_mine(port):
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        given.add(port)
        return port

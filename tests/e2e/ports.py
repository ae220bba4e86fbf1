"""ports.py -- ports that nobody listens on, and that nobody gets for a connection of his own before they are used.

The kernel gives outgoing connections ports from its own range (32768 on); one of these that is free now may be somebody's
connection a moment later. A server with a port in 11000-20999 has its cluster bus in 21000-30999, which is free of both.
"""
import random
import socket

FIRST, COUNT = 11000, 10000
given = set()


def free_port():
    chance = random.SystemRandom()  # programs that run beside each other, and a seed does not decide about it
    while True:
        port = FIRST + chance.randrange(COUNT)
        if port in given:
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        given.add(port)
        return port

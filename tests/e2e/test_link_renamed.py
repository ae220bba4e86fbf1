#!/usr/bin/python3
"""A cloud that gives out PSYNC under another name: the link follows through a proxy that knows only that name.

A stock redis-server serves a renamed PSYNC as the old SYNC (it compares the name that came), so a small proxy before it does the
renaming: it passes everything, makes PSYNC of the secret word, and refuses PSYNC and SYNC as clouds do. The link copies,
follows, and goes on by +CONTINUE after a kill; without the name it says what is wrong.
"""
import random
import socket
import threading
import time

from link import Link
from servers import Load

SECRET = b"xhma21xfkssync"


class RenamingProxy:
    """From the client's side whole requests are looked at; what comes back is passed as it is."""

    def __init__(self, to_port):
        self.to_port, self.renamed, self.refused = to_port, 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", self.to_port))
            except OSError:
                client.close()
                continue
            threading.Thread(target=self.forth, args=(client, server), daemon=True).start()
            threading.Thread(target=self.back, args=(server, client), daemon=True).start()

    @staticmethod
    def end(*sockets):
        for s in sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def request(self, file):
        """One request as a list of words, and its bytes."""
        line = file.readline()
        if not line.startswith(b"*"):
            return [], line
        words, raw = [], line
        for _ in range(int(line[1:])):
            head = file.readline()
            body = file.read(int(head[1:]) + 2)
            words.append(body[:-2])
            raw += head + body
        return words, raw

    def forth(self, client, server):
        with client.makefile("rb") as file:
            try:
                while True:
                    words, raw = self.request(file)
                    if not raw:
                        break
                    name = words[0].lower() if words else b""
                    if name in (b"psync", b"sync"):
                        self.refused += 1
                        client.sendall(b"-ERR unknown command '%s', with args beginning with: \r\n" % words[0])
                        continue
                    if name == SECRET:
                        self.renamed += 1
                        words[0] = b"PSYNC"
                        raw = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
                    server.sendall(raw)
            except (OSError, ValueError):
                pass
        self.end(client, server)

    def back(self, server, client):
        try:
            while data := server.recv(65536):
                client.sendall(data)
        except OSError:
            pass
        self.end(client, server)


class Renamed(Link):
    """The link's source is the proxy; the test itself writes to the server behind it."""

    def __enter__(self):
        super().__enter__()
        self.proxy = RenamingProxy(self.ports["source"])
        return self

    def name(self, commands):
        path = f"{self.folder}/drawbridge.yaml"
        self.write_config(source=self.proxy.port)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        address = f'address: "127.0.0.1:{self.proxy.port}"'
        assert address in text, text
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace(address, address + commands))


class Source:
    def __init__(self, link):
        self.link = link

    def client(self, db=0):
        return self.link.client("source", db)


def main():
    with Renamed("renamed", seed=20261121) as l:
        with l.client("source").pipeline(transaction=False) as p:
            for n in range(3000):
                p.set(f"fill:{n}", "x" * random.Random(n).randrange(300))
            p.execute()
        l.name("")
        l.start()
        l.wait_log("unknown command")
        assert l.proxy.refused and not l.proxy.renamed and not l.client("target").exists("fill:1")
        l.kill()

        l.name(", commands: { psync: " + SECRET.decode() + " }")
        l.start()
        load = Load(Source(l), l.seed, pause=0.001)
        load.start()
        time.sleep(2)
        l.wait_level()
        assert l.proxy.renamed == 1, l.proxy.renamed
        for _ in range(2):
            l.kill()
            time.sleep(0.3)
            l.start()
            time.sleep(1)
        load.stop()
        l.wait_clean()
        time.sleep(3.2)  # what had a deadline is gone at both sides
        l.check_equal()
        assert l.client("source").info("stats")["sync_full"] == 1, "it was copied again instead of going on"
        assert l.client("source").info("stats")["sync_partial_ok"] == 2
        print(f"{load.commands} commands followed; PSYNC renamed {l.proxy.renamed} times")


if __name__ == "__main__":
    main()

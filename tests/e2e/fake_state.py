"""fake_state.py -- `state` as far as a syncer needs one: listens, greets, sends orders, collects reports.

    state = FakeState("control.sock"); state.wait_member()
    state.order("LINK", "OPEN", "forward", '{...}')        the answer; an error raises
    state.wait_report("LINK", "forward", lambda j: j["state"] == "following")
"""
import json
import os
import socket
import threading
import time

import resp


class FakeState:
    def __init__(self, path):
        if os.path.exists(path):
            os.unlink(path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(4)
        self.lock = threading.Condition()
        self.member, self.answers, self.reports, self.joined = None, [], [], 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            conn, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        file = conn.makefile("rb")
        try:
            hello = resp.read(file)
            assert hello[:3] == ["DRAWBRIDGE", "HELLO", "syncer"], hello
            conn.sendall(b"*2\r\n$5\r\nepoch\r\n:1\r\n")
            with self.lock:
                self.member, self.answers, self.joined = conn, [], self.joined + 1
                self.lock.notify_all()
            while True:
                value = resp.read(file)
                with self.lock:
                    if isinstance(value, resp.Push):
                        self.reports.append((value[0], value[1], json.loads(value[2])))
                        del self.reports[:-2000]
                    else:
                        self.answers.append(value)
                    self.lock.notify_all()
        except (EOFError, OSError):
            with self.lock:
                if self.member is conn:
                    self.member = None

    def wait_member(self, joined=1, timeout_s=120):
        with self.lock:
            assert self.lock.wait_for(lambda: self.member and self.joined >= joined, timeout_s), "the syncer did not join"

    def order(self, *words, timeout_s=60):
        with self.lock:
            before = len(self.answers)
            self.member.sendall(resp.encode(*words))
            assert self.lock.wait_for(lambda: len(self.answers) > before, timeout_s), f"no answer to {words}"
            answer = self.answers[before]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def forget(self):
        with self.lock:
            self.reports.clear()

    def wait_report(self, name, subject, test=lambda j: True, timeout_s=180):
        def find():
            return [j for n, s, j in self.reports if n == name and s == str(subject) and test(j)]
        with self.lock:
            ok = self.lock.wait_for(lambda: bool(find()), timeout_s)
            last = [j for n, s, j in self.reports if n == name and s == str(subject)][-1:]
            assert ok, f"no report {name} {subject} in {timeout_s} s; the last one: {last}"
            return find()[-1]

    def last(self, name, subject):
        with self.lock:
            return [j for n, s, j in self.reports if n == name and s == str(subject)][-1]


def settle(seconds=0.2):
    time.sleep(seconds)

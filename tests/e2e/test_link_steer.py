#!/usr/bin/python3
"""Every order is answered at once, whatever the servers do: with a target that stands still, an audit is stopped and another one
begun, a link is closed and opened again; each takes effect when what came before has ended.
"""
import signal
import time

from link_bridge import Bridge, Writer, follow, follow_forward

AT_ONCE_S = 20  # while the target stands still: whoever waited for it would never answer


def ask(b, *words):
    return b.state.order(*words, timeout_s=AT_ONCE_S)


def main():
    with Bridge("steer") as b:
        with b.client("source").pipeline(transaction=False) as p:
            for n in range(2000):
                p.set(f"fill:{n}", n)
            p.execute()
        b.open_state()
        writer = Writer(b, "source", b.seed)
        writer.start()
        follow(b)
        writer.end()
        b.wait_level()
        b.processes["target"].send_signal(signal.SIGSTOP)
        assert ask(b, "AUDIT", "START", 1, "forward") == "OK"
        time.sleep(1)  # it waits for the target by now
        assert ask(b, "AUDIT", "STOP", 1) == "OK"
        assert ask(b, "AUDIT", "START", 2, "forward") == "OK"
        assert "role" in ask(b, "LINK", "STATUS", "reverse")
        b.processes["target"].send_signal(signal.SIGCONT)
        result = b.state.wait_report("AUDITED", 2, timeout_s=180)
        assert result["ok"] and result["differences"] == 0, result
        assert not [r for r in b.state.reports if r[0] == "AUDITED" and r[1] == "1"], "an audit that was stopped tells its end"

        b.processes["target"].send_signal(signal.SIGSTOP)
        assert ask(b, "AUDIT", "START", 3, "forward") == "OK"
        assert ask(b, "LINK", "COMPARE", "forward", "7", 60000) == "OK"
        assert ask(b, "LINK", "COMPARE", "forward", "8", 60000) == "OK"
        time.sleep(1)
        assert ask(b, "LINK", "CLOSE", "forward") == "OK"
        assert ask(b, "LINK", "CLOSE", "forward") == "OK"
        try:
            ask(b, "LINK", "STATUS", "forward")
            raise SystemExit("a closed link has a status")
        except Exception as error:  # noqa: BLE001
            assert "not open" in str(error), error
        b.open("forward", "copy", 1)  # of the next migration: waits until the old one is gone
        assert "role" in ask(b, "LINK", "STATUS", "reverse")
        b.state.forget()
        b.processes["target"].send_signal(signal.SIGCONT)
        told = b.state.wait_report("LINK", "forward", lambda j: j["state"] == "blocked", timeout_s=180)
        assert "not empty" in told["error"], told  # it knows nothing of the one before
        assert not b.client("target").exists("drawbridge:checkpoint:forward")
        b.client("target").flushall()
        follow_forward(b)
        found = b.differences()
        assert not found, "\n".join(found)
        b.kill(how=signal.SIGTERM)
        assert b.processes["syncer"].returncode == 0


main()

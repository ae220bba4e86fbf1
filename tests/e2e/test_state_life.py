#!/usr/bin/python3
"""A whole migration with members that are fakes: there, back, there again, complete; state killed in each phase."""
import subprocess

from state_stage import StateStage


def check_routes(s, primary, epoch):
    s.wait(lambda: all(g.primary == primary and g.epoch == epoch and g.held is None for g in s.gateways),
           f"gateways are not at {primary}, epoch {epoch}")


def check_metrics(s):
    """promtool finds nothing to say about /metrics, and the figures are those of the status."""
    text = subprocess.run(["curl", "-s", "--unix-socket", "api.sock", "http://x/metrics"], cwd=s.folder, check=True,
                          capture_output=True, text=True).stdout
    lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert lint.returncode == 0 and not lint.stderr.strip(), lint
    for line in ('drawbridge_phase{phase="completed"} 1', f"drawbridge_epoch {s.status()['epoch']}", "drawbridge_ledger_durable 1"):
        assert line in text, (line, text)


def scenario(kill):
    with StateStage("state-life" + ("-kill" if kill else "")) as s:
        def again():
            if kill:
                s.kill_state()
                s.start_state()

        again()
        assert s.status()["phase"] == "planned"
        s.verb("start", "--yes", "--reason", "night one")
        again()
        s.wait_phase("following")
        assert len(s.syncer.has_seen("LINK", "OPEN", "forward")) >= 1
        again()
        result = s.verb("audit", "start", "--wait")
        assert result["outcome"] == "equal" and result["keys"] == 10, result
        epoch = s.wait_phase("level")["epoch"]
        again()
        s.wait_phase("level")
        for verb, primary, phase in (("cutover", "target", "guarded"), ("rollback", "legacy", "level"), ("cutover", "target", "guarded")):
            s.wait(lambda: s.status()["gates_open"], "gates stay closed")
            s.wait_phase("level", "guarded")
            rehearsed = s.verb(verb, "--rehearse", "--yes", "--wait")
            assert rehearsed["epoch"] == epoch and "rehearsal" in rehearsed["why"], rehearsed
            s.wait(lambda: s.status()["gates_open"], "gates stay closed")
            s.wait_phase("level", "guarded")
            done = s.verb(verb, "--yes", "--wait", "--reason", "test")
            epoch += 1
            assert done["primary"] == primary and done["epoch"] == epoch and done["hold_ms"] > 0, done
            check_routes(s, primary, epoch)
            again()
            check_routes(s, primary, epoch)
            s.wait_phase(phase, "level")
        s.wait(lambda: s.status()["gates_open"], "gates stay closed")
        assert s.verb("rollback", "--dry-run")["possible"]
        s.verb("complete", "--yes")
        again()
        assert s.status()["phase"] == "completed"
        s.wait(lambda: s.syncer.links == {}, "links are not closed")
        check_metrics(s)
        phases = [e["to"] for e in s.events() if e.get("to")]
        for phase in ("copying", "following", "level", "cutting-over", "guarded", "rolling-back", "completed"):
            assert phase in phases, (phase, phases)
        points = s.verb("ledger", "checkpoints")["checkpoints"]
        assert len(points) == 6 and all(len(p["replid"]) == 40 for p in points), points
        assert s.verb("ledger", "verify")["ok"]
        code, _, _ = s.run("rollback", "--yes")
        assert code == 3, code


def abort_and_begin_again():
    with StateStage("state-abort") as s:
        s.to_level()
        assert s.verb("abort", "--dry-run")["possible"] and s.status()["phase"] == "level"
        s.verb("abort", "--yes", "--reason", "not tonight")
        s.wait(lambda: s.syncer.links == {}, "links are not closed")
        epoch = s.status()["epoch"]
        assert s.run("cutover", "--yes")[0] == 3
        s.to_level()
        check_routes(s, "legacy", s.status()["epoch"])
        assert s.status()["epoch"] > epoch
        code, _, err = s.run("gates", "waive", "bypass")
        assert code == 2, err
        s.verb("gates", "waive", "bypass", "--reason", "a batch job", "--for", "1h")
        assert any(e["kind"] == "gate.waived" and "a batch job" in e["text"] for e in s.events())
        s.verb("throttle", "--ops", "100", "--bytes", "0")
        s.wait(lambda: s.syncer.has_seen("LINK", "THROTTLE", "forward", "100", "0"), "no throttle")
        assert s.verb("ledger", "export")["verify"]["ok"]


scenario(kill=False)
scenario(kill=True)
abort_and_begin_again()

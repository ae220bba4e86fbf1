#!/usr/bin/python3
"""Barriers that go wrong, with two real redis-servers and members that are fakes: who does not confirm
is fenced, deadlines are kept, a state that dies before the commit aborts and after it completes."""
import os
import threading
import time

import redis
from fakes import Gateway
from state_stage import StateStage


def cutover(s, wanted, *more):
    return s.verb("cutover", "--yes", "--wait", *more, wanted=(wanted,))


def level(s):
    s.wait(lambda: (t := s.status()) and t["phase"] == "level" and t["gates_open"], "not level")


def released_at(s, primary, epoch):
    s.wait(lambda: all(g.held is None and g.primary == primary and g.epoch == epoch for g in s.gateways),
           f"gateways are not released at {primary}, epoch {epoch}")


def named(port, name):
    connection = redis.Redis(port=port, client_name=name, health_check_interval=0)
    connection.ping()
    return connection


def names_at(s, side):
    return [c["name"] for c in s.redis[side].client_list()]


def test_who_does_not_get_ready_costs_nobody_anything(s):
    s.gateways[0].silent = {"PREPARE"}
    result = cutover(s, 8)
    assert "no client was held" in result["why"], result
    assert not s.gateways[0].has_seen("HOLD")
    s.gateways[0].silent = set()
    level(s)


def test_who_does_not_confirm_is_fenced(s):
    strangers = [named(s.ports["legacy"], f"drawbridge-gw:{n}:1:0-{i}") for i, n in enumerate(("g0", "gone", "g1"))]
    s.gateways[0].silent = {"HOLD"}
    refused = []

    def watch():
        while not s.gateways[1].held:
            time.sleep(0.01)
        refused.append(s.ask("DRAWBRIDGE", "EPOCH"))
    watcher = threading.Thread(target=watch)
    watcher.start()
    result = cutover(s, 0)
    watcher.join()
    assert isinstance(refused[0], RuntimeError) and str(refused[0]).startswith("HOLD"), refused
    left = [n for n in names_at(s, "legacy") if n.startswith("drawbridge-gw:")]
    assert left == ["drawbridge-gw:g1:1:0-2"], left
    s.gateways[0].silent = set()
    released_at(s, "target", result["epoch"])
    assert s.ask("DRAWBRIDGE", "EPOCH")[:2] == [str(result["epoch"]), "target"]
    assert s.verb("ledger", "barriers")["barriers"][-1]["killed"] == 2
    del strangers
    s.wait(lambda: s.status()["gates_open"], "gates stay closed")
    s.verb("rollback", "--yes", "--wait")
    level(s)


def test_a_missed_deadline_restores_the_old_side(s):
    epoch = s.status()["epoch"]
    for word in ("LINK DRAIN",):
        s.syncer.silent = {word}
        result = cutover(s, 8, "--max-hold", "600ms")
        assert "deadline of 600 ms" in result["why"] and result["primary"] == "legacy", result
        assert result["epoch"] == epoch
        s.syncer.silent = set()
        released_at(s, "legacy", epoch)
        s.wait(lambda: s.syncer.has_seen("LINK", "UNDRAIN", "forward"), "the link was not told")
        level(s)


def test_keys_that_differ_undo_it(s):
    s.syncer.differences = 2
    result = cutover(s, 8)
    assert "2 of 7 keys" in result["why"], result
    s.syncer.differences = 0
    level(s)


def test_a_syncer_that_refuses_undoes_it(s):
    s.syncer.refuse = {"LINK DRAIN"}
    result = cutover(s, 8)
    assert "refused by the test" in result["why"], result
    s.syncer.refuse = set()
    level(s)


def test_a_way_back_that_does_not_answer_holds_nobody_for_long(s):
    s.syncer.silent = {"LINK ACTIVATE"}
    result = cutover(s, 0)
    assert result["hold_ms"] < 6000, "it was waited for until the deadline of 8 s"
    released_at(s, "target", result["epoch"])
    assert any(e["kind"] == "barrier.note" and "way back" in e["text"] for e in s.events())
    s.syncer.silent = set()
    s.syncer.links["reverse"]["state"] = "following"
    s.wait(lambda: s.status()["gates_open"], "gates stay closed")
    s.verb("rollback", "--yes", "--wait")
    level(s)


def test_state_dies_in_each_step(s):
    """(who is silent, the word, the outcome that the next state has to bring about)"""
    for who, word, outcome in (("gateway", "PREPARE", "aborted"), ("gateway", "HOLD", "aborted"),
                               ("syncer", "LINK DRAIN", "aborted"), ("syncer", "LINK COMPARE", "aborted"),
                               ("syncer", "LINK ACTIVATE", "completed")):
        before = s.status()
        member = s.gateways[1] if who == "gateway" else s.syncer
        member.silent = {word}
        count = len([c for c in member.seen if " ".join(c[:2 if who == "syncer" else 1]) == word])
        thread = threading.Thread(target=lambda: s.run("cutover", "--yes", "--max-hold", "10s"))
        thread.start()
        s.wait(lambda m=member, n=count, w=word, k=who: len([c for c in m.seen if " ".join(c[:2 if k == "syncer" else 1]) == w]) > n,
               f"{word} was not sent")
        s.kill_state()
        thread.join()
        time.sleep(0.3)
        if word not in ("PREPARE",):
            assert any(g.held for g in s.gateways), "a gateway let go without a word from state"
        member.silent = set()
        s.start_state()
        s.wait(lambda: not s.status()["barrier_running"], "the barrier does not end")
        after = s.status()
        assert after["barrier"]["outcome"] == outcome, (word, after["barrier"])
        if outcome == "aborted":
            assert after["epoch"] == before["epoch"] and "died" in after["barrier"]["why"], after["barrier"]
            released_at(s, "legacy", before["epoch"])
            level(s)
        else:
            released_at(s, "target", before["epoch"] + 1)
            assert after["phase"] == "guarded"
        print(f"  state died at {word}: {outcome}", flush=True)
    s.wait(lambda: s.status()["gates_open"], "gates stay closed")
    s.verb("rollback", "--yes", "--wait")
    level(s)


def test_a_gateway_that_comes_in_the_hold_is_held(s):
    s.syncer.silent = {"LINK DRAIN"}
    thread = threading.Thread(target=lambda: s.run("cutover", "--yes", "--wait", "--max-hold", "12s"))
    thread.start()
    s.wait(lambda: s.gateways[0].held, "no hold")
    late = Gateway(s.control, "late")
    s.members.append(late)
    s.wait(lambda: late.held, "the late one is not held")
    assert not late.has_seen("ROUTE"), late.seen
    thread.join()
    s.syncer.silent = set()
    s.wait(lambda: late.primary == "legacy" and late.held is None, "the late one is not released")
    level(s)
    late.stop()


def test_what_another_process_left_under_a_name_is_killed_before_the_next_is_routed(s):
    left = named(s.ports["legacy"], "drawbridge-gw:twin:1:0-1")
    first = Gateway(s.control, "twin")
    s.wait(lambda: first.primary, "not routed")
    assert "drawbridge-gw:twin:1:0-1" in names_at(s, "legacy")  # its own
    first.stop()
    s.wait(lambda: not any(m["name"] == "twin" for m in s.status()["members"]), "still here")
    second = Gateway(s.control, "twin", pid=os.getpid() + 1)
    s.wait(lambda: second.primary, "not routed")
    assert "drawbridge-gw:twin:1:0-1" not in names_at(s, "legacy")
    second.stop()
    level(s)
    del left


with StateStage("state-barrier") as stage:
    stage.to_level()
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            print(name, flush=True)
            test(stage)
    assert stage.verb("ledger", "verify")["ok"]

#!/usr/bin/python3
"""demo.py [--target bundled|redis] [--clients N] [--folder DIR] [--act 1|2] -- the whole main job on one machine, with live
clients, in two acts.

A real redis-server is the legacy side, filled with WordNet. Clients write and read through the
gateway all the time, and check themselves, while the data are copied, followed, audited, cut over,
rolled back, cut over again and completed. Exit code 0 only if nothing was lost, doubled, wrong or
different. Leaves report.json, the ledger and all logs in build/demo.

Act 1: the syncer follows legacy by PSYNC (capture stream). Act 2: legacy hides PSYNC, SYNC, CONFIG
and DEBUG as clouds do, and the gateway writes to both sides itself (capture lane, chosen by itself);
its figures are in report.json under "lanes", its files in build/demo/lanes.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import time

from stage import HERE, PROGRAM, TOP, Clients, Stage, free_port, wait_for_redis

PARTS = {"stream": "nvar", "lane": "var"}  # of speech; three keys in four are nouns
WRITE_ON_S = {"stream": 6, "lane": 4}
HIDDEN = ("PSYNC", "SYNC", "CONFIG", "DEBUG")
AT_ONE = {"stream": "at one offset", "lane": "at one place of each lane"}

CONFIG = """\
migration: wordnet
legacy:  {{ address: "127.0.0.1:{legacy}" }}
target:  {{ address: "127.0.0.1:{target}" }}
{server}
gateway: {{ listen: "127.0.0.1:{gateway}", loops: 1, capture: {capture}, admin: "unix:gateway.sock", metrics: "127.0.0.1:{gateway_metrics}" }}
syncer:  {{ spool: {{ dir: spool, limit: 4GB }}, metrics: "127.0.0.1:{syncer_metrics}" }}
state:   {{ ledger: ledger.db, control: "unix:control.sock", api: "unix:api.sock" }}
log:     {{ format: text, level: info }}
run_dir: .
gates:   {{ lag: 500ms, audit_age: 1h }}
cutover: {{ max_hold: 2s, max_blackout: 10s }}
"""


def say(text):
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


class Demo:
    def __init__(self, options, folder, capture):
        self.options, self.folder, self.capture = options, folder, capture
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        self.stage = Stage(folder)
        self.ports = {name: free_port() for name in ("legacy", "target", "gateway", "gateway_metrics", "syncer_metrics")}
        self.holds = []
        self.report = {"holds_ms": []}
        self.windows = []

    def start_legacy(self):
        hidden = [word for name in HIDDEN if self.capture == "lane" for word in ("--rename-command", name, "secret-" + name)]
        self.stage.start("legacy", "redis-server", "--port", str(self.ports["legacy"]), "--save", "", "--dir",
                         self.folder, "--repl-diskless-sync-delay", "0", "--repl-backlog-size", "64mb", *hidden)
        wait_for_redis(self.ports["legacy"])
        began = time.monotonic()
        words = subprocess.Popen(["/usr/bin/python3", os.path.join(HERE, "wordnet.py"), "--parts", PARTS[self.capture]], stdout=subprocess.PIPE)
        pipe = subprocess.run(["redis-cli", "-p", str(self.ports["legacy"]), "--pipe"], stdin=words.stdout,
                              capture_output=True, text=True, check=False)
        if words.wait() != 0 or "errors: 0" not in pipe.stdout:
            raise SystemExit(f"could not load WordNet: {pipe.stdout}{pipe.stderr}")
        info = self.info("legacy")
        self.report["keys"] = sum(value["keys"] for name, value in info.items() if name.startswith("db"))
        say(f"legacy: redis-server {info['redis_version']} with {self.report['keys']:,} keys of WordNet, "
            f"{info['used_memory_human']}, loaded in {time.monotonic() - began:.1f} s"
            + (f"; it hides {', '.join(HIDDEN)}" if hidden else ""))

    def info(self, side):
        import redis
        with redis.Redis(port=self.ports[side]) as connection:
            return connection.info()

    def start_roles(self):
        server = ""
        if self.options.target == "bundled":
            server = f"server:  {{ port: {self.ports['target']}, dir: server }}"
            os.makedirs(os.path.join(self.folder, "server"))
        else:
            os.makedirs(os.path.join(self.folder, "target"))
            self.stage.start("target", "redis-server", "--port", str(self.ports["target"]), "--save", "", "--appendonly",
                             "yes", "--dir", os.path.join(self.folder, "target"), "--repl-diskless-sync-delay", "0")
            wait_for_redis(self.ports["target"])
        with open(os.path.join(self.folder, "drawbridge.yaml"), "w", encoding="utf-8") as out:
            out.write(CONFIG.format(server=server, capture="auto", **self.ports))
        self.stage.start("up", PROGRAM, "up", "drawbridge.yaml")
        wait_for_redis(self.ports["gateway"])
        for _ in range(100): # 9: state does not listen yet
            if self.stage.verb("status", wanted=(0, 1, 3, 5, 9)).get("exit_code") != 9:
                break
            time.sleep(0.1)
        say("drawbridge up: gateway, syncer, state" + (", server" if server else ""))

    def status(self):
        return self.stage.verb("status", wanted=(0, 1, 3, 5))

    def wait_until_level(self, audit=True):
        """Copy, follow and audit until every gate is open; a line each two seconds."""
        asked = False
        said = 0
        until = time.monotonic() + 150
        while time.monotonic() < until:
            status = self.status()
            if status["phase"] == "level":
                return status
            if status["phase"] == "following" and audit and not asked:
                asked = True
                result = self.stage.verb("audit", "start", "--wait", "--yes")
                say(f"audit: {result.get('keys', 0):,} keys of both sides {AT_ONE[self.capture]}, {result.get('differences', '?')} differences")
                self.report["differences"] = self.report.get("differences", 0) + int(result.get("differences", 1))
                continue
            if time.monotonic() - said > 2:
                said = time.monotonic()
                say(f"  {status['phase']}: " + status.get("summary", ""))
            time.sleep(0.2)
        closed = [g for g in self.status().get("gates", []) if g.get("state") not in ("pass", "warn", "waived")]
        raise SystemExit("not level in time; closed gates: " + json.dumps(closed, indent=1))

    def barrier(self, verb):
        began_ms = time.time() * 1000
        result = self.stage.verb(verb, "--yes", "--wait", "--reason", "demo")
        self.windows.append((verb, began_ms, time.time() * 1000))
        say(f"{verb}: clients are at {result.get('primary', '?')}, epoch {result.get('epoch', '?')}, "
            f"held {result.get('hold_ms', '?')} ms by the gateways' own clock")
        time.sleep(WRITE_ON_S[self.capture])

    def run(self):
        began = time.monotonic()
        self.start_legacy()
        self.start_roles()
        clients = Clients(self.stage, self.ports["gateway"], self.options.clients, 150)
        say(f"{self.options.clients} clients write and read through the gateway from now on")
        self.stage.verb("check", wanted=(0, 3))
        self.stage.verb("start", "--yes", "--reason", "demo")
        status = self.wait_until_level()
        if status["capture"] != self.capture:
            raise SystemExit(f"capture {status['capture']} was chosen: {status['capture_note']}")
        copy = status.get("copy", {})
        self.report["copy_seconds"] = copy.get("seconds", 0)
        self.report["bytes"] = copy.get("bytes", 0)
        self.report["lag_ms"] = status.get("lag_ms", 0)
        self.barrier("cutover")
        self.barrier("rollback")
        self.wait_until_level()
        self.barrier("cutover")
        self.wait_for_audit()
        totals = clients.finish()
        self.stage.verb("complete", "--yes", "--wait", "--reason", "demo")
        self.finish(totals, time.monotonic() - began)

    def wait_for_audit(self):
        result = self.stage.verb("audit", "start", "--wait", "--yes")
        self.report["differences"] += int(result.get("differences", 1))
        say(f"audit of the way back: {result.get('differences', '?')} differences")

    def finish(self, totals, seconds):
        for verb, began_ms, ended_ms in self.windows:
            felt = [latency for at, latency in totals["slow"] if at >= began_ms and at - latency <= ended_ms + 200]
            self.report["holds_ms"].append(max(felt, default=0))
        self.report.update(client_errors=totals["errors"], lost=totals["lost"], doubled=totals["doubled"],
                           wrong=totals["wrong"], commands=totals["commands"], messages=totals["messages"],
                           seconds=round(seconds, 1))
        events = self.stage.verb("ledger", "events")
        self.report["phases"] = [e["to"] for e in events.get("events", []) if e.get("to")]
        self.report["capture"] = self.capture

    def table(self):
        r = self.report
        rate = r["keys"] / r["copy_seconds"] if r["copy_seconds"] else 0
        rows = [("keys", f"{r['keys']:,}"), ("bytes copied", f"{r['bytes']:,}"),
                ("copy", f"{r['copy_seconds']:.1f} s, {rate:,.0f} keys/s"), ("lag when level", f"{r['lag_ms']} ms"),
                ("commands of the clients", f"{r['commands']:,}")]
        rows += [(f"hold {i + 1} ({verb}), as the clients felt it", f"{ms:.0f} ms")
                 for i, ((verb, *_), ms) in enumerate(zip(self.windows, r["holds_ms"]))]
        rows += [("client errors", r["client_errors"]), ("confirmed writes lost", r["lost"]),
                 ("applied twice", r["doubled"]), ("wrong answers", r["wrong"]),
                 ("differences found by the audits", r["differences"]),
                 ("whole run", f"{r['seconds']} s"),
                 ("ledger, logs, report", os.path.relpath(self.folder, TOP) + "/{ledger.db,*.log}")]
        width = max(len(name) for name, _ in rows)
        print()
        for name, value in rows:
            print(f"  {name:{width}}   {value}")

    def good(self):
        r = self.report
        return not any(r[name] for name in ("client_errors", "lost", "doubled", "wrong", "differences")) \
            and len(r["holds_ms"]) >= 3


ACTS = ({"key": None, "capture": "stream", "title": "Act 1: capture stream. The syncer follows legacy by PSYNC."},
        {"key": "lanes", "capture": "lane", "title": "Act 2: capture lane. Legacy hides PSYNC; the gateway writes to both sides."})


def play(options, act):
    """One act; its report, and whether all was good."""
    folder = os.path.join(options.folder, act["key"]) if act["key"] else options.folder
    demo = Demo(options, folder, act["capture"])
    print(f"\n{act['title']}", flush=True)
    try:
        demo.run()
        demo.table()
        for message in demo.report["messages"][:20]:
            print("   ", message)
        return demo.report, demo.good()
    except SystemExit as error:
        print(f"\nfailed: {error}\nlogs: {folder}\n{demo.stage.log_tail('up', 30)}")
        return demo.report, False
    finally:
        demo.stage.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", choices=("bundled", "redis"), default="bundled")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--folder", default=os.path.join(TOP, "build", "demo"))
    parser.add_argument("--act", type=int, choices=(1, 2), help="only this one")
    options = parser.parse_args()
    report, good = {}, True
    for act in ACTS[options.act - 1:options.act] if options.act else ACTS:
        if good:
            played, good = play(options, act)
            report.update({act["key"]: played} if act["key"] else played)
            with open(os.path.join(options.folder, "report.json"), "w", encoding="utf-8") as out:
                json.dump(report, out, indent=1)
    return 0 if good else 1


sys.exit(main())

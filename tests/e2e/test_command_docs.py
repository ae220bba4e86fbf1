#!/usr/bin/python3
"""test_command_docs.py -- COMMAND DOCS tells of every command what redis-server 7.0.15 tells: arguments to the last flag, versions, groups, what is deprecated; and COMMAND with flags, keys and tips.

Summaries, costs and what came in which version are in words of our own; here they only must be there where redis-server has them.
"""
import json, subprocess, sys

from servers import Folder, Ours, RedisServer, run_tests


ONLY_HERE = {"drawbridge", "client|setinfo", "client|no-touch", "waitaof"}  # the last three are of Redis 7.2


def docs(server, *names, resp="-3"):
    done = subprocess.run(["redis-cli", resp, "--json", "-p", str(server.port), "COMMAND", "DOCS", *names], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def flat(commands):
    for name, doc in commands.items():
        yield name, {key: value for key, value in doc.items() if key != "subcommands"}
        yield from flat(doc.get("subcommands", {}))


def comparable(doc):
    """Without our own words; what is a set in any order."""
    doc = dict(doc)
    for words in ("summary", "complexity"):
        if words in doc:
            doc[words] = bool(doc[words])
    if "replaced_by" in doc:
        doc["replaced_by"] = doc["replaced_by"].replace("!", "")  # a slip of Redis 7.0 at GETSET
    if "history" in doc:
        assert all(len(text) > 1 for _, text in doc["history"]), doc
        doc["history"] = sorted(version for version, _ in doc["history"])
    return doc


def test_the_same_of_every_command():
    with Folder("docs") as folder:
        mine, other = dict(flat(docs(Ours(folder, "ours")))), dict(flat(docs(RedisServer(folder, "redis"))))
        assert len(other) > 360
        said = [f"missing: {name}" for name in other.keys() - mine.keys()] + [f"only here: {name}" for name in mine.keys() - other.keys() - ONLY_HERE]
        for name in sorted(other.keys() & mine.keys()):
            a, b = comparable(mine[name]), comparable(other[name])
            if a != b:
                said.append(f"{name}:\n    here  {json.dumps(a)}\n    redis {json.dumps(b)}")
        assert not said, "\n".join(said)


def test_what_is_named_and_the_old_protocol():
    with Folder("docs") as folder:
        ours, theirs = Ours(folder, "ours"), RedisServer(folder, "redis")
        names = ("GET", "config|get", "nosuch", "XADD")
        assert docs(ours, *names).keys() == docs(theirs, *names).keys()
        shape = lambda value: [shape(v) for v in value] if isinstance(value, list) else type(value).__name__
        assert shape(docs(ours, "append", "setrange", resp="-2")) == shape(docs(theirs, "append", "setrange", resp="-2"))


def test_command_itself():
    def all_of(server):
        done = subprocess.run(["redis-cli", "-3", "--json", "-p", str(server.port), "COMMAND"], capture_output=True, text=True, check=True)
        found = {}
        def keep(rows):
            for name, arity, flags, first, last, step, categories, tips, specs, subs in rows:
                specs = [{key: sorted(value) if key == "flags" else value for key, value in spec.items() if key != "notes"} for spec in specs]
                found[name] = [arity, sorted(flags), first, last, step, sorted(categories), sorted(tips), specs]
                keep(subs)
        keep(json.loads(done.stdout))
        return found
    with Folder("docs") as folder:
        mine, other = all_of(Ours(folder, "ours")), all_of(RedisServer(folder, "redis"))
        assert mine.keys() - ONLY_HERE == other.keys() and len(other) > 360
        said = [f"{name}:\n    here  {mine[name]}\n    redis {other[name]}" for name in sorted(other) if mine[name] != other[name]]
        assert not said, "\n".join(said)


run_tests(sys.modules[__name__])

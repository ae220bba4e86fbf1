#!/usr/bin/python3
"""Random ACL rules at our server and at redis-server: the same are taken, with the same words for what is wrong, and the same
commands are allowed with the same reason. SEED repeats a run."""
import random
import sys

import redis

from servers import Folder, Ours, RedisServer

ROUNDS = 400
KEYS = ["a", "ab", "b", "read", "write", "x:1", "x:2"]
PATTERNS = ["*", "a*", "a", "r*", "w*", "x:*", "x:[12]", "?", "\\*", "[^a]"]
COMMANDS = [
    ("get", "K"), ("set", "K", "v"), ("set", "K", "v", "get"), ("mget", "K", "K", "K"), ("mset", "K", "1", "K", "2"), ("copy", "K", "K"),
    ("rename", "K", "K"), ("del", "K", "K"), ("exists", "K"), ("type", "K"), ("strlen", "K"), ("append", "K", "v"), ("getdel", "K"),
    ("lpush", "K", "v"), ("lmove", "K", "K", "left", "left"), ("blpop", "K", "K", "0"), ("lmpop", "2", "K", "K", "left"),
    ("sinterstore", "K", "K", "K"), ("sintercard", "2", "K", "K"), ("smove", "K", "K", "m"), ("zadd", "K", "1", "m"),
    ("zunionstore", "K", "2", "K", "K"), ("zdiff", "2", "K", "K"), ("zrangestore", "K", "K", "0", "-1"), ("sort", "K", "store", "K"),
    ("sort", "K"), ("bitop", "and", "K", "K", "K"), ("bitfield", "K", "get", "u8", "0"), ("bitfield", "K", "set", "u8", "0", "1"),
    ("pfmerge", "K", "K"), ("pfcount", "K", "K"), ("georadius", "K", "1", "1", "1", "m", "store", "K"), ("geosearchstore", "K", "K", "x"),
    ("eval", "s", "2", "K", "K"), ("eval_ro", "s", "1", "K"), ("eval", "s", "9", "K"), ("fcall", "f", "1", "K"), ("xread", "streams", "K", "0"),
    ("xreadgroup", "group", "g", "c", "streams", "K", ">"), ("xadd", "K", "*", "f", "v"), ("object", "encoding", "K"),
    ("memory", "usage", "K"), ("publish", "K", "m"), ("spublish", "K", "m"), ("subscribe", "K", "K"), ("psubscribe", "K"), ("ssubscribe", "K"),
    ("unsubscribe", "K"), ("ping",), ("auth", "u", "p"), ("config", "get", "x"), ("config", "set", "a", "b"), ("config", "help"), ("client", "list"),
    ("client", "kill", "x"), ("select", "0"), ("select", "1"), ("flushall",), ("acl", "whoami"), ("debug", "object", "K"), ("debug", "sleep", "0"),
    ("keys", "K"), ("scan", "0"), ("watch", "K"), ("exec",), ("migrate", "h", "1", "K", "0", "5"), ("migrate", "h", "1", "", "0", "5", "keys", "K"),
    ("wait", "0", "0"), ("shutdown",), ("nosuch", "K"), ("get",), ("config", "nosuch"), ("touch", "K"), ("dump", "K"), ("hget", "K", "f"),
]


def rule(r, names, categories, deep=True):
    sign = r.choice("++-")
    kind = r.randrange(16)
    if kind < 3:
        return sign + "@" + r.choice(categories)
    if kind < 5:
        return sign + r.choice(names)
    if kind == 5:
        return "+" + r.choice(("select|0", "config|get", "config|nosuch", "debug|object", "get|a|b", "get|", "client|list", "config|get|x", "nosuch|a"))
    if kind == 6:
        return r.choice(("allkeys", "resetkeys", "allchannels", "resetchannels", "allcommands", "nocommands", "~*", "&*", "+@all", "-@all"))
    if kind < 10:
        return r.choice(("~", "~", "%R~", "%W~", "%RW~", "%r~", "%WR~")) + r.choice(PATTERNS)
    if kind == 10:
        return "&" + r.choice(PATTERNS)
    if kind == 11:
        return r.choice(("on", "off", "nopass", "resetpass", "reset", "clearselectors", ">p", "<p", "#12", "!" + "a" * 64, "#" + "b" * 64))
    if kind == 12:
        return r.choice(("what", "%X~a", "%RR~a", "+", "-", "+@", "~a b", ")", "+nosuch", "-@nosuch", ""))
    if kind < 15 and deep:
        return "(" + " ".join(rule(r, names, categories, False) for _ in range(r.randrange(4))) + ")"
    return "%R~" + r.choice(KEYS)


def answer(client, *words):
    try:
        return client.execute_command(*words)
    except redis.RedisError as error:
        return f"{type(error).__name__} {error}"


def main():
    with Folder("acl-differential") as folder:
        r = random.Random(folder.seed)
        ours, theirs = (make(folder, name).client(decode_responses=True) for make, name in ((Ours, "ours"), (RedisServer, "redis")))
        for client in (ours, theirs):
            client.response_callbacks.clear()  # replies as they come
        names = sorted(set(theirs.execute_command("COMMAND", "LIST")) & set(ours.execute_command("COMMAND", "LIST")))
        categories = theirs.execute_command("ACL", "CAT")
        assert ours.execute_command("ACL", "CAT") == categories
        for category in categories:
            known = set(theirs.execute_command("ACL", "CAT", category))
            mine = set(ours.execute_command("ACL", "CAT", category))
            extra = {"client|setinfo", "client|no-touch", "waitaof", "drawbridge"}  # ours, and of 7.2
            assert mine - extra == known - extra, (category, mine ^ known)
        compared = 0
        for number in range(ROUNDS):
            if number % 10 == 0:
                for client in (ours, theirs):
                    client.execute_command("ACL", "DELUSER", "u")
            rules = [rule(r, names, categories) for _ in range(r.randrange(1, 7))]
            if any("(" in one and '"' in one for one in rules):
                continue
            a, b = (answer(client, "ACL", "SETUSER", "u", *rules) for client in (ours, theirs))
            assert a == b, f"SEED={folder.seed} {rules}: ours {a!r}, redis {b!r}"
            a, b = (answer(client, "ACL", "GETUSER", "u") for client in (ours, theirs))
            if a is None or b is None:
                assert a == b, (rules, a, b)
                continue
            a, b = (dict(zip(reply[::2], reply[1::2])) for reply in (a, b))
            for field in ("flags", "passwords", "keys", "channels"):
                assert a[field] == b[field], f"SEED={folder.seed} {rules}: {field}: ours {a[field]!r}, redis {b[field]!r}"
            for _ in range(25):
                words = [r.choice(KEYS) if word == "K" else word for word in r.choice(COMMANDS)]
                a, b = (answer(client, "ACL", "DRYRUN", "u", *words) for client in (ours, theirs))
                assert a == b, f"SEED={folder.seed} {rules} then {words}: ours {a!r}, redis {b!r}"
                compared += 1
        print(f"{compared} answers are the same")
        assert compared > ROUNDS * 5


sys.exit(main())

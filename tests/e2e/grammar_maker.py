"""Random requests for every command, made from the grammar that COMMAND DOCS of a live redis-server tells.

    GrammarMaker(rng, wire).command()      one request for a command that is chosen evenly among all that may be sent

Where the grammar wants a word, its name chooses the kind of word (a number at a boundary, a stream id, a key ...). One request
in eight is spoilt: cut short, a word too many, a word replaced.
"""
KEYS = ["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"]
INTS = ["0", "1", "-1", "2", "3", "-2", "5", "-7", "100", "2147483647", "2147483648", "-2147483648", "-2147483649", "4294967295", "4294967296",
        "9223372036854775807", "-9223372036854775808", "9223372036854775808", "-9223372036854775809", "18446744073709551615",
        "3.5", "", "abc", " 1", "1 ", "01", "+1", "-0", "1e3", "0x10", "nan"]
FLOATS = ["0", "1", "-1", "0.1", "-0.5", "3.0", "1e3", "1e17", "1e300", "-1e300", "1e-9", "inf", "-inf", "+inf", "nan", "4503599627370497",
          "9007199254740993", "0.30000000000000004", "1e400", "", "abc", " 1", "1 ", "0x10", "-9223372036854775808", "1e-400"]
WORDS = ["a", "b", "c", "field", "m1", "m2", "1", "2", "-5", "007", "", "9223372036854775807", b"\xff\x00\r\n", "L" * 64, "M" * 65, "N" * 300, "*", "[", "1.5"]
IDS = ["0", "0-0", "0-1", "1", "1-1", "2-2", "5-*", "90000000000000-1", "18446744073709551615", "18446744073709551615-18446744073709551615",
       "-", "+", "$", ">", "", "abc", "1-2-3", "(1", "(1-1", "18446744073709551616-0", "-1"]
# A deadline is past, or so far that no run reaches it; and numbers at the boundaries.
TIMES = ["0", "-1", "100000000", "4102444800", "9999999999", "4102444800000", "9223372036854775807", "-9223372036854775808", "9223372036854775808",
         "9223372036854775", "9223372036854776", "92233720368547758", "", "abc", "3.5", " 1"]
SCRIPTS = ["return redis.call('GET',KEYS[1])", "return {KEYS,ARGV}", "return redis.pcall('INCRBY',KEYS[1],ARGV[1])", "return 1", "return 3.99",
           "return {1,{2,3},'x',false,{ok='fine'}}", "return redis.error_reply('MY no')", "return redis.status_reply('yes')", "syntax error here",
           "redis.setresp(3); return redis.call('HGETALL',KEYS[1])", "return redis.call('SET',KEYS[1],ARGV[1])", "return nil", "return #ARGV",
           "return redis.call('nosuch')", "return cjson.encode({KEYS,ARGV})", "return tostring(tonumber(ARGV[1]))", "return redis.sha1hex(ARGV[1])", "",
           "#!lua flags=no-writes\nreturn redis.call('SET',KEYS[1],'x')", "#!lua flags=bad\nreturn 1", "#!lua\nreturn redis.call('TYPE',KEYS[1])"]
LIBRARIES = ["#!lua name=lib1\nredis.register_function('f1', function(k, a) return {k, a} end)",
             "#!lua name=lib2\nredis.register_function{function_name='f2', callback=function(k, a) return redis.call('GET', k[1]) end, flags={'no-writes'}}",
             "#!lua name=lib1\nredis.register_function('f3', function(k, a) return redis.call('SET', k[1], a[1]) end)",
             "#!lua name=bad name\nreturn 1", "#!js name=x\n", "no shebang", "", "#!lua name=lib3\nreturn 1", "#!lua name=lib4\nredis.call('GET','x')"]
SHAS = ["e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "E0E1F9FABFC9D4800C877A703B823AC0578FF8DB", "f" * 40, "", "xyz"]

# Commands that are not sent, each with the reason. A container's name stands for all under it.
NOT_SENT = {
    "shutdown": "ends the server", "quit": "ends the connection", "monitor": "changes what the connection is", "sync": "changes what the connection is",
    "psync": "changes what the connection is", "replconf": "part of the replication link; test_server_replication", "debug": "no two servers agree",
    "replicaof": "test_server_replication", "slaveof": "test_server_replication", "failover": "needs replicas; test_server_replication",
    "migrate": "needs a second server; test_migrate", "cluster": "needs cluster-enabled; test_cluster", "asking": "test_cluster", "readonly": "test_cluster",
    "readwrite": "test_cluster", "module": "loads code into the server; not supported", "save": "files; test_server_persistence",
    "bgsave": "files; test_server_persistence", "bgrewriteaof": "files; test_server_persistence", "client|reply": "replies stop",
    "client|pause": "everything stands still", "client|kill": "a filter may hit this connection; the Tcl suite has it", "client|tracking": "pushes come between replies; the Tcl suite has it",
    "config": "names and values are read in test_server_stock_config; the Tcl suite has it", "acl|log": "ages and client ids",
    "subscribe": "one request, many replies; the Tcl suite has it", "psubscribe": "see subscribe", "ssubscribe": "see subscribe", "unsubscribe": "see subscribe",
    "punsubscribe": "see subscribe", "sunsubscribe": "see subscribe", "script|kill": "nothing runs that long", "function|kill": "nothing runs that long",
    "script|debug": "not supported", "spop": "random; with a count that empties the set it comes from the other maker", "exec": "sent around other commands",
    "multi": "sent around other commands", "discard": "sent around other commands", "pfselftest": "takes a second", "pfdebug": "the other maker has it",
    "hello": "changes the protocol under the comparer; the Tcl suite has it", "reset": "see hello", "acl|genpass": "random", "lolwut": "art",
    "setbit": "offsets up to 512 MB; the other maker has it", "bitfield": "see setbit", "sort": "ties have no order; the other maker has it", "sort_ro": "see sort",
    "bitop": "the other maker has it", "latency": "depends on the clock", "waitaof": "of 7.2", "drawbridge": "ours",
}
BLOCKING = {"blpop", "brpop", "brpoplpush", "blmove", "blmpop", "bzpopmin", "bzpopmax", "bzmpop", "xread", "xreadgroup", "wait"}


def as_dict(reply):
    kind, rest = reply
    pairs = rest if kind == b"%" else zip(rest[::2], rest[1::2])
    return {key[1].decode(): value for key, value in pairs}


class GrammarMaker:
    def __init__(self, rng, wire):
        self.rng, self.numkeys = rng, 0
        self.rows = {}
        for name, row in as_dict(wire.ask("COMMAND", "DOCS")).items():
            self.take(name, as_dict(row))
        self.names = sorted(self.rows)

    def take(self, name, row):
        if name in NOT_SENT:
            return
        if "subcommands" in row:
            for sub, inner in as_dict(row["subcommands"]).items():
                self.take(sub, as_dict(inner))
        else:
            self.rows[name] = [self.argument(a) for a in row["arguments"][1]] if "arguments" in row else []

    def argument(self, reply):
        found = as_dict(reply)
        words = {k: found[k][1].decode() for k in ("name", "type", "token") if k in found}
        words["flags"] = {f[1].decode() for f in found["flags"][1]} if "flags" in found else set()
        words["inner"] = [self.argument(a) for a in found["arguments"][1]] if "arguments" in found else []
        return words

    def key(self):
        return self.rng.choice(KEYS) if self.rng.random() < 0.97 else self.rng.choice(["", "none", b"\x00\xff", "{a}b"])

    def small(self):
        return str(self.rng.randint(-5, 12))

    def int(self):
        return self.rng.choice(INTS) if self.rng.random() < 0.5 else self.small()

    def word(self, command, argument):
        """By the name of the argument, then by its type."""
        r, name, kind = self.rng, argument["name"], argument["type"]
        if kind == "key":
            return self.key()
        special = {
            "numkeys": lambda: None, "cursor": lambda: r.choice(["0", "0", "0", "abc", "", "-1", "18446744073709551616"]),
            "group": lambda: r.choice(["g1", "g2", "none"]), "groupname": lambda: r.choice(["g1", "g2", "none"]),
            "consumer": lambda: r.choice(["anna", "bert", ""]), "consumername": lambda: r.choice(["anna", "bert", ""]),
            "script": lambda: r.choice(SCRIPTS), "function-code": lambda: r.choice(LIBRARIES), "sha1": lambda: r.choice(SHAS),
            "function": lambda: r.choice(["f1", "f2", "f3", "none"]), "library-name": lambda: r.choice(["lib1", "lib2", "none"]),
            "library-name-pattern": lambda: r.choice(["*", "lib*", "x"]), "username": lambda: r.choice(["anna", "bert", ""]),
            "category": lambda: r.choice(["read", "string", "x"]), "categoryname": lambda: r.choice(["read", "string", "x", "SCRIPTING"]),
            "command": lambda: r.choice(["get", "set", "client|id", "x"]), "command-name": lambda: r.choice(["get", "SET", "client|id", "x"]),
            "type": lambda: r.choice(["string", "hash", "ZSET", "stream", "x"]), "rule": lambda: r.choice(
                ["on", "off", "+@all", "-@all", "~*", "~k*", "&*", "nopass", ">pw", "<pw", "+get", "-set", "+client|id", "%R~k1", "(+get ~x)", "clearselectors",
                 "reset", "allkeys", "resetkeys", "x", "", "+@x", "#abc", "resetpass", "allcommands", "+config|get", "-debug", "sanitize-payload"]),
            "channel": lambda: r.choice(["c1", "c2", ""]), "shardchannel": lambda: r.choice(["c1", "c2", ""]), "timeout": lambda: r.choice(["0.001", "-1", "abc", "", "nan", "1"]),
            "client-id": lambda: r.choice(["0", "-1", "9999999", "abc", ""]), "index": lambda: self.int(), "section": lambda: r.choice(["server", "x", "all"]),
            "threshold": lambda: r.choice(["0", "1", "3", "-1", "x", "2-2", "9223372036854775807"]), "operation": lambda: r.choice(["AND", "NOT"]),
            "min-idle-time": lambda: r.choice(["0", "0", "-1", "99999999999", "x"]), "frequency": self.int,
        }
        if name in special:
            return special[name]()
        if kind == "unix-time" or name in ("seconds", "milliseconds", "ttl", "ms"):
            return r.choice(["-1", "1", "x"]) if command in ("xread", "xreadgroup") else r.choice(TIMES)
        if name == "id" or name.endswith("id") and name != "client-id" or command in ("xrange", "xrevrange", "xpending", "xautoclaim"):
            return r.choice(IDS) if name != "count" else self.int()
        if name in ("min", "max", "start", "stop") and kind in ("string", "double"):
            return r.choice(["", "(", "[", ""]) + (r.choice(FLOATS) if r.random() < .6 else r.choice(["a", "-", "+", "m1"]))
        if kind == "integer":
            return self.int()
        if kind == "double":
            return r.choice(FLOATS) if r.random() < .5 else self.small()
        if kind == "pattern":
            return r.choice(["*", "k*", "?1", "[a-c]", "", "\\*", "w*", "[^k]*"])
        return r.choice(WORDS)

    def words(self, command, argument):
        r = self.rng
        if "optional" in argument["flags"] and r.random() < 0.65:
            return []
        times = r.choice([1, 1, 2, 3]) if argument["flags"] & {"multiple", "multiple_token"} else 1
        found = []
        for n in range(times):
            if "token" in argument and (n == 0 or "multiple_token" in argument["flags"]):
                found.append(argument["token"] if r.random() < .9 else argument["token"].lower())
            if argument["type"] == "oneof":
                found += self.words(command, r.choice(argument["inner"]))
            elif argument["type"] == "block":
                for inner in argument["inner"]:
                    found += self.words(command, inner)
            elif argument["type"] != "pure-token":
                found.append(self.word(command, argument))
                self.numkeys += argument["type"] == "key"
        if argument["type"] == "key" and command == "xread":
            self.numkeys = times
        return found

    def spoil(self, words, first):
        r = self.rng
        at = r.randrange(first, len(words) + 1)
        how = r.random()
        if how < .35:
            return words[:at]
        if how < .6 or at == len(words):
            return words[:at] + [r.choice(INTS + FLOATS + WORDS)] + words[at:]
        return words[:at] + [r.choice(INTS + FLOATS + WORDS + KEYS)] + words[at + 1:]

    def command(self):
        r = self.rng
        name = r.choice(self.names)
        head = [w.upper() if r.random() < .8 else w for w in name.split("|")]
        self.numkeys = 0
        words = [w for argument in self.rows[name] for w in self.words(name, argument)]
        words = [w if w is not None else str(self.numkeys) if r.random() < .92 else self.int() for w in words]
        if r.random() < .12:
            words = self.spoil(words, 0)
        return self.tame(name, head + words)

    def tame(self, name, words):
        """What would differ by its nature, or take all memory."""
        if name == "xadd":  # no id from the clock
            words = [w if w != "*" else "7-7" for w in words]
        if name in ("hrandfield", "srandmember", "zrandmember", "hincrby"):
            words = [w if not str(w).startswith("-2147") else "-9" for w in words]
        if name in ("flushall", "flushdb", "swapdb", "select", "move") and self.rng.random() < .9:
            return ["DBSIZE"]
        if name == "wait" and words[1:2] != ["0"]:
            words = words[:1] + ["0"] + words[2:]
        if "lex" in name or "BYLEX" in words or "bylex" in words:  # defined only where all scores are equal
            words = [w if w not in KEYS or name == "zrangestore" and at == 1 else "zlex" for at, w in enumerate(words)]
        if name == "setrange":  # 512 MB of zeros
            words = [w if w != "536870911" else "9" for w in words]
        return words

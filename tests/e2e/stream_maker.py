"""Random commands on streams for the tests that run beside redis-server, and how their replies are made comparable.

XADD is given at least the milliseconds: "*" would give another id at each server.
"""
MS = 90000000000000
FAR = ["0-0", "0-1", "5", "0-*", "18446744073709551615", "18446744073709551614-18446744073709551615", "-", "+", "$", ">", "", "abc",
       "1-2-3", "9223372036854775808-1", "-1", "1-", "-1-1", "(1", " 5", "+5-1", "5- 7", "18446744073709551616-0"]
# How to make a reply comparable: what depends on the clock or on the shape of a radix tree.
TIMED = {b"idle", b"seen-time", b"radix-tree-nodes"}


class StreamMaker:
    def __init__(self, maker):
        self.maker, self.rng = maker, maker.rng

    def id(self, odd=0.06):
        r = self.rng
        if r.random() < odd:
            return r.choice(FAR)
        ms = str(MS + r.randrange(40))
        return ms if r.random() < 0.15 else f"{ms}-{r.randrange(4)}"

    def ids(self, most=4):
        return [self.id() for _ in range(self.rng.randint(1, most))]

    def new_id(self):
        r = self.rng
        return f"{MS + r.randrange(40)}-*" if r.random() < 0.6 else self.id()

    def bound(self):
        r = self.rng
        return ("(" if r.random() < 0.2 else "") + (r.choice("-+") if r.random() < 0.4 else self.id())

    def trim(self):
        r = self.rng
        how = r.choice([["MAXLEN"], ["MINID"], ["MAXLEN", "~"], ["MAXLEN", "="], ["MINID", "~"], ["minid", "="]])
        limit = ["LIMIT", r.choice(["0", "1", "5", "100", "-1", "x"])] if r.random() < 0.3 else []
        value = self.id() if how[0].upper() == "MINID" else str(r.randrange(30)) if r.random() < 0.9 else self.maker.int()
        return limit + how + [value] if r.random() < 0.1 else how + [value] + limit

    def fields(self):
        r = self.rng
        if r.random() < 0.6:
            return ["field", self.maker.name(), "2", self.maker.name()]
        words = [w for _ in range(r.randint(1, 4)) for w in (self.maker.name(), self.maker.name())]
        return words[:-1] if r.random() < 0.05 else words

    def group(self):
        return self.rng.choice(["g1", "g1", "g2", "none"])

    def consumer(self):
        return self.rng.choice(["anna", "bert", "carl", ""])

    def count(self):
        return self.maker.maybe("COUNT", str(self.rng.randint(0, 6)) if self.rng.random() < 0.9 else self.maker.int())

    def command(self):
        r, m, k = self.rng, self.maker, self.maker.key("x")
        keys = [m.key("x") for _ in range(r.randint(1, 2))]
        where = lambda options: ["STREAMS"] + keys + [r.choice(options) if r.random() < .5 else self.id(.2) for _ in keys][:1 if r.random() < .03 else None]
        block = m.maybe("BLOCK", r.choice(["1", "2", "-1", "x", "1"]))
        add = lambda: ["XADD", k] + (self.trim() if r.random() < .25 else []) + m.maybe("NOMKSTREAM") + [self.new_id()] + self.fields()
        return r.choice([
            add, add, add, add, add,
            lambda: ["XADD", k] + m.maybe("NOMKSTREAM") + self.trim() + self.trim() + [self.new_id()] + self.fields(),
            lambda: ["XTRIM", k] + self.trim() + m.maybe("x")[:r.randrange(2)],
            lambda: ["XLEN", k], lambda: ["XDEL", k] + self.ids(),
            lambda: ["XRANGE", k, self.bound(), self.bound()] + self.count(), lambda: ["XRANGE", k, "-", "+"],
            lambda: ["XREVRANGE", k, self.bound(), self.bound()] + self.count(),
            lambda: ["XREAD"] + self.count() + block + where(["$", "0", ">"]),
            lambda: ["XREADGROUP", "GROUP", self.group(), self.consumer()] + self.count() + block + m.maybe("NOACK") + where([">", ">", "0", "$"]),
            lambda: ["XREADGROUP", "GROUP", "g1", self.consumer(), "COUNT", "3", "STREAMS", k, ">"],
            lambda: ["XREADGROUP", "GROUP", "g1", self.consumer(), "STREAMS", k, "0"],
            lambda: ["XACK", k, self.group()] + self.ids(),
            lambda: ["XGROUP", "CREATE", k, self.group(), r.choice(["$", "0", self.id()])] + m.maybe("MKSTREAM") + m.maybe("ENTRIESREAD", m.int()),
            lambda: ["XGROUP", "SETID", k, self.group(), r.choice(["$", "0", "-", self.id()])] + m.maybe("ENTRIESREAD", m.int()),
            lambda: ["XGROUP", "DESTROY", k, self.group()] if r.random() < .3 else ["XGROUP", "DESTROY", k],
            lambda: ["XGROUP", r.choice(["CREATECONSUMER", "DELCONSUMER"]), k, self.group(), self.consumer()],
            lambda: ["XPENDING", k, self.group()], lambda: ["XPENDING", k, self.group(), self.bound(), self.bound(), m.int()] + m.maybe(self.consumer()),
            lambda: ["XPENDING", k, "g1", "IDLE", r.choice(["0", "-1", "9999999", "x"]), "-", "+", "10"] + m.maybe(self.consumer()),
            lambda: ["XCLAIM", k, self.group(), self.consumer(), r.choice(["0", "0", "-1", "9999999", "x"])] + self.ids() + self.claim_options(),
            lambda: ["XAUTOCLAIM", k, self.group(), self.consumer(), r.choice(["0", "0", "9999999", "x"]), r.choice(["-", "0", self.bound()])]
            + self.count() + m.maybe("JUSTID"),
            lambda: ["XINFO", "STREAM", k] + m.maybe("FULL") + self.count(), lambda: ["XINFO", "STREAM", k, "FULL", "COUNT", "0"],
            lambda: ["XINFO", "GROUPS", k], lambda: ["XINFO", "CONSUMERS", k, self.group()],
            lambda: ["XSETID", k, self.id()] + m.maybe("ENTRIESADDED", m.int()) + m.maybe("MAXDELETEDID", self.id()),
            lambda: ["CONFIG", "SET", "stream-node-max-entries", r.choice(["0", "1", "5", "10", "100"])],
            # (Not stream-node-max-bytes: with 0, 1 and 100 redis-server 7.0.15 itself dies now and then, of an assertion in lpFirst.)
            lambda: ["DEBUG", "DIGEST-VALUE", k],
        ])()

    def claim_options(self):
        r, m = self.rng, self.maker
        return m.maybe(*r.choice([["IDLE", "5"], ["TIME", "1000"], ["TIME", m.int()], ["IDLE", "x"]])) \
            + m.maybe("RETRYCOUNT", r.choice(["0", "7", "-1", "x"])) + (["FORCE"] if r.random() < .5 else []) + m.maybe("JUSTID") \
            + m.maybe("LASTID", self.id())[:r.choice([2, 2, 2, 1])]


def untimed(reply):
    """An XINFO reply without what depends on the clock; a delivery time of XINFO STREAM FULL is the last but one of an entry's list."""
    kind, rest = reply
    if kind == b"%":
        rest = [part for pair in rest for part in pair]
    if not isinstance(rest, list):
        return reply
    found = []
    for at, item in enumerate(rest):
        if at and not isinstance(rest[at - 1][1], list) and rest[at - 1][1] in TIMED:
            item = (b"?", None)
        found.append(untimed(item))
    is_delivery = len(rest) in (3, 4) and [k for k, _ in rest[-2:]] == [b":", b":"] and [k for k, _ in rest[:-2]] == [b"$"] * (len(rest) - 2)
    return (kind, found[:-2] + found[-1:] if is_delivery else found)


def comparable_stream(name, reply):
    if reply[0] == b"-":
        return reply
    return untimed(reply) if name in ("XINFO", "XPENDING") else reply


def stream_state(wire, key, exact):
    """What a stream is. EXACT: with everything that a server keeps for itself, byte for byte without its groups."""
    full = untimed(wire.ask("XINFO", "STREAM", key, "FULL", "COUNT", "0"))
    if exact:
        for group in wire.ask("XINFO", "GROUPS", key)[1]:
            name = next(v for k, v in group[1] if k[1] == b"name") if group[0] == b"%" else group[1][1]
            wire.ask("XGROUP", "DESTROY", key, name[1])
        return (full, wire.ask("DUMP", key))
    fields = dict(zip([f[1] for f in full[1][::2]], full[1][1::2]))
    groups = []
    for group in fields[b"groups"][1]:
        g = dict(zip([f[1] for f in group[1][::2]], group[1][1::2]))
        pending = [(p[1][0], p[1][1]) for p in g[b"pending"][1]]
        groups.append((g[b"name"], g[b"last-delivered-id"], pending))
    return ([fields[f] for f in (b"length", b"last-generated-id", b"max-deleted-entry-id", b"entries-added", b"entries")], groups)

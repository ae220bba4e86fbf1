#!/usr/bin/python3
"""test_every_command.py [COMMANDS] -- every command of Redis 7.0 with odd arguments, to our server and to redis-server 7.0.15.

Half of the requests are made from the grammar of COMMAND DOCS (grammar_maker.py: every command, all types under the same eight
keys), half by the makers of test_types_differential.py with those keys; some within MULTI; RESP2 and RESP3 by turns. Every reply
must be the same, errors word for word, and the whole state (DEBUG DIGEST) after every batch. What is not sent stands in NOT_SENT
of grammar_maker.py, what is compared loosely in LOOSE below, each with its reason. SEED=n repeats a run. After a difference both
servers are emptied and the run goes on; it ends with all that was found, or after 20.
"""
import os, random, sys, time

import grammar_maker
from grammar_maker import BLOCKING, KEYS, GrammarMaker
from test_types_differential import OURS, STALE_ERRNO, THEIRS, Maker, Server, Wire, comparable, shape

BATCH = 40
# Commands of which only the kinds in the reply are compared, and why.
LOOSE = {
    "TIME": "the clock", "LASTSAVE": "the clock", "RANDOMKEY": "random", "INFO": "counters and memory; test_server_metrics", "ROLE": "offsets",
    "SLOWLOG": "durations", "MEMORY": "memory", "CLIENT": "ids, ports, ages", "ACL LIST": "users of both runs; see ACL GETUSER",
    "OBJECT FREQ": "random", "OBJECT IDLETIME": "the clock", "OBJECT REFCOUNT": "shared integers are Redis's own",
    "COMMAND COUNT": "two commands of 7.2 and DRAWBRIDGE are ours", "COMMAND LIST": "see COMMAND COUNT",
    "COMMAND DOCS": "no texts here", "COMMAND INFO": "test_getkeys has it", "FUNCTION STATS": "memory", "DUMP": "test_restore_differential", "FUNCTION DUMP": "see DUMP",
    "SCRIPT HELP": "texts", "FUNCTION HELP": "texts", "ACL HELP": "texts", "COMMAND HELP": "texts", "OBJECT HELP": "texts", "PUBSUB HELP": "texts",
    "XGROUP HELP": "texts", "XINFO HELP": "texts", "PUBSUB SHARDCHANNELS": "order", "ACL CAT": "order; test_getkeys has the rows",
}
SORTED = {"KEYS", "FUNCTION LIST", "SINTERSTORE", "PUBSUB CHANNELS", "ACL USERS"}
DEADLINES = {"TTL": 10, "EXPIRETIME": 10, "PTTL": 10000, "PEXPIRETIME": 10000}


def name_of(command):
    name = str(command[0]).upper()
    two = f"{name} {str(command[1]).upper()}" if len(command) > 1 else name
    return two if two in LOOSE or two in SORTED else name


def flat(reply):
    kind, rest = reply
    if kind == b"%":
        return repr(sorted(((flat(k), flat(v)) for k, v in rest), key=repr))
    return repr(sorted(flat(x) for x in rest)) if isinstance(rest, list) else repr(reply)


def numbers_near(a, b, most):
    return a[0] == b[0] == b":" and abs(int(a[1]) - int(b[1])) <= most


def shape_of(reply):
    return (b"*", None) if reply[0] in b"*%~" and reply[1] is not None else shape(reply) if reply[0] == b"-" else reply[0].replace(b"=", b"$")


def is_same(command, ours, theirs, resp):
    name = name_of(command)
    if ours == theirs or theirs == STALE_ERRNO and name.startswith("SORT"):
        return True
    if name in DEADLINES and numbers_near(ours, theirs, DEADLINES[name]):
        return True
    if name in LOOSE:
        return shape_of(ours) == shape_of(theirs)
    if name.startswith("GEO") and ours[0] == theirs[0] == b"*" and "COUNT" in [str(w).upper() for w in command]:
        return flat(ours) == flat(theirs)  # places at the same distance: those of a partial sort stand in no order
    if name in SORTED or name in ("EVAL", "EVAL_RO") and "HGETALL" in str(command[1]):  # fields of a hash stand in no order
        return flat(ours) == flat(theirs)
    if name == "OBJECT" and {ours[1], theirs[1]} == {b"embstr", b"raw"}:  # PFCOUNT and BITFIELD of Redis make a string raw that they do not change
        return True
    if name == "SCAN" and ours[0] == theirs[0] == b"*":
        other = command[1] not in ("0", "")  # a cursor that nobody gave out
        return other or ours[1][0] != theirs[1][0] or ours[1][0] != (b"$", b"0") or flat(ours[1][1]) == flat(theirs[1][1])
    if name in ("SSCAN", "HSCAN", "ZSCAN") and ours[0] == theirs[0] == b"*":
        return ours[1][0] != theirs[1][0] or len(ours[1][1][1]) != len(theirs[1][1][1]) or flat(ours[1][1]) == flat(theirs[1][1])
    return comparable(command, ours, resp) == comparable(command, theirs, resp)


def is_broken_hll(command):
    return any(isinstance(w, bytes) and w.startswith(b"HYLL") for w in command)


class BothMakers:
    """Requests of both makers on the same keys; values of all types come up again and again."""

    def __init__(self, rng, wire):
        self.rng, self.grammar, self.types = rng, GrammarMaker(rng, wire), Maker(rng)
        self.types.key = lambda kind="": rng.choice(KEYS)
        self.types.wide = 20

    def seeded(self):
        """Something to work on."""
        k, r = self.rng.choice(KEYS), self.rng
        return r.choice([
            ["SET", k, "hello"], ["SET", k, "9223372036854775807"], ["SET", k, "10"], ["SET", k, b"\xff\x00" * 40], ["RPUSH", k, "a", "b", "c", "1", "2"],
            ["RPUSH", k] + [str(n) * 30 for n in range(40)], ["HSET", k, "field", "1", "a", "b", "c", "9223372036854775807"],
            ["HSET", k] + [f"m{n}" for n in range(300)], ["SADD", k, "1", "2", "3"], ["SADD", k, "a", "b", "m1"], ["SADD", k] + [f"m{n}" for n in range(150)],
            ["ZADD", k, "1", "a", "2", "b", "inf", "c"], ["ZADD", k] + [x for n in range(140) for x in (str(n), f"m{n}")],
            ["XADD", k, f"{r.randrange(9)}-{r.randrange(9)}", "field", "a"], ["XGROUP", "CREATE", k, "g1", "0", "MKSTREAM"],
            ["ZADD", "zlex"] + [x for n in range(r.randint(1, 6)) for x in ("0", r.choice(["a", "b", "m1", "m2", "+", "-", "", "[a"]))], ["DEL", "zlex"],
            ["GEOADD", k, "13.36", "38.11", "a", "15.08", "37.5", "b"], ["PFADD", k, "a", "b", "c"], ["DEL", k], ["DEL", k]])

    def one(self):
        r = self.rng.random()
        if r < .15:
            return self.seeded()
        if r < .70:
            return self.grammar.command()
        while True:
            command = self.types.command()
            name = str(command[0]).upper()
            # Zeros with a sign, equal weights, and broken HyperLogLogs have their own rules in that test.
            if name not in ("MULTI", "EXEC", "CONFIG", "SPOP", "DEBUG") and "-0" not in command and not name.startswith("SORT") and not is_broken_hll(command):
                return command

    def batch(self):
        found = []
        while len(found) < BATCH:
            command = self.one()
            blocks = str(command[0]).lower() in BLOCKING and (self.rng.random() < .93 or may_block(command))
            if blocks or self.rng.random() < .02:
                inside = [command] if blocks else [self.one() for _ in range(self.rng.randint(1, 5))]
                found += [["MULTI"]] + [c for c in inside if str(c[0]).lower() not in ("watch", "unwatch")] + [["EXEC" if self.rng.random() < .95 else "DISCARD"]]
            else:
                found.append(command)
        return found


def may_block(command):
    """Whether a word could be a time of more than a moment; such commands stand in MULTI, where nothing blocks."""
    for word in command[1:]:
        try:
            if not 0 < abs(float(word)) < 0.05:
                return True
        except (ValueError, TypeError, OverflowError):
            continue
    return False


def is_own_rule(found):
    """A string that somebody wrote himself is looked at whole before it is taken for a HyperLogLog (CVE-2025-32023); redis-server meets
    what is wrong in it only when it gets there."""
    return str(found[0][0]).lower() in ("pfadd", "pfcount", "pfmerge", "pfdebug") and "INVALIDOBJ" in found[1].split("redis:")[0]


def ready(servers, resp):
    for server in servers:
        server.wire.ask("RESET")
        server.wire.ask("HELLO", str(resp))
        for command in (["FLUSHALL"], ["FUNCTION", "FLUSH"], ["SCRIPT", "FLUSH"], ["ACL", "DELUSER", "anna", "bert", ""], ["CONFIG", "SET", "hll-sparse-max-bytes", "3000"]):
            server.wire.ask(*command)


def exchange(servers, batch, resp):
    """The first difference, as text; None if there is none."""
    replies = []
    for server in servers:
        server.wire.send(*batch, ["DEBUG", "DIGEST"])
    for server in servers:
        try:
            replies.append([server.wire.read() for _ in range(len(batch) + 1)])
        except (ConnectionError, OSError) as error:
            raise SystemExit(f"{error} after {batch}; our exit code {servers[0].process.poll()}, theirs {servers[1].process.poll()}")
    queued = None
    for command, ours, theirs in zip(batch, *replies):
        name = command[0]
        if name == "EXEC" and queued is not None and ours[0] == theirs[0] == b"*" and ours[1] and theirs[1]:
            for inside, mine, other in zip(queued, ours[1], theirs[1]):
                if not is_same(inside, mine, other, resp):
                    return inside, f"(in MULTI) {inside}\n  ours:  {mine}\n  redis: {other}"
        elif not is_same(command, ours, theirs, resp):
            return command, f"{command}\n  ours:  {ours}\n  redis: {theirs}"
        if name == "MULTI":
            queued = []
        elif name in ("EXEC", "DISCARD"):
            queued = None
        elif queued is not None and theirs == (b"+", b"QUEUED"):
            queued.append(command)
    if replies[0][-1] != replies[1][-1]:
        for command, reply in zip(batch, replies[0]):
            if reply[0] == b"-" and b"INVALIDOBJ" in reply[1]:  # redis-server changes registers until it meets what is wrong
                return ["PFADD"], f"INVALIDOBJ of {command}: the state differs"
        return ["DEBUG", "DIGEST"], "the state differs after\n    " + "\n    ".join(str(c)[:200] for c in batch)
    return None


def comes_again(servers, batches, resp):
    """All since the state was emptied, once more: what differs by the clock alone (a key expired between the two) differs once."""
    ready(servers, resp)
    for batch in batches:
        different = exchange(servers, batch, resp)
        if different and not is_own_rule(different):
            return different
    return None


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50000
    # A change is judged by what it broke: `make test` asks the same every time, a long run something new.
    seed = int(os.environ.get("SEED") or (random.randrange(1 << 32) if len(sys.argv) > 1 else 2084075961))
    print(f"seed {seed} (repeat with SEED={seed})", flush=True)
    servers = [Server([OURS, "server"]), Server([THEIRS])]
    found, sent, once, began = {}, 0, 0, time.time()
    try:
        makers = BothMakers(random.Random(seed), servers[1].wire)
        resp, since = 2, []
        ready(servers, resp)
        for n in range(1 << 60):
            if sent >= count or len(found) >= 20:
                break
            if n % 25 == 24:
                resp, since = 5 - resp, []
                ready(servers, resp)
            makers.rng.seed(seed * 1000003 + n)
            batch = makers.batch()
            sent += len(batch)
            since.append(batch)
            different = exchange(servers, batch, resp)
            if not different:
                continue
            own = is_own_rule(different)
            if not own and not (different := comes_again(servers, since, resp) or comes_again(servers, since, resp)):
                once += 1
            elif not own:
                name = name_of(different[0])
                if name not in found:
                    print(f"batch {n}, RESP{resp}: {different[1][:3000]}", flush=True)
                found[name] = found.get(name, 0) + 1
            since = []
            ready(servers, resp)
        print(f"{sent} commands of {len(makers.grammar.names)} kinds in {time.time() - began:.0f} s; " +
              (f"differences: {found}" if found else "no difference") + (f"; {once} came once and not again" if once else ""))
    finally:
        for server in servers:
            server.stop()
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()

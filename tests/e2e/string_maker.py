"""Random commands on strings as bits and as HyperLogLogs, for the tests that run beside redis-server."""
RUNS = [b"\x7f\xff", b"\x00", b"\x3f", b"\x80", b"\xff", b"\x40\x00", b"\x7f", b"\x84\x88"]


class StringMaker:
    def __init__(self, maker):
        self.maker, self.rng = maker, maker.rng

    def bits(self):
        return self.maker.key("b")

    def hll(self):
        return self.maker.key("p") if self.rng.random() < .95 else self.bits()

    def offset(self):
        r = self.rng
        return str(r.randrange(300)) if r.random() < .93 else r.choice(["-1", "4294967296", "9223372036854775807", "x", "", "#1", "+1", "40000"])

    def place(self):
        return ("#" if self.rng.random() < .3 else "") + self.offset()

    def width(self):
        r = self.rng
        return r.choice("iu") + str(r.randint(1, 64)) if r.random() < .95 else r.choice(["u64", "i65", "i0", "u0", "i", "x8", "", "I8", "i-1", "u63", "i64"])

    def step(self):
        r, m = self.rng, self.maker
        number = lambda: m.int() if r.random() < .4 else str(r.randint(-2 ** r.randint(1, 63), 2 ** r.randint(1, 63) - 1))
        return r.choice([
            lambda: ["GET", self.width(), self.place()], lambda: ["SET", self.width(), self.place(), number()],
            lambda: ["INCRBY", self.width(), self.place(), number()], lambda: ["incrby", self.width(), self.place(), number()],
            lambda: ["OVERFLOW", r.choice(["WRAP", "SAT", "FAIL", "sat", "fail"] if r.random() < .97 else ["x"])],
        ])()

    def range(self):
        r, m = self.rng, self.maker
        ends = [str(r.randint(-400, 400)) if r.random() < .8 else m.int() for _ in range(2)]
        return ends[:r.choice([2, 2, 2, 1])] + (m.maybe(r.choice(["BIT", "BYTE", "bit", "x"])) if r.random() < .8 else [])

    def broken(self):
        """A string that begins like a HyperLogLog."""
        r = self.rng
        head = b"HYLL" + bytes([r.choice([0, 1, 1, 1, 2])]) + b"\0\0\0" + (b"\0" * 8 if r.random() < .3 else b"\0" * 7 + b"\x80")
        runs = b"".join(r.choice(RUNS) for _ in range(r.randrange(6)))
        return head + runs + (b"\0" * 12288 if r.random() < .1 else b"")

    def some(self, most):
        return [self.maker.name() for _ in range(self.rng.randint(0, most))]

    def command(self):
        r, m = self.rng, self.maker
        return r.choice([
            lambda: ["SETBIT", self.bits(), self.offset(), r.choice("01") if r.random() < .97 else m.int()],
            lambda: ["SETBIT", self.bits(), self.offset(), r.choice("01")], lambda: ["GETBIT", self.bits(), self.offset()],
            lambda: ["SET", self.bits(), r.randbytes(r.randrange(60)) if r.random() < .7 else m.int()],
            lambda: ["SET", self.bits(), bytes([r.choice([0, 255])]) * r.randrange(40)],
            lambda: ["BITCOUNT", self.bits()] + (self.range() if r.random() < .8 else []),
            lambda: ["BITPOS", self.bits(), r.choice("01")] + (self.range() if r.random() < .8 else []),
            lambda: ["BITPOS", self.bits(), m.int()], lambda: ["BITCOUNT", self.bits(), "0", "5", "BIT", "x"][:r.choice([2, 4, 5, 6])],
            lambda: ["BITOP", r.choice(["AND", "OR", "XOR", "NOT", "and", "x"]), self.bits()] + [self.bits() for _ in range(r.randint(1, 3))],
            lambda: ["BITOP", "NOT", self.bits(), self.bits()],
            lambda: ["BITFIELD", self.bits()] + [w for _ in range(r.randint(0, 4)) for w in self.step()],
            lambda: ["BITFIELD", self.bits()] + [w for _ in range(r.randint(1, 4)) for w in self.step()],
            lambda: ["BITFIELD_RO", self.bits()] + (self.step() if r.random() < .2 else ["GET", self.width(), self.place()]),
            lambda: ["PFADD", self.hll()] + self.some(6), lambda: ["PFADD", self.hll()] + self.some(6),
            lambda: ["PFADD", self.hll()] + [str(r.random()) for _ in range(r.choice([5, 50, 900]))],
            lambda: ["PFCOUNT", self.hll()], lambda: ["PFCOUNT"] + [self.hll() for _ in range(r.randint(1, 3))],
            lambda: ["PFMERGE", self.hll()] + [self.hll() for _ in range(r.randint(0, 2))],
            lambda: ["PFDEBUG", r.choice(["DECODE", "ENCODING", "encoding", "GETREG", "TODENSE", "x"]), self.hll()],
            # Broken ones: Redis 7.0 adds to them until it notices, we never do. Both refuse to count and to merge them.
            lambda: ["SET", m.key("q"), self.broken()], lambda: ["PFCOUNT", m.key("q")], lambda: ["PFMERGE", m.key("p"), m.key("q")],
            lambda: ["PFCOUNT", self.hll(), m.key("q")], lambda: ["DEL", self.hll()], lambda: ["GET", self.hll()],
            lambda: ["CONFIG", "SET", "hll-sparse-max-bytes", r.choice(["0", "30", "300", "3000"])],
            lambda: ["OBJECT", "ENCODING", self.bits()],
        ])()

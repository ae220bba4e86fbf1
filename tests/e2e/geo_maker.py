"""Random commands on places, for the tests that run beside redis-server. No two places are the same, so that ties by distance
cannot come in another order."""
EDGES = ["0", "180", "-180", "180.0001", "85.05112878", "-85.05112878", "85.06", "-90", "nan", "inf", "abc", "", "1e-300"]
NAMES = [f"p{n}" for n in range(60)] + ["", "7"]


class GeoMaker:
    def __init__(self, maker):
        self.maker, self.rng = maker, maker.rng

    def place(self):
        r = self.rng
        if r.random() < 0.05:
            return [r.choice(EDGES), r.choice(EDGES)]
        if r.random() < 0.5: # a town
            return [repr(r.uniform(13, 13.5)), repr(r.uniform(38, 38.5))]
        return [repr(r.uniform(-180, 180)), repr(r.choice([r.uniform(-85, 85), r.uniform(65, 85.05), r.uniform(-85.05, -65)]))]

    def unit(self):
        return self.rng.choice(["m", "km", "ft", "mi", "KM", "km", "km"]) if self.rng.random() < .97 else "cm"

    def size(self):
        r = self.rng
        return r.choice(["0", "-1", "1e300", "x", "0.5", "5000", "20000"]) if r.random() < .15 else repr(round(10 ** r.uniform(-1, 4.3), 3))

    def options(self):
        m, r = self.maker, self.rng
        words = [w for w in ["WITHDIST", "WITHHASH", "WITHCOORD"] if r.random() < .3]
        words += m.maybe("COUNT", str(r.randint(1, 5)) if r.random() < .9 else m.int()) + (["ANY"] if r.random() < .1 else [])
        return words + [r.choice(["ASC", "DESC"])][:r.random() < .6] + (["x"] if r.random() < .02 else [])

    def store(self):
        return self.rng.choice([["STORE", self.maker.key("g")], ["STOREDIST", self.maker.key("g")], []])

    def shape(self):
        r = self.rng
        where = ["FROMMEMBER", r.choice(NAMES)] if r.random() < .3 else ["FROMLONLAT"] + self.place()
        what = ["BYRADIUS", self.size(), self.unit()] if r.random() < .5 else ["BYBOX", self.size(), self.size(), self.unit()]
        return (where if r.random() < .97 else []) + (what if r.random() < .97 else [])

    def command(self):
        r, m, k = self.rng, self.maker, self.maker.key("g")
        some = lambda most: [w for _ in range(r.randint(1, most)) for w in self.place() + [r.choice(NAMES)]]
        add = lambda: ["GEOADD", k] + [w for w in ["NX", "XX", "CH"] if r.random() < .06] + some(8)[:None if r.random() < .98 else -1]
        return r.choice([
            add, add, add, lambda: ["ZREM", k, r.choice(NAMES)],
            lambda: ["GEODIST", k, r.choice(NAMES), r.choice(NAMES)] + m.maybe(self.unit()),
            lambda: ["GEOPOS", k] + r.sample(NAMES, 3), lambda: ["GEOHASH", k] + r.sample(NAMES, 3),
            lambda: ["GEORADIUS", k] + self.place() + [self.size(), self.unit()] + self.options(),
            lambda: ["GEORADIUS", k] + self.place() + [self.size(), self.unit(), "ASC"] + self.store(),
            lambda: ["GEORADIUSBYMEMBER", k, r.choice(NAMES), self.size(), self.unit()] + self.options() + (self.store() if r.random() < .2 else []),
            lambda: ["GEORADIUSBYMEMBER_RO", k, r.choice(NAMES), self.size(), self.unit()] + self.options() + (self.store() if r.random() < .1 else []),
            lambda: ["GEORADIUS_RO", k] + self.place() + [self.size(), self.unit()] + self.options(),
            lambda: ["GEOSEARCH", k] + self.shape() + self.options(), lambda: ["GEOSEARCH", k] + self.shape() + self.options(),
            lambda: ["GEOSEARCHSTORE", m.key("g"), k] + self.shape() + self.options()[-1:] + m.maybe("STOREDIST"),
            lambda: ["GEOPOS", "z0"] + [m.name() for _ in range(4)], lambda: ["GEODIST", "z0", m.name(), m.name()],
            lambda: ["GEOSEARCH", "z0", "FROMLONLAT", "0", "0", "BYRADIUS", "30000", "km", "WITHHASH"],
        ])()

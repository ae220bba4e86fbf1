"""rdb_old.py -- read an RDB of versions 1 to 9 as old versions of Redis do, strictly and in plain Python: nothing here is shared
with the code that wrote it. Types are those of Redis 6.2's rdb.h; ziplists as the head of its ziplist.c tells them."""
import struct

NAMES = {0: "string", 1: "list", 2: "set", 3: "zset", 4: "hash", 5: "zset_2", 10: "list_ziplist", 11: "intset", 12: "zset_ziplist",
         13: "hash_ziplist", 14: "quicklist", 15: "stream"}
FIRST_VERSION = {5: 8, 13: 4, 14: 7, 15: 9}  # of an RDB that may have the type; 1 or 2 for the others
NUMBERS = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}  # first byte of a ziplist's integer: how many bytes follow


def unpack_lzf(data, size):
    out, at = bytearray(), 0
    while at < len(data):
        control = data[at]
        at += 1
        if control < 32:
            out += data[at:at + control + 1]
            at += control + 1
            continue
        length = control >> 5
        if length == 7:
            length += data[at]
            at += 1
        start = len(out) - ((control & 31) << 8) - data[at] - 1
        at += 1
        assert start >= 0, "LZF points before the start"
        for i in range(length + 2):
            out.append(out[start + i])
    assert len(out) == size, (len(out), size)
    return bytes(out)


def ziplist(blob):
    """Its items as bytes, after every length in it was checked."""
    total, tail, count = struct.unpack_from("<IIH", blob)
    assert total == len(blob) and blob[-1] == 0xFF, "size or end of a ziplist"
    items, at, before, last = [], 10, 0, 10
    while blob[at] != 0xFF:
        last, long = at, blob[at] == 254
        said = struct.unpack_from("<I", blob, at + 1)[0] if long else blob[at]
        assert said == before and blob[at] != 255, f"item {len(items)}: the one before has {before} bytes, not {said}"
        assert long == (before >= 254), "the size before is written longer or shorter than it is"
        at += 5 if long else 1
        code = blob[at]
        if code >> 6 == 0:
            size, at = code & 63, at + 1
        elif code >> 6 == 1:
            size, at = (code & 63) << 8 | blob[at + 1], at + 2
        elif code == 0x80:
            size, at = struct.unpack_from(">I", blob, at + 1)[0], at + 5
        else:
            size = None
        if size is not None:
            items.append(blob[at:at + size])
            at += size
        elif 0xF1 <= code <= 0xFD:
            items.append(b"%d" % (code - 0xF1))
            at += 1
        else:
            width = NUMBERS[code]
            number = int.from_bytes(blob[at + 1:at + 1 + width], "little", signed=True)
            smaller = [w for w in (1, 2, 3, 4) if w < width]
            assert not 0 <= number <= 12 and all(not -(1 << 8 * w - 1) <= number < 1 << 8 * w - 1 for w in smaller), "not the shortest"
            items.append(b"%d" % number)
            at += 1 + width
        before = at - last
        assert at < len(blob), "an item reaches the end"
    assert at == len(blob) - 1 and tail == last and count == min(len(items), 65535), (tail, last, count, len(items))
    return items


def intset(blob):
    width, count = struct.unpack_from("<II", blob)
    assert width in (2, 4, 8) and len(blob) == 8 + width * count
    numbers = [int.from_bytes(blob[8 + i * width:8 + (i + 1) * width], "little", signed=True) for i in range(count)]
    assert numbers == sorted(set(numbers))
    return {b"%d" % number for number in numbers}


class Reader:
    def __init__(self, data):
        assert data[:5] == b"REDIS"
        self.data, self.at, self.version = data, 9, int(data[5:9])

    def take(self, size):
        assert self.at + size <= len(self.data), "the file is cut"
        self.at += size
        return self.data[self.at - size:self.at]

    def length(self):
        """(length, None), or (None, special encoding)."""
        first = self.take(1)[0]
        if first >> 6 == 0:
            return first & 63, None
        if first >> 6 == 1:
            return (first & 63) << 8 | self.take(1)[0], None
        if first >> 6 == 3:
            return None, first & 63
        assert first == 0x80 or (first == 0x81 and self.version >= 8), f"a length {first:#x} in version {self.version}"
        return int.from_bytes(self.take(4 if first == 0x80 else 8), "big"), None

    def count(self):
        length, special = self.length()
        assert special is None
        return length

    def string(self):
        length, special = self.length()
        if special is None:
            return self.take(length)
        if special == 3:
            packed = self.count()
            size = self.count()
            return unpack_lzf(self.take(packed), size)
        return b"%d" % int.from_bytes(self.take(1 << special), "little", signed=True)

    def score(self, kind):
        if kind == 5:
            return struct.unpack("<d", self.take(8))[0]
        size = self.take(1)[0]
        assert size != 253
        return {254: float("inf"), 255: float("-inf")}[size] if size > 253 else float(self.take(size))

    def stream(self):
        """How many entries it says that it has; listpacks are not looked into."""
        for _ in range(self.count()):
            assert len(self.string()) == 16
            self.string()
        entries, _, _ = self.count(), self.count(), self.count()
        for _ in range(self.count()):  # groups
            self.string(), self.count(), self.count()
            for _ in range(self.count()):
                self.take(24), self.count()
            for _ in range(self.count()):  # consumers
                self.string(), self.take(8)
                self.take(16 * self.count())
        return entries

    def value(self, kind):
        assert kind in NAMES and FIRST_VERSION.get(kind, 1) <= self.version, f"type {kind} in version {self.version}"
        if kind == 0:
            return self.string()
        if kind == 10:
            return ziplist(self.string())
        if kind == 11:
            return intset(self.string())
        if kind in (12, 13):
            items = ziplist(self.string())
            pairs = dict(zip(items[::2], items[1::2]))
            assert len(pairs) * 2 == len(items), "something stands twice"
            if kind == 13:
                return pairs
            order = [(float(score), member) for member, score in zip(items[::2], items[1::2])]
            assert order == sorted(order), "scores are not in order"
            return {member: score for score, member in order}
        if kind == 15:
            return self.stream()
        count = self.count()
        assert count > 0
        if kind == 14:
            nodes = [ziplist(self.string()) for _ in range(count)]
            assert all(nodes)
            return sum(nodes, [])
        if kind == 1:
            return [self.string() for _ in range(count)]
        if kind == 2:
            value = {self.string() for _ in range(count)}
        elif kind == 4:
            value = {self.string(): self.string() for _ in range(count)}
        else:
            value = {self.string(): self.score(kind) for _ in range(count)}
        assert len(value) == count
        return value


def read(path):
    """(version, {aux: value}, {(db, key): (name of the type, value, milliseconds or None)})"""
    with open(path, "rb") as file:
        r = Reader(file.read())
    aux, keys, db, expiry = {}, {}, None, None
    while True:
        code = r.take(1)[0]
        if code == 255:
            break
        if code == 254:
            db = r.count()
        elif code == 252:
            expiry = struct.unpack("<q", r.take(8))[0]
        elif code in (250, 251):
            assert r.version >= 7, f"code {code} in version {r.version}"
            if code == 251:
                r.count(), r.count()
            else:
                name = r.string()
                aux[name] = r.string()
        else:
            assert code < 16, f"code {code} in version {r.version}"
            key = db, r.string()
            assert key not in keys
            keys[key] = NAMES[code], r.value(code), expiry
            expiry = None
    assert r.at + 8 == len(r.data), "there is more than a checksum behind the end"
    return r.version, aux, keys

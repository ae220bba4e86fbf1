"""resp.py -- requests as bytes, and values as the roles say them to each other (docs/CONTROL.md).

Tests that compare replies read them themselves, in the form that they compare."""


def encode(*words):
    """One request; words are bytes, strings or numbers."""
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class Push(list):
    """A push, which is no answer."""


def read(file):
    """One value: text for strings and numbers, an Exception for an error, a list or a Push."""
    line = file.readline()
    if not line.endswith(b"\r\n"):
        raise EOFError
    kind, rest = line[:1], line[1:-2]
    if kind in b"+:":
        return rest.decode()
    if kind == b"-":
        return RuntimeError(rest.decode())
    if kind == b"$":
        return file.read(int(rest) + 2)[:-2].decode(errors="replace")
    if kind in b"*>":
        items = [read(file) for _ in range(int(rest))]
        return Push(items) if kind == b">" else items
    raise ValueError(line)

#!/usr/bin/python3
"""wordnet.py [--parts nvar] [FOLDER] -- WordNet as Redis commands on standard output, for `redis-cli --pipe`.

    synset:<id>           hash    part of speech, lexicographer file, first word, number of relations, definition
    gloss:<id>            string  the definition and its examples, one in five with an expiry time
    words:<id>            list    the words of the synset, in order
    lemma:<pos>:<word>    zset    the synsets of a word, by the rank of the sense
    rel:<id>:<symbol>     set     the synsets that this one is related to, by kind of relation
    senses:<pos>          zset    every word by its number of senses (one big key for each part of speech)

Nouns are in database 0, verbs in 1, adjectives in 2, adverbs in 3. <id> is the part of speech and
the byte offset in the data file, as WordNet names its synsets (wndb(5WN)).
"""
import argparse
import sys
import time

FOLDER = "/usr/share/wordnet"
PARTS = (("noun", "n"), ("verb", "v"), ("adj", "a"), ("adv", "r"))


def command(*words):
    out = [b"*%d\r\n" % len(words)]
    for word in words:
        if not isinstance(word, bytes):
            word = str(word).encode()
        out.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(out)


def synset_id(offset, pos):
    return ("a" if pos == "s" else pos) + offset


def synsets(folder, part, pos):
    """One line of data.<part>: offset lexfile type count (word lexid)* pointers (symbol offset pos nums)* | gloss"""
    with open(f"{folder}/data.{part}", encoding="latin-1") as lines:
        for line in lines:
            if line.startswith("  "):
                continue
            facts, _, gloss = line.partition("|")
            field = facts.split()
            words = [field[4 + 2 * i] for i in range(int(field[3], 16))]
            at = 4 + 2 * len(words)
            relations = {}
            for i in range(int(field[at])):
                symbol, offset, kind = field[at + 1 + 4 * i: at + 4 + 4 * i]
                relations.setdefault(symbol, []).append(synset_id(offset, kind))
            yield pos + field[0], field[1], words, relations, gloss.strip()


def expiry_ms(number, now_ms):
    """One key in five has an expiry time: most tomorrow, every hundredth within the next minutes."""
    if number % 100 == 7:
        return now_ms + 30000 + number % 240000
    if number % 5 == 2:
        return now_ms + 3600000 + number * 97 % 86400000
    return None


def part_commands(folder, part, pos, now_ms):
    for number, (name, lexfile, words, relations, gloss) in enumerate(synsets(folder, part, pos)):
        text = gloss.encode()
        yield command("HSET", "synset:" + name, "pos", pos, "lexfile", lexfile, "word", words[0],
                      "relations", sum(map(len, relations.values())), "definition", gloss.split(";")[0].encode())
        at_ms = expiry_ms(number, now_ms)
        if at_ms is None:
            yield command("SET", "gloss:" + name, text)
        else:
            yield command("SET", "gloss:" + name, text, "PXAT", at_ms)
        yield command("RPUSH", "words:" + name, *words)
        for symbol, others in relations.items():
            yield command("SADD", f"rel:{name}:{symbol}", *others)
    with open(f"{folder}/index.{part}", encoding="latin-1") as lines:
        for line in lines:
            if line.startswith("  "):
                continue
            field = line.split()
            senses = field[-int(field[2]):]
            ranked = [word for rank, offset in enumerate(senses, 1) for word in (rank, pos + offset)]
            yield command("ZADD", f"lemma:{pos}:{field[0]}", *ranked)
            yield command("ZADD", "senses:" + pos, len(senses), field[0])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", default="nvar", help="of speech: n, v, a, r")
    parser.add_argument("folder", nargs="?", default=FOLDER)
    options = parser.parse_args()
    folder, parts = options.folder, options.parts
    now_ms = int(time.time() * 1000)
    out = sys.stdout.buffer
    for database, (part, pos) in enumerate(PARTS):
        if pos not in parts:
            continue
        out.write(command("SELECT", database))
        batch = []
        for one in part_commands(folder, part, pos, now_ms):
            batch.append(one)
            if len(batch) == 2000:
                out.write(b"".join(batch))
                batch.clear()
        out.write(b"".join(batch))


if __name__ == "__main__":
    main()

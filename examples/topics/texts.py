#!/usr/bin/env python3
"""Short texts of seven topics out of WordNet (Debian's wordnet-base): a noun and its gloss, with the topic that WordNet itself files it under.

    {"id": "02084071", "text": "dog: a member of the genus Canis ...", "wordnet": "animal"}

Choice and order are those of SHA-256 over the texts, the same everywhere. MORE.jsonl gets up to so many other texts of each topic.
Usage: texts.py data.noun COUNT_PER_TOPIC OUT.jsonl [MORE_PER_TOPIC MORE.jsonl]
"""
import hashlib
import json
import pathlib
import sys

TOPICS = {"05": "animal", "20": "plant", "13": "food", "18": "person", "08": "body", "15": "place", "06": "object"}  # WordNet's files of nouns


def senses(path):
    for line in path.read_text(encoding="latin-1").splitlines():
        head, bar, gloss = line.partition(" | ")
        fields = head.split()
        if line.startswith(" ") or not bar or fields[1] not in TOPICS:
            continue
        word, gloss = fields[4].replace("_", " "), gloss.split('; "')[0].strip()
        yield {"id": fields[0], "text": "%s: %s" % (word, gloss), "wordnet": TOPICS[fields[1]]}


def write(path, rows):
    pathlib.Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def take(rows, count, seen):
    """So many of each topic that are not in seen, which they join, in an order of their own: rare topics are late in the other one."""
    left, kept = dict.fromkeys(TOPICS.values(), count), []
    for row in rows:
        if left[row["wordnet"]] and row["text"] not in seen:
            left[row["wordnet"]] -= 1
            seen.add(row["text"])
            kept.append(row)
    return sorted(kept, key=lambda row: hashlib.sha256(b"order " + row["text"].encode()).digest()), left


def main():
    if len(sys.argv) not in (4, 6):
        sys.exit(__doc__)
    rows = sorted(senses(pathlib.Path(sys.argv[1])), key=lambda row: hashlib.sha256(row["text"].encode()).digest())
    seen = set()
    kept, left = take(rows, int(sys.argv[2]), seen)
    if any(left.values()):
        sys.exit("texts.py: WordNet has too few of: " + ", ".join(topic for topic, count in left.items() if count))
    write(sys.argv[3], kept)
    if len(sys.argv) == 6:
        write(sys.argv[5], take(rows, int(sys.argv[4]), seen)[0])


if __name__ == "__main__":
    main()
